use proptest::prelude::*;
use serde_json::Value;

use super::{samples::TOKEN, *};
use crate::{finding::FindingId, redact};

const SCHEMA_FILE: &str = include_str!("../../../docs/event.schema.json");

fn line(event: &Event) -> String {
    let mut out = Vec::new();
    event.write(&mut out);
    String::from_utf8(out).unwrap()
}

/// The schema, with every object closed: what we write is listed there.
fn closed_schema() -> jsonschema::Validator {
    fn close(schema: &mut Value) {
        if let Value::Object(members) = schema
            && members.contains_key("properties")
            && members.contains_key("required")
        {
            members.entry("additionalProperties").or_insert(Value::Bool(false));
        }
        match schema {
            Value::Object(members) => members.values_mut().for_each(close),
            Value::Array(elements) => elements.iter_mut().for_each(close),
            _ => {}
        }
    }
    let mut schema = serde_json::from_str(SCHEMA_FILE).unwrap();
    close(&mut schema);
    jsonschema::validator_for(&schema).unwrap()
}

fn assert_valid(schema: &jsonschema::Validator, json: &str) -> Value {
    let value = serde_json::from_str(json).unwrap_or_else(|e| panic!("{e}: {json}"));
    let errors = schema.iter_errors(&value).map(|e| e.to_string()).collect::<Vec<_>>();
    assert!(errors.is_empty(), "{errors:?}\n{json}");
    value
}

#[test]
fn every_kind_of_event_fits_the_schema() {
    let schema = closed_schema();
    for event in samples::all() {
        let value = assert_valid(&schema, &line(&event));
        assert_eq!(value["kind"], event.kind().as_str());
    }
}

#[test]
fn the_schema_refuses_what_is_no_event() {
    let schema = closed_schema();
    let good = serde_json::from_str::<Value>(&line(&samples::request())).unwrap();
    for (pointer, bad) in [
        ("/schema", "jotwatch.event/2".into()),
        ("/severity", "fatal".into()),
        ("/verdict", "drop".into()),
        ("/time", "2026-11-21T09:00:00Z".into()),
        ("/findings/0/id", "no-such-finding".into()),
        ("/client/port", 65_536.into()),
        ("/request/path", Value::Null),
        ("/response/status", "200".into()),
        ("/tokens/0/fingerprint", TOKEN.into()),
    ] {
        let mut event = good.clone();
        *event.pointer_mut(pointer).unwrap() = bad;
        assert!(!schema.is_valid(&event), "{pointer}");
    }
    let mut event = good;
    event["kind"] = "flow".into();
    assert!(!schema.is_valid(&event));
}

#[test]
fn the_schema_names_every_finding_and_severity() {
    let schema = serde_json::from_str::<Value>(SCHEMA_FILE).unwrap();
    let ids = FindingId::ALL.iter().map(|id| id.as_str()).collect::<Vec<_>>();
    assert_eq!(schema["$defs"]["finding"]["properties"]["id"]["enum"], serde_json::json!(ids));
    let severities = Severity::ALL.map(Severity::as_str);
    assert_eq!(schema["$defs"]["severity"]["enum"], serde_json::json!(severities));
}

/// The document shows what the code writes: the first JSON example is the sample event.
#[test]
fn the_document_shows_real_events() {
    let document = include_str!("../../../docs/events.md");
    for name in ["schema", "shortened", "latency_us", "user_agent", "config-reloaded"] {
        assert!(document.contains(name), "{name}");
    }
    let schema = closed_schema();
    let mut kinds = Vec::new();
    for example in document.split("```json\n").skip(1) {
        let example = example.split("```").next().unwrap();
        for event in serde_json::Deserializer::from_str(example).into_iter::<Value>() {
            let event = assert_valid(&schema, &event.unwrap().to_string());
            kinds.push(event["kind"].as_str().unwrap().to_owned());
        }
    }
    assert!(
        ["request", "flow", "key", "sensor"].iter().all(|kind| kinds.contains(&(*kind).to_owned()))
    );
}

