//! Scores for services that ask over HTTP: `POST /v1/score` on a unix socket or a loopback address.
//!
//! A thread of its own serves all callers; what it can't answer itself, the score, it asks of the
//! daemon through a queue of [`QUEUE`] calls, which wakes it. Neither waits for the other: a full
//! queue is answered 503, and the daemon takes so many calls a turn and no more. docs/rest.md has the contract.
#![forbid(unsafe_code)]

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod input;
mod key;
mod rate;
mod service;
#[cfg(test)]
mod tests;
mod wake;

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    io, iter,
    net::TcpListener,
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::{
            fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
            net::UnixListener,
        },
    },
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    sync::oneshot,
};

use self::service::{Shared, lock, router};
pub(crate) use self::wake::Waker;
pub use self::{input::Vouched, key::Key, service::OPENAPI};
use crate::{
    config::{Listen, RestConfig},
    confine::{self, Reach},
    pipeline::Assessment,
    policy::Verdict,
    score::Reason,
};

/// Calls that wait for the daemon; it answers within milliseconds unless it is behind.
pub const QUEUE: usize = 256;

/// The longest head of a request; hyper takes no smaller limit than 8 KiB.
const MAX_HEAD: usize = 16 << 10;

/// A connection is closed at the end of the request that it is in then: a caller that reads no
/// answers does not keep it for good.
const MAX_AGE: Duration = Duration::from_secs(300);

/// What a connection over the limit is told.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\n\
    Connection: close\r\n\r\n";

/// What may change while it runs.
#[derive(Clone, Debug)]
pub struct Settings {
    key: Key,
    suspicious_score: u8,
    max_body_bytes: usize,
    requests_per_second: u32,
    connections: usize,
    timeout: Duration,
}

impl Settings {
    /// Reads what the configuration names; `None` where nobody is listened to.
    ///
    /// # Errors
    /// The key can't be read or is not private.
    pub fn load(config: &RestConfig) -> anyhow::Result<Option<Self>> {
        let (Some(_), Some(path)) = (config.listen(), &config.key_file) else { return Ok(None) };
        Ok(Some(Self {
            key: Key::load(path)?,
            suspicious_score: *config.suspicious_score.get_ref(),
            max_body_bytes: *config.max_body_bytes.get_ref(),
            requests_per_second: *config.requests_per_second.get_ref(),
            connections: *config.connections.get_ref(),
            timeout: config.timeout(),
        }))
    }
}

/// A request whose score somebody waits for.
#[derive(Debug)]
pub struct Call {
    /// What is known of it.
    pub vouched: Vouched,
    answer: oneshot::Sender<Answer>,
    suspicious_score: u8,
}

impl Call {
    /// Whether somebody still waits.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        !self.answer.is_closed()
    }

    /// The request, and how its answer is given.
    #[must_use]
    pub fn open(self) -> (Vouched, Answering) {
        let Self { vouched, answer, suspicious_score } = self;
        (vouched, Answering { answer, suspicious_score })
    }
}

/// Where the answer to a call goes.
#[derive(Debug)]
pub struct Answering {
    answer: oneshot::Sender<Answer>,
    suspicious_score: u8,
}

impl Answering {
    /// Answers with what is thought of the request. A caller that has gone is no error.
    pub fn answer(self, assessment: &Assessment) {
        let score = &assessment.score;
        let is_suspicious = match assessment.verdict {
            Verdict::Kill { .. } => true,
            Verdict::Alert => score.suspected || score.value >= self.suspicious_score,
            Verdict::Allow | Verdict::Spared { .. } => false,
        };
        let reasons = score.reasons().to_vec();
        let _ = self.answer.send(Answer { is_suspicious, score: score.value, reasons });
    }
}

/// What is thought of a request.
#[derive(Debug)]
struct Answer {
    is_suspicious: bool,
    score: u8,
    reasons: Vec<Reason>,
}

impl Answer {
    fn to_json(&self) -> Value {
        let reason = |reason: &Reason| {
            json!({
                "source": reason.source.as_str(),
                "id": reason.id,
                "score": reason.score,
                "detail": reason.detail,
            })
        };
        json!({
            "isSuspicious": self.is_suspicious,
            "score": self.score,
            "reasons": self.reasons.iter().map(reason).collect::<Vec<_>>(),
        })
    }
}

