//! The running sensor: capture at one end, sinks at the other, the pipeline between them.
//!
//! One thread reads the ring, runs the pipeline and answers the control socket in between; each
//! sink has a thread of its own, so nothing that is slow outside slows the reading.

mod balance;
mod calls;
mod cgroups;
mod feed_cache;
mod feedback;
mod feeds;
mod files;
mod forget;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod guarding;
mod learned_file;
mod lists;
mod lock;
mod memory_file;
mod metrics;
mod models;
mod notify;
mod outlet;
mod overrides;
mod profiles_file;
mod reload;
mod rest;
mod secret_search;
mod settings;
mod status;
mod surroundings;
mod view;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use smallvec::SmallVec;

pub use self::overrides::Overrides;
use self::{
    balance::Losses,
    cgroups::Cgroups,
    feedback::Feedback,
    files::{Files, Fresh},
    guarding::Guarding,
    learned_file::LearnedFile,
    lock::{StateLock, WatchLock},
    metrics::Metrics,
    models::Choice,
    notify::Notifier,
    profiles_file::ProfilesFile,
    secret_search::SecretSearch,
    settings::{capture_config, cuts, delivery, load_key, settings, start_search},
    surroundings::Ground,
    view::View,
};
pub(crate) use self::{feeds::clients_of_files, forget::forget_at_rest};
use crate::{
    capture::{Input, live},
    clients::Clients,
    config::Config,
    confine::{self, Confinement},
    control,
    enforce::{Enforcer, guard::pin_folder, state_file},
    event::{Body, Event, EventIds, Kind, SensorEvent, SensorState, Tally},
    feedback::LabelFile,
    feeds::FeedTable,
    finding, fingerprint_key,
    history::Recorder,
    keyring::Keyring,
    keys::FetchMark,
    log_file::LogFile,
    pipeline::Pipeline,
    rest::Server as RestServer,
    services::Services,
    sinks::Sinks,
    time::Time,
    token::FingerprintKey,
    trust,
};

/// How long the reader sleeps when the ring is quiet; the kernel wakes it when something comes, and
/// so does who asks for a score. It bounds how late a deadline of the pipeline is noticed.
const POLL: Duration = Duration::from_millis(5);

/// How often loss is told of, where there is any.
const LOSS_PERIOD: Duration = Duration::from_secs(60);

/// How often what changed in the memory of tokens is written to the state file.
const SAVE_PERIOD: Duration = Duration::from_secs(1);

/// How long the sinks may take to deliver what is queued when the daemon stops.
const SHUTDOWN: Duration = Duration::from_secs(5);
/// Watches until SIGTERM or SIGINT.
///
/// # Errors
/// The sensor can't start: privileges, kernel, cgroup, sinks, or another instance. Nothing stays
/// attached then.
pub fn run(overrides: &Overrides, config: Config) -> anyhow::Result<()> {
    // Before anything secret is read.
    confine::keep_memory();
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
    let _state = StateLock::take(&config.daemon.state_dir)?;
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
        memory_file::open(&config.daemon.state_dir, settings.memory_secret, &settings.memory)
            .with_context(|| format!("state in {}", config.daemon.state_dir.display()))?;
    let mut pipeline = Pipeline::new(settings);
    pipeline.remember(memory);
    pipeline.lists().denied.replace_files(deny_files)?;
    pipeline.lists().allowed.configure(config.enforcement.allow.resolve());
    let state_file = state_file::open(&config.daemon.state_dir, now(), pipeline.lists())
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
        control,
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
        ground: Ground::new(cgroup),
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
    let result = daemon.watch(&signals);
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
    ground: Ground,
    capture: live::Capture,
    pipeline: Pipeline,
    keyring: Keyring,
    /// Generation of the keyring that the pipeline uses.
    keys_in_force: Option<u64>,
    memory_file: LogFile,
    files: Files,
    /// Where other commands ask.
    control: control::Server,
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
    state_file: LogFile,
    sinks: Sinks,
    /// What passes, while somebody watches.
    view: View,
    losses: Losses,
    ids: EventIds,
    started: Time,
    sensor_events: u64,
}

impl Daemon {
    fn watch(&mut self, signals: &Signals) -> anyhow::Result<()> {
        // By a clock that nobody sets.
        let mut loss_due = Instant::now() + LOSS_PERIOD;
        let mut save_due = Instant::now() + SAVE_PERIOD;
        while !signals.stop.load(Ordering::Relaxed) {
            self.notifier.alive();
            self.wait()?;
            self.read();
            self.guard();
            self.follow_cgroup();
            self.take_cgroups();
            self.take_keys();
            self.take_files();
            self.refresh_tables();
            self.answer_rest();
            self.answer_metrics();
            self.answer_call();
            if signals.reload.swap(false, Ordering::Relaxed) {
                self.notifier.reloading();
                match self.reload() {
                    Ok(()) => self.tell(SensorState::ConfigReloaded),
                    Err(error) => tracing::error!("not reloaded, nothing is changed: {error:#}"),
                }
                self.ready();
            }
            let (now, elapsed) = (now(), Instant::now());
            if elapsed >= save_due {
                save_due = elapsed + SAVE_PERIOD;
                self.memory_file.save(self.pipeline.memory());
                self.learned_file.save(&self.pipeline, now);
                self.state_file.save(self.pipeline.lists());
                self.enforcer.tidy();
                self.view.rest();
            }
            let every = self.config.scoring.save_every();
            self.profiles_file.step(self.pipeline.features(), now, every);
            if elapsed >= loss_due {
                loss_due = elapsed + LOSS_PERIOD;
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
        self.follow_clock();
        self.work(|pipeline, capture, out| {
            capture.read(|input: Input<'_>| pipeline.push(&input, out));
            pipeline.tick(capture.now(), out);
            let found = out.search.into_iter().flat_map(SecretSearch::found);
            for found in found {
                pipeline.weak_secret(&found, out);
            }
        });
    }

    /// Judges what waits in the kernel, and tells of what was refused there.
    fn guard(&mut self) {
        let now = self.capture.now();
        let refused = self.guarding.attend(&mut self.pipeline, &mut self.enforcer, now);
        if refused.is_empty() {
            return;
        }
        self.work(|pipeline, _, out| {
            for (flow, cookie, cause) in refused {
                pipeline.refused(now, flow, cookie, cause, out);
            }
        });
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

    fn tell_losses(&mut self, now: Time) {
        let kernel = match self.capture.counters() {
            Ok(kernel) => kernel,
            Err(error) => return tracing::error!("{error}"),
        };
        let stats = self.pipeline.stats();
        let lost = self.sinks.delivery().lost;
        if let Some(loss) = self.losses.since_last(now, &kernel, &stats, &lost) {
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
        self.memory_file.finish(self.pipeline.memory());
        self.learned_file.finish(&self.pipeline, now());
        self.state_file.finish(self.pipeline.lists());
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
            if let Some(lost) = finding::in_words(&sink.dropped) {
                tracing::warn!("{}: events lost since the start: {lost}", sink.name);
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

/// The wall clock.
fn now() -> Time {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time::EPOCH + since_epoch
}
