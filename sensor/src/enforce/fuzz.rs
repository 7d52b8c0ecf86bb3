//! Feeds the readers that enforcement keeps to itself; see [`crate::fuzz`].

use super::{Lists, held, state_file};
use crate::{log_file::Records as _, time::Time};

/// A head that the kernel holds.
pub(crate) fn held(data: &[u8]) {
    if let Some(held) = held::decode(data) {
        assert!(held.head.len() <= data.len());
    }
}

/// The lines of the file of what is denied and allowed.
pub(crate) fn lines(data: &[u8]) {
    let (now, mut lists) = (Time::from_unix_secs(1_750_000_000), Lists::default());
    for line in data.split_inclusive(|&byte| byte == b'\n') {
        let _none = state_file::apply(line, now, &mut lists);
    }
    lists.expire(now);
    while lists.write_changes(&mut Vec::new()).is_ok_and(|left| left > 0) {}
}
