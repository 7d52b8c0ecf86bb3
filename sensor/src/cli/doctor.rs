use std::io::{self, Write};

use crate::{
    capture::live::{MINIMUM_KERNEL, probe},
    enforce,
};

/// Say what this host can do for the sensor, and what to do about what it can't.
///
/// The exit code is 1 where live capture would not start.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sudo jotwatch doctor")]
pub(super) struct Arguments {}

/// One line of the report.
enum Check {
    /// As it should be.
    Good(String),
    /// The sensor works with less; the second text says what to do.
    Limited(String, String),
    /// Live capture can't start; the second text says what to do.
    Bad(String, String),
}

pub(super) fn run(_: &Arguments) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let mut bad = 0;
    for (name, check) in checks() {
        match check {
            Check::Good(what) => writeln!(out, "good     {name:<14} {what}")?,
            Check::Limited(what, remedy) => {
                writeln!(out, "limited  {name:<14} {what}\n         {:<14} -> {remedy}", "")?;
            }
            Check::Bad(what, remedy) => {
                bad += 1;
                writeln!(out, "bad      {name:<14} {what}\n         {:<14} -> {remedy}", "")?;
            }
        }
    }
    show_listeners(&mut out)?;
    out.flush()?;
    anyhow::ensure!(
        bad == 0,
        "live capture can't start on this host as it is: {bad} checks are bad"
    );
    Ok(())
}

fn checks() -> Vec<(&'static str, Check)> {
    let mut checks = vec![
        ("kernel", kernel()),
        ("BTF", btf()),
        ("cgroup v2", cgroup()),
        ("capabilities", capabilities()),
    ];
    checks.push(("reset", reset()));
    checks.push(("guard", guard()));
    match probe::programs() {
        Ok(programs) => {
            checks.push(("ring buffer", Check::Good("can be made".into())));
            for (name, result) in programs {
                checks.push((
                    name,
                    match result {
                        Ok(()) => Check::Good("loads".into()),
                        Err(error) if name == probe::STATE => Check::Limited(
                            error.to_string(),
                            "ends of connections are noticed by FIN, RST and silence only".into(),
                        ),
                        Err(error) => Check::Bad(
                            error.to_string(),
                            "run as root; on a kernel of a vendor, look whether eBPF is restricted"
                                .into(),
                        ),
                    },
                ));
            }
        }
        Err(error) => checks.push((
            "ring buffer",
            Check::Bad(
                error.to_string(),
                "run as root, with CAP_BPF, and on Linux 5.8 or later".into(),
            ),
        )),
    }
    checks
}

fn kernel() -> Check {
    let release = probe::kernel_release();
    let mut numbers = release.split(['.', '-', '+']).map(|part| part.parse().unwrap_or(0_u8));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let (major, minor) = MINIMUM_KERNEL;
    if version >= MINIMUM_KERNEL {
        Check::Good(format!("Linux {release}"))
    } else {
        Check::Bad(
            format!("Linux {release} is older than {major}.{minor}"),
            format!("boot Linux {major}.{minor} or later; `jotwatch replay` works on any"),
        )
    }
}

fn btf() -> Check {
    match (probe::btf_present(), probe::socket_offsets()) {
        (true, Some(_)) => Check::Good("the kernel publishes its types".into()),
        (present, _) => Check::Limited(
            if present { "a socket's members are not described" } else { "not published" }.into(),
            "connections are noticed by their first byte, and their ends by FIN, RST and silence \
             only; a kernel with CONFIG_DEBUG_INFO_BTF tells them at once"
                .into(),
        ),
    }
}

fn cgroup() -> Check {
    match probe::cgroup_mount() {
        Some(path) => Check::Good(format!("mounted at {}", path.display())),
        None => Check::Bad(
            "not mounted".into(),
            "mount -t cgroup2 none /sys/fs/cgroup (systemd: systemd.unified_cgroup_hierarchy=1)"
                .into(),
        ),
    }
}

fn capabilities() -> Check {
    let own = probe::Capabilities::current();
    if own.can_capture() {
        Check::Good("enough to load and attach".into())
    } else {
        Check::Bad(
            format!("{} missing", own.missing().join(", ")),
            "run as root, or grant them (systemd: AmbientCapabilities=)".into(),
        )
    }
}

fn reset() -> Check {
    match enforce::probe_reset() {
        Ok(()) => Check::Good("connections can be cut (SOCK_DESTROY)".into()),
        Err(error) => Check::Limited(
            format!("connections can't be cut: {error}"),
            "modes kill, hold and gate want CAP_NET_ADMIN and a kernel with \
             CONFIG_INET_DIAG_DESTROY; alert works without"
                .into(),
        ),
    }
}

fn guard() -> Check {
    match enforce::guard::try_load() {
        Ok(()) => Check::Good("denylists, hold and gate work in the kernel".into()),
        Err(error) => Check::Limited(
            error.to_string(),
            "mode kill cuts connections without, and denies nothing in the kernel; hold and gate \
             want root and Linux 5.17"
                .into(),
        ),
    }
}

fn show_listeners(out: &mut impl Write) -> io::Result<()> {
    let listeners = match probe::listening() {
        Ok(listeners) => listeners,
        Err(error) => return writeln!(out, "\nlistening sockets can't be read: {error}"),
    };
    writeln!(out, "\nservices that could be watched (jotwatch run --port N)")?;
    if listeners.is_empty() {
        writeln!(out, "  none is listening")?;
    }
    for listener in listeners {
        let process = match (listener.pid, &listener.command) {
            (Some(pid), Some(command)) => format!("{command} ({pid})"),
            _ => "process not visible to this user".into(),
        };
        write!(out, "  {:<28} {process:<28}", listener.address.to_string())?;
        if listener.tls.is_empty() {
            writeln!(out)?;
        } else {
            writeln!(
                out,
                " maps {}: what it serves over TLS can't be read",
                listener.tls.join(", ")
            )?;
        }
    }
    writeln!(
        out,
        "  TLS that is linked into a program (Go, rustls) does not show here; `jotwatch run` says\n  \
         so when a watched port turns out to speak TLS."
    )
}
