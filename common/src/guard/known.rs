//! Heads that were read before.
//!
//! The requests of a client differ in their first line and are alike in the lines behind it. What
//! those came to is kept beside every byte of them: a head whose lines are the same, byte by byte,
//! comes to the same. So nothing is concluded from a part of them, or from a hash, and who sends
//! something else gets it read. The first line is read anew each time, and must be one that the
//! reader would find no token in.

use bytemuck::{Pod, Zeroable};

use super::{
    scan::is_request_line,
    swar::{equal, first, lowest},
};

/// The longest block that is kept, in bytes.
pub const BLOCK_CAP: u32 = 2048;
/// A shorter one is read as fast as it is compared.
pub const BLOCK_MIN: u32 = STRIDE;
/// The longest first line, in bytes.
pub const LINE_CAP: u32 = 512;
/// Bytes that are compared in a row.
pub const STRIDE: u32 = 64;
/// Tokens of a block that is kept.
pub const BLOCK_TOKENS: usize = 2;
/// Words that make a block's [`digest`], four at a time.
const SAMPLES: u32 = 16;
const LANES: usize = 4;

/// How long what was looked up of a block's tokens is believed while nothing changes, in nanoseconds:
/// the tables must see now and then which tokens are in use, as they forget others first.
pub const BELIEVED_FOR: u64 = 1_000_000_000;
/// Nanoseconds of [`Block::checked`]'s unit, as a shift: a millisecond.
const TICK: u32 = 20;

/// What the lines behind a head's first came to.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Block {
    /// The service that they came to: its cgroup; its port, and the mode in the upper half.
    pub service: [u64; 2],
    /// Its tokens were looked up and may pass, see [`checked`]; 0 where they were not.
    pub checked: u64,
    /// The allow key, if `keyed`.
    pub allow: [u64; 2],
    /// The deny keys.
    pub tokens: [[u64; 2]; BLOCK_TOKENS],
    /// How many of them there are.
    pub count: u32,
    /// The scanner's flags.
    pub flags: u32,
    /// Bytes of the block.
    pub len: u32,
    /// Not 0: the allow key was asked for.
    pub keyed: u32,
    /// From the first byte behind the first line to the head's last.
    pub bytes: [u8; BLOCK_CAP as usize],
    /// A stride may be read that begins within the bytes.
    pub slack: [u8; STRIDE as usize],
}

/// Reads a first line in which the [scanner](super::scan) finds nothing but where it ends and that
/// it is a request's of HTTP/1 to everybody: no percent sign, and of dots, besides the version's, at
/// most one. Gives the bytes of the line with its CRLF. `load` and `len` as the scanner's.
#[inline(always)]
#[must_use]
pub fn plain_line(load: &impl Fn(u32) -> u64, len: u32) -> Option<u32> {
    const VERSION: u64 = u64::from_le_bytes(*b" HTTP/1.");
    const PAIRS: u64 = 0x00ff_00ff_00ff_00ff;
    let mut at = 0;
    // One in a byte for each dot, added up over the words, of which there are fewer than 256.
    let mut dots = 0u64;
    while at < LINE_CAP {
        let x = load(at);
        let ends = equal(x, b'\r') | equal(x, b'\n');
        let (dot, percent) = (equal(x, b'.') >> 7, equal(x, b'%'));
        if ends == 0 {
            if percent != 0 {
                return None;
            }
            dots = dots.wrapping_add(dot);
            at += 8;
            continue;
        }
        let ahead = first(ends);
        if lowest(percent, ahead) != 0 {
            return None;
        }
        dots = dots.wrapping_add(lowest(dot, ahead));
        let end = at + ahead;
        let pairs = (dots & PAIRS) + (dots >> 8 & PAIRS);
        let dots = pairs.wrapping_mul(0x0001_0001_0001_0001) >> 48;
        let plain = dots <= 2
            && end >= 9
            && end + 2 <= len
            && load(end) as u16 == u16::from_le_bytes(*b"\r\n")
            && load(end.wrapping_sub(9)) == VERSION
            && is_request_line(load, 0, end);
        return plain.then_some(end + 2);
    }
    None
}

