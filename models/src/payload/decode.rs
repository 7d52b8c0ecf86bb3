//! Bounded decoding of one value: percent (double and `%u` forms), HTML entities, `\u` and `\x`
//! escapes, overlong UTF-8 and full-width letters; base64 and JSON strings.
//!
//! Decoding is generous where servers differ: what some server takes for a slash is a slash here,
//! and that it was hidden is kept in [`Trace`], for hiding is evidence.

/// Rounds of decoding: three layers are seen in attacks (proxy, server, application); a fourth
/// shows that there was more.
pub const MAX_ROUNDS: u8 = 4;

/// Of a base64 value, so many decoded bytes are looked at: payloads stand at the front.
pub const MAX_BASE64: usize = 1024;

/// Shorter base64 is not told from words.
pub(super) const MIN_BASE64: usize = 16;

/// How a value was encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// Rounds that changed something, `0..=MAX_ROUNDS`.
    pub rounds: u8,
    /// An ASCII character as a longer UTF-8 sequence than it needs (RFC 3629 section 3).
    pub overlong: bool,
    /// `%uXXXX`, which no standard has.
    pub percent_u: bool,
    /// An encoded NUL.
    pub nul: bool,
    /// An HTML character reference.
    pub entity: bool,
    /// `\uXXXX` or `\xXX` of an ASCII character.
    pub escape: bool,
    /// An ASCII character in its full-width form (U+FF01 to U+FF5E).
    pub full_width: bool,
    /// A `%` that two hexadecimal digits do not follow, next to one that they do.
    pub broken_percent: bool,
    /// An encoded line end.
    pub line_end: bool,
    /// A percent-encoded letter, digit or dot, which nobody needs to encode.
    pub needless: bool,
}

fn hex(byte: Option<&u8>) -> Option<u32> {
    char::from(*byte?).to_digit(16)
}

fn hex_run(bytes: &[u8], digits: usize) -> Option<u32> {
    let run = bytes.get(..digits)?;
    run.iter().try_fold(0, |sum, b| Some(sum << 4 | hex(Some(b))?))
}

