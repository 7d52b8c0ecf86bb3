//! Subjects of a generated world: what they are, where they come from, what they hold.

use jotwatch_models::train::Random;

use super::{
    oddities::Trip,
    places::{CITIES, Network, Use, distance},
    ranges::Ranges,
    setting::{Does, Setting},
};

/// What kind of subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// Working days, office and home.
    Office,
    /// Any day, mostly evenings, phone first.
    Consumer,
    /// Shifts that rotate by week, nights among them.
    Shift,
    /// Runs all day from a data centre, several instances.
    Service,
    /// Runs once or twice a day, walks and exports by right.
    Batch,
    /// The company's own crawler or monitor: walks all day by right.
    Crawler,
}

impl Who {
    pub(super) const ALL: [Self; 6] =
        [Self::Office, Self::Consumer, Self::Shift, Self::Service, Self::Batch, Self::Crawler];

    pub(crate) const fn is_person(self) -> bool {
        matches!(self, Self::Office | Self::Consumer | Self::Shift)
    }
}

/// A token as its holder keeps it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) fingerprint: u64,
    pub(super) issued: i64,
    pub(super) expires: i64,
    pub(super) used: bool,
}

/// A subject.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub(super) who: Who,
    pub(super) number: u64,
    pub(super) id: u128,
    pub(super) role: usize,
    pub(super) issuer: usize,
    pub(super) home: usize,
    /// The networks it is used to come from, with their shares.
    pub(super) networks: Vec<(Network, f64)>,
    /// Hashes of user agents, most used first.
    pub(super) devices: Vec<u64>,
    /// A token for each device or instance.
    pub(super) tokens: Vec<Option<Held>>,
    /// Its own objects: how many of each collection.
    pub(super) own: u64,
    /// Share of the objects it looks at that are not its own.
    pub(super) others: f64,
    /// Sessions a day and requests a session, of persons; requests a day, of the others.
    pub(super) sessions: f64,
    pub(super) requests: f64,
    /// Hour of the local day around which a person is there, or at which a job starts.
    pub(super) hour: f64,
    /// Seconds between two requests, median.
    pub(super) think: f64,
    /// Regular or by chance, of services.
    pub(super) regular: bool,
    /// Seconds between two polls of a person's application, and how often it polls after a session.
    pub(super) polls: (f64, f64),
    /// The routes it uses: places in its role's list.
    pub(super) favourites: Vec<usize>,
    /// First and last day it is there.
    pub(super) days: (u32, u32),
    /// Sessions so far.
    pub(super) nth: u64,
    /// Where a walk has come to.
    pub(super) cursor: u64,
    /// Days on which it is away, from and to.
    pub(super) away: Option<(u32, u32)>,
    pub(super) trip: Option<Trip>,
}

/// User agents that many subjects of a world share.
pub(super) struct Agents {
    pub(super) browsers: Vec<u64>,
    pub(super) phones: Vec<u64>,
    pub(super) tools: Vec<u64>,
}

impl Agents {
    pub(super) fn new(random: &mut Random) -> Self {
        let mut some = |n| (0..n).map(|_| random.bits()).collect();
        Self { browsers: some(14), phones: some(18), tools: some(8) }
    }
}

/// Networks that many subjects of a world share.
pub(super) struct Shared {
    offices: Vec<Network>,
    pub(super) mobiles: Vec<Network>,
    pub(super) vpns: Vec<Network>,
    relays: Vec<Network>,
    hostings: Vec<Network>,
    pub(super) homes: Vec<Network>,
}

