use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{keyring::IssuerStatus, pipeline, sinks::SinkStatus};

/// The answer to `status`: what runs, what it saw, and what it lost.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Version of the daemon.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// When it started, RFC 3339.
    pub started: String,
    /// What it does about a bad request.
    pub mode: String,
    /// Path of the watched cgroup.
    pub cgroup: String,
    /// Watched ports.
    pub ports: Vec<u16>,
    /// Requests in = seen + lost by cause.
    pub balance: RequestBalance,
    /// The kernel programs' counters.
    pub kernel: KernelStatus,
    /// The stages behind capture.
    pub pipeline: pipeline::Stats,
    /// Whose keys are at hand.
    pub issuers: Vec<IssuerStatus>,
    /// Where events go.
    pub sinks: Vec<SinkStatus>,
}

/// Requests in = seen + lost by cause, over all watched connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestBalance {
    /// Requests whose first bytes passed the hook.
    pub requests: u64,
    /// Of these, judged.
    pub seen: u64,
    /// Of these, still under way.
    pub pending: u64,
    /// Of these, lost, by cause.
    pub lost: BTreeMap<String, u64>,
}

/// Counters of the kernel programs, by name.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KernelStatus(pub BTreeMap<String, u64>);
