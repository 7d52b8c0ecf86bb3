//! Drives a [`Connection`] as the flow stage does, and writes down what it says: for its tests and
//! for fuzzing.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "what differs shall fail")]

use super::{Chunk, Connection, Events, HttpEvent, Limits, Request};
use crate::{
    capture::Direction::{self, ToClient},
    time::Time,
};

/// What passes.
#[derive(Clone, Debug)]
pub(crate) enum Pass {
    Bytes(Direction, Vec<u8>),
    Gap(Direction, u64),
    End(Direction, bool),
}

#[cfg(test)]
pub(crate) fn c(bytes: impl AsRef<[u8]>) -> Pass {
    Pass::Bytes(Direction::ToServer, bytes.as_ref().to_vec())
}

#[cfg(test)]
pub(crate) fn s(bytes: impl AsRef<[u8]>) -> Pass {
    Pass::Bytes(ToClient, bytes.as_ref().to_vec())
}

/// A connection with the bytes that it has not consumed.
pub(crate) struct Driver {
    pub(crate) connection: Connection,
    pub(crate) rest: [Vec<u8>; 2],
    pub(crate) limits: Limits,
    pub(crate) now: u64,
    pub(crate) out: Events,
}

impl Driver {
    pub(crate) fn new(joined_midway: bool) -> Self {
        Self {
            connection: Connection::new(joined_midway),
            rest: [Vec::new(), Vec::new()],
            limits: Limits::default(),
            now: 0,
            out: Events::default(),
        }
    }

    pub(crate) fn pass(&mut self, pass: &Pass) {
        self.now += 1;
        let at = Time::from_unix_nanos(self.now);
        match pass {
            Pass::Bytes(direction, bytes) => {
                let rest = &mut self.rest[usize::from(*direction == ToClient)];
                rest.extend_from_slice(bytes);
                let push = |connection: &mut Connection, rest: &[u8], out: &mut Events| {
                    connection.push(*direction, at, Chunk::Data(rest), &self.limits, out)
                };
                let used = push(&mut self.connection, rest, &mut self.out);
                assert!(used <= rest.len());
                rest.drain(..used);
                assert!(rest.len() <= self.limits.head_bytes);
                // Offered without more, it is left alone.
                let events = self.out.len();
                assert_eq!(push(&mut self.connection, rest, &mut self.out), 0);
                assert_eq!(self.out.len(), events);
            }
            Pass::Gap(direction, n) => {
                self.rest[usize::from(*direction == ToClient)].clear();
                let chunk = Chunk::Gap(*n);
                self.connection.push(*direction, at, chunk, &self.limits, &mut self.out);
            }
            Pass::End(direction, reset) => {
                let rest = std::mem::take(&mut self.rest[usize::from(*direction == ToClient)]);
                if !rest.is_empty() && !reset {
                    let chunk = Chunk::Last(&rest);
                    self.connection.push(*direction, at, chunk, &self.limits, &mut self.out);
                }
                let chunk = Chunk::End { reset: *reset };
                self.connection.push(*direction, at, chunk, &self.limits, &mut self.out);
            }
        }
    }

    pub(crate) fn finish(mut self) -> Vec<HttpEvent> {
        self.now += 1;
        self.connection.finish(Time::from_unix_nanos(self.now), &mut self.out);
        check_order(&self.out);
        self.out.take()
    }
}

/// `Request`, `Response`, `Document`, `Done`, each at most once, `Done` always; ids ascend from 0.
pub(crate) fn check_order(events: &[HttpEvent]) {
    let mut stages: Vec<u8> = Vec::new();
    for event in events {
        let (id, from, to) = match event {
            HttpEvent::Request { id, .. } => {
                assert_eq!(*id, stages.len() as u64, "ids ascend");
                stages.push(0);
                (*id, 0..=0, 1)
            }
            HttpEvent::Response { id, .. } => (*id, 1..=1, 2),
            HttpEvent::Document { id, .. } => (*id, 2..=2, 3),
            HttpEvent::Done { id, .. } => (*id, 1..=3, 4),
            HttpEvent::Malformed { findings, .. } => {
                assert!(!findings.is_empty());
                continue;
            }
            HttpEvent::Opaque { .. } => continue,
        };
        let stage = &mut stages[usize::try_from(id).unwrap()];
        assert!(from.contains(stage), "{event:?} out of turn");
        *stage = to;
    }
    assert!(stages.iter().all(|&s| s == 4), "every exchange is closed");
}

pub(crate) fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

pub(crate) fn ids(findings: &[crate::finding::Finding]) -> String {
    let mut ids: Vec<_> =
        findings.iter().map(|f| f.id.as_str().trim_start_matches("http-")).collect();
    ids.sort_unstable();
    if ids.is_empty() { String::new() } else { format!(" !{}", ids.join(",")) }
}

pub(crate) fn describe_request(r: &Request) -> String {
    let body = match (r.body.bytes.len(), r.body.complete) {
        (0, true) => String::new(),
        (n, complete) => format!(" body={n}{}", if complete { "" } else { ".." }),
    };
    format!("{} {}{body}{}", text(r.method()), text(r.target()), ids(&r.findings))
}

/// One line an event, without times.
pub(crate) fn describe(event: &HttpEvent) -> String {
    match event {
        HttpEvent::Request { id, request } => format!("{id} {}", describe_request(request)),
        HttpEvent::Response { id, response } => {
            format!("{id} -> {}{}", response.status, ids(&response.findings))
        }
        HttpEvent::Document { id, body } => {
            let cut = if body.complete { "" } else { ".." };
            format!("{id} document {}{cut}", text(&body.bytes))
        }
        HttpEvent::Done { id, request_bytes, response_bytes, complete, .. } => {
            let complete = if *complete { "done" } else { "cut" };
            format!("{id} {complete} {request_bytes}/{response_bytes}")
        }
        HttpEvent::Malformed { findings, .. } => format!("malformed{}", ids(findings)),
        HttpEvent::Opaque { kind, .. } => format!("opaque {}", kind.as_str()),
    }
}

pub(crate) fn describe_all(events: &[HttpEvent]) -> Vec<String> {
    events.iter().map(describe).collect()
}

pub(crate) fn run_joined(joined_midway: bool, passes: &[Pass]) -> Vec<HttpEvent> {
    let mut driver = Driver::new(joined_midway);
    for pass in passes {
        driver.pass(pass);
    }
    driver.finish()
}

pub(crate) fn run(passes: &[Pass]) -> Vec<String> {
    describe_all(&run_joined(false, passes))
}
