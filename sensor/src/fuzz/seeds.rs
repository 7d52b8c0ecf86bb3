//! What fuzzing begins with, made of the capture cases, the documentation and what was once found;
//! and the test that puts all of it through the targets.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use jotwatch_common::{KIND_SEGMENT, MARK_NEW, MARK_RCV_NXT, Record, TCP_ACK, TCP_FIN, TCP_SYN};

use super::TARGETS;
use crate::{
    capture::{Direction, FlowKey, Input, Segment, file::CaptureFile},
    event::samples,
    http,
    time::Time,
    token::{extract::extract, testing},
};

/// By target and name.
type Seeds = BTreeMap<(&'static str, String), Vec<u8>>;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The regular files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn record(segment: &Segment<'_>) -> Vec<u8> {
    let bytes = |address: std::net::SocketAddr| {
        let mut all = [0; 16];
        match address.ip() {
            std::net::IpAddr::V4(v4) => all[..4].copy_from_slice(&v4.octets()),
            std::net::IpAddr::V6(v6) => all = v6.octets(),
        }
        all
    };
    let flag = |on: bool, bit: u8| u8::from(on) * bit;
    let payload = &segment.payload[..segment.payload.len().min(2_048)];
    let record = Record {
        at: segment.at.unix_nanos(),
        cookie: 1,
        cgroup: segment.flow.scope,
        local: bytes(segment.flow.server),
        remote: bytes(segment.flow.client),
        local_port: segment.flow.server.port(),
        remote_port: segment.flow.client.port(),
        seq: segment.seq,
        ack: segment.ack.unwrap_or_default(),
        len: segment.len,
        rcv_nxt: segment.seq,
        captured: payload.len() as u16,
        ifindex: 1,
        kind: KIND_SEGMENT,
        direction: u8::from(segment.direction == Direction::ToClient),
        tcp_flags: flag(segment.flags.syn, TCP_SYN)
            | flag(segment.flags.fin, TCP_FIN)
            | flag(segment.ack.is_some(), TCP_ACK),
        family: if segment.flow.server.is_ipv4() { 4 } else { 6 },
        marks: MARK_RCV_NXT | MARK_NEW,
        detail: 0,
        piece: 0,
    };
    let all = [bytemuck::bytes_of(&record), payload].concat();
    [&(all.len() as u16).to_le_bytes()[..], &all].concat()
}

/// A capture case as each target takes it.
fn case(name: &str, file: &Path, seeds: &mut Seeds) {
    let bytes = fs::read(file).unwrap();
    let mut add = |target, name: String, bytes| drop(seeds.insert((target, name), bytes));
    add("capture_file", name.into(), bytes.clone());
    add("pipeline", format!("{name}-file"), bytes);
    let mut file = CaptureFile::open(file, &[]).unwrap();
    let (mut http, mut steps, mut records) = (vec![0], Vec::new(), vec![0]);
    let mut flows: Vec<FlowKey> = Vec::new();
    let mut count = 0;
    while let Ok(Some(Input::Segment(segment))) = file.next() {
        count += 1;
        // Days of requests that are alike say nothing more.
        if count > 60 {
            break;
        }
        let number = flows.iter().position(|flow| *flow == segment.flow).unwrap_or_else(|| {
            flows.push(segment.flow);
            flows.len() - 1
        });
        let len = (segment.payload.len() as u16).to_le_bytes();
        let to_client = segment.direction == Direction::ToClient;
        let bit = |on: bool, n: u8| u8::from(on) << n;
        let how = (number as u8 & 3)
            | bit(to_client, 2)
            | bit(segment.flags.syn, 3)
            | bit(segment.flags.fin, 4)
            | bit(segment.flags.rst, 5)
            | bit(segment.ack.is_some(), 6);
        steps.extend([0x10, how]);
        steps.extend(len);
        steps.extend(segment.payload);
        records.extend(record(&segment));
        if number == 0 && !segment.payload.is_empty() {
            http.push(u8::from(to_client));
            http.extend(len);
            http.extend(segment.payload);
        }
        if !to_client && !segment.payload.is_empty() {
            let payload = segment.payload.to_vec();
            add("guard_scan", format!("{name}-{count}"), payload.clone());
            if let Ok((request, _)) =
                http::read_request(&payload, Time::EPOCH, &http::Limits::default())
            {
                for (k, candidate) in extract(&request, &[]).candidates.iter().enumerate() {
                    add("token", format!("{name}-{count}-{k}"), candidate.bytes.to_vec());
                }
            }
            add("request", format!("{name}-{count}"), payload);
        }
    }
    add("http", name.into(), http);
    add("pipeline", name.into(), steps);
    add("records", name.into(), records);
}

