//! What is remembered of tokens: replay, tampering, escalation, use after the end.
//!
//! A [`Memory`] takes every use of a token ([`Memory::observe`]), the service's answer
//! ([`Memory::answered`]) and what was revoked ([`Memory::revoked`]), and says what is wrong with
//! a use in the light of what it remembers. It holds keyed hashes and client addresses, never a
//! token. Every table is bounded by number and age; what is forgotten is counted by cause.
//!
//! How each finding is made, and what is forgiven, stands in `clients.rs` (address, network, user
//! agent), `growth.rs` (escalation) and `judge.rs` (the rest). [`routes`] and [`outcome`](outcome()) need no memory.
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]

mod algorithms;
mod clients;
mod clock;
mod ends;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod growth;
mod hash;
mod index;
mod input;
mod judge;
mod outcome;
mod persist;
pub mod routes;
mod services;
mod state;
mod subjects;
mod table;
mod tokens;

use std::{borrow::Cow, collections::HashSet};

use smallvec::SmallVec;

pub use clients::MAX_ADDRESSES;
pub use input::{Check, MemoryConfig, Purpose, Revocation, ServiceUse, TokenKeys, Use};
pub use outcome::{Outcome, PROVES_FORGERY, is_forged, outcome, weigh};
pub use persist::{Lost, RestoreError};
pub use services::MAX_LEARNED_AUDIENCES;
pub use subjects::MAX_PRIVILEGES;
pub use table::Forgotten;

use self::{
    algorithms::{Family, KeyFamilies},
    clients::{Address, Move, Sighting, elsewhere, networks_differ},
    clock::{Clock, Second, seconds},
    ends::{EndOf, Ended, Proof, end_key},
    hash::{Is, Names, short},
    judge::{end_of, judge_client, repeat_kept, revoked_finding},
    services::Service,
    subjects::{Privilege, Subject, growth_severity, is_admin_like},
    table::{Class, Entry, Table},
    tokens::{Kept, Mark, Token, Tokens},
};
use crate::{
    finding::{Finding, FindingId, Severity},
    time::Time,
};

/// Characters of a privilege's name that a finding's detail shows.
const SHOWN: usize = 64;
/// Audiences of one token that are looked at.
const MAX_AUDIENCES: usize = 16;
/// A token's last use is written to the state file in steps of this many seconds.
const SAVED_STEP: Second = 8;

/// The memory's limits and times, in own seconds.
struct Times {
    grace: Second,
    revocation_grace: Second,
    leeway: Second,
    max_age: Second,
    window: Second,
    proof_window: Second,
}

/// What is remembered of tokens.
pub struct Memory {
    config: MemoryConfig,
    times: Times,
    names: Names,
    clock: Clock,
    tokens: Tokens,
    subjects: Table<Subject>,
    services: Table<Service>,
    next_service: u32,
    /// Keys of services without a name, by port.
    service_keys: [Option<(ServicePort, u128)>; 8],
    families: Table<KeyFamilies>,
    ended: Table<Ended>,
    proofs: Table<Proof>,
    /// Revocations from the config.
    listed: HashSet<u128>,
    listed_fingerprints: bool,
    /// Counts what was revoked: a token is held against the revocations again when it moves.
    revocations: u32,
    /// Addresses of services on this host, the last few.
    hosts: SmallVec<[Address; MAX_HOSTS]>,
    over_limit: u64,
    /// In this second everything past its end has been forgotten already.
    settled: Second,
}

/// What tells services without a name apart.
#[derive(Clone, Copy, PartialEq, Eq)]
struct ServicePort {
    cgroup: u64,
    port: u16,
}

/// Addresses of this host that are remembered, to know a service that calls another.
const MAX_HOSTS: usize = 16;

/// One use as the memory sees it.
#[derive(Debug)]
pub struct Observation {
    /// What is wrong with it.
    pub findings: Vec<Finding>,
    /// For [`Memory::answered`].
    pub handle: UseHandle,
    /// The token was not remembered.
    pub first_use: bool,
    /// From how many addresses it has come, up to [`MAX_ADDRESSES`].
    pub addresses: u8,
    /// At how many services it has been used, as far as is remembered.
    pub services: u8,
}

