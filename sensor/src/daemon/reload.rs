//! Another configuration while the daemon runs: whole, or not at all.

use std::sync::Arc;

use anyhow::ensure;

use super::{
    Daemon,
    cgroups::Cgroups,
    files::Files,
    lists,
    models::Choice,
    now, rest,
    settings::{cuts, delivery, settings, start_search},
};
use crate::{keyring::Keyring, services::Services};

impl Daemon {
    /// Reads the configuration again and has everybody go by it.
    ///
    /// # Errors
    /// It is none, or can't be put in force; nothing is changed then.
    pub(super) fn reload(&mut self) -> anyhow::Result<()> {
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
}
