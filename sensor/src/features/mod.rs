//! From a request to the features of the behaviour model: who asks, from where, with what, and
//! how that compares with what was before.
//!
//! [`Features`] names what a request names by hashes under the installation's secret
//! ([`names`]), and holds it against profiles (`jotwatch_models::behaviour`), which learn from it.
//!
//! There are two sets of profiles that share nothing. Subjects in the first are vouched for by a
//! good signature. In the second are all others: what a learned key verified, what no key is at
//! hand for, and what is forged. Anybody can write another's name into a token of the second
//! kind, and make up any number of names: so none of it teaches a profile of the first, or takes
//! its place.
//!
//! A request without a token has no subject and no features: an address may be that of many
//! people, and what is usual for them together is usual for nobody.
//!
//! Pure; time comes with the request.
#![forbid(unsafe_code)]

mod names;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use jotwatch_models::behaviour::{
    Answer, Client, Counts, Handle, Limits, Profiles, Request as Observation, Routes, TokenUse,
    Vector,
};

use self::names::Names;
use crate::{
    finding::{Finding, Severity},
    http::{ByShape, Request},
    score::target_path,
    token::{Identity, Role, Token, TokenReport, validate::SignatureCheck},
};

/// A token that was issued later than this behind the request was issued by another clock: its
/// times say nothing. The leeway that policies have by default is less.
const CLOCK_SKEW_S: i64 = 300;

/// Finished watches whose memory is kept for the next ones: as many as are open at once on a busy
/// host.
const MAX_SPARE: usize = 256;

/// How many subjects are kept. What is over it makes room by age, and is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubjectLimits {
    /// Subjects that a good signature vouches for.
    pub vouched: usize,
    /// Others.
    pub others: usize,
}

impl Default for SubjectLimits {
    /// Some 150 MiB when both are full.
    fn default() -> Self {
        Self { vouched: 250_000, others: 50_000 }
    }
}

/// A request as the features are made of it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The request.
    pub request: &'a Request,
    /// Its tokens.
    pub tokens: &'a TokenReport,
    /// Of each token, whether this host has not seen it before.
    pub fresh: &'a [bool],
    /// What is known of the client; what no database tells is absent.
    pub client: Client,
    /// The service's name in the configuration.
    pub service: Option<&'a str>,
    /// The service's port, which stands for one without a name: addresses and processes of a
    /// service change, and what is usual for it does not.
    pub port: u16,
    /// Whether the token's scopes cover the route; `None` where nothing says which are needed.
    pub scope_covers: Option<bool>,
    /// The payload model's probability; `None` where it was not asked.
    pub payload: Option<f32>,
    /// Somebody reads the features of a subject whose profile is learning, too. Else they are
    /// absent: no model is asked about them, and making them costs as much as all the rest.
    pub read_learning: bool,
}

/// A request that is watched until its answer is known.
#[derive(Debug)]
pub struct Watched {
    /// Its features so far.
    pub vector: Vector,
    /// A keyed hash of the subject. Subjects that nothing vouches for have hashes of their own.
    pub subject: u128,
    /// A good signature vouches for the subject.
    pub vouched: bool,
    /// A keyed hash of service, method and the path without what varies in it.
    pub route: u64,
    handle: Handle,
    answered: bool,
}

/// How many subjects are known, and how many had to make room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ProfileStats {
    /// Gauge: subjects that a good signature vouches for.
    pub subjects: u64,
    /// Gauge: other subjects.
    pub others: u64,
    /// Gauge: bytes that all profiles hold.
    pub bytes: u64,
    /// Subjects of both kinds that were forgotten to make room for others.
    pub subjects_evicted: u64,
    /// Routes, networks and other things that subjects share and that were forgotten to make room.
    pub shared_evicted: u64,
    /// Requests of a subject, by the state of its profile: past learning.
    pub known: u64,
    /// Still learning.
    pub learning: u64,
}

/// What header fields say.
#[derive(Clone, Copy)]
struct Fields {
    /// A hash of the user agent.
    device: u64,
    /// The declared length of the body.
    length: Option<u64>,
}

/// Makes features of requests, and remembers what is usual.
pub struct Features {
    vouched: Profiles,
    others: Profiles,
    names: Names,
    routes: Routes,
    /// The port of the last service without a name, and its hash.
    last_port: Option<(u16, u64)>,
    /// Of the latest shapes of header fields.
    shapes: ByShape<Fields>,
    known: u64,
    learning: u64,
    /// The memory of finished watches, to be used again.
    #[expect(clippy::vec_box, reason = "the boxes are what is kept")]
    spare: Vec<Box<Watched>>,
}

