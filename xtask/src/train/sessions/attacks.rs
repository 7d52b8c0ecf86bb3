//! Attacks: what somebody does with a token of another, or with more right than is good.

use jotwatch_models::train::Random;

use super::{
    Act, DAY, Episode, Event, From, HOUR, Label, MINUTE, Pen, SECOND, TokenFrom,
    places::{CITIES, Network, Use, distance},
    ranges::Ranges,
    setting::{Does, Ids},
    subjects::{Agents, Held, Shared, Subject, Who},
};

/// A kind of attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// The token in use far away, sooner than anybody travels.
    ImpossibleTravel,
    /// The token in use at once from another place, network and user agent.
    StolenToken,
    /// The same by somebody who takes the victim's user agent, hours, pace and region.
    CarefulTheft,
    /// Much of a collection in a short time.
    Scraping,
    /// Object ids of others, one after another (OWASP API1:2023).
    ObjectWalking,
    /// A few answers that together are what the subject usually gets in one to six months.
    LargeExfiltration,
    /// Many answers of usual size.
    SmallExfiltration,
    /// A walk or an exfiltration spread over days.
    SlowAndLow,
    /// Routes that the role never uses (OWASP API5:2023).
    RoleAbuse,
    /// A theft, and then something of the above.
    Mixed,
}

impl Kind {
    pub(crate) const ALL: [Self; 10] = [
        Self::ImpossibleTravel,
        Self::StolenToken,
        Self::CarefulTheft,
        Self::Scraping,
        Self::ObjectWalking,
        Self::LargeExfiltration,
        Self::SmallExfiltration,
        Self::SlowAndLow,
        Self::RoleAbuse,
        Self::Mixed,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::ImpossibleTravel => "impossible travel",
            Self::StolenToken => "stolen token",
            Self::CarefulTheft => "stolen token, careful",
            Self::Scraping => "scraping",
            Self::ObjectWalking => "object walking",
            Self::LargeExfiltration => "exfiltration, few large",
            Self::SmallExfiltration => "exfiltration, many small",
            Self::SlowAndLow => "slow and low",
            Self::RoleAbuse => "role abuse",
            Self::Mixed => "mixed",
        }
    }
}

/// An attack to be.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    pub(super) subject: u32,
    pub(super) kind: Kind,
    pub(super) day: u32,
}

/// Whose subject's token it is, and the world around.
pub(super) struct Victim<'w> {
    pub(super) subject: &'w mut Subject,
    pub(super) tokens: &'w [Held],
    pub(super) shared: &'w Shared,
    pub(super) agents: &'w Agents,
}

/// Who is attacked, how and when: each subject once, after its profile has had a week.
pub(super) fn plan(
    subjects: &[Subject],
    ranges: &Ranges,
    share: f64,
    geo: bool,
    random: &mut Random,
) -> Vec<Plan> {
    let kinds: Vec<Kind> =
        Kind::ALL.into_iter().filter(|k| geo || *k != Kind::ImpossibleTravel).collect();
    let mut plans = Vec::new();
    let mut nth = random.below(kinds.len());
    for subject in subjects {
        // Jobs and crawlers are walked past: what they do every day is what an attacker would do.
        let is_target = subject.who.is_person() || subject.who == Who::Service;
        if !is_target || subject.days.0 + 8 > ranges.quiet || !random.chance(share) {
            continue;
        }
        let kind = kinds[nth % kinds.len()];
        nth += 1;
        if kind == Kind::ImpossibleTravel && !subject.who.is_person() {
            continue;
        }
        let last = if kind == Kind::SlowAndLow { ranges.days - 6 } else { ranges.days - 2 };
        let day = random.whole((ranges.quiet as usize, last as usize)) as u32;
        plans.push(Plan { subject: subject.number as u32, kind, day });
    }
    plans
}

/// A network for somebody in `city`.
fn lair(victim: &Victim<'_>, of: Use, city: usize, random: &mut Random) -> Network {
    match of {
        // Attackers rent where others rent, too.
        Use::Vpn if random.chance(0.5) => *random.pick(&victim.shared.vpns),
        Use::Mobile => victim.shared.mobile(city, random),
        _ => Network::new(random, of, city),
    }
}