#[test]
fn writes_a_request_with_its_members_in_order() {
    assert_eq!(
        line(&samples::request()),
        concat!(
            r#"{"schema":"jotwatch.event/1","id":"ID","time":"2026-11-21T09:00:00.000001Z","#,
            r#""kind":"request","severity":"critical","verdict":"alert","#,
            r#""client":{"ip":"192.0.2.7","port":51234},"server":{"ip":"198.51.100.2","port":8080},"#,
            r#""service":{"pid":4711,"command":"nginx","cgroup":"/system.slice/nginx.service","listen":"0.0.0.0:8080"},"#,
            r#""exchange":3,"request":{"method":"GET","path":"/orders/7?access_token=[redacted]&limit=10","#,
            r#""host":"api.example","user_agent":"curl/8.5.0","bytes":812},"#,
            r#""response":{"status":200,"latency_us":1834,"bytes":512},"#,
            r#""outcome":"bypass","score":100,"profile":"known","#,
            r#""reasons":[{"source":"finding","id":"alg-none","score":100,"detail":"alg is \"none\""}],"#,
            r#""tokens":[{"fingerprint":"30313233343536373839616263646566","deny_key":"00000000000000010000000000000002","location":"query:access_token","#,
            r#""kind":"jws","alg":"none","kid":"2026-11","typ":"JWT","#,
            r#""claims":{"iss":"https://idp.example","sub":"alice","exp":9},"#,
            r#""findings":[{"id":"alg-none","severity":"critical","detail":"alg is \"none\""},"#,
            r#"{"id":"token-in-query","severity":"info","detail":"in query parameter access_token"}]}],"#,
            r#""findings":[{"id":"alg-none","severity":"critical","detail":"alg is \"none\""},"#,
            r#"{"id":"token-in-query","severity":"info","detail":"in query parameter access_token"}]}"#,
        )
        .replace("ID", "bb11609bc1e9c40eec141d627a651eaa")
    );
}

#[test]
fn ids_are_stable_and_tell_events_apart() {
    let ids = EventIds::new(&[1; 16]);
    let (flow, at) = (samples::flow(), samples::at());
    let mut other = flow;
    other.scope = 1;
    let mut third = flow;
    std::mem::swap(&mut third.client, &mut third.server);
    let all = [
        ids.id(Kind::Request, Some(&flow), at, 0),
        ids.id(Kind::Request, Some(&flow), at, 1),
        ids.id(Kind::Flow, Some(&flow), at, 0),
        ids.id(Kind::Request, Some(&other), at, 0),
        ids.id(Kind::Request, Some(&third), at, 0),
        ids.id(Kind::Request, Some(&flow), Time::EPOCH, 0),
        ids.id(Kind::Sensor, None, at, 0),
        EventIds::new(&[2; 16]).id(Kind::Request, Some(&flow), at, 0),
    ];
    assert_eq!(all[0], EventIds::new(&[1; 16]).id(Kind::Request, Some(&flow), at, 0));
    let distinct = all.iter().map(|id| id.0).collect::<std::collections::HashSet<_>>();
    assert_eq!(distinct.len(), all.len());
}

#[test]
fn shortens_by_members_to_any_limit() {
    let schema = closed_schema();
    for event in samples::all() {
        let whole = serde_json::from_str::<Value>(&line(&event)).unwrap();
        let mut last = usize::MAX;
        for limit in [usize::MAX, 65_000, 30_000, 16_000, 8192, 4096, 3000, 2048, 1500, EVENT_MIN] {
            let json = String::from_utf8(shorten(&whole, limit)).unwrap();
            assert!(json.len() <= limit, "{} > {limit}: {json}", json.len());
            assert!(json.len() <= last);
            last = json.len();
            let value = assert_valid(&schema, &json);
            assert_eq!(value["shortened"], true);
            for name in ["schema", "id", "time", "kind", "severity"] {
                assert_eq!(value[name], whole[name]);
            }
        }
    }
}

