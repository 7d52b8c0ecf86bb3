//! The cgroup v2 hierarchy: where it is mounted, which directory an id names, and how the programs
//! come to one.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::AsFd as _,
        unix::fs::{DirEntryExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
};

use aya::programs::{CgroupAttachMode, CgroupSkb, CgroupSkbAttachType};

use super::{Capture, Error, probe, program, reason};

/// Directories looked at for one id.
const MAX_DIRECTORIES: usize = 65_536;

/// The first cgroup2 mount of this mount namespace.
pub(super) fn mount() -> Option<PathBuf> {
    mount_in(&fs::read_to_string("/proc/self/mountinfo").ok()?)
}

/// proc(5): `36 35 98:0 /root /mount/point options [optional fields] - fstype source options`.
fn mount_in(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        if kind.split(' ').next() != Some("cgroup2") {
            return None;
        }
        Some(PathBuf::from(unescape(mount.split(' ').nth(4)?)))
    })
}

/// The kernel writes blanks and backslashes as three octal digits.
fn unescape(field: &str) -> String {
    let mut out = String::with_capacity(field.len());
    let mut rest = field;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        match after.get(..3).and_then(|d| u8::from_str_radix(d, 8).ok()) {
            Some(byte) => {
                out.push(char::from(byte));
                rest = after.get(3..).unwrap_or("");
            }
            None => {
                out.push('\\');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

/// The cgroup's id: on 64-bit kernels since 5.5 the inode number of its directory.
pub(super) fn id(path: &Path) -> io::Result<u64> {
    fs::metadata(path).map(|m| m.ino())
}

/// The directory below `root` whose id is `id`, breadth first.
pub(super) fn find(root: &Path, id: u64) -> Option<PathBuf> {
    if self::id(root).ok()? == id {
        return Some(root.to_path_buf());
    }
    let mut queue = std::collections::VecDeque::from([root.to_path_buf()]);
    let mut seen = 0;
    while let Some(dir) = queue.pop_front() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|t| t.is_dir()) {
                continue;
            }
            if entry.ino() == id {
                return Some(entry.path());
            }
            seen += 1;
            if seen < MAX_DIRECTORIES {
                queue.push_back(entry.path());
            }
        }
    }
    None
}

/// Opens the directory of a cgroup, and of nothing else.
pub(super) fn open(path: &Path) -> Result<File, Error> {
    File::open(path.join("cgroup.procs"))
        .and_then(|_| File::open(path))
        .map_err(|error| Error::Cgroup { path: path.into(), error })
}

impl Capture {
    /// Attaches the programs to the cgroup at `path`, and to no other any more: a cgroup that is
    /// removed takes what is attached to it along, and one that is made in its place has nothing.
    ///
    /// # Errors
    /// It is not there, or the kernel refuses.
    pub fn attach(&mut self, path: &Path) -> Result<(), Error> {
        let group = open(path)?;
        for (name, link) in std::mem::take(&mut self.links) {
            // A link to what is gone is no more than a descriptor, and goes in any case.
            let _ = program::<CgroupSkb>(&mut self.ebpf, name)?.detach(link);
        }
        for (name, direction) in [
            (probe::INGRESS, CgroupSkbAttachType::Ingress),
            (probe::EGRESS, CgroupSkbAttachType::Egress),
        ] {
            let hook: &mut CgroupSkb = program(&mut self.ebpf, name)?;
            // A link allows others beside it, whatever the mode says.
            let link = hook.attach(group.as_fd(), direction, CgroupAttachMode::Single);
            let link = link.map_err(|e| Error::Attach {
                program: name,
                to: path.display().to_string(),
                reason: reason(&e),
            })?;
            self.links.push((name, link));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{mount_in, unescape};

    #[test]
    fn finds_the_mount_in_mountinfo() {
        let hybrid = "25 30 0:23 / /sys/fs/cgroup ro shared:9 - tmpfs tmpfs ro,mode=755\n\
                      26 25 0:24 / /sys/fs/cgroup/unified rw shared:10 - cgroup2 cgroup2 rw\n\
                      27 25 0:25 / /sys/fs/cgroup/systemd rw shared:11 - cgroup cgroup rw,name=systemd\n";
        assert_eq!(mount_in(hybrid).unwrap().to_str(), Some("/sys/fs/cgroup/unified"));
        assert_eq!(
            mount_in("30 1 0:26 / /my\\040cg rw - cgroup2 none rw\n").unwrap().to_str(),
            Some("/my cg")
        );
        assert_eq!(mount_in("30 1 0:26 / /sys rw - sysfs none rw\n"), None);
    }

    #[test]
    fn unescapes() {
        assert_eq!(unescape("a\\134b\\"), "a\\b\\");
        assert_eq!(unescape("a\\9"), "a\\9");
    }
}
