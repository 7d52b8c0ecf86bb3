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
    fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::{
        fs::PermissionsExt as _,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::Duration,
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
const MAX_REQUEST_BYTES: u64 = 64 << 10;

/// Longest answer that a client reads.
const MAX_ANSWER_BYTES: u64 = 16 << 20;

/// A client that says nothing for so long is hung up on, so that the next one gets its turn.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(1);

/// The daemon answers within a few milliseconds unless it is stuck.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

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
}

impl Server {
    /// Binds the socket in `runtime_dir`, which is made when absent, and serves it on a thread.
    ///
    /// # Errors
    /// Another daemon answers on the socket, or it can't be bound.
    pub fn bind(runtime_dir: &Path) -> anyhow::Result<Self> {
        let path = runtime_dir.join(SOCKET_NAME);
        let place = || format!("control socket {}", path.display());
        fs::create_dir_all(runtime_dir).with_context(place)?;
        if UnixStream::connect(&path).is_ok() {
            bail!(
                "{} belongs to a daemon that is running; give this one another daemon.runtime_dir",
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
        thread::Builder::new()
            .name("control".into())
            .spawn(move || serve(&listener, &sender))
            .with_context(place)?;
        Ok(Self { path, calls })
    }

    /// The calls that wait for an answer.
    pub fn pending(&self) -> impl Iterator<Item = Call> + '_ {
        self.calls.try_iter()
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
    client.set_read_timeout(Some(CLIENT_TIMEOUT))?;
    client.set_write_timeout(Some(CLIENT_TIMEOUT))?;
    let peer = rustix::net::sockopt::socket_peercred(client)?;
    let by = Peer { uid: peer.uid.as_raw(), pid: peer.pid.as_raw_nonzero().get().cast_unsigned() };
    // A request may hold a token.
    let mut line = Zeroizing::new(String::new());
    BufReader::new(client.take(MAX_REQUEST_BYTES)).read_line(&mut line)?;
    let own = rustix::process::geteuid().as_raw();
    let answer = if by.uid != own && by.uid != 0 {
        // The socket's mode says the same; a socket that was passed on, or moved, does not.
        serde_json::json!({ "error": format!("user {} may not ask this daemon", by.uid) })
    } else {
        match serde_json::from_str(&line) {
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
    let mut client = client;
    serde_json::to_writer(&mut client, &answer)?;
    client.write_all(b"\n")?;
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
    };

    use super::{Change, Request, SOCKET_NAME, Server, Target, TokenText, ask};

    #[test]
    fn a_call_is_answered_and_the_socket_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::bind(dir.path()).unwrap();
        let mode = dir.path().join(SOCKET_NAME).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let client = thread::spawn({
            let dir = dir.path().to_owned();
            move || ask(&dir, &Request::Status).unwrap()
        });
        let call = loop {
            if let Some(call) = server.pending().next() {
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
    fn a_second_daemon_is_refused_and_a_dead_one_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        drop(std::os::unix::net::UnixListener::bind(dir.path().join(SOCKET_NAME)).unwrap());
        let server = Server::bind(dir.path()).unwrap();
        let error = Server::bind(dir.path()).unwrap_err().to_string();
        assert!(error.contains("daemon that is running"), "{error}");
        drop(server);
        let error = ask(dir.path(), &Request::Status).unwrap_err().to_string();
        assert!(error.contains("no daemon is running"), "{error}");
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
