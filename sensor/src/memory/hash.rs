//! Keyed hashes: what stands for names in the tables.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

/// Hashes names under the installation's secret, so that nobody outside can make two collide.
#[derive(Clone)]
pub(super) struct Names([u8; 16]);

/// What a name is the name of: equal strings of different kinds have different hashes.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum Is {
    Jti = 1,
    Subject,
    Session,
    Service,
    Audience,
    Kid,
    Role,
    Scope,
    Group,
    Tenant,
    Proof,
    ListedJti,
    Record,
    Header,
}

impl Names {
    pub(super) fn new(secret: [u8; 16]) -> Self {
        Self(secret)
    }

    pub(super) fn hash(&self, is: Is, parts: &[&[u8]]) -> u128 {
        let mut hasher = SipHasher13::new_with_key(&self.0);
        // Lengths first: ("ab", "c") is not ("a", "bc").
        hasher.write(&[is as u8]);
        for part in parts {
            hasher.write(&(part.len() as u64).to_le_bytes());
            hasher.write(part);
        }
        hasher.finish128().as_u128()
    }

    pub(super) fn short(&self, is: Is, parts: &[&[u8]]) -> u64 {
        // 0 stands for "none" in the tables.
        (self.hash(is, parts) as u64).max(1)
    }
}
