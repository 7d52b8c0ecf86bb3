//! Feeds the reader of a place in the journal; see [`crate::fuzz`].

use super::cursor;

/// The text of a place.
pub(crate) fn place(data: &[u8]) {
    let _place = cursor::parse(data);
}
