//! Composes the stages: segments and time in, events and exchanges out.
//!
//! [`Pipeline::push`] takes one observation of a capture source, [`Pipeline::tick`] the time.
//! Neither reads a clock nor does I/O, so a capture file and the live kernel give the same output
//! for the same input. The pipeline's clock is the latest time that it was given; it never runs
//! backwards, whatever the timestamps of a capture do.
//!
//! When an alert goes out: a request is judged as soon as it is complete. Its event waits for the
//! end of the answer, but no longer than [`ANSWER_TAIL`] after the answer's head, and no longer
//! than [`Settings::answer`] for the head.
//!
//! There are two halves: the `front` follows connections and reads messages, the `back` remembers,
//! scores and decides. What goes from one to the other are `steps`, one way only. So they need not
//! work at the same time: [`Pipeline::halves`] works ahead, in blocks.
#![forbid(unsafe_code)]

mod assess;
mod back;
mod blocks;
mod clock;
mod ending;
mod enforcement;
mod examine;
mod exchanges;
mod flow_state;
mod front;
mod history;
mod keys;
mod on_arrival;
mod output;
mod settings;
mod starts;
mod stats;
mod steps;
mod unknown_keys;

use std::{sync::Arc, time::Duration};

pub use self::{
    assess::{Assessed, Assessment, Vouching},
    blocks::{Block, Judging, Reading},
    ending::Endpoints,
    examine::{Examiner, Trusted},
    on_arrival::HeadVerdict,
    output::Output,
    settings::Settings,
    starts::StartStats,
    stats::Stats,
    unknown_keys::UnknownKeyStats,
};
use self::{
    back::Back,
    front::Front,
    steps::{Step, Steps},
};
use crate::{
    capture::{FlowKey, Input},
    clients::Clients,
    enforce::{Lists, guard::CutCause},
    features::Features,
    http::Request,
    keys::{FetchMark, Key, KeyStore, Pin},
    memory::Memory,
    revocation::RevocationList,
    score::{Models, Opinions},
    services::Services,
    time::Time,
    token::validate::Policy,
    weak::Search,
};

/// How long an alert waits for the end of an answer whose head has been seen. Long enough for a
/// service that writes head and body apart, short against what a person or a SIEM would notice.
pub const ANSWER_TAIL: Duration = Duration::from_millis(10);

/// The stages behind capture, for any number of connections. See the [module](self).
pub struct Pipeline {
    front: Front,
    back: Back,
}

/// Takes each step at once.
struct AtOnce<'b> {
    back: &'b mut Back,
    out: &'b mut dyn Output,
}

impl Steps for AtOnce<'_> {
    #[inline]
    fn step(&mut self, step: Step) -> Option<Box<Request>> {
        self.back.take(step, None, self.out)
    }
}

