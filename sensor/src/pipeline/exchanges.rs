//! The exchanges of one connection, from the request to what is told of it.

use std::{collections::VecDeque, net::IpAddr, sync::Arc};

use smallvec::SmallVec;

use super::{
    assess::{Judged, to_score},
    ending::{Endings, endings},
    examine::Examined,
    output::{Reporter, Ticket, Wait},
    steps::{End, Slot},
};
use crate::{
    capture::{FlowKey, Service},
    event::Enforcement,
    features::Watched,
    finding::Finding,
    http::{Body, Request, Response},
    memory::{UseHandle, outcome, weigh},
    score::{Score, fusion},
    token::{Location, TokenReport},
};

/// Queues that are kept for their memory, and how many requests such a one has room for at most:
/// as many as services answer at once, and not the memory of all connections.
const MAX_SPARE: usize = 128;
const MAX_SPARE_LEN: usize = 4;

/// A request whose exchange is not over.
pub(super) struct Open {
    pub(super) id: u64,
    pub(super) request: Box<Request>,
    pub(super) tokens: TokenReport,
    pub(super) response: Option<Response>,
    /// The client: the peer, or whom a trusted proxy names.
    pub(super) client: IpAddr,
    /// How likely it is an attack; `None` where nothing is scored.
    pub(super) score: Option<Score>,
    /// Its features, until the exchange is over; none where no token says who asks.
    pub(super) watched: Option<Box<Watched>>,
    /// What it ends, if the service says so.
    endings: Endings,
    /// The uses of its tokens, until the answer is known.
    uses: SmallVec<[UseHandle; 1]>,
    /// The route is known to ask for no token.
    pub(super) public: bool,
    /// What the answer adds to the findings.
    pub(super) outcome: Option<Finding>,
    /// It is worth an event.
    pub(super) suspicious: bool,
    /// What was done about it.
    pub(super) enforcement: Option<Enforcement>,
    /// Its event has gone out.
    pub(super) reported: bool,
}

/// What is judged of one connection.
pub(super) struct Exchanges {
    slot: Slot,
    /// Tells it from those that had its place before.
    pub(super) opened: u64,
    pub(super) key: FlowKey,
    pub(super) cookie: u64,
    pub(super) service: Option<Arc<Service>>,
    pub(super) open: VecDeque<Open>,
}

impl Exchanges {
    pub(super) fn new(slot: Slot, opened: u64, key: FlowKey, cookie: u64) -> Self {
        Self { slot, opened, key, cookie, service: None, open: VecDeque::new() }
    }

    /// The answer is late: the event goes out with what is known.
    pub(super) fn report_unfinished(
        &mut self,
        id: u64,
        wait: Wait,
        reporter: &mut Reporter<'_, '_>,
    ) {
        let Some(at) = self.position(id) else { return };
        let Some(open) = self.open.get_mut(at) else { return };
        // Once the head is there, the tail's deadline decides.
        if open.reported || (wait == Wait::Answer && open.response.is_some()) {
            return;
        }
        open.reported = true;
        // By what is known of the answer by now; whoever waits for the event waits no longer.
        reporter.weigh_behaviour(open);
        reporter.request_event(&self.key, self.service.as_ref(), open, None);
    }

    /// A request is ready to be judged; `examined` where that was done already as far as it goes
    /// by itself.
    pub(super) fn take_request(
        &mut self,
        id: u64,
        mut request: Box<Request>,
        examined: Option<Examined>,
        reporter: &mut Reporter<'_, '_>,
    ) {
        reporter.stats.requests += 1;
        let Judged { tokens, client, uses, public, fresh, score, watched } =
            reporter.assess(&self.key, &mut request, examined);
        reporter.stats.tokens += tokens.tokens.len() as u64;
        let endings = endings(&reporter.settings.endpoints, &request, &tokens.tokens, &fresh);
        // Proofs bring their keys.
        let issued = tokens.tokens.iter().filter(|token| token.location != Location::Dpop);
        for token in issued {
            reporter.ask_for_key(&self.key, self.service.as_ref(), request.first_byte, token);
        }
        let mut open = Open {
            id,
            request,
            tokens,
            response: None,
            client,
            score,
            watched,
            endings,
            uses,
            public,
            outcome: None,
            suspicious: false,
            enforcement: None,
            reported: false,
        };
        if reporter.judges_scores_at_once(&self.key) {
            reporter.weigh_behaviour(&mut open);
        }
        reporter.decide(self, &mut open);
        if open.suspicious {
            reporter.stats.suspicious += 1;
            reporter.wait(Wait::Answer, self.ticket(id));
        }
        if self.open.capacity() == 0 {
            self.open = reporter.spare.pop().unwrap_or_default();
        }
        self.open.push_back(open);
    }

