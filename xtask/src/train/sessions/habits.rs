//! What subjects do every day.

use super::{
    Act, DAY, From, HOUR, Label, MINUTE, Pen, SECOND, TokenFrom,
    oddities::{self, Oddity, Whereabouts},
    places::Network,
    setting::Does,
    subjects::{Agents, Held, Shared, Subject, Who},
};

/// What days are made of.
pub(super) struct Context<'w> {
    pub(super) shared: &'w Shared,
    pub(super) agents: &'w Agents,
    /// Oddities a subject and day.
    pub(super) odd: f64,
    pub(super) days: u32,
}

/// How a day differs from others.
#[derive(Clone, Copy, Default)]
pub(super) struct Today {
    pub(super) label: Option<Oddity>,
    pub(super) network: Option<Network>,
    pub(super) device: Option<u64>,
    /// Hour around which an extra session begins, with so many times the usual requests.
    pub(super) extra: Option<(f64, f64)>,
    /// Share of requests that fail and are tried again.
    pub(super) failing: f64,
    /// First hour of the day that the differences hold from.
    pub(super) from_hour: f64,
}

/// Lives through all days; returns every token that was made.
pub(super) fn live(pen: &mut Pen<'_>, subject: &mut Subject, context: &Context<'_>) -> Vec<Held> {
    pen.minted.clear();
    for day in 0..context.days {
        let today = oddities::of_day(pen, subject, context, day);
        if !subject.is_there(day) {
            continue;
        }
        match subject.who {
            Who::Office | Who::Consumer | Who::Shift => person(pen, subject, day, &today),
            Who::Service => service(pen, subject, day, &today),
            Who::Batch => batch(pen, subject, day, &today),
            Who::Crawler => crawler(pen, subject, day, &today),
        }
    }
    std::mem::take(&mut pen.minted)
}

/// Milliseconds of `hour` (local, may lie outside 0..24) on `day`.
fn moment(pen: &Pen<'_>, day: u32, hour: f64, clock: i64) -> u64 {
    let at = pen.start_ms as f64 + f64::from(day) * DAY as f64 + hour * HOUR as f64;
    (at - clock as f64 * MINUTE as f64).max(pen.start_ms as f64) as u64
}

fn label(today: &Today) -> Label {
    today.label.map_or(Label::Usual, Label::Odd)
}

/// Day of the week, Monday is 0.
fn weekday(pen: &Pen<'_>, day: u32) -> u64 {
    (pen.start_ms / DAY + 3 + u64::from(day)) % 7
}

fn person(pen: &mut Pen<'_>, subject: &mut Subject, day: u32, today: &Today) {
    let weekend = weekday(pen, day) >= 5;
    let there = match subject.who {
        Who::Office if weekend => 0.06,
        Who::Office => 0.95,
        Who::Shift => 0.7,
        _ => 0.8,
    };
    let noon = moment(pen, day, 12.0, subject.clock());
    let clock = match subject.trip {
        Some(trip) if trip.at(noon) == Whereabouts::There => trip.clock,
        _ => subject.clock(),
    };
    if pen.random.chance(there) {
        let sessions = pen.random.count(subject.sessions).max(1);
        for _ in 0..sessions {
            let hour = match subject.who {
                Who::Office => subject.hour + 1.5 + pen.random.normal() * 2.2,
                Who::Shift => {
                    // Early, late and night by week.
                    let week = (u64::from(day) / 7 + subject.number) % 3;
                    [6.0, 14.0, 22.0][week as usize] + pen.random.unit() * 8.0
                }
                _ if pen.random.chance(0.7) => subject.hour + pen.random.normal() * 2.0,
                _ => 8.0 + pen.random.unit() * 15.0,
            };
            let requests = pen.random.about(subject.requests, 0.6) as usize + 1;
            let odd = if hour >= today.from_hour { *today } else { Today::default() };
            session(pen, subject, moment(pen, day, hour, clock), requests, &odd);
        }
    }
    if let Some((hour, times)) = today.extra {
        let requests = (pen.random.about(subject.requests, 0.3) * times) as usize + 2;
        let at = moment(pen, day, hour, clock);
        session(pen, subject, at, requests, today);
        let is_home = subject.trip.is_none_or(|t| t.at(at) == Whereabouts::Home);
        match today.label {
            Some(Oddity::Sync) if is_home => sync(pen, subject, at + 20 * MINUTE, today),
            Some(Oddity::Script) if is_home => script(pen, subject, at + 20 * MINUTE, today),
            Some(Oddity::Stray) if is_home => stray(pen, subject, at + 20 * MINUTE, today),
            _ => {}
        }
    }
}

