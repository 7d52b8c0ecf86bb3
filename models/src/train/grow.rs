//! The random forest: grown by linfa, put into flat arrays here.
//!
//! linfa's trees know neither absent values nor shares, so both are added around them:
//! - Values are put into bins, at cuts where a share of the rows lies between two. A feature that
//!   may be absent becomes two columns: absent below all bins in one, above all in the other. The
//!   column that a split chooses is the way that absent values go.
//! - A leaf of linfa says which label has the majority. The log-odds of every node are those of all
//!   rows that pass it, by their weights: rows that were not grown from, too. The mean of log-odds
//!   tells one legitimate request in a hundred thousand from one in a thousand; a mean of votes or
//!   shares would call both none.

use linfa::{DatasetBase, traits::Fit};
use linfa_ensemble::{EnsembleLearner, EnsembleLearnerParams};
use linfa_trees::{DecisionTree, DecisionTreeParams, SplitQuality, TreeNode};
use ndarray::{Array1, Array2};
use rand::RngCore;

use super::{Example, Mask, Progress, Random, Report, Stage, TrainError};
use crate::behaviour::{
    FEATURES, WIDTH,
    forest::{Forest, Grown},
};

/// Trees of the forest: from here on more cost time and give nothing.
const TREES: usize = 32;
/// Threads that grow them, each its share with a seed of its own.
const THREADS: usize = 2;
const DEPTH: usize = 12;
/// Weight that a leaf has at least: fewer rows are chance.
const LEAF: f32 = 6.0;
/// Share of the rows, and of the columns, that a tree is grown from; both with replacement.
const ROWS: f64 = 0.6;
const COLUMNS: f64 = 0.8;
/// Bins of a feature.
const BINS: usize = 40;
/// What a node says leans on what its parent says as if so many more rows had said that.
const LEAN: f64 = 3.0;
/// Log-odds that a node may have: no number of generated rows makes one surer.
const SUREST: f64 = 9.0;
/// And against an attack: most trees do not look at what gives one away, and must not outvote
/// those that do.
const CALMEST: f64 = 1.5;

/// An attack counts a hair more than a legitimate row. A node with as many of both would have
/// either label, by the order of a hash map of linfa's, and training would not repeat itself.
/// A power of two, so that sums are exact.
const ATTACK: f32 = 1.0 + 1.0 / 1024.0;

impl RngCore for Random {
    fn next_u32(&mut self) -> u32 {
        (self.bits() >> 32) as u32
    }

