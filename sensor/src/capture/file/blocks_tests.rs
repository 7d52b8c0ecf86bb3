use std::io::{self, Read};

use proptest::prelude::*;

use super::{Blocks, Frame, MAX_FRAME_BYTES, READ_BYTES, Stop, TimeUnit};

/// Writes numbers in one byte order.
#[derive(Clone, Copy)]
pub(crate) struct Writer {
    pub(crate) big: bool,
}

impl Writer {
    fn u16(self, n: u16) -> [u8; 2] {
        if self.big { n.to_be_bytes() } else { n.to_le_bytes() }
    }

    fn u32(self, n: u32) -> [u8; 4] {
        if self.big { n.to_be_bytes() } else { n.to_le_bytes() }
    }

    pub(crate) fn pcap_header(self, magic: u32, link: u32) -> Vec<u8> {
        let mut out = self.u32(magic).to_vec();
        out.extend([self.u16(2), self.u16(4)].concat());
        out.extend([0, 0, 65_535, link].map(|n| self.u32(n)).concat());
        out
    }

    pub(crate) fn record(self, secs: u32, fraction: u32, frame: &[u8], wire: u32) -> Vec<u8> {
        let len = u32::try_from(frame.len()).unwrap();
        let mut out = [secs, fraction, len, wire].map(|n| self.u32(n)).concat();
        out.extend(frame);
        out
    }

    pub(crate) fn block(self, kind: u32, body: &[u8]) -> Vec<u8> {
        let padded = body.len().next_multiple_of(4);
        let len = self.u32(u32::try_from(padded + 12).unwrap());
        let mut out = [self.u32(kind), len].concat();
        out.extend(body);
        out.resize(8 + padded, 0);
        out.extend(len);
        out
    }

    pub(crate) fn section(self) -> Vec<u8> {
        let mut body = self.u32(0x1a2b_3c4d).to_vec();
        body.extend([self.u16(1), self.u16(0)].concat());
        body.extend([0xff; 8]);
        self.block(0x0a0d_0d0a, &body)
    }

