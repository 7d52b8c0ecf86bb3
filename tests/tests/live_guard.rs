//! The guard programs in the kernel: what is denied or not judged does not reach a service, what
//! is good does, and without the daemon everything does.

// The helpers of these tests are tests too, though clippy's allowance covers only `#[test]`.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    collections::HashMap,
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use jotwatch::{
    enforce::{
        guard::{Config, Counter, Guard, HeldHead, Service},
        tables::{Deny, DenyCause, Tables as _, TokenKey},
    },
    policy::{FailMode, Mode},
    time::Time,
};
use jotwatch_common::guard::{scan::deny_key, sip::Secret};
use jotwatch_tests::net::{self, Place, privileged, stay_on_one_cpu};

const PORT: u16 = 8080;
const SECRET: Secret = Secret([11, 22]);
/// HS256 has 32 bytes: 43 characters, the last of which has two unused bits.
const GOOD: &str =
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJnb29kIn0.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const BAD: &str =
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJiYWQifQ.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c";

fn now() -> Time {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Time::EPOCH + since
}

/// The recording service in a place of its own.
struct Stand {
    place: Place,
    _service: net::Service,
    seen: PathBuf,
    _dir: tempfile::TempDir,
}

impl Stand {
    fn new() -> Result<Self> {
        let place = Place::new()?;
        let dir = tempfile::tempdir()?;
        let seen = dir.path().join("seen");
        let addresses = [format!("127.0.0.1:{PORT}"), format!("[::1]:{PORT}")];
        let service = place.service(
            env!("CARGO_BIN_EXE_recording-http"),
            &[seen.to_str().context("a path")?, &addresses[0], &addresses[1]],
        )?;
        place.wait_for_port(PORT)?;
        Ok(Self { place, _service: service, seen, _dir: dir })
    }

    fn config(&self, mode: Mode) -> Config {
        Config {
            services: vec![Service {
                ports: vec![PORT],
                mode,
                dry_run: false,
                fail: FailMode::Open,
                heartbeat: Duration::from_secs(1),
                hold: Duration::from_secs(5),
                ask_always: false,
            }],
            cgroup: Some(self.place.cgroup().into()),
            secret: SECRET,
            extra_headers: vec!["x-token".into()],
            pins: None,
        }
    }

    /// Heads that the service has read whole.
    fn seen(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.seen).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn connect(&self, v6: bool) -> Result<TcpStream> {
        let ip = if v6 { "::1".parse()? } else { "127.0.0.1".parse()? };
        self.place.connect(SocketAddr::new(ip, PORT))
    }

    /// How many answers come within the time.
    fn answers(&self, stream: &mut TcpStream, wanted: usize, limit: Duration) -> Result<usize> {
        let end = Instant::now() + limit;
        let mut text = Vec::new();
        loop {
            let found =
                text.windows(5).filter(|w| w == b"\r\nok\0" || w.ends_with(b"\r\nok")).count();
            let left = end.saturating_duration_since(Instant::now());
            if found >= wanted || left.is_zero() {
                return Ok(found);
            }
            stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            let mut chunk = [0; 4096];
            match stream.read(&mut chunk) {
                Ok(0) => return Ok(found),
                Ok(n) => text.extend_from_slice(&chunk[..n]),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => return Ok(found),
                Err(e) => return Err(e.into()),
            }
        }
    }
}

/// A guard with somebody who beats and judges: a head with [`BAD`]'s signature, or with a payload
/// that is not [`GOOD`]'s under its signature, is bad.
struct Judge {
    guard: Arc<Mutex<Guard>>,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

fn is_good(head: &HeldHead<'_>) -> bool {
    let text = String::from_utf8_lossy(head.head);
    let tokens: Vec<&str> = text
        .split([' ', '\r', ';', ',', '='])
        .filter(|w| w.matches('.').count() == 2 && w.len() > 40)
        .collect();
    tokens.iter().all(|token| *token == GOOD)
}

impl Judge {
    fn start(config: &Config) -> Result<Self> {
        let guard = Arc::new(Mutex::new(Guard::start(config)?));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (guard, stop) = (Arc::clone(&guard), Arc::clone(&stop));
            move || {
                while !stop.load(Ordering::Relaxed) {
                    let mut guard = guard.lock().unwrap();
                    guard.beat().unwrap();
                    let mut verdicts = HashMap::new();
                    guard.held(|head| {
                        verdicts.insert(
                            head.verdict,
                            (is_good(head), head.covered, head.allow, head.service),
                        );
                    });
                    let until = now() + Duration::from_secs(60);
                    for (key, (good, covered, allow, service)) in verdicts {
                        guard.decide(key, good, until).unwrap();
                        if good && covered {
                            guard.tables().allow_token(allow, service, until).unwrap();
                        }
                    }
                    drop(guard);
                    thread::sleep(Duration::from_millis(2));
                }
            }
        });
        Ok(Self { guard, stop, thread: Some(thread) })
    }

    fn count(&self, counter: Counter) -> u64 {
        let counters = self.guard.lock().unwrap().counters().unwrap();
        counters.iter().find(|(c, _)| *c == counter).unwrap().1
    }

    fn shown(&self) -> String {
        let counters = self.guard.lock().unwrap().counters().unwrap();
        let text = |(c, n): &(Counter, u64)| (*n > 0).then(|| format!("{} {n}", c.name()));
        counters.iter().filter_map(text).collect::<Vec<_>>().join(", ")
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        self.end();
    }
}

