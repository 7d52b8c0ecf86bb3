//! The guard programs in the kernel: what is denied or not judged does not reach a service, what
//! is good does, and without the daemon everything does.

use std::{
    io::{Read as _, Write as _},
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use jotwatch::{
    enforce::{
        guard::{self, Config, Counter, Guard},
        tables::{Deny, DenyCause, Tables as _, TokenKey},
    },
    policy::Mode,
};
use jotwatch_common::guard::scan::deny_key;
use jotwatch_tests::{
    judge::{BAD, GOOD, Judge, SECRET, config, now},
    net::privileged,
    stand::{Stand, answers, bearer, request},
};

fn stand() -> Result<Stand> {
    Stand::new(env!("CARGO_BIN_EXE_recording-http"))
}

/// The same token in other clothes.
fn variants() -> Vec<String> {
    let last = |c| format!("{}{c}", &BAD[..BAD.len() - 1]);
    vec![
        format!("Authorization: Bearer {BAD}"),
        format!("aUTHORIZATION: bEARER {BAD}"),
        format!("Authorization:\t  Bearer \t {BAD}"),
        format!("Authorization: Bearer {}", last('d')),
        format!("Authorization: Bearer {}", last('f')),
        format!("Authorization: Bearer {BAD}="),
        format!("Authorization: Bearer {}", BAD.replace("V_ad", "V/ad")),
        format!("Authorization: JWT {BAD}"),
        format!("Cookie: a=b; session={BAD}; c=d"),
        format!("X-Token: {BAD}"),
    ]
}

/// TLS on a guarded port, and what is spoken behind an upgrade, is not ours to hold.
#[test]
fn what_is_not_http_passes_in_every_mode() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    for mode in [Mode::Kill, Mode::Hold, Mode::Gate] {
        let stand = stand()?;
        let judge = Judge::start(&config(&stand, mode))?;
        let hello: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
        let frame: &[u8] = b"\x81\xfe\x40\x00mask";
        for (n, (greeting, first)) in
            [(None, hello), (None, frame), (Some(request("Upgrade: websocket")), frame)]
                .into_iter()
                .enumerate()
        {
            let mut stream = stand.connect(n % 2 == 1)?;
            if let Some(greeting) = greeting {
                stream.write_all(greeting.as_bytes())?;
                let answers = answers(&mut stream, 1, Duration::from_secs(5))?;
                ensure!(answers == 1, "{mode:?} {n}: no greeting; {}", judge.shown());
            }
            // More than any head, in many segments; the service answers to the last bytes.
            stream.write_all(first)?;
            for _ in 0..16 {
                stream.write_all(&[0xa5; 4096])?;
                thread::sleep(Duration::from_millis(2));
            }
            stream.write_all(b"\r\n\r\n")?;
            let answers = answers(&mut stream, 1, Duration::from_secs(5))?;
            ensure!(answers == 1, "{mode:?} {n}: held; {}", judge.shown());
        }
    }
    Ok(())
}

