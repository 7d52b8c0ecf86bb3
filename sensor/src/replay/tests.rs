//! Held against one thread: whatever a file holds, several threads make the same of it.

use std::{
    fmt::Write as _,
    io::Cursor,
    net::Ipv4Addr,
    path::Path,
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use proptest::prelude::*;

use super::*;
use crate::{
    config::Config,
    event::{Event, ExchangeLine},
    features::SubjectLimits,
    finding::Severity,
    pipeline::{Assessed, Settings},
    score::Models,
    token::{
        FingerprintKey,
        testing::{good, jwk, sign},
    },
};

static MODELS: LazyLock<Models> = LazyLock::new(|| Models::built_in().unwrap());

const CLIENT: usize = 0;
const SERVER: usize = 1;

/// A pcap file that is being written, of raw IPv4 packets. A checksum of 0 is one that was left to
/// the network card.
struct File {
    bytes: Vec<u8>,
    millis: u64,
}

/// A connection between a client's port and the service.
#[derive(Clone, Copy)]
struct Peer {
    port: u16,
    next: [u32; 2],
}

impl Peer {
    fn new(port: u16, isn: u32) -> Self {
        Self { port, next: [isn, isn.wrapping_mul(7)] }
    }
}

impl File {
    fn new() -> Self {
        let mut bytes = 0xa1b2_c3d4_u32.to_le_bytes().to_vec();
        bytes.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend([65_535_u32, 101].map(u32::to_le_bytes).concat());
        Self { bytes, millis: 1_700_000_000_000 }
    }

    /// A segment `ahead` of the next byte of its sender.
    fn segment(&mut self, peer: &Peer, from: usize, flags: u8, ahead: u32, payload: &[u8]) {
        let ends = [(Ipv4Addr::new(10, 0, 0, 1), peer.port), (Ipv4Addr::new(10, 0, 0, 2), 8080)];
        let (src, dst) = (ends[from], ends[1 - from]);
        let mut packet = vec![0x45, 0];
        packet.extend(u16::try_from(40 + payload.len()).unwrap().to_be_bytes());
        packet.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
        packet.extend([src.0.octets(), dst.0.octets()].concat());
        packet.extend([src.1.to_be_bytes(), dst.1.to_be_bytes()].concat());
        let (seq, ack) = (peer.next[from].wrapping_add(ahead), peer.next[1 - from]);
        packet.extend([seq, ack].map(u32::to_be_bytes).concat());
        packet.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        packet.extend(payload);
        let len = u32::try_from(packet.len()).unwrap();
        let (secs, micros) = (self.millis / 1000, self.millis % 1000 * 1000);
        let times = [secs, micros].map(|n| u32::try_from(n).unwrap().to_le_bytes());
        self.bytes.extend([times, [len; 2].map(u32::to_le_bytes)].concat().concat());
        self.bytes.extend(packet);
        self.millis += 1;
    }

    fn open(&mut self, peer: &mut Peer) {
        self.segment(peer, CLIENT, 0x02, 0, b"");
        peer.next[CLIENT] = peer.next[CLIENT].wrapping_add(1);
        self.segment(peer, SERVER, 0x12, 0, b"");
        peer.next[SERVER] = peer.next[SERVER].wrapping_add(1);
    }

    fn send(&mut self, peer: &mut Peer, from: usize, bytes: &[u8]) {
        self.segment(peer, from, 0x18, 0, bytes);
        peer.next[from] = peer.next[from].wrapping_add(bytes.len() as u32);
    }
}

/// What happens next on one of some connections.
#[derive(Clone, Debug)]
enum Act {
    /// A request with this path and token, in so many segments, the last one first where `swapped`.
    Request {
        path: usize,
        token: usize,
        pieces: usize,
        swapped: bool,
    },
    /// An answer of this status with so many bytes, of which the last ones may be missing.
    Answer {
        status: u16,
        bytes: usize,
        missing: usize,
    },
    /// The service's TCP has all.
    Acknowledge,
    /// Bytes on both sides that are none of the above.
    Bytes {
        from: usize,
        what: usize,
    },
    /// Other bytes for the same place as those before.
    Again {
        back: u32,
    },
    /// Bytes that the capture missed.
    Lost {
        from: usize,
    },
    End {
        flags: u8,
        from: usize,
    },
    /// The same addresses, another connection.
    Reopen,
    Wait {
        millis: u64,
    },
}

const PATHS: [&str; 5] = [
    "/orders/7",
    "/orders/8?q=1%27%20OR%20%271%27=%271",
    "/.well-known/jwks.json",
    "/../../etc/passwd",
    "/search?token=x",
];

const BYTES: [&[u8]; 5] = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET nothing\r\n\r\n",
    b"\x00\x01\x02\x03 no protocol that anybody knows of\r\n\r\n",
    b"POST /u HTTP/1.1\r\nHost: h\r\nContent-Length: 30\r\nTransfer-Encoding: chunked\r\n\r\n",
];

