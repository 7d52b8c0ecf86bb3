//! What delivery takes and keeps, for `cargo xtask bench sinks`: one JSON object on standard output.
//!
//! `bench-sinks [--part N]` sends 1,000,000 alerts (an `N`th of it) through a rsyslog that is killed
//! ten times, and 100,000 different alerts within a second to another, several times. `bench-sinks
//! bursts` does the second alone.

use std::{env, fs, io, process};

use anyhow::Result;
use jotwatch_tests::{burst::bursts, delivery::through_kills, services::free_loopback};
use serde_json::{Value, json};

/// How often rsyslog is killed.
const KILLS: usize = 10;
/// Alerts a second at a usual rate, before each burst.
const USUAL: u32 = 1_000;
/// Alerts of a burst.
const BURST: u32 = 100_000;
/// Bursts, each beside alerts at a usual rate.
const ROUNDS: usize = 7;

fn main() -> Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let figures = match *words {
        [] => all(1)?,
        ["--part", part] => all(part.parse::<u64>()?.max(1))?,
        ["bursts"] => in_bursts(ROUNDS)?,
        _ => {
            eprintln!("usage: bench-sinks [bursts | --part N]");
            process::exit(2);
        }
    };
    serde_json::to_writer(io::stdout(), &figures)?;
    Ok(())
}

fn all(part: u64) -> Result<Value> {
    // First: what the other leaves resident would hide what it takes.
    let mut figures = in_bursts(if part > 1 { 3 } else { ROUNDS })?;
    let dir = tempfile::tempdir()?;
    let mut seed = [0; 8];
    io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut seed)?;
    let seed = u64::from_le_bytes(seed);
    eprintln!("seed of the kills: {seed}");
    let arrived = through_kills(dir.path(), free_loopback()?, 1_000_000 / part, KILLS, seed)?;
    if let Value::Object(figures) = &mut figures {
        figures.insert("alerts".into(), arrived.alerts.into());
        figures.insert("kills".into(), KILLS.into());
        figures.insert("repeated".into(), arrived.repeated.into());
        figures.insert("torn".into(), arrived.torn.into());
        figures.insert("seconds".into(), arrived.time.as_secs_f64().into());
    }
    Ok(figures)
}

fn in_bursts(rounds: usize) -> Result<Value> {
    let dir = tempfile::tempdir()?;
    let bursts = bursts(dir.path(), free_loopback()?, USUAL, BURST, rounds)?;
    let median = |mut values: Vec<f64>| {
        values.sort_unstable_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    let of = |figure: fn(&jotwatch_tests::burst::Round) -> f64| {
        bursts.rounds.iter().map(figure).collect::<Vec<_>>()
    };
    let ratios = of(|round| round.burst as f64 / round.usual as f64);
    Ok(json!({
        "rounds": rounds,
        "quiet_p99": median(of(|round| round.usual as f64)),
        "alone_p99": median(of(|round| round.alone as f64)),
        "burst_p99": median(of(|round| round.burst as f64)),
        "ratio": median(ratios.clone()),
        "ratio_low": ratios.iter().copied().fold(f64::INFINITY, f64::min),
        "ratio_high": ratios.iter().copied().fold(0.0, f64::max),
        "ratio_alone": median(of(|round| round.burst as f64 / round.alone as f64)),
        "burst_seconds": median(of(|round| round.time.as_secs_f64())),
        "dropped": bursts.dropped,
        "grown": bursts.grown,
        "drained_seconds": bursts.drained.as_secs_f64(),
    }))
}
