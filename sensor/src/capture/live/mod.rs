//! Live capture: loads the kernel programs, attaches them to a cgroup and turns their records
//! into [`Input`] values.
//!
//! # What the kernel sends
//!
//! Two cgroup_skb programs see every TCP segment of the sockets in the cgroup, before the
//! service's TCP (to the server) and after it (to the client). They act on segments whose
//! *local* port is watched, and whose local address is, if addresses are given. Segments are
//! never dropped. Each record becomes one [`Input`], in the order in which the programs reserved
//! its memory; for one direction of one flow that is the order of the segments at the hook.
//!
//! **Segments.** A record stands for `len` payload bytes from `seq`, of which the first
//! `payload.len()` follow. A segment's first record carries up to 4 KiB, each further one up to
//! 16 KiB, with ascending `seq` and the segment's time. Only a segment's last record has `fin`.
//!
//! - `FIN` and `RST` segments of connections are always sent, `SYN` segments only with payload.
//! - Pure acknowledgements to the client are sent only where they confirm copied request bytes
//!   that no record confirmed before; those to the server never are.
//! - `payload.len() < len`: the rest was left out on purpose. So was all of it where `payload` is
//!   empty and `len` is not 0: a marker. Markers gather a run of skipped segments and come when
//!   the message ends, when the turn changes, when something of that direction is copied again,
//!   after 1 MiB, on `FIN` or `RST`, and before `Closed`. A marker's `at` is when it was sent,
//!   not when its bytes passed; `ack` is absent if another direction's segment released it.
//! - A gap in `seq` that no record stands for is loss: the ring was full, or the network
//!   reordered and the bytes will come. Once `rcv_nxt` (or the client's `ack`) has passed the
//!   gap, it was the ring: the bytes will not come. [`Counter::RingFullBytes`] counts them, and
//!   [`Counters::losses`] the records behind such gaps (`MARK_LOSS`).
//! - `cookie` is 0 while the connection has no socket of its own: for data that came with the
//!   handshake's last acknowledgement or overtook it (TCP Fast Open, `TCP_DEFER_ACCEPT`, or a
//!   client that another processor runs on after its `connect`). Such records carry no `rcv_nxt`
//!   and are copied whole up to 64 KiB; join them by addresses.
//! - `rcv_nxt` is the service's `tcp_sock.rcv_nxt` when the program ran, for both directions. It
//!   may lag behind segments that wait in the socket's backlog.
//! - Addresses are the socket's: the same in both directions also where the host translates
//!   them. IPv4 on an IPv6 socket is given as IPv4. `scope` is the socket's cgroup id.
//! - `at` is the kernel's monotonic clock when the program ran, moved to the wall clock by an
//!   offset that is read at the start and once a second, and followed if it moved by over 0.5 ms.
//!
//! **What is copied.** A direction's turn starts when payload passes in it after payload passed
//! in the other. A message starts at a turn's first byte, and behind a message whose end is
//! known. Its head is copied whole up to 64 KiB, its body up to the direction's budget:
//!
//! - The end of a message is known if its whole head is in the first 4 KiB of its first segment
//!   and the head has at most one plain `Content-Length` and no line that could be read otherwise
//!   (`Transfer-Encoding`, bare CR or LF, folding, blanks or control characters at a line's
//!   start). Skipping then stops exactly there, whatever the body looks like.
//! - `GET`, `HEAD`, `DELETE`, `OPTIONS`, `CONNECT`, `TRACE`: everything is copied until the turn
//!   changes, as pipelined heads may start at any byte.
//! - A request with unknown framing: 64 KiB and the budget in all, then nothing until the turn
//!   changes or a segment starts like a head. **A request that is pipelined behind so much within
//!   one turn is not seen**; the hole is, and reaches behind the end of the message that the
//!   daemon parsed. It tells of the request by its answer (`http-request-unseen`). Behind a
//!   request body whose end is known, all that follows in the turn is copied.
//! - A response whose head is known and whose length is not: the head and the budget.
//! - When more than three quarters of the ring are pending, budgets are 0
//!   ([`Counter::PressureBytes`]). Heads are given up only when the ring is full.
//!
//! **Opaque.** The first bytes of a connection that the kernel saw from its start may be TLS
//! records, the HTTP/2 preface, or a byte that cannot start a request. TCP may yet refuse them, so
//! they are copied. With the first segment of either direction that passes when TCP has taken
//! bytes comes one `Opaque`, and from then on only `FIN`, `RST` and `Closed`
//! ([`Counter::OpaqueBytes`]). Where more than one segment brought the first byte it is not known
//! here which of them TCP took: that, and a flow that was joined midway, is left to the daemon,
//! which can stop the flow with [`Capture::stop_flow`].
//!
//! **Opened.** The socket's state became established. Known by the names of those whose SYN was
//! seen, the last 16,384; so a flood of SYNs costs the daemon nothing. It is told again with the
//! record that carries the client's first byte, for those that were forgotten, or if the ring was
//! full, or the kernel has no tracepoint for it ([`Capture::reports_states`]).
//!
//! **Closed.** The socket left its table; after all records of the flow. Not sent without the
//! tracepoint, nor for a flow that was evicted from the kernel's table of 65,536 (one that never
//! carried a byte: of 16,384), nor if the ring was full: keep an idle limit.
//!
//! **Service** comes with a flow's first record that has a cookie if the answer is known, or with
//! one of the next calls of [`Capture::read`]. It is not sent for flows of which only the
//! handshake was seen.
//!
//! # Requests in = seen + lost
//!
//! [`Counter::Requests`] counts request starts in the kernel: a message start whose first bytes
//! are three or more capitals (and a capital or a space as the fourth), and a message that starts
//! inside a segment behind a known end. [`Counter::RequestsLost`] are those of them whose first
//! record found the ring full. So *Requests = starts delivered + RequestsLost*, exactly.
//! [`Counter::RequestsCut`] are requests whose start was delivered, or not counted, and of which
//! a later piece was lost, once a request: the daemon sees the start and then a gap.
//!
//! Not counted as a start, though delivered: the second and further of several requests in one
//! segment, heads that do not start at a segment's start where framing is unknown, methods in
//! lower case, and data seen by the listening socket. So the daemon may see more requests than
//! the kernel counts, never fewer than *Requests - RequestsLost - RequestsCut*. If a segment with
//! several pipelined requests is lost, it counts as one.
#![forbid(unsafe_code)]

