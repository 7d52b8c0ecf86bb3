use std::{io, ops::Range, path::PathBuf};

use super::key;

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file can't be opened or read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is too large to be a configuration.
    #[error("{}: {len} bytes are too many for a configuration", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes, with the files before it, as far as it was read.
        len: u64,
    },
    /// There are more files in a folder than belong there.
    #[error("{}: more than {max} files", path.display())]
    TooMany {
        /// The folder.
        path: PathBuf,
        /// How many are read.
        max: usize,
    },
    /// A place in the file is wrong.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The column in characters, counted from 1.
        column: usize,
        /// What is wrong, in one line.
        message: String,
    },
}

impl Error {
    pub(super) fn at(
        span: Range<usize>,
        message: String,
        text: &str,
        path: &std::path::Path,
    ) -> Self {
        let message = match key::at(text, span.start).filter(|_| !span.is_empty()) {
            Some(key) => name(&key, &message),
            None => message,
        };
        let before = text.get(..span.start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self::Invalid {
            path: path.into(),
            line: line(text, span.start),
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
            message,
        }
    }

    pub(super) fn from_toml(error: &toml::de::Error, text: &str, path: &std::path::Path) -> Self {
        Self::at(error.span().unwrap_or_default(), said(error), text, path)
    }
}

/// What TOML's reader says, in one line, with the name that was most likely meant.
pub(super) fn said(error: &toml::de::Error) -> String {
    propose(&withhold(&error.message().lines().collect::<Vec<_>>().join(" ")))
}

/// Values of so many bytes are not said again: one that stands where another belongs may be a secret,
/// and none is shorter.
const SAID_MAX: usize = 16;

/// The message without a long value in it.
fn withhold(message: &str) -> String {
    for (before, quote) in
        [("invalid type: string ", '"'), ("invalid value: string ", '"'), ("unknown variant ", '`')]
    {
        let Some(value) = message.strip_prefix(before).and_then(|m| m.strip_prefix(quote)) else {
            continue;
        };
        // What follows the value says what was expected, and holds no such quote and comma.
        let end = value.rfind(&format!("{quote}, expected ")).unwrap_or(value.len());
        let (value, rest) = value.split_at(end);
        if value.len() >= SAID_MAX {
            return format!(
                "{before}of {} characters{}",
                value.chars().count(),
                rest.trim_start_matches(quote)
            );
        }
    }
    message.to_owned()
}

/// The line of a byte, counted from 1.
pub(super) fn line(text: &str, byte: usize) -> usize {
    text.get(..byte).unwrap_or(text).matches('\n').count() + 1
}

/// A message with the whole key in it: in the place of the key's last name, where it begins with
/// that, or else in front.
fn name(key: &str, message: &str) -> String {
    let last = key.rsplit('.').next().unwrap_or(key);
    match message.strip_prefix(last).filter(|rest| rest.starts_with([' ', ':'])) {
        Some(rest) => format!("{key}{rest}"),
        None => format!("{key}: {message}"),
    }
}

/// Turns serde's list of expected names into the one that was most likely meant; of values, which
/// are few, all stay listed.
fn propose(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let key = message.starts_with("unknown field");
    let Some(unknown) = quoted.next().filter(|_| key || message.starts_with("unknown variant"))
    else {
        return message.to_owned();
    };
    match nearest(unknown, quoted) {
        Some(known) if key => format!("unknown key `{unknown}`, did you mean `{known}`?"),
        Some(known) => {
            format!("{}; did you mean `{known}`?", message.replacen("variant", "value", 1))
        }
        None => message.replacen("field", "key", 1).replacen("variant", "value", 1),
    }
}

/// The known name that was most likely meant, where one is near.
pub(super) fn nearest<'a>(
    unknown: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let all = known.into_iter().map(|known| (distance(unknown, known), known));
    let (distance, known) = all.min()?;
    (distance <= known.len().max(unknown.len()).div_ceil(3)).then_some(known)
}

/// Edits between two names where a swap of neighbours is one edit (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let width = b.len() + 1;
    let mut cost: Vec<usize> = (0..(a.len() + 1) * width)
        .map(|k| {
            if k < width {
                k
            } else if k % width == 0 {
                k / width
            } else {
                0
            }
        })
        .collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let at = |i: usize, j: usize| i * width + j;
            let differ = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (cost[at(i - 1, j)] + 1)
                .min(cost[at(i, j - 1)] + 1)
                .min(cost[at(i - 1, j - 1)] + differ);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(cost[at(i - 2, j - 2)] + 1);
            }
            cost[at(i, j)] = best;
        }
    }
    cost[a.len() * width + b.len()]
}
