//! What a good client pays: latency, throughput, and the kernel programs' time.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Result, ensure};

use super::{
    super::{
        note,
        sensor::{Sensor, ran},
        stand::{UNWATCHED, WATCHED},
        sys,
        table::{Table, float, median, thousands},
        token::token,
    },
    attacks::BESIDE,
    client::{Client, good},
    ground::{Ground, RECORDED},
};

/// The median latency of a warm request in `gate` should be no more than this part of the bare one.
const TARGET_LATENCY: f64 = 1.05;
/// Throughput in `gate` should be at least this part of that in `alert`.
const TARGET_THROUGHPUT: f64 = 0.90;
/// The guard's look-ups should take no longer a request, in nanoseconds.
const TARGET_LOOKUPS: f64 = 500.0;
/// Requests at the measured latency.
const REQUESTS: usize = 4_000;

/// One round of one mode.
#[derive(Default)]
struct Measured {
    nginx: Vec<f64>,
    paced: Vec<f64>,
    recorder: Vec<f64>,
    rate: Vec<f64>,
}

/// Measures the three, bare, alert and gate in turn.
pub(super) fn run(ground: &Ground<'_>, table: &mut Table, quick: bool) -> Result<()> {
    let (rounds, seconds) = if quick { (1, 1) } else { (5, 3) };
    let (mut bare, mut alert, mut gate) =
        (Measured::default(), Measured::default(), Measured::default());
    ground.stand.full_load(WATCHED, 1)?;
    for round in 1..=rounds {
        note(&format!("enforce, bare, alert and gate, {round} of {rounds}"));
        measure(ground, &mut bare, seconds)?;
        for (mode, measured) in [("alert", &mut alert), ("gate", &mut gate)] {
            let sensor = ground.sensor(mode, "")?;
            measure(ground, measured, seconds)?;
            ground.stop(sensor)?;
        }
    }
    let ratios = |a: &[f64], b: &[f64]| median(a.iter().zip(b).map(|(a, b)| a / b));
    let micros = |values: &[f64]| format!("{:.1} µs", median(values.iter().copied()));
    for (title, of) in [
        (
            "nginx at 10,000 requests/s",
            (|m: &Measured| m.paced.clone()) as fn(&Measured) -> Vec<f64>,
        ),
        ("nginx, one connection, without a pause", |m| m.nginx.clone()),
        ("a service that does nothing, the same", |m| m.recorder.clone()),
    ] {
        let [bare, alert, gate] = [&bare, &alert, &gate].map(of);
        table.figure(format!("{title}: p50 of a request, bare"), micros(&bare));
        table.figure("  alert", micros(&alert));
        table.figure("  gate, token known", micros(&gate));
        let ratio = ratios(&gate, &bare);
        table.judged(
            "  gate / bare, a round",
            format!("{ratio:.3}"),
            format!("≤ {TARGET_LATENCY}"),
            ratio <= TARGET_LATENCY,
        );
        table.figure("  gate / alert, a round", format!("{:.3}", ratios(&gate, &alert)));
    }
    for (name, measured) in [("bare", &bare), ("alert", &alert), ("gate", &gate)] {
        let rate = median(measured.rate.iter().copied());
        table.figure(format!("nginx at full load: requests/s, {name}"), thousands(rate));
    }
    let ratio = ratios(&gate.rate, &alert.rate);
    table.judged(
        "  gate / alert, a round",
        format!("{ratio:.3}"),
        format!("≥ {TARGET_THROUGHPUT:.2}"),
        ratio >= TARGET_THROUGHPUT,
    );
    Ok(())
}

fn measure(ground: &Ground<'_>, to: &mut Measured, seconds: u32) -> Result<()> {
    to.nginx.push(latency(WATCHED.port())?);
    to.recorder.push(latency(RECORDED)?);
    to.paced.push(ground.stand.paced_load(WATCHED, BESIDE, seconds)?.p50);
    to.rate.push(ground.stand.full_load(WATCHED, seconds)?.rate);
    Ok(())
}

/// The median latency of a request with a known token on one connection, in microseconds.
fn latency(port: u16) -> Result<f64> {
    let mut client = Client::connect(port, 0)?;
    let request = good(&token(0));
    for _ in 0..20 {
        client.ask(&request)?;
    }
    let took: Vec<Duration> = (0..REQUESTS).map(|_| client.ask(&request)).collect::<Result<_>>()?;
    Ok(median(took.iter().map(|took| took.as_secs_f64() * 1e6)))
}

/// What the guard's programs run a request, as the kernel measures it.
pub(super) fn kernel(ground: &Ground<'_>, table: &mut Table, quick: bool) -> Result<()> {
    let (rounds, seconds) = if quick { (1, 1) } else { (5, 2) };
    let measuring = sys::measure_bpf()?;
    let sensor = ground.sensor("gate", "")?;
    let (mut guarded, mut unguarded) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        note(&format!("enforce, guard programs, {round} of {rounds}"));
        guarded.push(sample(ground, &sensor, WATCHED, seconds)?);
        unguarded.push(sample(ground, &sensor, UNWATCHED, seconds)?);
    }
    ground.stop(sensor)?;
    drop(measuring);
    let mean = |samples: &[[f64; 2]], n: usize| median(samples.iter().map(|sample| sample[n]));
    table.figure(
        "guard programs, a request with a known token: ingress, egress",
        format!("{:.0} ns, {:.0} ns", mean(&guarded, 0), mean(&guarded, 1)),
    );
    table.figure(
        "  on a port that is not guarded",
        format!("{:.0} ns, {:.0} ns", mean(&unguarded, 0), mean(&unguarded, 1)),
    );
    let both = |samples: &[[f64; 2]]| mean(samples, 0) + mean(samples, 1);
    let difference = both(&guarded) - both(&unguarded);
    table.judged(
        "  deny and allow look-ups and all around them: the difference",
        format!("{difference:.0} ns"),
        format!("≤ {TARGET_LOOKUPS} ns"),
        difference <= TARGET_LOOKUPS,
    );
    Ok(())
}

/// Nanoseconds a request of the guard's programs: ingress, egress.
fn sample(
    ground: &Ground<'_>,
    sensor: &Sensor,
    addr: SocketAddr,
    seconds: u32,
) -> Result<[f64; 2]> {
    let before = sensor.programs()?;
    let load = ground.stand.full_load(addr, seconds)?;
    let after = sensor.programs()?;
    let mean = |place| {
        let runs = ran(&before, &after, place);
        ensure!(runs.count > 0, "no run of {place}");
        Ok(float(runs.nanoseconds) / float(load.requests.max(1)))
    };
    Ok([mean("guard cgroup_skb ingress")?, mean("guard cgroup_skb egress")?])
}
