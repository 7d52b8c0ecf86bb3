//! rsyslogd as a receiver of events: a local socket and a UDP port, and each message's parts in
//! one line of a file.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use super::NotInstalled;

/// How long it may take until it listens.
const READY_LIMIT: Duration = Duration::from_secs(20);

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
        let config = format!(
            r#"
global(workDirectory="{dir}" processInternalMessages="off" maxMessageSize="64k")
module(load="imuxsock" SysSock.Use="off")
module(load="imudp")
input(type="imuxsock" Socket="{dir}/log" UseSpecialParser="off" IgnoreTimestamp="off")
input(type="imudp" address="{address}" port="{port}")
template(name="fields" type="list") {{
    property(name="inputname") constant(value="\t")
    property(name="pri") constant(value="\t")
    property(name="timereported" dateFormat="rfc3339") constant(value="\t")
    property(name="hostname") constant(value="\t")
    property(name="app-name") constant(value="\t")
    property(name="procid") constant(value="\t")
    property(name="msgid") constant(value="\t")
    property(name="structured-data") constant(value="\t")
    property(name="msg") constant(value="\n")
}}
action(type="omfile" file="{dir}/out" template="fields" flushOnTXEnd="on")
"#,
            dir = dir.display(),
            address = udp.ip(),
            port = udp.port(),
        );
        fs::write(dir.join("conf"), config)?;
        let program = ["/usr/sbin/rsyslogd", "/usr/local/sbin/rsyslogd", "/usr/bin/rsyslogd"]
            .into_iter()
            .find(|program| Path::new(program).exists())
            .ok_or_else(|| NotInstalled { program: "rsyslogd".to_owned() })?;
        let _ = fs::remove_file(dir.join("log"));
        let child = Command::new(program)
            .arg("-n")
            .arg("-f")
            .arg(dir.join("conf"))
            .arg("-i")
            .arg(dir.join("pid"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let rsyslog = Self { child, dir: dir.to_owned() };
        let end = Instant::now() + READY_LIMIT;
        while !dir.join("log").exists() {
            ensure!(Instant::now() < end, "rsyslogd does not listen");
            thread::sleep(Duration::from_millis(10));
        }
        Ok(rsyslog)
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
