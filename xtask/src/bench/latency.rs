//! How long it takes from a request to its alert in the file of a syslog server.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{
    note,
    sensor::{Options, Sensor},
    stand::{Stand, WATCHED},
    table::{Table, float, thousands},
};
use crate::{ground::Running, setup};

/// Requests a second beside those that are alerts.
const RATE: f64 = 10_000.0;
/// The pause between two requests that are alerts.
const PAUSE: Duration = Duration::from_millis(10);
/// How often the file is looked at.
const LOOK: Duration = Duration::from_micros(250);
/// How long the last alert may take.
const LAST: Duration = Duration::from_secs(5);
/// 99 of 100 alerts stand in the file after this time.
const TARGET: Duration = Duration::from_millis(20);
/// `{"alg":"none"}` and `{"sub":"probe"}`, unsigned.
const FORGED: &str = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJwcm9iZSJ9.";

/// Measures the part.
///
/// # Errors
/// If nginx, the load, the sensor or rsyslog fails, or an alert is missing.
pub(super) fn run(stand: &Stand, sensor: &Path, quick: bool) -> Result<Table> {
    let seconds = if quick { 3 } else { 20 };
    note("latency");
    let dir = tempfile::Builder::new().prefix("jotwatch-bench-").tempdir()?;
    let _rsyslog = rsyslog(dir.path())?;
    let config = format!(
        "[events]\njoin_seconds = 0\n[[sinks.syslog]]\naddress = \"tcp://127.0.0.1:{PORT}\"\n"
    );
    let options = Options { config: &config, ports: &[WATCHED.port()] };
    let sensor = Sensor::start_with(sensor, stand, &options)?;
    let over = AtomicBool::new(false);
    let out = dir.path().join("out");
    let (load, sent, seen) = thread::scope(|scope| -> Result<_> {
        let tail = scope.spawn(|| watch(&out, &over));
        let probe = scope.spawn(|| probe(&over));
        let load = stand.paced_load(WATCHED, RATE, seconds);
        over.store(true, Relaxed);
        let join = |_| anyhow::anyhow!("a thread has panicked");
        Ok((load?, probe.join().map_err(join)??, tail.join().map_err(join)??))
    })?;
    sensor.stop()?;
    let mut times = Vec::new();
    for (number, sent) in sent.iter().enumerate() {
        let arrived = seen.iter().find(|(seen, _)| *seen == number);
        let (_, arrived) = arrived.with_context(|| format!("alert {number} is missing"))?;
        times.push(arrived.duration_since(*sent));
    }
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
    let shown = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1e3);
    let mut table = Table::new(format!(
        "latency: from before a request is written to its alert's line in rsyslog's file, over TCP, \
         {} alerts in {seconds} s",
        times.len()
    ));
    table.figure("requests/s beside them", thousands(load.rate));
    table.figure("half of them within", shown(at(50)));
    table.judged("99 of 100 within", shown(at(99)), "≤ 20 ms", at(99) <= TARGET);
    table.figure("all within", shown(times.last().copied().unwrap_or_default()));
    table.figure("  requests that were sent", thousands(float(load.requests)));
    Ok(table)
}

/// rsyslog's TCP port, in the namespace of the stand.
const PORT: u16 = 8514;

/// Writes each message into `out` before it reads on.
fn rsyslog(dir: &Path) -> Result<Running> {
    let config = format!(
        r#"
global(workDirectory="{dir}" processInternalMessages="off" maxMessageSize="64k")
main_queue(queue.type="direct")
module(load="imtcp")
input(type="imtcp" address="127.0.0.1" port="{PORT}")
template(name="line" type="list") {{ property(name="msg") constant(value="\n") }}
action(type="omfile" file="{dir}/out" template="line" flushOnTXEnd="on")
"#,
        dir = dir.display()
    );
    fs::write(dir.join("conf"), config)?;
    File::create(dir.join("out"))?;
    let unpacked = setup::services_dir().join("rsyslog/usr/sbin/rsyslogd");
    let is_unpacked = unpacked.is_file();
    let program = Some(unpacked).filter(|_| is_unpacked).or_else(|| setup::find("rsyslogd"));
    let mut command = Command::new(program.context("rsyslogd is not installed")?);
    command.arg("-n").arg("-f").arg(dir.join("conf")).arg("-i").arg(dir.join("pid"));
    if is_unpacked {
        let libraries = setup::services_dir().join("rsyslog/usr/lib");
        let modules = libraries.join(format!("{}-linux-gnu/rsyslog", std::env::consts::ARCH));
        command.arg("-M").arg(modules);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let running = Running(command.spawn()?);
    let end = Instant::now() + LAST;
    while TcpStream::connect(("127.0.0.1", PORT)).is_err() {
        ensure!(Instant::now() < end, "rsyslogd does not listen");
        thread::sleep(Duration::from_millis(10));
    }
    Ok(running)
}

/// Sends requests with a forged token, one at a time; when each was about to be sent.
fn probe(over: &AtomicBool) -> Result<Vec<Instant>> {
    let mut stream = TcpStream::connect(WATCHED)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LAST))?;
    let mut sent = Vec::new();
    let mut answer = [0; 4096];
    while !over.load(Relaxed) {
        thread::sleep(PAUSE);
        let number = sent.len();
        let request = format!(
            "GET /probe-{number}- HTTP/1.1\r\nHost: probe\r\nAuthorization: Bearer {FORGED}\r\n\r\n"
        );
        sent.push(Instant::now());
        stream.write_all(request.as_bytes())?;
        // An answer of nginx is small and comes in one piece.
        ensure!(stream.read(&mut answer)? > 0, "nginx closed the connection");
    }
    Ok(sent)
}

/// When the line of each request was first seen in the file, by its number.
fn watch(path: &Path, over: &AtomicBool) -> Result<Vec<(usize, Instant)>> {
    let mut file = File::open(path)?;
    let (mut text, mut seen) = (Vec::new(), Vec::new());
    let mut end = None;
    loop {
        let len = file.read_to_end(&mut text)?;
        let now = Instant::now();
        while let Some(at) = text.iter().position(|&b| b == b'\n') {
            let line = text.drain(..=at).collect::<Vec<_>>();
            let line = String::from_utf8_lossy(&line);
            if let Some((_, rest)) = line.split_once("/probe-") {
                let number = rest.split('-').next().unwrap_or_default();
                seen.push((number.parse().context("a line without a number")?, now));
            }
        }
        if over.load(Relaxed) && end.is_none() {
            end = Some(now + LAST);
        }
        // Until nothing has come for a while.
        match end {
            Some(end) if now > end => return Ok(seen),
            _ if len == 0 => thread::sleep(LOOK),
            _ => {}
        }
        if seen.len() > 1_000_000 {
            bail!("more lines than there were requests");
        }
    }
}
