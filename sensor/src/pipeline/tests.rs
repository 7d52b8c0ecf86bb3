mod behaviour;
mod clock;
mod ends;
mod enforcement;
mod vouched;

use std::{sync::Arc, time::Duration};

use super::{ANSWER_TAIL, Output, Pipeline, Settings};
use crate::{
    capture::{Direction, FlowKey, Input, OpaqueKind, Segment, Service, TcpFlags},
    config::Config,
    enforce::{Cut, CutOutcome},
    event::{Body, Event, ExchangeLine},
    keys::FetchMark,
    time::Time,
    token::FingerprintKey,
};

/// `{"alg":"none"}.{}.`
const UNSIGNED: &str = "eyJhbGciOiJub25lIn0.e30.";

pub(super) struct Gathered {
    pub(super) events: Vec<Event>,
    cuts: Vec<Cut>,
    /// What becomes of each cut.
    outcome: CutOutcome,
    exchanges: Vec<String>,
    stopped: Vec<u64>,
    /// The last fetch of keys that has begun.
    pub(super) fetching: Option<FetchMark>,
}

impl Default for Gathered {
    fn default() -> Self {
        let (events, cuts, exchanges, stopped) = Default::default();
        let outcome = CutOutcome::Reset;
        Self { events, cuts, outcome, exchanges, stopped, fetching: None }
    }
}

impl Output for Gathered {
    fn event(&mut self, event: Event) {
        self.events.push(event);
    }

    fn cut(&mut self, cut: &Cut) -> CutOutcome {
        self.cuts.push(cut.clone());
        self.outcome
    }

    fn wants_exchanges(&self) -> bool {
        true
    }

    fn exchange(&mut self, line: &ExchangeLine<'_>) {
        let mut text = Vec::new();
        line.write(&mut text);
        self.exchanges.push(String::from_utf8(text).unwrap());
    }

    fn unknown_key(&mut self, _: Option<&str>, _: &str) -> Option<FetchMark> {
        self.fetching
    }

    fn stop_flow(&mut self, cookie: u64) {
        self.stopped.push(cookie);
    }
}

/// A pipeline with one client's connection in it.
pub(super) struct Bench {
    pub(super) pipeline: Pipeline,
    pub(super) out: Gathered,
    sent: [u32; 2],
    client: [u8; 4],
    port: u16,
    now: Time,
    /// The kernel counted the next segment as a request's start.
    counted: bool,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(|_| ())
    }

    pub(super) fn settings(&self) -> Settings {
        Settings::new(&Config::default(), FingerprintKey::new([7; 16]), [1; 16])
    }

    fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::new(&Config::default(), FingerprintKey::new([7; 16]), [1; 16]);
        change(&mut settings);
        Self {
            pipeline: Pipeline::new(settings),
            out: Gathered::default(),
            sent: [1000, 5000],
            client: [10, 0, 0, 1],
            port: 40_000,
            now: Time::from_unix_secs(1_700_000_000),
            counted: false,
        }
    }

    fn key(&self) -> FlowKey {
        FlowKey {
            client: (self.client, self.port).into(),
            server: ([10, 0, 0, 2], 8080).into(),
            scope: 0,
        }
    }

    pub(super) fn connect(&mut self, port: u16) {
        self.port = port;
        self.sent = [1000, 5000];
        let flags = TcpFlags { syn: true, ..TcpFlags::default() };
        self.segment(Direction::ToServer, b"", flags);
        self.sent[0] += 1;
        self.segment(Direction::ToClient, b"", flags);
        self.sent[1] += 1;
    }

    pub(super) fn segment(&mut self, direction: Direction, payload: &[u8], flags: TcpFlags) {
        let (own, other) = match direction {
            Direction::ToServer => (0, 1),
            Direction::ToClient => (1, 0),
        };
        let segment = Segment {
            flow: self.key(),
            cookie: 9,
            direction,
            at: self.now,
            seq: self.sent[own],
            len: payload.len() as u32,
            payload,
            flags,
            ack: Some(self.sent[other]),
            rcv_nxt: None,
            request: self.counted,
        };
        self.pipeline.push(&Input::Segment(segment), &mut self.out);
        self.sent[own] += payload.len() as u32;
    }

    pub(super) fn request(&mut self, token: &str) {
        self.request_to("/a", token);
    }

    fn request_to(&mut self, path: &str, token: &str) {
        let text =
            format!("GET {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n");
        self.segment(Direction::ToServer, text.as_bytes(), TcpFlags::default());
    }

    pub(super) fn response(&mut self, text: &str) {
        self.segment(Direction::ToClient, text.as_bytes(), TcpFlags::default());
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.pipeline.tick(self.now, &mut self.out);
    }

    /// Status and answer bytes of each request event so far.
    fn answers(&self) -> Vec<Option<(u16, u64)>> {
        let request = |event: &Event| match &event.body {
            Body::Request(request) => Some(request.response.map(|r| (r.status, r.bytes))),
            _ => None,
        };
        self.out.events.iter().filter_map(request).collect()
    }
}

