//! How events become lines of JSON, whole or shortened to a limit.

use std::{
    borrow::Cow,
    io::{self, Write},
    net::SocketAddr,
};

use super::{
    Body, CAUSES_MAX, DETAIL_MAX, Event, FINDINGS_MAX, Joined, KeyEvent, Kind, REASON_MAX,
    RequestEvent, SCHEMA, SERVICE_TEXT_MAX, SensorEvent, SensorState, TOKENS_MAX, TokenView,
    json::Object,
};
use crate::{
    capture::Service,
    finding::{Finding, Severity},
    score::Reason,
};

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
        self.write_with(out, None);
    }

    /// Appends it as one that stands for others, too.
    pub fn write_joined(&self, out: &mut Vec<u8>, joined: Option<Joined>) {
        self.write_with(out, joined);
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

    fn write_with(&self, out: &mut Vec<u8>, joined: Option<Joined>) {
        let mut event = Object::new(out);
        event.name("schema", SCHEMA);
        event.hex("id", &self.id.0);
        event.time("time", self.at);
        event.name("kind", self.kind().as_str());
        event.name("severity", self.severity.as_str());
        match &self.body {
            Body::Request(body) => body.write(&mut event),
            Body::Flow(body) => {
                event.name("reason", body.reason.as_str());
                event.endpoint("client", body.client);
                served(&mut event, body.server, body.service.as_deref());
                findings(&mut event, &body.findings);
            }
            Body::Key(body) => body.write(&mut event),
            Body::Sensor(body) => body.write(&mut event),
            Body::Audit(body) => body.write(&mut event),
        }
        if let Some(joined) = joined {
            let mut object = Object::new(event.key("joined"));
            object.number("count", joined.count);
            object.time("since", joined.since);
            object.end();
        }
        event.end();
    }
}

impl RequestEvent {
    fn write(&self, event: &mut Object<'_>) {
        event.name("verdict", self.verdict.as_str());
        if let Some(enforcement) = &self.enforcement {
            let mut object = Object::new(event.key("enforcement"));
            enforcement.write(&mut object);
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
        served(event, self.server, self.service.as_deref());
        event.number("exchange", self.exchange);

        let mut request = Object::new(event.key("request"));
        request.text("method", self.request.method.as_str());
        request.text("path", self.request.path.as_str());
        if let Some(host) = &self.request.host {
            request.text("host", host.as_str());
        }
        if let Some(agent) = &self.request.user_agent {
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
            if let Some(profile) = score.profile {
                event.name("profile", profile.as_str());
            }
            event.array("reasons", score.reasons(), write_reason);
        }
        event.array("tokens", self.tokens.iter().take(TOKENS_MAX), |object, token| {
            token.write(object);
        });
        findings(event, &self.findings);
    }
}

impl TokenView {
    fn write(&self, token: &mut Object<'_>) {
        token.hex("fingerprint", &self.fingerprint);
        token.name("deny_key", &self.deny_key.to_string());
        token.text("location", self.location.as_str());
        if let Some(scheme) = &self.scheme {
            token.text("scheme", scheme.as_str());
        }
        token.name("kind", self.kind);
        for (name, value) in [("alg", &self.alg), ("kid", &self.kid), ("typ", &self.typ)] {
            if let Some(value) = value {
                token.text(name, value.as_str());
            }
        }
        if let Some(whose) = self.verified_by {
            token.name("verified_by", whose);
        }
        if !self.claims.is_empty() {
            let out = token.key("claims");
            out.push(b'{');
            out.extend_from_slice(self.claims.members().as_bytes());
            out.push(b'}');
        }
        if !self.findings.is_empty() {
            findings(token, &self.findings);
        }
    }
}

impl KeyEvent {
    fn write(&self, event: &mut Object<'_>) {
        event.endpoint("client", self.client);
        served(event, self.server, self.service.as_deref());
        if let Some(issuer) = &self.issuer {
            event.text("issuer", issuer.as_str());
        }
        if let Some(kid) = &self.kid {
            event.text("kid", kid.as_str());
        }
        if let Some(alg) = self.alg {
            event.name("alg", alg);
        }
        if let Some(token) = &self.token {
            event.hex("token", token);
        }
        findings(event, &self.findings);
    }
}

impl SensorEvent {
    fn write(&self, event: &mut Object<'_>) {
        event.name("state", self.state.as_str());
        event.text("version", &self.version);
        if let SensorState::Loss { since, causes, events } = &self.state {
            event.time("since", *since);
            let mut loss = Object::new(event.key("loss"));
            for &(cause, count) in causes.iter().take(CAUSES_MAX) {
                loss.number(cause, count);
            }
            loss.end();
            if events.is_empty() {
                return;
            }
            let mut lost = Object::new(event.key("lost_events"));
            for (cause, counts) in events.iter().take(CAUSES_MAX) {
                let mut by_severity = Object::new(lost.key(cause));
                for (severity, &count) in Severity::ALL.iter().zip(counts) {
                    if count > 0 {
                        by_severity.number(severity.as_str(), count);
                    }
                }
                by_severity.end();
            }
            lost.end();
        }
    }
}

fn served(event: &mut Object<'_>, server: SocketAddr, service: Option<&Service>) {
    event.endpoint("server", server);
    let Some(service) = service else { return };
    let mut object = Object::new(event.key("service"));
    if let Some(pid) = service.pid {
        object.number("pid", pid.into());
    }
    if let Some(command) = &service.command {
        object.bytes("command", command.as_bytes(), SERVICE_TEXT_MAX);
    }
    if let Some(cgroup) = &service.cgroup {
        object.bytes("cgroup", cgroup.as_bytes(), SERVICE_TEXT_MAX);
    }
    if let Some(listen) = service.listen {
        object.address("listen", listen);
    }
    object.end();
}

/// Writes findings, the gravest first where not all of them fit.
pub(super) fn findings(object: &mut Object<'_>, findings: &[Finding]) {
    if findings.len() <= FINDINGS_MAX {
        object.array("findings", findings, write_finding);
    } else {
        let mut gravest = findings.iter().collect::<Vec<_>>();
        gravest.sort_by_key(|f| std::cmp::Reverse(f.severity));
        let gravest = gravest.into_iter().take(FINDINGS_MAX);
        object.array("findings", gravest, write_finding);
    }
}

fn write_reason(object: &mut Object<'_>, reason: &Reason) {
    object.name("source", reason.source.as_str());
    object.name("id", reason.id);
    object.number("score", reason.score.into());
    object.bytes("detail", reason.detail.as_bytes(), REASON_MAX);
}

fn write_finding(object: &mut Object<'_>, finding: &Finding) {
    object.name("id", finding.id.as_str());
    object.name("severity", finding.severity.as_str());
    match &finding.detail {
        // Our own words need neither redaction nor a limit.
        Cow::Borrowed(detail) if detail.len() <= DETAIL_MAX => object.text("detail", detail),
        detail => object.bytes("detail", detail.as_bytes(), DETAIL_MAX),
    }
}
