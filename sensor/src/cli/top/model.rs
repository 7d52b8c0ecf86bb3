//! What `top` shows, and what keys do to it: no terminal here.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, VecDeque},
    time::Instant,
};

use ratatui::crossterm::event::{KeyCode, KeyModifiers};
use serde_json::Value;

use crate::{
    cli::shown,
    control::{LiveRequest, LiveService, LiveView, Status},
    enforce::entry::Written,
};

/// Requests and events that are kept to look at.
const KEPT_MAX: usize = 1_000;
/// Subjects and findings that are counted; the first ones.
const COUNTED_MAX: usize = 1_000;

/// A table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Pane {
    #[default]
    Alerts,
    Requests,
    Services,
    Subjects,
    Findings,
    Loss,
}

impl Pane {
    pub(super) const ALL: [Self; 6] =
        [Self::Alerts, Self::Requests, Self::Services, Self::Subjects, Self::Findings, Self::Loss];

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Alerts => "alerts",
            Self::Requests => "requests",
            Self::Services => "services",
            Self::Subjects => "subjects",
            Self::Findings => "findings",
            Self::Loss => "loss",
        }
    }

    /// Names and widths of the columns; 0 takes what is left.
    pub(super) const fn columns(self) -> &'static [(&'static str, u16)] {
        match self {
            Self::Alerts => {
                &[("time", 8), ("severity", 8), ("score", 5), ("service", 10), ("what", 0)]
            }
            Self::Requests => &[
                ("time", 8),
                ("client", 21),
                ("service", 17),
                ("status", 6),
                ("ms", 8),
                ("request", 0),
            ],
            Self::Services => &[
                ("service", 0),
                ("requests", 8),
                ("/s", 6),
                ("token", 6),
                ("found", 5),
                ("401/403", 7),
                ("5xx", 4),
                ("ms", 6),
                ("bytes", 8),
            ],
            Self::Subjects => {
                &[("subject", 0), ("alerts", 6), ("score", 5), ("last", 8), ("client", 16)]
            }
            Self::Findings => &[("finding", 0), ("severity", 8), ("alerts", 7), ("last", 8)],
            Self::Loss => &[("what", 0), ("count", 12)],
        }
    }
}

/// A line of a table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) cells: Vec<String>,
    /// What it is about, where that can be opened.
    about: About,
}

#[derive(Clone, Debug, PartialEq)]
enum About {
    Nothing,
    Event(Box<Value>),
    Client(String),
}

/// What is left to do behind a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    None,
    Leave,
    Deny(Written),
}

/// A line of subjects or findings.
#[derive(Debug, Default)]
struct Count {
    alerts: u64,
    score: u64,
    severity: String,
    last: String,
    client: String,
}

#[derive(Debug, Default)]
pub(super) struct Top {
    pane: Pane,
    /// The column that is sorted by; as it comes without.
    sort: Option<usize>,
    reverse: bool,
    filter: String,
    /// The filter is being written.
    typing: bool,
    paused: bool,
    selected: usize,
    opened: Option<Vec<String>>,
    scrolled: u16,
    question: Vec<(char, Written)>,
    notice: Option<String>,
    status: Option<Status>,
    events: VecDeque<Value>,
    requests: VecDeque<LiveRequest>,
    services: Vec<LiveService>,
    /// Requests a second of each service.
    rates: BTreeMap<String, f64>,
    subjects: BTreeMap<String, Count>,
    findings: BTreeMap<String, Count>,
    /// When the daemon was asked last, with its requests and processor time then.
    before: Option<(Instant, u64, u64)>,
    rate: f64,
    cpu: f64,
    resident: u64,
    after: u64,
}

impl Top {
    /// What to ask for the next time.
    pub(super) const fn after(&self) -> u64 {
        self.after
    }

    pub(super) const fn is_paused(&self) -> bool {
        self.paused
    }

    pub(super) fn notice(&mut self, said: String) {
        self.notice = Some(said);
    }

    /// Takes over what the daemon has told.
    pub(super) fn take(&mut self, view: LiveView, now: Instant) {
        let requests = view.status.balance.requests;
        if let Some((at, requests_before, cpu_before)) = self.before {
            let seconds = now.saturating_duration_since(at).as_secs_f64().max(0.001);
            self.rate = requests.saturating_sub(requests_before) as f64 / seconds;
            self.cpu = view.cpu_us.saturating_sub(cpu_before) as f64 / seconds / 10_000.0;
            let before = |server: &str| {
                let same = self.services.iter().find(|service| service.server == server);
                same.map_or(0, |service| service.requests)
            };
            self.rates = view
                .services
                .iter()
                .map(|service| {
                    let more = service.requests.saturating_sub(before(&service.server));
                    (service.server.clone(), more as f64 / seconds)
                })
                .collect();
        }
        self.before = Some((now, requests, view.cpu_us));
        self.resident = view.resident_bytes;
        for event in view.events {
            self.count(&event);
            keep(&mut self.events, event);
        }
        for request in view.requests {
            keep(&mut self.requests, request);
        }
        self.services = view.services;
        self.status = Some(view.status);
        self.after = view.next;
        self.clamp();
    }

