//! Passing over, early, what nothing speaks against.
//!
//! Most requests are usual, and of those nobody asks how usual. A [`Gate`] knows of a floor what
//! the trees of a model have to add up to, at least, to reach it: the boosted ones, which say most,
//! and then, by what they and the random forest said, those of the isolation forest. As soon as the
//! trees that are left can't bring that any more they are not asked. The answer is exact: what is passed over is below
//! the floor, and what is not has the very score that [`BehaviourModel::score`] gives.

use super::{
    forest::{Least, Rest},
    model::{Answers, BehaviourModel, BehaviourScore},
    vector::Vector,
};

/// What a model's trees have to say to reach a probability.
#[derive(Clone, Debug)]
pub struct Gate {
    floor: f32,
    /// Joined log-odds at the floor.
    margin: f32,
    least: Least,
    rest: Rest,
}

impl Gate {
    /// The gate of a model, at a probability.
    #[must_use]
    pub fn new(model: &BehaviourModel, floor: f32) -> Self {
        let calibration = &model.calibration;
        // The most that the other two can add.
        let (shortest, longest) = model.isolation.range();
        let anomalies = [shortest, longest].map(|path| calibration.anomaly * model.anomaly(path));
        let (least, greatest) = model.forest.range();
        let evidence = [least, greatest].map(|mean| calibration.forest * mean);
        let most = anomalies[0].max(anomalies[1]) + evidence[0].max(evidence[1]);
        let margin = calibration.least_margin(floor);
        let left = margin - calibration.intercept - most;
        let mean = match calibration.boosted {
            weight if weight > 0.0 => left / weight,
            // Trees that speak against attacks: nothing can be told of them early.
            _ => f32::NEG_INFINITY,
        };
        let (least, rest) = (model.boosted.least(mean), model.isolation.rest());
        Self { floor, margin, least, rest }
    }

    /// The longest path in chance with which the floor may be reached, by what the others
    /// said.
    fn longest(&self, model: &BehaviourModel, others: &Answers) -> f32 {
        /// What joining them in single precision may lose.
        const ROUNDING: f32 = 1e-3;
        let calibration = &model.calibration;
        let rest = self.margin - calibration.margin(others) - ROUNDING;
        match calibration.anomaly {
            // Anomalies are between 0 and 1: with less than none needed any path will do.
            weight if weight > 0.0 && rest > 0.0 => {
                -(rest / weight).log2() * calibration.usual_path + ROUNDING
            }
            _ => f32::INFINITY,
        }
    }
}

impl BehaviourModel {
    /// The score, where its probability is at the gate's floor or above; none where it is below.
    #[must_use]
    pub fn score_above(&self, gate: &Gate, vector: &Vector) -> Option<BehaviourScore> {
        let values = vector.values();
        let boosted = self.boosted.mean_at_least(values, &gate.least)?;
        let evidence = self.forest.mean(values);
        let others = Answers { evidence, boosted, anomaly: 0.0 };
        let longest = gate.longest(self, &others);
        let path = self.isolation.mean_at_most(values, &gate.rest, longest)?;
        let score = self.score_with(Answers { anomaly: self.anomaly(path), ..others }, vector);
        (score.probability >= gate.floor).then_some(score)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::behaviour::{
        forest::{
            Forest,
            tests::{some, vector},
        },
        model::Calibration,
    };

    fn vectors() -> impl Iterator<Item = Vector> {
        (0..2000).map(|seed| {
            let mut of = Vector::of(vector(seed));
            of.learning = false;
            of
        })
    }

    /// Against the whole model, over floors, weights of both signs and many vectors.
    #[test]
    fn what_is_passed_over_is_below_the_floor_and_the_rest_is_exact() {
        let (mut passed, mut kept) = (0, 0);
        for (forest, boosted, anomaly) in [
            (0.5, 1.0, 2.0),
            (0.3, 0.4, -3.0),
            (0.0, 1.0, 1.0),
            (1.5, 0.0, 2.0),
            (-1.0, 1.0, 1.0),
            (1.0, -1.0, 1.0),
        ] {
            let model = BehaviourModel {
                forest: Forest::new(&some(19, 1)).unwrap(),
                boosted: Forest::new(&some(37, 4)).unwrap(),
                isolation: Forest::new(&some(11, 7)).unwrap(),
                calibration: Calibration {
                    intercept: -2.0,
                    forest,
                    boosted,
                    anomaly,
                    usual_path: 10.0,
                    curve: vec![(-9.0, 0.001), (0.0, 0.5), (4.0, 0.99)],
                    threshold: 0.9,
                },
            };
            for floor in [0.0005, 0.001, 0.05, 0.5, 0.9, 0.99, 1.0] {
                let gate = Gate::new(&model, floor);
                for vector in vectors() {
                    let whole = model.score(&vector);
                    match model.score_above(&gate, &vector) {
                        Some(score) => {
                            kept += 1;
                            assert!(whole.probability >= floor);
                            assert_eq!(score.probability.to_bits(), whole.probability.to_bits());
                            assert_eq!(score.answers, whole.answers);
                            // As text: a value that is absent is not equal to itself.
                            assert_eq!(
                                format!("{:?}", score.reasons),
                                format!("{:?}", whole.reasons)
                            );
                        }
                        None => {
                            passed += 1;
                            assert!(whole.probability < floor, "{} {floor}", whole.probability);
                        }
                    }
                }
            }
        }
        assert!(passed > 1000 && kept > 1000, "{passed} {kept}");
    }
}
