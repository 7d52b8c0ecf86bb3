//! Drives a [`Connection`] as the flow stage does, and writes down what it says.

mod documents;
mod features;
mod libhtp;
mod llhttp;
mod loss;
mod properties;

use super::{Chunk, Connection, Events, HttpEvent, Limits, Request};
use crate::{
    capture::Direction::{self, ToClient, ToServer},
    time::Time,
};

/// What passes.
#[derive(Clone, Debug)]
enum Pass {
    Bytes(Direction, Vec<u8>),
    Gap(Direction, u64),
    End(Direction, bool),
}

fn c(bytes: impl AsRef<[u8]>) -> Pass {
    Pass::Bytes(ToServer, bytes.as_ref().to_vec())
}

fn s(bytes: impl AsRef<[u8]>) -> Pass {
    Pass::Bytes(ToClient, bytes.as_ref().to_vec())
}

/// A connection with the bytes that it has not consumed.
struct Driver {
    connection: Connection,
    rest: [Vec<u8>; 2],
    limits: Limits,
    now: u64,
    out: Events,
}

impl Driver {
    fn new(joined_midway: bool) -> Self {
        Self {
            connection: Connection::new(joined_midway),
            rest: [Vec::new(), Vec::new()],
            limits: Limits::default(),
            now: 0,
            out: Events::default(),
        }
    }

    fn pass(&mut self, pass: &Pass) {
        self.now += 1;
        let at = Time::from_unix_nanos(self.now);
        match pass {
            Pass::Bytes(direction, bytes) => {
                let rest = &mut self.rest[usize::from(*direction == ToClient)];
                rest.extend_from_slice(bytes);
                let push = |connection: &mut Connection, rest: &[u8], out: &mut Events| {
                    connection.push(*direction, at, Chunk::Data(rest), &self.limits, out)
                };
                let used = push(&mut self.connection, rest, &mut self.out);
                assert!(used <= rest.len());
                rest.drain(..used);
                assert!(rest.len() <= self.limits.head_bytes);
                // Offered without more, it is left alone.
                let events = self.out.len();
                assert_eq!(push(&mut self.connection, rest, &mut self.out), 0);
                assert_eq!(self.out.len(), events);
            }
            Pass::Gap(direction, n) => {
                self.rest[usize::from(*direction == ToClient)].clear();
                let chunk = Chunk::Gap(*n);
                self.connection.push(*direction, at, chunk, &self.limits, &mut self.out);
            }
            Pass::End(direction, reset) => {
                let chunk = Chunk::End { reset: *reset };
                self.connection.push(*direction, at, chunk, &self.limits, &mut self.out);
            }
        }
    }

    fn finish(mut self) -> Vec<HttpEvent> {
        self.now += 1;
        self.connection.finish(Time::from_unix_nanos(self.now), &mut self.out);
        check_order(&self.out);
        self.out.take()
    }
}

/// `Request`, `Response`, `Document`, `Done`, each at most once, `Done` always; ids ascend from 0.
fn check_order(events: &[HttpEvent]) {
    let mut stages: Vec<u8> = Vec::new();
    for event in events {
        let (id, from, to) = match event {
            HttpEvent::Request { id, .. } => {
                assert_eq!(*id, stages.len() as u64, "ids ascend");
                stages.push(0);
                (*id, 0..=0, 1)
            }
            HttpEvent::Response { id, .. } => (*id, 1..=1, 2),
            HttpEvent::Document { id, .. } => (*id, 2..=2, 3),
            HttpEvent::Done { id, .. } => (*id, 1..=3, 4),
            HttpEvent::Malformed { findings, .. } => {
                assert!(!findings.is_empty());
                continue;
            }
            HttpEvent::Opaque { .. } => continue,
        };
        let stage = &mut stages[usize::try_from(id).unwrap()];
        assert!(from.contains(stage), "{event:?} out of turn");
        *stage = to;
    }
    assert!(stages.iter().all(|&s| s == 4), "every exchange is closed");
}

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

fn ids(findings: &[crate::finding::Finding]) -> String {
    let mut ids: Vec<_> =
        findings.iter().map(|f| f.id.as_str().trim_start_matches("http-")).collect();
    ids.sort_unstable();
    if ids.is_empty() { String::new() } else { format!(" !{}", ids.join(",")) }
}

fn describe_request(r: &Request) -> String {
    let body = match (r.body.bytes.len(), r.body.complete) {
        (0, true) => String::new(),
        (n, complete) => format!(" body={n}{}", if complete { "" } else { ".." }),
    };
    format!("{} {}{body}{}", text(r.method()), text(r.target()), ids(&r.findings))
}

