//! Where events go: JSON lines on stdout or in a file, syslog, journald, and receivers over HTTP.
//!
//! [`Sinks::send`] hands an event to a thread that joins alerts of one cause and appends what is
//! told to the [`journal`](crate::journal). Every sink reads the journal in a thread of its own:
//! one that is slow, full or gone never holds up the pipeline or another sink, and gets what it
//! missed when it is back, in order, also after the sensor was killed. What it had can come again
//! then; ids tell.
#![forbid(unsafe_code)]

mod config;
mod ecs;
mod feeder;
pub(crate) mod format;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub(crate) mod http;
mod join;
mod journald;
mod lines;
mod local;
mod ocsf;
pub mod otlp;
mod outlet;
mod private;
#[cfg(test)]
mod published;
mod queue;
mod syslog;
#[cfg(test)]
mod tests;
mod webhook;
mod worker;

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, Sender, sync_channel},
    },
    thread::{self, Thread},
    time::{Duration, Instant},
};

pub use self::{
    config::{
        APP_NAME_MAX, BadFile, BodyFormat, Facility, FileConfig, HostPort, KEEP_DEFAULT,
        MESSAGE_DEFAULT, MESSAGE_MAX, MESSAGE_MIN, SinksConfig, SyslogAddress, SyslogConfig,
        TLS_PORT,
    },
    format::Format,
    http::{Target, Url},
    journald::JournaldConfig,
    otlp::OtlpConfig,
    private::FileError,
    queue::QUEUE_BYTES,
    webhook::{BatchAs, WebhookConfig},
};
use self::{
    feeder::Feeder,
    join::Joiner,
    outlet::Spec,
    queue::{Message, Queue},
    worker::{Predecessor, Shared, Worker},
};
use crate::{
    confine::{self, Reach},
    event::{BySeverity, Event},
    finding::Severity,
    histogram::Histogram,
    journal::{Erased, Journal, JournalStatus, Keep, Position, Record, Whose},
};

/// How events are kept until they are delivered, and for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The folder of the journal.
    pub dir: PathBuf,
    /// How much of it is kept.
    pub keep: Keep,
    /// Alerts of one cause within this time are joined; none where it is zero.
    pub join: Duration,
    /// A secret that causes are told apart by.
    pub key: [u8; 16],
}

/// A sink, or the journal before them, that can't be started.
#[derive(Debug, thiserror::Error)]
#[error("sink {sink}: {source}")]
pub struct SinkError {
    /// The sink's name, or `journal` and its folder.
    pub sink: String,
    /// Why.
    pub source: io::Error,
}

/// How a sink fares.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SinkStatus {
    /// `stdout`, `file:PATH`, `journald:PATH`, `syslog:PATH`, `syslog:SCHEME://HOST:PORT`,
    /// `webhook:https://HOST` or `otlp:https://HOST`.
    pub name: String,
    /// Events that it took over. With UDP: that were sent.
    pub delivered: u64,
    /// Events that it will never get, by severity in the order of [`Severity::ALL`].
    pub dropped: BySeverity,
    /// Events that the receiver does not want, as `dropped`.
    #[serde(default)]
    pub refused: BySeverity,
    /// Events that wait.
    pub queued: u64,
    /// Failed attempts to connect or write.
    pub errors: u64,
    /// What the last failed attempt said.
    pub last_error: Option<String>,
    /// Whether the last attempt failed.
    pub failing: bool,
    /// From what an event is about to its delivery, of the newest of each hand-over.
    #[serde(default)]
    pub latency: Histogram,
}

/// How delivery fares as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DeliveryStatus {
    /// Alerts that others of the same cause stand for.
    pub joined: u64,
    /// Events that no sink will get, because the journal's thread did not keep up, by severity in
    /// the order of [`Severity::ALL`].
    pub dropped: BySeverity,
    /// Events that a sink will never get, over all sinks since the start, those that a reload has
    /// ended among them, by cause and severity.
    #[serde(default)]
    pub lost: LostEvents,
    /// What is kept on disk.
    pub journal: JournalStatus,
}

/// Events that were lost on their way, by cause and by severity in the order of [`Severity::ALL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct LostEvents {
    /// There was no room in front of the journal: no sink gets them.
    pub event_queue_full: BySeverity,
    /// They gave way in the journal, or could not be written to disk before the end; counted for
    /// each sink that had not got them.
    pub journal_full: BySeverity,
    /// A receiver does not want them, and never will.
    pub receiver_refused: BySeverity,
}

