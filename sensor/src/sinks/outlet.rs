//! What delivers events, one way or another.

use std::{io, path::Path};

use super::{
    FileConfig, JournaldConfig, OtlpConfig, SinkError, SyslogAddress, SyslogConfig, WebhookConfig,
    journald::Journald, lines::Lines, otlp::Otlp, syslog::Syslog, webhook::Webhook,
};
use crate::{
    event::{BySeverity, Filter},
    journal::Record,
};

/// Something that takes events over from the thread of a sink.
pub(super) trait Outlet: Send {
    /// Hands over from the front of `batch`: how many, and why not the next one.
    fn deliver(&mut self, batch: &[Record]) -> (usize, io::Result<()>);

    /// How many may be handed over before [`Outlet::confirm`] says that they arrived. 0 where
    /// what was handed over has arrived.
    fn window(&self) -> usize {
        0
    }

    /// Returns when the receiver has all that was handed over. After an error all of it since the
    /// last confirmation is delivered again.
    fn confirm(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Takes the count of what was handed over and will never be taken: the receiver does not want
    /// it.
    fn refused(&mut self) -> BySeverity {
        Default::default()
    }

    /// The files that it has read, which may be replaced.
    fn files(&self) -> Vec<&Path> {
        Vec::new()
    }

    /// Reads its files, and opens files and connections anew with the next delivery, for `SIGHUP`.
    /// After an error it goes on with what it has.
    fn reopen(&mut self) -> io::Result<()>;
}

/// A sink of the config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Spec {
    Stdout,
    File(FileConfig),
    Syslog(SyslogConfig),
    Webhook(WebhookConfig),
    Otlp(OtlpConfig),
    Journald(JournaldConfig),
}

impl Spec {
    /// What it is called in `status`, and what its place in the journal is kept under.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Stdout => "stdout".to_owned(),
            Self::File(file) => format!("file:{}", file.path.display()),
            Self::Syslog(syslog) => format!("syslog:{}", syslog.address),
            Self::Webhook(webhook) => format!("webhook:{}", webhook.target.url),
            Self::Otlp(otlp) => format!("otlp:{}", otlp.target.url),
            Self::Journald(journald) => format!("journald:{}", journald.path.display()),
        }
    }

    /// Whether it gets what it missed while the sensor was not running.
    pub(super) const fn is_lasting(&self) -> bool {
        !matches!(self, Self::Stdout)
    }

    /// Whether it speaks with the network, and with no file.
    pub(super) const fn is_remote(&self) -> bool {
        match self {
            Self::Stdout | Self::File(_) | Self::Journald(_) => false,
            Self::Syslog(syslog) => !matches!(syslog.address, SyslogAddress::Unix(_)),
            Self::Webhook(_) | Self::Otlp(_) => true,
        }
    }

    pub(super) fn filter(&self) -> Filter {
        match self {
            Self::Stdout => Filter::default(),
            Self::File(file) => file.filter.clone(),
            Self::Syslog(syslog) => syslog.filter.clone(),
            Self::Webhook(webhook) => webhook.filter.clone(),
            Self::Otlp(otlp) => otlp.filter.clone(),
            Self::Journald(journald) => journald.filter.clone(),
        }
    }

    /// With what is said of a receiver that is not there yet.
    pub(super) fn open(&self) -> Result<(Box<dyn Outlet>, Option<String>), SinkError> {
        let failed = |source| SinkError { sink: self.name(), source };
        Ok(match self {
            Self::Stdout => (Box::new(Lines::stdout().map_err(failed)?), None),
            Self::File(file) => {
                let lines = Lines::file(file).map_err(|error| {
                    let said = format!("can't open for appending: {error}");
                    failed(io::Error::new(error.kind(), said))
                })?;
                (Box::new(lines), None)
            }
            Self::Syslog(config) => {
                let mut syslog = Syslog::new(config).map_err(failed)?;
                let missing = syslog.probe().err().map(|error| {
                    format!("sink {}: {error}; trying again with the next event", self.name())
                });
                (Box::new(syslog), missing)
            }
            Self::Webhook(config) => {
                (Box::new(Webhook::new(config).map_err(|error| failed(error.into()))?), None)
            }
            Self::Otlp(config) => (Box::new(Otlp::new(config).map_err(failed)?), None),
            Self::Journald(config) => {
                let mut journald = Journald::new(config);
                let missing = journald.probe().err().map(|error| {
                    format!("sink {}: {error}; trying again with the next event", self.name())
                });
                (Box::new(journald), missing)
            }
        })
    }
}