/// Where a block of `len` bytes from `from` on is kept: a few of its words, mixed. It need not tell
/// blocks apart, as they are compared; who makes them collide makes them slow.
#[inline(always)]
#[must_use]
pub fn digest(load: &impl Fn(u32) -> u64, from: u32, len: u32, seed: u64) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    // The last of them are the block's last bytes, or few before them.
    let step = len.saturating_sub(8) / (SAMPLES - 1);
    // Apart, as a product waits for the one before it.
    let mut lanes = [seed ^ u64::from(len), seed ^ 1, seed ^ 2, seed ^ 3];
    let mut at = from;
    let mut i = 0;
    while i < SAMPLES {
        for lane in &mut lanes {
            *lane = (*lane ^ load(at)).wrapping_mul(ODD);
            *lane ^= *lane >> 29;
            at += step;
        }
        i += LANES as u32;
    }
    let mut hash = 0;
    for lane in lanes {
        hash = (hash ^ lane).wrapping_mul(ODD);
        hash ^= hash >> 29;
    }
    hash
}

/// What [`Block::checked`] is when its tokens were looked up at `now` after `changes` changes and may
/// pass until then.
#[inline(always)]
#[must_use]
pub fn checked(changes: u64, now: u64, until: u64) -> u64 {
    let until = if until < now + BELIEVED_FOR { until } else { now + BELIEVED_FOR };
    changes << 32 | u64::from((until >> TICK) as u32)
}

