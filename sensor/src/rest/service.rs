//! What is answered to a request.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};
use tokio::{
    sync::oneshot,
    time::{Instant as Deadline, timeout_at},
};

use super::{Answer, Call, Counters, Settings, input::Vouched, rate::Bucket, wake::Waker};
use crate::{score::input::InputError, time::Time};

/// The description of all this, OpenAPI 3.1.
pub const OPENAPI: &str = include_str!("../../../docs/openapi.json");

/// Wrong keys a second that are answered as such; one who guesses is kept from it.
const WRONG_KEYS_A_SECOND: u32 = 10;

/// When to come back where the queue is full: it holds what is scored in far less.
const BUSY: Duration = Duration::from_secs(1);

/// What all requests share.
pub(super) struct Shared {
    pub(super) settings: Mutex<Arc<Settings>>,
    pub(super) calls: std::sync::mpsc::SyncSender<Call>,
    /// Wakes who answers calls.
    pub(super) waker: Waker,
    pub(super) counters: Counters,
    rates: Mutex<[Bucket; 2]>,
}

impl Shared {
    pub(super) fn new(
        settings: Settings,
        calls: std::sync::mpsc::SyncSender<Call>,
        waker: Waker,
    ) -> Self {
        let now = Instant::now();
        let rates = [settings.requests_per_second, WRONG_KEYS_A_SECOND];
        let rates = Mutex::new(rates.map(|rate| Bucket::full(now, rate)));
        let (settings, counters) = (Mutex::new(settings.into()), Counters::default());
        Self { settings, calls, waker, counters, rates }
    }

    pub(super) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&lock(&self.settings))
    }
}

/// Nothing that is held under a lock here can be half done.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/score", post(score))
        .route("/openapi.json", get(openapi))
        .route("/healthz", get(healthz))
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "there is no such resource") })
        .method_not_allowed_fallback(|| async {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "the resource has no such method")
        })
        .with_state(shared)
}

async fn healthz() -> Response {
    json_of(StatusCode::OK, "application/json", &json!({ "status": "ok" }))
}

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

async fn score(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let answered = answer(&shared, request).await;
    match answered {
        Ok(answer) => {
            shared.counters.answered(answer.is_suspicious);
            json_of(StatusCode::OK, "application/json", &answer.to_json())
        }
        Err(problem) => {
            shared.counters.refused(problem.status.as_u16());
            problem.into_response()
        }
    }
}

async fn answer(shared: &Shared, request: Request) -> Result<Answer, Problem> {
    let settings = shared.settings();
    let deadline = Deadline::now() + settings.timeout;
    if !is_authorized(request.headers(), &settings) {
        let wait = take(&shared.rates, 1, WRONG_KEYS_A_SECOND);
        return Err(wait.err().unwrap_or_else(|| Problem {
            challenge: true,
            ..Problem::new(StatusCode::UNAUTHORIZED, "the key is missing or wrong")
        }));
    }
    take(&shared.rates, 0, settings.requests_per_second)?;
    let bytes = body(request.into_body(), settings.max_body_bytes, deadline).await?;
    // What serde_json says of bad input shows where, and nothing of the input.
    let value: Value = serde_json::from_slice(&bytes)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, format!("no JSON: {error}")))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let vouched = Vouched::from_json(&value, Time::EPOCH + now)?;
    let (sender, receiver) = oneshot::channel();
    // Never waits: the other end is the reader of the ring.
    let call = Call { vouched, answer: sender, suspicious_score: settings.suspicious_score };
    let busy = |detail: &'static str| Problem {
        retry: Some(BUSY),
        ..Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    };
    shared.calls.try_send(call).map_err(|_| busy("too many requests wait"))?;
    shared.waker.wake();
    match timeout_at(deadline, receiver).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => Err(busy("the daemon stops")),
        Err(_) => Err(busy("no score in time")),
    }
}

/// `Authorization: Bearer KEY` (RFC 6750, section 2.1), once.
fn is_authorized(headers: &HeaderMap, settings: &Settings) -> bool {
    let mut fields = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return false };
    let Some((scheme, key)) = field.as_bytes().split_at_checked(7) else { return false };
    scheme.eq_ignore_ascii_case(b"bearer ") && settings.key.is(key.trim_ascii())
}

fn take(rates: &Mutex<[Bucket; 2]>, which: usize, per_second: u32) -> Result<(), Problem> {
    let mut rates = lock(rates);
    let Some(bucket) = rates.get_mut(which) else { return Ok(()) };
    bucket.take(Instant::now(), per_second).map_err(|wait| Problem {
        retry: Some(wait),
        ..Problem::new(StatusCode::TOO_MANY_REQUESTS, "more requests than are answered")
    })
}

async fn body(body: Body, most: usize, deadline: Deadline) -> Result<Bytes, Problem> {
    let too_large = || {
        let detail = format!("the body is over {most} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    };
    let least = http_body::Body::size_hint(&body).lower();
    if usize::try_from(least).unwrap_or(usize::MAX) > most {
        return Err(too_large());
    }
    match timeout_at(deadline, to_bytes(body, most)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => {
            let source = std::error::Error::source(&error);
            Err(
                match source.is_some_and(|source| source.is::<http_body_util::LengthLimitError>()) {
                    true => too_large(),
                    false => Problem::new(StatusCode::BAD_REQUEST, "the body breaks off"),
                },
            )
        }
        Err(_) => Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "no whole body in time")),
    }
}

/// What is wrong, as RFC 9457 has it.
struct Problem {
    status: StatusCode,
    detail: std::borrow::Cow<'static, str>,
    /// The field that is wrong.
    field: Option<String>,
    /// When to come back.
    retry: Option<Duration>,
    /// Says how to authenticate (RFC 6750, section 3).
    challenge: bool,
}

impl Problem {
    fn new(status: StatusCode, detail: impl Into<std::borrow::Cow<'static, str>>) -> Self {
        Self { status, detail: detail.into(), field: None, retry: None, challenge: false }
    }
}

impl From<InputError> for Problem {
    fn from(error: InputError) -> Self {
        let detail = error.to_string();
        let field = Some(error.field);
        Self { field, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail) }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or_default(),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let (Some(field), Some(members)) = (self.field, body.as_object_mut()) {
            members.insert("field".to_owned(), field.into());
        }
        let mut response = json_of(self.status, "application/problem+json", &body);
        let headers = response.headers_mut();
        if let Some(retry) = self.retry {
            let seconds = retry.as_secs() + u64::from(retry.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if self.challenge {
            let challenge = HeaderValue::from_static("Bearer realm=\"jotwatch\"");
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

fn json_of(status: StatusCode, media_type: &'static str, value: &Value) -> Response {
    let headers = [(header::CONTENT_TYPE, media_type), (header::CACHE_CONTROL, "no-store")];
    (status, headers, value.to_string()).into_response()
}