fn request(line: &str) -> String {
    format!("GET /a HTTP/1.1\r\nHost: localhost\r\n{line}\r\n\r\n")
}

/// The same token in other clothes.
fn variants() -> Vec<String> {
    let last = |c| format!("{}{c}", &BAD[..BAD.len() - 1]);
    vec![
        format!("Authorization: Bearer {BAD}"),
        format!("aUTHORIZATION: bEARER {BAD}"),
        format!("Authorization:\t  Bearer \t {BAD}"),
        format!("Authorization: Bearer {}", last('d')),
        format!("Authorization: Bearer {}", last('f')),
        format!("Authorization: Bearer {BAD}="),
        format!("Authorization: Bearer {}", BAD.replace("V_ad", "V/ad")),
        format!("Authorization: JWT {BAD}"),
        format!("Cookie: a=b; session={BAD}; c=d"),
        format!("X-Token: {BAD}"),
    ]
}

#[test]
fn a_denied_token_does_not_reach_the_service_however_it_is_sent() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    stay_on_one_cpu()?;
    let stand = Stand::new()?;
    let judge = Judge::start(&stand.config(Mode::Kill))?;
    let deny = Deny { until: None, cause: DenyCause::Operator };
    let key = TokenKey(deny_key(SECRET, BAD.as_bytes()));
    judge.guard.lock().unwrap().tables().deny_token(key, deny)?;
    let good = request(&format!("Authorization: Bearer {GOOD}"));
    let mut streams = Vec::new();
    for (n, line) in variants().iter().enumerate() {
        let mut stream = stand.connect(n % 2 == 1)?;
        stream.write_all(good.as_bytes())?;
        ensure!(stand.answers(&mut stream, 1, Duration::from_secs(2))? == 1, "{}", judge.shown());
        stream.write_all(request(line).as_bytes())?;
        streams.push(stream);
        // Behind a good one in one segment: neither is read.
        let mut stream = stand.connect(n % 2 == 1)?;
        stream.write_all(format!("{good}{}", request(line)).as_bytes())?;
        streams.push(stream);
    }
    // Split at every byte, on connections of their own.
    let bad = request(&variants()[0]);
    for at in 1..bad.len() {
        let mut stream = stand.connect(at % 2 == 1)?;
        stream.write_all(&bad.as_bytes()[..at])?;
        stream.write_all(&bad.as_bytes()[at..])?;
        streams.push(stream);
    }
    // And byte for byte.
    let mut stream = stand.connect(false)?;
    for byte in bad.as_bytes() {
        stream.write_all(&[*byte])?;
    }
    streams.push(stream);
    thread::sleep(Duration::from_millis(1500));
    let seen = stand.seen();
    ensure!(seen.iter().all(|head| head.contains(GOOD)), "{seen:#?}");
    ensure!(seen.len() == variants().len(), "{} heads; {}", seen.len(), judge.shown());
    ensure!(judge.count(Counter::DeniedToken) as usize > streams.len(), "{}", judge.shown());
    drop(streams);
    // The same bytes with the good token reach it, split at every byte.
    for at in 1..good.len() {
        let mut stream = stand.connect(at % 2 == 1)?;
        stream.write_all(&good.as_bytes()[..at])?;
        stream.write_all(&good.as_bytes()[at..])?;
        let answers = stand.answers(&mut stream, 1, Duration::from_secs(5))?;
        ensure!(answers == 1, "split at {at}: {}", judge.shown());
    }
    println!("kill: {}", judge.shown());
    Ok(())
}
