//! What the demo sends to the [shop](super::service): a customer's day, then its attackers.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::service;

/// The program of the shop's customers.
const AGENT: &str = "shop-app/2.1";
/// Another address of the loopback interface than the customers'.
const THIEF: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 66));

/// One connection with its requests, sent one after the other.
pub(crate) struct Scene {
    /// What happens, in a few words.
    pub(crate) title: &'static str,
    /// The client's address where it is not the shop's own.
    pub(crate) from: Option<IpAddr>,
    /// The requests, byte for byte.
    pub(crate) requests: Vec<Vec<u8>>,
    /// What the shop answers to the last one.
    pub(crate) status: u16,
    /// The finding that a sensor should report; none for what is in order.
    pub(crate) finding: Option<&'static str>,
}

/// An answer of the shop.
pub(crate) struct Answer {
    /// Its status code.
    pub(crate) status: u16,
    /// Its content.
    pub(crate) body: Vec<u8>,
}

/// Logs in as `user` and gives the token.
///
/// # Errors
/// If the shop does not answer with one.
pub(crate) fn log_in(addr: SocketAddr, user: &str) -> Result<String> {
    let (_, mut answers) = send(addr, None, &[login(user, user)])?;
    let answer = answers.pop().context("no answer")?;
    let answer: Value = serde_json::from_slice(&answer.body)?;
    Ok(answer["token"].as_str().context("a login without a token")?.to_owned())
}

