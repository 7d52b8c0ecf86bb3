use super::{
    Action, AllowKind, AllowedName, Allowlist, Context, Evidence, Name, Policy, Rule, Verdict,
    default_action,
};
use crate::{
    finding::{Finding, FindingId, Severity},
    networks,
};

fn context() -> Context<'static> {
    Context {
        peer: "192.0.2.7".parse().unwrap(),
        client: "192.0.2.7".parse().unwrap(),
        method: b"GET",
        target: b"/orders/7?x=1",
        score: None,
        suspected: false,
    }
}

fn rule(action: Action) -> Rule {
    Rule { finding: None, severity: None, score: None, action }
}

fn found(id: FindingId) -> Finding {
    Finding::new(id, "")
}

fn evidence(finding: &Finding) -> Evidence<'_> {
    Evidence { finding, of_credentials: true, vouched: None }
}

fn decide(policy: &Policy, allowlist: &Allowlist, findings: &[Finding]) -> Verdict {
    policy.decide(allowlist, &context(), Severity::Low, findings.iter().map(evidence)).verdict
}

fn kill_for(verdict: &Verdict) -> Vec<FindingId> {
    match verdict {
        Verdict::Kill { reasons } => reasons.findings.to_vec(),
        _ => Vec::new(),
    }
}

#[test]
fn by_default_only_what_is_proven_cuts() {
    // Named here one by one: a finding that comes to cut by default shall be seen in a review.
    let proven = [
        FindingId::AlgNone,
        FindingId::SignatureEmpty,
        FindingId::AlgConfusion,
        FindingId::SignatureInvalid,
        FindingId::SignatureMalformed,
        FindingId::SignaturePsychic,
        FindingId::TokenRelayed,
        FindingId::ProofReplayed,
        FindingId::TokenTampered,
        FindingId::BypassConfirmed,
        FindingId::TokenDenylisted,
        FindingId::SubjectDenylisted,
        FindingId::AddressDenylisted,
    ];
    for &id in FindingId::ALL {
        let due = if proven.contains(&id) { Action::Kill } else { Action::Alert };
        assert_eq!(default_action(&found(id)), due, "{id}");
        // What a stage is less sure of is told with a lower severity, and does not cut.
        let unsure = Finding { severity: Severity::Medium, ..found(id) };
        assert_eq!(default_action(&unsure), Action::Alert, "{id}");
    }
}

#[test]
fn the_gravest_action_of_all_findings_counts() {
    let policy = Policy::default();
    let none = Allowlist::default();
    let (query, forged) = (found(FindingId::TokenInQuery), found(FindingId::AlgNone));
    assert_eq!(decide(&policy, &none, &[]), Verdict::Allow);
    // `info`, and `low` is asked for.
    assert_eq!(decide(&policy, &none, std::slice::from_ref(&query)), Verdict::Allow);
    assert_eq!(decide(&policy, &none, &[found(FindingId::KidEmpty)]), Verdict::Alert);
    let verdict = decide(&policy, &none, &[query, forged.clone(), forged]);
    assert_eq!(kill_for(&verdict), [FindingId::AlgNone]);
}

#[test]
fn the_first_rule_that_fits_a_finding_decides_on_it_and_on_no_other() {
    let policy = Policy::new(vec![
        Rule { finding: Some(FindingId::TokenInQuery), ..rule(Action::Allow) },
        Rule { finding: Some(FindingId::AlgNone), ..rule(Action::Alert) },
        Rule { severity: Some(Severity::High), ..rule(Action::Kill) },
        Rule { finding: Some(FindingId::HttpNul), ..rule(Action::Allow) },
    ]);
    let none = Allowlist::default();
    let query = Finding { severity: Severity::High, ..found(FindingId::TokenInQuery) };
    assert_eq!(decide(&policy, &none, std::slice::from_ref(&query)), Verdict::Allow);
    assert_eq!(decide(&policy, &none, &[found(FindingId::AlgNone)]), Verdict::Alert);
    // An allowed finding beside another hides nothing.
    let verdict = decide(&policy, &none, &[query, found(FindingId::HttpNul)]);
    assert_eq!(kill_for(&verdict), [FindingId::HttpNul]);
    assert_eq!(decide(&policy, &none, &[found(FindingId::TokenExpired)]), Verdict::Alert);
}

#[test]
fn a_rule_may_cut_what_is_below_the_severity_that_is_told_of() {
    let policy =
        Policy::new(vec![Rule { finding: Some(FindingId::TokenInQuery), ..rule(Action::Kill) }]);
    let verdict = decide(&policy, &Allowlist::default(), &[found(FindingId::TokenInQuery)]);
    assert_eq!(kill_for(&verdict), [FindingId::TokenInQuery]);
}

