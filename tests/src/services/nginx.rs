//! nginx: static answers and a large file by sendfile, as a master with one worker.

use std::{fs, net::SocketAddr, process::Command};

use anyhow::Result;

use super::{Place, Service, Stop, configure, program, service_dir};

/// The length of `/files/big` in bytes.
pub const BIG_FILE: usize = 8 << 20;

/// Starts nginx. It answers `/` with 200 and a short text, `/empty` with 204, `/files/big`
/// with [`BIG_FILE`] bytes by sendfile, `/.well-known/` and `/protocol/` with what the test puts in
/// these folders of [`Service::dir`], packed with gzip for who takes that, anything else with 404;
/// connections stay open.
///
/// # Errors
/// [`super::NotInstalled`], or that it does not come up.
pub fn start(place: &Place<'_>, addr: SocketAddr) -> Result<Service> {
    let nginx = program("nginx/usr/sbin/nginx", "nginx")?;
    let dir = service_dir("nginx")?;
    fs::create_dir(dir.path().join("files"))?;
    let pattern: Vec<u8> = (0..=250).cycle().take(BIG_FILE).collect();
    fs::write(dir.path().join("files/big"), pattern)?;
    let config = include_str!("../../services/nginx.conf");
    let config = configure(dir.path(), "nginx.conf", config, addr, "")?;
    let mut command = Command::new(nginx);
    // `-e`: without it nginx opens the log of its built-in prefix before it reads the file.
    command.arg("-e").arg("stderr").arg("-p").arg(dir.path()).arg("-c").arg(config);
    Service::start(command, dir, addr, place, Stop::Ask)
}
