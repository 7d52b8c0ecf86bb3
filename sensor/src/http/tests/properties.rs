//! Properties over cut-up, random and pipelined input.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::http::head;

/// Events of each direction's own making, with what depends on the order of the two left out.
fn cut_run(passes: &[Pass], cut: &mut dyn FnMut(usize, &[u8]) -> Vec<usize>) -> Vec<String> {
    let mut pieces = Vec::new();
    for (n, pass) in passes.iter().enumerate() {
        match pass {
            Pass::Bytes(direction, bytes) => {
                let mut from = 0;
                for at in cut(n, bytes).into_iter().chain([bytes.len()]) {
                    if at > from {
                        pieces.push(Pass::Bytes(*direction, bytes[from..at].to_vec()));
                        from = at;
                    }
                }
            }
            other => pieces.push(other.clone()),
        }
    }
    run(&pieces)
}

#[test]
fn every_split_of_every_dialogue_gives_the_same() {
    for (name, passes) in dialogues() {
        let whole = run(&passes);
        assert!(!whole.is_empty(), "{name}");
        for (n, pass) in passes.iter().enumerate() {
            let Pass::Bytes(_, bytes) = pass else { continue };
            for at in 1..bytes.len() {
                let cut = cut_run(&passes, &mut |m, _| if m == n { vec![at] } else { vec![] });
                assert_eq!(cut, whole, "{name}, cut at byte {at} of pass {n}");
            }
        }
        let bytewise = cut_run(&passes, &mut |_, bytes| (1..bytes.len()).collect());
        assert_eq!(bytewise, whole, "{name}, byte by byte");
    }
}

#[test]
fn every_prefix_of_every_dialogue_is_followed() {
    for (_, passes) in dialogues() {
        for (n, pass) in passes.iter().enumerate() {
            let Pass::Bytes(direction, bytes) = pass else { continue };
            for at in 0..bytes.len() {
                let mut cut = passes[..n].to_vec();
                cut.push(Pass::Bytes(*direction, bytes[..at].to_vec()));
                // The driver checks the order of events and that nothing is consumed twice.
                run_joined(false, &cut);
                run_joined(true, &cut);
                cut.push(Pass::Gap(*direction, 7));
                cut.extend_from_slice(&passes[n + 1..]);
                run_joined(false, &cut);
            }
        }
    }
}

#[test]
fn one_byte_segments_cost_the_same_each() {
    // 60 KiB byte by byte: anything quadratic takes seconds in a debug build.
    let mut connection = Connection::new(false);
    let head =
        format!("GET /{} HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(30_000), "b\r\nC: ".repeat(5_000));
    let (limits, mut out) = (Limits::default(), Events::default());
    for len in 1..=head.len() {
        let chunk = Chunk::Data(&head.as_bytes()[..len]);
        let used = connection.push(ToServer, Time::EPOCH, chunk, &limits, &mut out);
        assert_eq!(used, if len == head.len() { len } else { 0 });
    }
    assert_eq!(out.len(), 1);
}

/// Bytes that look like HTTP often enough to get into every state.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec![
            "GET / HTTP/1.1\r\n", "POST /x HTTP/1.0\r\n", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 100 C\r\n\r\n",
            "HTTP/1.1 101 S\r\n", "HTTP/1.1 304 N\r\n", "Host: a\r\n", "Content-Length: 7\r\n", "Content-Length: 0\r\n",
            "Transfer-Encoding: chunked\r\n", "Expect: 100-continue\r\n", "\r\n", "\n", "\r", " ", "5\r\nhello\r\n",
            "0\r\n\r\n", "3;x\r\nabc\r\n", ":", "HTTP/1.", "CONNECT a:1 HTTP/1.1\r\n", "HEAD / HTTP/1.1\r\n\r\n",
        ]).prop_map(|s| s.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..12),
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn passes() -> impl Strategy<Value = Vec<Pass>> {
    let direction = prop_oneof![Just(ToServer), Just(ToClient)];
    let pass =
        (direction, noise(), 0..40_u8, 1..600_u64).prop_map(|(d, bytes, kind, n)| match kind {
            0 => Pass::End(d, n % 2 == 0),
            1..=4 => Pass::Gap(d, n),
            _ => Pass::Bytes(d, bytes),
        });
    vec(pass, 0..14)
}

/// A well-formed request and how it is described.
fn request() -> impl Strategy<Value = (String, String)> {
    (0..4_u8, "[a-z]{1,9}", vec(("[A-Za-z]{1,8}", "[ -~]{0,20}"), 0..5), vec(1..30_usize, 0..4))
        .prop_map(|(kind, path, fields, chunks)| {
            let fields: String = fields.iter().map(|(n, v)| format!("X{n}: {v}\r\n")).collect();
            let body: usize = chunks.iter().sum();
            let described = if kind == 1 || kind == 2 { body } else { 0 };
            let (method, framing, content) = match kind {
                1 => ("PUT", format!("Content-Length: {body}\r\n"), "y".repeat(body)),
                2 => {
                    let chunks: String =
                        chunks.iter().map(|n| format!("{n:x}\r\n{}\r\n", "z".repeat(*n))).collect();
                    ("POST", "Transfer-Encoding: chunked\r\n".to_owned(), chunks + "0\r\n\r\n")
                }
                3 => ("HEAD", String::new(), String::new()),
                _ => ("GET", String::new(), String::new()),
            };
            let size = if described == 0 { String::new() } else { format!(" body={described}") };
            (
                format!("{method} /{path} HTTP/1.1\r\nHost: a\r\n{fields}{framing}\r\n{content}"),
                format!("{method} /{path}{size}"),
            )
        })
}

