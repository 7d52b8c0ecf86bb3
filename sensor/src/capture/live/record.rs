//! From ring records to [`Input`] values.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use jotwatch_common::{
    KIND_CLOSED, KIND_OPAQUE, KIND_OPENED, KIND_SEGMENT, MARK_FIRST, MARK_LOSS, MARK_NEW,
    MARK_RCV_NXT, MARK_REQUEST, OPAQUE_HTTP2, OPAQUE_TLS, Record, TCP_ACK, TCP_FIN, TCP_RST,
    TCP_SYN, TO_CLIENT, TO_SERVER,
};
use rustix::time::{ClockId, clock_gettime};

use super::service::Services;
use crate::{
    capture::{Direction, FlowKey, Input, OpaqueKind, Segment, TcpFlags, canonical},
    time::Time,
};

/// The wall clock is read anew after this many nanoseconds.
const CLOCK_EVERY: u64 = 1_000_000_000;
/// A smaller difference is not followed: times of one flow should not jitter.
const CLOCK_SLACK: u64 = 500_000;
/// A larger difference is no clock that is brought into line, but one that was set.
const CLOCK_STEP: u64 = 1_000_000_000;

/// Reads records, and maps their time to the wall clock.
#[derive(Debug)]
pub(super) struct Decoder {
    /// Unix time of the monotonic clock's zero, in nanoseconds.
    epoch: u64,
    refreshed: u64,
    pub(super) malformed: u64,
    pub(super) losses: u64,
}

fn nanos(clock: ClockId) -> u64 {
    let t = clock_gettime(clock);
    u64::try_from(t.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(t.tv_nsec).unwrap_or(0)
}

/// Wall clock minus monotonic clock, and the monotonic time of the reading.
fn epoch() -> (u64, u64) {
    // Of three readings, the one that took the shortest.
    let mut best = (u64::MAX, 0, 0);
    for _ in 0..3 {
        let before = nanos(ClockId::Monotonic);
        let wall = nanos(ClockId::Realtime);
        let after = nanos(ClockId::Monotonic);
        if after - before < best.0 {
            best = (after - before, wall.saturating_sub(before + (after - before) / 2), after);
        }
    }
    (best.1, best.2)
}

impl Decoder {
    pub(super) fn new() -> Self {
        let (epoch, refreshed) = epoch();
        Self { epoch, refreshed, malformed: 0, losses: 0 }
    }

    /// Follows the wall clock; gives by how many nanoseconds it was set, if it was.
    pub(super) fn follow_clock(&mut self) -> Option<i64> {
        if nanos(ClockId::Monotonic).saturating_sub(self.refreshed) < CLOCK_EVERY {
            return None;
        }
        let (epoch, at) = epoch();
        self.refreshed = at;
        self.follow(epoch)
    }

    fn follow(&mut self, epoch: u64) -> Option<i64> {
        let away = epoch.abs_diff(self.epoch);
        if away <= CLOCK_SLACK {
            return None;
        }
        let by = i64::try_from(away).unwrap_or(i64::MAX);
        let by = if epoch < self.epoch { -by } else { by };
        self.epoch = epoch;
        (away >= CLOCK_STEP).then_some(by)
    }

    /// The wall clock as records have it.
    pub(super) fn now(&self) -> Time {
        Time::from_unix_nanos(self.epoch.saturating_add(nanos(ClockId::Monotonic)))
    }

    /// Hands on what one record says.
    pub(super) fn decode(
        &mut self,
        data: &[u8],
        services: &mut Services,
        f: &mut impl FnMut(Input<'_>),
    ) {
        let Some((record, payload)) = split(data) else {
            self.malformed += 1;
            return;
        };
        let address = |bytes: [u8; 16], port: u16| {
            let ip = if record.family == 4 {
                let [a, b, c, d, ..] = bytes;
                IpAddr::V4(Ipv4Addr::new(a, b, c, d))
            } else {
                IpAddr::V6(Ipv6Addr::from(bytes))
            };
            canonical(SocketAddr::new(ip, port))
        };
        let flow = FlowKey {
            client: address(record.remote, record.remote_port),
            server: address(record.local, record.local_port),
            scope: record.cgroup,
        };
        let at = Time::from_unix_nanos(self.epoch.wrapping_add(record.at));
        let cookie = record.cookie;
        self.losses += u64::from(record.marks & MARK_LOSS != 0);
        match record.kind {
            KIND_SEGMENT => {
                let direction = match record.direction {
                    TO_SERVER => Direction::ToServer,
                    TO_CLIENT => Direction::ToClient,
                    _ => {
                        self.malformed += 1;
                        return;
                    }
                };
                let flag = |bit| record.tcp_flags & bit != 0;
                if record.marks & MARK_FIRST != 0 {
                    f(Input::Opened { flow, cookie, at, rcv_nxt: record.seq });
                }
                f(Input::Segment(Segment {
                    flow,
                    cookie,
                    direction,
                    at,
                    seq: record.seq,
                    len: record.len,
                    payload,
                    flags: TcpFlags { syn: flag(TCP_SYN), fin: flag(TCP_FIN), rst: flag(TCP_RST) },
                    ack: flag(TCP_ACK).then_some(record.ack),
                    rcv_nxt: (record.marks & MARK_RCV_NXT != 0).then_some(record.rcv_nxt),
                    request: record.marks & MARK_REQUEST != 0,
                }));
            }
            KIND_OPENED => f(Input::Opened { flow, cookie, at, rcv_nxt: record.rcv_nxt }),
            KIND_CLOSED => f(Input::Closed { flow, cookie, at }),
            KIND_OPAQUE => {
                let kind = match record.detail {
                    OPAQUE_TLS => OpaqueKind::Tls,
                    OPAQUE_HTTP2 => OpaqueKind::Http2,
                    _ => OpaqueKind::NotHttp,
                };
                f(Input::Opaque { flow, cookie, at, kind });
            }
            _ => self.malformed += 1,
        }
        // Behind the record: a flow that was open before has only now come into sight.
        if record.marks & MARK_NEW != 0 {
            services.ask(flow, f);
        }
    }
}

/// The record and its payload.
fn split(data: &[u8]) -> Option<(&Record, &[u8])> {
    let (head, rest) = data.split_at_checked(size_of::<Record>())?;
    let record: &Record = bytemuck::try_from_bytes(head).ok()?;
    Some((record, rest.get(..usize::from(record.captured))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_is_told_and_one_that_is_brought_into_line_is_followed() {
        let mut decoder = Decoder::new();
        let second = 1_000_000_000;
        let at = decoder.epoch;
        // Jitter is not followed.
        assert_eq!((decoder.follow(at + CLOCK_SLACK), decoder.epoch), (None, at));
        assert_eq!((decoder.follow(at + second / 2), decoder.epoch), (None, at + second / 2));
        assert_eq!((decoder.follow(at), decoder.epoch), (None, at));
        let year = 365 * 86_400 * second;
        assert_eq!(decoder.follow(at + year), Some(year.cast_signed()));
        assert_eq!(
            decoder.follow(at - 86_400 * second),
            Some(-(year + 86_400 * second).cast_signed())
        );
        assert_eq!(decoder.epoch, at - 86_400 * second);
        // Not looked at more often than once a second.
        assert_eq!(decoder.follow_clock(), None);
    }
}
