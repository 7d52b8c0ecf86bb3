use std::{
    io::{self, Write},
    path::PathBuf,
};

use crate::{config::DEFAULT_PATH, enforce::file_list::FileList, time::Time};

/// Check a configuration file and say what is wrong with it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  jotwatch check-config --config /etc/jotwatch/config.toml")]
pub(super) struct Arguments {
    /// The file to check.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let config = crate::config::load(&arguments.config)?;
    // What it names is read too: a key file that is missing is a mistake in the configuration.
    let (_, warnings) = crate::keyring::load_files(&config.issuers)?;
    config.tokens.weak_secrets()?;
    config.scoring.models()?;
    config.scoring.shadow()?;
    crate::config::check_sink_files(&config, &arguments.config)?;
    crate::services::Services::load(&config.services)?;
    crate::daemon::clients_of_files(&config)?;
    crate::rest::Settings::load(&config.rest)?;
    crate::revocation::RevocationList::load(config.revocation.list_file.as_deref())?;
    for path in config.enforcement.deny_files.get_ref() {
        FileList::load(path, Time::EPOCH)?;
    }
    for warning in warnings {
        writeln!(io::stderr(), "jotwatch: {warning}")?;
    }
    writeln!(io::stdout(), "{}: good", arguments.config.display())?;
    Ok(())
}
