//! Training of the behaviour model: three forests, what joins them, and the threshold.
//!
//! Behind the cargo feature `train`, as nobody who only scores needs linfa. The same examples, in
//! the same order, give the same model bit for bit: random numbers come from a seed, threads do
//! not change what is summed when, and no hash map is walked.
//!
//! - [`train`] makes a model of examples alone;
//! - [`adapt`] fits a model that is there to a host that has hardly seen an attack;
//! - [`grow`], [`Forests::listen`] and [`calibrate`] are the steps, for who has worlds of their own.

mod boost;
mod calibrate;
mod grow;
mod isolate;
mod random;
#[cfg(test)]
mod testing;

use crate::behaviour::{
    BehaviourModel, Group, WIDTH,
    forest::{Forest, ForestError},
    model::Calibration,
};
pub use calibrate::{PRIOR, Said, Voices, calibrate};
pub use random::Random;

/// Rows that the random forest is grown from: attacks, legitimate ones by chance, and those that a
/// first forest stumbles over.
const ATTACKS: usize = 6_000;
const BY_CHANCE: usize = 3_000;
const STUMBLED: usize = 5_000;

/// Different attacks that [`train`] wants at least: half of them are grown from, the others
/// calibrate, and of fewer than that nothing can be learned that holds tomorrow.
pub const LEAST_EPISODES: usize = 40;

/// Different subjects' days without attacks that [`train`] and [`adapt`] want at least.
pub const LEAST_DAYS: usize = 100;

/// Why there is no model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrainError {
    /// Nothing to learn from.
    #[error("{found} {what} to learn from, at least {wanted} are needed")]
    TooFew {
        /// Of what.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there should be.
        wanted: usize,
    },
    /// What linfa says.
    #[error("training failed: {0}")]
    Linfa(String),
    /// Trees that are no forest.
    #[error("the trees that were grown are no forest: {0}")]
    Forest(#[from] ForestError),
}

impl From<linfa::Error> for TrainError {
    fn from(error: linfa::Error) -> Self {
        Self::Linfa(error.to_string())
    }
}

/// What a request was, and what it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Truth {
    /// Part of an attack. All attacks count the same, however many requests they have.
    Attack {
        /// Which one.
        episode: u32,
    },
    /// Legitimate.
    Legitimate {
        /// A number of its own for each subject and day: false alerts are counted by these.
        day: u32,
    },
}

impl Truth {
    /// Whether it is part of an attack.
    #[must_use]
    pub const fn is_attack(self) -> bool {
        matches!(self, Self::Attack { .. })
    }
}

/// A request to learn from. Those of profiles that are still learning must not be among them.
#[derive(Clone, Debug)]
pub struct Example {
    /// Its features, as [`crate::behaviour::Vector::values`] has them.
    pub values: [f32; WIDTH],
    /// What it was.
    pub truth: Truth,
    /// How many requests it stands for; of attacks, which part of its episode.
    pub weight: f32,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Trees of the random forest.
    Forest,
    /// Boosted trees.
    Boosting,
    /// Trees of the isolation forest.
    Isolation,
    /// Requests that the forests are asked about.
    Listening,
}

impl Stage {
    /// What it is, for a person.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forest => "growing the random forest",
            Self::Boosting => "boosting trees",
            Self::Isolation => "growing the isolation forest",
            Self::Listening => "asking the forests",
        }
    }
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// With what.
    pub stage: Stage,
    /// Trees or requests that are done.
    pub done: usize,
    /// Trees or requests that there are.
    pub all: usize,
}

/// Is told how far training is, on the thread that called.
pub type Report<'a> = &'a mut dyn FnMut(Progress);

/// Which features a training may use.
pub type Mask = fn(Group) -> bool;

/// All features.
#[must_use]
pub const fn all_groups(_: Group) -> bool {
    true
}

/// What was grown, before it is calibrated.
#[derive(Clone, Debug, PartialEq)]
pub struct Forests {
    /// Log-odds of attacks.
    pub forest: Forest,
    /// Boosted trees: log-odds of attacks, too.
    pub boosted: Forest,
    /// Lengths of paths.
    pub isolation: Forest,
}

impl Forests {
    /// A model of them.
    #[must_use]
    pub fn with(&self, calibration: Calibration) -> BehaviourModel {
        BehaviourModel {
            forest: self.forest.clone(),
            boosted: self.boosted.clone(),
            isolation: self.isolation.clone(),
            calibration,
        }
    }

