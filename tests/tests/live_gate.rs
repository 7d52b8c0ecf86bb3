//! `mode = "hold"` and `mode = "gate"` with the whole sensor: what is forged does not reach the
//! service or its answer does not leave, what is good is answered, and a sensor that is stopped or
//! killed takes nothing down with it.

use std::{io::Write as _, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use jotwatch_tests::{
    net::privileged,
    sensor::findings,
    stand::{Stand, answer, bearer, end, forged, good, request, reset},
};
use rustix::process::Signal;

fn stand() -> Result<Stand> {
    Stand::new(env!("CARGO_BIN_EXE_recording-http"))
}

#[test]
fn a_gate_cuts_what_is_forged_and_tells_of_it() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let stand = stand()?;
    let sensor = stand.sensor("gate")?;
    let mut beside = stand.connect(false)?;
    beside.write_all(bearer(&good()).as_bytes())?;
    let first = answer(&mut beside)?;
    for n in 0..20 {
        let mut stream = stand.connect(n % 2 == 1)?;
        stream.write_all(bearer(&forged(n)).as_bytes())?;
        reset(&mut stream)?;
        beside.write_all(bearer(&good()).as_bytes())?;
        let took = answer(&mut beside)?;
        ensure!(took < Duration::from_millis(150), "{took:?}, the first {first:?}");
    }
    for n in 0..20 {
        let (token, mut stream) = (forged(100 + n), stand.connect(n % 2 == 1)?);
        let text = bearer(&token);
        for piece in text.as_bytes().chunks(1 + n * 7) {
            stream.write_all(piece)?;
        }
        reset(&mut stream)?;
    }
    // The header that all of them have.
    let header = forged(0).split('.').next().context("no header")?.to_owned();
    let forged_seen = stand.seen_with(&header);
    ensure!(forged_seen == 0, "{forged_seen} forged requests were read");
    ensure!(stand.seen_with(&good()) == 21);
    let event = sensor.wait_for("the event", |event| event["kind"] == "request")?;
    ensure!(findings(&event).contains(&"alg-none".to_owned()), "{event}");
    ensure!(event["verdict"] == "block", "{event}");
    let status = sensor.status()?;
    ensure!(status["enforcement"]["guard"]["allowed"].as_u64() >= Some(20), "{status:#}");
    end(sensor)
}

/// What stands behind the last field that is read could be anything.
#[test]
fn a_head_with_more_fields_than_are_read_does_not_pass_a_gate() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let stand = stand()?;
    let sensor = stand.sensor("gate")?;
    let fields = |count| "N: 1\r\n".repeat(count);
    let mut stream = stand.connect(false)?;
    stream.write_all(
        request(&format!("{}Authorization: Bearer {}", fields(500), good())).as_bytes(),
    )?;
    answer(&mut stream)?;
    for (n, (before, count)) in [
        (String::new(), 500),
        (String::new(), 600),
        (format!("Authorization: Bearer {}\r\n", good()), 600),
    ]
    .into_iter()
    .enumerate()
    {
        let mut stream = stand.connect(n % 2 == 1)?;
        let text = request(&format!("{before}{}Cookie: session={}", fields(count), forged(n)));
        stream.write_all(text.as_bytes())?;
        reset(&mut stream).with_context(|| format!("{n}"))?;
    }
    ensure!(stand.seen().len() == 1, "{}", stand.seen().len());
    let event = sensor.wait_for("the event", |event| {
        findings(event).contains(&"http-too-many-headers".to_owned())
    })?;
    ensure!(event["verdict"] == "block", "{event}");
    end(sensor)
}

#[test]
fn no_byte_of_an_answer_to_a_forged_request_leaves_a_held_service() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let stand = stand()?;
    let sensor = stand.sensor("hold")?;
    for n in 0..50 {
        let mut stream = stand.connect(n % 2 == 1)?;
        stream.write_all(bearer(&forged(n)).as_bytes())?;
        reset(&mut stream).with_context(|| format!("{n}"))?;
    }
    let mut stream = stand.connect(false)?;
    for _ in 0..10 {
        stream.write_all(bearer(&good()).as_bytes())?;
        answer(&mut stream)?;
    }
    end(sensor)
}

#[test]
fn a_sensor_that_is_stopped_or_killed_takes_no_service_down() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let stand = stand()?;
    let mut sensor = stand.sensor("gate")?;
    let mut stream = stand.connect(false)?;
    stream.write_all(bearer(&good()).as_bytes())?;
    answer(&mut stream)?;
    sensor.signal(Signal::STOP)?;
    // Not judged before, so it waits until the sensor counts as dead.
    let mut fresh = stand.connect(true)?;
    fresh.write_all(bearer(&forged(7)).as_bytes())?;
    let took = answer(&mut fresh)?;
    ensure!(took < Duration::from_millis(2_600), "stopped: {took:?}");
    stream.write_all(bearer(&good()).as_bytes())?;
    ensure!(answer(&mut stream)? < Duration::from_millis(300));
    sensor.signal(Signal::CONT)?;
    thread::sleep(Duration::from_millis(300));
    let mut again = stand.connect(false)?;
    again.write_all(bearer(&forged(8)).as_bytes())?;
    reset(&mut again)?;
    ensure!(stand.seen_with(&forged(8)) == 0);
    ensure!(sensor.log().contains("without the daemon"), "{}", sensor.log());
    sensor.kill()?;
    for n in 20..40 {
        let mut fresh = stand.connect(false)?;
        fresh.write_all(bearer(&forged(n)).as_bytes())?;
        let took = answer(&mut fresh)?;
        ensure!(took < Duration::from_millis(100), "killed: {took:?}");
    }
    Ok(())
}
