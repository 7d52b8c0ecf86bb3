//! From what the forests say to a probability, on worlds that they have not seen.

use std::collections::BTreeMap;

use linfa::{Dataset, traits::Fit};
use linfa_logistic::LogisticRegression;
use ndarray::{Array1, Array2};

use super::{TrainError, Truth, isolate};
use crate::behaviour::model::{Answers, Calibration, MAX_KNOTS};

/// What the forests said of a request.
#[derive(Clone, Copy, Debug)]
pub struct Said {
    /// What they said.
    pub answers: Answers,
    /// What it was.
    pub truth: Truth,
    /// Of attacks: which part of its episode it is. Of others, how many it stands for.
    pub weight: f32,
}

/// Which of the forests may speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Voices {
    /// The random forest.
    pub forest: bool,
    /// The boosted trees.
    pub boosted: bool,
    /// The isolation forest.
    pub isolation: bool,
}

impl Voices {
    /// All three.
    pub const ALL: Self = Self { forest: true, boosted: true, isolation: true };

    /// What the loudest of them said.
    fn loudest(self, said: &Said) -> f32 {
        let Answers { evidence, boosted, anomaly } = said.answers;
        match self {
            Self { boosted: true, .. } => boosted,
            Self { forest: true, .. } => evidence,
            _ => anomaly,
        }
    }
}

/// The share of attacks among requests that probabilities are for, each episode counting as much
/// as any other.
pub const PRIOR: f64 = 0.01;

/// Share of subjects' days with a false alert on the worlds that the threshold is set on. They are
/// harder than most hosts: profiles are younger, and what is odd is half again as common as on
/// worlds to test on, where this gives less than one day in a thousand.
const FALSE_DAYS: f64 = 0.0015;

/// No knot of the curve is above this, and none below the other: no number of generated requests
/// makes one certain.
const MOST: f64 = 0.998;
const LEAST: f64 = 1e-6;

/// Weight of a block of the curve in legitimate requests, at least: fewer are chance.
const BLOCK: f64 = 30.0;

/// A label of which there is nothing.
const NONE: TrainError = TrainError::TooFew { what: "requests of a label", found: 0, wanted: 1 };

/// Share of the legitimate requests that voices are joined over: those that the loudest takes most
/// for an attack. What the others add there is what they are worth; where all agree that there is
/// none, they would be trusted for nothing.
const DOUBTFUL: f64 = 0.01;

/// Intercept and weights: a logistic regression over 2,000 points of each label, evenly spaced by
/// what the loudest voice said, of legitimate ones among the [`DOUBTFUL`], moved to [`PRIOR`].
fn join(said: &[Said], voices: Voices) -> Result<(f32, [f32; 3]), TrainError> {
    const POINTS: usize = 2000;
    let mut picked: Vec<(&Said, bool)> = Vec::new();
    for attack in [false, true] {
        let mut of: Vec<&Said> = said.iter().filter(|s| s.truth.is_attack() == attack).collect();
        of.sort_by(|a, b| voices.loudest(a).total_cmp(&voices.loudest(b)));
        let all: f64 = of.iter().map(|s| f64::from(s.weight)).sum();
        let mut sums = of.iter().scan(0.0, |sum, s| {
            *sum += f64::from(s.weight);
            Some((*sum, *s))
        });
        let mut at = sums.next().ok_or(NONE)?;
        for n in 0..POINTS {
            let part = (n as f64 + 0.5) / POINTS as f64;
            let part = if attack { part } else { 1.0 - DOUBTFUL * (1.0 - part) };
            let wanted = part * all;
            while at.0 < wanted {
                let Some(next) = sums.next() else { break };
                at = next;
            }
            picked.push((at.1, attack));
        }
    }
    let x = Array2::from_shape_fn((picked.len(), 3), |(row, column)| {
        let said = picked[row].0.answers;
        let (value, speaks) = match column {
            0 => (said.evidence, voices.forest),
            1 => (said.boosted, voices.boosted),
            _ => (said.anomaly, voices.isolation),
        };
        if speaks { f64::from(value) } else { 0.0 }
    });
    let y: Array1<bool> = picked.iter().map(|p| p.1).collect();
    let fitted = LogisticRegression::default()
        .alpha(1e-3)
        .max_iterations(200)
        .fit(&Dataset::new(x, y))
        .map_err(|error| TrainError::Linfa(error.to_string()))?;
    let sign = if fitted.labels().pos.class { 1.0 } else { -1.0 };
    let prior = (PRIOR / (1.0 - PRIOR) / DOUBTFUL).ln();
    let weight = |n: usize| (sign * fitted.params()[n]) as f32;
    Ok(((sign * fitted.intercept() + prior) as f32, [0, 1, 2].map(weight)))
}

