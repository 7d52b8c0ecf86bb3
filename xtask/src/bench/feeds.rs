//! What feeds of a million entries take, and what it costs to ask them.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{
    note,
    score::figures,
    table::{Table, float, mib, thousands},
};

/// Measures the part.
///
/// # Errors
/// If the measuring program fails, or the feeds don't know what they hold.
pub(super) fn run(binaries: &Path, quick: bool) -> Result<Table> {
    note("feeds");
    let part = if quick { "10" } else { "1" };
    let figures = figures(binaries, "bench-feeds", &["--part", part])?;
    let of = |name: &str| {
        let figure = figures.get(name).and_then(Value::as_f64);
        figure.with_context(|| format!("no figure of {name}"))
    };
    let mut table = Table::new(format!(
        "feeds: {} entries in three plain lists, addresses, networks and domains 10 : 1 : 1; \
         processor time",
        thousands(of("entries")?)
    ));
    let (bytes, held) = (of("bytes")?, of("held")?);
    table.figure("bytes of the lists", mib(bytes as u64));
    table.figure("to read them and make their tables", format!("{:.2} s", of("load")? / 1e9));
    table.figure("resident more than before", mib(held as u64));
    table.figure("  bytes an entry", thousands(float((held / of("entries")?) as u64)));
    for (name, time, share, least) in [
        ("an address that is listed", "address_hit", "address_hits", 1.0),
        ("an address that is not", "address_miss", "address_misses", 0.5),
        ("a domain that is listed", "domain_hit", "domain_hits", 1.0),
        ("a domain that is not", "domain_miss", "domain_misses", 1.0),
    ] {
        let share = of(share)?;
        ensure!(share >= least, "{name}: {share} of the answers");
        table.figure(
            format!("to ask all three of them about {name}"),
            format!("{} ns", thousands(of(time)?)),
        );
    }
    Ok(table)
}
