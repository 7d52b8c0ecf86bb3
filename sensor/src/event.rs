//! What the sensor says: one schema, [`SCHEMA`], documented in docs/events.md and
//! docs/event.schema.json.
//!
//! An [`Event`] owns plain data and is written as one JSON line with a fixed order of members:
//! equal events give equal bytes. Text that came from the network is a [`Text`], which can't
//! hold a token or a control character.
//!
//! Later versions of the sensor add members; consumers ignore those that they don't know.
#![forbid(unsafe_code)]

mod enforcement;
mod exchange;
mod filter;
mod footprint;
mod json;
#[cfg(test)]
pub(crate) mod samples;
mod shorten;
mod tally;
#[cfg(test)]
mod tests;
mod text;
mod write;

use std::{
    borrow::Cow,
    io::Write as _,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use siphasher::sip128::SipHasher13;

pub use self::{
    enforcement::{AuditEvent, Enforcement, Peer},
    exchange::{EXCHANGE_PATH_MAX, ExchangeLine},
    filter::{Filter, Head},
    shorten::{EVENT_MIN, shorten},
    tally::{EventTally, Tally},
    text::{CLAIM_MAX, CLAIMS_BYTES_MAX, CLAIMS_MAX, Claims, Text, shown_claim},
};
use crate::{
    capture::{FlowKey, OpaqueKind, Service},
    finding::{Finding, Severity},
    score::Score,
    time::Time,
    token::guard_keys::TokenKey,
};

/// The name and version of the schema; the version rises when a member changes its meaning.
pub const SCHEMA: &str = "jotwatch.event/1";
/// Bytes of a method that are shown.
pub const METHOD_MAX: usize = 32;
/// Bytes of a request target that are shown in an event.
pub const PATH_MAX: usize = 2048;
/// Bytes of a `Host` that are shown.
pub const HOST_MAX: usize = 256;
/// Bytes of a `User-Agent` that are shown.
pub const USER_AGENT_MAX: usize = 512;
/// Bytes of a token's header parameters (`alg`, `kid`, `typ`), scheme and location that are shown.
pub const TOKEN_TEXT_MAX: usize = 128;
/// Bytes of an issuer's name that are shown.
pub const ISSUER_MAX: usize = 256;
/// Bytes of a finding's detail that are shown.
pub const DETAIL_MAX: usize = 256;
/// Bytes of a service's command and of its cgroup path that are shown.
pub const SERVICE_TEXT_MAX: usize = 256;
/// Tokens that an event shows.
pub const TOKENS_MAX: usize = 16;
/// Findings that an event shows.
pub const FINDINGS_MAX: usize = 32;
/// Bytes of a reason's detail that are shown.
pub const REASON_MAX: usize = 256;
/// Causes of loss that an event shows.
pub const CAUSES_MAX: usize = 64;
/// Events by severity, in the order of [`Severity::ALL`].
pub type BySeverity = [u64; Severity::ALL.len()];
/// A token's keyed fingerprint.
pub type Fingerprint = [u8; 16];

/// A stable and unique name of an event: equal input under an equal salt gives an equal id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventId(pub [u8; 16]);

/// Names events: SipHash-1-3 with 128 bits, keyed by the sensor instance's salt, over kind, flow,
/// time and index.
#[derive(Clone)]
pub struct EventIds {
    hasher: SipHasher13,
}

impl EventIds {
    /// Ids of one sensor instance. `salt` is random, and a constant in replay.
    #[must_use]
    pub fn new(salt: &[u8; 16]) -> Self {
        Self { hasher: SipHasher13::new_with_key(salt) }
    }

    /// The id of what happened as the `index`th of its kind on a flow, or at the sensor itself.
    #[must_use]
    pub fn id(&self, kind: Kind, flow: Option<&FlowKey>, at: Time, index: u64) -> EventId {
        let mut bytes = [0; 61];
        let mut rest = bytes.as_mut_slice();
        // The buffer has room for all of it: writing does not fail.
        let mut put = |field: &[u8]| drop(rest.write_all(field));
        put(&[kind as u8]);
        put(&at.unix_nanos().to_le_bytes());
        put(&index.to_le_bytes());
        if let Some(flow) = flow {
            put(&flow.scope.to_le_bytes());
            for end in [flow.client, flow.server] {
                let ip = match end.ip() {
                    IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                    IpAddr::V6(v6) => v6,
                };
                put(&ip.octets());
                put(&end.port().to_le_bytes());
            }
        }
        EventId(self.hasher.hash(&bytes).as_bytes())
    }
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A request and its answer.
    Request,
    /// A connection.
    Flow,
    /// A key that an issuer signs with.
    Key,
    /// The sensor itself.
    Sensor,
    /// What somebody changed of what is denied or allowed.
    Audit,
}

impl Kind {
    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Flow => "flow",
            Self::Key => "key",
            Self::Sensor => "sensor",
            Self::Audit => "audit",
        }
    }
}

