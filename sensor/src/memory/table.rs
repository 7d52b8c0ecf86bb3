//! A bounded hash table whose entries are forgotten in the order of their ends.
//!
//! Entries live in a slab; an index of slot numbers finds them by key; a calendar of lists
//! orders them by the time at which they may be forgotten. Adding, finding and forgetting are
//! expected O(1). Keys are hashes under a secret key, so nobody outside can make them collide.

use super::{clock::Second, index::Index};

/// What a table holds. The default value stands in free slots.
pub(super) trait Entry: Default {
    /// A hash under the memory's secret key.
    fn key(&self) -> u128;
    /// When it may be forgotten. May move later with every use; the calendar follows lazily.
    fn deadline(&self) -> Second;
}

/// Which entries make room first when the table is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Nobody has vouched for it: a flood of made-up tokens displaces only these, once they
    /// hold more than a quarter of the table.
    Unproven = 0,
    /// Verified with a key, or accepted by a service.
    Proven = 1,
}

/// Why an entry was forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    Age,
    Size,
    /// Somebody asked for it: no loss.
    Asked,
}

/// How many entries were forgotten, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Forgotten {
    /// Past their end.
    pub age: u64,
    /// To make room in a full table, before their end.
    pub size: u64,
}

const NONE: u32 = u32::MAX;
/// Seconds in one bucket of the calendar. An entry is past its end when its bucket is over.
const TICK: Second = 16;
/// Buckets of the calendar: 18 hours. What ends later is looked at again when they are over.
const BUCKETS: u32 = 4096;

/// Entries that a table has room for before it grows.
pub(super) const FIRST_CAPACITY: usize = 1 << 12;
const FREE: u16 = u16::MAX;
/// Entries that one step of [`Table::expire`] looks at.
const EXPIRE_STEP: u32 = 16;

struct Node<E> {
    entry: E,
    prev: u32,
    next: u32,
    /// Class times `BUCKETS` plus bucket, or `FREE`.
    place: u16,
    changed: bool,
}

pub(super) struct Table<E> {
    nodes: Vec<Node<E>>,
    index: Index,
    free: Vec<u32>,
    /// First node of each circular list, by place.
    heads: Box<[u32]>,
    /// A bit for each list that is not empty.
    filled: [[u64; BUCKETS as usize / 64]; 2],
    counts: [usize; 2],
    limit: usize,
    /// The first tick that is not over.
    tick: Second,
    /// Slots that changed since the last [`Table::take_changed`].
    changed: Vec<u32>,
    pub(super) forgotten: Forgotten,
}

fn bits(key: u128) -> u64 {
    key as u64
}

