//! `jotwatch train`: a behaviour model from the host's own history.
//!
//! | what | from what |
//! |---|---|
//! | isolation forest | grown anew from the host's exchanges |
//! | random forest | the built-in's; with [`GROW_FROM`] labels of both kinds, trees grown from the host's exchanges and labels stand beside them |
//! | calibration | the built-in's, bent by the labels there are ([`platt`]); with grown trees, fitted anew |
//! | threshold | the host's own days, for a stated rate of false alerts |
//!
//! Three quarters of the subjects' days are learned from. The others are held out, and both models
//! are held against each other on them. The history is read twice, a line at a time: once to draw
//! what is learned from, once to find the threshold and the figures on all of it. The same files in
//! the same order with the same seed give the same bytes.
#![forbid(unsafe_code)]

mod card;
mod days;
mod labels;
pub mod platt;
mod sample;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, path::PathBuf};

use anyhow::{Context as _, ensure};
use jotwatch_models::{
    behaviour::BehaviourModel,
    train::{self as grow, Example, Progress as Grown, Truth},
};

pub use self::card::{Card, Figures, HeldOut, Labelled, Threshold, Trees};
use self::{
    days::Days,
    labels::Wanted,
    sample::{Kept, Sample},
};
use crate::score::Label;

/// Different subjects' days with a malicious label, and as many with a benign one, from which on
/// trees are grown. Of fewer nothing can be learned that holds tomorrow.
pub const GROW_FROM: usize = grow::LEAST_EPISODES;

/// Exchanges that trees are grown from at most, drawn evenly from all. The isolation forest draws
/// 16,384 of them, the random forest 8,000; they take 60 MiB here, and as much again while trees
/// are grown.
pub const MAX_ROWS: usize = 100_000;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Histories.
    pub data: Vec<PathBuf>,
    /// Files of labels.
    pub labels: Vec<PathBuf>,
    /// Whatever is left to chance hangs on this.
    pub seed: u64,
    /// Share of subjects' days that may have a false alert.
    pub false_alerts: f64,
    /// Exchanges that are learned from at most.
    pub rows: usize,
}

/// Is told how far it is.
pub trait Watch {
    /// Something begins: what, how much of it there is, and whether that is bytes.
    fn begin(&mut self, what: &'static str, all: u64, bytes: bool);
    /// So much is done.
    fn at(&mut self, done: u64);
}

/// Nobody watches.
#[derive(Clone, Copy, Debug)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn begin(&mut self, _: &'static str, _: u64, _: bool) {}
    fn at(&mut self, _: u64) {}
}

/// Trains. Gives the artifact's bytes, and what there is to tell of it.
///
/// # Errors
/// A file can't be read, a line is none of the history (named by file and line), or there is too
/// little to learn from.
pub fn train(options: &Options, watch: &mut dyn Watch) -> anyhow::Result<(Vec<u8>, Card)> {
    ensure!(
        options.false_alerts > 0.0 && options.false_alerts < 0.5,
        "a share of false alerts lies between 0 and 0.5"
    );
    let base = BehaviourModel::embedded()?;
    let wanted = Wanted::read(&options.labels)?;
    let mut sample = Sample::draw(options, &wanted, watch)?;
    sample.add_rows_of(&wanted, options.seed);

    let (mut model, trees) = fit(options, &base, &sample, watch)?;
    let days = Days::count(options, &wanted, [&base, &model], watch)?;
    let threshold = days.threshold(options.false_alerts, &model);
    model.calibration.threshold = threshold.value;
    let bytes = model.to_bytes()?;
    // What can't be read back must not be handed on.
    let model = BehaviourModel::from_bytes(&bytes).context("the model that was made")?;
    let held_out = HeldOut {
        built_in: days.figures(0, base.calibration.threshold),
        new: days.figures(1, threshold.value),
        days: days.held_days(),
        mean_difference: days.mean_difference(),
        labelled_built_in: sample.labelled_figures(&base),
        labelled_new: sample.labelled_figures(&model),
    };
    let card = Card {
        trees,
        threshold,
        held_out,
        days_not_counted: days.not_counted,
        ..sample.card(options)
    };
    Ok((bytes, card))
}

/// Both forests and their calibration; the threshold comes later.
fn fit(
    options: &Options,
    base: &BehaviourModel,
    sample: &Sample,
    watch: &mut dyn Watch,
) -> anyhow::Result<(BehaviourModel, Trees)> {
    let mut begun = None;
    let mut report = |progress: Grown| {
        let Grown { stage, done, all } = progress;
        if begun != Some(stage) {
            begun = Some(stage);
            watch.begin(stage.name(), all as u64, false);
        }
        watch.at(done as u64);
    };
    let examples = examples(sample);
    let to_learn = |label| sample.labelled_days(label, false);
    let (malicious, benign) = (to_learn(Label::Malicious), to_learn(Label::Benign));
    if malicious >= GROW_FROM && benign >= GROW_FROM {
        let model = grow::train_beside(Some(base), &examples, options.seed, &mut report)?;
        return Ok((model, Trees::Grown { malicious, benign }));
    }
    let mut model = grow::adapt(base, &examples, options.seed, &mut report)?;
    let bent = platt::bend(&mut model, &examples, &sample.labelled_to_learn());
    Ok((model, Trees::BuiltIn { malicious, benign, needed: GROW_FROM, bent }))
}

/// What is learned from, as the library takes it: each subject's day has a number, and each with a
/// malicious label is an attack.
fn examples(sample: &Sample) -> Vec<Example> {
    let mut numbers: HashMap<u64, u32> = HashMap::new();
    let mut number = |group: u64| {
        let next = numbers.len() as u32;
        *numbers.entry(group).or_insert(next)
    };
    let mut of_attack: HashMap<u64, u32> = HashMap::new();
    let learned = || sample.labelled.iter().filter(|(kept, _)| !kept.held_out);
    for (kept, _) in learned().filter(|(_, label)| *label == Label::Malicious) {
        *of_attack.entry(kept.group).or_default() += 1;
    }
    let legitimate = |kept: &Kept, day| Example {
        values: kept.values,
        truth: Truth::Legitimate { day },
        weight: kept.weight as f32,
    };
    let mut examples: Vec<Example> =
        sample.kept.iter().map(|kept| legitimate(kept, number(kept.group))).collect();
    for (kept, label) in learned() {
        let group = number(kept.group);
        examples.push(match label {
            Label::Benign => legitimate(kept, group),
            Label::Malicious => {
                let requests = of_attack.get(&kept.group).copied().unwrap_or(1);
                Example {
                    values: kept.values,
                    truth: Truth::Attack { episode: group },
                    weight: 1.0 / requests as f32,
                }
            }
        });
    }
    examples
}