impl Shared {
    pub(super) fn new(random: &mut Random) -> Self {
        let base = random.below(CITIES.len());
        // Most people live in the country of the company, some anywhere.
        let near: Vec<usize> = (0..CITIES.len())
            .filter(|c| distance(base, *c) < random.between((300.0, 1500.0)))
            .collect();
        let mut some = |of: Use, n: usize, anywhere: f64| -> Vec<Network> {
            (0..n)
                .map(|_| {
                    let city = if random.chance(anywhere) {
                        random.below(CITIES.len())
                    } else {
                        *random.pick(&near)
                    };
                    Network::new(random, of, city)
                })
                .collect()
        };
        Self {
            offices: some(Use::Office, 3, 0.2),
            mobiles: some(Use::Mobile, 8, 0.15),
            vpns: some(Use::Vpn, 6, 0.5),
            relays: some(Use::Relay, 3, 0.3),
            hostings: some(Use::Hosting, 5, 0.3),
            homes: some(Use::Home, 24, 0.15),
        }
    }

    /// The mobile network for somebody in `city`: that of the place, wherever it is.
    pub(super) fn mobile(&self, city: usize, random: &mut Random) -> Network {
        let near: Vec<&Network> =
            self.mobiles.iter().filter(|n| distance(n.city, city) < 60.0).collect();
        match near.is_empty() {
            true => Network { city, ..*random.pick(&self.mobiles) },
            false => **random.pick(&near),
        }
    }
}

/// What a subject is born into.
pub(super) struct Around<'w> {
    pub(super) setting: &'w Setting,
    pub(super) shared: &'w Shared,
    pub(super) agents: &'w Agents,
    pub(super) ranges: &'w Ranges,
    /// Share of persons who use a VPN.
    pub(super) vpn: f64,
}

