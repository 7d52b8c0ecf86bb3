//! A feed as it is asked for every request: what it says of an address, a domain, a user agent.
//!
//! A table is built once, beside the reader of requests, and never changed. Networks become
//! ranges that do not overlap, so that an address takes one binary search.

use std::{collections::HashMap, fmt, net::IpAddr, sync::Arc};

use super::{Feed, Indicator};

/// Entries over all tables that are in force together; a feed that would lead over it is refused.
/// An IPv4 address or network takes 8 to 16 bytes, one of IPv6 20 to 40, a name its text and
/// about 50: four million addresses and nothing else are 64 MB.
pub const MAX_TABLE_ENTRIES: usize = 4_000_000;

/// Of a name with more labels only itself and its last so many are looked up: whoever writes a
/// long name does not choose how long that takes.
const MAX_LABELS: usize = 8;

/// The bytes of a domain name (RFC 1035, section 2.3.4), and a dot at its end.
const MAX_NAME: usize = super::MAX_DOMAIN + 1;

/// What it means to stand in a feed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Meaning {
    /// Somebody calls it a threat.
    #[default]
    Threat,
    /// A VPN service.
    Vpn,
    /// A relay or public proxy.
    Relay,
    /// An exit of Tor.
    Tor,
    /// A data centre.
    Hosting,
    /// A mobile network.
    Mobile,
}

impl Meaning {
    /// The stable name, in the configuration and in `status`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Threat => "threat",
            Self::Vpn => "vpn",
            Self::Relay => "relay",
            Self::Tor => "tor",
            Self::Hosting => "hosting",
            Self::Mobile => "mobile",
        }
    }
}

/// Where something stands in a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit<'t> {
    /// The feed's name.
    pub feed: &'t str,
    /// The line, from 1; in a bundle the place among its objects, from 1.
    pub line: u32,
    /// In a bundle, the id of the indicator: the UUID behind `indicator--`.
    pub stix: Option<u128>,
    /// The entry is of one address.
    pub exact: bool,
}

impl fmt::Display for Hit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "feed {}:{}", self.feed, self.line)?;
        let Some(id) = self.stix else { return Ok(()) };
        let hex = format!("{id:032x}");
        f.write_str(" (indicator-")?;
        for part in [0..8, 8..12, 12..16, 16..20, 20..32] {
            write!(f, "-{}", hex.get(part).unwrap_or_default())?;
        }
        f.write_str(")")
    }
}

/// What a feed says. See the [module](self).
#[derive(Clone, Debug)]
pub struct FeedTable {
    name: Arc<str>,
    meaning: Meaning,
    v4: Ranges<u32>,
    v6: Ranges<u128>,
    domains: Names,
    agents: Names,
    /// Ids of indicators by their line, ascending.
    ids: Box<[(u32, u128)]>,
    entries: usize,
    skipped: u64,
}

type Names = HashMap<Box<str>, u32, foldhash::fast::RandomState>;

impl FeedTable {
    /// The table of a feed. Of a list of networks that are no threat only addresses count.
    #[must_use]
    pub fn new(name: &str, meaning: Meaning, feed: Feed) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        let (mut domains, mut agents) = (Names::default(), Names::default());
        let mut skipped = feed.skipped;
        for item in feed.items {
            if let Some(network) = item.indicator.network() {
                let exact = network.prefix_len() == network.max_prefix_len();
                let mark = Mark::new(item.line, exact);
                match (network.network(), network.broadcast()) {
                    (IpAddr::V4(low), IpAddr::V4(high)) => v4.push((low.into(), high.into(), mark)),
                    (IpAddr::V6(low), IpAddr::V6(high)) => v6.push((low.into(), high.into(), mark)),
                    _ => {}
                }
                continue;
            }
            match item.indicator {
                Indicator::Domain(name) if meaning == Meaning::Threat => {
                    domains.entry(name.into()).or_insert(item.line);
                }
                Indicator::UserAgent(agent) if meaning == Meaning::Threat => {
                    agents.entry(agent.into()).or_insert(item.line);
                }
                _ => skipped += 1,
            }
        }
        let entries = v4.len() + v6.len() + domains.len() + agents.len();
        Self {
            name: name.into(),
            meaning,
            v4: Ranges::new(v4),
            v6: Ranges::new(v6),
            domains,
            agents,
            ids: feed.ids.into(),
            entries,
            skipped,
        }
    }

    /// The feed's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it means to stand in it.
    #[must_use]
    pub const fn meaning(&self) -> Meaning {
        self.meaning
    }

    /// How many entries it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// What of the feed was passed over.
    #[must_use]
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Whether it names domains or user agents.
    #[must_use]
    pub fn has_names(&self) -> bool {
        !self.domains.is_empty() || !self.agents.is_empty()
    }

    /// Where the narrowest network around this address stands.
    #[must_use]
    pub fn address(&self, address: IpAddr) -> Option<Hit<'_>> {
        let mark = match address.to_canonical() {
            IpAddr::V4(v4) => self.v4.find(v4.into()),
            IpAddr::V6(v6) => self.v6.find(v6.into()),
        }?;
        Some(self.hit(mark.line(), mark.exact()))
    }

    /// Where this domain stands, or one that it is below of; and which of its bytes that is.
    #[must_use]
    pub fn domain<'n>(&self, name: &'n str) -> Option<(Hit<'_>, &'n str)> {
        if self.domains.is_empty() || name.len() > MAX_NAME {
            return None;
        }
        let name = name.strip_suffix('.').unwrap_or(name);
        let lower = name.to_ascii_lowercase();
        let labels = memchr::memrchr_iter(b'.', name.as_bytes()).skip(1).take(MAX_LABELS - 1);
        // The narrowest first.
        let mut from: smallvec::SmallVec<[usize; MAX_LABELS]> = labels.map(|at| at + 1).collect();
        from.push(0);
        from.into_iter().rev().find_map(|from| {
            let line = self.domains.get(lower.get(from..)?)?;
            Some((self.hit(*line, true), name.get(from..)?))
        })
    }

    /// Where this user agent stands, byte for byte.
    #[must_use]
    pub fn agent(&self, agent: &str) -> Option<Hit<'_>> {
        Some(self.hit(*self.agents.get(agent)?, true))
    }

    fn hit(&self, line: u32, exact: bool) -> Hit<'_> {
        let id = self.ids.binary_search_by_key(&line, |&(line, _)| line).ok();
        let stix = id.and_then(|at| self.ids.get(at)).map(|&(_, id)| id);
        Hit { feed: &self.name, line, stix, exact }
    }
}

