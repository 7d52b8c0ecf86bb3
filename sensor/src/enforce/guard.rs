//! The guard programs: loads them, attaches them beside those of capture, and speaks with them.
//!
//! **What outlives the daemon.** The denylists and the heartbeat are pinned in the BPF file system
//! where a folder for them is given. The programs are not pinned while the daemon runs: when it is
//! killed they go with it, and at once everything passes; where a service fails closed they are
//! pinned, and go on holding. A daemon that stops in good order leaves them attached
//! ([`Guard::leave`]), so that a restart has no gap: the next daemon finds the denylists filled,
//! beats while it starts ([`Beating`]), attaches its own programs and removes the old ones. Should
//! none come, the programs see the heartbeat stop, and everything passes (with `fail = "open"`).
//! [`detach`] removes whatever is left.

use std::{
    collections::{HashMap as StdHashMap, HashSet},
    fs::{self, File},
    io,
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::fs::DirBuilderExt as _,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use aya::{
    Ebpf, EbpfError, EbpfLoader,
    maps::{Array, HashMap, MapData, MapError, PerCpuArray, RingBuf},
    programs::{
        CgroupAttachMode, CgroupSkb, CgroupSkbAttachType,
        links::{FdLink, PinnedLink},
    },
    util::{KernelVersion, nr_cpus},
};
pub use jotwatch_common::guard::tables::Counter;
use jotwatch_common::guard::{
    scan::{EXTRA_LINES, MAX_LENGTH, Prefix, Terms},
    sip::Secret,
    tables::{
        FRAMED_CHUNKED, FRAMED_LENGTH, FRAMED_UNKNOWN, MAX_PLACES, MAX_POLICIES, MODE_GATE,
        MODE_HOLD, MODE_KILL, PORT_PLACES, Policy, VERDICT_DROP, VERDICT_PASS, Verdict,
    },
};
use rustix::time::{ClockId, clock_gettime};

use super::{held, kernel::KernelTables};
pub use super::{
    held::{CutCause, HeldHead, VerdictKey},
    pins::{Beating, PIN_ROOT, detach, pin_folder, pin_folders},
    place::Place,
};
use crate::{
    capture::live,
    http::BodyFraming,
    policy::{FailMode, Mode},
    time::Time,
};

/// The guard programs, as built by `cargo xtask build-ebpf`.
static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/bpf/guard.bpf.o"));

/// The oldest kernel that they are written for: `bpf_loop`.
pub const MINIMUM_KERNEL: (u8, u8) = (5, 17);

/// The programs.
pub const PROGRAMS: [&str; 2] = ["guard_ingress", "guard_egress"];

/// Maps that outlive the daemon.
const PINNED: [&str; 8] = [
    "DENIED_TOKENS",
    "DENIED_FLOWS",
    "DENIED_NETS4",
    "DENIED_NETS6",
    "ALLOWED_NETS4",
    "ALLOWED_NETS6",
    "CHANGES",
    "HEARTBEAT",
];

/// Heads that one [`Guard::held`] hands on at most.
pub const READ_LIMIT: usize = 4_096;

/// What the guard does at some ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Local TCP ports.
    pub ports: Vec<u16>,
    /// Places at which this holds, whatever their port says.
    pub places: Vec<Place>,
    /// [`Mode::Alert`] leaves the ports alone.
    pub mode: Mode,
    /// Nothing is dropped; what would be is counted.
    pub dry_run: bool,
    /// What happens without the daemon, and without a verdict in time.
    pub fail: FailMode,
    /// The daemon counts as dead when it has not beaten for so long.
    pub heartbeat: Duration,
    /// No byte waits longer.
    pub hold: Duration,
    /// Requests without credentials are judged, too, each by itself.
    pub ask_always: bool,
    /// Bytes of a body that are read for tokens before the body has passed whole.
    pub body_bytes: u32,
}

/// How the guard is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// What to do where. A port of several is of the last.
    pub services: Vec<Service>,
    /// The cgroup v2 directory, as for capture.
    pub cgroup: Option<PathBuf>,
    /// The key of token and allow keys.
    pub secret: Secret,
    /// Names of further header fields that carry credentials, the first four of them.
    pub extra_headers: Vec<String>,
    /// The folder for what outlives the daemon, in a BPF file system; `None` keeps nothing.
    pub pins: Option<PathBuf>,
}

