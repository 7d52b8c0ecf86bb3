use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read as _,
    net::TcpStream,
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use super::{Exposition, Family, Kind, Number, Server, Source, expose, families, samples::status};
use crate::config::Listen;

const DOCUMENT: &str = include_str!("../../../docs/metrics.md");
const DASHBOARD: &str = include_str!("../../../packaging/grafana/jotwatch.json");

/// Names of samples with their labels and values, as a strict reader has them.
type Read = BTreeMap<(String, Vec<(String, String)>), f64>;

fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_lowercase())
        && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// A label's value and what is behind it.
fn unquote(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    loop {
        match chars.next().expect("a label ends") {
            (at, '"') => return (value, &text[at + 1..]),
            (_, '\\') => value.push(match chars.next().unwrap().1 {
                'n' => '\n',
                c @ ('\\' | '"') => c,
                c => panic!("unknown escape {c}"),
            }),
            (_, '\n') => panic!("a line ends in a label"),
            (_, c) => value.push(c),
        }
    }
}

/// Reads after OpenMetrics 1.0, section "Text format": families whole and one after the other, each
/// sample once.
fn read(text: &str) -> Read {
    let body = text.strip_suffix("# EOF\n").expect("ends in EOF");
    let (mut found, mut families) = (Read::new(), BTreeSet::new());
    let (mut family, mut kind) = (String::new(), String::new());
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# ") {
            let mut words = rest.splitn(3, ' ');
            let (what, name, value) =
                (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
            match what {
                "TYPE" => {
                    assert!(families.insert(name.to_owned()), "{name} stands twice");
                    (family, kind) = (name.to_owned(), value.to_owned());
                    assert!(is_name(name), "{name}");
                }
                "UNIT" => assert!(name == family && name.ends_with(&format!("_{value}")), "{line}"),
                "HELP" => assert!(name == family && !value.contains(['\\', '"']), "{line}"),
                _ => panic!("{line}"),
            }
            continue;
        }
        let name = &line[..line.find(['{', ' ']).unwrap()];
        let suffix = name.strip_prefix(family.as_str()).expect("of this family");
        let fits = match kind.as_str() {
            "counter" => suffix == "_total",
            "gauge" => suffix.is_empty(),
            "info" => suffix == "_info",
            "histogram" => ["_bucket", "_count", "_sum"].contains(&suffix),
            _ => false,
        };
        assert!(fits, "{line}");
        let mut rest = &line[name.len()..];
        let mut labels = Vec::new();
        if let Some(mut inside) = rest.strip_prefix('{') {
            while !inside.starts_with('}') {
                inside = inside.strip_prefix(',').unwrap_or(inside);
                let (label, quoted) = inside.split_once("=\"").unwrap();
                assert!(is_name(label), "{line}");
                let (value, behind) = unquote(quoted);
                labels.push((label.to_owned(), value));
                inside = behind;
            }
            rest = &inside[1..];
        }
        let value: f64 = rest.strip_prefix(' ').unwrap().parse().unwrap();
        assert!(value >= 0.0 && value.is_finite());
        assert!(found.insert((name.to_owned(), labels), value).is_none(), "{line} stands twice");
    }
    found
}

#[test]
fn what_is_written_is_read_back() {
    let families = families(&status());
    let found = read(&expose(&families, Exposition::OpenMetrics));
    let mut due = 0;
    for family in &families {
        for sample in &family.samples {
            let labels: Vec<(String, String)> =
                sample.labels.iter().map(|(name, value)| ((*name).into(), value.clone())).collect();
            let get = |suffix: &str, labels: &[(String, String)]| {
                found[&(format!("{}{suffix}", family.name), labels.to_vec())]
            };
            match (&sample.value, family.kind) {
                (Number::Int(value), kind) => {
                    let suffix = match kind {
                        Kind::Counter => "_total",
                        Kind::Info => "_info",
                        _ => "",
                    };
                    assert!((get(suffix, &labels) - *value as f64).abs() < 0.5);
                    due += 1;
                }
                (Number::Histogram(histogram), _) => {
                    assert_eq!(get("_count", &labels) as u64, histogram.count());
                    let mut all = labels.clone();
                    all.push(("le".into(), "+Inf".into()));
                    assert_eq!(get("_bucket", &all) as u64, histogram.count());
                    due += histogram.counts.len() + 2;
                }
            }
        }
    }
    assert_eq!(found.len(), due);
    let label =
        found.keys().flat_map(|(_, labels)| labels).any(|(_, value)| value.contains("\"\\\n"));
    assert!(label, "a label that has to be escaped");
}

#[test]
fn the_older_form_has_the_same_samples() {
    let families = families(&status());
    let older = expose(&families, Exposition::Prometheus);
    let samples = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    };
    assert_eq!(samples(&older), samples(&expose(&families, Exposition::OpenMetrics)));
    assert!(older.contains("# TYPE jotwatch_requests_captured_total counter\n"));
    assert!(older.contains("# TYPE jotwatch_build_info gauge\n"));
    assert!(!older.contains("# UNIT") && !older.contains("# EOF"));
}

