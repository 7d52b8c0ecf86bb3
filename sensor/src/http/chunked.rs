//! The chunked transfer coding (RFC 9112, section 7.1) as a byte-driven state machine.

use memchr::{memchr, memchr2};

use super::Body;

/// Bytes of a chunk-size line with its extensions; nginx and Go stop at 4 KiB as well.
const LINE_BYTES: u32 = 4 * 1024;
/// Bytes of all trailer lines together.
const TRAILER_BYTES: u32 = 64 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// In the digits of a size.
    Size,
    /// In white space behind the digits.
    Space,
    /// In chunk extensions, which frame nothing and are passed over.
    Extension,
    /// Behind the CR of a size line.
    SizeLf,
    /// In chunk data.
    Data,
    /// Behind chunk data.
    DataCr,
    /// Behind the CR that follows chunk data.
    DataLf,
    /// At the start of a trailer line.
    TrailerStart,
    /// In a trailer line.
    Trailer,
    /// Behind a CR at the start of a trailer line.
    TrailerLf,
}

/// What a step of [`Chunked`] came upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The consumed bytes are framing.
    Framing,
    /// The consumed bytes are body.
    Data,
    /// The message ends behind the consumed bytes.
    End,
    /// The framing is broken at the first byte that was not consumed.
    Broken(&'static str),
}

/// Where a chunked body stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunked {
    phase: Phase,
    /// Bytes of this size line (in `Size`, its digits) or of all trailers.
    line: u32,
    /// The size so far, then the data bytes still to come.
    left: u64,
}

impl Chunked {
    /// Before the first chunk.
    pub(super) const fn new() -> Self {
        Self { phase: Phase::Size, line: 0, left: 0 }
    }

    /// Passes over `n` bytes that were not seen, if they surely lie within one chunk's data.
    pub(super) fn skip(&mut self, n: u64) -> bool {
        if self.phase != Phase::Data || n > self.left {
            return false;
        }
        self.left -= n;
        if self.left == 0 {
            self.phase = Phase::DataCr;
        }
        true
    }

    fn size_line_ends(&mut self) {
        self.line = 0;
        self.phase = if self.left == 0 { Phase::TrailerStart } else { Phase::Data };
    }

    /// Takes as many of `bytes` as belong together; at least one unless broken or `bytes` is
    /// empty. `irregular` is set where the framing is not as RFC 9112 has it, but all servers
    /// that accept it agree on what it means.
    pub(super) fn step(
        &mut self,
        bytes: &[u8],
        irregular: &mut Option<&'static str>,
    ) -> (usize, Step) {
        let Some(&first) = bytes.first() else { return (0, Step::Framing) };
        match self.phase {
            Phase::Data => {
                let n = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                self.left -= n as u64;
                if self.left == 0 {
                    self.phase = Phase::DataCr;
                }
                return (n, Step::Data);
            }
            Phase::Extension => {
                let end = memchr2(b'\r', b'\n', bytes);
                let n = end.unwrap_or(bytes.len());
                self.line = self.line.saturating_add(u32::try_from(n).unwrap_or(u32::MAX));
                if self.line > LINE_BYTES {
                    return (0, Step::Broken("a chunk-size line is longer than 4 KiB"));
                }
                if n > 0 {
                    return (n, Step::Framing);
                }
                if first == b'\r' {
                    self.phase = Phase::SizeLf;
                } else {
                    *irregular = Some("a chunk-size line ends in a bare line feed");
                    self.size_line_ends();
                }
            }
            Phase::Trailer => {
                let n = memchr(b'\n', bytes).map_or(bytes.len(), |i| i + 1);
                self.line = self.line.saturating_add(u32::try_from(n).unwrap_or(u32::MAX));
                if self.line > TRAILER_BYTES {
                    return (0, Step::Broken("the trailers are longer than 64 KiB"));
                }
                if bytes.get(n - 1) == Some(&b'\n') {
                    self.phase = Phase::TrailerStart;
                }
                return (n, Step::Framing);
            }
            Phase::Size => match first {
                b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F' => {
                    let digit = u64::from((first as char).to_digit(16).unwrap_or(0));
                    self.line += 1;
                    if self.left >> 60 != 0 || self.line > LINE_BYTES {
                        return (0, Step::Broken("a chunk size overflows 64 bits"));
                    }
                    self.left = self.left << 4 | digit;
                }
                _ if self.line == 0 => return (0, Step::Broken("a chunk size is missing")),
                b' ' | b'\t' => {
                    *irregular = Some("white space follows a chunk size");
                    self.phase = Phase::Space;
                }
                _ => return self.behind_size(first, irregular),
            },
            Phase::Space => match first {
                b' ' | b'\t' => {
                    self.line += 1;
                    if self.line > LINE_BYTES {
                        return (0, Step::Broken("a chunk-size line is longer than 4 KiB"));
                    }
                }
                _ => return self.behind_size(first, irregular),
            },
            Phase::SizeLf if first == b'\n' => self.size_line_ends(),
            Phase::SizeLf => {
                return (0, Step::Broken("a carriage return in a chunk-size line stands alone"));
            }
            Phase::DataCr if first == b'\r' => self.phase = Phase::DataLf,
            Phase::DataCr if first == b'\n' => {
                *irregular = Some("chunk data ends in a bare line feed");
                *self = Self::new();
            }
            Phase::DataLf if first == b'\n' => *self = Self::new(),
            Phase::DataCr | Phase::DataLf => {
                return (0, Step::Broken("chunk data is not followed by CRLF"));
            }
            Phase::TrailerStart => match first {
                b'\r' => self.phase = Phase::TrailerLf,
                b'\n' => {
                    *irregular = Some("the trailers end in a bare line feed");
                    return (1, Step::End);
                }
                _ => self.phase = Phase::Trailer,
            },
            Phase::TrailerLf if first == b'\n' => return (1, Step::End),
            Phase::TrailerLf => {
                return (0, Step::Broken("a carriage return in the trailers stands alone"));
            }
        }
        (1, Step::Framing)
    }

    fn behind_size(&mut self, byte: u8, irregular: &mut Option<&'static str>) -> (usize, Step) {
        match byte {
            b';' => self.phase = Phase::Extension,
            b'\r' => self.phase = Phase::SizeLf,
            b'\n' => {
                *irregular = Some("a chunk-size line ends in a bare line feed");
                self.size_line_ends();
            }
            _ => return (0, Step::Broken("a chunk size holds a foreign character")),
        }
        (1, Step::Framing)
    }
}

/// The body that begins with these bytes, as far as they go.
pub(super) fn decode(mut bytes: &[u8]) -> Body {
    let (mut body, mut chunked) = (Body::default(), Chunked::new());
    loop {
        let (n, step) = chunked.step(bytes, &mut None);
        let (taken, rest) = bytes.split_at_checked(n).unwrap_or_default();
        match step {
            Step::Data => body.bytes.extend_from_slice(taken),
            Step::Framing => {}
            Step::End => body.complete = true,
            Step::Broken(_) => return body,
        }
        if body.complete || n == 0 {
            return body;
        }
        bytes = rest;
    }
}