impl Subject {
    pub(super) fn new(number: u64, who: Who, around: &Around<'_>, random: &mut Random) -> Self {
        let Around { setting, shared, agents, ranges, vpn } = *around;
        let role = if random.chance(0.08) { 0 } else { random.below(setting.roles.len()) };
        let (mut networks, mut devices) = (Vec::new(), Vec::new());
        let mut home_network = *random.pick(&shared.homes);
        // Who has an office lives in its city; the others work from home alone.
        let office = match who {
            Who::Office | Who::Shift if random.chance(0.8) => Some(*random.pick(&shared.offices)),
            _ => None,
        };
        if let Some(office) = office {
            let same: Vec<&Network> =
                shared.homes.iter().filter(|h| h.city == office.city).collect();
            home_network = if same.is_empty() {
                Network::new(random, Use::Home, office.city)
            } else {
                **random.pick(&same)
            };
        }
        let home = home_network.city;
        match who {
            Who::Office | Who::Shift => {
                let at_home = random.between((0.1, 0.9));
                networks.push((home_network, at_home));
                if let Some(office) = office {
                    networks.push((office, 1.0 - at_home));
                }
                if random.chance(0.5) {
                    networks.push((shared.mobile(home, random), random.between((0.02, 0.3))));
                }
                devices.push(*random.pick(&agents.browsers));
                if random.chance(0.4) {
                    devices.push(*random.pick(&agents.phones));
                }
            }
            Who::Consumer => {
                networks.push((home_network, random.between((0.3, 0.9))));
                if random.chance(0.85) {
                    networks.push((shared.mobile(home, random), random.between((0.1, 0.7))));
                }
                devices.push(*random.pick(&agents.phones));
                if random.chance(0.5) {
                    devices.push(*random.pick(&agents.browsers));
                }
            }
            Who::Service | Who::Batch | Who::Crawler => {
                networks.push((*random.pick(&shared.hostings), 1.0));
                if random.chance(0.3) {
                    networks.push((*random.pick(&shared.hostings), random.between((0.1, 0.6))));
                }
                devices.push(*random.pick(&agents.tools));
            }
        }
        if who.is_person() && random.chance(vpn) {
            networks.push((*random.pick(&shared.vpns), random.between((0.05, 0.6))));
        }
        if who == Who::Consumer && random.chance(vpn * 0.5) {
            networks.push((*random.pick(&shared.relays), random.between((0.1, 0.5))));
        }
        if who == Who::Office && random.chance(0.03) {
            // An account that people in two cities share.
            networks.push((*random.pick(&shared.homes), random.between((0.2, 0.6))));
            devices.push(*random.pick(&agents.browsers));
        }
        let slots = match who {
            Who::Service => random.whole((1, 4)),
            _ => devices.len(),
        };
        let uses = &setting.roles[role].uses;
        let favourites = match who {
            Who::Service => (0..random.whole((2, 6))).map(|_| random.below(uses.len())).collect(),
            Who::Batch | Who::Crawler => {
                // What a job is for: lists, exports, or one kind of object.
                let walks: Vec<usize> = (0..uses.len())
                    .filter(|u| {
                        let route = &setting.routes[uses[*u].0];
                        matches!(route.does, Does::List | Does::Export)
                            || (route.does == Does::Read && route.collection.is_some())
                    })
                    .collect();
                let from = if walks.is_empty() { vec![0] } else { walks };
                (0..random.whole((1, 3))).map(|_| *random.pick(&from)).collect()
            }
            // Persons know a part of what they may do, most of it from the front.
            _ => {
                let share = random.between((0.4, 0.95));
                (0..uses.len()).filter(|n| *n < 3 || random.chance(share)).collect()
            }
        };
        let requests = match who {
            Who::Service => {
                let usual = random.between(ranges.service_rate);
                random.about(usual, 0.3)
            }
            Who::Batch => random.between((60.0, 500.0)),
            Who::Crawler => random.between((900.0, 3_000.0)),
            _ => random.between(ranges.requests),
        };
        let joins = if random.chance(0.12) { random.below(ranges.days as usize) as u32 } else { 0 };
        Self {
            who,
            number,
            id: (u128::from(random.bits()) << 64) | u128::from(random.bits()),
            role,
            issuer: random.below(setting.issuers.len()),
            home,
            networks,
            tokens: vec![None; slots],
            devices,
            own: random.about(30.0, 0.9) as u64 + 3,
            // Support and back offices look at everybody's.
            others: if who == Who::Office && random.chance(0.15) { 0.9 } else { 0.15 },
            sessions: random.between(ranges.sessions),
            requests,
            hour: match who {
                Who::Office => random.between((8.0, 13.0)),
                Who::Consumer => random.between((7.0, 22.0)),
                _ => random.between((0.0, 24.0)),
            },
            think: random.about(9.0, 0.5),
            regular: random.chance(0.6),
            polls: {
                let often = if random.chance(0.4) { random.between((0.02, 0.5)) } else { 0.0 };
                (random.between((3.0, 60.0)), often)
            },
            favourites,
            days: (joins, ranges.days),
            nth: 0,
            cursor: random.bits() % 2_000,
            away: None,
            trip: None,
        }
    }

    /// Its clocks' offset to UTC, minutes.
    pub(super) fn clock(&self) -> i64 {
        CITIES[self.home].clock
    }

    /// The `k`th of its own objects in a collection.
    pub(super) fn own_object(&self, collection: usize, size: u64, k: u64) -> u64 {
        // Objects are made in runs: neighbours often belong together.
        let run = k / 3;
        let key = self.number.wrapping_mul(1_000_003) ^ (collection as u64) << 40 ^ run;
        (Random::new(key).bits() % size + k % 3).min(size - 1)
    }

    /// One of its networks, by their shares.
    pub(super) fn network(&self, random: &mut Random) -> Network {
        let all: f64 = self.networks.iter().map(|n| n.1).sum();
        let mut left = random.unit() * all;
        for (network, share) in &self.networks {
            left -= share;
            if left < 0.0 {
                return *network;
            }
        }
        self.networks[0].0
    }

    pub(super) fn is_there(&self, day: u32) -> bool {
        (self.days.0..self.days.1).contains(&day)
            && self.away.is_none_or(|(from, to)| !(from..to).contains(&day))
    }
}
