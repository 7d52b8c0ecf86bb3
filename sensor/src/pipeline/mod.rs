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
#![forbid(unsafe_code)]

mod assess;
mod ending;
mod enforcement;
mod flow_state;
mod history;
mod keys;
mod on_arrival;
mod output;
mod settings;
mod starts;
mod stats;
mod unknown_keys;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use hashlink::{LinkedHashMap, linked_hash_map::RawEntryMut};
use smallvec::SmallVec;

pub use self::{
    assess::{Assessed, Assessment, Vouching},
    ending::Endpoints,
    on_arrival::HeadVerdict,
    output::Output,
    settings::Settings,
    starts::StartStats,
    stats::Stats,
    unknown_keys::UnknownKeyStats,
};
use self::{
    flow_state::{FlowState, Open},
    output::{Reporter, Unattributed},
    unknown_keys::UnknownKeys,
};
use crate::{
    capture::{FlowKey, Input, Segment, Service},
    clients::{Clients, FactsCache},
    enforce::{Lists, guard::CutCause},
    event::EventIds,
    features::Features,
    http::Events,
    keys::{FetchMark, Key, KeyStore, Pin},
    learn::Learner,
    memory::Memory,
    revocation::RevocationList,
    score::{Models, Opinions, Scorer},
    services::Services,
    time::Time,
    token::{Judge, validate::Policy},
    weak::{Search, Tried},
};

/// How long an alert waits for the end of an answer whose head has been seen. Long enough for a
/// service that writes head and body apart, short against what a person or a SIEM would notice.
pub const ANSWER_TAIL: Duration = Duration::from_millis(10);

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// Bytes that TCP has not yet confirmed.
    Confirmation,
    /// The rest of the answer to a suspicious request.
    Tail(u64),
    /// The head of the answer to a suspicious request.
    Answer(u64),
}

/// Deadlines of one constant delay: first in, first due.
type Queue = VecDeque<(Time, FlowKey, Wait)>;

type Flows = LinkedHashMap<FlowKey, Box<FlowState>, foldhash::fast::RandomState>;

/// The stages behind capture, for any number of connections. See the [module](self).
pub struct Pipeline {
    /// Oldest first by last segment.
    flows: Flows,
    /// No connection is idle for long enough before this.
    idle_due: Time,
    shared: Shared,
}

/// What all connections share.
struct Shared {
    settings: Settings,
    judge: Judge,
    memory: Memory,
    lists: Lists,
    /// Nothing is scored without one.
    scorer: Option<Scorer>,
    features: Features,
    opinions: Arc<Opinions>,
    services: Arc<Services>,
    clients: Arc<Clients>,
    facts: FactsCache,
    learner: Learner,
    tried: Tried,
    unknown_keys: UnknownKeys,
    confirmations: Queue,
    tails: Queue,
    answers: Queue,
    unattributed: Unattributed,
    now: Time,
    held_bytes: usize,
    ids: EventIds,
    stats: Stats,
    /// What the HTTP stage gives out, between its turn and the next one's.
    events: Events,
    /// Empty queues for the next connections that need one.
    spare: Vec<VecDeque<Open>>,
}

impl Shared {
    fn reporter<'p, 'o>(&'p mut self, out: &'o mut impl Output) -> Reporter<'p, 'o> {
        Reporter {
            settings: &self.settings,
            ids: &self.ids,
            judge: &mut self.judge,
            memory: &mut self.memory,
            lists: &mut self.lists,
            scorer: &mut self.scorer,
            features: &mut self.features,
            opinions: &self.opinions,
            services: &self.services,
            clients: &self.clients,
            facts: &mut self.facts,
            learner: &mut self.learner,
            tried: &mut self.tried,
            unknown_keys: &mut self.unknown_keys,
            stats: &mut self.stats,
            now: self.now,
            out,
            waits: SmallVec::new(),
            unattributed: &mut self.unattributed,
            events: &mut self.events,
            spare: &mut self.spare,
        }
    }

    /// Lets a connection act, and takes note of what it holds and waits for.
    fn act(
        &mut self,
        state: &mut FlowState,
        out: &mut impl Output,
        act: impl FnOnce(&mut FlowState, &mut Reporter<'_, '_>),
    ) {
        let mut reporter = self.reporter(out);
        let before = state.held_bytes();
        act(state, &mut reporter);
        let waits = reporter.waits;
        self.held_bytes = self.held_bytes - before + state.held_bytes();
        let key = state.key;
        for wait in waits {
            match wait {
                Wait::Confirmation => {
                    self.confirmations.push_back((
                        self.now + self.settings.flow.confirm_wait,
                        key,
                        wait,
                    ));
                }
                Wait::Tail(_) => self.tails.push_back((self.now + ANSWER_TAIL, key, wait)),
                Wait::Answer(_) => {
                    self.answers.push_back((self.now + self.settings.answer, key, wait));
                }
            }
        }
    }

