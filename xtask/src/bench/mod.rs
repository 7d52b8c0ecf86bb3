//! `cargo xtask bench`: how fast and how big the sensor is, against the targets that it has.
//!
//! Each [part](Part) prints one table. What can be compared is compared in turn in one run
//! (A B A B ...), as a machine's speed drifts, and medians are given. A target that is missed
//! is said, and no error: only what could not be measured is.
//!
//! The live parts take root. They play in a [network namespace and a cgroup of their
//! own](crate::ground), on two CPUs.

mod bulk;
mod enforce;
mod exercise;
mod feeds;
mod flame;
mod growth;
mod judge;
mod kernel;
mod latency;
mod live;
mod memory;
mod peers;
mod replay;
mod score;
mod sensor;
mod sinks;
mod stand;
mod suricata;
mod sys;
mod table;
mod token;

use std::{
    collections::BTreeSet,
    io::{self, Write as _},
    path::Path,
};

use anyhow::{Result, bail, ensure};

pub(crate) use self::exercise::exercise;
use self::{stand::Stand, table::Table};
use crate::{profile, setup};

/// How many CPUs the live parts use.
const LIVE_CPUS: usize = 2;
/// Open files of the benchmark, and of nginx: [`memory`] has a connection on each.
const OPEN_FILES: u64 = 16_384;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these parts
    parts: Vec<Part>,
    /// Everything beside its peers, under the same load and on the same file: `peers` and `replay`
    #[arg(long)]
    peers: bool,
    /// Of `enforce`, only the steps with this word in their names, such as "speed"
    #[arg(long, value_name = "WORD")]
    step: Option<String>,
    /// Shorter and fewer runs, to see that it works
    #[arg(long)]
    quick: bool,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// Requests a second out of a capture file, beside tshark and Suricata
    Replay,
    /// What a token costs, seen before and new, and what a million of them take
    Token,
    /// What a request's score costs, and what a million subjects' profiles take
    Score,
    /// What feeds of a million entries take, and what it costs to ask them
    Feeds,
    /// What arrives through a syslog server that is killed, and what a burst of alerts costs
    Sinks,
    /// What being watched costs nginx, and what is lost of its requests
    Live,
    /// The same load on nginx alone, watched, behind ModSecurity, HAProxy, beside tcpdump
    Peers,
    /// From a request to its alert in the file of a syslog server
    Latency,
    /// Nanoseconds a segment in the kernel programs
    Kernel,
    /// What being watched costs downloads of 1 GiB
    Bulk,
    /// Memory at 10,000 connections, well-behaved and hostile
    Memory,
    /// What kill, hold and gate let through, and what they cost
    Enforce,
    /// How cost grows with connections, subjects and denylists, as plots in docs/
    Growth,
    /// Where the live daemon spends its time, as docs/flame.svg
    Flame,
}

impl Part {
    const ALL: [Self; 14] = [
        Self::Replay,
        Self::Token,
        Self::Score,
        Self::Feeds,
        Self::Sinks,
        Self::Growth,
        Self::Live,
        Self::Peers,
        Self::Latency,
        Self::Kernel,
        Self::Bulk,
        Self::Memory,
        Self::Enforce,
        Self::Flame,
    ];

    /// The programs of the workspace that it takes.
    fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Replay => &["jotwatch", "make-bench-capture"],
            Self::Token => &["bench-token"],
            Self::Score => &["bench-score"],
            Self::Feeds => &["bench-feeds"],
            Self::Sinks => &["bench-sinks"],
            Self::Live | Self::Latency => &["jotwatch", "open-load"],
            Self::Growth => &["jotwatch", "bench-growth"],
            Self::Enforce => &["jotwatch", "open-load", "recording-http"],
            Self::Peers | Self::Kernel | Self::Bulk | Self::Memory | Self::Flame => &["jotwatch"],
        }
    }
}

