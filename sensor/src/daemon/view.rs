//! What passes, for as long as somebody watches with `top`. Nothing is gathered else.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    time::{Duration, Instant},
};

use rustix::{
    param::page_size,
    time::{ClockId, clock_gettime},
};

use crate::{
    control::{LiveRequest, LiveService, MAX_LIVE_REQUESTS, MAX_LIVE_SERVICES},
    event::{ExchangeLine, METHOD_MAX, Text},
};

/// Who has not asked for so long watches no more.
const WATCHED: Duration = Duration::from_secs(5);
/// Bytes of a path that are shown.
const PATH_MAX: usize = 256;

#[derive(Default)]
pub(super) struct View {
    asked: Option<Instant>,
    requests: Vec<LiveRequest>,
    services: BTreeMap<SocketAddr, LiveService>,
}

impl View {
    pub(super) const fn is_watched(&self) -> bool {
        self.asked.is_some()
    }

    /// Forgets everything when nobody watches any more.
    pub(super) fn rest(&mut self) {
        if self.asked.is_some_and(|asked| asked.elapsed() > WATCHED) {
            *self = Self::default();
        }
    }

    pub(super) fn take(&mut self, line: &ExchangeLine<'_>) {
        let server = line.flow.server;
        let found = !line.findings.is_empty();
        if self.services.contains_key(&server) || self.services.len() < MAX_LIVE_SERVICES {
            let service = self.services.entry(server).or_insert_with(|| LiveService {
                server: server.to_string(),
                ..LiveService::default()
            });
            service.requests += 1;
            service.tokens += u64::from(line.token.is_some());
            service.found += u64::from(found);
            service.denied += u64::from(matches!(line.status, Some(401 | 403)));
            service.failed += u64::from(line.status.is_none_or(|status| status >= 500));
            if let Some(latency) = line.latency_us {
                service.latency_us += latency;
                service.answered += 1;
            }
            service.bytes += line.response_bytes;
        }
        if self.requests.len() < MAX_LIVE_REQUESTS {
            self.requests.push(LiveRequest {
                time: line.at.to_string(),
                client: line.flow.client.to_string(),
                server: server.to_string(),
                method: Text::new(line.method, METHOD_MAX).as_str().to_owned(),
                path: Text::new(line.path, PATH_MAX).as_str().to_owned(),
                status: line.status,
                latency_us: line.latency_us,
                bytes: line.response_bytes,
                token: line.token.is_some(),
                findings: line.findings.iter().map(|f| f.id.as_str().to_owned()).collect(),
            });
        }
    }

    /// What passed since the last time.
    pub(super) fn answer(&mut self) -> (Vec<LiveRequest>, Vec<LiveService>) {
        self.asked = Some(Instant::now());
        (std::mem::take(&mut self.requests), self.services.values().cloned().collect())
    }
}

/// Processor time of this process in microseconds.
pub(super) fn cpu_us() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000
        + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000
}

/// Memory of this process in bytes; 0 where the system does not tell.
pub(super) fn resident_bytes() -> u64 {
    // proc(5): the second number of statm is the resident set, in pages.
    let pages = fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * page_size() as u64
}
