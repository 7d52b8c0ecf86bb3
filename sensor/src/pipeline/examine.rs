//! What can be said of a request by itself: its tokens, held against keys and policy, and what the
//! payload model makes of what it carries. It takes the larger part of the time, and depends on
//! nothing that passed before, so it may be done ahead of the rest and for many requests at once.

use std::sync::Arc;

use super::Settings;
use crate::{
    http::Request,
    keys::KeyStore,
    score::{PayloadScorer, Score},
    token::{Judge, KeysVersion, TokenReport, validate::Policy},
};

/// What was made of a request by itself.
pub(super) struct Examined {
    /// Its tokens, as these keys have them.
    pub(super) tokens: TokenReport,
    pub(super) keys: KeysVersion,
    /// What the payload model makes of it; `None` where nothing is scored. It does not depend on
    /// keys.
    pub(super) score: Option<Score>,
}

/// The keys and the policy that tokens are held against. Equal ones are the same.
#[derive(Clone)]
pub struct Trusted {
    keys: Arc<KeyStore>,
    policy: Arc<Policy>,
    version: KeysVersion,
}

impl PartialEq for Trusted {
    fn eq(&self, other: &Self) -> bool {
        self.version == other.version
    }
}

impl Trusted {
    /// What this judge trusts.
    pub(super) fn of(judge: &Judge) -> Self {
        let (keys, policy) = judge.trusted();
        Self { keys, policy, version: judge.keys_version() }
    }
}

/// Examines requests for a pipeline. It has a cache of its own, which changes no result.
pub struct Examiner {
    judge: Judge,
    payload: Option<PayloadScorer>,
}

impl Examiner {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            judge: Judge::new(settings.judge.clone()),
            payload: settings.models.as_ref().map(PayloadScorer::new),
        }
    }

    /// Holds tokens against these keys from now on.
    pub fn trust(&mut self, Trusted { keys, policy, version }: Trusted) {
        self.judge.adopt(keys, policy, version);
    }

    pub(super) fn examine(&mut self, request: &Request) -> Examined {
        let tokens = self.judge.judge(request);
        let score = self.payload.as_mut().map(|payload| payload.score(request, &tokens));
        Examined { tokens, keys: self.judge.keys_version(), score }
    }
}
