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
    TCP_SYN, TO_SERVER,
    guard::tables::{
        Counter, FRAMED_UNKNOWN, HEAD_CAP, HELD_BROKEN, HELD_LONG, HELD_MISFRAMED, PORT_PLACES,
        PlaceKey, Policy,
    },
};
use jotwatch_ebpf::track::{self, Track};

use super::{
    known,
    maps::{
        BPF_NOEXIST, CHANGES, HANDSHAKES, PIECES, PLACES, POLICIES, PORT_POLICIES, SCRATCH, TRACKS,
        count, count_here, handshake_key, is_allowed_net, is_dead, is_denied_flow, is_denied_net,
    },
    messages::{DENY, LONG, MISFRAMED, PASS, REJECT, WAIT, Walk, read_all, tell_cut},
    read::{Packet, headers, load, packet_addresses, socket_addresses},
    scratch::{Scratch, clamp},
};

const TCP_LISTEN: u32 = 10;
const TCP_NEW_SYN_RECV: u32 = 12;

/// 1 passes the segment, 0 drops it.
#[cgroup_skb(ingress)]
pub(crate) fn guard_ingress(ctx: SkBuffContext) -> i32 {
    // SAFETY: the context pointer is the kernel's.
    unsafe { i32::from(passes(ctx.skb.skb).unwrap_or(true)) }
}

/// The policy of the segment's service, as an index: of its port, or of its place where the port has
/// several. `local_at`: where an IPv4 and an IPv6 header have the service's address.
#[inline(always)]
pub(super) unsafe fn policy_index(skb: *mut __sk_buff, local_at: (u32, u32)) -> Option<u32> {
    // SAFETY: live map values; the key is whole.
    unsafe {
        let port = (*skb).local_port;
        let index = *PORT_POLICIES.get(port)?;
        if index & PORT_PLACES == 0 {
            return Some(index);
        }
        let mut key: PlaceKey = core::mem::zeroed();
        key.cgroup = bpf_skb_cgroup_id(skb);
        key.port = port;
        let first: [u8; 1] = load(skb, 0)?;
        if first[0] >> 4 == 4 {
            let address: [u8; 4] = load(skb, local_at.0)?;
            key.family = 4;
            key.address[0] = address[0];
            key.address[1] = address[1];
            key.address[2] = address[2];
            key.address[3] = address[3];
        } else {
            key.family = 6;
            key.address = load(skb, local_at.1)?;
        }
        if let Some(index) = PLACES.get_ptr(key) {
            return Some(*index);
        }
        let cgroup = key.cgroup;
        key.cgroup = 0;
        if let Some(index) = PLACES.get_ptr(key) {
            return Some(*index);
        }
        key.cgroup = cgroup;
        key.address = [0; 16];
        key.family = 0;
        if let Some(index) = PLACES.get_ptr(key) {
            return Some(*index);
        }
        key.port = 0;
        if let Some(index) = PLACES.get_ptr(key) {
            return Some(*index);
        }
        Some(index & !PORT_PLACES)
    }
}

