//! Finds the end of a message head and how its body is framed, eight bytes at a time.
//!
//! The answer decides how many body bytes are skipped, so it must never know less of the framing
//! than a server does: anything odd gives [`Framing::Unknown`], and unknown framing copies more.

use core::cell::Cell;

/// Words behind the payload that a scan may read; they need not be cleared.
pub const SLACK: usize = 3;
/// Longest body whose end is tracked; a longer one counts as unknown.
pub const EXACT_LIMIT: u32 = 1 << 30;

/// How the body behind a head ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Neither `Content-Length` nor `Transfer-Encoding`.
    None,
    /// Exactly one plain `Content-Length`, at most [`EXACT_LIMIT`].
    Length(u32),
    /// Anything else.
    Unknown,
}

/// A head whose end was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Bytes of the head with its empty line.
    pub end: u32,
    /// How its body is framed.
    pub framing: Framing,
}

/// What the scan notes on its way. It lives in memory, not in registers: the verifier then need
/// not follow every combination of notes through every turn of the loop.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Notes {
    odd: Note,
    lengths: Note,
    length_at: Note,
    end: Note,
    len: Note,
}

/// A number that is really read and written each time.
#[repr(transparent)]
#[derive(Debug, Default)]
struct Note(Cell<u64>);

#[allow(unsafe_code)]
impl Note {
    #[inline(always)]
    pub(crate) fn load(&self) -> u64 {
        // SAFETY: the cell is valid and not shared between threads.
        unsafe { self.0.as_ptr().read_volatile() }
    }

    #[inline(always)]
    fn or(&self, bits: u64) {
        self.store(self.load() | bits);
    }

    #[inline(always)]
    fn store(&self, value: u64) {
        // SAFETY: as above.
        unsafe { self.0.as_ptr().write_volatile(value) }
    }
}

const ONES: u64 = 0x0101_0101_0101_0101;
const LOW7: u64 = 0x7f7f_7f7f_7f7f_7f7f;
const CASE: u64 = 0x2020_2020_2020_2020;
const CONTENT: u64 = u64::from_le_bytes(*b"content-");
const LENGTH: u64 = u64::from_le_bytes(*b"length\0\0");
const TRANSFER: u64 = u64::from_le_bytes(*b"transfer");

/// 0x80 in every byte of `x` that equals `byte`, 0 in the others.
#[inline(always)]
const fn equal(x: u64, byte: u8) -> u64 {
    let x = x ^ (ONES * byte as u64);
    !(((x & LOW7).wrapping_add(LOW7)) | x | LOW7)
}

#[inline(always)]
fn word<const W: usize>(words: &[u64; W], i: usize) -> u64 {
    words.get(i).map_or(0, |w| u64::from_le(*w))
}

#[inline(always)]
fn byte<const W: usize>(words: &[u64; W], at: u32) -> u8 {
    // The mask is for the verifier.
    (word(words, (at >> 3) as usize & (W - SLACK - 1)) >> ((at & 7) * 8)) as u8
}

/// Scans the first `len` payload bytes in `words` for a whole head. `W` is the payload's words
/// plus [`SLACK`]; `len` is at most the payload's size. What lies behind `len` is read but
/// changes nothing.
#[inline(always)]
#[must_use]
pub fn head<const W: usize>(words: &[u64; W], len: u32, notes: &Notes) -> Option<Head> {
    notes.odd.store(0);
    notes.lengths.store(0);
    notes.length_at.store(0);
    notes.len.store(u64::from(len));
    if !find_end(words, len, notes) {
        return None;
    }
    let end = notes.end.load() as u32;
    if end > notes.len.load() as u32 {
        return None;
    }
    let framing = if notes.odd.load() != 0 {
        Framing::Unknown
    } else {
        match notes.lengths.load() {
            0 => Framing::None,
            1 => digits(words, notes.length_at.load() as u32),
            _ => Framing::Unknown,
        }
    };
    Some(Head { end, framing })
}

