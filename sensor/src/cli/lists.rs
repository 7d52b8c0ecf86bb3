//! `deny` and `allow`: what the running daemon denies, and what it never cuts.

use std::{
    io::{self, BufRead as _, Read as _, Write},
    path::PathBuf,
};

use anyhow::Context as _;
use zeroize::Zeroizing;

use super::Usage;
use crate::{
    control::{self, Change, Changed, List, Request, Target, TokenText},
    enforce::entry::{Source, Written},
};

/// Longest line of standard input that is read as a token.
const MAX_TOKEN_LINE: u64 = 48 << 10;

/// Change or list what the running daemon denies: addresses, subjects and tokens.
///
/// What is denied is cut in every mode but `alert`, and told of in all of them. Entries survive a
/// restart of the daemon until their time is over. Every change is an event of kind `audit`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    jotwatch deny add 203.0.113.0/24 --reason 'scanner' --for 1h\n  \
    jotwatch deny add --token-key 0f1e2d3c4b5a69788796a5b4c3d2e1f0 --reason 'INC-7'\n  \
    jotwatch deny add --subject mallory --issuer https://id.example\n  \
    jotwatch deny add --token < token.txt\n  \
    jotwatch deny list --json | jq -c '.entries[]'")]
pub(super) struct DenyArguments {
    #[command(subcommand)]
    command: DenyCommand,
}

#[derive(Debug, clap::Subcommand)]
enum DenyCommand {
    /// Deny something.
    Add {
        #[command(flatten)]
        what: DenyTarget,
        #[command(flatten)]
        terms: NewTerms,
        #[command(flatten)]
        common: Common,
    },
    /// Deny something no more.
    Remove {
        #[command(flatten)]
        what: DenyTarget,
        #[command(flatten)]
        common: Common,
    },
    /// Show what is denied.
    List {
        /// Show this many entries at most.
        #[arg(long, value_name = "N", default_value_t = 1_000)]
        limit: usize,
        #[command(flatten)]
        common: Common,
    },
    /// Remove every entry but those of files.
    Flush {
        /// Only those that this one put in.
        #[arg(long, value_enum)]
        source: Option<FlushSource>,
        #[command(flatten)]
        common: Common,
    },
}

/// Change or list what is never cut: addresses, subjects, issuers and routes.
///
/// What is allowed passes whatever else is configured or denied; it is still told of. A subject or
/// an issuer counts only where a key vouches for the token.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    jotwatch allow add 192.0.2.7 --reason 'our scanner' --for 2h\n  \
    jotwatch allow add --route 'GET /health'\n  \
    jotwatch allow add --subject robot --issuer https://id.example\n  \
    jotwatch allow list")]
pub(super) struct AllowArguments {
    #[command(subcommand)]
    command: AllowCommand,
}

#[derive(Debug, clap::Subcommand)]
enum AllowCommand {
    /// Allow something.
    Add {
        #[command(flatten)]
        what: AllowTarget,
        #[command(flatten)]
        terms: NewTerms,
        #[command(flatten)]
        common: Common,
    },
    /// Allow something no more.
    Remove {
        #[command(flatten)]
        what: AllowTarget,
        #[command(flatten)]
        common: Common,
    },
    /// Show what is allowed, with what the configuration allows.
    List {
        /// Show this many entries at most.
        #[arg(long, value_name = "N", default_value_t = 1_000)]
        limit: usize,
        #[command(flatten)]
        common: Common,
    },
    /// Remove every entry but those of the configuration.
    Flush {
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, clap::Args)]
struct DenyTarget {
    /// An address or a network.
    #[arg(value_name = "ADDRESS[/LEN]", group = "what")]
    address: Option<String>,
    /// The deny key of a token, as an event's `deny_key` shows it.
    #[arg(long, value_name = "HEX", group = "what")]
    token_key: Option<String>,
    /// A token, read from standard input: arguments are seen by other users.
    #[arg(long, group = "what")]
    token: bool,
    /// A subject (`sub`).
    #[arg(long, value_name = "NAME", group = "what")]
    subject: Option<String>,
    /// The subject is this issuer's (`iss`); any issuer's without.
    #[arg(long, value_name = "NAME", requires = "subject")]
    issuer: Option<String>,
}

