//! The truth about what is denied: entries with reason, source and expiry, and the lists of files.
//!
//! Time and entries come in as values; the tables that segments are looked up in are an image of
//! this, brought up to date by [`Denylist::refresh`]. Entries of files hold as long as they stand
//! in their file and can't be removed otherwise.
#![forbid(unsafe_code)]

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

use super::{
    changes::Changes,
    entry::{Denied, MAX_REASON, Source, Terms},
    file_list::FileList,
    packed::{KINDS, Key, Packed, seconds},
    tables::{Deny, MAX_FLOWS, MAX_NETWORKS, MAX_TOKENS, Tables, TokenKey},
};
use crate::{
    networks::NetworkMap,
    policy::{AllowedName, Name},
    time::Time,
};

/// Token keys that verdicts may deny at once; the one that would end first gives way. The other
/// half of the room is kept for people and files, whatever an attacker makes the sensor deny.
pub const MAX_VERDICT_TOKENS: usize = MAX_TOKENS / 2;

/// Addresses that verdicts may deny at once, likewise.
pub const MAX_VERDICT_NETWORKS: usize = MAX_NETWORKS / 2;

/// Subjects that are denied at once.
pub const MAX_SUBJECTS: usize = 100_000;

/// Subjects that verdicts may deny at once, likewise.
pub const MAX_VERDICT_SUBJECTS: usize = MAX_SUBJECTS / 2;

/// Different reasons that are kept; each stands there once, however many entries have it.
pub const MAX_REASONS: usize = 65_536;

/// Table entries that [`Denylist::refresh`] writes at one call: some milliseconds, so that reading
/// the ring does not wait for a large file.
pub const REFRESH_STEP: usize = 8_192;

/// Why an entry was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddError {
    /// No room.
    #[error("the denylist is full: {limit} {what}")]
    Full {
        /// Of what.
        what: &'static str,
        /// How many there is room for.
        limit: usize,
    },
    /// Its time is over already.
    #[error("the entry would have ended before it began")]
    Past,
}

/// Why an entry was not removed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemoveError {
    /// There is none.
    #[error("there is no such entry")]
    Absent,
    /// A file has it.
    #[error("the entry stands in {0}; remove it there and reload")]
    InFile(String),
}

/// How much is denied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DenyCounts {
    /// Token keys of people and verdicts.
    pub tokens: u64,
    /// Addresses and networks of people and verdicts.
    pub networks: u64,
    /// Subjects of people and verdicts.
    pub subjects: u64,
    /// Connections.
    pub flows: u64,
    /// Token keys in files.
    pub file_tokens: u64,
    /// Addresses and networks in files.
    pub file_networks: u64,
    /// Subjects in files.
    pub file_subjects: u64,
    /// Entries of verdicts that gave way to later ones before their time.
    pub displaced: u64,
    /// Entries that a table had no room for or refused.
    pub table_failures: u64,
}

/// What is denied. See the [module](self).
#[derive(Debug, Default)]
pub struct Denylist {
    tokens: HashMap<TokenKey, Packed, foldhash::fast::RandomState>,
    networks: NetworkMap<Packed>,
    flows: HashMap<u64, Packed, foldhash::fast::RandomState>,
    subjects: HashMap<AllowedName, (u64, Packed)>,
    subject_names: HashMap<u64, AllowedName>,
    next_subject: u64,
    reasons: Vec<Arc<str>>,
    reason_numbers: HashMap<Arc<str>, u32>,
    /// What ends when, soonest first; of verdicts and of people, by kind.
    ends: [[BTreeSet<(u32, Key)>; KINDS]; 2],
    files: Vec<FileList>,
    /// Networks of all files, each with the number of the first that has it.
    file_networks: NetworkMap<u32>,
    /// Keys of which the tables are to be told.
    dirty: Vec<Key>,
    /// Files whose token keys the tables are to be told of, from where on.
    unsent: Vec<(Arc<[TokenKey]>, usize)>,
    /// What is to be saved.
    changes: Changes,
    displaced: u64,
    table_failures: u64,
}

