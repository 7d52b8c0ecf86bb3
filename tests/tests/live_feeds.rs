//! Lists in files and feeds, while the sensor runs: read, read again, refused.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Context as _, Result, ensure};
use jotwatch_tests::{
    net::{Place, privileged},
    sensor::{self, Sensor, findings},
};
use rustix::process::Signal;
use serde_json::Value;

const PORT: u16 = 8080;

/// Serves this list to everybody for as long as the test runs.
fn serve(body: &'static str) -> Result<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let url = format!("http://{}/list", listener.local_addr()?);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 4096]);
            let length = body.len();
            let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}");
            let _ = stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes());
        }
    });
    Ok(url)
}

fn feed<'a>(status: &'a Value, name: &str) -> Option<&'a Value> {
    status["enforcement"]["feeds"].as_array()?.iter().find(|feed| feed["name"] == name)
}

/// One request; gives what its event says of the address, where there is one by the next request.
fn request(place: &Place, n: u64, sensor: &Sensor) -> Result<Option<String>> {
    let mut stream = place.connect((Ipv4Addr::LOCALHOST, PORT).into())?;
    let head = format!("GET /{n} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"ok") {
        let mut chunk = [0; 256];
        let n = stream.read(&mut chunk)?;
        ensure!(n > 0, "no answer");
        answer.extend_from_slice(&chunk[..n]);
    }
    drop(stream);
    sensor.settled(n)?;
    let events = sensor.events()?;
    let own = |event: &&Value| event["request"]["path"] == format!("/{n}");
    let Some(event) = events.iter().find(own) else { return Ok(None) };
    ensure!(findings(event).len() == 1, "{event}");
    Ok(event["findings"][0]["detail"].as_str().map(str::to_owned))
}

/// Serves a list, and from the second request on: silence, a page, more than is taken, nothing.
fn turn_bad(body: &'static str) -> Result<(String, Arc<AtomicUsize>)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let url = format!("http://{}/list", listener.local_addr()?);
    let served = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&served);
    thread::spawn(move || {
        let mut silent = Vec::new();
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 4096]);
            let body = match count.fetch_add(1, Ordering::SeqCst) {
                0 => body.to_owned(),
                1 => {
                    silent.push(stream);
                    continue;
                }
                2 => "<html>\n<p>\n".to_owned(),
                3 => "192.0.2.1\n".repeat(1_000),
                _ => continue,
            };
            let length = body.len();
            let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}");
            let _ = stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes());
        }
    });
    Ok((url, served))
}

#[test]
fn feeds_are_kept_over_a_restart_and_a_reload_when_their_server_turns_bad() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let (place, dir) = (Place::new()?, tempfile::tempdir()?);
    let program = env!("CARGO_BIN_EXE_recording-http");
    let seen = dir.path().join("seen");
    let _service = place
        .service(program, &[seen.to_str().context("a path")?, &format!("127.0.0.1:{PORT}")])?;
    place.wait_for_port(PORT)?;
    let (url, served) = turn_bad("# exits\n127.0.0.1\n203.0.113.0/24\nevil.example\n")?;
    let config = format!(
        "[keys]\nallow_http = true\n[[feed]]\nname = \"far\"\n\
         url = {url:?}\ntimeout_seconds = 1\nmax_bytes = 1024\n"
    );
    let named = |status: &Value| status["feeds"][0].clone();
    let mut sensor = Sensor::start(&place, &[PORT], &config)?;
    sensor.wait_for_status("the feed", |status| named(status)["entries"] == 3)?;
    let detail = request(&place, 1, &sensor)?;
    ensure!(detail.as_deref() == Some("the client 127.0.0.1 stands in feed far:2"), "{detail:?}");
    for (n, error) in ["no whole answer in time", "line 1 is no indicator", "over 1024 bytes"]
        .into_iter()
        .enumerate()
    {
        // By turns: what a reload asks for, and what a restart does.
        if n % 2 == 0 {
            sensor.signal(Signal::HUP)?;
            sensor.wait_for("the reload", |event| event["state"] == "config-reloaded")?;
        } else {
            sensor = sensor.restart(&place, &[PORT])?;
        }
        let status = sensor.wait_for_status("the error", |status| {
            named(status)["error"].as_str().is_some_and(|text| text.contains(error))
        })?;
        let feed = named(&status);
        ensure!(feed["entries"] == 3 && feed["age_seconds"].is_u64(), "{error}: {feed}");
    }
    ensure!(served.load(Ordering::SeqCst) >= 4, "the server was asked less often than that");
    sensor::check(&sensor.stop()?, &[])
}

