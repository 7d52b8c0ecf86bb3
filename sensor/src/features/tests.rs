use std::sync::Arc;

use jotwatch_models::behaviour::Index;

use super::*;
use crate::{
    finding::FindingId,
    time::Time,
    token::{FingerprintKey, Judge, JudgeConfig, testing},
};

struct Bench {
    features: Features,
    judge: Judge,
    now: u64,
    read_learning: bool,
}

impl Bench {
    fn new() -> Self {
        let judge = Judge::new(JudgeConfig {
            extra_headers: Vec::new(),
            max_token_bytes: 8192,
            cache_entries: 64,
            fingerprint_key: FingerprintKey::new([7; 16]),
            hmac_samples: false,
        });
        let features = Features::new(SubjectLimits::default(), [1; 16]);
        Self { features, judge, now: 1_700_000_000, read_learning: true }
    }

    /// A request with these header fields, whose tokens' signatures were found to be `check`.
    fn request(
        &mut self,
        target: &str,
        fields: &[(&str, &str)],
        check: SignatureCheck,
    ) -> Option<Box<Watched>> {
        let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let at = Time::from_unix_secs(self.now);
        let request = Request::from_parts(b"GET", target.as_bytes(), fields, Vec::new(), at);
        let mut tokens = self.judge.judge(&request);
        for token in &mut tokens.tokens {
            // The judge's own copy stays as it is.
            let text = request.header("authorization").unwrap();
            let mut own = Judge::new(JudgeConfig {
                extra_headers: Vec::new(),
                max_token_bytes: 8192,
                cache_entries: 0,
                fingerprint_key: FingerprintKey::new([7; 16]),
                hmac_samples: false,
            })
            .judge(&Request::from_parts(
                b"GET",
                b"/",
                [(&b"authorization"[..], text)],
                Vec::new(),
                at,
            ));
            token.decoded = own.tokens.pop().unwrap().decoded;
            if let Some(known) = token.decoded.as_mut().and_then(Arc::get_mut) {
                known.validation.signature = check;
            }
        }
        let seen = Seen {
            request: &request,
            tokens: &tokens,
            fresh: &[true],
            client: Client {
                address: [192, 0, 2, 1].into(),
                asn: None,
                country: None,
                place: None,
                kinds: None,
                threat: None,
            },
            service: None,
            port: 8080,
            scope_covers: None,
            payload: Some(0.01),
            read_learning: self.read_learning,
        };
        let finding =
            Finding { severity: Severity::Medium, ..Finding::new(FindingId::TokenInQuery, "") };
        self.features.request(&seen, [finding].iter())
    }

