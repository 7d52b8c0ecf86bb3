//! Tokens of a decoded value: words with what they mean, numbers, and punctuation. No grammar is
//! assumed, as the value may end up in any.

use super::keywords::{self, FIRST_KIND, kind};

/// Bytes that are looked at as one piece; longer values are cut into pieces that overlap.
pub(super) const MAX_WINDOW: usize = 1024;

/// Tokens of one piece. A piece of nothing but punctuation has more: its rest says nothing new.
pub(super) const MAX_TOKENS: usize = 512;

/// Longer words are nobody's keywords.
const MAX_WORD: usize = 32;

/// Kinds of tokens that are no keywords. Single punctuation is its own byte.
pub(super) mod shape {
    pub(in crate::payload) const WORD: u8 = 128;
    pub(in crate::payload) const NUMBER: u8 = 129;
    pub(in crate::payload) const HEX: u8 = 130;
    /// Digits, then letters.
    pub(in crate::payload) const MIXED: u8 = 131;
    pub(in crate::payload) const NEWLINE: u8 = 132;
    pub(in crate::payload) const CONTROL: u8 = 133;
    pub(in crate::payload) const DOT2: u8 = 134;
    /// Three dots or more.
    pub(in crate::payload) const DOTS: u8 = 135;
    pub(in crate::payload) const DASH2: u8 = 136;
    pub(in crate::payload) const COMMENT: u8 = 137;
    pub(in crate::payload) const COMMENT_END: u8 = 138;
    pub(in crate::payload) const OR2: u8 = 139;
    pub(in crate::payload) const AND2: u8 = 140;
    pub(in crate::payload) const SLASH2: u8 = 141;
    pub(in crate::payload) const CLOSE_TAG: u8 = 142;
    pub(in crate::payload) const LT_BANG: u8 = 143;
    pub(in crate::payload) const LT_QUESTION: u8 = 144;
    pub(in crate::payload) const LT_PERCENT: u8 = 145;
    pub(in crate::payload) const BRACES: u8 = 146;
    pub(in crate::payload) const BRACES_END: u8 = 147;
    pub(in crate::payload) const DOLLAR_BRACE: u8 = 148;
    pub(in crate::payload) const DOLLAR_PAREN: u8 = 149;
    pub(in crate::payload) const HASH_BRACE: u8 = 150;
    pub(in crate::payload) const PERCENT_BRACE: u8 = 151;
    pub(in crate::payload) const AT2: u8 = 152;
    /// `<>`, `!=`, `<=`, `>=`, `<=>`, `:=`.
    pub(in crate::payload) const COMPARE: u8 = 153;
    /// `==`, `===`.
    pub(in crate::payload) const EQUALS2: u8 = 154;
    pub(in crate::payload) const ARROWS: u8 = 155;
    /// The start and the end of the piece, for n-grams.
    pub(in crate::payload) const EDGE: u8 = 156;
    /// Past the end, for detectors that look ahead; never in a list of tokens.
    pub(in crate::payload) const NONE: u8 = 157;
}

/// One token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    /// What it is: a [`shape`], a [`kind`], or the byte itself.
    pub(super) kind: u8,
    /// White space stands before it.
    pub(super) spaced: bool,
    /// Categories ([`keywords::cat`]).
    pub(super) cats: u16,
    /// First byte.
    pub(super) start: u16,
    /// Behind the last byte.
    pub(super) end: u16,
}

impl Token {
    pub(super) const NONE: Self =
        Self { kind: shape::NONE, spaced: false, cats: 0, start: 0, end: 0 };

    /// A word of any kind, keywords included.
    pub(super) const fn is_word(self) -> bool {
        self.kind == shape::WORD || self.kind >= FIRST_KIND
    }

    pub(super) const fn is_number(self) -> bool {
        matches!(self.kind, shape::NUMBER | shape::HEX)
    }

    /// What may stand on either side of a comparison.
    pub(super) const fn is_operand(self) -> bool {
        self.is_word() || self.is_number() || self.kind == shape::MIXED
    }

    pub(super) const fn is_quote(self) -> bool {
        matches!(self.kind, b'\'' | b'"' | b'`')
    }
}

/// The words of [`keywords::GROUPS`] by hash.
#[derive(Debug)]
pub(super) struct Words {
    /// One more than the place in `entries`, 0 where there is none: small enough to stay cached.
    slots: Vec<u16>,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    word: &'static str,
    kind: u8,
    cats: u16,
}

/// Four times the words there are, so that most words that are none meet an empty slot.
const SLOTS: usize = 4096;
const SEED: u32 = 0x9e37_79b9;

/// One step of the word hash: FNV-1a's.
const fn mix(hash: u32, byte: u8) -> u32 {
    (hash ^ byte as u32).wrapping_mul(0x0100_0193)
}

