//! The running sensor: capture at one end, sinks at the other, the pipeline between them.
//!
//! One thread reads the ring, runs the pipeline and answers the control socket in between; each
//! sink has a thread of its own, so nothing that is slow outside slows the reading.

mod balance;
mod cgroups;
mod feed_cache;
mod feedback;
mod feeds;
mod files;
mod guarding;
mod learned_file;
mod lists;
mod lock;
mod memory_file;
mod metrics;
mod models;
mod notify;
mod outlet;
mod profiles_file;
mod rest;
mod secret_search;
mod view;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, ensure};
use smallvec::SmallVec;

pub(crate) use self::feeds::clients_of_files;
use self::{
    balance::{Losses, LostEvents},
    cgroups::Cgroups,
    feedback::Feedback,
    files::{Files, Fresh},
    guarding::Guarding,
    learned_file::LearnedFile,
    lock::WatchLock,
    memory_file::MemoryFile,
    metrics::Metrics,
    models::Choice,
    notify::Notifier,
    profiles_file::ProfilesFile,
    secret_search::SecretSearch,
    view::View,
};
use crate::{
    capture::{Input, live},
    clients::Clients,
    config::{self, Config, DEFAULT_PATH, IssuerConfig},
    confine::{self, Confinement},
    control::{self, EnforcementStatus, LiveView, MAX_LIVE_EVENTS, ServiceMode, Status},
    enforce::{Enforcer, StateFile, guard::pin_folder},
    event::{Body, Event, EventIds, Kind, SensorEvent, SensorState, Tally},
    feedback::LabelFile,
    feeds::FeedTable,
    fingerprint_key,
    history::Recorder,
    journal,
    keyring::Keyring,
    keys::FetchMark,
    learn,
    pipeline::{Pipeline, Settings},
    policy::Mode,
    rest::Server as RestServer,
    services::{Service, Services},
    sinks::{Delivery, Sinks},
    time::Time,
    token::FingerprintKey,
    trust,
};

/// How long the reader sleeps when the ring is quiet; the kernel wakes it when something comes, and
/// so does who asks for a score. It bounds how late a deadline of the pipeline is noticed.
const POLL: Duration = Duration::from_millis(5);

/// How often loss is told of, where there is any.
const LOSS_PERIOD: Duration = Duration::from_secs(60);

/// How long an event waits for the name of its service, which is looked up beside the reader.
const SERVICE_WAIT: Duration = Duration::from_millis(100);

/// How often what changed in the memory of tokens is written to the state file.
const SAVE_PERIOD: Duration = Duration::from_secs(1);

/// How long the sinks may take to deliver what is queued when the daemon stops.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// What the command line says beside the configuration file; it also holds after a reload.
#[derive(Clone, Debug)]
pub struct Overrides {
    /// The configuration file.
    pub config: Option<PathBuf>,
    /// Replaces `capture.ports` unless empty.
    pub ports: Vec<u16>,
    /// Replaces `capture.cgroup`.
    pub cgroup: Option<PathBuf>,
    /// Replaces `enforcement.mode`, and the modes of services.
    pub mode: Option<Mode>,
}

impl Overrides {
    /// The configuration as the file and the command line have it.
    ///
    /// # Errors
    /// The file can't be read or is not a valid configuration.
    pub fn load(&self) -> anyhow::Result<Config> {
        let mut config = match &self.config {
            Some(path) => config::load(path)?,
            None if PathBuf::from(DEFAULT_PATH).exists() => config::load(DEFAULT_PATH.as_ref())?,
            None => Config::default(),
        };
        if !self.ports.is_empty() {
            config.capture.ports.clone_from(&self.ports);
        }
        if self.cgroup.is_some() {
            config.capture.cgroup.clone_from(&self.cgroup);
        }
        if let Some(mode) = self.mode {
            config.enforcement.mode = mode;
            for service in &mut config.services {
                service.get_mut().mode = None;
            }
        }
        config.capture.ports.sort_unstable();
        config.capture.ports.dedup();
        Ok(config)
    }
}

