//! Reads a request's head for what decides on it: where it ends, how its body is framed, the
//! tokens in it and the lines that carry credentials.
//!
//! The kernel reads a head before it lets it through, and the daemon computes the same keys of a
//! token, so there is one reader for both. It goes in small steps over bytes that it is given
//! through a function, keeps everything in its own fields and has no loop: in the kernel
//! `bpf_loop` makes the steps, and the verifier sees one of them.
//!
//! **Tokens** are found by their form, wherever they stand in the request line or in a line of
//! credentials: a run of bytes with two dots or more, up to a blank, control character or one of
//! `"#&:;=?`. In `Authorization` a run of [`MIN_OPAQUE`] bytes is one, too. Each is given out as
//! a *deny key*: a keyed hash of the signature's bytes, which is what stands behind the last dot.
//! It is the same for both alphabets of base64, whatever the unused bits of the last character
//! are, with and without padding, and with bytes in between that are of no alphabet, as some
//! decoders pass over them. A percent sign in the request line stands for the byte that it
//! encodes. A signature shorter than [`MIN_SIGNATURE`] bytes is none: then the key is of the whole
//! token, read in the same way without its dots.
//!
//! **Lines of credentials** are `Authorization`, `Cookie`, `DPoP`, `Sec-WebSocket-Protocol` and
//! those that the configuration names, told by the first eight bytes of the line at most. The
//! *allow key* is a keyed hash of every byte of every such line.
//!
//! **What could be read in two ways** is [`ODD`]: a line without a name that all take for one, a
//! name that some take for that of the framing, a first line that is not a request's to all.
//!
//! Behind the head the reader goes on with the body where that is asked for.

mod body;
mod lines;

use bytemuck::{Pod, Zeroable};

pub use self::body::{BAD, MIN_BODY_TOKEN, PART, may_be_method};
pub(super) use self::lines::is_request_line;
use super::{
    sip::{Secret, Sip},
    swar::{base64, base64_digit, first, special},
};

/// Shorter signatures, in bytes, are not told apart by their own bytes: an authentication tag of
/// 128 bits is the shortest of JWA (RFC 7518, section 5).
pub const MIN_SIGNATURE: u32 = 16;
/// Shortest credential in `Authorization` without dots that has a deny key.
pub const MIN_OPAQUE: u32 = 20;
/// Names of further fields with credentials.
pub const EXTRA_LINES: usize = 4;
/// Longest body whose end is known.
pub const MAX_LENGTH: u32 = 1 << 30;

/// [`Scanner::step`]: go on.
pub const MORE: u32 = 0;
/// [`Scanner::step`]: [`Scanner::deny_key`] is a token's; go on.
pub const TOKEN: u32 = 1;
/// [`Scanner::step`]: the head is whole.
pub const WHOLE: u32 = 2;
/// [`Scanner::step`]: the bytes end before the head does.
pub const CUT: u32 = 3;

/// [`Scanner::flags`]: a line of credentials is there.
pub const CREDENTIALS: u32 = 0x01;
/// [`Scanner::flags`]: the query may hold a token.
pub const QUERY_TOKEN: u32 = 0x02;
/// [`Scanner::flags`]: a line or the framing could be read in two ways.
pub const ODD: u32 = 0x04;
/// [`Scanner::flags`]: the first line ends in `HTTP/1.x`.
pub const HTTP1: u32 = 0x08;
/// [`Scanner::flags`]: `Transfer-Encoding` frames the body.
pub const CHUNKED: u32 = 0x40;
/// [`Scanner::flags`]: what may be a token stands in the body.
pub const BODY_TOKEN: u32 = 0x80;
/// [`Scanner::flags`]: the body comes in several chunks.
pub const PARTS: u32 = 0x100;
/// [`Scanner::flags`]: the request line is whole.
pub const BEGUN: u32 = 0x200;
const LENGTH: u32 = 0x10;
const QUERY: u32 = 0x20;

// What line it is, or the body.
const REQUEST: u32 = 0;
const AUTHORIZATION: u32 = 1;
const OTHER: u32 = 2;
const BODY: u32 = 3;
const FIELD: u32 = 4;

const RUN: u32 = 0;
const SIGNATURE: u32 = 1;
const SKIP: u32 = 2;
const HASH: u32 = 3;
const DIGITS: u32 = 4;
const NAME: u32 = 5;

/// Words that a step passes over at most.
const ROW: u32 = 4;

/// How a line of credentials begins: its first bytes in lower case.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Prefix {
    /// The bytes, each `| 0x20`.
    pub word: u64,
    /// 0xff for each byte that counts; 0 matches nothing.
    pub mask: u64,
}

impl Prefix {
    /// The first eight bytes of `name:`.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let (mut word, mut mask) = ([0; 8], [0; 8]);
        let bytes = name.bytes().chain([b':']);
        for ((w, m), byte) in word.iter_mut().zip(&mut mask).zip(bytes) {
            (*w, *m) = (byte | 0x20, 0xff);
        }
        if name.is_empty() {
            mask = [0; 8];
        }
        Self { word: u64::from_le_bytes(word), mask: u64::from_le_bytes(mask) }
    }
}

