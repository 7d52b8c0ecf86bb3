//! Keys from outside: files, URLs and OpenID discovery.
//!
//! [`Keyring::start`] reads every key file and what was kept of earlier fetches, and starts a few
//! threads that fetch and refresh the rest, whatever is due first: a server that hangs holds up
//! one of them. The pipeline looks at [`Keyring::generation`] once
//! a tick and, when that has changed, takes [`Keyring::current`]; it calls
//! [`Keyring::unknown_kid`] where a token names a key that is not there. None of these waits.
//!
//! A fetched set is put in force only after it was read whole and holds a usable key. Whatever
//! else comes back (nothing, too late, too much, a page, an error, a redirect to where keys may
//! not come from) leaves the old keys in force and its reason in [`Keyring::status`].
#![forbid(unsafe_code)]

mod cache;
mod discovery;
mod download;
mod fetch;
mod files;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod remote;
mod rotation;
mod schedule;
mod snapshot;

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    io,
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

pub use self::{
    download::Download,
    snapshot::{IssuerKeys, Snapshot},
};
use self::{fetch::Client, remote::Remote, schedule::Pace};
use crate::{
    config::{Config, IssuerConfig},
    confine::{self, Reach},
    endpoint::Host,
    keys::{FetchMark, Key, KeyError},
    time::Time,
};

/// The wait behind the first fetch that failed.
const FIRST_RETRY: Duration = Duration::from_secs(5);
/// The longest sleep of a thread that fetches.
const LONGEST_SLEEP: Duration = Duration::from_secs(3_600);
/// Issuers whose keys are fetched at once, each by a thread. So many servers that hang at the same
/// time delay the others, by no more than `keys.total_seconds`.
const MAX_FETCHERS: usize = 8;

/// Why the keyring can't start. No message repeats bytes of a file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file can't be opened or read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is too large for what it should be.
    #[error("{}: over {max} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most bytes.
        max: usize,
    },
    /// A file with a secret or a private key that others may read.
    #[error("{}: holds a secret and may be read by others (mode {mode:04o}); make it 0600", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file without a usable key.
    #[error("{}: {error}", path.display())]
    Keys {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, or with its first key.
        error: KeyError,
    },
    /// A file with an empty set.
    #[error("{}: holds no key", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// `ca_file` holds something else.
    #[error("{}: not certificates in PEM", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
    },
    /// The system gives no thread.
    #[error("a thread that fetches keys can't start: {0}")]
    Thread(#[source] io::Error),
}

/// Where the keys in force came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeysFrom {
    /// There are none yet.
    Nowhere,
    /// Files only.
    Files,
    /// A set that an earlier run fetched.
    Cache,
    /// A set that this run fetched, or found to be still current.
    Network,
}

/// The keys of one issuer, as `status` shows them. Times are RFC 3339 in UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuerStatus {
    /// The issuer; absent for any other.
    pub issuer: Option<String>,
    /// Where its keys came from.
    pub source: KeysFrom,
    /// Keys in force.
    pub keys: usize,
    /// Of these, keys that vanished from their set and still serve for a while.
    pub old_keys: usize,
    /// Keys that can't be used.
    pub rejected: usize,
    /// When the set was last fetched or found to be still current.
    pub last_success: Option<String>,
    /// Why the last fetch failed; absent when it did not.
    pub last_error: Option<String>,
    /// When the set is fetched again.
    pub next_refresh: Option<String>,
}

/// What the configuration says, resolved.
#[derive(Clone, Debug)]
struct Settings {
    connect: Duration,
    total: Duration,
    max_bytes: u64,
    pace: Pace,
    keep: Duration,
    cache_dir: PathBuf,
    allow_http: bool,
    allowed_hosts: Vec<Host>,
    ca_file: Option<PathBuf>,
    /// The wall clock: for what is kept on disk and shown, never for when something is due.
    wall: fn() -> Time,
}

