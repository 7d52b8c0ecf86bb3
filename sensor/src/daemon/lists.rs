//! What the running daemon does about its lists: loading files, and what the control socket asks.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};

use super::{Daemon, now};
use crate::{
    control::{Change, Changed, List, Listed, ListedFile, MAX_LISTED, Target},
    enforce::{
        entry::{Allowed, Denied, Source, Written},
        file_list::FileList,
        keys::TokenKeys,
    },
    event::{AuditEvent, Body, Event, Kind, Peer},
    finding::Severity,
    redact,
    time::Time,
};

/// Denying and allowing for longer than this is for good, or a mistake: ten years.
const MAX_SECONDS: u64 = 315_360_000;

/// Reads all denylist files, or none.
pub(super) fn load_files(paths: &[PathBuf], now: Time) -> anyhow::Result<Vec<FileList>> {
    paths.iter().map(|path| FileList::load(path, now).context("denylist refused")).collect()
}

fn nothing() -> AuditEvent {
    AuditEvent {
        change: "",
        entry: None,
        until: None,
        reason: None,
        count: None,
        file: None,
        by: None,
    }
}

impl Daemon {
    /// Tells which denylist files are in force from now on.
    pub(super) fn tell_files(&mut self) {
        let files: Vec<(String, u64)> = self
            .pipeline
            .lists()
            .denied
            .files()
            .iter()
            .map(|file| (file.name().to_owned(), file.len() as u64))
            .collect();
        for (file, count) in files {
            self.audit(AuditEvent {
                change: "deny-load",
                file: Some(file),
                count: Some(count),
                ..nothing()
            });
        }
    }

    /// Does what `deny` asks.
    pub(super) fn deny(&mut self, change: &Change, by: Peer) -> anyhow::Result<serde_json::Value> {
        let now = now();
        match change {
            Change::Add { target, reason, seconds } => {
                let denied = self.denied(target)?;
                let until = until(now, *seconds)?;
                // What somebody pastes as a reason may be the token itself.
                let reason = redact::text(reason).into_owned();
                let list = &mut self.pipeline.lists().denied;
                list.add(now, &denied, until, &reason, Source::Operator)?;
                let entry = Written::from(&denied);
                self.changed("deny-add", Some(entry), 1, until, Some(reason), by)
            }
            Change::Remove { target } => {
                let denied = self.denied(target)?;
                self.pipeline.lists().denied.remove(&denied)?;
                self.changed("deny-remove", Some((&denied).into()), 1, None, None, by)
            }
            Change::Flush { source } => {
                let count = self.pipeline.lists().denied.flush(*source);
                self.changed("deny-flush", None, count, None, None, by)
            }
            Change::List { limit } => {
                let list = &self.pipeline.lists().denied;
                let mut all: Vec<Listed> = list
                    .entries()
                    .map(|(denied, terms)| Listed::new((&denied).into(), &terms))
                    .collect();
                let total = all.len();
                shorten(&mut all, *limit);
                let files = list.files().iter().map(|file| ListedFile {
                    file: file.name().to_owned(),
                    tokens: file.tokens().len(),
                    addresses: file.networks().len(),
                    subjects: file.subjects().len(),
                });
                let (files, counts) = (files.collect(), Some(list.counts()));
                Ok(serde_json::to_value(List { entries: all, total, files, counts })?)
            }
        }
    }

