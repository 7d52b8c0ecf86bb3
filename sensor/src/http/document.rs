//! The response bodies that are kept: JSON documents that say which keys an issuer signs with.
//!
//! Kept are 200 answers to GET, without content coding, of which the body is a JSON object and
//! either the path asks for such a document or the object's first member is `keys`. All other
//! bodies are passed over: of those no more than white space, a brace and a few letters are held.

use super::Body;

/// What a request may be answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// No document: the method is not GET.
    Nothing,
    /// Anything.
    Anything,
    /// A document about keys, by its path.
    Document,
}

impl Asked {
    pub(super) fn of(method: &[u8], target: &[u8]) -> Self {
        const WELL_KNOWN: &[u8] = b"/.well-known/";
        /// What stands behind it in the paths of key sets and of discovery documents (RFC 8414,
        /// section 3; OpenID Connect Discovery, section 4).
        const NAMES: [&[u8]; 4] =
            [b"jwks", b"keys", b"openid-configuration", b"oauth-authorization-server"];
        if method != b"GET" {
            return Self::Nothing;
        }
        // Few paths have a dot, and to look for one byte costs a fraction.
        let name = memchr::memchr(b'.', target)
            .and_then(|_| memchr::memmem::find(target, WELL_KNOWN))
            .and_then(|at| target.get(at + WELL_KNOWN.len()..))
            .unwrap_or_default();
        if NAMES.iter().any(|known| name.starts_with(known)) {
            Self::Document
        } else {
            Self::Anything
        }
    }
}

/// A response body that is kept, or may be yet.
pub(super) struct Document {
    bytes: Vec<u8>,
    named: bool,
    /// The bytes so far tell that it is one.
    begun: bool,
    /// Bytes are missing.
    lost: bool,
}

impl Document {
    /// Before the body of an answer; `coded` says that a content coding is on it.
    pub(super) fn new(asked: Asked, status: u16, coded: bool) -> Option<Self> {
        let named = asked == Asked::Document;
        if status != 200 || asked == Asked::Nothing || coded && !named {
            return None;
        }
        Some(Self { bytes: Vec::new(), named, begun: coded, lost: coded })
    }

    /// Takes body bytes, of which at most `limit` are kept in all. `false`: it is no such document.
    pub(super) fn take(&mut self, data: &[u8], limit: usize) -> bool {
        if self.lost || data.is_empty() {
            return true;
        }
        if self.bytes.len() + data.len() > limit {
            // Half a document is of no use, but that it was one is worth knowing.
            let room = limit.saturating_sub(self.bytes.len());
            self.bytes.extend_from_slice(data.get(..room).unwrap_or_default());
            // Of a document that was asked for by its name white space alone is its beginning.
            let begun = self.begins(&self.bytes).unwrap_or(self.named);
            self.lose();
            self.begun |= begun;
            return self.begun;
        }
        // Most bodies are none, and the first bytes tell: those are not copied.
        if !self.begun && self.bytes.is_empty() && self.begins(data) == Some(false) {
            return false;
        }
        self.bytes.extend_from_slice(data);
        if !self.begun {
            match self.begins(&self.bytes) {
                Some(begun) => self.begun = begun,
                None => return true,
            }
        }
        self.begun
    }

    /// Body bytes passed unseen.
    pub(super) fn lose(&mut self) {
        self.lost = true;
        self.bytes = Vec::new();
    }

    /// Whether `bytes` begin as the document would; `None` where more are needed.
    fn begins(&self, bytes: &[u8]) -> Option<bool> {
        const FIRST_MEMBER: &[u8] = b"\"keys\"";
        match bytes.trim_ascii_start().split_first()? {
            (b'{', _) if self.named => Some(true),
            (b'{', rest) => {
                let rest = rest.trim_ascii_start();
                match rest.get(..FIRST_MEMBER.len()) {
                    Some(first) => Some(first == FIRST_MEMBER),
                    None if FIRST_MEMBER.starts_with(rest) => None,
                    None => Some(false),
                }
            }
            _ => Some(false),
        }
    }

    /// Bytes that are held.
    pub(super) fn held(&self) -> usize {
        self.bytes.capacity()
    }

    /// The answer is over; `whole` says that it was followed to its end.
    pub(super) fn finish(self, whole: bool) -> Option<Body> {
        // A body that was asked for by its name and of which nothing was seen counts as cut.
        let cut_off = self.named && (self.lost || self.bytes.is_empty() && !whole);
        if !self.begun && !cut_off {
            return None;
        }
        let complete = whole && !self.lost;
        Some(Body { complete, bytes: if complete { self.bytes } else { Vec::new() } })
    }
}

/// Its size only: it may hold anything.
impl std::fmt::Debug for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Document").field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}
