//! The command line of Jotwatch.

use std::process::ExitCode;

fn main() -> ExitCode {
    jotwatch::cli::main()
}
