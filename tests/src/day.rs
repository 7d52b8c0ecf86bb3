//! A benign day from a seed: ten thousand subjects and what clients do by right.
//!
//! One or two devices each, a third of them dual-stack, many behind one NAT; sittings with pauses;
//! tokens that are refreshed, often twice at once, and by sloppy clients only after an expired one
//! was refused; an issuer whose clock is off by up to 50 s and whose keys change at noon; moves to
//! another network within the grace, with requests that linger on the old one; tokens for one
//! service and for several, passed on from one to the next; proofs of possession; refresh tokens
//! that are JWTs of the issuer's own; answers of every kind.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use jotwatch::{
    capture::{Direction, FlowKey, Input, Segment, TcpFlags},
    pipeline::{Output, Pipeline},
    time::Time,
};
use serde_json::json;

use crate::{
    signer::hmac_tag,
    tokens::{self, base64url, ed25519, ed25519_jwk, sha256},
};

/// When the issuer's key changes, in milliseconds of the day.
pub const NOON: u64 = 12 * HOUR;
/// How much later the new key set is at hand.
pub const FETCHED: u64 = NOON + MINUTE;
/// Times of the day are milliseconds.
const HOUR: u64 = 3_600_000;
const MINUTE: u64 = 60_000;
/// How long a token lives.
const LIFETIME: u64 = 5 * MINUTE;
/// 2026-01-02T00:00:00Z, in seconds since the epoch.
const MIDNIGHT: u64 = 1_767_312_000;
/// The host of the services.
const HOST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 20);
const HOST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 0x20);

/// The configuration, below whose folder [`write_keys`] has put the keys.
pub const CONFIG: &str = r#"
[capture]
ports = [8080, 8081, 8082, 8083, 8084]
[events]
min_severity = "info"
[[issuer]]
issuer = "https://id.example"
jwks_url = "https://id.example/keys"
jwks_file = "@/id.jwks"
algorithms = ["EdDSA"]
types = ["at+jwt"]
audiences = ["orders", "billing"]
required_claims = ["sub", "exp", "iat"]
max_lifetime_seconds = 300
[[issuer]]
issuer = "https://hs.example"
secret_files = ["@/hs.key"]
algorithms = ["HS256"]
[[service]]
port = 8080
name = "orders"
audiences = ["orders"]
[[service.route]]
method = "GET"
path = "/items/{id}"
scopes = ["read"]
[[service]]
port = 8081
name = "billing"
audiences = ["billing"]
[[service]]
port = 8082
name = "stock"
audiences = ["stock"]
[[service]]
port = 8084
name = "id"
"#;

/// Writes the configuration and the keys: before noon the old one alone, then both.
///
/// # Errors
/// As the file system gives them.
pub fn write_keys(folder: &Path, rotated: bool) -> std::io::Result<()> {
    let keys = if rotated { KEYS.map(jwk).join(",") } else { jwk(KEYS[0]) };
    fs::write(folder.join("id.jwks"), format!("{{\"keys\":[{keys}]}}"))?;
    let secret = folder.join("hs.key");
    fs::write(&secret, tokens::SECRET)?;
    fs::set_permissions(secret, fs::Permissions::from_mode(0o600))?;
    let config = CONFIG.replace('@', &folder.display().to_string());
    fs::write(folder.join("config.toml"), config)
}

/// The keys of the issuer, old and new, and that of the devices.
const KEYS: [(u8, &str); 2] = [(11, "k-1"), (22, "k-2")];
const DEVICE: u8 = 33;

