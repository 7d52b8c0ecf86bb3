//! What one segment changes and tells.

use aya_ebpf::bindings::__sk_buff;
use jotwatch_common::{
    Counter, KIND_OPAQUE, KIND_SEGMENT, MARK_FIRST, MARK_LOSS, MARK_NEW, Record, TCP_ACK, TCP_FIN,
    TCP_PSH, TCP_RST, TCP_SYN, TO_CLIENT, TO_SERVER,
};
use jotwatch_ebpf::flow::{BODY, Flow, RUN_LIMIT, START, Segment, opaque};

use super::{
    emit::{Emit, half_of},
    maps::{CONTROL, OPENING, OPENING_EMPTY, WHOLE, bump, name_of},
    read::{Packet, load},
};

/// One segment on its way through.
pub(super) struct Run<'a> {
    pub(super) skb: *mut __sk_buff,
    pub(super) payload_at: u32,
    pub(super) len: u32,
    pub(super) emit: Emit<'a>,
    pub(super) record: Record,
}

impl<'a> Run<'a> {
    /// With what the packet says. Built in place: the stack has room for one record.
    #[inline(always)]
    pub(super) unsafe fn new<const DIRECTION: u8>(
        skb: *mut __sk_buff,
        packet: &Packet,
        emit: Emit<'a>,
    ) -> Self {
        let at = emit.now;
        Self {
            skb,
            payload_at: packet.payload_at,
            len: packet.len,
            emit,
            record: Record {
                at,
                cookie: 0,
                cgroup: 0,
                local: [0; 16],
                remote: [0; 16],
                seq: packet.tcp.seq,
                ack: packet.tcp.ack,
                rcv_nxt: 0,
                len: 0,
                captured: 0,
                local_port: 0,
                remote_port: 0,
                // SAFETY: a field of the context.
                ifindex: unsafe { (*skb).ifindex } as u16,
                kind: KIND_SEGMENT,
                direction: DIRECTION,
                tcp_flags: packet.tcp.flags,
                family: packet.family,
                marks: 0,
                detail: 0,
                piece: 0,
            },
        }
    }

    /// Notes that a handshake is under way: what the tracepoint sees of a socket with this name is
    /// to be told.
    #[inline(always)]
    pub(super) unsafe fn note_opening(&self) {
        let name = name_of(&self.record);
        let first = self.record.seq.wrapping_add(1);
        // SAFETY: live map values.
        unsafe {
            if OPENING.get_ptr(&name).is_some_and(|opening| (*opening).first == first) {
                // Sent again. What is known of the first byte stays.
                return;
            }
            // From a static: the stack has no room for another.
            let _: Result<(), i32> = OPENING.insert(&name, &OPENING_EMPTY, 0);
            if let Some(opening) = OPENING.get_ptr_mut(&name) {
                (*opening).cgroup = self.record.cgroup;
                (*opening).first = first;
            }
        }
    }

    /// A segment that the listening socket handles: a handshake, or data that came with its end
    /// or overtook it. `None` is "nothing more to do".
    #[inline(always)]
    pub(super) unsafe fn listener<const DIRECTION: u8>(&mut self) -> Option<()> {
        if DIRECTION == TO_CLIENT {
            return None;
        }
        unsafe {
            let syn = self.record.tcp_flags & (TCP_SYN | TCP_ACK) == TCP_SYN;
            if syn {
                // Nothing is told of it: a flood of them leaves no trace but in this table.
                self.note_opening();
            }
            if self.len == 0 {
                return None;
            }
            if let Some(opening) = OPENING.get_ptr_mut(&name_of(&self.record)) {
                let before =
                    (*opening).first.wrapping_sub(self.record.seq.wrapping_add(u32::from(syn)));
                if before < self.len {
                    bump(&raw mut (*opening).firsts);
                    // Fewer bytes are left to the daemon.
                    let first = load::<8>(self.skb, self.payload_at).filter(|_| before == 0);
                    (*opening).opaque =
                        first.map_or(0, |b| opaque(u64::from_le_bytes(b), 8)).into();
                }
            }
        }
        Some(())
    }

    /// Stops a flow if its first bytes were not HTTP/1, now that TCP has `received` some.
    #[inline(always)]
    pub(super) unsafe fn judge(&mut self, flow: &mut Flow, received: u32) {
        let mut early = (0, 0);
        if let Some(opening) = OPENING.get_ptr(&name_of(&self.record)) {
            // SAFETY: a live map value.
            let opening = unsafe { &*opening };
            early = (opening.firsts, opening.opaque as u8);
            // A FIN takes a number, too.
            if self.record.rcv_nxt.wrapping_sub(opening.first).wrapping_sub(received) > 1 {
                // Of another connection: the daemon judges.
                early = (2, 0);
            }
        }
        let kind = flow.judge(early);
        if kind == 0 {
            return;
        }
        flow.stopped = 1;
        self.emit.count.add(Counter::OpaqueFlows, 1);
        self.record.kind = KIND_OPAQUE;
        self.record.marks |= MARK_NEW;
        self.record.detail = kind;
        self.record.len = self.len;
        self.emit.bare(&self.record);
        self.record.kind = KIND_SEGMENT;
        self.record.marks &= !MARK_NEW;
        self.record.detail = 0;
        self.record.len = 0;
        // SAFETY: of `forget`.
        unsafe {
            self.settle(flow);
            self.emit.pending = self.forget::<4>(self.emit.pending);
        }
    }

