//! The keys of one issuer that come over the network.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Settings,
    cache::{self, Cached, CachedEarlier},
    discovery,
    fetch::{Answer, Client, FetchError, Validators},
    rotation::{FetchedSet, Rotation},
    schedule::Schedule,
};
use crate::{
    endpoint::{Endpoint, Host},
    {config::IssuerConfig, keys::Key, time::Time},
};

/// Where the URL of the set is from.
enum Source {
    Discovery { issuer: String },
    Url(Endpoint),
}

/// The keys of one issuer that come over the network.
pub(super) struct Remote {
    /// Its place among all issuers.
    pub(super) index: usize,
    /// Its name in messages.
    name: String,
    source: Source,
    /// The issuer's own host.
    home: Host,
    pub(super) rotation: Rotation,
    pub(super) schedule: Schedule,
    /// Of which URL the current set is, and with what it can be asked for again.
    current: Option<(String, Validators)>,
    pub(super) last_success: Option<Time>,
    pub(super) last_error: Option<String>,
    cache: PathBuf,
    cache_error: Option<String>,
}

/// What a fetch found.
enum Found {
    Same,
    Set(FetchedSet, String, Validators),
}

impl Remote {
    /// The fetched keys of this issuer, from the cache if it has them; `None` where the
    /// configuration names no URL that can be fetched.
    pub(super) fn new(
        index: usize,
        config: &IssuerConfig,
        settings: &Settings,
        client: &Client,
    ) -> Option<Self> {
        let (source, url) = match (&config.jwks_url, config.name()) {
            (Some(url), _) => {
                let url = Endpoint::parse(url.get_ref(), settings.allow_http).ok()?;
                (Source::Url(url.clone()), url)
            }
            (None, Some(issuer)) if config.is_remote() => {
                let url = Endpoint::parse(issuer, settings.allow_http).ok()?;
                (Source::Discovery { issuer: issuer.to_owned() }, url)
            }
            _ => return None,
        };
        let place = match &source {
            Source::Discovery { .. } => "discovery".to_owned(),
            Source::Url(url) => url.uri().to_string(),
        };
        let mut remote = Self {
            index,
            name: config.name().unwrap_or("any issuer").escape_debug().collect(),
            home: url.host(),
            source,
            rotation: Rotation::default(),
            schedule: Schedule::new(Instant::now()),
            current: None,
            last_success: None,
            last_error: None,
            cache: cache::path(&settings.cache_dir, config.name(), &place),
            cache_error: None,
        };
        if let Err(why) = remote.restore(settings, client) {
            tracing::warn!("kept keys of {} are not used: {why}", remote.name);
        }
        Some(remote)
    }

    fn restore(&mut self, settings: &Settings, client: &Client) -> Result<(), String> {
        let Some(cached) = cache::load(&self.cache)? else { return Ok(()) };
        let read = |set: String| {
            if set.len() as u64 > settings.max_bytes {
                return Err("a set is over keys.max_bytes".to_owned());
            }
            FetchedSet::read(set.into_bytes()).map_err(|error| error.to_string())
        };
        client.endpoint(&cached.url, &self.home).map_err(|error| error.to_string())?;
        let (now, wall) = (Instant::now(), (settings.wall)());
        self.rotation.replace(read(cached.set)?, now, wall, settings.keep);
        for earlier in cached.earlier {
            let replaced = Time::from_unix_secs(earlier.replaced);
            self.rotation.restore(read(earlier.set)?, replaced, now, wall, settings.keep);
        }
        let validators = Validators::new(cached.etag, cached.last_modified);
        self.current = Some((cached.url, validators));
        self.last_success = Some(Time::from_unix_secs(cached.fetched));
        Ok(())
    }

    /// Whether a set was ever fetched.
    pub(super) fn has_set(&self) -> bool {
        self.rotation.current().is_some()
    }

    /// The keys in force, and how many of them are old.
    pub(super) fn keys(&self) -> (Vec<Arc<Key>>, usize) {
        self.rotation.keys()
    }

