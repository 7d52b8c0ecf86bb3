//! Maps and globals, and the counters.

use aya_ebpf::{
    Global,
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    macros::map,
    maps::{Array, LpmTrie, LruHashMap, PerCpuArray, RingBuf},
};
use jotwatch_common::{
    Counter, Name, Offset, PORT_WORDS, PerCpu, Record, Settings, TARGETS, TO_SERVER, Target,
};
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

/// Request targets of which the answers are copied further than others.
#[map]
pub(crate) static WHOLE: Array<[Target; TARGETS]> = Array::with_max_entries(1, 0);

#[map]
pub(crate) static COUNTERS: PerCpuArray<PerCpu> = PerCpuArray::with_max_entries(1, 0);

/// Watched local IPv4 networks.
#[map]
pub(crate) static NETWORKS4: LpmTrie<[u8; 4], u32> = LpmTrie::with_max_entries(4096, 0);

/// Watched local IPv6 networks.
#[map]
pub(crate) static NETWORKS6: LpmTrie<[u8; 16], u32> = LpmTrie::with_max_entries(4096, 0);

/// Connections by name from their SYN to their end. LRU: a flood of SYNs evicts others, whose
/// first record then is what opens them.
#[map]
pub(crate) static OPENING: LruHashMap<Name, Opening> = LruHashMap::with_max_entries(16_384, 0);

/// What is known of a connection before it has a socket.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Opening {
    /// The listener's cgroup.
    pub(crate) cgroup: u64,
    /// Sequence number of the client's first byte.
    pub(crate) first: u32,
    /// Segments that brought it to the listener.
    pub(crate) firsts: u32,
    /// What the last of them says that it is not HTTP/1, `OPAQUE_*`, or 0.
    pub(crate) opaque: u32,
    pub(crate) pad: u32,
}

/// What an opening's state starts from.
pub(crate) static OPENING_EMPTY: Opening =
    Opening { cgroup: 0, first: 0, firsts: 0, opaque: 0, pad: 0 };

/// The connection's name. A copy: handed to a helper, a pointer into the record itself would make
/// LLVM take every later call for one that may change the record.
#[inline(always)]
pub(crate) fn name_of(record: &Record) -> Name {
    let record: *const Record = record;
    // SAFETY: `common` asserts that the four fields lie there, at a multiple of 4.
    unsafe { record.byte_add(core::mem::offset_of!(Record, local)).cast::<Name>().read() }
}

/// [`Offset`]s in the running kernel.
#[unsafe(no_mangle)]
pub(crate) static OFFSETS: Global<[u32; Offset::COUNT]> = Global::new([0; Offset::COUNT]);

/// Each CPU looks at the ring this often at least, in nanoseconds.
const LOOK_EVERY: u64 = 1_000_000;
/// And whenever it has put this part of [`Settings::wake_at`]: of a ring of 16 MiB 64 KiB, so that
/// 64 CPUs together are off by no more than what lies between pressure and a full ring.
const LOOK_PARTS: u32 = 16;

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
pub(crate) struct Count(*mut PerCpu);

/// Adds one to a word of a live map value, atomically: programs on other CPUs do so, too.
#[inline(always)]
pub(crate) unsafe fn bump(word: *mut u32) {
    // SAFETY: the caller's.
    unsafe {
        core::arch::asm!(
            "lock *(u32 *)({word} + 0) += {one}",
            word = in(reg) word,
            one = in(reg) 1u64,
            options(nostack),
        );
    }
}

impl Count {
    #[inline(always)]
    pub(crate) fn here() -> Option<Self> {
        COUNTERS.get_ptr_mut(0).map(Self)
    }

    #[inline(always)]
    pub(crate) fn add(self, counter: Counter, n: u32) {
        // SAFETY: the pointer is a live per-CPU map value; `counter` is below `Counter::COUNT`.
        unsafe {
            let values = &raw mut (*self.0).counters.values;
            add(values.cast::<u64>().add(counter as usize), n);
        }
    }

    /// A message of `DIRECTION` with `len` payload bytes was copied whole as one record.
    #[inline(always)]
    pub(crate) fn add_whole<const DIRECTION: u8>(self, len: u32) {
        // SAFETY: as above.
        unsafe {
            let whole = &raw mut (*self.0).whole;
            let whole = whole.cast::<u64>().add(if DIRECTION == TO_SERVER { 0 } else { 2 });
            add(whole, 1);
            add(whole.add(1), len);
        }
    }

    /// About how many bytes are pending in the ring. To look costs more than most else in the
    /// programs, so it is done only once this CPU has put a part of [`Settings::wake_at`], or
    /// after a while.
    #[inline(always)]
    pub(crate) fn pending(self, settings: &Settings, now: u64) -> u32 {
        // SAFETY: as above. Programs that interrupt each other here lose a bit of the estimate.
        unsafe {
            let cpu = self.0;
            if now.wrapping_sub((*cpu).looked_at) < LOOK_EVERY
                && (*cpu).since < settings.wake_at / LOOK_PARTS
            {
                return (*cpu).pending;
            }
            let pending = RECORDS.query(u64::from(BPF_RB_AVAIL_DATA)) as u32;
            (*cpu).looked_at = now;
            (*cpu).since = 0;
            (*cpu).pending = pending;
            if pending < settings.wake_at {
                (*cpu).woken = 0;
            }
            pending
        }
    }

    /// Notes that `size` bytes come to the `pending`; gives the flags for submitting them: the
    /// reader is woken when much is pending, or when it has not been for a while.
    #[inline(always)]
    pub(crate) fn put(self, settings: &Settings, now: u64, pending: u32, size: u32) -> u64 {
        // SAFETY: as above.
        unsafe {
            let cpu = self.0;
            (*cpu).pending = pending;
            (*cpu).since += size;
            let much = pending >= settings.wake_at && (*cpu).woken == 0;
            if much || now.wrapping_sub(last_wake()) >= u64::from(settings.wake_every) {
                if much {
                    (*cpu).woken = 1;
                }
                set_last_wake(now);
                u64::from(BPF_RB_FORCE_WAKEUP)
            } else {
                u64::from(BPF_RB_NO_WAKEUP)
            }
        }
    }
}

#[inline(always)]
unsafe fn add(value: *mut u64, n: u32) {
    // SAFETY: the caller's.
    unsafe {
        core::arch::asm!(
            "lock *(u64 *)({value} + 0) += {n}",
            value = in(reg) value,
            n = in(reg) u64::from(n),
            options(nostack),
        );
    }
}
