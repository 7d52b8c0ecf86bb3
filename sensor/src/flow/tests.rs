//! Stream and Flow against their rules by name; [`oracle`] holds them to a model of Linux.

mod bounds;
mod oracle;

use super::{
    Chunk, Delivery, Flow, FlowStats, Limits, Stream,
    bench::{Bench, FIN, RST, SYN, at, live, segment},
};
use crate::{
    capture::{Direction, Segment},
    finding::FindingId,
};

fn to_server() -> Bench {
    Bench::new(Delivery::OnConfirmation)
}

fn to_client() -> Bench {
    Bench::new(Delivery::OnArrival)
}

#[test]
fn a_stream_is_small() {
    assert!(size_of::<Stream>() <= 200, "{}", size_of::<Stream>());
}

#[test]
fn requests_wait_for_confirmation_and_responses_do_not() {
    let mut b = to_server();
    b.push(&segment(10, b"GET /"));
    assert_eq!(b.text(), "");
    b.confirm(12);
    assert_eq!(b.text(), "GE");
    b.confirm(15);
    assert_eq!(b.text(), "GET /");
    let mut b = to_client();
    b.push(&segment(10, b"HTTP/1.1"));
    assert_eq!(b.text(), "HTTP/1.1");
    assert_eq!(b.stream.buffered(), 0);
}

#[test]
fn one_sided_captures_deliver_after_the_wait() {
    let mut b = to_server();
    b.push(&segment(10, b"abc"));
    b.push(&Segment { at: at(100), ..segment(13, b"def") });
    assert_eq!(b.stream.deadline(&b.limits), Some(at(250)));
    b.expire(at(249));
    assert_eq!(b.text(), "");
    b.expire(at(250));
    assert_eq!(b.text(), "abc");
    assert_eq!(b.stream.deadline(&b.limits), Some(at(350)));
    b.expire(at(350));
    assert_eq!(b.text(), "abcdef");
    assert_eq!((b.stats.unconfirmed, b.stream.deadline(&b.limits)), (2, None));
}

#[test]
fn a_gap_dates_from_when_it_was_told_of() {
    let mut b = to_server();
    b.push(&segment(10, b"abc"));
    b.confirm(13);
    assert_eq!((b.text().as_str(), b.stream.buffered()), ("abc", 0));
    b.now = at(50);
    b.confirm(20);
    assert_eq!(b.stream.arrival(0), Some(at(50)));
    // Not copied, so that it joins the gap, and confirmed by nobody.
    b.push(&Segment { at: at(60), len: 5, ..segment(20, b"") });
    assert_eq!(b.stream.deadline(&b.limits), Some(at(300)));
    b.expire(at(299));
    assert_eq!(b.text(), "abc.......");
    b.expire(at(300));
    assert_eq!(b.text(), "abc............");
}

#[test]
fn the_segment_that_tcp_took_counts_over_the_one_it_refused() {
    let mut b = to_server();
    b.push(&live(100, b"GET /good", 100));
    b.push(&live(100, b"GET /evil", 100));
    b.accepted(109);
    assert_eq!(b.text(), "GET /evil");
    assert_eq!((b.stats.overlap_conflicts, b.stats.restarts), (1, 0));
    let findings = b.stream.take_findings();
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].id, FindingId::TcpOverlapConflict);
    assert_eq!(findings[0].detail, "bytes differ from stream offset 5 on");
}

#[test]
fn all_pieces_of_the_segment_that_tcp_took_count() {
    let mut b = to_server();
    b.push(&live(100, b"aaaaaaaaaaaa", 100));
    for (k, piece) in [b"bbbb", b"cccc", b"dddd"].into_iter().enumerate() {
        b.push(&Segment { at: at(7), ..live(100 + 4 * k as u32, piece, 100) });
    }
    b.accepted(112);
    assert_eq!(b.text(), "bbbbccccdddd");
}

#[test]
fn behind_the_next_expected_byte_the_first_copy_counts() {
    let mut b = to_server();
    b.push(&live(100, b"aaaa", 100));
    b.push(&live(104, b"bbbb", 100));
    b.push(&live(104, b"XXXX", 100));
    b.accepted(108);
    assert_eq!((b.text().as_str(), b.stats.overlap_conflicts), ("aaaabbbb", 1));
}

