//! `Debug` of what holds bytes of the wire, tokens, claims or keys shows none of them, so that a panic
//! whose message has such a value in it gives nothing away.

use std::{
    fmt::Debug,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use crate::{
    capture::{Direction, Input, Segment, TcpFlags},
    control,
    event::samples::{TOKEN, flow},
    flow, http,
    keys::{Algorithm, Key, KeySource},
    pipeline::Vouching,
    policy, rest,
    time::Time,
    token::{
        DecodeOptions, FingerprintKey, Judge, JudgeConfig, decode,
        extract::{Candidate, extract},
    },
    weak::HmacSample,
};

/// A request with credentials in every place.
pub(crate) const HEAD: &[u8] = b"POST /a?access_token=query-c41f7a9e05d8b362 HTTP/1.1\r\nHost: h\r\n\
    Authorization: Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwiYWRtaW4iOnRydWV9.dyt0CoTl4WoVjAHI9Q_CwSKhl6d_9rhM3NrXuJttkao\r\n\
    Cookie: sid=cookie-3e9b6d0c7f15a824\r\nContent-Length: 33\r\n\r\npassword=body-0b6e8d1f2a4c7395&x=";

const SECRETS: [&str; 7] = [
    "query-c41f7a9e05d8b362",
    "cookie-3e9b6d0c7f15a824",
    "body-0b6e8d1f2a4c7395",
    "eyJzdWIiOiIxMjM0NTY3ODkwIiwiYWRtaW4iOnRydWV9",
    "dyt0CoTl4WoVjAHI9Q_CwSKhl6d_9rhM3NrXuJttkao",
    // Of the claims, decoded.
    "1234567890",
    "hmac-7d20e9b4c6f80000",
];

/// Holds what a panic says that shows this value, in either shape of `Debug`, to none of the secrets:
/// as text, or as the numbers of its bytes.
pub(crate) fn silent(value: &impl Debug) {
    let panicked = catch_unwind(AssertUnwindSafe(|| panic!("{value:?} {value:#?}"))).unwrap_err();
    let said: String = panicked.downcast_ref::<String>().unwrap().split_whitespace().collect();
    for secret in SECRETS {
        let numbers = |bytes: &[u8]| format!("{bytes:?}").trim_matches(['[', ']']).replace(' ', "");
        // Any eight of them in a row.
        let shown = secret.as_bytes().windows(8).any(|part| {
            said.contains(std::str::from_utf8(part).unwrap()) || said.contains(&numbers(part))
        });
        assert!(!shown, "{secret}: {said}");
    }
}

#[test]
fn the_test_sees_what_is_shown() {
    for said in [
        catch_unwind(|| silent(&HEAD)),
        catch_unwind(|| silent(&String::from_utf8_lossy(HEAD))),
        catch_unwind(|| silent(&SECRETS[6].as_bytes().to_vec())),
    ] {
        assert!(said.is_err());
    }
}

#[test]
fn bytes_of_the_wire_are_not_shown() {
    let segment = Segment {
        flow: flow(),
        cookie: 1,
        direction: Direction::ToServer,
        at: Time::EPOCH,
        seq: 7,
        len: HEAD.len() as u32,
        payload: HEAD,
        flags: TcpFlags::default(),
        ack: None,
        rcv_nxt: None,
        request: true,
    };
    silent(&segment);
    silent(&Input::Segment(segment));
    silent(&flow::Chunk::Data { bytes: HEAD, at: Time::EPOCH, last: true });
    silent(&[http::Chunk::Data(HEAD), http::Chunk::Last(HEAD)]);
}

#[test]
fn requests_and_what_is_found_in_them_are_not_shown() {
    let (limits, mut out) = (http::Limits::default(), http::Events::default());
    let mut connection = http::Connection::new(false);
    let chunk = http::Chunk::Data(HEAD);
    connection.push(Direction::ToServer, Time::EPOCH, chunk, &limits, &mut out);
    silent(&connection);
    silent(&out);
    let mut requests = out.iter().filter_map(|event| {
        silent(event);
        match event {
            http::HttpEvent::Request { request, .. } => Some(request),
            _ => None,
        }
    });
    let request = requests.next().unwrap();
    assert_eq!((request.body.bytes.len(), requests.next()), (33, None));
    silent(&request);
    silent(&request.body);
    let found = extract(request, &[]);
    assert!(found.candidates.len() >= 2, "{found:?}");
    silent(&found);
    silent(&found.candidates.iter().collect::<Vec<&Candidate<'_>>>());
    let mut judge = Judge::new(JudgeConfig::new(FingerprintKey::new([7; 16])));
    let report = judge.judge(request);
    assert!(report.tokens.iter().any(|token| token.decoded.is_some()));
    silent(&report);
    silent(&report.tokens);
    silent(&judge);
    let client = flow().client.ip();
    silent(&policy::Context {
        peer: client,
        client,
        method: request.method(),
        target: request.target(),
        score: None,
        suspected: false,
    });
}

#[test]
fn tokens_claims_and_keys_are_not_shown() {
    let decoded = decode(TOKEN.as_bytes(), &DecodeOptions::default());
    silent(&decoded);
    silent(&decoded.signatures().collect::<Vec<_>>());
    silent(&control::TokenText::new(TOKEN.to_owned()));
    let target = control::Target::Token(control::TokenText::new(TOKEN.to_owned()));
    silent(&control::Request::Deny(control::Change::Remove { target }));
    let claims = br#"{"sub":"1234567890"}"#;
    silent(&Vouching { claims, service: None, learn: false });
    let text = r#"{"method":"GET","path":"/","claims":{"sub":"1234567890"}}"#;
    let vouched = rest::Vouched::from_json(&serde_json::from_str(text).unwrap(), Time::EPOCH);
    silent(&vouched.unwrap());
    let secret = SECRETS[6].as_bytes();
    silent(&Key::from_secret(secret, None, KeySource::File).unwrap());
    silent(&FingerprintKey::new(*secret.first_chunk().unwrap()));
    silent(&Arc::new(HmacSample {
        alg: Algorithm::Hs256,
        issuer: None,
        kid: None,
        input: TOKEN.as_bytes().into(),
        signature: secret.into(),
    }));
}