impl Settings {
    fn new(config: &Config) -> Self {
        let keys = &config.keys;
        let cache_dir = keys.cache_dir.clone();
        Self {
            connect: Duration::from_secs(*keys.connect_seconds.get_ref()),
            total: Duration::from_secs(*keys.total_seconds.get_ref()),
            max_bytes: *keys.max_bytes.get_ref(),
            pace: Pace {
                refresh: Duration::from_secs(*keys.refresh_seconds.get_ref()),
                unknown_kid: Duration::from_secs(*keys.unknown_kid_seconds.get_ref()),
                retry: FIRST_RETRY,
            },
            keep: Duration::from_secs(*keys.keep_seconds.get_ref()),
            cache_dir: cache_dir.unwrap_or_else(|| config.daemon.state_dir.join("keys")),
            allow_http: keys.allow_http,
            allowed_hosts: keys
                .allowed_hosts
                .iter()
                .filter_map(|host| Host::parse(host.get_ref()))
                .collect(),
            ca_file: keys.ca_file.clone(),
            wall,
        }
    }
}

fn wall() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time::from_unix_nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// Reads the key files of a configuration, and nothing else: no network, no kept keys. For
/// `check-config`, and for replay, which gives the same output on every host. The second value is
/// a line about each file with keys that can't be used.
///
/// # Errors
/// As [`Keyring::start`].
pub fn load_files(issuers: &[IssuerConfig]) -> Result<(Snapshot, Vec<String>), Error> {
    let mut snapshot = Snapshot::default();
    let mut warnings = Vec::new();
    for config in issuers.iter().filter(|config| config.has_keys()) {
        let mut files = files::load(config)?;
        warnings.append(&mut files.warnings);
        files.fixed.append(&mut files.fallback);
        snapshot
            .issuers
            .push(IssuerKeys { issuer: config.name().map(Arc::from), keys: files.fixed });
    }
    Ok((snapshot, warnings))
}

/// The keys of all configured issuers, kept fresh by threads of its own, which end when this is
/// dropped. A reload of the configuration starts others.
pub struct Keyring {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    wall: fn() -> Time,
}

/// What the threads that fetch share with each other and with everyone else.
struct Shared {
    /// The issuers that are fetched; `None` is one that a thread has in hand. The lock is never
    /// held during a fetch.
    remotes: Mutex<Vec<Option<Remote>>>,
    /// Something may be due sooner than the sleeping threads know.
    wake: Condvar,
    generation: AtomicU64,
    snapshot: Mutex<Arc<Snapshot>>,
    states: Mutex<Vec<State>>,
    /// Issuers by name.
    names: HashMap<Box<str>, usize>,
    /// The one without a name.
    any: Option<usize>,
    /// By issuer; `None` where nothing is fetched.
    fetches: Vec<Option<Fetches>>,
    stop: AtomicBool,
}

/// The fetches of one issuer's set.
#[derive(Default)]
struct Fetches {
    /// An unknown `kid` asks for one.
    wanted: AtomicBool,
    /// How many have begun.
    begun: AtomicU64,
    /// The number of the last one that brought a set, or found it to be still current, and that
    /// is in force.
    good: AtomicU64,
}

/// What `status` tells of one issuer.
struct State {
    source: KeysFrom,
    old_keys: usize,
    rejected: usize,
    last_success: Option<Time>,
    last_error: Option<String>,
    next: Option<Instant>,
}

