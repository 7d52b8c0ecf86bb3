//! A seeded generator of API traffic with labels, for the behaviour models.
//!
//! No public set holds abuse of tokens with the behaviour around it, so the models learn from
//! worlds made here, and every figure measured on them says *synthetic*. What is assumed:
//!
//! - *Subjects* are office workers, consumers, shift workers, service accounts, batch jobs and
//!   crawlers ([`subjects`]). Persons come in sessions at their own hours of the week and think
//!   between requests, and their applications poll; machines are regular or driven by events. Most of a world's people live in
//!   one region, service accounts in data centres: being in one says nothing.
//! - *Networks* ([`places`]): homes change their address every few days, offices share one,
//!   carriers' NAT, VPNs and relays give another for each session, half of all networks have IPv6.
//!   Databases miss one VPN in fifty, one relay in a hundred, one carrier and data centre in ten. In a part of the training worlds
//!   there are no databases at all.
//! - *Services* ([`setting`]): routes for lists, single objects, writes, exports and running the
//!   service; object ids that count up or cannot be guessed; a part of the collections checks whose
//!   object it is. A role uses a part of the routes; routes follow on each other by habit; a few
//!   are new halfway.
//! - *Tokens* live for minutes to half a day and are renewed before they end, a few too late (401).
//! - *Oddities* ([`oddities`]) are what goes on without an attack: trips, new phones, new homes,
//!   VPNs that are switched on, work at night, exports by right, retries, outages, new duties,
//!   applications that fetch everything anew, scripts of one's own, doors that are tried by mistake. Some scopes are
//!   written down wrongly, some people look at the objects of others all day by right, and some
//!   accounts are shared between people in two cities.
//! - *Attacks* ([`attacks`]) begin after quiet days, as a stolen token in another's hand or as the
//!   subject's own doing, loud or careful, by hand or by a script that is regular or made to look
//!   as if it were not.
//!
//! Ids, hours, addresses, dates, numbers of subjects and shares of attacks are drawn anew for each
//! world, from other ranges for training than for testing ([`ranges`]), so that none of them can be
//! learned by heart.

mod attacks;
mod habits;
mod oddities;
mod places;
pub(crate) mod ranges;
mod setting;
mod subjects;

use jotwatch_models::{
    behaviour::{Answer, Client, Request, Route as Asked, TokenUse},
    train::Random,
};

pub(crate) use attacks::Kind;
pub(crate) use oddities::Oddity;
use places::Network;
use ranges::Ranges;
use setting::{Does, Setting};
pub(crate) use subjects::Who;
use subjects::{Agents, Around, Held, Shared, Subject};

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
pub(crate) const DAY: u64 = 24 * HOUR;

/// What a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Label {
    /// As every day.
    Usual,
    /// Legitimate, out of the ordinary.
    Odd(Oddity),
    /// Part of an attack: its place in [`World::episodes`].
    Attack(u32),
}

/// A request with its answer and what it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) request: Request,
    pub(crate) answer: Answer,
    pub(crate) label: Label,
    /// Whose it is: a place in [`World::who`].
    pub(crate) subject: u32,
}

/// An attack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Episode {
    pub(crate) kind: Kind,
    pub(crate) subject: u32,
    /// First and last request, milliseconds since 1970.
    pub(crate) from_ms: u64,
    pub(crate) to_ms: u64,
}

/// A generated world.
pub(crate) struct World {
    /// In the order of time.
    pub(crate) events: Vec<Event>,
    pub(crate) episodes: Vec<Episode>,
    /// What each subject is.
    pub(crate) who: Vec<Who>,
    pub(crate) start_ms: u64,
}

/// What a request does, before it is written out.
#[derive(Clone, Copy)]
struct Act {
    route: usize,
    /// The object's place in its collection.
    object: Option<u64>,
    status: u16,
    /// Bytes of the answer against the route's usual.
    bytes: f64,
    /// Latency against the route's usual.
    slow: f64,
}

