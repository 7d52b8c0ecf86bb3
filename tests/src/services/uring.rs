//! A server whose accepts, reads and writes all go through io_uring, so that none of its
//! traffic is seen by a sensor that watches system calls.
//!
//! It is a binary of this package (`src/bin/uring-http.rs`) for want of a packaged service
//! that does the same: Node's `UV_USE_IO_URING=1` covers files only, its sockets stay with
//! `read` and `writev`.

use std::{net::SocketAddr, path::Path, process::Command};

use anyhow::{Context as _, Result};
use rustix::io::Errno;

use super::{Place, Service, Stop, service_dir};

/// Starts the server `program` (`env!("CARGO_BIN_EXE_uring-http")` in a test). It answers
/// every request without content with 200 and `hello`, also pipelined ones.
///
/// # Errors
/// That it does not come up; see [`permitted`] for the usual cause.
pub fn start(program: &Path, place: &Place<'_>, addr: SocketAddr) -> Result<Service> {
    let dir = service_dir("uring")?;
    let mut command = Command::new(program);
    command.arg(addr.to_string());
    Service::start(command, dir, addr, place, Stop::Kill)
}

/// Whether this process may use io_uring. Some kernels are built without it, and
/// `kernel.io_uring_disabled` or a seccomp filter can forbid it.
///
/// # Errors
/// The refusal, with the sysctl's name.
pub fn permitted() -> Result<()> {
    match io_uring::IoUring::new(2) {
        Ok(_) => Ok(()),
        Err(error) => {
            let refused = error.raw_os_error() == Some(Errno::PERM.raw_os_error());
            let hint = if refused { " (sysctl kernel.io_uring_disabled, or seccomp)" } else { "" };
            Err(error).with_context(|| format!("io_uring is not to be had{hint}"))
        }
    }
}
