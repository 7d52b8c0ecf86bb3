//! Feeds of what is denied: read, fetched, and what is known of each.
//!
//! What can't be had or read is said once, and the list before stays in force.

use std::{
    fs::File,
    io::Read as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use super::{files::Fresh, now};
use crate::{
    config::{Config, FeedConfig},
    control::FeedStatus,
    enforce::file_list::FileList,
    feeds::{self, Format},
    keyring::{Download, Endpoint},
};

/// What servers are asked for.
const ACCEPT: &str = "text/plain, text/csv, application/stix+json, application/json, */*;q=0.1";

/// A fetch that failed is tried again after this long, or after `refresh_seconds` if that is sooner.
const RETRY: Duration = Duration::from_secs(300);

/// How often the thread looks at what is due, and whether it is to end.
const PERIOD: Duration = Duration::from_millis(500);

/// What became of a feed.
#[derive(Debug)]
pub(super) struct News {
    pub(super) name: String,
    /// The list and how many of its lines were passed over, or why there is none.
    pub(super) read: Result<(FileList, u64), String>,
}

/// What is known of a feed.
#[derive(Clone, Debug)]
pub(super) struct State {
    name: String,
    entries: u64,
    skipped: u64,
    loaded: Option<String>,
    error: Option<String>,
}

impl State {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), entries: 0, skipped: 0, loaded: None, error: None }
    }

    pub(super) fn is(&self, name: &str) -> bool {
        self.name == name
    }

    /// A list is in force.
    pub(super) fn loaded(&mut self, entries: u64, skipped: u64) {
        *self = Self { entries, skipped, loaded: Some(now().to_string()), ..Self::new(&self.name) };
    }

    /// There is none, or none newer; `false` where that is known.
    pub(super) fn failed(&mut self, error: &str) -> bool {
        let known = self.error.as_deref() == Some(error);
        self.error = Some(error.to_owned());
        !known
    }

    pub(super) fn status(&self) -> FeedStatus {
        FeedStatus {
            name: self.name.clone(),
            entries: self.entries,
            skipped: self.skipped,
            loaded: self.loaded.clone(),
            error: self.error.clone(),
        }
    }
}

fn list(name: &str, bytes: &[u8], format: &Format) -> Result<(FileList, u64), String> {
    let feed = feeds::parse(bytes, format, now()).map_err(|error| error.to_string())?;
    let list = FileList::of_feed(name, &feed, now());
    // Domains and user agents are in no denylist.
    let others = feed.items.iter().filter(|item| item.indicator.network().is_none()).count();
    Ok((list, feed.skipped + others as u64))
}

/// Reads the feed at `path`.
pub(super) fn read(config: &FeedConfig, path: &Path) -> News {
    let bytes = || -> anyhow::Result<Vec<u8>> {
        let (most, mut bytes) = (*config.max_bytes.get_ref(), Vec::new());
        File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
        anyhow::ensure!(bytes.len() as u64 <= most, "over {most} bytes");
        Ok(bytes)
    };
    let name = config.name.get_ref();
    let read = bytes()
        .map_err(|error| error.to_string())
        .and_then(|bytes| list(name, &bytes, &config.format()))
        .map_err(|error| format!("{}: {error}", path.display()));
    News { name: name.clone(), read }
}

/// A feed that is fetched.
struct Remote {
    name: String,
    format: Format,
    refresh: Duration,
    due: Instant,
    download: Download,
}

impl Remote {
    /// Fetches it; nothing where it is what it was.
    fn fetch(&mut self) -> Option<News> {
        let came = self.download.get();
        let read = match came {
            Ok(None) => None,
            Ok(Some(bytes)) => Some(list(&self.name, &bytes, &self.format)),
            Err(error) => Some(Err(error)),
        };
        let wait = match &read {
            Some(Err(_)) => RETRY.min(self.refresh),
            Some(Ok(_)) => {
                self.download.taken();
                self.refresh
            }
            None => self.refresh,
        };
        self.due = Instant::now() + wait;
        read.map(|read| News { name: self.name.clone(), read })
    }
}