/// Nothing that is done under these locks leaves a value half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Keyring {
    /// Reads all key files and kept sets, and starts fetching where a URL or discovery is
    /// configured. Does not wait for the network.
    ///
    /// # Errors
    /// A key file is missing, unreadable, without a usable key, or holds a secret that others may
    /// read; `ca_file` is no file of certificates; or there is no thread to be had. A bad key in a
    /// set and a kept set that is torn are only warned of.
    pub fn start(config: &Config) -> Result<Self, Error> {
        Self::start_with(&config.issuers, Settings::new(config))
    }

    fn start_with(issuers: &[IssuerConfig], settings: Settings) -> Result<Self, Error> {
        let wall = settings.wall;
        let configured: Vec<_> = issuers.iter().filter(|issuer| issuer.has_keys()).collect();
        let mut worker = Worker { settings, client: None, files: Vec::new() };
        let mut remotes = Vec::new();
        for (index, config) in configured.iter().enumerate() {
            let files = files::load(config)?;
            for warning in &files.warnings {
                tracing::warn!("{warning}");
            }
            worker.files.push(files);
            if config.is_remote() {
                let client = match worker.client.take() {
                    Some(client) => client,
                    None => Client::new(&worker.settings, fetch::KEY_SETS)?,
                };
                remotes.extend(Remote::new(index, config, &worker.settings, &client));
                worker.client = Some(client);
            }
        }
        let fetchers = remotes.len().min(MAX_FETCHERS);
        let shared = Arc::new(Shared::new(&configured, &worker, remotes));
        let mut keyring = Self { shared, threads: Vec::new(), wall };
        let worker = Arc::new(worker);
        for _ in 0..fetchers {
            let (worker, shared) = (Arc::clone(&worker), Arc::clone(&keyring.shared));
            let builder = thread::Builder::new().name("keyring".into());
            let thread = builder.spawn(move || {
                confine::hold(&Reach::Fetching(vec![worker.settings.cache_dir.clone()]));
                worker.run(&shared);
            });
            let thread = thread.map_err(Error::Thread)?;
            keyring.threads.push(thread);
        }
        Ok(keyring)
    }

    /// The number of the current snapshot: one atomic load.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::Acquire)
    }

    /// The keys in force.
    #[must_use]
    pub fn current(&self) -> Arc<Snapshot> {
        Arc::clone(&lock(&self.shared.snapshot))
    }

    /// A token of `issuer` names a key that is not there: the issuer's set is fetched again, at
    /// most once in `unknown_kid_seconds`. Returns at once; while a fetch is already asked for it
    /// costs a look-up by name.
    ///
    /// Gives the last fetch that has begun by now: only a later one may say that there is no such
    /// key. `None` where nothing is fetched, or the key is there by now.
    pub fn unknown_kid(&self, issuer: Option<&str>, kid: &str) -> Option<FetchMark> {
        let named = issuer.and_then(|name| self.shared.names.get(name).copied());
        let source = named.or(self.shared.any)?;
        let fetches = self.shared.fetches(source)?;
        let mark = FetchMark { source, number: fetches.begun.load(Ordering::Acquire) };
        if fetches.wanted.load(Ordering::Relaxed) {
            return Some(mark);
        }
        // The caller's snapshot may be older than the current one.
        let current = self.current();
        let known = |keys: &IssuerKeys| keys.keys.iter().any(|key| key.kid() == Some(kid));
        if current.issuers.get(source).is_some_and(known) {
            return None;
        }
        if !fetches.wanted.swap(true, Ordering::AcqRel) {
            self.shared.wake(Condvar::notify_one);
        }
        Some(mark)
    }

    /// Of each issuer whose keys are fetched, the last fetch that brought its set. Whoever takes
    /// [`Keyring::current`] behind this has the sets that they brought.
    pub fn fetched(&self) -> impl Iterator<Item = FetchMark> {
        let all = self.shared.fetches.iter().enumerate();
        all.filter_map(|(source, fetches)| {
            let number = fetches.as_ref()?.good.load(Ordering::Acquire);
            Some(FetchMark { source, number })
        })
    }

    /// The state of every issuer with a source of keys, in the order of the configuration.
    #[must_use]
    pub fn status(&self) -> Vec<IssuerStatus> {
        let (now, wall) = (Instant::now(), (self.wall)());
        let ended = self.threads.iter().any(JoinHandle::is_finished);
        let current = self.current();
        let states = lock(&self.shared.states);
        let status = |(keys, state): (&IssuerKeys, &State)| IssuerStatus {
            issuer: keys.issuer.as_deref().map(String::from),
            source: state.source,
            keys: keys.keys.len(),
            old_keys: state.old_keys,
            rejected: state.rejected,
            last_success: state.last_success.map(|at| at.to_string()),
            last_error: match state.next {
                Some(_) if ended => Some("a thread that fetches keys has ended".into()),
                _ => state.last_error.clone(),
            },
            next_refresh: state
                .next
                .map(|next| (wall + next.saturating_duration_since(now)).to_string()),
        };
        current.issuers.iter().zip(states.iter()).map(status).collect()
    }
}

