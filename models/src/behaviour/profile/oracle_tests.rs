//! Against an oracle that keeps the list of all requests and answers and counts anew each time.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};

use proptest::prelude::*;

use super::{
    tests::{START, profiles, request},
    *,
};
use crate::behaviour::{GeoPoint, Index as F, NetworkKinds, Route};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

fn log(x: f64) -> f64 {
    x.max(0.0).ln_1p() / std::f64::consts::LN_2
}

fn surprise(k: f64, n: f64) -> f64 {
    ((n + 1.0) / (k + 1.0)).log2().max(0.0)
}

/// The usual of values on the scale of log2, in their order.
fn usual(values: &[f64], pace: f64) -> Option<(f64, f64)> {
    let (first, rest) = values.split_first()?;
    let (mut mean, mut spread) = (*first, 1.0);
    for (seen, value) in (1..).zip(rest) {
        let delta = value - mean;
        let growth = delta.abs() - spread;
        if seen < 8 {
            mean = values[..=seen].iter().sum::<f64>() / (seen + 1) as f64;
            spread += growth / (seen + 2) as f64;
        } else {
            mean += (delta * pace).clamp(-pace, pace);
            spread += (growth * pace).clamp(-pace, pace);
        }
    }
    Some((mean, spread))
}

fn z(usual: Option<(f64, f64)>, value: f64) -> Option<f64> {
    let (mean, spread) = usual?;
    let deviation = spread.max(0.4) * (std::f64::consts::PI / 2.0).sqrt();
    Some(((value - mean) / deviation).clamp(-32.0, 32.0))
}

const OWN: f64 = 1.0 / 16.0;
const SHARED: f64 = 1.0 / 64.0;

#[derive(Default)]
struct Oracle {
    all: Vec<(Request, Answer)>,
}

/// How a value in a window is made of the requests in it.
type Measure<'a> = &'a dyn Fn(&[&(Request, Answer)]) -> f64;

impl Oracle {
    /// The subject's requests up to now.
    fn own(&self, subject: u128) -> Vec<&(Request, Answer)> {
        self.all.iter().filter(|(r, _)| r.subject == subject).collect()
    }

    fn now(&self) -> &(Request, Answer) {
        self.all.last().unwrap()
    }

    /// The measure in each window with requests of the subject, by number.
    fn windows(&self, window: u64, measure: Measure<'_>) -> BTreeMap<u64, f64> {
        let mut parts: BTreeMap<u64, Vec<&(Request, Answer)>> = BTreeMap::new();
        for one in self.own(self.now().0.subject) {
            parts.entry(one.0.at_ms / window).or_default().push(one);
        }
        parts.into_iter().map(|(at, part)| (at, measure(&part))).collect()
    }

    /// log2(1+x) of windows that are over.
    fn over(&self, window: u64, measure: Measure<'_>) -> Vec<f64> {
        let now = self.now().0.at_ms / window;
        self.windows(window, measure).range(..now).map(|(_, x)| log(*x)).collect()
    }

    /// What a window's length up to now holds of something that adds up.
    fn last(&self, window: u64, measure: Measure<'_>) -> f64 {
        let windows = self.windows(window, measure);
        let now = self.now().0.at_ms;
        let part = (now % window) as f64 / window as f64;
        let at = |k: u64| windows.get(&k).copied().unwrap_or(0.0);
        at(now / window) + at(now / window - 1) * (1.0 - part)
    }

    /// The same of different things, where the greater counts.
    fn last_distinct(&self, measure: Measure<'_>) -> f64 {
        let windows = self.windows(HOUR, measure);
        let now = self.now().0.at_ms;
        let part = (now % HOUR) as f64 / HOUR as f64;
        let at = |k: u64| windows.get(&k).copied().unwrap_or(0.0);
        at(now / HOUR).max(at(now / HOUR - 1) * (1.0 - part))
    }

    fn z(&self, window: u64, measure: Measure<'_>) -> Option<f64> {
        z(usual(&self.over(window, measure), OWN), log(self.last(window, measure)))
    }

    fn z_distinct(&self, measure: Measure<'_>) -> Option<f64> {
        z(usual(&self.over(HOUR, measure), OWN), log(self.last_distinct(measure)))
    }

