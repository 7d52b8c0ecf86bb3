//! Who serves a flow: the process behind the listening socket.
//!
//! Looking through /proc takes milliseconds, so a thread does it; the reader only asks and
//! collects. Answers are kept by cgroup and address. Services that listen when capture starts are
//! found before the first segment.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use super::cgroup;
use crate::capture::{FlowKey, Input, Service, canonical};

/// Answers kept; when there are more, all are looked up anew.
const MAX_KNOWN: usize = 4096;
/// Flows waiting for an answer.
const MAX_WAITING: usize = 4096;
/// Questions on their way to the thread.
const MAX_QUESTIONS: usize = 256;
/// Processes looked at for one answer.
const MAX_PROCESSES: usize = 32_768;
/// File descriptors looked at in one process.
const MAX_DESCRIPTORS: usize = 65_536;
/// An answer is looked up again after this long, and at once when its process is gone.
const FRESH_FOR: Duration = Duration::from_secs(30);
/// The same for the answer that nobody was found.
const NOBODY_FRESH_FOR: Duration = Duration::from_secs(1);

type Key = (u64, SocketAddr);

struct Known {
    service: Arc<Service>,
    at: Instant,
}

impl Known {
    fn is_fresh(&self) -> bool {
        let limit = if self.service.pid.is_some() { FRESH_FOR } else { NOBODY_FRESH_FOR };
        self.at.elapsed() < limit
    }

    /// A service that was restarted shall not be named by its old process.
    fn is_gone(&self) -> bool {
        use rustix::{io::Errno, process};

        let pid = self.service.pid.and_then(|pid| process::Pid::from_raw(pid.cast_signed()));
        pid.is_some_and(|pid| process::test_kill_process(pid) == Err(Errno::SRCH))
    }
}

/// The reader's side.
pub(super) struct Services {
    ask: SyncSender<Key>,
    answers: Receiver<(Key, Arc<Service>)>,
    /// What listened when capture started, by cgroup.
    seeds: Vec<(u64, Arc<Service>)>,
    known: HashMap<Key, Known, foldhash::fast::RandomState>,
    asked: HashMap<Key, (), foldhash::fast::RandomState>,
    waiting: VecDeque<FlowKey>,
    /// Flows that were given up because too many waited.
    pub(super) dropped: u64,
}

fn key(flow: &FlowKey) -> Key {
    (flow.scope, flow.server)
}

impl Services {
    /// `root` is the cgroup v2 mount. Looks for what listens on `ports` now.
    pub(super) fn new(root: PathBuf, ports: &[u16]) -> Self {
        let seeds = listening_now(&root, ports);
        let (ask, questions) = sync_channel::<Key>(MAX_QUESTIONS);
        let (tell, answers) = sync_channel(MAX_QUESTIONS);
        let thread = std::thread::Builder::new().name("jotwatch-who".into());
        // Ends when either channel's other end is dropped. Without the thread nothing is
        // answered, and flows stay without a service.
        let _ = thread.spawn(move || {
            while let Ok(key) = questions.recv() {
                let service = Arc::new(look_up(&root, key.0, key.1));
                if tell.send((key, service)).is_err() {
                    break;
                }
            }
        });
        Self {
            ask,
            answers,
            seeds,
            known: HashMap::default(),
            asked: HashMap::default(),
            waiting: VecDeque::new(),
            dropped: 0,
        }
    }

    /// Nobody looks anything up.
    #[cfg(any(test, fuzzing))]
    pub(super) fn unanswered() -> Self {
        Self {
            ask: sync_channel(1).0,
            answers: sync_channel(1).1,
            seeds: Vec::new(),
            known: HashMap::default(),
            asked: HashMap::default(),
            waiting: VecDeque::new(),
            dropped: 0,
        }
    }

