//! Whole profiles: what they cost, forget, keep, and what they see of attacks.

use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;

use super::{subject::Subject, wire::Wire, *};
use crate::behaviour::{FEATURES, GeoPoint, Index as F, NetworkKinds, Route, TokenUse, WIDTH};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// A Monday, 00:00 UTC.
pub(super) const START: u64 = 1_767_571_200_000;

pub(super) fn request(at_ms: u64, subject: u128) -> Request {
    let fingerprint = (subject as u64 + 1) << 32;
    Request {
        at_ms,
        subject,
        role: Some(1),
        token: Some(TokenUse {
            fingerprint,
            issuer: 1,
            issued_s: i64::try_from(at_ms / 1000).ok(),
            expires_s: i64::try_from(at_ms / 1000 + 3600).ok(),
            first_use: false,
        }),
        client: Client {
            address: IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + subject as u32)),
            asn: Some(64_500),
            country: Some(*b"DE"),
            place: Some(GeoPoint { lat: 52.5, lon: 13.4, radius_km: 20 }),
            kinds: Some(NetworkKinds::NONE),
            threat: Some(false),
        },
        device: 7 << 48,
        service: 1,
        route: Route { template: mix(1, 1), object: Some(1000 + subject as u64) },
        scope_covers: Some(true),
        findings: [0; 5],
        payload: Some(0.0),
        bytes: 400,
    }
}

pub(super) const fn answer(status: u16, bytes: u64) -> Answer {
    Answer { status, latency_us: 2000, bytes }
}

pub(super) fn profiles() -> Profiles {
    Profiles::new(Limits { subjects: 1000, ..Limits::default() }, [3; 16])
}

/// A request and its answer.
fn both(profiles: &mut Profiles, request: &Request, answer: &Answer) -> Vector {
    let mut vector = Vector::default();
    let handle = profiles.request(request, &mut vector);
    profiles.answer(handle, answer, &mut vector);
    vector
}

/// Office hours of ten colleagues: 20 requests an hour each, over four routes and six objects of
/// their own, for so many days.
fn settled(days: u64) -> (Profiles, u64) {
    let mut profiles = profiles();
    for day in 0..days {
        if day % 7 > 4 {
            continue;
        }
        for hour in 8..18 {
            for subject in 0..10 {
                for k in 0..20_u64 {
                    let seed = mix(day << 32 | hour << 16 | k, subject as u64);
                    let at = START + day * DAY + hour * HOUR + k * 170_000 + seed % 169_000;
                    let mut usual = request(at, subject);
                    if let Some(token) = &mut usual.token {
                        token.fingerprint += day << 40 | hour << 50;
                        token.first_use = k == 0;
                        token.issued_s = i64::try_from((at - k * 170_000) / 1000).ok();
                        token.expires_s = token.issued_s.map(|at| at + 3600);
                    }
                    usual.route.template = mix(1, seed % 4);
                    usual.route.object = Some((subject as u64 * 6 + seed % 6) * 1_000_003);
                    both(&mut profiles, &usual, &answer(200, 2000 + seed % 1000));
                }
            }
        }
    }
    (profiles, START + days * DAY)
}

fn get(vector: &Vector, feature: F) -> f32 {
    vector.get(feature).unwrap_or_else(|| panic!("{} is absent", FEATURES[feature as usize].id))
}

#[test]
fn a_cold_profile_learns_and_says_so() {
    let mut profiles = profiles();
    let (mut hours, mut learning) = (0, true);
    for k in 0..400_u64 {
        // Four hours a day, five requests an hour.
        let at = START + k / 20 * DAY + k / 5 % 4 * HOUR + k % 5 * MINUTE;
        let vector = both(&mut profiles, &request(at, 1), &answer(200, 100));
        let requests = k + 1;
        hours = hours.max(k / 5);
        let days = k / 20 + 1;
        let young = requests < u64::from(LEARNING_REQUESTS)
            || hours < u64::from(LEARNING_HOURS)
            || days < u64::from(LEARNING_DAYS);
        assert_eq!(vector.learning, young, "{k}");
        for (feature, value) in FEATURES.iter().zip(vector.values()) {
            assert!(!(young && feature.history) || value.is_nan(), "{} {k}", feature.id);
        }
        learning = vector.learning;
    }
    assert!(!learning);
}

