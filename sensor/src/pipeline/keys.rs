//! What is learned of issuers' keys on the way, and the events about them.

use std::sync::Arc;

use super::{exchanges::Open, output::Reporter};
use crate::{
    capture::{FlowKey, Service},
    event::{self, Body, Event, EventIds, ISSUER_MAX, KeyEvent, Kind, TOKEN_TEXT_MAX, Text},
    finding::{Finding, FindingId},
    http,
    keys::{Algorithm, Key},
    learn::Lesson,
    time::Time,
    weak::{Search, Searched},
};

impl Reporter<'_, '_> {
    /// An answer was a document that may be about keys.
    pub(super) fn learn(
        &mut self,
        flow: &FlowKey,
        service: Option<&Arc<Service>>,
        open: &Open,
        body: &http::Body,
    ) {
        let Some(response) = &open.response else { return };
        let stats = &mut self.stats.key_sets;
        let (issuer, keys) = match self.learner.read(&open.request, response, body) {
            Lesson::Keys { issuer, keys } => (issuer, keys),
            Lesson::Announced(target) => return self.out.copy_whole(&target),
            Lesson::Incomplete => {
                stats.incomplete += 1;
                return self.out.copy_whole(open.request.target());
            }
            Lesson::Unusable => return stats.unusable += 1,
            Lesson::Unattributed => return stats.unattributed += 1,
        };
        let learned = self.judge.learn_keys(&issuer, keys, self.now);
        stats.read += 1;
        stats.learned += learned.added as u64;
        stats.changed += learned.changed.len() as u64;
        stats.refused += learned.refused as u64;
        for key in learned.changed {
            let findings = vec![changed(&key)];
            let at = open.request.first_byte;
            let event = Event {
                id: self.ids.id(Kind::Key, Some(flow), at, self.stats.events),
                at,
                severity: event::severity(&findings),
                body: Body::Key(Box::new(KeyEvent {
                    client: flow.client,
                    server: flow.server,
                    service: service.cloned(),
                    issuer: Some(Text::new(issuer.as_bytes(), ISSUER_MAX)),
                    kid: key.kid().map(|kid| Text::new(kid.as_bytes(), TOKEN_TEXT_MAX)),
                    alg: key.algorithm().map(Algorithm::as_str),
                    token: None,
                    findings,
                })),
            };
            self.give(*flow, event);
        }
    }

    /// A service accepted these tokens: their secrets are tried, each once.
    pub(super) fn try_secrets(
        &mut self,
        flow: &FlowKey,
        service: Option<&Arc<Service>>,
        open: &Open,
    ) {
        let Some(list) = &self.settings.weak_secrets else { return };
        for token in &open.tokens.tokens {
            let Some(sample) = token.decoded.as_ref().and_then(|known| known.hmac.as_ref()) else {
                continue;
            };
            let Some(name) = self.tried.first(sample) else { continue };
            self.stats.secrets.tried += 1;
            let search = Search {
                sample: Arc::clone(sample),
                token: *token.fingerprint.as_bytes(),
                at: open.request.first_byte,
                flow: *flow,
                service: service.cloned(),
            };
            match self.out.search(list, search) {
                Searched::Clean | Searched::Later => {}
                Searched::Dropped => {
                    self.tried.forget(name);
                    self.stats.secrets.tried -= 1;
                    self.stats.secrets.dropped += 1;
                }
                Searched::Weak(search) => {
                    self.stats.secrets.weak += 1;
                    let event = weak_event(&search, self.ids, self.stats.events);
                    self.give(*flow, event);
                }
            }
        }
    }
}

fn changed(key: &Key) -> Finding {
    let detail = match key.kid() {
        Some(_) => format!("another {:?} key stands under a pinned key id", key.key_type()),
        None => format!("another {:?} key", key.key_type()),
    };
    Finding::new(FindingId::LearnedKeyChanged, detail)
}

/// The event of a weak secret. `index` tells it from others of the same connection and time.
pub(super) fn weak_event(search: &Search, ids: &EventIds, index: u64) -> Event {
    let detail = "a secret of the list verifies a token that a service accepted";
    let findings = vec![Finding::new(FindingId::WeakSecret, detail)];
    let (flow, at): (&FlowKey, Time) = (&search.flow, search.at);
    let text = |text: &Option<Box<str>>, max| Some(Text::new(text.as_ref()?.as_bytes(), max));
    Event {
        id: ids.id(Kind::Key, Some(flow), at, index),
        at,
        severity: event::severity(&findings),
        body: Body::Key(Box::new(KeyEvent {
            client: flow.client,
            server: flow.server,
            service: search.service.clone(),
            issuer: text(&search.sample.issuer, ISSUER_MAX),
            kid: text(&search.sample.kid, TOKEN_TEXT_MAX),
            alg: Some(search.sample.alg.as_str()),
            token: Some(search.token),
            findings,
        })),
    }
}
