use std::{
    io::{self, BufWriter, Write},
    num::NonZero,
    path::PathBuf,
};

use anyhow::Context as _;
use clap::builder::RangedU64ValueParser;

use super::history::HistoryOut;
use crate::{
    capture::file::CaptureFile,
    config::Config,
    daemon::clients_of_files,
    enforce::file_list::FileList,
    event::{Event, ExchangeLine},
    fingerprint_key, keyring,
    pipeline::{Assessed, Output, Pipeline, Settings},
    policy::Enforcement,
    replay::{self, MAX_THREADS},
    revocation::RevocationList,
    services::Services,
    time::Time,
    trust,
};

/// Bytes of output that are gathered before they are written.
const OUTPUT_BUFFER: usize = 256 << 10;

/// Read a capture file through the pipeline of the daemon and print the events as JSON lines.
///
/// The same file and configuration give the same bytes. A file that ends in the middle of a packet
/// is read up to there, and the exit code is 1.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    jotwatch replay incident.pcap\n  \
    jotwatch replay incident.pcapng --exchanges | jq -c 'select(.status == 200)'\n  \
    tcpdump -i lo -w - port 8080 | jotwatch replay -")]
pub(super) struct Arguments {
    /// A pcap or pcapng file; `-` reads standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Configuration file; without it the built-in defaults hold, never the host's own file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print one line for every request instead of the events.
    #[arg(long)]
    exchanges: bool,
    /// Also write the scored requests there, as the daemon keeps them for `jotwatch train`; what
    /// the file held is lost.
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// Share the work among so many threads, 1 to 64; the output is the same.
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=MAX_THREADS as u64))]
    threads: usize,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    // The host's configuration is not taken by itself: the same file shall give the same bytes on
    // every machine.
    let config = match &arguments.config {
        Some(path) => crate::config::load(path)?,
        None => Config::default(),
    };
    let key = match &config.events.fingerprint_key_file {
        Some(path) => fingerprint_key::read(path)?,
        None => fingerprint_key::REPLAY,
    };
    let mut capture = CaptureFile::open(&arguments.file, &config.capture.ports)?;
    // Tried at once, so that the same file gives the same bytes.
    let weak_secrets = config.tokens.weak_secrets()?;
    let models = config.scoring.models()?;
    let mut settings = Settings::new(&config, key, fingerprint_key::REPLAY_SALT);
    settings.enforcement = Enforcement { replay: true, ..config.enforcement.resolve() }.into();
    let mut pipeline = Pipeline::new(settings.with_weak_secrets(weak_secrets).with_models(models));
    let files = config.enforcement.deny_files.get_ref().iter();
    let files = files.map(|path| FileList::load(path, Time::EPOCH)).collect::<Result<_, _>>()?;
    pipeline.lists().denied.replace_files(files)?;
    pipeline.lists().allowed.configure(config.enforcement.allow.resolve());
    let (keys, warnings) = keyring::load_files(&config.issuers)?;
    for warning in warnings {
        let _ = writeln!(io::stderr(), "jotwatch: {warning}");
    }
    pipeline.serve(Services::load(&config.services)?.into());
    pipeline.locate(clients_of_files(&config)?.into());
    pipeline.revoke(&RevocationList::load(config.revocation.list_file.as_deref())?);
    pipeline.trust(trust::store(&keys).into(), trust::policy(&config.issuers).into());
    let history = HistoryOut::create(arguments.history.as_deref(), &config.scoring.history)?;
    let mut lines = Lines {
        history,
        exchanges: arguments.exchanges,
        out: BufWriter::with_capacity(OUTPUT_BUFFER, io::stdout().lock()),
        scratch: Vec::new(),
        result: Ok(()),
    };
    let threads = NonZero::new(arguments.threads).unwrap_or(NonZero::<usize>::MIN);
    let more = |lines: &Lines<_>| lines.result.is_ok();
    let end = replay::read(&mut pipeline, &mut capture, threads, &mut lines, more);
    lines.result?;
    lines.out.flush().context("standard output")?;
    lines.history.map(HistoryOut::finish).transpose()?;
    Ok(end?)
}

/// Writes each line as it comes; after a failed write the rest is passed over.
struct Lines<W> {
    exchanges: bool,
    history: Option<HistoryOut>,
    out: W,
    scratch: Vec<u8>,
    result: io::Result<()>,
}

impl<W: Write> Output for Lines<W> {
    fn event(&mut self, event: Event) {
        if !self.exchanges && self.result.is_ok() {
            self.result = event.write_line(&mut self.scratch, &mut self.out);
        }
    }

    fn wants_assessed(&self) -> bool {
        self.history.is_some()
    }

    fn assessed(&mut self, assessed: &Assessed<'_>) {
        if let Some(history) = &mut self.history {
            history.take(assessed);
        }
    }

    fn wants_exchanges(&self) -> bool {
        self.exchanges
    }

    fn exchange(&mut self, line: &ExchangeLine<'_>) {
        if self.result.is_ok() {
            self.scratch.clear();
            line.write(&mut self.scratch);
            self.result = self.out.write_all(&self.scratch);
        }
    }
}
