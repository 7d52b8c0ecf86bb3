//! What is done about a request: from segments to cuts and events.

use std::{sync::Arc, time::Duration};

use super::{Bench, OK, UNSIGNED, said};
use crate::{
    capture::Service,
    config::{Config, parse},
    enforce::{
        CutOutcome,
        entry::{Denied, Source, Written},
    },
    event::{Body, Enforcement, Verdict},
    policy::DenyScope,
    services::Services,
};

/// The default is to cut; what `text` says comes on top.
fn config(text: &str) -> Config {
    let text = if text.contains("mode =") {
        text.to_owned()
    } else {
        format!("[enforcement]\nmode = \"kill\"\n{text}")
    };
    parse(&text, std::path::Path::new("c")).unwrap()
}

fn bench(text: &str) -> Bench {
    let config = config(text);
    let mut bench = Bench::with(|s| s.enforcement = Arc::new(config.enforcement.resolve()));
    bench.pipeline.serve(Services::load(&config.services).unwrap().into());
    bench.pipeline.lists().allowed.configure(config.enforcement.allow.resolve());
    bench.connect(40_000);
    bench
}

/// A request that was confirmed by the service's TCP and is not answered yet.
fn send(bench: &mut Bench, token: &str) {
    bench.request(token);
    bench.segment(crate::capture::Direction::ToClient, b"", crate::capture::TcpFlags::default());
}

/// The verdict and what was done of each request event so far.
fn done(bench: &Bench) -> Vec<(Verdict, Option<Enforcement>)> {
    let request = |event: &crate::event::Event| match &event.body {
        Body::Request(request) => Some((request.verdict, request.enforcement.clone())),
        _ => None,
    };
    bench.out.events.iter().filter_map(request).collect()
}

/// {"alg":"HS256"}, {"sub":"a"} or {"sub":"b"}, one signature.
fn signed(claims: &str) -> String {
    format!("eyJhbGciOiJIUzI1NiJ9.{claims}.c2lnbmF0dXJlIG9mIHNvbWUgbGVuZ3RoLCAzMiBieXQ")
}

const A: &str = "eyJzdWIiOiJhIn0";
const B: &str = "eyJzdWIiOiJiIn0";

#[test]
fn a_proven_forgery_is_cut_before_its_answer_and_told_with_it() {
    let mut bench = bench("");
    send(&mut bench, UNSIGNED);
    assert_eq!(bench.out.cuts.len(), 1, "the answer is not waited for");
    let cut = &bench.out.cuts[0];
    assert_eq!((cut.flow, cut.cookie), (bench.key(), 9));
    assert!(matches!(cut.denied[..], [(Denied::Token(_), _)]), "{cut:?}");
    assert!(bench.out.events.is_empty());
    bench.response(OK);
    let (verdict, enforcement) = done(&bench).remove(0);
    let enforcement = enforcement.unwrap();
    assert_eq!((verdict, enforcement.action), (Verdict::Block, "reset"));
    assert_eq!(enforcement.reasons.text(), "alg-none");
    assert!(!enforcement.dry_run);
    assert_eq!(enforcement.denied, [DenyScope::Token]);
    assert_eq!(bench.out.cuts.len(), 1, "what the answer adds is no second cut");
    assert_eq!(bench.pipeline.stats().cuts, 1);
}

#[test]
fn the_token_is_denied_and_its_next_use_is_cut_for_that() {
    let mut bench = bench("deny_seconds = 60");
    send(&mut bench, &signed(A));
    bench.response(OK);
    assert!(bench.out.cuts.is_empty());
    // The same signature under another payload.
    send(&mut bench, &signed(B));
    let [(Denied::Token(key), until)] = bench.out.cuts[0].denied[..] else {
        panic!("{:?}", bench.out.cuts)
    };
    assert_eq!(until, bench.now + Duration::from_secs(60));
    bench.response(OK);
    let now = bench.now;
    assert!(bench.pipeline.lists().denied.token(now, key).is_some());
    // The next use is cut, and does not make the entry last longer.
    bench.connect(40_001);
    bench.now = bench.now + Duration::from_secs(30);
    send(&mut bench, &signed(A));
    assert_eq!(bench.out.cuts.len(), 2);
    bench.response(OK);
    assert!(said(&bench)[1].0.contains(&"token-denylisted"), "{:?}", said(&bench));
    assert_eq!(bench.pipeline.lists().denied.token(now, key).unwrap().until, Some(until));
    // When its time is over nothing is cut for it any more.
    bench.pass(Duration::from_secs(31));
    assert!(bench.pipeline.lists().denied.token(bench.now, key).is_none());
    assert_eq!(bench.pipeline.lists().denied.counts().tokens, 0);
}

#[test]
fn in_alert_and_in_a_dry_run_nothing_is_cut_nor_denied() {
    for (text, due) in [
        ("[enforcement]\nmode = \"alert\"", None),
        ("[enforcement]\nmode = \"kill\"\ndry_run = true\ndeny = [\"address\"]", Some("reset")),
        ("[enforcement]\nmode = \"kill\"\n[[service]]\nport = 8080\nmode = \"alert\"", None),
        (
            "[enforcement]\nmode = \"kill\"\ndeny = [\"address\"]\n[[service]]\nport = 8080\ndry_run = true",
            Some("reset"),
        ),
    ] {
        let mut bench = bench(text);
        send(&mut bench, UNSIGNED);
        bench.response(OK);
        assert!(bench.out.cuts.is_empty(), "{text}");
        assert_eq!(bench.pipeline.lists().denied.counts().networks, 0);
        let (verdict, enforcement) = done(&bench).remove(0);
        assert_eq!(enforcement.as_ref().map(|done| done.action), due);
        match enforcement {
            Some(done) => {
                assert!(done.dry_run);
                assert_eq!((verdict, done.denied.len()), (Verdict::Block, 1));
                assert_eq!(bench.pipeline.stats().cuts_dry, 1);
            }
            None => assert_eq!(verdict, Verdict::Alert),
        }
        assert_eq!(bench.pipeline.stats().cuts, 0);
    }
    // The other way round: one service cuts, the others don't.
    let text = "[enforcement]\nmode = \"alert\"\n[[service]]\nport = 8080\nmode = \"kill\"";
    let mut bench = bench(text);
    send(&mut bench, UNSIGNED);
    assert_eq!(bench.out.cuts.len(), 1);
}

