//! The front of the pipeline: connections, from segments to messages.
//!
//! It alone decides what is followed, for how long, and what makes room; see [`super::steps`] for
//! what it gives out.

use std::collections::VecDeque;

use hashlink::{LinkedHashMap, linked_hash_map::RawEntryMut};

use super::{
    flow_state::{FlowState, Turn},
    settings::FrontLimits,
    stats::FrontStats,
    steps::{Due, Slot, Step, Steps},
};
use crate::{
    capture::{FlowKey, Input, Segment},
    http::Events,
    time::Time,
};

type Flows = LinkedHashMap<FlowKey, Box<FlowState>, foldhash::fast::RandomState>;

/// The connections that are followed.
pub(super) struct Front {
    /// Oldest first by last segment.
    pub(super) flows: Flows,
    /// No connection is idle for long enough before this.
    pub(super) idle_due: Time,
    pub(super) common: Common,
}

/// What all connections share.
pub(super) struct Common {
    limits: FrontLimits,
    /// Connections with bytes that TCP has not yet confirmed, and until when they wait: one
    /// constant delay, so the first is due first.
    pub(super) confirmations: VecDeque<(Time, FlowKey)>,
    pub(super) now: Time,
    held_bytes: usize,
    stats: FrontStats,
    /// What the HTTP stage gives out, between its turn and the next one's.
    events: Events,
    slots: Slots,
}

/// Places in the tables of the back.
#[derive(Default)]
struct Slots {
    free: Vec<Slot>,
    /// So many were given out.
    used: u32,
}

impl Slots {
    fn take(&mut self) -> Slot {
        self.free.pop().unwrap_or_else(|| {
            let slot = Slot(self.used);
            self.used += 1;
            slot
        })
    }
}

impl Common {
    /// Lets a connection act, and takes note of what it holds and waits for.
    fn act<S: Steps>(
        &mut self,
        state: &mut FlowState,
        steps: &mut S,
        act: impl FnOnce(&mut FlowState, &mut Turn<'_, S>),
    ) {
        let mut turn = Turn {
            limits: &self.limits,
            stats: &mut self.stats,
            now: self.now,
            events: &mut self.events,
            steps,
            awaits: false,
        };
        let before = state.held_bytes();
        act(state, &mut turn);
        let awaits = turn.awaits;
        self.held_bytes = self.held_bytes - before + state.held_bytes();
        if awaits {
            let due = self.now + self.limits.flow.confirm_wait;
            self.confirmations.push_back((due, state.key));
        }
    }

    /// A connection that was not known.
    fn begin(
        &mut self,
        slot: Slot,
        key: FlowKey,
        cookie: u64,
        midway: bool,
        steps: &mut impl Steps,
    ) -> FlowState {
        self.stats.flows_opened += 1;
        steps.step(Step::Opened { slot, flow: Box::new(key), cookie });
        FlowState::new(slot, key, cookie, self.now, midway)
    }

    /// The connection is over, and its state about to be dropped.
    fn finish(&mut self, state: &mut FlowState, steps: &mut impl Steps) {
        self.act(state, steps, FlowState::finish);
        self.held_bytes -= state.held_bytes();
        steps.step(Step::Closed { slot: state.slot });
    }

    /// The next connection whose bytes have waited long enough to be confirmed.
    fn next_unconfirmed(&mut self) -> Option<FlowKey> {
        self.confirmations.pop_front_if(|(due, _)| *due <= self.now).map(|(_, flow)| flow)
    }
}

impl Front {
    pub(super) fn new(limits: FrontLimits) -> Self {
        Self {
            flows: Flows::default(),
            idle_due: Time::EPOCH,
            common: Common {
                limits,
                confirmations: VecDeque::new(),
                now: Time::EPOCH,
                held_bytes: 0,
                stats: FrontStats::default(),
                events: Events::default(),
                slots: Slots::default(),
            },
        }
    }

    /// Keeps to other limits from now on.
    pub(super) fn limit(&mut self, limits: FrontLimits) {
        self.common.limits = limits;
        self.idle_due = Time::EPOCH;
    }

