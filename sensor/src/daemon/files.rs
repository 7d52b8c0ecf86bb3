//! Files beside the configuration that are read again when they change: the list of what is
//! revoked, the databases of clients' networks and places, and lists of what is denied.
//!
//! A thread looks at them and reads them, so that the reader of the ring does not wait. What can't
//! be read is said once, and what was in force stays.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use super::{feeds, now};
use crate::{
    clients::Clients, config::Config, enforce::file_list::FileList, revocation::RevocationList,
};

/// How often the files are looked at. A file that changed is read when it was the same at two
/// looks: whoever writes it is done.
const PERIOD: Duration = Duration::from_secs(1);

/// What was read anew.
#[derive(Debug)]
pub(super) enum Fresh {
    /// Where clients are.
    Clients(Clients),
    /// What is revoked.
    Revoked(RevocationList),
    /// A file of `enforcement.deny_files`.
    Denied(FileList),
    /// What became of a feed.
    Feed(feeds::News),
}

/// What tells one state of a file from another; `None` where it is not there.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

fn stamp(path: &Path) -> Stamp {
    let file = fs::metadata(path).ok()?;
    Some((file.dev(), file.ino(), file.size(), file.mtime(), file.mtime_nsec()))
}

/// A file, and how to read it.
struct Watched {
    path: PathBuf,
    /// The state that was read last, also in vain.
    read: Stamp,
    /// The state at the last look.
    seen: Stamp,
    load: Box<dyn Fn() -> anyhow::Result<Fresh> + Send>,
}

impl Watched {
    fn new(path: &Path, load: impl Fn() -> anyhow::Result<Fresh> + Send + 'static) -> Self {
        let stamp = stamp(path);
        Self { path: path.into(), read: stamp, seen: stamp, load: Box::new(load) }
    }

    /// Reads the file if it changed and is still.
    fn look(&mut self) -> Option<anyhow::Result<Fresh>> {
        let now = stamp(&self.path);
        let still = std::mem::replace(&mut self.seen, now) == now;
        if !still || now == self.read {
            return None;
        }
        self.read = now;
        Some((self.load)())
    }
}

/// The files that a configuration names.
#[derive(Debug)]
pub(super) struct Files {
    stop: Arc<AtomicBool>,
    fresh: mpsc::Receiver<Fresh>,
}

impl Files {
    /// Reads the files, and watches them from then on. What came of feeds is the first that is
    /// fresh.
    ///
    /// # Errors
    /// One of them that is no feed can't be read.
    pub(super) fn load(config: &Config) -> anyhow::Result<(Self, Clients, RevocationList)> {
        let mut watched = Vec::new();
        // Each is looked at before it is read: a change in between is seen.
        let of_clients = &config.clients;
        let databases =
            [&of_clients.asn_database, &of_clients.city_database, &of_clients.anonymous_database];
        for path in databases.into_iter().flatten() {
            let clients = config.clients.clone();
            watched.push(Watched::new(path, move || Clients::load(&clients).map(Fresh::Clients)));
        }
        if let Some(path) = config.revocation.list_file.clone() {
            watched.push(Watched::new(&path.clone(), move || {
                RevocationList::load(Some(&path)).map(Fresh::Revoked)
            }));
        }
        for path in config.enforcement.deny_files.get_ref().clone() {
            watched.push(Watched::new(&path.clone(), move || {
                Ok(FileList::load(&path, now()).map(Fresh::Denied)?)
            }));
        }
        let (sender, fresh) = mpsc::channel();
        for (feed, reading) in feeds::all(config) {
            let Some(path) = feed.path.clone() else { continue };
            let feed = feed.clone();
            let file = Watched::new(&path.clone(), move || {
                Ok(Fresh::Feed(feeds::read(&feed, &reading, &path)))
            });
            let _ = sender.send((file.load)()?);
            watched.push(file);
        }
        let clients = Clients::load(&config.clients)?;
        let list = RevocationList::load(config.revocation.list_file.as_deref())?;
        let stop = Arc::new(AtomicBool::new(false));
        feeds::start(config, &stop, &sender)?;
        if !watched.is_empty() {
            let stop = Arc::clone(&stop);
            thread::Builder::new()
                .name("jotwatch-files".into())
                .spawn(move || watch(&mut watched, &stop, &sender, PERIOD))?;
        }
        Ok((Self { stop, fresh }, clients, list))
    }