/// From where, with what, and as what a run of requests comes.
#[derive(Clone, Copy)]
struct From {
    network: Network,
    /// A number of the client in its network, and of its session.
    client: u64,
    session: u64,
    device: u64,
    /// The holder's slot, or a token in another's hand.
    token: TokenFrom,
    label: Label,
}

#[derive(Clone, Copy)]
enum TokenFrom {
    Slot(usize),
    Stolen(Held),
}

/// Writes requests.
struct Pen<'w> {
    setting: &'w Setting,
    random: Random,
    start_ms: u64,
    events: Vec<Event>,
    /// Tokens made for the present subject.
    minted: Vec<Held>,
    address: Option<(u64, Client)>,
}

impl Pen<'_> {
    /// A holder's token at `at`: the one it has, or a new one.
    fn renew(&mut self, subject: &mut Subject, slot: usize, at: u64) -> Held {
        let issuer = &self.setting.issuers[subject.issuer];
        let now = (at / 1000) as i64;
        let leeway = (issuer.lifetime / 20).min(60);
        match subject.tokens[slot] {
            Some(held) if held.expires - leeway > now => held,
            _ => {
                let issued = now - self.random.below(3) as i64;
                let held = Held {
                    fingerprint: self.random.bits(),
                    issued,
                    expires: issued + issuer.lifetime,
                    used: false,
                };
                subject.tokens[slot] = Some(held);
                self.minted.push(held);
                held
            }
        }
    }

    fn token(&mut self, subject: &mut Subject, from: &From, at: u64) -> TokenUse {
        let held = match from.token {
            TokenFrom::Slot(slot) => {
                let held = self.renew(subject, slot, at);
                if let Some(kept) = &mut subject.tokens[slot] {
                    kept.used = true;
                }
                held
            }
            TokenFrom::Stolen(held) => held,
        };
        let issuer = &self.setting.issuers[subject.issuer];
        TokenUse {
            fingerprint: held.fingerprint,
            issuer: issuer.id,
            issued_s: issuer.says_issued.then_some(held.issued),
            expires_s: issuer.says_expiry.then_some(held.expires),
            first_use: !held.used,
        }
    }

    /// Writes one request.
    fn write(&mut self, subject: &mut Subject, at: u64, act: Act, from: &From) {
        let token = self.token(subject, from, at);
        let day = self.day(at);
        // A connection keeps its address; the next may come over the other family.
        let key = from.client ^ from.session.rotate_left(20) ^ u64::from(from.network.asn) << 32;
        let client = match self.address {
            Some((known, client)) if known == key && !self.random.chance(0.08) => client,
            _ => from.network.client(
                self.setting.geo,
                from.client,
                day,
                from.session,
                &mut self.random,
            ),
        };
        self.address = Some((key, client));
        let route = &self.setting.routes[act.route];
        let object =
            act.object.and_then(|n| Some(self.setting.collections[route.collection?].id(n)));
        let role = &self.setting.roles[subject.role];
        let mut findings = [0; 5];
        if subject.issuer == 0
            && let Some(place) = self.setting.standing_finding
        {
            findings[place] = 1;
        }
        let covers = !route.misdeclared && self.setting.is_used(subject.role, act.route);
        let payload = if self.random.chance(route.odd) {
            self.random.between((0.05, 0.6))
        } else {
            self.random.between((0.0, 0.02))
        };
        let ok = act.status < 400;
        self.events.push(Event {
            request: Request {
                at_ms: at,
                subject: subject.id,
                role: self.setting.says_role.then_some(role.id),
                token: Some(token),
                client,
                device: from.device,
                service: route.service,
                route: Asked { template: route.template, object },
                scope_covers: self.setting.says_scope.then_some(covers),
                findings,
                payload: self.setting.scores_payload.then_some(payload as f32),
                bytes: self.random.about(route.sent, 0.15) as u64,
            },
            answer: Answer {
                status: act.status,
                latency_us: self.random.about(route.latency * act.slow, route.spread) as u64 + 50,
                bytes: if ok {
                    self.random.about(route.bytes * act.bytes, route.spread) as u64 + 100
                } else {
                    self.random.about(350.0, 0.2) as u64
                },
            },
            label: from.label,
            subject: subject.number as u32,
        });
    }

    fn day(&self, at: u64) -> u32 {
        (at.saturating_sub(self.start_ms) / DAY) as u32
    }

    /// An act on `route` as its user would do it: mostly on objects of its own.
    fn act(&mut self, subject: &Subject, route: usize) -> Act {
        let info = &self.setting.routes[route];
        let object = info.collection.map(|at| {
            let size = self.setting.collections[at].size;
            if !self.random.chance(subject.others) {
                // The latest ones are looked at most.
                let k = (self.random.unit() * self.random.unit() * subject.own as f64) as u64;
                subject.own_object(at, size, k)
            } else {
                self.random.bits() % size
            }
        });
        let status = match self.random.below(1000) {
            0..=7 => 404,
            8..=10 => 500,
            11..=12 => 400,
            13 => 403,
            14..=60 if info.does == Does::Read => 304,
            _ if info.does == Does::Write => 201,
            _ => 200,
        };
        Act { route, object, status, bytes: 1.0, slow: 1.0 }
    }

    /// A route of the subject's, after the one before: by habit, else by how much it is used.
    fn next_route(&mut self, subject: &Subject, last: Option<usize>, day: u32) -> (usize, usize) {
        let role = &self.setting.roles[subject.role];
        for _ in 0..4 {
            let place = match last {
                Some(last) if self.random.chance(0.6) => role.follow[last][self.random.below(3)],
                _ => {
                    let all: f64 = subject.favourites.iter().map(|f| role.uses[*f].1).sum();
                    let mut left = self.random.unit() * all;
                    let found = subject.favourites.iter().find(|f| {
                        left -= role.uses[**f].1;
                        left < 0.0
                    });
                    *found.unwrap_or(&subject.favourites[0])
                }
            };
            let route = role.uses[place].0;
            if self.setting.routes[route].since <= day && subject.favourites.contains(&place) {
                return (place, route);
            }
        }
        let place = subject.favourites[0];
        (place, role.uses[place].0)
    }
}

