//! Draws what is learned from, evenly from all of the history, and counts what there is.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
};

use anyhow::ensure;
use jotwatch_models::{
    behaviour::{BehaviourModel, Vector, WIDTH},
    train::Random,
};

use super::{Card, Labelled, Options, Watch, labels::Wanted};
use crate::{
    history::{Progress, Reader, Row},
    score::Label,
    time::Time,
};

/// Subjects that are told apart where they are counted.
const MAX_SUBJECTS: usize = 1_000_000;

/// How often a watcher is told.
const TELL_EVERY: u64 = 1 << 12;

/// Share of subjects' days that are held out.
const HELD_OUT: f64 = 0.25;

const DAY_S: u64 = 86_400;

/// An exchange to learn from, or to be held against.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) values: [f32; WIDTH],
    /// Of its subject's day.
    pub(super) group: u64,
    /// For how many it stands.
    pub(super) weight: u32,
    pub(super) held_out: bool,
    pub(super) learning: bool,
}

impl Kept {
    pub(super) fn of(row: &Row, seed: u64) -> Self {
        let vector = row.vector();
        let group = group(row);
        Self {
            values: *vector.values(),
            group,
            weight: row.weight,
            held_out: is_held_out(group, seed),
            learning: vector.learning,
        }
    }

    pub(super) fn vector(&self) -> Vector {
        Vector::from_values(&self.values, self.learning)
    }
}

/// A number for a subject's day (UTC).
fn group(row: &Row) -> u64 {
    let subject = row.subject_hash().unwrap_or_default();
    let day = row.at().unwrap_or_default().unix_secs() / DAY_S;
    let halves = (subject as u64) ^ ((subject >> 64) as u64).rotate_left(32);
    Random::new(halves ^ day.wrapping_mul(0x9e37_79b9_7f4a_7c15)).bits()
}

fn is_held_out(group: u64, seed: u64) -> bool {
    Random::new(group ^ seed).chance(HELD_OUT)
}

/// Whether it may be learned from, or held against a model, as what nobody has looked at: what is
/// proven to be an attack is none of what is usual.
pub(super) const fn counts(row: &Row) -> bool {
    !row.learning && !row.proven
}

/// Reads all rows of all files.
///
/// # Errors
/// A line is none, or can't be read; the error names it.
pub(super) fn each_row(
    files: &[PathBuf],
    what: &'static str,
    watch: &mut dyn Watch,
    mut each: impl FnMut(&Row),
) -> anyhow::Result<()> {
    let all = files.iter().map(|path| std::fs::metadata(path).map_or(0, |file| file.len()));
    watch.begin(what, all.sum(), true);
    let progress = Progress::default();
    let mut lines = 0_u64;
    for path in files {
        let mut reader = Reader::open(path, &progress)?;
        while let Some(row) = reader.next_row()? {
            each(&row);
            lines += 1;
            if lines.is_multiple_of(TELL_EVERY) {
                watch.at(progress.bytes());
            }
        }
    }
    watch.at(progress.bytes());
    Ok(())
}

/// What is learned from, and what there is.
#[derive(Debug, Default)]
pub(super) struct Sample {
    /// Drawn from what nobody has looked at and is not held out.
    pub(super) kept: Vec<Kept>,
    /// What people labelled, learned from and held out.
    pub(super) labelled: Vec<(Kept, Label)>,
    found: HashSet<String>,
    rows: u64,
    exchanges: u64,
    learning: u64,
    proven: u64,
    drawn_from: u64,
    labels_missing: u64,
    labels_learning: u64,
    subjects: HashSet<u128>,
    span: Option<(Time, Time)>,
}

impl Sample {
    pub(super) fn draw(
        options: &Options,
        wanted: &Wanted,
        watch: &mut dyn Watch,
    ) -> anyhow::Result<Self> {
        ensure!(!options.data.is_empty(), "no history is named");
        let mut sample = Self::default();
        let mut random = Random::new(options.seed);
        each_row(&options.data, "reading the history", watch, |row| {
            sample.take(row, options, wanted, &mut random);
        })?;
        ensure!(sample.rows > 0, "the history is empty");
        Ok(sample)
    }