#[test]
fn an_ordinary_day_is_ordinary_and_nothing_is_absent() {
    let (mut profiles, now) = settled(28);
    let mut usual = request(now + 10 * HOUR, 3);
    usual.route = Route { template: mix(1, 2), object: Some(18 * 1_000_003) };
    for k in 0..20 {
        usual.at_ms = now + 10 * HOUR + k * 170_000 + mix(k, 1) % 169_000;
        if let Some(token) = &mut usual.token {
            token.first_use = k == 0;
        }
        let vector = both(&mut profiles, &usual, &answer(200, 2400));
        for (feature, value) in FEATURES.iter().zip(vector.values()) {
            // Less than four objects have no density, less than eight intervals no spread.
            // And one client alone has no other.
            let absent = ["object-density", "other-client-ago"].contains(&feature.id)
                || k < 8 && feature.id.starts_with("interval-spread");
            assert!(absent || !value.is_nan(), "{} is absent", feature.id);
            if feature.unit == "z" && feature.id != "interval-spread-z" {
                assert!(value.abs() < 3.0 || *value < 0.0, "{} {value}", feature.id);
            }
            if feature.unit == "surprise" {
                assert!(*value < 3.5, "{} {value}", feature.id);
            }
        }
    }
}

#[test]
fn what_is_not_told_is_absent() {
    let (mut profiles, now) = settled(28);
    let mut bare = request(now + 10 * HOUR, 3);
    (bare.token, bare.payload, bare.scope_covers) = (None, None, None);
    bare.client =
        Client { asn: None, country: None, place: None, kinds: None, threat: None, ..bare.client };
    bare.route.object = None;
    let mut vector = Vector::default();
    profiles.request(&bare, &mut vector);
    let absent: Vec<&str> = FEATURES
        .iter()
        .zip(vector.values())
        .filter(|(_, value)| value.is_nan())
        .map(|(feature, _)| feature.id)
        .collect();
    assert_eq!(
        absent,
        [
            "token-age",
            "token-rest",
            "token-life-used",
            "token-lifetime-z",
            "token-first-use",
            "token-device-changed",
            "token-network-changed",
            "token-switches",
            "interval-spread",
            "interval-spread-z",
            "country-new",
            "country-surprise",
            "place-distance",
            "place-speed",
            "place-usual-distance",
            "place-speed-hour",
            "object-run",
            "object-density",
            "scope-missing",
            "latency-z",
            "answer-bytes-z",
            "answer-bytes-own",
            "payload-probability",
            "threat",
            "vpn",
            "relay",
            "tor",
            "hosting",
            "mobile",
        ]
    );
}

#[test]
fn impossible_travel_is_fast_and_far_and_forgiven_where_the_network_hides() {
    let (profiles, now) = settled(28);
    let mut saved = Vec::new();
    profiles.save(&mut saved).unwrap();
    let again = || {
        let mut copy = tests::profiles();
        copy.load(&mut saved.as_slice()).unwrap();
        both(&mut copy, &request(now + 10 * HOUR, 3), &answer(200, 2000));
        copy
    };
    let mut away = request(now + 10 * HOUR + 20 * MINUTE, 3);
    away.client.place = Some(GeoPoint { lat: 35.68, lon: 139.69, radius_km: 20 });
    away.client.country = Some(*b"JP");
    away.client.asn = Some(2516);
    let vector = both(&mut again(), &away, &answer(200, 2000));
    assert!(get(&vector, F::PlaceSpeed) > 14.0 && get(&vector, F::PlaceDistance) > 13.0);
    assert!(get(&vector, F::PlaceUsualDistance) > 13.0);
    for new in [F::CountryNew, F::NetworkNew] {
        assert_eq!(get(&vector, new), 1.0);
    }
    assert!(get(&vector, F::CountrySurprise) > 4.0);
    for kind in [NetworkKinds::VPN, NetworkKinds::RELAY, NetworkKinds::TOR, NetworkKinds::MOBILE] {
        away.client.kinds = Some(kind);
        let mut profiles = again();
        let vector = both(&mut profiles, &away, &answer(200, 2000));
        for feature in [F::PlaceSpeed, F::PlaceDistance, F::PlaceUsualDistance] {
            assert_eq!(vector.get(feature), None);
        }
        // And the way back is no travel.
        let back = both(&mut profiles, &request(away.at_ms + MINUTE, 3), &answer(200, 2000));
        assert_eq!(get(&back, F::PlaceSpeed), 0.0);
    }
    away.client.kinds = Some(NetworkKinds::HOSTING);
    assert!(get(&both(&mut again(), &away, &answer(200, 2000)), F::PlaceSpeed) > 14.0);
}

