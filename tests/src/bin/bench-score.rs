//! What the score of a request costs, for `cargo xtask bench score`: one JSON object on standard
//! output.
//!
//! `bench-score times [--rounds N]` scores requests with a head of 500 bytes by a thousand subjects
//! whose profiles are past learning: the payload model alone, the features with their profiles, the
//! behaviour model as the pipeline asks it and with all of its trees and reasons, and all of it as
//! the pipeline does. Each round does a batch of each in turn, so that a busy machine slows all of
//! them. Nanoseconds of processor time a request, one figure a round.
//!
//! `bench-score only payload|features|behaviour|nothing --requests N` does one of them and no more,
//! for a counter of instructions beside it; `nothing` what comes before.
//!
//! `bench-score crowd [--subjects N]` makes that many profiles, and says what they hold.

use std::{env, hint::black_box, io, process};

use anyhow::{Context as _, Result, bail};
use jotwatch::{
    features::{Features, Seen, SubjectLimits, Watched},
    http::Request,
    score::{Models, Scorer},
    time::Time,
    token::{FingerprintKey, Judge, JudgeConfig, TokenReport},
};
use jotwatch_models::behaviour::{Answer, Client, GeoPoint, NetworkKinds};
use jotwatch_tests::{
    tokens::base64url,
    usage::{cpu_nanos, resident},
};
use serde_json::json;

/// Bytes of a request's head without its token.
const HEAD: usize = 500;
/// Subjects that take turns: more than fit into a processor's nearest cache.
const SUBJECTS: usize = 1000;
/// Requests of one batch.
const BATCH: usize = 1000;
/// A Monday, 00:00 UTC, in seconds.
const MONDAY: u64 = 1_767_571_200;

fn main() -> Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match *words {
        ["times"] => times(15)?,
        ["times", "--rounds", rounds] => times(rounds.parse()?)?,
        ["only", what, "--requests", requests] => only(what, requests.parse()?)?,
        ["crowd"] => crowd(1_000_000)?,
        ["crowd", "--subjects", subjects] => crowd(subjects.parse()?)?,
        _ => {
            eprintln!(
                "usage: bench-score times [--rounds N] | only WHAT --requests N | crowd [--subjects N]"
            );
            process::exit(2);
        }
    };
    serde_json::to_writer(io::stdout(), &result)?;
    Ok(())
}

/// A request with its judged token.
struct Judged {
    request: Request,
    tokens: TokenReport,
}

fn judge() -> Judge {
    Judge::new(JudgeConfig {
        extra_headers: Vec::new(),
        max_token_bytes: 16_384,
        cache_entries: 2 * SUBJECTS,
        fingerprint_key: FingerprintKey::new([7; 16]),
        hmac_samples: false,
    })
}