/// Why the guard cannot start or go on. Each is one line for the user.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel is older than [`MINIMUM_KERNEL`].
    #[error("kernel {0} is too old for denylists, hold and gate: they need Linux {major}.{minor}", major = MINIMUM_KERNEL.0, minor = MINIMUM_KERNEL.1)]
    KernelTooOld(String),
    /// As for capture.
    #[error(transparent)]
    Capture(#[from] live::Error),
    /// A program could not be loaded or attached.
    #[error("{program}: {reason}")]
    Program {
        /// Its name.
        program: &'static str,
        /// The verifier's last line, or what the system says.
        reason: String,
    },
    /// A map could not be made or written.
    #[error("kernel map {name}: {reason}")]
    Map {
        /// Its name.
        name: String,
        /// What the system says.
        reason: String,
    },
    /// The folder of what outlives the daemon.
    #[error("{}: {error} (is a BPF file system mounted there? mount -t bpf bpf /sys/fs/bpf)", path.display())]
    Pins {
        /// The folder or file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// More groups of services than there is room for.
    #[error("more than {} services with a mode of their own", MAX_POLICIES - 1)]
    TooManyServices,
    /// More places than there is room for: cgroups below those that services name, mostly.
    #[error(
        "more than {MAX_PLACES} places of services: cgroups, and ports at addresses or in cgroups"
    )]
    TooManyPlaces,
}

/// The running guard. Dropping it, or the end of the process in any way, detaches the programs
/// unless a service fails closed; [`Guard::leave`] does not.
pub struct Guard {
    links: Vec<(&'static str, Attached)>,
    // The programs live in here.
    ebpf: Ebpf,
    pins: Option<PathBuf>,
    heartbeat: Array<MapData, u64>,
    policies: Array<MapData, [u64; 3]>,
    ports: Array<MapData, u32>,
    places: HashMap<MapData, [u64; 4], u32>,
    /// What `places` holds.
    placed: StdHashMap<[u64; 4], u32>,
    verdicts: HashMap<MapData, [u64; 2], [u64; 2]>,
    held: RingBuf<MapData>,
    counters: PerCpuArray<MapData, [u64; Counter::COUNT]>,
    /// Records that were not as agreed.
    malformed: u64,
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard").field("pins", &self.pins).finish_non_exhaustive()
    }
}

/// A program's place in the cgroup.
enum Attached {
    /// Ends with the process.
    Own(FdLink),
    /// Outlives it.
    Pinned(PinnedLink),
}