/// Appends `code` as one byte up to U+00FF, else as UTF-8.
fn put(out: &mut Vec<u8>, code: u32) {
    if let Ok(byte) = u8::try_from(code) {
        out.push(byte);
    } else if let Some(c) = char::from_u32(code) {
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

/// Named references that stand for what matters in markup and code (HTML 5, section 13.5).
const ENTITIES: [(&[u8], u8); 25] = [
    (b"lt", b'<'),
    (b"gt", b'>'),
    (b"quot", b'"'),
    (b"apos", b'\''),
    (b"amp", b'&'),
    (b"lpar", b'('),
    (b"rpar", b')'),
    (b"colon", b':'),
    (b"sol", b'/'),
    (b"bsol", b'\\'),
    (b"newline", b'\n'),
    (b"tab", b'\t'),
    (b"excl", b'!'),
    (b"equals", b'='),
    (b"grave", b'`'),
    (b"lbrace", b'{'),
    (b"rbrace", b'}'),
    (b"lcub", b'{'),
    (b"rcub", b'}'),
    (b"period", b'.'),
    (b"num", b'#'),
    (b"semi", b';'),
    (b"comma", b','),
    (b"dollar", b'$'),
    (b"nbsp", b' '),
];

/// The character that a reference at the start of `rest` (behind `&`) stands for, and its length.
fn entity(rest: &[u8]) -> Option<(u32, usize)> {
    if let Some(number) = rest.strip_prefix(b"#") {
        let (digits, radix, lead) = match number.first() {
            Some(b'x' | b'X') => (number.get(1..)?, 16, 2),
            _ => (number, 10, 1),
        };
        // Leading zeros are a known evasion: as many as seven are read.
        let len = digits.iter().take(10).take_while(|b| char::from(**b).is_digit(radix)).count();
        let code =
            u32::from_str_radix(std::str::from_utf8(digits.get(..len)?).ok()?, radix).ok()?;
        let semicolon = usize::from(digits.get(len) == Some(&b';'));
        return Some((code, lead + len + semicolon));
    }
    let end = rest.iter().take(9).position(|b| *b == b';')?;
    let name = rest.get(..end)?;
    let (_, byte) = ENTITIES.iter().find(|(known, _)| name.eq_ignore_ascii_case(known))?;
    Some((u32::from(*byte), end + 1))
}

/// One round of everything; whether anything changed.
fn round(input: &[u8], plus: bool, out: &mut Vec<u8>, trace: &mut Trace) -> bool {
    out.clear();
    let mut changed = false;
    let mut at = 0;
    while let Some(&byte) = input.get(at) {
        let rest = input.get(at + 1..).unwrap_or_default();
        let step = match byte {
            b'+' if plus => Some((u32::from(b' '), 0)),
            b'%' => {
                if let Some(code) = hex_run(rest, 2) {
                    trace.needless |= code < 128
                        && (char::from(code as u8).is_ascii_alphanumeric() || code == 0x2e);
                    Some((code, 2))
                } else if matches!(rest.first(), Some(b'u' | b'U')) {
                    let code = hex_run(rest.get(1..).unwrap_or_default(), 4);
                    trace.percent_u |= code.is_some();
                    // Best-fit mapping: servers that know %u fold U+FFxx and drop the high byte.
                    code.map(|code| (code, 5))
                } else {
                    trace.broken_percent |= rest.first() == Some(&b'%');
                    None
                }
            }
            b'&' => {
                let found = entity(rest);
                trace.entity |= found.is_some_and(|(code, _)| code != u32::from(b'&'));
                found
            }
            b'\\' => {
                let found = match rest.first() {
                    Some(b'u' | b'U') => {
                        hex_run(rest.get(1..).unwrap_or_default(), 4).map(|c| (c, 5))
                    }
                    Some(b'x' | b'X') => {
                        hex_run(rest.get(1..).unwrap_or_default(), 2).map(|c| (c, 3))
                    }
                    _ => None,
                };
                trace.escape |= found.is_some_and(|(code, _)| code < 128);
                found
            }
            _ => None,
        };
        match step {
            Some((code, used)) => {
                trace.nul |= code == 0;
                trace.line_end |= byte == b'%' && (code == 10 || code == 13);
                changed |= byte != b'+';
                put(out, code);
                at += 1 + used;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    changed
}

/// Folds overlong UTF-8, full-width letters and typographic quotes to ASCII, in place.
fn fold(buf: &mut Vec<u8>, trace: &mut Trace) {
    let mut to = 0;
    let mut at = 0;
    while let Some(&byte) = buf.get(at) {
        let next = |n: usize| buf.get(at + n).copied();
        let (folded, used) = match (byte, next(1), next(2)) {
            // Continuation bytes are not always checked: C0 2F is taken for a slash, too.
            (0xc0 | 0xc1, Some(low), _) if low < 0xc0 => {
                trace.overlong = true;
                (((byte & 1) << 6) | (low & if low < 0x80 { 0x7f } else { 0x3f }), 2)
            }
            (0xe0, Some(high @ 0x80..=0x81), Some(low @ 0x80..=0xbf)) => {
                trace.overlong = true;
                (((high & 1) << 6) | (low & 0x3f), 3)
            }
            (0xf0, Some(0x80), Some(0x80..=0x81)) if next(3).is_some_and(|b| b >= 0x80) => {
                trace.overlong = true;
                (next(3).unwrap_or_default() & 0x3f, 4)
            }
            (0xef, Some(0xbc), Some(low @ 0x81..=0xbf)) => {
                trace.full_width = true;
                (low - 0x60, 3)
            }
            (0xef, Some(0xbd), Some(low @ 0x80..=0x9e)) => {
                trace.full_width = true;
                (low - 0x20, 3)
            }
            (0xe2, Some(0x80), Some(0x98 | 0x99 | 0xb2)) => (b'\'', 3),
            (0xe2, Some(0x80), Some(0x9c | 0x9d)) => (b'"', 3),
            (0xe2, Some(0x88), Some(0x96)) => (b'\\', 3),
            (0xe2, Some(0x88), Some(0x95)) | (0xe2, Some(0x81), Some(0x84)) => (b'/', 3),
            _ => (byte, 1),
        };
        if let Some(slot) = buf.get_mut(to) {
            *slot = folded;
        }
        to += 1;
        at += used;
    }
    buf.truncate(to);
}

/// Decodes `input` into `out` until nothing changes, in at most [`MAX_ROUNDS`] rounds; `plus`
/// says that a plus is a space (application/x-www-form-urlencoded), in the first round.
///
/// `out` is never longer than `input`: whatever is decoded is written with more bytes than it
/// stands for.
pub fn decode(input: &[u8], plus: bool, out: &mut Vec<u8>, spare: &mut Vec<u8>) -> Trace {
    let mut trace = Trace::default();
    let mut high = false;
    let mut coded = false;
    for &byte in input {
        high |= byte >= 0x80;
        coded |= matches!(byte, b'%' | b'&' | b'\\' | b'+');
    }
    if !coded {
        out.clear();
        out.extend_from_slice(input);
        if high {
            fold(out, &mut trace);
        }
        return trace;
    }
    let mut changed = round(input, plus, out, &mut trace);
    while changed && trace.rounds < MAX_ROUNDS {
        trace.rounds += 1;
        fold(out, &mut trace);
        std::mem::swap(out, spare);
        changed = round(spare, false, out, &mut trace);
    }
    fold(out, &mut trace);
    trace
}

/// The value of a base64 or base64url character.
fn sextet(byte: u8) -> Option<u32> {
    Some(match byte {
        b'A'..=b'Z' => u32::from(byte - b'A'),
        b'a'..=b'z' => u32::from(byte - b'a') + 26,
        b'0'..=b'9' => u32::from(byte - b'0') + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    })
}

/// Decodes `input` into `out` if all of it is base64 (RFC 4648, either alphabet) and the front
/// decodes to text. Random bytes pass the probe about once in 10⁵, and the whole hardly ever.
pub fn base64_text(input: &[u8], out: &mut Vec<u8>) -> bool {
    /// Decoded characters that must all be text before the rest is decoded.
    const PROBE: usize = 12;
    out.clear();
    let body = input.strip_suffix(b"==").or(input.strip_suffix(b"=")).unwrap_or(input);
    if body.len() < MIN_BASE64 || body.len() % 4 == 1 {
        return false;
    }
    let text = |b: &u8| matches!(b, b' '..=b'~' | b'\n' | b'\r' | b'\t');
    for four in body.chunks(4) {
        let mut bits = 0;
        for &byte in four {
            let Some(value) = sextet(byte) else { return false };
            bits = bits << 6 | value;
        }
        bits <<= 6 * (4 - four.len());
        let bytes = bits.to_be_bytes();
        let more = bytes.get(1..four.len()).unwrap_or_default();
        // The first four are whole: the value is long enough.
        if out.len() < PROBE && !more.iter().all(text) {
            return false;
        }
        out.extend_from_slice(more);
        if out.len() >= MAX_BASE64 {
            break;
        }
    }
    let good = out.iter().filter(|b| text(b)).count();
    good * 20 >= out.len() * 19
}

/// The next string of a JSON text from `*at` on, unescaped into `out`; whether there was one.
///
/// Strings are found without parsing the rest; `stray` is set when something outside of them is
/// no JSON. Escapes `\u` are left to [`decode`]. A string that does not end is taken as it is.
pub fn json_string(text: &[u8], at: &mut usize, stray: &mut bool, out: &mut Vec<u8>) -> bool {
    out.clear();
    loop {
        let Some(&byte) = text.get(*at) else { return false };
        *at += 1;
        match byte {
            b'"' => break,
            b'{' | b'}' | b'[' | b']' | b',' | b':' | b' ' | b'\t' | b'\r' | b'\n' => {}
            b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-' => {}
            b't' | b'r' | b'u' | b'f' | b'a' | b'l' | b's' | b'n' => {}
            _ => *stray = true,
        }
    }
    while let Some(&byte) = text.get(*at) {
        *at += 1;
        match byte {
            b'"' => return true,
            b'\\' => {
                let Some(&escaped) = text.get(*at) else { break };
                *at += 1;
                match escaped {
                    b'n' => out.push(b'\n'),
                    b't' => out.push(b'\t'),
                    b'r' => out.push(b'\r'),
                    b'b' | b'f' => out.push(b' '),
                    b'u' => out.extend_from_slice(b"\\u"),
                    other => out.push(other),
                }
            }
            other => out.push(other),
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(input: &str) -> (String, Trace) {
        let (mut out, mut spare) = (Vec::new(), Vec::new());
        let trace = decode(input.as_bytes(), true, &mut out, &mut spare);
        (String::from_utf8_lossy(&out).into_owned(), trace)
    }

    #[test]
    fn layers_come_off() {
        for (input, output) in [
            ("plain", "plain"),
            ("a+b%20c", "a b c"),
            ("%2e%2e%2f", "../"),
            ("%252e%252e%255c", "..\\"),
            ("%%32%66", "/"),
            ("%c0%ae%c0%af", "./"),
            ("%c1%9c", "\\"),
            ("%e0%80%af", "/"),
            ("%u003cscript%u003e", "<script>"),
            ("&lt;a&gt;&#39;&#x0000027&colon;", "<a>'':"),
            ("%26lt%3Bb", "<b"),
            ("\\u003cb\\x3e", "<b>"),
            ("＜ｓ＞", "<s>"),
            ("100%", "100%"),
            ("a&b=c", "a&b=c"),
            ("%", "%"),
            ("&#;", "&#;"),
        ] {
            assert_eq!(decoded(input).0, output, "{input}");
        }
        assert_eq!(decoded("%2525252525252541").1.rounds, MAX_ROUNDS);
        assert!(decoded("%c0%ae").1.overlong && decoded("a%00").1.nul && decoded("%0a").1.line_end);
    }

    #[test]
    fn base64_of_text_only() {
        let mut out = Vec::new();
        assert!(base64_text(b"Li4vLi4vLi4vZXRjL3Bhc3N3ZA==", &mut out));
        assert_eq!(out, b"../../../etc/passwd");
        for no in ["d222950e688b4e3d", "shortAAA", "o_GpTr9HHJJuQyahzYzRI32s", "internationalise"] {
            assert!(!base64_text(no.as_bytes(), &mut out), "{no}");
        }
    }

    #[test]
    fn json_strings_one_by_one() {
        let text = br#"{"a\"b": ["c\n\u0041", 1e5, true], "open"#;
        let (mut at, mut stray, mut out, mut all) = (0, false, Vec::new(), Vec::new());
        while json_string(text, &mut at, &mut stray, &mut out) {
            all.push(String::from_utf8_lossy(&out).into_owned());
        }
        assert_eq!(all, ["a\"b", "c\n\\u0041", "open"]);
        assert!(!stray);
        let mut at = 0;
        while json_string(b"{a' or 1=1", &mut at, &mut stray, &mut out) {}
        assert!(stray);
    }

    /// Every byte in front of and behind every marker, and every prefix: no panic, bounded.
    #[test]
    fn hostile_bytes() {
        let (mut out, mut spare) = (Vec::new(), Vec::new());
        let long = b"%u00&#x&lt;\\u12\\x%c0%e0%80%f0%80%80%ef%bc\xf0\x80\x80\xc0\xe0\xef\xbc%%32%66&#9999999999;";
        for end in 0..=long.len() {
            for byte in 0..=255 {
                let mut input = long.get(..end).unwrap().to_vec();
                input.push(byte);
                decode(&input, true, &mut out, &mut spare);
                assert!(out.len() <= input.len());
                base64_text(&input, &mut out);
                json_string(&input, &mut 0, &mut false, &mut out);
            }
        }
    }
}
