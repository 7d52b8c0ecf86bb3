//! Jotwatch's developer commands.

mod setup;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about, bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Cmd,
}

#[derive(Subcommand)]
enum Cmd {
    /// Bring what the live tests, the demo and the benchmarks need to this machine
    Setup {
        /// Only these parts
        parts: Vec<setup::Part>,
    },
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Cmd::Setup { parts } => setup::run(&parts),
    }
}
