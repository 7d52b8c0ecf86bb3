//! Where live parts measure: nginx in a network namespace and a cgroup of its own, and the
//! loads that drive it from outside that cgroup.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::{table::float, token::token};
use crate::{
    ground::{Cgroup, Running, enter_network},
    setup,
};

/// The port that the sensor watches.
pub(super) const WATCHED: SocketAddr = SocketAddr::new(LOOPBACK, 8080);
/// A port of the same nginx that it does not.
pub(super) const UNWATCHED: SocketAddr = SocketAddr::new(LOOPBACK, 8081);
const LOOPBACK: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// How long nginx may take to listen.
const READY_LIMIT: Duration = Duration::from_secs(10);
/// Threads of the load generator.
const LOAD_THREADS: u32 = 2;
/// Connections of both load generators.
const LOAD_CONNECTIONS: u32 = 64;
/// The file that is downloaded as `/bulk` and, in chunks, as `/chunked`.
pub(super) const BULK_BYTES: u64 = 1 << 30;

/// A running nginx and what is around it; all goes when it is dropped.
pub(super) struct Stand {
    // Dropped in this order: nginx is asked to end before its cgroup is emptied by force.
    _nginx: Nginx,
    cgroup: Cgroup,
    dir: TempDir,
    open_load: PathBuf,
}

/// An nginx, asked to end when dropped.
pub(super) struct Nginx(Running);

/// The machine's nginx, or the one that was unpacked.
pub(super) fn nginx() -> Result<PathBuf> {
    let unpacked = setup::services_dir().join("nginx/usr/sbin/nginx");
    let program = Some(unpacked).filter(|path| path.is_file()).or_else(|| setup::find("nginx"));
    program.context("nginx is not installed")
}

impl Nginx {
    /// Starts it in a cgroup with this configuration, which takes `dir` for its files and `log` in
    /// it for what it says first, and waits until it listens at `addr`.
    ///
    /// # Errors
    /// If it is not there, or does not listen.
    pub(super) fn start(
        cgroup: &Cgroup,
        dir: &Path,
        config: &str,
        addr: SocketAddr,
    ) -> Result<Self> {
        // Its worker gives up root and wants to come to its files.
        fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let file = dir.join("nginx.conf");
        fs::write(&file, config)?;
        let mut command = cgroup.command(&nginx()?);
        let log = dir.join("log");
        command.arg("-e").arg(&log).arg("-p").arg(dir).arg("-c").arg(file);
        let nginx = Self(Running(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn()?));
        let said = |_| fs::read_to_string(&log).unwrap_or_default();
        listens(addr).map_err(said).map_err(|said| anyhow!("nginx does not listen: {said}"))?;
        Ok(nginx)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its master ends the worker.
        kill_process(Pid::from_child(&self.0.0), Signal::TERM).ok();
        self.0.0.wait().ok();
    }
}