    fn take(&mut self, row: &Row, options: &Options, wanted: &Wanted, random: &mut Random) {
        self.rows += 1;
        self.exchanges += u64::from(row.weight);
        if let Some(at) = row.at() {
            let (first, last) = self.span.unwrap_or((at, at));
            self.span = Some((first.min(at), last.max(at)));
        }
        if let Some(subject) = row.subject_hash()
            && self.subjects.len() < MAX_SUBJECTS
        {
            self.subjects.insert(subject);
        }
        if let Some(label) = wanted.of(&row.event) {
            // A history that was read before has it again.
            if self.found.insert(row.event.clone()) {
                self.add_labelled(row, label, options.seed);
            }
            return;
        }
        self.learning += u64::from(row.learning);
        self.proven += u64::from(row.proven && !row.learning);
        if !counts(row) {
            return;
        }
        let kept = Kept::of(row, options.seed);
        if kept.held_out {
            return;
        }
        // Vitter's algorithm R: each is kept with the same chance.
        self.drawn_from += 1;
        let room = options.rows.clamp(1, super::MAX_ROWS);
        if self.kept.len() < room {
            self.kept.push(kept);
        } else {
            let at = random.below(usize::try_from(self.drawn_from).unwrap_or(usize::MAX));
            if let Some(place) = self.kept.get_mut(at) {
                *place = kept;
            }
        }
    }

    fn add_labelled(&mut self, row: &Row, label: Label, seed: u64) {
        let kept = Kept::of(row, seed);
        if kept.learning {
            self.labels_learning += 1;
        } else {
            self.labelled.push((Kept { weight: 1, ..kept }, label));
        }
    }

    /// Adds what labels bring themselves, where the history has it no more.
    pub(super) fn add_rows_of(&mut self, wanted: &Wanted, seed: u64) {
        for (event, label, row) in wanted.sorted() {
            if self.found.contains(event) {
                continue;
            }
            match row {
                Some(row) => self.add_labelled(row, label, seed),
                None => self.labels_missing += 1,
            }
        }
        // The order of files must not matter to what is learned from labels.
        self.labelled.sort_by_key(|(kept, label)| (kept.group, *label == Label::Malicious));
    }

    /// Different subjects' days with such a label, of what is learned from or of what is held out.
    pub(super) fn labelled_days(&self, wanted: Label, held_out: bool) -> usize {
        let days = self
            .labelled
            .iter()
            .filter(|(kept, label)| *label == wanted && kept.held_out == held_out);
        days.map(|(kept, _)| kept.group).collect::<HashSet<u64>>().len()
    }

    /// The labelled exchanges to learn from, each with its part of its subject's day.
    pub(super) fn labelled_to_learn(&self) -> Vec<(&[f32; WIDTH], bool, f64)> {
        let learned = || self.labelled.iter().filter(|(kept, _)| !kept.held_out);
        let mut counts: HashMap<(u64, bool), f64> = HashMap::new();
        for (kept, label) in learned() {
            *counts.entry((kept.group, *label == Label::Malicious)).or_default() += 1.0;
        }
        learned()
            .map(|(kept, label)| {
                let malicious = *label == Label::Malicious;
                let of = counts.get(&(kept.group, malicious)).copied().unwrap_or(1.0);
                (&kept.values, malicious, 1.0 / of)
            })
            .collect()
    }

    /// What a model says of the labelled exchanges that are held out.
    pub(super) fn labelled_figures(&self, model: &BehaviourModel) -> Labelled {
        let mut figures = Labelled::default();
        for (kept, label) in self.labelled.iter().filter(|(kept, _)| kept.held_out) {
            let suspicious = u64::from(model.score(&kept.vector()).is_suspicious);
            match label {
                Label::Malicious => {
                    figures.malicious += 1;
                    figures.found += suspicious;
                }
                Label::Benign => {
                    figures.benign += 1;
                    figures.alerts += suspicious;
                }
            }
        }
        figures
    }

    /// What there is to tell before a model is made.
    pub(super) fn card(&self, options: &Options) -> Card {
        let labelled = |label| self.labelled.iter().filter(|(_, own)| *own == label).count() as u64;
        Card {
            files: options.data.len(),
            rows: self.rows,
            exchanges: self.exchanges,
            subjects: self.subjects.len() as u64,
            first: self.span.map(|(first, _)| first.to_string()),
            last: self.span.map(|(_, last)| last.to_string()),
            learning: self.learning,
            proven: self.proven,
            drawn: self.kept.len() as u64,
            drawn_from: self.drawn_from,
            malicious: labelled(Label::Malicious),
            benign: labelled(Label::Benign),
            labels_missing: self.labels_missing,
            labels_learning: self.labels_learning,
            seed: options.seed,
            ..Card::default()
        }
    }
}
