use std::{format, string::String, vec, vec::Vec};

use proptest::prelude::*;

use super::{EXACT_LIMIT, Framing, Head, Notes, SLACK, equal, head, status};

const W: usize = 512 + SLACK;

/// `bytes` in a buffer whose rest is filled with what a ring holds: earlier messages.
fn words(bytes: &[u8], stale: &[u8]) -> [u64; W] {
    let mut flat: Vec<u8> = bytes.to_vec();
    while flat.len() < W * 8 {
        flat.extend_from_slice(stale);
    }
    let mut out = [0; W];
    for (w, chunk) in out.iter_mut().zip(flat.chunks_exact(8)) {
        *w = u64::from_ne_bytes(chunk.try_into().unwrap());
    }
    out
}

fn scan(bytes: &[u8]) -> Option<Head> {
    let results: Vec<_> = [&b"\r\n\r\n"[..], b"\0", b"\r\nContent-Length: 7\r\n\r\n", b"\n"]
        .iter()
        .map(|stale| head(&words(bytes, stale), bytes.len() as u32, &Notes::default()))
        .collect();
    assert!(results.windows(2).all(|r| r[0] == r[1]), "stale bytes changed {results:?}");
    results[0]
}

/// The dumb oracle: splits lines as strictly as can be.
fn oracle(bytes: &[u8]) -> Option<Head> {
    // Servers that take a bare LF for a line's end see the head's end here; the framing is odd then.
    let end = bytes.windows(3).position(|w| w == b"\n\r\n")? + 3;
    let text = &bytes[..end - 2];
    // Two line ends in one aligned word are left to the daemon.
    let line_ends: Vec<_> = (0..text.len()).filter(|i| text[*i] == b'\n').collect();
    if line_ends.windows(2).any(|w| w[0] / 8 == w[1] / 8) {
        return None;
    }
    let mut odd = false;
    for (i, b) in text.iter().enumerate() {
        odd |= *b == b'\r' && text.get(i + 1) != Some(&b'\n');
        odd |= *b == b'\n' && (i == 0 || text[i - 1] != b'\r');
    }
    let mut lengths = vec![];
    let mut start = 0;
    let mut first = true;
    for (i, b) in text.iter().enumerate() {
        if *b != b'\n' {
            continue;
        }
        let line = &text[start..i];
        start = i + 1;
        if core::mem::take(&mut first) {
            continue;
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        odd |= line.first().is_some_and(|b| *b <= b' ');
        let lower = line.to_ascii_lowercase();
        odd |= lower.starts_with(b"transfer");
        if let Some(rest) = lower.strip_prefix(b"content-length") {
            match rest.strip_prefix(b":") {
                Some(value) => lengths.push(String::from_utf8_lossy(value).into_owned()),
                None => odd = true,
            }
        }
    }
    let framing = match (&lengths[..], odd) {
        (_, true) => Framing::Unknown,
        ([], _) => Framing::None,
        ([one], _) if one.len() < 16 => {
            let digits = one.trim_start_matches([' ', '\t']);
            match digits.parse::<u64>() {
                Ok(n)
                    if n <= u64::from(EXACT_LIMIT)
                        && digits.bytes().all(|b| b.is_ascii_digit()) =>
                {
                    Framing::Length(n as u32)
                }
                _ => Framing::Unknown,
            }
        }
        _ => Framing::Unknown,
    };
    Some(Head { end: end as u32, framing })
}

#[test]
fn plain_heads() {
    assert_eq!(
        scan(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        Some(Head { end: 27, framing: Framing::None })
    );
    let post = b"POST / HTTP/1.1\r\ncontent-LENGTH:  1048576\r\nHost: a\r\n\r\nbody";
    assert_eq!(
        scan(post),
        Some(Head { end: post.len() as u32 - 4, framing: Framing::Length(1 << 20) })
    );
}

#[test]
fn odd_framing_is_unknown() {
    for line in [
        "Transfer-Encoding: chunked",
        "tRANSFER-encoding : chunked",
        "Content-Length : 5",
        "Content-Length: 5, 5",
        "Content-Length: +5",
        "Content-Length: 5 ",
        "Content-Length: 0x5",
        "Content-Length:",
        "Content-Length: 99999999999",
        "Content-Length: 5\r\nContent-Length: 5",
        "A: b\rTransfer-Encoding: chunked",
        "A: b\nTransfer-Encoding: chunked",
        "A: b\r\n Content-Length: 5",
        "\x0bTransfer-Encoding: chunked",
    ] {
        let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n");
        let found = scan(text.as_bytes());
        assert!(found.is_none_or(|h| h.framing == Framing::Unknown), "{line:?} {found:?}");
    }
}

#[test]
fn every_prefix_is_unfinished_and_every_alignment_works() {
    for pad in 0..24 {
        let text =
            format!("POST /{} HTTP/1.1\r\nContent-Length: 12\r\nX: yes\r\n\r\n", "a".repeat(pad));
        for cut in 0..text.len() {
            assert_eq!(scan(&text.as_bytes()[..cut]), None, "{pad} {cut}");
        }
        let want = Some(Head { end: text.len() as u32, framing: Framing::Length(12) });
        assert_eq!(scan(text.as_bytes()), want, "{pad}");
    }
}

#[test]
fn finds_bytes_without_false_hits() {
    for x in [0u64, u64::MAX, 0x0a0b_0a09_0a8a_0a0a, 0x0b0a_0a0a_0a0a_0a0a] {
        for (i, b) in x.to_le_bytes().iter().enumerate() {
            let hit = equal(x, b'\n').to_le_bytes()[i];
            assert_eq!(hit, if *b == b'\n' { 0x80 } else { 0 });
        }
    }
}

#[test]
fn reads_the_status() {
    assert_eq!(status(&words(b"HTTP/1.1 204 No Content\r\n", b"\0")), 204);
    assert_eq!(status(&words(b"HTTP/1.1 2x4", b"\0")), 0);
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "[A-Za-z-]{0,12}: ?[a-z0-9 ]{0,20}".prop_map(|s| s.into_bytes()),
        2 => "[Cc]ontent-[Ll]ength:[ \t]{0,2}[0-9]{0,11}".prop_map(|s| s.into_bytes()),
        1 => "[Cc]ontent-[Ll]ength[ ]?:?[0-9+, ]{0,8}".prop_map(|s| s.into_bytes()),
        1 => "[Tt]ransfer-[Ee]ncoding ?: ?chunked".prop_map(|s| s.into_bytes()),
        1 => "[Cc]ontent-[Tt]ype: a/b".prop_map(|s| s.into_bytes()),
        1 => proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), any::<u8>()], 0..12),
    ]
}

proptest! {
    #[test]
    fn agrees_with_the_oracle(lines in proptest::collection::vec(line(), 0..12), tail in ".{0,20}") {
        let mut bytes = b"POST /a HTTP/1.1\r\n".to_vec();
        for l in &lines {
            bytes.extend_from_slice(l);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(tail.as_bytes());
        prop_assume!(bytes.len() <= 4096);
        prop_assert_eq!(scan(&bytes), oracle(&bytes));
    }
}
