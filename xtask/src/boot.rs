//! The packaged unit under a systemd of its own: process 1 of namespaces and a cgroup that are ours,
//! over this machine's files with a layer on top that is thrown away.
//!
//! The daemon there watches `/system.slice` of that cgroup namespace, which is a cgroup below our own:
//! nothing of the machine is seen or touched.

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    ground::{Cgroup, Running},
    setup,
};

/// What process 1 does before it becomes systemd.
const SCRIPT: &str = include_str!("boot.sh");
/// How long anything there may take; only a failure takes as long.
const LIMIT: Duration = Duration::from_secs(60);

/// What is watched: as nobody's, so that it shows what the daemon may know of other users' processes.
const SHOP: &str = "[Service]\nUser=nobody\nExecStart=/usr/bin/python3 -m http.server 8080 \
                    --bind 127.0.0.1 --directory /usr/share/doc\n";

/// A systemd that runs; it and all that it started end when it is dropped.
struct Booted {
    init: u32,
    // In this order: processes first, then their cgroup.
    _namespaces: Running,
    _cgroup: Cgroup,
}

/// Installs the package there and does with the unit what administrators and accidents do.
///
/// # Errors
/// A step is not as it should be. Where namespaces or overlays can't be had, that is said, and no
/// error.
pub(crate) fn test(package: &Path, at: &Path) -> Result<()> {
    setup::ensure_tools(&["unshare", "ip", "python3", "curl"], "the test of the unit")?;
    let booted = match Booted::start(at)? {
        Ok(booted) => booted,
        Err(why) => {
            eprintln!("package: left out, the unit under systemd: {}", why.trim());
            return Ok(());
        }
    };
    let target = format!("/proc/{}/root/tmp/jotwatch.deb", booted.init);
    fs::copy(package, target).context("the package")?;
    let checked = steps(&booted);
    if checked.is_err() {
        eprintln!("{}", booted.run("journalctl --no-pager -o cat -u jotwatch | tail -n 30")?);
    }
    checked?;
    eprintln!("package: the unit starts, beats, restarts, reloads and stops under systemd");
    Ok(())
}

fn steps(booted: &Booted) -> Result<()> {
    booted.run("dpkg -i /tmp/jotwatch.deb")?;
    booted.is("systemctl is-enabled jotwatch || true", "disabled")?;
    booted.is("systemctl is-active jotwatch || true", "inactive")?;
    booted.write("/etc/systemd/system/shop.service", SHOP)?;
    // Twice in five seconds the daemon has to say that it lives.
    let often = "[Service]\nWatchdogSec=5s\n";
    booted.write("/etc/systemd/system/jotwatch.service.d/test.conf", often)?;
    booted.write("/etc/jotwatch/conf.d/place.toml", "[capture]\ncgroup = \"/system.slice\"\n")?;
    booted.run("systemctl daemon-reload && systemctl start shop")?;
    booted.wait("curl -s -o /dev/null http://127.0.0.1:8080/")?;
    let found = booted.run("jotwatch init && cat /etc/jotwatch/conf.d/services.toml")?;
    ensure!(found.contains("8080, # python3"), "init does not find the service: {found}");
    booted.run("jotwatch check-config")?;

    // Type=notify: it is back when the daemon watches.
    booted.run("systemctl enable --quiet --now jotwatch")?;
    booted.is("systemctl is-active jotwatch", "active")?;
    let log = "journalctl -o cat -u jotwatch | grep -q";
    booted.wait(&format!("{log} 'what the daemon may do: .*system calls restricted'"))?;
    // The unit's own list of system calls has to let Landlock's pass (the first is number 444).
    let landlock =
        "import ctypes; raise SystemExit(ctypes.CDLL(None).syscall(444, None, 0, 1) < 1)";
    booted.run(&format!("! python3 -c '{landlock}' || {log} 'network kept from files'"))?;
    forged(booted, 1)?;
    let beat = "systemctl show -P WatchdogTimestampMonotonic jotwatch";
    let first = booted.run(beat)?;
    booted.wait(&format!("test \"$({beat})\" != {}", first.trim()))?;

    booted.run("kill -KILL $(systemctl show -P MainPID jotwatch)")?;
    booted
        .wait("test $(systemctl show -P NRestarts jotwatch) = 1 && systemctl is-active jotwatch")?;
    forged(booted, 2)?;

    booted.write("/etc/jotwatch/conf.d/more.toml", "[events]\nmin_severity = \"low\"\n")?;
    booted.run("systemctl reload jotwatch")?;
    booted.wait("jotwatch events | grep -q config-reloaded")?;
    booted.write("/etc/jotwatch/conf.d/more.toml", "[events]\nmin_severty = \"low\"\n")?;
    booted.run("systemctl reload jotwatch")?;
    booted
        .wait("journalctl -o cat -u jotwatch | grep -q 'not reloaded.*more.toml.*min_severty'")?;
    booted.run("rm /etc/jotwatch/conf.d/more.toml")?;
    forged(booted, 3)?;
    booted.is("systemctl show -P NRestarts jotwatch", "1")?;

    booted.run("systemctl stop jotwatch")?;
    booted.is("systemctl show -P Result jotwatch", "success")?;
    let private = "stat -c %a%u /var/lib/jotwatch /var/lib/jotwatch/fingerprint.key";
    booted.is(private, "7000\n6000")?;
    booted.run("systemctl start jotwatch && dpkg -P jotwatch")?;
    booted.is("systemctl is-active jotwatch || true", "inactive")?;
    booted.run("! test -e /etc/jotwatch && ! test -e /var/lib/jotwatch && ! pidof jotwatch")?;
    Ok(())
}

