//! What every scoring job decides, discloses, reads and opens alike, whatever its model is.

use std::sync::Arc;

use tacit_governance::{JobFacts, ModelFamily, OnlineFacts, Precision, ScoreFacts, UnknownKeys, Use};
use tacit_protocol::{Audience, Disclosure};
use tacit_types::{Fault, JobId, LocalQuery, NodeId};

use super::checked;
use super::circuit::Circuit;
use super::keys::{self, Wanted};
use super::online::host::Reading;
use super::online::{self, INDEX_ROWS_MAX, shares};
use super::open;
use super::params::{ScoreParams, Unknown};
use crate::kind::{Estimate, Fold, Material, Opened, OpenedVector, Plan, Safeguard};

/// A checked job of one kind of score.
pub(super) trait Job: Send + Sync {
    /// What an input of its plan may be.
    type Input;
    /// The family of the models that it uses.
    const FAMILY: ModelFamily;

    /// What all kinds have in common.
    fn score(&self) -> &ScoreParams;

    /// The fewest owners of data.
    fn providers_min(&self) -> usize;

    /// What is computed on shares, where that is how.
    fn circuit(&self) -> Option<&Arc<Circuit<Self::Input>>>;

    /// A party's local half. Only owners of data take `wanted`.
    ///
    /// # Errors
    /// `refused.parties` for whoever has no part; what is wrong with the material.
    fn fold(
        &self,
        owner: &NodeId,
        wanted: &dyn Fn() -> Result<Wanted, Fault>,
        model: Option<&[u8]>,
    ) -> Result<Box<dyn Fold>, Fault>;
}

/// A plan of such a job.
pub(super) struct ScorePlan<J>(pub J);

impl<J: Job> ScorePlan<J> {
    /// The most rows that an owner with so many features brings to a window.
    fn rows_max(&self, features: usize) -> u64 {
        if self.0.circuit().is_some() { shares::rows::rows_max(features) } else { INDEX_ROWS_MAX }
    }
}

/// Cells that the recipient opens: its numbers, and in verified mode what it checks them with.
fn cells(params: &ScoreParams) -> u64 {
    if params.verified.is_some() { checked::cells(params.numbers()) } else { params.numbers() }
}

/// What the result is called where parties that deviate are found. Every party attests what it saw opened under its name,
/// so the receipt says by this one that the job was verified.
pub const VERIFIED_RESULT: &str = "verified result";

/// The scores.
pub(super) fn result_disclosure(params: &ScoreParams) -> Disclosure {
    let what = if params.verified.is_some() { VERIFIED_RESULT } else { "result" };
    Disclosure { what: what.into(), to: Audience::Recipient, cells_max: cells(params) }
}

impl<J: Job> Plan for ScorePlan<J> {
    fn facts(&self, owner: &NodeId) -> JobFacts {
        let params = self.0.score();
        let own = params.columns(owner);
        let features = own.into_iter().flat_map(|o| &o.features).map(|c| (c.clone(), Use::Score));
        let key = own.filter(|_| params.aligned.is_none()).map(|o| (o.key.clone(), Use::Key));
        let precision: Precision = params.output.precision;
        JobFacts {
            uses: features.chain(key).collect(),
            providers_min: self.0.providers_min(),
            rows_max: params.online.map(|_| self.rows_max(own.map_or(0, |o| o.features.len()))),
            score: Some(ScoreFacts {
                rows: params.rows,
                precision,
                decimals: params.output.digits(),
                unknown: match params.unknown {
                    Unknown::Default => UnknownKeys::Hidden,
                    Unknown::Refuse => UnknownKeys::Any,
                    Unknown::Flag => UnknownKeys::Each,
                },
                family: J::FAMILY,
                verified: params.verified.is_some(),
            }),
            checked: None,
            privacy: None,
        }
    }

    fn online(&self) -> Option<OnlineFacts> {
        let params = self.0.score();
        params.online.map(|online| online.facts(params))
    }

    fn window(&self) -> Option<Reading> {
        Reading::new(self.0.score(), self.0.circuit().map(Arc::as_ref))
    }

    fn rows_of(&self) -> Option<JobId> {
        self.0.score().aligned
    }

    fn disclosures(&self) -> Vec<Disclosure> {
        vec![result_disclosure(self.0.score())]
    }

    fn local_query(&self, owner: &NodeId, view: &str) -> LocalQuery {
        let own = self.0.score().columns(owner);
        let mut columns: Vec<String> = own.map(|o| o.features.clone()).unwrap_or_default();
        columns.extend(own.filter(|_| self.0.score().aligned.is_none()).map(|o| o.key.clone()));
        LocalQuery { view: view.to_owned(), columns, filter: None }
    }

    fn fold(&self, owner: &NodeId, material: Material) -> Result<Box<dyn Fold>, Fault> {
        let list = material.attachments.get(keys::ATTACHMENT).map_or(&[][..], Vec::as_slice);
        let wanted = || Wanted::decode(list, self.0.score().rows);
        self.0.fold(owner, &wanted, material.model.as_deref())
    }

    fn estimate(&self, parties: usize) -> Estimate {
        let cells = cells(self.0.score());
        let sealed = u64::from(self.0.score().verified.is_some());
        let collect = cells * 8 + (400 + 32 * sealed) * parties as u64;
        let Some(circuit) = self.0.circuit() else { return Estimate { cells, bytes_up: collect, rounds: 6 } };
        let cost = circuit.plan.cost();
        let sent = cost.sent.iter().map(|to| to.iter().sum()).chain([cost.dealt.iter().sum()]);
        // Of a window: before the first call, then for each batch.
        let times = if self.0.score().online.is_some() { 1 } else { u64::from(cost.tiles) };
        let rounds = 6 + sealed + u64::from(cost.rounds_once) + u64::from(cost.rounds_tile) * times;
        Estimate { cells, bytes_up: collect + sent.max().unwrap_or(0), rounds }
    }

    fn safeguard(&self, parties: usize) -> Option<Safeguard> {
        let (audits, cost) = (self.0.score().verified?, self.0.circuit()?.plan.cost());
        let Estimate { cells, .. } = self.estimate(parties);
        let collect = cells * 8 + 400 * parties as u64;
        let most = cost.sent.iter().map(|to| to.iter().sum()).max().unwrap_or(0);
        Some(Safeguard { audits, sent: collect + most, dealt: cost.dealt.iter().sum() })
    }

    fn open(&self, package: &[u8], open: &dyn Fn(&[u8]) -> Result<OpenedVector, Fault>) -> Result<Opened, Fault> {
        if self.0.score().online.is_some() {
            return online::summary(package);
        }
        let (params, circuit, mut opened) = (self.0.score(), self.0.circuit(), open(package)?);
        if let (Some(_), Some(circuit)) = (params.verified, circuit) {
            opened = checked::open(opened, params.numbers(), circuit.parties.len())?;
        }
        open::scores(params, circuit.map(|c| c.sums()), opened)
    }
}
