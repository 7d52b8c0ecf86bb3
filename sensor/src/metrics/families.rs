//! The metrics: names, meanings, and their values in a [`Status`].
//!
//! Names and units after the conventions of Prometheus and OpenMetrics 1.0: base units, counters
//! without their suffix `_total`, which the text form adds. Labels have values out of the code or the
//! config, never out of traffic.

use crate::{control::Status, finding::Severity, histogram::Histogram};

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises, until the daemon starts anew.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Says something in its labels.
    Info,
    /// Durations by length.
    Histogram,
}

impl Kind {
    /// As OpenMetrics names it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Info => "info",
            Self::Histogram => "histogram",
        }
    }
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Number {
    /// A whole number.
    Int(u64),
    /// Durations.
    Histogram(Histogram),
}

/// A value and its labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Names and values, names each once.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: Number,
}

/// A metric with all of its values.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// The name, without suffix.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// The unit, which the name ends in; empty where it counts things.
    pub unit: &'static str,
    /// What it means.
    pub help: &'static str,
    /// Its values.
    pub samples: Vec<Sample>,
}

impl Family {
    fn with(mut self, labels: &[(&'static str, &str)], value: u64) -> Self {
        let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.samples.push(Sample { labels, value: Number::Int(value) });
        self
    }

    fn of(self, value: u64) -> Self {
        self.with(&[], value)
    }

    /// One value for each name.
    fn each<'a>(
        self,
        label: &'static str,
        values: impl IntoIterator<Item = (&'a str, u64)>,
    ) -> Self {
        values.into_iter().fold(self, |family, (name, value)| family.with(&[(label, name)], value))
    }

    fn timed(mut self, labels: &[(&'static str, &str)], value: &Histogram) -> Self {
        let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.samples.push(Sample { labels, value: Number::Histogram(value.clone()) });
        self
    }
}

fn family(kind: Kind, name: &'static str, help: &'static str) -> Family {
    Family { name, kind, unit: "", help, samples: Vec::new() }
}

fn counter(name: &'static str, help: &'static str) -> Family {
    family(Kind::Counter, name, help)
}

fn gauge(name: &'static str, help: &'static str) -> Family {
    family(Kind::Gauge, name, help)
}

fn measured(family: Family, unit: &'static str) -> Family {
    Family { unit, ..family }
}

fn severities(counts: &[u64]) -> impl Iterator<Item = (&'static str, u64)> {
    Severity::ALL.iter().map(|severity| severity.as_str()).zip(counts.iter().copied())
}

fn seconds(text: &str) -> u64 {
    crate::time::Time::parse(text).map_or(0, crate::time::Time::unix_secs)
}

/// The metrics of a status.
#[must_use]
pub fn families(status: &Status) -> Vec<Family> {
    let mut all = requests(status);
    all.extend(enforcement(status));
    all.extend(state(status));
    all.extend(delivery(status));
    all
}

fn requests(status: &Status) -> Vec<Family> {
    let (balance, pipeline) = (&status.balance, &status.pipeline);
    let named = |map: &'_ std::collections::BTreeMap<String, u64>| {
        map.iter().map(|(name, n)| (name.clone(), *n)).collect::<Vec<_>>()
    };
    let each = |family: Family, label, values: &[(String, u64)]| {
        family.each(label, values.iter().map(|(name, n)| (name.as_str(), *n)))
    };
    vec![
        family(Kind::Info, "jotwatch_build", "The version that runs.")
            .with(&[("version", status.version.as_str()), ("mode", status.mode.as_str())], 1),
        measured(
            gauge("jotwatch_start_time_seconds", "When the daemon started, since 1970."),
            "seconds",
        )
        .of(seconds(&status.started)),
        counter("jotwatch_requests_captured", "Requests whose first bytes passed.")
            .of(balance.requests),
        counter("jotwatch_requests_judged", "Of these, requests that were judged.")
            .of(balance.seen),
        gauge("jotwatch_requests_pending", "Of these, requests that are still under way.")
            .of(balance.pending),
        each(
            counter(
                "jotwatch_requests_lost",
                "Of these, requests that were never judged, by cause.",
            ),
            "cause",
            &named(&balance.lost),
        ),
        counter("jotwatch_requests_described", "Requests that services described over HTTP.")
            .of(pipeline.described),
        counter("jotwatch_requests_suspicious", "Requests with a finding that is told of.")
            .of(pipeline.suspicious),
        counter("jotwatch_responses", "Final responses that were joined with their request.")
            .of(pipeline.responses),
        counter("jotwatch_tokens", "Tokens found.").of(pipeline.tokens),
        each(
            counter("jotwatch_findings", "Findings in events, by id, before alerts are joined."),
            "finding",
            &named(&status.events.findings),
        ),
        each(
            counter("jotwatch_kernel", "What the kernel programs and their reader count, by name."),
            "counter",
            &named(&status.kernel.0),
        ),
        counter("jotwatch_segments", "TCP segments, and pieces of them, that were read.")
            .of(pipeline.segments),
        counter("jotwatch_flows", "Connections, by what became of them.").each(
            "state",
            [
                ("opened", pipeline.flows_opened),
                ("closed", pipeline.flows_closed),
                ("expired", pipeline.flows_expired),
                ("evicted", pipeline.flows_evicted),
            ],
        ),
        gauge("jotwatch_flows_open", "Connections that are followed now.").of(pipeline.flows_open),
        measured(gauge("jotwatch_flows_held_bytes", "Bytes that connections hold now."), "bytes")
            .of(pipeline.held_bytes),
        counter("jotwatch_flows_opaque", "Connections that can't be read, by what they carry.")
            .each(
                "protocol",
                [
                    ("tls", pipeline.opaque_tls),
                    ("http2", pipeline.opaque_http2),
                    ("not-http", pipeline.opaque_not_http),
                    ("upgraded", pipeline.opaque_upgraded),
                ],
            ),
        counter(
            "jotwatch_malformed",
            "Stretches of bytes that could not be read as HTTP messages.",
        )
        .of(pipeline.malformed),
        measured(
            family(
                Kind::Histogram,
                "jotwatch_event_latency_seconds",
                "From the first byte of a request, with the wait for its answer, to its event.",
            ),
            "seconds",
        )
        .timed(&[], &status.events.latency),
    ]
}

fn enforcement(status: &Status) -> Vec<Family> {
    let (enforcement, pipeline) = (&status.enforcement, &status.pipeline);
    let denied = &enforcement.denied;
    vec![
        counter("jotwatch_verdicts", "Verdicts that go beyond an alert.").each(
            "verdict",
            [
                ("cut", pipeline.cuts),
                ("cut-dry-run", pipeline.cuts_dry),
                ("spared", pipeline.spared),
            ],
        ),
        counter("jotwatch_cuts", "Connections that were to be cut, by what came of it.").each(
            "result",
            [
                ("reset", enforcement.cuts.reset),
                ("gone", enforcement.cuts.gone),
                ("failed", enforcement.cuts.failed),
            ],
        ),
        gauge("jotwatch_denied_entries", "What is denied now, by kind.").each(
            "kind",
            [
                ("token", denied.tokens + denied.file_tokens),
                ("address", denied.networks + denied.file_networks),
                ("subject", denied.subjects + denied.file_subjects),
                ("flow", denied.flows),
            ],
        ),
        counter(
            "jotwatch_denied_displaced",
            "Entries of verdicts that gave way before their time.",
        )
        .of(denied.displaced),
        counter("jotwatch_denied_table_failures", "Entries that a kernel table did not take.")
            .of(denied.table_failures),
        gauge("jotwatch_allowed_entries", "Entries of the allowlist that people added.")
            .of(enforcement.allowed),
        counter("jotwatch_guard", "What the guard programs count, by name.")
            .each("counter", enforcement.guard.iter().map(|(name, count)| (name.as_str(), *count))),
    ]
}

fn state(status: &Status) -> Vec<Family> {
    let (memory, profiles) = (&status.memory, &status.profiles);
    let models = &status.models;
    let shadow = models.shadow.as_ref().and_then(|shadow| shadow.model.as_deref());
    let mut model = family(Kind::Info, "jotwatch_model", "The behaviour models.");
    if let Some(behaviour) = &models.behaviour {
        let labels = [
            ("use", "behaviour"),
            ("model", behaviour.model.as_str()),
            ("from", behaviour.from.as_str()),
        ];
        model = model.with(&labels, 1);
    }
    if let Some(shadow) = shadow {
        model = model.with(&[("use", "shadow"), ("model", shadow), ("from", "file")], 1);
    }
    let mut all = vec![
        gauge("jotwatch_memory_entries", "What is remembered of tokens, by kind.").each(
            "kind",
            [
                ("token", memory.tokens as u64),
                ("subject", memory.subjects as u64),
                ("service", memory.services as u64),
                ("revocation", memory.revocations as u64),
                ("proof", memory.proofs as u64),
            ],
        ),
        counter(
            "jotwatch_memory_displaced",
            "What was forgotten before its end to make room, by kind.",
        )
        .each(
            "kind",
            [
                ("token", memory.tokens_forgotten.size),
                ("subject", memory.subjects_forgotten.size),
                ("service", memory.services_forgotten.size),
                ("revocation", memory.revocations_forgotten.size),
                ("proof", memory.proofs_forgotten.size),
            ],
        ),
        gauge("jotwatch_profiles", "Subjects whose behaviour is remembered.")
            .each("kind", [("vouched", profiles.subjects), ("other", profiles.others)]),
        measured(gauge("jotwatch_profiles_bytes", "Bytes that all profiles hold."), "bytes")
            .of(profiles.bytes),
        model,
        gauge("jotwatch_issuers_failing", "Issuers whose last fetch of keys failed.").of(status
            .issuers
            .iter()
            .filter(|issuer| issuer.last_error.is_some())
            .count()
            as u64),
        gauge("jotwatch_issuer_keys", "Keys in force, over all issuers.").of(status
            .issuers
            .iter()
            .map(|issuer| issuer.keys as u64)
            .sum()),
        counter("jotwatch_history_lost", "Scored exchanges that the history lost, by cause.").each(
            "cause",
            [("queue-full", models.history.dropped_queue), ("write", models.history.dropped_write)],
        ),
    ];
    let mut entries = gauge("jotwatch_feed_entries", "Entries of feeds in force.");
    let mut age = measured(
        gauge("jotwatch_feed_age_seconds", "Since when a feed was not known to be current."),
        "seconds",
    );
    for feed in status.feeds.iter().chain(&status.enforcement.feeds) {
        entries = entries
            .with(&[("feed", feed.name.as_str()), ("use", feed.used.as_str())], feed.entries);
        if let Some(seconds) = feed.age_seconds {
            age = age.with(&[("feed", feed.name.as_str()), ("use", feed.used.as_str())], seconds);
        }
    }
    all.extend([entries, age]);
    if let Some(rest) = &status.rest {
        let refused = rest.refused.iter().map(|(status, n)| (status.to_string(), *n));
        let refused: Vec<(String, u64)> = refused.collect();
        all.extend([
            counter("jotwatch_rest_scored", "Requests that got a score over HTTP.").of(rest.scored),
            counter("jotwatch_rest_suspicious", "Of these, suspicious ones.").of(rest.suspicious),
            counter("jotwatch_rest_refused", "Requests for a score that got none, by status code.")
                .each("status", refused.iter().map(|(status, n)| (status.as_str(), *n))),
            counter("jotwatch_rest_connections_refused", "Connections over the limit.")
                .of(rest.connections_refused),
        ]);
    }
    all
}

fn delivery(status: &Status) -> Vec<Family> {
    let delivery = &status.delivery;
    let mut delivered = counter("jotwatch_sink_delivered", "Events that a sink took over.");
    let mut dropped = counter(
        "jotwatch_sink_dropped",
        "Events that gave way in the journal before a sink had them.",
    );
    let mut refused = counter("jotwatch_sink_refused", "Events that a receiver does not want.");
    let mut lost = counter(
        "jotwatch_events_lost",
        "Events that did not get to a sink, by cause; docs/loss.md has the causes.",
    );
    for (cause, counts) in delivery.lost.causes() {
        for (severity, count) in severities(&counts) {
            lost = lost.with(&[("cause", cause), ("severity", severity)], count);
        }
    }
    let mut errors = counter("jotwatch_sink_errors", "Failed attempts to connect or write.");
    let mut backlog = gauge("jotwatch_sink_backlog", "Events that wait for a sink.");
    let mut failing = gauge("jotwatch_sink_failing", "1 where the last attempt of a sink failed.");
    let mut latency = measured(
        family(
            Kind::Histogram,
            "jotwatch_delivery_latency_seconds",
            "From what an event is about to its delivery, of the newest event of each hand-over.",
        ),
        "seconds",
    );
    for sink in &status.sinks {
        let name = [("sink", sink.name.as_str())];
        delivered = delivered.with(&name, sink.delivered);
        errors = errors.with(&name, sink.errors);
        backlog = backlog.with(&name, sink.queued);
        failing = failing.with(&name, u64::from(sink.failing));
        latency = latency.timed(&name, &sink.latency);
        for (severity, count) in severities(&sink.dropped) {
            dropped = dropped.with(&[("sink", sink.name.as_str()), ("severity", severity)], count);
        }
        for (severity, count) in severities(&sink.refused) {
            refused = refused.with(&[("sink", sink.name.as_str()), ("severity", severity)], count);
        }
    }
    vec![
        counter("jotwatch_events", "Events that the pipeline gave out.").of(status.pipeline.events),
        counter("jotwatch_events_joined", "Alerts that others of the same cause stand for.")
            .of(delivery.joined),
        counter(
            "jotwatch_events_dropped",
            "Events that no sink gets: the journal did not keep up.",
        )
        .each("severity", severities(&delivery.dropped)),
        lost,
        measured(gauge("jotwatch_journal_bytes", "Bytes of the journal's files."), "bytes")
            .of(delivery.journal.bytes),
        counter("jotwatch_journal_appended", "Events that the journal took.")
            .of(delivery.journal.appended),
        gauge("jotwatch_journal_unwritten", "Events that are not on disk yet.")
            .of(delivery.journal.unwritten),
        gauge("jotwatch_journal_failing", "1 where writing the journal fails.")
            .of(u64::from(delivery.journal.error.is_some())),
        delivered,
        dropped,
        refused,
        errors,
        backlog,
        failing,
        latency,
    ]
}
