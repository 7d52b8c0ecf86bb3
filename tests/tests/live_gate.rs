//! `mode = "hold"` and `mode = "gate"` with the whole sensor: what is forged does not reach the
//! service or its answer does not leave, what is good is answered, and a sensor that is stopped or
//! killed takes nothing down with it.

// The helpers of these tests are tests too, though clippy's allowance covers only `#[test]`.

use std::{
    fs,
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use jotwatch_tests::{
    net::{self, Place, privileged, stay_on_one_cpu},
    sensor::{self, Sensor, findings},
    tokens,
};
use rustix::process::Signal;
use serde_json::json;

const PORT: u16 = 8080;

fn forged(n: usize) -> String {
    tokens::unsigned("none", &json!({"sub": "somebody-or-other", "n": n}))
}

fn good() -> String {
    tokens::hs256(&json!({"sub": "somebody-good", "jti": "one"}), b"a secret of nobody")
}

fn request(token: &str) -> String {
    format!("GET /a HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n")
}

struct Stand {
    place: Place,
    _service: net::Service,
    seen: PathBuf,
    _dir: tempfile::TempDir,
}

impl Stand {
    fn new() -> Result<Self> {
        let place = Place::new()?;
        let dir = tempfile::tempdir()?;
        let seen = dir.path().join("seen");
        let service = place.service(
            env!("CARGO_BIN_EXE_recording-http"),
            &[
                seen.to_str().context("a path")?,
                &format!("127.0.0.1:{PORT}"),
                &format!("[::1]:{PORT}"),
            ],
        )?;
        place.wait_for_port(PORT)?;
        Ok(Self { place, _service: service, seen, _dir: dir })
    }

    fn sensor(&self, mode: &str) -> Result<Sensor> {
        Sensor::start(&self.place, &[PORT], &format!("[enforcement]\nmode = \"{mode}\"\n"))
    }

    /// Heads that the service has read whole and that hold `token`.
    fn seen(&self, token: &str) -> usize {
        let text = fs::read_to_string(&self.seen).unwrap_or_default();
        text.lines().filter(|head| head.contains(token)).count()
    }

    fn connect(&self, v6: bool) -> Result<TcpStream> {
        let ip = if v6 { "::1".parse()? } else { "127.0.0.1".parse()? };
        self.place.connect(SocketAddr::new(ip, PORT))
    }
}

/// Reads one answer; gives how long it took.
fn answer(stream: &mut TcpStream) -> Result<Duration> {
    let began = Instant::now();
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\nok") {
        let mut chunk = [0; 1024];
        let n = stream.read(&mut chunk)?;
        ensure!(n > 0, "closed after {:?}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&chunk[..n]);
    }
    Ok(began.elapsed())
}

/// Reads until the connection is reset; no byte may come before.
fn reset(stream: &mut TcpStream) -> Result<Duration> {
    let began = Instant::now();
    match stream.read(&mut [0; 64]) {
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(began.elapsed()),
        other => anyhow::bail!("not reset: {other:?}"),
    }
}

fn end(sensor: Sensor) -> Result<()> {
    sensor::check(&sensor.stop()?, &[forged(0), good()])
}

#[test]
fn a_gate_cuts_what_is_forged_and_tells_of_it() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    stay_on_one_cpu()?;
    let stand = Stand::new()?;
    let sensor = stand.sensor("gate")?;
    let mut beside = stand.connect(false)?;
    beside.write_all(request(&good()).as_bytes())?;
    let first = answer(&mut beside)?;
    for n in 0..20 {
        let mut stream = stand.connect(n % 2 == 1)?;
        stream.write_all(request(&forged(n)).as_bytes())?;
        reset(&mut stream)?;
        beside.write_all(request(&good()).as_bytes())?;
        let took = answer(&mut beside)?;
        ensure!(took < Duration::from_millis(150), "{took:?}, the first {first:?}");
    }
    for n in 0..20 {
        let (token, mut stream) = (forged(100 + n), stand.connect(n % 2 == 1)?);
        let text = request(&token);
        for piece in text.as_bytes().chunks(1 + n * 7) {
            stream.write_all(piece)?;
        }
        reset(&mut stream)?;
    }
    let forged_seen = stand.seen("eyJhbGciOiJub25lIn0") + stand.seen("bm9uZS");
    ensure!(forged_seen == 0, "{forged_seen} forged requests were read");
    ensure!(stand.seen(&good()) == 21);
    let event = sensor.wait_for("the event", |event| event["kind"] == "request")?;
    ensure!(findings(&event).contains(&"alg-none".to_owned()), "{event}");
    ensure!(event["verdict"] == "block", "{event}");
    let status = sensor.status()?;
    ensure!(status["enforcement"]["guard"]["allowed"].as_u64() >= Some(20), "{status:#}");
    end(sensor)
}

#[test]
fn no_byte_of_an_answer_to_a_forged_request_leaves_a_held_service() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    stay_on_one_cpu()?;
    let stand = Stand::new()?;
    let sensor = stand.sensor("hold")?;
    for n in 0..50 {
        let mut stream = stand.connect(n % 2 == 1)?;
        stream.write_all(request(&forged(n)).as_bytes())?;
        reset(&mut stream).with_context(|| format!("{n}"))?;
    }
    let mut stream = stand.connect(false)?;
    for _ in 0..10 {
        stream.write_all(request(&good()).as_bytes())?;
        answer(&mut stream)?;
    }
    end(sensor)
}

#[test]
fn a_sensor_that_is_stopped_or_killed_takes_no_service_down() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let stand = Stand::new()?;
    let mut sensor = stand.sensor("gate")?;
    let mut stream = stand.connect(false)?;
    stream.write_all(request(&good()).as_bytes())?;
    answer(&mut stream)?;
    sensor.signal(Signal::STOP)?;
    // Not judged before, so it waits until the sensor counts as dead.
    let mut fresh = stand.connect(true)?;
    fresh.write_all(request(&forged(7)).as_bytes())?;
    let took = answer(&mut fresh)?;
    ensure!(took < Duration::from_millis(2_600), "stopped: {took:?}");
    stream.write_all(request(&good()).as_bytes())?;
    ensure!(answer(&mut stream)? < Duration::from_millis(300));
    sensor.signal(Signal::CONT)?;
    thread::sleep(Duration::from_millis(300));
    let mut again = stand.connect(false)?;
    again.write_all(request(&forged(8)).as_bytes())?;
    reset(&mut again)?;
    ensure!(stand.seen(&forged(8)) == 0);
    ensure!(sensor.log().contains("without the daemon"), "{}", sensor.log());
    sensor.kill()?;
    for n in 20..40 {
        let mut fresh = stand.connect(false)?;
        fresh.write_all(request(&forged(n)).as_bytes())?;
        let took = answer(&mut fresh)?;
        ensure!(took < Duration::from_millis(100), "killed: {took:?}");
    }
    Ok(())
}
