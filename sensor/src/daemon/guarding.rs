//! The kernel's guard beside the daemon: which services it guards, its heartbeat, and the heads
//! that it holds.

use std::{
    collections::{BTreeMap, VecDeque},
    os::fd::BorrowedFd,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};

use crate::{
    capture::{FlowKey, live},
    config::{Config, Place},
    enforce::{
        Cut, Enforcer,
        guard::{self, Beating, CutCause, Guard, Service},
        tables::{MemoryTables, Tables},
    },
    pipeline::Pipeline,
    policy::Mode,
    services::{self, Services},
    time::Time,
    token::{FingerprintKey, guard_keys::TokenKeys},
};

/// Refused connections that are known again, so that one is told of once.
const REFUSED: usize = 64;

/// How often the programs are told that the daemon lives.
const BEAT: Duration = Duration::from_millis(100);

/// Fields with credentials that the programs know beside those of the standards.
const MAX_HEADERS: usize = jotwatch_common::guard::scan::EXTRA_LINES;

/// The guard of a daemon; without a service that asks for it there is none.
pub(super) struct Guarding {
    guard: Option<Guard>,
    beaten: Instant,
    heartbeat: Duration,
    /// The last call into the kernel failed: the next failure is no news.
    failing: bool,
    /// Cookies of connections that were refused last.
    refused: VecDeque<u64>,
}

/// What is done at each watched port, and at the places of services that are told apart otherwise.
fn services(config: &Config, known: &Services) -> Vec<Service> {
    let all = &config.enforcement;
    let policy = |own: Option<&services::Service>| Service {
        ports: Vec::new(),
        places: Vec::new(),
        mode: own.and_then(|s| s.mode).unwrap_or(all.mode),
        dry_run: own.and_then(|s| s.dry_run).unwrap_or(all.dry_run),
        fail: all.fail,
        heartbeat: all.heartbeat(),
        hold: all.hold(),
        ask_always: false,
        body_bytes: all.body_bytes(),
    };
    let mut groups: Vec<Service> = Vec::new();
    let mut add = |service: Service| {
        let same = |other: &&mut Service| {
            Service { ports: Vec::new(), places: Vec::new(), ..(**other).clone() }
                == Service { ports: Vec::new(), places: Vec::new(), ..service.clone() }
        };
        match groups.iter_mut().find(same) {
            Some(other) => {
                other.ports.extend(&service.ports);
                other.places.extend(&service.places);
            }
            None => groups.push(service),
        }
    };
    let by_port = |service: &&services::Service| service.place.weight() == 1;
    for &port in &config.capture.ports {
        let own = known.iter().filter(by_port).find(|own| own.place.ports.contains(&port));
        add(Service { ports: vec![port], ..policy(own) });
    }
    // Of two at the same place the first counts, as it does in user space.
    let mut taken = Vec::new();
    for own in known.iter().filter(|service| !by_port(service)) {
        let Place { ports, address, cgroup } = &own.place;
        let cgroups: Vec<Option<u64>> = match cgroup {
            Some(path) => known.cgroup_ids(path).iter().copied().map(Some).collect(),
            None => vec![None],
        };
        let ports: Vec<Option<u16>> = match ports.as_slice() {
            [] => vec![None],
            ports => ports.iter().copied().map(Some).collect(),
        };
        let mut places = Vec::new();
        for &cgroup in &cgroups {
            for &port in &ports {
                let place = guard::Place { cgroup, address: *address, port };
                if !taken.contains(&place) {
                    taken.push(place);
                    places.push(place);
                }
            }
        }
        add(Service { places, ..policy(Some(own)) });
    }
    groups
}

impl Guarding {
    /// Beats for the programs of an earlier daemon while this one starts: the kernel takes a while
    /// to check new ones.
    pub(super) fn bridge(config: &Config) -> Option<Beating> {
        let own = config.services.iter().filter_map(|service| service.get_ref().mode);
        if own.chain([config.enforcement.mode]).all(|mode| mode == Mode::Alert) {
            return None;
        }
        let pins = guard::pin_folder(config.capture.cgroup.as_deref()).ok()?;
        Beating::start(&pins)
    }

