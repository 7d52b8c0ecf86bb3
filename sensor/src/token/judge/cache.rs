//! Decoded tokens, by the hash that they are looked up by.

use std::sync::Arc;

use hashlink::LinkedHashMap;

use super::{CACHE_BYTES_PER_ENTRY, Known};
use crate::token::{Fingerprint, lookup::LookupHash};

/// A token that was decoded.
#[derive(Clone)]
pub(super) struct Cached {
    pub(super) fingerprint: Fingerprint,
    pub(super) known: Arc<Known>,
    /// [To be read](crate::token::extract::Candidate::is_to_be_read) for its kind, it was found not
    /// to be opaque.
    pub(super) read: bool,
}

/// What is known of tokens. Those that were not seen since their last turn are first to go: to put
/// the one that is seen behind all others would touch four tokens' memory for each request.
pub(super) struct Cache {
    known: LinkedHashMap<LookupHash, Place, foldhash::fast::FixedState>,
    bytes: usize,
    max_entries: usize,
    max_bytes: usize,
}

struct Place {
    cached: Cached,
    /// It was seen since its turn came, or since it came.
    seen: bool,
}

impl Cache {
    /// For so many tokens.
    pub(super) fn new(entries: usize) -> Self {
        Self {
            known: LinkedHashMap::with_hasher(foldhash::fast::FixedState::default()),
            bytes: 0,
            max_entries: entries.max(1),
            max_bytes: entries.saturating_mul(CACHE_BYTES_PER_ENTRY),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Bytes of memory that the tokens take: as they are counted, and as they are.
    #[cfg(test)]
    pub(in crate::token) fn bytes(&self) -> [usize; 2] {
        [self.bytes, self.known.iter().map(|(_, place)| place.cached.known.memory()).sum()]
    }

    /// A token; `read` where it was read to be not opaque.
    pub(super) fn get(&mut self, place: &LookupHash, read: bool) -> Option<Cached> {
        let Place { cached, seen } = self.known.get_mut(place)?;
        *seen = true;
        cached.read |= read;
        Some(cached.clone())
    }

    /// A token that was read to be not opaque.
    pub(super) fn get_read(&mut self, place: &LookupHash) -> Option<Cached> {
        let Place { cached, seen } = self.known.get_mut(place).filter(|at| at.cached.read)?;
        *seen = true;
        Some(cached.clone())
    }

    pub(super) fn insert(&mut self, place: LookupHash, cached: Cached) {
        let memory = cached.known.memory();
        if memory > self.max_bytes {
            return;
        }
        self.remove(&place);
        while self.known.len() >= self.max_entries || self.bytes + memory > self.max_bytes {
            let Some((place, oldest)) = self.known.pop_front() else { break };
            if oldest.seen {
                self.known.insert(place, Place { seen: false, ..oldest });
            } else {
                self.bytes -= oldest.cached.known.memory();
            }
        }
        self.bytes += memory;
        self.known.insert(place, Place { cached, seen: false });
    }

    fn remove(&mut self, place: &LookupHash) {
        if let Some(old) = self.known.remove(place) {
            self.bytes -= old.cached.known.memory();
        }
    }

    pub(super) fn clear(&mut self) {
        self.known.clear();
        self.bytes = 0;
    }
}
