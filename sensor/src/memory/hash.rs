//! Keyed hashes: what stands for names in the tables.

use siphasher::sip128::SipHasher13;
use smallvec::SmallVec;

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
    Grant,
}

impl Names {
    pub(super) fn new(secret: [u8; 16]) -> Self {
        Self(secret)
    }

    pub(super) fn hash(&self, is: Is, parts: &[&[u8]]) -> u128 {
        // Gathered first: names are short, and many small writes cost more than the hash.
        let mut text: SmallVec<[u8; 256]> = SmallVec::new();
        text.push(is as u8);
        for part in parts {
            // Lengths first: ("ab", "c") is not ("a", "bc").
            text.extend_from_slice(&(part.len() as u64).to_le_bytes());
            text.extend_from_slice(part);
        }
        SipHasher13::new_with_key(&self.0).hash(&text).as_u128()
    }

    pub(super) fn short(&self, is: Is, parts: &[&[u8]]) -> u64 {
        short(self.hash(is, parts))
    }
}

/// A hash in 64 bits; 0 stands for "none" in the tables.
pub(super) fn short(hash: u128) -> u64 {
    (hash as u64).max(1)
}

#[cfg(test)]
mod tests {
    use super::{Is, Names};

    /// Names that were found to share one of 256 places under one secret are spread under another.
    #[test]
    fn names_that_collide_do_so_under_one_secret_only() {
        let place = |names: &Names, n: u32| {
            names.short(Is::Subject, &[b"https://id.example", &n.to_le_bytes()]) % 256
        };
        let (one, other) = (Names::new([1; 16]), Names::new([2; 16]));
        let colliding: Vec<u32> = (0..).filter(|n| place(&one, *n) == 7).take(200).collect();
        let mut crowds = [0; 256];
        for n in colliding {
            crowds[place(&other, n) as usize] += 1;
        }
        assert!(crowds.iter().max() < Some(&12), "{crowds:?}");
    }
}
