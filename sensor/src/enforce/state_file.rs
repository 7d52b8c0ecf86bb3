//! What people and verdicts denied and allowed, kept over a restart.
//!
//! The file is a log of lines, each one entry as JSON ([`crate::log_file`]). A line that was torn by
//! a crash is passed over.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Read as _},
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::{
    Lists,
    entry::{Source, Terms, Written},
};
use crate::{
    log_file::{LogFile, Records},
    time::Time,
};

const FILE_NAME: &str = "enforcement.state";

/// A file that is larger is none of ours: a million entries take a third of it.
const MAX_BYTES: u64 = 1 << 30;

/// A line that is longer is none of ours.
const MAX_LINE: u64 = 16 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum List {
    Deny,
    Allow,
}

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    list: List,
    entry: Written,
    /// What is known of it; absent where the entry was removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    terms: Option<SavedTerms>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedTerms {
    /// Nanoseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<u64>,
    /// Nanoseconds since the epoch.
    added: u64,
    reason: String,
    source: Source,
}

impl From<Terms<'_>> for SavedTerms {
    fn from(terms: Terms<'_>) -> Self {
        Self {
            until: terms.until.map(Time::unix_nanos),
            added: terms.added.unix_nanos(),
            reason: terms.reason.to_owned(),
            source: terms.source,
        }
    }
}

/// Puts what the file in `state_dir` holds into `lists`, as far as it is sound and not over, and begins
/// a new log.
///
/// # Errors
/// The folder or the file can't be read or written. What is denied is more than a comfort: going on
/// without it would undo it silently.
pub(crate) fn open(state_dir: &Path, now: Time, lists: &mut Lists) -> io::Result<LogFile> {
    fs::create_dir_all(state_dir)?;
    let path = state_dir.join(FILE_NAME);
    match restore(&path, now, lists) {
        Ok(0) => {}
        Ok(bad) => tracing::warn!("{}: {bad} lines can't be read", path.display()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    LogFile::create(path, lists)
}

impl Records for Lists {
    /// Some tens of milliseconds, and more than connections can be cut in a second.
    const PIECE: usize = 65_536;

    fn begin_snapshot(&mut self, _out: &mut Vec<u8>) -> io::Result<()> {
        self.denied.mark_all();
        self.allowed.mark_all();
        Ok(())
    }

    fn write_changes(&mut self, out: &mut Vec<u8>) -> io::Result<usize> {
        let mut room = Self::PIECE;
        while room > 0
            && let Some(denied) = self.denied.changes().pop()
        {
            let terms = self.denied.terms_of(&denied).map(Into::into);
            push(out, &Line { list: List::Deny, entry: (&denied).into(), terms })?;
            room -= 1;
        }
        while room > 0
            && let Some(allowed) = self.allowed.changes().pop()
        {
            let terms = self.allowed.terms_of(&allowed).map(Into::into);
            push(out, &Line { list: List::Allow, entry: (&allowed).into(), terms })?;
            room -= 1;
        }
        Ok(self.denied.changes().len() + self.allowed.changes().len())
    }

    fn is_overrun(&mut self) -> bool {
        self.denied.changes().is_overrun()
    }
}

fn push(buffer: &mut Vec<u8>, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut *buffer, line)?;
    buffer.push(b'\n');
    Ok(())
}

/// Reads the file; gives how many lines were no entries.
fn restore(path: &Path, now: Time, lists: &mut Lists) -> io::Result<u64> {
    let file = File::open(path)?;
    if file.metadata()?.len() > MAX_BYTES {
        return Err(io::Error::other(format!("{}: larger than any state file", path.display())));
    }
    let mut reader = BufReader::new(file);
    let (mut text, mut bad) = (Vec::new(), 0);
    loop {
        text.clear();
        if reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut text)? == 0 {
            return Ok(bad);
        }
        bad += u64::from(apply(&text, now, lists).is_none());
    }
}