    fn count(&mut self, event: &Value) {
        let joined = event.pointer("/joined/count").and_then(Value::as_u64).unwrap_or(0);
        let score = event.get("score").and_then(Value::as_u64).unwrap_or(0);
        let add = |counts: &mut BTreeMap<String, Count>, name: &str, severity: &str| {
            if !counts.contains_key(name) && counts.len() >= COUNTED_MAX {
                return;
            }
            let count = counts.entry(name.to_owned()).or_default();
            count.alerts += 1 + joined;
            count.score = count.score.max(score);
            severity.clone_into(&mut count.severity);
            clock(event).clone_into(&mut count.last);
            shown::client(event).clone_into(&mut count.client);
        };
        if let Some(subject) = shown::subject(event) {
            add(&mut self.subjects, subject, shown::text(event, "/severity"));
        }
        let findings = event.get("findings").and_then(Value::as_array).into_iter().flatten();
        let mut named = findings
            .map(|finding| (shown::text(finding, "/id"), shown::text(finding, "/severity")))
            .collect::<Vec<_>>();
        named.sort_unstable();
        named.dedup();
        for (id, severity) in named {
            add(&mut self.findings, id, severity);
        }
    }

    /// The lines of the table, filtered and sorted.
    pub(super) fn rows(&self) -> Vec<Row> {
        let mut rows = self.all_rows();
        if !self.filter.is_empty() {
            let wanted = self.filter.to_lowercase();
            rows.retain(|row| row.cells.iter().any(|cell| cell.to_lowercase().contains(&wanted)));
        }
        if let Some(column) = self.sort {
            let cell = |row: &Row| row.cells.get(column).cloned().unwrap_or_default();
            rows.sort_by(|a, b| compare(&cell(a), &cell(b)));
        }
        if self.reverse {
            rows.reverse();
        }
        rows
    }

    fn all_rows(&self) -> Vec<Row> {
        match self.pane {
            Pane::Alerts => self.events.iter().rev().map(alert).collect(),
            Pane::Requests => self.requests.iter().rev().map(request).collect(),
            Pane::Services => self.services.iter().map(|service| self.service(service)).collect(),
            Pane::Subjects => self
                .subjects
                .iter()
                .map(|(name, count)| {
                    let cells =
                        vec![name.clone(), count.alerts.to_string(), count.score.to_string()];
                    Row {
                        cells: [cells, vec![count.last.clone(), count.client.clone()]].concat(),
                        about: About::Client(count.client.clone()),
                    }
                })
                .collect(),
            Pane::Findings => self
                .findings
                .iter()
                .map(|(name, count)| Row {
                    cells: vec![
                        name.clone(),
                        count.severity.clone(),
                        count.alerts.to_string(),
                        count.last.clone(),
                    ],
                    about: About::Nothing,
                })
                .collect(),
            Pane::Loss => self.status.as_ref().map(loss).unwrap_or_default(),
        }
    }

    fn service(&self, service: &LiveService) -> Row {
        let rate = self.rates.get(&service.server).copied().unwrap_or(0.0);
        let mean = service.latency_us as f64 / service.answered.max(1) as f64 / 1_000.0;
        let cells = vec![
            service.server.clone(),
            service.requests.to_string(),
            format!("{rate:.0}"),
            service.tokens.to_string(),
            service.found.to_string(),
            service.denied.to_string(),
            service.failed.to_string(),
            format!("{mean:.2}"),
            service.bytes.to_string(),
        ];
        Row { cells, about: About::Nothing }
    }

