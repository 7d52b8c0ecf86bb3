//! What this host can do, for `jotwatch doctor`. Plain values; nothing stays loaded.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use jotwatch_common::Offset;

use super::{OBJECT, btf, cgroup, load, load_object, service};

/// The cgroup_skb ingress program.
pub const INGRESS: &str = "jotwatch_ingress";
/// The cgroup_skb egress program.
pub const EGRESS: &str = "jotwatch_egress";
/// The `inet_sock_set_state` program.
pub const STATE: &str = "jotwatch_state";

/// `uname -r`.
#[must_use]
pub fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Whether the kernel publishes its types.
#[must_use]
pub fn btf_present() -> bool {
    Path::new(btf::VMLINUX).exists()
}

/// Where the kernel keeps what is read of a socket, by [`Offset`]; needed to hear of opens and
/// closes.
#[must_use]
pub fn socket_offsets() -> Option<[u32; Offset::COUNT]> {
    btf::member_offsets(&Offset::MEMBERS)
}

/// Where cgroup v2 is mounted.
#[must_use]
pub fn cgroup_mount() -> Option<PathBuf> {
    cgroup::mount()
}

/// Effective capabilities, as a bit set (capabilities(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities(pub u64);

impl Capabilities {
    const NET_ADMIN: u32 = 12;
    const SYS_ADMIN: u32 = 21;
    const PERFMON: u32 = 38;
    const BPF: u32 = 39;

    /// This process's.
    #[must_use]
    pub fn current() -> Self {
        let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self(
            text.lines()
                .find_map(|l| l.strip_prefix("CapEff:"))
                .and_then(|v| u64::from_str_radix(v.trim(), 16).ok())
                .unwrap_or(0),
        )
    }

    const fn has(self, bit: u32) -> bool {
        self.0 >> bit & 1 != 0
    }

    /// Enough to load and attach: CAP_SYS_ADMIN, or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON.
    #[must_use]
    pub const fn can_capture(self) -> bool {
        self.has(Self::SYS_ADMIN)
            || (self.has(Self::BPF) && self.has(Self::NET_ADMIN) && self.has(Self::PERFMON))
    }

    /// Those of the four that are missing, by name.
    #[must_use]
    pub fn missing(self) -> Vec<&'static str> {
        if self.has(Self::SYS_ADMIN) {
            return Vec::new();
        }
        [(Self::BPF, "CAP_BPF"), (Self::NET_ADMIN, "CAP_NET_ADMIN"), (Self::PERFMON, "CAP_PERFMON")]
            .into_iter()
            .filter(|(bit, _)| !self.has(*bit))
            .map(|(_, name)| name)
            .collect()
    }
}

/// A program's name, and whether it loads.
pub type Loaded = (&'static str, Result<(), super::Error>);

/// Tries to create all maps, the ring buffer among them, and to load each program. Nothing is
/// attached. The first error is the object's or the maps'; then each program by name.
pub fn programs() -> Result<Vec<Loaded>, super::Error> {
    let mut ebpf = load_object(OBJECT, 1 << 16, socket_offsets().unwrap_or_default())?;
    Ok([INGRESS, EGRESS, STATE].map(|name| (name, load(&mut ebpf, name))).into())
}

/// A listening TCP socket and its process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listening {
    /// The address and port.
    pub address: SocketAddr,
    /// The lowest pid that holds the socket, if it could be seen.
    pub pid: Option<u32>,
    /// That process's command name.
    pub command: Option<String>,
    /// TLS libraries that it has mapped (`libssl`, `libgnutls`, ...). Programs with TLS linked in
    /// (Go, rustls, BoringSSL) cannot be told this way.
    pub tls: Vec<String>,
}

/// All listening TCP sockets, in every network namespace that a visible process lives in.
pub fn listening() -> io::Result<Vec<Listening>> {
    let mut pids: Vec<u32> = fs::read_dir("/proc")?
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    let mut namespaces = BTreeSet::new();
    let mut sockets = BTreeMap::new();
    for &pid in &pids {
        if let Ok(namespace) = fs::read_link(format!("/proc/{pid}/ns/net"))
            && namespaces.insert(namespace)
        {
            for l in service::listeners(pid) {
                sockets.entry(l.inode).or_insert((l.address, None));
            }
        }
    }
    for &pid in &pids {
        for inode in service::socket_inodes(pid) {
            if let Some((_, owner @ None)) = sockets.get_mut(&inode) {
                *owner = Some(pid);
            }
        }
    }
    let mut out: Vec<_> = sockets
        .into_values()
        .map(|(address, pid)| Listening {
            address,
            pid,
            command: pid.and_then(service::comm),
            tls: pid.map(tls_libraries).unwrap_or_default(),
        })
        .collect();
    out.sort_by_key(|l| (l.address.port(), l.address));
    Ok(out)
}

/// TLS libraries mapped by a process.
fn tls_libraries(pid: u32) -> Vec<String> {
    const NAMES: [&str; 5] = ["libssl", "libgnutls", "libnss3", "libmbedtls", "libwolfssl"];
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let found: BTreeSet<_> = maps
        .lines()
        .filter_map(|l| l.rsplit_once('/').map(|(_, name)| name))
        .filter(|name| NAMES.iter().any(|n| name.starts_with(n)))
        .map(str::to_owned)
        .collect();
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::{Capabilities, programs};

    #[test]
    fn every_program_loads() {
        if !Capabilities::current().can_capture() {
            println!("skipped: needs root");
            return;
        }
        for (name, result) in programs().unwrap() {
            assert!(result.is_ok(), "{name}: {}", result.unwrap_err());
        }
    }

    #[test]
    fn missing_capabilities_are_named() {
        assert_eq!(Capabilities(0).missing(), ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"]);
        assert_eq!(Capabilities(1 << 21).missing(), [""; 0]);
        assert!(!Capabilities(1 << 39).can_capture());
        assert!(Capabilities(1 << 39 | 1 << 38 | 1 << 12).can_capture());
    }
}
