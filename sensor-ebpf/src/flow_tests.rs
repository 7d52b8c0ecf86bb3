use std::{format, string::String, vec, vec::Vec};

use jotwatch_common::{
    Counter, HEAD_LIMIT, OPAQUE_HTTP2, OPAQUE_NOT_HTTP, OPAQUE_TLS, TO_CLIENT, TO_SERVER,
};

use super::{
    ALL, BODY, EARLY, Flow, Half, NO_LIMIT, SKIP, START, Segment, after, looks_like_request,
    looks_like_response,
};
use crate::plain::PLAIN_AFTER;
use crate::scan::{Notes, SLACK, head, status};

#[path = "flow_properties.rs"]
mod properties;

const REQUEST_BUDGET: u32 = 8192;
const RESPONSE_BUDGET: u32 = 1024;
const W: usize = 512 + SLACK;
/// Where the client's first byte stands in tests that place segments themselves.
const FIRST: u32 = 1;

fn words(bytes: &[u8]) -> [u64; W] {
    let mut out = [0; W];
    for (w, chunk) in out.iter_mut().zip(bytes.chunks(8)) {
        let mut b = [0; 8];
        b[..chunk.len()].copy_from_slice(chunk);
        *w = u64::from_le_bytes(b);
    }
    out
}

/// What the programs do with a segment.
struct Tap {
    flow: Flow,
    seq: [u32; 2],
    requests: u32,
    plain: u32,
}

#[derive(Debug, PartialEq, Eq)]
struct Taken {
    copied: usize,
    old: u32,
    request: bool,
}

impl Tap {
    fn new() -> Self {
        let mut flow = Flow::NEW;
        flow.turn = TO_CLIENT;
        // Both directions wrap early.
        Self { flow, seq: [u32::MAX - 100, u32::MAX - 5000], requests: 0, plain: 0 }
    }

    fn at(&mut self, direction: u8, seq: u32, bytes: &[u8], push: bool, fresh: bool) -> Taken {
        let budget = if direction == TO_SERVER { REQUEST_BUDGET } else { RESPONSE_BUDGET };
        let mut first = [0; 8];
        let n = bytes.len().min(8);
        first[..n].copy_from_slice(&bytes[..n]);
        let last = match bytes.last_chunk() {
            Some(b) if bytes.len() >= 8 => u32::from_le_bytes(*b),
            _ => 0,
        };
        let s = Segment {
            direction,
            seq,
            len: bytes.len() as u32,
            push,
            fresh,
            first: u64::from_le_bytes(first),
            last,
        };
        let covers = direction == TO_SERVER && seq == FIRST;
        self.flow.firsts += u32::from(covers);
        let old = self.flow.passed_before(direction, seq, s.len);
        let short = self.short(&s, budget);
        let plan = self.flow.plan(&s, budget);
        if let Some(mut short) = short {
            (short.told, short.plain) = (self.flow.told, self.flow.plain);
            assert_eq!(short, self.flow);
            assert_eq!((plan.copy, plan.scan, plan.reordered), (s.len, false, false));
            assert_eq!(plan.request, direction == TO_SERVER);
            self.plain += 1;
        }
        self.flow.note_plain(&s, &plan);
        self.requests += u32::from(plan.request);
        let mut copied = plan.copy;
        if plan.scan && copied > 0 {
            let chunk = &bytes[..copied.min(4096) as usize];
            let words = words(chunk);
            let found = head(&words, chunk.len() as u32, &Notes::default());
            copied = self.flow.scanned(&s, budget, found, status(&words));
        }
        assert!(copied <= s.len);
        assert!(old <= s.len);
        Taken { copied: copied as usize, old, request: plan.request }
    }

