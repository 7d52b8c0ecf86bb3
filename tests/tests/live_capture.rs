//! Live capture against the kernel: what comes out of the ring is what went over the wire.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use jotwatch::capture::{
    Direction, FlowKey, Input, OpaqueKind,
    live::{self, Capture, Config, Counter},
};
use jotwatch_tests::net::{Place, privileged};

const PORT: u16 = 8080;

/// What was seen of one direction: ranges of sequence numbers, relative to the first, and bytes.
#[derive(Default, Debug)]
struct Stream {
    base: Option<u32>,
    bytes: Vec<u8>,
    /// What the first record that stands for a byte says of it: copied, or left out.
    told: Vec<Option<bool>>,
    /// Bytes that the listener saw: sent by another processor than the end of the handshake, they
    /// may overtake it.
    early: usize,
    fin: bool,
}

impl Stream {
    fn add(&mut self, seq: u32, len: u32, payload: &[u8]) {
        let base = *self.base.get_or_insert(seq);
        let at = seq.wrapping_sub(base) as usize;
        let end = at + len as usize;
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
            self.told.resize(end, None);
        }
        self.bytes[at..at + payload.len()].copy_from_slice(payload);
        for (i, told) in self.told[at..end].iter_mut().enumerate() {
            told.get_or_insert(i < payload.len());
        }
    }

    fn copied_bytes(&self) -> usize {
        self.told.iter().filter(|told| **told == Some(true)).count()
    }

    /// Bytes that were left out when they first passed.
    fn hole_bytes(&self) -> usize {
        self.told.iter().filter(|told| **told == Some(false)).count()
    }
}

#[derive(Default, Debug)]
struct Seen {
    streams: BTreeMap<(FlowKey, Direction), Stream>,
    opened: Vec<(FlowKey, u64, u32)>,
    closed: Vec<FlowKey>,
    opaque: Vec<(FlowKey, OpaqueKind)>,
    services: Vec<(FlowKey, jotwatch::capture::Service)>,
    records: usize,
}

impl Seen {
    fn take(&mut self, input: Input<'_>) {
        self.records += 1;
        match input {
            Input::Segment(s) => {
                assert!(!s.flags.syn, "a handshake is told as such");
                if s.len == 0 && !s.flags.fin {
                    return;
                }
                let stream = self.streams.entry((s.flow, s.direction)).or_default();
                if s.cookie == 0 {
                    stream.early += s.payload.len();
                }
                if s.len > 0 {
                    stream.add(s.seq, s.len, s.payload);
                }
                stream.fin |= s.flags.fin;
            }
            Input::Opened { flow, cookie, rcv_nxt, .. } => {
                self.opened.push((flow, cookie, rcv_nxt));
            }
            Input::Closed { flow, .. } => self.closed.push(flow),
            Input::Opaque { flow, kind, .. } => self.opaque.push((flow, kind)),
            Input::Service { flow, service } => self.services.push((flow, (*service).clone())),
        }
    }

    fn of(&self, client: SocketAddr, direction: Direction) -> Result<&Stream> {
        self.streams
            .iter()
            .find(|((f, d), _)| f.client == client && *d == direction)
            .map(|(_, s)| s)
            .with_context(|| format!("nothing of {client} {direction:?}"))
    }
}

fn config(place: &Place) -> Config {
    Config { ports: vec![PORT], cgroup: Some(place.cgroup().to_owned()), ..Config::default() }
}

fn start(config: &Config) -> Result<Capture> {
    // Another build of the programs can be tried with the same tests.
    match std::env::var_os("JOTWATCH_BPF_OBJECT") {
        Some(path) => Ok(Capture::start_with(config, &std::fs::read(path)?)?),
        None => Ok(Capture::start(config)?),
    }
}

/// Reads until nothing has come for a while.
fn drain(capture: &mut Capture, seen: &mut Seen) -> Result<()> {
    let mut quiet = Instant::now();
    while quiet.elapsed() < Duration::from_millis(150) {
        capture.poll(Duration::from_millis(20), [])?;
        if capture.read(|i| seen.take(i)) > 0 {
            quiet = Instant::now();
        }
    }
    Ok(())
}

