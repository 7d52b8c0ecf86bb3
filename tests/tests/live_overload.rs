//! Floods that cost whoever sends them little: handshakes that are never finished, heads that never
//! end. And a daemon that gets too little of a processor. Its memory stays within its bound, what it
//! gave up is counted, and the next request is seen.

// The helpers of these tests are tests too, though clippy's allowance covers only `#[test]`.

use std::{
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use jotwatch_tests::{
    load::Load,
    net::{Place, privileged},
    processor::Limit,
    sensor::Sensor,
    services::{
        http::{Client, get},
        nginx, plain,
    },
    soak::steady::resident,
    stand::{PORT, addr, end, forged, wait},
};
use rustix::net::{
    AddressFamily, SendFlags, SocketFlags, SocketType, ipproto, sendto, socket_with,
};
use serde_json::json;

/// What the daemon has resident at most, in kibibytes (docs/performance.md, `memory`).
const RESIDENT_KIB: u64 = 128 << 10;

/// Handshakes that are begun.
const HALF_OPEN: u32 = 1_000_000;

/// Heads that do not end, and bytes of each.
const HEADS: usize = 200;
const HEAD: usize = 60 << 10;

/// The internet checksum (RFC 1071) of a SYN with its pseudo header (RFC 9293, section 3.1).
fn checksum(from: Ipv4Addr, to: Ipv4Addr, tcp: &[u8]) -> u16 {
    let pseudo = [&from.octets()[..], &to.octets(), &[0, 6], &(tcp.len() as u16).to_be_bytes()];
    let bytes = [&pseudo.concat(), tcp].concat();
    let sum: u32 = bytes.chunks(2).map(|two| u32::from(u16::from_be_bytes([two[0], two[1]]))).sum();
    !((sum & 0xffff) + (sum >> 16)) as u16
}

fn syn(from: SocketAddrV4, to: SocketAddrV4) -> Vec<u8> {
    let mut tcp = [0; 20];
    tcp[..2].copy_from_slice(&from.port().to_be_bytes());
    tcp[2..4].copy_from_slice(&to.port().to_be_bytes());
    tcp[4..8].copy_from_slice(&7_u32.to_be_bytes());
    // Five words of header, SYN, a window.
    (tcp[12], tcp[13], tcp[14]) = (5 << 4, 2, 0xff);
    let sum = checksum(*from.ip(), *to.ip(), &tcp);
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());
    // The kernel writes length and checksum of the IP header (raw(7)).
    let mut packet = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0];
    packet.extend(from.ip().octets());
    packet.extend(to.ip().octets());
    packet.extend(tcp);
    packet
}

#[test]
fn a_million_half_open_connections_cost_the_daemon_nothing() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let (net, attacker) = (Place::new()?, Place::new()?);
    net.link(&attacker)?;
    net.services(|place| {
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT));
        let _service = nginx::start(place, any)?;
        let sensor = Sensor::start(&net, &[PORT], "")?;
        let before = resident(sensor.pid(), "VmRSS:")?;
        attacker.inside(|| {
            let flags = SocketFlags::CLOEXEC;
            let raw = socket_with(AddressFamily::INET, SocketType::RAW, flags, Some(ipproto::RAW))?;
            let to = SocketAddrV4::new([10, 77, 0, 1].into(), PORT);
            let mut sent = 0_u32;
            for number in 0..HALF_OPEN {
                let ip = Ipv4Addr::new(10, 77, 0, 3 + (number / 60_000) as u8);
                let from = SocketAddrV4::new(ip, 1_024 + (number % 60_000) as u16);
                sent += u32::from(sendto(&raw, &syn(from, to), SendFlags::empty(), &to).is_ok());
            }
            ensure!(sent > HALF_OPEN / 2, "{sent} could be sent");
            Ok(())
        })?;
        // Seen by the kernel programs, or this shows nothing.
        Client::connect(place, addr())?.send(&get("/after", &forged(0)))?;
        sensor.wait_for("the next request", |event| event["request"]["path"] == "/after")?;
        let status = sensor.status()?;
        ensure!(status["pipeline"]["flows_opened"].as_u64() < Some(1_000), "{status:#}");
        let after = resident(sensor.pid(), "VmHWM:")?;
        ensure!(after <= RESIDENT_KIB && after - before < 8 << 10, "{before} KiB, then {after}");
        let lost = status["balance"]["lost"].as_object().context("no balance")?;
        ensure!(lost.values().all(|count| count == 0), "{status:#}");
        end(sensor)
    })
}

