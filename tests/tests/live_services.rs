//! The sensor on real, unmodified services: good tokens raise nothing, forged ones exactly what
//! they are, joined with the service's own answer and process.

// The helpers of these tests are tests too, though clippy's allowance covers only `#[test]`.

use std::{
    fs,
    net::{SocketAddr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use jotwatch_tests::{
    net::{Place, privileged},
    sensor::{self, Sensor, findings},
    services::{
        self, Service, express, gns3,
        http::{Client, get, request},
        influxdb, installed, nginx,
        rsyslog::Rsyslog,
    },
    tokens,
};
use serde_json::{Value, json};

fn addr() -> SocketAddr {
    ([127, 0, 0, 1], 8080).into()
}

/// A sensor on a service, and what was sent to it.
struct Scene<'a> {
    place: &'a services::Place<'a>,
    service: &'a Service,
    sensor: Sensor,
    secrets: Vec<String>,
    sent: u64,
    events: usize,
}

impl<'a> Scene<'a> {
    fn new(net: &Place, place: &'a services::Place<'a>, service: &'a Service) -> Result<Scene<'a>> {
        let sensor = Sensor::start(net, &[addr().port()], "")?;
        Ok(Self { place, service, sensor, secrets: Vec::new(), sent: 0, events: 0 })
    }

    fn send(&mut self, client: &mut Client, request: &[u8]) -> Result<u16> {
        self.sent += 1;
        Ok(client.send(request)?.status)
    }

    /// Requests with nothing wrong about them: no event.
    fn good(&mut self, requests: &[(Vec<u8>, u16)]) -> Result<()> {
        let mut client = Client::connect(self.place, addr())?;
        for (request, status) in requests {
            ensure!(self.send(&mut client, request)? == *status, "{requests:?}");
        }
        drop(client);
        self.sensor.settled(self.sent)?;
        ensure!(self.sensor.events()?.len() == self.events, "{:?}", self.sensor.lines());
        Ok(())
    }

    /// A request that raises one event with these findings, and is answered so.
    fn bad(&mut self, request: &[u8], status: u16, expected: &[&str]) -> Result<Value> {
        let mut client = Client::connect(self.place, addr())?;
        ensure!(
            self.send(&mut client, request)? == status,
            "{expected:?} is not answered {status}"
        );
        let from = client.stream().local_addr()?;
        drop(client);
        self.sensor.settled(self.sent)?;
        let events = self.sensor.events()?;
        self.events += 1;
        ensure!(events.len() == self.events, "{expected:?}: {:?}", events.get(self.events - 1..));
        let event = events.last().context("no event")?.clone();
        let found = findings(&event);
        ensure!(found == sensor::with_answer(expected, status), "{expected:?}: {event}");
        let bypass = found.iter().any(|id| id == "bypass-confirmed");
        ensure!((event["outcome"] == "bypass") == bypass, "{event}");
        ensure!((event["outcome"] == "attempt") == (status == 401), "{event}");
        ensure!(event["response"]["status"] == status, "{event}");
        ensure!(event["client"]["port"] == from.port(), "{event}");
        ensure!(event["verdict"] == "alert", "{event}");
        self.holds_service(&event)?;
        Ok(event)
    }

    fn holds_service(&self, event: &Value) -> Result<()> {
        let pid = self.service.pid();
        let command = fs::read_to_string(format!("/proc/{pid}/comm"))?;
        let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
        let cgroup =
            cgroup.lines().find_map(|line| line.strip_prefix("0::")).context("no cgroup")?;
        let service = json!({
            "pid": pid,
            "command": command.trim_end(),
            "cgroup": cgroup,
            "listen": addr().to_string(),
        });
        ensure!(event["service"] == service, "{service}: {event}");
        Ok(())
    }

    /// Ends the sensor; holds everything that it said to the schema, and its counts to the sum.
    fn end(self) -> Result<()> {
        let status = self.sensor.status()?;
        assert_eq!(status["balance"]["requests"], self.sent, "{status:#}");
        assert_eq!(status["balance"]["seen"], self.sent, "{status:#}");
        sensor::check(&self.sensor.stop()?, &self.secrets)
    }
}

/// Forgeries of `claims`, by what is found about them.
fn forgeries(claims: &Value, good: &str) -> Vec<(String, &'static [&'static str])> {
    let key = b"a key of the attacker";
    let jwk = r#"{"alg":"HS256","typ":"JWT","jwk":{"kty":"oct","k":"YSBrZXk"}}"#;
    let twice = r#"{"alg":"HS256","alg":"none"}"#;
    let crit = r#"{"alg":"HS256","crit":["urn:example:unknown"],"urn:example:unknown":1}"#;
    let text = claims.to_string();
    let twice_claimed = text.replacen('{', r#"{"exp":99999999999,"#, 1);
    vec![
        (tokens::unsigned("none", claims), &["alg-none"]),
        (tokens::unsigned("None", claims), &["alg-none"]),
        (tokens::unsigned("nOnE", claims), &["alg-none"]),
        (tokens::sign(r#"{"alg":"NONE"}"#, &text, key), &["alg-none"]),
        (tokens::strip_signature(good), &["signature-empty"]),
        (tokens::sign(jwk, &text, key), &["header-embedded-key"]),
        (tokens::sign(twice, &text, key), &["alg-none", "token-duplicate-key"]),
        (tokens::sign(tokens::HS256_HEADER, &twice_claimed, key), &["token-duplicate-key"]),
        (tokens::sign(crit, &text, key), &["crit-unknown"]),
    ]
}

#[test]
fn nginx() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let net = Place::new()?;
    net.services(|place| {
        let Some(service) = installed(nginx::start(place, addr())) else { return Ok(()) };
        let mut scene = Scene::new(&net, place, &service)?;
        let claims = json!({"sub": "ann", "exp": tokens::seconds_from_now(600)});
        let good = tokens::hs256(&claims, b"key");
        scene.secrets.push(good.clone());
        // The very first request is a bad one: its event names the service all the same.
        let first = tokens::unsigned("none", &claims);
        scene.bad(&get("/", &first), 200, &["alg-none"])?;
        let wanted = [("/", 200), ("/empty", 204), ("/missing", 404), ("/files/big", 200)];
        scene.good(&wanted.map(|(target, status)| (get(target, &good), status)))?;

        for (forged, expected) in forgeries(&claims, &good) {
            let event = scene.bad(&get("/", &forged), 200, expected)?;
            assert_eq!(event["tokens"][0]["location"], "authorization", "{event}");
            let cookie = request("GET", "/", &[("Cookie", &format!("a=b; session={forged}"))], b"");
            let event = scene.bad(&cookie, 200, expected)?;
            assert!(event["tokens"][0]["location"].as_str().unwrap().contains("cookie"), "{event}");
            let query = request("GET", &format!("/?access_token={forged}&x=1"), &[], b"");
            let mut with_query = [expected, &["token-in-query"]].concat();
            with_query.sort_unstable();
            scene.bad(&query, 200, &with_query)?;
            scene.secrets.push(forged);
        }
        scene.end()
    })
}

/// Keys are learned of what nginx serves within the budget, and a weak secret is found beside the
/// reading.
#[test]
fn nginx_serves_keys_and_takes_tokens_with_a_weak_secret() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let net = Place::new()?;
    let dir = tempfile::tempdir()?;
    let list = dir.path().join("list");
    fs::write(&list, "password\nchangeme\n")?;
    net.services(|place| {
        let Some(service) = installed(nginx::start(place, addr())) else { return Ok(()) };
        let extra = format!("[tokens]\nweak_secrets_file = \"{}\"", list.display());
        let sensor = Sensor::start(&net, &[addr().port()], &extra)?;
        let folder = service.dir().join(".well-known");
        fs::create_dir(&folder)?;
        let mut client = Client::connect(place, addr())?;
        let mut serve = |x: &str, pad: usize| -> Result<()> {
            let key = json!({"kty": "OKP", "crv": "Ed25519", "kid": "1", "x": x});
            let set = json!({"keys": [key], "pad": "x".repeat(pad)}).to_string();
            fs::write(folder.join("jwks.json"), set)?;
            let answer = client.send(&request("GET", "/.well-known/jwks.json", &[], b""))?;
            ensure!(answer.status == 200, "{answer:?}");
            Ok(())
        };
        let counted = |what: &str, counts: [u64; 3]| {
            sensor.wait_for_status(what, |status| {
                let sets = &status["pipeline"]["key_sets"];
                [&sets["learned"], &sets["changed"], &sets["incomplete"]] == counts
            })
        };
        serve("iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w", 0)?;
        counted("a learned key", [1, 0, 0])?;
        // More than the kernel copies of a key set: half a one teaches nothing.
        serve("gTl3Dqh9F19Wo1Rmw0x-zMuNipG07jeiXfYPW4_Js5Q", 70_000)?;
        counted("a cut set", [1, 0, 1])?;
        serve("gTl3Dqh9F19Wo1Rmw0x-zMuNipG07jeiXfYPW4_Js5Q", 0)?;
        counted("a changed key", [1, 1, 1])?;
        let event = sensor.wait_for("the changed key", |event| event["kind"] == "key")?;
        ensure!(findings(&event) == ["learned-key-changed"], "{event}");
        ensure!(event["issuer"] == "service.test" && event["service"]["pid"] == service.pid());

        let claims = json!({"sub": "ann", "exp": tokens::seconds_from_now(600)});
        let weak = tokens::hs256(&claims, b"changeme");
        ensure!(client.send(&get("/", &weak))?.status == 200);
        let found = |event: &Value| event["findings"][0]["id"] == "weak-secret";
        let event = sensor.wait_for("the weak secret", found)?;
        ensure!(event["alg"] == "HS256" && event["service"]["pid"] == service.pid(), "{event}");
        let lines = sensor.stop()?;
        ensure!(lines.iter().all(|line| !line.contains("changeme")), "{lines:?}");
        sensor::check(&lines, &[weak])
    })
}

/// A set as issuers in common use have it: four RSA keys with their certificates, about 10 KB.
fn long_set(first: u8) -> Value {
    let keys: Vec<Value> = (first..first + 4)
        .map(|n| {
            // Any odd number of 2048 bits is a modulus to who only reads it.
            let mut modulus = tokens::sha256(&[n]).repeat(8);
            (modulus[0], modulus[255]) = (0x80 | modulus[0], 1 | modulus[255]);
            let n_text = tokens::base64url(modulus);
            let chain = "MIIC".repeat(400);
            json!({"kty": "RSA", "kid": format!("rsa-{n}"), "alg": "RS256", "use": "sig",
                   "n": n_text, "e": "AQAB", "x5c": [chain]})
        })
        .collect();
    json!({ "keys": keys })
}

#[test]
fn nginx_serves_long_and_compressed_key_sets() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let net = Place::new()?;
    net.services(|place| {
        let Some(service) = installed(nginx::start(place, addr())) else { return Ok(()) };
        let sensor = Sensor::start(&net, &[addr().port()], "")?;
        let mut client = Client::connect(place, addr())?;
        let (known, other) = (service.dir().join(".well-known"), service.dir().join("protocol"));
        fs::create_dir(&known)?;
        fs::create_dir(&other)?;
        let mut fetch = |target: &str, fields: &[(&str, &str)], packed: bool| -> Result<()> {
            let answer = client.send(&request("GET", target, fields, b""))?;
            let plain = answer.body.starts_with(b"{");
            ensure!(answer.status == 200 && plain != packed, "{target}: {answer:?}");
            Ok(())
        };
        let learned = |what: &str, keys: u64, incomplete: u64| {
            sensor.wait_for_status(what, |status| {
                let sets = &status["pipeline"]["key_sets"];
                sets["learned"] == keys && sets["incomplete"] == incomplete
            })
        };
        const GZIP: (&str, &str) = ("Accept-Encoding", "gzip");

        // Where every issuer may have its set the first answer is copied whole.
        fs::write(known.join("jwks.json"), long_set(0).to_string())?;
        fetch("/.well-known/jwks.json", &[], false)?;
        learned("four RSA keys", 4, 0)?;
        fs::write(known.join("jwks.json"), long_set(4).to_string())?;
        fetch("/.well-known/jwks.json", &[GZIP], true)?;
        learned("four packed RSA keys", 8, 0)?;

        // Elsewhere, once its discovery document was seen.
        let discovery = json!({"issuer": "http://service.test",
            "jwks_uri": "http://service.test/protocol/openid-connect/certs",
            "pad": "x".repeat(6_000)});
        fs::write(known.join("openid-configuration"), discovery.to_string())?;
        fs::create_dir(other.join("openid-connect"))?;
        fs::write(other.join("openid-connect/certs"), long_set(8).to_string())?;
        fetch("/.well-known/openid-configuration", &[GZIP], true)?;
        // The kernel knows the target when the daemon has read the document.
        let mut tries = 0;
        loop {
            tries += 1;
            fetch("/protocol/openid-connect/certs", &[GZIP], true)?;
            if learned("four keys of another place", 12, 0).is_ok() {
                break;
            }
            ensure!(tries < 2, "not learned by the second serve");
        }

        // A place that nothing announces: the first answer shows it, the second is whole.
        fs::create_dir_all(other.join("a/.well-known"))?;
        fs::write(other.join("a/.well-known/jwks.json"), long_set(12).to_string())?;
        fetch("/protocol/a/.well-known/jwks.json", &[], false)?;
        learned("a cut set", 12, 1)?;
        fetch("/protocol/a/.well-known/jwks.json", &[], false)?;
        learned("four keys by the second answer", 16, 1)?;
        let lines = sensor.stop()?;
        sensor::check(&lines, &[])
    })
}

#[test]
fn an_alert_reaches_rsyslog() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let net = Place::new()?;
    let dir = tempfile::tempdir()?;
    // On the host's side: the sensor is not in the namespace.
    let udp = UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
    let receiver = Rsyslog::start(dir.path(), udp)?;
    net.services(|place| {
        let Some(service) = installed(nginx::start(place, addr())) else { return Ok(()) };
        let syslog = format!(
            "[[sinks.syslog]]\naddress = \"{}/log\"\n[[sinks.syslog]]\naddress = \"udp://{udp}\"",
            dir.path().display()
        );
        let sensor = Sensor::start(&net, &[addr().port()], &syslog)?;
        let forged = tokens::unsigned("none", &json!({"sub": "somebody-or-other"}));
        assert_eq!(Client::connect(place, addr())?.send(&get("/empty", &forged))?.status, 204);
        let shown = sensor.wait_for("the alert", |event| event["kind"] == "request")?;
        let lines = sensor.stop()?;
        sensor::check(&lines, &[forged])?;
        let end = Instant::now() + sensor::DEADLINE;
        // Start, alert and stop, by both ways.
        while receiver.lines().len() < 6 {
            ensure!(Instant::now() < end, "{:?}", receiver.lines());
            thread::sleep(Duration::from_millis(5));
        }
        for input in ["imuxsock", "imudp"] {
            let received = receiver.lines();
            let alert = received
                .iter()
                .map(|line| line.split('\t').collect::<Vec<_>>())
                .find(|fields| fields[0] == input && fields[6] == "request")
                .context("no alert")?;
            // authpriv (10) and critical (2).
            assert_eq!((alert[1], alert[4]), ("82", "jotwatch"));
            assert_eq!(serde_json::from_str::<Value>(alert[8])?, shown);
            assert_eq!(shown["service"]["pid"], service.pid());
        }
        Ok(())
    })
}

