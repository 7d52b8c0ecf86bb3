//! Training of the behaviour model, on generated worlds.

pub(crate) mod calibrate;
pub(crate) mod grow;
mod isolate;
pub(crate) mod rows;

use std::{path::PathBuf, sync::Mutex};

use anyhow::Result;
use jotwatch_models::behaviour::{BehaviourModel, forest::Forest, model::Calibration};

use super::{
    random::Random,
    sessions::{
        self, DAY, World,
        ranges::{Ranges, TRAIN},
    },
};
use crate::setup;
use calibrate::{Said, Voices};
use grow::Mask;
use rows::{Moment, Row, Truth};

/// Seeds of the worlds to train on and to calibrate on. Those to test on are in `evaluate`.
const FIT: std::ops::Range<u64> = 100..108;
const CALIBRATE: std::ops::Range<u64> = 200..208;

/// Rows that the random forest is grown from: attacks, legitimate ones by chance, and those that a
/// first forest stumbles over.
const ATTACKS: usize = 6_000;
const BY_CHANCE: usize = 3_000;
const STUMBLED: usize = 5_000;

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

/// Both forests.
#[derive(Clone)]
pub(crate) struct Forests {
    pub(crate) forest: Forest,
    pub(crate) isolation: Forest,
}

impl Forests {
    /// A model of them; until it is calibrated, the forest's log-odds at even odds.
    pub(crate) fn with(&self, calibration: Calibration) -> BehaviourModel {
        BehaviourModel {
            forest: self.forest.clone(),
            isolation: self.isolation.clone(),
            calibration,
        }
    }
}

/// A calibration that hands the forests' answers through.
pub(crate) fn uncalibrated() -> Calibration {
    Calibration {
        intercept: 0.0,
        forest: 1.0,
        anomaly: 0.0,
        usual_path: isolate::norm(),
        curve: vec![(0.0, 0.5)],
        threshold: 1.0,
    }
}

/// The rows of all worlds to train on.
pub(crate) fn pool() -> Vec<Row> {
    each_world(FIT, &TRAIN, |_, world| rows::sample(world)).into_iter().flatten().collect()
}

/// Some of `rows`, drawn without replacement.
fn draw<'a>(mut rows: Vec<&'a Row>, n: usize, random: &mut Random) -> Vec<&'a Row> {
    for at in 0..n.min(rows.len()) {
        let other = at + random.below(rows.len() - at);
        rows.swap(at, other);
    }
    rows.truncate(n);
    rows
}

/// Grows both forests; the random forest twice, the second time from what the first stumbled over.
///
/// # Errors
/// What growing says.
pub(crate) fn grow(pool: &[Row], mask: Mask) -> Result<Forests> {
    let mut random = Random::new(0x666f_7265_7374);
    let attacks: Vec<&Row> = pool.iter().filter(|r| r.attack.is_some()).collect();
    let benign: Vec<&Row> = pool.iter().filter(|r| r.attack.is_none()).collect();
    let attacks = draw(attacks, ATTACKS, &mut random);
    let chosen: Vec<&Row> = attacks
        .iter()
        .copied()
        .chain(draw(benign.clone(), BY_CHANCE + STUMBLED, &mut random))
        .collect();
    let first = grow::grow(&chosen, pool, mask, 1)?;
    let mut hardest: Vec<(f32, &Row)> =
        benign.iter().map(|row| (first.mean(&row.values), *row)).collect();
    hardest.sort_by(|a, b| b.0.total_cmp(&a.0));
    // Every second of the worst: neighbours in time are much alike.
    let hardest = hardest.iter().step_by(2).take(STUMBLED).map(|h| h.1);
    let chosen: Vec<&Row> = attacks
        .iter()
        .copied()
        .chain(draw(benign.clone(), BY_CHANCE, &mut random))
        .chain(hardest)
        .collect();
    let forest = grow::grow(&chosen, pool, mask, 2)?;
    let isolation = isolate::grow(pool, mask, 3)?;
    Ok(Forests { forest, isolation })
}

/// What the forests say of the worlds to calibrate on, once the answers are known.
pub(crate) fn listen(forests: &Forests) -> Vec<Said> {
    let model = forests.with(uncalibrated());
    let said = each_world(CALIBRATE, &TRAIN, |seed, world| {
        let mut sizes = vec![0_f32; world.episodes.len()];
        let mut said = Vec::new();
        rows::replay(world, |event, truth, moment, vector| {
            if moment == Moment::Asked || vector.learning || truth == Truth::Beside {
                return;
            }
            let (evidence, anomaly) = model.answers(vector.values());
            let day = ((event.request.at_ms - world.start_ms) / DAY) as u32;
            let key = match truth {
                Truth::Attack(episode) => {
                    sizes[episode as usize] += 1.0;
                    episode
                }
                _ => (seed - CALIBRATE.start) as u32 * 1_000_000 + event.subject * 100 + day,
            };
            let attack = match truth {
                Truth::Attack(episode) => Some(world.episodes[episode as usize].kind),
                _ => None,
            };
            said.push(Said { evidence, anomaly, attack, weight: 1.0, day: key });
        });
        for said in said.iter_mut().filter(|s| s.attack.is_some()) {
            said.weight = 1.0 / sizes[said.day as usize];
        }
        said
    });
    said.into_iter().flatten().collect()
}

/// Trains and calibrates.
///
/// # Errors
/// What training says.
pub(crate) fn build() -> Result<BehaviourModel> {
    let pool = pool();
    let attacks = pool.iter().filter(|r| r.attack.is_some()).count();
    eprintln!("generated {} rows to grow from, {attacks} of attacks", pool.len());
    let forests = grow(&pool, grow::all_groups)?;
    eprintln!("grew {} + {} nodes", forests.forest.size(), forests.isolation.size());
    let calibration = calibrate::calibrate(&listen(&forests), Voices::Both)?;
    eprintln!("calibrated, threshold {:.4}", calibration.threshold);
    Ok(forests.with(calibration))
}