    /// The connection is over, and its state about to be dropped.
    fn finish(&mut self, state: &mut FlowState, out: &mut impl Output) {
        self.act(state, out, FlowState::finish);
        self.held_bytes -= state.held_bytes();
    }

    /// Gives out the events of `flow` that waited for their service's name.
    fn attribute(&mut self, flow: &FlowKey, service: &Arc<Service>, out: &mut impl Output) {
        if self.unattributed.iter().all(|(_, key, _)| key != flow) {
            return;
        }
        for (due, key, mut event) in std::mem::take(&mut self.unattributed) {
            if key == *flow {
                event.body.attribute(service);
                out.event(event);
            } else {
                self.unattributed.push_back((due, key, event));
            }
        }
    }

    /// The next wait that is over, earliest queue first.
    fn next_due(&mut self) -> Option<(FlowKey, Wait)> {
        for queue in [&mut self.tails, &mut self.confirmations, &mut self.answers] {
            if queue.front().is_some_and(|&(due, ..)| due <= self.now) {
                return queue.pop_front().map(|(_, flow, wait)| (flow, wait));
            }
        }
        None
    }
}

impl Pipeline {
    /// A pipeline without connections.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            flows: LinkedHashMap::default(),
            idle_due: Time::EPOCH,
            shared: Shared {
                judge: Judge::new(settings.judge.clone()),
                memory: Memory::new(settings.memory_secret, settings.memory.clone()),
                lists: Lists::default(),
                scorer: scorer(&settings),
                features: Features::new(settings.subjects, settings.profile_secret),
                opinions: Arc::default(),
                services: Arc::default(),
                clients: Arc::default(),
                facts: FactsCache::default(),
                learner: learner(&settings),
                tried: Tried::new(),
                unknown_keys: UnknownKeys::default(),
                ids: EventIds::new(&settings.id_salt),
                settings,
                confirmations: Queue::new(),
                tails: Queue::new(),
                answers: Queue::new(),
                unattributed: Unattributed::new(),
                now: Time::EPOCH,
                held_bytes: 0,
                stats: Stats::default(),
                events: Events::default(),
                spare: Vec::new(),
            },
        }
    }

    /// What has been seen and lost so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            flows_open: self.flows.len() as u64,
            held_bytes: self.shared.held_bytes as u64,
            ..self.shared.stats.clone()
        }
    }

    /// Takes other settings from now on. Connections, keys and what is remembered of tokens stay.
    pub fn reconfigure(&mut self, settings: Settings) {
        let (keys, policy) = self.shared.judge.trusted();
        self.shared.judge = Judge::new(settings.judge.clone());
        self.shared.judge.trust(keys, policy);
        if !settings.learn {
            self.shared.judge.forget_learned();
        }
        self.shared.learner = learner(&settings);
        self.shared.scorer = scorer(&settings);
        // Another list is tried on keys that were tried before.
        self.shared.tried = Tried::new();
        self.shared.settings = settings;
        self.idle_due = Time::EPOCH;
    }

    /// Holds tokens against these keys and this policy from now on.
    pub fn trust(&mut self, keys: Arc<KeyStore>, policy: Arc<Policy>) {
        self.shared.judge.trust(keys, policy);
    }

    /// This fetch brought an issuer's keys, which are in force by now. Tells of what names a key
    /// that is not among them.
    pub fn fetched(&mut self, mark: FetchMark, out: &mut impl Output) {
        let shared = &mut self.shared;
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
        self.shared.unknown_keys.forget(&mut self.shared.stats.unknown_keys);
    }

    /// Knows this of the watched services from now on.
    pub fn serve(&mut self, services: Arc<Services>) {
        self.shared.services = services;
    }

    /// Tells clients in this way from now on.
    pub fn locate(&mut self, clients: Arc<Clients>) {
        self.shared.clients = clients;
        self.shared.facts.clear();
    }

    /// Heeds what people said of events, in the place of what they said before.
    pub fn heed(&mut self, opinions: Arc<Opinions>) {
        self.shared.opinions = opinions;
    }

    /// Takes for revoked what this list holds, in the place of the one before.
    pub fn revoke(&mut self, list: &RevocationList) {
        list.apply(&mut self.shared.memory);
    }

    /// Goes on with what was remembered of tokens. A list of what is revoked is not part of it.
    pub fn remember(&mut self, memory: Memory) {
        self.shared.memory = memory;
    }

    /// What is remembered of tokens, to be saved.
    pub fn memory(&mut self) -> &mut Memory {
        &mut self.shared.memory
    }

    /// Scores with these models from the next request on.
    pub fn score_with(&mut self, models: Models) {
        self.shared.settings.models = Some(models);
        self.shared.scorer = scorer(&self.shared.settings);
    }

    /// What is usual for subjects, to be saved and restored.
    pub fn features(&mut self) -> &mut Features {
        &mut self.shared.features
    }

    /// The keys that were learned from traffic, to be saved: issuer, key, and what is known of it.
    /// How many were learned and changed tells [`Stats::key_sets`].
    pub fn learned(&self) -> impl Iterator<Item = (String, Arc<Key>, Pin)> {
        let (keys, _) = self.shared.judge.trusted();
        let all: Vec<_> =
            keys.learned().map(|(name, key, pin)| (name.into(), Arc::clone(key), *pin)).collect();
        all.into_iter()
    }

    /// Puts back a key that was learned by an earlier run; `false` where it has no place.
    pub fn restore_learned(&mut self, issuer: &str, key: Arc<Key>, pin: Pin) -> bool {
        self.shared.settings.learn && self.shared.judge.restore_key(issuer, key, pin)
    }

    /// A search that was under way found that the secret is weak.
    pub fn weak_secret(&mut self, search: &Search, out: &mut impl Output) {
        let shared = &mut self.shared;
        shared.stats.secrets.weak += 1;
        shared.stats.events += 1;
        out.event(keys::weak_event(search, &shared.ids, shared.stats.events));
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
        self.tick(now, out);
        let state = enter(&mut self.flows, &mut self.shared, flow, cookie, true);
        self.shared.act(state, out, |state, reporter| reporter.refused_event(state, cause));
    }

    /// What is denied and what is allowed.
    pub fn lists(&mut self) -> &mut Lists {
        &mut self.shared.lists
    }

    /// Takes one observation.
    pub fn push(&mut self, input: &Input<'_>, out: &mut impl Output) {
        match input {
            Input::Segment(segment) => self.segment(segment, out),
            Input::Opened { flow, cookie, at, rcv_nxt } => {
                self.tick(*at, out);
                self.open(*flow, *cookie, *rcv_nxt, out);
            }
            Input::Closed { flow, cookie, at } => {
                self.tick(*at, out);
                if self.flows.get(flow).is_some_and(|state| state.is_socket(*cookie)) {
                    self.close(*flow, out);
                    self.shared.stats.flows_closed += 1;
                }
            }
            Input::Opaque { flow, cookie, at, kind } => {
                self.tick(*at, out);
                let state = enter(&mut self.flows, &mut self.shared, *flow, *cookie, true);
                state.learn_cookie(*cookie);
                self.shared.act(state, out, |state, reporter| state.turn_opaque(*kind, reporter));
            }
            Input::Service { flow, service } => {
                if let Some(state) = self.flows.get_mut(flow) {
                    state.service = Some(Arc::clone(service));
                }
                self.shared.attribute(flow, service, out);
            }
        }
    }

    /// Lets time pass: what waited long enough goes out, silent connections are forgotten.
    pub fn tick(&mut self, now: Time, out: &mut impl Output) {
        let before = self.shared.now;
        self.shared.now = before.max(now);
        if self.shared.now.unix_secs() != before.unix_secs() {
            self.shared.memory.tick(self.shared.now);
            self.shared.lists.expire(self.shared.now);
            let shared = &mut self.shared;
            shared.unknown_keys.expire(shared.now, &mut shared.stats.unknown_keys);
        }
        while let Some((flow, wait)) = self.shared.next_due() {
            let Some(state) = self.flows.get_mut(&flow) else { continue };
            self.shared.act(state, out, |state, reporter| match wait {
                Wait::Confirmation => state.expire_unconfirmed(reporter),
                Wait::Tail(id) | Wait::Answer(id) => state.report_unfinished(id, wait, reporter),
            });
        }
        if self.shared.now >= self.idle_due {
            self.close_idle(out);
        }
        let shared = &mut self.shared;
        while shared.unattributed.front().is_some_and(|&(due, ..)| due <= shared.now) {
            let Some((.., event)) = shared.unattributed.pop_front() else { break };
            out.event(event);
        }
    }

    fn close_idle(&mut self, out: &mut impl Output) {
        let idle = self.shared.settings.idle;
        while let Some((&flow, state)) = self.flows.front() {
            let due = state.last_seen + idle;
            if self.shared.now < due {
                // Those behind it were seen later, and it will be seen no earlier.
                self.idle_due = due;
                return;
            }
            self.close(flow, out);
            self.shared.stats.flows_expired += 1;
        }
        self.idle_due = self.shared.now + idle;
    }

    /// The source has ended: every connection is closed, oldest first.
    pub fn finish(&mut self, out: &mut impl Output) {
        while let Some((&flow, _)) = self.flows.front() {
            self.close(flow, out);
        }
        for (.., event) in self.shared.unattributed.drain(..) {
            out.event(event);
        }
    }

    fn segment(&mut self, segment: &Segment<'_>, out: &mut impl Output) {
        self.tick(segment.at, out);
        self.shared.stats.segments += 1;
        let (key, cookie, midway) = (segment.flow, segment.cookie, !segment.flags.syn);
        if segment.len == 0 && midway && !self.flows.contains_key(&key) {
            // Of a connection that is over, or of none: anybody can send these.
            return;
        }
        let state = enter(&mut self.flows, &mut self.shared, key, cookie, midway);
        if state.is_replaced_by(segment) {
            self.shared.finish(state, out);
            **state = FlowState::new(key, cookie, self.shared.now, midway);
            self.shared.stats.flows_opened += 1;
        }
        state.learn_cookie(cookie);
        self.shared.act(state, out, |state, reporter| state.segment(segment, reporter));
        // A probe of the port: the kernel keeps no state for it and will not tell of its end.
        if segment.payload.is_empty() && state.ended_unused() {
            self.close(key, out);
            self.shared.stats.flows_closed += 1;
        }
        self.evict(out);
    }

    /// A handshake is done.
    fn open(&mut self, key: FlowKey, cookie: u64, rcv_nxt: u32, out: &mut impl Output) {
        let state = enter(&mut self.flows, &mut self.shared, key, cookie, false);
        if !state.may_begin_at(cookie, rcv_nxt) {
            self.shared.finish(state, out);
            **state = FlowState::new(key, cookie, self.shared.now, false);
            self.shared.stats.flows_opened += 1;
        }
        state.learn_cookie(cookie);
        state.begins_here();
        self.evict(out);
    }

    fn close(&mut self, key: FlowKey, out: &mut impl Output) {
        if let Some(mut state) = self.flows.remove(&key) {
            self.shared.finish(&mut state, out);
        }
    }

    fn give_up(&mut self, key: FlowKey, out: &mut impl Output) {
        if let Some(state) = self.flows.get_mut(&key) {
            state.evicted = true;
        }
        self.close(key, out);
        self.shared.stats.flows_evicted += 1;
    }

    /// Keeps the number of connections and the bytes that they hold within their limits.
    fn evict(&mut self, out: &mut impl Output) {
        while self.flows.len() > self.shared.settings.max_flows {
            let Some((&oldest, _)) = self.flows.front() else { return };
            self.give_up(oldest, out);
        }
        while self.shared.held_bytes > self.shared.settings.max_held_bytes {
            // Every flow that holds bytes of a message stands in this queue, longest waiting
            // first; the others hold requests whose answers are due.
            let holder = self.shared.confirmations.pop_front().map(|(_, flow, _)| flow);
            let Some(key) = holder.or_else(|| self.flows.front().map(|(&key, _)| key)) else {
                return;
            };
            self.give_up(key, out);
        }
    }
}

fn learner(settings: &Settings) -> Learner {
    Learner::new(settings.learn_from.iter().map(|(issuer, url)| (&**issuer, &**url)))
}

fn scorer(settings: &Settings) -> Option<Scorer> {
    settings.models.clone().map(Scorer::new)
}

/// The state of a flow, which is marked as the one seen last.
fn enter<'a>(
    flows: &'a mut Flows,
    shared: &mut Shared,
    key: FlowKey,
    cookie: u64,
    joined_midway: bool,
) -> &'a mut Box<FlowState> {
    match flows.raw_entry_mut().from_key(&key) {
        RawEntryMut::Occupied(mut entry) => {
            entry.to_back();
            let state = entry.into_mut();
            state.last_seen = shared.now;
            state
        }
        RawEntryMut::Vacant(entry) => {
            shared.stats.flows_opened += 1;
            let state = Box::new(FlowState::new(key, cookie, shared.now, joined_midway));
            entry.insert(key, state).1
        }
    }
}

#[cfg(test)]
mod keys_tests;
#[cfg(test)]
mod tests;
