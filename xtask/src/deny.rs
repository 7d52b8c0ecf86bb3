//! `cargo xtask deny`: licences, sources and versions of what the workspace depends on, by deny.toml.

use std::process::Command;

use anyhow::{Result, ensure};

use crate::setup;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Known vulnerabilities, too: their list comes from github.com/rustsec/advisory-db
    #[arg(long)]
    advisories: bool,
}

/// Brings cargo-deny, and runs it.
///
/// # Errors
/// It is not to be had, or something is not as deny.toml wants it.
pub(crate) fn run(args: &Args) -> Result<()> {
    let program = setup::ensure_cargo_deny()?;
    let mut deny = Command::new(program);
    deny.current_dir(setup::workspace()).arg("check").args(["bans", "licenses", "sources"]);
    if args.advisories {
        deny.arg("advisories");
    }
    let status = deny.status()?;
    ensure!(status.success(), "cargo-deny ended with {status}");
    Ok(())
}
