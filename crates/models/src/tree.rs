//! Ensembles of decision trees. The nodes of a tree stand in preorder: the branch that is taken when the test holds
//! follows its split, the other is named. So one walk shows that it is a tree, and leaves below a split are neighbours.

use tacit_types::{Code, Fault};

use crate::limits::{NODES_MAX, SET_ENTRIES_MAX, TREE_DEPTH_MAX, TREES_MAX};
use crate::model::{Feature, finite};

/// LightGBM takes a number for zero up to this magnitude: the single nearest to 1e-35.
pub const ZERO_MAX: f64 = 1e-35_f32 as f64;

/// Trees whose leaves are summed.
#[derive(Clone, PartialEq, Debug)]
pub struct Trees {
    /// Width of the source's comparisons and sums.
    pub precision: Precision,
    /// What the sum begins with.
    pub base: f64,
    /// Whether the sum of the leaves is divided by the number of trees before the base is added.
    pub average: bool,
    /// The trees, in the order of their sum.
    pub trees: Vec<Tree>,
}

/// Width of comparisons and sums.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Precision {
    /// 32 bits: features are rounded before the comparison, leaves are summed in 32 bits (XGBoost, ONNX).
    Single,
    /// 64 bits (LightGBM).
    Double,
}

/// One tree, in preorder.
#[derive(Clone, PartialEq, Debug)]
pub struct Tree {
    /// The nodes; the first is the root.
    pub nodes: Vec<Node>,
}

/// A node.
#[derive(Clone, PartialEq, Debug)]
pub enum Node {
    /// What the tree adds for rows that end here.
    Leaf(f64),
    /// A split; the branch of rows for which its test holds follows.
    Split(Split),
}

/// A split.
#[derive(Clone, PartialEq, Debug)]
pub struct Split {
    /// Place of its feature in the model's list.
    pub feature: u32,
    /// What is asked of the value.
    pub test: Test,
    /// Where a row without a value goes.
    pub missing: Missing,
    /// Place of the first node of the branch of rows for which the test does not hold.
    pub no: u32,
}

/// What is asked of a value.
#[derive(Clone, PartialEq, Debug)]
pub enum Test {
    /// `value < threshold`.
    Below(f64),
    /// `value <= threshold`.
    AtMost(f64),
    /// The category's code is one of these, ascending.
    OneOf(Vec<u32>),
}

/// Where a row without a value goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Missing {
    /// As if the test held.
    Yes,
    /// As if the test did not hold.
    No,
    /// The value counts as zero (LightGBM's missing type `None`).
    Zero,
    /// As if the test held, and a value of zero is missing too (LightGBM's missing type `Zero`).
    ZeroYes,
    /// As if the test did not hold, and a value of zero is missing too.
    ZeroNo,
}

impl Split {
    /// Whether a row goes to the branch that follows. NaN, and below zero for a category, is no value. In
    /// single precision the value was rounded already.
    pub fn holds(&self, value: f64) -> bool {
        holds(&self.test, self.missing, value)
    }
}

/// Whether a value passes a test.
pub(crate) fn holds(test: &Test, missing: Missing, value: f64) -> bool {
    let passes = |value: f64| match test {
        Test::Below(threshold) => value < *threshold,
        Test::AtMost(threshold) => value <= *threshold,
        // why: a code is a small whole number, so the conversion is exact; what is none is in no set.
        Test::OneOf(codes) => codes.binary_search(&(value as u32)).is_ok(),
    };
    let absent = value.is_nan() || (value < 0.0 && matches!(test, Test::OneOf(_)));
    match missing {
        Missing::Yes if absent => true,
        Missing::No if absent => false,
        Missing::Yes | Missing::No => passes(value),
        Missing::Zero => passes(if absent { 0.0 } else { value }),
        Missing::ZeroYes => absent || value.abs() <= ZERO_MAX || passes(value),
        Missing::ZeroNo => !absent && value.abs() > ZERO_MAX && passes(value),
    }
}

