//! What the daemon gives up is given up, for every one of its threads, and it can still do what it
//! is there for: a reload brings the guard's programs in, connections are reset in another network
//! namespace. And systemd hears of it what it asks for.

use std::{fs, os::unix::net::UnixDatagram, path::Path, process::Stdio, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use jotwatch_tests::{
    net::{Place, privileged},
    sensor::{self, Sensor},
    services::{
        http::{Client, get},
        plain,
    },
    stand::{PORT, addr, end, forged, good, wait},
};
use rustix::process::{Pid, Signal, kill_process};

/// CAP_DAC_READ_SEARCH, CAP_NET_ADMIN, CAP_SYS_PTRACE, CAP_PERFMON, CAP_BPF (linux/capability.h).
const KEPT: u64 = 1 << 2 | 1 << 12 | 1 << 19 | 1 << 38 | 1 << 39;

/// CAP_SYS_ADMIN, permitted and not in effect.
const AT_HAND: u64 = 1 << 21;

/// The lines of every thread's status that begin so.
fn of_threads(pid: u32, name: &str) -> Result<Vec<String>> {
    let mut values = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end meanwhile.
        let Ok(status) = fs::read_to_string(task?.path().join("status")) else { continue };
        let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        values.push(value.context("no such line")?.trim().to_owned());
    }
    ensure!(!values.is_empty(), "no thread");
    Ok(values)
}

fn all(pid: u32, name: &str, due: &str) -> Result<()> {
    let values = of_threads(pid, name)?;
    ensure!(values.iter().all(|value| value == due), "{name}: {values:?}, not {due}");
    Ok(())
}

fn is_confined(pid: u32) -> Result<()> {
    let bound = u64::from_str_radix(&of_threads(std::process::id(), "CapPrm")?[0], 16)?;
    all(pid, "CapEff", &format!("{:016x}", KEPT & bound))?;
    all(pid, "CapPrm", &format!("{:016x}", (KEPT | AT_HAND) & bound))?;
    all(pid, "CapInh", "0000000000000000")?;
    all(pid, "NoNewPrivs", "1")?;
    all(pid, "Seccomp", "2")
}

#[test]
fn what_is_given_up_is_not_missed_at_a_reload() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let net = Place::new()?;
    net.services(|place| {
        let _service = plain::start(place, &[PORT])?;
        let sensor = Sensor::start(&net, &[PORT], "[enforcement]\nmode = \"alert\"\n")?;
        let status = sensor.wait_for_status("the confinement", |status| {
            status.pointer("/confinement/system_calls") == Some(&true.into())
        })?;
        ensure!(status["confinement"]["asked"] == true, "{status}");
        ensure!(status["confinement"]["at_hand"][0] == "CAP_SYS_ADMIN", "{status}");
        let lacking = status["confinement"]["lacking"].to_string().contains("Landlock");
        ensure!(status["confinement"]["files"] == !lacking, "{status}");
        is_confined(sensor.pid())?;
        ensure!(sensor.log().contains("what the daemon may do: "), "{}", sensor.log());
        // Told of, with the service's name: /proc of another's process is read.
        let mut client = Client::connect(place, addr())?;
        ensure!(client.send(&get("/", &forged(0)))?.status == 200, "it is not answered");
        let event = sensor.wait_for("the alert", |event| event["kind"] == "request")?;
        ensure!(event["service"]["command"].is_string(), "{event}");
        // A socket of another network namespace is reset.
        let text = fs::read_to_string(sensor.config())?;
        fs::write(sensor.config(), text.replace("alert", "kill"))?;
        sensor.signal(Signal::HUP)?;
        sensor.wait_for_status("the mode", |status| status["mode"] == "kill")?;
        let mut client = Client::connect(place, addr())?;
        let _ = client.send(&get("/", &forged(1)));
        let event = sensor.wait_for("the cut", |event| event["verdict"] == "block")?;
        ensure!(event["enforcement"]["action"] == "reset", "{event}");
        is_confined(sensor.pid())?;
        // The guard is loaded and pinned, and set up anew by a reload.
        fs::write(sensor.config(), text.replace("alert", "gate"))?;
        let sensor = sensor.restart(&net, &[PORT])?;
        sensor.wait_for_status("the confinement", |status| {
            status.pointer("/confinement/system_calls") == Some(&true.into())
        })?;
        is_confined(sensor.pid())?;
        fs::write(sensor.config(), text.replace("alert", "gate\"\nhold_ms = \"1500"))?;
        sensor.signal(Signal::HUP)?;
        wait("the refusal", || Ok(sensor.log().contains("hold_ms")))?;
        fs::write(
            sensor.config(),
            text.replace("mode = \"alert\"", "mode = \"gate\"\nhold_ms = 1500"),
        )?;
        sensor.signal(Signal::HUP)?;
        sensor.wait_for("the reload", |event| event["state"] == "config-reloaded")?;
        let mut client = Client::connect(place, addr())?;
        ensure!(client.send(&get("/", &forged(2))).is_err(), "a forged one is answered");
        let mut client = Client::connect(place, addr())?;
        ensure!(client.send(&get("/", &good()))?.status == 200, "a good one is cut");
        is_confined(sensor.pid())?;
        end(sensor)
    })
}

