//! What goes wrong around the sensor: it is killed, it is overrun, its service dies, its
//! surroundings are not as it wants them. The service goes on, and every loss is counted.

// The helpers of these tests are tests too, though clippy's allowance covers only `#[test]`.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, net::UnixDatagram, process::CommandExt as _},
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use anyhow::{Context as _, Result, ensure};
use jotwatch_tests::{
    binary::jotwatch,
    net::{Place, privileged},
    sensor::{self, Sensor, findings, refusal},
    services::{
        http::{Client, get, request},
        nginx, plain,
    },
    soak::{kills::attached, steady::resident},
    stand::{PORT, addr, end, forged, wait},
    tokens,
};
use rustix::process::Signal;
use serde_json::{Value, json};

#[test]
fn a_killed_sensor_leaves_nothing_attached() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let net = Place::new()?;
    net.services(|place| {
        let _service = nginx::start(place, addr())?;
        let mut client = Client::connect(place, addr())?;
        for round in 0..2 {
            let mut sensor = Sensor::start(&net, &[PORT], "")?;
            assert_eq!(attached(&net)?, 2);
            assert_eq!(client.send(&get("/empty", &forged(0)))?.status, 204);
            let event = sensor.wait_for("the alert", |event| event["kind"] == "request")?;
            assert_eq!(event["response"]["status"], 204, "round {round}: {event}");
            sensor.kill()?;
            assert_eq!(client.send(&get("/empty", &forged(0)))?.status, 204);
            // The kernel takes links down behind the end of their process.
            wait("the programs to go", || Ok(attached(&net)? == 0))?;
        }
        let sensor = Sensor::start(&net, &[PORT], "")?;
        end(sensor)?;
        wait("the programs to go", || Ok(attached(&net)? == 0))
    })
}

#[test]
fn a_second_sensor_is_refused() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let net = Place::new()?;
    let first = Sensor::start(&net, &[PORT, PORT + 1], "")?;
    let dir = tempfile::tempdir()?;
    let config = sensor::configuration(dir.path(), "")?;
    let (code, line) = refusal(&mut sensor::run(&config, net.cgroup(), &[PORT + 1, PORT + 2]))?;
    assert_eq!(code, 1);
    assert!(line.contains("port 8081") && line.contains(&first.pid().to_string()), "{line}");
    // The same ports elsewhere, and other ports here, are free.
    let other = Place::new()?;
    let elsewhere = Sensor::start(&other, &[PORT], "")?;
    let beside = Sensor::start(&net, &[PORT + 2], "")?;
    end(first)?;
    end(elsewhere)?;
    end(beside)
}

#[test]
fn a_service_that_dies_in_mid_answer() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let net = Place::new()?;
    net.services(|place| {
        let sensor = Sensor::start(&net, &[PORT], "")?;
        for (path, status) in [("/die", json!(200)), ("/die-first", Value::Null)] {
            let service = plain::start(place, &[PORT])?;
            // Who serves is looked up when the first connection comes; then it may die.
            let hello = format!("/hello-before{path}");
            Client::connect(place, addr())?.send(&get(&hello, &forged(0)))?;
            let event = sensor.wait_for(&hello, |event| event["request"]["path"] == hello)?;
            assert_eq!(event["service"]["pid"], service.pid(), "{event}");
            let mut client = Client::connect(place, addr())?;
            client.write(&get(path, &forged(0)))?;
            if path == "/die" {
                let mut some = [0; 100];
                std::io::Read::read_exact(&mut client.stream(), &mut some)?;
                client.write(b"\r\n")?;
            }
            assert!(client.read_response().is_err());
            let event = sensor.wait_for(path, |event| event["request"]["path"] == path)?;
            let answered = status.as_u64().map_or(0, |status| status as u16);
            assert_eq!(findings(&event), sensor::with_answer(&["alg-none"], answered));
            assert_eq!(event["response"]["status"], status, "{event}");
            assert_eq!(event["service"]["pid"], service.pid(), "{event}");
        }
        sensor.wait_for_status("flows to end", |status| status["pipeline"]["flows_open"] == 0)?;
        sensor.settled(4)?;
        end(sensor)
    })
}