/// What the policy says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is done.
    Allow,
    /// Somebody is told.
    Alert,
    /// The flow is cut.
    Block,
}

impl Verdict {
    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Alert => "alert",
            Self::Block => "block",
        }
    }
}

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its name.
    pub id: EventId,
    /// When it happened; of a request, when its first byte passed.
    pub at: Time,
    /// How grave it is: of requests and flows, the gravest finding.
    pub severity: Severity,
    /// What happened.
    pub body: Body,
}

/// Others that an event stands for: alerts of the same cause that were not told of by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined {
    /// How many, beside the event itself.
    pub count: u64,
    /// When the first of them happened.
    pub since: Time,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// A request.
    Request(Box<RequestEvent>),
    /// A flow on a watched port that can't be read.
    Flow(Box<FlowEvent>),
    /// Something about a key that an issuer signs with.
    Key(Box<KeyEvent>),
    /// The sensor's own state.
    Sensor(SensorEvent),
    /// A change of what is denied or allowed.
    Audit(Box<AuditEvent>),
}

impl Body {
    /// The process that serves the connection, where it is known.
    #[must_use]
    pub fn service(&self) -> Option<&Arc<Service>> {
        match self {
            Self::Request(request) => request.service.as_ref(),
            Self::Flow(flow) => flow.service.as_ref(),
            Self::Key(key) => key.service.as_ref(),
            Self::Sensor(_) | Self::Audit(_) => None,
        }
    }

    /// Names the process that serves the connection.
    pub fn attribute(&mut self, service: &Arc<Service>) {
        match self {
            Self::Request(request) => request.service = Some(Arc::clone(service)),
            Self::Flow(flow) => flow.service = Some(Arc::clone(service)),
            Self::Key(key) => key.service = Some(Arc::clone(service)),
            Self::Sensor(_) | Self::Audit(_) => {}
        }
    }
}

/// An alert about a request.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestEvent {
    /// What the policy says.
    pub verdict: Verdict,
    /// What was done, where the mode is one that cuts and there was something to do.
    pub enforcement: Option<Enforcement>,
    /// The address and port of the connection's other end.
    pub client: SocketAddr,
    /// The client that a trusted proxy at that end names.
    pub forwarded_for: Option<IpAddr>,
    /// The client's autonomous system, where it is known.
    pub asn: Option<u32>,
    /// The service's address and port.
    pub server: SocketAddr,
    /// The process that served it, where it is known.
    pub service: Option<Arc<Service>>,
    /// Which request of the connection, from 0.
    pub exchange: u64,
    /// The request.
    pub request: RequestView,
    /// Its answer, where one came.
    pub response: Option<ResponseView>,
    /// How likely it is an attack, and why; `None` where nothing is scored.
    pub score: Option<Score>,
    /// What the service made of it: `accepted`, `attempt` (401, 403), `bypass` (2xx on a proven
    /// forgery), `error` (5xx), `unclear`, `unanswered`.
    pub outcome: &'static str,
    /// The tokens that it carried.
    pub tokens: Vec<TokenView>,
    /// What is wrong with it.
    pub findings: Vec<Finding>,
}

/// A request as an event shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestView {
    /// The method, at most [`METHOD_MAX`].
    pub method: Text,
    /// The request target, at most [`PATH_MAX`].
    pub path: Text,
    /// The `Host` field, at most [`HOST_MAX`].
    pub host: Option<Text>,
    /// The `User-Agent` field, at most [`USER_AGENT_MAX`].
    pub user_agent: Option<Text>,
    /// Bytes on the wire, head and body with framing, seen so far.
    pub bytes: u64,
}

impl RequestView {
    /// Shows a request's parts within their limits.
    #[must_use]
    pub fn new(
        method: &[u8],
        target: &[u8],
        host: Option<&[u8]>,
        user_agent: Option<&[u8]>,
        bytes: u64,
    ) -> Self {
        Self {
            method: Text::new(method, METHOD_MAX),
            path: Text::new(target, PATH_MAX),
            host: host.map(|host| Text::new(host, HOST_MAX)),
            user_agent: user_agent.map(|agent| Text::new(agent, USER_AGENT_MAX)),
            bytes,
        }
    }
}

