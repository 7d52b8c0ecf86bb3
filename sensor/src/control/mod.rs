//! The control socket: other commands ask the running daemon over it.
//!
//! A unix stream socket of mode 0600 in the runtime folder. The client sends one JSON object in
//! one line, the daemon answers with one, and closes.
#![forbid(unsafe_code)]

mod change;
mod forget;
mod live;
mod models;
mod status;

use std::{
    collections::VecDeque,
    fs,
    io::{self, Read as _, Write as _},
    os::unix::{
        fs::PermissionsExt as _,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use self::{
    change::{Change, Changed, List, Listed, ListedFile, MAX_LISTED, Target, TokenText},
    forget::{ForgetRequest, Forgotten},
    live::{
        LiveRequest, LiveService, LiveView, MAX_LIVE_EVENTS, MAX_LIVE_REQUESTS, MAX_LIVE_SERVICES,
    },
    models::{
        FeedbackAnswer, FeedbackRequest, LabelCounts, LabelList, ListedLabel, ModelRequest,
        ModelStatus, ModelsStatus, ShadowStatus,
    },
    status::{EnforcementStatus, FeedStatus, KernelStatus, RequestBalance, ServiceMode, Status},
};
use crate::{event::Peer, redact};

/// Name of the socket in the runtime folder.
pub const SOCKET_NAME: &str = "control.sock";

/// Longest request line that the daemon reads.
const MAX_REQUEST_BYTES: usize = 64 << 10;

/// Longest answer that a client reads.
const MAX_ANSWER_BYTES: u64 = 16 << 20;

/// A client may take so long for its question, and so long for the answer, all in all: then the next
/// one gets its turn.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(1);

/// Clients that are served at once, by a thread each: a change that waits for the end of a reload keeps
/// nobody from asking how that fares.
const CLIENTS: usize = 4;

/// The daemon answers within a few milliseconds, unless it is stuck. Changes wait while it takes over a
/// new configuration: a list of a million entries takes some seconds where it has no processor of its
/// own.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// To erase a subject everything that is kept is read, and some of it written anew: gigabytes at most.
const FORGET_TIMEOUT: Duration = Duration::from_secs(300);

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// The state of the daemon.
    Status,
    /// A change of what is denied, or a look at it.
    Deny(Change),
    /// A change of what is never cut, or a look at it.
    Allow(Change),
    /// What somebody says of an event, or a look at what was said.
    Feedback(FeedbackRequest),
    /// A change of the behaviour model in force.
    Model(ModelRequest),
    /// To erase a subject.
    Forget(ForgetRequest),
    /// What passes, for somebody who watches.
    Live {
        /// Events from this number on.
        after: u64,
    },
}

impl Request {
    /// Whether it changes nothing, and may be answered while something else is under way.
    const fn is_query(&self) -> bool {
        matches!(self, Self::Status | Self::Live { .. })
    }

    /// How long its answer may take.
    const fn patience(&self) -> Duration {
        match self {
            Self::Forget(_) => FORGET_TIMEOUT,
            _ => ANSWER_TIMEOUT,
        }
    }
}

/// A request and where its answer goes.
#[derive(Debug)]
pub struct Call {
    /// What is asked.
    pub request: Request,
    /// Who asks.
    pub by: Peer,
    answer: Sender<serde_json::Value>,
}

impl Call {
    /// Answers; a client that has gone is no error.
    pub fn answer(self, value: serde_json::Value) {
        let _ = self.answer.send(value);
    }
}

/// The daemon's end; removes the socket when dropped.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    calls: Receiver<Call>,
    /// Those that came and are not answered yet, in their order: one a client at most.
    waiting: VecDeque<Call>,
}

