//! Requests a second that `jotwatch replay` reads out of a capture file on one core, and on two
//! where it is told so, beside tshark and Suricata on the same file.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use super::{
    note,
    suricata::Suricata,
    sys::{self, Finished, measured},
    table::{Table, float, median, mib, thousands},
};
use crate::{ground::Running, setup};

/// Requests a second that replay should reach on one core.
const TARGET_RATE: f64 = 400_000.0;
/// How many times tshark's rate it should reach.
const TARGET_RATIO: f64 = 30.0;
/// How many times Suricata's.
const TARGET_SURICATA: f64 = 8.0;
/// How many times its own with two threads.
const TARGET_THREADS: f64 = 1.7;

/// A capture file, and what is in it.
struct Capture {
    name: &'static str,
    path: PathBuf,
    bytes: u64,
    packets: u64,
}

/// The timed runs of one command on one file.
#[derive(Default)]
struct Runs {
    seconds: Vec<f64>,
    cpu: Vec<f64>,
    peak: u64,
}

impl Runs {
    fn push(&mut self, run: &Finished) {
        self.seconds.push(run.took.as_secs_f64());
        self.cpu.push(run.cpu.as_secs_f64());
        self.peak = self.peak.max(run.peak);
    }

    fn seconds(&self) -> f64 {
        median(self.seconds.iter().copied())
    }
}

/// Measures the part.
///
/// # Errors
/// If a capture cannot be made, or a command fails or does not find every request.
pub(super) fn run(binaries: &Path, quick: bool) -> Result<Table> {
    let (requests, rounds) = if quick { (20_000, 3) } else { (200_000, 7) };
    let dir = setup::target_dir().join("bench");
    fs::create_dir_all(&dir)?;
    let before = sys::cpus()?;
    let cpu = *before.last().context("no CPU")?;
    let captures = [("1,000 tokens", "pool", 1_000), ("all tokens distinct", "distinct", 0)]
        .into_iter()
        .map(|(name, file, tokens)| make(binaries, &dir, name, file, requests, tokens))
        .collect::<Result<Vec<_>>>()?;
    sys::stay_on(&[cpu])?;
    let two = &before[before.len().saturating_sub(2)..];
    let table = measure(binaries, &captures, requests, rounds, two);
    sys::stay_on(&before)?;
    table
}

/// On the last of these CPUs, and on all of them where there are two threads.
fn measure(
    binaries: &Path,
    captures: &[Capture],
    requests: u64,
    rounds: u32,
    cpus: &[usize],
) -> Result<Table> {
    let cpu = *cpus.last().context("no CPU")?;
    let suricata = Suricata::find();
    let help = Command::new(binaries.join("jotwatch")).args(["replay", "--help"]).output()?;
    let threads = String::from_utf8_lossy(&help.stdout).contains("--threads");
    let tshark_version = first_line(Command::new("tshark").arg("--version"))?;
    let tshark_version = tshark_version.split(" (Git").next().unwrap_or("tshark");
    let mut table = Table::new(format!(
        "replay: {} requests with 600-byte tokens, pinned to CPU {cpu}, medians of {rounds} runs",
        thousands(float(requests))
    ));
    let rate = |seconds: f64| float(requests) / seconds;
    for capture in captures {
        let replay = |options: &[&str]| {
            let mut command = Command::new(binaries.join("jotwatch"));
            command.arg("replay").args(options).arg(&capture.path);
            command
        };
        note(&format!("replay, {}", capture.name));
        // Every request comes out; this also brings the file into the page cache.
        let mut child = Running(replay(&["--exchanges"]).stdout(Stdio::piped()).spawn()?);
        let out = child.0.stdout.take().context("no pipe")?;
        let lines = count_lines(&mut BufReader::new(out))?;
        ensure!(lines == requests, "replay gives {lines} of {requests} requests");
        let (mut events, mut exchanges) = (Runs::default(), Runs::default());
        let (mut both, mut others) = (Runs::default(), Runs::default());
        for round in 0..rounds {
            events.push(&finish(&mut replay(&[]))?);
            exchanges.push(&finish(&mut replay(&["--exchanges"]))?);
            if threads {
                sys::stay_on(cpus)?;
                both.push(&finish(&mut replay(&["--threads", "2"]))?);
                sys::stay_on(&[cpu])?;
            }
            // Some seconds each, and steady.
            if let Some(suricata) = suricata.as_ref().filter(|_| round < 3) {
                others.push(&suricata.read(&capture.path, requests)?);
            }
        }
        note(&format!("tshark, {} (once)", capture.name));
        let theirs = tshark(capture, requests)?;
        let tshark_seconds = theirs.took.as_secs_f64();

        for (what, ours) in [("events", &events), ("exchanges", &exchanges)] {
            let seconds = ours.seconds();
            table.judged(
                format!("{}, {what}: requests/s", capture.name),
                thousands(rate(seconds)),
                format!("≥ {}", thousands(TARGET_RATE)),
                rate(seconds) >= TARGET_RATE,
            );
            let ratio = tshark_seconds / seconds;
            table.judged(
                "  times tshark's",
                format!("{ratio:.1}"),
                format!("≥ {TARGET_RATIO}"),
                ratio >= TARGET_RATIO,
            );
            if suricata.is_some() {
                let ratio = others.seconds() / seconds;
                table.judged(
                    "  times Suricata's",
                    format!("{ratio:.1}"),
                    format!("≥ {TARGET_SURICATA}"),
                    ratio >= TARGET_SURICATA,
                );
            }
            let cpu = median(ours.cpu.iter().copied());
            table.figure("  requests / second of CPU time", thousands(rate(cpu)));
            table.figure("  packets/s", thousands(float(capture.packets) / seconds));
            table.figure(
                "  capture bytes/s",
                format!("{:.0} MB", float(capture.bytes) / seconds / 1e6),
            );
            table.figure("  peak resident", mib(ours.peak));
        }
        if threads {
            let ratio = events.seconds() / both.seconds();
            table.figure(
                format!("{}, events, two threads: requests/s", capture.name),
                thousands(rate(both.seconds())),
            );
            table.judged(
                "  times that of one",
                format!("{ratio:.2}"),
                format!("≥ {TARGET_THREADS}"),
                ratio >= TARGET_THREADS,
            );
            table.figure("  peak resident", mib(both.peak));
        }
        table.figure(
            format!("{}, {tshark_version}: requests/s", capture.name),
            thousands(rate(tshark_seconds)),
        );
        let cpu = theirs.cpu.as_secs_f64();
        table.figure("  requests / second of CPU time", thousands(rate(cpu)));
        table.figure("  peak resident", mib(theirs.peak));
        if let Some(suricata) = &suricata {
            table.figure(
                format!("{}, Suricata {}: requests/s", capture.name, suricata.version()?),
                thousands(rate(others.seconds())),
            );
            let cpu = median(others.cpu.iter().copied());
            table.figure("  requests / second of CPU time", thousands(rate(cpu)));
            table.figure("  peak resident", mib(others.peak));
        }
    }
    if suricata.is_none() {
        table.figure("Suricata", "not installed");
    }
    Ok(table)
}