mod btf;
mod cgroup;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod object;
pub mod probe;
mod record;
mod service;
mod whole;

use std::{
    io,
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, PerCpuArray, RingBuf},
    programs::{RawTracePoint, cgroup_skb::CgroupSkbLinkId},
    util::KernelVersion,
};
use ipnet::IpNet;
pub use jotwatch_common::Counter;
use jotwatch_common::{PerCpu, Settings, TARGETS};
use rustix::event::{PollFd, PollFlags, Timespec};
use smallvec::{SmallVec, smallvec};

pub(crate) use self::object::{one_line, reason};
use self::{
    object::{SettingsWords, hand_over, load, load_object, program, set_up, take},
    record::Decoder,
    service::Services,
    whole::Whole,
};
use super::Input;
use crate::time::Time;

/// The kernel programs, as built by `cargo xtask build-ebpf`.
pub static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/bpf/jotwatch.bpf.o"));

/// The oldest kernel that the programs are written for.
pub const MINIMUM_KERNEL: (u8, u8) = (5, 10);
/// Records that one [`Capture::read`] hands on at most.
pub const READ_LIMIT: usize = 65_536;
/// While records come, the ring is looked at this often even if the kernel wakes nobody: each look
/// takes a processor from the services, and an alert may well be 3 ms late.
const BUSY_POLL: Duration = Duration::from_millis(3);
/// The same where a look last found [`LOADED`] records or more: who works off 3 ms of them at once
/// keeps a processor for so long that requests behind it on that processor wait noticeably.
const LOADED_POLL: Duration = Duration::from_millis(1);
/// They take about a tenth of a millisecond.
const LOADED: usize = 64;
/// Until then the kernel wakes nobody while little is pending: longer than [`BUSY_POLL`], so that
/// under load the reader looks by itself. A wake from within a program is dear: on a virtual
/// machine as much as ten segments.
const WAKE: Duration = Duration::from_millis(4);
/// The same where there is no time to lose.
const WAKE_HURRIED: Duration = Duration::from_millis(1);
/// How long after the last record that goes on.
const BUSY_FOR: Duration = Duration::from_millis(100);

