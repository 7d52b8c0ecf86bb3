//! What the front of the pipeline tells its back: everything that happens on connections, in the
//! order in which it is to be judged.
//!
//! The front follows connections and reads messages; the back remembers, scores and decides.
//! Nothing goes the other way: what the front does next never depends on what the back made of a
//! step. So the steps may be taken at once ([`Pipeline::push`](super::Pipeline::push)), or be
//! gathered and taken later ([`Block`](super::Block)), with the same result.

use std::sync::Arc;

use crate::{
    capture::{FlowKey, OpaqueKind, Service},
    finding::Finding,
    http::{Body, Request, Response},
    time::Time,
};

/// The place of a connection in the tables of the back. One that is closed leaves its place to
/// the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(pub(super) u32);

/// How an exchange ended.
#[derive(Debug)]
pub(super) struct End {
    pub(super) request_bytes: u64,
    pub(super) response_bytes: u64,
    pub(super) complete: bool,
}

/// What of the back is due at a time. Between its parts the front does what is due there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// All of it: nothing is due in the front.
    All,
    /// The beginning: alerts that wait for the rest of an answer.
    Tails,
    /// Alerts that wait for an answer.
    Answers,
    /// The end: events that wait for the name of their service.
    Names,
}

/// One thing that happened.
#[derive(Debug)]
pub(super) enum Step {
    /// Time passed. It never runs backwards.
    Time { now: Time, due: Due },
    /// A connection came into sight, at a place that was free.
    Opened { slot: Slot, flow: Box<FlowKey>, cookie: u64 },
    /// The socket's cookie is known.
    Cookie { slot: Slot, cookie: u64 },
    /// Who serves a connection, which may not be in sight.
    Service { slot: Option<Slot>, flow: Box<FlowKey>, service: Arc<Service> },
    /// A request is ready to be judged.
    Request { slot: Slot, id: u64, request: Box<Request> },
    /// Its answer has begun.
    Response { slot: Slot, id: u64, response: Response },
    /// Its answer was a document that may be about keys.
    Document { slot: Slot, id: u64, body: Body },
    /// The exchange is over.
    Done { slot: Slot, id: u64, end: End },
    /// Bytes could not be read as messages.
    Malformed { slot: Slot, findings: Vec<Finding> },
    /// Capture may stop copying this socket's bytes.
    Stop { cookie: u64 },
    /// The connection can't be read as HTTP/1 from here on.
    Opaque { slot: Slot, kind: OpaqueKind },
    /// The connection is over; all its exchanges are done.
    Closed { slot: Slot },
}

impl Step {
    /// Bytes that it holds beside its own size, of those that may be many.
    pub(super) fn held_bytes(&self) -> usize {
        match self {
            Self::Request { request, .. } => request.held_bytes(),
            Self::Document { body, .. } => body.bytes.len(),
            _ => 0,
        }
    }
}

/// Takes steps.
pub(super) trait Steps {
    /// Takes the next one. Behind [`Step::Done`] it may give back a request that nobody needs any
    /// more, for its memory.
    fn step(&mut self, step: Step) -> Option<Box<Request>>;
}
