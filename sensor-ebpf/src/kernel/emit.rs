//! Writing records.
//!
//! A record is written straight into memory reserved in the ring: a scratch buffer per CPU would
//! be overwritten when softirq interrupts a sender on the same CPU. The size of a reservation
//! must be a constant, hence the classes.

use aya_ebpf::{
    EbpfContext as _,
    bindings::{__sk_buff, BPF_RB_NO_WAKEUP},
    helpers::generated::bpf_skb_load_bytes,
    maps::ring_buf::RingBufEntry,
    programs::SkBuffContext,
};
use jotwatch_common::{Counter, MARK_LOSS, MARK_SKIPPED, Record, Settings, TCP_ACK, TO_SERVER};
use jotwatch_ebpf::{
    flow::{Flow, Half},
    scan::{Notes, SLACK},
};

use super::maps::{Count, RECORDS};

/// Memory for a record with up to `(W - SLACK) * 8` payload bytes.
#[repr(C)]
pub(crate) struct Slot<const W: usize> {
    pub(crate) record: Record,
    pub(crate) words: [u64; W],
    pub(crate) notes: Notes,
}

/// `Slot` words for a payload of `n` bytes.
pub(crate) const fn words(n: usize) -> usize {
    n / 8 + SLACK
}

/// A record with what is known of a flow.
#[inline(always)]
pub(crate) fn base(flow: &Flow, cookie: u64) -> Record {
    Record {
        at: 0,
        cookie,
        cgroup: flow.cgroup,
        local: flow.local,
        remote: flow.remote,
        seq: 0,
        ack: 0,
        rcv_nxt: 0,
        len: 0,
        captured: 0,
        local_port: flow.local_port,
        remote_port: flow.remote_port,
        ifindex: 0,
        kind: 0,
        direction: 0,
        tcp_flags: 0,
        family: flow.family,
        marks: 0,
        detail: 0,
        piece: 0,
    }
}

/// The way into the ring for one run of a program.
pub(crate) struct Emit<'a> {
    pub(crate) count: Count,
    pub(crate) settings: &'a Settings,
    pub(super) pending: u32,
    pub(super) now: u64,
}

impl<'a> Emit<'a> {
    #[inline(always)]
    pub(crate) fn new(count: Count, settings: &'a Settings, now: u64) -> Self {
        Self { count, settings, pending: count.pending(settings, now), now }
    }

    /// Bodies are to be given up.
    #[inline(always)]
    pub(crate) fn pressure(&self) -> bool {
        self.pending > self.settings.pressure_at
    }

    /// Flags for submitting `size` bytes.
    #[inline(always)]
    fn wake(&mut self, size: u32) -> u64 {
        self.pending += size;
        self.count.put(self.settings, self.now, self.pending, size)
    }

    /// A record without payload. `false` if the ring is full.
    #[inline(always)]
    pub(crate) fn bare(&mut self, record: &Record) -> bool {
        self.bare_with(record, |_| {})
    }

    #[inline(always)]
    fn bare_with(&mut self, record: &Record, change: impl FnOnce(&mut Record)) -> bool {
        let Some(mut entry) = RECORDS.reserve::<Record>(0) else {
            self.count.add(Counter::RingFullRecords, 1);
            return false;
        };
        change(entry.write(*record));
        let flags = self.wake(size_of::<Record>() as u32);
        entry.submit(flags);
        self.count.add(Counter::Records, 1);
        true
    }

    /// A record without payload that carries the half's loss mark.
    #[inline(always)]
    pub(crate) fn bare_of(&mut self, record: &Record, half: &mut Half) -> bool {
        let mark = if half.lost != 0 { MARK_LOSS } else { 0 };
        let put = self.bare_with(record, |r| r.marks |= mark);
        if put {
            half.lost = 0;
        }
        put
    }

    /// Signals the half's run of skipped bytes, if there is one. `direction` is the half's.
    #[inline(always)]
    pub(crate) fn flush(&mut self, record: &Record, half: &mut Half, direction: u8) {
        if half.hole_len == 0 {
            return;
        }
        let mark = MARK_SKIPPED | if half.lost != 0 { MARK_LOSS } else { 0 };
        let (seq, len) = (half.hole_seq, half.hole_len);
        let put = self.bare_with(record, |r| {
            r.seq = seq;
            r.len = len;
            r.marks |= mark;
            r.tcp_flags &= TCP_ACK;
            if r.direction != direction {
                // The acknowledgement is of the other direction's segment.
                r.direction = direction;
                r.tcp_flags = 0;
                r.ack = 0;
            }
        });
        // Should the ring be full, the run stays and is tried again.
        if put {
            half.lost = 0;
            half.hole_len = 0;
            self.count.add(Counter::Markers, 1);
        }
    }

    /// Reserves a slot and loads `take` bytes at `at` of the packet into it, behind `record`.
    /// `None` if the ring is full. What is reserved must go to [`Emit::submit`].
    #[inline(always)]
    pub(crate) unsafe fn reserve<const W: usize>(
        &mut self,
        skb: *mut __sk_buff,
        record: &Record,
        at: u32,
        take: u32,
    ) -> Option<RingBufEntry<Slot<W>>> {
        let Some(mut entry) = RECORDS.reserve::<Slot<W>>(0) else {
            self.count.add(Counter::RingFullRecords, 1);
            return None;
        };
        let slot = entry.as_mut_ptr();
        // SAFETY: `slot` is reserved memory of this size.
        unsafe {
            (*slot).record = *record;
            // Out to memory and back: the verifier must not take every size that leads here for
            // a case of its own.
            let captured = &raw mut (*slot).record.captured;
            captured.write_volatile(take as u16);
            let size = clamp::<W>(u32::from(captured.read_volatile()));
            let to = (&raw mut (*slot).words).cast();
            if bpf_skb_load_bytes(SkBuffContext::new(skb).as_ptr(), at, to, size) != 0 {
                entry.discard(u64::from(BPF_RB_NO_WAKEUP));
                self.count.add(Counter::ParseFailures, 1);
                return None;
            }
        }
        Some(entry)
    }

    /// Hands a reserved slot to the reader.
    #[inline(always)]
    pub(crate) fn submit<const W: usize>(&mut self, entry: RingBufEntry<Slot<W>>, captured: u32) {
        let flags = self.wake(size_of::<Slot<W>>() as u32);
        entry.submit(flags);
        self.count.add(Counter::Records, 1);
        self.count.add(Counter::CapturedBytes, captured);
    }
}

/// `n` in 1..=payload size of `Slot<W>`, in a way that the verifier sees and LLVM does not
/// optimise away.
#[inline(always)]
pub(super) fn clamp<const W: usize>(n: u32) -> u32 {
    let mut n = u64::from(n);
    let mask = ((W - SLACK) * 8 - 1) as u64;
    // SAFETY: arithmetic on one register.
    unsafe {
        core::arch::asm!(
            "{n} += -1",
            "{n} &= {mask}",
            "{n} += 1",
            n = inout(reg) n,
            mask = in(reg) mask,
            options(pure, nomem, nostack),
        );
    }
    n as u32
}

/// The half of a direction.
#[inline(always)]
pub(crate) fn half_of(flow: &mut Flow, direction: u8) -> &mut Half {
    if direction == TO_SERVER { &mut flow.halves[0] } else { &mut flow.halves[1] }
}