/// An answer as an event shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseView {
    /// The status code.
    pub status: u16,
    /// Microseconds from the request's last byte to the answer's first.
    pub latency_us: u64,
    /// Bytes on the wire, head and body with framing, seen so far.
    pub bytes: u64,
}

/// A token as an event shows it: never the token.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenView {
    /// Its keyed fingerprint.
    pub fingerprint: Fingerprint,
    /// Where it was found, e.g. `header:authorization`.
    pub location: Text,
    /// The authentication scheme before it, as sent.
    pub scheme: Option<Text>,
    /// What it is: `jws`, `jwe`, ….
    pub kind: &'static str,
    /// The header's `alg`.
    pub alg: Option<Text>,
    /// The header's `kid`.
    pub kid: Option<Text>,
    /// The header's `typ`.
    pub typ: Option<Text>,
    /// Whose key verifies the signature: `configured`, or `learned` from traffic alone.
    pub verified_by: Option<&'static str>,
    /// What it is denied by.
    pub deny_key: TokenKey,
    /// The claims that the config allows to be shown.
    pub claims: Claims,
    /// What is wrong with this token; the event's findings hold these too.
    pub findings: Vec<Finding>,
}

/// Something about a key that an issuer signs with, seen on a connection.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyEvent {
    /// The client's address and port.
    pub client: SocketAddr,
    /// The service's address and port.
    pub server: SocketAddr,
    /// The process that serves it, where it is known.
    pub service: Option<Arc<Service>>,
    /// Whose key it is, at most [`ISSUER_MAX`].
    pub issuer: Option<Text>,
    /// The key's id, at most [`TOKEN_TEXT_MAX`].
    pub kid: Option<Text>,
    /// Its algorithm, or that of the token.
    pub alg: Option<&'static str>,
    /// A token that it signed.
    pub token: Option<Fingerprint>,
    /// What is wrong with it.
    pub findings: Vec<Finding>,
}

/// A flow on a watched port whose bytes can't be read.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowEvent {
    /// Why.
    pub reason: FlowReason,
    /// The client's address and port.
    pub client: SocketAddr,
    /// The service's address and port.
    pub server: SocketAddr,
    /// The process that serves it, where it is known.
    pub service: Option<Arc<Service>>,
    /// What is wrong with it.
    pub findings: Vec<Finding>,
}

/// Why a flow's bytes can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowReason {
    /// The flow is not HTTP/1 from here on.
    Opaque(OpaqueKind),
    /// Bytes that should be HTTP/1 are malformed, and were passed over.
    Malformed,
    /// The guard refused the rest of the flow: it could not be judged.
    Refused,
}

impl FlowReason {
    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opaque(kind) => kind.as_str(),
            Self::Malformed => "malformed",
            Self::Refused => "refused",
        }
    }
}

/// The sensor's own state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SensorEvent {
    /// What happened.
    pub state: SensorState,
    /// The sensor's version.
    pub version: Cow<'static, str>,
}

/// What happened to the sensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SensorState {
    /// It watches from now on.
    Started,
    /// It watches no more.
    Stopped,
    /// It runs with another config from now on.
    ConfigReloaded,
    /// The watched cgroup was removed: nothing is seen.
    CgroupGone,
    /// The watched cgroup was made again, and is watched.
    CgroupBack,
    /// Something was not seen, or not delivered.
    Loss {
        /// Since when: the loss event before this one, or the start.
        since: Time,
        /// How much since then, by cause; the names are stable, kebab-case.
        causes: Vec<(&'static str, u64)>,
        /// Of the causes that count events, how many of each severity, in the order of
        /// [`Severity::ALL`].
        events: Vec<(&'static str, BySeverity)>,
    },
}

impl SensorState {
    /// The stable name.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Stopped => "stopped",
            Self::ConfigReloaded => "config-reloaded",
            Self::CgroupGone => "cgroup-gone",
            Self::CgroupBack => "cgroup-back",
            Self::Loss { .. } => "loss",
        }
    }

    /// How grave it is: to see nothing is [`Severity::Medium`], loss [`Severity::Low`], everything
    /// else [`Severity::Info`].
    #[must_use]
    pub const fn severity(&self) -> Severity {
        match self {
            Self::CgroupGone => Severity::Medium,
            Self::Loss { .. } => Severity::Low,
            _ => Severity::Info,
        }
    }
}

/// The gravest of these findings; [`Severity::Info`] where there are none.
#[must_use]
pub fn severity(findings: &[Finding]) -> Severity {
    findings.iter().map(|f| f.severity).max().unwrap_or(Severity::Info)
}