    /// Fetches the set and puts it in force, whole, or leaves everything as it was. Gives whether
    /// the keys changed.
    pub(super) fn refresh(&mut self, client: &Client, settings: &Settings, chance: f64) -> bool {
        let deadline = Instant::now() + settings.total;
        let result = self.fetch(client, deadline);
        let (now, wall) = (Instant::now(), (settings.wall)());
        let (found, max_age) = match result {
            Ok(found) => found,
            Err(error) => {
                self.schedule.failed(now, &settings.pace, chance);
                // Once a change, not once a try.
                if self.last_error.as_ref() != Some(&error) {
                    tracing::warn!("no fresh keys of {}: {error}", self.name);
                    self.last_error = Some(error);
                }
                return false;
            }
        };
        self.schedule.succeeded(now, max_age, &settings.pace, chance);
        if self.last_error.take().is_some() {
            tracing::info!("keys of {} are fetched again", self.name);
        }
        self.last_success = Some(wall);
        let changed = match found {
            Found::Same => false,
            Found::Set(set, url, validators) => {
                self.current = Some((url, validators));
                let same = self.rotation.current().is_some_and(|current| current.text == set.text);
                if !same {
                    self.tell(&set);
                    self.rotation.replace(set, now, wall, settings.keep);
                }
                !same
            }
        };
        self.store();
        changed
    }

    fn tell(&self, set: &FetchedSet) {
        if set.rejected > 0 {
            tracing::warn!("{} keys of {} can't be used", set.rejected, self.name);
        }
        if set.private {
            tracing::warn!("the published keys of {} may hold a private key", self.name);
        }
        tracing::info!("keys of {} changed", self.name);
    }

    /// Keeps the sets on disk. Without that the sensor still works; it only forgets at a restart.
    pub(super) fn store(&mut self) {
        let (Some((url, validators)), Some(set)) = (&self.current, self.rotation.current()) else {
            return;
        };
        let fetched = self.last_success.map_or(0, Time::unix_secs);
        let mut cached = Cached::new(url.clone(), fetched, set.text.clone());
        cached.etag.clone_from(&validators.etag);
        cached.last_modified.clone_from(&validators.last_modified);
        cached.earlier = self
            .rotation
            .earlier()
            .map(|earlier| CachedEarlier {
                replaced: earlier.replaced.unix_secs(),
                set: earlier.set.text.clone(),
            })
            .collect();
        let error = cache::store(&self.cache, &cached).err().map(|error| error.to_string());
        if let Some(error) =
            error.as_ref().filter(|&error| self.cache_error.as_ref() != Some(error))
        {
            tracing::warn!("{}: keys are not kept: {error}", self.cache.display());
        }
        self.cache_error = error;
    }

    fn fetch(
        &self,
        client: &Client,
        deadline: Instant,
    ) -> Result<(Found, Option<Duration>), String> {
        let url = match &self.source {
            Source::Url(url) => url.clone(),
            Source::Discovery { issuer } => self.discover(issuer, client, deadline)?,
        };
        let place = url.uri().to_string();
        let known = self.current.as_ref().filter(|(known, _)| *known == place);
        let validators = known.map(|(_, validators)| validators);
        let failed = |error: &dyn std::fmt::Display| format!("{url}: {error}");
        match client.get(&url, &self.home, validators, deadline).map_err(|error| failed(&error))? {
            Answer::NotModified { max_age } => Ok((Found::Same, max_age)),
            Answer::Body { bytes, validators, max_age } => {
                let set = FetchedSet::read(bytes).map_err(|error| failed(&error))?;
                Ok((Found::Set(set, place, validators), max_age))
            }
        }
    }

    fn discover(
        &self,
        issuer: &str,
        client: &Client,
        deadline: Instant,
    ) -> Result<Endpoint, String> {
        let mut missing = String::new();
        for url in discovery::urls(issuer) {
            let url = client.endpoint(&url, &self.home).map_err(|error| error.to_string())?;
            let failed = |error: &dyn std::fmt::Display| format!("{url}: {error}");
            let document = match client.get(&url, &self.home, None, deadline) {
                Ok(Answer::Body { bytes, .. }) => bytes,
                Ok(Answer::NotModified { .. }) => return Err(failed(&FetchError::Status(304))),
                // It has no document here: perhaps at the other place.
                Err(error @ FetchError::Status(400..500)) => {
                    if missing.is_empty() {
                        missing = failed(&error);
                    }
                    continue;
                }
                Err(error) => return Err(failed(&error)),
            };
            let jwks_uri =
                discovery::jwks_uri(&document, issuer).map_err(|error| failed(&error))?;
            let found = client.endpoint(&jwks_uri, &self.home);
            let found = found.map_err(|error| failed(&format_args!("jwks_uri: {error}")))?;
            if url.is_https() && !found.is_https() {
                return Err(failed(&format_args!("jwks_uri: {}", FetchError::Downgrade)));
            }
            return Ok(found);
        }
        Err(missing)
    }
}