#[test]
fn lists_are_read_again_when_they_change_and_say_where_an_entry_stands() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let (place, dir) = (Place::new()?, tempfile::tempdir()?);
    let path = |name: &str| dir.path().join(name);
    let program = env!("CARGO_BIN_EXE_recording-http");
    let seen = path("seen");
    let _service = place
        .service(program, &[seen.to_str().context("a path")?, &format!("127.0.0.1:{PORT}")])?;
    place.wait_for_port(PORT)?;
    fs::write(path("deny"), "192.0.2.1\n")?;
    fs::write(path("feed.csv"), "id,ip\n1,192.0.2.7\n2,127.0.0.0/8\n")?;
    let url = serve("# a list\n203.0.113.0/24\n198.51.100.1\nevil.example\n")?;
    let config = format!(
        "[keys]\nallow_http = true\n[enforcement]\ndeny_files = [{:?}]\n\
         [[enforcement.feed]]\nname = \"near\"\npath = {:?}\nformat = \"csv\"\ncolumn = \"ip\"\n\
         [[enforcement.feed]]\nname = \"far\"\nurl = {url:?}\n\
         [[enforcement.feed]]\nname = \"gone\"\nurl = \"http://127.0.0.1:1/\"\n",
        path("deny"),
        path("feed.csv"),
    );
    let sensor = Sensor::start(&place, &[PORT], &config)?;
    let status = sensor.wait_for_status("the feeds", |status| {
        feed(status, "far").is_some_and(|feed| feed["entries"] == 2)
            && feed(status, "gone").is_some_and(|feed| feed["error"].is_string())
    })?;
    ensure!(feed(&status, "near").is_some_and(|feed| feed["entries"] == 2), "{status:#}");
    ensure!(status["enforcement"]["denied"]["file_networks"] == 5, "{status:#}");
    let detail = request(&place, 1, &sensor)?;
    ensure!(detail.as_deref() == Some("denied by file: feed near:3"), "{detail:?}");
    // Another list: the address is free. A broken one changes nothing.
    fs::write(path("feed.csv"), "id,ip\n1,192.0.2.7\n")?;
    sensor.wait_for_status("the feed again", |status| {
        feed(status, "near").is_some_and(|feed| feed["entries"] == 1)
    })?;
    ensure!(request(&place, 2, &sensor)?.is_none(), "still denied");
    fs::write(path("feed.csv"), "<html>\n<body>\n")?;
    let status = sensor.wait_for_status("the error", |status| {
        feed(status, "near").is_some_and(|feed| feed["error"].is_string())
    })?;
    ensure!(feed(&status, "near").is_some_and(|feed| feed["entries"] == 1), "{status:#}");
    // A file of the configuration is read again without a signal.
    fs::write(path("deny"), "192.0.2.1\n\n127.0.0.1 # a test\n")?;
    sensor.wait_for_status("the file again", |status| {
        status["enforcement"]["denied"]["file_networks"] == 5
    })?;
    let (detail, due) = (request(&place, 3, &sensor)?, path("deny").display().to_string());
    ensure!(detail == Some(format!("denied by file: {due}:3")), "{detail:?}");
    // And a reload keeps what was fetched.
    sensor.signal(Signal::HUP)?;
    sensor.wait_for("the reload", |event| event["state"] == "config-reloaded")?;
    ensure!(sensor.status()?["enforcement"]["denied"]["file_networks"].as_u64() >= Some(4));
    sensor::check(&sensor.stop()?, &[])
}
