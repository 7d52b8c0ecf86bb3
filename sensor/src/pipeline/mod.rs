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

mod flow_state;
mod output;
mod settings;
mod stats;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use hashlink::LinkedHashMap;
use smallvec::SmallVec;

use self::{flow_state::FlowState, output::Reporter};
pub use self::{output::Output, settings::Settings, stats::Stats};
use crate::{
    capture::{FlowKey, Input, Segment},
    event::EventIds,
    time::Time,
    token::Judge,
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

/// The stages behind capture, for any number of connections. See the [module](self).
pub struct Pipeline {
    settings: Settings,
    judge: Judge,
    /// Oldest first by last segment.
    flows: LinkedHashMap<FlowKey, Box<FlowState>, foldhash::fast::RandomState>,
    confirmations: Queue,
    tails: Queue,
    answers: Queue,
    now: Time,
    held_bytes: usize,
    ids: EventIds,
    stats: Stats,
}

impl Pipeline {
    /// A pipeline without connections.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            judge: Judge::new(settings.judge.clone()),
            ids: EventIds::new(&settings.id_salt),
            settings,
            flows: LinkedHashMap::default(),
            confirmations: Queue::new(),
            tails: Queue::new(),
            answers: Queue::new(),
            now: Time::EPOCH,
            held_bytes: 0,
            stats: Stats::default(),
        }
    }

    /// What has been seen and lost so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            flows_open: self.flows.len() as u64,
            held_bytes: self.held_bytes as u64,
            ..self.stats.clone()
        }
    }

    /// Takes other settings from now on. Connections and what is known of them stay.
    pub fn reconfigure(&mut self, settings: Settings) {
        self.judge = Judge::new(settings.judge.clone());
        self.settings = settings;
    }

    /// Takes one observation.
    pub fn push(&mut self, input: &Input<'_>, out: &mut impl Output) {
        match input {
            Input::Segment(segment) => self.segment(segment, out),
            Input::Closed { flow, cookie, at } => {
                self.tick(*at, out);
                if self.flows.get(flow).is_some_and(|state| state.is_socket(*cookie)) {
                    self.close(*flow, out);
                    self.stats.flows_closed += 1;
                }
            }
            Input::Opaque { flow, cookie, at, kind } => {
                self.tick(*at, out);
                self.enter(*flow, *cookie, true);
                self.with_flow(*flow, out, |state, reporter| state.turn_opaque(*kind, reporter));
            }
            Input::Service { flow, service } => {
                if let Some(state) = self.flows.get_mut(flow) {
                    state.service = Some(Arc::clone(service));
                }
            }
        }
    }

    /// Lets time pass: what waited long enough goes out, silent connections are forgotten.
    pub fn tick(&mut self, now: Time, out: &mut impl Output) {
        self.now = self.now.max(now);
        while let Some((flow, wait)) = self.next_due() {
            self.with_flow(flow, out, |state, reporter| match wait {
                Wait::Confirmation => state.expire_unconfirmed(reporter),
                Wait::Tail(id) | Wait::Answer(id) => state.report_unfinished(id, wait, reporter),
            });
        }
        while let Some((&flow, state)) = self.flows.front() {
            if self.now.since(state.last_seen) < self.settings.idle {
                break;
            }
            self.close(flow, out);
            self.stats.flows_expired += 1;
        }
    }

    /// The source has ended: every connection is closed, oldest first.
    pub fn finish(&mut self, out: &mut impl Output) {
        while let Some((&flow, _)) = self.flows.front() {
            self.close(flow, out);
        }
    }

    fn segment(&mut self, segment: &Segment<'_>, out: &mut impl Output) {
        self.tick(segment.at, out);
        self.stats.segments += 1;
        if self.flows.get(&segment.flow).is_some_and(|state| state.is_replaced_by(segment)) {
            self.close(segment.flow, out);
        }
        self.enter(segment.flow, segment.cookie, !segment.flags.syn);
        self.with_flow(segment.flow, out, |state, reporter| state.segment(segment, reporter));
        self.evict(out);
    }

    /// Makes sure that the flow is known, and marks it as the one seen last.
    fn enter(&mut self, key: FlowKey, cookie: u64, joined_midway: bool) {
        match self.flows.raw_entry_mut().from_key(&key) {
            hashlink::linked_hash_map::RawEntryMut::Occupied(mut entry) => {
                entry.to_back();
                let state = entry.get_mut();
                state.last_seen = self.now;
                state.learn_cookie(cookie);
            }
            hashlink::linked_hash_map::RawEntryMut::Vacant(entry) => {
                entry.insert(key, Box::new(FlowState::new(key, cookie, self.now, joined_midway)));
                self.stats.flows_opened += 1;
            }
        }
    }

    fn with_flow(
        &mut self,
        key: FlowKey,
        out: &mut impl Output,
        act: impl FnOnce(&mut FlowState, &mut Reporter<'_, '_>),
    ) {
        let Some(state) = self.flows.get_mut(&key) else { return };
        let mut reporter = Reporter {
            settings: &self.settings,
            ids: &self.ids,
            judge: &mut self.judge,
            stats: &mut self.stats,
            now: self.now,
            out,
            waits: SmallVec::new(),
        };
        let before = state.held_bytes();
        act(state, &mut reporter);
        self.held_bytes = self.held_bytes - before + state.held_bytes();
        for wait in reporter.waits {
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

    /// The next wait that is over, earliest queue first.
    fn next_due(&mut self) -> Option<(FlowKey, Wait)> {
        for queue in [&mut self.tails, &mut self.confirmations, &mut self.answers] {
            if queue.front().is_some_and(|&(due, ..)| due <= self.now) {
                return queue.pop_front().map(|(_, flow, wait)| (flow, wait));
            }
        }
        None
    }

    fn close(&mut self, key: FlowKey, out: &mut impl Output) {
        self.with_flow(key, out, FlowState::finish);
        if let Some(state) = self.flows.remove(&key) {
            self.held_bytes -= state.held_bytes();
        }
    }

    /// Keeps the number of connections and the bytes that they hold within their limits.
    fn evict(&mut self, out: &mut impl Output) {
        while self.flows.len() > self.settings.max_flows {
            let Some((&oldest, _)) = self.flows.front() else { return };
            self.close(oldest, out);
            self.stats.flows_evicted += 1;
        }
        while self.held_bytes > self.settings.max_held_bytes {
            // Every flow that holds bytes of a message stands in this queue, longest waiting
            // first; the others hold requests whose answers are due.
            let holder = self.confirmations.pop_front().map(|(_, flow, _)| flow);
            let Some(key) = holder.or_else(|| self.flows.front().map(|(&key, _)| key)) else {
                return;
            };
            self.close(key, out);
            self.stats.flows_evicted += 1;
        }
    }
}

#[cfg(test)]
mod tests;
