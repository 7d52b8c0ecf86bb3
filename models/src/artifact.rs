//! What the artifacts of both models have in common: a name, a version, the hash of a schema, and a
//! checksum over everything.

use sha2::{Digest, Sha256};

/// Bytes of the checksum, SHA-256, at the end.
pub(crate) const CHECKSUM: usize = 32;

/// What a kind of artifact begins with; numbers are little-endian as all others.
#[derive(Clone, Copy)]
pub(crate) struct Header {
    /// The first eight bytes.
    pub(crate) magic: [u8; 8],
    /// The version of the format.
    pub(crate) version: u32,
    /// The hash of the features' schema.
    pub(crate) schema: u64,
}

/// Why bytes are no artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// They start with something else.
    Magic,
    /// Another version of the format.
    Version(u32),
    /// Another schema.
    Schema(u64),
    /// Cut off, or of another length than they may have.
    Length,
    /// Changed after they were written.
    Checksum,
}

impl Header {
    /// Bytes of a header.
    pub(crate) const SIZE: usize = 8 + 4 + 8;

    /// An artifact with nothing in it yet.
    pub(crate) fn start(self) -> Vec<u8> {
        let mut out = self.magic.to_vec();
        out.extend_from_slice(&self.version.to_le_bytes());
        out.extend_from_slice(&self.schema.to_le_bytes());
        out
    }

    /// What stands between the header and the checksum; `fits` says whether a file may be so long.
    pub(crate) fn open(self, bytes: &[u8], fits: impl Fn(usize) -> bool) -> Result<&[u8], Flaw> {
        let mut rest = bytes;
        if take::<8>(&mut rest) != Some(self.magic) {
            return Err(Flaw::Magic);
        }
        let version = u32::from_le_bytes(take(&mut rest).ok_or(Flaw::Length)?);
        if version != self.version {
            return Err(Flaw::Version(version));
        }
        let schema = u64::from_le_bytes(take(&mut rest).ok_or(Flaw::Length)?);
        if schema != self.schema {
            return Err(Flaw::Schema(schema));
        }
        if !fits(bytes.len()) {
            return Err(Flaw::Length);
        }
        let (body, _) = rest.split_last_chunk::<CHECKSUM>().ok_or(Flaw::Length)?;
        let (all, sum) = bytes.split_last_chunk::<CHECKSUM>().ok_or(Flaw::Length)?;
        if Sha256::digest(all).as_slice() != sum {
            return Err(Flaw::Checksum);
        }
        Ok(body)
    }
}

/// Appends the checksum over all that is there.
pub(crate) fn seal(out: &mut Vec<u8>) {
    let sum = Sha256::digest(&out);
    out.extend_from_slice(&sum);
}

/// Takes the next `N` bytes.
pub(crate) fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, behind) = rest.split_first_chunk::<N>()?;
    *rest = behind;
    Some(*first)
}
