//! `jotwatch forget`: a subject goes from all that is kept, of a running daemon and of one that was
//! killed, and nobody else does.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use jotwatch_tests::{
    net::privileged,
    sensor::{self, Sensor},
    stand::{PORT, Stand, answer, bearer, wait},
    tokens,
};
use serde_json::{Value, json};

const GOES: &str = "mallory-4711";
const STAYS: &str = "ann-0815";

fn send(stand: &Stand, subject: &str, n: usize) -> Result<()> {
    let token = tokens::unsigned("none", &json!({"sub": subject, "n": n}));
    let mut stream = stand.connect(false)?;
    stream.write_all(bearer(&token).as_bytes())?;
    answer(&mut stream).map(drop)
}

/// The first event that a subject's request caused.
fn first(sensor: &Sensor, subject: &str) -> Result<String> {
    let is = |event: &Value| event["tokens"][0]["claims"]["sub"] == subject;
    let event = sensor.wait_for(subject, |event| event["kind"] == "request" && is(event))?;
    Ok(event["id"].as_str().context("no id")?.to_owned())
}

/// Files below a folder that hold a text.
fn holding(dir: &Path, text: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(holding(&path, text)?);
        } else if path.is_file() {
            let content = fs::read(&path)?;
            if content.windows(text.len()).any(|window| window == text.as_bytes()) {
                found.push(path);
            }
        }
    }
    Ok(found)
}

#[test]
fn a_subject_is_forgotten_everywhere_and_nobody_else_is() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let stand = Stand::new(env!("CARGO_BIN_EXE_recording-http"))?;
    let dir = tempfile::tempdir()?;
    let history = dir.path().join("history.jsonl");
    let extra = format!("[scoring.history]\nfile = {history:?}\n");
    let mut sensor = Sensor::start(&stand.place, &[PORT], &extra)?;
    let state = sensor.config().with_file_name("state");
    for n in 0..5 {
        send(&stand, GOES, n)?;
        send(&stand, STAYS, n)?;
    }
    wait("ten alerts", || Ok(sensor.events()?.len() == 10))?;
    for subject in [GOES, STAYS] {
        let event = first(&sensor, subject)?;
        sensor.ask(&["feedback", &event, "malicious", "--note", "as it was"], "")?;
        sensor.ask(&["deny", "add", "--subject", subject], "")?;
    }
    let rows = || -> Result<usize> { Ok(fs::read_to_string(&history)?.lines().count()) };
    wait("the history", || Ok(history.exists() && rows()? == 10))?;
    ensure!(!holding(&state, GOES)?.is_empty(), "nothing was kept");

    // Five requests, what was said of one, and the entry's audit event.
    let forgotten = sensor.ask(&["forget", "--subject", GOES], "")?;
    let counts = |answer: &Value| -> Vec<u64> {
        let of = |name: &str| answer[name].as_u64().unwrap_or(u64::MAX);
        ["events", "profiles", "tokens", "history", "labels", "listed"].map(of).to_vec()
    };
    ensure!(counts(&forgotten) == [7, 1, 5, 5, 1, 0], "{forgotten}");
    ensure!(forgotten["left"].to_string().contains("--lists"), "{forgotten}");
    let kept = holding(&state, GOES)?;
    ensure!(kept == [state.join("enforcement.state")], "{kept:?}");
    let forgotten = sensor.ask(&["forget", "--subject", GOES, "--lists"], "")?;
    ensure!(counts(&forgotten) == [0, 0, 0, 0, 0, 1], "{forgotten}");
    ensure!(holding(&state, GOES)?.is_empty(), "{:?}", holding(&state, GOES)?);
    ensure!(rows()? == 5, "lines of others went, or some stayed");

    // All of the other's is there, and what comes is told of as before.
    let told = String::from_utf8(sensor.run(&["events", "--json"], "")?.stdout)?;
    ensure!(!told.contains(GOES) && told.matches(STAYS).count() == 6, "{told}");
    let labels = sensor.ask(&["feedback", "list"], "")?;
    ensure!(labels["total"] == 1, "{labels}");
    let denied = sensor.ask(&["deny", "list"], "")?;
    ensure!(denied["entries"][0]["entry"]["subject"] == STAYS && denied["total"] == 1, "{denied}");
    send(&stand, STAYS, 5)?;
    wait("one more", || {
        let requests = sensor.events()?;
        Ok(requests.iter().filter(|event| event["kind"] == "request").count() == 11)
    })?;
    let audited = sensor.wait_for("an audit event", |event| event["change"] == "forget")?;
    ensure!(audited["count"] == 7 && !audited.to_string().contains(GOES), "{audited}");
    let lines = sensor.lines();
    sensor = sensor.restart(&stand.place, &[PORT])?;
    let status = sensor.status()?;
    ensure!(status["profiles"]["others"] == 1 && status["memory"]["tokens"] == 6, "{status}");
    sensor::check(&lines, &[])?;

    // In the files of a daemon that was killed.
    sensor.kill()?;
    let forgotten = sensor.ask(&["forget", "--subject", STAYS, "--lists"], "")?;
    ensure!(counts(&forgotten) == [8, 1, 6, 6, 1, 1], "{forgotten}");
    ensure!(holding(&state, STAYS)?.is_empty(), "{:?}", holding(&state, STAYS)?);
    let again = sensor.run(&["forget", "--subject", STAYS], "")?;
    let said = String::from_utf8(again.stdout)?;
    ensure!(said.contains("events         0") && said.contains("not reached:"), "{said}");
    sensor = sensor.restart_killed(&stand.place, &[PORT])?;
    let status = sensor.status()?;
    ensure!(status["profiles"]["others"] == 0 && status["memory"]["tokens"] == 0, "{status}");
    Ok(())
}
