//! The HTTP stage against parsers of services: the same bytes to each, and the same requests wanted.
//!
//! What a service serves and the sensor does not see is a way around it. So each request that Node,
//! nginx, http.server and h11 say they served has to be among those that the HTTP stage makes of the
//! same bytes and the service's answers, or the stage has to say that something is wrong with them.
//! What differs nevertheless stands with its reason in docs/http-conformance.md, and in no other case.
// The helpers stand outside of the test functions, where clippy does not see that they are tests.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a test that can't run shall fail"
)]

#[path = "differential/cases.rs"]
mod cases;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use jotwatch::{
    capture::Direction,
    finding::FindingId,
    http::{Chunk, Connection, Events, HttpEvent, Limits},
    time::Time,
};
use jotwatch_tests::services::{
    installed,
    parsers::{Parser, Served, served},
};

/// How long a service may take to answer and close; it does so at once where nothing is amiss.
const PATIENCE: Duration = Duration::from_secs(20);

/// Mutations of the variants that are sent to each service.
const MUTATIONS: usize = 500;
const SEED: u64 = 0x6a6f_7477;

/// A request as the HTTP stage makes it. Bytes are characters of Latin-1.
#[derive(Debug)]
struct Seen {
    method: String,
    target: String,
    authorization: Vec<String>,
    /// Bytes of the body, where all of it came.
    body: Option<u64>,
}

/// What the HTTP stage says of a connection.
#[derive(Debug, Default)]
struct Sensor {
    requests: Vec<Seen>,
    findings: BTreeSet<&'static str>,
}

fn text(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// White space as no parser tells it apart: continued lines are joined with one blank or several.
fn value(text: &str) -> String {
    text.split(['\r', '\n', ' ', '\t', '\0', '\x0b', '\x0c'])
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

fn sensor(client: &[u8], service: &[u8]) -> Sensor {
    let (limits, mut out) = (Limits::default(), Events::default());
    let mut connection = Connection::new(false);
    let mut push =
        |direction, chunk| connection.push(direction, Time::EPOCH, chunk, &limits, &mut out);
    let used = push(Direction::ToServer, Chunk::Data(client));
    push(Direction::ToClient, Chunk::Data(service));
    push(Direction::ToServer, Chunk::Last(client.get(used..).unwrap_or_default()));
    push(Direction::ToServer, Chunk::End { reset: false });
    push(Direction::ToClient, Chunk::End { reset: false });
    connection.finish(Time::EPOCH, &mut out);
    let mut sensor = Sensor::default();
    // Of no help to anybody who asks where a request ends.
    let means = |id: FindingId| id != FindingId::HttpMissingHost;
    for event in out.iter() {
        let findings = match event {
            HttpEvent::Request { request, .. } => {
                let fields = request.headers();
                let named = |name: &[u8]| name.eq_ignore_ascii_case(b"authorization");
                sensor.requests.push(Seen {
                    method: text(request.method()),
                    target: text(request.target()),
                    authorization: fields
                        .filter(|field| named(field.name))
                        .map(|field| value(&text(field.value)))
                        .collect(),
                    body: request.body.complete.then_some(request.body.bytes.len() as u64),
                });
                &request.findings
            }
            HttpEvent::Malformed { findings, .. } => findings,
            HttpEvent::Opaque { kind, .. } => {
                sensor.findings.insert(kind.as_str());
                continue;
            }
            _ => continue,
        };
        sensor.findings.extend(findings.iter().filter(|f| means(f.id)).map(|f| f.id.as_str()));
    }
    sensor
}

/// Sends a client's bytes and gives the port that they came from, and all that is answered.
/// No port comes twice: `ports` are those that there were.
fn send(addr: SocketAddr, bytes: &[u8], ports: &mut BTreeSet<u16>) -> (u16, Vec<u8>) {
    let mut taken = Vec::new();
    let (mut stream, port) = loop {
        let stream = TcpStream::connect(addr).unwrap();
        let port = stream.local_addr().unwrap().port();
        if ports.insert(port) {
            break (stream, port);
        }
        // Kept open, so that the next one is another.
        taken.push(stream);
    };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // A service that refuses the beginning may be gone before the end.
    let _refused = stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write));
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => answer.extend_from_slice(&buffer[..n]),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::ConnectionReset) => break,
            Err(error) => panic!("{addr} answers {:?} and then: {error}", text(&answer)),
        }
    }
    (port, answer)
}

/// How what a service served compares with what the sensor saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// The same requests.
    Same,
    /// The sensor saw more, and the service refused something, or the sensor says what is wrong.
    More,
    /// Something else, and the sensor says that something is wrong.
    Told,
    /// The sensor saw more, though nothing was refused.
    Invented,
    /// The service served what the sensor did not see, and the sensor says nothing.
    Unseen,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Same => "same",
            Self::More => "more",
            Self::Told => "told",
            Self::Invented => "invented",
            Self::Unseen => "unseen",
        })
    }
}

