//! Where live parts measure: nginx in a network namespace and a cgroup of its own, and the
//! loads that drive it from outside that cgroup.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
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
/// Connections of the load generator when it goes as fast as it can.
const LOAD_CONNECTIONS: u32 = 64;
/// The pause on each connection of a paced load, on average, in milliseconds.
const PACE: u32 = 10;

/// A running nginx and what is around it; all goes when it is dropped.
pub(super) struct Stand {
    // Dropped in this order: nginx is asked to end before its cgroup is emptied by force.
    nginx: Running,
    cgroup: Cgroup,
    dir: TempDir,
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
    pub(super) fn start() -> Result<Self> {
        enter_network()?;
        let cgroup = Cgroup::new("jotwatch-bench")?;
        let dir = tempfile::Builder::new().prefix("jotwatch-bench-").tempdir()?;
        // nginx's worker gives up root and wants to come to its files.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(dir.path(), open)?;
        let config = include_str!("nginx.conf")
            .replace("@DIR@", &dir.path().display().to_string())
            .replace("@WATCHED@", &WATCHED.to_string())
            .replace("@UNWATCHED@", &UNWATCHED.to_string());
        let file = dir.path().join("nginx.conf");
        fs::write(&file, config)?;
        let unpacked = setup::services_dir().join("nginx/usr/sbin/nginx");
        let program = Some(unpacked).filter(|path| path.is_file()).or_else(|| setup::find("nginx"));
        let mut command = cgroup.command(&program.context("nginx is not installed")?);
        command.args(["-e", "stderr", "-p"]).arg(dir.path()).arg("-c").arg(file);
        let nginx = Running(command.stdin(Stdio::null()).spawn()?);
        let stand = Self { nginx, cgroup, dir };
        let deadline = Instant::now() + READY_LIMIT;
        while TcpStream::connect(UNWATCHED).is_err() {
            ensure!(Instant::now() < deadline, "nginx does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        Ok(stand)
    }

    /// The cgroup that nginx is in.
    pub(super) fn cgroup(&self) -> &Path {
        self.cgroup.path()
    }

    /// A command that runs `program` in the cgroup that nginx is in.
    pub(super) fn command(&self, program: &Path) -> Command {
        self.cgroup.command(program)
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

    /// Keep-alive requests with one good token, as fast as they go.
    pub(super) fn full_load(&self, addr: SocketAddr, seconds: u32) -> Result<Load> {
        self.load(addr, LOAD_CONNECTIONS, "", seconds)
    }

    /// The same at about `rate` requests a second.
    pub(super) fn paced_load(&self, addr: SocketAddr, rate: f64, seconds: u32) -> Result<Load> {
        // Each connection sends one request in PACE milliseconds; random pauses spread them.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let connections = (rate * f64::from(PACE) / 1000.0) as u32;
        let delay = format!("function delay() return math.random(0, {}) end\n", 2 * PACE);
        self.load(addr, connections.max(LOAD_THREADS), &delay, seconds)
    }

    fn load(&self, addr: SocketAddr, connections: u32, delay: &str, seconds: u32) -> Result<Load> {
        let script = self.dir.path().join("load.lua");
        let token = token(0);
        fs::write(
            &script,
            format!(
                "wrk.headers['Authorization'] = 'Bearer {token}'\n{delay}\
                function done(summary, latency)\n  \
                  local e = summary.errors\n  \
                  io.write(string.format('load %d %d %d %d %d\\n', summary.requests,\n    \
                    summary.duration, latency:percentile(50), latency:percentile(99),\n    \
                    e.connect + e.read + e.write + e.status + e.timeout))\n\
                end\n"
            ),
        )?;
        let before = self.requests()?;
        let mut wrk = Command::new("wrk");
        wrk.args([format!("-t{LOAD_THREADS}"), format!("-c{connections}")]);
        wrk.arg(format!("-d{seconds}s")).arg("-s").arg(script).arg(format!("http://{addr}/"));
        let output = wrk.stdin(Stdio::null()).output().context("cannot start wrk")?;
        let said = String::from_utf8_lossy(&output.stdout);
        let numbers: Vec<u64> = said
            .lines()
            .find_map(|line| line.strip_prefix("load "))
            .map(|line| line.split(' ').filter_map(|word| word.parse().ok()).collect())
            .unwrap_or_default();
        let [answered, micros, p50, p99, errors] = numbers[..] else {
            bail!("wrk ({}) says: {said}{}", output.status, String::from_utf8_lossy(&output.stderr))
        };
        ensure!(errors == 0, "wrk counts {errors} errors");
        // wrk has gone, but nginx may still be reading what it left.
        thread::sleep(Duration::from_millis(100));
        Ok(Load {
            rate: float(answered) / float(micros.max(1)) * 1e6,
            p50: float(p50),
            p99: float(p99),
            // The second question counts itself.
            requests: self.requests()?.saturating_sub(before + 1),
            connections: connections.into(),
        })
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        // Its master ends the worker.
        kill_process(Pid::from_child(&self.nginx.0), Signal::TERM).ok();
        self.nginx.0.wait().ok();
    }
}
