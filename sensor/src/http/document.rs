//! The response bodies that are kept: JSON documents that say which keys an issuer signs with.
//!
//! Kept are 200 answers to GET of which the body is a JSON object and either the path asks for such a
//! document or the object's first member is `keys`. All other bodies are passed over: of those no
//! more than white space, a brace and a few letters are held. Compressed bodies (gzip, deflate) are
//! kept where the path may ask for a key set, and unpacked when they are whole, to the same length
//! at most. Bodies in another coding, and in several, count as cut.

use std::io::Read;

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use super::{Body, fields::trim};

/// The longest document that is unpacked: as long as one that came as it is.
const MAX_UNPACKED: usize = 64 * 1024;

/// The content codings of a body (RFC 9110, section 8.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Coding {
    /// None.
    #[default]
    Identity,
    /// gzip, also as `x-gzip`.
    Gzip,
    /// The zlib format; some servers send bare deflate under this name.
    Deflate,
    /// Another, or several.
    Other,
}

impl Coding {
    /// With one more `Content-Encoding` field.
    pub(super) fn with(self, field: &[u8]) -> Self {
        field.split(|&b| b == b',').map(trim).fold(self, |coding, name| {
            let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
            let one = match name {
                [] => return coding,
                _ if is("identity") => return coding,
                _ if is("gzip") || is("x-gzip") => Self::Gzip,
                _ if is("deflate") => Self::Deflate,
                _ => Self::Other,
            };
            if coding == Self::Identity { one } else { Self::Other }
        })
    }

    /// The body without the coding; `None` where it is broken, or longer than [`MAX_UNPACKED`].
    fn decode(self, coded: Vec<u8>) -> Option<Vec<u8>> {
        let read = |decoder: &mut dyn Read| {
            let mut bytes = Vec::new();
            decoder.take(MAX_UNPACKED as u64 + 1).read_to_end(&mut bytes).ok()?;
            (bytes.len() <= MAX_UNPACKED).then_some(bytes)
        };
        match self {
            Self::Identity => Some(coded),
            Self::Gzip => read(&mut MultiGzDecoder::new(&coded[..])),
            Self::Deflate => read(&mut ZlibDecoder::new(&coded[..]))
                .or_else(|| read(&mut DeflateDecoder::new(&coded[..]))),
            Self::Other => None,
        }
    }
}

/// What a request may be answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// No document: the method is not GET.
    Nothing,
    /// Anything.
    Anything,
    /// Perhaps a key set, by the last segment of its path.
    Likely,
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
            return Self::Document;
        }
        let path =
            memchr::memchr(b'?', target).map_or(target, |at| target.get(..at).unwrap_or(target));
        let last = memchr::memrchr(b'/', path).and_then(|at| path.get(at + 1..));
        if last.is_some_and(is_key_set_name) { Self::Likely } else { Self::Anything }
    }
}

/// Whether issuers in common use serve their key set under this name: `certs`, `keys`, `jwks`,
/// `jwks.json` and their like.
fn is_key_set_name(name: &[u8]) -> bool {
    matches!(name, b"certs" | b"keys" | b"jwk" | b"publickeys" | b"public-keys")
        || name.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"jwks"))
}

/// A response body that is kept, or may be yet.
pub(super) struct Document {
    bytes: Vec<u8>,
    coding: Coding,
    named: bool,
    /// The bytes so far tell that it is one.
    begun: bool,
    /// Bytes are missing.
    lost: bool,
}

impl Document {
    /// Before the body of an answer with these codings.
    pub(super) fn new(asked: Asked, status: u16, coding: Coding) -> Option<Self> {
        let named = asked == Asked::Document;
        let coded = coding != Coding::Identity;
        if status != 200 || asked == Asked::Nothing || coded && asked == Asked::Anything {
            return None;
        }
        // Whether it is a document is seen when it is unpacked.
        let lost = coding == Coding::Other;
        if lost && !named {
            return None;
        }
        Some(Self { bytes: Vec::new(), coding, named, begun: coded && named, lost })
    }

    /// Takes body bytes, of which at most `limit` are kept in all. `false`: it is no such document.
    pub(super) fn take(&mut self, data: &[u8], limit: usize) -> bool {
        if self.lost || data.is_empty() {
            return true;
        }
        if self.coding != Coding::Identity {
            if self.bytes.len() + data.len() <= limit {
                self.bytes.extend_from_slice(data);
                return true;
            }
            self.lose();
            return self.named;
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
    pub(super) fn finish(mut self, whole: bool) -> Option<Body> {
        if self.coding != Coding::Identity && !self.bytes.is_empty() {
            if !whole || self.lost {
                // Nobody knows what it was.
                self.lose();
            } else {
                match self.coding.decode(std::mem::take(&mut self.bytes)) {
                    Some(bytes) => {
                        let begun = self.begins(&bytes).unwrap_or(self.named);
                        if !begun {
                            return None;
                        }
                        self.begun = true;
                        self.bytes = bytes;
                    }
                    None => self.lose(),
                }
            }
        }
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
