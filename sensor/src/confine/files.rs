//! What a thread may do to files (Landlock).
//!
//! The rules are each thread's own and its children's. Threads share memory, so they hold nobody who
//! runs code in the process; what they hold is a thread that is talked into opening a path. So they
//! stand on the threads that speak with the network, and not on the one that reads captured bytes:
//! below it processes are looked up and network namespaces entered, and a thread under any rule may not
//! read `/proc/PID/fd` or `/proc/PID/ns` of processes outside (the kernel counts that as tracing).

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, RestrictionStatus,
    Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
};

/// The rights that are known here: of Linux 6.12. An older kernel holds what it knows.
const KNOWN: ABI = ABI::V6;

/// Whether threads are to be held at all: set once, before the first of them.
static WANTED: AtomicBool = AtomicBool::new(false);

/// What a thread may do from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Serve on sockets that it has: no file is opened, nothing connected to, nobody signalled.
    Serving,
    /// Speak with receivers: files are read (names, certificates), none is written, nothing listens.
    Sending,
    /// Fetch: the same, and write below these folders.
    Fetching(Vec<PathBuf>),
}

/// From now on threads are held when they ask for it.
pub(super) fn want() {
    WANTED.store(true, Ordering::Relaxed);
}

/// Holds this thread to that, and those that it starts. Where the kernel can't, it goes on without:
/// [`works`] is how it is told.
pub fn hold(reach: &Reach) {
    if !WANTED.load(Ordering::Relaxed) {
        return;
    }
    if let Err(error) = restrict(reach) {
        tracing::warn!("a thread is not kept from files: {error}");
    }
}

/// Whether the kernel holds threads: tried on one that ends.
pub(super) fn works() -> bool {
    let tried = thread::Builder::new().name("landlock".into()).spawn(|| restrict(&Reach::Serving));
    let status = tried.ok().and_then(|thread| thread.join().ok()).and_then(Result::ok);
    status.is_some_and(|status| status.ruleset != RulesetStatus::NotEnforced)
}

fn restrict(reach: &Reach) -> Result<RestrictionStatus, RulesetError> {
    let ruleset = Ruleset::default();
    let ruleset = match reach {
        Reach::Serving => ruleset
            .handle_access(AccessFs::from_all(KNOWN))?
            .handle_access(AccessNet::from_all(KNOWN))?
            .scope(Scope::from_all(KNOWN))?,
        Reach::Sending | Reach::Fetching(_) => {
            ruleset.handle_access(AccessFs::from_write(KNOWN))?.handle_access(AccessNet::BindTcp)?
        }
    };
    let mut created = ruleset.create()?;
    if let Reach::Fetching(folders) = reach {
        for folder in folders {
            created = match open(folder) {
                Some(open) => created.add_rule(PathBeneath::new(open, writing()))?,
                None => created,
            };
        }
    }
    created.restrict_self()
}

fn writing() -> BitFlags<AccessFs> {
    AccessFs::from_write(KNOWN)
}

/// The folder, or what there is of the way to it: it is made when it is needed.
fn open(folder: &Path) -> Option<PathFd> {
    folder.ancestors().find_map(|folder| PathFd::new(folder).ok())
}

#[cfg(test)]
mod tests {
    use std::{fs, io::ErrorKind, net::TcpStream};

    use super::*;

    /// On a thread of its own: what is given up does not come back.
    fn held<T: Send + 'static>(reach: Reach, then: impl FnOnce() -> T + Send + 'static) -> T {
        let thread = thread::spawn(move || {
            restrict(&reach).unwrap();
            then()
        });
        thread.join().unwrap()
    }

    /// Linux 6.7 and later have rules for ports.
    fn knows_ports() -> bool {
        let uname = rustix::system::uname();
        let release = uname.release().to_string_lossy();
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
        let mut next = || numbers.next().and_then(Result::ok).unwrap_or_default();
        (next(), next()) >= (6, 7)
    }

    #[test]
    fn a_thread_is_held_and_no_other() {
        if !works() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (known, fresh) = (dir.path().join("known"), dir.path().join("later/fresh"));
        fs::write(&known, "x").unwrap();
        let refused = |result: std::io::Result<()>| {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::PermissionDenied);
        };
        let path = known.clone();
        held(Reach::Serving, move || {
            refused(fs::read(&path).map(drop));
            refused(fs::read_dir("/proc/self/fd").map(drop));
            if knows_ports() {
                refused(TcpStream::connect("127.0.0.1:9").map(drop));
            }
        });
        let (path, made) = (known.clone(), fresh.clone());
        held(Reach::Sending, move || {
            assert_eq!(fs::read(&path).unwrap(), b"x");
            refused(fs::write(&path, "y"));
            refused(fs::remove_file(&path));
            refused(fs::create_dir(made.parent().unwrap()));
            // What is connected to is told by nobody listening.
            let error = TcpStream::connect("127.0.0.1:9").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        });
        let elsewhere = tempfile::tempdir().unwrap();
        let (other, made) = (elsewhere.path().join("other"), fresh.clone());
        let folder = fresh.parent().unwrap().to_owned();
        held(Reach::Fetching(vec![folder.clone()]), move || {
            fs::create_dir(&folder).unwrap();
            fs::write(&made, "y").unwrap();
            fs::rename(&made, made.with_extension("new")).unwrap();
            refused(fs::write(&other, "y"));
        });
        // This one is not.
        fs::write(&known, "z").unwrap();
        fs::remove_dir_all(fresh.parent().unwrap()).unwrap();
    }

    #[test]
    fn nobody_is_held_unasked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let thread = thread::spawn(move || {
            hold(&Reach::Serving);
            fs::write(path, "x")
        });
        thread.join().unwrap().unwrap();
    }
}