/// Fetches all of the subject's own objects of one kind.
fn sync(pen: &mut Pen<'_>, subject: &mut Subject, mut at: u64, today: &Today) {
    let from = from(pen, subject, today);
    let role = &pen.setting.roles[subject.role];
    let reads = subject.favourites.iter().map(|f| role.uses[*f].0).find_map(|r| {
        let route = &pen.setting.routes[r];
        (route.does == Does::Read).then_some((r, route.collection?))
    });
    let Some((route, collection)) = reads else { return };
    let size = pen.setting.collections[collection].size;
    for k in 0..subject.own.min(250) {
        let object = Some(subject.own_object(collection, size, k));
        let status = if pen.random.chance(0.05) { 404 } else { 200 };
        pen.write(subject, at, Act { route, object, status, bytes: 1.0, slow: 1.0 }, &from);
        at += pen.random.about(150.0, 0.6) as u64;
    }
}

/// Tries a few routes that are not the role's.
fn stray(pen: &mut Pen<'_>, subject: &mut Subject, mut at: u64, today: &Today) {
    let from = from(pen, subject, today);
    for _ in 0..pen.random.whole((1, 4)) {
        let route = pen.random.below(pen.setting.routes.len());
        if pen.setting.is_used(subject.role, route) {
            continue;
        }
        let status = *pen.random.pick(&[403, 403, 403, 404, 200]);
        let act = Act { status, ..pen.act(subject, route) };
        pen.write(subject, at, act, &from);
        at += (pen.random.about(subject.think, 0.8) * SECOND as f64) as u64;
    }
}

/// From where a session of a person comes.
fn from(pen: &mut Pen<'_>, subject: &mut Subject, today: &Today) -> From {
    subject.nth += 1;
    let network = today.network.unwrap_or_else(|| subject.network(&mut pen.random));
    let slot = match pen.random.chance(0.75) {
        true => 0,
        false => pen.random.below(subject.devices.len()),
    };
    let slot = slot.min(subject.tokens.len() - 1);
    From {
        network,
        client: subject.number,
        session: subject.nth,
        device: today.device.unwrap_or(subject.devices[slot.min(subject.devices.len() - 1)]),
        token: TokenFrom::Slot(slot),
        label: label(today),
    }
}

/// One session of a person: pages, and between them thought.
pub(super) fn session(
    pen: &mut Pen<'_>,
    subject: &mut Subject,
    start: u64,
    requests: usize,
    today: &Today,
) {
    let day = pen.day(start);
    let mut today = *today;
    if let Some(trip) = subject.trip {
        let whereabouts = trip.at(start);
        if whereabouts != Whereabouts::Home {
            today.label = today.label.or(Some(Oddity::Trip));
        }
        match whereabouts {
            Whereabouts::Under => return,
            Whereabouts::There => {
                let hotel = pen.random.chance(0.6);
                today.network = Some(if hotel { trip.hotel } else { trip.mobile });
            }
            Whereabouts::Home | Whereabouts::Returned => {}
        }
    }
    let today = &today;
    let mut from = from(pen, subject, today);
    let exports = today.label == Some(Oddity::Export);
    let mut at = start;
    let mut last = None;
    let mut left = requests;
    let mut page = 0;
    while left > 0 {
        let (place, route) = pen.next_route(subject, last, day);
        last = Some(place);
        let mut act = pen.act(subject, route);
        if exports {
            act = export(pen, subject, act, left as u64);
        }
        left -= 1;
        if late(pen, subject, &from, at) {
            pen.write(subject, at, Act { status: 401, bytes: 0.1, ..act }, &from);
            subject_forgets(subject, &from);
            at += pen.random.about(300.0, 0.4) as u64;
        }
        if pen.random.chance(today.failing) {
            for _ in 0..pen.random.whole((1, 5)) {
                let status = *pen.random.pick(&[500, 502, 503, 429]);
                pen.write(subject, at, Act { status, bytes: 0.1, slow: 4.0, ..act }, &from);
                at += pen.random.about(900.0, 0.8) as u64;
            }
        }
        pen.write(subject, at, act, &from);
        // A page asks for several things at once.
        if page == 0 {
            page = pen.random.below(5);
            let think = if exports { 1.0 } else { subject.think };
            at += (pen.random.about(think, 0.9) * SECOND as f64) as u64 + 80;
            // Phones change networks in mid-session.
            if today.network.is_none() && pen.random.chance(0.004) {
                from.network = subject.network(&mut pen.random);
            }
        } else {
            page -= 1;
            at += pen.random.about(120.0, 0.6) as u64;
        }
    }
    let (period, often) = subject.polls;
    if pen.random.chance(often) {
        poll(pen, subject, at, period, &from);
    }
}