impl Server {
    /// Binds the socket in `runtime_dir`, which is made when absent, and serves it on threads.
    ///
    /// # Errors
    /// Another daemon answers on the socket, or it can't be bound.
    pub fn bind(runtime_dir: &Path) -> anyhow::Result<Self> {
        let path = runtime_dir.join(SOCKET_NAME);
        let place = || format!("control socket {}", path.display());
        fs::create_dir_all(runtime_dir).with_context(place)?;
        if let Ok(other) = UnixStream::connect(&path) {
            let owner = rustix::net::sockopt::socket_peercred(&other).map(|owner| owner.pid);
            let owner = owner.map_or("?".to_owned(), |pid| pid.as_raw_nonzero().to_string());
            bail!(
                "{} belongs to process {owner}, a daemon that is running; give this one another \
                 daemon.runtime_dir",
                place()
            );
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(place);
            }
            _ => {}
        }
        // Bound under a name of its own and moved when its mode is right: nobody connects before.
        let fresh = runtime_dir.join(format!("{SOCKET_NAME}.{}", std::process::id()));
        let _ = fs::remove_file(&fresh);
        let listener = UnixListener::bind(&fresh).with_context(place)?;
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600)).with_context(place)?;
        fs::rename(&fresh, &path).with_context(place)?;
        let (sender, calls) = mpsc::channel();
        let listener = Arc::new(listener);
        for _ in 0..CLIENTS {
            let (listener, sender) = (Arc::clone(&listener), sender.clone());
            thread::Builder::new()
                .name("control".into())
                .spawn(move || serve(&listener, &sender))
                .with_context(place)?;
        }
        Ok(Self { path, calls, waiting: VecDeque::new() })
    }

    /// The call that has waited longest for its answer.
    pub fn next_call(&mut self) -> Option<Call> {
        self.waiting.extend(self.calls.try_iter());
        self.waiting.pop_front()
    }

    /// The one that has waited longest of those that change nothing, past all others.
    pub fn next_query(&mut self) -> Option<Call> {
        self.waiting.extend(self.calls.try_iter());
        let at = self.waiting.iter().position(|call| call.request.is_query())?;
        self.waiting.remove(at)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn serve(listener: &UnixListener, calls: &Sender<Call>) {
    for client in listener.incoming() {
        let Ok(client) = client else {
            // Out of descriptors: let some come back.
            thread::sleep(CLIENT_TIMEOUT);
            continue;
        };
        if let Err(error) = serve_client(&client, calls) {
            tracing::debug!("control: {error:#}");
        }
    }
}

fn serve_client(client: &UnixStream, calls: &Sender<Call>) -> anyhow::Result<()> {
    let peer = rustix::net::sockopt::socket_peercred(client)?;
    let by = Peer { uid: peer.uid.as_raw(), pid: peer.pid.as_raw_nonzero().get().cast_unsigned() };
    let own = rustix::process::geteuid().as_raw();
    let answer = if by.uid != own && by.uid != 0 {
        // The socket's mode says the same; a socket that was passed on, or moved, does not. Not a
        // byte is read for him.
        serde_json::json!({ "error": format!("user {} may not ask this daemon", by.uid) })
    } else {
        let line = read_line(client)?;
        match serde_json::from_slice(&line) {
            Ok(request) => {
                let (sender, receiver) = mpsc::channel();
                let request: Request = request;
                let patience = request.patience();
                let call = Call { request, by, answer: sender };
                calls.send(call).map_err(|_| anyhow!("stopping"))?;
                receiver.recv_timeout(patience)?
            }
            Err(error) => {
                let error = redact::text(&error.to_string()).into_owned();
                serde_json::json!({ "error": format!("not a request: {error}") })
            }
        }
    };
    let mut answer = serde_json::to_vec(&answer)?;
    answer.push(b'\n');
    write(client, &answer)?;
    Ok(())
}

/// Whether a daemon listens in `runtime_dir`, or somebody may be there that this user may not ask.
#[must_use]
pub fn is_running(runtime_dir: &Path) -> bool {
    let gone = |error: &io::Error| {
        matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
    };
    !UnixStream::connect(runtime_dir.join(SOCKET_NAME)).is_err_and(|error| gone(&error))
}

/// What the client says up to the end of its line, of its words, or of the most that is read.
fn read_line(mut client: &UnixStream) -> io::Result<Zeroizing<Vec<u8>>> {
    let deadline = Instant::now() + CLIENT_TIMEOUT;
    // It may hold a token, of which growing would leave copies behind.
    let mut line = Zeroizing::new(vec![0; MAX_REQUEST_BYTES]);
    let mut len = 0;
    while let Some(rest) = line.get_mut(len..).filter(|rest| !rest.is_empty()) {
        client.set_read_timeout(Some(left(deadline)?))?;
        let read = client.read(rest)?;
        len += read;
        if read == 0 || line.get(len - read..len).is_some_and(|new| new.contains(&b'\n')) {
            break;
        }
    }
    line.truncate(len);
    Ok(line)
}

fn write(mut client: &UnixStream, mut answer: &[u8]) -> io::Result<()> {
    let deadline = Instant::now() + CLIENT_TIMEOUT;
    while !answer.is_empty() {
        client.set_write_timeout(Some(left(deadline)?))?;
        let written = client.write(answer)?;
        answer = answer.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// How long it is to a deadline, never 0, which would be for ever.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// Asks the daemon whose socket lies in `runtime_dir`.
///
/// # Errors
/// No daemon runs there, it may not be asked by this user, or it does not answer in time.
pub fn ask(runtime_dir: &Path, request: &Request) -> anyhow::Result<serde_json::Value> {
    let path = runtime_dir.join(SOCKET_NAME);
    let mut daemon = UnixStream::connect(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            anyhow!("no daemon is running (control socket {})", path.display())
        }
        _ => anyhow!("control socket {}: {error}", path.display()),
    })?;
    daemon.set_read_timeout(Some(request.patience() + CLIENT_TIMEOUT))?;
    let mut line = Zeroizing::new(serde_json::to_vec(request)?);
    line.push(b'\n');
    daemon.write_all(&line)?;
    let mut answer = String::new();
    daemon
        .take(MAX_ANSWER_BYTES)
        .read_to_string(&mut answer)
        .with_context(|| format!("the daemon behind {} does not answer", path.display()))?;
    let answer: serde_json::Value = serde_json::from_str(&answer)
        .with_context(|| format!("the daemon behind {} hung up", path.display()))?;
    match answer.get("error").and_then(serde_json::Value::as_str) {
        Some(error) => bail!("{error}"),
        None => Ok(answer),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        os::unix::{fs::PermissionsExt as _, net::UnixStream},
        thread,
        time::{Duration, Instant},
    };

    use super::{Change, Request, SOCKET_NAME, Server, Target, TokenText, ask};

    #[test]
    fn a_call_is_answered_and_the_socket_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let mut server = Server::bind(dir.path()).unwrap();
        let mode = dir.path().join(SOCKET_NAME).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let client = thread::spawn({
            let dir = dir.path().to_owned();
            move || ask(&dir, &Request::Status).unwrap()
        });
        let call = loop {
            if let Some(call) = server.next_call() {
                break call;
            }
            thread::yield_now();
        };
        assert_eq!(call.request, Request::Status);
        assert_eq!(call.by.uid, rustix::process::geteuid().as_raw());
        assert_eq!(call.by.pid, std::process::id());
        call.answer(serde_json::json!({ "pid": 7 }));
        assert_eq!(client.join().unwrap()["pid"], 7);
    }

    #[test]
    fn a_query_passes_the_changes_that_wait_and_these_keep_their_order() {
        let dir = tempfile::tempdir().unwrap();
        let mut server = Server::bind(dir.path()).unwrap();
        let list = Change::List { limit: 1 };
        let changes = [Request::Deny(list.clone()), Request::Allow(list)];
        let asked = [&changes[..], &[Request::Live { after: 0 }, Request::Status]].concat();
        let clients: Vec<_> = asked
            .iter()
            .enumerate()
            .map(|(n, request)| {
                let (dir, request) = (dir.path().to_owned(), request.clone());
                let client = thread::spawn(move || ask(&dir, &request).unwrap());
                // The next one asks when this one waits.
                let end = Instant::now() + Duration::from_secs(20);
                while server.waiting.len() <= n {
                    assert!(Instant::now() < end, "{n} wait");
                    let calls = server.calls.recv_timeout(Duration::from_millis(10));
                    server.waiting.extend(calls);
                }
                client
            })
            .collect();
        let mut taken = Vec::new();
        while let Some(call) = server.next_query() {
            taken.push(call.request.clone());
            call.answer(serde_json::json!({ "query": true }));
        }
        assert_eq!(taken, asked[2..]);
        while let Some(call) = server.next_call() {
            taken.push(call.request.clone());
            call.answer(serde_json::json!({ "query": false }));
        }
        assert_eq!(taken[2..], changes);
        let answers = clients.into_iter().map(|client| client.join().unwrap()["query"] == true);
        assert_eq!(answers.collect::<Vec<_>>(), [false, false, true, true]);
    }

    #[test]
    fn a_second_daemon_is_refused_and_a_dead_one_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        drop(std::os::unix::net::UnixListener::bind(dir.path().join(SOCKET_NAME)).unwrap());
        let server = Server::bind(dir.path()).unwrap();
        let error = Server::bind(dir.path()).unwrap_err().to_string();
        let own = format!("process {},", std::process::id());
        assert!(error.contains("daemon that is running") && error.contains(&own), "{error}");
        drop(server);
        let error = ask(dir.path(), &Request::Status).unwrap_err().to_string();
        assert!(error.contains("no daemon is running"), "{error}");
    }

    /// Each of these has its second, and the next one is answered.
    #[test]
    fn nobody_holds_the_socket_for_longer_than_his_turn() {
        let dir = tempfile::tempdir().unwrap();
        let mut server = Server::bind(dir.path()).unwrap();
        let path = dir.path().join(SOCKET_NAME);
        let connect = || UnixStream::connect(&path).unwrap();
        // One that says nothing, and one that never comes to the end of his line.
        let _silent = connect();
        let mut slow = connect();
        let drip = thread::spawn(move || {
            let began = Instant::now();
            while slow.write_all(b"x").is_ok() && began.elapsed() < Duration::from_secs(20) {
                thread::sleep(Duration::from_millis(100));
            }
            began.elapsed()
        });
        // A line that is over every limit.
        let mut long = connect();
        let flood = thread::spawn(move || {
            let line = vec![b'['; 1 << 20];
            let _ = long.write_all(&line);
            let mut answer = String::new();
            let _ = long.read_to_string(&mut answer);
            answer
        });
        let client = thread::spawn({
            let dir = dir.path().to_owned();
            move || ask(&dir, &Request::Status)
        });
        let began = Instant::now();
        let call = loop {
            if let Some(call) = server.next_call() {
                break call;
            }
            assert!(began.elapsed() < Duration::from_secs(20));
            thread::sleep(Duration::from_millis(1));
        };
        call.answer(serde_json::json!({ "pid": 7 }));
        assert_eq!(client.join().unwrap().unwrap()["pid"], 7);
        assert!(drip.join().unwrap() < Duration::from_secs(10));
        let answer = flood.join().unwrap();
        assert!(answer.is_empty() || answer.contains("not a request"), "{answer}");
    }

    #[test]
    fn a_link_in_its_place_leads_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let precious = dir.path().join("precious");
        std::fs::write(&precious, "x").unwrap();
        std::os::unix::fs::symlink(&precious, dir.path().join(SOCKET_NAME)).unwrap();
        let server = Server::bind(dir.path()).unwrap();
        assert_eq!(std::fs::read(&precious).unwrap(), b"x");
        let place = std::fs::symlink_metadata(dir.path().join(SOCKET_NAME)).unwrap();
        assert!(!place.file_type().is_symlink());
        drop(server);
        assert_eq!(std::fs::read(&precious).unwrap(), b"x");
    }

    #[test]
    fn a_token_in_a_request_is_told_to_nobody() {
        let token = crate::event::samples::TOKEN;
        let target = Target::Token(TokenText::new(token.to_owned()));
        let request = Request::Deny(Change::Remove { target });
        assert!(!format!("{request:?}").contains("eyJ"));
        let line = serde_json::to_string(&request).unwrap();
        assert_eq!(serde_json::from_str::<Request>(&line).unwrap(), request);
        // A request that can't be read is not echoed.
        let dir = tempfile::tempdir().unwrap();
        let _server = Server::bind(dir.path()).unwrap();
        let mut client = UnixStream::connect(dir.path().join(SOCKET_NAME)).unwrap();
        writeln!(client, "{{\"{token}\":1}}").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("not a request") && !answer.contains("eyJ"), "{answer}");
    }
}
