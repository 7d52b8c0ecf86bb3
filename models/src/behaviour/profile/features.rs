//! From profiles to features: compares, then counts.

use super::{
    super::{Answer, Index as F, NetworkKinds, Request, Route, Vector},
    Handle, Names,
    familiar::{Familiar, Sight},
    held::Tokens,
    hour_of,
    math::{log2_1p, mix},
    shared::{
        Address, ENOUGH_SEQUENCES, ENOUGH_TO_COMPARE, HOST_HOURS, Network, PEER_HOURS, Peers,
        RouteUse, Shared, TEACH_AN_HOUR,
    },
    subject::{DAY_MS, HOUR_MS, MINUTE_MS, OWN_ADDRESSES, Step, Subject},
    usual::{Pace, WARM, Weight, surprise},
};

/// What becomes of values: a vector, or [`Unread`].
pub(super) trait Fill {
    /// Somebody reads the values. What is looked up for them alone needs not be looked up else.
    const READ: bool;

    /// As [`Vector::set`].
    fn set(&mut self, feature: F, value: f32);

    /// As [`Vector::set_option`].
    #[inline]
    fn set_option(&mut self, feature: F, value: Option<f32>) {
        self.set(feature, value.unwrap_or(f32::NAN));
    }
}

impl Fill for Vector {
    const READ: bool = true;

    #[inline]
    fn set(&mut self, feature: F, value: f32) {
        Self::set(self, feature, value);
    }
}

/// Of a request that is counted, and of which nobody reads how it compares: the compiler leaves out
/// what only a value is made of.
pub(super) struct Unread;

impl Fill for Unread {
    const READ: bool = false;

    #[inline]
    fn set(&mut self, _: F, _: f32) {}
}

/// Sixteen bits of a hash.
const fn tag(hash: u64) -> u16 {
    (hash >> 48) as u16
}

fn flag(is: bool) -> f32 {
    f32::from(u8::from(is))
}

/// ±log2(1+|x|).
fn signed_log(x: f32) -> f32 {
    log2_1p(x.abs()).copysign(x)
}

/// The token, and what was found in it.
pub(super) fn of_token(
    subject: &mut Subject,
    shared: &mut Shared,
    request: &Request,
    names: &Names,
    to: &mut impl Fill,
) {
    let severities =
        [F::FindingsInfo, F::FindingsLow, F::FindingsMedium, F::FindingsHigh, F::FindingsCritical];
    for (feature, count) in severities.into_iter().zip(request.findings) {
        to.set(feature, count.into());
    }
    if let Some(token) = &request.token {
        let now_s = i64::try_from(request.at_ms / 1000).unwrap_or(i64::MAX);
        let between =
            |from: Option<i64>, until: Option<i64>| Some(until?.saturating_sub(from?) as f32);
        let age = between(token.issued_s, Some(now_s));
        let lifetime = between(token.issued_s, token.expires_s).filter(|l| *l > 0.0);
        to.set_option(F::TokenAge, age.map(log2_1p));
        to.set_option(F::TokenRest, between(Some(now_s), token.expires_s).map(signed_log));
        to.set_option(F::TokenLifeUsed, age.zip(lifetime).map(|(age, life)| age / life));
        if let Some(lifetime) = lifetime
            && let Some((_, issuer)) = shared.issuers.see(token.issuer, Default::default)
        {
            to.set_option(F::TokenLifetimeZ, issuer.see(log2_1p(lifetime), token.first_use));
        }
        to.set(F::TokenFirstUse, flag(token.first_use));
        let seen =
            subject.held.see(names.token, token.first_use, tag(names.device), tag(names.network));
        to.set_option(F::TokenDeviceChanged, seen.device_changed.map(flag));
        to.set_option(F::TokenNetworkChanged, seen.network_changed.map(flag));
        to.set(F::TokenSwitches, log2_1p(seen.switches.into()));
        subject.tokens.add_known(names.token, seen.first_this_hour, Tokens::EXACT);
    }
    let past = subject.past(HOUR_MS);
    let tokens = subject.tokens.last(past);
    to.set(F::TokensHour, log2_1p(tokens));
    to.set_option(F::TokensHourZ, subject.usual.tokens.z_of(tokens));
}

