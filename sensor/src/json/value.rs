//! JSON values as they lie in the text that they were parsed from.

use std::{borrow::Cow, fmt};

use crate::show::show;

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool,
    /// A number.
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
    /// The name of an object's member; its value is the next node.
    Name,
}

/// One value or member name.
#[derive(Clone, Copy)]
pub(crate) struct Node {
    /// Where its text lies; strings and names without their quotation marks.
    pub(super) start: u32,
    pub(super) end: u32,
    /// The index of the first node that is not inside this one; 0 in a container that was not
    /// read to its end, which therefore seems empty.
    pub(super) next: u32,
    pub(crate) kind: Kind,
    /// Whether a string holds escapes.
    pub(super) escaped: bool,
}

/// A JSON value inside a text that has been parsed. `Debug` shows its kind only.
#[derive(Clone, Copy)]
pub struct Value<'a> {
    text: &'a [u8],
    nodes: &'a [Node],
    index: u32,
}

impl<'a> Value<'a> {
    /// The value at `index` of `nodes`, which were parsed from `text`.
    pub(crate) fn new(text: &'a [u8], nodes: &'a [Node], index: u32) -> Self {
        Self { text, nodes, index }
    }

    pub(super) fn at(self, index: u32) -> Self {
        Self { index, ..self }
    }

    #[inline]
    pub(super) fn node(self) -> Option<&'a Node> {
        self.nodes.get(self.index as usize)
    }

    /// Its text as it stands; of a string, what is between the quotation marks.
    #[must_use]
    pub fn raw(self) -> &'a [u8] {
        self.node().and_then(|n| self.text.get(n.start as usize..n.end as usize)).unwrap_or(b"")
    }

    fn raw_str(self) -> &'a str {
        // Parsed text is UTF-8, and a node's borders lie on ASCII; a scanned body may differ.
        std::str::from_utf8(self.raw()).unwrap_or_default()
    }

    /// The length and the first seven bytes of its text: what differs in it, differs.
    #[inline]
    pub(super) fn digest(self) -> u64 {
        let Some(node) = self.node() else { return 0 };
        let len = node.end.saturating_sub(node.start);
        digest(self.text.get(node.start as usize..).unwrap_or_default(), len)
    }

    /// The text of a string or of a member's name, unescaped.
    pub(crate) fn name(self) -> Cow<'a, str> {
        if self.node().is_some_and(|n| n.escaped) {
            Cow::Owned(unescape(self.raw_str()))
        } else {
            Cow::Borrowed(self.raw_str())
        }
    }

    /// Which node it is.
    pub(crate) fn index(self) -> u32 {
        self.index
    }

    /// What it is.
    #[must_use]
    pub fn kind(self) -> Kind {
        self.node().map_or(Kind::Null, |n| n.kind)
    }

    /// A string's content, unescaped.
    #[must_use]
    pub fn as_str(self) -> Option<Cow<'a, str>> {
        (self.kind() == Kind::String).then(|| self.name())
    }

    /// A boolean.
    #[must_use]
    pub fn as_bool(self) -> Option<bool> {
        (self.kind() == Kind::Bool).then(|| self.raw() == b"true")
    }

    fn number(self) -> Option<&'a str> {
        (self.kind() == Kind::Number).then(|| self.raw_str())
    }

    /// A number that is written as an integer and fits.
    #[must_use]
    pub fn as_i64(self) -> Option<i64> {
        self.number()?.parse().ok()
    }

    /// A number that is written as an integer and fits.
    #[must_use]
    pub fn as_u64(self) -> Option<u64> {
        self.number()?.parse().ok()
    }

    /// A number, rounded to the nearest `f64`, if it is in its range.
    #[must_use]
    pub fn as_f64(self) -> Option<f64> {
        /// A number of so many digits is below 2^53: every one is an `f64`.
        const EXACT: usize = 15;
        let digits = self.raw();
        if self.kind() == Kind::Number && digits.len() <= EXACT {
            let whole = digits.iter().try_fold(0_u64, |number, digit| {
                let digit = digit.wrapping_sub(b'0');
                (digit < 10).then(|| number * 10 + u64::from(digit))
            });
            if let Some(whole) = whole {
                return Some(whole as f64);
            }
        }
        self.number()?.parse().ok().filter(|v: &f64| v.is_finite())
    }

    /// Indices of the member names and of their values.
    #[inline]
    pub(super) fn member_nodes(self) -> impl Iterator<Item = (u32, u32)> + use<'a> {
        let (mut at, end) = match self.node() {
            Some(n) if n.kind == Kind::Object => (self.index + 1, n.next),
            _ => (0, 0),
        };
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let (name, value) = (at, at + 1);
            at = self.nodes.get(value as usize)?.next.max(value + 1);
            Some((name, value))
        })
    }

    /// The members of an object with their unescaped names, in order, duplicates included.
    pub fn members(self) -> impl Iterator<Item = (Cow<'a, str>, Value<'a>)> {
        self.member_nodes().map(move |(name, value)| (self.at(name).name(), self.at(value)))
    }

    /// As [`Self::members`], with the bytes of the names: nothing is read twice to compare them.
    #[inline]
    pub(crate) fn members_by_bytes(self) -> impl Iterator<Item = (Cow<'a, [u8]>, Value<'a>)> {
        self.member_nodes().map(move |(name, value)| (self.at(name).name_bytes(), self.at(value)))
    }

    /// The members of an object, names as they are written.
    #[inline]
    pub(crate) fn member_names(self) -> impl Iterator<Item = (Value<'a>, Value<'a>)> {
        self.member_nodes().map(move |(name, value)| (self.at(name), self.at(value)))
    }

    #[inline]
    fn name_bytes(self) -> Cow<'a, [u8]> {
        if self.node().is_some_and(|n| n.escaped) {
            Cow::Owned(unescape(self.raw_str()).into_bytes())
        } else {
            Cow::Borrowed(self.raw())
        }
    }

    /// All members of this name, in order.
    pub fn get_all(self, name: &str) -> impl Iterator<Item = Value<'a>> {
        let wanted = Name::new(name);
        self.member_nodes()
            .filter(move |&(at, _)| self.at(at).is_named(wanted))
            .map(move |(_, value)| self.at(value))
    }

    #[inline]
    fn is_named(self, wanted: Name<'_>) -> bool {
        match self.node() {
            Some(n) if n.escaped => unescape(self.raw_str()) == wanted.text,
            // Names of seven bytes and less differ in their digests or not at all.
            _ => {
                self.digest() == wanted.digest
                    && (wanted.text.len() <= 7 || self.raw() == wanted.text.as_bytes())
            }
        }
    }

    /// The member of this name; of several the last, as most readers have it.
    #[must_use]
    pub fn get(self, name: &str) -> Option<Value<'a>> {
        let wanted = Name::new(name);
        let mut found = None;
        for (at, value) in self.member_nodes() {
            if self.at(at).is_named(wanted) {
                found = Some(self.at(value));
            }
        }
        found
    }

    /// The elements of an array, in order.
    pub fn elements(self) -> impl Iterator<Item = Value<'a>> {
        let (mut at, end) = match self.node() {
            Some(n) if n.kind == Kind::Array => (self.index + 1, n.next),
            _ => (0, 0),
        };
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let value = self.at(at);
            at = value.node()?.next.max(at + 1);
            Some(value)
        })
    }

    /// This value for an event: strings and names made safe by [`show`], long lists and
    /// deep nesting cut; see the constants inside for the limits.
    #[must_use]
    pub fn to_event(self) -> serde_json::Value {
        self.event(0)
    }

    fn event(self, depth: usize) -> serde_json::Value {
        /// Members or elements of one container.
        const MAX_ITEMS: usize = 32;
        /// Containers inside each other.
        const MAX_EVENT_DEPTH: usize = 4;
        let shown = |text: Cow<'_, str>| show(&text).into_owned();
        match self.kind() {
            Kind::Null => serde_json::Value::Null,
            Kind::Bool => self.as_bool().into(),
            Kind::Number => match (self.as_u64(), self.as_i64()) {
                (Some(v), _) => v.into(),
                (_, Some(v)) => v.into(),
                _ => self.as_f64().into(),
            },
            Kind::String | Kind::Name => shown(self.name()).into(),
            Kind::Array | Kind::Object if depth >= MAX_EVENT_DEPTH => "…".into(),
            Kind::Array => self.elements().take(MAX_ITEMS).map(|v| v.event(depth + 1)).collect(),
            Kind::Object => self
                .members()
                .take(MAX_ITEMS)
                .map(|(name, v)| (shown(name), v.event(depth + 1)))
                .collect(),
        }
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({:?})", self.kind())
    }
}

