//! Tokens that name a key which their issuer does not have.
//!
//! An invented `kid` must not be a way around the signature check, and a rotated key must not be
//! an alarm. Both look alike until the issuer's key set was fetched again: so what names an
//! unknown key waits here for a fetch that began behind it. If that brings the key, nothing was
//! wrong; if it does not, a `key` event tells; and if no fetch succeeds, nothing is said, as the
//! sensor doesn't know. Where keys come from files alone nothing is on its way, and
//! [`Validation`](crate::token::validate::Validation) says so at once.

use std::{sync::Arc, time::Duration};

use hashlink::LinkedHashMap;

use super::output::Reporter;
use crate::{
    capture::{FlowKey, Service},
    event::{
        self, Body, Event, EventIds, Fingerprint, ISSUER_MAX, KeyEvent, Kind, TOKEN_TEXT_MAX, Text,
    },
    finding::{Finding, FindingId, Severity},
    json::Value,
    keys::{Algorithm, FetchMark, KeyStore},
    time::Time,
    token::{Token, is_refresh, validate::SignatureCheck},
};

/// Key ids that wait at once, an entry each however many tokens name it. Some hundred bytes each;
/// who invents more of them in a minute is told of all the same.
const MAX_WAITING: usize = 1_024;
/// The bytes that count of an issuer and of a `kid`: no key's real names are longer, so what is
/// cut here stands for no key either.
const MAX_NAME: usize = 512;
/// How long a fetch is waited for: several tries of one that fails.
const MAX_WAIT: Duration = Duration::from_secs(600);

/// What became of key ids that were not at hand, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct UnknownKeyStats {
    /// A fetch brought the key.
    pub arrived: u64,
    /// A fetch did not, and an event told so.
    pub missing: u64,
    /// No fetch succeeded in time.
    pub unanswered: u64,
    /// Too many at once: not waited for.
    pub dropped: u64,
}

/// Issuer and `kid` as a token has them.
type Names = (Option<Box<str>>, Box<str>);

/// What names unknown keys and waits for a fetch, oldest first.
#[derive(Default)]
pub(super) struct UnknownKeys {
    waiting: LinkedHashMap<Names, Sighting>,
}

/// The first token that named an unknown key.
struct Sighting {
    behind: FetchMark,
    flow: FlowKey,
    service: Option<Arc<Service>>,
    at: Time,
    alg: Option<&'static str>,
    token: Fingerprint,
    tokens: u64,
    accepted: bool,
}

/// A key that is not there.
pub(super) struct Missing {
    names: Names,
    first: Sighting,
}

impl UnknownKeys {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The service accepted this token.
    pub(super) fn accepted(&mut self, token: &Token) {
        if !self.waiting.is_empty()
            && let Some(names) = names(token)
            && let Some(sighting) = self.waiting.get_mut(&names)
        {
            sighting.accepted = true;
        }
    }

    fn see(&mut self, names: Names, sighting: Sighting, stats: &mut UnknownKeyStats) {
        if let Some(known) = self.waiting.get_mut(&names) {
            known.tokens += 1;
        } else if self.waiting.len() < MAX_WAITING {
            self.waiting.insert(names, sighting);
        } else {
            stats.dropped += 1;
        }
    }

    /// Which of them this fetch, whose keys are among `keys`, proves to be missing.
    pub(super) fn fetched(
        &mut self,
        fetch: FetchMark,
        keys: &KeyStore,
        stats: &mut UnknownKeyStats,
    ) -> Vec<Missing> {
        let answered = |sighting: &Sighting| {
            let FetchMark { source, number } = sighting.behind;
            source == fetch.source && number < fetch.number
        };
        if !self.waiting.values().any(answered) {
            return Vec::new();
        }
        let mut missing = Vec::new();
        for (names, first) in std::mem::take(&mut self.waiting) {
            if !answered(&first) {
                self.waiting.insert(names, first);
            } else if keys.lacks(names.0.as_deref(), &names.1) {
                stats.missing += 1;
                missing.push(Missing { names, first });
            } else {
                stats.arrived += 1;
            }
        }
        missing
    }

