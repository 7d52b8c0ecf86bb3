//! Profiles of subjects, and of what they share, against which a request is held.
//!
//! All of it is online: a request is compared with what was before it and then counted. A window
//! teaches when it is over, by a bounded step ([`usual`]): who does much at once cannot make it
//! usual. What is seen for the first time becomes familiar by the hours in which it is seen
//! ([`familiar`]), and not before the hour after. An hour of one subject counts once for its role,
//! its routes, its network ([`shared`]).
//!
//! Bounded by [`Limits`]: who was not seen for longest makes room and is counted.

mod clients;
mod distinct;
mod familiar;
mod features;
mod held;
mod math;
#[cfg(test)]
mod oracle_tests;
mod persist;
mod place;
mod rhythm;
mod shared;
mod subject;
mod table;
#[cfg(test)]
mod tests;
mod usual;
mod walk;
mod wire;

pub use persist::{LoadError, Saving, Seal};
pub use shared::{Counts, ENOUGH_SEQUENCES, ENOUGH_TO_COMPARE, HOST_HOURS, Limits, PEER_HOURS};
pub use subject::{LEARNING_DAYS, LEARNING_HOURS, LEARNING_REQUESTS, SESSION_GAP_MS};

pub(in crate::behaviour) use math::mix;

use std::net::IpAddr;

use siphasher::sip::SipHasher13;

use super::{Answer, Client, Index, Request, Vector};
use features::{Fill, Unread};
use shared::Shared;
use subject::{Step, Subject};
use table::Table;

/// The profiles of a host.
pub struct Profiles {
    limits: Limits,
    secret: [u8; 16],
    /// The hour since 1970 of the first request; none before it.
    since_hour: Option<u32>,
    subjects: Table<Subject>,
    shared: Shared,
    /// The latest clients and their hashes.
    clients: Vec<Option<KnownClient>>,
}

/// Clients whose hashes are kept, a power of two; 40 KiB of them.
const KNOWN_CLIENTS: usize = 1024;

/// What stands for a client's address, and for its network.
#[derive(Clone, Copy)]
struct KnownClient {
    address: [u8; 9],
    network: [u8; 5],
    hashes: [u64; 2],
}

impl std::fmt::Debug for Profiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Profiles({:?})", self.counts())
    }
}

/// What an answer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle {
    subject: (u32, u64),
    route: Option<(u32, u64)>,
    group: u64,
    /// The route may learn from the answer.
    teaches: bool,
    /// Nobody reads the vector.
    unread: bool,
}

/// Hashes of what a request names.
struct Names {
    subject: u64,
    address: u64,
    network: u64,
    device: u64,
    token: u64,
    route: u64,
    /// Subjects of the role, or without one, at the service.
    group: u64,
    /// All subjects at the service.
    service: u64,
}

/// What a hash is of. All are mixed once more: parts of them stand for the whole in small places.
const NO_ROLE: u64 = 1;
const SERVICE: u64 = 2;
const ROLE: u64 = 3;
const DEVICE: u64 = 4;
const TOKEN: u64 = 5;
const ROUTE: u64 = 6;

impl Profiles {
    /// Empty profiles under a secret of the installation: addresses are hashed with it.
    #[must_use]
    pub fn new(limits: Limits, secret: [u8; 16]) -> Self {
        Self {
            limits,
            secret,
            since_hour: None,
            subjects: Table::new(limits.subjects),
            shared: Shared::new(&limits),
            clients: Vec::new(),
        }
    }

    /// Compares a request with what was before it, and counts it. Fills the vector but for what
    /// its answer tells.
    ///
    /// Allocates nothing for a subject, route and client that are known.
    pub fn request(&mut self, request: &Request, vector: &mut Vector) -> Handle {
        self.request_for(request, vector, true)
    }

    /// The same for somebody who reads the vectors of those only who are past learning: of who is
    /// learning it stays absent, for the answer, too. That costs half as much.
    pub fn request_of_known(&mut self, request: &Request, vector: &mut Vector) -> Handle {
        self.request_for(request, vector, false)
    }

    fn request_for(&mut self, request: &Request, vector: &mut Vector, all: bool) -> Handle {
        vector.clear();
        let names = self.names(request);
        let hour = hour_of(request.at_ms);
        let since = *self.since_hour.get_or_insert(hour);
        let mut handle = Handle {
            subject: (0, names.subject),
            route: None,
            group: names.group,
            teaches: false,
            unread: false,
        };
        let Some((slot, subject)) =
            self.subjects.see(names.subject, || Subject::new(request.at_ms))
        else {
            return handle;
        };
        handle.subject.0 = slot;
        let step = subject.advance(request.at_ms);
        vector.learning = subject.is_learning();
        handle.unread = vector.learning && !all;
        let shared = &mut self.shared;
        let seen = Seen { request, names: &names, since, step: &step };
        if handle.unread {
            seen.compare(subject, shared, &mut handle, &mut Unread);
        } else {
            seen.compare(subject, shared, &mut handle, vector);
            vector.keep_apart_from_history();
        }
        handle
    }

    /// Completes a request's vector by its answer, and counts that. An answer whose subject was
    /// forgotten in between says what it can.
    pub fn answer(&mut self, handle: Handle, answer: &Answer, vector: &mut Vector) {
        if handle.unread {
            self.answer_for(&handle, answer, &mut Unread);
        } else {
            self.answer_for(&handle, answer, vector);
            vector.keep_apart_from_history();
        }
    }

