//! One TCP segment at a cgroup_skb hook.
//!
//! Most segments of a service are of a few plain kinds, and those are told apart with as few
//! look-ups as possible: an acknowledgement that tells nothing new ends in [`quick::tells_nothing`],
//! a message in one segment whose bytes are all copied in [`quick::Quick::copy`]. Everything else goes
//! through [`Run`].

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::generated::{
        bpf_get_socket_cookie, bpf_ktime_get_ns, bpf_skb_cgroup_id, bpf_tcp_sock,
    },
    maps::lpm_trie::Key,
};
use jotwatch_common::{
    Counter, MARK_LISTENER, MARK_RCV_NXT, Record, Settings, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN,
};
use jotwatch_ebpf::flow::{EARLY, Flow};

use super::{
    emit::Emit,
    maps::{Count, EMPTY, FLOWS, NETWORKS4, NETWORKS6, PORTS, SETTINGS},
    quick,
    read::{Packet, headers, packet_addresses, socket_addresses},
    run::Run,
};

const TCP_LISTEN: u32 = 10;
const TCP_NEW_SYN_RECV: u32 = 12;

#[inline(always)]
fn watched_address(settings: &Settings, family: u8, local: &[u8; 16]) -> bool {
    if settings.by_address == 0 {
        return true;
    }
    if family == 4 {
        let key = Key::new(32, [local[0], local[1], local[2], local[3]]);
        NETWORKS4.get(&key).is_some()
    } else {
        NETWORKS6.get(&Key::new(128, *local)).is_some()
    }
}

/// Handles one segment of a watched port. `None` is "nothing more to do".
#[inline(always)]
pub(crate) unsafe fn segment<const DIRECTION: u8>(skb: *mut __sk_buff) -> Option<()> {
    unsafe {
        let port = (*skb).local_port;
        let bits = *PORTS.get(port >> 6)?;
        if bits >> (port & 63) & 1 == 0 {
            return None;
        }
        let settings = &*SETTINGS.get_ptr(0)?;
        let count = Count::here()?;
        let packet = match headers(skb) {
            Ok(packet) => packet,
            Err(malformed) => {
                if malformed {
                    count.add(Counter::ParseFailures, 1);
                }
                return None;
            }
        };
        // The hooks give full sockets only.
        let sk = (*skb).__bindgen_anon_2.sk;
        if sk.is_null() {
            return None;
        }
        let state = (*sk).state;
        if state == TCP_LISTEN || state == TCP_NEW_SYN_RECV {
            return listener::<DIRECTION>(skb, &packet, settings, count);
        }
        if quick::is_silent::<DIRECTION>(&packet, settings) {
            count.add(Counter::Segments, 1);
            return None;
        }
        let cookie = bpf_get_socket_cookie(skb.cast());
        let flow = FLOWS.get_ptr_mut(cookie);
        if let Some(flow) = flow {
            let flow = &mut *flow;
            if quick::tells_nothing::<DIRECTION>(flow, &packet) {
                count.add(Counter::Segments, 1);
                return None;
            }
            let quick = quick::Quick { skb, sk, cookie, packet, settings, count };
            if quick.copy::<DIRECTION>(flow) {
                return None;
            }
        }
        let tp = bpf_tcp_sock(sk);
        if tp.is_null() {
            return None;
        }
        let now = bpf_ktime_get_ns();
        let mut run = Run::new::<DIRECTION>(skb, &packet, Emit::new(count, settings, now));
        let record = &mut run.record;
        record.cookie = cookie;
        record.rcv_nxt = (*tp).rcv_nxt;
        record.marks = MARK_RCV_NXT;
        let received = (*tp).bytes_received;
        if let Some(flow) = flow {
            // A connection with state is of a watched address.
            name_by(record, &*flow);
        } else {
            record.cgroup = bpf_skb_cgroup_id(skb);
            socket_addresses(sk, record);
            if !watched_address(settings, record.family, &record.local) {
                count.add(Counter::FilteredAddress, 1);
                return None;
            }
        }
        count.add(Counter::Segments, 1);
        count.add(Counter::PayloadBytes, packet.len);
        let flow = match flow {
            Some(flow) => flow,
            // Nothing to keep state for yet: only what closes or resets is told.
            None if packet.len == 0 => {
                if packet.tcp.flags & (TCP_SYN | TCP_ACK) == TCP_SYN {
                    run.note_opening();
                } else if packet.tcp.flags & (TCP_FIN | TCP_RST) != 0 {
                    run.emit.bare(&run.record);
                }
                return None;
            }
            None => {
                // From a static: the stack has no room for another.
                let _: Result<(), i32> = FLOWS.insert(cookie, &EMPTY, 0);
                match FLOWS.get_ptr_mut(cookie) {
                    Some(flow) => {
                        (*flow).cgroup = run.record.cgroup;
                        (*flow).local = run.record.local;
                        (*flow).remote = run.record.remote;
                        (*flow).local_port = run.record.local_port;
                        (*flow).remote_port = run.record.remote_port;
                        (*flow).family = run.record.family;
                        (*flow).turn = DIRECTION ^ 1;
                        (*flow).suspect = if received == 0 { 0 } else { EARLY };
                        flow
                    }
                    None => {
                        count.add(Counter::StateFailures, 1);
                        run.stateless();
                        return None;
                    }
                }
            }
        };
        let flow = &mut *flow;
        if flow.suspect != 0 && received != 0 {
            run.judge(flow, received as u32);
        }
        if packet.len == 0 {
            run.empty::<DIRECTION>(flow);
        } else {
            run.with_payload::<DIRECTION>(flow, received == 0);
        }
        Some(())
    }
}

/// A segment that the listening socket handles: the connection has none of its own yet.
#[inline(always)]
unsafe fn listener<const DIRECTION: u8>(
    skb: *mut __sk_buff,
    packet: &Packet,
    settings: &Settings,
    count: Count,
) -> Option<()> {
    unsafe {
        let now = bpf_ktime_get_ns();
        let mut run = Run::new::<DIRECTION>(skb, packet, Emit::new(count, settings, now));
        let record = &mut run.record;
        record.cgroup = bpf_skb_cgroup_id(skb);
        record.marks = MARK_LISTENER;
        packet_addresses::<DIRECTION>(skb, packet, record)?;
        if !watched_address(settings, record.family, &record.local) {
            count.add(Counter::FilteredAddress, 1);
            return None;
        }
        count.add(Counter::Segments, 1);
        count.add(Counter::PayloadBytes, packet.len);
        count.add(Counter::ListenerSegments, 1);
        run.listener::<DIRECTION>()?;
        run.stateless();
        None
    }
}

/// Copies what names the connection.
#[inline(always)]
fn name_by(record: &mut Record, flow: &Flow) {
    record.cgroup = flow.cgroup;
    record.local = flow.local;
    record.remote = flow.remote;
    record.local_port = flow.local_port;
    record.remote_port = flow.remote_port;
    record.family = flow.family;
}
