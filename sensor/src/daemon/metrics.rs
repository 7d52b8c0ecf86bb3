//! Metrics of the running daemon: who asks for its status, and who is sent it.

use std::sync::Arc;

use anyhow::Context as _;

use super::Daemon;
use crate::{
    config::Config,
    metrics::{Exporter, Server, Source},
};

/// Those who want metrics.
pub(super) struct Metrics {
    pub(super) source: Arc<Source>,
    server: Option<Server>,
    exporters: Vec<Exporter>,
}

/// What becomes of them at a reload.
pub(super) struct NextMetrics {
    /// Absent where the one that listens goes on.
    server: Option<Option<Server>>,
    exporters: Vec<Exporter>,
}

impl Metrics {
    pub(super) fn start(config: &Config) -> anyhow::Result<Self> {
        let source = Source::new().context("metrics")?;
        let mut metrics = Self { source, server: None, exporters: Vec::new() };
        let next = metrics.prepare(config)?;
        metrics.take(next);
        Ok(metrics)
    }

    /// Everything that may fail.
    pub(super) fn prepare(&self, config: &Config) -> anyhow::Result<NextMetrics> {
        let listen = config.metrics.listen();
        let server = match (&self.server, listen) {
            (Some(server), Some(listen)) if *server.listen() == listen => None,
            (_, Some(listen)) => Some(Some(Server::start(&listen, Arc::clone(&self.source))?)),
            (_, None) => Some(None),
        };
        // Anew in any case: the files that they name may be others.
        let wanted = config.sinks.otlp.iter().filter(|otlp| otlp.metrics.is_some());
        let exporters = wanted.map(|otlp| {
            let started = Exporter::start(otlp, Arc::clone(&self.source));
            started.with_context(|| format!("sink otlp:{}", otlp.target.url))
        });
        let exporters = exporters.collect::<Result<_, _>>()?;
        Ok(NextMetrics { server, exporters })
    }

    /// Those of the new configuration, and no others.
    pub(super) fn take(&mut self, next: NextMetrics) {
        if let Some(server) = next.server {
            self.server = server;
        }
        self.exporters = next.exporters;
    }
}

impl Daemon {
    /// Answers those who ask for metrics: once a second at most, however many they are.
    pub(super) fn answer_metrics(&mut self) {
        if !self.metrics.source.is_wanted() {
            return;
        }
        match self.status() {
            Ok(status) => self.metrics.source.answer(status),
            Err(error) => tracing::warn!("no metrics: {error:#}"),
        }
    }
}
