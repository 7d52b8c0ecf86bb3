//! From the bytes of a pcap or pcapng file to its captured frames.
//!
//! The crate `pcap-parser` reads the headers and blocks. Buffering, the framing of blocks and time
//! stand here: a block that contradicts itself must be told from a file that is cut off, and the
//! crate reads neither binary time resolutions, nor those finer than 2^-32 s, nor big-endian
//! `if_tsoffset`, nor the obsolete packet block.

use std::{
    io::{self, Read},
    ops::Range,
};

use pcap_parser::{
    parse_pcap_header,
    pcapng::{
        EnhancedPacketBlock, InterfaceDescriptionBlock, OptionCode, parse_enhancedpacketblock_be,
        parse_enhancedpacketblock_le, parse_interfacedescriptionblock_be,
        parse_interfacedescriptionblock_le,
    },
};

use crate::time::Time;

/// Bytes that are asked for in one read, and the buffer's size until a block needs more.
pub const READ_BYTES: usize = 256 << 10;

/// Largest captured frame of a pcap file: twice what Linux puts into one packet (512 KiB) and
/// four times what tcpdump asks for. More is taken for damage.
pub const MAX_FRAME_BYTES: usize = 1 << 20;

/// Largest block of a pcapng file. Blocks that are not packets may be this large.
pub const MAX_BLOCK_BYTES: usize = 16 << 20;

/// Most interfaces in one section of a pcapng file.
pub const MAX_INTERFACES: usize = 16_384;

const SECTION_HEADER: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
const INTERFACE_DESCRIPTION: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

/// Type, length, and length again.
const BLOCK_OVERHEAD: usize = 12;
const PCAP_HEADER: usize = 24;

/// Why reading ended early.
#[derive(Debug)]
pub(super) enum Stop {
    Io(io::Error),
    Empty,
    NotACapture,
    Truncated,
    Corrupt(&'static str),
}

/// A captured frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) link: u16,
    pub(super) at: Time,
    pub(super) wire_len: u32,
    /// Where its bytes lie in [`Blocks::bytes`], until the next call of [`Blocks::advance`].
    pub(super) bytes: Range<usize>,
}

#[derive(Clone, Copy)]
enum Format {
    Pcap { order: PcapOrder, nanos: bool, link: u16 },
    PcapNg { big_endian: bool },
}

#[derive(Clone, Copy)]
enum PcapOrder {
    Little,
    Big,
    /// Little endian with longer records, of a patched libpcap of the nineties.
    Modified,
}

/// What a pcapng packet has to know of its interface.
struct Interface {
    link: u16,
    snap_len: u32,
    unit: TimeUnit,
    offset_secs: i64,
}

/// What one tick of a timestamp is worth.
#[derive(Clone, Copy)]
enum TimeUnit {
    /// So many nanoseconds.
    Nanos(u64),
    /// So many make a nanosecond.
    PerNano(u64),
    /// 2^-n seconds.
    Binary(u32),
}

impl TimeUnit {
    /// From `if_tsresol` (pcapng, section 4.2).
    fn new(resolution: u8) -> Self {
        let exponent = u32::from(resolution & 0x7f);
        if resolution & 0x80 != 0 {
            Self::Binary(exponent)
        } else if exponent <= 9 {
            Self::Nanos(10_u64.pow(9 - exponent))
        } else {
            Self::PerNano(10_u64.saturating_pow(exponent - 9))
        }
    }

    fn nanos(self, ticks: u64) -> u64 {
        match self {
            Self::Nanos(n) => ticks.saturating_mul(n),
            Self::PerNano(n) => ticks / n,
            Self::Binary(n) => {
                // 2^64 ticks times 10^9 have 94 bits.
                u64::try_from((u128::from(ticks) * 1_000_000_000) >> n).unwrap_or(u64::MAX)
            }
        }
    }
}

/// Reads the blocks of a capture file one by one. Memory is bounded by [`MAX_BLOCK_BYTES`].
pub(super) struct Blocks<R> {
    source: R,
    buffer: Vec<u8>,
    /// What of the buffer is filled and not yet passed.
    live: Range<usize>,
    /// Where in the file `live` starts.
    offset: u64,
    format: Format,
    interfaces: Vec<Interface>,
    /// For packets without a timestamp.
    latest: Time,
}

