//! The sensor under measurement, as a process: what it says of itself, and what the kernel
//! says of it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::{
    stand::{Stand, WATCHED},
    token::KEY,
};
use crate::ground::{Cgroup, Running};

/// How long it may take to watch.
const READY_LIMIT: Duration = Duration::from_secs(15);
/// How long it may take to judge what has been sent.
const SETTLE_LIMIT: Duration = Duration::from_secs(10);
/// How long it may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// A running `jotwatch run`; killed when dropped.
pub(super) struct Sensor {
    process: Running,
    program: PathBuf,
    dir: TempDir,
}

/// How a sensor is started.
pub(super) struct Options<'o> {
    /// Tables of the configuration.
    pub(super) config: &'o str,
    pub(super) ports: &'o [u16],
}

/// Requests in = seen + lost by cause, as the sensor says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Balance {
    pub(super) seen: u64,
    pub(super) pending: u64,
    /// Those that are not 0.
    pub(super) lost: BTreeMap<String, u64>,
}

/// What the kernel has measured of one program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Runs {
    pub(super) count: u64,
    pub(super) nanoseconds: u64,
}

impl Runs {
    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            count: self.count.saturating_sub(earlier.count),
            nanoseconds: self.nanoseconds.saturating_sub(earlier.nanoseconds),
        }
    }
}

impl Sensor {
    /// Starts it on the stand's cgroup and watched port, and waits until it watches.
    ///
    /// # Errors
    /// That it does not, with the end of what it says.
    pub(super) fn start(program: &Path, stand: &Stand) -> Result<Self> {
        let ports = [WATCHED.port()];
        Self::start_with(program, stand, &Options { config: "", ports: &ports })
    }

    /// As [`Sensor::start`], with more configuration and other ports. It has the key that the
    /// benchmarks' [tokens](super::token) are signed with.
    pub(super) fn start_with(program: &Path, stand: &Stand, options: &Options<'_>) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("jotwatch-bench-").tempdir()?;
        let config = dir.path().join("config.toml");
        let [runtime, state, key] = ["run", "state", "key"].map(|name| dir.path().join(name));
        File::options().write(true).create_new(true).mode(0o600).open(&key)?.write_all(KEY)?;
        // The system's log is not for benchmarks.
        let syslog = if options.config.contains("[[sinks.syslog]]") { "" } else { "syslog = []" };
        fs::write(
            &config,
            format!(
                "[sinks]\n{syslog}\n\n[daemon]\nruntime_dir = {runtime:?}\nstate_dir = {state:?}\n{}\n\
                 [[issuer]]\nissuer = \"https://bench.test\"\nsecret_files = [{key:?}]\n\
                 algorithms = [\"HS256\"]\n",
                options.config
            ),
        )?;
        let mut command = Command::new(program);
        command.arg("run").arg("--config").arg(&config);
        for port in options.ports {
            command.args(["--port", &port.to_string()]);
        }
        command.arg("--cgroup").arg(stand.cgroup().path()).stdin(Stdio::null());
        command.stdout(File::create(dir.path().join("events"))?);
        command.stderr(File::create(dir.path().join("log"))?);
        let process = Running(command.spawn().context("cannot start the sensor")?);
        let mut sensor = Self { process, program: program.to_owned(), dir };
        let deadline = Instant::now() + READY_LIMIT;
        while let Err(error) = sensor.status() {
            if let Some(status) = sensor.process.0.try_wait()? {
                bail!("the sensor ended with {status}: {}", sensor.log());
            }
            ensure!(
                Instant::now() < deadline,
                "the sensor is not ready ({error:#}): {}",
                sensor.log()
            );
            thread::sleep(Duration::from_millis(20));
        }
        Ok(sensor)
    }

