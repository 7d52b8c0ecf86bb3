//! Events by POST to a receiver of the user's: SOAR tools, Splunk's HTTP event collector.

mod template;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::hmac;
use serde::Deserialize;
use serde_json::Value;

pub(super) use self::template::Template;
use super::{
    format::{Format, Origin},
    http::{self, Poster, Raw, Reply, Target, secret},
    outlet::Outlet,
    worker::BATCH_MAX,
};
use crate::{event::Filter, finding::Severity, journal::Record};

/// The shortest secret: what RFC 2104, section 3, advises for SHA-256.
const SECRET_MIN: usize = 32;
/// The largest template.
const TEMPLATE_MAX: u64 = 64 << 10;

/// `t=SECONDS,v1=HEX`: HMAC-SHA-256 of `SECONDS.BODY` under the secret.
const SIGNATURE: &str = "X-Jotwatch-Signature";
/// The ids of the events in the body, in its order, with commas: to deduplicate by.
const IDS: &str = "X-Jotwatch-Id";

/// How several events stand in one body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BatchAs {
    /// One a line.
    #[default]
    Lines,
    /// A JSON array.
    Array,
}

/// A webhook of the config.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Keys")]
pub struct WebhookConfig {
    /// The receiver.
    pub target: Target,
    /// The file of the secret that bodies are signed with; they are not signed without.
    pub secret_file: Option<PathBuf>,
    /// Events in a POST at most.
    pub batch: usize,
    /// How they stand in it.
    pub batch_as: BatchAs,
    /// The shape of each.
    pub format: Format,
    /// The file of a template for each.
    pub template_file: Option<PathBuf>,
    /// Which events it gets.
    pub filter: Filter,
}

/// The keys of `[[sinks.webhook]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    url: String,
    #[serde(default)]
    allow_http: bool,
    ca_file: Option<PathBuf>,
    client_cert_file: Option<PathBuf>,
    client_key_file: Option<PathBuf>,
    #[serde(default)]
    header_files: BTreeMap<String, PathBuf>,
    timeout_seconds: Option<u64>,
    secret_file: Option<PathBuf>,
    batch: Option<usize>,
    batch_as: Option<BatchAs>,
    #[serde(default)]
    format: Format,
    template_file: Option<PathBuf>,
    #[serde(default)]
    filter: Filter,
}

impl TryFrom<Keys> for WebhookConfig {
    type Error = String;

    fn try_from(keys: Keys) -> Result<Self, String> {
        let batch = keys.batch.unwrap_or(1);
        if !(1..=BATCH_MAX).contains(&batch) {
            return Err(format!("batch must be from 1 to {BATCH_MAX}, not {batch}"));
        }
        if keys.batch_as.is_some() && batch == 1 {
            return Err("batch_as is for a batch of more than one".to_owned());
        }
        if keys.template_file.is_some() && keys.format != Format::Json {
            return Err("template_file says the shape itself: format is for without".to_owned());
        }
        let target = Target::try_from(Raw {
            url: keys.url,
            allow_http: keys.allow_http,
            ca_file: keys.ca_file,
            client_cert_file: keys.client_cert_file,
            client_key_file: keys.client_key_file,
            header_files: keys.header_files,
            timeout_seconds: keys.timeout_seconds,
        })?;
        Ok(Self {
            target,
            secret_file: keys.secret_file,
            batch,
            batch_as: keys.batch_as.unwrap_or_default(),
            format: keys.format,
            template_file: keys.template_file,
            filter: keys.filter,
        })
    }
}

/// What is sent, and where.
pub(super) struct Webhook {
    config: WebhookConfig,
    poster: Poster,
    secret: Option<hmac::Key>,
    template: Option<Template>,
    refused: [u64; Severity::ALL.len()],
}

impl Webhook {
    /// Reads the files that the config names; connects with the first event.
    ///
    /// # Errors
    /// One of them can't be read, is not private, or is no template.
    pub(super) fn new(config: &WebhookConfig) -> io::Result<Self> {
        let template = config.template_file.as_deref().map(template).transpose()?;
        let secret = config.secret_file.as_deref().map(signing_key).transpose()?;
        Ok(Self {
            poster: Poster::new(&config.target)?,
            config: config.clone(),
            secret,
            template,
            refused: Default::default(),
        })
    }

    fn body(&self, records: &[Record]) -> Vec<u8> {
        let mut body = Vec::new();
        let array = self.config.batch > 1 && self.config.batch_as == BatchAs::Array;
        for (i, record) in records.iter().enumerate() {
            match (array, i) {
                (true, 0) => body.push(b'['),
                (true, _) => body.push(b','),
                (false, 0) => {}
                (false, _) => body.push(b'\n'),
            }
            let event = || serde_json::from_slice::<Value>(&record.line).unwrap_or_default();
            match &self.template {
                Some(template) => body.extend_from_slice(template.render(&event()).as_bytes()),
                None => {
                    body.extend_from_slice(&self.config.format.line(&record.line, Origin::own()));
                }
            }
        }
        if array {
            body.push(b']');
        }
        body
    }

    fn post(&mut self, records: &[Record]) -> io::Result<Reply> {
        let body = self.body(records);
        let ids: Vec<String> = records.iter().filter_map(|record| id(&record.line)).collect();
        let mut headers = vec![(IDS, ids.join(","))];
        if let Some(key) = &self.secret {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            headers.push((SIGNATURE, signature(key, now, &body)));
        }
        let lines = self.config.batch > 1 && self.config.batch_as == BatchAs::Lines;
        let kind = if lines { "application/x-ndjson" } else { "application/json" };
        self.poster.post(kind, &headers, &body)
    }
}

impl Outlet for Webhook {
    fn deliver(&mut self, batch: &[Record]) -> (usize, io::Result<()>) {
        let most = self.config.batch;
        let mut refused = std::mem::take(&mut self.refused);
        let delivered = http::deliver(batch, most, &mut refused, |records| self.post(records));
        self.refused = refused;
        delivered
    }

    fn refused(&mut self) -> [u64; Severity::ALL.len()] {
        std::mem::take(&mut self.refused)
    }

    fn reopen(&mut self) -> io::Result<()> {
        let refused = self.refused();
        *self = Self { refused, ..Self::new(&self.config)? };
        Ok(())
    }
}

/// The id of an event's line.
fn id(line: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Id {
        id: String,
    }
    serde_json::from_slice::<Id>(line).ok().map(|event| event.id)
}

fn signature(key: &hmac::Key, now: u64, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(key);
    context.update(now.to_string().as_bytes());
    context.update(b".");
    context.update(body);
    let mut said = format!("t={now},v1=");
    for byte in context.sign().as_ref() {
        let _ = write!(said, "{byte:02x}");
    }
    said
}

fn signing_key(path: &Path) -> io::Result<hmac::Key> {
    let bytes = secret(path)?;
    let text = bytes.trim_ascii_end();
    if text.len() < SECRET_MIN {
        let said = format!("{}: a secret has at least {SECRET_MIN} bytes", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, said));
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, text))
}

fn template(path: &Path) -> io::Result<Template> {
    let said = |what: &str| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", path.display()))
    };
    let len = fs::metadata(path).map_err(|error| said(&error.to_string()))?.len();
    if len > TEMPLATE_MAX {
        return Err(said(&format!("over {TEMPLATE_MAX} bytes")));
    }
    let text = fs::read_to_string(path).map_err(|error| said(&error.to_string()))?;
    Template::parse(&text).map_err(|error| said(&error))
}
