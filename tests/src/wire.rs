//! A connection as capture sees it, straight into a pipeline.

use std::net::SocketAddr;

use jotwatch::{
    capture::{Direction, FlowKey, Input, Segment, TcpFlags},
    pipeline::{Output, Pipeline},
    time::Time,
};

/// One connection with requests and answers in turn, a segment each.
#[derive(Debug)]
pub struct Wire {
    flow: FlowKey,
    /// The next sequence numbers of client and server.
    next: [u32; 2],
}

impl Wire {
    /// Between these two.
    #[must_use]
    pub const fn new(client: SocketAddr, server: SocketAddr) -> Self {
        Self { flow: FlowKey { client, server, scope: 0 }, next: [1, 1] }
    }

    /// A request and its answer, both whole, at one time.
    pub fn exchange(
        &mut self,
        pipeline: &mut Pipeline,
        out: &mut impl Output,
        at: Time,
        request: &[u8],
        answer: &[u8],
    ) {
        for (direction, payload) in [(Direction::ToServer, request), (Direction::ToClient, answer)]
        {
            let [own, other] = match direction {
                Direction::ToServer => [0, 1],
                Direction::ToClient => [1, 0],
            };
            let len = payload.len() as u32;
            let segment = Segment {
                flow: self.flow,
                cookie: 1,
                direction,
                at,
                seq: self.next[own],
                len,
                payload,
                flags: TcpFlags::default(),
                ack: Some(self.next[other]),
                rcv_nxt: None,
                request: false,
            };
            self.next[own] = self.next[own].wrapping_add(len);
            pipeline.push(&Input::Segment(segment), out);
        }
    }
}
