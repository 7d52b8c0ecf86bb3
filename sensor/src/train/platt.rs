//! Bends a calibration by a few labels (Platt, 1999).
//!
//! The log-odds that the curve gives are stretched and moved: `a + b × log-odds`. Both are those
//! that are likeliest given the labels and a prior around the built-in's own, `a` 0 and `b` 1. So
//! one label moves little, twenty move as much as is known, and none moves nothing.

use jotwatch_models::{
    behaviour::{BehaviourModel, WIDTH},
    train::Example,
};

/// How far the log-odds are thought to be off before anything is seen: standard deviations of the
/// move, and of the stretch. The built-in model stands on generated sessions.
const MOVE: f64 = 1.0;
const STRETCH: f64 = 0.25;

/// The host's exchanges that nobody has looked at count together as so many benign labels, and
/// keep malicious ones from lifting everything.
const BACKGROUND: f64 = 20.0;

/// Exchanges of the background that are looked at.
const LOOKED_AT: usize = 4_096;

/// Steps of Newton's method; it is there after a handful.
const STEPS: usize = 50;

/// The least stretch: the order of scores stays.
const LEAST_STRETCH: f64 = 0.1;

/// Probabilities are kept from certainty by this.
const EDGE: f64 = 1e-7;

/// How a calibration was bent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bent {
    /// Added to the log-odds.
    pub moved: f64,
    /// What they are multiplied with.
    pub stretched: f64,
}

