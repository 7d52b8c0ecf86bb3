//! Learned keys, kept over a restart: a pin that a restart forgets would be no pin.
//!
//! One JSON object a line, each for itself; the file is written whole beside the old one and takes
//! its place, by a thread of its own. A line that is damaged or torn loses itself.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    keys::{MAX_LEARNED_ISSUERS, MAX_LEARNED_KEYS, Pin},
    learn::read_key,
    pipeline::Pipeline,
    time::Time,
    whole_file,
};

const FILE_NAME: &str = "learned.jsonl";

/// A file that is larger is not read: each key at 4 KiB, which is more than RSA with 16,384 bits.
const MAX_BYTES: u64 = (MAX_LEARNED_ISSUERS * MAX_LEARNED_KEYS * 4096) as u64;

/// How often it is written where nothing changed but when keys were last seen.
const REFRESH: Duration = Duration::from_secs(3_600);

/// One learned key.
#[derive(Serialize, Deserialize)]
struct Line<'a> {
    issuer: String,
    /// Seconds since the Unix epoch.
    seen: u64,
    /// The thumbprint of another key that was served under its name, as 64 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    other: Option<String>,
    #[serde(borrow)]
    jwk: &'a RawValue,
}

/// The file of learned keys of a running daemon.
#[derive(Debug)]
pub(super) struct LearnedFile {
    path: PathBuf,
    /// What it was last written of.
    written: State,
    /// What is being written, and who writes it.
    under_way: Option<(State, JoinHandle<io::Result<()>>)>,
    failing: bool,
}

/// What a file is written of, and when.
#[derive(Clone, Copy, Debug)]
struct State {
    /// Keys learned, changed and sets read.
    counts: [u64; 3],
    at: Time,
}

impl LearnedFile {
    /// Reads the file in `state_dir` as far as it is sound, and puts its keys back.
    pub(super) fn open(state_dir: &Path, pipeline: &mut Pipeline, now: Time) -> Self {
        let path = state_dir.join(FILE_NAME);
        let mut text = String::new();
        let read = File::open(&path).and_then(|file| {
            let mut bytes = Vec::new();
            file.take(MAX_BYTES).read_to_end(&mut bytes)?;
            text = String::from_utf8_lossy(&bytes).into_owned();
            Ok(())
        });
        match read {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!("{}: {error}; learned keys are forgotten", path.display());
            }
            _ => {}
        }
        let lost = text.lines().filter(|line| restore(line, pipeline).is_none()).count();
        if lost > 0 {
            tracing::warn!(
                "{}: {lost} learned keys are damaged or have no place; the rest is kept",
                path.display()
            );
        }
        Self { path, written: State { counts: [0; 3], at: now }, under_way: None, failing: false }
    }

    /// Has what changed since it was written last be written, unless the disk is still at that. A
    /// failure is said once until it is over.
    pub(super) fn save(&mut self, pipeline: &Pipeline, now: Time) {
        if self.under_way.as_ref().is_none_or(|(_, thread)| thread.is_finished()) {
            self.settle();
            self.begin(pipeline, now);
        }
    }

    /// As [`save`](Self::save), and waits for the disk.
    pub(super) fn finish(&mut self, pipeline: &Pipeline, now: Time) {
        self.settle();
        self.begin(pipeline, now);
        self.settle();
    }

    /// Takes note of what became of the file that is under way.
    fn settle(&mut self) {
        let Some((state, thread)) = self.under_way.take() else { return };
        match thread.join().unwrap_or_else(|_| Err(io::Error::other("it panicked"))) {
            Ok(()) => (self.written, self.failing) = (state, false),
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&mut self, error: &io::Error) {
        if !self.failing {
            self.failing = true;
            tracing::error!("{}: {error}; learned keys are not kept", self.path.display());
        }
    }

    fn begin(&mut self, pipeline: &Pipeline, now: Time) {
        let stats = pipeline.stats().key_sets;
        let counts = [stats.learned, stats.changed, stats.read];
        let changed = self.written.counts[..2] != counts[..2];
        // A clock that was set back says nothing of how long ago that was.
        let old = now < self.written.at || now.since(self.written.at) >= REFRESH;
        let stale = self.written.counts != counts && old;
        if !changed && !stale {
            return;
        }
        let begun = lines(pipeline).and_then(|lines| {
            let path = self.path.clone();
            let name = "jotwatch-learned".into();
            thread::Builder::new().name(name).spawn(move || whole_file::write(&path, &[&lines]))
        });
        match begun {
            Ok(thread) => self.under_way = Some((State { counts, at: now }, thread)),
            Err(error) => self.failed(&error),
        }
    }
}

