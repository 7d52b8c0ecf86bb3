//! One TCP segment at a cgroup_skb hook.

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::generated::{
        bpf_get_socket_cookie, bpf_ktime_get_ns, bpf_sk_fullsock, bpf_skb_cgroup_id, bpf_tcp_sock,
    },
    maps::lpm_trie::Key,
};
use jotwatch_common::{
    BUDGET_LIMIT, CHUNK, Counter, HEAD_LIMIT, KIND_OPAQUE, KIND_SEGMENT, MARK_FIRST, MARK_LISTENER,
    MARK_LOSS, MARK_NEW, MARK_RCV_NXT, MARK_REQUEST, PIECE, Record, Settings, TCP_ACK, TCP_FIN,
    TCP_PSH, TCP_RST, TCP_SYN, TO_CLIENT, TO_SERVER,
};
use jotwatch_ebpf::{
    flow::{BODY, EARLY, Flow, Plan, RUN_LIMIT, START, Segment, opaque},
    packet, scan,
};

use super::{
    emit::{Emit, Slot, half_of, words},
    maps::{
        CONTROL, Count, EMPTY, FLOWS, NETWORKS4, NETWORKS6, OPENING, OPENING_EMPTY, PORTS,
        SETTINGS, WHOLE, bump, name_of,
    },
    read::{load, network, socket_addresses},
};

const TCP_LISTEN: u32 = 10;
const TCP_NEW_SYN_RECV: u32 = 12;
/// Records of one segment at most: a head and a body within the largest budget.
const MAX_PIECES: u32 = 1 + (HEAD_LIMIT + BUDGET_LIMIT) / PIECE;
/// The same for a segment without state.
const MAX_STATELESS: u32 = HEAD_LIMIT / PIECE;

#[inline(always)]
fn watched_address(settings: &Settings, family: u8, local: &[u8; 16]) -> bool {
    if settings.by_address == 0 {
        return true;
    }
    if family == 4 {
        let key = Key::new(32, [local[0], local[1], local[2], local[3]]);
        NETWORKS4.get(&key).is_some()
    } else {
        NETWORKS6.get(&Key::new(128, *local)).is_some()
    }
}

