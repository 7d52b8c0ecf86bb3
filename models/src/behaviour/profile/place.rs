//! Where a subject was last and usually is, and how far that is from where it is now.

use super::{super::GeoPoint, math, wire::wire};

/// The mean radius of the earth in kilometres (IUGG).
const EARTH_KM: f64 = 6371.0088;

/// Coordinates on the unit sphere are whole numbers of this: 200 m on earth, where the best GeoIP
/// databases are accurate to a kilometre.
const UNIT: f64 = 32_767.0;

/// Places that are nearer than this are one, whatever the databases claim.
const SAME_KM: f32 = 50.0;

/// The least time that a distance is held against, in seconds: clocks and connections overlap.
const LEAST_SECONDS: u32 = 60;

/// Steps of a speed's log2(1+km/h) that is kept.
const SPEED: f32 = 10.0;

/// Hours that a place counts at most.
const MOST: u8 = 0x3f;
/// As in `familiar`: seen in the hour before, seen in this one.
const BEFORE: u8 = 0x40;
const NOW: u8 = 0x80;

/// A point on the unit sphere with its accuracy radius; none where all coordinates are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Spot {
    at: [i16; 3],
    radius_km: u16,
}

wire!(Spot { at: [i16; 3], radius_km: u16 });

impl Spot {
    /// None where the database gives no point on earth.
    fn of(point: GeoPoint) -> Option<Self> {
        let (lat, lon) = (f64::from(point.lat), f64::from(point.lon));
        if !((-90.0..=90.0).contains(&lat) && (-180.0..=180.0).contains(&lon)) {
            return None;
        }
        let across = math::sin_degrees(90.0 - lat);
        #[expect(clippy::cast_possible_truncation, reason = "within ±32767")]
        let whole = |x: f64| (x * UNIT).round() as i16;
        let at = [
            whole(across * math::sin_degrees(90.0 - lon)),
            whole(across * math::sin_degrees(lon)),
            whole(math::sin_degrees(lat)),
        ];
        Some(Self { at, radius_km: point.radius_km })
    }

    const fn is_none(self) -> bool {
        matches!(self.at, [0, 0, 0])
    }

    /// Kilometres on the surface, less both radii.
    fn distance_km(self, other: Self) -> f32 {
        if self.at == other.at {
            return 0.0;
        }
        // The sine is flat near a right angle: beyond a quarter of the earth the distance is taken
        // from the other's antipode.
        let chord = |sign: f64| {
            let parts = self.at.iter().zip(&other.at);
            let square: f64 = parts
                .map(|(a, b)| (f64::from(*a) - sign * f64::from(*b)) / UNIT)
                .map(|d| d * d)
                .sum();
            square.sqrt()
        };
        let (near, far) = (chord(1.0), chord(-1.0));
        let angle = if near <= far {
            2.0 * math::asin(near / 2.0)
        } else {
            std::f64::consts::PI - 2.0 * math::asin(far / 2.0)
        };
        let km = EARTH_KM * angle;
        let radii = f64::from(self.radius_km) + f64::from(other.radius_km);
        #[expect(clippy::cast_possible_truncation, reason = "a distance on earth")]
        let beyond = (km - radii).max(0.0) as f32;
        beyond
    }
}

/// Places that are told apart: two that are usual, and one that may become so.
const USUAL: usize = 3;

/// The last place, and the usual ones by the hours in which they were seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Places {
    last: Spot,
    /// Seconds since 1970.
    last_s: u32,
    usual: [Spot; USUAL],
    marks: [u8; USUAL],
    /// The greatest speed of this hour and of the one before, in steps of [`SPEED`].
    fastest: [u8; 2],
}

wire!(Places {
    last: Spot,
    last_s: u32,
    usual: [Spot; USUAL],
    marks: [u8; USUAL],
    fastest: [u8; 2],
});

/// How far a request is from where its subject was.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Travel {
    /// From the last place.
    pub(super) km: Option<f32>,
    /// Over the time since.
    pub(super) km_h: Option<f32>,
    /// From the nearest usual place.
    pub(super) usual_km: Option<f32>,
}

impl Places {
    /// The subject is at a point, as far as its network lets on.
    pub(super) fn see(&mut self, point: GeoPoint, now_s: u32) -> Travel {
        let Some(spot) = Spot::of(point) else { return Travel::default() };
        let mut travel = Travel::default();
        if !self.last.is_none() {
            let km = spot.distance_km(self.last);
            let hours = now_s.saturating_sub(self.last_s).max(LEAST_SECONDS) as f32 / 3600.0;
            (travel.km, travel.km_h) = (Some(km), Some(km / hours));
            let [fastest, _] = &mut self.fastest;
            // A step above 0: a place is known.
            *fastest = (*fastest).max((math::log2_1p(km / hours) * SPEED) as u8 + 1);
        }
        (self.last, self.last_s) = (spot, now_s);

        let (mut nearest, mut weakest) = (None, (u8::MAX, 0));
        for (at, (usual, mark)) in self.usual.iter().zip(&self.marks).enumerate() {
            if *mark != 0 {
                let km = spot.distance_km(*usual);
                if mark & MOST != 0 {
                    travel.usual_km = Some(travel.usual_km.map_or(km, |k: f32| k.min(km)));
                }
                if km <= SAME_KM && nearest.is_none_or(|(k, _)| km < k) {
                    nearest = Some((km, at));
                }
            }
            let rank = (mark & MOST) << 2 | mark >> 6;
            if rank <= weakest.0 {
                weakest = (rank, at);
            }
        }
        let at = nearest.map_or(weakest.1, |(_, at)| at);
        if let (Some(usual), Some(mark)) = (self.usual.get_mut(at), self.marks.get_mut(at)) {
            if nearest.is_none() {
                (*usual, *mark) = (spot, 0);
            }
            *mark |= NOW;
        }
        travel
    }

