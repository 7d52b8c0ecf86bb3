//! What feeds say of a client, and of the names that a request carries.

use std::{fmt::Write as _, net::IpAddr, sync::Arc};

use jotwatch_models::behaviour::NetworkKinds;
use smallvec::SmallVec;

use crate::{
    feeds::{FeedTable, Hit, Meaning},
    finding::{Finding, FindingId},
    http::Request,
};

/// Feeds that one finding names; of more it says how many.
const MAX_NAMED: usize = 3;

/// Names of hosts that are looked up of one request: of `Host`, `Origin`, `Referer` and the list in
/// `X-Forwarded-Host`, each of which may be repeated.
const MAX_HOSTS: usize = 8;

/// The feeds that are in force.
#[derive(Clone, Debug, Default)]
pub(super) struct Listed {
    tables: Vec<Arc<FeedTable>>,
    threats: bool,
    /// Some feed of threats names domains or user agents.
    names: bool,
    kinds: bool,
}

type Hits<'t> = SmallVec<[Hit<'t>; MAX_NAMED]>;

impl Listed {
    /// `configured` are the meanings of all feeds, also of those that have not come yet.
    pub(super) fn new(tables: Vec<Arc<FeedTable>>, configured: &[Meaning]) -> Self {
        let threats = configured.contains(&Meaning::Threat);
        let names = tables.iter().any(|table| table.has_names());
        let kinds = configured.iter().any(|&meaning| meaning != Meaning::Threat);
        Self { tables, threats, names, kinds }
    }

    fn threats(&self) -> impl Iterator<Item = &FeedTable> {
        self.tables.iter().map(AsRef::as_ref).filter(|table| table.meaning() == Meaning::Threat)
    }

    fn hits(&self, address: IpAddr) -> Hits<'_> {
        let private = is_private(address);
        // Lists of networks that nobody may use name private ones as well: they mean the internet's
        // edge. One private address that somebody wrote down is meant.
        let counts = |hit: &Hit<'_>| hit.exact || !private;
        self.threats().filter_map(|table| table.address(address)).filter(counts).collect()
    }

    /// Whether a feed of threats names the address; `None` where none is configured.
    pub(super) fn threat(&self, address: IpAddr) -> Option<bool> {
        self.threats.then(|| !self.hits(address).is_empty())
    }

    /// The kinds of network that lists name around the address; `None` where none is configured.
    pub(super) fn kinds(&self, address: IpAddr) -> Option<NetworkKinds> {
        if !self.kinds {
            return None;
        }
        let of = |table: &Arc<FeedTable>| {
            let kind = match table.meaning() {
                Meaning::Threat => return None,
                Meaning::Vpn => NetworkKinds::VPN,
                Meaning::Relay => NetworkKinds::RELAY,
                Meaning::Tor => NetworkKinds::TOR,
                Meaning::Hosting => NetworkKinds::HOSTING,
                Meaning::Mobile => NetworkKinds::MOBILE,
            };
            table.address(address).map(|_| kind)
        };
        let kinds = self.tables.iter().filter_map(of);
        Some(kinds.fold(NetworkKinds::NONE, NetworkKinds::with))
    }

    /// What feeds say of the address.
    pub(super) fn note_address(&self, address: IpAddr, findings: &mut Vec<Finding>) {
        note(findings, || format!("the client {address}"), &self.hits(address));
    }

    /// What feeds say of the names in a request's head.
    pub(super) fn note_names(&self, request: &mut Request) {
        if !self.names {
            return;
        }
        let (mut found, mut hosts) = (Vec::new(), 0);
        for header in request.headers() {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name.as_bytes());
            let Ok(value) = std::str::from_utf8(header.value) else { continue };
            let name = match header.name.len() {
                4 if is("host") => "Host",
                6 if is("origin") => "Origin",
                7 if is("referer") => "Referer",
                16 if is("x-forwarded-host") => "X-Forwarded-Host",
                10 if is("user-agent") => {
                    let hits: Hits<'_> =
                        self.threats().filter_map(|table| table.agent(value)).collect();
                    note(&mut found, || "the user agent".to_owned(), &hits);
                    continue;
                }
                _ => continue,
            };
            for host in value.split(',').map(host_of).filter(|host| !host.is_empty()) {
                hosts += 1;
                if hosts > MAX_HOSTS {
                    break;
                }
                let both = || self.threats().filter_map(|table| table.domain(host));
                let Some((_, domain)) = both().next() else { continue };
                let hits: Hits<'_> = both().map(|(hit, _)| hit).collect();
                note(&mut found, || format!("{name} {}", domain.to_ascii_lowercase()), &hits);
            }
        }
        request.findings.extend(found);
    }
}

