//! `cargo xtask soak`: the sensor under load for long, and killed over and over.

use std::process::Command;

use anyhow::{Result, ensure};

use crate::{profile, setup};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// How long it runs at half load
    #[arg(long, default_value_t = 120)]
    minutes: u64,
    /// With the binaries of the tests instead of release builds
    #[arg(long, global = true)]
    debug: bool,
}

#[derive(clap::Subcommand)]
enum What {
    /// Kill it at random moments, with state on disk
    Kills {
        /// How often
        #[arg(default_value_t = 1_000)]
        count: u32,
    },
}

/// Builds sensor and soak, and runs what is asked for; its figures come as JSON.
///
/// # Errors
/// It takes root, a build fails, or the sensor does.
pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(setup::is_root(), "it takes root, for eBPF and for a network namespace of its own");
    setup::ensure_tools(&["ip", "bpftool"], "the soak")?;
    setup::ensure_nginx()?;
    let mut tool = vec!["--package=jotwatch-tests", "--bin=soak"];
    if args.debug {
        setup::build(&["--package=jotwatch", "--bin=jotwatch"])?;
    } else {
        profile::build_sensor()?;
        tool.push("--release");
    }
    let binaries = setup::build(&tool)?;
    let mut soak = Command::new(binaries.join("soak"));
    match &args.what {
        Some(What::Kills { count }) => soak.args(["kills", &count.to_string()]),
        None => soak.args(["minutes", &args.minutes.to_string()]),
    };
    let status = soak.env("JOTWATCH_BIN", binaries.join("jotwatch")).status()?;
    ensure!(status.success(), "the soak ended with {status}");
    Ok(())
}