#[test]
fn influxdb() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let net = Place::new()?;
    net.services(|place| {
        let Some(service) = installed(influxdb::start(place, addr())) else { return Ok(()) };
        let mut scene = Scene::new(&net, place, &service)?;
        let good = influxdb::token();
        let ask = |token: &str| influxdb::query("SHOW DATABASES", Some(token));
        let bearer = format!("Bearer {good}");
        let write = request("POST", "/write?db=db", &[("Authorization", &bearer)], b"cpu v=1");
        scene.good(&[
            (influxdb::query("CREATE DATABASE db", Some(&good)), 200),
            (write, 204),
            (ask(&good), 200),
        ])?;
        for (forged, expected) in forgeries(&influxdb::claims(600), &good) {
            scene.bad(&ask(&forged), 401, expected)?;
            scene.secrets.push(forged);
        }
        scene.secrets.push(good);
        scene.end()
    })
}

#[test]
fn express() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let net = Place::new()?;
    net.services(|place| {
        let Some(service) = installed(express::start(place, addr())) else { return Ok(()) };
        let mut scene = Scene::new(&net, place, &service)?;
        let good = express::token(place, addr())?;
        scene.sent += 1;
        scene.good(&[(get("/orders", &good), 200), (get("/weak/orders", &good), 200)])?;
        for (forged, expected) in forgeries(&express::claims(600), &good) {
            scene.bad(&get("/orders", &forged), 401, expected)?;
            // The bypass: a forged token and a 200.
            scene.bad(&get("/weak/orders", &forged), 200, expected)?;
            scene.secrets.push(forged);
        }
        scene.secrets.push(good);
        scene.end()
    })
}

