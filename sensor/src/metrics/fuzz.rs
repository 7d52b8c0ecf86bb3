//! Feeds the reader of requests for metrics; see [`crate::fuzz`].

/// A request's head.
pub(crate) fn head(data: &[u8]) {
    super::server::asked(data);
}