/// One line an event, without times.
fn describe(event: &HttpEvent) -> String {
    match event {
        HttpEvent::Request { id, request } => format!("{id} {}", describe_request(request)),
        HttpEvent::Response { id, response } => {
            format!("{id} -> {}{}", response.status, ids(&response.findings))
        }
        HttpEvent::Document { id, body } => {
            let cut = if body.complete { "" } else { ".." };
            format!("{id} document {}{cut}", text(&body.bytes))
        }
        HttpEvent::Done { id, request_bytes, response_bytes, complete, .. } => {
            let complete = if *complete { "done" } else { "cut" };
            format!("{id} {complete} {request_bytes}/{response_bytes}")
        }
        HttpEvent::Malformed { findings, .. } => format!("malformed{}", ids(findings)),
        HttpEvent::Opaque { kind, .. } => format!("opaque {}", kind.as_str()),
    }
}

fn describe_all(events: &[HttpEvent]) -> Vec<String> {
    events.iter().map(describe).collect()
}

fn run_joined(joined_midway: bool, passes: &[Pass]) -> Vec<HttpEvent> {
    let mut driver = Driver::new(joined_midway);
    for pass in passes {
        driver.pass(pass);
    }
    driver.finish()
}

fn run(passes: &[Pass]) -> Vec<String> {
    describe_all(&run_joined(false, passes))
}

/// The requests among the events of a client that sends `bytes`.
fn requests(bytes: impl AsRef<[u8]>) -> Vec<Request> {
    run_joined(false, &[c(bytes)])
        .into_iter()
        .filter_map(|e| match e {
            HttpEvent::Request { request, .. } => Some(*request),
            _ => None,
        })
        .collect()
}

/// Whole dialogues of every kind, for the tests that cut them up.
fn dialogues() -> Vec<(&'static str, Vec<Pass>)> {
    let big = format!("GET /big HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(3000));
    vec![
        (
            "get",
            vec![
                c("GET /a?b HTTP/1.1\r\nHost: a\r\n\r\n"),
                s("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"),
            ],
        ),
        (
            "key sets",
            vec![
                c("GET /.well-known/jwks.json HTTP/1.1\r\nHost: a\r\n\r\n"),
                s("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n {\"keys\":[]}"),
                c("GET /certs HTTP/1.1\r\nHost: a\r\n\r\n"),
                s(
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{\"ke\r\n7\r\nys\":[]}\r\n0\r\n\r\n",
                ),
            ],
        ),
        (
            "length",
            vec![
                c("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"),
                s("HTTP/1.1 204 No Content\r\n\r\n"),
            ],
        ),
        (
            "chunked",
            vec![
                c(
                    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=\"y\"\r\nhello\r\nA\r\n0123456789\r\n0\r\nT: 1\r\nU: 2\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
                ),
                s(
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
                ),
            ],
        ),
        (
            "bare lf",
            vec![
                c(
                    "\n\r\nGET / HTTP/1.1\nHost: a\n\nPOST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n1\na\n0\n\n",
                ),
                s("HTTP/1.0 200 OK\n\nuntil close"),
                Pass::End(ToClient, false),
            ],
        ),
        (
            "folded",
            vec![
                c("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer\r\n  token\r\n\r\n"),
                s("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
            ],
        ),
        (
            "big head",
            vec![
                c(big),
                s("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"),
                c("HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n"),
                s("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
            ],
        ),
        (
            "smuggling",
            vec![
                c(
                    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /admin HTTP/1.1\r\nHost: a\r\n\r\n",
                ),
                s("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
            ],
        ),
        (
            "broken chunk",
            vec![
                c(
                    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcXX\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n",
                ),
                s("HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n"),
            ],
        ),
        (
            "bad length",
            vec![
                c(
                    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n{...}GET /next HTTP/1.1\r\nHost: a\r\n\r\n",
                ),
                s("HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n"),
            ],
        ),
        (
            "malformed",
            vec![
                c(
                    "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/3.1\r\n\r\nrest of it\r\nPUT /c HTTP/1.1\r\nHost: a\r\n\r\n",
                ),
                s(
                    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxnoise HTTP/1.1 HTTP/1.HTTP/1.1 500 Oops\r\n\r\n",
                ),
            ],
        ),
        (
            "upgrade",
            vec![
                c(
                    "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
                ),
                s("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x01\x02"),
            ],
        ),
        (
            "refused body",
            vec![
                c(
                    "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\nExpect: 100-continue\r\n\r\n",
                ),
                s("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"),
                c("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n"),
                s("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
            ],
        ),
        ("tls", vec![c(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03random")]),
        ("http2", vec![c("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")]),
        ("redis", vec![c("*1\r\n$4\r\nPING\r\n"), s("+PONG\r\n")]),
    ]
}