fn is_same(parser: Parser, served: &Served, seen: &Seen) -> bool {
    let target = match parser {
        // nginx's `$request_uri` leaves scheme and host out (RFC 9112, section 3.2.2).
        Parser::Nginx if seen.target.contains("://") => {
            let rest = seen.target.split_once("://").unwrap_or_default().1;
            rest.find('/').map_or_else(|| "/".to_owned(), |at| rest[at..].to_owned())
        }
        // http.server joins slashes at the front (CPython issue 87389).
        Parser::HttpServer if seen.target.starts_with("//") => {
            format!("/{}", seen.target.trim_start_matches('/'))
        }
        _ => seen.target.clone(),
    };
    let authorization =
        served.authorization.as_deref().map(value).filter(|value| !value.is_empty());
    served.method == seen.method
        && served.target == target
        && authorization.is_none_or(|value| seen.authorization.contains(&value))
        && served.body.is_none_or(|body| seen.body.is_none_or(|own| own == body))
}

fn compare(parser: Parser, served: &[Served], answer: &[u8], sensor: &Sensor) -> Verdict {
    let mut seen = sensor.requests.iter();
    let all = served.iter().all(|served| seen.any(|seen| is_same(parser, served, seen)));
    let refused = is_refused(answer);
    match (all, sensor.findings.is_empty()) {
        (true, _) if served.len() == sensor.requests.len() => Verdict::Same,
        (true, said_nothing) if refused || !said_nothing => Verdict::More,
        (true, _) => Verdict::Invented,
        (false, false) => Verdict::Told,
        (false, true) => Verdict::Unseen,
    }
}

/// Whether one of the answers is a refusal, or there is none at all.
fn is_refused(answer: &[u8]) -> bool {
    let text = text(answer);
    let statuses = text.match_indices("HTTP/1.").filter_map(|(at, _)| text.get(at + 9..at + 10));
    answer.is_empty()
        || text.contains("Error response")
        || statuses.into_iter().any(|first| matches!(first, "4" | "5"))
}

/// A difference that docs/http-conformance.md explains: the variant and the service.
fn explained() -> BTreeSet<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/http-conformance.md");
    let text = std::fs::read_to_string(path).unwrap();
    let section = text.split("## Services").nth(1).expect("a section about services");
    let mut explained = BTreeSet::new();
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [case, services, reason] = cells[..] else { panic!("no row: {row}") };
        assert!(section.contains(&format!("- **{reason}**")), "no reason {reason}");
        let all = Parser::ALL.map(Parser::name).join(", ");
        let services = if services == "any" { &all } else { services };
        for case in case.split(", ") {
            let case = case.trim_matches('`');
            explained.extend(services.split(", ").map(|service| (case.to_owned(), service.into())));
        }
    }
    explained
}

#[test]
fn what_services_serve_is_seen_or_said_to_be_ambiguous() {
    let explained = explained();
    let variants = cases::all();
    let names: BTreeSet<&str> = variants.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names.len(), variants.len(), "two variants of one name");
    for (case, service) in &explained {
        assert!(names.contains(&**case), "no variant {case}");
        assert!(Parser::ALL.iter().any(|parser| parser.name() == service), "no service {service}");
    }
    let mutations = cases::mutations(SEED, MUTATIONS);
    let mut unexplained = String::new();
    for parser in Parser::ALL {
        let Some(service) = installed(parser.start()) else { continue };
        let (mut sent, mut ports) = (Vec::new(), BTreeSet::new());
        for (name, bytes) in variants.iter().chain(&mutations) {
            let (port, answer) = send(service.addr(), bytes, &mut ports);
            sent.push((name, bytes, port, answer));
        }
        let mut by_port: BTreeMap<u16, Vec<Served>> = BTreeMap::new();
        for request in served(parser, &service).unwrap() {
            by_port.entry(request.port).or_default().push(request);
        }
        let mut counts: BTreeMap<Verdict, usize> = BTreeMap::new();
        for (name, bytes, port, answer) in sent {
            let none = Vec::new();
            let served = by_port.get(&port).unwrap_or(&none);
            let sensor = sensor(bytes, &answer);
            let verdict = compare(parser, served, &answer, &sensor);
            *counts.entry(verdict).or_default() += 1;
            let key = (name.clone(), parser.name().to_owned());
            // What a mutation comes to has no name: only what is missed counts there.
            let wrong = match names.contains(&**name) {
                true => verdict >= Verdict::Invented && !explained.contains(&key),
                false => verdict == Verdict::Unseen,
            };
            if wrong {
                unexplained += &format!(
                    "{name}, {}: {verdict}\n  sent {:?}\n  served {served:?}\n  seen {:?} {:?}\n  answer {:?}\n",
                    parser.name(),
                    text(bytes),
                    sensor.requests,
                    sensor.findings,
                    text(&answer).chars().take(300).collect::<String>(),
                );
            }
            if verdict == Verdict::Told && std::env::var_os("JOTWATCH_SHOW").is_some() {
                eprintln!("{name}, {}: told {:?}", parser.name(), sensor.findings);
            }
        }
        eprintln!("{}: {counts:?}", parser.name());
        assert!(counts.get(&Verdict::Same).is_some_and(|same| *same > 100), "nothing was compared");
    }
    assert!(unexplained.is_empty(), "{unexplained}");
}
