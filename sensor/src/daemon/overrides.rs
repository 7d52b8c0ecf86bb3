//! What the command line says beside the configuration file.

use std::path::PathBuf;

use crate::{
    config::{self, Config, DEFAULT_PATH},
    policy::Mode,
};

/// What the command line says beside the configuration file; it also holds after a reload.
#[derive(Clone, Debug)]
pub struct Overrides {
    /// The configuration file.
    pub config: Option<PathBuf>,
    /// Replaces `capture.ports` unless empty.
    pub ports: Vec<u16>,
    /// Replaces `capture.cgroup`.
    pub cgroup: Option<PathBuf>,
    /// Replaces `enforcement.mode`, and the modes of services.
    pub mode: Option<Mode>,
}

impl Overrides {
    /// The configuration as the file and the command line have it.
    ///
    /// # Errors
    /// The file can't be read or is not a valid configuration.
    pub fn load(&self) -> anyhow::Result<Config> {
        let mut config = match &self.config {
            Some(path) => config::load(path)?,
            None if PathBuf::from(DEFAULT_PATH).exists() => config::load(DEFAULT_PATH.as_ref())?,
            None => Config::default(),
        };
        if !self.ports.is_empty() {
            config.capture.ports.clone_from(&self.ports);
        }
        if self.cgroup.is_some() {
            config.capture.cgroup.clone_from(&self.cgroup);
        }
        if let Some(mode) = self.mode {
            config.enforcement.mode = mode;
            for service in &mut config.services {
                service.get_mut().mode = None;
            }
        }
        config.capture.ports.sort_unstable();
        config.capture.ports.dedup();
        Ok(config)
    }
}