impl Pipeline {
    /// A pipeline without connections.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { front: Front::new(settings.front()), back: Back::new(settings) }
    }

    /// What has been seen and lost so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let (flows_open, held_bytes) = self.front.gauges();
        let stats = self.back.shared.stats.clone().with_front(self.front.stats());
        Stats { flows_open, held_bytes, ..stats }
    }

    /// Takes other settings from now on. Connections, keys and what is remembered of tokens stay.
    pub fn reconfigure(&mut self, settings: Settings) {
        self.front.limit(settings.front());
        self.back.reconfigure(settings);
    }

    /// Holds tokens against these keys and this policy from now on.
    pub fn trust(&mut self, keys: Arc<KeyStore>, policy: Arc<Policy>) {
        self.back.shared.judge.trust(keys, policy);
    }

    /// This fetch brought an issuer's keys, which are in force by now. Tells of what names a key
    /// that is not among them.
    pub fn fetched(&mut self, mark: FetchMark, out: &mut impl Output) {
        let shared = &mut self.back.shared;
        if shared.unknown_keys.is_empty() {
            return;
        }
        let (keys, _) = shared.judge.trusted();
        for missing in shared.unknown_keys.fetched(mark, &keys, &mut shared.stats.unknown_keys) {
            out.event(missing.event(&shared.ids, shared.stats.events));
            shared.stats.events += 1;
        }
    }

    /// Waits for no fetch any more: another source of keys takes over.
    pub fn forget_unknown_keys(&mut self) {
        self.back.shared.unknown_keys.forget(&mut self.back.shared.stats.unknown_keys);
    }

    /// Knows this of the watched services from now on.
    pub fn serve(&mut self, services: Arc<Services>) {
        self.back.shared.services = services;
    }

    /// Tells clients in this way from now on.
    pub fn locate(&mut self, clients: Arc<Clients>) {
        self.back.shared.clients = clients;
        self.back.shared.facts.clear();
    }

    /// Heeds what people said of events, in the place of what they said before.
    pub fn heed(&mut self, opinions: Arc<Opinions>) {
        self.back.shared.opinions = opinions;
    }

    /// Takes for revoked what this list holds, in the place of the one before.
    pub fn revoke(&mut self, list: &RevocationList) {
        list.apply(&mut self.back.shared.memory);
    }

    /// Goes on with what was remembered of tokens. A list of what is revoked is not part of it.
    pub fn remember(&mut self, memory: Memory) {
        self.back.shared.memory = memory;
    }

    /// What is remembered of tokens, to be saved.
    pub fn memory(&mut self) -> &mut Memory {
        &mut self.back.shared.memory
    }

    /// Scores with these models from the next request on.
    pub fn score_with(&mut self, models: Models) {
        self.back.score_with(models);
    }

    /// What is usual for subjects, to be saved and restored.
    pub fn features(&mut self) -> &mut Features {
        &mut self.back.shared.features
    }

    /// The keys that were learned from traffic, to be saved: issuer, key, and what is known of it.
    /// How many were learned and changed tells [`Stats::key_sets`].
    pub fn learned(&self) -> impl Iterator<Item = (String, Arc<Key>, Pin)> {
        let (keys, _) = self.back.shared.judge.trusted();
        let all: Vec<_> =
            keys.learned().map(|(name, key, pin)| (name.into(), Arc::clone(key), *pin)).collect();
        all.into_iter()
    }

    /// Puts back a key that was learned by an earlier run; `false` where it has no place.
    pub fn restore_learned(&mut self, issuer: &str, key: Arc<Key>, pin: Pin) -> bool {
        self.back.shared.settings.learn && self.back.shared.judge.restore_key(issuer, key, pin)
    }

    /// A search that was under way found that the secret is weak.
    pub fn weak_secret(&mut self, search: &Search, out: &mut impl Output) {
        self.back.weak_secret(search, out);
    }

    /// The guard let nothing more pass of a connection, and why.
    pub fn refused(
        &mut self,
        now: Time,
        flow: FlowKey,
        cookie: u64,
        cause: CutCause,
        out: &mut impl Output,
    ) {
        let slot = self.front.note(now, flow, cookie, &mut AtOnce { back: &mut self.back, out });
        self.back.refused(slot, cause, out);
    }

    /// What is denied and what is allowed.
    pub fn lists(&mut self) -> &mut Lists {
        &mut self.back.shared.lists
    }

    /// Takes one observation.
    pub fn push(&mut self, input: &Input<'_>, out: &mut impl Output) {
        self.front.push(input, &mut AtOnce { back: &mut self.back, out });
    }

    /// Lets time pass: what waited long enough goes out, silent connections are forgotten.
    pub fn tick(&mut self, now: Time, out: &mut impl Output) {
        self.front.tick(now, &mut AtOnce { back: &mut self.back, out });
    }

    /// Both halves, to be worked with apart until they are given back.
    pub fn halves(&mut self) -> (Reading<'_>, Judging<'_>) {
        (Reading::new(&mut self.front), Judging::new(&mut self.back))
    }

    /// The source has ended: every connection is closed, oldest first.
    pub fn finish(&mut self, out: &mut impl Output) {
        self.front.finish(&mut AtOnce { back: &mut self.back, out });
        self.back.finish(out);
    }
}

#[cfg(test)]
mod keys_tests;
#[cfg(test)]
mod tests;
