//! One party's part of a divided ensemble of trees: its own splits, each with the leaves that its branches leave
//! possible; and, at one party, the values of the leaves. It tells nothing of the splits of others but where leaves lie.

use core::ops::Range;

use tacit_types::{Code, Fault};

use crate::limits::{NODES_MAX, SET_ENTRIES_MAX, TREES_MAX};
use crate::model::{Feature, finite};
use crate::tree::{Missing, Precision, Test, check_number, check_test, holds};

/// A part.
#[derive(Clone, PartialEq, Debug)]
pub struct TreesPart {
    /// Width of the comparisons.
    pub precision: Precision,
    /// One list a tree.
    pub trees: Vec<Conditions>,
    /// At the party that holds them, the values of the leaves.
    pub leaves: Option<Leaves>,
}

/// The values of the leaves of an ensemble.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Leaves {
    /// What the sum begins with.
    pub base: f64,
    /// What each leaf is multiplied with: one, or one over the number of trees.
    pub factor: f64,
    /// One list a tree.
    pub trees: Vec<Vec<f64>>,
}

/// A party's splits of one tree.
#[derive(Clone, PartialEq, Debug)]
pub struct Conditions {
    /// Number of leaves of the tree.
    pub leaves: u32,
    /// The splits, from the root down.
    pub splits: Vec<Condition>,
}

/// One split, with the leaves below its branches. Leaves are counted from the left, as in the tree.
#[derive(Clone, PartialEq, Debug)]
pub struct Condition {
    /// Place of the feature within the part.
    pub feature: u32,
    /// What is asked of the value.
    pub test: Test,
    /// Where a row without a value goes.
    pub missing: Missing,
    /// Leaves that stay possible when the test holds.
    pub yes: Range<u32>,
    /// Leaves that stay possible when it does not.
    pub no: Range<u32>,
}

impl Leaves {
    /// The greatest magnitude that the margin can have.
    pub fn reach(&self) -> f64 {
        let greatest = |tree: &Vec<f64>| tree.iter().fold(0.0, |m: f64, v| m.max((v * self.factor).abs()));
        self.base.abs() + self.trees.iter().map(greatest).sum::<f64>()
    }
}

impl TreesPart {
    /// Leaves of all trees.
    pub fn leaf_count(&self) -> usize {
        self.trees.iter().map(|t| t.leaves as usize).sum()
    }

    /// Writes one bit a leaf for a row: 1 where this party's conditions allow it. Trees one after the other without
    /// gaps, the lowest bit of the first word first. `words` are zero before, and as many as the leaves need or more.
    pub fn allowed(&self, value: impl Fn(u32) -> f64, words: &mut [u64]) {
        allowed(self.precision, &self.trees, value, words);
    }

    pub(crate) fn check(&self, features: &[Feature]) -> Result<(), Fault> {
        let too_large = |what: String| Err(Fault::new(Code::ModelTooLarge, what));
        if self.trees.len() > TREES_MAX {
            return too_large(format!("{} trees; at most {TREES_MAX}", self.trees.len()));
        }
        let nodes = self.trees.iter().map(|t| t.leaves as usize + t.splits.len()).fold(0, usize::saturating_add);
        if nodes > NODES_MAX {
            return too_large(format!("{nodes} leaves and splits; at most {NODES_MAX}"));
        }
        let mut entries = 0;
        for (t, tree) in self.trees.iter().enumerate() {
            tree.check_spans(t)?;
            for (s, split) in tree.splits.iter().enumerate() {
                let place = || format!("tree {t}, split {s}");
                entries += check_test(self.precision, split.feature, &split.test, split.missing, features, place)?;
            }
        }
        if entries > SET_ENTRIES_MAX {
            return too_large(format!("{entries} categories in splits; at most {SET_ENTRIES_MAX}"));
        }
        self.leaves.as_ref().map_or(Ok(()), |leaves| self.check_leaves(leaves))
    }

    fn check_leaves(&self, leaves: &Leaves) -> Result<(), Fault> {
        let counts = leaves.trees.iter().map(Vec::len);
        if !counts.eq(self.trees.iter().map(|t| t.leaves as usize)) {
            return Err(Fault::new(Code::ModelStructure, "other numbers of leaves than of their values"));
        }
        check_number(self.precision, leaves.base, || "the base".into())?;
        finite(leaves.factor, || "the factor of the leaves".into())?;
        for (t, tree) in leaves.trees.iter().enumerate() {
            tree.iter().try_for_each(|v| check_number(self.precision, *v, || format!("tree {t}, a leaf")))?;
        }
        Ok(())
    }
}

impl Conditions {
    /// Checks that the branches of each split are neighbours, and that each split lies in one branch of every split
    /// before it, or beside it.
    fn check_spans(&self, tree: usize) -> Result<(), Fault> {
        let mut open: Vec<&Condition> = Vec::new();
        for (s, split) in self.splits.iter().enumerate() {
            let wrong = |what: &str| Err(Fault::new(Code::ModelStructure, format!("tree {tree}, split {s}: {what}")));
            let (from, to) = (split.yes.start, split.no.end);
            if from >= split.yes.end || split.yes.end != split.no.start || split.no.start >= to || to > self.leaves {
                return wrong("its branches are not neighbours within the tree");
            }
            while open.last().is_some_and(|above| above.no.end <= from) {
                open.pop();
            }
            let within = |branch: &Range<u32>| branch.start <= from && to <= branch.end;
            if open.last().is_some_and(|above| !within(&above.yes) && !within(&above.no)) {
                return wrong("it lies across the branches of a split above");
            }
            open.push(split);
        }
        Ok(())
    }
}

/// Writes the bits of a row: see [`TreesPart::allowed`].
pub(crate) fn allowed(precision: Precision, trees: &[Conditions], value: impl Fn(u32) -> f64, words: &mut [u64]) {
    let mut first = 0;
    for tree in trees {
        fill(words, first, 0..tree.leaves, true);
        for split in &tree.splits {
            let value = value(split.feature);
            let value = if precision == Precision::Single { f64::from(value as f32) } else { value };
            let denied = if holds(&split.test, split.missing, value) { &split.no } else { &split.yes };
            fill(words, first, denied.clone(), false);
        }
        first += tree.leaves as usize;
    }
}

/// Sets or clears bits `first + range`.
fn fill(words: &mut [u64], first: usize, range: Range<u32>, set: bool) {
    let (from, to) = (first + range.start as usize, first + range.end as usize);
    for (i, word) in words.iter_mut().enumerate().take(to.div_ceil(64)).skip(from / 64) {
        let (low, high) = (from.saturating_sub(64 * i).min(64), (to - 64 * i).min(64));
        if low >= high {
            continue;
        }
        let mask = (u64::MAX >> (64 - (high - low))) << low;
        if set {
            *word |= mask;
        } else {
            *word &= !mask;
        }
    }
}
