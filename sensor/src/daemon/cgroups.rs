//! Which ids the cgroups of services have: a service that is started again has another.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{capture::live, services::CgroupIds};

/// How often they are looked at. For so long a service that was just started can be taken for one of
/// its port.
const PERIOD: Duration = Duration::from_millis(100);

/// Cgroups below one that a service names, itself included.
const MAX_BELOW: usize = 1_024;

/// The cgroups that services name.
pub(super) struct Cgroups {
    paths: Vec<PathBuf>,
    ids: CgroupIds,
    looked: Instant,
}

impl Cgroups {
    pub(super) fn new(paths: Vec<PathBuf>) -> Self {
        let ids = look(&paths);
        Self { paths, ids, looked: Instant::now() }
    }

    /// Their ids.
    pub(super) fn ids(&self) -> CgroupIds {
        self.ids.clone()
    }

    /// Looks again when it is time; gives the ids if they are others.
    pub(super) fn changed(&mut self) -> Option<CgroupIds> {
        if self.paths.is_empty() || self.looked.elapsed() < PERIOD {
            return None;
        }
        self.looked = Instant::now();
        let ids = look(&self.paths);
        if ids == self.ids {
            return None;
        }
        self.ids = ids;
        Some(self.ids.clone())
    }
}

fn look(paths: &[PathBuf]) -> CgroupIds {
    let mut all = CgroupIds::new();
    for path in paths {
        let mut ids = Vec::new();
        // What is not there, or goes meanwhile, has no sockets.
        if let Ok(folder) = live::cgroup_path(Some(path)) {
            let _ = gather(&folder, &mut ids);
        }
        ids.sort_unstable();
        all.insert(path.clone(), ids);
    }
    all
}

fn gather(folder: &Path, ids: &mut Vec<u64>) -> io::Result<()> {
    if ids.len() >= MAX_BELOW {
        return Ok(());
    }
    ids.push(live::cgroup_id(folder)?);
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            let _ = gather(&entry.path(), ids);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_below_count_and_what_is_not_there_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::write(dir.path().join("a/cgroup.procs"), "").unwrap();
        let mut ids = Vec::new();
        gather(dir.path(), &mut ids).unwrap();
        assert_eq!(ids.len(), 3);
        let ids = look(&["/no/such/cgroup".into()]);
        assert_eq!(ids.get(Path::new("/no/such/cgroup")), Some(&Vec::new()));
    }
}
