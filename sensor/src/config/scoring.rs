use std::{fs, io::Read as _, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use jotwatch_models::payload::PayloadModel;
use serde::Deserialize;

use crate::score::Models;

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
}

impl Default for ScoringConfig {
    fn default() -> Self {
        Self { enabled: true, payload_model_file: None }
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
            let mut bytes = Vec::new();
            let file = fs::File::open(path).with_context(place)?;
            file.take(MAX_MODEL_BYTES).read_to_end(&mut bytes).with_context(place)?;
            models.payload = Arc::new(PayloadModel::from_bytes(&bytes).with_context(place)?);
        }
        Ok(Some(models))
    }
}
