//! The halves of a score on shares. An owner of data encodes the rows that the keys name; the owner of a private model
//! its weights; the dealer has nothing. They compute on shares, and each sends its summands of what came out to the
//! recipient in a masked sum.

use std::sync::Arc;

use tacit_crypto::Transcript;
use tacit_models::{Feature, Frame, LinearWeights, Model};
use tacit_mpc::{Sink, Source, Terms};
use tacit_protocol::{Abort, Party};
use tacit_types::{Code, Columns, Fault, NodeId, Seat};
use zeroize::Zeroizing;

use super::circuit::{Circuit, Input};
use super::hand;
use super::keys::{self, Wanted};
use super::params::{ScoreParams, Unknown};
use crate::kind::{Fold, JointContext, JointFuture, JointHalf, JointOutput};
use crate::session;

/// What an owner has for a wanted key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    Row,
    /// More than one row, or one that lacks a feature: as good as none.
    Unusable,
}

/// The features of the wanted rows, in fixed point.
pub(super) struct Rows {
    /// The owner's place among the job's.
    owner: usize,
    key: String,
    features: Vec<Feature>,
    /// The first of them among all of the job.
    first: usize,
    wanted: Wanted,
    found: Vec<Found>,
    cells: Zeroizing<Vec<i32>>,
}

impl Rows {
    fn new(params: &ScoreParams, owner: usize, wanted: Wanted) -> Option<Self> {
        let columns = params.owners.get(owner)?;
        let (first, count) = Circuit::features(params, owner);
        let features = columns.features.iter().map(Feature::numeric).collect();
        let (found, cells) = (vec![Found::Nothing; wanted.rows()], Zeroizing::new(vec![0; wanted.rows() * count]));
        Some(Self { owner, key: columns.key.clone(), features, first, wanted, found, cells })
    }

    fn take(&mut self, circuit: &Circuit, batch: &Columns) -> Result<(), Fault> {
        let Some(column) = batch.get(&self.key) else {
            return Err(Fault::new(Code::DataColumnUnknown, format!("`{}`", self.key)));
        };
        keys::check(column)?;
        let Some(shape) = &circuit.shape else { return Ok(()) };
        // Of the whole batch, so that no failure tells of a key.
        let frame = Frame::new(&self.features, batch)?;
        let count = self.features.len();
        let mut row_cells: Zeroizing<Vec<i32>> = Zeroizing::new(vec![0; count]);
        for row in (0..batch.rows).filter(|row| !self.wanted.places(column, *row).is_empty()) {
            let mut usable = true;
            for (i, cell) in row_cells.iter_mut().enumerate() {
                let value = shape.input(self.first + i, frame.value(row, i as u32));
                usable &= value.is_some();
                *cell = value.unwrap_or(0);
            }
            for place in self.wanted.places(column, row) {
                let place = *place as usize;
                let (Some(found), Some(cells)) =
                    (self.found.get_mut(place), self.cells.get_mut(place * count..(place + 1) * count))
                else {
                    continue;
                };
                let first = *found == Found::Nothing;
                *found = if first && usable { Found::Row } else { Found::Unusable };
                cells.copy_from_slice(&row_cells);
            }
        }
        Ok(())
    }

    /// What this owner brings: its inputs, and which rows it has.
    fn finish(mut self, circuit: &Circuit) -> Data {
        // The features of a row that is not there: zero, as near as the ranges have it.
        let input = |i: usize| circuit.shape.as_ref().and_then(|s| s.input(self.first + i, 0.0)).unwrap_or(0);
        let absent: Vec<i32> = (0..self.features.len()).map(input).collect();
        let count = self.features.len().max(1);
        for (cells, found) in self.cells.chunks_exact_mut(count).zip(&self.found) {
            if *found != Found::Row {
                cells.copy_from_slice(&absent);
            }
        }
        let known = self.found.iter().map(|f| *f == Found::Row).collect();
        Data { values: Values::Features { owner: self.owner, cells: self.cells }, known }
    }
}

/// An owner's data for the computation.
pub(super) struct Data {
    pub values: Values,
    /// Whether each row is there and usable.
    pub known: Vec<bool>,
}