/// A service in the place: a thread of this process would not be in the cgroup, so it is a small
/// Python server that reads requests with bodies and answers with as many bytes as the path says.
const SERVER: &str = r#"
import socket, socketserver, sys
class H(socketserver.StreamRequestHandler):
    def handle(self):
        while True:
            line = self.rfile.readline()
            if len(line.split()) != 3: return
            size = 0; head = [line]
            while True:
                h = self.rfile.readline()
                if not h: return
                if h == b"\r\n": break
                if h.lower().startswith(b"content-length:"): size = int(h.split(b":")[1])
            while size:
                got = self.rfile.read(min(size, 1 << 20))
                if not got: return
                size -= len(got)
            n = int(line.split()[1][1:] or b"0")
            body = b"b" * n
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % n + body)
class S(socketserver.ThreadingTCPServer):
    allow_reuse_address = True; daemon_threads = True; request_queue_size = 128
    address_family = socket.AF_INET6
    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()
S(("::", int(sys.argv[1])), H).serve_forever()
"#;

fn ask(stream: &mut TcpStream, request: &[u8]) -> Result<Vec<u8>> {
    stream.write_all(request)?;
    answer(stream)
}

fn answer(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut buffer = [0; 65536];
    loop {
        let n = stream.read(&mut buffer)?;
        ensure!(n > 0, "the service closed");
        all.extend_from_slice(&buffer[..n]);
        if let Some(end) = all.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&all[..end]);
            let size: usize = head
                .lines()
                .find_map(|l| l.strip_prefix("Content-Length: "))
                .context("no length")?
                .parse()?;
            if all.len() >= end + 4 + size {
                return Ok(all);
            }
        }
    }
}

/// What passed was copied, or is counted by why it was not.
fn assert_every_byte_is_counted(counters: &live::Counters) {
    let causes = [
        Counter::CapturedBytes,
        Counter::RingFullBytes,
        Counter::BudgetBytes,
        Counter::PressureBytes,
        Counter::ResentBytes,
        Counter::OpaqueBytes,
    ];
    let sum: u64 = causes.iter().map(|cause| counters.get(*cause)).sum();
    assert_eq!(counters.get(Counter::PayloadBytes), sum, "{counters:?}");
}

fn python(place: &Place) -> Result<jotwatch_tests::net::Service> {
    let service = place.service("python3", &["-c", SERVER, &PORT.to_string()])?;
    place.wait_for_port(PORT)?;
    Ok(service)
}