fn set_sight(to: &mut impl Fill, new: F, rare: F, sight: Sight) {
    to.set(new, flag(sight.is_new()));
    to.set(rare, sight.surprise());
}

/// From where, with what, and when.
pub(super) fn of_client<V: Fill>(
    subject: &mut Subject,
    shared: &mut Shared,
    request: &Request,
    names: &Names,
    since_hour: u32,
    interval_ms: Option<u64>,
    to: &mut V,
) {
    let client = &request.client;
    let hour = hour_of(request.at_ms);
    let past = subject.past(HOUR_MS);
    let address = subject.own_addresses.see(tag(names.address));
    set_sight(to, F::AddressNew, F::AddressSurprise, address);
    let network = subject.own_networks.see(tag(names.network));
    set_sight(to, F::NetworkNew, F::NetworkSurprise, network);
    let device = subject.own_devices.see(tag(names.device));
    set_sight(to, F::DeviceNew, F::DeviceSurprise, device);
    to.set(F::ClientSurprise, network.surprise() + device.surprise());
    let now_s = u32::try_from(subject.last_ms / 1000).unwrap_or(u32::MAX);
    // Rotated, so that the same device and network don't cancel.
    let tag_of_both = tag(names.device) ^ tag(names.network).rotate_left(5);
    let before_s = interval_ms.map(|ms| u32::try_from(ms / 1000).unwrap_or(u32::MAX));
    let ago = subject.clients.see(tag_of_both, now_s, before_s);
    to.set_option(F::OtherClientAgo, ago.map(|s| log2_1p(s as f32)));
    to.set(F::ClientTurnsHour, log2_1p(subject.clients.turns(past)));
    if let Some(country) = client.country {
        let country = subject.own_countries.see(u16::from_be_bytes(country));
        set_sight(to, F::CountryNew, F::CountrySurprise, country);
    }
    let hidden = client.kinds.is_some_and(NetworkKinds::hides_place);
    if let Some(place) = client.place.filter(|_| !hidden) {
        let travel = subject.places.see(place, now_s);
        to.set_option(F::PlaceDistance, travel.km.map(log2_1p));
        to.set_option(F::PlaceSpeed, travel.km_h.map(log2_1p));
        to.set_option(F::PlaceUsualDistance, travel.usual_km.map(log2_1p));
    }
    to.set_option(F::PlaceSpeedHour, subject.places.fastest());
    let exact = Familiar::<OWN_ADDRESSES>::EXACT;
    subject.addresses.add_known(names.address, address.first_this_hour, exact);
    let addresses = subject.addresses.last(past);
    to.set(F::AddressesHour, log2_1p(addresses));
    to.set_option(F::AddressesHourZ, subject.usual.addresses.z_of(addresses));
    if V::READ {
        to.set(F::HourSurprise, subject.week.surprise(subject.last_ms / HOUR_MS));
    }

    to.set_option(F::PayloadProbability, request.payload);
    to.set_option(F::Threat, client.threat.map(flag));
    for (feature, kind) in [
        (F::Vpn, NetworkKinds::VPN),
        (F::Relay, NetworkKinds::RELAY),
        (F::Tor, NetworkKinds::TOR),
        (F::Hosting, NetworkKinds::HOSTING),
        (F::Mobile, NetworkKinds::MOBILE),
    ] {
        to.set_option(feature, client.kinds.map(|kinds| flag(kinds.any_of(kind))));
    }
    let unknown = || Network { first_hour: hour, used: Weight::default() };
    if let Some((_, known)) = shared.networks.see(names.network, unknown) {
        if hour.saturating_sub(since_hour) >= HOST_HOURS {
            to.set(F::NetworkAge, log2_1p(hour.saturating_sub(known.first_hour) as f32));
        }
        to.set(F::NetworkSubjects, log2_1p(known.used.at(hour)));
        if network.first_this_hour {
            known.used.add(hour);
        }
    }
    if let Some((_, known)) = shared.addresses.see(names.address, || Address::new(hour)) {
        to.set(F::AddressSubjects, log2_1p(known.see(names.subject, hour, past)));
    }
}