/// A city at a distance from the victim's.
fn somewhere(victim: &Victim<'_>, (low, high): (f64, f64), random: &mut Random) -> usize {
    let home = victim.subject.home;
    let all: Vec<usize> = (0..CITIES.len())
        .filter(|c| *c != home && (low..high).contains(&distance(home, *c)))
        .collect();
    if all.is_empty() { home } else { *random.pick(&all) }
}

/// What the attacker is after.
#[derive(Clone, Copy)]
enum Aim {
    /// Looks around, as the victim would.
    Look,
    Scrape,
    Walk,
    Large,
    Small,
    Abuse,
}

struct Attack<'a, 'w> {
    pen: &'a mut Pen<'w>,
    victim: Victim<'a>,
    from: From,
    episode: u32,
    push: f64,
    /// Routes and the place of a walk.
    route: Option<usize>,
    cursor: u64,
    step: u64,
    last: Option<usize>,
    /// Deviation of the logarithm of pauses: near 0 is a script, above 1 somebody who makes it
    /// look as if it were none.
    jitter: f64,
    /// Comes in pages, several requests at once, as applications do.
    in_pages: bool,
    /// Bytes that the subject is given on a usual day.
    usual_day: f64,
    /// Usual days that one answer of a large exfiltration holds.
    large: f64,
    span: Option<(u64, u64)>,
}

impl Attack<'_, '_> {
    /// As the subject itself: its own device and network.
    fn inside(&mut self) {
        let subject = &self.victim.subject;
        let network = subject.network(&mut self.pen.random);
        let network = if subject.who == Who::Service { subject.networks[0].0 } else { network };
        self.from.network = network;
        self.from.device = subject.devices[0];
        self.from.client = match subject.who {
            Who::Service => subject.number.wrapping_mul(17),
            _ => subject.number,
        };
    }

    /// As a thief, from a network of one of `uses` at a distance.
    fn thief(&mut self, uses: &[Use], far: (f64, f64), same_device: f64) {
        let random = &mut self.pen.random;
        let city = somewhere(&self.victim, far, random);
        let of = *random.pick(uses);
        self.from.network = lair(&self.victim, of, city, random);
        self.from.client = random.bits();
        let agents = self.victim.agents;
        self.from.device = if random.chance(same_device) {
            self.victim.subject.devices[0]
        } else if random.chance(0.5) {
            *random.pick(&agents.tools)
        } else {
            *random.pick(&agents.browsers)
        };
    }

    /// The token in use at `at`: one that the victim has then, or one the thief has renewed.
    fn token(&mut self, at: u64) {
        let now = (at / 1000) as i64;
        if let TokenFrom::Stolen(held) = &mut self.from.token
            && held.expires > now
            && held.issued <= now
        {
            held.used = true;
            return;
        }
        let theirs = self.victim.tokens.iter().rev().find(|t| t.issued <= now && t.expires > now);
        let held = theirs.map_or_else(
            || Held {
                fingerprint: self.pen.random.bits(),
                issued: now,
                expires: now + self.pen.setting.issuers[self.victim.subject.issuer].lifetime,
                used: false,
            },
            |held| Held { used: true, ..*held },
        );
        self.from.token = TokenFrom::Stolen(held);
    }

    /// A route of the role that does one of `what`; else any.
    fn find(&mut self, what: &[Does]) -> usize {
        let setting = self.pen.setting;
        let uses = &setting.roles[self.victim.subject.role].uses;
        let day = 0;
        let mut fit: Vec<usize> = uses
            .iter()
            .map(|u| u.0)
            .filter(|r| what.contains(&setting.routes[*r].does) && setting.routes[*r].since <= day)
            .collect();
        // Ids that count are what walks are made of.
        let counted: Vec<usize> = fit
            .iter()
            .copied()
            .filter(|r| {
                setting.routes[*r]
                    .collection
                    .is_some_and(|c| matches!(setting.collections[c].ids, Ids::Counted(_)))
            })
            .collect();
        if !counted.is_empty() && self.pen.random.chance(0.6) {
            fit = counted;
        }
        if fit.is_empty() { uses[0].0 } else { *self.pen.random.pick(&fit) }
    }

