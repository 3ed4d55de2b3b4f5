//! What a party brings to a linear model on shares: an owner of data, the model's, both, the dealer.

use std::sync::Arc;

use tacit_models::{Feature, Frame, LinearShape, LinearWeights, Model};
use tacit_types::{Code, Columns, Fault, NodeId};

use super::circuit::{Input, Linear};
use super::split::{fixed, part};
use crate::score::brings::{Brings, Reader, read};
use crate::score::circuit::features;
use crate::score::params::{OwnerColumns, ScoreParams};
use crate::score::rows::Kept;
use crate::score::shared::{Values, not_ours, put};

/// What a party brings to a private model: features, weights, or both; nothing at the dealer.
pub(super) struct PrivateParty {
    params: Arc<ScoreParams>,
    shape: Option<LinearShape>,
    /// The first of this owner's features among all.
    first: usize,
    key: Option<String>,
    features: Vec<Feature>,
    weights: Option<Arc<LinearWeights>>,
}

impl PrivateParty {
    /// # Errors
    /// `refused.model`, `model.*` for a model that is not one of this job.
    pub fn new(params: &ScoreParams, linear: &Linear, me: &NodeId, model: Option<&[u8]>) -> Result<Self, Fault> {
        let owner = params.owners.iter().position(|o| o.owner == *me);
        let columns = params.columns(me).filter(|_| linear.shape.is_some());
        Ok(Self {
            params: Arc::new(params.clone()),
            shape: linear.shape.clone(),
            first: owner.map_or(0, |owner| features(params, owner).0),
            key: columns.map(|c| c.key.clone()),
            features: columns.into_iter().flat_map(|c| &c.features).map(Feature::numeric).collect(),
            weights: weights(params, linear, me, model)?,
        })
    }

    fn input(&self, i: usize, value: f64) -> Option<i32> {
        self.shape.as_ref().and_then(|s| s.input(self.first + i, value))
    }
}

impl Brings for PrivateParty {
    type Input = Input;
    type Cell = i32;

    fn kept(&self) -> Option<(&str, usize)> {
        self.key.as_deref().map(|key| (key, self.features.len()))
    }

    fn reader<'b>(&'b self, batch: &'b Columns) -> Result<Reader<'b, i32>, Fault> {
        read(&self.features, batch, |i, value| self.input(i, value))
    }

    /// Zero, as near as the ranges have it.
    fn absent(&self, i: usize) -> i32 {
        self.input(i, 0.0).unwrap_or(0)
    }

    fn values(self: Arc<Self>, kept: Option<Kept<i32>>) -> Box<dyn Values<Input>> {
        Box::new(LinearValues { party: self, kept })
    }
}

/// What a party brings to a split model of which less than the score comes out: the part of each row's margin.
pub(super) struct SplitParty {
    model: Model,
    key: String,
    units: f64,
    clamp: f64,
}

impl SplitParty {
    /// # Errors
    /// `refused.model` when the model is no part for these columns.
    pub fn new(linear: &Linear, columns: &OwnerColumns, model: Option<&[u8]>) -> Result<Self, Fault> {
        let (units, clamp) = (linear.circuit.scale.units, linear.clamp);
        let model = model.ok_or_else(|| Fault::new(Code::RefusedModel, "the model is not at hand"))?;
        Ok(Self { model: part(columns, model)?, key: columns.key.clone(), units, clamp })
    }
}

impl Brings for SplitParty {
    type Input = Input;
    type Cell = i64;

    fn kept(&self) -> Option<(&str, usize)> {
        Some((&self.key, 1))
    }

    fn reader<'b>(&'b self, batch: &'b Columns) -> Result<Reader<'b, i64>, Fault> {
        let frame = Frame::new(self.model.features(), batch)?;
        Ok(Box::new(move |row, cells| {
            let margin = self.model.sum(&frame, row);
            match (margin.and_then(|m| fixed(m * self.units, self.clamp)), cells) {
                (Some(partial), [cell]) => *cell = partial,
                _ => return false,
            }
            true
        }))
    }

    fn absent(&self, _: usize) -> i64 {
        0
    }

    fn values(self: Arc<Self>, kept: Option<Kept<i64>>) -> Box<dyn Values<Input>> {
        Box::new(Partials(kept))
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

/// Features and weights.
struct LinearValues {
    party: Arc<PrivateParty>,
    kept: Option<Kept<i32>>,
}

impl LinearValues {
    /// The weights of so many features from one on.
    fn weights(&self, first: usize) -> &[i64] {
        self.party.weights.as_ref().and_then(|w| w.weights.get(first..)).unwrap_or_default()
    }

    /// The part of a row's margin that the model's owner makes alone.
    fn partial(&self, row: usize) -> i64 {
        let cells = self.kept.as_ref().map_or(&[][..], |k| k.row(row));
        let intercept = self.party.weights.as_ref().map_or(0, |w| w.intercept);
        let products = self.weights(self.party.first).iter().zip(cells).map(|(w, x)| w.wrapping_mul((*x).into()));
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
            Input::Weights(owner) => put(out, &mut self.weights(features(&self.party.params, owner).0).iter().copied()),
            Input::Intercept => put(out, &mut self.party.weights.iter().map(|w| w.intercept)),
            Input::Partial => put(out, &mut (row..).map(|row| self.partial(row))),
        }
    }
}

/// The parts of a split model, a row each.
struct Partials(Option<Kept<i64>>);

impl Values<Input> for Partials {
    fn fill(&mut self, input: Input, row: usize, out: &mut [u64]) -> Result<(), Fault> {
        match (input, &self.0) {
            // why: what was not found adds nothing, and rows past the last of a tile are none.
            (Input::Partial, Some(kept)) => put(out, &mut kept.from(row).iter().copied()),
            _ => Err(not_ours()),
        }
    }
}
