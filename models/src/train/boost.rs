//! Boosted trees (Friedman, 2001): each is grown from what the ones before it still get wrong.
//!
//! The mean over a random forest's trees drowns what shows in one or two features alone, as most
//! trees do not look at those. A sum of small trees does not: the first ones take what is plain, the
//! later ones the rest. linfa has no boosting over absent values and weights, so this grows them
//! itself, on histograms (as Ke and others, LightGBM, 2017): values are put into bins once, and a
//! split is looked for among the bins' sums of gradients.
//!
//! The logistic loss is of log-odds; the answer of the forest is their sum, without the prior.

use std::collections::BTreeMap;

use super::{Example, Mask, Progress, Random, Report, Stage, TrainError, Truth};
use crate::behaviour::{
    FEATURES, WIDTH,
    forest::{Forest, Grown},
};

/// How trees are boosted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// Trees: from here on more cost time and give nothing.
    trees: usize,
    /// Splits on the way to a leaf, at most: what has to come together.
    depth: usize,
    /// Leaves of a tree, at most.
    leaves: usize,
    /// Part of a tree's answer that is taken.
    rate: f64,
    /// What a leaf's curvature is widened by: a leaf of few rows says little.
    lambda: f64,
    /// Curvature that each side of a split has at least.
    least: f64,
    /// Gain that a split brings at least.
    gain: f64,
    /// Share of the features that a tree may look at.
    columns: f64,
    /// Weight of all attacks against that of all others.
    attacks: f64,
    /// What one leaf may say, before the rate.
    surest: f64,
    /// Tree from which on an attack's requests weigh by what gives it away.
    focus: usize,
    /// How much of that weight stays even.
    even: f64,
}

impl Settings {
    /// Those of the artifact.
    pub(super) const USUAL: Self = Self {
        trees: 96,
        depth: 6,
        leaves: 40,
        rate: 0.15,
        lambda: 8.0,
        least: 2.0,
        gain: 1.0,
        columns: 0.5,
        attacks: 0.1,
        surest: 4.0,
        focus: 40,
        even: 0.3,
    };
}

/// Bins of a feature; the last is of absent values.
const BINS: usize = 64;
const ABSENT: u8 = BINS as u8 - 1;
/// Rows that bins are cut by, of each label.
const SAMPLE: usize = 40_000;

/// A row is drawn for a tree with a chance by its gradient, but with this one at least, and counts
/// by the inverse: most legitimate rows have long been settled.
const LEAST_CHANCE: f64 = 0.04;

/// Rows from which on a histogram is worth a second thread.
const PARALLEL: usize = 8192;

/// Sums of a bin: gradients, and curvatures.
#[derive(Clone, Copy, Default)]
struct Cell {
    g: f64,
    h: f64,
}

impl Cell {
    fn take(&mut self, other: Self) {
        self.g += other.g;
        self.h += other.h;
    }

    fn less(self, other: Self) -> Self {
        Self { g: self.g - other.g, h: self.h - other.h }
    }

    fn worth(self, set: &Settings) -> f64 {
        self.g * self.g / (self.h + set.lambda)
    }

    fn answer(self, set: &Settings) -> f32 {
        ((-self.g / (self.h + set.lambda)).clamp(-set.surest, set.surest) * set.rate) as f32
    }
}

type Histogram = Vec<[Cell; BINS]>;

/// Values in bins, row after row.
struct Table {
    /// The features that are looked at.
    features: Vec<usize>,
    /// Value x is in bin b when `cuts[b - 1] < x <= cuts[b]`.
    cuts: Vec<Vec<f32>>,
    bins: Vec<u8>,
}

impl Table {
    fn new(rows: &[Example], mask: Mask) -> Self {
        let of = |attack: bool| {
            let all: Vec<&Example> =
                rows.iter().filter(|r| r.truth.is_attack() == attack).collect();
            let step = all.len().div_ceil(SAMPLE).max(1);
            all.into_iter().step_by(step).collect::<Vec<_>>()
        };
        let samples = [of(false), of(true)];
        let (mut features, mut cuts) = (Vec::new(), Vec::new());
        for (feature, info) in FEATURES.iter().enumerate() {
            if !mask(info.group) {
                continue;
            }
            let mut own = Vec::new();
            let mut any = false;
            for sample in &samples {
                let mut values: Vec<f32> =
                    sample.iter().map(|r| r.values[feature]).filter(|v| !v.is_nan()).collect();
                values.sort_by(f32::total_cmp);
                any |= values.len() != sample.len();
                // The tails hold what is rare, and that is what this is about.
                let tails = [0.001, 0.003, 0.01, 0.99, 0.997, 0.999];
                let even = (1..25).map(|n| f64::from(n) / 25.0);
                own.extend(
                    even.chain(tails)
                        .filter_map(|part| values.get((part * values.len() as f64) as usize)),
                );
            }
            own.sort_by(f32::total_cmp);
            own.dedup();
            if own.len() > 1 || any {
                features.push(feature);
                cuts.push(own);
            }
        }
        let mut bins = Vec::with_capacity(rows.len() * features.len());
        for row in rows {
            bins.extend(features.iter().zip(&cuts).map(|(feature, cuts)| {
                let value = row.values[*feature];
                match value.is_nan() {
                    true => ABSENT,
                    false => cuts.partition_point(|cut| *cut < value) as u8,
                }
            }));
        }
        Self { features, cuts, bins }
    }

