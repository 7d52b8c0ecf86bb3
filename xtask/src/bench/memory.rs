//! What the sensor has resident with many open connections, well-behaved and hostile.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::{
    note,
    sensor::{Balance, Sensor, count},
    stand::{Stand, WATCHED},
    table::{Table, float, mib, thousands},
    token::token,
};

/// The sensor should never have more resident, whatever arrives.
const TARGET_BYTES: u64 = 128 << 20;
/// Bytes of a head that does not end.
const HALF_HEAD: usize = 60 << 10;
/// Requests that are on their way at a time.
const BATCH: usize = 500;
/// The daemon should never have more resident with a million tokens that are alive.
const TOKENS_TARGET: u64 = 256 << 20;
/// How long an answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// How long the sensor is left to itself before it is measured.
const PAUSE: Duration = Duration::from_secs(2);

/// Measures the part.
///
/// # Errors
/// If nginx or the sensor fails, or so many connections cannot be had.
pub(super) fn run(stand: &Stand, program: &Path, quick: bool) -> Result<Table> {
    let (connections, rounds) = if quick { (2_000, 2) } else { (10_000, 10) };
    let sensor = Sensor::start(program, stand)?;
    let mut table = Table::new(format!(
        "memory: {} connections to nginx at once, each with a token of its own",
        thousands(float(connections as u64))
    ));
    table.figure("resident, before any connection", mib(sensor.resident()?.0));
    table.figure("  kernel memory of its maps", mib(sensor.maps()?));

    note(&format!("memory, {connections} connections, {rounds} requests each"));
    let mut crowd = open(connections)?;
    let requests: Vec<Vec<u8>> = (0..connections).map(request).collect();
    for _ in 0..rounds {
        for (streams, requests) in crowd.chunks_mut(BATCH).zip(requests.chunks(BATCH)) {
            ask(streams, requests)?;
        }
        thread::sleep(Duration::from_millis(500));
    }
    let sent = float((connections * rounds) as u64);
    let balance = sensor.settled()?;
    resident(&mut table, "resident, well-behaved (now; peak)", &sensor)?;
    table.figure("  requests sent", thousands(sent));
    seen_of(&mut table, &balance, sent);
    drop(crowd);

    note(&format!("memory, {connections} heads that do not end"));
    let mut hostile = open(connections)?;
    for (number, stream) in hostile.iter_mut().enumerate() {
        let mut head = request(number);
        head.truncate(head.len() - 2);
        head.extend_from_slice(b"X-Fill: ");
        head.resize(HALF_HEAD, b'a');
        stream.write_all(&head).context("nginx does not read")?;
    }
    thread::sleep(PAUSE);
    resident(&mut table, "resident, hostile (now; peak)", &sensor)?;
    let status = sensor.status()?;
    let evicted = count(&status, "/pipeline/flows_evicted")?;
    table.judged("  connections given up, counted", thousands(float(evicted)), "> 0", evicted > 0);
    table.figure("  requests under way", Balance::of(&status)?.pending.to_string());
    table.figure("  lost", Balance::of(&status)?.lost_in_words());

    // It still works, with all of them open.
    let before = Balance::of(&status)?.seen;
    let mut crowd = open(BATCH)?;
    ask(&mut crowd, &requests[..BATCH])?;
    thread::sleep(PAUSE);
    let seen = Balance::of(&sensor.status()?)?.seen.saturating_sub(before);
    let sent = BATCH as u64;
    table.judged(
        format!("  of {sent} requests after that, seen"),
        seen.to_string(),
        sent.to_string(),
        seen == sent,
    );
    drop((crowd, hostile));
    sensor.stop()?;
    remembered(stand, program, quick, &mut table)?;
    Ok(table)
}

/// A daemon of its own that meets so many tokens, each of them alive to the end.
fn remembered(stand: &Stand, program: &Path, quick: bool, table: &mut Table) -> Result<()> {
    let tokens = if quick { 50_000 } else { 1_000_000 };
    note(&format!("memory, {tokens} distinct tokens"));
    let sensor = Sensor::start(program, stand)?;
    let mut crowd = open(BATCH)?;
    for first in (0..tokens).step_by(BATCH) {
        let upto = (first + BATCH).min(tokens);
        let requests: Vec<Vec<u8>> = (first..upto).map(request).collect();
        ask(&mut crowd[..upto - first], &requests)?;
    }
    let balance = sensor.settled()?;
    let status = sensor.status()?;
    let [known, size, age] = ["tokens", "tokens_forgotten/size", "tokens_forgotten/age"]
        .map(|name| count(&status, &format!("/memory/{name}")));
    let (known, forgotten) = (known?, size? + age?);
    let words = thousands(float(tokens as u64));
    table.judged(
        format!("{words} distinct tokens: remembered, forgotten"),
        format!("{}, {forgotten}", thousands(float(known))),
        "all, 0",
        known == tokens as u64 && forgotten == 0,
    );
    seen_of(table, &balance, float(tokens as u64));
    let (now, peak) = sensor.resident()?;
    table.judged(
        "  resident with them, the whole daemon (now; peak)",
        format!("{}; {}", mib(now), mib(peak)),
        format!("≤ {}", mib(TOKENS_TARGET)),
        peak <= TOKENS_TARGET,
    );
    // The ring's pages are mapped twice; here each counts once.
    table.figure("    its pages counted once (PSS)", mib(sensor.proportional()?));
    drop(crowd);
    sensor.stop()
}

fn resident(table: &mut Table, name: &str, sensor: &Sensor) -> Result<()> {
    let (now, peak) = sensor.resident()?;
    let value = format!("{}; {}", mib(now), mib(peak));
    table.judged(name, value, format!("≤ {}", mib(TARGET_BYTES)), peak <= TARGET_BYTES);
    Ok(())
}

fn seen_of(table: &mut Table, balance: &Balance, sent: f64) {
    let seen = float(balance.seen);
    table.judged("  requests seen", thousands(seen), "all", (seen - sent).abs() < 0.5);
    table.judged("  lost", balance.lost_in_words(), "0", balance.lost.is_empty());
}

fn open(connections: usize) -> Result<Vec<TcpStream>> {
    let connect = |_| {
        let stream = TcpStream::connect(WATCHED)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        stream.set_write_timeout(Some(ANSWER_LIMIT))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    let opened: std::io::Result<Vec<TcpStream>> = (0..connections).map(connect).collect();
    opened.with_context(|| format!("cannot open {connections} connections"))
}

/// Sends one request on each connection, then reads the answers.
fn ask(streams: &mut [TcpStream], requests: &[Vec<u8>]) -> Result<()> {
    for (stream, request) in streams.iter_mut().zip(requests) {
        stream.write_all(request)?;
    }
    for stream in streams {
        let mut answer = [0; 1024];
        let mut length = 0;
        while !answer[..length].ends_with(b"\r\n\r\nhello\n") {
            let read = stream.read(&mut answer[length..])?;
            ensure!(read > 0, "nginx closed: {}", String::from_utf8_lossy(&answer[..length]));
            length += read;
        }
    }
    Ok(())
}

fn request(number: usize) -> Vec<u8> {
    let host: SocketAddr = WATCHED;
    let token = token(number);
    format!("GET / HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n").into_bytes()
}
