//! Paths without their numbers: what is kept of one path holds for another where only those differ.

use std::ops::Range;

const DIGIT: u8 = 1;
const PLAIN: u8 = 2;
const DOT: u8 = 4;
const SLASH: u8 = 8;

/// What each byte is, and 0 of what a path that stands for others may not hold.
static KINDS: [u8; 256] = {
    let mut kinds = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
        let b = byte as u8;
        kinds[byte] = match b {
            b'0'..=b'9' => DIGIT,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'-' => PLAIN,
            b'.' => DOT,
            b'/' => SLASH,
            _ => 0,
        };
        byte += 1;
    }
    kinds
};

/// What was left out of a path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// Where the last number stands.
    pub(crate) last: Option<Range<usize>>,
    /// Digits of the longest.
    pub(crate) longest: usize,
    /// Segments, those without a byte included.
    pub(crate) segments: usize,
}

/// Appends a path to `out` with zeros in the place of each segment that is a number: of `/a/12/b3` and
/// of `/a/34/b3` that is `/a/00/b3`. Nothing but letters, digits, `-`, `_` and single dots may stand
/// between its slashes, so that every reader takes it as it stands.
pub(crate) fn leave_out(path: &[u8], out: &mut Vec<u8>) -> Option<Numbers> {
    if path.first() != Some(&b'/') {
        return None;
    }
    let base = out.len();
    out.extend_from_slice(path);
    let mut numbers = Numbers::default();
    let mut end_segment = |from: usize, to: usize, kinds: u8| {
        if kinds == DIGIT {
            out.get_mut(base + from..base + to).unwrap_or_default().fill(b'0');
            numbers.longest = numbers.longest.max(to - from);
            numbers.last = Some(from..to);
        }
        numbers.segments += 1;
    };
    // Where the segment begins, and its bytes so far, as kinds.
    let (mut from, mut kinds) = (1, 0);
    for (at, &byte) in path.iter().enumerate().skip(1) {
        let kind = KINDS.get(usize::from(byte)).copied().unwrap_or_default();
        if kind & (DIGIT | PLAIN) != 0 {
            kinds |= kind;
            continue;
        }
        match kind {
            SLASH => {
                end_segment(from, at, kinds);
                (from, kinds) = (at + 1, 0);
            }
            DOT if path.get(at - 1) != Some(&b'.') => kinds |= kind,
            _ => return None,
        }
    }
    end_segment(from, path.len(), kinds);
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_between_slashes_are_left_out() {
        for (path, without, last, longest, segments) in [
            ("/a/12/b3", "/a/00/b3", Some(3..5), 2, 3),
            ("/1", "/0", Some(1..2), 1, 1),
            ("/1/", "/0/", Some(1..2), 1, 2),
            ("/v1/22/333", "/v1/00/000", Some(7..10), 3, 3),
            ("//777//8/", "//000//0/", Some(7..8), 3, 5),
            ("/a/1.5/2", "/a/1.5/0", Some(7..8), 1, 3),
            ("/a/1-2/3_/4b", "/a/1-2/3_/4b", None, 0, 4),
            ("/", "/", None, 0, 1),
            ("/.", "/.", None, 0, 1),
        ] {
            let mut out = b"x".to_vec();
            let found = leave_out(path.as_bytes(), &mut out);
            assert_eq!(found, Some(Numbers { last, longest, segments }), "{path}");
            assert_eq!(out, format!("x{without}").as_bytes());
        }
        for path in
            ["", "a/1", "/a/../1", "/1/..", "/1;x", "/1/%20", "/1?", "/1#", "/\u{e4}/1", "/~"]
        {
            assert_eq!(leave_out(path.as_bytes(), &mut Vec::new()), None, "{path}");
        }
    }
}
