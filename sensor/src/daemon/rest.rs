//! The scores that services ask for: between the queue of calls and the pipeline.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::Daemon;
use crate::{
    capture::FlowKey,
    config::RestConfig,
    pipeline::Vouching,
    rest::{Server, Settings, Vouched},
};

/// Calls that are answered in one turn of the daemon: what is captured does not wait longer than for
/// these, each some ten microseconds.
const PER_TURN: usize = 64;

/// Nobody: those who are not told apart.
const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// What becomes of the server at a reload.
pub(super) enum Next {
    /// The one that listens goes on, by these settings.
    Same(Settings),
    /// Another one, or none.
    Other(Option<Server>),
}

impl Next {
    /// Everything that may fail.
    pub(super) fn prepare(now: Option<&Server>, config: &RestConfig) -> anyhow::Result<Self> {
        if let Some(server) = now
            && server.listens_as(config)?
            && let Some(settings) = Settings::load(config)?
        {
            return Ok(Self::Same(settings));
        }
        Server::start(config).map(Self::Other)
    }
}

impl Daemon {
    /// Has this server, or these settings, in force.
    pub(super) fn take_rest(&mut self, next: Next) {
        match (next, &self.rest) {
            (Next::Same(settings), Some(server)) => server.reconfigure(settings),
            (Next::Same(_), None) => {}
            (Next::Other(server), _) => self.rest = server,
        }
    }

    /// Answers services that asked for a score.
    pub(super) fn answer_rest(&mut self) {
        let Some(server) = self.rest.take() else { return };
        let learn = self.config.rest.learn;
        self.work(|pipeline, _, out| {
            for call in server.pending(PER_TURN).filter(|call| call.is_wanted()) {
                let (vouched, answering) = call.open();
                let Vouched { request, claims, client, service } = vouched;
                let client = SocketAddr::new(client.unwrap_or(NOBODY), 0);
                let flow = FlowKey { client, server: SocketAddr::new(NOBODY, 0), scope: 0 };
                let vouching = Vouching { claims: &claims, service: service.as_deref(), learn };
                let assessment = pipeline.describe_as(&flow, request, Some(&vouching), out);
                answering.answer(&assessment);
            }
        });
        self.rest = Some(server);
    }
}
