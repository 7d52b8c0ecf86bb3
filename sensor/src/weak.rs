//! The search for weak HMAC secrets: a list of candidates, tried on one token of each key.
//!
//! A token that a service accepted was signed with the issuer's secret, so it is a test for
//! guesses. Only such a token is taken: one that anybody may send would let an attacker use up the
//! one try of a key. Neither a secret nor anything made of one leaves this module.
#![forbid(unsafe_code)]

use std::{
    hash::{BuildHasher as _, RandomState},
    io::Read as _,
    path::Path,
    sync::Arc,
};

use anyhow::{Context as _, ensure};
use hashlink::LruCache;
use zeroize::Zeroizing;

use crate::{
    capture::{FlowKey, Service},
    keys::{Algorithm, Key, KeySource},
    time::Time,
    whole_file,
};

/// The largest list that is read.
pub const MAX_LIST_BYTES: u64 = 4 << 20;
/// The most candidates of a list: a search costs about a microsecond for each.
pub const MAX_CANDIDATES: usize = 250_000;
/// The longest candidate.
pub const MAX_CANDIDATE_BYTES: usize = 1_024;
/// Keys, as (`iss`, `kid`), that are known to have been tried; of more the longest unused is
/// forgotten, and may be tried again.
const MAX_TRIED: usize = 4_096;

/// Candidates, each a line of a file. `Debug` shows their number only.
pub struct WeakSecrets {
    lines: Zeroizing<Vec<u8>>,
    count: usize,
}

impl WeakSecrets {
    /// Reads a list: one candidate a line, which ends in LF or CRLF; empty lines are passed over.
    ///
    /// # Errors
    /// The file can't be read, has no candidate, or is over a limit. No error repeats a line.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let place = || format!("weak secrets {}", path.display());
        let file = whole_file::open(path).with_context(place)?;
        let mut bytes = Zeroizing::new(Vec::new());
        file.take(MAX_LIST_BYTES + 1).read_to_end(&mut bytes).with_context(place)?;
        Self::new(bytes).with_context(place)
    }

    fn new(lines: Zeroizing<Vec<u8>>) -> anyhow::Result<Self> {
        ensure!(lines.len() as u64 <= MAX_LIST_BYTES, "over {MAX_LIST_BYTES} bytes");
        let mut list = Self { lines, count: 0 };
        list.count = list.candidates().count();
        ensure!(list.count > 0, "no candidate in it");
        ensure!(list.count <= MAX_CANDIDATES, "more than {MAX_CANDIDATES} candidates");
        let long = list.candidates().any(|line| line.len() > MAX_CANDIDATE_BYTES);
        ensure!(!long, "a candidate of more than {MAX_CANDIDATE_BYTES} bytes");
        Ok(list)
    }

    fn candidates(&self) -> impl Iterator<Item = &[u8]> {
        let lines = self.lines.split(|&b| b == b'\n');
        lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line)).filter(|line| !line.is_empty())
    }

    /// Whether one of the candidates made the signature.
    #[must_use]
    pub fn verify(&self, sample: &HmacSample) -> bool {
        self.candidates().any(|secret| {
            Key::from_secret(secret, None, KeySource::File)
                .is_ok_and(|key| key.verify(sample.alg, &sample.input, &sample.signature).is_ok())
        })
    }
}

impl std::fmt::Debug for WeakSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WeakSecrets").field("candidates", &self.count).finish_non_exhaustive()
    }
}

/// What an HMAC was made over, and the HMAC: a test for guesses. `Debug` shows neither.
pub struct HmacSample {
    /// HS256, HS384 or HS512.
    pub alg: Algorithm,
    /// `iss`.
    pub issuer: Option<Box<str>>,
    /// `kid`.
    pub kid: Option<Box<str>>,
    /// The signing input.
    pub input: Box<[u8]>,
    /// The signature.
    pub signature: Box<[u8]>,
}

impl HmacSample {
    /// Bytes that it holds.
    #[must_use]
    pub fn memory(&self) -> usize {
        let texts = [&self.issuer, &self.kid].map(|text| text.as_ref().map_or(0, |t| t.len()));
        size_of::<Self>() + texts.iter().sum::<usize>() + self.input.len() + self.signature.len()
    }
}

impl std::fmt::Debug for HmacSample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HmacSample").field("alg", &self.alg).finish_non_exhaustive()
    }
}

/// A search to be done, and on which connection its token was seen.
#[derive(Clone, Debug)]
pub struct Search {
    /// What is tried.
    pub sample: Arc<HmacSample>,
    /// The fingerprint of the token.
    pub token: [u8; 16],
    /// When the token was used.
    pub at: Time,
    /// The connection.
    pub flow: FlowKey,
    /// The process that served it, where it is known.
    pub service: Option<Arc<Service>>,
}