impl std::fmt::Debug for Features {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Features").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl Features {
    /// Without a past. `secret` is the installation's: names are hashed with it, and what was
    /// saved under another one can't be read.
    #[must_use]
    pub fn new(limits: SubjectLimits, secret: [u8; 16]) -> Self {
        let of = |subjects| Limits { subjects, ..Limits::default() };
        let names = Names::new(secret);
        Self {
            vouched: Profiles::new(of(limits.vouched), names.secret_of(b"vouched")),
            others: Profiles::new(of(limits.others), names.secret_of(b"others")),
            routes: Routes::new(names.secret_of(b"routes")),
            names,
            last_port: None,
            shapes: ByShape::default(),
            known: 0,
            learning: 0,
            spare: Vec::new(),
        }
    }

    /// Compares a request with what was before it, and remembers it. `findings` are those that
    /// speak against its sender. `None` where no token says who asks.
    ///
    /// Nothing is allocated for a subject, a token and a route that are known.
    pub fn request<'f>(
        &mut self,
        seen: &Seen<'_>,
        findings: impl Iterator<Item = &'f Finding>,
    ) -> Option<Box<Watched>> {
        let (token, fresh) = speaks_for_sender(seen)?;
        let Identity { subject, issuer, role } = self.identity(token);
        let check = token.decoded.as_ref().map(|known| known.validation.signature);
        let vouched = check == Some(SignatureCheck::Good);
        // The same name under another kind of proof is another subject.
        let subject = subject
            ^ match check {
                Some(SignatureCheck::Good) => 0,
                Some(SignatureCheck::Learned) => names::LEARNED,
                Some(SignatureCheck::Unverifiable) | None => names::UNVERIFIED,
                Some(SignatureCheck::Bad) => names::FORGED,
            };
        let request = seen.request;
        let fields = self.fields(request);
        let length = fields.length.unwrap_or(request.body.bytes.len() as u64);
        let service = self.service(seen);
        let route = self.routes.route(service, request.method(), target_path(request.target()));
        let at_ms = request.first_byte.unix_nanos() / 1_000_000;
        let observation = Observation {
            at_ms,
            subject,
            role,
            token: Some(token_use(token, issuer, fresh, at_ms)),
            client: seen.client,
            device: fields.device,
            service,
            route,
            scope_covers: seen.scope_covers,
            findings: counts(findings),
            payload: seen.payload,
            bytes: length.saturating_add(request.head_len() as u64),
        };
        let profiles = if vouched { &mut self.vouched } else { &mut self.others };
        let mut compare = |vector: &mut Vector| match seen.read_learning {
            true => profiles.request(&observation, vector),
            false => profiles.request_of_known(&observation, vector),
        };
        let watched = match self.spare.pop() {
            // Filled where it lies: a vector is long.
            Some(mut place) => {
                place.handle = compare(&mut place.vector);
                (place.subject, place.vouched) = (subject, vouched);
                (place.route, place.answered) = (route.template, false);
                place
            }
            None => {
                let mut vector = Vector::default();
                let handle = compare(&mut vector);
                let route = route.template;
                Box::new(Watched { vector, subject, vouched, route, handle, answered: false })
            }
        };
        *if watched.vector.learning { &mut self.learning } else { &mut self.known } += 1;
        Some(watched)
    }

    /// Completes the features by the answer, and remembers that; once.
    pub fn answer(&mut self, watched: &mut Watched, answer: &Answer) {
        if !std::mem::replace(&mut watched.answered, true) {
            let profiles = if watched.vouched { &mut self.vouched } else { &mut self.others };
            profiles.answer(watched.handle, answer, &mut watched.vector);
        }
    }

    /// Takes back what is watched no more.
    pub fn recycle(&mut self, watched: Box<Watched>) {
        if self.spare.len() < MAX_SPARE {
            self.spare.push(watched);
        }
    }

    /// What there is, and what had to make room.
    #[must_use]
    pub fn stats(&self) -> ProfileStats {
        let (own, others) = (self.vouched.counts(), self.others.counts());
        let evicted = [self.vouched.evicted(), self.others.evicted()];
        ProfileStats {
            subjects: own.subjects,
            others: others.subjects,
            bytes: (self.vouched.heap_bytes() + self.others.heap_bytes()) as u64,
            subjects_evicted: evicted.iter().map(|counts| counts.subjects).sum(),
            shared_evicted: evicted.iter().map(shared).sum(),
            known: self.known,
            learning: self.learning,
        }
    }

    /// The profiles, to be saved and restored: of subjects that a good signature vouches for, and
    /// of others.
    pub fn profiles_mut(&mut self) -> [&mut Profiles; 2] {
        [&mut self.vouched, &mut self.others]
    }

    /// What a subject of an issuer is known by, in histories and labels too: a hash for each kind of
    /// proof. The issuer is empty where tokens name none.
    #[must_use]
    pub fn subject_hashes(&self, issuer: &str, subject: &str) -> [u128; 4] {
        self.names.subject(issuer, subject)
    }

    /// Forgets the profiles of these; gives how many there were. What is being saved of them is to be
    /// begun anew.
    pub fn forget(&mut self, subjects: &HashSet<u128>) -> u64 {
        let profiles = self.profiles_mut().into_iter();
        let forgotten = profiles.map(|p| subjects.iter().filter(|&&s| p.forget(s)).count() as u64);
        forgotten.sum()
    }

    /// What the header fields say; found out once for those of which the shape is known.
    fn fields(&mut self, request: &Request) -> Fields {
        let known = request.shape().and_then(|shape| self.shapes.get(shape));
        if let Some(fields) = known {
            return fields;
        }
        let (mut agent, mut length): (&[u8], _) = (b"", None);
        for header in request.headers() {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name.as_bytes());
            match header.name.len() {
                10 if is("user-agent") => agent = header.value,
                14 if is("content-length") => {
                    let declared = std::str::from_utf8(header.value).ok();
                    length = declared.and_then(|text| text.parse().ok()).or(length);
                }
                _ => {}
            }
        }
        let fields = Fields { device: self.names.device(agent), length };
        if let Some(shape) = request.shape() {
            self.shapes.note(shape, fields);
        }
        fields
    }

    /// A hash of the service; that of the last one is kept, as most requests are for it.
    fn service(&mut self, seen: &Seen<'_>) -> u64 {
        if let (None, Some((port, hash))) = (seen.service, self.last_port)
            && port == seen.port
        {
            return hash;
        }
        let hash = self.names.service(seen.service, seen.port);
        if seen.service.is_none() {
            self.last_port = Some((seen.port, hash));
        }
        hash
    }

    /// Whom the token names; found out once for each token that is known.
    fn identity(&self, token: &Token) -> Identity {
        match token.decoded.as_deref() {
            Some(known) => known.identity(|facts| self.names.identity(token.fingerprint, facts)),
            None => self.names.opaque(token.fingerprint),
        }
    }
}