    pub(crate) fn interface(self, link: u16, snap: u32, options: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = [self.u16(link), self.u16(0)].concat();
        body.extend(self.u32(snap));
        for (code, value) in options {
            body.extend(self.u16(*code));
            body.extend(self.u16(u16::try_from(value.len()).unwrap()));
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        if !options.is_empty() {
            body.extend([0; 4]);
        }
        self.block(1, &body)
    }

    pub(crate) fn enhanced(self, id: u32, ticks: u64, frame: &[u8], wire: u32) -> Vec<u8> {
        let len = u32::try_from(frame.len()).unwrap();
        let (high, low) = ((ticks >> 32) as u32, ticks as u32);
        let mut body = [id, high, low, len, wire].map(|n| self.u32(n)).concat();
        body.extend(frame);
        self.block(6, &body)
    }
}

const ORDERS: [Writer; 2] = [Writer { big: false }, Writer { big: true }];

type Packets = Vec<(u16, u64, u32, Vec<u8>)>;

fn read(source: impl Read) -> (Packets, Option<Stop>) {
    let mut packets = Vec::new();
    let mut blocks = match Blocks::new(source) {
        Ok(blocks) => blocks,
        Err(stop) => return (packets, Some(stop)),
    };
    loop {
        match blocks.advance() {
            Ok(Some(Frame { link, at, wire_len, bytes })) => {
                packets.push((link, at.unix_nanos(), wire_len, blocks.bytes()[bytes].to_vec()));
            }
            Ok(None) => return (packets, None),
            Err(stop) => return (packets, Some(stop)),
        }
    }
}

#[track_caller]
fn packets(file: &[u8]) -> Packets {
    let (packets, stop) = read(file);
    assert!(stop.is_none(), "{stop:?}");
    packets
}

#[test]
fn reads_pcap_in_both_orders_and_resolutions() {
    for w in ORDERS {
        for (magic, nanos) in [(0xa1b2_c3d4, 5_000), (0xa1b2_3c4d, 5)] {
            // The upper half of the link type holds flags of the frame check sequence.
            let mut file = w.pcap_header(magic, 0x1400_0071);
            file.extend(w.record(3, 5, b"abc", 1_000));
            file.extend(w.record(4, 0, b"", 0));
            assert_eq!(
                packets(&file),
                [
                    (113, 3_000_000_000 + nanos, 1_000, b"abc".to_vec()),
                    (113, 4_000_000_000, 0, vec![])
                ]
            );
        }
    }
    let w = Writer { big: false };
    let mut modified = w.pcap_header(0xa1b2_cd34, 1);
    modified.extend([3, 5, 3, 9, 0, 0].map(|n| w.u32(n)).concat());
    modified.extend(b"abc");
    assert_eq!(packets(&modified), [(1, 3_000_005_000, 9, b"abc".to_vec())]);
}

#[test]
fn reads_pcapng_with_several_interfaces_and_sections() {
    for w in ORDERS {
        let offset = if w.big { (-2_i64).to_be_bytes() } else { (-2_i64).to_le_bytes() };
        let mut file = w.section();
        file.extend(w.interface(1, 0, &[]));
        file.extend(w.interface(101, 0, &[(2, b"eth7"), (9, &[9]), (14, &offset)]));
        file.extend(w.interface(113, 0, &[(9, &[0x80 | 10])]));
        file.extend(w.interface(0, 4, &[(9, &[12])]));
        file.extend(w.block(5, b"statistics"));
        file.extend(w.enhanced(0, 7_000_001, b"micro", 5));
        file.extend(w.enhanced(1, 5_000_000_003, b"nano", 99));
        file.extend(w.enhanced(2, 3 * 1024 + 512, b"binary", 6));
        file.extend(w.enhanced(3, 9_000_000_004_567, b"pico", 6));
        // Obsolete packet block: interface 1 and a drop count, then as the enhanced one.
        let mut old = [w.u16(1), w.u16(77)].concat();
        old.extend([1, 0, 3, 3].map(|n| w.u32(n)).concat());
        old.extend(b"old");
        file.extend(w.block(2, &old));
        file.extend(w.section());
        file.extend(w.interface(12, 2, &[]));
        file.extend(w.block(3, &[&w.u32(6)[..], b"simple"].concat()));
        let old_at = (1_u64 << 32) - 2_000_000_000;
        assert_eq!(
            packets(&file),
            [
                (1, 7_000_001_000, 5, b"micro".to_vec()),
                (101, 3_000_000_003, 99, b"nano".to_vec()),
                (113, 3_500_000_000, 6, b"binary".to_vec()),
                (0, 9_000_000_004, 6, b"pico".to_vec()),
                (101, old_at, 3, b"old".to_vec()),
                (12, old_at, 6, b"si".to_vec()),
            ]
        );
    }
}

#[test]
fn time_units_hold_at_their_ends() {
    for resolution in 0..=u8::MAX {
        let unit = TimeUnit::new(resolution);
        assert_eq!(unit.nanos(0), 0);
        assert!(unit.nanos(u64::MAX) >= unit.nanos(1));
    }
    assert_eq!(TimeUnit::new(0).nanos(2), 2_000_000_000);
    assert_eq!(TimeUnit::new(0x80).nanos(2), 2_000_000_000);
    assert_eq!(TimeUnit::new(0xbf).nanos(1 << 63), 1_000_000_000);
}

fn sample_files() -> Vec<(Vec<u8>, Vec<usize>)> {
    let mut files = Vec::new();
    for w in ORDERS {
        let mut parts = vec![w.pcap_header(0xa1b2_c3d4, 1)];
        let mut ng = vec![w.section(), w.interface(1, 0, &[(9, &[9])])];
        for k in 0..4_u32 {
            let frame = vec![b'x'; (k * 3) as usize];
            parts.push(w.record(k, k, &frame, k * 3));
            ng.push(w.enhanced(0, k.into(), &frame, k * 3));
            ng.push(w.block(5, b"statistics"));
        }
        for parts in [parts, ng] {
            let ends = parts.iter().scan(0, |at, part| {
                *at += part.len();
                Some(*at)
            });
            files.push((parts.concat(), ends.collect()));
        }
    }
    files
}

#[test]
fn a_file_that_is_cut_gives_every_whole_packet_and_says_where() {
    for (file, ends) in sample_files() {
        let all = packets(&file);
        for cut in 0..file.len() {
            let mut blocks = match Blocks::new(&file[..cut]) {
                Ok(blocks) => blocks,
                Err(stop) => {
                    assert!(cut < 24);
                    assert!(match stop {
                        Stop::Empty => cut == 0,
                        Stop::NotACapture => (1..4).contains(&cut),
                        Stop::Truncated => cut >= 4,
                        _ => false,
                    });
                    continue;
                }
            };
            let mut got = Vec::new();
            let stop = loop {
                match blocks.advance() {
                    Ok(Some(f)) => got.push((
                        f.link,
                        f.at.unix_nanos(),
                        f.wire_len,
                        blocks.bytes()[f.bytes].to_vec(),
                    )),
                    Ok(None) => break None,
                    Err(stop) => break Some(stop),
                }
            };
            let last = ends.iter().rfind(|&&end| end <= cut).copied().unwrap_or(0);
            assert_eq!(got, all[..got.len()]);
            assert_eq!(blocks.offset(), last as u64);
            assert_eq!(matches!(stop, Some(Stop::Truncated)), last != cut, "{cut}");
            // Not one whole packet is missing.
            assert_eq!(packets(&file[..last.max(ends[0])]), got);
        }
    }
}

#[test]
fn damage_is_told_from_a_cut() {
    let w = Writer { big: false };
    let reason = |file: &[u8]| match read(file) {
        (_, Some(Stop::Corrupt(reason))) => reason,
        other => panic!("{other:?}"),
    };
    let mut long = w.pcap_header(0xa1b2_c3d4, 1);
    long.extend([0, 0, u32::try_from(MAX_FRAME_BYTES).unwrap() + 1, 9].map(|n| w.u32(n)).concat());
    assert!(reason(&long).contains("over the limit"));
    assert!(reason(&[w.section(), w.enhanced(0, 0, b"x", 1)].concat()).contains("not described"));
    for k in [4, 28] {
        let mut lengths = [w.section(), w.block(5, b"statistics"), w.block(5, b"more")].concat();
        lengths[28 + 4] = k;
        assert!(reason(&lengths).contains("length"));
    }
    let mut inside = [w.section(), w.interface(1, 0, &[]), w.enhanced(0, 0, b"abcd", 4)].concat();
    let at = inside.len() - 36 + 20;
    inside[at] = 9;
    assert!(reason(&inside).contains("packet"));
    assert!(matches!(read(&b"\x1f\x8b\x08\x00gzip"[..]).1, Some(Stop::NotACapture)));
}

/// Gives a few bytes at a time, and is interrupted now and then.
struct Trickle<'a>(&'a [u8], usize);