    /// What was seen and lost so far.
    pub(super) fn stats(&self) -> &FrontStats {
        &self.common.stats
    }

    /// Connections that are followed now, and the bytes that they hold.
    pub(super) fn gauges(&self) -> (u64, u64) {
        (self.flows.len() as u64, self.common.held_bytes as u64)
    }

    /// The connection between these addresses, if it is in sight and may be that of the socket.
    pub(super) fn find(&self, flow: &FlowKey, cookie: u64) -> Option<Slot> {
        self.flows.get(flow).filter(|state| state.is_socket(cookie)).map(|state| state.slot)
    }

    /// Takes one observation.
    pub(super) fn push(&mut self, input: &Input<'_>, steps: &mut impl Steps) {
        match input {
            Input::Segment(segment) => self.segment(segment, steps),
            Input::Opened { flow, cookie, at, rcv_nxt } => {
                self.tick(*at, steps);
                self.open(*flow, *cookie, *rcv_nxt, steps);
            }
            Input::Closed { flow, cookie, at } => {
                self.tick(*at, steps);
                if self.find(flow, *cookie).is_some() {
                    self.close(*flow, steps);
                    self.common.stats.flows_closed += 1;
                }
            }
            Input::Opaque { flow, cookie, at, kind } => {
                self.tick(*at, steps);
                let state = enter(&mut self.flows, &mut self.common, *flow, *cookie, true, steps);
                state.learn_cookie(*cookie, steps);
                self.common.act(state, steps, |state, turn| state.turn_opaque(*kind, turn));
            }
            Input::Service { flow, service } => {
                let slot = self.flows.get(flow).map(|state| state.slot);
                let (flow, service) = (Box::new(*flow), service.clone());
                steps.step(Step::Service { slot, flow, service });
            }
        }
    }

    /// Takes note of a connection that something else than its bytes tells of.
    pub(super) fn note(
        &mut self,
        now: Time,
        flow: FlowKey,
        cookie: u64,
        steps: &mut impl Steps,
    ) -> Slot {
        self.tick(now, steps);
        enter(&mut self.flows, &mut self.common, flow, cookie, true, steps).slot
    }

    /// Lets time pass: what waited long enough is given out, silent connections are forgotten.
    pub(super) fn tick(&mut self, now: Time, steps: &mut impl Steps) {
        let now = self.common.now.max(now);
        self.common.now = now;
        let unconfirmed = self.common.confirmations.front().is_some_and(|(due, _)| *due <= now);
        if !unconfirmed && now < self.idle_due {
            steps.step(Step::Time { now, due: Due::All });
            return;
        }
        steps.step(Step::Time { now, due: Due::Tails });
        while let Some(flow) = self.common.next_unconfirmed() {
            let Some(state) = self.flows.get_mut(&flow) else { continue };
            self.common.act(state, steps, FlowState::expire_unconfirmed);
        }
        steps.step(Step::Time { now, due: Due::Answers });
        if now >= self.idle_due {
            self.close_idle(steps);
        }
        steps.step(Step::Time { now, due: Due::Names });
    }

    fn close_idle(&mut self, steps: &mut impl Steps) {
        let idle = self.common.limits.idle;
        while let Some((&flow, state)) = self.flows.front() {
            let due = state.last_seen + idle;
            if self.common.now < due {
                // Those behind it were seen later, and it will be seen no earlier.
                self.idle_due = due;
                return;
            }
            self.close(flow, steps);
            self.common.stats.flows_expired += 1;
        }
        self.idle_due = self.common.now + idle;
    }

    /// The source has ended: every connection is closed, oldest first.
    pub(super) fn finish(&mut self, steps: &mut impl Steps) {
        while let Some((&flow, _)) = self.flows.front() {
            self.close(flow, steps);
        }
    }