impl Denylist {
    /// Denies something until then, or for good. What is denied already takes the new terms;
    /// only a verdict never shortens what a person said.
    ///
    /// # Errors
    /// There is no room, or `until` is over.
    pub fn add(
        &mut self,
        now: Time,
        denied: &Denied,
        until: Option<Time>,
        reason: &str,
        source: Source,
    ) -> Result<(), AddError> {
        if until.is_some_and(|until| until <= now) {
            return Err(AddError::Past);
        }
        let reason = self.number(reason);
        let packed =
            Packed { until: until.map_or(0, seconds), added: seconds(now), reason, source };
        let old = self.packed(denied);
        if let Some(old) = old
            && source == Source::Verdict
            && old.source != Source::Verdict
            && old.holds(now)
        {
            return Ok(());
        }
        if old.is_none() {
            self.make_room(denied, source)?;
        }
        let key = match denied {
            Denied::Token(key) => {
                self.tokens.insert(*key, packed);
                Key::Token(*key)
            }
            Denied::Network(network) => {
                self.networks.insert(*network, packed);
                Key::Network(crate::networks::canonical(*network))
            }
            Denied::Flow(cookie) => {
                self.flows.insert(*cookie, packed);
                Key::Flow(*cookie)
            }
            Denied::Subject(name) => {
                let number = self.subjects.get(name).map_or(self.next_subject, |&(n, _)| n);
                self.next_subject = self.next_subject.max(number + 1);
                self.subjects.insert(name.clone(), (number, packed));
                self.subject_names.insert(number, name.clone());
                Key::Subject(number)
            }
        };
        if let Some(old) = old {
            self.forget_end(key, old);
        }
        if packed.until != 0 {
            self.ends_of(source, key.kind()).insert((packed.until, key));
        }
        self.dirty.push(key);
        self.changes.note(denied.clone());
        Ok(())
    }

    /// Denies something no more.
    ///
    /// # Errors
    /// There is no such entry, or a file has it.
    pub fn remove(&mut self, denied: &Denied) -> Result<(), RemoveError> {
        let key = match denied {
            Denied::Token(key) => Some(Key::Token(*key)),
            Denied::Network(network) => Some(Key::Network(crate::networks::canonical(*network))),
            Denied::Flow(cookie) => Some(Key::Flow(*cookie)),
            Denied::Subject(name) => self.subjects.get(name).map(|&(n, _)| Key::Subject(n)),
        };
        let removed = key.and_then(|key| self.take_out(key));
        if removed.is_some() {
            self.changes.note(denied.clone());
        }
        match self.file_with(denied) {
            Some(file) => Err(RemoveError::InFile(file.name().to_owned())),
            None if removed.is_some() => Ok(()),
            None => Err(RemoveError::Absent),
        }
    }

    /// Removes every entry that is not of a file, of one source or of all; gives their number.
    pub fn flush(&mut self, source: Option<Source>) -> usize {
        let gone = |packed: &Packed| source.is_none_or(|source| packed.source == source);
        let tokens = self.tokens.iter().filter(|(_, p)| gone(p)).map(|(&key, _)| Key::Token(key));
        let networks = self.networks.iter().filter(|(_, p)| gone(p));
        let flows =
            self.flows.iter().filter(|(_, p)| gone(p)).map(|(&cookie, _)| Key::Flow(cookie));
        let subjects = self.subjects.values().filter(|(_, p)| gone(p));
        let keys: Vec<Key> = tokens
            .chain(networks.map(|(network, _)| Key::Network(network)))
            .chain(flows)
            .chain(subjects.map(|&(number, _)| Key::Subject(number)))
            .collect();
        for &key in &keys {
            let denied = match key {
                Key::Token(key) => Some(Denied::Token(key)),
                Key::Network(network) => Some(Denied::Network(network)),
                Key::Flow(_) => None,
                Key::Subject(number) => {
                    self.subject_names.get(&number).cloned().map(Denied::Subject)
                }
            };
            self.take_out(key);
            denied.into_iter().for_each(|denied| self.changes.note(denied));
        }
        keys.len()
    }

    /// Removes what is over; gives the number.
    pub fn expire(&mut self, now: Time) -> usize {
        let mut removed = 0;
        for source in [Source::Verdict, Source::Operator] {
            for kind in 0..KINDS {
                while let Some(&(until, key)) = self.ends_of(source, kind).first() {
                    if now < Time::from_unix_secs(until.into()) {
                        break;
                    }
                    self.take_out(key);
                    removed += 1;
                }
            }
        }
        removed
    }

