//! What enforcement does to attackers, and what it costs everybody else.
//!
//! Beside nginx a service that records every head that it reads stands in the sensor's cgroup: what
//! it did not write down did not reach it.

mod absence;
mod attacks;
mod client;
mod ground;
pub(super) mod lists;
mod speed;

use std::path::Path;

use anyhow::{Result, ensure};

use self::ground::Ground;
use super::{stand::Stand, table::Table};

/// A step measures and adds its rows.
type Step = fn(&Ground<'_>, &mut Table, bool) -> Result<()>;

/// Measures the part. A step that fails is a row, and a target that is missed.
///
/// # Errors
/// If a service does not start, no step has `word` in its name, or every step fails.
pub(super) fn run(
    stand: &Stand,
    binaries: &Path,
    word: Option<&str>,
    quick: bool,
) -> Result<Table> {
    let ground = Ground::start(stand, binaries)?;
    let mut table = Table::new(
        "enforce: kill, hold and gate on two CPUs, IPv4 and IPv6 in turn, over loopback",
    );
    let steps: [(&str, Step); 8] = [
        ("kill", attacks::kill),
        ("denied tokens", attacks::denied),
        ("hold", attacks::hold),
        ("gate", attacks::gate),
        ("the daemon away", |ground, table, _| absence::run(ground, table)),
        ("lists", lists::run),
        ("speed", speed::run),
        ("guard programs", speed::kernel),
    ];
    let wanted = |name: &str| word.is_none_or(|word| name.contains(word));
    let steps: Vec<_> = steps.into_iter().filter(|(name, _)| wanted(name)).collect();
    ensure!(!steps.is_empty(), "no step has \"{}\" in its name", word.unwrap_or_default());
    let mut failed = Vec::new();
    for &(name, step) in &steps {
        if let Err(error) = step(&ground, &mut table, quick) {
            ground.detach()?;
            table.judged(format!("{name}: {error:#}"), "not measured", "", false);
            failed.push(name);
        }
    }
    ensure!(failed.len() < steps.len(), "nothing could be measured: {table}");
    Ok(table)
}
