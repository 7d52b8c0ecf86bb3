//! The promise: requests in = seen + lost by cause.

use std::collections::BTreeMap;

use crate::{
    capture::live::{Counter, Counters},
    control::{KernelStatus, RequestBalance},
    event::SensorState,
    pipeline::Stats,
    time::Time,
};

/// What was lost, by cause; the names are stable. Counts up from the daemon's start.
fn losses(kernel: &Counters, stats: &Stats, undelivered: u64) -> [(&'static str, u64); 8] {
    [
        ("ring-full-requests", kernel.get(Counter::RequestsLost)),
        ("ring-full-records", kernel.get(Counter::RingFullRecords)),
        ("unreadable-segments", kernel.get(Counter::ParseFailures)),
        ("malformed-records", kernel.malformed),
        ("flow-limit", stats.flows_evicted),
        ("stream-limit-bytes", stats.flow.limit_dropped),
        ("http-malformed", stats.malformed),
        ("sink-queue-full", undelivered),
    ]
}

/// The balance of requests as `status` shows it.
pub(super) fn of(kernel: &Counters, stats: &Stats) -> RequestBalance {
    let requests = kernel.get(Counter::Requests);
    let seen = stats.requests;
    let lost = BTreeMap::from([
        ("ring-full".to_owned(), kernel.get(Counter::RequestsLost)),
        ("ring-full-cut".to_owned(), kernel.get(Counter::RequestsCut)),
        ("http-malformed".to_owned(), stats.malformed),
        ("flow-limit".to_owned(), stats.requests_evicted),
    ]);
    let accounted = seen + lost.values().sum::<u64>();
    RequestBalance { requests, seen, pending: requests.saturating_sub(accounted), lost }
}

/// Remembers what was told, so that each loss is told once.
pub(super) struct Losses {
    since: Time,
    told: BTreeMap<&'static str, u64>,
}

impl Losses {
    pub(super) fn new(now: Time) -> Self {
        Self { since: now, told: BTreeMap::new() }
    }

    /// What was lost since the last call, if anything was.
    pub(super) fn since_last(
        &mut self,
        now: Time,
        kernel: &Counters,
        stats: &Stats,
        undelivered: u64,
    ) -> Option<SensorState> {
        let mut causes = Vec::new();
        for (cause, total) in losses(kernel, stats, undelivered) {
            let told = self.told.insert(cause, total).unwrap_or(0);
            if total > told {
                causes.push((cause, total - told));
            }
        }
        let since = std::mem::replace(&mut self.since, now);
        (!causes.is_empty()).then_some(SensorState::Loss { since, causes })
    }
}

/// The kernel's counters by name, and the reader's own.
pub(super) fn kernel_status(counters: &Counters) -> KernelStatus {
    let kernel = Counter::ALL.map(|counter| (counter.name().to_owned(), counters.get(counter)));
    let reader = [
        ("records-read", counters.records),
        ("records-malformed", counters.malformed),
        ("services-unasked", counters.services_dropped),
    ];
    let reader = reader.map(|(name, count)| (name.to_owned(), count));
    KernelStatus(kernel.into_iter().chain(reader).collect())
}