/// Waits until somebody listens there.
///
/// # Errors
/// If nobody does within [`READY_LIMIT`].
pub(super) fn listens(addr: SocketAddr) -> Result<()> {
    let deadline = Instant::now() + READY_LIMIT;
    while TcpStream::connect(addr).is_err() {
        ensure!(Instant::now() < deadline, "nobody listens at {addr}");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The status of the answer to a request with this token.
pub(super) fn ask(addr: SocketAddr, target: &str, token: &str) -> Result<u16> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(READY_LIMIT))?;
    stream.write_all(request(addr, target, token, "Connection: close\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let status = String::from_utf8_lossy(&answer).split(' ').nth(1).and_then(|s| s.parse().ok());
    status.with_context(|| format!("no answer: {}", String::from_utf8_lossy(&answer)))
}

/// A request as wrk sends it, with further header lines.
pub(super) fn request(addr: SocketAddr, target: &str, token: &str, more: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {addr}\r\nAuthorization: Bearer {token}\r\n{more}\r\n")
}

/// How long the processors have been busy since the machine started, all of them together (the first
/// line of /proc/stat, proc_stat(5)): not idle, not waiting for a disk, not taken by the host.
fn busy() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    let line = stat.lines().next().and_then(|line| line.strip_prefix("cpu "));
    let ticks: Vec<u64> = line.map(whole_numbers).unwrap_or_default();
    let [user, nice, system, _idle, _iowait, irq, softirq, ..] = ticks[..] else {
        bail!("/proc/stat begins in another way")
    };
    let ticks = user + nice + system + irq + softirq;
    let a_second = rustix::param::clock_ticks_per_second().max(1);
    Ok(Duration::from_nanos(ticks.saturating_mul(1_000_000_000 / a_second)))
}

fn whole_numbers(line: &str) -> Vec<u64> {
    line.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// What a load measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// Requests a second that were answered.
    pub(super) rate: f64,
    /// The median latency, in microseconds.
    pub(super) p50: f64,
    /// The latency that 99 of 100 requests stay below, in microseconds.
    pub(super) p99: f64,
    /// The median of that in each tenth of a second, where the load tells.
    pub(super) parts_p99: Option<f64>,
    /// How long the processors of the machine were busy with anything at all.
    pub(super) busy: Duration,
    /// Requests that nginx read. Those on their way when the load ends may miss here: at most
    /// one a connection.
    pub(super) requests: u64,
    /// Connections.
    pub(super) connections: u64,
}

impl Stand {
    /// Moves this thread into a network namespace of its own and starts nginx there.
    ///
    /// # Errors
    /// Without root, cgroup v2 or nginx.
    pub(super) fn start(binaries: &Path) -> Result<Self> {
        enter_network()?;
        let cgroup = Cgroup::new("jotwatch-bench")?;
        let dir = tempfile::Builder::new().prefix("jotwatch-bench-").tempdir()?;
        let config = include_str!("nginx.conf")
            .replace("@DIR@", &dir.path().display().to_string())
            .replace("@WATCHED@", &WATCHED.to_string())
            .replace("@UNWATCHED@", &UNWATCHED.to_string());
        // A hole: it takes no room on the disk.
        fs::File::create(dir.path().join("bulk"))?.set_len(BULK_BYTES)?;
        let nginx = Nginx::start(&cgroup, dir.path(), &config, UNWATCHED)?;
        Ok(Self { _nginx: nginx, cgroup, dir, open_load: binaries.join("open-load") })
    }

    /// The cgroup that nginx is in.
    pub(super) fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }

    /// Requests that nginx has read since it started, this very question among them.
    pub(super) fn requests(&self) -> Result<u64> {
        let mut stream = TcpStream::connect(UNWATCHED)?;
        stream.write_all(b"GET /status HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        // The third line of ngx_http_stub_status_module: accepted, handled, requests.
        let counts = answer.lines().skip_while(|line| !line.starts_with("server accepts")).nth(1);
        let requests = counts.and_then(|line| line.split_whitespace().nth(2));
        requests.context("nginx does not say its status")?.parse().context("not a number")
    }

    /// Keep-alive requests with one good token that fall due at this rate, whatever becomes of
    /// those before: see `open-load`, whose latencies run from there.
    pub(super) fn paced_load(&self, addr: SocketAddr, rate: f64, seconds: u32) -> Result<Load> {
        let (before, busy) = (self.requests()?, busy()?);
        let mut command = Command::new(&self.open_load);
        command.arg(addr.to_string()).args(["--rate", &rate.to_string()]);
        command.args(["--seconds", &seconds.to_string()]);
        command.args(["--connections", &LOAD_CONNECTIONS.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot start open-load")?;
        let request = request(addr, "/", &token(0), "");
        child.stdin.take().context("no input")?.write_all(request.as_bytes())?;
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "open-load ({}) says: {said}", output.status);
        let busy = self::busy()?.saturating_sub(busy);
        let figures: Value = serde_json::from_slice(&output.stdout)?;
        let figure = |name: &str| {
            let figure = figures.get(name).and_then(Value::as_f64);
            figure.with_context(|| format!("no {name} in {figures}"))
        };
        let (due, answered) = (figure("due")?, figure("answered")?);
        ensure!(due - answered < 0.5, "{answered} of {due} requests were answered");
        Ok(Load {
            rate: figure("rate")?,
            p50: figure("p50")?,
            p99: figure("p99")?,
            parts_p99: Some(figure("parts_p99")?),
            busy,
            // The second question counts itself.
            requests: self.requests()?.saturating_sub(before + 1),
            connections: LOAD_CONNECTIONS.into(),
        })
    }

    /// Keep-alive requests with one good token, as fast as they go.
    pub(super) fn full_load(&self, addr: SocketAddr, seconds: u32) -> Result<Load> {
        let script = self.dir.path().join("load.lua");
        let token = token(0);
        fs::write(
            &script,
            format!(
                "wrk.headers['Authorization'] = 'Bearer {token}'\n\
                function done(summary, latency)\n  \
                  local e = summary.errors\n  \
                  io.write(string.format('load %d %d %d %d %d %d %d %d %d\\n', summary.requests,\n    \
                    summary.duration, latency:percentile(50), latency:percentile(99),\n    \
                    e.connect, e.read, e.write, e.status, e.timeout))\n\
                end\n"
            ),
        )?;
        let (before, busy) = (self.requests()?, busy()?);
        let mut wrk = Command::new("wrk");
        wrk.args([format!("-t{LOAD_THREADS}"), format!("-c{LOAD_CONNECTIONS}")]);
        // A slow service is no error: its rate says it.
        wrk.args(["--timeout", "60s"]);
        wrk.arg(format!("-d{seconds}s")).arg("-s").arg(script).arg(format!("http://{addr}/"));
        let output = wrk.stdin(Stdio::null()).output().context("cannot start wrk")?;
        let said = String::from_utf8_lossy(&output.stdout);
        let numbers: Vec<u64> = said
            .lines()
            .find_map(|line| line.strip_prefix("load "))
            .map(whole_numbers)
            .unwrap_or_default();
        let [answered, micros, p50, p99, ref errors @ ..] = numbers[..] else {
            bail!("wrk ({}) says: {said}{}", output.status, String::from_utf8_lossy(&output.stderr))
        };
        let names = ["connect", "read", "write", "status", "timeout"];
        let errors: Vec<_> = names.iter().zip(errors).filter(|(_, count)| **count > 0).collect();
        ensure!(errors.is_empty(), "wrk counts errors: {errors:?}");
        let busy = self::busy()?.saturating_sub(busy);
        // wrk has gone, but nginx may still be reading what it left.
        thread::sleep(Duration::from_millis(100));
        Ok(Load {
            rate: float(answered) / float(micros.max(1)) * 1e6,
            p50: float(p50),
            p99: float(p99),
            parts_p99: None,
            busy,
            // The second question counts itself.
            requests: self.requests()?.saturating_sub(before + 1),
            connections: LOAD_CONNECTIONS.into(),
        })
    }
}
