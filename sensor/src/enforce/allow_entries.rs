//! What is never cut: the configuration's allowlist, and what people added to it since.
#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};

use ipnet::IpNet;

use super::{
    denylist::{AddError, RemoveError},
    entry::{Allowed, MAX_REASON, Source, Terms},
    tables::{TableError, Tables},
};
use crate::{
    policy::{Allowlist, MAX_ALLOWED_NAMES, MAX_ALLOWED_NETWORKS},
    time::Time,
};

/// Entries beside those of the configuration.
pub const MAX_ENTRIES: usize = 10_000;

#[derive(Debug)]
struct Entry {
    until: Option<Time>,
    added: Time,
    reason: String,
}

/// The allowlist in force, with where it comes from.
#[derive(Debug, Default)]
pub struct AllowEntries {
    /// What the configuration allows.
    configured: Allowlist,
    entries: HashMap<Allowed, Entry>,
    in_force: Allowlist,
    /// What the tables know.
    told: HashSet<IpNet>,
    stale: bool,
    /// What is to be saved.
    changes: Vec<Allowed>,
}

impl AllowEntries {
    /// Takes another configuration; what people added stays.
    pub fn configure(&mut self, configured: Allowlist) {
        self.configured = configured;
        self.compile();
    }

    /// The allowlist in force.
    #[must_use]
    pub fn in_force(&self) -> &Allowlist {
        &self.in_force
    }

    /// Allows something until then, or for good.
    ///
    /// # Errors
    /// There is no room, or `until` is over.
    pub fn add(
        &mut self,
        now: Time,
        allowed: Allowed,
        until: Option<Time>,
        reason: &str,
    ) -> Result<(), AddError> {
        if until.is_some_and(|until| until <= now) {
            return Err(AddError::Past);
        }
        if self.entries.len() >= MAX_ENTRIES && !self.entries.contains_key(&allowed) {
            return Err(AddError::Full { what: "allowed entries", limit: MAX_ENTRIES });
        }
        let end = (0..=MAX_REASON.min(reason.len())).rev().find(|&at| reason.is_char_boundary(at));
        let reason = reason.get(..end.unwrap_or(0)).unwrap_or_default().to_owned();
        self.changes.push(allowed.clone());
        self.entries.insert(allowed, Entry { until, added: now, reason });
        self.compile();
        Ok(())
    }

    /// Allows something no more.
    ///
    /// # Errors
    /// Nobody added it; the configuration may have it.
    pub fn remove(&mut self, allowed: &Allowed) -> Result<(), RemoveError> {
        self.entries.remove(allowed).ok_or(RemoveError::Absent)?;
        self.changes.push(allowed.clone());
        self.compile();
        Ok(())
    }

    /// Removes all that people added; gives the number.
    pub fn flush(&mut self) -> usize {
        let count = self.entries.len();
        self.changes.extend(self.entries.drain().map(|(allowed, _)| allowed));
        self.compile();
        count
    }

    /// Removes what is over; gives the number.
    pub fn expire(&mut self, now: Time) -> usize {
        let before = self.entries.len();
        self.entries.retain(|_, entry| entry.until.is_none_or(|until| now < until));
        let gone = before - self.entries.len();
        if gone > 0 {
            self.compile();
        }
        gone
    }

    /// What people added, in no order.
    pub fn entries(&self) -> impl Iterator<Item = (&Allowed, Terms<'_>)> {
        self.entries.keys().filter_map(|allowed| Some((allowed, self.terms_of(allowed)?)))
    }