    /// What was read anew since the last call.
    pub(super) fn fresh(&self) -> impl Iterator<Item = Fresh> {
        self.fresh.try_iter()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn watch(files: &mut [Watched], stop: &AtomicBool, fresh: &mpsc::Sender<Fresh>, period: Duration) {
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(period);
        for file in &mut *files {
            let Some(looked) = file.look() else { continue };
            match looked.map(|read| fresh.send(read).is_ok()) {
                Ok(true) => {}
                // Nobody listens any more.
                Ok(false) => return,
                Err(error) => tracing::error!("not read again, the old stays: {error:#}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::mmdb;
    use crate::memory::{Memory, MemoryConfig};

    fn loader(path: &Path) -> Watched {
        let own = path.to_owned();
        Watched::new(path, move || RevocationList::load(Some(&own)).map(Fresh::Revoked))
    }

    #[test]
    fn a_file_is_read_again_when_it_changed_and_is_still() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("revoked");
        fs::write(&path, "{\"jti\":\"a\"}\n").unwrap();
        let mut file = loader(&path);
        assert!(file.look().is_none() && file.look().is_none());
        fs::write(&path, "{\"jti\":\"a\"}\n{\"jti\":\"b\"}\n").unwrap();
        assert!(file.look().is_none(), "it may still be written");
        let Some(Ok(Fresh::Revoked(list))) = file.look() else { panic!("not read") };
        assert_eq!(list.len(), 2);
        assert!(file.look().is_none(), "once");
        // A mistake is told once; so is that the file is gone.
        fs::write(&path, "{\"jit\":\"a\"}\n").unwrap();
        assert!(file.look().is_none());
        assert!(file.look().unwrap().is_err());
        assert!(file.look().is_none());
        fs::remove_file(&path).unwrap();
        assert!(file.look().is_none());
        assert!(file.look().unwrap().is_err());
        // Another file in its place.
        fs::write(dir.path().join("new"), "").unwrap();
        fs::rename(dir.path().join("new"), &path).unwrap();
        assert!(file.look().is_none());
        assert!(matches!(file.look(), Some(Ok(Fresh::Revoked(list))) if list.is_empty()));
    }

    #[test]
    fn both_files_are_loaded_and_watched_or_neither() {
        let dir = tempfile::tempdir().unwrap();
        let [list, networks] = ["revoked", "asn.mmdb"].map(|name| dir.path().join(name));
        let text =
            format!("[revocation]\nlist_file = {list:?}\n[clients]\nasn_database = {networks:?}\n");
        let config = crate::config::parse(&text, Path::new("c.toml")).unwrap();
        fs::write(&list, "{\"jti\":\"a\"}\n").unwrap();
        let error = Files::load(&config).unwrap_err();
        assert!(format!("{error:#}").contains("asn.mmdb"), "{error:#}");
        let network = |asn| mmdb::asn(&[("192.0.2.0/24".parse().unwrap(), asn)]);
        fs::write(&networks, network(64_500)).unwrap();
        let (files, clients, revoked) = Files::load(&config).unwrap();
        let address = [192, 0, 2, 1].into();
        assert_eq!((clients.asn(address), revoked.len()), (Some(64_500), 1));
        // Another file: one of the same size, written in the same tick of the clock, looks the same.
        fs::write(dir.path().join("new"), network(64_501)).unwrap();
        fs::rename(dir.path().join("new"), &networks).unwrap();
        let Ok(Fresh::Clients(clients)) = files.fresh.recv_timeout(Duration::from_secs(20)) else {
            panic!("another file")
        };
        assert_eq!(clients.asn(address), Some(64_501));
    }

    #[test]
    fn the_thread_hands_over_what_it_read_and_ends_with_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("revoked");
        fs::write(&path, "").unwrap();
        let (stop, mut files) = (Arc::new(AtomicBool::new(false)), [loader(&path)]);
        let (sender, fresh) = mpsc::channel();
        let thread = {
            let stop = Arc::clone(&stop);
            let period = Duration::from_millis(5);
            thread::spawn(move || watch(&mut files, &stop, &sender, period))
        };
        fs::write(&path, "{\"jti\":\"a\"}\n").unwrap();
        let Fresh::Revoked(list) = fresh.recv_timeout(Duration::from_secs(20)).unwrap() else {
            panic!("another file")
        };
        list.apply(&mut Memory::new([1; 16], MemoryConfig::default()));
        stop.store(true, Ordering::Relaxed);
        thread.join().unwrap();
    }
}