#[test]
fn what_was_delivered_unconfirmed_and_refused_is_read_again() {
    let mut b = to_server();
    b.push(&live(100, b"POST /junk", 100));
    b.expire(at(300));
    assert_eq!(b.text(), "POST /junk");
    // The same bytes once more are a retransmission.
    b.push(&live(100, b"POST /junk", 100));
    assert!(matches!(b.stream.readable(), Chunk::Empty));
    b.push(&live(100, b"GET /evil", 100));
    assert!(matches!(b.stream.readable(), Chunk::Restart));
    b.accepted(109);
    assert_eq!((b.text().as_str(), b.stats.restarts), ("GET /evil", 1));
    assert_eq!(b.stats.overlap_conflicts, 1);
    assert_eq!(b.stream.buffered(), 0);
}

#[test]
fn bytes_shown_but_not_consumed_are_replaced_with_a_restart() {
    let mut b = to_server();
    b.push(&live(100, b"GET /junk", 100));
    b.expire(at(300));
    assert!(matches!(b.stream.readable(), Chunk::Data { .. }));
    b.push(&live(100, b"GET /evil", 100));
    assert!(matches!(b.stream.readable(), Chunk::Restart));
    b.accepted(109);
    assert_eq!((b.text().as_str(), b.stats.restarts), ("GET /evil", 1));
}

#[test]
fn read_bytes_make_room_and_what_replaces_them_is_read() {
    let mut b = to_server();
    b.limits.buffered = 8;
    b.push(&live(100, b"abcdef", 100));
    b.expire(at(300));
    assert_eq!((b.text().as_str(), b.stream.buffered()), ("abcdef", 6));
    b.push(&live(106, b"ghijkl", 100));
    assert_eq!((b.stream.buffered(), b.stats.limit_dropped), (6, 0));
    // Can't be compared any more, and is what the service takes.
    b.push(&live(100, b"ABCDEF", 100));
    b.accepted(106);
    assert_eq!((b.text().as_str(), b.stats.restarts), ("ABCDEF", 1));
}

#[test]
fn confirmed_bytes_win_and_a_differing_copy_is_a_conflict() {
    let mut b = to_server();
    b.push(&live(100, b"abcdef", 100));
    b.push(&live(100, b"abXXef", 106));
    assert_eq!((b.text().as_str(), b.stats.overlap_conflicts), ("abcdef", 1));
    // Nothing held any more: can't be compared.
    b.push(&live(100, b"YYYYYY", 106));
    assert_eq!((b.stats.overlap_conflicts, b.stats.retransmitted), (1, 2));
}

