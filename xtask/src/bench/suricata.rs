//! Suricata on a capture file, where it is installed: Debian 12 has it in its backports.

use std::{
    fs::{self, File},
    io::BufReader,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Result, ensure};

use super::{
    replay::count_lines,
    sys::{Finished, measured},
};
use crate::setup;

/// An installed Suricata, or its package unpacked to `target/services/suricata`, with those of its
/// libraries that the machine has none of.
pub(super) struct Suricata {
    program: PathBuf,
    libraries: PathBuf,
}

impl Suricata {
    /// The one that there is.
    pub(super) fn find() -> Option<Self> {
        let root = setup::services_dir().join("suricata/usr");
        let libraries = root.join(format!("lib/{}-linux-gnu", std::env::consts::ARCH));
        let unpacked = Some(root.join("bin/suricata")).filter(|path| path.is_file());
        let program = unpacked.or_else(|| setup::find("suricata"))?;
        Some(Self { program, libraries })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env("LD_LIBRARY_PATH", &self.libraries).stdin(Stdio::null());
        command
    }

    /// Its version, as it says it.
    pub(super) fn version(&self) -> Result<String> {
        let output = self.command().arg("-V").output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let version = said.trim().rsplit_once("Suricata version ").map_or("?", |(_, v)| v);
        Ok(version.to_owned())
    }

    /// Reads a capture in one thread, without rules, and writes an event for each request; every
    /// one of so many must come out.
    ///
    /// # Errors
    /// If it fails, or finds another number of requests.
    pub(super) fn read(&self, capture: &Path, requests: u64) -> Result<Finished> {
        let dir = capture.with_extension("suricata");
        fs::remove_dir_all(&dir).ok();
        fs::create_dir_all(&dir)?;
        let config = include_str!("suricata.yaml").replace("@DIR@", &dir.display().to_string());
        let (file, said) = (dir.join("suricata.yaml"), dir.join("said"));
        fs::write(&file, config)?;
        File::create(dir.join("empty"))?;
        let mut command = self.command();
        command.arg("-c").arg(&file).args(["-S", "/dev/null", "--runmode", "single", "-k", "none"]);
        command.arg("-r").arg(capture).arg("-l").arg(&dir);
        command.stdout(File::create(&said)?).stderr(File::create(dir.join("errors"))?);
        let run = measured(&mut command)?;
        let said = || {
            let said = [said.clone(), dir.join("errors")].map(fs::read_to_string);
            said.map(Result::unwrap_or_default).concat()
        };
        ensure!(run.status.success(), "suricata ended with {}: {}", run.status, said());
        let events = count_lines(&mut BufReader::new(File::open(dir.join("eve.json"))?))?;
        ensure!(events == requests, "suricata gives {events} of {requests} requests: {}", said());
        fs::remove_dir_all(&dir)?;
        Ok(run)
    }
}