/// What became of a search.
#[derive(Debug)]
pub enum Searched {
    /// The secret stands in the list.
    Weak(Search),
    /// It does not.
    Clean,
    /// It is under way.
    Later,
    /// There was no room for it.
    Dropped,
}

/// What was tried since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SecretStats {
    /// Keys that were tried, or are about to be.
    pub tried: u64,
    /// Keys that were not, because too many waited. The next token of such a key is.
    pub dropped: u64,
    /// Weak secrets found.
    pub weak: u64,
}

/// Which keys have been tried.
#[derive(Debug)]
pub(crate) struct Tried {
    names: LruCache<u64, ()>,
    /// Under a secret of this table: nobody shall choose a key that is taken for another, which
    /// would not be tried then.
    hasher: RandomState,
}

impl Tried {
    pub(crate) fn new() -> Self {
        Self { names: LruCache::new(MAX_TRIED), hasher: RandomState::new() }
    }

    /// Takes note of a key; gives its name if it is new.
    pub(crate) fn first(&mut self, sample: &HmacSample) -> Option<u64> {
        let name = self.hasher.hash_one((&sample.issuer, &sample.kid));
        if self.names.get(&name).is_some() {
            return None;
        }
        self.names.insert(name, ());
        Some(name)
    }

    /// The key was not tried after all.
    pub(crate) fn forget(&mut self, name: u64) {
        self.names.remove(&name);
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::hmac;
    use zeroize::Zeroizing;

    use super::{HmacSample, MAX_CANDIDATE_BYTES, MAX_CANDIDATES, MAX_TRIED, Tried, WeakSecrets};
    use crate::keys::Algorithm;

    fn list(text: impl AsRef<[u8]>) -> anyhow::Result<WeakSecrets> {
        WeakSecrets::new(Zeroizing::new(text.as_ref().to_vec()))
    }

    fn sample(issuer: &str, secret: &str) -> HmacSample {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        HmacSample {
            alg: Algorithm::Hs256,
            issuer: Some(issuer.into()),
            kid: None,
            input: (*b"a.b").into(),
            signature: hmac::sign(&key, b"a.b").as_ref().into(),
        }
    }

    #[test]
    fn every_line_is_a_candidate_and_no_other_text() {
        let list = list("\n\nsecret\r\n changeme\n\r\nlast").unwrap();
        assert_eq!(list.count, 3);
        for weak in ["secret", " changeme", "last"] {
            assert!(list.verify(&sample("i", weak)), "{weak}");
        }
        for strong in ["changeme", "secret\r", "secre", "", "secret\n changeme"] {
            assert!(!list.verify(&sample("i", strong)), "{strong}");
        }
        let mut other = sample("i", "secret");
        other.alg = Algorithm::Hs512;
        assert!(!list.verify(&other));
        assert!(!format!("{list:?} {other:?}").contains("secret"));
    }

    #[test]
    fn a_list_is_bounded_and_its_errors_do_not_quote_it() {
        for (text, due) in [
            (String::new(), "no candidate"),
            ("\n\r\n".to_owned(), "no candidate"),
            ("x".repeat(MAX_CANDIDATE_BYTES + 1), "1024 bytes"),
            ("x\n".repeat(MAX_CANDIDATES + 1), "250000 candidates"),
            ("x\n".repeat(3 << 20), "4194304 bytes"),
        ] {
            let error = format!("{:#}", list(text).unwrap_err());
            assert!(error.contains(due) && !error.contains("xx"), "{error}");
        }
        assert!(list("x".repeat(MAX_CANDIDATE_BYTES)).is_ok());
        assert!(list("x\n".repeat(MAX_CANDIDATES)).is_ok());
    }

    #[test]
    fn nobody_knows_the_names_that_keys_are_given() {
        let one = sample("i", "a");
        assert_ne!(Tried::new().first(&one), Tried::new().first(&one));
    }

    #[test]
    fn each_key_is_tried_once_and_a_flood_of_names_costs_one_more_try_at_most() {
        let mut tried = Tried::new();
        let one = sample("i", "a");
        let name = tried.first(&one).unwrap();
        assert!(tried.first(&one).is_none());
        assert!(tried.first(&HmacSample { kid: Some("1".into()), ..sample("i", "b") }).is_some());
        tried.forget(name);
        assert!(tried.first(&one).is_some());
        for k in 0..MAX_TRIED {
            assert!(tried.first(&sample(&k.to_string(), "a")).is_some());
        }
        assert!(tried.first(&one).is_some());
    }
}