#[test]
fn gns3() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let net = Place::new()?;
    net.services(|place| {
        let Some(service) = installed(gns3::start(place, addr())) else { return Ok(()) };
        let good = gns3::token(place, addr())?;
        // It talks to itself at first, on the same port.
        let end = Instant::now() + sensor::DEADLINE;
        while !fs::read_to_string(service.dir().join("log"))?.contains("Connected to compute") {
            ensure!(Instant::now() < end, "{}", service.log_tail());
            thread::sleep(Duration::from_millis(20));
        }
        let mut scene = Scene::new(&net, place, &service)?;
        let targets = ["access/users/me", "projects", "templates", "computes", "access/roles"];
        let bearer = format!("Bearer {good}");
        let fields = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        let mut requests: Vec<_> =
            targets.iter().map(|target| (get(&format!("/v3/{target}"), &good), 200)).collect();
        let project = br#"{"name": "watched"}"#;
        requests.push((request("POST", "/v3/projects", &fields, project), 201));
        scene.good(&requests)?;
        for (forged, expected) in forgeries(&gns3::claims(600), &good) {
            scene.bad(&get("/v3/access/users/me", &forged), 401, expected)?;
            scene.secrets.push(forged);
        }
        scene.secrets.push(good);
        scene.end()
    })
}