    /// A segment without payload.
    #[inline(always)]
    pub(super) fn empty<const DIRECTION: u8>(&mut self, flow: &mut Flow) {
        let control = self.record.tcp_flags & (TCP_FIN | TCP_RST) != 0;
        let confirms = DIRECTION == TO_CLIENT && flow.confirms(self.record.ack);
        if !control && !confirms {
            return;
        }
        let half = half_of(flow, DIRECTION);
        if control {
            self.emit.flush(&self.record, half, DIRECTION);
        }
        self.emit.bare_of(&self.record, half);
    }

    #[inline(always)]
    pub(super) unsafe fn with_payload<const DIRECTION: u8>(
        &mut self,
        flow: &mut Flow,
        unread: bool,
    ) {
        let seq = self.record.seq;
        if flow.stopped != 0 {
            self.emit.count.add(Counter::OpaqueBytes, self.len);
            if self.record.tcp_flags & (TCP_FIN | TCP_RST) != 0 {
                self.record.len = self.len;
                self.emit.bare(&self.record);
            }
            return;
        }
        let pressure = self.emit.pressure();
        let budget = if pressure {
            0
        } else if DIRECTION == TO_SERVER {
            self.emit.settings.request_budget
        } else if flow.whole != 0 {
            self.emit.settings.whole_budget
        } else {
            self.emit.settings.response_budget
        };
        let old = flow.passed_before(DIRECTION, seq, self.len);
        // SAFETY: of `forget`.
        let old = unsafe { self.forget::<2>(old) };
        // Bytes before the one that TCP waits for.
        let before = self.record.rcv_nxt.wrapping_sub(seq);
        let first_ever = DIRECTION == TO_SERVER && unread && before < self.len;
        if first_ever {
            // SAFETY: a live map value.
            unsafe { bump(&raw mut flow.firsts) };
        }
        let fresh = first_ever && before == 0 && half_of(flow, DIRECTION).seen == 0;
        let mut s = Segment {
            direction: DIRECTION,
            seq,
            len: self.len,
            push: self.record.tcp_flags & TCP_PSH != 0,
            fresh,
            first: 0,
            last: 0,
        };
        // In the midst of a body nothing of the payload matters.
        if half_of(flow, DIRECTION).mode != BODY || flow.turn != DIRECTION {
            unsafe { self.peek(&mut s) };
        }
        let mut plan = flow.plan(&s, budget);
        if plan.reordered {
            self.emit.count.add(Counter::Reordered, 1);
        }
        if plan.turned {
            let other = DIRECTION ^ 1;
            self.emit.flush(&self.record, half_of(flow, other), other);
            if DIRECTION == TO_SERVER && flow.stops != self.emit.settings.stops {
                flow.stops = self.emit.settings.stops;
                if CONTROL.get_ptr(self.record.cookie).is_some() {
                    let _: Result<(), i32> = CONTROL.remove(self.record.cookie);
                    flow.stopped = 1;
                    self.emit.count.add(Counter::OpaqueBytes, self.len);
                    return;
                }
            }
        }
        if plan.request {
            self.emit.count.add(Counter::Requests, 1);
            // SAFETY: the packet is this program's.
            flow.whole = u32::from(unsafe { self.is_whole(s.first) });
        }
        flow.note_plain(&s, &plan);
        if plan.copy == 0 {
            self.skipped::<DIRECTION>(flow, pressure, old);
            return;
        }
        self.emit.flush(&self.record, half_of(flow, DIRECTION), DIRECTION);
        if half_of(flow, DIRECTION).lost != 0 {
            self.record.marks |= MARK_LOSS;
        }
        if flow.told == 0 {
            self.record.marks |= MARK_NEW;
        }
        if fresh {
            self.record.marks |= MARK_FIRST;
        }
        let bits = u32::from(pressure) << 2 | u32::from(plan.scan) << 1 | u32::from(plan.request);
        // SAFETY: of `forget`.
        let (bits, budget) = unsafe {
            self.settle(flow);
            plan.copy = self.forget::<0>(plan.copy);
            (self.forget::<1>(bits), self.forget::<4>(budget))
        };
        plan.request = bits & 1 != 0;
        plan.scan = bits & 2 != 0;
        let pressure = bits & 4 != 0;
        let put = unsafe { self.pieces(flow, &s, &mut plan, budget) };
        if put.copied > 0 {
            flow.told = 1;
        }
        let half = half_of(flow, DIRECTION);
        half.lost = u8::from(!put.whole);
        if put.wanted < self.len {
            self.left_out(self.len - put.wanted, old.saturating_sub(put.wanted), pressure);
        }
        if DIRECTION == TO_SERVER {
            if !put.whole
                && let Some(cause) = flow.cut(plan.request, put.copied)
            {
                self.emit.count.add(cause, 1);
            }
            if put.copied > 0 {
                flow.copied(seq, put.copied);
            }
        } else if put.copied > 0 {
            let _: bool = flow.confirms(self.record.ack);
        }
    }

