//! A way out for events, behind its queue.

use std::{io, path::Path, sync::Arc};

use super::{SinkError, SyslogConfig, lines::Lines, syslog::Syslog};
use crate::event::Event;

/// Where a sink writes.
pub(super) enum Outlet {
    /// JSON lines.
    Lines(Lines),
    /// RFC 5424 messages.
    Syslog(Box<Syslog>),
}

impl Outlet {
    pub(super) fn stdout() -> Result<Self, SinkError> {
        Lines::stdout()
            .map(Self::Lines)
            .map_err(|source| SinkError::Start { sink: "stdout".to_owned(), source })
    }

    pub(super) fn file(path: &Path) -> Result<Self, SinkError> {
        Lines::file(path)
            .map(Self::Lines)
            .map_err(|source| SinkError::Open { sink: format!("file:{}", path.display()), source })
    }

    /// With the reason where the receiver is not there yet.
    pub(super) fn syslog(config: &SyslogConfig) -> (Self, Option<String>) {
        let mut syslog = Syslog::new(config);
        let warning = syslog.probe().err().map(|error| {
            format!("sink {}: {error}; trying again with the next event", syslog.name())
        });
        (Self::Syslog(Box::new(syslog)), warning)
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Lines(lines) => lines.name(),
            Self::Syslog(syslog) => syslog.name(),
        }
    }

    /// Delivers from the front of `batch`: how many it took over, and why not the next one.
    pub(super) fn deliver(&mut self, batch: &[Arc<Event>]) -> (usize, io::Result<()>) {
        match self {
            Self::Lines(lines) => lines.deliver(batch),
            Self::Syslog(syslog) => syslog.deliver(batch),
        }
    }

    pub(super) fn reopen(&mut self) -> io::Result<()> {
        match self {
            Self::Lines(lines) => lines.reopen(),
            Self::Syslog(syslog) => {
                syslog.disconnect();
                Ok(())
            }
        }
    }
}