    /// What is known of an entry that people added.
    #[must_use]
    pub fn terms_of(&self, allowed: &Allowed) -> Option<Terms<'_>> {
        let Entry { until, added, reason } = self.entries.get(allowed)?;
        let (until, added) = (*until, *added);
        Some(Terms { until, added, reason, line: None, source: Source::Operator })
    }

    /// What people added or removed that is not saved yet.
    pub(super) fn changes(&mut self) -> &mut Vec<Allowed> {
        &mut self.changes
    }

    /// Has all entries be saved.
    pub(super) fn mark_all(&mut self) {
        self.changes = self.entries.keys().cloned().collect();
    }

    /// Has everything told to the tables anew: they are others than before.
    pub fn resend(&mut self) {
        self.told.clear();
        self.stale = true;
    }

    /// Tells the tables which networks pass.
    ///
    /// # Errors
    /// A table is full or refuses; the rest is told at the next call.
    pub fn refresh(&mut self, tables: &mut dyn Tables) -> Result<(), TableError> {
        if !self.stale {
            return Ok(());
        }
        let due: HashSet<IpNet> = self.in_force.networks().collect();
        for network in due.difference(&self.told.clone()) {
            tables.allow_network(*network)?;
            self.told.insert(*network);
        }
        for network in self.told.clone().difference(&due) {
            tables.remove_allowed_network(*network)?;
            self.told.remove(network);
        }
        self.stale = false;
        Ok(())
    }

    fn compile(&mut self) {
        // The configuration and the entries are both bounded, so their sum is.
        const { assert!(MAX_ENTRIES <= MAX_ALLOWED_NETWORKS && MAX_ENTRIES <= MAX_ALLOWED_NAMES) };
        let mut allowlist = self.configured.clone();
        for allowed in self.entries.keys() {
            match allowed.clone() {
                Allowed::Network(network) => allowlist.add_network(network),
                Allowed::Subject(name) => allowlist.add_subject(name),
                Allowed::Issuer(issuer) => allowlist.add_issuer(issuer),
                // It was read once already when the entry was made.
                Allowed::Route(route) => drop(allowlist.add_route(&route)),
            }
        }
        self.in_force = allowlist;
        self.stale = true;
    }
}

#[cfg(test)]
mod tests {
    use super::AllowEntries;
    use crate::{
        config::{Config, parse},
        enforce::{
            entry::{Allowed, Written},
            tables::{MemoryTables, Tables as _},
        },
        policy::Name,
        time::Time,
    };

    fn at(secs: u64) -> Time {
        Time::from_unix_secs(secs)
    }

    fn address(address: &str) -> Allowed {
        Written::Address { address: address.to_owned() }.allowed().unwrap()
    }

    #[test]
    fn configuration_and_entries_are_in_force_together() {
        let config: Config = parse(
            "[enforcement.allow]\naddresses = [\"10.0.0.0/8\"]\nissuers = [\"i\"]",
            std::path::Path::new("c"),
        )
        .unwrap();
        let mut allow = AllowEntries::default();
        let mut tables = MemoryTables::new();
        allow.configure(config.enforcement.allow.resolve());
        allow.add(at(1), address("192.0.2.1"), Some(at(9)), "x").unwrap();
        let route = Written::Route { route: "GET /h".into() }.allowed().unwrap();
        allow.add(at(1), route, None, "").unwrap();
        let ip = |text: &str| text.parse().unwrap();
        assert!(allow.in_force().allows_address(ip("10.1.1.1")));
        assert!(allow.in_force().allows_address(ip("192.0.2.1")));
        let issuer = Name { issuer: Some("i"), subject: None };
        assert!(allow.in_force().allows_name(issuer).is_some());
        allow.refresh(&mut tables).unwrap();
        assert_eq!(tables.counts().allowed_networks, 2);
        assert_eq!(allow.expire(at(9)), 1);
        assert!(!allow.in_force().allows_address(ip("192.0.2.1")));
        allow.refresh(&mut tables).unwrap();
        assert_eq!(tables.counts().allowed_networks, 1);
        assert!(allow.remove(&address("10.0.0.0/8")).is_err(), "of the configuration");
        allow.add(at(9), address("192.0.2.1"), None, "").unwrap();
        allow.configure(crate::policy::Allowlist::default());
        allow.refresh(&mut tables).unwrap();
        assert_eq!(tables.counts().allowed_networks, 1);
        assert_eq!(allow.flush(), 2);
        allow.refresh(&mut tables).unwrap();
        assert_eq!(tables.counts().allowed_networks, 0);
    }

    #[test]
    fn a_signature_or_a_connection_is_nothing_to_allow() {
        let token = Written::Token { token_key: "0".repeat(32) };
        assert!(token.allowed().is_err() && token.denied().is_ok());
        assert!(Written::Flow { cookie: 1 }.allowed().is_err());
        assert!(Written::Issuer { issuer: "i".into() }.denied().is_err());
        assert!(Written::Subject { issuer: None, subject: String::new() }.denied().is_err());
        assert!(Written::Route { route: "h".into() }.allowed().is_err());
    }
}
