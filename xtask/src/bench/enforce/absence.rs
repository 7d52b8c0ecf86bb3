//! What the daemon's absence does to a service in `gate`: it is stopped, and it is killed.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use rustix::process::Signal;

use super::{
    super::{note, sensor::Sensor, table::Table, token::token},
    client::{Client, good},
    ground::{Ground, RECORDED},
};

/// When a request with a token that nobody knows passes again, once the daemon is stopped.
const TARGET_STOPPED: Duration = Duration::from_millis(1_500);
/// The same once it is killed: at once, but a machine under load has its own mind of that.
const TARGET_KILLED: Duration = Duration::from_millis(100);
/// Clients that send new tokens, and one that does not.
const CLIENTS: usize = 16;

/// A request: when it was sent, and how long its answer took, if one came.
type Sent = (Instant, Option<Duration>);

/// What happened to all requests, those of new tokens and those of a known one.
struct Seen {
    at: Instant,
    new: Vec<Sent>,
    known: Vec<Sent>,
}

/// Stops and kills the daemon under load.
pub(super) fn run(ground: &Ground<'_>, table: &mut Table) -> Result<()> {
    note("enforce, gate: the daemon is stopped under load");
    let numbers = AtomicUsize::new(1_000_000);
    let sensor = ground.sensor("gate", "")?;
    let seen = under_load(&numbers, || sensor.signal(Signal::STOP))?;
    sensor.signal(Signal::CONT)?;
    ground.stop(sensor)?;
    tell(table, "gate, the daemon stopped", &seen, TARGET_STOPPED);
    note("enforce, gate: the daemon is killed under load");
    let sensor: Mutex<Option<Sensor>> = Mutex::new(Some(ground.sensor("gate", "")?));
    let seen = under_load(&numbers, || {
        let sensor = sensor.lock().unwrap_or_else(PoisonError::into_inner).take();
        sensor.map_or(Ok(()), Sensor::kill)
    })?;
    ground.detach()?;
    tell(table, "gate, the daemon killed", &seen, TARGET_KILLED);
    Ok(())
}

fn under_load(numbers: &AtomicUsize, act: impl Fn() -> Result<()>) -> Result<Seen> {
    let over = AtomicBool::new(false);
    // Each call gives one of its own second.
    let same = token(0);
    let client = |known: bool, number: usize| -> Result<Vec<Sent>> {
        let mut sent = Vec::new();
        let mut client = Client::connect(RECORDED, number)?;
        if known {
            client.ask(&good(&same))?;
        }
        // A first use takes TCP's time-out: not all of them at once.
        thread::sleep(Duration::from_millis(13) * u32::try_from(number)?);
        while !over.load(Ordering::Relaxed) {
            let request = match known {
                true => good(&same),
                false => good(&token(numbers.fetch_add(1, Ordering::Relaxed))),
            };
            let at = Instant::now();
            match client.ask(&request) {
                Ok(took) => sent.push((at, Some(took))),
                Err(_) => {
                    sent.push((at, None));
                    client = Client::connect(RECORDED, number)?;
                }
            }
            if known {
                thread::sleep(Duration::from_millis(2));
            }
        }
        Ok(sent)
    };
    thread::scope(|scope| {
        let threads: Vec<_> =
            (0..CLIENTS).map(|number| scope.spawn(move || client(false, number))).collect();
        let known = scope.spawn(move || client(true, 0));
        thread::sleep(Duration::from_millis(1_500));
        let at = Instant::now();
        let acted = act();
        thread::sleep(Duration::from_secs(3));
        over.store(true, Ordering::Relaxed);
        let mut seen = Seen { at, new: Vec::new(), known: Vec::new() };
        let panicked = |_| anyhow::anyhow!("a client panicked");
        for thread in threads {
            seen.new.extend(thread.join().map_err(panicked)??);
        }
        seen.known = known.join().map_err(panicked)??;
        acted.map(|()| seen)
    })
}

fn tell(table: &mut Table, title: &str, seen: &Seen, target: Duration) {
    let answered = |sent: &[Sent]| sent.iter().filter(|(_, took)| took.is_some()).count();
    let (new, known) = (&seen.new, &seen.known);
    table.judged(
        format!("{title}: requests, all answered in the end"),
        format!("{} of {}", answered(new) + answered(known), new.len() + known.len()),
        "all",
        answered(new) + answered(known) == new.len() + known.len(),
    );
    let behind = |sent: &&Sent| sent.0 > seen.at;
    let first = new.iter().filter(behind).filter_map(|(at, took)| Some(*at + (*took)?)).min();
    let first = first.map(|at| at - seen.at);
    table.judged(
        "  the first answer to a new token behind that",
        first.map_or("none".into(), |took| format!("{took:.1?}")),
        format!("≤ {target:?}"),
        first.is_some_and(|took| took <= target),
    );
    let longest =
        |sent: &[Sent]| sent.iter().filter_map(|(_, took)| *took).max().unwrap_or_default();
    table.figure(
        "  the longest that a request with a new token took",
        format!("{:.2?}", longest(new)),
    );
    table.figure("  with a known one", format!("{:.2?}", longest(known)));
}