    fn bearer(&mut self, claims: &str, check: SignatureCheck) -> Box<Watched> {
        let token = testing::jws(r#"{"alg":"RS256"}"#, claims);
        let value = format!("Bearer {token}");
        self.request("/a", &[("authorization", &value)], check).unwrap()
    }
}

const ANN: &str = r#"{"iss":"https://i.example","sub":"ann","iat":1699999900,"exp":1700000900}"#;

#[test]
fn a_name_without_a_good_signature_is_another_subject() {
    use SignatureCheck::{Bad, Good, Learned, Unverifiable};

    let mut bench = Bench::new();
    let mut subjects = Vec::new();
    for check in [Good, Learned, Unverifiable, Bad] {
        let watched = bench.bearer(ANN, check);
        assert_eq!(watched.vouched, check == Good);
        assert!(!subjects.contains(&watched.subject), "{check:?}");
        subjects.push(watched.subject);
    }
    let stats = bench.features.stats();
    assert_eq!((stats.subjects, stats.others, stats.learning), (1, 3, 4));
    // Whatever forgeries come: none of them teaches the profile that is vouched for.
    for _ in 0..200 {
        bench.bearer(ANN, Bad);
        bench.bearer(ANN, Unverifiable);
    }
    let good = bench.bearer(ANN, Good);
    let minute = good.vector.get(Index::RequestsMinute).unwrap();
    assert!((minute - 3_f32.log2()).abs() < 1e-3, "two requests, and no more: {minute}");
    assert_eq!(good.subject, subjects[0]);
}

#[test]
fn subjects_are_told_apart_by_what_the_token_names() {
    use SignatureCheck::Good;

    let mut bench = Bench::new();
    let claims = [
        ANN,
        r#"{"iss":"https://i.example","sub":"bob"}"#,
        r#"{"iss":"https://j.example","sub":"ann"}"#,
        r#"{"iss":"https://i.example","client_id":"ann"}"#,
        r#"{"iss":"https://i.example"}"#,
        r#"{"iss":"https://i.example","jti":"1"}"#,
    ];
    let subjects: Vec<u128> =
        claims.iter().map(|claims| bench.bearer(claims, Good).subject).collect();
    for (at, subject) in subjects.iter().enumerate() {
        assert!(!subjects[..at].contains(subject), "{}", claims[at]);
    }
    // Another token of the same subject is the same subject.
    let later = r#"{"iss":"https://i.example","sub":"ann","roles":["b"],"jti":"2"}"#;
    assert_eq!(bench.bearer(later, Good).subject, subjects[0]);
    // Under another secret nothing is the same.
    bench.features = Features::new(SubjectLimits::default(), [2; 16]);
    assert_ne!(bench.bearer(ANN, Good).subject, subjects[0]);
}

#[test]
fn without_a_token_nobody_asks_and_an_opaque_one_is_itself() {
    use SignatureCheck::Unverifiable;

    let mut bench = Bench::new();
    assert!(bench.request("/a", &[("user-agent", "x")], Unverifiable).is_none());
    let opaque = |bench: &mut Bench, token: &str| {
        let value = format!("Bearer {token}");
        bench.request("/a", &[("authorization", &value)], Unverifiable).unwrap()
    };
    let one = opaque(&mut bench, "2YotnFZFEjr1zCsicMWpAA");
    assert_eq!(one.vector.get(Index::TokenFirstUse), Some(0.0));
    assert_eq!(one.subject, opaque(&mut bench, "2YotnFZFEjr1zCsicMWpAA").subject);
    assert_ne!(one.subject, opaque(&mut bench, "tGzv3JOkF0XG5Qx2TlKWIA").subject);
}

#[test]
fn what_a_clock_or_a_database_cannot_tell_is_absent() {
    use SignatureCheck::Good;

    let mut bench = Bench::new();
    let told = bench.bearer(ANN, Good);
    let age = told.vector.get(Index::TokenAge).unwrap();
    assert!((age - 101_f32.log2()).abs() < 1e-3, "{age}");
    assert_eq!(told.vector.get(Index::FindingsMedium), Some(1.0));
    for absent in [
        Index::CountryNew,
        Index::PlaceSpeed,
        Index::Threat,
        Index::Vpn,
        Index::ScopeMissing,
        Index::LatencyZ,
        Index::AddressNew,
    ] {
        assert_eq!(told.vector.get(absent), None, "{absent:?}");
    }
    // This host's clock was never set.
    bench.now = 3600;
    let unset = bench.bearer(ANN, Good);
    assert_eq!(unset.vector.get(Index::TokenAge), None);
    assert_eq!(unset.vector.get(Index::TokenRest), None);
}

#[test]
fn the_form_of_a_target_makes_no_other_route() {
    let mut bench = Bench::new();
    let value = format!("Bearer {}", testing::jws(r#"{"alg":"RS256"}"#, ANN));
    let mut route = |target: &str| {
        let fields = [("authorization", &*value)];
        bench.request(target, &fields, SignatureCheck::Good).unwrap().route
    };
    let own = route("/orders/1");
    assert_eq!(route("http://shop.example/orders/2?x=1"), own);
    assert_ne!(route("/orders"), own);
}

#[test]
fn an_answer_counts_once_and_memory_is_used_again() {
    let mut bench = Bench::new();
    let answer = Answer { status: 403, latency_us: 900, bytes: 100 };
    for _ in 0..8 {
        let mut watched = bench.bearer(ANN, SignatureCheck::Good);
        for _ in 0..3 {
            bench.features.answer(&mut watched, &answer);
        }
        bench.features.recycle(watched);
        assert_eq!(bench.features.spare.len(), 1);
    }
    // Of eight answers all were refusals; a count of three for each would show by the hour.
    let watched = bench.bearer(ANN, SignatureCheck::Good);
    assert_eq!(watched.vector.get(Index::ForbiddenRecent), Some(1.0));
    assert!(bench.features.spare.is_empty());
}

#[test]
fn what_nobody_reads_is_absent_and_teaches_all_the_same() {
    let [mut read, mut unread] = [Bench::new(), Bench::new()];
    unread.read_learning = false;
    let answer = Answer { status: 404, latency_us: 900, bytes: 100 };
    let mut compared = 0;
    for request in 0..300 {
        // A request in two hours: six hours of three days are over in between.
        let vectors = [&mut read, &mut unread].map(|bench| {
            bench.now += 7000;
            let mut watched = bench.bearer(ANN, SignatureCheck::Good);
            bench.features.answer(&mut watched, &answer);
            watched.vector
        });
        let [all, some] = vectors;
        assert_eq!(all.learning, some.learning, "{request}");
        if all.learning {
            assert!(all.get(Index::FindingsMedium).is_some());
            assert!(some.values().iter().all(|value| value.is_nan()));
        } else {
            compared += 1;
            let bits = |vector: Vector| vector.values().map(f32::to_bits);
            assert_eq!(bits(all), bits(some), "{request}");
        }
    }
    assert!(compared > 100);
}
