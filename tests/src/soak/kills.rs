//! SIGKILL at any moment, under load, with state on disk.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use jotwatch::enforce::guard;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::books::Books;
use crate::{
    binary::jotwatch,
    load::Load,
    net::Place,
    sensor::{self, DEADLINE},
    services::{http::get, nginx},
    stand::{PORT, addr, forged, good, wait},
    tokens,
};

/// Connections of the load, and the pause between the requests of each.
const CONNECTIONS: usize = 4;
const PACE: Duration = Duration::from_millis(5);

/// Of so many requests one is forged, where the mode is to tell of them only.
const FORGED: u64 = 25;

/// Of so many rounds one lives until what was denied is on disk for certain, which takes a second.
const LONG: u32 = 10;
const LONG_FOR: Duration = Duration::from_millis(2_500);

/// Lines of its log that are none of the start and of what is expected of a killed daemon's
/// successor.
const COMPLAINTS: [&str; 3] = [" WARN ", " ERROR ", "panicked"];

/// What came of it.
#[derive(Debug)]
pub struct Report {
    /// Daemons that were killed.
    pub kills: u32,
    /// Of them, while they started.
    pub starting: u32,
    /// Of them, with the guard's programs in place.
    pub guarded: u32,
    /// Requests that the service answered meanwhile, all of those that were sent.
    pub answered: u64,
    /// Events in the journal, and of them those that its reader had twice.
    pub events: u64,
    /// Of `events`, those that were delivered more than once.
    pub repeated: u64,
    /// Denied addresses that were acknowledged, and had a second or more to reach the disk.
    pub denied: u64,
    /// What daemons complained of, how often.
    pub complaints: BTreeMap<String, u64>,
    /// How long it took.
    pub took: Duration,
}

impl Report {
    /// As a JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "kills": self.kills, "while_starting": self.starting, "guarded": self.guarded,
            "requests_answered": self.answered, "events": self.events,
            "delivered_twice": self.repeated, "denied_kept": self.denied,
            "complaints": self.complaints, "seconds": self.took.as_secs(),
        })
    }
}

/// The daemon on folders that outlive it.
struct Daemon<'p> {
    place: &'p Place,
    dir: PathBuf,
    round: u32,
}

