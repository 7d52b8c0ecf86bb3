//! Days of several subjects, and what becomes of it when one of them is no longer itself.

use super::*;
use crate::{
    event::RequestEvent,
    finding::Severity,
    keys::{KeySource, KeyStore, parse_keys},
    policy::{Action, Enforcement, Mode, Policy as Rules, Rule},
    score::{Models, Profile, Source},
    token::{
        testing::{jwk, sign},
        validate::Policy,
    },
};

const DAY: u64 = 86_400;
/// A Monday, 00:00 UTC.
const MONDAY: u64 = 1_700_438_400;

const AGENTS: [&str; 3] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:126.0) Gecko/20100101 Firefox/126.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_5) AppleWebKit/605.1.15 Version/17.5 Safari/605.1.15",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/125.0 Safari/537.36",
];

/// SplitMix64: the same days in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

/// A service with its users.
struct Office {
    bench: Bench,
    dice: Dice,
    connections: u16,
}

/// One request with its answer.
struct Act<'a> {
    token: &'a str,
    agent: &'a str,
    path: &'a str,
    status: u16,
    bytes: usize,
}

impl Office {
    fn new(change: impl FnOnce(&mut Settings)) -> Self {
        let mut bench = Bench::with(|settings| {
            settings.models = Some(Models::built_in().unwrap());
            change(settings);
        });
        let mut keys = KeyStore::new();
        keys.add(Some("i"), parse_keys(jwk(1).as_bytes(), KeySource::File).unwrap().keys);
        bench.pipeline.trust(Arc::new(keys), Arc::new(Policy::default()));
        Self { bench, dice: Dice(7), connections: 0 }
    }

    /// The token that a subject got at `at`, for ten hours.
    fn token(subject: usize, at: u64) -> String {
        let claims = format!(
            r#"{{"iss":"i","sub":"user-{subject}","roles":["clerk"],"iat":{at},"exp":{}}}"#,
            at + 36_000
        );
        sign(1, r#"{"alg":"EdDSA","typ":"JWT"}"#, &claims)
    }

    fn connect(&mut self, client: [u8; 4], at: u64) {
        self.bench.now = self.bench.now.max(Time::from_unix_secs(at));
        self.bench.client = client;
        self.connections += 1;
        self.bench.connect(20_000 + self.connections);
    }

    fn act(&mut self, act: &Act<'_>) {
        let Act { token, agent, path, status, bytes, .. } = act;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: {agent}\r\n\
             Accept: application/json\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        self.bench.segment(Direction::ToServer, request.as_bytes(), TcpFlags::default());
        let wait = Duration::from_micros(2000 + self.dice.roll(2000));
        self.bench.pass(wait);
        let body = "x".repeat(*bytes);
        self.bench.response(&format!(
            "HTTP/1.1 {status} S\r\nContent-Type: application/json\r\nContent-Length: {bytes}\r\n\r\n{body}"
        ));
    }

    /// What a clerk does in a session: looks at lists and at orders of its own.
    fn session(&mut self, subject: usize, token: &str, client: [u8; 4], at: u64) {
        self.connect(client, at);
        let agent = AGENTS[subject % AGENTS.len()];
        let requests = 8 + self.dice.roll(12);
        let mut order = 1000 * subject as u64 + self.dice.roll(40);
        for _ in 0..requests {
            let path = match self.dice.roll(10) {
                0 => "/me".to_owned(),
                1 | 2 => "/orders?status=open".to_owned(),
                3 => "/customers".to_owned(),
                4 => format!("/customers/{}", 100 * subject as u64 + self.dice.roll(15)),
                5 => "/news".to_owned(),
                6 => {
                    order = 1000 * subject as u64 + self.dice.roll(40);
                    format!("/orders/{order}")
                }
                7 => format!("/orders/{order}/lines"),
                _ => format!("/orders/{order}"),
            };
            let bytes = 400 + self.dice.roll(900) as usize;
            let status = if self.dice.roll(60) == 0 { 404 } else { 200 };
            self.act(&Act { token, agent, path: &path, status, bytes });
            let pause = Duration::from_millis(1500 + self.dice.roll(1000) * self.dice.roll(60));
            self.bench.pass(pause);
        }
    }

    /// A day of all clerks, from the office or, now and then, from home.
    fn day(&mut self, day: u64) {
        const CLERKS: usize = 8;
        let midnight = MONDAY + day * DAY;
        if day % 7 >= 5 {
            return;
        }
        let tokens: Vec<String> =
            (0..CLERKS).map(|subject| Self::token(subject, midnight + 8 * 3600)).collect();
        let homes: Vec<bool> = (0..CLERKS).map(|_| self.dice.roll(5) == 0).collect();
        for hour in [8, 9, 11, 13, 14, 16] {
            for (subject, token) in tokens.iter().enumerate() {
                if self.dice.roll(4) == 0 {
                    continue;
                }
                let client = match homes[subject] {
                    true => [198, 51, 100, 10 + subject as u8],
                    false => [192, 0, 2, 5],
                };
                let at = midnight + hour * 3600 + 60 + self.dice.roll(600);
                self.session(subject, token, client, at);
            }
        }
    }

    fn requests(&self) -> Vec<&RequestEvent> {
        self.bench
            .out
            .events
            .iter()
            .filter_map(|event| match &event.body {
                Body::Request(request) => Some(&**request),
                _ => None,
            })
            .collect()
    }

    /// Walks through the orders of everybody with somebody else's token.
    fn steal(&mut self, token: &str, at: u64) {
        self.connect([203, 0, 113, 77], at);
        for order in 0..120 {
            let path = format!("/orders/{}", 1000 + order);
            let status = if order % 7 == 0 { 403 } else { 200 };
            let agent = "python-requests/2.31.0";
            self.act(&Act { token, agent, path: &path, status, bytes: 900 });
            self.bench.pass(Duration::from_millis(700));
        }
    }
}

fn behavioural(request: &RequestEvent) -> Vec<&'static str> {
    let reasons = request.score.as_ref().unwrap().reasons().iter();
    reasons.filter(|reason| reason.source == Source::Behaviour).map(|reason| reason.id).collect()
}

