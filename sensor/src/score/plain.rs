//! Features of the behaviour model in plain words: what was seen, with its unit, and what it is
//! held against.

use jotwatch_models::behaviour::Feature;

/// What a feature's value says, to be read by a person.
pub(super) fn words(feature: &Feature, value: f32) -> String {
    if value.is_nan() {
        return format!("not known: {}", feature.source);
    }
    let value = match (feature.id, feature.unit) {
        ("token-rest", _) if value < 0.0 => {
            return format!("expired {} ago", duration(count(-value)));
        }
        ("place-speed" | "place-speed-hour", _) => format!("{} km/h", grouped(count(value))),
        (_, "log2(1+s)" | "±log2(1+s)") => duration(count(value)),
        (_, "log2(1+ms)") => duration(count(value) / 1000.0),
        (_, "log2(1+h)") => duration(count(value) * 3600.0),
        (_, "log2(1+km)") => format!("{} km", grouped(count(value))),
        (_, "log2(1+n)") => grouped(count(value)),
        (_, "share" | "probability") => percent(value),
        (_, "log2(share)") => percent(value.exp2()),
        (_, "surprise") => format!("in 1 of some {} hours", grouped(value.exp2())),
        ("interval-spread", _) => format!("a factor of {:.1}", value.exp2()),
        ("hour-surprise", _) if value < 0.0 => {
            return format!(
                "{:.1} times as often active at this hour of the week as at any hour",
                (-value).exp2()
            );
        }
        ("hour-surprise", _) => format!("{:.1} times as", value.exp2()),
        (_, "log2") if value < 0.0 => format!("1 / {:.1} of", (-value).exp2()),
        (_, "log2") => format!("{:.1} times", value.exp2()),
        (_, "z") if value < 0.0 => format!("{:.1} deviations below", -value),
        (_, "z") => format!("{value:.1} deviations above"),
        (_, "0 or 1") if value < 0.5 => return format!("not so: {}", phrase(feature)),
        _ => grouped(value),
    };
    let phrase = phrase(feature);
    match phrase.split_once("{}") {
        Some((before, behind)) => format!("{before}{value}{behind}"),
        // A statement that holds or doesn't.
        None => phrase.to_owned(),
    }
}

