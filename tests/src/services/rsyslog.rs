//! rsyslogd as a receiver of events: a local socket and ports for UDP, TCP or TLS, and each
//! message's parts in one line of a file.

use std::{
    fmt::Write as _,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use super::{NotInstalled, program, services_dir};

/// How long it may take until it listens.
const READY_LIMIT: Duration = Duration::from_secs(20);

/// How it listens beside its local socket, and what it writes.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// A UDP port.
    pub udp: Option<SocketAddr>,
    /// A TCP port, behind TLS where [`Setup::tls`] is there.
    pub tcp: Option<SocketAddr>,
    /// What it shows, and who may send.
    pub tls: Option<Tls>,
    /// Writes nothing but the event's id, for numbers of events that would fill the disk.
    pub ids_only: bool,
}

/// TLS of the TCP port: rsyslog's driver for GnuTLS.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The authority that clients' certificates are of.
    pub ca: PathBuf,
    /// Its certificate.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The name that a client's certificate must have.
    pub client: String,
}

/// A rsyslogd of our own, in the foreground; killed when dropped.
#[derive(Debug)]
pub struct Rsyslog {
    child: Child,
    dir: PathBuf,
}

impl Rsyslog {
    /// Starts it with its files in `dir`: the socket is `log`. A line has, between tabs: input,
    /// priority, time, host name, application, process id, message id, structured data, message.
    ///
    /// # Errors
    /// [`NotInstalled`], or that it does not come up.
    pub fn start(dir: &Path, udp: SocketAddr) -> Result<Self> {
        Self::start_with(dir, &Setup { udp: Some(udp), ..Setup::default() })
    }

    /// Starts it as `setup` says. What it has read is written before it reads on, as its queue is
    /// a direct one.
    ///
    /// # Errors
    /// [`NotInstalled`], or that it does not come up.
    pub fn start_with(dir: &Path, setup: &Setup) -> Result<Self> {
        fs::write(dir.join("conf"), config(dir, setup))?;
        let mut command = Command::new(program("rsyslog/usr/sbin/rsyslogd", "rsyslogd")?);
        let modules = modules();
        if setup.tls.is_some() && !modules.iter().any(|dir| dir.join("lmnsd_gtls.so").exists()) {
            return Err(NotInstalled { program: "rsyslog-gnutls".to_owned() }.into());
        }
        let modules = modules.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>();
        let _ = fs::remove_file(dir.join("log"));
        let child = command
            .arg("-n")
            .arg("-f")
            .arg(dir.join("conf"))
            .arg("-i")
            .arg(dir.join("pid"))
            .arg("-M")
            .arg(modules.join(":"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let rsyslog = Self { child, dir: dir.to_owned() };
        let end = Instant::now() + READY_LIMIT;
        let is_up = || {
            dir.join("log").exists()
                && setup.tcp.is_none_or(|address| TcpStream::connect(address).is_ok())
        };
        while !is_up() {
            ensure!(Instant::now() < end, "rsyslogd does not listen");
            thread::sleep(Duration::from_millis(10));
        }
        Ok(rsyslog)
    }

    /// Kills it in mid-flight with SIGKILL, and ends the line that it was writing.
    ///
    /// # Errors
    /// The system's.
    pub fn crash(mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        let out = self.dir.join("out");
        if fs::read(&out)?.last().is_some_and(|&last| last != b'\n') {
            OpenOptions::new().append(true).open(&out)?.write_all(b"\n")?;
        }
        Ok(())
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The whole lines that it has written so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let out = fs::read_to_string(self.dir.join("out")).unwrap_or_default();
        out.split_inclusive('\n')
            .filter_map(|line| line.strip_suffix('\n'))
            .map(str::to_owned)
            .collect()
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where its modules are: the system's, and those that were unpacked.
fn modules() -> Vec<PathBuf> {
    let below = |root: &Path| {
        let libraries = fs::read_dir(root.join("usr/lib")).into_iter().flatten().flatten();
        libraries.map(|dir| dir.path().join("rsyslog")).filter(|dir| dir.is_dir())
    };
    let unpacked = ["rsyslog", "rsyslog-gnutls"].map(|name| services_dir().join(name));
    [PathBuf::from("/")].iter().chain(&unpacked).flat_map(|root| below(root)).collect()
}

fn config(dir: &Path, setup: &Setup) -> String {
    let mut config = format!(
        r#"
global(workDirectory="{dir}" processInternalMessages="off" maxMessageSize="64k")
main_queue(queue.type="direct")
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="{dir}/log" UseSpecialParser="off" IgnoreTimestamp="off")
"#,
        dir = dir.display(),
    );
    if let Some(udp) = setup.udp {
        let _ = write!(
            config,
            "module(load=\"imudp\")\ninput(type=\"imudp\" address=\"{}\" port=\"{}\")\n",
            udp.ip(),
            udp.port()
        );
    }
    if let Some(tcp) = setup.tcp {
        let driver = match &setup.tls {
            Some(tls) => {
                let _ = writeln!(
                    config,
                    r#"global(DefaultNetstreamDriver="gtls" DefaultNetstreamDriverCAFile="{}"
DefaultNetstreamDriverCertFile="{}" DefaultNetstreamDriverKeyFile="{}")"#,
                    tls.ca.display(),
                    tls.cert.display(),
                    tls.key.display()
                );
                format!(
                    r#"StreamDriver.Name="gtls" StreamDriver.Mode="1"
StreamDriver.AuthMode="x509/name" PermittedPeer=["{}"]"#,
                    tls.client
                )
            }
            None => String::new(),
        };
        let _ = write!(
            config,
            "module(load=\"imtcp\" {driver})\n\
             input(type=\"imtcp\" address=\"{}\" port=\"{}\" SupportOctetCountedFraming=\"on\")\n",
            tcp.ip(),
            tcp.port()
        );
    }
    config.push_str(if setup.ids_only { IDS } else { FIELDS });
    let _ = writeln!(
        config,
        r#"action(type="omfile" file="{}/out" template="fields" flushOnTXEnd="on")"#,
        dir.display()
    );
    config
}

/// The event's id, which the structured data begins with.
const IDS: &str = r#"
template(name="fields" type="list") {
    property(name="structured-data" position.from="21" position.to="52") constant(value="\n")
}
"#;

const FIELDS: &str = r#"
template(name="fields" type="list") {
    property(name="inputname") constant(value="\t")
    property(name="pri") constant(value="\t")
    property(name="timereported" dateFormat="rfc3339") constant(value="\t")
    property(name="hostname") constant(value="\t")
    property(name="app-name") constant(value="\t")
    property(name="procid") constant(value="\t")
    property(name="msgid") constant(value="\t")
    property(name="structured-data") constant(value="\t")
    property(name="msg") constant(value="\n")
}
"#;