/// The whole file.
fn lines(pipeline: &Pipeline) -> io::Result<Vec<u8>> {
    let mut lines = Vec::new();
    for (issuer, key, pin) in pipeline.learned() {
        let Some(jwk) = key.to_jwk() else { continue };
        let line = Line {
            issuer,
            seen: pin.seen.unix_secs(),
            other: pin.other.map(|other| other.iter().map(|b| format!("{b:02x}")).collect()),
            jwk: serde_json::from_str(&jwk)?,
        };
        serde_json::to_writer(&mut lines, &line)?;
        lines.push(b'\n');
    }
    Ok(lines)
}

pub(super) fn restore(line: &str, pipeline: &mut Pipeline) -> Option<()> {
    let line: Line<'_> = serde_json::from_str(line).ok()?;
    let other = match line.other {
        None => None,
        Some(digits) => Some(thumbprint(&digits)?),
    };
    let pin = Pin { seen: Time::from_unix_secs(line.seen), other };
    pipeline.restore_learned(&line.issuer, read_key(line.jwk.get())?, pin).then_some(())
}

fn thumbprint(digits: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if digits.len() != 64 {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::{FILE_NAME, LearnedFile, lines, whole_file};
    use crate::{
        config::Config,
        keys::Pin,
        learn::read_key,
        pipeline::{Pipeline, Settings},
        time::Time,
        token::FingerprintKey,
    };

    const JWK: &str = r#"{"kty":"OKP","crv":"Ed25519","kid":"KID","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    const NOW: Time = Time::from_unix_secs(1_700_000_000);

    fn pipeline() -> Pipeline {
        Pipeline::new(Settings::new(&Config::default(), FingerprintKey::new([7; 16]), [1; 16]))
    }

    fn kids(pipeline: &Pipeline) -> Vec<(String, Pin)> {
        let mut kids: Vec<_> =
            pipeline.learned().map(|(_, key, pin)| (key.kid().unwrap().to_owned(), pin)).collect();
        kids.sort_by(|a, b| a.0.cmp(&b.0));
        kids
    }

    #[test]
    fn pins_survive_a_restart_and_a_damaged_line_costs_itself() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = pipeline();
        for (kid, other) in [("1", None), ("2", Some([0xab; 32])), ("3 \\\" \\u00e4", None)] {
            let key = read_key(&JWK.replace("KID", kid)).unwrap();
            assert!(first.restore_learned("id.example", key, Pin { seen: NOW, other }));
        }
        let path = dir.path().join(FILE_NAME);
        whole_file::write(&path, &[&lines(&first).unwrap()]).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);

        let mut second = pipeline();
        LearnedFile::open(dir.path(), &mut second, NOW);
        assert_eq!(kids(&second), kids(&first));
        assert_eq!(kids(&second)[1].1.other, Some([0xab; 32]));

        // Torn at any place: the lines before it stay, nothing is invented.
        let whole = fs::read(&path).unwrap();
        for len in 0..whole.len() {
            fs::write(&path, &whole[..len]).unwrap();
            let mut torn = pipeline();
            LearnedFile::open(dir.path(), &mut torn, NOW);
            let kept = kids(&torn);
            assert!(kept.iter().all(|kid| kids(&first).contains(kid)));
            let lines = whole[..len].iter().filter(|&&b| b == b'\n').count();
            assert!(kept.len() == lines || kept.len() == lines + 1, "{len}");
        }
        fs::write(&path, [b"\xff\0\n{}\n", &whole[..]].concat()).unwrap();
        let mut damaged = pipeline();
        LearnedFile::open(dir.path(), &mut damaged, NOW);
        assert_eq!(kids(&damaged), kids(&first));
    }

    #[test]
    fn what_changed_is_written_once_and_what_failed_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut pipeline = pipeline();
        let key = read_key(JWK).unwrap();
        assert!(pipeline.restore_learned("id.example", key, Pin { seen: NOW, other: None }));
        let mut file = LearnedFile::open(dir.path(), &mut pipeline, NOW);
        let path = dir.path().join(FILE_NAME);
        file.finish(&pipeline, NOW);
        assert!(!path.exists());
        // As if others had been learned when it was written last.
        file.written.counts = [9; 3];
        fs::write(dir.path().join("f"), "").unwrap();
        file.path = dir.path().join("f").join(FILE_NAME);
        file.finish(&pipeline, NOW);
        assert!(file.failing);
        file.path.clone_from(&path);
        file.finish(&pipeline, NOW);
        assert!(!file.failing && fs::read(&path).unwrap() == lines(&pipeline).unwrap());
        fs::remove_file(&path).unwrap();
        file.finish(&pipeline, NOW);
        assert!(!path.exists() && file.under_way.is_none());
    }
}
