//! A wall clock that is set while connections are under way.
//!
//! Time is the wall clock's, as tokens begin and end by it and events tell of it. What waits for a
//! while is not to wait for a year, or not at all, because somebody set the clock: all that is
//! under way moves along. What was denied until some time is denied until that time of the clock as
//! it is set; what is remembered of tokens has a clock of its own (`memory::clock`).

use super::{Pipeline, back::Back, exchanges::Open, flow_state::FlowState, front::Front};

impl Pipeline {
    /// The wall clock was set by so many nanoseconds, forward or back: what comes from now on is by
    /// the clock as it is set. Whoever reads a capture file has no such clock.
    pub fn clock_set(&mut self, by: i64) {
        self.front.clock_set(by);
        self.back.clock_set(by);
    }
}

impl Front {
    fn clock_set(&mut self, by: i64) {
        self.idle_due = self.idle_due.moved(by);
        self.common.now = self.common.now.moved(by);
        for (due, ..) in &mut self.common.confirmations {
            *due = due.moved(by);
        }
        for (_, state) in &mut self.flows {
            state.clock_set(by);
        }
    }
}

impl FlowState {
    fn clock_set(&mut self, by: i64) {
        self.last_seen = self.last_seen.moved(by);
        self.flow.clock_set(by);
        self.http.clock_set(by);
    }
}

impl Back {
    fn clock_set(&mut self, by: i64) {
        let shared = &mut self.shared;
        shared.now = shared.now.moved(by);
        for (due, ..) in shared.tails.iter_mut().chain(&mut shared.answers) {
            *due = due.moved(by);
        }
        for (due, ..) in &mut shared.unattributed {
            *due = due.moved(by);
        }
        shared.unknown_keys.clock_set(by);
        shared.memory.clock_set(by);
        for Open { request, response, .. } in
            self.connections.iter_mut().flatten().flat_map(|exchanges| &mut exchanges.open)
        {
            request.clock_set(by);
            if let Some(response) = response {
                response.first_byte = response.first_byte.moved(by);
            }
        }
    }
}