/// Against subjects with the same role. Gives their slot.
pub(super) fn of_group(
    subject: &Subject,
    shared: &mut Shared,
    step: &Step,
    names: &Names,
    to: &mut impl Fill,
) -> Option<u32> {
    let (slot, peers) = shared.peers.see(names.group, Peers::default)?;
    if let Some(hour) = &step.closed {
        peers.learn(hour);
    }
    if peers.is_warm() {
        let past = subject.past(HOUR_MS);
        to.set_option(F::RateHourPeersZ, peers.requests.z_of(subject.hour.last(past)));
    }
    set_bytes_of_peers(subject, peers, to);
    Some(slot)
}

fn set_bytes_of_peers(subject: &Subject, peers: &Peers, to: &mut impl Fill) {
    if peers.is_warm() {
        let bytes = subject.bytes_hour.last(subject.past(HOUR_MS));
        to.set_option(F::BytesHourPeersZ, peers.bytes.z_of(bytes));
    }
}

/// The same behind an answer.
pub(super) fn of_bytes_of_peers<V: Fill>(
    subject: &Subject,
    shared: &Shared,
    group: u64,
    to: &mut V,
) {
    if V::READ
        && let Some(peers) = shared.peers.get(group)
    {
        set_bytes_of_peers(subject, peers, to);
    }
}

/// What a request is the first of in its hour, for its subject.
#[derive(Clone, Copy)]
struct Turn {
    hour: u32,
    /// Where its group of peers is.
    group: Option<u32>,
    /// Of its route.
    first_this_hour: bool,
    /// Of its group of peers.
    joins_group: bool,
    /// Of its service.
    joins_service: bool,
}

/// What was asked for.
pub(super) fn of_access(
    subject: &mut Subject,
    shared: &mut Shared,
    request: &Request,
    names: &Names,
    group: Option<u32>,
    handle: &mut Handle,
    to: &mut impl Fill,
) {
    let route = names.route;
    let hour = hour_of(request.at_ms);
    let first_this_hour = subject.routes.add(route);
    let own = subject.own_routes.see(tag(route));
    set_sight(to, F::RouteNew, F::RouteSurprise, own);
    let routes = subject.routes.last(subject.past(HOUR_MS));
    to.set(F::RoutesHour, log2_1p(routes));
    to.set_option(F::RoutesHourZ, subject.usual.routes.z_of(routes));
    to.set_option(F::ScopeMissing, request.scope_covers.map(|covers| flag(!covers)));

    let [joins_group, joins_service] = subject.joins(names.group, names.service);
    let turn = Turn { hour, group, first_this_hour, joins_group, joins_service };
    of_peers_routes(shared, names, turn, to);
    let rare = of_route(subject, shared, request, names, turn, handle, to);
    of_sequence(subject, shared, request, names, rare, to);
    of_objects(subject, shared, request, names, to);
}

/// How rare the route is for the role.
fn of_peers_routes<V: Fill>(shared: &mut Shared, names: &Names, turn: Turn, to: &mut V) {
    let hour = turn.hour;
    let peers = turn.group.and_then(|slot| shared.peers.at_mut(slot, names.group));
    let Some(peers) = peers else { return };
    let present = if V::READ { peers.present.at(hour) } else { 0.0 };
    if turn.joins_group {
        peers.present.add(hour);
    }
    let key = mix(names.group, names.route);
    if V::READ && present >= PEER_HOURS {
        let used = shared.peer_routes.get(key).map_or(0.0, |used| used.at(hour));
        to.set(F::RouteRoleSurprise, surprise(used, present));
    }
    if turn.first_this_hour
        && let Some((_, used)) = shared.peer_routes.see(key, Weight::default)
    {
        used.add(hour);
    }
}