#[test]
fn scores_have_rules_of_their_own() {
    let policy = Policy::new(vec![
        Rule { score: Some(90..=100), ..rule(Action::Kill) },
        Rule { score: Some(50..=100), ..rule(Action::Alert) },
    ]);
    let none = Allowlist::default();
    let of = |score| {
        policy
            .decide(&none, &Context { score: Some(score), ..context() }, Severity::Low, [])
            .verdict
    };
    assert_eq!(of(0), Verdict::Allow);
    assert_eq!(of(50), Verdict::Alert);
    assert_eq!(of(89), Verdict::Alert);
    let Verdict::Kill { reasons } = of(90) else { panic!("{:?}", of(90)) };
    assert_eq!(reasons.text(), "score 90");
    // A rule of a score says nothing of findings.
    assert_eq!(decide(&policy, &none, &[found(FindingId::KidEmpty)]), Verdict::Alert);
    assert!(decide(&policy, &none, &[found(FindingId::AlgNone)]).is_kill());
}

#[test]
fn an_allowed_address_or_route_spares_the_whole_request() {
    for (kind, entry, spares) in [
        (AllowKind::Address, "192.0.2.0/24", true),
        (AllowKind::Address, "192.0.2.8", false),
        (AllowKind::Route, "/orders/{id}", true),
        (AllowKind::Route, "GET /orders/{id}", true),
        (AllowKind::Route, "POST /orders/{id}", false),
        (AllowKind::Route, "/orders", false),
    ] {
        let mut allowlist = Allowlist::default();
        match kind {
            AllowKind::Address => allowlist.add_network(networks::parse(entry).unwrap()),
            _ => allowlist.add_route(entry).unwrap(),
        }
        let verdict = decide(&Policy::default(), &allowlist, &[found(FindingId::AlgNone)]);
        match verdict {
            Verdict::Spared { by, reasons } if spares => {
                assert_eq!((by, reasons.text().as_str()), (kind, "alg-none"));
            }
            Verdict::Kill { .. } if !spares => {}
            other => panic!("{entry}: {other:?}"),
        }
        // There is nothing to spare in what is only told.
        let told = decide(&Policy::default(), &allowlist, &[found(FindingId::KidEmpty)]);
        assert_eq!(told, Verdict::Alert);
    }
    assert!(Allowlist::default().add_route("orders").is_err());
    let mut twice = Allowlist::default();
    twice.add_route("GET /a").unwrap();
    twice.add_route("/a").unwrap();
}

#[test]
fn a_path_gets_into_an_allowed_route_only_as_servers_read_it() {
    let mut allowlist = Allowlist::default();
    allowlist.add_route("/health").unwrap();
    for (target, spared) in [
        (&b"/health"[..], true),
        (b"/health?full=1", true),
        (b"/health/../admin", false),
        (b"/health/%2e%2e/admin", false),
        (b"/admin", false),
        (b"/admin?x=/health", false),
        (b"/\xffhealth", false),
    ] {
        let context = Context { target, ..context() };
        assert_eq!(allowlist.allows_request(&context).is_some(), spared, "{target:?}");
    }
}

#[test]
fn a_name_spares_only_what_a_key_vouches_for() {
    let name = |issuer: Option<&'static str>, subject| Name { issuer, subject: Some(subject) };
    let mut allowlist = Allowlist::default();
    let of = |issuer: Option<&str>| AllowedName {
        issuer: issuer.map(str::to_owned),
        subject: "robot".to_owned(),
    };
    allowlist.add_subject(of(Some("https://a")));
    allowlist.add_issuer("https://b".to_owned());
    let relayed = found(FindingId::TokenRelayed);
    let policy = Policy::default();
    for (vouched, spared) in [
        (None, None),
        (Some(name(Some("https://a"), "robot")), Some(AllowKind::Subject)),
        (Some(name(Some("https://c"), "robot")), None),
        (Some(name(None, "robot")), None),
        (Some(name(Some("https://a"), "alice")), None),
        (Some(name(Some("https://b"), "alice")), Some(AllowKind::Issuer)),
        (Some(Name::default()), None),
    ] {
        let own = Evidence { vouched, ..evidence(&relayed) };
        let verdict = policy.decide(&allowlist, &context(), Severity::Low, [own]).verdict;
        match (verdict, spared) {
            (Verdict::Spared { by, .. }, Some(due)) => assert_eq!(by, due),
            (Verdict::Kill { .. }, None) => {}
            (other, _) => panic!("{vouched:?}: {other:?}"),
        }
        // Another token of the request, which nobody vouches for, is cut all the same.
        let other = found(FindingId::AlgNone);
        let both = [own, evidence(&other)];
        let verdict = policy.decide(&allowlist, &context(), Severity::Low, both).verdict;
        assert!(kill_for(&verdict).contains(&FindingId::AlgNone));
        assert_eq!(kill_for(&verdict).contains(&FindingId::TokenRelayed), spared.is_none());
    }
    allowlist.add_subject(of(None));
    let any = name(Some("https://c"), "robot");
    assert_eq!(allowlist.allows_name(any), Some(AllowKind::Subject));
}

#[test]
fn a_token_that_is_the_matter_of_a_request_is_told_of_and_cuts_nothing() {
    let forged = found(FindingId::SignatureInvalid);
    let matter = Evidence { of_credentials: false, ..evidence(&forged) };
    let verdict =
        Policy::default().decide(&Allowlist::default(), &context(), Severity::Low, [matter]);
    assert_eq!((verdict.verdict, verdict.told), (Verdict::Alert, true));
}
