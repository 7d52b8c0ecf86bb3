//! The reader of bodies against plain code.

use std::{format, string::String, vec, vec::Vec};

use bytemuck::Zeroable as _;
use proptest::prelude::*;

use super::{
    super::{
        super::sip::Secret, BODY_TOKEN, CUT, EXTRA_LINES, MORE, PARTS, Prefix, Scanner, TOKEN,
        Terms, WHOLE, bytes_at, deny_key,
    },
    BAD, PART, may_be_method,
};

const SECRET: Secret = Secret([7, 8]);
const SIGNED: &str = "eyJhbGciOiJIUzI1NiJ9.e30.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c";

fn terms() -> Terms {
    Terms { secret: SECRET, extra: [Prefix::of(""); EXTRA_LINES] }
}

#[derive(Debug, PartialEq, Eq)]
struct Read {
    result: u32,
    tokens: Vec<[u64; 2]>,
    shown: bool,
    stop: u32,
}

/// Reads a request whose body begins at `head`, and `most` bytes of that.
fn read(bytes: &[u8], most: u32) -> Option<Read> {
    let mut scanner = Scanner::zeroed();
    scanner.start(&terms(), bytes.len() as u32, true);
    let load = |at| bytes_at(bytes, at);
    let mut steps = 0..bytes.len() * 5 + 10;
    loop {
        steps.next().unwrap();
        match scanner.step(&load) {
            MORE | TOKEN => {}
            WHOLE => break,
            _ => return None,
        }
    }
    scanner.begin_body(most);
    let mut tokens = vec![];
    loop {
        steps.next().unwrap();
        match scanner.body_step(&load) {
            MORE => {}
            TOKEN => tokens.push(scanner.deny_key()),
            result => {
                let shown = scanner.flags() & (BODY_TOKEN | PARTS) != 0;
                return Some(Read { result, tokens, shown, stop: scanner.stop() });
            }
        }
    }
}

