//! gns3-server, a Python service of some 150 operations (FastAPI on uvicorn): HS256 tokens
//! issued at login.
//!
//! It opens a WebSocket to itself on its own port as soon as it is up, so a sensor that
//! watches it sees an `Upgrade` without any client.

use std::{fs, net::SocketAddr, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{
    NotInstalled, Place, Service, Stop, configure,
    http::{Client, request},
    service_dir, services_dir,
};
use crate::tokens;

/// The signing key, which the server reads from a file in its `secrets_dir`.
pub const SECRET: &str = "gns3-test-secret-0123456789abcdef";
/// The user that is there from the start; the password is the same word.
pub const USER: &str = "admin";

/// Starts gns3-server; it is up after about four seconds.
///
/// # Errors
/// [`NotInstalled`], or that it does not come up.
pub fn start(place: &Place<'_>, addr: SocketAddr) -> Result<Service> {
    let python = services_dir().join("gns3/bin/python");
    if !python.is_file() {
        return Err(NotInstalled { program: "gns3-server".to_owned() }.into());
    }
    let dir = service_dir("gns3")?;
    let secrets = dir.path().join("secrets");
    fs::create_dir(&secrets)?;
    fs::write(secrets.join("gns3_jwt_secret_key"), SECRET)?;
    let config = include_str!("../../services/gns3/gns3_server.conf");
    let config = configure(dir.path(), "gns3_server.conf", config, addr, "")?;
    let mut command = Command::new(python);
    // No `--pid`: with it the server kills every dynamips, vpcs and ubridge on the machine.
    command.args(["-m", "gns3server.main", "--config"]).arg(config);
    command.args(["--host", &addr.ip().to_string(), "--port", &addr.port().to_string()]);
    command.env("HOME", dir.path()).env("LC_ALL", "C.UTF-8").current_dir(dir.path());
    Service::start(command, dir, addr, place, Stop::Kill)
}

/// Logs in as [`USER`] and gives the token that the server issued.
///
/// # Errors
/// If the login fails.
pub fn token(place: &Place<'_>, addr: SocketAddr) -> Result<String> {
    let form = format!("username={USER}&password={USER}");
    let login = request(
        "POST",
        "/v3/access/users/login",
        &[("Content-Type", "application/x-www-form-urlencoded")],
        form.as_bytes(),
    );
    let answer = Client::connect(place, addr)?.send(&login)?;
    ensure!(answer.status == 200, "the login was answered {}", answer.status);
    let answer = answer.json()?;
    Ok(answer["access_token"].as_str().context("a login without a token")?.to_owned())
}

/// The claims of [`USER`], expiring in `seconds` from now.
#[must_use]
pub fn claims(seconds: i64) -> Value {
    json!({"sub": USER, "exp": tokens::seconds_from_now(seconds)})
}
