use super::{MAX_PAIRS, Roles, starts_like_request};
use crate::capture::{
    Direction::{self, ToClient, ToServer},
    TcpFlags,
    file::packet::{Packet, Skip},
};

const SYN: u8 = 1;
const SYN_ACK: u8 = 2;
const DATA: u8 = 0;

fn packet(from: u16, to: u16, kind: u8) -> Packet {
    let addr = |port: u16| format!("10.0.0.{}:{port}", if port < 9_000 { 1 } else { 2 });
    Packet {
        src: addr(from).parse().unwrap(),
        dst: addr(to).parse().unwrap(),
        scope: 0,
        seq: 0,
        ack: (kind != SYN).then_some(1),
        flags: TcpFlags { syn: kind != DATA, ..TcpFlags::default() },
        len: 0,
        payload: 0..0,
        whole: None,
    }
}

/// The direction of a packet whose frame is its payload alone.
fn direction(roles: &mut Roles, packet: &Packet, payload: &[u8]) -> Result<Direction, Skip> {
    roles.direction(&Packet { payload: 0..payload.len(), ..packet.clone() }, payload)
}

/// From port, to port, kind, payload, and what comes of it.
type Step<'a> = (u16, u16, u8, &'a [u8], Result<Direction, Skip>);

#[track_caller]
fn check(ports: &[u16], steps: &[Step<'_>]) {
    let mut roles = Roles::new(ports);
    for (k, &(from, to, kind, payload, expect)) in steps.iter().enumerate() {
        assert_eq!(direction(&mut roles, &packet(from, to, kind), payload), expect, "step {k}");
    }
}

#[test]
fn a_handshake_decides_against_the_ports() {
    // The server has the higher port.
    check(
        &[],
        &[
            (80, 9_999, SYN, b"", Ok(ToServer)),
            (9_999, 80, SYN_ACK, b"", Ok(ToClient)),
            (80, 9_999, DATA, b"HTTP/1.1 200 OK", Ok(ToServer)),
            (9_999, 80, DATA, b"GET / HTTP/1.1", Ok(ToClient)),
        ],
    );
    check(&[], &[(9_999, 80, SYN_ACK, b"", Ok(ToClient)), (80, 9_999, DATA, b"", Ok(ToServer))]);
}

#[test]
fn a_new_handshake_turns_roles_round_but_a_bare_syn_ack_does_not() {
    check(
        &[],
        &[
            (80, 9_999, SYN, b"", Ok(ToServer)),
            (80, 9_999, SYN_ACK, b"", Ok(ToServer)),
            (80, 9_999, DATA, b"x", Ok(ToServer)),
            (9_999, 80, SYN, b"", Ok(ToServer)),
            (80, 9_999, DATA, b"x", Ok(ToClient)),
        ],
    );
}

#[test]
fn watched_ports_decide_where_no_handshake_was_seen() {
    check(
        &[9_999],
        &[
            (80, 9_999, DATA, b"", Ok(ToServer)),
            (9_999, 80, DATA, b"GET / HTTP/1.1", Ok(ToClient)),
            (81, 82, DATA, b"GET / HTTP/1.1", Err(Skip::NotWatched)),
            (81, 82, SYN, b"", Err(Skip::NotWatched)),
        ],
    );
    // A client on a watched port of a service on another.
    check(
        &[80],
        &[
            (80, 9_999, SYN, b"", Err(Skip::NotWatched)),
            (9_999, 80, DATA, b"x", Err(Skip::NotWatched)),
        ],
    );
}

#[test]
fn the_first_bytes_of_http_decide_midway() {
    check(
        &[],
        &[
            (80, 9_999, DATA, b"", Err(Skip::Undecided)),
            (80, 9_999, DATA, b"POST /x HTTP/1.1\r\n", Ok(ToServer)),
            (9_999, 80, DATA, b"", Ok(ToClient)),
            (9_999, 80, DATA, b"GET /x HTTP/1.1\r\n", Ok(ToClient)),
        ],
    );
    check(&[], &[(9_999, 80, DATA, b"HTTP/1.1 200", Ok(ToClient))]);
}

#[test]
fn a_guess_gives_way_to_evidence() {
    check(
        &[],
        &[
            (80, 9_999, DATA, b"middle of a body", Ok(ToClient)),
            (9_999, 80, DATA, b"", Ok(ToServer)),
            (9_999, 80, DATA, b"HTTP/1.1 200 OK", Ok(ToClient)),
            (80, 9_999, DATA, b"more", Ok(ToServer)),
        ],
    );
    // Equal ports: who speaks first is the client.
    let mut roles = Roles::new(&[]);
    let mut equal = packet(80, 81, DATA);
    equal.dst = "10.0.0.9:80".parse().unwrap();
    assert_eq!(direction(&mut roles, &equal, b"x"), Ok(ToServer));
    (equal.src, equal.dst) = (equal.dst, equal.src);
    assert_eq!(direction(&mut roles, &equal, b"x"), Ok(ToClient));
}

#[test]
fn vlans_are_apart_and_memory_is_bounded() {
    let mut roles = Roles::new(&[]);
    let syn = packet(80, 9_999, SYN);
    let mut back = packet(9_999, 80, DATA);
    assert_eq!(direction(&mut roles, &syn, b""), Ok(ToServer));
    back.scope = 7;
    assert_eq!(direction(&mut roles, &back, b""), Err(Skip::Undecided));
    back.scope = 0;
    assert_eq!(direction(&mut roles, &back, b""), Ok(ToClient));
    for scope in 1..=MAX_PAIRS as u64 {
        let _ = direction(&mut roles, &Packet { scope, ..syn.clone() }, b"");
    }
    assert_eq!(roles.pairs.len(), MAX_PAIRS);
    assert_eq!(direction(&mut roles, &back, b""), Err(Skip::Undecided));
}

#[test]
fn knows_request_lines() {
    for yes in [&b"GET / "[..], b"UPDATEREDIRECTREF /", b"OPTIONS * HTTP/1.1", b"PRI * HTTP/2.0"] {
        assert!(starts_like_request(yes));
    }
    for no in [&b""[..], b"GE", b"GET", b"GET x", b"get /", b"HTTP/1.1 200", b"QUIT\r\n", b"A /"] {
        assert!(!starts_like_request(no));
    }
    assert!(!starts_like_request(&[b'A'; 100]));
}
