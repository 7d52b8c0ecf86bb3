//! What is out of the ordinary and no attack.

use super::{
    DAY, HOUR, MINUTE, Pen,
    habits::{Context, Today},
    places::{CITIES, Network, Use, distance},
    subjects::{Subject, Who},
};

/// A legitimate deviation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Oddity {
    /// A new phone or browser, for good.
    Device,
    /// Some days in another city, another network, another zone of time.
    Trip,
    /// Through a VPN or Tor that was not used before, for a session or for good.
    Vpn,
    /// At an hour of the night, or at a weekend.
    Night,
    /// A large export by right.
    Export,
    /// Errors, and the tries after them.
    Outage,
    /// A busy day: several times the usual.
    Busy,
    /// Another flat, another provider, for good.
    Move,
    /// New duties: routes of the role that were not used before, for good.
    Duties,
    /// A café or hotel near by.
    Cafe,
    /// An application that fetches all of its objects anew.
    Sync,
    /// A script of one's own, with one's own token, for one's own objects.
    Script,
    /// Doors tried by mistake: routes that are not the role's.
    Stray,
    /// A machine that was set up anew elsewhere in the data centre, with another version.
    Deployment,
}

/// A trip, in milliseconds since 1970: nobody is anywhere between `depart` and `arrive`, nor
/// between `leave` and `back`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trip {
    pub(super) depart: u64,
    pub(super) arrive: u64,
    pub(super) leave: u64,
    pub(super) back: u64,
    pub(super) hotel: Network,
    pub(super) mobile: Network,
    pub(super) clock: i64,
}

/// Where a trip has the traveller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whereabouts {
    Home,
    /// At home again, a while ago.
    Returned,
    Under,
    There,
}

impl Trip {
    /// Where somebody is from `at` on for an hour and a half, which few sessions outlast.
    pub(super) fn at(&self, at: u64) -> Whereabouts {
        let soon = at + 90 * MINUTE;
        if soon < self.depart {
            Whereabouts::Home
        } else if at >= self.arrive && soon < self.leave {
            Whereabouts::There
        } else if at >= self.back {
            if at < self.back + 2 * DAY { Whereabouts::Returned } else { Whereabouts::Home }
        } else {
            Whereabouts::Under
        }
    }
}

const PERSON: &[Oddity] = &[
    Oddity::Device,
    Oddity::Trip,
    Oddity::Trip,
    Oddity::Vpn,
    Oddity::Vpn,
    Oddity::Night,
    Oddity::Night,
    Oddity::Export,
    Oddity::Export,
    Oddity::Outage,
    Oddity::Busy,
    Oddity::Busy,
    Oddity::Move,
    Oddity::Duties,
    Oddity::Cafe,
    Oddity::Cafe,
    Oddity::Sync,
    Oddity::Stray,
    Oddity::Script,
];

const MACHINE: &[Oddity] = &[Oddity::Outage, Oddity::Busy, Oddity::Deployment, Oddity::Duties];

