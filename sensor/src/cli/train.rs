//! `train`: a behaviour model from the host's own history.

use std::{
    collections::HashSet,
    fs::{self, OpenOptions},
    io::{self, IsTerminal as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Usage;
use crate::train::{self, MAX_ROWS, Options, Watch};

/// Learn a behaviour model from the host's own history of scored requests.
///
/// The history is what the daemon writes where [scoring.history] names a file, or `jotwatch replay
/// --history`; plain or gzip. The model is written whole or not at all; nothing uses it until it is
/// named in the configuration (scoring.shadow_model_file, scoring.behaviour_model_file). The same
/// files, in the same order, with the same seed give the same bytes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    jotwatch train --data /var/lib/jotwatch/history.jsonl --out behaviour.model\n  \
    jotwatch train --data history.jsonl.1 --data history.jsonl \\\n    \
        --labels /var/lib/jotwatch/labels.jsonl --false-alerts 0.0005 --out behaviour.model\n  \
    jotwatch train --data week1.jsonl.gz week2.jsonl.gz --out behaviour.model --json | jq .held_out")]
pub(super) struct Arguments {
    /// A history; may be given several times.
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    data: Vec<PathBuf>,
    /// What people said of events, as `jotwatch feedback` keeps it; may be given several times.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    labels: Vec<PathBuf>,
    /// Where the model goes.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The share of subjects' days that may have a false alert: the threshold follows.
    #[arg(long, value_name = "SHARE", default_value_t = 0.001, value_parser = share)]
    false_alerts: f64,
    /// Whatever is left to chance hangs on this number.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Requests that trees are grown from at most, drawn evenly from all.
    #[arg(long, value_name = "N", default_value_t = MAX_ROWS as u64,
          value_parser = clap::value_parser!(u64).range(1_000..=MAX_ROWS as u64))]
    rows: u64,
    /// Print the summary as one JSON object.
    #[arg(long)]
    json: bool,
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    if (1e-6..=0.1).contains(&share) {
        Ok(share)
    } else {
        Err("a share of days lies between 0.000001 and 0.1".to_owned())
    }
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { data, labels, out, false_alerts, seed, rows, json } = arguments;
    once_each(&data, &labels, &out)?;
    // Before the work, not behind it.
    let fresh = Fresh::beside(&out)?;
    let rows = usize::try_from(rows).unwrap_or(MAX_ROWS);
    let options = Options { data, labels, seed, false_alerts, rows };
    let mut bars = Bars::new();
    let (bytes, card) = train::train(&options, &mut bars)?;
    bars.clear();
    fresh.put(&bytes)?;
    let mut stdout = io::stdout().lock();
    if json {
        serde_json::to_writer(&mut stdout, &card.json())?;
        writeln!(stdout)?;
    } else {
        write!(stdout, "{card}")?;
        writeln!(
            stdout,
            "\n{}: {} bytes; name it as scoring.shadow_model_file to hold it against the model in \
             force",
            out.display(),
            bytes.len()
        )?;
    }
    Ok(())
}

/// A history that is read twice would count twice, and one that is the model's place would go.
fn once_each(data: &[PathBuf], labels: &[PathBuf], out: &Path) -> anyhow::Result<()> {
    let mut seen = HashSet::new();
    for path in data.iter().chain(labels) {
        let file = fs::metadata(path).with_context(|| path.display().to_string())?;
        if !seen.insert((file.dev(), file.ino())) {
            return Err(Usage(format!("{} is named twice", path.display())).into());
        }
    }
    if let Ok(file) = fs::metadata(out)
        && seen.contains(&(file.dev(), file.ino()))
    {
        return Err(Usage(format!("{} is read, and can't be --out", out.display())).into());
    }
    Ok(())
}

/// A file beside its place, which it takes when it is whole.
struct Fresh {
    place: PathBuf,
    path: PathBuf,
    file: fs::File,
}

impl Fresh {
    fn beside(place: &Path) -> anyhow::Result<Self> {
        let mut name = place.file_name().context("--out names no file")?.to_owned();
        name.push(format!(".{}.new", std::process::id()));
        let path = place.with_file_name(name);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
            .open(&path)
            .with_context(|| path.display().to_string())?;
        Ok(Self { place: place.to_owned(), path, file })
    }

    fn put(mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let place = self.place.display().to_string();
        self.file.write_all(bytes).and_then(|()| self.file.sync_all()).context(place.clone())?;
        fs::rename(&self.path, &self.place).context(place)
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        // Gone already where it has taken its place.
        let _ = fs::remove_file(&self.path);
    }
}

/// Bars with rates on standard error, where a person watches.
struct Bars {
    bar: ProgressBar,
}

impl Bars {
    fn new() -> Self {
        Self { bar: ProgressBar::hidden() }
    }

    fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl Watch for Bars {
    fn begin(&mut self, what: &'static str, all: u64, bytes: bool) {
        self.clear();
        if !io::stderr().is_terminal() {
            return;
        }
        let template = match bytes {
            true => "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
            false => "{msg} {wide_bar} {human_pos}/{human_len} {per_sec} {eta}",
        };
        let bar = ProgressBar::with_draw_target(Some(all), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what);
        self.bar = bar;
    }

    fn at(&mut self, done: u64) {
        self.bar.set_position(done);
    }
}
