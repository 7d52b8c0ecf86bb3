//! The keys in force at one moment.

use std::{fmt, sync::Arc};

use crate::keys::{Key, KeyStore};

/// The configured keys of one issuer.
#[derive(Clone)]
pub struct IssuerKeys {
    /// The issuer; `None` for tokens of any issuer without a table of its own.
    pub issuer: Option<Arc<str>>,
    /// Its keys: those of files that always serve, the current set, and old ones of a rotation.
    pub keys: Vec<Arc<Key>>,
}

impl IssuerKeys {
    /// Whether an HMAC secret is among the keys.
    #[must_use]
    pub fn has_secret(&self) -> bool {
        self.keys.iter().any(|key| !key.is_public())
    }
}

/// The keys in force at one moment, of every issuer for which a source of keys is configured.
/// It never changes; a change makes a new one.
#[derive(Clone, Default)]
pub struct Snapshot {
    pub(super) generation: u64,
    pub(super) issuers: Vec<IssuerKeys>,
}

impl Snapshot {
    /// Its number; a newer one has a higher number.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// All issuers with their keys. One without keys is among them: its keys are not there yet.
    #[must_use]
    pub fn issuers(&self) -> &[IssuerKeys] {
        &self.issuers
    }

    /// The keys of an issuer, or of tokens of any other; `None` where no source is configured.
    #[must_use]
    pub fn of(&self, issuer: Option<&str>) -> Option<&IssuerKeys> {
        self.issuers.iter().find(|keys| keys.issuer.as_deref() == issuer)
    }

    /// Puts these keys in the place of the configured ones of the same issuers; learned keys stay.
    pub fn apply(&self, store: &mut KeyStore) {
        for IssuerKeys { issuer, keys } in &self.issuers {
            store.replace(issuer.as_deref(), keys.clone());
        }
    }
}

/// How many keys each issuer has.
impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.issuers.iter().map(|keys| (keys.issuer.as_deref(), keys.keys.len()));
        f.debug_struct("Snapshot")
            .field("generation", &self.generation)
            .field("keys", &keys.collect::<Vec<_>>())
            .finish()
    }
}