    /// Puts these files in the place of those before.
    ///
    /// # Errors
    /// They hold more than there is room for; nothing has changed then.
    pub fn replace_files(&mut self, files: Vec<FileList>) -> Result<(), AddError> {
        let total = |count: fn(&FileList) -> usize| files.iter().map(count).sum::<usize>();
        for (what, count, own, limit) in [
            ("token keys", total(|file| file.tokens().len()), self.tokens.len(), MAX_TOKENS),
            ("networks", total(|file| file.networks().len()), self.networks.len(), MAX_NETWORKS),
            ("subjects", total(|file| file.subjects().len()), self.subjects.len(), MAX_SUBJECTS),
        ] {
            if count + own > limit {
                return Err(AddError::Full { what, limit });
            }
        }
        let old = std::mem::take(&mut self.files);
        for file in &old {
            let kept = |key: &TokenKey| files.iter().any(|new| new.has_token(*key));
            self.dirty
                .extend(file.tokens().iter().filter(|key| !kept(key)).map(|&k| Key::Token(k)));
        }
        self.dirty.extend(self.file_networks.iter().map(|(network, _)| Key::Network(network)));
        self.file_networks = NetworkMap::default();
        for (number, file) in (0_u32..).zip(&files) {
            for &network in file.networks() {
                if self.file_networks.get(network).is_none() {
                    self.file_networks.insert(network, number);
                    self.dirty.push(Key::Network(network));
                }
            }
        }
        self.unsent = files.iter().map(|file| (file.shared_tokens(), 0)).collect();
        self.files = files;
        Ok(())
    }

    /// Tells the tables of up to [`REFRESH_STEP`] changes; whether more are left. A table that
    /// refuses an entry is counted: the entry still counts here.
    pub fn refresh(&mut self, now: Time, tables: &mut dyn Tables) -> bool {
        let mut tell = |key: Key, to: Option<Packed>| match (key, to.map(Packed::deny)) {
            (Key::Token(key), Some(deny)) => tables.deny_token(key, deny),
            (Key::Token(key), None) => tables.remove_token(key),
            (Key::Network(network), Some(deny)) => tables.deny_network(network, deny),
            (Key::Network(network), None) => tables.remove_network(network),
            (Key::Flow(cookie), Some(deny)) => tables.deny_flow(cookie, deny),
            (Key::Flow(cookie), None) => tables.remove_flow(cookie),
            (Key::Subject(_), _) => Ok(()),
        };
        let mut failures = 0;
        let first = self.dirty.len().saturating_sub(REFRESH_STEP);
        let dirty = self.dirty.split_off(first);
        for &key in &dirty {
            failures += u64::from(tell(key, self.effective(now, key)).is_err());
        }
        let mut left = REFRESH_STEP - dirty.len();
        while let Some((keys, from)) = self.unsent.last_mut() {
            let end = from.saturating_add(left).min(keys.len());
            let step = keys.get(*from..end).unwrap_or_default().to_vec();
            left -= step.len();
            *from = end;
            if end == keys.len() {
                self.unsent.pop();
            }
            let entries: Vec<(TokenKey, Deny)> = step
                .into_iter()
                .filter_map(|key| Some((key, self.effective(now, Key::Token(key))?.deny())))
                .collect();
            if tables.deny_tokens(&entries).is_err() {
                failures += entries.len() as u64;
            }
            if left == 0 {
                break;
            }
        }
        self.table_failures += failures;
        !self.dirty.is_empty() || !self.unsent.is_empty()
    }

    /// Has everything told to the tables anew: they are others than before.
    pub fn resend(&mut self) {
        self.dirty = self
            .tokens
            .keys()
            .map(|&key| Key::Token(key))
            .chain(self.networks.iter().map(|(network, _)| Key::Network(network)))
            .chain(self.file_networks.iter().map(|(network, _)| Key::Network(network)))
            .chain(self.flows.keys().map(|&cookie| Key::Flow(cookie)))
            .collect();
        self.unsent = self.files.iter().map(|file| (file.shared_tokens(), 0)).collect();
    }