fn logit(probability: f64) -> f64 {
    let probability = probability.clamp(EDGE, 1.0 - EDGE);
    (probability / (1.0 - probability)).ln()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Bends the curve of `model` by `labelled` (values, whether malicious, weight), and says how;
/// `None` without labels.
pub fn bend(
    model: &mut BehaviourModel,
    background: &[Example],
    labelled: &[(&[f32; WIDTH], bool, f64)],
) -> Option<Bent> {
    if labelled.is_empty() {
        return None;
    }
    let said = |values: &[f32; WIDTH]| {
        let vector = jotwatch_models::behaviour::Vector::from_values(values, false);
        logit(f64::from(model.score(&vector).probability))
    };
    let step = (background.len() / LOOKED_AT).max(1);
    let quiet: Vec<f64> = background
        .iter()
        .filter(|example| !example.truth.is_attack())
        .step_by(step)
        .map(|example| said(&example.values))
        .collect();
    let each = BACKGROUND / quiet.len().max(1) as f64;
    let mut points: Vec<(f64, f64, f64)> =
        quiet.into_iter().map(|odds| (odds, 0.0, each)).collect();
    points.extend(labelled.iter().map(|&(values, malicious, weight)| {
        (said(values), f64::from(u8::from(malicious)), weight)
    }));
    let bent = likeliest(&points);
    for knot in &mut model.calibration.curve {
        let odds = bent.moved + bent.stretched * logit(f64::from(knot.1));
        knot.1 = sigmoid(odds) as f32;
    }
    Some(bent)
}

/// The likeliest move and stretch for points of log-odds, label and weight: the maximum of the
/// posterior, which is concave, by Newton's method with halved steps.
fn likeliest(points: &[(f64, f64, f64)]) -> Bent {
    let posterior = |a: f64, b: f64| {
        let prior = -(a / MOVE).powi(2) / 2.0 - ((b - 1.0) / STRETCH).powi(2) / 2.0;
        points.iter().fold(prior, |sum, &(x, y, weight)| {
            let z = a + b * x;
            // log of the logistic function, without overflow.
            let log = |z: f64| -((-z.abs()).exp().ln_1p() + (-z).max(0.0));
            sum + weight * (y * log(z) + (1.0 - y) * log(-z))
        })
    };
    let (mut a, mut b) = (0.0, 1.0);
    for _ in 0..STEPS {
        let (mut ga, mut gb) = (-a / MOVE.powi(2), -(b - 1.0) / STRETCH.powi(2));
        let (mut haa, mut hab, mut hbb) = (MOVE.powi(-2), 0.0, STRETCH.powi(-2));
        for &(x, y, weight) in points {
            let p = sigmoid(a + b * x);
            let (slope, curvature) = (weight * (y - p), weight * p * (1.0 - p));
            ga += slope;
            gb += slope * x;
            haa += curvature;
            hab += curvature * x;
            hbb += curvature * x * x;
        }
        let determinant = haa * hbb - hab * hab;
        let (da, db) = ((hbb * ga - hab * gb) / determinant, (haa * gb - hab * ga) / determinant);
        let now = posterior(a, b);
        let mut part = 1.0;
        while part > 1e-6 && posterior(a + part * da, b + part * db) < now {
            part /= 2.0;
        }
        a += part * da;
        b += part * db;
        if (part * da).abs() + (part * db).abs() < 1e-9 {
            break;
        }
    }
    Bent { moved: a, stretched: b.max(LEAST_STRETCH) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(labels: &[(f64, f64)]) -> Vec<(f64, f64, f64)> {
        let quiet = (0..20).map(|_| (-9.0, 0.0, 1.0));
        quiet.chain(labels.iter().map(|&(x, y)| (x, y, 1.0))).collect()
    }

    /// The maximum, found by looking everywhere.
    #[test]
    fn newton_finds_what_a_grid_finds() {
        for labels in [
            &[(3.0, 0.0), (2.0, 0.0), (4.0, 0.0)][..],
            &[(-3.0, 1.0), (-2.0, 1.0), (1.0, 1.0), (2.0, 0.0)],
            &[(-6.0, 1.0); 30],
        ] {
            let points = points(labels);
            let found = likeliest(&points);
            let value = |a: f64, b: f64| {
                let prior = -a * a / 2.0 - ((b - 1.0) / 0.25).powi(2) / 2.0;
                points.iter().fold(prior, |sum, (x, y, w)| {
                    let p = sigmoid(a + b * x).clamp(1e-15, 1.0 - 1e-15);
                    sum + w * (y * p.ln() + (1.0 - y) * (1.0 - p).ln())
                })
            };
            let mut best = (f64::MIN, 0.0, 0.0);
            for a in -400..=800 {
                for b in 10..=250 {
                    let (a, b) = (f64::from(a) / 100.0, f64::from(b) / 100.0);
                    let here = value(a, b);
                    if here > best.0 {
                        best = (here, a, b);
                    }
                }
            }
            assert!((found.moved - best.1).abs() < 0.02, "{found:?} {best:?}");
            assert!((found.stretched - best.2).abs() < 0.02, "{found:?} {best:?}");
        }
    }

    #[test]
    fn labels_pull_their_way_and_more_of_them_further() {
        let benign = |n| likeliest(&points(&vec![(3.0, 0.0); n]));
        let at = |bent: Bent| bent.moved + bent.stretched * 3.0;
        assert!(at(benign(1)) < 3.0 && at(benign(1)) > 0.0, "{:?}", benign(1));
        assert!(at(benign(20)) < at(benign(5)) && at(benign(5)) < at(benign(1)));
        let malicious = |n| likeliest(&points(&vec![(-3.0, 1.0); n]));
        assert!(malicious(20).moved > malicious(1).moved && malicious(1).moved > 0.0);
        let none = likeliest(&points(&[]));
        assert!(none.moved.abs() < 0.01 && (none.stretched - 1.0).abs() < 0.01);
    }

    #[test]
    fn a_bent_curve_still_rises_and_is_untouched_without_labels() {
        let mut model = BehaviourModel::embedded().unwrap();
        let before = model.clone();
        assert_eq!(bend(&mut model, &[], &[]), None);
        assert_eq!(model, before);
        let values = [f32::NAN; WIDTH];
        let bent = bend(&mut model, &[], &[(&values, true, 1.0)]).unwrap();
        assert!(bent.moved > 0.0);
        assert!(model.calibration.curve.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1));
        assert!(model.to_bytes().is_ok());
        let vector = jotwatch_models::behaviour::Vector::from_values(&values, false);
        assert!(model.score(&vector).probability > before.score(&vector).probability);
    }
}
