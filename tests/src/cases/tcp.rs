//! Cases of capture formats and TCP.

use std::time::Duration;

use jotwatch::capture::Direction::{ToClient, ToServer};

use super::{CLIENT, Case, SERVER, get, ok, on_link, post, script, with_headers};
use crate::{
    capture::{Capture, Connection, Link, Piece},
    tokens::{alg_none, good},
};

/// What every case of a link type does: an ordinary request, then a forged one.
fn two_requests(capture: &mut Capture, c: &mut Connection) {
    capture.exchange(c, get("/good", &good("alice")), ok("{}"));
    capture.exchange(c, get("/forged", &alg_none("admin")), ok("{}"));
    capture.close(c);
}

fn piece(offset: i64, payload: &[u8]) -> Piece<'_> {
    Piece { offset, payload, good_checksum: true }
}

/// The client sends `bytes`, as one of its pieces says, after `before` went out in other ways.
fn received(capture: &mut Capture, c: &mut Connection, len: usize) {
    c.pass_unseen(ToServer, len);
    capture.acknowledge(c, ToClient);
    capture.wait(Duration::from_millis(2));
    capture.send(c, ToClient, ok("{}"));
}

const fn case(name: &'static str, about: &'static str, input: fn() -> Vec<u8>) -> Case {
    Case { name, about, config: None, input }
}

