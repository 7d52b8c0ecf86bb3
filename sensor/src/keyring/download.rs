//! Documents that are no key sets, fetched under the same rules: https, one host or allowed ones,
//! limits of size and time, conditional requests.

use std::time::{Duration, Instant};

use super::{
    Error, Settings,
    fetch::{Answer, Client, Validators},
};
use crate::{config::Config, endpoint::Endpoint};

/// One document at one URL.
pub struct Download {
    client: Client,
    from: Endpoint,
    total: Duration,
    /// Of what was put to use last.
    validators: Option<Validators>,
    /// Of what came last.
    fresh: Option<Validators>,
}

impl std::fmt::Debug for Download {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Download").field("from", &self.from).finish_non_exhaustive()
    }
}

impl Download {
    /// `accept` is what the request asks for. Certificates, allowed hosts and the time to connect are
    /// those of `[keys]`.
    ///
    /// # Errors
    /// `keys.ca_file` can't be used.
    pub fn new(
        config: &Config,
        from: Endpoint,
        accept: &'static str,
        max_bytes: u64,
        total: Duration,
    ) -> Result<Self, Error> {
        let settings = Settings { max_bytes, ..Settings::new(config) };
        let client = Client::new(&settings, accept)?;
        Ok(Self { client, from, total, validators: None, fresh: None })
    }

    /// Fetches it; `None` where it is what was taken last.
    ///
    /// # Errors
    /// Why there is nothing, without any text of the answer.
    pub fn get(&mut self) -> Result<Option<Vec<u8>>, String> {
        let deadline = Instant::now() + self.total;
        let answer =
            self.client.get(&self.from, &self.from.host(), self.validators.as_ref(), deadline);
        match answer.map_err(|error| error.to_string())? {
            Answer::NotModified { .. } => Ok(None),
            Answer::Body { bytes, validators, .. } => {
                self.fresh = Some(validators);
                Ok(Some(bytes))
            }
        }
    }

    /// This is at hand already: only what is newer is wanted.
    #[must_use]
    pub fn behind(mut self, etag: Option<String>, last_modified: Option<String>) -> Self {
        self.validators = Some(Validators::new(etag, last_modified));
        self
    }

    /// `ETag` and `Last-Modified` of what was put to use last.
    #[must_use]
    pub fn validators(&self) -> (Option<String>, Option<String>) {
        let validators = self.validators.clone().unwrap_or_default();
        (validators.etag, validators.last_modified)
    }

    /// What came last is good: only what is newer is wanted.
    pub fn taken(&mut self) {
        self.validators = self.fresh.take();
    }
}
