//! A blocking HTTP/1.1 client for tests: sends exactly the bytes it is given, on one
//! connection, and reads whole responses.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::Place;

/// How long a read or write may block.
const IO_LIMIT: Duration = Duration::from_secs(30);
/// Header fields of a response.
const MAX_FIELDS: usize = 64;

/// One connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    /// Bytes read beyond the last response: the next one, on a pipelined connection.
    ahead: Vec<u8>,
}

/// A whole response, its transfer coding removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Field names in lower case, and values, in the order of the head.
    pub fields: Vec<(String, String)>,
    /// The content.
    pub body: Vec<u8>,
}

impl Response {
    /// The first field of this name (in lower case).
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The content as JSON.
    ///
    /// # Errors
    /// If it is not JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("not JSON: {}", String::from_utf8_lossy(&self.body)))
    }
}

impl Client {
    /// Connects to `addr` from `place`.
    ///
    /// # Errors
    /// The system's.
    pub fn connect(place: &Place<'_>, addr: SocketAddr) -> Result<Self> {
        let stream = (place.connect)(addr)?;
        stream.set_read_timeout(Some(IO_LIMIT))?;
        stream.set_write_timeout(Some(IO_LIMIT))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, ahead: Vec::new() })
    }

    /// The connection itself, for tests that shape its segments.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    /// The system's.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).context("cannot write the request")
    }

    /// Writes a request and reads its response.
    ///
    /// # Errors
    /// As [`Client::read_response`], or that it cannot be written.
    pub fn send(&mut self, request: &[u8]) -> Result<Response> {
        self.write(request)?;
        self.read_response()
    }

    /// Reads the response to a request other than HEAD; interim (1xx) responses are skipped.
    ///
    /// # Errors
    /// If it is not HTTP/1.x, ends early, or does not come within 30 s.
    pub fn read_response(&mut self) -> Result<Response> {
        loop {
            let (response, head) = loop {
                if let Some(parsed) = parse_head(&self.ahead)? {
                    break parsed;
                }
                ensure!(self.fill()?, "the connection closed before a response");
            };
            self.ahead.drain(..head);
            if !(100..200).contains(&response.status) {
                return self.read_body(response);
            }
        }
    }

    fn read_body(&mut self, mut response: Response) -> Result<Response> {
        if matches!(response.status, 204 | 304) {
            return Ok(response);
        }
        if response.field("transfer-encoding").is_some_and(|te| te.eq_ignore_ascii_case("chunked"))
        {
            loop {
                let line = self.read_line()?;
                let digits = line.split(';').next().unwrap_or_default().trim();
                let size = usize::from_str_radix(digits, 16).context("bad chunk size")?;
                if size == 0 {
                    while !self.read_line()?.is_empty() {}
                    return Ok(response);
                }
                let chunk = self.read_exactly(size)?;
                response.body.extend(chunk);
                ensure!(self.read_line()?.is_empty(), "a chunk does not end where it says");
            }
        }
        if let Some(length) = response.field("content-length") {
            let length = length.parse().context("bad Content-Length")?;
            response.body = self.read_exactly(length)?;
        } else {
            while self.fill()? {}
            response.body = std::mem::take(&mut self.ahead);
        }
        Ok(response)
    }

    fn read_line(&mut self) -> Result<String> {
        loop {
            if let Some(end) = self.ahead.windows(2).position(|w| w == b"\r\n") {
                let line = self.read_exactly(end + 2)?;
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            ensure!(self.fill()?, "the connection closed in the middle of a response");
        }
    }

    fn read_exactly(&mut self, length: usize) -> Result<Vec<u8>> {
        while self.ahead.len() < length {
            ensure!(self.fill()?, "the connection closed in the middle of a response");
        }
        let rest = self.ahead.split_off(length);
        Ok(std::mem::replace(&mut self.ahead, rest))
    }

    /// Reads once; false at the end of the stream.
    fn fill(&mut self) -> Result<bool> {
        let mut buffer = [0; 16 * 1024];
        let read = loop {
            match self.stream.read(&mut buffer) {
                // With a timeout a read is not taken up again behind a stop of the process (signal(7)).
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read.context("cannot read the response")?,
            }
        };
        self.ahead.extend_from_slice(&buffer[..read]);
        Ok(read > 0)
    }
}

fn parse_head(bytes: &[u8]) -> Result<Option<(Response, usize)>> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(head) = response.parse(bytes)? else { return Ok(None) };
    let Some(status) = response.code else { bail!("a response without a status") };
    let fields = response
        .headers
        .iter()
        .map(|f| (f.name.to_ascii_lowercase(), String::from_utf8_lossy(f.value).into_owned()))
        .collect();
    Ok(Some((Response { status, fields, body: Vec::new() }, head)))
}

/// The bytes of a request: `Host`, then `fields`, then the body with its `Content-Length`
/// if there is one.
#[must_use]
pub fn request(method: &str, target: &str, fields: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut out = format!("{method} {target} HTTP/1.1\r\nHost: service.test\r\n").into_bytes();
    for (name, value) in fields {
        out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    if !body.is_empty() {
        out.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
    out
}

/// A GET with `token` as `Authorization: Bearer`.
#[must_use]
pub fn get(target: &str, token: &str) -> Vec<u8> {
    request("GET", target, &[("Authorization", &format!("Bearer {token}"))], b"")
}
