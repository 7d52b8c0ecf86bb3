//! The look-up tables of enforcement, as those who fill them see them.
//!
//! [`Tables`] is what the denylist and the verdicts write to; the kernel's maps stand behind it in
//! a running daemon, [`MemoryTables`] where there is no kernel to ask. A table holds what a segment
//! is decided by and nothing else: the text of a reason and who asked for an entry stay with the
//! denylist, which is the truth that tables are filled from.
#![forbid(unsafe_code)]

use std::{collections::HashMap, net::IpAddr};

use ipnet::IpNet;

pub use crate::token::guard_keys::{AllowKey, TokenKey};
use crate::{networks::NetworkMap, time::Time};

/// Token keys that a table holds at least.
pub const MAX_TOKENS: usize = 1_000_000;

/// Addresses and networks that a table holds at least, of denied and of allowed ones each.
pub const MAX_NETWORKS: usize = 100_000;

/// Connections that a table holds at least.
pub const MAX_FLOWS: usize = 65_536;

/// Judged tokens that a table holds at least.
pub const MAX_ALLOWED: usize = 262_144;

/// The service that a token was judged for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId {
    /// Id of the cgroup v2 that owns the service's socket, as in a flow's scope.
    pub cgroup: u64,
    /// The service's port.
    pub port: u16,
}

/// On whose word something is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum DenyCause {
    /// A verdict of this daemon.
    Verdict = 1,
    /// A person, over the control socket.
    Operator = 2,
    /// A denylist file or feed.
    File = 3,
}

/// How long something is denied, and on whose word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deny {
    /// The entry counts for nothing from this time on; `None` never.
    pub until: Option<Time>,
    /// On whose word.
    pub cause: DenyCause,
}

impl Deny {
    /// Whether the entry still counts.
    #[must_use]
    pub fn holds(&self, now: Time) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// How many entries each table holds, expired ones that nobody took out included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TableCounts {
    /// Denied token keys.
    pub denied_tokens: u64,
    /// Denied addresses and networks.
    pub denied_networks: u64,
    /// Denied connections.
    pub denied_flows: u64,
    /// Addresses and networks that always pass.
    pub allowed_networks: u64,
    /// Judged tokens that pass at once.
    pub allowed_tokens: u64,
}

/// Why an entry did not come into a table.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// No room.
    #[error("the table of {table} is full ({limit} entries)")]
    Full {
        /// What the table holds.
        table: &'static str,
        /// How many entries it has room for.
        limit: usize,
    },
    /// The kernel refused.
    #[error("the table of {table} can't be written: {source}")]
    Io {
        /// What the table holds.
        table: &'static str,
        /// Why.
        source: std::io::Error,
    },
}

/// Where segments are looked up. To put an entry in again replaces it; to remove one that is not
/// there is no error. An entry of which the time is over has no effect, whether it was removed or
/// not.
///
/// Order of look-up: an allowed network passes whatever else is known of the segment; then
/// connection, network and token key are asked for, and each alone denies.
pub trait Tables: Send {
    /// Denies every token with this signature.
    ///
    /// # Errors
    /// The table is full, or the kernel refuses; nothing has changed then.
    fn deny_token(&mut self, key: TokenKey, deny: Deny) -> Result<(), TableError>;

    /// Denies many tokens; one call into the kernel for many where it offers that.
    ///
    /// # Errors
    /// As [`deny_token`](Self::deny_token); those before the one that failed are denied.
    fn deny_tokens(&mut self, entries: &[(TokenKey, Deny)]) -> Result<(), TableError> {
        entries.iter().try_for_each(|&(key, deny)| self.deny_token(key, deny))
    }

    /// Denies tokens with this signature no more.
    ///
    /// # Errors
    /// The kernel refuses.
    fn remove_token(&mut self, key: TokenKey) -> Result<(), TableError>;

