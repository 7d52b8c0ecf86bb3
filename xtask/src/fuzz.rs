//! `cargo xtask fuzz`: every reader of the sensor, and the pipeline as a whole, under libFuzzer.
//!
//! The targets stand in `sensor/src/fuzz`; `fuzz/` is the package that cargo-fuzz builds them in. No
//! nightly compiler is needed: libFuzzer's coverage is a matter of code generation flags, which the
//! stable one takes. Address sanitizer is left out: what is fuzzed forbids `unsafe`, and debug
//! assertions and overflow checks are on. Each run begins with the capture cases, the documentation
//! and what was once found (`fuzz/found`), and with what earlier runs on this machine came upon
//! (`target/fuzz/corpus`).

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

use crate::setup;

/// Seconds for one input, after which it counts as a hang. Inputs are at most [`MAX_INPUT`] long, and
/// take a thousandth of that.
const HANG_SECONDS: u32 = 10;
/// Memory of one target, in MiB; models, tables and the corpus take 200.
const MAX_MEMORY: u32 = 2_048;
/// Bytes of an input: the largest case has less.
const MAX_INPUT: u32 = 64 << 10;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these targets
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// How long each target runs
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,
    /// Targets that run at a time
    #[arg(long, value_name = "N", default_value_t = 2)]
    jobs: usize,
    /// The seed of libFuzzer's random numbers, for a run that can be repeated; 0 draws one
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u32,
}

/// What became of a target.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    executions: u64,
    coverage: u64,
    corpus: u64,
    /// The input that reproduces what was found.
    crash: Option<PathBuf>,
    /// What it said last, where it failed.
    said: String,
}

