//! The public payload sets as labelled requests, with their traps taken out.

use std::{collections::HashSet, fs::File, io::Read, path::Path};

use anyhow::{Context, Result};
use flate2::read::GzDecoder;
use jotwatch_models::payload::{Class, Form, Place, Value, decode::decode};
use serde_json::Value as Json;

use super::fragment::{is_fragment, is_harmless_markup};

/// Where a row is from. A source is held out whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Source {
    HttpParams,
    Torpeda,
    Atrdf,
    AllTheThings,
    FuzzDb,
    PayloadBox,
    ServerLog,
    Prose,
    /// The seeded generator.
    Generated,
}

impl Source {
    /// Those that are held out in turn.
    pub(crate) const PUBLIC: [Self; 8] = [
        Self::HttpParams,
        Self::Torpeda,
        Self::Atrdf,
        Self::AllTheThings,
        Self::FuzzDb,
        Self::PayloadBox,
        Self::ServerLog,
        Self::Prose,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::HttpParams => "httpparams",
            Self::Torpeda => "torpeda",
            Self::Atrdf => "atrdf-1",
            Self::AllTheThings => "PayloadsAllTheThings",
            Self::FuzzDb => "fuzzdb",
            Self::PayloadBox => "payloadbox",
            Self::ServerLog => "server-log",
            Self::Prose => "prose",
            Self::Generated => "generated",
        }
    }
}

/// What a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Label {
    Benign,
    Attack(Class),
    /// In a list of attacks, but none on its own: a bare word or number, as `link` or `findstr`.
    /// Never trained on; told apart in the figures.
    Fragment,
    /// An address to redirect to that any link could be: `http://www.google.com`.
    Redirect,
    /// In a list of attacks, but markup as any page has it, in which nothing loads or runs. Never
    /// trained on; told apart in the figures.
    Harmless,
}

#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) place: Place,
    pub(crate) form: Form,
    pub(crate) bytes: Vec<u8>,
}

/// One labelled request, or what of one is known.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) source: Source,
    pub(crate) label: Label,
    pub(crate) parts: Vec<Part>,
    /// The normalised payload, by which sets overlap.
    pub(crate) key: String,
}

impl Sample {
    pub(crate) fn new(source: Source, label: Label, parts: Vec<Part>) -> Self {
        let key = parts.iter().map(|p| normalise(&p.bytes)).collect::<Vec<_>>().join("\n");
        Self { source, label, parts, key }
    }

    pub(crate) fn text(source: Source, label: Label, text: &str) -> Self {
        // A list's line is a value as it stands in a query, before its encoding.
        Self::new(source, label, vec![part(Place::Query, Form::Text, text)])
    }

    pub(crate) fn values(&self) -> Vec<Value<'_>> {
        self.parts.iter().map(|p| Value { place: p.place, form: p.form, bytes: &p.bytes }).collect()
    }
}

pub(crate) fn part(place: Place, form: Form, text: &str) -> Part {
    Part { place, form, bytes: text.as_bytes().to_vec() }
}

/// Decoded, lower case, runs of digits as one 0, runs of white space as one blank.
pub(crate) fn normalise(bytes: &[u8]) -> String {
    let (mut out, mut spare) = (Vec::new(), Vec::new());
    decode(bytes, true, &mut out, &mut spare);
    let mut key = String::new();
    for c in String::from_utf8_lossy(&out).to_lowercase().chars() {
        let c = if c.is_ascii_digit() {
            '0'
        } else if c.is_whitespace() {
            ' '
        } else {
            c
        };
        if !(matches!(c, '0' | ' ') && key.ends_with(c)) {
            key.push(c);
        }
    }
    key.trim().to_owned()
}

fn gz(path: &Path) -> Result<String> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let mut bytes = Vec::new();
    GzDecoder::new(file).read_to_end(&mut bytes).with_context(|| path.display().to_string())?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The rows of a CSV file, by the names of `columns`.
fn rows<const N: usize>(text: &[u8], columns: [&str; N]) -> Result<Vec<[String; N]>> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text);
    let header = reader.byte_headers()?.clone();
    let mut places = [0; N];
    for (place, column) in places.iter_mut().zip(columns) {
        *place = header
            .iter()
            .position(|h| h == column.as_bytes())
            .with_context(|| format!("no column {column}"))?;
    }
    let mut out = Vec::new();
    for record in reader.byte_records() {
        let record = record?;
        out.push(
            places
                .map(|at| String::from_utf8_lossy(record.get(at).unwrap_or_default()).into_owned()),
        );
    }
    Ok(out)
}

