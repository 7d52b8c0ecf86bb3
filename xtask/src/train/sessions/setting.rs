//! The services of a generated world: routes, who may use them, and what they answer.

use jotwatch_models::{behaviour::Route as Object, train::Random};

use super::ranges::Ranges;

/// What a route does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Does {
    /// A page of many objects.
    List,
    /// One object.
    Read,
    /// Changes one object.
    Write,
    /// Hands out much at once.
    Export,
    /// Runs the service: users, keys, settings.
    Admin,
    /// The same for everyone: settings, health, the own profile.
    Plain,
}

/// How a collection names its objects.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ids {
    /// Counted up from a first one.
    Counted(u64),
    /// Not to be guessed.
    Random(u64),
}

/// Objects that several routes are about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Collection {
    pub(super) ids: Ids,
    pub(super) size: u64,
    /// Whether the service checks whose object it is: a walk gets 403 and 404.
    pub(super) guarded: bool,
}

impl Collection {
    /// The `n`th object's id.
    pub(super) fn id(&self, n: u64) -> u64 {
        match self.ids {
            Ids::Counted(first) => first + n,
            Ids::Random(key) => Random::new(key.wrapping_add(n)).bits() | Object::OPAQUE,
        }
    }
}

/// A route.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) template: u64,
    pub(super) service: u64,
    pub(super) does: Does,
    /// Place of the collection; none for routes without an object in the path.
    pub(super) collection: Option<usize>,
    /// Median latency, µs, and bytes of an answer; deviation of their logarithms.
    pub(super) latency: f64,
    pub(super) bytes: f64,
    pub(super) spread: f64,
    /// Bytes of a request.
    pub(super) sent: f64,
    /// Share of requests that the payload model finds a little odd.
    pub(super) odd: f64,
    /// What scopes it needs is written down wrongly: nobody's token covers it.
    pub(super) misdeclared: bool,
    /// The day it is first there: 0, or later, when a new version comes.
    pub(super) since: u32,
}

/// A role: what its holders use, and how often.
#[derive(Clone, Debug)]
pub(super) struct Role {
    pub(super) id: u64,
    /// Routes with their weights, heaviest first.
    pub(super) uses: Vec<(usize, f64)>,
    /// Routes that follow each of `uses`, by place.
    pub(super) follow: Vec<[usize; 3]>,
}

/// An issuer of tokens.
#[derive(Clone, Debug)]
pub(super) struct Issuer {
    pub(super) id: u64,
    /// Usual lifetime of a token, seconds.
    pub(super) lifetime: i64,
    /// Whether its tokens say when they were issued, and when they end.
    pub(super) says_issued: bool,
    pub(super) says_expiry: bool,
}

/// All that stands still in a world.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) routes: Vec<Route>,
    pub(super) collections: Vec<Collection>,
    pub(super) roles: Vec<Role>,
    pub(super) issuers: Vec<Issuer>,
    pub(super) geo: bool,
    pub(super) says_role: bool,
    pub(super) says_scope: bool,
    pub(super) scores_payload: bool,
    /// A finding that every token of the first issuer has, by place of its severity.
    pub(super) standing_finding: Option<usize>,
}

/// A Zipf-like weight of the `n`th.
fn weight(n: usize, random: &mut Random) -> f64 {
    random.about(1.0 / (n as f64 + 1.0), 0.5)
}

impl Setting {
    pub(super) fn new(ranges: &Ranges, random: &mut Random) -> Self {
        let (mut routes, mut collections) = (Vec::new(), Vec::new());
        for _ in 0..random.whole(ranges.services) {
            service(ranges, random, &mut routes, &mut collections);
        }
        let roles = (0..random.whole(ranges.roles)).map(|n| role(n, &routes, random)).collect();
        let issuers = (0..random.whole((1, 3)))
            .map(|_| Issuer {
                id: random.bits(),
                lifetime: *random.pick(ranges.lifetimes),
                says_issued: random.chance(0.9),
                says_expiry: random.chance(0.95),
            })
            .collect();
        Self {
            routes,
            collections,
            roles,
            issuers,
            geo: true,
            says_role: random.chance(0.8),
            says_scope: random.chance(0.6),
            scores_payload: random.chance(0.85),
            standing_finding: random.chance(0.3).then(|| random.below(3)),
        }
    }

