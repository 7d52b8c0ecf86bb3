//! The guard's maps and counters.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    macros::map,
    maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf, lpm_trie::Key},
};
use jotwatch_common::{
    Record,
    guard::{
        known::Block,
        sip::Sip,
        tables::{
            AllowedKey, Changes, Counter, DenyEntry, HEAD_CAP, MAX_ALLOWED, MAX_BLOCKS,
            MAX_DENIED_FLOWS, MAX_DENIED_TOKENS, MAX_HANDSHAKES, MAX_NETWORKS, MAX_PIECED,
            MAX_PLACES, MAX_POLICIES, MAX_TRACKED, MAX_VERDICTS, PlaceKey, Policy, Settings,
            Verdict,
        },
    },
};
use jotwatch_ebpf::track::Track;

use super::scratch::Scratch;

/// A local port's policy: an index into `POLICIES`.
#[map]
pub(super) static PORT_POLICIES: Array<u32> = Array::with_max_entries(65_536, 0);

/// Policies of some of a port's connections: indices into `POLICIES`.
#[map]
pub(super) static PLACES: HashMap<PlaceKey, u32> =
    HashMap::with_max_entries(MAX_PLACES, BPF_F_NO_PREALLOC);

#[map]
pub(super) static POLICIES: Array<Policy> = Array::with_max_entries(MAX_POLICIES, 0);

#[map]
pub(super) static GUARD_SETTINGS: Array<Settings> = Array::with_max_entries(1, 0);

#[map]
pub(super) static CHANGES: Array<Changes> = Array::with_max_entries(1, 0);

/// When the daemon last beat.
#[map]
pub(super) static HEARTBEAT: Array<u64> = Array::with_max_entries(1, 0);

#[map]
pub(super) static DENIED_TOKENS: HashMap<[u64; 2], DenyEntry> =
    HashMap::with_max_entries(MAX_DENIED_TOKENS, BPF_F_NO_PREALLOC);

#[map]
pub(super) static DENIED_FLOWS: LruHashMap<u64, DenyEntry> =
    LruHashMap::with_max_entries(MAX_DENIED_FLOWS, 0);

#[map]
pub(super) static DENIED_NETS4: LpmTrie<[u8; 4], DenyEntry> =
    LpmTrie::with_max_entries(MAX_NETWORKS, BPF_F_NO_PREALLOC);

#[map]
pub(super) static DENIED_NETS6: LpmTrie<[u8; 16], DenyEntry> =
    LpmTrie::with_max_entries(MAX_NETWORKS, BPF_F_NO_PREALLOC);

#[map]
pub(super) static ALLOWED_NETS4: LpmTrie<[u8; 4], u32> =
    LpmTrie::with_max_entries(MAX_NETWORKS, BPF_F_NO_PREALLOC);

#[map]
pub(super) static ALLOWED_NETS6: LpmTrie<[u8; 16], u32> =
    LpmTrie::with_max_entries(MAX_NETWORKS, BPF_F_NO_PREALLOC);

/// Credentials that were judged, and until when they pass.
#[map]
pub(super) static ALLOWED: LruHashMap<AllowedKey, u64> =
    LruHashMap::with_max_entries(MAX_ALLOWED, 0);

#[map]
pub(super) static VERDICTS: LruHashMap<[u64; 2], Verdict> =
    LruHashMap::with_max_entries(MAX_VERDICTS, 0);

/// Lines of heads that were read, by their digest.
#[map]
pub(super) static BLOCKS: LruHashMap<u64, Block> = LruHashMap::with_max_entries(MAX_BLOCKS, 0);

/// By socket cookie.
#[map]
pub(super) static TRACKS: LruHashMap<u64, Track> = LruHashMap::with_max_entries(MAX_TRACKED, 0);

/// Connections that have no socket of their own yet, by a keyed hash of their addresses. Apart from
/// `TRACKS`, or a flood of SYNs would make the guard forget established ones.
#[map]
pub(super) static HANDSHAKES: LruHashMap<u64, Track> =
    LruHashMap::with_max_entries(MAX_HANDSHAKES, 0);