type Segments<'a> = &'a [(u32, &'a [u8])];

#[test]
fn out_of_order_rules_of_linux() {
    // Wholly inside: dropped. Same start and longer: replaces. Partial: the lower start supplies
    // the shared bytes. Covered: removed. In sequence wins over queued.
    let cases: [(Segments<'_>, &str); 6] = [
        (&[(1, b"abcd"), (2, b"XY"), (0, b"_")], "_abcd"),
        (&[(1, b"ab"), (1, b"XYZ"), (0, b"_")], "_XYZ"),
        (&[(1, b"abcd"), (3, b"XYZ"), (0, b"_")], "_abcdZ"),
        (&[(3, b"abcd"), (1, b"WXYZ"), (0, b"_")], "_WXYZcd"),
        (&[(2, b"ab"), (5, b"cd"), (1, b"UVWXYZ"), (0, b"_")], "_UVWXYZ"),
        (&[(1, b"abcd"), (0, b"_XY")], "_XYcd"),
    ];
    for (segments, want) in cases {
        for delivery in [Delivery::OnArrival, Delivery::OnConfirmation] {
            let mut b = Bench::new(delivery);
            b.push(&Segment { flags: SYN, ..segment(u32::MAX - 1, b"") });
            for &(offset, bytes) in segments {
                b.push(&segment(u32::MAX.wrapping_add(offset), bytes));
            }
            b.confirm(u32::MAX.wrapping_add(want.len() as u32));
            assert_eq!(b.text(), want);
            assert_eq!(b.stats.overlap_conflicts, 1, "{want}");
            assert_eq!(b.stats.gap_bytes, 0);
        }
    }
}

#[test]
fn a_fin_counts_in_the_out_of_order_rules() {
    let mut b = to_client();
    b.push(&Segment { flags: SYN, ..segment(9, b"") });
    b.push(&segment(11, b"ab"));
    b.push(&Segment { flags: FIN, ..segment(11, b"XY") });
    b.push(&segment(10, b"_"));
    assert_eq!((b.text().as_str(), b.end), ("_XY", Some(false)));
}

#[test]
fn confirmation_of_bytes_never_seen_is_a_gap_of_exact_length() {
    let mut b = to_server();
    b.push(&live(100, b"ab", 100));
    b.push(&live(110, b"cd", 100));
    b.accepted(107);
    assert_eq!(b.text(), "ab.....");
    b.accepted(115);
    assert_eq!(b.text(), "ab........cd...");
    assert_eq!(b.stats.gap_bytes, 11);
    assert_eq!(b.stream.buffered(), 0);
}

#[test]
fn an_uncopied_tail_is_a_gap_once_confirmed_or_reached() {
    let mut b = to_server();
    b.push(&Segment { len: 6, ..segment(100, b"ab") });
    assert_eq!(b.text(), "");
    b.push(&segment(106, b"cd"));
    b.confirm(108);
    assert_eq!(b.text(), "ab....cd");
    let mut b = to_client();
    b.push(&Segment { len: 6, ..segment(100, b"ab") });
    assert_eq!(b.text(), "ab....");
    b.push(&Segment { len: 3_000_000, ..segment(106, b"") });
    assert!(matches!(b.stream.readable(), Chunk::Gap { len: 3_000_000 }));
}

#[test]
fn data_says_when_nothing_will_join_it() {
    let mut b = to_client();
    b.push(&segment(100, b"GET"));
    assert!(matches!(b.stream.readable(), Chunk::Data { last: false, .. }));
    b.push(&Segment { len: 5, ..segment(103, b"") });
    assert!(matches!(b.stream.readable(), Chunk::Data { bytes: b"GET", last: true, .. }));
    let mut b = to_client();
    b.push(&Segment { flags: FIN, ..segment(100, b"GET") });
    assert!(matches!(b.stream.readable(), Chunk::Data { last: true, .. }));
}

#[test]
fn a_hole_in_responses_is_a_gap_when_the_client_has_passed_it() {
    let mut b = to_client();
    b.push(&segment(100, b"ab"));
    b.push(&segment(105, b"cd"));
    b.confirm(104);
    assert_eq!(b.text(), "ab");
    b.confirm(105);
    assert_eq!(b.text(), "ab...cd");
    // A client can't claim bytes that the service never sent.
    b.confirm(50_000);
    assert_eq!(b.text(), "ab...cd");
    b.push(&segment(107, b"ef"));
    assert_eq!(b.text(), "ab...cdef");
}

#[test]
fn a_hole_is_given_up_after_its_wait_but_never_against_rcv_nxt() {
    for delivery in [Delivery::OnArrival, Delivery::OnConfirmation] {
        let mut b = Bench::new(delivery);
        b.push(&segment(100, b"ab"));
        b.push(&segment(105, b"cd"));
        assert!(b.stream.deadline(&b.limits).is_some());
        b.expire(at(4_999));
        assert_eq!(b.text(), "ab");
        b.expire(at(5_000));
        assert_eq!((b.text().as_str(), b.stats.holes_given_up), ("ab...cd", 1));
    }
    let mut b = to_server();
    b.push(&live(100, b"ab", 100));
    b.push(&live(105, b"cd", 100));
    b.expire(at(60_000));
    b.push(&live(102, b"XYZ", 102));
    b.accepted(107);
    assert_eq!((b.text().as_str(), b.stats.gap_bytes), ("abXYZcd", 0));
}

#[test]
fn data_outside_the_window_is_dropped_and_counted() {
    let mut b = to_server();
    b.push(&live(100, b"ab", 100));
    b.push(&live(102 + (1 << 20) + 1, b"zz", 102));
    assert_eq!((b.stats.out_of_window, b.stream.buffered()), (1, 2));
    // The service's own TCP said how far it is: however much was not captured.
    b.push(&live(500_000_102, b"cd", 500_000_102));
    b.accepted(500_000_104);
    b.read(500_000_002);
    b.out.clear();
    assert_eq!(b.text(), "cd");
    // Responses are the kernel's own: what lies before was lost.
    let mut b = to_client();
    b.push(&segment(100, b"ab"));
    b.push(&segment(900_000_000, b"cd"));
    assert_eq!(b.stats.gap_bytes, 900_000_000 - 102);
}

#[test]
fn a_listeners_rcv_nxt_is_not_taken() {
    let mut b = to_server();
    b.push(&Segment { flags: SYN, ..live(3_000_000_000, b"", 0) });
    b.push(&live(3_000_000_001, b"ab", 0));
    b.confirm(3_000_000_003);
    assert_eq!((b.text().as_str(), b.stats.gap_bytes), ("ab", 0));
}

#[test]
fn syn_may_carry_data_and_fin_ends_once_acknowledged() {
    let mut b = to_server();
    b.push(&Segment { flags: SYN, ..segment(u32::MAX, b"ab") });
    b.push(&Segment { flags: FIN, ..segment(2, b"cd") });
    b.confirm(4);
    assert_eq!((b.text().as_str(), b.end), ("abcd", None));
    b.confirm(5);
    assert_eq!((b.text().as_str(), b.end), ("abcd", Some(false)));
    assert_eq!(b.stats.gap_bytes, 0);
    b.push(&segment(5, b"late"));
    assert_eq!((b.text().as_str(), b.stats.out_of_window), ("abcd", 1));
}

#[test]
fn a_refused_fin_does_not_end_the_stream() {
    let mut b = to_server();
    b.push(&live(100, b"ab", 100));
    b.push(&Segment { flags: FIN, ..live(102, b"", 102) });
    b.expire(at(10_000));
    b.push(&live(102, b"cd", 102));
    b.accepted(104);
    assert_eq!((b.text().as_str(), b.end), ("abcd", None));
    // One below what is in order is no end either, in a capture.
    let mut b = to_server();
    b.push(&segment(100, b"abcd"));
    b.push(&Segment { flags: FIN, ..segment(101, b"") });
    b.expire(at(10_000));
    assert_eq!((b.text().as_str(), b.end), ("abcd", None));
}

#[test]
fn one_sided_fin_ends_after_the_wait() {
    let mut b = to_server();
    b.push(&Segment { flags: FIN, ..segment(100, b"ab") });
    b.expire(at(250));
    assert_eq!((b.text().as_str(), b.end), ("ab", Some(false)));
}

#[test]
fn what_is_sent_behind_a_fin_does_not_hide_the_end() {
    for told in [None, Some(103), Some(104)] {
        let mut b = to_client();
        b.push(&segment(100, b"ab"));
        assert_eq!(b.text(), "ab");
        b.push(&segment(200, b"behind"));
        b.push(&Segment { flags: FIN, ..segment(103, b"d") });
        if let Some(told) = told {
            b.confirm(told);
        }
        assert_eq!(b.stream.is_ended(), told.is_some(), "{told:?}");
        assert_eq!(b.text(), if told.is_some() { "ab.d" } else { "ab" });
        b.flush();
        assert_eq!(b.text(), "ab.d");
        assert_eq!((b.end, b.stream.buffered()), (Some(false), 0));
    }
}

#[test]
fn a_reset_counts_only_at_the_expected_byte() {
    let mut b = to_server();
    b.push(&live(100, b"ab", 100));
    b.push(&Segment { flags: RST, ..live(150, b"", 102) });
    assert_eq!((b.text().as_str(), b.end, b.stats.resets_refused), ("ab", None, 1));
    b.push(&Segment { flags: RST, ..live(102, b"", 102) });
    assert_eq!((b.text().as_str(), b.end), ("ab", Some(true)));
    // Without rcv_nxt: within the window.
    let mut b = to_server();
    b.push(&segment(100, b"ab"));
    b.push(&Segment { flags: RST, ..segment(99, b"") });
    b.push(&Segment { flags: RST, ..segment(103 + (1 << 20), b"") });
    assert_eq!((b.text().as_str(), b.end, b.stats.resets_refused), ("", None, 2));
    b.push(&Segment { flags: RST, ..segment(105, b"") });
    assert_eq!((b.text().as_str(), b.end), ("ab", Some(true)));
}

#[test]
fn joins_midway() {
    // At rcv_nxt where it is known, below or above the first segment.
    let mut b = to_server();
    b.push(&live(100, b"abcd", 102));
    b.accepted(104);
    assert_eq!(b.text(), "cd");
    let mut b = to_server();
    b.push(&live(104, b"cd", 102));
    b.push(&live(102, b"ab", 102));
    b.accepted(106);
    assert_eq!(b.text(), "abcd");
    // A little lower as long as nothing was readable.
    let mut b = to_server();
    b.push(&segment(104, b"cd"));
    b.push(&segment(100, b"ab"));
    assert_eq!(b.stream.first_seq(), Some(100));
    b.push(&segment(102, b"xy"));
    b.confirm(106);
    assert_eq!((b.text().as_str(), b.stats.overlap_conflicts), ("abxycd", 0));
    b.push(&segment(98, b"no"));
    assert_eq!((b.stats.retransmitted, b.stream.first_seq()), (1, Some(100)));
}

#[test]
fn keep_alive_probes_change_nothing() {
    let mut b = to_server();
    b.push(&segment(99, b""));
    assert_eq!(b.stream.first_seq(), None);
    b.push(&live(100, b"ab", 100));
    b.push(&live(101, b"\0", 102));
    b.push(&live(101, b"", 102));
    assert_eq!((b.text().as_str(), b.stats.overlap_conflicts), ("ab", 0));
    assert_eq!(b.stats.retransmitted, 1);
}