/// Everything but subjects.
fn shared(counts: &Counts) -> u64 {
    let Counts { subjects: _, issuers, peers, routes, peer_routes, sequences, networks, addresses } =
        counts;
    issuers + peers + routes + peer_routes + sequences + networks + addresses
}

/// The token that says who asks, and whether it is new: the first that a good signature vouches
/// for, else the first.
fn speaks_for_sender<'a>(seen: &Seen<'a>) -> Option<(&'a Token, bool)> {
    let good = |token: &Token| {
        let known = token.decoded.as_ref();
        known.is_some_and(|known| known.validation.signature == SignatureCheck::Good)
    };
    let fresh = seen.fresh.iter().copied().chain(std::iter::repeat(false));
    let mut tokens = seen
        .tokens
        .tokens
        .iter()
        .zip(fresh)
        .filter(|(token, _)| token.location.role() != Role::Matter);
    let first = tokens.next()?;
    if good(first.0) { Some(first) } else { tokens.find(|(token, _)| good(token)).or(Some(first)) }
}

fn token_use(token: &Token, issuer: u64, fresh: bool, at_ms: u64) -> TokenUse {
    let facts = token.decoded.as_ref().map(|known| known.facts());
    let now_s = i64::try_from(at_ms / 1000).unwrap_or(i64::MAX);
    let issued = facts.and_then(|facts| facts.issued);
    let skewed = issued.is_some_and(|issued| issued > now_s.saturating_add(CLOCK_SKEW_S));
    let told = |time: Option<i64>| time.filter(|_| !skewed);
    TokenUse {
        fingerprint: names::half(u128::from_be_bytes(*token.fingerprint.as_bytes())),
        issuer,
        issued_s: told(issued),
        expires_s: told(facts.and_then(|facts| facts.expires)),
        // Nothing is remembered of the uses of opaque tokens.
        first_use: fresh && token.decoded.is_some(),
    }
}

/// How many findings there are of each severity.
fn counts<'f>(findings: impl Iterator<Item = &'f Finding>) -> [u8; 5] {
    let mut counts = [0_u8; 5];
    for finding in findings {
        let [info, low, medium, high, critical] = &mut counts;
        let count = match finding.severity {
            Severity::Info => info,
            Severity::Low => low,
            Severity::Medium => medium,
            Severity::High => high,
            Severity::Critical => critical,
        };
        *count = count.saturating_add(1);
    }
    counts
}