#[test]
fn a_denied_token_does_not_reach_the_service_however_it_is_sent() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let stand = stand()?;
    let judge = Judge::start(&config(&stand, Mode::Kill))?;
    let deny = Deny { until: None, cause: DenyCause::Operator };
    let key = TokenKey(deny_key(SECRET, BAD.as_bytes()));
    judge.with(|_, tables| tables.deny_token(key, deny))?;
    let good = bearer(GOOD);
    let mut streams = Vec::new();
    for (n, line) in variants().iter().enumerate() {
        let mut stream = stand.connect(n % 2 == 1)?;
        stream.write_all(good.as_bytes())?;
        ensure!(answers(&mut stream, 1, Duration::from_secs(2))? == 1, "{}", judge.shown());
        stream.write_all(request(line).as_bytes())?;
        streams.push(stream);
        // Behind a good one in one segment: neither is read.
        let mut stream = stand.connect(n % 2 == 1)?;
        stream.write_all(format!("{good}{}", request(line)).as_bytes())?;
        streams.push(stream);
    }
    // Split at every byte, on connections of their own.
    let bad = request(&variants()[0]);
    for at in 1..bad.len() {
        let mut stream = stand.connect(at % 2 == 1)?;
        stream.write_all(&bad.as_bytes()[..at])?;
        stream.write_all(&bad.as_bytes()[at..])?;
        streams.push(stream);
    }
    // And byte for byte.
    let mut stream = stand.connect(false)?;
    for byte in bad.as_bytes() {
        stream.write_all(&[*byte])?;
    }
    streams.push(stream);
    thread::sleep(Duration::from_millis(1500));
    let seen = stand.seen();
    ensure!(seen.iter().all(|head| head.contains(GOOD)), "{seen:#?}");
    ensure!(seen.len() == variants().len(), "{} heads; {}", seen.len(), judge.shown());
    ensure!(judge.count(Counter::DeniedToken) as usize > streams.len(), "{}", judge.shown());
    drop(streams);
    // The same bytes with the good token reach it, split at every byte.
    for at in 1..good.len() {
        let mut stream = stand.connect(at % 2 == 1)?;
        stream.write_all(&good.as_bytes()[..at])?;
        stream.write_all(&good.as_bytes()[at..])?;
        let answers = answers(&mut stream, 1, Duration::from_secs(5))?;
        ensure!(answers == 1, "split at {at}: {}", judge.shown());
    }
    println!("kill: {}", judge.shown());
    Ok(())
}

#[test]
fn a_denied_address_or_connection_is_cut_off_until_its_time_is_over() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let stand = stand()?;
    let judge = Judge::start(&config(&stand, Mode::Kill))?;
    let good = bearer(GOOD);
    let wait = Duration::from_millis(700);
    for (v6, network) in [(false, "127.0.0.0/8"), (true, "::1/128")] {
        let mut stream = stand.connect(v6)?;
        let deny = Deny { until: Some(now() + wait), cause: DenyCause::Operator };
        let network = network.parse()?;
        judge.with(|_, tables| tables.deny_network(network, deny))?;
        stream.write_all(good.as_bytes())?;
        ensure!(answers(&mut stream, 1, wait / 2)? == 0, "{network}: {}", judge.shown());
        // TCP sends it again when the time is over.
        ensure!(answers(&mut stream, 1, wait * 4)? == 1, "{network}: {}", judge.shown());
        judge.with(|_, tables| tables.remove_network(network))?;
    }
    ensure!(judge.count(Counter::DeniedNetwork) >= 2, "{}", judge.shown());
    // An allowed network always wins.
    let deny = Deny { until: None, cause: DenyCause::File };
    let (network, address) = ("127.0.0.0/8".parse()?, "127.0.0.1/32".parse()?);
    judge.with(|_, tables| {
        tables.deny_network(network, deny)?;
        tables.allow_network(address)
    })?;
    let mut stream = stand.connect(false)?;
    stream.write_all(good.as_bytes())?;
    ensure!(answers(&mut stream, 1, wait)? == 1, "{}", judge.shown());
    Ok(())
}

#[test]
fn held_responses_of_forged_requests_never_leave() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let stand = stand()?;
    let judge = Judge::start(&config(&stand, Mode::Hold))?;
    let good = bearer(GOOD);
    let mut streams = Vec::new();
    for n in 0..200 {
        let forged = format!("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJiYWQifQ.{n:043}");
        let mut stream = stand.connect(n % 2 == 1)?;
        stream.write_all(bearer(&forged).as_bytes())?;
        streams.push(stream);
        let mut stream = stand.connect(n % 2 == 1)?;
        stream.write_all(good.as_bytes())?;
        let began = Instant::now();
        ensure!(answers(&mut stream, 1, Duration::from_secs(5))? == 1, "{}", judge.shown());
        ensure!(n < 1 || began.elapsed() < Duration::from_millis(150), "{}", judge.shown());
    }
    thread::sleep(Duration::from_secs(1));
    for stream in &mut streams {
        stream.set_nonblocking(true)?;
        let mut byte = [0];
        let read = stream.read(&mut byte);
        ensure!(read.is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock), "an answer left");
    }
    ensure!(stand.seen().len() == 400, "hold lets requests through: {}", stand.seen().len());
    println!("hold: {}", judge.shown());
    Ok(())
}

