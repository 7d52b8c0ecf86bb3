//! Where the events of connections are gathered.

use std::ops::{Deref, DerefMut};

use super::{HttpEvent, Request, known::KnownHeads, shapes::Shapes};

/// Requests that are kept for their memory, and the longest head and most fields that such a one
/// has room for: as many as wait for their answers at once, and not the memory of all connections.
const MAX_SPARE: usize = 128;
const MAX_SPARE_HEAD: usize = 4 << 10;
const MAX_SPARE_FIELDS: usize = 64;

/// What [`Connection`](super::Connection)s give out, in order: a list, and the memory of requests
/// that are done with. One serves all connections in turn.
#[derive(Debug, Default)]
pub struct Events {
    list: Vec<HttpEvent>,
    #[expect(clippy::vec_box, reason = "the boxes are what is kept")]
    spare: Vec<Box<Request>>,
    /// Heads of answers that may come again.
    pub(super) known: KnownHeads,
    /// Header fields of requests that may come again.
    pub(super) shapes: Shapes,
}

impl Events {
    /// Takes back a request that nobody needs any more. Nothing of it is seen again.
    pub fn recycle(&mut self, mut request: Box<Request>) {
        if self.spare.len() < MAX_SPARE
            && request.head.capacity() <= MAX_SPARE_HEAD
            && request.headers.capacity() <= MAX_SPARE_FIELDS
        {
            request.head.clear();
            request.headers.clear();
            request.findings.clear();
            request.shape = Default::default();
            request.body = Default::default();
            self.spare.push(request);
        }
    }

    /// A request without content.
    pub(super) fn blank(&mut self) -> Box<Request> {
        self.spare.pop().unwrap_or_else(|| Box::new(Request::blank()))
    }

    /// Takes out the list, to be given back with [`restore`](Self::restore) for its memory.
    #[must_use]
    pub fn take(&mut self) -> Vec<HttpEvent> {
        std::mem::take(&mut self.list)
    }

    /// Gives back a list that was [taken](Self::take), emptied.
    pub fn restore(&mut self, mut list: Vec<HttpEvent>) {
        if self.list.is_empty() {
            list.clear();
            self.list = list;
        }
    }
}

impl Deref for Events {
    type Target = Vec<HttpEvent>;

    fn deref(&self) -> &Self::Target {
        &self.list
    }
}

impl DerefMut for Events {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.list
    }
}
