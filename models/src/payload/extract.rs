//! One value in, its features out.

use super::{
    Place,
    clean::{self, Clean},
    decode::{MIN_BASE64, Trace, base64_text, decode},
    expression,
    keywords::kind,
    lex::{MAX_TOKENS, MAX_WINDOW, Token, Words, is_bool, is_compare, shape, tokens},
    markup, path, schema,
    schema::{CHAR_BUCKETS, NAMED, TOKEN_BUCKETS, f},
    shell, sql,
    view::{Hits, View},
};
use crate::numbers;

/// Bytes by which one piece of a long value reaches into the next, so that no short attack is cut.
const OVERLAP: usize = 256;

/// Members of a hashed group that are kept: a piece with more has said enough.
const MAX_GRAMS: usize = 512;

/// The active features of one piece.
#[derive(Clone, Debug, Default)]
pub struct Active {
    /// Named features, by their place in [`schema::FEATURES`].
    pub named: Vec<u16>,
    /// Buckets of token n-grams, each once.
    pub token_grams: Vec<u16>,
    /// Buckets of character trigrams, each once.
    pub char_grams: Vec<u16>,
}

impl Active {
    pub(super) fn with_capacity() -> Self {
        Self {
            named: Vec::with_capacity(NAMED),
            token_grams: Vec::with_capacity(MAX_GRAMS),
            char_grams: Vec::with_capacity(MAX_GRAMS),
        }
    }

    /// What each active member of a hashed group of `n` counts.
    #[must_use]
    pub fn share(n: usize) -> f32 {
        /// Below, a group would outweigh the named features of short values.
        const FEWEST: usize = 4;
        #[expect(clippy::cast_precision_loss, reason = "at most MAX_GRAMS")]
        let n = n.max(FEWEST) as f32;
        n.sqrt().recip()
    }

    /// Every active feature by its place in the schema, and its value.
    pub fn iter(&self) -> impl Iterator<Item = (usize, f32)> + '_ {
        let named = self.named.iter().map(|at| (usize::from(*at), 1.0));
        let t = Self::share(self.token_grams.len());
        let tokens = self.token_grams.iter().map(move |at| (NAMED + usize::from(*at), t));
        let c = Self::share(self.char_grams.len());
        let base = NAMED + TOKEN_BUCKETS;
        named
            .chain(tokens)
            .chain(self.char_grams.iter().map(move |at| (base + usize::from(*at), c)))
    }
}

/// Buffers of the extraction, made once.
#[derive(Debug)]
pub(super) struct Buffers {
    pub(super) decoded: Vec<u8>,
    spare: Vec<u8>,
    low: Vec<u8>,
    tokens: Vec<Token>,
    hits: Hits,
    seen_tokens: [u64; TOKEN_BUCKETS / 64],
    seen_chars: [u64; CHAR_BUCKETS / 64],
    base64: Vec<u8>,
    clean: Clean,
    /// A path without its numbers.
    template: Vec<u8>,
    pub(super) active: Active,
}

/// A piece whose features have been found.
pub(super) struct Piece<'a> {
    pub(super) active: &'a Active,
    /// The decoded bytes of the piece.
    pub(super) text: &'a [u8],
    /// What its value is called.
    pub(super) name: Name<'a>,
    hits: &'a Hits,
}

impl Piece<'_> {
    /// Where in `text` a named feature was first seen.
    pub(super) fn start(&self, feature: usize) -> usize {
        self.hits.start(feature).map_or(0, usize::from)
    }
}

/// What a value is called.
#[derive(Clone, Copy)]
pub(super) enum Name<'a> {
    /// It has none, or is one itself.
    None,
    /// This.
    Is(&'a [u8]),
    /// It holds names and values alike.
    Mixed,
}

impl Name<'_> {
    /// Whether a value of this name may be a secret, never to be shown.
    pub(super) fn is_secret(self) -> bool {
        const LONGEST: usize = 64;
        const WORDS: [&[u8]; 9] =
            [b"pass", b"pwd", b"secret", b"token", b"auth", b"key", b"sess", b"sid", b"cred"];
        let name = match self {
            Self::None => return false,
            Self::Is(name) => name.get(..LONGEST).unwrap_or(name),
            Self::Mixed => return true,
        };
        let holds =
            |word: &&[u8]| name.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word));
        WORDS.iter().any(holds)
    }
}

/// How a value is written, and where it stood.
#[derive(Clone, Copy)]
pub(super) struct How<'a> {
    /// As in [`decode`].
    pub(super) plus: bool,
    pub(super) place: Place,
    pub(super) name: Name<'a>,
}

/// What is known of a piece before it is read.
#[derive(Clone, Copy)]
struct What<'a> {
    trace: Trace,
    place: Place,
    name: Name<'a>,
    base64: bool,
    object: bool,
}

