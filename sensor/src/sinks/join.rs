//! Alerts of one cause, joined: the first goes out at once, the others once a window with their
//! number.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash as _,
    time::{Duration, Instant},
};

use siphasher::sip128::{Hasher128 as _, SipHasher13};

use crate::{
    event::{Body, Event, Joined},
    time::Time,
};

/// Causes of which alerts are held at once. Over that, the one that began first is told of before
/// its window ends.
pub(super) const CAUSES_MAX: usize = 4096;

/// A cause of alerts, in a window of time.
struct Window {
    /// When the first of `count` happened.
    since: Time,
    /// How many were held back.
    count: u64,
    /// The one of them with the highest score, the last of several.
    gravest: Option<Box<Event>>,
}

/// Holds back what is like what was just told.
pub(super) struct Joiner {
    length: Duration,
    hasher: SipHasher13,
    windows: HashMap<u128, Window>,
    /// Causes by the end of their windows, which are all of one length.
    order: VecDeque<(Instant, u128)>,
    /// Events that others stand for.
    joined: u64,
}

impl Joiner {
    /// Joins what happens within `length`, nothing where that is zero. `key` is a secret: who
    /// knows it could make other causes look like one.
    pub(super) fn new(length: Duration, key: &[u8; 16]) -> Self {
        Self {
            length,
            hasher: SipHasher13::new_with_key(key),
            windows: HashMap::new(),
            order: VecDeque::new(),
            joined: 0,
        }
    }

    /// From now on; windows that are open stay as long as they were.
    pub(super) const fn set_length(&mut self, length: Duration) {
        self.length = length;
    }

    /// Events that were not told of by themselves.
    pub(super) const fn joined(&self) -> u64 {
        self.joined
    }

    /// When [`Joiner::expire`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        self.order.front().map(|(ends, _)| *ends)
    }

    /// Tells of an event, or holds it back.
    pub(super) fn push(&mut self, now: Instant, event: Event, tell: &mut impl FnMut(Told)) {
        let cause = (!self.length.is_zero()).then(|| self.cause(&event)).flatten();
        let Some(cause) = cause else { return tell(Told { event, joined: None }) };
        if let Some(window) = self.windows.get_mut(&cause) {
            if window.count == 0 {
                window.since = event.at;
            }
            window.count += 1;
            if window.gravest.as_ref().is_none_or(|held| score(held) <= score(&event)) {
                window.gravest = Some(Box::new(event));
            }
            return;
        }
        while self.windows.len() >= CAUSES_MAX
            && let Some((_, oldest)) = self.order.pop_front()
        {
            self.close(oldest, tell);
        }
        self.open(now, cause, event.at);
        tell(Told { event, joined: None });
    }

    /// Tells of what was held back in windows that are over by `now`.
    pub(super) fn expire(&mut self, now: Instant, tell: &mut impl FnMut(Told)) {
        while let Some(&(ends, cause)) = self.order.front()
            && ends <= now
        {
            self.order.pop_front();
            // It goes on: the next ones are counted, too.
            if let Some(at) = self.close(cause, tell) {
                self.open(now, cause, at);
            }
        }
    }

    /// Tells of everything that is held back.
    pub(super) fn finish(&mut self, tell: &mut impl FnMut(Told)) {
        while let Some((_, cause)) = self.order.pop_front() {
            self.close(cause, tell);
        }
    }

    /// What would be told if all windows ended now, for a process that may not get to it.
    pub(super) fn held(&self) -> impl Iterator<Item = (&Event, Option<Joined>)> {
        let windows = self.order.iter().filter_map(|(_, cause)| self.windows.get(cause));
        windows.filter_map(|window| Some((window.gravest.as_deref()?, window.stands_for())))
    }

    fn open(&mut self, now: Instant, cause: u128, since: Time) {
        self.windows.insert(cause, Window { since, count: 0, gravest: None });
        self.order.push_back((now + self.length, cause));
    }

    /// Ends a window; when its last event happened, where there was one.
    fn close(&mut self, cause: u128, tell: &mut impl FnMut(Told)) -> Option<Time> {
        let window = self.windows.remove(&cause)?;
        let joined = window.stands_for();
        self.joined += joined.map_or(0, |joined| joined.count);
        let event = *window.gravest?;
        let at = event.at;
        tell(Told { event, joined });
        Some(at)
    }

    /// Whose alerts are one: the same findings, or the same first reason, on requests of one client
    /// to one service that ended alike, with the same token where a key vouches for it. Whoever
    /// makes up tokens is one cause; users behind one address with tokens of their own are several.
    fn cause(&self, event: &Event) -> Option<u128> {
        let mut hasher = self.hasher;
        (event.kind() as u8, event.severity).hash(&mut hasher);
        let mut findings = event.findings().iter().map(|finding| finding.id).collect::<Vec<_>>();
        findings.sort_unstable();
        findings.dedup();
        findings.hash(&mut hasher);
        match &event.body {
            Body::Request(body) => {
                (body.verdict.as_str(), body.outcome, body.server).hash(&mut hasher);
                body.forwarded_for.unwrap_or_else(|| body.client.ip()).hash(&mut hasher);
                if findings.is_empty() {
                    let reasons = body.score.as_ref().map(|score| score.reasons());
                    reasons.and_then(|reasons| reasons.first()).map(|r| r.id).hash(&mut hasher);
                }
                for token in body.tokens.iter().filter(|token| token.verified_by.is_some()) {
                    token.fingerprint.hash(&mut hasher);
                }
            }
            Body::Flow(body) => {
                (body.reason.as_str(), body.server, body.client.ip()).hash(&mut hasher);
            }
            Body::Key(_) | Body::Sensor(_) | Body::Audit(_) => return None,
        }
        Some(hasher.finish128().as_u128())
    }
}

