//! What models make of the subjects' days of a whole history.

use std::collections::HashMap;

use jotwatch_models::behaviour::BehaviourModel;

use super::{
    Figures, Options, Threshold, Watch,
    labels::Wanted,
    sample::{Kept, counts, each_row},
};
use crate::score::{Label, fusion::LEAST};

/// Subjects' days that are counted: 48 MiB. Further ones are not, and that is told.
const MAX_DAYS: usize = 1_000_000;

/// So many days without a false alert say, with 95 % confidence, that the rate is below one in a
/// third of them: the rule of three (Hanley and Lippman-Hand, 1983).
const RULE_OF_THREE: f64 = 3.0;

/// What lies above the worst of the days that may have no alert.
const ABOVE: f32 = 1e-6;

/// The worst of each subject's day by each of two models: the built-in and the new one.
#[derive(Debug, Default)]
pub(super) struct Days {
    learned: HashMap<u64, [f32; 2]>,
    held_out: HashMap<u64, [f32; 2]>,
    /// Of what is held out.
    difference: f64,
    compared: u64,
    /// Exchanges of days beyond [`MAX_DAYS`].
    pub(super) not_counted: u64,
}

impl Days {
    /// Has both models look at all of the history that nobody called malicious.
    ///
    /// # Errors
    /// As when it was read first.
    pub(super) fn count(
        options: &Options,
        wanted: &Wanted,
        models: [&BehaviourModel; 2],
        watch: &mut dyn Watch,
    ) -> anyhow::Result<Self> {
        let mut days = Self::default();
        each_row(&options.data, "holding both models against it", watch, |row| {
            let label = wanted.of(&row.event);
            if label == Some(Label::Malicious) || row.learning || (label.is_none() && !counts(row))
            {
                return;
            }
            let kept = Kept::of(row, options.seed);
            let said = models.map(|model| model.score(&kept.vector()).probability);
            days.add(&kept, said);
        })?;
        Ok(days)
    }

    fn add(&mut self, kept: &Kept, said: [f32; 2]) {
        let room = self.learned.len() + self.held_out.len() < MAX_DAYS;
        let days = if kept.held_out { &mut self.held_out } else { &mut self.learned };
        if !room && !days.contains_key(&kept.group) {
            self.not_counted += 1;
            return;
        }
        let worst = days.entry(kept.group).or_default();
        for (worst, said) in worst.iter_mut().zip(said) {
            *worst = worst.max(said);
        }
        if kept.held_out {
            let [before, after] = said;
            self.difference += f64::from((before - after).abs()) * f64::from(kept.weight);
            self.compared += u64::from(kept.weight);
        }
    }

    /// The threshold that so many of the days that were learned from may pass. It lies below the
    /// model's own only where the days are enough to tell.
    pub(super) fn threshold(&self, rate: f64, model: &BehaviourModel) -> Threshold {
        let own = model.calibration.threshold;
        let mut worst: Vec<f32> = self.learned.values().map(|[_, new]| *new).collect();
        worst.sort_by(f32::total_cmp);
        let allowed = (worst.len() as f64 * rate) as usize;
        let at = worst.len().checked_sub(allowed + 1).and_then(|at| worst.get(at));
        let wanted = at.map_or(own, |worst| worst + ABOVE);
        // What is surest stays an alert: an attack that nobody has labelled must not silence all
        // that is like it. But labels that tell nothing apart give a model that is sure of nothing,
        // and says much the same of all that it sees.
        let surest = model.calibration.curve.last().map(|knot| knot.1);
        let surest = surest.filter(|surest| *surest >= LEAST).unwrap_or(1.0);
        let enough = worst.len() as f64 >= RULE_OF_THREE / rate;
        let value = if enough { wanted } else { wanted.max(own) };
        Threshold {
            value: value.clamp(0.0, surest.min(1.0)),
            rate,
            days: worst.len() as u64,
            may_fall: enough,
            built_in: own,
        }
    }

    /// Of the days that are held out, by one of the models.
    pub(super) fn figures(&self, model: usize, threshold: f32) -> Figures {
        let alerts = self
            .held_out
            .values()
            .filter(|worst| worst.get(model).is_some_and(|worst| *worst >= threshold));
        Figures { threshold, days_with_alert: alerts.count() as u64 }
    }

    pub(super) fn held_days(&self) -> u64 {
        self.held_out.len() as u64
    }

    pub(super) fn mean_difference(&self) -> f64 {
        if self.compared == 0 { 0.0 } else { self.difference / self.compared as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(threshold: f32) -> BehaviourModel {
        let mut model = BehaviourModel::embedded().unwrap();
        model.calibration.threshold = threshold;
        model
    }

    fn days(worst: impl Iterator<Item = f32>) -> Days {
        let learned = worst.enumerate().map(|(n, worst)| (n as u64, [0.0, worst]));
        Days { learned: learned.collect(), ..Days::default() }
    }

    /// Against the definition: no more days than allowed are at the threshold or above.
    #[test]
    fn so_many_days_pass_and_few_days_never_lower_it() {
        for (count, rate) in [(100, 0.01), (1_000, 0.01), (5_000, 0.001), (2_000, 0.001)] {
            let worst = |n: usize| (n * 7_919 % count) as f32 / count as f32 * 0.5;
            let days = days((0..count).map(worst));
            let found = days.threshold(rate, &model(0.3));
            let passing = (0..count).filter(|n| worst(*n) >= found.value).count();
            assert!(passing <= (count as f64 * rate) as usize, "{count} {rate}");
            assert_eq!(found.may_fall, count as f64 * rate >= 3.0);
            assert!(found.value > 0.49, "{found:?}");
        }
        // A quiet host: 100 days say nothing of one in a thousand, 4,000 do.
        assert_eq!(days((0..100).map(|_| 0.01)).threshold(0.001, &model(0.3)).value, 0.3);
        let low = days((0..4_000).map(|_| 0.01)).threshold(0.001, &model(0.3)).value;
        assert!((0.01..0.02).contains(&low));
        // However loud the host is, the surest stays an alert.
        let surest = model(0.3).calibration.curve.last().unwrap().1;
        assert!(days((0..4_000).map(|_| 1.0)).threshold(0.001, &model(0.3)).value <= surest);
        // Of a model that is sure of nothing not all is an alert.
        let mut flat = model(0.3);
        flat.calibration.curve.iter_mut().for_each(|knot| knot.1 = 0.01);
        assert!(days((0..4_000).map(|_| 0.01)).threshold(0.001, &flat).value > 0.01);
        assert_eq!(days(std::iter::empty()).threshold(0.001, &model(0.3)).value, 0.3);
    }
}