#[derive(Debug, clap::Args)]
struct AllowTarget {
    /// An address or a network.
    #[arg(value_name = "ADDRESS[/LEN]")]
    address: Option<String>,
    /// A subject (`sub`).
    #[arg(long, value_name = "NAME")]
    subject: Option<String>,
    /// An issuer (`iss`); beside --subject, the subject is this issuer's.
    #[arg(long, value_name = "NAME")]
    issuer: Option<String>,
    /// A route: `/health`, or `GET /orders/{id}`.
    #[arg(long, value_name = "ROUTE")]
    route: Option<String>,
}

#[derive(Debug, clap::Args)]
struct NewTerms {
    /// Why.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// For how long: 90s, 15m, 1h30m, 7d; for good without.
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
    duration: Option<u64>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Common {
    /// The daemon's configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the daemon's answer as one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum FlushSource {
    /// Verdicts of the daemon.
    Verdict,
    /// People, with this command.
    Operator,
}

pub(super) fn deny(arguments: DenyArguments) -> anyhow::Result<()> {
    match arguments.command {
        DenyCommand::Add { what, terms, common } => {
            let NewTerms { reason, duration: seconds } = terms;
            change(&common, Change::Add { target: what.read()?, reason, seconds }, Request::Deny)
        }
        DenyCommand::Remove { what, common } => {
            change(&common, Change::Remove { target: what.read()? }, Request::Deny)
        }
        DenyCommand::List { limit, common } => list(&common, limit, Request::Deny),
        DenyCommand::Flush { source, common } => {
            let source = source.map(|source| match source {
                FlushSource::Verdict => Source::Verdict,
                FlushSource::Operator => Source::Operator,
            });
            change(&common, Change::Flush { source }, Request::Deny)
        }
    }
}

pub(super) fn allow(arguments: AllowArguments) -> anyhow::Result<()> {
    match arguments.command {
        AllowCommand::Add { what, terms, common } => {
            let NewTerms { reason, duration: seconds } = terms;
            change(&common, Change::Add { target: what.read()?, reason, seconds }, Request::Allow)
        }
        AllowCommand::Remove { what, common } => {
            change(&common, Change::Remove { target: what.read()? }, Request::Allow)
        }
        AllowCommand::List { limit, common } => list(&common, limit, Request::Allow),
        AllowCommand::Flush { common } => {
            change(&common, Change::Flush { source: None }, Request::Allow)
        }
    }
}

impl DenyTarget {
    fn read(self) -> anyhow::Result<Target> {
        let written = match self {
            Self { address: Some(address), .. } => Written::Address { address },
            Self { token_key: Some(token_key), .. } => Written::Token { token_key },
            Self { subject: Some(subject), issuer, .. } => Written::Subject { issuer, subject },
            Self { token: true, .. } => return Ok(Target::Token(read_token()?)),
            _ => {
                let message = "say what: an address, --token-key, --token or --subject";
                return Err(Usage(message.into()).into());
            }
        };
        written.denied().map_err(|error| Usage(error.to_string()))?;
        Ok(Target::Entry(written))
    }
}

impl AllowTarget {
    fn read(self) -> anyhow::Result<Target> {
        let written = match self {
            Self { address: Some(address), subject: None, issuer: None, route: None } => {
                Written::Address { address }
            }
            Self { address: None, subject: Some(subject), issuer, route: None } => {
                Written::Subject { issuer, subject }
            }
            Self { address: None, subject: None, issuer: Some(issuer), route: None } => {
                Written::Issuer { issuer }
            }
            Self { address: None, subject: None, issuer: None, route: Some(route) } => {
                Written::Route { route }
            }
            _ => {
                let message = "say what, one thing: an address, --subject, --issuer or --route";
                return Err(Usage(message.into()).into());
            }
        };
        written.allowed().map_err(|error| Usage(error.to_string()))?;
        Ok(Target::Entry(written))
    }
}

fn read_token() -> anyhow::Result<TokenText> {
    let mut line = Zeroizing::new(String::new());
    let read = io::stdin().lock().take(MAX_TOKEN_LINE + 1).read_line(&mut line);
    read.context("standard input")?;
    anyhow::ensure!(line.len() as u64 <= MAX_TOKEN_LINE, "the token is over 48 KiB");
    // What is pasted may be the whole field: the token is its last word.
    let token = line.split_ascii_whitespace().next_back();
    Ok(TokenText::new(token.context("no token on standard input")?.to_owned()))
}

fn change(
    common: &Common,
    change: Change,
    request: impl FnOnce(Change) -> Request,
) -> anyhow::Result<()> {
    let Some(answer) = ask(common, &request(change))? else { return Ok(()) };
    let Changed { count, entry, until } =
        serde_json::from_value(answer).context("the daemon's answer is of another version")?;
    let mut out = io::stdout().lock();
    match (entry, until) {
        (Some(entry), Some(until)) => writeln!(out, "{entry} until {until}")?,
        (Some(entry), None) => writeln!(out, "{entry}")?,
        (None, _) => writeln!(out, "{count} entries removed")?,
    }
    Ok(())
}

fn list(
    common: &Common,
    limit: usize,
    request: impl FnOnce(Change) -> Request,
) -> anyhow::Result<()> {
    let Some(answer) = ask(common, &request(Change::List { limit }))? else { return Ok(()) };
    let list: List =
        serde_json::from_value(answer).context("the daemon's answer is of another version")?;
    let mut out = io::stdout().lock();
    for listed in &list.entries {
        write!(out, "{}", listed.entry)?;
        if let Some(until) = &listed.until {
            write!(out, " until {until}")?;
        }
        write!(out, " by {}", listed.source.as_str())?;
        if !listed.reason.is_empty() {
            write!(out, ": {}", crate::show::show(&listed.reason))?;
        }
        writeln!(out)?;
    }
    if list.total > list.entries.len() {
        writeln!(out, "… and {} more (--limit)", list.total - list.entries.len())?;
    }
    for file in &list.files {
        writeln!(
            out,
            "file {}: {} token keys, {} addresses, {} subjects",
            file.file, file.tokens, file.addresses, file.subjects
        )?;
    }
    Ok(())
}

impl Common {
    /// The configuration file, where it is named.
    pub(super) const fn config(&self) -> Option<&PathBuf> {
        self.config.as_ref()
    }