#[test]
fn a_gated_service_reads_no_forged_request_and_answers_every_good_one() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let stand = stand()?;
    let judge = Judge::start(&config(&stand, Mode::Gate))?;
    let good = bearer(GOOD);
    let changed = GOOD.replace("eyJzdWIiOiJnb29kIn0", "eyJzdWIiOiJyb290In0");
    let mut streams = Vec::new();
    let mut wanted = 0;
    // The first use pays, those that follow do not.
    let mut stream = stand.connect(false)?;
    for n in 0..50 {
        let began = Instant::now();
        stream.write_all(good.as_bytes())?;
        ensure!(answers(&mut stream, 1, Duration::from_secs(5))? == 1, "{}", judge.shown());
        wanted += 1;
        ensure!(n == 0 || began.elapsed() < Duration::from_millis(150), "{}", judge.shown());
    }
    for n in 0..100 {
        let forged = if n % 2 == 0 {
            format!("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJiYWQifQ.{n:043}")
        } else {
            changed.clone()
        };
        let bad = request(&format!("N: {n}\r\nAuthorization: Bearer {forged}"));
        let v6 = n % 3 == 0;
        // Whole.
        let mut stream = stand.connect(v6)?;
        stream.write_all(bad.as_bytes())?;
        streams.push(stream);
        // Behind a good one that was answered, and in one segment with a good one.
        let mut stream = stand.connect(v6)?;
        stream.write_all(good.as_bytes())?;
        ensure!(answers(&mut stream, 1, Duration::from_secs(5))? == 1, "{}", judge.shown());
        wanted += 1;
        stream.write_all(bad.as_bytes())?;
        streams.push(stream);
        let mut stream = stand.connect(v6)?;
        stream.write_all(format!("{good}{bad}").as_bytes())?;
        streams.push(stream);
        // In two pieces, at every place in turn.
        let mut stream = stand.connect(v6)?;
        let at = 1 + n * (bad.len() - 1) / 100;
        stream.write_all(&bad.as_bytes()[..at])?;
        stream.write_all(&bad.as_bytes()[at..])?;
        streams.push(stream);
        // Behind a body.
        let mut stream = stand.connect(v6)?;
        let body = good.replace("GET", "POST").replace("\r\n\r\n", "\r\nContent-Length: 9\r\n\r\n");
        stream.write_all(format!("{body}GET / HTT{bad}").as_bytes())?;
        streams.push(stream);
    }
    // Byte for byte.
    for n in 0..3 {
        let bad = request(&format!("Authorization: Bearer {changed}{n}"));
        let mut stream = stand.connect(false)?;
        for byte in bad.as_bytes() {
            stream.write_all(&[*byte])?;
        }
        streams.push(stream);
    }
    thread::sleep(Duration::from_millis(1500));
    // Without credentials, with a body, and split at every tenth byte: all good ones come through.
    for text in [
        "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        good.replace("GET", "POST").replace("\r\n\r\n", "\r\nContent-Length: 5\r\n\r\nhello"),
        format!("{good}{good}{good}"),
    ] {
        let inside = text.matches("HTTP/1.1").count();
        for at in (1..=text.len()).step_by(10) {
            let mut stream = stand.connect(at % 2 == 1)?;
            stream.write_all(&text.as_bytes()[..at])?;
            thread::sleep(Duration::from_millis(2));
            stream.write_all(&text.as_bytes()[at..])?;
            let got = answers(&mut stream, inside, Duration::from_secs(5))?;
            ensure!(got == inside, "{got} of {text:?} split at {at}: {}", judge.shown());
            wanted += inside;
        }
    }
    let seen = stand.seen();
    let bad: Vec<_> = seen.iter().filter(|h| h.contains("Bearer") && !h.contains(GOOD)).collect();
    ensure!(bad.is_empty(), "{bad:#?}");
    ensure!(seen.len() == wanted, "{} of {wanted}: {}", seen.len(), judge.shown());
    println!("gate: {}", judge.shown());
    Ok(())
}