#[test]
fn a_stolen_token_shows_by_its_client() {
    let (mut profiles, now) = settled(28);
    let mut own = request(now + 10 * HOUR, 3);
    if let Some(token) = &mut own.token {
        (token.fingerprint, token.first_use) = (99 << 32, true);
    }
    let vector = both(&mut profiles, &own, &answer(200, 2000));
    assert_eq!(get(&vector, F::TokenDeviceChanged), 0.0);
    let mut stolen = own;
    stolen.at_ms += MINUTE;
    stolen.device = 8 << 48;
    stolen.client.asn = Some(1);
    stolen.client.address = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 9));
    if let Some(token) = &mut stolen.token {
        token.first_use = false;
    }
    let vector = both(&mut profiles, &stolen, &answer(200, 2000));
    for feature in [
        F::TokenDeviceChanged,
        F::TokenNetworkChanged,
        F::DeviceNew,
        F::AddressNew,
        F::NetworkNew,
        F::TokenSwitches,
    ] {
        assert_eq!(get(&vector, feature), 1.0);
    }
    assert_eq!(get(&vector, F::NetworkAge), 0.0);
    assert!(get(&vector, F::AddressesHour) > 1.5);
}

#[test]
fn walking_scraping_and_exfiltration_stand_out() {
    let (mut profiles, now) = settled(28);
    let mut last = Vector::default();
    for k in 0..300 {
        let mut walk = request(now + 10 * HOUR + k * 1000, 3);
        walk.route.object = Some(40_000 + k);
        last = both(&mut profiles, &walk, &answer(200, 60_000));
    }
    assert!(get(&last, F::ObjectRun) > 8.0 && get(&last, F::ObjectDensity) > -0.7);
    for (feature, least) in [
        (F::ObjectsHourZ, 8.0),
        (F::ObjectsDayZ, 6.0),
        (F::ObjectsHourPeersZ, 8.0),
        (F::RateMinuteZ, 4.0),
        (F::RateHourZ, 4.0),
        (F::RateHourPeersZ, 4.0),
        (F::BytesHourZ, 8.0),
        (F::BytesDayZ, 6.0),
        (F::BytesHourPeersZ, 8.0),
        (F::AnswerBytesZ, 4.0),
    ] {
        assert!(get(&last, feature) > least, "{feature:?} {}", get(&last, feature));
    }
    assert!(get(&last, F::IntervalSpread) < 0.1);
    assert!(get(&last, F::IntervalSpreadZ) < -1.0);
}

#[test]
fn routes_and_sequences_that_nobody_uses_are_surprising() {
    let (mut profiles, now) = settled(28);
    let mut admin = request(now + 10 * HOUR, 3);
    both(&mut profiles, &admin, &answer(200, 2000));
    admin.route.template = mix(9, 9);
    admin.scope_covers = Some(false);
    let mut last = Vector::default();
    for k in 0..20 {
        admin.at_ms += 1000;
        admin.route.template = mix(9, k);
        last = both(&mut profiles, &admin, &answer([403, 404][k as usize % 2], 200));
    }
    for (feature, least) in [
        (F::RouteSurprise, 4.0),
        (F::RouteRoleSurprise, 8.0),
        (F::RouteServiceSurprise, 8.0),
        (F::SequenceSurpriseRecent, 4.0),
        (F::RoutesHourZ, 2.0),
        (F::DeniedHourZ, 5.0),
        (F::NotFoundHourZ, 5.0),
        (F::ForbiddenRecent, 0.3),
        (F::NotFoundRecent, 0.3),
    ] {
        assert!(get(&last, feature) > least, "{feature:?} {}", get(&last, feature));
    }
    assert_eq!((get(&last, F::RouteNew), get(&last, F::ScopeMissing)), (1.0, 1.0));
    let night = both(&mut profiles, &request(now + 5 * DAY + 3 * HOUR, 3), &answer(200, 2000));
    assert!(get(&night, F::HourSurprise) > 2.0);
}

