//! JSON as RFC 8259 has it, for the header and the claims of a token: one pass, no tree on the
//! heap but a flat list of nodes that point into the text.
//!
//! General readers hide what matters here: which member names come twice after unescaping, where
//! nesting ends, whether a number is exact. Choices where RFC 8259 leaves one: text that is not
//! UTF-8, a byte order mark, and an escape of half a surrogate pair are errors, because services
//! read different strings out of them; a number outside the range of `f64` is legal and has no
//! [`Value::as_f64`].

use std::{borrow::Cow, fmt};

use smallvec::SmallVec;

mod value;

pub(crate) use self::value::Node;
use self::value::hex;
pub use self::value::{Kind, Value};

/// Containers inside each other in a header or in claims.
pub const MAX_DEPTH: usize = 32;
/// Containers inside each other in a body that is searched for tokens.
pub(crate) const MAX_BODY_DEPTH: usize = 256;
/// Values and member names of one text.
pub const MAX_NODES: usize = 4_096;

/// Why a text is not JSON. Holds no part of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// What is wrong.
    pub problem: Problem,
    /// At which byte of the text.
    pub at: usize,
}

/// What is wrong with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It ends within a value; more bytes could make it JSON.
    Incomplete,
    /// A byte that cannot stand where it stands.
    Unexpected,
    /// A control character within a string.
    ControlCharacter,
    /// An escape that does not exist.
    Escape,
    /// An escaped half of a surrogate pair.
    LoneSurrogate,
    /// A literal or a number that is spelled wrong.
    Literal,
    /// Not UTF-8.
    Utf8,
    /// Bytes behind the value.
    Trailing,
    /// Deeper than the limit.
    TooDeep,
    /// More than [`MAX_NODES`] values and names.
    TooMany,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problem = match self.problem {
            Problem::Incomplete => "ends too early",
            Problem::Unexpected => "unexpected byte",
            Problem::ControlCharacter => "control character in a string",
            Problem::Escape => "bad escape",
            Problem::LoneSurrogate => "lone surrogate",
            Problem::Literal => "bad literal or number",
            Problem::Utf8 => "not UTF-8",
            Problem::Trailing => "bytes behind the value",
            Problem::TooDeep => "too deep",
            Problem::TooMany => "too many values",
        };
        write!(f, "{problem} at byte {}", self.at)
    }
}

impl std::error::Error for Error {}

/// Parses `text[start..]` as one JSON text, appends its nodes, and gives the index of the root
/// and of a member name that its object has twice.
///
/// # Errors
///
/// The first [`Problem`]; `nodes` then keeps what was read before it, for nobody's use.
pub(crate) fn parse(
    text: &[u8],
    start: usize,
    nodes: &mut Vec<Node>,
) -> Result<(u32, Option<u32>), Error> {
    let own = text.get(start..).unwrap_or_default();
    if let Err(error) = std::str::from_utf8(own) {
        return Err(Error { problem: Problem::Utf8, at: error.valid_up_to() });
    }
    let root = nodes.len();
    let mut parser = Parser::new(text, start, nodes, MAX_DEPTH);
    let parsed = parser.text();
    let (surrogate, duplicate) = (parser.surrogate, parser.duplicate);
    let relative = |e: Error| Error { at: e.at.saturating_sub(start), ..e };
    parsed.map_err(relative)?;
    match surrogate {
        Some(at) => Err(relative(Error { problem: Problem::LoneSurrogate, at })),
        None => Ok((root as u32, duplicate)),
    }
}

/// Reads as much of `text` as is JSON and gives its nodes, with why it ended there. For bodies
/// that are cut off: no UTF-8 check, no search for duplicate names, lone surrogates pass.
pub(crate) fn scan(text: &[u8]) -> (Vec<Node>, Result<(), Error>) {
    let mut nodes = Vec::new();
    let mut parser = Parser::new(text, 0, &mut nodes, MAX_BODY_DEPTH);
    parser.find_duplicates = false;
    let result = parser.text();
    (nodes, result)
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    nodes: &'a mut Vec<Node>,
    /// `nodes.len()` may not go beyond.
    max_nodes: usize,
    max_depth: usize,
    find_duplicates: bool,
    surrogate: Option<usize>,
    duplicate: Option<u32>,
}

impl<'a> Parser<'a> {
    fn new(text: &'a [u8], at: usize, nodes: &'a mut Vec<Node>, max_depth: usize) -> Self {
        let max_nodes = nodes.len() + MAX_NODES;
        Self {
            text,
            at,
            nodes,
            max_nodes,
            max_depth,
            find_duplicates: true,
            surrogate: None,
            duplicate: None,
        }
    }

    fn fail<T>(&self, problem: Problem) -> Result<T, Error> {
        Err(Error { problem, at: self.at })
    }

    /// The next byte behind white space, which stays to be read.
    fn peek(&mut self) -> Result<u8, Error> {
        loop {
            match self.text.get(self.at) {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                Some(&byte) => return Ok(byte),
                None => return self.fail(Problem::Incomplete),
            }
        }
    }