impl Words {
    pub(super) fn new() -> Self {
        let mut words = Self { slots: vec![0; SLOTS], entries: Vec::new() };
        for &(kind, cats, group) in keywords::GROUPS {
            for word in group.split_ascii_whitespace() {
                let at = words.seek(word.bytes().fold(SEED, mix), word.as_bytes());
                let place = words.slots.get(at).copied().unwrap_or_default();
                if let Some(known) = words.entries.get_mut(usize::from(place).wrapping_sub(1)) {
                    known.cats |= cats;
                } else if let (Some(slot), Ok(place)) =
                    (words.slots.get_mut(at), u16::try_from(words.entries.len() + 1))
                {
                    *slot = place;
                    words.entries.push(Entry { word, kind, cats });
                }
            }
        }
        words
    }

    /// The slot of a word, or the empty one where it would be.
    fn seek(&self, hash: u32, word: &[u8]) -> usize {
        let mut at = Self::slot(hash);
        loop {
            let place = self.slots.get(at).copied().unwrap_or_default();
            match self.entries.get(usize::from(place).wrapping_sub(1)) {
                Some(entry) if entry.word.as_bytes() != word => at = (at + 1) % SLOTS,
                _ => return at,
            }
        }
    }

    const fn slot(hash: u32) -> usize {
        (hash ^ (hash >> 15)) as usize % SLOTS
    }

    /// Kind and categories of a lower-case word.
    fn find(&self, hash: u32, word: &[u8]) -> (u8, u16) {
        let place = self.slots.get(self.seek(hash, word)).copied().unwrap_or_default();
        match self.entries.get(usize::from(place).wrapping_sub(1)) {
            Some(entry) => (entry.kind, entry.cats),
            None => (shape::WORD, 0),
        }
    }
}

/// What a byte starts.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Start {
    Space,
    Newline,
    Control,
    Word,
    Digit,
    Mark,
}

const STARTS: [Start; 256] = {
    let mut table = [Start::Control; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
        let b = byte as u8;
        table[byte] = match b {
            b' ' | b'\t' | 0x0b | 0x0c | 0xa0 => Start::Space,
            b'\n' | b'\r' => Start::Newline,
            b'0'..=b'9' => Start::Digit,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80..=0xff => Start::Word,
            b'!'..=b'~' => Start::Mark,
            _ => Start::Control,
        };
        byte += 1;
    }
    table
};

fn start_of(byte: u8) -> Start {
    STARTS.get(usize::from(byte)).copied().unwrap_or(Start::Control)
}

/// Kind and length of the punctuation at the start of `rest`.
fn mark(first: u8, rest: &[u8]) -> (u8, usize) {
    let second = rest.get(1).copied().unwrap_or_default();
    let third = rest.get(2).copied().unwrap_or_default();
    match (first, second) {
        (b'.', b'.') => match rest.iter().take_while(|b| **b == b'.').count() {
            2 => (shape::DOT2, 2),
            n => (shape::DOTS, n),
        },
        (b'-', b'-') => match rest.iter().take_while(|b| **b == b'-').count() {
            // A ruler is no comment.
            n if n > 3 => (b'_', n),
            n => (shape::DASH2, n),
        },
        (b'/', b'*') => (shape::COMMENT, 2),
        (b'*', b'/') => (shape::COMMENT_END, 2),
        (b'/', b'/') => (shape::SLASH2, rest.iter().take_while(|b| **b == b'/').count()),
        (b'|', b'|') => (shape::OR2, 2),
        (b'&', b'&') => (shape::AND2, 2),
        (b'<', b'/') => (shape::CLOSE_TAG, 2),
        (b'<', b'!') => (shape::LT_BANG, 2),
        (b'<', b'?') => (shape::LT_QUESTION, 2),
        (b'<', b'%') => (shape::LT_PERCENT, 2),
        (b'<', b'<') | (b'>', b'>') => (shape::ARROWS, 2),
        (b'{', b'{' | b'%') => (shape::BRACES, 2),
        (b'}', b'}') | (b'%', b'}') => (shape::BRACES_END, 2),
        (b'$', b'{') => (shape::DOLLAR_BRACE, 2),
        (b'$', b'(') => (shape::DOLLAR_PAREN, 2),
        (b'#', b'{') => (shape::HASH_BRACE, 2),
        (b'%', b'{') => (shape::PERCENT_BRACE, 2),
        (b'@', b'@') => (shape::AT2, 2),
        (b'<', b'=') if third == b'>' => (shape::COMPARE, 3),
        (b'<', b'>' | b'=') | (b'!' | b'>' | b':', b'=') => (shape::COMPARE, 2),
        (b'=', b'=') => (shape::EQUALS2, 2 + usize::from(third == b'=')),
        _ => (first, 1),
    }
}

