//! What detectors see of a piece, and where they write down what they found.

use super::{
    decode::Trace,
    lex::{Token, shape},
    schema::NAMED,
};

/// Words of a set of named features.
const WORDS: usize = NAMED.div_ceil(64);

/// Named features that were found, and where.
#[derive(Clone, Debug)]
pub(super) struct Hits {
    set: [u64; WORDS],
    start: [u16; NAMED],
}

impl Default for Hits {
    fn default() -> Self {
        Self { set: [0; WORDS], start: [0; NAMED] }
    }
}

impl Hits {
    pub(super) fn clear(&mut self) {
        self.set = [0; WORDS];
    }

    /// Notes `feature`, first seen at byte `start`.
    pub(super) fn add(&mut self, feature: usize, start: u16) {
        if let Some(word) = self.set.get_mut(feature / 64) {
            let bit = 1 << (feature % 64);
            if *word & bit == 0 {
                *word |= bit;
                if let Some(slot) = self.start.get_mut(feature) {
                    *slot = start;
                }
            }
        }
    }

    /// Where `feature` was first seen.
    pub(super) fn start(&self, feature: usize) -> Option<u16> {
        let found = self.set.get(feature / 64)? & (1 << (feature % 64)) != 0;
        if found { self.start.get(feature).copied() } else { None }
    }

    /// The features that were found, in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.set.iter().enumerate().flat_map(|(at, &word)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
                rest &= rest - 1;
                Some(at * 64 + bit)
            })
        })
    }
}

/// One piece of a decoded value.
pub(super) struct View<'a> {
    /// The decoded bytes in lower case.
    pub(super) low: &'a [u8],
    pub(super) tokens: &'a [Token],
    pub(super) trace: Trace,
    /// Whether the value stands where line ends have no place: path, query, header, cookie.
    pub(super) one_line: bool,
    /// Whether the value is a request's path, where absolute paths are the rule.
    pub(super) is_path: bool,
    /// All categories of the tokens.
    pub(super) cats: u16,
    /// All kinds of the tokens.
    pub(super) kinds: [u64; 4],
}

impl View<'_> {
    /// The token at `at`, or [`Token::NONE`].
    pub(super) fn at(&self, at: usize) -> Token {
        self.tokens.get(at).copied().unwrap_or(Token::NONE)
    }

    /// The token `n` before `at`, or [`Token::NONE`].
    pub(super) fn back(&self, at: usize, n: usize) -> Token {
        at.checked_sub(n).map_or(Token::NONE, |at| self.at(at))
    }

    pub(super) fn kind(&self, at: usize) -> u8 {
        self.at(at).kind
    }

    pub(super) fn text(&self, token: Token) -> &[u8] {
        self.low.get(usize::from(token.start)..usize::from(token.end)).unwrap_or_default()
    }

    /// The text of the token at `at`.
    pub(super) fn word(&self, at: usize) -> &[u8] {
        self.text(self.at(at))
    }

    /// What is left from `token` on.
    pub(super) fn rest(&self, token: Token) -> &[u8] {
        self.low.get(usize::from(token.start)..).unwrap_or_default()
    }

    /// Whether any token is of `kind`.
    pub(super) fn has(&self, kind: u8) -> bool {
        self.kinds.get(usize::from(kind / 64)).is_some_and(|w| w >> (kind % 64) & 1 == 1)
    }

    pub(super) fn has_any(&self, kinds: &[u8]) -> bool {
        kinds.iter().any(|kind| self.has(*kind))
    }

    /// Whether nothing stands between the tokens before and at `at`.
    pub(super) fn joined(&self, at: usize) -> bool {
        let token = self.at(at);
        at > 0 && !token.spaced && token.kind != shape::NONE
    }

    /// Whether the word at `at` is called: a parenthesis follows. `sleep (2 pack)` and
    /// `count (see below)` are writing.
    pub(super) fn is_called(&self, at: usize) -> bool {
        let (open, first, second) = (self.at(at + 1), self.at(at + 2), self.at(at + 3));
        let writing = (first.is_word() && (second.is_word() || second.kind == b')'))
            || (first.is_number()
                && (second.is_word()
                    || second.kind == b')'
                        && self.at(at + 4).is_word()
                        && self.at(at + 4).cats == 0));
        open.kind == b'(' && (!open.spaced || !writing)
    }

    /// The first place from `at` on, at most `reach` further, where `wanted` holds.
    pub(super) fn find(
        &self,
        at: usize,
        reach: usize,
        wanted: impl Fn(Token) -> bool,
    ) -> Option<usize> {
        let tokens = self.tokens.get(at..)?;
        tokens.iter().take(reach).position(|t| wanted(*t)).map(|n| at + n)
    }
}