/// The kernel's monotonic clock, in nanoseconds.
pub(super) fn monotonic() -> u64 {
    let t = clock_gettime(ClockId::Monotonic);
    u64::try_from(t.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(t.tv_nsec).unwrap_or(0)
}

/// `until` by the kernel's monotonic clock; a time that is over gives 0.
pub(super) fn kernel_time(until: Time) -> u64 {
    let wall = clock_gettime(ClockId::Realtime);
    let wall = u64::try_from(wall.tv_sec).unwrap_or(0) * 1_000_000_000
        + u64::try_from(wall.tv_nsec).unwrap_or(0);
    match until.unix_nanos().checked_sub(wall) {
        Some(left) => monotonic().saturating_add(left),
        None => 0,
    }
}

pub(super) fn map_error(name: &str, error: &MapError) -> Error {
    let reason = match error {
        MapError::SyscallError(e) => e.io_error.to_string(),
        e => e.to_string(),
    };
    Error::Map { name: name.to_owned(), reason }
}

pub(super) fn take<T>(ebpf: &mut Ebpf, name: &str) -> Result<T, Error>
where
    T: TryFrom<aya::maps::Map, Error = MapError>,
{
    let missing = || Error::Map { name: name.to_owned(), reason: "not in the object".to_owned() };
    let map = ebpf.take_map(name).ok_or_else(missing)?;
    T::try_from(map).map_err(|e| map_error(name, &e))
}

fn load_object(pins: Option<&Path>) -> Result<Ebpf, Error> {
    let mut loader = EbpfLoader::new();
    loader.map_max_entries("SCRATCH", nr_cpus().map_or(1, |n| u32::try_from(n).unwrap_or(1)));
    if let Some(pins) = pins {
        for name in PINNED {
            loader.map_pin_path(name, pins.join(name));
        }
    }
    loader.load(OBJECT).map_err(|e| match e {
        EbpfError::MapError(MapError::CreateError { name, io_error, .. }) => {
            Error::Map { name, reason: io_error.to_string() }
        }
        EbpfError::MapError(e) => map_error("", &e),
        e => Error::Map { name: "object".into(), reason: live::one_line(&e.to_string()) },
    })
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut CgroupSkb, Error> {
    let missing = || Error::Program { program: name, reason: "not in the object".to_owned() };
    ebpf.program_mut(name).and_then(|p| p.try_into().ok()).ok_or_else(missing)
}

fn load(ebpf: &mut Ebpf, name: &'static str) -> Result<(), Error> {
    let fail = |e| Error::Program { program: name, reason: live::reason(&e) };
    program(ebpf, name)?.load().map_err(fail)
}

/// Tries to make the maps and to load each program; nothing stays. For `doctor`.
///
/// # Errors
/// The kernel is too old, or it refuses a map or program.
pub fn try_load() -> Result<(), Error> {
    supported()?;
    let mut ebpf = load_object(None)?;
    for name in PROGRAMS {
        load(&mut ebpf, name)?;
    }
    Ok(())
}

fn supported() -> Result<(), Error> {
    live::permitted()?;
    match KernelVersion::current() {
        Ok(kernel) if kernel < KernelVersion::new(MINIMUM_KERNEL.0, MINIMUM_KERNEL.1, 0) => {
            Err(Error::KernelTooOld(live::probe::kernel_release()))
        }
        _ => Ok(()),
    }
}

impl Guard {
    /// Loads and attaches the programs, and removes those that an earlier daemon left. Gives the
    /// look-up tables beside the guard.
    ///
    /// # Errors
    /// Privileges, kernel, cgroup, or the folder of what outlives the daemon.
    pub fn start(config: &Config) -> Result<(Self, KernelTables), Error> {
        supported()?;
        let path = live::cgroup_path(config.cgroup.as_deref())?;
        let group =
            File::open(&path).map_err(|error| live::Error::Cgroup { path: path.clone(), error })?;
        if let Some(pins) = &config.pins {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(pins);
            made.map_err(|error| Error::Pins { path: pins.clone(), error })?;
        }
        let mut ebpf = match load_object(config.pins.as_deref()) {
            Ok(ebpf) => ebpf,
            // Maps of another build, perhaps: without them there is at least no wrong one.
            Err(first) => {
                let Some(pins) = &config.pins else { return Err(first) };
                forget_maps(pins);
                load_object(config.pins.as_deref())?
            }
        };
        // First, as a program is loaded with the descriptors of its maps.
        for name in PROGRAMS {
            load(&mut ebpf, name)?;
        }
        set_up(&mut ebpf, config)?;
        let tables = KernelTables::new(&mut ebpf)?;
        let mut guard = Self {
            links: Vec::new(),
            pins: config.pins.clone(),
            policies: take(&mut ebpf, "POLICIES")?,
            ports: take(&mut ebpf, "PORT_POLICIES")?,
            places: take(&mut ebpf, "PLACES")?,
            placed: StdHashMap::new(),
            heartbeat: take(&mut ebpf, "HEARTBEAT")?,
            verdicts: take(&mut ebpf, "VERDICTS")?,
            held: take(&mut ebpf, "HELD")?,
            counters: take(&mut ebpf, "GUARD_COUNTERS")?,
            malformed: 0,
            ebpf,
        };
        guard.configure(&config.services)?;
        guard.beat()?;
        guard.attach(&group)?;
        // Ours are in place: those of an earlier daemon go.
        for name in PROGRAMS {
            if let Some(pins) = &config.pins {
                let _ = fs::remove_file(pins.join(name));
            }
        }
        guard.outlive(closed(&config.services))?;
        Ok((guard, tables))
    }

    fn attach(&mut self, group: &File) -> Result<(), Error> {
        for (name, direction) in
            PROGRAMS.into_iter().zip([CgroupSkbAttachType::Ingress, CgroupSkbAttachType::Egress])
        {
            let fail = |e| Error::Program { program: name, reason: live::reason(&e) };
            let program = program(&mut self.ebpf, name)?;
            let link = program
                .attach(group.as_fd(), direction, CgroupAttachMode::Single)
                .and_then(|id| program.take_link(id))
                .map_err(fail)?;
            let link = FdLink::try_from(link)
                .map_err(|e| Error::Program { program: name, reason: e.to_string() })?;
            self.links.push((name, Attached::Own(link)));
        }
        Ok(())
    }

    /// Guards the cgroup at `path` from now on, with what outlives the daemon in `pins`: the one
    /// that was guarded is gone, and another was made in its place.
    ///
    /// # Errors
    /// It is not there, or the kernel refuses.
    pub fn follow(&mut self, path: &Path, pins: &Path, services: &[Service]) -> Result<(), Error> {
        let fail = |path: &Path| {
            let path = path.to_owned();
            move |error| Error::Pins { path, error }
        };
        let group = File::open(path).map_err(fail(path))?;
        self.outlive(false)?;
        self.links.clear();
        if let Some(old) = self.pins.replace(pins.to_owned())
            && old != pins
        {
            detach(pins).map_err(fail(pins))?;
            fs::rename(&old, pins).map_err(fail(pins))?;
        }
        self.attach(&group)?;
        self.outlive(closed(services))
    }

    /// Leaves the programs attached for the next daemon, until their heartbeat is over.
    ///
    /// # Errors
    /// Nothing is kept, or the folder can't be written: then they are detached.
    pub fn leave(mut self) -> Result<(), Error> {
        self.beat()?;
        self.outlive(true)
    }

    /// Whether the programs are to outlive the process, whatever its end.
    fn outlive(&mut self, wanted: bool) -> Result<(), Error> {
        let Some(pins) = self.pins.clone() else { return Ok(()) };
        for (name, link) in std::mem::take(&mut self.links) {
            let fail = |reason: String| Error::Program { program: name, reason };
            let link = match link {
                Attached::Own(link) if wanted => {
                    let pinned = link.pin(pins.join(name));
                    Attached::Pinned(pinned.map_err(|e| fail(e.to_string()))?)
                }
                Attached::Pinned(link) if !wanted => {
                    Attached::Own(link.unpin().map_err(|e| fail(e.to_string()))?)
                }
                as_it_is => as_it_is,
            };
            self.links.push((name, link));
        }
        Ok(())
    }

    /// Tells the programs that the daemon lives.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn beat(&mut self) -> Result<(), Error> {
        self.heartbeat.set(0, monotonic(), 0).map_err(|e| map_error("HEARTBEAT", &e))
    }

    /// Becomes readable when a head waits for its verdict.
    #[must_use]
    pub fn waiting(&self) -> BorrowedFd<'_> {
        self.held.as_fd()
    }

    /// Does this at these services from now on, and nothing at others.
    ///
    /// # Errors
    /// There are too many, or the kernel refuses.
    pub fn configure(&mut self, services: &[Service]) -> Result<(), Error> {
        if services.len() >= MAX_POLICIES as usize {
            return Err(Error::TooManyServices);
        }
        let (mut of_port, mut places) = (vec![0; 1 << 16], StdHashMap::new());
        for (index, service) in (1u32..).zip(services) {
            let policy = bytemuck::cast::<Policy, [u64; 3]>(policy(service));
            self.policies.set(index, policy, 0).map_err(|e| map_error("POLICIES", &e))?;
            for port in &service.ports {
                if let Some(of_port) = of_port.get_mut(usize::from(*port)) {
                    *of_port = index;
                }
            }
            let keys = service.places.iter().map(|place| bytemuck::cast(place.key()));
            places.extend(keys.map(|key: [u64; 4]| (key, index)));
        }
        if places.len() > MAX_PLACES as usize {
            return Err(Error::TooManyPlaces);
        }
        let all = || services.iter().flat_map(|service| &service.places);
        let any_port = all().any(|place| place.port.is_none());
        let placed: HashSet<u16> = all().filter_map(|place| place.port).collect();
        for (port, index) in (0..=u16::MAX).zip(&mut of_port) {
            if *index != 0 && (any_port || placed.contains(&port)) {
                *index |= PORT_PLACES;
            }
        }
        self.place(places)?;
        for (port, index) in (0u32..).zip(&of_port) {
            let fail = |e| map_error("PORT_POLICIES", &e);
            if self.ports.get(&port, 0).map_err(fail)? != *index {
                self.ports.set(port, index, 0).map_err(fail)?;
            }
        }
        // Before the programs are attached there is nothing to pin.
        self.outlive(closed(services))
    }

    /// Has the programs look up these places.
    fn place(&mut self, places: StdHashMap<[u64; 4], u32>) -> Result<(), Error> {
        let fail = |e| map_error("PLACES", &e);
        for (key, index) in &places {
            if self.placed.get(key) != Some(index) {
                self.places.insert(key, index, 0).map_err(fail)?;
            }
        }
        for key in self.placed.keys().filter(|key| !places.contains_key(*key)) {
            self.places.remove(key).map_err(fail)?;
        }
        self.placed = places;
        Ok(())
    }

    /// Hands on the heads that wait, [`READ_LIMIT`] at most, in order. A head is told again with
    /// every repetition of its segment until there is a verdict.
    pub fn held(&mut self, mut f: impl FnMut(&HeldHead<'_>)) -> usize {
        let mut n = 0;
        while n < READ_LIMIT {
            let Some(item) = self.held.next() else { break };
            n += 1;
            match held::decode(&item) {
                Some(head) => f(&head),
                None => self.malformed += 1,
            }
        }
        n
    }

    /// Decides on one head until then. A head that could be read in two ways and passes needs its
    /// body's framing; without it nothing is known of what follows.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn decide(
        &mut self,
        head: VerdictKey,
        pass: bool,
        body: Option<BodyFraming>,
        until: Time,
    ) -> Result<(), Error> {
        let framing = match body {
            Some(BodyFraming::Chunked) => FRAMED_CHUNKED,
            Some(BodyFraming::Length(n)) if n <= u64::from(MAX_LENGTH) => {
                FRAMED_LENGTH + u32::try_from(n).unwrap_or(0)
            }
            _ => FRAMED_UNKNOWN,
        };
        let pass = if pass { VERDICT_PASS } else { VERDICT_DROP };
        let verdict = Verdict { until: kernel_time(until), pass, framing };
        self.verdicts
            .insert(head.0, bytemuck::cast::<Verdict, [u64; 2]>(verdict), 0)
            .map_err(|e| map_error("VERDICTS", &e))
    }

    /// One counter of the programs, over all CPUs.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn counters(&self) -> Result<Vec<(Counter, u64)>, Error> {
        let values = self.counters.get(&0, 0).map_err(|e| map_error("GUARD_COUNTERS", &e))?;
        let sum = |c: &Counter| {
            values
                .iter()
                .filter_map(|cpu| cpu.get(*c as usize))
                .fold(0, |a: u64, b| a.wrapping_add(*b))
        };
        Ok(Counter::ALL.iter().map(|c| (*c, sum(c))).collect())
    }
}

