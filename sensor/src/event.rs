//! What the sensor says: one schema, [`SCHEMA`], documented in docs/events.md and
//! docs/event.schema.json.
//!
//! An [`Event`] owns plain data and is written as one JSON line with a fixed order of members:
//! equal events give equal bytes. Text that came from the network is a [`Text`], which can't
//! hold a token or a control character.
//!
//! Later versions of the sensor add members (`score`, `reasons`, `outcome` are spoken for);
//! consumers ignore those that they don't know.
#![forbid(unsafe_code)]

mod exchange;
mod json;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
mod text;

use std::{
    borrow::Cow,
    io::{self, Write},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use siphasher::sip128::SipHasher13;

use self::json::Object;
pub use self::{
    exchange::{EXCHANGE_PATH_MAX, ExchangeLine},
    text::{CLAIM_MAX, CLAIMS_MAX, Claims, Text},
};
use crate::{
    capture::{FlowKey, OpaqueKind, Service},
    finding::{Finding, Severity},
    time::Time,
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
/// Bytes of a finding's detail that are shown.
pub const DETAIL_MAX: usize = 256;
/// Bytes of a service's command and of its cgroup path that are shown.
pub const SERVICE_TEXT_MAX: usize = 256;
/// Tokens that an event shows.
pub const TOKENS_MAX: usize = 16;
/// Findings that an event shows.
pub const FINDINGS_MAX: usize = 32;
/// Causes of loss that an event shows.
pub const CAUSES_MAX: usize = 64;
/// Every event fits into this many bytes when it is written by [`Event::write_within`].
pub const EVENT_MIN: usize = 1024;

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
    /// The sensor itself.
    Sensor,
}

impl Kind {
    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Flow => "flow",
            Self::Sensor => "sensor",
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

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// A request.
    Request(Box<RequestEvent>),
    /// A flow on a watched port that can't be read.
    Flow(Box<FlowEvent>),
    /// The sensor's own state.
    Sensor(SensorEvent),
}

/// An alert about a request.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestEvent {
    /// What the policy says.
    pub verdict: Verdict,
    /// The client's address and port.
    pub client: SocketAddr,
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
    /// The claims that the config allows to be shown.
    pub claims: Claims,
    /// What is wrong with this token; the event's findings hold these too.
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
}

impl FlowReason {
    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opaque(kind) => kind.as_str(),
            Self::Malformed => "malformed",
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
    /// Something was not seen, or not delivered.
    Loss {
        /// Since when: the loss event before this one, or the start.
        since: Time,
        /// How much since then, by cause; the names are stable, kebab-case.
        causes: Vec<(&'static str, u64)>,
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
            Self::Loss { .. } => "loss",
        }
    }

    /// How grave it is: loss is [`Severity::Low`], everything else [`Severity::Info`].
    #[must_use]
    pub const fn severity(&self) -> Severity {
        match self {
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

/// What an event leaves out to fit a limit, in the order of [`Cut::STEPS`].
#[derive(Clone, Copy)]
struct Cut {
    claims: bool,
    context: bool,
    text: usize,
    detail: usize,
    findings: usize,
    tokens: usize,
    causes: usize,
}

impl Cut {
    const NOTHING: Self = Self {
        claims: true,
        context: true,
        text: usize::MAX,
        detail: DETAIL_MAX,
        findings: FINDINGS_MAX,
        tokens: TOKENS_MAX,
        causes: CAUSES_MAX,
    };
    const STEPS: [Self; 5] = [
        Self { claims: false, ..Self::NOTHING },
        Self { claims: false, context: false, text: 512, ..Self::NOTHING },
        Self {
            claims: false,
            context: false,
            text: 128,
            detail: 64,
            findings: 16,
            tokens: 4,
            causes: 32,
        },
        Self {
            claims: false,
            context: false,
            text: 48,
            detail: 0,
            findings: 8,
            tokens: 1,
            causes: 16,
        },
        Self {
            claims: false,
            context: false,
            text: 16,
            detail: 0,
            findings: 2,
            tokens: 0,
            causes: 4,
        },
    ];
}

impl Event {
    /// What it is about.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self.body {
            Body::Request(_) => Kind::Request,
            Body::Flow(_) => Kind::Flow,
            Body::Sensor(_) => Kind::Sensor,
        }
    }

    /// Its findings, where it is about a request or a flow.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        match &self.body {
            Body::Request(event) => &event.findings,
            Body::Flow(event) => &event.findings,
            Body::Sensor(_) => &[],
        }
    }

    /// Appends the event as a JSON object without a line end.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_cut(out, Cut::NOTHING, false);
    }

    /// Appends the event as a JSON object of at most `limit` bytes, or of [`EVENT_MIN`] where
    /// that is more. What does not fit is left out member by member, never in the middle of one:
    /// the claims first, then user agent and cgroup, then long texts, details, tokens and
    /// findings. An event that left something out says `"shortened":true`.
    pub fn write_within(&self, out: &mut Vec<u8>, limit: usize) {
        let start = out.len();
        self.write(out);
        for cut in Cut::STEPS {
            if out.len() - start <= limit {
                return;
            }
            out.truncate(start);
            self.write_cut(out, cut, true);
        }
    }

    /// Writes the event and a line feed. `line` is scratch that is kept between calls.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn write_line(&self, line: &mut Vec<u8>, to: &mut impl Write) -> io::Result<()> {
        line.clear();
        self.write(line);
        line.push(b'\n');
        to.write_all(line)
    }

    fn write_cut(&self, out: &mut Vec<u8>, cut: Cut, shortened: bool) {
        let mut event = Object::new(out);
        event.name("schema", SCHEMA);
        event.hex("id", &self.id.0);
        event.time("time", self.at);
        event.name("kind", self.kind().as_str());
        event.name("severity", self.severity.as_str());
        match &self.body {
            Body::Request(body) => body.write(&mut event, cut),
            Body::Flow(body) => {
                event.name("reason", body.reason.as_str());
                ends(&mut event, body.client, body.server, body.service.as_deref(), cut);
                findings(&mut event, &body.findings, cut);
            }
            Body::Sensor(body) => body.write(&mut event, cut),
        }
        if shortened {
            event.key("shortened").extend_from_slice(b"true");
        }
        event.end();
    }
}

