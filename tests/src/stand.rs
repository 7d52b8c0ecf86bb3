//! What live tests of enforcement share: a service that records what it reads, in a place of its
//! own, and clients that see whether they are answered, reset or held.

use std::{
    fs,
    io::{ErrorKind, Read as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
use serde_json::json;

use crate::{
    net::{Place, Service},
    sensor::{self, DEADLINE, Sensor},
    tokens,
};

/// The port that is watched.
pub const PORT: u16 = 8080;

/// What the recording service says to every request.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// The watched port by IPv4.
#[must_use]
pub fn addr() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, PORT).into()
}

/// An unsigned token, another one for each `n`: forged, as anybody can see.
#[must_use]
pub fn forged(n: usize) -> String {
    tokens::unsigned("none", &json!({"sub": "somebody-or-other", "n": n}))
}

/// A token with nothing wrong about it.
#[must_use]
pub fn good() -> String {
    tokens::hs256(&json!({"sub": "somebody-good", "jti": "one"}), b"a secret of nobody")
}

/// A request with `line` among its header fields.
#[must_use]
pub fn request(line: &str) -> String {
    format!("GET /a HTTP/1.1\r\nHost: localhost\r\n{line}\r\n\r\n")
}

/// A request with this token.
#[must_use]
pub fn bearer(token: &str) -> String {
    request(&format!("Authorization: Bearer {token}"))
}

/// Waits until it is so.
///
/// # Errors
/// It fails, or takes longer than [`DEADLINE`].
pub fn wait(what: &str, done: impl Fn() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + DEADLINE;
    while !done()? {
        ensure!(Instant::now() < end, "waited too long for {what}");
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Stops the sensor, and holds its events to the schema and to carrying neither of the tokens.
///
/// # Errors
/// It does not stop, or an event is not as it should be.
pub fn end(sensor: Sensor) -> Result<()> {
    sensor::check(&sensor.stop()?, &[forged(0), good()])
}

/// The recording service (`src/bin/recording-http.rs`) on both loopback addresses.
#[derive(Debug)]
pub struct Stand {
    /// Where it runs.
    pub place: Place,
    _service: Service,
    seen: PathBuf,
    _dir: tempfile::TempDir,
}

impl Stand {
    /// Starts the service: `env!("CARGO_BIN_EXE_recording-http")` in a test.
    ///
    /// # Errors
    /// There is no place for it, or it does not come up.
    pub fn new(program: &str) -> Result<Self> {
        let place = Place::new()?;
        let dir = tempfile::tempdir()?;
        let seen = dir.path().join("seen");
        let addresses = [format!("127.0.0.1:{PORT}"), format!("[::1]:{PORT}")];
        let path = seen.to_str().context("a path")?;
        let service = place.service(program, &[path, &addresses[0], &addresses[1]])?;
        place.wait_for_port(PORT)?;
        Ok(Self { place, _service: service, seen, _dir: dir })
    }

    /// A sensor that does this at the service.
    ///
    /// # Errors
    /// It does not start.
    pub fn sensor(&self, mode: &str) -> Result<Sensor> {
        Sensor::start(&self.place, &[PORT], &format!("[enforcement]\nmode = \"{mode}\"\n"))
    }

    /// The heads that the service has read whole, escaped.
    #[must_use]
    pub fn seen(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.seen).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// How many of them hold `text`.
    #[must_use]
    pub fn seen_with(&self, text: &str) -> usize {
        self.seen().iter().filter(|head| head.contains(text)).count()
    }

    /// A connection of its own.
    ///
    /// # Errors
    /// The system's.
    pub fn connect(&self, v6: bool) -> Result<TcpStream> {
        let ip = if v6 { IpAddr::V6(Ipv6Addr::LOCALHOST) } else { Ipv4Addr::LOCALHOST.into() };
        self.place.connect(SocketAddr::new(ip, PORT))
    }

    /// A connection whose first data ends the handshake: what is written first goes to the
    /// listening socket, as it does where data overtakes the handshake's last segment. The client
    /// keeps its acknowledgement back for data (tcp(7), `TCP_QUICKACK`).
    ///
    /// # Errors
    /// The system's.
    pub fn connect_with_data(&self, v6: bool) -> Result<TcpStream> {
        let domain = if v6 { AddressFamily::INET6 } else { AddressFamily::INET };
        let ip = if v6 { IpAddr::V6(Ipv6Addr::LOCALHOST) } else { Ipv4Addr::LOCALHOST.into() };
        let socket = self.place.inside(|| {
            let socket = net::socket_with(domain, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
            sockopt::set_tcp_quickack(&socket, false)?;
            net::connect(&socket, &SocketAddr::new(ip, PORT))?;
            Ok(socket)
        })?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(stream)
    }
}

/// How many answers of the recording service come within the time, up to `wanted`; a reset ends it.
///
/// # Errors
/// The system's.
pub fn answers(stream: &mut TcpStream, wanted: usize, limit: Duration) -> Result<usize> {
    let end = Instant::now() + limit;
    let mut text = Vec::new();
    loop {
        let found = text.len() / ANSWER.len();
        let left = end.saturating_duration_since(Instant::now());
        if found >= wanted || left.is_zero() {
            ensure!(text.chunks_exact(ANSWER.len()).all(|one| one == ANSWER), "{text:?}");
            return Ok(found);
        }
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(found),
            Ok(n) => text.extend_from_slice(&chunk[..n]),
            // With a timeout a read is not taken up again behind a stop of the process (signal(7)).
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(e) if e.kind() == ErrorKind::ConnectionReset => return Ok(found),
            Err(e) => return Err(e.into()),
        }
    }
}

/// Reads one answer of the recording service; gives how long it took.
///
/// # Errors
/// Anything else comes.
pub fn answer(stream: &mut TcpStream) -> Result<Duration> {
    let began = Instant::now();
    let mut text = [0; ANSWER.len()];
    stream.read_exact(&mut text)?;
    ensure!(text == ANSWER, "{}", String::from_utf8_lossy(&text));
    Ok(began.elapsed())
}

/// Reads until the connection is reset; gives how long it took.
///
/// # Errors
/// A byte comes before, or the connection ends in another way.
pub fn reset(stream: &mut TcpStream) -> Result<Duration> {
    let began = Instant::now();
    match stream.read(&mut [0; 64]) {
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(began.elapsed()),
        other => bail!("not reset: {other:?}"),
    }
}
