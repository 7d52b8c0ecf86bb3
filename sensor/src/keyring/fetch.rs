//! One answer over HTTP: whole, small, in time, and from a host that may give it.

use std::{
    io,
    time::{Duration, Instant},
};

use ureq::{
    Agent,
    http::{HeaderMap, Response, header},
};

use super::{Error, Settings, files};
use crate::{
    endpoint::{Endpoint, EndpointError, Host},
    https,
};

/// What a key set may come as.
pub(super) const KEY_SETS: &str = "application/jwk-set+json, application/json";
/// The most redirects that are followed for one answer.
const MAX_REDIRECTS: usize = 3;
/// The longest validator that is kept and sent back.
const MAX_VALIDATOR_BYTES: usize = 512;

/// Why there is no answer that could be used. No text of the answer is repeated.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("answered {0}")]
    Status(u16),
    #[error("the answer is over {0} bytes")]
    TooLarge(u64),
    #[error("no whole answer in time")]
    Timeout,
    #[error("more than {MAX_REDIRECTS} redirects, or a loop")]
    Redirects,
    #[error("a redirect that leads nowhere")]
    NoLocation,
    #[error("redirected: {0}")]
    Location(#[from] EndpointError),
    #[error("redirected from https to http")]
    Downgrade,
    #[error("{0} is not an allowed host (keys.allowed_hosts)")]
    Host(Host),
    #[error("the host name is not known")]
    UnknownHost,
    #[error("TLS: {0}")]
    Tls(rustls::Error),
    #[error("{0}")]
    Io(io::ErrorKind),
    #[error("{0}")]
    Http(String),
}

impl From<ureq::Error> for FetchError {
    fn from(error: ureq::Error) -> Self {
        match error {
            ureq::Error::Timeout(_) | ureq::Error::BodyStalled => Self::Timeout,
            ureq::Error::BodyExceedsLimit(limit) => Self::TooLarge(limit),
            ureq::Error::HostNotFound => Self::UnknownHost,
            ureq::Error::ConnectionFailed => Self::Io(io::ErrorKind::ConnectionRefused),
            ureq::Error::Rustls(error) => Self::Tls(error),
            ureq::Error::Io(error) => Self::from_io(error),
            other => Self::Http(other.to_string().escape_debug().take(200).collect()),
        }
    }
}

impl FetchError {
    fn from_io(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => return Self::Timeout,
            _ => {}
        }
        let kind = error.kind();
        match error.into_inner().map(|inner| inner.downcast::<rustls::Error>()) {
            Some(Ok(tls)) => Self::Tls(*tls),
            _ => Self::Io(kind),
        }
    }
}

/// What makes a request conditional (RFC 9110, section 13.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Validators {
    pub(super) etag: Option<String>,
    pub(super) last_modified: Option<String>,
}

impl Validators {
    /// Validators that a header field can carry.
    pub(super) fn new(etag: Option<String>, last_modified: Option<String>) -> Self {
        let fits = |value: &String| {
            value.len() <= MAX_VALIDATOR_BYTES
                && value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
        };
        Self { etag: etag.filter(fits), last_modified: last_modified.filter(fits) }
    }

    fn is_empty(&self) -> bool {
        self.etag.is_none() && self.last_modified.is_none()
    }
}

/// An answer.
pub(super) enum Answer {
    /// What the validators stand for is still current.
    NotModified { max_age: Option<Duration> },
    /// A whole body.
    Body { bytes: Vec<u8>, validators: Validators, max_age: Option<Duration> },
}

/// Fetches with the limits of the configuration.
pub(super) struct Client {
    agent: Agent,
    max_bytes: u64,
    allow_http: bool,
    allowed_hosts: Vec<Host>,
}

impl Client {
    /// A client that trusts the system's certificates and those of `ca_file`, and asks for documents
    /// of the media types in `accept`.
    pub(super) fn new(settings: &Settings, accept: &'static str) -> Result<Self, Error> {
        let mut roots = https::system_roots();
        if let Some(path) = &settings.ca_file {
            let (pem, _) = files::read(path, https::MAX_CERTIFICATES_BYTES)?;
            let more = https::certificates(&pem);
            roots.extend(more.ok_or_else(|| Error::Certificates { path: path.clone() })?);
        }
        if roots.is_empty() {
            tracing::warn!("the system has no certificates to trust; keys can't come over https");
        }
        // Redirects are checked one by one here.
        let agent = https::agent(roots, None)
            .accept(accept)
            // Fetches are minutes apart: no server keeps a connection for so long.
            .max_idle_connections(0)
            .timeout_connect(Some(settings.connect))
            .timeout_resolve(Some(settings.connect))
            .build()
            .new_agent();
        Ok(Self {
            agent,
            max_bytes: settings.max_bytes,
            allow_http: settings.allow_http,
            allowed_hosts: settings.allowed_hosts.clone(),
        })
    }

