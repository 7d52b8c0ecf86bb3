//! Capture files made in Rust: scripted TCP connections with the sequence numbers, acknowledgements
//! and checksums of a real stack, written as pcap or pcapng.

use std::{
    io::{self, Write},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use jotwatch::capture::Direction;

/// When every capture begins: 2026-01-02T03:04:05Z, in nanoseconds.
const START: u64 = 1_767_323_045_000_000_000;

/// From one packet to the next, unless the script waits.
const STEP: u64 = 20_000;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;

/// The layer below IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Ethernet.
    Ethernet,
    /// Linux cooked, version 1.
    CookedV1,
    /// Linux cooked, version 2.
    CookedV2,
    /// IP without anything before it.
    Raw,
    /// BSD loopback, in the byte order of a little-endian host.
    Null,
}

impl Link {
    fn number(self) -> u16 {
        match self {
            Self::Ethernet => 1,
            Self::CookedV1 => 113,
            Self::CookedV2 => 276,
            Self::Raw => 101,
            Self::Null => 0,
        }
    }

    fn header(self, v6: bool, to_server: bool, vlan: &[(u16, u16)]) -> Vec<u8> {
        let ethertype: u16 = if v6 { 0x86dd } else { 0x0800 };
        let tags = vlan.iter().flat_map(|(tag, id)| [tag.to_be_bytes(), id.to_be_bytes()].concat());
        let (client, server) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let mut out = Vec::new();
        match self {
            Self::Ethernet => {
                let (src, dst) = if to_server { (client, server) } else { (server, client) };
                out.extend(dst);
                out.extend(src);
                out.extend(tags);
                out.extend(ethertype.to_be_bytes());
            }
            Self::CookedV1 => {
                // To us or from us, Ethernet, an address of 6 bytes.
                out.extend([0, if to_server { 0 } else { 4 }, 0, 1, 0, 6]);
                out.extend(if to_server { client } else { server });
                out.extend([0, 0]);
                out.extend(ethertype.to_be_bytes());
            }
            Self::CookedV2 => {
                out.extend(ethertype.to_be_bytes());
                out.extend([0, 0, 0, 0, 0, 2, 0, 1, if to_server { 0 } else { 4 }, 6]);
                out.extend(if to_server { client } else { server });
                out.extend([0, 0]);
            }
            Self::Raw => {}
            Self::Null => out.extend([if v6 { 30 } else { 2 }, 0, 0, 0]),
        }
        out
    }
}

/// One side of a connection: what it sent, and what it has received.
#[derive(Clone, Copy, Debug)]
struct Side {
    addr: SocketAddr,
    /// The next sequence number that it sends.
    next: u32,
    /// The next sequence number that it expects.
    expects: u32,
}

/// A TCP connection in a script.
#[derive(Clone, Debug)]
pub struct Connection {
    client: Side,
    server: Side,
    /// Most payload bytes of one segment.
    pub mss: usize,
    /// VLAN tags, outermost first: type and id.
    pub vlan: Vec<(u16, u16)>,
    /// The pcapng interface that sees it.
    pub interface: usize,
}

impl Connection {
    /// A connection that is not open yet. Addresses are `ip:port`.
    #[must_use]
    pub fn new(client: &str, server: &str) -> Self {
        let side = |addr: &str, isn| Side {
            addr: addr.parse().expect("an address in a script"),
            next: isn,
            expects: 0,
        };
        let mut made = Self {
            client: side(client, 0),
            server: side(server, 0),
            mss: 1_460,
            vlan: Vec::new(),
            interface: 0,
        };
        made.start_at(1_000_000, 3_000_000_000);
        made
    }

    /// Sets the initial sequence numbers.
    pub fn start_at(&mut self, client: u32, server: u32) {
        (self.client.next, self.client.expects) = (client, server);
        (self.server.next, self.server.expects) = (server, client);
    }

    fn sender(&mut self, direction: Direction) -> &mut Side {
        match direction {
            Direction::ToServer => &mut self.client,
            Direction::ToClient => &mut self.server,
        }
    }

    /// Takes `len` bytes for sent and received without a packet: lost to the capture only.
    pub fn pass_unseen(&mut self, direction: Direction, len: usize) {
        let len = u32::try_from(len).expect("a length in a script");
        let sender = self.sender(direction);
        sender.next = sender.next.wrapping_add(len);
        let next = sender.next;
        self.sender(direction.reverse()).expects = next;
    }
}

/// A segment that the script places by itself.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// Where it lies, counted from the next byte that its sender would send.
    pub offset: i64,
    /// Its payload.
    pub payload: &'a [u8],
    /// Whether its checksum is right.
    pub good_checksum: bool,
}

enum Format {
    Pcap(Link),
    PcapNg(Vec<Link>),
}

/// A capture that is being written.
pub struct Capture {
    format: Format,
    snap: usize,
    now: u64,
    ip_id: u16,
    out: Vec<u8>,
}

