//! CEF and LEEF: an event as keys and values that a SIEM knows.
//!
//! Source of the keys: "Micro Focus Security ArcSight Common Event Format", version 26, chapter 2
//! ("ArcSight Extension Dictionary"); IBM, "QRadar Log Event Extended Format (LEEF)", version 2.0,
//! "Predefined event attributes". Keys of LEEF that stand in neither are ours.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::Value;

use super::text::{claim, class, findings, sentence, subject, text};

const VENDOR: &str = "Jotwatch";
const PRODUCT: &str = "Jotwatch";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A key and its value; the first are the last to be left out where room is scarce.
type Pairs = Vec<(&'static str, String)>;

/// 0 to 10: 0 to 3 are low, 4 to 6 medium, 7 and 8 high, 9 and 10 very high (CEF, chapter 1).
fn severity(event: &Value) -> u8 {
    match text(event, "/severity") {
        "critical" => 10,
        "high" => 8,
        "medium" => 5,
        "low" => 3,
        _ => 1,
    }
}

/// Milliseconds since 1970, which both formats take for a time.
fn millis(time: &str) -> Option<String> {
    time.parse::<Timestamp>().ok().map(|time| time.as_millisecond().to_string())
}

fn put(pairs: &mut Pairs, key: &'static str, value: Option<String>) {
    if let Some(value) = value
        && !value.is_empty()
    {
        pairs.push((key, value));
    }
}

fn member(event: &Value, pointer: &str) -> Option<String> {
    match event.pointer(pointer)? {
        Value::String(value) => Some(value.clone()),
        Value::Number(value) => Some(value.to_string()),
        _ => None,
    }
}

/// Appends the event in CEF, as much of it as takes at most `room` bytes; whether that is all.
pub(super) fn cef(out: &mut String, event: &Value, room: usize) -> bool {
    let end = out.len() + room;
    let (id, name) = class(event);
    out.push_str("CEF:0|");
    for field in [VENDOR, PRODUCT, VERSION, &id, &name] {
        // Of the header, `|` and `\` are escaped; it has no line ends.
        for c in visible(field) {
            match c {
                '|' | '\\' => out.extend(['\\', c]),
                '\n' | '\r' => out.push(' '),
                c => out.push(c),
            }
        }
        out.push('|');
    }
    let _ = write!(out, "{}|", severity(event));
    let start = out.len();
    for (key, value) in cef_pairs(event) {
        let before = out.len();
        if before > start {
            out.push(' ');
        }
        out.push_str(key);
        out.push('=');
        // Of the extension, `=` and `\` are escaped, and line ends are written as `\n` and `\r`.
        for c in visible(&value) {
            match c {
                '=' | '\\' => out.extend(['\\', c]),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                c => out.push(c),
            }
        }
        if out.len() > end {
            out.truncate(before);
            return false;
        }
    }
    out.len() <= end
}

/// The extension: `rt` the time, `externalId` the event's id, `cat` its kind, `src`/`spt` the
/// client, `dst`/`dpt` the server (`c6a2`, `c6a3` where the address is IPv6), `act` what was done
/// or else the verdict, `outcome`, `cn1` the score, `cs1` the findings, `requestMethod`, `request`
/// the target, `dhost` the Host field, `suser` the subject, `dproc`/`dpid` the service, `cn2` the
/// status of the answer, `cn3` how many alerts it stands for besides, `cs2` the token's
/// fingerprint, `cs3` the issuer, `cs4` the key's id, `cs5` the client that a proxy names,
/// `requestClientApplication` the user agent, `in`/`out` bytes of request and answer, `fname` an
/// audit's file, `reason` its reason, `msg` all in words.
fn cef_pairs(event: &Value) -> Pairs {
    let mut pairs = Pairs::new();
    put(&mut pairs, "rt", millis(text(event, "/time")));
    put(&mut pairs, "externalId", member(event, "/id"));
    put(&mut pairs, "cat", member(event, "/kind"));
    address(&mut pairs, event, "/client/ip", "src", ["c6a2", "c6a2Label"], "Source IPv6 Address");
    put(&mut pairs, "spt", member(event, "/client/port"));
    let label = "Destination IPv6 Address";
    address(&mut pairs, event, "/server/ip", "dst", ["c6a3", "c6a3Label"], label);
    put(&mut pairs, "dpt", member(event, "/server/port"));
    let act = member(event, "/enforcement/action").or_else(|| member(event, "/verdict"));
    put(&mut pairs, "act", act.or_else(|| member(event, "/change")));
    put(&mut pairs, "outcome", member(event, "/outcome").or_else(|| member(event, "/state")));
    labelled(&mut pairs, ["cn1", "cn1Label"], "score", member(event, "/score"));
    labelled(&mut pairs, ["cs1", "cs1Label"], "findings", Some(findings(event).join(",")));
    put(&mut pairs, "requestMethod", member(event, "/request/method"));
    put(&mut pairs, "request", member(event, "/request/path"));
    put(&mut pairs, "dhost", member(event, "/request/host"));
    put(&mut pairs, "suser", subject(event).or_else(|| member(event, "/entry/subject")));
    put(&mut pairs, "dproc", member(event, "/service/command"));
    put(&mut pairs, "dpid", member(event, "/service/pid"));
    labelled(&mut pairs, ["cn2", "cn2Label"], "status", member(event, "/response/status"));
    labelled(&mut pairs, ["cn3", "cn3Label"], "joined", member(event, "/joined/count"));
    let token = member(event, "/tokens/0/fingerprint").or_else(|| member(event, "/token"));
    labelled(&mut pairs, ["cs2", "cs2Label"], "token", token);
    let issuer = member(event, "/issuer").or_else(|| claim(event, "iss"));
    labelled(&mut pairs, ["cs3", "cs3Label"], "issuer", issuer);
    let kid = member(event, "/kid").or_else(|| member(event, "/tokens/0/kid"));
    labelled(&mut pairs, ["cs4", "cs4Label"], "kid", kid);
    let client = member(event, "/client/forwarded_for");
    labelled(&mut pairs, ["cs5", "cs5Label"], "forwardedFor", client);
    put(&mut pairs, "requestClientApplication", member(event, "/request/user_agent"));
    put(&mut pairs, "in", member(event, "/request/bytes"));
    put(&mut pairs, "out", member(event, "/response/bytes"));
    put(&mut pairs, "fname", member(event, "/file"));
    put(&mut pairs, "reason", member(event, "/reason"));
    put(&mut pairs, "msg", Some(sentence(event)));
    pairs
}

fn address(
    pairs: &mut Pairs,
    event: &Value,
    pointer: &str,
    key: &'static str,
    [key6, label6]: [&'static str; 2],
    label: &str,
) {
    // The dictionary's src and dst are IPv4 addresses.
    match text(event, pointer) {
        ip if ip.contains(':') => labelled(pairs, [key6, label6], label, Some(ip.to_owned())),
        ip => put(pairs, key, Some(ip.to_owned())),
    }
}

fn labelled(
    pairs: &mut Pairs,
    [key, label_key]: [&'static str; 2],
    label: &str,
    value: Option<String>,
) {
    if let Some(value) = value.filter(|value| !value.is_empty()) {
        // The label first: a value whose label did not fit says nothing.
        pairs.push((label_key, label.to_owned()));
        pairs.push((key, value));
    }
}

/// Appends the event in LEEF, as much of it as takes at most `room` bytes; whether that is all.
pub(super) fn leef(out: &mut String, event: &Value, room: usize) -> bool {
    let end = out.len() + room;
    let (id, name) = class(event);
    // The delimiter is a tab; the header has nothing that would have to be escaped, as LEEF has no
    // escapes.
    let id = id.replace(|c: char| !c.is_ascii_graphic() || c == '|', "_");
    let _ = write!(out, "LEEF:2.0|{VENDOR}|{PRODUCT}|{VERSION}|{id}|x09|");
    let start = out.len();
    for (key, value) in leef_pairs(event, name) {
        let before = out.len();
        if before > start {
            out.push('\t');
        }
        out.push_str(key);
        out.push('=');
        // The first `=` ends the key; line ends can't stand in a value.
        out.extend(visible(&value).map(|c| if matches!(c, '\n' | '\r') { ' ' } else { c }));
        if out.len() > end {
            out.truncate(before);
            return false;
        }
    }
    out.len() <= end
}

/// The attributes: `devTime`, `sev`, `cat` the kind, `src`/`srcPort` the client, `dst`/`dstPort`
/// the server, `proto`, `usrName` the subject, `url` the target, `policy` the verdict,
/// `srcBytes`/`dstBytes` of request and answer, and, as ours: `eventId`, `name`, `action`,
/// `outcome`, `score`, `findings`, `method`, `host`, `service`, `status`, `joined`, `token`,
/// `issuer`, `kid`, `forwardedFor`, `userAgent`, `file`, `reason`, `message`.
fn leef_pairs(event: &Value, name: String) -> Pairs {
    let mut pairs = Pairs::new();
    put(&mut pairs, "devTime", millis(text(event, "/time")));
    put(&mut pairs, "eventId", member(event, "/id"));
    put(&mut pairs, "sev", Some(severity(event).to_string()));
    put(&mut pairs, "cat", member(event, "/kind"));
    put(&mut pairs, "src", member(event, "/client/ip"));
    put(&mut pairs, "srcPort", member(event, "/client/port"));
    put(&mut pairs, "dst", member(event, "/server/ip"));
    put(&mut pairs, "dstPort", member(event, "/server/port"));
    put(&mut pairs, "proto", event.get("server").map(|_| "TCP".to_owned()));
    put(&mut pairs, "policy", member(event, "/verdict"));
    let action = member(event, "/enforcement/action");
    put(&mut pairs, "action", action.or_else(|| member(event, "/change")));
    put(&mut pairs, "outcome", member(event, "/outcome").or_else(|| member(event, "/state")));
    put(&mut pairs, "score", member(event, "/score"));
    put(&mut pairs, "findings", Some(findings(event).join(",")));
    put(&mut pairs, "name", Some(name));
    put(&mut pairs, "method", member(event, "/request/method"));
    put(&mut pairs, "url", member(event, "/request/path"));
    put(&mut pairs, "host", member(event, "/request/host"));
    put(&mut pairs, "usrName", subject(event).or_else(|| member(event, "/entry/subject")));
    put(&mut pairs, "service", member(event, "/service/command"));
    put(&mut pairs, "status", member(event, "/response/status"));
    put(&mut pairs, "joined", member(event, "/joined/count"));
    let token = member(event, "/tokens/0/fingerprint").or_else(|| member(event, "/token"));
    put(&mut pairs, "token", token);
    put(&mut pairs, "issuer", member(event, "/issuer").or_else(|| claim(event, "iss")));
    put(&mut pairs, "kid", member(event, "/kid").or_else(|| member(event, "/tokens/0/kid")));
    put(&mut pairs, "forwardedFor", member(event, "/client/forwarded_for"));
    put(&mut pairs, "userAgent", member(event, "/request/user_agent"));
    put(&mut pairs, "srcBytes", member(event, "/request/bytes"));
    put(&mut pairs, "dstBytes", member(event, "/response/bytes"));
    put(&mut pairs, "file", member(event, "/file"));
    put(&mut pairs, "reason", member(event, "/reason"));
    put(&mut pairs, "message", Some(sentence(event)));
    pairs
}

/// The characters of a text with those that no line of a log should have, all controls but line
/// ends, and marks that turn the direction of writing, as `\u{…}`.
fn visible(text: &str) -> impl Iterator<Item = char> {
    text.chars().flat_map(|c| {
        let hidden = (c.is_control() && !matches!(c, '\n' | '\r'))
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
        let escaped = hidden.then(|| c.escape_unicode());
        escaped.into_iter().flatten().chain((!hidden).then_some(c))
    })
}
