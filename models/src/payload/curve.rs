//! The calibration: a monotone curve from margins to log-odds.

/// Knots of a curve: more would follow the chance of the requests that it was fitted on.
pub const MAX_KNOTS: usize = 16;

/// Straight lines between knots of margin and log-odds of an attack, where half of the requests are
/// attacks; level before the first and behind the last.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    knots: Vec<(f32, f32)>,
}

impl Curve {
    /// A curve through `knots` (margin, log-odds).
    ///
    /// None where there is no knot or more than [`MAX_KNOTS`], one that is not finite, margins that
    /// do not rise, or log-odds that fall.
    #[must_use]
    pub fn new(knots: Vec<(f32, f32)>) -> Option<Self> {
        let fits = (1..=MAX_KNOTS).contains(&knots.len())
            && knots.iter().all(|knot| knot.0.is_finite() && knot.1.is_finite())
            && knots.iter().zip(knots.iter().skip(1)).all(|(a, b)| a.0 < b.0 && a.1 <= b.1);
        fits.then_some(Self { knots })
    }

    /// Its knots, by margin.
    #[must_use]
    pub fn knots(&self) -> &[(f32, f32)] {
        &self.knots
    }

    /// The log-odds for a margin.
    #[must_use]
    pub fn log_odds(&self, margin: f32) -> f32 {
        let above = self.knots.partition_point(|knot| knot.0 < margin);
        let below = above.checked_sub(1).and_then(|at| self.knots.get(at));
        match (below, self.knots.get(above)) {
            (Some(from), Some(to)) => {
                from.1 + (to.1 - from.1) * ((margin - from.0) / (to.0 - from.0))
            }
            (Some(end), None) | (None, Some(end)) => end.1,
            (None, None) => 0.0,
        }
    }

    /// The probability for a margin.
    #[must_use]
    pub fn probability(&self, margin: f32) -> f32 {
        1.0 / (1.0 + (-self.log_odds(margin)).exp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_through_its_knots_and_is_level_beyond() {
        let curve = Curve::new(vec![(-2.0, -4.0), (0.0, 0.0), (1.0, 0.0), (3.0, 6.0)]).unwrap();
        for (margin, odds) in [
            (-9.0, -4.0),
            (-2.0, -4.0),
            (-1.0, -2.0),
            (0.0, 0.0),
            (0.5, 0.0),
            (2.0, 3.0),
            (3.0, 6.0),
            (f32::MAX, 6.0),
        ] {
            assert!((curve.log_odds(margin) - odds).abs() < 1e-6, "{margin}");
        }
        let said: Vec<f32> = (-50..50).map(|n| curve.probability(n as f32 / 10.0)).collect();
        assert!(said.is_sorted());
    }

    #[test]
    fn what_is_no_rising_curve_is_none() {
        for knots in [
            vec![],
            vec![(0.0, f32::NAN)],
            vec![(f32::INFINITY, 0.0)],
            vec![(0.0, 1.0), (1.0, 0.9)],
            vec![(0.0, 1.0), (0.0, 2.0)],
            vec![(1.0, 1.0), (0.0, 2.0)],
            (0..=MAX_KNOTS).map(|n| (n as f32, 0.0)).collect(),
        ] {
            assert_eq!(Curve::new(knots.clone()), None, "{knots:?}");
        }
    }
}
