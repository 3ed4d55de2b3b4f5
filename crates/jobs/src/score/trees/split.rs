//! A split ensemble on shares.

use std::sync::Arc;

use tacit_models::{Feature, Kind, Leaves, Model, SumPlan, TreesPart, hidden};
use tacit_types::{Code, Columns, Fault, NodeId};
use zeroize::Zeroizing;

use super::{Input, TreesParams};
use crate::kind::{Fold, JointHalf, Parts};
use crate::score::circuit::{Circuit, Draft, Scale, bits_above, fx};
use crate::score::keys::Wanted;
use crate::score::linear::{error, held, no_part};
use crate::score::params::ScoreParams;
use crate::score::rows::{Kept, Rows, finish};
use crate::score::shared::{SharedJoint, Values, not_ours, put};

/// The error of a margin when the job names none.
pub(super) const ERROR: f64 = 1e-6;

/// A split ensemble on shares.
#[derive(Clone)]
pub(super) struct SplitTrees {
    pub circuit: Arc<Circuit<Input>>,
    sum: SumPlan,
}

/// Leaves with those that fill the last word.
fn padded(leaves: u32) -> u32 {
    leaves.next_multiple_of(64)
}

/// How the values of leaves are encoded.
///
/// # Errors
/// `model.precision`.
fn sum(params: &TreesParams) -> Result<SumPlan, Fault> {
    let bound = params.score.bound.map_or(0.0, |b| b.to_f64()) * Scale::units(&params.score);
    SumPlan::new(params.trees as usize + 1, bound, error(&params.score, ERROR))
}

impl SplitTrees {
    /// Plans a job whose parameters were checked, and fit its parts: each owner's bits are joined, and the leaves that
    /// remain, one a tree, add what they are worth.
    ///
    /// # Errors
    /// `refused.parameters`; `refused.overflow` or `model.precision` when bound, trees and error do not fit 64 bits.
    pub fn new(params: &TreesParams, parts: &Parts<'_>) -> Result<Self, Fault> {
        let holder = params.holder.ok_or_else(no_part)?;
        let (sum, leaves) = (sum(params)?, padded(params.leaves));
        let mut draft = Draft::new(&params.score, parts, Some(holder))?;
        let asked = params.score.owners.iter().filter(|o| !o.features.is_empty());
        let bits = asked.map(|o| draft.bits(&o.owner, Input::Allowed, leaves)).collect::<Result<Vec<_>, _>>()?;
        if bits.is_empty() {
            return Err(Fault::new(Code::RefusedParameters, "trees that ask no feature"));
        }
        let reached = draft.all(&bits)?;
        let value = fx(sum.bits, sum.bits + bits_above(sum.bound))?;
        let weights = draft.masked(&holder, Input::Values(0), Some(leaves), 1, value)?;
        let chosen = draft.builder.select_weights(reached, weights)?;
        let base = draft.shared(&holder, Input::Base, Some(1), 1, value)?;
        // One leaf a tree is reached, so that the sum is within the bound.
        let margin = draft.builder.inner(&[], &[chosen, base], value.b)?;
        let less = draft.less(margin)?;
        draft.hand(less)?;
        let scale = Scale { fraction_bits: sum.bits, units: Scale::units(&params.score) };
        Ok(Self { circuit: Arc::new(draft.finish(scale)?), sum })
    }

    /// The local half.
    ///
    /// # Errors
    /// `refused.parties`; `refused.model` when the part is none of this job's, `model.precision` when the leaves reach
    /// beyond its bound.
    pub fn fold(
        &self,
        params: &TreesParams,
        me: &NodeId,
        wanted: &dyn Fn() -> Result<Wanted, Fault>,
        model: Option<&[u8]>,
    ) -> Result<Box<dyn Fold>, Fault> {
        if !self.circuit.has(me) {
            return Err(no_part());
        }
        let part =
            if self.circuit.parties.contains(me) { Some(Part::new(self, params, me, held(model)?)?) } else { None };
        let rows = match (params.score.columns(me), &part) {
            (Some(columns), Some(part)) => Some(Rows::new(&columns.key, part.features.clone(), wanted()?)),
            _ => None,
        };
        let words = padded(params.leaves) as usize / 64;
        Ok(Box::new(SplitFold { params: params.score.clone(), circuit: self.circuit.clone(), words, rows, part }))
    }
}