    /// Whether something is new to the subject, and how surprising, by the hours before the last.
    fn sight(&self, name: &dyn Fn(&Request) -> u64) -> (f64, f64) {
        let now = &self.now().0;
        let before = now.at_ms / HOUR - 1;
        let (mut all, mut of_it) = (BTreeSet::new(), BTreeSet::new());
        for (r, _) in self.own(now.subject) {
            if r.at_ms / HOUR < before {
                all.insert(r.at_ms / HOUR);
                if name(r) == name(now) {
                    of_it.insert(r.at_ms / HOUR);
                }
            }
        }
        let new = if of_it.is_empty() { 1.0 } else { 0.0 };
        (new, surprise(of_it.len() as f64, all.len() as f64))
    }

    /// Hours of subjects whose requests are such, before this request, decayed.
    fn subject_hours(&self, such: &dyn Fn(&Request) -> bool) -> f64 {
        let (now, before) = self.all.split_last().unwrap();
        let hours: BTreeSet<(u128, u64)> = before
            .iter()
            .filter(|(r, _)| such(r))
            .map(|(r, _)| (r.subject, r.at_ms / HOUR))
            .collect();
        let hour = now.0.at_ms / HOUR;
        hours.iter().map(|(_, at)| (-((hour - at) as f64) / 336.0).exp2()).sum()
    }

    fn learning(&self) -> bool {
        let count: Measure<'_> = &|part| part.len() as f64;
        let own = self.own(self.now().0.subject).len();
        own < LEARNING_REQUESTS as usize
            || self.over(HOUR, count).len() < usize::from(LEARNING_HOURS)
            || self.windows(DAY, count).len() < usize::from(LEARNING_DAYS)
    }

    /// The latest of values, each a sixteenth.
    fn latest(values: &[f64]) -> f64 {
        let mut mean = 0.0;
        for (seen, value) in values.iter().enumerate() {
            mean += (value - mean) * (1.0_f64 / 16.0).max(1.0 / (seen as f64 + 1.0));
        }
        mean
    }

    fn share(&self, such: &dyn Fn(u16) -> bool) -> Option<f64> {
        let own = self.own(self.now().0.subject);
        let hits: Vec<f64> = own.iter().map(|(_, a)| f64::from(u8::from(such(a.status)))).collect();
        (hits.len() >= 4).then(|| Self::latest(&hits))
    }

    /// How evenly the session's requests came; and what is usual, from the ends of hours.
    fn interval_spread(&self) -> (Option<f64>, Option<f64>) {
        let own = self.own(self.now().0.subject);
        let (mut mean, mut spread, mut session) = (0.0, 0.0, 0_u32);
        let (mut learned, mut hours) = (None::<(f64, f64)>, 0_u32);
        let sure = |session: u32, spread: f64| (session >= 8).then_some(spread);
        for pair in own.windows(2) {
            let (from, to) = (pair[0].0.at_ms, pair[1].0.at_ms);
            if from / HOUR != to / HOUR {
                if let Some(value) = sure(session, spread) {
                    learned = Some(match learned {
                        None => (value, 1.0),
                        Some((m, s)) => {
                            let (delta, growth) = (value - m, (value - m).abs() - s);
                            if hours < 8 {
                                let seen = f64::from(hours);
                                (m + delta / (seen + 1.0), s + growth / (seen + 2.0))
                            } else {
                                let step = |x: f64| (x * OWN).clamp(-OWN, OWN);
                                (m + step(delta), s + step(growth))
                            }
                        }
                    });
                }
                hours += 1;
            }
            if to - from > SESSION_GAP_MS {
                (mean, spread, session) = (0.0, 0.0, 0);
                continue;
            }
            let value = log((to - from) as f64);
            let part = (1.0_f64 / 16.0).max(1.0 / f64::from(session + 1));
            mean = if session == 0 { value } else { mean };
            spread += ((value - mean).abs() - spread) * part;
            mean += (value - mean) * part;
            session += 1;
        }
        let spread = sure(session, spread);
        (spread, spread.and_then(|spread| z(learned, spread)))
    }

