//! Inference over a forest of binary trees in flat arrays.
//!
//! All three models are one: a tree sends a vector down to a leaf, and the forest's answer is the
//! mean of the leaves' values: the log-odds of an attack in a random forest and of boosted trees, the
//! length of the path in an isolation forest. An absent value (NaN) goes the way that was found in training for each node.
//!
//! Several trees are walked at once, and each walk runs to the depth of the deepest of them, as
//! a leaf leads to itself: no branch waits for a value that is still on its way from the cache.

mod bytes;

use super::schema::WIDTH;

/// Trees of one forest: more would not fit the time of a request.
pub const MAX_TREES: usize = 1024;

/// Nodes of one tree.
pub const MAX_NODES: usize = 1 << 14;

/// What adding up a forest's answers in single precision may lose, in shares of what is added up.
const ROUNDING: f32 = 1e-5;

/// Trees that are walked at once.
const LANES: usize = 8;

/// Places of a vector as the trees look them up: a power of two, so that no place is outside.
const PLACES: usize = WIDTH.next_power_of_two();

const MISSING_LEFT: u8 = 1;
const LEAF: u8 = 2;

/// A node: a vector goes left when its `feature` is at most `threshold`, and right otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Node {
    threshold: f32,
    /// The left child's place in the tree; the right child's is the next. A leaf's own.
    left: u16,
    feature: u8,
    flags: u8,
}

/// A node as training hands it over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Grown {
    /// Sends vectors on.
    Split {
        /// Place of the feature in the schema.
        feature: usize,
        /// The greatest value that goes left.
        threshold: f32,
        /// Whether an absent value goes left.
        missing_left: bool,
        /// Place of the left child among the tree's nodes, behind this one; the right child is
        /// the next.
        left: usize,
        /// What the tree would answer here.
        value: f32,
    },
    /// Answers.
    Leaf {
        /// The answer.
        value: f32,
    },
}

/// Why trees are no forest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForestError {
    /// Fewer bytes than it says.
    #[error("it is cut off")]
    Torn,
    /// None, or more than [`MAX_TREES`] trees, or a tree of none or more than [`MAX_NODES`] nodes.
    #[error("it has no trees or too many, or a tree without nodes or with too many")]
    Size,
    /// A child that does not lie behind its parent or lies outside the tree.
    #[error("a node leads out of its tree or back")]
    Shape,
    /// No finite number, or a feature that does not exist.
    #[error("a node has a value that no training gives")]
    Number,
}

/// A forest.
#[derive(Clone, Debug, PartialEq)]
pub struct Forest {
    nodes: Vec<Node>,
    values: Vec<f32>,
    /// First node of each tree, deepest tree first, so that trees of like depth go together.
    roots: Vec<u32>,
    depths: Vec<u16>,
}

/// What the trees of a forest have to add up to, chunk by chunk, for its mean to reach a value.
#[derive(Clone, Debug)]
pub(super) struct Least {
    /// Behind each chunk of trees that are walked at once, the sum so far below which the others
    /// can't make up for it.
    sums: Vec<f32>,
}

/// What the trees behind each chunk add up to at least.
#[derive(Clone, Debug)]
pub(super) struct Rest {
    sums: Vec<f32>,
    /// What adding up may lose.
    rounding: f32,
}

/// A vector, widened to [`PLACES`].
type Wide = [f32; PLACES];

fn wide(values: &[f32; WIDTH]) -> Wide {
    let mut out = [f32::NAN; PLACES];
    for (to, from) in out.iter_mut().zip(values) {
        *to = *from;
    }
    out
}

impl Node {
    const OUTSIDE: Self = Self { threshold: 0.0, left: 0, feature: 0, flags: LEAF | MISSING_LEFT };

    const fn is_leaf(self) -> bool {
        self.flags & LEAF != 0
    }

    /// Place of the next node in the tree.
    fn next(self, values: &Wide) -> u32 {
        let value = values.get(usize::from(self.feature) % PLACES).copied().unwrap_or(f32::NAN);
        let missing_right = self.flags & MISSING_LEFT == 0;
        u32::from(self.left)
            + u32::from((value > self.threshold) | (value.is_nan() & missing_right))
    }
}

