//! `cargo xtask demo`: a shop that checks its tokens badly, its customers and its attackers,
//! and what the sensor says of them.
//!
//! Live, it takes root: the [shop](service) runs in a [network namespace and a cgroup of its
//! own](crate::ground), `jotwatch run` watches that cgroup, and after each [scene](traffic) the
//! events that it caused are [shown](show). Without root or eBPF, `jotwatch replay` judges
//! the same traffic from docs/demo.pcap, which `cargo xtask demo --record` has made.

mod service;
mod show;
#[cfg(test)]
mod tests;
mod traffic;

use std::{
    fs,
    io::{self, BufRead as _, BufReader, IsTerminal as _, Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    ground::{Cgroup, Running, enter_network},
    setup,
};

/// The start of the cgroup's name.
const CGROUP: &str = "jotwatch-demo";
/// Where the shop listens, in its own network namespace.
const SHOP: &str = "127.0.0.1:8080";
/// The same traffic as a capture, below the workspace's root.
const CAPTURE: &str = "docs/demo.pcap";
/// How long the sensor, or the recorder, may take to be ready.
const READY_LIMIT: Duration = Duration::from_secs(15);
/// How long an event may take after its scene.
const EVENT_LIMIT: Duration = Duration::from_secs(3);
/// The pause after a scene, for what else comes and for the reader.
const PAUSE: Duration = Duration::from_millis(250);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Play from the capture file, as without root
    #[arg(long)]
    replay: bool,
    /// Record the traffic to this pcap file instead of watching it
    #[arg(long, value_name = "FILE", conflicts_with = "replay")]
    record: Option<PathBuf>,
}

/// Runs the demo.
///
/// # Errors
/// If it can neither watch nor replay, or the sensor missed a forged request.
pub(crate) fn run(args: &Args) -> Result<()> {
    if let Some(file) = &args.record {
        return record(file);
    }
    let sensor = build_sensor()?;
    if args.replay {
        return replay(&sensor);
    }
    match watch(&sensor) {
        Err(error) if error.is::<NoLive>() => {
            say(&format!("{error:#}"))?;
            say(&format!("Without it, the same traffic is played from {CAPTURE}."))?;
            replay(&sensor)
        }
        other => other,
    }
}

/// Runs the shop: the demo's own child, which lives as long as its standard input is open.
///
/// # Errors
/// The system's.
pub(crate) fn run_service(addr: SocketAddr) -> Result<()> {
    // What an event names as the service's command.
    rustix::thread::set_name(c"shop")?;
    // The first byte says that the cgroup is the right one; a socket belongs to the cgroup
    // that it was made in.
    io::stdin().read_exact(&mut [0])?;
    let listener = TcpListener::bind(addr)?;
    io::stdout().write_all(b"listening\n")?;
    thread::spawn(|| {
        io::copy(&mut io::stdin(), &mut io::sink()).ok();
        std::process::exit(0);
    });
    service::serve(&listener)
}

/// Why nothing can be watched live.
#[derive(Debug)]
struct NoLive(String);

impl std::fmt::Display for NoLive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "The demo can't watch live: {}.", self.0)
    }
}

impl std::error::Error for NoLive {}

fn watch(sensor: &Path) -> Result<()> {
    let no_live = |error: anyhow::Error| NoLive(format!("{error:#}"));
    if !setup::is_root() {
        bail!(NoLive("it takes root, for eBPF and for a network namespace of its own".to_owned()));
    }
    setup::ensure_tools(&["ip"], "a network namespace").map_err(|e| NoLive(e.to_string()))?;
    enter_network().map_err(no_live)?;
    let cgroup = Cgroup::new(CGROUP).map_err(no_live)?;
    let addr: SocketAddr = SHOP.parse()?;
    let _shop = start_shop(addr, &cgroup)?;

    // Events for this terminal only, every one by itself, and nothing left behind.
    let home = tempfile::tempdir()?;
    let config = home.path().join("config.toml");
    let dirs = home.path().display();
    fs::write(
        &config,
        format!(
            "[events]\njoin_seconds = 0\n[sinks]\nsyslog = []\n\
             [daemon]\nruntime_dir = \"{dirs}\"\nstate_dir = \"{dirs}\"\n"
        ),
    )?;
    let mut command = Command::new(sensor);
    command.args(["run", "--port", &addr.port().to_string(), "--config"]).arg(&config);
    command.arg("--cgroup").arg(cgroup.path());
    let (mut running, events) = start_lines(&mut command)?;
    let deadline = Instant::now() + READY_LIMIT;
    loop {
        match events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(event) if show::is_started(&event) => break,
            Ok(event) => present(&event)?,
            Err(RecvTimeoutError::Disconnected) => {
                let status = running.0.wait()?;
                bail!(NoLive(format!("the sensor ended with {status}, as it says above")));
            }
            Err(RecvTimeoutError::Timeout) => bail!("the sensor does not say that it watches"),
        }
    }
    say(&format!("The sensor watches {} at {addr}.", cgroup.path().display()))?;

    let missed = play(addr, &events)?;
    if let Some(pid) = Pid::from_raw(running.0.id().cast_signed()) {
        kill_process(pid, Signal::TERM)?;
    }
    for event in &events {
        present(&event)?;
    }
    ensure!(missed == 0, "the sensor did not report {missed} of the forged requests");
    say("\nEvery forged request was reported, with what the shop answered.")
}