/// A mode that cuts, by the rules that are built in.
fn kill(settings: &mut Settings) {
    settings.enforcement = Enforcement { mode: Mode::Kill, ..Enforcement::default() }.into();
}

#[test]
fn days_of_work_raise_nothing_and_a_stolen_token_is_told_of_and_not_cut() {
    let mut office = Office::new(kill);
    for day in 0..19 {
        office.day(day);
        let events = &office.bench.out.events;
        assert!(events.is_empty(), "day {day}: {:?}", events[0]);
    }
    let known = office.bench.pipeline.features().stats();
    assert_eq!((known.subjects, known.others), (8, 0));
    assert!(known.known > 2000, "{known:?}");

    let morning = MONDAY + 21 * DAY;
    office.day(21);
    assert!(office.bench.out.events.is_empty());
    let token = Office::token(3, morning + 8 * 3600);
    office.steal(&token, morning + 20 * 3600);
    let requests = office.requests();
    let told = requests.iter().filter(|request| !behavioural(request).is_empty()).count();
    assert!(told > 10, "{told} of {}", requests.len());
    let worst =
        requests.iter().max_by_key(|request| request.score.as_ref().unwrap().value).unwrap();
    let score = worst.score.as_ref().unwrap();
    assert!(score.suspected && score.value >= 90, "{score:?}");
    assert_eq!(score.profile, Some(Profile::Known));
    let reasons = behavioural(worst);
    assert!(
        reasons.iter().any(
            |id| ["device-new", "device-surprise", "objects-hour-z", "object-run"].contains(id)
        ),
        "{score:?}"
    );
    for reason in score.reasons() {
        assert!(!reason.detail.contains("user-3"), "{reason:?}");
    }
    // A model alone cuts nothing.
    assert!(office.bench.out.cuts.is_empty());
    assert!(requests.iter().all(|request| request.enforcement.is_none()));
    let severities = office.bench.out.events.iter().map(|event| event.severity);
    assert!(severities.max() >= Some(Severity::Medium));
}

#[test]
fn a_rule_may_cut_by_behaviour_before_the_answer() {
    let mut office = Office::new(|settings| {
        let rule =
            Rule { finding: None, severity: None, score: Some(90..=100), action: Action::Kill };
        settings.enforcement = Enforcement {
            mode: Mode::Kill,
            policy: Rules::new(vec![rule]),
            ..Enforcement::default()
        }
        .into();
    });
    for day in 0..19 {
        office.day(day);
    }
    assert!(office.bench.out.cuts.is_empty());
    let morning = MONDAY + 21 * DAY;
    office.day(21);
    let token = Office::token(3, morning + 8 * 3600);
    office.steal(&token, morning + 20 * 3600);
    assert!(!office.bench.out.cuts.is_empty());
}

#[test]
fn a_subject_of_yesterday_is_learned_and_held_against_nothing() {
    let mut office = Office::new(|_| ());
    office.day(0);
    office.day(1);
    let token = Office::token(3, MONDAY + DAY + 8 * 3600);
    office.steal(&token, MONDAY + DAY + 20 * 3600);
    assert!(office.requests().iter().all(|request| behavioural(request).is_empty()));
    // What is found is told of all the same, and says so.
    office.connect([192, 0, 2, 5], MONDAY + DAY + 22 * 3600);
    office.act(&Act { token: UNSIGNED, agent: AGENTS[0], path: "/me", status: 401, bytes: 10 });
    let last = *office.requests().last().unwrap();
    assert_eq!(last.score.as_ref().unwrap().profile, Some(Profile::Learning));
    assert_eq!(office.bench.pipeline.features().stats().known, 0);
}
