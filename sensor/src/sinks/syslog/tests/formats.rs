//! CEF, LEEF and text, taken apart strictly after their specifications.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{
    super::{
        BodyFormat, MESSAGE_DEFAULT, MESSAGE_MIN, SyslogConfig,
        tests::{line, parse},
    },
    Format, keyed,
    text::sentence,
};
use crate::event::samples;

/// Header and extension of a CEF message; panics where it breaks the specification.
fn parse_cef(message: &str) -> (Vec<String>, BTreeMap<String, String>) {
    assert!(message.bytes().all(|b| !matches!(b, b'\n' | b'\r' | b'\t' | 0)), "{message}");
    let mut rest = message.strip_prefix("CEF:0|").unwrap();
    let mut header = Vec::new();
    for _ in 0..6 {
        let mut field = String::new();
        let mut chars = rest.char_indices();
        let end = loop {
            match chars.next().unwrap() {
                (at, '|') => break at,
                (_, '\\') => match chars.next().unwrap().1 {
                    c @ ('|' | '\\') => field.push(c),
                    c => panic!("escape of {c:?} in the header"),
                },
                (_, c) => field.push(c),
            }
        };
        rest = &rest[end + 1..];
        header.push(field);
    }
    // Where keys end: every '=' that is not escaped.
    let mut ends = Vec::new();
    let mut chars = rest.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => match chars.next().unwrap().1 {
                '\\' | '=' | 'n' | 'r' => {}
                c => panic!("escape of {c:?} in the extension"),
            },
            '=' => ends.push(at),
            _ => {}
        }
    }
    let begins = ends
        .iter()
        .map(|&end| rest[..end].rfind(' ').map_or(0, |space| space + 1))
        .collect::<Vec<_>>();
    assert_eq!(begins.first(), Some(&0));
    let mut pairs = BTreeMap::new();
    for (i, (&begin, &end)) in begins.iter().zip(&ends).enumerate() {
        let key = &rest[begin..end];
        assert!(!key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric()), "{key:?}");
        let value_end = begins.get(i + 1).map_or(rest.len(), |next| next - 1);
        let mut value = String::new();
        let mut chars = rest[end + 1..value_end].chars();
        while let Some(c) = chars.next() {
            value.push(match c {
                '\\' => match chars.next().unwrap() {
                    'n' => '\n',
                    'r' => '\r',
                    c => c,
                },
                c => c,
            });
        }
        assert!(pairs.insert(key.to_owned(), value).is_none(), "{key} twice");
    }
    (header, pairs)
}

/// Header and attributes of a LEEF message.
fn parse_leef(message: &str) -> (Vec<String>, BTreeMap<String, String>) {
    assert!(message.bytes().all(|b| !matches!(b, b'\n' | b'\r' | 0)), "{message}");
    let mut parts = message.splitn(7, '|').map(str::to_owned).collect::<Vec<_>>();
    let attributes = parts.pop().unwrap();
    assert_eq!((parts[0].as_str(), parts[5].as_str()), ("LEEF:2.0", "x09"));
    let mut pairs = BTreeMap::new();
    for pair in attributes.split('\t') {
        let (key, value) = pair.split_once('=').unwrap();
        assert!(!key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric()), "{key:?}");
        assert!(pairs.insert(key.to_owned(), value.to_owned()).is_none(), "{key} twice");
    }
    (parts, pairs)
}

/// The texts in quotation marks of a sentence, and what stands outside of them.
fn parse_text(message: &str) -> (Vec<String>, String) {
    assert!(message.bytes().all(|b| (32..=126).contains(&b)), "{message}");
    let (mut quoted, mut outside) = (Vec::new(), String::new());
    let mut chars = message.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '"' {
            assert_ne!(c, '\\');
            outside.push(c);
            continue;
        }
        let mut text = String::new();
        loop {
            match chars.next().unwrap() {
                '"' => break,
                '\\' => match chars.next().unwrap() {
                    c @ ('"' | '\\') => text.push(c),
                    'u' => {
                        assert_eq!(chars.next(), Some('{'));
                        let mut code = String::new();
                        while chars.peek() != Some(&'}') {
                            code.push(chars.next().unwrap());
                        }
                        chars.next();
                        let code = u32::from_str_radix(&code, 16).unwrap();
                        text.push(char::from_u32(code).unwrap());
                    }
                    c => panic!("escape of {c:?}"),
                },
                c => text.push(c),
            }
        }
        quoted.push(text);
    }
    (quoted, outside)
}

/// Controls but line ends, and marks of direction, as `\u{…}`.
fn shown(text: &str) -> String {
    let hidden = |c: char| {
        let marks = [0x200e, 0x200f, 0x2028, 0x2029, 0x202a, 0x202b, 0x202c, 0x202d, 0x202e];
        let more = [0x2066, 0x2067, 0x2068, 0x2069, 0xfeff];
        (c.is_control() && c != '\n' && c != '\r')
            || marks.contains(&u32::from(c))
            || more.contains(&u32::from(c))
    };
    text.chars()
        .map(|c| if hidden(c) { format!("\\u{{{:x}}}", u32::from(c)) } else { c.to_string() })
        .collect()
}

