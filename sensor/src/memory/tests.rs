//! The memory as a whole: attacks with a benign twin each, a benign day, and the state file.

mod attacks;
mod behaviour;
mod cases;
mod day;
mod state;

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

use super::*;

pub(super) const SECRET: [u8; 16] = *b"a test's secret.";
/// Seconds since the epoch at which the tests begin.
pub(super) const START: u64 = 1_800_000_000;

pub(super) fn at(secs: u64) -> Time {
    Time::from_unix_secs(START + secs)
}

fn hash(text: &str) -> u128 {
    let mut hasher = SipHasher13::new_with_key(b"tokens' own key.");
    hasher.write(text.as_bytes());
    hasher.finish128().as_u128()
}

/// Keys of a token with this signing input and signature.
pub(super) fn keys(signing_input: &str, signature: &str) -> TokenKeys {
    TokenKeys {
        fingerprint: hash(&format!("{signing_input}.{signature}")),
        signature: hash(&format!("signature {signature}")),
        signature_len: 64,
        signing_input: hash(&format!("input {signing_input}")),
    }
}

/// Small tables: a test makes many memories.
pub(super) fn small() -> MemoryConfig {
    MemoryConfig {
        tokens: 1_000,
        subjects: 500,
        services: 16,
        key_ids: 64,
        revocations: 64,
        proofs: 64,
        ..MemoryConfig::default()
    }
}