impl LostEvents {
    /// The names of the causes, which are stable, with their counts.
    #[must_use]
    pub const fn causes(&self) -> [(&'static str, BySeverity); 3] {
        [
            ("event-queue-full", self.event_queue_full),
            ("journal-full", self.journal_full),
            ("receiver-refused", self.receiver_refused),
        ]
    }

    fn add(&mut self, position: &Position, shared: &Shared) {
        for (sum, more) in [
            (&mut self.journal_full, position.lost()),
            (&mut self.receiver_refused, shared.refused()),
        ] {
            sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        }
    }
}

/// One running sink.
struct Handle {
    spec: Spec,
    name: String,
    shared: Arc<Shared>,
    position: Arc<Position>,
    thread: Thread,
    ended: Receiver<()>,
}

/// The sinks of the config, running.
pub struct Sinks {
    queue: Queue,
    dropped: [AtomicU64; Severity::ALL.len()],
    joined: Arc<AtomicU64>,
    journal: Arc<Journal>,
    fed: Receiver<()>,
    handles: Vec<Handle>,
    /// What ended sinks still count.
    ending: Vec<(Arc<Position>, Arc<Shared>)>,
    /// What ended sinks have counted.
    ended: LostEvents,
}

/// Erases events while the sinks run. Not to be kept: the sinks don't end before it.
pub struct Eraser {
    queue: Sender<Message>,
    journal: Arc<Journal>,
}

impl Eraser {
    /// What [`Eraser::erase`] would erase.
    ///
    /// # Errors
    /// As [`Journal::find`]; or nothing appends to the journal any more.
    pub fn find(self, whose: &Whose) -> io::Result<Erased> {
        self.flush()?;
        self.journal.find(whose)
    }

    /// Erases the events that name a subject, those that are held back to be joined among them. Waits
    /// for what was sent before.
    ///
    /// # Errors
    /// As [`Journal::erase`]; or nothing appends to the journal any more.
    pub fn erase(self, whose: &Whose) -> io::Result<Erased> {
        self.flush()?;
        self.journal.erase(whose)
    }

    fn flush(&self) -> io::Result<()> {
        let (done, flushed) = sync_channel(1);
        self.queue.send(Message::Flush(done)).map_err(io::Error::other)?;
        match flushed.recv().map_err(io::Error::other)? {
            true => Ok(()),
            false => Err(unwritable()),
        }
    }
}

fn unwritable() -> io::Error {
    io::Error::other("what waits can't be written to the journal now")
}

/// The journal of a daemon that does not run, with what it held back.
pub struct Resting {
    journal: Arc<Journal>,
}

impl Resting {
    /// Opens it, and appends what was held back, as the next start would.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn open(delivery: &Delivery) -> io::Result<Self> {
        let (journal, mut writer) = Journal::open(&delivery.dir, delivery.keep)?;
        let (_, needed) = feeder::append_held(&delivery.dir, &mut writer)?;
        writer.close(needed);
        if needed { Err(unwritable()) } else { Ok(Self { journal }) }
    }

    /// As [`Journal::find`].
    ///
    /// # Errors
    /// As there.
    pub fn find(&self, whose: &Whose) -> io::Result<Erased> {
        self.journal.find(whose)
    }

    /// As [`Journal::erase`].
    ///
    /// # Errors
    /// As there.
    pub fn erase(&self, whose: &Whose) -> io::Result<Erased> {
        self.journal.erase(whose)
    }
}

/// Sinks that are ready to be started.
pub struct Prepared(Vec<Ready>);

struct Ready {
    spec: Spec,
    /// `None` where one like it runs.
    outlet: Option<Box<dyn outlet::Outlet>>,
}

