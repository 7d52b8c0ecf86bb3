//! Two behaviour models held against each other on the same vectors.

use jotwatch_models::behaviour::{BehaviourModel, Vector};
use serde::{Deserialize, Serialize};

/// What two models said of the same requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Requests that both looked at, of subjects whose profiles are past learning.
    pub requests: u64,
    /// Of these, those that the model in force finds suspicious.
    pub current_alerts: u64,
    /// Of these, those that the shadow finds suspicious.
    pub shadow_alerts: u64,
    /// Of these, those that both do.
    pub both: u64,
    /// Sum of the differences between the probabilities, without their signs.
    pub sum_difference: f64,
    /// What they say of what people labelled.
    pub labelled: Labelled,
}

/// What two models say of labelled requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Labelled {
    /// Labelled malicious.
    pub malicious: u64,
    /// Of these, found by the model in force.
    pub current_found: u64,
    /// Of these, found by the shadow.
    pub shadow_found: u64,
    /// Labelled benign.
    pub benign: u64,
    /// Of these, suspicious to the model in force.
    pub current_false: u64,
    /// Of these, suspicious to the shadow.
    pub shadow_false: u64,
}

impl Comparison {
    /// Has both look at one more.
    pub fn add(&mut self, current: &BehaviourModel, shadow: &BehaviourModel, vector: &Vector) {
        if vector.learning {
            return;
        }
        let (current, shadow) = (current.score(vector), shadow.score(vector));
        self.requests += 1;
        self.current_alerts += u64::from(current.is_suspicious);
        self.shadow_alerts += u64::from(shadow.is_suspicious);
        self.both += u64::from(current.is_suspicious && shadow.is_suspicious);
        self.sum_difference += f64::from((current.probability - shadow.probability).abs());
    }

    /// Those that the model in force alone finds suspicious.
    #[must_use]
    pub const fn only_current(&self) -> u64 {
        self.current_alerts - self.both
    }

    /// Those that the shadow alone finds suspicious.
    #[must_use]
    pub const fn only_shadow(&self) -> u64 {
        self.shadow_alerts - self.both
    }

    /// The mean difference between the probabilities; 0 where nothing was compared.
    #[must_use]
    pub fn mean_difference(&self) -> f64 {
        if self.requests == 0 { 0.0 } else { self.sum_difference / self.requests as f64 }
    }
}

impl Labelled {
    /// Has both look at what people labelled: vectors, and whether they were malicious.
    #[must_use]
    pub fn of(
        current: &BehaviourModel,
        shadow: &BehaviourModel,
        labelled: &[(Vector, bool)],
    ) -> Self {
        let mut counts = Self::default();
        for (vector, malicious) in labelled {
            let current = u64::from(current.score(vector).is_suspicious);
            let shadow = u64::from(shadow.score(vector).is_suspicious);
            let (all, by_current, by_shadow) = match malicious {
                true => {
                    (&mut counts.malicious, &mut counts.current_found, &mut counts.shadow_found)
                }
                false => (&mut counts.benign, &mut counts.current_false, &mut counts.shadow_false),
            };
            *all += 1;
            *by_current += current;
            *by_shadow += shadow;
        }
        counts
    }
}