static TOKENS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let claims = |subject: &str| {
        format!(r#"{{"iss":"https://id.example","sub":"{subject}","aud":"api","jti":"{subject}"}}"#)
    };
    let signed = |number, subject| sign(number, r#"{"alg":"EdDSA"}"#, &claims(subject));
    vec![
        good("alice"),
        "eyJhbGciOiJub25lIn0.e30.".to_owned(),
        // Of the issuer whose keys are seen on the way.
        signed(1, "bob"),
        signed(2, "mallory"),
        signed(1, "x' OR '1'='1"),
        "opaque".to_owned(),
    ]
});

fn play(acts: &[(usize, Act)]) -> Vec<u8> {
    let mut file = File::new();
    let mut peers: Vec<Peer> = (0..6).map(|k| Peer::new(40_000 + k, 1000)).collect();
    for peer in &mut peers {
        file.open(peer);
    }
    let keys = format!("{{\"keys\":[{}]}}", jwk(1));
    let mut asked = [0; 6];
    for (turn, (number, act)) in (2_000..).zip(acts) {
        let peer = &mut peers[*number];
        match *act {
            Act::Request { path, token, pieces, swapped } => {
                asked[*number] = path;
                let text = format!(
                    "GET {} HTTP/1.1\r\nHost: id.example\r\nAuthorization: Bearer {}\r\n\r\n",
                    PATHS[path], TOKENS[token]
                );
                let size = text.len().div_ceil(pieces);
                let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
                if let (true, [first, second, ..]) = (swapped, &pieces[..]) {
                    file.segment(peer, CLIENT, 0x18, first.len() as u32, second);
                }
                for piece in pieces {
                    file.send(peer, CLIENT, piece);
                }
            }
            Act::Answer { status, bytes, missing } => {
                // A key set where one was asked for.
                let is_keys = asked[*number] == 2 && status == 200;
                let body = if is_keys { keys.clone() } else { "b".repeat(bytes) };
                let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", body.len());
                file.send(peer, SERVER, head.as_bytes());
                let body = &body.as_bytes()[..body.len() - missing.min(body.len())];
                if !body.is_empty() {
                    file.send(peer, SERVER, body);
                }
            }
            Act::Acknowledge => file.segment(peer, SERVER, 0x10, 0, b""),
            Act::Bytes { from, what } => file.send(peer, from, BYTES[what]),
            Act::Again { back } => {
                file.segment(peer, CLIENT, 0x18, 0_u32.wrapping_sub(back), b"0123456789");
            }
            Act::Lost { from } => peer.next[from] = peer.next[from].wrapping_add(40),
            Act::End { flags, from } => file.segment(peer, from, flags, 0, b""),
            Act::Reopen => {
                *peer = Peer::new(peer.port, 1_000 * turn);
                file.open(peer);
            }
            Act::Wait { millis } => file.millis += millis,
        }
    }
    file.bytes
}

/// Writes down all that comes out.
#[derive(Default)]
struct Told {
    text: String,
    lines: usize,
}

impl Output for Told {
    fn event(&mut self, event: Event) {
        let mut line = Vec::new();
        event.write(&mut line);
        self.text += std::str::from_utf8(&line).unwrap();
        self.text += "\n";
        self.lines += 1;
    }

    fn wants_exchanges(&self) -> bool {
        true
    }

    fn exchange(&mut self, line: &ExchangeLine<'_>) {
        let mut text = Vec::new();
        line.write(&mut text);
        self.text += std::str::from_utf8(&text).unwrap();
    }

    fn wants_assessed(&self) -> bool {
        true
    }

    fn assessed(&mut self, assessed: &Assessed<'_>) {
        writeln!(self.text, "{assessed:?}").unwrap();
    }

    fn copy_whole(&mut self, target: &[u8]) {
        writeln!(self.text, "whole {target:?}").unwrap();
    }

    fn stop_flow(&mut self, cookie: u64) {
        writeln!(self.text, "stop {cookie}").unwrap();
    }
}

fn pipeline() -> Pipeline {
    let mut settings = Settings::new(&Config::default(), FingerprintKey::new([7; 16]), [1; 16]);
    (settings.memory.tokens, settings.memory.subjects) = (1_000, 1_000);
    (settings.memory.proofs, settings.memory.revocations) = (1_000, 1_000);
    settings.subjects = SubjectLimits { vouched: 100, others: 100 };
    settings.models = Some(MODELS.clone());
    settings.min_severity = Severity::Info;
    // Little enough for every limit to be met.
    (settings.max_flows, settings.max_held_bytes) = (5, 2_000);
    (settings.idle, settings.answer) = (Duration::from_secs(2), Duration::from_millis(40));
    Pipeline::new(settings)
}

