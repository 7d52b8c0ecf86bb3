//! Small databases in MaxMind's format (version 2.0), written for the tests: a binary trie over
//! IPv6, IPv4 below `::/96`, records of 24 bits, one data record a network.

use std::net::IpAddr;

/// A network: address and prefix length.
#[derive(Clone, Copy, Debug)]
pub struct Network(IpAddr, u8);

impl std::str::FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, len) = text.split_once('/').ok_or("no prefix length")?;
        let address = address.parse::<IpAddr>().map_err(|error| error.to_string())?;
        Ok(Self(address, len.parse::<u8>().map_err(|error| error.to_string())?))
    }
}

impl Network {
    /// Its bits as the trie has them, and how many of them count.
    fn bits(self) -> (u128, u8) {
        match self.0 {
            IpAddr::V4(v4) => (u128::from(v4.to_bits()), 96 + self.1),
            IpAddr::V6(v6) => (v6.to_bits(), self.1),
        }
    }
}

/// A database of autonomous systems.
#[must_use]
pub fn asn(rows: &[(Network, u32)]) -> Vec<u8> {
    let record = |asn| Data::Map(vec![("autonomous_system_number", Data::Number(asn))]);
    let rows: Vec<_> = rows.iter().map(|&(network, asn)| (network, record(asn))).collect();
    write(&rows)
}

/// A country's ISO code, latitude, longitude, accuracy in kilometres.
pub type City = (&'static str, f64, f64, u32);

/// A database of cities.
#[must_use]
pub fn cities(rows: &[(Network, City)]) -> Vec<u8> {
    let record = |(code, lat, lon, radius)| {
        let location = vec![
            ("latitude", Data::Double(lat)),
            ("longitude", Data::Double(lon)),
            ("accuracy_radius", Data::Number(radius)),
        ];
        let country = Data::Map(vec![("iso_code", Data::Text(code))]);
        Data::Map(vec![("country", country), ("location", Data::Map(location))])
    };
    let rows: Vec<_> = rows.iter().map(|&(network, row)| (network, record(row))).collect();
    write(&rows)
}

/// A database of networks of a kind: each record has one name that is true.
#[must_use]
pub fn kinds(rows: &[(Network, &'static str)]) -> Vec<u8> {
    let record = |name| Data::Map(vec![(name, Data::Bool(true))]);
    let rows: Vec<_> = rows.iter().map(|&(network, name)| (network, record(name))).collect();
    write(&rows)
}

/// What a record holds.
#[derive(Clone, Debug)]
pub enum Data {
    /// Members by name, at most 28.
    Map(Vec<(&'static str, Data)>),
    /// A short text.
    Text(&'static str),
    /// An unsigned number.
    Number(u32),
    /// A floating point number.
    Double(f64),
    /// Yes or no.
    Bool(bool),
}

impl Data {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Map(members) => {
                map(out, members.len() as u8);
                for (name, member) in members {
                    string(out, name);
                    member.write(out);
                }
            }
            Self::Text(text) => string(out, text),
            Self::Number(number) => unsigned(out, *number),
            Self::Double(number) => {
                out.push(3 << 5 | 8);
                out.extend(number.to_be_bytes());
            }
            // A boolean (14) has its value in the length.
            Self::Bool(value) => out.extend([u8::from(*value), 7]),
        }
    }
}

/// A database of these records. Networks may not overlap.
#[must_use]
pub fn write(rows: &[(Network, Data)]) -> Vec<u8> {
    #[derive(Clone, Copy)]
    enum To {
        Nothing,
        Node(usize),
        Row(usize),
    }
    let mut nodes = vec![[To::Nothing; 2]];
    for (row, (network, _)) in rows.iter().enumerate() {
        let (bits, len) = network.bits();
        let mut at = 0;
        for depth in 0..len {
            let side = usize::from(bits >> (127 - depth) & 1 == 1);
            if depth + 1 == len {
                nodes[at][side] = To::Row(row);
            } else if let To::Node(next) = nodes[at][side] {
                at = next;
            } else {
                nodes.push([To::Nothing; 2]);
                nodes[at][side] = To::Node(nodes.len() - 1);
                at = nodes.len() - 1;
            }
        }
    }

    let mut data = Vec::new();
    let mut offsets = Vec::new();
    for (_, record) in rows {
        offsets.push(data.len());
        record.write(&mut data);
    }

    let mut out = Vec::new();
    for node in &nodes {
        for side in node {
            let record = match *side {
                To::Nothing => nodes.len(),
                To::Node(node) => node,
                To::Row(row) => nodes.len() + 16 + offsets[row],
            };
            let record = u32::try_from(record).unwrap_or(u32::MAX);
            out.extend_from_slice(&record.to_be_bytes()[1..]);
        }
    }
    out.extend([0; 16]);
    out.extend(data);

    out.extend(b"\xab\xcd\xefMaxMind.com");
    map(&mut out, 9);
    string(&mut out, "node_count");
    unsigned(&mut out, u32::try_from(nodes.len()).unwrap_or(u32::MAX));
    let shorts = [
        ("record_size", 24),
        ("ip_version", 6),
        ("binary_format_major_version", 2),
        ("binary_format_minor_version", 0),
    ];
    for (name, number) in shorts {
        string(&mut out, name);
        // An unsigned number of 16 bits (5) in one byte.
        out.extend([5 << 5 | 1, number]);
    }
    string(&mut out, "database_type");
    string(&mut out, "Test-ASN");
    string(&mut out, "languages");
    // An array (11) of nothing: extended types stand in a second byte.
    out.extend([0x00, 0x04]);
    string(&mut out, "description");
    map(&mut out, 0);
    string(&mut out, "build_epoch");
    // An unsigned number of 64 bits (9) in four bytes.
    out.extend([0x04, 0x02]);
    out.extend(1_767_225_600_u32.to_be_bytes());
    out
}

fn map(out: &mut Vec<u8>, pairs: u8) {
    out.push(7 << 5 | pairs);
}

/// Strings up to 28 bytes have their length in the first byte.
fn string(out: &mut Vec<u8>, text: &str) {
    assert!(text.len() < 29, "a short name");
    out.push(2 << 5 | text.len() as u8);
    out.extend(text.as_bytes());
}

/// An unsigned number of 32 bits (6) in four bytes.
fn unsigned(out: &mut Vec<u8>, number: u32) {
    out.push(6 << 5 | 4);
    out.extend(number.to_be_bytes());
}