    /// Gives up on what waits for too long.
    pub(super) fn expire(&mut self, now: Time, stats: &mut UnknownKeyStats) {
        while self.waiting.front().is_some_and(|(_, first)| now.since(first.at) > MAX_WAIT) {
            self.waiting.pop_front();
            stats.unanswered += 1;
        }
    }

    /// The clock was set by so many nanoseconds.
    pub(super) fn clock_set(&mut self, by: i64) {
        for (_, sighting) in &mut self.waiting {
            sighting.at = sighting.at.moved(by);
        }
    }

    /// Gives up on all.
    pub(super) fn forget(&mut self, stats: &mut UnknownKeyStats) {
        stats.unanswered += self.waiting.len() as u64;
        self.waiting.clear();
    }
}

impl Missing {
    /// The event of it. `index` tells it from others of the same connection and time.
    pub(super) fn event(self, ids: &EventIds, index: u64) -> Event {
        let Self { names: (issuer, kid), first } = self;
        let mut detail = String::from("kid names none of the issuer's keys, fetched again since");
        if first.tokens > 1 {
            detail.push_str(&format!(", in {} requests", first.tokens));
        }
        let mut finding = Finding::new(FindingId::KidUnknown, detail);
        if first.accepted {
            finding.severity = Severity::High;
            finding.detail = format!("{}, and the service accepted it", finding.detail).into();
        }
        let findings = vec![finding];
        Event {
            id: ids.id(Kind::Key, Some(&first.flow), first.at, index),
            at: first.at,
            severity: event::severity(&findings),
            body: Body::Key(Box::new(KeyEvent {
                client: first.flow.client,
                server: first.flow.server,
                service: first.service,
                issuer: issuer.map(|issuer| Text::new(issuer.as_bytes(), ISSUER_MAX)),
                kid: Some(Text::new(kid.as_bytes(), TOKEN_TEXT_MAX)),
                alg: first.alg,
                token: Some(first.token),
                findings,
            })),
        }
    }
}

impl Reporter<'_, '_> {
    /// Asks for the key that the token names, where it is not at hand, and waits for it.
    pub(super) fn ask_for_key(
        &mut self,
        flow: &FlowKey,
        service: Option<&Arc<Service>>,
        at: Time,
        token: &Token,
    ) {
        let Some(known) = token.decoded.as_ref().filter(|known| known.validation.unknown_key)
        else {
            return;
        };
        let Some(names) = names(token) else { return };
        let Some(behind) = self.out.unknown_key(names.0.as_deref(), &names.1) else { return };
        // What has a finding of its own, or is for its issuer's eyes alone, needs no other.
        if known.validation.signature != SignatureCheck::Unverifiable || is_refresh(&token.location)
        {
            return;
        }
        let alg = token.header_text("alg").and_then(|alg| Algorithm::from_name(&alg));
        let sighting = Sighting {
            behind,
            flow: *flow,
            service: service.cloned(),
            at,
            alg: alg.map(Algorithm::as_str),
            token: *token.fingerprint.as_bytes(),
            tokens: 1,
            accepted: false,
        };
        self.unknown_keys.see(names, sighting, &mut self.stats.unknown_keys);
    }
}

/// The issuer and the key id that a token names.
fn names(token: &Token) -> Option<Names> {
    let known = token.decoded.as_ref().filter(|known| known.validation.unknown_key)?;
    let name = |value: Option<Value<'_>>| {
        let text = value?.as_str()?;
        Some(Box::from(&text[..text.floor_char_boundary(MAX_NAME)]))
    };
    let issuer = name(known.claims().and_then(|claims| claims.get("iss")));
    Some((issuer, name(known.header().and_then(|header| header.get("kid"))).unwrap_or_default()))
}

#[cfg(test)]
#[path = "unknown_keys_tests.rs"]
mod tests;
