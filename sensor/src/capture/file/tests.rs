use std::{fs, path::Path};

use super::{
    CaptureFile, Error, Skip,
    blocks::tests::Writer,
    packet::tests::{ethernet, ipv4, ipv6, tcp},
};
use crate::capture::{Direction, Input};

const W: Writer = Writer { big: false };

fn file(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut out = W.pcap_header(0xa1b2_c3d4, 1);
    for (frame, k) in frames.iter().zip(1..) {
        out.extend(W.record(k, 0, frame, u32::try_from(frame.len()).unwrap()));
    }
    out
}

fn from_bytes(bytes: Vec<u8>) -> Result<CaptureFile, Error> {
    CaptureFile::from_reader(Path::new("a.pcap"), std::io::Cursor::new(bytes), &[])
}

/// Sequence number and payload of each segment, and the error at the end.
fn drain(capture: &mut CaptureFile) -> (Vec<(Direction, Vec<u8>)>, Option<String>) {
    let mut out = Vec::new();
    loop {
        match capture.next() {
            Ok(Some(Input::Segment(s))) => out.push((s.direction, s.payload.to_vec())),
            Ok(Some(other)) => panic!("{other:?}"),
            Ok(None) => return (out, None),
            Err(error) => return (out, Some(error.to_string())),
        }
    }
}

fn frames() -> Vec<Vec<u8>> {
    vec![
        ethernet(&[], 0x0800, &ipv4(0, 0, 6, &tcp(0x18, 0, b"GET / HTTP/1.1\r\n"))),
        ethernet(&[], 0x0806, &[0; 28]),
        ethernet(&[], 0x86dd, &ipv6(6, &tcp(0x18, 0, b"POST / HTTP/1.1\r\n"))),
    ]
}

#[test]
fn gives_segments_and_counts_the_rest() {
    let mut capture = from_bytes(file(&frames())).unwrap();
    let (got, error) = drain(&mut capture);
    assert_eq!(error, None);
    assert_eq!(
        got,
        [
            (Direction::ToServer, b"GET / HTTP/1.1\r\n".to_vec()),
            (Direction::ToServer, b"POST / HTTP/1.1\r\n".to_vec()),
        ]
    );
    let counters = capture.counters();
    assert_eq!((counters.packets, counters.segments), (3, 2));
    assert_eq!(counters.skipped(Skip::NotIp), 1);
    let sum: u64 = Skip::ALL.iter().map(|&cause| counters.skipped(cause)).sum();
    assert_eq!(counters.packets, counters.segments + sum);
}

#[test]
fn every_cause_has_its_counter() {
    for (k, cause) in Skip::ALL.into_iter().enumerate() {
        assert_eq!(cause as usize, k);
    }
}

#[test]
fn says_once_at_which_packet_a_file_is_cut_off() {
    let bytes = file(&frames());
    for (cut, at_packet, segments) in
        [(bytes.len() - 1, 3, 1), (24 + 16 + 70 + 15, 2, 1), (30, 1, 0)]
    {
        let mut capture = from_bytes(bytes[..cut].to_vec()).unwrap();
        let (got, error) = drain(&mut capture);
        assert_eq!(got.len(), segments);
        let error = error.unwrap();
        assert!(
            error.starts_with(&format!(
                "a.pcap: ends in the middle of packet {at_packet}, at byte "
            )),
            "{error}"
        );
        assert!(matches!(capture.next(), Ok(None)));
    }
}

#[test]
fn says_in_one_line_what_can_not_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("empty"), b"").unwrap();
    fs::write(path("text"), b"not packets").unwrap();
    fs::write(path("short"), &file(&[])[..20]).unwrap();
    for (name, expect) in [
        ("", "is a directory"),
        ("missing", "No such file"),
        ("empty", "the file is empty"),
        ("text", "not a pcap or pcapng file"),
        ("short", "ends in the middle of packet 1, at byte 0"),
    ] {
        let error = CaptureFile::open(&path(name), &[]).err().unwrap().to_string();
        assert!(error.starts_with(&path(name).display().to_string()), "{error}");
        assert!(error.contains(expect) && !error.contains('\n'), "{error}");
    }
    fs::write(path("good"), file(&frames())).unwrap();
    assert_eq!(drain(&mut CaptureFile::open(&path("good"), &[8080]).unwrap()).0.len(), 2);
    assert_eq!(drain(&mut CaptureFile::open(&path("good"), &[8081]).unwrap()).0.len(), 0);
}