    /// What a key does.
    pub(super) fn press(&mut self, key: KeyCode, modifiers: KeyModifiers) -> Action {
        self.notice = None;
        if modifiers.contains(KeyModifiers::CONTROL) {
            return if key == KeyCode::Char('c') { Action::Leave } else { Action::None };
        }
        if !self.question.is_empty() {
            let answers = std::mem::take(&mut self.question);
            let chosen = answers.into_iter().find(|(letter, _)| key == KeyCode::Char(*letter));
            return chosen.map_or(Action::None, |(_, entry)| Action::Deny(entry));
        }
        if self.typing {
            match key {
                KeyCode::Enter => self.typing = false,
                KeyCode::Esc => (self.typing, self.filter) = (false, String::new()),
                KeyCode::Backspace => drop(self.filter.pop()),
                KeyCode::Char(letter) => self.filter.push(letter),
                _ => {}
            }
            self.clamp();
            return Action::None;
        }
        if self.opened.is_some() {
            match key {
                KeyCode::Down | KeyCode::Char('j') => {
                    self.scrolled = self.scrolled.saturating_add(1);
                }
                KeyCode::Up | KeyCode::Char('k') => {
                    self.scrolled = self.scrolled.saturating_sub(1);
                }
                KeyCode::Char('d') => self.ask(),
                _ => self.opened = None,
            }
            return Action::None;
        }
        match key {
            KeyCode::Char('q') | KeyCode::Esc => return Action::Leave,
            KeyCode::Char(digit @ '1'..='6') => {
                let at = digit as usize - '1' as usize;
                self.show(Pane::ALL.get(at).copied().unwrap_or_default());
            }
            KeyCode::Tab => self.turn(1),
            KeyCode::BackTab => self.turn(Pane::ALL.len() - 1),
            KeyCode::Char('s') => {
                let columns = self.pane.columns().len();
                self.sort = match self.sort {
                    None => Some(0),
                    Some(column) if column + 1 < columns => Some(column + 1),
                    Some(_) => None,
                };
            }
            KeyCode::Char('r') => self.reverse = !self.reverse,
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Char('p' | ' ') => self.paused = !self.paused,
            KeyCode::Down | KeyCode::Char('j') => self.selected += 1,
            KeyCode::Up | KeyCode::Char('k') => self.selected = self.selected.saturating_sub(1),
            KeyCode::PageDown => self.selected += 10,
            KeyCode::PageUp => self.selected = self.selected.saturating_sub(10),
            KeyCode::Home | KeyCode::Char('g') => self.selected = 0,
            KeyCode::End | KeyCode::Char('G') => self.selected = usize::MAX,
            KeyCode::Enter => self.open(),
            KeyCode::Char('d') => self.ask(),
            _ => {}
        }
        self.clamp();
        Action::None
    }

    fn turn(&mut self, by: usize) {
        let now = Pane::ALL.iter().position(|pane| *pane == self.pane).unwrap_or(0);
        self.show(Pane::ALL.get((now + by) % Pane::ALL.len()).copied().unwrap_or_default());
    }

    fn show(&mut self, pane: Pane) {
        self.pane = pane;
        (self.sort, self.reverse, self.selected) = (None, false, 0);
    }

    fn clamp(&mut self) {
        self.selected = self.selected.min(self.rows().len().saturating_sub(1));
    }

    fn row(&self) -> Option<Row> {
        self.rows().into_iter().nth(self.selected)
    }

    fn open(&mut self) {
        self.scrolled = 0;
        self.opened = match self.row() {
            Some(Row { about: About::Event(event), .. }) => Some(shown::whole(&event)),
            Some(row) => {
                let named = self.pane.columns().iter().zip(&row.cells);
                Some(named.map(|((name, _), cell)| format!("{name:<9} {cell}")).collect())
            }
            None => None,
        };
    }

    /// Asks what of the line is to be denied.
    fn ask(&mut self) {
        let address = |client: &str| Written::Address { address: client.to_owned() };
        self.question = match self.row().map(|row| row.about) {
            Some(About::Event(event)) => {
                let mut answers = Vec::new();
                let client = shown::client(&event);
                if !client.is_empty() {
                    answers.push(('a', address(client)));
                }
                let tokens = event.get("tokens").and_then(Value::as_array);
                if let Some(token) = tokens.and_then(|tokens| tokens.first()) {
                    let token_key = shown::text(token, "/deny_key").to_owned();
                    answers.push(('t', Written::Token { token_key }));
                }
                if let Some(subject) = shown::subject(&event) {
                    answers.push((
                        's',
                        Written::Subject { issuer: None, subject: subject.to_owned() },
                    ));
                }
                answers
            }
            Some(About::Client(client)) if !client.is_empty() => vec![('a', address(&client))],
            _ => Vec::new(),
        };
        if self.question.is_empty() {
            self.notice("nothing here that could be denied".to_owned());
        }
    }

    pub(super) const fn pane(&self) -> Pane {
        self.pane
    }

    pub(super) const fn selected(&self) -> usize {
        self.selected
    }

    pub(super) const fn sorted(&self) -> (Option<usize>, bool) {
        (self.sort, self.reverse)
    }

    pub(super) fn opened(&self) -> Option<(&[String], u16)> {
        self.opened.as_deref().map(|lines| (lines, self.scrolled))
    }

