//! What a scoring job computes on shares: the plan, whose inputs are whose, and what comes out of it.
//!
//! Everything here follows from the signed job, so all seats make the same plan; its hash is compared before anything
//! else is sent.
//!
//! The margin is the sum of one product for each owner of features with the model's weights, and of what the model's
//! owner adds alone; with a split model it is the sum of the parts. Nothing of it is opened. Less than the score comes
//! from comparisons, and every number goes to the recipient as summands in a masked sum.

use std::collections::BTreeSet;
use std::sync::Arc;

use tacit_governance::Precision;
use tacit_models::LinearShape;
use tacit_mpc::plan::{AnyBits, Bits, Num, Veiled};
use tacit_mpc::{Builder, Fx};
use tacit_types::{Code, Fault, NodeId};

use super::params::{Mode, ScoreParams, Unknown};
use super::split::FRACTION_BITS;
use crate::kind::Parts;

/// The error of a margin when the job names none.
const ERROR: f64 = 1e-6;
/// The error of what is rounded, in its units: most numbers that are rounded are so as the exact ones are.
const ROUNDED_ERROR: f64 = 1.0 / 16.0;

/// What an input of the plan is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Input {
    /// An owner's features.
    Features,
    /// Weights for the features of the owner at this place among the job's.
    Weights(usize),
    /// A part of the margin, a row each.
    Partial,
    /// The intercept alone.
    Intercept,
    /// Which rows there are.
    Known,
}

/// A job on shares.
pub(super) struct Circuit {
    pub plan: Arc<tacit_mpc::Plan>,
    /// Who computes, in the plan's order.
    pub parties: Vec<NodeId>,
    pub dealer: NodeId,
    /// The owner of a private model.
    pub model: Option<NodeId>,
    /// Formats of a private model.
    pub shape: Option<LinearShape>,
    /// What the inputs are, by number.
    pub inputs: Vec<Input>,
    /// Fraction bits of the margin.
    pub fraction_bits: u32,
    /// By how much margins are multiplied, so that what is rounded is whole.
    pub units: f64,
    /// The most that a part of a split model is, in units.
    pub clamp: f64,
}

fn fx(fraction: u32, bits: u32) -> Result<Fx, Fault> {
    let small = |n: u32| u8::try_from(n).unwrap_or(u8::MAX);
    Fx::new(small(fraction), small(bits))
}

/// The units of a job's margins.
pub(super) fn units(params: &ScoreParams) -> f64 {
    10f64.powi(params.output.decimals.unwrap_or(0).into())
}

impl Circuit {
    /// Plans a job whose parameters were checked, and fit its parts.
    ///
    /// # Errors
    /// `refused.parameters`; `refused.overflow` or `model.precision` when bounds, features and error do not fit 64 bits.
    pub fn new(params: &ScoreParams, parts: &Parts<'_>) -> Result<Self, Fault> {
        let wrong = |what: &str| Fault::new(Code::RefusedParameters, what);
        let dealer = parts.dealer.ok_or_else(|| wrong("a score on shares without a dealer"))?;
        let model = parts.models.first().map(|m| m.owner).filter(|_| params.mode == Mode::Private);
        let parties: BTreeSet<NodeId> = params.owners.iter().map(|o| o.owner).chain(model).collect();
        let parties: Vec<NodeId> = parties.into_iter().collect();
        if model.is_some_and(|m| params.owners.iter().all(|o| o.owner == m || o.features.is_empty())) {
            return Err(wrong("a private model has features of others; its owner scores its own rows alone"));
        }
        let (bound, units) = (params.bound.map_or(0.0, |b| b.to_f64()), units(params));
        let mut draft = Draft {
            builder: tacit_mpc::Plan::builder(parties.len(), params.rows)?,
            inputs: Vec::new(),
            params,
            parties: &parties,
        };
        let (margin, shape, fraction_bits) = match model {
            Some(owner) => {
                let shape = shape(params, bound, units)?;
                let (margin, bits) = (draft.private(&owner, &shape)?, shape.fraction_bits());
                (margin, Some(shape), bits)
            }
            None => (draft.split(bound * units)?, None, FRACTION_BITS),
        };
        draft.outputs(margin)?;
        let Draft { builder, inputs, .. } = draft;
        let plan = Arc::new(builder.finish()?);
        let clamp = bound * units;
        Ok(Self { plan, parties, dealer, model, shape, inputs, fraction_bits, units, clamp })
    }

    /// Where an owner's features begin among all, and how many there are.
    pub fn features(params: &ScoreParams, owner: usize) -> (usize, usize) {
        let counts: Vec<usize> = params.owners.iter().map(|o| o.features.len()).collect();
        (counts.iter().take(owner).sum(), counts.get(owner).copied().unwrap_or(0))
    }
}

