//! Real, unmodified services for a test to watch.
//!
//! Each module starts one service as a child process in the foreground, on an address that
//! the test names, with its files in a temporary directory that goes with it:
//!
//! | module | service | tokens |
//! |---|---|---|
//! | [`nginx`] | nginx, a master and one worker | passed by unread |
//! | [`gns3`] | gns3-server (Python, uvicorn) | HS256, issued at login |
//! | [`influxdb`] | InfluxDB 1.x (Go) | HS256 with a shared secret |
//! | [`express`] | express with jsonwebtoken (Node) | HS256, and a route that does not verify |
//! | [`rest`] | express and FastAPI, which ask for scores | HS256 |
//! | [`plain`] | a small server on Python's own | passed by unread |
//! | [`parsers`] | Node, nginx, http.server and h11, which write down what they serve | passed by unread |
//! | [`uring`] | a small server whose socket I/O is all io_uring | passed by unread |
//!
//! `cargo xtask setup` brings what they need to `target/services`; a service whose program
//! is not there gives [`NotInstalled`]. Where a service runs (network namespace, cgroup) is
//! the caller's to say, with a [`Place`].

pub mod express;
pub mod gns3;
pub mod http;
pub mod influxdb;
pub mod nginx;
pub mod parsers;
pub mod plain;
pub mod rest;
pub mod rsyslog;
pub mod uring;

use std::{
    fs::{self, File, Permissions},
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// The started service, or `None` if it is not installed and need not be: with
/// `JOTWATCH_REQUIRE_SERVICES` in the environment it need.
///
/// # Panics
/// Where the service is there and does not start.
pub fn installed(service: Result<Service>) -> Option<Service> {
    match service {
        Ok(service) => Some(service),
        Err(error)
            if error.is::<NotInstalled>()
                && std::env::var_os("JOTWATCH_REQUIRE_SERVICES").is_none() =>
        {
            eprintln!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error:#}"),
    }
}

/// How long a service may take until it accepts connections; gns3-server needs 4 s on an
/// idle machine.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// How long a service that was asked to stop may take before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(2);
/// How much of a failed service's log an error shows, in bytes.
const LOG_TAIL: usize = 2_000;

/// Where a service runs, and from where it is reached.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// Called on the service's command before it starts, to put it into a network namespace
    /// and a cgroup. It must keep the process id (so `pre_exec`, not a wrapping shell).
    pub enter: &'a dyn Fn(&mut Command),
    /// Opens a connection in the service's network namespace. To see whether a service is
    /// up, connections are opened and closed without a byte: whoever watches sees those too.
    pub connect: &'a dyn Fn(SocketAddr) -> io::Result<TcpStream>,
}

impl Place<'static> {
    /// The caller's own namespace and cgroup.
    pub const HERE: Self = Self { enter: &|_| (), connect: &|addr| TcpStream::connect(addr) };
}

/// A service's program is not on this machine.
#[derive(Debug, thiserror::Error)]
#[error("{program} is not installed; `cargo xtask setup` brings it")]
pub struct NotInstalled {
    /// The program that was looked for.
    pub program: String,
}

/// A running service: stopped when dropped, and its files removed.
#[derive(Debug)]
pub struct Service {
    addr: SocketAddr,
    child: Child,
    dir: TempDir,
    stop: Stop,
}

/// How a service is taken down.
#[derive(Clone, Copy, Debug)]
enum Stop {
    /// SIGTERM first, as it has children of its own to end.
    Ask,
    /// SIGKILL at once: one process, whose orderly stop would only take time.
    Kill,
}

impl Service {
    /// Starts `command` in `place` and waits until `addr` accepts connections.
    fn start(
        mut command: Command,
        dir: TempDir,
        addr: SocketAddr,
        place: &Place<'_>,
        stop: Stop,
    ) -> Result<Self> {
        let log = File::create(dir.path().join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        (place.enter)(&mut command);
        let child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        let mut service = Self { addr, child, dir, stop };
        let deadline = Instant::now() + READY_LIMIT;
        loop {
            if (place.connect)(addr).is_ok() {
                return Ok(service);
            }
            if let Some(status) = service.child.try_wait()? {
                bail!("{command:?} ended with {status}: {}", service.log_tail());
            }
            if Instant::now() > deadline {
                bail!("{command:?} does not listen on {addr}: {}", service.log_tail());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The process that was started (nginx's master, not its worker).
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its files: configuration, data, log.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The end of what it printed.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = fs::read(self.dir.path().join("log")).unwrap_or_default();
        let tail = log.len().saturating_sub(LOG_TAIL);
        String::from_utf8_lossy(&log[tail..]).into_owned()
    }

    /// Kills it in mid-flight with SIGKILL, as a crash would. What it has started lives on.
    ///
    /// # Errors
    /// The system's, if it cannot be signalled or waited for.
    pub fn crash(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if matches!(self.stop, Stop::Ask)
            && let Ok(None) = self.child.try_wait()
            && kill_process(Pid::from_child(&self.child), Signal::TERM).is_ok()
        {
            let deadline = Instant::now() + STOP_LIMIT;
            while let Ok(None) = self.child.try_wait()
                && Instant::now() < deadline
            {
                thread::sleep(Duration::from_millis(5));
            }
        }
        // A process that has been waited for is not signalled again, so its reused id is safe.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A loopback address (IPv4) with a port that is free in the calling thread's network
/// namespace. Another process can take it before the service does; inside a namespace of
/// one's own nobody is there to.
///
/// # Errors
/// The system's, if no socket can be bound.
pub fn free_loopback() -> io::Result<SocketAddr> {
    TcpListener::bind(("127.0.0.1", 0))?.local_addr()
}

/// Where `cargo xtask setup` puts what services need: `services` in the target directory.
#[must_use]
pub fn services_dir() -> PathBuf {
    target_dir().join("services")
}

fn workspace() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests)
}

fn target_dir() -> PathBuf {
    // A relative path is the workspace's: tests run in their package's directory, not where
    // cargo was called.
    workspace().join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// The program of a service: `unpacked` below [`services_dir`], or else `name` on the PATH
/// or in the system's directories for daemons, which are not on every user's PATH.
fn program(unpacked: &str, name: &str) -> Result<PathBuf, NotInstalled> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    [services_dir().join(unpacked)]
        .into_iter()
        .chain(std::env::split_paths(&path).map(|dir| dir.join(name)))
        .chain(["/usr/sbin", "/sbin"].map(|dir| Path::new(dir).join(name)))
        .find(|path| path.is_file())
        .ok_or_else(|| NotInstalled { program: name.to_owned() })
}

/// A directory for a service's files, readable by the unprivileged user that some services
/// switch to.
fn service_dir(name: &str) -> Result<TempDir> {
    let dir = tempfile::Builder::new().prefix(&format!("jotwatch-{name}-")).tempdir()?;
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755))?;
    Ok(dir)
}

/// Writes the configuration `template` as `name` into `dir`, with `@DIR@`, `@ADDR@`,
/// `@HOST@`, `@PORT@` and `@SECRET@` filled in.
fn configure(
    dir: &Path,
    name: &str,
    template: &str,
    addr: SocketAddr,
    secret: &str,
) -> Result<PathBuf> {
    let text = template
        .replace("@DIR@", &dir.display().to_string())
        .replace("@ADDR@", &addr.to_string())
        .replace("@HOST@", &addr.ip().to_string())
        .replace("@PORT@", &addr.port().to_string())
        .replace("@SECRET@", secret);
    let path = dir.join(name);
    fs::write(&path, text)?;
    Ok(path)
}