/// What is looked for, the same for all heads.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Terms {
    /// The key of all hashes.
    pub secret: Secret,
    /// Further lines of credentials.
    pub extra: [Prefix; EXTRA_LINES],
}

/// The reader of one head. Plain data, so that it can live in a map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Scanner {
    terms: Terms,
    deny: Sip,
    allow: Sip,
    key: [u64; 2],
    bits: u64,
    len: u32,
    at: u32,
    state: u32,
    kind: u32,
    line: u32,
    run: u32,
    dots: u32,
    dot: u32,
    resume: u32,
    chars: u32,
    whole: u32,
    digits: u32,
    value: u32,
    flags: u32,
    keyed: u32,
    end: u32,
    stop: u32,
    look: u32,
}

impl Scanner {
    /// Begins with the first byte of a head of which `len` bytes are there. `keyed`: the allow
    /// key is wanted.
    #[inline(always)]
    pub fn start(&mut self, terms: &Terms, len: u32, keyed: bool) {
        self.terms = *terms;
        self.allow = Sip::new(terms.secret);
        self.len = len;
        self.at = 0;
        self.state = RUN;
        self.kind = REQUEST;
        self.line = 0;
        self.run = 0;
        self.dots = 0;
        self.dot = 0;
        self.value = 0;
        self.flags = 0;
        self.keyed = u32::from(keyed);
        self.end = 0;
    }

    /// The key of the token that was found last.
    #[inline(always)]
    #[must_use]
    pub const fn deny_key(&self) -> [u64; 2] {
        self.key
    }

    /// The key of all credentials, once the head is whole.
    #[inline(always)]
    #[must_use]
    pub const fn allow_key(&self) -> [u64; 2] {
        self.allow.finish()
    }

    /// What is known of the head.
    #[inline(always)]
    #[must_use]
    pub const fn flags(&self) -> u32 {
        self.flags
    }

    /// Bytes of the head with its empty line, once it is whole.
    #[inline(always)]
    #[must_use]
    pub const fn end(&self) -> u32 {
        self.end
    }

    /// Bytes of the body: 0 without a length. Means nothing beside [`ODD`] and [`CHUNKED`].
    #[inline(always)]
    #[must_use]
    pub const fn body(&self) -> u32 {
        self.value
    }

    /// One step. `load(at)` gives the eight bytes from `at` on; what lies behind the first `len`
    /// bytes changes nothing.
    #[inline(always)]
    pub fn step(&mut self, load: &impl Fn(u32) -> u64) -> u32 {
        if self.at >= self.len {
            return CUT;
        }
        let x = load(self.at);
        if self.state == RUN {
            self.run(x, load)
        } else if self.state == HASH {
            self.hash(x, load)
        } else if self.state == SIGNATURE {
            self.signature(x)
        } else if self.state == SKIP {
            self.skip(x, load)
        } else if self.state == NAME {
            self.name(x, load)
        } else {
            self.digits(x)
        }
    }

    #[inline(always)]
    fn run(&mut self, x: u64, load: &impl Fn(u32) -> u64) -> u32 {
        let x = match self.reach(x, load, special) {
            Ok(x) => x,
            Err(step) => return step,
        };
        let b = x as u8;
        if b == b'.' {
            self.dots += 1;
            self.dot = self.at;
            self.at += 1;
            return MORE;
        }
        if b == b'%' && self.kind == REQUEST {
            let code = load(self.at + 1);
            self.at += 1;
            if code as u8 == b'2' && (code >> 8) as u8 | 0x20 == b'e' {
                // An encoded dot.
                self.dots += 1;
                self.dot = self.at + 1;
            }
            return MORE;
        }
        if !ends_run(b) || (b == b'=' && pads(load(self.at + 1))) {
            self.at += 1;
            return MORE;
        }
        if self.at > self.run {
            let long = self.at - self.run >= MIN_OPAQUE && self.kind == AUTHORIZATION;
            if self.dots >= 2 || long {
                if self.flags & QUERY != 0 && self.kind == REQUEST {
                    self.flags |= QUERY_TOKEN;
                }
                self.resume = self.at;
                self.whole = u32::from(self.dots < 2);
                self.at = if self.dots < 2 { self.run } else { self.dot + 1 };
                self.begin_signature();
                return MORE;
            }
        }
        if b == b'\r' || b == b'\n' {
            return self.line_end(b, load);
        }
        if b == b'?' {
            self.flags |= QUERY;
        }
        self.at += 1;
        self.run = self.at;
        self.dots = 0;
        MORE
    }