    /// A model that hands the forests' answers through, for who asks about requests of their own
    /// before there is a calibration.
    #[must_use]
    pub fn uncalibrated(&self) -> BehaviourModel {
        self.with(Calibration {
            intercept: 0.0,
            forest: 1.0,
            boosted: 0.0,
            anomaly: 0.0,
            usual_path: isolate::norm(),
            curve: vec![(0.0, 0.5)],
            threshold: 1.0,
        })
    }

    /// What the forests say of examples.
    pub fn listen(&self, examples: &[&Example], report: Report<'_>) -> Vec<Said> {
        let model = self.uncalibrated();
        let all = examples.len();
        let mut said = Vec::with_capacity(all);
        for (done, example) in examples.iter().enumerate() {
            let answers = model.answers(&example.values);
            said.push(Said { answers, truth: example.truth, weight: example.weight });
            if done % 4096 == 0 || done + 1 == all {
                report(Progress { stage: Stage::Listening, done: done + 1, all });
            }
        }
        said
    }
}

/// Some of `rows`, drawn without replacement.
fn draw<'a>(mut rows: Vec<&'a Example>, n: usize, random: &mut Random) -> Vec<&'a Example> {
    for at in 0..n.min(rows.len()) {
        let other = at + random.below(rows.len() - at);
        rows.swap(at, other);
    }
    rows.truncate(n);
    rows
}

/// Grows all three forests; the random forest twice, the second time from what the first stumbled
/// over.
///
/// # Errors
/// [`TrainError`]; one of the labels is missing, or what linfa says.
pub fn grow(
    pool: &[Example],
    mask: Mask,
    seed: u64,
    report: Report<'_>,
) -> Result<Forests, TrainError> {
    let mut random = Random::new(seed);
    let attacks: Vec<&Example> = pool.iter().filter(|r| r.truth.is_attack()).collect();
    let benign: Vec<&Example> = pool.iter().filter(|r| !r.truth.is_attack()).collect();
    for (what, of) in [("attacks", &attacks), ("legitimate requests", &benign)] {
        if of.is_empty() {
            return Err(TrainError::TooFew { what, found: 0, wanted: 1 });
        }
    }
    let attacks = draw(attacks, ATTACKS, &mut random);
    let chosen: Vec<&Example> = attacks
        .iter()
        .copied()
        .chain(draw(benign.clone(), BY_CHANCE + STUMBLED, &mut random))
        .collect();
    let first = grow::grow(&chosen, pool, mask, 1, (0, 2), report)?;
    let mut hardest: Vec<(f32, &Example)> =
        benign.iter().map(|row| (first.mean(&row.values), *row)).collect();
    hardest.sort_by(|a, b| b.0.total_cmp(&a.0));
    // Every second of the worst: neighbours in time are much alike.
    let hardest = hardest.iter().step_by(2).take(STUMBLED).map(|h| h.1);
    let chosen: Vec<&Example> = attacks
        .iter()
        .copied()
        .chain(draw(benign.clone(), BY_CHANCE, &mut random))
        .chain(hardest)
        .collect();
    let forest = grow::grow(&chosen, pool, mask, 2, (1, 2), report)?;
    let boosted = boost::grow(pool, mask, seed, &boost::Settings::USUAL, report)?;
    let isolation = isolate::grow(pool, mask, 3, report)?;
    Ok(Forests { forest, boosted, isolation })
}

/// How many different groups there are, of one label.
fn groups(examples: &[Example], attack: bool) -> usize {
    let mut groups: Vec<u32> = examples
        .iter()
        .filter_map(|example| match example.truth {
            Truth::Attack { episode } if attack => Some(episode),
            Truth::Legitimate { day } if !attack => Some(day),
            _ => None,
        })
        .collect();
    groups.sort_unstable();
    groups.dedup();
    groups.len()
}

fn enough(examples: &[Example], attack: bool) -> Result<(), TrainError> {
    let (what, wanted) = match attack {
        true => ("attacks", LEAST_EPISODES),
        false => ("subjects' days", LEAST_DAYS),
    };
    let found = groups(examples, attack);
    if found < wanted { Err(TrainError::TooFew { what, found, wanted }) } else { Ok(()) }
}

