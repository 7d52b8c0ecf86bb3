//! How the cost of a request grows with what the sensor has to remember, for `cargo xtask bench
//! growth`: one JSON object on standard output.
//!
//! `bench-growth connections N [--rounds N]` holds that many keep-alive connections open, of ten
//! subjects in all, and sends requests on them in no order. `bench-growth subjects N` has that
//! many subjects, each with a token of its own, on a hundred connections. Both go through a whole
//! pipeline, signatures, behaviour and scores included, with room for so many. Nanoseconds of
//! processor time a request with its answer, one figure a round.

use std::{env, io, net::SocketAddr, process, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use jotwatch::{
    capture::{Direction, FlowKey, Input, Segment, TcpFlags},
    config::Config,
    event::Event,
    features::SubjectLimits,
    keys::{Key, KeySource, KeyStore},
    pipeline::{Output, Pipeline, Settings},
    score::Models,
    time::Time,
    token::{FingerprintKey, validate::Policy},
};
use jotwatch_tests::{
    tokens::sign,
    usage::{cpu_nanos, resident},
};
use serde_json::{Value, json};

/// Characters of a token.
const LENGTH: usize = 600;
/// Characters of an HS256 header and of its signature, and the two dots.
const AROUND: usize = 36 + 43 + 2;
/// Requests of one batch.
const BATCH: usize = 2_000;
/// Subjects where connections are counted, and connections where subjects are.
const SUBJECTS: usize = 10;
const CONNECTIONS: usize = 100;
/// When the first request comes; tokens were issued then, and hold for an hour.
const NOW: u64 = 1_767_323_045;
/// From one request to the next.
const PAUSE: Duration = Duration::from_micros(100);
/// After so many requests the daemon would have emptied the ring, and lets time pass.
const TICK: u64 = 64;
const SECRET: &[u8] = b"a secret of the benchmark, known to everyone";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

fn main() -> Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match *words {
        ["connections", n, "--rounds", rounds] => connections(n.parse()?, rounds.parse()?)?,
        ["subjects", n, "--rounds", rounds] => subjects(n.parse()?, rounds.parse()?)?,
        _ => {
            eprintln!("usage: bench-growth connections|subjects N --rounds N");
            process::exit(2);
        }
    };
    serde_json::to_writer(io::stdout(), &result)?;
    Ok(())
}

/// Counts events: there should be none.
struct Silent(u64);

impl Output for Silent {
    fn event(&mut self, _event: Event) {
        self.0 += 1;
    }
}

/// A pipeline, and the connections whose segments it gets.
struct Traffic {
    pipeline: Pipeline,
    out: Silent,
    at: Time,
    /// What each direction sends next: to the server, to the client.
    next: Vec<[u32; 2]>,
    requests: u64,
}

impl Traffic {
    /// With room for all of them.
    fn new(connections: usize, subjects: usize) -> Result<Self> {
        let key = FingerprintKey::new([7; 16]);
        let mut settings = Settings::new(&Config::default(), key, *b"a salt of 16 byt");
        settings.max_flows = settings.max_flows.max(connections);
        let vouched = settings.subjects.vouched.max(subjects);
        settings.subjects = SubjectLimits { vouched, ..settings.subjects };
        let mut pipeline = Pipeline::new(settings.with_models(Some(Models::built_in()?)));
        let mut keys = KeyStore::new();
        let secret = Key::from_secret(SECRET, None, KeySource::File)?;
        keys.add(Some("https://bench.test"), [Arc::new(secret)]);
        pipeline.trust(Arc::new(keys), Arc::new(Policy::default()));
        Ok(Self {
            pipeline,
            out: Silent(0),
            at: Time::from_unix_secs(NOW),
            next: vec![[1, 1]; connections],
            requests: 0,
        })
    }

