//! The isolation forest (Liu, Ting and Zhou, 2008). linfa has none, and those that can be had keep
//! named features in maps, which no request has the time for.
//!
//! Trees of random splits of small samples: what is rare is alone after few of them. An absent
//! value goes with the greater part of the sample, as that it is absent is mostly about the
//! database or the token and not about the request.

use super::{Example, Mask, Progress, Random, Report, Stage, TrainError};
use crate::behaviour::{
    FEATURES, WIDTH,
    forest::{Forest, Grown},
};

const TREES: usize = 48;
/// Rows of a tree.
const SAMPLE: usize = 256;
/// The depth at which a balanced tree of the sample would be done.
const DEPTH: usize = 8;

/// The mean length of a path in a tree of `n` rows, by chance alone (their equation 1).
pub(super) fn usual_path(n: usize) -> f64 {
    match n {
        0 | 1 => 0.0,
        2 => 1.0,
        _ => {
            let harmonic = ((n - 1) as f64).ln() + 0.577_215_664_901_532_9;
            2.0 * harmonic - 2.0 * (n - 1) as f64 / n as f64
        }
    }
}

/// The mean length of a path in one of these trees.
pub(super) fn norm() -> f32 {
    usual_path(SAMPLE) as f32
}

/// Grows a forest from `rows`, drawn by their weights; what attacks are among them stays unknown
/// to it.
///
/// # Errors
/// No rows, or a tree that does not fit.
pub(super) fn grow(
    rows: &[Example],
    mask: Mask,
    seed: u64,
    report: Report<'_>,
) -> Result<Forest, TrainError> {
    let mut random = Random::new(seed);
    let features: Vec<usize> = (0..WIDTH).filter(|f| mask(FEATURES[*f].group)).collect();
    let mut sums = Vec::with_capacity(rows.len());
    let mut all = 0.0;
    for row in rows {
        all += f64::from(row.weight);
        sums.push(all);
    }
    let mut trees = Vec::new();
    for done in 0..TREES {
        report(Progress { stage: Stage::Isolation, done, all: TREES });
        let sample: Vec<&Example> = (0..SAMPLE)
            .filter_map(|_| {
                let at = random.unit() * all;
                rows.get(sums.partition_point(|sum| *sum <= at))
            })
            .collect();
        if sample.is_empty() {
            return Err(TrainError::TooFew { what: "requests", found: 0, wanted: 1 });
        }
        let mut tree = vec![Grown::Leaf { value: 0.0 }];
        split(&sample, &features, 0, 0, &mut random, &mut tree);
        trees.push(tree);
    }
    report(Progress { stage: Stage::Isolation, done: TREES, all: TREES });
    Ok(Forest::new(&trees)?)
}

/// Grows the node at `at`; returns the mean length of the paths through it.
fn split(
    rows: &[&Example],
    features: &[usize],
    at: usize,
    depth: usize,
    random: &mut Random,
    out: &mut Vec<Grown>,
) -> f32 {
    let here = (depth as f64 + usual_path(rows.len())) as f32;
    // A feature that does not differ here isolates nothing: some are tried before giving up.
    let found = (0..12).find_map(|_| {
        let feature = *random.pick(features);
        let values = || rows.iter().map(|r| r.values[feature]).filter(|v| !v.is_nan());
        let (low, high) = values().fold((f32::MAX, f32::MIN), |(l, h), v| (l.min(v), h.max(v)));
        (low < high).then(|| (feature, low + (high - low) * random.unit() as f32, high))
    });
    let Some((feature, threshold, high)) = found.filter(|_| depth < DEPTH && rows.len() > 1) else {
        out[at] = Grown::Leaf { value: here };
        return here;
    };
    // Rounding must not put all on one side.
    let threshold = if threshold < high { threshold } else { f32::midpoint(threshold, high) };
    let threshold = if threshold < high { threshold } else { high - high.abs() * f32::EPSILON };
    let side = |low: bool| {
        rows.iter().filter(move |r| {
            let value = r.values[feature];
            !value.is_nan() && (value <= threshold) == low
        })
    };
    let missing_left = side(true).count() >= side(false).count();
    let part = |low: bool| -> Vec<&Example> {
        rows.iter()
            .copied()
            .filter(|r| {
                let value = r.values[feature];
                let goes_left = if value.is_nan() { missing_left } else { value <= threshold };
                goes_left == low
            })
            .collect()
    };
    let (low, high) = (part(true), part(false));
    let left = out.len();
    out.extend([Grown::Leaf { value: 0.0 }; 2]);
    let low_path = split(&low, features, left, depth + 1, random, out);
    let high_path = split(&high, features, left + 1, depth + 1, random, out);
    let share = low.len() as f32 / rows.len() as f32;
    let value = share * low_path + (1.0 - share) * high_path;
    out[at] = Grown::Split { feature, threshold, missing_left, left, value };
    value
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Truth, all_groups},
        *,
    };

    #[test]
    fn what_is_rare_is_alone_soon() {
        let mut random = Random::new(9);
        let rows: Vec<Example> = (0..600)
            .map(|_| {
                let values = std::array::from_fn(|f| match f {
                    0..=9 => random.normal() as f32,
                    _ => f32::NAN,
                });
                Example { values, truth: Truth::Legitimate { day: 0 }, weight: 1.0 }
            })
            .collect();
        let forest = grow(&rows, all_groups, 1, &mut |_| {}).unwrap();
        assert_eq!(forest, grow(&rows, all_groups, 1, &mut |_| {}).unwrap());
        let far: [f32; WIDTH] = std::array::from_fn(|f| if f < 10 { 5.0 } else { f32::NAN });
        let usual = rows.iter().map(|r| forest.mean(&r.values)).sum::<f32>() / 600.0;
        assert!(forest.mean(&far) < usual - 1.0, "{} {usual}", forest.mean(&far));
        assert!((usual - norm()).abs() < 3.0, "{usual} {}", norm());
        assert!(grow(&[], all_groups, 1, &mut |_| {}).is_err());
    }
}
