//! Carrying verdicts out: what is denied and allowed, and how a connection is cut.
//!
//! The policy decides ([`crate::policy`]), this module acts. What is denied is kept in user space,
//! with reason and source; the [`tables`] are its image where segments are looked up.

pub mod allow_entries;
mod changes;
pub mod denylist;
mod enforcer;
pub mod entry;
pub mod file_list;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub mod guard;
mod held;
pub mod kernel;
mod packed;
mod pins;
mod place;
mod reset;
mod sock_diag;
pub(crate) mod state_file;
pub mod tables;

use self::{
    allow_entries::AllowEntries,
    denylist::Denylist,
    entry::Denied,
    tables::{TableError, Tables},
};
pub use self::{
    enforcer::{CutCounts, Enforcer},
    reset::probe as probe_reset,
};
use crate::{capture::FlowKey, time::Time};

/// What is denied and what is allowed.
#[derive(Debug, Default)]
pub struct Lists {
    /// What is denied.
    pub denied: Denylist,
    /// What is never cut.
    pub allowed: AllowEntries,
}

impl Lists {
    /// Removes what is over.
    pub fn expire(&mut self, now: Time) {
        self.denied.expire(now);
        self.allowed.expire(now);
    }

    /// Brings the tables up to date, step by step; whether more is left to be told.
    ///
    /// # Errors
    /// The table of allowed networks is full or refuses.
    pub fn refresh(&mut self, now: Time, tables: &mut dyn Tables) -> Result<bool, TableError> {
        // What is allowed first: nobody on it is to be cut meanwhile.
        self.allowed.refresh(tables)?;
        Ok(self.denied.refresh(now, tables))
    }
}

/// A connection that is to be cut, and what is to be denied with it.
#[derive(Clone, Debug)]
pub struct Cut {
    /// The connection.
    pub flow: FlowKey,
    /// The cookie of the service's socket; 0 where it is not known.
    pub cookie: u64,
    /// The process that serves it, where it is known.
    pub pid: Option<u32>,
    /// What is denied from now on, until when.
    pub denied: Vec<(Denied, Time)>,
}

/// What became of a [`Cut`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutOutcome {
    /// The connection was reset.
    Reset,
    /// The connection had ended by itself.
    Gone,
    /// The connection could not be reset; the log says why.
    Failed,
}

impl CutOutcome {
    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::Gone => "gone",
            Self::Failed => "failed",
        }
    }
}
