//! What a job would take of each limit at an owner's node, for who plans it. Nothing is taken.

use serde::{Deserialize, Serialize};
use tacit_types::UnixMillis;

use super::{Ledger, Request, steps};

/// What is limited.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metered {
    /// Jobs of the contract.
    Jobs,
    /// Rows that may be scored under the contract.
    Rows,
    /// Epsilon of the dataset version, in millionths.
    Epsilon,
    /// Delta of the dataset version, in parts of 10^15.
    Delta,
    /// Different keys of the recipient in a period. What a job takes is the most: keys of before are not counted again.
    Keys,
    /// Alignments and counts of the same owners in any days.
    Runs,
    /// Distinct keys that the other owners bring in any days. What a job takes is the least: how many come is not known before.
    OthersKeys,
    /// Queries of one who asks in any days, where its holder answers them.
    Queries,
}

impl Metered {
    /// Everything that is limited.
    pub const ALL: [Metered; 8] = [
        Metered::Jobs,
        Metered::Rows,
        Metered::Epsilon,
        Metered::Delta,
        Metered::Keys,
        Metered::Runs,
        Metered::OthersKeys,
        Metered::Queries,
    ];

    /// The word used in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Metered::Jobs => "jobs",
            Metered::Rows => "rows",
            Metered::Epsilon => "epsilon",
            Metered::Delta => "delta",
            Metered::Keys => "keys",
            Metered::Runs => "runs",
            Metered::OthersKeys => "others_keys",
            Metered::Queries => "queries",
        }
    }

    /// Digits after the point when it is written as a decimal.
    pub const fn places(self) -> u32 {
        match self {
            Metered::Epsilon => 6,
            Metered::Delta => 15,
            Metered::Jobs | Metered::Rows | Metered::Keys | Metered::Runs | Metered::OthersKeys | Metered::Queries => 0,
        }
    }
}

/// One limit as it stands before a job, and what the job would take of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Meter {
    /// What is limited.
    pub what: Metered,
    /// The limit.
    pub limit: u64,
    /// What has been used of it.
    pub used: u64,
    /// What the job would take.
    pub takes: u64,
    /// When what was used, or the first of it, is free again, where it ever is.
    pub until: Option<UnixMillis>,
}

impl Meter {
    /// What is left before the job.
    pub const fn before(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }

    /// What is left after it; `None` where it does not fit.
    pub const fn after(&self) -> Option<u64> {
        self.before().checked_sub(self.takes)
    }
}

/// Limits that one answer may name.
pub const METERS_MAX: usize = Metered::ALL.len();

/// The limits that a job meets at this owner, as its store knows them. None for a job that no operator of a contract in force
/// here has signed: what others have used is not for strangers. Different keys, and what alignments take, the store counts apart.
pub fn meters(request: &Request<'_>, ledger: &Ledger<'_>) -> Vec<Meter> {
    let spec = request.job.body();
    let Ok(contract) = steps::find_contract(spec, ledger) else { return Vec::new() };
    let terms = contract.body();
    if steps::signatures(contract, ledger).is_err() || steps::operator(request, terms, ledger).is_err() {
        return Vec::new();
    }
    let meter = |what, limit, used, takes| Meter { what, limit, used, takes, until: None };
    let mut all = vec![meter(Metered::Jobs, terms.quota.jobs, (ledger.jobs_used)(&contract.id()), 1)];
    let facts = request.facts.as_ref().ok();
    if let (Some(scoring), Some(score)) = (terms.scoring, facts.and_then(|f| f.score)) {
        all.push(meter(Metered::Rows, scoring.rows, (ledger.rows_used)(&contract.id()), score.rows));
    }
    if let (Some(privacy), Some(own)) = (terms.privacy, spec.provider(&ledger.owner)) {
        let spent = (ledger.privacy.spent)(&own.dataset);
        let cost = facts.and_then(|f| f.privacy).unwrap_or_default();
        let (most, takes) = (privacy.budget, cost);
        all.push(meter(Metered::Epsilon, most.epsilon_micro, spent.epsilon_micro, takes.epsilon_micro));
        all.push(meter(Metered::Delta, most.delta_femto, spent.delta_femto, takes.delta_femto));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_has_no_rest() {
        let meter = |limit, used, takes| Meter { what: Metered::Jobs, limit, used, takes, until: None };
        assert_eq!((meter(10, 3, 1).before(), meter(10, 3, 1).after()), (7, Some(6)));
        assert_eq!((meter(10, 9, 1).after(), meter(10, 10, 1).after()), (Some(0), None));
        assert_eq!((meter(10, 12, 0).before(), meter(10, 12, 0).after(), meter(10, 12, 1).after()), (0, Some(0), None));
        let words: std::collections::BTreeSet<&str> = Metered::ALL.iter().map(|m| m.word()).collect();
        assert_eq!(words.len(), METERS_MAX);
    }
}
