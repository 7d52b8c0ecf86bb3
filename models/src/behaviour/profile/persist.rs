//! Profiles in a file: a header, a table behind the other, and a checksum over all of it.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `JWPROFL` and NUL |
//! | 4 | format version, little-endian as everything |
//! | 8 | a hash under the installation's secret: hashes of another one mean nothing here |
//! | 8 | the hour of the first request, one more, or 0 |
//! | 4 + 8 | for each table: bytes of an entry, entries |
//! | n·m | entries, oldest first; where the highest bit of their number is set, in any order |
//! | 32 | SHA-256 of all before |

use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};
use siphasher::sip::SipHasher13;

use super::{Profiles, shared::Shared, table::Table, wire::Wire};

const MAGIC: [u8; 8] = *b"JWPROFL\0";
/// To be raised when a field comes, goes, or changes its meaning.
const VERSION: u32 = 2;
/// Bytes that are written or read at once.
const CHUNK: usize = 64 * 1024;
/// In the number of a table's entries: they are not in the order in which they were seen.
const UNORDERED: u64 = 1 << 63;

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

/// The checksum at the end of a file: SHA-256 of all before.
#[derive(Clone, Debug, Default)]
pub struct Seal(Sha256);

impl Seal {
    /// Takes the next bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// What stands at the end.
    #[must_use]
    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// Profiles on their way into a file, piece by piece: [`Profiles::save_piece`].
#[derive(Debug)]
pub struct Saving {
    /// Subjects when it began: who comes in between is not in the file, unless in the place of
    /// one who went.
    subjects: u32,
    /// Where the next piece begins; none before the first one.
    slot: Option<u32>,
}

fn put_head<V: Wire>(_: &Table<V>, entries: u64, out: &mut Vec<u8>) {
    // Records are far below 4 GiB.
    (Table::<V>::RECORD as u32).put(out);
    entries.put(out);
}

fn put_table<V: Wire>(table: &Table<V>, out: &mut Vec<u8>) {
    put_head(table, table.len() as u64, out);
    for (key, value) in table.iter() {
        key.put(out);
        value.put(out);
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

    /// Fills an empty table. Where the file has more than fit, the first are forgotten. Says whether
    /// they are in no order.
    fn table<V: Wire>(&mut self, table: &mut Table<V>) -> Result<bool, LoadError> {
        if self.take::<u32>()? as usize != Table::<V>::RECORD {
            return Err(LoadError::Checksum);
        }
        let entries: u64 = self.take()?;
        let at_once = CHUNK / Table::<V>::RECORD + 1;
        let mut left = entries & !UNORDERED;
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
        Ok(entries & UNORDERED != 0)
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
        let mut seal = Seal::default();
        let mut chunk = Vec::with_capacity(CHUNK + 1024);
        self.put_header(&mut chunk);
        put_head(&self.subjects, self.subjects.len() as u64, &mut chunk);
        for (key, value) in self.subjects.iter() {
            key.put(&mut chunk);
            value.put(&mut chunk);
            if chunk.len() >= CHUNK {
                seal.add(&chunk);
                to.write_all(&chunk)?;
                chunk.clear();
            }
        }
        self.put_shared(&mut chunk);
        seal.add(&chunk);
        to.write_all(&chunk)?;
        to.write_all(&seal.finish())
    }

    /// Begins to save in pieces, for who has other things to do in between.
    #[must_use]
    pub fn begin_save(&self) -> Saving {
        Saving { subjects: u32::try_from(self.subjects.len()).unwrap_or(u32::MAX), slot: None }
    }

    /// Appends the next piece, with `subjects` of them at most, and says whether more is to come.
    /// Behind the last piece belongs a [`Seal`] of all of them. A subject stands in the file as it
    /// was when its piece was made.
    pub fn save_piece(&self, saving: &mut Saving, subjects: u32, out: &mut Vec<u8>) -> bool {
        let from = saving.slot.unwrap_or_else(|| {
            self.put_header(out);
            put_head(&self.subjects, u64::from(saving.subjects) | UNORDERED, out);
            0
        });
        let upto = from.saturating_add(subjects).min(saving.subjects);
        // No slot is ever given up, so each of them holds somebody.
        for (key, value) in (from..upto).filter_map(|slot| self.subjects.entry(slot)) {
            key.put(out);
            value.put(out);
        }
        saving.slot = Some(upto);
        if upto == saving.subjects {
            self.put_shared(out);
        }
        upto < saving.subjects
    }

    fn put_header(&self, out: &mut Vec<u8>) {
        MAGIC.put(out);
        VERSION.put(out);
        self.owner().put(out);
        self.since_hour.map_or(0, |hour| u64::from(hour) + 1).put(out);
    }

    /// Everything but subjects.
    fn put_shared(&self, out: &mut Vec<u8>) {
        let Shared { issuers, peers, routes, peer_routes, sequences, networks, addresses } =
            &self.shared;
        put_table(issuers, out);
        put_table(peers, out);
        put_table(routes, out);
        put_table(peer_routes, out);
        put_table(sequences, out);
        put_table(networks, out);
        put_table(addresses, out);
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
        let unordered = file.table(&mut fresh.subjects)?;
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
        if unordered {
            fresh.subjects.order_by(|subject| subject.last_ms);
        }
        *self = fresh;
        Ok(())
    }
}