impl Daemon<'_> {
    fn start(&mut self, mode: &str) -> Result<Child> {
        self.round += 1;
        // Standard output gets nothing of what was not told before a daemon ended; a file does.
        let extra = format!(
            "stdout = false\n[[sinks.file]]\npath = {:?}\n[enforcement]\nmode = \"{mode}\"\n",
            self.told()
        );
        let config = sensor::configuration(&self.dir, &extra)?;
        let mut command = sensor::run(&config, self.place.cgroup(), &[PORT]);
        command.stdout(Stdio::null()).stderr(File::create(self.log())?);
        Ok(command.spawn()?)
    }

    /// What it told, over all rounds.
    fn told(&self) -> PathBuf {
        self.dir.join("told")
    }

    /// What it wrote to standard error in this round.
    fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    fn log_text(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// Until it answers.
    fn ready(&self, child: &mut Child) -> Result<()> {
        let end = Instant::now() + DEADLINE;
        while self.ask(&["status"]).is_err() {
            if let Some(status) = child.try_wait()? {
                bail!("it ended with {status}: {}", self.log_text());
            }
            ensure!(Instant::now() < end, "it is not ready: {}", self.log_text());
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn ask(&self, words: &[&str]) -> Result<Value> {
        let mut command = Command::new(jotwatch());
        command.args(words).arg("--json").arg("--config").arg(self.dir.join("config.toml"));
        let output = command.stdin(Stdio::null()).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

/// Kills the daemon so often, each time at another moment that `seed` decides on. `tell` is told of
/// every hundredth.
///
/// # Errors
/// The service did not answer a request, a program stayed where it should not, or the daemon that
/// comes behind the last kill finds its state or journal other than it should be.
pub fn kills(rounds: u32, seed: u64, tell: impl Fn(u32)) -> Result<Report> {
    let net = Place::new()?;
    let dir = tempfile::tempdir()?;
    let began = Instant::now();
    net.services(|place| {
        let _service = nginx::start(place, addr())?;
        let guarded = Arc::new(AtomicBool::new(false));
        let cut = Arc::clone(&guarded);
        // A token for every request, and one for many: both change what is remembered.
        let load = Load::start(place, addr(), CONNECTIONS, PACE, move |number| {
            let claims = json!({"sub": format!("subject-{}", number % 50), "n": number});
            match number {
                n if n % FORGED == 0 && !cut.load(Ordering::Relaxed) => {
                    get("/", &forged(n as usize))
                }
                n if n % 2 == 0 => get("/", &good()),
                _ => get("/", &tokens::hs256(&claims, b"a secret of nobody")),
            }
        })?;
        let mut daemon = Daemon { place: &net, dir: dir.path().to_owned(), round: 0 };
        let mut random = Random(seed | 1);
        let mut report = Report {
            kills: rounds,
            starting: 0,
            guarded: 0,
            answered: 0,
            events: 0,
            repeated: 0,
            denied: 0,
            complaints: BTreeMap::new(),
            took: Duration::ZERO,
        };
        // How long it takes to start here and now.
        let mut start = Duration::from_millis(500);
        for round in 0..rounds {
            // Of each kind of round every second one guards the service.
            let guards = round % 4 >= 2;
            guarded.store(guards, Ordering::Relaxed);
            if guards {
                // What is on its way may be forged still.
                thread::sleep(PACE * 4);
            }
            let spawned = Instant::now();
            let mut child = daemon.start(if guards { "gate" } else { "alert" })?;
            report.guarded += u32::from(guards);
            if round % 2 == 0 {
                thread::sleep(start.mul_f64(random.part() * 1.2));
                report.starting += 1;
                ensure!(child.try_wait()?.is_none(), "it ended: {}", daemon.log_text());
            } else {
                daemon.ready(&mut child)?;
                start = spawned.elapsed();
                let [a, b] = [round >> 8, round & 255];
                daemon.ask(&["deny", "add", &format!("198.18.{a}.{b}"), "--reason", "soak"])?;
                if round % LONG == 9 {
                    report.denied += 1;
                    thread::sleep(LONG_FOR);
                }
                thread::sleep(Duration::from_millis(200).mul_f64(random.part()));
            }
            child.kill()?;
            child.wait()?;
            wait("the programs to go", || Ok(attached(&net)? == 0))?;
            ensure!(links(&net)?.is_empty(), "pinned: {:?}", links(&net)?);
            report.complain(&daemon.log_text());
            ensure!(!load.has_failed(), "round {round}: {:?}", load.end());
            if (round + 1) % 100 == 0 {
                tell(round + 1);
            }
        }
        guarded.store(false, Ordering::Relaxed);
        last(&mut daemon, &mut report)?;
        report.answered = load.end()?;
        report.took = began.elapsed();
        Ok(report)
    })
}

/// Starts it once more, and looks at what it finds.
fn last(daemon: &mut Daemon<'_>, report: &mut Report) -> Result<()> {
    let mut child = daemon.start("alert")?;
    daemon.ready(&mut child)?;
    let list = daemon.ask(&["deny", "list"])?;
    let entries = list["entries"].as_array().context("no list")?;
    let has = |address: &str| {
        entries.iter().any(|entry| entry["entry"].to_string().contains(&format!("\"{address}")))
    };
    for round in (0..report.kills).filter(|round| round % LONG == 9) {
        let address = format!("198.18.{}.{}", round >> 8, round & 255);
        ensure!(has(&address), "{address} was denied for a second, and is not: {list}");
    }
    kill_process(Pid::from_child(&child), Signal::TERM)?;
    let end = Instant::now() + DEADLINE;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        ensure!(Instant::now() < end, "it does not stop: {}", daemon.log_text());
        thread::sleep(Duration::from_millis(5));
    };
    ensure!(status.success(), "it ended with {status}: {}", daemon.log_text());
    report.complain(&daemon.log_text());
    let books = Books::read(&daemon.dir.join("state/events"), &daemon.told())?;
    (report.events, report.repeated) = (books.events, books.repeated);
    ensure!(books.torn <= report.kills, "{} torn lines", books.torn);
    left_behind(&daemon.dir.join("state"))?;
    Ok(())
}

/// Half-written files that would gather with every kill.
fn left_behind(state: &Path) -> Result<()> {
    let mut fresh = Vec::new();
    for entry in fs::read_dir(state)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.contains("new") {
            fresh.push(name);
        }
    }
    // One of each kind at most: the next write of its kind takes its place.
    ensure!(fresh.len() <= 8, "half-written files gather: {fresh:?}");
    Ok(())
}

impl Report {
    fn complain(&mut self, log: &str) {
        for line in log.lines().filter(|line| COMPLAINTS.iter().any(|word| line.contains(word))) {
            // Without the time, and without numbers: one line a kind.
            let kind: String = line.chars().skip(27).filter(|c| !c.is_ascii_digit()).collect();
            *self.complaints.entry(kind.trim().to_owned()).or_default() += 1;
        }
    }
}

/// How many programs are attached to the place's cgroup.
///
/// # Errors
/// bpftool is not there, or fails.
pub fn attached(place: &Place) -> Result<usize> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let output = Command::new("bpftool")
        .env("PATH", path)
        .args(["--json", "cgroup", "show"])
        .arg(place.cgroup())
        .output()
        .context("bpftool")?;
    ensure!(output.status.success(), "bpftool: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    // Nothing attached gives no output at all, or an empty list.
    let programs = if text.trim().is_empty() { json!([]) } else { serde_json::from_str(&text)? };
    Ok(programs.as_array().map_or(0, Vec::len))
}

/// Links of the place's guard that are pinned: programs that outlive their daemon.
fn links(place: &Place) -> Result<Vec<String>> {
    let pins = guard::pin_folder(Some(place.cgroup()))?;
    let Ok(entries) = fs::read_dir(pins) else { return Ok(Vec::new()) };
    let mut links = Vec::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if guard::PROGRAMS.contains(&&*name) {
            links.push(name);
        }
    }
    Ok(links)
}

/// Marsaglia's xorshift64: moments that a seed gives again.
struct Random(u64);

impl Random {
    /// From 0 to 1.
    fn part(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}