impl Window {
    fn stands_for(&self) -> Option<Joined> {
        let count = self.count.checked_sub(1).filter(|&others| others > 0)?;
        Some(Joined { count, since: self.since })
    }
}

fn score(event: &Event) -> u8 {
    match &event.body {
        Body::Request(body) => body.score.as_ref().map_or(0, |score| score.value),
        _ => 0,
    }
}

/// An event that goes out.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) event: Event,
    /// The others that it stands for.
    pub(super) joined: Option<Joined>,
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::event::samples;

    const LENGTH: Duration = Duration::from_secs(10);

    fn from(client: &str, number: u64) -> Event {
        let mut event = samples::request();
        let Body::Request(body) = &mut event.body else { unreachable!() };
        body.client = client.parse::<SocketAddr>().unwrap();
        body.exchange = number;
        event.at = Time::from_unix_secs(number);
        event
    }

    fn number(told: &Told) -> (u64, Option<u64>) {
        let Body::Request(body) = &told.event.body else { unreachable!() };
        (body.exchange, told.joined.map(|joined| joined.count))
    }

    #[test]
    fn the_first_goes_at_once_and_the_others_in_one() {
        let mut joiner = Joiner::new(LENGTH, &[7; 16]);
        let start = Instant::now();
        let mut told = Vec::new();
        for n in 0..100 {
            joiner.push(start, from("192.0.2.1:1000", n), &mut |t| told.push(number(&t)));
        }
        joiner.push(start, from("192.0.2.2:1000", 100), &mut |t| told.push(number(&t)));
        assert_eq!(told, [(0, None), (100, None)]);
        joiner.expire(start + LENGTH - Duration::from_nanos(1), &mut |_| panic!("too early"));
        told.clear();
        let mut since = None;
        joiner.expire(start + LENGTH, &mut |t| {
            since = t.joined.map(|joined| joined.since);
            told.push(number(&t));
        });
        // 98 beside the one that tells of them; of 192.0.2.2 there was nothing more.
        assert_eq!(told, [(99, Some(98))]);
        assert_eq!(since, Some(Time::from_unix_secs(1)));
        assert_eq!(joiner.joined(), 98);

        // It goes on: still once a window.
        let second = start + LENGTH;
        told.clear();
        for n in 101..103 {
            joiner.push(second, from("192.0.2.1:1001", n), &mut |t| told.push(number(&t)));
        }
        assert_eq!(told, []);
        joiner.expire(second + LENGTH, &mut |t| told.push(number(&t)));
        assert_eq!(told, [(102, Some(1))]);
        // And when it has stopped for a window, the next one is the first again.
        joiner.expire(second + LENGTH * 2, &mut |_| panic!("nothing was held"));
        assert_eq!(joiner.due(), None);
        told.clear();
        joiner.push(second + LENGTH * 2, from("192.0.2.1:1", 200), &mut |t| told.push(number(&t)));
        assert_eq!(told, [(200, None)]);
    }

    #[test]
    fn none_is_lost_with_more_causes_than_are_held() {
        let mut joiner = Joiner::new(LENGTH, &[7; 16]);
        let start = Instant::now();
        let (mut told, mut sent) = (0, 0);
        let mut count = |t: Told| told += 1 + t.joined.map_or(0, |joined| joined.count);
        for n in 0..3 * CAUSES_MAX as u64 {
            let client = format!("10.{}.{}.{}:80", n >> 16, (n >> 8) & 255, n & 255);
            for k in 0..1 + n % 3 {
                joiner.push(start, from(&client, k), &mut count);
                sent += 1;
            }
        }
        assert!(joiner.windows.len() <= CAUSES_MAX && joiner.order.len() <= CAUSES_MAX);
        joiner.finish(&mut count);
        assert_eq!(told, sent);
        assert_eq!(joiner.held().count(), 0);
    }

    #[test]
    fn others_are_not_joined() {
        let mut joiner = Joiner::new(LENGTH, &[7; 16]);
        let start = Instant::now();
        let mut told = 0;
        for event in samples::all() {
            if matches!(event.body, Body::Sensor(_) | Body::Audit(_) | Body::Key(_)) {
                for _ in 0..3 {
                    joiner.push(start, event.clone(), &mut |_| told += 1);
                }
                told -= 3;
            }
        }
        assert_eq!(told, 0);
        // One who makes up tokens is one cause, several users with good ones are several.
        for (verified, expected) in [(None, 1), (Some("configured"), 5)] {
            let mut joiner = Joiner::new(LENGTH, &[7; 16]);
            let mut told = 0;
            for n in 0..5 {
                let mut event = samples::request();
                let Body::Request(body) = &mut event.body else { unreachable!() };
                body.tokens[0].fingerprint = [n; 16];
                body.tokens[0].verified_by = verified;
                joiner.push(start, event, &mut |_| told += 1);
            }
            assert_eq!(told, expected);
        }
    }

    #[test]
    fn off_means_off() {
        let mut joiner = Joiner::new(Duration::ZERO, &[7; 16]);
        let mut told = 0;
        for n in 0..5 {
            joiner.push(Instant::now(), from("192.0.2.1:1", n), &mut |_| told += 1);
        }
        assert_eq!((told, joiner.due()), (5, None));
    }
}
