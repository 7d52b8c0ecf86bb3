//! The services that live tests watch do start, take good tokens, and answer forged ones as
//! they are known to.
//!
//! As root each test runs in a network namespace of its own (a thread's namespace is its
//! own, and its children inherit it), else on the host's loopback. A service that is not
//! installed is skipped with a word on standard error, unless `JOTWATCH_REQUIRE_SERVICES` is
//! set, as `cargo xtask test` does.

// The helpers of these tests are tests too, though clippy's allowance covers only `#[test]`.
#![expect(clippy::unwrap_used, reason = "a test that can't run shall fail")]

use std::{fs, net::SocketAddr, path::Path, process::Command};

use jotwatch_tests::{
    services::{
        Place, Service, express, free_loopback, gns3,
        http::{Client, Response, get, request},
        influxdb, installed, nginx, uring,
    },
    tokens,
};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use serde_json::json;

const HERE: Place<'static> = Place::HERE;

/// Moves the calling thread into a network namespace of its own, if it may, and names a
/// free address there.
fn loopback() -> SocketAddr {
    if rustix::process::geteuid().is_root() {
        // SAFETY: only the network namespace changes, which no memory or descriptor of this
        // process depends on.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
        let status = Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap();
        assert!(status.success());
    }
    free_loopback().unwrap()
}

fn send(service: &Service, request: &[u8]) -> Response {
    Client::connect(&HERE, service.addr()).unwrap().send(request).unwrap()
}

fn status(service: &Service, request: &[u8]) -> u16 {
    send(service, request).status
}

#[test]
fn nginx_answers_and_keeps_the_connection() {
    let Some(service) = installed(nginx::start(&HERE, loopback())) else { return };
    let token = tokens::hs256(&json!({"sub": "ann"}), b"key");
    let mut client = Client::connect(&HERE, service.addr()).unwrap();
    for (target, status) in [("/", 200), ("/empty", 204), ("/missing", 404), ("/", 200)] {
        assert_eq!(client.send(&get(target, &token)).unwrap().status, status, "{target}");
    }
    let big = client.send(&get("/files/big", &token)).unwrap();
    assert_eq!(big.body.len(), nginx::BIG_FILE);
    assert!(big.body.iter().zip((0..=250).cycle()).all(|(a, b)| *a == b));

    client.write(&[get("/", &token), get("/empty", &token)].concat()).unwrap();
    let pipelined = [client.read_response().unwrap(), client.read_response().unwrap()];
    assert_eq!(pipelined.map(|response| response.status), [200, 204]);
}

#[test]
fn nginx_leaves_no_process_behind() {
    let Some(service) = installed(nginx::start(&HERE, loopback())) else { return };
    let master = service.pid();
    let children = format!("/proc/{master}/task/{master}/children");
    let workers = fs::read_to_string(children).unwrap();
    let worker = workers.trim().to_owned();
    assert!(!worker.is_empty() && !worker.contains(' '), "one worker: {workers:?}");
    let dir = service.dir().to_owned();
    drop(service);
    for pid in [master.to_string(), worker] {
        let command = fs::read_to_string(Path::new("/proc").join(pid).join("cmdline"));
        assert!(!command.is_ok_and(|command| command.contains("nginx")));
    }
    assert!(!dir.exists());
}