    /// A request and its answer.
    fn exchange(&mut self, connection: usize, head: &[u8]) {
        // All of one client, on as many of its ports and as many servers as it takes.
        let [port, server] = [1_024 + connection % 60_000, connection / 60_000];
        let flow = FlowKey {
            client: SocketAddr::from(([192, 0, 2, 1], port as u16)),
            server: SocketAddr::from(([198, 51, 100, 20 + server as u8], 8_080)),
            scope: 0,
        };
        let Some([client, server]) = self.next.get_mut(connection) else { return };
        let asked = client.wrapping_add(head.len() as u32);
        for (direction, own, other, payload) in [
            (Direction::ToServer, client, *server, head),
            (Direction::ToClient, server, asked, ANSWER),
        ] {
            let len = payload.len() as u32;
            let segment = Segment {
                flow,
                cookie: connection as u64 + 1,
                direction,
                at: self.at,
                seq: *own,
                len,
                payload,
                flags: TcpFlags::default(),
                ack: Some(other),
                rcv_nxt: None,
                request: false,
            };
            *own = own.wrapping_add(len);
            self.pipeline.push(&Input::Segment(segment), &mut self.out);
        }
        self.at = self.at + PAUSE;
        self.requests += 1;
        if self.requests.is_multiple_of(TICK) {
            self.pipeline.tick(self.at, &mut self.out);
        }
    }

    /// What it took, once all of it was seen, followed and remembered.
    fn figures(&mut self, nanos: &[u64], subjects: usize) -> Result<Value> {
        let stats = self.pipeline.stats();
        let profiles = self.pipeline.features().stats();
        ensure!(stats.requests == self.requests, "{} of {}", stats.requests, self.requests);
        ensure!(stats.flows_evicted + stats.flows_expired == 0, "connections were forgotten");
        ensure!(stats.flows_open == self.next.len() as u64, "{} connections", stats.flows_open);
        ensure!(profiles.subjects == subjects as u64, "{} subjects", profiles.subjects);
        ensure!(self.out.0 == 0, "{} events of good tokens", self.out.0);
        Ok(json!({ "nanos": nanos, "resident": resident()?, "profiles": profiles.bytes }))
    }
}

/// Numbers in no order (xorshift64, Marsaglia 2003).
struct Shuffled(u64);

impl Shuffled {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % end
    }
}

/// A request of a subject, with its token of 600 characters.
fn head(subject: usize) -> String {
    let claims = |fill: &str| {
        format!(
            r#"{{"iss":"https://bench.test","aud":"bench","sub":"user-{subject:08}","iat":{NOW},"exp":{},"fill":"{fill}"}}"#,
            NOW + 3_600
        )
    };
    let wanted = (LENGTH - AROUND) * 3 / 4;
    let fill = "x".repeat(wanted.saturating_sub(claims("").len()));
    let token = sign(r#"{"alg":"HS256","typ":"JWT"}"#, &claims(&fill), SECRET);
    format!(
        "GET /api/v1/items/7 HTTP/1.1\r\nHost: api.example:8080\r\nUser-Agent: bench/1.0\r\n\
        Accept: application/json\r\nAuthorization: Bearer {token}\r\n\r\n"
    )
}

fn connections(count: usize, rounds: usize) -> Result<Value> {
    let heads: Vec<String> = (0..SUBJECTS).map(head).collect();
    let mut traffic = Traffic::new(count, SUBJECTS)?;
    let ask = |traffic: &mut Traffic, connection: usize| -> Result<()> {
        let head = heads.get(connection % SUBJECTS).context("no head")?;
        traffic.exchange(connection, head.as_bytes());
        Ok(())
    };
    for connection in 0..count {
        ask(&mut traffic, connection)?;
    }
    let (mut nanos, mut turn) = (Vec::new(), Shuffled(NOW));
    for _ in 0..rounds {
        let batch: Vec<usize> = (0..BATCH).map(|_| turn.below(count)).collect();
        let start = cpu_nanos();
        for connection in batch {
            ask(&mut traffic, connection)?;
        }
        nanos.push((cpu_nanos() - start) / BATCH as u64);
    }
    traffic.figures(&nanos, SUBJECTS.min(count))
}

fn subjects(count: usize, rounds: usize) -> Result<Value> {
    let mut traffic = Traffic::new(CONNECTIONS.min(count), count)?;
    let connections = traffic.next.len();
    for subject in 0..count {
        traffic.exchange(subject % connections, head(subject).as_bytes());
    }
    let (mut nanos, mut turn) = (Vec::new(), Shuffled(NOW));
    for _ in 0..rounds {
        let batch: Vec<String> = (0..BATCH).map(|_| head(turn.below(count))).collect();
        let start = cpu_nanos();
        for (number, head) in batch.iter().enumerate() {
            traffic.exchange(number % connections, head.as_bytes());
        }
        nanos.push((cpu_nanos() - start) / BATCH as u64);
    }
    traffic.figures(&nanos, count)
}
