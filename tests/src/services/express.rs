//! A Node service: express, with tokens by jsonwebtoken. One route verifies them, one only
//! decodes them, which is the mistake that jsonwebtoken's manual warns of.

use std::{net::SocketAddr, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{
    NotInstalled, Place, Service, Stop,
    http::{Client, request},
    program, service_dir, services_dir,
};
use crate::tokens;

/// The signing key.
pub const SECRET: &str = "express-test-secret";
/// The user that `POST /login` knows; the password is the same word.
pub const USER: &str = "ann";

/// Starts the service: `POST /login` issues a token, `GET /orders` verifies it (200 or 401),
/// `GET /weak/orders` decodes it without verification (200 or, if it is no token, 400).
///
/// # Errors
/// [`NotInstalled`], or that it does not come up.
pub fn start(place: &Place<'_>, addr: SocketAddr) -> Result<Service> {
    let node = program("node/bin/node", "node")?;
    let modules = services_dir().join("node/node_modules");
    if !modules.join("express").is_dir() {
        return Err(NotInstalled { program: "express".to_owned() }.into());
    }
    let dir = service_dir("express")?;
    let mut command = Command::new(node);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("services/node/server.js"));
    command.args([addr.ip().to_string(), addr.port().to_string()]);
    command.env("NODE_PATH", modules).env("JWT_SECRET", SECRET).env("HOME", dir.path());
    Service::start(command, dir, addr, place, Stop::Kill)
}

/// Logs in as [`USER`] and gives the token that the service issued.
///
/// # Errors
/// If the login fails.
pub fn token(place: &Place<'_>, addr: SocketAddr) -> Result<String> {
    let body = json!({"user": USER, "password": USER}).to_string();
    let login = request("POST", "/login", &[("Content-Type", "application/json")], body.as_bytes());
    let answer = Client::connect(place, addr)?.send(&login)?;
    ensure!(answer.status == 200, "the login was answered {}", answer.status);
    let answer = answer.json()?;
    Ok(answer["token"].as_str().context("a login without a token")?.to_owned())
}

/// The claims of [`USER`], expiring in `seconds` from now.
#[must_use]
pub fn claims(seconds: i64) -> Value {
    json!({"sub": USER, "exp": tokens::seconds_from_now(seconds)})
}
