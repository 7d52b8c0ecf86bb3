//! `jotwatch train` as a user runs it: from what was scored to another model, and what that
//! changes.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use jotwatch_tests::{
    binary::{self, jotwatch},
    tokens::{HS256_HEADER, SECRET, sign},
};
use serde_json::{Value, json};

const SUBJECTS: u64 = 40;
const DAYS: u64 = 9;
const REQUESTS: u64 = 14;
/// A Monday.
const START: u64 = 1_699_833_600;

/// Days of work of several subjects, one of which walks through other people's orders at the end.
fn requests() -> Vec<String> {
    let tokens: Vec<String> = (0..SUBJECTS)
        .map(|subject| {
            let claims = json!({
                "iss": "https://id.example", "sub": format!("subject-{subject}"),
                "iat": START, "exp": START + 30 * 86_400,
            });
            sign(HS256_HEADER, &claims.to_string(), SECRET)
        })
        .collect();
    let mut requests: Vec<(u64, Value)> = Vec::new();
    let mut ask = |subject: u64, at: u64, path: String| {
        let token = tokens.get(subject as usize).map_or("", |token| token);
        let request = json!({
            "method": "GET", "path": path, "time": at,
            "client_ip": format!("198.51.100.{}", subject + 1),
            "headers": {
                "Host": "shop.example", "User-Agent": format!("agent {}", subject % 3),
                "Authorization": format!("Bearer {token}"),
            },
        });
        requests.push((at, request));
    };
    for day in 0..DAYS {
        for subject in 0..SUBJECTS {
            for n in 0..REQUESTS {
                let at = START + day * 86_400 + 8 * 3_600 + n * 2_400 + subject * 31 + day * 7;
                let path = match (subject + n) % 4 {
                    0 => "/api/profile".to_owned(),
                    1 => "/api/orders".to_owned(),
                    2 => format!("/api/orders/{}", 5_000 + subject * 10 + n % 3),
                    _ => "/api/stock?page=2".to_owned(),
                };
                ask(subject, at, path);
            }
        }
    }
    let night = START + DAYS * 86_400 + 3 * 3_600;
    for n in 0..60 {
        ask(7, night + n * 2, format!("/api/orders/{}", 9_000 + n));
    }
    requests.sort_by_key(|(at, _)| *at);
    requests.into_iter().map(|(_, request)| request.to_string()).collect()
}

