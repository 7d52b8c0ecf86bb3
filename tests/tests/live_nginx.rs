//! Modes `hold` and `gate` before a real nginx with real clients: keep-alive, pipelining, TLS beside
//! plain, both families, many at once.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::Output,
    thread,
};

use anyhow::{Context as _, Result, ensure};
use jotwatch_tests::{
    net::{Place, privileged},
    sensor::Sensor,
    services::{
        self,
        http::{Client, get},
        nginx,
    },
    stand::{PORT, addr, end, forged, good},
    tokens,
};
use serde_json::json;

const TLS: u16 = 8443;

fn addresses() -> [SocketAddr; 2] {
    [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()]
        .map(|ip| SocketAddr::new(ip, PORT))
}

/// Reads to the RST; gives what came before it.
fn until_reset(client: &Client) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match client.stream().read_to_end(&mut bytes) {
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(bytes),
        other => anyhow::bail!("not reset: {other:?} after {bytes:?}"),
    }
}

fn curl(net: &Place, token: &str, urls: &[&str]) -> Result<Output> {
    let mut curl = net.outside("curl");
    curl.args(["-sS", "-k", "-m", "20", "-o", "/dev/null", "-w", "%{http_code}:%{num_connects} "]);
    curl.arg("-H").arg(format!("Authorization: Bearer {token}"));
    for url in urls {
        curl.args(["-o", "/dev/null"]).arg(url);
    }
    Ok(curl.output()?)
}

fn serves(mode: &str) -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let net = Place::new()?;
    net.services(|place| {
        let Some(service) = services::installed(nginx::start_guarded(place, addr(), TLS)) else {
            return Ok(());
        };
        let config = format!("[enforcement]\nmode = \"{mode}\"\n");
        let sensor = Sensor::start(&net, &[PORT, TLS], &config)?;
        for to in addresses() {
            let mut client = Client::connect(place, to)?;
            for _ in 0..5 {
                ensure!(client.send(&get("/", &good()))?.status == 200, "keep-alive, {to}");
            }
            client.write(&[get("/a", &good()), get("/b", &good()), get("/c", &good())].concat())?;
            for _ in 0..3 {
                ensure!(client.read_response()?.status == 200, "pipelined, {to}");
            }
            // Behind a good one, on its heels: the good one's answer may come.
            client.write(&[get("/", &good()), get("/admin", &forged(1))].concat())?;
            let came = until_reset(&client)?;
            let answers = came.windows(9).filter(|w| w == b"HTTP/1.1 ").count();
            ensure!(answers <= 1, "{mode}: {answers} answers, {to}");
            // And alone.
            let mut client = Client::connect(place, to)?;
            client.write(&get("/", &forged(2)))?;
            ensure!(until_reset(&client)?.is_empty(), "{mode}: an answer left, {to}");
        }
        crowd(place)?;

        let plain = [format!("http://127.0.0.1:{PORT}/"), format!("http://[::1]:{PORT}/")];
        let secure = format!("https://127.0.0.1:{TLS}/");
        let (v4, v6) = (plain[0].as_str(), plain[1].as_str());
        let said = |out: &Output| String::from_utf8_lossy(&out.stdout).into_owned();
        let out = curl(&net, &good(), &[v4, v4, v6, v6, &secure, &secure])?;
        ensure!(said(&out) == "200:1 200:0 200:1 200:0 200:1 200:0 ", "{out:?}");
        // What TLS hides is not ours to judge.
        let out = curl(&net, &forged(3), &[&secure])?;
        ensure!(said(&out) == "200:1 ", "{out:?}");
        for url in [v4, v6] {
            let out = curl(&net, &forged(4), &[url])?;
            ensure!(!out.status.success() && said(&out) == "000:1 ", "{url}: {out:?}");
        }
        if mode == "gate" {
            let served = fs::read_to_string(service.dir().join(nginx::SERVED))?;
            let header = forged(0).split('.').next().context("no header")?.to_owned();
            let forged_served = served.lines().filter(|line| line.contains(&header)).count();
            ensure!(forged_served == 1, "{forged_served} instead of the one behind TLS");
        }
        end(sensor)
    })
}

/// Several clients of both kinds at once.
fn crowd(place: &services::Place<'_>) -> Result<()> {
    let mut clients = Vec::new();
    for n in 0..24 {
        clients.push((n, Client::connect(place, addresses()[n % 2])?));
    }
    thread::scope(|scope| {
        let threads: Vec<_> = clients
            .into_iter()
            .map(|(n, mut client)| {
                scope.spawn(move || -> Result<()> {
                    if n % 3 == 0 {
                        client.stream().write_all(&get("/", &forged(100 + n)))?;
                        ensure!(until_reset(&client)?.is_empty(), "client {n} got an answer");
                        return Ok(());
                    }
                    let claims = json!({"sub": format!("user-{n}")});
                    let token = tokens::hs256(&claims, b"a secret of nobody");
                    for _ in 0..20 {
                        ensure!(client.send(&get("/", &token))?.status == 200, "client {n}");
                    }
                    Ok(())
                })
            })
            .collect();
        for thread in threads {
            thread.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
        }
        Ok(())
    })
}

#[test]
fn nginx_is_held() -> Result<()> {
    serves("hold")
}

#[test]
fn nginx_is_gated() -> Result<()> {
    serves("gate")
}
