//! Training of the behaviour model, on generated worlds.

pub(crate) mod rows;

use std::{collections::HashMap, ops::Range, path::PathBuf, sync::Mutex};

use anyhow::Result;
use jotwatch_models::{
    behaviour::{BehaviourModel, Vector},
    train::{self, Example, Forests, Mask, Report, Said, Truth, Voices, all_groups, calibrate},
};

use super::sessions::{
    self, Kind, World,
    ranges::{Ranges, SETTLED, TRAIN},
};
use crate::{progress, setup};
use rows::Moment;

/// Seeds of the worlds to train on and to calibrate on. Those to test on are in `evaluate`.
const FIT: Range<u64> = 100..124;
pub(crate) const CALIBRATE: Range<u64> = 200..212;

/// What the forests' random numbers come from.
const SEED: u64 = 0x666f_7265_7374;

/// Where the artifact lies.
pub(crate) fn artifact() -> PathBuf {
    setup::workspace().join("models/artifacts/behaviour.model")
}

/// Makes the worlds of `seeds`, two at a time, and gives what `make` makes of each, in order.
pub(crate) fn each_world<T: Send>(
    what: &str,
    seeds: Range<u64>,
    ranges: &Ranges,
    make: impl Fn(u64, &World) -> T + Sync,
) -> Vec<T> {
    let bar = progress::bar(what, seeds.clone().count());
    let next = Mutex::new(seeds);
    let done: Mutex<Vec<(u64, T)>> = Mutex::new(Vec::new());
    let work = || {
        while let Some(seed) = next.lock().ok().and_then(|mut seeds| seeds.next()) {
            let made = make(seed, &sessions::world(seed, ranges));
            bar.inc(1);
            if let Ok(mut done) = done.lock() {
                done.push((seed, made));
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        work();
    });
    bar.finish_and_clear();
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

    /// Which of the worlds a row is from.
    pub(crate) const fn world(&self, truth: Truth) -> u32 {
        let (Truth::Attack { episode: number } | Truth::Legitimate { day: number }) = truth;
        number / NUMBERS
    }
}

/// Numbers of days and episodes that a world has for its own.
const NUMBERS: u32 = 1_000_000;

/// What `make` makes of each world, given its first number of days and episodes.
fn sampled<T: Send>(
    what: &str,
    seeds: Range<u64>,
    ranges: &Ranges,
    make: impl Fn(&World, u32) -> Vec<T> + Sync,
) -> Sampled<T> {
    let start = seeds.start;
    let parts = each_world(what, seeds, ranges, |seed, world| {
        let first = (seed - start) as u32 * NUMBERS;
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
    sampled("worlds to grow from", FIT, &TRAIN, rows::sample)
}

/// Grows the forests from rows of [`pool`].
///
/// # Errors
/// What growing says.
pub(crate) fn grow(rows: &[Example], mask: Mask, report: Report<'_>) -> Result<Forests> {
    Ok(train::grow(rows, mask, SEED, report)?)
}

/// What `make` makes of the vectors of a world whose answers are known, and of what they are; with
/// the part of its episode that each of an attack is.
fn answered<T>(
    world: &World,
    first: u32,
    make: impl Fn(&Vector, Truth) -> T,
    weight: impl Fn(&mut T, f32),
) -> Vec<T> {
    let mut sizes = vec![0_f32; world.episodes.len()];
    let mut all = Vec::new();
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
            rows::Truth::Benign => Truth::Legitimate { day: first + rows::day_of(world, event) },
        };
        all.push((truth, make(vector, truth)));
    });
    all.into_iter()
        .map(|(truth, mut made)| {
            if let Truth::Attack { episode } = truth {
                weight(&mut made, 1.0 / sizes[(episode - first) as usize]);
            }
            made
        })
        .collect()
}

/// What the forests say of the worlds to calibrate on, once the answers are known.
pub(crate) fn listen(forests: &Forests) -> Sampled<Said> {
    let model = forests.uncalibrated();
    sampled("worlds to calibrate on", CALIBRATE, &SETTLED, |world, first| {
        let say = |vector: &Vector, truth| Said {
            answers: model.answers(vector.values()),
            truth,
            weight: 1.0,
        };
        answered(world, first, say, |said, weight| said.weight = weight)
    })
}

/// All vectors of worlds once the answers are known, for who asks several models about them.
pub(crate) fn record(what: &str, seeds: Range<u64>, ranges: &Ranges) -> Sampled<Example> {
    sampled(what, seeds, ranges, |world, first| {
        let keep =
            |vector: &Vector, truth| Example { values: *vector.values(), truth, weight: 1.0 };
        answered(world, first, keep, |example, weight| example.weight = weight)
    })
}

/// Trains and calibrates.
///
/// # Errors
/// What training says.
pub(crate) fn build() -> Result<BehaviourModel> {
    let pool = pool();
    let attacks = pool.rows.iter().filter(|r| r.truth.is_attack()).count();
    eprintln!("generated {} rows to grow from, {attacks} of attacks", pool.rows.len());
    let mut stages = progress::Stages::default();
    let forests = grow(&pool.rows, all_groups, &mut |p| stages.show(p))?;
    drop(stages);
    let [a, b, c] = [&forests.forest, &forests.boosted, &forests.isolation].map(|f| f.size());
    eprintln!("grew {a} + {b} + {c} nodes");
    let calibration = calibrate(&listen(&forests).rows, Voices::ALL)?;
    eprintln!("calibrated, threshold {:.4}", calibration.threshold);
    Ok(forests.with(calibration))
}
