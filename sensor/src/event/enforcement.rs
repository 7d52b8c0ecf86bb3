//! What was done about a request, and who changed what is denied or allowed.

use super::{EventId, FINDINGS_MAX, json::Object, text::Text};
use crate::{
    enforce::entry::{MAX_NAME, MAX_REASON, Written},
    policy::{AllowKind, DenyScope, Mode, Reasons},
    score::Label,
    time::Time,
};

/// What was done about a request, or would have been in a dry run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enforcement {
    /// The service's mode.
    pub mode: Mode,
    /// `reset`: the connection was reset; `gone`: it had ended by itself; `failed`: it could not
    /// be reset; `spared`: the allowlist forbade it.
    pub action: &'static str,
    /// Nothing was done: this is what would have been.
    pub dry_run: bool,
    /// What was denied beside the connection.
    pub denied: Vec<DenyScope>,
    /// For how long, in seconds; 0 where nothing was.
    pub deny_seconds: u64,
    /// What it rests on.
    pub reasons: Reasons,
    /// Which entry of the allowlist forbade it.
    pub allowed_by: Option<AllowKind>,
}

impl Enforcement {
    pub(super) fn write(&self, object: &mut Object<'_>) {
        object.name("mode", self.mode.as_str());
        object.name("action", self.action);
        object.flag("dry_run", self.dry_run);
        if !self.denied.is_empty() {
            object.names("denied", self.denied.iter().map(|scope| scope.as_str()));
            object.number("deny_seconds", self.deny_seconds);
        }
        let reasons = self.reasons.findings.iter().take(FINDINGS_MAX);
        object.names("reasons", reasons.map(|id| id.as_str()));
        if let Some(score) = self.reasons.score {
            object.number("score", score.into());
        }
        if let Some(kind) = self.allowed_by {
            object.name("allowed_by", kind.as_str());
        }
    }
}

/// Who asked over the control socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// User id.
    pub uid: u32,
    /// Process id.
    pub pid: u32,
}

/// A change of what is denied or allowed, of what people say of events, or of the model in force,
/// that no verdict made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEvent {
    /// `deny-add`, `deny-remove`, `deny-flush`, `deny-load`, `allow-add`, `allow-remove`,
    /// `allow-flush`, `feedback-add`, `feedback-remove`, `model-promote`, `model-demote` or `forget`.
    pub change: &'static str,
    /// The entry, where it is about one.
    pub entry: Option<Written>,
    /// Until when it holds.
    pub until: Option<Time>,
    /// Why, in the words of who asked.
    pub reason: Option<String>,
    /// How many entries, where it is about many; of `forget` how many events were erased.
    pub count: Option<u64>,
    /// The file that was loaded.
    pub file: Option<String>,
    /// The id of the event that somebody said something of.
    pub event: Option<EventId>,
    /// What that was, or is no more.
    pub label: Option<Label>,
    /// The name of the behaviour model that is in force from now on.
    pub model: Option<String>,
    /// Who asked.
    pub by: Option<Peer>,
}

impl AuditEvent {
    pub(super) fn write(&self, event: &mut Object<'_>) {
        event.name("change", self.change);
        if let Some(entry) = &self.entry {
            let mut object = Object::new(event.key("entry"));
            let name = |object: &mut Object<'_>, name, value: &str| {
                object.text(name, Text::new(value.as_bytes(), MAX_NAME).as_str());
            };
            match entry {
                Written::Token { token_key } => {
                    object.name("kind", "token");
                    name(&mut object, "token_key", token_key);
                }
                Written::Address { address } => {
                    object.name("kind", "address");
                    name(&mut object, "address", address);
                }
                Written::Subject { issuer, subject } => {
                    object.name("kind", "subject");
                    if let Some(issuer) = issuer {
                        name(&mut object, "issuer", issuer);
                    }
                    name(&mut object, "subject", subject);
                }
                Written::Issuer { issuer } => {
                    object.name("kind", "issuer");
                    name(&mut object, "issuer", issuer);
                }
                Written::Route { route } => {
                    object.name("kind", "route");
                    name(&mut object, "route", route);
                }
                Written::Flow { cookie } => {
                    object.name("kind", "flow");
                    object.number("cookie", *cookie);
                }
            }
            object.end();
        }
        if let Some(until) = self.until {
            event.time("until", until);
        }
        if let Some(reason) = self.reason.as_ref().filter(|reason| !reason.is_empty()) {
            event.bytes("reason", reason.as_bytes(), MAX_REASON);
        }
        if let Some(count) = self.count {
            event.number("count", count);
        }
        if let Some(file) = &self.file {
            event.bytes("file", file.as_bytes(), MAX_REASON);
        }
        if let Some(id) = self.event {
            event.hex("event", &id.0);
        }
        if let Some(label) = self.label {
            event.name("label", label.as_str());
        }
        if let Some(model) = &self.model {
            event.text("model", model);
        }
        if let Some(by) = self.by {
            let mut object = Object::new(event.key("by"));
            object.number("uid", by.uid.into());
            object.number("pid", by.pid.into());
            object.end();
        }
    }
}
