//! `stats/v1`: count, sum, mean, variance, standard deviation, groups, histograms, quantiles,
//! covariance and correlation over the rows of several owners, exact in fixed point.
//!
//! Three phases. *Counts*: the joint number of rows and of contributing parties for every cell is
//! opened to the nodes, so that each of them applies the floor. *Quantiles*: each bracket is
//! narrowed 256-fold a round by joint counts, opened to the nodes. *Release*: the values of the
//! cells that passed are summed blind, for the recipient alone; a suppressed cell contributes
//! zeroes and a zero flag.
//!
//! With `privacy` there is one phase: noisy sums for the recipient; see [`private`].

pub mod fold;
pub(crate) mod groups;
pub mod joint;
mod mask;
pub mod open;
pub mod params;
pub mod private;
pub mod suppress;

use tacit_crypto::cbor;
use tacit_dp::SumNoise;
use tacit_governance::{JobFacts, PrivacyCost, Use};
use tacit_protocol::{Audience, Disclosure};
use tacit_secagg::Width;
use tacit_secagg::verify::price::{Price, Priced, price};
use tacit_types::{Code, Fault, Lang, LocalQuery, NodeId, Predicate};

use crate::checked;
use crate::kind::{ColumnKinds, Estimate, Fold, Kind, Material, Opened, OpenedVector, Parts, Plan};
use params::StatsParams;

/// The kind.
pub struct Stats;

/// How often the counts may be opened in one attempt: once, and once more when a party was lost
/// between counting and releasing.
pub const TRIES: u64 = 2;
/// Bins into which a quantile's bracket is cut each round.
pub const QUANTILE_BINS: usize = 256;

impl Kind for Stats {
    fn id(&self) -> &'static str {
        "stats/v1"
    }

    fn title(&self, lang: Lang) -> &'static str {
        match lang {
            Lang::En => "joint statistics over the rows of all providers",
            Lang::Zh => "对全部提供方数据行的联合统计",
        }
    }

    fn template(&self) -> &'static str {
        include_str!("template.toml")
    }

    fn params(&self, written: serde_json::Value, columns: &ColumnKinds) -> Result<Vec<u8>, Fault> {
        let params = params::from_written(written, columns)?;
        params.check()?;
        Ok(cbor::encode(&params))
    }

    fn plan(&self, params: &[u8], parts: &Parts<'_>) -> Result<Box<dyn Plan>, Fault> {
        let params: StatsParams = cbor::decode(params)
            .map_err(|e| Fault::new(Code::RefusedParameters, format!("the parameters of stats/v1 are {e}")))?;
        params.check()?;
        if params.checked {
            checked::fits(parts.providers.len(), &rounds(&params))?;
        }
        let noise = params.privacy.as_ref().map(|p| private::plan(&params, p, parts.providers.len())).transpose()?;
        Ok(Box::new(StatsPlan { params, noise }))
    }
}

/// The sums of one try: counts and the search for the nodes, the release for the recipient.
fn rounds(params: &StatsParams) -> Vec<Priced> {
    if params.privacy.is_some() {
        return private::rounds(params);
    }
    let nodes = |len: usize| Priced { width: Width::W64, len: len as u64, blind: false };
    let mut all = vec![nodes(params.count_cells())];
    all.extend((0..params.quantile_rounds()).map(|_| nodes(params.quantile_targets() * QUANTILE_BINS)));
    all.push(Priced { width: Width::W128, len: params.release_cells() as u64, blind: true });
    all
}

/// A checked `stats/v1` job.
pub struct StatsPlan {
    params: StatsParams,
    noise: Option<SumNoise>,
}

/// The joint counts, opened to the nodes.
pub fn counts_disclosure(params: &StatsParams) -> Disclosure {
    Disclosure { what: "counts".into(), to: Audience::Nodes, cells_max: TRIES * params.count_cells() as u64 }
}

/// The counts within a quantile's bracket, opened to the nodes.
pub fn quantile_disclosure(params: &StatsParams) -> Disclosure {
    let cells = params.quantile_rounds() as u64 * params.quantile_targets() as u64 * QUANTILE_BINS as u64;
    Disclosure { what: "quantile_search".into(), to: Audience::Nodes, cells_max: TRIES * cells }
}

