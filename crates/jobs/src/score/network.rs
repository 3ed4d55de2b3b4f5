//! `score-network/v1`: a network of one owner over features of others, on shares with a dealer.
//!
//! The first layer is a product of features and weights that each side shows under a mask alone; what leaves a layer
//! goes through ReLU on shares, which cuts the fraction bits of the product off in the same step, and into the product
//! of the next. Nothing on the way is opened. The widths of the layers, the ranges of the features and one bound are
//! public and signed; a network that reaches beyond the bound, or cannot keep the error, is refused by its own node.

mod fold;

use std::sync::Arc;

use serde::Deserialize;
use tacit_crypto::cbor;
use tacit_governance::ModelFamily;
use tacit_models::NetworkShape;
use tacit_models::limits::{LAYER_WIDTH_MAX, LAYERS_MAX};
use tacit_mpc::plan::Num;
use tacit_types::{Code, Fault, Lang, NodeId};

use super::brings;
use super::circuit::{Circuit, Draft as Plans, Scale, fx};
use super::keys::Wanted;
use super::linear::{error, no_part, only_features_of_its_own, ranges};
use super::params::{Holders, Mode, ScoreParams, Unknown, Wants};
use super::plan::{Job, ScorePlan};
use super::written::{self, Habits};
use crate::kind::{ColumnKinds, Draft, Fold, Kind, Parts, Plan};

/// The error of a margin when the job names none.
const ERROR: f64 = 1e-3;

/// The kind.
pub struct ScoreNetwork;

/// The signed parameters.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct NetworkParams {
    /// What all scores have in common.
    #[n(1)]
    pub score: ScoreParams,
    /// Outputs of each hidden layer, at most.
    #[n(2)]
    pub layers: Vec<u32>,
}

/// What a person writes for networks alone.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    layers: Vec<u32>,
}

impl NetworkParams {
    /// Checks everything that does not rest on the job's parts.
    ///
    /// # Errors
    /// `refused.parameters`.
    pub fn check(&self) -> Result<(), Fault> {
        let wrong = |what: String| Err(Fault::new(Code::RefusedParameters, what));
        if self.score.mode != Mode::Private {
            return wrong("mode: a network is private".into());
        }
        let wants = Wants { bound: true, error: true, ranges: true, distinct: true, held: true, ..Wants::default() };
        self.score.check_for(wants)?;
        let width = |w: &u32| (1..=LAYER_WIDTH_MAX).contains(&(*w as usize));
        if self.layers.is_empty() || self.layers.len() >= LAYERS_MAX || !self.layers.iter().all(width) {
            return wrong(format!("layers: 1 to {} of 1 to {LAYER_WIDTH_MAX} outputs", LAYERS_MAX - 1));
        }
        Ok(())
    }
}

impl Kind for ScoreNetwork {
    fn id(&self) -> &'static str {
        "score-network/v1"
    }

    fn title(&self, lang: Lang) -> &'static str {
        match lang {
            Lang::En => "scores of a neural network over the features of several owners",
            Lang::Zh => "基于多方特征的神经网络评分",
        }
    }

    fn template(&self) -> &'static str {
        include_str!("network/network.toml")
    }

    fn params(&self, _: serde_json::Value, _: &ColumnKinds) -> Result<Vec<u8>, Fault> {
        Err(written::alone())
    }

    fn draft(&self, mut written: serde_json::Value, draft: &Draft) -> Result<Vec<u8>, Fault> {
        let own: Written = written::apart(&mut written, &["layers"])?;
        let habits = Habits { modes: &[Mode::Private], unknown: Unknown::Flag, ranges: true, categories: false };
        let params = NetworkParams { score: written::read(written, draft, habits)?, layers: own.layers };
        params.check()?;
        Ok(cbor::encode(&params))
    }

    fn plan(&self, params: &[u8], parts: &Parts<'_>) -> Result<Box<dyn Plan>, Fault> {
        let params: NetworkParams = written::signed(self, params)?;
        params.check()?;
        params.score.fits(parts, Holders::One, true)?;
        Ok(Box::new(ScorePlan(NetworkJob::new(params, parts)?)))
    }
}