/// What is computed with.
pub(super) enum Values {
    /// Features of a private model, row by row, and whose.
    Features { owner: usize, cells: Zeroizing<Vec<i32>> },
    /// The parts of a split model.
    Partials(Zeroizing<Vec<i64>>),
}

/// The local half of a job with a private model: of an owner of data, of the model's, of both, of the dealer.
pub(super) struct SharedFold {
    params: ScoreParams,
    circuit: Arc<Circuit>,
    rows: Option<Rows>,
    weights: Option<LinearWeights>,
}

impl SharedFold {
    /// # Errors
    /// `refused.parties` for whoever has no part; `refused.model`, `model.*` for a model that is not one of this job.
    pub fn new(
        params: ScoreParams,
        circuit: Arc<Circuit>,
        me: &NodeId,
        wanted: impl FnOnce() -> Result<Wanted, Fault>,
        model: Option<&[u8]>,
    ) -> Result<Self, Fault> {
        if !circuit.parties.contains(me) && circuit.dealer != *me {
            return Err(Fault::new(Code::RefusedParties, "this party has no part in the job"));
        }
        let owner = params.owners.iter().position(|o| o.owner == *me);
        let rows = match owner {
            Some(owner) => Rows::new(&params, owner, wanted()?),
            None => None,
        };
        let weights = match (&circuit.shape, circuit.model == Some(*me)) {
            (Some(shape), true) => {
                let model = model.ok_or_else(|| Fault::new(Code::RefusedModel, "the model is not at hand"))?;
                let names: Vec<&str> = params.owners.iter().flat_map(|o| &o.features).map(String::as_str).collect();
                Some(shape.weights(&Model::decode(model)?, &names, circuit.units)?)
            }
            _ => None,
        };
        Ok(Self { params, circuit, rows, weights })
    }
}

impl Fold for SharedFold {
    fn take(&mut self, batch: &Columns) -> Result<(), Fault> {
        match &mut self.rows {
            Some(rows) => rows.take(&self.circuit, batch),
            None => Ok(()),
        }
    }

    fn finish(self: Box<Self>) -> Box<dyn JointHalf> {
        let data = self.rows.map(|rows| rows.finish(&self.circuit));
        Box::new(SharedJoint { params: self.params, circuit: self.circuit, data, weights: self.weights })
    }
}

/// The joint half.
pub(super) struct SharedJoint {
    pub params: ScoreParams,
    pub circuit: Arc<Circuit>,
    pub data: Option<Data>,
    pub weights: Option<LinearWeights>,
}

impl JointHalf for SharedJoint {
    fn run(self: Box<Self>, party: Party, context: JointContext) -> JointFuture {
        Box::pin(score(*self, party, context))
    }
}

impl SharedJoint {
    /// The part of a row's margin that this owner makes alone.
    fn partial(&self, row: usize) -> i64 {
        match self.data.as_ref().map(|d| &d.values) {
            Some(Values::Partials(all)) => all.get(row).copied().unwrap_or(0),
            Some(Values::Features { owner, cells }) => {
                let (first, count) = Circuit::features(&self.params, *owner);
                let intercept = self.weights.as_ref().map_or(0, |w| w.intercept);
                let weights = self.weights.as_ref().and_then(|w| w.weights.get(first..first + count));
                let cells = cells.get(row * count..(row + 1) * count).unwrap_or_default();
                let products = weights.unwrap_or_default().iter().zip(cells).map(|(w, x)| w.wrapping_mul((*x).into()));
                products.fold(intercept, i64::wrapping_add)
            }
            None => 0,
        }
    }

    /// Whether this owner shows a row as known: none, when the job is refused for one that it lacks.
    fn shows(&self, row: usize) -> bool {
        let known = self.data.as_ref().map_or(&[][..], |d| &d.known);
        let whole = self.params.unknown != Unknown::Refuse || known.iter().all(|k| *k);
        whole && known.get(row).copied().unwrap_or(false)
    }
}

