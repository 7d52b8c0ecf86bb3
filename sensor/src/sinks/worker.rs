//! The thread of a sink: reads events from the journal and delivers them, again and again until it
//! works or the sensor ends.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        mpsc::Receiver,
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::{SinkStatus, outlet::Outlet, private::Stamps};
use crate::{
    event::{BySeverity, Head},
    finding::Severity,
    histogram::Histogram,
    journal::{Journal, Position, Read, Reader, Record},
    time::Time,
};

/// Events delivered in one go at most.
pub(super) const BATCH_MAX: usize = 64;
/// The pause after the second failure in a row; the first is followed by another attempt at once,
/// for a receiver that was restarted.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// The longest pause between attempts.
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// What was handed over is confirmed after this time, also where its window is not full.
const CONFIRM_AFTER: Duration = Duration::from_secs(1);
/// How long a sink waits for the one whose place it takes over to end: longer than a confirmation may
/// take.
const TAKE_OVER: Duration = Duration::from_secs(20);
/// How often a sink looks whether its files were replaced.
const FILES_PERIOD: Duration = Duration::from_secs(2);
/// How long a sink that has nothing to do waits before it looks around.
const IDLE: Duration = Duration::from_secs(5);

/// How long the log says nothing of a sink that fails again: one that fails and recovers all the time
/// must not fill it. Counted and shown in the status is each failure.
const TELL_PERIOD: Duration = Duration::from_secs(60);

/// What a sink's thread and its owner share.
#[derive(Default)]
pub(super) struct Shared {
    delivered: AtomicU64,
    refused: [AtomicU64; Severity::ALL.len()],
    errors: AtomicU64,
    failing: AtomicBool,
    latency: Mutex<Histogram>,
    last_error: Mutex<Option<String>>,
    reopen: AtomicBool,
    stop: Mutex<Option<Instant>>,
}

impl Shared {
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

    fn failed(&self, error: &io::Error) {
        self.errors.fetch_add(1, Relaxed);
        self.failing.store(true, Relaxed);
        let mut last = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(error.to_string());
    }

    /// Notes how long an event took.
    fn arrived(&self, line: &[u8]) {
        let happened = Head::of(line).and_then(|head| Time::parse(&head.time).ok());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if let Some(happened) = happened {
            let took = (Time::EPOCH + now).since(happened);
            self.latency.lock().unwrap_or_else(PoisonError::into_inner).record(took);
        }
    }

    /// Events that the receiver does not want.
    pub(super) fn refused(&self) -> BySeverity {
        self.refused.each_ref().map(|count| count.load(Relaxed))
    }

