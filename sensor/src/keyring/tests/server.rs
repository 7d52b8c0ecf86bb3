//! A small HTTP server that answers what it is told to.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

#[derive(Clone, Debug)]
pub(super) struct Reply {
    head: String,
    body: Vec<u8>,
    length: Option<usize>,
    delay: Duration,
    /// The body comes a byte at a time with this between.
    drip: Duration,
}

impl Reply {
    pub(super) fn status(status: u16) -> Self {
        Self {
            head: format!("HTTP/1.1 {status} X\r\n"),
            body: Vec::new(),
            length: None,
            delay: Duration::ZERO,
            drip: Duration::ZERO,
        }
    }

    pub(super) fn json(body: &str) -> Self {
        let reply = Self { body: body.into(), ..Self::status(200) };
        reply.header("Content-Type", "application/json")
    }

    pub(super) fn to(location: &str) -> Self {
        Self::status(302).header("Location", location)
    }

    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.head += &format!("{name}: {value}\r\n");
        self
    }

    pub(super) fn delayed(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    pub(super) fn dripping(self, drip: Duration) -> Self {
        Self { drip, ..self }
    }

    /// Promises a longer or shorter body than it has.
    pub(super) fn promising(self, length: usize) -> Self {
        Self { length: Some(length), ..self }
    }

    fn send(&self, to: &mut impl Write) -> io::Result<()> {
        thread::sleep(self.delay);
        to.write_all(self.head.as_bytes())?;
        if !self.head.contains("chunked") {
            let length = self.length.unwrap_or(self.body.len());
            to.write_all(format!("Content-Length: {length}\r\n").as_bytes())?;
        }
        to.write_all(b"Connection: close\r\n\r\n")?;
        if self.drip.is_zero() {
            to.write_all(&self.body)?;
        } else {
            for byte in &self.body {
                to.write_all(&[*byte])?;
                to.flush()?;
                thread::sleep(self.drip);
            }
        }
        to.flush()
    }
}

#[derive(Default)]
struct Script {
    otherwise: Option<Reply>,
    paths: HashMap<String, Reply>,
    requests: Vec<String>,
    stop: bool,
}

pub(super) struct Server {
    address: SocketAddr,
    scheme: &'static str,
    script: Arc<Mutex<Script>>,
}

impl Server {
    pub(super) fn start(reply: Reply) -> Self {
        Self::bind(reply, None)
    }

    pub(super) fn bind(reply: Reply, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let script = Arc::new(Mutex::new(Script { otherwise: Some(reply), ..Script::default() }));
        let scheme = if tls.is_some() { "https" } else { "http" };
        let shared = Arc::clone(&script);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.lock().unwrap().stop {
                    return;
                }
                let (shared, tls) = (Arc::clone(&shared), tls.clone());
                thread::spawn(move || {
                    let stream = stream.unwrap();
                    // The client may go at any time.
                    let _ = match tls {
                        None => serve(&mut &stream, &shared),
                        Some(config) => {
                            let connection = ServerConnection::new(config).unwrap();
                            serve(&mut StreamOwned::new(connection, &stream), &shared)
                        }
                    };
                    finish(&stream);
                });
            }
        });
        Self { address, scheme, script }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    pub(super) fn all(&self, reply: Reply) {
        self.script.lock().unwrap().otherwise = Some(reply);
    }

    pub(super) fn at(&self, path: &str, reply: Reply) {
        self.script.lock().unwrap().paths.insert(path.into(), reply);
    }

    pub(super) fn requests(&self) -> Vec<String> {
        self.script.lock().unwrap().requests.clone()
    }
}

impl Drop for Server {
    /// The port is closed when this returns.
    fn drop(&mut self) {
        self.script.lock().unwrap().stop = true;
        while TcpStream::connect(self.address).is_ok() {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

fn serve(stream: &mut (impl Read + Write), script: &Mutex<Script>) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        request.push(byte[0]);
    }
    let request = String::from_utf8(request).unwrap();
    let path = request.split(' ').nth(1).unwrap().to_owned();
    let reply = {
        let mut script = script.lock().unwrap();
        script.requests.push(request);
        script.paths.get(&path).or(script.otherwise.as_ref()).cloned().unwrap()
    };
    reply.send(stream)
}

/// Closes without a reset: bytes that were not read would cause one.
fn finish(mut stream: &TcpStream) {
    let _ = stream.shutdown(Shutdown::Write);
    let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
    let _ = io::copy(&mut stream, &mut io::sink());
}
