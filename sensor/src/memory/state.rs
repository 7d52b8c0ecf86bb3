//! Writing the state and reading it back. The format is described in [`persist`].

use std::io::{self, Write};

use super::{
    Memory, MemoryConfig,
    algorithms::KeyFamilies,
    clock::Clock,
    ends::{Ended, Proof},
    hash::Names,
    persist::{
        BATCH, Batch, HEADER, Lost, MAGIC, Record, RestoreError, Step, header, read_record,
        write_record,
    },
    services::Service,
    subjects::Subject,
    table::{Class, Entry, Table},
    tokens::{Mark, Token},
};
use crate::time::Time;

/// Bytes that are gathered before they are written.
const CHUNK: usize = 256 << 10;

/// Calls a macro with every table of the memory.
macro_rules! each_table {
    ($memory:expr, $table:ident => $body:expr) => {{
        {
            let $table = &mut $memory.tokens.table;
            $body
        }
        {
            let $table = &mut $memory.subjects;
            $body
        }
        {
            let $table = &mut $memory.services;
            $body
        }
        {
            let $table = &mut $memory.families;
            $body
        }
        {
            let $table = &mut $memory.proofs;
            $body
        }
        {
            let $table = &mut $memory.ended;
            $body
        }
    }};
}

impl Memory {
    fn batch(&self, records: u64) -> Batch {
        Batch {
            own: self.clock.own,
            wall: self.clock.wall.unix_nanos(),
            records,
            next_service: self.next_service,
        }
    }

    /// Writes the whole state: a state file of its own, to which
    /// [`write_changes`](Self::write_changes) may be appended.
    ///
    /// # Errors
    /// What `out` gives.
    pub fn snapshot(&mut self, out: &mut impl Write) -> io::Result<()> {
        let mut records = 0;
        each_table!(self, table => { table.clear_changed(); records += table.len() as u64 });
        let mut chunk = Vec::with_capacity(CHUNK + (CHUNK >> 2));
        chunk.extend(header(&self.names));
        write_record(&self.names, &self.batch(records), &mut chunk);
        each_table!(self, table => for entry in table.iter() {
            write_record(&self.names, entry, &mut chunk);
            if chunk.len() >= CHUNK {
                out.write_all(&chunk)?;
                chunk.clear();
            }
        });
        out.write_all(&chunk)
    }

    /// Writes the header of a state file, and has the coming calls of
    /// [`write_changes`](Self::write_changes) write the whole state: a snapshot in pieces, which
    /// doesn't stop the pipeline. Complete when one of them leaves nothing.
    ///
    /// # Errors
    /// What `out` gives.
    pub fn begin_snapshot(&mut self, out: &mut impl Write) -> io::Result<()> {
        each_table!(self, table => table.mark_all());
        out.write_all(&header(&self.names))
    }

    /// Writes at most `limit` entries that changed since they were written last, as one batch.
    /// Gives how many are left. After an error the batch is lost: begin a new file.
    ///
    /// # Errors
    /// What `out` gives.
    pub fn write_changes(&mut self, limit: usize, out: &mut impl Write) -> io::Result<usize> {
        let mut records = Vec::new();
        let (mut count, mut left) = (0, 0);
        each_table!(self, table => {
            while count < limit && let Some(entry) = table.take_changed() {
                write_record(&self.names, entry, &mut records);
                count += 1;
            }
            left += table.changes();
        });
        if count > 0 {
            let mut batch = Vec::with_capacity(64);
            write_record(&self.names, &self.batch(count as u64), &mut batch);
            out.write_all(&batch)?;
            out.write_all(&records)?;
        }
        Ok(left)
    }

    /// Reads a state file back, and says what of it was lost to damage. Limits are the config's:
    /// of a larger state what ends first is forgotten, and counted as such.
    ///
    /// # Errors
    /// [`RestoreError`] where nothing can be used: begin with an empty memory, and say so.
    pub fn restore(
        secret: [u8; 16],
        config: MemoryConfig,
        bytes: &[u8],
    ) -> Result<(Self, Lost), RestoreError> {
        let mut memory = Self::new(secret, config);
        let names = Names::new(secret);
        let (head, mut rest) = bytes.split_at_checked(HEADER).ok_or(RestoreError::NotAState)?;
        if !head.starts_with(&MAGIC) {
            return Err(RestoreError::NotAState);
        }
        if head != header(&names) {
            return Err(RestoreError::OtherSecret);
        }
        let mut lost = Lost::default();
        let (mut announced, mut read, mut damaged) = (0_u64, 0_u64, 0_u64);
        while let Some(step) = read_record(&names, &mut rest) {
            let Step::Record(kind, mut reader) = step else {
                damaged += 1;
                continue;
            };
            if kind == BATCH {
                if let Some(batch) = Batch::decode(&mut reader) {
                    announced = announced.saturating_add(batch.records);
                    let own = memory.clock.own.max(batch.own);
                    memory.clock = Clock { wall: Time::from_unix_nanos(batch.wall), own };
                    memory.next_service = memory.next_service.max(batch.next_service);
                }
                continue;
            }
            let now = memory.clock.second();
            let taken = match kind {
                Token::KIND => Token::decode(&mut reader).map(|token| {
                    let proven = token.has(Token::VERIFIED)
                        || token.marks.iter().any(|m| m.has(Mark::ACCEPTED));
                    memory.tokens.put_back(now, token, class(proven));
                }),
                Subject::KIND => Subject::decode(&mut reader).map(|subject| {
                    let proven = subject.verified;
                    put_back(&mut memory.subjects, now, subject, proven);
                }),
                Service::KIND => Service::decode(&mut reader).map(|service| {
                    memory.next_service = memory.next_service.max(service.id.saturating_add(1));
                    put_back(&mut memory.services, now, service, true);
                }),
                KeyFamilies::KIND => KeyFamilies::decode(&mut reader).map(|families| {
                    let proven = families.verified != 0;
                    put_back(&mut memory.families, now, families, proven);
                }),
                Proof::KIND => Proof::decode(&mut reader)
                    .map(|proof| put_back(&mut memory.proofs, now, proof, true)),
                Ended::KIND => Ended::decode(&mut reader)
                    .map(|ended| put_back(&mut memory.ended, now, ended, true)),
                _ => None,
            };
            if taken.is_some() { read += 1 } else { damaged += 1 }
        }
        lost.records = announced.saturating_sub(read).max(damaged);
        lost.torn_bytes = rest.len() as u64;
        memory.next_service &= !Mark::FLAGS;
        // Tokens are held against the restored revocations at their next use.
        memory.revocations = 1;
        each_table!(memory, table => table.clear_changed());
        Ok((memory, lost))
    }
}

fn class(proven: bool) -> Class {
    if proven { Class::Proven } else { Class::Unproven }
}

/// Adds an entry, or replaces the one that was read before.
fn put_back<E: Entry>(table: &mut Table<E>, now: u32, entry: E, proven: bool) {
    match table.find(entry.key()) {
        Some(slot) => {
            if let Some(known) = table.get_mut(slot) {
                *known = entry;
            }
            if proven {
                table.promote(slot);
            }
        }
        None => {
            table.insert(now, entry, class(proven), &mut |_, _| {});
        }
    }
}
