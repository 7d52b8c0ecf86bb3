//! What header fields say about a message's framing (RFC 9112, section 6), and where they
//! contradict each other.

use super::document::Coding;
use crate::finding::{Finding, FindingId};

/// How long a message's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// This many bytes.
    Length(u64),
    /// Chunked.
    Chunked,
    /// Neither length nor coding is given.
    Unframed,
    /// A transfer coding other than chunked comes last.
    OtherCoding,
    /// What is given can't be relied upon.
    Unreliable,
}

/// The fields of one head that frame the message, or that must not be there twice.
#[derive(Default)]
pub(super) struct Fields {
    length: Option<u64>,
    length_fields: bool,
    length_repeated: bool,
    length_conflict: bool,
    length_invalid: Option<&'static str>,
    codings: bool,
    chunked: bool,
    chunked_last: bool,
    coding_invalid: Option<&'static str>,
    hosts: u32,
    authorizations: u32,
    /// `Expect: 100-continue` is there.
    pub(super) expects_continue: bool,
    /// An `Upgrade` field is there.
    pub(super) upgrade: bool,
    /// What coding is on the body.
    pub(super) coding: Coding,
}

/// Without the optional white space of RFC 9110, section 5.6.3, at both ends.
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Whether it is this name, in any case; as it is mostly written it is found by one comparison.
pub(crate) fn is_name<const N: usize>(name: &[u8], usual: &[u8; N]) -> bool {
    name == usual || name.eq_ignore_ascii_case(usual)
}

impl Fields {
    /// Takes note of one field; `value` without white space around it.
    #[inline]
    pub(super) fn see(&mut self, name: &[u8], value: &[u8]) {
        match name.len() {
            4 if is_name(name, b"Host") => self.hosts += 1,
            6 if name.eq_ignore_ascii_case(b"expect") => {
                self.expects_continue |= value.eq_ignore_ascii_case(b"100-continue");
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.upgrade = true,
            13 if is_name(name, b"Authorization") => self.authorizations += 1,
            14 if is_name(name, b"Content-Length") => self.see_length(value),
            16 if name.eq_ignore_ascii_case(b"content-encoding") => {
                self.coding = self.coding.with(value);
            }
            17 if is_name(name, b"Transfer-Encoding") => self.see_codings(value),
            _ => {}
        }
    }

    fn see_length(&mut self, value: &[u8]) {
        self.length_fields = true;
        for member in value.split(|&b| b == b',') {
            match decimal(trim(member)) {
                Err(why) => self.length_invalid = Some(why),
                Ok(n) => match self.length {
                    None => self.length = Some(n),
                    Some(earlier) if earlier == n => self.length_repeated = true,
                    Some(_) => self.length_conflict = true,
                },
            }
        }
    }

    fn see_codings(&mut self, value: &[u8]) {
        self.codings = true;
        if value.is_empty() {
            self.coding_invalid = Some("Transfer-Encoding is empty");
            self.chunked_last = false;
        }
        for coding in value.split(|&b| b == b',').map(trim).filter(|c| !c.is_empty()) {
            // Parameters are for the other codings; chunked has none.
            let name = trim(coding.split(|&b| b == b';').next().unwrap_or_default());
            if coding.eq_ignore_ascii_case(b"chunked") {
                if self.chunked {
                    self.coding_invalid = Some("chunked is named more than once");
                }
                (self.chunked, self.chunked_last) = (true, true);
                continue;
            }
            if self.chunked {
                self.coding_invalid = Some("chunked is not the last transfer coding");
            }
            self.chunked_last = false;
            const KNOWN: [&[u8]; 5] = [b"gzip", b"deflate", b"compress", b"x-gzip", b"x-compress"];
            if !KNOWN.iter().any(|k| name.eq_ignore_ascii_case(k)) {
                self.coding_invalid = Some("Transfer-Encoding names an unknown coding");
            }
        }
    }

    /// How the message is framed, and what is wrong with that.
    pub(super) fn framing(
        &self,
        is_request: bool,
        minor_version: u8,
        findings: &mut Vec<Finding>,
    ) -> Framing {
        let mut note = |id, detail: &'static str| findings.push(Finding::new(id, detail));
        if self.codings {
            if self.length_fields {
                note(
                    FindingId::HttpContentLengthAndTransferEncoding,
                    "Content-Length and Transfer-Encoding are both present",
                );
            }
            if let Some(why) = self.coding_invalid {
                note(FindingId::HttpTransferEncodingInvalid, why);
            } else if is_request && !self.chunked_last {
                note(
                    FindingId::HttpTransferEncodingInvalid,
                    "a request's last transfer coding is not chunked",
                );
            } else if minor_version == 0 {
                note(
                    FindingId::HttpTransferEncodingInvalid,
                    "Transfer-Encoding in a message of HTTP/1.0",
                );
            }
        }
        if let Some(why) = self.length_invalid {
            note(FindingId::HttpContentLengthInvalid, why);
        }
        if self.length_conflict {
            note(FindingId::HttpContentLengthConflict, "Content-Length is given with two values");
        } else if self.length_repeated {
            note(
                FindingId::HttpContentLengthRepeated,
                "Content-Length is given more than once with one value",
            );
        }
        if self.codings {
            return match (self.chunked_last, is_request) {
                (true, _) => Framing::Chunked,
                (false, true) => Framing::Unreliable,
                (false, false) => Framing::OtherCoding,
            };
        }
        if self.length_invalid.is_some() || self.length_conflict {
            return Framing::Unreliable;
        }
        self.length.map_or(Framing::Unframed, Framing::Length)
    }

    /// What is wrong with a request's fields apart from its framing.
    pub(super) fn judge_request(&self, minor_version: u8, findings: &mut Vec<Finding>) {
        if self.hosts > 1 {
            findings.push(Finding::new(
                FindingId::HttpDuplicateHost,
                "more than one Host field is present",
            ));
        } else if self.hosts == 0 && minor_version > 0 {
            findings.push(Finding::new(FindingId::HttpMissingHost, "no Host field is present"));
        }
        if self.authorizations > 1 {
            findings.push(Finding::new(
                FindingId::HttpDuplicateAuthorization,
                "more than one Authorization field is present",
            ));
        }
    }
}

/// A number of RFC 9110's `1*DIGIT`.
fn decimal(digits: &[u8]) -> Result<u64, &'static str> {
    if digits.is_empty() {
        return Err("Content-Length is empty or has an empty list member");
    }
    digits.iter().try_fold(0_u64, |n, &b| {
        if !b.is_ascii_digit() {
            return Err("Content-Length holds a character that is not a digit");
        }
        n.checked_mul(10)
            .and_then(|n| n.checked_add(u64::from(b - b'0')))
            .ok_or("Content-Length overflows 64 bits")
    })
}
