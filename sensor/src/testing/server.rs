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
pub(crate) struct Reply {
    head: String,
    body: Vec<u8>,
    length: Option<usize>,
    delay: Duration,
    /// The body comes a byte at a time with this between.
    drip: Duration,
}

impl Reply {
    pub(crate) fn status(status: u16) -> Self {
        Self {
            head: format!("HTTP/1.1 {status} X\r\n"),
            body: Vec::new(),
            length: None,
            delay: Duration::ZERO,
            drip: Duration::ZERO,
        }
    }

    pub(crate) fn json(body: &str) -> Self {
        let reply = Self { body: body.into(), ..Self::status(200) };
        reply.header("Content-Type", "application/json")
    }

    pub(crate) fn to(location: &str) -> Self {
        Self::status(302).header("Location", location)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.head += &format!("{name}: {value}\r\n");
        self
    }

    pub(crate) fn delayed(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    pub(crate) fn dripping(self, drip: Duration) -> Self {
        Self { drip, ..self }
    }

    /// Promises a longer or shorter body than it has.
    pub(crate) fn promising(self, length: usize) -> Self {
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
    bodies: Vec<Vec<u8>>,
    stop: bool,
}

pub(crate) struct Server {
    address: SocketAddr,
    scheme: &'static str,
    script: Arc<Mutex<Script>>,
}

impl Server {
    pub(crate) fn start(reply: Reply) -> Self {
        Self::bind(reply, None)
    }

    pub(crate) fn bind(reply: Reply, tls: Option<Arc<ServerConfig>>) -> Self {
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

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    pub(crate) fn all(&self, reply: Reply) {
        self.script.lock().unwrap().otherwise = Some(reply);
    }

    pub(crate) fn at(&self, path: &str, reply: Reply) {
        self.script.lock().unwrap().paths.insert(path.into(), reply);
    }

    /// The heads of the requests that came.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.script.lock().unwrap().requests.clone()
    }

    /// Their bodies.
    pub(crate) fn bodies(&self) -> Vec<Vec<u8>> {
        self.script.lock().unwrap().bodies.clone()
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
    let length = request.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
    });
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body)?;
    let reply = {
        let mut script = script.lock().unwrap();
        script.requests.push(request);
        script.bodies.push(body);
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
