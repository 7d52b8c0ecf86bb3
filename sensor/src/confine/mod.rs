//! What the daemon may still do once it runs: capabilities, no way to gain others, and a list of
//! system calls.
//!
//! [`shed`] stands before the first thread, as capabilities are each thread's own: all later ones
//! inherit what is left. [`seal`] stands behind the start and counts for every thread at once.
//!
//! What is kept is what a reload and a verdict need: a reload may load the guard's programs, a new
//! connection's process is looked up in `/proc`, and a connection is reset in its own network
//! namespace. `CAP_SYS_ADMIN`, which entering one takes, is at hand and not in effect; [`enter`] puts
//! it into effect for the one thread that goes there and ends.
//!
//! Threads that speak with the network are kept from files, too ([`hold`], Landlock); `files` says why
//! only those.

mod files;
mod syscalls;

use anyhow::Context as _;
use rustix::{
    fs::Mode,
    process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit, umask},
    thread::{self as task, CapabilitySet, CapabilitySets},
};
use serde::{Deserialize, Serialize};

pub use self::files::{Reach, hold};

/// What is in effect.
const KEPT: CapabilitySet = CapabilitySet::BPF
    .union(CapabilitySet::NET_ADMIN)
    .union(CapabilitySet::PERFMON)
    // Who serves a connection: /proc/PID/fd, exe and ns of any user's process.
    .union(CapabilitySet::SYS_PTRACE)
    .union(CapabilitySet::DAC_READ_SEARCH);

/// What is in force, as `status` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// Whether the configuration asks for it.
    pub asked: bool,
    /// Capabilities in effect.
    pub capabilities: Vec<String>,
    /// Capabilities that a thread can put into effect for a moment.
    pub at_hand: Vec<String>,
    /// Whether no program that is started could gain others.
    pub no_new_privs: bool,
    /// Whether only the listed system calls are let through.
    pub system_calls: bool,
    /// Whether threads that speak with the network are kept from files.
    #[serde(default)]
    pub files: bool,
    /// What the kernel lacks for it.
    pub lacking: Vec<String>,
}

/// Keeps what the process holds, keys and bytes of tokens, from files and from other processes of
/// the same user: no core is written, by `RLIMIT_CORE` nor to a handler of `kernel.core_pattern`, which
/// the limit does not stop (core(5)), and nobody traces it or reads its memory without
/// `CAP_SYS_PTRACE`. What it makes itself nobody but its owner writes. Holds without `daemon.confine`.
pub fn keep_memory() {
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!("its memory may be read by others of its user: {error}");
    }
    let before = umask(Mode::WGRP | Mode::WOTH);
    umask(before | Mode::WGRP | Mode::WOTH);
}

/// Gives up every capability that the daemon does not need; `chown` keeps the one that hands a
/// socket to a group. To be called before the first thread.
///
/// # Errors
/// The kernel refuses to take them, which it does not.
pub fn shed(chown: bool) -> anyhow::Result<()> {
    // Before Linux 5.11 maps count as locked memory, and a later reload can't raise this any more.
    let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
    let now = task::capabilities(None).context("capabilities")?;
    let mut kept = KEPT;
    kept.set(CapabilitySet::CHOWN, chown);
    // Before Linux 5.8 it stood for what CAP_BPF and CAP_PERFMON are now; and who was given it alone
    // has neither.
    let alone = !now.effective.contains(CapabilitySet::BPF.union(CapabilitySet::PERFMON));
    kept.set(CapabilitySet::SYS_ADMIN, alone);
    let sets = CapabilitySets {
        effective: now.effective & kept,
        permitted: now.permitted & kept.union(CapabilitySet::SYS_ADMIN),
        inheritable: CapabilitySet::empty(),
    };
    task::set_capabilities(None, sets).context("capabilities can't be given up")?;
    files::want();
    task::set_no_new_privs(true).context("no_new_privs")
}

/// Puts `CAP_SYS_ADMIN` into effect for this thread, where it is at hand. For a thread that ends.
///
/// # Errors
/// The kernel's.
pub fn enter() -> std::io::Result<()> {
    let mut sets = task::capabilities(None)?;
    sets.effective.set(CapabilitySet::SYS_ADMIN, sets.permitted.contains(CapabilitySet::SYS_ADMIN));
    Ok(task::set_capabilities(None, sets)?)
}

/// Lets all threads of the process, those to come too, make the listed system calls only; others
/// fail with `EPERM`. Gives what is in force.
pub fn seal() -> Confinement {
    let mut lacking = Vec::new();
    if let Err(error) = syscalls::restrict() {
        lacking.push(format!("a list of system calls: {error}"));
    }
    let files = files::works();
    if !files {
        lacking.push("Landlock".to_owned());
    }
    Confinement { asked: true, files, lacking, ..current() }
}

/// What holds for this thread now.
#[must_use]
pub fn current() -> Confinement {
    let sets = task::capabilities(None).ok();
    let names = |set: CapabilitySet| -> Vec<String> {
        set.iter_names().map(|(name, _)| format!("CAP_{name}")).collect()
    };
    let effective = sets.map_or(CapabilitySet::empty(), |sets| sets.effective);
    let permitted = sets.map_or(CapabilitySet::empty(), |sets| sets.permitted);
    Confinement {
        asked: false,
        capabilities: names(effective),
        at_hand: names(permitted.difference(effective)),
        no_new_privs: task::no_new_privs().unwrap_or_default(),
        system_calls: syscalls::restricted(),
        files: false,
        lacking: Vec::new(),
    }
}

impl std::fmt::Display for Confinement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |names: &[String]| match names {
            [] => "none".to_owned(),
            // All of them says less than that it is all.
            names if names.len() > 30 => "all".to_owned(),
            names => names.join(", "),
        };
        write!(f, "capabilities {}", list(&self.capabilities))?;
        if !self.at_hand.is_empty() {
            write!(f, ", at hand {}", list(&self.at_hand))?;
        }
        let yes = |is: bool| if is { "" } else { "not " };
        write!(
            f,
            "; new privileges {}ruled out; system calls {}restricted; threads that speak with the \
             network {}kept from files",
            yes(self.no_new_privs),
            yes(self.system_calls),
            yes(self.files)
        )?;
        match self.lacking.as_slice() {
            [] => Ok(()),
            lacking => write!(f, "; this kernel lacks {}", lacking.join("; ")),
        }
    }
}
