//! What outlives the daemon, by its folder in the BPF file system, and the heartbeat of a daemon that
//! is not there yet.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use aya::maps::{Array, Map, MapData};

use super::guard::{Error, monotonic};
use crate::capture::live;

/// Where the maps of all instances are pinned.
pub const PIN_ROOT: &str = "/sys/fs/bpf/jotwatch";

/// How often it beats: well below the shortest `heartbeat_ms`.
const PERIOD: Duration = Duration::from_millis(40);

/// A daemon that takes longer to start counts as dead. The kernel checks its programs for seconds
/// where it is busy.
const LIMIT: Duration = Duration::from_secs(20);

/// The folder for what outlives a daemon that guards this cgroup. A BPF file system is mounted if
/// there is none.
///
/// # Errors
/// It cannot be mounted, or the cgroup is not there.
pub fn pin_folder(cgroup: Option<&Path>) -> Result<PathBuf, Error> {
    let path = live::cgroup_path(cgroup)?;
    let id = fs::metadata(&path).map_err(|error| Error::Pins { path, error })?.ino();
    let root = Path::new(PIN_ROOT);
    let mount = root.parent().unwrap_or(root);
    if !is_bpf(mount) {
        let fail =
            |error: rustix::io::Errno| Error::Pins { path: mount.into(), error: error.into() };
        rustix::mount::mount("bpf", mount, "bpf", rustix::mount::MountFlags::empty(), None)
            .map_err(fail)?;
    }
    Ok(root.join(format!("cgroup-{id}")))
}

fn is_bpf(path: &Path) -> bool {
    const BPF_FS_MAGIC: i64 = 0xcafe_4a11;
    rustix::fs::statfs(path).is_ok_and(|s| s.f_type == BPF_FS_MAGIC)
}

/// The folders that daemons of this host have made.
///
/// # Errors
/// They can't be listed.
pub fn pin_folders() -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(PIN_ROOT) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

/// Removes what an earlier daemon left in `pins`: its programs are detached, its denylists
/// forgotten. Gives whether there was anything.
///
/// # Errors
/// A file can't be removed.
pub fn detach(pins: &Path) -> io::Result<bool> {
    match fs::read_dir(pins) {
        Ok(entries) => {
            for entry in entries {
                fs::remove_file(entry?.path())?;
            }
            fs::remove_dir(pins)?;
            Ok(true)
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// Beats for the programs that an earlier daemon left, until it is dropped: what is denied stays
/// denied while the next one starts.
#[derive(Debug)]
pub struct Beating {
    over: Arc<AtomicBool>,
}

impl Beating {
    /// Begins, where an earlier daemon left something in `pins`.
    #[must_use]
    pub fn start(pins: &Path) -> Option<Self> {
        let map = MapData::from_pin(pins.join("HEARTBEAT")).ok()?;
        let mut heartbeat: Array<MapData, u64> = Map::Array(map).try_into().ok()?;
        let over = Arc::new(AtomicBool::new(false));
        let end = Instant::now() + LIMIT;
        let stopped = Arc::clone(&over);
        let beat = move || {
            while !stopped.load(Ordering::Relaxed) && Instant::now() < end {
                // Without it the programs do as without a daemon.
                let _ = heartbeat.set(0, monotonic(), 0);
                thread::sleep(PERIOD);
            }
        };
        thread::Builder::new().name("heartbeat".into()).spawn(beat).ok()?;
        Some(Self { over })
    }
}

impl Drop for Beating {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}