impl<R: Read> Blocks<R> {
    /// Recognises the format by the first bytes.
    pub(super) fn new(source: R) -> Result<Self, Stop> {
        let mut blocks = Self {
            source,
            buffer: vec![0; READ_BYTES],
            live: 0..0,
            offset: 0,
            format: Format::PcapNg { big_endian: false },
            interfaces: Vec::new(),
            latest: Time::EPOCH,
        };
        if !blocks.fill(4)? {
            return Err(if blocks.live.is_empty() { Stop::Empty } else { Stop::NotACapture });
        }
        if blocks.pending().starts_with(&SECTION_HEADER) {
            return Ok(blocks);
        }
        let whole = blocks.fill(PCAP_HEADER)?;
        let header = match parse_pcap_header(blocks.pending()) {
            Ok((_, header)) => header,
            Err(pcap_parser::nom::Err::Incomplete(_)) if !whole => return Err(Stop::Truncated),
            Err(_) => return Err(Stop::NotACapture),
        };
        let order = if header.is_modified_format() {
            PcapOrder::Modified
        } else if header.is_bigendian() {
            PcapOrder::Big
        } else {
            PcapOrder::Little
        };
        let nanos = header.is_nanosecond_precision();
        // The upper half says how long the frame check sequences are.
        let [.., hi, lo] = header.network.0.to_be_bytes();
        blocks.format = Format::Pcap { order, nanos, link: u16::from_be_bytes([hi, lo]) };
        blocks.pass(PCAP_HEADER);
        Ok(blocks)
    }

    /// The bytes that a [`Frame`] points into.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// Where in the file the next block starts.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next captured frame; `None` where the file ends between two blocks.
    pub(super) fn advance(&mut self) -> Result<Option<Frame>, Stop> {
        match self.format {
            Format::Pcap { order, nanos, link } => self.pcap_record(order, nanos, link),
            Format::PcapNg { .. } => self.pcapng_block(),
        }
    }

    fn pending(&self) -> &[u8] {
        self.buffer.get(self.live.clone()).unwrap_or_default()
    }

    fn pass(&mut self, len: usize) {
        self.live.start = (self.live.start + len).min(self.live.end);
        self.offset += len as u64;
    }

    /// Sees to it that `need` bytes are pending; false where the file ends before.
    #[inline]
    fn fill(&mut self, need: usize) -> Result<bool, Stop> {
        if self.live.len() >= need { Ok(true) } else { self.read(need) }
    }

    fn read(&mut self, need: usize) -> Result<bool, Stop> {
        self.buffer.copy_within(self.live.clone(), 0);
        self.live = 0..self.live.len();
        // Grows with what arrives, so that a length that lies costs no memory.
        while self.live.len() < need {
            if self.live.end == self.buffer.len() {
                let larger = self.buffer.len() * 2;
                self.buffer.resize(larger, 0);
            }
            match self.source.read(self.buffer.get_mut(self.live.end..).unwrap_or_default()) {
                Ok(0) => return Ok(false),
                Ok(n) => self.live.end = (self.live.end + n).min(self.buffer.len()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Stop::Io(error)),
            }
        }
        Ok(true)
    }

    /// As [`Self::fill`] for the beginning of a block: false where the file ends just here.
    fn fill_or_end(&mut self, need: usize) -> Result<bool, Stop> {
        match self.fill(need)? {
            true => Ok(true),
            false if self.live.is_empty() => Ok(false),
            false => Err(Stop::Truncated),
        }
    }

