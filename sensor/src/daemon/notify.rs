//! What systemd is told of the daemon (sd_notify(3), `Type=notify`): one datagram of lines to the
//! socket that it names in the environment.

use std::{
    env,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

/// Tells systemd, or nobody where it did not start the daemon.
pub(super) struct Notifier {
    to: Option<(UnixDatagram, SocketAddr)>,
    /// How often it has to hear that the daemon lives.
    watchdog: Option<Duration>,
    told: Instant,
}

impl Notifier {
    /// As the environment has it.
    pub(super) fn from_env() -> Self {
        let to = env::var_os("NOTIFY_SOCKET").and_then(|name| {
            let address = match name.as_bytes() {
                [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
                _ => SocketAddr::from_pathname(&name),
            };
            let socket = UnixDatagram::unbound().and_then(|socket| {
                // A manager that does not read must not hold the reader up.
                socket.set_nonblocking(true)?;
                Ok(socket)
            });
            Some((socket.ok()?, address.ok()?))
        });
        let number = |name| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let own = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        // Twice within the time, as systemd advises.
        let half = |usec: u64| Duration::from_micros(usec / 2);
        let watchdog = number("WATCHDOG_USEC").filter(|&usec| own && usec > 0).map(half);
        Self { to, watchdog, told: Instant::now() }
    }

    /// The daemon watches, `what` says what.
    pub(super) fn ready(&mut self, what: &str) {
        self.send(&format!("READY=1\nSTATUS={what}\n"));
    }

    /// The configuration is being read again; [`Notifier::ready`] follows, whatever came of it.
    pub(super) fn reloading(&mut self) {
        let now = clock_gettime(ClockId::Monotonic);
        let usec = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={usec}\n"));
    }

    /// The daemon is about to end.
    pub(super) fn stopping(&mut self) {
        self.send("STOPPING=1\n");
    }

    /// The daemon lives: to be called from its main loop as often as that turns.
    pub(super) fn alive(&mut self) {
        if self.watchdog.is_some_and(|every| self.told.elapsed() >= every) {
            self.told = Instant::now();
            self.send("WATCHDOG=1\n");
        }
    }

    fn send(&self, lines: &str) {
        if let Some((socket, to)) = &self.to
            && let Err(error) = socket.send_to_addr(lines.as_bytes(), to)
        {
            tracing::debug!("systemd is not told: {error}");
        }
    }
}
