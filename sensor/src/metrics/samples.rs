//! A status for the tests: every metric has a value.

use crate::control::Status;

pub(crate) fn status() -> Status {
    let mut status = Status {
        version: "0.1.0".into(),
        pid: 7,
        started: "2026-11-21T09:00:00.000000Z".into(),
        mode: "gate".into(),
        ..Status::default()
    };
    status.balance.requests = 1_000;
    status.balance.seen = 990;
    status.balance.lost = [("ring-full".to_owned(), 10)].into();
    status.kernel.0 = [("segments".to_owned(), 5)].into();
    status.enforcement.guard = [("held".to_owned(), 5)].into();
    status.events.findings = [("alg-none".to_owned(), 3)].into();
    for millis in [1, 7, 90_000, 9_000_000] {
        status.events.latency.record(std::time::Duration::from_millis(millis));
    }
    status.models.behaviour = Some(crate::control::ModelStatus {
        from: "built-in".into(),
        model: "0123456789abcdef".into(),
        ..Default::default()
    });
    status.feeds = vec![crate::control::FeedStatus {
        // A name out of the config may have anything in it.
        name: "tor\"\\\nexits".into(),
        used: "tor".into(),
        entries: 12,
        skipped: 0,
        loaded: None,
        age_seconds: Some(60),
        error: None,
    }];
    status.rest = Some(crate::rest::RestStatus {
        scored: 5,
        refused: [(401, 2)].into(),
        ..Default::default()
    });
    status.sinks = vec![crate::sinks::SinkStatus {
        name: "webhook:https://hook.example".into(),
        delivered: 9,
        dropped: [1, 0, 0, 0, 0],
        refused: [0, 0, 2, 0, 0],
        queued: 3,
        errors: 4,
        last_error: Some("answered 500".into()),
        failing: true,
        latency: status.events.latency.clone(),
    }];
    status
}