    fn push(&mut self, kind: Kind, start: usize, end: usize, escaped: bool) -> Result<u32, Error> {
        if self.nodes.len() >= self.max_nodes {
            return self.fail(Problem::TooMany);
        }
        let index = self.nodes.len() as u32;
        let next = if matches!(kind, Kind::Array | Kind::Object) { 0 } else { index + 1 };
        self.nodes.push(Node { start: start as u32, end: end as u32, next, kind, escaped });
        Ok(index)
    }

    fn text(&mut self) -> Result<(), Error> {
        // Indices of the open containers, and whether each is an object.
        let mut open: SmallVec<[(u32, bool); 8]> = SmallVec::new();
        'value: loop {
            match self.peek()? {
                b'"' => self.string(Kind::String)?,
                byte @ (b'{' | b'[') => {
                    let object = byte == b'{';
                    if open.len() >= self.max_depth {
                        return self.fail(Problem::TooDeep);
                    }
                    let kind = if object { Kind::Object } else { Kind::Array };
                    let index = self.push(kind, self.at, self.at, false)?;
                    self.at += 1;
                    open.push((index, object));
                    let end = if object { b'}' } else { b']' };
                    if self.peek()? != end {
                        if object {
                            self.name()?;
                        }
                        continue 'value;
                    }
                }
                b't' => self.literal(b"true", Kind::Bool)?,
                b'f' => self.literal(b"false", Kind::Bool)?,
                b'n' => self.literal(b"null", Kind::Null)?,
                b'-' | b'0'..=b'9' => self.number()?,
                _ => return self.fail(Problem::Unexpected),
            }
            while let Some(&(index, object)) = open.last() {
                match (self.peek()?, object) {
                    (b',', _) => {
                        self.at += 1;
                        if object {
                            self.name()?;
                        }
                        continue 'value;
                    }
                    (b'}', true) | (b']', false) => {
                        self.at += 1;
                        self.close(index, object);
                        open.pop();
                    }
                    _ => return self.fail(Problem::Unexpected),
                }
            }
            return match self.peek() {
                Err(_) => Ok(()),
                Ok(_) => self.fail(Problem::Trailing),
            };
        }
    }

    fn close(&mut self, index: u32, object: bool) {
        let (next, end) = (self.nodes.len() as u32, self.at as u32);
        if let Some(node) = self.nodes.get_mut(index as usize) {
            node.next = next;
            node.end = end;
        }
        if object && self.find_duplicates && self.duplicate.is_none() {
            let value = Value::new(self.text, self.nodes, index);
            self.duplicate = duplicate_name(value);
        }
    }

    fn name(&mut self) -> Result<(), Error> {
        if self.peek()? != b'"' {
            return self.fail(Problem::Unexpected);
        }
        self.string(Kind::Name)?;
        if self.peek()? != b':' {
            return self.fail(Problem::Unexpected);
        }
        self.at += 1;
        Ok(())
    }

    /// Reads a string, `self.at` on its first quotation mark.
    fn string(&mut self, kind: Kind) -> Result<(), Error> {
        self.at += 1;
        let start = self.at;
        let mut escaped = false;
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            self.at += plain_prefix(rest);
            match self.text.get(self.at) {
                Some(b'"') => {
                    self.push(kind, start, self.at, escaped)?;
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return self.fail(Problem::ControlCharacter),
                None => return self.fail(Problem::Incomplete),
            }
        }
    }

    /// Passes over an escape, `self.at` on its backslash.
    fn escape(&mut self) -> Result<(), Error> {
        match self.text.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => {
                let unit = self.unit(self.at)?;
                let pair = matches!(unit, 0xd800..=0xdbff)
                    && self.text.get(self.at + 6..self.at + 8) == Some(b"\\u")
                    && matches!(self.unit(self.at + 6)?, 0xdc00..=0xdfff);
                if matches!(unit, 0xd800..=0xdfff) && !pair {
                    self.surrogate.get_or_insert(self.at);
                }
                self.at += if pair { 12 } else { 6 };
                Ok(())
            }
            Some(_) => self.fail(Problem::Escape),
            None => self.fail(Problem::Incomplete),
        }
    }

    /// The UTF-16 code unit of the escape `\uXXXX` at `at`.
    fn unit(&self, at: usize) -> Result<u32, Error> {
        let digits = self.text.get(at + 2..).unwrap_or_default();
        let digits = digits.get(..4).unwrap_or(digits);
        match (hex(digits), digits.len()) {
            (Some(unit), 4) => Ok(unit),
            (Some(_), _) => Err(Error { problem: Problem::Incomplete, at }),
            (None, _) => Err(Error { problem: Problem::Escape, at }),
        }
    }

    fn literal(&mut self, word: &'static [u8], kind: Kind) -> Result<(), Error> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        if !rest.starts_with(word) {
            return self.fail(if word.starts_with(rest) {
                Problem::Incomplete
            } else {
                Problem::Literal
            });
        }
        self.push(kind, self.at, self.at + word.len(), false)?;
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> Result<(), Error> {
        let start = self.at;
        self.skip(b"-");
        if !self.skip(b"0") {
            self.digits()?;
        }
        if self.skip(b".") {
            self.digits()?;
        }
        if self.skip(b"eE") {
            self.skip(b"+-");
            self.digits()?;
        }
        self.push(Kind::Number, start, self.at, false)?;
        Ok(())
    }

    /// Passes over one byte if it is among `any`.
    fn skip(&mut self, any: &[u8]) -> bool {
        let found = self.text.get(self.at).is_some_and(|byte| any.contains(byte));
        self.at += usize::from(found);
        found
    }

    /// Passes over digits, one at least.
    fn digits(&mut self) -> Result<(), Error> {
        let start = self.at;
        while self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        match self.text.get(self.at) {
            _ if self.at > start => Ok(()),
            Some(_) => self.fail(Problem::Literal),
            None => self.fail(Problem::Incomplete),
        }
    }
}

