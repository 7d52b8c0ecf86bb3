//! What is usual for subjects, kept over a restart.
//!
//! A file for each set of profiles, written whole beside the old one, which it replaces once it is
//! on the disk. While the daemon runs, that is done every [`ScoringConfig::save_every`] and piece
//! by piece: the pipeline's thread copies a piece between two looks into the ring, and a thread
//! beside it hashes and writes. So a daemon that is killed loses what was learned since the last
//! whole file, and one that is asked to stop loses nothing.
//!
//! [`ScoringConfig::save_every`]: crate::config::ScoringConfig::save_every

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use jotwatch_models::behaviour::{LoadError, Profiles, Saving, Seal};

use crate::{features::Features, time::Time};

/// One file for each of [`Features::profiles_mut`].
const FILE_NAMES: [&str; 2] = ["profiles.state", "profiles-other.state"];

/// Subjects that are copied at a time: a megabyte, less than a millisecond.
const PIECE: u32 = 2_048;

/// Pieces that wait for the disk.
const WAITING: usize = 4;

/// A set of profiles on its way to the disk.
#[derive(Debug)]
struct Job {
    /// Which of [`FILE_NAMES`].
    file: usize,
    saving: Saving,
    /// The next piece where the last one found no room, and whether it is the last.
    piece: Option<(Vec<u8>, bool)>,
    to: SyncSender<Piece>,
    thread: JoinHandle<io::Result<()>>,
}

/// What the thread takes: bytes, and whether they are the last. A file whose last piece never
/// comes is thrown away.
type Piece = (Vec<u8>, bool);

/// The files of a running daemon.
#[derive(Debug)]
pub(super) struct ProfilesFile {
    dir: PathBuf,
    job: Option<Job>,
    /// Threads of jobs that are done on this side.
    writing: Option<(usize, JoinHandle<io::Result<()>>)>,
    /// When the files are written next; none before the first step.
    due: Option<Time>,
    failing: bool,
}

impl ProfilesFile {
    /// Reads the files in `state_dir`. One that is torn, damaged or another installation's is set
    /// aside and said: without a past there is all the more to be learned, and no reason not to
    /// watch.
    pub(super) fn open(state_dir: &Path, features: &mut Features) -> Self {
        for (profiles, name) in features.profiles_mut().into_iter().zip(FILE_NAMES) {
            let path = state_dir.join(name);
            if let Err(error) = restore(&path, profiles) {
                let aside = path.with_extension("refused");
                let kept = match fs::rename(&path, &aside) {
                    Ok(()) => format!("kept as {}", aside.display()),
                    Err(error) => format!("and can't be set aside: {error}"),
                };
                tracing::warn!(
                    "{}: {error}; what was usual is forgotten, the file is {kept}",
                    path.display()
                );
            }
        }
        Self { dir: state_dir.into(), job: None, writing: None, due: None, failing: false }
    }

    /// Does a little of what there is to do; `every` so often all of it from the start.
    pub(super) fn step(&mut self, features: &mut Features, now: Time, every: Duration) {
        if let Some((file, thread)) = self.writing.take_if(|(_, thread)| thread.is_finished()) {
            let done = thread.join().unwrap_or_else(|_| Err(io::Error::other("it panicked")));
            self.told(file, done);
            if file + 1 < FILE_NAMES.len() && !self.failing {
                self.begin(file + 1, features);
            }
            return;
        }
        if self.writing.is_some() {
            return;
        }
        let Some(mut job) = self.job.take() else {
            let due = *self.due.get_or_insert(now + every);
            // Due later than that is what a clock that was set back makes of it.
            if now >= due || due > now + every {
                self.due = Some(now + every);
                self.begin(0, features);
            }
            return;
        };
        let (bytes, last) = job.piece.take().unwrap_or_else(|| {
            let mut bytes = Vec::new();
            let [vouched, others] = features.profiles_mut();
            let profiles = if job.file == 0 { vouched } else { others };
            let more = profiles.save_piece(&mut job.saving, PIECE, &mut bytes);
            (bytes, !more)
        });
        match job.to.try_send((bytes, last)) {
            Ok(()) if last => self.writing = Some((job.file, job.thread)),
            Ok(()) => self.job = Some(job),
            Err(TrySendError::Full(piece)) => {
                job.piece = Some(piece);
                self.job = Some(job);
            }
            // It says why.
            Err(TrySendError::Disconnected(_)) => self.writing = Some((job.file, job.thread)),
        }
    }

