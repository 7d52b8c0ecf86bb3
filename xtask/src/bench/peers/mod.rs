//! The same load on the same nginx: alone, watched, and behind or beside what else looks at
//! requests.

mod servers;

use std::{net::SocketAddr, path::Path, process::Command};

use anyhow::{Context as _, Result};

use self::servers::{HAPROXY, HaProxy, MODSECURITY, ModSecurity, Packets, Tcpdump};
use super::{
    live::{TARGET_RATIO, Watched, cpu, deliver, watch},
    note,
    replay::first_line,
    sensor::{Options, Sensor, detach, ran},
    stand::{self, Load, Stand, WATCHED, ask},
    sys,
    table::{Table, float, median, micros, spread, thousands},
    token::token,
};
use crate::setup;

/// Microseconds that a request with a known token may cost in all: kernel programs and daemon.
const TARGET_CPU: f64 = 5.0;

/// What one of them measured, round by round.
struct Peer {
    name: &'static str,
    loads: Vec<Load>,
    /// The watched rate should be this part of the bare one.
    target: Option<f64>,
}

/// Measures the part.
///
/// # Errors
/// If a peer does not start, does not do its work, or the load fails.
pub(super) fn run(stand: &Stand, sensor: &Path, quick: bool) -> Result<Table> {
    let (rounds, seconds) = if quick { (2, 2) } else { (7, 4) };
    let modsecurity = ModSecurity::start(stand)?;
    let haproxy = HaProxy::start(stand)?;
    let versions = [modsecurity.version()?, haproxy.version()?];
    let full = |addr: SocketAddr| stand.full_load(addr, seconds);
    let watched = |mode: &str| -> Result<Watched> {
        let config = format!("[enforcement]\nmode = \"{mode}\"\n");
        let options = Options { config: &config, ports: &[WATCHED.port()] };
        let running = Sensor::start_with(sensor, stand, &options)?;
        // Its token is known from here on.
        ask(WATCHED, "/", &token(0))?;
        let watched =
            watch(&running, || full(WATCHED)).with_context(|| format!("in mode {mode}"))?;
        running.stop()?;
        detach(sensor, stand.cgroup())?;
        Ok(watched)
    };
    let peer = |name, target| Peer { name, loads: Vec::new(), target };
    let mut bare = peer("nginx, bare", None);
    let mut alert = peer("watched by jotwatch, alert", Some(TARGET_RATIO));
    let mut gate = peer("watched by jotwatch, gate, token known", Some(TARGET_RATIO));
    let mut modsec = peer("nginx with ModSecurity and CRS", None);
    let mut proxied = peer("behind HAProxy with jwt_verify", None);
    let mut dumped = peer("tcpdump -s 0 writing a file", None);
    let (mut alerts, mut gates) = (Vec::new(), Vec::new());
    let mut packets = Packets::default();
    full(WATCHED)?;
    for round in 1..=rounds {
        note(&format!("peers, {round} of {rounds}"));
        bare.loads.push(full(WATCHED)?);
        alerts.push(watched("alert")?);
        gates.push(watched("gate")?);
        modsec.loads.push(full(MODSECURITY).context("through ModSecurity")?);
        proxied.loads.push(full(HAPROXY).context("through HAProxy")?);
        let tcpdump = Tcpdump::start()?;
        dumped.loads.push(full(WATCHED)?);
        let round = tcpdump.stop()?;
        packets.captured += round.captured;
        packets.dropped += round.dropped;
    }
    alert.loads.extend(alerts.iter().map(|run| run.load));
    gate.loads.extend(gates.iter().map(|run| run.load));

    let mut table = Table::new(format!(
        "peers: nginx with one worker, wrk with 64 keep-alive connections, 600-byte tokens, all on two \
         CPUs; {rounds} rounds of {seconds} s each in turn, medians"
    ));
    let rates = |peer: &Peer| peer.loads.iter().map(|load| load.rate).collect::<Vec<_>>();
    let of_bare = rates(&bare);
    for peer in [&bare, &alert, &gate, &modsec, &proxied, &dumped] {
        let rates = rates(peer);
        table
            .figure(format!("{}: requests/s", peer.name), thousands(median(rates.iter().copied())));
        let p99 = median(peer.loads.iter().map(|load| load.p99));
        table.figure("  99 % answered within", micros(p99));
        let ratios: Vec<f64> = rates.iter().zip(&of_bare).map(|(rate, bare)| rate / bare).collect();
        match peer.target {
            Some(target) => {
                let met = median(ratios.iter().copied()) >= target;
                table.judged("  of bare, a round", spread(&ratios), format!("≥ {target:.2}"), met);
            }
            None => table.figure("  of bare, a round", spread(&ratios)),
        }
        match peer.name {
            name if name == alert.name => deliver(&mut table, &alerts),
            name if name == gate.name => deliver(&mut table, &gates),
            name if name == dumped.name => {
                let all = packets.captured + packets.dropped;
                table.figure(
                    "  packets that it dropped, of all",
                    format!("{} of {}", thousands(float(packets.dropped)), thousands(float(all))),
                );
            }
            _ => {}
        }
    }
    let kernel = kernel(stand, sensor, seconds)?;
    let all = kernel + cpu(&alerts);
    table.figure("jotwatch, alert: kernel programs, measuring included, a request", micros(kernel));
    table.judged(
        "  with the daemon's, in all",
        micros(all),
        format!("≤ {} µs", thousands(TARGET_CPU)),
        all <= TARGET_CPU,
    );
    let version = |program: &Path, flag| first_line(Command::new(program).arg(flag));
    let tool = |name: &str| setup::find(name).with_context(|| format!("no {name}"));
    table.figure("jotwatch", version(sensor, "--version")?);
    table.figure("nginx", version(&stand::nginx()?, "-v")?);
    let [modsecurity, haproxy] = versions;
    table.figure("ModSecurity", modsecurity);
    table.figure("HAProxy", haproxy);
    table.figure("tcpdump", version(&tool("tcpdump")?, "--version")?);
    table.figure("wrk", version(&tool("wrk")?, "-v")?);
    Ok(table)
}

/// Microseconds a request in all of the sensor's kernel programs at full load.
fn kernel(stand: &Stand, sensor: &Path, seconds: u32) -> Result<f64> {
    note("peers, kernel programs");
    let measuring = sys::measure_bpf()?;
    let sensor = Sensor::start(sensor, stand)?;
    let before = sensor.programs()?;
    let load = stand.full_load(WATCHED, seconds)?;
    let runs = ran(&before, &sensor.programs()?, "");
    sensor.stop()?;
    drop(measuring);
    Ok(float(runs.nanoseconds) / 1e3 / float(load.requests.max(1)))
}