#[test]
fn it_can_be_turned_off() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let net = Place::new()?;
    let dir = tempfile::tempdir()?;
    let config = sensor::configuration(dir.path(), "")?;
    let text = fs::read_to_string(&config)?;
    fs::write(&config, text.replace("[daemon]\n", "[daemon]\nconfine = false\n"))?;
    let told = told(&net, &config, |pid, _| {
        all(pid, "Seccomp", "0")?;
        all(pid, "NoNewPrivs", "0")?;
        all(pid, "CapEff", &of_threads(std::process::id(), "CapEff")?[0])
    })?;
    ensure!(told.first().is_some_and(|first| first.starts_with("READY=1\n")), "{told:?}");
    Ok(())
}

#[test]
fn systemd_is_told_of_start_life_reload_and_end() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let net = Place::new()?;
    let dir = tempfile::tempdir()?;
    let config = sensor::configuration(dir.path(), "")?;
    let told = told(&net, &config, |pid, wait| {
        wait("WATCHDOG=1")?;
        wait("WATCHDOG=1")?;
        let pid = Pid::from_raw(pid.cast_signed()).context("no pid")?;
        kill_process(pid, Signal::HUP)?;
        wait("RELOADING=1\nMONOTONIC_USEC=")?;
        wait("READY=1\n")
    })?;
    ensure!(told[0].starts_with("READY=1\nSTATUS=watching port [8080]\n"), "{told:?}");
    ensure!(told.iter().any(|lines| lines.starts_with("STOPPING=1")), "{told:?}");
    Ok(())
}

/// Runs the sensor under a manager that listens, does `f` when it is ready, ends it, and gives what
/// the manager was told.
fn told(
    net: &Place,
    config: &Path,
    f: impl FnOnce(u32, &mut dyn FnMut(&str) -> Result<()>) -> Result<()>,
) -> Result<Vec<String>> {
    let socket = config.with_file_name("notify.sock");
    let manager = UnixDatagram::bind(&socket)?;
    manager.set_read_timeout(Some(sensor::DEADLINE))?;
    let mut child = sensor::run(config, net.cgroup(), &[PORT])
        .env("NOTIFY_SOCKET", &socket)
        .env("WATCHDOG_USEC", "200000")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let mut told = Vec::new();
    let mut wait = |due: &str| loop {
        let mut buffer = [0; 512];
        let len = manager.recv(&mut buffer).with_context(|| format!("not told: {due}"))?;
        let lines = String::from_utf8_lossy(&buffer[..len]).into_owned();
        let is_due = lines.starts_with(due);
        told.push(lines);
        if is_due {
            return Ok(());
        }
    };
    let result = wait("READY=1").and_then(|()| f(child.id(), &mut wait));
    let pid = Pid::from_raw(child.id().cast_signed()).context("no pid")?;
    kill_process(pid, Signal::TERM)?;
    let ended = if result.is_ok() { wait("STOPPING=1") } else { Ok(()) };
    for _ in 0..600 {
        if let Some(status) = child.try_wait()? {
            result.and(ended)?;
            ensure!(status.success(), "{status}");
            return Ok(told);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill()?;
    child.wait()?;
    bail!("it does not end")
}
