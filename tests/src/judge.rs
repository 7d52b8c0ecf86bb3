//! The guard programs with somebody who beats and judges, in place of the daemon.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use jotwatch::{
    enforce::{
        guard::{Config, Counter, Guard, HeldHead, Service},
        kernel::KernelTables,
        tables::Tables as _,
    },
    policy::{FailMode, Mode},
    time::Time,
};
use jotwatch_common::guard::sip::Secret;

use crate::stand::{PORT, Stand};

/// The key of token and allow keys.
pub const SECRET: Secret = Secret([11, 22]);

/// The one token that is good. HS256 has 32 bytes: 43 characters, the last of which has two unused
/// bits.
pub const GOOD: &str =
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJnb29kIn0.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A bad one.
pub const BAD: &str =
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJiYWQifQ.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c";

/// The wall clock.
#[must_use]
pub fn now() -> Time {
    Time::EPOCH + SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The stand's service guarded in this mode, open when nobody beats for a second.
#[must_use]
pub fn config(stand: &Stand, mode: Mode) -> Config {
    Config {
        services: vec![Service {
            ports: vec![PORT],
            places: Vec::new(),
            mode,
            dry_run: false,
            fail: FailMode::Open,
            heartbeat: Duration::from_secs(1),
            hold: Duration::from_secs(5),
            ask_always: false,
            body_bytes: 8 << 10,
        }],
        cgroup: Some(stand.place.cgroup().into()),
        secret: SECRET,
        extra_headers: vec!["x-token".into()],
        pins: None,
    }
}

/// A guard with somebody who beats and judges: a head with any token but [`GOOD`] is bad.
#[derive(Debug)]
pub struct Judge {
    guard: Arc<Mutex<(Guard, KernelTables)>>,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

fn is_good(head: &HeldHead<'_>) -> bool {
    let text = String::from_utf8_lossy(head.head);
    let mut tokens = text
        .split([' ', '\r', ';', ',', '='])
        .filter(|word| word.matches('.').count() == 2 && word.len() > 40);
    tokens.all(|token| token == GOOD)
}

fn judge(guard: &mut Guard, tables: &mut KernelTables) {
    guard.beat().expect("a map of ours");
    let mut verdicts = HashMap::new();
    guard.held(|head| {
        verdicts.insert(head.verdict, (is_good(head), head.covered, head.allow, head.service));
    });
    let until = now() + Duration::from_secs(60);
    for (key, (good, covered, allow, service)) in verdicts {
        guard.decide(key, good, None, until).expect("a map of ours");
        if good && covered {
            tables.allow_token(allow, service, until).expect("a map of ours");
        }
    }
}

impl Judge {
    /// Starts both.
    ///
    /// # Errors
    /// The guard does not start.
    pub fn start(config: &Config) -> Result<Self> {
        let guard = Arc::new(Mutex::new(Guard::start(config)?));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (guard, stop) = (Arc::clone(&guard), Arc::clone(&stop));
            move || {
                while !stop.load(Ordering::Relaxed) {
                    {
                        let mut guard = guard.lock().unwrap_or_else(PoisonError::into_inner);
                        let (guard, tables) = &mut *guard;
                        judge(guard, tables);
                    }
                    thread::sleep(Duration::from_millis(2));
                }
            }
        });
        Ok(Self { guard, stop, thread: Some(thread) })
    }

    /// Lets `f` have the guard and its tables.
    pub fn with<T>(&self, f: impl FnOnce(&mut Guard, &mut KernelTables) -> T) -> T {
        let mut guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner);
        let (guard, tables) = &mut *guard;
        f(guard, tables)
    }

    /// One counter of the programs.
    #[must_use]
    pub fn count(&self, counter: Counter) -> u64 {
        let counters = self.with(|guard, _| guard.counters()).expect("a map of ours");
        counters.iter().find(|(c, _)| *c == counter).map_or(0, |(_, n)| *n)
    }

    /// All of them that are not 0.
    #[must_use]
    pub fn shown(&self) -> String {
        let counters = self.with(|guard, _| guard.counters()).expect("a map of ours");
        let text = |(c, n): &(Counter, u64)| (*n > 0).then(|| format!("{} {n}", c.name()));
        counters.iter().filter_map(text).collect::<Vec<_>>().join(", ")
    }

    /// Nobody beats or judges any more; the programs stay.
    pub fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("a judge that does not panic");
        }
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        self.end();
    }
}
