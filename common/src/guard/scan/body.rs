//! What follows a head: its body, read for tokens, and the framing of a chunked one.
//!
//! A body is read in the same steps as a head. Tokens in it are found by their form: a run of at
//! least [`MIN_BODY_TOKEN`] bytes that begins as a JOSE header in base64url does. What a form or
//! JSON may encode (`%65`, `\u0065`) counts as such a beginning where dots follow. A run that goes
//! over from one chunk to the next is not joined; [`PARTS`] says that this may be so.
//!
//! Chunks are framed as RFC 9112, section 7.1 has it, and nothing else: where a lenient server and
//! a strict one would find another end, the answer is [`BAD`].

use super::{
    super::swar::{equal, first, special},
    BODY, BODY_TOKEN, CHUNKED, CUT, MAX_LENGTH, MORE, ODD, PARTS, RUN, SIGNATURE, Scanner, Terms,
    WHOLE, ends_run, pads,
};

/// The shortest token in a body: the header `{"alg":""}` alone has 14 bytes, and two dots follow.
pub const MIN_BODY_TOKEN: u32 = 16;

/// [`Scanner::body_step`]: as much of the body as was asked for has been read, and it goes on. The
/// data, of a body or of one chunk, end at [`Scanner::stop`].
pub const PART: u32 = 4;
/// [`Scanner::body_step`]: this is no chunk.
pub const BAD: u32 = 5;

const SIZE: u32 = 6;
const EXTENSION: u32 = 7;
const BEHIND: u32 = 8;
const TRAILER: u32 = 9;
const TRAILER_FIELD: u32 = 10;

impl Scanner {
    /// Behind a whole head: goes on with its body, of which about `most` bytes are read.
    #[inline(always)]
    pub fn begin_body(&mut self, most: u32) {
        self.kind = BODY;
        self.at = self.end;
        self.run = self.end;
        self.dots = 0;
        self.look = self.end.wrapping_add(most);
        self.digits = 0;
        self.line = 0;
        if self.flags & CHUNKED != 0 {
            self.state = SIZE;
            self.stop = 0;
            self.value = 0;
        } else {
            self.state = RUN;
            self.stop = self.end.wrapping_add(self.value);
        }
    }

    /// Begins where the data of a chunk end: only the framing is read, up to the next chunk's data.
    #[inline(always)]
    pub fn start_chunk(&mut self, terms: &Terms, len: u32) {
        self.start(terms, len, false);
        self.flags = CHUNKED;
        self.begin_body(0);
        self.state = BEHIND;
    }

    /// The head could be read in two ways.
    #[inline(always)]
    pub fn doubt(&mut self) {
        self.flags |= ODD;
    }

    /// Ends the doubt: the body is framed by a length, or else chunked.
    #[inline(always)]
    pub fn frame(&mut self, length: Option<u32>) {
        self.flags &= !ODD;
        match length {
            Some(length) => {
                self.flags &= !CHUNKED;
                self.value = length;
            }
            None => self.flags |= CHUNKED,
        }
    }

    /// Where the data end: of the body, or of the chunk that was reached. Behind [`WHOLE`] of a
    /// chunked body, where that ends.
    #[inline(always)]
    #[must_use]
    pub const fn stop(&self) -> u32 {
        self.stop
    }

    /// How far it has read.
    #[inline(always)]
    #[must_use]
    pub const fn at(&self) -> u32 {
        self.at
    }

    /// One step in a body, as [`Scanner::step`] in a head.
    #[inline(always)]
    pub fn body_step(&mut self, load: &impl Fn(u32) -> u64) -> u32 {
        if self.state == RUN {
            return self.data(load);
        }
        if self.state == SIGNATURE {
            let x = load(self.at);
            return self.signature(x);
        }
        if self.at >= self.len {
            return CUT;
        }
        let x = load(self.at);
        let left = self.len - self.at;
        let b = x as u8;
        if self.state == SIZE {
            return self.size(b);
        }
        if self.state == BEHIND || (self.state == TRAILER && b == b'\r') {
            if b != b'\r' {
                return BAD;
            }
            if left < 2 {
                return CUT;
            }
            if (x >> 8) as u8 != b'\n' {
                return BAD;
            }
            self.at += 2;
            if self.state == TRAILER {
                self.stop = self.at;
                return WHOLE;
            }
            self.state = SIZE;
            self.value = 0;
            self.digits = 0;
            return MORE;
        }
        // A chunk's extension, or a field of the trailer: up to CRLF.
        if self.state == TRAILER {
            self.state = TRAILER_FIELD;
        }
        let found = equal(x, b'\r') | equal(x, b'\n');
        if found == 0 {
            self.at += 8;
            return MORE;
        }
        let ahead = first(found);
        if ahead >= left {
            return CUT;
        }
        if (x >> (ahead * 8)) as u8 == b'\n' {
            return BAD;
        }
        self.at += ahead;
        if left - ahead < 2 {
            return CUT;
        }
        if load(self.at + 1) as u8 != b'\n' {
            return BAD;
        }
        self.at += 2;
        if self.state == TRAILER_FIELD {
            self.state = TRAILER;
            return MORE;
        }
        if self.value == 0 {
            self.state = TRAILER;
            return MORE;
        }
        if self.line != 0 {
            self.flags |= PARTS;
        }
        self.line = 1;
        self.state = RUN;
        self.run = self.at;
        self.dots = 0;
        self.stop = self.at.wrapping_add(self.value);
        MORE
    }

