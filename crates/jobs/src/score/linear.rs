//! `score-linear/v1`: linear and logistic regression and scorecards over the features of several owners.
//!
//! With a split model each owner holds the part for its own features. It adds up the part of each row alone, and
//! the parts are summed under masks for the recipient: no multiplication, one exchange. Two owners suffice, because
//! nobody but a recipient learns the sum; a recipient who is one of two owners learns the other's part from it, and
//! the disclosure says so.
//!
//! With a private model one owner holds all weights and shows them to nobody, and nobody shows a feature to it: the
//! parties compute on additive shares, with randomness from a dealer that has neither data nor a model. The dealer
//! together with one party reads everything. So does a job compute that opens less than the score, of either kind of
//! model: a rounded score, a band, a decision.
//!
//! What decides formats must be public then. The signed parameters carry a range for each feature, to which its owner
//! clips, and a bound: that of the margin and of the *reach* of the model, which is the sum of the magnitudes of its
//! weights, each times the power of two at or above half the width of its feature's range, and of its intercept with
//! the middles of the ranges moved into it. A model with a greater reach is refused by its owner's node before
//! anything leaves. With a split model the bound is that of each part, which is clamped to it.

mod circuit;
mod fold;
mod split;

use std::sync::Arc;

use tacit_crypto::cbor;
use tacit_governance::ModelFamily;
use tacit_types::{Code, Fault, Lang, NodeId};

pub(super) use circuit::{Input, error, only_features_of_its_own, ranges};
pub(super) use fold::{held, no_part};
pub(super) use split::FRACTION_BITS;
pub use split::PARTIAL_BITS;
pub(super) use split::{fixed, part};

use self::circuit::Linear;
use super::brings;
use super::circuit::Circuit;
use super::keys::Wanted;
use super::online;
use super::params::{Holders, Mode, ScoreParams, Unknown};
use super::plan::{Job, ScorePlan};
use super::written::{self, Habits};
use crate::kind::{ColumnKinds, Draft, Fold, Kind, Parts, Plan};

/// The kind.
pub struct ScoreLinear;

/// What a person may leave out.
pub(super) const fn habits(dealt: bool) -> Habits {
    let modes: &[Mode] = if dealt { &[Mode::Private, Mode::Split] } else { &[Mode::Split, Mode::Private] };
    Habits { modes, unknown: Unknown::Flag, ranges: true, categories: false }
}

/// Whose models a job names.
pub(super) fn holders(params: &ScoreParams) -> Holders {
    match params.mode {
        Mode::Split => Holders::Each(None),
        Mode::Private => Holders::One,
    }
}

impl Kind for ScoreLinear {
    fn id(&self) -> &'static str {
        "score-linear/v1"
    }

    fn title(&self, lang: Lang) -> &'static str {
        match lang {
            Lang::En => "scores of a linear model over the features of several owners",
            Lang::Zh => "基于多方特征的线性模型评分",
        }
    }

    fn template(&self) -> &'static str {
        include_str!("linear/linear.toml")
    }

    fn params(&self, _: serde_json::Value, _: &ColumnKinds) -> Result<Vec<u8>, Fault> {
        Err(written::alone())
    }

    fn draft(&self, written: serde_json::Value, draft: &Draft) -> Result<Vec<u8>, Fault> {
        let params = written::read(written, draft, habits(draft.dealer.is_some()))?;
        params.check()?;
        Ok(cbor::encode(&params))
    }

    fn plan(&self, params: &[u8], parts: &Parts<'_>) -> Result<Box<dyn Plan>, Fault> {
        let params: ScoreParams = written::signed(self, params)?;
        params.check()?;
        Ok(Box::new(ScorePlan(LinearJob::new(params, parts, false)?)))
    }
}

/// A checked job with a linear model.
pub(super) struct LinearJob {
    params: ScoreParams,
    /// For a job on shares.
    linear: Option<Linear>,
}

impl LinearJob {
    /// Plans a job whose parameters were checked. With `silent` the recipient is not told which rows are unknown.
    ///
    /// # Errors
    /// `refused.parameters` when they do not fit the job's parts; those of [`Linear::new`].
    pub fn new(params: ScoreParams, parts: &Parts<'_>, silent: bool) -> Result<Self, Fault> {
        params.fits(parts, holders(&params), params.is_shared())?;
        let linear = if params.is_shared() { Some(Linear::new(&params, parts, silent)?) } else { None };
        Ok(Self { params, linear })
    }
}

impl Job for LinearJob {
    type Input = Input;
    const FAMILY: ModelFamily = ModelFamily::Linear;

    fn score(&self) -> &ScoreParams {
        &self.params
    }

    fn providers_min(&self) -> usize {
        if self.params.mode == Mode::Private { 1 } else { 2 }
    }

    fn circuit(&self) -> Option<&Arc<Circuit<Input>>> {
        self.linear.as_ref().map(|l| &l.circuit)
    }

    fn fold(
        &self,
        owner: &NodeId,
        wanted: &dyn Fn() -> Result<Wanted, Fault>,
        model: Option<&[u8]>,
    ) -> Result<Box<dyn Fold>, Fault> {
        let columns = self.params.columns(owner);
        if let Some(linear) = &self.linear {
            return match columns.filter(|_| self.params.mode == Mode::Split) {
                Some(columns) => brings::fold(&self.params, &linear.circuit, owner, wanted, || {
                    fold::SplitParty::new(linear, columns, model)
                }),
                None => brings::fold(&self.params, &linear.circuit, owner, wanted, || {
                    fold::PrivateParty::new(&self.params, linear, owner, model)
                }),
            };
        }
        if let Some(online) = self.params.online {
            return online::fold(&self.params, online, owner, model);
        }
        let columns =
            columns.ok_or_else(|| Fault::new(Code::RefusedParties, "this owner has no columns in the job"))?;
        let model = model.ok_or_else(|| Fault::new(Code::RefusedModel, "the model is not at hand"))?;
        Ok(Box::new(split::SplitFold::new(self.params.clone(), columns, wanted()?, model)?))
    }
}
