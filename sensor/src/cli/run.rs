use std::path::PathBuf;

use super::Usage;
use crate::{daemon, policy};

/// Watch the services on this host and raise an event for every suspicious request.
///
/// Needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON (or root), cgroup v2, and a kernel that `jotwatch
/// doctor` finds good. SIGTERM and SIGINT end it, SIGHUP reads the configuration again and opens
/// log files anew.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    jotwatch run --port 8080\n  \
    jotwatch run --port 8080 --mode kill\n  \
    jotwatch run --port 80 --port 8080 --cgroup system.slice/nginx.service\n  \
    jotwatch run --config /etc/jotwatch/config.toml")]
pub(super) struct Arguments {
    /// Configuration file; /etc/jotwatch/config.toml where it exists.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Watch this TCP port; may be given several times, and replaces capture.ports.
    #[arg(long = "port", value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    ports: Vec<u16>,
    /// Watch only this cgroup and those below: a path, absolute or below the cgroup v2 mount.
    #[arg(long, value_name = "PATH")]
    cgroup: Option<PathBuf>,
    /// What is done about bad requests, whatever the configuration says of it.
    #[arg(long, value_enum, value_name = "MODE")]
    mode: Option<Mode>,
}

/// What is done about a bad request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    /// Somebody is told.
    Alert,
    /// The connection is reset, and what the configuration names is denied.
    Kill,
    /// As kill, and no answer leaves the host before the verdict.
    Hold,
    /// As kill, and no request reaches the service before the verdict.
    Gate,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    super::init_log();
    let overrides = daemon::Overrides {
        config: arguments.config.clone(),
        ports: arguments.ports.clone(),
        cgroup: arguments.cgroup.clone(),
        mode: arguments.mode.map(|mode| match mode {
            Mode::Alert => policy::Mode::Alert,
            Mode::Kill => policy::Mode::Kill,
            Mode::Hold => policy::Mode::Hold,
            Mode::Gate => policy::Mode::Gate,
        }),
    };
    let config = overrides.load()?;
    if config.capture.ports.is_empty() {
        return Err(Usage(
            "no port to watch: give --port N, or name capture.ports in the configuration".into(),
        )
        .into());
    }
    daemon::run(&overrides, config)
}
