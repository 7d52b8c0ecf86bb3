//! A straight line over the logarithm.

use super::Point;
use crate::bench::table::float;

/// `a + b log2 n`, by least squares.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fit {
    start: f64,
    /// Nanoseconds for each doubling.
    pub(super) slope: f64,
}

impl Fit {
    pub(super) fn of(points: &[Point]) -> Self {
        let count = float(points.len().max(1) as u64);
        let mean = |of: fn(&Point) -> f64| points.iter().map(of).sum::<f64>() / count;
        let (x, y) = (mean(doublings), mean(|point| point.nanos));
        let sum = |of: &dyn Fn(&Point) -> f64| points.iter().map(of).sum::<f64>();
        let spread = sum(&|point| (doublings(point) - x).powi(2));
        let both = sum(&|point| (doublings(point) - x) * (point.nanos - y));
        let slope = if spread > 0.0 { both / spread } else { 0.0 };
        Self { start: y - slope * x, slope }
    }

    /// What is fitted for so many.
    pub(super) fn at(&self, count: u64) -> f64 {
        self.start + self.slope * float(count).log2()
    }

    /// The cost of the most, of what is fitted there: above 1 where it bends upwards, as what grows faster
    /// than the logarithm does.
    pub(super) fn above(&self, points: &[Point]) -> f64 {
        let most = points.iter().max_by_key(|point| point.count);
        most.map_or(1.0, |point| point.nanos / self.at(point.count).max(1.0))
    }
}

fn doublings(point: &Point) -> f64 {
    float(point.count).log2()
}

#[cfg(test)]
mod tests {
    use super::{Fit, Point};

    fn of(cost: impl Fn(f64) -> f64) -> (Fit, f64) {
        let counts = [10, 32, 100, 316, 1_000, 3_162, 10_000, 31_623, 100_000];
        let point = |count: u64| Point { count, nanos: cost(count as f64) };
        let points = counts.map(point);
        let fit = Fit::of(&points);
        (fit, fit.above(&points))
    }

    #[test]
    fn a_logarithm_is_a_line_and_what_grows_faster_is_not() {
        let (fit, above) = of(|n| 500.0 + 20.0 * n.log2());
        assert!((fit.slope - 20.0).abs() < 1e-6 && (fit.at(1) - 500.0).abs() < 1e-6);
        assert!((above - 1.0).abs() < 1e-9);
        assert!((of(|_| 700.0).1 - 1.0).abs() < 1e-9);
        // Twice the cost at the end, by the count and by its square root.
        assert!(of(|n| 1_000.0 + n / 100.0).1 > 1.25);
        assert!(of(|n| 1_000.0 + 10.0 * n.sqrt()).1 > 1.25);
    }
}
