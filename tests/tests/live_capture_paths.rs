//! Every way that a request can take to a service: what the sensor says is what passed.

// The helpers of these tests are tests too, though clippy's allowance covers only `#[test]`.
#![expect(clippy::panic, reason = "a test that can't run shall fail")]

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use jotwatch_tests::{
    net::{Place, privileged},
    sensor::{self, Sensor, findings},
    services::{
        self,
        http::{Client, get, request},
        nginx, plain, uring,
    },
    tokens,
};
use serde_json::{Value, json};

const PORT: u16 = 8080;

fn addr() -> SocketAddr {
    ([127, 0, 0, 1], PORT).into()
}

/// A token that raises an event.
fn forged() -> String {
    tokens::unsigned("none", &json!({"sub": "somebody-or-other"}))
}

fn good() -> String {
    tokens::hs256(&json!({"sub": "somebody-or-other"}), b"key")
}

fn number(status: &Value, path: &str) -> u64 {
    status.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("{path}: {status:#}"))
}

/// The event of the request to `path`, which says that a forged token was answered `status`.
fn alert(sensor: &Sensor, path: &str, status: u16) -> Result<Value> {
    let event = sensor.wait_for(path, |event| event["request"]["path"] == path)?;
    ensure!(findings(&event) == sensor::with_answer(&["alg-none"], status), "{event}");
    ensure!(event["response"]["status"] == status, "{event}");
    ensure!(event["service"]["pid"].is_u64(), "{event}");
    Ok(event)
}

/// The one event about the connection from `client`.
fn flow_event(sensor: &Sensor, client: SocketAddr, reason: &str) -> Result<()> {
    let of = |event: &Value| event["kind"] == "flow" && event["client"]["port"] == client.port();
    let event = sensor.wait_for(reason, of)?;
    ensure!(event["reason"] == reason, "{reason}: {event}");
    ensure!(sensor.events()?.iter().filter(|event| of(event)).count() == 1, "said twice: {event}");
    Ok(())
}

/// Ends the sensor; holds all that it said to the schema and to the secrecy of the tokens.
fn end(sensor: Sensor) -> Result<()> {
    sensor::check(&sensor.stop()?, &[forged(), good()])
}

