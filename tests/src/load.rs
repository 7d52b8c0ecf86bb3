//! Requests that keep coming while something is done to the sensor: a service that is watched has
//! to answer every one of them.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::services::{Place, http::Client};

/// A load on several connections that stay open.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl Load {
    /// Opens `connections` and sends a request on each of them every `pace`, each when the one before
    /// was answered. `request` makes the request of this number.
    ///
    /// # Errors
    /// The system's.
    pub fn start(
        place: &Place<'_>,
        addr: SocketAddr,
        connections: usize,
        pace: Duration,
        request: impl Fn(u64) -> Vec<u8> + Clone + Send + 'static,
    ) -> Result<Self> {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let numbers = Arc::new(AtomicU64::new(0));
        let mut threads = Vec::new();
        for _ in 0..connections {
            let mut client = Client::connect(place, addr)?;
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            let (numbers, request) = (Arc::clone(&numbers), request.clone());
            threads.push(thread::spawn(move || {
                let mut due = Instant::now();
                while !stop.load(Ordering::Relaxed) {
                    let number = numbers.fetch_add(1, Ordering::Relaxed);
                    let status = client
                        .send(&request(number))
                        .with_context(|| format!("request {number}"))?
                        .status;
                    ensure!(status < 300, "request {number} was answered {status}");
                    answered.fetch_add(1, Ordering::Relaxed);
                    // What could not be sent in time is not made up for.
                    due = (due + pace).max(Instant::now());
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                }
                Ok(())
            }));
        }
        Ok(Self { stop, answered, threads })
    }

    /// Requests that were answered so far.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Whether a request has failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Ends it; gives how many requests were answered.
    ///
    /// # Errors
    /// A request was not answered, or not with 2xx.
    pub fn end(mut self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
        }
        Ok(self.answered())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
