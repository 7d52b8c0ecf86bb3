//! Events for the tests: of every kind, from the least to the most hostile.

use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::{
    enforce::entry::Written,
    finding::FindingId,
    policy::{AllowKind, DenyScope, Mode, Reasons},
    score::{Evidence, Label, Profile},
};

/// A signed token; no output may hold it.
pub(crate) const TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwiYWRtaW4iOnRydWV9.dyt0CoTl4WoVjAHI9Q_CwSKhl6d_9rhM3NrXuJttkao";

pub(crate) fn at() -> Time {
    Time::from_unix_nanos(1_795_251_600_000_001_999)
}

pub(crate) fn flow() -> FlowKey {
    FlowKey {
        client: "192.0.2.7:51234".parse().unwrap(),
        server: "198.51.100.2:8080".parse().unwrap(),
        scope: 0,
    }
}

pub(crate) fn service() -> Arc<Service> {
    Arc::new(Service {
        pid: Some(4711),
        command: Some("nginx".to_owned()),
        cgroup: Some("/system.slice/nginx.service".to_owned()),
        listen: Some("0.0.0.0:8080".parse().unwrap()),
    })
}

/// A score that rests on these findings.
fn score(findings: &[Finding]) -> Score {
    let mut score = Score::default();
    score.profile = Some(Profile::Known);
    let evidence = findings.iter().map(|finding| Evidence { finding, of_credentials: true });
    score.weigh(evidence);
    score
}

/// A usual alert.
pub(crate) fn request() -> Event {
    let claims =
        [("iss", json!("https://idp.example")), ("sub", json!("alice")), ("exp", json!(9))];
    let findings = vec![
        Finding::new(FindingId::AlgNone, "alg is \"none\""),
        Finding::new(FindingId::TokenInQuery, format!("in query parameter {}", "access_token")),
    ];
    let target = format!("/orders/7?access_token={TOKEN}&limit=10");
    Event {
        id: EventIds::new(&[7; 16]).id(Kind::Request, Some(&flow()), at(), 0),
        at: at(),
        severity: severity(&findings),
        body: Body::Request(Box::new(RequestEvent {
            verdict: Verdict::Alert,
            enforcement: None,
            client: flow().client,
            forwarded_for: None,
            asn: None,
            server: flow().server,
            service: Some(service()),
            exchange: 3,
            request: RequestView::new(
                b"GET",
                target.as_bytes(),
                Some(b"api.example"),
                Some(b"curl/8.5.0"),
                812,
            ),
            response: Some(ResponseView { status: 200, latency_us: 1834, bytes: 512 }),
            score: Some(score(&findings)),
            outcome: "bypass",
            tokens: vec![TokenView {
                fingerprint: *b"0123456789abcdef",
                deny_key: TokenKey([1, 2]),
                location: Text::new(b"query:access_token", TOKEN_TEXT_MAX),
                scheme: None,
                kind: "jws",
                alg: Some(Text::new(b"none", TOKEN_TEXT_MAX)),
                kid: Some(Text::new(b"2026-11", TOKEN_TEXT_MAX)),
                typ: Some(Text::new(b"JWT", TOKEN_TEXT_MAX)),
                verified_by: None,
                claims: claims.iter().map(|(name, value)| (*name, value)).collect(),
                findings: findings.clone(),
            }],
            findings,
        })),
    }
}