fn plain_scene(test: impl FnOnce(&Place, &services::Place<'_>) -> Result<()>) -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let net = Place::new()?;
    net.services(|place| {
        let _service = plain::start(place, &[PORT, PORT + 1, PORT + 2])?;
        test(&net, place)
    })
}

fn nginx_scene(test: impl FnOnce(&Place, &services::Place<'_>) -> Result<()>) -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let net = Place::new()?;
    net.services(|place| {
        let _service = nginx::start(place, addr())?;
        test(&net, place)
    })
}

#[test]
fn addresses_ports_and_namespaces() -> Result<()> {
    plain_scene(|net, place| {
        let far = Place::new()?;
        net.link(&far)?;
        // Open before the sensor starts, and idle; and one that has been used.
        let mut idle = Client::connect(place, addr())?;
        let mut used = Client::connect(place, addr())?;
        used.send(&get("/before", &forged()))?;

        let sensor = Sensor::start(net, &[PORT, PORT + 1], "")?;
        assert_eq!(idle.send(&get("/idle", &forged()))?.status, 200);
        alert(&sensor, "/idle", 200)?;
        assert_eq!(used.send(&get("/used", &forged()))?.status, 200);
        alert(&sensor, "/used", 200)?;
        let (near_place, mut requests) = (net, 2);
        for (from, to, path) in [
            (near_place, "127.0.0.1:8080", "/v4"),
            (near_place, "[::1]:8080", "/v6"),
            (near_place, "127.0.0.1:8081", "/other-port"),
            (near_place, "127.0.0.1:8082", "/unwatched-port"),
            (&far, "10.77.0.1:8080", "/veth4"),
            (&far, "[fd77::1]:8081", "/veth6"),
        ] {
            let to: SocketAddr = to.parse()?;
            let (status, own) = from.services(|place| -> Result<_> {
                let mut client = Client::connect(place, to)?;
                let own = client.stream().local_addr()?;
                Ok((client.send(&get(path, &forged()))?.status, own))
            })?;
            assert_eq!(status, 200);
            if path == "/unwatched-port" {
                continue;
            }
            requests += 1;
            let event = alert(&sensor, path, 200)?;
            assert_eq!(event["server"], json!({"ip": to.ip(), "port": to.port()}), "{event}");
            assert_eq!(event["client"], json!({"ip": own.ip(), "port": own.port()}), "{event}");
            assert_eq!(event["service"]["listen"], format!("[::]:{}", to.port()), "{event}");
        }
        sensor.settled(requests)?;
        end(sensor)
    })
}

#[test]
fn only_the_addresses_that_are_asked_for() -> Result<()> {
    plain_scene(|net, place| {
        let sensor = Sensor::start(net, &[PORT], "[capture]\naddresses = [\"127.0.0.8/30\"]")?;
        for last in [7, 8, 11, 12] {
            let to = SocketAddr::from(([127, 0, 0, last], PORT));
            let path = format!("/{last}");
            assert_eq!(Client::connect(place, to)?.send(&get(&path, &forged()))?.status, 200);
        }
        let status = sensor.settled(2)?;
        assert!(number(&status, "/kernel/filtered-address") > 0);
        let paths: Vec<_> =
            sensor.events()?.iter().map(|event| event["request"]["path"].clone()).collect();
        assert_eq!(paths, ["/8", "/11"]);
        end(sensor)
    })
}

#[test]
fn io_uring() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    uring::permitted()?;
    let net = Place::new()?;
    net.services(|place| {
        let _service = uring::start(Path::new(env!("CARGO_BIN_EXE_uring-http")), place, addr())?;
        let sensor = Sensor::start(&net, &[PORT], "")?;
        let mut client = Client::connect(place, addr())?;
        for k in 0..10 {
            assert_eq!(client.send(&get("/good", &good()))?.status, 200);
            let path = format!("/bad-{k}");
            assert_eq!(client.send(&get(&path, &forged()))?.status, 200);
            let event = alert(&sensor, &path, 200)?;
            assert_eq!(event["service"]["command"], "uring-http", "{event}");
        }
        sensor.settled(20)?;
        end(sensor)
    })
}

#[test]
fn big_bodies_both_ways() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let net = Place::new()?;
    net.services(|place| {
        // nginx, by sendfile.
        let _service = nginx::start(place, addr())?;
        let size = nginx::BIG_FILE;
        let sensor = Sensor::start(&net, &[PORT, PORT + 1], "")?;
        let mut client = Client::connect(place, addr())?;
        assert_eq!(client.send(&get("/files/big", &good()))?.body.len(), size);
        // Behind it the place in the stream is known to the byte: the next answer is this one's.
        assert_eq!(client.send(&get("/missing", &forged()))?.status, 404);
        alert(&sensor, "/missing", 404)?;
        let status = sensor.settled(2)?;
        assert_eq!(number(&status, "/pipeline/exchanges_incomplete"), 0);
        let budget = 1024;
        let left_out = number(&status, "/kernel/budget-bytes");
        assert_eq!(left_out, size as u64 - budget, "{status:#}");

        let _plain = plain::start(place, &[PORT + 1])?;
        let mut client = Client::connect(place, SocketAddr::from(([127, 0, 0, 1], PORT + 1)))?;
        let bearer = format!("Bearer {}", forged());
        let upload = request("POST", "/up", &[("Authorization", &bearer)], &vec![b'A'; size]);
        assert_eq!(client.send(&upload)?.body, format!("{size} bytes\n").into_bytes());
        let event = alert(&sensor, "/up", 200)?;
        assert_eq!(event["request"]["bytes"], upload.len(), "{event}");
        assert_eq!(client.send(&get("/after", &forged()))?.status, 200);
        alert(&sensor, "/after", 200)?;
        let status = sensor.settled(4)?;
        assert_eq!(number(&status, "/balance/requests"), 4, "{status:#}");
        let left_out = number(&status, "/kernel/budget-bytes") - left_out;
        assert_eq!(left_out, size as u64 - 8 * 1024, "{status:#}");
        assert_eq!(number(&status, "/pipeline/exchanges_incomplete"), 0);
        end(sensor)
    })
}

