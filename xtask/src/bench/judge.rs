//! What a token costs: one that was seen before, new ones, and a million of them at once.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{
    note, sys,
    table::{Table, float, median, mib, thousands},
};

/// Nanoseconds that a token which was seen before may cost, and a new one with HS256.
const TARGET_SEEN: f64 = 1_000.0;
const TARGET_HS256: f64 = 5_000.0;
/// How many times the crypto library's bare verification a new token with RS256 may cost.
const TARGET_RS256: f64 = 1.3;
/// What may be resident with all of the crowd's tokens remembered.
const TARGET_BYTES: u64 = 256 << 20;

/// Measures the part.
///
/// # Errors
/// If the measuring program fails.
pub(super) fn run(binaries: &Path, quick: bool) -> Result<Table> {
    let (rounds, tokens) = if quick { (5, 100_000) } else { (31, 1_000_000) };
    let before = sys::cpus()?;
    sys::stay_on(&[*before.last().context("no CPU")?])?;
    let measured = measure(binaries, rounds, tokens);
    sys::stay_on(&before)?;
    let (times, crowd) = measured?;

    let mut table = Table::new(format!(
        "token: 600 characters, extracted from a request and judged; medians of {rounds} batches"
    ));
    let of = |name: &str| -> Result<(f64, String)> {
        let batches: Vec<f64> = list(&times, name)?.iter().filter_map(Value::as_f64).collect();
        ensure!(batches.len() == rounds, "{} batches of {name}", batches.len());
        let middle = median(batches.iter().copied());
        let lowest = batches.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = batches.iter().copied().fold(0.0, f64::max);
        let spoken =
            format!("{} ns ({} to {})", thousands(middle), thousands(lowest), thousands(highest));
        Ok((middle, spoken))
    };
    let (seen, spoken) = of("seen")?;
    table.judged("seen before", spoken, "≤ 1,000 ns", seen <= TARGET_SEEN);
    let (new, spoken) = of("new_hs256")?;
    table.judged("new, HS256", spoken, "≤ 5,000 ns", new <= TARGET_HS256);
    table.figure("  bare HMAC of the library", of("bare_hs256")?.1);
    table.figure("new, RS256 with 2048 bits", of("new_rs256")?.1);
    table.figure("  bare verification of the library", of("bare_rs256")?.1);
    // Batch by batch: what slowed one of a pair down slowed the other as well.
    let ratio = median(
        list(&times, "new_rs256")?
            .iter()
            .zip(list(&times, "bare_rs256")?)
            .filter_map(|(new, bare)| Some(new.as_f64()? / bare.as_f64()?)),
    );
    table.judged(
        "  new / bare",
        format!("{ratio:.2}"),
        format!("≤ {TARGET_RS256}"),
        ratio <= TARGET_RS256,
    );

    let count = |name: &str| crowd.get(name).and_then(Value::as_u64).context("a figure is missing");
    let (remembered, forgotten) = (count("remembered")?, count("forgotten")?);
    table.judged(
        format!("{} tokens within their lifetime: remembered", thousands(float(tokens))),
        thousands(float(remembered)),
        "all",
        remembered == tokens,
    );
    table.judged("  forgotten", forgotten.to_string(), "0", forgotten == 0);
    let peak = count("peak")?;
    table.judged(
        "  resident at most, the pipeline alone",
        mib(peak),
        format!("≤ {}", mib(TARGET_BYTES)),
        peak <= TARGET_BYTES,
    );
    table.figure(
        "  a request with a new token",
        format!("{} ns", thousands(float(count("nanos")?))),
    );
    Ok(table)
}

fn measure(binaries: &Path, rounds: usize, tokens: u64) -> Result<(Value, Value)> {
    note("token, seen before and new");
    let times = figures(binaries, &["times", "--rounds", &rounds.to_string()])?;
    note(&format!("token, {tokens} at once"));
    let crowd = figures(binaries, &["crowd", "--tokens", &tokens.to_string()])?;
    Ok((times, crowd))
}

fn figures(binaries: &Path, args: &[&str]) -> Result<Value> {
    let out = Command::new(binaries.join("bench-token")).args(args).output()?;
    ensure!(
        out.status.success(),
        "bench-token ended with {}: {}",
        out.status,
        String::from_utf8_lossy(&out.stderr)
    );
    Ok(serde_json::from_slice(&out.stdout)?)
}

fn list<'v>(figures: &'v Value, name: &str) -> Result<&'v Vec<Value>> {
    figures.get(name).and_then(Value::as_array).with_context(|| format!("no figures of {name}"))
}
