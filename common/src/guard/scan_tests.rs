//! The reader of heads against plain code that looks at one byte after another.

use std::{format, string::String, vec, vec::Vec};

use proptest::prelude::*;

use super::{
    CHUNKED, CREDENTIALS, CUT, HTTP1, MORE, ODD, Prefix, QUERY_TOKEN, Scanner, Terms, WHOLE,
    bytes_at, deny_key,
};
use crate::guard::{
    scan::{EXTRA_LINES, MIN_SIGNATURE, TOKEN},
    sip::{Secret, Sip},
};
use bytemuck::Zeroable as _;

const SECRET: Secret = Secret([0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908]);

fn terms() -> Terms {
    let mut extra = [Prefix::of(""); EXTRA_LINES];
    extra[1] = Prefix::of("X-Key");
    Terms { secret: SECRET, extra }
}

/// What a head comes to.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    result: u32,
    tokens: Vec<[u64; 2]>,
    end: u32,
    flags: u32,
    body: u32,
    allow: [u64; 2],
}

fn read_of(bytes: &[u8], len: usize) -> Read {
    let mut scanner = Scanner::zeroed();
    scanner.start(&terms(), len as u32, true);
    let mut tokens = vec![];
    for _ in 0..=bytes.len() * 5 {
        match scanner.step(&|at| bytes_at(bytes, at)) {
            MORE => {}
            TOKEN => tokens.push(scanner.deny_key()),
            result => {
                return Read {
                    result,
                    tokens,
                    end: scanner.end(),
                    flags: scanner.flags() & (ODD | HTTP1 | CREDENTIALS | QUERY_TOKEN | CHUNKED),
                    body: scanner.body(),
                    allow: scanner.allow_key(),
                };
            }
        }
    }
    panic!("no end in {:?}", String::from_utf8_lossy(bytes));
}

fn read(bytes: &[u8]) -> Read {
    read_of(bytes, bytes.len())
}

/// The deny key from the bits of the characters, one by one.
fn dumb_key(text: &str, whole: bool) -> [u64; 2] {
    let mut bits = vec![];
    for c in text.chars() {
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let c = match c {
            '+' => '-',
            '/' => '_',
            c => c,
        };
        if let Some(v) = alphabet.find(c) {
            bits.extend((0..6).rev().map(|i| v >> i & 1));
        }
    }
    let bytes: Vec<u64> =
        bits.chunks_exact(8).map(|b| b.iter().fold(0, |a, &bit| a << 1 | bit as u64)).collect();
    let mut sip = Sip::new(SECRET);
    for group in bytes.chunks(6) {
        sip.word(group.iter().fold(0, |a, &b| a << 8 | b));
    }
    sip.word(bytes.len() as u64 | u64::from(whole) << 32);
    sip.finish()
}

const SIGNATURE: &str = "SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c";

fn token() -> String {
    format!("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.{SIGNATURE}")
}

#[test]
fn a_deny_key_is_of_the_signatures_bytes() {
    let wanted = dumb_key(SIGNATURE, false);
    assert_eq!(deny_key(SECRET, token().as_bytes()), wanted);
    for n in 0..SIGNATURE.len() {
        let cut = &token()[..token().len() - n];
        let (_, signature) = cut.rsplit_once('.').unwrap();
        let short = signature.len() * 6 / 8 < MIN_SIGNATURE as usize;
        let wanted = dumb_key(if short { cut } else { signature }, short);
        assert_eq!(deny_key(SECRET, cut.as_bytes()), wanted, "{cut}");
    }
    assert_eq!(deny_key(SECRET, b"opaque"), dumb_key("opaque", true));
    assert_eq!(deny_key(SECRET, b"a+b/c d=e"), dumb_key("a-b_cde", true));
}