#[test]
fn lines_that_were_read_before_are_compared_to_their_last_byte() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    for mode in [Mode::Kill, Mode::Hold, Mode::Gate] {
        let stand = stand()?;
        let judge = Judge::start(&config(&stand, mode))?;
        let good = request(&format!("Authorization: Bearer {GOOD}"));
        let mut stream = stand.connect(false)?;
        for n in 0..10 {
            // Another first line each time.
            let text = good.replace("/a", &format!("/a?n={n}"));
            stream.write_all(text.as_bytes())?;
            let got = answers(&mut stream, 1, Duration::from_secs(5))?;
            ensure!(got == 1, "{mode:?}, {n}: {}", judge.shown());
        }
        let known = judge.count(Counter::Known);
        ensure!(known >= 7, "{mode:?}: {}", judge.shown());
        // They are kept at their second sight. In gate that may be the first one's repetition: a head
        // that waits is read, and counts when it passes.
        let read = if mode == Mode::Gate { 1 } else { 2 };
        ensure!(judge.count(Counter::Heads) >= known + read, "{mode:?}: {}", judge.shown());
        // The token with one bit changed, at each of its bytes but the dots: without them it is
        // none to the judge here.
        let begin = good.find(GOOD).unwrap_or_default();
        let mut streams = Vec::new();
        for at in (begin..begin + GOOD.len()).filter(|at| good.as_bytes()[*at] != b'.') {
            let mut bytes = good.clone().into_bytes();
            bytes[at] ^= 1;
            let mut stream = stand.connect(at % 2 == 1)?;
            stream.write_all(&bytes)?;
            streams.push(stream);
        }
        thread::sleep(Duration::from_millis(1500));
        ensure!(judge.count(Counter::Known) == known, "{mode:?}: {}", judge.shown());
        let forged = stand.seen().iter().filter(|head| !head.contains(GOOD)).count();
        // Where nothing is asked in advance they pass, but they are read.
        let wanted = if mode == Mode::Gate { 0 } else { streams.len() };
        ensure!(forged == wanted, "{mode:?}: {forged} of {wanted}: {}", judge.shown());
        // What is denied since counts at once.
        let deny = Deny { until: None, cause: DenyCause::Operator };
        let key = TokenKey(deny_key(SECRET, GOOD.as_bytes()));
        judge.with(|_, tables| tables.deny_token(key, deny))?;
        let before = stand.seen().len();
        stream.write_all(good.as_bytes())?;
        let got = answers(&mut stream, 1, Duration::from_millis(700))?;
        ensure!(got == 0 && stand.seen().len() == before, "{mode:?}: {}", judge.shown());
        ensure!(judge.count(Counter::DeniedToken) > 0, "{mode:?}: {}", judge.shown());
    }
    Ok(())
}