/// What was answered, for `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestStatus {
    /// Where is listened.
    pub listen: String,
    /// Requests that got a score.
    pub scored: u64,
    /// Of these, suspicious.
    pub suspicious: u64,
    /// Requests that got none, by status code.
    pub refused: BTreeMap<u16, u64>,
    /// Connections over the limit.
    pub connections_refused: u64,
}

/// Counts what is answered.
#[derive(Debug, Default)]
struct Counters {
    scored: AtomicU64,
    suspicious: AtomicU64,
    connections: AtomicU64,
    refused: Mutex<BTreeMap<u16, u64>>,
}

impl Counters {
    fn answered(&self, suspicious: bool) {
        self.scored.fetch_add(1, Ordering::Relaxed);
        self.suspicious.fetch_add(u64::from(suspicious), Ordering::Relaxed);
    }

    fn refused(&self, status: u16) {
        *lock(&self.refused).entry(status).or_default() += 1;
    }
}

/// Listens as long as it is there.
pub struct Server {
    listen: Listen,
    group: Option<String>,
    shared: Arc<Shared>,
    calls: mpsc::Receiver<Call>,
    /// Dropped, it ends the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
    /// The socket's file, by device and inode: another server may have put its own there.
    file: Option<(PathBuf, (u64, u64))>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("listen", &self.listen).finish_non_exhaustive()
    }
}

enum Socket {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Server {
    /// Listens from now on; `None` where the configuration asks for nobody.
    ///
    /// # Errors
    /// The key can't be read, or the socket can't be bound.
    pub fn start(config: &RestConfig) -> anyhow::Result<Option<Self>> {
        let (Some(settings), Some(listen)) = (Settings::load(config)?, config.listen()) else {
            return Ok(None);
        };
        let place = || format!("rest.listen {listen}");
        let (socket, file) = bind(&listen, config.group.as_deref()).with_context(place)?;
        let (sender, calls) = mpsc::sync_channel(QUEUE);
        let shared = Arc::new(Shared::new(settings, sender, Waker::new().with_context(place)?));
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.with_context(place)?;
        let own = Arc::clone(&shared);
        let thread = thread::Builder::new().name("jotwatch-rest".into()).spawn(move || {
            confine::hold(&Reach::Serving);
            runtime.block_on(async move {
                tokio::select! {
                    _ = stopped => {}
                    () = serve(socket, own) => {}
                }
            });
        });
        let thread = Some(thread.with_context(place)?);
        let group = config.group.clone();
        Ok(Some(Self { listen, group, shared, calls, stop: Some(stop), thread, file }))
    }

    /// Whether it serves this configuration without another socket.
    ///
    /// # Errors
    /// Another group is to have the socket that it listens on.
    pub fn listens_as(&self, config: &RestConfig) -> anyhow::Result<bool> {
        let same = config.listen().as_ref() == Some(&self.listen);
        ensure!(!same || config.group == self.group, "rest.group can't change; restart the daemon");
        Ok(same)
    }

    /// Serves by these settings from the next request on.
    pub fn reconfigure(&self, settings: Settings) {
        *lock(&self.shared.settings) = settings.into();
    }

    /// The calls that wait for an answer, `most` of them; what is left behind them is
    /// [waiting](Self::waiting) at once.
    pub fn pending(&self, most: usize) -> impl Iterator<Item = Call> + '_ {
        // First: a call that comes from now on wakes again.
        self.shared.waker.clear();
        let mut left = most;
        iter::from_fn(move || {
            let Some(rest) = left.checked_sub(1) else {
                self.shared.waker.wake();
                return None;
            };
            left = rest;
            self.calls.try_recv().ok()
        })
    }

    /// Becomes readable when a call waits.
    #[must_use]
    pub fn waiting(&self) -> BorrowedFd<'_> {
        self.shared.waker.as_fd()
    }

    /// What was answered.
    #[must_use]
    pub fn status(&self) -> RestStatus {
        let counters = &self.shared.counters;
        RestStatus {
            listen: self.listen.to_string(),
            scored: counters.scored.load(Ordering::Relaxed),
            suspicious: counters.suspicious.load(Ordering::Relaxed),
            refused: lock(&counters.refused).clone(),
            connections_refused: counters.connections.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if let Some((path, own)) = &self.file
            && fs::symlink_metadata(path).is_ok_and(|file| (file.dev(), file.ino()) == *own)
        {
            let _ = fs::remove_file(path);
        }
    }
}

