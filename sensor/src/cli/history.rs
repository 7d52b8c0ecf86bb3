//! `--history` of `replay` and `score`: what they scored, to be learned from.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use crate::{
    config::HistoryConfig,
    history::{Scored, is_sampled, weight},
    pipeline::Assessed,
};

/// A history that is written beside the command's output, in place of what the file held.
pub(super) struct HistoryOut {
    path: PathBuf,
    out: BufWriter<File>,
    sample: u32,
    line: Vec<u8>,
    /// Behind a failed write the rest is passed over.
    result: io::Result<()>,
}

impl HistoryOut {
    /// Makes the file, where one is asked for.
    pub(super) fn create(
        path: Option<&Path>,
        config: &HistoryConfig,
    ) -> anyhow::Result<Option<Self>> {
        let Some(path) = path else { return Ok(None) };
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(path).with_context(|| path.display().to_string())?;
        Ok(Some(Self {
            path: path.to_owned(),
            out: BufWriter::new(file),
            sample: *config.sample.get_ref(),
            line: Vec::new(),
            result: Ok(()),
        }))
    }

    pub(super) fn take(&mut self, assessed: &Assessed<'_>) {
        let scored = Scored::from(assessed);
        if self.result.is_ok() && is_sampled(&scored, self.sample) {
            self.line.clear();
            scored.row(weight(&scored, self.sample)).write(&mut self.line);
            self.result = self.out.write_all(&self.line);
        }
    }

    /// Whether all of it was written.
    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        let written = self.result.and_then(|()| self.out.flush());
        written.with_context(|| self.path.display().to_string())
    }
}
