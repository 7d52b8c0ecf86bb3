//! What is usual for a route, for peers, for an issuer, and which networks the host knows.
//!
//! Many subjects teach these, and each only so much: an hour of a subject counts once for a
//! group, a route, a network, whatever it does in the hour.

use super::{
    distinct::Few,
    table::Table,
    usual::{Pace, Usual, Weight},
    wire::wire,
};

/// Subject-hours of a group before it is held against.
pub const PEER_HOURS: f32 = 32.0;

/// Hours that peers have closed, or answers of a route, before they are held against.
pub const ENOUGH_TO_COMPARE: u32 = 16;

/// Sequences from a route before what follows is surprising.
pub const ENOUGH_SEQUENCES: f32 = 16.0;

/// Hours that the host has been watched before a network is new to it.
pub const HOST_HOURS: u32 = 24;

/// Requests of a subject in an hour from which sequences, and routes that are yet unknown, learn.
pub(super) const TEACH_AN_HOUR: u32 = 64;

/// The lifetimes of an issuer's tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Issuer {
    lifetime: Usual,
    tokens: u32,
}

wire!(Issuer { lifetime: Usual, tokens: u32 });

impl Issuer {
    /// How unusual a lifetime is, on the scale of log2; learned from each token once.
    pub(super) fn see(&mut self, lifetime: f32, first_use: bool) -> Option<f32> {
        let sure = self.tokens >= super::usual::WARM;
        let z = self.lifetime.z(lifetime).filter(|_| sure);
        if first_use {
            self.lifetime.learn(lifetime, self.tokens, Pace::SHARED);
            self.tokens = self.tokens.saturating_add(1);
        }
        z
    }
}

/// Subjects with a role, at a service.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Peers {
    /// Hours of subjects.
    pub(super) present: Weight,
    closed: u32,
    pub(super) requests: Usual,
    pub(super) objects: Usual,
    pub(super) bytes: Usual,
}

wire!(Peers { present: Weight, closed: u32, requests: Usual, objects: Usual, bytes: Usual });

impl Peers {
    /// An hour of one of them is over.
    pub(super) fn learn(&mut self, hour: &super::subject::Hour) {
        for (usual, count) in [
            (&mut self.requests, hour.requests),
            (&mut self.objects, hour.objects),
            (&mut self.bytes, hour.bytes),
        ] {
            usual.learn(super::math::log2_1p(count), self.closed, Pace::SHARED);
        }
        self.closed = self.closed.saturating_add(1);
    }

    /// Whether there was enough of them.
    pub(super) const fn is_warm(&self) -> bool {
        self.closed >= ENOUGH_TO_COMPARE
    }
}

/// A route, for anybody.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct RouteUse {
    /// Hours of subjects.
    pub(super) used: Weight,
    pub(super) latency: Usual,
    pub(super) answer: Usual,
    pub(super) request: Usual,
    pub(super) requests: u32,
    pub(super) answers: u32,
}

wire!(RouteUse {
    used: Weight,
    latency: Usual,
    answer: Usual,
    request: Usual,
    requests: u32,
    answers: u32
});

/// A network, for anybody.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Network {
    pub(super) first_hour: u32,
    /// Hours of subjects.
    pub(super) used: Weight,
}

wire!(Network { first_hour: u32, used: Weight });

/// An address and who came from it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Address {
    hour: u32,
    subjects: Few<2>,
}

wire!(Address { hour: u32, subjects: Few<2> });

impl Address {
    /// A subject comes from it; how many did in the last hour, of which `past` lies in this one.
    pub(super) fn see(&mut self, subject: u64, hour: u32, past: f32) -> f32 {
        if hour > self.hour {
            self.subjects.roll((hour - self.hour).into());
            self.hour = hour;
        }
        self.subjects.add(subject);
        self.subjects.last(past)
    }

    /// One that was never seen.
    pub(super) fn new(hour: u32) -> Self {
        Self { hour, subjects: Few::default() }
    }
}

/// How many of each kind are kept. What is over it makes room by age, and is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Subjects, some 515 bytes each.
    pub subjects: usize,
    /// Issuers.
    pub issuers: usize,
    /// Roles at services, and services.
    pub peers: usize,
    /// Routes.
    pub routes: usize,
    /// Routes that a role uses.
    pub peer_routes: usize,
    /// Routes, and routes that follow on a route.
    pub sequences: usize,
    /// Networks of clients.
    pub networks: usize,
    /// Addresses of clients.
    pub addresses: usize,
}

impl Default for Limits {
    /// A million subjects; of the rest what the largest hosts have, some 15 MiB in all.
    fn default() -> Self {
        Self {
            subjects: 1_000_000,
            issuers: 1024,
            peers: 4096,
            routes: 16_384,
            peer_routes: 65_536,
            sequences: 65_536,
            networks: 32_768,
            addresses: 32_768,
        }
    }
}

/// How many entries there are, or were forgotten to make room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Subjects.
    pub subjects: u64,
    /// Issuers.
    pub issuers: u64,
    /// Roles at services, and services.
    pub peers: u64,
    /// Routes.
    pub routes: u64,
    /// Routes that a role uses.
    pub peer_routes: u64,
    /// Routes, and routes that follow on a route.
    pub sequences: u64,
    /// Networks of clients.
    pub networks: u64,
    /// Addresses of clients.
    pub addresses: u64,
}

/// What subjects share.
pub(super) struct Shared {
    pub(super) issuers: Table<Issuer>,
    pub(super) peers: Table<Peers>,
    pub(super) routes: Table<RouteUse>,
    pub(super) peer_routes: Table<Weight>,
    pub(super) sequences: Table<Weight>,
    pub(super) networks: Table<Network>,
    pub(super) addresses: Table<Address>,
}

impl Shared {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            issuers: Table::new(limits.issuers),
            peers: Table::new(limits.peers),
            routes: Table::new(limits.routes),
            peer_routes: Table::new(limits.peer_routes),
            sequences: Table::new(limits.sequences),
            networks: Table::new(limits.networks),
            addresses: Table::new(limits.addresses),
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.issuers.heap_bytes()
            + self.peers.heap_bytes()
            + self.routes.heap_bytes()
            + self.peer_routes.heap_bytes()
            + self.sequences.heap_bytes()
            + self.networks.heap_bytes()
            + self.addresses.heap_bytes()
    }
}
