//! The sensor as a user runs it: the `jotwatch` program, started on a [`Place`], with its events
//! gathered from its standard output.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, ErrorKind, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::{binary::jotwatch, net::Place};

/// How long anything may take that is waited for; only a failure takes so long.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A running sensor; killed when dropped.
#[derive(Debug)]
pub struct Sensor {
    child: Child,
    dir: TempDir,
    config: PathBuf,
    lines: Arc<Lines>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Lines {
    gathered: Mutex<Gathered>,
    grown: Condvar,
}

#[derive(Debug, Default)]
struct Gathered {
    lines: Vec<String>,
    ended: bool,
}

/// A folder with a configuration in it: private folders for the daemon, no syslog unless `extra`
/// names one, no alerts joined unless `join_seconds` says so, and `extra`, which begins with keys of
/// `[sinks]`.
pub fn configuration(dir: &Path, extra: &str) -> Result<PathBuf> {
    let path = dir.join("config.toml");
    let shown = dir.display();
    // Tests count every event; what joins them has tests of its own.
    let (events, extra) = match extra.contains("[events]\n") {
        true => ("", extra.replacen("[events]\n", "[events]\njoin_seconds = 0\n", 1)),
        false => ("[events]\njoin_seconds = 0\n", extra.to_owned()),
    };
    let syslog = if extra.contains("[[sinks.syslog]]") { "" } else { "syslog = []\n" };
    fs::write(
        &path,
        format!(
            "[daemon]\nruntime_dir = \"{shown}/run\"\nstate_dir = \"{shown}/state\"\n{events}\
             [sinks]\n{syslog}{extra}\n"
        ),
    )?;
    Ok(path)
}

/// `jotwatch run` with this configuration, not started.
#[must_use]
pub fn run(config: &Path, cgroup: &Path, ports: &[u16]) -> Command {
    let mut command = Command::new(jotwatch());
    command.arg("run").arg("--config").arg(config).arg("--cgroup").arg(cgroup);
    for port in ports {
        command.arg("--port").arg(port.to_string());
    }
    command.stdin(Stdio::null());
    command
}

impl Sensor {
    /// Starts the sensor on the place's cgroup and waits until it says that it watches.
    ///
    /// # Errors
    /// It ends instead; the error says what it said.
    pub fn start(place: &Place, ports: &[u16], extra: &str) -> Result<Self> {
        Self::start_in(tempfile::tempdir()?, place, ports, extra)
    }

    /// As [`Sensor::start`], with the files of `state` in its state folder.
    ///
    /// # Errors
    /// As [`Sensor::start`].
    pub fn start_with_state(
        place: &Place,
        ports: &[u16],
        extra: &str,
        state: &Path,
    ) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let own = dir.path().join("state");
        fs::create_dir(&own)?;
        for file in fs::read_dir(state)? {
            let file = file?;
            fs::copy(file.path(), own.join(file.file_name()))?;
        }
        Self::start_in(dir, place, ports, extra)
    }