/// What an application asks for over and over while nobody looks.
fn poll(pen: &mut Pen<'_>, subject: &mut Subject, mut at: u64, period: f64, from: &From) {
    let role = &pen.setting.roles[subject.role];
    let wanted = |r: &usize| matches!(pen.setting.routes[*r].does, Does::Plain | Does::List);
    let Some(route) = subject.favourites.iter().map(|f| role.uses[*f].0).find(wanted) else {
        return;
    };
    for _ in 0..pen.random.whole((5, 40)) {
        at += (period * SECOND as f64 * pen.random.between((0.97, 1.03))) as u64;
        let act = pen.act(subject, route);
        pen.write(subject, at, act, from);
    }
}

/// Asks for one's own objects with a tool, at a machine's pace.
fn script(pen: &mut Pen<'_>, subject: &mut Subject, mut at: u64, today: &Today) {
    let from = from(pen, subject, today);
    let pause = pen.random.between((200.0, 8_000.0));
    let spread = pen.random.between((0.02, 0.6));
    for _ in 0..pen.random.whole((15, 150)) {
        let place = subject.favourites[pen.random.below(subject.favourites.len().min(4))];
        let route = pen.setting.roles[subject.role].uses[place].0;
        let act = pen.act(subject, route);
        pen.write(subject, at, act, &from);
        at += pen.random.about(pause, spread) as u64 + 5;
    }
}

/// What an export by right does: objects in a row, and a few large answers at the end.
fn export(pen: &mut Pen<'_>, subject: &Subject, act: Act, left: u64) -> Act {
    let role = &pen.setting.roles[subject.role];
    let route = subject
        .favourites
        .iter()
        .map(|f| role.uses[*f].0)
        .find(|r| matches!(pen.setting.routes[*r].does, Does::Export | Does::List));
    match (route, act.object) {
        (Some(route), _) if left < 4 => {
            let object = pen.setting.routes[route].collection.map(|c| {
                subject.own_object(c, pen.setting.collections[c].size, left % subject.own.max(1))
            });
            Act { route, object, status: 200, bytes: pen.random.between((1.0, 3.0)), slow: 1.3 }
        }
        (_, Some(_)) => {
            // One's own objects, one after another.
            let collection = pen.setting.routes[act.route].collection.unwrap_or(0);
            let size = pen.setting.collections[collection].size;
            let object = Some(subject.own_object(collection, size, left % subject.own.max(1)));
            Act { object, status: 200, ..act }
        }
        _ => act,
    }
}

/// Whether the token has run out unnoticed.
fn late(pen: &mut Pen<'_>, subject: &Subject, from: &From, at: u64) -> bool {
    let TokenFrom::Slot(slot) = from.token else { return false };
    subject.tokens[slot].is_some_and(|t| t.expires < (at / 1000) as i64 && t.used)
        && pen.random.chance(0.1)
}

/// The token in use is thrown away, so that the next request has a new one.
fn subject_forgets(subject: &mut Subject, from: &From) {
    if let TokenFrom::Slot(slot) = from.token {
        subject.tokens[slot] = None;
    }
}

/// A route of a machine's few.
fn task(pen: &mut Pen<'_>, subject: &Subject) -> Act {
    let role = &pen.setting.roles[subject.role];
    let place = subject.favourites[pen.random.below(subject.favourites.len())];
    let route = role.uses[place].0;
    let mut act = pen.act(subject, route);
    if let Some(collection) = pen.setting.routes[route].collection {
        act.object = Some(pen.random.bits() % pen.setting.collections[collection].size);
    }
    act
}

