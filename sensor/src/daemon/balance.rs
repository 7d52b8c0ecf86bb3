//! The promise: requests in = seen + lost by cause.

use std::collections::BTreeMap;

use crate::{
    capture::live::{Counter, Counters},
    control::{KernelStatus, RequestBalance},
    event::{BySeverity, SensorState},
    pipeline::Stats,
    sinks::LostEvents,
    time::Time,
};

/// What was lost, by cause; the names are stable. Counts up from the daemon's start.
fn losses(kernel: &Counters, stats: &Stats) -> [(&'static str, u64); 12] {
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

/// Remembers what was told, so that each loss is told once.
pub(super) struct Losses {
    since: Time,
    told: BTreeMap<&'static str, u64>,
    told_events: BTreeMap<&'static str, BySeverity>,
}

impl Losses {
    pub(super) fn new(now: Time) -> Self {
        Self { since: now, told: BTreeMap::new(), told_events: BTreeMap::new() }
    }

    /// What was lost since the last call, if anything was.
    pub(super) fn since_last(
        &mut self,
        now: Time,
        kernel: &Counters,
        stats: &Stats,
        events: &LostEvents,
    ) -> Option<SensorState> {
        let mut causes = Vec::new();
        for (cause, total) in losses(kernel, stats) {
            let told = self.told.insert(cause, total).unwrap_or(0);
            if total > told {
                causes.push((cause, total - told));
            }
        }
        let mut lost_events = Vec::new();
        for (cause, total) in events.causes() {
            let told = self.told_events.insert(cause, total).unwrap_or_default();
            let mut more = total;
            more.iter_mut().zip(told).for_each(|(more, told)| *more = more.saturating_sub(told));
            let count = more.iter().sum::<u64>();
            if count > 0 {
                causes.push((cause, count));
                lost_events.push((cause, more));
            }
        }
        let since = std::mem::replace(&mut self.since, now);
        let events = lost_events;
        (!causes.is_empty()).then_some(SensorState::Loss { since, causes, events })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_that_are_lost_are_told_once_by_cause_and_severity() {
        let at = |seconds: u64| Time::from_unix_nanos(seconds * 1_000_000_000);
        let kernel = Counters {
            kernel: bytemuck::Zeroable::zeroed(),
            records: 0,
            malformed: 0,
            losses: 0,
            services_dropped: 0,
        };
        let stats = Stats::default();
        let mut losses = Losses::new(at(1));
        let mut lost = LostEvents::default();
        assert_eq!(losses.since_last(at(2), &kernel, &stats, &lost), None);
        lost.receiver_refused = [0, 2, 0, 0, 1];
        lost.journal_full = [0, 0, 0, 5, 0];
        let due = SensorState::Loss {
            since: at(2),
            causes: vec![("journal-full", 5), ("receiver-refused", 3)],
            events: vec![("journal-full", [0, 0, 0, 5, 0]), ("receiver-refused", [0, 2, 0, 0, 1])],
        };
        assert_eq!(losses.since_last(at(3), &kernel, &stats, &lost), Some(due));
        assert_eq!(losses.since_last(at(4), &kernel, &stats, &lost), None);
        lost.receiver_refused[1] += 1;
        let due = SensorState::Loss {
            since: at(4),
            causes: vec![("receiver-refused", 1)],
            events: vec![("receiver-refused", [0, 1, 0, 0, 0])],
        };
        assert_eq!(losses.since_last(at(5), &kernel, &stats, &lost), Some(due));
    }
}