/// What an input is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Input {
    /// An owner's features.
    Features,
    /// Weights of the first layer for the features of the owner at this place among the job's.
    First(usize),
    /// What the model's owner adds to the first layer for its own features, with the biases.
    Partial,
    /// Weights of a later layer.
    Weights(usize),
    /// Biases of a layer.
    Bias(usize),
}

/// A checked job.
#[derive(Clone)]
struct NetworkJob {
    params: NetworkParams,
    circuit: Arc<Circuit<Input>>,
    shape: Arc<NetworkShape>,
    model: NodeId,
}

impl NetworkJob {
    fn new(params: NetworkParams, parts: &Parts<'_>) -> Result<Self, Fault> {
        let score = &params.score;
        let model = parts.models.first().map(|m| m.owner).ok_or_else(no_part)?;
        if score.owners.iter().all(|o| o.owner == model || o.features.is_empty()) {
            return Err(only_features_of_its_own());
        }
        let units = Scale::units(score);
        let hidden: Vec<usize> = params.layers.iter().map(|w| *w as usize).collect();
        let shape = NetworkShape::new(&ranges(score), &hidden, score.bound.map_or(0.0, |b| b.to_f64()) * units)?;
        let mut plan = Plans::new(score, parts, Some(model))?;
        let margin = margin(&mut plan, &model, &shape)?;
        let less = plan.less(margin)?;
        plan.hand(less)?;
        let circuit = Arc::new(plan.finish(Scale { fraction_bits: 2 * shape.bits, units })?);
        Ok(Self { params, circuit, shape: Arc::new(shape), model })
    }

    /// The error that margins keep, in the units that come out.
    fn error(&self) -> f64 {
        error(&self.params.score, ERROR)
    }
}

/// The margin: layer after layer.
fn margin(plan: &mut Plans<'_, Input>, model: &NodeId, shape: &NetworkShape) -> Result<Num, Fault> {
    let (x, w) = (fx(shape.bits, shape.input_width())?, fx(shape.bits, shape.weight_width())?);
    let sum = fx(2 * shape.bits, shape.sum_width())?;
    // why: widths are a network's, far below 2^32.
    let width = |layer: usize| shape.widths().get(layer).copied().unwrap_or(1) as u32;
    let (params, first) = (plan.params, width(1));
    let mut products = Vec::new();
    for (i, columns) in params.owners.iter().enumerate() {
        let count = columns.features.len() as u32;
        if columns.owner != *model && count > 0 {
            let features = plan.masked(&columns.owner, Input::Features, None, count, x)?;
            let weights = plan.masked(model, Input::First(i), Some(count), first, w)?;
            products.push((features, weights));
        }
    }
    let own = match params.columns(model) {
        Some(_) => plan.shared(model, Input::Partial, None, first, sum)?,
        None => plan.shared(model, Input::Bias(0), Some(1), first, sum)?,
    };
    let mut now = plan.builder.inner(&products, &[own], sum.b)?;
    // why: at most 24 fraction bits.
    let cut = shape.bits as u8;
    for layer in 1..shape.widths().len() - 1 {
        let left = plan.builder.relu(now, cut)?;
        let left = plan.builder.mask_share(left)?;
        let weights = plan.masked(model, Input::Weights(layer), Some(width(layer)), width(layer + 1), w)?;
        let bias = plan.shared(model, Input::Bias(layer), Some(1), width(layer + 1), sum)?;
        now = plan.builder.inner(&[(left, weights)], &[bias], sum.b)?;
    }
    Ok(now)
}

impl Job for NetworkJob {
    type Input = Input;
    const FAMILY: ModelFamily = ModelFamily::Network;

    fn score(&self) -> &ScoreParams {
        &self.params.score
    }

    fn providers_min(&self) -> usize {
        1
    }

    fn circuit(&self) -> Option<&Arc<Circuit<Input>>> {
        Some(&self.circuit)
    }

    fn fold(
        &self,
        owner: &NodeId,
        wanted: &dyn Fn() -> Result<Wanted, Fault>,
        model: Option<&[u8]>,
    ) -> Result<Box<dyn Fold>, Fault> {
        brings::fold(&self.params.score, &self.circuit, owner, wanted, || fold::NetworkParty::new(self, owner, model))
    }
}