    fn answer_for(&mut self, handle: &Handle, answer: &Answer, to: &mut impl Fill) {
        let (slot, key) = handle.subject;
        if let Some(subject) = self.subjects.at_mut(slot, key) {
            subject.answered(answer);
            features::of_answers(subject, to);
            to.set_option(Index::AnswerBytesOwn, subject.over_largest(answer));
            features::of_bytes_of_peers(subject, &self.shared, handle.group, to);
        }
        features::of_answer(&mut self.shared, handle, answer, to);
    }

    /// Forgets a subject; says whether it was known. What it taught of what subjects share stays:
    /// nothing there says whose it was. What is being saved ([`Profiles::save_piece`]) is to be begun
    /// anew.
    pub fn forget(&mut self, subject: u128) -> bool {
        self.subjects.remove(subject_key(subject))
    }

    /// How many entries there are.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let shared = &self.shared;
        Counts {
            subjects: self.subjects.len() as u64,
            issuers: shared.issuers.len() as u64,
            peers: shared.peers.len() as u64,
            routes: shared.routes.len() as u64,
            peer_routes: shared.peer_routes.len() as u64,
            sequences: shared.sequences.len() as u64,
            networks: shared.networks.len() as u64,
            addresses: shared.addresses.len() as u64,
        }
    }

    /// How many entries were forgotten to make room, since these profiles were made or loaded.
    #[must_use]
    pub fn evicted(&self) -> Counts {
        let shared = &self.shared;
        Counts {
            subjects: self.subjects.evicted,
            issuers: shared.issuers.evicted,
            peers: shared.peers.evicted,
            routes: shared.routes.evicted,
            peer_routes: shared.peer_routes.evicted,
            sequences: shared.sequences.evicted,
            networks: shared.networks.evicted,
            addresses: shared.addresses.evicted,
        }
    }

    /// Bytes that the profiles hold of the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.subjects.heap_bytes() + self.shared.heap_bytes()
    }

    /// Hashes of a client's address and network; those of the latest are kept. Whoever chooses
    /// addresses that share a place has them hashed again, no more.
    fn hashes_of(&mut self, client: &Client) -> [u64; 2] {
        let (address, network) = networks_of(client);
        if self.clients.is_empty() {
            self.clients.resize(KNOWN_CLIENTS, None);
        }
        let [_, bytes @ ..] = address;
        #[expect(clippy::cast_possible_truncation, reason = "below KNOWN_CLIENTS")]
        let at = (mix(u64::from_le_bytes(bytes), 0) % KNOWN_CLIENTS as u64) as usize;
        let known = self.clients.get(at).copied().flatten();
        match known.filter(|known| known.address == address && known.network == network) {
            Some(known) => known.hashes,
            None => {
                let hasher = SipHasher13::new_with_key(&self.secret);
                let hashes = [hasher.hash(&address), hasher.hash(&network)];
                if let Some(place) = self.clients.get_mut(at) {
                    *place = Some(KnownClient { address, network, hashes });
                }
                hashes
            }
        }
    }

    fn names(&mut self, request: &Request) -> Names {
        let [address, network] = self.hashes_of(&request.client);
        let subject = subject_key(request.subject);
        let group = match request.role {
            Some(role) => mix(mix(ROLE, role), request.service),
            None => mix(NO_ROLE, request.service),
        };
        Names {
            subject,
            address,
            network,
            device: mix(request.device, DEVICE),
            token: request.token.map_or(0, |token| mix(token.fingerprint, TOKEN)),
            route: mix(request.route.template, ROUTE),
            group,
            service: mix(SERVICE, request.service),
        }
    }
}

/// What a subject's profile stands under.
fn subject_key(subject: u128) -> u64 {
    mix(subject as u64, (subject >> 64) as u64)
}

/// A request of a subject, and what time has done to that.
struct Seen<'a> {
    request: &'a Request,
    names: &'a Names,
    /// The hour of the host's first request.
    since: u32,
    step: &'a Step,
}

impl Seen<'_> {
    /// Compares the request with what was before it, and counts it.
    fn compare(
        &self,
        subject: &mut Subject,
        shared: &mut Shared,
        handle: &mut Handle,
        to: &mut impl Fill,
    ) {
        let Self { request, names, since, step } = *self;
        features::of_token(subject, shared, request, names, to);
        features::of_client(subject, shared, request, names, since, step.interval_ms, to);
        let group = features::of_group(subject, shared, step, names, to);
        features::of_access(subject, shared, request, names, group, handle, to);
        features::of_rates(subject, step.interval_ms, to);
        features::of_answers(subject, to);
    }
}

/// The hour since 1970 in which a time lies.
fn hour_of(at_ms: u64) -> u32 {
    u32::try_from(at_ms / subject::HOUR_MS).unwrap_or(u32::MAX)
}

/// What stands for the address: an IPv4 address, or the /64 that an IPv6 host changes addresses in
/// by itself (RFC 8981); and for its network: the autonomous system, else the /16 or the /32.
fn networks_of(client: &Client) -> ([u8; 9], [u8; 5]) {
    let (address, prefix) = match client.address.to_canonical() {
        IpAddr::V4(v4) => (u64::from(v4.to_bits()), v4.to_bits() >> 16),
        IpAddr::V6(v6) => ((v6.to_bits() >> 64) as u64, (v6.to_bits() >> 96) as u32),
    };
    let family = if client.address.to_canonical().is_ipv4() { 4 } else { 6 };
    let (kind, network) = client.asn.map_or((family, prefix), |asn| (0, asn));
    (tagged(family, address.to_le_bytes()), tagged(kind, network.to_le_bytes()))
}

/// `bytes` behind a tag.
fn tagged<const N: usize, const M: usize>(tag: u8, bytes: [u8; N]) -> [u8; M] {
    let mut all = [tag; M];
    for (to, from) in all.iter_mut().skip(1).zip(bytes) {
        *to = from;
    }
    all
}