/// A line, and whether its entry is of one address; 0 is no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Mark(u32);

impl Mark {
    const NONE: Self = Self(0);
    /// A feed has fewer lines than bytes, and fewer of those than this.
    const EXACT: u32 = 1 << 31;

    const fn new(line: u32, exact: bool) -> Self {
        let line = line & !Self::EXACT;
        Self(if exact { line | Self::EXACT } else { line })
    }

    const fn line(self) -> u32 {
        self.0 & !Self::EXACT
    }

    const fn exact(self) -> bool {
        self.0 & Self::EXACT != 0
    }
}

/// Ranges of addresses that do not overlap: each start with what holds from there to the next.
#[derive(Clone, Debug)]
struct Ranges<A> {
    starts: Box<[A]>,
    marks: Box<[Mark]>,
}

/// An address as a number.
trait Number: Copy + Ord {
    fn next(self) -> Option<Self>;
}

impl Number for u32 {
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

impl Number for u128 {
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

impl<A: Number> Ranges<A> {
    /// From networks as first and last address: of two, one holds the other, or they are apart.
    fn new(mut networks: Vec<(A, A, Mark)>) -> Self {
        // Of those with one start the widest first; of equal ones the first line.
        let line = |mark: Mark| mark.line();
        networks
            .sort_unstable_by_key(|&(low, high, mark)| (low, std::cmp::Reverse(high), line(mark)));
        networks.dedup_by_key(|&mut (low, high, _)| (low, high));
        let (mut starts, mut marks) = (Vec::<A>::new(), Vec::new());
        let mut emit = |start: A, mark: Mark| {
            if starts.last() == Some(&start) {
                marks.pop();
            } else {
                starts.push(start);
            }
            marks.push(mark);
        };
        // The networks that are open where we stand, the narrowest last.
        let mut open: Vec<(A, Mark)> = Vec::new();
        let close = |open: &mut Vec<(A, Mark)>, below: Option<A>, emit: &mut dyn FnMut(A, Mark)| {
            while let Some(&(high, _)) = open.last()
                && below.is_none_or(|below| high < below)
            {
                open.pop();
                if let Some(next) = high.next() {
                    emit(next, open.last().map_or(Mark::NONE, |&(_, mark)| mark));
                }
            }
        };
        for (low, high, mark) in networks {
            close(&mut open, Some(low), &mut emit);
            emit(low, mark);
            open.push((high, mark));
        }
        close(&mut open, None, &mut emit);
        Self { starts: starts.into(), marks: marks.into() }
    }

    fn find(&self, address: A) -> Option<Mark> {
        let at = self.starts.partition_point(|start| *start <= address).checked_sub(1)?;
        self.marks.get(at).copied().filter(|mark| *mark != Mark::NONE)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        feeds::{Format, Kind, parse},
        networks,
        time::Time,
    };

    fn table(text: &str, format: &Format) -> FeedTable {
        let feed = parse(text.as_bytes(), format, Time::EPOCH).unwrap();
        FeedTable::new("bad", Meaning::Threat, feed)
    }