/// A forged request is seen, with the process that served it.
fn forged(booted: &Booted, number: u32) -> Result<()> {
    let script = format!(
        "part() {{ printf '%s' \"$1\" | base64 -w0 | tr -d = | tr +/ -_; }}\n\
         token=$(part '{{\"alg\":\"none\"}}').$(part '{{\"sub\":\"mallory\",\"n\":{number}}}').\n\
         curl -s -o /dev/null -H \"Authorization: Bearer $token\" -A number-{number} \
         http://127.0.0.1:8080/"
    );
    booted.run(&script)?;
    booted.wait(&format!(
        "jotwatch events --json --finding alg-none | grep 'number-{number}' | \
         grep -q '\"command\":\"python3\",\"cgroup\":\"/system.slice/shop.service\"'"
    ))
}

impl Booted {
    /// Boots, with an empty folder to mount on; the inner error says why that can't be had here.
    fn start(at: &Path) -> Result<Result<Self, String>> {
        if !setup::is_root() || !Path::new("/lib/systemd/systemd").is_file() {
            return Ok(Err("it takes root and systemd".to_owned()));
        }
        let cgroup = match Cgroup::new("jotwatch-boot") {
            Ok(cgroup) => cgroup,
            Err(error) => return Ok(Err(format!("{error:#}"))),
        };
        fs::create_dir_all(at)?;
        let mut unshare = cgroup.command(Path::new("unshare"));
        unshare.args(["--mount", "--uts", "--ipc", "--net", "--cgroup", "--pid", "--fork"]);
        unshare.args(["--kill-child", "sh", "-c", SCRIPT, "boot"]).arg(at);
        let output = unshare.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut namespaces = Running(output.spawn().context("unshare")?);
        let stdout = namespaces.0.stdout.take().context("no output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        if line.trim() != "booting" {
            let mut why = String::new();
            if let Some(mut stderr) = namespaces.0.stderr.take() {
                stderr.read_to_string(&mut why)?;
            }
            return Ok(Err(why));
        }
        let outer = namespaces.0.id();
        let children = fs::read_to_string(format!("/proc/{outer}/task/{outer}/children"))?;
        let init = children.trim().parse().context("process 1 is gone")?;
        let booted = Self { init, _namespaces: namespaces, _cgroup: cgroup };
        booted.wait("systemctl is-system-running | grep -qE '^(running|degraded)$'")?;
        Ok(Ok(booted))
    }

    fn command(&self, script: &str) -> Command {
        let mut enter = Command::new("nsenter");
        enter.args(["-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "-t"]);
        enter.arg(self.init.to_string()).args(["env", "-i", "HOME=/root", "LANG=C.UTF-8"]);
        enter.args(["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "sh", "-ec", script]);
        enter.stdin(Stdio::null());
        enter
    }

    /// Runs a script there, which succeeds; gives what it said.
    fn run(&self, script: &str) -> Result<String> {
        let output = self.command(script).output().context("nsenter")?;
        let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            write!(said, "{}", String::from_utf8_lossy(&output.stderr))?;
            bail!("under systemd, {script}: {}: {}", output.status, said.trim());
        }
        Ok(said)
    }

    fn is(&self, script: &str, expected: &str) -> Result<()> {
        let said = self.run(script)?;
        ensure!(said.trim() == expected, "under systemd, {script}: {said:?}, not {expected:?}");
        Ok(())
    }

    /// Runs a script there until it succeeds.
    fn wait(&self, script: &str) -> Result<()> {
        let end = Instant::now() + LIMIT;
        loop {
            match self.run(script) {
                Err(error) if Instant::now() > end => return Err(error),
                Err(_) => thread::sleep(Duration::from_millis(100)),
                Ok(_) => return Ok(()),
            }
        }
    }

    fn write(&self, path: &str, text: &str) -> Result<()> {
        // Through its root: the folders are only there.
        let path = format!("/proc/{}/root{path}", self.init);
        let path = Path::new(&path);
        fs::create_dir_all(path.parent().context("no folder")?)?;
        fs::write(path, text).with_context(|| path.display().to_string())
    }
}
