//! The features: what each is called, in what unit and range, from where, and in which group.
//!
//! Three shapes carry over from one host to another, where counts and names would not:
//! - *log2(1+x)* of a count, a time or a distance: doubling it adds 1;
//! - *z*: how far log2(1+x) lies from the usual, in units of the usual deviation (mean absolute
//!   deviation times 1.25, which of a normal distribution is its standard deviation), where the
//!   usual is learned, decays, and moves by a bounded step a window;
//! - *surprise*: log2((n+1)/(k+1)), where k of the n hours in which something of the kind was
//!   seen saw this one: 0 is what always is, 5 what is new after a month of hours.
//!
//! *History* says that a feature compares with the subject's own past: it is absent while the
//! profile is learning.

use sha2::{Digest, Sha256};

/// To be raised when a feature changes its meaning under the same name.
const SCHEMA_VERSION: u32 = 2;

/// A part of the schema that is measured on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// The token and what was found in it.
    Token,
    /// Who, when, from where, how fast.
    Subject,
    /// What was asked for.
    Access,
    /// What the service gave.
    Answer,
    /// What the request carried.
    Payload,
    /// The client's network.
    Network,
}

impl Group {
    /// All groups, in the order of their features.
    pub const ALL: [Self; 6] =
        [Self::Token, Self::Subject, Self::Access, Self::Answer, Self::Payload, Self::Network];

    /// Its stable name.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Subject => "subject",
            Self::Access => "access",
            Self::Answer => "answer",
            Self::Payload => "payload",
            Self::Network => "network",
        }
    }
}

/// One feature.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Feature {
    /// Its stable name.
    pub id: &'static str,
    /// The unit of its values.
    pub unit: &'static str,
    /// The least value; what would be less is this.
    pub low: f32,
    /// The greatest value; what would be more is this.
    pub high: f32,
    /// What it stands for and where it comes from, to be read by a person.
    pub source: &'static str,
    /// The group it is in.
    pub group: Group,
    /// It compares with the subject's own past, and is absent while that is learned.
    pub history: bool,
}

macro_rules! features {
    ($($group:ident { $($name:ident $id:literal $unit:literal $low:literal..$high:literal $history:ident $source:literal;)* })*) => {
        /// The features by name: their places in [`FEATURES`].
        #[expect(missing_docs, reason = "each stands in FEATURES with its meaning")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(usize)]
        pub enum Index { $($($name,)*)* }

        /// All features.
        pub const FEATURES: [Feature; WIDTH] = [$($(Feature {
            id: $id, unit: $unit, low: $low, high: $high, source: $source,
            group: Group::$group, history: $history,
        },)*)*];

        /// How many features there are.
        pub const WIDTH: usize = [$($(Index::$name,)*)*].len();
    };
}

const HISTORY: bool = true;
const NOW: bool = false;

