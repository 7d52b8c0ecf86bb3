//! The payload classifier: does a request carry an attack, of which class, and where?
//!
//! Values (path, query, headers, cookies, body, claims) are split and decoded ([`decode`]), read
//! into tokens, searched for named structures ([`schema`]), and weighed by a logistic model that
//! was trained on sources which are named in its model card. The request's score is that of its
//! worst value, calibrated on requests of sources that the model had not seen.
//!
//! Pure; bounded by the limits below; allocates nothing once its [`Scratch`] has seen its largest
//! value.

mod artifact;
mod clean;
mod curve;
pub mod decode;
mod expression;
mod extract;
mod keywords;
mod lex;
mod markup;
mod path;
pub mod schema;
mod shell;
mod sql;
#[cfg(test)]
mod tests;
mod view;
mod writing;

use std::fmt;

pub use artifact::{ModelError, Weights, schema_hash};
pub use curve::{Curve, MAX_KNOTS};
pub use extract::Active;
pub use schema::{Class, Feature, Group};

use extract::{Buffers, How, Name, Piece};
use lex::Words;

/// Parts (parameters, cookies, JSON strings) that are scored of a request: real ones have a few
/// dozen, and a request of nothing but parts must not hold up the rest.
pub const MAX_PARTS: usize = 512;

/// Bytes that are scored of one part, and of one request. At some 10 ns a byte a hostile request
/// costs no more than its own transfer.
pub const MAX_VALUE: usize = 64 * 1024;

/// Bytes of the excerpt that a score carries.
pub const MAX_EXCERPT: usize = 96;

/// Bytes in front of the finding that the excerpt shows.
const LEAD: usize = 16;

/// Features that a score names.
pub const MAX_REASONS: usize = 3;

/// The margin of a request in which no structure of any attack was found.
pub const NO_EVIDENCE: f32 = -6.0;

/// How much a path or an address says about the class, as other attacks aim at them, too: a
/// command reads `/etc/passwd`, an entity names a URL.
const AIM: f32 = 0.5;

/// The model that is built in.
static EMBEDDED: &[u8] = include_bytes!("../../artifacts/payload.model");

/// Where a value stood in the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// The path, without the query.
    Path,
    /// The query.
    Query,
    /// A header.
    Header,
    /// The cookie header.
    Cookie,
    /// The body.
    Body,
    /// A claim of a token.
    Claim,
}

impl Place {
    /// Whether no line ends belong there.
    const fn one_line(self) -> bool {
        matches!(self, Self::Path | Self::Query | Self::Header | Self::Cookie)
    }
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// As it is: a header, a claim, a text or XML body. It is decoded all the same.
    Text,
    /// `a=b&c=d`, application/x-www-form-urlencoded (WHATWG URL, section 5.1).
    Pairs,
    /// `a=b; c=d` (RFC 6265 section 4.2).
    Cookies,
    /// JSON (RFC 8259); each string is a part.
    Json,
}

/// One value of a request.
#[derive(Clone, Copy)]
pub struct Value<'a> {
    /// Where it stood.
    pub place: Place,
    /// How it is written.
    pub form: Form,
    /// Its bytes as they came.
    pub bytes: &'a [u8],
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({:?}, {:?}, {} bytes)", self.place, self.form, self.bytes.len())
    }
}

/// A piece of decoded text. It may hold a secret: `Debug` shows its length alone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Excerpt {
    bytes: [u8; MAX_EXCERPT],
    len: u8,
}

impl Excerpt {
    const EMPTY: Self = Self { bytes: [0; MAX_EXCERPT], len: 0 };

    /// The excerpt of `text` that shows what stands at `at`.
    fn of(text: &[u8], at: usize) -> Self {
        let mut excerpt = Self::EMPTY;
        let shown = text.get(at.saturating_sub(LEAD)..).unwrap_or_default();
        for (to, from) in excerpt.bytes.iter_mut().zip(shown) {
            *to = *from;
            excerpt.len += 1;
        }
        excerpt
    }

    /// The decoded bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl fmt::Debug for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Excerpt({} bytes)", self.len)
    }
}

impl fmt::Display for Excerpt {
    /// With everything escaped that is no printable ASCII.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in self.bytes() {
            match byte {
                b' '..=b'~' => write!(f, "{}", char::from(byte))?,
                _ => write!(f, "\\x{byte:02x}")?,
            }
        }
        Ok(())
    }
}

/// A named feature and what it adds to the margin.
#[derive(Clone, Copy, Debug)]
pub struct Reason {
    /// The feature.
    pub feature: &'static Feature,
    /// Log-odds, before calibration; above 0.
    pub weight: f32,
}

