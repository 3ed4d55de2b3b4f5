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

use std::sync::Arc;

use tacit_crypto::cbor;
use tacit_governance::{JobFacts, ModelFamily, ScoreFacts, Use};
use tacit_protocol::{Audience, Disclosure};
use tacit_types::{Code, Fault, Lang, LocalQuery, NodeId};

use super::circuit::Circuit;
use super::params::{self, Mode, ScoreParams, Unknown};
use super::shared::SharedFold;
use super::{keys, open, split};
use crate::kind::{ColumnKinds, Draft, Estimate, Fold, Kind, Material, Opened, OpenedVector, Parts, Plan};

/// The kind.
pub struct ScoreLinear;

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
        include_str!("linear.toml")
    }

    fn params(&self, _: serde_json::Value, _: &ColumnKinds) -> Result<Vec<u8>, Fault> {
        Err(Fault::new(Code::RefusedParameters, "a score is written with its providers, models and keys"))
    }

    fn draft(&self, written: serde_json::Value, draft: &Draft) -> Result<Vec<u8>, Fault> {
        Ok(cbor::encode(&params::from_written(written, draft)?))
    }

    fn plan(&self, params: &[u8], parts: &Parts<'_>) -> Result<Box<dyn Plan>, Fault> {
        let params: ScoreParams = cbor::decode(params)
            .map_err(|e| Fault::new(Code::RefusedParameters, format!("the parameters of score-linear/v1 are {e}")))?;
        params.check()?;
        params.fits(parts)?;
        let circuit = if params.is_shared() { Some(Arc::new(Circuit::new(&params, parts)?)) } else { None };
        Ok(Box::new(LinearPlan { params, circuit }))
    }
}

/// A checked `score-linear/v1` job.
struct LinearPlan {
    params: ScoreParams,
    /// For a job on shares.
    circuit: Option<Arc<Circuit>>,
}

/// Cells that the recipient opens: a score a row, and what tells unknown rows apart.
fn cells(params: &ScoreParams) -> u64 {
    params.rows
        + match params.unknown {
            Unknown::Refuse => 1,
            Unknown::Default => 0,
            Unknown::Flag => params.rows,
        }
}

/// The scores.
pub(super) fn result_disclosure(params: &ScoreParams) -> Disclosure {
    Disclosure { what: "result".into(), to: Audience::Recipient, cells_max: cells(params) }
}

impl Plan for LinearPlan {
    fn facts(&self, owner: &NodeId) -> JobFacts {
        let own = self.params.columns(owner);
        let features = own.into_iter().flat_map(|o| &o.features).map(|c| (c.clone(), Use::Score));
        let key = own.map(|o| (o.key.clone(), Use::Key));
        JobFacts {
            uses: features.chain(key).collect(),
            providers_min: if self.params.mode == Mode::Private { 1 } else { 2 },
            rows_max: None,
            score: Some(ScoreFacts {
                rows: self.params.rows,
                precision: self.params.output.precision,
                family: ModelFamily::Linear,
            }),
        }
    }

    fn disclosures(&self) -> Vec<Disclosure> {
        vec![result_disclosure(&self.params)]
    }

    fn local_query(&self, owner: &NodeId, view: &str) -> LocalQuery {
        let own = self.params.columns(owner);
        let mut columns: Vec<String> = own.map(|o| o.features.clone()).unwrap_or_default();
        columns.extend(own.map(|o| o.key.clone()));
        LocalQuery { view: view.to_owned(), columns, filter: None }
    }

    fn fold(&self, owner: &NodeId, material: Material) -> Result<Box<dyn Fold>, Fault> {
        let list = material.attachments.get(keys::ATTACHMENT).map_or(&[][..], Vec::as_slice);
        let wanted = || keys::Wanted::decode(list, self.params.rows);
        let columns = self.params.columns(owner);
        if let Some(circuit) = &self.circuit
            && (self.params.mode == Mode::Private || columns.is_none())
        {
            let model = material.model.as_deref();
            return Ok(Box::new(SharedFold::new(self.params.clone(), circuit.clone(), owner, wanted, model)?));
        }
        let columns =
            columns.ok_or_else(|| Fault::new(Code::RefusedParties, "this owner has no columns in the job"))?;
        let model = material.model.ok_or_else(|| Fault::new(Code::RefusedModel, "the model is not at hand"))?;
        Ok(Box::new(split::SplitFold::new(self.params.clone(), self.circuit.clone(), columns, wanted()?, &model)?))
    }

    fn estimate(&self, parties: usize) -> Estimate {
        let cells = cells(&self.params);
        let collect = cells * 8 + 400 * parties as u64;
        let Some(circuit) = &self.circuit else { return Estimate { cells, bytes_up: collect, rounds: 6 } };
        let cost = circuit.plan.cost();
        let sent = cost.sent.iter().map(|to| to.iter().sum()).chain([cost.dealt.iter().sum()]);
        let rounds = 6 + u64::from(cost.rounds_once) + u64::from(cost.rounds_tile) * u64::from(cost.tiles);
        Estimate { cells, bytes_up: collect + sent.max().unwrap_or(0), rounds }
    }

    fn open(&self, package: &[u8], open: &dyn Fn(&[u8]) -> Result<OpenedVector, Fault>) -> Result<Opened, Fault> {
        open::scores(&self.params, self.circuit.as_deref(), open(package)?)
    }
}
