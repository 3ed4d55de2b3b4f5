//! The local half of a network: of an owner of data, of the model's, of both, of the dealer.

use tacit_models::{Feature, HiddenLayer};
use tacit_types::{Columns, Fault, NodeId};

use super::{Input, NetworkJob};
use crate::kind::{Fold, JointHalf};
use crate::score::circuit::features;
use crate::score::keys::Wanted;
use crate::score::linear::{held, no_part};
use crate::score::rows::{Kept, Rows, finish};
use crate::score::shared::{SharedJoint, Values, not_ours, put};

/// The local half.
pub(super) struct NetworkFold {
    job: NetworkJob,
    /// The first of this owner's features among all.
    first: usize,
    rows: Option<Rows<i32>>,
    layers: Vec<HiddenLayer>,
}

impl NetworkFold {
    /// # Errors
    /// `refused.parties` for whoever has no part; `refused.model`, `model.*` for a model that is not one of this job.
    pub fn new(
        job: &NetworkJob,
        me: &NodeId,
        wanted: &dyn Fn() -> Result<Wanted, Fault>,
        model: Option<&[u8]>,
    ) -> Result<Self, Fault> {
        if !job.circuit.has(me) {
            return Err(no_part());
        }
        let score = &job.params.score;
        let place = score.owners.iter().position(|o| o.owner == *me);
        let first = place.map_or(0, |place| features(score, place).0);
        let rows = match score.columns(me) {
            Some(columns) => {
                let features = columns.features.iter().map(Feature::numeric).collect();
                Some(Rows::new(&columns.key, features, wanted()?))
            }
            None => None,
        };
        let layers = if job.model == *me {
            let names: Vec<&str> = score.owners.iter().flat_map(|o| &o.features).map(String::as_str).collect();
            job.shape.weights(&held(model)?, &names, job.circuit.scale.units, job.error())?
        } else {
            Vec::new()
        };
        Ok(Self { job: job.clone(), first, rows, layers })
    }
}

impl Fold for NetworkFold {
    fn take(&mut self, batch: &Columns) -> Result<(), Fault> {
        let (first, shape) = (self.first, &self.job.shape);
        self.rows.as_mut().map_or(Ok(()), |rows| rows.take(batch, |i, value| shape.input(first + i, value)))
    }

    fn finish(self: Box<Self>) -> Box<dyn JointHalf> {
        let Self { job, first, rows, layers } = *self;
        // The features of a row that is not there: zero, as near as the ranges have it.
        let (kept, known) = finish(rows, |i| job.shape.input(first + i, 0.0).unwrap_or(0));
        let params = job.params.score.clone();
        let circuit = job.circuit.clone();
        let values = NetworkValues { job, first, kept, layers };
        Box::new(SharedJoint { params, circuit, known, values: Box::new(values) })
    }
}

/// Features and layers.
struct NetworkValues {
    job: NetworkJob,
    first: usize,
    kept: Option<Kept<i32>>,
    layers: Vec<HiddenLayer>,
}

impl NetworkValues {
    fn layer(&self, layer: usize) -> Result<&HiddenLayer, Fault> {
        self.layers.get(layer).ok_or_else(not_ours)
    }

    /// The weights of the first layer from a feature on.
    fn first(&self, feature: usize) -> Result<&[i64], Fault> {
        let layer = self.layer(0)?;
        layer.weights.get(feature * layer.bias.len()..).ok_or_else(not_ours)
    }
}

impl Values<Input> for NetworkValues {
    fn fill(&mut self, input: Input, row: usize, out: &mut [u64]) -> Result<(), Fault> {
        match input {
            Input::Features => {
                let kept = self.kept.as_ref().ok_or_else(not_ours)?;
                put(out, &mut kept.from(row).iter().map(|x| i64::from(*x)))
            }
            Input::First(owner) => {
                let first = features(&self.job.params.score, owner).0;
                put(out, &mut self.first(first)?.iter().copied())
            }
            Input::Weights(layer) => put(out, &mut self.layer(layer)?.weights.iter().copied()),
            Input::Bias(layer) => put(out, &mut self.layer(layer)?.bias.iter().copied()),
            Input::Partial => {
                let kept = self.kept.as_ref().ok_or_else(not_ours)?;
                let (bias, weights) = (&self.layer(0)?.bias, self.first(self.first)?);
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