fn judged(judge: &mut Judge, subject: usize, number: u64, at: u64) -> Judged {
    let day = at / 86_400 * 86_400;
    let claims = format!(
        r#"{{"iss":"https://id.bench.test","sub":"user-{subject:08}","roles":["clerk"],"iat":{day},"exp":{}}}"#,
        day + 86_400
    );
    let token = format!(
        "{}.{}.{}",
        base64url(br#"{"alg":"RS256","typ":"JWT"}"#),
        base64url(claims.as_bytes()),
        base64url([7; 64])
    );
    let paths = [
        format!("/api/orders/{}", 1000 * subject as u64 + number % 30),
        "/api/orders?status=open&sort=-created".to_owned(),
        format!("/api/customers/{}", 100 * subject as u64 + number % 9),
        "/api/me".to_owned(),
        "/api/news".to_owned(),
    ];
    let path = paths.get((number % 7) as usize).unwrap_or(&paths[0]);
    let agent =
        format!("Mozilla/5.0 (X11; Linux x86_64; rv:12{}.0) Gecko/20100101 Firefox", subject % 10);
    let bearer = format!("Bearer {token}");
    let mut fields = vec![
        ("host", "api.bench.test"),
        ("user-agent", &*agent),
        ("accept", "application/json, text/plain, */*"),
        ("accept-language", "de-DE,de;q=0.9,en;q=0.8"),
        ("accept-encoding", "gzip, deflate, br"),
        ("referer", "https://shop.bench.test/orders"),
        ("cookie", "theme=dark; consent=1; sid=s%3AqX9vT2mL0aKc4wZ7"),
    ];
    let used: usize =
        20 + path.len() + fields.iter().map(|(n, v)| n.len() + v.len() + 4).sum::<usize>();
    let fill = "r".repeat(HEAD.saturating_sub(used + 18));
    fields.push(("x-request-id", &fill));
    fields.push(("authorization", &bearer));
    let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let request = Request::from_parts(
        b"GET",
        path.as_bytes(),
        fields,
        Vec::new(),
        Time::EPOCH + std::time::Duration::from_millis(at * 1000 + number % 1000),
    );
    let tokens = judge.judge(&request);
    Judged { request, tokens }
}

fn seen<'a>(of: &'a Judged, subject: usize, fresh: &'a [bool]) -> Seen<'a> {
    let kinds = if subject.is_multiple_of(20) { NetworkKinds::VPN } else { NetworkKinds::NONE };
    Seen {
        request: &of.request,
        tokens: &of.tokens,
        fresh,
        client: Client {
            address: [192, 0, (subject / 200) as u8, (subject % 200) as u8].into(),
            asn: Some(64_500 + (subject % 50) as u32),
            country: Some(*b"DE"),
            place: Some(GeoPoint { lat: 50.0 + (subject % 5) as f32, lon: 8.0, radius_km: 20 }),
            kinds: Some(kinds),
            threat: Some(false),
        },
        service: Some("bench"),
        port: 8080,
        scope_covers: Some(true),
        payload: Some(0.01),
        read_learning: false,
    }
}

const ANSWER: Answer = Answer { status: 200, latency_us: 2_000, bytes: 1_400 };

/// Profiles past learning, and what passes through them next.
struct Office {
    features: Features,
    judge: Judge,
    now: u64,
}

impl Office {
    fn new() -> Result<Self> {
        let limits = SubjectLimits::default();
        let mut office =
            Self { features: Features::new(limits, [1; 16]), judge: judge(), now: MONDAY };
        // Five days of three hours.
        for day in 0..5 {
            for hour in [9, 11, 14] {
                for number in 0..6_u64 {
                    office.now = MONDAY + day * 86_400 + hour * 3600 + number * 60;
                    for subject in 0..SUBJECTS {
                        let at = office.now + pause(subject, number + day);
                        let of = judged(&mut office.judge, subject, number * 31 + day, at);
                        let mut watched = office.watch(&of, subject)?;
                        office.features.answer(&mut watched, &ANSWER);
                        office.features.recycle(watched);
                    }
                }
            }
        }
        if office.features.stats().known == 0 {
            bail!("no profile is past learning");
        }
        office.now += 3600;
        Ok(office)
    }

    fn watch(&mut self, of: &Judged, subject: usize) -> Result<Box<Watched>> {
        let fresh = [false];
        self.features.request(&seen(of, subject, &fresh), std::iter::empty()).context("no subject")
    }

    fn batch(&mut self) -> Vec<(usize, Judged)> {
        self.now += 90;
        (0..BATCH)
            .map(|number| {
                let subject = number * 7 % SUBJECTS;
                let at = self.now + pause(subject, self.now);
                (subject, judged(&mut self.judge, subject, self.now + number as u64, at))
            })
            .collect()
    }
}

/// Seconds by which a subject is later than others: nobody's pauses are alike.
fn pause(subject: usize, turn: u64) -> u64 {
    let mixed = (subject as u64 * 31 + turn).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 40) % 80
}

