//! Feeds the readers of state that the daemon keeps to itself; see [`crate::fuzz`].

use super::{feed_cache, learned_file};
use crate::pipeline::Pipeline;

/// The lines of the file of learned keys, and the head of a feed that was kept.
pub(crate) fn lines(data: &[u8], pipeline: &mut Pipeline) {
    for line in data.split(|&byte| byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok())
    {
        let _none = learned_file::restore(line, pipeline);
    }
    let _learned = pipeline.learned().count();
    let _head = serde_json::from_slice::<feed_cache::Head>(data);
}
