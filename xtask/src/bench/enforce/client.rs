//! Clients of the enforcement benchmark: many connections at a time, and what becomes of each.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rustix::net::sockopt::set_socket_linger;
use sha2::{Digest as _, Sha256};

/// How long an answer may take that is to come.
pub(super) const LIMIT: Duration = Duration::from_secs(10);
/// What marks a request that must not be read, in a header field that nobody else looks at.
pub(super) const FORGED: &str = "X-Request: forged";

/// A token of a forger, another one for each `number`: the signature is none.
pub(super) fn forged(number: usize) -> String {
    let claims = format!(r#"{{"iss":"https://bench.test","sub":"forger-{number}"}}"#);
    let signature = Sha256::digest(number.to_le_bytes());
    let [head, claims] = [r#"{"alg":"HS256","typ":"JWT"}"#, &claims].map(encode);
    format!("{head}.{claims}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Another's good token with other claims under its signature.
pub(super) fn changed(good: &str, number: usize) -> String {
    let mut parts = good.split('.');
    let (head, signature) = (parts.next().unwrap_or_default(), parts.nth(1).unwrap_or_default());
    let claims = format!(r#"{{"iss":"https://bench.test","sub":"admin-{number}"}}"#);
    format!("{head}.{}.{signature}", encode(&claims))
}

fn encode(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// A request with this line and a mark.
pub(super) fn request(mark: &str, line: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: bench\r\n{mark}\r\n{line}\r\n\r\n").into_bytes()
}

/// A good request.
pub(super) fn good(token: &str) -> Vec<u8> {
    request("X-Request: good", &format!("Authorization: Bearer {token}"))
}

/// A forged one.
pub(super) fn bad(token: &str) -> Vec<u8> {
    request(FORGED, &format!("Authorization: Bearer {token}"))
}

/// One connection, and what came of it.
pub(super) struct Client {
    stream: TcpStream,
    pub(super) answer: Vec<u8>,
    pub(super) reset: bool,
    closed: bool,
}

impl Client {
    /// Connects; every second one by IPv6.
    pub(super) fn connect(port: u16, number: usize) -> Result<Self> {
        let ip: IpAddr = match number % 2 {
            0 => Ipv4Addr::LOCALHOST.into(),
            _ => Ipv6Addr::LOCALHOST.into(),
        };
        let stream = TcpStream::connect(SocketAddr::new(ip, port)).context("cannot connect")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        // Closed by a RST: what was sent and is held goes, too, and no port waits.
        set_socket_linger(&stream, Some(Duration::ZERO))?;
        Ok(Self { stream, answer: Vec::new(), reset: false, closed: false })
    }

    /// Sends each piece by itself. A connection that is reset meanwhile takes no more.
    pub(super) fn send<'b>(&mut self, pieces: impl IntoIterator<Item = &'b [u8]>) -> Result<()> {
        for piece in pieces {
            match self.stream.write_all(piece) {
                Ok(()) => {}
                Err(e)
                    if matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) =>
                {
                    self.reset = true;
                    return Ok(());
                }
                Err(e) => return Err(e).context("cannot send"),
            }
        }
        Ok(())
    }

    /// Sends a request and reads its answer, which is short and comes whole.
    pub(super) fn ask(&mut self, request: &[u8]) -> Result<Duration> {
        let began = Instant::now();
        self.stream.write_all(request)?;
        let mut answer = [0; 1024];
        let read = self.stream.read(&mut answer).context("no answer")?;
        ensure!(answer.starts_with(b"HTTP/1.1 200"), "closed after {read} bytes of an answer");
        Ok(began.elapsed())
    }

    /// Waits for the RST; gives when it came, or none if it did not within the limit.
    pub(super) fn until_reset(&mut self) -> Option<Instant> {
        let mut bytes = [0; 1024];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(e) => return (e.kind() == ErrorKind::ConnectionReset).then(Instant::now),
            }
        }
    }

    /// Takes what has come; whether the connection is over.
    fn poll(&mut self) -> Result<bool> {
        self.stream.set_nonblocking(true)?;
        let mut bytes = [0; 1024];
        while !self.reset && !self.closed {
            match self.stream.read(&mut bytes) {
                Ok(0) => self.closed = true,
                Ok(read) => self.answer.extend_from_slice(bytes.get(..read).unwrap_or_default()),
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::ConnectionReset => self.reset = true,
                Err(e) => return Err(e.into()),
            }
        }
        self.stream.set_nonblocking(false)?;
        Ok(self.reset || self.closed)
    }

    /// Answers that have come.
    pub(super) fn answers(&self) -> usize {
        self.answer.windows(9).filter(|at| at == b"HTTP/1.1 ").count()
    }
}

/// Takes what comes until all are `done` or over, or the time is.
pub(super) fn settle(
    clients: &mut [Client],
    limit: Duration,
    done: impl Fn(&Client) -> bool,
) -> Result<()> {
    let end = Instant::now() + limit;
    loop {
        let mut open = 0;
        for client in clients.iter_mut() {
            if !client.poll()? && !done(client) {
                open += 1;
            }
        }
        if open == 0 || Instant::now() > end {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::{changed, forged};

    #[test]
    fn forgeries_look_like_tokens() {
        let parts = |token: &str| token.split('.').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(parts(&forged(1)).len(), 3);
        assert_eq!(parts(&forged(1))[2].len(), 43);
        assert_ne!(forged(1), forged(2));
        let other = changed("a.b.c", 3);
        assert_eq!((&*parts(&other)[0], &*parts(&other)[2]), ("a", "c"));
        assert_ne!(parts(&other)[1], "b");
    }
}
