//! One subject's profile: what it does now, and what is usual for it.

use super::{
    clients::Clients,
    distinct::{Few, Many},
    familiar::Familiar,
    held::Tokens,
    place::Places,
    rhythm::{Intervals, Sliding, Week, latest},
    usual::{Pace, Usual, fixed, unfixed},
    walk::Walk,
    wire::wire,
};
use crate::behaviour::Answer;

pub(super) const MINUTE_MS: u64 = 60_000;
pub(super) const HOUR_MS: u64 = 60 * MINUTE_MS;
pub(super) const DAY_MS: u64 = 24 * HOUR_MS;

/// Requests before a profile is held against.
pub const LEARNING_REQUESTS: u16 = 50;
/// Hours with requests before a profile is held against.
pub const LEARNING_HOURS: u16 = 6;
/// Different days (UTC) with requests before a profile is held against.
pub const LEARNING_DAYS: u16 = 3;

/// A pause after which a new session begins.
pub const SESSION_GAP_MS: u64 = 30 * MINUTE_MS;

/// How far time may lie behind the last request and still be taken for its time: capture orders
/// by connection. What lies further behind is taken as it is, as after a leap of the clock.
const JITTER_MS: u64 = HOUR_MS;

/// Bytes of one unit in which answers are counted: what fits in 32 bits is 256 GiB then.
const BYTES: u64 = 64;

/// Answers before their shares say something.
const ENOUGH_ANSWERS: u8 = 4;

/// Routes that a subject is used to.
const OWN_ROUTES: usize = 16;

/// Addresses that a subject is used to.
pub(super) const OWN_ADDRESSES: usize = 8;

/// Shares of one are whole numbers of this.
const SHARE: f32 = 65_535.0;

/// Requests over which the surprise of sequences is a mean.
const SEQUENCE: f32 = 8.0;

/// What is usual for one subject; of windows in which it was active, on the scale of log2(1+x).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usuals {
    /// Requests in the busiest minute of an hour.
    pub(super) minute: Usual,
    pub(super) hour: Usual,
    pub(super) day: Usual,
    pub(super) routes: Usual,
    pub(super) addresses: Usual,
    pub(super) tokens: Usual,
    pub(super) objects_hour: Usual,
    pub(super) objects_day: Usual,
    pub(super) bytes_hour: Usual,
    pub(super) bytes_day: Usual,
    pub(super) denied: Usual,
    pub(super) not_found: Usual,
    pub(super) intervals: Usual,
    /// Different hours of a day.
    pub(super) active: Usual,
    /// Bytes of the greatest answer of a day.
    pub(super) largest: Usual,
}

wire!(Usuals {
    minute: Usual,
    hour: Usual,
    day: Usual,
    routes: Usual,
    addresses: Usual,
    tokens: Usual,
    objects_hour: Usual,
    objects_day: Usual,
    bytes_hour: Usual,
    bytes_day: Usual,
    denied: Usual,
    not_found: Usual,
    intervals: Usual,
    active: Usual,
    largest: Usual,
});

/// Shares of the latest answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Statuses {
    /// 401, 403, 404 and 5xx.
    shares: [u16; 4],
    seen: u8,
}

wire!(Statuses { shares: [u16; 4], seen: u8 });

impl Statuses {
    fn see(&mut self, status: u16) {
        let are = [status == 401, status == 403, status == 404, (500..600).contains(&status)];
        for (share, is) in self.shares.iter_mut().zip(are) {
            let value = latest(f32::from(*share) / SHARE, f32::from(u8::from(is)), self.seen);
            *share = (value * SHARE + 0.5) as u16;
        }
        self.seen = self.seen.saturating_add(1);
    }

    /// Of 401, 403, 404 and 5xx.
    pub(super) fn shares(self) -> [Option<f32>; 4] {
        let sure = self.seen >= ENOUGH_ANSWERS;
        self.shares.map(|share| sure.then(|| f32::from(share) / SHARE))
    }
}

/// A profile. Its size is what [`super::Profiles`] costs a subject: order matters less than width.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Subject {
    /// When it was last seen; which minute, hour and day are counted follows from it.
    pub(super) last_ms: u64,
    /// Up to 65,535: more tells nothing.
    requests: u16,
    /// Hours and days with requests that are over.
    pub(super) hours: u16,
    pub(super) days: u16,

    pub(super) minute: Sliding<u16>,
    /// The most requests of a minute in this hour.
    busiest: u16,
    pub(super) hour: Sliding<u32>,
    pub(super) day: Sliding<u32>,
    pub(super) bytes_hour: Sliding<u32>,
    pub(super) bytes_day: Sliding<u32>,
    /// 401 and 403 in an hour.
    pub(super) denied: Sliding<u16>,
    /// 404 in an hour.
    pub(super) not_found: Sliding<u16>,
    pub(super) addresses: Few<1>,
    pub(super) tokens: Few<1>,
    pub(super) routes: Few<2>,
    pub(super) objects: Many,
    pub(super) usual: Usuals,

    pub(super) intervals: Intervals,
    pub(super) week: Week,
    pub(super) places: Places,
    pub(super) clients: Clients,
    /// The hours with requests: the lowest bit is this one, the next the one before.
    active: u32,
    /// The greatest answer of the day, on the scale of log2.
    largest: u16,
    pub(super) walk: Walk,
    pub(super) held: Tokens,
    pub(super) statuses: Statuses,

    pub(super) own_addresses: Familiar<OWN_ADDRESSES>,
    pub(super) own_networks: Familiar<4>,
    pub(super) own_countries: Familiar<4>,
    pub(super) own_devices: Familiar<4>,
    pub(super) own_routes: Familiar<OWN_ROUTES>,

    /// Groups of peers, and services, that this hour counts for, by a bit of their hash each.
    groups: [u16; 2],
    /// A part of the hash of the session's last route; 0 where there is none.
    pub(super) last_route: u16,
    /// A step more than the surprise of the latest sequences; 0 where there is none.
    sequence: u16,
}

