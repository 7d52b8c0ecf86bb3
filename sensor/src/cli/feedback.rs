//! `feedback`: what people think of events.

use std::io::{self, Write as _};

use anyhow::Context as _;

use super::{
    Usage,
    lists::{Common, ask, parse_duration},
};
use crate::{
    control::{FeedbackAnswer, FeedbackRequest, LabelList, Request},
    history::parse_event,
    score::Label,
    show::show,
};

/// Say what an event was: benign or malicious.
///
/// The label is kept for `jotwatch train`. For 90 days, unless said otherwise, it also counts for
/// what is like the event: exchanges of the same subject on the same route, for the same reasons.
/// Those like a benign one get a quarter of their score and no alert by a model; those like a
/// malicious one are marked up and raise an alert. What is proven stays 100. Every change is an
/// event of kind `audit`.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:\n  \
    jotwatch feedback 0b1c2d3e4f5061728394a5b6c7d8e9fa benign --note 'load test'\n  \
    jotwatch feedback 0b1c2d3e4f5061728394a5b6c7d8e9fa malicious\n  \
    jotwatch feedback list --json | jq -c '.labels[]'\n  \
    jotwatch feedback remove 0b1c2d3e4f5061728394a5b6c7d8e9fa"
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The event's id.
    #[arg(value_name = "EVENT", required = true)]
    event: Option<String>,
    /// What it was.
    #[arg(value_enum, required = true)]
    label: Option<Label>,
    /// Why.
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
    /// For how long it counts for the like of it: 12h, 30d; as scoring.feedback_days without.
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
    duration: Option<u64>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show what was said, the latest first.
    List {
        /// Show this many at most.
        #[arg(long, value_name = "N", default_value_t = 1_000)]
        limit: usize,
        #[command(flatten)]
        common: Common,
    },
    /// Take back what was said of an event.
    Remove {
        /// The event's id.
        #[arg(value_name = "EVENT")]
        event: String,
        #[command(flatten)]
        common: Common,
    },
}

const VERSION: &str = "the daemon's answer is of another version than this command";

pub(super) fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { command, event, label, note, duration: seconds, common } = arguments;
    match command {
        Some(Command::List { limit, common }) => list(&common, limit),
        Some(Command::Remove { event, common }) => {
            let request = FeedbackRequest::Remove { event: id(&event)? };
            let Some(answer) = ask(&common, &Request::Feedback(request))? else { return Ok(()) };
            let answer: FeedbackAnswer = serde_json::from_value(answer).context(VERSION)?;
            let FeedbackAnswer { event, label, .. } = answer;
            Ok(writeln!(io::stdout(), "event {event}: no longer {}", label.as_str())?)
        }
        None => {
            let (Some(event), Some(label)) = (event, label) else {
                return Err(Usage("say which event, and what it was".into()).into());
            };
            let request = FeedbackRequest::Add { event: id(&event)?, label, note, seconds };
            let Some(answer) = ask(&common, &Request::Feedback(request))? else { return Ok(()) };
            said(serde_json::from_value(answer).context(VERSION)?)
        }
    }
}

fn id(event: &str) -> anyhow::Result<String> {
    let event = event.to_ascii_lowercase();
    if parse_event(&event).is_none() {
        let message = "an event's id is 32 hexadecimal digits, as `id` in events";
        return Err(Usage(message.into()).into());
    }
    Ok(event)
}

fn said(answer: FeedbackAnswer) -> anyhow::Result<()> {
    let FeedbackAnswer { event, label, until, reasons } = answer;
    let mut out = io::stdout().lock();
    writeln!(out, "event {event}: {}", label.as_str())?;
    let until = until.unwrap_or_default();
    match (label, reasons.is_empty()) {
        (_, true) => writeln!(out, "nothing spoke against it, so nothing is like it"),
        (Label::Benign, _) => writeln!(
            out,
            "the like of it is quieted until {until}: same subject, same route, and no more than {}",
            reasons.join(", ")
        ),
        (Label::Malicious, _) => writeln!(
            out,
            "the like of it is marked up until {until}: same subject, same route, and {}",
            reasons.first().map_or("", |reason| reason)
        ),
    }?;
    Ok(())
}

fn list(common: &Common, limit: usize) -> anyhow::Result<()> {
    let request = Request::Feedback(FeedbackRequest::List { limit });
    let Some(answer) = ask(common, &request)? else { return Ok(()) };
    let list: LabelList = serde_json::from_value(answer).context(VERSION)?;
    let mut out = io::stdout().lock();
    for label in &list.labels {
        write!(out, "{} {}", label.event, label.label.as_str())?;
        if let Some(until) = &label.until {
            write!(out, " until {until}")?;
        }
        if !label.reasons.is_empty() {
            write!(out, " ({})", label.reasons.join(", "))?;
        }
        if !label.note.is_empty() {
            write!(out, ": {}", show(&label.note))?;
        }
        writeln!(out)?;
    }
    if list.total > list.labels.len() {
        writeln!(out, "… and {} more (--limit)", list.total - list.labels.len())?;
    }
    Ok(())
}
