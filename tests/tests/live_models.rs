//! The model's life on a host: what is scored is kept, people say what they think of it, and
//! another model takes over from the one in force.

use std::{fs, io::Write as _};

use anyhow::{Context as _, Result, ensure};
use jotwatch_models::behaviour::BehaviourModel;
use jotwatch_tests::{
    net::privileged,
    sensor::Sensor,
    stand::{PORT, Stand, answer, end, good, wait},
};
use rustix::process::Signal;
use serde_json::Value;

/// Sends what the payload model takes for an attack, with a token and this mark: the same in all
/// that counts, another user agent would be a finding of its own.
fn attack(stand: &Stand, mark: &str) -> Result<()> {
    let mut stream = stand.connect(false)?;
    let request = format!(
        "GET /items?id=1%27%20union%20select%20name,password%20from%20users--%20&mark={mark} \
         HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n",
        good()
    );
    stream.write_all(request.as_bytes())?;
    answer(&mut stream)?;
    Ok(())
}

/// The event about what was sent with this mark.
fn event(sensor: &Sensor, mark: &str) -> Result<Value> {
    let mark = format!("&mark={mark}");
    let ends = |path: &Value| path.as_str().is_some_and(|path| path.ends_with(&mark));
    sensor.wait_for(&mark, |event| ends(&event["request"]["path"]))
}

fn reason(event: &Value) -> &str {
    event["reasons"][0]["id"].as_str().unwrap_or_default()
}

#[test]
fn what_people_say_counts_for_the_like_at_once_and_over_a_restart() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let stand = Stand::new(env!("CARGO_BIN_EXE_recording-http"))?;
    let dir = tempfile::tempdir()?;
    let history = dir.path().join("history.jsonl");
    let extra = format!("[scoring.history]\nfile = {history:?}\n");
    let sensor = Sensor::start(&stand.place, &[PORT], &extra)?;
    attack(&stand, "first")?;
    let first = event(&sensor, "first")?;
    let (id, score) = (first["id"].as_str().context("no id")?, first["score"].as_u64());
    let score = score.context("no score")?;
    ensure!(score > 20 && reason(&first) != "feedback-benign", "{first}");
    let rows = || -> Result<Vec<Value>> {
        let text = fs::read_to_string(&history)?;
        text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    };
    wait("the history", || Ok(history.exists() && rows()?.len() == 1))?;
    ensure!(rows()?[0]["event"] == *id && rows()?[0]["told"] == true, "{:?}", rows()?);

    // Benign: the like of it raises no alert.
    let answer = sensor.ask(&["feedback", id, "benign", "--note", "a test of ours"], "")?;
    ensure!(answer["label"] == "benign" && answer["until"].is_string(), "{answer}");
    let audit = sensor.wait_for("the audit", |event| event["change"] == "feedback-add")?;
    ensure!(audit["event"] == *id && audit["label"] == "benign" && audit["by"]["uid"].is_u64());
    attack(&stand, "second")?;
    wait("the second", || Ok(rows()?.len() == 2))?;
    let second = rows()?[1].clone();
    ensure!(second["told"] == false && second["suspected"] == false, "{second}");
    ensure!(second["score"].as_u64() == Some(score / 4), "{second}");

    // Malicious: it is marked up, also behind a restart.
    sensor.ask(&["feedback", id, "malicious"], "")?;
    attack(&stand, "third")?;
    let third = event(&sensor, "third")?;
    ensure!(reason(&third) == "feedback-malicious", "{third}");
    ensure!(third["score"].as_u64() >= Some(90), "{third}");
    let sensor = sensor.restart(&stand.place, &[PORT])?;
    attack(&stand, "fourth")?;
    ensure!(reason(&event(&sensor, "fourth")?) == "feedback-malicious");
    let list = sensor.ask(&["feedback", "list"], "")?;
    ensure!(list["total"] == 1 && list["labels"][0]["label"] == "malicious", "{list}");
    ensure!(sensor.status()?["models"]["labels"]["malicious"] == 1);

    // Of an event that only the history knows by now.
    let other = second["event"].as_str().context("no id")?;
    sensor.ask(&["feedback", other, "benign"], "")?;
    sensor.ask(&["feedback", "remove", other], "")?;

    // Taken back: as it was.
    sensor.ask(&["feedback", "remove", id], "")?;
    attack(&stand, "fifth")?;
    let fifth = event(&sensor, "fifth")?;
    ensure!(fifth["score"].as_u64() == Some(score), "{fifth}");
    let unknown = sensor.run(&["feedback", &"0f".repeat(16), "benign"], "")?;
    ensure!(unknown.status.code() == Some(1));
    ensure!(String::from_utf8_lossy(&unknown.stderr).contains("or in the history"));
    ensure!(sensor.run(&["feedback", "x", "benign"], "")?.status.code() == Some(2));
    end(sensor)
}