impl Sinks {
    /// Starts every sink. Gives with them one line for each that does not work yet and goes on
    /// trying: a syslog socket that is not there.
    ///
    /// # Errors
    /// A file that can't be opened, a closed stdout, a journal that can't be opened, no thread.
    pub fn start(
        config: &SinksConfig,
        delivery: &Delivery,
    ) -> Result<(Self, Vec<String>), SinkError> {
        let broken =
            |source| SinkError { sink: format!("journal {}", delivery.dir.display()), source };
        let (prepared, warnings) = Self::prepare_beside(&[], config)?;
        let (journal, writer) = Journal::open(&delivery.dir, delivery.keep).map_err(broken)?;
        let joined = Arc::new(AtomicU64::new(0));
        let joiner = Joiner::new(delivery.join, &delivery.key);
        let (queue, events) = queue::queue(QUEUE_BYTES);
        let (alive, fed) = sync_channel(0);
        let mut sinks = Self {
            queue,
            dropped: Default::default(),
            joined: Arc::clone(&joined),
            journal,
            fed,
            handles: Vec::new(),
            ending: Vec::new(),
            ended: LostEvents::default(),
        };
        // Before anything is appended, or a new sink begins behind it.
        sinks.apply(prepared)?;
        let feeder = Feeder::start(&delivery.dir, joiner, writer, joined).map_err(broken)?;
        thread::Builder::new()
            .name("events".into())
            .spawn(move || {
                feeder.run(&events);
                drop(alive);
            })
            .map_err(broken)?;
        Ok((sinks, warnings))
    }

    /// Makes everything ready for other sinks, and changes nothing yet.
    ///
    /// # Errors
    /// A file that can't be opened, a closed stdout.
    pub fn prepare(&self, config: &SinksConfig) -> Result<(Prepared, Vec<String>), SinkError> {
        Self::prepare_beside(&self.handles, config)
    }

    fn prepare_beside(
        running: &[Handle],
        config: &SinksConfig,
    ) -> Result<(Prepared, Vec<String>), SinkError> {
        let mut ready = Vec::new();
        let mut warnings = Vec::new();
        for spec in config.specs() {
            let outlet = match running.iter().any(|handle| handle.spec == spec) {
                true => None,
                false => {
                    let (outlet, warning) = spec.open()?;
                    warnings.extend(warning);
                    Some(outlet)
                }
            };
            ready.push(Ready { spec, outlet });
        }
        Ok((Prepared(ready), warnings))
    }

    /// Runs these sinks and no others; those that run already go on. One that was changed goes on
    /// where the one before it ends, which confirms first what it had handed over. What a sink that
    /// ends for good has not delivered is forgotten. Waits for none of them.
    ///
    /// # Errors
    /// The place of a sink in the journal can't be kept, no thread.
    pub fn apply(&mut self, prepared: Prepared) -> Result<(), SinkError> {
        let mut before = std::mem::take(&mut self.handles);
        for Ready { spec, outlet } in prepared.0 {
            let runs = before.iter().position(|handle| handle.spec == spec);
            match (outlet, runs) {
                (_, Some(at)) => self.handles.push(before.swap_remove(at)),
                (Some(outlet), None) => {
                    let name = self.free_name(&spec);
                    // One of the same name that was changed: its place is taken over.
                    let changed = before.iter().position(|handle| handle.name == name);
                    let changed = changed.map(|at| self.end(before.swap_remove(at)));
                    let handle = Handle::start(spec, name, outlet, &self.journal, changed)?;
                    self.handles.push(handle);
                }
                (None, None) => {}
            }
        }
        for handle in before {
            drop(self.end(handle));
        }
        let names = self.handles.iter().map(|handle| handle.name.as_str()).collect::<Vec<_>>();
        if let Err(error) = self.journal.forget_but(&names) {
            tracing::warn!("places of former sinks stay: {error}");
        }
        Ok(())
    }

    /// Has a sink end at once, unless it hangs in a write.
    fn end(&mut self, handle: Handle) -> Predecessor {
        let handle = handle.stopping(Instant::now());
        self.journal.wake();
        let Handle { position, shared, ended, .. } = handle;
        // Those of which the thread is over count no more.
        for (position, shared) in self.ending.extract_if(.., |one| Arc::strong_count(&one.1) == 1) {
            self.ended.add(&position, &shared);
        }
        self.ending.push((Arc::clone(&position), shared));
        Predecessor { position, ended }
    }

    /// How much is kept, and what is joined, from now on.
    pub fn set_delivery(&self, delivery: &Delivery) {
        self.journal.keep(delivery.keep);
        self.queue.set_join(delivery.join);
    }

    /// Several sinks may go to one place, with different filters.
    fn free_name(&self, spec: &Spec) -> String {
        let name = spec.name();
        let taken = |name: &String| self.handles.iter().any(|handle| handle.name == *name);
        let numbered = (2..).map(|number| format!("{name}#{number}"));
        let mut names = std::iter::once(name.clone()).chain(numbered);
        names.find(|name| !taken(name)).unwrap_or(name)
    }