/// Runs the parts that are asked for, all if none is.
///
/// # Errors
/// How many parts could not be measured, after each was named on standard error.
pub(crate) fn run(args: &Args) -> Result<()> {
    let all = args.parts.is_empty() && !args.peers;
    let wanted = |part: &Part| {
        let beside = args.peers && matches!(part, Part::Peers | Part::Replay);
        all || beside || args.parts.contains(part)
    };
    let parts: Vec<Part> = Part::ALL.into_iter().filter(wanted).collect();
    setup::ensure_tools(&["ip", "tshark", "wrk"], "benchmarks")?;
    // Now: a live part leaves this network for good.
    if parts.iter().any(|part| matches!(part, Part::Sinks | Part::Latency)) {
        setup::ensure_rsyslog()?;
    }
    if parts.contains(&Part::Peers) {
        setup::ensure_tools(&["tcpdump"], "benchmarks")?;
        setup::ensure_haproxy()?;
        setup::ensure_modsecurity()?;
    }
    if parts.contains(&Part::Flame) {
        setup::ensure_tools(&["perf"], "a flame graph")?;
    }
    let programs: BTreeSet<&str> = parts.iter().flat_map(|part| part.programs()).copied().collect();
    let (sensor, tools): (Vec<&str>, Vec<&str>) =
        programs.into_iter().partition(|program| *program == "jotwatch");
    if !sensor.is_empty() {
        profile::build_sensor()?;
    }
    let tools: Vec<String> = tools.iter().map(|name| format!("--bin={name}")).collect();
    let mut build = vec!["--release", "--package=jotwatch-tests"];
    build.extend(tools.iter().map(String::as_str));
    if tools.is_empty() {
        build.push("--lib");
    }
    let binaries = setup::build(&build)?;
    say(&format!("machine: {}\n", sys::machine()))?;

    // Made for the first live part: from there on this thread is in another network.
    let mut stand = None;
    let (mut met, mut judged, mut failed) = (0, 0, 0);
    for part in &parts {
        let measured = match part {
            Part::Replay => replay::run(&binaries, args.quick),
            Part::Token => judge::run(&binaries, args.quick),
            Part::Score => score::run(&binaries, args.quick),
            Part::Feeds => feeds::run(&binaries, args.quick),
            Part::Sinks => sinks::run(&binaries, args.quick),
            Part::Growth if !setup::is_root() => growth::run(&binaries, None, args.quick),
            _ => live_part(*part, &mut stand, &binaries, args),
        };
        match measured {
            Ok(table) => {
                say(&table.to_string())?;
                met += table.score().0;
                judged += table.score().1;
            }
            Err(error) => {
                eprintln!("{part:?} could not be measured: {error:#}\n");
                failed += 1;
            }
        }
    }
    say(&format!("{met} of {judged} targets are met."))?;
    ensure!(failed == 0, "{failed} of {} parts could not be measured", parts.len());
    Ok(())
}

fn live_part(part: Part, stand: &mut Option<Stand>, binaries: &Path, args: &Args) -> Result<Table> {
    if !setup::is_root() {
        bail!("it takes root, for eBPF and for a network namespace of its own");
    }
    if stand.is_none() {
        setup::ensure_nginx()?;
        sys::allow_files(OPEN_FILES)?;
        let cpus: Vec<usize> = sys::cpus()?.into_iter().take(LIVE_CPUS).collect();
        sys::stay_on(&cpus)?;
    }
    let stand = match stand {
        Some(stand) => stand,
        None => stand.insert(Stand::start(binaries)?),
    };
    let sensor = &binaries.join("jotwatch");
    let quick = args.quick;
    match part {
        Part::Bulk => bulk::run(stand, sensor, quick),
        Part::Enforce => enforce::run(stand, binaries, args.step.as_deref(), quick),
        Part::Flame => flame::run(stand, sensor, quick),
        Part::Growth => growth::run(binaries, Some(stand), quick),
        Part::Kernel => kernel::run(stand, sensor, quick),
        Part::Latency => latency::run(stand, sensor, quick),
        Part::Memory => memory::run(stand, sensor, quick),
        Part::Peers => peers::run(stand, sensor, quick),
        _ => live::run(stand, sensor, quick),
    }
}

/// Says what is being done, on standard error: the tables alone are the result.
fn note(text: &str) {
    eprintln!("bench: {text}");
}

fn say(text: &str) -> Result<()> {
    Ok(writeln!(io::stdout(), "{text}")?)
}
