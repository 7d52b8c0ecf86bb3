//! What is to be done about a request: from its findings, its score and where it comes from to a
//! [`Verdict`].
//!
//! Each finding is held against the configured rules in their order; the first that fits gives
//! its action, and where none fits [`default_action`] does. The gravest action of all findings
//! and of the score counts, so that a finding that a rule lets pass never hides another one. The
//! allowlist wins over a verdict to cut, whatever it rests on.
#![forbid(unsafe_code)]

mod allow;
mod rules;
#[cfg(test)]
mod tests;

use std::{net::IpAddr, time::Duration};

use serde::Deserialize;
use smallvec::SmallVec;

pub use self::{
    allow::{AllowKind, AllowedName, Allowlist, MAX_ALLOWED_NAMES, MAX_ALLOWED_NETWORKS},
    rules::{Rule, ScoreRange, default_action},
};
use crate::finding::{Finding, FindingId, Severity};

/// What is done about bad requests of a service; DESIGN's four modes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Somebody is told.
    #[default]
    Alert,
    /// The connection is reset, and what the configuration names is denied for a time.
    Kill,
    /// As `kill`; and no answer leaves the host before the verdict on its request.
    Hold,
    /// As `kill`; and no request reaches the service before the verdict on it.
    Gate,
}

impl Mode {
    /// All, ascending by how much they take upon themselves.
    pub const ALL: [Self; 4] = [Self::Alert, Self::Kill, Self::Hold, Self::Gate];

    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Kill => "kill",
            Self::Hold => "hold",
            Self::Gate => "gate",
        }
    }

    /// Whether anything is ever cut.
    #[must_use]
    pub const fn cuts(self) -> bool {
        !matches!(self, Self::Alert)
    }
}

/// What the kernel does with what it holds while the daemon is not there to judge it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailMode {
    /// It lets everything pass.
    #[default]
    Open,
    /// It goes on holding.
    Closed,
}

impl FailMode {
    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }
}

/// What a verdict to cut denies beside the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DenyScope {
    /// The tokens that the verdict rests on, by their signatures.
    Token,
    /// All tokens of their subjects, where a key vouches for the subject's name.
    Subject,
    /// The client's address.
    Address,
}

impl DenyScope {
    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Subject => "subject",
            Self::Address => "address",
        }
    }
}

/// What a rule asks for, ascending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Nothing: nobody is told.
    Allow,
    /// Somebody is told.
    Alert,
    /// The flow is cut, where the mode is one that cuts.
    Kill,
}

/// A finding with what is known of where it stands.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// What was found.
    pub finding: &'a Finding,
    /// The token that it is about is a credential of this request, or no token is concerned. What
    /// is found of a token that the request is *about*, such as one that a gateway asks the
    /// authorization server to look up, says nothing against who sent it: it is told of, and
    /// cuts nothing.
    pub of_credentials: bool,
    /// Who the token says that it speaks for, where a key vouches for it.
    pub vouched: Option<Name<'a>>,
}

/// Whom a token speaks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Name<'a> {
    /// `iss`.
    pub issuer: Option<&'a str>,
    /// `sub`.
    pub subject: Option<&'a str>,
}

/// The request that is decided on. `Debug` shows the target's size only: its query may hold a token.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The other end of the connection.
    pub peer: IpAddr,
    /// The client: the peer, or whom a trusted proxy there names.
    pub client: IpAddr,
    /// The method, as sent.
    pub method: &'a [u8],
    /// The request target, as sent.
    pub target: &'a [u8],
    /// How likely the request is an attack, 0 to 100, where something says so.
    pub score: Option<u8>,
    /// A model is sure enough of that to tell somebody, where no rule is for the score.
    pub suspected: bool,
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("client", &self.client)
            .field("target", &self.target.len())
            .field("score", &self.score)
            .finish_non_exhaustive()
    }
}

/// What is to be done about a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    #[default]
    Allow,
    /// Somebody is to be told.
    Alert,
    /// It would be cut, and the allowlist forbids it. Somebody is to be told.
    Spared {
        /// What it would have been cut for.
        reasons: Reasons,
        /// Which entry of the allowlist spares it.
        by: AllowKind,
    },
    /// The flow is to be cut.
    Kill {
        /// What for.
        reasons: Reasons,
    },
}

impl Verdict {
    /// Whether the flow is to be cut.
    #[must_use]
    pub const fn is_kill(&self) -> bool {
        matches!(self, Self::Kill { .. })
    }
}