#[test]
fn a_deny_key_outlives_what_leaves_the_bytes_as_they_are() {
    let wanted = deny_key(SECRET, token().as_bytes());
    let standard = format!("eyJ.e30.{}", SIGNATURE.replace('_', "/"));
    // 43 characters have 258 bits: the last two count for nothing.
    for variant in [
        standard,
        format!("{}=", token()),
        format!("{}d", &token()[..token().len() - 1]),
        format!("{}f", &token()[..token().len() - 1]),
        token().replace("SflK", "S!fl,K"),
        format!("other.payload.{SIGNATURE}"),
        format!("a=.b==.{SIGNATURE}"),
    ] {
        assert_eq!(deny_key(SECRET, variant.as_bytes()), wanted, "{variant}");
    }
    for other in [format!("{}g", &token()[..token().len() - 1]), token().replace("Sfl", "Sfm")] {
        assert_ne!(deny_key(SECRET, other.as_bytes()), wanted, "{other}");
    }
}

fn heads() -> Vec<String> {
    let t = token();
    [
        format!("Authorization: Bearer {t}"),
        format!("AUTHORIZATION:\t  bEaReR \t{t}  "),
        format!("authorization:{t}"),
        format!("Authorization: Token token=\"{t}\""),
        format!("Authorization: Basic YTpi, JWT {t}"),
        format!("Authorization: DPoP {t}="),
        format!("Cookie: _ga=GA1.2.3; session={t}; x=1.2.3"),
        format!("cookie: \"jwt\"=\"{t}\""),
        format!("dpop: {t}"),
        format!("Sec-WebSocket-Protocol: bearer, {t}"),
        format!("X-Key: {t}"),
    ]
    .map(|line| format!("GET /a HTTP/1.1\r\nHost: www.example.com\r\n{line}\r\nA: b\r\n\r\n"))
    .into()
}

#[test]
fn a_token_is_found_wherever_credentials_stand() {
    let wanted = deny_key(SECRET, token().as_bytes());
    for head in heads() {
        let read = read(head.as_bytes());
        assert_eq!(read.result, WHOLE, "{head}");
        assert!(read.tokens.contains(&wanted), "{head}");
        assert_eq!(read.end as usize, head.len());
        assert_eq!(read.flags, CREDENTIALS | HTTP1, "{head}");
    }
    for line in ["Accept", "X-Kez", "Sec-WebSocket-Key", "Authorisation"] {
        let head = format!("GET / HTTP/1.1\r\n{line}: Bearer {}\r\n\r\n", token());
        let read = read(head.as_bytes());
        assert_eq!((read.tokens.len(), read.flags), (0, HTTP1), "{head}");
    }
}

