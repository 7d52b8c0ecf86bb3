//! `jotwatch top` in a real terminal of 80 by 24, and `jotwatch events`: what passes, what was told,
//! and a denial from there.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use jotwatch_tests::{
    binary::jotwatch,
    net::privileged,
    sensor::Sensor,
    stand::{Stand, answer, bearer, end, forged, good, wait},
};
use rustix::process::Signal;

/// A terminal of its own; ended when dropped.
struct Terminal {
    socket: PathBuf,
}

impl Terminal {
    /// Runs a command in it.
    fn start(dir: &Path, command: &[&str]) -> Result<Self> {
        let terminal = Self { socket: dir.join("tmux") };
        let size = ["new-session", "-d", "-s", "top", "-x", "80", "-y", "24"];
        terminal.tmux(&[&size, command].concat())?;
        Ok(terminal)
    }

    fn tmux(&self, arguments: &[&str]) -> Result<String> {
        let mut tmux = Command::new("tmux");
        // Nobody's configuration, and a terminal type that every machine knows.
        tmux.args(["-f", "/dev/null", "-S"]).arg(&self.socket).args(arguments);
        let output = tmux.env_remove("TMUX").env("TERM", "xterm").env("LC_ALL", "C.UTF-8").output();
        let output = output.context("tmux")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "tmux {arguments:?}: {said}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn screen(&self) -> Result<String> {
        self.tmux(&["capture-pane", "-p", "-t", "top"])
    }

    fn press(&self, keys: &[&str]) -> Result<()> {
        self.tmux(&[&["send-keys", "-t", "top"], keys].concat()).map(drop)
    }

    /// Waits until the screen shows this.
    fn wait_for(&self, shown: &str) -> Result<String> {
        wait(shown, || Ok(self.screen()?.contains(shown)))
            .with_context(|| self.screen().unwrap_or_default())?;
        self.screen()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.tmux(&["kill-server"]);
    }
}

fn send(stand: &Stand, token: &str) -> Result<()> {
    let mut stream = stand.connect(false)?;
    stream.write_all(bearer(token).as_bytes())?;
    answer(&mut stream).map(drop)
}

#[test]
fn what_passes_and_what_is_told_is_seen_and_denied() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let stand = Stand::new(env!("CARGO_BIN_EXE_recording-http"))?;
    let sensor = stand.sensor("alert")?;
    send(&stand, &forged(0))?;
    sensor.wait_for("an alert", |event| event["kind"] == "request")?;

    let dir = tempfile::tempdir()?;
    let program = jotwatch();
    let program = program.to_str().context("a path of text")?;
    let config = sensor.config().to_str().context("a path of text")?;
    let terminal = Terminal::start(dir.path(), &[program, "top", "--config", config])?;
    let screen = terminal.wait_for("from 127.")?;
    ensure!(screen.contains("critical") && screen.contains("1 alerts"), "{screen}");
    ensure!(screen.lines().all(|line| line.chars().count() <= 80), "{screen}");

    // Requests that nobody is told of are seen while somebody watches.
    terminal.press(&["2"])?;
    wait("a good request on the screen", || {
        send(&stand, &good())?;
        Ok(terminal.screen()?.contains("GET /"))
    })?;
    terminal.press(&["3"])?;
    terminal.wait_for("401/403")?;

    // An event is opened; its client is denied after a question.
    terminal.press(&["1"])?;
    terminal.wait_for("from 127.")?;
    terminal.press(&["Enter"])?;
    terminal.wait_for("because")?;
    terminal.press(&["d"])?;
    let question = terminal.wait_for("deny for an hour?")?;
    ensure!(question.contains("[t]"), "{question}");
    let denied = |sensor: &Sensor| sensor.ask(&["deny", "list"], "");
    ensure!(denied(&sensor)?["entries"] == serde_json::json!([]), "denied without an answer");
    terminal.press(&["t"])?;
    terminal.wait_for("denied until")?;
    let entries = denied(&sensor)?;
    ensure!(entries["entries"][0]["entry"]["kind"] == "token", "{entries}");
    ensure!(entries["entries"][0]["reason"] == "from jotwatch top", "{entries}");

    // A daemon that goes away is said, and the screen stays.
    let pid = sensor.pid();
    sensor.signal(Signal::TERM)?;
    terminal.wait_for("no daemon is running")?;
    ensure!(pid > 0 && terminal.screen()?.contains("jotwatch"), "the screen is gone");
    terminal.press(&["x", "q"])?;
    Ok(())
}

#[test]
fn what_was_told_is_found_again() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let stand = Stand::new(env!("CARGO_BIN_EXE_recording-http"))?;
    let sensor = stand.sensor("alert")?;
    for n in 0..5 {
        send(&stand, &forged(n))?;
    }
    wait("five alerts", || {
        Ok(sensor.events()?.iter().filter(|e| e["kind"] == "request").count() == 5)
    })?;
    let shown = |arguments: &[&str]| -> Result<String> {
        let output = sensor.run(&[&["events"], arguments].concat(), "")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "events {arguments:?}: {said}");
        Ok(String::from_utf8(output.stdout)?)
    };
    // The very lines that stdout had.
    let told = sensor.lines().join("\n");
    ensure!(shown(&["--json"])?.trim_end() == told, "other events are kept");
    let first = sensor.events()?.into_iter().find(|e| e["kind"] == "request").context("none")?;
    let finding = first["findings"][0]["id"].as_str().context("no finding")?;
    ensure!(shown(&["--finding", finding])?.lines().count() == 5);
    ensure!(shown(&["--finding", finding, "-n", "2"])?.lines().count() == 2);
    ensure!(shown(&["--since", "1h", "--severity", "high"])?.lines().count() == 5);
    ensure!(shown(&["--since", "2099-01-01T00:00:00Z"])?.is_empty());
    ensure!(shown(&["--service", "127.0.0.1:1"])?.is_empty());
    let id = first["id"].as_str().context("no id")?;
    let whole = shown(&["--id", id])?;
    ensure!(whole.contains(id) && whole.contains("because"), "{whole}");
    for (arguments, code, said) in [
        (["--finding", "alg-non"], 2, "no such finding"),
        (["--since", "yesterday"], 2, "yesterday"),
        (["--id", "00"], 1, "no event 00 is kept"),
    ] {
        let output = sensor.run(&[&["events"], &arguments[..]].concat(), "")?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(code) && stderr.contains(said), "{stderr}");
    }
    end(sensor)
}
