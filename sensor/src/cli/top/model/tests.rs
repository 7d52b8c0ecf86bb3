use std::time::Duration;

use ratatui::{Terminal, backend::TestBackend};

use super::{super::screen, *};
use crate::{
    confine::Confinement,
    control::{EnforcementStatus, KernelStatus, ModelsStatus, RequestBalance},
    event::EventTally,
    event::samples,
    features::ProfileStats,
    memory::MemoryCounters,
    pipeline::Stats,
    sinks::DeliveryStatus,
};

fn status() -> Status {
    Status {
        version: "1.2.3".into(),
        pid: 7,
        started: "2026-01-02T03:04:05.000000Z".into(),
        mode: "kill".into(),
        enforcement: EnforcementStatus::default(),
        cgroup: "/".into(),
        ports: vec![80, 8080],
        balance: RequestBalance::default(),
        kernel: KernelStatus::default(),
        pipeline: Stats::default(),
        memory: MemoryCounters::default(),
        profiles: ProfileStats::default(),
        issuers: Vec::new(),
        feeds: Vec::new(),
        models: ModelsStatus::default(),
        rest: None,
        events: EventTally::default(),
        confinement: Confinement::default(),
        delivery: DeliveryStatus::default(),
        sinks: Vec::new(),
    }
}

fn view(requests: u64) -> LiveView {
    let mut status = status();
    status.balance.requests = requests;
    let events = samples::all().into_iter().map(|event| {
        let mut line = Vec::new();
        event.write(&mut line);
        serde_json::from_slice(&line).unwrap()
    });
    LiveView {
        status,
        cpu_us: requests * 5,
        resident_bytes: 50 << 20,
        requests: vec![LiveRequest {
            time: "2026-01-02T03:04:05.000000Z".into(),
            client: "[2001:db8::7]:51234".into(),
            server: "198.51.100.2:8080".into(),
            method: "GET".into(),
            path: "/orders/7".into(),
            status: Some(200),
            latency_us: Some(1_500),
            bytes: 99,
            token: true,
            findings: Vec::new(),
        }],
        services: vec![LiveService {
            server: "198.51.100.2:8080".into(),
            requests,
            answered: requests,
            latency_us: requests * 1_500,
            ..LiveService::default()
        }],
        events: events.collect(),
        next: 42,
    }
}

fn screen(top: &Top) -> String {
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    terminal.draw(|frame| screen::draw(frame, top)).unwrap();
    let buffer = terminal.backend().buffer();
    let lines = buffer.content.chunks(80);
    lines
        .map(|line| line.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}

fn press(top: &mut Top, keys: &str) -> Action {
    let mut last = Action::None;
    for key in keys.chars() {
        let key = match key {
            '\n' => KeyCode::Enter,
            '\t' => KeyCode::Tab,
            '\x1b' => KeyCode::Esc,
            letter => KeyCode::Char(letter),
        };
        last = top.press(key, KeyModifiers::NONE);
    }
    last
}

fn filled() -> Top {
    let mut top = Top::default();
    let start = Instant::now();
    top.take(view(1_000), start);
    top.take(view(3_000), start + Duration::from_secs(2));
    top
}

#[test]
fn a_small_terminal_shows_what_matters() {
    let top = filled();
    assert_eq!(top.after(), 42);
    let screen = screen(&top);
    for shown in ["1000 requests/s", "1 alerts", "6 loss", "severity", "model-promote", "q quit"] {
        assert!(screen.contains(shown), "{shown}: {screen}");
    }
    assert_eq!(screen.lines().count(), 24);
}

#[test]
fn every_table_is_shown() {
    let mut top = filled();
    for (key, shown) in [
        ("2", "/orders/7"),
        ("3", "198.51.100.2:8080"),
        ("4", "subject"),
        ("5", "alg-none"),
        ("6", "requests under way"),
        ("\t", "severity"),
    ] {
        press(&mut top, key);
        let screen = screen(&top);
        assert!(screen.contains(shown), "{shown}: {screen}");
    }
    press(&mut top, "3");
    assert_eq!(top.rows()[0].cells[1..3], ["3000".to_owned(), "1000".to_owned()]);
    assert_eq!(top.rows()[0].cells[7], "1.50");
}

#[test]
fn rows_are_filtered_and_sorted() {
    let mut top = filled();
    let all = top.rows().len();
    press(&mut top, "/ALG-NONE\n");
    let some = top.rows().len();
    assert!(0 < some && some < all, "{some} of {all}");
    assert!(top.foot().contains("filter: ALG-NONE"));
    press(&mut top, "/\x1b");
    assert_eq!(top.rows().len(), all);
    // By severity, the gravest last, and the other way round.
    press(&mut top, "ss");
    assert_eq!(top.rows().last().unwrap().cells[1], "critical");
    press(&mut top, "r");
    assert_eq!(top.rows()[0].cells[1], "critical");
}

#[test]
fn an_event_is_opened_and_closed() {
    let mut top = filled();
    press(&mut top, "/alg-none\n\n");
    let open = screen(&top);
    assert!(open.contains("because") && open.contains("finding"), "{open}");
    press(&mut top, "x");
    assert!(top.opened().is_none());
}

#[test]
fn nothing_is_denied_without_an_answer() {
    let mut top = filled();
    press(&mut top, "/198.51\n");
    press(&mut top, "/\x1b/alg-none, token\n");
    assert_eq!(press(&mut top, "d"), Action::None);
    assert!(screen(&top).contains("deny for an hour?"), "{}", screen(&top));
    assert_eq!(press(&mut top, "n"), Action::None);
    assert_eq!(press(&mut top, "a"), Action::None);
    let denied = press(&mut top, "da");
    assert_eq!(denied, Action::Deny(Written::Address { address: "192.0.2.7".into() }));
    let Action::Deny(Written::Token { token_key }) = press(&mut top, "dt") else { panic!() };
    assert_eq!(token_key.len(), 32);
    // Where there is nothing to deny, that is said.
    press(&mut top, "6d");
    assert!(top.foot().contains("nothing here"));
}

#[test]
fn a_pause_stops_asking_and_keys_leave() {
    let mut top = filled();
    press(&mut top, "p");
    assert!(top.is_paused() && screen(&top).contains("PAUSED"));
    press(&mut top, "p");
    assert!(!top.is_paused());
    assert_eq!(press(&mut top, "q"), Action::Leave);
    assert_eq!(top.press(KeyCode::Char('c'), KeyModifiers::CONTROL), Action::Leave);
}

#[test]
fn what_is_kept_is_bounded() {
    let mut top = Top::default();
    let start = Instant::now();
    for n in 0..200 {
        top.take(view(n), start + Duration::from_secs(n));
    }
    assert_eq!(top.events.len(), KEPT_MAX);
    assert!(top.requests.len() <= KEPT_MAX);
    press(&mut top, "G");
    assert_eq!(top.selected(), KEPT_MAX - 1);
}