fn read(file: &[u8], threads: usize) -> (String, String, usize) {
    let (mut pipeline, mut told) = (pipeline(), Told::default());
    let path = Path::new("a.pcap");
    let mut capture = CaptureFile::from_reader(path, Cursor::new(file.to_vec()), &[8080]).unwrap();
    let threads = NonZero::new(threads).unwrap();
    let end = super::read(&mut pipeline, &mut capture, threads, &mut told, |_| true);
    let rest = format!("{:?} {:?} {:?}", end, pipeline.stats(), capture.counters());
    (told.text, rest, told.lines)
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (0..PATHS.len(), 0..6_usize, 1..4_usize, any::<bool>()).prop_map(
            |(path, token, pieces, swapped)| Act::Request { path, token, pieces, swapped }
        ),
        8 => (prop_oneof![Just(200), Just(401), Just(500)], 0..400_usize, 0..20_usize)
            .prop_map(|(status, bytes, missing)| {
                Act::Answer { status, bytes, missing: missing.saturating_sub(15) }
            }),
        3 => Just(Act::Acknowledge),
        1 => (0..2_usize, 0..BYTES.len()).prop_map(|(from, what)| Act::Bytes { from, what }),
        1 => (1..30_u32).prop_map(|back| Act::Again { back }),
        1 => (0..2_usize).prop_map(|from| Act::Lost { from }),
        1 => (prop_oneof![Just(0x11), Just(0x14)], 0..2_usize)
            .prop_map(|(flags, from)| Act::End { flags, from }),
        2 => Just(Act::Reopen),
        2 => prop_oneof![1..60_u64, 240..300_u64, 1_000..3_000_u64]
            .prop_map(|millis| Act::Wait { millis }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn several_threads_tell_what_one_does(
        acts in prop::collection::vec((0..6_usize, act()), 1..120),
        cut in 0..200_usize,
    ) {
        let mut file = play(&acts);
        // Half of the files end in the middle of a packet.
        file.truncate(file.len() - cut.saturating_sub(100).min(file.len() - 24));
        let one = read(&file, 1);
        for threads in [2, 3, 8] {
            prop_assert_eq!(&read(&file, threads), &one, "{} threads", threads);
        }
    }
}

/// What the random files are made of is there: limits, learned keys and evictions among others.
#[test]
fn keys_that_are_learned_on_the_way_count_from_there_on() {
    let ask = |path, token| {
        let request = Act::Request { path, token, pieces: 1, swapped: false };
        [(0, request), (0, Act::Answer { status: 200, bytes: 3, missing: 0 })]
    };
    let acts = [ask(4, 2), ask(2, 5), ask(4, 2), ask(4, 3), ask(4, 4)].concat();
    let one = read(&play(&acts), 1);
    assert!(one.0.contains("\"verified_by\":\"learned\""), "{}", one.0);
    assert!(one.0.contains("\"outcome\":\"accepted\""), "{}", one.0);
    for threads in [2, 3, 8] {
        assert_eq!(read(&play(&acts), threads), one);
    }
}

#[test]
fn reading_ends_where_nobody_goes_on() {
    let request = Act::Request { path: 1, token: 1, pieces: 1, swapped: false };
    let acts: Vec<_> = (0..300).map(|k| (k % 6, request.clone())).collect();
    let file = play(&acts);
    for threads in [1, 2, 8] {
        let (mut pipeline, mut told) = (pipeline(), Told::default());
        let mut capture =
            CaptureFile::from_reader(Path::new("a"), Cursor::new(file.clone()), &[8080]).unwrap();
        let asked = AtomicUsize::new(0);
        let threads = NonZero::new(threads).unwrap();
        let end = super::read(&mut pipeline, &mut capture, threads, &mut told, |_| {
            asked.fetch_add(1, Ordering::Relaxed) < 3
        });
        assert!(end.is_ok());
        assert_eq!(asked.into_inner(), 4);
        assert!(capture.counters().packets < 300, "{:?}", capture.counters());
    }
}

/// A panic of one thread ends all of them, and is seen.
#[test]
fn a_panic_is_passed_on() {
    struct Breaks;
    impl Output for Breaks {
        fn event(&mut self, _: Event) {
            panic!("on purpose");
        }
    }
    let request = Act::Request { path: 1, token: 1, pieces: 1, swapped: false };
    let acts: Vec<_> = (0..300).map(|k| (k % 6, request.clone())).collect();
    let mut capture =
        CaptureFile::from_reader(Path::new("a"), Cursor::new(play(&acts)), &[8080]).unwrap();
    let mut pipeline = pipeline();
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        super::read(&mut pipeline, &mut capture, NonZero::new(3).unwrap(), &mut Breaks, |_| true)
    }));
    assert!(ended.is_err());
}