/// Whether what was looked up once still holds.
#[inline(always)]
#[must_use]
pub fn still_holds(checked: u64, changes: u64, now: u64) -> bool {
    // The half of the range that is to come: 24 days.
    checked >> 32 == changes & 0xffff_ffff
        && (checked as u32).wrapping_sub((now >> TICK) as u32).wrapping_sub(1) < u32::MAX / 2
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;
    use proptest::prelude::*;
    use std::{format, string::String, vec::Vec};

    use super::{
        BELIEVED_FOR, BLOCK_MIN, LINE_CAP, TICK, checked, digest, plain_line, still_holds,
    };
    use crate::guard::{
        scan::{CUT, HTTP1, MORE, Prefix, Scanner, TOKEN, Terms, bytes_at},
        sip::Secret,
    };

    fn read(head: &[u8]) -> (u32, u32, u32, [u64; 2], Vec<[u64; 2]>) {
        let terms = Terms { secret: Secret([7, 9]), extra: [Prefix::of("X-Key"); 4] };
        let mut scanner = Scanner::zeroed();
        scanner.start(&terms, head.len() as u32, true);
        let mut tokens = Vec::new();
        let result = loop {
            match scanner.step(&|at| bytes_at(head, at)) {
                MORE => {}
                TOKEN => tokens.push(scanner.deny_key()),
                result => break result,
            }
        };
        (result, scanner.end(), scanner.flags(), scanner.allow_key(), tokens)
    }

    fn line_of(head: &[u8]) -> Option<u32> {
        plain_line(&|at| bytes_at(head, at), head.len() as u32)
    }

    #[test]
    fn a_look_up_is_believed_until_something_changes_or_its_time_is_over() {
        const MS: u64 = 1 << TICK;
        // Around the place where the unit's 32 bits overflow, too.
        for now in [5 * MS, (1 << 52) - 300 * MS, 7 << 52] {
            for until in [now, now + MS, now + 3 * MS, now + BELIEVED_FOR, u64::MAX] {
                let once = checked(3, now, until);
                assert!(until < now + MS || still_holds(once, 3, now), "{now} {until}");
                assert!(!still_holds(once, 4, now) && !still_holds(once, 3 + (1 << 31), now));
                assert!(still_holds(once, 3 + (1 << 32), now) == still_holds(once, 3, now));
                let end = until.min(now + BELIEVED_FOR);
                for later in (now..now + 2 * BELIEVED_FOR).step_by(MS as usize / 2) {
                    assert!(later < end || !still_holds(once, 3, later), "{now} {until} {later}");
                    assert!(later + 2 * MS > end || still_holds(once, 3, later));
                }
            }
        }
        assert!(!still_holds(0, 1, 0) && !still_holds(0, 1, 1 << 40));
    }

    #[test]
    fn first_lines_are_told() {
        for (line, plain) in [
            ("GET / HTTP/1.1\r\n", true),
            ("GET / HTTP/1.0\r\n", true),
            ("GET /index.html?a=b HTTP/1.1\r\n", true),
            ("GET /a.b.c HTTP/1.1\r\n", false),
            ("GET /a%2eb HTTP/1.1\r\n", false),
            ("GET / HTTP/2.0\r\n", false),
            ("GET / HTTP/1.1\n", false),
            ("GET / HTTP/1.1\r\r\n", false),
            ("GET /\rA HTTP/1.1\r\n", false),
            ("\r\nGET / HTTP/1.1\r\n", false),
            ("GET /", false),
            (" HTTP/1.1\r\n", false),
            (" / HTTP/1.1\r\n", false),
            ("GE\0T / HTTP/1.1\r\n", false),
            ("GET / HTTP/1.x\r\n", false),
            ("HTTP/1.1\r\n", false),
        ] {
            let found = line_of(line.as_bytes());
            assert_eq!(found, plain.then_some(line.len() as u32), "{line:?}");
            for n in 0..line.len() {
                assert_eq!(line_of(&line.as_bytes()[..n]), None, "{n} of {line:?}");
            }
        }
        for n in 0..LINE_CAP as usize + 20 {
            let line = format!("GET /{} HTTP/1.1\r\n", "a".repeat(n));
            let plain = line_of(line.as_bytes());
            assert!(plain.is_none_or(|end| end as usize == line.len()));
            assert_eq!(plain.is_some(), line.len() <= LINE_CAP as usize + 1, "{n}");
            // Many dots are not taken for few.
            let line = format!("GET /{} HTTP/1.1\r\n", ".".repeat(n));
            assert_eq!(line_of(line.as_bytes()).is_some(), n < 2, "{n}");
        }
    }

    #[test]
    fn a_digest_looks_at_all_of_a_block() {
        let block: Vec<u8> = (0..700u32).map(|i| (i * 7) as u8).collect();
        let of = |block: &[u8]| digest(&|at| bytes_at(block, at), 0, block.len() as u32, 1);
        // Nothing behind the block counts.
        for n in BLOCK_MIN as usize..200 {
            let mut other = block[..n + 20].to_vec();
            other[n..].fill(b'x');
            let of = |bytes: &[u8]| digest(&|at| bytes_at(bytes, at), 0, n as u32, 1);
            assert_eq!(of(&other), of(&block), "{n}");
        }
        let other: Vec<Vec<u8>> = (0..block.len() / 48)
            .map(|i| {
                let mut other = block.clone();
                other[i * 48..i * 48 + 48].fill(b'x');
                other
            })
            .collect();
        assert!(other.iter().all(|other| of(other) != of(&block)));
        assert_ne!(of(&block[..699]), of(&block));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

        #[test]
        fn behind_a_plain_line_the_rest_comes_to_what_it_does_behind_any_other(
            line in "([A-Za-z/.?=&%:;\\- ]|eyJ[.]eyJ[.]){0,30}( HTTP/1[.][01]\r\n|\r|\n|\r\n)",
            block in "((Authorization: |Cookie: |X-Key: |A: |Content-Length: |)([a-z0-9.:= ]|\
                      a[.]b[.]QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo){0,12}(\r\n|\n)){0,5}(\r\n)?",
        ) {
            let head: String = format!("{line}{block}");
            if let Some(end) = line_of(head.as_bytes()) {
                prop_assert_eq!(end as usize, line.len());
                let plain = "PUT / HTTP/1.1\r\n";
                let other = read(format!("{plain}{block}").as_bytes());
                let this = read(head.as_bytes());
                prop_assert_eq!(this.0, other.0);
                prop_assert_eq!((&this.3, &this.4), (&other.3, &other.4));
                // All but that a query has begun, which counts for nothing behind the first line.
                prop_assert_eq!(this.2 & !0x20, other.2 & !0x20);
                if this.0 != CUT {
                    prop_assert_eq!(this.1 as usize - line.len(), other.1 as usize - plain.len());
                    prop_assert!(this.2 & HTTP1 != 0);
                }
            }
        }
    }
}