    /// The answer to a request has begun.
    pub(super) fn take_response(
        &mut self,
        id: u64,
        response: Response,
        reporter: &mut Reporter<'_, '_>,
    ) {
        reporter.stats.responses += 1;
        let Some(at) = self.position(id) else { return };
        let Some(open) = self.open.get_mut(at) else { return };
        for used in open.uses.drain(..) {
            reporter.memory.answered(reporter.now, used, response.status);
        }
        for ending in open.endings.drain(..) {
            ending.answered(reporter.now, response.status, reporter.memory);
        }
        for token in &mut open.tokens.tokens {
            weigh(&mut token.findings, response.status, open.public);
        }
        if !open.public && (200..=299).contains(&response.status) {
            for token in &open.tokens.tokens {
                reporter.unknown_keys.accepted(token);
            }
            reporter.try_secrets(&self.key, self.service.as_ref(), open);
        }
        // A route that asks for no token answers 2xx to any.
        if !open.public && !open.is_clean() {
            let findings: SmallVec<[Finding; 0]> = open.findings().cloned().collect();
            open.outcome = outcome(&findings, response.status);
        }
        if let Some(mut score) = open.score.take_if(|score| !score.reasons().is_empty()) {
            score.weigh(open.evidence().map(to_score));
            open.score = Some(score);
        }
        let answered = open.outcome.is_some() || !response.findings.is_empty();
        open.response = Some(response);
        if answered && let Some(mut open) = self.open.remove(at) {
            // What the answer adds may be the reason to cut.
            reporter.decide(self, &mut open);
            self.open.insert(at, open);
        }
        if self.open.get(at).is_some_and(|open| !open.reported && open.suspicious) {
            reporter.wait(Wait::Tail, self.ticket(id));
        }
    }

    /// An exchange is over; gives its request back.
    pub(super) fn take_done(
        &mut self,
        id: u64,
        end: &End,
        reporter: &mut Reporter<'_, '_>,
    ) -> Option<Box<Request>> {
        let at = self.position(id)?;
        let mut open = if at == 0 { self.open.pop_front() } else { self.open.remove(at) }?;
        reporter.stats.exchanges += 1;
        if !end.complete {
            reporter.stats.exchanges_incomplete += 1;
        }
        let mut behaviour = None;
        if open.watched.is_some() {
            reporter.complete(&mut open, end);
            behaviour = reporter.weigh_behaviour(&mut open);
            if behaviour.is_some_and(|behaviour| fusion::says(behaviour.probability)) {
                let known = open.suspicious;
                reporter.decide(self, &mut open);
                reporter.stats.suspicious += u64::from(open.suspicious && !known);
            }
        }
        if !open.reported && open.suspicious {
            open.reported = true;
            reporter.request_event(&self.key, self.service.as_ref(), &open, Some(end));
        }
        reporter.exchange(&self.key, &open, end);
        reporter.close(&self.key, &mut open, behaviour.as_ref());
        if self.open.is_empty() {
            // Idle connections are many; they shall not hold a queue.
            let queue = std::mem::take(&mut self.open);
            if queue.capacity() <= MAX_SPARE_LEN && reporter.spare.len() < MAX_SPARE {
                reporter.spare.push(queue);
            }
        }
        Some(open.request)
    }

    /// The answer to a request was a document that may be about keys.
    pub(super) fn take_document(&self, id: u64, body: &Body, reporter: &mut Reporter<'_, '_>) {
        if let Some(open) = self.position(id).and_then(|at| self.open.get(at)) {
            reporter.learn(&self.key, self.service.as_ref(), open, body);
        }
    }

    /// What names an exchange for as long as it is open.
    fn ticket(&self, id: u64) -> Ticket {
        Ticket { slot: self.slot, opened: self.opened, id }
    }

    /// Where exchange `id` stands: ids ascend, and most often it is the first.
    fn position(&self, id: u64) -> Option<usize> {
        match self.open.front() {
            Some(open) if open.id == id => Some(0),
            _ => self.open.binary_search_by_key(&id, |open| open.id).ok(),
        }
    }
}