/// `| name | type | labels | meaning |`
fn rows() -> BTreeMap<String, (String, BTreeSet<String>, String)> {
    let rows = DOCUMENT.lines().filter(|line| line.starts_with("| `jotwatch_"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, labels, help] = cells[..] else { panic!("{row}") };
        let labels = labels.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        (name.trim_matches('`').to_owned(), (kind.to_owned(), labels, help.to_owned()))
    })
    .collect()
}

fn shown(family: &Family) -> String {
    let suffix = match family.kind {
        Kind::Counter => "_total",
        Kind::Info => "_info",
        Kind::Gauge | Kind::Histogram => "",
    };
    format!("{}{suffix}", family.name)
}

#[test]
fn the_document_has_every_metric_and_no_other() {
    let rows = rows();
    let families = families(&status());
    for family in &families {
        let name = shown(family);
        let labels: BTreeSet<String> =
            family.samples.iter().flat_map(|s| s.labels.iter().map(|l| l.0.to_owned())).collect();
        let due = (family.kind.as_str().to_owned(), labels, family.help.to_owned());
        assert_eq!(rows.get(&name), Some(&due), "{name}");
        assert!(!family.samples.is_empty(), "{name} is not in the sample");
    }
    assert_eq!(rows.len(), families.len());
}

#[test]
fn the_dashboard_asks_for_metrics_and_labels_that_exist() {
    let rows = rows();
    let board: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut queries: Vec<String> = Vec::new();
    for panel in board["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            queries.push(target["expr"].as_str().unwrap().to_owned());
            // What stands in legends is grouped by, or is a label.
            let legend = target["legendFormat"].as_str().unwrap();
            for label in legend.split("{{").skip(1).map(|part| part.split("}}").next().unwrap()) {
                let known = rows.iter().any(|(name, (_, labels, _))| {
                    queries.last().unwrap().contains(name.as_str()) && labels.contains(label)
                });
                assert!(known, "{label} in {legend}");
            }
        }
    }
    queries.push(board["templating"]["list"][1]["query"]["query"].as_str().unwrap().to_owned());
    let mut asked = BTreeSet::new();
    for query in &queries {
        let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for name in words.filter(|word| word.starts_with("jotwatch_")) {
            let base = name.strip_suffix("_bucket").unwrap_or(name);
            assert!(rows.contains_key(base), "{name} in {query}");
            assert_eq!(base != name, rows[base].0 == "histogram", "{name} in {query}");
            assert_eq!(
                query.contains("rate("),
                rows[base].0 != "gauge" && rows[base].0 != "info",
                "{query}"
            );
            asked.insert(base);
        }
    }
    assert!(asked.len() > 20);
}

fn scrape(mut stream: impl std::io::Read + std::io::Write, accept: &str) -> (String, String) {
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[test]
fn a_scrape_is_answered_by_the_daemon_and_one_that_hangs_holds_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    let source = Source::new().unwrap();
    let daemon = Arc::clone(&source);
    let stop = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&stop);
    let made = thread::spawn(move || {
        let mut made = 0;
        while !ended.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(5));
            if daemon.is_wanted() {
                daemon.answer(status());
                made += 1;
            }
        }
        made
    });
    let tcp = Server::start(&Listen::Tcp("127.0.0.1:0".parse().unwrap()), Arc::clone(&source));
    let path = dir.path().join("m.sock");
    let unix = Server::start(&Listen::Unix(path.clone()), source).unwrap();
    let tcp = tcp.unwrap();
    let Listen::Tcp(address) = *tcp.listen() else { panic!() };
    let (head, body) = scrape(TcpStream::connect(address).unwrap(), "text/plain");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("version=0.0.4"), "{head}");
    assert!(body.contains("\njotwatch_requests_captured_total 1000\n"), "{body}");
    let accept = "application/openmetrics-text; version=1.0.0";
    let (head, body) = scrape(UnixStream::connect(&path).unwrap(), accept);
    assert!(head.contains("application/openmetrics-text; version=1.0.0"), "{head}");
    read(&body);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o660);
    // One that says nothing is hung up on, and the next gets its turn.
    let mut silent = TcpStream::connect(address).unwrap();
    let (head, _) = scrape(TcpStream::connect(address).unwrap(), "*/*");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(silent.read(&mut [0; 8]).unwrap_or(0), 0);
    stop.store(true, Ordering::Relaxed);
    assert!(made.join().unwrap() <= 3, "one status a second");
    drop((tcp, unix));
    assert!(!path.exists() && TcpStream::connect(address).is_err());
}

#[test]
fn a_daemon_that_does_not_answer_is_told_of() {
    let source = Source::new().unwrap();
    assert!(source.ask().is_none());
    assert!(source.is_wanted());
}
