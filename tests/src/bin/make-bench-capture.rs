//! Writes the capture that `jotwatch replay` is measured on: keep-alive connections to an nginx,
//! requests with tokens of 600 characters, small JSON answers, every acknowledgement on its own.
//!
//! `make-bench-capture --out FILE [--requests 200000] [--connections 100] [--tokens 1000]`
//! where `--tokens 0` gives every request a token of its own.

use std::{
    env,
    fs::File,
    io::{self, BufWriter, Write as _},
    process,
};

use jotwatch::capture::Direction::{ToClient, ToServer};
use jotwatch_tests::{
    capture::{Capture, Connection, Link},
    tokens,
};

const TOKEN_CHARACTERS: usize = 600;
const USAGE: &str =
    "usage: make-bench-capture --out FILE [--requests N] [--connections N] [--tokens N]";

struct Arguments {
    out: String,
    requests: usize,
    connections: usize,
    tokens: usize,
}

fn arguments() -> Option<Arguments> {
    let mut made =
        Arguments { out: String::new(), requests: 200_000, connections: 100, tokens: 1_000 };
    let mut words = env::args().skip(1);
    while let Some(flag) = words.next() {
        let value = words.next()?;
        match flag.as_str() {
            "--out" => made.out = value,
            "--requests" => made.requests = value.parse().ok()?,
            "--connections" => made.connections = value.parse().ok()?,
            "--tokens" => made.tokens = value.parse().ok()?,
            _ => return None,
        }
    }
    // Addresses hold so many connections.
    (!made.out.is_empty() && (1..=60_000).contains(&made.connections)).then_some(made)
}

fn main() -> io::Result<()> {
    let Some(Arguments { out, requests, connections, tokens }) = arguments() else {
        eprintln!("{USAGE}");
        process::exit(2);
    };
    let pool: Vec<String> = (0..tokens).map(token_of).collect();
    let mut file = BufWriter::with_capacity(1 << 20, File::create(out)?);
    let mut capture = Capture::pcap(Link::Ethernet);
    let mut flows: Vec<Connection> = (0..connections)
        .map(|k| {
            Connection::new(&format!("192.0.2.{}:{}", 1 + k % 250, 2_000 + k), "198.51.100.20:8080")
        })
        .collect();
    for c in &mut flows {
        capture.handshake(c);
    }
    let mut sent = 0;
    while sent < requests {
        // All connections ask, then all are answered: as many are open as there are connections.
        let round = connections.min(requests - sent);
        for (k, c) in flows.iter_mut().take(round).enumerate() {
            let number = sent + k;
            let fresh;
            let token = match pool.get(number % tokens.max(1)) {
                Some(token) => token,
                None => {
                    fresh = token_of(number);
                    &fresh
                }
            };
            let request = format!(
                "GET /api/v1/items/{} HTTP/1.1\r\nHost: api.example:8080\r\nUser-Agent: bench/1.0\r\n\
                Accept: application/json\r\nAuthorization: Bearer {token}\r\n\r\n",
                number % 10_000
            );
            capture.send(c, ToServer, request);
        }
        for (k, c) in flows.iter_mut().take(round).enumerate() {
            let body = format!(r#"{{"id":{},"name":"item","price":12.5}}"#, (sent + k) % 10_000);
            let response = format!(
                "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Fri, 02 Jan 2026 03:04:05 GMT\r\n\
                Content-Type: application/json\r\nContent-Length: {}\r\nConnection: keep-alive\r\n\r\n{body}",
                body.len()
            );
            capture.send(c, ToClient, response);
        }
        sent += round;
        capture.flush_to(&mut file)?;
    }
    for c in &mut flows {
        capture.close(c);
    }
    capture.flush_to(&mut file)?;
    file.flush()
}

fn token_of(number: usize) -> String {
    tokens::sized(&format!("user-{number:08}"), TOKEN_CHARACTERS)
}