    /// Whether nothing is denied that a request could be held against.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
            && self.networks.is_empty()
            && self.subjects.is_empty()
            && self.files.is_empty()
    }

    /// Why a token with this signature is denied, where it is.
    #[must_use]
    pub fn token(&self, now: Time, key: TokenKey) -> Option<Terms<'_>> {
        let own = self.tokens.get(&key).filter(|packed| packed.holds(now));
        own.map(|packed| self.terms(*packed))
            .or_else(|| self.files.iter().find(|file| file.has_token(key)).map(FileList::terms))
    }

    /// Why clients of this address are denied, where they are.
    #[must_use]
    pub fn address(&self, now: Time, address: IpAddr) -> Option<Terms<'_>> {
        let own = self.networks.containing(address).find(|(_, packed)| packed.holds(now));
        own.map(|(_, packed)| self.terms(*packed)).or_else(|| {
            let (network, &number) = self.file_networks.containing(address).next()?;
            self.files.get(number as usize).map(|file| file.terms_of_network(network))
        })
    }

    /// Why tokens of this subject are denied, where they are.
    #[must_use]
    pub fn subject(&self, now: Time, name: Name<'_>) -> Option<Terms<'_>> {
        let subject = name.subject?;
        let no_files = self.files.iter().all(|file| file.subjects().is_empty());
        if self.subjects.is_empty() && no_files {
            return None;
        }
        let of = |issuer: Option<&str>| AllowedName {
            issuer: issuer.map(str::to_owned),
            subject: subject.to_owned(),
        };
        let names = [Some(of(None)), name.issuer.map(|issuer| of(Some(issuer)))];
        names.iter().flatten().find_map(|name| {
            let own = self.subjects.get(name).filter(|(_, packed)| packed.holds(now));
            own.map(|&(_, packed)| self.terms(packed)).or_else(|| {
                self.files.iter().find(|f| f.subjects().contains(name)).map(FileList::terms)
            })
        })
    }

    /// All entries that are not of files, in no order.
    pub fn entries(&self) -> impl Iterator<Item = (Denied, Terms<'_>)> {
        let tokens = self.tokens.iter().map(|(&key, &packed)| (Denied::Token(key), packed));
        let networks = self.networks.iter().map(|(net, &packed)| (Denied::Network(net), packed));
        let flows = self.flows.iter().map(|(&cookie, &packed)| (Denied::Flow(cookie), packed));
        let subjects = self
            .subjects
            .iter()
            .map(|(name, (_, packed))| (Denied::Subject(name.clone()), *packed));
        tokens
            .chain(networks)
            .chain(flows)
            .chain(subjects)
            .map(|(denied, packed)| (denied, self.terms(packed)))
    }

    /// What is known of an entry, where it is not only of a file.
    #[must_use]
    pub fn terms_of(&self, denied: &Denied) -> Option<Terms<'_>> {
        self.packed(denied).map(|packed| self.terms(packed))
    }

    /// What is to be saved. What ended by itself or gave way is not in it.
    pub(super) fn changes(&mut self) -> &mut Changes {
        &mut self.changes
    }

    /// Has all entries be saved.
    pub(super) fn mark_all(&mut self) {
        self.changes = Changes::of(self.entries().map(|(denied, _)| denied));
    }

    /// The files in force.
    #[must_use]
    pub fn files(&self) -> &[FileList] {
        &self.files
    }

    /// How much is denied.
    #[must_use]
    pub fn counts(&self) -> DenyCounts {
        let total = |count: fn(&FileList) -> usize| self.files.iter().map(count).sum::<usize>();
        DenyCounts {
            tokens: self.tokens.len() as u64,
            networks: self.networks.len() as u64,
            subjects: self.subjects.len() as u64,
            flows: self.flows.len() as u64,
            file_tokens: total(|file| file.tokens().len()) as u64,
            file_networks: total(|file| file.networks().len()) as u64,
            file_subjects: total(|file| file.subjects().len()) as u64,
            displaced: self.displaced,
            table_failures: self.table_failures,
        }
    }

    fn terms(&self, packed: Packed) -> Terms<'_> {
        Terms {
            until: packed.until(),
            added: Time::from_unix_secs(packed.added.into()),
            reason: self.reasons.get(packed.reason as usize).map_or("", |reason| reason),
            line: None,
            source: packed.source,
        }
    }

    /// What the tables are to hold of a key.
    fn effective(&self, now: Time, key: Key) -> Option<Packed> {
        const OF_FILE: Packed = Packed { until: 0, added: 0, reason: 0, source: Source::File };
        let own = match key {
            Key::Token(key) => self.tokens.get(&key).copied(),
            Key::Network(network) => self.networks.get(network).copied(),
            Key::Flow(cookie) => self.flows.get(&cookie).copied(),
            Key::Subject(_) => None,
        };
        let in_file = match key {
            Key::Token(key) => self.files.iter().any(|file| file.has_token(key)),
            Key::Network(network) => self.file_networks.get(network).is_some(),
            Key::Flow(_) | Key::Subject(_) => false,
        };
        let own = own.filter(|packed| packed.holds(now));
        // For good before for a time.
        if in_file { own.filter(|own| own.until == 0).or(Some(OF_FILE)) } else { own }
    }

    fn packed(&self, denied: &Denied) -> Option<Packed> {
        match denied {
            Denied::Token(key) => self.tokens.get(key).copied(),
            Denied::Network(network) => self.networks.get(*network).copied(),
            Denied::Flow(cookie) => self.flows.get(cookie).copied(),
            Denied::Subject(name) => self.subjects.get(name).map(|&(_, packed)| packed),
        }
    }

    fn file_with(&self, denied: &Denied) -> Option<&FileList> {
        self.files.iter().find(|file| match denied {
            Denied::Token(key) => file.has_token(*key),
            Denied::Network(net) => file.has_network(*net),
            Denied::Subject(name) => file.subjects().contains(name),
            Denied::Flow(_) => false,
        })
    }

    fn ends_of(&mut self, source: Source, kind: usize) -> &mut BTreeSet<(u32, Key)> {
        let [verdicts, others] = &mut self.ends;
        let kinds = if source == Source::Verdict { verdicts } else { others };
        &mut kinds[kind.min(KINDS - 1)]
    }

    fn forget_end(&mut self, key: Key, packed: Packed) {
        if packed.until != 0 {
            self.ends_of(packed.source, key.kind()).remove(&(packed.until, key));
        }
    }

    fn take_out(&mut self, key: Key) -> Option<Packed> {
        let packed = match key {
            Key::Token(key) => self.tokens.remove(&key),
            Key::Network(network) => self.networks.remove(network),
            Key::Flow(cookie) => self.flows.remove(&cookie),
            Key::Subject(number) => {
                let name = self.subject_names.remove(&number)?;
                self.subjects.remove(&name).map(|(_, packed)| packed)
            }
        }?;
        self.forget_end(key, packed);
        self.dirty.push(key);
        Some(packed)
    }

    /// Makes room for one more of its kind.
    fn make_room(&mut self, denied: &Denied, source: Source) -> Result<(), AddError> {
        let kind = match denied {
            Denied::Token(_) => 0,
            Denied::Network(_) => 1,
            Denied::Flow(_) => 2,
            Denied::Subject(_) => 3,
        };
        let in_files = |count: fn(&FileList) -> usize| self.files.iter().map(count).sum::<usize>();
        let (what, used, limit, of_verdicts) = match denied {
            Denied::Token(_) => (
                "token keys",
                self.tokens.len() + in_files(|file| file.tokens().len()),
                MAX_TOKENS,
                MAX_VERDICT_TOKENS,
            ),
            Denied::Network(_) => (
                "networks",
                self.networks.len() + in_files(|file| file.networks().len()),
                MAX_NETWORKS,
                MAX_VERDICT_NETWORKS,
            ),
            Denied::Flow(_) => ("connections", self.flows.len(), MAX_FLOWS, MAX_FLOWS),
            Denied::Subject(_) => (
                "subjects",
                self.subjects.len() + in_files(|file| file.subjects().len()),
                MAX_SUBJECTS,
                MAX_VERDICT_SUBJECTS,
            ),
        };
        let full = used >= limit;
        let verdicts = self.ends_of(Source::Verdict, kind);
        if !full && (source != Source::Verdict || verdicts.len() < of_verdicts) {
            return Ok(());
        }
        // What a verdict said gives way, soonest end first, to a verdict and to a person.
        let Some(&(_, key)) = verdicts.first() else {
            return Err(AddError::Full { what, limit });
        };
        self.take_out(key);
        self.displaced += 1;
        Ok(())
    }

    fn number(&mut self, reason: &str) -> u32 {
        let end = (0..=MAX_REASON.min(reason.len())).rev().find(|&at| reason.is_char_boundary(at));
        let reason = reason.get(..end.unwrap_or(0)).unwrap_or_default();
        if let Some(&number) = self.reason_numbers.get(reason) {
            return number;
        }
        if self.reasons.is_empty() {
            // Number 0: what has no reason, or came when too many were kept.
            self.reasons.push("".into());
            self.reason_numbers.insert("".into(), 0);
        }
        if reason.is_empty() || self.reasons.len() >= MAX_REASONS {
            return 0;
        }
        let kept: Arc<str> = reason.into();
        let number = u32::try_from(self.reasons.len()).unwrap_or(0);
        self.reasons.push(Arc::clone(&kept));
        self.reason_numbers.insert(kept, number);
        number
    }
}

#[cfg(test)]
#[path = "denylist_tests.rs"]
mod tests;
