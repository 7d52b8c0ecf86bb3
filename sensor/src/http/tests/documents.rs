//! Which response bodies are kept, whole or marked as cut.

use super::*;

const SET: &str = "GET /.well-known/jwks.json HTTP/1.1\r\nHost: a\r\n\r\n";
const OTHER: &str = "GET /k?x HTTP/1.1\r\nHost: a\r\n\r\n";

fn answer(fields: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// The documents among the events.
fn documents(passes: &[Pass]) -> Vec<String> {
    run(passes).into_iter().filter(|line| line.contains(" document ")).collect()
}

fn kept(request: &str, answer: impl AsRef<[u8]>) -> Vec<String> {
    documents(&[c(request), s(answer)])
}

#[test]
fn what_the_path_or_the_first_member_names_is_kept() {
    let none: [&str; 0] = [];
    for (request, body, kept_as) in [
        (SET, r#"{"keys":[]}"#, r#"0 document {\"keys\":[]}"#),
        (SET, r#" {"a":1}"#, r#"0 document  {\"a\":1}"#),
        (OTHER, "{ \n\"keys\" : []}", r#"0 document { \n\"keys\" : []}"#),
        (OTHER, "{\"keys\"", r#"0 document {\"keys\""#),
    ] {
        assert_eq!(kept(request, answer("", body)), [kept_as], "{body}");
    }
    let post = "POST /.well-known/jwks.json HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    for (request, body) in [
        (SET, "[1]"),
        (SET, "<!doctype html>"),
        (SET, ""),
        (OTHER, r#"{"key":[]}"#),
        (OTHER, r#"{"keys"#),
        (OTHER, r#"{"a":1,"keys":[]}"#),
        (OTHER, "{"),
        (OTHER, "   "),
        (post, r#"{"keys":[]}"#),
    ] {
        assert_eq!(kept(request, answer("", body)), none, "{body}");
    }
    let status = "HTTP/1.1 404 No\r\nContent-Length: 11\r\n\r\n{\"keys\":[]}";
    assert_eq!(kept(SET, status), none);
}

#[test]
fn a_cut_document_is_said_to_be_cut_and_not_given_out() {
    let cut = ["0 document .."];
    // Over the limit, also in the very first bytes.
    for blank in [0, 70_000] {
        let long = format!("{}{{\"keys\":[{}]}}", " ".repeat(blank), " ".repeat(70_000));
        assert_eq!(kept(SET, answer("", &long)), cut);
    }
    let long = format!("{{\"keys\":[{}]}}", " ".repeat(70_000));
    assert_eq!(kept(OTHER, answer("", &long)), cut);
    // A gap: at its beginning, in it, at its end.
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n";
    let body = r#"{"keys":[]}"#;
    for at in 0..body.len() {
        let begin = format!("{head}{}", &body[..at]);
        let passes = [c(SET), s(&begin), Pass::Gap(ToClient, 1), s(&body[at + 1..])];
        assert_eq!(documents(&passes), cut, "{at}");
        let passes = [c(SET), s(begin), Pass::Gap(ToClient, (body.len() - at) as u64)];
        assert_eq!(documents(&passes), cut, "{at}");
    }
    // The connection ends in it; a coding hides it.
    let begin = format!("{head}{}", &body[..5]);
    let passes = [c(SET), s(begin), Pass::End(ToClient, false)];
    assert_eq!(run(&passes)[2..], ["0 document ..", "0 cut 48/44"]);
    assert_eq!(kept(SET, answer("Content-Encoding: br\r\n", body)), cut);
    assert_eq!(kept(OTHER, answer("Content-Encoding: gzip\r\n", body)).len(), 0);
    assert_eq!(kept(SET, answer("Content-Encoding: identity\r\n", body)).len(), 1);
}

#[test]
fn every_framing_and_no_document_at_all() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\"k\r\n8\r\neys\":[]}\r\n0\r\n\r\n";
    assert_eq!(kept(OTHER, chunked), [r#"0 document {\"keys\":[]}"#]);
    let close = "HTTP/1.1 200 OK\r\n\r\n{\"keys\":[]}";
    let passes = |reset| [c(SET), s(close), Pass::End(ToClient, reset)];
    assert_eq!(documents(&passes(false)), [r#"0 document {\"keys\":[]}"#]);
    assert_eq!(documents(&passes(true)), ["0 document .."]);

    let mut driver = Driver::new(false);
    driver.limits.document_bytes = 0;
    for pass in [c(SET), s(answer("", "{\"keys\":[]}"))] {
        driver.pass(&pass);
        assert_eq!(driver.connection.held_bytes(), 0);
    }
    assert_eq!(driver.finish().len(), 3);
}

/// What is no document costs no memory, whatever is sent.
#[test]
fn other_bodies_are_not_held() {
    let mut driver = Driver::new(false);
    driver.pass(&c(OTHER));
    driver.pass(&s("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{\"items\":["));
    driver.pass(&s("1,".repeat(1_000)));
    assert_eq!(driver.connection.held_bytes(), 0);
    let mut driver = Driver::new(false);
    driver.pass(&c(SET));
    driver.pass(&s("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{\"items\":["));
    assert!(driver.connection.held_bytes() > 0);
    driver.pass(&s("1,".repeat(40_000)));
    assert_eq!(driver.connection.held_bytes(), 0);
}

/// An answer with a compressed body.
fn packed(fields: &str, body: &[u8]) -> Vec<u8> {
    let mut answer =
        format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend_from_slice(body);
    answer
}

fn pack<W>(finish: fn(W) -> std::io::Result<Vec<u8>>, mut encoder: W, plain: &str) -> Vec<u8>
where
    W: std::io::Write,
{
    encoder.write_all(plain.as_bytes()).unwrap();
    finish(encoder).unwrap()
}

fn gzip(plain: &str) -> Vec<u8> {
    use flate2::{Compression, write::GzEncoder};
    pack(GzEncoder::finish, GzEncoder::new(Vec::new(), Compression::default()), plain)
}

#[test]
fn a_compressed_document_is_unpacked() {
    use flate2::{
        Compression,
        write::{DeflateEncoder, ZlibEncoder},
    };
    let none: [&str; 0] = [];
    let (cut, best) = (["0 document .."], Compression::best());
    let plain = format!(r#"{{"keys":[{}]}}"#, "1,".repeat(2_000));
    let line = [format!("0 document {}", plain.replace('"', "\\\""))];
    let zlib = pack(ZlibEncoder::finish, ZlibEncoder::new(Vec::new(), best), &plain);
    let bare = pack(DeflateEncoder::finish, DeflateEncoder::new(Vec::new(), best), &plain);
    for (coding, body) in [
        ("gzip", gzip(&plain)),
        ("X-GZIP", gzip(&plain)),
        ("identity, gzip", gzip(&plain)),
        ("deflate", zlib),
        ("deflate", bare),
    ] {
        let fields = format!("Content-Encoding: {coding}\r\n");
        for target in ["/.well-known/jwks.json", "/realms/x/certs?a=/b", "/keys", "/a/JWKS.json"] {
            let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(kept(&request, packed(&fields, &body)), line, "{coding} {target}");
            // Cut anywhere it is no document, and of a well-known path that is told.
            let told = if target.contains("well-known") { &cut[..] } else { &none };
            for len in [1, body.len() / 2, body.len() - 1] {
                let broken = packed(&fields, &body[..len]);
                assert_eq!(kept(&request, broken), told, "{coding} {target} {len}");
            }
        }
        // Other answers are not held.
        assert_eq!(kept(OTHER, packed(&fields, &body)), none, "{coding}");
    }
    let field = "Content-Encoding: gzip\r\n";
    // What is no key set is passed over, by any name.
    let likely = "GET /keys HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(kept(likely, packed(field, &gzip(r#"{"a":1}"#))), none);
    assert_eq!(kept(likely, packed(field, &gzip("[1]"))), none);
    assert_eq!(kept(SET, packed(field, &gzip("[1]"))), none);
    // Twice packed, or said to be.
    let twice = format!("{field}{field}");
    assert_eq!(kept(SET, packed(&twice, &gzip(&plain))), cut);
    assert_eq!(kept(SET, packed("Content-Encoding: gzip, br\r\n", &gzip(&plain))), cut);
    assert_eq!(kept(likely, packed(&twice, &gzip(&plain))), none);
    // Bytes behind its end.
    assert_eq!(kept(SET, packed(field, &[gzip(&plain), b"x".to_vec()].concat())), cut);
    // A bomb: a few hundred bytes that are 10 MB.
    let bomb = format!(r#"{{"keys":[{}]}}"#, " ".repeat(10_000_000));
    assert_eq!(kept(SET, packed(field, &gzip(&bomb))), cut);
    // The longest that fits, and one byte more.
    for (pad, due) in [(65_536 - 11, 1), (65_536 - 10, 0)] {
        let text = format!(r#"{{"keys":[{}]}}"#, " ".repeat(pad));
        let whole = kept(SET, packed(field, &gzip(&text))) != cut;
        assert_eq!(usize::from(whole), due, "{pad}");
    }
}