features! {
    Token {
        TokenAge "token-age" "log2(1+s)" 0.0..32.0 NOW "time since the token's iat";
        TokenRest "token-rest" "±log2(1+s)" -32.0..32.0 NOW "time to the token's exp, negative behind it";
        TokenLifeUsed "token-life-used" "share" 0.0..4.0 NOW "age over lifetime, by iat and exp";
        TokenLifetimeZ "token-lifetime-z" "z" -32.0..32.0 NOW "exp less iat against what the issuer's tokens usually have";
        TokenFirstUse "token-first-use" "0 or 1" 0.0..1.0 NOW "this host had not seen the token";
        TokenDeviceChanged "token-device-changed" "0 or 1" 0.0..1.0 NOW "another user agent than at the token's first use; of the subject's latest tokens";
        TokenNetworkChanged "token-network-changed" "0 or 1" 0.0..1.0 NOW "another network (autonomous system, else /16 or /32) than at the token's first use; of the subject's latest tokens";
        TokenSwitches "token-switches" "log2(1+n)" 0.0..8.0 NOW "how often the token went from one client (user agent and network) to another";
        FindingsInfo "findings-info" "count" 0.0..16.0 NOW "findings of severity info";
        FindingsLow "findings-low" "count" 0.0..16.0 NOW "findings of severity low";
        FindingsMedium "findings-medium" "count" 0.0..16.0 NOW "findings of severity medium";
        FindingsHigh "findings-high" "count" 0.0..16.0 NOW "findings of severity high";
        FindingsCritical "findings-critical" "count" 0.0..16.0 NOW "findings of severity critical";
    }
    Subject {
        RequestsMinute "requests-minute" "log2(1+n)" 0.0..32.0 NOW "the subject's requests in the last minute";
        RateMinuteZ "rate-minute-z" "z" -32.0..32.0 HISTORY "requests in the last minute against the busiest minute of the subject's usual hour";
        RateHourZ "rate-hour-z" "z" -32.0..32.0 HISTORY "requests in the last hour against the subject's usual hour";
        RateDayZ "rate-day-z" "z" -32.0..32.0 HISTORY "requests in the last day against the subject's usual day";
        RateHourPeersZ "rate-hour-peers-z" "z" -32.0..32.0 NOW "requests in the last hour against the usual hour of subjects with the role";
        Interval "interval" "log2(1+ms)" 0.0..40.0 NOW "time since the subject's last request";
        IntervalSpread "interval-spread" "log2" 0.0..16.0 NOW "mean absolute deviation of the logarithms of the latest intervals: near 0 is a machine";
        IntervalSpreadZ "interval-spread-z" "z" -32.0..32.0 HISTORY "interval-spread against the subject's usual";
        AddressNew "address-new" "0 or 1" 0.0..1.0 HISTORY "the address (IPv6: /64) was not seen with the subject before the last hours";
        AddressSurprise "address-surprise" "surprise" 0.0..12.0 HISTORY "how rarely the subject comes from the address (IPv6: /64)";
        NetworkNew "network-new" "0 or 1" 0.0..1.0 HISTORY "the network (autonomous system, else /16 or /32) was not seen with the subject before the last hours";
        NetworkSurprise "network-surprise" "surprise" 0.0..12.0 HISTORY "how rarely the subject comes from the network";
        CountryNew "country-new" "0 or 1" 0.0..1.0 HISTORY "the country was not seen with the subject before the last hours";
        CountrySurprise "country-surprise" "surprise" 0.0..12.0 HISTORY "how rarely the subject comes from the country";
        DeviceNew "device-new" "0 or 1" 0.0..1.0 HISTORY "the user agent was not seen with the subject before the last hours";
        DeviceSurprise "device-surprise" "surprise" 0.0..12.0 HISTORY "how rarely the subject uses the user agent";
        PlaceDistance "place-distance" "log2(1+km)" 0.0..16.0 NOW "distance from the subject's last place, less both accuracy radii; absent through VPN, relay, Tor and mobile networks";
        PlaceSpeed "place-speed" "log2(1+km/h)" 0.0..24.0 NOW "that distance over the time between";
        PlaceUsualDistance "place-usual-distance" "log2(1+km)" 0.0..16.0 HISTORY "distance from the nearest of the subject's usual places, less both radii; absent as above";
        PlaceSpeedHour "place-speed-hour" "log2(1+km/h)" 0.0..24.0 NOW "the greatest place-speed of this hour and the one before";
        ClientSurprise "client-surprise" "surprise" 0.0..24.0 HISTORY "network-surprise and device-surprise together";
        OtherClientAgo "other-client-ago" "log2(1+s)" 0.0..32.0 NOW "time since the subject's last request from another client (user agent and network) than this one";
        ClientTurnsHour "client-turns-hour" "log2(1+n)" 0.0..16.0 NOW "how often another client of the subject took over in the last hour";
        AddressesHour "addresses-hour" "log2(1+n)" 0.0..16.0 NOW "distinct addresses of the subject in the last hour";
        AddressesHourZ "addresses-hour-z" "z" -32.0..32.0 HISTORY "the same against the subject's usual hour";
        TokensHour "tokens-hour" "log2(1+n)" 0.0..16.0 NOW "distinct tokens of the subject in the last hour";
        TokensHourZ "tokens-hour-z" "z" -32.0..32.0 HISTORY "the same against the subject's usual hour";
        ActiveHours "active-hours" "log2(1+n)" 0.0..8.0 NOW "different hours with requests among the last 24";
        ActiveHoursZ "active-hours-z" "z" -32.0..32.0 HISTORY "the same against the subject's usual day";
        HourSurprise "hour-surprise" "log2" -8.0..8.0 HISTORY "how much rarer than at any hour the subject is active at this hour of the week (UTC), with its neighbours";
    }
    Access {
        RouteNew "route-new" "0 or 1" 0.0..1.0 HISTORY "the subject had not used the route before the last hours";
        RouteSurprise "route-surprise" "surprise" 0.0..12.0 HISTORY "how rarely the subject uses the route";
        RouteRoleSurprise "route-role-surprise" "surprise" 0.0..24.0 NOW "how rarely subjects with the role use the route; without roles, those of the service without";
        RouteServiceSurprise "route-service-surprise" "surprise" 0.0..24.0 NOW "how rarely anybody uses the route of the service";
        RoutesHour "routes-hour" "log2(1+n)" 0.0..16.0 NOW "distinct routes of the subject in the last hour";
        RoutesHourZ "routes-hour-z" "z" -32.0..32.0 HISTORY "the same against the subject's usual hour";
        SequenceSurprise "sequence-surprise" "surprise" 0.0..24.0 NOW "how rarely the route follows on the subject's last one, for anybody; route-service-surprise where that one is too rare to tell";
        SequenceSurpriseRecent "sequence-surprise-recent" "surprise" 0.0..24.0 NOW "its mean over the subject's latest requests";
        ObjectRun "object-run" "log2(1+n)" 0.0..16.0 NOW "length of the present run of object numbers in small steps in one direction";
        ObjectsHour "objects-hour" "log2(1+n)" 0.0..24.0 NOW "distinct objects in the last hour that the subject had not asked for today";
        ObjectsHourZ "objects-hour-z" "z" -32.0..32.0 HISTORY "the same against the subject's usual hour";
        ObjectsDayZ "objects-day-z" "z" -32.0..32.0 HISTORY "distinct objects of the day against the subject's usual day";
        ObjectsDayOver "objects-day-over" "log2" -32.0..32.0 HISTORY "distinct objects of the day over those of the subject's usual day";
        ObjectsHourPeersZ "objects-hour-peers-z" "z" -32.0..32.0 NOW "objects-hour against the usual hour of subjects with the role";
        ObjectDensity "object-density" "log2(share)" -64.0..0.0 NOW "how much of the span of its object numbers the subject asked for in this hour: 0 is every one";
        UnauthorizedRecent "unauthorized-recent" "share" 0.0..1.0 NOW "401 among the subject's latest answers";
        ForbiddenRecent "forbidden-recent" "share" 0.0..1.0 NOW "403 among the subject's latest answers";
        NotFoundRecent "not-found-recent" "share" 0.0..1.0 NOW "404 among the subject's latest answers";
        FailedRecent "failed-recent" "share" 0.0..1.0 NOW "5xx among the subject's latest answers";
        DeniedHourZ "denied-hour-z" "z" -32.0..32.0 HISTORY "401 and 403 in the last hour against the subject's usual hour";
        NotFoundHourZ "not-found-hour-z" "z" -32.0..32.0 HISTORY "404 in the last hour against the subject's usual hour";
        ScopeMissing "scope-missing" "0 or 1" 0.0..1.0 NOW "the token's scopes do not cover the route";
        RequestBytesZ "request-bytes-z" "z" -32.0..32.0 NOW "bytes of the request against the route's usual";
    }
    Answer {
        LatencyZ "latency-z" "z" -32.0..32.0 NOW "time to the answer against the route's usual; absent before it";
        AnswerBytesZ "answer-bytes-z" "z" -32.0..32.0 NOW "bytes of the answer against the route's usual; absent before it";
        BytesHourZ "bytes-hour-z" "z" -32.0..32.0 HISTORY "bytes given to the subject in the last hour against its usual hour";
        BytesDayZ "bytes-day-z" "z" -32.0..32.0 HISTORY "bytes given to the subject in the last day against its usual day";
        AnswerBytesOwn "answer-bytes-own" "log2" -32.0..32.0 HISTORY "bytes of the answer over those of the greatest answer of the subject's usual day; absent before it";
        BytesHourOver "bytes-hour-over" "log2" -32.0..32.0 HISTORY "bytes given to the subject in the last hour over those of its usual hour";
        BytesDayOver "bytes-day-over" "log2" -32.0..32.0 HISTORY "bytes given to the subject in the last day over those of its usual day";
        BytesHourPeersZ "bytes-hour-peers-z" "z" -32.0..32.0 NOW "bytes given in the last hour against the usual hour of subjects with the role";
    }
    Payload {
        PayloadProbability "payload-probability" "probability" 0.0..1.0 NOW "the payload model's";
    }
    Network {
        Threat "threat" "0 or 1" 0.0..1.0 NOW "a threat feed names the client";
        Vpn "vpn" "0 or 1" 0.0..1.0 NOW "the client comes through a VPN service";
        Relay "relay" "0 or 1" 0.0..1.0 NOW "the client comes through a relay or public proxy";
        Tor "tor" "0 or 1" 0.0..1.0 NOW "the client comes through Tor";
        Hosting "hosting" "0 or 1" 0.0..1.0 NOW "the client is in a data centre";
        Mobile "mobile" "0 or 1" 0.0..1.0 NOW "the client is in a mobile network";
        NetworkAge "network-age" "log2(1+h)" 0.0..24.0 NOW "time since this host first saw the network";
        NetworkSubjects "network-subjects" "log2(1+n)" 0.0..24.0 NOW "hours in which subjects came from the network, all together, decayed";
        AddressSubjects "address-subjects" "log2(1+n)" 0.0..16.0 NOW "distinct subjects at the address in the last hour";
    }
}

