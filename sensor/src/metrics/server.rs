//! `GET /metrics` over HTTP/1.1, on an address of this host or a unix socket.
//!
//! One thread that takes one connection after the other: scrapers come every few seconds, and what
//! they ask for does not depend on what they send. Nobody can hold it for longer than
//! [`TIMEOUT`].

use std::{
    fs::{self, Permissions},
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::{
        fs::{FileTypeExt as _, PermissionsExt as _},
        net::{UnixListener, UnixStream},
    },
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};

use super::{Exposition, Source, expose, families};
use crate::{
    config::Listen,
    confine::{self, Reach},
};

/// For all of a request, and for all of its answer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The longest head of a request.
const HEAD_MAX: usize = 8 << 10;
/// The most header fields of a request.
const HEADERS_MAX: usize = 64;

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Listens as long as it is there.
#[derive(Debug)]
pub struct Server {
    listen: Listen,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    /// Listens from now on.
    ///
    /// # Errors
    /// The socket can't be bound.
    pub fn start(listen: &Listen, source: Arc<Source>) -> anyhow::Result<Self> {
        let place = || format!("metrics.listen {listen}");
        let (socket, listen) = match listen {
            Listen::Tcp(address) => {
                let listener = TcpListener::bind(address).with_context(place)?;
                let bound = Listen::Tcp(listener.local_addr().with_context(place)?);
                (Socket::Tcp(listener), bound)
            }
            Listen::Unix(path) => (Socket::Unix(bind(path).with_context(place)?), listen.clone()),
        };
        let stop = Arc::new(AtomicBool::new(false));
        let own = Arc::clone(&stop);
        let thread = thread::Builder::new().name("metrics".into()).spawn(move || {
            confine::hold(&Reach::Serving);
            while !own.load(Ordering::Relaxed) {
                let served = match &socket {
                    Socket::Tcp(listener) => {
                        listener.accept().and_then(|(stream, _)| tcp(&stream, &source, &own))
                    }
                    Socket::Unix(listener) => {
                        listener.accept().and_then(|(stream, _)| unix(&stream, &source, &own))
                    }
                };
                if let Err(error) = served {
                    tracing::debug!("metrics: {error}");
                    if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
                    {
                        // Out of descriptors: let some come back.
                        thread::sleep(Duration::from_millis(10));
                    }
                }
            }
        })?;
        Ok(Self { listen, stop, thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub const fn listen(&self) -> &Listen {
        &self.listen
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let woken = match &self.listen {
            Listen::Tcp(address) => TcpStream::connect_timeout(address, TIMEOUT).is_ok(),
            Listen::Unix(path) => UnixStream::connect(path).is_ok(),
        };
        if let (Some(thread), true) = (self.thread.take(), woken) {
            let _ = thread.join();
        }
        if let Listen::Unix(path) = &self.listen {
            let _ = fs::remove_file(path);
        }
    }
}

/// A socket that its owner and group may connect to.
fn bind(path: &Path) -> anyhow::Result<UnixListener> {
    match fs::symlink_metadata(path) {
        Ok(file) => {
            ensure!(file.file_type().is_socket(), "something else is in its place");
            ensure!(UnixStream::connect(path).is_err(), "somebody listens there");
            fs::remove_file(path)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    // Bound under a name of its own and moved when its mode is right: nobody connects before.
    let fresh = path.with_extension(format!("{}", std::process::id()));
    let _ = fs::remove_file(&fresh);
    let listener = UnixListener::bind(&fresh)?;
    fs::set_permissions(&fresh, Permissions::from_mode(0o660))?;
    fs::rename(&fresh, path)?;
    Ok(listener)
}

fn tcp(stream: &TcpStream, source: &Source, stop: &AtomicBool) -> io::Result<()> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    serve(stream, source, stop)
}

fn unix(stream: &UnixStream, source: &Source, stop: &AtomicBool) -> io::Result<()> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    serve(stream, source, stop)
}

fn serve(mut stream: impl Read + Write, source: &Source, stop: &AtomicBool) -> io::Result<()> {
    let begun = Instant::now();
    let mut head = Vec::new();
    let asked = loop {
        if stop.load(Ordering::Relaxed) || begun.elapsed() >= TIMEOUT {
            return Ok(());
        }
        let mut bytes = [0; 1024];
        let n = stream.read(&mut bytes)?;
        if n == 0 {
            return Ok(());
        }
        head.extend_from_slice(bytes.get(..n).unwrap_or_default());
        match asked(&head) {
            Asked::Unfinished if head.len() < HEAD_MAX => {}
            Asked::Unfinished => break Asked::Bad(431, "Request Header Fields Too Large"),
            asked => break asked,
        }
    };
    let (status, phrase, kind, body) = match asked {
        Asked::Metrics(form) => match source.ask() {
            Some(status) => (200, "OK", form.content_type(), expose(&families(&status), form)),
            None => (503, "Service Unavailable", "text/plain", "the daemon is busy\n".to_owned()),
        },
        Asked::Bad(status, phrase) => (status, phrase, "text/plain", format!("{phrase}\n")),
        Asked::Unfinished => return Ok(()),
    };
    let allow = if status == 405 { "Allow: GET\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 {status} {phrase}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{allow}\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}

/// What a head asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Metrics(Exposition),
    Bad(u16, &'static str),
    Unfinished,
}

pub(super) fn asked(head: &[u8]) -> Asked {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Asked::Unfinished,
        Err(_) => return Asked::Bad(400, "Bad Request"),
    }
    let path = request.path.unwrap_or_default().split('?').next().unwrap_or_default();
    match (path, request.method) {
        ("/metrics", Some("GET")) => {}
        ("/metrics", _) => return Asked::Bad(405, "Method Not Allowed"),
        _ => return Asked::Bad(404, "Not Found"),
    }
    let accept = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("accept"));
    let accept = accept.filter_map(|header| std::str::from_utf8(header.value).ok());
    Asked::Metrics(Exposition::wanted(&accept.collect::<Vec<_>>().join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_says_what_is_wanted() {
        let of = |head: &str| asked(head.as_bytes());
        let open = "GET /metrics?x HTTP/1.1\r\nAccept: application/openmetrics-text;version=1.0.0,\
                    text/plain;version=0.0.4;q=0.5\r\n\r\n";
        assert_eq!(of(open), Asked::Metrics(Exposition::OpenMetrics));
        for end in 0..open.len() {
            assert_eq!(of(&open[..end]), Asked::Unfinished, "{end}");
        }
        assert_eq!(of("GET /metrics HTTP/1.0\r\n\r\n"), Asked::Metrics(Exposition::Prometheus));
        for (head, status) in [
            ("POST /metrics HTTP/1.1\r\n\r\n", 405),
            ("GET / HTTP/1.1\r\n\r\n", 404),
            ("GET /metrics/ HTTP/1.1\r\n\r\n", 404),
            ("\u{16}\u{3}\u{1}", 400),
        ] {
            assert!(matches!(of(head), Asked::Bad(code, _) if code == status), "{head}");
        }
    }
}
