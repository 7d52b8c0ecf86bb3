//! Data that comes with the end of the handshake: the kernel gives it to the listening socket, and
//! the guard has no state of its connection yet. It is guarded all the same.

use std::{io::Write as _, thread, time::Duration};

use anyhow::{Result, ensure};
use jotwatch::{
    enforce::{
        guard::Counter,
        tables::{Deny, DenyCause, Tables as _, TokenKey},
    },
    policy::Mode,
};
use jotwatch_common::guard::scan::deny_key;
use jotwatch_tests::{
    judge::{BAD, GOOD, Judge, SECRET, config},
    net::privileged,
    stand::{Stand, answer, answers, bearer},
};

const LONG: Duration = Duration::from_secs(5);

fn stand() -> Result<Stand> {
    Stand::new(env!("CARGO_BIN_EXE_recording-http"))
}

/// A good request with the handshake, which teaches the guard its token.
fn greet(stand: &Stand, judge: &Judge, v6: bool) -> Result<std::net::TcpStream> {
    let mut stream = stand.connect_with_data(v6)?;
    stream.write_all(bearer(GOOD).as_bytes())?;
    ensure!(answers(&mut stream, 1, LONG)? == 1, "{}", judge.shown());
    Ok(stream)
}

#[test]
fn what_follows_a_message_of_the_handshake_is_read() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    for mode in [Mode::Kill, Mode::Gate] {
        let stand = stand()?;
        let judge = Judge::start(&config(&stand, mode))?;
        let deny = Deny { until: None, cause: DenyCause::Operator };
        let key = TokenKey(deny_key(SECRET, BAD.as_bytes()));
        judge.with(|_, tables| tables.deny_token(key, deny))?;
        let (bad, mut streams) = (bearer(BAD), Vec::new());
        for at in (1..bad.len()).step_by(5) {
            // Behind a good one, in two pieces.
            let mut stream = greet(&stand, &judge, at % 2 == 1)?;
            stream.write_all(&bad.as_bytes()[..at])?;
            stream.write_all(&bad.as_bytes()[at..])?;
            streams.push(stream);
            // The first piece with the handshake.
            let mut stream = stand.connect_with_data(at % 2 == 1)?;
            stream.write_all(&bad.as_bytes()[..at])?;
            stream.write_all(&bad.as_bytes()[at..])?;
            streams.push(stream);
        }
        // Whole, and behind a good one in one segment.
        for text in [bad.clone(), bearer(GOOD) + &bad] {
            let mut stream = stand.connect_with_data(false)?;
            stream.write_all(text.as_bytes())?;
            streams.push(stream);
        }
        thread::sleep(Duration::from_millis(1500));
        let seen = stand.seen();
        let bad = seen.iter().filter(|head| !head.contains(GOOD)).count();
        ensure!(bad == 0, "{mode:?}: {bad} bad heads were read; {}", judge.shown());
        drop(streams);
    }
    Ok(())
}

#[test]
fn a_body_that_begins_with_the_handshake_ends_where_it_ends() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let stand = stand()?;
    let judge = Judge::start(&config(&stand, Mode::Gate))?;
    let _taught = greet(&stand, &judge, false)?;
    let with_body = bearer(GOOD).replace("\r\n\r\n", "\r\nContent-Length: 9\r\n\r\n");
    let mut stream = stand.connect_with_data(false)?;
    stream.write_all(format!("{with_body}GET /").as_bytes())?;
    stream.write_all(b" HTT")?;
    ensure!(answers(&mut stream, 1, LONG)? == 1, "{}", judge.shown());
    stream.write_all(&bearer(BAD).as_bytes()[..50])?;
    stream.write_all(&bearer(BAD).as_bytes()[50..])?;
    ensure!(answers(&mut stream, 1, Duration::from_secs(1))? == 0, "{}", judge.shown());
    ensure!(stand.seen_with("Bearer") == 2, "{}; {}", stand.seen_with("Bearer"), judge.shown());
    Ok(())
}

#[test]
fn no_answer_to_a_forged_request_of_the_handshake_leaves() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let stand = stand()?;
    let judge = Judge::start(&config(&stand, Mode::Hold))?;
    let mut streams = Vec::new();
    for n in 0..40 {
        let forged = format!("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJiYWQifQ.{n:043}");
        let mut stream = stand.connect_with_data(n % 2 == 1)?;
        stream.write_all(bearer(&forged).as_bytes())?;
        streams.push(stream);
    }
    // The token that is known is answered at once, also with the handshake.
    greet(&stand, &judge, false)?;
    let mut took = Vec::new();
    for n in 0..11 {
        let mut stream = stand.connect_with_data(n % 2 == 1)?;
        stream.write_all(bearer(GOOD).as_bytes())?;
        took.push(answer(&mut stream)?);
    }
    took.sort_unstable();
    ensure!(took[5] < Duration::from_millis(100), "{took:?}; {}", judge.shown());
    thread::sleep(Duration::from_secs(1));
    for stream in &mut streams {
        ensure!(
            answers(stream, 1, Duration::from_millis(10))? == 0,
            "an answer left; {}",
            judge.shown()
        );
    }
    ensure!(judge.count(Counter::Allowed) > 0, "{}", judge.shown());
    Ok(())
}
