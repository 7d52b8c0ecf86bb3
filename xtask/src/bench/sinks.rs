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
/// (`sinks::QUEUE_BYTES`), what of the journal stands in memory (`journal::TAIL_BYTES`), and what the
/// allocator keeps of what was freed.
const TARGET_GROWN: u64 = (192 + 8 + 24) << 20;

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
         {} bursts of 100,000 different alerts within a second; all arrived, in order",
        thousands(alerts),
        of("kills")?,
        of("rounds")?
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
    table.figure(
        "from a request to its alert handed over, 1,000 a second, p99",
        format!("{} ns", thousands(of("quiet_p99")?)),
    );
    table.figure(
        "  100,000 within a second, nobody takes the alerts, p99",
        format!("{} ns", thousands(of("alone_p99")?)),
    );
    table.figure("  in the burst, p99", format!("{} ns", thousands(of("burst_p99")?)));
    let ratio = of("ratio")?;
    table.judged(
        "  in the burst / 1,000 a second",
        format!("{ratio:.2} times ({:.2} to {:.2})", of("ratio_low")?, of("ratio_high")?),
        "≤ 1.5 times",
        ratio <= TARGET_BURST,
    );
    table.figure(
        "  in the burst / where nobody takes them",
        format!("{:.2} times", of("ratio_alone")?),
    );
    table.figure("a burst took", format!("{:.2} s", of("burst_seconds")?));
    let dropped = of("dropped")?;
    table.judged("dropped", thousands(dropped), "0", dropped == 0.0);
    let grown = of("grown")? as u64;
    table.judged(
        "resident more than before, at most",
        mib(grown),
        mib(TARGET_GROWN),
        grown <= TARGET_GROWN,
    );
    table.figure("a burst is delivered after", format!("{:.1} s", of("drained_seconds")?));
    Ok(table)
}