    #[inline]
    fn pcap_record(
        &mut self,
        order: PcapOrder,
        nanos: bool,
        link: u16,
    ) -> Result<Option<Frame>, Stop> {
        let big_endian = matches!(order, PcapOrder::Big);
        let header = if matches!(order, PcapOrder::Modified) { 24 } else { 16 };
        if !self.fill_or_end(header)? {
            return Ok(None);
        }
        let words = self.pending().first_chunk::<16>().copied().unwrap_or_default();
        let (words, _) = words.as_chunks::<4>();
        let word = |at: usize| {
            let word = words.get(at).copied().unwrap_or_default();
            if big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) }
        };
        let [secs, fraction, captured, wire_len] = [0, 1, 2, 3].map(word);
        let captured = captured as usize;
        if captured > MAX_FRAME_BYTES {
            return Err(Stop::Corrupt("a captured length over the limit"));
        }
        if !self.fill(header + captured)? {
            return Err(Stop::Truncated);
        }
        let fraction = u64::from(fraction) * if nanos { 1 } else { 1_000 };
        let start = self.live.start + header;
        self.pass(header + captured);
        Ok(Some(Frame {
            link,
            at: Time::from_unix_nanos(u64::from(secs) * 1_000_000_000 + fraction),
            wire_len,
            bytes: start..start + captured,
        }))
    }

    fn pcapng_block(&mut self) -> Result<Option<Frame>, Stop> {
        loop {
            if !self.fill_or_end(BLOCK_OVERHEAD)? {
                return Ok(None);
            }
            if self.pending().starts_with(&SECTION_HEADER) {
                // The byte order holds from this block's own length on.
                let big_endian = match self.pending().get(8..12) {
                    Some([0x1a, 0x2b, 0x3c, 0x4d]) => true,
                    Some([0x4d, 0x3c, 0x2b, 0x1a]) => false,
                    _ => return Err(Stop::Corrupt("a section header without byte order")),
                };
                self.format = Format::PcapNg { big_endian };
                self.interfaces.clear();
            }
            let big_endian = matches!(self.format, Format::PcapNg { big_endian: true });
            let kind = u32_at(self.pending(), 0, big_endian);
            let len = u32_at(self.pending(), 4, big_endian) as usize;
            if len < BLOCK_OVERHEAD || !len.is_multiple_of(4) {
                return Err(Stop::Corrupt("an impossible block length"));
            }
            if len > MAX_BLOCK_BYTES {
                return Err(Stop::Corrupt("a block over the limit"));
            }
            if !self.fill(len)? {
                return Err(Stop::Truncated);
            }
            let start = self.live.start;
            let block = self.pending().get(..len).unwrap_or_default();
            if u32_at(block, len - 4, big_endian) as usize != len {
                return Err(Stop::Corrupt("a block whose two lengths differ"));
            }
            let frame = match kind {
                INTERFACE_DESCRIPTION => {
                    if self.interfaces.len() == MAX_INTERFACES {
                        return Err(Stop::Corrupt("more interfaces than the limit"));
                    }
                    let interface = interface(block, big_endian)?;
                    self.interfaces.push(interface);
                    None
                }
                ENHANCED_PACKET | OBSOLETE_PACKET | SIMPLE_PACKET => {
                    Some(self.packet(kind, block, start, big_endian)?)
                }
                // Statistics, names, secrets, comments.
                _ => None,
            };
            self.pass(len);
            if let Some(frame) = frame {
                self.latest = frame.at;
                return Ok(Some(frame));
            }
        }
    }

    fn packet(&self, kind: u32, block: &[u8], start: usize, big: bool) -> Result<Frame, Stop> {
        let unreadable = |_| Stop::Corrupt("an unreadable packet block");
        // The interface, the ticks, the lengths captured and on the wire, and where the frame lies.
        let (id, ticks, captured, wire_len, body) = match kind {
            ENHANCED_PACKET => {
                let parse =
                    if big { parse_enhancedpacketblock_be } else { parse_enhancedpacketblock_le };
                let (_, EnhancedPacketBlock { if_id, ts_high, ts_low, caplen, origlen, .. }) =
                    parse(block).map_err(unreadable)?;
                (if_id, Some((ts_high, ts_low)), caplen, origlen, 28)
            }
            OBSOLETE_PACKET => {
                let word = |at| u32_at(block, at, big);
                // The interface's number shares its word with a drop count.
                let id = if big { word(8) >> 16 } else { word(8) & 0xffff };
                (id, Some((word(12), word(16))), word(20), word(24), 28)
            }
            _ => {
                let wire_len = u32_at(block, 8, big);
                (0, None, wire_len, wire_len, 12)
            }
        };
        let Some(interface) = self.interfaces.get(id as usize) else {
            return Err(Stop::Corrupt("a packet of an interface that is not described"));
        };
        let (at, captured) = match ticks {
            Some((high, low)) => {
                let ticks = (u64::from(high) << 32) | u64::from(low);
                let nanos = interface.unit.nanos(ticks);
                let offset = interface.offset_secs.unsigned_abs().saturating_mul(1_000_000_000);
                let nanos = if interface.offset_secs < 0 {
                    nanos.saturating_sub(offset)
                } else {
                    nanos.saturating_add(offset)
                };
                (Time::from_unix_nanos(nanos), captured)
            }
            // A simple packet's captured length is not written down.
            None if interface.snap_len > 0 => (self.latest, captured.min(interface.snap_len)),
            None => (self.latest, captured),
        };
        let captured = captured as usize;
        if captured > block.len().saturating_sub(body + 4) {
            return Err(Stop::Corrupt("a packet that is longer than its block"));
        }
        let bytes = start + body..start + body + captured;
        Ok(Frame { link: interface.link, at, wire_len, bytes })
    }
}

fn interface(block: &[u8], big_endian: bool) -> Result<Interface, Stop> {
    let parse = if big_endian {
        parse_interfacedescriptionblock_be
    } else {
        parse_interfacedescriptionblock_le
    };
    let (_, InterfaceDescriptionBlock { linktype, snaplen, options, if_tsresol, .. }) =
        parse(block).map_err(|_| Stop::Corrupt("an unreadable interface description"))?;
    let offset = options.iter().find(|option| option.code == OptionCode::IfTsoffset);
    let offset = offset.and_then(|option| option.value().first_chunk::<8>());
    let from_bytes = if big_endian { i64::from_be_bytes } else { i64::from_le_bytes };
    Ok(Interface {
        link: u16::try_from(linktype.0).unwrap_or(u16::MAX),
        snap_len: snaplen,
        unit: TimeUnit::new(if_tsresol),
        offset_secs: offset.map_or(0, |&bytes| from_bytes(bytes)),
    })
}

/// The 32-bit number at an offset; 0 past the end.
fn u32_at(bytes: &[u8], at: usize, big_endian: bool) -> u32 {
    let bytes = bytes.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or_default();
    if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
}

#[cfg(test)]
#[path = "blocks_tests.rs"]
pub(crate) mod tests;