/// The formats of a private model, in the units that come out.
fn shape(params: &ScoreParams, bound: f64, units: f64) -> Result<LinearShape, Fault> {
    let error = params.error.map_or(ERROR, |e| e.to_f64()) * units;
    let error = if params.output.precision == Precision::Rounded { error.min(ROUNDED_ERROR) } else { error };
    let ranges: Vec<(f64, f64)> =
        params.owners.iter().flat_map(|o| &o.ranges).map(|r| (r.least.to_f64(), r.most.to_f64())).collect();
    LinearShape::new(&ranges, bound * units, error)
}

/// A plan in the making.
struct Draft<'a> {
    builder: Builder,
    inputs: Vec<Input>,
    params: &'a ScoreParams,
    parties: &'a [NodeId],
}

impl Draft<'_> {
    fn party(&self, owner: &NodeId) -> usize {
        self.parties.iter().position(|p| p == owner).unwrap_or(usize::MAX)
    }

    fn numbers(&mut self, owner: &NodeId, is: Input, rows: Option<u32>, cols: u32, fx: Fx) -> Result<Veiled, Fault> {
        let party = self.party(owner);
        let known = match rows {
            Some(rows) => self.builder.input_once(party, rows, cols, fx)?,
            None => self.builder.input(party, cols, fx)?,
        };
        self.inputs.push(is);
        self.builder.mask(known)
    }

    fn shared(&mut self, owner: &NodeId, is: Input, fx: Fx) -> Result<Num, Fault> {
        let party = self.party(owner);
        let known = match is {
            Input::Intercept => self.builder.input_once(party, 1, 1, fx)?,
            _ => self.builder.input(party, 1, fx)?,
        };
        self.inputs.push(is);
        self.builder.share(known)
    }

    /// The margin of a private model: its mask is opened once, that of the features with each row.
    fn private(&mut self, owner: &NodeId, shape: &LinearShape) -> Result<Num, Fault> {
        let (x, w) = (fx(shape.input_bits, shape.input_width())?, fx(shape.weight_bits, shape.weight_width())?);
        let mut products = Vec::new();
        let params = self.params;
        for (i, columns) in params.owners.iter().enumerate() {
            let count = columns.features.len() as u32;
            if columns.owner != *owner && count > 0 {
                let features = self.numbers(&columns.owner, Input::Features, None, count, x)?;
                let weights = self.numbers(owner, Input::Weights(i), Some(count), 1, w)?;
                products.push((features, weights));
            }
        }
        let own = if params.columns(owner).is_some() { Input::Partial } else { Input::Intercept };
        let margin = fx(shape.fraction_bits(), shape.margin_bits())?;
        let own = self.shared(owner, own, margin)?;
        self.builder.inner(&products, &[own], margin.b)
    }

    /// The margin of a split model: the sum of the parts, each clamped.
    fn split(&mut self, clamp: f64) -> Result<Num, Fault> {
        // why: a logarithm of a positive decimal is small, and too many bits are refused.
        let bits = FRACTION_BITS + (clamp.log2().floor() + 3.0).max(2.0) as u32;
        let part = fx(FRACTION_BITS, bits)?;
        let params = self.params;
        let mut sum: Option<Num> = None;
        for columns in &params.owners {
            let next = self.shared(&columns.owner, Input::Partial, part)?;
            sum = Some(match sum {
                None => next,
                Some(sum) => self.builder.add(sum, next)?,
            });
        }
        sum.ok_or_else(|| Fault::new(Code::RefusedParties, "a score of nobody's rows"))
    }

    /// Whether every owner has each row, as shared bits.
    fn known(&mut self) -> Result<Bits, Fault> {
        let mut all = Vec::new();
        for columns in &self.params.owners {
            let party = self.parties.iter().position(|p| *p == columns.owner).unwrap_or(usize::MAX);
            all.push(self.builder.input_bits(party, 1)?);
            self.inputs.push(Input::Known);
        }
        match all.as_slice() {
            [one] => self.builder.share_bits(*one),
            several => self.builder.and(&several.iter().map(|b| AnyBits::Known(*b)).collect::<Vec<_>>()),
        }
    }

    /// What the recipient gets of a margin: as much as the job says, zero where a row is unknown; and, where the job's
    /// rule wants it, whether it is.
    fn outputs(&mut self, margin: Num) -> Result<(), Fault> {
        let output = &self.params.output;
        let edges: Vec<f64> = output.edges.iter().map(|e| e.to_f64()).collect();
        let value = match output.precision {
            Precision::Score => margin,
            Precision::Rounded => {
                let half = self.builder.add_public(margin, &[0.5])?;
                self.builder.floor(half)?
            }
            Precision::Band => self.builder.band(margin, &edges)?,
            Precision::Decision => {
                let threshold = edges.first().copied().unwrap_or(0.0);
                let bit = self.builder.at_least(margin, threshold)?;
                self.builder.to_ring(bit)?
            }
        };
        if self.params.unknown == Unknown::Default {
            return self.builder.hand(value).map(|_| ());
        }
        let known = self.known()?;
        let value = self.builder.select(known, value)?;
        self.builder.hand(value)?;
        let unknown = self.builder.not(known)?;
        let unknown = self.builder.to_ring(unknown)?;
        self.builder.hand(unknown).map(|_| ())
    }
}
