//! The daemon is stopped, killed or started again while a service is guarded: what its `fail` says
//! is what happens, and nobody waits for ever.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use jotwatch_tests::{
    net::privileged,
    sensor::Sensor,
    stand::{PORT, Stand, answer, bearer, end, forged, good, reset, wait},
    tokens,
};
use rustix::process::Signal;
use serde_json::json;

fn stand() -> Result<Stand> {
    Stand::new(env!("CARGO_BIN_EXE_recording-http"))
}

/// A token that nobody has seen before.
fn fresh(n: usize) -> String {
    tokens::hs256(&json!({"sub": "somebody-good", "jti": n}), b"a secret of nobody")
}

#[test]
fn closed_holds_without_the_daemon_and_no_longer_than_it_may() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let stand = stand()?;
    let closed =
        "[enforcement]\nmode = \"gate\"\nfail = \"closed\"\nheartbeat_ms = 200\nhold_ms = 600";
    let mut sensor = Sensor::start(&stand.place, &[PORT], closed)?;
    ensure!(sensor.status()?["enforcement"]["fail"] == "closed");
    let mut known = stand.connect(false)?;
    known.write_all(bearer(&good()).as_bytes())?;
    answer(&mut known)?;

    sensor.signal(Signal::STOP)?;
    let mut held = Vec::new();
    for n in 0..4 {
        let mut stream = stand.connect(n % 2 == 1)?;
        stream.write_all(bearer(&fresh(n)).as_bytes())?;
        held.push(stream);
    }
    // Far behind heartbeat and hold, and TCP has sent it again thrice.
    thread::sleep(Duration::from_millis(2_000));
    for stream in &mut held {
        stream.set_read_timeout(Some(Duration::from_millis(10)))?;
        let read = stream.read(&mut [0; 8]);
        ensure!(read.is_err_and(|e| e.kind() == ErrorKind::WouldBlock), "not held");
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    }
    ensure!(stand.seen().len() == 1, "{:?}", stand.seen());
    // What was judged before is not held.
    known.write_all(bearer(&good()).as_bytes())?;
    answer(&mut known)?;

    // The daemon cuts what has waited too long, and judges what has not.
    sensor.signal(Signal::CONT)?;
    for stream in &mut held {
        reset(stream)?;
    }
    let mut stream = stand.connect(false)?;
    stream.write_all(bearer(&fresh(10)).as_bytes())?;
    answer(&mut stream)?;
    ensure!(stand.seen().len() == 3, "{:?}", stand.seen());

    // Killed: the programs stay, until somebody takes them away.
    sensor.kill()?;
    let mut stream = stand.connect(true)?;
    stream.write_all(bearer(&forged(1)).as_bytes())?;
    thread::sleep(Duration::from_millis(1_500));
    ensure!(stand.seen_with(&forged(1)) == 0, "open, though it is to be closed");
    known.write_all(bearer(&good()).as_bytes())?;
    answer(&mut known)?;
    // The next daemon takes over.
    let next = Sensor::start(&stand.place, &[PORT], closed)?;
    let mut again = stand.connect(false)?;
    again.write_all(bearer(&fresh(11)).as_bytes())?;
    answer(&mut again)?;
    let mut bad = stand.connect(false)?;
    bad.write_all(bearer(&forged(2)).as_bytes())?;
    reset(&mut bad)?;
    ensure!(stand.seen_with(&forged(1)) == 0 && stand.seen_with(&forged(2)) == 0);
    end(next)
}

#[test]
fn stopped_or_killed_under_load_every_request_is_answered() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let stand = stand()?;
    let mut sensor = stand.sensor("gate")?;
    let (over, numbers) = (AtomicBool::new(false), AtomicUsize::new(0));
    // When each was answered.
    let client = |n: usize| -> Result<Vec<Instant>> {
        let (mut stream, mut at) = (stand.connect(n % 2 == 1)?, Vec::new());
        while !over.load(Ordering::Relaxed) {
            let token = fresh(numbers.fetch_add(1, Ordering::Relaxed));
            stream.write_all(bearer(&token).as_bytes())?;
            answer(&mut stream)?;
            at.push(Instant::now());
        }
        Ok(at)
    };
    let client = &client;
    let (stopped, killed, answered) = thread::scope(|scope| -> Result<_> {
        let clients: Vec<_> = (0..8).map(|n| scope.spawn(move || client(n))).collect();
        thread::sleep(Duration::from_millis(500));
        let stopped = Instant::now();
        let acted = sensor.signal(Signal::STOP);
        thread::sleep(Duration::from_millis(2_500));
        let killed = Instant::now();
        let acted = acted.and_then(|()| sensor.kill());
        thread::sleep(Duration::from_millis(500));
        over.store(true, Ordering::Relaxed);
        let mut answered = Vec::new();
        for client in clients {
            answered.extend(client.join().map_err(|_| anyhow::anyhow!("a client panicked"))??);
        }
        acted.map(|()| (stopped, killed, answered))
    })?;
    let sent = numbers.load(Ordering::Relaxed);
    ensure!(answered.len() == sent, "{} of {sent}", answered.len());
    ensure!(stand.seen().len() == sent, "{} of {sent} were read", stand.seen().len());
    // The heartbeat is over after 1 s: from then on it flows, far more than while tokens are judged.
    let from = |at: Instant| answered.iter().filter(|&&a| a > at).count();
    let flowed = from(stopped + Duration::from_millis(1_500)) - from(killed);
    ensure!(flowed > 500, "{flowed} in the second that should flow");
    ensure!(from(killed) > 250, "{} behind the kill", from(killed));
    Ok(())
}

#[test]
fn a_restart_lets_nothing_denied_through() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let stand = stand()?;
    // Shorter than it takes the kernel to check the programs of the next daemon.
    let kill = "[enforcement]\nmode = \"kill\"\nheartbeat_ms = 400";
    let sensor = Sensor::start(&stand.place, &[PORT], kill)?;
    let mut stream = stand.connect(false)?;
    stream.write_all(bearer(&forged(3)).as_bytes())?;
    wait("the entry", || Ok(sensor.status()?["enforcement"]["tables"]["denied_tokens"] == 1))?;
    let (over, tried) = (AtomicBool::new(false), AtomicUsize::new(0));
    let sensor = thread::scope(|scope| -> Result<Sensor> {
        let attacker = scope.spawn(|| -> Result<()> {
            let mut streams = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let n = tried.fetch_add(1, Ordering::Relaxed);
                let mut stream = stand.connect(n % 2 == 1)?;
                stream.write_all(bearer(&forged(3)).as_bytes())?;
                streams.push(stream);
                thread::sleep(Duration::from_millis(10));
            }
            Ok(())
        });
        let restarted = sensor.restart(&stand.place, &[PORT]);
        over.store(true, Ordering::Relaxed);
        attacker.join().map_err(|_| anyhow::anyhow!("the attacker panicked"))??;
        restarted
    })?;
    ensure!(tried.load(Ordering::Relaxed) > 20, "the restart was too quick for the attacker");
    let seen = stand.seen_with(&forged(3));
    ensure!(seen == 1, "{} of {tried:?} uses were read", seen - 1);
    let denied = sensor.status()?["enforcement"]["tables"]["denied_tokens"].as_u64();
    ensure!(denied.context("no count")? == 1, "{denied:?}");
    end(sensor)
}
