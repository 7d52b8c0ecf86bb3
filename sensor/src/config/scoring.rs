use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use jotwatch_models::{behaviour::BehaviourModel, payload::PayloadModel};
use serde::Deserialize;
use toml::Spanned;

use crate::{features::SubjectLimits, score::Models, whole_file};

/// Largest model file that is read.
const MAX_MODEL_BYTES: u64 = 16 << 20;

/// `[scoring]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScoringConfig {
    /// Whether requests are scored.
    pub enabled: bool,
    /// A payload model in the place of the one that is built in.
    pub payload_model_file: Option<PathBuf>,
    /// A behaviour model in the place of the one that is built in.
    pub behaviour_model_file: Option<PathBuf>,
    /// A behaviour model that scores beside the one in force, and changes nothing.
    pub shadow_model_file: Option<PathBuf>,
    /// For how many days what somebody says of an event counts for the like of it.
    pub feedback_days: Spanned<u32>,
    /// What is kept of scored exchanges.
    pub history: HistoryConfig,
    /// Subjects with a good signature of which profiles are kept.
    pub subjects: Spanned<usize>,
    /// Other subjects of which profiles are kept.
    pub other_subjects: Spanned<usize>,
    /// How often what is usual for them is written to the state folder.
    pub save_seconds: Spanned<u64>,
}

impl Default for ScoringConfig {
    fn default() -> Self {
        let limits = SubjectLimits::default();
        Self {
            enabled: true,
            payload_model_file: None,
            behaviour_model_file: None,
            shadow_model_file: None,
            feedback_days: Spanned::new(0..0, 90),
            history: HistoryConfig::default(),
            subjects: Spanned::new(0..0, limits.vouched),
            other_subjects: Spanned::new(0..0, limits.others),
            save_seconds: Spanned::new(0..0, 300),
        }
    }
}

/// Where a history is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryPlace {
    /// The file.
    pub path: PathBuf,
    /// Bytes that it may take, with the part that is set aside.
    pub max_bytes: u64,
    /// One in so many unremarkable exchanges is written.
    pub sample: u32,
}

/// `[scoring.history]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HistoryConfig {
    /// Where scored exchanges are written, one a line; nowhere when absent.
    pub file: Option<PathBuf>,
    /// Bytes of that file and of the part that is set aside, together.
    pub max_bytes: Spanned<u64>,
    /// One in so many exchanges that nothing speaks against is written.
    pub sample: Spanned<u32>,
}

impl Default for HistoryConfig {
    fn default() -> Self {
        Self { file: None, max_bytes: Spanned::new(0..0, 256 << 20), sample: Spanned::new(0..0, 1) }
    }
}

impl HistoryConfig {
    /// Where it is written.
    #[must_use]
    pub fn place(&self) -> Option<HistoryPlace> {
        self.file.as_ref().map(|path| HistoryPlace {
            path: path.clone(),
            max_bytes: *self.max_bytes.get_ref(),
            sample: *self.sample.get_ref(),
        })
    }
}

pub(super) fn check(scoring: &ScoringConfig) -> Result<(), super::Complaint> {
    super::within(&scoring.feedback_days, "feedback_days", 1, 3_650)?;
    super::within(&scoring.history.max_bytes, "max_bytes", 1 << 20, 1 << 40)?;
    super::within(&scoring.history.sample, "sample", 1, 1_000_000)
}

/// Reads a behaviour model.
///
/// # Errors
/// It can't be read, is torn or too large, or was made for other features; the error names it.
pub fn read_behaviour(path: &Path) -> anyhow::Result<BehaviourModel> {
    let place = || format!("behaviour model {}", path.display());
    let bytes = read(path).with_context(place)?;
    BehaviourModel::from_bytes(&bytes).with_context(place)
}

impl ScoringConfig {
    /// What requests are scored with; `None` where they are not. Reads the files that are named.
    ///
    /// # Errors
    /// A file can't be read, is torn, or was made for other features; the error names it.
    pub fn models(&self) -> anyhow::Result<Option<Models>> {
        if !self.enabled {
            return Ok(None);
        }
        let mut models = Models::built_in()?;
        if let Some(path) = &self.payload_model_file {
            let place = || format!("payload model {}", path.display());
            let bytes = read(path).with_context(place)?;
            models.payload = Arc::new(PayloadModel::from_bytes(&bytes).with_context(place)?);
        }
        if let Some(path) = &self.behaviour_model_file {
            models.behaviour = Arc::new(read_behaviour(path)?);
        }
        Ok(Some(models))
    }

    /// How often profiles are written to the state folder.
    #[must_use]
    pub fn save_every(&self) -> Duration {
        Duration::from_secs(*self.save_seconds.get_ref())
    }

    /// The behaviour model in shadow; `None` where there is none, and where nothing is scored.
    ///
    /// # Errors
    /// Those of [`read_behaviour`].
    pub fn shadow(&self) -> anyhow::Result<Option<Arc<BehaviourModel>>> {
        match &self.shadow_model_file {
            Some(path) if self.enabled => {
                read_behaviour(path).map(Arc::new).map(Some).context("scoring.shadow_model_file")
            }
            _ => Ok(None),
        }
    }

    /// How many subjects are told apart.
    #[must_use]
    pub fn subject_limits(&self) -> SubjectLimits {
        SubjectLimits { vouched: *self.subjects.get_ref(), others: *self.other_subjects.get_ref() }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    whole_file::open(path)?.take(MAX_MODEL_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::parse;

    #[test]
    fn bounds_are_told_with_line_and_key() {
        for (text, error) in [
            (
                "[scoring]\nfeedback_days = 0",
                "c.toml:2:17: scoring.feedback_days must be from 1 to 3650",
            ),
            (
                "[scoring.history]\nmax_bytes = 1000",
                "c.toml:2:13: scoring.history.max_bytes must be from 1048576 to",
            ),
            (
                "[scoring.history]\nsample = 0",
                "c.toml:2:10: scoring.history.sample must be from 1 to 1000000",
            ),
            (
                "[scoring.history]\nfiles = \"x\"",
                "c.toml:2:1: scoring.history: unknown key `files`",
            ),
        ] {
            let told = parse(text, Path::new("c.toml")).unwrap_err().to_string();
            assert!(told.starts_with(error), "{told}");
        }
    }

    #[test]
    fn a_history_is_written_where_a_file_is_named() {
        let config = parse("[scoring.history]\nsample = 9", Path::new("c.toml")).unwrap();
        assert_eq!(config.scoring.history.place(), None);
        let text = "[scoring.history]\nfile = \"/h\"\nmax_bytes = 2097152\nsample = 9";
        let place = parse(text, Path::new("c.toml")).unwrap().scoring.history.place().unwrap();
        assert_eq!(
            (place.path.as_path(), place.max_bytes, place.sample),
            (Path::new("/h"), 2 << 20, 9)
        );
    }
}
