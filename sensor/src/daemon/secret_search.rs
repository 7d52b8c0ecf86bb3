//! The search for weak secrets beside the reader: one thread of the lowest priority.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    },
    thread,
};

use crate::weak::{Search, Searched, WeakSecrets};

/// Searches that wait; more are dropped, and counted. A whole list takes up to a second for each.
const MAX_WAITING: usize = 64;

/// A thread that tries candidates. It ends when this is dropped and what it has in hand is done.
pub(super) struct SecretSearch {
    waiting: SyncSender<(Arc<WeakSecrets>, Search)>,
    found: Receiver<Search>,
}

impl SecretSearch {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives none.
    pub(super) fn start() -> io::Result<Self> {
        let (waiting, jobs) = sync_channel(MAX_WAITING);
        let (hits, found) = channel();
        thread::Builder::new().name("secrets".into()).spawn(move || work(&jobs, &hits))?;
        Ok(Self { waiting, found })
    }

    /// Hands a search over, without waiting.
    pub(super) fn search(&self, list: &Arc<WeakSecrets>, search: Search) -> Searched {
        match self.waiting.try_send((Arc::clone(list), search)) {
            Ok(()) => Searched::Later,
            Err(_) => Searched::Dropped,
        }
    }

    /// Searches that are over and found a weak secret.
    pub(super) fn found(&self) -> impl Iterator<Item = Search> {
        self.found.try_iter()
    }
}

fn work(jobs: &Receiver<(Arc<WeakSecrets>, Search)>, hits: &Sender<Search>) {
    // Of this thread alone, on Linux. Without it the search is only less polite.
    if let Err(error) = rustix::process::nice(19) {
        tracing::debug!("the search for weak secrets runs at normal priority: {error}");
    }
    for (list, search) in jobs {
        if list.verify(&search.sample) && hits.send(search).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        sync::Arc,
        thread,
        time::{Duration, Instant},
    };

    use aws_lc_rs::hmac;

    use super::{MAX_WAITING, SecretSearch};
    use crate::{
        capture::FlowKey,
        keys::Algorithm,
        time::Time,
        weak::{HmacSample, Search, Searched, WeakSecrets},
    };

    fn search(kid: usize, secret: &[u8]) -> Search {
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), b"a.b");
        Search {
            sample: Arc::new(HmacSample {
                alg: Algorithm::Hs256,
                issuer: None,
                kid: Some(kid.to_string().into()),
                input: (*b"a.b").into(),
                signature: signature.as_ref().into(),
            }),
            token: [0; 16],
            at: Time::EPOCH,
            flow: FlowKey {
                client: ([10, 0, 0, 1], 1).into(),
                server: ([10, 0, 0, 2], 2).into(),
                scope: 0,
            },
            service: None,
        }
    }

    #[test]
    fn weak_secrets_come_back_and_what_is_too_much_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list");
        let words: String = (0..10_000).map(|k| format!("word-{k}\n")).collect();
        fs::write(&path, words + "weak\n").unwrap();
        let list = Arc::new(WeakSecrets::load(&path).unwrap());
        let thread = SecretSearch::start().unwrap();
        let mut dropped = 0;
        for kid in 0..MAX_WAITING + 20 {
            let secret: &[u8] = if kid == 1 { b"weak" } else { b"strong" };
            match thread.search(&list, search(kid, secret)) {
                Searched::Later => {}
                Searched::Dropped => dropped += 1,
                other => panic!("{other:?}"),
            }
        }
        assert!(dropped > 0, "none was refused");
        let end = Instant::now() + Duration::from_secs(60);
        let found = loop {
            if let Some(found) = thread.found().next() {
                break found;
            }
            assert!(Instant::now() < end, "nothing is found");
            thread::sleep(Duration::from_millis(5));
        };
        assert_eq!(found.sample.kid.as_deref(), Some("1"));
    }
}