    /// Answers at once if the service is known, otherwise soon, from [`Services::deliver`].
    pub(super) fn ask(&mut self, flow: FlowKey, f: &mut impl FnMut(Input<'_>)) {
        let key = key(&flow);
        if self.known.get(&key).is_some_and(Known::is_gone) {
            self.known.remove(&key);
        } else if !self.known.contains_key(&key)
            && let Some(seed) = self.take_seed(key)
        {
            self.remember(key, seed);
        }
        if let Some(known) = self.known.get(&key) {
            f(Input::Service { flow, service: Arc::clone(&known.service) });
            if known.is_fresh() {
                return;
            }
        } else if self.waiting.len() < MAX_WAITING {
            self.waiting.push_back(flow);
        } else {
            self.dropped += 1;
        }
        if !self.asked.contains_key(&key) && self.ask.try_send(key).is_ok() {
            self.asked.insert(key, ());
        }
    }

    fn remember(&mut self, key: Key, service: Arc<Service>) {
        if self.known.len() >= MAX_KNOWN {
            self.known.clear();
        }
        self.known.insert(key, Known { service, at: Instant::now() });
    }

    /// The service that was found at the start, if it still lives.
    fn take_seed(&mut self, (scope, server): Key) -> Option<Arc<Service>> {
        let listen = |service: &Service| service.listen.filter(|listen| serves(*listen, server));
        let (at, _) = self
            .seeds
            .iter()
            .enumerate()
            .filter(|(_, (of, _))| *of == scope)
            .filter_map(|(at, (_, service))| Some((at, listen(service)?)))
            // An exact address wins over a wildcard.
            .min_by_key(|(_, listen)| listen.ip().is_unspecified())?;
        let service = Arc::clone(&self.seeds.get(at)?.1);
        let known = Known { service, at: Instant::now() };
        if known.is_gone() {
            self.seeds.swap_remove(at);
            return None;
        }
        Some(known.service)
    }

    /// Hands on what has been found out since.
    pub(super) fn deliver(&mut self, f: &mut impl FnMut(Input<'_>)) {
        let mut news = false;
        while let Ok((key, service)) = self.answers.try_recv() {
            self.asked.remove(&key);
            self.remember(key, service);
            news = true;
        }
        if !news {
            return;
        }
        for _ in 0..self.waiting.len() {
            let Some(flow) = self.waiting.pop_front() else { break };
            let key = key(&flow);
            if let Some(known) = self.known.get(&key) {
                f(Input::Service { flow, service: Arc::clone(&known.service) });
            } else if self.asked.contains_key(&key) {
                self.waiting.push_back(flow);
            } else {
                self.dropped += 1;
            }
        }
    }
}

/// All process ids, ascending.
fn processes() -> Vec<u32> {
    let mut all: Vec<u32> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| number(&e.file_name()))
        .take(MAX_PROCESSES)
        .collect();
    all.sort_unstable();
    all
}

/// The services that listen on `ports` now, with the ids of their processes' cgroups. A socket
/// that was made in another cgroup than its process is in now is not found by this, but when its
/// first connection comes.
fn listening_now(root: &Path, ports: &[u16]) -> Vec<(u64, Arc<Service>)> {
    let mut found: Vec<(u64, Arc<Service>)> = Vec::new();
    // Tables by network namespace. Of the processes that share a socket the first is named.
    let mut tables: HashMap<PathBuf, Vec<Listener>> = HashMap::new();
    for pid in processes() {
        let Some(namespace) = namespace(pid) else { continue };
        let table = tables.entry(namespace).or_insert_with(|| {
            let mut all = listeners(pid);
            all.retain(|l| ports.contains(&l.address.port()));
            all
        });
        if table.is_empty() {
            continue;
        }
        for inode in socket_inodes(pid) {
            let Some(at) = table.iter().position(|l| l.inode == inode) else { continue };
            let listen = table.swap_remove(at).address;
            let Some(cgroup) = cgroup_of(pid) else { break };
            let relative = cgroup.trim_start_matches('/');
            let Ok(id) = cgroup::id(&root.join(relative)) else { break };
            let service = Service {
                pid: Some(pid),
                command: comm(pid),
                cgroup: Some(format!("/{relative}")),
                listen: Some(listen),
            };
            found.push((id, Arc::new(service)));
            if found.len() >= MAX_KNOWN {
                return found;
            }
        }
    }
    found
}

/// The cgroup v2 path of a process: the line `0::PATH` of cgroups(7).
fn cgroup_of(pid: u32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}

fn number<T: std::str::FromStr>(name: &std::ffi::OsStr) -> Option<T> {
    name.to_str()?.parse().ok()
}

/// Finds the process that listens on `server` for sockets of the cgroup `id`.
fn look_up(root: &Path, id: u64, server: SocketAddr) -> Service {
    let group = cgroup::find(root, id);
    let mut service = Service {
        cgroup: group.as_ref().map(|g| {
            let relative = g.strip_prefix(root).unwrap_or(g);
            format!("/{}", relative.display())
        }),
        ..Service::default()
    };
    let own = group
        .and_then(|g| fs::read_to_string(g.join("cgroup.procs")).ok())
        .map(|text| text.lines().filter_map(|l| l.parse().ok()).collect::<Vec<u32>>())
        .unwrap_or_default();
    // The cgroup's own processes first; a socket keeps the cgroup that it was made in, so then
    // others. But only of the same network namespaces: elsewhere the same address is another's.
    let found = listener(&own, server, |_| true).or_else(|| {
        let namespaces: HashSet<PathBuf> = own.iter().filter_map(|&pid| namespace(pid)).collect();
        if namespaces.is_empty() {
            return None;
        }
        listener(&processes(), server, |namespace| namespaces.contains(namespace))
    });
    if let Some((pid, listen)) = found {
        service.pid = Some(pid);
        service.command = comm(pid);
        service.listen = Some(listen);
    }
    service
}

/// The command name of a process.
pub(super) fn comm(pid: u32) -> Option<String> {
    Some(fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim_end().to_owned())
}

/// Names the network namespace of a process.
fn namespace(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/net")).ok()
}

/// The first of `pids` that holds a socket listening on `server` in one of the network namespaces
/// that `within` takes, and its address. Namespaces are told apart by looking at each process's
/// own table.
fn listener(
    pids: &[u32],
    server: SocketAddr,
    within: impl Fn(&Path) -> bool,
) -> Option<(u32, SocketAddr)> {
    // Tables by network namespace.
    let mut tables: HashMap<PathBuf, Vec<Listener>> = HashMap::new();
    for &pid in pids {
        let Some(namespace) = namespace(pid).filter(|n| within(n)) else { continue };
        let table = tables.entry(namespace).or_insert_with(|| {
            let mut all = listeners(pid);
            all.retain(|l| serves(l.address, server));
            // An exact address wins over a wildcard.
            all.sort_by_key(|l| l.address.ip().is_unspecified());
            all
        });
        if table.is_empty() {
            continue;
        }
        for inode in socket_inodes(pid) {
            if let Some(l) = table.iter().find(|l| l.inode == inode) {
                return Some((pid, l.address));
            }
        }
    }
    None
}

/// Whether a socket bound to `listen` takes connections to `server`.
fn serves(listen: SocketAddr, server: SocketAddr) -> bool {
    let listen = canonical(listen);
    listen.port() == server.port() && (listen.ip() == server.ip() || listen.ip().is_unspecified())
}

/// A listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listener {
    pub(super) address: SocketAddr,
    pub(super) inode: u64,
}