/// Whether a service is not to be open without the daemon.
fn closed(services: &[Service]) -> bool {
    services.iter().any(|s| s.mode != Mode::Alert && s.fail == FailMode::Closed)
}

/// Removes pinned maps that this build cannot take over.
fn forget_maps(pins: &Path) {
    for name in PINNED {
        let _ = fs::remove_file(pins.join(name));
    }
}

fn set_up(ebpf: &mut Ebpf, config: &Config) -> Result<(), Error> {
    let mut extra = [Prefix { word: 0, mask: 0 }; EXTRA_LINES];
    for (to, name) in extra.iter_mut().zip(&config.extra_headers) {
        *to = Prefix::of(name);
    }
    let terms = bytemuck::cast::<Terms, [u64; 10]>(Terms { secret: config.secret, extra });
    let mut settings: Array<MapData, [u64; 10]> = take(ebpf, "GUARD_SETTINGS")?;
    settings.set(0, terms, 0).map_err(|e| map_error("GUARD_SETTINGS", &e))?;
    Ok(())
}

fn policy(service: &Service) -> Policy {
    let nanos = |d: Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
    Policy {
        hold: nanos(service.hold),
        heartbeat: nanos(service.heartbeat),
        mode: match service.mode {
            Mode::Alert => 0,
            Mode::Kill => MODE_KILL,
            Mode::Hold => MODE_HOLD,
            Mode::Gate => MODE_GATE,
        },
        dry_run: service.dry_run.into(),
        closed: (service.fail == FailMode::Closed).into(),
        ask_always: service.ask_always.into(),
        body: service.body_bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::try_load;
    use crate::capture::live::probe::Capabilities;

    #[test]
    fn every_program_loads() {
        if !Capabilities::current().can_capture() {
            println!("skipped: needs root");
            return;
        }
        try_load().unwrap();
    }
}
