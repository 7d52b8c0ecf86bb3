//! Copying a segment's payload, in pieces.

use jotwatch_common::{
    BUDGET_LIMIT, CHUNK, Counter, HEAD_LIMIT, MARK_FIRST, MARK_LOSS, MARK_NEW, MARK_REQUEST, PIECE,
    TCP_FIN, TCP_SYN,
};
use jotwatch_ebpf::{
    flow::{Flow, Plan, Segment},
    scan,
};

use super::{
    emit::{Slot, words},
    run::Run,
};

/// Records of one segment at most: a head and a body within the largest budget.
const MAX_PIECES: u32 = 1 + (HEAD_LIMIT + BUDGET_LIMIT) / PIECE;
/// The same for a segment without state.
const MAX_STATELESS: u32 = HEAD_LIMIT / PIECE;

impl Run<'_> {
    /// Copies a segment with payload for which there is no state.
    #[inline(always)]
    pub(super) unsafe fn stateless(&mut self) {
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
    pub(super) unsafe fn pieces(
        &mut self,
        flow: &mut Flow,
        s: &Segment,
        plan: &mut Plan,
        budget: u32,
    ) -> Put {
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
pub(super) struct Put {
    /// Bytes in the ring, from the start.
    pub(super) copied: u32,
    /// Bytes that should be there.
    pub(super) wanted: u32,
    /// Everything wanted was put.
    pub(super) whole: bool,
}
