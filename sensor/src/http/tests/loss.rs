//! Gaps, connections joined midway, and what is paired then.

use proptest::{collection::vec, prelude::*};

use super::*;

const GET: &str = "GET /g HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

fn get(n: u32) -> Pass {
    c(format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n"))
}

/// A response that says which request it answers.
fn answer(n: u32) -> Pass {
    s(format!("HTTP/1.1 {} x\r\nContent-Length: 0\r\n\r\n", 200 + n))
}

fn server_gap(n: u64) -> Pass {
    Pass::Gap(ToClient, n)
}

fn client_gap(n: u64) -> Pass {
    Pass::Gap(ToServer, n)
}

/// `request number -> status` of what was paired.
fn pairs(joined_midway: bool, passes: &[Pass]) -> Vec<(u32, u32)> {
    let events = run_joined(joined_midway, passes);
    let mut targets = std::collections::HashMap::new();
    let mut pairs = Vec::new();
    for event in &events {
        match event {
            HttpEvent::Request { id, request } => {
                let n = std::str::from_utf8(&request.target()[1..]).unwrap().parse().unwrap();
                targets.insert(*id, n);
            }
            HttpEvent::Response { id, response } => {
                pairs.push((targets[id], u32::from(response.status) - 200));
            }
            _ => {}
        }
    }
    pairs
}

#[test]
fn gaps_within_a_known_length_are_absorbed() {
    let request = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n0123456789";
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789";
    let seen = run(&[
        c(request),
        client_gap(80),
        c("0123456789"),
        s(answer),
        server_gap(90),
        c(GET),
        s(OK),
    ]);
    assert_eq!(
        seen[..5],
        [
            "0 POST / body=10..",
            "0 -> 200",
            &format!("0 done {}/{}", request.len() + 90, answer.len() + 90),
            "1 GET /g",
            "1 -> 200"
        ]
    );
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nab";
    let seen = run(&[c(chunked), client_gap(98), c("\r\n0\r\n\r\n"), s(OK), c(GET), s(OK)]);
    assert_eq!(seen[0], "0 POST / body=2..");
    assert_eq!(seen[2], format!("0 done {}/{}", chunked.len() + 105, OK.len()));
    assert_eq!(seen[4], "1 -> 200");
}

#[test]
fn a_gap_through_chunks_loses_the_position() {
    let chunked = s("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab");
    let seen = run(&[get(0), chunked, server_gap(500), s("tail\r\n0\r\n\r\n"), get(1), answer(1)]);
    assert!(seen[2].starts_with("0 cut"), "{seen:?}");
    assert_eq!(seen[3..5], ["1 GET /1", "1 -> 201"]);
}

#[test]
fn a_lost_response_shifts_nothing() {
    // The client goes on, so its first request has been answered.
    assert_eq!(
        pairs(false, &[get(0), server_gap(50), get(1), answer(1), get(2), answer(2)]),
        [(1, 1), (2, 2)]
    );
    // Only one request waits: the response behind the gap is its.
    assert_eq!(
        pairs(false, &[get(0), answer(0), get(1), server_gap(9), answer(1), get(2), answer(2)]),
        [(0, 0), (1, 1), (2, 2)]
    );
    // Pipelined: the response behind the gap may be for either.
    let both = [get(0), get(1), server_gap(50), answer(1), get(2), answer(2)];
    assert!(pairs(false, &both).iter().all(|(a, b)| a == b), "{:?}", pairs(false, &both));
    // All of them arrive after all: sure again.
    let seen =
        pairs(false, &[get(0), get(1), server_gap(5), answer(0), answer(1), get(2), answer(2)]);
    assert_eq!(seen, [(2, 2)]);
}

#[test]
fn a_lost_request_shifts_nothing() {
    assert_eq!(
        pairs(false, &[get(0), answer(0), client_gap(50), answer(1), get(2), answer(2)]),
        [(0, 0), (2, 2)]
    );
    // What was sent before the loss is answered first.
    assert_eq!(
        pairs(false, &[get(0), client_gap(50), answer(0), answer(1), get(2), answer(2)]),
        [(0, 0), (2, 2)]
    );
    // Behind the loss, before the answer to what went before: pipelined, so nothing is sure.
    assert_eq!(
        pairs(false, &[get(0), client_gap(50), get(2), answer(0), answer(1), answer(2)]),
        [(0, 0)]
    );
    // Losses on both sides.
    let both = [get(0), client_gap(9), server_gap(9), answer(1), get(2), answer(2)];
    assert_eq!(pairs(false, &both), [(2, 2)]);
}

#[test]
fn joined_midway() {
    let late = [s("body of something\r\n"), answer(9), get(0), answer(0)];
    assert_eq!(pairs(true, &late), [(0, 0)]);
    let upload = [c("...}GET /0 HTTP/1.1\r\nHost: a\r\n\r\n"), answer(0), get(1), answer(1)];
    assert_eq!(pairs(true, &upload), [(0, 0), (1, 1)]);
    let mid_head = [c("t: */*\r\nX: y\r\n\r\n"), answer(7), c("\r\n"), get(1), answer(1)];
    assert_eq!(pairs(true, &mid_head), [(1, 1)]);
    // Prose about HTTP is not a request.
    assert!(run_joined(true, &[c("say GET / HTTP/1.1\r\nGET / HTTP/1.1 is\r\n")]).is_empty());
    // The answer to an unseen HEAD has a length and no body.
    let head = [
        s("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"),
        s("HTTP/1.1 204 x\r\n\r\n"),
        get(1),
        answer(1),
    ];
    assert_eq!(pairs(true, &head), [(1, 1)]);
}

#[test]
fn a_second_answer_does_not_go_to_the_next_request() {
    // Two answers to one request: the request was read as two. The next is not shifted, because
    // the surplus answer came before it was sent.
    assert_eq!(pairs(false, &[get(0), answer(0), answer(5), get(1), answer(1)]), [(0, 0), (1, 1)]);
}

#[test]
fn what_is_left_over_at_the_end() {
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n0123456789";
    assert_eq!(run(&[c(post)]), ["0 POST / body=10..", &format!("0 cut {}/0", post.len())]);
    assert_eq!(
        run(&[c(post), Pass::End(ToServer, false), s(OK)])[..2],
        ["0 POST / body=10..", "0 -> 200"]
    );
    assert!(run(&[c("GET / HTTP/1.1\r\nHo")]).is_empty(), "unfinished is not malformed");
    let seen = run(&[
        c(GET),
        s("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n123"),
        Pass::End(ToClient, false),
    ]);
    assert_eq!(seen[2], format!("0 cut {}/{}", GET.len(), 41));
}

#[test]
fn the_refusal_of_a_broken_request_is_no_answer_to_the_next() {
    let broken = || c("GET / HTTP/7.7\r\n\r\n");
    let seen = pairs(false, &[get(0), broken(), answer(0), get(1), answer(9), get(2), answer(2)]);
    assert_eq!(seen, [(0, 0), (2, 2)]);
    let seen = pairs(false, &[get(0), answer(0), broken(), answer(9), get(1), answer(1)]);
    assert_eq!(seen, [(0, 0), (1, 1)]);
    let seen = pairs(false, &[get(0), answer(0), broken(), get(1), answer(9), get(2), answer(2)]);
    assert_eq!(seen, [(0, 0), (2, 2)]);
}

#[test]
fn a_request_of_unreliable_length_is_paired_and_what_hides_in_it_is_not() {
    let bad =
        |body: &str| c(format!("PUT /0 HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 2\r\n\r\n{body}"));
    let seen = pairs(false, &[bad("{}"), answer(0), get(1), answer(1)]);
    assert_eq!(seen, [(0, 0), (1, 1)]);
    let hidden = "{GET /8 HTTP/1.1\r\nHost: a\r\n\r\n";
    let seen = pairs(false, &[bad(hidden), answer(0), answer(8), get(1), answer(1)]);
    assert_eq!(seen[0], (0, 0));
    assert!(seen.iter().all(|(a, b)| a == b));
}

/// A message that a gap may swallow.
fn or_gap(pass: Pass, lost: bool) -> Pass {
    match pass {
        Pass::Bytes(direction, bytes) if lost => Pass::Gap(direction, bytes.len() as u64),
        pass => pass,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// A client that waits for each answer: whatever was seen of both sides is paired, all of it.
    #[test]
    fn losses_on_a_connection_in_turns(lost in vec((prop::bool::weighted(0.3), prop::bool::weighted(0.3)), 1..30), midway: bool) {
        let mut passes = Vec::new();
        let mut expected = Vec::new();
        for (n, &(request, response)) in (0..).zip(&lost) {
            passes.push(or_gap(get(n), request));
            passes.push(or_gap(answer(n), response));
            if !request && !response {
                expected.push((n, n));
            }
        }
        prop_assert_eq!(pairs(midway, &passes), expected);
    }

    /// A client that sends ahead: nothing is paired wrongly, and without a loss everything is.
    #[test]
    fn losses_on_a_pipelining_connection(
        steps in vec((any::<bool>(), prop::bool::weighted(0.15)), 2..60),
        lossless: bool,
    ) {
        let mut passes = vec![get(0), get(1)];
        let (mut sent, mut answered) = (2, 0);
        for (send, lost) in steps {
            let lost = lost && !lossless;
            if send || answered == sent {
                passes.push(or_gap(get(sent), lost));
                sent += 1;
            } else {
                passes.push(or_gap(answer(answered), lost));
                answered += 1;
            }
        }
        let pairs = pairs(false, &passes);
        prop_assert!(pairs.iter().all(|(request, response)| request == response), "{:?} of {:?}", pairs, passes);
        if lossless {
            prop_assert_eq!(pairs.len(), answered as usize);
        }
    }
}

/// What is said behind 100 KiB of a chunked body that passed unseen.
fn behind_chunks(passes: &[Pass]) -> Vec<String> {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\nab";
    let mut all = vec![c(head), client_gap(102_400)];
    all.extend_from_slice(passes);
    run(&all).into_iter().filter(|event| event.starts_with("malformed")).collect()
}

#[test]
fn an_answer_too_many_tells_of_a_request_behind_a_body() {
    let said = ["malformed !request-unseen"];
    assert_eq!(behind_chunks(&[s(OK), s(OK)]), said);
    assert_eq!(behind_chunks(&[client_gap(9), s(OK), s(OK), s(OK)]), said, "once");
    assert_eq!(behind_chunks(&[s(OK), c(GET), s(OK), s(OK)]), said);
    // A refusal of the hidden request counts as any answer.
    assert_eq!(behind_chunks(&[s(OK), answer(201)]), said);
}

#[test]
fn usual_answers_behind_a_body_tell_of_nothing() {
    let none: [&str; 0] = [];
    assert_eq!(behind_chunks(&[s(OK)]), none);
    assert_eq!(behind_chunks(&[s(OK), c(GET), s(OK), c(GET), s(OK)]), none);
    assert_eq!(behind_chunks(&[s("HTTP/1.1 102 x\r\n\r\n"), s(OK)]), none);
    // What services send unasked.
    for status in [400, 408] {
        assert_eq!(behind_chunks(&[s(OK), answer(status - 200)]), none);
    }
    // A request that was lost and did not hide: it came when the upload was answered.
    assert_eq!(behind_chunks(&[s(OK), client_gap(100), s(OK)]), none);
    // Answers among which some were lost.
    assert_eq!(behind_chunks(&[s(OK), server_gap(100), s(OK), s(OK)]), none);
}
