//! What worlds are drawn from: one set of ranges to train on, another to test on. They overlap
//! little on purpose: a figure on test worlds is one on worlds unlike any in training.

/// Ranges of a world's parameters, both ends included.
#[derive(Clone, Debug)]
pub(crate) struct Ranges {
    /// Subjects of a world.
    pub(crate) subjects: (usize, usize),
    /// Days that a world runs.
    pub(crate) days: u32,
    /// Days without attacks at the start, in which profiles learn.
    pub(crate) quiet: u32,
    pub(crate) services: (usize, usize),
    pub(crate) roles: (usize, usize),
    /// Lifetimes of tokens that issuers choose from, seconds.
    pub(crate) lifetimes: &'static [i64],
    /// Shares of the kinds of subjects, to be weighed against each other: office workers,
    /// consumers, shift workers, service accounts, batch jobs, crawlers.
    pub(crate) kinds: [(f64, f64); 6],
    /// Sessions of a person a day.
    pub(crate) sessions: (f64, f64),
    /// Requests of a person's session.
    pub(crate) requests: (f64, f64),
    /// Requests of a service account a day.
    pub(crate) service_rate: (f64, f64),
    /// Shares of subjects that come through VPNs, relays, two address families.
    pub(crate) vpn: (f64, f64),
    /// Benign oddities a subject and day.
    pub(crate) oddities: (f64, f64),
    /// Attack episodes a subject and world.
    pub(crate) attacks: (f64, f64),
    /// How hard attackers push, against what [`super::attacks`] says: below 1 is gentler.
    pub(crate) push: (f64, f64),
    /// Share of worlds without location databases.
    pub(crate) no_geo: f64,
}

/// What training worlds are drawn from.
pub(crate) const TRAIN: Ranges = Ranges {
    subjects: (70, 150),
    days: 21,
    quiet: 8,
    services: (2, 6),
    roles: (2, 5),
    lifetimes: &[300, 900, 3_600, 28_800],
    kinds: [(0.3, 0.6), (0.2, 0.5), (0.03, 0.1), (0.04, 0.08), (0.02, 0.05), (0.01, 0.02)],
    sessions: (2.0, 5.0),
    requests: (8.0, 30.0),
    service_rate: (150.0, 900.0),
    vpn: (0.1, 0.4),
    oddities: (0.03, 0.08),
    attacks: (0.25, 0.6),
    push: (0.6, 1.6),
    no_geo: 0.2,
};

/// What worlds to calibrate on are drawn from: as to train on, but so long that most profiles are some
/// weeks old, as on a host that has been watched for a while.
pub(crate) const SETTLED: Ranges = Ranges { days: 26, quiet: 10, ..TRAIN };

/// What worlds to test on are drawn from.
pub(crate) const TEST: Ranges = Ranges {
    subjects: (120, 260),
    days: 26,
    quiet: 10,
    services: (3, 8),
    roles: (3, 7),
    lifetimes: &[600, 1_800, 7_200, 43_200],
    kinds: [(0.2, 0.5), (0.3, 0.6), (0.05, 0.15), (0.03, 0.06), (0.01, 0.04), (0.005, 0.02)],
    sessions: (1.5, 6.0),
    requests: (6.0, 40.0),
    service_rate: (100.0, 1_300.0),
    vpn: (0.05, 0.5),
    oddities: (0.02, 0.06),
    attacks: (0.15, 0.4),
    push: (0.7, 1.4),
    no_geo: 0.1,
};
