//! The values that the HTTP stage gives out.

use super::shapes::{Remembered, Shape};
use crate::{capture::OpaqueKind, finding::Finding, time::Time};

/// Where a piece of a head lies in [`Request::head`]: a half-open byte range.
pub(crate) type Span = (u32, u32);

/// Where the names and values of header fields lie.
pub(crate) type FieldSpans = Vec<(Span, Span)>;

/// A header field, borrowed from its head. The name keeps the case that was sent; the value has
/// no leading or trailing white space (RFC 9110, section 5.5).
#[derive(Clone, Copy)]
pub struct Header<'a> {
    /// The field name as sent.
    pub name: &'a [u8],
    /// The field value.
    pub value: &'a [u8],
}

/// The captured beginning of a body, decoded from its transfer coding.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Body {
    /// At most the request body budget.
    pub bytes: Vec<u8>,
    /// Whether `bytes` is the whole body. A request without one has a complete body of no bytes.
    pub complete: bool,
}

/// Its size only: it may hold anything.
impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Body");
        shown.field("bytes", &self.bytes.len()).field("complete", &self.complete).finish()
    }
}

/// A request whose head is complete and whose body is complete, over its budget, or given up.
///
/// Holds the head once, as sent, and where its parts lie: building one costs a single copy. Only
/// the line breaks of continued header fields are replaced by spaces (RFC 9112, section 5.2).
/// It may hold tokens, therefore `Debug` shows sizes only.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    pub(crate) head: Vec<u8>,
    pub(crate) method: Span,
    pub(crate) target: Span,
    /// 1.0 is 0, 1.1 is 1.
    pub(crate) minor_version: u8,
    pub(crate) headers: FieldSpans,
    /// Of which shape the header fields are, where that is known.
    pub(crate) shape: Remembered,
    /// The body's captured beginning.
    pub body: Body,
    /// When the first byte of the request line passed.
    pub first_byte: Time,
    /// When the last byte that is known of the request passed.
    pub last_byte: Time,
    /// What is ambiguous or malformed about it.
    pub findings: Vec<Finding>,
}

impl Request {
    /// The clock was set by so many nanoseconds: when it passed is told by the clock as it is set.
    pub(crate) fn clock_set(&mut self, by: i64) {
        self.first_byte = self.first_byte.moved(by);
        self.last_byte = self.last_byte.moved(by);
    }