    /// Goes on to the next byte that `find` finds, over up to [`ROW`] words; gives the bytes from there
    /// to the end of their word. May go on behind the last byte: whatever is found there is cut.
    ///
    /// # Errors
    /// [`MORE`] where nothing was found, [`CUT`] where the bytes ended before.
    #[inline(always)]
    fn reach(
        &mut self,
        mut x: u64,
        load: &impl Fn(u32) -> u64,
        find: impl Fn(u64) -> u64,
    ) -> Result<u64, u32> {
        let mut i = 1;
        loop {
            let found = find(x);
            if found != 0 {
                let ahead = first(found);
                self.at += ahead;
                return if self.at >= self.len { Err(CUT) } else { Ok(x >> (ahead * 8)) };
            }
            self.at += 8;
            if i == ROW {
                return Err(MORE);
            }
            x = load(self.at);
            i += 1;
        }
    }

    #[inline(always)]
    fn begin_signature(&mut self) {
        self.state = SIGNATURE;
        self.deny = Sip::new(self.terms.secret);
        self.chars = 0;
        self.bits = 0;
    }

    /// The token's end is in the bytes that are there.
    #[inline(always)]
    fn signature(&mut self, x: u64) -> u32 {
        if self.chars & 7 == 0
            && self.at + 8 <= self.resume
            && let Some(word) = base64(x)
        {
            self.deny.word(word);
            self.chars += 8;
            self.at += 8;
            return MORE;
        }
        let mut b = x as u8;
        if self.at >= self.resume {
            return self.end_signature();
        }
        self.at += 1;
        if b == b'%' && (self.kind == REQUEST || self.kind == BODY) {
            let (high, low) = (hex((x >> 8) as u8), hex((x >> 16) as u8));
            if high < 16 && low < 16 && self.at + 2 <= self.resume {
                b = high << 4 | low;
                self.at += 2;
            }
        }
        if let Some(digit) = base64_digit(b) {
            self.bits = self.bits << 6 | digit;
            self.chars += 1;
            if self.chars & 7 == 0 {
                self.deny.word(self.bits);
                self.bits = 0;
            }
        }
        MORE
    }

    #[inline(always)]
    fn end_signature(&mut self) -> u32 {
        let bytes = self.chars * 6 / 8;
        if bytes < MIN_SIGNATURE && self.whole == 0 {
            self.whole = 1;
            self.at = self.run;
            self.begin_signature();
            return MORE;
        }
        let left = self.chars & 7;
        if left > 1 {
            // The bits of no byte are dropped.
            self.deny.word(self.bits >> ((left * 6) & 7));
        }
        self.deny.word(u64::from(bytes) | u64::from(self.whole) << 32);
        self.key = self.deny.finish();
        self.state = RUN;
        self.at = self.resume;
        self.run = self.resume;
        self.dots = 0;
        TOKEN
    }
}

/// What no token goes on behind.
#[inline(always)]
const fn ends_run(b: u8) -> bool {
    b <= b' ' || matches!(b, b'"' | b'#' | b'&' | b':' | b';' | b'=' | b'?')
}

/// Behind a `=`: it pads a part of the token that another part follows.
#[inline(always)]
const fn pads(y: u64) -> bool {
    y as u8 == b'.' || y as u16 == u16::from_le_bytes(*b"=.")
}

/// The value of a hexadecimal digit; 16 or more for other bytes.
#[inline(always)]
const fn hex(b: u8) -> u8 {
    match b {
        b'0'..=b'9' => b - b'0',
        b'a'..=b'f' => b - b'a' + 10,
        b'A'..=b'F' => b - b'A' + 10,
        _ => 16,
    }
}

/// The deny key of a token as the service gets to see it; see the [module](self).
#[must_use]
pub fn deny_key(secret: Secret, token: &[u8]) -> [u64; 2] {
    let terms = Terms { secret, extra: [Prefix { word: 0, mask: 0 }; EXTRA_LINES] };
    let mut scanner = Scanner::zeroed();
    let len = token.len() as u32;
    scanner.start(&terms, len + 1, false);
    scanner.kind = AUTHORIZATION;
    let load = |at| bytes_at(token, at);
    // Every byte is looked at three times at most.
    for _ in 0..token.len() * 3 + 3 {
        match scanner.step(&load) {
            MORE => {}
            TOKEN => return scanner.key,
            _ => break,
        }
    }
    // No run of it looks like a token: the whole then.
    scanner.start(&terms, len + 1, false);
    (scanner.kind, scanner.resume, scanner.whole) = (AUTHORIZATION, len, 1);
    scanner.begin_signature();
    for _ in 0..=token.len() {
        if scanner.step(&load) == TOKEN {
            break;
        }
    }
    scanner.key
}

/// Eight bytes of a slice, line feeds behind its end.
#[must_use]
pub fn bytes_at(bytes: &[u8], at: u32) -> u64 {
    let rest = bytes.get(at as usize..).unwrap_or_default();
    if let Some(whole) = rest.first_chunk() {
        return u64::from_le_bytes(*whole);
    }
    let mut word = [b'\n'; 8];
    for (to, from) in word.iter_mut().zip(rest) {
        *to = *from;
    }
    u64::from_le_bytes(word)
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
