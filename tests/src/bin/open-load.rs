//! Requests at a rate that does not wait for answers, for `cargo xtask bench`: one JSON object on
//! standard output.
//!
//! `open-load ADDRESS --rate N --seconds N --connections N < REQUEST` sends the request that it reads
//! from standard input. Requests fall due with exponential pauses, as those of many independent
//! clients do, at the same moments in every run, whatever became of the ones before. A latency
//! runs from when its request was due: what waits for a busy server or for a free connection
//! counts in full, which a client that sends again when it was answered leaves out
//! ("coordinated omission").

use std::{
    collections::{BTreeMap, VecDeque},
    env,
    io::{self, ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::{
    buffer::spare_capacity,
    event::epoll::{self, EventData, EventFlags},
    time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    },
};
use serde_json::{Value, json};

/// What the timer's event is told by.
const TIMER: u64 = u64::MAX;
/// A timer goes off no sooner after it was set: what an answer wakes this for meanwhile sends what is
/// due by then, too. To set one for each request takes a virtual machine a third of the processor that
/// this runs on, which then is what answers wait for.
const GRAIN: Duration = Duration::from_micros(50);
/// How long answers may take after the last request was due.
const GRACE: Duration = Duration::from_secs(5);
/// Latencies are also told apart by such parts of the time: where a machine stands still now and then,
/// as one does whose processors are lent to others, that is in some of them, and what a busy server
/// adds is in most.
const PART: Duration = Duration::from_millis(100);
/// Header fields of an answer.
const FIELDS: usize = 32;

struct Arguments {
    address: SocketAddr,
    rate: f64,
    seconds: u64,
    connections: usize,
}

fn arguments() -> Option<Arguments> {
    let mut words = env::args().skip(1);
    let address = words.next()?.parse().ok()?;
    let mut made = Arguments { address, rate: 1_000.0, seconds: 1, connections: 64 };
    while let Some(flag) = words.next() {
        let value = words.next()?;
        match flag.as_str() {
            "--rate" => made.rate = value.parse().ok()?,
            "--seconds" => made.seconds = value.parse().ok()?,
            "--connections" => made.connections = value.parse().ok()?,
            _ => return None,
        }
    }
    (made.rate > 0.0 && made.connections > 0).then_some(made)
}

fn main() -> Result<()> {
    let Some(arguments) = arguments() else {
        eprintln!("usage: open-load ADDRESS [--rate N] [--seconds N] [--connections N] < REQUEST");
        process::exit(2);
    };
    let mut request = Vec::new();
    io::stdin().read_to_end(&mut request)?;
    serde_json::to_writer(io::stdout(), &run(&arguments, &request)?)?;
    Ok(())
}

/// When requests fall due: pauses of an exponential distribution.
struct Schedule {
    state: u64,
    mean: f64,
    next: Duration,
}

impl Schedule {
    fn new(rate: f64) -> Self {
        Self { state: 0x9e37_79b9_7f4a_7c15, mean: 1.0 / rate, next: Duration::ZERO }
    }

    /// The next one, once.
    fn take(&mut self) -> Duration {
        // xorshift64 (Marsaglia 2003), its upper 53 bits as a number above 0, at most 1.
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let part = ((self.state >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        let due = self.next;
        self.next += Duration::from_secs_f64(-part.ln() * self.mean);
        due
    }
}

/// A connection, and when the request on it was due.
struct Link {
    stream: TcpStream,
    answer: Vec<u8>,
    due: Option<Duration>,
}

impl Link {
    /// Reads what is there; whether the answer is whole.
    fn read(&mut self) -> Result<bool> {
        let mut bytes = [0; 4096];
        match self.stream.read(&mut bytes) {
            Ok(0) => bail!("the server closed a connection"),
            Ok(read) => self.answer.extend_from_slice(bytes.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let Some(length) = answer_length(&self.answer)? else { return Ok(false) };
        ensure!(self.answer.len() <= length, "more than an answer");
        let whole = self.answer.len() == length;
        if whole {
            self.answer.clear();
        }
        Ok(whole)
    }
}

/// The length of the answer that begins here, once its head is whole.
fn answer_length(bytes: &[u8]) -> Result<Option<usize>> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut answer = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(head) = answer.parse(bytes)? else { return Ok(None) };
    ensure!(answer.code == Some(200), "an answer with status {:?}", answer.code);
    let length = answer.headers.iter().find(|f| f.name.eq_ignore_ascii_case("content-length"));
    let length: usize = std::str::from_utf8(length.context("no Content-Length")?.value)?.parse()?;
    Ok(Some(head + length))
}

fn run(arguments: &Arguments, request: &[u8]) -> Result<Value> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
    epoll::add(&epoll, &timer, EventData::new_u64(TIMER), EventFlags::IN)?;
    let mut links = Vec::with_capacity(arguments.connections);
    for number in 0..arguments.connections {
        let stream = TcpStream::connect(arguments.address).context("cannot connect")?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        epoll::add(&epoll, &stream, EventData::new_u64(number as u64), EventFlags::IN)?;
        links.push(Link { stream, answer: Vec::new(), due: None });
    }
    let mut idle: VecDeque<usize> = (0..links.len()).collect();
    let mut waiting: VecDeque<Duration> = VecDeque::new();
    let mut schedule = Schedule::new(arguments.rate);
    let end = Duration::from_secs(arguments.seconds);
    let expected = arguments.rate * end.as_secs_f64() * 1.1;
    // From when a request was due, and how long it took.
    let mut latencies: Vec<(Duration, Duration)> = Vec::with_capacity(expected as usize);
    let (mut due, mut in_time) = (0_u64, 0_u64);
    let mut events = Vec::with_capacity(256);
    let mut armed: Option<Duration> = None;
    let began = Instant::now();
    loop {
        let now = began.elapsed();
        while schedule.next <= now && schedule.next < end {
            waiting.push_back(schedule.take());
            due += 1;
        }
        while let Some(number) = (!waiting.is_empty()).then(|| idle.pop_front()).flatten() {
            let Some(link) = links.get_mut(number) else { continue };
            // A request is far below what a socket takes at once.
            link.stream.write_all(request).context("cannot send")?;
            link.due = waiting.pop_front();
        }
        let over = schedule.next >= end;
        if over && waiting.is_empty() && idle.len() == links.len() || now > end + GRACE {
            break;
        }
        let wake = if over { end + GRACE } else { schedule.next.max(now + GRAIN) };
        // One that goes off earlier does no harm.
        if armed.is_none_or(|armed| armed > wake) {
            // To set it anew also takes back that it has gone off.
            let pause = wake.saturating_sub(now);
            let it_value = Timespec {
                tv_sec: pause.as_secs().cast_signed(),
                tv_nsec: i64::from(pause.subsec_nanos()).max(1),
            };
            let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
            let at = Itimerspec { it_interval, it_value };
            timerfd_settime(&timer, TimerfdTimerFlags::empty(), &at)?;
            armed = Some(wake);
        }
        epoll::wait(&epoll, spare_capacity(&mut events), None)?;
        for event in events.drain(..) {
            let number = event.data.u64();
            let Some(link) = usize::try_from(number).ok().and_then(|n| links.get_mut(n)) else {
                armed = None;
                continue;
            };
            if link.read()? {
                let answered = began.elapsed();
                let due = link.due.take().context("an answer without a request")?;
                latencies.push((due, answered.saturating_sub(due)));
                in_time += u64::from(answered <= end);
                idle.push_back(usize::try_from(number)?);
            }
        }
    }
    let answered = latencies.len();
    let parts_p99 = parts_p99(&latencies);
    let mut latencies: Vec<Duration> = latencies.into_iter().map(|(_, took)| took).collect();
    latencies.sort_unstable();
    let at = |part| micros(quantile(&latencies, part));
    Ok(json!({
        "due": due,
        "answered": answered,
        "rate": in_time as f64 / end.as_secs_f64(),
        "p50": at(500),
        "p99": at(990),
        "parts_p99": micros(parts_p99),
        "max": at(1_000),
    }))
}

/// The median of what 99 of 100 requests stay below in each [`PART`], by when they were due.
fn parts_p99(latencies: &[(Duration, Duration)]) -> Duration {
    let mut parts: BTreeMap<u128, Vec<Duration>> = BTreeMap::new();
    for (due, took) in latencies {
        parts.entry(due.as_nanos() / PART.as_nanos()).or_default().push(*took);
    }
    let mut p99s: Vec<Duration> = parts
        .into_values()
        .map(|mut part| {
            part.sort_unstable();
            quantile(&part, 990)
        })
        .collect();
    p99s.sort_unstable();
    quantile(&p99s, 500)
}

/// What so many of a thousand stay below, of latencies in order; 0 of none.
fn quantile(latencies: &[Duration], of_thousand: usize) -> Duration {
    let last = latencies.len().max(1) - 1;
    latencies.get((latencies.len() * of_thousand / 1_000).min(last)).copied().unwrap_or_default()
}

fn micros(latency: Duration) -> f64 {
    latency.as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{PART, Schedule, answer_length, parts_p99};

    #[test]
    fn requests_fall_due_at_the_rate_and_alike_in_every_run() {
        let moments = || {
            let mut schedule = Schedule::new(1_000.0);
            (0..20_000).map(|_| schedule.take()).collect::<Vec<Duration>>()
        };
        let moments = [moments(), moments()];
        assert_eq!(moments[0], moments[1]);
        let last = moments[0].last().unwrap().as_secs_f64();
        assert!((19.0..21.0).contains(&last), "{last}");
        // Exponential: 63 % of the pauses are below the mean.
        let below = moments[0].windows(2).filter(|w| w[1] - w[0] < Duration::from_millis(1));
        assert!((12_200..13_000).contains(&below.count()));
    }

    #[test]
    fn a_pause_is_in_its_part_alone() {
        let load = |slow: &dyn Fn(u32, u32) -> u64| -> Vec<_> {
            let all = (0..9).flat_map(|part| (0..200).map(move |n| (part, n)));
            // Each part's last one comes late, and in any order.
            all.rev()
                .map(|(part, n)| {
                    (PART * part + PART / 200 * n, Duration::from_micros(slow(part, n)))
                })
                .collect()
        };
        let of = |slow: &dyn Fn(u32, u32) -> u64| parts_p99(&load(slow)).as_micros();
        assert_eq!(of(&|_, n| u64::from(n) + 1), 199);
        // Four of nine parts stood still, then five.
        assert_eq!(of(&|part, n| if part % 2 == 1 { 9_000 } else { u64::from(n) + 1 }), 199);
        assert_eq!(of(&|part, n| if part % 2 == 0 { 9_000 } else { u64::from(n) + 1 }), 9_000);
        // A little in each part is seen.
        assert_eq!(of(&|_, n| if n < 4 { 500 } else { 1 }), 500);
        assert_eq!(parts_p99(&[]).as_micros(), 0);
    }

    #[test]
    fn an_answer_is_whole_at_its_last_byte() {
        let answer = b"HTTP/1.1 200 OK\r\nServer: a\r\ncontent-length: 6\r\n\r\nhello\n";
        let head = answer.len() - 6;
        for end in 0..answer.len() {
            let length = answer_length(&answer[..end]).unwrap();
            assert_eq!(length, (end >= head).then_some(answer.len()), "{end}");
        }
        assert!(answer_length(b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n").is_err());
        assert!(answer_length(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
