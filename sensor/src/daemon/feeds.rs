//! Feeds: read, fetched, kept over a restart, and what is known of each.
//!
//! What can't be had or read is said once, and the list before stays in force.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant, UNIX_EPOCH},
};

use anyhow::{Context as _, ensure};

use super::{feed_cache, files::Fresh, now};
use crate::{
    clients::Clients,
    config::{Config, FeedConfig},
    confine::{self, Reach},
    control::FeedStatus,
    endpoint::Endpoint,
    enforce::file_list::FileList,
    feeds::{self, FeedError, FeedTable, Format, Meaning},
    keyring::Download,
    time::Time,
    whole_file,
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
    /// What came, or why there is nothing.
    pub(super) read: Result<Came, String>,
}

/// What came of a feed.
#[derive(Debug)]
pub(super) enum Came {
    /// Another text.
    New(Loaded),
    /// What is in force was still current then.
    Same(Time),
}

/// A feed's text, read.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) list: List,
    /// Of its lines, passed over.
    pub(super) skipped: u64,
    /// When the text was last known to be current; of a file, when it was written.
    pub(super) at: Time,
}

/// What a feed is used as.
#[derive(Debug)]
pub(super) enum List {
    /// Of `[[enforcement.feed]]`: what is denied.
    Denied(FileList),
    /// Of `[[feed]]`: what requests are scored by.
    Table(Arc<FeedTable>),
}

/// The name of a feed's use in `status`, beside those of [`Meaning`].
const DENIED: &str = "deny";

/// How a feed's bytes are read.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    name: String,
    format: Format,
    /// None of what is denied.
    meaning: Option<Meaning>,
}

impl Reading {
    fn of(config: &FeedConfig, meaning: Option<Meaning>) -> Self {
        Self { name: config.name.get_ref().clone(), format: config.format(), meaning }
    }

    fn read(&self, bytes: &[u8], at: Time) -> Result<Loaded, String> {
        let list = match self.meaning {
            Some(meaning) => self
                .table(bytes, meaning, now())
                .map(|table| (table.skipped(), List::Table(table.into()))),
            None => feeds::parse(bytes, &self.format, now()).map(|feed| {
                let list = FileList::of_feed(&self.name, &feed, now());
                // Domains and user agents are in no denylist.
                let others = feed.items.iter().filter(|item| item.indicator.network().is_none());
                (feed.skipped + others.count() as u64, List::Denied(list))
            }),
        };
        let (skipped, list) = list.map_err(|error| error.to_string())?;
        Ok(Loaded { list, skipped, at })
    }

    fn table(&self, bytes: &[u8], meaning: Meaning, now: Time) -> Result<FeedTable, FeedError> {
        let feed = feeds::parse(bytes, &self.format, now)?;
        Ok(FeedTable::new(&self.name, meaning, feed))
    }

    fn news(&self, read: Result<Loaded, String>) -> News {
        News { name: self.name.clone(), read: read.map(Came::New) }
    }
}

/// The feeds of a configuration, each with how it is read.
pub(super) fn all(config: &Config) -> impl Iterator<Item = (&FeedConfig, Reading)> {
    let scored = config.feeds.iter().map(|feed| (feed, Reading::of(feed, Some(feed.meaning()))));
    scored.chain(config.enforcement.feeds.iter().map(|feed| (feed, Reading::of(feed, None))))
}

/// What is known of a feed.
#[derive(Clone, Debug)]
pub(super) struct State {
    name: String,
    used: &'static str,
    entries: u64,
    skipped: u64,
    loaded: Option<Time>,
    at: Option<Time>,
    error: Option<String>,
}

impl State {
    pub(super) fn new(reading: &Reading) -> Self {
        let used = reading.meaning.map_or(DENIED, Meaning::as_str);
        let name = reading.name.clone();
        Self { name, used, entries: 0, skipped: 0, loaded: None, at: None, error: None }
    }

    pub(super) fn is(&self, name: &str) -> bool {
        self.name == name
    }

    pub(super) fn is_denied(&self) -> bool {
        self.used == DENIED
    }

    /// A list is in force.
    pub(super) fn loaded(&mut self, entries: u64, skipped: u64, at: Time) {
        (self.entries, self.skipped) = (entries, skipped);
        (self.loaded, self.at, self.error) = (Some(now()), Some(at), None);
    }

    /// What is in force was still current then.
    pub(super) fn same(&mut self, at: Time) {
        (self.at, self.error) = (Some(at), None);
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
            used: self.used.to_owned(),
            entries: self.entries,
            skipped: self.skipped,
            loaded: self.loaded.as_ref().map(Time::to_string),
            age_seconds: self.at.map(|at| now().since(at).as_secs()),
            error: self.error.clone(),
        }
    }
}

