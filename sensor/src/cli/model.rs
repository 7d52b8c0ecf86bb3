//! `model`: the behaviour model in force, and the one in shadow.

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
};

use anyhow::Context as _;

use super::lists::{Common, answer};
use crate::control::{ModelRequest, ModelsStatus, Request, Status};

/// Show, promote or take back the behaviour model of the running daemon.
///
/// A model in shadow (scoring.shadow_model_file) scores beside the one in force and changes
/// nothing. Promoted, it is in force from the next request on, and over restarts, until it is taken
/// back or the configuration names another model. Every change is an event of kind `audit`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    jotwatch model status\n  \
    jotwatch model promote\n  \
    jotwatch model promote --file behaviour.model\n  \
    jotwatch model demote")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show both, and how they compare.
    Status {
        #[command(flatten)]
        common: Common,
    },
    /// Put the model in shadow in force, or the one in a file.
    Promote {
        /// A behaviour model.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        #[command(flatten)]
        common: Common,
    },
    /// Put the configured one in force again.
    Demote {
        #[command(flatten)]
        common: Common,
    },
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<()> {
    let (common, answered) = match arguments.command {
        Command::Status { common } => {
            let answered = answer(&common, &Request::Status)?;
            let status: Status = serde_json::from_value(answered).context(VERSION)?;
            (common, serde_json::to_value(status.models)?)
        }
        Command::Promote { file, common } => {
            // The daemon's folder is another.
            let file = file.map(|file| {
                let whole = fs::canonicalize(&file).with_context(|| file.display().to_string())?;
                whole.into_os_string().into_string().ok().context("--file is no UTF-8")
            });
            let request = ModelRequest::Promote { file: file.transpose()? };
            let answered = answer(&common, &Request::Model(request))?;
            (common, answered)
        }
        Command::Demote { common } => {
            let answered = answer(&common, &Request::Model(ModelRequest::Demote))?;
            (common, answered)
        }
    };
    let mut out = io::stdout().lock();
    if common.is_json() {
        serde_json::to_writer(&mut out, &answered)?;
        writeln!(out)?;
        return Ok(());
    }
    show(&serde_json::from_value(answered).context(VERSION)?, &mut out)?;
    Ok(())
}

const VERSION: &str = "the daemon's answer is of another version than this command";

/// Both models, labels and the history, some lines.
pub(super) fn show(models: &ModelsStatus, out: &mut impl Write) -> io::Result<()> {
    let Some(model) = &models.behaviour else { return writeln!(out, "  nothing is scored") };
    write!(out, "  behaviour {} ({}", model.model, model.from)?;
    if let Some(file) = &model.file {
        write!(out, ": {}", crate::show::show(file))?;
    }
    if let Some(promoted) = &model.promoted {
        write!(out, ", {promoted}")?;
    }
    writeln!(out, "), alerts from {:.4} on", model.threshold)?;
    if let Some(shadow) = &models.shadow {
        let name = shadow.model.as_deref().unwrap_or("none");
        write!(out, "  shadow    {name} ({})", crate::show::show(&shadow.file))?;
        match (&shadow.idle, &shadow.since, shadow.threshold) {
            (Some(idle), ..) => writeln!(out, ": {}", crate::show::show(idle))?,
            (None, Some(since), Some(threshold)) => {
                writeln!(out, ", would alert from {threshold:.4} on; compared since {since}")?;
                let (all, labels) = (&shadow.comparison, &shadow.comparison.labelled);
                writeln!(
                    out,
                    "    {} requests: {} alerts in force, {} in shadow; both {}, only in force {}, \
                     only in shadow {}; mean difference {:.4}",
                    all.requests,
                    all.current_alerts,
                    all.shadow_alerts,
                    all.both,
                    shadow.only_current,
                    shadow.only_shadow,
                    shadow.mean_difference
                )?;
                writeln!(
                    out,
                    "    of {} malicious labels: in force finds {}, shadow {}; of {} benign: \
                     in force {} alerts, shadow {}",
                    labels.malicious,
                    labels.current_found,
                    labels.shadow_found,
                    labels.benign,
                    labels.current_false,
                    labels.shadow_false
                )?;
            }
            _ => writeln!(out)?,
        }
    }
    let labels = &models.labels;
    writeln!(
        out,
        "  labels    {} benign, {} malicious; {} count for the like of them no more",
        labels.benign, labels.malicious, labels.ended
    )?;
    let history = &models.history;
    match &history.file {
        None => writeln!(out, "  history   none is written"),
        Some(file) => {
            let lost = history.dropped_queue + history.dropped_write;
            write!(
                out,
                "  history   {}: {} lines written, {} bytes, {} left out, {lost} lost",
                crate::show::show(file),
                history.written,
                history.bytes,
                history.left_out
            )?;
            match &history.last_error {
                Some(error) => writeln!(out, " ({})", crate::show::show(error)),
                None => writeln!(out),
            }
        }
    }
}
