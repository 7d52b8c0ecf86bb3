//! `top`: what passes and what is told, live, in a terminal.

mod model;
mod screen;

use std::{
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyEventKind},
};

use self::model::{Action, Top};
use crate::control::{self, Change, Changed, LiveView, Request, Target};

/// How often the daemon is asked.
const PERIOD: Duration = Duration::from_secs(1);
/// How long what is denied here stays so: somebody looks at it, and can make it last.
const DENY_SECONDS: u64 = 3_600;

/// Watch requests and alerts as they come.
///
/// Keys: 1 to 6 or Tab change the table, s sorts by the next column, r the other way round, / filters,
/// p pauses, Enter opens, d denies what a line is about after a question, q leaves.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  jotwatch top\n  ssh -t host jotwatch top")]
pub(super) struct Arguments {
    /// The daemon's configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let runtime_dir = super::runtime_dir(arguments.config.as_ref())?;
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        bail!("top needs a terminal; jotwatch status and jotwatch events do not");
    }
    // Before the screen is taken: a daemon that is not there is one line.
    let mut top = Top::default();
    top.take(ask(&runtime_dir, 0)?, Instant::now());
    // Restores the terminal, also when it panics.
    let mut terminal = ratatui::try_init().context("the terminal can't be set up")?;
    let result = watch(&mut terminal, &mut top, &runtime_dir);
    ratatui::restore();
    result
}

fn watch(terminal: &mut DefaultTerminal, top: &mut Top, runtime_dir: &Path) -> anyhow::Result<()> {
    let mut due = Instant::now() + PERIOD;
    loop {
        terminal.draw(|frame| screen::draw(frame, top))?;
        let now = Instant::now();
        if now >= due {
            due = now + PERIOD;
            if !top.is_paused() {
                match ask(runtime_dir, top.after()) {
                    Ok(view) => top.take(view, now),
                    // It may be restarted: what was seen stays on the screen.
                    Err(error) => top.notice(format!("{error:#}")),
                }
            }
            continue;
        }
        if !event::poll(due - now)? {
            continue;
        }
        if let Event::Key(key) = event::read()?
            && key.kind == KeyEventKind::Press
        {
            match top.press(key.code, key.modifiers) {
                Action::None => {}
                Action::Leave => return Ok(()),
                Action::Deny(entry) => {
                    let change = Change::Add {
                        target: Target::Entry(entry),
                        reason: "from jotwatch top".to_owned(),
                        seconds: Some(DENY_SECONDS),
                    };
                    top.notice(match deny(runtime_dir, change) {
                        Ok(said) => said,
                        Err(error) => format!("not denied: {error:#}"),
                    });
                }
            }
        }
    }
}

fn ask(runtime_dir: &Path, after: u64) -> anyhow::Result<LiveView> {
    let answer = control::ask(runtime_dir, &Request::Live { after })?;
    serde_json::from_value(answer)
        .context("the daemon's answer is of another version than this command")
}

fn deny(runtime_dir: &Path, change: Change) -> anyhow::Result<String> {
    let answer = control::ask(runtime_dir, &Request::Deny(change))?;
    let changed: Changed = serde_json::from_value(answer)?;
    let entry = changed.entry.map(|entry| entry.to_string()).unwrap_or_default();
    Ok(format!("denied until {}: {entry}", changed.until.unwrap_or_default()))
}
