//! `cross-stats/v1`: how columns of one owner go with columns of another, over the keys that both have, of which nobody
//! learns which they are.
//!
//! Both have aligned by ids ([`AlignLevel::Spine`](tacit_governance::AlignLevel)). Each brings for every id whether it has
//! a usable row, and its values, zeroes where it has none; sums of products are made on shares, with randomness from a
//! dealer. What too few matched rows carry is taken out on shares too, and the rest goes to the recipient.

mod circuit;
mod fold;
mod open;
pub mod params;

use std::sync::Arc;

use tacit_crypto::cbor;
use tacit_governance::{Cohort, JobFacts, Use};
use tacit_protocol::{Audience, Disclosure};
use tacit_types::{Code, Fault, JobId, Lang, LocalQuery, NodeId};

use self::circuit::Layout;
use self::params::CrossParams;
use crate::kind::{ColumnKinds, Draft, Estimate, Fold, Kind, Material, Opened, OpenedVector, Parts, Plan};
use crate::shares::{Circuit, OnShares, SharesFold};

/// The kind.
pub struct CrossStats;

impl Kind for CrossStats {
    fn id(&self) -> &'static str {
        "cross-stats/v1"
    }

    fn title(&self, lang: Lang) -> &'static str {
        match lang {
            Lang::En => "how columns of two owners go together over the keys that both have, whoever they are",
            Lang::Zh => "双方列在共有键上的联合统计（各节点均不知哪些键共有）",
        }
    }

    fn template(&self) -> &'static str {
        include_str!("cross.toml")
    }

    fn params(&self, _: serde_json::Value, _: &ColumnKinds) -> Result<Vec<u8>, Fault> {
        Err(Fault::new(Code::RefusedParameters, "statistics across owners are written with their providers"))
    }

    fn draft(&self, written: serde_json::Value, draft: &Draft) -> Result<Vec<u8>, Fault> {
        let params = params::read(written, draft)?;
        params.check()?;
        Ok(cbor::encode(&params))
    }

    fn plan(&self, params: &[u8], parts: &Parts<'_>) -> Result<Box<dyn Plan>, Fault> {
        let refused = |e| Fault::new(Code::RefusedParameters, format!("the parameters of {} are {e}", self.id()));
        let params: CrossParams = cbor::decode(params).map_err(refused)?;
        params.check()?;
        let dealer = params.fits(parts)?;
        let job = CrossJob { params, dealer };
        // What any floor needs; sizes of messages are found here.
        let circuit = job.made(1)?;
        Ok(Box::new(CrossPlan { job: Arc::new(job), circuit }))
    }
}

struct CrossJob {
    params: CrossParams,
    dealer: NodeId,
}

impl CrossJob {
    /// The plan under a floor of matched rows.
    fn made(&self, floor: u64) -> Result<Circuit, Fault> {
        circuit::build(&self.params, self.dealer, floor)
    }
}

impl OnShares for CrossJob {
    fn alignment(&self) -> JobId {
        self.params.alignment
    }

    fn fold(&self, owner: &NodeId, ids: u64) -> Result<Box<dyn SharesFold>, Fault> {
        let place = self.params.owners.iter().position(|o| o.owner == *owner);
        let place = place.ok_or_else(|| Fault::new(Code::RefusedParties, "this owner has no columns in the job"))?;
        if ids > self.params.rows {
            let what = format!("rows: room for {}, and the alignment has more ids", self.params.rows);
            return Err(Fault::new(Code::RefusedParameters, what));
        }
        Ok(Box::new(fold::CrossFold::new(&self.params, place, ids as usize)))
    }

    fn circuit(&self, floor: Cohort) -> Result<Circuit, Fault> {
        // Each matched row is one of both, and there are no others.
        let owners = self.params.owners.len();
        if usize::from(floor.contributors) > owners {
            let what = format!("a floor of {} contributors, of {owners} owners", floor.contributors);
            return Err(Fault::new(Code::RefusedCohort, what));
        }
        self.made(floor.rows)
    }

    fn disclosure(&self) -> Disclosure {
        let numbers = Layout::new(&self.params).numbers();
        Disclosure { what: "result".into(), to: Audience::Recipient, cells_max: numbers }
    }
}

/// A checked job.
struct CrossPlan {
    job: Arc<CrossJob>,
    circuit: Circuit,
}

impl Plan for CrossPlan {
    fn facts(&self, owner: &NodeId) -> JobFacts {
        let own = self.job.params.of(owner).iter();
        JobFacts {
            uses: own.map(|c| (c.column.clone(), Use::Aggregate)).collect(),
            providers_min: 2,
            rows_max: None,
            score: None,
            // The recipient's sum is made by one node, as any masked sum is, and nobody checks it.
            checked: Some(false),
            privacy: None,
        }
    }

    fn on_shares(&self) -> Option<Arc<dyn OnShares>> {
        Some(self.job.clone())
    }

    fn disclosures(&self) -> Vec<Disclosure> {
        vec![self.job.disclosure()]
    }

    fn local_query(&self, owner: &NodeId, view: &str) -> LocalQuery {
        let columns = self.job.params.of(owner).iter().map(|c| c.column.clone()).collect();
        LocalQuery { view: view.to_owned(), columns, filter: None }
    }

    fn fold(&self, _: &NodeId, _: Material) -> Result<Box<dyn Fold>, Fault> {
        Err(Fault::new(Code::JobInternal, "a kind that computes on shares reads rows by their ids alone"))
    }

    fn estimate(&self, parties: usize) -> Estimate {
        let (cells, cost) = (self.circuit.numbers, self.circuit.plan.cost());
        let sent = cost.sent.iter().map(|to| to.iter().sum()).chain([cost.dealt.iter().sum()]);
        let collect = cells * 8 + 400 * parties as u64;
        // The comparison of ids is one more.
        Estimate { cells, bytes_up: collect + sent.max().unwrap_or(0), rounds: 7 + u64::from(cost.rounds_once) }
    }

    fn open(&self, package: &[u8], open: &dyn Fn(&[u8]) -> Result<OpenedVector, Fault>) -> Result<Opened, Fault> {
        open::open(&self.job.params, &self.circuit.plan, &open(package)?)
    }
}
