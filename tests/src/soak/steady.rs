//! The sensor left to itself under load: does it grow, does it lose.

use std::{
    fs,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    load::Load,
    net::Place,
    sensor::Sensor,
    services::{self, http::get, nginx},
    stand::{PORT, addr, forged},
    tokens,
};

/// Connections of the load.
const CONNECTIONS: usize = 8;

/// How long the most is measured that service and sensor do here.
const FULL_FOR: Duration = Duration::from_secs(10);

/// Tokens that come over and over, and their subjects.
const TOKENS: u64 = 2_000;
const SUBJECTS: u64 = 200;

/// Of so many requests one is forged; at full load more, as the journal holds the last 8 MiB of events
/// in memory, too, and these are to be full when its memory is looked at.
const FORGED: u64 = 500;
const FORGED_FULL: u64 = 4;

/// How often memory is looked at.
const SAMPLE: Duration = Duration::from_secs(2);

/// How often what became of it is told.
const TELL: Duration = Duration::from_secs(60);

/// What came of it.
#[derive(Debug)]
pub struct Report {
    /// How long the load was on.
    pub lasted: Duration,
    /// Requests a second at full load, and under way.
    pub full: f64,
    /// Requests a second.
    pub rate: f64,
    /// Requests that were answered, full load included.
    pub sent: u64,
    /// Of them, those that the sensor saw.
    pub seen: u64,
    /// Those that it says it lost, by cause: an object without those that lost none.
    pub lost: Value,
    /// How long it was let warm up before its memory was looked at.
    pub warm_up: Duration,
    /// Kibibytes of its own (`RssAnon`) behind the warm-up, and at the end.
    pub own: [u64; 2],
    /// The most kibibytes that it ever had resident, the ring and its program among them.
    pub most: u64,
    /// Kibibytes that it grows by in an hour: least squares over all samples behind the warm-up.
    pub slope: f64,
    /// Processor time a request of the daemon, in microseconds.
    pub cpu_us: f64,
}

impl Report {
    /// As a JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let [begin, end] = self.own;
        json!({
            "seconds": self.lasted.as_secs(), "full_rate": self.full.round(),
            "rate": self.rate.round(), "sent": self.sent, "seen": self.seen, "lost": self.lost,
            "warm_up_seconds": self.warm_up.as_secs(), "own_kib_begin": begin,
            "own_kib_end": end, "resident_kib_most": self.most,
            "slope_kib_per_hour": self.slope.round(), "daemon_us_per_request": self.cpu_us,
        })
    }
}

/// Runs the sensor for so long at half of what it and its service do at most. `tell` is told every
/// minute of the seconds that are over, of kibibytes of its own and of the requests lost so far.
///
/// # Errors
/// A request was not answered, or the balance does not come out even.
pub fn steady(lasts: Duration, tell: impl Fn(u64, u64, &Value)) -> Result<Report> {
    let net = Place::new()?;
    net.services(|place| {
        let _service = nginx::start(place, addr())?;
        let sensor = Sensor::start(&net, &[PORT], "")?;
        let full = load(place, Duration::ZERO, FORGED_FULL)?;
        let began = Instant::now();
        thread::sleep(FULL_FOR);
        let (answered, took) = (full.answered(), began.elapsed());
        let mut sent = full.end()?;
        let full = answered as f64 / took.as_secs_f64();
        let pace = Duration::from_secs_f64(CONNECTIONS as f64 / (full / 2.0));

        let (began, cpu) = (Instant::now(), cpu(sensor.pid())?);
        let half = load(place, pace, FORGED)?;
        let warm_up = (lasts / 4).min(Duration::from_secs(600));
        let (mut samples, mut tell_due) = (Vec::new(), TELL);
        while began.elapsed() < lasts {
            thread::sleep(SAMPLE.min(lasts.saturating_sub(began.elapsed())));
            ensure!(!half.has_failed(), "{:?}", half.end());
            // Its own memory: the ring's pages count as resident only once each was read through.
            let (at, kib) = (began.elapsed(), resident(sensor.pid(), "RssAnon:")?);
            if at >= warm_up {
                samples.push((at.as_secs_f64(), kib as f64));
            }
            if at >= tell_due {
                tell_due += TELL;
                tell(at.as_secs(), kib, &lost(&sensor.status()?)?);
            }
        }
        let (lasted, answered) = (began.elapsed(), half.end()?);
        sent += answered;
        let status = sensor.wait_for_status("requests = seen + lost", |status| {
            let balance = &status["balance"];
            balance["pending"] == 0 && balance["requests"] == sent
        })?;
        let cpu_us = self::cpu(sensor.pid())?.saturating_sub(cpu) as f64 / 1e3 / answered as f64;
        let first = samples.first().context("too short for a sample")?.1 as u64;
        Ok(Report {
            lasted,
            full,
            rate: answered as f64 / lasted.as_secs_f64(),
            sent,
            seen: status["balance"]["seen"].as_u64().context("no balance")?,
            lost: lost(&status)?,
            warm_up,
            own: [first, resident(sensor.pid(), "RssAnon:")?],
            most: resident(sensor.pid(), "VmHWM:")?,
            slope: slope(&samples) * 3600.0,
            cpu_us,
        })
    })
}

/// Requests that the sensor lost, by cause, where there are any.
fn lost(status: &Value) -> Result<Value> {
    let lost = status["balance"]["lost"].as_object().context("no balance")?;
    let some = |count: &Value| count.as_u64() != Some(0);
    Ok(lost.iter().filter(|(_, count)| some(count)).map(|(k, v)| (k.clone(), v.clone())).collect())
}

fn load(place: &services::Place<'_>, pace: Duration, forged_every: u64) -> Result<Load> {
    // Made before: to sign each one would take more of the processor than all else together.
    let usual: Arc<[Vec<u8>]> = (0..TOKENS)
        .map(|n| {
            let claims = json!({"sub": format!("subject-{}", n % SUBJECTS), "n": n});
            get("/", &tokens::hs256(&claims, b"a secret of nobody"))
        })
        .collect();
    Load::start(place, addr(), CONNECTIONS, pace, move |number| match number {
        n if n % forged_every == 0 => get("/", &forged((n / forged_every % 100) as usize)),
        n => usual[(n % TOKENS) as usize].clone(),
    })
}

/// Kibibytes of a process's memory, by the name of a line of `/proc/PID/status`.
///
/// # Errors
/// It is gone.
pub fn resident(pid: u32, name: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such line")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Nanoseconds of processor time that a process's threads have had.
fn cpu(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        sum += text.split(' ').next().context("not a schedstat")?.parse::<u64>()?;
    }
    Ok(sum)
}

/// The slope of the line through these points that is best by least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let over: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let under: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    if under > 0.0 { over / under } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::slope;

    #[test]
    fn the_slope_of_a_line_is_its_own_and_of_noise_is_none() {
        let line: Vec<_> = (0..100).map(|x| (f64::from(x), 3.0 * f64::from(x) + 7.0)).collect();
        assert!((slope(&line) - 3.0).abs() < 1e-9);
        let flat: Vec<_> = (0..100).map(|x| (f64::from(x), f64::from(x % 2))).collect();
        assert!(slope(&flat).abs() < 1e-3);
        assert!(slope(&[(1.0, 1.0)]).abs() < 1e-9);
    }
}
