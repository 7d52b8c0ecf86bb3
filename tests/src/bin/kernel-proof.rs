//! The first process of the virtual machine that `cargo xtask kernels` boots: makes a small system,
//! proves on it what the sensor does on this kernel, and switches the machine off.
//!
//! Each line of the proof begins with [`MARK`]; the last is `proof: passed` or `proof: FAILED` with
//! the reason. What the kernel is expected to have stands on its command line, so that a kernel
//! which is wrongly held to be too old fails: `jotwatch.guard=yes` or `no`.

use std::{
    fs,
    io::{self, ErrorKind, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use jotwatch::{capture::live, enforce::guard};
use jotwatch_tests::{
    sensor::{self, findings},
    stand::{PORT, Stand, answer, bearer, end, forged, good, reset},
    tokens,
};
use rustix::{
    mount::{MountFlags, mount},
    system::{RebootCommand, finit_module, reboot},
};
use serde_json::json;

/// What the lines of the proof begin with.
const MARK: &str = "proof: ";
/// The kernel's modules, to be inserted in the order of their names.
const MODULES: &str = "/modules";
/// The service that is watched.
const SERVICE: &str = "/bin/recording-http";
/// How long a client that is shut out waits for its connection.
const SHUT_OUT: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("prove") {
        return match prove() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                say(&format!("error: {error:#}"));
                ExitCode::FAILURE
            }
        };
    }
    if !rustix::process::getpid().is_init() {
        say("this is the first process of a virtual machine: cargo xtask kernels");
        return ExitCode::FAILURE;
    }
    match system().and_then(|()| child()) {
        Ok(()) => say("passed"),
        Err(error) => say(&format!("FAILED: {error:#}")),
    }
    rustix::fs::sync();
    let _ = reboot(RebootCommand::PowerOff);
    ExitCode::FAILURE
}

fn say(line: &str) {
    let mut out = io::stdout().lock();
    let _ =
        writeln!(out, "{MARK}{}", line.trim_end().replace('\n', "\n| ")).and_then(|()| out.flush());
}

/// Mounts what the sensor and the tests' places want, and inserts the modules.
fn system() -> Result<()> {
    for (kind, target) in [
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("devtmpfs", "/dev"),
        ("tmpfs", "/tmp"),
        ("tmpfs", "/run"),
        ("cgroup2", "/sys/fs/cgroup"),
        ("bpf", "/sys/fs/bpf"),
    ] {
        fs::create_dir_all(target)?;
        mount(kind, target, kind, MountFlags::empty(), None)
            .with_context(|| format!("mounting {kind} at {target}"))?;
    }
    let mut modules: Vec<_> = fs::read_dir(MODULES)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<_>>()?;
    modules.sort();
    for module in modules {
        finit_module(fs::File::open(&module)?, c"", 0)
            .with_context(|| format!("inserting {}", module.display()))?;
    }
    Ok(())
}

/// Runs the proof in a process of its own: whatever its end, this one switches the machine off.
fn child() -> Result<()> {
    let status = Command::new("/proc/self/exe")
        .arg("prove")
        .env("PATH", "/bin")
        .env("JOTWATCH_BIN", "/bin/jotwatch")
        .stdin(Stdio::null())
        .status()?;
    ensure!(status.success(), "{status}");
    Ok(())
}

fn prove() -> Result<()> {
    say(&format!("kernel {}", live::probe::kernel_release()));
    let expected = fs::read_to_string("/proc/cmdline")?;
    let guarded = expected.split_whitespace().any(|word| word == "jotwatch.guard=yes");
    load(guarded)?;
    let stand = Stand::new(SERVICE)?;
    cut(&stand, guarded)?;
    if guarded { gate(&stand) } else { no_gate(&stand) }
}

/// Every program, by itself.
fn load(guarded: bool) -> Result<()> {
    for (name, loaded) in live::probe::programs()? {
        loaded.with_context(|| name.to_owned())?;
        say(&format!("loads {name}"));
    }
    match guard::try_load() {
        Ok(()) => {
            ensure!(guarded, "the guard loads, and is not expected to");
            guard::PROGRAMS.iter().for_each(|name| say(&format!("loads {name}")));
        }
        Err(error @ guard::Error::KernelTooOld(_)) if !guarded => say(&format!("says: {error}")),
        Err(error) => return Err(error).context("the guard"),
    }
    Ok(())
}

