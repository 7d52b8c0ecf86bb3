//! What the daemon tells of itself: to `status`, to `top`, and to who wants metrics.

use super::{Daemon, balance, feeds, view};
use crate::{
    control::{EnforcementStatus, LiveView, MAX_LIVE_EVENTS, ServiceMode, Status},
    rest::Server as RestServer,
    services::Service,
};

impl Daemon {
    /// How everything fares.
    ///
    /// # Errors
    /// The kernel's counters can't be read.
    pub(super) fn status(&mut self) -> anyhow::Result<Status> {
        let kernel = self.capture.counters()?;
        let pipeline = self.pipeline.stats();
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            started: self.started.to_string(),
            mode: self.config.enforcement.mode.as_str().into(),
            enforcement: self.enforcement_status(),
            cgroup: self.cgroup.clone(),
            ports: self.config.capture.ports.clone(),
            balance: balance::of(&kernel, &pipeline),
            kernel: balance::kernel_status(&kernel),
            pipeline,
            memory: self.pipeline.memory().counters(),
            profiles: self.pipeline.features().stats(),
            issuers: self.keyring.status(),
            feeds: self
                .feeds
                .iter()
                .filter(|feed| !feed.is_denied())
                .map(feeds::State::status)
                .collect(),
            models: self.models_status(),
            rest: self.rest.as_ref().map(RestServer::status),
            events: self.tally.counts(),
            confinement: self.confinement.clone(),
            delivery: self.sinks.delivery(),
            sinks: self.sinks.status(),
        })
    }

    /// The same with what passed since the last time, and the events from number `after` on.
    ///
    /// # Errors
    /// As [`Daemon::status`].
    pub(super) fn live_view(&mut self, after: u64) -> anyhow::Result<LiveView> {
        let status = self.status()?;
        let (requests, services) = self.view.answer();
        let (events, next) = self.sinks.latest(after, MAX_LIVE_EVENTS);
        let events = events.iter().map(|record| serde_json::from_slice(&record.line));
        Ok(LiveView {
            status,
            cpu_us: view::cpu_us(),
            resident_bytes: view::resident_bytes(),
            requests,
            services,
            events: events.collect::<Result<_, _>>()?,
            next,
        })
    }

    fn enforcement_status(&mut self) -> EnforcementStatus {
        let config = &self.config.enforcement;
        let own = |service: &&Service| service.mode.is_some() || service.dry_run.is_some();
        let services = self.services.iter().filter(own).map(|service| ServiceMode {
            place: service.place.to_string(),
            ports: service.place.ports.clone(),
            mode: service.mode.unwrap_or(config.mode).as_str().to_owned(),
            dry_run: service.dry_run.unwrap_or(config.dry_run),
        });
        let lists = self.pipeline.lists();
        EnforcementStatus {
            mode: config.mode.as_str().to_owned(),
            dry_run: config.dry_run,
            fail: config.fail.as_str().to_owned(),
            services: services.collect(),
            feeds: self
                .feeds
                .iter()
                .filter(|feed| feed.is_denied())
                .map(feeds::State::status)
                .collect(),
            cuts: self.enforcer.counts(),
            denied: lists.denied.counts(),
            allowed: lists.allowed.entries().count() as u64,
            tables: self.enforcer.table_counts(),
            guard: self.guarding.counters(),
        }
    }
}
