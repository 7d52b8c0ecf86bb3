//! Countries, places and kinds of networks, from databases in MaxMind's format.

use std::{fmt, net::IpAddr, path::Path};

use anyhow::{Context as _, bail, ensure};
use jotwatch_models::behaviour::{GeoPoint, NetworkKinds};
use maxminddb::{MaxMindDbError, PathElement, Reader};
use serde::Deserialize;

use super::networks::read_database;

/// The largest database of cities or kinds that is read: it is held in memory, and MaxMind's
/// GeoIP2 City has about 130 MB.
pub const MAX_CITY_BYTES: u64 = 256 << 20;

/// Records that are looked at to tell one kind of database from another.
const SAMPLE: usize = 256;

/// The accuracy radius where a record gives none.
const UNKNOWN_RADIUS_KM: u16 = 100;

/// Where addresses are.
pub struct Cities(Reader<Vec<u8>>);

/// What is read of a record.
#[derive(Default, Deserialize)]
struct City {
    #[serde(default)]
    country: Option<Country>,
    #[serde(default)]
    registered_country: Option<Country>,
    #[serde(default)]
    location: Option<Location>,
}

#[derive(Deserialize)]
struct Country {
    #[serde(default)]
    iso_code: Option<String>,
}

#[derive(Deserialize)]
struct Location {
    #[serde(default)]
    latitude: Option<Number>,
    #[serde(default)]
    longitude: Option<Number>,
    #[serde(default)]
    accuracy_radius: Option<Number>,
}

/// A number of whatever type, which the record says: makers of databases differ.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Number {
    Any(f64),
}

impl Number {
    const fn get(self) -> f64 {
        let Self::Any(number) = self;
        number
    }
}

impl Cities {
    /// Reads a database.
    ///
    /// # Errors
    /// It can't be read, is over [`MAX_CITY_BYTES`], or is no database of cities or countries.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let named = || format!("city_database {}", path.display());
        let own = Self(reader(path).with_context(named)?);
        for network in own.0.networks(maxminddb::WithinOptions::default())?.take(SAMPLE) {
            let city = network.and_then(|found| found.decode::<City>()).with_context(named)?;
            if city.is_some_and(|city| city.location.is_some() || city.country.is_some()) {
                return Ok(own);
            }
        }
        bail!("{}: its records have neither country nor location", named())
    }

    /// Country and place of an address.
    pub(super) fn place(&self, address: IpAddr) -> (Option<[u8; 2]>, Option<GeoPoint>) {
        // An error is an address of a family that the database lacks, or damage: nothing is known.
        let city = self.lookup(address.to_canonical()).ok().flatten().unwrap_or_default();
        let code = city.country.or(city.registered_country).and_then(|country| country.iso_code);
        let code = code.and_then(|code| code.as_bytes().try_into().ok());
        let point = city.location.and_then(|location| {
            let (lat, lon) = (location.latitude?.get() as f32, location.longitude?.get() as f32);
            let on_earth = lat.abs() <= 90.0 && lon.abs() <= 180.0;
            let radius = location.accuracy_radius.map(|radius| radius.get() as u16);
            let radius_km = radius.unwrap_or(UNKNOWN_RADIUS_KM);
            on_earth.then_some(GeoPoint { lat, lon, radius_km })
        });
        (code, point)
    }

    fn lookup(&self, address: IpAddr) -> Result<Option<City>, MaxMindDbError> {
        self.0.lookup(address)?.decode()
    }
}

/// Which kind of network addresses are in.
pub struct Kinds(Reader<Vec<u8>>);

/// The flags of MaxMind's GeoIP2 Anonymous IP.
const FLAGS: [(&str, NetworkKinds); 5] = [
    ("is_anonymous_vpn", NetworkKinds::VPN),
    ("is_public_proxy", NetworkKinds::RELAY),
    ("is_residential_proxy", NetworkKinds::RELAY),
    ("is_tor_exit_node", NetworkKinds::TOR),
    ("is_hosting_provider", NetworkKinds::HOSTING),
];

impl Kinds {
    /// Reads a database.
    ///
    /// # Errors
    /// It can't be read, is over [`MAX_CITY_BYTES`], or is no database of anonymous addresses.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let named = || format!("anonymous_database {}", path.display());
        let own = Self(reader(path).with_context(named)?);
        for network in own.0.networks(maxminddb::WithinOptions::default())?.take(SAMPLE) {
            if kinds(&network.with_context(named)?).with_context(named)? != NetworkKinds::NONE {
                return Ok(own);
            }
        }
        bail!("{}: its records have none of MaxMind's flags of anonymous addresses", named())
    }

    /// What kind of network an address is in.
    pub(super) fn of(&self, address: IpAddr) -> NetworkKinds {
        let found = self.0.lookup(address.to_canonical());
        found.and_then(|found| kinds(&found)).unwrap_or_default()
    }
}