/// What a request's payload looks like.
#[derive(Clone, Copy, Debug)]
pub struct PayloadScore {
    /// The calibrated probability of an attack, where half of the requests are attacks.
    pub probability: f32,
    /// Whether the worst value's margin is at the threshold or above.
    pub is_attack: bool,
    /// The class that most of the evidence speaks for.
    pub class: Option<Class>,
    /// Place of the worst value in the slice that was scored.
    pub value: Option<usize>,
    /// What was found there, decoded; empty where it stands under a secret's name.
    pub excerpt: Excerpt,
    /// The heaviest named features of the worst value, heaviest first.
    pub reasons: [Option<Reason>; MAX_REASONS],
    /// Bytes that were not looked at, past [`MAX_VALUE`] or [`MAX_PARTS`].
    pub unscored: usize,
}

/// Buffers for one thread that scores.
#[derive(Debug)]
pub struct Scratch {
    buffers: Buffers,
    json: Vec<u8>,
    /// The JSON string before that one.
    name: Vec<u8>,
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            buffers: Buffers::new(),
            json: Vec::with_capacity(4096),
            name: Vec::with_capacity(4096),
        }
    }
}

#[cfg(test)]
impl Scratch {
    fn capacity(&self) -> usize {
        self.buffers.capacity() + self.json.capacity() + self.name.capacity()
    }
}

/// Finds features, without weighing them.
#[derive(Debug)]
pub struct Extractor {
    words: Words,
}

impl Default for Extractor {
    fn default() -> Self {
        Self { words: Words::new() }
    }
}

/// What of a request may still be looked at.
struct Budget {
    parts: usize,
    bytes: usize,
    unscored: usize,
}

impl Budget {
    /// As much of `part` as may be looked at.
    fn grant<'a>(&mut self, part: &'a [u8]) -> &'a [u8] {
        let len = if self.parts == 0 { 0 } else { part.len().min(self.bytes) };
        self.parts = self.parts.saturating_sub(1);
        self.bytes -= len;
        self.unscored += part.len() - len;
        part.get(..len).unwrap_or_default()
    }
}

