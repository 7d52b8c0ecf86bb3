//! The list of what is revoked: a file that the configuration names.
//!
//! One JSON object a line, with members named as in events and tokens:
//!
//! ```text
//! {"fingerprint": "30313233343536373839616263646566"}
//! {"jti": "8f14e45f", "iss": "https://id.example"}
//! {"iss": "https://id.example", "sid": "08a5019c"}
//! {"iss": "https://id.example", "sub": "alice"}
//! ```
//!
//! `iss` may be left out beside `jti` only. Empty lines and lines that begin with `#` are none.

use std::{fmt, io::Read as _, path::Path};

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;

use crate::{
    memory::{Memory, Revocation},
    whole_file,
};

/// The largest list that is read.
pub const MAX_LIST_BYTES: u64 = 32 << 20;
/// The most entries of a list: at 16 bytes each and a hash table's slack about 10 MB.
pub const MAX_LISTED: usize = 262_144;

/// What is listed as revoked.
#[derive(Default)]
pub struct RevocationList(Vec<Listed>);

enum Listed {
    Fingerprint(u128),
    Id { issuer: Option<String>, id: String },
    Session { issuer: String, session: String },
    Subject { issuer: String, subject: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    fingerprint: Option<String>,
    jti: Option<String>,
    iss: Option<String>,
    sub: Option<String>,
    sid: Option<String>,
}

impl RevocationList {
    /// Reads a list; without a path it is empty.
    ///
    /// # Errors
    /// It can't be read, is over a limit, or a line of it is wrong; the error names file and line.
    /// Never a part of a list.
    pub fn load(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self::default()) };
        let named = || format!("list_file {}", path.display());
        let file = whole_file::open(path).with_context(named)?;
        let mut bytes = Vec::new();
        file.take(MAX_LIST_BYTES + 1).read_to_end(&mut bytes).with_context(named)?;
        ensure!(bytes.len() as u64 <= MAX_LIST_BYTES, "{}: over {MAX_LIST_BYTES} bytes", named());
        Self::parse(&bytes).with_context(named)
    }

    /// Takes the bytes of a list.
    ///
    /// # Errors
    /// A line is wrong, or there are more than [`MAX_LISTED`]; the error names the line.
    pub fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        let mut listed = Vec::new();
        for (k, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            ensure!(listed.len() < MAX_LISTED, "line {}: more than {MAX_LISTED} entries", k + 1);
            listed.push(entry(line).with_context(|| format!("line {}", k + 1))?);
        }
        Ok(Self(listed))
    }

    /// How much is listed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is listed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts the list in force, in the place of the one before.
    pub fn apply(&self, memory: &mut Memory) {
        memory.set_listed(self.0.iter().map(|listed| match listed {
            Listed::Fingerprint(fingerprint) => Revocation::Fingerprint(*fingerprint),
            Listed::Id { issuer, id } => Revocation::Id { issuer: issuer.as_deref(), id },
            Listed::Session { issuer, session } => Revocation::Session { issuer, session },
            Listed::Subject { issuer, subject } => Revocation::Subject { issuer, subject },
        }));
    }
}

/// How many entries it has.
impl fmt::Debug for RevocationList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RevocationList").field(&self.0.len()).finish()
    }
}

fn entry(line: &[u8]) -> anyhow::Result<Listed> {
    let Line { fingerprint, jti, iss, sub, sid } = serde_json::from_slice(line)?;
    Ok(match (fingerprint, jti, iss, sub, sid) {
        (Some(digits), None, None, None, None) => {
            let all_hex = digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit());
            ensure!(all_hex, "fingerprint is not 32 hexadecimal digits");
            Listed::Fingerprint(u128::from_str_radix(&digits, 16)?)
        }
        (None, Some(id), issuer, None, None) => Listed::Id { issuer, id },
        (None, None, Some(issuer), Some(subject), None) => Listed::Subject { issuer, subject },
        (None, None, Some(issuer), None, Some(session)) => Listed::Session { issuer, session },
        _ => bail!(
            "an entry is a fingerprint, a jti with or without iss, iss and sub, or iss and sid"
        ),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn every_kind_of_entry_is_read() {
        let text = "# what leaked in May\n\n\
            {\"fingerprint\": \"30313233343536373839616263646566\"}\r\n\
            {\"jti\": \"a\"}\n  {\"jti\": \"a\", \"iss\": \"i\"}\n\
            {\"iss\": \"i\", \"sid\": \"s\"}\n{\"iss\": \"i\", \"sub\": \"u v\"}";
        let list = RevocationList::parse(text.as_bytes()).unwrap();
        let [
            Listed::Fingerprint(0x3031_3233_3435_3637_3839_6162_6364_6566),
            Listed::Id { issuer: None, .. },
            Listed::Id { issuer: Some(_), .. },
            Listed::Session { .. },
            Listed::Subject { subject, .. },
        ] = &list.0[..]
        else {
            panic!("{} entries", list.len())
        };
        assert_eq!(subject, "u v");
        assert!(RevocationList::parse(b"").unwrap().is_empty());
    }

    #[test]
    fn a_wrong_line_refuses_the_list_and_is_named() {
        for wrong in [
            "{}",
            "{\"sub\": \"u\"}",
            "{\"sid\": \"s\"}",
            "{\"iss\": \"i\"}",
            "{\"iss\": \"i\", \"sub\": \"u\", \"sid\": \"s\"}",
            "{\"jti\": 7}",
            "{\"jit\": \"a\"}",
            "{\"fingerprint\": \"3031\"}",
            "{\"fingerprint\": \"+0313233343536373839616263646566\"}",
            "revoked",
            "[1]",
            "\u{feff}{\"jti\": \"a\"}",
        ] {
            let text = format!("{{\"jti\": \"a\"}}\n{wrong}\n");
            let error = format!("{:#}", RevocationList::parse(text.as_bytes()).unwrap_err());
            assert!(error.starts_with("line 2: "), "{error}");
        }
        let many = "{\"jti\":\"a\"}\n".repeat(MAX_LISTED + 1);
        let error = RevocationList::parse(many.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(&format!("line {}: more than", MAX_LISTED + 1)), "{error}");
    }

    #[test]
    fn a_file_that_can_not_be_read_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("revoked");
        let fails = || format!("{:#}", RevocationList::load(Some(&path)).unwrap_err());
        assert!(fails().contains("revoked: No such file"), "{}", fails());
        fs::write(&path, "x").unwrap();
        assert!(fails().contains("revoked: line 1: "), "{}", fails());
        fs::write(&path, "{\"jti\": \"a\"}").unwrap();
        assert_eq!(RevocationList::load(Some(&path)).unwrap().len(), 1);
        assert!(RevocationList::load(None).unwrap().is_empty());
    }
}