    fn act(&mut self, aim: Aim) -> Act {
        let setting = self.pen.setting;
        let (route, bytes) = match aim {
            Aim::Look => {
                let (place, route) = self.pen.next_route(self.victim.subject, self.last, 0);
                self.last = Some(place);
                return self.pen.act(self.victim.subject, route);
            }
            Aim::Abuse => {
                let role = self.victim.subject.role;
                let foreign: Vec<usize> = (0..setting.routes.len())
                    .filter(|r| !setting.is_used(role, *r))
                    .filter(|r| setting.routes[*r].does != Does::Plain)
                    .collect();
                if foreign.is_empty() {
                    (self.find(&[Does::Admin, Does::Write]), 1.0)
                } else {
                    (*self.pen.random.pick(&foreign), 1.0)
                }
            }
            Aim::Large => {
                let route = match self.route {
                    Some(route) => route,
                    None => self.find(&[Does::Export, Does::List]),
                };
                self.route = Some(route);
                // What is taken adds up to several usual days.
                let usual = setting.routes[route].bytes;
                let part = self.usual_day * self.large / usual;
                (route, self.pen.random.about(part.max(4.0), 0.4))
            }
            Aim::Scrape | Aim::Walk | Aim::Small => {
                let turn = self.pen.random.chance(0.05);
                let route = match self.route {
                    Some(route) if !turn => route,
                    _ => self.find(&[Does::Read]),
                };
                self.route = Some(route);
                let most = if matches!(aim, Aim::Small) { 2.5 } else { 1.2 };
                (route, self.pen.random.between((0.8, most)))
            }
        };
        self.cursor += self.step;
        let info = &setting.routes[route];
        let mut status = 200;
        let object = info.collection.map(|c| {
            let collection = &setting.collections[c];
            if matches!(aim, Aim::Walk | Aim::Abuse)
                && collection.guarded
                && self.pen.random.chance(0.85)
            {
                status = *self.pen.random.pick(&[403, 403, 404]);
            }
            match self.step {
                0 => self.pen.random.bits() % collection.size,
                _ => self.cursor % collection.size,
            }
        });
        if matches!(aim, Aim::Abuse) && self.pen.random.chance(0.5) {
            status = 403;
        }
        Act { route, object, status, bytes, slow: 1.0 }
    }

    /// Writes `requests` from `at` on, a `pause` (milliseconds, median) apart; returns the end.
    fn run(&mut self, mut at: u64, requests: usize, pause: f64, aim: Aim) -> u64 {
        // By hand, one comes as the victim does.
        let pages = self.in_pages || matches!(aim, Aim::Look | Aim::Abuse);
        let mut page = 0;
        for _ in 0..requests {
            self.token(at);
            let act = self.act(aim);
            self.from.label = Label::Attack(self.episode);
            let from = self.from;
            self.pen.write(self.victim.subject, at, act, &from);
            let (first, _) = self.span.unwrap_or((at, at));
            self.span = Some((first, at));
            at += 10;
            if page > 0 {
                page -= 1;
                at += self.pen.random.about(120.0, 0.6) as u64;
            } else if pages {
                page = self.pen.random.below(5);
                at += self.pen.random.about(pause * 3.0, self.jitter.max(0.8)) as u64;
            } else {
                at += self.pen.random.about(pause, self.jitter) as u64;
            }
        }
        at
    }

    fn whole(&mut self, range: (f64, f64)) -> usize {
        (self.pen.random.between(range) * self.push) as usize + 4
    }

    fn pause(&mut self, (low, high): (f64, f64)) -> f64 {
        // Even in the logarithm: slow ones are as common as fast ones.
        let part = self.pen.random.unit();
        low * (high / low).powf(part) / self.push
    }

