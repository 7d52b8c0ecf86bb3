//! A bounded table that forgets what was not seen for longest.
//!
//! Entries lie in blocks that never move, so that growing to a million costs no pause; an index of
//! slots finds them by key; a list orders them by when they were last seen. Keys are hashes under
//! the installation's secret.

use hashbrown::HashTable;

use super::wire::Wire;

const NONE: u32 = u32::MAX;

/// Entries of one block, as a power of two.
const BLOCK_BITS: u32 = 8;
const BLOCK: usize = 1 << BLOCK_BITS;

struct Node<V> {
    key: u64,
    /// Seen just after this one.
    newer: u32,
    /// Seen just before this one.
    older: u32,
    value: V,
}

/// A part of the key and the slot: with the part at hand a look-up that finds nothing, and the
/// growth of the index, touch no entry.
#[derive(Clone, Copy)]
struct Place {
    tag: u32,
    slot: u32,
}

/// Spreads the tag over a hash: the index takes its place from the low bits and compares the high.
const fn spread(tag: u32) -> u64 {
    (tag as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

const fn tag_of(key: u64) -> u32 {
    key as u32
}

pub(super) struct Table<V> {
    blocks: Vec<Vec<Node<V>>>,
    index: HashTable<Place>,
    newest: u32,
    oldest: u32,
    limit: usize,
    /// How many were forgotten to make room.
    pub(super) evicted: u64,
}

impl<V> Table<V> {
    /// At most `limit` entries, at least one.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            blocks: Vec::new(),
            index: HashTable::new(),
            newest: NONE,
            oldest: NONE,
            limit: limit.clamp(1, NONE as usize - 1),
            evicted: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Bytes that it holds of the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        let blocks: usize = self.blocks.iter().map(Vec::capacity).sum();
        blocks * size_of::<Node<V>>()
            + self.blocks.capacity() * size_of::<Vec<Node<V>>>()
            + self.index.allocation_size()
    }

    fn node(&self, slot: u32) -> Option<&Node<V>> {
        self.blocks.get((slot >> BLOCK_BITS) as usize)?.get(slot as usize % BLOCK)
    }

    fn node_mut(&mut self, slot: u32) -> Option<&mut Node<V>> {
        self.blocks.get_mut((slot >> BLOCK_BITS) as usize)?.get_mut(slot as usize % BLOCK)
    }

    /// The slot of a key, for as long as it is not forgotten.
    pub(super) fn find(&self, key: u64) -> Option<u32> {
        let tag = tag_of(key);
        self.index
            .find(spread(tag), |place| {
                place.tag == tag && self.node(place.slot).is_some_and(|node| node.key == key)
            })
            .map(|place| place.slot)
    }

    /// What is in a slot, if that still is the key's.
    pub(super) fn at_mut(&mut self, slot: u32, key: u64) -> Option<&mut V> {
        self.node_mut(slot).filter(|node| node.key == key).map(|node| &mut node.value)
    }

    pub(super) fn get(&self, key: u64) -> Option<&V> {
        self.node(self.find(key)?).map(|node| &node.value)
    }

    /// What stands under a key, put there if need be, with its slot; it is now the newest.
    pub(super) fn see(&mut self, key: u64, new: impl FnOnce() -> V) -> Option<(u32, &mut V)> {
        let slot = match self.find(key) {
            Some(slot) => {
                self.freshen(slot);
                slot
            }
            None => self.insert(key, new()),
        };
        self.node_mut(slot).map(|node| (slot, &mut node.value))
    }

    /// As [`see`](Self::see), of what is there already.
    pub(super) fn see_known(&mut self, key: u64) -> Option<(u32, &mut V)> {
        let slot = self.find(key)?;
        self.freshen(slot);
        self.node_mut(slot).map(|node| (slot, &mut node.value))
    }

    /// What is in a slot is now the newest.
    fn freshen(&mut self, slot: u32) {
        if slot != self.newest {
            self.unlink(slot);
            self.link_newest(slot);
        }
    }

    /// Puts a key that is not there.
    fn insert(&mut self, key: u64, value: V) -> u32 {
        let node = Node { key, newer: NONE, older: NONE, value };
        let slot = if self.len() >= self.limit {
            self.evict(node)
        } else {
            let slot = u32::try_from(self.len()).unwrap_or(NONE);
            match self.blocks.last_mut() {
                Some(block) if block.len() < BLOCK => block.push(node),
                _ => {
                    let mut block = Vec::with_capacity(BLOCK.min(self.limit));
                    block.push(node);
                    self.blocks.push(block);
                }
            }
            slot
        };
        let tag = tag_of(key);
        self.index.insert_unique(spread(tag), Place { tag, slot }, |place| spread(place.tag));
        self.link_newest(slot);
        slot
    }

    /// Puts a node in the place of the oldest.
    fn evict(&mut self, node: Node<V>) -> u32 {
        let slot = self.oldest;
        self.unlink(slot);
        if let Some(place) = self.node_mut(slot) {
            let tag = tag_of(place.key);
            *place = node;
            if let Ok(found) = self.index.find_entry(spread(tag), |place| place.slot == slot) {
                found.remove();
            }
            self.evicted += 1;
        }
        slot
    }

    /// Forgets a key; what is in the last slot takes its place. Says whether it was there.
    pub(super) fn remove(&mut self, key: u64) -> bool {
        let Some(slot) = self.find(key) else { return false };
        let last = u32::try_from(self.len()).unwrap_or(NONE).wrapping_sub(1);
        self.unlink(slot);
        let tag = tag_of(key);
        if let Ok(found) = self.index.find_entry(spread(tag), |place| place.slot == slot) {
            found.remove();
        }
        let Some(moved) = self.blocks.last_mut().and_then(Vec::pop) else { return false };
        if self.blocks.last().is_some_and(Vec::is_empty) {
            self.blocks.pop();
        }
        if slot == last {
            return true;
        }
        let (tag, newer, older) = (tag_of(moved.key), moved.newer, moved.older);
        if let Some(place) = self.index.find_mut(spread(tag), |place| place.slot == last) {
            place.slot = slot;
        }
        match self.node_mut(newer) {
            Some(node) => node.older = slot,
            None => self.newest = slot,
        }
        match self.node_mut(older) {
            Some(node) => node.newer = slot,
            None => self.oldest = slot,
        }
        if let Some(place) = self.node_mut(slot) {
            *place = moved;
        }
        true
    }

    fn link_newest(&mut self, slot: u32) {
        let newest = std::mem::replace(&mut self.newest, slot);
        if let Some(node) = self.node_mut(slot) {
            (node.newer, node.older) = (NONE, newest);
        }
        match self.node_mut(newest) {
            Some(node) => node.newer = slot,
            None => self.oldest = slot,
        }
    }

    fn unlink(&mut self, slot: u32) {
        let Some(node) = self.node(slot) else { return };
        let (newer, older) = (node.newer, node.older);
        match self.node_mut(newer) {
            Some(node) => node.older = older,
            None => self.newest = older,
        }
        match self.node_mut(older) {
            Some(node) => node.newer = newer,
            None => self.oldest = newer,
        }
    }

    /// What stands in a slot.
    pub(super) fn entry(&self, slot: u32) -> Option<(u64, &V)> {
        self.node(slot).map(|node| (node.key, &node.value))
    }

    /// Takes all for seen in the order of `age`; what has the same, in the order of slots.
    pub(super) fn order_by(&mut self, age: impl Fn(&V) -> u64) {
        let mut slots: Vec<(u64, u32)> = (0..u32::try_from(self.len()).unwrap_or(NONE))
            .filter_map(|slot| self.node(slot).map(|node| (age(&node.value), slot)))
            .collect();
        slots.sort_unstable();
        (self.newest, self.oldest) = (NONE, NONE);
        for (_, slot) in slots {
            self.link_newest(slot);
        }
    }

    /// All, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &V)> {
        let mut slot = self.oldest;
        std::iter::from_fn(move || {
            let node = self.node(slot)?;
            slot = node.newer;
            Some((node.key, &node.value))
        })
    }
}