impl Source for SharedJoint {
    fn fill(&mut self, input: u32, first_row: u64, out: &mut [u64]) -> Result<(), Fault> {
        let internal = || Fault::new(Code::JobInternal, "an input of the plan that this party does not have");
        let row = first_row as usize;
        let mut put = |values: &mut dyn Iterator<Item = i64>| {
            for slot in out.iter_mut() {
                *slot = values.next().ok_or_else(internal)? as u64;
            }
            Ok(())
        };
        match self.circuit.inputs.get(input as usize).ok_or_else(internal)? {
            Input::Features => {
                let Some(Data { values: Values::Features { owner, cells }, .. }) = &self.data else {
                    return Err(internal());
                };
                let (_, count) = Circuit::features(&self.params, *owner);
                put(&mut cells.iter().skip(row * count).map(|x| i64::from(*x)))
            }
            Input::Weights(owner) => {
                let (first, _) = Circuit::features(&self.params, *owner);
                let weights = self.weights.as_ref().map_or(&[][..], |w| &w.weights);
                put(&mut weights.iter().skip(first).copied())
            }
            Input::Intercept => put(&mut self.weights.iter().map(|w| w.intercept)),
            Input::Partial => put(&mut (row..).map(|row| self.partial(row))),
            Input::Known => {
                let whole = self.params.rows as usize;
                for (i, word) in out.iter_mut().enumerate() {
                    let from = row + i * 64;
                    let bits = (from..whole.min(from + 64)).filter(|r| self.shows(*r));
                    *word = bits.fold(0, |word, r| word | 1 << (r - from));
                }
                Ok(())
            }
        }
    }
}

/// This party's summands of what comes out.
#[derive(Default)]
struct Summands {
    values: Zeroizing<Vec<u64>>,
    unknown: Zeroizing<Vec<u64>>,
}

impl Sink for Summands {
    fn take(&mut self, output: u32, _: u64, _: Vec<u64>) -> Result<(), Fault> {
        Err(Fault::new(Code::JobInternal, format!("output {output} was opened")))
    }

    fn summands(&mut self, output: u32, _: u64, words: Zeroizing<Vec<u64>>) -> Result<(), Fault> {
        let list = if output == 0 { &mut self.values } else { &mut self.unknown };
        list.extend_from_slice(&words);
        Ok(())
    }
}

impl Summands {
    /// The cells of the masked sum: as many as the recipient may open.
    fn cells(mut self, params: &ScoreParams) -> Vec<u64> {
        let rows = params.rows as usize;
        self.values.resize(rows, 0);
        let flags = match params.unknown {
            Unknown::Default => 0,
            Unknown::Refuse => 1,
            Unknown::Flag => rows,
        };
        // With `refuse` every row is unknown or none is, so that one tells it.
        self.unknown.resize(flags, 0);
        let mut cells = core::mem::take(&mut *self.values);
        cells.extend_from_slice(&self.unknown);
        cells
    }
}

/// The seat of an owner.
fn seat(context: &JointContext, owner: &NodeId) -> Result<Seat, Abort> {
    let seat = context.owners.iter().position(|o| o == owner).and_then(|i| u16::try_from(i).ok());
    seat.map(Seat).ok_or_else(|| Abort::Local(Fault::new(Code::RefusedParties, "a party of the job has no seat")))
}

async fn score(mut half: SharedJoint, mut party: Party, context: JointContext) -> Result<JointOutput, Abort> {
    session::agree(&mut party, &context.session, context.step_ms).await?;
    let circuit = half.circuit.clone();
    let terms = Terms {
        plan: circuit.plan.clone(),
        context: context.session,
        parties: circuit.parties.iter().map(|p| seat(&context, p)).collect::<Result<_, _>>()?,
        dealer: seat(&context, &circuit.dealer)?,
        step_base: session::COMPUTE_ROUND,
        step_ms: context.step_ms,
    };
    let mut summands = Summands::default();
    if party.seat() == terms.dealer {
        tacit_mpc::deal(&mut party, &terms).await?;
    } else {
        tacit_mpc::compute(&mut party, &terms, &mut half, &mut summands).await?;
    }
    let cells = summands.cells(&half.params);
    let query = Transcript::new("tacit-score/1/shared").fixed(&terms.hash().0).u64(cells.len() as u64).finish();
    hand::over(party, &context, &half.params, query, cells).await
}
