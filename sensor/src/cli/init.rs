//! `init`: a first configuration from what listens on this host.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

use crate::{
    capture::live::probe::{self, Listening},
    config::DEFAULT_PATH,
};

/// Write a first configuration from the services that listen on this host.
///
/// It watches and alerts; nothing is cut. What is known to speak no HTTP (SSH, databases, mail) is
/// left out, with a comment. As root every service is named; without, the ports alone are known.
/// No file is ever overwritten: with --force the old one is set aside as FILE.old.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  sudo jotwatch init\n  jotwatch init --output jotwatch.toml\n  \
    jotwatch init --output -"
)]
pub(super) struct Arguments {
    /// Where it goes, - for standard output. Without: /etc/jotwatch/config.toml, or
    /// /etc/jotwatch/conf.d/services.toml where that is there.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Set a file that is there aside as FILE.old.
    #[arg(long)]
    force: bool,
}

/// Ports of services that speak no HTTP, or no HTTP in clear, by what is usual there.
const OTHERS: &[(u16, &str)] = &[
    (21, "FTP"),
    (22, "SSH"),
    (23, "Telnet"),
    (25, "SMTP"),
    (53, "DNS"),
    (110, "POP3"),
    (111, "RPC"),
    (143, "IMAP"),
    (389, "LDAP"),
    (443, "TLS"),
    (445, "SMB"),
    (465, "SMTP over TLS"),
    (514, "syslog"),
    (587, "SMTP"),
    (601, "syslog"),
    (631, "printing"),
    (636, "LDAP over TLS"),
    (853, "DNS over TLS"),
    (993, "IMAP over TLS"),
    (995, "POP3 over TLS"),
    (1433, "SQL Server"),
    (1521, "Oracle"),
    (1883, "MQTT"),
    (2049, "NFS"),
    (2379, "etcd"),
    (2380, "etcd"),
    (3306, "MySQL"),
    (3389, "RDP"),
    (4222, "NATS"),
    (5353, "mDNS"),
    (5355, "LLMNR"),
    (5432, "PostgreSQL"),
    (5671, "AMQP over TLS"),
    (5672, "AMQP"),
    (6379, "Redis"),
    (6514, "syslog over TLS"),
    (8443, "TLS"),
    (8883, "MQTT over TLS"),
    (9042, "Cassandra"),
    (9092, "Kafka"),
    (10250, "kubelet, TLS"),
    (11211, "memcached"),
    (27017, "MongoDB"),
];

/// Commands that speak no HTTP, wherever they listen.
const OTHER_COMMANDS: &[&str] = &[
    "chronyd",
    "cupsd",
    "dnsmasq",
    "dovecot",
    "exim4",
    "in.tftpd",
    "mariadbd",
    "master",
    "memcached",
    "mongod",
    "mysqld",
    "named",
    "ntpd",
    "postgres",
    "redis-server",
    "rpc.mountd",
    "rpc.statd",
    "rpcbind",
    "rsyslogd",
    "smbd",
    "sshd",
    "systemd-resolve",
    "vsftpd",
];

/// The most ports that are written: a host with more of them wants to be configured by hand.
const MAX_PORTS: usize = 64;

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let listening = probe::listening().context("what listens can't be read")?;
    let (text, ports) = render(&listening, &groups(&listening));
    let to = match &arguments.output {
        Some(to) if to.as_os_str() == "-" => {
            return Ok(io::stdout().lock().write_all(text.as_bytes())?);
        }
        Some(to) => to.clone(),
        None => default_place(Path::new(DEFAULT_PATH)),
    };
    write(&to, &text, arguments.force)?;
    let mut out = io::stdout().lock();
    writeln!(out, "{}: written", to.display())?;
    for line in next(&to, &listening, &ports) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// The file that the daemon reads, or one beside it where that is there: a package's own.
fn default_place(main: &Path) -> PathBuf {
    match main.exists() {
        true => main.with_file_name("conf.d").join("services.toml"),
        false => main.to_owned(),
    }
}