#[test]
fn bytes_come_out_as_they_went_in() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let place = Place::new()?;
    let _service = python(&place)?;
    // Open before the start.
    let mut early = place.inside(|| Ok(TcpStream::connect(("127.0.0.1", PORT))?))?;
    ask(&mut early, b"GET /3 HTTP/1.1\r\nHost: before\r\n\r\n")?;

    let mut capture = start(&config(&place))?;
    assert!(capture.reports_states());
    let mut seen = Seen::default();

    let early_request = b"GET /5 HTTP/1.1\r\nHost: early\r\n\r\n";
    let early_answer = ask(&mut early, early_request)?;

    let (mut v4, mut v6) = place.inside(|| {
        Ok((TcpStream::connect(("127.0.0.1", PORT))?, TcpStream::connect(("::1", PORT))?))
    })?;
    let mut sent = BTreeMap::<SocketAddr, (Vec<u8>, Vec<u8>)>::new();
    for (stream, name) in [(&mut v4, "four"), (&mut v6, "six")] {
        let (requests, answers) = sent.entry(stream.local_addr()?).or_default();
        for i in 0..20 {
            let request = format!("GET /{} HTTP/1.1\r\nHost: {name}{i}\r\n\r\n", i * 40);
            answers.extend(ask(stream, request.as_bytes())?);
            requests.extend(request.into_bytes());
        }
    }
    let (c4, c6, ce) = (v4.local_addr()?, v6.local_addr()?, early.local_addr()?);
    drop((v4, v6));
    drain(&mut capture, &mut seen)?;

    assert_eq!(seen.of(ce, Direction::ToServer)?.bytes, early_request);
    assert_eq!(seen.of(ce, Direction::ToClient)?.bytes, early_answer);
    for (client, (requests, answers)) in &sent {
        let stream = seen.of(*client, Direction::ToServer)?;
        assert_eq!(stream.bytes, *requests);
        assert_eq!(stream.hole_bytes(), 0);
        assert!(stream.fin);
        let stream = seen.of(*client, Direction::ToClient)?;
        assert_eq!(stream.bytes, *answers);
        assert_eq!(stream.hole_bytes(), 0);
    }
    for client in [c4, c6] {
        assert!(seen.closed.iter().any(|f| f.client == client), "{client} not closed");
    }
    let id = live::cgroup_id(place.cgroup())?;
    assert!(seen.streams.keys().all(|(f, _)| f.scope == id && f.server.port() == PORT));
    for client in [c4, c6] {
        let opened: Vec<_> = seen.opened.iter().filter(|(f, ..)| f.client == client).collect();
        // At the end of the handshake, and with the first byte.
        assert!(matches!(opened[..], [(_, 0, a), (_, 1.., b)] if a == b), "{opened:?}");
    }
    let (_, service) =
        seen.services.iter().find(|(f, _)| f.client == c4).context("no service told")?;
    assert_eq!(service.command.as_deref(), Some("python3"));
    assert_eq!(service.listen, Some("[::]:8080".parse()?));
    assert!(service.cgroup.as_ref().is_some_and(|c| c.contains("jotwatch-test-")));
    let counters = capture.counters()?;
    assert_eq!(counters.get(Counter::Requests), 41);
    assert_eq!(counters.get(Counter::RequestsLost), 0);
    assert_eq!(counters.get(Counter::RingFullRecords), 0);
    assert_eq!(counters.get(Counter::ParseFailures), 0);
    assert_eq!(counters.malformed, 0);
    Ok(())
}

