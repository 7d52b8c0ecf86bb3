//! The plain messages of a connection: [`Flow::plan`] in short for most segments of most services.

use jotwatch_common::{HEAD_LIMIT, TO_SERVER};

use crate::flow::{
    ALL, BODY, CRLF_CRLF, Flow, NO_LIMIT, Plan, START, Segment, bodiless, looks_like_request,
    looks_like_response,
};

/// So many messages in a row were plain before the next is expected to be.
pub(crate) const PLAIN_AFTER: u8 = 4;
/// Payload bytes of a plain message. It must have the first eight, which tell what it is.
pub const PLAIN_MIN: u32 = 8;
/// See [`PLAIN_MIN`]. Most messages of an interface are shorter.
pub const PLAIN_MAX: u32 = 2048;

impl Flow {
    /// Notes of a message what [`expects_plain`](Self::expects_plain) goes by.
    #[inline(always)]
    pub fn note_plain(&mut self, s: &Segment, plan: &Plan) {
        let to_server = s.direction == TO_SERVER;
        if plan.reordered {
            // Says nothing of the messages.
            return;
        }
        let plain = plan.copy == s.len && !plan.scan && !s.fresh;
        let row = if to_server { &mut self.plain[0] } else { &mut self.plain[1] };
        if !plain || (to_server && !plan.request) {
            *row = 0;
        } else if *row < PLAIN_AFTER {
            *row += 1;
        }
    }

    /// Whether a segment is worth trying [`plain`](Self::plain): it is in order, of a connection
    /// of which nothing is left to say, and so were the messages before it.
    #[inline(always)]
    #[must_use]
    pub fn expects_plain(&self, direction: u8, seq: u32, len: u32) -> bool {
        let [to_server, to_client] = &self.halves;
        let (half, row) = if direction == TO_SERVER {
            (to_server, self.plain[0])
        } else {
            (to_client, self.plain[1])
        };
        row == PLAIN_AFTER
            && half.next == seq
            && len >= PLAIN_MIN
            && len <= PLAIN_MAX
            && half.seen != 0
            && half.lost == 0
            && self.stopped == 0
            && self.suspect == 0
            && self.told != 0
            && to_server.hole_len | to_client.hole_len == 0
    }

    /// [`plan`](Self::plan) for a segment for which [`expects_plain`](Self::expects_plain) holds, if
    /// that comes to: all of it is copied, without a scan, and to the server it begins a request.
    /// Otherwise `false`, and nothing is changed. An abridgement and no other rule: what it
    /// decides is what `plan` would.
    #[inline(always)]
    #[must_use]
    pub fn plain(&mut self, s: &Segment, budget: u32) -> bool {
        let cap = HEAD_LIMIT + budget;
        let to_server = s.direction == TO_SERVER;
        let turned = self.turn != s.direction;
        let half = if to_server { &mut self.halves[0] } else { &mut self.halves[1] };
        let head_like = if to_server {
            looks_like_request(s.first, s.len)
        } else {
            looks_like_response(s.first, s.len)
        };
        if half.mode == BODY {
            return false;
        }
        if !turned && half.mode != START && !head_like {
            // A response goes on.
            if to_server || half.mode != ALL || half.left == NO_LIMIT || half.left <= s.len {
                return false;
            }
            half.left -= s.len;
            half.next = s.seq.wrapping_add(s.len);
            return true;
        }
        let ends = s.last == CRLF_CRLF;
        if to_server && (!head_like || !(turned || half.mode == START)) {
            return false;
        }
        let pipelined = to_server && bodiless(s.first);
        if !pipelined && head_like && (ends || !s.push || s.len > budget) {
            return false;
        }
        if to_server {
            half.cut = 0;
            self.head_method =
                u8::from(s.first & 0xff_ffff_ffff == u64::from_le_bytes(*b"HEAD \0\0\0"));
        }
        if pipelined {
            half.left = NO_LIMIT;
            half.mode = if ends { START } else { ALL };
        } else {
            half.mode = ALL;
            half.left = cap - s.len;
        }
        half.next = s.seq.wrapping_add(s.len);
        self.turn = s.direction;
        true
    }
}