    /// What becomes of the state in short, if the segment is a plain one.
    fn short(&self, s: &Segment, budget: u32) -> Option<Flow> {
        let mut flow = self.flow;
        // Whatever came before: what it is expected to be decides on speed alone.
        (flow.told, flow.plain) = (1, [PLAIN_AFTER; 2]);
        let expected = flow.expects_plain(s.direction, s.seq, s.len);
        let before = flow;
        if expected && !s.fresh && flow.plain(s, budget) {
            return Some(flow);
        }
        assert_eq!(flow, before);
        None
    }

    fn seen(&self) -> u8 {
        self.flow.halves[0].seen
    }

    fn send(&mut self, direction: u8, bytes: &[u8], push: bool) -> usize {
        let seq = self.seq[usize::from(direction)];
        self.seq[usize::from(direction)] = seq.wrapping_add(bytes.len() as u32);
        self.at(direction, seq, bytes, push, false).copied
    }

    fn ask(&mut self, text: &str) -> usize {
        self.send(TO_SERVER, text.as_bytes(), true)
    }

    fn answer(&mut self, text: &str) -> usize {
        self.send(TO_CLIENT, text.as_bytes(), true)
    }
}

fn old_of(tap: &mut Tap, seq: u32, len: usize) -> u32 {
    tap.at(TO_SERVER, seq, &vec![b'x'; len], false, false).old
}

const GET: &str = "GET / HTTP/1.1\r\nHost: example\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn keep_alive_requests_are_whole_and_counted() {
    let mut tap = Tap::new();
    for i in 1..100 {
        assert_eq!(tap.ask(GET), GET.len());
        assert_eq!(tap.answer(OK), OK.len());
        assert_eq!(tap.requests, i);
    }
}

#[test]
fn plain_messages_are_told_and_expected() {
    const POST: &str = "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nok";
    const BARE: &str = "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n";
    const EMPTY: &str = "HTTP/1.1 204 No Content\r\n\r\n";
    for (request, response, wanted) in
        [(GET, OK, 2), (POST, OK, 2), (GET, EMPTY, 1), (BARE, OK, 1), (BARE, EMPTY, 0)]
    {
        let mut tap = Tap::new();
        for i in 0..10u32 {
            let before = tap.plain;
            assert_eq!(tap.ask(request), request.len());
            assert_eq!(tap.answer(response), response.len());
            // Of a connection's first messages nothing is in order yet.
            assert_eq!(tap.plain - before, if i == 0 { 0 } else { wanted }, "{i}");
            let expected = [0, 1].map(|d| {
                let mut flow = tap.flow;
                flow.told = 1;
                flow.expects_plain(d, tap.seq[usize::from(d)], 100)
            });
            let plain = i >= 3;
            assert_eq!(expected[0], plain && request != BARE, "{i}");
            assert_eq!(expected[1], plain && response != EMPTY, "{i}");
        }
    }
}

