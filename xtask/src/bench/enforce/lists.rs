//! Denylists as large as they may be: how long they take, what they take, and that they act.

use std::{
    fmt::Write as _,
    fs,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rustix::{
    net::{AddressFamily, SocketType, bind, connect, socket, sockopt},
    process::Signal,
};

use super::{
    super::{
        note,
        sensor::{Sensor, count},
        table::{Table, float, mib, thousands},
        token::token,
    },
    client::{Client, bad, good, settle},
    ground::{Ground, RECORDED},
};

/// How many of each are loaded.
const TOKENS: u64 = 1_000_000;
const NETWORKS: u64 = 100_000;
/// How long loading may take before the benchmark gives up.
const LIMIT: Duration = Duration::from_secs(60);
/// A client's address in the last network of the file.
const DENIED: Ipv4Addr = Ipv4Addr::new(127, 77, 1, 1);

/// Loads a file with both at the start, and another one by SIGHUP under load.
pub(super) fn run(ground: &Ground<'_>, table: &mut Table, quick: bool) -> Result<()> {
    let tokens = if quick { TOKENS / 10 } else { TOKENS };
    note(&format!("enforce, lists: {tokens} token keys and {NETWORKS} networks"));
    // The sensor says what key a token has.
    let sensor = ground.sensor("kill", "")?;
    let key = |token: &str| -> Result<String> {
        let added = sensor.tell(&["deny", "add", "--token"], token)?;
        Ok(added["entry"]["token_key"].as_str().context("no key")?.to_owned())
    };
    let [first, second] = [token(7_000_001), token(7_000_002)];
    let keys = [key(&first)?, key(&second)?];
    ground.stop(sensor)?;
    let file = ground.file("deny");
    fs::write(&file, list(tokens, &keys[0], None))?;
    let empty = ground.sensor("gate", "")?;
    let (resident, maps) = (empty.resident()?.0, empty.maps()?);
    ground.stop(empty)?;

    let began = Instant::now();
    let sensor = ground.sensor("gate", &format!("deny_files = [{file:?}]"))?;
    let ready = began.elapsed();
    in_force(&sensor, tokens, NETWORKS - 1)?;
    let title = format!(
        "lists: {} token keys and {} networks, in force after",
        thousands(float(tokens)),
        thousands(float(NETWORKS))
    );
    table.figure(title, format!("{:.2?} (listening after {ready:.2?})", began.elapsed()));
    table.figure("  resident, above that of empty lists", more(sensor.resident()?.0, resident));
    table.figure("  the kernel's maps, above the same", more(sensor.maps()?, maps));
    let acts = acts(&sensor, &first)?;
    table.judged("  the last token of the file is dropped", yes(acts), "yes", acts);

    // Another last token and one more network, while a client goes on.
    fs::write(&file, list(tokens, &keys[1], Some(DENIED)))?;
    let unguarded = |sensor: &Sensor| count(&sensor.status()?, "/enforcement/guard/unguarded");
    let before = unguarded(&sensor)?;
    let over = AtomicBool::new(false);
    let (took, longest) = thread::scope(|scope| {
        let client = scope.spawn(|| -> Result<Duration> {
            let (mut client, mut longest) = (Client::connect(RECORDED, 0)?, Duration::ZERO);
            let mut number = 2_000_000;
            while !over.load(Ordering::Relaxed) {
                longest = longest.max(client.ask(&good(&token(number)))?);
                number += 1;
            }
            Ok(longest)
        });
        let began = Instant::now();
        let reloaded = sensor
            .signal(Signal::HUP)
            .and_then(|()| in_force(&sensor, tokens, NETWORKS))
            // Both lists are as long as each other: whether the new one is whole shows in its last.
            .and_then(|()| until_acts(&sensor, &second))
            .map(|()| began.elapsed());
        over.store(true, Ordering::Relaxed);
        (reloaded, client.join())
    });
    let longest = longest.map_err(|_| anyhow::anyhow!("the client panicked"))??;
    table.figure("  another file by SIGHUP, in force after", format!("{:.2?}", took?));
    table.figure("  the longest that a request with a new token took", format!("{longest:.2?}"));
    let passed = unguarded(&sensor)? - before;
    table.judged(
        "  segments that passed because the daemon was busy",
        passed.to_string(),
        "0",
        passed == 0,
    );
    let acts = !self::acts(&sensor, &first)?;
    table.judged("  the new last token is dropped, the old one not", yes(acts), "yes", acts);
    let shut = !connects(DENIED)? && connects(Ipv4Addr::new(127, 78, 1, 1))?;
    table.judged("  the last network is shut out, another not", yes(shut), "yes", shut);
    ground.stop(sensor)
}

fn yes(so: bool) -> &'static str {
    if so { "yes" } else { "no" }
}

fn more(now: u64, before: u64) -> String {
    mib(now.saturating_sub(before))
}

/// A denylist of so many token keys, the last of them this one, and all networks, the last of them
/// around this address if there is one.
fn list(tokens: u64, last: &str, address: Option<Ipv4Addr>) -> String {
    let mut text = String::with_capacity(64 << 20);
    for number in 1..NETWORKS {
        let [_, a, b, c] = u32::try_from(number).unwrap_or(0).to_be_bytes();
        let _ = writeln!(text, "10.{a}.{b}.{c}/32 ; {number}");
    }
    text.push_str(&token_keys(tokens.saturating_sub(1)));
    if let Some(address) = address {
        let [a, b, ..] = address.octets();
        let _ = writeln!(text, "{a}.{b}.0.0/16");
    }
    let _ = writeln!(text, "token-key {last}");
    text
}

/// Lines of a denylist with so many keys of tokens that nobody has.
pub(in super::super) fn token_keys(count: u64) -> String {
    let mut text = String::new();
    for number in 1..=count {
        // Spread as hashes are.
        let high = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let _ = writeln!(text, "token-key {high:016x}{number:016x}");
    }
    text
}

/// Waits until the kernel's tables hold what the lists say.
pub(in super::super) fn in_force(sensor: &Sensor, tokens: u64, networks: u64) -> Result<()> {
    let end = Instant::now() + LIMIT;
    loop {
        let status = sensor.status()?;
        let has = |name: &str| count(&status, &format!("/enforcement/tables/denied_{name}"));
        if has("tokens")? == tokens && has("networks")? == networks {
            return Ok(());
        }
        ensure!(Instant::now() < end, "the lists do not come into force: {}", sensor.whole_log());
        thread::sleep(Duration::from_millis(5));
    }
}

/// Whether the kernel drops a request with this token for its being denied: there is nothing else
/// against it.
fn acts(sensor: &Sensor, token: &str) -> Result<bool> {
    let dropped = || count(&sensor.status()?, "/enforcement/guard/denied-token");
    let before = dropped()?;
    let mut client = [Client::connect(RECORDED, 0)?];
    client[0].send([bad(token).as_slice()])?;
    settle(&mut client, Duration::from_millis(300), |_| false)?;
    Ok(dropped()? > before)
}

/// Waits until a token of the list is denied.
fn until_acts(sensor: &Sensor, token: &str) -> Result<()> {
    let end = Instant::now() + LIMIT;
    while !acts(sensor, token)? {
        ensure!(Instant::now() < end, "the list's last token is not denied");
    }
    Ok(())
}

/// Whether a client of this address gets a connection.
fn connects(from: Ipv4Addr) -> Result<bool> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&socket, &SocketAddr::from((from, 0)))?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(Duration::from_millis(700)))?;
    let connected = connect(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, RECORDED))).is_ok();
    drop(TcpStream::from(socket));
    Ok(connected)
}