impl<V: Wire> Table<V> {
    /// Bytes of one entry in a file.
    pub(super) const RECORD: usize = 8 + V::SIZE;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a list in the order of use.
        #[test]
        fn forgets_what_was_not_seen_for_longest(
            limit in 1_usize..20,
            keys in prop::collection::vec(0_u64..30, 0..400),
        ) {
            let mut table = Table::new(limit);
            let mut oracle: Vec<(u64, u64)> = Vec::new();
            let mut evicted = 0;
            for (now, key) in (0..).zip(keys) {
                // Tags that collide.
                let key = key << 30 | key & 3;
                let known = oracle.iter().position(|(k, _)| *k == key);
                prop_assert_eq!(table.get(key).copied(), known.map(|at| oracle[at].1));
                let (_, value) = table.see(key, || 0_u64).unwrap();
                *value = now;
                if let Some(at) = known {
                    oracle.remove(at);
                } else if oracle.len() == limit {
                    oracle.remove(0);
                    evicted += 1;
                }
                oracle.push((key, now));
                let all: Vec<(u64, u64)> = table.iter().map(|(k, v)| (k, *v)).collect();
                prop_assert_eq!(&all, &oracle);
                prop_assert_eq!((table.len(), table.evicted), (oracle.len(), evicted));
            }
        }
    }

    proptest! {
        /// Against a list, with more than one block.
        #[test]
        fn what_is_removed_is_gone_and_nothing_else(
            limit in 1_usize..700,
            steps in prop::collection::vec((0_u64..900, 0_u8..4), 0..2_000),
        ) {
            let mut table = Table::new(limit);
            let mut oracle: Vec<u64> = Vec::new();
            for (key, step) in steps {
                let key = key << 30 | key & 3;
                let known = oracle.iter().position(|k| *k == key);
                if let Some(at) = known {
                    oracle.remove(at);
                }
                if step == 0 {
                    prop_assert_eq!(table.remove(key), known.is_some());
                } else {
                    if known.is_none() && oracle.len() == limit {
                        oracle.remove(0);
                    }
                    table.see(key, || key).unwrap();
                    oracle.push(key);
                }
                prop_assert_eq!(table.len(), oracle.len());
            }
            let all: Vec<u64> = table.iter().map(|(key, _)| key).collect();
            prop_assert_eq!(&all, &oracle);
            prop_assert!(table.iter().all(|(key, value)| key == *value));
            prop_assert!(oracle.iter().all(|key| table.get(*key) == Some(key)));
            let slots: Vec<u64> =
                (0..oracle.len() as u32).map(|slot| table.entry(slot).unwrap().0).collect();
            prop_assert_eq!(slots.len(), oracle.len());
        }
    }

    #[test]
    fn what_is_put_in_another_order_is_forgotten_in_that() {
        let mut table = Table::new(4);
        for (key, age) in [(1, 30), (2, 10), (3, 20), (4, 10)] {
            table.see(key, || age).unwrap();
        }
        table.order_by(|age| *age);
        assert_eq!(table.iter().map(|(key, _)| key).collect::<Vec<_>>(), [2, 4, 3, 1]);
        assert_eq!(table.entry(2), Some((3, &20)));
        for (new, forgotten) in [(5, 2), (6, 4), (7, 3), (8, 1)] {
            table.see(new, || 40).unwrap();
            assert_eq!(table.find(forgotten), None);
        }
        assert_eq!(table.len(), 4);
    }

    #[test]
    fn grows_by_blocks_and_finds_all() {
        let mut table = Table::new(1000);
        let slots: Vec<u32> = (0..1000).map(|k| table.see(k, || k).unwrap().0).collect();
        assert_eq!(table.blocks.len(), 4);
        for (key, slot) in (0..1000).zip(slots) {
            assert_eq!(table.find(key), Some(slot));
            assert_eq!(table.at_mut(slot, key), Some(&mut key.clone()));
            assert_eq!(table.at_mut(slot, key + 1), None);
        }
        table.see(1000, || 1000).unwrap();
        assert_eq!((table.find(0), table.len(), table.evicted), (None, 1000, 1));
    }
}
