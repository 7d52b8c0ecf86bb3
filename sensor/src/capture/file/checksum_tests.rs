use std::path::Path;

use proptest::prelude::*;

use super::{Checksum, MIN_RIGHT, judge};
use crate::capture::{
    Input,
    file::{
        CaptureFile, Skip,
        blocks::tests::Writer,
        packet::{
            decode,
            tests::{ethernet, ipv4, ipv6},
        },
    },
};

/// RFC 1071 by the letter: 16-bit words in network order.
fn plain(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|w| u32::from(w[0]) << 8 | w.get(1).map_or(0, |&b| b.into()));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap()
}

/// The pseudo-header of the addresses that `ipv4` and `ipv6` write, for this length.
fn pseudo(v6: bool, len: usize) -> Vec<u8> {
    let ip = if v6 { ipv6(6, &[]) } else { ipv4(0, 0, 6, &[]) };
    let mut out = ip[if v6 { 8..40 } else { 12..20 }].to_vec();
    out.extend([0, 6]);
    out.extend(u16::try_from(len).unwrap().to_be_bytes());
    out
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Sum {
    Right,
    Unfinished,
    WithoutLength,
    Zero,
    Wrong,
}

/// A segment between the ports 40000 and 8080.
fn tcp(v6: bool, back: bool, flags: u8, seq: u32, ack: u32, payload: &[u8], sum: Sum) -> Vec<u8> {
    let (from, to) = if back { (8_080_u16, 40_000_u16) } else { (40_000, 8_080) };
    let mut out = [from.to_be_bytes(), to.to_be_bytes()].concat();
    out.extend(seq.to_be_bytes());
    out.extend(ack.to_be_bytes());
    out.extend([5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
    out.extend(payload);
    let pseudo_of = |len| pseudo(v6, len);
    let right = !plain(&[pseudo_of(out.len()), out.clone()].concat());
    let field = match sum {
        Sum::Right => right,
        Sum::Unfinished => plain(&pseudo_of(out.len())),
        Sum::WithoutLength => plain(&pseudo_of(0)),
        Sum::Zero => 0,
        Sum::Wrong => right ^ 0x5555,
    };
    out[16..18].copy_from_slice(&field.to_be_bytes());
    out
}

fn checksum(link: u16, frame: &[u8], wire: usize) -> Checksum {
    decode(link, frame, u32::try_from(wire).unwrap()).unwrap().checksum(frame)
}

#[test]
fn tells_right_unfinished_and_wrong_apart() {
    for v6 in [false, true] {
        for payload in [&b""[..], b"x", b"hello", b"GET / HTTP/1.1\r\n\r\n"] {
            for (sum, expect) in [
                (Sum::Right, Checksum::Right),
                (Sum::Unfinished, Checksum::Unfinished),
                (Sum::WithoutLength, Checksum::Unfinished),
                (Sum::Zero, Checksum::Unfinished),
                (Sum::Wrong, Checksum::Wrong),
            ] {
                let tcp = tcp(v6, false, 0x18, 77, 88, payload, sum);
                let ip = if v6 { ipv6(6, &tcp) } else { ipv4(0, 0, 6, &tcp) };
                assert_eq!(checksum(101, &ip, ip.len()), expect, "{sum:?} {v6} {payload:?}");
            }
        }
    }
}

#[test]
fn padding_tags_and_options_are_not_covered() {
    let segment = tcp(false, false, 0x18, 1, 1, b"odd", Sum::Right);
    let mut frame = ethernet(&[(0x88a8, 7), (0x8100, 9)], 0x0800, &ipv4(2, 0, 6, &segment));
    frame.resize(frame.len() + 11, 0xee);
    assert_eq!(checksum(1, &frame, frame.len()), Checksum::Right);
}

#[test]
fn what_is_not_whole_is_not_known() {
    let ip = ipv4(0, 0, 6, &tcp(false, false, 0x18, 1, 1, &[b'x'; 2_000], Sum::Wrong));
    assert_eq!(checksum(101, &ip, ip.len()), Checksum::Wrong);
    assert_eq!(checksum(101, &ip[..ip.len() - 1], ip.len()), Checksum::Unknown);
    let mut offloaded = ip;
    offloaded[2..4].fill(0);
    assert_eq!(checksum(101, &offloaded, offloaded.len()), Checksum::Unknown);
}

proptest! {
    #[test]
    fn sums_as_the_rfc_does(bytes in prop::collection::vec(any::<u8>(), 20..300)) {
        let covered = [pseudo(false, bytes.len()), bytes.clone()].concat();
        let right = plain(&covered) == 0xffff;
        let (src, dst) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        prop_assert_eq!(judge(src, dst, &bytes) == Checksum::Right, right);
        // The same with its checksum put right.
        let mut bytes = bytes;
        bytes[16..18].fill(0);
        let sum = !plain(&[pseudo(false, bytes.len()), bytes.clone()].concat());
        bytes[16..18].copy_from_slice(&sum.to_be_bytes());
        prop_assert_eq!(judge(src, dst, &bytes), Checksum::Right);
        bytes[0] ^= 1;
        prop_assert!(judge(src, dst, &bytes) != Checksum::Right);
    }
}

const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// A packet of the client: flags, sequence number, payload, checksum, and whether it is given.
type Sent<'a> = (u8, u32, &'a [u8], Sum, bool);

enum Step<'a> {
    Client(Sent<'a>),
    /// The server acknowledges.
    Ack(u32),
}
use Step::{Ack, Client};

#[track_caller]
fn check(steps: &[Step<'_>]) {
    const W: Writer = Writer { big: false };
    for v6 in [false, true] {
        let mut file = W.pcap_header(0xa1b2_c3d4, 101);
        for step in steps {
            let (back, tcp) = match *step {
                Client((flags, seq, payload, sum, _)) => {
                    (false, tcp(v6, false, flags, seq, 1, payload, sum))
                }
                // The server's own checksums are up to its network card.
                Ack(ack) => (true, tcp(v6, true, ACK, 1, ack, b"", Sum::Unfinished)),
            };
            let mut ip = if v6 { ipv6(6, &tcp) } else { ipv4(0, 0, 6, &tcp) };
            if back {
                let (at, len) = if v6 { (8, 16) } else { (12, 4) };
                ip[at..at + 2 * len].rotate_left(len);
            }
            file.extend(W.record(1, 0, &ip, u32::try_from(ip.len()).unwrap()));
        }
        let source = std::io::Cursor::new(file);
        let mut capture = CaptureFile::from_reader(Path::new("a.pcap"), source, &[8_080]).unwrap();
        let mut dropped = 0;
        for (k, step) in steps.iter().enumerate() {
            let given = match step {
                Client((.., given)) => *given,
                Ack(_) => true,
            };
            dropped += u64::from(!given);
            if !given {
                continue;
            }
            let Some(Input::Segment(segment)) = capture.next().unwrap() else {
                panic!("step {k} gives no segment")
            };
            if let Client((_, seq, payload, ..)) = step {
                assert_eq!((segment.seq, segment.payload), (*seq, *payload), "step {k}");
            }
            assert_eq!(capture.counters().skipped(Skip::Checksum), dropped, "step {k}");
        }
        assert!(capture.next().unwrap().is_none());
        assert_eq!(capture.counters().skipped(Skip::Checksum), dropped);
    }
}

#[test]
fn a_wrong_checksum_counts_behind_a_right_handshake() {
    check(&[
        Client((SYN, 99, b"", Sum::Right, true)),
        Ack(100),
        Client((ACK, 100, b"", Sum::Right, true)),
        Client((ACK, 100, b"decoy", Sum::Wrong, false)),
        Client((ACK, 100, b"bytes", Sum::Right, true)),
        Ack(105),
        // Its bytes came with a right one, so that they are acknowledged says nothing.
        Client((ACK, 100, b"decoy", Sum::Wrong, false)),
        Client((RST, 105, b"", Sum::Wrong, false)),
        Client((SYN, 4_000_000, b"", Sum::Wrong, false)),
        Ack(105),
        Client((ACK, 105, b"decoy", Sum::Wrong, false)),
        Client((ACK, 105, b"by", Sum::Right, true)),
        Client((ACK, 107, b"tes", Sum::Right, true)),
        Ack(110),
        Client((ACK, 110, b"decoy", Sum::Wrong, false)),
    ]);
}

#[test]
fn it_takes_right_ones_first() {
    assert_eq!(MIN_RIGHT, 2);
    check(&[
        Client((ACK, 100, b"one", Sum::Right, true)),
        Client((ACK, 103, b"wrong", Sum::Wrong, true)),
        Client((ACK, 103, b"two", Sum::Right, true)),
        Client((ACK, 106, b"wrong", Sum::Wrong, false)),
    ]);
}

#[test]
fn captures_without_right_ones_stay_readable() {
    for sum in [Sum::Wrong, Sum::Unfinished, Sum::WithoutLength, Sum::Zero] {
        check(&[
            Client((SYN, 99, b"", sum, true)),
            Ack(100),
            Client((ACK, 100, b"", sum, true)),
            Client((ACK, 100, b"one", sum, true)),
            Ack(103),
            Client((ACK, 103, b"two", sum, true)),
            Client((ACK, 106, b"three", sum, true)),
            Ack(111),
            // It has been refuted for garbage; the others prove nothing.
            Client((ACK, 111, b"one", Sum::Right, true)),
            Client((ACK, 114, b"two", Sum::Right, true)),
            Client((ACK, 117, b"wrong", Sum::Wrong, sum == Sum::Wrong)),
        ]);
    }
}

#[test]
fn unfinished_ones_among_right_ones_are_given() {
    check(&[
        Client((SYN, 99, b"", Sum::Right, true)),
        Client((ACK, 100, b"", Sum::Right, true)),
        Client((ACK, 100, b"put together", Sum::Unfinished, true)),
        Client((ACK, 112, b"by", Sum::WithoutLength, true)),
        Client((ACK, 114, b"offload", Sum::Zero, true)),
    ]);
}

#[test]
fn an_acknowledged_wrong_one_refutes() {
    check(&[
        Client((SYN, u32::MAX - 1, b"", Sum::Right, true)),
        Client((ACK, u32::MAX, b"", Sum::Right, true)),
        Client((ACK, u32::MAX, b"taken", Sum::Wrong, false)),
        Ack(3),
        Client((ACK, 4, b"wrong", Sum::Wrong, false)),
        Ack(4),
        Ack(9),
        Client((ACK, 9, b"wrong", Sum::Wrong, true)),
        // The addresses are used again, on the same path.
        Client((SYN, 500, b"", Sum::Right, true)),
        Client((ACK, 501, b"wrong", Sum::Wrong, true)),
    ]);
}