    /// Denies every client of a network; a single address is a network of full length. Where
    /// networks contain each other, the longest prefix that matches decides, so an entry that has
    /// expired hides a shorter one until it is removed.
    ///
    /// # Errors
    /// As [`deny_token`](Self::deny_token).
    fn deny_network(&mut self, network: IpNet, deny: Deny) -> Result<(), TableError>;

    /// Denies this network no more; the networks in it and around it stay.
    ///
    /// # Errors
    /// The kernel refuses.
    fn remove_network(&mut self, network: IpNet) -> Result<(), TableError>;

    /// Denies a connection, named by the cookie of the service's socket.
    ///
    /// # Errors
    /// As [`deny_token`](Self::deny_token).
    fn deny_flow(&mut self, cookie: u64, deny: Deny) -> Result<(), TableError>;

    /// Denies this connection no more.
    ///
    /// # Errors
    /// The kernel refuses.
    fn remove_flow(&mut self, cookie: u64) -> Result<(), TableError>;

    /// Lets every client of a network pass, whatever is denied.
    ///
    /// # Errors
    /// As [`deny_token`](Self::deny_token).
    fn allow_network(&mut self, network: IpNet) -> Result<(), TableError>;

    /// Takes back [`allow_network`](Self::allow_network).
    ///
    /// # Errors
    /// The kernel refuses.
    fn remove_allowed_network(&mut self, network: IpNet) -> Result<(), TableError>;

    /// Lets a judged token pass at one service until then.
    ///
    /// # Errors
    /// As [`deny_token`](Self::deny_token). An implementation may drop the least recently used
    /// entry instead of being full.
    fn allow_token(
        &mut self,
        key: AllowKey,
        service: ServiceId,
        until: Time,
    ) -> Result<(), TableError>;

    /// Lets the token pass no more at this service.
    ///
    /// # Errors
    /// The kernel refuses.
    fn remove_allowed_token(&mut self, key: AllowKey, service: ServiceId)
    -> Result<(), TableError>;

    /// Lets no judged token pass any more: keys or policy have changed.
    ///
    /// # Errors
    /// The kernel refuses.
    fn clear_allowed_tokens(&mut self) -> Result<(), TableError>;

    /// Empties every table.
    ///
    /// # Errors
    /// The kernel refuses.
    fn clear(&mut self) -> Result<(), TableError>;

    /// How full the tables are.
    fn counts(&self) -> TableCounts;
}

/// Tables in the daemon's own memory: for tests, for `replay`, and for a daemon whose mode asks
/// nothing of the kernel.
#[derive(Clone, Debug, Default)]
pub struct MemoryTables {
    tokens: HashMap<TokenKey, Deny>,
    networks: NetworkMap<Deny>,
    flows: HashMap<u64, Deny>,
    allowed_networks: NetworkMap<()>,
    allowed_tokens: HashMap<(AllowKey, ServiceId), Time>,
}

/// What a segment carries that tables are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Lookup {
    /// Cookie of the service's socket; 0 where it is not known.
    pub cookie: u64,
    /// The client's address.
    pub client: IpAddr,
    /// The token of the request, where it has one.
    pub token: Option<TokenKey>,
}

impl MemoryTables {
    /// Empty tables.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// On whose word a segment is denied; `None` where it passes.
    #[must_use]
    pub fn denied(&self, now: Time, segment: &Lookup) -> Option<DenyCause> {
        if self.allowed_networks.containing(segment.client).next().is_some() {
            return None;
        }
        let flow = self.flows.get(&segment.cookie).filter(|_| segment.cookie != 0);
        let network = self.networks.containing(segment.client).next().map(|(_, deny)| deny);
        let token = segment.token.and_then(|key| self.tokens.get(&key));
        let mut denials = [flow, network, token].into_iter().flatten();
        denials.find(|deny| deny.holds(now)).map(|deny| deny.cause)
    }

    /// Whether a judged token passes at this service.
    #[must_use]
    pub fn allowed(&self, now: Time, key: AllowKey, service: ServiceId) -> bool {
        self.allowed_tokens.get(&(key, service)).is_some_and(|&until| now < until)
    }
}

