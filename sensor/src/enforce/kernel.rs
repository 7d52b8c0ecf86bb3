//! [`Tables`] over the guard's maps.

use std::{io, net::IpAddr};

use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, LpmTrie, MapData, MapError, lpm_trie::Key},
};
use ipnet::IpNet;
use jotwatch_common::guard::tables as kernel;

use super::{
    guard::{Error, kernel_time, map_error, take},
    tables::{AllowKey, Deny, ServiceId, TableCounts, TableError, Tables, TokenKey},
};
use crate::time::Time;

/// Only if it is not there yet (`BPF_NOEXIST`).
const NEW: u64 = 1;

/// An entry as the kernel has it: [`kernel::DenyEntry`].
type Entry = [u64; 2];

/// The guard's maps. Their limits are the kernel's own, above those of the trait.
pub struct KernelTables {
    tokens: HashMap<MapData, [u64; 2], Entry>,
    flows: HashMap<MapData, u64, Entry>,
    denied4: LpmTrie<MapData, [u8; 4], Entry>,
    denied6: LpmTrie<MapData, [u8; 16], Entry>,
    allowed4: LpmTrie<MapData, [u8; 4], u32>,
    allowed6: LpmTrie<MapData, [u8; 16], u32>,
    allowed: HashMap<MapData, [u64; 4], u64>,
    changes: Array<MapData, [u64; 2]>,
    /// What `changes` has.
    changed: kernel::Changes,
    /// Entries that were put in less those that were taken out; the kernel does not count them.
    counts: TableCounts,
}

impl std::fmt::Debug for KernelTables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KernelTables").field("counts", &self.counts).finish_non_exhaustive()
    }
}

fn entry(deny: Deny) -> Entry {
    [deny.until.map_or(u64::MAX, kernel_time), deny.cause as u64]
}

fn failed(table: &'static str, limit: u32, error: MapError) -> TableError {
    let source = match error {
        MapError::SyscallError(e) => e.io_error,
        e => io::Error::other(e.to_string()),
    };
    // E2BIG of hash tables, ENOSPC of tries.
    match source.raw_os_error() {
        Some(libc::E2BIG | libc::ENOSPC) => TableError::Full { table, limit: limit as usize },
        _ => TableError::Io { table, source },
    }
}

fn exists(error: &MapError) -> bool {
    matches!(error, MapError::SyscallError(e) if e.io_error.raw_os_error() == Some(libc::EEXIST))
}

/// Whether something was there to be removed.
fn removed(result: Result<(), MapError>) -> Result<bool, MapError> {
    match result {
        Ok(()) => Ok(true),
        Err(MapError::KeyNotFound) => Ok(false),
        Err(MapError::SyscallError(e)) if e.io_error.raw_os_error() == Some(libc::ENOENT) => {
            Ok(false)
        }
        Err(e) => Err(e),
    }
}

/// Puts an entry in, and counts it if it is new.
fn put(
    count: &mut u64,
    mut insert: impl FnMut(u64) -> Result<(), MapError>,
) -> Result<(), MapError> {
    match insert(NEW) {
        Ok(()) => {
            *count += 1;
            Ok(())
        }
        Err(e) if exists(&e) => insert(0),
        Err(e) => Err(e),
    }
}

fn discard(count: &mut u64, result: Result<(), MapError>) -> Result<(), MapError> {
    if removed(result)? {
        *count = count.saturating_sub(1);
    }
    Ok(())
}

fn clear_hash<K: Pod, V: Pod>(map: &mut HashMap<MapData, K, V>) -> Result<(), MapError> {
    let keys = map.keys().collect::<Result<Vec<_>, _>>()?;
    keys.iter().try_for_each(|key| removed(map.remove(key)).map(|_| ()))
}

fn clear_trie<K: Pod, V: Pod>(map: &mut LpmTrie<MapData, K, V>) -> Result<(), MapError> {
    let keys = map.keys().collect::<Result<Vec<_>, _>>()?;
    keys.iter().try_for_each(|key| removed(map.remove(key)).map(|_| ()))
}

fn allowed_key(key: AllowKey, service: ServiceId) -> [u64; 4] {
    bytemuck::cast(kernel::AllowedKey {
        key: key.0,
        cgroup: service.cgroup,
        port: service.port.into(),
        reserved: 0,
    })
}

const TOKENS: &str = "denied tokens";
const FLOWS: &str = "denied connections";
const NETWORKS: &str = "denied networks";
const ALLOWED_NETWORKS: &str = "allowed networks";
const ALLOWED: &str = "allowed tokens";