/// Reads the tokens of `text`, which is lower-case and at most [`MAX_WINDOW`] long, into `out`.
#[expect(clippy::cast_possible_truncation, reason = "positions are below MAX_WINDOW")]
pub(super) fn tokens(words: &Words, text: &[u8], out: &mut Vec<Token>) {
    out.clear();
    let mut at = 0;
    let mut spaced = false;
    while let Some(&byte) = text.get(at) {
        let begin = at;
        let (kind, cats) = match start_of(byte) {
            Start::Space => {
                spaced = true;
                at += 1;
                continue;
            }
            Start::Newline => {
                while matches!(text.get(at), Some(b'\r' | b'\n')) {
                    at += 1;
                }
                (shape::NEWLINE, 0)
            }
            Start::Control => {
                at += 1;
                (shape::CONTROL, 0)
            }
            Start::Word => {
                let mut hash = SEED;
                while let Some(&next) = text.get(at) {
                    if !matches!(start_of(next), Start::Word | Start::Digit) {
                        break;
                    }
                    hash = mix(hash, next);
                    at += 1;
                }
                let word = text.get(begin..at).unwrap_or_default();
                if word.len() <= MAX_WORD { words.find(hash, word) } else { (shape::WORD, 0) }
            }
            Start::Digit => number(text, &mut at),
            Start::Mark => {
                let (kind, len) = mark(byte, text.get(at..).unwrap_or_default());
                at += len;
                (kind, 0)
            }
        };
        out.push(Token { kind, spaced, cats, start: begin as u16, end: at as u16 });
        spaced = false;
        if out.len() == MAX_TOKENS {
            break;
        }
    }
}

/// A number, a hexadecimal one, or something that only starts like one.
fn number(text: &[u8], at: &mut usize) -> (u8, u16) {
    let begin = *at;
    let mut kind = shape::NUMBER;
    while let Some(&next) = text.get(*at) {
        match start_of(next) {
            Start::Digit => {}
            Start::Word => kind = shape::MIXED,
            _ => break,
        }
        *at += 1;
    }
    let run = text.get(begin..*at).unwrap_or_default();
    if kind == shape::MIXED
        && let Some(digits) = run.strip_prefix(b"0x")
        && !digits.is_empty()
        && digits.iter().all(u8::is_ascii_hexdigit)
    {
        kind = shape::HEX;
    } else if kind == shape::NUMBER
        && text.get(*at) == Some(&b'.')
        && text.get(*at + 1).is_some_and(u8::is_ascii_digit)
    {
        // One fraction; an address is a row of numbers and dots.
        let digits = text.get(*at + 1..).unwrap_or_default();
        let len = digits.iter().take_while(|b| b.is_ascii_digit()).count();
        if digits.get(len) != Some(&b'.') {
            *at += 1 + len;
        }
    }
    (kind, 0)
}

/// Whether a word is the name of an event handler attribute.
pub(super) fn is_handler(word: &[u8]) -> bool {
    word.strip_prefix(b"on").is_some_and(|rest| {
        rest.len() >= 3 && keywords::HANDLERS.iter().any(|h| rest.starts_with(h.as_bytes()))
    })
}

/// Whether `kind` joins two conditions.
pub(super) const fn is_bool(kind: u8) -> bool {
    matches!(kind, kind::OR | kind::AND | shape::OR2 | shape::AND2)
}

/// Whether `kind` compares two values.
pub(super) const fn is_compare(kind: u8) -> bool {
    matches!(
        kind,
        b'=' | b'<'
            | b'>'
            | shape::COMPARE
            | shape::EQUALS2
            | kind::LIKE
            | kind::IN
            | kind::IS
            | kind::BETWEEN
    )
}

/// Whether `kind` starts a clause that can follow a value.
pub(super) const fn is_clause(kind: u8) -> bool {
    matches!(
        kind,
        kind::UNION
            | kind::HAVING
            | kind::ORDER
            | kind::GROUP
            | kind::WHERE
            | kind::LIMIT
            | kind::INTO
            | kind::WAITFOR
            | kind::BETWEEN
            | kind::SELECT
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_can_be_found() {
        let words = Words::new();
        for &(_, cats, group) in keywords::GROUPS {
            for word in group.split_ascii_whitespace() {
                assert!(
                    word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
                );
                let mut out = Vec::new();
                tokens(&words, word.as_bytes(), &mut out);
                let [token] = out[..] else { panic!("{word}") };
                assert!(token.kind >= FIRST_KIND && token.cats & cats == cats, "{word}");
            }
        }
    }

    #[test]
    fn marks_and_numbers() {
        let words = Words::new();
        let mut out = Vec::new();
        tokens(&words, b"a' or 0x1f>=1.5 -- /*x*/ ../..", &mut out);
        let kinds: Vec<u8> = out.iter().map(|t| t.kind).collect();
        use shape as s;
        assert_eq!(
            kinds,
            [
                kind::TAG,
                b'\'',
                kind::OR,
                s::HEX,
                s::COMPARE,
                s::NUMBER,
                s::DASH2,
                s::COMMENT,
                s::WORD,
                s::COMMENT_END,
                s::DOT2,
                b'/',
                s::DOT2
            ]
        );
        assert!(out[2].spaced && !out[1].spaced);
    }
}
