use std::{collections::HashSet, net::TcpListener, thread};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{service, show, traffic};

/// The shop on the host's loopback, for as long as the test process lives.
fn shop() -> std::net::SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || service::serve(&listener));
    addr
}

#[test]
fn the_shop_falls_for_every_forgery() {
    let addr = shop();
    let token = traffic::log_in(addr, "ann").unwrap();
    for scene in traffic::scenes(&token) {
        traffic::play(addr, &scene).unwrap();
    }
}

#[test]
fn the_shop_does_check_something() {
    let addr = shop();
    let token = traffic::log_in(addr, "bob").unwrap();
    let (input, _) = token.rsplit_once('.').unwrap();
    let ask = |token: &str| {
        let request = format!("GET /orders HTTP/1.1\r\nAuthorization: Bearer {token}\r\n\r\n");
        traffic::send(addr, None, &[request.into_bytes()]).unwrap().1[0].status
    };
    assert_eq!(ask(&token), 200);
    assert_eq!(ask(&format!("{input}.AAAA")), 401);
    assert_eq!(ask("no token"), 401);
    assert!(traffic::log_in(addr, "eve").is_err());
}

#[test]
fn scenes_hold_what_their_titles_say() {
    let token =
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let scenes = traffic::scenes(token);
    let titles: HashSet<&str> = scenes.iter().map(|scene| scene.title).collect();
    assert_eq!(titles.len(), scenes.len());
    let of = |finding: &str| {
        let scene = scenes.iter().find(|scene| scene.finding == Some(finding)).unwrap();
        String::from_utf8(scene.requests.concat()).unwrap()
    };
    let (kept, last) = token.split_at(token.len() - 1);
    let respelled = of("token-noncanonical-base64");
    assert!(respelled.contains(kept) && !respelled.contains(token) && last == "A");
    assert_eq!(of("http-duplicate-authorization").matches("Authorization: ").count(), 2);
    assert!(of("signature-empty").contains(".eyJzdWIiOiJhbm4ifQ.\r\n"));
    let claims = |request: &str| -> serde_json::Value {
        let payload = request.split("Bearer ").nth(1).unwrap().split('.').nth(1).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
    };
    // In the past whenever the demo runs.
    assert!(claims(&of("token-expired"))["exp"].as_u64().unwrap() < 1_767_225_600);
    // The very token of the customer, in other hands.
    let stolen = of("token-replayed-user-agent");
    let customer = String::from_utf8(scenes[1].requests[0].clone()).unwrap();
    assert_ne!(stolen, customer);
    assert_eq!(stolen.replace("curl/8.5.0", "shop-app/2.1"), customer);
    let from: Vec<_> =
        scenes.iter().filter_map(|scene| Some((scene.from?, scene.finding))).collect();
    assert_eq!(from, [("127.0.0.66".parse().unwrap(), Some("token-replayed-user-agent"))]);
}

#[test]
fn events_read_well() {
    let event = r#"{"schema":"jotwatch.event/1","id":"00","time":"2026-11-21T09:00:00.000001Z",
        "kind":"request","severity":"critical","verdict":"alert",
        "client":{"ip":"::1","port":40001},"server":{"ip":"::1","port":8080},
        "service":{"pid":77,"command":"shop"},"exchange":0,
        "request":{"method":"GET","path":"/admin/users","bytes":200},
        "response":{"status":200,"latency_us":80,"bytes":100},
        "tokens":[{"fingerprint":"0123456789abcdef","location":"header:authorization",
            "kind":"jws","alg":"nOnE","claims":{"sub":"ann\u001b[31m"}}],
        "findings":[{"id":"alg-none","severity":"critical","detail":"alg is nOnE"},
            {"id":"http-missing-host","severity":"low"}]}"#;
    assert_eq!(
        show::line(event, false),
        "CRITICAL GET /admin/users -> 200  by shop[77]  from [::1]:40001  \
         token 01234567 of ann\\u{1b}[31m\n         \
         alg-none: alg is nOnE\n         http-missing-host"
    );
    let (port, findings) = show::findings(event).unwrap();
    assert_eq!((port, findings), (40001, vec!["alg-none".into(), "http-missing-host".into()]));
    assert!(!show::is_started(event));

    let unanswered = event.replace(r#"{"status":200,"latency_us":80,"bytes":100}"#, "null");
    assert!(show::line(&unanswered, true).contains("-> no answer"));
    let started = r#"{"kind":"sensor","severity":"info","state":"started","version":"0.1.0"}"#;
    assert!(show::is_started(started));
    assert_eq!(show::line(started, false), "INFO     sensor started");
    let flow = r#"{"kind":"flow","severity":"info","reason":"tls",
        "client":{"ip":"127.0.0.1","port":9},"findings":[]}"#;
    assert_eq!(
        show::line(flow, false),
        "INFO     connection from 127.0.0.1:9 is not readable: tls"
    );
    assert_eq!(show::line("not\tJSON", false), "not\\u{9}JSON");
}

#[test]
fn the_capture_holds_the_traffic_of_now() {
    let path = crate::setup::workspace().join(super::CAPTURE);
    let capture = std::fs::read(path).unwrap();
    // Every request is one packet here, so its first line stands whole in the file.
    let recorded = request_lines(&capture);
    let scenes = traffic::scenes("header.payload.signature");
    let sent: Vec<u8> = scenes.into_iter().flat_map(|scene| scene.requests.concat()).collect();
    let mut expected = vec!["POST /login HTTP/1.1".to_owned()];
    expected.extend(request_lines(&sent));
    assert_eq!(recorded, expected, "make it anew with `cargo xtask demo --record`");
}

/// The request lines in `bytes`, tokens in them masked.
fn request_lines(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    text.match_indices(" HTTP/1.1\r\nHost: shop.test")
        .map(|(end, _)| {
            let head = &text[..end];
            let start = ["GET /", "POST /"].map(|start| head.rfind(start)).into_iter().max();
            let line = &head[start.flatten().unwrap()..];
            let line = line.split_once("access_token=").map_or(line, |(line, _)| line);
            format!("{line} HTTP/1.1")
        })
        .collect()
}