fn note(findings: &mut Vec<Finding>, what: impl FnOnce() -> String, hits: &[Hit<'_>]) {
    if hits.is_empty() {
        return;
    }
    let mut detail = what();
    detail.push_str(" stands in ");
    for (n, hit) in hits.iter().take(MAX_NAMED).enumerate() {
        let _ = write!(detail, "{}{hit}", if n > 0 { ", " } else { "" });
    }
    if let Some(more @ 1..) = hits.len().checked_sub(MAX_NAMED) {
        let _ = write!(detail, " and {more} more");
    }
    findings.push(Finding::new(FindingId::ThreatListed, detail));
}

/// The host of an authority or of a URL, without its port.
fn host_of(value: &str) -> &str {
    let value = value.trim();
    let authority = value.split_once("://").map_or(value, |(_, rest)| rest);
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    // What stands in brackets is an IPv6 address, and no name.
    host.split(':').next().unwrap_or_default()
}

/// Whether the address is of a network that everybody may use for himself (RFC 1918, RFC 4193,
/// RFC 6598), of the link, or of the host.
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let shared = a == 100 && b & 0xc0 == 64;
            v4.is_private() || v4.is_loopback() || v4.is_link_local() || shared || a == 0
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clients::Clients,
        feeds::{Format, Kind, parse},
        time::Time,
    };

    fn table(name: &str, meaning: Meaning, kind: Kind, text: &str) -> Arc<FeedTable> {
        let feed = parse(text.as_bytes(), &Format::Plain(kind), Time::EPOCH).unwrap();
        FeedTable::new(name, meaning, feed).into()
    }

    fn details(clients: &Clients, client: &str, headers: &[(&str, &str)]) -> Vec<String> {
        let headers = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let mut request = Request::from_parts(b"GET", b"/", headers, Vec::new(), Time::EPOCH);
        let client: IpAddr = client.parse().unwrap();
        let facts = clients.facts(client);
        clients.note_threats(client, &facts, &mut request);
        assert_eq!(
            facts.threat == Some(true),
            request.findings.iter().any(|finding| { finding.detail.starts_with("the client") })
        );
        let all = request.findings.iter();
        all.inspect(|finding| assert_eq!(finding.id, FindingId::ThreatListed))
            .map(|finding| finding.detail.to_string())
            .collect()
    }

    #[test]
    fn what_stands_in_feeds_is_found_with_where() {
        let tables = vec![
            table("drop", Meaning::Threat, Kind::Host, "# x\n203.0.113.0/24\nevil.example\n"),
            table("more", Meaning::Threat, Kind::Host, "203.0.113.7\n"),
            table("m3", Meaning::Threat, Kind::Host, "203.0.113.0/25\n"),
            table("m4", Meaning::Threat, Kind::Host, "203.0.0.0/16\n"),
            table("tools", Meaning::Threat, Kind::UserAgent, "sqlmap/1.7\n"),
            table("exits", Meaning::Tor, Kind::Host, "198.51.100.1\n203.0.113.7\n"),
            table("cloud", Meaning::Hosting, Kind::Host, "198.51.100.0/24\n"),
        ];
        let all = [Meaning::Threat, Meaning::Tor, Meaning::Hosting];
        let clients = Clients::default().with_feeds(tables, &all);
        assert_eq!(
            details(&clients, "203.0.113.7", &[]),
            ["the client 203.0.113.7 stands in feed drop:2, feed more:1, feed m3:1 and 1 more"]
        );
        assert_eq!(
            details(
                &clients,
                "192.0.2.1",
                &[
                    ("Host", "API.evil.example:8443"),
                    ("referer", "https://u:p@evil.example/a?b=evil.example"),
                    ("Origin", "null"),
                    ("X-Forwarded-Host", "a.example, www.evil.example"),
                    ("User-Agent", "sqlmap/1.7"),
                ]
            ),
            [
                "Host evil.example stands in feed drop:3",
                "Referer evil.example stands in feed drop:3",
                "X-Forwarded-Host evil.example stands in feed drop:3",
                "the user agent stands in feed tools:1",
            ]
        );
        let nothing = [
            ("Host", "example"),
            ("Referer", "https://good.example/evil.example"),
            ("Origin", "https://[2001:db8::1]:80"),
            ("User-Agent", "sqlmap"),
            ("X-Other", "evil.example"),
        ];
        assert!(details(&clients, "192.0.2.1", &nothing).is_empty());
        // A head full of names costs no more than so many.
        let many = "a.example,".repeat(MAX_HOSTS) + "evil.example";
        assert!(details(&clients, "192.0.2.1", &[("X-Forwarded-Host", &many)]).is_empty());

        let facts = |address: &str| clients.facts(address.parse().unwrap());
        let exit = facts("198.51.100.1");
        assert_eq!(exit.kinds, Some(NetworkKinds::TOR.with(NetworkKinds::HOSTING)));
        assert_eq!(exit.threat, Some(false));
        assert_eq!(facts("192.0.2.1").kinds, Some(NetworkKinds::NONE));
        assert_eq!(facts("::ffff:203.0.113.7").threat, Some(true));
    }

    #[test]
    fn networks_of_private_addresses_say_nothing_but_one_that_is_written_down_does() {
        let text = "10.0.0.0/8\n127.0.0.0/8\n100.64.0.0/10\nfc00::/7\n10.1.2.3\n0.0.0.0/0\n";
        let bogons = table("bogons", Meaning::Threat, Kind::Host, text);
        let clients = Clients::default().with_feeds(vec![bogons], &[Meaning::Threat]);
        for (address, due) in [
            ("10.0.0.1", false),
            ("127.0.0.1", false),
            ("100.127.0.1", false),
            ("fd00::1", false),
            ("10.1.2.3", true),
            ("100.128.0.1", true),
            ("192.0.2.1", true),
        ] {
            assert_eq!(clients.facts(address.parse().unwrap()).threat, Some(due), "{address}");
        }
    }

    #[test]
    fn without_feeds_nothing_is_known() {
        let clients = Clients::default();
        let facts = clients.facts([203, 0, 113, 7].into());
        assert_eq!((facts.threat, facts.kinds), (None, None));
        // One that has not come yet says that it names nobody.
        let clients = clients.with_feeds(Vec::new(), &[Meaning::Threat]);
        assert_eq!(clients.facts([203, 0, 113, 7].into()).threat, Some(false));
    }
}
