//! Raw tracepoint `inet_sock_set_state`: connections that end.
//!
//! It fires for every socket of the host; only sockets whose cookie is in `FLOWS` go further.
//! Without the cookie's offset it does nothing, and state ages out of the LRU.

use aya_ebpf::{
    helpers::{bpf_ktime_get_ns, bpf_probe_read_kernel},
    macros::raw_tracepoint,
    programs::RawTracePointContext,
};
use jotwatch_common::{KIND_CLOSED, KIND_SEGMENT, Record, TO_CLIENT, TO_SERVER};

use super::{
    emit::{Emit, base},
    maps::{COOKIE_OFFSET, Count, FLOWS, SETTINGS},
};

const TCP_CLOSE: u32 = 7;

/// `(const struct sock *sk, const int oldstate, const int newstate)`.
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub(crate) fn jotwatch_state(ctx: RawTracePointContext) -> i32 {
    // SAFETY: arguments are the tracepoint's.
    let _: Option<()> = unsafe { closed(&ctx) };
    0
}

#[inline(always)]
unsafe fn closed(ctx: &RawTracePointContext) -> Option<()> {
    if ctx.arg::<u32>(2) != TCP_CLOSE {
        return None;
    }
    let offset = COOKIE_OFFSET.load();
    if offset == 0 {
        return None;
    }
    let sock: *const u8 = ctx.arg(0);
    // SAFETY: the helper checks the address.
    let cookie: u64 =
        unsafe { bpf_probe_read_kernel(sock.wrapping_add(offset as usize).cast()) }.ok()?;
    if cookie == 0 {
        return None;
    }
    let flow = FLOWS.get_ptr_mut(cookie)?;
    let count = Count::here()?;
    let settings = SETTINGS.get_ptr(0)?;
    // SAFETY: a live map value.
    let (flow_ref, settings) = unsafe { (&mut *flow, &*settings) };
    let mut record: Record = base(flow_ref, cookie);
    record.at = unsafe { bpf_ktime_get_ns() };
    let mut emit = Emit::new(count, settings, record.at);
    record.kind = KIND_SEGMENT;
    emit.flush(&record, &mut flow_ref.halves[0], TO_SERVER);
    emit.flush(&record, &mut flow_ref.halves[1], TO_CLIENT);
    record.kind = KIND_CLOSED;
    emit.bare(&record);
    let _: Result<(), i32> = FLOWS.remove(cookie);
    Some(())
}
