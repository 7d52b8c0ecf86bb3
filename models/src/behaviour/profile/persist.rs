//! Profiles in a file: a header, a table behind the other, and a checksum over all of it.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `JWPROFL` and NUL |
//! | 4 | format version, little-endian as everything |
//! | 8 | a hash under the installation's secret: hashes of another one mean nothing here |
//! | 8 | the hour of the first request, one more, or 0 |
//! | 4 + 8 | for each table: bytes of an entry, entries |
//! | n·m | entries, oldest first |
//! | 32 | SHA-256 of all before |

use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};
use siphasher::sip::SipHasher13;

use super::{Profiles, shared::Shared, table::Table, wire::Wire};

const MAGIC: [u8; 8] = *b"JWPROFL\0";
/// To be raised when a field comes, goes, or changes its meaning.
const VERSION: u32 = 1;
/// Bytes that are written or read at once.
const CHUNK: usize = 64 * 1024;

/// Why bytes are no profiles of this installation.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file starts with something else.
    #[error("no profiles: the file does not start as one of them")]
    Magic,
    /// Another version of the format.
    #[error("profiles of format {found}, this build reads {VERSION}")]
    Version {
        /// The file's.
        found: u32,
    },
    /// Written under another secret.
    #[error("profiles of another installation")]
    Foreign,
    /// Cut off, or with something behind.
    #[error("profiles are torn")]
    Torn,
    /// Changed after they were written.
    #[error("profiles are damaged: the checksum is wrong")]
    Checksum,
    /// Reading failed.
    #[error("profiles cannot be read: {0}")]
    Io(#[source] io::Error),
}

impl From<io::Error> for LoadError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::Torn } else { Self::Io(error) }
    }
}

/// Writes and hashes.
struct Out<'a> {
    to: &'a mut dyn Write,
    hash: Sha256,
    chunk: Vec<u8>,
}

impl Out<'_> {
    fn flush(&mut self) -> io::Result<()> {
        self.hash.update(&self.chunk);
        self.to.write_all(&self.chunk)?;
        self.chunk.clear();
        Ok(())
    }

    fn put(&mut self, value: &impl Wire) -> io::Result<()> {
        value.put(&mut self.chunk);
        if self.chunk.len() >= CHUNK { self.flush() } else { Ok(()) }
    }

    fn table<V: Wire>(&mut self, table: &Table<V>) -> io::Result<()> {
        self.put(&(Table::<V>::RECORD as u32))?;
        self.put(&(table.len() as u64))?;
        for (key, value) in table.iter() {
            self.put(&key)?;
            self.put(value)?;
        }
        Ok(())
    }
}

/// Reads and hashes.
struct In<'a> {
    from: &'a mut dyn Read,
    hash: Sha256,
    buffer: Vec<u8>,
}

impl In<'_> {
    /// The next `len` bytes.
    fn next(&mut self, len: usize) -> Result<&[u8], LoadError> {
        self.buffer.resize(len, 0);
        self.from.read_exact(&mut self.buffer)?;
        self.hash.update(&self.buffer);
        Ok(&self.buffer)
    }

    fn take<V: Wire>(&mut self) -> Result<V, LoadError> {
        let mut bytes = self.next(V::SIZE)?;
        V::take(&mut bytes).ok_or(LoadError::Checksum)
    }

    /// Fills an empty table. Where the file has more than fit, the oldest are forgotten.
    fn table<V: Wire>(&mut self, table: &mut Table<V>) -> Result<(), LoadError> {
        if self.take::<u32>()? as usize != Table::<V>::RECORD {
            return Err(LoadError::Checksum);
        }
        let entries: u64 = self.take()?;
        let at_once = CHUNK / Table::<V>::RECORD + 1;
        let mut left = entries;
        while left > 0 {
            let count = at_once.min(usize::try_from(left).unwrap_or(usize::MAX));
            let mut bytes = self.next(count * Table::<V>::RECORD)?;
            for _ in 0..count {
                let key = u64::take(&mut bytes).ok_or(LoadError::Torn)?;
                let value = V::take(&mut bytes).ok_or(LoadError::Checksum)?;
                table.see(key, || value);
            }
            left -= count as u64;
        }
        Ok(())
    }
}

impl Profiles {
    fn owner(&self) -> u64 {
        SipHasher13::new_with_key(&self.secret).hash(&MAGIC)
    }

    /// Writes all profiles. The same profiles give the same bytes.
    ///
    /// # Errors
    /// What writing says.
    pub fn save(&self, to: &mut dyn Write) -> io::Result<()> {
        let mut out = Out { to, hash: Sha256::new(), chunk: Vec::with_capacity(CHUNK + 1024) };
        out.put(&MAGIC)?;
        out.put(&VERSION)?;
        out.put(&self.owner())?;
        out.put(&self.since_hour.map_or(0, |hour| u64::from(hour) + 1))?;
        let Shared { issuers, peers, routes, peer_routes, sequences, networks, addresses } =
            &self.shared;
        out.table(&self.subjects)?;
        out.table(issuers)?;
        out.table(peers)?;
        out.table(routes)?;
        out.table(peer_routes)?;
        out.table(sequences)?;
        out.table(networks)?;
        out.table(addresses)?;
        out.flush()?;
        let sum = out.hash.finalize();
        to.write_all(&sum)
    }

    /// Replaces all profiles by those of a file. With an error nothing has changed.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load(&mut self, from: &mut dyn Read) -> Result<(), LoadError> {
        let mut fresh = Self::new(self.limits, self.secret);
        let mut file = In { from, hash: Sha256::new(), buffer: Vec::new() };
        if file.take::<[u8; 8]>()? != MAGIC {
            return Err(LoadError::Magic);
        }
        let found = file.take()?;
        if found != VERSION {
            return Err(LoadError::Version { found });
        }
        if file.take::<u64>()? != self.owner() {
            return Err(LoadError::Foreign);
        }
        let since: u64 = file.take()?;
        fresh.since_hour = since.checked_sub(1).and_then(|hour| u32::try_from(hour).ok());
        let Shared { issuers, peers, routes, peer_routes, sequences, networks, addresses } =
            &mut fresh.shared;
        file.table(&mut fresh.subjects)?;
        file.table(issuers)?;
        file.table(peers)?;
        file.table(routes)?;
        file.table(peer_routes)?;
        file.table(sequences)?;
        file.table(networks)?;
        file.table(addresses)?;
        let want = file.hash.finalize();
        let mut sum = [0; 33];
        let (sum, behind) = sum.split_at_mut(32);
        file.from.read_exact(sum)?;
        if *sum != *want {
            return Err(LoadError::Checksum);
        }
        if file.from.read(behind)? != 0 {
            return Err(LoadError::Torn);
        }
        *self = fresh;
        Ok(())
    }
}