    /// What goes on once the attacker is in.
    fn loot(&mut self, at: u64, kind: Kind) {
        const S: f64 = SECOND as f64;
        // In steps of one to three, or ids at random.
        self.step =
            if self.pen.random.chance(0.7) { self.pen.random.whole((1, 3)) as u64 } else { 0 };
        self.cursor = self.pen.random.bits() % 100_000;
        match kind {
            Kind::Scraping => {
                let (n, pause) = (self.whole((250.0, 1_500.0)), self.pause((0.12 * S, 3.0 * S)));
                self.run(at, n, pause, Aim::Scrape);
            }
            Kind::ObjectWalking => {
                let (n, pause) = (self.whole((60.0, 500.0)), self.pause((0.2 * S, 6.0 * S)));
                self.run(at, n, pause, Aim::Walk);
            }
            Kind::LargeExfiltration => {
                let (n, pause) = (self.whole((4.0, 20.0)), self.pause((5.0 * S, 120.0 * S)));
                self.large = self.pen.random.between((30.0, 200.0)) * self.push / n as f64;
                self.run(at, n, pause, Aim::Large);
            }
            Kind::SmallExfiltration => {
                let (n, pause) = (self.whole((250.0, 900.0)), self.pause((0.8 * S, 8.0 * S)));
                self.run(at, n, pause, Aim::Small);
            }
            Kind::RoleAbuse => {
                let (n, pause) = (self.whole((6.0, 40.0)), self.pause((1.0 * S, 40.0 * S)));
                self.run(at, n, pause, Aim::Abuse);
            }
            Kind::SlowAndLow => self.slowly(at),
            _ => {
                let (n, pause) = (self.whole((10.0, 70.0)), self.pause((0.8 * S, 15.0 * S)));
                self.run(at, n, pause, Aim::Look);
            }
        }
    }

    /// A few requests an hour, for days.
    fn slowly(&mut self, at: u64) {
        let aim = if self.pen.random.chance(0.6) { Aim::Walk } else { Aim::Small };
        let days = self.pen.random.between((3.0, 5.5));
        let an_hour = self.pen.random.between((4.0, 16.0)) * self.push;
        let gap = HOUR as f64 / an_hour;
        // Only while the victim may be awake, or round the clock.
        let hours = if self.pen.random.chance(0.5) { 12.0 } else { 24.0 };
        let mut now = at as f64;
        while now < at as f64 + days * DAY as f64 {
            if (now - at as f64) / HOUR as f64 % 24.0 < hours {
                self.run(now as u64, 1, 1.0, aim);
            }
            now += self.pen.random.about(gap, 0.4);
        }
    }
}

/// When it begins: amid what the victim does that day, else at some hour. Travel is impossible
/// only where the traveller was a while ago, so that waits for a day on which the victim is there.
fn start(pen: &mut Pen<'_>, subject: &Subject, plan: Plan) -> Option<u64> {
    let own = |e: &&Event| u64::from(e.subject) == subject.number;
    let times: Vec<u64> =
        pen.events.iter().rev().take_while(own).map(|e| e.request.at_ms).collect();
    let morning = pen.start_ms + u64::from(plan.day) * DAY;
    let of_day = |morning: u64| -> Vec<u64> {
        times.iter().copied().filter(|at| (morning..morning + DAY).contains(at)).collect()
    };
    let mut mine = of_day(morning);
    if mine.is_empty() && plan.kind == Kind::ImpossibleTravel {
        let next = times.iter().copied().filter(|at| *at >= morning).min()?;
        mine = of_day(next - (next - pen.start_ms) % DAY);
    }
    Some(if mine.is_empty() { morning + pen.random.bits() % DAY } else { *pen.random.pick(&mine) })
}