fn insert<K: Eq + std::hash::Hash, V>(
    map: &mut HashMap<K, V>,
    (key, value): (K, V),
    table: &'static str,
    limit: usize,
) -> Result<(), TableError> {
    if map.len() >= limit && !map.contains_key(&key) {
        return Err(TableError::Full { table, limit });
    }
    map.insert(key, value);
    Ok(())
}

fn insert_network<V>(
    map: &mut NetworkMap<V>,
    (network, value): (IpNet, V),
    table: &'static str,
) -> Result<(), TableError> {
    if map.len() >= MAX_NETWORKS && map.get(network).is_none() {
        return Err(TableError::Full { table, limit: MAX_NETWORKS });
    }
    map.insert(network, value);
    Ok(())
}

impl Tables for MemoryTables {
    fn deny_token(&mut self, key: TokenKey, deny: Deny) -> Result<(), TableError> {
        insert(&mut self.tokens, (key, deny), "denied tokens", MAX_TOKENS)
    }

    fn remove_token(&mut self, key: TokenKey) -> Result<(), TableError> {
        self.tokens.remove(&key);
        Ok(())
    }

    fn deny_network(&mut self, network: IpNet, deny: Deny) -> Result<(), TableError> {
        insert_network(&mut self.networks, (network, deny), "denied networks")
    }

    fn remove_network(&mut self, network: IpNet) -> Result<(), TableError> {
        self.networks.remove(network);
        Ok(())
    }

    fn deny_flow(&mut self, cookie: u64, deny: Deny) -> Result<(), TableError> {
        insert(&mut self.flows, (cookie, deny), "denied connections", MAX_FLOWS)
    }

    fn remove_flow(&mut self, cookie: u64) -> Result<(), TableError> {
        self.flows.remove(&cookie);
        Ok(())
    }

    fn allow_network(&mut self, network: IpNet) -> Result<(), TableError> {
        insert_network(&mut self.allowed_networks, (network, ()), "allowed networks")
    }

    fn remove_allowed_network(&mut self, network: IpNet) -> Result<(), TableError> {
        self.allowed_networks.remove(network);
        Ok(())
    }

    fn allow_token(
        &mut self,
        key: AllowKey,
        service: ServiceId,
        until: Time,
    ) -> Result<(), TableError> {
        insert(&mut self.allowed_tokens, ((key, service), until), "allowed tokens", MAX_ALLOWED)
    }

    fn remove_allowed_token(
        &mut self,
        key: AllowKey,
        service: ServiceId,
    ) -> Result<(), TableError> {
        self.allowed_tokens.remove(&(key, service));
        Ok(())
    }

    fn clear_allowed_tokens(&mut self) -> Result<(), TableError> {
        self.allowed_tokens.clear();
        Ok(())
    }

    fn clear(&mut self) -> Result<(), TableError> {
        *self = Self::default();
        Ok(())
    }