/// How `day` differs for the subject; lasting changes are made to it.
pub(super) fn of_day(
    pen: &mut Pen<'_>,
    subject: &mut Subject,
    context: &Context<'_>,
    day: u32,
) -> Today {
    if !pen.random.chance(context.odd) || !subject.is_there(day) {
        return Today::default();
    }
    let kinds = if subject.who.is_person() { PERSON } else { MACHINE };
    let kind = *pen.random.pick(kinds);
    let mut today = Today { label: Some(kind), ..Today::default() };
    let morning = pen.start_ms + u64::from(day) * DAY;
    let random = &mut pen.random;
    match kind {
        Oddity::Device => {
            let all =
                if random.chance(0.5) { &context.agents.browsers } else { &context.agents.phones };
            let device = *random.pick(all);
            let slot = random.below(subject.devices.len());
            subject.devices[slot] = device;
            if let Some(token) = subject.tokens.get_mut(slot) {
                *token = None;
            }
            today.extra = Some((subject.hour, 1.0));
        }
        Oddity::Trip => {
            let city = random.below(CITIES.len());
            if random.chance(0.15) {
                // A holiday without the service.
                subject.away = Some((day, day + random.whole((2, 7)) as u32));
                return Today::default();
            }
            if subject.trip.is_some_and(|t| t.back > morning) {
                return Today::default();
            }
            let hours = |h: f64| (h * HOUR as f64) as u64;
            let way = distance(subject.home, city) / 750.0;
            let depart = morning + hours(random.between((6.0, 16.0)));
            let arrive = depart + hours(way + random.between((2.0, 5.0)));
            let leave = arrive + hours(random.between((20.0, 120.0)));
            subject.trip = Some(Trip {
                depart,
                arrive,
                leave,
                back: leave + hours(way + random.between((2.0, 5.0))),
                hotel: Network::new(random, Use::Hotel, city),
                mobile: context.shared.mobile(city, random),
                clock: CITIES[city].clock,
            });
            return Today::default();
        }
        Oddity::Vpn => {
            let network = if random.chance(0.6) {
                *random.pick(&context.shared.vpns)
            } else {
                let city = random.below(CITIES.len());
                let of = if random.chance(0.15) { Use::Tor } else { Use::Vpn };
                Network::new(random, of, city)
            };
            if random.chance(0.3) {
                let share = random.between((0.1, 0.8));
                subject.networks.push((network, share));
            }
            today.network = Some(network);
            today.from_hour = random.between((0.0, 20.0));
            today.extra = Some((subject.hour, 1.0));
        }
        Oddity::Night => {
            today.extra = Some((random.between((23.0, 29.0)), random.between((0.5, 2.5))));
        }
        Oddity::Export => {
            today.extra = Some((subject.hour + 2.0, random.between((1.5, 10.0))));
            // What is exported is what one has.
            today.from_hour = 99.0;
        }
        Oddity::Sync | Oddity::Stray | Oddity::Script => {
            today.extra = Some((subject.hour, 0.5));
            today.from_hour = 99.0;
            if kind == Oddity::Script {
                today.device = Some(*random.pick(&context.agents.tools));
            }
        }
        Oddity::Outage => today.failing = random.between((0.05, 0.5)),
        Oddity::Busy => today.extra = Some((subject.hour + 1.0, random.between((2.0, 6.0)))),
        Oddity::Move => {
            let near: Vec<Network> = (context.shared.homes.iter())
                .filter(|n| distance(n.city, subject.home) < 600.0)
                .copied()
                .collect();
            let network = if near.is_empty() || random.chance(0.5) {
                Network::new(random, Use::Home, subject.home)
            } else {
                *random.pick(&near)
            };
            if network.city != subject.home {
                // A day of carrying boxes.
                subject.away = Some((day, day + 1));
            }
            subject.home = network.city;
            subject.networks[0].0 = network;
        }
        Oddity::Duties => {
            let uses = pen.setting.roles[subject.role].uses.len();
            for _ in 0..random.whole((1, 4)) {
                let place = random.below(uses);
                if !subject.favourites.contains(&place) {
                    subject.favourites.push(place);
                }
            }
        }
        Oddity::Cafe => {
            let of = if random.chance(0.5) { Use::Hotel } else { Use::Office };
            today.network = Some(Network::new(random, of, subject.home));
            today.from_hour = random.between((0.0, 18.0));
            today.extra = Some((subject.hour, 1.0));
        }
        Oddity::Deployment => {
            let city = subject.networks[0].0.city;
            if random.chance(0.5) {
                subject.networks[0].0 = Network::new(random, Use::Hosting, city);
            } else {
                subject.networks[0].0.base ^= 0x0000_1000;
            }
            if random.chance(0.7) {
                subject.devices[0] = random.bits();
            }
            subject.tokens.iter_mut().for_each(|t| *t = None);
        }
    }
    if subject.who == Who::Batch {
        today.network = None;
    }
    today
}