fn csv_file<const N: usize>(path: &Path, columns: [&str; N]) -> Result<Vec<[String; N]>> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    rows(&bytes, columns).with_context(|| path.display().to_string())
}

/// A line of an attack list as someone would send it: what the list wraps around it comes off.
///
/// fuzzdb's XSS lists are sheets with a column for the attack and others about it; names of files
/// are written as `{FILE}`, times as `__TIME__`, commands as `{cmd}`.
fn as_sent(line: &str) -> Option<String> {
    let line = match line.strip_prefix("Exploit ") {
        Some(rest) => rest.strip_prefix("String: ")?,
        None => line,
    };
    Some(line.replace("{FILE}", "etc/passwd").replace("__TIME__", "5").replace("{cmd}", "id"))
}

fn attack_lists(dir: &Path, out: &mut Vec<Sample>) -> Result<()> {
    for [payload, class, source] in
        csv_file(&dir.join("attack_payloads.csv"), ["payload", "class", "source"])?
    {
        let source = match source.as_str() {
            "PayloadsAllTheThings" => Source::AllTheThings,
            "fuzzdb" => Source::FuzzDb,
            _ => Source::PayloadBox,
        };
        let Some(payload) = as_sent(&payload) else { continue };
        let class = match class.as_str() {
            "sqli" => Class::Sqli,
            "xss" => Class::Xss,
            "traversal" | "lfi" => Class::Traversal,
            "cmdi" => Class::Cmdi,
            "ssti" => Class::Ssti,
            "xxe" | "ssi" => Class::Xxe,
            "redirect" => Class::Ssrf,
            "nosql" => Class::Nosql,
            _ => Class::Ldap,
        };
        let label = if class == Class::Ssrf {
            Label::Redirect
        } else if is_fragment(&payload, matches!(class, Class::Xss | Class::Xxe)) {
            Label::Fragment
        } else if matches!(class, Class::Xss | Class::Xxe) && is_harmless_markup(&payload) {
            Label::Harmless
        } else {
            Label::Attack(class)
        };
        out.push(Sample::text(source, label, &payload));
    }
    Ok(())
}

fn http_params(dir: &Path, out: &mut Vec<Sample>) -> Result<()> {
    for file in ["httpparams_train.csv", "httpparams_test.csv"] {
        for [payload, class] in csv_file(&dir.join(file), ["payload", "attack_type"])? {
            let payload = payload.replace("{file}", "etc/passwd");
            let label = match class.as_str() {
                "norm" => Label::Benign,
                "xss" if is_fragment(&payload, true) => Label::Fragment,
                "xss" if is_harmless_markup(&payload) => Label::Harmless,
                _ if is_fragment(&payload, false) => Label::Fragment,
                "sqli" => Label::Attack(Class::Sqli),
                "xss" => Label::Attack(Class::Xss),
                "cmdi" => Label::Attack(Class::Cmdi),
                _ => Label::Attack(Class::Traversal),
            };
            out.push(Sample::text(Source::HttpParams, label, &payload));
        }
    }
    Ok(())
}

/// The anomalous file is left out: its anomalies are misspelt names and numbers, not attacks.
fn torpeda(dir: &Path, out: &mut Vec<Sample>) -> Result<()> {
    for (file, label) in
        [("torpeda_normal.csv", Label::Benign), ("torpeda_sqli.csv", Label::Attack(Class::Sqli))]
    {
        for [method, path, query] in csv_file(&dir.join(file), ["method", "path", "query"])? {
            let place = if method == "POST" { Place::Body } else { Place::Query };
            let parts =
                vec![part(Place::Path, Form::Text, &path), part(place, Form::Pairs, &query)];
            out.push(Sample::new(Source::Torpeda, label, parts));
        }
    }
    Ok(())
}

/// Splits a request target; absolute-form targets lose scheme and authority.
pub(crate) fn target(target: &str) -> Vec<Part> {
    let local = target
        .split_once("://")
        .and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..]))
        .unwrap_or(target);
    let (path, query) = local.split_once('?').unwrap_or((local, ""));
    let mut parts = vec![part(Place::Path, Form::Text, path)];
    if !query.is_empty() {
        parts.push(part(Place::Query, Form::Pairs, query));
    }
    parts
}

