//! The local half of a private linear model: of an owner of data, of the model's, of both, of the dealer.

use std::sync::Arc;

use tacit_models::{Feature, LinearWeights, Model};
use tacit_types::{Code, Columns, Fault, NodeId};
use zeroize::Zeroizing;

use super::circuit::{Input, Linear};
use crate::kind::{Fold, JointHalf};
use crate::score::circuit::features;
use crate::score::keys::Wanted;
use crate::score::params::ScoreParams;
use crate::score::rows::{Kept, Rows, finish};
use crate::score::shared::{SharedJoint, Values, not_ours, put};

/// The local half.
pub(in crate::score) struct LinearFold {
    params: ScoreParams,
    linear: Linear,
    /// The first of this owner's features among all.
    first: usize,
    rows: Option<Rows<i32>>,
    weights: Option<Arc<LinearWeights>>,
}

impl LinearFold {
    /// # Errors
    /// `refused.parties` for whoever has no part; `refused.model`, `model.*` for a model that is not one of this job.
    pub fn new(
        params: &ScoreParams,
        linear: &Linear,
        me: &NodeId,
        wanted: &dyn Fn() -> Result<Wanted, Fault>,
        model: Option<&[u8]>,
    ) -> Result<Self, Fault> {
        if !linear.circuit.has(me) {
            return Err(no_part());
        }
        let owner = params.owners.iter().position(|o| o.owner == *me);
        let first = owner.map_or(0, |owner| features(params, owner).0);
        let columns = params.columns(me).filter(|_| linear.shape.is_some());
        let rows = match columns {
            Some(columns) => {
                let features = columns.features.iter().map(Feature::numeric).collect();
                Some(Rows::new(&columns.key, features, wanted()?))
            }
            None => None,
        };
        let weights = weights(params, linear, me, model)?;
        Ok(Self { params: params.clone(), linear: linear.clone(), first, rows, weights })
    }
}

/// The weights of the party that has a private model, in the formats of the job.
///
/// # Errors
/// `refused.model`, `model.*` for a model that is not one of this job.
pub(super) fn weights(
    params: &ScoreParams,
    linear: &Linear,
    me: &NodeId,
    model: Option<&[u8]>,
) -> Result<Option<Arc<LinearWeights>>, Fault> {
    let (Some(shape), true) = (&linear.shape, linear.model == Some(*me)) else { return Ok(None) };
    let names: Vec<&str> = params.owners.iter().flat_map(|o| &o.features).map(String::as_str).collect();
    Ok(Some(Arc::new(shape.weights(&held(model)?, &names, linear.circuit.scale.units)?)))
}

/// The refusal of a party that a job does not name.
pub(in crate::score) fn no_part() -> Fault {
    Fault::new(Code::RefusedParties, "this party has no part in the job")
}

/// The model that this party brought.
///
/// # Errors
/// `refused.model` when it brought none; those of [`Model::decode`].
pub(in crate::score) fn held(model: Option<&[u8]>) -> Result<Model, Fault> {
    Model::decode(model.ok_or_else(|| Fault::new(Code::RefusedModel, "the model is not at hand"))?)
}

impl Fold for LinearFold {
    fn take(&mut self, batch: &Columns) -> Result<(), Fault> {
        let (first, shape) = (self.first, self.linear.shape.as_ref());
        match &mut self.rows {
            Some(rows) => rows.take(batch, |i, value| shape.and_then(|s| s.input(first + i, value))),
            None => Ok(()),
        }
    }

    fn finish(self: Box<Self>) -> Box<dyn JointHalf> {
        let Self { params, linear, first, rows, weights } = *self;
        // The features of a row that is not there: zero, as near as the ranges have it.
        let absent = |i: usize| linear.shape.as_ref().and_then(|s| s.input(first + i, 0.0)).unwrap_or(0);
        let (kept, known) = finish(rows, absent);
        let values = LinearValues { params: Arc::new(params.clone()), first, kept, weights };
        Box::new(SharedJoint { params, circuit: linear.circuit, known, values: Box::new(values) })
    }
}

/// Features and weights.
pub(super) struct LinearValues {
    pub params: Arc<ScoreParams>,
    pub first: usize,
    pub kept: Option<Kept<i32>>,
    pub weights: Option<Arc<LinearWeights>>,
}

impl LinearValues {
    /// The weights of so many features from one on.
    fn weights(&self, first: usize) -> &[i64] {
        self.weights.as_ref().and_then(|w| w.weights.get(first..)).unwrap_or_default()
    }

    /// The part of a row's margin that the model's owner makes alone.
    fn partial(&self, row: usize) -> i64 {
        let cells = self.kept.as_ref().map_or(&[][..], |k| k.row(row));
        let intercept = self.weights.as_ref().map_or(0, |w| w.intercept);
        let products = self.weights(self.first).iter().zip(cells).map(|(w, x)| w.wrapping_mul((*x).into()));
        products.fold(intercept, i64::wrapping_add)
    }
}

impl Values<Input> for LinearValues {
    fn fill(&mut self, input: Input, row: usize, out: &mut [u64]) -> Result<(), Fault> {
        match input {
            Input::Features => {
                let kept = self.kept.as_ref().ok_or_else(not_ours)?;
                put(out, &mut kept.from(row).iter().map(|x| i64::from(*x)))
            }
            Input::Weights(owner) => put(out, &mut self.weights(features(&self.params, owner).0).iter().copied()),
            Input::Intercept => put(out, &mut self.weights.iter().map(|w| w.intercept)),
            Input::Partial => put(out, &mut (row..).map(|row| self.partial(row))),
        }
    }
}

/// The parts of a split model, a row each.
pub(super) struct Partials(pub Zeroizing<Vec<i64>>);

impl Values<Input> for Partials {
    fn fill(&mut self, input: Input, row: usize, out: &mut [u64]) -> Result<(), Fault> {
        match input {
            // why: what was not found adds nothing, and rows past the last of a tile are none.
            Input::Partial => put(out, &mut self.0.iter().skip(row).copied()),
            _ => Err(not_ours()),
        }
    }
}