/// The policy with this index, if it has a mode.
#[inline(always)]
pub(super) unsafe fn policy_at(index: u32) -> Option<&'static Policy> {
    if index == 0 {
        return None;
    }
    // SAFETY: a live map value.
    let policy = unsafe { &*POLICIES.get_ptr(index)? };
    (policy.mode != 0).then_some(policy)
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
        let index = policy_index(skb, (16, 24))?;
        let policy = policy_at(index)?;
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
        // Not on the stack, which three calls share; and of it only what is written here is read.
        let record = &mut s.record;
        record.family = family;
        if listener {
            packet_addresses::<TO_SERVER>(skb, &packet, record)?;
        } else {
            cookie = bpf_get_socket_cookie(skb.cast());
            socket_addresses(sk, record);
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
        // Before anything is looked up: what changes meanwhile is looked up the next time.
        let changes = CHANGES.get_ptr(0)?;
        s.changes = (*changes).count;
        if track.is_none_or(|track| (*track).clear != s.changes) {
            if is_allowed_net(record.family, &record.remote) {
                if let Some(track) = track {
                    (*track).forget();
                }
                return Some(true);
            }
            if is_denied_net(record.family, &record.remote, now) {
                return drop_for(Counter::DeniedNetwork, policy);
            }
            if cookie != 0 && now < (*changes).flows_until && is_denied_flow(cookie, now) {
                return drop_for(Counter::DeniedFlow, policy);
            }
            if let Some(track) = track {
                (*track).clear = s.changes;
            }
        }
        if len == 0 {
            return Some(true);
        }
        count_here(Counter::Segments);
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
        s.policy = index;
        s.mode = u32::from(policy.mode);
        s.keyed = u32::from(policy.mode != 1);
        s.ask_always = u32::from(policy.ask_always);
        s.body = policy.body;
        s.chunk = 0;
        s.framed = FRAMED_UNKNOWN;
        s.framing = FRAMED_UNKNOWN;
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
            let key = handshake_key(cgroup, record, s.held.local_port, tcp.source)?;
            s.handshake = key;
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
                    let key = handshake_key(cgroup, record, s.held.local_port, tcp.source)?;
                    let before = HANDSHAKES.get_ptr(key);
                    s.fresh = Track::NEW;
                    s.fresh.born(s.taken, (*tp).bytes_received, before.map(|before| &*before));
                    // Not over that of another processor which was quicker.
                    let _: Result<(), i32> = TRACKS.insert(cookie, &s.fresh, BPF_NOEXIST);
                    TRACKS.get_ptr_mut(cookie)?
                }
            }
        };
        if !lock(&raw mut (*track).busy) {
            return drop_for(Counter::Contended, policy);
        }
        let track = &mut *track;
        let mut ready = prepare(s, track, policy);
        if ready.is_none() && known::passes(s, skb) {
            track.pass(s.seq.wrapping_add(len), s.seq.wrapping_add(len), track::KNOWN, now);
            if s.holding == 0 {
                track.holds = 0;
            }
            ready = Some(true);
        }
        if let Some(passes) = ready {
            (&raw mut track.busy).write_volatile(0);
            return Some(passes);
        }
        // What is needed behind it is looked up again: the verifier follows the reader once, not
        // once for each way to here.
        let mut walk = Walk { scratch: s, skb };
        read_all(&mut walk);
        let s = &mut *walk.scratch;
        let track = if s.held.cookie == 0 {
            HANDSHAKES.get_ptr_mut(s.handshake)
        } else {
            TRACKS.get_ptr_mut(s.held.cookie)
        };
        let track = &mut *track?;
        // Without one by now, everything passes.
        let passes = policy_at(s.policy).and_then(|policy| settle(s, track, policy));
        (&raw mut track.busy).write_volatile(0);
        passes
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
    } else if outcome == MISFRAMED {
        Counter::Misframed
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

/// A segment with payload of a connection whose state is there: what becomes of it, or `None` where
/// it is to be read first.
#[inline(always)]
unsafe fn prepare(s: &mut Scratch, track: &mut Track, policy: &Policy) -> Option<bool> {
    unsafe {
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
                return broken(s, track, policy);
            };
            if policy.dry_run != 0 {
                track.forget();
            }
            return drop_for(counter, policy);
        }
        s.offset = track.offset;
        s.have = track.have;
        s.known = u32::from(track.mode == track::KNOWN || track.mode == track::CHUNKS);
        s.chunk = u32::from(track.mode == track::CHUNKS);
        s.pending = track.pending;
        s.next_mode = track::UNKNOWN;
        s.next = 0;
        // A listening socket's answer can't be held: the request waits instead.
        s.holding = u32::from(listener || track.holds != 0);
        if s.have >= HEAD_CAP {
            return broken(s, track, policy);
        }
        if s.have > 0 {
            let kept = PIECES.get_ptr(s.held.cookie);
            let Some(kept) = kept else {
                if track.mode == track::LIKELY {
                    // It need not be a request at all.
                    track.forget();
                    return Some(true);
                }
                return broken(s, track, policy);
            };
            let to = (&raw mut s.window).cast();
            let size = clamp::<{ HEAD_CAP - 1 }>(s.have);
            if bpf_probe_read_kernel(to, size, kept.cast()) != 0 {
                return broken(s, track, policy);
            }
        }
        None
    }
}

/// A segment that was read: whether it passes, and what is known behind it.
#[inline(always)]
unsafe fn settle(s: &mut Scratch, track: &mut Track, policy: &Policy) -> Option<bool> {
    unsafe {
        let (now, outcome) = (s.now, s.outcome);
        let listener = s.held.cookie == 0;
        if outcome == WAIT {
            if track.waits == 0 {
                track.waits = now;
            } else if now.wrapping_sub(track.waits) > policy.hold {
                if policy.closed != 0 {
                    if !listener {
                        tell_cut(&mut s.held, 0);
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
            if s.piece != 0 && keep(s) {
                track.keep_pieces(s.next);
            }
            if s.holding == 0 {
                track.holds = 0;
            }
            if s.pends != 0 {
                track.pending = s.pending;
                track.holds = now;
            }
            return Some(true);
        }
        if listener {
            // Nothing to cut yet: the client sends it again.
        } else if outcome == LONG {
            tell_cut(&mut s.held, HELD_LONG);
        } else if outcome == MISFRAMED {
            tell_cut(&mut s.held, HELD_MISFRAMED);
        }
        count(counter_of(outcome));
        Some(false)
    }
}

/// Nothing passes on this connection any more.
#[inline(always)]
unsafe fn broken(s: &mut Scratch, track: &mut Track, policy: &Policy) -> Option<bool> {
    if policy.dry_run != 0 {
        track.forget();
    } else if s.held.cookie != 0 {
        // SAFETY: `held` is whole.
        unsafe { tell_cut(&mut s.held, HELD_BROKEN) };
    }
    drop_for(Counter::Broken, policy)
}

/// Keeps what the window holds of an unfinished message.
#[inline(always)]
unsafe fn keep(s: &mut Scratch) -> bool {
    // SAFETY: the window is larger than a value, and `piece` is clamped to both.
    unsafe {
        if let Some(kept) = PIECES.get_ptr_mut(s.held.cookie) {
            let size = clamp::<{ HEAD_CAP - 1 }>(s.piece);
            return bpf_probe_read_kernel(kept.cast(), size, (&raw const s.window).cast()) == 0;
        }
        bpf_map_update_elem(
            (&raw const PIECES).cast_mut().cast(),
            (&raw const s.held.cookie).cast_mut().cast(),
            (&raw const s.window).cast_mut().cast(),
            0,
        ) == 0
    }
}
