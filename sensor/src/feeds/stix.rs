//! Feeds of STIX 2.1: a bundle of objects, the indicators among which have a pattern.
//!
//! Of the patterns (STIX 2.1, part 9) those count of which each comparison suffices by itself: one
//! observation, or several joined by OR, of comparisons for equality joined by OR. Any other says more
//! than that an address is bad, and is passed over.

use serde::Deserialize;

use super::{Feed, FeedError, Gathered, Indicator, Kind};
use crate::time::Time;

/// Comparisons of one pattern.
const MAX_COMPARISONS: usize = 4_096;

#[derive(Deserialize)]
struct Bundle {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    objects: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    id: String,
    #[serde(default)]
    pattern: String,
    #[serde(default)]
    pattern_type: Option<String>,
    #[serde(default)]
    valid_until: Option<String>,
    #[serde(default)]
    revoked: bool,
}

pub(super) fn parse(bytes: &[u8], now: Time) -> Result<Feed, FeedError> {
    let bundle: Bundle = serde_json::from_slice(bytes).map_err(|error| {
        // Of the message no more than the place: it may repeat the document.
        FeedError::NoBundle(format!("line {}, column {}", error.line(), error.column()))
    })?;
    if bundle.kind != "bundle" {
        return Err(FeedError::NoBundle("its type is another".to_owned()));
    }
    // Both are of RFC 3339 in UTC: to the second they compare as text.
    let now = now.to_string();
    let is_over = |until: &str| until.get(..19).zip(now.get(..19)).is_some_and(|(u, n)| u <= n);
    let mut gathered = Gathered::default();
    for (number, object) in (1..).zip(&bundle.objects) {
        let over = object.valid_until.as_deref().is_some_and(is_over);
        if object.kind != "indicator" || object.revoked || over {
            continue;
        }
        let stix = object.pattern_type.as_deref().is_none_or(|kind| kind == "stix");
        match stix.then(|| pattern(&object.pattern)).flatten() {
            Some(indicators) => {
                gathered.feed.ids.extend(uuid(&object.id).map(|id| (number, id)));
                for indicator in indicators {
                    gathered.take(number, Some(indicator))?;
                }
            }
            None => gathered.feed.skipped += 1,
        }
    }
    Ok(gathered.feed)
}

/// The UUID of an indicator's id (STIX 2.1, section 2.9).
fn uuid(id: &str) -> Option<u128> {
    let uuid = id.strip_prefix("indicator--")?;
    let dashed = uuid.len() == 36
        && [8, 13, 18, 23].iter().all(|&at| uuid.as_bytes().get(at) == Some(&b'-'));
    let hex: String = uuid.chars().filter(|&c| c != '-').collect();
    (dashed && hex.len() == 32 && !hex.starts_with('+'))
        .then(|| u128::from_str_radix(&hex, 16).ok())?
}

/// The indicators of a pattern, each of which suffices.
fn pattern(text: &str) -> Option<Vec<Indicator>> {
    let (mut found, mut rest) = (Vec::new(), text.trim());
    loop {
        rest = rest.strip_prefix('[')?.trim_start();
        loop {
            let (indicator, behind) = comparison(rest)?;
            found.push(indicator);
            rest = behind.trim_start();
            match rest.strip_prefix("OR") {
                Some(behind) if found.len() < MAX_COMPARISONS => rest = behind.trim_start(),
                Some(_) => return None,
                None => break,
            }
        }
        rest = rest.strip_prefix(']')?.trim_start();
        if rest.is_empty() {
            return Some(found);
        }
        rest = rest.strip_prefix("OR")?.trim_start();
    }
}

/// `PATH = 'VALUE'`, or `PATH ISSUBSET 'NETWORK'`, and what stands behind it.
fn comparison(text: &str) -> Option<(Indicator, &str)> {
    let quote = text.match_indices('\'').map(|(at, _)| at).find(|&at| {
        // Property names may be quoted, too; the value is behind an operator.
        text.get(..at).is_some_and(|before| before.trim_end().ends_with(['=', 'T']))
    })?;
    let (before, value) = text.split_at_checked(quote)?;
    let before = before.trim_end();
    let path = before.strip_suffix('=').or_else(|| before.strip_suffix("ISSUBSET"))?;
    let equal = before.ends_with('=');
    // `!=`, `>=` and `<=` are others.
    if path.ends_with(['!', '<', '>']) || path.trim_end().ends_with("NOT") {
        return None;
    }
    let (value, rest) = string(value)?;
    let indicator = match (path.trim(), equal) {
        ("ipv4-addr:value" | "ipv6-addr:value", _) => Indicator::host(&value)?,
        ("domain-name:value", true) => Indicator::domain(&value)?,
        (
            "network-traffic:extensions.'http-request-ext'.request_header.'User-Agent'"
            | "network-traffic:extensions.'http-request-ext'.request_header.'user-agent'",
            true,
        ) => Indicator::read(&value, Kind::UserAgent)?,
        _ => return None,
    };
    Some((indicator, rest))
}

/// A string in quotes, and what stands behind it. `\'` and `\\` stand for the sign itself.
fn string(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.strip_prefix('\'')?.char_indices();
    let body = text.get(1..)?;
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => value.push(chars.next()?.1),
            '\'' => return Some((value, body.get(at + 1..)?)),
            c => value.push(c),
        }
    }
    None
}