/// How many bytes come before the first `"`, `\` or control character.
#[inline]
fn plain_prefix(text: &[u8]) -> usize {
    /// Most strings end before.
    const SHORT: usize = 24;
    match text.split_at_checked(SHORT) {
        Some((first, rest)) => match plain_eights(first) {
            SHORT => SHORT + plain_blocks(rest),
            stop => stop,
        },
        None => plain_eights(text),
    }
}

/// As [`plain_prefix`], for long strings.
#[inline(never)]
fn plain_blocks(text: &[u8]) -> usize {
    const BLOCK: usize = 32;
    // All bytes of a block are looked at: so the compiler makes it a few vector instructions.
    let plain = |block: &&[u8; BLOCK]| !block.iter().fold(false, |any, &b| any | ends_plain(b));
    let passed = text.as_chunks::<BLOCK>().0.iter().take_while(plain).count() * BLOCK;
    passed + plain_eights(text.get(passed..).unwrap_or_default())
}

const fn ends_plain(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

/// As [`plain_prefix`], for short strings.
#[inline]
fn plain_eights(text: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = ONES << 7;
    // Eight bytes at once: in each mask the lowest bit that is set marks the first such byte
    // (borrows reach only bytes behind it).
    let zero = |x: u64| x.wrapping_sub(ONES) & !x & HIGH;
    let (eights, rest) = text.as_chunks::<8>();
    for (k, &eight) in eights.iter().enumerate() {
        let x = u64::from_le_bytes(eight);
        let control = x.wrapping_sub(ONES * 0x20) & !x & HIGH;
        let stop = zero(x ^ (ONES * 0x22)) | zero(x ^ (ONES * 0x5c)) | control;
        if stop != 0 {
            return k * 8 + stop.trailing_zeros() as usize / 8;
        }
    }
    let stop = rest.iter().position(|&b| ends_plain(b));
    eights.len() * 8 + stop.unwrap_or(rest.len())
}

/// The index of a name that `object` has twice.
fn duplicate_name(object: Value<'_>) -> Option<u32> {
    /// More names than this, or names with escapes, are sorted.
    const COMPARED: usize = 16;
    let mut names: SmallVec<[(u64, u32); COMPARED]> = SmallVec::new();
    // One bit for each name so far, by its digest: most names need no comparison.
    let mut seen = 0_u64;
    let mut plain = true;
    for (name, _) in object.member_nodes() {
        plain &= names.len() < COMPARED && object.at(name).node().is_some_and(|n| !n.escaped);
        let digest = object.at(name).digest();
        let bit = 1 << (digest.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58);
        if plain && seen & bit != 0 {
            let same = |other: u32| object.at(other).raw() == object.at(name).raw();
            if names.iter().any(|&(d, other)| d == digest && same(other)) {
                return Some(name);
            }
        }
        seen |= bit;
        names.push((digest, name));
    }
    if plain {
        return None;
    }
    let mut names: Vec<(Cow<'_, str>, u32)> =
        names.iter().map(|&(_, index)| (object.at(index).name(), index)).collect();
    names.sort_unstable();
    names.array_windows().find(|[a, b]| a.0 == b.0).map(|[_, b]| b.1)
}

/// The strings of a scanned text that are members' values, each with its name's node.
pub(crate) fn string_members<'a>(
    text: &'a [u8],
    nodes: &'a [Node],
) -> impl Iterator<Item = (Value<'a>, Value<'a>)> {
    nodes.array_windows().enumerate().filter_map(move |(k, [name, value])| {
        let at = |index| Value::new(text, nodes, index);
        (name.kind == Kind::Name && value.kind == Kind::String)
            .then(|| (at(k as u32), at(k as u32 + 1)))
    })
}

/// Whether a name node reads as one of `names`; gives that one.
pub(crate) fn name_among(name: Value<'_>, names: &[&'static str]) -> Option<&'static str> {
    let name = name.name();
    names.iter().copied().find(|n| *n == name)
}

#[cfg(test)]
mod tests;
