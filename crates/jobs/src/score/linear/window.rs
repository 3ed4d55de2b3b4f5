//! Windows of linear models on shares: what each party looks its rows up in.

use std::sync::Arc;

use tacit_models::{Feature, Frame, Kind, LinearWeights, Model};
use tacit_types::{Columns, Fault, NodeId};
use zeroize::Zeroizing;

use super::circuit::{Input, Linear};
use super::fold::{LinearValues, Partials, no_part, weights};
use super::split::{fixed, part};
use crate::kind::{Fold, JointHalf};
use crate::score::circuit::features;
use crate::score::online::shares::Lookup;
use crate::score::online::shares::party::PartyJoint;
use crate::score::online::shares::rows::Table;
use crate::score::online::{Online, shares};
use crate::score::params::ScoreParams;
use crate::score::shared::Values;

/// The local half of a seat in such a window.
///
/// # Errors
/// `refused.parties` for whoever has no part; `refused.model`, `model.*` for a model that is not one of this job.
pub(super) fn fold(
    params: &ScoreParams,
    online: Online,
    linear: &Linear,
    seat: &NodeId,
    model: Option<&[u8]>,
) -> Result<Box<dyn Fold>, Fault> {
    if let Some(half) = shares::others(params, online, &linear.circuit, seat) {
        return Ok(half);
    }
    if !linear.circuit.has(seat) {
        return Err(no_part());
    }
    let brings = match (params.columns(seat), &linear.shape) {
        (Some(columns), None) => {
            let model = part(columns, model.unwrap_or_default())?;
            Brings::Parts(Parts { model, table: Table::new(&columns.key, 1) })
        }
        (columns, _) => {
            let owner = params.owners.iter().position(|o| o.owner == *seat);
            Brings::Values(Features {
                params: Arc::new(params.clone()),
                first: owner.map_or(0, |owner| features(params, owner).0),
                features: columns.into_iter().flat_map(|c| &c.features).map(Feature::numeric).collect(),
                table: columns.map(|c| Table::new(&c.key, c.features.len())),
                weights: weights(params, linear, seat, model)?,
                linear: linear.clone(),
            })
        }
    };
    Ok(Box::new(WindowFold { params: params.clone(), online, linear: linear.clone(), brings }))
}

/// What a party brings.
enum Brings {
    Values(Features),
    Parts(Parts),
}

/// Of a private model: features, weights, or both.
struct Features {
    params: Arc<ScoreParams>,
    linear: Linear,
    /// The first of this owner's features among all.
    first: usize,
    features: Vec<Feature>,
    table: Option<Table<i32>>,
    weights: Option<Arc<LinearWeights>>,
}

impl Features {
    fn input(&self, i: usize, value: f64) -> Option<i32> {
        self.linear.shape.as_ref().and_then(|s| s.input(self.first + i, value))
    }
}

/// Of a split model: the part of each row's margin.
struct Parts {
    model: Model,
    table: Table<i64>,
}

struct WindowFold {
    params: ScoreParams,
    online: Online,
    linear: Linear,
    brings: Brings,
}

impl Fold for WindowFold {
    fn take(&mut self, batch: &Columns) -> Result<(), Fault> {
        match &mut self.brings {
            Brings::Values(own) => {
                let Some(mut table) = own.table.take() else { return Ok(()) };
                let frame = Frame::new(&own.features, batch)?;
                let taken = table.take_with(batch, |row, cells| {
                    let mut usable = true;
                    for (i, cell) in cells.iter_mut().enumerate() {
                        let value = own.input(i, frame.value(row, i as u32));
                        usable &= value.is_some();
                        *cell = value.unwrap_or_default();
                    }
                    usable
                });
                own.table = Some(table);
                taken
            }
            Brings::Parts(own) => {
                let frame = Frame::new(own.model.features(), batch)?;
                let Kind::Additive(additive) = own.model.kind() else { return Ok(()) };
                let (units, most) = (self.linear.circuit.scale.units, self.linear.clamp);
                own.table.take_with(batch, |row, cells| {
                    let margin = additive.margin(|feature| frame.value(row, feature));
                    match (margin, cells) {
                        (Ok(margin), [cell]) => *cell = fixed(margin * units, most),
                        _ => return false,
                    }
                    true
                })
            }
        }
    }

    fn finish(self: Box<Self>) -> Box<dyn JointHalf> {
        let Self { params, online, linear, brings } = *self;
        let lookup: Box<dyn Lookup<Input>> = match brings {
            Brings::Values(own) => Box::new(Features { table: own.table.map(Table::finish), ..own }),
            Brings::Parts(own) => Box::new(Parts { table: own.table.finish(), ..own }),
        };
        Box::new(PartyJoint { params, online, circuit: linear.circuit, lookup })
    }
}

impl Lookup<Input> for Features {
    fn find(&self, keys: &[&[u8]], rows: usize) -> (Box<dyn Values<Input>>, Vec<bool>) {
        // The features of a row that is not there: zero, as near as the ranges have it.
        let absent = |i: usize| self.input(i, 0.0).unwrap_or(0);
        let found = self.table.as_ref().map(|table| table.find(keys, rows, absent));
        let (kept, known) = found.map_or((None, Vec::new()), |(kept, known)| (Some(kept), known));
        let (params, first, weights) = (self.params.clone(), self.first, self.weights.clone());
        (Box::new(LinearValues { params, first, kept, weights }), known)
    }
}

impl Lookup<Input> for Parts {
    fn find(&self, keys: &[&[u8]], rows: usize) -> (Box<dyn Values<Input>>, Vec<bool>) {
        let (kept, known) = self.table.find(keys, rows, |_| 0);
        (Box::new(Partials(Zeroizing::new(kept.from(0).to_vec()))), known)
    }
}
