//! What changes around a running daemon: the clock is set, the watched cgroup is removed and made
//! again.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use super::Daemon;
use crate::{capture::live, event::SensorState};

/// How often the cgroup is looked at: for so long one that was just made again is not watched.
const PERIOD: Duration = Duration::from_millis(100);

/// The cgroup that is watched, as it was when the programs were attached.
pub(super) struct Ground {
    path: PathBuf,
    /// Its id; `None` while it is gone.
    id: Option<u64>,
    looked: Instant,
    /// The last attempt to attach failed: the next failure is no news.
    failing: bool,
}

impl Ground {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { id: live::cgroup_id(&path).ok(), path, looked: Instant::now(), failing: false }
    }

    /// Looks again when it is time; gives its id if that is another one, or none where it is gone.
    fn changed(&mut self) -> Option<Option<u64>> {
        if self.looked.elapsed() < PERIOD {
            return None;
        }
        self.looked = Instant::now();
        let id = live::cgroup_id(&self.path).ok();
        (id != self.id).then_some(id)
    }
}

impl Daemon {
    /// Follows the wall clock: what is under way moves along with it.
    pub(super) fn follow_clock(&mut self) {
        let Some(by) = self.capture.follow_clock() else { return };
        self.pipeline.clock_set(by);
        let seconds = by.unsigned_abs() / 1_000_000_000;
        let way = if by < 0 { "back" } else { "forward" };
        tracing::warn!("the clock was set {way} by {seconds} seconds");
    }

    /// Watches the cgroup again that was removed and made anew. A cgroup that goes takes the
    /// programs along that were attached to it.
    pub(super) fn follow_cgroup(&mut self) {
        let Some(id) = self.ground.changed() else { return };
        if id.is_none() {
            self.ground.id = None;
            tracing::error!("cgroup {} is gone: nothing is watched", self.cgroup);
            return self.tell(SensorState::CgroupGone);
        }
        let path = self.ground.path.clone();
        let attached = self.capture.attach(&path).map_err(anyhow::Error::from);
        match attached.and_then(|()| self.guarding.follow(&self.config, &self.services)) {
            Ok(()) => {
                self.ground.id = id;
                self.ground.failing = false;
                tracing::info!("cgroup {} was made anew and is watched", self.cgroup);
                self.tell(SensorState::CgroupBack);
            }
            // Tried again at the next look.
            Err(error) if !std::mem::replace(&mut self.ground.failing, true) => {
                tracing::error!(
                    "cgroup {} was made anew and is not watched: {error:#}",
                    self.cgroup
                );
            }
            Err(_) => {}
        }
    }
}