impl RequestEvent {
    fn write(&self, event: &mut Object<'_>, cut: Cut) {
        event.name("verdict", self.verdict.as_str());
        ends(event, self.client, self.server, self.service.as_deref(), cut);
        event.number("exchange", self.exchange);

        let mut request = Object::new(event.key("request"));
        request.text_within("method", &self.request.method, cut.text);
        request.text_within("path", &self.request.path, cut.text);
        if let Some(host) = &self.request.host {
            request.text_within("host", host, cut.text);
        }
        if let (Some(agent), true) = (&self.request.user_agent, cut.context) {
            request.text("user_agent", agent.as_str());
        }
        request.number("bytes", self.request.bytes);
        request.end();

        match self.response {
            Some(seen) => {
                let mut response = Object::new(event.key("response"));
                response.number("status", seen.status.into());
                response.number("latency_us", seen.latency_us);
                response.number("bytes", seen.bytes);
                response.end();
            }
            None => event.null("response"),
        }
        event.array("tokens", self.tokens.iter().take(cut.tokens), |object, token| {
            token.write(object, cut);
        });
        findings(event, &self.findings, cut);
    }
}

impl TokenView {
    fn write(&self, token: &mut Object<'_>, cut: Cut) {
        token.hex("fingerprint", &self.fingerprint);
        token.text_within("location", &self.location, cut.text);
        if let Some(scheme) = &self.scheme {
            token.text_within("scheme", scheme, cut.text);
        }
        token.name("kind", self.kind);
        for (name, value) in [("alg", &self.alg), ("kid", &self.kid), ("typ", &self.typ)] {
            if let Some(value) = value {
                token.text_within(name, value, cut.text);
            }
        }
        if cut.claims && !self.claims.is_empty() {
            let out = token.key("claims");
            out.push(b'{');
            out.extend_from_slice(self.claims.members().as_bytes());
            out.push(b'}');
        }
        if !self.findings.is_empty() {
            findings(token, &self.findings, cut);
        }
    }
}

impl SensorEvent {
    fn write(&self, event: &mut Object<'_>, cut: Cut) {
        event.name("state", self.state.as_str());
        event.text("version", &self.version);
        if let SensorState::Loss { since, causes } = &self.state {
            event.time("since", *since);
            let mut loss = Object::new(event.key("loss"));
            for &(cause, count) in causes.iter().take(cut.causes) {
                loss.number(cause, count);
            }
            loss.end();
        }
    }
}

fn ends(
    event: &mut Object<'_>,
    client: SocketAddr,
    server: SocketAddr,
    service: Option<&Service>,
    cut: Cut,
) {
    event.endpoint("client", client);
    event.endpoint("server", server);
    let Some(service) = service else { return };
    let mut object = Object::new(event.key("service"));
    if let Some(pid) = service.pid {
        object.number("pid", pid.into());
    }
    if let Some(command) = &service.command {
        object.bytes("command", command.as_bytes(), SERVICE_TEXT_MAX.min(cut.text));
    }
    if let (Some(cgroup), true) = (&service.cgroup, cut.context) {
        object.bytes("cgroup", cgroup.as_bytes(), SERVICE_TEXT_MAX);
    }
    if let Some(listen) = service.listen {
        object.address("listen", listen);
    }
    object.end();
}

/// Writes findings, the gravest first where not all of them fit.
fn findings(object: &mut Object<'_>, findings: &[Finding], cut: Cut) {
    if findings.len() <= cut.findings {
        object.array("findings", findings, |object, finding| write_finding(object, finding, cut));
    } else {
        let mut gravest = findings.iter().collect::<Vec<_>>();
        gravest.sort_by_key(|f| std::cmp::Reverse(f.severity));
        let gravest = gravest.into_iter().take(cut.findings);
        object.array("findings", gravest, |object, finding| write_finding(object, finding, cut));
    }
}

fn write_finding(object: &mut Object<'_>, finding: &Finding, cut: Cut) {
    object.name("id", finding.id.as_str());
    object.name("severity", finding.severity.as_str());
    match &finding.detail {
        _ if cut.detail == 0 => {}
        // Our own words need neither redaction nor a limit.
        Cow::Borrowed(detail) if detail.len() <= cut.detail => object.text("detail", detail),
        detail => object.bytes("detail", detail.as_bytes(), cut.detail),
    }
}
