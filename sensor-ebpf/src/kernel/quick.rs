//! The plain segments: what [`Run`](super::run::Run) would do with them in fewer steps.

use aya_ebpf::{
    EbpfContext as _,
    bindings::{__sk_buff, BPF_RB_NO_WAKEUP, bpf_sock},
    helpers::generated::{bpf_ktime_get_ns, bpf_skb_load_bytes, bpf_tcp_sock},
    programs::SkBuffContext,
};
use jotwatch_common::{
    KIND_SEGMENT, MARK_RCV_NXT, MARK_REQUEST, Record, Settings, TCP_FIN, TCP_PSH, TCP_RST, TCP_SYN,
    TO_CLIENT, TO_SERVER,
};
use jotwatch_ebpf::{
    flow::{Flow, Segment},
    scan::SLACK,
};

use super::{
    emit::{Slot, clamp, words},
    maps::{Count, RECORDS, WHOLE},
    read::Packet,
};

/// A client's bare acknowledgement is never told, whatever is known of the connection.
#[inline(always)]
pub(super) fn is_silent<const DIRECTION: u8>(packet: &Packet, settings: &Settings) -> bool {
    DIRECTION == TO_SERVER
        && packet.len == 0
        && packet.tcp.flags & (TCP_SYN | TCP_FIN | TCP_RST) == 0
        && settings.by_address == 0
}

/// Without payload, and nothing to tell or to judge.
#[inline(always)]
pub(super) fn tells_nothing<const DIRECTION: u8>(flow: &Flow, packet: &Packet) -> bool {
    packet.len == 0
        && packet.tcp.flags & (TCP_FIN | TCP_RST) == 0
        && flow.suspect == 0
        && !(DIRECTION == TO_CLIENT && flow.awaits(packet.tcp.ack))
}

/// A segment with payload of a connection that has state.
pub(super) struct Quick<'a> {
    pub(super) skb: *mut __sk_buff,
    pub(super) sk: *mut bpf_sock,
    pub(super) cookie: u64,
    pub(super) packet: Packet,
    pub(super) settings: &'a Settings,
    pub(super) count: Count,
}

impl Quick<'_> {
    /// Copies it as one record. `false`: nothing is changed or told.
    #[inline(always)]
    pub(super) unsafe fn copy<const DIRECTION: u8>(&self, flow: &mut Flow) -> bool {
        let len = self.packet.len;
        if !flow.expects_plain(DIRECTION, self.packet.tcp.seq, len)
            || (DIRECTION == TO_SERVER && flow.stops != self.settings.stops)
            || (DIRECTION == TO_CLIENT && flow.whole != 0)
        {
            return false;
        }
        unsafe {
            if len <= 256 {
                self.copy_as::<DIRECTION, { words(256) }>(flow)
            } else if len <= 1024 {
                self.copy_as::<DIRECTION, { words(1024) }>(flow)
            } else {
                self.copy_as::<DIRECTION, { words(2048) }>(flow)
            }
        }
    }

    #[inline(always)]
    unsafe fn copy_as<const DIRECTION: u8, const W: usize>(&self, flow: &mut Flow) -> bool {
        let Packet { family: _, tcp, payload_at, len } = self.packet;
        unsafe {
            let tp = bpf_tcp_sock(self.sk);
            if tp.is_null() {
                return false;
            }
            let rcv_nxt = (*tp).rcv_nxt;
            let now = bpf_ktime_get_ns();
            let pending = self.count.pending(self.settings, now);
            let budget = if pending > self.settings.pressure_at {
                0
            } else if DIRECTION == TO_SERVER {
                self.settings.request_budget
            } else {
                self.settings.response_budget
            };
            // Should the ring be full, it is again a moment later, and counted then.
            let Some(mut entry) = RECORDS.reserve::<Slot<W>>(0) else { return false };
            let slot: *mut Slot<W> = entry.as_mut_ptr();
            let to = &raw mut (*slot).words;
            let size = clamp::<W>(len);
            let skb = SkBuffContext::new(self.skb).as_ptr();
            if bpf_skb_load_bytes(skb, payload_at, to.cast(), size) != 0 {
                entry.discard(u64::from(BPF_RB_NO_WAKEUP));
                return false;
            }
            let s = Segment {
                direction: DIRECTION,
                seq: tcp.seq,
                len,
                push: tcp.flags & TCP_PSH != 0,
                fresh: false,
                first: u64::from_le((*to)[0]),
                last: last_of::<W>(to, size),
            };
            // Whether its answer is copied further than others is decided at length.
            if (DIRECTION == TO_SERVER && may_be_whole(s.first)) || !flow.plain(&s, budget) {
                entry.discard(u64::from(BPF_RB_NO_WAKEUP));
                return false;
            }
            (&raw mut (*slot).record).write(Record {
                at: now,
                cookie: self.cookie,
                cgroup: flow.cgroup,
                local: flow.local,
                remote: flow.remote,
                local_port: flow.local_port,
                remote_port: flow.remote_port,
                seq: tcp.seq,
                ack: tcp.ack,
                len,
                rcv_nxt,
                captured: len as u16,
                ifindex: (*self.skb).ifindex as u16,
                kind: KIND_SEGMENT,
                direction: DIRECTION,
                tcp_flags: tcp.flags,
                family: flow.family,
                marks: if DIRECTION == TO_SERVER {
                    MARK_RCV_NXT | MARK_REQUEST
                } else {
                    MARK_RCV_NXT
                },
                detail: 0,
                piece: 0,
            });
            let size = size_of::<Slot<W>>() as u32;
            let flags = self.count.put(self.settings, now, pending + size, size);
            entry.submit(flags);
            self.count.add_whole::<DIRECTION>(len);
            if DIRECTION == TO_SERVER {
                flow.whole = 0;
                flow.copied(tcp.seq, len);
            } else {
                let _: bool = flow.confirms(tcp.ack);
            }
        }
        true
    }
}

/// Whether a request that begins with these bytes may be for one of the targets of which the answers
/// are copied further than others.
#[inline(always)]
fn may_be_whole(first: u64) -> bool {
    let Some(targets) = WHOLE.get_ptr(0) else { return false };
    // SAFETY: a live map value.
    unsafe { (*targets).iter().any(|target| target.first == first) }
}

/// The last four of `len` bytes, at least as many.
#[inline(always)]
unsafe fn last_of<const W: usize>(words: *const [u64; W], len: u32) -> u32 {
    let value: u64;
    // SAFETY: the mask keeps the address within the payload's memory and the words behind it.
    unsafe {
        let mut at = u64::from(len);
        core::arch::asm!(
            "{at} += -4",
            "{at} &= {mask}",
            at = inout(reg) at,
            mask = in(reg) ((W - SLACK) * 8 - 1) as u64,
            options(pure, nomem, nostack),
        );
        core::arch::asm!(
            "{value} = *(u32 *)({from} + 0)",
            value = out(reg) value,
            from = in(reg) words.cast::<u8>().add(at as usize),
            options(readonly, nostack),
        );
    }
    u32::from_le(value as u32)
}