    fn counts(&self) -> TableCounts {
        TableCounts {
            denied_tokens: self.tokens.len() as u64,
            denied_networks: self.networks.len() as u64,
            denied_flows: self.flows.len() as u64,
            allowed_networks: self.allowed_networks.len() as u64,
            allowed_tokens: self.allowed_tokens.len() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        AllowKey, Deny, DenyCause, Lookup, MAX_FLOWS, MemoryTables, ServiceId, TableError, Tables,
        TokenKey,
    };
    use crate::time::Time;

    fn at(secs: u64) -> Time {
        Time::from_unix_secs(secs)
    }

    fn until(secs: u64) -> Deny {
        Deny { until: Some(at(secs)), cause: DenyCause::Verdict }
    }

    const ALWAYS: Deny = Deny { until: None, cause: DenyCause::Operator };

    fn from(client: &str) -> Lookup {
        Lookup { cookie: 7, client: client.parse().unwrap(), token: Some(TokenKey([1, 2])) }
    }

    #[test]
    fn each_of_the_three_denies_until_its_time_is_over() {
        let mut tables = MemoryTables::new();
        let segment = from("10.1.2.3");
        assert_eq!(tables.denied(at(1), &segment), None);
        tables.deny_token(TokenKey([1, 2]), until(5)).unwrap();
        assert_eq!(tables.denied(at(4), &segment), Some(DenyCause::Verdict));
        assert_eq!(tables.denied(at(5), &segment), None);
        tables.deny_flow(7, ALWAYS).unwrap();
        assert_eq!(tables.denied(at(5), &segment), Some(DenyCause::Operator));
        assert_eq!(tables.denied(at(5), &Lookup { cookie: 8, ..segment }), None);
        tables.remove_flow(7).unwrap();
        tables.deny_network("10.1.0.0/16".parse().unwrap(), ALWAYS).unwrap();
        assert_eq!(tables.denied(at(5), &segment), Some(DenyCause::Operator));
        assert_eq!(tables.denied(at(5), &from("10.2.2.3")), None);
        tables.remove_network("10.1.9.9/16".parse().unwrap()).unwrap();
        tables.remove_token(TokenKey([1, 2])).unwrap();
        assert_eq!(tables.denied(at(1), &segment), None);
    }

    #[test]
    fn an_allowed_network_passes_and_the_longest_prefix_decides() {
        let mut tables = MemoryTables::new();
        tables.deny_network("2001:db8::/32".parse().unwrap(), ALWAYS).unwrap();
        tables.deny_network("2001:db8::1/128".parse().unwrap(), until(5)).unwrap();
        assert_eq!(tables.denied(at(1), &from("2001:db8::1")), Some(DenyCause::Verdict));
        assert_eq!(tables.denied(at(6), &from("2001:db8::1")), None);
        assert_eq!(tables.denied(at(6), &from("2001:db8::2")), Some(DenyCause::Operator));
        tables.deny_token(TokenKey([1, 2]), ALWAYS).unwrap();
        tables.allow_network("2001:db8::/64".parse().unwrap()).unwrap();
        assert_eq!(tables.denied(at(6), &from("2001:db8::2")), None);
        tables.remove_allowed_network("2001:db8::/64".parse().unwrap()).unwrap();
        assert!(tables.denied(at(6), &from("2001:db8::2")).is_some());
    }

    #[test]
    fn a_judged_token_passes_at_its_service_for_its_time() {
        let mut tables = MemoryTables::new();
        let (key, here) = (AllowKey([3, 4]), ServiceId { cgroup: 9, port: 80 });
        tables.allow_token(key, here, at(5)).unwrap();
        assert!(tables.allowed(at(4), key, here));
        assert!(!tables.allowed(at(5), key, here));
        assert!(!tables.allowed(at(4), key, ServiceId { port: 81, ..here }));
        assert!(!tables.allowed(at(4), AllowKey([3, 5]), here));
        tables.clear_allowed_tokens().unwrap();
        assert!(!tables.allowed(at(4), key, here));
    }

    #[test]
    fn a_full_table_says_so_and_replaces_what_it_has() {
        let mut tables = MemoryTables::new();
        for cookie in 1..=MAX_FLOWS as u64 {
            tables.deny_flow(cookie, ALWAYS).unwrap();
        }
        assert!(matches!(tables.deny_flow(u64::MAX, ALWAYS), Err(TableError::Full { .. })));
        tables.deny_flow(7, until(3)).unwrap();
        assert_eq!(tables.counts().denied_flows, MAX_FLOWS as u64);
        tables.clear().unwrap();
        assert_eq!(tables.counts().denied_flows, 0);
    }

    #[test]
    fn a_key_is_read_as_it_is_written() {
        let key = TokenKey([0x0123, u64::MAX]);
        assert_eq!(key.to_string(), "0000000000000123ffffffffffffffff");
        assert_eq!(TokenKey::parse(&key.to_string().to_uppercase()), Some(key));
        for wrong in
            ["", "12", "+0000000000000123ffffffffffffff", "g000000000000123fffffffffffffff0"]
        {
            assert_eq!(TokenKey::parse(wrong), None);
        }
    }
}