/// What a configuration's files say of clients: databases, and those feeds that requests are scored
/// by and that are files. Of bundles nothing is over.
///
/// # Errors
/// A file can't be read; the error names it.
pub(crate) fn clients_of_files(config: &Config) -> anyhow::Result<Clients> {
    let (mut tables, mut meanings) = (Vec::new(), Vec::new());
    for feed in &config.feeds {
        let Some(path) = &feed.path else { continue };
        let reading = Reading::of(feed, Some(feed.meaning()));
        let (bytes, _) = read_file(feed, path).with_context(|| path.display().to_string())?;
        let table = reading.table(&bytes, feed.meaning(), Time::EPOCH);
        tables.push(table.with_context(|| path.display().to_string())?.into());
        meanings.push(feed.meaning());
    }
    Ok(Clients::load(&config.clients)?.with_feeds(tables, &meanings))
}

/// Reads the feed at `path`.
pub(super) fn read(config: &FeedConfig, reading: &Reading, path: &Path) -> News {
    let read = read_file(config, path)
        .map_err(|error| error.to_string())
        .and_then(|(bytes, at)| reading.read(&bytes, at))
        .map_err(|error| format!("{}: {error}", path.display()));
    reading.news(read)
}

/// The bytes of the feed at `path`, and when they were written.
fn read_file(config: &FeedConfig, path: &Path) -> anyhow::Result<(Vec<u8>, Time)> {
    let (most, mut bytes) = (*config.max_bytes.get_ref(), Vec::new());
    let file = whole_file::open(path)?;
    let written = file.metadata()?.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    file.take(most + 1).read_to_end(&mut bytes)?;
    ensure!(bytes.len() as u64 <= most, "over {most} bytes");
    Ok((bytes, Time::EPOCH + written))
}

/// A feed that is fetched.
struct Remote {
    reading: Reading,
    refresh: Duration,
    due: Instant,
    download: Download,
    /// Where its last good text is kept.
    kept: PathBuf,
    /// That it can't be kept was said.
    unkept: bool,
}

impl Remote {
    /// A feed, and what was kept of it, which is in force until there is something newer.
    fn new(
        config: &Config,
        feed: &FeedConfig,
        reading: Reading,
        url: &str,
    ) -> anyhow::Result<(Self, Option<News>)> {
        let from = Endpoint::parse(url, config.keys.allow_http)?;
        let most = *feed.max_bytes.get_ref();
        let mut download = Download::new(config, from, ACCEPT, most, feed.timeout())
            .with_context(|| format!("feed {}", reading.name))?;
        let path = feed_cache::path(config, &reading.name, url);
        let mut news = None;
        let kept = feed_cache::load(&path, most).and_then(|kept| {
            let Some(kept) = kept else { return Ok(None) };
            let loaded = reading.read(&kept.text, kept.at)?;
            Ok(Some((loaded, kept.etag, kept.last_modified)))
        });
        match kept {
            Ok(None) => {}
            Ok(Some((loaded, etag, last_modified))) => {
                download = download.behind(etag, last_modified);
                news = Some(reading.news(Ok(loaded)));
            }
            Err(error) => tracing::warn!("what was kept of feed {}: {error}", reading.name),
        }
        let (refresh, due) = (feed.refresh(), Instant::now());
        Ok((Self { reading, refresh, due, download, kept: path, unkept: false }, news))
    }

    /// Fetches it.
    fn fetch(&mut self) -> News {
        let came = self.download.get();
        let at = now();
        let read = came.and_then(|came| match came {
            None => Ok(Came::Same(at)),
            Some(bytes) => {
                let loaded = self.reading.read(&bytes, at)?;
                self.download.taken();
                self.keep(feed_cache::store(&self.kept, self.download.validators(), &bytes));
                Ok(Came::New(loaded))
            }
        });
        if matches!(read, Ok(Came::Same(_))) {
            self.keep(feed_cache::touch(&self.kept, at));
        }
        let wait = if read.is_err() { RETRY.min(self.refresh) } else { self.refresh };
        self.due = Instant::now() + wait;
        News { name: self.reading.name.clone(), read }
    }

    /// Without what is kept the sensor still works; it only forgets at a restart.
    fn keep(&mut self, kept: std::io::Result<()>) {
        match kept {
            Ok(()) => self.unkept = false,
            Err(error) if !self.unkept => {
                self.unkept = true;
                tracing::warn!("{}: the feed is not kept: {error}", self.kept.display());
            }
            Err(_) => {}
        }
    }
}

