//! What being watched costs nginx, and whether the sensor sees all of its requests.

use std::{path::Path, time::Duration};

use anyhow::Result;
use serde_json::Value;

use super::{
    note,
    sensor::{Balance, Sensor, count},
    stand::{Load, Stand, WATCHED},
    table::{Table, float, median, micros, spread, thousands},
};

/// The watched rate should be this part of the bare one.
pub(super) const TARGET_RATIO: f64 = 0.90;
/// The same at half of the bare rate.
const TARGET_HALF: f64 = 0.98;
/// How many times the bare latency 99 of 100 requests should stay below there.
const TARGET_LATENCY: f64 = 1.10;

/// A load under the sensor's eyes.
pub(super) struct Watched {
    pub(super) load: Load,
    balance: Balance,
    /// Whether each request had a token that its issuer's key verifies, and a score.
    judged: bool,
    cpu: Duration,
}

/// Measures the part.
///
/// # Errors
/// If nginx, the load or the sensor fails.
pub(super) fn run(stand: &Stand, sensor: &Path, quick: bool) -> Result<Table> {
    let (pairs, seconds) = if quick { (2, 2) } else { (7, 4) };
    stand.full_load(WATCHED, 2)?;
    let watch = |load: &dyn Fn() -> Result<Load>| -> Result<Watched> {
        let sensor = Sensor::start(sensor, stand)?;
        let watched = watch(&sensor, load)?;
        sensor.stop()?;
        Ok(watched)
    };
    let measure = |what: &str, load: &dyn Fn() -> Result<Load>| -> Result<_> {
        let (mut bare, mut watched) = (Vec::new(), Vec::new());
        for pair in 1..=pairs {
            note(&format!("live, {what}, bare and watched, {pair} of {pairs}"));
            // What comes second in a pair is some hundredths faster, watched or not: each does in turn.
            if pair % 2 == 1 {
                bare.push(load()?);
                watched.push(watch(load)?);
            } else {
                watched.push(watch(load)?);
                bare.push(load()?);
            }
        }
        Ok((bare, watched))
    };
    let mut table = Table::new(format!(
        "live: nginx with one worker, keep-alive, 600-byte tokens, as fast as wrk goes, then due at half \
         of that rate, on two CPUs; {pairs} pairs of {seconds} s each, medians"
    ));
    let (bare, watched) = measure("full load", &|| stand.full_load(WATCHED, seconds))?;
    compare(&mut table, "full", &bare, &watched, [TARGET_RATIO, f64::INFINITY]);
    let rate = median(bare.iter().map(|load| load.rate)) / 2.0;
    let (bare, watched) = measure("half", &|| stand.paced_load(WATCHED, rate, seconds))?;
    compare(&mut table, "half", &bare, &watched, [TARGET_HALF, TARGET_LATENCY]);
    Ok(table)
}

/// Rows on the same load, bare and watched in turn; the targets are of the rate and of latency.
fn compare(
    table: &mut Table,
    name: &str,
    bare: &[Load],
    watched: &[Watched],
    [rate, latency]: [f64; 2],
) {
    let of = |figure: fn(&Load) -> f64| -> [Vec<f64>; 2] {
        [bare.iter().map(figure).collect(), watched.iter().map(|run| figure(&run.load)).collect()]
    };
    let ratios = |[bare, watched]: &[Vec<f64>; 2]| -> Vec<f64> {
        bare.iter().zip(watched).map(|(bare, watched)| watched / bare).collect()
    };
    let (rates, p99s) = (of(|load| load.rate), of(|load| load.p99));
    let parts = of(|load| load.parts_p99.unwrap_or(f64::NAN));
    let busy = of(|load| load.busy.as_secs_f64() * 1e6 / float(load.requests.max(1)));
    let middle = |values: &[f64]| median(values.iter().copied());
    for (who, at) in [("bare", 0), ("watched", 1)] {
        table.figure(format!("{name}, {who}: requests/s"), thousands(middle(&rates[at])));
        table.figure("  99 % answered within", micros(middle(&p99s[at])));
        if latency.is_finite() {
            table.figure("  the same of most tenths of a second", micros(middle(&parts[at])));
        }
        table.figure("  processors' time a request, in all", micros(middle(&busy[at])));
    }
    let ratio = ratios(&rates);
    let met = middle(&ratio) >= rate;
    table.judged("  rate, watched / bare, a pair", spread(&ratio), format!("≥ {rate:.2}"), met);
    let ratio = ratios(&p99s);
    let title = "  latency of 99 %, the same";
    if latency.is_finite() {
        let met = middle(&ratio) <= latency;
        table.judged(title, spread(&ratio), format!("≤ {latency:.2}"), met);
        table.figure("  of most tenths of a second", spread(&ratios(&parts)));
    } else {
        table.figure(title, spread(&ratio));
    }
    deliver(table, watched);
}

/// Watches while `load` runs, and until all of it is judged.
pub(super) fn watch(sensor: &Sensor, load: impl FnOnce() -> Result<Load>) -> Result<Watched> {
    let before = sensor.cpu()?;
    let load = load()?;
    let balance = sensor.settled()?;
    let cpu = sensor.cpu()?.saturating_sub(before);
    let judged = judged(&sensor.status()?)?;
    Ok(Watched { load, balance, judged, cpu })
}

/// Whether all that was seen was validated and scored: each request has a token, all of one subject
/// that a good signature vouches for, there is a model, and nothing was found.
fn judged(status: &Value) -> Result<bool> {
    let of = |pointer| count(status, pointer);
    let seen = of("/balance/seen")?;
    let vouched = of("/profiles/subjects")? == 1 && of("/profiles/others")? == 0;
    let profiled = of("/profiles/known")? + of("/profiles/learning")?;
    let scored = status.pointer("/models/behaviour").is_some();
    Ok(vouched
        && scored
        && profiled == seen
        && of("/pipeline/tokens")? == seen
        && of("/pipeline/suspicious")? == 0)
}

/// Rows on what came through.
pub(super) fn deliver(table: &mut Table, runs: &[Watched]) {
    let requests: u64 = runs.iter().map(|run| run.load.requests).sum();
    let seen: u64 = runs.iter().map(|run| run.balance.seen).sum();
    // What was on its way when the load ended may have come too late for nginx to read.
    let all = runs.iter().all(|run| {
        let surplus = run.balance.seen.checked_sub(run.load.requests);
        surplus.is_some_and(|surplus| surplus <= run.load.connections)
    });
    table.figure("  requests that nginx read", thousands(float(requests)));
    table.judged("  requests that the sensor saw", thousands(float(seen)), "all", all);
    let judged = runs.iter().all(|run| run.judged);
    let words = if judged { "all" } else { "not all" };
    table.judged("    of these, validated and scored", words, "all", judged);
    let mut total = Balance { seen, pending: 0, lost: std::collections::BTreeMap::new() };
    for run in runs {
        total.pending += run.balance.pending;
        for (cause, count) in &run.balance.lost {
            *total.lost.entry(cause.clone()).or_default() += count;
        }
    }
    table.judged("  lost", total.lost_in_words(), "0", total.lost.is_empty());
    table.judged("  neither seen nor lost", total.pending.to_string(), "0", total.pending == 0);
    table.figure("  sensor's CPU time a request", micros(cpu(runs)));
}

/// Microseconds of the sensor's processor time a request.
pub(super) fn cpu(runs: &[Watched]) -> f64 {
    let seen: u64 = runs.iter().map(|run| run.balance.seen).sum();
    let cpu: f64 = runs.iter().map(|run| run.cpu.as_secs_f64()).sum();
    cpu * 1e6 / float(seen.max(1))
}