impl KernelTables {
    /// Takes the maps; what an earlier daemon left in them is counted.
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, Error> {
        let mut tables = Self {
            tokens: take(ebpf, "DENIED_TOKENS")?,
            flows: take(ebpf, "DENIED_FLOWS")?,
            denied4: take(ebpf, "DENIED_NETS4")?,
            denied6: take(ebpf, "DENIED_NETS6")?,
            allowed4: take(ebpf, "ALLOWED_NETS4")?,
            allowed6: take(ebpf, "ALLOWED_NETS6")?,
            allowed: take(ebpf, "ALLOWED")?,
            changes: take(ebpf, "CHANGES")?,
            changed: kernel::Changes { count: 0, flows_until: 0 },
            counts: TableCounts::default(),
        };
        let fail = |e| map_error("CHANGES", &e);
        tables.changed = bytemuck::cast(tables.changes.get(&0, 0).map_err(fail)?);
        // Of the entries themselves: an earlier build may not have noted it.
        let left = tables.flows.iter().flatten().map(|(_, [until, _])| until).max();
        tables.changed.flows_until = left.unwrap_or(0);
        tables.note_change().map_err(fail)?;
        tables.counts = TableCounts {
            denied_tokens: tables.tokens.keys().count() as u64,
            denied_flows: tables.flows.keys().count() as u64,
            denied_networks: (tables.denied4.keys().count() + tables.denied6.keys().count()) as u64,
            allowed_networks: (tables.allowed4.keys().count() + tables.allowed6.keys().count())
                as u64,
            allowed_tokens: 0,
        };
        Ok(tables)
    }

    /// Makes the programs look up again what they have looked up. Behind every change by which less
    /// may pass, also one that failed half-way.
    fn note_change(&mut self) -> Result<(), MapError> {
        self.changed.count += 1;
        // 0 is what a program has that has looked up nothing.
        if self.changed.count as u32 == 0 {
            self.changed.count += 1;
        }
        self.changes.set(0, bytemuck::cast::<_, [u64; 2]>(self.changed), 0)
    }

    /// [`note_change`](Self::note_change) behind a change, which fails if either does.
    fn noted(
        &mut self,
        changed: Result<(), MapError>,
        (table, limit): (&'static str, u32),
    ) -> Result<(), TableError> {
        let noted = self.note_change();
        changed.and(noted).map_err(|e| failed(table, limit, e))
    }
}

impl Tables for KernelTables {
    fn deny_token(&mut self, key: TokenKey, deny: Deny) -> Result<(), TableError> {
        self.deny_tokens(&[(key, deny)])
    }

    fn deny_tokens(&mut self, entries: &[(TokenKey, Deny)]) -> Result<(), TableError> {
        let (map, count) = (&mut self.tokens, &mut self.counts.denied_tokens);
        let denied = entries
            .iter()
            .try_for_each(|&(key, deny)| put(count, |flags| map.insert(key.0, entry(deny), flags)));
        self.noted(denied, (TOKENS, kernel::MAX_DENIED_TOKENS))
    }

    fn remove_token(&mut self, key: TokenKey) -> Result<(), TableError> {
        discard(&mut self.counts.denied_tokens, self.tokens.remove(&key.0))
            .map_err(|e| failed(TOKENS, kernel::MAX_DENIED_TOKENS, e))
    }

    fn deny_network(&mut self, network: IpNet, deny: Deny) -> Result<(), TableError> {
        let (prefix, value) = (u32::from(network.prefix_len()), entry(deny));
        let count = &mut self.counts.denied_networks;
        let denied = match network.network() {
            IpAddr::V4(a) => {
                let map = &mut self.denied4;
                put(count, |flags| map.insert(&Key::new(prefix, a.octets()), value, flags))
            }
            IpAddr::V6(a) => {
                let map = &mut self.denied6;
                put(count, |flags| map.insert(&Key::new(prefix, a.octets()), value, flags))
            }
        };
        self.noted(denied, (NETWORKS, kernel::MAX_NETWORKS))
    }

    /// What it hid is denied again, so this is a change.
    fn remove_network(&mut self, network: IpNet) -> Result<(), TableError> {
        let prefix = u32::from(network.prefix_len());
        let result = match network.network() {
            IpAddr::V4(a) => self.denied4.remove(&Key::new(prefix, a.octets())),
            IpAddr::V6(a) => self.denied6.remove(&Key::new(prefix, a.octets())),
        };
        let removed = discard(&mut self.counts.denied_networks, result);
        self.noted(removed, (NETWORKS, kernel::MAX_NETWORKS))
    }