    /// Whether the answer is to be printed as JSON.
    pub(super) const fn is_json(&self) -> bool {
        self.json
    }
}

/// What the daemon answers.
pub(super) fn answer(common: &Common, request: &Request) -> anyhow::Result<serde_json::Value> {
    let runtime_dir = super::runtime_dir(common.config.as_ref())?;
    control::ask(&runtime_dir, request)
}

/// Asks the daemon; with `--json` its answer is printed here.
pub(super) fn ask(common: &Common, request: &Request) -> anyhow::Result<Option<serde_json::Value>> {
    let answer = answer(common, request)?;
    if !common.json {
        return Ok(Some(answer));
    }
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, &answer)?;
    writeln!(out)?;
    Ok(None)
}

/// `90s`, `15m`, `1h30m`, `7d`, `2w`, or seconds.
pub(super) fn parse_duration(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no duration: write 90s, 15m, 1h30m or 7d");
    let (mut total, mut number) = (0_u64, None::<u64>);
    for byte in text.bytes() {
        if byte.is_ascii_digit() {
            let so_far = number.unwrap_or(0).checked_mul(10);
            number =
                Some(so_far.and_then(|n| n.checked_add(u64::from(byte - b'0'))).ok_or_else(wrong)?);
            continue;
        }
        let unit = match byte {
            b's' => 1,
            b'm' => 60,
            b'h' => 3_600,
            b'd' => 86_400,
            b'w' => 604_800,
            _ => return Err(wrong()),
        };
        let seconds = number.take().and_then(|n| n.checked_mul(unit)).ok_or_else(wrong)?;
        total = total.checked_add(seconds).ok_or_else(wrong)?;
    }
    match number {
        // Seconds alone.
        Some(seconds) if total == 0 => Some(seconds),
        Some(_) => None,
        None => Some(total),
    }
    .filter(|&seconds| seconds > 0)
    .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::parse_duration;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, due) in [
            ("90s", 90),
            ("15m", 900),
            ("1h30m", 5_400),
            ("7d", 604_800),
            ("2w", 1_209_600),
            ("42", 42),
        ] {
            assert_eq!(parse_duration(text), Ok(due), "{text}");
        }
        for wrong in ["", "s", "1", "0", "0s", "1x", "1h30", "-1s", "1 h", "99999999999999999999s"]
        {
            assert_eq!(parse_duration(wrong).is_ok(), wrong == "1", "{wrong}");
        }
    }
}
