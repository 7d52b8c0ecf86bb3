//! The lines of a head: where each ends, what it is by its name, and how the body is framed.

use super::{
    super::swar::{equal, first, lowest, no_word},
    AUTHORIZATION, BEGUN, CHUNKED, CREDENTIALS, CUT, DIGITS, FIELD, HASH, HTTP1, LENGTH,
    MAX_LENGTH, MORE, NAME, ODD, OTHER, Prefix, REQUEST, ROW, RUN, SKIP, Scanner, WHOLE,
};

const CASE: u64 = 0x2020_2020_2020_2020;

const fn text(name: &[u8; 8]) -> u64 {
    u64::from_le_bytes(*name)
}

impl Scanner {
    #[inline(always)]
    pub(super) fn skip(&mut self, x: u64, load: &impl Fn(u32) -> u64) -> u32 {
        let x = match self.reach(x, load, |x| equal(x, b'\n') | equal(x, b'\r')) {
            Ok(x) => x,
            Err(step) => return step,
        };
        self.line_end(x as u8, load)
    }

    /// `b` at `at` is a CR or a LF.
    #[inline(always)]
    pub(super) fn line_end(&mut self, b: u8, load: &impl Fn(u32) -> u64) -> u32 {
        let mut next = self.at + 1;
        if b == b'\r' {
            if next >= self.len {
                return CUT;
            }
            if load(next) as u8 != b'\n' {
                // Some servers end a line at a bare CR, others do not.
                self.flags |= ODD;
                self.at = next;
                self.run = next;
                self.dots = 0;
                return MORE;
            }
            next += 1;
        } else {
            self.flags |= ODD;
        }
        if self.state == RUN && self.kind == REQUEST {
            if self.at == self.line {
                // RFC 9112, section 2.2: an empty line before the request line is passed over.
                self.at = next;
                self.line = next;
                self.run = next;
                self.dots = 0;
                return MORE;
            }
            if self.at >= self.line + 9 && load(self.at - 9) == text(b" HTTP/1.") {
                self.flags |= HTTP1;
                if !is_request_line(load, self.line, self.at) {
                    self.flags |= ODD;
                }
            }
            self.flags |= BEGUN;
        }
        self.at = next;
        self.line = next;
        if next >= self.len {
            return CUT;
        }
        let left = self.len - next;
        let y = lowest(load(next), left);
        let b = y as u8;
        if b == b'\r' {
            if left < 2 {
                return CUT;
            }
            if (y >> 8) as u8 == b'\n' {
                self.end = next + 2;
                return WHOLE;
            }
        } else if b == b'\n' {
            self.flags |= ODD;
            self.end = next + 1;
            return WHOLE;
        }
        self.begin_line(y, left, load)
    }

    #[inline(always)]
    fn begin_line(&mut self, y: u64, left: u32, load: &impl Fn(u32) -> u64) -> u32 {
        if y as u8 <= b' ' {
            // A continuation line, or a control character in front of a name.
            self.flags |= ODD;
            self.state = SKIP;
            return MORE;
        }
        self.state = NAME;
        let lower = y | CASE;
        let second = if left > 8 { lowest(load(self.line + 8), left - 8) } else { 0 };
        self.kind = if lower == text(b"authoriz") {
            AUTHORIZATION
        } else if lower & 0xffff_ffff_ffff == text(b"cookie\0\0")
            || lower & 0xffff_ffff == text(b"dpop\0\0\0\0")
            || (lower == text(b"sec-webs") && second | CASE == text(b"ocket-pr"))
            || self.is_extra(lower)
        {
            OTHER
        } else {
            FIELD
        };
        if self.kind == FIELD {
            self.framing(y, second, left, load);
        }
        MORE
    }

