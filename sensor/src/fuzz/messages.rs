//! HTTP, as it passes and as a single request.

use std::cell::RefCell;

use super::script::Script;
use crate::{
    capture::Direction::{ToClient, ToServer},
    clients::Clients,
    config::{ClientsConfig, ProxyHeader},
    http::{
        self, Limits,
        driver::{Pass, describe_all, run, run_joined},
        tests_only,
    },
    redact,
    score::{Models, Scorer},
    time::Time,
    token::{FingerprintKey, Judge, JudgeConfig},
};

/// The steps of a dialogue: the first byte says whether it is joined midway and how it is cut, and
/// of each step one says the direction (1), a gap (2) or an end (4, by reset 8), with two for the
/// length.
fn passes(script: &mut Script<'_>) -> Vec<Pass> {
    let mut passes = Vec::new();
    while !script.is_empty() && passes.len() < 64 {
        let kind = script.byte();
        let direction = if kind & 1 == 0 { ToServer } else { ToClient };
        passes.push(match kind & 6 {
            2 => Pass::Gap(direction, u64::from(script.short()) + 1),
            4 => Pass::End(direction, kind & 8 != 0),
            _ => Pass::Bytes(direction, script.bytes().to_vec()),
        });
    }
    passes
}

/// Both directions of a connection: the events come in their order, whatever passes, and are the
/// same however the bytes are cut.
pub fn http(data: &[u8]) {
    let mut script = Script(data);
    let how = script.byte();
    let passes = passes(&mut script);
    if how & 1 != 0 {
        run_joined(true, &passes);
        return;
    }
    let whole = run(&passes);
    let step = usize::from(how >> 1) + 1;
    let mut pieces = Vec::new();
    for pass in &passes {
        match pass {
            Pass::Bytes(direction, bytes) => {
                pieces
                    .extend(bytes.chunks(step).map(|piece| Pass::Bytes(*direction, piece.into())));
            }
            other => pieces.push(other.clone()),
        }
    }
    assert_eq!(describe_all(&run_joined(false, &pieces)), whole, "in pieces of {step}");
}

thread_local! {
    static STAGES: RefCell<(Judge, Scorer, [Clients; 2])> = RefCell::new(stages());
}

fn stages() -> (Judge, Scorer, [Clients; 2]) {
    let clients = [ProxyHeader::XForwardedFor, ProxyHeader::Forwarded].map(|proxy_header| {
        let trusted_proxies = vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let config = ClientsConfig { trusted_proxies, proxy_header, ..ClientsConfig::default() };
        Clients::load(&config).unwrap()
    });
    let judge = Judge::new(JudgeConfig {
        extra_headers: vec!["X-Key".to_owned()],
        cache_entries: 16,
        ..JudgeConfig::new(FingerprintKey::new([7; 16]))
    });
    (judge, Scorer::new(Models::built_in().unwrap()), clients)
}

/// One request with its body: its head both ways, its tokens, what its client is, how it is scored.
pub fn request(data: &[u8]) {
    // Empty lines in front are ignored before a head is read.
    let front = data.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let message = &data[front..];
    if let [Some(end), _] = tests_only::ends(message) {
        let head = &message[..end];
        let (fast, slow) = (tests_only::fast(head), tests_only::slow(head));
        assert_eq!(fast, slow, "a head is read in two ways");
    }
    let Ok((request, framing)) = http::read_request(data, Time::EPOCH, &Limits::default()) else {
        return;
    };
    assert!(request.head_len() + request.body.bytes.len() <= data.len());
    if let Some(http::BodyFraming::Length(length)) = framing
        && request.body.complete
    {
        assert_eq!(request.body.bytes.len() as u64, length);
    }
    STAGES.with_borrow_mut(|(judge, scorer, clients)| {
        let report = judge.judge(&request);
        for token in &report.tokens {
            assert!(token.bytes <= data.len());
        }
        let score = scorer.score(&request, &report, std::iter::empty());
        assert!(score.payload_at_even_odds().is_finite());
        for clients in clients {
            let _client = clients.of([10, 0, 0, 1].into(), &request);
            let stranger = [192, 0, 2, 1].into();
            assert_eq!(clients.of(stranger, &request), stranger, "the word of a stranger");
        }
    });
    let shown = redact::bytes(request.target());
    assert_eq!(redact::bytes(&shown), shown, "what is redacted has nothing more to redact");
}
