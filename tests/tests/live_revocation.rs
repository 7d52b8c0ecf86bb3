//! Tokens that are over, as the running sensor learns it: from the wire, and from a list that it
//! reads again when it changes.

use std::{
    fs,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use jotwatch_tests::{
    net::{Place, privileged},
    sensor::{self, DEADLINE, Sensor, findings},
    services::{
        http::{Client, get, request},
        plain,
    },
    tokens,
};
use rustix::process::Signal;
use serde_json::json;

const PORT: u16 = 8080;

fn addr() -> SocketAddr {
    ([127, 0, 0, 1], PORT).into()
}

fn token(subject: &str) -> String {
    let claims = json!({"iss": "i", "sub": subject, "jti": subject});
    tokens::hs256(&claims, b"a key of some length, 32 bytes at least")
}

fn wait_for_log(sensor: &Sensor, text: &str) -> Result<()> {
    let end = Instant::now() + DEADLINE;
    while !sensor.log().contains(text) {
        ensure!(Instant::now() < end, "the log never says {text:?}: {}", sensor.log());
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

#[test]
fn what_is_revoked_on_the_wire_is_over_also_after_a_restart() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let net = Place::new()?;
    net.services(|place| {
        let _service = plain::start(place, &[PORT])?;
        let sensor = Sensor::start(&net, &[PORT], "")?;
        let (revoked, other) = (token("alice"), token("bob"));
        let mut client = Client::connect(place, addr())?;
        client.send(&get("/before", &revoked))?;
        let form = format!("token={revoked}");
        let fields = [("Content-Type", "application/x-www-form-urlencoded")];
        client.send(&request("POST", "/oauth2/revoke", &fields, form.as_bytes()))?;
        client.send(&get("/under-way", &revoked))?;
        sensor.settled(3)?;
        assert_eq!(sensor.events()?.len(), 0);
        // Behind the grace for requests under way, and a save of the state.
        thread::sleep(Duration::from_secs(6));
        client.send(&get("/after", &revoked))?;
        client.send(&get("/after", &other))?;
        sensor.settled(5)?;
        let events = sensor.events()?;
        assert_eq!(events.len(), 1, "{events:?}");
        assert_eq!(findings(&events[0]), ["token-used-after-revocation"]);
        drop(client);

        let sensor = sensor.restart(&net, &[PORT])?;
        let mut client = Client::connect(place, addr())?;
        client.send(&get("/restarted", &other))?;
        client.send(&get("/restarted", &revoked))?;
        sensor.settled(2)?;
        let events = sensor.events()?;
        assert_eq!(events.len(), 1, "{events:?}");
        assert_eq!(findings(&events[0]), ["token-used-after-revocation"]);
        sensor::check(&sensor.stop()?, &[revoked, other])
    })
}

#[test]
fn the_list_is_read_again_when_it_changes_and_on_sighup() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let net = Place::new()?;
    let lists = tempfile::tempdir()?;
    let list = lists.path().join("revoked");
    fs::write(&list, "")?;
    let extra = format!("[revocation]\nlist_file = {list:?}");
    net.services(|place| {
        let _service = plain::start(place, &[PORT])?;
        let sensor = Sensor::start(&net, &[PORT], &extra)?;
        let (alice, bob) = (token("alice"), token("bob"));
        let mut client = Client::connect(place, addr())?;
        let mut sent = 0;
        let mut told = |token: &str| -> Result<bool> {
            let before = sensor.events()?.len();
            client.send(&get("/", token))?;
            sent += 1;
            sensor.settled(sent)?;
            Ok(sensor.events()?.len() > before)
        };
        assert!(!told(&alice)? && !told(&bob)?);

        fs::write(&list, "{\"iss\":\"i\",\"sub\":\"alice\"}\n")?;
        wait_for_log(&sensor, "read again")?;
        assert!(told(&alice)? && !told(&bob)?, "{}", sensor.log());
        // A mistake in it is told with its line, and what was in force stays.
        fs::write(&list, "{\"jti\":\"bob\"}\nbob\n")?;
        wait_for_log(&sensor, "line 2")?;
        assert!(told(&alice)? && !told(&bob)?, "{}", sensor.log());
        // SIGHUP reads it at once, and refuses the whole reload for the same mistake.
        sensor.signal(Signal::HUP)?;
        wait_for_log(&sensor, "not reloaded")?;
        assert!(told(&alice)? && !told(&bob)?, "{}", sensor.log());
        fs::write(&list, "{\"jti\":\"bob\"}\n")?;
        sensor.signal(Signal::HUP)?;
        sensor.wait_for("the reload", |event| event["state"] == "config-reloaded")?;
        assert!(!told(&alice)? && told(&bob)?, "{}", sensor.log());

        let events = sensor.events()?;
        let last = events.last().context("no event")?;
        assert_eq!(findings(last), ["token-used-after-revocation"]);
        sensor::check(&sensor.stop()?, &[alice, bob])
    })
}
