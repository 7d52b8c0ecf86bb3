//! A benign day of ten thousand subjects, end to end: nothing above `info`, but for expired tokens
//! that a service refused, which are `low`. The same day with one theft in it: the theft, and
//! nothing else.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that can't run shall fail, and what a day holds is worth a line"
)]

use jotwatch_tests::{
    attacks::{Seen, Stage},
    day::{self, Day, Exchange},
};

/// Plays a day, with the change of the keys as they are fetched.
fn play(exchanges: &[Exchange]) -> Seen {
    let folder = tempfile::tempdir().unwrap();
    let stage = |rotated| {
        day::write_keys(folder.path(), rotated).unwrap();
        Stage::new(&folder.path().join("config.toml"))
    };
    let before = stage(false);
    let after = stage(true);
    let mut pipeline = before.pipeline();
    let mut seen = Seen::default();
    let mut rotated = false;
    for (number, exchange) in exchanges.iter().enumerate() {
        if !rotated && exchange.at >= day::FETCHED {
            after.trust(&mut pipeline);
            rotated = true;
        }
        exchange.play(number, &mut pipeline, &mut seen);
    }
    pipeline.finish(&mut seen);
    seen.requests = pipeline.stats().requests;
    seen.tokens = pipeline.stats().tokens;
    seen
}

fn shown(seen: &Seen) -> String {
    let alerts = seen.details.iter().filter(|detail| !detail.starts_with("info"));
    alerts.take(20).cloned().collect::<Vec<_>>().join("\n")
}

fn is_quiet(seed: u64, subjects: u32) {
    let day = Day::new(seed, subjects);
    let counts = day.counts;
    println!("seed {seed:#x}: {} requests, {counts:?}", day.exchanges.len());
    // A day that lacks one of these proves less than it says.
    let least = [
        (counts.tokens, 10_000),
        (counts.parallel, 1_000),
        (counts.expired, 50),
        (counts.moves, 1_000),
        (counts.lingering, 1_000),
        (counts.passed_on, 500),
        (counts.proofs, 500),
        (counts.rotation[0], 50),
        (counts.rotation[1], 5),
        (counts.dual, 1_000),
    ];
    let enough = |(count, least): &(usize, usize)| count * 10_000 >= least * subjects as usize;
    assert!(least.iter().all(enough), "{counts:?}");
    let seen = play(&day.exchanges);
    assert_eq!(seen.requests, day.exchanges.len() as u64);
    assert!(seen.tokens > counts.tokens as u64);
    let refused = seen.details.iter().filter(|d| d.starts_with("low token-expired")).count();
    assert_eq!(refused, counts.expired);
    // Moves that the other IP version saw first are told, and no alarm.
    assert!(seen.details.iter().any(|d| d.contains("moved late")), "{counts:?}");
    let alerts = seen.details.iter().filter(|detail| !detail.starts_with("info"));
    assert_eq!(alerts.count(), refused, "{:?}\n{}", seen.finds, shown(&seen));
}

#[test]
fn a_benign_day_is_quiet() {
    is_quiet(0x5eed_1234_5678_9abc, 10_000);
}

#[test]
fn so_is_another() {
    is_quiet(0x0dd5_ba11, 2_000);
}

#[test]
fn and_a_third() {
    is_quiet(0xc0ff_ee00_0000_0001, 2_000);
}

#[test]
fn a_theft_stands_out() {
    let mut day = Day::new(7, 500);
    // While its owner pauses: beyond the grace, and within the token's life.
    let pauses = |e: &Exchange| {
        let soon = e.at + 1..e.at + 110_000;
        !day.exchanges.iter().any(|other| soon.contains(&other.at) && other.is_like(e))
    };
    let victim = |e: &&Exchange| e.at > day::NOON && e.is_bearer() && pauses(e);
    let victim = day.exchanges.iter().find(victim).unwrap();
    let stolen = victim.stolen(100_000, "203.0.113.66".parse().unwrap());
    day.exchanges.push(stolen);
    day.exchanges.sort_by_key(|exchange| exchange.at);
    let seen = play(&day.exchanges);
    assert!(seen.finds.contains("token-replayed-address"), "{}", shown(&seen));
    let everyday = |d: &&String| d.starts_with("info") || d.starts_with("low token-expired");
    let alerts = seen.details.iter().filter(|detail| !everyday(detail));
    assert!(alerts.clone().all(|detail| detail.contains("203.0.113.66")), "{}", shown(&seen));
    assert!(alerts.count() <= 2, "{}", shown(&seen));
}
