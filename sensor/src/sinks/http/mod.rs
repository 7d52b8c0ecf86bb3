//! POST to a receiver of events: over TLS, with credentials from files, and never to anybody else.

mod config;

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::crypto::aws_lc_rs;
use ureq::{
    Agent,
    http::{HeaderMap, HeaderName, HeaderValue, header},
    tls::{
        Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, TlsProvider, parse_pem,
    },
};
use zeroize::Zeroizing;

pub(super) use self::config::Raw;
pub use self::config::{Target, Url};
use crate::{finding::Severity, journal::Record};

/// The largest secret, and the largest value of a header field.
const MAX_SECRET_BYTES: usize = 8 << 10;
/// The largest file of certificates.
const MAX_CERTIFICATES_BYTES: usize = 4 << 20;
/// The largest head of an answer.
const MAX_HEAD_BYTES: usize = 16 << 10;
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
    pub(crate) fn new(target: &Target) -> io::Result<Self> {
        let roots = match &target.ca_file {
            Some(path) => certificates(path)?,
            None => system_roots(),
        };
        let client = target.client.as_ref().map(|(certificates_file, key_file)| {
            let chain = certificates(certificates_file)?;
            let pem = secret(key_file)?;
            let key = PrivateKey::from_pem(&pem)
                .map_err(|_| invalid(key_file, "no private key in PEM"))?;
            io::Result::Ok(ClientCert::new_with_certs(&chain, key))
        });
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(RootCerts::Specific(Arc::new(roots)))
            .client_cert(client.transpose()?)
            .unversioned_rustls_crypto_provider(Arc::new(aws_lc_rs::default_provider()))
            .build();
        let agent = Agent::config_builder()
            .tls_config(tls)
            .max_redirects(0)
            .http_status_as_error(false)
            // A proxy from the environment would see what is sent.
            .proxy(None)
            .user_agent(concat!("jotwatch/", env!("CARGO_PKG_VERSION")))
            .max_response_header_size(MAX_HEAD_BYTES)
            .timeout_global(Some(target.timeout))
            .build()
            .new_agent();
        let mut headers = HeaderMap::new();
        for (name, path) in &target.header_files {
            let value = secret(path)?;
            let mut value = HeaderValue::from_bytes(value.trim_ascii_end())
                .map_err(|_| invalid(path, "no value of a header field"))?;
            value.set_sensitive(true);
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| invalid(path, "its name is none of a header field"))?;
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
    refused: &mut [u64; Severity::ALL.len()],
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
pub(super) fn refuse(refused: &mut [u64; Severity::ALL.len()], records: &[Record]) {
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

fn invalid(path: &Path, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", path.display()))
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn system_roots() -> Vec<Certificate<'static>> {
    let native = rustls_native_certs::load_native_certs();
    native.certs.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect()
}

fn certificates(path: &Path) -> io::Result<Vec<Certificate<'static>>> {
    let (pem, _) = read(path, MAX_CERTIFICATES_BYTES).map_err(|error| named(path, &error))?;
    let mut found = Vec::new();
    for item in parse_pem(&pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => found.push(certificate),
            Ok(_) => {}
            Err(_) => return Err(invalid(path, "no certificates in PEM")),
        }
    }
    match found.is_empty() {
        true => Err(invalid(path, "no certificate")),
        false => Ok(found),
    }
}

/// Reads a secret, which its owner and his group at most may read.
///
/// # Errors
/// Why not, with the file and nothing of its content.
pub(super) fn secret(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let (bytes, mode) = read(path, MAX_SECRET_BYTES).map_err(|error| named(path, &error))?;
    if mode & 0o027 != 0 {
        let said = format!("others may read it or its group may write it (mode {mode:03o})");
        return Err(invalid(path, &said));
    }
    match bytes.trim_ascii().is_empty() {
        true => Err(invalid(path, "it is empty")),
        false => Ok(bytes),
    }
}

/// A regular file of at most `max` bytes, and its mode.
fn read(path: &Path, max: usize) -> io::Result<(Zeroizing<Vec<u8>>, u32)> {
    // Opening a named pipe would wait for a writer.
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(metadata.len().min(max as u64) as usize + 1));
    file.take(max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > max {
        return Err(io::Error::other(format!("over {max} bytes")));
    }
    Ok((bytes, metadata.mode() & 0o777))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_what_to_do() {
        for (status, due) in [
            (200, Class::Arrived),
            (204, Class::Arrived),
            (302, Class::Misdirected),
            (400, Class::Refused),
            (401, Class::Misdirected),
            (403, Class::Misdirected),
            (408, Class::Later),
            (413, Class::Refused),
            (422, Class::Refused),
            (429, Class::Later),
            (500, Class::Later),
            (503, Class::Later),
            (100, Class::Later),
            (999, Class::Later),
        ] {
            assert_eq!(class(status), due, "{status}");
        }
    }

    #[test]
    fn one_that_is_refused_holds_up_no_other() {
        let record = |number: u64| Record {
            sequence: number,
            severity: if number == 4 { Severity::High } else { Severity::Low },
            line: number.to_string().into_bytes().into(),
        };
        let batch: Vec<Record> = (0..10).map(record).collect();
        for most in [1, 2, 3, 10, 64] {
            let (mut refused, mut arrived) = ([0; Severity::ALL.len()], Vec::new());
            let delivered = deliver(&batch, most, &mut refused, |records| {
                assert!(records.len() <= most);
                let numbers: Vec<u64> = records.iter().map(|record| record.sequence).collect();
                if numbers.contains(&4) {
                    return Ok(Reply::Refused(400));
                }
                if numbers.contains(&8) {
                    return Err(io::Error::other("gone"));
                }
                arrived.extend(numbers);
                Ok(Reply::Arrived(Vec::new()))
            });
            let (taken, result) = delivered;
            assert!(result.is_err() && refused == [0, 0, 0, 1, 0], "{most}");
            // All that were taken, but the refused one, in order.
            let due: Vec<u64> = (0..taken as u64).filter(|&number| number != 4).collect();
            assert_eq!(arrived, due, "{most}");
            assert!((6..=8).contains(&taken), "{most}: {taken}");
        }
    }

    #[test]
    fn a_receiver_may_ask_for_a_pause_within_bounds() {
        let of = |value: &'static str| {
            let headers = [(header::RETRY_AFTER, HeaderValue::from_static(value))];
            retry_after(&headers.into_iter().collect())
        };
        assert_eq!(of("7"), Some(Duration::from_secs(7)));
        assert_eq!(of("999999999"), Some(RETRY_AFTER_MAX));
        assert_eq!(of("-1"), None);
        assert_eq!(of("Fri, 31 Dec 2027 23:59:59 GMT"), None);
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn secrets_are_private_small_and_not_repeated() {
        use std::{fs, os::unix::fs::PermissionsExt as _};

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        let load = |text: &str, mode: u32| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            secret(&path).map_err(|error| error.to_string())
        };
        for mode in [0o600, 0o400, 0o640] {
            assert_eq!(**load("s3cret\n", mode).unwrap(), *b"s3cret\n");
        }
        for mode in [0o644, 0o660, 0o601] {
            let error = load("s3cret", mode).unwrap_err();
            assert!(error.contains("others may read it") && !error.contains("s3cret"), "{error}");
        }
        assert!(load(" \n", 0o600).unwrap_err().contains("empty"));
        assert!(load(&"x".repeat(MAX_SECRET_BYTES + 1), 0o600).unwrap_err().contains("over 8192"));
        assert!(secret(dir.path()).is_err());
        assert!(secret(&dir.path().join("none")).unwrap_err().to_string().contains("none"));
    }
}
