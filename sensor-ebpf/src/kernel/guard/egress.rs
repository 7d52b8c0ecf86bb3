//! cgroup_skb egress: responses, which wait for the verdict on their request.

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::generated::{bpf_get_socket_cookie, bpf_ktime_get_ns},
    macros::cgroup_skb,
    programs::SkBuffContext,
};
use jotwatch_common::{
    Record, TO_CLIENT,
    guard::tables::{Counter, MODE_HOLD, VERDICT_PASS},
};
use jotwatch_ebpf::packet;

use super::{
    ingress::{policy_at, policy_index},
    maps::{TRACKS, VERDICTS, count, is_dead, is_denied_flow},
    read::{load, network},
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
        let cookie = bpf_get_socket_cookie(skb.cast());
        let track = &mut *TRACKS.get_ptr_mut(cookie)?;
        let now = bpf_ktime_get_ns();
        let denied = is_denied_flow(cookie, now);
        if (track.holds == 0 || policy.mode != MODE_HOLD) && !denied {
            return None;
        }
        let mut record: Record = core::mem::zeroed();
        let tcp_at = network::<TO_CLIENT>(skb, &mut record).ok()?;
        let tcp = packet::tcp(&load(skb, tcp_at)?)?;
        if tcp_at + tcp.len >= (*skb).len {
            return None;
        }
        if policy.closed == 0 && is_dead(policy, now) {
            track.holds = 0;
            count(Counter::Unguarded);
            return None;
        }
        let counter = if denied {
            Counter::DeniedFlow
        } else {
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