/// Listening TCP sockets in the network namespace of process `pid`.
pub(super) fn listeners(pid: u32) -> Vec<Listener> {
    ["tcp", "tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(format!("/proc/{pid}/net/{table}")).ok())
        .flat_map(|text| text.lines().skip(1).filter_map(listening).collect::<Vec<_>>())
        .collect()
}

/// One line of /proc/net/tcp or tcp6, if its socket listens (state 0A).
fn listening(line: &str) -> Option<Listener> {
    let mut fields = line.split_ascii_whitespace();
    let local = fields.nth(1)?;
    if fields.nth(1)? != "0A" {
        return None;
    }
    let inode = fields.nth(5)?.parse().ok()?;
    let (ip, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    // The kernel prints each 32-bit word of the address as it lies in memory.
    let word =
        |i: usize| u32::from_str_radix(ip.get(i * 8..i * 8 + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip = match ip.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            let mut bytes = [0; 16];
            for (to, from) in bytes.iter_mut().zip(words.as_flattened()) {
                *to = *from;
            }
            IpAddr::V6(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some(Listener { address: SocketAddr::new(ip, port), inode })
}

/// Inodes of the sockets that a process has open.
pub(super) fn socket_inodes(pid: u32) -> impl Iterator<Item = u64> {
    fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten()
        .take(MAX_DESCRIPTORS)
        .filter_map(|e| {
            let link = fs::read_link(e.path()).ok()?;
            link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
        })
}

#[cfg(test)]
mod tests {
    use super::{Listener, listening, serves};

    #[test]
    fn reads_the_kernels_tables() {
        let v4 = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12345 1 0000000000000000 100 0 0 10 0";
        assert_eq!(
            listening(v4),
            Some(Listener { address: "127.0.0.1:8080".parse().unwrap(), inode: 12345 })
        );
        assert_eq!(listening(&v4.replace(" 0A ", " 01 ")), None);
        let v6 = "   0: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 7 1 0";
        assert_eq!(
            listening(v6),
            Some(Listener { address: "[::1]:80".parse().unwrap(), inode: 7 })
        );
        assert_eq!(listening("garbage"), None);
    }

    #[test]
    fn a_wildcard_serves_every_address() {
        let server = "10.0.0.1:80".parse().unwrap();
        for listen in ["0.0.0.0:80", "[::]:80", "10.0.0.1:80", "[::ffff:10.0.0.1]:80"] {
            assert!(serves(listen.parse().unwrap(), server), "{listen}");
        }
        for listen in ["0.0.0.0:81", "10.0.0.2:80", "[::1]:80"] {
            assert!(!serves(listen.parse().unwrap(), server), "{listen}");
        }
    }
}
