//! Autonomous systems of addresses, from a database in MaxMind's format.

use std::{fmt, io::Read as _, net::IpAddr, path::Path};

use anyhow::{Context as _, bail, ensure};
use maxminddb::{LookupResult, MaxMindDbError, PathElement, Reader};
use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

use crate::whole_file;

/// The largest database that is read: it is held in memory, and those of autonomous systems have
/// about 10 MB.
pub const MAX_DATABASE_BYTES: u64 = 64 << 20;

/// Records that are looked at to tell a database of autonomous systems from one of cities.
const SAMPLE: usize = 256;

/// Where a record has the number: MaxMind's and DB-IP's, then IPinfo's (`"AS64500"`).
const NAMES: [&[PathElement<'static>]; 2] =
    [&[PathElement::Key("autonomous_system_number")], &[PathElement::Key("asn")]];

/// A number of whatever width, or `AS` and a number.
struct Number(u32);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the number of an autonomous system")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Number, E> {
                u32::try_from(number).map(Number).map_err(E::custom)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Number, E> {
                let digits = text.strip_prefix("AS").unwrap_or(text);
                digits.parse().map(Number).map_err(E::custom)
            }
        }
        from.deserialize_any(Any)
    }
}

/// Reads a regular file of at most `limit` bytes, and one byte of a longer one's rest.
pub(super) fn read_database(path: &Path, limit: u64) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    whole_file::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Which autonomous system an address belongs to.
pub struct Networks(Reader<Vec<u8>>);

impl Networks {
    /// Reads a database.
    ///
    /// # Errors
    /// It can't be read, is over [`MAX_DATABASE_BYTES`], or is no database of autonomous systems.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let named = || format!("asn_database {}", path.display());
        let bytes = read_database(path, MAX_DATABASE_BYTES).with_context(named)?;
        Self::parse(bytes).with_context(named)
    }

    /// Takes the bytes of a database.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn parse(bytes: Vec<u8>) -> anyhow::Result<Self> {
        ensure!(
            bytes.len() as u64 <= MAX_DATABASE_BYTES,
            "over {MAX_DATABASE_BYTES} bytes, too large for a database of autonomous systems"
        );
        let own = Self(Reader::from_source(bytes)?);
        for network in own.0.networks(maxminddb::WithinOptions::default())?.take(SAMPLE) {
            if number(&network?)?.is_some() {
                return Ok(own);
            }
        }
        bail!("its records have no autonomous_system_number: not a database of autonomous systems")
    }

    /// The autonomous system of an address; `None` where it is in none.
    #[must_use]
    pub fn asn(&self, address: IpAddr) -> Option<u32> {
        let asn = self.lookup(address.to_canonical());
        // An error is an address of a family that the database lacks, or damage that the sample
        // did not show: nothing is known of the address. 0 is no network (RFC 7607).
        asn.unwrap_or_default().filter(|&asn| asn != 0)
    }

    fn lookup(&self, address: IpAddr) -> Result<Option<u32>, MaxMindDbError> {
        number(&self.0.lookup(address)?)
    }
}

fn number(found: &LookupResult<'_, Vec<u8>>) -> Result<Option<u32>, MaxMindDbError> {
    for name in NAMES {
        if let Some(Number(number)) = found.decode_path(name)? {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

impl fmt::Debug for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Networks").field(&self.0.metadata().database_type).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, net::IpAddr};

    use super::Networks;
    use crate::clients::mmdb;

    fn database() -> Vec<u8> {
        let rows = [
            ("192.0.2.0/24", 64_500),
            ("198.51.100.0/25", 64_501),
            ("2001:db8::/32", 64_502),
            ("203.0.113.9/32", 0),
        ];
        mmdb::asn(&rows.map(|(network, asn)| (network.parse().unwrap(), asn)))
    }

    #[test]
    fn addresses_have_the_number_of_their_network() {
        let networks = Networks::parse(database()).unwrap();
        for (address, asn) in [
            ("192.0.2.0", Some(64_500)),
            ("192.0.2.255", Some(64_500)),
            ("192.0.3.0", None),
            ("198.51.100.127", Some(64_501)),
            ("198.51.100.128", None),
            ("2001:db8:ffff::1", Some(64_502)),
            ("2001:db9::1", None),
            ("::ffff:192.0.2.7", Some(64_500)),
            ("203.0.113.9", None),
            ("127.0.0.1", None),
            ("::", None),
        ] {
            assert_eq!(networks.asn(address.parse::<IpAddr>().unwrap()), asn, "{address}");
        }
    }

    #[test]
    fn what_is_no_database_of_autonomous_systems_is_refused_with_its_reason() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("asn.mmdb");
        let fails = || format!("{:#}", Networks::load(&path).unwrap_err());
        assert!(fails().contains("asn.mmdb: No such file"), "{}", fails());
        fs::write(&path, "no database").unwrap();
        assert!(fails().contains("asn.mmdb"), "{}", fails());
        let row = ("192.0.2.0/24".parse().unwrap(), ("DE", 52.5, 13.4, 10));
        fs::write(&path, mmdb::cities(&[row])).unwrap();
        assert!(fails().contains("no autonomous_system_number"), "{}", fails());
        let file = fs::File::create(&path).unwrap();
        file.set_len(super::MAX_DATABASE_BYTES + 1).unwrap();
        assert!(fails().contains("too large"), "{}", fails());
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(fails().contains("not a regular file"), "{}", fails());
        fs::remove_dir(&path).unwrap();
        fs::write(&path, database()).unwrap();
        assert!(Networks::load(&path).is_ok());
    }

    #[test]
    fn no_damage_to_a_database_is_a_panic() {
        let whole = database();
        for len in 0..whole.len() {
            if let Ok(networks) = Networks::parse(whole[..len].to_vec()) {
                let _ = networks.asn([192, 0, 2, 1].into());
            }
        }
        for at in 0..whole.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= flip;
                if let Ok(networks) = Networks::parse(bytes) {
                    let _ = networks.asn([192, 0, 2, 1].into());
                    let _ = networks.asn("2001:db8::1".parse().unwrap());
                }
            }
        }
    }
}
