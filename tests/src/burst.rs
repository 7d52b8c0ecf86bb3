//! What a burst of alerts costs the pipeline, and what it takes in memory.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, ensure};
use jotwatch::{
    config::Config,
    event::Event,
    pipeline::{Output, Pipeline, Settings},
    sinks::{Sinks, SyslogConfig},
    time::Time,
    token::FingerprintKey,
};

use crate::{
    delivery::{STUCK, sinks},
    services::rsyslog::{Rsyslog, Setup},
    tokens::base64url,
    usage::resident,
    wire::Wire,
};

/// How long each part of a round takes.
const PART: Duration = Duration::from_secs(1);

/// 99th percentiles of one round: nanoseconds from a request until its alert is made and handed over.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// At a usual rate.
    pub usual: u64,
    /// At the rate of the burst, where nobody takes the alerts.
    pub alone: u64,
    /// In the burst.
    pub burst: u64,
    /// How long the burst took.
    pub time: Duration,
}

/// What came of [`bursts`].
#[derive(Clone, Debug)]
pub struct Bursts {
    /// One after the other.
    pub rounds: Vec<Round>,
    /// Alerts that no sink got.
    pub dropped: u64,
    /// Bytes that were resident more than before the first burst, at most.
    pub grown: u64,
    /// The longest time until everything of a burst was delivered.
    pub drained: Duration,
}

/// Where a pipeline's events go.
struct To<'a> {
    sinks: Option<&'a Sinks>,
    events: u64,
}

impl Output for To<'_> {
    fn event(&mut self, event: Event) {
        self.events += 1;
        if let Some(sinks) = self.sinks {
            sinks.send(event);
        }
    }
}

/// A pipeline and a connection whose every request is an alert, unlike any other.
struct Source {
    pipeline: Pipeline,
    wire: Wire,
    head: String,
}

impl Source {
    fn new() -> Result<Self> {
        let salt = *b"a salt of 16 byt";
        let settings = Settings::new(&Config::default(), FingerprintKey::new([7; 16]), salt);
        let header = base64url(br#"{"alg":"none","typ":"JWT"}"#);
        let claims = base64url(br#"{"iss":"https://id.example","sub":"mallory","exp":9999999999}"#);
        let head = format!(
            "GET /api/v1/orders/7?page=2 HTTP/1.1\r\nHost: api.example:8080\r\n\
             User-Agent: bench/1.0\r\nAccept: application/json\r\n\
             Authorization: Bearer {header}.{claims}.\r\n\r\n"
        );
        let wire = Wire::new("192.0.2.1:2000".parse()?, "198.51.100.20:8080".parse()?);
        Ok(Self { pipeline: Pipeline::new(settings), wire, head })
    }

    /// So many requests, evenly over [`PART`] or as fast as they go: what each took.
    fn run(&mut self, count: u32, to: &mut To<'_>) -> Result<(Vec<u64>, Duration)> {
        const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        let before = to.events;
        let mut times = Vec::with_capacity(count as usize);
        let start = Instant::now();
        for number in 0..count {
            let due = start + PART * number / count;
            // Waiting by sleeping would measure how a processor wakes up.
            while Instant::now() < due {
                std::hint::spin_loop();
            }
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
            let at = Time::EPOCH + now;
            let begin = Instant::now();
            self.wire.exchange(&mut self.pipeline, to, at, self.head.as_bytes(), ANSWER);
            times.push(begin.elapsed().as_nanos() as u64);
        }
        let told = to.events - before;
        ensure!(told >= count.into(), "{told} alerts of {count} requests");
        Ok((times, start.elapsed()))
    }
}

/// Sends alerts to a rsyslog over TCP, `usual` and then `count` within a second each, and beside these
/// as many to nobody; again and again, so that what else runs on the machine slows all three.
///
/// # Errors
/// rsyslog does not start, or not everything that was not dropped arrives.
pub fn bursts(
    dir: &Path,
    address: SocketAddr,
    usual: u32,
    count: u32,
    rounds: usize,
) -> Result<Bursts> {
    let setup = Setup { tcp: Some(address), ids_only: true, ..Setup::default() };
    let receiver = Rsyslog::start_with(dir, &setup)?;
    let config = SyslogConfig {
        address: format!("tcp://{address}").try_into().map_err(anyhow::Error::msg)?,
        ..SyslogConfig::default()
    };
    let sinks = sinks(config, &dir.join("events"))?;
    let mut source = Source::new()?;
    let mut to = To { sinks: Some(&sinks), events: 0 };
    let mut nobody = To { sinks: None, events: 0 };
    // What is made once is made.
    source.run(usual, &mut to)?;
    drain(&sinks, to.events)?;
    let before = resident()?;
    let mut bursts = Bursts { rounds: Vec::new(), dropped: 0, grown: 0, drained: Duration::ZERO };
    for _ in 0..rounds {
        let (quiet, _) = source.run(usual, &mut to)?;
        drain(&sinks, to.events)?;
        let (alone, _) = source.run(count, &mut nobody)?;
        let (burst, time) = source.run(count, &mut to)?;
        let drained = drain(&sinks, to.events)?;
        bursts.drained = bursts.drained.max(drained.0);
        bursts.grown = bursts.grown.max(drained.1.saturating_sub(before));
        let [usual, alone, burst] = [quiet, alone, burst].map(p99);
        bursts.rounds.push(Round { usual, alone, burst, time });
    }
    bursts.dropped = sinks.delivery().dropped.iter().sum::<u64>();
    let sent = to.events;
    drop(sinks.shutdown(Duration::from_secs(10)));
    drop(receiver);
    let lines = fs::read_to_string(dir.join("out"))?.lines().count() as u64;
    ensure!(lines + bursts.dropped >= sent, "{lines} lines of {sent} events");
    Ok(bursts)
}

/// Until all that was sent is delivered or dropped: how long, and what was resident at most.
fn drain(sinks: &Sinks, sent: u64) -> Result<(Duration, u64)> {
    let (start, mut most) = (Instant::now(), 0);
    loop {
        most = most.max(resident()?);
        let status = sinks.status().remove(0);
        if status.delivered + sinks.delivery().dropped.iter().sum::<u64>() >= sent {
            return Ok((start.elapsed(), most));
        }
        ensure!(start.elapsed() < STUCK, "stuck: {status:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn p99(mut times: Vec<u64>) -> u64 {
    times.sort_unstable();
    times.get(times.len() * 99 / 100).copied().unwrap_or_default()
}