#[test]
fn a_token_is_found_in_the_query() {
    let wanted = deny_key(SECRET, token().as_bytes());
    let coded = token().replace('.', "%2E").replace('S', "%53");
    let lower = token().replace('.', "%2e").replace('w', "%77");
    for t in [token(), coded, lower] {
        let head = format!("GET /a?b=c&access_token={t}&d=e HTTP/1.1\r\nHost: a\r\n\r\n");
        let read = read(head.as_bytes());
        assert_eq!(read.flags, HTTP1 | QUERY_TOKEN, "{head}");
        assert!(read.tokens.contains(&wanted), "{head}");
    }
    let read = read(b"GET /v1.2.3/a?b=c.d HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(read.flags, HTTP1);
}

#[test]
fn a_cut_head_is_cut_at_every_byte_and_what_lies_behind_changes_nothing() {
    for head in heads() {
        let whole = read(head.as_bytes());
        for n in 0..head.len() {
            assert_eq!(read_of(head.as_bytes(), n).result, CUT, "{n} of {head}");
            assert_eq!(read(&head.as_bytes()[..n]).result, CUT);
        }
        for behind in
            ["\r\n\r\n", "\n\n", "AAAAAAAAAAAAAAAA", "Authorization: Bearer a.b.c\r\n\r\n"]
        {
            let more = format!("{head}{behind}");
            assert_eq!(read(more.as_bytes()), whole);
            assert_eq!(read_of(more.as_bytes(), head.len()), whole);
        }
    }
}

#[test]
fn the_allow_key_is_of_every_byte_of_the_credentials() {
    for head in heads() {
        let plain = read(head.as_bytes());
        let other = head.replacen("GET /a", "PUT /longer", 1).replacen("A: b", "Accept: c", 1);
        assert_eq!(read(other.as_bytes()).allow, plain.allow);
        let from = head.match_indices("\r\n").nth(1).unwrap().0 + 2;
        let to = head.match_indices("\r\n").nth(2).unwrap().0;
        // The name's first bytes say what line it is; all behind them is hashed.
        for at in from + 15..to {
            let mut changed = head.clone().into_bytes();
            changed[at] ^= if changed[at] == b'!' { 2 } else { 1 };
            let read = read(&changed);
            assert!(read.result != WHOLE || read.allow != plain.allow, "{at} of {head}");
        }
    }
    let one = read(b"GET / HTTP/1.1\r\nCookie: a=b\r\nCookie: c\r\n\r\n");
    let other = read(b"GET / HTTP/1.1\r\nCookie: a=b\r\nA: b\r\n\r\n");
    assert_ne!(one.allow, other.allow);
}

#[test]
fn framing_is_known_only_where_nobody_reads_it_otherwise() {
    let read = |lines: &str| read(format!("POST / HTTP/1.1\r\n{lines}\r\n\r\n").as_bytes());
    for (lines, body) in [
        ("A: b", 0),
        ("Content-Length: 12", 12),
        ("content-LENGTH:\t 7", 7),
        ("Content-Type: a\r\nContent-Length: 1073741824", 1 << 30),
        ("a:b\r\nContent-Length:0", 0),
        ("Transfer-Encoding: chunked", 0),
        // As DLNA clients send it.
        ("transferMode.dlna.org: Streaming\r\nContent-Length: 3", 3),
        ("Transfer-Encodi: chunked\r\nContent-Lengt: 2", 0),
        ("Transfer: chunked", 0),
    ] {
        let read = read(lines);
        assert_eq!((read.flags & ODD, read.body), (0, body), "{lines}");
    }
    for lines in [
        "tRANSFER-eNCODING: x\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 1",
        "Content-Length: 1\r\nContent-Length: 1",
        "Content-Length: 1\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        "Transfer-Encoding\0: chunked",
        "Transfer-Encoding\u{a0}: chunked",
        "Transfer_Encoding: chunked",
        "Transfer.encoding: chunked",
        "Transfer Encoding: chunked",
        "Transfer-Encodings: chunked",
        "Transfer-Enco\u{1}ding: chunked",
        "Transfer-%45ncoding: chunked",
        "Content-Length : 1",
        "Content-Length\0: 1",
        "Content_Length: 1",
        "Content Length: 1",
        "Content-Lengths: 1",
        "Content-Length: +1",
        "Content-Length: 1 ",
        "Content-Length: 1, 1",
        "Content-Length:",
        "Content-Length: 0x1",
        "Content-Length: 99999999999",
        "Content-Length: 10737418250",
        "A: b\r\n Content-Length: 1",
        " A: b",
        "A: b\nContent-Length: 1",
        "A: b\rContent-Length: 1",
        "A: b\r\r",
    ] {
        let read = read(lines);
        assert_eq!(read.flags & ODD, ODD, "{lines:?}");
    }
    assert_eq!(read("Transfer-Encoding: chunked").flags & CHUNKED, CHUNKED);
    assert_eq!(read("transferMode.dlna.org: Streaming").flags & CHUNKED, 0);
}

#[test]
fn a_line_is_a_field_to_all_or_odd() {
    let odd = |line: &str| {
        let read = read(format!("GET / HTTP/1.1\r\n{line}\r\n\r\n").as_bytes());
        assert_eq!(read.result, WHOLE, "{line}");
        read.flags & ODD != 0
    };
    let names =
        ["A", "x-key", "Cookie", "DPoP", "Authorization", "Sec-WebSocket-Protocol", "a.b_c"];
    for name in names.map(String::from).into_iter().chain((1..70).map(|n| "x".repeat(n))) {
        for value in ["", " ", "b", " b:c ", "\u{e4}"] {
            assert!(!odd(&format!("{name}:{value}")), "{name}:{value}");
            let pieces = ["", " ", "\t", "\0", "\u{b}", "(", "\u{a0}", "/"];
            for other in pieces.map(|piece| format!("{name}{piece}")) {
                assert_eq!(odd(&format!("{other}:{value}")), other != name, "{other}:{value}");
            }
            assert!(odd(&format!("{name}\r\n:{value}")) && odd(&format!(":{name}{value}")));
        }
    }
}

#[test]
fn a_first_line_is_a_requests_to_all_or_odd() {
    let odd = |line: &[u8]| {
        let read = read(&[line, b"\r\nA: b\r\n\r\n"].concat());
        assert_eq!((read.result, read.flags & HTTP1), (WHOLE, HTTP1), "{line:?}");
        read.flags & ODD != 0
    };
    for line in [
        &b"GET / HTTP/1.1"[..],
        b"\r\nG * HTTP/1.0",
        b"PROPFIND /a HTTP/1.1",
        b"M-SEARCH * HTTP/1.1",
        b"PROPPATCH /a HTTP/1.9",
        b"VERSION-CONTROL /a HTTP/1.1",
        b"GET /a b HTTP/1.1",
    ] {
        assert!(!odd(line), "{}", line.escape_ascii());
    }
    for line in [
        &b"GE\0.T / HTTP/1.1"[..],
        b"GE(T / HTTP/1.1",
        b"G\xe4T / HTTP/1.1",
        b"GET\0/ / HTTP/1.1",
        b" GET / HTTP/1.1",
        b" / HTTP/1.1",
        b"GET\t/ / HTTP/1.1",
        b"GET\x0b/ HTTP/1.1",
        b"GET  / HTTP/1.1",
        b"GET  HTTP/1.1",
        b"GET HTTP/1.1",
        b"GET \t HTTP/1.1",
        b"VERSION-CONTROL.A /a HTTP/1.1",
        b"GET / HTTP/1.x",
        b"GET / HTTP/1. ",
    ] {
        assert!(odd(line), "{}", line.escape_ascii());
    }
}

#[test]
fn empty_lines_in_front_are_passed_over_and_other_heads_are_told() {
    let head = format!("\r\n\r\nGET / HTTP/1.0\r\nAuthorization: x {}\r\n\r\n", token());
    let found = read(head.as_bytes());
    assert_eq!((found.result, found.flags, found.tokens.len()), (WHOLE, CREDENTIALS | HTTP1, 1));
    assert_eq!(read(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").flags, 0);
    assert_eq!(read(b"GET /\r\n\r\n").flags, 0);
    assert_eq!(read(b"\n\n").result, CUT);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_come_to_an_end(bytes: Vec<u8>) {
        read(&bytes);
    }

    #[test]
    fn any_text_of_the_bytes_that_matter_comes_to_an_end(
        text in "([a\\.:=%;\\- \r\n]|Authorization: |Content-Length: |\r\n){0,40}",
    ) {
        let found = read(text.as_bytes());
        // The end is the first empty line behind the first line.
        let lines = text.trim_start_matches(['\r', '\n']);
        if found.result == WHOLE {
            prop_assert!(text[..found.end as usize].ends_with('\n'));
            prop_assert!(found.flags & ODD != 0 || !lines.is_empty());
        } else if found.flags & ODD == 0 {
            prop_assert!(!lines.contains("\r\n\r\n"), "{:?}", text);
        }
    }

    #[test]
    fn deny_keys_are_those_of_plain_code(
        first in "[A-Za-z0-9_-]{0,9}", second in "[A-Za-z0-9_-]{1,9}",
        signature in "[A-Za-z0-9_+/-]{22,90}",
    ) {
        let text = format!("{first}.{second}.{signature}");
        prop_assert_eq!(deny_key(SECRET, text.as_bytes()), dumb_key(&signature, false));
    }
}
