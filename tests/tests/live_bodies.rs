//! `mode = "gate"` with the whole sensor where a token is not in one segment's head: in a body, behind
//! a chunked one, in a long head, and on connections that were open before.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use jotwatch_tests::{
    net::privileged,
    sensor,
    stand::{Stand, forged, good},
};
use serde_json::Value;

fn stand() -> Result<Stand> {
    Stand::new(env!("CARGO_BIN_EXE_recording-http"))
}

/// Reads so many answers; gives how long that took.
fn answers(stream: &mut TcpStream, wanted: usize) -> Result<Duration> {
    let (began, mut text) = (Instant::now(), Vec::new());
    while text.windows(6).filter(|w| w == b"\r\n\r\nok").count() < wanted {
        let mut chunk = [0; 4096];
        let n = stream.read(&mut chunk).with_context(|| {
            format!("waiting for {wanted} answers, got {:?}", String::from_utf8_lossy(&text))
        })?;
        ensure!(n > 0, "closed after {:?}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&chunk[..n]);
    }
    Ok(began.elapsed())
}

/// Reads until the connection is reset, over so many answers. Where the reset met the sender
/// (`told`), the reader sees no more than an end.
fn reset(stream: &mut TcpStream, told: bool, answers: usize) -> Result<()> {
    let mut text = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk) {
            Ok(n @ 1..) => text.extend_from_slice(&chunk[..n]),
            Ok(0) if told => break,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            other => bail!("not reset: {other:?} behind {:?}", String::from_utf8_lossy(&text)),
        }
    }
    let came = text.windows(6).filter(|w| w == b"\r\n\r\nok").count();
    ensure!(came <= answers, "{came} answers came, {answers} were due at most");
    Ok(())
}