#[test]
fn influxdb_takes_its_own_tokens_only() {
    let Some(service) = installed(influxdb::start(&HERE, loopback())) else { return };
    let token = influxdb::token();
    let ask = |token: &str| {
        let answer = send(&service, &influxdb::query("SHOW DATABASES", Some(token)));
        (answer.status, String::from_utf8(answer.body).unwrap())
    };
    assert_eq!(status(&service, &influxdb::query("CREATE DATABASE db", Some(&token))), 200);
    let bearer = format!("Bearer {token}");
    let write = request("POST", "/write?db=db", &[("Authorization", &bearer)], b"cpu v=1");
    assert_eq!(status(&service, &write), 204);
    let (code, body) = ask(&token);
    assert!(code == 200 && body.contains(r#"["db"]"#), "{code} {body}");

    let claims = influxdb::claims(3_600);
    let forged = [
        (tokens::unsigned("none", &claims), "unexpected signing method: none"),
        (tokens::unsigned("None", &claims), "signing method (alg) is unavailable"),
        (tokens::strip_signature(&token), "signature is invalid"),
        (tokens::swap_payload(&token, &influxdb::claims(9_999)), "signature is invalid"),
        (tokens::hs256(&claims, b""), "signature is invalid"),
        (tokens::hs256(&influxdb::claims(-60), influxdb::SECRET.as_bytes()), "Token is expired"),
        (
            tokens::hs256(
                &json!({"username": "eve", "exp": claims["exp"]}),
                influxdb::SECRET.as_bytes(),
            ),
            "user not found",
        ),
    ];
    for (token, reason) in forged {
        let (code, body) = ask(&token);
        assert!(code == 401 && body.contains(reason), "{reason}: {code} {body}");
    }
    assert_eq!(status(&service, &influxdb::query("SHOW DATABASES", None)), 401);
}

#[test]
fn gns3_checks_the_signature_but_not_the_expiry() {
    let Some(service) = installed(gns3::start(&HERE, loopback())) else { return };
    let token = gns3::token(&HERE, service.addr()).unwrap();
    for target in ["access/users/me", "projects", "templates", "computes", "access/roles"] {
        assert_eq!(status(&service, &get(&format!("/v3/{target}"), &token)), 200, "{target}");
    }
    let bearer = format!("Bearer {token}");
    let fields = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let create = request("POST", "/v3/projects", &fields, br#"{"name": "watched"}"#);
    let project = send(&service, &create);
    assert_eq!(project.status, 201);
    let project = project.json().unwrap();
    let target = format!("/v3/projects/{}", project["project_id"].as_str().unwrap());
    assert_eq!(status(&service, &get(&target, &token)), 200);
    assert_eq!(status(&service, &request("DELETE", &target, &fields[..1], b"")), 204);

    let me = |token: &str| status(&service, &get("/v3/access/users/me", token));
    let claims = gns3::claims(3_600);
    assert_eq!(me(&tokens::hs256(&claims, gns3::SECRET.as_bytes())), 200);
    assert_eq!(me(&tokens::unsigned("none", &claims)), 401);
    assert_eq!(me(&tokens::unsigned("nOnE", &claims)), 401);
    assert_eq!(me(&tokens::strip_signature(&token)), 401);
    assert_eq!(me(&tokens::swap_payload(&token, &claims)), 401);
    assert_eq!(me(&tokens::hs256(&claims, b"another key")), 401);
    // It decodes with joserfc, which leaves `exp` to a claims registry that is not used here.
    assert_eq!(me(&tokens::hs256(&gns3::claims(-60), gns3::SECRET.as_bytes())), 200);
}

#[test]
fn express_verifies_on_one_route_and_decodes_on_the_other() {
    let Some(service) = installed(express::start(&HERE, loopback())) else { return };
    let token = express::token(&HERE, service.addr()).unwrap();
    let claims = express::claims(3_600);
    let ask = |token: &str| {
        ["/orders", "/weak/orders"].map(|target| status(&service, &get(target, token)))
    };
    assert_eq!(ask(&token), [200, 200]);
    assert_eq!(ask(&tokens::unsigned("none", &claims)), [401, 200]);
    assert_eq!(ask(&tokens::unsigned("NONE", &claims)), [401, 200]);
    assert_eq!(ask(&tokens::strip_signature(&token)), [401, 200]);
    assert_eq!(ask(&tokens::swap_payload(&token, &json!({"sub": "root"}))), [401, 200]);
    assert_eq!(ask(&tokens::hs256(&express::claims(-60), express::SECRET.as_bytes())), [401, 200]);
    assert_eq!(ask("not.a.token"), [401, 400]);
}

#[test]
fn the_io_uring_server_answers_pipelined_requests() {
    if let Err(error) = uring::permitted() {
        eprintln!("skipped: {error:#}");
        return;
    }
    let program = Path::new(env!("CARGO_BIN_EXE_uring-http"));
    let service = uring::start(program, &HERE, loopback()).unwrap();
    let token = tokens::hs256(&json!({"sub": "ann"}), b"key");
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = Client::connect(&HERE, service.addr()).unwrap();
        client.write(&get("/", &token).repeat(50)).unwrap();
        clients.push(client);
    }
    for client in &mut clients {
        for _ in 0..50 {
            assert_eq!(client.read_response().unwrap().body, b"hello\n");
        }
    }
    // Its descriptors: the ring is there, and no poller that would betray ordinary socket calls.
    let files: Vec<String> = fs::read_dir(format!("/proc/{}/fd", service.pid()))
        .unwrap()
        .map(|entry| fs::read_link(entry.unwrap().path()).unwrap().display().to_string())
        .collect();
    assert!(files.iter().any(|file| file.contains("io_uring")), "{files:?}");
    assert!(!files.iter().any(|file| file.contains("eventpoll")), "{files:?}");
}
