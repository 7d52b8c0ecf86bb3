//! The configuration as the parts of the daemon want it.

use std::time::Duration;

use anyhow::Context as _;

use super::{models::Choice, secret_search::SecretSearch};
use crate::{
    capture::live,
    config::{Config, IssuerConfig},
    fingerprint_key, journal, learn,
    pipeline::Settings,
    policy::Mode,
    sinks::Delivery,
    token::FingerprintKey,
};

/// How long an event waits for the name of its service, which is looked up beside the reader.
const SERVICE_WAIT: Duration = Duration::from_millis(100);

/// The key of fingerprints, made where there is none.
pub(super) fn load_key(config: &Config) -> anyhow::Result<FingerprintKey> {
    match &config.events.fingerprint_key_file {
        Some(path) => fingerprint_key::read(path),
        None => fingerprint_key::read_or_create(&config.daemon.state_dir),
    }
}

/// What the pipeline goes by.
pub(super) fn settings(
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

/// How events are kept and joined.
pub(super) fn delivery(config: &Config, key: [u8; 16]) -> Delivery {
    Delivery {
        dir: journal::folder(&config.daemon.state_dir),
        keep: config.events.keep(),
        join: Duration::from_secs(config.events.join_seconds),
        key,
    }
}

/// The search for weak secrets, where a list is configured.
pub(super) fn start_search(settings: &Settings) -> anyhow::Result<Option<SecretSearch>> {
    let wanted = settings.weak_secrets.as_ref().map(|_| SecretSearch::start()).transpose();
    wanted.context("no thread to search for weak secrets")
}

/// What is captured.
pub(super) fn capture_config(config: &Config) -> live::Config {
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
pub(super) fn cuts(config: &Config) -> bool {
    let services = config.services.iter().filter_map(|service| service.get_ref().mode);
    services.chain([config.enforcement.mode]).any(|mode| mode == Mode::Kill)
}