/// Writes the requests of an attack and notes it.
pub(super) fn carry_out(
    pen: &mut Pen<'_>,
    victim: Victim<'_>,
    plan: Plan,
    push: f64,
    episodes: &mut Vec<Episode>,
) {
    let Some(begins) = start(pen, victim.subject, plan) else { return };
    let push = push * pen.random.between((0.8, 1.25));
    let from = From {
        network: victim.subject.networks[0].0,
        client: 0,
        session: pen.random.bits(),
        device: 0,
        token: TokenFrom::Stolen(Held { fingerprint: 0, issued: 0, expires: 0, used: false }),
        label: Label::Usual,
    };
    let (person, subject) = (victim.subject.who.is_person(), plan.subject);
    let episode = episodes.len() as u32;
    let jitter = pen.random.between((0.05, 1.3));
    let in_pages = pen.random.chance(0.5);
    let mine =
        pen.events.iter().rev().take_while(|e| u64::from(e.subject) == victim.subject.number);
    let (mut bytes, mut days) = (0, std::collections::HashSet::new());
    for event in mine {
        bytes += event.answer.bytes;
        days.insert(event.request.at_ms / DAY);
    }
    let usual_day = bytes as f64 / days.len().max(1) as f64;
    let mut attack = Attack {
        pen,
        victim,
        from,
        episode,
        push,
        route: None,
        cursor: 0,
        step: 1,
        last: None,
        jitter,
        in_pages,
        usual_day,
        large: 1.0,
        span: None,
    };
    let minutes = |random: &mut Random, range| (random.between(range) * MINUTE as f64) as u64;
    let careful: &[Use] =
        if person { &[Use::Home, Use::Mobile, Use::Hotel] } else { &[Use::Hosting] };
    let any: &[Use] = &[Use::Home, Use::Hosting, Use::Hosting, Use::Vpn, Use::Tor, Use::Mobile];
    let world = (0.0, f64::MAX);
    match plan.kind {
        Kind::ImpossibleTravel => {
            attack.thief(&[Use::Home, Use::Hosting, Use::Hotel], (2_500.0, f64::MAX), 0.5);
            let later = minutes(&mut attack.pen.random, (3.0, 75.0));
            attack.loot(begins + later, Kind::ImpossibleTravel);
        }
        Kind::StolenToken => {
            attack.thief(any, world, 0.0);
            let later = minutes(&mut attack.pen.random, (0.2, 20.0));
            attack.loot(begins + later, Kind::StolenToken);
        }
        Kind::CarefulTheft => {
            attack.thief(careful, (0.0, 700.0), 1.0);
            if attack.pen.random.chance(0.15) {
                // In the same carrier's network, or behind the same provider.
                attack.from.network = attack.victim.subject.network(&mut attack.pen.random);
            }
            let later = minutes(&mut attack.pen.random, (0.2, 60.0));
            let (n, pause) = (attack.whole((15.0, 60.0)), attack.pause((2_000.0, 15_000.0)));
            let at = attack.run(begins + later, n, pause, Aim::Look);
            // Comes to look, stays for more.
            let aim = if attack.pen.random.chance(0.5) { Aim::Small } else { Aim::Walk };
            if attack.pen.random.chance(0.7) {
                let n = attack.whole((5.0, 40.0));
                attack.run(at, n, pause, aim);
            }
        }
        Kind::Mixed => {
            if attack.pen.random.chance(0.5) {
                attack.thief(any, world, 0.5);
            } else {
                attack.thief(careful, (0.0, 700.0), 1.0);
            }
            let n = attack.whole((4.0, 20.0));
            let at = attack.run(begins + MINUTE, n, 4_000.0, Aim::Look);
            let kinds = [
                Kind::Scraping,
                Kind::ObjectWalking,
                Kind::LargeExfiltration,
                Kind::SmallExfiltration,
                Kind::RoleAbuse,
            ];
            let kind = *attack.pen.random.pick(&kinds);
            attack.push *= 0.6;
            attack.loot(at, kind);
        }
        kind => {
            match attack.pen.random.below(4) {
                0 => attack.thief(any, world, 0.3),
                1 => attack.thief(careful, (0.0, 700.0), 1.0),
                _ => attack.inside(),
            }
            let later = minutes(&mut attack.pen.random, (0.2, 240.0));
            attack.loot(begins + later, kind);
        }
    }
    if let Some((from_ms, to_ms)) = attack.span {
        episodes.push(Episode { kind: plan.kind, subject, from_ms, to_ms });
    }
}
