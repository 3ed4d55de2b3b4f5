//! An ensemble of one owner on features of others, where nothing of it is public but its size: which feature a split
//! asks, its threshold, where a row without a value goes, how the splits hang together and what the leaves are worth.
//!
//! Numbers become whole numbers of the same order, so a comparison is exact. A feature is brought in several columns,
//! one for each place that a missing value may take in that order, and a category in one column each. A split is a
//! row of ones over those columns and a threshold, a leaf the list of splits on its way: sums that only the model's
//! owner knows the weights of.

use tacit_types::{Code, Fault};

use crate::fixed::{SumPlan, ordered};
use crate::limits::{NODES_MAX, TREES_MAX};
use crate::model::{Feature, FeatureKind, Kind, Link, Model};
use crate::part::Leaves;
use crate::tree::{Missing, Node, Precision, Split, Test, Tree, ZERO_MAX};

/// Low bits of a double that are left out of its order: the difference of two fits 62 bits.
const DOUBLE_BITS_CUT: u32 = 3;

/// What is public of the comparisons of an ensemble: it follows from the library that made it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Width of the comparisons.
    pub precision: Precision,
    /// Whether a missing value may count as zero, or zero as a missing value.
    pub zeroes: bool,
}

/// Public formats of an ensemble that is itself a secret.
#[derive(Clone, PartialEq, Debug)]
pub struct TreesShape {
    rules: Rules,
    features: Vec<Feature>,
    /// The first column of each feature, and their number at the end.
    columns: Vec<usize>,
    trees: usize,
    leaves: usize,
    /// How values of leaves are encoded.
    pub sum: SumPlan,
}

/// An ensemble in a [`TreesShape`].
pub struct HiddenTrees {
    /// One a tree of the model; there are no more than the shape has.
    pub trees: Vec<HiddenTree>,
    /// What the sum begins with.
    pub base: i64,
}

/// A tree.
pub struct HiddenTree {
    /// Its splits, fewer than leaves.
    pub splits: Vec<HiddenSplit>,
    /// Its leaves.
    pub leaves: Vec<HiddenLeaf>,
}

/// A split: its test holds where the sum of columns times factors is below the threshold.
pub struct HiddenSplit {
    /// Columns of the shape, each with its factor, 1 or -1.
    pub terms: Vec<(u32, i64)>,
    /// The threshold.
    pub threshold: i64,
}

/// A leaf.
pub struct HiddenLeaf {
    /// Splits on its way, each with whether its test must hold.
    pub way: Vec<(u32, bool)>,
    /// What it is worth, as the shape encodes it.
    pub value: i64,
}

/// A double as a whole number of nearly the same order: doubles that agree in all but their last three bits are equal.
fn ordered_double(value: f64) -> Option<i64> {
    let magnitude = (value.to_bits() & !(1 << 63)).cast_signed();
    (!value.is_nan()).then_some(if value.is_sign_negative() { -magnitude } else { magnitude } >> DOUBLE_BITS_CUT)
}

impl Rules {
    /// Columns of a numeric feature.
    const fn columns(self) -> usize {
        if self.zeroes { 5 } else { 2 }
    }

    /// Bits of a column with its sign.
    pub const fn bits(self) -> u32 {
        match self.precision {
            Precision::Single => 34,
            Precision::Double => 64 - DOUBLE_BITS_CUT,
        }
    }

    /// What stands above every number; its negative below.
    const fn beyond(self) -> i64 {
        (1 << (self.bits() - 1)) - 1
    }

    fn key(self, value: f64) -> Option<i64> {
        match self.precision {
            Precision::Single => ordered(value as f32),
            Precision::Double => ordered_double(value),
        }
    }
}

/// The column of a numeric feature that a rule for missing values reads.
const fn column_of(missing: Missing) -> usize {
    match missing {
        Missing::Yes => 0,
        Missing::No => 1,
        Missing::Zero => 2,
        Missing::ZeroYes => 3,
        Missing::ZeroNo => 4,
    }
}

impl TreesShape {
    /// A shape for up to `trees` trees of up to `leaves` leaves over features in some order, whose margins are no
    /// greater than `bound` and off by no more than `error` for every model within it.
    ///
    /// # Errors
    /// `model.too_large` for more trees or nodes than a model may have; `model.precision` for the bound and error.
    pub fn new(
        features: Vec<Feature>,
        rules: Rules,
        (trees, leaves): (usize, usize),
        bound: f64,
        error: f64,
    ) -> Result<Self, Fault> {
        if trees == 0 || leaves < 2 || trees > TREES_MAX || trees.saturating_mul(leaves) > NODES_MAX {
            let what = format!("{trees} trees of {leaves} leaves; up to {TREES_MAX} with {NODES_MAX} leaves in all");
            return Err(Fault::new(Code::ModelTooLarge, what));
        }
        let mut columns = vec![0];
        for feature in &features {
            let own = match &feature.kind {
                FeatureKind::Numeric => rules.columns(),
                FeatureKind::Categorical(list) => list.len() + 1,
            };
            columns.push(columns.last().copied().unwrap_or(0) + own);
        }
        Ok(Self { rules, features, columns, trees, leaves, sum: SumPlan::new(trees + 1, bound, error)? })
    }

