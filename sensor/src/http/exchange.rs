//! One request and its response while they pass.

use std::collections::VecDeque;

use super::{
    Events, HttpEvent, Request,
    document::{Asked, Document},
};
use crate::time::Time;

/// What a request's method means for the framing of its response (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// The response has no body.
    Head,
    /// A 2xx response opens a tunnel.
    Connect,
    /// Anything else.
    Other,
}

/// How far a message has been followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Its head has not been seen.
    Awaited,
    /// Its body is passing.
    Begun,
    /// It was followed to its end.
    Whole,
    /// Its end was lost, or it will not come.
    Cut,
}

impl Progress {
    pub(super) fn is_over(self) -> bool {
        matches!(self, Self::Whole | Self::Cut)
    }
}

#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) id: u64,
    /// The request until it is given out.
    pub(super) pending: Option<Box<Request>>,
    /// Bytes of the request, once it is given out.
    pub(super) given: usize,
    pub(super) request_bytes: u64,
    pub(super) response_bytes: u64,
    pub(super) last: Time,
    pub(super) method: Method,
    pub(super) request: Progress,
    pub(super) response: Progress,
    /// The client waits for `100 Continue` before it sends the body, and none has come.
    pub(super) expects_continue: bool,
    /// The request asks for another protocol.
    pub(super) upgrade: bool,
    /// What its answer may be.
    pub(super) asked: Asked,
    /// The answer's body, as long as it may be a document about keys.
    pub(super) document: Option<Document>,
}

impl Exchange {
    /// Gives the request out unless that has been done.
    pub(super) fn emit(&mut self, out: &mut Events) {
        if let Some(request) = self.pending.take() {
            self.given = request.held_bytes();
            out.push(HttpEvent::Request { id: self.id, request });
        }
    }

    fn is_over(&self) -> bool {
        self.request.is_over() && self.response.is_over()
    }

    fn done(mut self, out: &mut Events) {
        self.emit(out);
        let whole = self.response == Progress::Whole;
        if let Some(body) = self.document.take().and_then(|document| document.finish(whole)) {
            out.push(HttpEvent::Document { id: self.id, body });
        }
        out.push(HttpEvent::Done {
            id: self.id,
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
            complete: self.request == Progress::Whole && self.response == Progress::Whole,
            held_bytes: self.given,
            at: self.last,
        });
    }
}

/// The open exchanges of a connection in the order of their requests.
///
/// Those that are over leave at once. A request that waits for no response (its response is
/// already over, or will not be known) stays only while its body passes, and is then the last.
#[derive(Debug, Default)]
pub(super) struct Open(VecDeque<Exchange>);

impl Open {
    pub(super) fn push(&mut self, exchange: Exchange, out: &mut Events) {
        self.0.push_back(exchange);
        self.settle(out);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The exchange whose request is passing, or has passed last.
    pub(super) fn newest(&mut self) -> Option<&mut Exchange> {
        self.0.back_mut()
    }

    /// The exchange whose response is passing, or is next.
    pub(super) fn oldest(&mut self) -> Option<&mut Exchange> {
        self.0.front_mut()
    }

    /// Bytes that are held of the response that passes.
    pub(super) fn held(&self) -> usize {
        let document = self.0.front().and_then(|exchange| exchange.document.as_ref());
        document.map_or(0, |document| document.held())
    }

    /// How many exchanges wait for a response that has not begun.
    pub(super) fn awaiting(&self) -> usize {
        // Only at the ends are there exchanges whose response has begun, is over or is given up.
        let other = |e: Option<&Exchange>| e.is_some_and(|e| e.response != Progress::Awaited);
        match self.0.len() {
            0 => 0,
            1 => usize::from(!other(self.0.front())),
            n => n - usize::from(other(self.0.front())) - usize::from(other(self.0.back())),
        }
    }

    /// Whether any exchange waits for its response or for the end of it.
    pub(super) fn unanswered(&self) -> bool {
        self.0.front().is_some_and(|e| !e.response.is_over())
    }

    /// Gives up all responses that are not over.
    pub(super) fn abandon(&mut self, out: &mut Events) {
        for exchange in &mut self.0 {
            if !exchange.response.is_over() {
                exchange.response = Progress::Cut;
            }
        }
        self.settle(out);
    }

    /// The clock was set by so many nanoseconds.
    pub(super) fn clock_set(&mut self, by: i64) {
        for exchange in &mut self.0 {
            exchange.last = exchange.last.moved(by);
            if let Some(request) = &mut exchange.pending {
                request.clock_set(by);
            }
        }
    }

    /// Gives up everything.
    pub(super) fn finish(&mut self, out: &mut Events) {
        for exchange in self.0.drain(..) {
            exchange.done(out);
        }
    }

    /// Closes exchanges that are over.
    pub(super) fn settle(&mut self, out: &mut Events) {
        while let Some(exchange) = self.0.pop_front_if(|e| e.is_over()) {
            exchange.done(out);
        }
        while let Some(exchange) = self.0.pop_back_if(|e| e.is_over()) {
            exchange.done(out);
        }
    }
}
