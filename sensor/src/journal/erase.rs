//! Erasing events that name a subject.
//!
//! A line gives way to one of the same length that says that something was erased, where it lies:
//! the numbers of others, the places of readers and the file that is being written all stay. A crash
//! in between leaves lines that are erased and lines that are not, and none that is neither: what is
//! torn is no event. The next try erases the rest.

use std::{
    collections::{BTreeSet, HashSet},
    fs::{self, OpenOptions},
    io,
    os::unix::fs::FileExt as _,
    path::Path,
};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Journal, Record, cursor, segment, state::State};
use crate::event::shown_claim;

/// What stands in the place of an event, filled up with spaces.
const MARK: &[u8] = br#"{"erased":true}"#;

/// Whose events are erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whose {
    shown: String,
    whole: String,
    issuer: Option<String>,
    /// Every line that names the subject has this.
    needle: String,
}

/// What was erased.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Events.
    pub events: u64,
    /// Those of them that a sink had not confirmed yet.
    pub undelivered: u64,
    /// Whom the events name as the subject's issuers; empty where one names none.
    pub issuers: BTreeSet<String>,
    /// The ids of the events.
    pub ids: HashSet<String>,
}

#[derive(Deserialize)]
struct Event {
    id: String,
    #[serde(default)]
    tokens: Vec<Token>,
    entry: Option<Entry>,
    /// Of an audit event: the event that somebody said something of.
    event: Option<String>,
}

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    claims: Map<String, Value>,
}

#[derive(Deserialize)]
struct Entry {
    subject: Option<String>,
    issuer: Option<String>,
}

impl Whose {
    /// A subject as tokens name it (`sub`), of an issuer or of any.
    #[must_use]
    pub fn new(subject: &str, issuer: Option<&str>) -> Self {
        let shown = shown_claim(subject);
        // A part that is written as it is, whatever becomes of the characters around it.
        let plain = |c: char| !(c.is_ascii_alphanumeric() || "@.-_:/|".contains(c));
        let needle = shown.split(plain).max_by_key(|part| part.len()).unwrap_or_default();
        let needle = needle.to_owned();
        Self { shown, whole: subject.to_owned(), issuer: issuer.map(str::to_owned), needle }
    }

    /// Whether an event names it; notes its issuer and id then.
    pub(crate) fn is(&self, line: &[u8], erased: &mut Erased) -> bool {
        let may = memchr::memmem::find(line, self.needle.as_bytes()).is_some()
            // What somebody said of an event that is erased.
            || memchr::memmem::find(line, br#""change":"feedback-"#).is_some();
        if !may {
            return false;
        }
        let Ok(event) = serde_json::from_slice::<Event>(line) else { return false };
        let tokens = event.tokens.iter().map(|token| {
            let claim = |name| token.claims.get(name).and_then(Value::as_str);
            (claim("sub"), claim("iss"))
        });
        let entry = event.entry.iter().map(|e| (e.subject.as_deref(), e.issuer.as_deref()));
        let mut named = false;
        for (subject, issuer) in tokens.chain(entry) {
            let ours = subject.is_some_and(|subject| subject == self.shown || subject == self.whole)
                // One that names no issuer may be this one's.
                && self.issuer.as_ref().is_none_or(|ours| issuer.is_none_or(|it| it == ours));
            if ours {
                erased.issuers.insert(issuer.unwrap_or_default().to_owned());
            }
            named |= ours;
        }
        let said_of = event.event.is_some_and(|event| erased.ids.contains(&event));
        if named {
            erased.ids.insert(event.id);
        }
        named || said_of
    }
}

/// Whether a line stands for an event that was erased.
pub(super) fn is_erased(line: &[u8]) -> bool {
    line.starts_with(MARK)
}

/// What takes the place of so many bytes; no event is as short as the mark.
fn mark(len: usize) -> Vec<u8> {
    let mut mark = MARK.to_vec();
    mark.resize(len, b' ');
    mark
}

impl Journal {
    /// What [`Journal::erase`] would erase.
    ///
    /// # Errors
    /// A file can't be read.
    pub fn find(&self, whose: &Whose) -> io::Result<Erased> {
        self.look(whose, false)
    }

    /// Erases the events that name a subject, on disk and in memory. Those that a sink is sending just
    /// now are not reached.
    ///
    /// # Errors
    /// A file can't be read or written: what was erased till then is, and no more.
    pub fn erase(&self, whose: &Whose) -> io::Result<Erased> {
        self.look(whose, true)
    }

    fn look(&self, whose: &Whose, erase: bool) -> io::Result<Erased> {
        let confirmed = cursor::lowest(&self.dir)?;
        let mut erased = Erased::default();
        // Files first: what is only in memory comes behind them, and what is said of an event behind
        // that.
        let mut last = None;
        for (first, path) in segment::find(&self.dir)? {
            match look_into(&path, first, whose, erase, confirmed, &mut erased) {
                Ok(end) => last = Some(end),
                // It gave way just now.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        self.state().look(whose, erase, last, confirmed, &mut erased);
        Ok(erased)
    }
}

impl State {
    /// Erases from what stands in memory; what has a number below `in_files` is counted already.
    fn look(
        &mut self,
        whose: &Whose,
        erase: bool,
        in_files: Option<u64>,
        confirmed: Option<u64>,
        erased: &mut Erased,
    ) {
        self.erasures += u64::from(erase);
        for Record { sequence, line, .. } in &mut self.tail {
            if !whose.is(line, erased) {
                continue;
            }
            if erase {
                *line = mark(line.len()).into();
            }
            if in_files.is_none_or(|end| *sequence >= end) {
                count(*sequence, confirmed, erased);
            }
        }
    }
}

fn count(sequence: u64, confirmed: Option<u64>, erased: &mut Erased) {
    erased.events += 1;
    erased.undelivered += u64::from(confirmed.is_some_and(|confirmed| sequence >= confirmed));
}

/// Looks into a file; gives the number behind its last line.
fn look_into(
    path: &Path,
    first: u64,
    whose: &Whose,
    erase: bool,
    confirmed: Option<u64>,
    erased: &mut Erased,
) -> io::Result<u64> {
    // A file has a bound: one of SEGMENT_BYTES and a line.
    let content = fs::read(path)?;
    let mut file = None;
    let (mut at, mut sequence) = (0, first);
    // What has no end is still being written, and is not from before.
    for line in content.split_inclusive(|&b| b == b'\n').filter_map(|l| l.strip_suffix(b"\n")) {
        if whose.is(line, erased) {
            count(sequence, confirmed, erased);
            if erase {
                let file = match &mut file {
                    Some(file) => file,
                    None => file.insert(OpenOptions::new().write(true).open(path)?),
                };
                file.write_all_at(&mark(line.len()), at)?;
            }
        }
        at += line.len() as u64 + 1;
        sequence += 1;
    }
    if let Some(file) = file {
        file.sync_data()?;
    }
    Ok(sequence)
}