#[test]
fn keeps_the_gravest_findings() {
    let mut event = samples::hostile();
    let Body::Request(body) = &mut event.body else { unreachable!() };
    body.findings = vec![Finding::new(FindingId::TokenInQuery, "x"); FINDINGS_MAX];
    body.findings.push(Finding::new(FindingId::AlgNone, "y"));
    let value = serde_json::from_str::<Value>(&line(&event)).unwrap();
    assert_eq!(value["findings"].as_array().unwrap().len(), FINDINGS_MAX);
    assert_eq!(value["findings"][0]["id"], "alg-none");
}

#[test]
fn shows_hostile_text_unharmed() {
    for (bytes, limit, shown) in [
        (&b"plain /path?x=1"[..], 100, r"plain /path?x=1"),
        ("grüße/日本".as_bytes(), 100, "grüße/日本"),
        (b"a\x00b\x1b[2J\r\n\x7f", 100, r"a\x00b\x1b[2J\x0d\x0a\x7f"),
        (b"\xff\xc3(\xe2\x82", 100, r"\xff\xc3(\xe2\x82"),
        ("a\u{202e}b\u{85}\u{2028}".as_bytes(), 100, r"a\xe2\x80\xaeb\xc2\x85\xe2\x80\xa8"),
        (br"C:\dir \x41", 100, r"C:\dir \x5cx41"),
        (b"12345", 5, "12345"),
        (b"123456", 5, "12345…[+1]"),
        (b"1234\x006", 5, "1234…[+2]"),
        ("123é6".as_bytes(), 4, "123…[+3]"),
        (b"", 0, ""),
        (b"x", 0, "…[+1]"),
    ] {
        assert_eq!(Text::new(bytes, limit).as_str(), shown, "{bytes:?}");
    }
}