fn seeds() -> Seeds {
    let mut seeds = Seeds::new();
    let cases = workspace().join("tests/cases");
    for path in files(&cases) {
        let name = path.strip_prefix(&cases).unwrap().display().to_string().replace('/', "-");
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("pcap" | "pcapng") => case(&name, &path, &mut seeds),
            Some("toml") => drop(seeds.insert(("config", name), fs::read(&path).unwrap())),
            _ => {}
        }
    }
    assert!(seeds.len() > 300, "{}", seeds.len());
    let mut add =
        |target, name: &str, bytes: &[u8]| drop(seeds.insert((target, name.into()), bytes.into()));
    add("config", "package", &fs::read(workspace().join("packaging/config.toml")).unwrap());
    add("config", "filter", b"severity = \"low\"\nfindings = [\"alg-none\"]\nservices = [\"a\"]\n");
    add("config", "template", b"{\"a\": {{/severity}}, \"b\": \"{{/id}} x\"}");
    for (name, bytes) in [
        ("plain", &b"\0# a\n192.0.2.1\n198.51.100.0/24 ; b\nevil.example\n2001:db8::/32\n"[..]),
        ("agents", b"\x01# a\nsqlmap/1.0\nMozilla/5.0 (evil)\n"),
        ("csv", b"\x02first,second\n\"a, b\",192.0.2.1\nc,\"evil.example\"\n"),
        ("csv-name", b"\x03when,indicator\n1,sqlmap\n2,\"a \"\"b\"\"\"\n"),
        (
            "stix",
            br#"{"type":"bundle","objects":[{"type":"indicator","id":"indicator--1","pattern_type":"stix","pattern":"[ipv4-addr:value = '192.0.2.1' OR domain-name:value = 'evil.example']","valid_from":"2024-01-01T00:00:00Z"}]}"#,
        ),
        ("denied", b"\x05# a\n192.0.2.1\ntoken 00112233445566778899aabbccddeeff\nsubject https://id.example ann\n"),
        ("revoked", b"\x06{\"jti\":\"a\",\"iss\":\"i\"}\n{\"fingerprint\":\"30313233343536373839616263646566\"}\n"),
        (
            "routes",
            br#"{"openapi":"3.1.0","paths":{"/a/{b}":{"get":{"security":[{"o":["read"]}]}}},"security":[{}]}"#,
        ),
    ] {
        let bytes = match name {
            "stix" => [&[4], bytes].concat(),
            "routes" => [&[7], bytes].concat(),
            _ => bytes.to_vec(),
        };
        add("lists", name, &bytes);
    }
    for (kind, name, text) in [
        (0, "status", r#""status""#),
        (
            0,
            "deny",
            r#"{"deny":{"add":{"target":{"entry":{"kind":"address","address":"192.0.2.1"}},"reason":"x","seconds":60}}}"#,
        ),
        (
            1,
            "rest",
            r#"{"userId":"ann","issuer":"https://id.example","issuedAt":900,"roles":["a"],"path":"/a?b=1","ipAddress":"192.0.2.1","claims":{"exp":"1800"}}"#,
        ),
        (
            2,
            "described",
            r#"{"method":"GET","path":"/a?b","headers":{"host":"a","x":["b"]},"body":"c","client_ip":"192.0.2.1","time":5}"#,
        ),
        (
            3,
            "metrics",
            "GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text;version=1.0.0\r\n\r\n",
        ),
        (5, "entry", r#"{"kind":"subject","issuer":"i","subject":"s"}"#),
    ] {
        add("local", name, &[&[kind], text.as_bytes()].concat());
    }
    for (k, event) in samples::all().into_iter().enumerate() {
        let mut line = vec![4];
        event.write(&mut line);
        add("local", &format!("event-{k}"), &line);
    }
    let jwk = testing::jwk(1);
    add("keys", "jwk", jwk.as_bytes());
    add(
        "keys",
        "jwks",
        format!("{{\"keys\":[{jwk},{{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}}]}}")
            .as_bytes(),
    );
    add(
        "keys",
        "discovery",
        br#"{"issuer":"https://id.example","jwks_uri":"https://id.example/keys"}"#,
    );
    for path in files(&workspace().join("sensor/src/keys/tests")) {
        if path.extension().is_some_and(|extension| extension == "pem" || extension == "der") {
            add("keys", &path.file_name().unwrap().to_string_lossy(), &fs::read(&path).unwrap());
        }
    }
    add("token", "good", testing::good("ann").as_bytes());
    let proof = testing::sign(
        1,
        &format!(r#"{{"typ":"dpop+jwt","alg":"EdDSA","jwk":{jwk}}}"#),
        r#"{"jti":"a","htm":"GET","htu":"https://a/a","iat":1700000000}"#,
    );
    add("token", "proof", proof.as_bytes());
    add(
        "token",
        "encrypted",
        format!("{}.a.b.c.d", testing::encode(r#"{"alg":"dir","enc":"A256GCM"}"#)).as_bytes(),
    );
    add(
        "state",
        "memory",
        &[0, 0, 28].into_iter().chain([1; 28]).chain([1, 40]).chain([2; 40]).collect::<Vec<_>>(),
    );
    add("state", "profiles", &[1, 255, 0, 0]);
    add("state", "denied", b"\x02{\"list\":\"deny\",\"entry\":{\"kind\":\"address\",\"address\":\"192.0.2.1\"},\"terms\":{\"until\":null,\"added\":1,\"reason\":\"x\",\"source\":\"operator\"}}\n");
    add("state", "place", b"\x0400000000000000000007 0123456789abcdef\n");
    add(
        "state",
        "learned",
        format!("\x05{{\"issuer\":\"i\",\"seen\":7,\"jwk\":{jwk}}}\n").as_bytes(),
    );
    add("state", "payload", &[6, 30, 0, 0, 4, 1, 2, 3, 4]);
    add("state", "behaviour", &[7, 40, 0, 0, 4, 1, 2, 3, 4]);
    for k in 0..4_u8 {
        add(
            "reassembly",
            &k.to_string(),
            &(0..=255).map(|n: u8| n.wrapping_mul(k * 2 + 37)).collect::<Vec<_>>(),
        );
    }
    seeds
}

/// What fuzzing found, to stay found: `fuzz/found/TARGET/NAME`.
fn found() -> Seeds {
    let folder = workspace().join("fuzz/found");
    let mut seeds = Seeds::new();
    for path in files(&folder) {
        let relative = path.strip_prefix(&folder).unwrap();
        let (target, name) = relative.to_str().unwrap().split_once('/').unwrap();
        let target = TARGETS.iter().find(|(known, _)| *known == target).unwrap().0;
        seeds.insert((target, name.into()), fs::read(&path).unwrap());
    }
    seeds
}

/// Also writes them into the folder that `JOTWATCH_FUZZ_SEEDS` names, for `cargo xtask fuzz`.
#[test]
fn every_case_and_all_that_was_found_goes_through_every_target() {
    let mut seeds = seeds();
    seeds.extend(found());
    for (target, run) in TARGETS {
        assert!(seeds.keys().any(|(of, _)| *of == target), "{target} has no seeds");
        for ((_, name), bytes) in seeds.iter().filter(|((of, _), _)| *of == target) {
            // The name, where the target panics.
            eprintln!("{target}: {name}");
            run(bytes);
        }
        run(&[]);
    }
    let Some(folder) = std::env::var_os("JOTWATCH_FUZZ_SEEDS").map(PathBuf::from) else { return };
    for ((target, name), bytes) in seeds {
        fs::create_dir_all(folder.join(target)).unwrap();
        fs::write(folder.join(target).join(name), bytes).unwrap();
    }
}
