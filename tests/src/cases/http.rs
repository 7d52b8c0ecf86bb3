//! Cases of HTTP framing, and of what is not HTTP.

use std::{fmt::Write as _, time::Duration};

use jotwatch::capture::Direction::{ToClient, ToServer};

use super::{CLIENT, Case, SERVER, get, ok, post, script, status, with_headers};
use crate::{
    capture::{Capture, Connection, Link},
    tokens::{alg_none, good},
};

const fn case(name: &'static str, about: &'static str, input: fn() -> Vec<u8>) -> Case {
    Case { name, about, config: None, input }
}

/// A request with framing of its own, its answer, and an ordinary forged request behind it.
fn smuggled(request: &'static str) -> impl Fn(&mut Capture, &mut Connection) {
    move |capture, c| {
        capture.exchange(c, request, ok("{}"));
        capture.finish(c, ToClient);
    }
}

/// Each request on a connection of its own.
fn separate(requests: &[&'static str]) -> Vec<u8> {
    let mut capture = Capture::pcap(Link::Ethernet);
    for (k, request) in requests.iter().enumerate() {
        let mut c = Connection::new(&format!("192.0.2.10:{}", 40_001 + k), SERVER);
        capture.handshake(&mut c);
        smuggled(request)(&mut capture, &mut c);
        capture.wait(Duration::from_millis(10));
    }
    capture.into_bytes()
}

pub(super) const CASES: &[Case] = &[
    case("keep-alive", "Several requests after each other on one connection.", || {
        script(|capture, c| {
            for k in 0..5 {
                capture.exchange(c, get(&format!("/items/{k}"), &good("alice")), ok("[]"));
            }
            capture.exchange(c, get("/admin", &alg_none("admin")), ok("{}"));
            capture.close(c);
        })
    }),
    case("pipelining", "Five requests in one segment, answered in one go.", || {
        script(|capture, c| {
            let mut requests = String::new();
            for k in 0..4 {
                requests += &get(&format!("/p{k}"), &good("alice"));
            }
            requests += &get("/p4", &alg_none("admin"));
            let answers: Vec<String> = (0..5)
                .map(|k| if k == 3 { status("404 Not Found", "{}") } else { ok("{}") })
                .collect();
            capture.exchange(c, requests, answers.concat());
            capture.close(c);
        })
    }),
    case("head-60k", "A head of 60 KiB and 67 fields; Authorization is the last.", || {
        script(|capture, c| {
            let mut lines = String::new();
            for k in 0..64 {
                let _ = write!(lines, "X-Pad-{k:02}: {}\r\n", "p".repeat(930));
            }
            let _ = write!(lines, "Authorization: Bearer {}\r\n", alg_none("admin"));
            capture.exchange(c, with_headers("/large", &lines), ok("{}"));
            capture.exchange(c, get("/next", &good("alice")), ok("{}"));
            capture.close(c);
        })
    }),
    case("chunked-trailers", "Chunked bodies with extensions and trailers, both ways.", || {
        script(|capture, c| {
            let request = format!(
                "POST /chunked HTTP/1.1\r\nHost: api.example\r\nAuthorization: Bearer {}\r\n\
                Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
                5;name=value\r\nhello\r\nA\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n",
                alg_none("admin")
            );
            capture.exchange(
                c,
                request,
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                3\r\nabc\r\n000\r\nX-End: yes\r\n\r\n",
            );
            capture.exchange(c, get("/next", &good("alice")), ok("{}"));
            capture.close(c);
        })
    }),
    case("smuggling-cl-te", "Content-Length and Transfer-Encoding in one request.", || {
        separate(&["POST / HTTP/1.1\r\nHost: api.example\r\nContent-Length: 42\r\n\
            Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nX-Ignore: x\r\n"])
    }),
    case(
        "smuggling-te-obfuscated",
        "Transfer-Encoding that parsers read differently, eight ways.",
        || {
            separate(&[
                "POST /a HTTP/1.1\r\nHost: api.example\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
                "POST /b HTTP/1.1\r\nHost: api.example\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
                "POST /c HTTP/1.1\r\nHost: api.example\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
                "POST /d HTTP/1.1\r\nHost: api.example\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
                "POST /e HTTP/1.1\r\nHost: api.example\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
                "POST /f HTTP/1.1\r\nHost: api.example\r\nX: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                "POST /g HTTP/1.1\r\nHost: api.example\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n\r\n0\r\n\r\n",
                "POST /h HTTP/1.0\r\nHost: api.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            ])
        },
    ),
    case("smuggling-cl-cl", "Lengths that differ, repeat, or are no number.", || {
        separate(&[
            "POST /a HTTP/1.1\r\nHost: api.example\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
            "POST /b HTTP/1.1\r\nHost: api.example\r\nContent-Length: 5, 6\r\n\r\nhello!",
            "POST /c HTTP/1.1\r\nHost: api.example\r\nContent-Length: 5, 5\r\n\r\nhello",
            "POST /d HTTP/1.1\r\nHost: api.example\r\nContent-Length: +5\r\n\r\nhello",
            "POST /e HTTP/1.1\r\nHost: api.example\r\nContent-Length: 0x5\r\n\r\nhello",
            "POST /f HTTP/1.1\r\nHost: api.example\r\nContent-Length: 18446744073709551621\r\n\r\nhello",
        ])
    }),
    case("bad-chunks", "Chunk sizes and delimiters that break the framing.", || {
        separate(&[
            "POST /a HTTP/1.1\r\nHost: api.example\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
            "POST /b HTTP/1.1\r\nHost: api.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n",
            "POST /c HTTP/1.1\r\nHost: api.example\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff5\r\nhello\r\n0\r\n\r\n",
            "POST /d HTTP/1.1\r\nHost: api.example\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n",
        ])
    }),
    case("ambiguous-heads", "obs-fold, bare CR, bare LF, NUL, two hosts, no host.", || {
        separate(&[
            "GET /fold HTTP/1.1\r\nHost: api.example\r\nX-A: one\r\n two\r\n\r\n",
            "GET /cr HTTP/1.1\r\nHost: api.example\r\nX-A: one\rX-B: two\r\n\r\n",
            "GET /lf HTTP/1.1\nHost: api.example\nX-A: one\n\n",
            "GET /nul HTTP/1.1\r\nHost: api.example\r\nX-A: one\0two\r\n\r\n",
            "GET /hosts HTTP/1.1\r\nHost: api.example\r\nHost: evil.example\r\n\r\n",
            "GET /no-host HTTP/1.1\r\nAccept: */*\r\n\r\n",
        ])
    }),
    case(
        "head-204-304-1xx",
        "Answers without body: HEAD, 204, 304, and 100 and 103 before the final one.",
        || {
            script(|capture, c| {
                let head = with_headers("/head", "").replacen("GET", "HEAD", 1);
                capture.exchange(c, head, "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n");
                let expect = post("/expect", "text/plain", "hello")
                    .replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
                let (head, body) = expect.split_at(expect.len() - 5);
                capture.exchange(c, head, "HTTP/1.1 100 Continue\r\n\r\n");
                capture.exchange(c, body, "HTTP/1.1 204 No Content\r\n\r\n");
                capture.exchange(
                    c,
                    with_headers("/etag", "If-None-Match: \"a\"\r\n"),
                    "HTTP/1.1 304 Not Modified\r\nContent-Length: 123\r\nETag: \"a\"\r\n\r\n",
                );
                let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";
                capture.exchange(c, with_headers("/hints", ""), format!("{hints}{}", ok("{}")));
                capture.exchange(
                    c,
                    get("/last", &alg_none("admin")),
                    status("401 Unauthorized", ""),
                );
                capture.close(c);
            })
        },
    ),
    case("answer-until-close", "A response whose end is the end of the connection.", || {
        script(|capture, c| {
            let answer = "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n".to_owned();
            capture.exchange(c, get("/close", &alg_none("admin")), answer + &"x".repeat(4_000));
            capture.close(c);
        })
    }),
    case("slow-response", "Answers after 3 s and after 20 s.", || {
        script(|capture, c| {
            for (path, seconds) in [("/slow", 3), ("/slower", 20)] {
                capture.send(c, ToServer, get(path, &alg_none("admin")));
                capture.wait(Duration::from_secs(seconds));
                capture.send(c, ToClient, ok("{}"));
            }
            capture.close(c);
        })
    }),
    case(
        "upgrade-websocket",
        "101 makes the flow opaque; its token is in the protocol field.",
        || {
            script(|capture, c| {
                let lines = format!(
                    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                Sec-WebSocket-Protocol: chat, bearer, {}\r\n",
                    good("alice")
                );
                capture.exchange(
                c,
                with_headers("/socket", &lines),
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n",
            );
                // A masked text frame, and its echo.
                capture.exchange(c, b"\x81\x82\x01\x02\x03\x04ik", b"\x81\x02hi");
                capture.close(c);
            })
        },
    ),
    case("connect-tunnel", "A CONNECT that is granted makes the flow opaque.", || {
        script(|capture, c| {
            capture.exchange(
                c,
                "CONNECT db.example:443 HTTP/1.1\r\nHost: db.example:443\r\n\r\n",
                "HTTP/1.1 200 Connection established\r\n\r\n",
            );
            capture.exchange(
                c,
                b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
                b"\x15\x03\x01\x00\x02\x02\x28",
            );
            capture.close(c);
        })
    }),
    case("tls-on-plain-port", "TLS on a watched port: one event says so.", || {
        script(|capture, c| {
            let mut hello = b"\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03".to_vec();
            hello.resize(261, 0x41);
            let mut answer = b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03".to_vec();
            answer.resize(127, 0x42);
            capture.exchange(c, hello, answer);
            let mut data = b"\x17\x03\x03\x00\x40".to_vec();
            data.resize(69, 0x43);
            capture.exchange(c, &data, &data);
            capture.close(c);
        })
    }),
    case(
        "http2-prior-knowledge",
        "An HTTP/2 preface on a watched port: one event says so.",
        || {
            script(|capture, c| {
                let settings = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00";
                capture.exchange(
                    c,
                    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings[..]].concat(),
                    settings,
                );
                capture.exchange(
                    c,
                    b"\x00\x00\x01\x01\x05\x00\x00\x00\x01\x82",
                    b"\x00\x00\x01\x01\x05\x00\x00\x00\x01\x88",
                );
                capture.close(c);
            })
        },
    ),
    case("not-http", "A foreign protocol in which the server speaks first.", || {
        script(|capture, c| {
            capture.send(c, ToClient, "SSH-2.0-OpenSSH_9.2\r\n");
            capture.send(c, ToServer, "SSH-2.0-Go\r\n");
            capture.exchange(c, [0x14; 300], [0x14; 300]);
            capture.close(c);
        })
    }),
    case(
        "watched-ports-only",
        "Two services in one capture, of which the configuration watches one.",
        || {
            let mut capture = Capture::pcap(Link::Ethernet);
            for (server, path) in [(SERVER, "/watched"), ("198.51.100.20:9090", "/unwatched")] {
                let mut c = Connection::new(CLIENT, server);
                capture.handshake(&mut c);
                capture.exchange(&mut c, get(path, &alg_none("admin")), ok("{}"));
                capture.close(&mut c);
            }
            capture.into_bytes()
        },
    )
    .watching_8080(),
];

impl Case {
    const fn watching_8080(self) -> Self {
        Self { config: Some("[capture]\nports = [8080]\n"), ..self }
    }
}