fn usual() -> Value {
    serde_json::from_slice(&line(&samples::request())).unwrap()
}

#[test]
fn keys_are_those_of_the_dictionaries() {
    let mut out = String::new();
    assert!(keyed::cef(&mut out, &usual(), usize::MAX / 2));
    let (header, pairs) = parse_cef(&out);
    assert_eq!(header[..2], ["Jotwatch", "Jotwatch"]);
    assert_eq!(header[2], env!("CARGO_PKG_VERSION"));
    assert_eq!((header[3].as_str(), header[5].as_str()), ("alg-none", "10"));
    for (key, value) in [
        ("rt", "1795251600000"),
        ("externalId", "bb11609bc1e9c40eec141d627a651eaa"),
        ("cat", "request"),
        ("src", "192.0.2.7"),
        ("spt", "51234"),
        ("dst", "198.51.100.2"),
        ("dpt", "8080"),
        ("requestMethod", "GET"),
        ("dhost", "api.example"),
        ("requestClientApplication", "curl/8.5.0"),
        ("suser", "alice"),
        ("act", "alert"),
        ("outcome", "bypass"),
        ("cn1", "100"),
        ("cn1Label", "score"),
        ("cs1", "alg-none,token-in-query"),
        ("cs1Label", "findings"),
        ("cs3", "https://idp.example"),
        ("dproc", "nginx"),
        ("cn2", "200"),
        ("in", "812"),
        ("out", "512"),
    ] {
        assert_eq!(pairs.get(key).map(String::as_str), Some(value), "{key}: {out}");
    }
    assert!(pairs["request"].starts_with("/orders/7?access_token="));

    let mut out = String::new();
    assert!(keyed::leef(&mut out, &usual(), usize::MAX / 2));
    let (header, pairs) = parse_leef(&out);
    assert_eq!(header[4], "alg-none");
    for (key, value) in [
        ("devTime", "1795251600000"),
        ("sev", "10"),
        ("src", "192.0.2.7"),
        ("srcPort", "51234"),
        ("dst", "198.51.100.2"),
        ("dstPort", "8080"),
        ("usrName", "alice"),
        ("cat", "request"),
        ("policy", "alert"),
        ("score", "100"),
    ] {
        assert_eq!(pairs.get(key).map(String::as_str), Some(value), "{key}: {out}");
    }

    let (quoted, outside) = parse_text(&sentence(&usual()));
    assert!(
        outside.starts_with(
            "critical: alert \"\" \"\" host  from 192.0.2.7:51234 to 198.51.100.2:8080"
                .replace('"', "")
                .as_str()
        ),
        "{outside}"
    );
    assert!(quoted.iter().any(|text| text == "alice"), "{quoted:?}");

    let mut event = usual();
    event["client"]["ip"] = json!("2001:db8::1");
    let mut out = String::new();
    assert!(keyed::cef(&mut out, &event, usize::MAX / 2));
    let (_, pairs) = parse_cef(&out);
    assert_eq!((pairs.get("src"), pairs["c6a2"].as_str()), (None, "2001:db8::1"));
}

#[test]
fn every_event_fits_in_every_format() {
    for format in [BodyFormat::Json, BodyFormat::Text, BodyFormat::Cef, BodyFormat::Leef] {
        for message_bytes in [MESSAGE_MIN, 3000, MESSAGE_DEFAULT] {
            let config = SyslogConfig {
                format,
                message_bytes,
                app_name: "api-watch".to_owned(),
                hostname: Some("h".repeat(300)),
                ..SyslogConfig::default()
            };
            let format_of = Format::new(&config);
            for event in samples::all() {
                let message = format_of.message(&line(&event)).unwrap();
                assert!(message.len() <= message_bytes, "{}: {message}", message.len());
                let body = parse(message.as_bytes()).msg;
                match format {
                    BodyFormat::Json => drop(serde_json::from_str::<Value>(&body).unwrap()),
                    BodyFormat::Text if body.ends_with("...") => {}
                    BodyFormat::Text => drop(parse_text(&body)),
                    BodyFormat::Cef => assert!(parse_cef(&body).1.contains_key("externalId")),
                    BodyFormat::Leef => assert!(parse_leef(&body).1.contains_key("eventId")),
                }
            }
        }
    }
}