impl<E: Entry> Table<E> {
    /// At most `limit` entries, at least one.
    pub(super) fn new(limit: usize) -> Self {
        let limit = limit.clamp(1, NONE as usize - 1);
        Self {
            nodes: Vec::new(),
            // A table that is larger than what it holds costs a page fault and a cache miss for
            // nearly every token; growing to a million costs tens of milliseconds in all.
            index: Index::with_capacity(limit.min(FIRST_CAPACITY)),
            free: Vec::new(),
            heads: vec![NONE; 2 * BUCKETS as usize].into_boxed_slice(),
            filled: [[0; BUCKETS as usize / 64]; 2],
            counts: [0; 2],
            limit,
            tick: 0,
            changed: Vec::new(),
            forgotten: Forgotten::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    pub(super) fn find(&self, key: u128) -> Option<u32> {
        self.index.find(bits(key), |slot| {
            self.nodes.get(slot as usize).is_some_and(|n| n.entry.key() == key)
        })
    }

    pub(super) fn get(&self, slot: u32) -> Option<&E> {
        self.nodes.get(slot as usize).filter(|n| n.place != FREE).map(|n| &n.entry)
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut E> {
        self.nodes.get_mut(slot as usize).filter(|n| n.place != FREE).map(|n| &mut n.entry)
    }

    /// The entry has changed in a way that has to survive a restart.
    pub(super) fn mark(&mut self, slot: u32) {
        if let Some(node) = self.nodes.get_mut(slot as usize)
            && !node.changed
        {
            node.changed = true;
            self.changed.push(slot);
        }
    }

    /// Marks every entry as changed.
    pub(super) fn mark_all(&mut self) {
        for slot in 0..u32::try_from(self.nodes.len()).unwrap_or(NONE) {
            if self.get(slot).is_some() {
                self.mark(slot);
            }
        }
    }

    /// Forgets what has changed.
    pub(super) fn clear_changed(&mut self) {
        for slot in self.changed.drain(..) {
            if let Some(node) = self.nodes.get_mut(slot as usize) {
                node.changed = false;
            }
        }
    }

    pub(super) fn changes(&self) -> usize {
        self.changed.len()
    }

    /// The next changed entry, which then no longer counts as changed.
    pub(super) fn take_changed(&mut self) -> Option<&E> {
        loop {
            let slot = self.changed.pop()?;
            let free = match self.nodes.get_mut(slot as usize) {
                Some(node) => {
                    node.changed = false;
                    node.place == FREE
                }
                None => true,
            };
            if !free {
                return self.get(slot);
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &E> {
        self.nodes.iter().filter(|n| n.place != FREE).map(|n| &n.entry)
    }

    /// Adds an entry whose key is not in the table; makes room where it is full.
    pub(super) fn insert(
        &mut self,
        now: Second,
        entry: E,
        class: Class,
        gone: &mut impl FnMut(u32, &E),
    ) -> u32 {
        if self.len() >= self.limit {
            self.make_room(now, gone);
        }
        let (key, deadline) = (entry.key(), entry.deadline());
        let node = Node { entry, prev: NONE, next: NONE, place: FREE, changed: false };
        let slot = match self.free.pop() {
            Some(slot) => {
                if let Some(old) = self.nodes.get_mut(slot as usize) {
                    // Still queued as changed: then it is queued for the new entry.
                    let changed = old.changed;
                    *old = node;
                    old.changed = changed;
                }
                slot
            }
            None => {
                self.nodes.push(node);
                u32::try_from(self.nodes.len() - 1).unwrap_or(NONE)
            }
        };
        let nodes = &self.nodes;
        self.index
            .insert(bits(key), slot, |s| nodes.get(s as usize).map_or(0, |n| bits(n.entry.key())));
        self.link(slot, class, deadline);
        self.mark(slot);
        slot
    }

    /// Somebody vouched for the entry.
    pub(super) fn promote(&mut self, slot: u32) {
        if let Some(node) = self.nodes.get(slot as usize)
            && u32::from(node.place) < BUCKETS
        {
            let deadline = node.entry.deadline();
            self.unlink(slot);
            self.link(slot, Class::Proven, deadline);
        }
    }

    /// Forgets some of what is past its end. Called with every use, it keeps up with the clock
    /// without ever stopping for long.
    #[inline]
    pub(super) fn expire(&mut self, now: Second, gone: &mut impl FnMut(u32, &E)) {
        if !self.is_settled(now) {
            self.expire_some(now, gone);
        }
    }

    /// Whether [`expire`](Self::expire) has nothing to do.
    pub(super) fn is_settled(&self, now: Second) -> bool {
        self.tick >= now / TICK
    }

    fn expire_some(&mut self, now: Second, gone: &mut impl FnMut(u32, &E)) {
        for _ in 0..EXPIRE_STEP {
            if !self.expire_one(now, gone) {
                return;
            }
        }
    }

    /// Looks at one entry whose bucket is over; false where there is none.
    fn expire_one(&mut self, now: Second, gone: &mut impl FnMut(u32, &E)) -> bool {
        let over = now / TICK;
        // After a leap of the clock one round of the calendar is enough.
        self.tick = self.tick.max(over.saturating_sub(BUCKETS - 1));
        while self.tick < over {
            for class in [Class::Unproven, Class::Proven] {
                let slot = self.head(class, self.tick % BUCKETS);
                let Some(node) = self.nodes.get(slot as usize) else { continue };
                let deadline = node.entry.deadline();
                if deadline / TICK <= self.tick {
                    self.remove(slot, Gone::Age, gone);
                } else {
                    self.unlink(slot);
                    self.link(slot, class, deadline);
                }
                return true;
            }
            self.tick += 1;
        }
        false
    }

    fn make_room(&mut self, now: Second, gone: &mut impl FnMut(u32, &E)) {
        // What is past its end goes first: nothing else is forgotten below the limit. Each turn
        // frees an entry or moves one to where it belongs.
        let before = self.forgotten.age;
        while self.forgotten.age == before && self.expire_one(now, gone) {}
        while self.len() >= self.limit {
            let [unproven, proven] = self.counts;
            let class = if proven == 0 || unproven > self.limit / 4 {
                Class::Unproven
            } else {
                Class::Proven
            };
            let Some((slot, tick)) = self.earliest(class) else { return };
            let Some(node) = self.nodes.get(slot as usize) else { return };
            let deadline = node.entry.deadline();
            if self.tick_of(deadline) > tick {
                self.unlink(slot);
                self.link(slot, class, deadline);
            } else {
                self.remove(slot, Gone::Size, gone);
            }
        }
    }

    fn remove(&mut self, slot: u32, why: Gone, gone: &mut impl FnMut(u32, &E)) {
        self.unlink(slot);
        let Some(node) = self.nodes.get_mut(slot as usize) else { return };
        let entry = std::mem::take(&mut node.entry);
        self.index.remove(bits(entry.key()), slot);
        self.free.push(slot);
        match why {
            Gone::Age => self.forgotten.age += 1,
            Gone::Size => self.forgotten.size += 1,
            Gone::Asked => {}
        }
        gone(slot, &entry);
    }

    /// Forgets all that `is` so; gives how many.
    pub(super) fn remove_where(
        &mut self,
        is: impl Fn(&E) -> bool,
        gone: &mut impl FnMut(u32, &E),
    ) -> u64 {
        let mut count = 0;
        for slot in 0..u32::try_from(self.nodes.len()).unwrap_or(NONE) {
            if self.get(slot).is_some_and(&is) {
                self.remove(slot, Gone::Asked, gone);
                count += 1;
            }
        }
        count
    }

    fn place(class: Class, bucket: u32) -> usize {
        (class as u32 * BUCKETS + bucket) as usize
    }

    fn head(&self, class: Class, bucket: u32) -> u32 {
        self.heads.get(Self::place(class, bucket)).copied().unwrap_or(NONE)
    }

    /// The tick whose bucket holds entries with this end.
    fn tick_of(&self, deadline: Second) -> Second {
        (deadline / TICK).clamp(self.tick, self.tick.saturating_add(BUCKETS - 1))
    }

    fn link(&mut self, slot: u32, class: Class, deadline: Second) {
        self.link_at(slot, class, self.tick_of(deadline));
    }

    /// Puts the node at the end of its list.
    fn link_at(&mut self, slot: u32, class: Class, tick: Second) {
        let bucket = tick % BUCKETS;
        let place = Self::place(class, bucket);
        let head = self.head(class, bucket);
        let tail = self.nodes.get(head as usize).map_or(slot, |n| n.prev);
        if let Some(node) = self.nodes.get_mut(slot as usize) {
            node.place = u16::try_from(place).unwrap_or(FREE);
            node.prev = tail;
            node.next = if head == NONE { slot } else { head };
        }
        if head == NONE {
            if let Some(first) = self.heads.get_mut(place) {
                *first = slot;
            }
            self.set_filled(class, bucket, true);
        } else {
            if let Some(last) = self.nodes.get_mut(tail as usize) {
                last.next = slot;
            }
            if let Some(first) = self.nodes.get_mut(head as usize) {
                first.prev = slot;
            }
        }
        if let Some(count) = self.counts.get_mut(class as usize) {
            *count += 1;
        }
    }

    fn unlink(&mut self, slot: u32) {
        let Some(node) = self.nodes.get_mut(slot as usize).filter(|n| n.place != FREE) else {
            return;
        };
        let (place, prev, next) = (usize::from(node.place), node.prev, node.next);
        node.place = FREE;
        let class = if place < BUCKETS as usize { Class::Unproven } else { Class::Proven };
        if let Some(count) = self.counts.get_mut(class as usize) {
            *count -= 1;
        }
        let only = next == slot;
        if !only {
            if let Some(n) = self.nodes.get_mut(prev as usize) {
                n.next = next;
            }
            if let Some(n) = self.nodes.get_mut(next as usize) {
                n.prev = prev;
            }
        }
        if let Some(head) = self.heads.get_mut(place)
            && *head == slot
        {
            *head = if only { NONE } else { next };
            if only {
                self.set_filled(class, place as u32 % BUCKETS, false);
            }
        }
    }

    fn set_filled(&mut self, class: Class, bucket: u32, filled: bool) {
        if let Some(word) =
            self.filled.get_mut(class as usize).and_then(|w| w.get_mut(bucket as usize / 64))
        {
            let bit = 1 << (bucket % 64);
            if filled { *word |= bit } else { *word &= !bit }
        }
    }

    /// The first entry of the earliest list of a class, and that list's tick.
    fn earliest(&self, class: Class) -> Option<(u32, Second)> {
        let words = self.filled.get(class as usize)?;
        let start = self.tick % BUCKETS;
        let found = |k: u32| {
            let at = (start / 64 + k) % (BUCKETS / 64);
            let mut word = *words.get(at as usize)?;
            if k == 0 {
                word &= u64::MAX << (start % 64);
            } else if k == BUCKETS / 64 {
                word &= !(u64::MAX << (start % 64));
            }
            (word != 0).then(|| at * 64 + word.trailing_zeros())
        };
        let bucket = (0..=BUCKETS / 64).find_map(found)?;
        Some((self.head(class, bucket), self.tick + (bucket + BUCKETS - start) % BUCKETS))
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
