//! What `forget` asks, and what came of it.

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use crate::enforce::entry::MAX_NAME;

/// Whom to forget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgetRequest {
    /// As tokens name it (`sub`).
    pub subject: String,
    /// Its issuer (`iss`); any when absent.
    pub issuer: Option<String>,
    /// What names it on the lists of what is denied and allowed goes, too.
    pub lists: bool,
}

impl ForgetRequest {
    /// Whether it names anybody.
    ///
    /// # Errors
    /// A name is empty, or longer than lists take.
    pub fn check(&self) -> anyhow::Result<()> {
        let name = |name: &str| (1..=MAX_NAME).contains(&name.len());
        ensure!(name(&self.subject), "a subject has 1 to {MAX_NAME} bytes");
        ensure!(self.issuer.as_deref().is_none_or(name), "an issuer has 1 to {MAX_NAME} bytes");
        Ok(())
    }
}

/// What was forgotten, and what was not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    /// Whose subject it was looked for as; the empty one stands for tokens that name no issuer.
    pub issuers: Vec<String>,
    /// Events that named it.
    pub events: u64,
    /// Those of them that a sink had not got yet, and will not get.
    pub undelivered: u64,
    /// Profiles.
    pub profiles: u64,
    /// Tokens that were remembered.
    pub tokens: u64,
    /// Lines of the history.
    pub history: u64,
    /// Labels.
    pub labels: u64,
    /// Entries of lists.
    pub listed: u64,
    /// What names it, or may, and was not touched: a line each.
    pub left: Vec<String>,
}
