//! cgroup_skb ingress: requests, before the service's TCP takes them.

use aya_ebpf::{
    bindings::{__sk_buff, bpf_sock},
    helpers::generated::{
        bpf_get_smp_processor_id, bpf_get_socket_cookie, bpf_ktime_get_ns, bpf_map_update_elem,
        bpf_probe_read_kernel, bpf_sk_fullsock, bpf_skb_cgroup_id, bpf_tcp_sock,
    },
    macros::cgroup_skb,
    programs::SkBuffContext,
};
use jotwatch_common::{
    Record, TCP_SYN, TO_SERVER,
    guard::tables::{Counter, HEAD_CAP, Policy},
};
use jotwatch_ebpf::track::{self, Track};

use super::{
    known,
    maps::{
        BPF_NOEXIST, HANDSHAKES, PIECES, POLICIES, PORT_POLICIES, SCRATCH, TRACKS, count,
        handshake_key, is_allowed_net, is_dead, is_denied_flow, is_denied_net,
    },
    messages::{DENY, PASS, REJECT, WAIT, Walk, read_all, tell_cut},
    read::{Packet, headers, packet_addresses, socket_addresses},
};

const TCP_LISTEN: u32 = 10;
const TCP_NEW_SYN_RECV: u32 = 12;

/// 1 passes the segment, 0 drops it.
#[cgroup_skb(ingress)]
pub(crate) fn guard_ingress(ctx: SkBuffContext) -> i32 {
    // SAFETY: the context pointer is the kernel's.
    unsafe { i32::from(passes(ctx.skb.skb).unwrap_or(true)) }
}

/// The policy of the segment's local port.
#[inline(always)]
pub(super) unsafe fn policy_of(skb: *mut __sk_buff) -> Option<&'static Policy> {
    // SAFETY: live map values.
    unsafe {
        let index = *PORT_POLICIES.get((*skb).local_port)?;
        if index == 0 {
            return None;
        }
        let policy = &*POLICIES.get_ptr(index)?;
        (policy.mode != 0).then_some(policy)
    }
}

/// Drops, but in a dry run.
#[inline(always)]
fn drop_for(counter: Counter, policy: &Policy) -> Option<bool> {
    count(counter);
    if policy.dry_run != 0 {
        count(Counter::Dry);
        return Some(true);
    }
    Some(false)
}

#[inline(always)]
unsafe fn passes(skb: *mut __sk_buff) -> Option<bool> {
    unsafe {
        let policy = policy_of(skb)?;
        let s = &mut *SCRATCH.get_ptr_mut(bpf_get_smp_processor_id() as u32)?;
        let packet = headers(skb).ok()?;
        let Packet { family, tcp, payload_at, len } = packet;
        let sk: *mut bpf_sock = (*skb).__bindgen_anon_2.sk;
        if sk.is_null() {
            return None;
        }
        let sk = bpf_sk_fullsock(sk);
        if sk.is_null() {
            return None;
        }
        let now = bpf_ktime_get_ns();
        let state = (*sk).state;
        let listener = state == TCP_LISTEN || state == TCP_NEW_SYN_RECV;
        let mut cookie = 0;
        let mut record: Record = core::mem::zeroed();
        record.family = family;
        if listener {
            packet_addresses::<TO_SERVER>(skb, &packet, &mut record)?;
        } else {
            cookie = bpf_get_socket_cookie(skb.cast());
            socket_addresses(sk, &mut record);
        }
        let track = if listener { None } else { TRACKS.get_ptr_mut(cookie) };
        if policy.closed == 0 && is_dead(policy, now) {
            if let Some(track) = track {
                (*track).forget();
            }
            if len > 0 {
                count(Counter::Unguarded);
            }
            return Some(true);
        }
        if is_allowed_net(record.family, &record.remote) {
            if let Some(track) = track {
                (*track).forget();
            }
            return Some(true);
        }
        if is_denied_net(record.family, &record.remote, now) {
            return drop_for(Counter::DeniedNetwork, policy);
        }
        if cookie != 0 && is_denied_flow(cookie, now) {
            return drop_for(Counter::DeniedFlow, policy);
        }
        if len == 0 {
            return Some(true);
        }
        count(Counter::Segments);
        s.held.at = now;
        s.held.cookie = cookie;
        s.held.cgroup = bpf_skb_cgroup_id(skb);
        s.held.local = record.local;
        s.held.remote = record.remote;
        s.held.local_port = (*skb).local_port as u16;
        s.held.remote_port = tcp.source;
        s.held.family = u32::from(record.family);
        s.held.flags = 0;
        s.now = now;
        s.len = len;
        s.payload_at = payload_at;
        s.seq = tcp.seq;
        s.mode = u32::from(policy.mode);
        s.keyed = u32::from(policy.mode != 1);
        s.ask_always = u32::from(policy.ask_always);
        s.have = 0;
        s.wide = 0;
        s.piece = 0;
        s.pends = 0;
        s.outcome = PASS;
        s.offset = 0;
        s.holding = 0;
        let cgroup = s.held.cgroup;
        s.taken = 0;
        let track = if listener {
            // Where TCP does not take data with a SYN, it comes again behind it.
            if tcp.flags & TCP_SYN != 0 {
                return drop_for(Counter::Ahead, policy);
            }
            let key = handshake_key(cgroup, &record, s.held.local_port, tcp.source)?;
            match HANDSHAKES.get_ptr_mut(key) {
                Some(track) => track,
                None => return drop_for(Counter::Ahead, policy),
            }
        } else {
            let tp = bpf_tcp_sock(sk);
            if tp.is_null() {
                return None;
            }
            s.taken = (*tp).rcv_nxt;
            match track {
                Some(track) => track,
                None => {
                    let key = handshake_key(cgroup, &record, s.held.local_port, tcp.source)?;
                    let before = HANDSHAKES.get_ptr(key);
                    s.fresh = Track::NEW;
                    s.fresh.born(s.taken, (*tp).bytes_received, before.map(|before| &*before));
                    // Not over that of another processor which was quicker.
                    let _: Result<(), i32> = TRACKS.insert(cookie, &s.fresh, BPF_NOEXIST);
                    TRACKS.get_ptr_mut(cookie)?
                }
            }
        };
        let mut walk = Walk { scratch: s, skb };
        if !lock(&raw mut (*track).busy) {
            return drop_for(Counter::Contended, policy);
        }
        let track = &mut *track;
        let result = tracked(&mut walk, track, policy);
        (&raw mut track.busy).write_volatile(0);
        result
    }
}