/// Names a use until its answer is known.
#[derive(Debug)]
pub struct UseHandle {
    slot: u32,
    identity: u128,
    service: u32,
    service_id: u32,
    /// What a 2xx would teach.
    pending: Option<Box<Pending>>,
}

#[derive(Debug, Default)]
struct Pending {
    audiences: SmallVec<[u64; 4]>,
    subject: u32,
    subject_key: u128,
    privileges: SmallVec<[u32; 8]>,
}

/// How full the memory is and what it has forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MemoryCounters {
    /// Tokens remembered.
    pub tokens: usize,
    /// Subjects remembered.
    pub subjects: usize,
    /// Services remembered.
    pub services: usize,
    /// Revocations remembered, without those listed.
    pub revocations: usize,
    /// Single-use tokens remembered.
    pub proofs: usize,
    /// Tokens forgotten.
    pub tokens_forgotten: Forgotten,
    /// Subjects forgotten.
    pub subjects_forgotten: Forgotten,
    /// Services forgotten.
    pub services_forgotten: Forgotten,
    /// Key ids forgotten.
    pub key_ids_forgotten: Forgotten,
    /// Revocations forgotten.
    pub revocations_forgotten: Forgotten,
    /// Single-use tokens forgotten.
    pub proofs_forgotten: Forgotten,
    /// Addresses forgotten because too many tokens had more than two.
    pub addresses_dropped: u64,
    /// Tokens with more audiences or privileges than are looked at.
    pub over_limit: u64,
}

impl Memory {
    /// An empty memory. `secret` is the installation's; the state file is bound to it.
    #[must_use]
    pub fn new(secret: [u8; 16], config: MemoryConfig) -> Self {
        let times = Times {
            // Own time begins at 2^20: a grace of at most a day never reaches back to 0.
            grace: seconds(config.grace).min(86_400),
            revocation_grace: seconds(config.revocation_grace),
            leeway: seconds(config.leeway),
            max_age: seconds(config.max_age),
            window: seconds(config.window),
            proof_window: seconds(config.proof_window),
        };
        Self {
            times,
            names: Names::new(secret),
            clock: Clock::new(),
            tokens: Tokens::new(config.tokens),
            subjects: Table::new(config.subjects),
            services: Table::new(config.services),
            next_service: 1,
            service_keys: [None; 8],
            families: Table::new(config.key_ids),
            ended: Table::new(config.revocations),
            proofs: Table::new(config.proofs),
            listed: HashSet::new(),
            listed_fingerprints: false,
            revocations: 0,
            hosts: SmallVec::new(),
            over_limit: 0,
            settled: 0,
            config,
        }
    }