    /// A byte where a chunk's size stands.
    #[inline(always)]
    fn size(&mut self, b: u8) -> u32 {
        let digit = super::hex(b);
        if digit < 16 {
            if self.digits >= 8 || self.value > MAX_LENGTH >> 4 {
                return BAD;
            }
            self.value = self.value << 4 | u32::from(digit);
            self.digits += 1;
            self.at += 1;
            return MORE;
        }
        if self.digits == 0 || !(b == b'\r' || b == b';') {
            return BAD;
        }
        self.state = EXTENSION;
        MORE
    }

    /// Bytes of the body itself.
    #[inline(always)]
    fn data(&mut self, load: &impl Fn(u32) -> u64) -> u32 {
        let edge = if self.look < self.stop { self.look } else { self.stop };
        let limit = if edge < self.len { edge } else { self.len };
        if self.at < limit {
            let found = special(load(self.at));
            if found == 0 {
                self.at += 8;
            } else {
                self.at += first(found);
            }
            if self.at > limit {
                self.at = limit;
            }
            if found == 0 || self.at >= limit {
                return MORE;
            }
            return self.special_byte(load);
        }
        if self.at < edge {
            return CUT;
        }
        if self.at > self.run {
            return self.end_run(load);
        }
        if self.stop > self.at || (self.flags & CHUNKED != 0 && self.look <= self.at) {
            return PART;
        }
        if self.flags & CHUNKED == 0 {
            return WHOLE;
        }
        self.state = BEHIND;
        MORE
    }

    /// At a byte that may end a run.
    #[inline(always)]
    fn special_byte(&mut self, load: &impl Fn(u32) -> u64) -> u32 {
        let y = load(self.at);
        let b = y as u8;
        if b == b'.' {
            self.dots += 1;
            self.dot = self.at;
            self.at += 1;
            return MORE;
        }
        if b == b'%' {
            self.at += 1;
            if (y >> 8) as u8 == b'2' && (y >> 16) as u8 | 0x20 == b'e' {
                self.dots += 1;
                self.dot = self.at + 1;
            }
            return MORE;
        }
        if !ends_run(b) || (b == b'=' && pads(y >> 8)) {
            self.at += 1;
            return MORE;
        }
        if self.at > self.run {
            return self.end_run(load);
        }
        self.at += 1;
        self.run = self.at;
        self.dots = 0;
        MORE
    }

    /// A run ends here, of at least one byte.
    #[inline(always)]
    fn end_run(&mut self, load: &impl Fn(u32) -> u64) -> u32 {
        if self.at - self.run >= MIN_BODY_TOKEN {
            let y = load(self.run);
            let (a, b) = (y as u8, (y >> 8) as u8);
            // `{"`, `{ ` and `{` with a line break or tab behind it, in base64url.
            let object = a == b'e' && matches!(b, b'y' | b'w' | b'%' | b'\\');
            // The same behind white space, or encoded.
            let other = matches!(a, b'I' | b'C' | b'D' | b'%' | b'\\' | b'+');
            if object || (other && self.dots >= 2) {
                self.flags |= BODY_TOKEN;
            }
            if self.dots >= 2 {
                self.resume = self.at;
                self.whole = 0;
                self.at = self.dot + 1;
                self.begin_signature();
                return MORE;
            }
        }
        self.run = self.at;
        self.dots = 0;
        MORE
    }
}

/// Whether a request may begin with these bytes: the letters of a method and a blank, behind empty
/// lines. `word` is the first eight of `len`.
#[inline(always)]
#[must_use]
pub const fn may_be_method(word: u64, len: u32) -> bool {
    let (mut i, mut letters) = (0, 0);
    while i < 8 && i < len {
        let b = (word >> (i * 8)) as u8;
        if b.is_ascii_alphabetic() {
            letters += 1;
        } else if letters > 0 || !matches!(b, b'\r' | b'\n') {
            return letters > 0 && b == b' ';
        }
        i += 1;
    }
    true
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
