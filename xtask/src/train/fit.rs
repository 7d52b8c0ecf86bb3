//! From labelled requests to weights, by linfa's logistic regression.

use std::collections::{HashMap, HashSet};

use anyhow::{Context, Result};
use jotwatch_models::payload::{
    Active, Extractor, Group, NO_EVIDENCE, PayloadModel, Scratch, Weights,
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
            Label::Fragment | Label::Redirect => {}
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

/// Trains on `samples`; the calibration is left at identity.
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
    Ok(Weights { weights, bias, slope: 1.0, intercept: 0.0, threshold: 0.5 })
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

/// The share of attacks for which the calibration is fitted: the sensor's own.
pub(crate) const BASE: f64 = 0.01;

/// Slope and intercept of the log-odds over `points` (margin, whether an attack), where half of them
/// weigh as attacks: Platt's calibration. It is fitted where [`BASE`] of them do, and moved from
/// there: fitted in the middle, it says too little of margins that are nearly always an attack's.
///
/// # Errors
/// What linfa says.
pub(crate) fn calibrate(points: &[(f32, bool)]) -> Result<(f32, f32)> {
    /// Evenly spaced ones of the sorted margins stand for all.
    const ATTACKS: usize = 300;
    /// As many as make the attacks [`BASE`] of all.
    const OTHERS: usize = 29_700;
    let mut picked = Vec::new();
    for (label, points_of) in [(false, OTHERS), (true, ATTACKS)] {
        let mut margins: Vec<f32> = points.iter().filter(|p| p.1 == label).map(|p| p.0).collect();
        margins.sort_by(f32::total_cmp);
        for n in 0..points_of {
            let at = (2 * n + 1) * margins.len() / (2 * points_of);
            picked.push((*margins.get(at).context("a label without points")?, label));
        }
    }
    let x = Array2::from_shape_fn((picked.len(), 1), |(n, _)| f64::from(picked[n].0));
    let y: Array1<bool> = picked.iter().map(|p| p.1).collect();
    let fitted =
        LogisticRegression::default().alpha(1e-3).max_iterations(200).fit(&Dataset::new(x, y))?;
    let sign = if fitted.labels().pos.class { 1.0 } else { -1.0 };
    let moved = sign * fitted.intercept() + ((1.0 - BASE) / BASE).ln();
    Ok(((sign * fitted.params()[0]) as f32, moved as f32))
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

    #[test]
    fn calibration_orders_and_centres() {
        let points: Vec<(f32, bool)> = (-40..40)
            .map(|n| (n as f32 / 10.0, n >= 0 || n % 4 == 0))
            .chain((-40..0).map(|n| (n as f32 / 10.0, false)))
            .collect();
        let (slope, intercept) = calibrate(&points).unwrap();
        assert!(slope > 0.5, "{slope}");
        let even = -intercept / slope;
        assert!((-3.0..1.0).contains(&even), "{even}");
        assert!(calibrate(&points[..1]).is_err());
    }
}