#[test]
fn heads_come_whole_and_bodies_within_budget() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let place = Place::new()?;
    let _service = python(&place)?;
    let mut capture = start(&config(&place))?;
    let mut seen = Seen::default();
    let mut stream = place.inside(|| Ok(TcpStream::connect(("127.0.0.1", PORT))?))?;
    let client = stream.local_addr()?;
    let mut sent: Vec<u8> = Vec::new();

    // A head of just under 64 KiB, its last header at the very end.
    let mut request = b"GET /1 HTTP/1.1\r\nHost: long\r\n".to_vec();
    while request.len() < 64_000 {
        request.extend(format!("X-{}: {}\r\n", request.len(), "v".repeat(900)).into_bytes());
    }
    request.extend(b"Authorization: Bearer last\r\n\r\n");
    ask(&mut stream, &request)?;
    sent.extend(&request);

    // A large upload: the head whole, 8 KiB of body, then a hole of known length.
    let body = 5_000_000;
    let head = format!("POST /2 HTTP/1.1\r\nHost: up\r\nContent-Length: {body}\r\n\r\n");
    let at = sent.len();
    let mut request = head.clone().into_bytes();
    request.resize(head.len() + body, b'u');
    ask(&mut stream, &request)?;
    sent.extend(&request);

    // A large download, and a request behind it.
    let before_download = b"GET /3000000 HTTP/1.1\r\nHost: down\r\n\r\n";
    let download = ask(&mut stream, before_download)?;
    sent.extend(before_download);
    let last = b"GET /7 HTTP/1.1\r\nHost: last\r\n\r\n";
    ask(&mut stream, last)?;
    sent.extend(last);
    drain(&mut capture, &mut seen)?;

    let up = seen.of(client, Direction::ToServer)?;
    assert_eq!(up.bytes.len(), sent.len());
    let budget = Config::default().request_body_budget as usize;
    assert_eq!(up.bytes[..at + head.len() + budget], sent[..at + head.len() + budget]);
    assert_eq!(up.bytes[at + request.len()..], sent[at + request.len()..]);
    assert_eq!(up.hole_bytes(), body - budget);
    let down = seen.of(client, Direction::ToClient)?;
    assert!(down.hole_bytes() >= 3_000_000 - 100_000, "{}", down.hole_bytes());
    assert!(down.bytes.ends_with(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nbbbbbbb"));
    assert!(down.bytes.len() > download.len());
    let counters = capture.counters()?;
    assert_eq!(counters.get(Counter::Requests), 4);
    assert_eq!(counters.get(Counter::BudgetBytes) as usize, up.hole_bytes() + down.hole_bytes());
    assert_every_byte_is_counted(&counters);
    // A bulk transfer does not cost a record for every skipped segment.
    assert!(seen.records < 400, "{} records", seen.records);
    Ok(())
}

/// A classic BPF filter on a socket: of its segments of over 1000 bytes it drops one in eight at
/// random, behind the hook. The peer's TCP sends them again.
const LOSSY: &str = r#"
import ctypes, socket, struct
def lossy(s):
    ops = [(0x80, 0, 0, 0), (0x25, 0, 3, 1000), (0x20, 0, 0, 0xfffff000 + 56), (0x54, 0, 0, 7),
           (0x15, 1, 0, 0), (0x06, 0, 0, 0xffffffff), (0x06, 0, 0, 0)]
    code = b"".join(struct.pack("HBBI", *op) for op in ops)
    buffer = ctypes.create_string_buffer(code)
    s.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HxxxxxxP", len(ops), ctypes.addressof(buffer)))
"#;

/// Segments that the network stack of the place sent again so far.
fn sent_again(place: &Place) -> Result<u64> {
    let text = place.inside(|| Ok(std::fs::read_to_string("/proc/thread-self/net/snmp")?))?;
    let mut tcp = text.lines().filter(|line| line.starts_with("Tcp:"));
    let (names, values) = (tcp.next().context("names")?, tcp.next().context("values")?);
    let at = names.split(' ').position(|name| name == "RetransSegs").context("no RetransSegs")?;
    Ok(values.split(' ').nth(at).context("no value")?.parse()?)
}

#[test]
fn bytes_that_tcp_sends_again_are_counted_apart() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let place = Place::new()?;
    // Both ends lose what arrives: uploads and downloads are sent again.
    let server = format!("{LOSSY}{SERVER}")
        .replace("    def handle(self):\n", "    def handle(self):\n        lossy(self.request)\n");
    let _service = place.service("python3", &["-c", &server, &PORT.to_string()])?;
    place.wait_for_port(PORT)?;
    let mut capture = start(&config(&place))?;
    let client = format!(
        "{LOSSY}\nc = socket.create_connection(('127.0.0.1', {PORT})); lossy(c)\n\
         c.sendall(b'POST /3000000 HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 5000000\\r\\n\\r\\n')\n\
         c.sendall(b'u' * 5000000)\nleft = 3000000\n\
         while left > 0:\n    got = c.recv(65536)\n    assert got\n    left -= len(got)\n"
    );
    let before = sent_again(&place)?;
    ensure!(
        place.outside("python3").args(["-c", &client]).status()?.success(),
        "the client failed"
    );
    let again = sent_again(&place)? - before;
    ensure!(again >= 10, "only {again} segments were sent again");
    let mut seen = Seen::default();
    drain(&mut capture, &mut seen)?;
    let holes: usize = seen.streams.values().map(Stream::hole_bytes).sum();
    let counters = capture.counters()?;
    assert_eq!(counters.get(Counter::BudgetBytes) as usize, holes, "{again} sent again");
    assert!(counters.get(Counter::ResentBytes) > 0);
    assert_every_byte_is_counted(&counters);
    Ok(())
}

