//! Values by network: an address is looked up in a few hash look-ups, one for each prefix length
//! that is in use.
#![forbid(unsafe_code)]

use std::{collections::HashMap, net::IpAddr};

use ipnet::{IpNet, Ipv4Net};

/// Values by network, IPv4 and IPv6. An IPv4 network that is written as IPv6 (`::ffff:…`,
/// RFC 4291, section 2.5.5.2) is the IPv4 network.
#[derive(Clone, Debug)]
pub struct NetworkMap<V> {
    networks: HashMap<IpNet, V, foldhash::fast::RandomState>,
    /// How many networks have each prefix length.
    lengths: [[u32; 129]; 2],
}

impl<V> Default for NetworkMap<V> {
    fn default() -> Self {
        Self { networks: HashMap::default(), lengths: [[0; 129]; 2] }
    }
}

/// The network as it is told apart from others: without bits behind its prefix, and IPv4 as IPv4.
#[must_use]
pub fn canonical(network: IpNet) -> IpNet {
    if let IpNet::V6(v6) = network
        && let (Some(v4), Some(len)) = (v6.addr().to_ipv4_mapped(), v6.prefix_len().checked_sub(96))
        && let Ok(v4) = Ipv4Net::new(v4, len)
    {
        return IpNet::V4(v4.trunc());
    }
    network.trunc()
}

/// Reads a network, or a single address as the network of only it.
#[must_use]
pub fn parse(text: &str) -> Option<IpNet> {
    let network = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text.parse().ok()?,
    };
    Some(canonical(network))
}

impl<V> NetworkMap<V> {
    /// Puts a value in; gives the one that was there.
    pub fn insert(&mut self, network: IpNet, value: V) -> Option<V> {
        let network = canonical(network);
        let old = self.networks.insert(network, value);
        if old.is_none()
            && let Some(count) = self.count(network)
        {
            *count += 1;
        }
        old
    }

    /// Takes a value out; the networks in it and around it stay.
    pub fn remove(&mut self, network: IpNet) -> Option<V> {
        let network = canonical(network);
        let old = self.networks.remove(&network)?;
        if let Some(count) = self.count(network) {
            *count -= 1;
        }
        Some(old)
    }

    /// The value of exactly this network.
    #[must_use]
    pub fn get(&self, network: IpNet) -> Option<&V> {
        self.networks.get(&canonical(network))
    }

    /// The values of all networks that contain the address, the narrowest network first.
    pub fn containing(&self, address: IpAddr) -> impl Iterator<Item = (IpNet, &V)> {
        let address = address.to_canonical();
        let (family, full) = if address.is_ipv4() { (0, 32) } else { (1, 128) };
        // Most maps are empty, and every request asks.
        let lengths = if self.networks.is_empty() { 0..0 } else { 0..full + 1 };
        let lengths = lengths.rev().filter(move |&len| {
            self.lengths.get(family).and_then(|of| of.get(usize::from(len))) > Some(&0)
        });
        lengths.filter_map(move |len| {
            let network = IpNet::new(address, len).ok()?.trunc();
            Some((network, self.networks.get(&network)?))
        })
    }

    /// All networks, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (IpNet, &V)> {
        self.networks.iter().map(|(&network, value)| (network, value))
    }

    /// How many networks there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.networks.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty()
    }

    fn count(&mut self, network: IpNet) -> Option<&mut u32> {
        let family = usize::from(matches!(network, IpNet::V6(_)));
        self.lengths.get_mut(family)?.get_mut(usize::from(network.prefix_len()))
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use ipnet::IpNet;
    use proptest::prelude::*;

    use super::{NetworkMap, canonical, parse};

    fn net(text: &str) -> IpNet {
        parse(text).unwrap()
    }

    fn found(map: &NetworkMap<u8>, address: &str) -> Vec<u8> {
        map.containing(address.parse().unwrap()).map(|(_, &value)| value).collect()
    }

    #[test]
    fn all_that_contain_an_address_are_found_the_narrowest_first() {
        let mut map = NetworkMap::default();
        for (value, network) in
            ["10.0.0.0/8", "10.1.2.3", "0.0.0.0/0", "::/0", "2001:db8::/32"].into_iter().enumerate()
        {
            assert_eq!(map.insert(net(network), value as u8), None);
        }
        assert_eq!(found(&map, "10.1.2.3"), [1, 0, 2]);
        assert_eq!(found(&map, "10.1.2.4"), [0, 2]);
        assert_eq!(found(&map, "11.0.0.1"), [2]);
        assert_eq!(found(&map, "2001:db8::1"), [4, 3]);
        assert_eq!(map.insert(net("10.9.9.9/8"), 9), Some(0));
        assert_eq!(map.remove(net("10.7.7.7/8")), Some(9));
        assert_eq!(map.remove(net("10.0.0.0/8")), None);
        assert_eq!(found(&map, "10.1.2.4"), [2]);
        assert_eq!(map.len(), 4);
    }

    #[test]
    fn ipv4_written_as_ipv6_is_ipv4() {
        let mut map = NetworkMap::default();
        map.insert("::ffff:10.0.0.0/104".parse().unwrap(), 1);
        assert_eq!(found(&map, "10.3.3.3"), [1]);
        assert_eq!(found(&map, "::ffff:10.3.3.3"), [1]);
        assert_eq!(found(&map, "11.3.3.3"), [0; 0]);
        assert_eq!(net("::ffff:1.2.3.4"), net("1.2.3.4"));
        // Wider than the mapped range: it stays what it is.
        assert_eq!(canonical("::ffff:0:0/95".parse().unwrap()).to_string(), "::fffe:0:0/95");
        for wrong in ["", "1.2.3", "1.2.3.4/33", "::/129", "host", "1.2.3.4 "] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    proptest! {
        /// Against the dumbest oracle: every network is asked whether it contains the address.
        #[test]
        fn finds_what_a_walk_finds(
            networks in prop::collection::vec((any::<u32>(), 0_u8..=32), 0..40),
            address in any::<u32>(),
        ) {
            let mut map = NetworkMap::default();
            let address = IpAddr::from(address.to_be_bytes());
            for (bits, len) in &networks {
                // Half of them near the address.
                let bits = if bits % 2 == 0 { *bits } else {
                    let IpAddr::V4(v4) = address else { unreachable!() };
                    v4.to_bits() ^ (bits >> len.min(&31))
                };
                map.insert(IpNet::new(bits.to_be_bytes().into(), *len).unwrap(), ());
            }
            let mut due: Vec<IpNet> =
                map.iter().map(|(n, ())| n).filter(|n| n.contains(&address)).collect();
            due.sort_by_key(|n| std::cmp::Reverse(n.prefix_len()));
            let got: Vec<IpNet> = map.containing(address).map(|(n, ())| n).collect();
            prop_assert_eq!(got, due);
        }
    }
}