impl Tree {
    /// The leaf of a row: its value. `value` gives the value of a feature.
    pub fn leaf(&self, value: impl Fn(u32) -> f64) -> f64 {
        let mut at = 0usize;
        // proof: a checked tree's branches lead forward, so this ends, and never past its last node.
        loop {
            match self.nodes.get(at) {
                Some(Node::Split(split)) if split.holds(value(split.feature)) => at += 1,
                Some(Node::Split(split)) => at = split.no as usize,
                Some(Node::Leaf(leaf)) => return *leaf,
                None => return 0.0,
            }
        }
    }

    /// The values of the leaves, in preorder.
    pub fn leaves(&self) -> impl Iterator<Item = f64> + '_ {
        self.nodes.iter().filter_map(|n| match n {
            Node::Leaf(value) => Some(*value),
            Node::Split(_) => None,
        })
    }

    /// The splits with their places.
    pub fn splits(&self) -> impl Iterator<Item = (usize, &Split)> + '_ {
        self.nodes.iter().enumerate().filter_map(|(i, n)| match n {
            Node::Split(split) => Some((i, split)),
            Node::Leaf(_) => None,
        })
    }

    /// Checks that the nodes are one tree in preorder.
    fn check_shape(&self, tree: usize) -> Result<(), Fault> {
        let wrong =
            |at: usize, what: &str| Err(Fault::new(Code::ModelStructure, format!("tree {tree}, node {at}: {what}")));
        // Where the other branch of each split that is open must begin.
        let mut open: Vec<u32> = Vec::new();
        let mut done = false;
        for (at, node) in self.nodes.iter().enumerate() {
            if done {
                return wrong(at, "no split leads to it");
            }
            match node {
                Node::Split(split) => {
                    open.push(split.no);
                    if open.len() > TREE_DEPTH_MAX {
                        let what = format!("tree {tree}: deeper than {TREE_DEPTH_MAX}");
                        return Err(Fault::new(Code::ModelTooLarge, what));
                    }
                }
                Node::Leaf(_) => match open.pop() {
                    // The branch that held is over: the other one of the innermost open split begins here.
                    Some(no) if no as usize == at + 1 => {}
                    Some(_) => return wrong(at, "a split's second branch does not begin where its first ends"),
                    None => done = true,
                },
            }
        }
        if done { Ok(()) } else { wrong(self.nodes.len(), "a branch ends without a leaf") }
    }
}

impl Trees {
    /// The margin of a row; `value` gives the value of a feature, NaN where there is none, a code for a category.
    pub fn margin(&self, value: impl Fn(u32) -> f64) -> f64 {
        let count = self.trees.len();
        match self.precision {
            Precision::Single => {
                let rounded = |feature| f64::from(value(feature) as f32);
                let leaves = self.trees.iter().map(|t| t.leaf(rounded) as f32);
                if self.average {
                    f64::from(leaves.sum::<f32>() / count as f32 + self.base as f32)
                } else {
                    f64::from(leaves.fold(self.base as f32, |sum, leaf| sum + leaf))
                }
            }
            Precision::Double => {
                let sum = self.trees.iter().map(|t| t.leaf(&value)).fold(0.0, |sum, leaf| sum + leaf);
                if self.average { sum / count as f64 + self.base } else { sum + self.base }
            }
        }
    }

    /// What a leaf is multiplied with.
    pub fn leaf_factor(&self) -> f64 {
        if self.average { 1.0 / self.trees.len() as f64 } else { 1.0 }
    }

    pub(crate) fn check(&self, features: &[Feature]) -> Result<(), Fault> {
        let too_large = |what: String| Err(Fault::new(Code::ModelTooLarge, what));
        if self.trees.len() > TREES_MAX {
            return too_large(format!("{} trees; at most {TREES_MAX}", self.trees.len()));
        }
        let nodes: usize = self.trees.iter().map(|t| t.nodes.len()).sum();
        if nodes > NODES_MAX {
            return too_large(format!("{nodes} nodes; at most {NODES_MAX}"));
        }
        if self.average && self.trees.is_empty() {
            return Err(Fault::new(Code::ModelStructure, "a mean over no trees"));
        }
        check_number(self.precision, self.base, || "the base".into())?;
        let mut entries = 0;
        for (t, tree) in self.trees.iter().enumerate() {
            tree.check_shape(t)?;
            for (n, node) in tree.nodes.iter().enumerate() {
                let place = || format!("tree {t}, node {n}");
                match node {
                    Node::Leaf(value) => check_number(self.precision, *value, place)?,
                    Node::Split(Split { feature, test, missing, .. }) => {
                        entries += check_test(self.precision, *feature, test, *missing, features, place)?;
                    }
                }
            }
        }
        if entries > SET_ENTRIES_MAX {
            return too_large(format!("{entries} categories in splits; at most {SET_ENTRIES_MAX}"));
        }
        Ok(())
    }
}

