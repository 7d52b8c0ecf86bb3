//! One watcher a port and cgroup, and one daemon a state folder: a second `jotwatch run` on the same
//! is told so.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use rustix::fs::{FlockOperation, flock};

use crate::whole_file;

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
        own_folder(Path::new(LOCK_DIR))?;
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

/// Holds a state folder while it lives: two daemons would write over each other's files.
#[derive(Debug)]
pub(super) struct StateLock {
    _file: File,
}

impl StateLock {
    /// Takes the folder, which is made with mode 0700 where it is not there.
    ///
    /// # Errors
    /// Another process has it; or it can't be made or written.
    pub(super) fn take(state_dir: &Path) -> anyhow::Result<Self> {
        let place = || format!("state folder {}", state_dir.display());
        DirBuilder::new().recursive(true).mode(0o700).create(state_dir).with_context(place)?;
        let mut file = open(&state_dir.join("lock")).with_context(place)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut owner = String::new();
            let _ = (&file).take(32).read_to_string(&mut owner);
            bail!(
                "{} belongs to process {}, which is running; give this one another daemon.state_dir",
                place(),
                owner.trim_end()
            );
        }
        // Not worth failing for, on a full disk: the lock holds, and only its owner has no name.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { _file: file })
    }
}

/// Makes a folder that only this user writes, or finds it. The one above may be anybody's to write
/// (`/run/lock`): whoever makes it first could keep every daemon from starting, or have files
/// elsewhere removed by a symbolic link.
fn own_folder(path: &Path) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("{}: can't be created", path.display()))?;
    let found = fs::symlink_metadata(path).with_context(|| path.display().to_string())?;
    ensure!(
        found.is_dir() && whole_file::is_ours(&found),
        "{} is not a folder that only user {} can write (mode {:03o}, user {}); remove it",
        path.display(),
        rustix::process::geteuid().as_raw(),
        found.mode() & 0o777,
        found.uid()
    );
    Ok(())
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn one_process_has_the_state_folder_and_the_next_one_is_told_which() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("a/state");
        let lock = StateLock::take(&state).unwrap();
        assert_eq!(state.metadata().unwrap().mode() & 0o777, 0o700);
        assert_eq!(state.join("lock").metadata().unwrap().mode() & 0o777, 0o600);
        let error = format!("{:#}", StateLock::take(&state).unwrap_err());
        let own = format!("process {},", std::process::id());
        assert!(error.contains(&own) && error.contains("daemon.state_dir"), "{error}");
        drop(lock);
        StateLock::take(&state).unwrap();
    }

    #[test]
    fn a_folder_that_others_can_write_or_a_link_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("own");
        own_folder(&own).unwrap();
        own_folder(&own).unwrap();
        fs::set_permissions(&own, fs::Permissions::from_mode(0o1777)).unwrap();
        assert!(own_folder(&own).unwrap_err().to_string().contains("777"));
        fs::set_permissions(&own, fs::Permissions::from_mode(0o700)).unwrap();
        let link = dir.path().join("link");
        symlink(&own, &link).unwrap();
        assert!(own_folder(&link).is_err());
        fs::write(dir.path().join("file"), "").unwrap();
        assert!(own_folder(&dir.path().join("file")).is_err());
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&own, Some(65_534), None).unwrap();
            assert!(own_folder(&own).unwrap_err().to_string().contains("user 65534"));
        }
    }
}
