//! The line of `replay --exchanges`: every request, not only the suspicious.

use super::{Fingerprint, HOST_MAX, METHOD_MAX, json::Object, write::findings};
use crate::{capture::FlowKey, finding::Finding, time::Time};

/// Bytes of a request target that an exchange line shows: as many as a head can have.
pub const EXCHANGE_PATH_MAX: usize = 64 * 1024;

/// One request with its answer, borrowed from where it was read. Written as the members
/// `time, client, server, method, path, host, status, latency_us, request_bytes, response_bytes,
/// token, findings`; what is not known is `null`.
#[derive(Clone, Copy)]
pub struct ExchangeLine<'a> {
    /// When the request's first byte passed.
    pub at: Time,
    /// The connection.
    pub flow: FlowKey,
    /// The method as sent.
    pub method: &'a [u8],
    /// The request target as sent.
    pub path: &'a [u8],
    /// The `Host` field.
    pub host: Option<&'a [u8]>,
    /// The answer's status.
    pub status: Option<u16>,
    /// Microseconds from the request's last byte to the answer's first.
    pub latency_us: Option<u64>,
    /// Bytes of the request on the wire.
    pub request_bytes: u64,
    /// Bytes of the answer on the wire; 0 without one.
    pub response_bytes: u64,
    /// The first token's fingerprint.
    pub token: Option<Fingerprint>,
    /// What is wrong with the exchange.
    pub findings: &'a [Finding],
}

impl ExchangeLine<'_> {
    /// Appends the line with its line feed. Text is redacted and escaped as in events; the
    /// target is cut at [`EXCHANGE_PATH_MAX`] only.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut line = Object::new(out);
        line.time("time", self.at);
        line.address("client", self.flow.client);
        line.address("server", self.flow.server);
        line.bytes("method", self.method, METHOD_MAX);
        line.bytes("path", self.path, EXCHANGE_PATH_MAX);
        match self.host {
            Some(host) => line.bytes("host", host, HOST_MAX),
            None => line.null("host"),
        }
        match self.status {
            Some(status) => line.number("status", status.into()),
            None => line.null("status"),
        }
        match self.latency_us {
            Some(latency) => line.number("latency_us", latency),
            None => line.null("latency_us"),
        }
        line.number("request_bytes", self.request_bytes);
        line.number("response_bytes", self.response_bytes);
        match self.token {
            Some(token) => line.hex("token", &token),
            None => line.null("token"),
        }
        findings(&mut line, self.findings);
        line.end();
        out.push(b'\n');
    }
}