/// Sends 3000 SYNs, each from another address and port; nobody answers what comes back.
const FLOOD: &str = r#"
import socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
def total(b): return sum(struct.unpack("!%dH" % (len(b) // 2), b))
for i in range(3000):
    source = bytes([127, 1, i >> 8, i & 255])
    s2 = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
    s2.bind((socket.inet_ntoa(source), 0))
    tcp = struct.pack("!HHIIBBHHH", 1024 + i, int(sys.argv[1]), i, 0, 0x50, 2, 65535, 0, 0)
    n = total(source + bytes([127, 0, 0, 1, 0, 6, 0, 20]) + tcp)
    n = (n & 0xffff) + (n >> 16); n = ~((n & 0xffff) + (n >> 16)) & 0xffff
    s2.sendto(tcp[:16] + struct.pack("!H", n) + tcp[18:], ("127.0.0.1", 0))
    s2.close()
"#;

#[test]
fn a_flood_of_syns_leaves_no_trace() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let place = Place::new()?;
    let _service = python(&place)?;
    let mut capture = start(&config(&place))?;
    let mut seen = Seen::default();
    let flood = place.outside("python3").args(["-c", FLOOD, &PORT.to_string()]).status()?;
    ensure!(flood.success(), "the flood failed");
    drain(&mut capture, &mut seen)?;
    assert_eq!(seen.records, 0, "{:?}", seen.opened);
    // They did arrive.
    assert!(capture.counters()?.get(Counter::ListenerSegments) >= 3000);
    let mut stream = place.inside(|| Ok(TcpStream::connect(("127.0.0.1", PORT))?))?;
    ask(&mut stream, b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")?;
    let client = stream.local_addr()?;
    drop(stream);
    // One that never carries a byte is told of, too: when it opens, and when it ends.
    let unused = place.inside(|| Ok(TcpStream::connect(("127.0.0.1", PORT))?))?;
    let idle = unused.local_addr()?;
    drop(unused);
    drain(&mut capture, &mut seen)?;
    for client in [client, idle] {
        assert!(seen.opened.iter().any(|(f, ..)| f.client == client), "{client} not opened");
        assert!(seen.closed.iter().any(|f| f.client == client), "{client} not closed");
    }
    Ok(())
}

#[test]
fn foreign_protocols_are_said_once_and_not_copied() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let place = Place::new()?;
    let _service = python(&place)?;
    let mut capture = start(&config(&place))?;
    let mut seen = Seen::default();
    let mut clients = Vec::new();
    for (bytes, kind) in [
        (&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03hello"[..], OpaqueKind::Tls),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", OpaqueKind::Http2),
        (b"\x00\x00\x00\x10binary", OpaqueKind::NotHttp),
    ] {
        let mut stream = place.inside(|| Ok(TcpStream::connect(("127.0.0.1", PORT))?))?;
        stream.write_all(bytes)?;
        let client = stream.local_addr()?;
        // It is said when TCP has taken the first bytes, which the acknowledgement tells.
        let end = Instant::now() + Duration::from_secs(5);
        while !seen.opaque.iter().any(|(f, _)| f.client == client) && Instant::now() < end {
            capture.poll(Duration::from_millis(20), [])?;
            capture.read(|i| seen.take(i));
        }
        // The service may have had enough before the end.
        let _ = stream.write_all(&[b'x'; 100_000]);
        clients.push((client, kind, bytes));
    }
    drain(&mut capture, &mut seen)?;
    for (client, kind, bytes) in clients {
        let said: Vec<_> = seen.opaque.iter().filter(|(f, _)| f.client == client).collect();
        assert!(matches!(said[..], [(_, k)] if *k == kind), "{client} {said:?}");
        let copied = |direction| {
            let of = |(f, d): &(FlowKey, Direction)| f.client == client && *d == direction;
            let stream = seen.streams.iter().find(|(key, _)| of(key)).map(|(_, stream)| stream);
            // The listener's segments are copied as well: its TCP may yet refuse them. So it does
            // with those that come when the service has closed.
            stream.map_or(0, |stream| stream.copied_bytes().saturating_sub(stream.early))
        };
        // What passes before TCP has taken the first bytes is copied: it may yet refuse them.
        let taken = copied(Direction::ToServer);
        assert!([0, bytes.len()].contains(&taken), "{kind:?} {taken}");
        assert_eq!(copied(Direction::ToClient), 0, "{kind:?}");
    }
    let counters = capture.counters()?;
    assert_eq!(counters.get(Counter::OpaqueFlows), 3);
    assert_every_byte_is_counted(&counters);
    Ok(())
}

#[test]
fn a_flow_that_the_daemon_stops_is_not_copied_any_more() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let place = Place::new()?;
    let _service = python(&place)?;
    let mut capture = start(&config(&place))?;
    let mut seen = Seen::default();
    let mut stream = place.inside(|| Ok(TcpStream::connect(("127.0.0.1", PORT))?))?;
    let request = b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n";
    ask(&mut stream, request)?;
    let mut cookie = 0;
    let end = Instant::now() + Duration::from_secs(5);
    while cookie == 0 && Instant::now() < end {
        capture.poll(Duration::from_millis(20), [])?;
        capture.read(|i| {
            if let Input::Segment(s) = &i {
                cookie = cookie.max(s.cookie);
            }
            seen.take(i);
        });
    }
    capture.stop_flow(cookie)?;
    for _ in 0..3 {
        ask(&mut stream, request)?;
    }
    drain(&mut capture, &mut seen)?;
    let client = stream.local_addr()?;
    assert_eq!(seen.of(client, Direction::ToServer)?.bytes, request);
    assert!(capture.counters()?.get(Counter::OpaqueBytes) > 0);
    Ok(())
}

#[test]
fn requests_in_are_those_seen_and_those_lost() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let place = Place::new()?;
    let _service = python(&place)?;
    // The smallest ring, and nobody reads.
    let mut capture = start(&Config { ring_bytes: 1 << 16, ..config(&place) })?;
    let mut stream = place.inside(|| Ok(TcpStream::connect(("127.0.0.1", PORT))?))?;
    let total = 1000;
    for i in 0..total {
        ask(&mut stream, format!("GET /20 HTTP/1.1\r\nHost: h{i}\r\n\r\n").as_bytes())?;
    }
    let mut heads = 0;
    let mut count = |i: Input<'_>| {
        if let Input::Segment(s) = i {
            heads += u64::from(s.payload.starts_with(b"GET "));
        }
    };
    while capture.read(&mut count) > 0 {}
    let counters = capture.counters()?;
    assert_eq!(counters.get(Counter::Requests), total);
    assert!(counters.get(Counter::RequestsLost) > 0);
    assert_eq!(heads + counters.get(Counter::RequestsLost), total);
    assert_every_byte_is_counted(&counters);
    assert!(counters.get(Counter::RingFullBytes) > 0);
    Ok(())
}

#[test]
fn other_addresses_are_left_alone() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let place = Place::new()?;
    let _service = python(&place)?;
    let mut capture = start(&Config {
        addresses: vec!["127.0.0.0/30".parse()?, "::1/128".parse()?],
        ..config(&place)
    })?;
    let mut seen = Seen::default();
    for to in ["127.0.0.1", "127.0.0.9", "::1"] {
        let mut stream = place.inside(|| Ok(TcpStream::connect((to, PORT))?))?;
        ask(&mut stream, b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")?;
    }
    drain(&mut capture, &mut seen)?;
    let mut servers: Vec<_> = seen.streams.keys().map(|(f, _)| f.server.ip().to_string()).collect();
    servers.sort();
    servers.dedup();
    assert_eq!(servers, ["127.0.0.1", "::1"]);
    assert!(capture.counters()?.get(Counter::FilteredAddress) > 0);
    Ok(())
}

#[test]
fn errors_are_one_line() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    for config in [
        Config::default(),
        Config { ports: vec![1], cgroup: Some("no/such/group".into()), ..Config::default() },
    ] {
        let error = Capture::start(&config).err().context("started")?.to_string();
        assert!(!error.contains('\n') && !error.is_empty(), "{error}");
    }
    Ok(())
}