/// Whether the token is one beside which no detector asks what a number is, but only that it is one:
/// those ask behind a scheme or two slashes, and where values are compared.
const fn is_of_any_number(token: Token) -> bool {
    let plain = matches!(token.kind, shape::NUMBER | shape::MIXED | b'/' | b'-' | b'.');
    (plain || token.is_word()) && !is_bool(token.kind) && !is_compare(token.kind)
}

/// What no detector could say anything about: letters, digits, dashes, single dots.
fn is_inert(value: &[u8]) -> bool {
    static PLAIN: [bool; 256] = {
        let mut plain = [false; 256];
        let mut byte = 0;
        while byte < 256 {
            #[expect(clippy::cast_possible_truncation, reason = "below 256")]
            let b = byte as u8;
            plain[byte] = matches!(b, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.');
            byte += 1;
        }
        plain
    };
    let plain = |byte: &u8| PLAIN.get(usize::from(*byte)).copied().unwrap_or_default();
    value.iter().all(plain) && !value.windows(2).any(|two| two == b"..")
}

impl Buffers {
    pub(super) fn new() -> Self {
        /// Values up to this size need no further allocation; longer ones grow the buffers once,
        /// up to [`super::MAX_VALUE`].
        const USUAL: usize = 16 * 1024;
        Self {
            decoded: Vec::with_capacity(USUAL),
            spare: Vec::with_capacity(USUAL),
            low: Vec::with_capacity(MAX_WINDOW),
            tokens: Vec::with_capacity(MAX_TOKENS),
            hits: Hits::default(),
            seen_tokens: [0; TOKEN_BUCKETS / 64],
            seen_chars: [0; CHAR_BUCKETS / 64],
            base64: Vec::with_capacity(super::decode::MAX_BASE64 + 3),
            clean: Clean::new(),
            template: Vec::with_capacity(clean::MAX_LEN),
            active: Active::with_capacity(),
        }
    }

    /// Bytes that the buffers hold, for a test that they settle.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.decoded.capacity()
            + self.spare.capacity()
            + self.low.capacity()
            + self.base64.capacity()
            + self.tokens.capacity()
            + self.active.named.capacity()
            + self.active.token_grams.capacity()
            + self.active.char_grams.capacity()
    }

    /// Decodes `raw` and gives `each` the features of each of its pieces that has a structure of
    /// some attack in it. Without one there is nothing to weigh, or to tell anybody.
    ///
    pub(super) fn value(
        &mut self,
        words: &Words,
        raw: &[u8],
        how: How<'_>,
        mut each: impl FnMut(&Piece<'_>),
    ) {
        let How { plus, place, name } = how;
        // A path that is taken as it stands is decoded to itself, and no object.
        self.template.clear();
        let numbers = (place == Place::Path && !plus && raw.len() <= clean::MAX_LEN)
            .then(|| numbers::leave_out(raw, &mut self.template))
            .flatten();
        let at_template = numbers
            .filter(|numbers| numbers.last.is_some())
            .and_then(|_| self.clean.at_template(&self.template));
        if at_template.is_some_and(|at| self.clean.knows(at, &self.template))
            && !base64_text(raw, &mut self.base64)
        {
            return;
        }
        let object = expression::is_object(raw);
        let inert = !object && is_inert(raw);
        if inert && raw.len() < MIN_BASE64 {
            return;
        }
        let at = self.clean.at(raw, plus, place);
        if at.is_some_and(|at| self.clean.knows(at, raw)) {
            return;
        }
        let mut nothing = true;
        let mut each = |piece: &Piece<'_>| {
            nothing = false;
            each(piece);
        };
        let trace = decode(raw, plus, &mut self.decoded, &mut self.spare);
        let mut from = 0;
        while !inert && from < self.decoded.len() || (from == 0 && object) {
            let end = (from + MAX_WINDOW).min(self.decoded.len());
            let what = What { trace, place, name, base64: false, object };
            self.piece(words, from..end, what, &mut each);
            if end == self.decoded.len() {
                break;
            }
            from = end - OVERLAP;
        }
        let mut any_number = self.decoded.len() <= MAX_WINDOW
            && self.tokens.iter().all(|token| is_of_any_number(*token));
        let mut base64 = std::mem::take(&mut self.base64);
        if base64_text(self.decoded.trim_ascii(), &mut base64) {
            any_number = false;
            let hidden = decode(&base64, false, &mut self.decoded, &mut self.spare);
            let end = self.decoded.len().min(MAX_WINDOW);
            let what = What { trace: hidden, place, name, base64: true, object };
            self.piece(words, 0..end, what, &mut each);
        }
        self.base64 = base64;
        match (at_template, at) {
            (Some(at), _) if nothing && any_number => self.clean.note(at, &self.template),
            (_, Some(at)) if nothing => self.clean.note(at, raw),
            _ => {}
        }
    }

    fn piece(
        &mut self,
        words: &Words,
        range: std::ops::Range<usize>,
        what: What<'_>,
        each: &mut impl FnMut(&Piece<'_>),
    ) {
        let What { trace, place, name, base64, object } = what;
        let text = self.decoded.get(range).unwrap_or_default();
        self.low.clear();
        self.low.extend(text.iter().map(u8::to_ascii_lowercase));
        tokens(words, &self.low, &mut self.tokens);
        let mut cats = 0;
        let mut kinds = [0_u64; 4];
        for token in &self.tokens {
            cats |= token.cats;
            if let Some(word) = kinds.get_mut(usize::from(token.kind / 64)) {
                *word |= 1 << (token.kind % 64);
            }
        }
        let view = View {
            low: &self.low,
            tokens: &self.tokens,
            trace,
            one_line: place.one_line(),
            is_path: place == Place::Path,
            cats,
            kinds,
        };
        let hits = &mut self.hits;
        hits.clear();
        trace_features(&view, base64, object, hits);
        sql::detect(&view, hits);
        markup::detect(&view, hits);
        path::detect(&view, hits);
        shell::detect(&view, hits);
        expression::detect(&view, hits);
        if !hits.iter().any(|at| schema::FEATURES.get(at).is_some_and(|f| f.class.is_some())) {
            return;
        }
        shape_features(&view, hits);
        self.active.named.clear();
        #[expect(clippy::cast_possible_truncation, reason = "there are fewer than 2^16 features")]
        self.active.named.extend(hits.iter().map(|at| at as u16));
        token_grams(&self.tokens, &mut self.seen_tokens, &mut self.active.token_grams);
        char_grams(&self.low, &mut self.seen_chars, &mut self.active.char_grams);
        each(&Piece { active: &self.active, text, name, hits: &self.hits });
    }
}

fn trace_features(v: &View<'_>, base64: bool, object: bool, hits: &mut Hits) {
    let trace = v.trace;
    for (present, feature) in [
        (trace.rounds >= 2, f::D_ROUNDS2),
        (trace.rounds >= 3, f::D_ROUNDS3),
        (trace.overlong, f::D_OVERLONG),
        (trace.percent_u, f::D_PERCENT_U),
        (trace.nul, f::D_NUL),
        (trace.entity, f::D_ENTITY),
        (trace.escape, f::D_ESCAPE),
        (trace.full_width, f::D_FULL_WIDTH),
        (trace.broken_percent, f::D_BROKEN_PERCENT),
        (trace.needless, f::D_NEEDLESS),
        (base64, f::D_BASE64),
        (v.has(shape::CONTROL), f::D_CONTROL),
        (object, f::O_OBJECT),
    ] {
        if present {
            hits.add(feature, 0);
        }
    }
}

/// Tokens from which on a value may be program code.
const IDIOM_TOKENS: usize = 5;

/// Whether the token is an idiom of programs that no attack needs.
fn is_idiom(v: &View<'_>, at: usize, token: Token) -> bool {
    let next = v.at(at + 1);
    let joined = v.joined(at + 1);
    match token.kind {
        // A::B, but for XPath's axes.
        b':' => {
            next.kind == b':'
                && joined
                && v.joined(at)
                && v.at(at + 2).is_word()
                && v.joined(at + 2)
        }
        // A result's type, a match's arm, an arrow function.
        b'-' | b'=' => next.kind == b'>' && joined && !v.back(at, 1).is_quote(),
        b'&' => joined && matches!(v.text(next), b"mut" | b"self"),
        b'.' => {
            joined
                && matches!(
                    v.text(next),
                    b"unwrap" | b"clone" | b"iter" | b"len" | b"to_owned" | b"push" | b"foreach"
                )
                && v.kind(at + 2) == b'('
        }
        _ if token.is_word() && next.spaced && next.is_word() => matches!(
            v.text(token),
            b"fn" | b"let" | b"const" | b"mut" | b"impl" | b"pub" | b"def" | b"struct" | b"enum"
        ),
        _ => false,
    }
}

fn shape_features(v: &View<'_>, hits: &mut Hits) {
    let mut singles = 0_usize;
    let mut doubles = 0_usize;
    let mut apostrophes = 0_usize;
    let mut plain = 0_usize;
    let mut commas = 0_usize;
    let mut idioms = 0_usize;
    let long = v.tokens.len() >= IDIOM_TOKENS;
    for (at, &token) in v.tokens.iter().enumerate() {
        match token.kind {
            b'\'' => {
                singles += 1;
                let within = v.back(at, 1).is_word()
                    && !token.spaced
                    && v.at(at + 1).is_word()
                    && v.joined(at + 1);
                apostrophes += usize::from(within);
            }
            b'"' => doubles += 1,
            b',' => commas += 1,
            shape::WORD => plain += 1,
            kind::AND
            | kind::OR
            | kind::IN
            | kind::IS
            | kind::AS
            | kind::BY
            | kind::FROM
            | kind::TAG
            | kind::SQL_WORD => plain += 1,
            _ => {}
        }
        if long && is_idiom(v, at, token) {
            idioms += 1;
        }
        if token.kind == kind::HTTP && v.kind(at + 1) == b':' && v.kind(at + 2) == shape::SLASH2 {
            hits.add(f::B_URL, token.start);
        }
        if matches!(v.text(token), b"mozilla" | b"applewebkit" | b"gecko" | b"chrome" | b"safari")
            && v.kind(at + 1) == b'/'
        {
            hits.add(f::B_UA, token.start);
        }
        if matches!(v.text(token), b"q") && v.kind(at + 1) == b'=' && v.back(at, 1).kind == b';' {
            hits.add(f::B_MIME, token.start);
        }
    }
    let n = v.tokens.len();
    let code =
        v.has(b'{') && v.has(b'}') && v.has(b'(') || (v.has(b'=') && v.has(b'(') && v.has(b';'));
    let repeat = {
        let mut run = 0;
        let mut longest = 0;
        let mut last = 0;
        for &byte in v.low {
            run = if byte == last { run + 1 } else { 0 };
            last = byte;
            longest = longest.max(run);
        }
        longest >= 40
    };
    for (present, feature) in [
        (singles % 2 == 1, f::B_QUOTE_ODD),
        (doubles % 2 == 1, f::B_DOUBLE_ODD),
        (apostrophes > 0 && apostrophes == singles && doubles == 0, f::B_APOSTROPHE),
        (plain >= 4 && plain * 10 >= n * 7, f::B_PROSE),
        (commas > 0 && plain + commas == n, f::B_LIST),
        (code, f::B_CODE),
        (idioms > 0, f::B_IDIOM),
        (idioms > 2, f::B_IDIOMS),
        (repeat, f::B_REPEAT),
    ] {
        if present {
            hits.add(feature, 0);
        }
    }
}

/// A bucket of `2^bits` for `key`, by multiplication with the golden ratio: stable, without a key.
#[expect(clippy::cast_possible_truncation, reason = "the upper bits of 32")]
const fn bucket(key: u32, bits: u32) -> u16 {
    (key.wrapping_mul(0x9e37_79b1) >> (32 - bits)) as u16
}

/// Notes `at` in `seen` and, if it is new, in `out`.
fn note(seen: &mut [u64], out: &mut Vec<u16>, at: u16) {
    if let Some(word) = seen.get_mut(usize::from(at / 64)) {
        let bit = 1 << (at % 64);
        if *word & bit == 0 && out.len() < MAX_GRAMS {
            *word |= bit;
            out.push(at);
        }
    }
}

/// Pairs and triples of token kinds, with the edges of the piece as tokens.
fn token_grams(tokens: &[Token], seen: &mut [u64; TOKEN_BUCKETS / 64], out: &mut Vec<u16>) {
    const BITS: u32 = TOKEN_BUCKETS.trailing_zeros();
    seen.fill(0);
    out.clear();
    let mut before = u32::from(shape::EDGE);
    let mut last = u32::from(shape::EDGE);
    for kind in tokens.iter().map(|t| t.kind).chain([shape::EDGE]) {
        let kind = u32::from(kind);
        note(seen, out, bucket(last << 8 | kind, BITS));
        note(seen, out, bucket(before << 16 | last << 8 | kind | 1 << 24, BITS));
        before = last;
        last = kind;
    }
}

/// Trigrams with punctuation in them that is no everyday one; digits are all alike, as are bytes
/// beyond ASCII.
fn char_grams(low: &[u8], seen: &mut [u64; CHAR_BUCKETS / 64], out: &mut Vec<u16>) {
    const BITS: u32 = CHAR_BUCKETS.trailing_zeros();
    seen.fill(0);
    out.clear();
    let mut window = 0x20_2020_u32;
    // Bits 0 to 2: whether the last three bytes were telling.
    let mut telling = 0_u32;
    for &byte in low.iter().chain(b" ") {
        let (class, tells) = match byte {
            b'0'..=b'9' => (b'0', 0),
            b'a'..=b'z' | b' ' | b'.' | b',' | b'-' | b'_' | b'/' | b':' => (byte, 0),
            0x80.. => (0x80, 0),
            _ => (byte, 1),
        };
        window = (window << 8 | u32::from(class)) & 0xff_ffff;
        telling = (telling << 1 | tells) & 7;
        if telling != 0 {
            note(seen, out, bucket(window, BITS));
        }
    }
}

const _: () = assert!(
    TOKEN_BUCKETS.is_power_of_two() && CHAR_BUCKETS.is_power_of_two() && schema::WIDTH < 1 << 16
);