/// A public key of the issuer under its name.
fn jwk((number, kid): (u8, &str)) -> String {
    ed25519_jwk(number).replacen('{', &format!(r#"{{"kid":"{kid}","#), 1)
}

/// xorshift64*, which is enough for a test.
pub(crate) struct Dice(u64);

impl Dice {
    /// From a seed that is not 0.
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// One request with its answer.
#[derive(Clone)]
pub struct Exchange {
    /// Milliseconds of the day.
    pub at: u64,
    /// The client.
    pub client: IpAddr,
    port: u16,
    agent: u32,
    fields: String,
    body: String,
    status: u16,
}

/// What a day is made of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Tokens issued, without refresh tokens.
    pub tokens: usize,
    /// Refreshes that gave two tokens at once.
    pub parallel: usize,
    /// Expired tokens that were refused.
    pub expired: usize,
    /// Moves to another network.
    pub moves: usize,
    /// Requests on the old network after a move.
    pub lingering: usize,
    /// Tokens passed on by a service.
    pub passed_on: usize,
    /// Proofs of possession.
    pub proofs: usize,
    /// Uses of the old key's tokens after noon, and of the new one's before its set was at hand.
    pub rotation: [usize; 2],
    /// Uses by the other IP version than the token's last.
    pub dual: usize,
}

/// A day, in the order of time.
pub struct Day {
    /// Its requests.
    pub exchanges: Vec<Exchange>,
    /// What they are made of.
    pub counts: Counts,
    dice: Dice,
}

struct Token {
    text: String,
    /// When the client takes it for expired.
    expires: u64,
    new_key: bool,
    last_v6: Option<bool>,
}

/// A device at a place.
struct Device {
    subject: u32,
    number: u32,
    kind: u32,
    v4: IpAddr,
    v6: Option<IpAddr>,
    tokens: Vec<Token>,
}

impl Day {
    /// The day of so many subjects, of a seed that must not be 0.
    #[must_use]
    pub fn new(seed: u64, subjects: u32) -> Self {
        let mut day = Self { exchanges: Vec::new(), counts: Counts::default(), dice: Dice(seed) };
        for subject in 0..subjects {
            for number in 0..1 + u32::from(day.dice.one_in(8)) {
                day.sitting(subject, number);
            }
        }
        day.exchanges.sort_by_key(|exchange| exchange.at);
        day
    }

    fn sitting(&mut self, subject: u32, number: u32) {
        let nowhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let kind = subject % 4;
        let mut device =
            Device { subject, number, kind, v4: nowhere, v6: None, tokens: Vec::new() };
        let dual = self.dice.one_in(3);
        self.place(&mut device, dual);
        let sloppy = self.dice.one_in(3);
        // One in ten sits over noon.
        let mut now = match self.dice.one_in(10) {
            true => NOON - 10 * MINUTE + self.dice.below(10 * MINUTE),
            false => self.dice.below(22 * HOUR),
        };
        let end = now + 3 * MINUTE + self.dice.below(10 * MINUTE);
        while now < end {
            let expires = device.tokens.iter().map(|t| t.expires).min().unwrap_or(0);
            if now >= expires {
                // Far enough behind it that every clock says so.
                if sloppy && expires > 0 && now >= expires + 3 * MINUTE {
                    self.counts.expired += 1;
                    self.bearer(now, &mut device, 0, false, 401);
                    now += 20 + self.dice.below(400);
                }
                self.refresh(now, &mut device);
                now += 100 + self.dice.below(400);
            }
            self.work(&mut now, &mut device, dual);
            // Most pauses are short, some are lunch.
            now += match self.dice.below(12) {
                0 => 8 * MINUTE + self.dice.below(8 * MINUTE),
                _ => 1_000 + self.dice.below(4 * MINUTE),
            };
        }
    }

    /// Puts a device somewhere: behind one of 3,000 NATs, on a link of its own.
    fn place(&mut self, device: &mut Device, dual: bool) {
        let nat = u32::try_from(self.dice.below(3_000)).unwrap_or(0);
        device.v4 = IpAddr::V4(Ipv4Addr::from_bits(0x6440_0000 + nat));
        let link = u128::from(self.dice.below(1 << 30));
        let v6 = Ipv6Addr::from_bits(0x2001_0db8_u128 << 96 | link << 64 | 7);
        device.v6 = dual.then_some(IpAddr::V6(v6));
    }

    fn refresh(&mut self, now: u64, device: &mut Device) {
        let (subject, number) = (device.subject, device.number);
        // Of the issuer for itself: under a key that nobody else has.
        let header = r#"{"alg":"HS512","typ":"JWT","kid":"internal"}"#;
        let claims = json!({
            "iss": issuer(device.kind), "aud": issuer(device.kind), "sub": subject.to_string(),
            "typ": "Refresh", "jti": format!("r-{subject}-{number}-{now}"),
            "iat": MIDNIGHT, "exp": MIDNIGHT + 86_400,
        });
        let input = format!("{}.{}", base64url(header), base64url(claims.to_string()));
        let signature = base64url(hmac_tag(b"the issuer's own", "HS512", input.as_bytes()));
        let body = format!("grant_type=refresh_token&refresh_token={input}.{signature}");
        self.push(now, device, (8084, false), "", body, 200);

        device.tokens.clear();
        let parallel = self.dice.one_in(4);
        self.counts.parallel += usize::from(parallel);
        for k in 0..1 + u64::from(parallel) {
            let token = self.issue(now + k, device);
            device.tokens.push(token);
        }
    }

    fn issue(&mut self, now: u64, device: &Device) -> Token {
        self.counts.tokens += 1;
        let Device { subject, number, kind, .. } = *device;
        let audience = match kind {
            0 => json!(["orders", "billing"]),
            3 => json!(["orders", "shelf"]),
            _ => json!("stock"),
        };
        // The issuer's clock: off by up to 50 s either way.
        let issued = (MIDNIGHT + now / 1_000 + self.dice.below(101)).saturating_sub(50);
        let claims = json!({
            "iss": issuer(kind), "sub": format!("user-{subject}"), "aud": audience,
            "iat": issued, "nbf": issued, "exp": issued + LIFETIME / 1_000,
            "jti": format!("{subject}-{number}-{}", self.counts.tokens),
            "scope": "read write", "roles": ["customer"], "tid": format!("t{}", subject % 50),
        });
        let new_key = now >= NOON;
        let text = if kind == 0 {
            let (number, kid) = KEYS[usize::from(new_key)];
            let header = json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": kid }).to_string();
            ed25519(number, &header, &claims.to_string())
        } else {
            let input =
                format!("{}.{}", base64url(tokens::HS256_HEADER), base64url(claims.to_string()));
            let signature = base64url(hmac_tag(tokens::SECRET, "HS256", input.as_bytes()));
            format!("{input}.{signature}")
        };
        Token { text, expires: now + LIFETIME, new_key, last_v6: None }
    }

    /// A page's requests, one with each token; now and then the device moves while it asks.
    fn work(&mut self, now: &mut u64, device: &mut Device, dual: bool) {
        self.page(*now, device, &[]);
        let lasts = device.tokens.iter().all(|token| token.expires > *now + 2 * MINUTE);
        if lasts && self.dice.one_in(8) {
            self.counts.moves += 1;
            let old = (device.v4, device.v6);
            let open: Vec<bool> =
                device.tokens.iter().map(|token| token.last_v6 == Some(true)).collect();
            *now += 1_000 + self.dice.below(50_000);
            self.place(device, dual);
            // By either version: connections by the one of before may not be possible there.
            self.page(*now, device, &[]);
            if self.dice.one_in(2) {
                // A connection that was open goes on for a while.
                *now += 1_000 + self.dice.below(50_000);
                self.counts.lingering += 1;
                let new = (device.v4, device.v6);
                (device.v4, device.v6) = old;
                self.page(*now, device, &open);
                (device.v4, device.v6) = new;
                *now += 1_000;
                self.page(*now, device, &[]);
            }
        }
    }

    /// One request with each token, by either IP version or on connections that are `open`.
    fn page(&mut self, now: u64, device: &mut Device, open: &[bool]) {
        for k in 0..device.tokens.len() {
            let either = device.v6.is_some() && self.dice.one_in(2);
            let v6 = open.get(k).copied().unwrap_or(either);
            let status = match self.dice.below(30) {
                0 => 404,
                1 => 500,
                2 => 304,
                3 => 403,
                4 => 201,
                _ => 200,
            };
            let at = now + self.dice.below(300);
            self.bearer(at, device, k, v6, status);
        }
        if self.dice.one_in(12) {
            self.push(now, device, (8080, false), "", String::new(), 200);
        }
    }

    /// A request with a token.
    fn bearer(&mut self, at: u64, device: &mut Device, k: usize, v6: bool, status: u16) {
        let Some(token) = device.tokens.get_mut(k) else { return };
        self.counts.dual += usize::from(token.last_v6.is_some_and(|last| last != v6));
        token.last_v6 = Some(v6);
        if device.kind == 0 {
            self.counts.rotation[0] += usize::from(!token.new_key && at >= NOON);
            self.counts.rotation[1] += usize::from(token.new_key && at < FETCHED);
        }
        let mut fields = if device.subject % 9 == 5 {
            format!("Cookie: theme=dark; session={}\r\n", token.text)
        } else {
            format!("Authorization: Bearer {}\r\n", token.text)
        };
        let text = token.text.clone();
        let port = match (device.kind, self.dice.one_in(2)) {
            (0 | 3, true) => 8080,
            (0, false) => 8081,
            (3, false) => 8083,
            _ => 8082,
        };
        if device.subject % 50 == 1 {
            self.counts.proofs += 1;
            let proof = self.proof(at, &text);
            fields = format!("Authorization: DPoP {text}\r\nDPoP: {proof}\r\n");
        }
        self.push(at, device, (port, v6), &fields, String::new(), status);
        if device.kind == 0 && port == 8080 && status == 200 && self.dice.one_in(5) {
            // The service asks another one in its user's name.
            self.counts.passed_on += 1;
            self.exchanges.push(Exchange {
                at: at + 5 + self.dice.below(30),
                client: HOST.into(),
                port: 8081,
                agent: u32::MAX,
                fields: format!("Authorization: Bearer {text}\r\n"),
                body: String::new(),
                status: 200,
            });
        }
    }

    fn proof(&mut self, at: u64, token: &str) -> String {
        let jwk = ed25519_jwk(DEVICE);
        let header = format!(r#"{{"alg":"EdDSA","typ":"dpop+jwt","jwk":{jwk}}}"#);
        let claims = json!({
            "jti": format!("p-{}", self.counts.proofs), "htm": "GET",
            "htu": "https://shop.example/items/1", "iat": MIDNIGHT + at / 1_000,
            "ath": base64url(sha256(token.as_bytes())),
        });
        ed25519(DEVICE, &header, &claims.to_string())
    }

    fn push(
        &mut self,
        at: u64,
        device: &Device,
        (port, v6): (u16, bool),
        fields: &str,
        body: String,
        status: u16,
    ) {
        let client = if v6 { device.v6.unwrap_or(device.v4) } else { device.v4 };
        let agent = device.subject % 7 + 10 * device.number;
        self.exchanges.push(Exchange {
            at,
            client,
            port,
            agent,
            fields: fields.to_owned(),
            body,
            status,
        });
    }
}

fn issuer(kind: u32) -> &'static str {
    if kind == 0 { "https://id.example" } else { "https://hs.example" }
}

impl Exchange {
    /// The same request later and from elsewhere: a theft.
    #[must_use]
    pub fn stolen(&self, later: u64, by: IpAddr) -> Self {
        Self { at: self.at + later, client: by, ..self.clone() }
    }

    /// Whether it carries a bearer token to the stock service, and is taken.
    #[must_use]
    pub fn is_bearer(&self) -> bool {
        self.port == 8082 && self.status == 200 && self.fields.starts_with("Authorization: Bearer")
    }

    /// Whether both carry the same token in the same way.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        self.fields == other.fields
    }

    /// Pushes the exchange on a connection of its own.
    pub fn play(&self, number: usize, pipeline: &mut Pipeline, out: &mut impl Output) {
        let host = if self.client.is_ipv6() { IpAddr::V6(HOST6) } else { HOST.into() };
        let port = u16::try_from(10_000 + number % 50_000).unwrap_or(u16::MAX);
        let flow = FlowKey {
            client: (self.client, port).into(),
            server: (host, self.port).into(),
            scope: 0,
        };
        let time = |offset: u64| {
            Time::from_unix_nanos((MIDNIGHT * 1_000 + self.at) * 1_000_000 + offset * 100_000)
        };
        let (method, more) = match self.body.len() {
            0 => ("GET", String::new()),
            len => (
                "POST",
                format!(
                    "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len}\r\n"
                ),
            ),
        };
        let request = format!(
            "{method} /items/1 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: app/{}\r\n{more}{}\r\n{}",
            self.agent, self.fields, self.body
        );
        let answer = match self.status {
            304 => "HTTP/1.1 304 Not Modified\r\n\r\n".to_owned(),
            status => format!("HTTP/1.1 {status} Answer\r\nContent-Length: 2\r\n\r\n{{}}"),
        };
        let syn = TcpFlags { syn: true, ..TcpFlags::default() };
        let data = TcpFlags::default();
        let sent = u32::try_from(request.len()).unwrap_or(0);
        let pieces: [(u64, Direction, u32, u32, &str, TcpFlags); 4] = [
            (0, Direction::ToServer, 999, 0, "", syn),
            (1, Direction::ToClient, 4_999, 1_000, "", syn),
            (2, Direction::ToServer, 1_000, 5_000, &request, data),
            (8, Direction::ToClient, 5_000, 1_000 + sent, &answer, data),
        ];
        for (offset, direction, seq, ack, payload, flags) in pieces {
            let payload = payload.as_bytes();
            let segment = Segment {
                flow,
                cookie: number as u64 + 1,
                direction,
                at: time(offset),
                seq,
                len: u32::try_from(payload.len()).unwrap_or(0),
                payload,
                flags,
                ack: (seq != 999).then_some(ack),
                rcv_nxt: None,
                request: false,
            };
            pipeline.push(&Input::Segment(segment), out);
        }
        pipeline.push(&Input::Closed { flow, cookie: number as u64 + 1, at: time(9) }, out);
    }
}
