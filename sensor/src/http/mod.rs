//! From ordered bytes to HTTP/1 exchanges.
//!
//! [`Connection`] watches both directions of one connection: it is handed bytes and gaps in the
//! order in which they passed, and gives [`HttpEvent`]s. It reads what a lenient server would
//! read, and says as [findings](crate::finding) where servers could read different things.
//!
//! # What is done where messages are ambiguous
//!
//! | case | framing that is followed |
//! |---|---|
//! | `Transfer-Encoding` and `Content-Length` | `Transfer-Encoding` (RFC 9112, section 6.3) |
//! | last coding of a request is not exactly `chunked` | none: the next request head is searched |
//! | `Content-Length` invalid or contradictory | none: the next head is searched |
//! | last coding of a response is not exactly `chunked` | until close (RFC 9112, section 6.3) |
//! | broken chunk framing | the next head is searched |
//!
//! # Which request a response answers
//!
//! Responses come in the order of the requests, so both are paired by counting, as long as every
//! head was seen. Where heads may have been lost, a response is attached to a request only if no
//! other request can be meant; a request is closed without a response sooner than with a wrong
//! one. Three facts decide:
//!
//! - A response answers a request that was sent before it. So the first response behind a loss
//!   among the responses is sure when one request waits and no request was lost.
//! - A client that has never sent a request before the previous response was over does not do
//!   so later: its next request says that all earlier ones are answered. Once a connection has
//!   pipelined, this rule is off for good.
//! - Requests seen before a loss among the requests come before the lost ones.
//!
//! A pipelining connection that lost an unknown number of heads stays unpaired.
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]

mod chunked;
mod connection;
mod document;
#[cfg(any(test, fuzzing))]
pub(crate) mod driver;
mod events;
mod exchange;
mod fields;
mod head;
mod known;
mod message;
mod requests;
mod responses;
mod search;
mod shapes;

#[cfg(test)]
mod tests;

use crate::{
    finding::{Finding, FindingId},
    time::Time,
};
pub use connection::Connection;
pub use events::Events;
#[cfg(any(test, fuzzing))]
pub(crate) use head::tests_only;
pub use message::{Body, Header, HttpEvent, Request, Response};
pub(crate) use shapes::ByShape;

/// Reads the whole head of a request by itself, with what follows of its body. Also gives how the
/// body is framed, where all servers agree on that.
///
/// # Errors
/// What is wrong, where no request can be made of it.
pub fn read_request(
    bytes: &[u8],
    at: Time,
    limits: &Limits,
) -> Result<(Box<Request>, Option<BodyFraming>), Vec<Finding>> {
    // Empty lines in front are no part of it (RFC 9112, section 2.2).
    let begin = bytes.iter().position(|b| !matches!(b, b'\r' | b'\n')).unwrap_or(bytes.len());
    let bytes = bytes.get(begin..).unwrap_or_default();
    let end = head::find_end(bytes, 0).unwrap_or(bytes.len());
    let (head, rest) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
    let head::RequestHead { mut request, framing, .. } =
        head::request(head, false, (at, at), limits, Box::new(Request::blank()))?;
    let unclear = request.findings.iter().any(|finding| UNCLEAR.contains(&finding.id))
        || !has_plain_fields(head);
    let framing = match framing {
        fields::Framing::Length(n) => Some(BodyFraming::Length(n)),
        fields::Framing::Unframed => Some(BodyFraming::Length(0)),
        fields::Framing::Chunked => Some(BodyFraming::Chunked),
        _ => None,
    };
    request.body = match framing {
        Some(BodyFraming::Length(n)) => {
            let whole = rest.get(..usize::try_from(n).unwrap_or(usize::MAX));
            Body { bytes: whole.unwrap_or(rest).into(), complete: whole.is_some() }
        }
        Some(BodyFraming::Chunked) => chunked::decode(rest),
        None => Body::default(),
    };
    Ok((request, framing.filter(|_| !unclear)))
}

/// What makes servers find a body's end in different places.
const UNCLEAR: [FindingId; 5] = [
    FindingId::HttpContentLengthAndTransferEncoding,
    FindingId::HttpTransferEncodingInvalid,
    FindingId::HttpContentLengthConflict,
    FindingId::HttpContentLengthInvalid,
    // Some refuse such a head. Others read what we don't: a verdict would be one on half of it.
    FindingId::HttpTooManyHeaders,
];

/// Whether every line behind the first is a field, or goes on with one. What is neither some servers
/// pass over, and others with all lines behind it, those that frame the body among them
/// (docs/http-conformance.md).
fn has_plain_fields(head: &[u8]) -> bool {
    let plain = |line: &[u8]| match line {
        [] | b"\r" | [b' ' | b'\t', ..] => true,
        line => memchr::memchr(b':', line)
            .is_some_and(|colon| head::is_token(line.get(..colon).unwrap_or_default())),
    };
    head.split(|&b| b == b'\n').skip(1).all(plain)
}

/// How long a request's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFraming {
    /// This many bytes; 0 without any field about it.
    Length(u64),
    /// Chunked.
    Chunked,
}

/// What bounds a [`Connection`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one head with its last empty line. The caller's buffer must be able to offer one
    /// byte more than this at once. Of a longer head what lies within is judged.
    pub head_bytes: usize,
    /// Header fields of one head that are recorded.
    pub headers: usize,
    /// Bytes of a request body that are kept for judgement.
    pub request_body_budget: usize,
    /// Bytes of a JSON document about keys that are kept of a response; a longer one is given out
    /// as incomplete. 0 keeps none. The largest public key sets have 16 KiB.
    pub document_bytes: usize,
    /// Requests of one connection that wait for their responses; more are judged, but no
    /// response is attached to them.
    pub pending_requests: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 64 * 1024,
            headers: 512,
            request_body_budget: 8 * 1024,
            document_bytes: 64 * 1024,
            pending_requests: 256,
        }
    }
}

/// What passed next in one direction. `Debug` shows sizes only: bytes may hold a token.
#[derive(Clone, Copy)]
pub enum Chunk<'a> {
    /// Bytes: first those that an earlier call left over, then new ones.
    Data(&'a [u8]),
    /// This many bytes passed unseen. What earlier calls left over is void.
    Gap(u64),
    /// What earlier calls left over, once more: the sender's end stands right behind it.
    Last(&'a [u8]),
    /// The sender sends no more. What earlier calls left over is void.
    End {
        /// The connection was reset: what was sent may not have arrived.
        reset: bool,
    },
}

impl std::fmt::Debug for Chunk<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Data(bytes) => write!(f, "Data({})", bytes.len()),
            Self::Gap(len) => write!(f, "Gap({len})"),
            Self::Last(bytes) => write!(f, "Last({})", bytes.len()),
            Self::End { reset } => write!(f, "End {{ reset: {reset} }}"),
        }
    }
}
