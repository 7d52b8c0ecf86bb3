//! Where events go: JSON lines on stdout or in a file, and syslog.
//!
//! Every sink has a thread and a bounded queue of its own: one that is slow, full or gone never
//! holds up the pipeline or another sink. [`Sinks::send`] does not block; an event that finds the
//! queue full is counted by severity. A sink that fails keeps its queue and tries again.

mod config;
mod lines;
mod outlet;
mod syslog;
#[cfg(test)]
mod tests;
mod worker;

use std::{
    io,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, Thread},
    time::{Duration, Instant},
};

pub use self::config::{
    Facility, FileConfig, MESSAGE_DEFAULT, MESSAGE_MAX, MESSAGE_MIN, SinksConfig, SyslogAddress,
    SyslogConfig,
};
use self::{
    outlet::Outlet,
    worker::{Message, Shared},
};
use crate::{event::Event, finding::Severity};

/// Events that wait for one sink. What comes while the queue is full is dropped and counted.
pub const QUEUE_MAX: usize = 4096;

/// A sink that can't be started: one line that names it.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The file can't be opened for appending.
    #[error("sink {sink}: can't open for appending: {source}")]
    Open {
        /// The sink's name, `file:PATH`.
        sink: String,
        /// Why.
        source: io::Error,
    },
    /// stdout is closed, or there is no thread to be had.
    #[error("sink {sink}: {source}")]
    Start {
        /// The sink's name.
        sink: String,
        /// Why.
        source: io::Error,
    },
}

/// How a sink fares.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SinkStatus {
    /// `stdout`, `file:PATH`, `syslog:PATH` or `syslog:udp://HOST:PORT`.
    pub name: String,
    /// Events that it took over. With UDP: that were sent.
    pub delivered: u64,
    /// Events that it will never get, by severity in the order of [`Severity::ALL`].
    pub dropped: [u64; Severity::ALL.len()],
    /// Events that wait.
    pub queued: u64,
    /// Failed attempts to connect or write.
    pub errors: u64,
    /// What the last failed attempt said.
    pub last_error: Option<String>,
    /// Whether the last attempt failed.
    pub failing: bool,
}

/// One running sink.
struct Handle {
    name: String,
    queue: SyncSender<Message>,
    shared: Arc<Shared>,
    thread: Thread,
    ended: Receiver<()>,
}

/// The sinks of the config, running.
pub struct Sinks {
    handles: Vec<Handle>,
}

impl Sinks {
    /// Starts every sink. Gives with them one line for each that does not work yet and goes on
    /// trying: a syslog socket that is not there.
    ///
    /// # Errors
    /// A file that can't be opened, a closed stdout, no thread.
    pub fn start(config: &SinksConfig) -> Result<(Self, Vec<String>), SinkError> {
        let mut outlets = Vec::new();
        let mut warnings = Vec::new();
        if config.stdout {
            outlets.push(Outlet::stdout()?);
        }
        for file in &config.file {
            outlets.push(Outlet::file(&file.path)?);
        }
        for syslog in &config.syslog {
            let (outlet, warning) = Outlet::syslog(syslog);
            outlets.push(outlet);
            warnings.extend(warning);
        }
        let handles = outlets.into_iter().map(Handle::start).collect::<Result<_, _>>()?;
        Ok((Self { handles }, warnings))
    }

    /// Hands an event to every sink. Never blocks.
    pub fn send(&self, event: Event) {
        let event = Arc::new(event);
        for handle in &self.handles {
            handle.shared.sent();
            match handle.queue.try_send(Message::Event(Arc::clone(&event))) {
                Ok(()) => {}
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                    handle.shared.dropped(event.severity);
                }
            }
        }
    }

    /// Opens files anew and connects anew, before the next event: for `SIGHUP`, after a log
    /// was rotated.
    pub fn reopen(&self) {
        for handle in &self.handles {
            handle.shared.ask_reopen();
            // Wakes an idle sink; one with a full queue is awake.
            let _ = handle.queue.try_send(Message::Wake);
            handle.thread.unpark();
        }
    }

    /// How every sink fares, in the order of the config.
    #[must_use]
    pub fn status(&self) -> Vec<SinkStatus> {
        self.handles.iter().map(Handle::status).collect()
    }

    /// Delivers what waits, for at most `deadline` overall, and ends the sinks. What could not be
    /// delivered is counted as dropped, or as queued where a sink hangs in a write.
    #[must_use]
    pub fn shutdown(self, deadline: Duration) -> Vec<SinkStatus> {
        let until = Instant::now() + deadline;
        let mut waiting = Vec::with_capacity(self.handles.len());
        for Handle { name, queue, shared, thread, ended } in self.handles {
            shared.stop(until);
            // Closing the queue ends the thread once the queue is empty.
            drop(queue);
            thread.unpark();
            waiting.push((name, shared, ended));
        }
        waiting
            .into_iter()
            .map(|(name, shared, ended)| {
                // The sender is dropped when the thread ends: then, or at the deadline, this
                // returns. A thread in a write that hangs is left behind.
                let grace = Duration::from_millis(50);
                let _ = ended.recv_timeout(until.saturating_duration_since(Instant::now()) + grace);
                shared.status(name)
            })
            .collect()
    }
}

impl Handle {
    fn start(outlet: Outlet) -> Result<Self, SinkError> {
        let name = outlet.name().to_owned();
        let shared = Arc::new(Shared::default());
        let (queue, events) = sync_channel(QUEUE_MAX);
        let (end, ended) = sync_channel::<()>(0);
        let thread = thread::Builder::new()
            .name("sink".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || {
                    worker::run(outlet, &events, &shared);
                    drop(end);
                }
            })
            .map_err(|source| SinkError::Start { sink: name.clone(), source })?
            .thread()
            .clone();
        Ok(Self { name, queue, shared, thread, ended })
    }

    fn status(&self) -> SinkStatus {
        self.shared.status(self.name.clone())
    }
}