/// Found by `noise_is_the_same_however_it_is_split`.
#[test]
fn bytes_behind_a_connect_are_the_same_however_they_are_split() {
    let bytes = b"CONNECT a:1 HTTP/1.1\r\nContent-Length: 7\r\n\r\nHTTP/1.1 200 OK\r\n\
        GET / HTTP/1.1\r\nGET / HTTP/1.1\r\nGET / HTTP/1.1\r\nHEAD / HTTP/1.1\r\n\r\n";
    let passes = [c(bytes), s(b"")];
    let whole = run(&passes);
    for at in 1..bytes.len() {
        assert_eq!(
            cut_run(&passes, &mut |_, all| [at].into_iter().filter(|at| *at < all.len()).collect()),
            whole,
            "cut at {at}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn noise_keeps_the_order_of_events(passes in passes(), joined_midway: bool) {
        run_joined(joined_midway, &passes);
    }

    #[test]
    fn noise_is_the_same_however_it_is_split(bytes in noise(), answer in noise(), cuts in vec(0..200_usize, 0..5)) {
        let passes = [c(bytes), s(answer)];
        let mut cuts = cuts;
        cuts.sort_unstable();
        let split = cut_run(&passes, &mut |_, bytes| cuts.iter().copied().filter(|&n| n < bytes.len()).collect());
        prop_assert_eq!(split, run(&passes));
    }

    #[test]
    fn pipelined_requests_and_responses_in_random_pieces(
        requests in vec(request(), 1..9),
        cuts in vec(0..2000_usize, 0..12),
        statuses in vec(200..204_u16, 9),
    ) {
        let sent: String = requests.iter().map(|(r, _)| r.as_str()).collect();
        let answers: String = requests.iter().zip(&statuses).map(|((r, _), status)| {
            let body = if r.starts_with("HEAD") || *status > 203 { "" } else { "abc" };
            format!("HTTP/1.1 {status} x\r\nContent-Length: 3\r\n\r\n{body}")
        }).collect();
        let mut cuts = cuts;
        cuts.sort_unstable();
        let seen = cut_run(&[c(sent), s(answers)], &mut |_, bytes| {
            cuts.iter().copied().filter(|&n| n < bytes.len()).collect()
        });
        let expected: Vec<_> = requests.iter().enumerate().map(|(id, (_, d))| format!("{id} {d}")).collect();
        prop_assert_eq!(&seen[..requests.len()], expected);
        for (id, ((request, _), status)) in requests.iter().zip(&statuses).enumerate() {
            let at = requests.len() + 2 * id;
            prop_assert_eq!(&seen[at], &format!("{id} -> {status}"));
            let len = 40 - if request.starts_with("HEAD") { 3 } else { 0 };
            prop_assert_eq!(&seen[at + 1], &format!("{id} done {}/{len}", request.len()));
        }
    }

    /// What httparse reads and what is read line by line is the same for correct heads.
    #[test]
    fn both_ways_to_read_a_head_agree(
        line in "[A-Z]{1,7} /[!-~]{0,20} HTTP/1\\.[01]",
        fields in vec(("[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}", "[ \t]{0,2}([!-~]([ -~\t]{0,20}[!-~])?)?[ \t]{0,2}"), 0..20),
    ) {
        let fields: String = fields.iter().map(|(n, v)| format!("{n}:{v}\r\n")).collect();
        let bytes = format!("{line}\r\n{fields}\r\n");
        let fast = head::tests_only::fast(bytes.as_bytes()).expect("a correct head");
        let slow = head::tests_only::slow(bytes.as_bytes()).expect("a correct head");
        prop_assert_eq!(fast, slow);
    }

    /// What is read at once ends where the end is found that is searched first.
    #[test]
    fn a_head_that_is_read_at_once_ends_at_its_end(
        is_request in any::<bool>(),
        version in prop::sample::select(vec!["HTTP/1.1\r\n", "HTTP/1.1\n", "HTTP/1.0\r\n"]),
        lines in vec(
            (
                prop::sample::select(vec!["a: b", "a:", " x", "", "a: b\r", "a: \n", "\r", "a: \u{e9}"]),
                prop::sample::select(vec!["\r\n", "\r\n", "\r\n", "\n", "\r"]),
            ),
            0..8,
        ),
    ) {
        let first = if is_request { format!("GET / {version}") } else { version.replace("\r", " 200 OK\r") };
        let lines: String = lines.iter().map(|(line, end)| format!("{line}{end}")).collect();
        let bytes = format!("{first}{lines}");
        for end in head::tests_only::ends(bytes.as_bytes()).into_iter().flatten() {
            prop_assert_eq!(head::find_end(bytes.as_bytes(), 0), Some(end));
        }
    }

    #[test]
    fn the_end_of_a_head_is_found_however_far_it_was_searched(bytes in vec(prop::sample::select(b"\r\na".to_vec()), 0..30), from in 0..30_usize) {
        let dumb = (0..=bytes.len()).find(|&n| bytes[..n].ends_with(b"\n\n") || bytes[..n].ends_with(b"\n\r\n"));
        prop_assert_eq!(head::find_end(&bytes, 0), dumb);
        let from = from.min(bytes.len());
        if dumb.is_none_or(|end| from < end) {
            prop_assert_eq!(head::find_end(&bytes, from), dumb);
        }
    }
}
