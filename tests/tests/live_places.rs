//! Services that are told apart by address and by cgroup, each with its own mode, in kernel and daemon.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::SocketAddr,
};

use anyhow::{Context as _, Result, ensure};
use jotwatch_tests::{
    net::{Place, privileged},
    sensor::{self, Sensor},
    tokens,
};
use serde_json::json;

const PORT: u16 = 8080;

fn forged(n: usize) -> String {
    tokens::unsigned("none", &json!({"sub": "somebody-or-other", "n": n}))
}

/// Whether a forged request to this address is answered, rather than its connection reset.
fn answered(place: &Place, to: &str, n: usize) -> Result<bool> {
    let mut stream = place.connect(format!("{to}:{PORT}").parse::<SocketAddr>()?)?;
    let (token, mut answer) = (forged(n), [0; 64]);
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    match stream.read(&mut answer) {
        Ok(n) => Ok(answer[..n].starts_with(b"HTTP/1.1 200")),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[test]
fn the_table_that_says_most_of_a_connections_place_counts() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let (place, dir) = (Place::new()?, tempfile::tempdir()?);
    let seen = dir.path().join("seen");
    let addresses =
        [format!("127.0.0.1:{PORT}"), format!("127.0.0.2:{PORT}"), format!("[::1]:{PORT}")];
    let _service = place.service(
        env!("CARGO_BIN_EXE_recording-http"),
        &[seen.to_str().context("a path")?, &addresses[0], &addresses[1], &addresses[2]],
    )?;
    place.wait_for_port(PORT)?;
    let cgroup = place.cgroup();
    let at = |keys: &str, mode: &str| format!("[[service]]\n{keys}\nmode = \"{mode}\"\n");
    let own = format!("cgroup = {cgroup:?}");
    let other = "cgroup = \"/no/such.service\"";
    let (v4, v6) = ("127.0.0.1", "[::1]");
    // The modes, and whether a forged request to 127.0.0.1, 127.0.0.2 and ::1 is answered.
    for (n, (tables, due)) in [
        (at("port = 8080", "gate"), [false, false, false]),
        (
            at("ports = [80, 8080]", "gate") + &at("listen = \"127.0.0.1:8080\"", "alert"),
            [true, false, false],
        ),
        (at("listen = \"[::1]:8080\"", "gate"), [true, true, false]),
        (at(&own, "gate") + &at(other, "alert"), [false, false, false]),
        (at(other, "gate"), [true, true, true]),
        (at(&own, "gate") + &at("listen = \"127.0.0.2:8080\"", "alert"), [false, true, false]),
        (
            at(&own, "alert") + &at(&format!("{own}\nlisten = \"127.0.0.1:8080\""), "gate"),
            [false, true, true],
        ),
        (at(&format!("{own}\nport = 8080"), "gate") + &at(&own, "alert"), [false, false, false]),
        (at("listen = \"0.0.0.0:8080\"", "gate"), [false, false, false]),
    ]
    .into_iter()
    .enumerate()
    {
        let sensor =
            Sensor::start(&place, &[PORT], &format!("[enforcement]\nmode = \"alert\"\n{tables}"))?;
        for (k, to) in [v4, "127.0.0.2", v6].into_iter().enumerate() {
            let got = answered(&place, to, n * 10 + k)?;
            ensure!(got == due[k], "{tables}\n{to}: {got}; {:#}", sensor.status()?["enforcement"]);
        }
        let shown = sensor.status()?["enforcement"]["services"].as_array().map(Vec::len);
        ensure!(shown == Some(tables.matches("[[service]]").count()), "{tables}");
        sensor::check(&sensor.stop()?, &[forged(n * 10)])?;
    }
    let read = fs::read_to_string(&seen)?.lines().count();
    ensure!(read == 9, "{read} requests were read");
    Ok(())
}
