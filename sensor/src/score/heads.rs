//! The lines of heads that were looked at lately and held nothing.
//!
//! The requests of a client differ in their first line and are alike in the lines behind it. Those
//! are remembered with every byte, so that no others are ever taken for them; of a head that has
//! them only the first line is looked at.

use crate::http::Request;

/// Longer ones are looked at each time.
const MAX_LEN: usize = 1024;

/// Heads that are remembered, a power of two: with their bytes 2 MiB, room for the clients that are
/// at work in the same minute on most hosts.
const SLOTS: usize = 2048;

struct Slot {
    len: u16,
    bytes: [u8; MAX_LEN],
}

/// Remembers the last head of each slot.
pub(super) struct Heads(Vec<Slot>);

impl Heads {
    pub(super) fn new() -> Self {
        let slot = || Slot { len: 0, bytes: [0; MAX_LEN] };
        Self(std::iter::repeat_with(slot).take(SLOTS).collect())
    }

    /// Whether these lines held nothing.
    pub(super) fn knows(&self, lines: &[u8]) -> bool {
        self.0
            .get(slot_of(lines))
            .is_some_and(|slot| slot.bytes.get(..usize::from(slot.len)) == Some(lines))
    }

    /// Remembers that they did.
    pub(super) fn note(&mut self, lines: &[u8]) {
        if let Some(slot) = self.0.get_mut(slot_of(lines))
            && let (Ok(len), Some(bytes)) =
                (u16::try_from(lines.len()), slot.bytes.get_mut(..lines.len()))
        {
            bytes.copy_from_slice(lines);
            slot.len = len;
        }
    }
}

/// All of a head behind its target, where that is as it was sent and no body follows, whose form
/// the head would say.
pub(super) fn lines(request: &Request) -> Option<&[u8]> {
    if !request.body.bytes.is_empty() {
        return None;
    }
    let lines = request.head.get(request.target.1 as usize..)?;
    // A described request has no lines: its fields lie there without borders.
    lines.starts_with(b" HTTP/1.").then_some(lines)
}

/// By a few of the bytes: heads that share a slot push each other out, and no more.
fn slot_of(lines: &[u8]) -> usize {
    /// Eight bytes from each of so many places.
    const SAMPLES: usize = 8;
    let mut hash = lines.len() as u64;
    for sample in 0..SAMPLES {
        let at = lines.len() * sample / SAMPLES;
        let word = lines.get(at..).and_then(|rest| rest.first_chunk::<8>());
        let word = word.copied().map_or(0, u64::from_le_bytes);
        hash = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^= hash >> 32;
    }
    #[expect(clippy::cast_possible_truncation, reason = "the lower bits are as good")]
    let slot = hash as usize % SLOTS;
    slot
}

const _: () = assert!(MAX_LEN <= u16::MAX as usize && SLOTS.is_power_of_two());