    #[test]
    fn entries_are_found_with_where_they_stand() {
        let text = "10.0.0.0/8\n10.1.0.0/16\n10.1.2.3\n2001:db8::/32\n0.0.0.0/1\n255.255.255.255\n\
            Evil.Example\ndeep.evil.example\n10.1.0.0/16\n";
        let table = table(text, &Format::Plain(Kind::Host));
        let line = |address: &str| table.address(address.parse().unwrap()).map(|hit| hit.line);
        for (address, due) in [
            ("10.0.0.1", Some(1)),
            ("10.1.0.0", Some(2)),
            ("10.1.2.3", Some(3)),
            ("10.1.2.4", Some(2)),
            ("::ffff:10.1.2.4", Some(2)),
            ("10.2.0.0", Some(1)),
            ("11.0.0.0", Some(5)),
            ("0.0.0.0", Some(5)),
            ("127.255.255.255", Some(5)),
            ("128.0.0.0", None),
            ("255.255.255.255", Some(6)),
            ("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", Some(4)),
            ("2001:db9::", None),
            ("::", None),
        ] {
            assert_eq!(line(address), due, "{address}");
        }
        assert!(table.address("10.1.2.3".parse().unwrap()).unwrap().exact);
        assert!(!table.address("10.1.2.4".parse().unwrap()).unwrap().exact);
        let domain = |name| table.domain(name).map(|(hit, of)| (hit.line, of));
        assert_eq!(domain("eviL.example."), Some((7, "eviL.example")));
        assert_eq!(domain("a.b.Evil.example"), Some((7, "Evil.example")));
        assert_eq!(domain("x.deep.evil.example"), Some((8, "deep.evil.example")));
        for name in ["notevil.example", "example", "", ".", "..", "evil.example.org", "é.x"] {
            assert_eq!(domain(name), None, "{name}");
        }
        let long = format!("{}evil.example", "a.".repeat(120));
        assert_eq!(domain(&long), Some((7, "evil.example")));
        assert_eq!(domain(&format!("a.{long}{long}")), None);
        assert_eq!((table.len(), table.skipped()), (9, 0));
    }

    #[test]
    fn an_indicator_is_named_by_its_id() {
        let text = r#"{"type":"bundle","objects":[
            {"type":"identity","id":"identity--1"},
            {"type":"indicator","id":"indicator--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f",
             "pattern":"[ipv4-addr:value = '192.0.2.1' OR domain-name:value = 'evil.example']"},
            {"type":"indicator","id":"mine","pattern":"[ipv4-addr:value = '192.0.2.2']"}]}"#;
        let table = table(text, &Format::Stix);
        let hit = |address: &str| table.address(address.parse().unwrap()).unwrap().to_string();
        let due = "feed bad:2 (indicator--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f)";
        assert_eq!(hit("192.0.2.1"), due);
        assert_eq!(table.domain("evil.example").unwrap().0.to_string(), due);
        assert_eq!(hit("192.0.2.2"), "feed bad:3");
    }

    #[test]
    fn user_agents_are_found_as_they_stand_and_networks_have_no_names() {
        let agents = table("sqlmap/1.7\n", &Format::Plain(Kind::UserAgent));
        assert!(agents.agent("sqlmap/1.7").is_some() && agents.agent("SQLmap/1.7").is_none());
        let feed = parse(b"192.0.2.1\nevil.example\n", &Format::Plain(Kind::Host), Time::EPOCH);
        let vpn = FeedTable::new("vpn", Meaning::Vpn, feed.unwrap());
        assert_eq!((vpn.len(), vpn.skipped(), vpn.has_names()), (1, 1, false));
        assert!(vpn.domain("evil.example").is_none());
    }

    proptest! {
        /// Against asking every network.
        #[test]
        fn ranges_say_what_all_networks_say(
            nets in prop::collection::vec((0_u8..8, any::<u8>(), 22_u8..=32), 0..40),
            asked in prop::collection::vec((0_u8..8, any::<u8>()), 1..60),
        ) {
            let text: Vec<String> =
                nets.iter().map(|(a, b, len)| format!("192.0.{a}.{b}/{len}")).collect();
            let table = table(&text.join("\n"), &Format::Plain(Kind::Host));
            let nets: Vec<_> = text.iter().map(|text| networks::parse(text).unwrap()).collect();
            for (a, b) in asked {
                let address = IpAddr::from([192, 0, a, b]);
                let around = nets.iter().enumerate().filter(|(_, net)| net.contains(&address));
                let narrowest = around
                    .min_by_key(|(line, net)| (std::cmp::Reverse(net.prefix_len()), *line))
                    .map(|(line, _)| line as u32 + 1);
                prop_assert_eq!(table.address(address).map(|hit| hit.line), narrowest);
            }
        }
    }
}
