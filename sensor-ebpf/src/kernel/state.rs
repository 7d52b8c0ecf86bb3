//! Raw tracepoint `inet_sock_set_state`: connections that open and end.
//!
//! It fires for every socket of the host. A connection that opens has no cookie yet and tells
//! nothing of its cgroup, so it is known by its name: the ingress program noted it at the SYN
//! (the egress program where the service connects from a watched port). At that moment its
//! `rcv_nxt` is the sequence number of the client's first byte, or behind the data that a Fast
//! Open brought. One that ends is known by its cookie or, if it never carried a byte, by its name.
//!
//! Without the offsets of the running kernel the program is not loaded: the first byte then opens
//! a connection, and state ages out of the LRU.

use aya_ebpf::{
    helpers::{bpf_ktime_get_ns, bpf_probe_read_kernel},
    macros::raw_tracepoint,
    programs::RawTracePointContext,
};
use jotwatch_common::{
    KIND_CLOSED, KIND_OPENED, KIND_SEGMENT, MARK_RCV_NXT, Offset, Record, TO_CLIENT, TO_SERVER,
};
use jotwatch_ebpf::flow::Flow;

use super::{
    emit::{Emit, base},
    maps::{Count, EMPTY, FLOWS, OFFSETS, OPENING, PORTS, SETTINGS, name_of},
};

const AF_INET: u16 = 2;
const TCP_ESTABLISHED: u32 = 1;
const TCP_CLOSE: u32 = 7;
/// `::ffff:0:0/96` in the third word of an address.
const MAPPED: u32 = u32::from_be(0xffff);

/// `(const struct sock *sk, const int oldstate, const int newstate)`.
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub(crate) fn jotwatch_state(ctx: RawTracePointContext) -> i32 {
    let socket = Socket(ctx.arg(0));
    let state = ctx.arg::<u32>(2);
    // SAFETY: arguments are the tracepoint's.
    let _: Option<()> = unsafe {
        match state {
            TCP_ESTABLISHED => opened(&socket),
            TCP_CLOSE => closed(&socket),
            _ => None,
        }
    };
    0
}

/// A `struct sock` of the kernel.
struct Socket(*const u8);

impl Socket {
    #[inline(always)]
    unsafe fn read<T>(&self, offset: Offset) -> Option<T> {
        let at = OFFSETS.load()[offset as usize];
        // SAFETY: the helper checks the address.
        unsafe { bpf_probe_read_kernel(self.0.wrapping_add(at as usize).cast()) }.ok()
    }

    /// Notes the connection's name in `record`. `None` if its port is not watched.
    #[inline(always)]
    unsafe fn name(&self, record: &mut Record) -> Option<()> {
        // SAFETY: of `read`.
        unsafe {
            let port = u16::from_be(self.read(Offset::LocalPort)?);
            let bits = *PORTS.get(u32::from(port) >> 6)?;
            if bits >> (port & 63) & 1 == 0 {
                return None;
            }
            record.local_port = port;
            record.remote_port = u16::from_be(self.read(Offset::RemotePort)?);
            let mut family = self.read::<u16>(Offset::Family)?;
            if family != AF_INET {
                let remote: [u32; 4] = self.read(Offset::Remote6)?;
                if remote[0] == 0 && remote[1] == 0 && remote[2] == MAPPED {
                    family = AF_INET;
                }
            }
            if family == AF_INET {
                record.family = 4;
                let local: [u8; 4] = self.read(Offset::Local4)?;
                let remote: [u8; 4] = self.read(Offset::Remote4)?;
                record.local[..4].copy_from_slice(&local);
                record.remote[..4].copy_from_slice(&remote);
            } else {
                record.family = 6;
                record.local = self.read(Offset::Local6)?;
                record.remote = self.read(Offset::Remote6)?;
            }
        }
        Some(())
    }
}

#[inline(always)]
unsafe fn opened(socket: &Socket) -> Option<()> {
    // SAFETY: of the helpers.
    unsafe {
        let mut record = base(&EMPTY, 0);
        socket.name(&mut record)?;
        record.cgroup = (*OPENING.get_ptr(&name_of(&record))?).cgroup;
        record.cookie = socket.read(Offset::Cookie)?;
        record.rcv_nxt = socket.read(Offset::RcvNxt)?;
        record.marks = MARK_RCV_NXT;
        record.kind = KIND_OPENED;
        tell(&mut record, None)
    }
}

#[inline(always)]
unsafe fn closed(socket: &Socket) -> Option<()> {
    // SAFETY: of the helpers.
    unsafe {
        let cookie: u64 = socket.read(Offset::Cookie)?;
        let flow = if cookie == 0 { None } else { FLOWS.get_ptr_mut(cookie) };
        let mut record;
        match flow {
            Some(flow) => {
                record = base(&*flow, cookie);
            }
            None => {
                record = base(&EMPTY, cookie);
                socket.name(&mut record)?;
                record.cgroup = (*OPENING.get_ptr(&name_of(&record))?).cgroup;
            }
        }
        let _: Result<(), i32> = OPENING.remove(&name_of(&record));
        record.kind = KIND_CLOSED;
        tell(&mut record, flow)?;
        if flow.is_some() {
            let _: Result<(), i32> = FLOWS.remove(cookie);
        }
    }
    Some(())
}

/// Puts the record in the ring, behind what is left to say of the flow.
#[inline(always)]
unsafe fn tell(record: &mut Record, flow: Option<*mut Flow>) -> Option<()> {
    let count = Count::here()?;
    let settings = SETTINGS.get_ptr(0)?;
    // SAFETY: live map values.
    unsafe {
        record.at = bpf_ktime_get_ns();
        let mut emit = Emit::new(count, &*settings, record.at);
        if let Some(flow) = flow {
            let kind = record.kind;
            record.kind = KIND_SEGMENT;
            emit.flush(record, &mut (*flow).halves[0], TO_SERVER);
            emit.flush(record, &mut (*flow).halves[1], TO_CLIENT);
            record.kind = kind;
        }
        emit.bare(record);
    }
    Some(())
}