/// What to watch, and how much of it.
#[derive(Clone, Debug)]
pub struct Config {
    /// Local TCP ports of the services.
    pub ports: Vec<u16>,
    /// Local addresses or networks of the services; empty is any.
    pub addresses: Vec<IpNet>,
    /// The cgroup v2 directory to watch, with everything below it; `None` is the root. An
    /// absolute path, or one relative to the cgroup v2 mount.
    pub cgroup: Option<PathBuf>,
    /// Bytes of the ring buffer; rounded up to a power of two, 64 KiB to 1 GiB.
    pub ring_bytes: u32,
    /// Body bytes copied of a request, at most [`BUDGET_LIMIT`](jotwatch_common::BUDGET_LIMIT).
    pub request_body_budget: u32,
    /// Body bytes copied of a response, at most [`BUDGET_LIMIT`](jotwatch_common::BUDGET_LIMIT).
    pub response_body_budget: u32,
    /// Targets of requests of which the answers are copied up to
    /// [`BUDGET_LIMIT`](jotwatch_common::BUDGET_LIMIT). More can be told later: [`Capture::copy_whole`].
    pub whole: Vec<Box<[u8]>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ports: Vec::new(),
            addresses: Vec::new(),
            cgroup: None,
            ring_bytes: 16 << 20,
            request_body_budget: 8 << 10,
            response_body_budget: 1 << 10,
            whole: Vec::new(),
        }
    }
}

/// Why capture cannot start or go on. Each is one line for the user.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The process may not load programs.
    #[error(
        "loading the kernel programs needs root, or CAP_BPF with CAP_NET_ADMIN and CAP_PERFMON"
    )]
    NotPermitted,
    /// The kernel is older than [`MINIMUM_KERNEL`].
    #[error("kernel {0} is too old: live capture needs Linux {major}.{minor}", major = MINIMUM_KERNEL.0, minor = MINIMUM_KERNEL.1)]
    KernelTooOld(String),
    /// No cgroup v2 hierarchy.
    #[error("no cgroup v2 mount found in /proc/self/mountinfo")]
    NoCgroup2,
    /// The cgroup to watch does not exist.
    #[error("cgroup {path}: {error}")]
    Cgroup {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// No port to watch.
    #[error("no port to watch")]
    NoPorts,
    /// The kernel's verifier refused a program.
    #[error("the kernel refused to load {program}: {reason}")]
    Load {
        /// The program's name.
        program: &'static str,
        /// The verifier's last line, or the system's error.
        reason: String,
    },
    /// A program could not be attached.
    #[error("attaching {program} to {to}: {reason}")]
    Attach {
        /// The program's name.
        program: &'static str,
        /// The cgroup or tracepoint.
        to: String,
        /// What the system says.
        reason: String,
    },
    /// The object does not fit this daemon.
    #[error("kernel object: {0}")]
    Object(String),
    /// A map operation failed.
    #[error("kernel map {name}: {reason}")]
    Map {
        /// The map's name.
        name: &'static str,
        /// What the system says.
        reason: String,
    },
    /// Waiting for records failed.
    #[error("waiting for kernel records: {0}")]
    Wait(io::Error),
}

/// Everything counted by the kernel programs and by this reader.
#[derive(Clone, Copy, Debug)]
pub struct Counters {
    /// Summed over all CPUs.
    pub kernel: jotwatch_common::Counters,
    /// Records read from the ring.
    pub records: u64,
    /// Records that were not as agreed, and ignored.
    pub malformed: u64,
    /// Records that the kernel marked as the first behind a loss.
    pub losses: u64,
    /// Flows that got no [`Input::Service`] because too many were waiting for one.
    pub services_dropped: u64,
}

impl Counters {
    /// One of the kernel's counters.
    #[must_use]
    pub const fn get(&self, counter: Counter) -> u64 {
        self.kernel.get(counter)
    }
}

/// Running capture. Dropping it, or the end of the process in any way, detaches everything.
pub struct Capture {
    // The programs live in here, and the tracepoint's link.
    ebpf: Ebpf,
    links: Vec<(&'static str, CgroupSkbLinkId)>,
    ring: RingBuf<MapData>,
    counters: PerCpuArray<MapData, [u64; PerCpu::WORDS]>,
    control: HashMap<MapData, u64, u32>,
    whole: Array<MapData, [[u64; 3]; TARGETS]>,
    targets: Whole,
    /// As the programs read them.
    settings: Settings,
    settings_map: Array<MapData, SettingsWords>,
    decoder: Decoder,
    services: Services,
    last_record: Option<Instant>,
    /// Records that the last [`read`](Self::read) handed on.
    last_read: usize,
    records: u64,
    states: bool,
}

impl std::fmt::Debug for Capture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Capture").field("records", &self.records).finish_non_exhaustive()
    }
}

impl Capture {
    /// Loads the programs and attaches them.
    pub fn start(config: &Config) -> Result<Self, Error> {
        Self::start_with(config, OBJECT)
    }