/// Whatever a subject does within an hour moves none of its usual values by more than the step,
/// and an hour of the whole group's worst moves the group by what one subject's hours may.
#[test]
fn a_burst_does_not_become_usual() {
    let (mut profiles, now) = settled(28);
    let at = now + 10 * HOUR;
    both(&mut profiles, &request(at, 3), &answer(200, 2000));
    let burst = |profiles: &mut Profiles, start: u64| {
        let mut last = Vector::default();
        for k in 0..3000_u64 {
            let mut attack = request(start + k * 1000, 3);
            attack.client.address = IpAddr::V4(Ipv4Addr::from_bits(0xc633_6400 + k as u32 % 200));
            attack.client.asn = Some(1);
            attack.device = 8 << 48;
            attack.route = Route { template: mix(7, k % 100), object: Some(mix(k, 1) >> 1) };
            last = both(profiles, &attack, &answer(200, 1_000_000));
        }
        last
    };
    let first = burst(&mut profiles, at + MINUTE);
    let second = burst(&mut profiles, at + HOUR);
    for feature in [
        F::RateMinuteZ,
        F::RateHourZ,
        F::ObjectsHourZ,
        F::BytesHourZ,
        F::BytesHourPeersZ,
        F::RateHourPeersZ,
        F::ObjectsHourPeersZ,
    ] {
        let (before, after) = (get(&first, feature), get(&second, feature));
        assert!(after > 0.8 * before - 1.0 && after > 4.0, "{feature:?} {before} {after}");
    }
    for new in [F::AddressNew, F::DeviceNew, F::NetworkNew] {
        assert_eq!(get(&second, new), 1.0, "{new:?}");
    }
    assert!(get(&second, F::RouteRoleSurprise) > 6.0);
    // The owner is no stranger to the own profile.
    let own = both(&mut profiles, &request(at + 2 * HOUR, 3), &answer(200, 2000));
    for new in [F::AddressNew, F::DeviceNew, F::NetworkNew, F::RouteNew] {
        assert_eq!(get(&own, new), 0.0, "{new:?}");
    }
}

#[test]
fn who_was_not_seen_for_longest_makes_room() {
    let limits = Limits { subjects: 100, addresses: 50, routes: 10, ..Limits::default() };
    let mut profiles = Profiles::new(limits, [3; 16]);
    let mut handles = Vec::new();
    for subject in 0..150 {
        let mut vector = Vector::default();
        handles.push(profiles.request(&request(START + subject as u64, subject), &mut vector));
        assert!(profiles.counts().subjects <= 100);
    }
    assert_eq!((profiles.counts().subjects, profiles.evicted().subjects), (100, 50));
    assert_eq!((profiles.counts().addresses, profiles.evicted().addresses), (50, 100));
    assert_eq!(profiles.counts().routes, 1);
    // Answers of who was forgotten teach nobody else.
    let mut saved = Vec::new();
    profiles.save(&mut saved).unwrap();
    for handle in handles.iter().take(50) {
        let (slot, key) = handle.subject;
        assert!(profiles.subjects.at_mut(slot, key).is_none());
        profiles.answer(*handle, &answer(500, 1 << 40), &mut Vector::default());
    }
    for handle in handles.iter().skip(50) {
        let (slot, key) = handle.subject;
        let subject = profiles.subjects.at_mut(slot, key).unwrap();
        assert_eq!(subject.bytes_hour.now, 0);
    }
    // Made-up paths of one subject don't displace routes without bound.
    for k in 0..10_000 {
        let mut scan = request(START + HOUR + k, 149);
        scan.route.template = mix(5, k);
        profiles.request(&scan, &mut Vector::default());
    }
    assert!(profiles.evicted().routes <= 64 && profiles.evicted().peer_routes == 0);
}

