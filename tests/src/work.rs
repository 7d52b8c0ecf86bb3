//! Days of people at work, from a seed, as a capture file: the past that behaviour is held against,
//! and what somebody does with their accounts.
//!
//! Each has an address, a user agent, routes of the shop and hours; in a sitting they ask with
//! pauses as people make, and under a token of the sitting.

use std::{collections::HashMap, time::Duration};

use crate::{
    capture::{Capture, Connection, Link},
    day::Dice,
    tokens::ed25519,
};

/// From when every capture begins to the midnight (UTC) behind it, in milliseconds. That is the
/// first day here, a Saturday.
const MIDNIGHT: u64 = ((24 - 3) * 60 - 4) * MINUTE - 5 * SECOND;
/// The same midnight, in seconds since the epoch.
const EPOCH: u64 = 1_767_398_400;

/// A second. Times are milliseconds since the first midnight.
pub const SECOND: u64 = 1_000;
/// A minute.
pub const MINUTE: u64 = 60 * SECOND;
/// An hour.
pub const HOUR: u64 = 60 * MINUTE;
/// A day.
pub const DAY: u64 = 24 * HOUR;

/// How long a token lives.
const LIFETIME: u64 = HOUR;

/// The service.
const SERVER: &str = "198.51.100.20:8080";

/// The configuration that knows the tokens' issuer, whose key [`issuer_key`] gives.
pub const ISSUER: &str = "[[issuer]]\nissuer = \"https://id.example\"\nkey_files = [\"id.jwk\"]\n";

/// What stands in `id.jwk`.
#[must_use]
pub fn issuer_key() -> Vec<u8> {
    crate::tokens::ed25519_jwk(1).into_bytes()
}

/// Somebody's account, and from where it is used with what.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its name: `sub` of its tokens.
    pub subject: String,
    /// Where it is used from, as the packets say.
    pub address: String,
    /// Where it is used from, as the proxy at that address says, if it is one.
    pub behind: Option<String>,
    /// The user agent.
    pub agent: String,
}

/// A request, when it is sent and how it is answered.
#[derive(Clone, Debug)]
struct Ask {
    at: u64,
    /// The connection.
    line: usize,
    head: String,
    answer: String,
}

/// Work, as it is written down.
pub struct Work {
    dice: Dice,
    asks: Vec<Ask>,
    /// From where each connection comes.
    lines: Vec<String>,
}

impl Work {
    /// Nothing yet.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { dice: Dice::new(seed), asks: Vec::new(), lines: Vec::new() }
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.dice.below(n)
    }

    /// A token of the client's, issued at that time.
    #[must_use]
    pub fn token(&self, client: &Client, at: u64) -> String {
        let iat = EPOCH + at / SECOND;
        let claims = format!(
            r#"{{"iss":"https://id.example","sub":"{}","iat":{iat},"exp":{},"roles":["clerk"]}}"#,
            client.subject,
            iat + LIFETIME / SECOND
        );
        ed25519(1, r#"{"alg":"EdDSA"}"#, &claims)
    }

    /// A pause as people make between two requests: from half a second to two minutes.
    pub fn pause(&mut self) -> u64 {
        500 << self.dice.below(8) | self.dice.below(500)
    }

    /// Opens a connection.
    pub fn open(&mut self, client: &Client) -> usize {
        let line = self.lines.len();
        self.lines.push(format!("{}:{}", client.address, 10_000 + line % 50_000));
        line
    }

    /// A request on a connection, and its answer.
    pub fn ask(&mut self, line: usize, client: &Client, token: &str, at: u64, get: &Get) {
        let forwarded = client.behind.as_ref().map(|ip| format!("X-Forwarded-For: {ip}\r\n"));
        let head = format!(
            "GET {} HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: {}\r\n{}Authorization: Bearer {token}\r\n\r\n",
            get.path,
            client.agent,
            forwarded.unwrap_or_default()
        );
        let answer = format!(
            "HTTP/1.1 {} Answer\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{}",
            get.status,
            get.bytes,
            " ".repeat(get.bytes)
        );
        self.asks.push(Ask { at, line, head, answer });
    }

    /// What somebody asks for next in the course of the work.
    pub fn usual(&mut self) -> Get {
        let n = self.dice.below(10);
        let (path, bytes) = match n {
            0 => ("/api/profile".to_owned(), 80),
            1..=3 => (format!("/api/orders?page={}", 1 + self.dice.below(3)), 400),
            4..=6 => (format!("/api/orders/{}", 2_000 + self.dice.below(7_000)), 150),
            7 | 8 => (format!("/api/customers/{}", 100 + self.dice.below(400)), 120),
            _ => ("/api/stock?sort=name".to_owned(), 300),
        };
        let bytes = bytes + self.dice.below(bytes as u64 / 4) as usize;
        Get { path, status: 200, bytes }
    }

    /// A sitting: so many requests from a time on, under one token. When it is over.
    pub fn sitting(&mut self, client: &Client, begin: u64, requests: usize) -> u64 {
        let (line, token) = (self.open(client), self.token(client, begin));
        let mut at = begin;
        for _ in 0..requests {
            at += self.pause();
            let get = self.usual();
            self.ask(line, client, &token, at, &get);
        }
        at
    }

    /// Days of work from the first on: each two to `most` sittings of `requests` or a few less,
    /// within office hours, which are a little other for each.
    pub fn days(&mut self, client: &Client, days: u64, most: u64, requests: u64) {
        let early = self.dice.below(90) * MINUTE;
        for day in 0..days {
            let sittings = 2 + self.dice.below(most - 1);
            for n in 0..sittings {
                let part = 8 * HOUR / sittings;
                let begin = day * DAY + 7 * HOUR + early + n * part + self.dice.below(part / 2);
                let less = self.dice.below(1 + requests / 3);
                self.sitting(client, begin, (requests - less) as usize);
            }
        }
    }

    /// How many requests were written down.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.asks.len()
    }

    /// The capture file.
    #[must_use]
    pub fn into_capture(mut self) -> Vec<u8> {
        self.asks.sort_by_key(|ask| ask.at);
        let mut left: HashMap<usize, usize> = HashMap::new();
        for ask in &self.asks {
            *left.entry(ask.line).or_default() += 1;
        }
        let mut capture = Capture::pcap(Link::Ethernet);
        let mut open: HashMap<usize, Connection> = HashMap::new();
        for ask in &self.asks {
            capture.wait_until(Duration::from_millis(MIDNIGHT + ask.at));
            let connection = open.entry(ask.line).or_insert_with(|| {
                let mut connection = Connection::new(&self.lines[ask.line], SERVER);
                capture.handshake(&mut connection);
                connection
            });
            capture.exchange(connection, &ask.head, &ask.answer);
            let left = left.entry(ask.line).or_default();
            *left -= 1;
            if *left == 0 {
                capture.close(connection);
            }
        }
        capture.into_bytes()
    }
}

/// What is asked for, and how it is answered.
#[derive(Clone, Debug)]
pub struct Get {
    /// The request target.
    pub path: String,
    /// The status of the answer.
    pub status: u16,
    /// Bytes of its body.
    pub bytes: usize,
}