    /// Counts bytes that are left out, of which `old` passed before.
    #[inline(always)]
    fn left_out(&self, len: u32, old: u32, pressure: bool) {
        let cause = if pressure { Counter::PressureBytes } else { Counter::BudgetBytes };
        let old = if old < len { old } else { len };
        self.emit.count.add(cause, len - old);
        if old != 0 {
            self.emit.count.add(Counter::ResentBytes, old);
        }
    }

    /// A segment of which nothing is copied, and of which `old` bytes passed before.
    #[inline(always)]
    fn skipped<const DIRECTION: u8>(&mut self, flow: &mut Flow, pressure: bool, old: u32) {
        self.left_out(self.len, old, pressure);
        let confirms = DIRECTION == TO_CLIENT && flow.confirms(self.record.ack);
        let half = half_of(flow, DIRECTION);
        if self.record.tcp_flags & (TCP_FIN | TCP_RST) != 0 || confirms {
            self.emit.flush(&self.record, half, DIRECTION);
            self.record.len = self.len;
            self.emit.bare_of(&self.record, half);
            return;
        }
        if old == self.len {
            // Sent again: the run that it lies in was signalled, or will be.
            return;
        }
        if half.hole_len != 0 && self.record.seq != half.hole_seq.wrapping_add(half.hole_len) {
            // A run must not reach over bytes that may yet be copied.
            self.emit.flush(&self.record, half, DIRECTION);
        }
        half.skip(self.record.seq, self.len);
        if half.mode == START || half.hole_len >= RUN_LIMIT {
            self.emit.flush(&self.record, half, DIRECTION);
        }
    }

    /// Whether the answer to the request that begins this segment is to be copied further than
    /// others. `first` are its first 8 bytes.
    #[inline(always)]
    unsafe fn is_whole(&self, first: u64) -> bool {
        let Some(targets) = WHOLE.get_ptr(0) else { return false };
        // SAFETY: a live map value; a torn view of a target fits nothing, or another request.
        let targets = unsafe { &*targets };
        targets.iter().any(|target| {
            target.first == first
                // SAFETY: the packet is this program's.
                && unsafe { load::<8>(self.skb, self.payload_at + target.at) }
                    .is_some_and(|last| u64::from_le_bytes(last) == target.last)
        })
    }

    /// Sends a word through the packet's scratch space. What comes back is the same, but no
    /// longer known to the verifier, which would go through all that follows once for each of
    /// the values that it may have here.
    #[inline(always)]
    pub(super) unsafe fn forget<const SLOT: usize>(&self, word: u32) -> u32 {
        // SAFETY: the context's `cb` is the program's to use; the kernel saves and restores it.
        unsafe {
            let cb = &raw mut (*self.skb).cb[SLOT];
            cb.write_volatile(word);
            cb.read_volatile()
        }
    }

    /// Makes the record look the same to the verifier whatever way led here.
    #[inline(always)]
    pub(super) unsafe fn settle(&mut self, flow: &Flow) {
        // Equal already: a flow has the addresses of its socket.
        self.record.local = flow.local;
        self.record.remote = flow.remote;
        let r = &self.record;
        let low = u32::from_le_bytes([r.kind, r.direction, r.tcp_flags, r.family]);
        let high = u32::from(r.marks);
        // SAFETY: of `forget`.
        let (low, high) = unsafe { (self.forget::<2>(low), self.forget::<3>(high)) };
        let [kind, direction, tcp_flags, family] = low.to_le_bytes();
        let r = &mut self.record;
        (r.kind, r.direction, r.tcp_flags, r.family) = (kind, direction, tcp_flags, family);
        (r.marks, r.detail, r.piece) = (high as u8, (high >> 8) as u8, (high >> 16) as u16);
    }

    #[inline(always)]
    unsafe fn peek(&self, s: &mut Segment) {
        unsafe {
            if self.len >= 8 {
                if let Some(b) = load::<8>(self.skb, self.payload_at) {
                    s.first = u64::from_le_bytes(b);
                }
                if let Some(b) = load::<4>(self.skb, self.payload_at + self.len - 4) {
                    s.last = u32::from_le_bytes(b);
                }
                return;
            }
            let mut i = 0;
            while i < 7 {
                if i < self.len
                    && let Some([b]) = load::<1>(self.skb, self.payload_at + i)
                {
                    s.first |= u64::from(b) << (8 * i);
                }
                i += 1;
            }
        }
    }
}
