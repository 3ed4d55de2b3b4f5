//! The own form of one party's part of divided trees.

use minicbor::bytes::ByteVec;
use tacit_types::Fault;

use crate::format::{doubles, read_doubles, read_split, read_words, set_words, split_byte, split_value, uneven, words};
use crate::part::{Condition, Conditions, Leaves, TreesPart};
use crate::tree::Precision;

#[derive(minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub(crate) struct PartForm {
    #[n(1)]
    double: bool,
    #[n(2)]
    trees: Vec<ConditionsForm>,
    #[n(3)]
    leaves: Option<LeavesForm>,
}

/// The splits of a tree by columns, as a whole tree has them.
#[derive(minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
struct ConditionsForm {
    #[n(1)]
    leaves: u32,
    /// One byte a split.
    #[n(2)]
    kinds: ByteVec,
    /// Four bytes a split.
    #[n(3)]
    features: ByteVec,
    /// Twelve bytes a split: where its first branch begins, where the second, where that ends.
    #[n(4)]
    spans: ByteVec,
    /// Eight bytes a split.
    #[n(5)]
    values: ByteVec,
    /// Four bytes a category.
    #[n(6)]
    sets: ByteVec,
}

#[derive(minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
struct LeavesForm {
    #[n(1)]
    base: u64,
    #[n(2)]
    factor: u64,
    /// Doubles of each tree.
    #[n(3)]
    trees: Vec<ByteVec>,
}

impl From<&TreesPart> for PartForm {
    fn from(part: &TreesPart) -> Self {
        let leaves = part.leaves.as_ref().map(|leaves| LeavesForm {
            base: leaves.base.to_bits(),
            factor: leaves.factor.to_bits(),
            trees: leaves.trees.iter().map(|t| doubles(t)).collect(),
        });
        let trees = part.trees.iter().map(ConditionsForm::from).collect();
        Self { double: part.precision == Precision::Double, trees, leaves }
    }
}

impl PartForm {
    pub(crate) fn read(self) -> Result<TreesPart, Fault> {
        let leaves = |form: LeavesForm| {
            let trees = form.trees.iter().map(|t| read_doubles(t, "leaves")).collect::<Result<_, Fault>>()?;
            Ok(Leaves { base: f64::from_bits(form.base), factor: f64::from_bits(form.factor), trees })
        };
        Ok(TreesPart {
            precision: if self.double { Precision::Double } else { Precision::Single },
            trees: self.trees.into_iter().map(ConditionsForm::read).collect::<Result<_, _>>()?,
            leaves: self.leaves.map(leaves).transpose()?,
        })
    }
}

impl From<&Conditions> for ConditionsForm {
    fn from(tree: &Conditions) -> Self {
        let span = |s: &Condition| [s.yes.start, s.no.start, s.no.end];
        Self {
            leaves: tree.leaves,
            kinds: tree.splits.iter().map(|s| split_byte(&s.test, s.missing)).collect::<Vec<u8>>().into(),
            features: words(tree.splits.iter().map(|s| s.feature)),
            spans: words(tree.splits.iter().flat_map(span)),
            values: tree.splits.iter().flat_map(|s| split_value(&s.test).to_le_bytes()).collect::<Vec<u8>>().into(),
            sets: set_words(tree.splits.iter().map(|s| &s.test)),
        }
    }
}

impl ConditionsForm {
    fn read(self) -> Result<Conditions, Fault> {
        let values = read_doubles(&self.values, "values")?;
        let features = read_words(&self.features, "features")?;
        let spans = read_words(&self.spans, "spans")?;
        let mut sets = read_words(&self.sets, "sets")?.into_iter();
        let (spans, []) = spans.as_chunks::<3>() else { return Err(uneven()) };
        let count = self.kinds.len();
        if values.len() != count || features.len() != count || spans.len() != count {
            return Err(uneven());
        }
        let mut splits = Vec::with_capacity(count);
        for (((kind, value), feature), [from, middle, to]) in self.kinds.iter().zip(values).zip(features).zip(spans) {
            let (test, missing) = read_split(*kind, value, &mut sets)?;
            splits.push(Condition { feature, test, missing, yes: *from..*middle, no: *middle..*to });
        }
        if sets.next().is_some() {
            return Err(uneven());
        }
        Ok(Conditions { leaves: self.leaves, splits })
    }
}