/// What to do now.
fn next(to: &Path, listening: &[Listening], ports: &[u16]) -> Vec<String> {
    let mut lines = Vec::new();
    if ports.is_empty() {
        lines.push("nothing that may speak HTTP listens: name the ports in capture.ports".into());
    }
    if !rustix::process::geteuid().is_root()
        && listening.iter().any(|listener| listener.pid.is_none())
    {
        lines.push(
            "some processes are not visible to this user: run it as root to have them named".into(),
        );
    }
    let shown = to.display();
    let own = to.with_file_name("config.toml");
    let part = to.parent().is_some_and(|folder| folder.ends_with("conf.d"));
    let main =
        if part { to.parent().map(|folder| folder.with_file_name("config.toml")) } else { None };
    let main = main.unwrap_or_else(|| if own == *to { own } else { to.to_owned() });
    let main = main.display();
    lines.push("next:".into());
    lines.push(format!("  look through {shown}, take out what need not be watched"));
    lines.push(format!("  jotwatch check-config --config {main}"));
    lines.push("  sudo jotwatch doctor".into());
    let packaged = main.to_string() == DEFAULT_PATH;
    lines.push(match packaged && Path::new("/run/systemd/system").exists() {
        true => "  sudo systemctl enable --now jotwatch".into(),
        false => format!("  sudo jotwatch run --config {main}"),
    });
    lines
}

/// The control group of each listener's process, where it can be seen.
fn groups(listening: &[Listening]) -> BTreeMap<u32, String> {
    let group = |pid: u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
        (path != "/").then(|| (pid, path.to_owned()))
    };
    listening.iter().filter_map(|listener| listener.pid).filter_map(group).collect()
}

/// Why a listener is not watched.
fn other(listener: &Listening) -> Option<&'static str> {
    let command = listener.command.as_deref().unwrap_or_default();
    if OTHER_COMMANDS.contains(&command) {
        return Some("does not speak HTTP");
    }
    OTHERS.iter().find(|(port, _)| *port == listener.address.port()).map(|&(_, what)| what)
}

/// The text, and the ports that it watches.
fn render(listening: &[Listening], groups: &BTreeMap<u32, String>) -> (String, Vec<u16>) {
    let mut by_port: BTreeMap<u16, Vec<&Listening>> = BTreeMap::new();
    for listener in listening {
        by_port.entry(listener.address.port()).or_default().push(listener);
    }
    let mut text = String::from(
        "# Written by `jotwatch init` from what listened on this host. Every key is described in\n\
         # docs/configuration.md; `jotwatch check-config` says what is wrong with this file.\n\n\
         [capture]\n# TCP ports whose services are watched.\nports = [\n",
    );
    let mut ports = Vec::new();
    let mut left_out = String::new();
    for (port, listeners) in &by_port {
        let described = describe(listeners, groups);
        let other = listeners.iter().find_map(|listener| other(listener));
        match other {
            None if ports.len() < MAX_PORTS => {
                ports.push(*port);
                let _ = writeln!(text, "    {port}, # {described}");
            }
            why => {
                let why = why.unwrap_or("too many ports for a first configuration");
                let _ = writeln!(left_out, "#   {port:<6} {described}: {why}");
            }
        }
    }
    text.push_str("]\n");
    if !left_out.is_empty() {
        text.push_str("\n# Not watched:\n");
        text.push_str(&left_out);
    }
    text.push_str(
        "\n[enforcement]\n# Somebody is told, nothing is cut. docs/enforcement.md says what `kill`, `hold` and \
         `gate` do.\nmode = \"alert\"\n\n\
         # Whose tokens are expected. Without a table here signatures are held against keys that are\n\
         # learned from traffic only.\n\
         #[[issuer]]\n#issuer = \"https://id.example\"\n#discovery = true\n",
    );
    (text, ports)
}

