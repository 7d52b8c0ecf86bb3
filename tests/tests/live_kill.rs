//! `mode = "kill"` against the kernel: real connections are reset, and what is denied stays denied.
//! The service runs in a network namespace of its own, the sensor in the host's.

// The helpers of these tests are tests too, though clippy's allowance covers only `#[test]`.

use std::{
    fs,
    io::{ErrorKind, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use jotwatch_tests::{
    binary::jotwatch,
    net::{Place, privileged},
    sensor::{Sensor, findings},
    services::{
        self,
        http::{Client, get},
        nginx, plain,
    },
    stand::{PORT, addr, end, forged, good, wait},
    tokens,
};
use rustix::process::Signal;
use serde_json::{Value, json};

const KILL: &str = "[enforcement]\nmode = \"kill\"\n";

/// Sends a request and reads on until the connection is reset; gives how long that took.
fn is_reset(place: &services::Place<'_>, to: SocketAddr, token: &str) -> Result<Duration> {
    let client = Client::connect(place, to)?;
    let mut stream = client.stream();
    let sent = Instant::now();
    stream.write_all(&get("/", token))?;
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => anyhow::bail!("{to}: closed, not reset"),
            Ok(_) => {}
            Err(error) => {
                ensure!(error.kind() == ErrorKind::ConnectionReset, "{to}: {error}");
                return Ok(sent.elapsed());
            }
        }
    }
}

/// A client of a denied address does not even get a connection.
fn is_shut_out(net: &Place) -> Result<()> {
    let limit = Duration::from_millis(700);
    let connected = net.inside(|| Ok(TcpStream::connect_timeout(&addr(), limit).map(drop)))?;
    ensure!(connected.is_err_and(|error| error.kind() == ErrorKind::TimedOut), "it is let in");
    Ok(())
}

/// Runs `jotwatch LIST COMMAND` against the sensor.
fn lists(sensor: &Sensor, arguments: &[&str], input: &str) -> Result<Output> {
    let mut child = Command::new(jotwatch())
        .args(arguments)
        .arg("--config")
        .arg(sensor.config())
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

/// The same, with `--json`, and good.
fn asked(sensor: &Sensor, arguments: &[&str], input: &str) -> Result<Value> {
    let output = lists(sensor, &[arguments, &["--json"]].concat(), input)?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{arguments:?}: {error}");
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[test]
fn a_forged_request_is_reset_and_a_good_one_is_not() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let net = Place::new()?;
    net.services(|place| {
        let _service = plain::start(place, &[PORT])?;
        let sensor = Sensor::start(&net, &[PORT], KILL)?;
        // IPv4 on the service's IPv6 socket, and IPv6 itself.
        let ends = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
        let mut beside = Client::connect(place, addr())?;
        for (round, ip) in (1..).zip(ends) {
            let took = is_reset(place, (ip, PORT).into(), &forged(0))?;
            let event = sensor.wait_for("the event", |event| {
                event["kind"] == "request" && event["server"]["ip"] == ip.to_string()
            })?;
            assert_eq!(event["verdict"], "block", "{event}");
            assert_eq!(event["enforcement"]["action"], "reset", "{event}");
            assert_eq!(event["enforcement"]["reasons"][0], "alg-none");
            let status = sensor.wait_for_status("the cut", |status| {
                status.pointer("/enforcement/cuts/reset") == Some(&json!(round))
            })?;
            assert_eq!(status["mode"], "kill");
            assert!(took < Duration::from_secs(2), "{took:?}");
            // A connection beside goes on, and the service still listens.
            assert_eq!(beside.send(&get("/", &good()))?.status, 200);
        }
        end(sensor)
    })
}

#[test]
fn a_tampered_token_is_denied_until_its_time_is_over() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let net = Place::new()?;
    net.services(|place| {
        let _service = nginx::start(place, addr())?;
        let sensor =
            Sensor::start(&net, &[PORT], "[enforcement]\nmode = \"kill\"\ndeny_seconds = 2")?;
        let mut client = Client::connect(place, addr())?;
        assert_eq!(client.send(&get("/", &good()))?.status, 200);
        let tampered = tokens::swap_payload(&good(), &json!({"sub": "admin"}));
        is_reset(place, addr(), &tampered)?;
        let event = sensor.wait_for("the tampering", |event| {
            findings(event).contains(&"token-tampered".to_owned())
        })?;
        assert_eq!(event["enforcement"]["denied"], json!(["token"]), "{event}");
        // The signature is what is denied: the genuine token is in the forger's hands.
        is_reset(place, addr(), &good())?;
        let event = sensor.wait_for("the denied use", |event| {
            findings(event).contains(&"token-denylisted".to_owned())
        })?;
        let key = event["tokens"][0]["deny_key"].as_str().context("no deny_key")?;
        let list = asked(&sensor, &["deny", "list"], "")?;
        assert_eq!(list["entries"][0]["entry"]["token_key"], key, "{list}");
        assert_eq!(list["entries"][0]["source"], "verdict");
        sensor.wait_for_status("the end of the entry", |status| {
            status.pointer("/enforcement/denied/tokens") == Some(&json!(0))
        })?;
        assert_eq!(client.send(&get("/", &good()))?.status, 200);
        end(sensor)
    })
}

