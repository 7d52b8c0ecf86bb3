//! Cases of what is unusual for somebody, after days that show what is usual.

use super::{Case, File};
use crate::{
    mmdb,
    work::{self, Client, DAY, HOUR, MINUTE, Work},
};

/// Clients as a trusted proxy names them, their cities, and networks of VPNs.
const CONFIG: &str = "[[issuer]]\nissuer = \"https://id.example\"\nkey_files = [\"id.jwk\"]\n\
    [clients]\ntrusted_proxies = [\"198.51.100.0/28\"]\ncity_database = \"city.mmdb\"\n\
    [[feed]]\nname = \"vpns\"\npath = \"vpns.txt\"\nkind = \"vpn\"\n";

/// Past that a profile is no longer learning.
const DAYS: u64 = 5;

fn client(n: u64) -> Client {
    Client {
        subject: format!("subject-{n}"),
        address: "198.51.100.2".to_owned(),
        behind: Some(format!("192.0.2.{}", 10 + n)),
        agent: format!("browser/{n}"),
    }
}

/// Three people in Berlin work for days; on the next, one of them is in Tokyo half an hour later.
fn travel() -> Vec<u8> {
    let mut work = Work::new(0x7a5e_1000);
    for n in 0..3 {
        work.days(&client(n), DAYS, 2, 8);
    }
    let day = DAYS * DAY;
    work.sitting(&client(0), day + 9 * HOUR, 5);
    let one = client(1);
    let end = work.sitting(&one, day + 10 * HOUR, 5);
    let there = Client { behind: Some("203.0.113.9".to_owned()), ..one };
    work.sitting(&there, end + 30 * MINUTE, 8);
    work.into_capture()
}

pub(super) const CASES: &[Case] = &[
    Case {
        name: "impossible-travel",
        about: "Who works in one city for days is in another, 8,900 km away, half an hour later.",
        config: Some(CONFIG),
        input: travel,
    },
    Case {
        name: "benign-travel-through-vpn",
        about: "The same, where a list has the other network for one of a VPN: its place says nothing.",
        config: Some(CONFIG),
        input: travel,
    },
];

fn cities() -> Vec<u8> {
    let berlin = ("192.0.2.0/24", ("DE", 52.52, 13.4, 20));
    let tokyo = ("203.0.113.0/24", ("JP", 35.68, 139.69, 20));
    mmdb::cities(
        &[berlin, tokyo].map(|(network, city)| (network.parse().expect("a network"), city)),
    )
}

fn none_of_them() -> Vec<u8> {
    b"100.64.0.0/10\n".to_vec()
}

fn one_of_them() -> Vec<u8> {
    b"203.0.113.0/24\n".to_vec()
}

pub(super) const FILES: &[File] = &[
    ("impossible-travel", "id.jwk", work::issuer_key),
    ("impossible-travel", "city.mmdb", cities),
    ("impossible-travel", "vpns.txt", none_of_them),
    ("benign-travel-through-vpn", "id.jwk", work::issuer_key),
    ("benign-travel-through-vpn", "city.mmdb", cities),
    ("benign-travel-through-vpn", "vpns.txt", one_of_them),
];