impl Extractor {
    /// Gives `each` the features of every piece with a structure of some attack in it, with the value's
    /// place in `values`; returns the bytes that were not looked at.
    pub fn features(
        &self,
        values: &[Value<'_>],
        scratch: &mut Scratch,
        mut each: impl FnMut(usize, &Active),
    ) -> usize {
        self.pieces(values, scratch, |at, piece| each(at, piece.active))
    }

    fn pieces(
        &self,
        values: &[Value<'_>],
        scratch: &mut Scratch,
        mut each: impl FnMut(usize, &Piece<'_>),
    ) -> usize {
        let mut budget = Budget { parts: MAX_PARTS, bytes: MAX_VALUE, unscored: 0 };
        for (at, value) in values.iter().enumerate() {
            self.value(*value, scratch, &mut budget, &mut |piece: &Piece<'_>| each(at, piece));
        }
        budget.unscored
    }

    fn value(
        &self,
        value: Value<'_>,
        scratch: &mut Scratch,
        budget: &mut Budget,
        each: &mut impl FnMut(&Piece<'_>),
    ) {
        let plain = How { plus: false, place: value.place, name: Name::None };
        let Scratch { buffers, json, name } = scratch;
        let mut part = |part: &[u8], how: How<'_>| {
            buffers.value(&self.words, budget.grant(part), how, &mut *each);
        };
        match value.form {
            Form::Text => part(value.bytes, plain),
            Form::Pairs => {
                let how = How { plus: true, ..plain };
                for pair in value.bytes.split(|b| *b == b'&') {
                    named(pair, how, &mut part);
                }
            }
            Form::Cookies => {
                for pair in value.bytes.split(|b| *b == b';') {
                    named(pair.trim_ascii(), plain, &mut part);
                }
            }
            Form::Json => {
                let (mut at, mut stray) = (0, false);
                name.clear();
                while decode::json_string(value.bytes, &mut at, &mut stray, json) {
                    // Names and values look alike: what stands behind a name is its value.
                    part(json, How { name: Name::Is(name), ..plain });
                    std::mem::swap(json, name);
                }
                if stray {
                    // What is no JSON to us may be something to the service.
                    part(value.bytes, How { name: Name::Mixed, ..plain });
                }
            }
        }
    }
}

/// Gives `part` the name and the value of `a=b`.
fn named(pair: &[u8], how: How<'_>, part: &mut impl FnMut(&[u8], How<'_>)) {
    let mut halves = pair.splitn(2, |b| *b == b'=');
    let name = halves.next().unwrap_or_default();
    part(name, how);
    if let Some(value) = halves.next() {
        part(value, How { name: Name::Is(name), ..how });
    }
}

/// The classifier.
#[derive(Debug)]
pub struct PayloadModel {
    extractor: Extractor,
    weights: Weights,
}

impl PayloadModel {
    /// The model with the given weights.
    #[must_use]
    pub fn new(weights: Weights) -> Self {
        Self { extractor: Extractor::default(), weights }
    }

    /// The model that is built in.
    ///
    /// # Errors
    /// [`ModelError`], if this build's features are not those it was trained for; a test of the
    /// crate sees to it that a release's are.
    pub fn embedded() -> Result<Self, ModelError> {
        Self::from_bytes(EMBEDDED)
    }

    /// A model from the bytes of an artifact.
    ///
    /// # Errors
    /// See [`ModelError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ModelError> {
        Weights::from_bytes(bytes).map(Self::new)
    }

    /// What the model goes by.
    #[must_use]
    pub const fn weights(&self) -> &Weights {
        &self.weights
    }

    /// The log-odds of one piece, before calibration.
    #[must_use]
    pub fn margin(&self, active: &Active) -> f32 {
        let weight = |at: usize| self.weights.weights.get(at).copied().unwrap_or_default();
        let sum = |from: usize, places: &[u16]| -> f32 {
            places.iter().map(|at| weight(from + usize::from(*at))).sum()
        };
        let tokens = &active.token_grams;
        let chars = &active.char_grams;
        self.weights.bias
            + sum(0, &active.named)
            + sum(schema::NAMED, tokens) * Active::share(tokens.len())
            + sum(schema::NAMED + schema::TOKEN_BUCKETS, chars) * Active::share(chars.len())
    }

    /// The calibrated probability for a margin.
    #[must_use]
    pub fn probability(&self, margin: f32) -> f32 {
        self.weights.curve.probability(margin)
    }

    /// Scores the values of one request.
    pub fn score(&self, values: &[Value<'_>], scratch: &mut Scratch) -> PayloadScore {
        let mut best = NO_EVIDENCE;
        let mut score = PayloadScore {
            probability: 0.0,
            is_attack: false,
            class: None,
            value: None,
            excerpt: Excerpt::EMPTY,
            reasons: [None; MAX_REASONS],
            unscored: 0,
        };
        score.unscored = self.extractor.pieces(values, scratch, |at, piece| {
            let margin = self.margin(piece.active);
            if margin > best {
                best = margin;
                score.value = Some(at);
                self.explain(piece, &mut score);
            }
        });
        score.probability = self.probability(best);
        score.is_attack = best >= self.weights.threshold;
        score
    }

    /// Class, reasons and excerpt of `piece`.
    fn explain(&self, piece: &Piece<'_>, score: &mut PayloadScore) {
        let mut sums = [0.0_f32; Class::ALL.len()];
        score.reasons = [None; MAX_REASONS];
        // The excerpt starts at the heaviest structure; shape and encoding are of the whole piece.
        let (mut shown, mut heaviest) = (0, 0.0);
        for &place in &piece.active.named {
            let place = usize::from(place);
            let (Some(feature), Some(&weight)) =
                (schema::FEATURES.get(place), self.weights.weights.get(place))
            else {
                continue;
            };
            if weight <= 0.0 {
                continue;
            }
            if feature.class.is_some() && weight > heaviest {
                (shown, heaviest) = (piece.start(place), weight);
            }
            if let Some(sum) = feature.class.and_then(|class| sums.get_mut(class as usize)) {
                *sum += weight;
            }
            let rank = score.reasons.iter().position(|r| r.is_none_or(|r| r.weight < weight));
            if let Some(rank) = rank
                && let Some(lower) = score.reasons.get_mut(rank..)
            {
                lower.rotate_right(1);
                if let Some(slot) = lower.first_mut() {
                    *slot = Some(Reason { feature, weight });
                }
            }
        }
        let (mut class, mut most) = (None, 0.0);
        for (known, sum) in Class::ALL.iter().zip(sums) {
            let sum = if matches!(known, Class::Traversal | Class::Ssrf) { sum * AIM } else { sum };
            if sum > most {
                (class, most) = (Some(*known), sum);
            }
        }
        // What an entity or an include reads or runs is its aim, and the markup around carries it.
        let is_entity = piece.active.named.iter().any(|place| {
            [schema::f::M_ENTITY, schema::f::M_EXTERNAL, schema::f::M_XINCLUDE, schema::f::M_SSI]
                .contains(&usize::from(*place))
        });
        score.class = if is_entity { Some(Class::Xxe) } else { class };
        score.excerpt = match piece.name.is_secret() {
            true => Excerpt::EMPTY,
            false => Excerpt::of(piece.text, shown),
        };
    }
}
