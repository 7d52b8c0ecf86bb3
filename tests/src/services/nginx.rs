//! nginx: static answers and a large file by sendfile, as a master with one worker; and one with two
//! workers, IPv6 and TLS, which logs whose requests it served.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Result, ensure};
use tempfile::TempDir;

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
    serve(&nginx, dir, &config, addr, place)
}

/// The `Authorization` of each request that the nginx of [`start_guarded`] served, a line each, in
/// its folder.
pub const SERVED: &str = "access.log";

/// Starts nginx with two workers on both loopback addresses of the port, and with TLS (a certificate
/// of its own) on the port `tls`. It answers everything with 200 and a short text.
///
/// # Errors
/// [`super::NotInstalled`], openssl makes no certificate, or that it does not come up.
pub fn start_guarded(place: &Place<'_>, addr: SocketAddr, tls: u16) -> Result<Service> {
    let nginx = program("nginx/usr/sbin/nginx", "nginx")?;
    let dir = service_dir("nginx")?;
    let mut openssl = Command::new(program("openssl", "openssl")?);
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    openssl.args(["-nodes", "-subj", "/CN=localhost", "-days", "2"]);
    openssl.arg("-keyout").arg(dir.path().join("key.pem"));
    openssl.arg("-out").arg(dir.path().join("cert.pem"));
    let made = openssl.stdin(Stdio::null()).stderr(Stdio::null()).status()?;
    ensure!(made.success(), "openssl made no certificate: {made}");
    let config = include_str!("../../services/nginx-guarded.conf");
    let config = config.replace("@TLS@", &tls.to_string());
    let config = configure(dir.path(), "nginx.conf", &config, addr, "")?;
    serve(&nginx, dir, &config, addr, place)
}

fn serve(
    nginx: &Path,
    dir: TempDir,
    config: &Path,
    addr: SocketAddr,
    place: &Place<'_>,
) -> Result<Service> {
    let mut command = Command::new(nginx);
    // `-e`: without it nginx opens the log of its built-in prefix before it reads the file.
    command.arg("-e").arg("stderr").arg("-p").arg(dir.path()).arg("-c").arg(config);
    Service::start(command, dir, addr, place, Stop::Ask)
}
