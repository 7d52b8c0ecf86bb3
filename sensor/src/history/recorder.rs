//! Writes the history and compares with the shadow, beside the pipeline.
//!
//! The pipeline's thread only puts what was scored into a bounded queue. Nothing here comes back to
//! it: a slow disk or a bad shadow costs history, counted, and no verdict.

use std::{
    collections::{HashSet, VecDeque},
    io, mem,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use jotwatch_models::behaviour::{BehaviourModel, Vector};
use serde::{Deserialize, Serialize};

use super::{
    compare::{Comparison, Labelled},
    erase::erase,
    file::HistoryFile,
    row::Scored,
};
use crate::{config::HistoryPlace, event::EventId, pipeline::Assessed, time::Time};

/// Exchanges that wait to be written; more are lost, counted. A tenth of a second of the most that
/// the sensor was measured with, in 8 MiB.
const MAX_QUEUED: usize = 16_384;

/// The thread is woken when so many wait; else it looks by itself.
const WAKE_AT: usize = 4_096;

/// How often the thread looks.
const PERIOD: Duration = Duration::from_millis(100);

/// Exchanges with an event that are remembered, so that people can say what they think of one: a
/// day's alerts of a busy host, in 4 MiB.
const MAX_RECENT: usize = 8_192;

/// Bytes of lines that are written at a time.
const PIECE: usize = 256 << 10;

/// What became of exchanges on the way to the history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecorderStatus {
    /// The file; absent where none is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Its bytes, without the part that was set aside.
    pub bytes: u64,
    /// Lines written.
    pub written: u64,
    /// Unremarkable exchanges that the sample left out.
    pub left_out: u64,
    /// Lost as too many waited.
    pub dropped_queue: u64,
    /// Lost as they could not be written.
    pub dropped_write: u64,
    /// Why the last that was lost could not be written; absent where the last could.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

#[expect(clippy::large_enum_variant, reason = "most are exchanges, and are kept in place")]
enum Job {
    Scored(Scored),
    /// Another file, or none.
    Place(Option<HistoryPlace>),
    /// Other models: that in force, and that in shadow with since when.
    Models(Option<Arc<BehaviourModel>>, Option<Arc<BehaviourModel>>),
    Labels(Arc<[(Vector, bool)]>),
    /// Forget these subjects; how many lines went, to whom it may concern.
    Forget(HashSet<u128>, SyncSender<io::Result<u64>>),
    Stop,
}

impl Job {
    const fn scored(&self) -> Option<&Scored> {
        match self {
            Self::Scored(scored) => Some(scored),
            _ => None,
        }
    }
}

#[derive(Default)]
struct Queue {
    jobs: Vec<Job>,
    /// Of these, exchanges.
    scored: usize,
    /// The thread works on what it took.
    busy: bool,
    /// Of that, what an event went out about.
    told: Vec<Scored>,
}

#[derive(Default)]
struct Published {
    status: RecorderStatus,
    comparison: Comparison,
    recent: VecDeque<Scored>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    /// The thread is done with what there was.
    done: Condvar,
    published: Mutex<Published>,
    dropped: AtomicU64,
    left_out: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread beside the pipeline, and what it is asked.
pub struct Recorder {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    place: Option<HistoryPlace>,
    shadow: bool,
    shadow_since: Option<Time>,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Recorder {
    /// Starts the thread; it has nothing to do yet.
    ///
    /// # Errors
    /// The system has no thread.
    pub fn start() -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let thread = thread::Builder::new().name("jotwatch-history".into()).spawn({
            let shared = Arc::clone(&shared);
            move || Worker::default().run(&shared)
        })?;
        Ok(Self { shared, thread: Some(thread), place: None, shadow: false, shadow_since: None })
    }

    /// Writes the history there from now on; nowhere with `None`.
    pub fn write_to(&mut self, place: Option<HistoryPlace>) {
        if self.place != place {
            self.place.clone_from(&place);
            self.order(Job::Place(place));
        }
    }

    /// Compares these models from now on. What was compared before is forgotten.
    pub fn compare(
        &mut self,
        current: Option<Arc<BehaviourModel>>,
        shadow: Option<Arc<BehaviourModel>>,
        now: Time,
    ) {
        self.shadow = current.is_some() && shadow.is_some();
        self.shadow_since = self.shadow.then_some(now);
        self.order(Job::Models(current, shadow));
    }

    /// What people labelled, from now on: vectors, and whether they were malicious.
    pub fn label(&self, labelled: Arc<[(Vector, bool)]>) {
        self.order(Job::Labels(labelled));
    }

    /// Forgets these subjects, in the history's files too. The answer is how many lines went.
    #[must_use]
    pub fn forget(&self, subjects: HashSet<u128>) -> Receiver<io::Result<u64>> {
        let (to, answer) = sync_channel(1);
        self.order(Job::Forget(subjects, to));
        answer
    }

    /// Takes an exchange as the pipeline has it. Never waits for the disk or for the shadow.
    pub fn take(&self, assessed: &Assessed<'_>) {
        if assessed.told || self.wants_all() {
            self.push(assessed.into());
        }
    }

    /// Whether there is use for exchanges that no event went out about.
    #[must_use]
    pub const fn wants_all(&self) -> bool {
        self.shadow || self.place.is_some()
    }

    /// Takes an exchange. Never waits for the disk or for the shadow.
    pub fn push(&self, scored: Scored) {
        let keep = scored.told || (self.place.is_some() && self.is_kept(&scored));
        if !keep && !self.shadow {
            if self.place.is_some() {
                self.shared.left_out.fetch_add(1, Ordering::Relaxed);
            }
            return;
        }
        let mut queue = lock(&self.shared.queue);
        if queue.scored >= MAX_QUEUED {
            drop(queue);
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        queue.scored += 1;
        queue.jobs.push(Job::Scored(scored));
        if queue.scored == WAKE_AT {
            self.shared.wake.notify_one();
        }
    }

    fn is_kept(&self, scored: &Scored) -> bool {
        self.place.as_ref().is_some_and(|place| is_sampled(scored, place.sample))
    }

    fn order(&self, job: Job) {
        lock(&self.shared.queue).jobs.push(job);
        self.shared.wake.notify_one();
    }

    /// A remembered exchange with an event.
    #[must_use]
    pub fn find(&self, event: EventId) -> Option<Scored> {
        // Looked for in the order in which it goes from one to the other.
        let queue = lock(&self.shared.queue);
        let mut waiting = queue.jobs.iter().filter_map(Job::scored).chain(&queue.told);
        let waiting = waiting.find(|scored| scored.event == event).cloned();
        drop(queue);
        waiting.or_else(|| {
            let published = lock(&self.shared.published);
            published.recent.iter().rev().find(|scored| scored.event == event).cloned()
        })
    }

    /// What became of exchanges.
    #[must_use]
    pub fn status(&self) -> RecorderStatus {
        RecorderStatus {
            left_out: self.shared.left_out.load(Ordering::Relaxed),
            dropped_queue: self.shared.dropped.load(Ordering::Relaxed),
            ..lock(&self.shared.published).status.clone()
        }
    }

    /// What was compared, and since when; `None` without a shadow.
    #[must_use]
    pub fn comparison(&self) -> Option<(Time, Comparison)> {
        self.shadow_since.map(|since| (since, lock(&self.shared.published).comparison.clone()))
    }

    /// Waits until all that was handed over is done with, no longer than `most`; `false` where it
    /// is not.
    pub fn flush(&self, most: Duration) -> bool {
        let end = Instant::now() + most;
        let mut queue = lock(&self.shared.queue);
        self.shared.wake.notify_one();
        while queue.busy || !queue.jobs.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.shared.done.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Ends the thread behind what was handed over, waiting no longer than `most`.
    pub fn stop(mut self, most: Duration) -> RecorderStatus {
        let done = self.flush(most);
        self.order(Job::Stop);
        if let (true, Some(thread)) = (done, self.thread.take()) {
            let _ = thread.join();
        }
        self.status()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.order(Job::Stop);
    }
}

/// Whether the history of one in `sample` unremarkable exchanges has this one. By the event's
/// name, which is a hash: the same capture gives the same history.
#[must_use]
pub fn is_sampled(scored: &Scored, sample: u32) -> bool {
    let name = u128::from_be_bytes(scored.event.0);
    scored.is_remarkable() || name.is_multiple_of(u128::from(sample.max(1)))
}

/// For how many exchanges a line stands.
#[must_use]
pub fn weight(scored: &Scored, sample: u32) -> u32 {
    if scored.is_remarkable() { 1 } else { sample.max(1) }
}

#[derive(Default)]
struct Worker {
    place: Option<HistoryPlace>,
    file: Option<HistoryFile>,
    current: Option<Arc<BehaviourModel>>,
    shadow: Option<Arc<BehaviourModel>>,
    labels: Arc<[(Vector, bool)]>,
    comparison: Comparison,
    status: RecorderStatus,
    lines: Vec<u8>,
    /// How many.
    count: u64,
}

impl Worker {
    fn run(mut self, shared: &Shared) {
        let mut jobs = Vec::new();
        loop {
            {
                let mut queue = lock(&shared.queue);
                queue.busy = false;
                if queue.jobs.is_empty() {
                    shared.done.notify_all();
                }
                if queue.scored < WAKE_AT && queue.scored == queue.jobs.len() {
                    let waited = shared.wake.wait_timeout(queue, PERIOD);
                    queue = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                mem::swap(&mut queue.jobs, &mut jobs);
                queue.scored = 0;
                queue.busy = !jobs.is_empty();
                let told = jobs.iter().filter_map(Job::scored).filter(|scored| scored.told);
                queue.told.extend(told.cloned());
            }
            if jobs.is_empty() {
                continue;
            }
            for job in jobs.drain(..) {
                match job {
                    Job::Scored(scored) => self.take(&scored),
                    Job::Place(place) => {
                        self.write();
                        (self.place, self.file) = (place, None);
                        self.status = RecorderStatus {
                            file: self.place.as_ref().map(|place| place.path.display().to_string()),
                            ..RecorderStatus::default()
                        };
                        self.reopen();
                    }
                    Job::Models(current, shadow) => {
                        (self.current, self.shadow) = (current, shadow);
                        self.comparison = Comparison::default();
                        self.weigh_labels();
                    }
                    Job::Labels(labels) => {
                        self.labels = labels;
                        self.weigh_labels();
                    }
                    Job::Forget(subjects, to) => {
                        let theirs = |scored: &Scored| subjects.contains(&scored.subject);
                        lock(&shared.queue).told.retain(|scored| !theirs(scored));
                        lock(&shared.published).recent.retain(|scored| !theirs(scored));
                        let _ = to.send(self.forget(&subjects));
                    }
                    Job::Stop => return self.write(),
                }
            }
            self.write();
            let mut queue = lock(&shared.queue);
            let mut published = lock(&shared.published);
            published.status.clone_from(&self.status);
            published.comparison.clone_from(&self.comparison);
            for scored in queue.told.drain(..) {
                if published.recent.len() >= MAX_RECENT {
                    published.recent.pop_front();
                }
                published.recent.push_back(scored);
            }
        }
    }

    fn take(&mut self, scored: &Scored) {
        if let (Some(current), Some(shadow)) = (&self.current, &self.shadow) {
            self.comparison.add(current, shadow, &scored.vector);
        }
        if let Some(place) = self.place.as_ref().filter(|place| is_sampled(scored, place.sample)) {
            scored.row(weight(scored, place.sample)).write(&mut self.lines);
            self.count += 1;
            if self.lines.len() >= PIECE {
                self.write();
            }
        }
    }

    fn forget(&mut self, subjects: &HashSet<u128>) -> io::Result<u64> {
        self.write();
        let Some(place) = &self.place else { return Ok(0) };
        self.file = None;
        let erased = erase(&place.path, subjects);
        self.reopen();
        erased
    }

    fn weigh_labels(&mut self) {
        self.comparison.labelled = match (&self.current, &self.shadow) {
            (Some(current), Some(shadow)) => Labelled::of(current, shadow, &self.labels),
            _ => Labelled::default(),
        };
    }

    fn reopen(&mut self) {
        let Some(place) = &self.place else { return };
        match HistoryFile::open(&place.path, place.max_bytes) {
            Ok(file) => {
                self.status.bytes = file.len();
                self.file = Some(file);
            }
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&mut self, error: &io::Error) {
        // Said once, until it is over.
        if self.status.last_error.is_none()
            && let Some(place) = &self.place
        {
            tracing::error!("history {}: {error}; exchanges are lost", place.path.display());
        }
        self.status.last_error = Some(error.to_string());
    }

    fn write(&mut self) {
        if self.count == 0 {
            return;
        }
        if self.file.is_none() {
            self.reopen();
        }
        let written = self.file.as_mut().map(|file| file.append(&self.lines).map(|()| file.len()));
        match written {
            Some(Ok(bytes)) => {
                self.status.written += self.count;
                self.status.bytes = bytes;
                self.status.last_error = None;
            }
            Some(Err(error)) => {
                self.status.dropped_write += self.count;
                self.file = None;
                self.failed(&error);
            }
            None => self.status.dropped_write += self.count,
        }
        self.lines.clear();
        self.count = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::{
        super::{
            reader::{Progress, Reader},
            row::tests::scored,
        },
        *,
    };

    const LONG: Duration = Duration::from_secs(60);

    fn place(path: PathBuf, sample: u32) -> HistoryPlace {
        HistoryPlace { path, max_bytes: 64 << 20, sample }
    }

    #[test]
    fn what_is_pushed_is_written_whole_and_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("h.jsonl");
        let mut recorder = Recorder::start().unwrap();
        recorder.push(scored(999_999));
        recorder.write_to(Some(place(path.clone(), 1)));
        for n in 0..3_000 {
            recorder.push(scored(n));
        }
        assert!(recorder.flush(LONG));
        let status = recorder.stop(LONG);
        assert_eq!((status.written, status.dropped_queue, status.dropped_write), (3_000, 0, 0));
        assert_eq!(status.bytes, fs::metadata(&path).unwrap().len());
        let mut reader = Reader::open(&path, &Progress::default()).unwrap();
        for n in 0..3_000 {
            assert_eq!(reader.next_row().unwrap(), Some(scored(n).row(1)));
        }
        assert_eq!(reader.next_row().unwrap(), None);
    }

    #[test]
    fn what_was_told_is_found_wherever_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let mut recorder = Recorder::start().unwrap();
        recorder.write_to(Some(place(dir.path().join("h.jsonl"), 1)));
        for n in 0..10_000 {
            recorder.push(Scored { told: true, ..scored(n) });
            // The thread takes them when it likes.
            recorder.shared.wake.notify_one();
            for n in [n, n.saturating_sub(100)] {
                assert!(recorder.find(scored(n).event).is_some(), "{n}");
            }
        }
    }

    #[test]
    fn a_sample_leaves_out_what_is_usual_and_says_what_it_stands_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("h.jsonl");
        let mut recorder = Recorder::start().unwrap();
        recorder.write_to(Some(place(path.clone(), 10)));
        for n in 0..1_000 {
            let mut scored = scored(n);
            scored.told = n % 100 == 7;
            recorder.push(scored);
        }
        let found = recorder.find(scored(107).event).unwrap();
        assert!(found.told && recorder.find(scored(108).event).is_none());
        assert!(recorder.flush(LONG));
        assert_eq!(recorder.find(scored(107).event).unwrap().at, scored(107).at);
        let status = recorder.stop(LONG);
        assert_eq!((status.written, status.left_out), (110, 890));
        let mut reader = Reader::open(&path, &Progress::default()).unwrap();
        let mut weights = 0;
        while let Some(row) = reader.next_row().unwrap() {
            assert_eq!(row.weight, if row.told { 1 } else { 10 });
            weights += row.weight;
        }
        assert_eq!(weights, 1_010);
    }

    #[test]
    fn what_can_not_be_written_is_counted_and_what_waits_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let mut recorder = Recorder::start().unwrap();
        recorder.write_to(Some(place(dir.path().to_owned(), 1)));
        for n in 0..5 {
            recorder.push(scored(n));
        }
        assert!(recorder.flush(LONG));
        let status = recorder.status();
        assert_eq!((status.written, status.dropped_write), (0, 5));
        assert!(status.last_error.is_some());
        // The thread takes nothing while this is held.
        let published = lock(&recorder.shared.published);
        let total = 3 * MAX_QUEUED as u64;
        for n in 0..total {
            recorder.push(scored(n));
        }
        drop(published);
        assert!(recorder.flush(LONG));
        let status = recorder.stop(LONG);
        assert!(status.dropped_queue >= MAX_QUEUED as u64, "{status:?}");
        assert_eq!(status.dropped_queue + status.dropped_write, total + 5);
    }

    #[test]
    fn a_shadow_is_compared_on_the_same_vectors() {
        let mut calm = BehaviourModel::embedded().unwrap();
        calm.calibration.threshold = 1.0;
        let current = Arc::new(calm);
        let mut wild = BehaviourModel::embedded().unwrap();
        wild.calibration.threshold = 0.0;
        let shadow = Arc::new(wild);
        let mut recorder = Recorder::start().unwrap();
        assert_eq!(recorder.comparison(), None);
        recorder.compare(Some(Arc::clone(&current)), Some(shadow), Time::from_unix_secs(9));
        recorder.label([(scored(1).vector, true), (scored(2).vector, false)].into());
        for n in 0..100 {
            let mut scored = scored(n);
            scored.vector.learning = n % 4 == 0;
            recorder.push(scored);
        }
        assert!(recorder.flush(LONG));
        let (since, compared) = recorder.comparison().unwrap();
        assert_eq!(since.unix_secs(), 9);
        assert_eq!((compared.requests, compared.shadow_alerts), (75, 75));
        assert_eq!((compared.current_alerts, compared.only_shadow()), (0, 75));
        assert_eq!(compared.mean_difference(), 0.0);
        let labelled = compared.labelled;
        assert_eq!((labelled.malicious, labelled.shadow_found, labelled.current_found), (1, 1, 0));
        assert_eq!((labelled.benign, labelled.shadow_false, labelled.current_false), (1, 1, 0));
        recorder.compare(Some(current), None, Time::from_unix_secs(10));
        assert_eq!(recorder.comparison(), None);
    }
}