impl Capture {
    /// A little-endian pcap file with microseconds.
    #[must_use]
    pub fn pcap(link: Link) -> Self {
        let mut out = 0xa1b2_c3d4_u32.to_le_bytes().to_vec();
        out.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        out.extend(262_144_u32.to_le_bytes());
        out.extend(u32::from(link.number()).to_le_bytes());
        Self { format: Format::Pcap(link), snap: 262_144, now: START, ip_id: 0, out }
    }

    /// A little-endian pcapng file with nanoseconds and an interface for each link type.
    #[must_use]
    pub fn pcapng(links: &[Link]) -> Self {
        let mut made = Self {
            format: Format::PcapNg(links.to_vec()),
            snap: 262_144,
            now: START,
            ip_id: 0,
            out: Vec::new(),
        };
        // Byte order, version 1.0, a section of unknown length.
        let mut section = 0x1a2b_3c4d_u32.to_le_bytes().to_vec();
        section.extend([1, 0, 0, 0]);
        section.extend([0xff; 8]);
        made.block(0x0a0d_0d0a, &section);
        for link in links {
            let mut body = link.number().to_le_bytes().to_vec();
            body.extend([0, 0]);
            body.extend(262_144_u32.to_le_bytes());
            // if_tsresol 9, padded; end of options.
            body.extend([9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
            made.block(1, &body);
        }
        made
    }

    /// Cuts every packet to its first `bytes`.
    pub fn set_snap(&mut self, bytes: usize) {
        self.snap = bytes;
    }

    /// Lets time pass.
    pub fn wait(&mut self, time: Duration) {
        self.now += u64::try_from(time.as_nanos()).expect("a time in a script");
    }

    /// Lets time pass until so much behind the beginning, if that is still to come.
    pub fn wait_until(&mut self, since_start: Duration) {
        let nanos = u64::try_from(since_start.as_nanos()).expect("a time in a script");
        self.now = self.now.max(START + nanos);
    }

    /// The file's bytes.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// Moves what was written so far to `to`.
    ///
    /// # Errors
    /// As `to` gives them.
    pub fn flush_to(&mut self, to: &mut impl Write) -> io::Result<()> {
        to.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }

    fn block(&mut self, kind: u32, body: &[u8]) {
        let padded = body.len().next_multiple_of(4);
        let len = u32::try_from(padded + 12).expect("a block length").to_le_bytes();
        self.out.extend(kind.to_le_bytes());
        self.out.extend(len);
        self.out.extend(body);
        self.out.resize(self.out.len() + padded - body.len(), 0);
        self.out.extend(len);
    }

    /// SYN, SYN with ACK, ACK.
    pub fn handshake(&mut self, c: &mut Connection) {
        self.emit(c, Direction::ToServer, SYN, 0, &[], true);
        c.pass_unseen(Direction::ToServer, 1);
        self.emit(c, Direction::ToClient, SYN | ACK, 0, &[], true);
        c.pass_unseen(Direction::ToClient, 1);
        self.acknowledge(c, Direction::ToServer);
    }

    /// Sends bytes in segments of the connection's size. The receiver acknowledges every second
    /// one, and the last.
    pub fn send(&mut self, c: &mut Connection, direction: Direction, bytes: impl AsRef<[u8]>) {
        let mut pieces = bytes.as_ref().chunks(c.mss).enumerate().peekable();
        while let Some((k, piece)) = pieces.next() {
            let last = pieces.peek().is_none();
            self.emit(c, direction, if last { PSH | ACK } else { ACK }, 0, piece, true);
            c.pass_unseen(direction, piece.len());
            if last || k % 2 == 1 {
                self.acknowledge(c, direction.reverse());
            }
        }
    }

    /// A request and, 2 ms after it, its response.
    pub fn exchange(
        &mut self,
        c: &mut Connection,
        request: impl AsRef<[u8]>,
        response: impl AsRef<[u8]>,
    ) {
        self.send(c, Direction::ToServer, request);
        self.wait(Duration::from_millis(2));
        self.send(c, Direction::ToClient, response);
        self.wait(Duration::from_millis(1));
    }

    /// A segment that changes nothing about the connection: follow with [`Connection::pass_unseen`]
    /// and [`Self::acknowledge`] as the receiver would.
    pub fn piece(&mut self, c: &Connection, direction: Direction, piece: Piece<'_>) {
        let Piece { offset, payload, good_checksum } = piece;
        self.emit(c, direction, PSH | ACK, offset, payload, good_checksum);
    }

    /// A segment without payload that acknowledges all that was received.
    pub fn acknowledge(&mut self, c: &Connection, direction: Direction) {
        self.emit(c, direction, ACK, 0, &[], true);
    }

    /// One side sends no more; the other acknowledges.
    pub fn finish(&mut self, c: &mut Connection, direction: Direction) {
        self.emit(c, direction, FIN | ACK, 0, &[], true);
        c.pass_unseen(direction, 1);
        self.acknowledge(c, direction.reverse());
    }

    /// The server closes, then the client.
    pub fn close(&mut self, c: &mut Connection) {
        self.finish(c, Direction::ToClient);
        self.finish(c, Direction::ToServer);
    }

    /// One side tears the connection down.
    pub fn reset(&mut self, c: &Connection, direction: Direction) {
        self.emit(c, direction, RST | ACK, 0, &[], true);
    }

    fn emit(
        &mut self,
        c: &Connection,
        direction: Direction,
        flags: u8,
        offset: i64,
        payload: &[u8],
        good_checksum: bool,
    ) {
        let to_server = direction == Direction::ToServer;
        let (from, to) = if to_server { (c.client, c.server) } else { (c.server, c.client) };
        let seq = (i64::from(from.next) + offset).rem_euclid(1 << 32);
        let seq = u32::try_from(seq).expect("a sequence number");
        let ack = if flags & ACK != 0 { from.expects } else { 0 };

        // Timestamps as Linux sends them (RFC 7323), or the segment size with a SYN.
        let options: Vec<u8> = if flags & SYN != 0 {
            vec![2, 4, 5, 0xb4]
        } else {
            let ticks = u32::try_from((self.now - START) / 1_000_000).expect("a short capture");
            let mut out = vec![1, 1, 8, 10];
            out.extend(ticks.to_be_bytes());
            out.extend(ticks.to_be_bytes());
            out
        };
        let mut tcp = [from.addr.port().to_be_bytes(), to.addr.port().to_be_bytes()].concat();
        tcp.extend(seq.to_be_bytes());
        tcp.extend(ack.to_be_bytes());
        let words = u8::try_from(5 + options.len() / 4).expect("a header length");
        tcp.extend([words << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
        tcp.extend(options);
        tcp.extend(payload);

        let mut frame = self.link(c).header(from.addr.is_ipv6(), to_server, &c.vlan);
        self.ip_id = self.ip_id.wrapping_add(1);
        frame.extend(ip_packet(from.addr.ip(), to.addr.ip(), self.ip_id, tcp, good_checksum));
        self.write(c.interface, &frame);
        self.now += STEP;
    }

    fn link(&self, c: &Connection) -> Link {
        match &self.format {
            Format::Pcap(link) => *link,
            Format::PcapNg(links) => links[c.interface],
        }
    }

    fn write(&mut self, interface: usize, frame: &[u8]) {
        let wire = u32::try_from(frame.len()).expect("a frame length").to_le_bytes();
        let frame = &frame[..frame.len().min(self.snap)];
        let captured = u32::try_from(frame.len()).expect("a frame length").to_le_bytes();
        let word = |n: u64| u32::try_from(n).expect("a 32-bit number").to_le_bytes();
        match self.format {
            Format::Pcap(_) => {
                self.out.extend(word(self.now / 1_000_000_000));
                self.out.extend(word(self.now % 1_000_000_000 / 1_000));
                self.out.extend(captured);
                self.out.extend(wire);
                self.out.extend(frame);
            }
            Format::PcapNg(_) => {
                let mut body = word(interface as u64).to_vec();
                body.extend(word(self.now >> 32));
                body.extend(word(self.now & 0xffff_ffff));
                body.extend(captured);
                body.extend(wire);
                body.extend(frame);
                self.block(6, &body);
            }
        }
    }
}

fn ip_packet(src: IpAddr, dst: IpAddr, id: u16, mut tcp: Vec<u8>, good_checksum: bool) -> Vec<u8> {
    let len = u16::try_from(tcp.len()).expect("a segment length");
    let mut pseudo = Vec::with_capacity(tcp.len() + 40);
    let mut out = Vec::with_capacity(tcp.len() + 40);
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            out.extend([0x45, 0]);
            out.extend((len + 20).to_be_bytes());
            out.extend(id.to_be_bytes());
            out.extend([0x40, 0, 64, 6, 0, 0]);
            out.extend(src.octets());
            out.extend(dst.octets());
            let sum = checksum(&out);
            out[10..12].copy_from_slice(&sum.to_be_bytes());
            pseudo.extend(src.octets());
            pseudo.extend(dst.octets());
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            out.extend([0x60, 0, 0, 0]);
            out.extend(len.to_be_bytes());
            out.extend([6, 64]);
            out.extend(src.octets());
            out.extend(dst.octets());
            pseudo.extend(src.octets());
            pseudo.extend(dst.octets());
        }
        _ => panic!("a connection between two kinds of address"),
    }
    pseudo.extend([0, 6]);
    pseudo.extend(len.to_be_bytes());
    pseudo.extend(&tcp);
    let sum = checksum(&pseudo) ^ if good_checksum { 0 } else { 0x5555 };
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());
    out.extend(tcp);
    out
}

/// The internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |&low| low.into()))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("a folded sum")
}
