//! Events by POST to a receiver of the user's: SOAR tools, Splunk's HTTP event collector.

mod template;
#[cfg(test)]
mod tests;

use std::{
    fmt::Write as _,
    io,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::hmac;
use serde::Deserialize;
use serde_json::Value;

pub(super) use self::template::Template;
use super::{
    format::{Format, Origin},
    http::{self, Poster, Reply, Target},
    outlet::Outlet,
    private::{self, FileError},
    worker::BATCH_MAX,
};
use crate::{
    event::{BySeverity, Filter},
    journal::Record,
};

/// The shortest secret: what RFC 2104, section 3, advises for SHA-256.
const SECRET_MIN: usize = 32;
/// The largest template.
const TEMPLATE_MAX: usize = 64 << 10;

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

http::keys! {
    /// The keys of `[[sinks.webhook]]`.
    struct Keys {
        #[serde(default, deserialize_with = "crate::credential::optional")]
        secret_file: Option<PathBuf>,
        batch: Option<usize>,
        batch_as: Option<BatchAs>,
        #[serde(default)]
        format: Format,
        template_file: Option<PathBuf>,
        #[serde(default)]
        filter: Filter,
    }
}

impl TryFrom<Keys> for WebhookConfig {
    type Error = String;

    fn try_from(mut keys: Keys) -> Result<Self, String> {
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
        let target = keys.target()?;
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
    refused: BySeverity,
}

impl Webhook {
    /// Reads the files that the config names; connects with the first event.
    ///
    /// # Errors
    /// One of them can't be read, is not private, or is no template.
    pub(super) fn new(config: &WebhookConfig) -> Result<Self, FileError> {
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

    fn refused(&mut self) -> BySeverity {
        std::mem::take(&mut self.refused)
    }

    fn files(&self) -> Vec<&Path> {
        let own = self.config.secret_file.iter().chain(&self.config.template_file);
        self.config.target.files().into_iter().chain(own.map(PathBuf::as_path)).collect()
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

fn signing_key(path: &Path) -> Result<hmac::Key, FileError> {
    let bytes = http::text_secret("secret_file", path)?;
    let text = bytes.trim_ascii_end();
    if text.len() < SECRET_MIN {
        let said = private::invalid(format!("a secret has at least {SECRET_MIN} bytes"));
        return Err(private::wrong("secret_file", path)(said));
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, text))
}

fn template(path: &Path) -> Result<Template, FileError> {
    let wrong = private::wrong("template_file", path);
    let bytes = private::read(path, TEMPLATE_MAX).map_err(&wrong)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| wrong(private::invalid("not UTF-8")))?;
    Template::parse(text).map_err(|said| wrong(private::invalid(said)))
}
