//! The thread of a sink: takes events from its queue and delivers them, again and again until it
//! works or the sensor ends.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        mpsc::Receiver,
    },
    thread,
    time::{Duration, Instant},
};

use super::{SinkStatus, outlet::Outlet};
use crate::{event::Event, finding::Severity};

/// Events delivered in one go at most.
const BATCH_MAX: usize = 64;
/// The pause after the second failure in a row; the first is followed by another attempt at once,
/// for a receiver that was restarted.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// The longest pause between attempts.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// What the queue carries.
pub(super) enum Message {
    /// An event to deliver.
    Event(Arc<Event>),
    /// Look at the flags.
    Wake,
}

/// What a sink's thread and its owner share.
#[derive(Default)]
pub(super) struct Shared {
    sent: AtomicU64,
    delivered: AtomicU64,
    dropped: [AtomicU64; Severity::ALL.len()],
    errors: AtomicU64,
    failing: AtomicBool,
    last_error: Mutex<Option<String>>,
    reopen: AtomicBool,
    stop: Mutex<Option<Instant>>,
}

impl Shared {
    pub(super) fn sent(&self) {
        self.sent.fetch_add(1, Relaxed);
    }

    pub(super) fn dropped(&self, severity: Severity) {
        if let Some(count) = self.dropped.get(severity as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn ask_reopen(&self) {
        self.reopen.store(true, Relaxed);
    }

    /// Ends the attempts to deliver at `until`.
    pub(super) fn stop(&self, until: Instant) {
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    fn stops_at(&self) -> Option<Instant> {
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, error: String) {
        self.errors.fetch_add(1, Relaxed);
        self.failing.store(true, Relaxed);
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    pub(super) fn status(&self, name: String) -> SinkStatus {
        let delivered = self.delivered.load(Relaxed);
        let dropped = self.dropped.each_ref().map(|count| count.load(Relaxed));
        let done = dropped.iter().fold(delivered, |sum, n| sum + n);
        SinkStatus {
            name,
            delivered,
            dropped,
            queued: self.sent.load(Relaxed).saturating_sub(done),
            errors: self.errors.load(Relaxed),
            last_error: self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            failing: self.failing.load(Relaxed),
        }
    }
}

/// Runs until the queue is closed and empty, or closed and the time to stop has come.
pub(super) fn run(mut outlet: Outlet, queue: &Receiver<Message>, shared: &Shared) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while let Ok(message) = queue.recv() {
        let more = std::iter::from_fn(|| queue.try_recv().ok()).take(BATCH_MAX - 1);
        batch.extend(std::iter::once(message).chain(more).filter_map(|message| match message {
            Message::Event(event) => Some(event),
            Message::Wake => None,
        }));
        if !deliver(&mut outlet, &mut batch, shared) {
            let rest = std::iter::from_fn(|| queue.try_recv().ok());
            for message in batch.drain(..).map(Message::Event).chain(rest) {
                if let Message::Event(event) = message {
                    shared.dropped(event.severity);
                }
            }
            return;
        }
    }
}

/// Delivers the whole batch; false where the time to stop came first.
fn deliver(outlet: &mut Outlet, batch: &mut Vec<Arc<Event>>, shared: &Shared) -> bool {
    let mut pause = Duration::ZERO;
    loop {
        let result = if shared.reopen.swap(false, Relaxed) { outlet.reopen() } else { Ok(()) };
        let (taken, result) = match result {
            Ok(()) => outlet.deliver(batch),
            Err(error) => {
                // Asked for again: the old file must not stay in use unseen.
                shared.ask_reopen();
                (0, Err(error))
            }
        };
        shared.delivered.fetch_add(taken as u64, Relaxed);
        batch.drain(..taken.min(batch.len()));
        match result {
            Ok(()) => {
                shared.failing.store(false, Relaxed);
                return true;
            }
            Err(error) => shared.failed(error.to_string()),
        }
        if taken > 0 {
            pause = Duration::ZERO;
        }
        let now = Instant::now();
        let left = match shared.stops_at() {
            Some(until) if until <= now => return false,
            Some(until) => until - now,
            None => BACKOFF_MAX,
        };
        if !pause.is_zero() {
            // Ends early when the owner stops or reopens the sink.
            thread::park_timeout(pause.min(left));
        }
        pause = (pause * 2).clamp(BACKOFF_MIN, BACKOFF_MAX);
    }
}
