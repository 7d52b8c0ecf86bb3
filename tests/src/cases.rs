//! The capture cases: scripts that make `tests/cases/NAME/input.pcap`.
//!
//! `cargo run -p jotwatch-tests --bin make-cases` writes them all; the same script always makes
//! the same bytes.

mod behaviour;
mod clients;
mod ends;
mod http;
mod keys;
mod tcp;
mod tokens;

use std::path::{Path, PathBuf};

use crate::capture::{Capture, Connection, Link};

/// A capture case.
#[derive(Clone, Copy)]
pub struct Case {
    /// Its folder under `tests/cases`.
    pub name: &'static str,
    /// What it shows, in one line.
    pub about: &'static str,
    /// Its configuration file, if it needs one.
    pub config: Option<&'static str>,
    /// Makes its capture file.
    pub input: fn() -> Vec<u8>,
}

/// All cases, in the order of the table.
#[must_use]
pub fn all() -> Vec<Case> {
    let all = [
        tcp::CASES,
        http::CASES,
        tokens::CASES,
        ends::CASES,
        clients::CASES,
        keys::CASES,
        behaviour::CASES,
    ];
    all.concat()
}

/// A file that the configuration of a case names: the case, the file's name, its content.
type File = (&'static str, &'static str, fn() -> Vec<u8>);

/// The files that the configuration of a case names: name and content.
pub fn files(case: &str) -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    let all = [ends::FILES, clients::FILES, behaviour::FILES];
    let own = all.into_iter().flatten().filter(move |(name, ..)| *name == case);
    own.map(|&(_, file, content)| (file, content()))
}

/// The folder of the cases.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases")
}

/// The text of `tests/cases/README.md`.
#[must_use]
pub fn readme() -> String {
    let mut out = String::from(
        "# Capture cases\n\n\
        Each folder holds `input.pcap` (pcap or pcapng), the events that `jotwatch replay` prints for\n\
        it in `expected.jsonl`, the requests that `--exchanges` prints in `expected-exchanges.jsonl`,\n\
        and `expected-stderr.txt` where it says something there. `config.toml` is used if there is one.\n\
        A case whose name begins with `benign` is the twin of an attack: no event may come of it.\n\n\
        The captures and this page are made by `cargo run -p jotwatch-tests --bin make-cases` from the\n\
        scripts in `tests/src/cases/`. `JOTWATCH_BLESS=1 cargo test -p jotwatch-tests --test cases`\n\
        writes the expected files anew: read the difference before you commit it.\n\n\
        | case | what it shows |\n|---|---|\n",
    );
    for case in all() {
        out.push_str(&format!("| {} | {} |\n", case.name, case.about));
    }
    out
}

const CLIENT: &str = "192.0.2.10:40001";
const SERVER: &str = "198.51.100.20:8080";

/// An Ethernet capture with one open connection, and what a script does with them.
fn script(run: fn(&mut Capture, &mut Connection)) -> Vec<u8> {
    on_link(Link::Ethernet, run)
}

fn on_link(link: Link, run: fn(&mut Capture, &mut Connection)) -> Vec<u8> {
    let mut capture = Capture::pcap(link);
    let mut connection = Connection::new(CLIENT, SERVER);
    capture.handshake(&mut connection);
    run(&mut capture, &mut connection);
    capture.into_bytes()
}

/// A GET with a Bearer token.
fn get(path: &str, token: &str) -> String {
    with_headers(path, &format!("Authorization: Bearer {token}\r\n"))
}

/// A GET with further header lines.
fn with_headers(path: &str, lines: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: api.example\r\nAccept: application/json\r\n{lines}\r\n")
}

/// A POST with a body of a type.
fn post(path: &str, kind: &str, body: &str) -> String {
    let len = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: api.example\r\nContent-Type: {kind}\r\n\
        Content-Length: {len}\r\n\r\n{body}"
    )
}

/// A `200 OK` with a JSON body.
fn ok(body: &str) -> String {
    status("200 OK", body)
}

fn status(line: &str, body: &str) -> String {
    let len = body.len();
    format!(
        "HTTP/1.1 {line}\r\nServer: nginx\r\nContent-Type: application/json\r\n\
        Content-Length: {len}\r\n\r\n{body}"
    )
}