    /// Hands an event on. Never blocks.
    pub fn send(&self, event: Event) {
        let severity = event.severity;
        if !self.queue.push(event)
            && let Some(count) = self.dropped.get(severity as usize)
        {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Opens files anew and connects anew, before the next event: for `SIGHUP`, after a log
    /// was rotated.
    pub fn reopen(&self) {
        for handle in &self.handles {
            handle.shared.ask_reopen();
            handle.thread.unpark();
        }
        self.journal.wake();
    }

    /// How every sink fares, in the order of the config.
    #[must_use]
    pub fn status(&self) -> Vec<SinkStatus> {
        self.handles.iter().map(|handle| handle.status(&self.journal)).collect()
    }

    /// The last events from number `after` on, at most `max`, and the number behind them.
    #[must_use]
    pub fn latest(&self, after: u64, max: usize) -> (Vec<Record>, u64) {
        self.journal.latest(after, max)
    }

    /// What erases events of a subject, on a thread of the caller's.
    #[must_use]
    pub fn eraser(&self) -> Eraser {
        Eraser { queue: self.queue.sender(), journal: Arc::clone(&self.journal) }
    }

    /// How delivery fares as a whole.
    #[must_use]
    pub fn delivery(&self) -> DeliveryStatus {
        let dropped = self.dropped.each_ref().map(|count| count.load(Relaxed));
        let mut lost = LostEvents { event_queue_full: dropped, ..self.ended };
        let running = self.handles.iter().map(|handle| (&handle.position, &handle.shared));
        let ending = self.ending.iter().map(|(position, shared)| (position, shared));
        running.chain(ending).for_each(|(position, shared)| lost.add(position, shared));
        DeliveryStatus {
            joined: self.joined.load(Relaxed),
            dropped,
            lost,
            journal: self.journal.status(),
        }
    }

    /// Delivers what waits, for at most `deadline` overall, and ends the sinks. What could not be
    /// delivered waits in the journal for the next start; stdout's is lost and counted, and so is
    /// what could not be written to disk.
    #[must_use]
    pub fn shutdown(self, deadline: Duration) -> Vec<SinkStatus> {
        let until = Instant::now() + deadline;
        let Self { queue, fed, journal, handles, .. } = self;
        // Closing the queue ends the thread that reads it, and with it the journal.
        drop(queue);
        let _ = fed.recv_timeout(deadline);
        let stopped = handles.into_iter().map(|handle| handle.stopping(until)).collect::<Vec<_>>();
        journal.wake();
        let stopped = stopped.into_iter().map(|handle| handle.wait(until)).collect::<Vec<_>>();
        journal.give_up(&stopped.iter().map(|handle| &*handle.position).collect::<Vec<_>>());
        stopped.iter().map(|handle| handle.status(&journal)).collect()
    }
}

impl Handle {
    fn start(
        spec: Spec,
        name: String,
        outlet: Box<dyn outlet::Outlet>,
        journal: &Arc<Journal>,
        before: Option<Predecessor>,
    ) -> Result<Self, SinkError> {
        let failed = |source| SinkError { sink: name.clone(), source };
        let lasting = spec.is_lasting().then_some(name.as_str());
        let reader = journal.reader(lasting, spec.filter()).map_err(failed)?;
        let position = reader.position();
        let shared = Arc::new(Shared::default());
        let (alive, ended) = sync_channel(0);
        let worker = Worker::new(name.clone(), outlet, reader, Arc::clone(&shared));
        let remote = spec.is_remote();
        let thread = thread::Builder::new()
            .name("sink".into())
            .spawn(move || {
                if remote {
                    confine::hold(&Reach::Sending);
                }
                worker.run(before);
                drop(alive);
            })
            .map_err(failed)?;
        Ok(Self { spec, name, shared, position, thread: thread.thread().clone(), ended })
    }

    fn status(&self, journal: &Journal) -> SinkStatus {
        self.shared.status(self.name.clone(), journal, &self.position)
    }

    fn stopping(self, until: Instant) -> Self {
        self.shared.stop(until);
        self.thread.unpark();
        self
    }

    /// Until it has ended. A thread in a write that hangs is left behind.
    fn wait(self, until: Instant) -> Self {
        let grace = Duration::from_millis(50);
        let _ = self.ended.recv_timeout(until.saturating_duration_since(Instant::now()) + grace);
        self
    }
}