/// Handles one segment of a watched port. `None` is "nothing more to do".
#[inline(always)]
pub(crate) unsafe fn segment<const DIRECTION: u8>(skb: *mut __sk_buff) -> Option<()> {
    unsafe {
        let port = (*skb).local_port;
        let bits = *PORTS.get(port >> 6)?;
        if bits >> (port & 63) & 1 == 0 {
            return None;
        }
        let settings = &*SETTINGS.get_ptr(0)?;
        let count = Count::here()?;
        let now = bpf_ktime_get_ns();
        // Built in place: the stack has room for one record.
        let mut run = Run {
            skb,
            payload_at: 0,
            len: 0,
            emit: Emit::new(count, settings, now),
            record: Record {
                at: now,
                cookie: 0,
                cgroup: bpf_skb_cgroup_id(skb),
                local: [0; 16],
                remote: [0; 16],
                seq: 0,
                ack: 0,
                rcv_nxt: 0,
                len: 0,
                captured: 0,
                local_port: 0,
                remote_port: 0,
                ifindex: (*skb).ifindex as u16,
                kind: KIND_SEGMENT,
                direction: DIRECTION,
                tcp_flags: 0,
                family: 0,
                marks: 0,
                detail: 0,
                piece: 0,
            },
        };
        let record = &mut run.record;
        let tcp_at = match network::<DIRECTION>(skb, record) {
            Ok(at) => at,
            Err(malformed) => {
                count.add(Counter::ParseFailures, u32::from(malformed));
                return None;
            }
        };
        let tcp = load(skb, tcp_at).and_then(|h| packet::tcp(&h));
        let payload_at = tcp_at + tcp.map_or(0, |t| t.len);
        let total = (*skb).len;
        let Some(tcp) = tcp.filter(|_| payload_at <= total) else {
            count.add(Counter::ParseFailures, 1);
            return None;
        };
        let len = total - payload_at;
        record.seq = tcp.seq;
        record.ack = tcp.ack;
        record.tcp_flags = tcp.flags;
        if DIRECTION == TO_SERVER {
            record.local_port = tcp.destination;
            record.remote_port = tcp.source;
        } else {
            record.local_port = tcp.source;
            record.remote_port = tcp.destination;
        }

        let sk = (*skb).__bindgen_anon_2.sk;
        if sk.is_null() {
            return None;
        }
        let sk = bpf_sk_fullsock(sk);
        if sk.is_null() {
            return None;
        }
        let state = (*sk).state;
        let listener = state == TCP_LISTEN || state == TCP_NEW_SYN_RECV;
        let mut received = 0;
        if listener {
            record.marks = MARK_LISTENER;
        } else {
            record.cookie = bpf_get_socket_cookie(skb.cast());
            socket_addresses(sk, record);
            let tp = bpf_tcp_sock(sk);
            if tp.is_null() {
                return None;
            }
            record.rcv_nxt = (*tp).rcv_nxt;
            record.marks = MARK_RCV_NXT;
            received = (*tp).bytes_received;
        }
        if !watched_address(settings, record.family, &record.local) {
            count.add(Counter::FilteredAddress, 1);
            return None;
        }
        count.add(Counter::Segments, 1);
        count.add(Counter::PayloadBytes, len);

        run.payload_at = payload_at;
        run.len = len;
        if listener {
            count.add(Counter::ListenerSegments, 1);
            run.listener::<DIRECTION>()?;
            run.stateless();
            return None;
        }
        let cookie = run.record.cookie;
        let flow = match FLOWS.get_ptr_mut(cookie) {
            Some(flow) => flow,
            // Nothing to keep state for yet: only what closes or resets is told.
            None if len == 0 => {
                if tcp.flags & (TCP_SYN | TCP_ACK) == TCP_SYN {
                    run.note_opening();
                } else if tcp.flags & (TCP_FIN | TCP_RST) != 0 {
                    run.emit.bare(&run.record);
                }
                return None;
            }
            None => {
                // From a static: the stack has no room for another.
                let _: Result<(), i32> = FLOWS.insert(cookie, &EMPTY, 0);
                match FLOWS.get_ptr_mut(cookie) {
                    Some(flow) => {
                        (*flow).cgroup = run.record.cgroup;
                        (*flow).local = run.record.local;
                        (*flow).remote = run.record.remote;
                        (*flow).local_port = run.record.local_port;
                        (*flow).remote_port = run.record.remote_port;
                        (*flow).family = run.record.family;
                        (*flow).turn = DIRECTION ^ 1;
                        (*flow).suspect = if received == 0 { 0 } else { EARLY };
                        flow
                    }
                    None => {
                        count.add(Counter::StateFailures, 1);
                        run.stateless();
                        return None;
                    }
                }
            }
        };
        let flow = &mut *flow;
        if flow.suspect != 0 && received != 0 {
            run.judge(flow, received as u32);
        }
        if len == 0 {
            run.empty::<DIRECTION>(flow);
        } else {
            run.with_payload::<DIRECTION>(flow, received == 0);
        }
        Some(())
    }
}

/// One segment on its way through.
struct Run<'a> {
    skb: *mut __sk_buff,
    payload_at: u32,
    len: u32,
    emit: Emit<'a>,
    record: Record,
}

