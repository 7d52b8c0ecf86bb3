//! Erasing a subject from everything that is kept: in the running daemon, and in its files where none
//! runs.
//!
//! Events are looked for first and erased last: they tell under which issuers the subject is known, so
//! whoever tries again behind a failure finds the same. Each file is replaced whole; only events are
//! erased where they lie ([`crate::journal`]).

use std::{collections::HashSet, path::Path};

use anyhow::{Context as _, ensure};

use super::{
    Daemon,
    lists::nothing,
    memory_file, now,
    profiles_file::ProfilesFile,
    settings::{delivery, load_key},
};
use crate::{
    config::Config,
    control::{ForgetRequest, Forgotten},
    enforce::{
        Lists,
        entry::{Allowed, Denied},
        state_file,
    },
    event::{AuditEvent, Peer},
    feedback::LabelFile,
    fingerprint_key,
    history::{self, HistoryFile},
    journal::{Erased, Whose},
    pipeline::{Pipeline, Settings},
    policy::AllowedName,
    sinks,
};

/// Issuers that a subject is looked for under. Whoever makes up issuers can't make this take for ever;
/// what is over it is said.
const MAX_ISSUERS: usize = 1_000;

/// What files in the state folder may hold that were set aside as damaged.
const ASIDE: [&str; 3] = ["profiles.refused", "profiles-other.refused", "labels.bad"];

impl ForgetRequest {
    fn whose(&self) -> Whose {
        Whose::new(&self.subject, self.issuer.as_deref())
    }

    /// The issuers that it is looked for under, and how many there are more.
    fn issuers(&self, config: &Config, found: &Erased) -> (Vec<String>, usize) {
        let mut issuers: Vec<String> = match &self.issuer {
            Some(issuer) => vec![issuer.clone()],
            None => {
                let configured = config.issuers.iter().filter_map(|issuer| issuer.issuer.as_ref());
                let configured = configured.map(|issuer| issuer.get_ref().clone());
                let known = configured.chain([String::new()]);
                let mut issuers: Vec<String> = known.collect();
                issuers.extend(found.issuers.iter().cloned());
                issuers
            }
        };
        let mut seen = HashSet::new();
        issuers.retain(|issuer| seen.insert(issuer.clone()));
        let more = issuers.len().saturating_sub(MAX_ISSUERS);
        issuers.truncate(MAX_ISSUERS);
        (issuers, more)
    }

    /// The entries of lists that name it.
    fn entries(&self, lists: &Lists) -> (Vec<Denied>, Vec<Allowed>) {
        let is = |name: &AllowedName| self.names(name);
        let denied = lists.denied.entries().map(|(denied, _)| denied);
        let denied = denied.filter(|denied| matches!(denied, Denied::Subject(name) if is(name)));
        let allowed = lists.allowed.entries().map(|(allowed, _)| allowed.clone());
        let allowed = allowed.filter(|allow| matches!(allow, Allowed::Subject(name) if is(name)));
        (denied.collect(), allowed.collect())
    }

    fn names(&self, name: &AllowedName) -> bool {
        let ours = |issuer: &String| name.issuer.as_ref().is_none_or(|named| named == issuer);
        name.subject == self.subject && self.issuer.as_ref().is_none_or(ours)
    }

    /// Takes them off where that is asked for, and says what stays.
    fn unlist(&self, config: &Config, lists: &mut Lists, forgotten: &mut Forgotten) {
        let (denied, allowed) = self.entries(lists);
        if self.lists {
            for denied in &denied {
                // Of a file's, too, what else has it goes.
                let before = lists.denied.terms_of(denied).is_some();
                let _in_file = lists.denied.remove(denied);
                forgotten.listed += u64::from(before);
            }
            for allowed in &allowed {
                forgotten.listed += u64::from(lists.allowed.remove(allowed).is_ok());
            }
        } else if denied.len() + allowed.len() > 0 {
            forgotten.left.push(format!(
                "{} entries of what is denied and {} of what is allowed (--lists takes them off)",
                denied.len(),
                allowed.len()
            ));
        }
        let files = lists.denied.files().iter();
        let files = files.filter(|file| file.subjects().iter().any(|name| self.names(name)));
        forgotten.left.extend(files.map(|file| format!("the denylist {}", file.name())));
        if config.enforcement.allow.subjects.iter().any(|name| self.names(name)) {
            forgotten.left.push("enforcement.allow.subjects in the configuration".to_owned());
        }
    }
}

/// What the subject is known by in profiles, histories and labels.
fn hashes(pipeline: &mut Pipeline, issuers: &[String], subject: &str) -> HashSet<u128> {
    let features = pipeline.features();
    issuers.iter().flat_map(|issuer| features.subject_hashes(issuer, subject)).collect()
}

/// What is begun with what was found in events.
fn begun(request: &ForgetRequest, config: &Config, found: &Erased) -> Forgotten {
    let (issuers, more) = request.issuers(config, found);
    let mut forgotten = Forgotten { issuers, ..Forgotten::default() };
    if more > 0 {
        forgotten.left.push(format!("what is known of it under {more} further issuers"));
    }
    let dir = &config.daemon.state_dir;
    let aside = ASIDE.iter().map(|name| dir.join(name)).filter(|path| path.exists());
    forgotten.left.extend(aside.map(|path| format!("{}, which was set aside", path.display())));
    forgotten
}

impl Forgotten {
    fn erased(&mut self, erased: &Erased) {
        (self.events, self.undelivered) = (erased.events, erased.undelivered);
    }
}

