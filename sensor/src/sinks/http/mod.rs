//! POST to a receiver of events: over TLS, with credentials from files, and never to anybody else.

mod config;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::Path,
    time::{Duration, Instant},
};

use ureq::{
    Agent,
    http::{HeaderMap, HeaderName, HeaderValue, header},
    tls::{Certificate, ClientCert, PrivateKey},
};
use zeroize::Zeroizing;

pub(super) use self::config::{Raw, keys};
pub use self::config::{Target, Url};
use super::private::{self, FileError};
use crate::{event::BySeverity, https, journal::Record};

/// The largest secret, value of a header field, or private key: RSA of 16384 bits takes less.
const MAX_SECRET_BYTES: usize = 16 << 10;
/// The most of an answer's body that is read.
const MAX_BODY_BYTES: u64 = 64 << 10;
/// A receiver may ask for a pause of this length at most: it is not to silence its sensors.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
/// For so long answers are tried again that say that address or credentials are wrong: who changes
/// them loses nothing meanwhile.
const PATIENCE: Duration = Duration::from_secs(600);

/// What became of a POST.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The receiver has it; what it answered.
    Arrived(Vec<u8>),
    /// It does not want it, with this status, and will not want it later.
    Refused(u16),
}

/// What an answer's status says (RFC 9110, section 15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Arrived,
    /// Later it may work.
    Later,
    /// Somebody has to change something: the address, the credentials.
    Misdirected,
    /// What was sent is not wanted.
    Refused,
}

const fn class(status: u16) -> Class {
    match status {
        200..=299 => Class::Arrived,
        // Redirects are not followed: what is sent is personal data, and signed for one receiver.
        300..=399 | 401 | 403 | 404 | 405 | 407 => Class::Misdirected,
        408 | 425 | 429 => Class::Later,
        400..=499 => Class::Refused,
        _ => Class::Later,
    }
}

/// Sends to one target.
pub(crate) struct Poster {
    agent: Agent,
    target: Target,
    headers: HeaderMap,
    /// No attempt before, as the receiver asked.
    not_before: Option<Instant>,
    /// Since when answers say that address or credentials are wrong.
    misdirected: Option<Instant>,
}

