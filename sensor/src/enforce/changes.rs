//! Which denied entries are to be saved.
#![forbid(unsafe_code)]

use super::{entry::Denied, tables::MAX_TOKENS};

/// Entries that are noted at a time: all there may be, and as many that change while those are
/// written. Only a disk that takes nothing for long lets so many come together.
const MAX_CHANGES: usize = 2 * MAX_TOKENS;

/// What was added or removed and is not saved yet. No connection is among it: none is denied for
/// long, and its name means nothing behind a restart.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// An entry that changed twice is there twice.
    noted: Vec<Denied>,
    overrun: bool,
}

impl Changes {
    /// All that there is.
    pub(super) fn of(all: impl Iterator<Item = Denied>) -> Self {
        let mut changes = Self::default();
        all.for_each(|denied| changes.note(denied));
        changes
    }

    pub(super) fn note(&mut self, denied: Denied) {
        if self.overrun || matches!(denied, Denied::Flow(_)) {
            return;
        }
        if self.noted.len() == MAX_CHANGES {
            *self = Self { noted: Vec::new(), overrun: true };
            return;
        }
        self.noted.push(denied);
    }

    /// One of them, which counts as saved.
    pub(super) fn pop(&mut self) -> Option<Denied> {
        self.noted.pop()
    }

    pub(super) fn len(&self) -> usize {
        self.noted.len()
    }

    /// Whether more changed than is noted: everything is to be saved.
    pub(super) fn is_overrun(&self) -> bool {
        self.overrun
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::{Changes, Denied, MAX_CHANGES};

    #[test]
    fn what_is_too_much_to_note_makes_everything_to_be_saved() {
        let entry = |n: usize| Denied::Network(IpAddr::V4((n as u32).into()).into());
        let mut changes = Changes::of((0..MAX_CHANGES).map(entry));
        changes.note(Denied::Flow(7));
        assert!(!changes.is_overrun() && changes.len() == MAX_CHANGES);
        assert_eq!(changes.pop(), Some(entry(MAX_CHANGES - 1)));
        changes.note(entry(0));
        changes.note(entry(0));
        changes.note(entry(0));
        assert!(changes.is_overrun() && changes.len() == 0);
    }
}