fn machine(subject: &Subject, instance: usize, today: &Today) -> From {
    // Instances share a token, or have one each.
    let own = subject.number.is_multiple_of(2);
    From {
        network: today.network.unwrap_or(subject.networks[instance % subject.networks.len()].0),
        client: subject.number.wrapping_mul(17) + instance as u64,
        session: 0,
        device: today.device.unwrap_or(subject.devices[0]),
        token: TokenFrom::Slot(if own { instance % subject.tokens.len() } else { 0 }),
        label: label(today),
    }
}

fn service(pen: &mut Pen<'_>, subject: &mut Subject, day: u32, today: &Today) {
    let instances = subject.tokens.len();
    let times = today.extra.map_or(1.0, |(_, times)| times.min(4.0));
    let mean = DAY as f64 / (subject.requests * times);
    let mut at = moment(pen, day, 0.0, 0) as f64 + pen.random.unit() * mean;
    let end = moment(pen, day + 1, 0.0, 0) as f64;
    let mut instance = 0;
    while at < end {
        let from = machine(subject, instance, today);
        let act = task(pen, subject);
        let moment = at as u64;
        if late(pen, subject, &from, moment) {
            pen.write(subject, moment, Act { status: 401, bytes: 0.1, ..act }, &from);
            subject_forgets(subject, &from);
            at += 400.0;
        }
        if pen.random.chance(today.failing) {
            let status = *pen.random.pick(&[502, 503, 504]);
            pen.write(subject, moment, Act { status, bytes: 0.1, slow: 8.0, ..act }, &from);
            at += pen.random.about(1_000.0, 0.5);
        }
        pen.write(subject, at as u64, act, &from);
        instance = (instance + 1 + pen.random.below(2)) % instances;
        at += if subject.regular {
            mean * pen.random.between((0.9, 1.1))
        } else {
            // More by day than by night, in bursts.
            let hour = (at - pen.start_ms as f64) / HOUR as f64 % 24.0;
            let wave = 1.0 + 0.7 * ((hour - subject.hour) / 24.0 * std::f64::consts::TAU).cos();
            if pen.random.chance(0.3) {
                pen.random.between((20.0, 400.0))
            } else {
                pen.random.wait(mean * 1.4 / wave.max(0.2))
            }
        };
    }
}

fn batch(pen: &mut Pen<'_>, subject: &mut Subject, day: u32, today: &Today) {
    let from = machine(subject, 0, today);
    let late = today.extra.map_or(0.0, |(hour, _)| hour / 4.0);
    let hour = subject.hour + late + pen.random.between((0.0, 0.2));
    let mut at = moment(pen, day, hour, 0);
    let times = today.extra.map_or(1.0, |(_, times)| times.min(3.0));
    let requests = (pen.random.about(subject.requests, 0.15) * times) as usize;
    for _ in 0..requests {
        let mut act = task(pen, subject);
        if act.object.is_some() {
            subject.cursor += 1;
            let collection = pen.setting.routes[act.route].collection.unwrap_or(0);
            act.object = Some(subject.cursor % pen.setting.collections[collection].size);
            act.status = 200;
        }
        pen.write(subject, at, act, &from);
        at += pen.random.about(400.0, 0.5) as u64 + 20;
    }
}

fn crawler(pen: &mut Pen<'_>, subject: &mut Subject, day: u32, today: &Today) {
    let from = machine(subject, 0, today);
    let mean = DAY as f64 / subject.requests;
    let mut at = moment(pen, day, 0.0, 0) as f64 + pen.random.unit() * mean;
    let end = moment(pen, day + 1, 0.0, 0) as f64;
    while at < end {
        let mut act = task(pen, subject);
        if act.object.is_some() {
            subject.cursor += pen.random.below(3) as u64;
            let collection = pen.setting.routes[act.route].collection.unwrap_or(0);
            act.object = Some(subject.cursor % pen.setting.collections[collection].size);
            act.status = if pen.random.chance(0.03) { 404 } else { 200 };
        }
        pen.write(subject, at as u64, act, &from);
        at += mean * pen.random.between((0.7, 1.3));
    }
}