/// How rare the route is for anybody, and what a request of it is like. Gives how rare it is, where
/// there was enough to tell.
fn of_route(
    subject: &Subject,
    shared: &mut Shared,
    request: &Request,
    names: &Names,
    turn: Turn,
    handle: &mut Handle,
    to: &mut impl Fill,
) -> Option<f32> {
    let Turn { hour, first_this_hour, .. } = turn;
    let (_, everybody) = shared.peers.see(names.service, Peers::default)?;
    let present = everybody.present.at(hour);
    if turn.joins_service {
        everybody.present.add(hour);
    }
    let key = names.route;
    // Who makes up paths makes up routes: an hour of a subject brings a bounded number of them.
    let seen = match first_this_hour {
        true => shared.routes.see(key, RouteUse::default),
        false => shared.routes.see_known(key),
    };
    let used = seen.as_ref().map_or(0.0, |(_, route)| route.used.at(hour));
    let rare = (present >= PEER_HOURS)
        .then(|| Vector::in_range(F::RouteServiceSurprise, surprise(used, present)));
    to.set_option(F::RouteServiceSurprise, rare);
    let Some((slot, route)) = seen else { return rare };
    if first_this_hour {
        route.used.add(hour);
    }
    let bytes = log2_1p(request.bytes as f32);
    if route.requests >= ENOUGH_TO_COMPARE {
        to.set_option(F::RequestBytesZ, route.request.z(bytes));
    }
    let early = subject.hour.now <= TEACH_AN_HOUR;
    if first_this_hour || early && route.requests < ENOUGH_TO_COMPARE {
        route.request.learn(bytes, route.requests, Pace::SHARED);
        route.requests = route.requests.saturating_add(1);
    }
    handle.route = Some((slot, key));
    handle.teaches = first_this_hour || early && route.answers < ENOUGH_TO_COMPARE;
    rare
}

/// How surprising the route is behind the one before; where that is too rare to tell, how rare
/// the route is at all.
fn of_sequence(
    subject: &mut Subject,
    shared: &mut Shared,
    request: &Request,
    names: &Names,
    rare: Option<f32>,
    to: &mut impl Fill,
) {
    let hour = hour_of(request.at_ms);
    let from = mix(subject.last_route.into(), names.service);
    let key = mix(from, names.route);
    let teaches = subject.hour.now <= TEACH_AN_HOUR;
    let mut count = |key| {
        if teaches {
            let (_, count) = shared.sequences.see(key, Weight::default)?;
            let before = count.at(hour);
            count.add(hour);
            Some(before)
        } else {
            shared.sequences.get(key).map(|count| count.at(hour))
        }
    };
    let [all, of_it] = [from, key].map(|key| count(key).unwrap_or_default());
    let surprise = if all >= ENOUGH_SEQUENCES { Some(surprise(of_it, all)) } else { rare };
    to.set_option(F::SequenceSurprise, surprise);
    if let Some(surprise) = surprise {
        subject.surprised(surprise);
    }
    to.set_option(F::SequenceSurpriseRecent, subject.sequence());
    subject.last_route = tag(names.route).max(1);
}

/// Objects that are walked through.
fn of_objects<V: Fill>(
    subject: &mut Subject,
    shared: &Shared,
    request: &Request,
    names: &Names,
    to: &mut V,
) {
    let route = names.route;
    if let Some(object) = request.route.object {
        let new = subject.objects.add(mix(route, object));
        subject.walk.see(tag(route), object, new);
        if object < Route::OPAQUE {
            to.set(F::ObjectRun, log2_1p(subject.walk.run().into()));
            to.set_option(F::ObjectDensity, subject.walk.density());
        }
    }
    let objects = subject.objects.last(subject.past(HOUR_MS));
    to.set(F::ObjectsHour, log2_1p(objects));
    to.set_option(F::ObjectsHourZ, subject.usual.objects_hour.z_of(objects));
    to.set_option(F::ObjectsDayZ, subject.usual.objects_day.z_of(subject.objects.day()));
    to.set_option(F::ObjectsDayOver, subject.usual.objects_day.over_of(subject.objects.day()));
    if V::READ
        && let Some(peers) = shared.peers.get(names.group).filter(|peers| peers.is_warm())
    {
        to.set_option(F::ObjectsHourPeersZ, peers.objects.z_of(objects));
    }
}