#[inline(always)]
fn find_end<const W: usize>(words: &[u64; W], len: u32, notes: &Notes) -> bool {
    // 0x80 if the byte before this word was CR.
    let mut carry = 0u64;
    let mut i = 0usize;
    while i < W - SLACK {
        if (i as u32) * 8 >= len {
            return false;
        }
        let this = word(words, i);
        let lf = equal(this, b'\n');
        let cr = equal(this, b'\r');
        let paired = (cr << 8) | carry;
        carry = cr >> 56;
        if lf | paired == 0 {
            i += 1;
            continue;
        }
        if lf != 0 {
            let low = lf & lf.wrapping_neg();
            // The index of the LF in its word times 8: a multiplication, as BPF has no ctz.
            let shift = ((low >> 7).wrapping_mul(0x0008_1018_2028_3038) >> 56) & 0x38;
            let next = word(words, i + 1);
            let line = ((this >> shift) >> 8) | (next << (56 - shift));
            let at = (i as u32) * 8 + (shift as u32 >> 3) + 1;
            if line as u16 == u16::from_le_bytes(*b"\r\n") {
                // Bytes behind this LF are not the head's.
                notes.odd.or((lf ^ paired) & (low << 1).wrapping_sub(1));
                notes.end.store(u64::from(at) + 2);
                return true;
            }
            if lf != low {
                // Two line ends in one word: a line of six bytes or fewer. Not worth the loop,
                // which the verifier would have to follow: as if the head were not finished.
                return false;
            }
            // A CR or LF that stands alone: some servers end a line there.
            notes.odd.or(lf ^ paired);
            // `Transfer-Encoding` in any spelling, a continuation line, a control character in
            // front of a name: whoever reads it otherwise than we do must not gain by it.
            let lower = line | CASE;
            if lower == TRANSFER || line as u8 <= b' ' {
                notes.odd.store(1);
            }
            if lower == CONTENT {
                let after = word(words, i + 2);
                let name = ((next >> shift) >> 8) | (after << (56 - shift));
                if (name | CASE) & 0xffff_ffff_ffff == LENGTH {
                    // Anything but a colon behind the name is odd.
                    notes.odd.or((name >> 48 & 0xff) ^ u64::from(b':'));
                    notes.lengths.store(notes.lengths.load().wrapping_add(1));
                    notes.length_at.store(u64::from(at) + 15);
                }
            }
        } else {
            notes.odd.store(1);
        }
        i += 1;
    }
    false
}

/// The number at `at`, up to its CR.
#[inline(always)]
fn digits<const W: usize>(words: &[u64; W], at: u32) -> Framing {
    let mut value = 0u64;
    let mut seen = 0u32;
    let mut i = 0u32;
    while i < 16 {
        let b = byte(words, at.wrapping_add(i));
        i += 1;
        if b.is_ascii_digit() {
            value = value.wrapping_mul(10).wrapping_add(u64::from(b & 0x0f));
            seen += 1;
        } else if b == b'\r' && seen > 0 {
            // 16 digits at most: no overflow.
            return if value <= u64::from(EXACT_LIMIT) {
                Framing::Length(value as u32)
            } else {
                Framing::Unknown
            };
        } else if (b != b' ' && b != b'\t') || seen > 0 {
            return Framing::Unknown;
        }
    }
    Framing::Unknown
}

/// The status code of a response whose head starts `words`, if it has three digits.
#[inline(always)]
#[must_use]
pub fn status<const W: usize>(words: &[u64; W]) -> u32 {
    let w = word(words, 1);
    let digit = |i: u32| ((w >> (8 * i)) as u32 & 0xff).wrapping_sub(u32::from(b'0'));
    let (a, b, c) = (digit(1), digit(2), digit(3));
    if a > 9 || b > 9 || c > 9 { 0 } else { a * 100 + b * 10 + c }
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
