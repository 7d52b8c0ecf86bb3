//! What a measuring program uses itself.

use std::{fs, io};

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of processor time that this thread has had.
#[must_use]
pub fn cpu_nanos() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(now.tv_sec * 1_000_000_000 + now.tv_nsec).unwrap_or_default()
}

/// Bytes that this process has resident (proc_pid_status(5), `VmRSS`).
///
/// # Errors
/// The system's, or it does not say.
pub fn resident() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.map(|kib| kib << 10).ok_or_else(|| io::Error::other("no VmRSS"))
}