/// What a segment that does not pass counts as.
#[inline(always)]
fn counter_of(outcome: u32) -> Counter {
    if outcome == DENY {
        Counter::DeniedToken
    } else if outcome == REJECT {
        Counter::DeniedVerdict
    } else if outcome == WAIT {
        Counter::HeldRequests
    } else {
        Counter::TooLong
    }
}

/// Takes the state for this processor; `false` if another has it.
#[inline(always)]
unsafe fn lock(busy: *mut u64) -> bool {
    let mut value = 1u64;
    // SAFETY: an aligned word of a live map value.
    unsafe {
        core::arch::asm!(
            "{value} = xchg_64({busy} + 0, {value})",
            value = inout(reg) value,
            busy = in(reg) busy,
            options(nostack),
        );
    }
    value == 0
}

/// A segment with payload of a connection whose state is there.
#[inline(always)]
unsafe fn tracked(walk: &mut Walk, track: &mut Track, policy: &Policy) -> Option<bool> {
    unsafe {
        let s = &mut *walk.scratch;
        let now = s.now;
        let listener = s.held.cookie == 0;
        let arrival = if listener {
            track.begin(s.seq, s.len, now)
        } else {
            track.arrive(s.seq, s.len, s.taken, now)
        };
        if arrival == track::OLD || arrival == track::BODY {
            return Some(true);
        }
        if arrival != track::READ {
            let counter = if arrival == track::AHEAD {
                Counter::Ahead
            } else if arrival == track::UNSETTLED {
                Counter::Unsettled
            } else {
                Counter::Broken
            };
            if policy.dry_run != 0 {
                track.forget();
            }
            return drop_for(counter, policy);
        }
        s.offset = track.offset;
        s.have = track.have;
        s.known = u32::from(track.mode == track::KNOWN);
        s.next_mode = track::UNKNOWN;
        s.next = 0;
        // A listening socket's answer can't be held: the request waits instead.
        s.holding = u32::from(listener || track.holds != 0);
        if s.have >= HEAD_CAP {
            return drop_for(Counter::TooLong, policy);
        }
        if s.have > 0 {
            let kept = PIECES.get_ptr(s.held.cookie);
            let Some(kept) = kept else {
                return drop_for(Counter::Broken, policy);
            };
            let to = (&raw mut s.window).cast();
            if bpf_probe_read_kernel(to, HEAD_CAP, kept.cast()) != 0 {
                return drop_for(Counter::Broken, policy);
            }
        }
        if !known::passes(s, walk.skb) {
            read_all(walk);
        }
        let s = &mut *walk.scratch;
        let outcome = s.outcome;
        if outcome == WAIT {
            if track.waits == 0 {
                track.waits = now;
            } else if now.wrapping_sub(track.waits) > policy.hold {
                if policy.closed != 0 {
                    if !listener {
                        tell_cut(&mut s.held);
                    }
                } else {
                    count(Counter::Expired);
                    track.forget();
                    return Some(true);
                }
            }
        }
        if policy.dry_run != 0 && outcome != PASS {
            count(counter_of(outcome));
            count(Counter::Dry);
            track.forget();
            return Some(true);
        }
        if outcome == PASS {
            if s.next_mode == track::UNKNOWN && track.mode == track::UNKNOWN && s.known == 0 {
                count(Counter::Untracked);
                return Some(true);
            }
            if listener && s.piece != 0 {
                return drop_for(Counter::Ahead, policy);
            }
            let until = s.seq.wrapping_add(s.len);
            track.pass(until, s.next, s.next_mode, now);
            if s.piece != 0 {
                let kept = bpf_map_update_elem(
                    (&raw const PIECES).cast_mut().cast(),
                    (&raw const s.held.cookie).cast_mut().cast(),
                    (&raw const s.window).cast_mut().cast(),
                    0,
                );
                if kept == 0 {
                    track.keep_pieces(s.next);
                }
            }
            if s.pends != 0 {
                track.pending = s.pending;
                track.holds = now;
            }
            return Some(true);
        }
        count(counter_of(outcome));
        Some(false)
    }
}
