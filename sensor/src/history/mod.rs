//! The host's own history: one line a scored exchange, to learn from.
//!
//! [`Scored`] is what the pipeline hands over once an exchange is over, [`Row`] a line of it,
//! [`HistoryFile`] writes lines within a bound, [`Reader`] reads them back, and [`Recorder`] does
//! the writing, and the comparison with a model in shadow, on a thread of its own.
//!
//! A line holds keyed hashes, names of findings and numbers: no token, no name, no part of a
//! request.
#![forbid(unsafe_code)]

mod compare;
mod erase;
mod file;
mod reader;
mod recorder;
mod row;

#[cfg(test)]
pub(crate) use self::row::tests::scored;
pub use self::{
    compare::{Comparison, Labelled},
    erase::erase,
    file::HistoryFile,
    reader::{Lines, Progress, ReadError, Reader, find_row},
    recorder::{Recorder, RecorderStatus, is_sampled, weight},
    row::{FeatureHash, MAX_LINE, Row, RowError, Scored, VERSION, parse_event, reason_name},
};
