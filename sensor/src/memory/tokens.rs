//! The tokens that were seen, findable by what they are, by their signature and by their jti.

use std::collections::HashSet;

use smallvec::SmallVec;

use super::{
    Purpose,
    clients::{Address, Client, Clients, MAX_ADDRESSES},
    clock::Second,
    index::Index,
    persist::{Reader, Record},
    table::{Class, Entry, FIRST_CAPACITY, Table},
};
use crate::finding::Severity;

/// Services that are remembered of one token; the one not used for longest makes room.
pub(super) const MAX_MARKS: usize = 3;
/// User agents that are remembered of one token; each further one is found at every use.
pub(super) const MAX_AGENTS: usize = 3;

/// That a token was used at a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// The service's id with the flags below; 0 in a free place.
    pub(super) service: u32,
    pub(super) last: Second,
}

impl Mark {
    /// The token's audience names the service, or the service accepted it.
    pub(super) const BELONGS: u32 = 1 << 31;
    /// The service answered the token with 2xx.
    pub(super) const ACCEPTED: u32 = 1 << 30;
    pub(super) const FLAGS: u32 = Self::BELONGS | Self::ACCEPTED;

    pub(super) fn id(self) -> u32 {
        self.service & !Self::FLAGS
    }

    pub(super) fn has(self, flag: u32) -> bool {
        self.service & flag != 0
    }
}

/// Findings that a token keeps: decided at its first use, repeated with every use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    Tampered,
    JtiReused,
    Family,
    Scope,
    Role,
    Tenant,
}

impl Kept {
    pub(super) const ALL: [Self; 6] =
        [Self::Tampered, Self::JtiReused, Self::Family, Self::Scope, Self::Role, Self::Tenant];
}

/// A token, without a byte of it. 152 bytes: a million fit in the budget of 200 MiB with
/// their indexes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Token {
    /// [`super::TokenKeys::identity`], in halves: a `u128` would be aligned to 16 bytes.
    pub(super) identity: [u64; 2],
    /// Keyed hash of the signature, 0 without one that counts.
    pub(super) signature: u64,
    pub(super) signing_input: u64,
    /// Keyed hashes; 0 without.
    pub(super) jti: u64,
    pub(super) subject: u64,
    pub(super) session: u64,
    pub(super) clients: Clients,
    pub(super) agents: [u32; MAX_AGENTS],
    pub(super) marks: [Mark; MAX_MARKS],
    pub(super) end: Second,
    pub(super) first: Second,
    pub(super) last: Second,
    /// The state of the revocations that it was held against.
    pub(super) checked: u32,
    /// Bits below, then three bits for each [`Kept`].
    pub(super) flags: u32,
}

impl Token {
    pub(super) const VERIFIED: u32 = 1;
    pub(super) const REVOKED: u32 = 2;
    const PURPOSE: u32 = 4;
    pub(super) const LISTED: u32 = 8;
    const KEPT: u32 = 8;

    pub(super) fn keep(&mut self, kept: Kept, severity: Option<Severity>) {
        let shift = Self::KEPT + 3 * kept as u32;
        let code = severity.map_or(0, |s| s as u32 + 1);
        self.flags = self.flags & !(7 << shift) | code << shift;
    }

    pub(super) fn kept(&self, kept: Kept) -> Option<Severity> {
        let code = self.flags >> (Self::KEPT + 3 * kept as u32) & 7;
        Severity::ALL.get((code as usize).checked_sub(1)?).copied()
    }

    pub(super) fn has_kept(&self) -> bool {
        self.flags >> Self::KEPT != 0
    }

    pub(super) fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    pub(super) fn set_purpose(&mut self, purpose: Purpose) {
        if purpose == Purpose::Identity {
            self.flags |= Self::PURPOSE;
        }
    }

    fn spilled(&self) -> bool {
        self.clients.0.spilled()
    }

    /// The place in the index of jtis: an access token and an ID token may share one.
    fn jti_index(&self) -> u64 {
        jti_index(self.jti, self.has(Self::PURPOSE))
    }

    /// The mark of a service; a new one takes a free place or that of the one longest unused.
    pub(super) fn mark(&mut self, service: u32) -> Option<&mut Mark> {
        let at =
            self.marks.iter().position(|m| m.id() == service).or_else(|| {
                (0..MAX_MARKS).min_by_key(|&k| self.marks.get(k).map_or(0, |m| m.last))
            })?;
        let mark = self.marks.get_mut(at)?;
        if mark.id() != service {
            *mark = Mark { service: service & !Mark::FLAGS, last: 0 };
        }
        Some(mark)
    }
}

fn jti_index(jti: u64, is_identity: bool) -> u64 {
    if is_identity { jti.rotate_left(32) } else { jti }
}

impl Entry for Token {
    fn key(&self) -> u128 {
        u128::from(self.identity[0]) << 64 | u128::from(self.identity[1])
    }

    fn deadline(&self) -> Second {
        self.end
    }
}

/// The table of tokens with its two further indexes.
pub(super) struct Tokens {
    pub(super) table: Table<Token>,
    by_signature: Index,
    by_jti: Index,
    /// Tokens with more addresses than fit inside the entry, and how many there may be.
    spilled: usize,
    may_spill: usize,
    /// Addresses forgotten because too many tokens had many.
    pub(super) addresses_dropped: u64,
}

impl Tokens {
    pub(super) fn new(limit: usize) -> Self {
        let capacity = limit.min(FIRST_CAPACITY);
        Self {
            table: Table::new(limit),
            by_signature: Index::with_capacity(capacity),
            by_jti: Index::with_capacity(capacity),
            spilled: 0,
            may_spill: (limit / 16).max(64),
            addresses_dropped: 0,
        }
    }