#[test]
fn a_dry_run_tells_and_cuts_nothing() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let net = Place::new()?;
    net.services(|place| {
        let _service = nginx::start(place, addr())?;
        let sensor =
            Sensor::start(&net, &[PORT], "[enforcement]\nmode = \"kill\"\ndry_run = true")?;
        let mut client = Client::connect(place, addr())?;
        assert_eq!(client.send(&get("/", &forged(0)))?.status, 200);
        let event = sensor.wait_for("the event", |event| event["kind"] == "request")?;
        assert_eq!(event["enforcement"]["dry_run"], true, "{event}");
        assert_eq!(client.send(&get("/", &good()))?.status, 200);
        end(sensor)
    })
}

#[test]
fn people_deny_and_allow_and_it_survives_a_restart() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let net = Place::new()?;
    net.services(|place| {
        let _service = nginx::start(place, addr())?;
        let sensor = Sensor::start(&net, &[PORT], KILL)?;
        let answers = || {
            Ok::<_, anyhow::Error>(Client::connect(place, addr())?.send(&get("/", &good()))?.status)
        };
        assert_eq!(answers()?, 200);

        // By the token itself, on standard input; it comes back as its key.
        let added = asked(
            &sensor,
            &["deny", "add", "--token", "--reason", "INC-7"],
            &format!("Bearer {}\n", good()),
        )?;
        let key = added["entry"]["token_key"].as_str().context("no key")?.to_owned();
        is_reset(place, addr(), &good())?;
        let audit = sensor.wait_for("the audit event", |event| event["change"] == "deny-add")?;
        assert_eq!(audit["entry"]["token_key"], key, "{audit}");
        assert_eq!((&audit["reason"], &audit["by"]["uid"]), (&json!("INC-7"), &json!(0)));
        asked(&sensor, &["deny", "remove", "--token-key", &key], "")?;
        assert_eq!(answers()?, 200);

        // By address, and what is allowed wins.
        asked(&sensor, &["deny", "add", "127.0.0.0/8", "--for", "1h"], "")?;
        is_shut_out(&net)?;
        asked(&sensor, &["allow", "add", "127.0.0.1"], "")?;
        assert_eq!(answers()?, 200);
        asked(&sensor, &["allow", "flush"], "")?;
        is_shut_out(&net)?;
        asked(&sensor, &["deny", "flush"], "")?;
        assert_eq!(answers()?, 200);

        // By subject; and what can't be done is said in one line.
        asked(&sensor, &["deny", "add", "--subject", "somebody-good"], "")?;
        is_reset(place, addr(), &good())?;
        for (arguments, code) in [
            (&["deny", "remove", "192.0.2.1"][..], 1),
            (&["deny", "add", "192.0.2"], 2),
            (&["deny", "add", "--token-key", "12"], 2),
            (&["deny", "add"], 2),
            (&["deny", "add", "--token"], 1),
            (&["allow", "add", "192.0.2.1", "--route", "/"], 2),
            (&["deny", "add", "192.0.2.1", "--for", "soon"], 2),
        ] {
            let output = lists(&sensor, arguments, "\n")?;
            let error = String::from_utf8(output.stderr)?;
            assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
        wait("the state file", || {
            let state = sensor.config().with_file_name("state/enforcement.state");
            Ok(fs::read_to_string(state)?.contains("somebody-good"))
        })?;

        // Killed, and started anew on the same state.
        let state = sensor.config().with_file_name("state/enforcement.state");
        let saved = fs::read(state)?;
        end(sensor)?;
        let dir = tempfile::tempdir()?;
        fs::write(dir.path().join("enforcement.state"), [&saved[..], b"{\"list\":\"den"].concat())?;
        let restored = format!("{KILL}[[service]]\nport = 1");
        let sensor = Sensor::start_with_state(&net, &[PORT], &restored, dir.path())?;
        is_reset(place, addr(), &good())?;
        end(sensor)
    })
}

#[test]
fn a_bad_line_refuses_the_file_and_the_old_list_stays() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let net = Place::new()?;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("deny.txt");
    fs::write(&path, "# a list\n127.0.0.1 ; us\n")?;
    let files = format!("{KILL}deny_files = [{path:?}]\n");
    net.services(|place| {
        let _service = nginx::start(place, addr())?;
        let sensor = Sensor::start(&net, &[PORT], &files)?;
        let load = sensor.wait_for("the audit event", |event| event["change"] == "deny-load")?;
        assert_eq!(load["count"], 1, "{load}");
        is_shut_out(&net)?;
        fs::write(&path, "192.0.2.1\n127.0.0\n")?;
        sensor.signal(Signal::HUP)?;
        wait("the refusal", || Ok(sensor.log().contains("deny.txt:2: ")))?;
        is_shut_out(&net)?;
        fs::write(&path, "192.0.2.1\n")?;
        sensor.signal(Signal::HUP)?;
        sensor.wait_for("the reload", |event| event["state"] == "config-reloaded")?;
        assert_eq!(Client::connect(place, addr())?.send(&get("/", &good()))?.status, 200);
        end(sensor)
    })
}
