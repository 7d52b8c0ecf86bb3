//! `events`: what was told, read from the files that the daemon keeps it in.

use std::{
    collections::VecDeque,
    io::{self, Write},
    path::PathBuf,
    thread,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::{Usage, lists::parse_duration, shown};
use crate::{
    event::{Filter, Head},
    finding::{FindingId, Severity},
    journal::{self, History},
    time::Time,
};

/// How often `--follow` looks for more.
const FOLLOW: Duration = Duration::from_millis(200);

/// Show the events that the daemon keeps: those of the last 30 days, unless configured otherwise.
///
/// Reads the files in the daemon's state folder, so it also works while no daemon runs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    jotwatch events --since 2h --severity high\n  \
    jotwatch events --finding alg-none --finding bypass-confirmed --json | jq .client\n  \
    jotwatch events --follow\n  \
    jotwatch events --id 0b1c2d3e4f5061728394a5b6c7d8e9fa")]
pub(super) struct Arguments {
    /// Only those since this time, RFC 3339, or of the last while: 90s, 2h, 7d.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only those of this severity and graver.
    #[arg(long, value_name = "SEVERITY", value_parser = severity)]
    severity: Option<Severity>,
    /// Only those of this score and above.
    #[arg(long, value_name = "SCORE", value_parser = clap::value_parser!(u8).range(0..=100))]
    score: Option<u8>,
    /// Only those with this finding; again for one of several.
    #[arg(long, value_name = "FINDING", value_parser = finding)]
    finding: Vec<String>,
    /// Only those of this service, by command, cgroup or ADDRESS:PORT; again for one of several.
    #[arg(long, value_name = "SERVICE")]
    service: Vec<String>,
    /// Only the last so many.
    #[arg(short = 'n', long, value_name = "N")]
    last: Option<usize>,
    /// Only this one, in full.
    #[arg(long, value_name = "ID", conflicts_with_all = ["follow", "last"])]
    id: Option<String>,
    /// Go on with those that follow, until interrupted.
    #[arg(short, long)]
    follow: bool,
    /// Print them as they are, one JSON object a line.
    #[arg(long)]
    json: bool,
    /// The daemon's configuration file, for its state folder.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

fn severity(name: &str) -> Result<Severity, String> {
    let known = Severity::ALL.iter().find(|severity| severity.as_str() == name);
    known.copied().ok_or_else(|| "one of info, low, medium, high, critical".to_owned())
}

fn finding(name: &str) -> Result<String, String> {
    match FindingId::ALL.iter().any(|id| id.as_str() == name) {
        true => Ok(name.to_owned()),
        false => Err("no such finding, see docs/findings.md".to_owned()),
    }
}

/// A time, or how long ago.
fn moment(text: &str, now: SystemTime) -> anyhow::Result<SystemTime> {
    if let Ok(seconds) = parse_duration(text) {
        return Ok(now.checked_sub(Duration::from_secs(seconds)).unwrap_or(SystemTime::UNIX_EPOCH));
    }
    let time = text.parse::<jiff::Timestamp>().map_err(|_| {
        Usage(format!("--since {text:?} is neither a duration (2h) nor a time (RFC 3339)"))
    })?;
    Ok(time.into())
}

/// Which events are shown.
struct Wanted {
    /// Written as events write their times, which sort as they follow each other.
    since: Option<String>,
    filter: Filter,
    id: Option<String>,
}

impl Wanted {
    fn is(&self, line: &[u8]) -> bool {
        let Some(event) = Head::of(line) else { return false };
        self.since.as_ref().is_none_or(|since| *event.time >= **since)
            && self.filter.passes(&event)
            && self.id.as_ref().is_none_or(|id| {
                let id = format!("\"id\":\"{id}\"");
                memchr::memmem::find(line, id.as_bytes()).is_some()
            })
    }
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<()> {
    let since = arguments.since.as_deref().map(|text| moment(text, SystemTime::now()));
    let since = since.transpose()?;
    let dir = journal::folder(&super::folders(arguments.config.as_ref())?.state_dir);
    let mut history = History::open(&dir, since)
        .with_context(|| format!("events in {} can't be read", dir.display()))?;
    let wanted = Wanted {
        since: since.map(written).transpose()?,
        filter: Filter {
            severity: arguments.severity,
            score: arguments.score,
            findings: arguments.finding,
            services: arguments.service,
        },
        id: arguments.id,
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    let show = |line: &[u8], out: &mut io::BufWriter<_>| match (&wanted.id, arguments.json) {
        (Some(_), false) => in_full(line, out),
        _ => print(line, arguments.json, out),
    };
    let mut last = VecDeque::new();
    let mut shown = 0;
    while let Some(line) = history.next_line()? {
        if !wanted.is(&line) {
            continue;
        }
        shown += 1;
        match arguments.last {
            None => show(&line, &mut out)?,
            Some(0) => {}
            Some(most) => {
                if last.len() == most {
                    last.pop_front();
                }
                last.push_back(line);
            }
        }
    }
    for line in last {
        show(&line, &mut out)?;
    }
    out.flush()?;
    if let (Some(id), 0) = (&wanted.id, shown) {
        bail!("no event {id} is kept in {}", dir.display());
    }
    if !arguments.follow {
        return Ok(());
    }
    loop {
        match history.next_line()? {
            Some(line) if wanted.is(&line) => show(&line, &mut out)?,
            Some(_) => {}
            None => {
                out.flush()?;
                thread::sleep(FOLLOW);
            }
        }
    }
}

/// As events write it.
fn written(time: SystemTime) -> anyhow::Result<String> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Ok((Time::EPOCH + since).to_string())
}

fn print(line: &[u8], json: bool, out: &mut impl Write) -> io::Result<()> {
    if json {
        out.write_all(line)?;
        return out.write_all(b"\n");
    }
    let Ok(event) = serde_json::from_slice::<Value>(line) else { return Ok(()) };
    let score = event.get("score").map_or_else(|| "-".to_owned(), ToString::to_string);
    writeln!(
        out,
        "{} {:<8} {score:>3} {} {}",
        shown::text(&event, "/time"),
        shown::text(&event, "/severity"),
        shown::text(&event, "/id"),
        shown::what(&event)
    )
}

fn in_full(line: &[u8], out: &mut impl Write) -> io::Result<()> {
    let Ok(event) = serde_json::from_slice::<Value>(line) else { return Ok(()) };
    shown::whole(&event).iter().try_for_each(|line| writeln!(out, "{line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_time_or_a_while() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let at = |text| moment(text, now).map(|at| written(at).unwrap());
        assert_eq!(at("1h").unwrap(), "1970-01-12T12:46:40.000000Z");
        assert_eq!(at("2026-01-02T03:04:05Z").unwrap(), "2026-01-02T03:04:05.000000Z");
        assert_eq!(at("2026-01-02T03:04:05+01:00").unwrap(), "2026-01-02T02:04:05.000000Z");
        let error = at("yesterday").unwrap_err();
        assert!(error.is::<Usage>() && error.to_string().contains("yesterday"), "{error}");
    }
}
