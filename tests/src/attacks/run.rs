//! A dialogue as packets through the pipeline of `jotwatch replay`.

use std::{collections::BTreeSet, io::Cursor, num::NonZero, path::Path, time::Duration};

use jotwatch::{
    capture::file::CaptureFile,
    clients::Clients,
    config::{self, Config},
    event::{Body, Event},
    finding::{Finding, Severity},
    fingerprint_key, keyring,
    keys::FetchMark,
    pipeline::{Output, Pipeline, Settings, Stats},
    replay,
    revocation::RevocationList,
    services::Services,
    trust,
};

use super::{Case, Step};
use crate::{
    capture::{Capture, Connection, Link},
    lines::Lines,
};

/// The issuer whose keys are fetched. A dialogue is followed by a fetch that brings the same keys.
pub(super) const REMOTE: &str = "https://remote.example";

/// A configuration with its keys and services read, on which any number of dialogues may play.
pub struct Stage {
    config: Config,
    keys: keyring::Snapshot,
}

/// What a dialogue gave.
#[derive(Debug, Default)]
pub struct Seen {
    /// Requests that were taken apart.
    pub requests: u64,
    /// Tokens in them.
    pub tokens: u64,
    /// What was found above `info`.
    pub finds: BTreeSet<&'static str>,
    /// What was found, for a message.
    pub details: Vec<String>,
    /// The outcome of the last event.
    pub outcome: Option<&'static str>,
}

impl Output for Seen {
    fn event(&mut self, event: Event) {
        let findings: &[Finding] = match &event.body {
            Body::Request(body) => {
                self.outcome = Some(body.outcome);
                &body.findings
            }
            Body::Flow(body) => &body.findings,
            Body::Key(body) => &body.findings,
            Body::Sensor(_) | Body::Audit(_) => &[],
        };
        for finding in findings {
            self.details.push(format!("{} {}: {}", finding.severity, finding.id, finding.detail));
            if finding.severity > Severity::Info {
                self.finds.insert(finding.id.as_str());
            }
        }
        // An event that is grave without a finding would be an alert all the same.
        if event.severity > Severity::Info && findings.is_empty() {
            self.finds.insert("event-without-finding");
        }
    }

    fn unknown_key(&mut self, issuer: Option<&str>, _kid: &str) -> Option<FetchMark> {
        (issuer == Some(REMOTE)).then_some(FetchMark { source: 0, number: 1 })
    }
}

impl Stage {
    /// Reads a configuration with what it names.
    ///
    /// # Panics
    /// Where anything in it is wrong.
    #[must_use]
    pub fn new(config: &Path) -> Self {
        let config = config::load(config).expect("a good configuration");
        let (keys, warnings) = keyring::load_files(&config.issuers).expect("good keys");
        assert!(warnings.is_empty(), "{warnings:?}");
        Self { config, keys }
    }

    /// A pipeline that knows of nothing yet.
    ///
    /// # Panics
    /// Where a document that the configuration names is wrong.
    #[must_use]
    pub fn pipeline(&self) -> Pipeline {
        let (key, salt) = (fingerprint_key::REPLAY, fingerprint_key::REPLAY_SALT);
        let weak = self.config.tokens.weak_secrets().expect("a good list");
        let models = self.config.scoring.models().expect("the built-in models");
        let settings =
            Settings::new(&self.config, key, salt).with_weak_secrets(weak).with_models(models);
        let mut pipeline = Pipeline::new(settings);
        pipeline.serve(Services::load(&self.config.services).expect("good services").into());
        pipeline.locate(Clients::load(&self.config.clients).expect("good networks").into());
        let list = self.config.revocation.list_file.as_deref();
        pipeline.revoke(&RevocationList::load(list).expect("a good list"));
        self.trust(&mut pipeline);
        pipeline
    }

    /// Puts the keys of this stage in force.
    pub fn trust(&self, pipeline: &mut Pipeline) {
        let policy = trust::policy(&self.config.issuers);
        pipeline.trust(trust::store(&self.keys).into(), policy.into());
    }