/// The words around a value, which stands for `{}`; a statement where it is 0 or 1.
fn phrase(feature: &Feature) -> &'static str {
    match feature.id {
        "token-age" => "the token was issued {} ago",
        "token-rest" => "the token expires in {}",
        "token-life-used" => "{} of the token's lifetime has passed",
        "token-lifetime-z" => "the token's lifetime is {} what its issuer usually gives",
        "token-first-use" => "the token was not seen here before",
        "token-device-changed" => "another user agent than at the token's first use",
        "token-network-changed" => "another network than at the token's first use",
        "token-switches" => "the token went {} times from one client to another",
        "findings-info" => "findings of severity info: {}",
        "findings-low" => "findings of severity low: {}",
        "findings-medium" => "findings of severity medium: {}",
        "findings-high" => "findings of severity high: {}",
        "findings-critical" => "findings of severity critical: {}",
        "requests-minute" => "{} requests of the subject in the last minute",
        "rate-minute-z" => {
            "requests in the last minute: {} the busiest minute of the subject's usual hour"
        }
        "rate-hour-z" => "requests in the last hour: {} the subject's usual hour",
        "rate-day-z" => "requests in the last day: {} the subject's usual day",
        "rate-hour-peers-z" => {
            "requests in the last hour: {} the usual hour of subjects with the role"
        }
        "interval" => "{} since the subject's last request",
        "interval-spread" => "the latest pauses vary by {}; people's vary by more than 2",
        "interval-spread-z" => "evenness of pauses: {} the subject's usual",
        "address-new" => "an address that the subject never came from",
        "address-surprise" => "the subject comes from this address {}",
        "network-new" => "a network that the subject never came from",
        "network-surprise" => "the subject comes from this network {}",
        "country-new" => "a country that the subject never came from",
        "country-surprise" => "the subject comes from this country {}",
        "device-new" => "a user agent that the subject never used",
        "device-surprise" => "the subject uses this user agent {}",
        "place-distance" => "{} from the subject's last place",
        "place-speed" => "{} since the last place",
        "place-speed-hour" => "{} at most between places in this hour and the last",
        "client-surprise" => "the subject comes from such a network with such a user agent {}",
        "other-client-ago" => "{} ago the subject came with another network or user agent",
        "client-turns-hour" => "{} times in the last hour another client took over",
        "active-hours" => "{} of the last 24 hours had requests of the subject",
        "active-hours-z" => "hours with requests in the last day: {} the subject's usual day",
        "objects-day-over" => "objects of the day: {} those of the subject's usual day",
        "answer-bytes-own" => {
            "bytes of the answer: {} those of the greatest of the subject's usual day"
        }
        "bytes-hour-over" => "bytes given in the last hour: {} those of the subject's usual hour",
        "bytes-day-over" => "bytes given in the last day: {} those of the subject's usual day",
        "place-usual-distance" => "{} from the nearest of the subject's usual places",
        "addresses-hour" => "{} addresses of the subject in the last hour",
        "addresses-hour-z" => "addresses in the last hour: {} the subject's usual hour",
        "tokens-hour" => "{} tokens of the subject in the last hour",
        "tokens-hour-z" => "tokens in the last hour: {} the subject's usual hour",
        "hour-surprise" => "{} rarely active at this hour of the week as at any hour",
        "route-new" => "a route that the subject never used",
        "route-surprise" => "the subject uses this route {}",
        "route-role-surprise" => "subjects with the role use this route {}",
        "route-service-surprise" => "anybody uses this route {}",
        "routes-hour" => "{} routes of the subject in the last hour",
        "routes-hour-z" => "routes in the last hour: {} the subject's usual hour",
        "sequence-surprise" => "this route follows on the last one {}",
        "sequence-surprise-recent" => "the latest routes followed on each other {}",
        "object-run" => "{} object numbers in a row, in small steps",
        "objects-hour" => "{} objects in the last hour that the subject had not asked for today",
        "objects-hour-z" => "objects in the last hour: {} the subject's usual hour",
        "objects-day-z" => "objects of the day: {} the subject's usual day",
        "objects-hour-peers-z" => {
            "objects in the last hour: {} the usual hour of subjects with the role"
        }
        "object-density" => "{} of all object numbers in their span were asked for in this hour",
        "unauthorized-recent" => "{} of the latest answers are 401",
        "forbidden-recent" => "{} of the latest answers are 403",
        "not-found-recent" => "{} of the latest answers are 404",
        "failed-recent" => "{} of the latest answers are 5xx",
        "denied-hour-z" => "401 and 403 in the last hour: {} the subject's usual hour",
        "not-found-hour-z" => "404 in the last hour: {} the subject's usual hour",
        "scope-missing" => "the token's scopes do not cover the route",
        "request-bytes-z" => "bytes of the request: {} the route's usual",
        "latency-z" => "time to the answer: {} the route's usual",
        "answer-bytes-z" => "bytes of the answer: {} the route's usual",
        "bytes-hour-z" => "bytes given in the last hour: {} the subject's usual hour",
        "bytes-day-z" => "bytes given in the last day: {} the subject's usual day",
        "bytes-hour-peers-z" => {
            "bytes given in the last hour: {} the usual hour of subjects with the role"
        }
        "payload-probability" => "the payload model says {} where half of all requests are attacks",
        "threat" => "a threat feed names the client",
        "vpn" => "the client comes through a VPN",
        "relay" => "the client comes through a relay or public proxy",
        "tor" => "the client comes through Tor",
        "hosting" => "the client is in a data centre",
        "mobile" => "the client is in a mobile network",
        "network-age" => "this host has known the client's network for {}",
        "network-subjects" => "subjects came from the network in {} hours, all together",
        "address-subjects" => "{} subjects at the address in the last hour",
        // A test holds that there is no other.
        _ => feature.source,
    }
}