/// A rising curve through `points` (log-odds, weight, of which attacks), by pooling neighbours that
/// fall (pool adjacent violators), in blocks of some weight.
fn curve(mut points: Vec<(f32, f64, f64)>) -> Vec<(f32, f32)> {
    struct Block {
        at: f64,
        weight: f64,
        attacks: f64,
    }
    impl Block {
        fn share(&self) -> f64 {
            (self.attacks / self.weight).clamp(LEAST, MOST)
        }
        fn take(&mut self, other: &Self) {
            self.at += other.at;
            self.weight += other.weight;
            self.attacks += other.attacks;
        }
    }
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut blocks: Vec<Block> = Vec::new();
    for (margin, weight, attacks) in points {
        let new = Block { at: f64::from(margin) * weight, weight, attacks };
        match blocks.last_mut() {
            // Enough requests make a block; among attacks alone, a tenth of that.
            Some(open) if open.weight - open.attacks < BLOCK && open.attacks < BLOCK / 10.0 => {
                open.take(&new);
            }
            _ => blocks.push(new),
        }
        while let [.., a, b] = &blocks[..]
            && b.share() <= a.share()
            && (b.weight - b.attacks >= BLOCK || b.attacks >= BLOCK / 10.0)
        {
            if let Some(last) = blocks.pop()
                && let Some(open) = blocks.last_mut()
            {
                open.take(&last);
            }
        }
    }
    while let [.., a, b] = &blocks[..]
        && b.share() <= a.share()
    {
        if let Some(last) = blocks.pop()
            && let Some(open) = blocks.last_mut()
        {
            open.take(&last);
        }
    }
    // A curve of a few hundred straight pieces is more than anybody can read.
    let mut apart = 0.05;
    loop {
        let mut knots: Vec<(f32, f32)> = Vec::new();
        for block in &blocks {
            let (at, share) = ((block.at / block.weight) as f32, block.share() as f32);
            match knots.last_mut() {
                Some(last) if at - last.0 <= apart => last.1 = share,
                _ => knots.push((at, share)),
            }
        }
        if knots.len() <= MAX_KNOTS {
            return knots;
        }
        apart *= 2.0;
    }
}

/// Join, curve and threshold.
///
/// # Errors
/// A label without requests, or what linfa says.
pub fn calibrate(said: &[Said], voices: Voices) -> Result<Calibration, TrainError> {
    let (intercept, [forest, boosted, anomaly]) = join(said, voices)?;
    let mut calibration = Calibration {
        intercept,
        forest,
        boosted,
        anomaly,
        usual_path: isolate::norm(),
        curve: vec![],
        threshold: 1.0,
    };
    let total = |attack: bool| -> f64 {
        said.iter().filter(|s| s.truth.is_attack() == attack).map(|s| f64::from(s.weight)).sum()
    };
    let (attacks, benign) = (total(true), total(false));
    let scale = PRIOR / (1.0 - PRIOR) * benign / attacks;
    let points = said
        .iter()
        .map(|s| {
            let margin = calibration.margin(&s.answers);
            let weight = f64::from(s.weight) * if s.truth.is_attack() { scale } else { 1.0 };
            (margin, weight, if s.truth.is_attack() { weight } else { 0.0 })
        })
        .collect();
    calibration.curve = curve(points);
    calibration.threshold = threshold(said, &calibration)?;
    Ok(calibration)
}

