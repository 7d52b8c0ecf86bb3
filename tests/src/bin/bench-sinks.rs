//! What delivery takes and keeps, for `cargo xtask bench sinks`: one JSON object on standard output.
//!
//! `bench-sinks [--part N]` sends 1,000,000 alerts (an `N`th of it) through a rsyslog that is killed
//! ten times, and 100,000 different alerts within a second to another.

use std::{env, fs, io, process};

use anyhow::Result;
use jotwatch_tests::{
    delivery::{burst, through_kills},
    services::free_loopback,
};
use serde_json::json;

/// How often rsyslog is killed.
const KILLS: usize = 10;
/// Alerts at a usual rate, before the burst.
const USUAL: u64 = 5_000;

fn main() -> Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let part = match *words {
        [] => 1,
        ["--part", part] => part.parse::<u64>()?.max(1),
        _ => {
            eprintln!("usage: bench-sinks [--part N]");
            process::exit(2);
        }
    };
    let dir = tempfile::tempdir()?;
    let (kills, alerts) = (dir.path().join("kills"), dir.path().join("burst"));
    fs::create_dir(&kills)?;
    fs::create_dir(&alerts)?;
    let mut seed = [0; 8];
    io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut seed)?;
    let seed = u64::from_le_bytes(seed);
    eprintln!("seed of the kills: {seed}");
    // First: what the other leaves resident would hide what it takes.
    let burst = burst(&alerts, free_loopback()?, USUAL, 100_000)?;
    let arrived = through_kills(&kills, free_loopback()?, 1_000_000 / part, KILLS, seed)?;
    let figures = json!({
        "alerts": arrived.alerts,
        "kills": KILLS,
        "repeated": arrived.repeated,
        "torn": arrived.torn,
        "seconds": arrived.time.as_secs_f64(),
        "quiet_p99": burst.quiet_p99,
        "burst_p99": burst.burst_p99,
        "burst_seconds": burst.burst_time.as_secs_f64(),
        "dropped": burst.dropped,
        "grown": burst.grown,
        "drained_seconds": burst.drained.as_secs_f64(),
    });
    serde_json::to_writer(io::stdout(), &figures)?;
    Ok(())
}