impl Read for Trickle<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.1 += 1;
        if self.1.is_multiple_of(3) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let len = buf.len().min(self.1 % 7 + 1);
        self.0.read(&mut buf[..len])
    }
}

#[test]
fn how_the_source_gives_its_bytes_changes_nothing() {
    for (file, _) in sample_files() {
        assert_eq!(read(Trickle(&file, 0)).0, packets(&file));
    }
    let w = Writer { big: true };
    let mut file = w.pcap_header(0xa1b2_c3d4, 1);
    for k in 1..12_u32 {
        let frame = vec![k as u8; (k as usize * 65_521) % (2 * READ_BYTES)];
        file.extend(w.record(k, 0, &frame, 0));
    }
    file.extend(w.record(99, 0, &vec![7; MAX_FRAME_BYTES], 0));
    let got = packets(&file);
    assert_eq!(got.len(), 12);
    assert!(got.iter().all(|(_, at, _, frame)| {
        let byte = if *at > 98_000_000_000 { 7 } else { (at / 1_000_000_000) as u8 };
        frame.iter().all(|&b| b == byte)
    }));
}

struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::PermissionDenied.into())
    }
}

#[test]
fn a_failed_read_is_its_own_error() {
    assert!(matches!(Blocks::new(Broken), Err(Stop::Io(_))));
    let (file, _) = sample_files().swap_remove(0);
    let (got, stop) = read(file.as_slice().chain(Broken));
    assert_eq!(got, packets(&file));
    assert!(matches!(stop, Some(Stop::Io(_))));
}

proptest! {
    #[test]
    fn changed_bytes_never_panic(
        sample in 0..4_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let (mut file, _) = sample_files().swap_remove(sample);
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        let (got, _) = read(file.as_slice());
        prop_assert!(got.len() <= file.len() / 12);
    }

    #[test]
    fn random_bytes_never_panic(sample in 0..4_usize, tail in prop::collection::vec(any::<u8>(), 0..300)) {
        let (mut file, ends) = sample_files().swap_remove(sample);
        file.truncate(ends[1]);
        file.extend(tail);
        let (got, _) = read(file.as_slice());
        prop_assert!(got.len() <= file.len() / 12);
    }
}
