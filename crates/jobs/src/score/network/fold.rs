//! What a party brings to a network on shares: an owner of data, the model's, both, the dealer.

use std::sync::Arc;

use tacit_models::{Feature, HiddenLayer, NetworkShape};
use tacit_types::{Columns, Fault, NodeId};

use super::{Input, NetworkJob};
use crate::score::brings::{Brings, Reader, read};
use crate::score::circuit::features;
use crate::score::linear::held;
use crate::score::params::ScoreParams;
use crate::score::rows::Kept;
use crate::score::shared::{Values, not_ours, put};

/// What a party brings: the features of its rows, the layers, or both; nothing at the dealer.
pub(super) struct NetworkParty {
    params: Arc<ScoreParams>,
    shape: Arc<NetworkShape>,
    /// The first of this owner's features among all.
    first: usize,
    key: Option<String>,
    features: Vec<Feature>,
    layers: Vec<HiddenLayer>,
}

impl NetworkParty {
    /// # Errors
    /// `refused.model`, `model.*` for a model that is not one of this job.
    pub fn new(job: &NetworkJob, me: &NodeId, model: Option<&[u8]>) -> Result<Self, Fault> {
        let score = &job.params.score;
        let place = score.owners.iter().position(|o| o.owner == *me);
        let columns = score.columns(me);
        let layers = if job.model == *me {
            let names: Vec<&str> = score.owners.iter().flat_map(|o| &o.features).map(String::as_str).collect();
            job.shape.weights(&held(model)?, &names, job.circuit.scale.units, job.error())?
        } else {
            Vec::new()
        };
        Ok(Self {
            params: Arc::new(score.clone()),
            shape: job.shape.clone(),
            first: place.map_or(0, |place| features(score, place).0),
            key: columns.map(|c| c.key.clone()),
            features: columns.into_iter().flat_map(|c| &c.features).map(Feature::numeric).collect(),
            layers,
        })
    }

    fn layer(&self, layer: usize) -> Result<&HiddenLayer, Fault> {
        self.layers.get(layer).ok_or_else(not_ours)
    }

    /// The weights of the first layer from a feature on.
    fn first(&self, feature: usize) -> Result<&[i64], Fault> {
        let layer = self.layer(0)?;
        layer.weights.get(feature * layer.bias.len()..).ok_or_else(not_ours)
    }
}

impl Brings for NetworkParty {
    type Input = Input;
    type Cell = i32;

    fn kept(&self) -> Option<(&str, usize)> {
        self.key.as_deref().map(|key| (key, self.features.len()))
    }

    fn reader<'b>(&'b self, batch: &'b Columns) -> Result<Reader<'b, i32>, Fault> {
        read(&self.features, batch, |i, value| self.shape.input(self.first + i, value))
    }

    /// Zero, as near as the ranges have it.
    fn absent(&self, i: usize) -> i32 {
        self.shape.input(self.first + i, 0.0).unwrap_or(0)
    }

    fn values(self: Arc<Self>, kept: Option<Kept<i32>>) -> Box<dyn Values<Input>> {
        Box::new(NetworkValues { party: self, kept })
    }
}

/// Features and layers.
struct NetworkValues {
    party: Arc<NetworkParty>,
    kept: Option<Kept<i32>>,
}

impl Values<Input> for NetworkValues {
    fn fill(&mut self, input: Input, row: usize, out: &mut [u64]) -> Result<(), Fault> {
        let party = &self.party;
        match input {
            Input::Features => {
                let kept = self.kept.as_ref().ok_or_else(not_ours)?;
                put(out, &mut kept.from(row).iter().map(|x| i64::from(*x)))
            }
            Input::First(owner) => {
                let first = features(&party.params, owner).0;
                put(out, &mut party.first(first)?.iter().copied())
            }
            Input::Weights(layer) => put(out, &mut party.layer(layer)?.weights.iter().copied()),
            Input::Bias(layer) => put(out, &mut party.layer(layer)?.bias.iter().copied()),
            Input::Partial => {
                let kept = self.kept.as_ref().ok_or_else(not_ours)?;
                let (bias, weights) = (&party.layer(0)?.bias, party.first(party.first)?);
                for (i, sums) in out.chunks_exact_mut(bias.len().max(1)).enumerate() {
                    put(sums, &mut bias.iter().copied())?;
                    for (x, weights) in kept.row(row + i).iter().zip(weights.chunks_exact(bias.len().max(1))) {
                        for (sum, w) in sums.iter_mut().zip(weights) {
                            *sum = sum.wrapping_add(w.wrapping_mul(i64::from(*x)) as u64);
                        }
                    }
                }
                Ok(())
            }
        }
    }
}
