//! What being watched costs nginx, and whether the sensor sees all of its requests.

use std::{path::Path, time::Duration};

use anyhow::Result;

use super::{
    note,
    sensor::{Balance, Sensor},
    stand::{Load, Stand, WATCHED},
    table::{Table, float, median, thousands},
};

/// The watched rate should be this part of the bare one.
const TARGET_RATIO: f64 = 0.85;

/// A load under the sensor's eyes.
struct Watched {
    load: Load,
    balance: Balance,
    cpu: Duration,
}

/// Measures the part.
///
/// # Errors
/// If nginx, the load or the sensor fails.
pub(super) fn run(stand: &Stand, sensor: &Path, quick: bool) -> Result<Table> {
    let (pairs, seconds) = if quick { (2, 2) } else { (7, 4) };
    stand.full_load(WATCHED, 2)?;
    let (mut bare, mut watched) = (Vec::new(), Vec::new());
    for pair in 1..=pairs {
        note(&format!("live, bare and watched, {pair} of {pairs}"));
        bare.push(stand.full_load(WATCHED, seconds)?);
        watched.push(watch(stand, sensor, || stand.full_load(WATCHED, seconds))?);
    }
    let bare_rate = median(bare.iter().map(|load| load.rate));
    note("live, at half of the rate");
    let half = watch(stand, sensor, || stand.paced_load(WATCHED, bare_rate / 2.0, 2 * seconds))?;

    let mut table = Table::new(format!(
        "live: nginx with one worker, keep-alive, 600-byte tokens, as fast as wrk goes, on two \
         CPUs; {pairs} pairs of {seconds} s, medians"
    ));
    table.figure("bare: requests/s", thousands(bare_rate));
    table.figure("  99 % answered within", micros(median(bare.iter().map(|load| load.p99))));
    let loads = || watched.iter().map(|run| run.load);
    table.figure("watched: requests/s", thousands(median(loads().map(|load| load.rate))));
    table.figure("  99 % answered within", micros(median(loads().map(|load| load.p99))));
    let ratios: Vec<f64> = bare.iter().zip(loads()).map(|(a, b)| b.rate / a.rate).collect();
    let ratio = median(ratios.iter().copied());
    let low = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let high = ratios.iter().copied().fold(0.0, f64::max);
    table.judged(
        "  watched / bare, a pair",
        format!("{ratio:.3} ({low:.3} to {high:.3})"),
        format!("≥ {TARGET_RATIO}"),
        ratio >= TARGET_RATIO,
    );
    deliver(&mut table, &watched);
    table.figure(
        "half: requests/s, of the bare rate",
        format!("{} ({:.2})", thousands(half.load.rate), half.load.rate / bare_rate),
    );
    table.figure("  99 % answered within", micros(half.load.p99));
    deliver(&mut table, &[half]);
    Ok(table)
}

/// Watches while `load` runs, and until all of it is judged.
fn watch(stand: &Stand, sensor: &Path, load: impl FnOnce() -> Result<Load>) -> Result<Watched> {
    let sensor = Sensor::start(sensor, stand)?;
    let before = sensor.cpu()?;
    let load = load()?;
    let balance = sensor.settled()?;
    let cpu = sensor.cpu()?.saturating_sub(before);
    sensor.stop()?;
    Ok(Watched { load, balance, cpu })
}

/// Rows on what came through.
fn deliver(table: &mut Table, runs: &[Watched]) {
    let requests: u64 = runs.iter().map(|run| run.load.requests).sum();
    let seen: u64 = runs.iter().map(|run| run.balance.seen).sum();
    // What was on its way when the load ended may have come too late for nginx to read.
    let all = runs.iter().all(|run| {
        let surplus = run.balance.seen.checked_sub(run.load.requests);
        surplus.is_some_and(|surplus| surplus <= run.load.connections)
    });
    table.figure("  requests that nginx read", thousands(float(requests)));
    table.judged("  requests that the sensor saw", thousands(float(seen)), "all", all);
    let mut total = Balance { seen, pending: 0, lost: std::collections::BTreeMap::new() };
    for run in runs {
        total.pending += run.balance.pending;
        for (cause, count) in &run.balance.lost {
            *total.lost.entry(cause.clone()).or_default() += count;
        }
    }
    table.judged("  lost", total.lost_in_words(), "0", total.lost.is_empty());
    table.judged("  neither seen nor lost", total.pending.to_string(), "0", total.pending == 0);
    let cpu: f64 = runs.iter().map(|run| run.cpu.as_secs_f64()).sum();
    table.figure("  sensor's CPU time a request", micros(cpu * 1e6 / float(seen.max(1))));
}

fn micros(value: f64) -> String {
    format!("{value:.2} µs")
}
