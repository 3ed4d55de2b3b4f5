//! The halves of a split linear model: each owner's partial scores, and their sum.

use tacit_crypto::Transcript;
use tacit_models::{Frame, Kind, Model};
use tacit_protocol::{Abort, Party};
use tacit_types::{Code, Columns, Fault};

use crate::kind::{Fold, JointContext, JointFuture, JointHalf, JointOutput};
use crate::score::hand;
use crate::score::keys::{self, Wanted};
use crate::score::params::{OwnerColumns, ScoreParams, Unknown};
use crate::session;

/// Bits after the point of a partial score: each owner's rounding adds at most 2^-29.
pub const FRACTION_BITS: u32 = 28;
/// The greatest partial score, as a power of two: with 16 owners the sum stays below 2^63. What lies beyond is
/// clamped.
pub const PARTIAL_BITS: u32 = 30;

/// What an owner has for a wanted key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    /// No row.
    Nothing,
    /// A partial score.
    Partial(i64),
    /// More than one row, a row that the model has no rule for or whose sum is no number: as good as none.
    Unusable,
}

/// The local half: looks the keys up and scores their rows.
pub(super) struct SplitFold {
    params: ScoreParams,
    key: String,
    model: Model,
    wanted: Wanted,
    found: Vec<Found>,
}

impl SplitFold {
    /// # Errors
    /// `refused.model` when the model is no part for these columns.
    pub fn new(params: ScoreParams, columns: &OwnerColumns, wanted: Wanted, model: &[u8]) -> Result<Self, Fault> {
        let model = part(columns, model)?;
        let found = vec![Found::Nothing; wanted.rows()];
        Ok(Self { params, key: columns.key.clone(), model, wanted, found })
    }
}

/// An owner's part of a split model, for these columns.
///
/// # Errors
/// `refused.model` when it is no part for them.
pub(in crate::score) fn part(columns: &OwnerColumns, model: &[u8]) -> Result<Model, Fault> {
    let refused = |what: String| Err(Fault::new(Code::RefusedModel, what));
    let model = Model::decode(model)?;
    if !matches!(model.kind(), Kind::Additive(_) | Kind::Normed(_)) {
        return refused("it is not a linear model".into());
    }
    let mut features: Vec<&str> = model.features().iter().map(|f| f.name.as_str()).collect();
    features.sort_unstable();
    if !features.iter().eq(columns.features.iter()) {
        let (own, named) = (features.join(", "), columns.features.join(", "));
        return refused(format!("its features are {own}, the job names {named}"));
    }
    Ok(model)
}

/// A partial score in fixed point, of a magnitude up to `most`. There is none where the terms of a row overflow to both
/// sides: their sum is no number.
pub(in crate::score) fn fixed(partial: f64, most: f64) -> Option<i64> {
    // why: within the clamp the product is far below 2^63.
    let units = (partial.clamp(-most, most) * (1u64 << FRACTION_BITS) as f64).round_ties_even() as i64;
    (!partial.is_nan()).then_some(units)
}

impl Fold for SplitFold {
    fn take(&mut self, batch: &Columns) -> Result<(), Fault> {
        let Some(column) = batch.get(&self.key) else {
            return Err(Fault::new(Code::DataColumnUnknown, format!("`{}`", self.key)));
        };
        if batch.rows == 0 {
            // Kinds of columns are checked before rows, so that no failure tells of a key.
            Frame::new(self.model.features(), batch)?;
            return keys::check(column);
        }
        let places = (0..batch.rows).map(|row| (row, self.wanted.places(column, row)));
        let (rows, places): (Vec<usize>, Vec<&[u32]>) = places.filter(|(_, places)| !places.is_empty()).unzip();
        if rows.is_empty() {
            return Ok(());
        }
        let most = f64::from(1u32 << PARTIAL_BITS);
        let frame = Frame::new(self.model.features(), batch)?;
        // proof: a part is a sum.
        let margins = self.model.sums(&frame, rows.iter().copied()).unwrap_or_default();
        for (margin, places) in margins.into_iter().zip(places) {
            let partial = margin.and_then(|p| fixed(p, most)).map_or(Found::Unusable, Found::Partial);
            for place in places {
                if let Some(slot) = self.found.get_mut(*place as usize) {
                    *slot = if *slot == Found::Nothing { partial } else { Found::Unusable };
                }
            }
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Box<dyn JointHalf> {
        Box::new(SplitJoint { params: self.params, found: self.found })
    }
}

struct SplitJoint {
    params: ScoreParams,
    found: Vec<Found>,
}

impl JointHalf for SplitJoint {
    fn run(self: Box<Self>, party: Party, context: JointContext) -> JointFuture {
        Box::pin(sum(*self, party, context))
    }
}

/// This owner's vector: partial scores, then what tells unknown keys apart.
///
/// An owner that lacks a row adds a random number to its score and to its flag. So a flag that is zero means that
/// every owner has the row, but for one chance in 2^64, and one that is not says neither who lacks it nor how many.
fn vector(half: &SplitJoint, party: &mut Party) -> Vec<u64> {
    let mut random = || u64::from_le_bytes(party.rng().bytes());
    let flagged = half.params.unknown == Unknown::Flag;
    let mut flags = Vec::with_capacity(if flagged { half.found.len() } else { 0 });
    let mut missing = false;
    let mut cells: Vec<u64> = Vec::with_capacity(half.found.len() * 2);
    for found in &half.found {
        let (partial, absent) = match found {
            Found::Partial(partial) => (*partial as u64, false),
            Found::Nothing | Found::Unusable => (0, true),
        };
        missing |= absent;
        if flagged {
            // Two draws for every row, so that time tells nothing of which rows there are.
            let (noise, mark) = (random(), random());
            let spoiled = u64::from(absent).wrapping_neg();
            cells.push(partial.wrapping_add(noise & spoiled));
            flags.push(mark & spoiled);
        } else {
            cells.push(partial);
        }
    }
    match half.params.unknown {
        Unknown::Default => {}
        Unknown::Flag => cells.extend(flags),
        Unknown::Refuse => {
            // As many draws whether a row is missing or not, so that time tells nothing of it.
            let spoiled = u64::from(missing).wrapping_neg();
            cells.push(0);
            for cell in &mut cells {
                *cell = cell.wrapping_add(random() & spoiled);
            }
        }
    }
    cells
}

async fn sum(half: SplitJoint, mut party: Party, context: JointContext) -> Result<JointOutput, Abort> {
    session::agree(&mut party, &context.session, context.step_ms).await?;
    let cells = vector(&half, &mut party);
    let query = Transcript::new("tacit-score/1/split").u64(cells.len() as u64).finish();
    hand::over(party, &context, &half.params, query, cells).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_beyond_is_clamped_and_what_is_no_number_is_none() {
        let one = 1i64 << FRACTION_BITS;
        assert_eq!(fixed(1.0, 8.0), Some(one));
        assert_eq!((fixed(f64::INFINITY, 8.0), fixed(-1e300, 8.0)), (Some(8 * one), Some(-8 * one)));
        assert_eq!(fixed(f64::INFINITY - f64::INFINITY, 8.0), None);
    }
}