    /// Has the next steps write both files from the start: what is under way holds what was forgotten.
    pub(super) fn write_anew(&mut self, now: Time) {
        if let Some(job) = self.job.take() {
            // Without its last piece a file that was begun is thrown away.
            self.writing = Some((job.file, job.thread));
        }
        self.due = Some(now);
    }

    /// Whether nothing is under way or due by then; `Some(false)` where writing fails.
    pub(super) fn is_written(&self, now: Time) -> Option<bool> {
        let idle = self.job.is_none() && self.writing.is_none();
        let done = idle && self.due.is_some_and(|due| due > now);
        done.then_some(!self.failing)
    }

    /// Whether the last attempt to write failed.
    pub(super) const fn is_failing(&self) -> bool {
        self.failing
    }

    /// Writes everything as it is now, and waits for it.
    pub(super) fn finish(&mut self, features: &mut Features) {
        // Without its last piece a file that was begun is thrown away.
        if let Some(job) = self.job.take() {
            drop(job.to);
            let _ = job.thread.join();
        }
        if let Some((file, thread)) = self.writing.take() {
            let done = thread.join().unwrap_or_else(|_| Err(io::Error::other("it panicked")));
            self.told(file, done);
        }
        for (file, profiles) in features.profiles_mut().into_iter().enumerate() {
            let path = self.path(file);
            let done = create(&path.with_extension("new")).and_then(|mut to| {
                profiles.save(&mut to)?;
                replace(&to, &path)
            });
            self.told(file, done);
        }
    }

    fn path(&self, file: usize) -> PathBuf {
        self.dir.join(FILE_NAMES.get(file).copied().unwrap_or_default())
    }

    fn begin(&mut self, file: usize, features: &mut Features) {
        let [vouched, others] = features.profiles_mut();
        let saving = if file == 0 { vouched.begin_save() } else { others.begin_save() };
        let (to, from) = sync_channel(WAITING);
        let path = self.path(file);
        let thread = thread::Builder::new()
            .name("jotwatch-profiles".into())
            .spawn(move || write(&path, &from));
        match thread {
            Ok(thread) => self.job = Some(Job { file, saving, piece: None, to, thread }),
            Err(error) => self.told(file, Err(error)),
        }
    }

    /// A failure is said once until it is over.
    fn told(&mut self, file: usize, done: io::Result<()>) {
        match done {
            Ok(()) => self.failing = false,
            Err(error) if !self.failing => {
                self.failing = true;
                let path = self.path(file);
                tracing::error!("{}: {error}; not kept over a restart", path.display());
            }
            Err(_) => {}
        }
    }
}

/// Writes what comes, and takes the old file's place behind the last piece.
fn write(path: &Path, from: &Receiver<Piece>) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut to = create(&new)?;
    let mut seal = Seal::default();
    while let Ok((bytes, last)) = from.recv() {
        seal.add(&bytes);
        to.write_all(&bytes)?;
        if last {
            to.write_all(&seal.finish())?;
            return replace(&to, path);
        }
    }
    fs::remove_file(&new)
}

