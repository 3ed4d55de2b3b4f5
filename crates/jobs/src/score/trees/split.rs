//! A split ensemble on shares.

use std::sync::Arc;

use tacit_models::{Feature, Kind, Leaves, Model, SumPlan, TreesPart, hidden};
use tacit_types::{Code, Columns, Fault, NodeId};
use zeroize::Zeroizing;

use super::{Input, TreesParams};
use crate::kind::{Fold, Parts};
use crate::score::brings::{self, Brings, Reader, read};
use crate::score::circuit::{Circuit, Draft, Scale, bits_above, fx};
use crate::score::keys::Wanted;
use crate::score::linear::{error, held, no_part};
use crate::score::rows::Kept;
use crate::score::shared::{Values, not_ours, put};

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
        brings::fold(&params.score, &self.circuit, me, wanted, || {
            let computes = self.circuit.parties.contains(me);
            let part = if computes { Some(Part::new(self, params, me, held(model)?)?) } else { None };
            let key = params.score.columns(me).map(|c| c.key.clone());
            Ok(SplitParty { words: padded(params.leaves) as usize / 64, key, part })
        })
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

/// What a party brings: the features of its rows, and its part; nothing at the dealer.
struct SplitParty {
    /// Words of a row of bits.
    words: usize,
    key: Option<String>,
    part: Option<Part>,
}

impl SplitParty {
    fn features(&self) -> &[Feature] {
        self.part.as_ref().map_or(&[], |p| &p.features)
    }
}

impl Brings for SplitParty {
    type Input = Input;
    type Cell = f64;

    fn kept(&self) -> Option<(&str, usize)> {
        self.key.as_deref().map(|key| (key, self.features().len()))
    }

    fn reader<'b>(&'b self, batch: &'b Columns) -> Result<Reader<'b, f64>, Fault> {
        read(self.features(), batch, |_, value| Some(value))
    }

    /// A row that is not there is one without values.
    fn absent(&self, _: usize) -> f64 {
        f64::NAN
    }

    fn values(self: Arc<Self>, kept: Option<Kept<f64>>) -> Box<dyn Values<Input>> {
        Box::new(SplitValues { party: self, kept })
    }
}

struct SplitValues {
    party: Arc<SplitParty>,
    kept: Option<Kept<f64>>,
}

impl Values<Input> for SplitValues {
    fn fill(&mut self, input: Input, row: usize, out: &mut [u64]) -> Result<(), Fault> {
        let part = self.party.part.as_ref().ok_or_else(not_ours)?;
        match input {
            Input::Allowed => {
                let kept = self.kept.as_ref().ok_or_else(not_ours)?;
                for (i, words) in out.chunks_exact_mut(self.party.words).enumerate() {
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
