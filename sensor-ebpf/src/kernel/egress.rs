//! cgroup_skb egress: what the service sends. Runs in the context of whoever sends: the service
//! itself, or softirq for what an acknowledgement set free.

use aya_ebpf::{macros::cgroup_skb, programs::SkBuffContext};
use jotwatch_common::TO_CLIENT;

use super::segment::segment;

/// Hands the segment on, always: 1 is "pass".
#[cgroup_skb(egress)]
#[inline(always)]
pub(crate) fn jotwatch_egress(ctx: SkBuffContext) -> i32 {
    // SAFETY: the context pointer is the kernel's.
    let _: Option<()> = unsafe { segment::<TO_CLIENT>(ctx.skb.skb) };
    1
}