#[test]
fn a_model_goes_from_the_shadow_into_force_and_stays_there() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let stand = Stand::new(env!("CARGO_BIN_EXE_recording-http"))?;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("shadow.model");
    let save = |threshold| -> Result<()> {
        let mut model = BehaviourModel::embedded()?;
        model.calibration.threshold = threshold;
        Ok(fs::write(&path, model.to_bytes()?)?)
    };
    save(0.25)?;
    let extra = format!("[scoring]\nshadow_model_file = {path:?}\n");
    let sensor = Sensor::start(&stand.place, &[PORT], &extra)?;
    let models = |sensor: &Sensor| -> Result<Value> { Ok(sensor.status()?["models"].clone()) };
    let before = models(&sensor)?;
    ensure!(before["behaviour"]["from"] == "built-in", "{before:#}");
    ensure!(before["shadow"]["threshold"] == 0.25 && before["shadow"]["since"].is_string());
    ensure!(before["shadow"]["comparison"]["labelled"]["malicious"] == 0);
    let shown = sensor.run(&["status"], "")?;
    ensure!(String::from_utf8_lossy(&shown.stdout).contains("would alert from 0.2500"));

    // A label is held against both at once.
    attack(&stand, "labelled")?;
    let id = event(&sensor, "labelled")?["id"].as_str().context("no id")?.to_owned();
    let known = || Ok(sensor.run(&["feedback", &id, "malicious"], "")?.status.success());
    wait("the end of the exchange", known)?;
    sensor.wait_for_status("the label", |status| {
        status["models"]["shadow"]["comparison"]["labelled"]["malicious"] == 1
    })?;

    // Promoted, and over a restart.
    let promoted = sensor.ask(&["model", "promote"], "")?;
    ensure!(promoted["behaviour"]["from"] == "promoted", "{promoted:#}");
    ensure!(promoted["behaviour"]["threshold"] == 0.25);
    ensure!(promoted["behaviour"]["model"] == before["shadow"]["model"]);
    ensure!(promoted["shadow"]["idle"] == "it is the model in force");
    let audit = sensor.wait_for("the audit", |event| event["change"] == "model-promote")?;
    ensure!(audit["model"] == before["shadow"]["model"], "{audit}");
    ensure!(sensor.run(&["model", "promote"], "")?.status.code() == Some(1), "in force already");
    let sensor = sensor.restart(&stand.place, &[PORT])?;
    ensure!(models(&sensor)?["behaviour"]["from"] == "promoted");

    // Another one in the shadow by SIGHUP; a torn one is refused, whole, and the log says why.
    save(0.35)?;
    sensor.signal(Signal::HUP)?;
    sensor.wait_for_status("the next shadow", |status| {
        status["models"]["shadow"]["threshold"].as_f64().is_some_and(|t| (t - 0.35).abs() < 1e-6)
    })?;
    let whole = fs::read(&path)?;
    fs::write(&path, whole.get(..whole.len() / 2).context("half")?)?;
    sensor.signal(Signal::HUP)?;
    wait("the refusal", || {
        let log = sensor.log();
        Ok(log.contains("not reloaded, nothing is changed") && log.contains("shadow.model"))
    })?;
    let after = models(&sensor)?;
    ensure!(after["behaviour"]["from"] == "promoted", "{after:#}");
    let kept = after["shadow"]["threshold"].as_f64().context("no shadow")?;
    ensure!((kept - 0.35).abs() < 1e-6, "{after:#}");
    let file = path.to_str().context("a path")?;
    let torn = sensor.run(&["model", "promote", "--file", file], "")?;
    let said = String::from_utf8_lossy(&torn.stderr).into_owned();
    ensure!(torn.status.code() == Some(1) && said.contains("shadow.model"), "{said}");

    // And back.
    let demoted = sensor.ask(&["model", "demote"], "")?;
    ensure!(demoted["behaviour"]["model"] == before["behaviour"]["model"], "{demoted:#}");
    ensure!(sensor.run(&["model", "demote"], "")?.status.code() == Some(1));
    end(sensor)
}