#[test]
fn a_dead_syslog_is_a_warning() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let net = Place::new()?;
    net.services(|place| {
        let _service = nginx::start(place, addr())?;
        let dir = tempfile::tempdir()?;
        let socket = dir.path().join("log");
        let path = socket.display().to_string();
        let syslog = format!("[[sinks.syslog]]\naddress = \"{path}\"");
        let sensor = Sensor::start(&net, &[PORT], &syslog)?;
        assert!(sensor.log().contains(&path), "{}", sensor.log());
        assert_eq!(Client::connect(place, addr())?.send(&get("/empty", &forged(0)))?.status, 204);
        sensor.wait_for("the alert", |event| event["kind"] == "request")?;
        let status = sensor.status()?;
        assert!(status.to_string().contains(&path), "{status:#}");
        let says = |what: &str| sensor.log().lines().any(|l| l.contains(&path) && l.contains(what));
        wait("the log to tell of it", || Ok(says("fails")))?;
        let syslog = UnixDatagram::bind(&socket)?;
        syslog.set_nonblocking(true)?;
        wait("the log to tell that it works", || {
            // What nobody reads has not arrived.
            let _ = syslog.recv(&mut [0; 65_536]);
            Ok(says("works again"))
        })?;
        end(sensor)
    })
}

#[test]
fn mistakes_are_told_in_one_line() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let net = Place::new()?;
    let dir = tempfile::tempdir()?;
    let config = sensor::configuration(dir.path(), "[capture]\nprots = [8080]")?;
    let run = |ports: &[u16]| sensor::run(&config, net.cgroup(), ports);
    let (code, line) = refusal(run(&[PORT]).arg("--prot").arg("80"))?;
    assert!(code == 2 && line.contains("--prot"), "{code} {line}");
    let (code, line) = refusal(&mut run(&[0]))?;
    assert!(code == 2 && line.contains("--port"), "{code} {line}");
    let (code, line) = refusal(&mut run(&[PORT]))?;
    assert_eq!(code, 1);
    let place = format!("{}:", config.display());
    let number =
        fs::read_to_string(&config)?.lines().position(|l| l.contains("prots")).unwrap() + 1;
    assert!(line.contains(&format!("{place}{number}")) && line.contains("prots"), "{line}");

    let config = sensor::configuration(dir.path(), "")?;
    let (code, line) = refusal(&mut sensor::run(&config, net.cgroup(), &[]))?;
    assert!(code == 2 && line.contains("no port"), "{code} {line}");
    let missing = dir.path().join("missing.toml");
    let (code, line) = refusal(&mut sensor::run(&missing, net.cgroup(), &[PORT]))?;
    assert!(code == 1 && line.contains("missing.toml"), "{code} {line}");
    let no_group = net.cgroup().join("missing-group");
    let (code, line) = refusal(&mut sensor::run(&config, &no_group, &[PORT]))?;
    assert!(code == 1 && line.contains("missing-group"), "{code} {line}");
    assert_eq!(attached(&net)?, 0);
    Ok(())
}

#[test]
fn without_privilege_it_says_what_it_needs() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let net = Place::new()?;
    let dir = tempfile::tempdir()?;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777))?;
    let config = sensor::configuration(dir.path(), "")?;
    // Where nobody can reach it. By another process: a file that is open for writing here may be
    // so in the child of another test, too, and can't be run.
    let program = dir.path().join("jotwatch");
    ensure!(Command::new("cp").arg(jotwatch()).arg(&program).status()?.success(), "not copied");
    let mut command = Command::new(&program);
    command.arg("run").arg("--config").arg(config).arg("--cgroup").arg(net.cgroup());
    command.args(["--port", "8080"]).uid(65534).gid(65534).current_dir("/");
    let (code, line) = refusal(&mut command)?;
    assert_eq!(code, 1);
    assert!(line.contains("root") && line.contains("CAP_BPF"), "{line}");
    Ok(())
}

#[test]
fn a_reload_is_whole_or_not_at_all() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let net = Place::new()?;
    net.services(|place| {
        let _service = nginx::start(place, addr())?;
        let sensor = Sensor::start(&net, &[PORT], "[events]\nmin_severity = \"critical\"")?;
        let dir = sensor.config().parent().context("no folder")?.to_owned();
        let good = tokens::hs256(&json!({"sub": "somebody-or-other"}), b"key");
        // Not answered 2xx: that would be another finding.
        let stripped = get("/missing", &tokens::strip_signature(&good));
        let mut client = Client::connect(place, addr())?;
        client.send(&stripped)?;
        sensor.settled(1)?;
        assert_eq!(sensor.events()?.len(), 0);

        sensor::configuration(&dir, "[events]\nmin_severity = \"low\"\n[limits]\nflow = 1")?;
        sensor.signal(Signal::HUP)?;
        wait("the refusal", || Ok(sensor.log().contains("not reloaded")))?;
        assert!(sensor.log().contains("config.toml:"), "{}", sensor.log());
        client.send(&stripped)?;
        sensor.settled(2)?;
        assert_eq!(sensor.events()?.len(), 0);

        sensor::configuration(&dir, "[events]\nmin_severity = \"low\"")?;
        sensor.signal(Signal::HUP)?;
        sensor.wait_for("the reload", |event| event["state"] == "config-reloaded")?;
        client.send(&stripped)?;
        sensor.settled(3)?;
        let events = sensor.events()?;
        assert_eq!(events.len(), 1);
        assert_eq!(findings(&events[0]), ["signature-empty"]);
        sensor::check(&sensor.stop()?, &[good])
    })
}