/// A name that is looked for.
#[derive(Clone, Copy)]
struct Name<'n> {
    text: &'n str,
    digest: u64,
}

impl<'n> Name<'n> {
    #[inline]
    fn new(text: &'n str) -> Self {
        let len = u32::try_from(text.len()).unwrap_or(u32::MAX);
        Self { text, digest: digest(text.as_bytes(), len) }
    }
}

/// The length and the first seven of the `len` bytes that `text` begins with.
#[inline]
fn digest(text: &[u8], len: u32) -> u64 {
    let word = match text.first_chunk() {
        Some(&eight) => u64::from_le_bytes(eight),
        None => text.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)),
    };
    let mask = (1_u64 << (8 * len.min(7))) - 1;
    (word & mask) | u64::from(len.min(255)) << 56
}

/// Resolves the escapes of a string that has been parsed; half surrogate pairs become U+FFFD.
fn unescape(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((plain, escape)) = rest.split_once('\\') {
        out.push_str(plain);
        let simple = match escape.as_bytes().first() {
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let unit = |at: usize| escape.as_bytes().get(at..at + 4).and_then(hex);
                let high = unit(1).unwrap_or(0xfffd);
                let low = match (high, escape.get(5..7)) {
                    (0xd800..=0xdbff, Some("\\u")) => unit(7),
                    _ => None,
                };
                let (code, used) = match low {
                    Some(low @ 0xdc00..=0xdfff) => {
                        (0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00), 11)
                    }
                    _ => (high, 5),
                };
                out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                rest = escape.get(used..).unwrap_or_default();
                continue;
            }
            // `"`, `\` and `/` stand for themselves.
            Some(&other) => char::from(other),
            None => char::REPLACEMENT_CHARACTER,
        };
        out.push(simple);
        rest = escape.get(1..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// The number that hexadecimal digits spell; 0 for none.
pub(super) fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |v, &d| Some(v << 4 | char::from(d).to_digit(16)?))
}