/// What log2(1+x) was made of.
fn count(value: f32) -> f32 {
    (value.exp2() - 1.0).max(0.0)
}

fn percent(share: f32) -> String {
    match share * 100.0 {
        percent if percent >= 10.0 || percent == 0.0 => format!("{percent:.0} %"),
        percent if percent >= 0.1 => format!("{percent:.1} %"),
        _ => "less than 0.1 %".to_owned(),
    }
}

/// A whole number with its thousands apart.
fn grouped(value: f32) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        let left = digits.len() - place;
        if place > 0 && left.is_multiple_of(3) && !out.ends_with('-') {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn duration(seconds: f32) -> String {
    const UNITS: [(f32, &str); 4] =
        [(86_400.0, "days"), (3600.0, "hours"), (60.0, "minutes"), (1.0, "seconds")];
    for (unit, name) in UNITS {
        // Below two of a unit the smaller one says more.
        if seconds >= 2.0 * unit {
            return format!("{} {name}", grouped(seconds / unit));
        }
    }
    format!("{seconds:.1} seconds")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use jotwatch_models::behaviour::{FEATURES, Index};

    use super::*;

    fn of(index: Index, value: f32) -> String {
        words(&FEATURES[index as usize], value)
    }

    #[test]
    fn values_are_told_with_their_units() {
        let log = |x: f32| (1.0 + x).log2();
        for (index, value, due) in [
            (Index::PlaceSpeed, log(1900.0), "1,900 km/h since the last place"),
            (Index::PlaceDistance, log(12.0), "12 km from the subject's last place"),
            (Index::TokenAge, log(7200.0), "the token was issued 2 hours ago"),
            (Index::TokenRest, -log(90.0), "expired 90 seconds ago"),
            (Index::TokenRest, log(864_000.0), "the token expires in 10 days"),
            (Index::TokenFirstUse, 1.0, "the token was not seen here before"),
            (Index::DeviceNew, 0.0, "not so: a user agent that the subject never used"),
            (
                Index::ObjectsHour,
                log(1_234_567.0),
                "1,234,567 objects in the last hour that the subject had not asked for today",
            ),
            (
                Index::RateHourZ,
                6.26,
                "requests in the last hour: 6.3 deviations above the subject's usual hour",
            ),
            (
                Index::BytesHourZ,
                -1.0,
                "bytes given in the last hour: 1.0 deviations below the subject's usual hour",
            ),
            (Index::ForbiddenRecent, 0.42, "42 % of the latest answers are 403"),
            (Index::RouteSurprise, 5.0, "the subject uses this route in 1 of some 32 hours"),
            (
                Index::ObjectDensity,
                0.0,
                "100 % of all object numbers in their span were asked for in this hour",
            ),
            (Index::Interval, log(1200.0), "1.2 seconds since the subject's last request"),
            (
                Index::HourSurprise,
                2.0,
                "4.0 times as rarely active at this hour of the week as at any hour",
            ),
            (
                Index::ObjectsDayOver,
                3.0,
                "objects of the day: 8.0 times those of the subject's usual day",
            ),
            (Index::FindingsHigh, 2.0, "findings of severity high: 2"),
        ] {
            assert_eq!(of(index, value), due);
        }
        assert_eq!(
            of(Index::TokenLifeUsed, f32::NAN),
            "not known: age over lifetime, by iat and exp"
        );
    }

    /// Over each feature's range: every one has words of its own, without a gap in them, that fit
    /// where events show them.
    #[test]
    fn every_feature_has_words() {
        let mut phrases = HashSet::new();
        for feature in &FEATURES {
            assert!(phrases.insert(phrase(feature)), "{}", feature.id);
            let statement = feature.unit == "0 or 1";
            assert_eq!(phrase(feature).contains("{}"), !statement, "{}", feature.id);
            for step in 0..=50 {
                let share = step as f32 / 50.0;
                let text = words(feature, feature.low + share * (feature.high - feature.low));
                assert!(!text.contains(['{', '}']), "{text}");
                assert!(text.len() <= crate::event::REASON_MAX, "{text}");
            }
        }
    }
}