#[test]
fn long_heads_pipelines_and_single_bytes() -> Result<()> {
    nginx_scene(|net, place| {
        let sensor = Sensor::start(net, &[PORT], "")?;
        let mut client = Client::connect(place, addr())?;
        let mut fields = Vec::new();
        let padding = "p".repeat(2050);
        let names: Vec<String> = (0..30).map(|k| format!("X-Padding-{k}")).collect();
        fields.extend(names.iter().map(|name| (name.as_str(), padding.as_str())));
        let bearer = format!("Bearer {}", forged());
        fields.push(("Authorization", &bearer));
        let long = request("GET", "/long", &fields, b"");
        assert!(long.len() > 60 * 1024);
        assert_eq!(client.send(&long)?.status, 404);
        let event = alert(&sensor, "/long", 404)?;
        assert_eq!(event["request"]["bytes"], long.len(), "{event}");

        let pipelined: Vec<u8> =
            (0..10).flat_map(|k| get(&format!("/pipelined-{k}"), &forged())).collect();
        client.write(&pipelined)?;
        for k in 0..10 {
            assert_eq!(client.read_response()?.status, 404);
            alert(&sensor, &format!("/pipelined-{k}"), 404)?;
        }

        for byte in get("/single-bytes", &forged()) {
            client.write(&[byte])?;
        }
        assert_eq!(client.read_response()?.status, 404);
        alert(&sensor, "/single-bytes", 404)?;
        let status = sensor.settled(12)?;
        assert_eq!(number(&status, "/balance/requests"), 12, "{status:#}");
        assert_eq!(sensor.events()?.len(), 12);
        end(sensor)
    })
}

#[test]
fn chunks_continues_and_upgrades() -> Result<()> {
    plain_scene(|net, place| {
        let sensor = Sensor::start(net, &[PORT], "")?;
        let mut client = Client::connect(place, addr())?;
        let bearer = format!("Bearer {}", forged());
        let head = |path: &str, more: &str| {
            format!("POST {path} HTTP/1.1\r\nHost: h\r\nAuthorization: {bearer}\r\n{more}\r\n")
        };
        let mut chunked = head("/chunked", "Transfer-Encoding: chunked\r\n");
        // A chunk size that looks like a method to a hasty reader.
        chunked += &format!("5\r\nhello\r\nABCD\r\n{}\r\n0\r\nX-T: 1\r\n\r\n", "G".repeat(0xabcd));
        let answer = client.send(chunked.as_bytes())?;
        assert_eq!(answer.body, format!("{} bytes\n", 5 + 0xabcd).as_bytes());
        let event = alert(&sensor, "/chunked", 200)?;
        assert_eq!(event["request"]["bytes"], chunked.len(), "{event}");

        let head = head("/continue", "Expect: 100-continue\r\nContent-Length: 8\r\n");
        client.write(head.as_bytes())?;
        let mut interim = [0; 25];
        client.stream().read_exact(&mut interim)?;
        assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
        // A body that looks like the next request.
        client.write(b"GET / HT")?;
        assert_eq!(client.read_response()?.body, b"8 bytes\n");
        alert(&sensor, "/continue", 200)?;

        let upgrade = format!(
            "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Authorization: {bearer}\r\n\r\n"
        );
        let mut stream = net.connect(addr())?;
        stream.write_all(upgrade.as_bytes())?;
        let answer = read_until(&mut stream, b"\r\n\r\n")?;
        assert!(answer.starts_with(b"HTTP/1.1 101 "));
        alert(&sensor, "/ws", 101)?;
        flow_event(&sensor, stream.local_addr()?, "upgraded")?;
        for _ in 0..20 {
            stream.write_all(b"GET /frame HTTP/1.1\r\n\r\n")?;
            read_until(&mut stream, b"\r\n\r\n")?;
        }
        let status = sensor.settled(3)?;
        assert_eq!(number(&status, "/balance/requests"), 3, "{status:#}");
        assert_eq!(number(&status, "/pipeline/opaque_upgraded"), 1);
        flow_event(&sensor, stream.local_addr()?, "upgraded")?;
        end(sensor)
    })
}

