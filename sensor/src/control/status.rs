use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ModelsStatus;
use crate::{
    confine::Confinement,
    enforce::{CutCounts, denylist::DenyCounts, tables::TableCounts},
    event::EventTally,
    features::ProfileStats,
    keyring::IssuerStatus,
    memory::MemoryCounters,
    pipeline,
    rest::RestStatus,
    sinks::{DeliveryStatus, SinkStatus},
};

/// The answer to `status`: what runs, what it saw, and what it lost.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Status {
    /// Version of the daemon.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// When it started, RFC 3339.
    pub started: String,
    /// What it does about a bad request.
    pub mode: String,
    /// What is done, denied and allowed.
    pub enforcement: EnforcementStatus,
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
    /// What is remembered of tokens, and what was forgotten of them by cause.
    pub memory: MemoryCounters,
    /// Whose behaviour is remembered.
    #[serde(default)]
    pub profiles: ProfileStats,
    /// Whose keys are at hand.
    pub issuers: Vec<IssuerStatus>,
    /// Lists of others that requests are scored by.
    #[serde(default)]
    pub feeds: Vec<FeedStatus>,
    /// The behaviour models, what people said of events, and the history.
    pub models: ModelsStatus,
    /// What services asked over HTTP; absent where none is listened to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest: Option<RestStatus>,
    /// What events tell of, and how late.
    #[serde(default)]
    pub events: EventTally,
    /// What the daemon may still do.
    #[serde(default)]
    pub confinement: Confinement,
    /// How events get to the sinks.
    #[serde(default)]
    pub delivery: DeliveryStatus,
    /// Where events go.
    pub sinks: Vec<SinkStatus>,
}

/// What is done about bad requests, and what is denied and allowed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct EnforcementStatus {
    /// Where a service has no mode of its own.
    pub mode: String,
    /// Nothing is done, where a service does not say otherwise.
    pub dry_run: bool,
    /// What the kernel does with what it holds while the daemon is not there: `open` or `closed`.
    pub fail: String,
    /// Services with a mode of their own.
    pub services: Vec<ServiceMode>,
    /// Lists of others, of what is denied.
    pub feeds: Vec<FeedStatus>,
    /// Connections that were cut.
    pub cuts: CutCounts,
    /// What is denied.
    pub denied: DenyCounts,
    /// Entries of the allowlist that people added.
    pub allowed: u64,
    /// How full the look-up tables are.
    pub tables: TableCounts,
    /// Counters of the guard programs; empty where no mode asks for them.
    pub guard: BTreeMap<String, u64>,
}

/// A list that somebody else keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedStatus {
    /// Its name.
    pub name: String,
    /// What it is used for: `deny`, or the kind of a `[[feed]]`.
    #[serde(default)]
    pub used: String,
    /// What of it is in force.
    pub entries: u64,
    /// What stands in it beside that: lines that are no entries, entries of no use here.
    pub skipped: u64,
    /// Since when what is in force is, RFC 3339; absent where there is nothing.
    pub loaded: Option<String>,
    /// For how many seconds it was not known to be current: since it was fetched, or its file was
    /// written; absent where there is nothing.
    #[serde(default)]
    pub age_seconds: Option<u64>,
    /// Why there is nothing newer, where it was asked for.
    pub error: Option<String>,
}

/// A service with a mode of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceMode {
    /// Where it is, for people.
    pub place: String,
    /// Its ports; any where there is none.
    pub ports: Vec<u16>,
    /// Its mode.
    pub mode: String,
    /// Nothing is done.
    pub dry_run: bool,
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