type SocketFile = (PathBuf, (u64, u64));

fn bind(listen: &Listen, group: Option<&str>) -> anyhow::Result<(Socket, Option<SocketFile>)> {
    let path = match listen {
        Listen::Tcp(address) => {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            return Ok((Socket::Tcp(listener), None));
        }
        Listen::Unix(path) => path,
    };
    let group = group.map(group_id).transpose()?;
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    match fs::symlink_metadata(path) {
        Ok(file) => ensure!(file.file_type().is_socket(), "something else is in its place"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    // Bound under a name of its own and moved when its mode is right: nobody connects before.
    let mut fresh = path.clone().into_os_string();
    fresh.push(format!(".{}", std::process::id()));
    let fresh = PathBuf::from(fresh);
    let _ = fs::remove_file(&fresh);
    let listener = UnixListener::bind(&fresh)?;
    let placed = || -> anyhow::Result<(u64, u64)> {
        if group.is_some() {
            std::os::unix::fs::chown(&fresh, None, group)?;
        }
        let mode = if group.is_some() { 0o660 } else { 0o600 };
        fs::set_permissions(&fresh, Permissions::from_mode(mode))?;
        listener.set_nonblocking(true)?;
        let file = fs::symlink_metadata(&fresh)?;
        fs::rename(&fresh, path)?;
        Ok((file.dev(), file.ino()))
    };
    match placed() {
        Ok(id) => Ok((Socket::Unix(listener), Some((path.clone(), id)))),
        Err(error) => {
            let _ = fs::remove_file(&fresh);
            Err(error)
        }
    }
}

/// The number of a group, by name or number.
fn group_id(group: &str) -> anyhow::Result<u32> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    let groups = fs::read_to_string("/etc/group").context("/etc/group")?;
    let mut fields = groups.lines().map(|line| line.split(':'));
    let found = fields.find_map(|mut line| (line.next() == Some(group)).then(|| line.nth(1))?);
    match found.and_then(|number| number.parse().ok()) {
        Some(number) => Ok(number),
        None => bail!("there is no group {group:?}"),
    }
}

/// A connection counts as long as this is there.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn serve(socket: Socket, shared: Arc<Shared>) {
    let open = Arc::new(AtomicUsize::new(0));
    let listener = match socket {
        Socket::Unix(listener) => tokio::net::UnixListener::from_std(listener).map(Ok),
        Socket::Tcp(listener) => tokio::net::TcpListener::from_std(listener).map(Err),
    };
    let listener = match listener {
        Ok(listener) => listener,
        Err(error) => return tracing::error!("rest: {error}"),
    };
    loop {
        let accepted = match &listener {
            Ok(unix) => unix.accept().await.map(|(stream, _)| admit(stream, &shared, &open)),
            Err(tcp) => tcp.accept().await.map(|(stream, _)| admit(stream, &shared, &open)),
        };
        if let Err(error) = accepted {
            // Out of descriptors: let some come back.
            tracing::debug!("rest: {error}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn admit<S>(mut stream: S, shared: &Arc<Shared>, open: &Arc<AtomicUsize>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let settings = shared.settings();
    let before = open.fetch_add(1, Ordering::Relaxed);
    let counted = Open(Arc::clone(open));
    if before >= settings.connections {
        shared.counters.connections.fetch_add(1, Ordering::Relaxed);
        drop(counted);
        tokio::spawn(async move {
            // What fits the socket's buffer at once, or nothing.
            let _ = tokio::time::timeout(Duration::from_millis(100), stream.write_all(FULL)).await;
        });
        return;
    }
    let service = TowerToHyperService::new(router(Arc::clone(shared)));
    tokio::spawn(async move {
        let _counted = counted;
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(settings.timeout)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        tokio::select! {
            _ = &mut connection => return,
            () = tokio::time::sleep(MAX_AGE) => connection.as_mut().graceful_shutdown(),
        }
        let _ = tokio::time::timeout(settings.timeout * 2, connection).await;
    });
}