/// Starts the thread that fetches the feeds that have a URL, one after another.
///
/// # Errors
/// `keys.ca_file` can't be used, or there is no thread.
pub(super) fn start(
    config: &Config,
    stop: &Arc<AtomicBool>,
    fresh: &mpsc::Sender<Fresh>,
) -> anyhow::Result<()> {
    let mut remotes = Vec::new();
    for feed in &config.enforcement.feeds {
        let Some(url) = &feed.url else { continue };
        let name = feed.name.get_ref().clone();
        let from = Endpoint::parse(url.get_ref(), config.keys.allow_http)?;
        let most = *feed.max_bytes.get_ref();
        let download = Download::new(config, from, ACCEPT, most, feed.timeout())
            .with_context(|| format!("feed {name}"))?;
        let (format, refresh, due) = (feed.format(), feed.refresh(), Instant::now());
        remotes.push(Remote { name, format, refresh, due, download });
    }
    if remotes.is_empty() {
        return Ok(());
    }
    let (stop, fresh) = (Arc::clone(stop), fresh.clone());
    thread::Builder::new().name("jotwatch-feeds".into()).spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            for remote in &mut remotes {
                if Instant::now() < remote.due || stop.load(Ordering::Relaxed) {
                    continue;
                }
                if let Some(news) = remote.fetch()
                    && fresh.send(Fresh::Feed(news)).is_err()
                {
                    // Nobody listens any more.
                    return;
                }
            }
            thread::sleep(PERIOD);
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader, Write as _},
        net::TcpListener,
    };

    use super::*;
    use crate::{config, feeds::Kind};

    /// Answers one request after another; gives their heads.
    fn server(answers: Vec<String>) -> (String, thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/list", listener.local_addr().unwrap());
        let thread = thread::spawn(move || {
            let mut heads = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let head: Vec<String> =
                    lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
                heads.push(head.join("\n").to_ascii_lowercase());
                stream.write_all(answer.as_bytes()).unwrap();
            }
            heads
        });
        (url, thread)
    }

    fn ok(body: &str, more: &str) -> String {
        let length = body.len();
        format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n{more}\r\n{body}"
        )
    }

    #[test]
    fn a_feed_is_fetched_when_it_is_newer_and_what_fails_is_said() {
        let etag = "ETag: \"a1\"\r\n";
        let (url, server) = server(vec![
            ok("192.0.2.0/24 ; x\nevil.example\n198.51.100.7\n", etag),
            "HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n".into(),
            "HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".into(),
            ok("<html>\n<p>\n", "ETag: \"page\"\r\n"),
            ok(&"192.0.2.1\n".repeat(200), ""),
            ok("192.0.2.1\n", ""),
        ]);
        let text = "[keys]\nallow_http = true\n";
        let config = config::parse(text, Path::new("c.toml")).unwrap();
        let from = Endpoint::parse(&url, true).unwrap();
        let total = Duration::from_secs(20);
        let mut remote = Remote {
            name: "bad".into(),
            format: Format::Plain(Kind::Host),
            refresh: Duration::from_secs(3_600),
            due: Instant::now(),
            download: Download::new(&config, from, ACCEPT, 1_500, total).unwrap(),
        };
        let (list, skipped) = remote.fetch().unwrap().read.unwrap();
        assert_eq!((list.name(), list.networks().len(), skipped), ("feed bad", 2, 1));
        assert_eq!(list.terms_of_network("198.51.100.7/32".parse().unwrap()).line, Some(3));
        assert!(remote.fetch().is_none(), "not modified");
        let mut failed = || remote.fetch().unwrap().read.unwrap_err();
        assert_eq!(failed(), "answered 503");
        assert_eq!(failed(), "line 1 is no indicator, as most lines");
        assert_eq!(failed(), "the answer is over 1500 bytes");
        assert!(remote.due < Instant::now() + RETRY);
        assert_eq!(remote.fetch().unwrap().read.unwrap().0.len(), 1);
        assert!(remote.due > Instant::now() + RETRY);
        let heads = server.join().unwrap();
        assert!(!heads[0].contains("if-none-match"), "{}", heads[0]);
        // Only what was put to use makes a request conditional.
        for head in &heads[1..] {
            assert!(head.contains("if-none-match: \"a1\""), "{head}");
        }
    }

    #[test]
    fn what_is_known_of_a_feed() {
        let mut state = State::new("x");
        assert!(state.failed("a") && !state.failed("a") && state.failed("b"));
        state.loaded(3, 1);
        let status = state.status();
        assert_eq!((status.entries, status.skipped, status.error), (3, 1, None));
        assert!(status.loaded.is_some());
        state.failed("c");
        assert_eq!((state.status().entries, state.status().error.as_deref()), (3, Some("c")));
    }
}
