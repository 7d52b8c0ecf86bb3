//! A place for live tests: a network namespace with nothing but loopback, and a cgroup of its
//! own. Both go when the value is dropped, also when a test panics.

use std::{
    fs,
    io::Write as _,
    net::{SocketAddr, TcpStream},
    os::{fd::AsFd as _, unix::process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use jotwatch::{capture::live, enforce::guard};

use crate::services;

/// Whether this process may do what live tests need, and the kernel is not below the minimum. Says
/// so on stderr if not.
#[must_use]
pub fn privileged() -> bool {
    let reason = if !rustix::process::geteuid().is_root() {
        "needs root".to_owned()
    } else if let Err(error @ live::Error::KernelTooOld(_)) = live::permitted() {
        error.to_string()
    } else {
        return true;
    };
    let _ = writeln!(std::io::stderr(), "skipped: {reason}");
    false
}

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A network namespace and a cgroup v2 directory.
#[derive(Debug)]
pub struct Place {
    name: String,
    cgroup: PathBuf,
}

fn ip(args: &[&str]) -> Result<()> {
    let out = Command::new("ip").args(args).output().context("running ip (iproute2)")?;
    ensure!(
        out.status.success(),
        "ip {}: {}",
        args.join(" "),
        String::from_utf8_lossy(&out.stderr).trim()
    );
    Ok(())
}

impl Place {
    /// Makes the namespace and the cgroup, and brings loopback up.
    pub fn new() -> Result<Self> {
        let name = format!(
            "jotwatch-test-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let root = live::cgroup_mount().context("no cgroup v2 mount")?;
        let place = Self { cgroup: root.join(&name), name };
        fs::create_dir(&place.cgroup).context("making a cgroup")?;
        ip(&["netns", "add", &place.name])?;
        ip(&["-n", &place.name, "link", "set", "lo", "up"])?;
        Ok(place)
    }

    /// The cgroup's directory.
    #[must_use]
    pub fn cgroup(&self) -> &Path {
        &self.cgroup
    }

    /// A command that runs in the namespace and, from its first instruction on, in the cgroup.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg("echo $$ > \"$0/cgroup.procs\" && exec ip netns exec \"$@\"")
            .arg(&self.cgroup)
            .arg(&self.name)
            .arg(program)
            .stdin(Stdio::null());
        command
    }

    /// As [`Place::command`], outside the cgroup: a client whose sockets are not watched.
    #[must_use]
    pub fn outside(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]).stdin(Stdio::null());
        command
    }

    /// Gives `f` this place as the real services take it: they run in the namespace and in the
    /// cgroup, and clients connect from the namespace and outside of the cgroup.
    pub fn services<T>(&self, f: impl FnOnce(&services::Place<'_>) -> T) -> T {
        let enter = |command: &mut Command| {
            let namespace = fs::File::open(format!("/run/netns/{}", self.name));
            let procs = fs::OpenOptions::new().write(true).open(self.cgroup.join("cgroup.procs"));
            // SAFETY: only system calls are made between fork and exec.
            unsafe {
                command.pre_exec(move || {
                    let (Ok(namespace), Ok(procs)) = (&namespace, &procs) else {
                        return Err(std::io::ErrorKind::NotFound.into());
                    };
                    rustix::io::write(procs, b"0")?;
                    rustix::thread::move_into_link_name_space(
                        namespace.as_fd(),
                        Some(rustix::thread::LinkNameSpaceType::Network),
                    )?;
                    Ok(())
                });
            }
        };
        let connect = |addr| {
            self.inside(|| Ok(TcpStream::connect(addr))).map_err(std::io::Error::other).flatten()
        };
        f(&services::Place { enter: &enter, connect: &connect })
    }

    /// Connects to `addr` from the namespace.
    pub fn connect(&self, addr: SocketAddr) -> Result<TcpStream> {
        let stream = self.inside(|| Ok(TcpStream::connect(addr)?))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(stream)
    }

    /// Lays a cable to `other`: this end is 10.77.0.1 and fd77::1, the other's .2 and ::2.
    pub fn link(&self, other: &Self) -> Result<()> {
        let (a, b) = (self.name.as_str(), other.name.as_str());
        ip(&["-n", a, "link", "add", "cable", "type", "veth", "peer", "cable", "netns", b])?;
        for (name, v4, v6) in [(a, "10.77.0.1/24", "fd77::1/64"), (b, "10.77.0.2/24", "fd77::2/64")]
        {
            ip(&["-n", name, "addr", "add", v4, "dev", "cable"])?;
            ip(&["-n", name, "addr", "add", v6, "dev", "cable", "nodad"])?;
            ip(&["-n", name, "link", "set", "cable", "up"])?;
        }
        Ok(())
    }

    /// The namespace's name for `ip netns`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Starts a service; it is killed when the value is dropped.
    pub fn service(&self, program: &str, args: &[&str]) -> Result<Service> {
        let child = self
            .command(program)
            .args(args)
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("starting {program}"))?;
        Ok(Service { child })
    }

    /// Runs `f` on a thread that is in the namespace: the sockets it makes are there.
    pub fn inside<T: Send>(&self, f: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let path = format!("/run/netns/{}", self.name);
        thread::scope(|s| {
            s.spawn(|| {
                let namespace = fs::File::open(&path).context("opening the namespace")?;
                rustix::thread::move_into_link_name_space(
                    namespace.as_fd(),
                    Some(rustix::thread::LinkNameSpaceType::Network),
                )
                .context("entering the namespace")?;
                f()
            })
            .join()
            .map_err(|_| anyhow::anyhow!("the thread in the namespace panicked"))?
        })
    }

    /// Waits until something listens on `port` in the namespace.
    pub fn wait_for_port(&self, port: u16) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(10);
        while Instant::now() < end {
            let connected = self.inside(|| Ok(TcpStream::connect(("127.0.0.1", port)).is_ok()))?;
            if connected {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(20));
        }
        bail!("nothing listens on port {port}")
    }

    fn processes(&self) -> Vec<i32> {
        fs::read_to_string(self.cgroup.join("cgroup.procs"))
            .unwrap_or_default()
            .lines()
            .filter_map(|l| l.parse().ok())
            .collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Everything in the cgroup was started by this test.
        for _ in 0..200 {
            let left = self.processes();
            if left.is_empty() {
                break;
            }
            for pid in left.into_iter().filter_map(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
            thread::sleep(Duration::from_millis(10));
        }
        let _ = ip(&["netns", "del", &self.name]);
        // What a sensor keeps for the next one on this cgroup.
        if let Ok(pins) = guard::pin_folder(Some(&self.cgroup)) {
            let _ = guard::detach(&pins);
        }
        for _ in 0..50 {
            if fs::remove_dir(&self.cgroup).is_ok() {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A running service.
#[derive(Debug)]
pub struct Service {
    child: Child,
}

impl Service {
    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
