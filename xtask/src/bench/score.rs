//! What the score of a request costs: payload, features, behaviour, and a million subjects.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{
    note, sys,
    table::{Table, float, median, mib, thousands},
};

/// Nanoseconds that all features and models may take of a request with a head of 500 bytes.
const TARGET_ALL: f64 = 10_000.0;
/// Of these, what the models' inference may take.
const TARGET_INFERENCE: f64 = 3_000.0;
/// What the profiles of a million subjects may hold.
const TARGET_BYTES: u64 = 512 << 20;

/// Measures the part.
///
/// # Errors
/// If the measuring program fails.
pub(super) fn run(binaries: &Path, quick: bool) -> Result<Table> {
    let (rounds, subjects) = if quick { (5, 100_000) } else { (31, 1_000_000) };
    let before = sys::cpus()?;
    sys::stay_on(&[*before.last().context("no CPU")?])?;
    let measured = measure(binaries, rounds, subjects);
    sys::stay_on(&before)?;
    let (times, crowd) = measured?;

    let count = |of: &Value, name: &str| {
        of.get(name).and_then(Value::as_u64).with_context(|| format!("no figure of {name}"))
    };
    let of = |name: &str| -> Result<f64> {
        let batches = times.get(name).and_then(Value::as_array);
        let batches: Vec<f64> = batches
            .with_context(|| format!("no figures of {name}"))?
            .iter()
            .filter_map(Value::as_f64)
            .collect();
        ensure!(batches.len() == rounds, "{} batches of {name}", batches.len());
        Ok(median(batches))
    };
    let nanos = |time: f64| format!("{} ns", thousands(time));
    let (payload, features, answer) = (of("payload")?, of("features")?, of("answer")?);
    let (behaviour, whole) = (of("behaviour")?, of("whole")?);
    let mut table = Table::new(format!(
        "score: a request with a head of {} bytes without its token, which is known, of subjects past learning; \
         medians of {rounds} batches",
        count(&times, "head_bytes")?
    ));
    table.figure("payload: features and model", nanos(payload));
    table.figure("features and profiles at the head", nanos(features));
    table.figure("  and at the end of the answer", nanos(answer));
    table.judged(
        "behaviour model, most requests passed over early",
        nanos(behaviour),
        "≤ 3,000 ns",
        behaviour <= TARGET_INFERENCE,
    );
    let (asked, requests) = (count(&times, "not_passed_over")?, count(&times, "requests")?);
    table.figure("  not passed over", format!("{asked} of {}", thousands(float(requests))));
    table.judged(
        "  all trees, with reasons where there are any",
        nanos(whole),
        "≤ 3,000 ns",
        whole <= TARGET_INFERENCE,
    );
    let all = payload + features + answer + whole;
    table.judged("all features and models", nanos(all), "≤ 10,000 ns", all <= TARGET_ALL);

    let (known, forgotten) = (count(&crowd, "subjects")?, count(&crowd, "forgotten")?);
    table.judged(
        format!("{} subjects: remembered", thousands(float(subjects))),
        thousands(float(known)),
        "all",
        known == subjects,
    );
    table.judged("  forgotten", forgotten.to_string(), "0", forgotten == 0);
    let (held, resident) = (count(&crowd, "held")?, count(&crowd, "resident")?);
    let most = held.max(resident);
    table.judged(
        "  held by the profiles, or resident more than before",
        mib(most),
        format!("≤ {}", mib(TARGET_BYTES)),
        most <= TARGET_BYTES,
    );
    Ok(table)
}

fn measure(binaries: &Path, rounds: usize, subjects: u64) -> Result<(Value, Value)> {
    note("score, payload, features and behaviour");
    let times = figures(binaries, "bench-score", &["times", "--rounds", &rounds.to_string()])?;
    note(&format!("score, {subjects} subjects"));
    let crowd = figures(binaries, "bench-score", &["crowd", "--subjects", &subjects.to_string()])?;
    Ok((times, crowd))
}

/// What a measuring program prints.
pub(super) fn figures(binaries: &Path, program: &str, args: &[&str]) -> Result<Value> {
    let out = Command::new(binaries.join(program)).args(args).output()?;
    ensure!(
        out.status.success(),
        "{program} ended with {}: {}",
        out.status,
        String::from_utf8_lossy(&out.stderr)
    );
    Ok(serde_json::from_slice(&out.stdout)?)
}
