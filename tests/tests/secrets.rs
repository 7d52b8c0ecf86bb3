//! No token, key or password comes out of the program, whatever it writes: not at the most talkative
//! log level, not in what it says of a configuration with a secret in a wrong place, not in the files
//! that it keeps.

// The helpers of these tests are tests too, though clippy's allowance covers only `#[test]`.

use std::{
    fs::{self, File, Permissions},
    io::{Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream, process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jotwatch_tests::{
    binary::jotwatch,
    net::{Place, privileged},
    receiver::{Answer, Receiver},
    sensor::{self, DEADLINE},
    services::{
        http::{Client, request},
        nginx,
    },
    stand::{PORT, addr, wait},
    tokens,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

/// What nobody may read again, by what it is.
const REST_KEY: &str = "rest-key-5f1c9a7e3b8d2046-rest-key";
const WEBHOOK: &str = "webhook-secret-0b6e8d1f2a4c7395-webhook";
const HEADER: &str = "Splunk hec-token-91d3c5b7-a8f0-4e26";
const HMAC: &str = "hmac-secret-of-the-issuer-7d20e9b4c6f8";
const COOKIE: &str = "session-cookie-c41f7a9e05d8b362";
const PASSWORD: &str = "basic-password-3e9b6d0c7f15a824";

fn talkative(command: &mut Command) -> &mut Command {
    command.env("JOTWATCH_LOG", "trace").env("RUST_LOG", "trace").env("RUST_BACKTRACE", "full")
}

/// The claims tell who it is; what must not come out is what makes it a credential.
fn token(n: u32) -> String {
    tokens::hs256(&json!({"sub": "somebody", "iss": "https://id.example", "n": n}), HMAC.as_bytes())
}

/// Holds a text to carrying none of the secrets, neither as they are nor encoded, nor a token's
/// signature or payload.
fn silent(what: &str, text: &str, tokens: &[String]) -> Result<()> {
    let fixed = [REST_KEY, WEBHOOK, HEADER, HMAC, COOKIE, PASSWORD];
    let mut secrets: Vec<String> = fixed.iter().map(|&secret| secret.to_owned()).collect();
    secrets.extend(fixed.iter().map(|secret| URL_SAFE_NO_PAD.encode(secret)));
    for token in tokens {
        secrets.extend(token.split('.').skip(1).filter(|part| part.len() > 16).map(str::to_owned));
    }
    for secret in secrets {
        if let Some(at) = text.find(&secret) {
            let from = text[..at].rfind('\n').map_or(0, |line| line + 1);
            bail!("{what} has {secret:?}: {:.300}", &text[from..]);
        }
    }
    Ok(())
}

fn private(dir: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = dir.join(name);
    fs::write(&path, text)?;
    fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    Ok(path)
}

/// Every file below, as text.
fn files(dir: &Path, found: &mut Vec<(PathBuf, String)>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let kind = fs::symlink_metadata(&path)?.file_type();
        if kind.is_dir() {
            files(&path, found)?;
        } else if kind.is_file() {
            let bytes = fs::read(&path)?;
            found.push((path, String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
    Ok(())
}

fn run(arguments: &[&str], input: &str) -> Result<Output> {
    let mut child = talkative(Command::new(jotwatch()).args(arguments))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    child.stdin.take().context("no input")?.write_all(input.as_bytes())?;
    Ok(child.wait_with_output()?)
}

fn said(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    format!("{out}{err}")
}

#[test]
fn a_configuration_with_a_secret_in_a_wrong_place_is_refused_without_it() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("config.toml");
    for text in [
        // Where a file of it is to be named, a list of them, a number, a word of few.
        format!("[[issuer]]\nissuer = \"i\"\nsecret = \"{HMAC}\"\n"),
        format!("[[issuer]]\nissuer = \"i\"\nsecret_files = \"{HMAC}\"\n"),
        format!("[[issuer]]\nissuer = {{ secret = \"{HMAC}\" }}\n"),
        format!("[rest]\nkey = \"{REST_KEY}\"\n"),
        format!("[rest]\nlisten = \"unix:/x\"\nkey_file = [\"{REST_KEY}\"]\n"),
        format!("[rest]\nrequests_per_second = \"{REST_KEY}\"\n"),
        format!("[enforcement]\nmode = \"{REST_KEY}\"\n"),
        format!("[events]\nmin_severity = \"{REST_KEY}\"\n"),
        format!("[[sinks.webhook]]\nurl = \"https://u:{WEBHOOK}@h.example/\"\n"),
        format!("[[sinks.webhook]]\nurl = \"{WEBHOOK}\"\n"),
        format!("[[sinks.webhook]]\nurl = \"https://h.example/\"\nsecret = \"{WEBHOOK}\"\n"),
        format!("[[sinks.webhook]]\nurl = \"https://h.example/\"\nheader_files = \"{HEADER}\"\n"),
        format!(
            "[[sinks.webhook]]\nurl = \"https://h.example/\"\nheaders = {{ A = \"{HEADER}\" }}\n"
        ),
        format!("[[feed]]\nname = \"f\"\nurl = \"https://u:{PASSWORD}@h.example/\"\n"),
        format!("[[issuer]]\nissuer = \"i\"\njwks_url = \"https://u:{PASSWORD}@h.example/\"\n"),
        format!("[daemon]\nstate_dir = {PASSWORD}\n"),
        format!("[daemon]\nstate_dir = \"{PASSWORD}\n"),
        format!("[capture]\nports = [\"{PASSWORD}\"]\n"),
        format!("[capture]\nports = \"{PASSWORD}\"\n"),
    ] {
        fs::write(&path, &text)?;
        let output = run(&["check-config", "--config", path.to_str().context("a path")?], "")?;
        let said = said(&output);
        ensure!(!output.status.success(), "taken: {text}");
        ensure!(said.contains("config.toml:"), "{said}");
        silent(&text, &said, &[])?;
    }
    Ok(())
}

#[test]
fn commands_that_read_tokens_say_nothing_of_them() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let key = json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode(HMAC)}).to_string();
    let key = private(dir.path(), "key.jwk", &key)?;
    let tokens: Vec<String> = (0..3).map(token).collect();
    let forged = tokens::swap_payload(&tokens[0], &json!({"sub": "admin-of-everything"}));
    let unsigned = tokens::unsigned("none", &json!({"sub": "admin-of-everything"}));
    let torn = &tokens[1][..tokens[1].len() - 7];
    let all = [&tokens[..], &[forged, unsigned]].concat();
    let input = format!("{}\n{torn}\n{torn}\u{0}\n", all.join("\n"));
    let output = run(&["inspect", "--keys", key.to_str().context("a path")?], &input)?;
    silent("inspect", &said(&output), &all)?;
    ensure!(output.stdout.iter().filter(|&&b| b == b'\n').count() >= 5, "{}", said(&output));

    let described = |n: usize| {
        let authorization = format!("Bearer {}", all[n]);
        json!({
            "method": "GET", "path": format!("/a?access_token={}", all[n]),
            "headers": {"authorization": authorization, "cookie": format!("sid={COOKIE}")},
        })
        .to_string()
    };
    let lines = [described(0), described(3), described(4), "{".to_owned() + &all[1]].join("\n");
    let output = run(&["score"], &format!("{lines}\n"))?;
    silent("score", &said(&output), &all)?;
    // A daemon that is not there, and a token on the command line's standard input.
    let config = sensor::configuration(dir.path(), "")?;
    let config = config.to_str().context("a path")?;
    let output = run(&["deny", "add", "--token", "--config", config], &format!("{}\n", all[0]))?;
    ensure!(!output.status.success(), "{}", said(&output));
    silent("deny add", &said(&output), &all)
}

/// The daemon of these tests, which is killed when dropped.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_running_daemon_keeps_what_it_knows() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let net = Place::new()?;
    let (dir, keys) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let rest = private(keys.path(), "rest", &format!("{REST_KEY}\n"))?;
    let webhook = private(keys.path(), "webhook", WEBHOOK)?;
    let header = private(keys.path(), "header", HEADER)?;
    let hmac = private(keys.path(), "hmac", HMAC)?;
    let receiver = Receiver::start("127.0.0.1:0".parse()?, Answer::status(200))?;
    let socket = dir.path().join("score.sock");
    let metrics = dir.path().join("metrics.sock");
    let extra = format!(
        "[[sinks.file]]\npath = {:?}\n[[sinks.webhook]]\nurl = \"http://{}/hook\"\nsecret_file = {webhook:?}\n\
         header_files = {{ Authorization = {header:?} }}\n[rest]\nlisten = \"unix:{}\"\nkey_file = {rest:?}\n\
         [metrics]\nlisten = \"unix:{}\"\n[scoring.history]\nfile = {:?}\n\
         [[issuer]]\nissuer = \"https://id.example\"\nsecret_files = [{hmac:?}]\n",
        dir.path().join("events.log"),
        receiver.address(),
        socket.display(),
        metrics.display(),
        dir.path().join("history.jsonl"),
    );
    let config = sensor::configuration(dir.path(), &extra)?;
    let output = run(&["check-config", "--config", config.to_str().context("a path")?], "")?;
    ensure!(output.status.success(), "{}", said(&output));
    silent("check-config", &said(&output), &[])?;
    net.services(|place| {
        let _service = nginx::start(place, addr())?;
        let mut command = Command::new("sh");
        // Whoever starts it may allow cores, and no mask.
        command.args(["-c", "ulimit -c unlimited; umask 0; exec \"$@\"", "sh"]);
        let ready = sensor::run(&config, net.cgroup(), &[PORT]);
        command.arg(ready.get_program()).args(ready.get_args()).stdin(Stdio::null());
        command.stdout(File::create(dir.path().join("told"))?);
        command.stderr(File::create(dir.path().join("log"))?);
        let mut daemon = Daemon(talkative(&mut command).spawn()?);
        let log = || fs::read_to_string(dir.path().join("log")).unwrap_or_default();
        let ask = |words: &[&str], input: &str| -> Result<Output> {
            let file = config.to_str().context("a path")?;
            run(&[words, &["--json", "--config", file]].concat(), input)
        };
        let end = Instant::now() + DEADLINE;
        while !ask(&["status"], "")?.status.success() {
            ensure!(Instant::now() < end && daemon.0.try_wait()?.is_none(), "{}", log());
            thread::sleep(Duration::from_millis(50));
        }
        let tokens: Vec<String> = (0..4).map(token).collect();
        let forged = tokens::swap_payload(&tokens[0], &json!({"sub": "admin-of-everything"}));
        let weak = tokens::unsigned("none", &json!({"sub": "admin-of-everything"}));
        let all = [&tokens[..], &[forged, weak]].concat();
        let mut client = Client::connect(place, addr())?;
        let cookie = format!("sid={COOKIE}");
        let basic = format!(
            "Basic {}",
            base64::engine::general_purpose::STANDARD.encode(format!("ann:{PASSWORD}"))
        );
        for token in &all {
            let bearer = format!("Bearer {token}");
            let fields = [("Authorization", &*bearer), ("Cookie", &*cookie)];
            let target = format!("/missing?access_token={token}");
            client.send(&request("GET", "/missing", &fields, b""))?;
            client.send(&request("GET", &target, &[("Authorization", &*basic)], b""))?;
            let form = format!("access_token={token}&password={PASSWORD}");
            let kind = [("Content-Type", "application/x-www-form-urlencoded")];
            client.send(&request("POST", "/missing", &kind, form.as_bytes()))?;
        }
        let mut answers = String::new();
        for key in [REST_KEY, WEBHOOK] {
            let mut stream = UnixStream::connect(&socket)?;
            let body =
                json!({"userId": "ann", "tokenId": "t", "ipAddress": "192.0.2.1", "path": "/"});
            let body = body.to_string();
            let length = body.len();
            write!(
                stream,
                "POST /v1/score HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer \
                 {key}\r\nContent-Length: {length}\r\n\r\n{body}"
            )?;
            stream.read_to_string(&mut answers)?;
        }
        ensure!(answers.contains("200 OK") && answers.contains(" 401 "), "{answers}");
        let mut scrape = UnixStream::connect(&metrics)?;
        write!(scrape, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")?;
        scrape.read_to_string(&mut answers)?;
        let denied =
            ask(&["deny", "add", "--token", "--reason", &all[1]], &format!("{}\n", all[0]))?;
        ensure!(denied.status.success(), "{}", said(&denied));
        answers.push_str(&said(&denied));
        for words in [&["status"][..], &["deny", "list"], &["deny", "add", "eyJhbGciOiJub25lIn0"]] {
            answers.push_str(&said(&ask(words, "")?));
        }
        silent("what it answers", &answers, &all)?;
        let told = dir.path().join("told");
        wait("the alerts", || {
            Ok(fs::read_to_string(&told)?.matches("\"kind\":\"request\"").count() >= 6)
        })?;
        // A core would have it all.
        let mut shell = Command::new("sh");
        shell.args(["-c", "ulimit -c unlimited; kill -ABRT $$"]).current_dir(keys.path());
        let shown = shell.status()?;
        kill_process(Pid::from_child(&daemon.0), Signal::ABORT)?;
        let status = daemon.0.wait()?;
        ensure!(status.signal() == Some(Signal::ABORT.as_raw()), "{status}");
        ensure!(!status.core_dumped(), "a core was written (as of a shell: {shown})");

        let mut found = Vec::new();
        files(dir.path(), &mut found)?;
        let names: Vec<_> = found.iter().map(|(path, _)| path.display().to_string()).collect();
        for due in ["tokens.state", "told", "log", "events.log", "history.jsonl", ".jsonl"] {
            ensure!(names.iter().any(|name| name.ends_with(due)), "no {due}: {names:?}");
        }
        for (path, text) in &found {
            silent(&path.display().to_string(), text, &all)?;
            let mode = fs::metadata(path)?.permissions().mode() & 0o777;
            let own = ["told", "log", "config.toml"].iter().any(|name| path.ends_with(name));
            ensure!(own || mode & 0o077 == 0, "{}: mode {mode:o}", path.display());
        }
        let state = fs::metadata(dir.path().join("state"))?.permissions().mode() & 0o777;
        ensure!(state == 0o700, "the state folder: mode {state:o}");
        let run = fs::metadata(dir.path().join("run"))?.permissions().mode() & 0o777;
        ensure!(run & 0o022 == 0, "the runtime folder: mode {run:o}");
        Ok(())
    })
}
