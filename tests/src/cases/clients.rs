//! Cases of where clients are: behind proxies, and in autonomous systems.

use std::time::Duration;

use super::{Case, File, SERVER, ok, with_headers};
use crate::{
    capture::{Capture, Connection, Link},
    mmdb,
    tokens::good,
};

const PROXY: &str = "198.51.100.2:40001";

const TRUSTED: &str = "[clients]\ntrusted_proxies = [\"198.51.100.0/28\"]\n";
const FORWARDED: &str =
    "[clients]\ntrusted_proxies = [\"198.51.100.0/28\"]\nproxy_header = \"forwarded\"\n";
const NETWORKS: &str = "[clients]\nasn_database = \"asn.mmdb\"\n";

const FEEDS: &str = "[[feed]]\nname = \"drop\"\npath = \"drop.txt\"\n\
    [[feed]]\nname = \"partner\"\npath = \"partner.json\"\nformat = \"stix\"\n\
    [[feed]]\nname = \"tools\"\npath = \"tools.csv\"\nformat = \"csv\"\ncolumn = \"agent\"\n\
    entries = \"user-agents\"\n[[feed]]\nname = \"exits\"\npath = \"exits.txt\"\nkind = \"tor\"\n";

/// A request through a proxy that writes `field`, and 100 s of silence.
fn through(capture: &mut Capture, c: &mut Connection, subject: &str, field: &str) {
    let lines = format!("Authorization: Bearer {}\r\n{field}\r\n", good(subject));
    capture.exchange(c, with_headers("/", &lines), ok("{}"));
    capture.wait(Duration::from_secs(100));
}

fn on_one_connection(peer: &str, requests: &[(&str, &str)]) -> Vec<u8> {
    let mut capture = Capture::pcap(Link::Ethernet);
    let mut c = Connection::new(peer, SERVER);
    capture.handshake(&mut c);
    for (subject, field) in requests {
        through(&mut capture, &mut c, subject, field);
    }
    capture.close(&mut c);
    capture.into_bytes()
}

/// One token from each of these addresses, 100 s apart.
fn from_addresses(addresses: &[&str]) -> Vec<u8> {
    let mut capture = Capture::pcap(Link::Ethernet);
    for address in addresses {
        let mut c = Connection::new(address, SERVER);
        capture.handshake(&mut c);
        through(&mut capture, &mut c, "alice", "X-Request: 1");
        capture.close(&mut c);
    }
    capture.into_bytes()
}

fn database() -> Vec<u8> {
    let rows =
        [("192.0.2.0/25", 64_500), ("203.0.113.0/24", 64_501), ("198.51.100.0/24", 4_200_000_000)];
    mmdb::asn(&rows.map(|(network, asn)| (network.parse().expect("a network"), asn)))
}

