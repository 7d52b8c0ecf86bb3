//! One test for each thing that the connection promises.

use super::*;
use crate::{
    finding::FindingId as Id,
    http::{BodyFraming, read_request},
};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

fn post(fields: &str, body: &str) -> String {
    format!("POST /p HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}")
}

/// The findings of the first request in `bytes`.
fn findings(bytes: impl AsRef<[u8]>) -> Vec<Id> {
    let requests = requests(bytes);
    requests.first().expect("a request").findings.iter().map(|f| f.id).collect()
}

#[test]
fn an_idle_connection_is_small() {
    assert!(size_of::<Connection>() <= 200, "{}", size_of::<Connection>());
}

#[test]
fn keep_alive_and_byte_counts() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
    assert_eq!(
        run(&[c(GET), s(answer), c(post("Content-Length: 2\r\n", "xy")), s(answer)]),
        [
            "0 GET /",
            "0 -> 200",
            &format!("0 done {}/{}", GET.len(), answer.len()),
            "1 POST /p body=2",
            "1 -> 200",
            &format!("1 done {}/{}", post("Content-Length: 2\r\n", "xy").len(), answer.len()),
        ]
    );
}

#[test]
fn parts_of_a_request() {
    let requests = requests(
        "\r\n\r\nGET /a%20b?c=d HTTP/1.0\r\nHOST:  x \r\nEmpty:\r\nAuthorization: Bearer t\r\n\r\n",
    );
    let [r] = requests.as_slice() else { panic!("one request") };
    assert_eq!((r.method(), r.target(), r.minor_version()), (&b"GET"[..], &b"/a%20b?c=d"[..], 0));
    let fields: Vec<_> = r.headers().map(|h| (text(h.name), text(h.value))).collect();
    let expected = [("HOST", "x"), ("Empty", ""), ("Authorization", "Bearer t")];
    assert_eq!(fields, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
    assert_eq!(r.header("authorization"), Some(&b"Bearer t"[..]));
    assert!(r.body.complete && r.findings.is_empty());
    let shown = format!("{r:?}");
    assert!(!shown.contains("Bearer"), "{shown}");
}

#[test]
fn pipelined_requests_take_responses_in_order() {
    let two = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nHEAD /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n";
    let answers = "HTTP/1.1 201 A\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 202 B\r\nContent-Length: 7\r\n\r\nHTTP/1.1 203 C\r\nContent-Length: 0\r\n\r\n";
    let seen = run(&[c(two), s(answers)]);
    assert_eq!(
        seen.iter().filter(|l| l.contains("->")).collect::<Vec<_>>(),
        ["0 -> 201", "1 -> 202", "2 -> 203"]
    );
    assert_eq!(seen.iter().filter(|l| l.contains("done")).count(), 3);
}

#[test]
fn more_pipelined_requests_than_the_limit_are_judged_but_not_paired() {
    let mut driver = Driver::new(false);
    driver.limits.pending_requests = 2;
    driver.pass(&c(GET.repeat(4)));
    driver.pass(&s(OK.repeat(4)));
    driver.pass(&c(GET));
    driver.pass(&s("HTTP/1.1 203 C\r\nContent-Length: 0\r\n\r\n"));
    assert_eq!(driver.connection.unpaired_responses(), 2);
    let seen = describe_all(&driver.finish());
    assert_eq!(seen.iter().filter(|l| l.ends_with("GET /")).count(), 5);
    assert_eq!(
        seen.iter().filter(|l| l.contains("->")).collect::<Vec<_>>(),
        ["0 -> 200", "1 -> 200", "4 -> 203"]
    );
}

#[test]
fn chunked_with_extensions_and_trailers() {
    let fields = "Transfer-Encoding: chunked\r\n";
    let body = "5;a=b;c=\"d;e\"\r\nhello\r\n006\r\n world\r\n0\r\nX: y\r\n\r\n";
    let requests = requests(post(fields, body) + GET);
    assert_eq!(requests[0].body.bytes, b"hello world");
    assert!(requests[0].body.complete && requests[0].findings.is_empty());
    assert_eq!(requests.len(), 2);
}

#[test]
fn interim_responses_are_passed_over() {
    let seen = run(&[
        c(post("Content-Length: 2\r\nExpect: 100-continue\r\n", "")),
        s("HTTP/1.1 100 Continue\r\n\r\n"),
        c("xy"),
        s("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"),
        s(OK),
    ]);
    assert_eq!(seen[..2], ["0 POST /p body=2", "0 -> 200"]);
    assert!(seen[2].ends_with(&format!("/{}", OK.len())), "{}", seen[2]);
}

#[test]
fn a_refused_body_may_be_left_out() {
    let expect = post("Content-Length: 30\r\nExpect: 100-continue\r\n", "");
    let refusal = "HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n";
    let next = run(&[c(&expect), s(refusal), c(GET), s(OK)]);
    assert_eq!(next[3..5], ["1 GET /", "1 -> 200"]);
    // Sent all the same, it is a body, even if it could go on as a request line.
    let sent = run(&[c(&expect), s(refusal), c("GET /".repeat(6)), c(GET), s(OK)]);
    assert!(sent[2].starts_with("0 done"), "{sent:?}");
    assert_eq!(sent[3..5], ["1 GET /", "1 -> 200"]);
}

#[test]
fn a_short_body_that_may_be_left_out_is_told_from_a_request() {
    let expect = post("Content-Length: 5\r\nExpect: 100-continue\r\n", "");
    let refusal = "HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n";
    let head = || [c(&expect), s(refusal)].to_vec();
    for (sent, first, second) in [
        // Left out.
        (GET.to_owned(), "0 cut", "1 GET /"),
        ("OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "0 cut", "1 OPTIONS /"),
        // Sent, and it may begin a request's line.
        (format!("HELLO{GET}"), "0 done", "1 GET /"),
        (format!("GET /{GET}"), "0 done", "1 GET /"),
        (format!("hello{GET}"), "0 done", "1 GET /"),
    ] {
        let whole = run(&[head(), vec![c(&sent), s(OK)]].concat());
        assert!(whole[2].starts_with(first), "{sent}: {whole:?}");
        assert_eq!(whole[3..5], [second, "1 -> 200"], "{sent}: {whole:?}");
        for cut in 1..sent.len() {
            let (one, two) = sent.split_at(cut);
            assert_eq!(run(&[head(), vec![c(one), c(two), s(OK)]].concat()), whole, "{cut}");
        }
    }
    // Nothing follows that could tell.
    let over = run(&[head(), vec![c("HELLO"), Pass::End(ToServer, false)]].concat());
    assert!(over[2].starts_with("0 done"), "{over:?}");
    let over = run(&[head(), vec![c("HEL"), Pass::End(ToServer, false)]].concat());
    assert!(over[2].starts_with("0 cut"), "{over:?}");
}

#[test]
fn what_waits_to_be_told_from_a_request_counts_where_bytes_are_lost_behind_it() {
    let expect = post("Content-Length: 30\r\nExpect: 100-continue\r\n", "");
    let refusal = "HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n";
    let lost = Pass::Gap(ToServer, 21);
    let seen = run(&[c(&expect), s(refusal), c("GET /aaaa"), lost, c(GET), s(OK)]);
    assert_eq!(seen[2], format!("0 done {}/{}", expect.len() + 30, refusal.len()));
    assert_eq!(seen[3..5], ["1 GET /", "1 -> 200"]);
}

#[test]
fn responses_without_a_body() {
    for (request, answer) in [
        ("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"),
        (
            "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        (GET, "HTTP/1.1 204 No Content\r\n\r\n"),
        (GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n"),
    ] {
        let seen = run(&[c(request), s(answer), c(GET), s(OK)]);
        assert_eq!(seen[2], format!("0 done {}/{}", request.len(), answer.len()));
        assert_eq!(seen[4], "1 -> 200");
    }
}

#[test]
fn until_close() {
    let answer = "HTTP/1.0 200 OK\r\n\r\nhello";
    let seen = run(&[c(GET), s(answer), s(" world"), Pass::End(ToClient, false)]);
    assert_eq!(seen[2], format!("0 done {}/{}", GET.len(), answer.len() + 6));
    let seen = run(&[c(GET), s(answer), Pass::End(ToClient, true)]);
    assert!(seen[2].starts_with("0 cut"));
}

#[test]
fn an_early_response_gives_the_request_out_first() {
    let request = post("Content-Length: 10\r\n", "12345");
    let seen = run(&[
        c(&request),
        s("HTTP/1.1 413 Big\r\nContent-Length: 0\r\n\r\n"),
        c("67890"),
        c(GET),
        s(OK),
    ]);
    assert_eq!(seen[..2], ["0 POST /p body=5..", "0 -> 413"]);
    assert!(seen[2].starts_with("0 done"));
    assert_eq!(seen[3..5], ["1 GET /", "1 -> 200"]);
}

#[test]
fn the_body_budget_gives_the_request_out() {
    for (fields, before, after) in [
        ("Content-Length: 9000\r\n", "", ""),
        ("Transfer-Encoding: chunked\r\n", "2328\r\n", "\r\n0\r\n\r\n"),
    ] {
        let mut driver = Driver::new(false);
        driver.pass(&c(post(fields, before)));
        driver.pass(&c("x".repeat(8191)));
        assert!(driver.out.is_empty());
        driver.pass(&c("xx"));
        assert_eq!(describe_all(&driver.out), ["0 POST /p body=8192.."]);
        driver.pass(&c("x".repeat(9000 - 8193)));
        driver.pass(&c(after));
        driver.pass(&s(OK));
        let seen = describe_all(&driver.finish());
        let len = post(fields, before).len() + 9000 + after.len();
        assert_eq!(seen[2], format!("0 done {len}/{}", OK.len()));
    }
    let whole = requests(post("Content-Length: 8192\r\n", &"x".repeat(8192)));
    assert!(whole[0].body.complete && whole[0].body.bytes.len() == 8192);
}

#[test]
fn switching_protocols() {
    let upgrade = "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n";
    let switch = s("HTTP/1.1 101 Switching Protocols\r\n\r\n\x01\x05hello");
    assert_eq!(
        run(&[c(upgrade), switch, c("\x01\x02"), s("\x03"), c(GET)]),
        ["0 GET /ws", "0 -> 101", &format!("0 done {}/36", upgrade.len()), "opaque upgraded"]
    );
    assert_eq!(run(&[c(upgrade), s(OK), c(GET), s(OK)])[4], "1 -> 200");
    let connect = "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n";
    let seen = run(&[c(connect), c(b"\x16\x03\x01\x00"), s("HTTP/1.1 200 Yes\r\n\r\n")]);
    assert_eq!((seen.len(), seen[3].as_str()), (4, "opaque upgraded"));
    let seen = run(&[c(connect), s("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"), c(GET), s(OK)]);
    assert_eq!(seen[4], "1 -> 200");
}

#[test]
fn other_protocols() {
    let tls = c(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    assert_eq!(run(&[tls, c(GET)]), ["opaque tls"]);
    assert_eq!(run(&[c("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), c("x")]), ["opaque http2"]);
    assert_eq!(run(&[s("SSH-2.0-OpenSSH_9.9\r\n"), c("SSH-2.0-x\r\n")]), ["opaque not-http"]);
    assert_eq!(run(&[c("*1\r\n$4\r\nPING\r\n"), s("+PONG\r\n"), c(GET)]), ["opaque not-http"]);
    assert_eq!(run(&[c([0xff; 5000])]), ["opaque not-http"]);
    assert_eq!(run(&[c("a b\r\n".repeat(900))]), ["opaque not-http"]);
    // A service that answers in HTTP speaks HTTP, whatever it was asked.
    assert_eq!(
        run(&[c([0xff; 200]), s("HTTP/1.1 400 Bad\r\n\r\n")]),
        ["malformed !malformed-request"]
    );
    // A head behind foreign bytes is still seen; whose response comes first is not known.
    let seen = run(&[c("junk\r\n"), c(GET), s("HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n")]);
    assert_eq!(seen[..2], ["malformed !malformed-request", "0 GET /"]);
    assert!(!seen.iter().any(|l| l.contains("->")));
    // Joined midway: only if both directions look like it.
    let frame = b"\x00\x00\x04\x08\x00\x00\x00\x00\x01abcd";
    let both = [c(frame), s(frame)];
    assert_eq!(describe_all(&run_joined(true, &both)), ["opaque http2"]);
    let record = b"\x17\x03\x03\x00\x20abcdefgh";
    assert_eq!(describe_all(&run_joined(true, &[s(record), c(record)])), ["opaque tls"]);
    let one = [c(record), s("x"), c(GET), s(OK)];
    assert_eq!(describe_all(&run_joined(true, &one))[..2], ["0 GET /", "0 -> 200"]);
}

#[test]
fn content_length() {
    let length = |value: &str| findings(post(&format!("Content-Length:{value}\r\n"), "12345"));
    assert_eq!(length(" 5"), []);
    assert_eq!(length("\t005 "), []);
    for value in ["+5", " -1", "0x5", "", " 5 6", "5,", " 99999999999999999999", "5\u{b}", "٥"] {
        let seen = length(value);
        assert!(seen.contains(&Id::HttpContentLengthInvalid), "{value:?}: {seen:?}");
    }
    assert_eq!(length("5, 5"), [Id::HttpContentLengthRepeated]);
    assert_eq!(length("5\r\nContent-Length: 5"), [Id::HttpContentLengthRepeated]);
    assert_eq!(length("5\r\nContent-Length: 6"), [Id::HttpContentLengthConflict]);
    assert_eq!(length("5, 6"), [Id::HttpContentLengthConflict]);
    // Unreliable: what could be the next request is seen.
    let hidden = format!("Content-Length: 5\r\nContent-Length: {}\r\n", GET.len());
    assert_eq!(requests(post(&hidden, GET)).len(), 2);
}

#[test]
fn transfer_encoding() {
    let coding = |value: &str| {
        findings(post(&format!("Transfer-Encoding:{value}\r\n"), "1\r\na\r\n0\r\n\r\n"))
    };
    for value in [
        " chunked",
        "\tChUnKeD ",
        "gzip, chunked",
        "gzip\r\nTransfer-Encoding: chunked",
        ",chunked",
    ] {
        assert_eq!(coding(value), [], "{value:?}");
    }
    for value in [
        "xchunked",
        " chunked, identity",
        "chunked, chunked",
        "chunked\r\nTransfer-Encoding: chunked",
        "identity",
        "",
        " \u{b}chunked",
        "chunked;q=1",
        "chunkedchunked",
        "\"chunked\"",
        "gzip",
        "chunked, gzip",
        " foo, chunked",
        "'chunked'",
        "chunked\r\nTransfer-Encoding:",
    ] {
        let seen = coding(value);
        assert!(seen.contains(&Id::HttpTransferEncodingInvalid), "{value:?}: {seen:?}");
    }
    let old = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(findings(old), [Id::HttpTransferEncodingInvalid]);
    let both =
        requests(post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n") + GET);
    assert_eq!(both[0].findings[0].id, Id::HttpContentLengthAndTransferEncoding);
    assert_eq!(both.len(), 2, "Transfer-Encoding wins");
}

#[test]
fn chunks() {
    let chunks = |body: &str| requests(post("Transfer-Encoding: chunked\r\n", body) + GET);
    // Lenient servers agree on these: a finding, and the framing holds.
    for body in [
        "3 \r\nabc\r\n0\r\n\r\n",
        "3\nabc\r\n0\r\n\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "3;a\nabc\r\n0\r\n\r\n",
        "3\r\nabc\r\n0\r\n\n",
    ] {
        let seen = chunks(body);
        assert_eq!(ids(&seen[0].findings), " !chunk-invalid", "{body:?}");
        assert_eq!((seen[0].body.bytes.as_slice(), seen.len()), (&b"abc"[..], 2), "{body:?}");
    }
    for body in [
        "-1\r\n",
        "\r\n",
        "0x3\r\nabc\r\n",
        "3\r\nabcX\r\n",
        "3\rabc",
        "3 x\r\nabc\r\n",
        "+3\r\nabc",
        "11111111111111111\r\n",
        "3\r\nabc\r\r0\r\n",
        "g\r\n",
        "3;a\rb\r\n",
        "3\r\nabc0\r\n\r\n",
    ] {
        let seen = chunks(body);
        assert_eq!(ids(&seen[0].findings), " !chunk-invalid", "{body:?}");
        assert!(!seen[0].body.complete, "{body:?}");
        assert_eq!(seen.len(), 2, "{body:?}: the next head is found");
    }
    let long = format!("3;{}\r\nabc\r\n", "x".repeat(5000));
    assert_eq!(ids(&chunks(&long)[0].findings), " !chunk-invalid");
    assert_eq!(chunks("0fffffffffffffff\r\nabc")[0].findings, []);
    // After the request was given out, the finding comes alone.
    let late = [c(post("Transfer-Encoding: chunked\r\n", "3\r\nab")), s(OK), c("cX\r\n")];
    let seen = run(&late);
    assert!(seen.contains(&"malformed !chunk-invalid".to_owned()), "{seen:?}");
}

#[test]
fn fields_of_a_head() {
    let head = |fields: &str| findings(format!("GET / HTTP/1.1\r\n{fields}\r\n\r\n"));
    assert_eq!(head("Host: a"), []);
    assert_eq!(head("Accept: */*"), [Id::HttpMissingHost]);
    assert_eq!(head("Host: a\r\nHOST: a"), [Id::HttpDuplicateHost]);
    assert_eq!(
        head("Host: a\r\nAuthorization: x\r\nauthorization: y"),
        [Id::HttpDuplicateAuthorization]
    );
    assert_eq!(head("Host: a\r\nX: a\0b"), [Id::HttpNul]);
    assert_eq!(head("Host: a\r\nX: a\rb"), [Id::HttpBareCr]);
    assert_eq!(head("Host: a\nX: b"), [Id::HttpBareLf]);
    assert_eq!(
        head("Host: a\r\nX: b\n\r"),
        [Id::HttpBareLf, Id::HttpBareCr, Id::HttpMalformedRequest]
    );
    assert_eq!(head("Host: a\r\nX: b\r\n c"), [Id::HttpObsFold]);
    assert_eq!(head(" Host: a"), [Id::HttpObsFold]);
    assert_eq!(head("Host : a"), [Id::HttpSpaceBeforeColon]);
    assert_eq!(head("Host\t: a"), [Id::HttpSpaceBeforeColon]);
    for fields in
        ["Host: a\r\nno colon", "Host: a\r\n: x", "Host: a\r\nX@: y", "Host: a\r\nX: a\u{1}"]
    {
        assert_eq!(head(fields), [Id::HttpMalformedRequest], "{fields:?}");
    }
    assert_eq!(findings("GET / HTTP/1.0\r\n\r\n"), []);
    let lf = requests("GET / HTTP/1.1\nHost: a\nAuthorization: Bearer x\n\n");
    assert_eq!(lf[0].header("authorization"), Some(&b"Bearer x"[..]));
    assert_eq!(ids(&lf[0].findings), " !bare-lf");
    // A bare LF alone at the end of the head.
    assert_eq!(head("Host: a\n"), [Id::HttpBareLf]);
}

#[test]
fn a_folded_token_is_seen_whole() {
    let r = requests(
        "GET / HTTP/1.1\r\nHost: a\r\nAuthorization:\r\n Bearer\r\n\tabc \r\n \r\nX: y\r\n\r\n",
    );
    assert_eq!(
        r[0].header("authorization"),
        Some(&b"Bearer   \tabc"[..]).map(|_| r[0].header("authorization").unwrap())
    );
    let value = r[0].header("authorization").unwrap();
    assert_eq!(
        value.split(|b| b.is_ascii_whitespace()).filter(|p| !p.is_empty()).collect::<Vec<_>>(),
        [&b"Bearer"[..], b"abc"]
    );
    assert!(!value.contains(&b'\r') && !value.contains(&b'\n'));
    assert_eq!(r[0].header("x"), Some(&b"y"[..]));
    let cl = requests("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n 5\r\n\r\nhello");
    assert_eq!(
        (cl[0].body.bytes.as_slice(), ids(&cl[0].findings)),
        (&b"hello"[..], " !obs-fold".to_owned())
    );
}

#[test]
fn request_lines() {
    for (line, target) in [
        ("GET  /  HTTP/1.1", "/"),
        (" GET / HTTP/1.1", "/"),
        ("GET\t/\tHTTP/1.1", "/"),
        ("GET /a b HTTP/1.1", "/a b"),
        ("GET / HTTP/1.1 ", "/"),
        ("GET / HTTP/1.2", "/"),
        ("GET /\u{1} HTTP/1.1", "/\\x01"),
    ] {
        let r = requests(format!("{line}\r\nHost: a\r\n\r\n"));
        assert_eq!(text(r[0].target()), target);
        assert_eq!(ids(&r[0].findings), " !malformed-request", "{line:?}");
    }
    for line in [
        "GET /",
        "GET / HTTP/2.0",
        "GET / HTTP/0.9",
        "GET HTTP/1.1",
        "GET / http/1.1",
        "G(T / HTTP/1.1",
        "GET / HTTP/1.",
        "GET / HTTP/11",
    ] {
        let seen = run(&[c(GET), s(OK), c(format!("{line}\r\nHost: a\r\n\r\n"))]);
        assert_eq!(seen[3..], ["malformed !malformed-request"], "{line:?}");
    }
    assert_eq!(text(requests(b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n")[0].target()), "/\\xff");
}

#[test]
fn big_heads() {
    let last = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\nAuthorization: Bearer t\r\n\r\n",
        "x".repeat(60 * 1024)
    );
    let r = requests(&last);
    assert_eq!((r[0].header("authorization"), r[0].findings.len()), (Some(&b"Bearer t"[..]), 0));
    let many: String = (0..300).map(|i| format!("X-{i}: {i}\r\n")).collect();
    let r = requests(format!("GET / HTTP/1.1\r\nHost: a\r\n{many}Authorization: t\r\n\r\n"));
    assert_eq!((r[0].headers().count(), r[0].findings.len()), (302, 0));
    let many = "A: b\r\n".repeat(600);
    assert_eq!(
        findings(format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n")),
        [Id::HttpTooManyHeaders]
    );
    // Behind the limit credentials count, and what frames the body; in a held head that is no verdict.
    let last = "B: b\r\n c\r\nAuthorization: t\r\n u\r\nContent-Length: 3\r\n";
    let both = format!("POST / HTTP/1.1\r\nHost: a\r\n{many}{last}\r\n{GET}{GET}");
    let both = both.replacen(GET, "abc", 1);
    let r = requests(&both);
    assert_eq!((r.len(), r[0].header("authorization")), (2, Some(&b"t   u"[..])));
    assert!(r[0].header("b").is_none());
    let held = read_request(both.as_bytes(), Time::EPOCH, &Limits::default());
    assert_eq!(held.unwrap().1, None);
    let all = "Cookie: b\r\n".repeat(2_000);
    let r = requests(format!("GET / HTTP/1.1\r\nHost: a\r\n{all}\r\n"));
    assert_eq!(r[0].headers().count(), 2 * Limits::default().headers);
    // What lies within the limit is judged; the next request is found.
    let huge = format!(
        "GET /huge HTTP/1.1\r\nHost: a\r\nAuthorization: t\r\nX: {}\r\n\r\n",
        "x".repeat(70_000)
    );
    let r = requests(format!("{huge}{GET}"));
    assert_eq!(
        (r.len(), ids(&r[0].findings), r[0].head_len()),
        (2, " !head-too-large".to_owned(), 65_536)
    );
    assert_eq!(r[0].header("authorization"), Some(&b"t"[..]));
    assert_eq!(
        run(&[c(&huge), s(OK), c(GET), s(OK)]).iter().filter(|l| l.contains("->")).count(),
        2
    );
    // A line without end.
    let seen = run(&[c(GET), s(OK), c(format!("GET /{}", "a".repeat(70_000)))]);
    assert_eq!(seen[3], "malformed !head-too-large,malformed-request");
}

#[test]
fn responses_with_slips() {
    let answer = |head: &str| run(&[c(GET), s(format!("{head}\r\n\r\n0\r\n\r\n"))])[1..].join("; ");
    assert!(
        answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3")
            .starts_with("0 -> 200 !content-length-and-transfer-encoding")
    );
    assert!(answer("HTTP/1.1 200 OK\nContent-Length: 3").starts_with("0 -> 200 !bare-lf"));
    assert!(
        answer("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4")
            .starts_with("0 -> 200 !content-length-conflict; 0 cut")
    );
    assert!(answer("HTTP/1.1 200").starts_with("0 -> 200;"));
    assert!(answer("HTTP/1.1 20x OK").starts_with("malformed !malformed-response"));
    assert!(answer("<html>").starts_with("malformed !malformed-response"));
    let head = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(70_000));
    assert!(answer(&head).starts_with("0 -> 200 !head-too-large"));
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n";
    assert_eq!(run(&[c(GET), s(chunked)])[2..], ["malformed !chunk-invalid", "0 cut 27/47"]);
    let events = run_joined(false, &[c(GET), s("HTTP/1.1 200 OK\nContent-Length: 0\n\n")]);
    let HttpEvent::Response { response, .. } = &events[1] else { panic!("a response") };
    assert_eq!(response.findings[0].severity, crate::finding::Severity::Low);
}

#[test]
fn times_are_those_of_the_bytes() {
    let passes = [
        c("GET / HT"),
        c("TP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r"),
        c("\n"),
        c("xy"),
        s("HTT"),
        s("P/1.1 200 OK\r\nContent-Length: 1\r\n\r\n"),
        s("z"),
    ];
    let events = run_joined(false, &passes);
    let HttpEvent::Request { request, .. } = &events[0] else { panic!("a request") };
    assert_eq!(
        (request.first_byte, request.last_byte),
        (Time::from_unix_nanos(1), Time::from_unix_nanos(4))
    );
    let HttpEvent::Response { response, .. } = &events[1] else { panic!("a response") };
    assert_eq!(response.first_byte, Time::from_unix_nanos(5));
    let HttpEvent::Done { at, .. } = &events[2] else { panic!("done") };
    assert_eq!(*at, Time::from_unix_nanos(7));
}

#[test]
fn a_head_that_the_clients_end_cuts_is_a_request_with_a_finding() {
    let head = "GET /a HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer b\r\n";
    for cut in ["", "X", "X: y", "X: y\r\n"] {
        let seen = run_joined(false, &[c(format!("{head}{cut}")), Pass::End(ToServer, false)]);
        let Some(HttpEvent::Request { request, .. }) = seen.first() else { panic!("{seen:?}") };
        assert_eq!(request.header("authorization"), Some(&b"Bearer b"[..]), "{cut}");
        assert!(ids(&request.findings).contains("malformed-request"), "{cut}");
        // A reset, or a line that is none, is no request.
        let seen = run(&[c(format!("{head}{cut}")), Pass::End(ToServer, true)]);
        assert!(seen.is_empty(), "{seen:?}");
    }
    assert_eq!(run(&[c("GET /a HTT"), Pass::End(ToServer, false)]), Vec::<String>::new());
    assert_eq!(run(&[c("GET /a"), Pass::End(ToServer, false)]), Vec::<String>::new());
}

#[test]
fn a_body_is_of_no_known_length_where_a_line_is_no_field() {
    let framing = |fields: &str| {
        let head = post(&format!("{fields}\r\nContent-Length: 2\r\n"), "ab");
        read_request(head.as_bytes(), Time::EPOCH, &Limits::default()).unwrap().1
    };
    for fields in ["A: b", "a.b_c!:", "A: b\r\n c", "transferMode.dlna.org: Streaming"] {
        assert_eq!(framing(fields), Some(BodyFraming::Length(2)), "{fields}");
    }
    for fields in ["A : b", "A\t: b", "A", ":", ": b", "A(: b", "A b: c", "Transfer-Encoding\0: a"]
    {
        assert_eq!(framing(fields), None, "{fields}");
    }
}
