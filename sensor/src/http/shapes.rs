//! Header fields of requests that were read lately.
//!
//! A client's next request has the same lines behind its first as the one before, but for the token
//! where somebody else asks through the same proxy. So what was read of them is kept beside all of
//! their bytes, as the guard does (`common::guard::known`), but for the bearer token among them: to
//! compare costs a fraction of reading.

use std::{
    fmt,
    hash::BuildHasher as _,
    num::NonZeroU64,
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

use foldhash::fast::FixedState;
use memchr::memchr;

use super::{
    Request,
    fields::{Framing, is_name},
    head::{RequestHead, is_token},
    message::{FieldSpans, Span},
};

/// Shapes that are kept, a power of two: user agents and accepted types of the clients of a few
/// services. With [`MAX_LEN`] they hold a mebibyte at most.
const SLOTS: usize = 512;

/// Bytes of the longest header section that is kept, without its token.
const MAX_LEN: usize = 2048;

/// Fields of the longest header section that is kept.
const MAX_FIELDS: usize = 64;

/// What stands before the token that varies.
const SCHEME: &[u8] = b"Bearer ";

/// Names what was given out last.
static NAMED: AtomicU64 = AtomicU64::new(1);

/// Names header fields. In a process none is ever used again for others, so what is kept beside one
/// holds for all requests that have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShapeId(NonZeroU64);

impl ShapeId {
    fn new() -> Option<Self> {
        NonZeroU64::new(NAMED.fetch_add(1, Ordering::Relaxed)).map(Self)
    }
}

/// Header fields that were seen before, apart from the bearer token among them. They frame no body.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    /// Names them.
    pub(crate) id: ShapeId,
    /// Where the token lies in the head, of fields that hold one: a whole `Authorization` value
    /// behind `Bearer `, in which no white space, comma or brace stands.
    pub(crate) token: Option<Span>,
}

/// What is known for each of the latest shapes; the first of two that share a place makes room.
pub(crate) struct ByShape<T> {
    places: Vec<Option<(ShapeId, T)>>,
}

impl<T> Default for ByShape<T> {
    fn default() -> Self {
        Self { places: Vec::new() }
    }
}

impl<T: Copy> ByShape<T> {
    /// As many as shapes are kept: ids follow one another, so that they share no places.
    const PLACES: usize = SLOTS;

    fn place(id: ShapeId) -> usize {
        id.0.get() as usize % Self::PLACES
    }

    /// What is known for this shape.
    pub(crate) fn get(&self, shape: Shape) -> Option<T> {
        let (id, value) = (*self.places.get(Self::place(shape.id))?)?;
        (id == shape.id).then_some(value)
    }

    /// Keeps it.
    pub(crate) fn note(&mut self, shape: Shape, value: T) {
        if self.places.is_empty() {
            self.places.resize_with(Self::PLACES, || None);
        }
        if let Some(place) = self.places.get_mut(Self::place(shape.id)) {
            *place = Some((shape.id, value));
        }
    }
}

/// What a request's fields were like the last time: of no meaning for what the request is.
#[derive(Clone, Copy, Default)]
pub(crate) struct Remembered(pub(crate) Option<Shape>);

