use std::{
    io::{self, Write},
    path::PathBuf,
};

use anyhow::Context as _;

use crate::{
    control::{self, EnforcementStatus, FeedStatus, Request, Status},
    finding,
};

/// Show what the running daemon watches, has seen and has lost.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  jotwatch status\n  jotwatch status --json | jq .balance")]
pub(super) struct Arguments {
    /// The daemon's configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the daemon's answer as one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let runtime_dir = super::runtime_dir(arguments.config.as_ref())?;
    let answer = control::ask(&runtime_dir, &Request::Status)?;
    let mut out = io::stdout().lock();
    if arguments.json {
        serde_json::to_writer(&mut out, &answer)?;
        writeln!(out)?;
        return Ok(());
    }
    let status: Status = serde_json::from_value(answer)
        .context("the daemon's answer is of another version than this command")?;
    show(&status, &mut out)?;
    Ok(())
}

fn show(status: &Status, out: &mut impl Write) -> io::Result<()> {
    let ports: Vec<String> = status.ports.iter().map(u16::to_string).collect();
    writeln!(
        out,
        "jotwatch {} · process {} · since {}\nwatching port {} in cgroup {} · mode {}\n",
        status.version,
        status.pid,
        status.started,
        ports.join(", "),
        status.cgroup,
        status.mode
    )?;
    let balance = &status.balance;
    let lost: u64 = balance.lost.values().sum();
    writeln!(
        out,
        "requests {} = seen {} + under way {} + lost {lost}",
        balance.requests, balance.seen, balance.pending
    )?;
    for (cause, count) in balance.lost.iter().filter(|&(_, &count)| count > 0) {
        writeln!(out, "  lost: {cause:<24} {count}")?;
    }
    show_enforcement(&status.enforcement, out)?;
    writeln!(out, "\nkernel")?;
    for (name, count) in &status.kernel.0 {
        writeln!(out, "  {name:<30} {count:>14}")?;
    }
    writeln!(out, "\npipeline")?;
    show_counters(&serde_json::to_value(&status.pipeline).unwrap_or_default(), "", out)?;
    writeln!(out, "\nmemory of tokens")?;
    show_counters(&serde_json::to_value(status.memory).unwrap_or_default(), "", out)?;
    writeln!(out, "\nprofiles")?;
    show_counters(&serde_json::to_value(status.profiles).unwrap_or_default(), "", out)?;
    if !status.issuers.is_empty() {
        writeln!(out, "\nissuers")?;
    }
    for issuer in &status.issuers {
        let name = issuer.issuer.as_deref().unwrap_or("any other");
        write!(out, "  {name:<30} {} keys", issuer.keys)?;
        match &issuer.last_error {
            Some(error) => writeln!(out, " ({error})")?,
            None => writeln!(out)?,
        }
    }
    if !status.feeds.is_empty() {
        writeln!(out, "\nfeeds")?;
        show_feeds(&status.feeds, out)?;
    }
    writeln!(out, "\nmodels")?;
    super::model::show(&status.models, out)?;
    if let Some(rest) = &status.rest {
        let refused: u64 = rest.refused.values().sum();
        writeln!(
            out,
            "\nrest\n  {}: {} scored, {} of them suspicious, {refused} refused",
            rest.listen, rest.scored, rest.suspicious
        )?;
    }
    writeln!(out, "\ndaemon\n  {}", status.confinement)?;
    let delivery = &status.delivery;
    writeln!(
        out,
        "\nevents\n  {} told, {} joined with others, {} lost before they were kept, {} bytes kept",
        delivery.journal.appended,
        delivery.joined,
        delivery.dropped.iter().sum::<u64>(),
        delivery.journal.bytes
    )?;
    if let Some(error) = &delivery.journal.error {
        writeln!(out, "  {} not on disk yet: {error}", delivery.journal.unwritten)?;
    }
    for (cause, counts) in delivery.lost.causes() {
        if let Some(counts) = finding::in_words(&counts) {
            writeln!(out, "  lost by {cause}: {counts}")?;
        }
    }
    writeln!(out, "\nsinks")?;
    for sink in &status.sinks {
        write!(
            out,
            "  {:<30} delivered {}, queued {}, dropped {}, errors {}",
            sink.name,
            sink.delivered,
            sink.queued,
            sink.dropped.iter().sum::<u64>(),
            sink.errors
        )?;
        match sink.refused.iter().sum::<u64>() {
            0 => {}
            refused => write!(out, ", refused {refused}")?,
        }
        match &sink.last_error {
            Some(error) => writeln!(out, " ({error})")?,
            None => writeln!(out)?,
        }
    }
    Ok(())
}

fn show_feeds(feeds: &[FeedStatus], out: &mut impl Write) -> io::Result<()> {
    for feed in feeds {
        write!(out, "  feed {} ({}): {} entries", feed.name, feed.used, feed.entries)?;
        match feed.age_seconds {
            Some(age @ ..7_200) => write!(out, ", {} minutes old", age / 60)?,
            Some(age) => write!(out, ", {} hours old", age / 3_600)?,
            None => write!(out, ", never loaded")?,
        }
        match &feed.error {
            Some(error) => writeln!(out, "; failed: {}", crate::show::show(error))?,
            None => writeln!(out)?,
        }
    }
    Ok(())
}

fn show_enforcement(status: &EnforcementStatus, out: &mut impl Write) -> io::Result<()> {
    let dry = |dry_run| if dry_run { ", dry run" } else { "" };
    writeln!(
        out,
        "\nenforcement\n  mode {}{} · fail {}",
        status.mode,
        dry(status.dry_run),
        status.fail
    )?;
    for service in &status.services {
        writeln!(out, "  {}: mode {}{}", service.place, service.mode, dry(service.dry_run))?;
    }
    show_feeds(&status.feeds, out)?;
    let (cuts, denied) = (&status.cuts, &status.denied);
    writeln!(out, "  cut: {} reset, {} gone, {} failed", cuts.reset, cuts.gone, cuts.failed)?;
    writeln!(
        out,
        "  denied: {} token keys, {} addresses, {} subjects, {} connections; in files: {}, {}, {}",
        denied.tokens,
        denied.networks,
        denied.subjects,
        denied.flows,
        denied.file_tokens,
        denied.file_networks,
        denied.file_subjects
    )?;
    if denied.displaced + denied.table_failures > 0 {
        let (displaced, failures) = (denied.displaced, denied.table_failures);
        writeln!(out, "  gave way: {displaced}, refused by the tables: {failures}")?;
    }
    let counted = |(name, n): (&String, &u64)| (*n > 0).then(|| format!("{name} {n}"));
    let guard: Vec<String> = status.guard.iter().filter_map(counted).collect();
    if !guard.is_empty() {
        writeln!(out, "  in the kernel: {}", guard.join(", "))?;
    }
    writeln!(out, "  allowed: {} beside the configuration", status.allowed)
}

/// Nested counters, one a line.
fn show_counters(value: &serde_json::Value, name: &str, out: &mut impl Write) -> io::Result<()> {
    match value {
        serde_json::Value::Object(members) => {
            for (key, member) in members {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                show_counters(member, &name, out)?;
            }
            Ok(())
        }
        other => writeln!(out, "  {name:<30} {other:>14}"),
    }
}