/// Makes a model of examples alone. Half of the attacks and half of the subjects' days, whole,
/// are grown from, the others calibrate; which half is drawn by the seed.
///
/// # Errors
/// [`TrainError::TooFew`] below [`LEAST_EPISODES`] or [`LEAST_DAYS`]; else what training says.
pub fn train(
    examples: &[Example],
    seed: u64,
    report: Report<'_>,
) -> Result<BehaviourModel, TrainError> {
    train_beside(None, examples, seed, report)
}

/// As [`train`], with the trees of `base` that know attacks beside those that are grown: what it
/// has learned of attacks that are not among the examples stays known. Both are calibrated
/// together, on the examples that nothing was grown from.
///
/// # Errors
/// Those of [`train`].
pub fn train_beside(
    base: Option<&BehaviourModel>,
    examples: &[Example],
    seed: u64,
    report: Report<'_>,
) -> Result<BehaviourModel, TrainError> {
    enough(examples, true)?;
    enough(examples, false)?;
    let to_grow = |example: &&Example| {
        let group = match example.truth {
            Truth::Attack { episode } => u64::from(episode) << 1 | 1,
            Truth::Legitimate { day } => u64::from(day) << 1,
        };
        Random::new(seed ^ group.wrapping_mul(0x9e37_79b9_7f4a_7c15)).chance(0.5)
    };
    let pool: Vec<Example> = examples.iter().filter(to_grow).cloned().collect();
    let mut forests = grow(&pool, all_groups, seed, report)?;
    if let Some(base) = base {
        forests.forest = base.forest.joined(&forests.forest)?;
        forests.boosted = base.boosted.joined(&forests.boosted)?;
    }
    let held: Vec<&Example> = examples.iter().filter(|e| !to_grow(e)).collect();
    let calibration = calibrate(&forests.listen(&held, report), Voices::ALL)?;
    Ok(forests.with(calibration))
}

