//! InfluxDB 1.x with authentication on: HS256 tokens with `username` and `exp`, signed with
//! a secret that the server and its clients share.

use std::{net::SocketAddr, process::Command};

use anyhow::{Result, ensure};
use serde_json::json;

use super::{
    Place, Service, Stop, configure,
    http::{Client, request},
    program, service_dir,
};
use crate::tokens;

/// The shared secret.
pub const SECRET: &str = "influxdb-test-shared-secret";
/// The one user, an administrator.
pub const USER: &str = "admin";

/// Starts InfluxDB and creates [`USER`].
///
/// # Errors
/// [`super::NotInstalled`], or that it does not come up.
pub fn start(place: &Place<'_>, addr: SocketAddr) -> Result<Service> {
    let influxd = program("influxdb/usr/bin/influxd", "influxd")?;
    let dir = service_dir("influxdb")?;
    let config = include_str!("../../services/influxdb.conf");
    let config = configure(dir.path(), "influxdb.conf", config, addr, SECRET)?;
    let mut command = Command::new(influxd);
    command.arg("-config").arg(config).env("HOME", dir.path());
    let service = Service::start(command, dir, addr, place, Stop::Kill)?;
    // Until there is a user, this one statement is let in without a token.
    let create = format!("CREATE USER {USER} WITH PASSWORD 'test' WITH ALL PRIVILEGES");
    let answer = Client::connect(place, addr)?.send(&query(&create, None))?;
    ensure!(answer.status == 200, "cannot create the user: {}", answer.status);
    Ok(service)
}

/// A token that InfluxDB accepts for an hour.
#[must_use]
pub fn token() -> String {
    tokens::hs256(&claims(3_600), SECRET.as_bytes())
}

/// The claims of [`USER`], expiring in `seconds` from now.
#[must_use]
pub fn claims(seconds: i64) -> serde_json::Value {
    json!({"username": USER, "exp": tokens::seconds_from_now(seconds)})
}

/// The bytes of a query request.
#[must_use]
pub fn query(statement: &str, token: Option<&str>) -> Vec<u8> {
    let mut form = String::from("q=");
    for byte in statement.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => form.push(byte.into()),
            _ => form.push_str(&format!("%{byte:02X}")),
        }
    }
    let bearer = token.map(|token| format!("Bearer {token}"));
    let mut fields = vec![("Content-Type", "application/x-www-form-urlencoded")];
    fields.extend(bearer.as_deref().map(|value| ("Authorization", value)));
    request("POST", "/query", &fields, form.as_bytes())
}