fn make(
    binaries: &Path,
    dir: &Path,
    name: &'static str,
    file: &str,
    requests: u64,
    tokens: usize,
) -> Result<Capture> {
    let path = dir.join(format!("{file}-{requests}.pcap"));
    note(&format!("making {}", path.display()));
    let mut maker = Command::new(binaries.join("make-bench-capture"));
    maker.arg("--out").arg(&path);
    maker.args(["--requests", &requests.to_string(), "--tokens", &tokens.to_string()]);
    finish(&mut maker)?;
    let (bytes, packets) = (fs::metadata(&path)?.len(), count_packets(&path)?);
    Ok(Capture { name, path, bytes, packets })
}

/// The packets in a little-endian pcap file: a header of 24 bytes, and one of 16 before each
/// packet that holds its length.
fn count_packets(path: &Path) -> Result<u64> {
    let mut file = BufReader::with_capacity(1 << 20, File::open(path)?);
    let mut magic = [0; 24];
    file.read_exact(&mut magic)?;
    ensure!(
        matches!(magic[..4], [0xd4, 0xc3, 0xb2, 0xa1] | [0x4d, 0x3c, 0xb2, 0xa1]),
        "not a little-endian pcap file"
    );
    let mut packets = 0;
    while !file.fill_buf()?.is_empty() {
        let mut header = [0; 16];
        file.read_exact(&mut header)?;
        let [_, _, _, _, _, _, _, _, length @ .., _, _, _, _] = header;
        file.seek_relative(i64::from(u32::from_le_bytes(length)))?;
        packets += 1;
    }
    Ok(packets)
}

/// tshark's run, after which every request must be in its output.
fn tshark(capture: &Capture, requests: u64) -> Result<Finished> {
    let out = capture.path.with_extension("tshark");
    let mut command = Command::new("tshark");
    command.args(["-n", "-r"]).arg(&capture.path).args(["-Y", "http.request", "-T", "fields"]);
    command.args(["-e", "http.request.uri", "-e", "http.authorization"]);
    command.stdout(File::create(&out)?).stderr(Stdio::null());
    let run = measured(&mut command)?;
    ensure!(run.status.success(), "tshark ended with {}", run.status);
    let lines = count_lines(&mut BufReader::new(File::open(&out)?))?;
    fs::remove_file(&out)?;
    ensure!(lines == requests, "tshark gives {lines} of {requests} requests");
    Ok(run)
}

fn finish(command: &mut Command) -> Result<Finished> {
    let run = measured(command.stdout(Stdio::null()))?;
    ensure!(run.status.success(), "{command:?} ended with {}", run.status);
    Ok(run)
}

/// What a program says first.
pub(super) fn first_line(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    Ok(said.lines().find(|line| !line.is_empty()).unwrap_or("?").trim().to_owned())
}

pub(super) fn count_lines(out: &mut impl BufRead) -> io::Result<u64> {
    let mut lines = 0;
    while out.skip_until(b'\n')? > 0 {
        lines += 1;
    }
    Ok(lines)
}