/// The result.
pub fn result_disclosure(params: &StatsParams) -> Disclosure {
    let (what, cells_max) = match &params.privacy {
        Some(_) => (checked::noisy_name(params.checked), private::numbers(params) as u64),
        None => (checked::result_name(params.checked), TRIES * params.release_cells() as u64),
    };
    Disclosure { what, to: Audience::Recipient, cells_max }
}

impl Plan for StatsPlan {
    fn facts(&self, _: &NodeId) -> JobFacts {
        let p = &self.params;
        let mut uses: Vec<(String, Use)> = Vec::new();
        let mut add = |column: &str, usage: Use| {
            if !uses.iter().any(|(c, u)| c == column && *u == usage) {
                uses.push((column.to_owned(), usage));
            }
        };
        p.measured_columns().for_each(|c| add(c, Use::Aggregate));
        if let Some(group) = &p.group_by {
            add(&group.column, Use::GroupBy);
        }
        p.filter.iter().flat_map(Predicate::columns).for_each(|c| add(c, Use::Filter));
        let cost = |p: &private::Privacy| PrivacyCost { epsilon_micro: p.epsilon_micro, delta_femto: p.delta_femto };
        JobFacts {
            uses,
            providers_min: 3,
            rows_max: Some(p.rows_max),
            score: None,
            checked: Some(p.checked),
            privacy: p.privacy.as_ref().map(cost),
        }
    }

    fn disclosures(&self) -> Vec<Disclosure> {
        if self.params.privacy.is_some() {
            return vec![result_disclosure(&self.params)];
        }
        let mut all = vec![counts_disclosure(&self.params)];
        if self.params.quantile_targets() > 0 {
            all.push(quantile_disclosure(&self.params));
        }
        all.push(result_disclosure(&self.params));
        all
    }

    fn local_query(&self, _: &NodeId, view: &str) -> LocalQuery {
        let mut columns: Vec<String> = Vec::new();
        let grouped = self.params.group_by.iter().map(|g| g.column.as_str());
        for column in self.params.measured_columns().chain(grouped) {
            if !columns.iter().any(|c| c == column) {
                columns.push(column.to_owned());
            }
        }
        LocalQuery { view: view.to_owned(), columns, filter: self.params.filter.clone() }
    }

    fn fold(&self, _: &NodeId, _: Material) -> Result<Box<dyn Fold>, Fault> {
        Ok(Box::new(fold::StatsFold::new(self.params.clone(), self.noise)))
    }

    fn estimate(&self, parties: usize) -> Estimate {
        let p = &self.params;
        let checks = self.checks(parties).map_or(0, |price| price.member);
        if p.privacy.is_some() {
            let cells = private::numbers(p) as u64;
            return Estimate { cells, bytes_up: cells * 16 + parties as u64 * 180 + checks, rounds: 7 };
        }
        let search = (p.quantile_rounds() * p.quantile_targets() * QUANTILE_BINS) as u64;
        let (counts, release) = (p.count_cells() as u64, p.release_cells() as u64);
        let rounds = 2 + p.quantile_rounds() as u64;
        // A sealed pair of shares for each peer and round key, and the fixed part of each round.
        let setup = rounds * parties as u64 * 180;
        Estimate {
            cells: counts + search + release,
            bytes_up: (counts + search) * 8 + release * 16 + setup + checks,
            rounds: 3 + 4 * rounds,
        }
    }

    fn checks(&self, parties: usize) -> Option<Price> {
        self.params.checked.then(|| price(parties, rounds(&self.params)))
    }

    fn open(&self, package: &[u8], open: &dyn Fn(&[u8]) -> Result<OpenedVector, Fault>) -> Result<Opened, Fault> {
        match (&self.params.privacy, &self.noise) {
            (Some(privacy), Some(noise)) => private::open::open(&self.params, privacy, noise, &open(package)?),
            _ => open::open(&self.params, &open(package)?),
        }
    }
}