/// The probability above the worst of each subject's day, but for [`FALSE_DAYS`] of them.
///
/// # Errors
/// No legitimate requests.
pub(super) fn threshold(said: &[Said], calibration: &Calibration) -> Result<f32, TrainError> {
    let mut days = BTreeMap::<u32, f32>::new();
    for said in said {
        let Truth::Legitimate { day } = said.truth else { continue };
        let probability = calibration.probability(calibration.margin(&said.answers));
        let worst = days.entry(day).or_default();
        *worst = worst.max(probability);
    }
    let mut worst: Vec<f32> = days.into_values().collect();
    worst.sort_by(f32::total_cmp);
    let allowed = (worst.len() as f64 * FALSE_DAYS) as usize;
    let at = worst.len().checked_sub(allowed + 1).ok_or(NONE)?;
    Ok(worst.get(at).map_or(1.0, |worst| (worst + 1e-6).min(1.0)))
}

#[cfg(test)]
mod tests {
    use super::{super::Random, *};

    /// Requests of which the forest knows something.
    fn said(n: usize) -> Vec<Said> {
        let mut random = Random::new(3);
        (0..n)
            .map(|at| {
                let attack = at % 50 == 0;
                let loud = random.normal() * 1.5 + if attack { 3.0 } else { -3.0 };
                Said {
                    answers: Answers { evidence: loud as f32, boosted: 0.0, anomaly: 0.5 },
                    truth: if attack {
                        Truth::Attack { episode: at as u32 }
                    } else {
                        Truth::Legitimate { day: (at / 40) as u32 }
                    },
                    weight: 1.0,
                }
            })
            .collect()
    }

    #[test]
    fn probabilities_are_what_they_say() {
        let calibration =
            calibrate(&said(60_000), Voices { boosted: false, ..Voices::ALL }).unwrap();
        let (mut bins, fresh) = ([(0.0, 0.0, 0.0); 5], said(90_000));
        let attacks = fresh.iter().filter(|s| s.truth.is_attack()).count() as f64;
        let scale = PRIOR / (1.0 - PRIOR) * (fresh.len() as f64 - attacks) / attacks;
        for said in &fresh {
            let p = f64::from(calibration.probability(calibration.margin(&said.answers)));
            let bin = &mut bins[((p * 5.0) as usize).min(4)];
            let weight = if said.truth.is_attack() { scale } else { 1.0 };
            bin.0 += weight;
            bin.1 += weight * p;
            bin.2 += if said.truth.is_attack() { weight } else { 0.0 };
        }
        for (weight, said, truth) in bins {
            assert!((said - truth).abs() / weight < 0.1, "{bins:?}");
        }
    }

    #[test]
    fn the_threshold_lets_few_days_through_and_the_curve_rises() {
        let said = said(60_000);
        let calibration =
            calibrate(&said, Voices { forest: true, boosted: false, isolation: false }).unwrap();
        assert!(calibration.curve.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1));
        assert!(calibration.curve.len() <= MAX_KNOTS);
        assert_eq!(calibration.anomaly, 0.0);
        let mut days = std::collections::HashSet::new();
        for said in &said {
            let Truth::Legitimate { day } = said.truth else { continue };
            let margin = calibration.margin(&said.answers);
            if calibration.probability(margin) >= calibration.threshold {
                days.insert(day);
            }
        }
        assert!(days.len() as f64 <= 1500.0 * FALSE_DAYS, "{}", days.len());
        assert!(calibrate(&said[1..40], Voices { boosted: false, ..Voices::ALL }).is_err());
    }
}