/// Who listens, in one line without anything that could end a comment.
fn describe(listeners: &[&Listening], groups: &BTreeMap<u32, String>) -> String {
    let mut parts: Vec<String> = Vec::new();
    for listener in listeners {
        let mut part = match (&listener.command, listener.pid) {
            (Some(command), Some(pid)) => {
                let group =
                    groups.get(&pid).map(|group| format!(" in {group}")).unwrap_or_default();
                format!("{command} ({pid}){group}")
            }
            _ => "process not visible".to_owned(),
        };
        let _ = write!(part, " on {}", listener.address.ip());
        if !listener.tls.is_empty() {
            let _ = write!(part, ", maps {}: TLS can't be read", listener.tls.join(", "));
        }
        // A process gives itself any name.
        let part: String = part.chars().filter(|c| !c.is_control()).collect();
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    parts.join("; ")
}

fn write(to: &Path, text: &str, force: bool) -> anyhow::Result<()> {
    let place = || to.display().to_string();
    if let Some(folder) = to.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o755).create(folder).with_context(place)?;
    }
    if force && to.symlink_metadata().is_ok() {
        let mut old = to.as_os_str().to_owned();
        old.push(".old");
        let old = PathBuf::from(old);
        // A link takes its name only where that is free.
        fs::hard_link(to, &old)
            .with_context(|| format!("{} can't be set aside as {}", place(), old.display()))?;
        fs::remove_file(to).with_context(place)?;
    }
    let mut file = match OpenOptions::new().write(true).create_new(true).mode(0o644).open(to) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            bail!(
                "{} is there already; --force sets it aside, --output names another file",
                place()
            )
        }
        file => file.with_context(place)?,
    };
    file.write_all(text.as_bytes()).with_context(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(address: &str, command: Option<&str>) -> Listening {
        let pid = command.map(|_| 7);
        let command = command.map(str::to_owned);
        Listening { address: address.parse().unwrap(), pid, command, tls: Vec::new() }
    }

    #[test]
    fn what_may_speak_http_is_watched_and_named() {
        let listening = [
            listener("0.0.0.0:22", None),
            listener("127.0.0.1:5432", Some("postgres")),
            listener("127.0.0.1:7000", Some("redis-server")),
            listener("0.0.0.0:8080", Some("shop")),
            listener("[::]:8080", Some("shop")),
            listener("127.0.0.1:9000", Some("evil\n]\nports = [1")),
        ];
        let groups = BTreeMap::from([(7, "/system.slice/shop.service".to_owned())]);
        let (text, ports) = render(&listening, &groups);
        assert_eq!(ports, [8080, 9000]);
        let config = crate::config::parse(&text, Path::new("c.toml")).unwrap();
        assert_eq!(config.capture.ports, [8080, 9000]);
        assert_eq!(config.enforcement.mode.as_str(), "alert");
        for line in [
            "    8080, # shop (7) in /system.slice/shop.service on 0.0.0.0; shop (7) in \
             /system.slice/shop.service on ::",
            "#   22     process not visible on 0.0.0.0: SSH",
            "#   7000   redis-server (7) in /system.slice/shop.service on 127.0.0.1: does not speak HTTP",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }

    #[test]
    fn ports_are_bounded_and_none_is_no_mistake() {
        let many: Vec<_> =
            (0..100).map(|n| listener(&format!("127.0.0.1:{}", 20_000 + n), None)).collect();
        let (text, ports) = render(&many, &BTreeMap::new());
        assert_eq!(ports.len(), MAX_PORTS);
        assert!(text.contains("too many ports"), "{text}");
        let (text, ports) = render(&[], &BTreeMap::new());
        assert!(ports.is_empty() && crate::config::parse(&text, Path::new("c.toml")).is_ok());
    }

    #[test]
    fn nothing_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("etc/c.toml");
        write(&to, "one", false).unwrap();
        let error = write(&to, "two", false).unwrap_err().to_string();
        assert!(error.contains("is there already"), "{error}");
        write(&to, "two", true).unwrap();
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!((read("etc/c.toml"), read("etc/c.toml.old")), ("two".into(), "one".into()));
        // The first one that was set aside stays.
        assert!(write(&to, "three", true).is_err());
        assert_eq!((read("etc/c.toml"), read("etc/c.toml.old")), ("two".into(), "one".into()));
    }

    #[test]
    fn a_package_s_own_file_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let main = dir.path().join("config.toml");
        assert_eq!(default_place(&main), main);
        fs::write(&main, "").unwrap();
        assert_eq!(default_place(&main), dir.path().join("conf.d/services.toml"));
    }
}