pub(super) const CASES: &[Case] = &[
    case("cooked-v1", "A Linux cooked capture, version 1.", || {
        on_link(Link::CookedV1, two_requests)
    }),
    case("cooked-v2", "A Linux cooked capture, version 2.", || {
        on_link(Link::CookedV2, two_requests)
    }),
    case("raw-ip", "A capture without link layer.", || on_link(Link::Raw, two_requests)),
    case("loopback-null", "A BSD loopback capture.", || on_link(Link::Null, two_requests)),
    case(
        "vlan-qinq",
        "Two VLAN tags; the same addresses on another VLAN are another flow.",
        || {
            let mut capture = Capture::pcap(Link::Ethernet);
            let mut flows = [9, 10].map(|id| {
                let mut c = Connection::new(CLIENT, SERVER);
                c.vlan = vec![(0x88a8, 7), (0x8100, id)];
                c
            });
            for c in &mut flows {
                capture.handshake(c);
            }
            for (c, path) in flows.iter_mut().zip(["/vlan-9", "/vlan-10"]) {
                capture.send(c, ToServer, get(path, &alg_none("admin")));
            }
            for c in &mut flows {
                capture.send(c, ToClient, ok("{}"));
                capture.close(c);
            }
            capture.into_bytes()
        },
    ),
    case("ipv6", "IPv6 on Ethernet.", || {
        let mut capture = Capture::pcap(Link::Ethernet);
        let mut c = Connection::new("[2001:db8::10]:40001", "[2001:db8::20]:8080");
        capture.handshake(&mut c);
        two_requests(&mut capture, &mut c);
        capture.into_bytes()
    }),
    case(
        "pcapng-two-interfaces",
        "pcapng with nanoseconds; Ethernet and cooked interfaces in one file.",
        || {
            let mut capture = Capture::pcapng(&[Link::Ethernet, Link::CookedV1]);
            for interface in [0, 1] {
                let mut c = Connection::new(&format!("192.0.2.10:4000{interface}"), SERVER);
                c.interface = interface;
                capture.handshake(&mut c);
                two_requests(&mut capture, &mut c);
            }
            capture.into_bytes()
        },
    ),
    case(
        "snaplen-truncated",
        "A snap length that cuts heads: nothing is invented, and short requests are read.",
        || {
            let mut capture = Capture::pcap(Link::Ethernet);
            capture.set_snap(200);
            let mut c = Connection::new(CLIENT, SERVER);
            capture.handshake(&mut c);
            capture.exchange(&mut c, with_headers("/short", ""), ok(&"x".repeat(3_000)));
            capture.exchange(&mut c, get("/cut", &alg_none("admin")), ok("{}"));
            capture.exchange(&mut c, with_headers("/short-again", ""), ok("{}"));
            capture.into_bytes()
        },
    ),
    case(
        "truncated-file",
        "The file ends in the middle of a packet: what came before is read, and the end is named.",
        || {
            let mut file = script(two_requests);
            file.truncate(file.len() - 20);
            file
        },
    ),
    case("one-byte-segments", "Every byte of two requests in a segment of its own.", || {
        script(|capture, c| {
            c.mss = 1;
            two_requests(capture, c);
        })
    }),
    case("large-segments", "Segments of nearly 64 KiB, as offload makes them.", || {
        script(|capture, c| {
            c.mss = 65_000;
            let body = format!(r#"{{"pad":"{}"}}"#, "x".repeat(150_000));
            capture.exchange(c, post("/upload", "application/json", &body), ok(&body));
            two_requests(capture, c);
        })
    }),
    case("sequence-wraparound", "Both sequence numbers pass 2^32 in the middle of a head.", || {
        let mut capture = Capture::pcap(Link::Ethernet);
        let mut c = Connection::new(CLIENT, SERVER);
        c.start_at(u32::MAX - 100, u32::MAX - 30);
        c.mss = 48;
        capture.handshake(&mut c);
        two_requests(&mut capture, &mut c);
        capture.into_bytes()
    }),
    case(
        "out-of-order",
        "Segments of a request in reverse, the first one last, one twice.",
        || {
            script(|capture, c| {
                let request = get("/out-of-order", &alg_none("admin"));
                let bytes = request.as_bytes();
                let mut pieces: Vec<_> = bytes.chunks(40).enumerate().collect();
                pieces.reverse();
                for (k, part) in pieces {
                    capture.piece(c, ToServer, piece(40 * k as i64, part));
                    if k == 1 {
                        capture.piece(c, ToServer, piece(40, part));
                    }
                    // Only the first one lets the server acknowledge more than the handshake.
                    if k > 0 {
                        capture.acknowledge(c, ToClient);
                    }
                }
                received(capture, c, bytes.len());
                two_requests(capture, c);
            })
        },
    ),
    case(
        "retransmission",
        "A request twice, and the beginning of it once more with the next.",
        || {
            script(|capture, c| {
                let request = get("/again", &good("alice"));
                let bytes = request.as_bytes();
                capture.piece(c, ToServer, piece(0, bytes));
                capture.wait(Duration::from_millis(210));
                capture.piece(c, ToServer, piece(0, bytes));
                received(capture, c, bytes.len());
                capture.piece(c, ToServer, piece(-(bytes.len() as i64), bytes));
                capture.acknowledge(c, ToClient);
                two_requests(capture, c);
            })
        },
    ),
    case(
        "overlap-server-kept-first",
        "Acknowledged bytes are sent again with other content: the service read the first.",
        || {
            script(|capture, c| {
                let forged = get("/overlap", &alg_none("admin"));
                let decoy = forged.replace("/overlap", "/0verlap");
                let (head, tail) = forged.as_bytes().split_at(60);
                capture.piece(c, ToServer, piece(0, head));
                c.pass_unseen(ToServer, head.len());
                capture.acknowledge(c, ToClient);
                capture.piece(c, ToServer, piece(-(head.len() as i64), decoy.as_bytes()));
                received(capture, c, tail.len());
                two_requests(capture, c);
            })
        },
    ),
    case(
        "overlap-server-kept-second",
        "A small piece waits behind a hole; a larger one with other bytes covers it. Linux keeps the larger one.",
        || {
            script(|capture, c| {
                let forged = get("/kept-second", &alg_none("admin"));
                let bytes = forged.as_bytes();
                let decoy = get("/kept-second", &good("alice").replace('e', "E"));
                // Inside the token.
                assert_ne!(decoy.as_bytes()[120..140], bytes[120..140]);
                capture.piece(c, ToServer, piece(120, &decoy.as_bytes()[120..140]));
                capture.acknowledge(c, ToClient);
                capture.piece(c, ToServer, piece(100, &bytes[100..]));
                capture.acknowledge(c, ToClient);
                capture.piece(c, ToServer, piece(0, &bytes[..100]));
                received(capture, c, bytes.len());
                two_requests(capture, c);
            })
        },
    ),
    case(
        "bad-checksum-then-good",
        "A segment with a bad checksum is never acknowledged; the one after it has other bytes and is.",
        || {
            script(|capture, c| {
                let forged = get("/checksum", &alg_none("admin"));
                let decoy = forged.replace("/checksum", "/decoy-xx");
                let bad = Piece { offset: 0, payload: decoy.as_bytes(), good_checksum: false };
                capture.piece(c, ToServer, bad);
                capture.wait(Duration::from_millis(210));
                capture.piece(c, ToServer, piece(0, forged.as_bytes()));
                received(capture, c, forged.len());
                two_requests(capture, c);
            })
        },
    ),
    case(
        "outside-window",
        "Bytes far ahead of what the server takes, never acknowledged, do not stall the flow.",
        || {
            script(|capture, c| {
                capture.piece(c, ToServer, piece(40_000_000, b"GET /outside HTTP/1.1\r\n\r\n"));
                capture.acknowledge(c, ToClient);
                two_requests(capture, c);
            })
        },
    ),
    case(
        "gap-lost-packet",
        "The server acknowledged bytes that the capture lacks: in a body, then in a head.",
        || {
            script(|capture, c| {
                let body = format!(r#"{{"pad":"{}"}}"#, "x".repeat(4_000));
                let request = post("/body-gap", "application/json", &body);
                lossy(capture, c, request.as_bytes(), 1_460, 2_920);
                capture.exchange(c, get("/between", &good("alice")), ok("{}"));
                let request = get("/head-gap", &alg_none("admin"));
                lossy(capture, c, request.as_bytes(), 40, 90);
                two_requests(capture, c);
            })
        },
    ),
    case(
        "midstream-join",
        "The capture begins in the middle of a response body, without handshake.",
        || {
            let mut capture = Capture::pcap(Link::Ethernet);
            let mut c = Connection::new(CLIENT, SERVER);
            capture.acknowledge(&c, ToServer);
            capture.send(&mut c, ToClient, "x".repeat(2_000));
            two_requests(&mut capture, &mut c);
            capture.into_bytes()
        },
    ),
    case(
        "midstream-join-high-port",
        "Joined midway where the service has the higher port: the request line tells.",
        || {
            let mut capture = Capture::pcap(Link::Ethernet);
            let mut c = Connection::new("192.0.2.10:33000", "198.51.100.20:50051");
            two_requests(&mut capture, &mut c);
            capture.into_bytes()
        },
    ),
    case(
        "half-close-rst",
        "A client that ends its side before the answer; a service that dies in mid-answer.",
        || {
            let mut capture = Capture::pcap(Link::Ethernet);
            let mut c = Connection::new(CLIENT, SERVER);
            capture.handshake(&mut c);
            capture.send(&mut c, ToServer, get("/half-close", &alg_none("admin")));
            capture.finish(&mut c, ToServer);
            capture.send(&mut c, ToClient, ok("{}"));
            capture.finish(&mut c, ToClient);
            let mut c = Connection::new("192.0.2.10:40002", SERVER);
            capture.handshake(&mut c);
            capture.send(&mut c, ToServer, get("/reset", &alg_none("admin")));
            capture.send(&mut c, ToClient, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf");
            capture.reset(&c, ToClient);
            capture.into_bytes()
        },
    ),
    case(
        "reused-addresses",
        "The same addresses and ports in two connections, one after the other.",
        || {
            let mut capture = Capture::pcap(Link::Ethernet);
            for isn in [7_000, 4_000_000_000] {
                let mut c = Connection::new(CLIENT, SERVER);
                c.start_at(isn, isn ^ 0x5555_5555);
                capture.handshake(&mut c);
                two_requests(&mut capture, &mut c);
                capture.wait(Duration::from_secs(90));
            }
            capture.into_bytes()
        },
    ),
];

/// Sends a request of which the capture lacks the bytes `from..to`, and its answer.
fn lossy(capture: &mut Capture, c: &mut Connection, bytes: &[u8], from: usize, to: usize) {
    capture.piece(c, ToServer, piece(0, &bytes[..from]));
    c.pass_unseen(ToServer, to);
    capture.send(c, ToServer, &bytes[to..]);
    capture.wait(Duration::from_millis(2));
    capture.send(c, ToClient, ok("{}"));
}