#[test]
fn heads_that_never_end_are_given_up_and_counted() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let net = Place::new()?;
    net.services(|place| {
        let _service = plain::start(place, &[PORT])?;
        let sensor = Sensor::start(&net, &[PORT], "[limits]\ntotal_bytes = 4194304\n")?;
        let mut open = Vec::new();
        for _ in 0..HEADS {
            let client = Client::connect(place, addr())?;
            let mut head = b"GET / HTTP/1.1\r\nHost: h\r\nX-Fill: ".to_vec();
            head.resize(HEAD, b'a');
            client.stream().write_all(&head)?;
            open.push(client);
        }
        let due = (HEADS * HEAD - (4 << 20)) as u64 / HEAD as u64;
        let status = sensor.wait_for_status("those that are given up", |status| {
            status["pipeline"]["flows_evicted"].as_u64() >= Some(due)
        })?;
        ensure!(status["pipeline"]["held_bytes"].as_u64() <= Some(4 << 20), "{status:#}");
        // With all of them open.
        Client::connect(place, addr())?.send(&get("/after", &forged(0)))?;
        sensor.wait_for("the next request", |event| event["request"]["path"] == "/after")?;
        drop(open);
        let status = sensor.wait_for_status("requests = seen + lost", |status| {
            let balance = &status["balance"];
            let lost = balance["lost"].as_object().into_iter().flat_map(|lost| lost.values());
            let lost: u64 = lost.filter_map(serde_json::Value::as_u64).sum();
            balance["pending"] == 0
                && balance["requests"] == json!(HEADS + 1)
                && balance["seen"].as_u64().map(|seen| seen + lost) == Some(HEADS as u64 + 1)
        })?;
        ensure!(status["balance"]["seen"].as_u64() >= Some(1), "{status:#}");
        let most = resident(sensor.pid(), "VmHWM:")?;
        ensure!(most <= RESIDENT_KIB, "{most} KiB");
        end(sensor)
    })
}

/// Connections, how often the daemon has used its share of a processor up before they end, and the
/// requests that are answered on them till then.
const CLIENTS: usize = 6;
const THROTTLED: u64 = 3;
const REQUESTS: u64 = 2_000;

#[test]
fn a_daemon_with_a_fiftieth_of_a_processor_counts_what_it_misses() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let net = Place::new()?;
    net.services(|place| {
        let _service = nginx::start(place, addr())?;
        let sensor = Sensor::start(&net, &[PORT], "[capture]\nring_bytes = 65536")?;
        let Some(limit) = Limit::put(sensor.pid(), 20)? else { return end(sensor) };
        let load = Load::start(place, addr(), CLIENTS, Duration::ZERO, |number| {
            get("/", &forged(number as usize))
        })?;
        wait("the load", || {
            ensure!(!load.has_failed(), "a request failed");
            Ok(load.answered() >= REQUESTS && limit.throttled()? >= THROTTLED)
        })?;
        let sent = load.end()?;
        limit.lift()?;
        // Until the ring is empty again, which takes its time on a busy machine.
        sensor.wait_for_status("the backlog to be read", |status| {
            let balance = &status["balance"];
            balance["pending"] == 0 && balance["requests"] == sent
        })?;
        // By itself: everything that comes now is seen, and nothing is missing in the balance.
        let mut clients = Vec::new();
        for number in 0..CLIENTS {
            let mut client = Client::connect(place, addr())?;
            let path = format!("/after-{number}");
            client.send(&get(&path, &forged(0)))?;
            sensor.wait_for(&path, |event| event["request"]["path"] == path)?;
            clients.push(client);
        }
        let sent = sent + CLIENTS as u64;
        let status = sensor.wait_for_status("requests = seen + lost", |status| {
            let balance = &status["balance"];
            let lost = balance["lost"].as_object().into_iter().flat_map(|lost| lost.values());
            let lost: u64 = lost.filter_map(serde_json::Value::as_u64).sum();
            balance["pending"] == 0
                && balance["requests"] == sent
                && balance["seen"].as_u64().map(|seen| seen + lost) == Some(sent)
        })?;
        ensure!(status["balance"]["seen"].as_u64() > Some(CLIENTS as u64), "{status:#}");
        ensure!(status["balance"]["lost"]["ring-full"].as_u64() > Some(0), "{status:#}");
        let most = resident(sensor.pid(), "VmHWM:")?;
        ensure!(most <= RESIDENT_KIB, "{most} KiB");
        end(sensor)
    })
}