    /// Starts the guard if a service asks for more than alerts; gives the tables that are looked
    /// up.
    ///
    /// # Errors
    /// Mode `hold` or `gate` is asked for and the guard can't start. Mode `kill` works without:
    /// only its denylists do not reach the kernel then.
    pub(super) fn start(
        config: &Config,
        known: &Services,
        key: &FingerprintKey,
    ) -> anyhow::Result<(Self, Box<dyn Tables>)> {
        let services = services(config, known);
        let most = services.iter().map(|service| service.mode).max().unwrap_or_default();
        let mut this = Self {
            guard: None,
            beaten: Instant::now(),
            heartbeat: config.enforcement.heartbeat(),
            failing: false,
            refused: VecDeque::new(),
        };
        if most == Mode::Alert {
            return Ok((this, Box::new(MemoryTables::new())));
        }
        ensure!(
            most < Mode::Hold || config.tokens.headers.len() <= MAX_HEADERS,
            "modes hold and gate know {MAX_HEADERS} tokens.headers at most"
        );
        let cgroup = config.capture.cgroup.clone();
        let started = guard::pin_folder(cgroup.as_deref()).and_then(|pins| {
            Guard::start(&guard::Config {
                services,
                cgroup,
                secret: TokenKeys::new(key).secret(),
                extra_headers: config.tokens.headers.clone(),
                pins: Some(pins),
            })
        });
        match started {
            Ok((guard, tables)) => {
                this.guard = Some(guard);
                Ok((this, Box::new(tables)))
            }
            Err(error) if most == Mode::Kill => {
                tracing::warn!("connections are cut, but nothing is denied in the kernel: {error}");
                Ok((this, Box::new(MemoryTables::new())))
            }
            Err(error) => Err(error).with_context(|| format!("mode {} can't start", most.as_str())),
        }
    }

    /// Takes over a changed configuration.
    ///
    /// # Errors
    /// It asks for the guard, which is not there, or the kernel refuses.
    pub(super) fn reconfigure(&mut self, config: &Config, known: &Services) -> anyhow::Result<()> {
        let services = services(config, known);
        match &mut self.guard {
            Some(guard) => guard.configure(&services)?,
            None => ensure!(
                services.iter().all(|service| service.mode <= Mode::Kill),
                "modes hold and gate need a restart of the daemon"
            ),
        }
        self.heartbeat = config.enforcement.heartbeat();
        Ok(())
    }

    /// Guards the watched cgroup that was made anew.
    ///
    /// # Errors
    /// It is not there, or the kernel refuses.
    pub(super) fn follow(&mut self, config: &Config, known: &Services) -> anyhow::Result<()> {
        let Some(guard) = &mut self.guard else { return Ok(()) };
        let cgroup = config.capture.cgroup.as_deref();
        let pins = guard::pin_folder(cgroup)?;
        Ok(guard.follow(&live::cgroup_path(cgroup)?, &pins, &services(config, known))?)
    }

    /// Becomes readable when something waits.
    pub(super) fn waiting(&self) -> Option<BorrowedFd<'_>> {
        self.guard.as_ref().map(Guard::waiting)
    }

    /// Beats, and judges what waits.
    /// Gives what was refused unread: connections, their sockets' cookies, and why.
    pub(super) fn attend(
        &mut self,
        pipeline: &mut Pipeline,
        enforcer: &mut Enforcer,
        now: Time,
    ) -> Vec<(FlowKey, u64, CutCause)> {
        let mut refused = Vec::new();
        let Some(guard) = &mut self.guard else { return refused };
        let away = self.beaten.elapsed();
        let mut result = Ok(());
        if away >= BEAT {
            self.beaten = Instant::now();
            result = guard.beat();
            if away > self.heartbeat {
                tracing::warn!("the services were without the daemon for {} ms", away.as_millis());
            }
        }
        let mut verdicts = Vec::new();
        guard.held(|head| {
            if let Some(cause) = head.cut {
                let (flow, cookie) = (head.flow, head.cookie);
                enforcer.cut(&Cut { flow, cookie, pid: None, denied: Vec::new() });
                // Each of its segments says so, until the reset is there.
                if !self.refused.contains(&cookie) {
                    if self.refused.len() >= REFUSED {
                        self.refused.pop_front();
                    }
                    self.refused.push_back(cookie);
                    refused.push((flow, cookie, cause));
                }
                return;
            }
            let judged = pipeline.judge_head(now, &head.flow, head.cookie, head.head);
            let allow = judged.credentials_until.filter(|_| head.covered);
            verdicts.push((head.verdict, head.allow, head.service, allow, judged));
        });
        for (key, allow, service, allow_until, judged) in verdicts {
            result = result.and(guard.decide(key, judged.pass, judged.body, judged.until));
            if let Some(until) = allow_until {
                enforcer.allow_token(allow, service, until);
            }
            if let Some(cut) = &judged.cut {
                enforcer.cut(cut);
            }
        }
        match result {
            Ok(()) => self.failing = false,
            Err(error) if !std::mem::replace(&mut self.failing, true) => {
                tracing::error!("the guard can't be reached: {error}");
            }
            Err(_) => {}
        }
        refused
    }

    /// The programs' counters by name; empty without a guard.
    pub(super) fn counters(&self) -> BTreeMap<String, u64> {
        let counters = self.guard.as_ref().and_then(|guard| guard.counters().ok());
        let named = |(counter, n): (guard::Counter, u64)| (counter.name().to_owned(), n);
        counters.unwrap_or_default().into_iter().map(named).collect()
    }

    /// Leaves the programs for the next daemon.
    pub(super) fn leave(self) {
        if let Some(Err(error)) = self.guard.map(Guard::leave) {
            tracing::warn!("until the next start nothing is denied in the kernel: {error}");
        }
    }
}