#[test]
fn time_that_jumps_breaks_nothing() {
    let mut profiles = profiles();
    let times = [START, START - 500, START - 2 * HOUR, 0, u64::MAX, u64::MAX, 1, START, START + 5];
    for at_ms in times {
        let mut odd = request(at_ms, 1);
        if let Some(token) = &mut odd.token {
            (token.issued_s, token.expires_s) = (Some(i64::MIN), Some(i64::MAX));
        }
        let vector =
            both(&mut profiles, &odd, &Answer { status: 0, latency_us: u64::MAX, bytes: u64::MAX });
        for (feature, value) in FEATURES.iter().zip(vector.values()) {
            assert!(value.is_nan() || (feature.low..=feature.high).contains(value));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Any requests, in any order, at any time: no panic, no value out of range, and what is saved
    /// and loaded goes on as if it had never stopped.
    #[test]
    fn what_is_loaded_goes_on_as_what_was_saved(
        steps in prop::collection::vec(any::<(u64, u8, u8, u16, u64)>(), 1..200),
        cut in 0_usize..200,
        leap in 0_u32..45,
    ) {
        let mut profiles = profiles();
        let mut loaded: Option<Profiles> = None;
        let mut at = START;
        for (k, (pass, subject, client, route, more)) in steps.into_iter().enumerate() {
            at = at.wrapping_add(pass >> (64 - leap).min(63)).wrapping_sub(u64::from(client));
            let mut any = request(at, u128::from(subject % 4));
            any.client.address = IpAddr::V4(Ipv4Addr::from_bits(u32::from(client) << 8));
            any.client.asn = (client % 3 != 0).then_some(client.into());
            any.client.place =
                Some(GeoPoint { lat: f32::from(client) - 100.0, lon: more as f32, radius_km: route });
            any.device = more;
            any.route =
                Route { template: mix(u64::from(route % 9), 1), object: Some(more >> (route % 60)) };
            any.findings = [client; 5];
            any.payload = Some(more as f32);
            any.bytes = more;
            if k == cut {
                let mut saved = Vec::new();
                profiles.save(&mut saved).unwrap();
                let mut fresh = tests::profiles();
                fresh.load(&mut saved.as_slice()).unwrap();
                let mut again = Vec::new();
                fresh.save(&mut again).unwrap();
                prop_assert_eq!(&saved, &again);
                loaded = Some(fresh);
            }
            let reply = Answer { status: route, latency_us: more, bytes: more >> (client % 64) };
            let vector = both(&mut profiles, &any, &reply);
            for (feature, value) in FEATURES.iter().zip(vector.values()) {
                prop_assert!(value.is_nan() || (feature.low..=feature.high).contains(value));
            }
            if let Some(loaded) = &mut loaded {
                let twin = both(loaded, &any, &reply);
                let bits = |v: &Vector| -> [u32; WIDTH] { v.values().map(f32::to_bits) };
                prop_assert_eq!(bits(&vector), bits(&twin));
            }
        }
    }
}

#[test]
fn a_torn_or_foreign_file_is_refused_and_changes_nothing() {
    let (source, now) = settled(3);
    let mut file = Vec::new();
    source.save(&mut file).unwrap();
    let mut profiles = profiles();
    both(&mut profiles, &request(now, 77), &answer(200, 1));
    let mut before = Vec::new();
    profiles.save(&mut before).unwrap();
    let mut refused = |bytes: &[u8]| {
        let error = profiles.load(&mut &*bytes).unwrap_err();
        let mut after = Vec::new();
        profiles.save(&mut after).unwrap();
        assert_eq!(before, after);
        error
    };
    for cut in (0..file.len()).step_by(61).chain([file.len() - 1]) {
        assert!(matches!(refused(&file[..cut]), LoadError::Torn), "{cut}");
    }
    let more: Vec<u8> = file.iter().copied().chain([0]).collect();
    assert!(matches!(refused(&more), LoadError::Torn));
    for at in (0..file.len()).step_by(53) {
        let mut bad = file.clone();
        bad[at] ^= 0x10;
        let error = refused(&bad);
        match at {
            0..8 => assert!(matches!(error, LoadError::Magic)),
            8..12 => assert!(matches!(error, LoadError::Version { .. })),
            12..20 => assert!(matches!(error, LoadError::Foreign)),
            _ => assert!(matches!(error, LoadError::Checksum | LoadError::Torn), "{at} {error}"),
        }
    }
    let mut stranger = Profiles::new(Limits::default(), [4; 16]);
    assert!(matches!(stranger.load(&mut file.as_slice()), Err(LoadError::Foreign)));
    profiles.load(&mut file.as_slice()).unwrap();
    assert_eq!(profiles.counts(), source.counts());
}

#[test]
fn a_smaller_table_keeps_the_latest() {
    let (source, _) = settled(3);
    let mut file = Vec::new();
    source.save(&mut file).unwrap();
    let mut small = Profiles::new(Limits { subjects: 4, ..Limits::default() }, [3; 16]);
    small.load(&mut file.as_slice()).unwrap();
    assert_eq!((small.counts().subjects, small.evicted().subjects), (4, 6));
    let newest: Vec<u64> = source.subjects.iter().skip(6).map(|(key, _)| key).collect();
    assert!(small.subjects.iter().map(|(key, _)| key).eq(newest));
}

/// In pieces, with requests in between: what is loaded is everybody, seen in the order of their
/// last requests.
#[test]
fn what_is_saved_in_pieces_is_whole() {
    for size in [1, 3, 1000] {
        let (mut source, now) = settled(3);
        let subjects = source.counts().subjects;
        let (mut file, mut seal, mut saving) = (Vec::new(), Seal::default(), source.begin_save());
        let mut more = true;
        while more {
            let mut piece = Vec::new();
            more = source.save_piece(&mut saving, size, &mut piece);
            seal.add(&piece);
            file.extend(piece);
            // One who is in the file or not, and one who came too late.
            both(&mut source, &request(now, 5), &answer(200, 1));
            both(&mut source, &request(now + 1, 4711), &answer(200, 1));
        }
        file.extend(seal.finish());
        let mut loaded = profiles();
        loaded.load(&mut file.as_slice()).unwrap();
        assert_eq!(loaded.counts().subjects, subjects);
        let seen: Vec<u64> = loaded.subjects.iter().map(|(_, subject)| subject.last_ms).collect();
        assert!(seen.is_sorted(), "{seen:?}");
        let known = |(key, _): (u64, &Subject)| source.subjects.find(key).is_some();
        assert!(loaded.subjects.iter().all(known));
        assert_eq!(loaded.counts().routes, source.counts().routes);
        // A torn piece is refused like any other.
        for cut in (0..file.len()).step_by(997) {
            assert!(profiles().load(&mut &file[..cut]).is_err());
        }
    }
}

#[test]
fn every_field_of_a_subject_stands_in_the_file() {
    let (source, _) = settled(3);
    for (_, subject) in source.subjects.iter() {
        let mut bytes = Vec::new();
        subject.put(&mut bytes);
        assert_eq!(bytes.len(), Subject::SIZE);
        let back = Subject::take(&mut bytes.as_slice()).unwrap();
        assert_eq!(&back, subject);
    }
}

/// An eighth of a million in a table that is as full as a million's is.
#[test]
fn a_million_subjects_fit_in_512_mib() {
    let mut profiles = Profiles::new(Limits::default(), [3; 16]);
    let mut vector = Vector::default();
    for subject in 0..125_000_u64 {
        let mut one = request(START + subject, subject.into());
        one.route.template = mix(subject, 3);
        profiles.request(&one, &mut vector);
    }
    let all = 8 * profiles.subjects.heap_bytes() + profiles.shared.heap_bytes();
    println!("{} B a subject, {} MiB in all", all / 1_000_000, all >> 20);
    let counts = profiles.counts();
    assert!(counts.addresses == 32_768 && counts.routes == 16_384 && counts.sequences == 65_536);
    assert!(all <= 512 << 20, "{all}");
}
