//! Alerts through a rsyslog that is killed and started anew: what arrives, in which order, and how
//! often.

use std::{
    collections::HashMap,
    fs,
    net::SocketAddr,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use jotwatch::{
    capture::FlowKey,
    event::{
        Body, Event, EventIds, Kind, RequestEvent, RequestView, ResponseView, Verdict, severity,
    },
    finding::{Finding, FindingId},
    journal::Keep,
    sinks::{Delivery, Sinks, SinksConfig, SyslogConfig},
    time::Time,
};

use crate::services::rsyslog::{Rsyslog, Setup};

/// Events that wait for the sink at most: what makes them is slower than what delivers them, but
/// while the receiver is down.
const BACKLOG: u64 = 8_192;
/// How long nothing may arrive before it counts as stuck.
pub(crate) const STUCK: Duration = Duration::from_secs(60);
/// How long a receiver is down at most.
const DOWN: Duration = Duration::from_millis(300);

/// An alert that differs from others by its number: each has its own id.
#[must_use]
pub fn alert(number: u64) -> Event {
    let at = Time::from_unix_nanos(1_795_251_600_000_001_000);
    alert_of(number, at, "/grüße?q=%00\"]\\\t\x01")
}

/// One about a request for this target.
#[must_use]
pub fn alert_of(number: u64, at: Time, target: &str) -> Event {
    let client = "[2001:db8::7]:51234".parse().expect("an address");
    let server = "[2001:db8::1]:8080".parse().expect("an address");
    let flow = FlowKey { client, server, scope: 0 };
    let findings = vec![Finding::new(FindingId::AlgNone, "alg is \"none\"")];
    let request = RequestView::new(
        b"GET",
        target.as_bytes(),
        Some(b"api.example"),
        Some(b"\xff\xfe evil"),
        812,
    );
    Event {
        id: EventIds::new(&[1; 16]).id(Kind::Request, Some(&flow), at, number),
        at,
        severity: severity(&findings),
        body: Body::Request(Box::new(RequestEvent {
            enforcement: None,
            verdict: Verdict::Alert,
            client,
            forwarded_for: None,
            asn: None,
            server,
            service: None,
            exchange: number,
            request,
            response: Some(ResponseView { status: 200, latency_us: 7, bytes: 99 }),
            score: None,
            outcome: "bypass",
            tokens: Vec::new(),
            findings,
        })),
    }
}

/// The id of an event, as a number.
fn id(event: &Event) -> Result<u128> {
    let mut line = Vec::new();
    event.write(&mut line);
    let event = serde_json::from_slice::<serde_json::Value>(&line)?;
    let id = event.get("id").and_then(serde_json::Value::as_str).context("an event has no id")?;
    Ok(u128::from_str_radix(id, 16)?)
}

/// Sinks that are one syslog, whose journal is in `dir`. Nothing is joined.
///
/// # Errors
/// They don't start.
pub fn sinks(syslog: SyslogConfig, dir: &Path) -> Result<Sinks> {
    let config = SinksConfig { stdout: false, syslog: vec![syslog], ..SinksConfig::default() };
    Ok(Sinks::start(&config, &unjoined(dir))?.0)
}

/// Delivery with its journal in `dir`, which joins nothing.
#[must_use]
pub fn unjoined(dir: &Path) -> Delivery {
    let keep = Keep { bytes: 256 << 20, age: Duration::from_secs(3600) };
    Delivery { dir: dir.to_owned(), keep, join: Duration::ZERO, key: [1; 16] }
}

/// What came of [`through_kills`].
#[derive(Clone, Copy, Debug)]
pub struct Arrived {
    /// Alerts that arrived.
    pub alerts: u64,
    /// How many lines more than that.
    pub repeated: u64,
    /// Lines that a kill has torn.
    pub torn: u64,
    /// Until all were confirmed.
    pub time: Duration,
}

/// Random numbers (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % end.max(1)
    }
}

/// Sends `count` alerts over TCP through a rsyslog that is killed `kills` times with SIGKILL, at
/// random, and is started anew up to [`DOWN`] later.
///
/// # Errors
/// rsyslog does not start, or an alert is missing or comes before one with a lower number.
pub fn through_kills(
    dir: &Path,
    address: SocketAddr,
    count: u64,
    kills: usize,
    seed: u64,
) -> Result<Arrived> {
    let setup = Setup { tcp: Some(address), ids_only: true, ..Setup::default() };
    let mut receiver = Some(Rsyslog::start_with(dir, &setup)?);
    let to = format!("tcp://{address}").try_into().map_err(anyhow::Error::msg)?;
    let sinks =
        sinks(SyslogConfig { address: to, ..SyslogConfig::default() }, &dir.join("events"))?;
    let mut random = Random(seed | 1);
    let mut moments = (0..kills).map(|_| random.below(count)).collect::<Vec<_>>();
    moments.sort_unstable_by_key(|&at| std::cmp::Reverse(at));
    let start = Instant::now();
    let mut progress = (0, start);
    let mut sent = 0;
    loop {
        let status = sinks.status().remove(0);
        if status.delivered >= count {
            break;
        }
        if status.delivered > progress.0 {
            progress = (status.delivered, Instant::now());
        }
        ensure!(progress.1.elapsed() < STUCK, "stuck: {status:?}");
        if moments.last().is_some_and(|&at| status.delivered >= at) {
            moments.pop();
            // Anywhere between two confirmations.
            thread::sleep(Duration::from_micros(random.below(20_000)));
            if let Some(receiver) = receiver.take() {
                receiver.crash()?;
            }
            thread::sleep(Duration::from_millis(random.below(DOWN.as_millis() as u64)));
            receiver = Some(Rsyslog::start_with(dir, &setup)?);
        }
        let appended = sinks.delivery().journal.appended;
        if sent < count && sent < status.delivered + BACKLOG && sent < appended + BACKLOG {
            for number in sent..count.min(sent + 256) {
                sinks.send(alert(number));
            }
            sent = count.min(sent + 256);
        } else {
            thread::sleep(Duration::from_millis(1));
        }
    }
    let time = start.elapsed();
    ensure!(moments.is_empty(), "{} kills were left over", moments.len());
    let status = sinks.shutdown(Duration::from_secs(10)).remove(0);
    ensure!(status.dropped == [0; 5] && status.queued == 0, "{status:?}");
    drop(receiver);
    let (repeated, torn) = check(&fs::read_to_string(dir.join("out"))?, count)?;
    ensure!(torn <= kills as u64, "{torn} torn lines");
    Ok(Arrived { alerts: count, repeated, torn, time })
}

/// Repeated and torn lines of a file of ids, where the first lines of all alerts are in order.
fn check(lines: &str, count: u64) -> Result<(u64, u64)> {
    let numbers = (0..count)
        .map(|number| Ok((id(&alert(number))?, number)))
        .collect::<Result<HashMap<_, _>>>()?;
    ensure!(numbers.len() as u64 == count, "ids that are not unique");
    let (mut next, mut repeated, mut torn) = (0, 0, 0);
    for line in lines.lines() {
        let id = u128::from_str_radix(line, 16).ok().filter(|_| line.len() == 32);
        match id.and_then(|id| numbers.get(&id)) {
            Some(&number) if number == next => next += 1,
            Some(&number) if number < next => repeated += 1,
            Some(&number) => anyhow::bail!("{number} came where {next} is missing"),
            None => torn += 1,
        }
    }
    ensure!(next == count, "{next} of {count} arrived");
    Ok((repeated, torn))
}