    fn deny_flow(&mut self, cookie: u64, deny: Deny) -> Result<(), TableError> {
        let (map, value) = (&mut self.flows, entry(deny));
        let denied = put(&mut self.counts.denied_flows, |flags| map.insert(cookie, value, flags));
        self.changed.flows_until = self.changed.flows_until.max(value[0]);
        self.noted(denied, (FLOWS, kernel::MAX_DENIED_FLOWS))
    }

    fn remove_flow(&mut self, cookie: u64) -> Result<(), TableError> {
        discard(&mut self.counts.denied_flows, self.flows.remove(&cookie))
            .map_err(|e| failed(FLOWS, kernel::MAX_DENIED_FLOWS, e))
    }

    /// Its connections are looked up again, too: what is allowed passes whatever is denied.
    fn allow_network(&mut self, network: IpNet) -> Result<(), TableError> {
        let prefix = u32::from(network.prefix_len());
        let count = &mut self.counts.allowed_networks;
        let allowed = match network.network() {
            IpAddr::V4(a) => {
                let map = &mut self.allowed4;
                put(count, |flags| map.insert(&Key::new(prefix, a.octets()), 1, flags))
            }
            IpAddr::V6(a) => {
                let map = &mut self.allowed6;
                put(count, |flags| map.insert(&Key::new(prefix, a.octets()), 1, flags))
            }
        };
        self.noted(allowed, (ALLOWED_NETWORKS, kernel::MAX_NETWORKS))
    }

    fn remove_allowed_network(&mut self, network: IpNet) -> Result<(), TableError> {
        let prefix = u32::from(network.prefix_len());
        let result = match network.network() {
            IpAddr::V4(a) => self.allowed4.remove(&Key::new(prefix, a.octets())),
            IpAddr::V6(a) => self.allowed6.remove(&Key::new(prefix, a.octets())),
        };
        discard(&mut self.counts.allowed_networks, result)
            .map_err(|e| failed(ALLOWED_NETWORKS, kernel::MAX_NETWORKS, e))
    }

    /// The least recently used entry gives way when the map is full.
    fn allow_token(
        &mut self,
        key: AllowKey,
        service: ServiceId,
        until: Time,
    ) -> Result<(), TableError> {
        let (map, key) = (&mut self.allowed, allowed_key(key, service));
        let until = kernel_time(until);
        put(&mut self.counts.allowed_tokens, |flags| map.insert(key, until, flags))
            .map_err(|e| failed(ALLOWED, kernel::MAX_ALLOWED, e))
    }

    fn remove_allowed_token(
        &mut self,
        key: AllowKey,
        service: ServiceId,
    ) -> Result<(), TableError> {
        let result = self.allowed.remove(&allowed_key(key, service));
        let removed = discard(&mut self.counts.allowed_tokens, result);
        self.noted(removed, (ALLOWED, kernel::MAX_ALLOWED))
    }

    fn clear_allowed_tokens(&mut self) -> Result<(), TableError> {
        let cleared = clear_hash(&mut self.allowed);
        self.noted(cleared, (ALLOWED, kernel::MAX_ALLOWED))?;
        self.counts.allowed_tokens = 0;
        Ok(())
    }

    fn clear(&mut self) -> Result<(), TableError> {
        clear_hash(&mut self.tokens).map_err(|e| failed(TOKENS, kernel::MAX_DENIED_TOKENS, e))?;
        clear_hash(&mut self.flows).map_err(|e| failed(FLOWS, kernel::MAX_DENIED_FLOWS, e))?;
        clear_trie(&mut self.denied4)
            .and_then(|()| clear_trie(&mut self.denied6))
            .map_err(|e| failed(NETWORKS, kernel::MAX_NETWORKS, e))?;
        clear_trie(&mut self.allowed4)
            .and_then(|()| clear_trie(&mut self.allowed6))
            .map_err(|e| failed(ALLOWED_NETWORKS, kernel::MAX_NETWORKS, e))?;
        self.clear_allowed_tokens()?;
        self.counts = TableCounts::default();
        Ok(())
    }

    /// Connections and judged tokens that gave way to others are still counted.
    fn counts(&self) -> TableCounts {
        self.counts
    }
}