impl Drop for Keyring {
    /// Does not wait: a fetch that is under way ends by its own timeout.
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.wake(Condvar::notify_all);
    }
}

impl Shared {
    fn new(issuers: &[&IssuerConfig], worker: &Worker, remotes: Vec<Remote>) -> Self {
        let remote = |index| remotes.iter().find(|remote: &&Remote| remote.index == index);
        let snapshot = Snapshot {
            generation: 0,
            issuers: issuers
                .iter()
                .enumerate()
                .map(|(index, config)| IssuerKeys {
                    issuer: config.name().map(Arc::from),
                    keys: worker.keys(index, remote(index)),
                })
                .collect(),
        };
        let states = (0..issuers.len())
            .map(|index| worker.state(index, remote(index), KeysFrom::Cache))
            .collect();
        Self {
            generation: AtomicU64::new(0),
            snapshot: Mutex::new(Arc::new(snapshot)),
            states: Mutex::new(states),
            names: issuers
                .iter()
                .enumerate()
                .filter_map(|(index, config)| Some((config.name()?.into(), index)))
                .collect(),
            any: issuers.iter().position(|config| config.name().is_none()),
            fetches: (0..issuers.len())
                .map(|index| remote(index).map(|_| Fetches::default()))
                .collect(),
            stop: AtomicBool::new(false),
            remotes: Mutex::new(remotes.into_iter().map(Some).collect()),
            wake: Condvar::new(),
        }
    }

    /// Wakes one thread or all, after a flag was set.
    fn wake(&self, notify: impl FnOnce(&Condvar)) {
        // A thread looks at the flags under this lock before it sleeps: none is slept over.
        drop(lock(&self.remotes));
        notify(&self.wake);
    }

    fn fetches(&self, index: usize) -> Option<&Fetches> {
        self.fetches.get(index)?.as_ref()
    }

    /// Puts keys in force, all at once.
    fn publish(&self, index: usize, keys: Vec<Arc<Key>>) {
        let mut current = lock(&self.snapshot);
        let mut next = Snapshot::clone(&current);
        next.generation += 1;
        if let Some(issuer) = next.issuers.get_mut(index) {
            issuer.keys = keys;
        }
        let generation = next.generation;
        *current = Arc::new(next);
        self.generation.store(generation, Ordering::Release);
    }
}

/// What runs on the threads that fetch.
struct Worker {
    settings: Settings,
    /// `None` where nothing is fetched.
    client: Option<Client>,
    /// By issuer.
    files: Vec<files::FileKeys>,
}