/// Every text at its limit and beyond, of the characters that take the most room; every list full.
pub(crate) fn hostile() -> Event {
    let junk = b"\x00\"\\\xff]\xe2\x80\xae\xc3\xa9 \n".repeat(200);
    let text = |limit| Some(Text::new(&junk, limit));
    let deep = json!([[[["x"]]], {"a\u{7}": String::from_utf8_lossy(&junk)}, 1e300, null]);
    let claims = (0..40).map(|i| (format!("claim{i}"), deep.clone())).collect::<Vec<_>>();
    let findings = FindingId::ALL
        .iter()
        .cycle()
        .take(100)
        .map(|&id| Finding::new(id, String::from_utf8_lossy(&junk[..400]).into_owned()))
        .collect::<Vec<_>>();
    let token = TokenView {
        fingerprint: [255; 16],
        deny_key: TokenKey([u64::MAX; 2]),
        location: Text::new(&junk, TOKEN_TEXT_MAX),
        scheme: text(TOKEN_TEXT_MAX),
        kind: "jws",
        alg: text(TOKEN_TEXT_MAX),
        kid: text(TOKEN_TEXT_MAX),
        typ: text(TOKEN_TEXT_MAX),
        verified_by: Some("configured"),
        claims: claims.iter().map(|(name, value)| (name.as_str(), value)).collect(),
        findings: findings.clone(),
    };
    let junk_string = String::from_utf8_lossy(&junk).into_owned();
    let end: SocketAddr = "[ffff:1111:ffff:1111:ffff:1111:ffff:1111]:65535".parse().unwrap();
    Event {
        id: EventId([255; 16]),
        at: Time::from_unix_nanos(u64::MAX),
        severity: Severity::Critical,
        body: Body::Request(Box::new(RequestEvent {
            verdict: Verdict::Block,
            enforcement: Some(Enforcement {
                mode: Mode::Alert,
                action: "spared",
                dry_run: false,
                denied: vec![DenyScope::Subject, DenyScope::Address, DenyScope::Token],
                deny_seconds: u64::MAX,
                reasons: Reasons {
                    findings: FindingId::ALL.iter().copied().collect(),
                    score: Some(100),
                },
                allowed_by: Some(AllowKind::Address),
            }),
            client: end,
            forwarded_for: Some(end.ip()),
            asn: Some(u32::MAX),
            server: end,
            service: Some(Arc::new(Service {
                pid: Some(u32::MAX),
                command: Some(junk_string.clone()),
                cgroup: Some(junk_string),
                listen: Some(end),
            })),
            exchange: u64::MAX,
            request: RequestView::new(&junk, &junk, Some(&junk), Some(&junk), u64::MAX),
            response: Some(ResponseView { status: 999, latency_us: u64::MAX, bytes: u64::MAX }),
            score: Some(score(&findings)),
            outcome: "unanswered",
            tokens: vec![token; 100],
            findings,
        })),
    }
}