/// Builds the targets and the seeds, runs the targets, and prints what each came to.
///
/// # Errors
/// A tool is not to be had, something does not build, or a target found something; then the error
/// names the inputs.
pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(args.jobs > 0, "--jobs 0 runs nothing");
    let place = setup::target_dir().join("fuzz");
    let all = targets()?;
    let unknown = args.targets.iter().find(|name| !all.contains(name));
    ensure!(unknown.is_none(), "no target {unknown:?}; there are {}", all.join(", "));
    let wanted = if args.targets.is_empty() { &all } else { &args.targets };
    setup::ensure_tools(&["c++"], "libFuzzer is written in C++")?;
    let folder = build(&place, wanted)?;
    let seeds = seeds(&place)?;
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..args.jobs {
            scope.spawn(|| {
                while let Some(name) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = fuzz(&folder.join(name), name, &place, seeds.path(), args);
                    let mut all = outcomes.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Ok(outcome) = &outcome {
                        eprintln!("{}", line(name, outcome));
                    }
                    all.push((name.clone(), outcome));
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    outcomes.sort_by(|a, b| a.0.cmp(&b.0));
    let mut table = format!("{HEAD}\n");
    let mut found = String::new();
    for (name, outcome) in outcomes {
        let outcome = outcome.with_context(|| format!("target {name}"))?;
        writeln!(table, "{}", line(&name, &outcome))?;
        if let Some(crash) = &outcome.crash {
            let binary = folder.join(&name);
            let (crash, binary) = (crash.display(), binary.display());
            writeln!(found, "{name}: {crash}\n  again: {binary} {crash}\n{}", outcome.said)?;
        }
    }
    eprint!("{table}");
    if !found.is_empty() {
        bail!("found:\n{found}Kept under fuzz/found/TARGET/ it is part of the tests");
    }
    Ok(())
}

const HEAD: &str = "target           executions   coverage     corpus  found";

fn line(name: &str, outcome: &Outcome) -> String {
    let Outcome { executions, coverage, corpus, crash, .. } = outcome;
    let found = if crash.is_some() { "yes" } else { "no" };
    format!("{name:<15} {executions:>11} {coverage:>10} {corpus:>10}  {found}")
}

/// The names of the targets: those of their files.
fn targets() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(setup::workspace().join("fuzz/fuzz_targets"))? {
        let path = entry?.path();
        names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

/// Builds the targets; gives the folder that they are in.
fn build(place: &Path, wanted: &[String]) -> Result<PathBuf> {
    let root = setup::target_dir().join("tools");
    if setup::find("cargo-fuzz").is_none() && !root.join("bin/cargo-fuzz").is_file() {
        eprintln!("fuzz: installing cargo-fuzz into target/tools (cargo install --locked)");
        let mut install = setup::cargo();
        install.args(["install", "--quiet", "--locked", "cargo-fuzz@^0.13", "--root"]).arg(&root);
        ensure!(install.status()?.success(), "cargo-fuzz does not install");
    }
    let host = host()?;
    let mut paths = vec![root.join("bin")];
    paths.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    let folder = place.join("build");
    let one = (wanted.len() == 1).then(|| wanted.first()).flatten();
    let mut build = setup::cargo();
    // With a flag of cargo's own in front, cargo would look for the command itself.
    build.args(["fuzz", "build", "--sanitizer", "none", "--fuzz-dir", "fuzz", "--target", &host]);
    build.arg("--target-dir").arg(&folder).args(one).env("PATH", std::env::join_paths(paths)?);
    eprintln!("fuzz: building the targets");
    ensure!(build.status()?.success(), "the targets do not build");
    Ok(folder.join(host).join("release"))
}

/// The triple that is built for: cargo-fuzz takes the one that it was itself built for, which is
/// another one where a static build of it is installed.
fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("rustc")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc does not say what it builds for")
}

/// Writes the seeds: a test of the sensor makes them, and has put them through every target first.
/// In a folder of their own, as another run may be at work.
fn seeds(place: &Path) -> Result<TempDir> {
    let folder = tempfile::Builder::new().prefix("seeds-").tempdir_in(place)?;
    eprintln!("fuzz: making the seeds");
    let mut test = setup::cargo();
    test.args(["test", "--quiet", "--package", "jotwatch", "--lib", "fuzz::seeds"]);
    // From the workspace's root or not: the test has another working directory.
    test.env("JOTWATCH_FUZZ_SEEDS", std::path::absolute(folder.path())?);
    ensure!(test.status()?.success(), "a seed does not go through its target");
    ensure!(fs::read_dir(folder.path())?.next().is_some(), "no seeds were made");
    Ok(folder)
}

/// Runs one target.
fn fuzz(binary: &Path, name: &str, place: &Path, seeds: &Path, args: &Args) -> Result<Outcome> {
    let (corpus, crashes) = (place.join("corpus").join(name), place.join("crashes").join(name));
    fs::create_dir_all(&corpus)?;
    fs::create_dir_all(&crashes)?;
    let mut command = Command::new(binary);
    command.arg(&corpus).arg(seeds.join(name));
    command.arg(format!("-max_total_time={}", args.seconds)).arg(format!("-seed={}", args.seed));
    command.arg(format!("-timeout={HANG_SECONDS}"));
    command.arg(format!("-rss_limit_mb={MAX_MEMORY}"));
    command.arg(format!("-max_len={MAX_INPUT}"));
    command.arg(format!("-artifact_prefix={}/", crashes.display()));
    command.arg("-print_final_stats=1").env("RUST_BACKTRACE", "1");
    let output = command.stdin(Stdio::null()).output().context("it does not start")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let mut outcome = outcome(&said);
    if output.status.success() {
        outcome.crash = None;
    } else {
        ensure!(outcome.crash.is_some(), "{}: {}", output.status, outcome.said);
    }
    Ok(outcome)
}

/// What libFuzzer says of a run.
fn outcome(said: &str) -> Outcome {
    let mut outcome = Outcome::default();
    for line in said.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let behind = |word: &str| {
            let at = words.iter().position(|have| *have == word)?;
            words.get(at + 1)?.split('/').next()?.parse().ok()
        };
        if line.starts_with('#') {
            outcome.coverage = behind("cov:").unwrap_or(outcome.coverage);
            outcome.corpus = behind("corp:").unwrap_or(outcome.corpus);
        }
        if let Some(path) = line.split_once("Test unit written to ").map(|(_, path)| path) {
            outcome.crash = Some(path.trim().into());
        }
        outcome.executions =
            behind("stat::number_of_executed_units:").unwrap_or(outcome.executions);
    }
    let last: Vec<&str> = said.lines().rev().take(40).collect();
    outcome.said = last.into_iter().rev().collect::<Vec<_>>().join("\n");
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libfuzzer_says_is_read() {
        let said = "#2\tINITED cov: 7 ft: 8 corp: 1/1b exec/s: 0 rss: 40Mb\n\
            #900\tDONE   cov: 31 ft: 45 corp: 12/90b lim: 4 exec/s: 0 rss: 41Mb\n\
            artifact_prefix='/x/'; Test unit written to /x/crash-1\n\
            stat::number_of_executed_units: 900\n";
        let outcome = outcome(said);
        assert_eq!((outcome.executions, outcome.coverage, outcome.corpus), (900, 31, 12));
        assert_eq!(outcome.crash, Some("/x/crash-1".into()));
    }

    #[test]
    fn every_target_is_a_binary_and_a_function() {
        let manifest = fs::read_to_string(setup::workspace().join("fuzz/Cargo.toml")).unwrap();
        let sensor = fs::read_to_string(setup::workspace().join("sensor/src/fuzz/mod.rs")).unwrap();
        let names = targets().unwrap();
        assert_eq!(manifest.matches("[[bin]]").count(), names.len());
        for name in names {
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
            assert!(sensor.contains(&format!("(\"{name}\", {name})")), "{name}");
        }
    }
}