/// Headers that the capture or the client's connection made. `Set-Cookie` stands in every
/// request; `Cookie` in every row of one attack and in no other, but it is that attack.
const ATRDF_SKIPPED: [&str; 3] = ["Date", "Host", "Content-Length"];

fn atrdf(dir: &Path, out: &mut Vec<Sample>) -> Result<()> {
    let rows: Vec<Json> = serde_json::from_str(&gz(&dir.join("atrdf_1_train.json.gz"))?)?;
    for row in rows {
        let request = &row["request"];
        let class = match request["Attack_Tag"].as_str() {
            None => None,
            Some("SQL Injection") => Some(Class::Sqli),
            Some("Directory Traversal") => Some(Class::Traversal),
            Some("LOG4J") => Some(Class::Log4j),
            Some("Cookie Injection") => Some(Class::Deserialization),
            Some("Log Forging") => Some(Class::Crlf),
            // Its three payloads are a script element and two template expressions.
            Some(_) if request["url"].as_str().is_some_and(|u| u.contains("script")) => {
                Some(Class::Xss)
            }
            Some(_) => Some(Class::Ssti),
        };
        let mut parts = target(request["url"].as_str().unwrap_or_default());
        if let Some(body) = request["body"].as_str().filter(|b| !b.is_empty()) {
            let form = if body.starts_with(['{', '[']) { Form::Json } else { Form::Pairs };
            parts.push(part(Place::Body, form, body));
        }
        for (name, value) in request["headers"].as_object().into_iter().flatten() {
            let text = value.as_str().unwrap_or_default();
            if name == "Cookie" {
                parts.push(part(Place::Cookie, Form::Cookies, text));
            } else if !ATRDF_SKIPPED.contains(&name.as_str()) {
                parts.push(part(Place::Header, Form::Text, text));
            }
        }
        out.push(Sample::new(Source::Atrdf, class.map_or(Label::Benign, Label::Attack), parts));
    }
    Ok(())
}

fn server_log(dir: &Path, out: &mut Vec<Sample>) -> Result<()> {
    let text = gz(&dir.join("benign_requests.csv.gz"))?;
    for [line, referer, agent] in rows(text.as_bytes(), ["target", "referer", "user_agent"])? {
        let mut parts = target(&line);
        for header in [referer, agent] {
            if header != "-" {
                parts.push(part(Place::Header, Form::Text, &header));
            }
        }
        out.push(Sample::new(Source::ServerLog, Label::Benign, parts));
    }
    Ok(())
}

fn prose(dir: &Path, out: &mut Vec<Sample>) -> Result<()> {
    let text = gz(&dir.join("benign_prose.txt.gz"))?;
    out.extend(text.lines().map(|line| Sample::text(Source::Prose, Label::Benign, line)));
    Ok(())
}

/// Every request of the sets in `data` (the folder with `payloads/` in it), each once a source.
///
/// # Errors
/// A file that is missing or not as described.
pub(crate) fn load(data: &Path) -> Result<Vec<Sample>> {
    let dir = data.join("payloads");
    let mut all = Vec::new();
    http_params(&dir, &mut all)?;
    torpeda(&dir, &mut all)?;
    atrdf(&dir, &mut all)?;
    attack_lists(&dir, &mut all)?;
    server_log(&dir, &mut all)?;
    prose(&dir, &mut all)?;
    let mut seen = HashSet::new();
    all.retain(|s| seen.insert((s.source, s.key.clone())));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_overlap_by_what_they_mean() {
        for (a, b) in [("%27+OR+1=1", "' or  234=9"), ("<A>", "&lt;a&gt;"), ("x", "X ")] {
            assert_eq!(normalise(a.as_bytes()), normalise(b.as_bytes()));
        }
        assert_ne!(normalise(b"a=b"), normalise(b"a=c"));
    }

    #[test]
    fn lists_are_unwrapped() {
        assert_eq!(as_sent("Exploit String: <b>").as_deref(), Some("<b>"));
        assert_eq!(as_sent("Exploit Name: b"), None);
        assert_eq!(as_sent("../{FILE}").as_deref(), Some("../etc/passwd"));
    }

    #[test]
    fn targets_are_split() {
        let parts = target("http://h:1/a/b?c=d?e");
        let texts: Vec<&[u8]> = parts.iter().map(|p| &p.bytes[..]).collect();
        assert_eq!(texts, [&b"/a/b"[..], b"c=d?e"]);
        assert_eq!(target("/a").len(), 1);
    }
}