pub(super) fn apply(text: &[u8], now: Time, lists: &mut Lists) -> Option<()> {
    let line: Line = serde_json::from_slice(text.strip_suffix(b"\n")?).ok()?;
    match (line.list, line.terms) {
        (List::Deny, None) => {
            let _absent = lists.denied.remove(&line.entry.denied().ok()?);
        }
        (List::Allow, None) => {
            let _absent = lists.allowed.remove(&line.entry.allowed().ok()?);
        }
        (list, Some(terms)) => {
            let until = terms.until.map(Time::from_unix_nanos);
            let added = Time::from_unix_nanos(terms.added);
            let over = until.is_some_and(|until| until <= now);
            if list == List::Deny {
                let denied = line.entry.denied().ok()?;
                // A later line about the same entry counts, also one whose time is over.
                let _absent = lists.denied.remove(&denied);
                if !over {
                    let (reason, source) = (&terms.reason, terms.source);
                    lists.denied.add(added, &denied, until, reason, source).ok()?;
                }
            } else {
                let allowed = line.entry.allowed().ok()?;
                let _absent = lists.allowed.remove(&allowed);
                if !over {
                    lists.allowed.add(added, allowed, until, &terms.reason).ok()?;
                }
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _, os::unix::fs::PermissionsExt as _, path::Path};

    use super::{FILE_NAME, open};
    use crate::{
        enforce::{
            Lists,
            entry::{Source, Terms, Written},
            tables::TokenKey,
        },
        time::Time,
    };

    fn at(secs: u64) -> Time {
        Time::from_unix_secs(1_700_000_000 + secs)
    }

    fn deny(lists: &mut Lists, entry: &Written, until: Option<u64>, source: Source) {
        let denied = entry.denied().unwrap();
        lists.denied.add(at(0), &denied, until.map(at), "a \"reason\"", source).unwrap();
    }

    fn address(text: &str) -> Written {
        Written::Address { address: text.to_owned() }
    }

    /// All entries, as text.
    fn all(lists: &Lists) -> Vec<String> {
        let text = |written: Written, terms: Terms<'_>| format!("{written} {terms:?}");
        let denied = lists.denied.entries().map(|(denied, t)| text((&denied).into(), t));
        let allowed = lists.allowed.entries().map(|(allowed, t)| text(allowed.into(), t));
        let mut all: Vec<String> = denied.chain(allowed).collect();
        all.sort();
        all
    }

    fn restored(dir: &Path, now: u64) -> Lists {
        let mut lists = Lists::default();
        open(dir, at(now), &mut lists).unwrap();
        lists
    }

    #[test]
    fn what_changes_is_there_after_a_restart_and_the_file_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let mut lists = Lists::default();
        let mut file = open(dir.path(), at(0), &mut lists).unwrap();
        let mode = dir.path().join(FILE_NAME).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let key = Written::Token { token_key: TokenKey([5, 6]).to_string() };
        let subject = Written::Subject { issuer: Some("i".into()), subject: "s \"x\"\n".into() };
        deny(&mut lists, &key, Some(100), Source::Verdict);
        deny(&mut lists, &address("10.0.0.0/8"), None, Source::Operator);
        deny(&mut lists, &subject, Some(50), Source::Operator);
        deny(&mut lists, &Written::Flow { cookie: 1 }, Some(60), Source::Verdict);
        let route = Written::Route { route: "/health".into() };
        lists.allowed.add(at(0), route.allowed().unwrap(), None, "probe").unwrap();
        file.finish(&mut lists);
        deny(&mut lists, &address("192.0.2.1"), None, Source::Operator);
        lists.denied.remove(&address("10.0.0.0/8").denied().unwrap()).unwrap();
        file.finish(&mut lists);
        lists.denied.remove(&Written::Flow { cookie: 1 }.denied().unwrap()).unwrap();
        assert_eq!(all(&restored(dir.path(), 1)), all(&lists));
        // Once more, from the file that was written anew; and what is over stays behind.
        assert_eq!(all(&restored(dir.path(), 1)), all(&lists));
        assert_eq!(all(&restored(dir.path(), 50)).len(), 3);
    }

    #[test]
    fn a_torn_file_loses_its_last_line_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let mut lists = Lists::default();
        let mut file = open(dir.path(), at(0), &mut lists).unwrap();
        for k in 0..4 {
            deny(&mut lists, &address(&format!("192.0.2.{k}")), None, Source::Operator);
            file.finish(&mut lists);
        }
        let path = dir.path().join(FILE_NAME);
        let whole = fs::read(&path).unwrap();
        let ends: Vec<usize> = (0..whole.len()).filter(|&at| whole[at] == b'\n').collect();
        for cut in 0..=whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let due = ends.iter().filter(|&&end| end < cut).count();
            assert_eq!(all(&restored(dir.path(), 1)).len(), due, "cut at {cut}");
        }
        // Garbage in the middle.
        fs::write(&path, &whole).unwrap();
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"\xff\x00{\"list\":\"deny\"}\n").unwrap();
        file.write_all(&whole[..=ends[0]]).unwrap();
        assert_eq!(all(&restored(dir.path(), 1)).len(), 4);
    }
}