impl Worker {
    fn run(&self, shared: &Shared) {
        let Some(client) = &self.client else { return };
        let mut remotes = lock(&shared.remotes);
        while !shared.stop.load(Ordering::Acquire) {
            let now = Instant::now();
            let due = |remote: &Remote| self.due(remote, now, shared);
            let places = remotes.iter().enumerate();
            let next =
                places.filter_map(|(place, remote)| Some((due(remote.as_ref()?), place))).min();
            let wait = next.map_or(LONGEST_SLEEP, |(at, _)| at.saturating_duration_since(now));
            if let Some((_, place)) = next
                && wait.is_zero()
                && let Some(mut remote) = remotes.get_mut(place).and_then(Option::take)
            {
                drop(remotes);
                self.step(&mut remote, client, shared);
                remotes = lock(&shared.remotes);
                if let Some(free) = remotes.get_mut(place) {
                    *free = Some(remote);
                }
                // Whoever sleeps does not know when this one is due again.
                shared.wake.notify_one();
                continue;
            }
            let waited = shared.wake.wait_timeout(remotes, wait.min(LONGEST_SLEEP));
            remotes = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// When there is something to do for an issuer.
    fn due(&self, remote: &Remote, now: Instant, shared: &Shared) -> Instant {
        let fetches = shared.fetches(remote.index);
        let wanted = fetches.is_some_and(|fetches| fetches.wanted.load(Ordering::Acquire));
        let due = remote.schedule.due(wanted, now, &self.settings.pace);
        remote.rotation.next_expiry().map_or(due, |expiry| due.min(expiry))
    }

    /// Does for one issuer what is due.
    fn step(&self, remote: &mut Remote, client: &Client, shared: &Shared) {
        let Some(fetches) = shared.fetches(remote.index) else { return };
        let now = Instant::now();
        let asked = fetches.wanted.load(Ordering::Acquire);
        if remote.schedule.due(asked, now, &self.settings.pace) <= now {
            remote.schedule.begin(asked, now);
            // A `kid` that is unknown from here on may be one that this fetch just misses.
            fetches.wanted.store(false, Ordering::Release);
            let number = fetches.begun.fetch_add(1, Ordering::AcqRel) + 1;
            if remote.refresh(client, &self.settings, chance()) {
                shared.publish(remote.index, self.keys(remote.index, Some(remote)));
            }
            if remote.last_error.is_none() {
                // Behind the keys: see `Keyring::fetched`.
                fetches.good.store(number, Ordering::Release);
            }
            self.tell(remote, remote.last_error.is_none(), shared);
        }
        if remote.rotation.expire(Instant::now()) {
            shared.publish(remote.index, self.keys(remote.index, Some(remote)));
            remote.store();
            self.tell(remote, false, shared);
        }
    }

    fn tell(&self, remote: &Remote, fresh: bool, shared: &Shared) {
        if let Some(state) = lock(&shared.states).get_mut(remote.index) {
            let source = if fresh { KeysFrom::Network } else { state.source };
            *state = self.state(remote.index, Some(remote), source);
        }
    }

    fn keys(&self, index: usize, remote: Option<&Remote>) -> Vec<Arc<Key>> {
        let Some(files) = self.files.get(index) else { return Vec::new() };
        let mut keys = files.fixed.clone();
        match remote.filter(|remote| remote.has_set()) {
            Some(remote) => keys.extend(remote.keys().0),
            None => keys.extend_from_slice(&files.fallback),
        }
        keys
    }

    /// `fetched` is where a fetched set came from, if there is one.
    fn state(&self, index: usize, remote: Option<&Remote>, fetched: KeysFrom) -> State {
        let files = self.files.get(index);
        let set = remote.and_then(|remote| remote.rotation.current());
        let has_files =
            files.is_some_and(|files| !files.fixed.is_empty() || !files.fallback.is_empty());
        State {
            source: match set {
                Some(_) => fetched,
                None if has_files => KeysFrom::Files,
                None => KeysFrom::Nowhere,
            },
            old_keys: remote.map_or(0, |remote| remote.keys().1),
            rejected: files.map_or(0, |files| files.rejected) + set.map_or(0, |set| set.rejected),
            last_success: remote.and_then(|remote| remote.last_success),
            last_error: remote.and_then(|remote| remote.last_error.clone()),
            next: remote.map(|remote| remote.schedule.next()),
        }
    }
}

/// A random number from 0 to 1; 0.5 where the system gives none.
fn chance() -> f64 {
    getrandom::u32().map_or(0.5, |random| f64::from(random) / f64::from(u32::MAX))
}