    fn split(&mut self) -> (&mut Table<Token>, impl FnMut(u32, &Token) + '_) {
        let Self { table, by_signature, by_jti, spilled, .. } = self;
        let gone = |slot: u32, token: &Token| {
            for (index, hash) in
                [(&mut *by_signature, token.signature), (&mut *by_jti, token.jti_index())]
            {
                index.remove(hash, slot);
            }
            *spilled -= usize::from(token.spilled()).min(*spilled);
        };
        (table, gone)
    }

    pub(super) fn expire(&mut self, now: Second) {
        let (table, mut gone) = self.split();
        table.expire(now, &mut gone);
    }

    /// Forgets the tokens of these subjects, by their hashes; gives how many.
    pub(super) fn forget(&mut self, subjects: &HashSet<u64>) -> u64 {
        let (table, mut gone) = self.split();
        table.remove_where(|token| subjects.contains(&token.subject), &mut gone)
    }

    /// Adds a token; it is indexed by signature and jti unless another one already is.
    pub(super) fn insert(&mut self, now: Second, token: Token, class: Class) -> u32 {
        let (signature, jti, index) = (token.signature, token.jti, token.jti_index());
        let (indexed, named) =
            (self.with_signature(signature).is_some(), self.with_index(index).is_some());
        self.spilled += usize::from(token.spilled());
        let (table, mut gone) = self.split();
        let slot = table.insert(now, token, class, &mut gone);
        drop(gone);
        let Self { table, by_signature, by_jti, .. } = self;
        if signature != 0 && !indexed {
            by_signature.insert(signature, slot, |s| table.get(s).map_or(0, |t| t.signature));
        }
        if jti != 0 && !named {
            by_jti.insert(index, slot, |s| table.get(s).map_or(0, Token::jti_index));
        }
        slot
    }

    /// Adds a token, or replaces what was read before of it.
    pub(super) fn put_back(&mut self, now: Second, token: Token, class: Class) {
        match self.table.find(token.key()) {
            Some(slot) => {
                if let Some(known) = self.table.get_mut(slot) {
                    let before = known.spilled();
                    *known = Token {
                        // Under these it is indexed.
                        signature: known.signature,
                        jti: known.jti,
                        ..token
                    };
                    let after = known.spilled();
                    self.spilled += usize::from(after);
                    self.spilled -= usize::from(before).min(self.spilled);
                }
                if class == Class::Proven {
                    self.table.promote(slot);
                }
            }
            None => {
                self.insert(now, token, class);
            }
        }
    }

    pub(super) fn with_signature(&self, signature: u64) -> Option<u32> {
        let of = |s| self.table.get(s).is_some_and(|t| t.signature == signature);
        (signature != 0).then(|| self.by_signature.find(signature, of))?
    }

    pub(super) fn with_jti(&self, jti: u64, purpose: Purpose) -> Option<u32> {
        (jti != 0).then(|| self.with_index(jti_index(jti, purpose == Purpose::Identity)))?
    }

    fn with_index(&self, index: u64) -> Option<u32> {
        let of = |s| self.table.get(s).is_some_and(|t| t.jti_index() == index);
        (index != 0).then(|| self.by_jti.find(index, of))?
    }

    /// How many addresses the token at `slot` may have.
    pub(super) fn room(&self, slot: u32) -> usize {
        let may_grow = self.spilled < self.may_spill
            || self.table.get(slot).is_none_or(|t| t.spilled() || t.clients.0.len() < 2);
        if may_grow { MAX_ADDRESSES } else { 2 }
    }

    /// Keeps the count of tokens with many addresses.
    pub(super) fn count_spill(&mut self, before: bool, after: bool) {
        self.spilled += usize::from(after && !before);
    }
}

impl Record for Token {
    const KIND: u8 = 1;

    fn encode(&self, out: &mut Vec<u8>) {
        for word in self.identity.iter().chain([
            &self.signature,
            &self.signing_input,
            &self.jti,
            &self.subject,
            &self.session,
        ]) {
            out.extend(word.to_le_bytes());
        }
        for word in self.agents.iter().chain([&self.end, &self.first, &self.last, &self.flags]) {
            out.extend(word.to_le_bytes());
        }
        for mark in &self.marks {
            out.extend(mark.service.to_le_bytes());
            out.extend(mark.last.to_le_bytes());
        }
        for client in &self.clients.0 {
            out.extend(client.address.to_bits().to_le_bytes());
            out.extend(client.asn.to_le_bytes());
            out.extend(client.superseded.to_le_bytes());
        }
    }

    fn decode(r: &mut Reader<'_>) -> Option<Self> {
        let mut token = Self {
            identity: [r.u64()?, r.u64()?],
            signature: r.u64()?,
            signing_input: r.u64()?,
            jti: r.u64()?,
            subject: r.u64()?,
            session: r.u64()?,
            ..Self::default()
        };
        for agent in &mut token.agents {
            *agent = r.u32()?;
        }
        (token.end, token.first, token.last) = (r.u32()?, r.u32()?, r.u32()?);
        token.flags = r.u32()?;
        for mark in &mut token.marks {
            *mark = Mark { service: r.u32()?, last: r.u32()? };
        }
        let mut clients = SmallVec::new();
        while !r.is_empty() && clients.len() < MAX_ADDRESSES {
            let address = Address::from_bits(r.u64()?);
            clients.push(Client { address, asn: r.u32()?, superseded: r.u32()? });
        }
        token.clients = Clients(clients);
        Some(token)
    }
}