/// Watches until SIGTERM or SIGINT.
///
/// # Errors
/// The sensor can't start: privileges, kernel, cgroup, sinks, or another instance. Nothing stays
/// attached then.
pub fn run(overrides: &Overrides, config: Config) -> anyhow::Result<()> {
    // First, or the first folder that can't be written is blamed.
    live::permitted()?;
    if config.daemon.confine {
        // Mounts the BPF file system where nobody has, which can't be done later.
        let _ = pin_folder(config.capture.cgroup.as_deref());
        confine::shed(config.rest.group.is_some())?;
    }
    let signals = Signals::catch().context("signals can't be handled")?;
    let cgroup = live::cgroup_path(config.capture.cgroup.as_deref())?;
    let _lock = WatchLock::take(&cgroup, &config.capture.ports)?;
    let beating = Guarding::bridge(&config);
    let key = load_key(&config)?;
    let salt = fingerprint_key::random_salt()?;
    let keyring = Keyring::start(&config)?;
    let services = Services::load(&config.services)?;
    let cgroups = Cgroups::new(services.cgroups());
    let services = services.with_cgroups(cgroups.ids());
    let (files, clients, revoked) = Files::load(&config)?;
    let deny_files = lists::load_files(config.enforcement.deny_files.get_ref(), now())?;
    let choice = Choice::load(&config.scoring, &config.daemon.state_dir, true)?;
    let settings = settings(&config, &key, salt, &choice)?;
    let search = start_search(&settings)?;
    let feedback = LabelFile::open(&config.daemon.state_dir)
        .with_context(|| format!("labels in {}", config.daemon.state_dir.display()))?;
    let recorder = Recorder::start().context("no thread for the history")?;
    let (memory_file, memory) =
        MemoryFile::open(&config.daemon.state_dir, settings.memory_secret, &settings.memory)
            .with_context(|| format!("state in {}", config.daemon.state_dir.display()))?;
    let mut pipeline = Pipeline::new(settings);
    pipeline.remember(memory);
    pipeline.lists().denied.replace_files(deny_files)?;
    pipeline.lists().allowed.configure(config.enforcement.allow.resolve());
    let state_file = StateFile::open(&config.daemon.state_dir, now(), pipeline.lists())
        .with_context(|| format!("state in {}", config.daemon.state_dir.display()))?;
    let control = control::Server::bind(&config.daemon.runtime_dir)?;
    let rest = RestServer::start(&config.rest)?;
    let metrics = Metrics::start(&config)?;
    let (sinks, warnings) = Sinks::start(&config.sinks, &delivery(&config, salt))?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let mut capture = live::Capture::start(&capture_config(&config))?;
    capture.hurry(cuts(&config))?;
    tracing::info!("watching port {:?} in cgroup {}", config.capture.ports, cgroup.display());
    let profiles_file = ProfilesFile::open(&config.daemon.state_dir, pipeline.features());
    let learned_file = LearnedFile::open(&config.daemon.state_dir, &mut pipeline, now());
    let (guarding, tables) = Guarding::start(&config, &services, &key)?;
    let mut daemon = Daemon {
        notifier: Notifier::from_env(),
        confinement: Confinement::default(),
        guarding,
        services: services.into(),
        cgroups,
        overrides: overrides.clone(),
        pipeline,
        learned_file,
        profiles_file,
        feedback: Feedback::new(feedback),
        recorder,
        choice,
        search,
        enforcer: Enforcer::new(tables),
        state_file,
        keyring,
        keys_in_force: None,
        memory_file,
        files,
        rest,
        metrics,
        tally: Tally::default(),
        feeds: Vec::new(),
        tables: Vec::new(),
        clients,
        view: View::default(),
        losses: Losses::new(now()),
        ids: EventIds::new(&salt),
        started: now(),
        sensor_events: 0,
        cgroup: cgroup.display().to_string(),
        config,
        key,
        salt,
        capture,
        sinks,
    };
    daemon.pipeline.revoke(&revoked);
    daemon.pipeline.serve(Arc::clone(&daemon.services));
    daemon.locate();
    daemon.recorder.write_to(daemon.config.scoring.history.place());
    daemon.heed();
    daemon.settle_models();
    daemon.compare_models();
    daemon.take_keys();
    daemon.refresh_tables();
    daemon.tell(SensorState::Started);
    daemon.tell_files();
    drop(beating);
    daemon.know_feeds(None);
    daemon.take_files();
    daemon.confine();
    daemon.ready();
    let result = daemon.watch(&signals, &control);
    daemon.stop();
    result
}

