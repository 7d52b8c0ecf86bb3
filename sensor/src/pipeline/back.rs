//! The back of the pipeline: what is made of messages, in the order in which they passed.
//!
//! Everything here is shared by all connections: what is remembered of tokens, what is usual, what
//! is denied.

use std::{collections::VecDeque, sync::Arc};

use super::{
    Output, Settings, Stats,
    examine::Examined,
    exchanges::{Exchanges, Open},
    keys,
    output::{Reporter, Unattributed, Wait, Waiting},
    steps::{Due, Slot, Step},
    unknown_keys::UnknownKeys,
};
use crate::{
    capture::{FlowKey, Service},
    clients::{Clients, FactsCache},
    enforce::{Lists, guard::CutCause},
    event::EventIds,
    features::Features,
    http::Request,
    learn::Learner,
    memory::Memory,
    score::{Models, Opinions, Scorer},
    services::Services,
    time::Time,
    token::Judge,
    weak::{Search, Tried},
};

/// What is judged. See the [module](self).
pub(super) struct Back {
    /// By [`Slot`]; none where it is free.
    pub(super) connections: Vec<Option<Box<Exchanges>>>,
    /// How many came into sight.
    opened: u64,
    pub(super) shared: Shared,
}

/// What all connections share.
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) judge: Judge,
    pub(super) memory: Memory,
    pub(super) lists: Lists,
    /// Nothing is scored without one.
    scorer: Option<Scorer>,
    pub(super) features: Features,
    pub(super) opinions: Arc<Opinions>,
    pub(super) services: Arc<Services>,
    pub(super) clients: Arc<Clients>,
    pub(super) facts: FactsCache,
    learner: Learner,
    tried: Tried,
    pub(super) unknown_keys: UnknownKeys,
    pub(super) tails: Waiting,
    pub(super) answers: Waiting,
    pub(super) unattributed: Unattributed,
    pub(super) now: Time,
    pub(super) ids: EventIds,
    /// All but what the front counts.
    pub(super) stats: Stats,
    /// Empty queues for the next connections that need one.
    spare: Vec<VecDeque<Open>>,
}

impl Shared {
    pub(super) fn reporter<'p, 'o>(&'p mut self, out: &'o mut dyn Output) -> Reporter<'p, 'o> {
        Reporter {
            settings: &self.settings,
            ids: &self.ids,
            judge: &mut self.judge,
            memory: &mut self.memory,
            lists: &mut self.lists,
            scorer: &mut self.scorer,
            features: &mut self.features,
            opinions: &self.opinions,
            services: &self.services,
            clients: &self.clients,
            facts: &mut self.facts,
            learner: &mut self.learner,
            tried: &mut self.tried,
            unknown_keys: &mut self.unknown_keys,
            stats: &mut self.stats,
            now: self.now,
            out,
            tails: &mut self.tails,
            answers: &mut self.answers,
            unattributed: &mut self.unattributed,
            spare: &mut self.spare,
        }
    }

    /// Takes note of the time.
    fn advance(&mut self, now: Time) {
        let before = std::mem::replace(&mut self.now, now);
        if now.unix_secs() != before.unix_secs() {
            self.memory.tick(now);
            self.lists.expire(now);
            self.unknown_keys.expire(now, &mut self.stats.unknown_keys);
        }
    }

    /// Gives out the events of `flow` that waited for their service's name.
    fn attribute(&mut self, flow: &FlowKey, service: &Arc<Service>, out: &mut dyn Output) {
        if self.unattributed.iter().all(|(_, key, _)| key != flow) {
            return;
        }
        for (due, key, mut event) in std::mem::take(&mut self.unattributed) {
            if key == *flow {
                event.body.attribute(service);
                out.event(event);
            } else {
                self.unattributed.push_back((due, key, event));
            }
        }
    }
}