    /// The public rules.
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// Trees at most.
    pub fn trees(&self) -> usize {
        self.trees
    }

    /// Leaves of a tree at most.
    pub fn leaves(&self) -> usize {
        self.leaves
    }

    /// The columns of a feature; none past the last.
    pub fn columns(&self, feature: usize) -> core::ops::Range<usize> {
        let end = self.columns.last().copied().unwrap_or(0);
        let at = |i: usize| self.columns.get(i).copied().unwrap_or(end);
        at(feature)..at(feature + 1)
    }

    /// Writes the columns of a feature's value: NaN where there is none, the code of a category, below zero for one
    /// that the feature does not list.
    pub fn encode(&self, feature: usize, value: f64, out: &mut [i64]) {
        let Some(of) = self.features.get(feature) else { return };
        if let FeatureKind::Categorical(list) = &of.kind {
            // The last column is that of no listed category.
            // why: a code is a small whole number, so the conversion is exact.
            let code = if value >= 0.0 { (value as usize).min(list.len()) } else { list.len() };
            out.iter_mut().enumerate().for_each(|(i, slot)| *slot = i64::from(i == code));
            return;
        }
        let beyond = self.rules.beyond();
        let key = self.rules.key(value);
        let (low, high) = (key.unwrap_or(-beyond), key.unwrap_or(beyond));
        let zero = value.is_nan() || value.abs() <= ZERO_MAX;
        let all = [low, high, key.unwrap_or(0), if zero { -beyond } else { low }, if zero { beyond } else { high }];
        out.iter_mut().zip(all).for_each(|(slot, column)| *slot = column);
    }

    /// A model in this shape, its margins multiplied by `units`, and by the slope of a logistic link.
    ///
    /// # Errors
    /// `model.unsupported` for another kind than trees, another precision, or a rule for zeroes that the shape has not;
    /// `model.features` when the model names other features or categories; `model.too_large` for a tree of more leaves;
    /// `model.precision` when there are more trees, or their leaves reach beyond the bound.
    pub fn weights(&self, model: &Model, units: f64) -> Result<HiddenTrees, Fault> {
        let Kind::Trees(trees) = model.kind() else {
            return Err(Fault::new(Code::ModelUnsupported, "another kind than an ensemble of trees"));
        };
        if trees.precision != self.rules.precision {
            return Err(Fault::new(Code::ModelUnsupported, "comparisons of another width than the job's library"));
        }
        let places = self.places(model)?;
        let leaves = Leaves {
            base: trees.base,
            factor: trees.leaf_factor(),
            trees: trees.trees.iter().map(|t| t.leaves().collect()).collect(),
        };
        let (values, base) = self.sum.leaves(&leaves, self.trees + 1, units * slope(model))?;
        let hidden = trees.trees.iter().zip(values).enumerate().map(|(i, (tree, values))| {
            if values.len() > self.leaves {
                let what = format!("tree {i} has {} leaves, the job's most is {}", values.len(), self.leaves);
                return Err(Fault::new(Code::ModelTooLarge, what));
            }
            let splits = tree.splits().map(|(_, split)| self.split(split, model, &places)).collect::<Result<_, _>>()?;
            let leaves = ways(tree).into_iter().zip(values).map(|(way, value)| HiddenLeaf { way, value }).collect();
            Ok(HiddenTree { splits, leaves })
        });
        Ok(HiddenTrees { trees: hidden.collect::<Result<_, _>>()?, base })
    }

    /// The place among the shape's features of each of the model's.
    fn places(&self, model: &Model) -> Result<Vec<usize>, Fault> {
        let wrong = |what: String| Err(Fault::new(Code::ModelFeatures, what));
        if model.features().len() != self.features.len() {
            return wrong(format!("{} features, {} in the job", model.features().len(), self.features.len()));
        }
        let mut places = Vec::with_capacity(self.features.len());
        for feature in model.features() {
            let Some(place) = self.features.iter().position(|f| f.name == feature.name) else {
                return wrong(format!("there is no feature {:?} in the job", feature.name));
            };
            let fits = match (&feature.kind, self.features.get(place).map(|f| &f.kind)) {
                (FeatureKind::Numeric, Some(FeatureKind::Numeric)) => true,
                (FeatureKind::Categorical(own), Some(FeatureKind::Categorical(list))) => {
                    own.iter().all(|category| list.contains(category))
                }
                _ => false,
            };
            if !fits {
                return wrong(format!("feature {:?} has other categories in the job", feature.name));
            }
            places.push(place);
        }
        Ok(places)
    }