/// A number is finite, and in single precision a single.
pub(crate) fn check_number(precision: Precision, value: f64, place: impl Fn() -> String) -> Result<(), Fault> {
    finite(value, &place)?;
    if precision == Precision::Single && f64::from(value as f32).to_bits() != value.to_bits() {
        return Err(Fault::new(Code::ModelNotFinite, format!("{}: {value} is not a single", place())));
    }
    Ok(())
}

/// Checks what is asked of a feature; gives the number of categories in its set.
pub(crate) fn check_test(
    precision: Precision,
    feature: u32,
    test: &Test,
    missing: Missing,
    features: &[Feature],
    place: impl Fn() -> String,
) -> Result<usize, Fault> {
    let wrong = |what: String| Err(Fault::new(Code::ModelStructure, format!("{}: {what}", place())));
    let Some(of) = features.get(feature as usize) else {
        return wrong(format!("feature {feature} of {}", features.len()));
    };
    match test {
        Test::Below(threshold) | Test::AtMost(threshold) => {
            if of.categories() > 0 {
                return wrong(format!("a threshold for the categories of {:?}", of.name));
            }
            check_number(precision, *threshold, place)?;
            Ok(0)
        }
        Test::OneOf(codes) => {
            let ascending = codes.windows(2).all(|w| matches!(w, [a, b] if a < b));
            let known = codes.last().is_none_or(|last| (*last as usize) < of.categories());
            if of.categories() == 0 || !ascending || !known {
                return wrong(format!("not a set of the {} categories of {:?}", of.categories(), of.name));
            }
            if matches!(missing, Missing::Zero | Missing::ZeroYes | Missing::ZeroNo) {
                return wrong("a category is never zero".into());
            }
            Ok(codes.len())
        }
    }
}

/// A node as files have it: branches by number, in any order.
pub(crate) enum Linked {
    Leaf(f64),
    Split { feature: u32, test: Test, missing: Missing, yes: u32, no: u32 },
}

/// Puts the nodes of a file into preorder, from its root.
///
/// # Errors
/// `model.structure` for a node that is reached twice or does not exist, `model.too_large` for a deep tree.
pub(crate) fn in_order(tree: usize, nodes: &mut [Option<Linked>], root: u32) -> Result<Tree, Fault> {
    let mut ordered: Vec<Node> = Vec::new();
    // Nodes to visit, with their depth and the split whose second branch they begin.
    let mut todo: Vec<(u32, usize, Option<usize>)> = vec![(root, 0, None)];
    while let Some((from, depth, second_of)) = todo.pop() {
        let Some(node) = nodes.get_mut(from as usize).and_then(Option::take) else {
            let what = format!("tree {tree}: node {from} does not exist or is reached twice");
            return Err(Fault::new(Code::ModelStructure, what));
        };
        let at = ordered.len();
        if let Some(Node::Split(split)) = second_of.and_then(|s| ordered.get_mut(s)) {
            // why: no tree has more nodes than the cap, which is below 2^32.
            split.no = at as u32;
        }
        match node {
            Linked::Leaf(value) => ordered.push(Node::Leaf(value)),
            Linked::Split { feature, test, missing, yes, no } => {
                if depth == TREE_DEPTH_MAX {
                    return Err(Fault::new(Code::ModelTooLarge, format!("tree {tree}: deeper than {TREE_DEPTH_MAX}")));
                }
                ordered.push(Node::Split(Split { feature, test, missing, no: 0 }));
                todo.push((no, depth + 1, Some(at)));
                todo.push((yes, depth + 1, None));
            }
        }
    }
    Ok(Tree { nodes: ordered })
}
