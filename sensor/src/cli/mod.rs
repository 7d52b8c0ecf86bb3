//! The command line: arguments are read and typed here, each command has a module of its own.
//!
//! Results go to standard output, everything else to standard error. The exit code is 0 where the
//! command did what was asked, 1 where it failed, 2 where the arguments were wrong. A failure is
//! one line that says what and where.

mod check_config;
mod detach;
mod doctor;
mod events;
mod feedback;
mod forget;
mod generate;
mod history;
mod init;
mod inspect;
mod lists;
mod model;
mod replay;
mod run;
mod score;
mod shown;
mod status;
mod top;
mod train;

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use crate::config::{DEFAULT_PATH, DaemonConfig, load_folders};

/// Watches bearer tokens on a Linux host: captures HTTP with eBPF, judges JSON Web Tokens, alerts.
#[derive(Debug, Parser)]
#[command(name = "jotwatch", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Arguments),
    Replay(replay::Arguments),
    Inspect(inspect::Arguments),
    Score(score::Arguments),
    Train(train::Arguments),
    Model(model::Arguments),
    Feedback(feedback::Arguments),
    Forget(forget::Arguments),
    Deny(lists::DenyArguments),
    Allow(lists::AllowArguments),
    Status(status::Arguments),
    Events(events::Arguments),
    Top(top::Arguments),
    Doctor(doctor::Arguments),
    Detach(detach::Arguments),
    CheckConfig(check_config::Arguments),
    Init(init::Arguments),
    Completions(generate::CompletionArguments),
    Man(generate::ManArguments),
}

/// Reads the arguments of the process and runs the command that they name.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&error),
    };
    let result = match arguments.command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Score(arguments) => score::run(&arguments),
        Command::Train(arguments) => train::run(arguments),
        Command::Model(arguments) => model::run(arguments),
        Command::Feedback(arguments) => feedback::run(arguments),
        Command::Forget(arguments) => forget::run(arguments),
        Command::Deny(arguments) => lists::deny(arguments),
        Command::Allow(arguments) => lists::allow(arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Events(arguments) => events::run(arguments),
        Command::Top(arguments) => top::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Detach(arguments) => detach::run(&arguments),
        Command::CheckConfig(arguments) => check_config::run(&arguments),
        Command::Init(arguments) => init::run(&arguments),
        Command::Completions(arguments) => generate::completions(&arguments),
        Command::Man(arguments) => generate::man(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of a pipe has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "jotwatch: {}", one_line(&error));
            ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
        }
    }
}

/// An error with its causes, each told once: some already end with what caused them.
fn one_line(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text.replace('\n', " ")
}

/// The arguments contradict each other or miss something; exits with 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// Shows what clap has to say: help and version whole, a mistake in one line.
fn refuse(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind;

    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            ExitCode::from(u8::from(error.use_stderr()) * 2)
        }
        _ => {
            let text = error.to_string();
            let complaint: Vec<&str> = text
                .lines()
                .map(str::trim)
                .take_while(|line| !line.starts_with("Usage"))
                .filter(|line| !line.is_empty() && !line.starts_with("For more information"))
                .collect();
            let complaint = complaint.iter().fold(String::new(), |mut all, line| {
                let goes_on = all.is_empty() || all.ends_with(':') || line.starts_with('[');
                all.push_str(if goes_on { " " } else { "; " });
                all.push_str(line);
                all
            });
            let complaint = complaint.trim().trim_start_matches("error: ");
            let _ = writeln!(io::stderr(), "jotwatch: {complaint} (see jotwatch --help)");
            ExitCode::from(2)
        }
    }
}

/// The folders of the running daemon, also if its file is wrong by now.
fn folders(path: Option<&PathBuf>) -> anyhow::Result<DaemonConfig> {
    match path {
        Some(path) => Ok(load_folders(path)?),
        None if PathBuf::from(DEFAULT_PATH).exists() => Ok(load_folders(DEFAULT_PATH.as_ref())?),
        None => Ok(DaemonConfig::default()),
    }
}

/// Where the running daemon listens.
fn runtime_dir(path: Option<&PathBuf>) -> anyhow::Result<PathBuf> {
    Ok(folders(path)?.runtime_dir)
}

/// Sends the daemon's own messages to standard error, at `info` unless `JOTWATCH_LOG` says
/// otherwise.
fn init_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("JOTWATCH_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .try_init();
}
