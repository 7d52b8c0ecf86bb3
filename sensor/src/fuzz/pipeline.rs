//! The whole pipeline: a capture file, or any observations in any order.

use std::{
    cell::RefCell,
    io::Cursor,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use serde_json::Value;

use super::script::Script;
use crate::{
    capture::{
        Direction, FlowKey, Input, OpaqueKind, Segment, Service, TcpFlags, file::CaptureFile,
    },
    clients::Clients,
    config::{self, Config},
    enforce::{Cut, CutOutcome, guard::CutCause},
    event::{Event, ExchangeLine},
    keys::{Key, KeySource, KeyStore},
    pipeline::{Assessed, Output, Pipeline, Settings},
    redact, score,
    time::Time,
    token::FingerprintKey,
    trust,
};

/// What captures begin with: pcap in four spellings, and pcapng.
const CAPTURES: [[u8; 4]; 5] = [
    [0xd4, 0xc3, 0xb2, 0xa1],
    [0xa1, 0xb2, 0xc3, 0xd4],
    [0x4d, 0x3c, 0xb2, 0xa1],
    [0xa1, 0xb2, 0x3c, 0x4d],
    [0x0a, 0x0d, 0x0d, 0x0a],
];

/// Enforcing, with issuers, learning and proxies, and room for little: limits are met.
const CONFIG: &str = r#"
[tokens]
headers = ["X-Key"]
claims = ["scope"]
[limits]
flows = 16
answer_seconds = 2
[memory]
tokens = 1000
subjects = 1000
[scoring]
subjects = 1000
other_subjects = 1000
[clients]
trusted_proxies = ["192.0.2.0/24"]
[enforcement]
mode = "kill"
dry_run = true
"#;

thread_local! {
    static SETTINGS: RefCell<(Config, Settings)> = RefCell::new(settings());
}

fn settings() -> (Config, Settings) {
    let config = config::parse(CONFIG, Path::new("fuzz")).unwrap();
    let key = FingerprintKey::new([7; 16]);
    let mut settings = Settings::new(&config, key, [0; 16]);
    let memory = &mut settings.memory;
    (memory.tokens, memory.subjects, memory.services) = (64, 64, 16);
    (memory.key_ids, memory.revocations, memory.proofs) = (16, 16, 16);
    (settings.subjects.vouched, settings.subjects.others) = (64, 64);
    settings.judge.cache_entries = 64;
    settings.max_held_bytes = 64 << 10;
    settings.models = Some(score::Models::built_in().unwrap());
    (config, settings)
}

/// Takes events as a receiver does, and looks for what must not be in them.
#[derive(Default)]
struct Receiver {
    line: Vec<u8>,
    how: u8,
}

/// Redaction finds nothing in any text of an event.
fn no_token_in(value: &Value) {
    match value {
        Value::String(text) => {
            assert_eq!(redact::text(text), *text, "something is left that looks like a token");
        }
        Value::Array(values) => values.iter().for_each(no_token_in),
        Value::Object(members) => members.values().for_each(no_token_in),
        _ => {}
    }
}

impl Receiver {
    fn check(&mut self) {
        let line = std::str::from_utf8(&self.line).unwrap();
        assert!(!line.trim_end().contains('\n'));
        let value: Value = serde_json::from_str(line).unwrap();
        no_token_in(&value);
        self.line.clear();
    }
}

impl Output for Receiver {
    fn event(&mut self, event: Event) {
        event.write(&mut self.line);
        crate::sinks::fuzz::line(&self.line);
        self.check();
    }

    fn wants_exchanges(&self) -> bool {
        true
    }

    fn exchange(&mut self, line: &ExchangeLine<'_>) {
        line.write(&mut self.line);
        self.check();
    }

    fn wants_assessed(&self) -> bool {
        self.how & 1 != 0
    }

    fn assessed(&mut self, assessed: &Assessed<'_>) {
        assert!(assessed.at <= Time::from_unix_secs(u64::MAX / 1_000_000_000));
    }

    fn cut(&mut self, _: &Cut) -> CutOutcome {
        [CutOutcome::Reset, CutOutcome::Gone, CutOutcome::Failed][usize::from(self.how) % 3]
    }
}

/// Observations in any order. Nothing is held at the end, and nothing secret is told.
pub fn pipeline(data: &[u8]) {
    let (how, mut pipeline) = SETTINGS.with_borrow(|(config, settings)| {
        let mut pipeline = Pipeline::new(settings.clone());
        let mut keys = KeyStore::new();
        let key = Key::from_secret(b"secret", Some("a"), KeySource::File).unwrap();
        keys.add(None, [Arc::new(key)]);
        pipeline.trust(keys.into(), trust::policy(&config.issuers).into());
        pipeline.locate(Clients::load(&config.clients).unwrap().into());
        (data.get(4).copied().unwrap_or_default(), pipeline)
    });
    let mut out = Receiver { how, ..Receiver::default() };
    if data.first_chunk().is_some_and(|first| CAPTURES.contains(first)) {
        let source = Cursor::new(data.to_vec());
        let Ok(mut file) = CaptureFile::from_reader(Path::new("fuzz"), source, &[]) else { return };
        while let Ok(Some(input)) = file.next() {
            pipeline.push(&input, &mut out);
        }
    } else {
        Play::new(&mut pipeline, &mut out).all(Script(data));
    }
    pipeline.finish(&mut out);
    let stats = pipeline.stats();
    assert_eq!((stats.flows_open, stats.held_bytes), (0, 0), "something is left");
}

/// Where the flows are of which the steps tell.
struct Play<'p> {
    pipeline: &'p mut Pipeline,
    out: &'p mut Receiver,
    now: Time,
    /// By flow and direction.
    next: [[u32; 2]; 4],
}