/// Hands over what was kept of the feeds that have a URL, and starts the thread that fetches them,
/// one after another.
///
/// # Errors
/// `keys.ca_file` can't be used, or there is no thread.
pub(super) fn start(
    config: &Config,
    stop: &Arc<AtomicBool>,
    fresh: &mpsc::Sender<Fresh>,
) -> anyhow::Result<()> {
    let mut remotes = Vec::new();
    for (feed, reading) in all(config) {
        let Some(url) = &feed.url else { continue };
        let (remote, news) = Remote::new(config, feed, reading, url.get_ref())?;
        if let Some(news) = news {
            let _ = fresh.send(Fresh::Feed(news));
        }
        remotes.push(remote);
    }
    if remotes.is_empty() {
        return Ok(());
    }
    let (stop, fresh) = (Arc::clone(stop), fresh.clone());
    let reach = Reach::Fetching(vec![config.daemon.state_dir.clone()]);
    thread::Builder::new().name("jotwatch-feeds".into()).spawn(move || {
        confine::hold(&reach);
        while !stop.load(Ordering::Relaxed) {
            for remote in &mut remotes {
                if Instant::now() < remote.due || stop.load(Ordering::Relaxed) {
                    continue;
                }
                if fresh.send(Fresh::Feed(remote.fetch())).is_err() {
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
    use crate::config;

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
        let dir = tempfile::tempdir().unwrap();
        let remote = || {
            let text = format!(
                "[daemon]\nstate_dir = {:?}\n[keys]\nallow_http = true\n[[enforcement.feed]]\n\
                 name = \"bad\"\nurl = {url:?}\nmax_bytes = 1500\ntimeout_seconds = 20\n",
                dir.path()
            );
            let config = config::parse(&text, Path::new("c.toml")).unwrap();
            let (feed, reading) = all(&config).next().unwrap();
            Remote::new(&config, feed, reading, &url).unwrap()
        };
        let (mut one, kept) = remote();
        assert!(kept.is_none());
        let Came::New(loaded) = one.fetch().read.unwrap() else { panic!("not new") };
        let List::Denied(list) = loaded.list else { panic!("a table") };
        assert_eq!((list.name(), list.networks().len(), loaded.skipped), ("feed bad", 2, 1));
        assert_eq!(list.terms_of_network("198.51.100.7/32".parse().unwrap()).line, Some(3));
        assert!(matches!(one.fetch().read, Ok(Came::Same(_))));
        let mut failed = || one.fetch().read.unwrap_err();
        assert_eq!(failed(), "answered 503");
        assert_eq!(failed(), "line 1 is no indicator, as most lines");
        assert_eq!(failed(), "the answer is over 1500 bytes");
        assert!(one.due < Instant::now() + RETRY);
        // A restart has the last good one at once, and asks for what is newer.
        let (mut other, kept) = remote();
        let Some(Ok(Came::New(kept))) = kept.map(|news| news.read) else { panic!("not kept") };
        assert!(matches!(&kept.list, List::Denied(list) if list.networks().len() == 2));
        assert!(now().since(kept.at) < Duration::from_secs(20));
        assert!(matches!(other.fetch().read, Ok(Came::New(_))));
        assert!(other.due > Instant::now() + RETRY);
        let heads = server.join().unwrap();
        assert!(!heads[0].contains("if-none-match"), "{}", heads[0]);
        // Only what was put to use makes a request conditional.
        for head in &heads[1..] {
            assert!(head.contains("if-none-match: \"a1\""), "{head}");
        }
    }

    #[test]
    fn what_is_known_of_a_feed() {
        let reading = Reading { name: "x".into(), format: Format::Stix, meaning: None };
        let mut state = State::new(&reading);
        assert!(state.failed("a") && !state.failed("a") && state.failed("b"));
        assert_eq!(state.status().age_seconds, None);
        let ago = |seconds| Time::EPOCH + (now().since(Time::EPOCH) - Duration::from_secs(seconds));
        state.loaded(3, 1, ago(3_600));
        let status = state.status();
        assert_eq!((status.entries, status.skipped, status.error), (3, 1, None));
        assert!(status.loaded.is_some() && status.age_seconds >= Some(3_600));
        state.failed("c");
        assert_eq!((state.status().entries, state.status().error.as_deref()), (3, Some("c")));
        state.same(ago(0));
        assert!(state.status().age_seconds < Some(60) && state.status().error.is_none());
    }

    #[test]
    fn a_server_that_hangs_or_never_ends_gives_an_error_in_time() {
        let dir = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/list", listener.local_addr().unwrap());
        thread::spawn(move || {
            // It says nothing; it stops in the middle; it goes on for ever, in one chunk after another.
            let mut silent = Vec::new();
            for (n, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                match n {
                    0 => {}
                    1 => {
                        let part = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n192.0.2.1\n";
                        stream.write_all(part.as_bytes()).unwrap();
                    }
                    _ => {
                        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                        stream.write_all(head.as_bytes()).unwrap();
                        while stream.write_all(b"a\r\n192.0.2.1\n\r\n").is_ok() {}
                    }
                }
                silent.push(stream);
            }
        });
        let text = format!(
            "[daemon]\nstate_dir = {:?}\n[keys]\nallow_http = true\n[[feed]]\n\
             name = \"bad\"\nurl = {url:?}\nmax_bytes = 100000\ntimeout_seconds = 1\n",
            dir.path()
        );
        let config = config::parse(&text, Path::new("c.toml")).unwrap();
        let (feed, reading) = all(&config).next().unwrap();
        let (mut remote, _) = Remote::new(&config, feed, reading, &url).unwrap();
        let mut failed = || remote.fetch().read.unwrap_err();
        assert_eq!(failed(), "no whole answer in time");
        assert_eq!(failed(), "no whole answer in time");
        assert_eq!(failed(), "the answer is over 100000 bytes");
    }
}