    /// log2(1+km/h) of the greatest speed of this hour and the one before.
    pub(super) fn fastest(&self) -> Option<f32> {
        let [now, before] = self.fastest;
        now.max(before).checked_sub(1).map(|steps| f32::from(steps) / SPEED)
    }

    /// An hour with something in it is over, `hours` ago; see `Familiar::roll`.
    pub(super) fn roll(&mut self, hours: u64) {
        let [now, _] = self.fastest;
        self.fastest = [0, if hours == 1 { now } else { 0 }];
        for _ in 0..hours.min(2) {
            let full = self.marks.iter().any(|mark| mark & MOST == MOST);
            for mark in &mut self.marks {
                let weight = mark.wrapping_add(u8::from(*mark & BEFORE != 0 && !full)) & MOST;
                let weight = if full { weight.div_ceil(2) } else { weight };
                *mark = weight | if *mark & NOW != 0 { BEFORE } else { 0 };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn point(lat: f32, lon: f32, radius_km: u16) -> GeoPoint {
        GeoPoint { lat, lon, radius_km }
    }

    /// The haversine formula.
    fn haversine(a: GeoPoint, b: GeoPoint) -> f64 {
        let [lat_a, lon_a, lat_b, lon_b] =
            [a.lat, a.lon, b.lat, b.lon].map(|d| f64::from(d).to_radians());
        let h = ((lat_b - lat_a) / 2.0).sin().powi(2)
            + lat_a.cos() * lat_b.cos() * ((lon_b - lon_a) / 2.0).sin().powi(2);
        2.0 * EARTH_KM * h.sqrt().min(1.0).asin()
    }

    proptest! {
        #[test]
        fn distances_are_those_of_the_haversine_formula(
            lat in -90.0_f32..90.0, lon in -180.0_f32..180.0,
            lat2 in -90.0_f32..90.0, lon2 in -180.0_f32..180.0,
        ) {
            let (a, b) = (point(lat, lon, 0), point(lat2, lon2, 0));
            let got = f64::from(Spot::of(a).unwrap().distance_km(Spot::of(b).unwrap()));
            let want = haversine(a, b);
            prop_assert!((got - want).abs() < 1.0, "{got} {want}");
        }
    }

    #[test]
    fn speed_is_over_the_time_between() {
        let (berlin, tokyo) = (point(52.52, 13.4, 10), point(35.68, 139.69, 20));
        let mut places = Places::default();
        assert_eq!(places.see(berlin, 1_000_000), Travel::default());
        let flight = places.see(tokyo, 1_000_000 + 3600);
        assert!((flight.km.unwrap() - (8918.0 - 30.0)).abs() < 10.0, "{flight:?}");
        assert_eq!(flight.km, flight.km_h);
        // It is remembered for the hour and the next.
        assert!((places.fastest().unwrap() - (8888.0_f32).log2()).abs() < 0.2);
        let mut later = places;
        later.roll(1);
        assert_eq!(later.fastest(), places.fastest());
        later.roll(1);
        assert_eq!(later.fastest(), None);
        // Back at the same second, and before it: not infinitely fast.
        assert!(places.see(berlin, 1_000_000 + 3600).km_h.unwrap() < 60.0 * 9000.0);
        assert!(places.see(tokyo, 0).km_h.unwrap() < 60.0 * 9000.0);
        assert_eq!(places.see(tokyo, 10).km, Some(0.0));
    }

    #[test]
    fn radii_are_forgiven_and_no_point_is_no_place() {
        let mut places = Places::default();
        places.see(point(50.0, 8.0, 400), 0);
        assert_eq!(places.see(point(52.0, 10.0, 0), 60).km, Some(0.0));
        let before = places;
        for bad in [point(f32::NAN, 0.0, 0), point(91.0, 0.0, 0), point(0.0, f32::INFINITY, 0)] {
            assert_eq!(places.see(bad, 120), Travel::default());
        }
        assert_eq!(places, before);
    }

    #[test]
    fn a_place_is_usual_after_its_hours_and_a_detour_does_not_displace_it() {
        let (home, work, away) =
            (point(52.5, 13.4, 10), point(53.5, 10.0, 10), point(40.7, -74.0, 10));
        let mut places = Places::default();
        let mut now = 0;
        for _ in 0..200 {
            places.see(home, now);
            places.see(work, now + 1);
            places.roll(1);
            now += 3600;
        }
        for _ in 0..3 {
            assert!(places.see(away, now).usual_km.unwrap() > 5000.0);
        }
        assert!(places.see(home, now).usual_km.unwrap() < 1.0);
    }
}