    fn row(&self, row: u32) -> &[u8] {
        let width = self.features.len();
        &self.bins[row as usize * width..][..width]
    }

    /// Sums of the rows' gradients by bin; a histogram for each feature.
    fn histogram(&self, rows: &[Drawn]) -> Histogram {
        let width = self.features.len();
        let part = |columns: std::ops::Range<usize>| {
            let mut sums = vec![[Cell::default(); BINS]; columns.len()];
            for row in rows {
                let bins = &self.row(row.row)[columns.clone()];
                for (sums, bin) in sums.iter_mut().zip(bins) {
                    sums[usize::from(*bin) % BINS].take(row.cell);
                }
            }
            sums
        };
        if rows.len() < PARALLEL {
            return part(0..width);
        }
        std::thread::scope(|scope| {
            let half = scope.spawn(|| part(width / 2..width));
            let mut all = part(0..width / 2);
            all.extend(half.join().unwrap_or_default());
            all
        })
    }
}

/// A row that is drawn for a tree.
#[derive(Clone, Copy)]
struct Drawn {
    row: u32,
    cell: Cell,
}

/// Where a node is best split.
#[derive(Clone, Copy)]
struct Split {
    gain: f64,
    column: usize,
    /// The last bin that goes left.
    bin: usize,
    absent_left: bool,
}

/// A leaf that may be split yet.
struct Open {
    node: usize,
    depth: usize,
    rows: Vec<Drawn>,
    sums: Histogram,
    all: Cell,
    best: Option<Split>,
}

impl Open {
    fn new(
        node: usize,
        depth: usize,
        rows: Vec<Drawn>,
        sums: Histogram,
        looked: &[bool],
        set: &Settings,
    ) -> Self {
        let mut all = Cell::default();
        rows.iter().for_each(|row| all.take(row.cell));
        let best = if depth < set.depth { best(&sums, all, looked, set) } else { None };
        Self { node, depth, rows, sums, all, best }
    }
}

fn best(sums: &Histogram, all: Cell, looked: &[bool], set: &Settings) -> Option<Split> {
    let mut best: Option<Split> = None;
    for (column, sums) in sums.iter().enumerate().filter(|(column, _)| looked[*column]) {
        let absent = sums[usize::from(ABSENT)];
        for absent_left in [false, true] {
            if absent_left && absent.h == 0.0 {
                continue;
            }
            let mut left = if absent_left { absent } else { Cell::default() };
            for (bin, cell) in sums.iter().enumerate().take(usize::from(ABSENT)) {
                if cell.h == 0.0 && bin > 0 {
                    continue;
                }
                left.take(*cell);
                let right = all.less(left);
                if left.h < set.least || right.h < set.least {
                    continue;
                }
                let gain = left.worth(set) + right.worth(set) - all.worth(set);
                if gain > best.map_or(set.gain, |b| b.gain) {
                    best = Some(Split { gain, column, bin, absent_left });
                }
            }
        }
    }
    best
}

