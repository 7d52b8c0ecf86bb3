//! Alerts arrive in a real systemd-journald, with their fields. It runs by itself, in a mount
//! namespace with a `/run` of its own.
#![expect(
    clippy::unwrap_used,
    reason = "all of this file is a test, also what stands outside of its functions"
)]

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use jotwatch::{
    journal::Keep,
    sinks::{Delivery, JournaldConfig, Sinks, SinksConfig},
};
use jotwatch_tests::{delivery::alert, net::privileged};
use serde_json::Value;

const DEADLINE: Duration = Duration::from_secs(20);

struct Journald {
    child: Child,
}

impl Journald {
    /// `None` where systemd is not there.
    fn start() -> Option<Self> {
        let program = "/lib/systemd/systemd-journald";
        if !Path::new(program).exists() {
            eprintln!("skipped: no {program}");
            return None;
        }
        let script = format!(
            "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal /run/log/journal && exec {program}"
        );
        let child = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let journald = Self { child };
        let start = Instant::now();
        while !journald.path("run/systemd/journal/kernel-seqnum").exists()
            || !journald.path("run/systemd/journal/socket").exists()
        {
            assert!(start.elapsed() < DEADLINE, "journald does not start");
            thread::sleep(Duration::from_millis(10));
        }
        Some(journald)
    }

    /// A path in its namespace.
    fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.child.id())).join(path)
    }

    fn entries(&self) -> Vec<Value> {
        let output = Command::new("journalctl")
            .arg("-D")
            .arg(self.path("run/log/journal"))
            .args(["--no-pager", "-o", "json", "--all", "-t", "jotwatch"])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Journald {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn alerts_are_entries_with_fields() {
    if !privileged() {
        return;
    }
    let Some(journald) = Journald::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let config = SinksConfig {
        stdout: false,
        syslog: Vec::new(),
        journald: vec![JournaldConfig {
            path: journald.path("run/systemd/journal/socket"),
            ..JournaldConfig::default()
        }],
        ..SinksConfig::default()
    };
    let delivery = Delivery {
        dir: dir.path().join("events"),
        keep: Keep { bytes: 64 << 20, age: Duration::from_secs(3600) },
        join: Duration::ZERO,
        key: [1; 16],
    };
    let (sinks, warnings) = Sinks::start(&config, &delivery).unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    for number in 0..200 {
        sinks.send(alert(number));
    }
    let status = sinks.shutdown(DEADLINE).remove(0);
    assert_eq!((status.delivered, status.errors, status.queued), (200, 0, 0));
    let entries = journald.entries();
    assert_eq!(entries.len(), 200);
    for (number, entry) in entries.iter().enumerate() {
        let mut sent = Vec::new();
        alert(number as u64).write(&mut sent);
        let sent = serde_json::from_slice::<Value>(&sent).unwrap();
        let told = entry["JOTWATCH_EVENT"].as_str().unwrap();
        assert_eq!(serde_json::from_str::<Value>(told).unwrap(), sent);
        assert_eq!(entry["JOTWATCH_ID"], sent["id"]);
        assert_eq!(
            (&entry["PRIORITY"], &entry["JOTWATCH_FINDING"]),
            (&"2".into(), &"alg-none".into())
        );
        assert_eq!(entry["JOTWATCH_CLIENT_IP"], "2001:db8::7");
        assert!(entry["MESSAGE"].as_str().unwrap().starts_with("critical: alert \"GET\" \""));
    }
}
