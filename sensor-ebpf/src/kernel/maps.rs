//! Maps and globals, and the counters.

use aya_ebpf::{
    Global,
    macros::map,
    maps::{Array, LpmTrie, LruHashMap, PerCpuArray, RingBuf},
};
use jotwatch_common::{Counter, Counters, PORT_WORDS, Settings};
use jotwatch_ebpf::flow::Flow;

/// Records for the daemon, in the order in which their memory was reserved.
#[map]
pub(crate) static RECORDS: RingBuf = RingBuf::with_byte_size(16 << 20, 0);

/// State by socket cookie. LRU: what is evicted counts as joined midway when it speaks again.
#[map]
pub(crate) static FLOWS: LruHashMap<u64, Flow> = LruHashMap::with_max_entries(65_536, 0);

/// Cookies of flows that the daemon wants no more of.
#[map]
pub(crate) static CONTROL: LruHashMap<u64, u32> = LruHashMap::with_max_entries(16_384, 0);

/// Bitmap of watched local ports.
#[map]
pub(crate) static PORTS: Array<u64> = Array::with_max_entries(PORT_WORDS, 0);

#[map]
pub(crate) static SETTINGS: Array<Settings> = Array::with_max_entries(1, 0);

#[map]
pub(crate) static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(1, 0);

/// Watched local IPv4 networks.
#[map]
pub(crate) static NETWORKS4: LpmTrie<[u8; 4], u32> = LpmTrie::with_max_entries(4096, 0);

/// Watched local IPv6 networks.
#[map]
pub(crate) static NETWORKS6: LpmTrie<[u8; 16], u32> = LpmTrie::with_max_entries(4096, 0);

/// Offset of `sock_common.skc_cookie` in the running kernel, from its BTF; 0 if not known.
#[unsafe(no_mangle)]
pub(crate) static COOKIE_OFFSET: Global<u32> = Global::new(0);

/// What a flow's state starts from.
pub(crate) static EMPTY: Flow = Flow::NEW;

/// When the reader was last woken. Written without a lock: a lost update costs one wake.
static mut LAST_WAKE: u64 = 0;

#[inline(always)]
pub(crate) fn last_wake() -> u64 {
    // SAFETY: an aligned word.
    unsafe { (&raw const LAST_WAKE).read_volatile() }
}

#[inline(always)]
pub(crate) fn set_last_wake(now: u64) {
    // SAFETY: an aligned word.
    unsafe { (&raw mut LAST_WAKE).write_volatile(now) }
}

/// This CPU's counters.
///
/// Adding is atomic: a program in process context can be interrupted by one in softirq on the
/// same CPU.
#[derive(Clone, Copy)]
pub(crate) struct Count(*mut Counters);

impl Count {
    #[inline(always)]
    pub(crate) fn here() -> Option<Self> {
        COUNTERS.get_ptr_mut(0).map(Self)
    }

    #[inline(always)]
    pub(crate) fn add(self, counter: Counter, n: u32) {
        // SAFETY: the pointer is a live per-CPU map value; `counter` is below `Counter::COUNT`.
        unsafe {
            let value = (&raw mut (*self.0).values).cast::<u64>().add(counter as usize);
            core::arch::asm!(
                "lock *(u64 *)({value} + 0) += {n}",
                value = in(reg) value,
                n = in(reg) u64::from(n),
                options(nostack),
            );
        }
    }
}