impl Daemon {
    /// Does what `forget` asks.
    pub(super) fn forget(
        &mut self,
        request: &ForgetRequest,
        by: Peer,
    ) -> anyhow::Result<serde_json::Value> {
        request.check()?;
        let (whose, eraser) = (request.whose(), self.sinks.eraser());
        let found = self.meanwhile(|| eraser.find(&whose).context("events"))?;
        let mut forgotten = begun(request, &self.config, &found);
        let subjects = hashes(&mut self.pipeline, &forgotten.issuers, &request.subject);

        let labels = self.feedback.forget(&subjects, &found.ids).context("labels");
        forgotten.labels = labels?;
        self.heed();
        let lines = self.recorder.forget(subjects.clone());
        forgotten.history = self.meanwhile(move || Ok(lines.recv()??)).context("history")?;
        forgotten.profiles = self.pipeline.features().forget(&subjects);
        forgotten.tokens = self.pipeline.memory().forget(&forgotten.issuers, &request.subject);
        self.profiles_file.write_anew(now());
        self.memory_file.write_anew();
        request.unlist(&self.config, self.pipeline.lists(), &mut forgotten);
        self.refresh_tables();
        self.enforcer.forget_allowed();
        self.state_file.write_anew();
        self.written_anew()?;

        let eraser = self.sinks.eraser();
        forgotten.erased(&self.meanwhile(|| eraser.erase(&whose).context("events"))?);
        let sinks = self.sinks.status();
        let given = sinks.iter().map(|sink| format!("what was delivered to {}", sink.name));
        forgotten.left.extend(given);
        // Not whom.
        let count = Some(forgotten.events);
        self.audit(AuditEvent { change: "forget", count, by: Some(by), ..nothing() });
        Ok(serde_json::to_value(forgotten)?)
    }

    /// Reads and judges on until what is remembered, what is usual and what is denied is on the disk as
    /// it is now.
    fn written_anew(&mut self) -> anyhow::Result<()> {
        let every = self.config.scoring.save_every();
        let (mut memory, mut profiles, mut lists) = (None, None, None);
        while memory.is_none() || profiles.is_none() || lists.is_none() {
            self.go_on()?;
            self.memory_file.save(self.pipeline.memory());
            self.profiles_file.step(self.pipeline.features(), now(), every);
            self.state_file.save(self.pipeline.lists());
            memory = memory.or_else(|| self.memory_file.is_written_anew());
            profiles = profiles.or_else(|| self.profiles_file.is_written(now()));
            lists = lists.or_else(|| self.state_file.is_written_anew());
        }
        ensure!(memory == Some(true), "the memory of tokens can't be written, see the log");
        ensure!(lists == Some(true), "what is denied can't be written, see the log");
        ensure!(profiles == Some(true), "the profiles can't be written, see the log");
        Ok(())
    }
}

/// Does what `forget` asks in the files of a daemon that does not run.
///
/// # Errors
/// There are none, a daemon runs on them after all, or one can't be read or written. What was done
/// till then stays done, and may be done again.
pub(crate) fn forget_at_rest(
    config: &Config,
    request: &ForgetRequest,
) -> anyhow::Result<Forgotten> {
    request.check()?;
    let dir: &Path = &config.daemon.state_dir;
    ensure!(dir.is_dir(), "{}: there is no such folder, so nothing is kept", dir.display());
    let key = load_key(config)?;
    let salt = fingerprint_key::random_salt()?;
    let journal = sinks::Resting::open(&delivery(config, salt))
        .with_context(|| format!("events in {}", dir.display()))?;
    let whose = request.whose();
    let found = journal.find(&whose).context("events")?;
    let mut forgotten = begun(request, config, &found);

    let settings = Settings::new(config, key, salt);
    let (mut memory_file, memory) =
        memory_file::open(dir, settings.memory_secret, &settings.memory).context("state")?;
    let mut pipeline = Pipeline::new(settings);
    pipeline.remember(memory);
    let files = super::lists::load_files(config.enforcement.deny_files.get_ref(), now())?;
    pipeline.lists().denied.replace_files(files)?;
    let mut state_file = state_file::open(dir, now(), pipeline.lists()).context("state")?;
    let mut profiles_file = ProfilesFile::open(dir, pipeline.features());
    let (mut label_file, labels) = LabelFile::open(dir).context("labels")?;
    let subjects = hashes(&mut pipeline, &forgotten.issuers, &request.subject);

    let kept = labels.without(&subjects, &found.ids);
    forgotten.labels = (labels.iter().len() - kept.iter().len()) as u64;
    label_file.write_anew(&kept).context("labels")?;
    if let Some(path) = &config.scoring.history.file {
        // Mended first: a crash may have left half a line.
        if path.exists() {
            HistoryFile::open(path, u64::MAX).context("history")?;
        }
        forgotten.history = history::erase(path, &subjects).context("history")?;
    }
    forgotten.profiles = pipeline.features().forget(&subjects);
    profiles_file.finish(pipeline.features());
    ensure!(!profiles_file.is_failing(), "the profiles can't be written");
    forgotten.tokens = pipeline.memory().forget(&forgotten.issuers, &request.subject);
    memory_file.write_anew();
    memory_file.finish(pipeline.memory());
    ensure!(memory_file.is_written_anew() == Some(true), "the memory of tokens can't be written");
    request.unlist(config, pipeline.lists(), &mut forgotten);
    state_file.write_anew();
    state_file.finish(pipeline.lists());
    ensure!(state_file.is_written_anew() == Some(true), "what is denied can't be written");
    forgotten.erased(&journal.erase(&whose).context("events")?);
    forgotten.left.push("what was delivered to sinks".to_owned());
    Ok(forgotten)
}
