use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use jotwatch_models::{behaviour::BehaviourModel, payload::PayloadModel};
use serde::Deserialize;
use toml::Spanned;

use crate::{features::SubjectLimits, score::Models};

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
            subjects: Spanned::new(0..0, limits.vouched),
            other_subjects: Spanned::new(0..0, limits.others),
            save_seconds: Spanned::new(0..0, 300),
        }
    }
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
            let place = || format!("behaviour model {}", path.display());
            let bytes = read(path).with_context(place)?;
            models.behaviour = Arc::new(BehaviourModel::from_bytes(&bytes).with_context(place)?);
        }
        Ok(Some(models))
    }

    /// How often profiles are written to the state folder.
    #[must_use]
    pub fn save_every(&self) -> Duration {
        Duration::from_secs(*self.save_seconds.get_ref())
    }

    /// How many subjects are told apart.
    #[must_use]
    pub fn subject_limits(&self) -> SubjectLimits {
        SubjectLimits { vouched: *self.subjects.get_ref(), others: *self.other_subjects.get_ref() }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX_MODEL_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