/// One of every kind and state.
pub(crate) fn all() -> Vec<Event> {
    let ids = EventIds::new(&[7; 16]);
    let mut events = vec![request(), hostile()];

    let mut least = request();
    if let Body::Request(event) = &mut least.body {
        event.service = Some(Arc::default());
        event.response = None;
        event.request = RequestView::new(b"", b"", None, None, 0);
        event.findings.clear();
        for token in &mut event.tokens {
            (token.alg, token.kid, token.typ) = (None, None, None);
            token.verified_by = Some("learned");
            token.claims = Claims::default();
            token.findings.clear();
        }
    }
    least.severity = Severity::Info;
    events.push(least);

    for (i, reason) in [
        FlowReason::Opaque(OpaqueKind::Tls),
        FlowReason::Opaque(OpaqueKind::Http2),
        FlowReason::Opaque(OpaqueKind::NotHttp),
        FlowReason::Opaque(OpaqueKind::Upgraded),
        FlowReason::Malformed,
        FlowReason::Refused,
    ]
    .into_iter()
    .enumerate()
    {
        let findings = match reason {
            FlowReason::Malformed => vec![Finding::new(FindingId::HttpNul, "NUL at byte 17")],
            FlowReason::Refused => {
                vec![Finding::new(FindingId::RequestRefused, "a head of more than 64 KiB")]
            }
            FlowReason::Opaque(_) => Vec::new(),
        };
        events.push(Event {
            id: ids.id(Kind::Flow, Some(&flow()), at(), i as u64),
            at: at(),
            severity: severity(&findings),
            body: Body::Flow(Box::new(FlowEvent {
                reason,
                client: "[2001:db8::1]:5000".parse().unwrap(),
                server: "[::1]:8080".parse().unwrap(),
                service: None,
                findings,
            })),
        });
    }
    let key = |name: &[u8], alg, token, findings: Vec<Finding>| Event {
        id: ids.id(Kind::Key, Some(&flow()), at(), 0),
        at: at(),
        severity: severity(&findings),
        body: Body::Key(Box::new(KeyEvent {
            client: flow().client,
            server: flow().server,
            service: Some(service()),
            issuer: (!name.is_empty()).then(|| Text::new(name, ISSUER_MAX)),
            kid: (!name.is_empty()).then(|| Text::new(name, TOKEN_TEXT_MAX)),
            alg,
            token,
            findings,
        })),
    };
    let weak = Finding::new(FindingId::WeakSecret, "the secret of its HS256 signatures");
    events.push(key(b"https://idp.example", Some("HS256"), Some([17; 16]), vec![weak.clone()]));
    events.push(key(&b"\x00\"\\\xff\xe2\x80\xae".repeat(200), None, None, vec![weak; 40]));
    events.push(key(b"", None, None, Vec::new()));
    for (i, state) in [
        SensorState::Started,
        SensorState::Stopped,
        SensorState::ConfigReloaded,
        SensorState::CgroupGone,
        SensorState::CgroupBack,
        SensorState::Loss {
            since: at(),
            causes: vec![("ring-full", 12), ("journal-full", 4)],
            events: vec![("journal-full", [0, 3, 0, 1, 0])],
        },
    ]
    .into_iter()
    .enumerate()
    {
        events.push(Event {
            id: ids.id(Kind::Sensor, None, at(), i as u64),
            at: at(),
            severity: state.severity(),
            body: Body::Sensor(SensorEvent { state, version: "0.1.0".into() }),
        });
    }
    let junk = "\u{202e}\"\\é\n".repeat(200);
    let audit = |change, entry| AuditEvent {
        change,
        entry: Some(entry),
        until: Some(at()),
        reason: Some(junk.clone()),
        count: Some(u64::MAX),
        file: Some(junk.clone()),
        event: Some(EventId([7; 16])),
        label: Some(Label::Malicious),
        model: Some("00ff".repeat(4)),
        by: Some(Peer { uid: 0, pid: 4711 }),
    };
    let named = || (junk.clone(), Some(junk.clone()));
    for (i, body) in [
        audit("deny-add", Written::Token { token_key: "0f".repeat(16) }),
        audit("deny-remove", Written::Address { address: "192.0.2.0/24".to_owned() }),
        audit("deny-add", Written::Subject { subject: named().0, issuer: named().1 }),
        audit("allow-add", Written::Issuer { issuer: junk.clone() }),
        audit("allow-remove", Written::Route { route: "GET /a".to_owned() }),
        audit("deny-remove", Written::Flow { cookie: u64::MAX }),
        AuditEvent {
            change: "deny-load",
            entry: None,
            until: None,
            reason: None,
            count: Some(7),
            file: Some("/etc/jotwatch/deny.txt".to_owned()),
            event: None,
            label: None,
            model: None,
            by: None,
        },
        AuditEvent {
            change: "feedback-add",
            entry: None,
            until: Some(at()),
            reason: Some("INC-7".to_owned()),
            count: None,
            file: None,
            event: Some(EventId([0xab; 16])),
            label: Some(Label::Benign),
            model: None,
            by: Some(Peer { uid: 0, pid: 1 }),
        },
        AuditEvent {
            change: "model-promote",
            entry: None,
            until: None,
            reason: None,
            count: None,
            file: Some("/var/lib/jotwatch/behaviour.model".to_owned()),
            event: None,
            label: None,
            model: Some("0123456789abcdef".to_owned()),
            by: Some(Peer { uid: 0, pid: 1 }),
        },
    ]
    .into_iter()
    .enumerate()
    {
        events.push(Event {
            id: ids.id(Kind::Audit, None, at(), i as u64),
            at: at(),
            severity: Severity::Info,
            body: Body::Audit(Box::new(body)),
        });
    }
    events
}