    /// `Transfer-Encoding` and `Content-Length`. With another byte for the hyphen, or other bytes in
    /// front of the colon, some take a field for one of them and others do not.
    #[inline(always)]
    fn framing(&mut self, y: u64, second: u64, left: u32, load: &impl Fn(u32) -> u64) {
        let (lower, folded) = (y | CASE, second | CASE);
        if lower == text(b"transfer") && folded >> 8 == text(b"encodin\0") {
            let third = if left > 16 { lowest(load(self.line + 16), left - 16) } else { 0 };
            let exact = second as u8 == b'-' && third as u16 | 0x20 == u16::from_le_bytes(*b"g:");
            if !exact || self.flags & (CHUNKED | LENGTH) != 0 {
                self.flags |= ODD;
            }
            self.flags |= CHUNKED;
        } else if lower & 0x00ff_ffff_ffff_ffff == text(b"content\0")
            && folded & 0xffff_ffff_ffff == text(b"length\0\0")
        {
            let exact = (y >> 56) as u8 == b'-' && (second >> 48) as u8 == b':';
            if !exact || self.flags & (CHUNKED | LENGTH) != 0 {
                self.flags |= ODD;
            } else {
                self.flags |= LENGTH;
                self.state = DIGITS;
                self.at = self.line + 15;
                self.value = 0;
                self.digits = 0;
            }
        }
    }

    /// A field's name, up to its colon.
    #[inline(always)]
    pub(super) fn name(&mut self, x: u64, load: &impl Fn(u32) -> u64) -> u32 {
        let x = match self.reach(x, load, no_word) {
            Ok(x) => x,
            Err(step) => return step,
        };
        if x as u8 != b':' || self.at == self.line {
            // Some pass over such a line, some over all lines behind it, too, and some over neither.
            self.flags |= ODD;
        }
        if self.kind == FIELD {
            self.state = SKIP;
            return MORE;
        }
        self.flags |= CREDENTIALS;
        self.state = if self.keyed != 0 { HASH } else { RUN };
        self.at = self.line;
        self.run = self.line;
        self.dots = 0;
        MORE
    }

    #[inline(always)]
    fn is_extra(&self, lower: u64) -> bool {
        let e = &self.terms.extra;
        let is = |p: &Prefix| p.mask != 0 && lower & p.mask == p.word;
        is(&e[0]) || is(&e[1]) || is(&e[2]) || is(&e[3])
    }

    /// A line of credentials, word by word; then it is read anew for its tokens.
    #[inline(always)]
    pub(super) fn hash(&mut self, mut x: u64, load: &impl Fn(u32) -> u64) -> u32 {
        let mut i = 0;
        let mut found = equal(x, b'\n');
        while found == 0 {
            self.allow.word(x);
            self.at += 8;
            i += 1;
            if i == ROW {
                return MORE;
            }
            x = load(self.at);
            found = equal(x, b'\n');
        }
        let ahead = first(found);
        let stop = self.at + ahead;
        if stop >= self.len {
            return CUT;
        }
        self.allow.word(lowest(x, ahead + 1));
        self.allow.word(u64::from(stop + 1 - self.line));
        self.at = self.line;
        self.state = RUN;
        MORE
    }

    #[inline(always)]
    pub(super) fn digits(&mut self, x: u64) -> u32 {
        let b = x as u8;
        if b.is_ascii_digit() && self.digits < 10 && self.value <= MAX_LENGTH / 10 {
            self.value = self.value * 10 + u32::from(b & 0x0f);
            self.digits += 1;
        } else if b == b'\r' && self.digits > 0 {
            self.state = SKIP;
            return MORE;
        } else if (b != b' ' && b != b'\t') || self.digits > 0 {
            self.flags |= ODD;
            self.state = SKIP;
            return MORE;
        }
        self.at += 1;
        MORE
    }
}

/// Whether the first line, from `line` up to its CR at `end`, is a request's to everybody. It ends in
/// ` HTTP/1.` and a byte, which must be a digit. The method has at most 15 characters, each a letter, a
/// digit or one of `-._`, and one blank behind it: RFC 9110, section 5.6.2 has a few others, too, but no
/// registered method does, and servers differ in what else they take for a method or a blank.
#[inline(always)]
pub(in crate::guard) fn is_request_line(load: &impl Fn(u32) -> u64, line: u32, end: u32) -> bool {
    let mut at = line;
    let mut word = load(at);
    let mut found = no_word(word);
    if found == 0 {
        at += 8;
        word = load(at);
        found = no_word(word);
    }
    if found == 0 {
        return false;
    }
    let ahead = first(found);
    at += ahead;
    (word >> (ahead * 8)) as u8 == b' '
        && at > line
        && at + 9 < end
        && load(at + 1) as u8 > b' '
        && (load(end - 1) as u8).is_ascii_digit()
}