    /// As [`Capture::start`], with another build of the programs.
    pub fn start_with(config: &Config, object: &[u8]) -> Result<Self, Error> {
        if config.ports.is_empty() {
            return Err(Error::NoPorts);
        }
        permitted()?;
        let root = cgroup::mount().ok_or(Error::NoCgroup2)?;
        let path = cgroup_path(config.cgroup.as_deref())?;
        // Before anything is loaded: it is named wrongly most often.
        drop(cgroup::open(&path)?);
        let ring_bytes = config.ring_bytes.clamp(1 << 16, 1 << 30).next_power_of_two();
        let offsets = probe::socket_offsets();
        let mut ebpf = load_object(object, ring_bytes, offsets.unwrap_or_default())?;

        let settings = set_up(&mut ebpf, config, ring_bytes)?;
        for program in [probe::INGRESS, probe::EGRESS] {
            load(&mut ebpf, program)?;
        }
        // Opens and closes are a comfort: without them the first byte opens, and state ages out.
        let states = offsets.is_some() && load(&mut ebpf, probe::STATE).is_ok();
        if states {
            let tracepoint: &mut RawTracePoint = program(&mut ebpf, probe::STATE)?;
            tracepoint.attach("inet_sock_set_state").map_err(|e| Error::Attach {
                program: probe::STATE,
                to: "inet_sock_set_state".into(),
                reason: reason(&e),
            })?;
        }
        let ring = take(&mut ebpf, "RECORDS")?;
        let counters = take(&mut ebpf, "COUNTERS")?;
        let control = take(&mut ebpf, "CONTROL")?;
        let mut whole = take(&mut ebpf, "WHOLE")?;
        let targets = Whole::new(config.whole.iter().map(|target| &**target));
        write_whole(&mut whole, &targets)?;
        let mut settings_map = take(&mut ebpf, "SETTINGS")?;
        hand_over(&mut settings_map, settings)?;
        let mut capture = Self {
            ebpf,
            links: Vec::new(),
            ring,
            counters,
            control,
            whole,
            targets,
            settings,
            settings_map,
            decoder: Decoder::new(),
            services: Services::new(root, &config.ports),
            last_record: None,
            last_read: 0,
            records: 0,
            states,
        };
        capture.attach(&path)?;
        Ok(capture)
    }

    /// Whether records are wanted within a millisecond, as where a verdict cuts a connection, at
    /// the cost of waking up more often; at first not.
    ///
    /// # Errors
    /// The kernel's.
    pub fn hurry(&mut self, hurry: bool) -> Result<(), Error> {
        let every = if hurry { WAKE_HURRIED } else { WAKE };
        self.settings.wake_every = u32::try_from(every.as_nanos()).unwrap_or(u32::MAX);
        hand_over(&mut self.settings_map, self.settings)
    }

    /// Whether the kernel tells of opened and closed connections. Without it flows only age out.
    #[must_use]
    pub const fn reports_states(&self) -> bool {
        self.states
    }