#[test]
fn a_body_is_skipped_exactly_to_its_end() {
    let mut tap = Tap::new();
    let head = "POST /u HTTP/1.1\r\nHost: example\r\nContent-Length: 100000\r\n\r\n";
    assert_eq!(tap.ask(head), head.len());
    let body = vec![b'x'; 10_000];
    let copied: Vec<_> = (0..10).map(|_| tap.send(TO_SERVER, &body, false)).collect();
    assert_eq!(copied, [8192, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(tap.flow.halves[0].mode, START);
    // The next request in the same turn.
    assert_eq!(tap.ask(GET), GET.len());
    assert_eq!(tap.requests, 2);
}

#[test]
fn bytes_behind_a_body_are_copied() {
    let mut tap = Tap::new();
    let head = "POST /u HTTP/1.1\r\nHost: example\r\nContent-Length: 20000\r\n\r\n";
    tap.ask(head);
    assert_eq!(tap.send(TO_SERVER, &[b'x'; 19_000], false), 8192);
    let mut tail = vec![b'x'; 1000];
    tail.extend_from_slice(GET.as_bytes());
    assert_eq!(tap.send(TO_SERVER, &tail, true), tail.len());
    assert_eq!(tap.requests, 2);
}

#[test]
fn a_body_may_look_like_a_request_within_its_turn() {
    let mut tap = Tap::new();
    tap.ask("POST /u HTTP/1.1\r\nHost: example\r\nContent-Length: 50000\r\n\r\n");
    assert_eq!(tap.send(TO_SERVER, &[b'x'; 10_000], false), 8192);
    let inner = "POST /v HTTP/1.1\r\nHost: example\r\nContent-Length: 9999999\r\n\r\n";
    // Skipping by the inner head would hide what follows the outer body.
    assert_eq!(tap.send(TO_SERVER, inner.as_bytes(), true), 0);
    assert_eq!(tap.send(TO_SERVER, &vec![b'x'; 40_000 - inner.len()], true), 0);
    assert_eq!(tap.ask(GET), GET.len());
    assert_eq!(tap.requests, 2);
}

#[test]
fn after_100_continue_the_body_is_still_the_body() {
    let mut tap = Tap::new();
    tap.ask("PUT /u HTTP/1.1\r\nHost: e\r\nExpect: 100-continue\r\nContent-Length: 30000\r\n\r\n");
    tap.answer("HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(tap.send(TO_SERVER, &[b'x'; 30_000], true), 8192);
    assert_eq!(tap.answer(OK), OK.len());
    assert_eq!(tap.ask(GET), GET.len());
    assert_eq!(tap.requests, 2);
    // With a head in its place, in a new turn: copied, whatever it is.
    tap.ask("PUT /u HTTP/1.1\r\nHost: e\r\nExpect: 100-continue\r\nContent-Length: 30000\r\n\r\n");
    tap.answer("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(tap.ask(GET), GET.len());
}

#[test]
fn unknown_framing_is_copied_up_to_the_cap() {
    let mut tap = Tap::new();
    let head = "POST /u HTTP/1.1\r\nHost: example\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut copied = tap.ask(head);
    for _ in 0..20 {
        copied += tap.send(TO_SERVER, &[b'x'; 10_000], false);
    }
    assert_eq!(copied as u32, HEAD_LIMIT + REQUEST_BUDGET);
    assert_eq!(tap.flow.halves[0].mode, SKIP);
    // A head at a segment's start ends it, and so does a turn.
    assert_eq!(tap.ask(GET), GET.len());
    assert_eq!(tap.requests, 2);
}

#[test]
fn a_head_of_64_kib_is_whole() {
    for size in [5_000, 60_000, HEAD_LIMIT as usize] {
        let mut tap = Tap::new();
        let mut text = String::from("POST / HTTP/1.1\r\n");
        while text.len() < size - 100 {
            text.push_str("X-Filler: 0123456789\r\n");
        }
        text.push_str(&format!("Content-Length: 0\r\nLast: {}\r\n\r\n", "a".repeat(60)));
        let copied: usize =
            text.as_bytes().chunks(1448).map(|c| tap.send(TO_SERVER, c, false)).sum();
        assert_eq!(copied, text.len());
    }
}

#[test]
fn pipelined_heads_are_never_cut() {
    let mut tap = Tap::new();
    let all = GET.repeat(20_000);
    let copied: usize = all.as_bytes().chunks(1448).map(|c| tap.send(TO_SERVER, c, true)).sum();
    assert_eq!(copied, all.len());
    assert_eq!(tap.flow.halves[0].left, NO_LIMIT);
}

#[test]
fn downloads_are_cut_and_the_next_head_is_not() {
    for framing in ["Content-Length: 3000000\r\n", "Transfer-Encoding: chunked\r\n", ""] {
        let mut tap = Tap::new();
        tap.ask(GET);
        let head = format!("HTTP/1.1 200 OK\r\nServer: s\r\n{framing}\r\n");
        let mut copied = tap.answer(&head);
        for _ in 0..300 {
            copied += tap.send(TO_CLIENT, &[b'x'; 10_000], false);
        }
        assert_eq!(copied, head.len() + RESPONSE_BUDGET as usize, "{framing}");
        tap.ask(GET);
        assert_eq!(tap.answer(OK), OK.len());
    }
}

#[test]
fn answers_without_a_body_end_with_their_head() {
    let big = "HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n";
    let mut tap = Tap::new();
    tap.ask("HEAD / HTTP/1.1\r\nHost: example\r\n\r\n");
    tap.answer(big);
    assert_eq!(tap.flow.halves[1].mode, START);
    tap.ask(GET);
    tap.answer("HTTP/1.1 304 Not Modified\r\nContent-Length: 3000000\r\n\r\n");
    assert_eq!(tap.flow.halves[1].mode, START);
    tap.ask(GET);
    tap.answer(big);
    assert_eq!(tap.flow.halves[1].mode, BODY);
    // The server gave up and answers the next request.
    tap.ask(GET);
    assert_eq!(tap.answer(OK), OK.len());
}

#[test]
fn pressure_gives_up_bodies_and_keeps_heads() {
    let mut flow = Flow::NEW;
    flow.turn = TO_CLIENT;
    let text = "POST / HTTP/1.1\r\nHost: e\r\nContent-Length: 500\r\n\r\n";
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(text.len() + 500, b'x');
    let s = Segment {
        direction: TO_SERVER,
        seq: 1,
        len: bytes.len() as u32,
        push: true,
        fresh: false,
        first: u64::from_le_bytes(*b"POST / H"),
        last: 0,
    };
    let plan = flow.plan(&s, 0);
    assert!(plan.scan);
    let found = head(&words(&bytes), s.len, &Notes::default());
    assert_eq!(flow.scanned(&s, 0, found, 0) as usize, text.len());
    assert_eq!(flow.halves[0].mode, START);
}

#[test]
fn old_and_early_bytes_are_copied() {
    let mut tap = Tap::new();
    let seq = tap.seq[0];
    tap.ask(GET);
    // A retransmission changes nothing.
    let before = tap.flow;
    assert_eq!(tap.at(TO_SERVER, seq, GET.as_bytes(), true, false).copied, GET.len());
    assert_eq!(tap.flow, before);
    assert_eq!(tap.requests, 1);
    tap.answer(OK);
    // A gap: everything of the turn.
    let gap = tap.seq[0].wrapping_add(1000);
    assert_eq!(tap.at(TO_SERVER, gap, &[b'y'; 9000], true, false).copied, 9000);
    assert_eq!(tap.flow.halves[0].mode, ALL);
}

#[test]
fn reordering_within_a_body_does_not_lose_its_end() {
    let mut tap = Tap::new();
    tap.ask("POST /u HTTP/1.1\r\nHost: example\r\nContent-Length: 30000\r\n\r\n");
    let base = tap.seq[0];
    let body = [b'x'; 10_000];
    // What fills a gap behind the message's end is copied: nothing tells it from a new version.
    for (at, copied) in [(0, 8192), (20_000, 0), (10_000, 10_000)] {
        assert_eq!(tap.at(TO_SERVER, base.wrapping_add(at), &body, false, false).copied, copied);
    }
    tap.seq[0] = base.wrapping_add(30_000);
    assert_eq!(tap.ask(GET), GET.len());
    assert_eq!(tap.requests, 2);
}

#[test]
fn foreign_first_bytes_are_opaque_only_at_the_start() {
    for (bytes, kind) in [
        (&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"[..], OPAQUE_TLS),
        (b"PRI * HTTP/2.0\r\n\r\n", OPAQUE_HTTP2),
        (b"\x00\x01\x02", OPAQUE_NOT_HTTP),
        (b"\xffhello", OPAQUE_NOT_HTTP),
        (b"\x16", 0),
        (b"\x16\x03", 0),
        (b"\r\nGET / HTTP/1.1", 0),
        (b"get / HTTP/1.1", 0),
        (b" GET / HTTP/1.1", 0),
        (b"\x0bGET / HTTP/1.1", 0),
        (b"\xa0GET / HTTP/1.1", 0),
        (b"PRI * ", 0),
    ] {
        for fresh in [true, false] {
            let mut tap = Tap::new();
            let taken = tap.at(TO_SERVER, 1, bytes, true, fresh);
            assert_eq!(taken.copied, bytes.len(), "{bytes:?}");
            let kind = if fresh { kind } else { 0 };
            assert_eq!(taken.request, kind == 0 && bytes.starts_with(b"PRI"), "{bytes:?}");
            assert_eq!((tap.flow.suspect, tap.flow.judge((0, 0))), (kind, kind), "{bytes:?}");
            assert_eq!(tap.flow.judge((0, 0)), 0, "judged once");
        }
    }
}

#[test]
fn only_a_first_segment_that_is_the_only_one_is_judged() {
    const TLS: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and more of it";
    const HTTP: &[u8] = b"GET / HTTP/1.1\r\nAuthorization: Bearer x\r\n\r\n";
    // What TCP took is the same to see in all of them.
    for others in [&[HTTP][..], &[TLS], &[HTTP, TLS], &[&HTTP[..1], &HTTP[1..]]] {
        for at in 0..=others.len() {
            let mut tap = Tap::new();
            let mut order = others.to_vec();
            order.insert(at, TLS);
            for bytes in order {
                let seq = if bytes.starts_with(b"E") { 2 } else { 1 };
                let taken = tap.at(TO_SERVER, seq, bytes, true, seq == 1 && tap.seen() == 0);
                assert_eq!(taken.copied, bytes.len(), "{at} {others:?}");
            }
            assert_eq!(tap.flow.judge((0, 0)), 0, "{at} {others:?}");
        }
    }
    // The listening socket's first segments count as well.
    for (early, own, kind) in [
        ((0, 0), EARLY, 0),
        ((1, 0), EARLY, 0),
        ((1, OPAQUE_TLS), EARLY, OPAQUE_TLS),
        ((2, OPAQUE_TLS), EARLY, 0),
        ((0, 0), OPAQUE_TLS, OPAQUE_TLS),
        ((1, 0), OPAQUE_TLS, 0),
        ((1, OPAQUE_TLS), OPAQUE_TLS, 0),
    ] {
        let mut flow = Flow { suspect: own, firsts: u32::from(own != EARLY), ..Flow::NEW };
        assert_eq!(flow.judge(early), kind, "{early:?} {own}");
    }
}

#[test]
fn looks() {
    let first = |t: &[u8]| {
        let mut b = [0; 8];
        let n = t.len().min(8);
        b[..n].copy_from_slice(&t[..n]);
        (u64::from_le_bytes(b), t.len() as u32)
    };
    for (text, request, response) in [
        (&b"GET / HTTP/1.1"[..], true, false),
        (b"PATCH /", true, false),
        (b"G", true, false),
        (b"GE", true, false),
        (b"ABC\r\n", false, false),
        (b"{\"a\":1}", false, false),
        (b"HTTP/1.1 200", true, true),
        (b"HTTP/2", false, false),
        (b"HT", true, true),
        (b"HTTP/1", true, true),
        (b"XTTP/1.1", true, false),
    ] {
        let (word, len) = first(text);
        let expected = if text == b"HTTP/2" { true } else { request };
        assert_eq!(looks_like_request(word, len), expected, "{text:?}");
        assert_eq!(looks_like_response(word, len), response, "{text:?}");
    }
}

#[test]
fn bytes_that_passed_before_are_known() {
    let mut tap = Tap::new();
    tap.ask("POST /u HTTP/1.1\r\nHost: example\r\nContent-Length: 1000000\r\n\r\n");
    let base = tap.seq[0];
    let mut old = |at: u32, len| old_of(&mut tap, base.wrapping_add(at), len);
    assert_eq!(old(0, 10_000), 0);
    // Sent again, in whole and with new bytes behind.
    assert_eq!(old(0, 10_000), 10_000);
    assert_eq!(old(5_000, 10_000), 5_000);
    // Two overtaken segments come late, each in two parts, then again.
    assert_eq!(old(25_000, 5_000), 0);
    assert_eq!(old(40_000, 5_000), 0);
    assert_eq!(old(15_000, 4_000), 0);
    assert_eq!(old(30_000, 10_000), 0);
    assert_eq!(old(18_000, 7_000), 1_000);
    assert_eq!(old(15_000, 30_000), 30_000);
    // Over both edges of a gap.
    assert_eq!(old(60_000, 1_000), 0);
    assert_eq!(old(44_000, 18_000), 3_000 - 1_000);
    assert_eq!(tap.flow.halves[0].gaps.map(|gap| gap.len), [0; 2]);
}

#[test]
fn a_request_without_a_byte_in_the_ring_is_lost_and_others_are_cut() {
    let mut tap = Tap::new();
    tap.ask("POST /u HTTP/1.1\r\nHost: example\r\nContent-Length: 20000\r\n\r\n");
    assert!(tap.seq[0] != 0);
    let part = |tap: &mut Tap, bytes: &[u8]| {
        let seq = tap.seq[0];
        tap.seq[0] = seq.wrapping_add(bytes.len() as u32);
        tap.at(TO_SERVER, seq, bytes, true, false).request
    };
    // Two pieces of the body are lost: one request is cut.
    assert!(!part(&mut tap, &[b'x'; 5_000]));
    assert_eq!(tap.flow.cut(false, 4096), Some(Counter::RequestsCut));
    assert!(!part(&mut tap, &[b'x'; 3_000]));
    assert_eq!(tap.flow.cut(false, 0), None);
    assert!(!part(&mut tap, &[b'x'; 10_000]));
    // So is the segment that ends the body, and in which the next request starts.
    let mut tail = vec![b'x'; 2_000];
    tail.extend_from_slice(GET.as_bytes());
    assert!(part(&mut tap, &tail));
    assert_eq!(tap.flow.cut(true, 0), Some(Counter::RequestsLost));
    // Of the same request nothing more is counted; of the next, it is.
    assert_eq!(tap.flow.cut(false, 0), None);
    tap.answer(OK);
    assert!(part(&mut tap, GET.as_bytes()));
    assert_eq!(tap.flow.cut(true, 0), Some(Counter::RequestsLost));
    tap.answer(OK);
    assert!(part(&mut tap, GET.as_bytes()));
    assert_eq!(tap.flow.cut(true, 10), Some(Counter::RequestsCut));
}

#[test]
fn runs_of_skipped_bytes_grow_both_ways_across_the_wrap() {
    let mut half = Half::default();
    half.skip(u32::MAX - 9, 10);
    half.skip(0, 5);
    assert_eq!((half.hole_seq, half.hole_len), (u32::MAX - 9, 15));
    half.skip(u32::MAX - 19, 10);
    half.skip(u32::MAX - 9, 3);
    assert_eq!((half.hole_seq, half.hole_len), (u32::MAX - 19, 25));
}

#[test]
fn an_acknowledgement_confirms_once() {
    let mut flow = Flow::NEW;
    assert!(!flow.confirms(500));
    flow.copied(u32::MAX - 9, 110);
    assert!(!flow.confirms(u32::MAX - 9));
    assert!(flow.confirms(50));
    assert!(!flow.confirms(50));
    assert!(flow.confirms(100));
    assert!(!flow.confirms(100));
    assert!(after(0, u32::MAX) && !after(5, 5));
}