/// Makes a world: the same seed and ranges, the same world.
pub(crate) fn world(seed: u64, ranges: &Ranges) -> World {
    let mut random = Random::new(seed);
    let geo = !random.chance(ranges.no_geo);
    let mut setting = Setting::new(ranges, &mut random.fork(1));
    setting.geo = geo;
    let shared = Shared::new(&mut random.fork(2));
    let agents = Agents::new(&mut random);
    // Some Monday to Sunday of the last years, some hour.
    let start_ms = 1_600_000_000_000 + random.bits() % (5 * 365) * DAY;
    let vpn = random.between(ranges.vpn);
    let shares: Vec<f64> = ranges.kinds.iter().map(|k| random.between(*k)).collect();
    let around = Around { setting: &setting, shared: &shared, agents: &agents, ranges, vpn };
    let mut subjects: Vec<Subject> = (0..random.whole(ranges.subjects) as u64)
        .map(|number| {
            let mut left = random.unit() * shares.iter().sum::<f64>();
            let who = Who::ALL
                .into_iter()
                .zip(&shares)
                .find(|(_, share)| {
                    left -= **share;
                    left < 0.0
                })
                .map_or(Who::Consumer, |(who, _)| who);
            let make = &mut random.fork(number);
            Subject::new(number, who, &around, make)
        })
        .collect();
    let (odd, attacks, push) = (
        random.between(ranges.oddities),
        random.between(ranges.attacks),
        random.between(ranges.push),
    );
    let mut pen = Pen {
        setting: &setting,
        random: random.fork(3),
        start_ms,
        events: Vec::new(),
        minted: Vec::new(),
        address: None,
    };
    let mut episodes = Vec::new();
    let mut plans = attacks::plan(&subjects, ranges, attacks, geo, &mut random.fork(4));
    for subject in &mut subjects {
        let mine: Vec<attacks::Plan> =
            plans.extract_if(.., |p| u64::from(p.subject) == subject.number).collect();
        let context = habits::Context { shared: &shared, agents: &agents, odd, days: ranges.days };
        let tokens = habits::live(&mut pen, subject, &context);
        for plan in mine {
            let part =
                attacks::Victim { subject, tokens: &tokens, shared: &shared, agents: &agents };
            attacks::carry_out(&mut pen, part, plan, push, &mut episodes);
        }
    }
    let mut events = pen.events;
    events.sort_by_key(|e| (e.request.at_ms, e.subject));
    World { events, episodes, who: subjects.iter().map(|s| s.who).collect(), start_ms }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, net::IpAddr};

    use super::{
        ranges::{TEST, TRAIN},
        *,
    };

    fn small() -> Ranges {
        Ranges { subjects: (40, 40), days: 16, attacks: (0.9, 0.9), ..TRAIN }
    }

    #[test]
    fn the_same_seed_gives_the_same_world() {
        let (first, second) = (world(7, &small()), world(7, &small()));
        let what = |w: &World| -> Vec<_> {
            w.events.iter().map(|e| (e.request, e.answer, e.label, e.subject)).collect()
        };
        assert!(what(&first) == what(&second));
        assert!(what(&first) != what(&world(8, &small())));
    }

    #[test]
    fn labels_are_those_of_the_episodes() {
        let ranges = small();
        for seed in 1..4 {
            let world = world(seed, &ranges);
            assert!(world.events.is_sorted_by_key(|e| e.request.at_ms));
            let mut kinds = HashSet::new();
            for episode in &world.episodes {
                kinds.insert(episode.kind);
                let quiet = world.start_ms + u64::from(ranges.quiet) * DAY;
                assert!(episode.from_ms >= quiet && episode.from_ms <= episode.to_ms);
            }
            assert!(kinds.len() >= 5, "{kinds:?}");
            for event in &world.events {
                let Label::Attack(at) = event.label else { continue };
                let episode = world.episodes[at as usize];
                assert_eq!(event.subject, episode.subject);
                assert!((episode.from_ms..=episode.to_ms).contains(&event.request.at_ms));
            }
        }
    }

    /// An attacker has nothing that a legitimate client could not have: no kind of network,
    /// address family, device, status or missing scope is an attack in every request.
    #[test]
    fn nothing_gives_an_attack_away_alone() {
        let mut seen = [HashSet::new(), HashSet::new()];
        for seed in 1..7 {
            let ranges = Ranges { no_geo: 0.0, oddities: (0.3, 0.3), ..small() };
            for event in world(seed, &ranges).events {
                let request = &event.request;
                let attack = matches!(event.label, Label::Attack(_));
                let kinds = request.client.kinds.map(|k| format!("{k:?}"));
                let of = &mut seen[usize::from(attack)];
                of.insert(format!("kinds {kinds:?}"));
                of.insert(format!("six {}", matches!(request.client.address, IpAddr::V6(_))));
                of.insert(format!("scope {:?}", request.scope_covers));
                of.insert(format!("threat {:?}", request.client.threat));
                of.insert(format!("status {}", event.answer.status));
                of.insert(format!("object {}", request.route.object.is_some()));
                of.insert(format!("first use {:?}", request.token.map(|t| t.first_use)));
                of.insert(format!("findings {:?}", request.findings));
            }
        }
        let only: Vec<&String> = seen[1].difference(&seen[0]).collect();
        assert!(only.is_empty(), "{only:?}");
    }

    #[test]
    fn worlds_to_test_on_are_drawn_from_other_ranges() {
        assert_ne!(TRAIN.subjects, TEST.subjects);
        assert!(TRAIN.lifetimes.iter().all(|l| !TEST.lifetimes.contains(l)));
        assert_ne!(TRAIN.service_rate, TEST.service_rate);
    }
}