    /// Takes a use of a token into account and says what is wrong with it.
    ///
    /// Findings about the token itself (`token-tampered`, `jti-reused`, `alg-family-changed`,
    /// escalation) are made at its first use and repeated with every further one. Findings about
    /// a use are made once for each change: a switch of the address, a further user agent.
    /// `token-relayed`, `proof-replayed` and `token-used-after-revocation` are made each time.
    pub fn observe(&mut self, now: Time, used: &Use<'_>) -> Observation {
        let now = self.advance(now);
        let mut findings = Vec::new();
        let service = self.service(now, &used.service);
        if used.purpose == Purpose::SingleUse {
            let first_use = self.prove(now, used, &mut findings);
            let handle = UseHandle {
                slot: u32::MAX,
                identity: 0,
                service: service.slot,
                service_id: service.id,
                pending: None,
            };
            return Observation { findings, handle, first_use, addresses: 1, services: 1 };
        }

        let identity = used.token.identity();
        let known = self.tokens.table.find(identity);
        let mut pending = None;
        let slot = match known {
            Some(slot) => slot,
            None => self.first_use(now, used, &mut findings, &mut pending),
        };
        let verified = used.check == Check::Verified;
        if verified {
            self.tokens.table.promote(slot);
        }
        let relay = self.judge_service(now, slot, used, service, &mut pending);
        let revoked = self.judge_end(now, slot, used);
        let room = self.tokens.room(slot);

        let mut observation = Observation {
            findings,
            handle: UseHandle {
                slot,
                identity,
                service: service.slot,
                service_id: service.id,
                pending,
            },
            first_use: known.is_none(),
            addresses: 1,
            services: 1,
        };
        let findings = &mut observation.findings;
        let Some(token) = self.tokens.table.get_mut(slot) else { return observation };
        if verified && !token.has(Token::VERIFIED) {
            // A key came: what was taken for the forged one of two is the real one.
            token.flags |= Token::VERIFIED;
            token.keep(Kept::Tampered, None);
        }
        if known.is_some() && token.has_kept() {
            repeat_kept(token, findings);
        }
        if let Some(from) = revoked {
            let address = Address::of(used.client);
            findings.push(revoked_finding(from, token.clients.is_current(address)));
        }
        let spilled = token.clients.0.spilled();
        let addresses = token.clients.0.len();
        let mut changed = false;
        if !relay.forwarded {
            changed = judge_client(now, token, used, self.times.grace, room, findings);
        }
        findings.extend(relay.finding);

        let last = token.last;
        token.last = token.last.max(now);
        token.end = end_of(token, used.expires, &self.clock, &self.times);
        observation.addresses = u8::try_from(token.clients.0.len()).unwrap_or(u8::MAX);
        observation.services = token.marks.iter().filter(|m| m.service != 0).count() as u8;
        let spills = token.clients.0.spilled();
        if changed && token.clients.0.len() == addresses && addresses >= room {
            self.tokens.addresses_dropped += 1;
        }
        self.tokens.count_spill(spilled, spills);
        if changed || last / SAVED_STEP != now / SAVED_STEP || !findings.is_empty() {
            self.tokens.table.mark(slot);
        }
        observation
    }

    /// Takes the service's answer to a use into account: a 2xx says that the service accepts the
    /// token, which protects it from being forgotten early, and teaches the service's audiences.
    #[allow(clippy::needless_pass_by_value, reason = "a use is answered once")]
    pub fn answered(&mut self, now: Time, handle: UseHandle, status: u16) {
        let now = self.advance(now);
        if !(200..=299).contains(&status) {
            return;
        }
        let Some(token) =
            self.tokens.table.get_mut(handle.slot).filter(|t| t.key() == handle.identity)
        else {
            return;
        };
        let verified = token.has(Token::VERIFIED);
        let tampered = token.kept(Kept::Tampered).is_some();
        let mark = token.marks.iter_mut().find(|m| m.id() == handle.service_id);
        let first = mark.is_some_and(|mark| {
            let first = !mark.has(Mark::ACCEPTED);
            mark.service |= Mark::ACCEPTED;
            first
        });
        if !tampered {
            self.tokens.table.promote(handle.slot);
        }
        if first {
            self.tokens.table.mark(handle.slot);
        }
        let Some(pending) = handle.pending else { return };
        if first && verified && !pending.audiences.is_empty() {
            if let Some(service) =
                self.services.get_mut(handle.service).filter(|s| s.id == handle.service_id)
            {
                service.learn(&pending.audiences, pending.subject);
                self.services.mark(handle.service);
            }
            // Without configured audiences, what the service accepts of a verified token is
            // what belongs to it.
            if let Some(token) = self.tokens.table.get_mut(handle.slot)
                && let Some(mark) = token.marks.iter_mut().find(|m| m.id() == handle.service_id)
            {
                mark.service |= Mark::BELONGS;
            }
        }
        if !pending.privileges.is_empty() && !tampered {
            self.hold(now, pending.subject_key, &pending.privileges, false);
        }
    }