#[test]
fn the_allowlist_wins_and_is_told_of() {
    let mut bench = bench("[enforcement.allow]\naddresses = [\"10.0.0.0/8\"]");
    send(&mut bench, UNSIGNED);
    bench.response(OK);
    assert!(bench.out.cuts.is_empty());
    let (verdict, enforcement) = done(&bench).remove(0);
    assert_eq!((verdict, enforcement.unwrap().action), (Verdict::Allow, "spared"));
    assert_eq!(bench.pipeline.stats().spared, 1);
    // Also over the denylist.
    let address = Written::Address { address: "10.0.0.1".into() }.denied().unwrap();
    let (now, lists) = (bench.now, bench.pipeline.lists());
    lists.denied.add(now, &address, None, "x", Source::Operator).unwrap();
    send(&mut bench, "opaque");
    assert!(bench.out.cuts.is_empty());
    bench.pipeline.lists().allowed.configure(crate::policy::Allowlist::default());
    bench.connect(40_001);
    send(&mut bench, "opaque");
    assert_eq!(bench.out.cuts.len(), 1);
}

#[test]
fn a_denied_address_or_subject_is_cut_without_a_token_key() {
    let mut bench = bench("");
    let subject = Written::Subject { issuer: None, subject: "a".into() }.denied().unwrap();
    let (now, lists) = (bench.now, bench.pipeline.lists());
    lists.denied.add(now, &subject, None, "left the company", Source::Operator).unwrap();
    send(&mut bench, &signed(B));
    bench.response(OK);
    assert!(bench.out.cuts.is_empty());
    bench.connect(40_001);
    send(&mut bench, "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.YW5vdGhlciBzaWduYXR1cmU");
    bench.response(OK);
    assert_eq!(bench.out.cuts.len(), 1);
    assert!(bench.out.cuts[0].denied.is_empty(), "the entry makes no further one");
    assert_eq!(said(&bench)[0].0, ["subject-denylisted"]);
    let Body::Request(event) = &bench.out.events[0].body else { unreachable!() };
    assert_eq!(event.findings[0].detail, "denied by operator: left the company");
}

#[test]
fn a_subject_is_denied_only_where_a_key_vouches_for_its_name() {
    let mut bench = bench("deny = [\"subject\", \"address\"]");
    send(&mut bench, &signed(A));
    bench.response(OK);
    send(&mut bench, &signed(B));
    // A forger writes any name: denying it would let him lock out whom he likes.
    let denied: Vec<&Denied> = bench.out.cuts[0].denied.iter().map(|(denied, _)| denied).collect();
    assert!(matches!(denied[..], [Denied::Network(_)]), "{denied:?}");
}

#[test]
fn a_forged_token_that_a_request_is_about_cuts_nothing() {
    let mut bench = bench("");
    let body = format!("token={UNSIGNED}");
    let text = format!(
        "POST /introspect HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    bench.segment(
        crate::capture::Direction::ToServer,
        text.as_bytes(),
        crate::capture::TcpFlags::default(),
    );
    bench.response(OK);
    assert!(bench.out.cuts.is_empty());
    assert_eq!(done(&bench)[0].0, Verdict::Alert);
}

#[test]
fn an_answer_may_be_the_reason_to_cut() {
    let text = "[[enforcement.rule]]\nfinding = \"alg-none\"\naction = \"alert\"";
    let mut bench = bench(text);
    send(&mut bench, UNSIGNED);
    bench.response("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n");
    assert!(bench.out.cuts.is_empty());
    send(&mut bench, UNSIGNED);
    bench.response(OK);
    assert_eq!(bench.out.cuts.len(), 1);
    assert_eq!(done(&bench)[1].1.as_ref().unwrap().reasons.text(), "bypass-confirmed");
}

#[test]
fn a_connection_that_can_not_be_reset_is_denied_instead() {
    let mut bench = bench("");
    bench.out.outcome = CutOutcome::Failed;
    send(&mut bench, UNSIGNED);
    bench.response(OK);
    assert_eq!(done(&bench)[0].1.as_ref().unwrap().action, "failed");
    assert_eq!(bench.pipeline.lists().denied.counts().flows, 1);
}

#[test]
fn the_process_that_serves_is_named_to_whoever_cuts() {
    let mut bench = bench("");
    let service = Arc::new(Service { pid: Some(7), ..Service::default() });
    let flow = bench.key();
    bench.pipeline.push(&crate::capture::Input::Service { flow, service }, &mut bench.out);
    send(&mut bench, UNSIGNED);
    assert_eq!(bench.out.cuts[0].pid, Some(7));
}

#[test]
fn a_rule_may_silence_what_is_found() {
    let mut bench =
        bench("[[enforcement.rule]]\nfinding = \"http-missing-host\"\naction = \"allow\"");
    let text = b"GET / HTTP/1.1\r\n\r\n";
    let flags = crate::capture::TcpFlags::default();
    bench.segment(crate::capture::Direction::ToServer, text, flags);
    bench.response(OK);
    assert!(bench.out.events.is_empty());
    assert!(bench.out.exchanges[0].contains("http-missing-host"));
}
