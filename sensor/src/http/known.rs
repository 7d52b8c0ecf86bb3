//! Heads of answers that were read lately. A service answers alike within a second: to compare a
//! head with the last ones costs a fraction of reading it.

use super::{document::Coding, fields::Framing, head::ResponseHead};

/// Heads that are kept: answers of a few routes take turns.
const HEADS: usize = 4;

/// Bytes of the longest head that is kept.
const MAX_LEN: usize = 1024;

/// A head through its empty line, and what was read in it.
struct KnownHead {
    bytes: Vec<u8>,
    status: u16,
    coding: Coding,
    framing: Framing,
}

/// The heads of the last answers of all connections in which nothing was wrong.
#[derive(Default)]
pub(super) struct KnownHeads {
    heads: Vec<KnownHead>,
    /// The one that makes room.
    oldest: usize,
}

impl std::fmt::Debug for KnownHeads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KnownHeads({})", self.heads.len())
    }
}

impl KnownHeads {
    /// The head that `bytes` begin with, and its length, if it is one of those. A head ends at its
    /// empty line, so the same bytes are the same head whatever follows.
    pub(super) fn find(&self, bytes: &[u8]) -> Option<(ResponseHead, usize)> {
        let known = self.heads.iter().find(|known| bytes.starts_with(&known.bytes))?;
        let KnownHead { status, coding, framing, .. } = *known;
        Some((ResponseHead { status, coding, framing, findings: Vec::new() }, known.bytes.len()))
    }

    /// Keeps a head that was read.
    pub(super) fn note(&mut self, bytes: &[u8], head: &ResponseHead) {
        if !head.findings.is_empty() || bytes.is_empty() || bytes.len() > MAX_LEN {
            return;
        }
        let ResponseHead { status, coding, framing, .. } = *head;
        match self.heads.get_mut(self.oldest) {
            Some(known) => {
                known.bytes.clear();
                known.bytes.extend_from_slice(bytes);
                (known.status, known.coding, known.framing) = (status, coding, framing);
            }
            None => self.heads.push(KnownHead { bytes: bytes.to_vec(), status, coding, framing }),
        }
        self.oldest = (self.oldest + 1) % HEADS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Limits, head};

    #[test]
    fn a_known_head_is_what_reading_gives() {
        let limits = Limits::default();
        let heads: Vec<String> = (0..20)
            .map(|n| format!("HTTP/1.1 20{} OK\r\nContent-Length: {n}\r\n\r\n", n % 3))
            .collect();
        let mut known = KnownHeads::default();
        for turn in 0..200_usize {
            // Some come again, with bodies of all kinds behind them.
            let text = &heads[turn * turn % 7 + turn / 40];
            let bytes = format!("{text}{}", "\r\nx".repeat(turn % 3));
            let (read, len) = head::whole_response(bytes.as_bytes(), &limits).unwrap();
            assert_eq!(len, text.len());
            match known.find(bytes.as_bytes()) {
                Some((found, length)) => {
                    assert_eq!((found.status, found.coding), (read.status, read.coding));
                    assert_eq!((found.framing, length), (read.framing, len));
                    assert!(found.findings.is_empty());
                }
                None => known.note(text.as_bytes(), &read),
            }
            assert!(known.find(&bytes.as_bytes()[..len - 1]).is_none(), "cut off");
            assert!(known.find(bytes.as_bytes()).is_some() && known.heads.len() <= HEADS);
        }
    }

    #[test]
    fn what_has_findings_is_read_again() {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n";
        let mut known = KnownHeads::default();
        let (read, _) = head::whole_response(bytes, &Limits::default()).unwrap();
        assert!(!read.findings.is_empty());
        known.note(bytes, &read);
        assert!(known.find(bytes).is_none());
    }
}