#[test]
fn a_second_cut_keeps_escapes_whole() {
    let text = Text::new("ab\\\0é\x01".as_bytes(), 100);
    assert_eq!(text.as_str(), r"ab\\x00é\x01");
    let heads = (0..14).map(|limit| text::head(text.as_str(), limit).0).collect::<Vec<_>>();
    assert_eq!(heads[..4], ["", "a", "ab", r"ab\"]);
    assert_eq!(heads[4..8], [r"ab\", r"ab\", r"ab\", r"ab\\x00"]);
    assert_eq!(heads[8..13], [r"ab\\x00", r"ab\\x00é", r"ab\\x00é", r"ab\\x00é", r"ab\\x00é"]);
    assert_eq!(text::head(text.as_str(), 13), (text.as_str(), true));
}

#[test]
fn redacts_before_it_cuts() {
    let target = format!("/{}?access_token={TOKEN}", "a".repeat(40));
    for limit in 0..target.len() + 10 {
        let shown = Text::new(target.as_bytes(), limit);
        assert!(!shown.as_str().contains("eyJ"), "{limit}: {}", shown.as_str());
    }
}

#[test]
fn claims_are_bounded_and_redacted() {
    let claims = [
        ("sub", serde_json::json!(format!("x {TOKEN} y"))),
        ("deep", serde_json::json!([[[[1]]]])),
        ("wide", serde_json::json!(vec![0; 100])),
        ("a\"b", serde_json::json!("\u{1}\"")),
    ];
    let claims = claims.iter().map(|(name, value)| (*name, value)).collect::<Claims>();
    let shown = serde_json::from_str::<Value>(&format!("{{{}}}", claims.members())).unwrap();
    assert_eq!(shown["sub"], "x [redacted] y");
    assert_eq!(shown["deep"], serde_json::json!([[["…"]]]));
    assert_eq!(shown["wide"].as_array().unwrap().len(), 17);
    assert_eq!(shown["a\"b"], "\\x01\"");
}

#[test]
fn claims_take_bounded_room() {
    let wide = serde_json::json!(vec![vec!["x".repeat(200); 16]; 16]);
    let mut claims = Claims::default();
    for name in ["a".repeat(300), "b".repeat(300)] {
        claims.push(&name, &serde_json::json!("small"));
        claims.push(&name, &wide);
    }
    assert!(claims.members().len() <= CLAIMS_BYTES_MAX);
    assert!(serde_json::from_str::<Value>(&format!("{{{}}}", claims.members())).is_ok());
    assert_eq!(claims.members().matches("small").count(), 2);
    assert_eq!(claims.members().matches("\"…\"").count(), 2);
}

fn exchange<'a>(path: &'a [u8], findings: &'a [Finding]) -> ExchangeLine<'a> {
    ExchangeLine {
        at: samples::at(),
        flow: samples::flow(),
        method: b"GET",
        path,
        host: Some(b"api.example"),
        status: Some(404),
        latency_us: Some(17),
        request_bytes: 700,
        response_bytes: 90,
        token: Some([0xab; 16]),
        findings,
    }
}

#[test]
fn writes_an_exchange_line() {
    let mut out = Vec::new();
    exchange(b"/a?b=c", &[Finding::new(FindingId::HttpObsFold, "in field 3")]).write(&mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        concat!(
            r#"{"time":"2026-11-21T09:00:00.000001Z","client":"192.0.2.7:51234","#,
            r#""server":"198.51.100.2:8080","method":"GET","path":"/a?b=c","host":"api.example","#,
            r#""status":404,"latency_us":17,"request_bytes":700,"response_bytes":90,"#,
            r#""token":"abababababababababababababababab","#,
            r#""findings":[{"id":"http-obs-fold","severity":"medium","detail":"in field 3"}]}"#,
            "\n"
        )
    );
    let mut out = Vec::new();
    ExchangeLine {
        flow: FlowKey { client: "[2001:db8::7]:1".parse().unwrap(), ..samples::flow() },
        host: None,
        status: None,
        latency_us: None,
        token: None,
        ..exchange(format!("/a?token={TOKEN}").as_bytes(), &[])
    }
    .write(&mut out);
    let line = serde_json::from_slice::<Value>(&out).unwrap();
    assert_eq!(line["client"], "[2001:db8::7]:1");
    assert_eq!(line["path"], "/a?token=[redacted]");
    for member in ["host", "status", "latency_us", "token"] {
        assert!(line[member].is_null());
    }
    assert_eq!(line["findings"], serde_json::json!([]));
}

proptest! {
    /// What is shown can be had back, and never acts on a terminal.
    #[test]
    fn shown_text_is_reversible(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assume!(redact::bytes(&bytes) == bytes);
        let shown = Text::new(&bytes, 10_000);
        prop_assert!(!shown.as_str().chars().any(char::is_control));
        let mut back = Vec::new();
        let mut rest = shown.as_str().as_bytes();
        while let Some((&c, tail)) = rest.split_first() {
            rest = tail;
            match tail {
                [b'x', high, low, tail @ ..] if c == b'\\' => {
                    let digit = |d: &u8| char::from(*d).to_digit(16).unwrap() as u8;
                    back.push(digit(high) * 16 + digit(low));
                    rest = tail;
                }
                _ => back.push(c),
            }
        }
        prop_assert_eq!(back, bytes);
    }

    /// Whatever bytes come, a line is one line of JSON.
    #[test]
    fn any_bytes_give_one_json_line(
        bytes in prop::collection::vec(any::<u8>(), 0..300), limit in 0_usize..400,
    ) {
        let mut out = Vec::new();
        exchange(&bytes, &[Finding::new(FindingId::HttpNul, String::from_utf8_lossy(&bytes).into_owned())])
            .write(&mut out);
        prop_assert_eq!(out.iter().filter(|&&b| b == b'\n').count(), 1);
        prop_assert!(serde_json::from_slice::<Value>(&out).is_ok());
        let shown = Text::new(&bytes, limit);
        prop_assert!(shown.as_str().len() <= limit + "…[+300]".len());
        prop_assert!(text::head(shown.as_str(), limit).0.len() <= limit);
    }
}
