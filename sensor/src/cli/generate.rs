//! `completions` and `man`: what a package brings beside the program, out of the same arguments.

use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;

/// Print a completion script for a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  jotwatch completions bash > /etc/bash_completion.d/jotwatch")]
pub(super) struct CompletionArguments {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// Write the manual pages to a folder.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  jotwatch man /usr/local/share/man/man1")]
pub(super) struct ManArguments {
    /// The folder; it is made where it is missing.
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

pub(super) fn completions(arguments: &CompletionArguments) -> anyhow::Result<()> {
    let mut script = Vec::new();
    let mut command = super::Arguments::command();
    clap_complete::generate(arguments.shell, &mut command, "jotwatch", &mut script);
    Ok(io::stdout().lock().write_all(&script)?)
}

pub(super) fn man(arguments: &ManArguments) -> anyhow::Result<()> {
    let folder = &arguments.folder;
    let place = || folder.display().to_string();
    fs::create_dir_all(folder).with_context(place)?;
    let command = super::Arguments::command().disable_help_subcommand(true);
    clap_mangen::generate_to(command, folder).with_context(place)
}
