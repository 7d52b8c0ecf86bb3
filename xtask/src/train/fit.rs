//! From labelled requests to weights, by linfa's logistic regression.

use std::collections::{HashMap, HashSet};

use anyhow::{Context, Result, ensure};
use jotwatch_models::payload::{
    Active, Curve, Extractor, Group, MAX_KNOTS, NO_EVIDENCE, PayloadModel, Scratch, Weights,
    schema::{self, WIDTH},
};
use linfa::{Dataset, traits::Fit};
use linfa_logistic::LogisticRegression;
use ndarray::{Array1, Array2, ShapeBuilder as _};

use super::data::{Label, Sample};

/// Penalty on squared weights. The hashed groups are penalised more, by the scale of their
/// columns: they know the training sets best and foreign ones least.
const ALPHA: f64 = 1.0;
const TOKEN_SCALE: f32 = 0.35;
const CHAR_SCALE: f32 = 0.25;

/// L-BFGS steps: from here on the figures on held-out sources no longer move.
const ITERATIONS: u64 = 60;

/// Rows with the same features that are kept, by label: a set that repeats itself a thousand
/// times does not know a thousand things.
const COPIES: u8 = 3;

/// The same for legitimate rows: few of them have any evidence, and those are what the model must
/// not stumble over.
const BENIGN_COPIES: u8 = 12;

/// One piece of a value.
struct Row {
    features: Vec<(usize, f32)>,
    attack: bool,
}

/// Which features a training may use.
pub(crate) type Mask = fn(Group) -> bool;

pub(crate) fn all_groups(_: Group) -> bool {
    true
}

fn scale(place: usize) -> f32 {
    match schema::group_of(place) {
        Group::TokenGrams => TOKEN_SCALE,
        Group::CharGrams => CHAR_SCALE,
        _ => 1.0,
    }
}

fn row(active: &Active, attack: bool) -> Row {
    Row { features: active.iter().collect(), attack }
}

/// The rows of `samples`: each piece of a benign request that has evidence; of an attack the piece with the most
/// named features, as the rest of that request is like any other.
fn rows(samples: &[&Sample], mask: Mask) -> Vec<Row> {
    let extractor = Extractor::default();
    let mut scratch = Scratch::default();
    let mut rows: Vec<Row> = Vec::new();
    let mut copies: HashMap<(bool, Vec<(usize, u32)>), u8> = HashMap::new();
    let mut keep = |row: Row| {
        let key = row.features.iter().map(|(at, v)| (*at, v.to_bits())).collect();
        let count = copies.entry((row.attack, key)).or_default();
        if *count < if row.attack { COPIES } else { BENIGN_COPIES } {
            *count += 1;
            rows.push(row);
        }
    };
    for sample in samples {
        let mut most: Option<(usize, Row)> = None;
        extractor.features(&sample.values(), &mut scratch, |_, active| match sample.label {
            Label::Benign => keep(row(active, false)),
            Label::Attack(_) => {
                if most.as_ref().is_none_or(|(n, _)| active.named.len() > *n) {
                    most = Some((active.named.len(), row(active, true)));
                }
            }
            Label::Fragment | Label::Redirect | Label::Harmless => {}
        });
        if let Some((_, row)) = most {
            keep(row);
        }
    }
    for row in &mut rows {
        row.features.retain(|(at, _)| mask(schema::group_of(*at)));
    }
    rows
}