    fn split(&self, split: &Split, model: &Model, places: &[usize]) -> Result<HiddenSplit, Fault> {
        let of = split.feature as usize;
        // proof: a checked model's splits ask its own features, each of which has a place.
        let place = places.get(of).copied().unwrap_or_default();
        let first = self.columns(place).start;
        let column = |i: usize, factor: i64| (u32::try_from(first + i).unwrap_or(u32::MAX), factor);
        let threshold = match &split.test {
            Test::Below(t) => self.rules.key(*t).unwrap_or(0),
            Test::AtMost(t) => self.rules.key(*t).unwrap_or(0) + 1,
            Test::OneOf(codes) => {
                let (own, all) = (model.features().get(of), self.features.get(place));
                let (Some(FeatureKind::Categorical(own)), Some(FeatureKind::Categorical(all))) =
                    (own.map(|f| &f.kind), all.map(|f| &f.kind))
                else {
                    return Err(Fault::new(Code::ModelFeatures, "a set of categories of a number"));
                };
                let listed = |category: &String| {
                    let code = own.iter().position(|c| c == category).and_then(|c| u32::try_from(c).ok());
                    match code {
                        Some(code) => codes.binary_search(&code).is_ok(),
                        // The model does not know it: it counts as no value.
                        None => split.missing == Missing::Yes,
                    }
                };
                let mut terms: Vec<(u32, i64)> =
                    all.iter().enumerate().filter(|(_, c)| listed(c)).map(|(i, _)| column(i, -1)).collect();
                if split.missing == Missing::Yes {
                    terms.push(column(all.len(), -1));
                }
                return Ok(HiddenSplit { terms, threshold: 0 });
            }
        };
        let variant = column_of(split.missing);
        if variant >= self.rules.columns() {
            let what = "a rule for zeroes that the job's library does not have";
            return Err(Fault::new(Code::ModelUnsupported, what));
        }
        Ok(HiddenSplit { terms: vec![column(variant, 1)], threshold })
    }
}

/// The factor that a logistic link has within it.
pub fn slope(model: &Model) -> f64 {
    match model.link() {
        Link::Logistic { slope } => slope,
        Link::Identity | Link::Exp => 1.0,
    }
}

/// The splits on the way to each leaf, counted among the tree's splits.
fn ways(tree: &Tree) -> Vec<Vec<(u32, bool)>> {
    let (mut ways, mut way, mut split) = (Vec::new(), Vec::<(u32, bool)>::new(), 0);
    for node in &tree.nodes {
        match node {
            Node::Split(_) => {
                way.push((split, true));
                split += 1;
            }
            Node::Leaf(_) => {
                ways.push(way.clone());
                // On to the second branch of the innermost split whose first one this leaf ends.
                while way.last().is_some_and(|(_, holds)| !holds) {
                    way.pop();
                }
                if let Some(last) = way.last_mut() {
                    last.1 = false;
                }
            }
        }
    }
    ways
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_keep_their_order_but_for_the_last_three_bits() {
        let eight = 8.0 * f64::EPSILON;
        let list =
            [f64::NEG_INFINITY, f64::MIN / 2.0, -1.5, -1e-300, 0.0, 5e-324 * 8.0, 1e-35, 1.0, 1.0 + eight, f64::MAX];
        let keys: Vec<i64> = list.iter().map(|v| ordered_double(*v).unwrap()).collect();
        assert!(keys.windows(2).all(|w| w[0] < w[1]), "{keys:?}");
        assert_eq!(ordered_double(1.0), ordered_double(1.0 + eight / 2.0));
        assert_eq!(ordered_double(-0.0), ordered_double(0.0));
        assert_eq!(ordered_double(f64::NAN), None);
        let rules = Rules { precision: Precision::Double, zeroes: true };
        assert!(keys.iter().all(|k| k.abs() < rules.beyond()) && rules.beyond() < 1 << 60);
        assert!(ordered_double(f64::INFINITY).unwrap() < rules.beyond());
        let single = Rules { precision: Precision::Single, zeroes: false };
        assert!(ordered(f32::INFINITY).unwrap() < single.beyond());
    }

    #[test]
    fn a_value_stands_where_each_rule_puts_it() {
        let features = vec![Feature::numeric("x"), Feature::categorical("c", vec!["a".into(), "b".into()])];
        let rules = Rules { precision: Precision::Double, zeroes: true };
        let shape = TreesShape::new(features, rules, (2, 4), 8.0, 1e-6).unwrap();
        assert_eq!((shape.columns(0), shape.columns(1), shape.columns(2)), (0..5, 5..8, 8..8));
        let encoded = |feature: usize, value: f64| {
            let mut out = vec![9; shape.columns(feature).len()];
            shape.encode(feature, value, &mut out);
            out
        };
        let m = rules.beyond();
        assert_eq!(encoded(0, f64::NAN), [-m, m, 0, -m, m]);
        assert_eq!(encoded(0, -1e-36)[3..], [-m, m]);
        let one = ordered_double(1.0).unwrap();
        assert_eq!(encoded(0, 1.0), [one; 5]);
        assert_eq!([encoded(1, 0.0), encoded(1, 1.0)], [[1, 0, 0], [0, 1, 0]]);
        assert_eq!([encoded(1, -1.0), encoded(1, f64::NAN), encoded(1, 2.0)], [[0, 0, 1]; 3]);
    }
}