impl PartialEq for Remembered {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Remembered {}

/// A header section through its empty line, and what was read in it.
struct Fields {
    id: ShapeId,
    /// Through the scheme of the token, or all of it.
    before: Box<[u8]>,
    /// From the end of the token's line on; `None` where nothing varies.
    behind: Option<Box<[u8]>>,
    minor_version: u8,
    /// Where the fields lie, with a token of no length, from the end of the request line on.
    spans: Box<[(Span, Span)]>,
    expects_continue: bool,
    upgrade: bool,
}

/// A request line whose parts are where RFC 9112, section 3 has them.
struct Line {
    method: Span,
    target: Span,
    minor_version: u8,
    len: usize,
}

/// Reads the request line that `bytes` begin with. Of those that follow the RFC only: `None` says
/// nothing.
fn line(bytes: &[u8]) -> Option<Line> {
    let method = memchr(b' ', bytes)?;
    if !is_token(bytes.get(..method)?) {
        return None;
    }
    let behind = bytes.get(method + 1..)?;
    let target = memchr(b' ', behind)?;
    if target == 0 || !all_of(behind.get(..target)?, |b| matches!(b, b'!'..=b'~')) {
        return None;
    }
    let minor_version = match behind.get(target..)?.first_chunk::<11>()? {
        b" HTTP/1.1\r\n" => 1,
        b" HTTP/1.0\r\n" => 0,
        _ => return None,
    };
    let start = u32::try_from(method + 1).ok()?;
    let end = start.checked_add(u32::try_from(target).ok()?)?;
    Some(Line {
        method: (0, start - 1),
        target: (start, end),
        minor_version,
        len: method + 1 + target + 11,
    })
}

/// Whether all bytes are such; without a way out in between, so that many are looked at at once.
fn all_of(bytes: &[u8], is: impl Fn(u8) -> bool) -> bool {
    bytes.iter().fold(0_u8, |other, byte| other | u8::from(!is(*byte))) == 0
}

/// What a token may hold whose place is known by its line alone: base64url and dots, and neither white
/// space nor a comma or brace.
const fn is_plain(byte: u8) -> bool {
    byte.wrapping_sub(b'-') <= b'z' - b'-'
}

/// Moves a span by `by`, and what of it lies behind `at` by `more`.
fn moved((start, end): Span, by: u32, at: u32, more: u32) -> Span {
    let moved = |place: u32| place + by + if place >= at { more } else { 0 };
    (moved(start), moved(end))
}

impl Fields {
    /// Where the token lies in `section`, which begins behind a request line, and how long the
    /// section is. `None` where its fields are others.
    fn matches(&self, section: &[u8]) -> Option<(Range<usize>, usize)> {
        let rest = section.strip_prefix(&*self.before)?;
        let start = self.before.len();
        let Some(behind) = &self.behind else { return Some((start..start, start)) };
        let len = memchr(b'\r', rest)?;
        let (token, rest) = rest.split_at_checked(len)?;
        let is = !token.is_empty() && rest.starts_with(behind) && all_of(token, is_plain);
        is.then(|| (start..start + len, start + len + behind.len()))
    }
}

/// The header sections of the last requests of all connections in which nothing was wrong.
#[derive(Default)]
pub(super) struct Shapes {
    slots: Vec<Option<Box<Fields>>>,
}

impl fmt::Debug for Shapes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shapes({})", self.slots.iter().flatten().count())
    }
}

/// What fields that are known say about the message.
pub(super) struct Known {
    pub(super) expects_continue: bool,
    pub(super) upgrade: bool,
}

impl Shapes {
    /// Reads the head that `bytes` begin with into `request`, a blank one, if its fields are those
    /// that `last` names, and the head is no longer than `limit`. There is nothing wrong with such a
    /// head, and no body follows.
    pub(super) fn read(
        &self,
        last: u16,
        bytes: &[u8],
        limit: usize,
        request: &mut Request,
    ) -> Option<Known> {
        let fields = self.slots.get(usize::from(last))?.as_deref()?;
        let line = line(bytes)?;
        let (token, section) = fields.matches(bytes.get(line.len..)?)?;
        let len = line.len + section;
        if line.minor_version != fields.minor_version || len > limit {
            return None;
        }
        let by = u32::try_from(line.len).ok()?;
        let (at, more) = (u32::try_from(token.start).ok()?, u32::try_from(token.len()).ok()?);
        // Below the limit of a head all places fit.
        by.checked_add(u32::try_from(section).ok()?)?;
        request.head.extend_from_slice(bytes.get(..len)?);
        request.method = line.method;
        request.target = line.target;
        request.minor_version = line.minor_version;
        let moved = |span: Span| moved(span, by, at, more);
        request.headers.clear();
        request
            .headers
            .extend(fields.spans.iter().map(|&(name, value)| (moved(name), moved(value))));
        let token = fields.behind.is_some().then_some((by + at, by + at + more));
        request.shape = Remembered(Some(Shape { id: fields.id, token }));
        let Fields { expects_continue, upgrade, .. } = *fields;
        Some(Known { expects_continue, upgrade })
    }

