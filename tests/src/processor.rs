//! A limit of processor time for one process, by a control group of its own; it goes when the value
//! is dropped.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use jotwatch::capture::live;

/// The time that the share is of, in microseconds: the longest that the kernel takes. A process that
/// has used its share up stands still for the rest.
const PERIOD_US: u64 = 1_000_000;

/// A limit in force.
#[derive(Debug)]
pub struct Limit {
    group: PathBuf,
    /// Version 1 of control groups.
    first: bool,
}

/// Where groups with the controller `cpu` may be made, and whether by version 1. Nothing is switched on
/// for it: that would be for the whole host.
fn controller() -> Option<(PathBuf, bool)> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let first = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (place, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
        let ours = kind == "cgroup" && options.split(',').any(|option| option == "cpu");
        ours.then(|| PathBuf::from(place))
    });
    if let Some(place) = first {
        return Some((place, true));
    }
    let root = live::cgroup_mount()?;
    let control = fs::read_to_string(root.join("cgroup.subtree_control")).ok()?;
    control.split_whitespace().any(|name| name == "cpu").then_some((root, false))
}

impl Limit {
    /// So many thousandths of one processor for this process. `None`, said on stderr, where the
    /// host has no controller for it.
    ///
    /// # Errors
    /// The group can't be made.
    pub fn put(pid: u32, thousandths: u64) -> Result<Option<Self>> {
        let Some((root, first)) = controller() else {
            let _ = writeln!(std::io::stderr(), "skipped: no controller of processor time");
            return Ok(None);
        };
        let group = root.join(format!("jotwatch-limit-{pid}"));
        fs::create_dir(&group).with_context(|| format!("making {}", group.display()))?;
        let limit = Self { group, first };
        let quota = PERIOD_US / 1_000 * thousandths;
        if first {
            limit.write("cpu.cfs_period_us", &PERIOD_US.to_string())?;
            limit.write("cpu.cfs_quota_us", &quota.to_string())?;
        } else {
            limit.write("cpu.max", &format!("{quota} {PERIOD_US}"))?;
        }
        limit.write("cgroup.procs", &pid.to_string())?;
        Ok(Some(limit))
    }

    /// Lifts it: the process may use what there is.
    ///
    /// # Errors
    /// The system's.
    pub fn lift(&self) -> Result<()> {
        if self.first { self.write("cpu.cfs_quota_us", "-1") } else { self.write("cpu.max", "max") }
    }

    /// How often the process had used its share up.
    ///
    /// # Errors
    /// The system's.
    pub fn throttled(&self) -> Result<u64> {
        let stat = fs::read_to_string(self.group.join("cpu.stat"))?;
        let line = stat.lines().find_map(|line| line.strip_prefix("nr_throttled "));
        Ok(line.context("no such line")?.parse()?)
    }

    fn write(&self, name: &str, value: &str) -> Result<()> {
        fs::write(self.group.join(name), value)
            .with_context(|| format!("{}/{name}", self.group.display()))
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        let _ = self.lift();
        let procs = fs::read_to_string(self.group.join("cgroup.procs")).unwrap_or_default();
        let root = self.group.parent().unwrap_or(Path::new("/")).join("cgroup.procs");
        for pid in procs.lines() {
            let _ = fs::write(&root, pid);
        }
        // One that was killed leaves it in a moment.
        for _ in 0..50 {
            if fs::remove_dir(&self.group).is_ok() {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}