fn run(arguments: &[&str]) -> Result<Output> {
    let output = Command::new(jotwatch()).args(arguments).stdin(Stdio::null()).output()?;
    Ok(output)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The configuration of the issuer, with `scoring` at its end.
fn config(dir: &Path, name: &str, scoring: &str) -> Result<String> {
    let key = dir.join("key");
    fs::write(&key, SECRET)?;
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
    let path = dir.join(name);
    fs::write(
        &path,
        format!(
            "[[issuer]]\nissuer = \"https://id.example\"\nalgorithms = [\"HS256\"]\n\
             secret_files = [{key:?}]\n{scoring}"
        ),
    )?;
    Ok(path.display().to_string())
}

fn rows(path: &str) -> Result<Vec<Value>> {
    let lines = fs::read_to_string(path)?;
    lines.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

#[test]
fn from_a_history_to_another_model_and_what_it_changes() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let at = |name: &str| dir.path().join(name).display().to_string();
    let (history, again, model, second) = (at("h.jsonl"), at("h2.jsonl"), at("m"), at("m2"));
    let plain = config(dir.path(), "plain.toml", "")?;
    let requests = requests();
    let score = |config: &str, history: &str| {
        binary::answers(&["score", "--config", config, "--history", history], &requests)
    };
    let (answers, code) = score(&plain, &history);
    ensure!(code == 0 && answers.len() == requests.len());

    // One line a request, private, with nothing of the request in it.
    let before = rows(&history)?;
    ensure!(before.len() == requests.len(), "{} rows", before.len());
    ensure!(fs::metadata(&history)?.permissions().mode() & 0o777 == 0o600);
    let all = fs::read_to_string(&history)?;
    for secret in ["subject-", "/api", "198.51", "agent", "eyJ", "id.example"] {
        ensure!(!all.contains(secret), "{secret}");
    }
    let known = before.iter().filter(|row| row["learning"] == false).count();
    ensure!(known * 2 > before.len(), "{known} past learning");
    ensure!(before.iter().all(|row| row["values"].as_array().is_some_and(|v| v.len() > 60)));

    // Twice the same bytes, and nobody but a person sees a bar.
    let labels = at("labels.jsonl");
    let walk = before.iter().rev().find(|row| row["learning"] == false).context("no row")?;
    fs::write(&labels, format!("{}\n", json!({"event": walk["event"], "label": "malicious"})))?;
    let train = |out: &str| {
        run(&[
            "train",
            "--data",
            &history,
            "--labels",
            &labels,
            "--out",
            out,
            "--false-alerts",
            "0.01",
        ])
    };
    let output = train(&model)?;
    ensure!(output.status.success(), "{}", text(&output.stderr));
    ensure!(output.stderr.is_empty(), "{}", text(&output.stderr));
    let card = text(&output.stdout);
    for part in
        ["40 subjects", "labels         1 malicious, 0 benign", "the built-in's", "held out"]
    {
        ensure!(card.contains(part), "{part}: {card}");
    }
    ensure!(train(&second)?.status.success());
    ensure!(fs::read(&model)? == fs::read(&second)?, "the same history gives another model");
    ensure!(fs::metadata(&model)?.permissions().mode() & 0o777 == 0o600);
    let left = fs::read_dir(dir.path())?.flatten();
    ensure!(left.filter(|file| file.path().extension() == Some("new".as_ref())).count() == 0);

    // In force it says something else of the same requests, and of no other features.
    let trained = config(
        dir.path(),
        "trained.toml",
        &format!("[scoring]\nbehaviour_model_file = {model:?}\n"),
    )?;
    ensure!(score(&trained, &again).1 == 0);
    let after = rows(&again)?;
    let mut changed = 0;
    for (before, after) in before.iter().zip(&after) {
        ensure!(before["values"] == after["values"] && before["event"] == after["event"]);
        ensure!(before["behaviour"].is_null() == (before["learning"] == true));
        changed += usize::from(before["behaviour"] != after["behaviour"]);
    }
    ensure!(changed * 10 > known * 9, "{changed} of {known} are scored in another way");
    Ok(())
}

#[test]
fn what_can_not_be_learned_from_is_refused_and_no_model_is_left() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let at = |name: &str| dir.path().join(name).display().to_string();
    let (history, bad, out) = (at("h.jsonl"), at("bad.jsonl"), at("m"));
    let plain = config(dir.path(), "plain.toml", "")?;
    let few: Vec<String> = requests().into_iter().take(600).collect();
    let scored = binary::answers(&["score", "--config", &plain, "--history", &history], &few);
    ensure!(scored.1 == 0);
    let lines = fs::read_to_string(&history)?;
    let hash = rows(&history)?[0]["features"].as_str().context("no hash")?.to_owned();
    fs::write(&out, "as it was")?;
    let refused = |arguments: &[&str], code: i32, parts: &[&str]| -> Result<()> {
        let output = run(&[&["train", "--out", &out], arguments].concat())?;
        let said = text(&output.stderr);
        ensure!(output.status.code() == Some(code), "{arguments:?}: {said}");
        ensure!(said.lines().count() == 1, "{said}");
        for part in parts {
            ensure!(said.contains(part), "{part}: {said}");
        }
        ensure!(fs::read_to_string(&out)? == "as it was");
        Ok(())
    };
    refused(&["--data", &history], 1, &["subjects' days to learn from, at least 100 are needed"])?;
    let (first, rest) = lines.split_at(lines.len() / 2);
    let torn = first.lines().count();
    fs::write(&bad, format!("{first}\n{rest}"))?;
    refused(&["--data", &history, &bad], 1, &[&format!("bad.jsonl:{torn}: not a line of")])?;
    fs::write(&bad, lines.replace(&hash, "0123456789abcdef"))?;
    refused(
        &["--data", &bad],
        1,
        &["bad.jsonl:1: written for other features", "0123456789abcdef"],
    )?;
    fs::write(&bad, "{\"event\":\"x\",\"label\":\"benign\"}\n")?;
    refused(&["--data", &history, "--labels", &bad], 1, &["bad.jsonl:1: `event` is not"])?;
    refused(&["--data", &at("none")], 1, &["none: No such file"])?;
    refused(&["--data", &history, "--data", &history], 2, &["named twice"])?;
    refused(&["--data", &out], 2, &["can't be --out"])?;
    refused(&["--data", &history, "--false-alerts", "2"], 2, &["--false-alerts"])?;
    refused(&[], 2, &["--data"])?;
    let left = fs::read_dir(dir.path())?.flatten();
    ensure!(left.filter(|file| file.path().extension() == Some("new".as_ref())).count() == 0);
    Ok(())
}

#[test]
fn a_capture_gives_a_history_without_a_daemon() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let history = dir.path().join("h.jsonl").display().to_string();
    let capture = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/demo.pcap");
    let with = run(&["replay", capture, "--history", &history])?;
    ensure!(with.status.success(), "{}", text(&with.stderr));
    ensure!(with.stdout == run(&["replay", capture])?.stdout, "the events are others");
    let rows = rows(&history)?;
    ensure!(!rows.is_empty());
    let events = text(&with.stdout);
    for row in rows.iter().filter(|row| row["told"] == true) {
        let id = row["event"].as_str().context("no id")?;
        let event = events.lines().find(|line| line.contains(id)).context("no such event")?;
        let event: Value = serde_json::from_str(event)?;
        ensure!(event["score"] == row["score"], "{row} {event}");
    }
    ensure!(rows.iter().any(|row| row["told"] == true));
    let nowhere = run(&["replay", capture, "--history", "/nonexistent/h"])?;
    ensure!(nowhere.status.code() == Some(1) && text(&nowhere.stderr).contains("/nonexistent/h"));
    Ok(())
}
