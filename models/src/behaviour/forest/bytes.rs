//! A forest as bytes, in which every forest is held to what it has to be.
//!
//! Little-endian: number of trees (4), nodes of each tree (2 each), then for each node threshold (4),
//! left child (2), feature (1), flags (1) and value (4).

use super::{
    super::schema::WIDTH, Forest, ForestError, Grown, LEAF, MAX_NODES, MAX_TREES, MISSING_LEFT,
    Node,
};

/// Bytes of a node.
const NODE: usize = 12;

impl Forest {
    /// A forest of grown trees.
    ///
    /// # Errors
    /// [`ForestError`], if they are not as their documentation says.
    pub fn new(trees: &[Vec<Grown>]) -> Result<Self, ForestError> {
        let mut bytes = (trees.len() as u32).to_le_bytes().to_vec();
        for tree in trees {
            let len = u16::try_from(tree.len()).map_err(|_| ForestError::Size)?;
            bytes.extend_from_slice(&len.to_le_bytes());
        }
        for tree in trees {
            for (at, node) in tree.iter().enumerate() {
                let (threshold, left, feature, flags, value) = match *node {
                    Grown::Split { feature, threshold, missing_left, left, value } => {
                        (threshold, left, feature, u8::from(missing_left), value)
                    }
                    Grown::Leaf { value } => (f32::INFINITY, at, 0, LEAF | MISSING_LEFT, value),
                };
                let left = u16::try_from(left).map_err(|_| ForestError::Shape)?;
                let feature = u8::try_from(feature).map_err(|_| ForestError::Number)?;
                bytes.extend_from_slice(&threshold.to_le_bytes());
                bytes.extend_from_slice(&left.to_le_bytes());
                bytes.extend_from_slice(&[feature, flags]);
                bytes.extend_from_slice(&value.to_le_bytes());
            }
        }
        Self::read(&mut bytes.as_slice())
    }

    /// Takes a forest from the front of `rest`.
    ///
    /// # Errors
    /// [`ForestError`]; nothing of what is refused is used.
    pub(in crate::behaviour) fn read(rest: &mut &[u8]) -> Result<Self, ForestError> {
        let trees = u32::from_le_bytes(take(rest)?) as usize;
        if !(1..=MAX_TREES).contains(&trees) {
            return Err(ForestError::Size);
        }
        let mut sizes = Vec::with_capacity(trees);
        for _ in 0..trees {
            let size = usize::from(u16::from_le_bytes(take(rest)?));
            if !(1..=MAX_NODES).contains(&size) {
                return Err(ForestError::Size);
            }
            sizes.push(size);
        }
        let all: usize = sizes.iter().sum();
        if rest.len() < all * NODE {
            return Err(ForestError::Torn);
        }
        let mut forest = Self {
            nodes: Vec::with_capacity(all),
            values: Vec::with_capacity(all),
            roots: Vec::with_capacity(trees),
            depths: Vec::with_capacity(trees),
        };
        let mut starts = Vec::with_capacity(trees);
        for size in sizes {
            let depth = forest.read_tree(size, rest)?;
            starts.push((depth, forest.nodes.len() - size));
        }
        starts.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        for (depth, root) in starts {
            forest.roots.push(u32::try_from(root).map_err(|_| ForestError::Size)?);
            forest.depths.push(depth);
        }
        Ok(forest)
    }

    /// Takes the `size` nodes of one tree; returns its depth.
    fn read_tree(&mut self, size: usize, rest: &mut &[u8]) -> Result<u16, ForestError> {
        // Depth by place; a child lies behind its parent, so each is known when it comes.
        let mut depths = vec![0_u16; size];
        let mut deepest = 0;
        for at in 0..size {
            let threshold = f32::from_le_bytes(take(rest)?);
            let left = u16::from_le_bytes(take(rest)?);
            let [feature, flags] = take(rest)?;
            let value = f32::from_le_bytes(take(rest)?);
            let node = Node { threshold, left, feature, flags };
            if flags & !(LEAF | MISSING_LEFT) != 0 {
                return Err(ForestError::Number);
            }
            if usize::from(feature) >= WIDTH || !value.is_finite() || threshold.is_nan() {
                return Err(ForestError::Number);
            }
            let depth = depths.get(at).copied().unwrap_or_default();
            deepest = deepest.max(depth);
            let left = usize::from(left);
            if node.is_leaf() {
                // Whatever the value, it stays.
                if left != at || threshold != f32::INFINITY || flags & MISSING_LEFT == 0 {
                    return Err(ForestError::Shape);
                }
            } else {
                if left <= at || left + 1 >= size || !threshold.is_finite() {
                    return Err(ForestError::Shape);
                }
                for child in depths.iter_mut().skip(left).take(2) {
                    *child = (*child).max(depth + 1);
                }
            }
            self.nodes.push(node);
            self.values.push(value);
        }
        Ok(deepest)
    }

    /// Appends the forest's bytes.
    pub(in crate::behaviour) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.roots.len() as u32).to_le_bytes());
        let mut starts = self.roots.clone();
        starts.sort_unstable();
        let ends = starts.iter().skip(1).copied().chain([self.nodes.len() as u32]);
        for (start, end) in starts.iter().zip(ends) {
            out.extend_from_slice(&((end - start) as u16).to_le_bytes());
        }
        for (node, value) in self.nodes.iter().zip(&self.values) {
            out.extend_from_slice(&node.threshold.to_le_bytes());
            out.extend_from_slice(&node.left.to_le_bytes());
            out.extend_from_slice(&[node.feature, node.flags]);
            out.extend_from_slice(&value.to_le_bytes());
        }
    }

    /// A forest of the trees of both: its answer is the mean over all of them.
    ///
    /// # Errors
    /// [`ForestError::Size`], above [`MAX_TREES`].
    pub fn joined(&self, other: &Self) -> Result<Self, ForestError> {
        if self.trees() + other.trees() > MAX_TREES {
            return Err(ForestError::Size);
        }
        let mut bytes = ((self.trees() + other.trees()) as u32).to_le_bytes().to_vec();
        let (mut own, mut others) = (Vec::new(), Vec::new());
        self.write(&mut own);
        other.write(&mut others);
        // Behind the number of trees their sizes, behind those their nodes.
        let parts = [(&own, self.trees()), (&others, other.trees())].map(|(bytes, trees)| {
            bytes.get(4..).and_then(|rest| rest.split_at_checked(2 * trees)).unwrap_or_default()
        });
        parts.iter().for_each(|(sizes, _)| bytes.extend_from_slice(sizes));
        parts.iter().for_each(|(_, nodes)| bytes.extend_from_slice(nodes));
        Self::read(&mut bytes.as_slice())
    }
}

/// The next `N` bytes.
fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], ForestError> {
    let (first, behind) = rest.split_first_chunk::<N>().ok_or(ForestError::Torn)?;
    *rest = behind;
    Ok(*first)
}
