//! Work for a sensor whose steps are being counted (`cargo xtask profile`): what it does most, and a
//! little of everything else.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use super::{
    OPEN_FILES, note,
    sensor::{Options, Sensor},
    stand::{Stand, WATCHED},
    sys,
};
use crate::setup;

/// Requests of the captures, and the tokens that they draw from; 0 gives each its own.
const CAPTURES: [(u32, u32); 2] = [(60_000, 1_000), (20_000, 0)];
/// How long nginx is driven in each mode.
const SECONDS: u32 = 3;

/// Has `sensor` read generated captures and the capture cases, and watch nginx in two modes.
///
/// # Errors
/// It fails, or nginx or the load does.
pub(crate) fn exercise(sensor: &Path, make_capture: &Path) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let capture = dir.path().join("capture.pcap");
    for (requests, tokens) in CAPTURES {
        note(&format!("profile, {requests} requests from a file"));
        let mut make = Command::new(make_capture);
        make.arg("--out").arg(&capture);
        make.args(["--requests", &requests.to_string(), "--tokens", &tokens.to_string()]);
        succeed(&mut make)?;
        for options in [&[][..], &["--exchanges"], &["--threads", "2"]] {
            succeed(Command::new(sensor).arg("replay").args(options).arg(&capture))?;
        }
    }
    note("profile, the capture cases");
    for case in fs::read_dir(setup::workspace().join("tests/cases"))? {
        let case = case?.path();
        let (input, config) = (case.join("input.pcap"), case.join("config.toml"));
        if !input.exists() {
            continue;
        }
        let mut replay = Command::new(sensor);
        replay.arg("replay").arg(input);
        if config.exists() {
            replay.arg("--config").arg(config);
        }
        // Some end with an error, as their files do.
        replay.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    }
    setup::ensure_nginx()?;
    sys::allow_files(OPEN_FILES)?;
    let stand = Stand::start(make_capture.parent().context("no folder")?)?;
    for mode in ["alert", "gate"] {
        note(&format!("profile, watching nginx in {mode}"));
        // Confined, it could not write its counts.
        let config = format!("confine = false\n\n[enforcement]\nmode = \"{mode}\"\n");
        let options = Options { config: &config, ports: &[WATCHED.port()] };
        let sensor = Sensor::start_with(sensor, &stand, &options)?;
        stand.full_load(WATCHED, SECONDS)?;
        sensor.settled()?;
        sensor.stop()?;
    }
    Ok(())
}

fn succeed(command: &mut Command) -> Result<()> {
    let status = command.stdout(Stdio::null()).status()?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}