/// Fits `base` to the host that the examples are from: what attacks look like stays as it was
/// learned, what is rare is learned anew from the host's own requests, and the threshold rises until
/// at most the usual share of its days has a false alert. It never falls: a quiet host is no
/// reason to alert more. Attacks among the examples are left out.
///
/// # Errors
/// [`TrainError::TooFew`] below [`LEAST_DAYS`]; else what training says.
pub fn adapt(
    base: &BehaviourModel,
    examples: &[Example],
    seed: u64,
    report: Report<'_>,
) -> Result<BehaviourModel, TrainError> {
    enough(examples, false)?;
    let own: Vec<Example> = examples.iter().filter(|e| !e.truth.is_attack()).cloned().collect();
    let isolation = isolate::grow(&own, all_groups, seed, report)?;
    let forests = Forests { isolation, forest: base.forest.clone(), boosted: base.boosted.clone() };
    let own: Vec<&Example> = own.iter().collect();
    let said = forests.listen(&own, report);
    let middle = |mut anomalies: Vec<f32>| {
        anomalies.sort_by(f32::total_cmp);
        anomalies.get(anomalies.len() / 2).copied().unwrap_or(0.5)
    };
    let before = middle(own.iter().map(|e| base.answers(&e.values).anomaly).collect());
    let after = middle(said.iter().map(|s| s.answers.anomaly).collect());
    let mut calibration = base.calibration.clone();
    // What is like all others weighs what it weighed.
    calibration.intercept += calibration.anomaly * (before - after);
    calibration.usual_path = isolate::norm();
    let threshold = calibrate::threshold(&said, &calibration)?;
    // What is surest stays an alert: one attack among the examples that nobody has labelled must
    // not silence all like it.
    let surest = calibration.curve.last().map_or(1.0, |knot| knot.1);
    calibration.threshold = calibration.threshold.max(threshold.min(surest));
    Ok(forests.with(calibration))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Attacks have a greater first feature; a day has ten requests, an attack five.
    fn examples(days: u32, episodes: u32) -> Vec<Example> {
        let mut random = Random::new(11);
        let mut one = |truth: Truth| {
            let mut values = [f32::NAN; WIDTH];
            for value in values.iter_mut().take(6) {
                *value = random.normal() as f32;
            }
            if truth.is_attack() {
                values[0] += 6.0;
            }
            Example { values, truth, weight: if truth.is_attack() { 0.2 } else { 1.0 } }
        };
        let legitimate = (0..days * 10).map(|n| Truth::Legitimate { day: n / 10 });
        let attacks = (0..episodes * 5).map(|n| Truth::Attack { episode: n / 5 });
        legitimate.chain(attacks).map(&mut one).collect()
    }

    fn alerts(model: &BehaviourModel, examples: &[Example], attack: bool) -> (usize, usize) {
        let of: Vec<&Example> = examples.iter().filter(|e| e.truth.is_attack() == attack).collect();
        let calibration = &model.calibration;
        let alerts = of.iter().filter(|e| {
            let margin = calibration.margin(&model.answers(&e.values));
            calibration.probability(margin) >= calibration.threshold
        });
        (alerts.count(), of.len())
    }

    #[test]
    fn a_model_of_examples_alone_tells_and_repeats_itself() {
        let examples = examples(400, 80);
        let mut stages = Vec::new();
        let model = train(&examples, 7, &mut |p| {
            assert!(p.done <= p.all);
            if stages.last() != Some(&p.stage) {
                stages.push(p.stage);
            }
        })
        .unwrap();
        assert_eq!(stages, [Stage::Forest, Stage::Boosting, Stage::Isolation, Stage::Listening]);
        assert_eq!(model, train(&examples, 7, &mut |_| {}).unwrap());
        let (found, all) = alerts(&model, &examples, true);
        assert!(found * 10 > all * 9, "{found} of {all}");
        let (false_, all) = alerts(&model, &examples, false);
        assert!(false_ * 100 < all, "{false_} of {all}");
        assert!(BehaviourModel::from_bytes(&model.to_bytes().unwrap()).is_ok());
    }

    #[test]
    fn what_the_base_knows_stays_known_beside_what_is_learned() {
        let examples = examples(400, 80);
        let base = train(&examples, 7, &mut |_| {}).unwrap();
        // A host of which the attacks show in another feature.
        let mut other = examples.clone();
        other.iter_mut().for_each(|example| example.values.swap(0, 3));
        let alone = train(&other, 7, &mut |_| {}).unwrap();
        let both = train_beside(Some(&base), &other, 7, &mut |_| {}).unwrap();
        assert_eq!(both.forest.trees(), base.forest.trees() + alone.forest.trees());
        assert_eq!(both.boosted.trees(), base.boosted.trees() + alone.boosted.trees());
        let found = |model: &BehaviourModel, of: &[Example]| alerts(model, of, true).0;
        assert!(found(&both, &other) * 10 > found(&alone, &other) * 9);
        assert!(found(&both, &examples) > 2 * found(&alone, &examples));
        assert_eq!(both, train_beside(Some(&base), &other, 7, &mut |_| {}).unwrap());
    }

    #[test]
    fn too_few_examples_are_told() {
        let few = |days, episodes| train(&examples(days, episodes), 7, &mut |_| {}).unwrap_err();
        assert_eq!(
            few(400, 39),
            TrainError::TooFew { what: "attacks", found: 39, wanted: LEAST_EPISODES }
        );
        assert_eq!(
            few(99, 40),
            TrainError::TooFew { what: "subjects' days", found: 99, wanted: LEAST_DAYS }
        );
    }

    #[test]
    fn a_noisy_host_raises_the_threshold_and_a_quiet_one_leaves_it() {
        let all = examples(400, 80);
        let base = train(&all, 7, &mut |_| {}).unwrap();
        let quiet = adapt(&base, &all, 1, &mut |_| {}).unwrap();
        assert!(quiet.calibration.threshold >= base.calibration.threshold);
        assert_eq!(quiet.forest, base.forest);
        let mut noisy = all.clone();
        for example in noisy.iter_mut().filter(|e| !e.truth.is_attack()) {
            example.values[0] += 2.5;
        }
        let louder = alerts(&base, &noisy, false).0;
        let adapted = adapt(&base, &noisy, 1, &mut |_| {}).unwrap();
        assert!(alerts(&adapted, &noisy, false).0 < louder, "{louder}");
        // Whatever is in the history, the surest is still an alert.
        assert!(alerts(&adapted, &noisy, true).0 > 0);
        assert!(adapt(&base, &all[..50], 1, &mut |_| {}).is_err());
    }
}