    /// Whether holders of `role` use `route`.
    pub(super) fn is_used(&self, role: usize, route: usize) -> bool {
        self.roles[role].uses.iter().any(|(r, _)| *r == route)
    }
}

fn service(
    ranges: &Ranges,
    random: &mut Random,
    routes: &mut Vec<Route>,
    collections: &mut Vec<Collection>,
) {
    let service = random.bits();
    let newest = ranges.days as usize;
    let first = collections.len();
    for _ in 0..random.whole((1, 4)) {
        let ids = if random.chance(0.6) {
            Ids::Counted(random.bits() % 50_000_000)
        } else {
            Ids::Random(random.bits())
        };
        let size = random.about(20_000.0, 1.2) as u64 + 2_000;
        collections.push(Collection { ids, size, guarded: random.chance(0.5) });
    }
    let mut add = |random: &mut Random, does: Does, collection: Option<usize>| {
        let (latency, bytes) = match does {
            Does::Plain => (3_000.0, 600.0),
            Does::Read => (8_000.0, 2_000.0),
            Does::Write => (20_000.0, 400.0),
            Does::List => (30_000.0, 15_000.0),
            Does::Export => (400_000.0, 500_000.0),
            Does::Admin => (15_000.0, 3_000.0),
        };
        routes.push(Route {
            template: random.bits(),
            service,
            does,
            collection,
            latency: random.about(latency, 0.6),
            bytes: random.about(bytes, 0.7),
            spread: random.between((0.1, 0.6)),
            sent: if does == Does::Write {
                random.about(1_500.0, 0.7)
            } else {
                random.about(600.0, 0.2)
            },
            odd: if random.chance(0.2) { random.between((0.005, 0.05)) } else { 0.001 },
            misdeclared: random.chance(0.03),
            since: if random.chance(0.06) { random.below(newest) as u32 } else { 0 },
        });
    };
    for collection in first..collections.len() {
        add(random, Does::List, None);
        for _ in 0..random.whole((1, 4)) {
            add(random, Does::Read, Some(collection));
        }
        for _ in 0..random.whole((0, 2)) {
            add(random, Does::Write, Some(collection));
        }
        if random.chance(0.5) {
            let of_one = random.chance(0.5).then_some(collection);
            add(random, Does::Export, of_one);
        }
    }
    for _ in 0..random.whole((2, 5)) {
        add(random, Does::Plain, None);
    }
    for _ in 0..random.whole((1, 4)) {
        let about = random.chance(0.5).then_some(first);
        add(random, Does::Admin, about);
    }
}

/// The `n`th role; the last of a world's may do what the others may not.
fn role(n: usize, routes: &[Route], random: &mut Random) -> Role {
    let runs_it = n == 0;
    let mut uses: Vec<(usize, f64)> = Vec::new();
    for (place, route) in routes.iter().enumerate() {
        let share = match route.does {
            Does::Plain => 0.8,
            Does::List | Does::Read => 0.55,
            Does::Write => 0.4,
            Does::Export => 0.3,
            Does::Admin => 0.0,
        };
        if random.chance(share) || (runs_it && random.chance(0.7)) {
            uses.push((place, 0.0));
        }
    }
    if uses.is_empty() {
        uses.push((0, 0.0));
    }
    // An order of its own, so that no route is the popular one everywhere.
    for at in (1..uses.len()).rev() {
        uses.swap(at, random.below(at + 1));
    }
    for (at, used) in uses.iter_mut().enumerate() {
        let rare = match routes[used.0].does {
            Does::Export => 0.05,
            Does::Admin => 0.2,
            Does::Write => 0.5,
            _ => 1.0,
        };
        used.1 = weight(at, random) * rare;
    }
    uses.sort_by(|a, b| b.1.total_cmp(&a.1));
    let follow = uses
        .iter()
        .map(|_| {
            let mut next = || random.below(uses.len().min(12));
            [next(), next(), next()]
        })
        .collect();
    Role { id: random.bits(), uses, follow }
}