/// Nanoseconds of processor time for each of a batch.
fn timed<T>(batch: &mut [T], mut work: impl FnMut(&mut T)) -> u64 {
    let start = cpu_nanos();
    batch.iter_mut().for_each(&mut work);
    (cpu_nanos() - start) / batch.len().max(1) as u64
}

fn times(rounds: usize) -> Result<serde_json::Value> {
    let models = Models::built_in()?;
    let model = models.behaviour.clone();
    let mut scorer = Scorer::new(models);
    let mut office = Office::new()?;
    let (mut payload, mut features, mut answer) = (Vec::new(), Vec::new(), Vec::new());
    let (mut behaviour, mut whole, mut bytes, mut requests) = (Vec::new(), Vec::new(), 0, 0);
    let mut asked = 0_u64;
    for _ in 0..rounds {
        let mut batch = office.batch();
        let token = |of: &Judged| of.tokens.tokens.iter().map(|token| token.bytes).sum::<usize>();
        bytes += batch.iter().map(|(_, of)| of.request.head_len() - token(of)).sum::<usize>();
        requests += batch.len();
        payload.push(timed(&mut batch, |(_, of)| {
            black_box(scorer.score(&of.request, &of.tokens, std::iter::empty()));
        }));
        let mut watched: Vec<Option<Box<Watched>>> = Vec::with_capacity(batch.len());
        features.push(timed(&mut batch, |(subject, of)| {
            watched.push(office.watch(of, *subject).ok());
        }));
        let mut watched: Vec<Box<Watched>> = watched.into_iter().flatten().collect();
        answer.push(timed(&mut watched, |watched| office.features.answer(watched, &ANSWER)));
        let mut score = jotwatch::score::Score::default();
        behaviour.push(timed(&mut watched, |watched| {
            asked += u64::from(score.behave(&scorer, &watched.vector, false).is_some());
        }));
        whole.push(timed(&mut watched, |watched| {
            black_box(model.score(&watched.vector));
        }));
        watched.into_iter().for_each(|watched| office.features.recycle(watched));
    }
    Ok(json!({
        "payload": payload,
        "features": features,
        "answer": answer,
        "behaviour": behaviour,
        "whole": whole,
        "head_bytes": bytes / requests.max(1),
        "not_passed_over": asked,
        "requests": requests,
    }))
}

fn only(what: &str, requests: usize) -> Result<serde_json::Value> {
    let mut scorer = Scorer::new(Models::built_in()?);
    let mut office = Office::new()?;
    let batch = office.batch();
    let mut score = jotwatch::score::Score::default();
    for number in 0..requests {
        let Some((subject, of)) = batch.get(number % batch.len()) else { break };
        match what {
            "nothing" => {}
            "payload" => {
                black_box(scorer.score(&of.request, &of.tokens, std::iter::empty()));
            }
            "features" | "behaviour" => {
                let mut watched = office.watch(of, *subject)?;
                office.features.answer(&mut watched, &ANSWER);
                if what == "behaviour" {
                    black_box(score.behave(&scorer, &watched.vector, false));
                }
                office.features.recycle(watched);
            }
            _ => bail!("payload, features, behaviour or nothing"),
        }
    }
    Ok(json!({ "requests": requests }))
}

fn crowd(subjects: usize) -> Result<serde_json::Value> {
    let limits = SubjectLimits { vouched: subjects, others: subjects };
    let mut features = Features::new(limits, [1; 16]);
    let mut judge = judge();
    let before = resident()?;
    for subject in 0..subjects {
        let of = judged(&mut judge, subject, subject as u64 % 50, MONDAY + subject as u64 / 100);
        let fresh = [true];
        let watched = features.request(&seen(&of, subject, &fresh), std::iter::empty());
        let mut watched = watched.context("no subject")?;
        features.answer(&mut watched, &ANSWER);
        features.recycle(watched);
    }
    let stats = features.stats();
    Ok(json!({
        "subjects": stats.subjects + stats.others,
        "forgotten": stats.subjects_evicted,
        "held": stats.bytes,
        "resident": resident()?.saturating_sub(before),
    }))
}