/// What a verdict to cut rests on: each finding once, in the order that they were found in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reasons {
    /// Findings.
    pub findings: SmallVec<[FindingId; 2]>,
    /// The score.
    pub score: Option<u8>,
}

impl Reasons {
    fn add(&mut self, id: FindingId) {
        if !self.findings.contains(&id) {
            self.findings.push(id);
        }
    }

    /// The stable names, parted by commas.
    #[must_use]
    pub fn text(&self) -> String {
        let names = self.findings.iter().map(|id| id.as_str().to_owned());
        let score = self.score.map(|score| format!("score {score}"));
        names.chain(score).collect::<Vec<_>>().join(", ")
    }
}

/// A verdict, and whether it is worth telling of where nothing is cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// What is to be done.
    pub verdict: Verdict,
    /// Something that is not allowed was found, of the severity that is told of.
    pub told: bool,
}

/// The `[enforcement]` part of the configuration, as the pipeline takes it.
#[derive(Debug, Default)]
pub struct Enforcement {
    /// What is done about which findings.
    pub policy: Policy,
    /// Where a service has no mode of its own.
    pub mode: Mode,
    /// Where a service does not say otherwise.
    pub dry_run: bool,
    /// Nothing is ever carried out: there is only a capture file.
    pub replay: bool,
    /// What a verdict to cut denies beside the connection.
    pub deny: Vec<DenyScope>,
    /// For how long.
    pub deny_for: Duration,
}

/// The rules.
#[derive(Debug, Default)]
pub struct Policy {
    rules: Vec<Rule>,
}

impl Policy {
    /// A policy of these rules, the first that fits a finding counts.
    #[must_use]
    pub fn new(rules: Vec<Rule>) -> Self {
        Self { rules }
    }

    /// Whether some score is enough to cut.
    #[must_use]
    pub fn cuts_by_score(&self) -> bool {
        self.rules.iter().any(|rule| rule.score.is_some() && rule.action == Action::Kill)
    }

    /// What this finding asks for.
    #[must_use]
    pub fn action(&self, evidence: &Evidence<'_>) -> Action {
        let finding = evidence.finding;
        let rule = self.rules.iter().find(|rule| rule.fits(finding));
        let action = rule.map_or_else(|| default_action(finding), |rule| rule.action);
        if evidence.of_credentials { action } else { action.min(Action::Alert) }
    }

    /// Decides on a request. Findings below `least` are not worth telling of by themselves.
    pub fn decide<'a>(
        &self,
        allowlist: &Allowlist,
        context: &Context<'_>,
        least: Severity,
        evidence: impl IntoIterator<Item = Evidence<'a>>,
    ) -> Decision {
        let (mut gravest, mut told) = (Action::Allow, false);
        let (mut spared, mut reasons) = (Reasons::default(), Reasons::default());
        let mut by = None;
        for evidence in evidence {
            let action = self.action(&evidence);
            told |= action != Action::Allow && evidence.finding.severity >= least;
            match action {
                Action::Allow => {}
                Action::Alert => gravest = gravest.max(Action::Alert),
                Action::Kill => {
                    gravest = Action::Kill;
                    let id = evidence.finding.id;
                    match evidence.vouched.and_then(|name| allowlist.allows_name(name)) {
                        Some(kind) => {
                            by = Some(kind);
                            spared.add(id);
                        }
                        None => reasons.add(id),
                    }
                }
            }
        }
        if let Some(score) = context.score {
            let rule = self.rules.iter().find(|rule| rule.fits_score(score));
            let unruled = if context.suspected { Action::Alert } else { Action::Allow };
            let action = rule.map_or(unruled, |rule| rule.action);
            gravest = gravest.max(action);
            told |= action != Action::Allow;
            if action == Action::Kill {
                reasons.score = Some(score);
            }
        }
        let verdict = match gravest {
            Action::Alert if told => Verdict::Alert,
            Action::Allow | Action::Alert => Verdict::Allow,
            Action::Kill => {
                let kills = reasons != Reasons::default();
                if let Some(kind) = allowlist.allows_request(context) {
                    spared.findings.into_iter().for_each(|id| reasons.add(id));
                    Verdict::Spared { reasons, by: kind }
                } else if let (false, Some(by)) = (kills, by) {
                    Verdict::Spared { reasons: spared, by }
                } else {
                    Verdict::Kill { reasons }
                }
            }
        };
        Decision { verdict, told }
    }
}
