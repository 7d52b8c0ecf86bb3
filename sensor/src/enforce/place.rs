//! Where the guard programs look up a policy that is not of a port alone.

use std::net::IpAddr;

use jotwatch_common::guard::tables::PlaceKey;

/// Where some of a port's connections are: what is given has to fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Id of the service's cgroup.
    pub cgroup: Option<u64>,
    /// The address that clients connect to; never without a port.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: Option<u16>,
}

impl Place {
    pub(super) fn key(&self) -> PlaceKey {
        let (mut address, mut family) = ([0; 16], 0);
        match self.address.map(|address| address.to_canonical()) {
            Some(IpAddr::V4(v4)) => {
                family = 4;
                let [a, b, c, d] = v4.octets();
                address[..4].copy_from_slice(&[a, b, c, d]);
            }
            Some(IpAddr::V6(v6)) => (address, family) = (v6.octets(), 6),
            None => {}
        }
        let (cgroup, port) = (self.cgroup.unwrap_or(0), self.port.unwrap_or(0).into());
        PlaceKey { cgroup, address, port, family }
    }
}