/// Trains on `samples`; the calibration is left at identity, as far as margins usually go.
///
/// # Errors
/// What linfa says: one class only, or no progress.
pub(crate) fn train(samples: &[&Sample], mask: Mask) -> Result<Weights> {
    let rows = rows(samples, mask);
    // Columns that never occur would be carried through every step for nothing.
    let used: HashSet<usize> =
        rows.iter().flat_map(|r| r.features.iter().map(|(at, _)| *at)).collect();
    let mut used: Vec<usize> = used.into_iter().collect();
    used.sort_unstable();
    let column: HashMap<usize, usize> = used.iter().enumerate().map(|(n, at)| (*at, n)).collect();
    // By columns: the gradient walks along them, and that is most of the work.
    let mut x = Array2::<f32>::zeros((rows.len(), used.len()).f());
    for (n, row) in rows.iter().enumerate() {
        for (at, value) in &row.features {
            if let Some(column) = column.get(at) {
                x[(n, *column)] = value * scale(*at);
            }
        }
    }
    let y: Array1<bool> = rows.iter().map(|r| r.attack).collect();
    let fitted = LogisticRegression::default()
        .alpha(ALPHA as f32)
        .max_iterations(ITERATIONS)
        .gradient_tolerance(1e-3)
        .fit(&Dataset::new(x, y))
        .context("logistic regression")?;
    // linfa is free in which class it counts as positive.
    let sign = if fitted.labels().pos.class { 1.0 } else { -1.0 };
    let mut weights = vec![0.0; WIDTH];
    for (at, value) in used.iter().zip(fitted.params()) {
        weights[*at] = sign * value * scale(*at);
    }
    let bias = sign * fitted.intercept();
    let curve = Curve::new(vec![(-8.0, -8.0), (8.0, 8.0)]).context("a curve that rises")?;
    Ok(Weights { weights, bias, curve, threshold: 0.0 })
}

/// The margin of each of `samples`: that of its worst piece.
pub(crate) fn margins<'a>(
    weights: &Weights,
    samples: impl IntoIterator<Item = &'a Sample>,
) -> Vec<f32> {
    let model = PayloadModel::new(weights.clone());
    let extractor = Extractor::default();
    let mut scratch = Scratch::default();
    samples
        .into_iter()
        .map(|sample| {
            let mut worst = NO_EVIDENCE;
            extractor.features(&sample.values(), &mut scratch, |_, active| {
                worst = worst.max(model.margin(active));
            });
            worst
        })
        .collect()
}

/// Requests of one margin or of neighbouring ones, and their log-odds where half are attacks.
#[derive(Clone, Copy)]
struct Block {
    /// Sum of the margins, attacks and others each weighed to one half of all.
    at: f64,
    weight: f64,
    attacks: f64,
    others: f64,
}

impl Block {
    fn take(&mut self, other: Self) {
        self.at += other.at;
        self.weight += other.weight;
        self.attacks += other.attacks;
        self.others += other.others;
    }

    /// As if half a request more of each kind had been met: what was never met is not impossible.
    fn log_odds(self, (attacks, others): (f64, f64)) -> f64 {
        const UNSEEN: f64 = 0.5;
        let share = |met: f64, all: f64| (met + UNSEEN) / (all + UNSEEN);
        (share(self.attacks, attacks) / share(self.others, others)).ln()
    }
}

/// The rising curve that fits `points` (margin, whether an attack) best, where half of them weigh as
/// attacks: neighbours that fall are pooled (pool adjacent violators; Ayer and others, 1955), then
/// those that differ least, until there are at most [`MAX_KNOTS`].
///
/// # Errors
/// A label without points.
pub(crate) fn calibrate(points: &[(f32, bool)]) -> Result<Curve> {
    let mut sorted = points.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let attacks = sorted.iter().filter(|point| point.1).count() as f64;
    let all = (attacks, sorted.len() as f64 - attacks);
    ensure!(all.0 > 0.0 && all.1 > 0.0, "a label without points");
    let mut blocks: Vec<Block> = Vec::new();
    let mut last = None;
    for (margin, attack) in sorted {
        let (attacks, others) = if attack { (1.0, 0.0) } else { (0.0, 1.0) };
        let weight = attacks / all.0 + others / all.1;
        let new = Block { at: f64::from(margin) * weight, weight, attacks, others };
        // Of one margin is of one block, whatever its label.
        match blocks.last_mut() {
            Some(block) if last == Some(margin) => block.take(new),
            _ => blocks.push(new),
        }
        last = Some(margin);
    }
    let mut pooled: Vec<Block> = Vec::new();
    for block in blocks {
        pooled.push(block);
        while let [.., a, b] = pooled[..]
            && b.log_odds(all) <= a.log_odds(all)
        {
            pooled.pop();
            if let Some(open) = pooled.last_mut() {
                open.take(b);
            }
        }
    }
    while pooled.len() > MAX_KNOTS {
        let rise = |at: usize| pooled[at + 1].log_odds(all) - pooled[at].log_odds(all);
        let least = (0..pooled.len() - 1).min_by(|a, b| rise(*a).total_cmp(&rise(*b)));
        let at = least.context("two blocks")?;
        let next = pooled.remove(at + 1);
        pooled[at].take(next);
    }
    let knots = pooled.iter().map(|b| ((b.at / b.weight) as f32, b.log_odds(all) as f32)).collect();
    Curve::new(knots).context("a curve that rises")
}

