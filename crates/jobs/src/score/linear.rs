//! `score-linear/v1`: linear and logistic regression and scorecards over the features of several owners.
//!
//! With a split model each owner holds the part for its own features. It adds up the part of each row alone, and
//! the parts are summed under masks for the recipient: no multiplication, one exchange. Two owners suffice, because
//! nobody but a recipient learns the sum; a recipient who is one of two owners learns the other's part from it, and
//! the disclosure says so.

use tacit_crypto::cbor;
use tacit_governance::{JobFacts, ModelFamily, Precision, ScoreFacts, Use};
use tacit_protocol::{Audience, Disclosure};
use tacit_types::{Code, Fault, Lang, LocalQuery, NodeId};

use super::params::{self, Mode, ScoreParams, Unknown};
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
        if params.mode == Mode::Private || params.output.precision != Precision::Score {
            let what = "this version scores split models, and opens the score itself";
            return Err(Fault::new(Code::RefusedParameters, what));
        }
        Ok(Box::new(LinearPlan { params }))
    }
}

/// A checked `score-linear/v1` job.
struct LinearPlan {
    params: ScoreParams,
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
            providers_min: 2,
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
        let columns = self
            .params
            .columns(owner)
            .ok_or_else(|| Fault::new(Code::RefusedParties, "this owner has no columns in the job"))?;
        let list = material.attachments.get(keys::ATTACHMENT).map_or(&[][..], Vec::as_slice);
        let wanted = keys::Wanted::decode(list, self.params.rows)?;
        let model = material.model.ok_or_else(|| Fault::new(Code::RefusedModel, "the model is not at hand"))?;
        Ok(Box::new(split::SplitFold::new(self.params.clone(), columns, wanted, &model)?))
    }

    fn estimate(&self, parties: usize) -> Estimate {
        let cells = cells(&self.params);
        Estimate { cells, bytes_up: cells * 8 + 400 * parties as u64, rounds: 6 }
    }

    fn open(&self, package: &[u8], open: &dyn Fn(&[u8]) -> Result<OpenedVector, Fault>) -> Result<Opened, Fault> {
        open::scores(&self.params, open(package)?)
    }
}