    /// A request whose parts are known otherwise than from its bytes on the wire. `at` is its
    /// time.
    #[must_use]
    pub fn from_parts<'a>(
        method: &[u8],
        target: &[u8],
        headers: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
        body: Vec<u8>,
        at: Time,
    ) -> Self {
        let mut head = Vec::with_capacity(512);
        let mut keep = |part: &[u8]| {
            let len = |head: &Vec<u8>| u32::try_from(head.len()).unwrap_or(u32::MAX);
            let start = len(&head);
            head.extend_from_slice(part);
            (start, len(&head))
        };
        let (method, target) = (keep(method), keep(target));
        let headers =
            headers.into_iter().map(|(name, value)| (keep(name), keep(value.trim_ascii())));
        Self {
            method,
            target,
            minor_version: 1,
            headers: headers.collect(),
            shape: Remembered::default(),
            head,
            body: Body { bytes: body, complete: true },
            first_byte: at,
            last_byte: at,
            findings: Vec::new(),
        }
    }

    /// One without content.
    pub(crate) fn blank() -> Self {
        Self {
            head: Vec::new(),
            method: (0, 0),
            target: (0, 0),
            minor_version: 0,
            headers: FieldSpans::new(),
            shape: Remembered::default(),
            body: Body::default(),
            first_byte: Time::EPOCH,
            last_byte: Time::EPOCH,
            findings: Vec::new(),
        }
    }

    /// Of which shape the header fields are, where that is known: all requests of one shape have the
    /// same fields, but for the token that it names.
    pub(crate) fn shape(&self) -> Option<Shape> {
        self.shape.0
    }

    /// The bearer token of the first `Authorization` field, where it is known to be a plain one.
    pub(crate) fn bearer(&self) -> Option<&[u8]> {
        Some(self.span(self.shape()?.token?))
    }

    fn span(&self, (start, end): Span) -> &[u8] {
        self.head.get(start as usize..end as usize).unwrap_or_default()
    }

    /// The method as sent.
    #[must_use]
    pub fn method(&self) -> &[u8] {
        self.span(self.method)
    }

    /// The request target as sent (RFC 9112, section 3.2).
    #[must_use]
    pub fn target(&self) -> &[u8] {
        self.span(self.target)
    }

    /// The minor HTTP version.
    #[must_use]
    pub fn minor_version(&self) -> u8 {
        self.minor_version
    }

    /// The header fields in the order sent.
    pub fn headers(&self) -> impl Iterator<Item = Header<'_>> {
        self.headers
            .iter()
            .map(|&(name, value)| Header { name: self.span(name), value: self.span(value) })
    }

    /// The first field of this name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers().find(|h| h.name.eq_ignore_ascii_case(name.as_bytes())).map(|h| h.value)
    }

    /// Bytes of the head, with its last empty line; of a head over the limit, the limit.
    #[must_use]
    pub fn head_len(&self) -> usize {
        self.head.len()
    }

    /// Bytes of the head and of the body's captured beginning.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.head_len() + self.body.bytes.len()
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("head_bytes", &self.head.len())
            .field("headers", &self.headers.len())
            .field("body_bytes", &self.body.bytes.len())
            .field("findings", &self.findings)
            .finish_non_exhaustive()
    }
}

/// The head of the final response to a request (interim 1xx responses are passed over).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code, 200..=999; 101 where the protocol was switched.
    pub status: u16,
    /// When the first byte of this response passed.
    pub first_byte: Time,
    /// What is ambiguous or malformed about it.
    pub findings: Vec<Finding>,
}

/// What happens on a connection. `id` counts the requests of the connection from 0; for one id
/// the events come in the order `Request`, `Response`, `Document`, `Done`, each at most once, `Done`
/// always.
#[derive(Debug)]
pub enum HttpEvent {
    /// A request is ready to be judged: its head is complete, and its body is complete, over the
    /// budget, or its response has begun.
    Request {
        /// Which request of the connection.
        id: u64,
        /// The request.
        request: Box<Request>,
    },
    /// The final response of request `id` has begun.
    Response {
        /// Which request of the connection.
        id: u64,
        /// Its head.
        response: Response,
    },
    /// The body of the response to request `id` is a JSON document that may be about keys, by its
    /// path or its first member. Where `complete` is false `bytes` is empty.
    Document {
        /// Which request of the connection.
        id: u64,
        /// The body.
        body: Body,
    },
    /// The exchange is over: answered to the end, cut off, or given up.
    Done {
        /// Which request of the connection.
        id: u64,
        /// Bytes of the request on the wire, head and body with framing; grows no more.
        request_bytes: u64,
        /// Bytes of the final response on the wire, head and body with framing; 0 without one.
        response_bytes: u64,
        /// Whether both messages were followed to their ends.
        complete: bool,
        /// What [`Request::held_bytes`] was when it was given out.
        held_bytes: usize,
        /// When the last byte passed.
        at: Time,
    },
    /// A head of either direction that could not be read, or a chunked body whose framing is
    /// broken or irregular after its request or response has been given out. What can't be read
    /// is passed over until the next head. Counts as seen, not as a request.
    Malformed {
        /// When.
        at: Time,
        /// Why.
        findings: Vec<Finding>,
    },
    /// From here on the flow is not HTTP/1; the connection takes no more bytes.
    Opaque {
        /// When.
        at: Time,
        /// Why.
        kind: OpaqueKind,
    },
}
