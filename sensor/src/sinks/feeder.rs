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

use super::join::{Joiner, Told};
use crate::{
    event::{Event, Head},
    finding::Severity,
    journal::Writer,
    whole_file,
};

/// Events appended in one go at most.
const BATCH_MAX: usize = 512;
/// How often the disk takes over what was written, and what is held back is kept.
const KEEP_PERIOD: Duration = Duration::from_secs(1);
/// What is held back, as it would be told, beside the journal: it outlasts the process.
const HELD: &str = "held";

/// What the queue carries.
pub(super) enum Message {
    /// An event to tell of.
    Event(Box<Event>),
    /// Alerts are joined within this time from now on.
    Join(Duration),
    /// What is held back is told of now; answered when it and all before is in the journal.
    Flush(SyncSender<()>),
}

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
}

impl Feeder {
    /// Appends what a process before this one has held back and did not get to.
    pub(super) fn start(
        dir: &Path,
        joiner: Joiner,
        mut writer: Writer,
        joined: Arc<AtomicU64>,
    ) -> io::Result<Self> {
        let held_path = append_held(dir, &mut writer)?;
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
        Ok(Self { joiner, writer, held_path, held_changed: false, keeper, kept, joined })
    }

    /// Runs until the queue is closed and empty; everything is told then.
    pub(super) fn run(mut self, queue: &Receiver<Message>) {
        let mut keep_at = Instant::now() + KEEP_PERIOD;
        loop {
            let now = Instant::now();
            let due = self.joiner.due().map_or(keep_at, |due| due.min(keep_at));
            let first = match queue.recv_timeout(due.saturating_duration_since(now)) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let more = std::iter::from_fn(|| queue.try_recv().ok()).take(BATCH_MAX - 1);
            self.tell(first.into_iter().chain(more));
            if Instant::now() >= keep_at {
                keep_at = Instant::now() + KEEP_PERIOD;
                self.keep();
            }
        }
        let mut lines = Vec::new();
        self.joiner.finish(&mut |told| lines.push(line(&told)));
        self.append(lines);
        // The last work has to be done before the file of what is held back goes.
        drop(self.keeper);
        let _ = self.kept.recv();
        let _ = fs::remove_file(&self.held_path);
        self.writer.close();
    }

    fn tell(&mut self, messages: impl Iterator<Item = Message>) {
        let now = Instant::now();
        let (mut lines, mut flushed) = (Vec::new(), Vec::new());
        for message in messages {
            match message {
                Message::Event(event) => {
                    let before = lines.len();
                    self.joiner.push(now, *event, &mut |told| lines.push(line(&told)));
                    self.held_changed |= lines.len() == before;
                }
                Message::Join(length) => self.joiner.set_length(length),
                Message::Flush(done) => {
                    self.joiner.finish(&mut |told| lines.push(line(&told)));
                    flushed.push(done);
                }
            }
        }
        let before = lines.len();
        self.joiner.expire(now, &mut |told| lines.push(line(&told)));
        self.held_changed |= lines.len() > before;
        self.append(lines);
        if !flushed.is_empty() {
            // Once more with the next one: the thread beside may just write an older one.
            let _ = fs::remove_file(&self.held_path);
            self.held_changed = true;
        }
        for done in flushed {
            let _ = done.try_send(());
        }
    }

    fn append(&mut self, lines: Vec<(Severity, Vec<u8>)>) {
        self.joined.store(self.joiner.joined(), Relaxed);
        self.writer.append(lines, SystemTime::now());
    }

    /// Has what changed brought to disk. A disk that is still busy gets it the next time.
    fn keep(&mut self) {
        // Also tries again what could not be written.
        self.append(Vec::new());
        let held = self.held_changed.then(|| {
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
        self.held_changed = false;
        if let Err(TrySendError::Full(work) | TrySendError::Disconnected(work)) =
            self.keeper.try_send(work)
        {
            self.held_changed = work.held.is_some();
            self.writer.sync_later(work.written);
        }
    }
}

/// Appends what a process before this one has held back and did not get to; gives the file's path.
pub(super) fn append_held(dir: &Path, writer: &mut Writer) -> io::Result<PathBuf> {
    let held_path = dir.join(HELD);
    match fs::read(&held_path) {
        Ok(held) => {
            let lines = held.split(|&b| b == b'\n');
            let told = |line: &[u8]| Some((Head::of(line)?.severity, line.to_vec()));
            writer.append(lines.filter_map(told).collect(), SystemTime::now());
            fs::remove_file(&held_path)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(held_path)
}

fn line(told: &Told) -> (Severity, Vec<u8>) {
    let mut line = Vec::with_capacity(1024);
    told.event.write_joined(&mut line, told.joined);
    (told.event.severity, line)
}
