//! Denylists as large as they may be: whole or not at all, and in force to the last line.

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    path::Path,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use jotwatch_tests::{
    net::privileged,
    sensor::{self, Sensor, refusal},
    stand::{PORT, Stand, answer, answers, bearer, end, good, wait},
};
use rustix::process::Signal;

const TOKENS: usize = 1_000_000;
const NETWORKS: usize = 100_000;

/// A file of so many of both; the last line is `last`.
fn write(path: &Path, last: &str) -> Result<()> {
    let mut text = String::new();
    for n in 0..NETWORKS {
        writeln!(text, "10.{}.{}.{}", n >> 16, (n >> 8) & 0xff, n & 0xff)?;
    }
    for n in 1..TOKENS {
        writeln!(text, "token-key {:016x}{n:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))?;
    }
    writeln!(text, "{last}")?;
    Ok(fs::write(path, text)?)
}

/// Asks for the status until `done` takes it; gives how many answers came, at most, while one look at
/// the allowed, which waits its turn as a change does, waited.
fn answered_past_a_change(
    sensor: &Sensor,
    done: impl Fn(&serde_json::Value) -> bool,
) -> Result<usize> {
    let (answered, ended) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let changes = scope.spawn(|| -> Result<usize> {
            let mut most = 0;
            while !ended.load(Ordering::Relaxed) {
                let before = answered.load(Ordering::Relaxed);
                // Where a reload takes longer than it waits, it fails.
                sensor.run(&["allow", "list"], "")?;
                most = most.max(answered.load(Ordering::Relaxed) - before);
            }
            Ok(most)
        });
        let status = sensor.wait_for_status("the lists", |status| {
            answered.fetch_add(1, Ordering::Relaxed);
            done(status)
        });
        ended.store(true, Ordering::Relaxed);
        let most = changes.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
        status.map(|_| most)
    })
}

#[test]
fn a_million_token_keys_and_a_hundred_thousand_networks() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let stand = Stand::new(env!("CARGO_BIN_EXE_recording-http"))?;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("deny.txt");
    fs::write(&path, "# nothing yet\n")?;
    let files = format!("[enforcement]\nmode = \"kill\"\ndeny_files = [{path:?}]\n");
    let sensor = Sensor::start(&stand.place, &[PORT], &files)?;
    let added = sensor.ask(&["deny", "add", "--token"], &good())?;
    let key = added["entry"]["token_key"].as_str().context("no key")?.to_owned();
    sensor.ask(&["deny", "remove", "--token-key", &key], "")?;
    let passes = || -> Result<bool> {
        let mut stream = stand.connect(false)?;
        stream.write_all(bearer(&good()).as_bytes())?;
        Ok(answers(&mut stream, 1, Duration::from_millis(300))? == 1)
    };
    ensure!(passes()?, "denied at first");

    // A broken last line: nothing of it is applied, and it is named.
    write(&path, &format!("token-key {key} and more"))?;
    sensor.signal(Signal::HUP)?;
    let line = format!("deny.txt:{}: ", TOKENS + NETWORKS);
    wait("the refusal", || Ok(sensor.log().contains(&line)))?;
    let tables = |status: &serde_json::Value| {
        let of = |name| status["enforcement"]["tables"][name].as_u64();
        (of("denied_tokens"), of("denied_networks"))
    };
    ensure!(tables(&sensor.status()?) == (Some(0), Some(0)));
    ensure!(passes()?, "a refused file is in force");
    let config = sensor::configuration(dir.path(), &files)?;
    let other = jotwatch_tests::net::Place::new()?;
    let (code, said) = refusal(&mut sensor::run(&config, other.cgroup(), &[PORT]))?;
    ensure!(code == 1 && said.contains(&line), "{code}: {said}");

    // Whole, and in force to the last. Who asks how it fares is answered meanwhile, a change waits:
    // were it one after the other, those few would pass it that were asked while it was on its way.
    write(&path, &format!("token-key {key}"))?;
    sensor.signal(Signal::HUP)?;
    let all = (Some(TOKENS as u64), Some(NETWORKS as u64));
    let past = answered_past_a_change(&sensor, |status| tables(status) == all)?;
    ensure!(past >= 8, "{past} answers while a change waited");
    ensure!(!passes()?, "the last of a million passes");
    let mut stream = stand.connect(true)?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")?;
    answer(&mut stream)?;

    // One too many: another mode of the same configuration is not in force either.
    let configured = fs::read_to_string(sensor.config())?;
    fs::write(sensor.config(), configured.replace("mode = \"kill\"", "mode = \"alert\""))?;
    write(&path, "192.0.2.1")?;
    sensor.signal(Signal::HUP)?;
    wait("the second refusal", || Ok(sensor.log().matches("not reloaded").count() == 2))?;
    ensure!(tables(&sensor.status()?) == all, "a list that is too long is in force");
    ensure!(!passes()?, "the mode of a refused configuration is in force");
    fs::write(sensor.config(), configured)?;

    // And gone again.
    fs::write(&path, "192.0.2.1\n")?;
    sensor.signal(Signal::HUP)?;
    sensor.wait_for_status("the short list", |status| tables(status) == (Some(0), Some(1)))?;
    ensure!(passes()?, "still denied");
    end(sensor)
}