/// Grows one tree.
fn tree(table: &Table, rows: Vec<Drawn>, looked: &[bool], set: &Settings) -> Vec<Grown> {
    let sums = table.histogram(&rows);
    let mut open = vec![Open::new(0, 0, rows, sums, looked, set)];
    let mut out = vec![Grown::Leaf { value: open[0].all.answer(set) }];
    let mut leaves = 1;
    while leaves < set.leaves {
        // The first of the greatest, whatever the order of the others.
        let next = open
            .iter()
            .enumerate()
            .filter_map(|(at, o)| Some((at, o.best?)))
            .reduce(|a, b| if b.1.gain > a.1.gain { b } else { a });
        let Some((at, split)) = next else { break };
        let parent = open.swap_remove(at);
        let goes_left = |row: &Drawn| {
            let bin = table.row(row.row)[split.column];
            if bin == ABSENT { split.absent_left } else { usize::from(bin) <= split.bin }
        };
        let (low, high): (Vec<Drawn>, Vec<Drawn>) = parent.rows.into_iter().partition(goes_left);
        // The smaller side is summed up, the other is the rest.
        let is_low = low.len() <= high.len();
        let small = table.histogram(if is_low { &low } else { &high });
        let mut rest = parent.sums;
        for (rest, small) in rest.iter_mut().flatten().zip(small.iter().flatten()) {
            *rest = rest.less(*small);
            // What rounding leaves of nothing is nothing.
            if rest.h < 1e-9 {
                *rest = Cell::default();
            }
        }
        let (low_sums, high_sums) = if is_low { (small, rest) } else { (rest, small) };
        let left = out.len();
        let feature = table.features[split.column];
        let cut = table.cuts[split.column].get(split.bin).copied();
        out[parent.node] = Grown::Split {
            feature,
            threshold: cut.unwrap_or(FEATURES[feature].high),
            missing_left: split.absent_left,
            left,
            value: parent.all.answer(set),
        };
        for (node, rows, sums) in [(left, low, low_sums), (left + 1, high, high_sums)] {
            let child = Open::new(node, parent.depth + 1, rows, sums, looked, set);
            out.push(Grown::Leaf { value: child.all.answer(set) });
            open.push(child);
        }
        leaves += 1;
    }
    out
}

/// What a grown tree says of a row.
fn ask(tree: &[Grown], values: &[f32; WIDTH]) -> f64 {
    let mut at = 0;
    loop {
        match tree[at] {
            Grown::Leaf { value } => return value.into(),
            Grown::Split { feature, threshold, missing_left, left, .. } => {
                let value = values[feature];
                let goes_left = if value.is_nan() { missing_left } else { value <= threshold };
                at = if goes_left { left } else { left + 1 };
            }
        }
    }
}

/// Trees between two times that weights are set anew.
const FOCUS_EVERY: usize = 8;

/// Weighs an attack's requests by the odds that the trees so far give them, while attacks go on
/// weighing the same: one request that gives an attack away is enough, and the many that look like
/// the victim's own are nothing to learn from.
fn focus(rows: &[Example], odds: &[f64], weights: &mut [f64], scale: f64, set: &Settings) {
    let mut sums: BTreeMap<u32, (f64, f64, f64)> = BTreeMap::new();
    let at = |row: &Example| match row.truth {
        Truth::Attack { episode } => Some(episode),
        Truth::Legitimate { .. } => None,
    };
    for (row, odds) in rows.iter().zip(odds) {
        let Some(episode) = at(row) else { continue };
        let sum = sums.entry(episode).or_insert((f64::MIN, 0.0, 0.0));
        sum.0 = sum.0.max(*odds);
    }
    let part = |most: f64, odds: f64| (odds - most).exp();
    for (row, odds) in rows.iter().zip(odds) {
        let Some(sum) = at(row).and_then(|e| sums.get_mut(&e)) else { continue };
        sum.1 += part(sum.0, *odds) * f64::from(row.weight);
        sum.2 += f64::from(row.weight);
    }
    for ((row, odds), weight) in rows.iter().zip(odds).zip(weights) {
        let Some(sum) = at(row).and_then(|e| sums.get(&e)) else { continue };
        let own = f64::from(row.weight);
        let sharp = part(sum.0, *odds) * own / sum.1 * sum.2;
        *weight = scale * (set.even * own + (1.0 - set.even) * sharp);
    }
}