    /// As [`Sensor::start`], with this configuration as it is.
    ///
    /// # Errors
    /// As [`Sensor::start`].
    pub fn start_as(place: &Place, ports: &[u16], text: &str) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let config = dir.path().join("config.toml");
        for path in [&config, &dir.path().join("status.toml")] {
            fs::write(path, text)?;
        }
        Self::launch(place, ports, dir, config)
    }

    fn start_in(dir: TempDir, place: &Place, ports: &[u16], extra: &str) -> Result<Self> {
        let config = configuration(dir.path(), extra)?;
        // A test may break the other one while the sensor runs.
        fs::copy(&config, dir.path().join("status.toml"))?;
        Self::launch(place, ports, dir, config)
    }

    /// Stops it and starts it again on the same folders.
    ///
    /// # Errors
    /// It does not stop, or does not start.
    pub fn restart(mut self, place: &Place, ports: &[u16]) -> Result<Self> {
        self.end()?;
        let (dir, config) =
            (std::mem::replace(&mut self.dir, tempfile::tempdir()?), self.config.clone());
        Self::launch(place, ports, dir, config)
    }

    /// Starts one that was killed again on the same folders.
    ///
    /// # Errors
    /// It does not start.
    pub fn restart_killed(mut self, place: &Place, ports: &[u16]) -> Result<Self> {
        let config = self.config.clone();
        Self::launch(place, ports, std::mem::replace(&mut self.dir, tempfile::tempdir()?), config)
    }

    fn launch(place: &Place, ports: &[u16], dir: TempDir, config: PathBuf) -> Result<Self> {
        let log = File::create(dir.path().join("log"))?;
        let mut command = run(&config, place.cgroup(), ports);
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn()?;
        let output = child.stdout.take().context("no output")?;
        let lines = Arc::new(Lines::default());
        let reader = thread::spawn({
            let lines = Arc::clone(&lines);
            move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    lines.lock().lines.push(line);
                    lines.grown.notify_all();
                }
                lines.lock().ended = true;
                lines.grown.notify_all();
            }
        });
        let sensor = Self { child, dir, config, lines, reader: Some(reader) };
        sensor.wait_for("the start", |event| event["state"] == "started")?;
        Ok(sensor)
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its configuration file.
    #[must_use]
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// What it wrote to standard error.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// The lines of its standard output so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().lines.clone()
    }

    /// The events so far that are not of the sensor itself.
    pub fn events(&self) -> Result<Vec<Value>> {
        let mut events = parsed(&self.lines())?;
        events.retain(|event| event["kind"] != "sensor");
        Ok(events)
    }

    /// Waits for an event; gives the first that `wanted` takes, also of those that came before.
    ///
    /// # Errors
    /// None comes.
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let end = Instant::now() + DEADLINE;
        let mut looked_at = 0;
        let mut gathered = self.lines.lock();
        loop {
            for line in gathered.lines.iter().skip(looked_at) {
                let event = serde_json::from_str(line).with_context(|| line.clone())?;
                if wanted(&event) {
                    return Ok(event);
                }
            }
            looked_at = gathered.lines.len();
            let left = end.saturating_duration_since(Instant::now());
            if gathered.ended || left.is_zero() {
                let lines = gathered.lines.join("\n");
                bail!("no event: {what}; the log: {}; the events: {lines}", self.log());
            }
            gathered = self
                .lines
                .grown
                .wait_timeout(gathered, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// What `jotwatch status --json` says.
    ///
    /// # Errors
    /// It fails, or does not print JSON.
    pub fn status(&self) -> Result<Value> {
        let output = Command::new(jotwatch())
            .args(["status", "--json", "--config"])
            .arg(self.dir.path().join("status.toml"))
            .stdin(Stdio::null())
            .output()?;
        ensure!(output.status.success(), "status: {}", String::from_utf8_lossy(&output.stderr));
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Asks for the status until `done` takes it.
    ///
    /// # Errors
    /// It never does; the error shows the last one.
    pub fn wait_for_status(&self, what: &str, done: impl Fn(&Value) -> bool) -> Result<Value> {
        let end = Instant::now() + DEADLINE;
        loop {
            let status = self.status()?;
            if done(&status) {
                return Ok(status);
            }
            ensure!(Instant::now() < end, "{what}: {status:#}\nlog: {}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until `requests` requests are seen and all that they gave out has been written.
    ///
    /// # Errors
    /// They are not.
    pub fn settled(&self, requests: u64) -> Result<Value> {
        let what = format!("{requests} requests to be seen");
        let status = self.wait_for_status(&what, |status| {
            let at = |path| status.pointer(path).and_then(Value::as_u64).unwrap_or(u64::MAX);
            at("/balance/seen") == requests
                && at("/balance/pending") == 0
                && at("/pipeline/exchanges") == requests
        })?;
        // Events that wait for their service's name are counted but not yet with the sink.
        let events = status.pointer("/pipeline/events").and_then(Value::as_u64).unwrap_or(0);
        let end = Instant::now() + DEADLINE;
        while (self.events()?.len() as u64) < events {
            ensure!(Instant::now() < end, "{events} events were counted: {:?}", self.lines());
            thread::sleep(Duration::from_millis(5));
        }
        Ok(status)
    }

    /// Runs `jotwatch ARGUMENTS` against it with `input`.
    ///
    /// # Errors
    /// The system's.
    pub fn run(&self, arguments: &[&str], input: &str) -> Result<Output> {
        let mut child = Command::new(jotwatch())
            .args(arguments)
            .arg("--config")
            .arg(&self.config)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        match child.stdin.take().context("no input")?.write_all(input.as_bytes()) {
            // Who finds fault with its arguments is gone before it reads.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            written => written?,
        }
        Ok(child.wait_with_output()?)
    }

    /// The same with `--json`, which succeeds.
    ///
    /// # Errors
    /// It does not.
    pub fn ask(&self, arguments: &[&str], input: &str) -> Result<Value> {
        let output = self.run(&[arguments, &["--json"]].concat(), input)?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{arguments:?}: {error}");
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// The system's.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Kills it with SIGKILL, and waits until it is gone.
    ///
    /// # Errors
    /// The system's.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Stops it by SIGTERM; gives all that it wrote to standard output.
    ///
    /// # Errors
    /// It does not end, or not well.
    pub fn stop(mut self) -> Result<Vec<String>> {
        self.end()
    }

    fn end(&mut self) -> Result<Vec<String>> {
        self.signal(Signal::TERM)?;
        let end = Instant::now() + DEADLINE;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            ensure!(Instant::now() < end, "it does not stop; log: {}", self.log());
            thread::sleep(Duration::from_millis(2));
        };
        ensure!(status.success(), "it ended with {status}: {}", self.log());
        if let Some(reader) = self.reader.take() {
            reader.join().map_err(|_| anyhow::anyhow!("the reader panicked"))?;
        }
        let lines = self.lines();
        let last: Value = serde_json::from_str(lines.last().context("no event at all")?)?;
        ensure!(last["state"] == "stopped", "the last event is {last}");
        Ok(lines)
    }
}

impl Drop for Sensor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Lines {
    fn lock(&self) -> std::sync::MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The events of some lines.
///
/// # Errors
/// A line is not JSON.
pub fn parsed(lines: &[String]) -> Result<Vec<Value>> {
    lines.iter().map(|line| serde_json::from_str(line).with_context(|| line.clone())).collect()
}

/// Holds every line to docs/event.schema.json, and to carrying none of `secrets`: no whole one,
/// and no part of a token between its dots.
///
/// # Errors
/// A line does not.
pub fn check(lines: &[String], secrets: &[String]) -> Result<()> {
    let schema = serde_json::from_str(include_str!("../../docs/event.schema.json"))?;
    let schema = jsonschema::validator_for(&schema).map_err(|e| anyhow::anyhow!("{e}"))?;
    for line in lines {
        let event: Value = serde_json::from_str(line).with_context(|| line.clone())?;
        if let Err(error) = schema.validate(&event) {
            bail!("{error}: {line}");
        }
        for secret in secrets {
            // Short parts, such as `{}`, stand in many a text.
            for part in secret.split('.').filter(|part| part.len() >= 16) {
                ensure!(!line.contains(part), "{part} in {line}");
            }
        }
    }
    Ok(())
}

/// The ids of an event's findings, sorted.
#[must_use]
pub fn findings(event: &Value) -> Vec<String> {
    let findings = event["findings"].as_array().cloned().unwrap_or_default();
    let mut ids: Vec<String> =
        findings.iter().filter_map(|finding| finding["id"].as_str().map(str::to_owned)).collect();
    ids.sort();
    ids
}

/// What is to be found of a request with these findings that is answered `status`, sorted: a service
/// that answers 2xx to what is proven forged has been got round.
#[must_use]
pub fn with_answer(expected: &[&str], status: u16) -> Vec<String> {
    let mut all: Vec<String> = expected.iter().map(|&id| id.to_owned()).collect();
    let forged = ["alg-none", "signature-empty"].iter().any(|id| expected.contains(id));
    if forged && (200..300).contains(&status) {
        all.push("bypass-confirmed".to_owned());
    }
    all.sort();
    all
}

/// Runs a command that is to fail: its exit code, and its one line on standard error.
///
/// # Errors
/// It succeeds, does not end, or says more or less than one line.
pub fn refusal(command: &mut Command) -> Result<(i32, String)> {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let end = Instant::now() + DEADLINE;
    while child.try_wait()?.is_none() {
        if Instant::now() > end {
            child.kill()?;
            child.wait()?;
            bail!("{command:?} does not end");
        }
        thread::sleep(Duration::from_millis(2));
    }
    let Output { status, stderr, .. } = child.wait_with_output()?;
    let text = String::from_utf8(stderr)?;
    ensure!(!status.success(), "{command:?} succeeded");
    ensure!(text.ends_with('\n') && text.lines().count() == 1, "not one line: {text:?}");
    Ok((status.code().context("ended by a signal")?, text.trim_end().to_owned()))
}
