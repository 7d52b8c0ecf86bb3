//! Scores over HTTP from the running daemon: it shares what it remembers and denies, takes another
//! key at a reload, and serves real frameworks by the examples of docs/rest.md.

use std::{
    fs::{self, Permissions},
    io::{Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use jotwatch_tests::{
    net::{Place, privileged},
    sensor::{self, Sensor},
    services::{
        Place as Here, Service, free_loopback,
        http::{Client, get},
        installed,
        rest::{self, Scores},
    },
    tokens,
};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

const PORT: u16 = 8080;
const KEY: &str = "0123456789abcdef0123456789abcdef";

struct Stand {
    /// Of socket and key.
    dir: TempDir,
    sensor: Sensor,
    _place: Place,
}

impl Stand {
    fn new() -> Result<Self> {
        let (place, dir) = (Place::new()?, tempfile::tempdir()?);
        let key = dir.path().join("key");
        fs::write(&key, format!("{KEY}\n"))?;
        fs::set_permissions(&key, Permissions::from_mode(0o600))?;
        let config = format!(
            "[rest]\nlisten = \"unix:{}\"\nkey_file = {key:?}\n",
            dir.path().join("score.sock").display()
        );
        let sensor = Sensor::start(&place, &[PORT], &config)?;
        Ok(Self { dir, sensor, _place: place })
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("score.sock")
    }

    fn key(&self) -> PathBuf {
        self.dir.path().join("key")
    }

    fn scores<'a>(&self, socket: &'a Path, key: &'a Path) -> Scores<'a> {
        Scores { socket, key }
    }

    /// Status and body of the answer.
    fn post(&self, key: &str, described: &Value) -> Result<(u16, Value)> {
        let mut stream = UnixStream::connect(self.socket())?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let body = described.to_string();
        let length = body.len();
        write!(
            stream,
            "POST /v1/score HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        )?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let status = text.get(9..12).context("no status line")?.parse()?;
        let (_, body) = text.split_once("\r\n\r\n").context("no body")?;
        Ok((status, serde_json::from_str(body)?))
    }

    fn score(&self, described: &Value) -> Result<Value> {
        let (status, score) = self.post(KEY, described)?;
        ensure!(status == 200, "{status}: {score}");
        Ok(score)
    }
}

fn reasons(score: &Value) -> Vec<&str> {
    let all = score["reasons"].as_array().into_iter().flatten();
    all.filter_map(|reason| reason["id"].as_str()).collect()
}

#[test]
fn described_requests_share_what_the_daemon_knows() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let stand = Stand::new()?;
    let by = |user: &str, token: &str, address: &str| json!({"userId": user, "tokenId": token, "ipAddress": address, "path": "/orders"});
    // The memory of subjects: another token with more roles.
    let with = |token: &str, roles: &[&str]| {
        json!({
            "userId": "ann", "issuer": "https://id.example", "tokenId": token, "roles": roles,
            "ipAddress": "192.0.2.1", "path": "/orders",
        })
    };
    let first = stand.score(&with("t1", &["user"]))?;
    ensure!(first["isSuspicious"] == false && first["score"] == 0, "{first}");
    let more = stand.score(&with("t3", &["user", "admin"]))?;
    ensure!(reasons(&more).contains(&"role-escalated"), "{more}");
    ensure!(more["isSuspicious"] == true, "{more}");
    // The denylist.
    stand.sensor.ask(&["deny", "add", "192.0.2.7"], "")?;
    let denied = stand.score(&by("bob", "t2", "192.0.2.7"))?;
    ensure!(reasons(&denied) == ["address-denylisted"], "{denied}");
    let (status, problem) = stand.post("x", &by("bob", "t2", "192.0.2.7"))?;
    ensure!(status == 401 && problem["status"] == 401, "{problem}");
    let status = stand.sensor.status()?;
    ensure!(status["pipeline"]["described"] == 3, "{status:#}");
    ensure!(status["rest"]["scored"] == 3 && status["rest"]["refused"]["401"] == 1, "{status:#}");

    // Another key at a reload; one that others may read changes nothing.
    let other = KEY.replace('0', "9");
    fs::write(stand.key(), &other)?;
    ensure!(stand.post(KEY, &json!([]))?.0 == 422, "a key is in force before the reload");
    stand.sensor.signal(Signal::HUP)?;
    stand.sensor.wait_for("the reload", |event| event["state"] == "config-reloaded")?;
    ensure!(stand.post(KEY, &json!([]))?.0 == 401 && stand.post(&other, &json!([]))?.0 == 422);
    fs::set_permissions(stand.key(), Permissions::from_mode(0o644))?;
    stand.sensor.signal(Signal::HUP)?;
    let begun = Instant::now();
    while !stand.sensor.log().contains("others may read it") {
        ensure!(begun.elapsed() < Duration::from_secs(20), "{}", stand.sensor.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    ensure!(stand.post(&other, &json!([]))?.0 == 422);
    let log = stand.sensor.log();
    ensure!(!log.contains(KEY) && !log.contains(&other), "the key is in the log");

    // Latency of one caller after another.
    let mut times: Vec<Duration> = (0..200)
        .map(|n| {
            let begun = Instant::now();
            let (status, score) = stand.post(&other, &by("cid", &format!("c{n}"), "192.0.2.3"))?;
            ensure!(status == 200, "{score}");
            Ok(begun.elapsed())
        })
        .collect::<Result<_>>()?;
    times.sort_unstable();
    eprintln!("score over a unix socket: median {:?}, p99 {:?}", times[100], times[198]);
    sensor::check(&stand.sensor.stop()?, &[])?;
    ensure!(!stand.dir.path().join("score.sock").exists(), "the socket stays");
    Ok(())
}

fn serves(stand: &Stand, service: &Service) -> Result<()> {
    let token = |user: &str| {
        let claims = json!({"sub": user, "exp": tokens::seconds_from_now(600), "jti": user});
        tokens::hs256(&claims, rest::SECRET.as_bytes())
    };
    let send = |target: &str, token: &str| -> Result<_> {
        Client::connect(&Here::HERE, service.addr())?.send(&get(target, token))
    };
    let good = send("/orders?page=2", &token("ann"))?;
    ensure!(good.status == 200, "{}: {}", good.status, service.log_tail());
    ensure!(good.json()? == json!({"user": "ann", "score": 0}), "{}", good.json()?);
    let attack = send("/orders?id=1%27+UNION+SELECT+password+FROM+users--", &token("ann"))?;
    ensure!(attack.status == 403, "{}: {}", attack.status, service.log_tail());
    ensure!(send("/orders", "none")?.status == 401);
    // Whoever can't read the key gets no score, and the service serves all the same.
    let key = fs::read(stand.key())?;
    fs::write(stand.key(), "x".repeat(32))?;
    let open = send("/orders", &token("ann"))?;
    fs::write(stand.key(), key)?;
    ensure!(open.json()? == json!({"user": "ann", "score": null}), "{}", open.json()?);
    Ok(())
}

#[test]
fn express_asks_as_the_documentation_has_it() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let stand = Stand::new()?;
    let (socket, key) = (stand.socket(), stand.key());
    let scores = stand.scores(&socket, &key);
    let Some(service) = installed(rest::express(&Here::HERE, free_loopback()?, scores)) else {
        return Ok(());
    };
    serves(&stand, &service)
}

#[test]
fn fastapi_asks_as_the_documentation_has_it() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let stand = Stand::new()?;
    let (socket, key) = (stand.socket(), stand.key());
    let scores = stand.scores(&socket, &key);
    let Some(service) = installed(rest::fastapi(&Here::HERE, free_loopback()?, scores)) else {
        return Ok(());
    };
    serves(&stand, &service)
}

/// The examples in docs/rest.md are the files that these tests run.
#[test]
fn the_documentation_shows_what_is_run() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("../docs/rest.md"))?;
    for name in ["jotwatch.js", "jotwatch.py"] {
        let text = fs::read_to_string(root.join("services/rest").join(name))?;
        ensure!(page.contains(text.trim()), "docs/rest.md has another {name}");
    }
    Ok(())
}
