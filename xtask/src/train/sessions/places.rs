//! Cities and networks of a generated world.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use jotwatch_models::{
    behaviour::{Client, GeoPoint, NetworkKinds},
    train::Random,
};

/// A city: latitude and longitude in degrees, country, offset of its clocks to UTC in minutes.
pub(super) struct City {
    pub(super) lat: f32,
    pub(super) lon: f32,
    pub(super) country: [u8; 2],
    pub(super) clock: i64,
}

const fn city(lat: f32, lon: f32, country: &[u8; 2], clock: i64) -> City {
    City { lat, lon, country: *country, clock }
}

pub(super) const CITIES: &[City] = &[
    city(52.52, 13.40, b"DE", 60),
    city(48.14, 11.58, b"DE", 60),
    city(53.55, 9.99, b"DE", 60),
    city(50.11, 8.68, b"DE", 60),
    city(48.86, 2.35, b"FR", 60),
    city(45.76, 4.84, b"FR", 60),
    city(51.51, -0.13, b"GB", 0),
    city(53.48, -2.24, b"GB", 0),
    city(55.95, -3.19, b"GB", 0),
    city(40.42, -3.70, b"ES", 60),
    city(41.39, 2.17, b"ES", 60),
    city(41.90, 12.50, b"IT", 60),
    city(45.46, 9.19, b"IT", 60),
    city(52.37, 4.90, b"NL", 60),
    city(59.33, 18.07, b"SE", 60),
    city(52.23, 21.01, b"PL", 60),
    city(50.45, 30.52, b"UA", 120),
    city(41.01, 28.98, b"TR", 180),
    city(55.76, 37.62, b"RU", 180),
    city(59.94, 30.31, b"RU", 180),
    city(40.71, -74.01, b"US", -300),
    city(42.36, -71.06, b"US", -300),
    city(41.88, -87.63, b"US", -360),
    city(29.76, -95.37, b"US", -360),
    city(39.74, -104.99, b"US", -420),
    city(37.77, -122.42, b"US", -480),
    city(34.05, -118.24, b"US", -480),
    city(47.61, -122.33, b"US", -480),
    city(43.65, -79.38, b"CA", -300),
    city(19.43, -99.13, b"MX", -360),
    city(-23.55, -46.63, b"BR", -180),
    city(-22.91, -43.17, b"BR", -180),
    city(-34.60, -58.38, b"AR", -180),
    city(6.52, 3.38, b"NG", 60),
    city(-26.20, 28.05, b"ZA", 120),
    city(30.04, 31.24, b"EG", 120),
    city(25.20, 55.27, b"AE", 240),
    city(28.61, 77.21, b"IN", 330),
    city(19.08, 72.88, b"IN", 330),
    city(12.97, 77.59, b"IN", 330),
    city(1.35, 103.82, b"SG", 480),
    city(21.03, 105.85, b"VN", 420),
    city(14.60, 120.98, b"PH", 480),
    city(31.23, 121.47, b"CN", 480),
    city(39.90, 116.41, b"CN", 480),
    city(37.57, 126.98, b"KR", 540),
    city(35.68, 139.69, b"JP", 540),
    city(34.69, 135.50, b"JP", 540),
    city(-33.87, 151.21, b"AU", 600),
    city(-37.81, 144.96, b"AU", 600),
];

/// Great-circle distance in kilometres.
pub(super) fn distance(a: usize, b: usize) -> f64 {
    let (a, b) = (&CITIES[a], &CITIES[b]);
    let rad = |d: f32| f64::from(d).to_radians();
    let (dlat, dlon) = (rad(b.lat) - rad(a.lat), rad(b.lon) - rad(a.lon));
    let h = (dlat / 2.0).sin().powi(2)
        + rad(a.lat).cos() * rad(b.lat).cos() * (dlon / 2.0).sin().powi(2);
    2.0 * 6371.0 * h.sqrt().min(1.0).asin()
}

/// How a network gives its clients addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lease {
    /// The same one for as long as the world runs: offices, servers.
    Fixed,
    /// A new one every so many days: homes.
    Days(u32),
    /// One out of a shared pool for each session: carriers' NAT, hotels, VPN exits, relays.
    Pool(u32),
}

/// A network that clients come from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Network {
    pub(super) asn: u32,
    pub(super) city: usize,
    pub(super) kinds: NetworkKinds,
    pub(super) lease: Lease,
    /// First address of the range.
    pub(super) base: u32,
    /// Whether it also gives IPv6, and with that the upper half of it.
    pub(super) six: Option<u64>,
    /// Radius of what a location database says of it, km.
    pub(super) radius: u16,
    /// On a list of known bad addresses.
    pub(super) threat: bool,
}

