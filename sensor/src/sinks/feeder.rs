//! The thread between the pipeline and the journal: joins alerts of one cause and appends what is
//! told.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use super::{
    join::{Joiner, Told},
    queue::{Message, Waiting},
};
use crate::{event::Head, finding::Severity, journal::Writer, whole_file};

/// Events appended in one go at most.
const BATCH_MAX: usize = 512;
/// Events are appended together that come so shortly behind each other: in a burst every write, and
/// waking whoever reads, is for many. The first one behind a pause does not wait.
const GATHER: Duration = Duration::from_micros(500);
/// How often the disk takes over what was written, and what is held back is kept.
const KEEP_PERIOD: Duration = Duration::from_secs(1);
/// What is held back, as it would be told, beside the journal: it outlasts the process.
const HELD: &str = "held";

/// What is brought to disk aside, so that a slow disk delays no alert.
struct ToKeep {
    written: Vec<File>,
    /// The content of the file of what is held back.
    held: Option<Vec<u8>>,
}

pub(super) struct Feeder {
    joiner: Joiner,
    writer: Writer,
    held_path: PathBuf,
    held_changed: bool,
    keeper: SyncSender<ToKeep>,
    kept: Receiver<()>,
    joined: Arc<AtomicU64>,
    /// The line that is written, kept between events.
    line: Vec<u8>,
}

impl Feeder {
    /// Appends what a process before this one has held back and did not get to. Where the journal
    /// can't be written now, it stays in its file, too, until that works.
    pub(super) fn start(
        dir: &Path,
        joiner: Joiner,
        mut writer: Writer,
        joined: Arc<AtomicU64>,
    ) -> io::Result<Self> {
        let (held_path, held_changed) = append_held(dir, &mut writer)?;
        let (keeper, work) = sync_channel::<ToKeep>(1);
        let (done, kept) = sync_channel(0);
        let path = held_path.clone();
        thread::Builder::new().name("journal".into()).spawn(move || {
            for ToKeep { written, held } in work {
                let synced = written.iter().try_for_each(File::sync_data);
                let held = held.map_or(Ok(()), |held| match held.is_empty() {
                    true => fs::remove_file(&path),
                    false => whole_file::write(&path, &[&held]),
                });
                for error in [synced, held].into_iter().filter_map(Result::err) {
                    if error.kind() != io::ErrorKind::NotFound {
                        tracing::warn!("events are not kept on disk for now: {error}");
                    }
                }
            }
            drop(done);
        })?;
        let line = Vec::with_capacity(4096);
        Ok(Self { joiner, writer, held_path, held_changed, keeper, kept, joined, line })
    }

    /// Runs until the queue is closed and empty; everything is told then.
    pub(super) fn run(mut self, queue: &Waiting) {
        let mut keep_at = Instant::now() + KEEP_PERIOD;
        // When this thread may look again, so that some have come together.
        let mut gathered_at = Instant::now();
        loop {
            let now = Instant::now();
            let due = self.joiner.due().map_or(keep_at, |due| due.min(keep_at));
            let first = match queue.pop_within(due.saturating_duration_since(now)) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            if first.is_some() {
                // Not by waiting for the queue: who fills it would have to wake this thread.
                thread::sleep(gathered_at.saturating_duration_since(Instant::now()));
            }
            let batch = first.into_iter().chain(queue.pop_ready()).take(BATCH_MAX);
            if self.tell(batch) < BATCH_MAX {
                gathered_at = Instant::now() + GATHER;
            }
            if Instant::now() >= keep_at {
                keep_at = Instant::now() + KEEP_PERIOD;
                self.keep();
            }
        }
        let mut lines = Vec::new();
        let Self { joiner, line, .. } = &mut self;
        joiner.finish(&mut |told| lines.push(written(line, &told)));
        self.append(lines);
        let unwritten = self.writer.flush(SystemTime::now());
        // The last work has to be done before the file of what is held back changes.
        drop(self.keeper);
        let _ = self.kept.recv();
        let aside = match unwritten.is_empty() {
            true => {
                let _ = fs::remove_file(&self.held_path);
                true
            }
            false => {
                let mut held = Vec::new();
                for record in &unwritten {
                    held.extend_from_slice(&record.line);
                    held.push(b'\n');
                }
                let kept = whole_file::write(&self.held_path, &[&held]);
                if let Err(error) = &kept {
                    let count = unwritten.len();
                    tracing::warn!("{count} events could not be written to disk: {error}");
                }
                kept.is_ok()
            }
        };
        self.writer.close(aside);
    }