/// The flow of this number.
fn flow(number: u8) -> FlowKey {
    let client = SocketAddr::from(([192, 0, 2, number], 40_000));
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
    FlowKey { client, server, scope: 0 }
}

impl<'p> Play<'p> {
    fn new(pipeline: &'p mut Pipeline, out: &'p mut Receiver) -> Self {
        Self { pipeline, out, now: Time::from_unix_secs(1_750_000_000), next: [[1; 2]; 4] }
    }

    /// Each step is of one byte for what, one for which flow and how, and what it needs.
    fn all(&mut self, mut script: Script<'_>) {
        let mut steps = 0;
        while !script.is_empty() && steps < 256 {
            steps += 1;
            let (kind, how) = (script.byte(), script.byte());
            self.now = self.now + Duration::from_millis(u64::from(kind >> 4) * 7);
            let (flow, cookie) = (flow(how & 3), u64::from(how >> 2 & 3));
            let (at, pipeline, out) = (self.now, &mut *self.pipeline, &mut *self.out);
            match kind & 15 {
                8 => {
                    let rcv_nxt = self.next[usize::from(how & 3)][0];
                    pipeline.push(&Input::Opened { flow, cookie, at, rcv_nxt }, out);
                }
                9 => pipeline.push(&Input::Closed { flow, cookie, at }, out),
                10 => {
                    let kinds = [OpaqueKind::Tls, OpaqueKind::Http2, OpaqueKind::NotHttp];
                    let kind = kinds[usize::from(how >> 4) % 3];
                    pipeline.push(&Input::Opaque { flow, cookie, at, kind }, out);
                }
                11 => {
                    let command = Some("service".to_owned());
                    let service = Arc::new(Service { command, ..Service::default() });
                    pipeline.push(&Input::Service { flow, service }, out);
                }
                12 => {
                    self.now = at + Duration::from_millis(u64::from(script.short()));
                    pipeline.tick(self.now, out);
                }
                13 => pipeline.refused(at, flow, cookie, CutCause::Misframed, out),
                14 => {
                    let verdict = pipeline.judge_head(at, &flow, cookie, script.bytes());
                    assert!(verdict.pass || verdict.credentials_until.is_none());
                }
                _ => self.segment(how, kind, &mut script),
            }
        }
    }

    /// `how`: flow (2 bits), direction, SYN, FIN, RST, an acknowledgement, `rcv_nxt`. The low bits of
    /// `kind` say how far from its place the segment is: in its place with 0.
    fn segment(&mut self, how: u8, kind: u8, script: &mut Script<'_>) {
        let bit = |n: u8| how >> n & 1 != 0;
        let (number, to_client) = (usize::from(how & 3), usize::from(bit(2)));
        let payload = script.bytes();
        let away = match kind & 7 {
            0 => 0,
            7 => script.word(),
            near => u32::from(near).wrapping_mul(5).wrapping_sub(16),
        };
        let flags = TcpFlags { syn: bit(3), fin: bit(4), rst: bit(5) };
        let [to_server_next, _] = self.next[number];
        let seq = self.next[number][to_client].wrapping_add(away);
        let segment = Segment {
            flow: flow(how & 3),
            cookie: 0,
            direction: if bit(2) { Direction::ToClient } else { Direction::ToServer },
            at: self.now,
            seq,
            len: payload.len() as u32,
            payload,
            flags,
            ack: bit(6).then_some(self.next[number][1 - to_client]),
            rcv_nxt: bit(7).then_some(to_server_next),
            request: false,
        };
        self.pipeline.push(&Input::Segment(segment), self.out);
        if away == 0 {
            let len = segment.len + u32::from(flags.syn) + u32::from(flags.fin);
            self.next[number][to_client] = seq.wrapping_add(len);
        }
    }
}
