//! What the daemon tells `top` once a second.

use serde::{Deserialize, Serialize};

use super::Status;

/// Requests that one answer describes at most; more are counted only.
pub const MAX_LIVE_REQUESTS: usize = 200;
/// Events that one answer holds at most, the last ones.
pub const MAX_LIVE_EVENTS: usize = 200;
/// Services that are counted apart at most, the busiest of the first ones.
pub const MAX_LIVE_SERVICES: usize = 256;

/// What has happened since the last time somebody asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LiveView {
    /// The state of the daemon.
    pub status: Status,
    /// Processor time that it has used, in microseconds.
    pub cpu_us: u64,
    /// Memory that it holds, in bytes.
    pub resident_bytes: u64,
    /// Requests that ended since the last time, the first ones of them. Of all, also of those that
    /// nobody is told of.
    pub requests: Vec<LiveRequest>,
    /// Services by requests since somebody began to watch.
    pub services: Vec<LiveService>,
    /// Events since number `after`, as they were written.
    pub events: Vec<serde_json::Value>,
    /// What to ask with the next time.
    pub next: u64,
}

/// A request that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveRequest {
    /// When its first byte passed, RFC 3339.
    pub time: String,
    /// `IP:PORT`.
    pub client: String,
    /// `IP:PORT`.
    pub server: String,
    /// As sent.
    pub method: String,
    /// As sent, credentials redacted.
    pub path: String,
    /// The answer's status, where one came.
    pub status: Option<u16>,
    /// Microseconds until the answer's first byte.
    pub latency_us: Option<u64>,
    /// Bytes of the answer.
    pub bytes: u64,
    /// It carried a token.
    pub token: bool,
    /// Names of what was found.
    pub findings: Vec<String>,
}

/// What passed at a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveService {
    /// `IP:PORT`.
    pub server: String,
    /// Requests.
    pub requests: u64,
    /// Of these, with a token.
    pub tokens: u64,
    /// Of these, with findings.
    pub found: u64,
    /// Answers 401 and 403.
    pub denied: u64,
    /// Answers 5xx, and none.
    pub failed: u64,
    /// Sum of the latencies in microseconds, over those that were answered.
    pub latency_us: u64,
    /// Requests that were answered.
    pub answered: u64,
    /// Bytes of the answers.
    pub bytes: u64,
}
