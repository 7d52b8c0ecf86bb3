//! `cargo xtask kernels`: the sensor on older kernels, in virtual machines.
//!
//! Debian's own kernels are brought by apt and unpacked, not installed. Each boots under qemu with an
//! initramfs of the sensor, a service, and a first process (`tests/src/bin/kernel-proof.rs`) that
//! loads every kernel program, captures a request, cuts a connection and says so on the serial
//! console. The processor is emulated: a virtual machine in a virtual machine is not to be had
//! everywhere, and what is proved is the same.

pub(crate) mod debian;
mod initramfs;

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use clap::builder::PossibleValuesParser;

use self::debian::Unpacked;
use crate::setup;

/// A kernel that the sensor is proved on.
struct Kernel {
    version: &'static str,
    /// The Debian release that it comes with.
    release: &'static str,
    /// Whether the programs of enforcement are expected to load: Linux 5.17 and later.
    guard: bool,
}

const KERNELS: [Kernel; 3] = [
    Kernel { version: "5.10", release: "bullseye", guard: false },
    Kernel { version: "6.1", release: "bookworm", guard: true },
    Kernel { version: "6.12", release: "trixie", guard: true },
];

/// The modules that are wanted, in the order in which they can be inserted: what cuts connections.
const MODULES: [&str; 2] = ["inet_diag", "tcp_diag"];

/// A proof takes a minute of the processor, and what is waited for within it has limits of its own;
/// a machine that hangs is ended.
const LIMIT: Duration = Duration::from_secs(1_200);

/// Memory of a virtual machine, in MiB: the initramfs takes a twentieth, the kernel's maps a fifth.
const MEMORY: &str = "1024";

/// What the first process begins its lines with.
const MARK: &str = "proof: ";

/// Lines of the console that are shown of one that failed.
const TAIL: usize = 40;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these versions
    #[arg(value_name = "VERSION", value_parser = PossibleValuesParser::new(KERNELS.map(|k| k.version)))]
    versions: Vec<String>,
}

/// Proves the sensor on each kernel.
///
/// # Errors
/// A kernel is not to be had, or a proof fails; the console's end is shown.
pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(env::consts::ARCH == "x86_64", "the kernels and qemu are those of x86-64");
    setup::ensure_tools(
        &["dpkg-deb", "ip", "ldd", "qemu-system-x86_64", "strip", "xz"],
        "booting other kernels",
    )?;
    let chosen = |kernel: &&Kernel| {
        args.versions.is_empty() || args.versions.iter().any(|v| v == kernel.version)
    };
    let kernels: Vec<&Kernel> = KERNELS.iter().filter(chosen).collect();
    let unpacked =
        kernels.iter().map(|kernel| debian::unpacked(kernel)).collect::<Result<Vec<_>>>()?;
    let binaries = setup::build(&[
        "--quiet",
        "--package=jotwatch",
        "--package=jotwatch-tests",
        "--bin=jotwatch",
        "--bin=kernel-proof",
        "--bin=recording-http",
    ])?;
    let system = initramfs::system(&binaries)?;
    let failed = thread::scope(|scope| {
        let proofs: Vec<_> = kernels
            .iter()
            .zip(&unpacked)
            .map(|(kernel, unpacked)| scope.spawn(|| prove(kernel, unpacked, &system)))
            .collect();
        let mut failed = Vec::new();
        for (kernel, proof) in kernels.iter().zip(proofs) {
            let proof = proof.join().map_err(|_| anyhow::anyhow!("a thread panicked"));
            if let Err(error) = proof.flatten() {
                say(kernel, &format!("{error:#}"));
                failed.push(kernel.version);
            }
        }
        failed
    });
    ensure!(failed.is_empty(), "not proved on Linux {}", failed.join(", "));
    Ok(())
}

fn say(kernel: &Kernel, line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "kernels: {}: {line}", kernel.version);
}

/// Boots one kernel and reads its console.
fn prove(kernel: &Kernel, unpacked: &Unpacked, system: &initramfs::Archive) -> Result<()> {
    let mut archive = system.clone();
    archive.directory("modules");
    for (n, module) in unpacked.modules.iter().enumerate() {
        let name = module.file_stem().unwrap_or_default().to_string_lossy();
        archive.file(&format!("modules/{n}-{name}.ko"), 0o644, &fs::read(module)?);
    }
    let initramfs = unpacked.folder.join("initramfs");
    fs::write(&initramfs, archive.finish())?;
    let console = unpacked.folder.join("console.log");

    let began = Instant::now();
    let lines = boot(kernel, &unpacked.image, &initramfs, |line| {
        if let Some(proof) = line.strip_prefix(MARK) {
            say(kernel, proof);
        }
    })?;
    fs::write(&console, lines.join("\n"))?;
    if !passed(&lines) {
        for line in lines.iter().skip(lines.len().saturating_sub(TAIL)) {
            say(kernel, &format!("console: {line}"));
        }
        anyhow::bail!("not proved; the whole console: {}", console.display());
    }
    say(kernel, &format!("proved in {} s ({})", began.elapsed().as_secs(), unpacked.package));
    Ok(())
}

/// Whether the first process said so, in a line of its own.
fn passed(console: &[String]) -> bool {
    console.iter().any(|line| line.strip_prefix(MARK) == Some("passed"))
}

/// The lines of the serial console, until the machine is off or [`LIMIT`] is over.
fn boot(
    kernel: &Kernel,
    image: &Path,
    initramfs: &Path,
    mut shown: impl FnMut(&str),
) -> Result<Vec<String>> {
    let guard = if kernel.guard { "yes" } else { "no" };
    // A panic ends the machine.
    let line = format!("console=ttyS0 quiet no_timer_check panic=-1 jotwatch.guard={guard}");
    let mut machine = Command::new("qemu-system-x86_64")
        // Time there is counted in instructions, 2 ns each, and no time passes in idleness: what is
        // waited for there comes in time however busy this machine is.
        .args(["-accel", "tcg", "-icount", "shift=1,sleep=off", "-smp", "1"])
        .args(["-m", MEMORY, "-nic", "none", "-no-reboot"])
        .args(["-display", "none", "-monitor", "none", "-serial", "stdio", "-append", &line])
        .arg("-kernel")
        .arg(image)
        .arg("-initrd")
        .arg(initramfs)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting qemu-system-x86_64")?;
    let output = machine.stdout.take().context("no console")?;
    let (sender, receiver) = mpsc::channel();
    let reader = thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    let (end, mut lines) = (Instant::now() + LIMIT, Vec::new());
    loop {
        match receiver.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                shown(&line);
                lines.push(line);
            }
            // The console is closed: the machine is off.
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                lines.push(format!("(ended here: {} s are over)", LIMIT.as_secs()));
                machine.kill()?;
                break;
            }
        }
    }
    machine.wait()?;
    let _ = reader.join();
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::passed;

    #[test]
    fn only_the_first_process_says_that_it_passed() {
        let passes =
            |lines: &[&str]| passed(&lines.iter().map(|&l| l.to_owned()).collect::<Vec<_>>());
        assert!(passes(&["[    0.1] boot", "proof: loads a", "proof: passed", "[    2.0] off"]));
        for lines in [
            &["proof: loads a"][..],
            &["proof: FAILED: passed"],
            &["proof: passed over"],
            &["says proof: passed"],
            &[],
        ] {
            assert!(!passes(lines), "{lines:?}");
        }
    }
}
