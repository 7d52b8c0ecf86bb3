//! Captures in pcap and pcapng files, as tcpdump, dumpcap and Wireshark write them.
//!
//! [`CaptureFile`] gives the segments of a file in its order; [`packet`] reads one frame and
//! is pure. What gives no segment is counted by cause.
//!
//! A segment with a wrong TCP checksum is dropped by the service's kernel, and bytes that only the
//! sensor reads can hide what the service reads. But many captures hold wrong checksums of
//! segments that were received: [`Checksum`] has the rule by which one counts.
#![forbid(unsafe_code)]

mod blocks;
mod checksum;
pub mod packet;
mod roles;

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use self::{
    blocks::{Blocks, Stop},
    roles::Roles,
};
pub use self::{
    blocks::{MAX_BLOCK_BYTES, MAX_FRAME_BYTES, MAX_INTERFACES, READ_BYTES},
    checksum::{Checksum, MIN_RIGHT},
    packet::Skip,
    roles::MAX_PAIRS,
};
use super::{Direction, FlowKey, Input, Segment};

/// Why a capture file can't be read, or not to its end. One line that names the file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It can't be opened or read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is nothing in it.
    #[error("{}: the file is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// It begins like neither format.
    #[error("{}: not a pcap or pcapng file", path.display())]
    NotACapture {
        /// The file.
        path: PathBuf,
    },
    /// It ends in the middle of a record. Everything before has been given.
    #[error("{}: ends in the middle of packet {packet}, at byte {offset}", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// The packet that is not whole, counted from 1 as Wireshark does. Where a pcapng file
        /// ends in a block that is no packet, or any file in its header: the packet that was next.
        packet: u64,
        /// Where in the file the record starts that is not whole.
        offset: u64,
    },
    /// A record contradicts itself. Everything before has been given.
    #[error("{}: damaged at packet {packet}, byte {offset}: {reason}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The damaged packet, or the next one where no packet is damaged; counted from 1.
        packet: u64,
        /// Where in the file the damaged record starts.
        offset: u64,
        /// What is wrong there.
        reason: &'static str,
    },
}

/// What became of the packets of a file: `packets` = `segments` + the sum of `skipped`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets that were read.
    pub packets: u64,
    /// Segments that were given.
    pub segments: u64,
    skipped: [u64; Skip::ALL.len()],
}

impl Counters {
    /// Packets that gave no segment, for this cause.
    #[must_use]
    pub fn skipped(&self, cause: Skip) -> u64 {
        self.skipped.get(cause as usize).copied().unwrap_or_default()
    }

    fn skip(&mut self, cause: Skip) {
        if let Some(count) = self.skipped.get_mut(cause as usize) {
            *count += 1;
        }
    }
}

/// A capture file that is being read. Memory is bounded, whatever the file's size.
pub struct CaptureFile {
    path: PathBuf,
    blocks: Blocks<Box<dyn Read + Send>>,
    roles: Roles,
    counters: Counters,
    ended: bool,
}

impl CaptureFile {
    /// Opens a file, or standard input where the path is `-`.
    ///
    /// `ports` are the ports of the watched services. Where it is empty, every TCP connection is
    /// watched, on whatever port. The server is, by the first of these that applies: the receiver
    /// of a SYN or the sender of a SYN with ACK; the side on a watched port, where just one side is;
    /// the receiver of a request line or the sender of a status line; and as a guess, until there
    /// is better evidence, the side with the lower port number.
    ///
    /// # Errors
    /// The file can't be read, or is not a capture.
    pub fn open(path: &Path, ports: &[u16]) -> Result<Self, Error> {
        if path == Path::new("-") {
            return Self::from_reader(Path::new("standard input"), io::stdin(), ports);
        }
        let unreadable = |source| Error::Unreadable { path: path.into(), source };
        let file = File::open(path).map_err(unreadable)?;
        // Reading a folder fails too, but says so less well on some systems.
        if file.metadata().map_err(unreadable)?.is_dir() {
            return Err(unreadable(io::ErrorKind::IsADirectory.into()));
        }
        Self::from_reader(path, file, ports)
    }

    /// Reads a capture from anywhere; `path` names it in errors.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_reader(
        path: &Path,
        source: impl Read + Send + 'static,
        ports: &[u16],
    ) -> Result<Self, Error> {
        let source: Box<dyn Read + Send> = Box::new(source);
        let blocks = Blocks::new(source).map_err(|stop| error(path, stop, 1, 0))?;
        Ok(Self {
            path: path.into(),
            blocks,
            roles: Roles::new(ports),
            counters: Counters::default(),
            ended: false,
        })
    }

    /// The next segment of a watched service, always as [`Input::Segment`]; `None` at the end, and
    /// after an error.
    ///
    /// # Errors
    /// The file is cut off or damaged here, or can't be read on. It is said once, after
    /// everything before it was given.
    #[expect(clippy::should_implement_trait, reason = "what it gives borrows from the reader")]
    pub fn next(&mut self) -> Result<Option<Input<'_>>, Error> {
        let (frame, packet, direction) = loop {
            if self.ended {
                return Ok(None);
            }
            let frame = match self.blocks.advance() {
                Ok(Some(frame)) => frame,
                Ok(None) => {
                    self.ended = true;
                    return Ok(None);
                }
                Err(stop) => {
                    self.ended = true;
                    let packet = self.counters.packets + 1;
                    return Err(error(&self.path, stop, packet, self.blocks.offset()));
                }
            };
            self.counters.packets += 1;
            let bytes = self.blocks.bytes().get(frame.bytes.clone()).unwrap_or_default();
            let packet = match packet::decode(frame.link, bytes, frame.wire_len) {
                Ok(packet) => packet,
                Err(cause) => {
                    self.counters.skip(cause);
                    continue;
                }
            };
            match self.roles.direction(&packet, bytes) {
                Ok(direction) => break (frame, packet, direction),
                Err(cause) => self.counters.skip(cause),
            }
        };
        self.counters.segments += 1;
        let (client, server) = match direction {
            Direction::ToServer => (packet.src, packet.dst),
            Direction::ToClient => (packet.dst, packet.src),
        };
        let bytes = self.blocks.bytes().get(frame.bytes).unwrap_or_default();
        Ok(Some(Input::Segment(Segment {
            flow: FlowKey { client, server, scope: packet.scope },
            cookie: 0,
            direction,
            at: frame.at,
            seq: packet.seq,
            len: packet.len,
            payload: bytes.get(packet.payload).unwrap_or_default(),
            flags: packet.flags,
            ack: packet.ack,
            rcv_nxt: None,
            request: false,
        })))
    }

    /// What became of the packets so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}

fn error(path: &Path, stop: Stop, packet: u64, offset: u64) -> Error {
    let path = path.to_path_buf();
    match stop {
        Stop::Io(source) => Error::Unreadable { path, source },
        Stop::Empty => Error::Empty { path },
        Stop::NotACapture => Error::NotACapture { path },
        Stop::Truncated => Error::Truncated { path, packet, offset },
        Stop::Corrupt(reason) => Error::Corrupt { path, packet, offset, reason },
    }
}

#[cfg(test)]
mod tests;
