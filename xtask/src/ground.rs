//! Where the demo and the benchmarks play: a network namespace and a cgroup of their own, so
//! that the sensor sees their traffic and nothing else of the machine.

use std::{
    fs, io,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command},
};

use anyhow::{Context as _, Result, ensure};
use rustix::{
    process::{Pid, Signal, kill_process},
    thread::{UnshareFlags, unshare_unsafe},
};

/// A child process that is killed when dropped.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A cgroup, removed when dropped, its processes and what is below it with it.
pub(crate) struct Cgroup(PathBuf);

/// Moves this thread, and what it starts from now on, into a network namespace of its own,
/// with loopback up. Nothing outside is changed, and the namespace goes with the last process
/// in it.
///
/// # Errors
/// If the kernel refuses, as it does without root.
pub(crate) fn enter_network() -> Result<()> {
    // SAFETY: only the network namespace changes, which no memory or descriptor of this
    // process depends on.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.context("no network namespace")?;
    let status = Command::new("ip").args(["link", "set", "lo", "up"]).status()?;
    ensure!(status.success(), "`ip link set lo up` failed");
    TcpListener::bind(("127.0.0.1", 0)).context("no loopback in the network namespace")?;
    Ok(())
}

impl Cgroup {
    /// Makes a cgroup `NAME-PID` below this process's own in the cgroup v2 hierarchy.
    ///
    /// # Errors
    /// If there is no such hierarchy, or it is not writable here.
    pub(crate) fn new(name: &str) -> Result<Self> {
        let parent = own_cgroup()?;
        let prefix = format!("{name}-");
        // An interrupted run leaves an empty cgroup; one that is in use is not removable.
        for entry in fs::read_dir(&parent)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                fs::remove_dir(entry.path()).ok();
            }
        }
        let path = parent.join(format!("{prefix}{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Moves a process into it. Sockets count for the cgroup that their maker was in, so this
    /// comes before the process opens any.
    pub(crate) fn add(&self, child: &Child) -> io::Result<()> {
        fs::write(self.0.join("cgroup.procs"), child.id().to_string())
    }

    /// A command that runs `program` in it from the start.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", r#"echo $$ >"$0" && exec "$@""#]);
        command.arg(self.0.join("cgroup.procs")).arg(program);
        command
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for _ in 0..100 {
            // Linux 5.14 has `cgroup.kill`.
            if fs::write(self.0.join("cgroup.kill"), "1").is_err() {
                let members = fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
                for pid in members.lines().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)) {
                    kill_process(pid, Signal::KILL).ok();
                }
            }
            if remove(&self.0).is_ok() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

/// Removes a cgroup with those below it.
fn remove(cgroup: &Path) -> io::Result<()> {
    for entry in fs::read_dir(cgroup)?.flatten() {
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(cgroup)
}

fn own_cgroup() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mount = mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            Some((words.next()?, words.next()?))
        })
        .find_map(|(path, kind)| (kind == "cgroup2").then_some(path))
        .context("cgroup v2 is not mounted")?;
    let own = fs::read_to_string("/proc/self/cgroup")?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"));
    Ok(Path::new(mount).join(own.unwrap_or_default()))
}
