//! How the margin of a linear model comes from shares.
//!
//! With a private model it is the sum of one product for each owner of features with the model's weights, and of what
//! the model's owner adds alone; with a split model it is the sum of the parts.

use std::sync::Arc;

use tacit_governance::Precision;
use tacit_models::LinearShape;
use tacit_mpc::plan::Num;
use tacit_types::{Code, Fault, NodeId};

use super::split::FRACTION_BITS;
use crate::kind::Parts;
use crate::score::circuit::{Circuit, Draft, Scale, bits_above, fx};
use crate::score::params::{Mode, ScoreParams};

/// The error of a margin when the job names none.
const ERROR: f64 = 1e-6;
/// The error of what is rounded, in its units: most numbers that are rounded are so as the exact ones are.
const ROUNDED_ERROR: f64 = 1.0 / 16.0;

/// What an input is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::score) enum Input {
    /// An owner's features.
    Features,
    /// Weights for the features of the owner at this place among the job's.
    Weights(usize),
    /// A part of the margin, a row each.
    Partial,
    /// The intercept alone.
    Intercept,
}

/// A linear model on shares.
#[derive(Clone)]
pub(in crate::score) struct Linear {
    pub circuit: Arc<Circuit<Input>>,
    /// The owner of a private model.
    pub model: Option<NodeId>,
    /// Formats of a private model.
    pub shape: Option<LinearShape>,
    /// The most that a part of a split model is, in units.
    pub clamp: f64,
}

impl Linear {
    /// Plans a job whose parameters were checked, and fit its parts. With `silent` the recipient is not told which rows
    /// are unknown.
    ///
    /// # Errors
    /// `refused.parameters`; `refused.overflow` or `model.precision` when bounds, features and error do not fit 64 bits.
    pub fn new(params: &ScoreParams, parts: &Parts<'_>, silent: bool) -> Result<Self, Fault> {
        let model = parts.models.first().map(|m| m.owner).filter(|_| params.mode == Mode::Private);
        if model.is_some_and(|m| params.owners.iter().all(|o| o.owner == m || o.features.is_empty())) {
            return Err(only_features_of_its_own());
        }
        let (bound, units) = (params.bound.map_or(0.0, |b| b.to_f64()), Scale::units(params));
        let mut draft = Draft::new(params, parts, model)?;
        let (margin, shape, fraction_bits) = match model {
            Some(owner) => {
                let shape = shape(params, bound, units)?;
                let (margin, bits) = (private(&mut draft, &owner, &shape)?, shape.fraction_bits());
                (margin, Some(shape), bits)
            }
            None => (split(&mut draft, bound * units)?, None, FRACTION_BITS),
        };
        let value = draft.less(margin)?;
        if silent {
            draft.hand_silently(value)?
        } else {
            draft.hand(value)?
        }
        let circuit = Arc::new(draft.finish(Scale { fraction_bits, units })?);
        Ok(Self { circuit, model, shape, clamp: bound * units })
    }
}

/// The refusal of a private model that needs nobody.
pub(in crate::score) fn only_features_of_its_own() -> Fault {
    let what = "a private model has features of others; its owner scores its own rows alone";
    Fault::new(Code::RefusedParameters, what)
}

/// The error that a job's margins keep, in its units.
pub(in crate::score) fn error(params: &ScoreParams, default: f64) -> f64 {
    let error = params.error.map_or(default, |e| e.to_f64()) * Scale::units(params);
    if params.output.precision == Precision::Rounded { error.min(ROUNDED_ERROR) } else { error }
}

/// The ranges of all features, in the order of the job.
pub(in crate::score) fn ranges(params: &ScoreParams) -> Vec<(f64, f64)> {
    params.owners.iter().flat_map(|o| &o.ranges).map(|r| (r.least.to_f64(), r.most.to_f64())).collect()
}

/// The formats of a private model, in the units that come out.
fn shape(params: &ScoreParams, bound: f64, units: f64) -> Result<LinearShape, Fault> {
    LinearShape::new(&ranges(params), bound * units, error(params, ERROR))
}

/// The margin of a private model: its mask is opened once, that of the features with each row.
fn private(draft: &mut Draft<'_, Input>, owner: &NodeId, shape: &LinearShape) -> Result<Num, Fault> {
    let (x, w) = (fx(shape.input_bits, shape.input_width())?, fx(shape.weight_bits, shape.weight_width())?);
    let mut products = Vec::new();
    let params = draft.params;
    for (i, columns) in params.owners.iter().enumerate() {
        let count = columns.features.len() as u32;
        if columns.owner != *owner && count > 0 {
            let features = draft.masked(&columns.owner, Input::Features, None, count, x)?;
            let weights = draft.masked(owner, Input::Weights(i), Some(count), 1, w)?;
            products.push((features, weights));
        }
    }
    let margin = fx(shape.fraction_bits(), shape.margin_bits())?;
    let own = match params.columns(owner) {
        Some(_) => draft.shared(owner, Input::Partial, None, 1, margin)?,
        None => draft.shared(owner, Input::Intercept, Some(1), 1, margin)?,
    };
    draft.builder.inner(&products, &[own], margin.b)
}

/// The margin of a split model: the sum of the parts, each clamped.
fn split(draft: &mut Draft<'_, Input>, clamp: f64) -> Result<Num, Fault> {
    let part = fx(FRACTION_BITS, FRACTION_BITS + (bits_above(clamp) + 1).max(2))?;
    let params = draft.params;
    let mut sum: Option<Num> = None;
    for columns in &params.owners {
        let next = draft.shared(&columns.owner, Input::Partial, None, 1, part)?;
        sum = Some(match sum {
            None => next,
            Some(sum) => draft.builder.add(sum, next)?,
        });
    }
    sum.ok_or_else(|| Fault::new(Code::RefusedParties, "a score of nobody's rows"))
}