    pub(super) fn status(&self, name: String, journal: &Journal, at: &Position) -> SinkStatus {
        SinkStatus {
            name,
            delivered: self.delivered.load(Relaxed),
            dropped: at.lost(),
            refused: self.refused(),
            queued: journal.behind(at),
            errors: self.errors.load(Relaxed),
            last_error: self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            failing: self.failing.load(Relaxed),
            latency: self.latency.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

/// What the log was told last of a sink.
#[derive(Default)]
struct Told {
    failing: bool,
    at: Option<Instant>,
}

impl Told {
    /// It fails: whether to tell.
    fn fails(&mut self, now: Instant) -> bool {
        let lately = self.at.is_some_and(|at| now.saturating_duration_since(at) < TELL_PERIOD);
        if self.failing || lately {
            return false;
        }
        *self = Self { failing: true, at: Some(now) };
        true
    }

    /// It works: whether to tell.
    fn works(&mut self) -> bool {
        std::mem::take(&mut self.failing)
    }
}

/// A sink at work.
pub(super) struct Worker {
    name: String,
    outlet: Box<dyn Outlet>,
    reader: Reader,
    shared: Arc<Shared>,
    /// Read, and not handed over.
    batch: Vec<Record>,
    /// Handed over, and not confirmed.
    unconfirmed: usize,
    /// Of these, what the receiver does not want.
    unwanted: u64,
    /// The last of these.
    newest: Option<Arc<[u8]>>,
    /// Since when.
    since: Instant,
    pause: Duration,
    /// What its files were when they were read last.
    files: Stamps,
    /// When that was looked at.
    looked: Instant,
    told: Told,
}

/// A sink that ends, and whose place another one takes over.
pub(super) struct Predecessor {
    pub(super) position: Arc<Position>,
    /// Is closed when it has ended.
    pub(super) ended: Receiver<()>,
}

/// Whether to go on.
enum Next {
    GoOn,
    End,
}

impl Worker {
    pub(super) fn new(
        name: String,
        outlet: Box<dyn Outlet>,
        reader: Reader,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            name,
            files: Stamps::of(&outlet.files()),
            looked: Instant::now(),
            outlet,
            reader,
            shared,
            batch: Vec::with_capacity(BATCH_MAX),
            unconfirmed: 0,
            unwanted: 0,
            newest: None,
            since: Instant::now(),
            pause: Duration::ZERO,
            told: Told::default(),
        }
    }

    /// Runs until everything is delivered and nothing more comes, or until the time to stop. What
    /// was handed over by then is confirmed: who goes on from its place would send it again.
    pub(super) fn run(mut self, before: Option<Predecessor>) {
        if let Some(before) = before {
            // Also where this one is to end itself: the next one goes on from its place.
            let _ = before.ended.recv_timeout(TAKE_OVER);
            self.reader.go_on_from(&before.position);
            // The one before may have set a file aside meanwhile.
            self.shared.ask_reopen();
        }
        loop {
            let next = self.turn().unwrap_or_else(|error| {
                self.shared.failed(&error);
                // Not at once: a receiver that was restarted is no news.
                if !self.pause.is_zero() && self.told.fails(Instant::now()) {
                    tracing::warn!("{}: fails, what it is to take is kept: {error}", self.name);
                }
                self.back_off()
            });
            if !self.shared.failing.load(Relaxed) && self.told.works() {
                tracing::info!("{}: works again", self.name);
            }
            match next {
                Next::GoOn => {}
                Next::End => break,
            }
        }
        if let Err(error) = self.confirm() {
            self.shared.failed(&error);
        }
        self.reader.abandon();
    }

    fn turn(&mut self) -> io::Result<Next> {
        if self.shared.reopen.swap(false, Relaxed)
            && let Err(error) = self.reopen()
        {
            // Asked for again: the old file must not stay in use unseen.
            self.shared.ask_reopen();
            return Err(error);
        }
        self.look_at_files()?;
        if self.is_over() {
            return Ok(Next::End);
        }
        if self.batch.is_empty() {
            let wait = match self.unconfirmed {
                0 => IDLE,
                _ => CONFIRM_AFTER.saturating_sub(self.since.elapsed()),
            };
            let room = self.room();
            match self.reader.read(&mut self.batch, room, wait)? {
                Read::Some => {}
                Read::Nothing if self.unconfirmed > 0 => self.confirm()?,
                Read::Nothing => return Ok(Next::GoOn),
                Read::End => {
                    self.confirm()?;
                    return Ok(Next::End);
                }
            }
            // It may have been ended while it waited: what came since is none of its own.
            if self.is_over() {
                return Ok(Next::End);
            }
        }
        self.hand_over()?;
        if self.unconfirmed > 0 && (self.room() == 0 || self.since.elapsed() >= CONFIRM_AFTER) {
            self.confirm()?;
        }
        Ok(Next::GoOn)
    }

    fn is_over(&self) -> bool {
        self.shared.stops_at().is_some_and(|until| until <= Instant::now())
    }

    fn reopen(&mut self) -> io::Result<()> {
        // What is on its way is confirmed first, or would be sent twice.
        self.confirm()?;
        // As they are before: what is written meanwhile is seen the next time.
        self.files = Stamps::of(&self.outlet.files());
        self.outlet.reopen()
    }

    /// Reads files again that were replaced. With those that can't be used it goes on as it was,
    /// until they are replaced again.
    fn look_at_files(&mut self) -> io::Result<()> {
        if self.looked.elapsed() < FILES_PERIOD {
            return Ok(());
        }
        self.looked = Instant::now();
        match Stamps::of(&self.outlet.files()) == self.files {
            true => Ok(()),
            false => self.reopen(),
        }
    }

    /// How many more may be handed over.
    fn room(&self) -> usize {
        match self.outlet.window() {
            0 => BATCH_MAX,
            window => window.saturating_sub(self.unconfirmed).min(BATCH_MAX),
        }
    }

    fn hand_over(&mut self) -> io::Result<()> {
        let mut result = Ok(());
        if !self.batch.is_empty() {
            let taken;
            (taken, result) = self.outlet.deliver(&self.batch);
            if let Some(newest) = taken.checked_sub(1).and_then(|last| self.batch.get(last)) {
                self.newest = Some(Arc::clone(&newest.line));
            }
            self.batch.drain(..taken.min(self.batch.len()));
            let refused = self.outlet.refused();
            for (count, more) in self.shared.refused.iter().zip(refused) {
                count.fetch_add(more, Relaxed);
            }
            self.unwanted += refused.iter().sum::<u64>();
            if taken > 0 {
                if self.unconfirmed == 0 {
                    self.since = Instant::now();
                }
                self.unconfirmed += taken;
            }
        }
        if self.outlet.window() == 0 {
            self.arrived()?;
        } else if self.unconfirmed == 0 {
            self.reader.confirm(self.place())?;
        }
        if result.is_ok() && self.unconfirmed == 0 {
            self.shared.failing.store(false, Relaxed);
        }
        result
    }

    fn confirm(&mut self) -> io::Result<()> {
        if self.unconfirmed > 0 {
            self.outlet.confirm()?;
            self.arrived()?;
            self.shared.failing.store(false, Relaxed);
        }
        Ok(())
    }

    /// All that was handed over has arrived.
    fn arrived(&mut self) -> io::Result<()> {
        if self.unconfirmed > 0 {
            // Not before: a receiver that takes everything and confirms nothing would be sent the
            // same again and again without a pause.
            self.pause = Duration::ZERO;
        }
        let arrived = (self.unconfirmed as u64).saturating_sub(std::mem::take(&mut self.unwanted));
        self.shared.delivered.fetch_add(arrived, Relaxed);
        if let Some(line) = self.newest.take() {
            self.shared.arrived(&line);
        }
        self.unconfirmed = 0;
        self.reader.confirm(self.place())
    }

    /// The number of the event that is handed over next.
    fn place(&self) -> u64 {
        self.batch.first().map_or(self.reader.next(), |record| record.sequence)
    }

    /// What was not confirmed is delivered again, behind a pause.
    fn back_off(&mut self) -> Next {
        (self.unconfirmed, self.unwanted, self.newest) = (0, 0, None);
        self.batch.clear();
        self.reader.rewind();
        let now = Instant::now();
        let left = match self.shared.stops_at() {
            Some(until) if until <= now => return Next::End,
            Some(until) => until - now,
            None => BACKOFF_MAX,
        };
        if !self.pause.is_zero() {
            // Ends early when the owner stops or reopens the sink.
            thread::park_timeout(self.pause.min(left));
        }
        self.pause = (self.pause * 2).clamp(BACKOFF_MIN, BACKOFF_MAX);
        Next::GoOn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_that_fails_all_the_time_does_not_fill_the_log() {
        let mut told = Told::default();
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert!(!told.works());
        assert!(told.fails(at(0)));
        assert!(!told.fails(at(1)) && !told.fails(at(1_000)), "it was told already");
        assert!(told.works() && !told.works());
        assert!(told.fails(at(1_000)));
        assert!(told.works());
        // Again within the minute: neither that it fails, nor that it does no longer.
        assert!(!told.fails(at(1_059)) && !told.works());
        assert!(told.fails(at(1_060)));
    }
}