    /// Something was revoked or ended, seen on the wire.
    pub fn revoked(&mut self, now: Time, what: &Revocation<'_>) {
        let now = self.advance(now);
        let key = self.end_key(what);
        let wall = i64::try_from(self.clock.wall.unix_secs()).unwrap_or(i64::MAX);
        let end = now.saturating_add(self.times.max_age.max(self.times.window));
        let entry = Ended { key, end, since: now, wall };
        let slot = match self.ended.find(key) {
            Some(slot) => {
                let Some(known) = self.ended.get_mut(slot) else { return };
                // Who logs in again may log out again; all else ends once.
                let again = matches!(what, Revocation::Subject { .. } | Revocation::Grant { .. });
                let since = if again { now } else { known.since };
                *known = Ended { since, ..entry };
                slot
            }
            None => self.ended.insert(now, entry, Class::Proven, &mut |_, _| {}),
        };
        self.ended.mark(slot);
        self.revocations = self.revocations.wrapping_add(1);
    }

    /// Forgets a subject of these issuers, the empty one where tokens name none: its tokens and what
    /// they were allowed. Gives how many tokens there were. What was revoked or ended stays so. The
    /// state file has it until that is written whole.
    pub fn forget(&mut self, issuers: &[String], subject: &str) -> u64 {
        let key = |issuer: &String| {
            self.names.hash(Is::Subject, &[issuer.as_bytes(), subject.as_bytes()])
        };
        let keys: HashSet<u128> = issuers.iter().map(key).collect();
        self.subjects.remove_where(|known| keys.contains(&known.key), &mut |_, _| {});
        self.tokens.forget(&keys.into_iter().map(short).collect())
    }

    /// Replaces the revocations that the config lists.
    pub fn set_listed<'a>(&mut self, listed: impl IntoIterator<Item = Revocation<'a>>) {
        self.listed.clear();
        self.listed_fingerprints = false;
        for what in listed {
            self.listed_fingerprints |= matches!(what, Revocation::Fingerprint(_));
            self.listed.insert(self.end_key(&what));
        }
        self.revocations = self.revocations.wrapping_add(1);
    }

    /// How full the memory is and what it has forgotten.
    #[must_use]
    pub fn counters(&self) -> MemoryCounters {
        MemoryCounters {
            tokens: self.tokens.table.len(),
            subjects: self.subjects.len(),
            services: self.services.len(),
            revocations: self.ended.len(),
            proofs: self.proofs.len(),
            tokens_forgotten: self.tokens.table.forgotten,
            subjects_forgotten: self.subjects.forgotten,
            services_forgotten: self.services.forgotten,
            key_ids_forgotten: self.families.forgotten,
            revocations_forgotten: self.ended.forgotten,
            proofs_forgotten: self.proofs.forgotten,
            addresses_dropped: self.tokens.addresses_dropped,
            over_limit: self.over_limit,
        }
    }

    /// Moves the clock and forgets some of what is past its end.
    fn advance(&mut self, now: Time) -> Second {
        let now = self.clock.advance(now);
        if now == self.settled {
            return now;
        }
        self.tokens.expire(now);
        self.subjects.expire(now, &mut |_, _| {});
        self.services.expire(now, &mut |_, _| {});
        self.families.expire(now, &mut |_, _| {});
        self.ended.expire(now, &mut |_, _| {});
        self.proofs.expire(now, &mut |_, _| {});
        if self.tokens.table.is_settled(now)
            && self.subjects.is_settled(now)
            && self.services.is_settled(now)
            && self.families.is_settled(now)
            && self.ended.is_settled(now)
            && self.proofs.is_settled(now)
        {
            self.settled = now;
        }
        now
    }

    /// Forgets some of what is past its end; called now and then while nothing is used.
    pub fn tick(&mut self, now: Time) {
        self.advance(now);
    }

    /// The wall clock was set by so many nanoseconds, forward or back: nothing that is remembered
    /// is older for it, or younger.
    pub fn clock_set(&mut self, by: i64) {
        self.clock.set(by);
    }
}

#[cfg(test)]
mod tests;
