//! What large feeds take, for `cargo xtask bench feeds`: one JSON object on standard output.
//!
//! `bench-feeds [--part N]` makes a list of 1,000,000 addresses, one of 100,000 networks and one of
//! 100,000 domains (an `N`th of each), reads them as the daemon does, and asks the three of them about
//! addresses and domains that stand in them and others. Times are of the processor.

use std::{env, hint::black_box, io, net::Ipv4Addr, process};

use anyhow::Result;
use jotwatch::{
    feeds::{self, FeedTable, Format, Kind, Meaning},
    time::Time,
};
use jotwatch_tests::usage::{cpu_nanos, resident};
use serde_json::json;

/// Questions of a kind.
const QUESTIONS: u32 = 1_000_000;

fn main() -> Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let part = match *words {
        [] => 1,
        ["--part", part] => part.parse::<u32>()?.max(1),
        _ => {
            eprintln!("usage: bench-feeds [--part N]");
            process::exit(2);
        }
    };
    serde_json::to_writer(io::stdout(), &measure(part)?)?;
    Ok(())
}

/// Different numbers for different `n`, all over the range: a multiplication by an odd number.
const fn spread(n: u32) -> u32 {
    n.wrapping_mul(0x9e37_79b1)
}

/// An address that stands in the list where `n` is below its length.
fn address(n: u32) -> Ipv4Addr {
    spread(n).into()
}

/// A domain that stands in the list where `n` is below its length.
fn domain(n: u32) -> String {
    format!("host-{:08x}.evil-{}.example", spread(n), n % 1_000)
}

fn measure(part: u32) -> Result<serde_json::Value> {
    let (addresses, networks, domains) = (1_000_000 / part, 100_000 / part, 100_000 / part);
    let lines = |count: u32, line: &dyn Fn(u32) -> String| -> String {
        (0..count).map(|n| line(n) + "\n").collect()
    };
    let lists = [
        lines(addresses, &|n| address(n).to_string()),
        // Behind the addresses, so that few of the networks hold one.
        lines(networks, &|n| format!("{}/{}", Ipv4Addr::from(spread(n + addresses) & !0xff), 24)),
        lines(domains, &domain),
    ];
    let bytes: usize = lists.iter().map(String::len).sum();
    let (before, start) = (resident()?, cpu_nanos());
    let mut tables = Vec::new();
    for list in &lists {
        let feed = feeds::parse(list.as_bytes(), &Format::Plain(Kind::Host), Time::EPOCH)?;
        tables.push(FeedTable::new("bench", Meaning::Threat, feed));
    }
    let load = cpu_nanos() - start;
    let held = resident()?.saturating_sub(before);
    let entries: usize = tables.iter().map(FeedTable::len).sum();

    let ask_address = |first: u32| {
        let start = cpu_nanos();
        let mut hits = 0_u32;
        for n in 0..QUESTIONS {
            let at = address(first.wrapping_add(n.wrapping_mul(7919) % addresses)).into();
            hits += u32::from(tables.iter().any(|table| black_box(table).address(at).is_some()));
        }
        ((cpu_nanos() - start) / u64::from(QUESTIONS), hits)
    };
    let ask_domain = |first: u32| {
        let names: Vec<String> =
            (0..domains).map(|n| domain(first + n.wrapping_mul(7919) % domains)).collect();
        let start = cpu_nanos();
        let mut hits = 0_usize;
        for name in &names {
            hits += usize::from(tables.iter().any(|table| black_box(table).domain(name).is_some()));
        }
        ((cpu_nanos() - start) / u64::from(domains), hits)
    };
    let (known, others) = (ask_address(0), ask_address(3_000_000_000));
    let (named, unnamed) = (ask_domain(0), ask_domain(2_000_000));
    Ok(json!({
        "bytes": bytes,
        "entries": entries,
        "load": load,
        "held": held,
        "address_hit": known.0,
        "address_hits": f64::from(known.1) / f64::from(QUESTIONS),
        "address_miss": others.0,
        "address_misses": 1.0 - f64::from(others.1) / f64::from(QUESTIONS),
        "domain_hit": named.0,
        "domain_hits": named.1 as f64 / f64::from(domains),
        "domain_miss": unnamed.0,
        "domain_misses": 1.0 - unnamed.1 as f64 / f64::from(domains),
    }))
}