    /// Does what `allow` asks.
    pub(super) fn allow(&mut self, change: &Change, by: Peer) -> anyhow::Result<serde_json::Value> {
        let now = now();
        match change {
            Change::Add { target, reason, seconds } => {
                let allowed = allowed(target)?;
                let until = until(now, *seconds)?;
                let reason = redact::text(reason).into_owned();
                let entry = Written::from(&allowed);
                self.pipeline.lists().allowed.add(now, allowed, until, &reason)?;
                self.changed("allow-add", Some(entry), 1, until, Some(reason), by)
            }
            Change::Remove { target } => {
                let allowed = allowed(target)?;
                self.pipeline.lists().allowed.remove(&allowed)?;
                self.changed("allow-remove", Some((&allowed).into()), 1, None, None, by)
            }
            Change::Flush { source: Some(_) } => bail!("every entry is an operator's"),
            Change::Flush { source: None } => {
                let count = self.pipeline.lists().allowed.flush();
                self.changed("allow-flush", None, count, None, None, by)
            }
            Change::List { limit } => {
                let list = &self.pipeline.lists().allowed;
                let mut all: Vec<Listed> = list
                    .entries()
                    .map(|(allowed, terms)| Listed::new(allowed.into(), &terms))
                    .collect();
                all.extend(configured(list.config(), self.started));
                let total = all.len();
                shorten(&mut all, *limit);
                Ok(serde_json::to_value(List {
                    entries: all,
                    total,
                    files: Vec::new(),
                    counts: None,
                })?)
            }
        }
    }

    fn denied(&self, target: &Target) -> anyhow::Result<Denied> {
        match target {
            Target::Entry(written) => Ok(written.denied()?),
            Target::Token(token) => {
                Ok(Denied::Token(TokenKeys::new(&self.key).of(token.as_bytes())))
            }
        }
    }

    /// What was changed counts at once, and is told.
    fn changed(
        &mut self,
        change: &'static str,
        entry: Option<Written>,
        count: usize,
        until: Option<Time>,
        reason: Option<String>,
        by: Peer,
    ) -> anyhow::Result<serde_json::Value> {
        self.refresh_tables();
        self.enforcer.forget_allowed();
        self.state_file.save(self.pipeline.lists());
        let whole = entry.is_none().then_some(count as u64);
        let (told, by) = (entry.clone(), Some(by));
        self.audit(AuditEvent {
            change,
            entry: told,
            until,
            reason,
            count: whole,
            by,
            ..nothing()
        });
        let until = until.as_ref().map(Time::to_string);
        Ok(serde_json::to_value(Changed { count, entry, until })?)
    }

    fn audit(&mut self, event: AuditEvent) {
        let at = now();
        self.sensor_events += 1;
        self.sinks.send(Event {
            id: self.ids.id(Kind::Audit, None, at, self.sensor_events),
            at,
            severity: Severity::Info,
            body: Body::Audit(Box::new(event)),
        });
    }
}

fn allowed(target: &Target) -> anyhow::Result<Allowed> {
    match target {
        Target::Entry(written) => Ok(written.allowed()?),
        Target::Token(_) => bail!("a single token can't be allowed; allow its subject"),
    }
}

fn until(now: Time, seconds: Option<u64>) -> anyhow::Result<Option<Time>> {
    match seconds {
        Some(0) => bail!("an entry for no time has no effect"),
        Some(seconds) if seconds > MAX_SECONDS => bail!("longer than ten years; leave --for out"),
        Some(seconds) => Ok(Some(now + Duration::from_secs(seconds))),
        None => Ok(None),
    }
}

/// In a stable order, and no more than asked for.
fn shorten(all: &mut Vec<Listed>, limit: usize) {
    all.sort_by_cached_key(|listed| listed.entry.to_string());
    all.truncate(limit.min(MAX_LISTED));
}

/// The entries of the configuration, as a list shows them.
fn configured(config: &crate::config::AllowConfig, since: Time) -> Vec<Listed> {
    let addresses = config.addresses.iter().map(|address| address.get_ref().clone());
    let routes = config.routes.iter().map(|route| route.get_ref().clone());
    let subjects = config.subjects.iter().map(|name| Written::Subject {
        issuer: name.issuer.clone(),
        subject: name.subject.clone(),
    });
    addresses
        .map(|address| Written::Address { address })
        .chain(routes.map(|route| Written::Route { route }))
        .chain(subjects)
        .chain(config.issuers.iter().map(|issuer| Written::Issuer { issuer: issuer.clone() }))
        .map(|entry| Listed {
            entry,
            added: since.to_string(),
            until: None,
            reason: "configuration".to_owned(),
            source: Source::File,
        })
        .collect()
}
