//! The peers that stand in a request's way, or look on: each with a configuration of its own, each
//! tried before it is measured.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::super::{
    replay::first_line,
    stand::{Nginx, Stand, WATCHED, ask, listens},
    token::{KEY, token},
};
use crate::{ground::Running, setup};

const LOOPBACK: std::net::IpAddr = std::net::IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Where nginx with ModSecurity listens.
pub(super) const MODSECURITY: SocketAddr = SocketAddr::new(LOOPBACK, 8084);
/// Where HAProxy listens.
pub(super) const HAPROXY: SocketAddr = SocketAddr::new(LOOPBACK, 8085);
/// A query that every rule set against SQL injection knows.
const ATTACK: &str = "/?id=1%27%20UNION%20SELECT%20password%20FROM%20users--%20";
/// How long tcpdump may take to begin, or to end.
const TCPDUMP_LIMIT: Duration = Duration::from_secs(20);

/// nginx with ModSecurity and the Core Rule Set.
pub(super) struct ModSecurity {
    _nginx: Nginx,
    dir: TempDir,
}

impl ModSecurity {
    /// Starts it, and makes sure that it answers a good request and refuses an attack.
    pub(super) fn start(stand: &Stand) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("jotwatch-bench-").tempdir()?;
        fs::create_dir(dir.path().join("www"))?;
        fs::write(dir.path().join("www/index.html"), "hello\n")?;
        let crs = setup::services_dir().join("modsecurity-crs");
        let place = |text: &str| {
            text.replace("@DIR@", &dir.path().display().to_string())
                .replace("@CRS@", &crs.display().to_string())
                .replace("@MODULE@", &setup::modsecurity_module().display().to_string())
                .replace("@ADDR@", &MODSECURITY.to_string())
        };
        fs::write(dir.path().join("modsecurity.conf"), place(include_str!("modsecurity.conf")))?;
        let config = place(include_str!("modsecurity.nginx.conf"));
        let nginx = Nginx::start(stand.cgroup(), dir.path(), &config, MODSECURITY)?;
        let (good, bad) = (ask(MODSECURITY, "/", &token(0))?, ask(MODSECURITY, ATTACK, &token(0))?);
        ensure!(
            (good, bad) == (200, 403),
            "ModSecurity answers a good request with {good} and an attack with {bad}"
        );
        Ok(Self { _nginx: nginx, dir })
    }

    /// Its versions and the number of its rules, as it says them.
    pub(super) fn version(&self) -> Result<String> {
        let log = fs::read_to_string(self.dir.path().join("log"))?;
        let line = log.lines().find_map(|line| Some(line.split_once("ModSecurity-nginx ")?.1));
        let line = line.context("ModSecurity says nothing of itself")?;
        let rules =
            setup::services_dir().join("modsecurity-crs/etc/modsecurity/crs/crs-setup.conf");
        let rules = fs::read_to_string(rules)?;
        let crs = rules.lines().find_map(|line| Some(line.split_once(" ver.")?.1));
        Ok(format!("module {line}, CRS {}", crs.unwrap_or("of unknown version")))
    }
}

/// HAProxy that verifies tokens and hands their requests to the stand's nginx.
pub(super) struct HaProxy {
    _process: Running,
    _dir: TempDir,
}

impl HaProxy {
    /// Starts it, and makes sure that it lets a good token pass and refuses another one.
    pub(super) fn start(stand: &Stand) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("jotwatch-bench-").tempdir()?;
        let config = include_str!("haproxy.cfg")
            .replace("@ADDR@", &HAPROXY.to_string())
            .replace("@NGINX@", &WATCHED.to_string())
            .replace("@KEY@", std::str::from_utf8(KEY)?);
        let file = dir.path().join("haproxy.cfg");
        fs::write(&file, config)?;
        let mut command = stand.cgroup().command(&haproxy()?);
        // In the foreground, and quiet.
        command.args(["-db", "-q", "-f"]).arg(file);
        let process = Running(command.stdin(Stdio::null()).spawn()?);
        listens(HAPROXY).context("HAProxy does not listen")?;
        // Another's claims under a good signature.
        let [good, other] = [token(0), token(1)];
        let parts = good.rsplit_once('.').zip(other.rsplit_once('.'));
        let ((_, signature), (other, _)) = parts.context("no signature")?;
        let bad = ask(HAPROXY, "/", &format!("{other}.{signature}"))?;
        let good = ask(HAPROXY, "/", &good)?;
        ensure!(
            (good, bad) == (200, 401),
            "HAProxy answers a good token with {good} and a bad one with {bad}"
        );
        Ok(Self { _process: process, _dir: dir })
    }

    pub(super) fn version(&self) -> Result<String> {
        first_line(Command::new(haproxy()?).arg("-v"))
    }
}

fn haproxy() -> Result<PathBuf> {
    let unpacked = setup::services_dir().join("haproxy/usr/sbin/haproxy");
    let program = Some(unpacked).filter(|path| path.is_file()).or_else(|| setup::find("haproxy"));
    program.context("HAProxy is not installed")
}

/// tcpdump that writes whole packets of the watched port to a file.
pub(super) struct Tcpdump {
    process: Running,
    dir: TempDir,
}

/// What tcpdump says that became of packets.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Packets {
    pub(super) captured: u64,
    pub(super) dropped: u64,
}

impl Tcpdump {
    /// Starts it, and waits until it listens.
    pub(super) fn start() -> Result<Self> {
        // Beside other builds: its file is large, and /tmp may be in memory.
        let dir = setup::target_dir().join("bench");
        fs::create_dir_all(&dir)?;
        let dir = tempfile::Builder::new().prefix("tcpdump-").tempdir_in(dir)?;
        let mut command = Command::new(setup::find("tcpdump").context("no tcpdump")?);
        command.args(["-i", "lo", "-n", "-s", "0", "-Z", "root", "-w"]);
        command.arg(dir.path().join("pcap")).args(["tcp", "port", &WATCHED.port().to_string()]);
        command.stdin(Stdio::null()).stderr(File::create(dir.path().join("log"))?);
        let process = Running(command.spawn()?);
        let tcpdump = Self { process, dir };
        let deadline = Instant::now() + TCPDUMP_LIMIT;
        while !tcpdump.log()?.contains("listening on") {
            ensure!(Instant::now() < deadline, "tcpdump says: {}", tcpdump.log()?);
            thread::sleep(Duration::from_millis(20));
        }
        Ok(tcpdump)
    }

    /// Ends it.
    pub(super) fn stop(mut self) -> Result<Packets> {
        kill_process(Pid::from_child(&self.process.0), Signal::INT)?;
        let status = self.process.0.wait()?;
        let log = self.log()?;
        ensure!(status.success(), "tcpdump ended with {status}: {log}");
        let count = |what: &str| {
            let line = log.lines().find_map(|line| line.strip_suffix(what));
            line.and_then(|count| count.trim().parse().ok()).with_context(|| format!("{log:?}"))
        };
        Ok(Packets {
            captured: count("packets captured")?,
            dropped: count("packets dropped by kernel")?,
        })
    }

    fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.dir.path().join("log"))?)
    }
}