wire!(Subject {
    last_ms: u64, requests: u16, hours: u16, days: u16,
    minute: Sliding<u16>, busiest: u16, hour: Sliding<u32>, day: Sliding<u32>,
    bytes_hour: Sliding<u32>, bytes_day: Sliding<u32>,
    denied: Sliding<u16>, not_found: Sliding<u16>,
    addresses: Few<1>, tokens: Few<1>, routes: Few<2>, objects: Many, usual: Usuals,
    intervals: Intervals, week: Week, places: Places, clients: Clients,
    active: u32, largest: u16, walk: Walk, held: Tokens,
    statuses: Statuses,
    own_addresses: Familiar<OWN_ADDRESSES>, own_networks: Familiar<4>, own_countries: Familiar<4>,
    own_devices: Familiar<4>, own_routes: Familiar<OWN_ROUTES>,
    groups: [u16; 2], last_route: u16, sequence: u16,
});

/// What a subject did in an hour that is over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Hour {
    pub(super) requests: f32,
    pub(super) objects: f32,
    pub(super) bytes: f32,
}

/// What time has done to a profile when a request comes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Step {
    /// Since the last request.
    pub(super) interval_ms: Option<u64>,
    /// The last hour with requests, where this is another.
    pub(super) closed: Option<Hour>,
}

impl Subject {
    /// One that was never seen.
    pub(super) fn new(at_ms: u64) -> Self {
        Self {
            last_ms: at_ms,
            requests: 0,
            hours: 0,
            days: 0,
            minute: Sliding::default(),
            busiest: 0,
            hour: Sliding::default(),
            day: Sliding::default(),
            bytes_hour: Sliding::default(),
            bytes_day: Sliding::default(),
            denied: Sliding::default(),
            not_found: Sliding::default(),
            addresses: Few::default(),
            tokens: Few::default(),
            routes: Few::default(),
            objects: Many::default(),
            usual: Usuals::default(),
            intervals: Intervals::default(),
            week: Week::default(),
            places: Places::default(),
            clients: Clients::default(),
            active: 0,
            largest: 0,
            walk: Walk::default(),
            held: Tokens::default(),
            statuses: Statuses::default(),
            own_addresses: Familiar::default(),
            own_networks: Familiar::default(),
            own_countries: Familiar::default(),
            own_devices: Familiar::default(),
            own_routes: Familiar::default(),
            groups: [0; 2],
            last_route: 0,
            sequence: 0,
        }
    }

    /// Too young to be held against.
    pub(super) fn is_learning(&self) -> bool {
        self.requests < LEARNING_REQUESTS
            || self.hours < LEARNING_HOURS
            // Today is one more than those that are over.
            || self.days.saturating_add(1) < LEARNING_DAYS
    }

    /// A request comes at `at_ms`: closes the windows that are over and counts it.
    pub(super) fn advance(&mut self, at_ms: u64) -> Step {
        let last = self.last_ms;
        let leapt = last.saturating_sub(at_ms) > JITTER_MS;
        let now = if leapt { at_ms } else { at_ms.max(last) };
        let interval_ms = (self.requests > 0).then(|| now.saturating_sub(last));
        // After a leap backwards all windows are over, with nothing in between.
        let over = |window: u64| if leapt { 2 } else { now / window - last / window };

        let (minutes, hours, days) = (over(MINUTE_MS), over(HOUR_MS), over(DAY_MS));
        if minutes > 0 {
            self.minute.roll(minutes);
        }
        let active = self.active_of_day(last / HOUR_MS);
        let closed = (hours > 0).then(|| self.close_hour(last / HOUR_MS, hours));
        if days > 0 {
            self.close_day(days, active);
        }
        if leapt || interval_ms.is_some_and(|interval| interval > SESSION_GAP_MS) {
            self.intervals.end();
            self.last_route = 0;
        } else if let Some(interval) = interval_ms {
            self.intervals.see(interval);
        }
        self.active |= 1;
        self.last_ms = now;
        self.requests = self.requests.saturating_add(1);
        self.minute.add(1);
        self.hour.add(1);
        self.day.add(1);
        self.busiest = self.busiest.max(self.minute.now);
        Step { interval_ms, closed }
    }