/// Grows boosted trees from `rows`; the mean of the forest's trees is the sum of their log-odds.
///
/// # Errors
/// A tree that does not fit.
pub(super) fn grow(
    rows: &[Example],
    mask: Mask,
    seed: u64,
    set: &Settings,
    report: Report<'_>,
) -> Result<Forest, TrainError> {
    let table = Table::new(rows, mask);
    let mut random = Random::new(seed);
    let total = |attack: bool| -> f64 {
        rows.iter().filter(|r| r.truth.is_attack() == attack).map(|r| f64::from(r.weight)).sum()
    };
    let (attacks, others) = (total(true), total(false));
    // Others weigh as many as there are rows of them, so that curvatures are in rows.
    let count = rows.iter().filter(|r| !r.truth.is_attack()).count() as f64;
    let scales = [count / others, set.attacks * count / attacks];
    let mut weights: Vec<f64> = rows
        .iter()
        .map(|r| f64::from(r.weight) * scales[usize::from(r.truth.is_attack())])
        .collect();
    let mut odds = vec![set.attacks.ln(); rows.len()];
    let mut trees = Vec::with_capacity(set.trees);
    for done in 0..set.trees {
        report(Progress { stage: Stage::Boosting, done, all: set.trees });
        if done >= set.focus && (done - set.focus).is_multiple_of(FOCUS_EVERY) {
            focus(rows, &odds, &mut weights, scales[1], set);
        }
        let looked: Vec<bool> = table.features.iter().map(|_| random.chance(set.columns)).collect();
        let cells: Vec<Cell> = rows
            .iter()
            .zip(&weights)
            .zip(&odds)
            .map(|((row, weight), odds)| {
                let p = 1.0 / (1.0 + (-odds).exp());
                let truth = if matches!(row.truth, Truth::Attack { .. }) { 1.0 } else { 0.0 };
                Cell { g: weight * (p - truth), h: weight * p * (1.0 - p) }
            })
            .collect();
        let mean = cells.iter().map(|c| c.g.abs()).sum::<f64>() / cells.len() as f64;
        let drawn = (0_u32..)
            .zip(&cells)
            .filter_map(|(row, cell)| {
                let chance = (cell.g.abs() / mean).clamp(LEAST_CHANCE, 1.0);
                (chance >= 1.0 || random.chance(chance))
                    .then(|| Drawn { row, cell: Cell { g: cell.g / chance, h: cell.h / chance } })
            })
            .collect();
        let grown = tree(&table, drawn, &looked, set);
        for (row, odds) in rows.iter().zip(&mut odds) {
            *odds += ask(&grown, &row.values);
        }
        trees.push(grown);
    }
    report(Progress { stage: Stage::Boosting, done: set.trees, all: set.trees });
    for node in trees.iter_mut().flatten() {
        match node {
            Grown::Leaf { value } | Grown::Split { value, .. } => *value *= set.trees as f32,
        }
    }
    Ok(Forest::new(&trees)?)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{all_groups, testing::rows},
        *,
    };

    const SMALL: Settings =
        Settings { trees: 24, leaves: 8, depth: 3, focus: 8, ..Settings::USUAL };

    fn grown(rows: &[Example], seed: u64) -> Forest {
        // All of the few features, so that no tree is blind.
        let set = Settings { columns: 1.0, ..SMALL };
        grow(rows, all_groups, seed, &set, &mut |_| {}).unwrap()
    }

    #[test]
    fn boosting_learns_what_has_to_come_together_and_repeats_itself() {
        let rows = rows(6000);
        let first = grown(&rows[..4000], 4);
        assert_eq!(first, grown(&rows[..4000], 4));
        assert_ne!(first, grown(&rows[..4000], 5));
        let margin = |attack: bool| -> Vec<f32> {
            let of = rows[4000..].iter().filter(|r| r.truth.is_attack() == attack);
            let mut all: Vec<f32> = of.map(|r| first.mean(&r.values)).collect();
            all.sort_by(f32::total_cmp);
            all
        };
        let (attacks, others) = (margin(true), margin(false));
        // But for a few at the borders, every attack is above every other.
        let (low, high) = (attacks[attacks.len() / 50], others[others.len() * 49 / 50]);
        assert!(low > high + 1.0, "{low} {high}");
    }

    #[test]
    fn a_threaded_histogram_is_the_plain_one() {
        let rows = rows(PARALLEL as u32 + 50);
        let table = Table::new(&rows, all_groups);
        let drawn: Vec<Drawn> = (0..rows.len() as u32)
            .map(|row| Drawn { row, cell: Cell { g: f64::from(row % 7) - 3.0, h: 1.0 } })
            .collect();
        let sums = table.histogram(&drawn);
        assert_eq!(sums.len(), table.features.len());
        for (column, sums) in sums.iter().enumerate() {
            for (bin, cell) in sums.iter().enumerate() {
                let inside = drawn.iter().filter(|d| usize::from(table.row(d.row)[column]) == bin);
                let (g, h) = inside.fold((0.0, 0.0), |s, d| (s.0 + d.cell.g, s.1 + d.cell.h));
                assert!((g - cell.g).abs() < 1e-6 && (h - cell.h).abs() < 1e-6, "{column} {bin}");
            }
        }
    }

    #[test]
    fn focus_keeps_each_attack_at_its_weight() {
        let rows = rows(400);
        let odds: Vec<f64> = rows.iter().map(|r| f64::from(r.values[2]) * 8.0).collect();
        let mut weights = vec![1.0; rows.len()];
        focus(&rows, &odds, &mut weights, 2.0, &SMALL);
        let mut sums: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
        for (row, weight) in rows.iter().zip(&weights) {
            match row.truth {
                Truth::Attack { episode } => {
                    let sum = sums.entry(episode).or_default();
                    *sum = (sum.0 + weight, sum.1 + 2.0);
                }
                Truth::Legitimate { .. } => assert!((weight - 1.0).abs() < 1e-12),
            }
        }
        assert!(sums.values().all(|(weight, want)| (weight - want).abs() < 1e-9));
        let spread = weights.iter().fold(0.0_f64, |most, w| most.max(*w));
        assert!(spread > 3.0, "{spread}");
    }
}