    fn segment(&mut self, segment: &Segment<'_>, steps: &mut impl Steps) {
        self.tick(segment.at, steps);
        self.common.stats.segments += 1;
        let (key, cookie, midway) = (segment.flow, segment.cookie, !segment.flags.syn);
        let state = if is_latest(&self.flows, &key) || segment.len == 0 && midway {
            // Else of a connection that is over, or of none: anybody can send these.
            let Some(state) = enter_known(&mut self.flows, &self.common, &key) else { return };
            state
        } else {
            enter(&mut self.flows, &mut self.common, key, cookie, midway, steps)
        };
        if state.is_replaced_by(segment) {
            self.common.finish(state, steps);
            **state = self.common.begin(state.slot, key, cookie, midway, steps);
        }
        state.learn_cookie(cookie, steps);
        self.common.act(state, steps, |state, turn| state.segment(segment, turn));
        // A probe of the port: the kernel keeps no state for it and will not tell of its end.
        if segment.payload.is_empty() && state.ended_unused() {
            self.close(key, steps);
            self.common.stats.flows_closed += 1;
        }
        self.evict(steps);
    }

    /// A handshake is done.
    fn open(&mut self, key: FlowKey, cookie: u64, rcv_nxt: u32, steps: &mut impl Steps) {
        let state = enter(&mut self.flows, &mut self.common, key, cookie, false, steps);
        if !state.may_begin_at(cookie, rcv_nxt) {
            self.common.finish(state, steps);
            **state = self.common.begin(state.slot, key, cookie, false, steps);
        }
        state.learn_cookie(cookie, steps);
        state.begins_here();
        self.evict(steps);
    }

    fn close(&mut self, key: FlowKey, steps: &mut impl Steps) {
        if let Some(mut state) = self.flows.remove(&key) {
            self.common.finish(&mut state, steps);
            self.common.slots.free.push(state.slot);
        }
    }

    fn give_up(&mut self, key: FlowKey, steps: &mut impl Steps) {
        if let Some(state) = self.flows.get_mut(&key) {
            state.evicted = true;
        }
        self.close(key, steps);
        self.common.stats.flows_evicted += 1;
    }

    /// Keeps the number of connections and the bytes that they hold within their limits.
    fn evict(&mut self, steps: &mut impl Steps) {
        while self.flows.len() > self.common.limits.max_flows {
            let Some((&oldest, _)) = self.flows.front() else { return };
            self.give_up(oldest, steps);
        }
        while self.common.held_bytes > self.common.limits.max_held_bytes {
            // Every flow that holds bytes of a message stands in this queue, longest waiting
            // first; the others hold requests whose answers are due.
            let holder = self.common.confirmations.pop_front().map(|(_, flow)| flow);
            let Some(key) = holder.or_else(|| self.flows.front().map(|(&key, _)| key)) else {
                return;
            };
            self.give_up(key, steps);
        }
    }
}

/// Whether the flow is the one that was seen last, which needs no look-up: a segment is mostly
/// acknowledged by the next one.
fn is_latest(flows: &Flows, key: &FlowKey) -> bool {
    flows.back().is_some_and(|(latest, _)| latest == key)
}

/// As [`enter`], of a flow that is open.
fn enter_known<'a>(
    flows: &'a mut Flows,
    common: &Common,
    key: &FlowKey,
) -> Option<&'a mut Box<FlowState>> {
    if is_latest(flows, key) {
        let (_, state) = flows.iter_mut().next_back()?;
        state.last_seen = common.now;
        return Some(state);
    }
    let RawEntryMut::Occupied(mut entry) = flows.raw_entry_mut().from_key(key) else { return None };
    entry.to_back();
    let state = entry.into_mut();
    state.last_seen = common.now;
    Some(state)
}

/// The state of a flow, which is marked as the one seen last.
fn enter<'a>(
    flows: &'a mut Flows,
    common: &mut Common,
    key: FlowKey,
    cookie: u64,
    joined_midway: bool,
    steps: &mut impl Steps,
) -> &'a mut Box<FlowState> {
    match flows.raw_entry_mut().from_key(&key) {
        RawEntryMut::Occupied(mut entry) => {
            entry.to_back();
            let state = entry.into_mut();
            state.last_seen = common.now;
            state
        }
        RawEntryMut::Vacant(entry) => {
            let slot = common.slots.take();
            let state = common.begin(slot, key, cookie, joined_midway, steps);
            entry.insert(key, Box::new(state)).1
        }
    }
}
