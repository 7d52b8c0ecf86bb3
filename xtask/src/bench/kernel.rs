//! Nanoseconds a segment in the kernel programs, as the kernel measures them.

use std::{collections::BTreeMap, net::SocketAddr, path::Path};

use anyhow::Result;

use super::{
    note,
    sensor::{Runs, Sensor},
    stand::{Stand, UNWATCHED, WATCHED},
    sys,
    table::{Table, float, median, thousands},
};

/// The mean over all segments of watched connections should not be above this.
const TARGET_NANOSECONDS: f64 = 1_000.0;
/// What a segment of somebody else's connection may cost.
const TARGET_UNWATCHED: f64 = 100.0;
/// Programs that see segments; the others see changes of connections.
const SEGMENT_PROGRAMS: &str = "cgroup_skb";

/// What each program ran during one load.
type Sample = BTreeMap<String, Runs>;

/// Measures the part.
///
/// # Errors
/// If the kernel does not measure, or nginx, the load or the sensor fails.
pub(super) fn run(stand: &Stand, sensor: &Path, quick: bool) -> Result<Table> {
    let (rounds, seconds) = if quick { (2, 1) } else { (5, 3) };
    let measuring = sys::measure_bpf()?;
    let sensor = Sensor::start(sensor, stand)?;
    let (mut watched, mut unwatched) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        note(&format!("kernel, watched and unwatched port, {round} of {rounds}"));
        watched.push(sample(stand, &sensor, WATCHED, seconds)?);
        unwatched.push(sample(stand, &sensor, UNWATCHED, seconds)?);
    }
    sensor.stop()?;
    drop(measuring);

    let mut table = Table::new(format!(
        "kernel: mean time a run under the same load, measuring included, medians of {rounds} \
         runs of {seconds} s"
    ));
    let nanoseconds = |samples: &[Sample], wanted: &str| {
        median(samples.iter().filter_map(|sample| mean(sample, wanted)))
    };
    let all = nanoseconds(&watched, SEGMENT_PROGRAMS);
    table.judged(
        "watched port, all segments",
        format!("{all:.0} ns"),
        format!("≤ {} ns", thousands(TARGET_NANOSECONDS)),
        all <= TARGET_NANOSECONDS,
    );
    for (title, samples) in [("watched", &watched), ("unwatched", &unwatched)] {
        if title == "unwatched" {
            let all = nanoseconds(samples, SEGMENT_PROGRAMS);
            table.judged(
                "unwatched port, all segments",
                format!("{all:.0} ns"),
                format!("≤ {TARGET_UNWATCHED} ns"),
                all <= TARGET_UNWATCHED,
            );
        }
        for name in samples.first().into_iter().flat_map(BTreeMap::keys) {
            let runs: u64 = samples.iter().filter_map(|s| s.get(name)).map(|r| r.count).sum();
            let value = format!("{:.0} ns", nanoseconds(samples, name));
            table.figure(format!("  {name}, {} runs", thousands(float(runs))), value);
        }
    }
    Ok(table)
}

fn sample(stand: &Stand, sensor: &Sensor, addr: SocketAddr, seconds: u32) -> Result<Sample> {
    let before = sensor.programs()?;
    stand.full_load(addr, seconds)?;
    let mut sample = sensor.programs()?;
    for (name, runs) in &mut sample {
        *runs = runs.since(before.get(name).copied().unwrap_or_default());
    }
    Ok(sample)
}

/// Nanoseconds a run over the programs whose name starts so; none if they did not run.
fn mean(sample: &Sample, name: &str) -> Option<f64> {
    let programs = || sample.iter().filter(|(key, _)| key.starts_with(name)).map(|(_, runs)| runs);
    let count: u64 = programs().map(|runs| runs.count).sum();
    let nanoseconds: u64 = programs().map(|runs| runs.nanoseconds).sum();
    (count > 0).then(|| float(nanoseconds) / float(count))
}