    /// What a route's answers were like before this one.
    fn answers(&self, value: &dyn Fn(&Answer) -> f64) -> Option<f64> {
        let now = self.now();
        let mut first = BTreeSet::new();
        let mut in_hour: BTreeMap<(u128, u64), u32> = BTreeMap::new();
        let mut values = Vec::new();
        for (r, a) in &self.all[..self.all.len() - 1] {
            let hour = (r.subject, r.at_ms / HOUR);
            let count = in_hour.entry(hour).or_default();
            *count += 1;
            let first = first.insert((hour, r.route.template));
            if r.route.template == now.0.route.template
                && (200..400).contains(&a.status)
                && (first || values.len() < 16 && *count <= 64)
            {
                values.push(log(value(a)));
            }
        }
        (values.len() >= 16).then(|| z(usual(&values, SHARED), log(value(&now.1))))?
    }

    /// Surprise of the route behind the subject's last in its session.
    fn sequence(&self, service_surprise: Option<f64>) -> Option<f64> {
        let now = &self.now().0;
        let mut last: BTreeMap<u128, (u64, u64)> = BTreeMap::new();
        let mut in_hour: BTreeMap<(u128, u64), u32> = BTreeMap::new();
        let mut taught = Vec::new();
        let mut from = 0;
        for (r, _) in &self.all {
            from = match last.get(&r.subject) {
                Some((at, route)) if r.at_ms - at <= SESSION_GAP_MS => *route,
                _ => 0,
            };
            last.insert(r.subject, (r.at_ms, r.route.template));
            let count = in_hour.entry((r.subject, r.at_ms / HOUR)).or_default();
            *count += 1;
            if *count <= 64 {
                taught.push((from, r.route.template, r.at_ms / HOUR));
            }
        }
        // This one counts behind its comparison.
        if in_hour[&(now.subject, now.at_ms / HOUR)] <= 64 {
            taught.pop();
        }
        let weight = |such: &dyn Fn(u64) -> bool| -> f64 {
            let hour = now.at_ms / HOUR;
            let hits = taught.iter().filter(|(f, t, _)| *f == from && such(*t));
            hits.map(|(_, _, at)| (-((hour - at) as f64) / 336.0).exp2()).sum()
        };
        let (n, k) = (weight(&|_| true), weight(&|to| to == now.route.template));
        // At the very border the last place decides.
        if (n - 16.0).abs() < 1e-3 {
            return None;
        }
        if n >= 16.0 { Some(surprise(k, n)) } else { service_surprise }
    }

    fn week(&self) -> f64 {
        let now = self.now().0.at_ms / HOUR;
        let count: Measure<'_> = &|part| part.len() as f64;
        let mut steps = [0.0_f64; 84];
        for hour in self.windows(HOUR, count).range(..now).map(|(hour, _)| hour) {
            steps[(hour / 2 % 84) as usize] += 1.0;
        }
        assert!(steps.iter().all(|n| *n <= 15.0));
        let step = (now / 2 % 84) as usize;
        // By how far a step lies behind this one: the same time of a day, or next to it.
        let near: f64 = (0..84)
            .map(|behind| {
                let (days, share) = match behind % 12 {
                    0 => (behind / 12, 1.0),
                    1 => (behind / 12, 0.5),
                    11 => ((behind + 1) / 12 % 7, 0.5),
                    _ => (0, 0.0),
                };
                let day = if days == 0 { 1.0 } else { 0.25 };
                steps[(step + behind) % 84] * day * share
            })
            .sum();
        ((steps.iter().sum::<f64>() * 5.0 / 84.0 + 1.0) / (near + 1.0)).log2()
    }
}

fn distinct(part: &[&(Request, Answer)], name: &dyn Fn(&Request) -> u64) -> f64 {
    part.iter().map(|(r, _)| name(r)).collect::<BTreeSet<_>>().len() as f64
}

fn address(r: &Request) -> u64 {
    match r.client.address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(_) => 0,
    }
}