#[test]
fn what_is_not_http() -> Result<()> {
    nginx_scene(|net, place| {
        let sensor = Sensor::start(net, &[PORT], "")?;
        let mut hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec();
        hello.resize(517, b'r');
        let mut client = net.connect(addr())?;
        client.write_all(&hello)?;
        flow_event(&sensor, client.local_addr()?, "tls")?;
        let mut h2 = net.connect(addr())?;
        h2.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")?;
        flow_event(&sensor, h2.local_addr()?, "http2")?;
        let mut binary = net.connect(addr())?;
        binary.write_all(b"\x00\x00\x00\x10binary")?;
        flow_event(&sensor, binary.local_addr()?, "not-http")?;
        drop((client, h2, binary));

        // Random bytes, the same in every run (xorshift64).
        let mut x = 0x9e37_79b9_7f4a_7c15_u64;
        let mut byte = || {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x as u8
        };
        for size in 1..60 {
            let bytes: Vec<u8> = (0..size * size).map(|_| byte()).collect();
            let mut stream = net.connect(addr())?;
            // nginx may have had enough before the end.
            let _ = stream.write_all(&bytes);
        }
        let mut client = Client::connect(place, addr())?;
        assert_eq!(client.send(&get("/unharmed", &forged()))?.status, 404);
        alert(&sensor, "/unharmed", 404)?;
        let status = sensor.wait_for_status("all flows but one to be over", |status| {
            status["pipeline"]["flows_open"] == 1
        })?;
        assert_eq!(number(&status, "/pipeline/opaque_tls"), 1, "{status:#}");
        assert_eq!(number(&status, "/pipeline/opaque_http2"), 1);
        assert!(number(&status, "/pipeline/opaque_not_http") > 1);
        assert!(number(&status, "/kernel/opaque-flows") > 3);
        assert_eq!(number(&status, "/balance/seen"), 1);
        end(sensor)
    })
}

/// Connects, sends bytes that the service's TCP refuses for their checksum, then a request.
const DECOY: &str = r#"
import socket, struct, sys, time
port, decoy, request = int(sys.argv[1]), bytes.fromhex(sys.argv[2]), bytes.fromhex(sys.argv[3])
home = socket.inet_aton("127.0.0.1")
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
client = socket.create_connection(("127.0.0.1", port))
own = client.getsockname()[1]
while True:
    packet = raw.recv(65536)
    tcp = packet[(packet[0] & 15) * 4:]
    source, target, seq, ack, flags = struct.unpack("!HHIIxB", tcp[:14])
    if (source, target, flags & 0x12) == (port, own, 0x12): break
def segment(sum):
    head = struct.pack("!HHIIBBHHH", own, port, ack, (seq + 1) & 0xffffffff, 0x50, 0x18, 512, sum, 0)
    return head + decoy + b"\0" * (len(decoy) & 1)