    /// Reads a URL that came from a document or a redirect: `home` and the allowed hosts may give
    /// keys, no other (server-side request forgery; OpenID Connect Core, section 10).
    pub(super) fn endpoint(&self, url: &str, home: &Host) -> Result<Endpoint, FetchError> {
        let endpoint = Endpoint::parse(url, self.allow_http)?;
        self.admit(&endpoint, home)?;
        Ok(endpoint)
    }

    fn admit(&self, endpoint: &Endpoint, home: &Host) -> Result<(), FetchError> {
        let host = endpoint.host();
        if host == *home || self.allowed_hosts.contains(&host) {
            Ok(())
        } else {
            Err(FetchError::Host(host))
        }
    }

    /// Fetches `from`, whose own host is among the allowed ones, until `deadline`.
    pub(super) fn get(
        &self,
        from: &Endpoint,
        home: &Host,
        validators: Option<&Validators>,
        deadline: Instant,
    ) -> Result<Answer, FetchError> {
        let validators = validators.filter(|validators| !validators.is_empty());
        let mut at = from.clone();
        let mut seen = vec![from.clone()];
        loop {
            let response = self.request(&at, validators, deadline)?;
            match response.status().as_u16() {
                200 => return self.body(response),
                304 if validators.is_some() => {
                    return Ok(Answer::NotModified { max_age: max_age(response.headers()) });
                }
                301 | 302 | 303 | 307 | 308 => {
                    let location = response.headers().get(header::LOCATION);
                    let location = location.and_then(|location| location.to_str().ok());
                    let next = at.join(location.ok_or(FetchError::NoLocation)?, self.allow_http)?;
                    if at.is_https() && !next.is_https() {
                        return Err(FetchError::Downgrade);
                    }
                    self.admit(&next, home)?;
                    if seen.len() > MAX_REDIRECTS || seen.contains(&next) {
                        return Err(FetchError::Redirects);
                    }
                    seen.push(next.clone());
                    at = next;
                }
                status => return Err(FetchError::Status(status)),
            }
        }
    }

    fn request(
        &self,
        at: &Endpoint,
        validators: Option<&Validators>,
        deadline: Instant,
    ) -> Result<Response<ureq::Body>, FetchError> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(FetchError::Timeout);
        }
        let mut request = self.agent.get(at.uri());
        if let Some(etag) = validators.and_then(|validators| validators.etag.as_deref()) {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        if let Some(date) = validators.and_then(|validators| validators.last_modified.as_deref()) {
            request = request.header(header::IF_MODIFIED_SINCE, date);
        }
        Ok(request.config().timeout_global(Some(left)).build().call()?)
    }

    fn body(&self, mut response: Response<ureq::Body>) -> Result<Answer, FetchError> {
        let max_age = max_age(response.headers());
        let text = |name| response.headers().get(name)?.to_str().ok().map(String::from);
        let validators = Validators::new(text(header::ETAG), text(header::LAST_MODIFIED));
        if response.body().content_length().is_some_and(|length| length > self.max_bytes) {
            return Err(FetchError::TooLarge(self.max_bytes));
        }
        let bytes = response.body_mut().with_config().limit(self.max_bytes).read_to_vec()?;
        Ok(Answer::Body { bytes, validators, max_age })
    }
}

/// `max-age` (RFC 9111, section 5.2.2.1). `no-cache` and `no-store` are no time: a set that may
/// not be cached at all is refreshed as one without a word about it.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(header::CACHE_CONTROL);
    let mut directives =
        values.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    directives.find_map(|directive| {
        let (name, seconds) = directive.trim().split_once('=')?;
        if !name.eq_ignore_ascii_case("max-age") {
            return None;
        }
        seconds.trim_matches('"').parse().ok().map(Duration::from_secs)
    })
}