impl Back {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            connections: Vec::new(),
            opened: 0,
            shared: Shared {
                judge: Judge::new(settings.judge.clone()),
                memory: Memory::new(settings.memory_secret, settings.memory.clone()),
                lists: Lists::default(),
                scorer: scorer(&settings),
                features: Features::new(settings.subjects, settings.profile_secret),
                opinions: Arc::default(),
                services: Arc::default(),
                clients: Arc::default(),
                facts: FactsCache::default(),
                learner: learner(&settings),
                tried: Tried::new(),
                unknown_keys: UnknownKeys::default(),
                ids: EventIds::new(&settings.id_salt),
                settings,
                tails: Waiting::new(),
                answers: Waiting::new(),
                unattributed: Unattributed::new(),
                now: Time::EPOCH,
                stats: Stats::default(),
                spare: Vec::new(),
            },
        }
    }

    /// Takes other settings from now on.
    pub(super) fn reconfigure(&mut self, settings: Settings) {
        let shared = &mut self.shared;
        let (keys, policy) = shared.judge.trusted();
        shared.judge = Judge::new(settings.judge.clone());
        shared.judge.trust(keys, policy);
        if !settings.learn {
            shared.judge.forget_learned();
        }
        shared.learner = learner(&settings);
        shared.scorer = scorer(&settings);
        // Another list is tried on keys that were tried before.
        shared.tried = Tried::new();
        shared.settings = settings;
    }

    /// Scores with these models from the next request on.
    pub(super) fn score_with(&mut self, models: Models) {
        self.shared.settings.models = Some(models);
        self.shared.scorer = scorer(&self.shared.settings);
    }

    /// Who serves a connection, as far as it is known.
    pub(super) fn service(&self, slot: Option<Slot>) -> Option<&Service> {
        self.connections.get(slot?.0 as usize)?.as_ref()?.service.as_deref()
    }

    /// Takes what happened next. `examined` is what was made of a request by itself, where that
    /// was done already. Gives back a request that is done with.
    #[inline]
    pub(super) fn take(
        &mut self,
        step: Step,
        examined: Option<Examined>,
        out: &mut dyn Output,
    ) -> Option<Box<Request>> {
        match step {
            Step::Time { now, due } => self.pass(now, due, out),
            Step::Request { slot, id, request } => {
                let (exchanges, mut reporter) = self.on(slot, out)?;
                exchanges.take_request(id, request, examined, &mut reporter);
            }
            Step::Response { slot, id, response } => {
                let (exchanges, mut reporter) = self.on(slot, out)?;
                exchanges.take_response(id, response, &mut reporter);
            }
            Step::Done { slot, id, end } => {
                let (exchanges, mut reporter) = self.on(slot, out)?;
                return exchanges.take_done(id, &end, &mut reporter);
            }
            other => return self.take_rare(other, out),
        }
        None
    }

    /// Takes what does not happen with every request.
    #[cold]
    fn take_rare(&mut self, step: Step, out: &mut dyn Output) -> Option<Box<Request>> {
        match step {
            Step::Opened { slot, flow, cookie } => {
                self.opened += 1;
                let place = slot.0 as usize;
                if place >= self.connections.len() {
                    self.connections.resize_with(place + 1, || None);
                }
                let exchanges = Exchanges::new(slot, self.opened, *flow, cookie);
                if let Some(place) = self.connections.get_mut(place) {
                    *place = Some(Box::new(exchanges));
                }
            }
            Step::Closed { slot } => {
                if let Some(place) = self.connections.get_mut(slot.0 as usize) {
                    *place = None;
                }
            }
            Step::Cookie { slot, cookie } => self.on(slot, out)?.0.cookie = cookie,
            Step::Service { slot, flow, service } => {
                if let Some((exchanges, _)) = slot.and_then(|slot| self.on(slot, out)) {
                    exchanges.service = Some(Arc::clone(&service));
                }
                self.shared.attribute(&flow, &service, out);
            }
            Step::Document { slot, id, body } => {
                let (exchanges, mut reporter) = self.on(slot, out)?;
                exchanges.take_document(id, &body, &mut reporter);
            }
            Step::Malformed { slot, findings } => {
                let (exchanges, mut reporter) = self.on(slot, out)?;
                reporter.malformed_event(exchanges, findings);
            }
            Step::Opaque { slot, kind } => {
                let (exchanges, mut reporter) = self.on(slot, out)?;
                reporter.opaque_event(exchanges, kind);
            }
            Step::Stop { cookie } => out.stop_flow(cookie),
            Step::Time { .. }
            | Step::Request { .. }
            | Step::Response { .. }
            | Step::Done { .. } => {}
        }
        None
    }

    /// The guard let nothing more pass of a connection, and why.
    pub(super) fn refused(&mut self, slot: Slot, cause: CutCause, out: &mut dyn Output) {
        if let Some((exchanges, mut reporter)) = self.on(slot, out) {
            reporter.refused_event(exchanges, cause);
        }
    }

    /// A search that was under way found that the secret is weak.
    pub(super) fn weak_secret(&mut self, search: &Search, out: &mut dyn Output) {
        let shared = &mut self.shared;
        shared.stats.secrets.weak += 1;
        shared.stats.events += 1;
        out.event(keys::weak_event(search, &shared.ids, shared.stats.events));
    }

    /// The source has ended.
    pub(super) fn finish(&mut self, out: &mut dyn Output) {
        for (.., event) in self.shared.unattributed.drain(..) {
            out.event(event);
        }
    }

    /// A connection, and what it needs to act.
    #[inline]
    fn on<'b, 'o>(
        &'b mut self,
        slot: Slot,
        out: &'o mut dyn Output,
    ) -> Option<(&'b mut Exchanges, Reporter<'b, 'o>)> {
        let exchanges = self.connections.get_mut(slot.0 as usize)?.as_mut()?;
        Some((exchanges, self.shared.reporter(out)))
    }

    /// Time passed: what waited long enough goes out.
    #[inline]
    fn pass(&mut self, now: Time, due: Due, out: &mut dyn Output) {
        if matches!(due, Due::All | Due::Tails) {
            self.shared.advance(now);
            if is_due(&self.shared.tails, now) {
                self.report_due(Wait::Tail, out);
            }
        }
        if matches!(due, Due::All | Due::Answers) && is_due(&self.shared.answers, now) {
            self.report_due(Wait::Answer, out);
        }
        if matches!(due, Due::All | Due::Names) {
            while let Some((.., event)) =
                self.shared.unattributed.pop_front_if(|(due, ..)| *due <= now)
            {
                out.event(event);
            }
        }
    }

    /// Tells of exchanges whose answer is late.
    fn report_due(&mut self, wait: Wait, out: &mut dyn Output) {
        loop {
            let now = self.shared.now;
            let queue = match wait {
                Wait::Tail => &mut self.shared.tails,
                Wait::Answer => &mut self.shared.answers,
            };
            let Some((_, ticket)) = queue.pop_front_if(|(due, _)| *due <= now) else { return };
            let Some((exchanges, mut reporter)) = self.on(ticket.slot, out) else { continue };
            if exchanges.opened == ticket.opened {
                exchanges.report_unfinished(ticket.id, wait, &mut reporter);
            }
        }
    }
}

/// Whether something waits no longer. Time passes with each segment, and most often nothing does.
fn is_due(waiting: &Waiting, now: Time) -> bool {
    waiting.front().is_some_and(|(due, _)| *due <= now)
}

fn learner(settings: &Settings) -> Learner {
    Learner::new(settings.learn_from.iter().map(|(issuer, url)| (&**issuer, &**url)))
}

fn scorer(settings: &Settings) -> Option<Scorer> {
    settings.models.clone().map(Scorer::new)
}