/// Someone may have changed what is read again: nothing of it is longer than it may be.
#[test]
fn a_changed_event_fits_in_every_format() {
    for c in ["x", "\u{7f}", "\u{e9}", "]"] {
        const NOW: &str = "2026-01-02T03:04:05Z";
        let long = c.repeat(3000);
        let all = json!({
            "id": long, "time": NOW, "kind": long, "severity": "low", "verdict": long,
            "reason": long, "state": long, "change": long, "score": long, "token": long,
            "request": { "method": long, "path": long }, "response": { "status": long },
            "client": { "ip": long, "port": long }, "service": { "command": long },
            "findings": [{ "id": long, "severity": long }], "joined": { "count": long },
        });
        for name in ["id", "kind", "verdict", "change", "score", "findings", "all"] {
            let mut event = json!({ "time": NOW, "kind": "audit", "severity": "low" });
            match name {
                "all" => event = all.clone(),
                name => event[name] = all[name].clone(),
            }
            for format in [BodyFormat::Json, BodyFormat::Text, BodyFormat::Cef, BodyFormat::Leef] {
                for message_bytes in [MESSAGE_MIN, MESSAGE_DEFAULT] {
                    let hostname = Some("h".repeat(300));
                    let config =
                        SyslogConfig { format, message_bytes, hostname, ..SyslogConfig::default() };
                    let message =
                        Format::new(&config).message(&serde_json::to_vec(&event).unwrap()).unwrap();
                    assert!(message.len() <= message_bytes, "{}: {message}", message.len());
                    // The header and the structured data are whole.
                    parse(message.as_bytes());
                }
            }
        }
    }
}

/// A process names itself.
#[test]
fn a_line_end_in_a_parameter_ends_no_message() {
    let mut event = usual();
    event["service"]["command"] = json!("a\nb\u{7}");
    let line = serde_json::to_vec(&event).unwrap();
    for format in [BodyFormat::Json, BodyFormat::Text, BodyFormat::Cef, BodyFormat::Leef] {
        let config = SyslogConfig { format, ..SyslogConfig::default() };
        let message = Format::new(&config).message(&line).unwrap();
        assert!(!message.contains(['\n', '\u{7}']), "{message}");
        if matches!(format, BodyFormat::Json) {
            assert!(message.contains(" service=\"a b \""), "{message}");
        }
    }
}

/// Text that does its worst.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("|".to_owned()),
        Just("=".to_owned()),
        Just("\\".to_owned()),
        Just("\n".to_owned()),
        Just("\r".to_owned()),
        Just("\t".to_owned()),
        Just(" src=6.6.6.6".to_owned()),
        Just("\tsrc=6.6.6.6".to_owned()),
        Just("CEF:0|".to_owned()),
        Just("\"".to_owned()),
        Just("]".to_owned()),
        Just("\u{202e}\u{7f}\u{0}".to_owned()),
        any::<char>().prop_map(String::from),
        "[a-z ]{1,8}",
    ];
    prop::collection::vec(piece, 1..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hostile_text_stays_in_its_field(
        texts in prop::collection::vec(hostile(), 9),
        room in 600_usize..4000,
    ) {
        let mut event = usual();
        let [path, method, host, agent, subject, command, detail, kid, issuer] =
            texts.try_into().unwrap_or_else(|_| unreachable!());
        event["request"]["path"] = json!(path);
        event["request"]["method"] = json!(method);
        event["request"]["host"] = json!(host);
        event["request"]["user_agent"] = json!(agent);
        event["service"]["command"] = json!(command);
        event["tokens"][0]["claims"] = json!({ "sub": subject, "iss": issuer });
        event["tokens"][0]["kid"] = json!(kid);
        event["findings"][0]["detail"] = json!(detail);

        let mut out = String::new();
        prop_assert!(keyed::cef(&mut out, &event, usize::MAX / 2));
        let (_, pairs) = parse_cef(&out);
        for (key, text) in [
            ("request", &path), ("requestMethod", &method), ("dhost", &host),
            ("requestClientApplication", &agent), ("suser", &subject), ("dproc", &command),
            ("cs4", &kid), ("cs3", &issuer),
        ] {
            prop_assert_eq!(&pairs[key], &shown(text));
        }
        prop_assert_eq!(&pairs["src"], "192.0.2.7");
        prop_assert_eq!(&pairs["msg"], &sentence(&event));

        let mut out = String::new();
        prop_assert!(keyed::leef(&mut out, &event, usize::MAX / 2));
        let (_, pairs) = parse_leef(&out);
        for (key, text) in [
            ("url", &path), ("method", &method), ("host", &host), ("userAgent", &agent),
            ("usrName", &subject), ("service", &command), ("kid", &kid), ("issuer", &issuer),
        ] {
            prop_assert_eq!(&pairs[key], &shown(text).replace(['\n', '\r'], " "));
        }
        prop_assert_eq!(&pairs["src"], "192.0.2.7");

        let (quoted, outside) = parse_text(&sentence(&event));
        for text in [&path, &method, &host, &subject, &command, &detail] {
            prop_assert!(quoted.contains(text), "{:?} in {:?}", text, quoted);
        }
        prop_assert!(!outside.contains("6.6.6.6"));

        for write in [keyed::cef, keyed::leef] {
            let mut out = String::new();
            write(&mut out, &event, room);
            prop_assert!(out.len() <= room);
            match out.starts_with("CEF") {
                true => drop(parse_cef(&out)),
                false => drop(parse_leef(&out)),
            }
        }
    }
}