fn create(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn replace(new: &File, path: &Path) -> io::Result<()> {
    new.sync_data()?;
    fs::rename(path.with_extension("new"), path)
}

fn restore(path: &Path, profiles: &mut Profiles) -> Result<(), LoadError> {
    match File::open(path) {
        Ok(file) => profiles.load(&mut BufReader::with_capacity(1 << 20, file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(LoadError::Io(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use jotwatch_models::behaviour::{Client, Request, Route, Vector};

    use super::*;
    use crate::features::SubjectLimits;

    const SECRET: [u8; 16] = [7; 16];

    fn features() -> Features {
        Features::new(SubjectLimits { vouched: 10_000, others: 10_000 }, SECRET)
    }

    /// A request of a subject in each set.
    fn see(features: &mut Features, subject: u128) {
        for profiles in features.profiles_mut() {
            let request = Request {
                at_ms: 1_700_000_000_000,
                subject,
                role: None,
                token: None,
                client: Client {
                    address: [192, 0, 2, 1].into(),
                    asn: None,
                    country: None,
                    place: None,
                    kinds: None,
                    threat: None,
                },
                device: 1,
                service: 1,
                route: Route { template: 1, object: None },
                scope_covers: None,
                findings: [0; 5],
                payload: None,
                bytes: 100,
            };
            profiles.request(&request, &mut Vector::default());
        }
    }

    fn known(features: &Features) -> (u64, u64) {
        let stats = features.stats();
        (stats.subjects, stats.others)
    }

    fn after_restart(dir: &Path) -> (u64, u64) {
        let mut features = features();
        drop(ProfilesFile::open(dir, &mut features));
        known(&features)
    }

    /// Until nothing is under way; gives how many steps it took.
    fn settle(file: &mut ProfilesFile, features: &mut Features, now: Time) -> usize {
        let every = Duration::from_secs(60);
        file.step(features, now, every);
        for steps in 0..10_000 {
            if file.job.is_none() && file.writing.is_none() {
                return steps;
            }
            thread::sleep(Duration::from_millis(1));
            file.step(features, now, every);
        }
        panic!("it never ends");
    }

    #[test]
    fn what_is_usual_is_known_after_a_restart_and_after_a_kill() {
        let dir = tempfile::tempdir().unwrap();
        let mut features = features();
        let mut now = Time::from_unix_secs(1_700_000_000);
        let mut file = ProfilesFile::open(dir.path(), &mut features);
        for subject in 0..5_000 {
            see(&mut features, subject);
        }
        assert_eq!(settle(&mut file, &mut features, now), 0, "not yet");
        now = now + Duration::from_secs(60);
        // In pieces of 2,048: more than one of them.
        assert!(settle(&mut file, &mut features, now) >= 3);
        assert_eq!(after_restart(dir.path()), (5_000, 5_000));
        // Killed: what came since the last time is lost, and nothing else.
        see(&mut features, 5_000);
        settle(&mut file, &mut features, now + Duration::from_secs(59));
        assert_eq!(after_restart(dir.path()), (5_000, 5_000));
        now = now + Duration::from_secs(60);
        settle(&mut file, &mut features, now);
        assert_eq!(after_restart(dir.path()), (5_001, 5_001));
        // Asked to stop, in the middle of it: nothing is lost.
        see(&mut features, 5_001);
        file.step(&mut features, now + Duration::from_secs(60), Duration::from_secs(60));
        assert!(file.job.is_some());
        file.finish(&mut features);
        assert_eq!(after_restart(dir.path()), (5_002, 5_002));
        for name in FILE_NAMES {
            let path = dir.path().join(name);
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            assert!(!path.with_extension("new").exists());
        }
    }

    #[test]
    fn a_torn_file_is_set_aside_and_the_other_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut features = features();
        let mut file = ProfilesFile::open(dir.path(), &mut features);
        see(&mut features, 1);
        file.finish(&mut features);
        let path = dir.path().join(FILE_NAMES[0]);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 3]).unwrap();
        assert_eq!(after_restart(dir.path()), (0, 1));
        assert_eq!(fs::read(path.with_extension("refused")).unwrap(), whole[..whole.len() - 3]);
        assert!(!path.exists());
        // Under another secret neither means anything.
        let mut stranger = Features::new(SubjectLimits::default(), [8; 16]);
        drop(ProfilesFile::open(dir.path(), &mut stranger));
        assert_eq!(known(&stranger), (0, 0));
    }

    #[test]
    fn a_disk_that_takes_nothing_stops_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let gone = dir.path().join("gone");
        let mut features = features();
        let mut file = ProfilesFile::open(&gone, &mut features);
        for subject in 0..5_000 {
            see(&mut features, subject);
        }
        settle(&mut file, &mut features, Time::EPOCH);
        settle(&mut file, &mut features, Time::EPOCH + Duration::from_secs(60));
        assert!(file.failing);
        file.finish(&mut features);
        fs::create_dir(&gone).unwrap();
        file.finish(&mut features);
        assert!(!file.failing);
        assert_eq!(after_restart(&gone), (5_000, 5_000));
    }
}