impl Forest {
    /// How many trees there are.
    #[must_use]
    pub const fn trees(&self) -> usize {
        self.roots.len()
    }

    /// How many nodes there are in all trees.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.nodes.len()
    }

    fn node(&self, at: u32) -> Node {
        self.nodes.get(at as usize).copied().unwrap_or(Node::OUTSIDE)
    }

    fn value(&self, at: u32) -> f32 {
        self.values.get(at as usize).copied().unwrap_or_default()
    }

    /// Walks every tree and gives `step` each node on the way with the next; returns the sum of the
    /// leaves. A walk that is done stays at its leaf, and gives that with itself. Ends behind the
    /// first chunk of trees whose sum with those before `go_on` does not like.
    #[inline]
    fn walk(
        &self,
        values: &Wide,
        mut step: impl FnMut(u8, u32, u32),
        mut go_on: impl FnMut(f32) -> bool,
    ) -> Option<f32> {
        let mut sum = 0.0;
        for (roots, depths) in self.roots.chunks(LANES).zip(self.depths.chunks(LANES)) {
            let depth = depths.first().copied().unwrap_or_default();
            let mut at = [0; LANES];
            if let Some(roots) = roots.first_chunk::<LANES>() {
                // The same as below, with a length that the compiler knows.
                at = *roots;
                self.descend(values, depth, roots, &mut at, &mut step);
            } else {
                at.iter_mut().zip(roots).for_each(|(at, root)| *at = *root);
                self.descend(values, depth, roots, &mut at, &mut step);
            }
            sum += at.iter().zip(roots).map(|(at, _)| self.value(*at)).sum::<f32>();
            if !go_on(sum) {
                return None;
            }
        }
        Some(sum)
    }

    #[inline]
    fn descend(
        &self,
        values: &Wide,
        depth: u16,
        roots: &[u32],
        at: &mut [u32; LANES],
        step: &mut impl FnMut(u8, u32, u32),
    ) {
        for _ in 0..depth {
            for (at, root) in at.iter_mut().zip(roots) {
                let node = self.node(*at);
                let next = root + node.next(values);
                step(node.feature, *at, next);
                *at = next;
            }
        }
    }

    /// The mean of the leaves that `values` come to.
    #[must_use]
    pub fn mean(&self, values: &[f32; WIDTH]) -> f32 {
        let sum = self.walk(&wide(values), |_, _, _| {}, |_| true);
        sum.unwrap_or_default() / self.roots.len() as f32
    }

    /// [`Forest::mean`], where it may reach what `least` was made for; none where it is surely
    /// below.
    pub(super) fn mean_at_least(&self, values: &[f32; WIDTH], least: &Least) -> Option<f32> {
        let mut sums = least.sums.iter();
        // In the order and the precision of `mean`.
        let sum = self.walk(
            &wide(values),
            |_, _, _| {},
            |sum| sums.next().is_none_or(|least| sum >= *least),
        )?;
        Some(sum / self.roots.len() as f32)
    }

    /// What the trees have to add up to for the mean to reach `mean`.
    pub(super) fn least(&self, mean: f32) -> Least {
        let greatest = self.extremes(f32::max);
        let all: f32 = greatest.iter().map(|value| value.abs()).sum::<f32>() + 1.0;
        let due = mean * self.roots.len() as f32;
        // Infinite in either direction it stays as it is.
        let due = due - ROUNDING * (due.abs() + all);
        let mut left: f32 = greatest.iter().sum();
        let sums = greatest.chunks(LANES).map(|chunk| {
            left -= chunk.iter().sum::<f32>();
            if due.is_finite() { due - left } else { due }
        });
        Least { sums: sums.collect() }
    }

    /// [`Forest::mean`], where it may be as low as `most`; none where it is surely above.
    pub(super) fn mean_at_most(
        &self,
        values: &[f32; WIDTH],
        rest: &Rest,
        most: f32,
    ) -> Option<f32> {
        let trees = self.roots.len() as f32;
        let most = most * trees + rest.rounding;
        let mut sums = rest.sums.iter();
        let go_on = |sum| sums.next().is_none_or(|rest| sum + rest <= most);
        let sum = self.walk(&wide(values), |_, _, _| {}, go_on)?;
        Some(sum / trees)
    }

    /// What [`Forest::mean_at_most`] goes by.
    pub(super) fn rest(&self) -> Rest {
        let least = self.extremes(f32::min);
        let greatest = self.extremes(f32::max);
        let all: f32 = least.iter().chain(&greatest).map(|value| value.abs()).sum();
        let mut left: f32 = least.iter().sum();
        let sums = least.chunks(LANES).map(|chunk| {
            left -= chunk.iter().sum::<f32>();
            left
        });
        Rest { sums: sums.collect(), rounding: ROUNDING * (all + 1.0) }
    }

    /// The least and the greatest that the mean can be.
    pub(super) fn range(&self) -> (f32, f32) {
        let mean = |values: Vec<f32>| values.iter().sum::<f32>() / self.roots.len() as f32;
        (mean(self.extremes(f32::min)), mean(self.extremes(f32::max)))
    }

    /// The most extreme leaf of each tree, in the order of [`Forest::roots`].
    fn extremes(&self, of: impl Fn(f32, f32) -> f32) -> Vec<f32> {
        let mut starts = self.roots.clone();
        starts.sort_unstable();
        let ends = |root: &u32| {
            let next = starts.partition_point(|start| start <= root);
            starts.get(next).copied().unwrap_or(self.nodes.len() as u32)
        };
        let extreme = |root: &u32| {
            let leaves = (*root..ends(root)).filter(|at| self.node(*at).is_leaf());
            leaves.map(|at| self.value(at)).reduce(&of).unwrap_or_default()
        };
        self.roots.iter().map(extreme).collect()
    }

    /// What the forest answers to a vector that it knows nothing of: the mean of the roots.
    #[must_use]
    pub fn base(&self) -> f32 {
        self.roots.iter().map(|root| self.value(*root)).sum::<f32>() / self.roots.len() as f32
    }

    /// Adds to `shares` what each feature moved the answer by, times `scale`, along the paths that
    /// `values` took: the change of value from a node to its child is the node's feature's doing
    /// (Saabas, 2014). All shares together are [`Forest::mean`] less [`Forest::base`].
    pub fn attribute(&self, values: &[f32; WIDTH], scale: f32, shares: &mut [f32; WIDTH]) {
        let scale = scale / self.roots.len() as f32;
        let mut sums = [0.0; PLACES];
        let step = |feature: u8, from: u32, to: u32| {
            if let Some(sum) = sums.get_mut(usize::from(feature) % PLACES) {
                *sum += self.value(to) - self.value(from);
            }
        };
        self.walk(&wide(values), step, |_| true);
        for (share, sum) in shares.iter_mut().zip(sums) {
            *share += sum * scale;
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// SplitMix64.
    fn next(seed: &mut u64) -> u64 {
        *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Some trees of some sizes.
    pub(in crate::behaviour) fn some(trees: usize, seed: u64) -> Vec<Vec<Grown>> {
        let mut seed = seed;
        (0..trees)
            .map(|_| {
                let splits = next(&mut seed) as usize % 40;
                let mut tree = vec![Grown::Leaf { value: 0.25 }];
                for _ in 0..splits {
                    let leaves: Vec<usize> = (0..tree.len())
                        .filter(|at| matches!(tree[*at], Grown::Leaf { .. }))
                        .collect();
                    let at = leaves[next(&mut seed) as usize % leaves.len()];
                    let left = tree.len();
                    let mut unit = || (next(&mut seed) % 1024) as f32 / 1024.0;
                    tree[at] = Grown::Split {
                        feature: (unit() * WIDTH as f32) as usize,
                        threshold: unit(),
                        missing_left: unit() < 0.5,
                        left,
                        value: unit(),
                    };
                    tree.push(Grown::Leaf { value: unit() });
                    tree.push(Grown::Leaf { value: unit() });
                }
                tree
            })
            .collect()
    }

    pub(in crate::behaviour) fn vector(seed: u64) -> [f32; WIDTH] {
        let mut seed = seed;
        std::array::from_fn(|_| match next(&mut seed) % 4 {
            0 => f32::NAN,
            _ => (next(&mut seed) % 1024) as f32 / 1024.0,
        })
    }

    #[test]
    fn a_joined_forest_answers_the_mean_of_all_trees() {
        let (few, many) = (some(3, 5), some(10, 6));
        let joined = Forest::new(&few).unwrap().joined(&Forest::new(&many).unwrap()).unwrap();
        let all: Vec<Vec<Grown>> = few.iter().chain(&many).cloned().collect();
        assert_eq!(joined, Forest::new(&all).unwrap());
        let most = Forest::new(&some(MAX_TREES, 1)).unwrap();
        assert_eq!(most.joined(&joined), Err(ForestError::Size));
    }

    /// As one would write it without a thought to speed.
    fn plainly(trees: &[Vec<Grown>], values: &[f32; WIDTH]) -> f32 {
        let mut sum = 0.0;
        for tree in trees {
            let mut at = 0;
            loop {
                match tree[at] {
                    Grown::Leaf { value } => {
                        sum += value;
                        break;
                    }
                    Grown::Split { feature, threshold, missing_left, left, .. } => {
                        let value = values[feature];
                        let goes_left =
                            if value.is_nan() { missing_left } else { value <= threshold };
                        at = if goes_left { left } else { left + 1 };
                    }
                }
            }
        }
        sum / trees.len() as f32
    }

    #[test]
    fn the_fast_walk_is_the_plain_one() {
        for count in [1, 7, 8, 9, 16, 61] {
            let trees = some(count, count as u64);
            let forest = Forest::new(&trees).unwrap();
            for seed in 0..200 {
                let values = vector(seed);
                let (fast, plain) = (forest.mean(&values), plainly(&trees, &values));
                assert!((fast - plain).abs() < 1e-5, "{count} {seed}: {fast} {plain}");
            }
        }
    }

    #[test]
    fn shares_add_up_to_the_answer() {
        let forest = Forest::new(&some(30, 5)).unwrap();
        for seed in 0..100 {
            let values = vector(seed);
            let mut shares = [0.0; WIDTH];
            forest.attribute(&values, 2.0, &mut shares);
            let sum: f32 = shares.iter().sum();
            let moved = 2.0 * (forest.mean(&values) - forest.base());
            assert!((sum - moved).abs() < 1e-4, "{sum} {moved}");
        }
    }

    #[test]
    fn bytes_come_back_and_every_prefix_is_torn() {
        let forest = Forest::new(&some(9, 3)).unwrap();
        let mut bytes = Vec::new();
        forest.write(&mut bytes);
        assert_eq!(Forest::read(&mut bytes.as_slice()), Ok(forest));
        for end in 0..bytes.len() {
            assert_eq!(Forest::read(&mut &bytes[..end]), Err(ForestError::Torn), "{end}");
        }
    }

    #[test]
    fn what_leads_nowhere_is_refused() {
        let leaf = |value| Grown::Leaf { value };
        let split = |feature, threshold, left| Grown::Split {
            feature,
            threshold,
            missing_left: true,
            left,
            value: 0.5,
        };
        let refused = |tree: &[Grown]| Forest::new(&[tree.to_vec()]).unwrap_err();
        assert_eq!(Forest::new(&[]), Err(ForestError::Size));
        assert_eq!(refused(&[]), ForestError::Size);
        assert_eq!(refused(&[split(0, 0.5, 0), leaf(0.0)]), ForestError::Shape);
        assert_eq!(refused(&[split(0, 0.5, 1), leaf(0.0)]), ForestError::Shape);
        assert_eq!(refused(&[split(0, f32::NAN, 1), leaf(0.0), leaf(0.0)]), ForestError::Number);
        assert_eq!(
            refused(&[split(0, f32::INFINITY, 1), leaf(0.0), leaf(0.0)]),
            ForestError::Shape
        );
        assert_eq!(refused(&[split(WIDTH, 0.5, 1), leaf(0.0), leaf(0.0)]), ForestError::Number);
        assert_eq!(refused(&[split(0, 0.5, 1), leaf(f32::NAN), leaf(0.0)]), ForestError::Number);
        assert!(Forest::new(&[vec![split(0, 0.5, 1), leaf(1.0), leaf(0.0)]]).is_ok());
    }
}