/// A hash of everything that gives a value its meaning.
#[must_use]
pub fn schema_hash() -> u64 {
    let mut hash = Sha256::new();
    hash.update(SCHEMA_VERSION.to_le_bytes());
    for feature in &FEATURES {
        for text in [feature.id, feature.unit, feature.group.id()] {
            hash.update(text);
            hash.update([0]);
        }
        for bound in [feature.low, feature.high] {
            hash.update(bound.to_le_bytes());
        }
    }
    let digest = hash.finalize();
    digest.first_chunk().copied().map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_kebab_case_and_each_stands_once() {
        let mut seen = HashSet::new();
        for feature in &FEATURES {
            assert!(seen.insert(feature.id), "{}", feature.id);
            assert!(feature.id.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'));
            assert!(feature.low < feature.high, "{}", feature.id);
            assert!(!feature.source.is_empty() && !feature.unit.is_empty());
        }
    }

    /// `JOTWATCH_BLESS=1` writes the table anew.
    #[test]
    fn the_page_lists_them_as_they_are() {
        use std::fmt::Write as _;
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/features.md");
        let page = std::fs::read_to_string(path).unwrap();
        let (before, _) = page.split_once("\n| feature |").unwrap();
        let mut want = format!(
            "{before}\n| feature | group | unit | range | history | what |\n|---|---|---|---|---|---|\n"
        );
        for Feature { id, unit, low, high, source, group, history } in FEATURES {
            let (group, history) = (group.id(), if history { "yes" } else { "" });
            writeln!(want, "| `{id}` | {group} | {unit} | {low}..{high} | {history} | {source} |")
                .unwrap();
        }
        if std::env::var_os("JOTWATCH_BLESS").is_some() {
            std::fs::write(path, &want).unwrap();
        }
        assert!(page == want, "docs/features.md is not what the schema says");
    }

    #[test]
    fn groups_stand_together_in_their_order() {
        let mut groups: Vec<Group> = FEATURES.iter().map(|f| f.group).collect();
        groups.dedup();
        assert_eq!(groups, Group::ALL);
    }

    #[test]
    fn places_are_those_of_the_names() {
        assert_eq!(FEATURES[Index::TokenAge as usize].id, "token-age");
        assert_eq!(FEATURES[Index::ObjectRun as usize].id, "object-run");
        assert_eq!(FEATURES[WIDTH - 1].id, FEATURES[Index::AddressSubjects as usize].id);
    }
}
