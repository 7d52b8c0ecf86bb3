//! Two services that ask the sensor for a score of every request (docs/rest.md), and answer 403 where
//! it is suspicious: express, and FastAPI on uvicorn.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use super::{NotInstalled, Place, Service, Stop, program, service_dir, services_dir};

/// The signing key of the tokens that both take.
pub const SECRET: &str = "rest-test-secret-0123456789abcdef";

/// How to reach the sensor.
#[derive(Clone, Copy, Debug)]
pub struct Scores<'a> {
    /// Its unix socket.
    pub socket: &'a Path,
    /// The file of the key.
    pub key: &'a Path,
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("services/rest").join(name)
}

fn start(
    mut command: Command,
    name: &str,
    place: &Place<'_>,
    addr: SocketAddr,
    scores: Scores<'_>,
) -> Result<Service> {
    let dir = service_dir(name)?;
    command.args([addr.ip().to_string(), addr.port().to_string()]);
    command.env("JWT_SECRET", SECRET).env("HOME", dir.path());
    command.env("JOTWATCH_SOCKET", scores.socket).env("JOTWATCH_KEY", scores.key);
    Service::start(command, dir, addr, place, Stop::Kill)
}

/// Starts the service of express.
///
/// # Errors
/// [`NotInstalled`], or that it does not come up.
pub fn express(place: &Place<'_>, addr: SocketAddr, scores: Scores<'_>) -> Result<Service> {
    let node = program("node/bin/node", "node")?;
    let modules = services_dir().join("node/node_modules");
    if !modules.join("express").is_dir() {
        return Err(NotInstalled { program: "express".to_owned() }.into());
    }
    let mut command = Command::new(node);
    command.arg(file("server.js")).env("NODE_PATH", modules);
    start(command, "rest-express", place, addr, scores)
}

/// Starts the service of FastAPI, with the modules that gns3-server brings.
///
/// # Errors
/// [`NotInstalled`], or that it does not come up.
pub fn fastapi(place: &Place<'_>, addr: SocketAddr, scores: Scores<'_>) -> Result<Service> {
    let python = services_dir().join("gns3/bin/python");
    if !python.is_file() {
        return Err(NotInstalled { program: "fastapi".to_owned() }.into());
    }
    let mut command = Command::new(python);
    // No __pycache__ beside the sources.
    command.arg("-B").arg(file("server.py"));
    start(command, "rest-fastapi", place, addr, scores)
}
