//! `forget`: erases a subject.

use std::io::{self, Write as _};

use anyhow::Context as _;

use super::{Usage, lists::Common};
use crate::{
    control::{self, ForgetRequest, Forgotten, Request},
    daemon::{Overrides, forget_at_rest},
    show::show,
};

/// Erase a subject from everything that is kept.
///
/// Its profiles, the tokens that are remembered of it, its lines of the history, labels of its
/// exchanges, and the events that name it go: from the running daemon, or from its files where none
/// runs. Says what was erased, and what was not reached: what sinks were given has to be erased where it
/// is. Who goes on using the service is seen again. A change is an event of kind `audit`, which does not
/// name the subject.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    jotwatch forget --subject mallory\n  \
    jotwatch forget --subject 4711 --issuer https://id.example --lists\n  \
    jotwatch forget --subject mallory --json | jq .left")]
pub(super) struct Arguments {
    /// The subject, as tokens name it (`sub`).
    #[arg(long, value_name = "NAME")]
    subject: String,
    /// The subject is this issuer's (`iss`); of every issuer that is configured or that an event names
    /// with it, and of tokens without one, when left out.
    #[arg(long, value_name = "NAME")]
    issuer: Option<String>,
    /// Also take it off the lists of what is denied and allowed.
    #[arg(long)]
    lists: bool,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { subject, issuer, lists, common } = arguments;
    let request = ForgetRequest { subject, issuer, lists };
    request.check().map_err(|error| Usage(error.to_string()))?;
    let runtime_dir = super::runtime_dir(common.config())?;
    let answer = match control::is_running(&runtime_dir) {
        true => control::ask(&runtime_dir, &Request::Forget(request.clone()))?,
        false => {
            let config = common.config().cloned();
            let overrides = Overrides { config, ports: Vec::new(), cgroup: None, mode: None };
            serde_json::to_value(forget_at_rest(&overrides.load()?, &request)?)?
        }
    };
    let mut out = io::stdout().lock();
    if common.is_json() {
        serde_json::to_writer(&mut out, &answer)?;
        return Ok(writeln!(out)?);
    }
    let forgotten: Forgotten =
        serde_json::from_value(answer).context("the daemon's answer is of another version")?;
    writeln!(out, "erased of {}:", show(&request.subject))?;
    for (what, count) in [
        ("events", forgotten.events),
        ("profiles", forgotten.profiles),
        ("tokens", forgotten.tokens),
        ("history lines", forgotten.history),
        ("labels", forgotten.labels),
        ("list entries", forgotten.listed),
    ] {
        writeln!(out, "  {what:<14} {count}")?;
    }
    let issuers = forgotten.issuers.iter().map(|issuer| match issuer.as_str() {
        "" => "tokens without one".to_owned(),
        issuer => show(issuer).to_string(),
    });
    writeln!(out, "issuers: {}", issuers.collect::<Vec<_>>().join(", "))?;
    if forgotten.undelivered > 0 {
        writeln!(out, "{} of the events were not delivered to every sink", forgotten.undelivered)?;
    }
    writeln!(out, "not reached:")?;
    forgotten.left.iter().try_for_each(|left| writeln!(out, "  {}", show(left)))?;
    Ok(())
}