    /// Sends it a signal.
    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.process.0), signal)?)
    }

    /// Kills it, and waits until it is gone.
    pub(super) fn kill(mut self) -> Result<()> {
        self.process.0.kill()?;
        self.process.0.wait()?;
        Ok(())
    }

    /// Runs `jotwatch COMMAND` for it, with `input`, and gives its JSON.
    pub(super) fn tell(&self, command: &[&str], input: &str) -> Result<Value> {
        let mut child = Command::new(&self.program)
            .args(command)
            .args(["--json", "--config"])
            .arg(self.dir.path().join("config.toml"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        child.stdin.take().context("no input")?.write_all(input.as_bytes())?;
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "jotwatch {command:?} ended with {}", output.status);
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Its answer to `jotwatch status --json`.
    pub(super) fn status(&self) -> Result<Value> {
        let mut command = Command::new(&self.program);
        command.args(["status", "--json", "--config"]).arg(self.dir.path().join("config.toml"));
        let output = command.output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// The balance once nothing is under way, or has not moved for long.
    pub(super) fn settled(&self) -> Result<Balance> {
        let deadline = Instant::now() + SETTLE_LIMIT;
        let mut last = None;
        loop {
            let balance = Balance::of(&self.status()?)?;
            let still = last.as_ref() == Some(&balance);
            if still && (balance.pending == 0 || Instant::now() > deadline) {
                return Ok(balance);
            }
            last = Some(balance);
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// Its process id.
    pub(super) fn id(&self) -> u32 {
        self.process.0.id()
    }

    /// The processor time that its threads have had.
    pub(super) fn cpu(&self) -> Result<Duration> {
        let mut nanoseconds = 0;
        for task in fs::read_dir(self.proc("task"))? {
            let schedstat = fs::read_to_string(task?.path().join("schedstat"))?;
            let first = schedstat.split(' ').next().unwrap_or_default();
            nanoseconds += first.parse::<u64>().context("not a schedstat")?;
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// Bytes that it has resident now, and the most it has had.
    pub(super) fn resident(&self) -> Result<(u64, u64)> {
        let status = fs::read_to_string(self.proc("status"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|value| value.trim().strip_suffix(" kB")?.parse::<u64>().ok());
            kib.map(|kib| kib << 10).with_context(|| format!("no {name} in /proc/PID/status"))
        };
        Ok((field("VmRSS:")?, field("VmHWM:")?))
    }

    /// Its memory with pages that are mapped several times shared out among their mappings
    /// (`Pss`), in bytes.
    pub(super) fn proportional(&self) -> Result<u64> {
        let rollup = fs::read_to_string(self.proc("smaps_rollup"))?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
        let kib: u64 = line.context("no Pss")?.trim().trim_end_matches(" kB").parse()?;
        Ok(kib << 10)
    }

    /// Its kernel programs by where they are attached.
    pub(super) fn programs(&self) -> Result<BTreeMap<String, Runs>> {
        let files = self.descriptors()?;
        let mut programs = BTreeMap::new();
        let mut measured: Vec<_> = files.iter().filter(|f| f.contains_key("run_cnt")).collect();
        // In the order in which they were loaded: the guard's come behind those of capture.
        measured.sort_by_key(|file| file.get("prog_id").and_then(|id| id.parse::<u64>().ok()));
        for file in measured {
            let number = |key: &str| file.get(key).and_then(|value| value.parse().ok());
            let runs = Runs {
                count: number("run_cnt").context("no run_cnt")?,
                nanoseconds: number("run_time_ns").context("no run_time_ns")?,
            };
            let id = file.get("prog_id").context("no prog_id")?;
            let is_link = |link: &&BTreeMap<_, _>| {
                link.contains_key("link_type") && link.get("prog_id") == Some(id)
            };
            let name = files.iter().find(is_link).map_or_else(|| format!("program {id}"), place);
            let name = if programs.contains_key(&name) { format!("guard {name}") } else { name };
            programs.insert(name, runs);
        }
        ensure!(!programs.is_empty(), "the sensor holds no kernel program");
        Ok(programs)
    }

    /// Bytes of the kernel's memory that its maps take.
    pub(super) fn maps(&self) -> Result<u64> {
        let files = self.descriptors()?;
        let maps: BTreeMap<&str, u64> = files
            .iter()
            .filter_map(|file| Some((&**file.get("map_id")?, file.get("memlock")?.parse().ok()?)))
            .collect();
        Ok(maps.values().sum())
    }

    /// Asks it to end.
    ///
    /// # Errors
    /// If it does not end, or ends badly.
    pub(super) fn stop(mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.process.0), Signal::TERM)?;
        let deadline = Instant::now() + STOP_LIMIT;
        loop {
            match self.process.0.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("the sensor ended with {status}: {}", self.log()),
                None => ensure!(Instant::now() < deadline, "the sensor does not end"),
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// What /proc/PID/fdinfo says of each open file, key by key.
    fn descriptors(&self) -> Result<Vec<BTreeMap<String, String>>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(self.proc("fdinfo"))? {
            // A file can be closed in between.
            let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
            let pairs = text.lines().filter_map(|line| line.split_once(':'));
            files.push(pairs.map(|(key, value)| (key.into(), value.trim().into())).collect());
        }
        Ok(files)
    }

    fn proc(&self, file: &str) -> PathBuf {
        Path::new("/proc").join(self.id().to_string()).join(file)
    }

    /// What it wrote to standard error.
    pub(super) fn whole_log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn log(&self) -> String {
        let log = self.whole_log();
        let last: Vec<&str> = log.lines().rev().take(3).collect();
        last.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }
}

impl Balance {
    pub(super) fn of(status: &Value) -> Result<Self> {
        let lost = status.pointer("/balance/lost").and_then(Value::as_object);
        let lost = lost.context("no balance in the sensor's status")?.iter();
        Ok(Self {
            seen: count(status, "/balance/seen")?,
            pending: count(status, "/balance/pending")?,
            lost: lost
                .filter_map(|(cause, count)| Some((cause.clone(), count.as_u64()?)))
                .filter(|(_, count)| *count > 0)
                .collect(),
        })
    }

    /// What was lost in words: a number, and the causes.
    pub(super) fn lost_in_words(&self) -> String {
        let total: u64 = self.lost.values().sum();
        let causes = self.lost.iter().map(|(cause, count)| format!("{cause} {count}"));
        match causes.collect::<Vec<_>>().join(", ") {
            causes if causes.is_empty() => total.to_string(),
            causes => format!("{total} ({causes})"),
        }
    }
}

/// Takes away what a sensor that guarded has left behind on purpose.
///
/// # Errors
/// If that fails.
pub(super) fn detach(program: &Path, cgroup: &Cgroup) -> Result<()> {
    let output = Command::new(program).arg("detach").arg("--cgroup").arg(cgroup.path()).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// What the programs whose place starts so have run since `before`.
pub(super) fn ran(
    before: &BTreeMap<String, Runs>,
    after: &BTreeMap<String, Runs>,
    place: &str,
) -> Runs {
    let of = after.iter().filter(|(name, _)| name.starts_with(place));
    of.fold(Runs::default(), |sum, (name, runs)| {
        let runs = runs.since(before.get(name).copied().unwrap_or_default());
        Runs { count: sum.count + runs.count, nanoseconds: sum.nanoseconds + runs.nanoseconds }
    })
}

/// A counter in the sensor's status, by JSON pointer.
pub(super) fn count(status: &Value, pointer: &str) -> Result<u64> {
    let value = status.pointer(pointer).and_then(Value::as_u64);
    value.with_context(|| format!("no {pointer} in the sensor's status"))
}

/// Where a link holds its program.
fn place(link: &BTreeMap<String, String>) -> String {
    let field = |key: &str| link.get(key).map_or("", String::as_str);
    match (field("link_type"), field("attach_type")) {
        ("cgroup", "0") => "cgroup_skb ingress".to_owned(),
        ("cgroup", "1") => "cgroup_skb egress".to_owned(),
        (kind, _) => format!("{kind} {}", field("tp_name")).trim_end().to_owned(),
    }
}