text = home + home + struct.pack("!HH", 6, 20 + len(decoy)) + segment(0)
sum = sum(struct.unpack("!%dH" % (len(text) // 2), text))
while sum >> 16: sum = (sum & 0xffff) + (sum >> 16)
raw.sendto(segment(~sum & 0xffff ^ 0x5555)[:20 + len(decoy)], ("127.0.0.1", 0))
time.sleep(0.1)
client.sendall(request)
print(client.recv(65536).split(b" ")[1].decode())
"#;

#[test]
fn bytes_that_tcp_refuses_hide_nothing() -> Result<()> {
    plain_scene(|net, _| {
        let sensor = Sensor::start(net, &[PORT], "")?;
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let mut decoys: Vec<Vec<u8>> = vec![
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            b"\x00\x00\x00\x10binary".to_vec(),
        ];
        for (i, decoy) in decoys.iter_mut().enumerate() {
            // The kernel checks short segments before the sensor sees them.
            decoy.resize(517, b'r');
            let path = format!("/behind-{i}");
            let output = net
                .outside("python3")
                .args(["-c", DECOY, &PORT.to_string(), &hex(decoy), &hex(&get(&path, &forged()))])
                .output()?;
            ensure!(output.stdout == b"200\n", "{output:?}");
            let event = sensor.wait_for(&path, |event| event["request"]["path"] == *path)?;
            assert!(findings(&event).contains(&"alg-none".to_owned()), "{event}");
            // Both were sent, and both are told of.
            assert!(findings(&event).contains(&"tcp-overlap-conflict".to_owned()), "{event}");
            assert_eq!(event["response"]["status"], 200, "{event}");
        }
        let status = sensor.settled(3)?;
        assert_eq!(number(&status, "/kernel/opaque-flows"), 0, "{status:#}");
        assert!(sensor.events()?.iter().all(|event| event["kind"] == "request"));
        end(sensor)
    })
}

/// A chunked upload of `size` bytes, and what follows it in the same turn.
fn upload(path: &str, size: usize, behind: &[u8]) -> Vec<u8> {
    let mut all = format!("POST {path} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..size / 8192 {
        all += &format!("2000\r\n{}\r\n", "u".repeat(8192));
    }
    [all.as_bytes(), b"0\r\n\r\n", behind].concat()
}

#[test]
fn a_request_behind_a_long_chunked_body_is_missed_aloud() -> Result<()> {
    plain_scene(|net, place| {
        let sensor = Sensor::start(net, &[PORT], "")?;
        // Usual uploads, one after the other, say nothing.
        let mut client = Client::connect(place, addr())?;
        for i in 0..3 {
            let answer = client.send(&upload(&format!("/usual-{i}"), 1 << 20, b""))?;
            assert_eq!(answer.body, format!("{} bytes\n", 1 << 20).as_bytes());
            assert_eq!(client.send(&get("/between", &good()))?.status, 200);
        }
        assert_eq!(client.send(&get("/last", &forged()))?.status, 200);
        alert(&sensor, "/last", 200)?;
        assert_eq!(sensor.events()?.len(), 1, "{:?}", sensor.events()?);

        let mut hiding = Client::connect(place, addr())?;
        hiding.write(&upload("/cover", 1 << 20, &get("/hidden", &forged())))?;
        for _ in 0..2 {
            assert_eq!(hiding.read_response()?.status, 200);
        }
        let client = hiding.stream().local_addr()?;
        let of = |event: &Value| event["client"]["port"] == client.port();
        let event = sensor.wait_for("what is said of it", of)?;
        assert_eq!(findings(&event), ["http-request-unseen"], "{event}");
        end(sensor)
    })
}

#[test]
fn ends_of_connections() -> Result<()> {
    plain_scene(|net, _| {
        let sensor = Sensor::start(net, &[PORT], "")?;
        let mut half = net.connect(addr())?;
        half.write_all(&get("/half-closed", &forged()))?;
        half.shutdown(Shutdown::Write)?;
        let mut answer = Vec::new();
        half.read_to_end(&mut answer)?;
        assert!(answer.ends_with(b"0 bytes\n"));
        alert(&sensor, "/half-closed", 200)?;

        // Reset behind the answer, and reset in the midst of an upload.
        for (path, length) in [("/reset", 0), ("/reset-early", 100_000)] {
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {}\r\nContent-Length: \
                 {length}\r\n\r\n",
                forged()
            );
            let mut stream = net.connect(addr())?;
            stream.write_all(head.as_bytes())?;
            if length == 0 {
                read_until(&mut stream, b"bytes\n")?;
            } else {
                // What TCP has not accepted when the reset comes is no request.
                let end = std::time::Instant::now() + sensor::DEADLINE;
                while sensor.status()?["pipeline"]["starts"]["begun"] != 3 {
                    ensure!(std::time::Instant::now() < end, "{:#}", sensor.status()?);
                }
            }
            rustix::net::sockopt::set_socket_linger(&stream, Some(std::time::Duration::ZERO))?;
            drop(stream);
        }
        alert(&sensor, "/reset", 200)?;
        let event = sensor
            .wait_for("the early reset", |event| event["request"]["path"] == "/reset-early")?;
        assert_eq!(event["response"], Value::Null, "{event}");
        sensor.wait_for_status("flows to end", |status| status["pipeline"]["flows_open"] == 0)?;
        sensor.settled(3)?;
        end(sensor)
    })
}

fn read_until(stream: &mut TcpStream, end: &[u8]) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    while !all.ends_with(end) {
        let n = stream.read(&mut buffer)?;
        ensure!(n > 0, "closed");
        all.extend_from_slice(buffer.get(..n).context("read more than there is room for")?);
    }
    Ok(all)
}