fn post(content_type: &str, body: &str) -> String {
    format!(
        "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The body in chunks of so many bytes.
fn chunked(line: &str, body: &str, size: usize) -> String {
    let mut text = format!(
        "POST /login HTTP/1.1\r\nHost: localhost\r\n{line}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    for part in body.as_bytes().chunks(size) {
        let part = String::from_utf8_lossy(part);
        text += &format!("{:x};a=b\r\n{part}\r\n", part.len());
    }
    text + "0\r\nA-Trailer: b\r\n\r\n"
}

fn get(token: &str) -> String {
    format!("GET /a HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n")
}

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// Requests with the token where the kernel has to look further than a head, with a name.
fn requests(token: &str) -> Vec<(&'static str, String)> {
    let form = format!("client=a&redirect=http%3A%2F%2Fwww.a.example%2F&access_token={token}&b=c");
    let object =
        format!("{{\"name\": \"www.some.example\", \"access_token\": \"{token}\", \"n\": 1}}");
    let pad = "x".repeat(40 << 10);
    let (json, typed) = (|body: &str| post(JSON, body), format!("Content-Type: {JSON}"));
    vec![
        ("form", post(FORM, &form)),
        ("form, encoded", post(FORM, &form.replace("=ey", "=%65%79").replace('.', "%2E"))),
        ("json", json(&object)),
        ("json, escaped", json(&object.replace("\"ey", "\"\\u0065y"))),
        ("json with two heads of one line", json(&object).replacen("\r\n", "\n", 1)),
        ("one chunk", chunked(&typed, &object, 1 << 16)),
        ("chunks through the token", chunked(&typed, &object, 50)),
        ("small chunks", chunked(&typed, &object, 3)),
        ("a long body behind the token", json(&format!("{}{}", object, " ".repeat(30_000)))),
        ("a head of 40 KiB", get(token).replace("\r\n\r\n", &format!("\r\nX: {pad}\r\n\r\n"))),
        (
            "a head of 40 KiB, the token last",
            get(token).replace("Auth", &format!("X: {pad}\r\nAuth")),
        ),
        ("behind a chunked one", chunked("A: b", "hello", 2) + &get(token)),
        ("behind a long chunked one", chunked("A: b", &pad, 5_000) + &get(token)),
        ("behind many small chunks", chunked("A: b", &pad, 7) + &get(token)),
        ("behind a long body", post("text/plain", &pad) + &get(token)),
        ("behind empty lines", format!("\r\n\r\n{}", get(token))),
        ("behind white space", format!(" {}", get(token))),
        // As DLNA clients send it: no transfer coding.
        (
            "behind a field like Transfer-Encoding",
            "GET /a HTTP/1.1\r\nHost: a\r\ntransferMode.dlna.org: Streaming\r\n\r\n".to_owned()
                + &get(token),
        ),
    ]
}

/// How many answers a text is due.
fn due(text: &str) -> usize {
    text.matches(" HTTP/1.1").count()
}

#[test]
fn no_token_reaches_a_gated_service_unjudged_wherever_it_stands() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let stand = stand()?;
    let sensor = stand.sensor("gate")?;
    // Whole, in two writes at some places, and byte for byte where that is not too long.
    let mut wanted = 0;
    for (name, text) in requests(&good()) {
        for pieces in [1, 2, 7] {
            let mut stream = stand.connect(false)?;
            for piece in text.as_bytes().chunks(text.len().div_ceil(pieces)) {
                stream.write_all(piece)?;
                thread::sleep(Duration::from_millis(2));
            }
            answers(&mut stream, due(&text)).with_context(|| {
                format!(
                    "{name} in {pieces}: {:#}",
                    sensor.status().unwrap_or_default()["enforcement"]
                )
            })?;
            wanted += due(&text);
        }
    }
    ensure!(stand.seen_with("") == wanted, "{} of {wanted}", stand.seen_with(""));
    for n in 0..requests("").len() {
        for pieces in [1, 2, 7, 100] {
            let token = forged(1000 * pieces + n);
            let Some((name, text)) = requests(&token).into_iter().nth(n) else { continue };
            let (mut stream, mut told) = (stand.connect(false)?, false);
            for piece in text.as_bytes().chunks(text.len().div_ceil(pieces)) {
                // It may be reset while this still sends.
                told = stream.write_all(piece).is_err();
                if told {
                    break;
                }
                if pieces < 100 {
                    thread::sleep(Duration::from_millis(2));
                }
            }
            reset(&mut stream, told, due(&text) - 1).with_context(|| {
                format!(
                    "{name} in {pieces}: {:#}",
                    sensor.status().unwrap_or_default()["enforcement"]
                )
            })?;
        }
    }
    let payload = forged(0);
    let payload = payload.split('.').nth(1).context("a payload")?;
    let common = &payload[..24];
    ensure!(stand.seen_with(common) == 0, "{} forged ones were read", stand.seen_with(common));
    let status = sensor.status()?;
    let guard = &status["enforcement"]["guard"];
    for counter in ["expired", "too-long", "misframed", "broken", "untracked"] {
        ensure!(guard[counter] == 0, "{counter}: {guard:#}");
    }
    ensure!(guard["bodies"].as_u64() >= Some(40), "{guard:#}");
    sensor::check(&sensor.stop()?, &[forged(0), good()])
}

/// What no two servers are sure to read in the same way, and heads that nobody reads to their end,
/// end the connection at once; what was open before the sensor came is guarded from its next request
/// on, also where that comes in pieces.
#[test]
fn what_cannot_be_read_for_certain_ends_and_what_was_open_before_is_guarded() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let stand = stand()?;
    let mut early = Vec::new();
    for _ in 0..6 {
        let mut stream = stand.connect(false)?;
        stream.write_all(get(&good()).as_bytes())?;
        answers(&mut stream, 1)?;
        early.push(stream);
    }
    let sensor = stand.sensor("gate")?;
    let chunks = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for text in [
        format!("{chunks}5\nhello\r\n0\r\n\r\n"),
        format!("{chunks}5\r\nhelloXX0\r\n\r\n"),
        format!("{chunks}5 \r\nhello\r\n0\r\n\r\n"),
        format!("{chunks}fffffffffff\r\nhello"),
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            .to_owned(),
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!".to_owned(),
        // http.server takes no body for one here, and the method for a method.
        post("text/plain", &get("a.b.c")).replacen("Content-Type", "A : b\r\nContent-Type", 1),
        post("text/plain", &get("a.b.c")).replacen("Content-Type", "A\r\nContent-Type", 1),
        "GE\0T / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "\u{1c}GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        format!("{}5\r\nhello\r\n0\r\n\r\n", chunks.replace("ing:", "ing\0:")),
        "GET /a?access_token=a.b.c\r\n".to_owned(),
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(70 << 10)),
    ] {
        let mut stream = stand.connect(false)?;
        let told = stream.write_all(text.as_bytes()).is_err();
        reset(&mut stream, told, 0).with_context(|| text[..text.len().min(120)].to_owned())?;
    }
    let text = get(&forged(7));
    for (n, stream) in early.iter_mut().enumerate() {
        // The last one is good, in pieces.
        let text = if n == 5 { get(&good()) } else { text.clone() };
        let mut told = false;
        for piece in text.as_bytes().chunks([text.len(), 60, 7, 1, 100, 7][n]) {
            told |= stream.write_all(piece).is_err();
        }
        if n == 5 {
            answers(stream, 1)?;
        } else {
            reset(stream, told, 0).with_context(|| format!("open before, {n}"))?;
        }
    }
    ensure!(stand.seen_with("") == 7, "{}", stand.seen_with(""));
    let lines = sensor.stop()?;
    let events = sensor::parsed(&lines)?;
    let refused: Vec<_> = events.iter().filter(|event| event["reason"] == "refused").collect();
    ensure!(refused.iter().all(|event| sensor::findings(event) == ["request-refused"]));
    let mut clients: Vec<_> = refused.iter().map(|event| event["client"].to_string()).collect();
    clients.dedup();
    ensure!(clients.len() == refused.len(), "told of twice: {refused:#?}");
    for detail in ["a head of more than 64 KiB", "where a message ends can be read in two ways"] {
        let told = |event: &&&Value| event["findings"][0]["detail"] == detail;
        ensure!(refused.iter().find(told).is_some(), "{detail}: {refused:#?}");
    }
    sensor::check(&lines, &[forged(7), good()])
}