    fn next_u64(&mut self) -> u64 {
        self.bits()
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        for chunk in dest.chunks_mut(8) {
            let bytes = self.bits().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand::Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

/// linfa's tree, with weights: an ensemble does not hand on those of its dataset.
#[derive(Clone, Copy)]
struct Weighted(DecisionTreeParams<f32, bool>);

impl Fit<Array2<f32>, Array1<bool>, linfa::Error> for Weighted {
    type Object = DecisionTree<f32, bool>;

    fn fit(
        &self,
        dataset: &DatasetBase<Array2<f32>, Array1<bool>>,
    ) -> Result<Self::Object, linfa::Error> {
        let weights = dataset.targets().mapv(|attack| if attack { ATTACK } else { 1.0 });
        let view = dataset.view().with_weights(weights);
        self.0.fit(&view)
    }
}

/// A column of the table that linfa sees.
#[derive(Clone)]
struct Column {
    feature: usize,
    /// Value x is in bin b when `cuts[b - 1] < x <= cuts[b]`.
    cuts: Vec<f32>,
    /// Whether absent values lie below all bins, or above.
    missing_low: bool,
}

impl Column {
    fn bin(&self, value: f32) -> f32 {
        if value.is_nan() {
            return if self.missing_low { -1.0 } else { self.cuts.len() as f32 + 1.0 };
        }
        self.cuts.partition_point(|cut| *cut < value) as f32
    }

    /// What `bin <= split` says of a value: the greatest that passes, and whether an absent one does.
    fn condition(&self, split: f32) -> (f32, bool) {
        let feature = &FEATURES[self.feature];
        if split < 0.0 {
            return (feature.low - 1.0, true);
        }
        // A split at or above the last bin leaves the absent ones on the other side.
        let cut = self.cuts.get(split.floor() as usize).copied();
        (cut.unwrap_or(feature.high), self.missing_low)
    }
}

/// The columns for `rows`.
fn columns(rows: &[&Example], mask: Mask) -> Vec<Column> {
    let mut columns = Vec::new();
    for (feature, info) in FEATURES.iter().enumerate() {
        if !mask(info.group) {
            continue;
        }
        let mut values: Vec<f32> = rows.iter().map(|r| r.values[feature]).collect();
        values.retain(|v| !v.is_nan());
        let absent = rows.len() - values.len();
        values.sort_by(f32::total_cmp);
        let mut cuts: Vec<f32> = (1..BINS)
            .filter_map(|n| values.get(n * values.len() / BINS).copied())
            // The tails hold what is rare, and that is what this is about.
            .chain([1, 2, 5, 10].iter().flat_map(|n| {
                let at = n * values.len() / 1000;
                [values.get(at).copied(), values.iter().rev().nth(at).copied()]
                    .into_iter()
                    .flatten()
            }))
            .collect();
        cuts.sort_by(f32::total_cmp);
        cuts.dedup();
        // The greatest value is no cut: nothing lies above it.
        if cuts.last() == values.last() {
            cuts.pop();
        }
        if cuts.is_empty() && (absent == 0 || values.is_empty()) {
            continue;
        }
        columns.push(Column { feature, cuts: cuts.clone(), missing_low: true });
        if absent > 0 && !cuts.is_empty() {
            columns.push(Column { feature, cuts, missing_low: false });
        }
    }
    columns
}

/// Grows a forest from `chosen` (about as many attacks as others); its log-odds are those of `all`,
/// as if half of the weight were attacks. It is the `nth` of so many.
///
/// # Errors
/// What linfa says, or a tree that does not fit.
pub(super) fn grow(
    chosen: &[&Example],
    all: &[Example],
    mask: Mask,
    seed: u64,
    (nth, of): (usize, usize),
    report: Report<'_>,
) -> Result<Forest, TrainError> {
    let mut tell = |done| {
        report(Progress { stage: Stage::Forest, done: nth * TREES + done, all: of * TREES });
    };
    tell(0);
    let columns = columns(chosen, mask);
    let records = Array2::from_shape_fn((chosen.len(), columns.len()), |(row, column)| {
        let column = &columns[column];
        column.bin(chosen[row].values[column.feature])
    });
    let targets: Array1<bool> = chosen.iter().map(|r| r.truth.is_attack()).collect();
    let dataset = DatasetBase::new(records, targets);
    let tree = DecisionTree::params()
        .split_quality(SplitQuality::Gini)
        .max_depth(Some(DEPTH))
        .min_weight_leaf(LEAF)
        .min_weight_split(2.0 * LEAF)
        .min_impurity_decrease(1e-5);
    let mut random = Random::new(seed);
    type Ensemble = EnsembleLearner<DecisionTree<f32, bool>>;
    let ensembles: Vec<Result<Ensemble, TrainError>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let params = EnsembleLearnerParams::new_fixed_rng(Weighted(tree), random.fork(1))
                    .ensemble_size(TREES / THREADS)
                    .bootstrap_proportion(ROWS)
                    .feature_proportion(COLUMNS);
                let dataset = &dataset;
                scope.spawn(move || {
                    params.fit(dataset).map_err(|e| TrainError::Linfa(e.to_string()))
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|t| {
                let fell = || TrainError::Linfa("a thread that grows trees fell".to_owned());
                t.join().unwrap_or_else(|_| Err(fell()))
            })
            .collect()
    });
    let mut trees = Vec::new();
    for ensemble in ensembles {
        let ensemble = ensemble?;
        for (tree, features) in ensemble.models.iter().zip(&ensemble.model_features) {
            let columns: Vec<&Column> = features.iter().map(|f| &columns[*f]).collect();
            let mut flat = vec![Grown::Leaf { value: 0.0 }];
            flatten(tree.root_node(), 0, &columns, &mut flat);
            trees.push(flat);
        }
    }
    value(&mut trees, all);
    tell(TREES);
    Ok(Forest::new(&trees)?)
}

/// Puts `node` at `at` and what is below it behind.
fn flatten(node: &TreeNode<f32, bool>, at: usize, columns: &[&Column], out: &mut Vec<Grown>) {
    let children = node.children();
    let [Some(low), Some(high)] = children[..] else { return };
    if node.is_leaf() {
        return;
    }
    let (column, split, _) = node.split();
    let (threshold, missing_left) = columns[column].condition(split);
    let left = out.len();
    out[at] = Grown::Split {
        feature: columns[column].feature,
        threshold,
        missing_left,
        left,
        value: 0.0,
    };
    out.extend([Grown::Leaf { value: 0.0 }; 2]);
    flatten(low, left, columns, out);
    flatten(high, left + 1, columns, out);
}

/// Place of the child that `values` go to.
fn child(node: &Grown, values: &[f32; WIDTH]) -> Option<usize> {
    let Grown::Split { feature, threshold, missing_left, left, .. } = *node else { return None };
    let value = values[feature];
    let goes_left = if value.is_nan() { missing_left } else { value <= threshold };
    Some(if goes_left { left } else { left + 1 })
}

/// Gives every node the log-odds of attacks among the rows that pass it, where half of the weight
/// of all rows is attacks'.
fn value(trees: &mut [Vec<Grown>], rows: &[Example]) {
    let total = |attack: bool| -> f64 {
        rows.iter().filter(|r| r.truth.is_attack() == attack).map(|r| f64::from(r.weight)).sum()
    };
    let (attacks, benign) = (total(true), total(false));
    // An attack counts by its episode, so a row of one has this weight in the mean.
    let mean = attacks / rows.iter().filter(|r| r.truth.is_attack()).count() as f64;
    for tree in trees {
        // Weight of attacks and of others, and rows.
        let mut sums = vec![(0.0_f64, 0.0_f64, 0.0_f64); tree.len()];
        for row in rows {
            let mut at = 0;
            loop {
                let sum = &mut sums[at];
                let part = if row.truth.is_attack() { &mut sum.0 } else { &mut sum.1 };
                *part += f64::from(row.weight);
                sum.2 += 1.0;
                match child(&tree[at], &row.values) {
                    Some(next) => at = next,
                    None => break,
                }
            }
        }
        let mut odds = vec![0.0_f64; tree.len()];
        for at in 0..tree.len() {
            let (attack, other, count) = sums[at];
            // One row more of each, so that none is no proof.
            let own = ((attack + mean) / attacks).ln() - ((other + 1.0) / benign).ln();
            // A child's place holds what its parent says until its turn comes.
            let said = (count * own + LEAN * odds[at]) / (count + LEAN);
            let said = said.clamp(-CALMEST, SUREST);
            odds[at] = said;
            match &mut tree[at] {
                Grown::Leaf { value } => *value = said as f32,
                Grown::Split { value, left, .. } => {
                    *value = said as f32;
                    odds[*left] = said;
                    odds[*left + 1] = said;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{all_groups, testing::rows},
        *,
    };

    #[test]
    fn a_forest_learns_absence_and_repeats_itself() {
        let rows = rows(1500);
        let chosen: Vec<&Example> = rows.iter().take(1000).collect();
        let first = grow(&chosen, &rows, all_groups, 4, (0, 1), &mut |_| {}).unwrap();
        assert_eq!(first, grow(&chosen, &rows, all_groups, 4, (0, 1), &mut |_| {}).unwrap());
        assert_ne!(first, grow(&chosen, &rows, all_groups, 5, (0, 1), &mut |_| {}).unwrap());
        let wrong = rows[1000..]
            .iter()
            .filter(|r| (first.mean(&r.values) > 0.0) != r.truth.is_attack())
            .count();
        assert!(wrong < 25, "{wrong} of 500");
    }

    #[test]
    fn a_split_says_the_same_of_bins_and_of_values() {
        let values = [f32::NAN, 0.0, 0.5, 1.0, 1.5, 2.0, 9.0];
        for missing_low in [false, true] {
            let column = Column { feature: 0, cuts: vec![0.0, 1.0, 2.0], missing_low };
            // Nothing lies below the first bin but what is absent.
            let lowest = if missing_low { -0.5 } else { 0.5 };
            for split in [lowest, 0.5, 1.5, 2.5, 3.5] {
                let (threshold, missing_left) = column.condition(split);
                for value in values {
                    let goes_left = if value.is_nan() { missing_left } else { value <= threshold };
                    assert_eq!(
                        column.bin(value) <= split,
                        goes_left,
                        "{missing_low} {split} {value}"
                    );
                }
            }
        }
    }
}
