//! Decoded tokens, by the hash that they are looked up by.

use std::sync::Arc;

use hashlink::LruCache;

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

/// What is known of tokens, the least recently seen first to go.
pub(super) struct Cache {
    pub(super) known: LruCache<LookupHash, Cached, foldhash::fast::FixedState>,
    pub(super) bytes: usize,
    max_bytes: usize,
}

impl Cache {
    /// For so many tokens.
    pub(super) fn new(entries: usize) -> Self {
        Self {
            known: LruCache::with_hasher(entries.max(1), foldhash::fast::FixedState::default()),
            bytes: 0,
            max_bytes: entries.saturating_mul(CACHE_BYTES_PER_ENTRY),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// A token; `read` where it was read to be not opaque.
    pub(super) fn get(&mut self, place: &LookupHash, read: bool) -> Option<Cached> {
        let cached = self.known.get_mut(place)?;
        cached.read |= read;
        Some(cached.clone())
    }

    /// A token that was read to be not opaque.
    pub(super) fn get_read(&mut self, place: &LookupHash) -> Option<Cached> {
        self.known.get_mut(place).filter(|cached| cached.read).cloned()
    }

    pub(super) fn insert(&mut self, place: LookupHash, cached: Cached) {
        let memory = cached.known.memory();
        if memory > self.max_bytes {
            return;
        }
        self.bytes += memory;
        // Room is made first, so that the map itself never drops what is not accounted for.
        while self.known.len() >= self.known.capacity() || self.bytes > self.max_bytes {
            match self.known.remove_lru() {
                Some((_, old)) => self.bytes = self.bytes.saturating_sub(old.known.memory()),
                None => break,
            }
        }
        if let Some(old) = self.known.insert(place, cached) {
            self.bytes = self.bytes.saturating_sub(old.known.memory());
        }
    }

    pub(super) fn clear(&mut self) {
        self.known.clear();
        self.bytes = 0;
    }
}