impl Poster {
    /// Reads the files that the target names.
    ///
    /// # Errors
    /// One of them can't be read, is not private, or holds something else. No content is repeated.
    pub(crate) fn new(target: &Target) -> Result<Self, FileError> {
        let roots = match &target.ca_file {
            Some(path) => certificates("ca_file", path)?,
            None => https::system_roots(),
        };
        let client = target.client.as_ref().map(|(chain, key)| {
            let chain = certificates("client_cert_file", chain)?;
            let wrong = private::wrong("client_key_file", key);
            let pem = private::secret(key, MAX_SECRET_BYTES).map_err(&wrong)?;
            let key = PrivateKey::from_pem(&pem)
                .map_err(|_| wrong(private::invalid("no private key in PEM")))?;
            Ok::<_, FileError>(ClientCert::new_with_certs(&chain, key))
        });
        let agent = https::agent(roots, client.transpose()?)
            .timeout_global(Some(target.timeout))
            .build()
            .new_agent();
        let mut headers = HeaderMap::new();
        for (name, path) in &target.header_files {
            let value = text_secret("header_files", path)?;
            let wrong = |said| private::wrong("header_files", path)(private::invalid(said));
            let mut value = HeaderValue::from_bytes(value.trim_ascii_end())
                .map_err(|_| wrong("no value of a header field"))?;
            value.set_sensitive(true);
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| wrong("its name is none of a header field"))?;
            headers.insert(name, value);
        }
        let target = target.clone();
        Ok(Self { agent, target, headers, not_before: None, misdirected: None })
    }

    /// Sends `body`, with these header fields beside those of the target.
    ///
    /// # Errors
    /// It did not arrive, as far as can be known, and may later.
    pub(crate) fn post(
        &mut self,
        content_type: &'static str,
        headers: &[(&'static str, String)],
        body: &[u8],
    ) -> io::Result<Reply> {
        let left = self.not_before.map(|at| at.saturating_duration_since(Instant::now()));
        if let Some(left) = left.filter(|left| !left.is_zero()) {
            let seconds = left.as_secs() + 1;
            return Err(io::Error::other(format!("the receiver asks to wait {seconds} s")));
        }
        self.not_before = None;
        let mut request = self.agent.post(self.target.url.uri());
        request = request.header(header::CONTENT_TYPE, content_type);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let mut response = request.send(body).map_err(failure)?;
        let status = response.status().as_u16();
        // Read also where nobody wants it: only then the connection can be used again.
        let read = response.body_mut().with_config().limit(MAX_BODY_BYTES).read_to_vec();
        let class = class(status);
        if class != Class::Misdirected {
            self.misdirected = None;
        }
        match class {
            // What the receiver says beside its status is not needed to know.
            Class::Arrived => return Ok(Reply::Arrived(read.unwrap_or_default())),
            Class::Refused => {
                tracing::warn!("{}: an event was refused with {status}", self.target.url);
                return Ok(Reply::Refused(status));
            }
            Class::Misdirected => {
                let since = *self.misdirected.get_or_insert_with(Instant::now);
                if since.elapsed() >= PATIENCE {
                    return Ok(Reply::Refused(status));
                }
            }
            Class::Later => {
                let wait = retry_after(response.headers());
                self.not_before = wait.map(|wait| Instant::now() + wait);
            }
        }
        Err(io::Error::other(format!("answered {status}")))
    }
}

/// Sends `batch` in parts of at most `most`: how many from the front are done with, and why not
/// the next one. What the receiver does not want is counted in `refused`.
pub(super) fn deliver(
    batch: &[Record],
    most: usize,
    refused: &mut BySeverity,
    mut post: impl FnMut(&[Record]) -> io::Result<Reply>,
) -> (usize, io::Result<()>) {
    let mut taken = 0;
    for records in batch.chunks(most.max(1)) {
        match post(records) {
            Ok(Reply::Arrived(_)) => taken += records.len(),
            Ok(Reply::Refused(_)) if records.len() == 1 => {
                refuse(refused, records);
                taken += 1;
            }
            // One of them may be to blame: the others are to arrive.
            Ok(Reply::Refused(_)) => {
                for record in records {
                    let one = std::slice::from_ref(record);
                    match post(one) {
                        Ok(Reply::Arrived(_)) => {}
                        Ok(Reply::Refused(_)) => refuse(refused, one),
                        Err(error) => return (taken, Err(error)),
                    }
                    taken += 1;
                }
            }
            Err(error) => return (taken, Err(error)),
        }
    }
    (taken, Ok(()))
}

/// Counts what the receiver does not want.
pub(super) fn refuse(refused: &mut BySeverity, records: &[Record]) {
    for record in records {
        if let Some(count) = refused.get_mut(record.severity as usize) {
            *count += 1;
        }
    }
}

/// `Retry-After` in seconds (RFC 9110, section 10.2.3); a date is taken as no wish.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

/// Without the URL, which may hold a secret.
fn failure(error: ureq::Error) -> io::Error {
    match error {
        ureq::Error::Timeout(_) | ureq::Error::BodyStalled => {
            io::Error::new(io::ErrorKind::TimedOut, "no answer in time")
        }
        ureq::Error::HostNotFound => io::Error::other("the host name is not known"),
        ureq::Error::ConnectionFailed => io::ErrorKind::ConnectionRefused.into(),
        ureq::Error::Rustls(error) => io::Error::other(format!("TLS: {error}")),
        ureq::Error::Io(error) => match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
                io::Error::new(io::ErrorKind::TimedOut, "no answer in time")
            }
            _ => error,
        },
        ureq::Error::Protocol(_) | ureq::Error::Http(_) => {
            io::Error::other("the answer is no HTTP/1.1")
        }
        _ => io::Error::other("the request failed"),
    }
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<Certificate<'static>>, FileError> {
    let wrong = private::wrong(key, path);
    let pem = private::read(path, https::MAX_CERTIFICATES_BYTES).map_err(&wrong)?;
    https::certificates(&pem).ok_or_else(|| wrong(private::invalid("no certificates in PEM")))
}

/// A secret that is text, of the file that this key names.
///
/// # Errors
/// It can't be read, others may read it, or it is empty.
pub(super) fn text_secret(key: &'static str, path: &Path) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let wrong = private::wrong(key, path);
    let bytes = private::secret(path, MAX_SECRET_BYTES).map_err(&wrong)?;
    match bytes.trim_ascii().is_empty() {
        true => Err(wrong(private::invalid("it is empty"))),
        false => Ok(bytes),
    }
}