pub(super) const CASES: &[Case] = &[
    Case {
        name: "replay-behind-proxy",
        about: "A trusted proxy names another client for the same token; left of its word anything stands.",
        config: Some(TRUSTED),
        input: || {
            on_one_connection(
                PROXY,
                &[
                    ("alice", "X-Forwarded-For: 192.0.2.10"),
                    ("alice", "X-Forwarded-For: 192.0.2.10, 203.0.113.9"),
                ],
            )
        },
    },
    Case {
        name: "replay-behind-forwarded",
        about: "The same in Forwarded, behind an open quotation mark; X-Forwarded-For is not believed.",
        config: Some(FORWARDED),
        input: || {
            on_one_connection(
                PROXY,
                &[
                    ("alice", "X-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.10"),
                    (
                        "alice",
                        "X-Forwarded-For: 192.0.2.1\r\n\
                        Forwarded: for=\"192.0.2.10, for=\"203.0.113.9:4711\";proto=https",
                    ),
                ],
            )
        },
    },
    Case {
        name: "benign-clients-behind-proxy",
        about: "Clients with their own tokens behind one proxy, the field longer each time.",
        config: Some(TRUSTED),
        input: || {
            on_one_connection(
                PROXY,
                &[
                    ("alice", "X-Forwarded-For: 192.0.2.10"),
                    ("bob", "X-Forwarded-For: 192.0.2.11:4711"),
                    ("alice", "X-Forwarded-For: 203.0.113.9, 192.0.2.10"),
                    ("bob", "X-Forwarded-For: 192.0.2.11, 198.51.100.3"),
                ],
            )
        },
    },
    Case {
        name: "benign-forwarded-by-stranger",
        about: "A client that is no trusted proxy names others: nobody believes it.",
        config: Some(TRUSTED),
        input: || {
            on_one_connection(
                "192.0.2.10:40001",
                &[
                    ("alice", "X-Forwarded-For: 192.0.2.10"),
                    ("alice", "X-Forwarded-For: 203.0.113.9"),
                ],
            )
        },
    },
    Case {
        name: "replay-other-network",
        about: "A token appears in another autonomous system.",
        config: Some(NETWORKS),
        input: || from_addresses(&["192.0.2.10:40001", "203.0.113.9:40001"]),
    },
    Case {
        name: "replay-same-network",
        about: "A token appears at another address of the same autonomous system: milder.",
        config: Some(NETWORKS),
        input: || from_addresses(&["192.0.2.10:40001", "192.0.2.99:40001"]),
    },
    Case {
        name: "benign-same-address",
        about: "A token is used again from its own address.",
        config: Some(NETWORKS),
        input: || from_addresses(&["192.0.2.10:40001", "192.0.2.10:40002"]),
    },
    Case {
        name: "threat-listed",
        about: "Feeds name a client, a host in Referer, and a user agent: by line, and by STIX id.",
        config: Some(FEEDS),
        input: || {
            let mut capture = Capture::pcap(Link::Ethernet);
            for (client, line) in [
                ("203.0.113.9:40001", "X-Request: 1"),
                ("192.0.2.10:40001", "Referer: https://login.evil.example/a"),
                ("192.0.2.11:40001", "User-Agent: stealer/2.0"),
                ("192.0.2.66:40001", "X-Request: 2"),
            ] {
                let mut c = Connection::new(client, SERVER);
                capture.handshake(&mut c);
                capture.exchange(&mut c, with_headers("/", &format!("{line}\r\n")), ok("{}"));
                capture.close(&mut c);
            }
            capture.into_bytes()
        },
    },
    Case {
        name: "benign-not-threat-listed",
        about: "Neighbours of what feeds name, an exit of Tor, and a private address in a list of networks.",
        config: Some(FEEDS),
        input: || {
            let mut capture = Capture::pcap(Link::Ethernet);
            for (client, line) in [
                ("203.0.114.9:40001", "X-Request: 1"),
                ("192.0.2.10:40001", "Referer: https://notevil.example/evil.example"),
                ("192.0.2.11:40001", "User-Agent: stealer/2"),
                ("198.51.100.99:40001", "X-Request: 2"),
                ("10.1.2.3:40001", "X-Request: 3"),
            ] {
                let mut c = Connection::new(client, SERVER);
                capture.handshake(&mut c);
                capture.exchange(&mut c, with_headers("/", &format!("{line}\r\n")), ok("{}"));
                capture.close(&mut c);
            }
            capture.into_bytes()
        },
    },
];

fn drop_list() -> Vec<u8> {
    b"# networks that nobody needs\n10.0.0.0/8\n203.0.113.0/24 ; SBL1\nevil.example\n".to_vec()
}

fn partner_bundle() -> Vec<u8> {
    br#"{"type":"bundle","id":"bundle--1","objects":[{"type":"indicator","spec_version":"2.1",
"id":"indicator--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f","pattern_type":"stix",
"pattern":"[ipv4-addr:value = '192.0.2.66' OR ipv4-addr:value = '203.0.113.9']"}]}
"#
    .to_vec()
}

fn tools() -> Vec<u8> {
    b"agent,note\nstealer/2.0,\"seen, often\"\n".to_vec()
}

fn exits() -> Vec<u8> {
    b"198.51.100.99\n".to_vec()
}

pub(super) const FILES: &[File] = &[
    ("threat-listed", "drop.txt", drop_list),
    ("threat-listed", "partner.json", partner_bundle),
    ("threat-listed", "tools.csv", tools),
    ("threat-listed", "exits.txt", exits),
    ("benign-not-threat-listed", "drop.txt", drop_list),
    ("benign-not-threat-listed", "partner.json", partner_bundle),
    ("benign-not-threat-listed", "tools.csv", tools),
    ("benign-not-threat-listed", "exits.txt", exits),
    ("replay-other-network", "asn.mmdb", database),
    ("replay-same-network", "asn.mmdb", database),
    ("benign-same-address", "asn.mmdb", database),
];
