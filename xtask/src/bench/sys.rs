//! What the benchmarks ask of the system that the standard library does not offer.

use std::{
    fs, io, mem,
    os::fd::{FromRawFd as _, OwnedFd},
    process::{Child, Command, ExitStatus},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

/// A finished command.
pub(super) struct Finished {
    pub(super) status: ExitStatus,
    /// From its start to its end.
    pub(super) took: Duration,
    /// Processor time, its own and the kernel's for it.
    pub(super) cpu: Duration,
    /// The most memory that it had resident, in bytes. The kernel counts from `fork` on, so
    /// this is never below what the benchmark itself has.
    pub(super) peak: u64,
}

/// Runs a command to its end and measures it.
///
/// # Errors
/// If it cannot be started.
pub(super) fn measured(command: &mut Command) -> Result<Finished> {
    let start = Instant::now();
    let child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
    let (status, usage) = wait_with_usage(child)?;
    let peak = u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024;
    let cpu = duration(usage.ru_utime) + duration(usage.ru_stime);
    Ok(Finished { status, took: start.elapsed(), cpu, peak })
}

fn duration(time: libc::timeval) -> Duration {
    let part = |value: i64| u64::try_from(value).unwrap_or(0);
    Duration::from_secs(part(time.tv_sec)) + Duration::from_micros(part(time.tv_usec))
}

/// Takes the child by value, as its process id means nothing after this.
#[allow(clippy::needless_pass_by_value)]
fn wait_with_usage(child: Child) -> io::Result<(ExitStatus, libc::rusage)> {
    let mut status = 0;
    // SAFETY: all zeros is a value of this struct of integers.
    let mut usage: libc::rusage = unsafe { mem::zeroed() };
    loop {
        // SAFETY: both pointers are to live values of the right types.
        let waited =
            unsafe { libc::wait4(child.id().cast_signed(), &raw mut status, 0, &raw mut usage) };
        if waited > 0 {
            return Ok((std::os::unix::process::ExitStatusExt::from_raw(status), usage));
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// The CPUs that this thread may use.
///
/// # Errors
/// The system's.
pub(super) fn cpus() -> Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect())
}

/// Keeps this thread, and what it starts from now on, on these CPUs.
///
/// # Errors
/// The system's.
pub(super) fn stay_on(cpus: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(*cpu);
    }
    sched_setaffinity(None, &set).context("cannot choose the CPU")
}

/// Lets this process, and what it starts from now on, open so many files.
///
/// # Errors
/// If that is above the hard limit, and raising it takes root.
pub(super) fn allow_files(count: u64) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= count);
    if enough(limit.current) {
        return Ok(());
    }
    let maximum = if enough(limit.maximum) { limit.maximum } else { Some(count) };
    setrlimit(Resource::Nofile, Rlimit { current: Some(count), maximum })
        .with_context(|| format!("cannot have {count} open files"))
}

/// Makes the kernel measure its BPF programs for as long as the result is held. Unlike
/// `/proc/sys/kernel/bpf_stats_enabled` it needs no restoring, not even after a crash.
///
/// # Errors
/// The system's: it takes root, and Linux 5.8.
pub(super) fn measure_bpf() -> Result<OwnedFd> {
    /// `BPF_ENABLE_STATS` of `enum bpf_cmd` in linux/bpf.h.
    const BPF_ENABLE_STATS: libc::c_int = 32;
    // `union bpf_attr` with a `type` of BPF_STATS_RUN_TIME.
    let attributes: [u32; 1] = [0];
    // SAFETY: the pointer is to a live value of the size that is given.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_ENABLE_STATS,
            attributes.as_ptr(),
            size_of_val(&attributes),
        )
    };
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0);
    let fd = fd.ok_or_else(io::Error::last_os_error).context("cannot measure BPF programs")?;
    // SAFETY: the kernel has just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The machine in a few words: processor, memory, kernel, and how busy it is now.
pub(super) fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map_or("?", |(_, value)| value.trim()).to_owned()
    };
    let processor = field(&read("/proc/cpuinfo"), "model name");
    let memory = field(&read("/proc/meminfo"), "MemTotal");
    let memory: u64 = memory.trim_end_matches(" kB").parse().unwrap_or(0);
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    format!(
        "{cpus} × {processor}, {} GiB, Linux {}, load average {} at the start",
        memory.div_ceil(1 << 20),
        kernel.trim(),
        load.split(' ').next().unwrap_or("?"),
    )
}

#[cfg(test)]
mod tests {
    use std::{process::Command, time::Duration};

    use super::{cpus, machine, measured};

    #[test]
    fn a_command_is_measured() {
        let finished = measured(Command::new("sh").args(["-c", "sleep 0.05; exit 3"])).unwrap();
        assert_eq!(finished.status.code(), Some(3));
        assert!(finished.took >= Duration::from_millis(50));
        assert!(finished.cpu < finished.took && finished.peak > 100_000);
        assert!(!cpus().unwrap().is_empty());
        assert!(!machine().contains('?'), "{}", machine());
    }
}
