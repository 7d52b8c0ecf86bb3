use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use crate::enforce::guard;

/// Remove what a daemon that has ended left in the kernel: programs and denylists.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sudo jotwatch detach")]
pub(super) struct Arguments {
    /// The cgroup that it watched; all of them where this is not given.
    #[arg(long, value_name = "PATH")]
    cgroup: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let folders = match &arguments.cgroup {
        Some(cgroup) => vec![guard::pin_folder(Some(cgroup))?],
        None => guard::pin_folders()?,
    };
    let mut removed = 0;
    for folder in folders {
        removed += usize::from(guard::detach(&folder)?);
    }
    writeln!(io::stdout(), "{}", if removed > 0 { "detached" } else { "nothing was left" })?;
    Ok(())
}
