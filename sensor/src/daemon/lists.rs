//! What the running daemon does about its lists: loading files, and what the control socket asks.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use super::{
    Daemon, feed_cache,
    feeds::{self, Came, List, Loaded},
    now,
};
use crate::{
    config::{Config, FeedConfig},
    control::{self, Change, Changed, Listed, ListedFile, MAX_LISTED, Target},
    enforce::{
        denylist::AddError,
        entry::{Allowed, Denied, Source, Written},
        file_list::FileList,
    },
    event::{AuditEvent, Body, Event, Kind, Peer},
    feeds::{FeedTable, MAX_TABLE_ENTRIES},
    finding::Severity,
    redact,
    time::Time,
    token::guard_keys::TokenKeys,
};

/// Denying and allowing for longer than this is for good, or a mistake: ten years.
const MAX_SECONDS: u64 = 315_360_000;

/// How long an answer waits for the disk. What it tells of is in force already, and will be written.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long the ring waits for it at a time: a write takes some microseconds where the disk has time.
const GLANCE: Duration = Duration::from_millis(2);

/// Reads all denylist files, or none.
pub(super) fn load_files(paths: &[PathBuf], now: Time) -> anyhow::Result<Vec<FileList>> {
    paths.iter().map(|path| FileList::load(path, now).context("denylist refused")).collect()
}

/// An audit event that tells nothing yet.
pub(super) const fn nothing() -> AuditEvent {
    AuditEvent {
        change: "",
        entry: None,
        until: None,
        reason: None,
        count: None,
        file: None,
        event: None,
        label: None,
        model: None,
        by: None,
    }
}

impl Daemon {
    /// Tells which denylist files are in force from now on. Feeds are told of one by one.
    pub(super) fn tell_files(&mut self) {
        let files: Vec<(String, u64)> = self
            .pipeline
            .lists()
            .denied
            .files()
            .iter()
            .filter(|file| !file.is_feed())
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

    /// A file changed: its list takes the place of the one before, or is refused whole.
    pub(super) fn take_list(&mut self, list: FileList) {
        let (name, count) = (list.name().to_owned(), list.len() as u64);
        match self.replace_list(list) {
            Ok(()) => tracing::info!("{name} is read again and in force: {count} entries"),
            Err(error) => tracing::error!("{name} not read again, the old stays: {error}"),
        }
    }

    /// Something became of a feed.
    pub(super) fn take_feed(&mut self, news: feeds::News) {
        let name = news.name;
        let taken = news.read.and_then(|came| {
            let Loaded { list, skipped, at } = match came {
                Came::Same(at) => return Ok((None, at)),
                Came::New(loaded) => loaded,
            };
            let count = match list {
                List::Denied(list) => {
                    let count = list.len() as u64;
                    self.replace_list(list).map_err(|error| error.to_string())?;
                    count
                }
                List::Table(table) => self.replace_table(table)?,
            };
            Ok((Some((count, skipped)), at))
        });
        let Some(state) = self.feeds.iter_mut().find(|state| state.is(&name)) else { return };
        match taken {
            Ok((Some((count, skipped)), at)) => {
                state.loaded(count, skipped, at);
                tracing::info!("feed {name} is in force: {count} entries, {skipped} passed over");
            }
            Ok((None, at)) => state.same(at),
            Err(error) => {
                if state.failed(&error) {
                    tracing::error!("feed {name} is not taken, the old stays: {error}");
                }
            }
        }
    }

    /// Puts a table in the place of the one before; gives its entries.
    fn replace_table(&mut self, table: Arc<FeedTable>) -> Result<u64, String> {
        let others = self.tables.iter().filter(|old| old.name() != table.name());
        let mut tables: Vec<_> = others.cloned().collect();
        let entries = table.len();
        let all = entries + tables.iter().map(|table| table.len()).sum::<usize>();
        if all > MAX_TABLE_ENTRIES {
            return Err(format!("{entries} entries, and all feeds may have {MAX_TABLE_ENTRIES}"));
        }
        tables.push(table);
        self.tables = tables;
        self.locate();
        Ok(entries as u64)
    }

    /// Has the pipeline know what is known of clients.
    pub(super) fn locate(&mut self) {
        let meanings: Vec<_> = self.config.feeds.iter().map(FeedConfig::meaning).collect();
        self.pipeline.locate(self.clients.with_feeds(self.tables.clone(), &meanings).into());
    }

    /// Forgets the feeds that are no more, or are others. `before` is the configuration before.
    pub(super) fn know_feeds(&mut self, before: Option<&Config>) {
        let config = &self.config;
        let stays = |name: &str| {
            let is = |feed: &&FeedConfig| feed.name.get_ref() == name;
            let feed = |config: &Config| config.feeds.iter().find(is).cloned();
            let denied = |config: &Config| config.enforcement.feeds.iter().find(is).cloned();
            let same = |one: Option<FeedConfig>, other: Option<FeedConfig>| {
                one.zip(other).is_some_and(|(one, other)| one.is_same_source(&other))
            };
            before.is_some_and(|before| {
                same(feed(config), feed(before)) || same(denied(config), denied(before))
            })
        };
        self.tables.retain(|table| stays(table.name()));
        let kept = std::mem::take(&mut self.feeds);
        let known = feeds::all(config).map(|(feed, reading)| {
            let name = feed.name.get_ref();
            let state = kept.iter().find(|state| state.is(name) && stays(name));
            state.cloned().unwrap_or_else(|| feeds::State::new(&reading))
        });
        self.feeds = known.collect();
        feed_cache::prune(config);
    }

    /// What is in force of the feeds that stay what they are in another configuration.
    pub(super) fn kept_feeds(&mut self, config: &Config) -> Vec<FileList> {
        let (old, new) = (&self.config.enforcement.feeds, &config.enforcement.feeds);
        let stays = |list: &&FileList| {
            let is = |feed: &&FeedConfig| FileList::feed_name(feed.name.get_ref()) == list.name();
            let both = old.iter().find(is).zip(new.iter().find(is));
            list.is_feed() && both.is_some_and(|(old, new)| old.is_same_source(new))
        };
        self.pipeline.lists().denied.files().iter().filter(stays).cloned().collect()
    }

    fn replace_list(&mut self, list: FileList) -> Result<(), AddError> {
        let mut files = self.pipeline.lists().denied.files().to_vec();
        let (file, count) = (list.name().to_owned(), list.len() as u64);
        match files.iter_mut().find(|old| old.name() == list.name()) {
            Some(old) => *old = list,
            None => files.push(list),
        }
        self.pipeline.lists().denied.replace_files(files)?;
        self.enforcer.forget_allowed();
        let (file, count) = (Some(file), Some(count));
        self.audit(AuditEvent { change: "deny-load", file, count, ..nothing() });
        Ok(())
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
                Ok(serde_json::to_value(control::List { entries: all, total, files, counts })?)
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
                all.extend(configured(&self.config.enforcement.allow, self.started));
                let total = all.len();
                shorten(&mut all, *limit);
                Ok(serde_json::to_value(control::List {
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
        let give_up = Instant::now() + PATIENCE;
        while !self.state_file.is_at_rest(GLANCE) && Instant::now() < give_up {
            self.go_on()?;
            self.state_file.save(self.pipeline.lists());
        }
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

    pub(super) fn audit(&mut self, event: AuditEvent) {
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