/// Requests of one kind of client in the overload test.
fn load(kind: usize, number: u64) -> Vec<u8> {
    let token = tokens::hs256(&json!({"sub": number.to_string(), "pad": "p".repeat(300)}), b"key");
    let bearer = format!("Bearer {token}");
    match kind {
        // A body behind the head: both in one segment, and over several records.
        0 => request("POST", "/", &[("Authorization", &bearer)], &[b'b'; 9000]),
        // A head over several records.
        1 => {
            let long = "h".repeat(25_000);
            request("GET", "/", &[("X-Long", &long), ("Authorization", &bearer)], b"")
        }
        _ => get("/", &token),
    }
}

#[test]
fn overload_is_counted_to_the_request() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let net = Place::new()?;
    net.services(|place| {
        let _service = nginx::start(place, addr())?;
        let sensor = Sensor::start(&net, &[PORT], "[capture]\nring_bytes = 65536")?;
        let (clients, each, done) = (6, 1500, AtomicU64::new(0));
        let mut connections = Vec::new();
        for _ in 0..clients {
            connections.push(Client::connect(place, addr())?);
        }
        thread::scope(|scope| -> Result<()> {
            let threads: Vec<_> = connections
                .iter_mut()
                .enumerate()
                .map(|(kind, client)| {
                    let done = &done;
                    scope.spawn(move || -> Result<()> {
                        for number in 0..each {
                            let status = client.send(&load(kind, number))?.status;
                            ensure!(status == 200, "answered {status}");
                            done.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok(())
                    })
                })
                .collect();
            // The reader stands still while some hundred requests pass, and reads again.
            let step = clients as u64 * each / 10;
            for stop in 1..10 {
                let passed = done.load(Ordering::Relaxed);
                let upto = |n| wait("the load", || Ok(done.load(Ordering::Relaxed) >= n));
                if stop % 2 == 1 {
                    sensor.signal(Signal::STOP)?;
                    upto(passed.max(step * stop))?;
                    sensor.signal(Signal::CONT)?;
                } else {
                    upto(step * stop)?;
                }
            }
            for thread in threads {
                thread.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
            }
            Ok(())
        })?;
        let balanced = |status: &Value, sent: u64| {
            let balance = &status["balance"];
            let lost: u64 =
                balance["lost"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
            let (seen, pending) = (balance["seen"].as_u64(), balance["pending"].as_u64());
            balance["requests"] == sent && seen.unwrap() + pending.unwrap() + lost == sent
        };
        // A head whose end was lost is under way until its connection goes on, and one may be the
        // last of each.
        let sent = clients as u64 * each;
        sensor.wait_for_status("requests = seen + pending + lost", |status| {
            balanced(status, sent) && status["balance"]["pending"].as_u64().unwrap() <= 6
        })?;
        for client in &mut connections {
            assert_eq!(client.send(&load(usize::MAX, each))?.status, 200);
        }
        let sent = sent + clients as u64;
        let over = |status: &Value| balanced(status, sent) && status["balance"]["pending"] == 0;
        let status = sensor.wait_for_status("requests = seen + lost", over)?;
        let lost = |cause: &str| status["balance"]["lost"][cause].as_u64().unwrap();
        assert!(lost("ring-full") > 0, "{status:#}");
        assert!(lost("ring-full-cut") > 0, "{status:#}");
        assert!(status["balance"]["seen"].as_u64().unwrap() > 0, "{status:#}");
        assert_eq!(lost("incomplete") + lost("http-malformed") + lost("flow-limit"), 0);
        // And with all of them closed.
        drop(connections);
        let status = sensor.wait_for_status("flows to end", |status| {
            status["pipeline"]["flows_open"] == 0 && over(status)
        })?;
        assert_eq!(status["pipeline"]["requests"], status["balance"]["seen"]);
        // Nothing of it is piled up in the daemon (docs/performance.md, `memory`).
        let most = resident(sensor.pid(), "VmHWM:")?;
        ensure!(most <= 128 << 10, "{most} KiB resident");
        // Losses are told, too.
        let lines = sensor.stop()?;
        let told = sensor::parsed(&lines)?;
        let told = told.iter().find(|event| event["state"] == "loss").context("no loss told")?;
        assert!(told["loss"]["ring-full-requests"].as_u64().unwrap() > 0, "{told}");
        sensor::check(&lines, &[])
    })
}
