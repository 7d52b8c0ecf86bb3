//! Keyed hashes: what stands for names in the profiles, so that nobody outside can make two
//! collide, and none can be turned back.

use std::hash::Hasher as _;

use siphasher::{
    sip,
    sip128::{Hasher128 as _, SipHasher13},
};
use smallvec::SmallVec;

use crate::token::{Facts, Fingerprint, Identity};

/// What sets subjects apart that no good signature vouches for: the hash of the same name is
/// another under each.
pub(super) const LEARNED: u128 = 0x6c65_6172_6e65_6400_0000_0000_0000_0001;
pub(super) const UNVERIFIED: u128 = 0x756e_7665_7269_6669_6564_0000_0000_0002;
pub(super) const FORGED: u128 = 0x666f_7267_6564_0000_0000_0000_0000_0003;

/// What a name is the name of: equal strings of different kinds have different hashes.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Is {
    /// Issuer and subject.
    Subject = 1,
    /// Issuer and client, of a token that names no subject.
    Client,
    /// A token that names nobody: it stands for itself.
    Token,
    Issuer,
    Roles,
    Service,
    Port,
    Secret,
}

/// Hashes names under the installation's secret.
#[derive(Clone, Copy)]
pub(super) struct Names {
    secret: [u8; 16],
    /// Of user agents: each request has one, and is hashed whole under a secret of its own.
    devices: sip::SipHasher13,
}

/// 64 bits of a hash.
pub(super) const fn half(hash: u128) -> u64 {
    (hash >> 64) as u64
}

impl Names {
    pub(super) fn new(secret: [u8; 16]) -> Self {
        let mut own = Self { secret, devices: sip::SipHasher13::new_with_key(&secret) };
        own.devices = sip::SipHasher13::new_with_key(&own.secret_of(b"devices"));
        own
    }

    fn hash<'p>(self, is: Is, parts: impl IntoIterator<Item = &'p [u8]>) -> u128 {
        let mut hasher = SipHasher13::new_with_key(&self.secret);
        hasher.write_u8(is as u8);
        for part in parts {
            // Lengths first: ("ab", "c") is not ("a", "bc").
            hasher.write_u64(part.len() as u64);
            hasher.write(part);
        }
        hasher.finish128().as_u128()
    }

    fn short<'p>(self, is: Is, parts: impl IntoIterator<Item = &'p [u8]>) -> u64 {
        half(self.hash(is, parts))
    }

    /// A secret of its own for what works with one.
    pub(super) fn secret_of(self, what: &[u8]) -> [u8; 16] {
        self.hash(Is::Secret, [what]).to_le_bytes()
    }

    /// A subject of an issuer, under every kind of proof; of the empty issuer where tokens name none.
    pub(super) fn subject(self, issuer: &str, subject: &str) -> [u128; 4] {
        let hash = self.hash(Is::Subject, [issuer.as_bytes(), subject.as_bytes()]);
        [hash, hash ^ LEARNED, hash ^ UNVERIFIED, hash ^ FORGED]
    }

    /// Whom a token names.
    pub(super) fn identity(self, token: Fingerprint, facts: &Facts) -> Identity {
        let issuer = facts.text(facts.issuer).unwrap_or_default().as_bytes();
        let subject = match (facts.text(facts.subject), facts.text(facts.client)) {
            (Some(subject), _) => self.hash(Is::Subject, [issuer, subject.as_bytes()]),
            (None, Some(client)) => self.hash(Is::Client, [issuer, client.as_bytes()]),
            (None, None) => self.hash(Is::Token, [&token.as_bytes()[..]]),
        };
        let mut roles: SmallVec<[&str; 8]> = facts.texts(&facts.roles).collect();
        roles.sort_unstable();
        roles.dedup();
        let role = (!roles.is_empty())
            .then(|| self.short(Is::Roles, roles.iter().map(|role| role.as_bytes())));
        Identity { subject, issuer: self.short(Is::Issuer, [issuer]), role }
    }

    /// The same of a token that can't be read.
    pub(super) fn opaque(self, token: Fingerprint) -> Identity {
        let subject = self.hash(Is::Token, [&token.as_bytes()[..]]);
        Identity { subject, issuer: self.short(Is::Issuer, [&b""[..]]), role: None }
    }

    /// A user agent; of the empty text where there is none.
    pub(super) fn device(self, agent: &[u8]) -> u64 {
        self.devices.hash(agent)
    }

    /// A service by its name, else by its port.
    pub(super) fn service(self, name: Option<&str>, port: u16) -> u64 {
        match name {
            Some(name) => self.short(Is::Service, [name.as_bytes()]),
            None => self.short(Is::Port, [&port.to_be_bytes()[..]]),
        }
    }
}