/// The first bytes of messages that come in pieces, by socket cookie.
#[map]
pub(super) static PIECES: LruHashMap<u64, [u8; HEAD_CAP as usize]> =
    LruHashMap::with_max_entries(MAX_PIECED, 0);

/// One for each processor: larger than a per-CPU map's value may be. Only ingress uses it, which
/// runs in softirq and is not interrupted by itself.
#[map]
pub(super) static SCRATCH: Array<Scratch> = Array::with_max_entries(1, 0);

#[map]
pub(super) static HELD: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

#[map]
pub(super) static GUARD_COUNTERS: PerCpuArray<[u64; Counter::COUNT]> =
    PerCpuArray::with_max_entries(1, 0);

/// Of `bpf_map_update_elem`: only if it is not there yet (linux/bpf.h).
pub(super) const BPF_NOEXIST: u64 = 1;

pub(super) static EMPTY: Track = Track::NEW;

/// Where the state of a connection is that has no socket of its own yet. Addresses are those of a
/// segment in the service's eyes: behind the translation of the host on its way in, before it on
/// its way out.
#[inline(always)]
pub(super) fn handshake_key(
    cgroup: u64,
    record: &Record,
    service: u16,
    client: u16,
) -> Option<u64> {
    let settings = GUARD_SETTINGS.get_ptr(0)?;
    // SAFETY: a live map value.
    let mut hash = Sip::new(unsafe { (*settings).terms.secret });
    hash.word(cgroup);
    hash.word(u64::from(service) << 16 | u64::from(client));
    let local: *const u64 = (&raw const record.local).cast();
    let remote: *const u64 = (&raw const record.remote).cast();
    // SAFETY: an address is 16 bytes at a multiple of 8.
    unsafe {
        hash.word(*local);
        hash.word(*local.add(1));
        hash.word(*remote);
        hash.word(*remote.add(1));
    }
    let [key, _] = hash.finish();
    Some(key)
}

/// Adds one to a counter that ingress alone has: it runs in softirq and is not interrupted by itself.
#[inline(always)]
pub(super) fn count_here(counter: Counter) {
    let Some(values) = GUARD_COUNTERS.get_ptr_mut(0) else { return };
    // SAFETY: `counter` is below `Counter::COUNT`.
    unsafe { *values.cast::<u64>().add(counter as usize) += 1 };
}

/// Adds one; atomic, as a sender can be interrupted by softirq.
#[inline(always)]
pub(super) fn count(counter: Counter) {
    let Some(values) = GUARD_COUNTERS.get_ptr_mut(0) else { return };
    // SAFETY: `counter` is below `Counter::COUNT`.
    unsafe {
        let value = values.cast::<u64>().add(counter as usize);
        core::arch::asm!(
            "lock *(u64 *)({value} + 0) += {n}",
            value = in(reg) value,
            n = in(reg) 1u64,
            options(nostack),
        );
    }
}

/// When the daemon last beat is too long ago.
#[inline(always)]
pub(super) fn is_dead(policy: &Policy, now: u64) -> bool {
    let Some(&beat) = HEARTBEAT.get(0) else { return true };
    now.saturating_sub(beat) > policy.heartbeat
}

#[inline(always)]
pub(super) fn is_allowed_net(family: u8, remote: &[u8; 16]) -> bool {
    if family == 4 {
        ALLOWED_NETS4.get(&Key::new(32, [remote[0], remote[1], remote[2], remote[3]])).is_some()
    } else {
        ALLOWED_NETS6.get(&Key::new(128, *remote)).is_some()
    }
}

#[inline(always)]
pub(super) fn is_denied_net(family: u8, remote: &[u8; 16], now: u64) -> bool {
    let entry = if family == 4 {
        DENIED_NETS4.get(&Key::new(32, [remote[0], remote[1], remote[2], remote[3]]))
    } else {
        DENIED_NETS6.get(&Key::new(128, *remote))
    };
    entry.is_some_and(|entry| now < entry.until)
}

#[inline(always)]
pub(super) fn is_denied_flow(cookie: u64, now: u64) -> bool {
    // SAFETY: a copy of a word that is written whole.
    DENIED_FLOWS.get_ptr(cookie).is_some_and(|entry| now < unsafe { (*entry).until })
}
