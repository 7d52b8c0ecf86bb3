//! Values that were looked at lately and held nothing.
//!
//! Most values of a service's requests repeat: user agents, media types, hosts, claims. A value is
//! remembered by its own bytes, so that no other one is ever taken for it. Paths repeat but for the
//! numbers in them: where no detector looks at those, a path is remembered without
//! them.

use std::hash::BuildHasher as _;

use foldhash::fast::FixedState;

use super::Place;

/// Longer values are looked at each time: they are rare, and would push out the others.
pub(super) const MAX_LEN: usize = 248;

/// Values that are remembered, a power of two; with their bytes half a mebibyte, which stays in a
/// core's cache where most are used.
const SLOTS: usize = 2048;

struct Slot {
    len: u8,
    how: u8,
    bytes: [u8; MAX_LEN],
}

/// Remembers the last value of each slot.
pub(super) struct Clean {
    slots: Vec<Slot>,
    hasher: FixedState,
}

impl std::fmt::Debug for Clean {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Clean({} slots)", self.slots.len())
    }
}

/// In [`At::how`]: the bytes are a path without its numbers.
const TEMPLATE: u8 = 0x40;

/// Where a value would stand.
#[derive(Clone, Copy)]
pub(super) struct At {
    slot: usize,
    how: u8,
}

impl Clean {
    pub(super) fn new() -> Self {
        let slot = || Slot { len: 0, how: u8::MAX, bytes: [0; MAX_LEN] };
        Self {
            slots: std::iter::repeat_with(slot).take(SLOTS).collect(),
            // Whoever fills a slot on purpose makes one value be looked at again, no more.
            hasher: FixedState::default(),
        }
    }

    /// The place of a value that is short enough to have one. `plus` is as in
    /// [`decode`](super::decode::decode).
    pub(super) fn at(&self, value: &[u8], plus: bool, place: Place) -> Option<At> {
        let fits = value.len() <= MAX_LEN;
        let how = place as u8 * 2 + u8::from(plus);
        #[expect(clippy::cast_possible_truncation, reason = "the lower bits are as good")]
        let hash = || self.hasher.hash_one(value) as usize;
        fits.then(|| At { slot: hash() % SLOTS, how })
    }

    /// The place of a path of which the [numbers are left out](crate::numbers::leave_out).
    pub(super) fn at_template(&self, template: &[u8]) -> Option<At> {
        let At { slot, how } = self.at(template, false, Place::Path)?;
        Some(At { slot, how: how | TEMPLATE })
    }

    /// Whether the value is one that held nothing.
    pub(super) fn knows(&self, at: At, value: &[u8]) -> bool {
        self.slots.get(at.slot).is_some_and(|slot| {
            slot.how == at.how && slot.bytes.get(..usize::from(slot.len)) == Some(value)
        })
    }

    /// Remembers that the value held nothing.
    pub(super) fn note(&mut self, at: At, value: &[u8]) {
        if let Some(slot) = self.slots.get_mut(at.slot)
            && let Some(bytes) = slot.bytes.get_mut(..value.len())
        {
            bytes.copy_from_slice(value);
            slot.how = at.how;
            #[expect(clippy::cast_possible_truncation, reason = "at most MAX_LEN")]
            let len = value.len() as u8;
            slot.len = len;
        }
    }
}

const _: () = assert!(MAX_LEN < 256 && SLOTS.is_power_of_two());
const _: () = assert!((Place::Claim as u8) * 2 + 1 < TEMPLATE);
