//! cgroup_skb egress: responses, which wait for the verdict on their request.

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::generated::{bpf_get_socket_cookie, bpf_ktime_get_ns, bpf_skb_cgroup_id},
    macros::cgroup_skb,
    programs::SkBuffContext,
};
use jotwatch_common::{
    Record, TCP_ACK, TCP_SYN, TO_CLIENT,
    guard::tables::{Counter, MODE_HOLD, VERDICT_PASS},
};

use super::{
    ingress::{policy_at, policy_index},
    maps::{
        BPF_NOEXIST, CHANGES, EMPTY, HANDSHAKES, TRACKS, VERDICTS, count, handshake_key, is_dead,
        is_denied_flow,
    },
    read::{Packet, headers, packet_addresses},
};

/// 1 passes the segment; 0 drops it, and TCP sends it again by itself.
#[cgroup_skb(egress)]
pub(crate) fn guard_egress(ctx: SkBuffContext) -> i32 {
    // SAFETY: the context pointer is the kernel's.
    unsafe { i32::from(passes(ctx.skb.skb).unwrap_or(true)) }
}

#[inline(always)]
unsafe fn passes(skb: *mut __sk_buff) -> Option<bool> {
    unsafe {
        let policy = policy_at(policy_index(skb, (12, 8))?)?;
        let packet = headers(skb).ok()?;
        if packet.tcp.flags & (TCP_SYN | TCP_ACK) == TCP_SYN | TCP_ACK {
            answers_syn(skb, &packet);
            return None;
        }
        if packet.len == 0 {
            return None;
        }
        // The connection's state is the receiving processor's, as long as nothing waits.
        let flows_until = (*CHANGES.get_ptr(0)?).flows_until;
        if flows_until == 0 && policy.mode != MODE_HOLD {
            return None;
        }
        let now = bpf_ktime_get_ns();
        if now >= flows_until && policy.mode != MODE_HOLD {
            return None;
        }
        let cookie = bpf_get_socket_cookie(skb.cast());
        let denied = now < flows_until && is_denied_flow(cookie, now);
        let track = TRACKS.get_ptr_mut(cookie);
        let holds = policy.mode == MODE_HOLD && track.is_some_and(|track| (*track).holds != 0);
        if !holds && !denied {
            return None;
        }
        if policy.closed == 0 && is_dead(policy, now) {
            if let Some(track) = track {
                (*track).holds = 0;
            }
            count(Counter::Unguarded);
            return None;
        }
        let counter = if denied {
            Counter::DeniedFlow
        } else {
            let track = &mut *track?;
            let verdict = VERDICTS.get_ptr(track.pending);
            match verdict {
                Some(verdict) if now < (*verdict).until => {
                    if (*verdict).pass == VERDICT_PASS {
                        track.holds = 0;
                        return None;
                    }
                    Counter::DeniedVerdict
                }
                _ => {
                    if policy.closed == 0 && now.wrapping_sub(track.holds) > policy.hold {
                        track.holds = 0;
                        count(Counter::Expired);
                        return None;
                    }
                    Counter::HeldResponses
                }
            }
        };
        count(counter);
        if policy.dry_run != 0 {
            count(Counter::Dry);
            return None;
        }
        Some(false)
    }
}

/// Notes where the connection's first byte will be, of TCP's answer to a SYN: only that says which
/// SYN counts.
#[inline(always)]
unsafe fn answers_syn(skb: *mut __sk_buff, packet: &Packet) -> Option<()> {
    unsafe {
        let mut record: Record = core::mem::zeroed();
        packet_addresses::<TO_CLIENT>(skb, packet, &mut record)?;
        let tcp = &packet.tcp;
        let cgroup = bpf_skb_cgroup_id(skb);
        let key = handshake_key(cgroup, &record, tcp.source, tcp.destination)?;
        let track = match HANDSHAKES.get_ptr_mut(key) {
            Some(track) => track,
            None => {
                let _: Result<(), i32> = HANDSHAKES.insert(key, &EMPTY, BPF_NOEXIST);
                HANDSHAKES.get_ptr_mut(key)?
            }
        };
        (*track).expect(tcp.ack);
        Some(())
    }
}