/// What the oracle expects, by feature: NaN for absent; how far it may be off.
fn expected(oracle: &Oracle) -> Vec<(F, Option<f64>, f64)> {
    let (now, _) = oracle.now();
    let count: Measure<'_> = &|part| part.len() as f64;
    let status = |is: &'static dyn Fn(u16) -> bool| {
        move |part: &[&(Request, Answer)]| part.iter().filter(|(_, a)| is(a.status)).count() as f64
    };
    let denied = status(&|s| s == 401 || s == 403);
    let not_found = status(&|s| s == 404);
    let bytes: Measure<'_> = &|part| part.iter().map(|(_, a)| a.bytes.div_ceil(64) as f64).sum();
    let busiest: Measure<'_> = &|part| {
        let mut minutes: BTreeMap<u64, u32> = BTreeMap::new();
        part.iter().for_each(|(r, _)| *minutes.entry(r.at_ms / MINUTE).or_default() += 1);
        minutes.into_values().max().unwrap_or(0).into()
    };
    let addresses: Measure<'_> = &|part| distinct(part, &address);
    let tokens: Measure<'_> =
        &|part| distinct(part, &|r| r.token.as_ref().map_or(0, |t| t.fingerprint));
    let objects: Measure<'_> = &|part| {
        let all = part.iter().filter_map(|(r, _)| Some((r.route.template, r.route.object?)));
        all.collect::<BTreeSet<_>>().len() as f64
    };
    let own = oracle.own(now.subject);
    let interval = own.len().checked_sub(2).map(|at| log((now.at_ms - own[at].0.at_ms) as f64));
    let (spread, spread_z) = oracle.interval_spread();
    let device_sight = oracle.sight(&|r| r.device);
    let address_sight = oracle.sight(&address);
    let route_sight = oracle.sight(&|r| r.route.template);
    // Hours halve when there are 63 of them.
    let decayed = if oracle.over(HOUR, count).len() < 62 { 1e-4 } else { 0.5 };
    let history = |value: Option<f64>| if oracle.learning() { None } else { value };
    let flag = |is: bool| Some(f64::from(u8::from(is)));
    let peers = oracle.subject_hours(&|r| r.role == now.role);
    let with_route = |r: &Request| r.route.template == now.route.template;
    let role_route = oracle.subject_hours(&|r| r.role == now.role && with_route(r));
    let everybody = oracle.subject_hours(&|_| true);
    let anybody = oracle.subject_hours(&with_route);
    let of = |n: f64, k: f64| (n >= f64::from(PEER_HOURS)).then(|| surprise(k, n));
    let service = of(everybody, anybody);
    let sequence = oracle.sequence(service);
    let token = now.token.unwrap();
    let uses: Vec<&Request> = own
        .iter()
        .map(|(r, _)| r)
        .filter(|r| r.token.map(|t| t.fingerprint) == Some(token.fingerprint))
        .collect();
    let switches = uses
        .windows(2)
        .filter(|pair| (pair[0].device, pair[0].client.asn) != (pair[1].device, pair[1].client.asn))
        .count();
    let hour = now.at_ms / HOUR;
    let first_network =
        oracle.all.iter().find(|(r, _)| r.client.asn == now.client.asn).unwrap().0.at_ms / HOUR;
    let since = oracle.all[0].0.at_ms / HOUR;
    let hosts = |hour: u64| -> f64 {
        let there =
            oracle.all.iter().filter(|(r, _)| address(r) == address(now) && r.at_ms / HOUR == hour);
        there.map(|(r, _)| r.subject).collect::<BTreeSet<_>>().len() as f64
    };
    let part = (now.at_ms % HOUR) as f64 / HOUR as f64;
    let hours: BTreeSet<u64> = own.iter().map(|(r, _)| r.at_ms / HOUR).collect();
    let active = hours.range(hour - 23..=hour).count() as f64;
    let mut by_day: BTreeMap<u64, f64> = BTreeMap::new();
    hours.iter().for_each(|h| *by_day.entry(h / 24).or_default() += 1.0);
    let active_days: Vec<f64> = by_day.range(..hour / 24).map(|(_, n)| log(*n)).collect();
    let client = |r: &Request| (r.device, r.client.asn);
    let turned = |at: u64| {
        let pairs = own.windows(2).filter(|p| client(&p[0].0) != client(&p[1].0));
        pairs.filter(|p| p[1].0.at_ms / HOUR == at).count().min(255) as f64
    };
    let turns = turned(hour) + turned(hour - 1) * (1.0 - part);
    let seconds = |r: &Request| (r.at_ms / 1000) as f64;
    let other_ago = own
        .iter()
        .rev()
        .find(|(r, _)| client(r) != client(now))
        .map(|(r, _)| seconds(now) - seconds(r));
    // Seconds are cut off twice on the way.
    let a_second = other_ago.map_or(0.0, |s| log(s + 1.0) - log(s).min(log(s - 1.0))) + 1e-3;
    let over = |past: &[f64], value: f64| usual(past, OWN).map(|(mean, _)| log(value) - mean);
    vec![
        (F::RequestsMinute, Some(log(oracle.last(MINUTE, count))), 1e-4),
        (
            F::RateMinuteZ,
            history(z(usual(&oracle.over(HOUR, busiest), OWN), log(oracle.last(MINUTE, count)))),
            0.05,
        ),
        (F::RateHourZ, history(oracle.z(HOUR, count)), 0.05),
        (F::RateDayZ, history(oracle.z(DAY, count)), 0.05),
        (F::Interval, interval, 1e-4),
        (F::IntervalSpread, spread, 0.02),
        (F::IntervalSpreadZ, history(spread_z), 0.1),
        (F::AddressNew, history(Some(address_sight.0)), 0.0),
        (F::AddressSurprise, history(Some(address_sight.1)), decayed),
        (F::DeviceNew, history(Some(device_sight.0)), 0.0),
        (F::DeviceSurprise, history(Some(device_sight.1)), decayed),
        (F::RouteNew, history(Some(route_sight.0)), 0.0),
        (F::RouteSurprise, history(Some(route_sight.1)), decayed),
        (F::AddressesHour, Some(log(oracle.last_distinct(addresses))), 1e-4),
        (F::AddressesHourZ, history(oracle.z_distinct(addresses)), 0.05),
        (F::ActiveHours, Some(log(active)), 1e-4),
        (F::ActiveHoursZ, history(z(usual(&active_days, OWN), log(active))), 0.05),
        (F::ClientTurnsHour, Some(log(turns)), 1e-3),
        (F::OtherClientAgo, other_ago.map(log), a_second),
        (F::BytesDayOver, history(over(&oracle.over(DAY, bytes), oracle.last(DAY, bytes))), 0.05),
        (
            F::BytesHourOver,
            history(over(&oracle.over(HOUR, bytes), oracle.last(HOUR, bytes))),
            0.05,
        ),
        (F::TokensHour, Some(log(oracle.last_distinct(tokens))), 1e-4),
        (F::TokensHourZ, history(oracle.z_distinct(tokens)), 0.05),
        (F::HourSurprise, history(Some(oracle.week())), 1e-4),
        (F::DeniedHourZ, history(oracle.z(HOUR, &denied)), 0.05),
        (F::NotFoundHourZ, history(oracle.z(HOUR, &not_found)), 0.05),
        (F::BytesHourZ, history(oracle.z(HOUR, bytes)), 0.05),
        (F::BytesDayZ, history(oracle.z(DAY, bytes)), 0.05),
        (
            F::ObjectsDayZ,
            history(z(
                usual(&oracle.over(DAY, objects), OWN),
                log(oracle.windows(DAY, objects)[&(now.at_ms / DAY)]),
            )),
            // The sketch is a fifth off by rule.
            2.5,
        ),
        (F::UnauthorizedRecent, oracle.share(&|s| s == 401), 1e-3),
        (F::ForbiddenRecent, oracle.share(&|s| s == 403), 1e-3),
        (F::NotFoundRecent, oracle.share(&|s| s == 404), 1e-3),
        (F::FailedRecent, oracle.share(&|s| (500..600).contains(&s)), 1e-3),
        (F::RouteRoleSurprise, of(peers, role_route), 1e-3),
        (F::RouteServiceSurprise, service, 1e-3),
        (F::SequenceSurprise, sequence, 1e-3),
        (F::LatencyZ, oracle.answers(&|a| a.latency_us as f64), 0.1),
        (F::AnswerBytesZ, oracle.answers(&|a| a.bytes as f64), 0.1),
        (F::TokenDeviceChanged, flag(uses[0].device != now.device), 0.0),
        (F::TokenNetworkChanged, flag(uses[0].client.asn != now.client.asn), 0.0),
        (F::TokenSwitches, Some(log((switches as f64).min(255.0)).min(8.0)), 1e-4),
        (
            F::NetworkAge,
            (hour - since >= HOST_HOURS.into()).then(|| log((hour - first_network) as f64)),
            1e-4,
        ),
        (
            F::NetworkSubjects,
            Some(log(oracle.subject_hours(&|r| r.client.asn == now.client.asn))),
            1e-3,
        ),
        (F::AddressSubjects, Some(log(hosts(hour).max(hosts(hour - 1) * (1.0 - part)))), 0.1),
    ]
}