struct Daemon {
    overrides: Overrides,
    config: Config,
    notifier: Notifier,
    confinement: Confinement,
    key: FingerprintKey,
    salt: [u8; 16],
    cgroup: String,
    capture: live::Capture,
    pipeline: Pipeline,
    keyring: Keyring,
    /// Generation of the keyring that the pipeline uses.
    keys_in_force: Option<u64>,
    memory_file: MemoryFile,
    files: Files,
    /// Where services may ask for scores.
    rest: Option<RestServer>,
    /// Who wants metrics.
    metrics: Metrics,
    tally: Tally,
    feeds: Vec<feeds::State>,
    /// What is known of clients beside the feeds.
    clients: Clients,
    /// The feeds in force that requests are scored by.
    tables: Vec<Arc<FeedTable>>,
    learned_file: LearnedFile,
    profiles_file: ProfilesFile,
    feedback: Feedback,
    /// Keeps the history and holds the shadow against the model in force.
    recorder: Recorder,
    choice: Choice,
    /// Where a list of weak secrets is configured.
    search: Option<SecretSearch>,
    enforcer: Enforcer,
    guarding: Guarding,
    services: Arc<Services>,
    cgroups: Cgroups,
    state_file: StateFile,
    sinks: Sinks,
    /// What passes, while somebody watches.
    view: View,
    losses: Losses,
    ids: EventIds,
    started: Time,
    sensor_events: u64,
}

impl Daemon {
    fn watch(&mut self, signals: &Signals, control: &control::Server) -> anyhow::Result<()> {
        let mut loss_due = now() + LOSS_PERIOD;
        let mut save_due = now() + SAVE_PERIOD;
        while !signals.stop.load(Ordering::Relaxed) {
            self.notifier.alive();
            self.wait()?;
            self.read();
            self.guard();
            self.take_cgroups();
            self.take_keys();
            self.take_files();
            self.refresh_tables();
            self.answer_rest();
            self.answer_metrics();
            for call in control.pending() {
                let answer = match &call.request {
                    control::Request::Status => {
                        self.status().and_then(|status| Ok(serde_json::to_value(status)?))
                    }
                    control::Request::Deny(change) => self.deny(change, call.by),
                    control::Request::Allow(change) => self.allow(change, call.by),
                    control::Request::Feedback(request) => self.feedback(request, call.by),
                    control::Request::Model(request) => self.model(request, call.by),
                    control::Request::Live { after } => {
                        self.live_view(*after).and_then(|view| Ok(serde_json::to_value(view)?))
                    }
                };
                call.answer(match answer {
                    Ok(value) => value,
                    Err(error) => serde_json::json!({ "error": format!("{error:#}") }),
                });
            }
            if signals.reload.swap(false, Ordering::Relaxed) {
                self.notifier.reloading();
                match self.reload() {
                    Ok(()) => self.tell(SensorState::ConfigReloaded),
                    Err(error) => tracing::error!("not reloaded, nothing is changed: {error:#}"),
                }
                self.ready();
            }
            let now = now();
            if now >= save_due {
                save_due = now + SAVE_PERIOD;
                self.memory_file.save(self.pipeline.memory());
                self.learned_file.save(&self.pipeline, now);
                self.state_file.save(self.pipeline.lists());
                self.enforcer.tidy();
                self.view.rest();
            }
            let every = self.config.scoring.save_every();
            self.profiles_file.step(self.pipeline.features(), now, every);
            if now >= loss_due {
                loss_due = now + LOSS_PERIOD;
                self.tell_losses(now);
            }
        }
        Ok(())
    }

