//! How events become lines of JSON, whole or shortened to a limit.

use std::{
    borrow::Cow,
    io::{self, Write},
    net::SocketAddr,
};

use super::{
    Body, CAUSES_MAX, DETAIL_MAX, Event, FINDINGS_MAX, KeyEvent, Kind, REASON_MAX, RequestEvent,
    SCHEMA, SERVICE_TEXT_MAX, SensorEvent, SensorState, TOKENS_MAX, TokenView, json::Object,
};
use crate::{capture::Service, finding::Finding, score::Reason};

/// What an event leaves out to fit a limit, in the order of [`Cut::STEPS`].
#[derive(Clone, Copy)]
pub(super) struct Cut {
    claims: bool,
    context: bool,
    text: usize,
    detail: usize,
    findings: usize,
    tokens: usize,
    causes: usize,
}

impl Cut {
    /// Bytes of each text.
    pub(super) const fn text(self) -> usize {
        self.text
    }

    /// Nothing but what the schema requires.
    pub(super) const fn bare(self) -> bool {
        self.tokens == 0
    }

    /// Findings of each list.
    pub(super) const fn findings(self) -> usize {
        self.findings
    }

    pub(super) const NOTHING: Self = Self {
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
            text: 12,
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
            Body::Key(_) => Kind::Key,
            Body::Sensor(_) => Kind::Sensor,
            Body::Audit(_) => Kind::Audit,
        }
    }

    /// Its findings, where it is about a request or a flow.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        match &self.body {
            Body::Request(event) => &event.findings,
            Body::Flow(event) => &event.findings,
            Body::Key(event) => &event.findings,
            Body::Sensor(_) | Body::Audit(_) => &[],
        }
    }

    /// Appends the event as a JSON object without a line end.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_cut(out, Cut::NOTHING, false);
    }

    /// Appends the event as a JSON object of at most `limit` bytes, or of [`super::EVENT_MIN`] where
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
                event.endpoint("client", body.client);
                served(&mut event, body.server, body.service.as_deref(), cut);
                findings(&mut event, &body.findings, cut);
            }
            Body::Key(body) => body.write(&mut event, cut),
            Body::Sensor(body) => body.write(&mut event, cut),
            Body::Audit(body) => body.write(&mut event, cut),
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
        if let Some(enforcement) = &self.enforcement {
            let mut object = Object::new(event.key("enforcement"));
            enforcement.write(&mut object, cut);
            object.end();
        }
        event.endpoint_with("client", self.client, |client| {
            if let Some(address) = self.forwarded_for {
                client.ip("forwarded_for", address);
            }
            if let Some(asn) = self.asn {
                client.number("asn", asn.into());
            }
        });
        served(event, self.server, self.service.as_deref(), cut);
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
        event.name("outcome", self.outcome);
        if let Some(score) = &self.score {
            event.number("score", score.value.into());
            if !cut.bare() {
                if let Some(profile) = score.profile {
                    event.name("profile", profile.as_str());
                }
                let reasons = score.reasons().iter().take(cut.findings);
                event.array("reasons", reasons, |object, reason| write_reason(object, reason, cut));
            }
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
        token.name("deny_key", &self.deny_key.to_string());
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
        if let Some(whose) = self.verified_by {
            token.name("verified_by", whose);
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

impl KeyEvent {
    fn write(&self, event: &mut Object<'_>, cut: Cut) {
        event.endpoint("client", self.client);
        served(event, self.server, self.service.as_deref(), cut);
        if let Some(issuer) = &self.issuer {
            event.text_within("issuer", issuer, cut.text);
        }
        if let Some(kid) = &self.kid {
            event.text_within("kid", kid, cut.text);
        }
        if let Some(alg) = self.alg {
            event.name("alg", alg);
        }
        if let Some(token) = &self.token {
            event.hex("token", token);
        }
        findings(event, &self.findings, cut);
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

fn served(event: &mut Object<'_>, server: SocketAddr, service: Option<&Service>, cut: Cut) {
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
pub(super) fn findings(object: &mut Object<'_>, findings: &[Finding], cut: Cut) {
    if findings.len() <= cut.findings {
        object.array("findings", findings, |object, finding| write_finding(object, finding, cut));
    } else {
        let mut gravest = findings.iter().collect::<Vec<_>>();
        gravest.sort_by_key(|f| std::cmp::Reverse(f.severity));
        let gravest = gravest.into_iter().take(cut.findings);
        object.array("findings", gravest, |object, finding| write_finding(object, finding, cut));
    }
}

fn write_reason(object: &mut Object<'_>, reason: &Reason, cut: Cut) {
    object.name("source", reason.source.as_str());
    object.name("id", reason.id);
    object.number("score", reason.score.into());
    if cut.detail > 0 {
        object.bytes("detail", reason.detail.as_bytes(), REASON_MAX.min(cut.detail));
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
