//! Finding the socket of a connection that is to be cut, and ending it.
//!
//! A socket can be ended only from its own network namespace. The daemon runs in the host's;
//! containers have their own. Which one a connection is in follows from the process that serves
//! it, else from the processes of the cgroup that owns its socket. A netlink socket stays in the
//! namespace that it was made in, so a thread goes there once to make one (setns(2)), and the
//! socket is kept for the next time.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    net::SocketAddr,
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    thread,
    time::{Duration, Instant},
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{Cut, CutOutcome, sock_diag::SockDiag};
use crate::{capture::live, confine};

/// Network namespaces in which a socket is kept; the one unused longest gives way.
const MAX_NAMESPACES: usize = 64;

/// A namespace lives as long as a socket in it: one that was not used for so long is closed, so
/// that a container that is gone takes its namespace with it.
const KEEP: Duration = Duration::from_secs(60);

/// Cgroups of which the namespaces are remembered; when there are more, all are looked up anew.
const MAX_CGROUPS: usize = 1_024;

/// Processes of one cgroup whose namespaces are looked at.
const MAX_PROCESSES: usize = 64;

/// A network namespace: the inode number of its file in nsfs.
type Namespace = u64;

#[derive(Debug)]
struct Kept {
    diag: SockDiag,
    used: Instant,
}

/// Ends connections. Made once for a daemon; needs CAP_NET_ADMIN, and CAP_SYS_ADMIN for
/// connections of other network namespaces.
#[derive(Debug)]
pub(super) struct Resetter {
    own: Namespace,
    kept: HashMap<Namespace, Kept>,
    /// By cgroup: where its connections were found, with a process to enter by.
    cgroups: HashMap<u64, Vec<(Namespace, u32)>>,
}

impl Resetter {
    pub(super) fn new() -> Self {
        // Without /proc there is no other namespace to be found either.
        let own = namespace_of("self").unwrap_or(0);
        Self { own, kept: HashMap::new(), cgroups: HashMap::new() }
    }

    /// Ends the connection: both its ends, where both are in one namespace of this host.
    pub(super) fn reset(&mut self, cut: &Cut) -> io::Result<CutOutcome> {
        let (server, client) = (cut.flow.server, cut.flow.client);
        let known = self.cgroups.contains_key(&cut.flow.scope);
        let mut failure = None;
        for fresh in [false, true] {
            // What is known of a cgroup may be out of date: looked up anew before giving up.
            if fresh && !known {
                break;
            }
            if fresh {
                self.cgroups.remove(&cut.flow.scope);
            }
            for (namespace, pid) in self.candidates(cut) {
                match self.destroy_in(namespace, pid, server, client, cut.cookie) {
                    Ok(true) => {
                        self.end_client(namespace, pid, server, client);
                        return Ok(CutOutcome::Reset);
                    }
                    Ok(false) => {}
                    Err(error) => failure = Some(error),
                }
            }
        }
        failure.map_or(Ok(CutOutcome::Gone), Err)
    }

    /// Closes what was not used for long.
    pub(super) fn tidy(&mut self) {
        let own = self.own;
        self.kept.retain(|&namespace, kept| namespace == own || kept.used.elapsed() < KEEP);
    }

    /// The client's end, where it is here too. The RST has most often ended it already.
    fn end_client(
        &mut self,
        namespace: Namespace,
        pid: u32,
        server: SocketAddr,
        client: SocketAddr,
    ) {
        if client.ip().is_loopback() || client.ip() == server.ip() {
            let _ = self.destroy_in(namespace, pid, client, server, 0);
        }
    }

    fn destroy_in(
        &mut self,
        namespace: Namespace,
        pid: u32,
        local: SocketAddr,
        remote: SocketAddr,
        cookie: u64,
    ) -> io::Result<bool> {
        if !self.kept.contains_key(&namespace) {
            let diag =
                if namespace == self.own { SockDiag::new()? } else { make_in(pid, namespace)? };
            if self.kept.len() >= MAX_NAMESPACES {
                let oldest = self.kept.iter().min_by_key(|(_, kept)| kept.used);
                let oldest = oldest.map(|(&namespace, _)| namespace);
                oldest.map(|namespace| self.kept.remove(&namespace));
            }
            self.kept.insert(namespace, Kept { diag, used: Instant::now() });
        }
        let Some(kept) = self.kept.get_mut(&namespace) else { return Ok(false) };
        kept.used = Instant::now();
        let result = kept.diag.destroy(local, remote, cookie);
        if result.is_err() {
            // Whatever went wrong with this socket, the next one starts clean.
            self.kept.remove(&namespace);
        }
        result
    }

    /// Where the connection may be, the likeliest first.
    fn candidates(&mut self, cut: &Cut) -> Vec<(Namespace, u32)> {
        let mut found = Vec::new();
        if let Some(pid) = cut.pid
            && let Some(namespace) = namespace_of(&pid.to_string())
        {
            found.push((namespace, pid));
        }
        let of_cgroup = match self.cgroups.get(&cut.flow.scope) {
            Some(known) => known.clone(),
            None => {
                if self.cgroups.len() >= MAX_CGROUPS {
                    self.cgroups.clear();
                }
                let found = namespaces_of_cgroup(cut.flow.scope);
                self.cgroups.insert(cut.flow.scope, found.clone());
                found
            }
        };
        found.extend(of_cgroup);
        // Sockets of a cgroup without processes, or made before their process went elsewhere. A
        // cookie is one socket's on the whole host; addresses alone may be another's here.
        if found.is_empty() || cut.cookie != 0 {
            found.push((self.own, 0));
        }
        let mut seen = Vec::new();
        found.retain(|&(namespace, _)| {
            let new = !seen.contains(&namespace);
            seen.push(namespace);
            new
        });
        found
    }
}

/// The network namespaces of a cgroup's processes, each with a process in it.
fn namespaces_of_cgroup(id: u64) -> Vec<(Namespace, u32)> {
    let mut found: Vec<(Namespace, u32)> = Vec::new();
    let Some(path) = live::cgroup_by_id(id) else { return found };
    let processes = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    for pid in processes.lines().take(MAX_PROCESSES) {
        let (Some(namespace), Ok(pid)) = (namespace_of(pid), pid.parse()) else { continue };
        if found.iter().all(|&(known, _)| known != namespace) {
            found.push((namespace, pid));
        }
    }
    found
}

fn namespace_of(pid: &str) -> Option<Namespace> {
    Some(fs::metadata(format!("/proc/{pid}/ns/net")).ok()?.ino())
}

/// A socket in the namespace of process `pid`, if that is still `namespace`.
fn make_in(pid: u32, namespace: Namespace) -> io::Result<SockDiag> {
    let file = File::open(format!("/proc/{pid}/ns/net"))?;
    if file.metadata()?.ino() != namespace {
        return Err(io::ErrorKind::NotFound.into());
    }
    // A thread of its own: it ends, and with it that anything of this process is elsewhere.
    let entered = thread::Builder::new().name("netns".into()).spawn(move || {
        confine::enter()?;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
        SockDiag::new()
    })?;
    entered.join().map_err(|_| io::Error::other("the thread in the namespace panicked"))?
}

/// Whether this host lets connections be reset at all.
///
/// # Errors
/// What the kernel says: `EOPNOTSUPP` without `CONFIG_INET_DIAG_DESTROY`, `EPERM` without
/// `CAP_NET_ADMIN`.
pub fn probe() -> io::Result<()> {
    SockDiag::new()?.probe()
}