    /// Makes do with less from here on: everything is attached.
    fn confine(&mut self) {
        self.confinement = match self.config.daemon.confine {
            true => confine::seal(),
            false => confine::current(),
        };
        tracing::info!("what the daemon may do: {}", self.confinement);
    }

    fn ready(&mut self) {
        let what = format!("watching port {:?}", self.config.capture.ports);
        self.notifier.ready(&what);
    }

    /// Waits until there is something to read, to judge or to answer, but not for long.
    fn wait(&mut self) -> Result<(), live::Error> {
        let calls = self.rest.as_ref().map(RestServer::waiting);
        let scrapes = Some(self.metrics.source.waiting());
        self.capture.poll(POLL, [self.guarding.waiting(), calls, scrapes].into_iter().flatten())
    }

    /// Brings the look-up tables in line with what is denied and allowed.
    fn refresh_tables(&mut self) {
        self.enforcer.refresh(now(), self.pipeline.lists());
    }

    /// Takes everything that is in the ring, and lets time pass.
    fn read(&mut self) {
        self.work(|pipeline, capture, out| {
            capture.read(|input: Input<'_>| pipeline.push(&input, out));
            pipeline.tick(now(), out);
            let found = out.search.into_iter().flat_map(SecretSearch::found);
            for found in found {
                pipeline.weak_secret(&found, out);
            }
        });
    }

    /// Judges what waits in the kernel, and tells of what was refused there.
    fn guard(&mut self) {
        let refused = self.guarding.attend(&mut self.pipeline, &mut self.enforcer);
        if refused.is_empty() {
            return;
        }
        self.work(|pipeline, _, out| {
            for (flow, cookie, cause) in refused {
                pipeline.refused(now(), flow, cookie, cause, out);
            }
        });
    }

    /// Does what takes long on another thread, and goes on reading and judging until it is done: a
    /// daemon that does not beat counts as dead.
    fn meanwhile<T: Send>(
        &mut self,
        work: impl FnOnce() -> anyhow::Result<T> + Send,
    ) -> anyhow::Result<T> {
        thread::scope(|scope| {
            let worker = scope.spawn(work);
            while !worker.is_finished() {
                self.notifier.alive();
                self.wait()?;
                self.read();
                self.guard();
                self.answer_rest();
            }
            worker.join().map_err(|_| anyhow::anyhow!("it panicked"))?
        })
    }

    /// Has the pipeline use the keys that are in force now, and say which ones are not there.
    fn take_keys(&mut self) {
        // Before the keys, or a set might count that is not taken yet.
        let fetched: SmallVec<[FetchMark; 8]> = self.keyring.fetched().collect();
        if self.keys_in_force != Some(self.keyring.generation()) {
            let keys = self.keyring.current();
            self.keys_in_force = Some(keys.generation());
            let policy = trust::policy(&self.config.issuers);
            self.pipeline.trust(trust::store(&keys).into(), policy.into());
            self.enforcer.forget_allowed();
        }
        self.work(|pipeline, _, out| {
            for mark in fetched {
                pipeline.fetched(mark, out);
            }
        });
    }

    /// Knows services again whose cgroups are others than before.
    fn take_cgroups(&mut self) {
        let Some(ids) = self.cgroups.changed() else { return };
        self.services = self.services.with_cgroups(ids).into();
        self.pipeline.serve(Arc::clone(&self.services));
        if let Err(error) = self.guarding.reconfigure(&self.config, &self.services) {
            tracing::error!("services in other cgroups are not guarded: {error:#}");
        }
    }

    /// Has the pipeline use the files that changed.
    fn take_files(&mut self) {
        let fresh: Vec<Fresh> = self.files.fresh().collect();
        for fresh in fresh {
            match fresh {
                Fresh::Clients(clients) => {
                    self.clients = clients;
                    self.locate();
                    tracing::info!("the databases of clients are read again and in force");
                }
                Fresh::Denied(list) => self.take_list(list),
                Fresh::Feed(news) => self.take_feed(news),
                Fresh::Revoked(list) => {
                    self.pipeline.revoke(&list);
                    let entries = list.len();
                    tracing::info!(
                        "revocation.list_file is read again and in force: {entries} entries"
                    );
                }
            }
        }
    }

    fn reload(&mut self) -> anyhow::Result<()> {
        let config = self.overrides.load()?;
        let (old, new) = (&self.config, &config);
        ensure!(!new.capture.ports.is_empty(), "capture.ports is empty");
        for (key, changed) in [
            ("capture", old.capture != new.capture),
            ("daemon", old.daemon != new.daemon),
            ("memory", old.memory != new.memory),
            ("scoring.subjects", old.scoring.subject_limits() != new.scoring.subject_limits()),
            (
                "events.fingerprint_key_file",
                old.events.fingerprint_key_file != new.events.fingerprint_key_file,
            ),
        ] {
            ensure!(!changed, "{key} can't change while the daemon runs; restart it");
        }
        let services = Services::load(&config.services)?;
        let cgroups = Cgroups::new(services.cgroups());
        let services = Arc::new(services.with_cgroups(cgroups.ids()));
        let (files, clients, revoked) = self.meanwhile(|| Files::load(&config))?;
        let choice = Choice::load(&config.scoring, &config.daemon.state_dir, false)?;
        let settings = settings(&config, &self.key, self.salt, &choice)?;
        if self.search.is_none() {
            self.search = start_search(&settings)?;
        }
        let files_to_deny = config.enforcement.deny_files.get_ref();
        let mut deny_files = self.meanwhile(|| lists::load_files(files_to_deny, now()))?;
        deny_files.extend(self.kept_feeds(&config));
        let other_keys = self.config.issuers != config.issuers || self.config.keys != config.keys;
        let keyring = other_keys.then(|| Keyring::start(&config)).transpose()?;
        let rest = rest::Next::prepare(self.rest.as_ref(), &config.rest)?;
        let (sinks, warnings) = self.sinks.prepare(&config.sinks)?;
        let metrics = self.metrics.prepare(&config)?;
        self.guarding.reconfigure(&config, &services)?;
        // The last that may fail; what is below does not.
        if let Err(error) = self.pipeline.lists().denied.replace_files(deny_files) {
            self.guarding.reconfigure(&self.config, &self.services)?;
            return Err(error.into());
        }
        self.enforcer.forget_allowed();
        if let Some(keyring) = keyring {
            self.keyring = keyring;
            self.keys_in_force = None;
            // Marks are of one keyring.
            self.pipeline.forget_unknown_keys();
        }
        self.pipeline.lists().allowed.configure(config.enforcement.allow.resolve());
        self.pipeline.reconfigure(settings);
        self.pipeline.serve(Arc::clone(&services));
        (self.services, self.cgroups) = (services, cgroups);
        self.pipeline.revoke(&revoked);
        (self.files, self.clients) = (files, clients);
        self.sinks.reopen();
        self.sinks.set_delivery(&delivery(&config, self.salt));
        if let Err(error) = self.sinks.apply(sinks) {
            tracing::error!("{error}");
        }
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        self.recorder.write_to(config.scoring.history.place());
        self.choose(choice);
        let before = std::mem::replace(&mut self.config, config);
        self.settle_models();
        self.take_rest(rest);
        self.metrics.take(metrics);
        self.know_feeds(Some(&before));
        self.locate();
        if let Err(error) = self.capture.hurry(cuts(&self.config)) {
            tracing::warn!("records may come later than they should: {error}");
        }
        self.take_files();
        self.tell_files();
        Ok(())
    }

    fn status(&mut self) -> anyhow::Result<Status> {
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

    fn live_view(&mut self, after: u64) -> anyhow::Result<LiveView> {
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

    fn tell_losses(&mut self, now: Time) {
        let kernel = match self.capture.counters() {
            Ok(kernel) => kernel,
            Err(error) => return tracing::error!("{error}"),
        };
        let stats = self.pipeline.stats();
        let events = LostEvents {
            queue_full: self.sinks.delivery().dropped.iter().sum(),
            journal_full: self.sinks.status().iter().flat_map(|sink| sink.dropped).sum(),
        };
        if let Some(loss) = self.losses.since_last(now, &kernel, &stats, events) {
            self.tell(loss);
        }
    }

    fn tell(&mut self, state: SensorState) {
        let at = now();
        self.sensor_events += 1;
        self.sinks.send(Event {
            id: self.ids.id(Kind::Sensor, None, at, self.sensor_events),
            at,
            severity: state.severity(),
            body: Body::Sensor(SensorEvent { state, version: env!("CARGO_PKG_VERSION").into() }),
        });
    }

    fn stop(mut self) {
        self.notifier.stopping();
        self.read();
        self.work(|pipeline, _, out| pipeline.finish(out));
        self.memory_file.save(self.pipeline.memory());
        self.learned_file.save(&self.pipeline, now());
        self.state_file.save(self.pipeline.lists());
        self.profiles_file.finish(self.pipeline.features());
        self.tell_losses(now());
        self.tell(SensorState::Stopped);
        self.guarding.leave();
        let history = self.recorder.stop(SHUTDOWN);
        if let Some(error) = &history.last_error {
            tracing::warn!("history: {} exchanges not written: {error}", history.dropped_write);
        }
        for sink in self.sinks.shutdown(SHUTDOWN) {
            if let (Some(error), 1..) = (&sink.last_error, sink.queued) {
                tracing::warn!("{}: {} events not delivered: {error}", sink.name, sink.queued);
            }
        }
    }
}

struct Signals {
    stop: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
}

impl Signals {
    fn catch() -> std::io::Result<Self> {
        use signal_hook::{consts, flag};

        let signals = Self { stop: Arc::default(), reload: Arc::default() };
        for signal in [consts::SIGTERM, consts::SIGINT] {
            flag::register(signal, Arc::clone(&signals.stop))?;
        }
        flag::register(consts::SIGHUP, Arc::clone(&signals.reload))?;
        Ok(signals)
    }
}

fn load_key(config: &Config) -> anyhow::Result<FingerprintKey> {
    match &config.events.fingerprint_key_file {
        Some(path) => fingerprint_key::read(path),
        None => fingerprint_key::read_or_create(&config.daemon.state_dir),
    }
}

fn settings(
    config: &Config,
    key: &FingerprintKey,
    salt: [u8; 16],
    choice: &Choice,
) -> anyhow::Result<Settings> {
    let settings = Settings::new(config, key.clone(), salt);
    let settings =
        settings.with_weak_secrets(config.tokens.weak_secrets()?).with_models(choice.models());
    Ok(Settings { service_wait: SERVICE_WAIT, ..settings })
}

fn delivery(config: &Config, key: [u8; 16]) -> Delivery {
    Delivery {
        dir: journal::folder(&config.daemon.state_dir),
        keep: config.events.keep(),
        join: Duration::from_secs(config.events.join_seconds),
        key,
    }
}

fn start_search(settings: &Settings) -> anyhow::Result<Option<SecretSearch>> {
    let wanted = settings.weak_secrets.as_ref().map(|_| SecretSearch::start()).transpose();
    wanted.context("no thread to search for weak secrets")
}

fn capture_config(config: &Config) -> live::Config {
    let capture = &config.capture;
    live::Config {
        ports: capture.ports.clone(),
        addresses: capture.addresses.clone(),
        cgroup: capture.cgroup.clone(),
        ring_bytes: capture.ring_bytes(),
        request_body_budget: capture.request_body_budget,
        response_body_budget: capture.response_body_budget,
        whole: match config.keys.learn {
            true => {
                let urls = config.issuers.iter().flat_map(IssuerConfig::learn_from);
                let urls: Vec<String> = urls.map(|(_, url)| url).collect();
                learn::known_targets(urls.iter().map(String::as_str))
            }
            false => Vec::new(),
        },
    }
}

/// Whether a verdict has to overtake the service, and so is wanted soon. Where requests or answers
/// wait for theirs, the guard says itself that one does.
fn cuts(config: &Config) -> bool {
    let services = config.services.iter().filter_map(|service| service.get_ref().mode);
    services.chain([config.enforcement.mode]).any(|mode| mode == Mode::Kill)
}

/// The wall clock.
fn now() -> Time {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time::EPOCH + since_epoch
}
