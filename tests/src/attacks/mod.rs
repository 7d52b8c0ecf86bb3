//! The attack suite: short dialogues between clients and services, each beside a benign twin that
//! differs only in what makes it an attack.
//!
//! A case goes as packets through what `jotwatch replay` runs: a capture file, a configuration
//! with issuers, keys and services, and the pipeline. Each case begins with an empty memory.

mod algorithm;
mod claims;
mod ended;
mod escalation;
mod header;
mod keys;
mod outcome;
mod proofs;
mod replay;
mod run;
mod signature;
mod world;

use std::{collections::BTreeSet, time::Duration};

pub use run::{Seen, Stage};
pub use world::{Credential, START, World};

/// What a case is about: the kinds of attack, in the order of docs/findings.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Class {
    Algorithm,
    Signature,
    Keys,
    Header,
    Claims,
    Replay,
    Relay,
    Tampering,
    Escalation,
    AfterTheEnd,
    Outcome,
}

/// One request with its answer.
#[derive(Clone, Debug)]
pub struct Step {
    at: Duration,
    client: &'static str,
    server: &'static str,
    port: u16,
    method: &'static str,
    path: String,
    host: &'static str,
    agent: &'static str,
    fields: String,
    body: Vec<u8>,
    status: u16,
    reply: String,
}

impl Step {
    /// A request with these header lines, each ended, and no token. The answer is 200.
    #[must_use]
    pub fn fields(lines: impl Into<String>) -> Self {
        Self {
            at: Duration::ZERO,
            client: "192.0.2.10",
            server: "198.51.100.20",
            port: 8080,
            method: "GET",
            path: "/orders".to_owned(),
            host: "shop.example",
            agent: "shop-app/2.1",
            fields: lines.into(),
            body: Vec::new(),
            status: 200,
            reply: "{}".to_owned(),
        }
    }

    /// A request with a token in `Authorization: Bearer`.
    #[must_use]
    pub fn bearer(token: impl AsRef<str>) -> Self {
        Self::fields(format!("Authorization: Bearer {}\r\n", token.as_ref()))
    }

    /// A POST with a body.
    #[must_use]
    pub fn post(kind: &str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let lines = format!("Content-Type: {kind}\r\nContent-Length: {}\r\n", body.len());
        Self { method: "POST", body, ..Self::fields(lines) }
    }

    /// So many seconds behind the beginning of the dialogue.
    #[must_use]
    pub fn at(mut self, seconds: u64) -> Self {
        self.at = Duration::from_secs(seconds);
        self
    }

    /// From another address than the usual one. IPv6 clients reach an IPv6 server.
    #[must_use]
    pub fn from(mut self, client: &'static str) -> Self {
        self.client = client;
        if client.contains(':') {
            self.server = "2001:db8:f::20";
        }
        self
    }

    /// To the service on another port than the usual one.
    #[must_use]
    pub fn to(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// With another user agent than the usual one.
    #[must_use]
    pub fn agent(mut self, agent: &'static str) -> Self {
        self.agent = agent;
        self
    }

    /// On another method and path than the usual one.
    #[must_use]
    pub fn route(mut self, method: &'static str, path: impl Into<String>) -> Self {
        (self.method, self.path) = (method, path.into());
        self
    }

    /// On another host than the usual one.
    #[must_use]
    pub fn host(mut self, host: &'static str) -> Self {
        self.host = host;
        self
    }

    /// Answered with this document.
    #[must_use]
    pub fn reply(mut self, document: &impl ToString) -> Self {
        self.reply = document.to_string();
        self
    }

    /// With another answer than 200; 0 is none.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }
}

/// An attack and its twin.
pub struct Case {
    /// What it is about.
    pub class: Class,
    /// Its name, unlike every other's.
    pub name: String,
    /// What is found in the attack above `info`, no more and no less.
    pub finds: BTreeSet<&'static str>,
    /// The outcome of the attack's last event, where it is held to one.
    pub outcome: Option<&'static str>,
    /// What an attacker does.
    pub attack: Vec<Step>,
    /// The same without what makes it an attack.
    pub twin: Vec<Step>,
}

impl Case {
    fn new(
        class: Class,
        name: impl Into<String>,
        finds: &[&'static str],
        attack: Vec<Step>,
        twin: Vec<Step>,
    ) -> Self {
        let finds = finds.iter().copied().collect();
        Self { class, name: name.into(), finds, outcome: None, attack, twin }
    }

    /// One request with one token; the service refuses both, for a reason of its own.
    fn refused(
        class: Class,
        name: impl Into<String>,
        finds: &[&'static str],
        attack: impl AsRef<str>,
        twin: impl AsRef<str>,
    ) -> Self {
        let step = |token: &str| vec![Step::bearer(token).status(403)];
        Self::new(class, name, finds, step(attack.as_ref()), step(twin.as_ref())).ends("attempt")
    }

    /// One request with one token; the service takes both.
    fn taken(
        class: Class,
        name: impl Into<String>,
        finds: &[&'static str],
        attack: impl AsRef<str>,
        twin: impl AsRef<str>,
    ) -> Self {
        let step = |token: &str| vec![Step::bearer(token)];
        Self::new(class, name, finds, step(attack.as_ref()), step(twin.as_ref())).ends("accepted")
    }

    fn ends(mut self, outcome: &'static str) -> Self {
        self.outcome = Some(outcome);
        self
    }
}

/// All cases, by class.
#[must_use]
pub fn all(world: &World) -> Vec<Case> {
    let mut cases = Vec::new();
    algorithm::cases(world, &mut cases);
    signature::cases(world, &mut cases);
    keys::cases(world, &mut cases);
    header::cases(world, &mut cases);
    claims::cases(world, &mut cases);
    replay::cases(world, &mut cases);
    proofs::cases(&mut cases);
    escalation::cases(world, &mut cases);
    ended::cases(world, &mut cases);
    outcome::cases(world, &mut cases);
    cases
}
