use super::{starts::StartStats, unknown_keys::UnknownKeyStats};
use crate::{capture::OpaqueKind, flow::FlowStats, learn::KeySetStats, weak::SecretStats};

/// What the pipeline has seen and lost since it started. All count up but the two gauges.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Stats {
    /// Segments, and pieces of segments.
    pub segments: u64,
    /// Connections that came into sight.
    pub flows_opened: u64,
    /// Connections whose end was seen.
    pub flows_closed: u64,
    /// Connections that were forgotten after a long silence.
    pub flows_expired: u64,
    /// Connections that were given up because of a limit on their number or their bytes.
    pub flows_evicted: u64,
    /// Gauge: connections followed now.
    pub flows_open: u64,
    /// Gauge: bytes that the connections hold now.
    pub held_bytes: u64,
    /// Requests that were judged.
    pub requests: u64,
    /// Final responses that were joined with their request.
    pub responses: u64,
    /// Exchanges that are over.
    pub exchanges: u64,
    /// Of these, the ones that were not followed to their end.
    pub exchanges_incomplete: u64,
    /// Stretches of bytes that could not be read as HTTP messages.
    pub malformed: u64,
    /// Connections that turned out to be TLS.
    pub opaque_tls: u64,
    /// Connections that turned out to be HTTP/2.
    pub opaque_http2: u64,
    /// Connections that turned out not to be HTTP.
    pub opaque_not_http: u64,
    /// Connections that switched to another protocol.
    pub opaque_upgraded: u64,
    /// Bytes that passed on opaque connections after they were known as such.
    pub opaque_bytes: u64,
    /// Tokens found.
    pub tokens: u64,
    /// Requests with a finding at or above the configured severity.
    pub suspicious: u64,
    /// Requests that were described by others and not captured.
    pub described: u64,
    /// Requests whose connection was to be cut.
    pub cuts: u64,
    /// Requests whose connection would have been cut but for `dry_run`.
    pub cuts_dry: u64,
    /// Requests that the allowlist spared.
    pub spared: u64,
    /// Events given out.
    pub events: u64,
    /// What became of the request starts that the kernel counted.
    pub starts: StartStats,
    /// Key sets seen in clear.
    pub key_sets: KeySetStats,
    /// Tokens that name a key that is not at hand, of issuers whose keys are fetched.
    pub unknown_keys: UnknownKeyStats,
    /// The search for weak secrets.
    pub secrets: SecretStats,
    /// Reassembly.
    pub flow: FlowStats,
}

/// The part of [`Stats`] that the front counts.
#[derive(Clone, Debug, Default)]
pub(super) struct FrontStats {
    pub(super) segments: u64,
    pub(super) flows_opened: u64,
    pub(super) flows_closed: u64,
    pub(super) flows_expired: u64,
    pub(super) flows_evicted: u64,
    pub(super) malformed: u64,
    opaque: [u64; 4],
    pub(super) opaque_bytes: u64,
    pub(super) starts: StartStats,
    pub(super) flow: FlowStats,
}

impl FrontStats {
    pub(super) fn count_opaque(&mut self, kind: OpaqueKind) {
        let [tls, http2, not_http, upgraded] = &mut self.opaque;
        *match kind {
            OpaqueKind::Tls => tls,
            OpaqueKind::Http2 => http2,
            OpaqueKind::NotHttp => not_http,
            OpaqueKind::Upgraded => upgraded,
        } += 1;
    }
}

impl Stats {
    /// What the back counted, with what the front did: everything else is the front's alone.
    pub(super) fn with_front(mut self, front: &FrontStats) -> Self {
        let front = front.clone();
        (self.segments, self.malformed) = (front.segments, front.malformed);
        (self.flows_opened, self.flows_closed) = (front.flows_opened, front.flows_closed);
        (self.flows_expired, self.flows_evicted) = (front.flows_expired, front.flows_evicted);
        [self.opaque_tls, self.opaque_http2, self.opaque_not_http, self.opaque_upgraded] =
            front.opaque;
        self.opaque_bytes = front.opaque_bytes;
        (self.starts, self.flow) = (front.starts, front.flow);
        self
    }
}
