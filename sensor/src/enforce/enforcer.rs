//! The acting end of a running daemon: the tables and the resets.

use serde::{Deserialize, Serialize};

use super::{
    Cut, CutOutcome, Lists,
    entry::Denied,
    reset::Resetter,
    tables::{AllowKey, Deny, DenyCause, ServiceId, TableCounts, Tables},
};
use crate::time::Time;

/// What was done since the daemon started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutCounts {
    /// Connections that were reset.
    pub reset: u64,
    /// Connections that had ended by themselves when they were to be reset.
    pub gone: u64,
    /// Connections that could not be reset.
    pub failed: u64,
}

/// Carries verdicts out.
pub struct Enforcer {
    tables: Box<dyn Tables>,
    resetter: Resetter,
    counts: CutCounts,
    /// The last cut failed: the next failure is no news.
    failing: bool,
    /// The last refresh of the allowed networks failed.
    stale: bool,
}

impl std::fmt::Debug for Enforcer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Enforcer").field("counts", &self.counts).finish_non_exhaustive()
    }
}

impl Enforcer {
    /// Acts on these tables.
    #[must_use]
    pub fn new(tables: Box<dyn Tables>) -> Self {
        let counts = CutCounts::default();
        Self { tables, resetter: Resetter::new(), counts, failing: false, stale: false }
    }

    /// Cuts a connection: first what is denied comes into the tables, so that a client that sees
    /// the RST and tries again is met by them, then the connection is reset.
    pub fn cut(&mut self, cut: &Cut) -> CutOutcome {
        for (denied, until) in &cut.denied {
            let deny = Deny { until: Some(*until), cause: DenyCause::Verdict };
            // What fails here is told and counted when the list is brought in line.
            let _ = match denied {
                Denied::Token(key) => self.tables.deny_token(*key, deny),
                Denied::Network(network) => self.tables.deny_network(*network, deny),
                Denied::Flow(cookie) => self.tables.deny_flow(*cookie, deny),
                // The kernel knows no subjects: their tokens are asked for again.
                Denied::Subject(_) => self.tables.clear_allowed_tokens(),
            };
        }
        let outcome = match self.resetter.reset(cut) {
            Ok(outcome) => {
                self.failing = false;
                outcome
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!("a connection can't be reset: {error}");
                }
                CutOutcome::Failed
            }
        };
        match outcome {
            CutOutcome::Reset => self.counts.reset += 1,
            CutOutcome::Gone => self.counts.gone += 1,
            CutOutcome::Failed => self.counts.failed += 1,
        }
        outcome
    }

    /// Brings the tables in line with the lists, a step at a time.
    pub fn refresh(&mut self, now: Time, lists: &mut Lists) {
        match lists.refresh(now, self.tables.as_mut()) {
            Ok(_more) => self.stale = false,
            Err(error) if !std::mem::replace(&mut self.stale, true) => {
                tracing::error!("the allowlist is not in force in the kernel: {error}");
            }
            Err(_) => {}
        }
    }

    /// Lets a judged token pass at one service.
    pub fn allow_token(&mut self, key: AllowKey, service: ServiceId, until: Time) {
        // Without room it is asked for again: a delay, no loss.
        let _ = self.tables.allow_token(key, service, until);
    }

    /// Lets no judged token pass any more: keys, rules or lists have changed.
    pub fn forget_allowed(&mut self) {
        if let Err(error) = self.tables.clear_allowed_tokens() {
            tracing::error!("tokens that were judged before still pass: {error}");
        }
    }

    /// Lets go of what was not used for long.
    pub fn tidy(&mut self) {
        self.resetter.tidy();
    }

    /// What was done.
    #[must_use]
    pub fn counts(&self) -> CutCounts {
        self.counts
    }

    /// How full the tables are.
    #[must_use]
    pub fn table_counts(&self) -> TableCounts {
        self.tables.counts()
    }
}