fn kinds(found: &maxminddb::LookupResult<'_, Vec<u8>>) -> Result<NetworkKinds, MaxMindDbError> {
    let mut kinds = NetworkKinds::NONE;
    for (name, kind) in FLAGS {
        if found.decode_path::<bool>(&[PathElement::Key(name)])?.unwrap_or_default() {
            kinds = kinds.with(kind);
        }
    }
    Ok(kinds)
}

fn reader(path: &Path) -> anyhow::Result<Reader<Vec<u8>>> {
    let bytes = read_database(path, MAX_CITY_BYTES)?;
    ensure!(bytes.len() as u64 <= MAX_CITY_BYTES, "over {MAX_CITY_BYTES} bytes");
    Ok(Reader::from_source(bytes)?)
}

impl fmt::Debug for Cities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cities").field(&self.0.metadata().database_type).finish()
    }
}

impl fmt::Debug for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Kinds").field(&self.0.metadata().database_type).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, net::IpAddr};

    use jotwatch_models::behaviour::{GeoPoint, NetworkKinds};

    use crate::{
        clients::{Clients, FactsCache, mmdb},
        config::ClientsConfig,
    };

    #[test]
    fn addresses_have_countries_places_and_kinds() {
        let dir = tempfile::tempdir().unwrap();
        let (cities, kinds) = (dir.path().join("city.mmdb"), dir.path().join("kinds.mmdb"));
        let berlin = ("192.0.2.0/24".parse().unwrap(), ("DE", 52.5, 13.4, 20));
        fs::write(&cities, mmdb::cities(&[berlin])).unwrap();
        let rows = [
            ("198.51.100.0/25".parse().unwrap(), "is_anonymous_vpn"),
            ("2001:db8::/32".parse().unwrap(), "is_hosting_provider"),
        ];
        fs::write(&kinds, mmdb::kinds(&rows)).unwrap();
        let config = ClientsConfig {
            city_database: Some(cities.clone()),
            anonymous_database: Some(kinds.clone()),
            ..ClientsConfig::default()
        };
        let clients = Clients::load(&config).unwrap();
        let point = GeoPoint { lat: 52.5, lon: 13.4, radius_km: 20 };
        let at = |text: &str| text.parse().unwrap();
        assert_eq!(clients.place(at("192.0.2.9")), (Some(*b"DE"), Some(point)));
        assert_eq!(clients.place(at("::ffff:192.0.2.9")), (Some(*b"DE"), Some(point)));
        assert_eq!(clients.place(at("192.0.3.9")), (None, None));
        assert_eq!(clients.kinds(at("198.51.100.7")), Some(NetworkKinds::VPN));
        assert_eq!(clients.kinds(at("2001:db8::7")), Some(NetworkKinds::HOSTING));
        assert_eq!(clients.kinds(at("192.0.2.9")), Some(NetworkKinds::NONE));
        let known = clients.facts(at("192.0.2.9"));
        assert_eq!((known.asn, known.country, known.place), (None, Some(*b"DE"), Some(point)));
        assert_eq!((known.kinds, known.threat), (Some(NetworkKinds::NONE), None));
        let mut cache = FactsCache::default();
        for last in (0..=255).chain(0..=255) {
            let address = IpAddr::from([192, 0, last % 4, last]);
            assert_eq!(cache.facts(&clients, address), clients.facts(address), "{address}");
        }
        // What was kept is of the databases before, until it is told.
        let other = Clients::default();
        cache.facts(&clients, at("192.0.2.254"));
        assert_eq!(cache.facts(&other, at("192.0.2.254")).country, Some(*b"DE"));
        cache.clear();
        assert_eq!(cache.facts(&other, at("192.0.2.254")).country, None);
        // Without a database nothing is known, which is not the same as nothing of the kind.
        let none = Clients::load(&ClientsConfig::default()).unwrap();
        assert_eq!(
            (none.place(at("192.0.2.9")), none.kinds(at("192.0.2.9"))),
            ((None, None), None)
        );

        for (city, anonymous, message) in [
            (Some(kinds), None, "neither country nor location"),
            (None, Some(cities), "none of MaxMind's flags"),
        ] {
            let config = ClientsConfig {
                city_database: city,
                anonymous_database: anonymous,
                ..ClientsConfig::default()
            };
            let error = format!("{:#}", Clients::load(&config).unwrap_err());
            assert!(error.contains(message), "{error}");
        }
    }
}
