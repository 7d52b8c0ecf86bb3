//! What streams hold at most, and that how bytes were cut into segments changes nothing.

use super::*;

#[test]
fn over_the_limits_the_far_end_goes() {
    let mut b = to_server();
    b.limits = Limits { buffered: 8, queued: 2, ..Limits::DEFAULT };
    b.push(&segment(100, b"a"));
    b.push(&segment(110, b"x"));
    b.push(&segment(108, b"y"));
    b.push(&segment(112, b"z"));
    b.push(&segment(106, b"w"));
    assert_eq!(b.stats.limit_dropped, 2);
    // In order goes before out of order; what does not fit is a gap.
    b.push(&segment(101, b"bcdeXYYYZZ"));
    b.confirm(111);
    assert_eq!(b.text(), "abcdeXYY...");
    assert_eq!(b.stats.limit_dropped, 7);
    assert_eq!(b.stats.gap_bytes, 3);
    // Responses: the oldest hole is given up.
    let mut b = to_client();
    b.limits = Limits { queued: 2, ..Limits::DEFAULT };
    for seq in [100, 102, 104, 106] {
        b.push(&segment(seq, b"a"));
    }
    assert_eq!((b.text().as_str(), b.stats.holes_given_up), ("a.a", 1));
}

#[test]
fn arrival_times_follow_the_bytes() {
    let mut b = to_client();
    for k in 0..1_000_u64 {
        b.push(&Segment { at: at(k), ..segment(k as u32, b"x") });
    }
    assert_eq!(b.stream.arrival(0), Some(at(0)));
    assert_eq!(b.stream.arrival(999), Some(at(999)));
    assert_eq!(b.stream.arrival(5_000), Some(at(999)));
    for k in 0..1_000_usize {
        let (got, exact) = (b.stream.arrival(k).unwrap(), at(k as u64));
        // The newest 32 are exact, older ones share the time of an earlier neighbour.
        assert!(got <= exact && (k < 968 || got == exact), "{k}");
    }
    b.stream.consume(999);
    assert!(matches!(b.stream.readable(), Chunk::Data { at: t, .. } if t == at(999)));
    b.stream.consume(1);
    assert_eq!((b.stream.buffered(), b.stream.arrival(0)), (0, None));
}

#[test]
fn many_small_gaps_stay_bounded() {
    let mut b = to_client();
    for k in 0..1_000 {
        b.push(&Segment { len: 2, ..segment(2 * k, b"x") });
    }
    b.read(u64::MAX);
    assert_eq!(b.out.len(), 2_000);
    assert_eq!(b.stats.gap_bytes, 1_000 + b.stats.limit_dropped);
    assert!(b.stats.limit_dropped > 0);
}

#[test]
fn every_split_gives_the_same_bytes() {
    let message = b"GET /a HTTP/1.1\r\nAuthorization: Bearer x.y.z\r\n\r\n";
    let first = u32::MAX - 20;
    for i in 0..=message.len() {
        for j in i..=message.len() {
            let parts = [(0, i), (i, j), (j, message.len())];
            for order in [[0, 1, 2], [0, 2, 1], [2, 1, 0], [1, 0, 2]] {
                let mut b = to_server();
                b.push(&Segment { flags: SYN, ..segment(first.wrapping_sub(1), b"") });
                for k in order {
                    let (from, to) = parts[k];
                    b.push(&segment(first.wrapping_add(from as u32), &message[from..to]));
                }
                b.confirm(first.wrapping_add(message.len() as u32));
                assert_eq!(b.text().as_bytes(), message);
                assert_eq!(b.stats, FlowStats::default());
            }
        }
    }
}

#[test]
fn one_byte_segments_and_64_kib_segments() {
    let body: Vec<u8> = (0..65_536_u32).map(|k| (k * 7 + k / 256) as u8).collect();
    let mut b = to_server();
    for (k, byte) in body.iter().enumerate() {
        b.push(&live(k as u32, std::slice::from_ref(byte), k as u32));
        // A head that is not complete yet stays.
        let Chunk::Data { bytes, .. } = b.stream.readable() else {
            assert_eq!(k, 0);
            continue;
        };
        assert_eq!(bytes.len(), k);
    }
    b.accepted(65_536);
    b.read(u64::MAX);
    assert!(b.out.iter().copied().eq(body.iter().copied().map(Some)));
    let mut b = to_server();
    for k in 0..20_u32 {
        b.push(&live(k * 65_536, &body, k * 65_536));
        b.read(u64::MAX);
    }
    b.accepted(20 * 65_536);
    b.read(u64::MAX);
    assert_eq!((b.out.len(), b.stats), (20 * 65_536, FlowStats::default()));
}

#[test]
fn a_flow_confirms_each_direction_by_the_other() {
    let (limits, mut stats) = (Limits::DEFAULT, FlowStats::default());
    let mut flow = Flow::new();
    let response = |seq, bytes, ack, rcv_nxt| Segment {
        direction: Direction::ToClient,
        ack: Some(ack),
        rcv_nxt,
        ..segment(seq, bytes)
    };
    for known in [false, true] {
        let base = if known { 104 } else { 100 };
        flow.push(&Segment { ack: Some(900), ..segment(base, b"GET ") }, &limits, &mut stats);
        assert!(matches!(flow.to_server.readable(), Chunk::Empty));
        flow.push(
            &response(base + 800, b"200 ", base + 4, known.then_some(base + 4)),
            &limits,
            &mut stats,
        );
        assert!(matches!(flow.to_server.readable(), Chunk::Data { bytes: b"GET ", .. }));
        assert!(matches!(flow.to_client.readable(), Chunk::Data { bytes: b"200 ", .. }));
        flow.to_server.consume(4);
        flow.to_client.consume(4);
    }
    assert_eq!((flow.buffered(), flow.deadline(&limits)), (0, None));
    let syn = Segment { flags: SYN, ..segment(5, b"") };
    assert!(flow.is_reopened_by(&syn));
    assert!(!flow.is_reopened_by(&Segment { seq: 99, ..syn }));
    // A reset from either side ends both.
    flow.push(&Segment { flags: RST, ..response(908, b"", 108, None) }, &limits, &mut stats);
    assert!(matches!(flow.to_server.readable(), Chunk::End { reset: true }));
    assert!(matches!(flow.to_client.readable(), Chunk::End { reset: true }));
}