/// Plays the scenes and shows the events that come; gives how many findings did not.
fn play(addr: SocketAddr, events: &Receiver<String>) -> Result<usize> {
    let token = traffic::log_in(addr, "ann")?;
    let mut missed = 0;
    for scene in traffic::scenes(&token) {
        let client = traffic::play(addr, &scene)?;
        say(&format!(
            "
> {} ({})",
            scene.title, scene.status
        ))?;
        let mut wanted = scene.finding;
        let mut deadline = Instant::now() + if wanted.is_some() { EVENT_LIMIT } else { PAUSE };
        while let Ok(event) =
            events.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            present(&event)?;
            let reported = show::findings(&event).is_some_and(|(port, ids)| {
                port == client.port() && ids.iter().any(|id| Some(&**id) == wanted)
            });
            if reported {
                wanted = None;
                deadline = Instant::now() + PAUSE;
            }
        }
        if let Some(finding) = wanted {
            say(&format!("MISSED   {finding}"))?;
            missed += 1;
        }
    }
    Ok(missed)
}

fn replay(sensor: &Path) -> Result<()> {
    let capture = setup::workspace().join(CAPTURE);
    let (mut running, events) = start_lines(Command::new(sensor).arg("replay").arg(&capture))?;
    let mut shown = 0;
    for event in events {
        present(&event)?;
        shown += 1;
    }
    let status = running.0.wait()?;
    ensure!(status.success(), "`jotwatch replay {CAPTURE}` ended with {status}");
    say(&format!("\n{shown} events from {CAPTURE}."))
}

/// Plays the scenes with a packet recorder in the sensor's place.
fn record(file: &Path) -> Result<()> {
    let file = std::path::absolute(file)?;
    setup::ensure_tools(&["ip", "tshark"], "recording the demo's traffic")?;
    enter_network()?;
    let cgroup = Cgroup::new(CGROUP)?;
    let addr: SocketAddr = SHOP.parse()?;
    let _shop = start_shop(addr, &cgroup)?;
    let mut dumpcap = Command::new("dumpcap");
    dumpcap.args(["-q", "-P", "-i", "lo", "-f", &format!("tcp port {}", addr.port()), "-w"]);
    let mut recorder = Running(dumpcap.arg(&file).stderr(Stdio::piped()).spawn()?);
    let mut said = BufReader::new(recorder.0.stderr.take().context("no standard error")?).lines();
    let ready = said.by_ref().map_while(Result::ok).any(|line| line.starts_with("File: "));
    ensure!(ready, "dumpcap did not start");

    let token = traffic::log_in(addr, "ann")?;
    for scene in traffic::scenes(&token) {
        traffic::play(addr, &scene)?;
    }
    thread::sleep(PAUSE);
    kill_process(Pid::from_child(&recorder.0), Signal::INT)?;
    let status = recorder.0.wait()?;
    ensure!(status.success(), "dumpcap ended with {status}");
    Ok(())
}

fn start_shop(addr: SocketAddr, cgroup: &Cgroup) -> Result<Running> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["demo-service", &addr.to_string()]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut shop = Running(command.spawn().context("cannot start the shop")?);
    cgroup.add(&shop.0).context("cannot move the shop into its cgroup")?;
    // The pipe stays open as long as the child is held.
    shop.0.stdin.as_mut().context("no pipe")?.write_all(b"\n")?;
    let mut line = String::new();
    BufReader::new(shop.0.stdout.take().context("no pipe")?).read_line(&mut line)?;
    ensure!(line == "listening\n", "the shop did not start");
    Ok(shop)
}

/// Starts a command whose lines on standard output come on a channel, which ends with it.
fn start_lines(command: &mut Command) -> Result<(Running, Receiver<String>)> {
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
    let lines = BufReader::new(child.stdout.take().context("no pipe")?).lines();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    Ok((Running(child), receiver))
}

fn build_sensor() -> Result<PathBuf> {
    let built = setup::build(&["--quiet", "--package", "jotwatch"]);
    Ok(built.context("the sensor is not there")?.join("jotwatch"))
}

fn present(event: &str) -> Result<()> {
    say(&show::line(event, io::stdout().is_terminal()))
}

fn say(text: &str) -> Result<()> {
    Ok(writeln!(io::stdout(), "{text}")?)
}
