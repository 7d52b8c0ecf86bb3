use std::{
    io::{self, Write},
    path::PathBuf,
};

use crate::config::DEFAULT_PATH;

/// Check a configuration file and say what is wrong with it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  jotwatch check-config --config /etc/jotwatch/config.toml")]
pub(super) struct Arguments {
    /// The file to check.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    crate::config::load(&arguments.config)?;
    writeln!(io::stdout(), "{}: good", arguments.config.display())?;
    Ok(())
}
