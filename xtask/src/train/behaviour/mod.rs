//! Training of the behaviour model, on generated worlds.

pub(crate) mod rows;

use std::{collections::HashMap, path::PathBuf, sync::Mutex};

use anyhow::Result;
use jotwatch_models::{
    behaviour::BehaviourModel,
    train::{self, Example, Forests, Mask, Report, Said, Truth, Voices, all_groups, calibrate},
};

use super::sessions::{
    self, Kind, World,
    ranges::{Ranges, TRAIN},
};
use crate::setup;
use rows::Moment;

/// Seeds of the worlds to train on and to calibrate on. Those to test on are in `evaluate`.
const FIT: std::ops::Range<u64> = 100..108;
const CALIBRATE: std::ops::Range<u64> = 200..208;

/// What the forests' random numbers come from.
const SEED: u64 = 0x666f_7265_7374;

/// Where the artifact lies.
pub(crate) fn artifact() -> PathBuf {
    setup::workspace().join("models/artifacts/behaviour.model")
}

/// Makes the worlds of `seeds`, two at a time, and gives what `make` makes of each, in order.
pub(crate) fn each_world<T: Send>(
    seeds: std::ops::Range<u64>,
    ranges: &Ranges,
    make: impl Fn(u64, &World) -> T + Sync,
) -> Vec<T> {
    let next = Mutex::new(seeds);
    let done: Mutex<Vec<(u64, T)>> = Mutex::new(Vec::new());
    let work = || {
        while let Some(seed) = next.lock().ok().and_then(|mut seeds| seeds.next()) {
            let made = make(seed, &sessions::world(seed, ranges));
            if let Ok(mut done) = done.lock() {
                done.push((seed, made));
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        work();
    });
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by_key(|d| d.0);
    done.into_iter().map(|d| d.1).collect()
}

/// Rows of several worlds, whose days and episodes have numbers of their own.
pub(crate) struct Sampled<T> {
    pub(crate) rows: Vec<T>,
    /// Of which kind each episode is.
    pub(crate) kinds: HashMap<u32, Kind>,
}

impl<T> Sampled<T> {
    /// Of which kind the attack is that a row is of, if of one.
    pub(crate) fn kind(&self, truth: Truth) -> Option<Kind> {
        match truth {
            Truth::Attack { episode } => self.kinds.get(&episode).copied(),
            Truth::Legitimate { .. } => None,
        }
    }
}

/// What `make` makes of each world, given its first number of days and episodes.
fn sampled<T: Send>(
    seeds: std::ops::Range<u64>,
    make: impl Fn(&World, u32) -> Vec<T> + Sync,
) -> Sampled<T> {
    let start = seeds.start;
    let parts = each_world(seeds, &TRAIN, |seed, world| {
        let first = (seed - start) as u32 * 1_000_000;
        let kinds: Vec<Kind> = world.episodes.iter().map(|e| e.kind).collect();
        (first, kinds, make(world, first))
    });
    let mut all = Sampled { rows: Vec::new(), kinds: HashMap::new() };
    for (first, kinds, rows) in parts {
        all.kinds.extend((first..).zip(kinds));
        all.rows.extend(rows);
    }
    all
}

/// The rows of all worlds to train on.
pub(crate) fn pool() -> Sampled<Example> {
    sampled(FIT, rows::sample)
}

/// Grows both forests from rows of [`pool`].
///
/// # Errors
/// What growing says.
pub(crate) fn grow(rows: &[Example], mask: Mask, report: Report<'_>) -> Result<Forests> {
    Ok(train::grow(rows, mask, SEED, report)?)
}

/// What the forests say of the worlds to calibrate on, once the answers are known.
pub(crate) fn listen(forests: &Forests) -> Sampled<Said> {
    let model = forests.uncalibrated();
    sampled(CALIBRATE, |world, first| {
        let mut sizes = vec![0_f32; world.episodes.len()];
        let mut said = Vec::new();
        rows::replay(world, |event, truth, moment, vector| {
            if moment == Moment::Asked || vector.learning {
                return;
            }
            let truth = match truth {
                rows::Truth::Beside => return,
                rows::Truth::Attack(episode) => {
                    sizes[episode as usize] += 1.0;
                    Truth::Attack { episode: first + episode }
                }
                rows::Truth::Benign => {
                    Truth::Legitimate { day: first + rows::day_of(world, event) }
                }
            };
            let (evidence, anomaly) = model.answers(vector.values());
            said.push(Said { evidence, anomaly, truth, weight: 1.0 });
        });
        for said in &mut said {
            if let Truth::Attack { episode } = said.truth {
                said.weight = 1.0 / sizes[(episode - first) as usize];
            }
        }
        said
    })
}

/// Trains and calibrates.
///
/// # Errors
/// What training says.
pub(crate) fn build(report: Report<'_>) -> Result<BehaviourModel> {
    let pool = pool();
    let attacks = pool.rows.iter().filter(|r| r.truth.is_attack()).count();
    eprintln!("generated {} rows to grow from, {attacks} of attacks", pool.rows.len());
    let forests = grow(&pool.rows, all_groups, report)?;
    eprintln!("grew {} + {} nodes", forests.forest.size(), forests.isolation.size());
    let calibration = calibrate(&listen(&forests).rows, Voices::Both)?;
    eprintln!("calibrated, threshold {:.4}", calibration.threshold);
    Ok(forests.with(calibration))
}