    /// The two lines above the tables.
    pub(super) fn head(&self) -> [String; 2] {
        let Some(status) = &self.status else { return Default::default() };
        let balance = &status.balance;
        let lost = balance.lost.values().sum::<u64>();
        let ports = status.ports.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
        let denied = &status.enforcement.denied;
        [
            format!(
                "jotwatch {} · port {ports} · mode {}{} · denied {}",
                status.version,
                status.mode,
                if status.enforcement.dry_run { " (dry run)" } else { "" },
                denied.tokens + denied.networks + denied.subjects + denied.flows,
            ),
            format!(
                "{:.0} requests/s · {} seen, {lost} lost · {} events · {:.1} % of a CPU · {} MiB",
                self.rate,
                balance.seen,
                status.delivery.journal.appended,
                self.cpu,
                self.resident >> 20,
            ),
        ]
    }

    /// The line below them: a question, what is being written, what was said, or the keys.
    pub(super) fn foot(&self) -> String {
        if !self.question.is_empty() {
            let answers = self.question.iter();
            let answers = answers.map(|(letter, entry)| format!("[{letter}] {entry}"));
            let answers = answers.collect::<Vec<_>>().join("  ");
            return format!("deny for an hour? {answers}  [other] no");
        }
        if self.typing {
            return format!("filter: {}_", self.filter);
        }
        if let Some(said) = &self.notice {
            return said.clone();
        }
        let mut foot = String::new();
        if self.paused {
            foot.push_str("PAUSED · ");
        }
        if !self.filter.is_empty() {
            foot.push_str(&format!("filter: {} · ", self.filter));
        }
        foot.push_str("1-6 table  s sort  r reverse  / filter  p pause  ⏎ open  d deny  q quit");
        foot
    }
}

fn keep<T>(kept: &mut VecDeque<T>, one: T) {
    if kept.len() == KEPT_MAX {
        kept.pop_front();
    }
    kept.push_back(one);
}

/// The clock's part of an event's time.
fn clock(event: &Value) -> &str {
    shown::text(event, "/time").get(11..19).unwrap_or_default()
}

fn alert(event: &Value) -> Row {
    let score = event.get("score").map(ToString::to_string).unwrap_or_default();
    let cells = vec![
        clock(event).to_owned(),
        shown::text(event, "/severity").to_owned(),
        score,
        shown::service(event),
        shown::what(event),
    ];
    Row { cells, about: About::Event(Box::new(event.clone())) }
}

fn request(request: &LiveRequest) -> Row {
    let token = if request.token { "" } else { " (no token)" };
    let found = match request.findings.join(", ") {
        found if found.is_empty() => found,
        found => format!(": {found}"),
    };
    let cells = vec![
        request.time.get(11..19).unwrap_or_default().to_owned(),
        request.client.clone(),
        request.server.clone(),
        request.status.map_or_else(|| "-".to_owned(), |status| status.to_string()),
        request.latency_us.map_or_else(String::new, |us| format!("{:.2}", us as f64 / 1_000.0)),
        format!("{} {}{token}{found}", request.method, request.path),
    ];
    let client = request.client.rsplit_once(':').map_or("", |(ip, _)| ip);
    Row { cells, about: About::Client(client.trim_matches(['[', ']']).to_owned()) }
}

/// What was lost, and what that is part of.
fn loss(status: &Status) -> Vec<Row> {
    let row = |what: String, count: u64| Row {
        cells: vec![what, count.to_string()],
        about: About::Nothing,
    };
    let balance = &status.balance;
    let mut rows = vec![
        row("requests".to_owned(), balance.requests),
        row("requests seen".to_owned(), balance.seen),
        row("requests under way".to_owned(), balance.pending),
    ];
    let lost = balance.lost.iter();
    rows.extend(lost.map(|(cause, count)| row(format!("requests lost: {cause}"), *count)));
    let delivery = &status.delivery;
    rows.push(row("events joined with others".to_owned(), delivery.joined));
    rows.push(row("events lost before the journal".to_owned(), delivery.dropped.iter().sum()));
    for sink in &status.sinks {
        rows.push(row(format!("{} waiting", sink.name), sink.queued));
        rows.push(row(format!("{} lost", sink.name), sink.dropped.iter().sum()));
        rows.push(row(format!("{} refused", sink.name), sink.refused.iter().sum()));
    }
    rows
}

/// Severities by how grave they are, numbers by their size, the rest by letters.
fn compare(a: &str, b: &str) -> Ordering {
    let severity = |name: &str| {
        crate::finding::Severity::ALL.iter().position(|severity| severity.as_str() == name)
    };
    if let (Some(a), Some(b)) = (severity(a), severity(b)) {
        return a.cmp(&b);
    }
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => a.total_cmp(&b),
        _ => a.cmp(b),
    }
}

#[cfg(test)]
mod tests;
