//! cgroup_skb ingress: what arrives for the service. Runs in softirq, before TCP looks at the
//! segment.

use aya_ebpf::{macros::cgroup_skb, programs::SkBuffContext};
use jotwatch_common::TO_SERVER;

use super::segment::segment;

/// Hands the segment on, always: 1 is "pass".
#[cgroup_skb(ingress)]
#[inline(always)]
pub(crate) fn jotwatch_ingress(ctx: SkBuffContext) -> i32 {
    // SAFETY: the context pointer is the kernel's.
    let _: Option<()> = unsafe { segment::<TO_SERVER>(ctx.skb.skb) };
    1
}