    /// How many messages there were.
    fn tell(&mut self, messages: impl Iterator<Item = Message>) -> usize {
        let now = Instant::now();
        let (mut lines, mut flushed, mut count) = (Vec::new(), Vec::new(), 0);
        let Self { joiner, line, .. } = self;
        for message in messages {
            count += 1;
            match message {
                Message::Event(event) => {
                    let before = lines.len();
                    joiner.push(now, event, &mut |told| lines.push(written(line, &told)));
                    self.held_changed |= lines.len() == before;
                }
                Message::Join(length) => joiner.set_length(length),
                Message::Flush(done) => {
                    joiner.finish(&mut |told| lines.push(written(line, &told)));
                    flushed.push(done);
                }
            }
        }
        let before = lines.len();
        joiner.expire(now, &mut |told| lines.push(written(line, &told)));
        self.held_changed |= lines.len() > before;
        self.append(lines);
        if !flushed.is_empty() {
            let all_written = self.writer.unwritten().is_empty();
            if all_written {
                // Once more with the next one: the thread beside may just write an older one.
                let _ = fs::remove_file(&self.held_path);
            }
            self.held_changed = true;
            for done in flushed {
                let _ = done.try_send(all_written);
            }
        }
        count
    }

    fn append(&mut self, lines: Vec<(Severity, Arc<[u8]>)>) {
        self.joined.store(self.joiner.joined(), Relaxed);
        self.writer.append(lines, SystemTime::now());
    }

    /// Has what changed brought to disk. A disk that is still busy gets it the next time.
    fn keep(&mut self) {
        // Also tries again what could not be written.
        self.append(Vec::new());
        // What is held back may have been told meanwhile and wait for room on the disk: its file
        // stays as it is until then.
        let all_written = self.writer.unwritten().is_empty();
        let held = (self.held_changed && all_written).then(|| {
            let mut held = Vec::new();
            for (event, joined) in self.joiner.held() {
                event.write_joined(&mut held, joined);
                held.push(b'\n');
            }
            held
        });
        let work = ToKeep { written: self.writer.to_sync(), held };
        if work.written.is_empty() && work.held.is_none() {
            return;
        }
        self.held_changed &= work.held.is_none();
        if let Err(TrySendError::Full(work) | TrySendError::Disconnected(work)) =
            self.keeper.try_send(work)
        {
            self.held_changed |= work.held.is_some();
            self.writer.sync_later(work.written);
        }
    }
}

/// Appends what a process before this one has held back and did not get to. Gives the file's path, and
/// whether it is still needed, as the journal could not be written.
pub(super) fn append_held(dir: &Path, writer: &mut Writer) -> io::Result<(PathBuf, bool)> {
    let held_path = dir.join(HELD);
    match fs::read(&held_path) {
        Ok(held) => {
            let lines = held.split(|&b| b == b'\n');
            let told = |line: &[u8]| Some((Head::of(line)?.severity, line.into()));
            writer.append(lines.filter_map(told).collect(), SystemTime::now());
            let needed = !writer.unwritten().is_empty();
            if !needed {
                fs::remove_file(&held_path)?;
            }
            Ok((held_path, needed))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((held_path, false)),
        Err(error) => Err(error),
    }
}

/// An event's line, written by way of `scratch`.
fn written(scratch: &mut Vec<u8>, told: &Told) -> (Severity, Arc<[u8]>) {
    scratch.clear();
    told.event.write_joined(scratch, told.joined);
    (told.event.severity, scratch.as_slice().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::samples,
        journal::{History, Journal, Keep},
        sinks::queue,
    };

    #[test]
    fn what_was_held_back_stays_until_the_journal_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let (place, away) = (dir.path().join("journal"), dir.path().join("away"));
        let held_path = dir.path().join(HELD);
        let mut held = Vec::new();
        samples::request().write_line(&mut Vec::new(), &mut held).unwrap();
        fs::write(&held_path, &held).unwrap();
        let keep = Keep { bytes: 1 << 20, age: Duration::from_secs(3600) };
        let (_journal, writer) = Journal::open(&place, keep).unwrap();
        // As a full disk does it, no file can be made.
        fs::rename(&place, &away).unwrap();
        let joiner = Joiner::new(Duration::ZERO, &[7; 16]);
        let feeder = Feeder::start(dir.path(), joiner, writer, Arc::default()).unwrap();
        assert_eq!(fs::read(&held_path).unwrap(), held);
        fs::rename(&away, &place).unwrap();
        let (queue, waiting) = queue::queue(1 << 30);
        assert!(queue.push(samples::hostile()));
        drop(queue);
        feeder.run(&waiting);
        assert!(!held_path.exists());
        let mut history = History::open(&place, None).unwrap();
        let first = history.next_line().unwrap().unwrap();
        assert_eq!(Some(&*first), held.strip_suffix(b"\n"));
        assert!(history.next_line().unwrap().is_some() && history.next_line().unwrap().is_none());
    }
}