#[cfg(test)]
mod tests {
    use super::{super::data::Source, *};
    use jotwatch_models::payload::Class;

    fn samples() -> Vec<Sample> {
        let mut all = Vec::new();
        for n in 0..60 {
            all.push(Sample::text(
                Source::FuzzDb,
                Label::Attack(Class::Sqli),
                &format!("a{n}' or {n}={n}-- "),
            ));
            all.push(Sample::text(
                Source::Prose,
                Label::Benign,
                &format!("<p>a plain {n}th line</p>"),
            ));
        }
        all
    }

    #[test]
    fn training_tells_and_repeats_itself() {
        let samples = samples();
        let all: Vec<&Sample> = samples.iter().collect();
        let first = train(&all, all_groups).unwrap();
        assert_eq!(first.to_bytes().unwrap(), train(&all, all_groups).unwrap().to_bytes().unwrap());
        // Attacks and legitimate rows alternate; each attack is above every legitimate one.
        let margins = margins(&first, &samples);
        let of = |rest: usize| margins.iter().skip(rest).step_by(2).copied();
        assert!(of(0).fold(f32::MAX, f32::min) > of(1).fold(f32::MIN, f32::max));
    }

    /// Against counts: of each half the share of attacks, and nothing falls.
    #[test]
    fn calibration_says_what_was_met() {
        let points: Vec<(f32, bool)> = (0..4000)
            .map(|n| (if n % 2 == 0 { -1.0 } else { 1.0 }, n % 10 == 1 || n % 20 == 0))
            .collect();
        let curve = calibrate(&points).unwrap();
        // 400 of 600 attacks and 1600 of 3400 others are at 1, 200 and 1800 at -1.
        let odds = |a: f64, b: f64| ((a / 600.0) / (b / 3400.0)).ln() as f32;
        assert!((curve.log_odds(1.0) - odds(400.0, 1600.0)).abs() < 0.01, "{curve:?}");
        assert!((curve.log_odds(-1.0) - odds(200.0, 1800.0)).abs() < 0.01, "{curve:?}");
        assert!(calibrate(&points[..1]).is_err());
    }

    #[test]
    fn calibration_pools_what_falls_and_has_few_knots() {
        let mut random = jotwatch_models::train::Random::new(3);
        let points: Vec<(f32, bool)> = (0..20_000)
            .map(|_| {
                let margin = random.below(8000) as f32 / 1000.0 - 4.0;
                let share = 1.0 / (1.0 + f64::from(-2.0 * margin).exp());
                (margin, random.chance(share))
            })
            .collect();
        let curve = calibrate(&points).unwrap();
        assert!((4..=MAX_KNOTS).contains(&curve.knots().len()));
        // Half of the points are attacks: the curve is the one that they were drawn from.
        for margin in [-1.5_f32, -0.5, 0.0, 0.5, 1.5] {
            assert!((curve.log_odds(margin) - 2.0 * margin).abs() < 0.5, "{margin} {curve:?}");
        }
    }
}