    /// The hour of the last request is over.
    fn close_hour(&mut self, hour: u64, hours: u64) -> Hour {
        let seen = self.hours.into();
        let done = Hour {
            requests: self.hour.now as f32,
            objects: self.objects.hour(),
            bytes: self.bytes_hour.now as f32,
        };
        let usual = &mut self.usual;
        for (usual, count) in [
            (&mut usual.minute, self.busiest.into()),
            (&mut usual.hour, done.requests),
            (&mut usual.routes, self.routes.hour()),
            (&mut usual.addresses, self.addresses.hour()),
            (&mut usual.tokens, self.tokens.hour()),
            (&mut usual.objects_hour, done.objects),
            (&mut usual.bytes_hour, done.bytes),
            (&mut usual.denied, self.denied.now.into()),
            (&mut usual.not_found, self.not_found.now.into()),
        ] {
            usual.learn(super::math::log2_1p(count), seen, Pace::OWN);
        }
        if let Some(spread) = self.intervals.spread() {
            usual.intervals.learn(spread, seen, Pace::OWN);
        }
        self.week.learn(hour);
        self.hours = self.hours.saturating_add(1);
        self.busiest = 0;
        self.hour.roll(hours);
        self.bytes_hour.roll(hours);
        self.denied.roll(hours);
        self.not_found.roll(hours);
        self.addresses.roll(hours);
        self.tokens.roll(hours);
        self.routes.roll(hours);
        self.objects.roll(hours);
        self.walk.roll(hours);
        self.places.roll(hours);
        self.clients.roll(hours);
        self.active = u32::try_from(hours).map_or(0, |hours| self.active.unbounded_shl(hours));
        self.held.roll();
        self.own_addresses.roll(hours);
        self.own_networks.roll(hours);
        self.own_countries.roll(hours);
        self.own_devices.roll(hours);
        self.own_routes.roll(hours);
        self.groups = [0; 2];
        done
    }

    /// The day of the last request is over.
    fn close_day(&mut self, days: u64, active: f32) {
        let seen = self.days.into();
        let usual = &mut self.usual;
        for (usual, count) in [
            (&mut usual.day, self.day.now as f32),
            (&mut usual.objects_day, self.objects.day()),
            (&mut usual.bytes_day, self.bytes_day.now as f32),
        ] {
            usual.learn(super::math::log2_1p(count), seen, Pace::OWN);
        }
        usual.active.learn(super::math::log2_1p(active), seen, Pace::OWN);
        usual.largest.learn(unfixed(self.largest), seen, Pace::OWN);
        self.largest = 0;
        self.days = self.days.saturating_add(1);
        self.day.roll(days);
        self.bytes_day.roll(days);
        self.objects.roll_day();
    }

    /// Different hours with requests, in the day up to an hour since 1970 that is the last one.
    fn active_of_day(&self, hour: u64) -> f32 {
        let of_day = 2_u32.unbounded_shl((hour % 24) as u32).wrapping_sub(1);
        (self.active & of_day).count_ones() as f32
    }

    /// Different hours with requests among the last 24.
    pub(super) const fn active(&self) -> f32 {
        (self.active & 0x00ff_ffff).count_ones() as f32
    }

    /// How much of the present window has passed, 0..1.
    pub(super) fn past(&self, window_ms: u64) -> f32 {
        (self.last_ms % window_ms) as f32 / window_ms as f32
    }

    /// Whether a group of peers, and a service, have not had this hour of the subject yet.
    pub(super) fn joins(&mut self, group: u64, service: u64) -> [bool; 2] {
        let [groups, services] = &mut self.groups;
        [(groups, group), (services, service)].map(|(joined, hash)| {
            let bit = 1 << (hash % 16);
            let first = *joined & bit == 0;
            *joined |= bit;
            first
        })
    }

    /// An answer was given.
    pub(super) fn answered(&mut self, answer: &Answer) {
        self.statuses.see(answer.status);
        self.denied.add(u32::from(matches!(answer.status, 401 | 403)));
        self.not_found.add(u32::from(answer.status == 404));
        let units = u32::try_from(answer.bytes.div_ceil(BYTES)).unwrap_or(u32::MAX);
        self.bytes_hour.add(units);
        self.bytes_day.add(units);
        self.largest = self.largest.max(fixed(super::math::log2_1p(units as f32)));
    }

    /// How much greater an answer is than the greatest of a usual day, on the scale of log2.
    pub(super) fn over_largest(&self, answer: &Answer) -> Option<f32> {
        let units = super::math::log2_1p(answer.bytes.div_ceil(BYTES) as f32);
        self.usual.largest.over(units)
    }

    /// A sequence of two routes was so surprising.
    pub(super) fn surprised(&mut self, surprise: f32) {
        let mean = self.sequence().map_or(surprise, |mean| mean + (surprise - mean) / SEQUENCE);
        self.sequence = fixed(mean).saturating_add(1);
    }

    /// The mean surprise of the latest sequences.
    pub(super) fn sequence(&self) -> Option<f32> {
        self.sequence.checked_sub(1).map(unfixed)
    }
}