/// The scenes, in order, for a customer who holds `token`.
pub(crate) fn scenes(token: &str) -> Vec<Scene> {
    let good =
        |title, requests, status| Scene { title, from: None, requests, status, finding: None };
    let forged = |title, request, status, finding| Scene {
        title,
        from: None,
        requests: vec![request],
        status,
        finding: Some(finding),
    };
    let admin = |token: &str| get("/admin/users", &bearer(token));
    let root = json!({"sub": "ann", "role": "admin"}).to_string();
    let unsigned =
        |alg: &str| format!("{}.{}.", part(&format!(r#"{{"alg":"{alg}"}}"#)), part(&root));
    let guessed = |header: &str, payload: &str| sign(header, payload, service::KEY);
    let hs256 = r#"{"alg":"HS256","typ":"JWT"}"#;

    let stripped = token.rsplit_once('.').map_or(token, |(input, _)| input);
    let own_key = part("my own key");
    let embedded = format!(r#"{{"alg":"HS256","jwk":{{"kty":"oct","k":"{own_key}"}}}}"#);
    let crit = r#"{"alg":"HS256","crit":["urn:shop:bound"],"urn:shop:bound":true}"#;
    let expired = r#"{"sub":"ann","role":"customer","exp":1700000000}"#;
    let twice = r#"{"sub":"ann","role":"customer","role":"admin"}"#;
    let hidden = "0\r\n\r\nGET /admin/users HTTP/1.1\r\nX-Rest: ";
    let smuggled =
        post("/orders", &[bearer(token), "Transfer-Encoding: chunked".to_owned()], hidden);
    let mut two = bearer(token);
    two.push_str(&format!("\r\nAuthorization: Bearer {}", unsigned("none")));

    vec![
        good("a customer logs in", vec![login("ann", "ann")], 200),
        good(
            "reads and places orders on one connection",
            vec![
                get("/orders", &bearer(token)),
                get("/orders/17", &bearer(token)),
                post("/orders", &[bearer(token)], r#"{"item":"chair"}"#),
                get("/orders", &bearer(token)),
            ],
            200,
        ),
        good("mistypes the password", vec![login("ann", "anna")], 401),
        good("is no admin, and is told so", vec![admin(token)], 403),
        forged("a token that is not signed", admin(&unsigned("none")), 200, "alg-none"),
        forged("the same, spelled None", admin(&unsigned("None")), 200, "alg-none"),
        forged("the same, spelled NONE", admin(&unsigned("NONE")), 200, "alg-none"),
        forged("the same, spelled nOnE", admin(&unsigned("nOnE")), 200, "alg-none"),
        forged(
            "a good token's signature cut off",
            get("/orders", &bearer(&format!("{stripped}."))),
            200,
            "signature-empty",
        ),
        forged(
            "a token that brings its own key",
            admin(&sign(&embedded, &root, b"my own key")),
            200,
            "header-embedded-key",
        ),
        forged(
            "a crit that the service ignores",
            admin(&guessed(crit, &root)),
            200,
            "crit-unknown",
        ),
        forged(
            "two roles in one payload",
            admin(&guessed(hs256, twice)),
            200,
            "token-duplicate-key",
        ),
        forged(
            "the last character changed, the same bytes",
            get("/orders", &bearer(&respell(token))),
            200,
            "token-noncanonical-base64",
        ),
        // Worth knowing and so an event's detail, but alone no reason for one.
        good(
            "a good token in the address, where logs keep it",
            vec![get(&format!("/orders?access_token={token}"), "Accept: */*")],
            200,
        ),
        forged(
            "two Authorization fields, the second forged",
            get("/admin/users", &two),
            200,
            "http-duplicate-authorization",
        ),
        forged(
            "a request hidden in another's body",
            smuggled,
            201,
            "http-content-length-and-transfer-encoding",
        ),
        forged(
            "a token that expired years ago",
            get("/orders", &bearer(&guessed(hs256, expired))),
            200,
            "token-expired",
        ),
        Scene {
            from: Some(THIEF),
            ..forged(
                "the customer's token, stolen: another address, another program",
                with_agent(&get("/orders", &bearer(token)), "curl/8.5.0"),
                200,
                "token-replayed-user-agent",
            )
        },
        good("the customer goes on", vec![get("/orders", &bearer(token))], 200),
    ]
}

/// Plays a scene and gives the client's own address.
///
/// # Errors
/// Those of [`send`], or that the shop did not answer as the scene has it.
pub(crate) fn play(addr: SocketAddr, scene: &Scene) -> Result<SocketAddr> {
    let (client, answers) = send(addr, scene.from, &scene.requests)?;
    let status = answers.last().map_or(0, |answer| answer.status);
    ensure!(status == scene.status, "{}: the shop answered {status}", scene.title);
    Ok(client)
}

/// Sends requests on one connection, from a certain address or any. Gives the client's own address
/// and every answer.
///
/// # Errors
/// The system's, or that an answer is not what the shop writes.
pub(crate) fn send(
    addr: SocketAddr,
    from: Option<IpAddr>,
    requests: &[Vec<u8>],
) -> Result<(SocketAddr, Vec<Answer>)> {
    let mut stream = match from {
        None => TcpStream::connect(addr)?,
        Some(from) => connect_from(from, addr)?,
    };
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut answers = Vec::new();
    for request in requests {
        stream.write_all(request)?;
        answers.push(receive(&mut stream)?);
    }
    Ok((stream.local_addr()?, answers))
}

/// The standard library can't choose the address that it connects from.
fn connect_from(from: IpAddr, addr: SocketAddr) -> Result<TcpStream> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
    let family = if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &SocketAddr::new(from, 0))?;
    connect(&socket, &addr)?;
    Ok(socket.into())
}

fn receive(stream: &mut TcpStream) -> Result<Answer> {
    let mut bytes = Vec::new();
    loop {
        let mut fields = [httparse::EMPTY_HEADER; 16];
        let mut response = httparse::Response::new(&mut fields);
        if let httparse::Status::Complete(head) = response.parse(&bytes)? {
            let length = response.headers.iter().find(|f| f.name == "Content-Length");
            let length = length.context("an answer without a length")?;
            let length: usize = std::str::from_utf8(length.value)?.parse()?;
            if let Some(body) = bytes.get(head..head.saturating_add(length)) {
                return Ok(Answer { status: response.code.unwrap_or(0), body: body.to_vec() });
            }
        }
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer)?;
        ensure!(read > 0, "the shop closed the connection");
        bytes.extend_from_slice(&buffer[..read]);
    }
}

/// A request with the user agent of another program.
fn with_agent(request: &[u8], agent: &str) -> Vec<u8> {
    String::from_utf8_lossy(request).replace(AGENT, agent).into_bytes()
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

fn get(target: &str, fields: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: {AGENT}\r\n{fields}\r\n\r\n")
        .into_bytes()
}

fn post(target: &str, fields: &[String], body: &str) -> Vec<u8> {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    format!(
        "POST {target} HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: {AGENT}\r\n{fields}\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len(),
    )
    .into_bytes()
}

fn login(user: &str, password: &str) -> Vec<u8> {
    post("/login", &[], &json!({"user": user, "password": password}).to_string())
}

fn part(json: &str) -> String {
    URL_SAFE_NO_PAD.encode(json)
}

fn sign(header: &str, payload: &str, key: &[u8]) -> String {
    let input = format!("{}.{}", part(header), part(payload));
    let signature = URL_SAFE_NO_PAD.encode(service::signature(&input, key));
    format!("{input}.{signature}")
}

/// The token with another last character that decodes leniently to the same bytes: the 32
/// bytes of the signature fill 256 of the 258 bits of its 43 characters.
fn respell(token: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut token = token.to_owned();
    let last = token.pop().and_then(|last| ALPHABET.iter().position(|&c| char::from(c) == last));
    if let Some(last) = last {
        token.push(char::from(ALPHABET[last | 1]));
    }
    token
}