    /// Waits until there may be records to read, `limit` at most.
    ///
    /// The kernel wakes the reader when a sixteenth of the ring is pending, or when a record
    /// comes 4 milliseconds or more after the last wake (1 where it is to [`hurry`](Self::hurry)).
    /// In between, this looks by itself every 3 milliseconds, as long as records came within the
    /// last 100 ms; every millisecond while they are many. What is ready to be read from one of
    /// `also` wakes it, too.
    ///
    /// # Errors
    /// The system's.
    pub fn poll<'fd>(
        &mut self,
        limit: Duration,
        also: impl IntoIterator<Item = BorrowedFd<'fd>>,
    ) -> Result<(), Error> {
        let busy = self.last_record.is_some_and(|t| t.elapsed() < BUSY_FOR);
        let every = if self.last_read < LOADED { BUSY_POLL } else { LOADED_POLL };
        let wait = if busy { limit.min(every) } else { limit };
        let wait = Timespec {
            tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(wait.subsec_nanos()),
        };
        let mut fds: SmallVec<[PollFd<'_>; 4]> = smallvec![PollFd::new(&self.ring, PollFlags::IN)];
        for fd in also {
            fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
        }
        match rustix::event::poll(&mut fds, Some(&wait)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(e) => Err(Error::Wait(e.into())),
        }
    }

    /// Follows the wall clock, once a second; gives by how many nanoseconds it was set, if it was
    /// by a second or more. The times of all records from then on are by the clock as it is set.
    pub fn follow_clock(&mut self) -> Option<i64> {
        self.decoder.follow_clock()
    }

    /// The wall clock as the next record would have it: it steps only in
    /// [`follow_clock`](Self::follow_clock).
    #[must_use]
    pub fn now(&self) -> Time {
        self.decoder.now()
    }

    /// Hands on what is in the ring, [`READ_LIMIT`] records at most, in order; gives the number
    /// of records. The values borrow from the ring.
    pub fn read(&mut self, mut f: impl FnMut(Input<'_>)) -> usize {
        self.services.deliver(&mut f);
        let mut n = 0;
        while n < READ_LIMIT {
            let Some(item) = self.ring.next() else { break };
            n += 1;
            self.decoder.decode(&item, &mut self.services, &mut f);
        }
        self.last_read = n;
        if n > 0 {
            self.records += n as u64;
            self.last_record = Some(Instant::now());
        }
        n
    }

    /// Tells the kernel to copy no more of this connection. It takes effect with the next
    /// request turn; until then little comes, as the turn's limits hold. For flows that are not
    /// HTTP/1, or not any more. A cookie of 0 is ignored.
    pub fn stop_flow(&mut self, cookie: u64) -> Result<(), Error> {
        if cookie == 0 {
            return Ok(());
        }
        self.control
            .insert(cookie, 1, 0)
            .map_err(|e| Error::Map { name: "CONTROL", reason: e.to_string() })?;
        // Behind it: who sees the number finds the entry.
        self.settings.stops = self.settings.stops.wrapping_add(1);
        hand_over(&mut self.settings_map, self.settings)
    }

    /// Has the kernel copy the answers to GET requests for this target up to
    /// [`BUDGET_LIMIT`](jotwatch_common::BUDGET_LIMIT), from the next request on. Of such targets 16 are known at a time.
    pub fn copy_whole(&mut self, target: &[u8]) -> Result<(), Error> {
        if self.targets.add(target) { write_whole(&mut self.whole, &self.targets) } else { Ok(()) }
    }

    /// All counters as of now.
    pub fn counters(&self) -> Result<Counters, Error> {
        let values = self
            .counters
            .get(&0, 0)
            .map_err(|e| Error::Map { name: "COUNTERS", reason: e.to_string() })?;
        let mut sum = [0u64; Counter::COUNT];
        for cpu in values.iter() {
            let cpu = bytemuck::cast::<[u64; PerCpu::WORDS], PerCpu>(*cpu).totals();
            for (s, v) in sum.iter_mut().zip(cpu.values) {
                *s = s.wrapping_add(v);
            }
        }
        Ok(Counters {
            kernel: jotwatch_common::Counters { values: sum },
            records: self.records,
            malformed: self.decoder.malformed,
            losses: self.decoder.losses,
            services_dropped: self.services.dropped,
        })
    }
}

fn write_whole(
    map: &mut Array<MapData, [[u64; 3]; TARGETS]>,
    targets: &Whole,
) -> Result<(), Error> {
    map.set(0, targets.words(), 0).map_err(|e| Error::Map { name: "WHOLE", reason: e.to_string() })
}

/// Whether this kernel and this process's privileges are enough for [`Capture::start`].
///
/// # Errors
/// [`Error::KernelTooOld`] or [`Error::NotPermitted`].
pub fn permitted() -> Result<(), Error> {
    let kernel = KernelVersion::current().map_err(|e| Error::Object(e.to_string()))?;
    if kernel < KernelVersion::new(MINIMUM_KERNEL.0, MINIMUM_KERNEL.1, 0) {
        return Err(Error::KernelTooOld(probe::kernel_release()));
    }
    if !probe::Capabilities::current().can_capture() {
        return Err(Error::NotPermitted);
    }
    Ok(())
}

/// The directory of a cgroup that is named as in [`Config::cgroup`], whether it exists or not.
///
/// # Errors
/// There is no cgroup v2 mount.
pub fn cgroup_path(cgroup: Option<&Path>) -> Result<PathBuf, Error> {
    let root = cgroup::mount().ok_or(Error::NoCgroup2)?;
    Ok(match cgroup {
        None => root,
        Some(path) if path.starts_with(&root) => path.to_owned(),
        Some(path) => root.join(path.strip_prefix("/").unwrap_or(path)),
    })
}

/// The cgroup v2 mount point of this host, if there is one.
#[must_use]
pub fn cgroup_mount() -> Option<PathBuf> {
    cgroup::mount()
}

/// The directory of the cgroup with this id, as records carry it.
#[must_use]
pub fn cgroup_by_id(id: u64) -> Option<PathBuf> {
    cgroup::find(&cgroup::mount()?, id)
}

/// The id that records carry for the cgroup directory `path`: its inode number.
pub fn cgroup_id(path: &Path) -> io::Result<u64> {
    cgroup::id(path)
}