#[test]
fn without_the_daemon_everything_passes_and_with_it_nothing_forged() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let stand = stand()?;
    let mut judge = Judge::start(&config(&stand, Mode::Gate))?;
    let bad = bearer(BAD);
    let mut stream = stand.connect(false)?;
    stream.write_all(bad.as_bytes())?;
    ensure!(answers(&mut stream, 1, Duration::from_secs(1))? == 0, "{}", judge.shown());
    judge.end();
    // Nobody beats any more: within 1.5 s it flows.
    let began = Instant::now();
    let mut fresh = stand.connect(true)?;
    fresh.write_all(request("Authorization: Bearer x.y.z").as_bytes())?;
    ensure!(answers(&mut fresh, 1, Duration::from_secs(3))? == 1, "{}", judge.shown());
    let took = began.elapsed();
    ensure!(took < Duration::from_millis(2500), "{took:?}: {}", judge.shown());
    ensure!(judge.count(Counter::Unguarded) > 0, "{}", judge.shown());
    judge.with(|guard, _| guard.beat())?;
    let mut fresh = stand.connect(false)?;
    fresh.write_all(bad.as_bytes())?;
    ensure!(answers(&mut fresh, 1, Duration::from_millis(500))? == 0, "{}", judge.shown());
    println!("without: {took:?}, {}", judge.shown());
    Ok(())
}

#[test]
fn a_restart_leaves_no_gap_in_the_denylist() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let stand = stand()?;
    let pins = guard::pin_folder(Some(stand.place.cgroup()))?;
    let config = Config { pins: Some(pins.clone()), ..config(&stand, Mode::Kill) };
    let cleaned = Cleaned(pins.clone());
    let mut first = Guard::start(&config)?;
    let deny = Deny { until: None, cause: DenyCause::Operator };
    first.1.deny_token(TokenKey(deny_key(SECRET, BAD.as_bytes())), deny)?;
    first.0.leave()?;
    let bad = bearer(BAD);
    let mut stream = stand.connect(false)?;
    stream.write_all(bad.as_bytes())?;
    ensure!(answers(&mut stream, 1, Duration::from_millis(400))? == 0, "a gap");
    // As the daemon does: the kernel may take longer to check the programs than a heartbeat lasts.
    let beating = guard::Beating::start(&pins);
    ensure!(beating.is_some(), "no heartbeat was left");
    let mut second = Guard::start(&config)?;
    second.0.beat()?;
    drop(beating);
    ensure!(second.1.counts().denied_tokens == 1, "the denylist is gone");
    for _ in 0..8 {
        second.0.beat()?;
        ensure!(answers(&mut stream, 1, Duration::from_millis(100))? == 0, "not taken up");
    }
    ensure!(!pins.join("guard_ingress").exists(), "the old programs stay");
    // Killed: its programs are gone at once.
    drop(second);
    let mut stream = stand.connect(false)?;
    stream.write_all(bad.as_bytes())?;
    ensure!(answers(&mut stream, 1, Duration::from_secs(1))? == 1, "still attached");
    ensure!(guard::detach(&pins)? && !pins.exists(), "it does not go");
    ensure!(!guard::detach(&pins)?, "twice");
    drop(cleaned);
    Ok(())
}

/// A folder of pins that goes with the test.
struct Cleaned(PathBuf);

impl Drop for Cleaned {
    fn drop(&mut self) {
        let _ = guard::detach(&self.0);
    }
}

/// `cargo test --release -p jotwatch-tests --test live_guard -- --ignored --nocapture`
#[test]
#[ignore = "a measurement: for a quiet machine"]
fn what_a_warm_request_costs() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let stand = stand()?;
    let good = bearer(GOOD);
    let p50 = || -> Result<Duration> {
        let mut stream = stand.connect(false)?;
        let mut took = Vec::new();
        for _ in 0..5_000 {
            let began = Instant::now();
            stream.write_all(good.as_bytes())?;
            ensure!(answers(&mut stream, 1, Duration::from_secs(5))? == 1, "no answer");
            took.push(began.elapsed());
        }
        took.sort_unstable();
        Ok(took[took.len() / 2])
    };
    for round in 0..3 {
        let bare = p50()?;
        let judge = Judge::start(&config(&stand, Mode::Gate))?;
        let gated = p50()?;
        println!("{round}: p50 bare {bare:?}, gated {gated:?}; {}", judge.shown());
    }
    Ok(())
}
