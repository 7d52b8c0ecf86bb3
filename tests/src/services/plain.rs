//! A small service on Python's own HTTP server, for the shapes that the packaged ones lack: chunks
//! both ways, `100 Continue`, a switch of protocols, a death in mid-answer.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{Place, Service, Stop, program, service_dir};

/// Starts it on every address and these ports; see `services/plain.py` for its paths.
///
/// # Errors
/// [`super::NotInstalled`], or that it does not come up.
pub fn start(place: &Place<'_>, ports: &[u16]) -> Result<Service> {
    let dir = service_dir("plain")?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("services/plain.py");
    let mut command = Command::new(program("python3", "python3")?);
    command.arg(script).args(ports.iter().map(u16::to_string));
    let first = *ports.first().context("no port to listen on")?;
    Service::start(command, dir, SocketAddr::from((Ipv4Addr::LOCALHOST, first)), place, Stop::Kill)
}
