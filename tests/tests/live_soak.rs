//! The sensor killed at any moment, in short; `cargo xtask soak` does it a thousand times.

use anyhow::{Result, ensure};
use jotwatch_tests::{net::privileged, soak::kills::kills};

#[test]
fn a_killed_sensor_harms_no_service_and_finds_its_state_again() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let seed = u64::from(std::process::id());
    let report = kills(20, seed, |_| {})?;
    // A machine that is busy may keep a daemon waiting for longer than its heartbeat.
    let of_time = |(complaint, _): (&String, &u64)| complaint.contains("without the daemon");
    ensure!(report.complaints.iter().all(of_time), "seed {seed}: {report:?}");
    ensure!(report.events >= 20 && report.answered > 100, "seed {seed}: {report:?}");
    Ok(())
}