/// What a network is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Home,
    Office,
    Mobile,
    Hotel,
    Vpn,
    Relay,
    Tor,
    Hosting,
}

impl Network {
    pub(super) fn new(random: &mut Random, of: Use, city: usize) -> Self {
        let mut kinds = NetworkKinds::NONE;
        // A database that does not know a network's kind says that it is an ordinary one.
        let mut is = |random: &mut Random, kind: NetworkKinds, known: f64| {
            if random.chance(known) {
                kinds = kinds.with(kind);
            }
        };
        let (lease, radius) = match of {
            Use::Home => {
                let days = random.whole((2, 60)) as u32;
                (Lease::Days(days), random.whole((5, 50)) as u16)
            }
            Use::Office => (Lease::Fixed, random.whole((1, 20)) as u16),
            Use::Mobile => {
                is(random, NetworkKinds::MOBILE, 0.9);
                (Lease::Pool(random.whole((16, 400)) as u32), random.whole((50, 400)) as u16)
            }
            Use::Hotel => (Lease::Pool(random.whole((1, 4)) as u32), random.whole((5, 50)) as u16),
            Use::Vpn => {
                is(random, NetworkKinds::VPN, 0.98);
                is(random, NetworkKinds::HOSTING, 0.7);
                (Lease::Pool(random.whole((2, 40)) as u32), random.whole((5, 100)) as u16)
            }
            Use::Relay => {
                is(random, NetworkKinds::RELAY, 0.99);
                (Lease::Pool(random.whole((40, 400)) as u32), random.whole((20, 200)) as u16)
            }
            Use::Tor => {
                is(random, NetworkKinds::TOR, 1.0);
                is(random, NetworkKinds::HOSTING, 0.8);
                (Lease::Pool(random.whole((100, 900)) as u32), 500)
            }
            Use::Hosting => {
                is(random, NetworkKinds::HOSTING, 0.9);
                (Lease::Fixed, random.whole((5, 100)) as u16)
            }
        };
        let threat = match of {
            Use::Tor => random.chance(0.6),
            Use::Vpn | Use::Hosting => random.chance(0.04),
            _ => random.chance(0.002),
        };
        // Ranges of real registries would only be something to learn by heart.
        let base = 0x0b00_0000 + (random.bits() as u32 % 0xc000_0000);
        let six = random.chance(0.5).then(|| 0x2001_0000_0000_0000 | (random.bits() >> 16));
        let asn = 1000 + random.bits() as u32 % 400_000;
        Self { asn, city, kinds, lease, base, six, radius, threat }
    }

    /// The client `who` (a number in the network) has on `day`, in the `nth` session.
    pub(super) fn client(
        &self,
        known: bool,
        who: u64,
        day: u32,
        nth: u64,
        random: &mut Random,
    ) -> Client {
        let slot = |key: u64| Random::new(key ^ u64::from(self.base)).bits();
        let host = match self.lease {
            // Offices share one address, or a handful.
            Lease::Fixed => slot(who % 3) % 4,
            Lease::Days(days) => slot(who.wrapping_mul(31) + u64::from(day / days)) % 60_000,
            Lease::Pool(size) => slot(who.wrapping_mul(31) ^ nth) % u64::from(size),
        };
        let address = match self.six {
            Some(prefix) if random.chance(0.5) => {
                // A prefix a client, and an interface identifier that changes every day (RFC 8981).
                let suffix = slot(who ^ (u64::from(day) << 32));
                IpAddr::V6(Ipv6Addr::from(
                    (u128::from(prefix.wrapping_add(host)) << 64) | u128::from(suffix),
                ))
            }
            _ => IpAddr::V4(Ipv4Addr::from(self.base.wrapping_add(host as u32))),
        };
        let city = &CITIES[self.city];
        // What a database says of an address differs by some kilometres between neighbours.
        let wobble = |key: u64| {
            let part = (slot(key ^ host) % 2000) as f32 / 1000.0 - 1.0;
            part * f32::from(self.radius) / 111.0 * 0.7
        };
        let place = GeoPoint {
            lat: city.lat + wobble(1),
            lon: city.lon + wobble(2),
            radius_km: self.radius,
        };
        Client {
            address,
            asn: known.then_some(self.asn),
            country: known.then_some(city.country),
            place: known.then_some(place),
            kinds: known.then_some(self.kinds),
            threat: known.then_some(self.threat),
        }
    }
}