    /// Keeps the fields of a request that was read and with which nothing is wrong. Gives what
    /// names them in [`read`](Self::read), where they are kept.
    pub(super) fn note(&mut self, read: &mut RequestHead) -> Option<u16> {
        let RequestHead { request, framing, expects_continue, upgrade } = read;
        let fields = request.headers.len();
        if *framing != Framing::Unframed || !request.findings.is_empty() || fields > MAX_FIELDS {
            return None;
        }
        let line = line(&request.head)?;
        let section = request.head.get(line.len..)?;
        let token = token(&request.head, &request.headers);
        // Other credentials are not kept.
        if request.headers().filter(|field| is_credentials(field.name)).count()
            > usize::from(token.is_some())
        {
            return None;
        }
        let (at, more) = match token {
            Some((start, end)) => (start.checked_sub(line.len as u32)?, end - start),
            None => (u32::try_from(section.len()).ok()?, 0),
        };
        if section.len() - more as usize > MAX_LEN {
            return None;
        }
        let (before, behind) = section.split_at_checked(at as usize)?;
        let behind = token.and(behind.get(more as usize..));
        let hash = FixedState::default().hash_one((line.minor_version, before, behind));
        let slot = hash as usize % SLOTS;
        if self.slots.is_empty() {
            self.slots.resize_with(SLOTS, || None);
        }
        let place = self.slots.get_mut(slot)?;
        let same = place.as_deref().is_some_and(|known| {
            known.minor_version == line.minor_version
                && *known.before == *before
                && known.behind.as_deref() == behind
        });
        if !same {
            let by = line.len as u32;
            let back = |place: u32| {
                let place = place.checked_sub(by)?;
                Some(if place >= at + more { place - more } else { place })
            };
            let back = |(start, end): Span| Some((back(start)?, back(end)?));
            let spans =
                request.headers.iter().map(|&(name, value)| Some((back(name)?, back(value)?)));
            *place = Some(Box::new(Fields {
                id: ShapeId::new()?,
                before: before.into(),
                behind: behind.map(Box::from),
                minor_version: line.minor_version,
                spans: spans.collect::<Option<_>>()?,
                expects_continue: *expects_continue,
                upgrade: *upgrade,
            }));
        }
        let id = place.as_deref()?.id;
        request.shape = Remembered(Some(Shape { id, token }));
        u16::try_from(slot).ok()
    }
}

/// Whether a field of this name carries credentials that are another's, or others each time.
fn is_credentials(name: &[u8]) -> bool {
    match name.len() {
        4 => name.eq_ignore_ascii_case(b"dpop"),
        13 => is_name(name, b"Authorization"),
        19 => name.eq_ignore_ascii_case(b"proxy-authorization"),
        _ => false,
    }
}

/// The token of the first `Authorization` field, where it is a plain one behind `Bearer`.
fn token(head: &[u8], headers: &FieldSpans) -> Option<Span> {
    let at = |(start, end): Span| head.get(start as usize..end as usize);
    let field = headers.iter().find(|(name, _)| {
        at(*name).is_some_and(|name| name.len() == 13 && is_name(name, b"Authorization"))
    });
    let (start, end) = field?.1;
    let token = at((start, end))?.strip_prefix(SCHEME)?;
    let plain = !token.is_empty() && all_of(token, is_plain);
    // The line ends behind it: white space is no part of a value.
    let ends = head.get(end as usize..)?.starts_with(b"\r\n");
    (plain && ends).then_some((start + SCHEME.len() as u32, end))
}

const _: () = assert!(SLOTS.is_power_of_two() && SLOTS <= 1 << 16);

#[cfg(test)]
#[path = "shapes_tests.rs"]
mod tests;