#[test]
fn an_alert_goes_out_with_its_whole_answer() {
    let mut bench = Bench::new();
    bench.connect(40_000);
    bench.request(UNSIGNED);
    assert!(bench.out.events.is_empty());
    bench.response("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n");
    assert!(bench.out.events.is_empty(), "the body is still to come");
    bench.response("okay");
    assert_eq!(bench.answers(), [Some((200, 42))]);
    assert_eq!(bench.out.exchanges.len(), 1);
    bench.pass(Duration::from_secs(60));
    assert_eq!(bench.answers().len(), 1, "told once");
}

#[test]
fn an_alert_does_not_wait_for_a_long_answer_or_for_none() {
    let mut bench = Bench::new();
    bench.connect(40_000);
    bench.request(UNSIGNED);
    bench.response("HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n");
    bench.pass(ANSWER_TAIL / 2);
    assert!(bench.out.events.is_empty());
    bench.pass(ANSWER_TAIL);
    assert_eq!(bench.answers().len(), 1);

    let mut bench = Bench::new();
    bench.connect(40_000);
    bench.request(UNSIGNED);
    bench.pass(Duration::from_secs(1));
    assert!(bench.out.events.is_empty());
    bench.pass(Duration::from_secs(5));
    assert_eq!(bench.answers(), [None]);
    bench.response("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(bench.answers().len(), 1, "told once");
    assert!(bench.out.exchanges[0].contains("\"status\":401"));
}

#[test]
fn a_request_that_nobody_confirms_is_judged_after_the_wait() {
    let mut bench = Bench::new();
    // Neither handshake nor answer: a capture of one side.
    bench.request(UNSIGNED);
    assert_eq!(bench.pipeline.stats().requests, 0);
    bench.pass(Duration::from_millis(600));
    assert_eq!(bench.pipeline.stats().requests, 1);
}

#[test]
fn good_tokens_and_no_tokens_raise_nothing() {
    let mut bench = Bench::new();
    bench.connect(40_000);
    for token in ["opaque-credential", "eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl"] {
        bench.request(token);
        bench.response("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    }
    bench.pipeline.finish(&mut bench.out);
    assert!(bench.out.events.is_empty());
    assert_eq!(bench.out.exchanges.len(), 2);
}

#[test]
fn the_number_of_connections_is_bounded_and_the_oldest_gives_way() {
    let mut bench = Bench::with(|settings| settings.max_flows = 3);
    for port in 1..=10 {
        bench.connect(port);
        bench.request(UNSIGNED);
    }
    let stats = bench.pipeline.stats();
    assert_eq!((stats.flows_open, stats.flows_evicted), (3, 7));
    assert_eq!(bench.answers().len(), 7, "what an evicted connection held is told");
}

#[test]
fn the_bytes_of_all_connections_are_bounded() {
    let mut bench = Bench::with(|settings| settings.max_held_bytes = 100_000);
    for port in 1..=100 {
        bench.connect(port);
        let unfinished = format!("GET / HTTP/1.1\r\nX: {}", "y".repeat(20_000));
        bench.segment(Direction::ToServer, unfinished.as_bytes(), TcpFlags::default());
        assert!(bench.pipeline.stats().held_bytes <= 100_000);
    }
    assert!(bench.pipeline.stats().flows_evicted >= 90);
}

#[test]
fn held_bytes_come_back_to_nothing() {
    let mut bench = Bench::new();
    for port in 1..=20 {
        bench.connect(port);
        bench.request(UNSIGNED);
        if port % 2 == 0 {
            bench.response("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n");
        }
    }
    assert!(bench.pipeline.stats().held_bytes > 0);
    bench.pass(Duration::from_secs(301));
    let stats = bench.pipeline.stats();
    assert_eq!((stats.flows_open, stats.held_bytes, stats.flows_expired), (0, 0, 20));
}

#[test]
fn an_opaque_flow_is_told_once_and_copied_no_more() {
    let first: [(&[u8], _); 3] = [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", OpaqueKind::Tls),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", OpaqueKind::Http2),
        (b"\x00\x00\x00\x10binary", OpaqueKind::NotHttp),
    ];
    for (bytes, kind) in first {
        // Before it is told of, the bytes may be read, or wait until TCP is known to have them.
        for read in [true, false] {
            let mut bench = Bench::new();
            bench.connect(40_000);
            bench.segment(Direction::ToServer, bytes, TcpFlags::default());
            if read {
                bench.response("\x16\x03\x03\0\0\0\0\0");
            }
            let opaque = Input::Opaque { flow: bench.key(), cookie: 9, at: bench.now, kind };
            bench.pipeline.push(&opaque, &mut bench.out);
            bench.pass(Duration::from_secs(1));
            assert_eq!(bench.out.stopped, [9], "{kind:?} {read}");
            assert_eq!(bench.out.events.len(), 1, "{kind:?} {read}");
            let stats = bench.pipeline.stats();
            let told = [stats.opaque_tls, stats.opaque_http2, stats.opaque_not_http];
            let due = [OpaqueKind::Tls, OpaqueKind::Http2, OpaqueKind::NotHttp];
            assert_eq!(told, due.map(|one| u64::from(one == kind)), "{read}");
        }
    }
}

#[test]
fn another_socket_on_the_same_addresses_is_another_connection() {
    let mut bench = Bench::new();
    bench.connect(40_000);
    bench.request("x");
    bench.response("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let at = bench.now;
    let closed = |cookie| Input::Closed { flow: bench.key(), cookie, at };
    let (stale, own) = (closed(8), closed(9));
    bench.pipeline.push(&stale, &mut bench.out);
    assert_eq!(bench.pipeline.stats().flows_open, 1, "the end of another socket");
    bench.pipeline.push(&own, &mut bench.out);
    assert_eq!(bench.pipeline.stats().flows_open, 0);
}

fn opened(bench: &Bench, cookie: u64, rcv_nxt: u32) -> Input<'static> {
    Input::Opened { flow: bench.key(), cookie, at: bench.now, rcv_nxt }
}

#[test]
fn a_handshake_opens_and_no_stray_segment_does() {
    let mut bench = Bench::new();
    let ends = [(true, false), (false, true), (false, false)];
    for direction in [Direction::ToServer, Direction::ToClient] {
        for (fin, rst) in ends {
            bench.segment(direction, b"", TcpFlags { fin, rst, ..TcpFlags::default() });
        }
    }
    assert_eq!(bench.pipeline.stats().flows_opened, 0);
    // Opened before its first byte, and told once more with it.
    for _ in 0..2 {
        let open = opened(&bench, 0, 1000);
        bench.pipeline.push(&open, &mut bench.out);
    }
    assert_eq!((bench.pipeline.stats().flows_opened, bench.pipeline.stats().flows_open), (1, 1));
    bench.request(UNSIGNED);
    let again = opened(&bench, 9, 1000);
    bench.pipeline.push(&again, &mut bench.out);
    bench.response("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(bench.out.exchanges.len(), 1);
    assert_eq!(bench.pipeline.stats().flows_opened, 1);
    // The end was not told, and the addresses are used again.
    bench.sent = [70_000, 90_000];
    let next = opened(&bench, 0, 70_000);
    bench.pipeline.push(&next, &mut bench.out);
    assert_eq!((bench.pipeline.stats().flows_opened, bench.pipeline.stats().flows_open), (2, 1));
    bench.request(UNSIGNED);
    bench.response("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(bench.out.exchanges.len(), 2);
}

#[test]
fn first_bytes_that_overtook_the_handshake_are_the_first() {
    let mut bench = Bench::new();
    // Were it joined midway, binary bytes of one side alone would not make it opaque.
    bench.segment(
        Direction::ToServer,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        TcpFlags::default(),
    );
    let open = opened(&bench, 0, 1000);
    bench.pipeline.push(&open, &mut bench.out);
    bench.segment(Direction::ToClient, b"\x15\x03\x01", TcpFlags::default());
    assert_eq!(bench.pipeline.stats().opaque_tls, 1);
    assert_eq!(bench.pipeline.stats().flows_opened, 1);
}

#[test]
fn an_event_waits_for_the_name_of_its_service_but_not_for_long() {
    let service = || Arc::new(Service { pid: Some(7), ..Service::default() });
    let wait = Duration::from_millis(100);
    let mut bench = Bench::with(|settings| settings.service_wait = wait);
    let alert = |bench: &mut Bench, port| {
        bench.connect(port);
        bench.request(UNSIGNED);
        bench.response("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        bench.key()
    };
    let named = |bench: &Bench| -> Vec<Option<u32>> {
        bench.out.events.iter().map(|event| event.body.service().and_then(|s| s.pid)).collect()
    };
    // The answer comes in time, though the connection is gone by then.
    let flow = alert(&mut bench, 40_001);
    bench.pipeline.push(&Input::Closed { flow, cookie: 9, at: bench.now }, &mut bench.out);
    assert_eq!(named(&bench), []);
    bench.pipeline.push(&Input::Service { flow, service: service() }, &mut bench.out);
    assert_eq!(named(&bench), [Some(7)]);
    // It does not come, or is known already.
    alert(&mut bench, 40_002);
    bench.pass(wait - Duration::from_millis(1));
    assert_eq!(named(&bench).len(), 1);
    bench.pass(Duration::from_millis(1));
    assert_eq!(named(&bench), [Some(7), None]);
    bench.connect(40_003);
    let flow = bench.key();
    bench.pipeline.push(&Input::Service { flow, service: service() }, &mut bench.out);
    bench.request(UNSIGNED);
    bench.response("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(named(&bench), [Some(7), None, Some(7)]);
    // The end of the source gives out what waits.
    alert(&mut bench, 40_004);
    bench.pipeline.finish(&mut bench.out);
    assert_eq!(named(&bench).len(), 4);
}

/// Requests that the kernel counted meet one fate each, whatever is lost of them.
#[test]
fn every_counted_request_is_seen_or_lost_by_a_cause() {
    let starts = |bench: &Bench| bench.pipeline.stats().starts;
    let get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    let send = |bench: &mut Bench, text: &str, counted| {
        bench.counted = counted;
        bench.segment(Direction::ToServer, text.as_bytes(), TcpFlags::default());
        bench.counted = false;
    };
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let mut bench = Bench::new();
    bench.connect(40_000);
    // Whole; three in one segment; a head in two.
    send(&mut bench, get, true);
    bench.response(answer);
    send(&mut bench, &get.repeat(3), true);
    bench.response(&answer.repeat(3));
    send(&mut bench, &get[..20], true);
    assert_eq!(starts(&bench).open, 1);
    send(&mut bench, &get[20..], false);
    bench.response(answer);
    assert_eq!((starts(&bench).begun, starts(&bench).unmarked, starts(&bench).open), (5, 2, 0));
    // The rest of a head is lost; the next request is not.
    send(&mut bench, &get[..20], true);
    bench.sent[0] += 500;
    bench.response(answer);
    send(&mut bench, get, true);
    bench.response(answer);
    assert_eq!((starts(&bench).begun, starts(&bench).cut), (6, 1));
    // A body behind its head is lost: the request is seen all the same.
    send(&mut bench, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 500\r\n\r\n", true);
    bench.sent[0] += 500;
    bench.response(answer);
    assert_eq!((starts(&bench).begun, starts(&bench).cut), (7, 1));
    // Not to be read; and bytes of a body that look like a start.
    send(&mut bench, "GET /\r\n\r\n", true);
    bench.response(answer);
    send(&mut bench, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\n", true);
    bench.response("HTTP/1.1 100 Continue\r\n\r\n");
    send(&mut bench, "ABCDEFGH", true);
    bench.response(answer);
    assert_eq!((starts(&bench).begun, starts(&bench).malformed), (8, 1));
    assert_eq!(starts(&bench).mistaken, 1);
    // The connection ends within a head.
    send(&mut bench, &get[..9], true);
    bench.pipeline.finish(&mut bench.out);
    let stats = bench.pipeline.stats();
    assert_eq!(stats.starts.incomplete, 1);
    let starts = &stats.starts;
    assert_eq!((starts.taken, starts.open, starts.begun), (10, 0, stats.requests));
    assert_eq!(
        starts.taken + starts.unmarked - starts.mistaken,
        stats.requests + starts.cut + starts.incomplete + starts.malformed
    );
}

#[test]
fn a_probe_of_the_port_leaves_nothing() {
    let mut bench = Bench::new();
    bench.connect(40_000);
    let fin = TcpFlags { fin: true, ..TcpFlags::default() };
    bench.segment(Direction::ToServer, b"", fin);
    bench.sent[0] += 1;
    assert_eq!(bench.pipeline.stats().flows_open, 1);
    bench.segment(Direction::ToClient, b"", fin);
    let stats = bench.pipeline.stats();
    assert_eq!((stats.flows_open, stats.flows_closed), (0, 1));
}

/// The findings of each request event so far, and what the service made of it.
fn said(bench: &Bench) -> Vec<(Vec<&'static str>, &'static str)> {
    let request = |event: &Event| match &event.body {
        Body::Request(request) => {
            Some((request.findings.iter().map(|f| f.id.as_str()).collect(), request.outcome))
        }
        _ => None,
    };
    bench.out.events.iter().filter_map(request).collect()
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

#[test]
fn routes_ask_for_scopes_and_public_ones_prove_no_bypass() {
    let config = r#"
        [[service]]
        port = 8080
        [[service.route]]
        method = "GET"
        path = "/orders/{id}"
        scopes = ["orders:read"]
        [[service.route]]
        method = "GET"
        path = "/"
        public = true
    "#;
    let config = crate::config::parse(config, std::path::Path::new("c")).unwrap();
    let mut bench = Bench::new();
    bench.pipeline.serve(crate::services::Services::load(&config.services).unwrap().into());
    bench.connect(40_000);
    // {"alg":"HS256"}, {"scope":"orders:read x"} and {"scope":"x"}
    let reads = "eyJhbGciOiJIUzI1NiJ9.eyJzY29wZSI6Im9yZGVyczpyZWFkIHgifQ.c2lnbmF0dXJl";
    let other = "eyJhbGciOiJIUzI1NiJ9.eyJzY29wZSI6IngifQ.c2lnbmF0dXJm";
    for (path, token) in
        [("/orders/7", reads), ("/orders/7", other), ("/", UNSIGNED), ("/a", UNSIGNED)]
    {
        bench.request_to(path, token);
        bench.response(OK);
    }
    assert_eq!(
        said(&bench),
        [
            (vec!["scope-insufficient-for-route"], "accepted"),
            (vec!["alg-none"], "accepted"),
            (vec!["alg-none", "bypass-confirmed"], "bypass"),
        ]
    );
}

#[test]
fn one_signature_under_two_payloads_is_told_without_any_key() {
    let mut bench = Bench::new();
    bench.connect(40_000);
    // {"alg":"HS256"}, {"sub":"a"} and {"sub":"b"}, one signature.
    let signature = "c2lnbmF0dXJlIG9mIHNvbWUgbGVuZ3RoLCAzMiBieXQ";
    for claims in ["eyJzdWIiOiJhIn0", "eyJzdWIiOiJhIn0", "eyJzdWIiOiJiIn0"] {
        bench.request(&format!("eyJhbGciOiJIUzI1NiJ9.{claims}.{signature}"));
        bench.response(OK);
    }
    assert_eq!(said(&bench), [(vec!["token-tampered", "bypass-confirmed"], "bypass")]);
}