/// How fast, and how evenly.
pub(super) fn of_rates(subject: &Subject, interval_ms: Option<u64>, to: &mut impl Fill) {
    let usual = &subject.usual;
    let minute = subject.minute.last(subject.past(MINUTE_MS));
    to.set(F::RequestsMinute, log2_1p(minute));
    to.set_option(F::RateMinuteZ, usual.minute.z_of(minute));
    to.set_option(F::RateHourZ, usual.hour.z_of(subject.hour.last(subject.past(HOUR_MS))));
    to.set_option(F::RateDayZ, usual.day.z_of(subject.day.last(subject.past(DAY_MS))));
    to.set_option(F::Interval, interval_ms.map(|ms| log2_1p(ms as f32)));
    let active = subject.active();
    to.set(F::ActiveHours, log2_1p(active));
    to.set_option(F::ActiveHoursZ, usual.active.z_of(active));
    let spread = subject.intervals.spread();
    to.set_option(F::IntervalSpread, spread);
    to.set_option(F::IntervalSpreadZ, spread.and_then(|spread| usual.intervals.z(spread)));
}

/// What the subject was answered lately.
pub(super) fn of_answers(subject: &Subject, to: &mut impl Fill) {
    let shares = [F::UnauthorizedRecent, F::ForbiddenRecent, F::NotFoundRecent, F::FailedRecent];
    for (feature, share) in shares.into_iter().zip(subject.statuses.shares()) {
        to.set_option(feature, share);
    }
    let usual = &subject.usual;
    let (hour, day) = (subject.past(HOUR_MS), subject.past(DAY_MS));
    to.set_option(F::DeniedHourZ, usual.denied.z_of(subject.denied.last(hour)));
    to.set_option(F::NotFoundHourZ, usual.not_found.z_of(subject.not_found.last(hour)));
    let (in_hour, in_day) = (subject.bytes_hour.last(hour), subject.bytes_day.last(day));
    to.set_option(F::BytesHourZ, usual.bytes_hour.z_of(in_hour));
    to.set_option(F::BytesDayZ, usual.bytes_day.z_of(in_day));
    to.set_option(F::BytesHourOver, usual.bytes_hour.over_of(in_hour));
    to.set_option(F::BytesDayOver, usual.bytes_day.over_of(in_day));
}

/// The answer against what the route gives.
pub(super) fn of_answer<V: Fill>(
    shared: &mut Shared,
    handle: &Handle,
    answer: &Answer,
    to: &mut V,
) {
    if !V::READ && !handle.teaches {
        return;
    }
    let Some((slot, key)) = handle.route else { return };
    let Some(route) = shared.routes.at_mut(slot, key) else { return };
    let latency = log2_1p(answer.latency_us as f32);
    let bytes = log2_1p(answer.bytes as f32);
    if V::READ && route.answers >= ENOUGH_TO_COMPARE {
        to.set_option(F::LatencyZ, route.latency.z(latency));
        to.set_option(F::AnswerBytesZ, route.answer.z(bytes));
    }
    // Refusals and errors are quick and short: they are held against what was granted.
    if handle.teaches && (200..400).contains(&answer.status) {
        route.latency.learn(latency, route.answers, Pace::SHARED);
        route.answer.learn(bytes, route.answers, Pace::SHARED);
        route.answers = route.answers.saturating_add(1);
    }
}

const _: () = assert!(ENOUGH_TO_COMPARE >= WARM);