impl Run<'_> {
    /// Notes that a handshake is under way: what the tracepoint sees of a socket with this name is
    /// to be told.
    #[inline(always)]
    unsafe fn note_opening(&self) {
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
    unsafe fn listener<const DIRECTION: u8>(&mut self) -> Option<()> {
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
    unsafe fn judge(&mut self, flow: &mut Flow, received: u32) {
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
    fn empty<const DIRECTION: u8>(&mut self, flow: &mut Flow) {
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
    unsafe fn with_payload<const DIRECTION: u8>(&mut self, flow: &mut Flow, unread: bool) {
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
            if DIRECTION == TO_SERVER && CONTROL.get_ptr(self.record.cookie).is_some() {
                let _: Result<(), i32> = CONTROL.remove(self.record.cookie);
                flow.stopped = 1;
                self.emit.count.add(Counter::OpaqueBytes, self.len);
                return;
            }
        }
        if plan.request {
            self.emit.count.add(Counter::Requests, 1);
            // SAFETY: the packet is this program's.
            flow.whole = u8::from(unsafe { self.is_whole(s.first) });
        }
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

    /// Sends a word through the packet's scratch space. What comes back is the same, but no
    /// longer known to the verifier, which would go through all that follows once for each of
    /// the values that it may have here.
    #[inline(always)]
    unsafe fn forget<const SLOT: usize>(&self, word: u32) -> u32 {
        // SAFETY: the context's `cb` is the program's to use; the kernel saves and restores it.
        unsafe {
            let cb = &raw mut (*self.skb).cb[SLOT];
            cb.write_volatile(word);
            cb.read_volatile()
        }
    }

    /// Makes the record look the same to the verifier whatever way led here.
    #[inline(always)]
    unsafe fn settle(&mut self, flow: &Flow) {
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

    /// Copies a segment with payload for which there is no state.
    #[inline(always)]
    unsafe fn stateless(&mut self) {
        if self.record.tcp_flags & TCP_SYN != 0 {
            self.emit.bare(&self.record);
            // Data with the SYN (TCP Fast Open) starts one sequence number behind it.
            self.record.tcp_flags &= !TCP_SYN;
            self.record.seq = self.record.seq.wrapping_add(1);
        }
        let (seq, flags) = (self.record.seq, self.record.tcp_flags);
        let mut i = 0;
        while i < MAX_STATELESS {
            let done = i * PIECE;
            if done >= self.len {
                return;
            }
            let rest = self.len - done;
            let last = rest <= PIECE || i + 1 == MAX_STATELESS;
            self.record.seq = seq.wrapping_add(done);
            self.record.piece = i as u16;
            self.record.len = if last { rest } else { PIECE };
            self.record.tcp_flags = if last { flags } else { flags & !TCP_FIN };
            let take = if rest < PIECE { rest } else { PIECE };
            if !unsafe { self.piece_of::<{ words(16384) }>(self.payload_at + done, take) } {
                self.emit.count.add(Counter::RingFullBytes, rest);
                return;
            }
            i += 1;
        }
        let copied = MAX_STATELESS * PIECE;
        if self.len > copied {
            self.emit.count.add(Counter::BudgetBytes, self.len - copied);
        }
    }

    /// One piece without a scan.
    #[inline(always)]
    unsafe fn piece(&mut self, at: u32, take: u32) -> bool {
        unsafe {
            if take <= 4096 {
                self.piece_of::<{ words(4096) }>(at, take)
            } else {
                self.piece_of::<{ words(16384) }>(at, take)
            }
        }
    }

    #[inline(always)]
    unsafe fn piece_of<const W: usize>(&mut self, at: u32, take: u32) -> bool {
        match unsafe { self.emit.reserve::<W>(self.skb, &self.record, at, take) } {
            Some(entry) => {
                self.emit.submit(entry, take);
                true
            }
            None => false,
        }
    }

    /// Copies `plan.copy` bytes in chunks; a scan of the first may lower it.
    #[inline(always)]
    unsafe fn pieces(&mut self, flow: &mut Flow, s: &Segment, plan: &mut Plan, budget: u32) -> Put {
        let take = if plan.copy < CHUNK { plan.copy } else { CHUNK };
        if plan.request {
            self.record.marks |= MARK_REQUEST;
        }
        let (at, len) = (self.payload_at, self.len);
        let flags = self.record.tcp_flags;
        let first = unsafe {
            // Two sizes for what is scanned: the verifier goes through every word of each.
            if plan.scan {
                if take <= 1024 {
                    self.scanned::<{ words(1024) }>(flow, s, plan, budget, take)
                } else {
                    self.scanned::<{ words(4096) }>(flow, s, plan, budget, take)
                }
            } else {
                let last = plan.copy <= take;
                self.record.len = if last { len } else { take };
                self.record.tcp_flags = if last { flags } else { flags & !TCP_FIN };
                if take <= 256 {
                    self.piece_of::<{ words(256) }>(at, take)
                } else if take <= 1024 {
                    self.piece_of::<{ words(1024) }>(at, take)
                } else if take <= 2048 {
                    self.piece_of::<{ words(2048) }>(at, take)
                } else {
                    self.piece_of::<{ words(4096) }>(at, take)
                }
            }
        };
        self.record.marks &= !(MARK_LOSS | MARK_REQUEST | MARK_NEW | MARK_FIRST);
        // SAFETY: of `forget`.
        let (wanted, mut failed, mut copied) = unsafe {
            self.settle(flow);
            let copied = if first { take } else { 0 };
            (
                self.forget::<0>(plan.copy),
                self.forget::<1>(u32::from(!first)),
                self.forget::<4>(copied),
            )
        };
        let mut i = 1;
        while i < MAX_PIECES {
            // All pieces between the first and the last are of one size. Counted from `i` and
            // not summed up, as the verifier would follow each sum apart.
            let done = CHUNK + (i - 1) * PIECE;
            if failed != 0 || done >= wanted {
                break;
            }
            let rest = wanted - done;
            let last = rest <= PIECE || i + 1 == MAX_PIECES;
            let take = if rest < PIECE { rest } else { PIECE };
            self.record.seq = s.seq.wrapping_add(done);
            self.record.piece = i as u16;
            self.record.len = if last { len - done } else { PIECE };
            self.record.tcp_flags = if last { flags } else { flags & !TCP_FIN };
            if unsafe { self.piece(at + done, take) } {
                copied = done + take;
            } else {
                failed = 1;
            }
            i += 1;
        }
        // Forget the number of turns, too.
        let (copied, failed) = unsafe { (self.forget::<0>(copied), self.forget::<1>(failed)) };
        let copied = if copied < wanted { copied } else { wanted };
        if failed != 0 {
            self.emit.count.add(Counter::RingFullBytes, wanted - copied);
        }
        Put { copied, wanted, whole: failed == 0 }
    }

    /// The first piece with a scan, which may lower `plan.copy`.
    #[inline(always)]
    unsafe fn scanned<const W: usize>(
        &mut self,
        flow: &mut Flow,
        s: &Segment,
        plan: &mut Plan,
        budget: u32,
        take: u32,
    ) -> bool {
        let at = self.payload_at;
        unsafe {
            let Some(mut entry) = self.emit.reserve::<W>(self.skb, &self.record, at, take) else {
                return false;
            };
            let slot: *mut Slot<W> = entry.as_mut_ptr();
            let len = u32::from((*slot).record.captured);
            let head = scan::head(&(*slot).words, len, &(*slot).notes);
            plan.copy = flow.scanned(s, budget, head, scan::status(&(*slot).words));
            let captured = if take < plan.copy { take } else { plan.copy };
            let last = plan.copy <= take;
            (*slot).record.captured = captured as u16;
            (*slot).record.len = if last { s.len } else { take };
            if !last {
                (*slot).record.tcp_flags &= !TCP_FIN;
            }
            self.emit.submit(entry, captured);
        }
        true
    }
}

/// What became of a segment's payload.
struct Put {
    /// Bytes in the ring, from the start.
    copied: u32,
    /// Bytes that should be there.
    wanted: u32,
    /// Everything wanted was put.
    whole: bool,
}
