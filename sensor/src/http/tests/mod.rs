//! What a [`Connection`] says of whole dialogues, however they are cut.

mod documents;
mod features;
mod libhtp;
mod llhttp;
mod loss;
mod properties;

use super::{
    Chunk, Connection, Events, HttpEvent, Limits, Request,
    driver::{Driver, Pass, c, describe, describe_all, ids, run, run_joined, s, text},
};
use crate::{
    capture::Direction::{ToClient, ToServer},
    time::Time,
};

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