/// Mode `kill`: a request is captured and judged, another one's connection reset, and an address
/// shut out where the kernel can.
fn cut(stand: &Stand, guarded: bool) -> Result<()> {
    let sensor = stand.sensor("kill")?;
    let mut beside = stand.connect(false)?;

    let expired = tokens::hs256(&json!({"sub": "somebody-late", "exp": 1_600_000_000}), b"a key");
    beside.write_all(bearer(&expired).as_bytes())?;
    answer(&mut beside)?;
    let event = sensor.wait_for("the expired token", |event| {
        findings(event).contains(&"token-expired".to_owned())
    })?;
    ensure!(event["response"]["status"] == 200, "{event}");
    say(&format!("captured a request: {}, score {}", findings(&event).join(" "), event["score"]));

    let mut stream = stand.connect(true)?;
    stream.write_all(bearer(&forged(0)).as_bytes())?;
    // The service may have answered before.
    let took = match answer(&mut stream) {
        Ok(_) => reset(&mut stream)?,
        Err(error) => match error.downcast_ref::<io::Error>() {
            Some(e) if e.kind() == ErrorKind::ConnectionReset => Duration::ZERO,
            _ => return Err(error),
        },
    };
    let status = sensor.wait_for_status("the cut", |status| {
        status.pointer("/enforcement/cuts/reset") == Some(&json!(1))
    })?;
    ensure!(status["mode"] == "kill", "{status:#}");
    beside.write_all(bearer(&good()).as_bytes())?;
    answer(&mut beside)?;
    say(&format!(
        "cut a connection by SOCK_DESTROY ({} ms behind its answer), and none beside it",
        took.as_millis()
    ));

    // Closed and told so by the tracepoint: nothing else ends a flow without FIN or RST.
    drop((beside, stream));
    sensor.ask(&["deny", "add", "127.0.0.0/8", "--for", "1h"], "")?;
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
    let tried = stand.place.inside(|| Ok(TcpStream::connect_timeout(&to, SHUT_OUT).map(drop)))?;
    if guarded {
        ensure!(
            tried.is_err_and(|e| e.kind() == ErrorKind::TimedOut),
            "a denied address is let in"
        );
        say("shut out a denied address");
    } else {
        tried.context("a kernel without the guard denies nothing")?;
        let log = sensor.log();
        let line = log.lines().find(|line| line.contains("too old")).context("no word of it")?;
        say(&format!("says: {line}"));
    }
    sensor.ask(&["deny", "flush"], "")?;
    end(sensor)
}

/// Mode `gate`: what is forged does not reach the service.
fn gate(stand: &Stand) -> Result<()> {
    let sensor = stand.sensor("gate")?;
    let (before, token) = (stand.seen().len(), forged(1));
    let mut stream = stand.connect(false)?;
    stream.write_all(bearer(&token).as_bytes())?;
    reset(&mut stream)?;
    let mut stream = stand.connect(false)?;
    stream.write_all(bearer(&good()).as_bytes())?;
    answer(&mut stream)?;
    ensure!(stand.seen_with(&token) == 0, "a forged request reached the service");
    ensure!(stand.seen().len() == before + 1, "{:?}", stand.seen());
    say("held a forged request back at the gate, and let a good one through");
    end(sensor)
}

/// Mode `gate` where the kernel is too old: the daemon does not start, and says why.
fn no_gate(stand: &Stand) -> Result<()> {
    let dir = Path::new("/tmp/no-gate");
    fs::create_dir(dir)?;
    let config = sensor::configuration(dir, "[enforcement]\nmode = \"gate\"\n")?;
    let mut run = sensor::run(&config, stand.place.cgroup(), &[PORT]);
    let output = run.output()?;
    // It says what it watches before it comes to the guard.
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said.trim_end().lines().next_back().unwrap_or_default();
    if output.status.success()
        || !line.contains("mode gate can't start")
        || !line.contains("need Linux 5.17")
    {
        bail!("with mode gate it says {said:?}");
    }
    say(&format!("says with mode gate, and ends with {}: {line}", output.status));
    Ok(())
}