/// What a party holds of the ensemble.
struct Part {
    features: Vec<Feature>,
    trees: TreesPart,
    /// At the holder: the values of all leaves, and the base.
    values: Zeroizing<Vec<i64>>,
    base: i64,
}

impl Part {
    fn new(split: &SplitTrees, params: &TreesParams, me: &NodeId, model: Model) -> Result<Self, Fault> {
        let refused = |what: &str| Err(Fault::new(Code::RefusedModel, what));
        let Kind::Part(trees) = model.kind() else {
            return refused("it is no part of divided trees");
        };
        let mut features: Vec<&str> = model.features().iter().map(|f| f.name.as_str()).collect();
        features.sort_unstable();
        let named = params.score.columns(me).map_or(&[][..], |o| &o.features);
        if !features.iter().eq(named.iter()) {
            let (own, named) = (features.join(", "), named.join(", "));
            return refused(&format!("its features are {own}, the job names {named}"));
        }
        if trees.trees.len() > params.trees as usize || trees.leaf_count() > params.leaves as usize {
            let (count, leaves) = (trees.trees.len(), trees.leaf_count());
            return refused(&format!("it has {count} trees with {leaves} leaves, more than the job names"));
        }
        let holder = params.holder == Some(*me);
        if trees.leaves.is_some() != holder {
            return refused(if holder {
                "it lacks the leaves"
            } else {
                "it has the leaves, and the job names another"
            });
        }
        let units = split.circuit.scale.units * hidden::slope(&model);
        let none = Leaves::default();
        let leaves = trees.leaves.as_ref().unwrap_or(&none);
        let (values, base) = split.sum.leaves(leaves, params.trees as usize + 1, units)?;
        let values = Zeroizing::new(values.into_iter().flatten().collect());
        Ok(Self { features: model.features().to_vec(), trees: trees.clone(), values, base })
    }
}

/// The local half: keeps the features of the wanted rows.
struct SplitFold {
    params: ScoreParams,
    circuit: Arc<Circuit<Input>>,
    words: usize,
    rows: Option<Rows<f64>>,
    part: Option<Part>,
}

impl Fold for SplitFold {
    fn take(&mut self, batch: &Columns) -> Result<(), Fault> {
        self.rows.as_mut().map_or(Ok(()), |rows| rows.take(batch, |_, value| Some(value)))
    }

    fn finish(self: Box<Self>) -> Box<dyn JointHalf> {
        let Self { params, circuit, words, rows, part } = *self;
        // A row that is not there is one without values.
        let (kept, known) = finish(rows, |_| f64::NAN);
        Box::new(SharedJoint { params, circuit, known, values: Box::new(SplitValues { words, kept, part }) })
    }
}

struct SplitValues {
    /// Words of a row of bits.
    words: usize,
    kept: Option<Kept<f64>>,
    part: Option<Part>,
}

impl Values<Input> for SplitValues {
    fn fill(&mut self, input: Input, row: usize, out: &mut [u64]) -> Result<(), Fault> {
        let part = self.part.as_ref().ok_or_else(not_ours)?;
        match input {
            Input::Allowed => {
                let kept = self.kept.as_ref().ok_or_else(not_ours)?;
                for (i, words) in out.chunks_exact_mut(self.words).enumerate() {
                    let cells = kept.row(row + i);
                    part.trees.allowed(|f| cells.get(f as usize).copied().unwrap_or(f64::NAN), words);
                }
                Ok(())
            }
            Input::Values(_) => put(out, &mut part.values.iter().copied().chain(core::iter::repeat(0))),
            Input::Base => put(out, &mut core::iter::once(part.base)),
            _ => Err(not_ours()),
        }
    }
}