/// The step from one request to the next, and what it is made of.
fn steps() -> impl Strategy<Value = Vec<(u64, u8, u8, u8, u16)>> {
    let pass = prop_oneof![
        6 => 0_u64..30_000,
        3 => 30_000..20 * MINUTE,
        3 => 20 * MINUTE..3 * HOUR,
        1 => 3 * HOUR..2 * DAY,
    ];
    prop::collection::vec((pass, 0_u8..12, any::<u8>(), any::<u8>(), any::<u16>()), 1..420)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn as_counted_from_the_list_of_all(steps in steps()) {
        let mut profiles = profiles();
        let mut oracle = Oracle::default();
        let mut at = START + 5 * HOUR;
        let mut tokens = BTreeSet::new();
        // Of different bits in the sketches.
        let bits: BTreeMap<u64, u64> = (0..8).map(|t| (mix(t, ROUTE) % 64, t)).collect();
        let templates: Vec<u64> = bits.into_values().collect();
        for (k, (pass, who, client, route, more)) in steps.into_iter().enumerate() {
            at += pass;
            let mut r = request(at, [1, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3, 3][usize::from(who)]);
            r.role = Some(if r.subject == 1 { 1 } else { 2 });
            r.client.address =
                IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + u32::from(client % 16 / 7)));
            r.client.asn = Some(u32::from(client / 100));
            r.client.place = Some(GeoPoint { lat: 1.0, lon: 1.0, radius_km: 1 });
            r.client.kinds = Some(NetworkKinds::NONE);
            r.device = u64::from(client / 90) << 48 | 1 << 63;
            let template = templates[[0, 0, 0, 1, 1, 2, 3][usize::from(route % 7)]];
            r.route = Route { template, object: Some(more.into()) };
            if let Some(token) = &mut r.token {
                token.fingerprint = (r.subject as u64) << 40 | u64::from(more % 3) << 33;
                token.first_use = tokens.insert(token.fingerprint);
            }
            let status = [200, 200, 200, 200, 201, 304, 401, 403, 404, 500][usize::from(route % 10)];
            let a = Answer {
                status,
                latency_us: u64::from(more) * 10,
                bytes: u64::from(more) * u64::from(client),
            };
            let mut vector = Vector::default();
            let handle = profiles.request(&r, &mut vector);
            profiles.answer(handle, &a, &mut vector);
            oracle.all.push((r, a));
            // Each comparison reads the whole list.
            if k % 7 != 0 && k < 400 {
                continue;
            }
            prop_assert_eq!(vector.learning, oracle.learning());
            for (feature, want, off) in expected(&oracle) {
                let got = vector.get(feature).map(f64::from);
                let close = match (got, want) {
                    // Many deviations are as coarse as the deviation is stored.
                    (Some(got), Some(want)) if off >= 0.05 => {
                        (got - want).abs() <= off * (1.0 + want.abs() / 8.0)
                    }
                    (Some(got), Some(want)) => (got - want).abs() <= off,
                    // At the border of enough sequences.
                    (_, None) if feature == F::SequenceSurprise => true,
                    (None, None) => true,
                    _ => false,
                };
                prop_assert!(close, "{feature:?} at {k}: {got:?}, by the list {want:?}");
            }
        }
    }
}
