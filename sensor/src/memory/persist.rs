//! The state as bytes: what a restart reads back.
//!
//! A state file is a header and batches. A batch says how many records it has and then has them;
//! each record says its kind and length and carries a keyed checksum, so that it stands for
//! itself: a torn tail loses the records behind the tear, a damaged record loses itself.
//!
//! ```text
//! header   "JOTMEM" version:u16 check:u64
//! record   kind:u8 length:u16 payload[length] check:u64       little endian
//! ```
//!
//! A batch begins with a record of kind 0: own time, wall clock, count of the records behind it.
//! A record for a key that was read before replaces the earlier one. Therefore a snapshot is one
//! batch of everything, and a log is a snapshot with batches of changes behind it. The caller
//! appends [`Memory::write_changes`](super::Memory::write_changes) every second or so, and starts
//! a new file (write, sync, rename) when the old one has outgrown the state: after SIGKILL what
//! is lost is the batch under way.
//!
//! The checks are SipHash-1-3 under the installation's secret: a file of another installation,
//! whose hashes would mean nothing here, is refused, and no damage reads as a record.

use super::{
    clock::Second,
    hash::{Is, Names},
};

pub(super) const MAGIC: [u8; 8] = *b"JOTMEM\x01\x00";
pub(super) const HEADER: usize = 16;
/// Kind of the record that a batch begins with.
pub(super) const BATCH: u8 = 0;

/// Something that stands in the state file.
pub(super) trait Record: Sized {
    const KIND: u8;
    fn encode(&self, out: &mut Vec<u8>);
    fn decode(r: &mut Reader<'_>) -> Option<Self>;
}

/// Takes little-endian numbers off a slice.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    pub(super) fn u128(&mut self) -> Option<u128> {
        self.take().map(u128::from_le_bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The first record of a batch.
pub(super) struct Batch {
    pub(super) own: u64,
    pub(super) wall: u64,
    pub(super) records: u64,
    pub(super) next_service: Second,
}

impl Record for Batch {
    const KIND: u8 = BATCH;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.own.to_le_bytes());
        out.extend(self.wall.to_le_bytes());
        out.extend(self.records.to_le_bytes());
        out.extend(self.next_service.to_le_bytes());
    }

    fn decode(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self { own: r.u64()?, wall: r.u64()?, records: r.u64()?, next_service: r.u32()? })
    }
}

pub(super) fn header(names: &Names) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    let (magic, check) = header.split_at_mut(MAGIC.len());
    magic.copy_from_slice(&MAGIC);
    check.copy_from_slice(&names.short(Is::Header, &[&MAGIC]).to_le_bytes());
    header
}

/// Appends a record; one that is longer than a length can say is left out.
pub(super) fn write_record<R: Record>(names: &Names, record: &R, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend([R::KIND, 0, 0]);
    record.encode(out);
    let Some(written) = out.get_mut(start..) else { return };
    let Ok(length) = u16::try_from(written.len() - 3) else {
        out.truncate(start);
        return;
    };
    if let Some(place) = written.get_mut(1..3) {
        place.copy_from_slice(&length.to_le_bytes());
    }
    let check = names.short(Is::Record, &[written]);
    out.extend(check.to_le_bytes());
}

/// One step of reading.
pub(super) enum Step<'a> {
    Record(u8, Reader<'a>),
    /// A record whose check fails.
    Damaged,
}

/// Takes the next record off `bytes`; `None` where no whole record is left.
pub(super) fn read_record<'a>(names: &Names, bytes: &mut &'a [u8]) -> Option<Step<'a>> {
    let mut reader = Reader(bytes);
    let kind = reader.u8()?;
    let length = usize::from(reader.u16()?);
    let (record, rest) = bytes.split_at_checked(3 + length)?;
    let (check, rest) = rest.split_first_chunk()?;
    *bytes = rest;
    if names.short(Is::Record, &[record]) != u64::from_le_bytes(*check) {
        return Some(Step::Damaged);
    }
    Some(Step::Record(kind, Reader(record.get(3..)?)))
}

/// What reading a state file lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Records that were announced and didn't come out.
    pub records: u64,
    /// Bytes behind the last whole record.
    pub torn_bytes: u64,
}

/// Why nothing of a state file can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// It isn't a state file of this version.
    #[error("not a state file of this version")]
    NotAState,
    /// It was written under another secret, or its header is damaged.
    #[error("a state file of another installation, or its header is damaged")]
    OtherSecret,
}