    /// Plays a dialogue in a memory of its own.
    ///
    /// # Panics
    /// Where its capture is not read to the end.
    #[must_use]
    pub fn play(&self, dialogue: &[Step]) -> Seen {
        let mut seen = Seen::default();
        let mut pipeline = self.pipeline();
        let bytes = capture(dialogue);
        let path = Path::new("dialogue");
        let mut packets =
            CaptureFile::from_reader(path, Cursor::new(bytes), &self.config.capture.ports)
                .expect("a capture");
        while let Some(input) = packets.next().expect("a packet") {
            pipeline.push(&input, &mut seen);
        }
        pipeline.fetched(FetchMark { source: 0, number: 2 }, &mut seen);
        pipeline.finish(&mut seen);
        seen.requests = pipeline.stats().requests;
        seen.tokens = pipeline.stats().tokens;
        seen
    }

    /// Plays dialogues one behind another in one memory, read by so many threads. Gives what is
    /// told of them, and what was counted.
    ///
    /// # Panics
    /// Where their capture is not read to the end.
    #[must_use]
    pub fn read(&self, dialogues: &[&[Step]], threads: NonZero<usize>) -> (Vec<u8>, Stats) {
        let mut out = Lines::default();
        let mut pipeline = self.pipeline();
        let (path, bytes) = (Path::new("dialogues"), Cursor::new(captures(dialogues)));
        let mut packets =
            CaptureFile::from_reader(path, bytes, &self.config.capture.ports).expect("a capture");
        replay::read(&mut pipeline, &mut packets, threads, &mut out, |_| true)
            .expect("packets to the end");
        (out.0, pipeline.stats())
    }

    /// What is wrong with a case's result, and whether the attack was found and its twin passed.
    #[must_use]
    pub fn hold(&self, case: &Case) -> (bool, bool, Option<String>) {
        let (attack, twin) = (self.play(&case.attack), self.play(&case.twin));
        // A dialogue that nothing was seen of would pass for benign.
        let heard =
            attack.requests == case.attack.len() as u64 && twin.requests == case.twin.len() as u64;
        let ends = case.outcome.is_none_or(|outcome| attack.outcome == Some(outcome));
        let found = heard && attack.finds == case.finds && ends;
        let passed = heard && twin.finds.is_empty();
        let wrong = (!found || !passed).then(|| {
            format!(
                "{:?} {}\n  expected {:?} {:?}\n  found    {:?} {:?}\n  {}\n  twin     {:?}",
                case.class,
                case.name,
                case.finds,
                case.outcome,
                attack.finds,
                attack.outcome,
                attack.details.join("\n  "),
                twin.details,
            )
        });
        (found, passed, wrong)
    }
}

fn capture(dialogue: &[Step]) -> Vec<u8> {
    captures(&[dialogue])
}

/// Each step on a connection of its own, in the order of time; each dialogue begins where the one
/// before it ended.
fn captures(dialogues: &[&[Step]]) -> Vec<u8> {
    let mut capture = Capture::pcap(Link::Raw);
    let mut now = Duration::ZERO;
    let steps = dialogues
        .iter()
        .flat_map(|dialogue| dialogue.iter().enumerate().map(|(place, step)| (place == 0, step)));
    for (number, (begins, step)) in steps.enumerate() {
        if begins {
            now = Duration::ZERO;
        }
        assert!(step.at >= now, "the steps of a dialogue stand in the order of time");
        capture.wait(step.at.saturating_sub(now));
        now = step.at;
        let address = |ip: &str, port| match ip.contains(':') {
            true => format!("[{ip}]:{port}"),
            false => format!("{ip}:{port}"),
        };
        let mut connection = Connection::new(
            &address(step.client, 40_000 + number),
            &address(step.server, step.port.into()),
        );
        capture.handshake(&mut connection);
        capture.exchange(&mut connection, step.request(), step.answer());
        capture.close(&mut connection);
    }
    capture.into_bytes()
}

impl Step {
    fn request(&self) -> Vec<u8> {
        let Self { method, path, host, agent, fields, .. } = self;
        let mut out = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\n{fields}\r\n"
        )
        .into_bytes();
        out.extend(&self.body);
        out
    }

    fn answer(&self) -> String {
        match self.status {
            0 => return String::new(),
            204 => return "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
            _ => {}
        }
        format!(
            "HTTP/1.1 {} Answer\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{}",
            self.status,
            self.reply.len(),
            self.reply
        )
    }
}
