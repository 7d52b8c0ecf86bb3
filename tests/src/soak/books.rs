//! The journal beside what was delivered from it: every event once, in order, without a gap.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// What the books say.
#[derive(Debug)]
pub(super) struct Books {
    /// Events in the journal.
    pub(super) events: u64,
    /// Events that were delivered more than once: those that a kill came between their delivery and
    /// the note of it.
    pub(super) repeated: u64,
    /// Lines of the file that a kill has torn.
    pub(super) torn: u32,
}

impl Books {
    /// Reads the journal in `folder`, and the lines that were delivered to the file `told`.
    ///
    /// # Errors
    /// A file does not follow the one before it, a line is no event or there twice, or an event was
    /// not delivered, or one was that is not in the journal.
    pub(super) fn read(folder: &Path, told: &Path) -> Result<Self> {
        let mut files: Vec<(u64, PathBuf)> = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if let Some(number) = name.strip_suffix(".jsonl") {
                files.push((number.parse()?, path));
            }
        }
        files.sort_unstable();
        let mut events = BTreeMap::new();
        let mut ids = Vec::new();
        let mut next = files.first().context("no journal")?.0;
        ensure!(next == 0, "the journal begins with event {next}");
        for (first, path) in files {
            ensure!(first == next, "behind event {next} comes {first}");
            let text = fs::read_to_string(&path)?;
            ensure!(text.is_empty() || text.ends_with('\n'), "{}: a torn line", path.display());
            for line in text.lines() {
                let id = id(line)?;
                ids.push(id.clone());
                let again = events.insert(id, 0_u64);
                ensure!(again.is_none(), "twice in the journal: {line}");
                next += 1;
            }
        }
        let told = fs::read_to_string(told)?;
        let mut torn = 0_u32;
        for line in told.lines() {
            // A kill tears the line that is being written; the daemon behind it ends that line and tells
            // the event again.
            let Ok(id) = id(line) else {
                torn += 1;
                continue;
            };
            let count = events.get_mut(&id);
            *count.with_context(|| format!("delivered and not in the journal: {line}"))? += 1;
        }
        let missing: Vec<usize> =
            (0..).zip(&ids).filter(|(_, id)| events[*id] == 0).map(|m| m.0).collect();
        ensure!(missing.is_empty(), "not delivered of {} events: {missing:?}", events.len());
        let repeated = events.values().filter(|&&count| count > 1).count() as u64;
        Ok(Self { events: events.len() as u64, repeated, torn })
    }
}

fn id(line: &str) -> Result<String> {
    let event: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
    Ok(event["id"].as_str().context("no id")?.to_owned())
}
