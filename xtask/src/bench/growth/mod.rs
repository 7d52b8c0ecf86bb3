//! How a request's cost grows with connections, subjects and denylists, as tables and plots.

mod fit;
mod plot;

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use serde_json::Value;

use self::fit::Fit;
use super::{
    enforce::lists::{in_force, token_keys},
    note,
    score::figures,
    sensor::{Options, Sensor, detach, ran},
    stand::{Stand, WATCHED, ask},
    sys,
    table::{Table, float, median, mib, thousands},
    token::token,
};
use crate::setup;

/// How far above what grows with the logarithm the largest may cost.
const TARGET_ABOVE: f64 = 1.25;

/// A request's cost where there are so many.
#[derive(Clone, Copy, Debug)]
struct Point {
    count: u64,
    nanos: f64,
}

/// Measures the part; denylists only where there is a stand.
///
/// # Errors
/// If the measuring program fails, or nginx, the load or the sensor.
pub(super) fn run(binaries: &Path, stand: Option<&Stand>, quick: bool) -> Result<Table> {
    // A quick run shows that it works: it draws nowhere that counts.
    let dir = match quick {
        true => setup::target_dir().join("bench"),
        false => setup::workspace().join("docs"),
    };
    fs::create_dir_all(&dir)?;
    let mut table = Table::new(
        "growth: processor time a request where there are so many of something; by the logarithm if the \
         largest costs no more than what is fitted to all, a + b log2 n, with some room for caches",
    );
    for (what, most) in [("connections", 100_000), ("subjects", 1_000_000)] {
        let points = generated(binaries, &mut table, what, if quick { 10_000 } else { most })?;
        let title = format!("A request with its answer, whole pipeline, by {what}");
        judge(&mut table, &dir, what, &title, &points)?;
    }
    match stand {
        Some(stand) => {
            let most = if quick { 10_000 } else { 1_000_000 };
            let [kernel, daemon] = denylist(stand, &binaries.join("jotwatch"), &mut table, most)?;
            let title = "A request in the guard's programs, by denied tokens";
            judge(&mut table, &dir, "denylist", title, &kernel)?;
            judge(&mut table, &dir, "denylist-daemon", "The same in the daemon", &daemon)?;
        }
        None => table.figure("denylist", "takes root"),
    }
    table.figure("plots", dir.display().to_string());
    Ok(table)
}

/// From 10 on, two in each power of ten.
fn counts(most: u64) -> Vec<u64> {
    let tens = std::iter::successors(Some(10), |count| Some(count * 10));
    let counts = tens.flat_map(|count| [count, (count as f64 * 10_f64.sqrt()).round() as u64]);
    counts.take_while(|count| *count <= most).collect()
}

/// Generated traffic through the pipeline in one process.
fn generated(binaries: &Path, table: &mut Table, what: &str, most: u64) -> Result<Vec<Point>> {
    let before = sys::cpus()?;
    let mut points = Vec::new();
    sys::stay_on(&[*before.last().context("no CPU")?])?;
    for count in counts(most) {
        note(&format!("growth, {count} {what}"));
        let args = [what, &count.to_string(), "--rounds", "15"];
        let figures = figures(binaries, "bench-growth", &args);
        let figures = figures.inspect_err(|_| drop(sys::stay_on(&before)))?;
        let nanos = figures.get("nanos").and_then(Value::as_array).context("no figures")?;
        let nanos = median(nanos.iter().filter_map(Value::as_f64));
        let resident = figures.get("resident").and_then(Value::as_u64).context("no figure")?;
        table.figure(
            format!("{} {what}: a request, resident in the end", thousands(float(count))),
            format!("{} ns, {}", thousands(nanos), mib(resident)),
        );
        points.push(Point { count, nanos });
    }
    sys::stay_on(&before)?;
    Ok(points)
}

/// A load with a known token under a sensor in `gate` that denies so many others: the guard's
/// programs, and the daemon.
fn denylist(
    stand: &Stand,
    program: &Path,
    table: &mut Table,
    most: u64,
) -> Result<[Vec<Point>; 2]> {
    let dir = tempfile::Builder::new().prefix("jotwatch-bench-").tempdir()?;
    let file = dir.path().join("deny");
    let measuring = sys::measure_bpf()?;
    let (mut kernel, mut daemon) = (Vec::new(), Vec::new());
    for count in [0].into_iter().chain(counts(most).into_iter().step_by(2)) {
        note(&format!("growth, {count} denied tokens"));
        fs::write(&file, token_keys(count))?;
        let config = format!("[enforcement]\nmode = \"gate\"\ndeny_files = [{file:?}]\n");
        let options = Options { config: &config, ports: &[WATCHED.port()] };
        let sensor = Sensor::start_with(program, stand, &options)?;
        in_force(&sensor, count, 0)?;
        ask(WATCHED, "/", &token(0))?;
        stand.full_load(WATCHED, 1)?;
        let (mut guard, mut cpu) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let (runs, before) = (sensor.programs()?, sensor.cpu()?);
            let load = stand.full_load(WATCHED, 1)?;
            sensor.settled()?;
            let requests = float(load.requests.max(1));
            guard.push(float(ran(&runs, &sensor.programs()?, "guard").nanoseconds) / requests);
            cpu.push(sensor.cpu()?.saturating_sub(before).as_secs_f64() * 1e9 / requests);
        }
        let (guard, cpu) = (median(guard), median(cpu));
        table.figure(
            format!("{} denied tokens: guard, daemon, resident", thousands(float(count))),
            format!(
                "{} ns, {} ns, {}",
                thousands(guard),
                thousands(cpu),
                mib(sensor.resident()?.0)
            ),
        );
        sensor.stop()?;
        detach(program, stand.cgroup())?;
        // None stands where the logarithm begins.
        let count = count.max(1);
        kernel.push(Point { count, nanos: guard });
        daemon.push(Point { count, nanos: cpu });
    }
    drop(measuring);
    Ok([kernel, daemon])
}

/// Says whether it grows no faster than the logarithm, and draws it.
fn judge(table: &mut Table, dir: &Path, name: &str, title: &str, points: &[Point]) -> Result<()> {
    let fit = Fit::of(points);
    let above = fit.above(points);
    table.figure(format!("{name}: more for twice as many"), format!("{:+.0} ns", fit.slope));
    table.judged(
        "  the largest, of what is fitted",
        format!("{above:.2}"),
        format!("≤ {TARGET_ABOVE}"),
        above <= TARGET_ABOVE,
    );
    plot::draw(&dir.join(format!("growth-{name}.svg")), title, points, &fit)
}

#[cfg(test)]
mod tests {
    #[test]
    fn counts_are_spread_evenly_by_the_logarithm() {
        assert_eq!(super::counts(1_000), [10, 32, 100, 316, 1_000]);
    }
}
