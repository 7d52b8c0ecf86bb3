//! Which fetch of a key set is meant.

/// A fetch of an issuer's key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchMark {
    /// Which issuer, of one keyring.
    pub source: usize,
    /// The first has number 1; 0 is none yet.
    pub number: u64,
}
