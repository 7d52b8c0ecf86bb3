//! What the pipeline says, on its way: events to the sinks, cuts to the enforcer, wishes to capture.

use std::sync::Arc;

use super::{Daemon, now, secret_search::SecretSearch, view::View};
use crate::{
    capture::live::Capture,
    enforce::{Cut, CutOutcome, Enforcer},
    event::{Event, ExchangeLine, Tally},
    history::Recorder,
    keyring::Keyring,
    keys::FetchMark,
    pipeline::{Assessed, Output, Pipeline},
    sinks::Sinks,
    weak::{Search, Searched, WeakSecrets},
};

/// What the pipeline would have capture copy from now on.
#[derive(Default)]
struct Wishes {
    /// Flows that need no more copying, by cookie.
    stopped: Vec<u64>,
    /// Targets of requests of which the answers teach keys.
    whole: Vec<Box<[u8]>>,
}

/// Most of [`Wishes::whole`] at a time: capture knows no more.
const MAX_WHOLE: usize = 16;

/// Hands events to the sinks, and gathers what capture is to do.
pub(super) struct Outlet<'a> {
    sinks: &'a Sinks,
    tally: &'a mut Tally,
    keyring: &'a Keyring,
    pub(super) search: Option<&'a SecretSearch>,
    enforcer: &'a mut Enforcer,
    recorder: &'a Recorder,
    view: &'a mut View,
    wishes: Wishes,
}

impl Output for Outlet<'_> {
    fn event(&mut self, event: Event) {
        self.tally.count(&event, now());
        self.sinks.send(event);
    }

    fn wants_exchanges(&self) -> bool {
        self.view.is_watched()
    }

    fn exchange(&mut self, line: &ExchangeLine<'_>) {
        self.view.take(line);
    }

    fn wants_assessed(&self) -> bool {
        self.recorder.wants_all()
    }

    fn assessed(&mut self, assessed: &Assessed<'_>) {
        self.recorder.take(assessed);
    }

    fn unknown_key(&mut self, issuer: Option<&str>, kid: &str) -> Option<FetchMark> {
        self.keyring.unknown_kid(issuer, kid)
    }

    fn search(&mut self, list: &Arc<WeakSecrets>, search: Search) -> Searched {
        match self.search {
            Some(thread) => thread.search(list, search),
            None => Searched::Dropped,
        }
    }

    fn cut(&mut self, cut: &Cut) -> CutOutcome {
        self.enforcer.cut(cut)
    }

    fn stop_flow(&mut self, cookie: u64) {
        if cookie != 0 {
            self.wishes.stopped.push(cookie);
        }
    }

    fn copy_whole(&mut self, target: &[u8]) {
        if self.wishes.whole.len() < MAX_WHOLE {
            self.wishes.whole.push(target.into());
        }
    }
}

impl Daemon {
    /// Has the pipeline work, and does what it wants done.
    pub(super) fn work<T>(
        &mut self,
        work: impl FnOnce(&mut Pipeline, &mut Capture, &mut Outlet<'_>) -> T,
    ) -> T {
        let mut out = Outlet {
            sinks: &self.sinks,
            tally: &mut self.tally,
            keyring: &self.keyring,
            search: self.search.as_ref(),
            enforcer: &mut self.enforcer,
            recorder: &self.recorder,
            view: &mut self.view,
            wishes: Wishes::default(),
        };
        let done = work(&mut self.pipeline, &mut self.capture, &mut out);
        for cookie in out.wishes.stopped {
            if let Err(error) = self.capture.stop_flow(cookie) {
                // The flow's bytes go on to be copied and passed over: a cost, no loss.
                tracing::debug!("{error}");
            }
        }
        for target in out.wishes.whole {
            if let Err(error) = self.capture.copy_whole(&target) {
                tracing::debug!("{error}");
            }
        }
        done
    }
}
