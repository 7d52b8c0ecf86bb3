//! Slot numbers by hash.

use hashbrown::HashTable;

/// Tables that an index is spread over. A table's room is a power of two, of which seven eighths
/// are used: a million entries in one take the room of two million, over five tables that of 1.3
/// million. And a table that grows moves a fifth of the entries at once.
const SHARDS: usize = 5;

/// Slot numbers by hash. The hashes are keyed, so nobody outside can make them collide, and spread
/// evenly over all bits.
pub(super) struct Index([HashTable<u32>; SHARDS]);

impl Index {
    /// With room for so many entries.
    pub(super) fn with_capacity(entries: usize) -> Self {
        Self(std::array::from_fn(|_| HashTable::with_capacity(entries / SHARDS)))
    }

    pub(super) fn len(&self) -> usize {
        self.0.iter().map(HashTable::len).sum()
    }

    /// The table takes the lowest and the highest bits of the hash: this takes those between.
    fn shard(hash: u64) -> usize {
        (((hash >> 24 & 0xffff_ffff) * SHARDS as u64) >> 32) as usize
    }

    /// The slot of this hash that `is` the right one.
    pub(super) fn find(&self, hash: u64, is: impl Fn(u32) -> bool) -> Option<u32> {
        self.0.get(Self::shard(hash))?.find(hash, |&slot| is(slot)).copied()
    }

    /// Adds a slot that is not there; `hash_of` gives the hash of any that is.
    pub(super) fn insert(&mut self, hash: u64, slot: u32, hash_of: impl Fn(u32) -> u64) {
        if let Some(table) = self.0.get_mut(Self::shard(hash)) {
            table.insert_unique(hash, slot, |&slot| hash_of(slot));
        }
    }

    /// Takes a slot out, if it is there.
    pub(super) fn remove(&mut self, hash: u64, slot: u32) {
        if let Some(table) = self.0.get_mut(Self::shard(hash))
            && let Ok(found) = table.find_entry(hash, |&s| s == slot)
        {
            found.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Index;

    /// A hash of some number (splitmix64).
    fn hash(n: u32) -> u64 {
        let mut x = (u64::from(n) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    }

    #[test]
    fn what_is_put_in_is_found_until_it_is_taken_out() {
        let mut index = Index::with_capacity(10);
        for slot in 0..10_000 {
            assert_eq!(index.find(hash(slot), |s| s == slot), None);
            index.insert(hash(slot), slot, hash);
            assert_eq!(index.len(), slot as usize + 1);
        }
        for slot in 0..10_000 {
            assert_eq!(index.find(hash(slot), |s| s == slot), Some(slot));
        }
        for slot in (0..10_000).step_by(2) {
            index.remove(hash(slot), slot);
            index.remove(hash(slot), slot + 1);
        }
        assert_eq!(index.len(), 5_000);
        let left = |slot: &u32| index.find(hash(*slot), |s| s == *slot).is_some();
        assert!((0..10_000).filter(left).all(|slot| slot % 2 == 1));
    }

    #[test]
    fn a_million_entries_fit_without_the_room_of_two_million() {
        let mut index = Index::with_capacity(4_096);
        (0..1_000_000).for_each(|slot| index.insert(hash(slot), slot, hash));
        let room: usize = index.0.iter().map(hashbrown::HashTable::num_buckets).sum();
        assert!(room <= 5 << 18, "{room}");
    }
}
