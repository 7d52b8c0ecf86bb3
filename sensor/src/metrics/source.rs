//! Where threads beside the daemon get its status from.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{control::Status, rest::Waker};

/// A status serves for so long: however many ask, the daemon makes one a second.
const FRESH: Duration = Duration::from_secs(1);
/// The daemon answers within a few milliseconds unless it is stuck.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Debug, Default)]
struct State {
    last: Option<(Instant, Arc<Status>)>,
    wanted: bool,
}

/// The daemon's status, asked for and waited for.
#[derive(Debug)]
pub struct Source {
    state: Mutex<State>,
    changed: Condvar,
    waker: Waker,
}

impl Source {
    /// One that nobody has answered yet.
    ///
    /// # Errors
    /// There are no more descriptors.
    pub fn new() -> io::Result<Arc<Self>> {
        let (state, changed) = (Mutex::default(), Condvar::new());
        Ok(Arc::new(Self { state, changed, waker: Waker::new()? }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The status of now, or of up to a second ago; `None` where the daemon does not answer.
    #[must_use]
    pub fn ask(&self) -> Option<Arc<Status>> {
        let asked = Instant::now();
        let mut state = self.state();
        let fresh = |state: &State| {
            let (at, status) = state.last.as_ref()?;
            (*at + FRESH > asked).then(|| Arc::clone(status))
        };
        loop {
            if let Some(status) = fresh(&state) {
                return Some(status);
            }
            let left = PATIENCE.saturating_sub(asked.elapsed());
            if left.is_zero() {
                return None;
            }
            if !state.wanted {
                state.wanted = true;
                self.waker.wake();
            }
            let waited = self.changed.wait_timeout(state, left);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Becomes readable when somebody asks.
    #[must_use]
    pub fn waiting(&self) -> BorrowedFd<'_> {
        self.waker.as_fd()
    }

    /// Whether somebody asks; who answers does it next.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        let wanted = std::mem::take(&mut self.state().wanted);
        if wanted {
            self.waker.clear();
        }
        wanted
    }

    /// Answers all who ask.
    pub fn answer(&self, status: Status) {
        self.state().last = Some((Instant::now(), Arc::new(status)));
        self.changed.notify_all();
    }
}
