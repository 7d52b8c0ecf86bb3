//! The service that records what it reads, and the sensor that guards it.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use super::{
    super::{
        sensor::{self, Options, Sensor},
        stand::{Stand, WATCHED, listens},
    },
    client::FORGED,
};
use crate::ground::Running;

/// The recording service's port.
pub(super) const RECORDED: u16 = 8082;
/// Client ports: a benchmark needs some ten thousand within a minute.
const CLIENT_PORTS: &str = "10000 65000";

/// Where enforcement is measured.
pub(super) struct Ground<'s> {
    pub(super) stand: &'s Stand,
    program: PathBuf,
    seen: PathBuf,
    _service: Running,
    dir: TempDir,
}

impl<'s> Ground<'s> {
    /// Starts the recording service beside nginx, in its cgroup.
    pub(super) fn start(stand: &'s Stand, binaries: &Path) -> Result<Self> {
        // Of this network namespace only.
        fs::write("/proc/sys/net/ipv4/ip_local_port_range", CLIENT_PORTS)?;
        let dir = tempfile::Builder::new().prefix("jotwatch-bench-").tempdir()?;
        let seen = dir.path().join("seen");
        fs::write(dir.path().join("fingerprint"), "000102030405060708090a0b0c0d0e0f")?;
        fs::set_permissions(dir.path().join("fingerprint"), fs::Permissions::from_mode(0o600))?;
        let mut command = stand.cgroup().command(&binaries.join("recording-http"));
        command.arg(&seen).args([format!("127.0.0.1:{RECORDED}"), format!("[::1]:{RECORDED}")]);
        let service = Running(command.stdin(Stdio::null()).spawn()?);
        listens(([127, 0, 0, 1], RECORDED).into()).context("the recording service")?;
        Ok(Self { stand, program: binaries.join("jotwatch"), seen, _service: service, dir })
    }

    /// A sensor in this mode; `more` are further keys of `[enforcement]`.
    pub(super) fn sensor(&self, mode: &str, more: &str) -> Result<Sensor> {
        let key = self.dir.path().join("fingerprint");
        let config = format!(
            "[events]\nfingerprint_key_file = {key:?}\n\
             [enforcement]\nmode = \"{mode}\"\n{more}\n"
        );
        let ports = [WATCHED.port(), RECORDED];
        Sensor::start_with(&self.program, self.stand, &Options { config: &config, ports: &ports })
    }

    /// Stops the sensor, and takes away what it leaves for the next one.
    pub(super) fn stop(&self, sensor: Sensor) -> Result<()> {
        sensor.stop()?;
        self.detach()
    }

    /// Takes away what a sensor has left.
    pub(super) fn detach(&self) -> Result<()> {
        sensor::detach(&self.program, self.stand.cgroup())
    }

    /// A file for a benchmark.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Whole heads that the service has read: forged ones, and all others.
    pub(super) fn read(&self) -> (u64, u64) {
        let text = fs::read_to_string(&self.seen).unwrap_or_default();
        let forged = text.lines().filter(|head| head.contains(FORGED)).count();
        (forged as u64, (text.lines().count() - forged) as u64)
    }
}

impl Drop for Ground<'_> {
    fn drop(&mut self) {
        self.detach().ok();
    }
}
