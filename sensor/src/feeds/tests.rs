//! Feeds in each of their formats, whole and in pieces.

use proptest::prelude::*;

use super::{Column, Feed, FeedError, Format, Indicator, Kind, parse};
use crate::time::Time;

/// 2026-11-21T12:00:00Z
const NOW: Time = Time::from_unix_secs(1_795_262_400);

fn shown(feed: &Feed) -> Vec<(u32, String)> {
    let text = |indicator: &Indicator| match indicator {
        Indicator::Address(address) => address.to_string(),
        Indicator::Network(network) => network.to_string(),
        Indicator::Domain(domain) => format!("domain {domain}"),
        Indicator::UserAgent(agent) => format!("agent {agent}"),
    };
    feed.items.iter().map(|item| (item.line, text(&item.indicator))).collect()
}

fn due(items: &[(u32, &str)]) -> Vec<(u32, String)> {
    items.iter().map(|&(line, text)| (line, text.to_owned())).collect()
}

#[test]
fn plain_lists_with_their_comments_are_read() {
    let text = b"\xef\xbb\xbf# a list\r\n\r\n198.51.100.7\r\n203.0.113.9/24 ; SBL1\n\
        2001:db8::/32\t# x\n;comment\nEvil.Example.\n192.0.2.1  3  17\n::ffff:1.2.3.4\nhello\n1.2.3.4/33";
    let feed = parse(text, &Format::Plain(Kind::Host), NOW).unwrap();
    let items = [
        (3, "198.51.100.7"),
        (4, "203.0.113.0/24"),
        (5, "2001:db8::/32"),
        (7, "domain evil.example"),
        (8, "192.0.2.1"),
        (9, "1.2.3.4"),
    ];
    assert_eq!((shown(&feed), feed.skipped), (due(&items), 2));
    let agents = b"# tools\nsqlmap/1.7 # stable\n\n  curl/8; x \n";
    let feed = parse(agents, &Format::Plain(Kind::UserAgent), NOW).unwrap();
    assert_eq!(shown(&feed), due(&[(2, "agent sqlmap/1.7 # stable"), (4, "agent curl/8; x")]));
    assert_eq!(parse(b"", &Format::Plain(Kind::Host), NOW), Ok(Feed::default()));
    let page = b"<!DOCTYPE html>\n<html>\n503\n192.0.2.1\n</html>";
    assert_eq!(parse(page, &Format::Plain(Kind::Host), NOW), Err(FeedError::Foreign { line: 1 }));
}

#[test]
fn a_column_of_a_csv_feed_is_read_by_name_or_number() {
    let text = b"# made today\r\nfirst_seen,Ip,note\r\n2026,192.0.2.1,\"a, \"\"b\"\"\nc\"\r\n\
        2026,\"198.51.100.0/24\",x\n\n2026,none,\n";
    let items = [(3, "192.0.2.1"), (5, "198.51.100.0/24")];
    for column in [Column::Name("ip".into()), Column::Number(2)] {
        let feed = parse(text, &Format::Csv(column, Kind::Host), NOW).unwrap();
        assert_eq!((shown(&feed), feed.skipped), (due(&items), 1));
    }
    for (column, due) in [
        (Column::Name("address".into()), "there is no column \"address\""),
        (Column::Number(4), "line 2 is no indicator, as most lines"),
    ] {
        let error = parse(text, &Format::Csv(column, Kind::Host), NOW).unwrap_err();
        assert_eq!(error.to_string(), due);
    }
}

#[test]
fn the_patterns_of_a_bundle_are_read_and_what_is_over_is_not() {
    let patterns = [
        ("[ipv4-addr:value = '192.0.2.1']", ""),
        ("[ ipv4-addr:value='198.51.100.0/24' OR ipv6-addr:value = '2001:db8::1' ]", ""),
        ("[domain-name:value = 'Evil.example'] OR [ipv4-addr:value ISSUBSET '203.0.113.0/24']", ""),
        (
            "[network-traffic:extensions.'http-request-ext'.request_header.'User-Agent' = 'it\\\\'s']",
            "",
        ),
        ("[ipv4-addr:value = '192.0.2.2']", ",\"valid_until\":\"2026-11-21T11:59:59Z\""),
        ("[ipv4-addr:value = '192.0.2.3']", ",\"valid_until\":\"2026-11-22T00:00:00Z\""),
        ("[ipv4-addr:value = '192.0.2.4']", ",\"revoked\":true"),
        ("[ipv4-addr:value = '192.0.2.5' AND domain-name:value = 'a.example']", ""),
        ("[ipv4-addr:value != '192.0.2.6']", ""),
        ("[ipv4-addr:value NOT = '192.0.2.6']", ""),
        ("[ipv4-addr:value = '192.0.2.7'] FOLLOWEDBY [ipv4-addr:value = '192.0.2.8']", ""),
        ("[file:name = 'x']", ""),
        ("[ipv4-addr:value = '192.0.2.9'", ""),
        ("rule x {}", ",\"pattern_type\":\"yara\""),
    ];
    let objects: Vec<String> = patterns
        .iter()
        .map(|(pattern, more)| {
            format!("{{\"type\":\"indicator\",\"pattern\":\"{pattern}\"{more}}}")
        })
        .chain(["{\"type\":\"malware\",\"name\":\"x\"}".to_owned()])
        .collect();
    let text =
        format!("{{\"type\":\"bundle\",\"id\":\"bundle--1\",\"objects\":[{}]}}", objects.join(","));
    let feed = parse(text.as_bytes(), &Format::Stix, NOW).unwrap();
    let items = [
        (1, "192.0.2.1"),
        (2, "198.51.100.0/24"),
        (2, "2001:db8::1"),
        (3, "domain evil.example"),
        (3, "203.0.113.0/24"),
        (4, "agent it's"),
        (6, "192.0.2.3"),
    ];
    assert_eq!((shown(&feed), feed.skipped), (due(&items), 7));
    for at in 0..text.len() {
        let error = parse(&text.as_bytes()[..at], &Format::Stix, NOW).unwrap_err();
        assert!(error.to_string().starts_with("no STIX 2.1 bundle: line "), "{error}");
    }
    assert!(parse(b"{\"type\":\"report\"}", &Format::Stix, NOW).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>, text in "[\\[\\]'=a-z.:0-9\", \n#OR]{0,200}") {
        let bundle = serde_json::json!({
            "type": "bundle",
            "objects": [{"type": "indicator", "pattern": text}],
        });
        for format in [
            Format::Plain(Kind::Host),
            Format::Plain(Kind::UserAgent),
            Format::Csv(Column::Number(2), Kind::Host),
            Format::Csv(Column::Name("a".into()), Kind::Host),
            Format::Stix,
        ] {
            let _ = parse(&bytes, &format, NOW);
            let _ = parse(text.as_bytes(), &format, NOW);
            let _ = parse(bundle.to_string().as_bytes(), &format, NOW);
        }
    }
}
