//! Who asks over the control socket, also while something takes long.

use std::thread;

use super::Daemon;
use crate::control::{Call, Request};

impl Daemon {
    /// Answers one who asks: what is captured waits no longer than for that one.
    pub(super) fn answer_call(&mut self) {
        if let Some(call) = self.control.next_call() {
            self.answer(call);
        }
    }

    fn answer(&mut self, call: Call) {
        let answer = match &call.request {
            Request::Status => self.status().and_then(|status| Ok(serde_json::to_value(status)?)),
            Request::Deny(change) => self.deny(change, call.by),
            Request::Allow(change) => self.allow(change, call.by),
            Request::Feedback(request) => self.feedback(request, call.by),
            Request::Model(request) => self.model(request, call.by),
            Request::Forget(request) => self.forget(request, call.by),
            Request::Live { after } => {
                self.live_view(*after).and_then(|view| Ok(serde_json::to_value(view)?))
            }
        };
        call.answer(match answer {
            Ok(value) => value,
            Err(error) => serde_json::json!({ "error": format!("{error:#}") }),
        });
    }

    /// Does what takes long on another thread, and goes on until it is done.
    pub(super) fn meanwhile<T: Send>(
        &mut self,
        work: impl FnOnce() -> anyhow::Result<T> + Send,
    ) -> anyhow::Result<T> {
        thread::scope(|scope| {
            let worker = scope.spawn(work);
            while !worker.is_finished() {
                self.go_on()?;
            }
            worker.join().map_err(|_| anyhow::anyhow!("it panicked"))?
        })
    }

    /// One turn of what goes on whatever else is under way: the daemon beats, or it counts as dead,
    /// reads and judges, and says how it fares. Changes wait, as what is under way may be one.
    pub(super) fn go_on(&mut self) -> anyhow::Result<()> {
        self.notifier.alive();
        self.wait()?;
        self.read();
        self.guard();
        self.answer_rest();
        self.answer_metrics();
        if let Some(call) = self.control.next_query() {
            self.answer(call);
        }
        Ok(())
    }
}