fn post(body: &str) -> String {
    format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn chunked(parts: &[&str]) -> String {
    let mut text = String::from("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
    for part in parts {
        text += &format!("{:X};x=\"y\"\r\n{part}\r\n", part.len());
    }
    text + "0\r\nA: b\r\nC: d\r\n\r\n"
}

#[test]
fn tokens_in_bodies_are_found_in_every_prefix() {
    let key = deny_key(SECRET, SIGNED.as_bytes());
    for body in [
        format!("access_token={SIGNED}"),
        format!("a=b&access_token={SIGNED}&c=d"),
        format!("{{\"access_token\":\"{SIGNED}\"}}"),
        format!("{{\"a\": [\"{SIGNED}\", 1]}}"),
        format!("a={}", SIGNED.replace('.', "%2e")),
        SIGNED.into(),
    ] {
        for text in [post(&body), chunked(&[&body])] {
            let whole =
                Read { result: WHOLE, tokens: vec![key], shown: true, stop: text.len() as u32 };
            assert_eq!(read(text.as_bytes(), 4096).unwrap(), whole, "{text}");
            let head = text.find("\r\n\r\n").unwrap() + 4;
            for len in head..text.len() {
                let cut = read(&text.as_bytes()[..len], 4096).unwrap();
                assert_eq!(cut.result, CUT, "{len} of {text}");
            }
            // What comes behind it changes nothing.
            let more = format!("{text}{SIGNED} GET /");
            assert_eq!(read(more.as_bytes(), 4096).unwrap(), whole);
        }
    }
}

#[test]
fn what_may_be_a_token_is_shown_and_common_text_is_not() {
    for (body, due) in [
        (format!("t=%65{}", &SIGNED[1..]), true),
        (format!("{{\"t\":\"\\u0065{}\"}}", &SIGNED[1..]), true),
        (format!("t=+{SIGNED}"), true),
        // A JWS in JSON (RFC 7515, section 7.2).
        ("{\"protected\":\"eyJhbGciOiJub25lIn0\",\"signature\":\"\"}".into(), true),
        (
            "{\"url\":\"https://www.some.example/a.b\",\"n\":1.5,\"mail\":\"a.b@c.d.example\"}"
                .into(),
            false,
        ),
        ("redirect_uri=https%3A%2F%2Fwww.some.example%2Fcb&code=abc".into(), false),
        ("{\"text\":\"eyes and ewes, extraordinarily-longish words\"}".into(), false),
        (String::new(), false),
    ] {
        let text = post(&body);
        if body.is_empty() {
            assert_eq!(read(text.as_bytes(), 9).unwrap().result, WHOLE);
        } else {
            let read = read(text.as_bytes(), 4096).unwrap();
            assert_eq!((read.result, read.shown), (WHOLE, due), "{body}");
        }
    }
}

#[test]
fn only_so_much_is_read_and_where_the_data_end_is_known() {
    let body = "x".repeat(1000);
    for most in [0, 1, 8, 500, 999] {
        let text = post(&body);
        let read = read(text.as_bytes(), most).unwrap();
        assert_eq!((read.result, read.stop), (PART, text.len() as u32));
    }
    let text = chunked(&["hello", &body, "end"]);
    let ends = |what: &str| (text.find(what).unwrap() + what.len()) as u32;
    let at = |most| {
        let read = read(text.as_bytes(), most).unwrap();
        (read.result, read.stop)
    };
    assert_eq!(at(0), (PART, ends("hello")));
    assert_eq!(at(40), (PART, ends(&body)));
    assert_eq!(at(4000), (WHOLE, text.len() as u32));
}

#[test]
fn bad_chunks_are_refused() {
    let head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in [
        "\r\n",
        "x\r\n",
        "5\nhello",
        "5 \r\nhello",
        ";a\r\n",
        "5\r\nhelloX",
        "5\r\nhello\n",
        "5\rX",
        "5;a\nb\r\nhello",
        "123456789\r\n",
        "ffffffff\r\n",
        "0\r\nA: b\n\r\n",
        "0\r\n\rX",
        "-1\r\n",
    ] {
        let text = format!("{head}{body}");
        assert_eq!(read(text.as_bytes(), 4096).unwrap().result, BAD, "{body:?}");
    }
}

#[test]
fn a_method_is_letters_and_a_blank() {
    let may = |text: &str| may_be_method(bytes_at(text.as_bytes(), 0), text.len() as u32);
    for text in ["G", "GET", "GET ", "\r\nGET /", "OPTIONS /", "get /a", "PROPFIND"] {
        assert!(may(text), "{text}");
    }
    for text in ["{\"a\"", " GET", "16 ", "GET/", "a=b", "\r\n ", "HTTP/1.1", "A-B C"] {
        assert!(!may(text), "{text}");
    }
}

proptest! {
    /// Chunks of any sizes end where they end, and a chunk's framing alone is read the same.
    #[test]
    fn chunks_end_where_they_end(
        parts in prop::collection::vec("[a-z=&.\r\n]{1,40}", 1..6),
        behind in "[ -~]{0,20}",
        most in 0u32..300,
    ) {
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let text = chunked(&parts);
        let bytes = format!("{text}{behind}");
        let mut read = read(bytes.as_bytes(), most).unwrap();
        let mut at = 0;
        for _ in 0..parts.len() {
            if read.result != PART {
                break;
            }
            // On with the framing only.
            at += read.stop as usize;
            let rest = &bytes.as_bytes()[at..];
            let mut scanner = Scanner::zeroed();
            scanner.start_chunk(&terms(), rest.len() as u32);
            read.result = loop {
                match scanner.body_step(&|at| bytes_at(rest, at)) {
                    MORE => {}
                    result => break result,
                }
            };
            read.stop = scanner.stop();
        }
        prop_assert_eq!(read.result, WHOLE);
        prop_assert_eq!(at + read.stop as usize, text.len());
    }

    /// Whatever comes, it ends, and within the bytes.
    #[test]
    fn any_bytes_are_read_to_an_end(body: Vec<u8>, most in 0u32..100, chunked: bool) {
        let field = if chunked { "Transfer-Encoding: chunked" } else { "Content-Length: 50" };
        let mut bytes = format!("POST / HTTP/1.1\r\n{field}\r\n\r\n").into_bytes();
        bytes.extend_from_slice(&body);
        read(&bytes, most).unwrap();
    }
}
