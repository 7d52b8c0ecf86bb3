//! A receiver over HTTP/1.1 that answers as it is told, also badly, and keeps what it got.

use std::{
    collections::HashMap,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// How it answers.
#[derive(Clone, Debug, Default)]
pub enum Answer {
    /// With a status, header fields and a body.
    Status(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// Never.
    #[default]
    Hang,
    /// By closing the connection when it has it all.
    Close,
    /// 400 to what holds this, 200 to the rest.
    Unless(&'static str),
}

impl Answer {
    /// A status alone.
    #[must_use]
    pub const fn status(status: u16) -> Self {
        Self::Status(status, Vec::new(), Vec::new())
    }
}

/// What it got.
#[derive(Clone, Debug)]
pub struct Got {
    /// The request target.
    pub target: String,
    /// Header fields, names in lower case.
    pub headers: HashMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
    /// The status that it answered; `None` without an answer.
    pub answered: Option<u16>,
}

#[derive(Default)]
struct Shared {
    answer: Mutex<Answer>,
    got: Mutex<Vec<Got>>,
    stop: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Listens as long as it is there.
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Receiver {
    /// Listens on `address`.
    ///
    /// # Errors
    /// It can't be bound.
    pub fn start(address: SocketAddr, answer: Answer) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { answer: Mutex::new(answer), ..Shared::default() });
        let own = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if own.stop.load(Ordering::Relaxed) {
                    return;
                }
                let own = Arc::clone(&own);
                // The sender may go at any time.
                let _ = stream.map(|stream| thread::spawn(move || serve(&stream, &own)));
            }
        });
        Ok(Self { address, shared, thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers so from the next request on.
    pub fn answer(&self, answer: Answer) {
        *lock(&self.shared.answer) = answer;
    }

    /// All that it got, in order.
    #[must_use]
    pub fn got(&self) -> Vec<Got> {
        lock(&self.shared.got).clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Requests of one connection, one after the other.
fn serve(stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        // Looks around while the connection is idle.
        stream.set_read_timeout(Some(Duration::from_millis(20)))?;
        loop {
            if shared.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            match reader.fill_buf() {
                Ok([]) => return Ok(()),
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut got = request(&mut reader)?;
        let answer = lock(&shared.answer).clone();
        let (status, headers, body) = match answer {
            Answer::Status(status, headers, body) => (status, headers, body),
            Answer::Unless(text) => {
                let found = got.body.windows(text.len()).any(|part| part == text.as_bytes());
                (if found { 400 } else { 200 }, Vec::new(), Vec::new())
            }
            Answer::Hang => {
                lock(&shared.got).push(got);
                while !shared.stop.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(20));
                }
                return Ok(());
            }
            Answer::Close => {
                lock(&shared.got).push(got);
                return Ok(());
            }
        };
        let mut head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        got.answered = Some(status);
        // Before it is answered, or the sender is done before it is kept.
        lock(&shared.got).push(got);
        let mut stream = stream;
        stream.write_all(head.as_bytes())?;
        stream.write_all(b"\r\n")?;
        stream.write_all(&body)?;
    }
}

fn request(reader: &mut BufReader<&TcpStream>) -> io::Result<Got> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok());
    let mut body = vec![0; length.ok_or(io::ErrorKind::InvalidData)?];
    reader.read_exact(&mut body)?;
    Ok(Got { target, headers, body, answered: None })
}
