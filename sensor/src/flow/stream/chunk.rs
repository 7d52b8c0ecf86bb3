//! What a reader of a direction is given.

use std::fmt;

use crate::time::Time;

/// What stands at the read position.
#[derive(Clone, Copy)]
pub enum Chunk<'a> {
    /// Bytes in order: all that are readable up to the next gap or the end.
    Data {
        /// Never empty.
        bytes: &'a [u8],
        /// When the segment that carried the first of them arrived.
        at: Time,
        /// No byte will ever join these: a gap or the end follows.
        last: bool,
    },
    /// Bytes that were sent and are not known.
    Gap {
        /// How many, never 0.
        len: u64,
    },
    /// The service refused bytes that had been delivered or shown. What was made of them is void,
    /// and the read position stands at, or before, the bytes that it did accept. To be consumed
    /// with `consume(0)`.
    Restart,
    /// Nothing more comes.
    End {
        /// By an RST.
        reset: bool,
    },
    /// Nothing yet.
    Empty,
}

/// Shows sizes only.
impl fmt::Debug for Chunk<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data { bytes, at, last } => {
                write!(f, "Data {{ len: {}, at: {at}, last: {last} }}", bytes.len())
            }
            Self::Gap { len } => write!(f, "Gap {{ len: {len} }}"),
            Self::Restart => f.write_str("Restart"),
            Self::End { reset } => write!(f, "End {{ reset: {reset} }}"),
            Self::Empty => f.write_str("Empty"),
        }
    }
}
