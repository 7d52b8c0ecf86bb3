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
fn losses(kernel: &Counters, stats: &Stats, events: LostEvents) -> [(&'static str, u64); 14] {
    [
        ("ring-full-requests", kernel.get(Counter::RequestsLost)),
        ("ring-full-records", kernel.get(Counter::RingFullRecords)),
        ("unreadable-segments", kernel.get(Counter::ParseFailures)),
        ("malformed-records", kernel.malformed),
        ("ring-full-cut-requests", stats.starts.cut),
        ("flow-limit", stats.flows_evicted),
        ("flow-limit-requests", stats.starts.evicted),
        ("stream-limit-bytes", stats.flow.limit_dropped),
        ("http-malformed", stats.malformed),
        ("key-set-incomplete", stats.key_sets.incomplete),
        ("secret-search-full", stats.secrets.dropped),
        ("unknown-keys-full", stats.unknown_keys.dropped),
        ("event-queue-full", events.queue_full),
        ("journal-full", events.journal_full),
    ]
}

/// The balance of requests as `status` shows it; docs/loss.md says what is counted where.
pub(super) fn of(kernel: &Counters, stats: &Stats) -> RequestBalance {
    let (counted, full) = (kernel.get(Counter::Requests), kernel.get(Counter::RequestsLost));
    let starts = &stats.starts;
    let lost = [
        ("ring-full", full),
        ("ring-full-cut", starts.cut),
        ("incomplete", starts.incomplete),
        ("http-malformed", starts.malformed),
        ("flow-limit", starts.evicted),
    ];
    // What the kernel delivered and the reader has not taken yet lies in the ring.
    let in_ring = counted.saturating_sub(full).saturating_sub(starts.taken);
    RequestBalance {
        requests: (counted + starts.unmarked).saturating_sub(starts.mistaken),
        seen: stats.requests,
        pending: in_ring + starts.open + starts.begun.saturating_sub(stats.requests),
        lost: lost.map(|(cause, count)| (cause.to_owned(), count)).into(),
    }
}

/// Events that were lost since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LostEvents {
    /// On their way to the journal.
    pub(super) queue_full: u64,
    /// Over all sinks, those that gave way in the journal before they were delivered.
    pub(super) journal_full: u64,
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
        events: LostEvents,
    ) -> Option<SensorState> {
        let mut causes = Vec::new();
        for (cause, total) in losses(kernel, stats, events) {
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
