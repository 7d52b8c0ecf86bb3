//! One watcher a port and cgroup: a second `jotwatch run` on the same is told so.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use rustix::fs::{FlockOperation, flock};

/// Shared by all instances whatever their `runtime_dir`, or they could not see each other.
const LOCK_DIR: &str = "/run/lock/jotwatch";

/// Holds the ports of one cgroup while it lives; the kernel lets go when the process ends, however
/// it ends.
#[derive(Debug)]
pub(super) struct WatchLock {
    files: Vec<(PathBuf, File)>,
}

impl WatchLock {
    /// Takes all `ports` of the cgroup at `cgroup`, or none.
    ///
    /// # Errors
    /// Another process watches one of the ports in this cgroup, in one above or in one below.
    pub(super) fn take(cgroup: &Path, ports: &[u16]) -> anyhow::Result<Self> {
        fs::create_dir_all(LOCK_DIR).with_context(|| format!("{LOCK_DIR}: can't be created"))?;
        // Taken while the others are looked through, so that of two that start at once one wins.
        let gate = open(&Path::new(LOCK_DIR).join("gate"))?;
        flock(&gate, FlockOperation::LockExclusive).context("the lock folder can't be locked")?;
        for entry in fs::read_dir(LOCK_DIR)?.flatten() {
            let name = entry.file_name();
            let Some(port) = name.to_str().and_then(port_of).filter(|port| ports.contains(port))
            else {
                continue;
            };
            let Ok(mut file) = File::open(entry.path()) else { continue };
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                // Left by a process that is gone.
                let _ = fs::remove_file(entry.path());
                continue;
            }
            let mut owner = String::new();
            let _ = file.read_to_string(&mut owner);
            let (pid, other) = owner.trim_end().split_once(' ').unwrap_or(("?", ""));
            if cgroup.starts_with(other) || Path::new(other).starts_with(cgroup) {
                bail!("port {port} of cgroup {other} is already watched by process {pid}");
            }
        }
        let mut files = Vec::new();
        for port in ports {
            let path = Path::new(LOCK_DIR).join(format!("{}-{port}", std::process::id()));
            let mut file = open(&path)?;
            flock(&file, FlockOperation::NonBlockingLockExclusive)
                .with_context(|| format!("{}: can't be locked", path.display()))?;
            file.set_len(0)?;
            writeln!(file, "{} {}", std::process::id(), cgroup.display())?;
            files.push((path, file));
        }
        Ok(Self { files })
    }
}

impl Drop for WatchLock {
    fn drop(&mut self) {
        for (path, _file) in &self.files {
            let _ = fs::remove_file(path);
        }
    }
}

fn port_of(name: &str) -> Option<u16> {
    name.split_once('-')?.1.parse().ok()
}

fn open(path: &Path) -> anyhow::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(path)
        .with_context(|| path.display().to_string())
}
