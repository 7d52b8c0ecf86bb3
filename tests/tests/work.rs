//! Twelve days of work in one capture, with accounts that somebody misuses on the next: replayed, each
//! misuse is told for what it is, and nobody else is told of.
#![expect(clippy::unwrap_used, reason = "a test that can't run shall fail")]

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use jotwatch_tests::{
    binary, mmdb,
    work::{self, Client, DAY, Get, HOUR, MINUTE, SECOND, Work},
};
use serde_json::Value;

const PEOPLE: u64 = 16;
const DAYS: u64 = 12;

/// Everybody has an address of the city, and one of four browsers.
fn client(n: u64) -> Client {
    Client {
        subject: format!("subject-{n}"),
        address: format!("192.0.2.{}", 10 + n),
        behind: None,
        agent: format!("Mozilla/5.0 (browser {})", n % 4),
    }
}

/// What has to be told of an account.
struct Misuse {
    subject: &'static str,
    /// From where it is misused.
    address: &'static str,
    /// Requests that are told of.
    least: usize,
    /// The first of them is between these times.
    first: [&'static str; 2],
    /// A reason among those of each but a few: the feature, and what it says.
    reason: (&'static str, &'static str),
}

const MISUSES: [Misuse; 4] = [
    Misuse {
        subject: "subject-1",
        address: "203.0.113.9",
        least: 15,
        first: ["11:32:00", "11:33:00"],
        reason: ("place-speed-hour", "km/h at most"),
    },
    Misuse {
        subject: "subject-2",
        address: "198.18.7.7",
        least: 13,
        first: ["12:04:00", "12:05:00"],
        reason: ("token-device-changed", "another user agent"),
    },
    Misuse {
        subject: "subject-3",
        address: "192.0.2.13",
        least: 300,
        first: ["13:00:00", "13:01:30"],
        reason: ("objects-hour-z", "deviations above"),
    },
    Misuse {
        subject: "subject-4",
        address: "192.0.2.14",
        least: 100,
        first: ["14:00:00", "14:00:40"],
        reason: ("object-run", "object numbers in a row"),
    },
];

fn elsewhere(client: &Client, address: &str, agent: &str) -> Client {
    Client { address: address.to_owned(), agent: agent.to_owned(), ..client.clone() }
}

fn days() -> Work {
    let mut work = Work::new(0x0da1_5eed);
    for n in 0..PEOPLE {
        work.days(&client(n), DAYS, 4, 14);
    }
    work
}

/// A last day of work like the others, but for what is done with four accounts.
fn attacks(work: &mut Work) {
    let day = DAYS * DAY;
    for n in 0..PEOPLE {
        work.sitting(&client(n), day + 9 * HOUR + n * 7 * MINUTE, 12);
    }
    // Travel: half an hour later on the other side of the earth, by another token.
    let (one, begin) = (client(1), day + 11 * HOUR);
    let end = work.sitting(&one, begin, 10);
    work.sitting(&elsewhere(&one, "203.0.113.9", &one.agent), end + 30 * MINUTE, 15);

    // A theft: the token of the sitting, at once, from another network of the city.
    let (two, begin) = (client(2), day + 12 * HOUR);
    let (line, token) = (work.open(&two), work.token(&two, begin));
    let thief = elsewhere(&two, "198.18.7.7", "python-requests/2.31");
    let stolen = work.open(&thief);
    for n in 0..20 {
        let get = work.usual();
        let at = begin + n * 40 * SECOND;
        work.ask(line, &two, &token, at, &get);
        if n > 5 {
            let get = work.usual();
            work.ask(stolen, &thief, &token, at + 11 * SECOND, &get);
        }
    }

    // Scraping: the collection of customers, in any order, within minutes.
    let (three, begin) = (client(3), day + 13 * HOUR);
    let (line, token) = (work.open(&three), work.token(&three, begin));
    for n in 0..400 {
        let path = format!("/api/customers/{}", 100 + n * 163 % 400);
        let at = begin + n * 900 + work.below(400);
        work.ask(line, &three, &token, at, &Get { path, status: 200, bytes: 130 });
    }

    // Walking: the orders of others, one by one, of which most are refused.
    let (four, begin) = (client(4), day + 14 * HOUR);
    let (line, token) = (work.open(&four), work.token(&four, begin));
    for n in 0..120 {
        let path = format!("/api/orders/{}", 4_000 + n);
        let status = if work.below(6) == 0 { 200 } else { 403 };
        let at = begin + n * 2_000 + work.below(1_500);
        work.ask(line, &four, &token, at, &Get { path, status, bytes: 60 });
    }
}

/// The events of a replay.
fn replay(dir: &Path, work: Work) -> Vec<Value> {
    fs::write(dir.join("work.pcap"), work.into_capture()).unwrap();
    let output = Command::new(binary::jotwatch())
        .current_dir(dir)
        .args(["replay", "work.pcap", "--config", "config.toml"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("id.jwk"), work::issuer_key()).unwrap();
    let city = |network: &str, city| (network.parse().unwrap(), city);
    let rows = [
        city("192.0.2.0/24", ("DE", 52.52, 13.4, 20)),
        city("198.18.7.0/24", ("DE", 52.4, 13.1, 20)),
        city("203.0.113.0/24", ("JP", 35.68, 139.69, 20)),
    ];
    fs::write(dir.path().join("city.mmdb"), mmdb::cities(&rows)).unwrap();
    let clients = "[clients]\ncity_database = \"city.mmdb\"\n";
    fs::write(dir.path().join("config.toml"), format!("{}{clients}", work::ISSUER)).unwrap();
    dir
}

#[test]
fn each_misuse_is_told_for_what_it_is_and_nothing_else() {
    let dir = folder();
    let mut work = days();
    attacks(&mut work);
    let events = replay(dir.path(), work);
    let mut of: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for event in &events {
        let subject = event["tokens"][0]["claims"]["sub"].as_str().unwrap_or("nobody");
        of.entry(subject).or_default().push(event);
    }
    let subjects: Vec<&str> = of.keys().copied().collect();
    assert_eq!(subjects, MISUSES.map(|misuse| misuse.subject));
    for Misuse { subject, address, least, first: [from, till], reason } in MISUSES {
        let (id, detail) = reason;
        // The owner of a token that is used from elsewhere is told of as well, for just that.
        let (told, owner): (Vec<&Value>, Vec<&Value>) =
            of[subject].iter().partition(|event| event["client"]["ip"] == address);
        assert!(told.len() >= least, "{subject}: {} events", told.len());
        for event in owner {
            assert_eq!(event["findings"][0]["id"], "token-replayed-address", "{subject}: {event}");
        }
        assert!(told.iter().all(|event| event["profile"] == "known"), "{subject}");
        let first = told[0]["time"].as_str().and_then(|time| time.strip_prefix("2026-01-15T"));
        assert!(first.is_some_and(|first| (from..till).contains(&first)), "{subject}: {first:?}");
        let fits = |reason: &Value| {
            let is_it = reason["source"] == "behaviour" && reason["id"] == id;
            is_it && reason["detail"].as_str().is_some_and(|text| text.contains(detail))
        };
        let is_named = |event: &&&Value| event["reasons"].as_array().unwrap().iter().any(fits);
        let named = told.iter().filter(is_named).count();
        assert!(named * 4 >= told.len() * 3, "{subject}: {id} in {named} of {}", told.len());
    }
}
