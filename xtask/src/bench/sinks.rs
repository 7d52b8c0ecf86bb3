//! What arrives through a receiver that is killed, and what a burst of alerts costs the pipeline.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{
    note,
    score::figures,
    table::{Table, mib, thousands},
};

/// The part of the alerts that may arrive twice.
const TARGET_REPEATED: f64 = 0.01;
/// How many times its usual 99th percentile the handing over of an alert may take in a burst.
const TARGET_BURST: f64 = 1.5;
/// What may be resident more than before in a burst: the queue before the journal
/// (`sinks::QUEUE_MAX` events of 2 to 4 KiB) and what of the journal stands in memory
/// (`journal::TAIL_BYTES`).
const TARGET_GROWN: u64 = 96 << 20;

/// Measures the part.
///
/// # Errors
/// If the measuring program fails: an alert did not arrive, or not in order.
pub(super) fn run(binaries: &Path, quick: bool) -> Result<Table> {
    note("sinks");
    let part = if quick { "20" } else { "1" };
    let figures = figures(binaries, "bench-sinks", &["--part", part])?;
    let of = |name: &str| {
        let figure = figures.get(name).and_then(Value::as_f64);
        figure.with_context(|| format!("no figure of {name}"))
    };
    let (alerts, repeated) = (of("alerts")?, of("repeated")?);
    let mut table = Table::new(format!(
        "sinks: {} alerts over TCP through rsyslog, killed and started anew {} times at random, and \
         100,000 different alerts within a second; all arrived, in order, unless dropped",
        thousands(alerts),
        of("kills")?
    ));
    let share = repeated / alerts;
    let twice = format!("{} ({:.3} %)", thousands(repeated), share * 100.0);
    if quick {
        // As many kills repeat as much of fewer alerts.
        table.figure("arrived twice", twice);
    } else {
        table.judged("arrived twice", twice, "≤ 1 %", share <= TARGET_REPEATED);
    }
    table.figure("lines that a kill has torn", thousands(of("torn")?));
    table.figure("alerts a second", thousands(alerts / of("seconds")?));
    let (quiet, burst) = (of("quiet_p99")?, of("burst_p99")?);
    table.figure("to hand over an alert, 1,000 a second, p99", format!("{} ns", thousands(quiet)));
    table.figure("  in the burst, p99", format!("{} ns", thousands(burst)));
    table.judged(
        "  that is",
        format!("{:.2} times", burst / quiet),
        "≤ 1.5 times",
        burst <= quiet * TARGET_BURST,
    );
    table.figure("the burst took", format!("{:.2} s", of("burst_seconds")?));
    table.figure("dropped and counted", thousands(of("dropped")?));
    let grown = of("grown")? as u64;
    table.judged(
        "resident more than before, at most",
        mib(grown),
        mib(TARGET_GROWN),
        grown <= TARGET_GROWN,
    );
    table.figure("delivered after", format!("{:.1} s", of("drained_seconds")?));
    Ok(table)
}
