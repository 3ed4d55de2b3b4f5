//! What a contract allows noisy releases to cost, and the decision over one more.

use tacit_types::{Code, DatasetVersionId, Fault, Hash, JobId};

use crate::contract::Contract;

/// The largest epsilon that a contract may state, in millionths. It promises nothing any more.
pub const EPSILON_MICRO_MAX: u64 = 100_000_000;
/// The largest delta that a contract may state, in parts of 10^15: one in ten thousand.
pub const DELTA_FEMTO_MAX: u64 = 100_000_000_000;

/// What a release costs, or releases cost together: epsilons and deltas add.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct PrivacyCost {
    /// Epsilon in millionths.
    #[n(1)]
    pub epsilon_micro: u64,
    /// Delta in parts of 10^15.
    #[n(2)]
    pub delta_femto: u64,
}

impl PrivacyCost {
    /// Both together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            epsilon_micro: self.epsilon_micro.saturating_add(other.epsilon_micro),
            delta_femto: self.delta_femto.saturating_add(other.delta_femto),
        }
    }

    /// Whether it is no more than that in either.
    pub const fn within(self, most: Self) -> bool {
        self.epsilon_micro <= most.epsilon_micro && self.delta_femto <= most.delta_femto
    }

    /// What is left of it after `spent`.
    #[must_use]
    pub const fn left(self, spent: Self) -> Self {
        Self {
            epsilon_micro: self.epsilon_micro.saturating_sub(spent.epsilon_micro),
            delta_femto: self.delta_femto.saturating_sub(spent.delta_femto),
        }
    }
}

/// As decimals: `epsilon 0.25, delta 0.000000001`.
impl core::fmt::Display for PrivacyCost {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (epsilon, delta) = (decimal(self.epsilon_micro, 6), decimal(self.delta_femto, 15));
        write!(f, "epsilon {epsilon}, delta {delta}")
    }
}

/// `parts` of ten to the `places` as a decimal.
pub fn decimal(parts: u64, places: u32) -> String {
    let one = 10u64.pow(places.min(19));
    let (whole, rest) = (parts / one, parts % one);
    let digits = format!("{rest:0width$}", width = places as usize);
    let digits = digits.trim_end_matches('0');
    if digits.is_empty() { whole.to_string() } else { format!("{whole}.{digits}") }
}

/// The terms of a contract under which noisy releases are made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct PrivacyTerms {
    /// What all releases may have cost a dataset version, those of other contracts too, once a job of this one is done. It
    /// is not renewed while the contract is valid.
    #[n(1)]
    pub budget: PrivacyCost,
    /// Epsilon of one job at most, in millionths.
    #[n(2)]
    pub job_epsilon_micro: u64,
    /// Whether there are no other releases: a job without noise is refused.
    #[n(3)]
    pub only: bool,
}

impl PrivacyTerms {
    /// Whether the terms allow something, and no more than a contract may state.
    pub fn is_sound(&self) -> bool {
        let most = PrivacyCost { epsilon_micro: EPSILON_MICRO_MAX, delta_femto: DELTA_FEMTO_MAX };
        self.budget.within(most)
            && self.budget.delta_femto > 0
            && (1..=self.budget.epsilon_micro).contains(&self.job_epsilon_micro)
    }
}

/// What this owner's store knows of noisy releases.
#[derive(Clone, Copy)]
pub struct PrivacyLedger<'a> {
    /// What jobs have cost a dataset version, under whichever contract: readers of different contracts can talk.
    pub spent: &'a dyn Fn(&DatasetVersionId) -> PrivacyCost,
    /// The job that asks the same, and runs or has its answer: see [`JobSpec::question`](crate::JobSpec::question).
    pub asked: &'a dyn Fn(&Hash) -> Option<JobId>,
}

impl PrivacyLedger<'_> {
    /// That of a store without any.
    pub const EMPTY: PrivacyLedger<'static> =
        PrivacyLedger { spent: &|_| PrivacyCost { epsilon_micro: 0, delta_femto: 0 }, asked: &|_| None };
}

/// A job's cost is within the contract's terms, and nobody has the answer already. Gives what is charged to this owner's
/// dataset.
///
/// # Errors
/// `refused.unprivate`, `refused.budget`, `refused.repeated`.
pub(crate) fn check(
    terms: &Contract,
    dataset: Option<&DatasetVersionId>,
    cost: Option<PrivacyCost>,
    question: impl FnOnce() -> Hash,
    ledger: &PrivacyLedger<'_>,
) -> Result<Option<PrivacyCost>, Fault> {
    let refuse = |code: Code, what: String| Err(Fault::new(code, what));
    let Some(cost) = cost else {
        return match terms.privacy {
            Some(PrivacyTerms { only: true, .. }) => {
                refuse(Code::RefusedUnprivate, format!("contract `{}` has no releases without noise", terms.name))
            }
            _ => Ok(None),
        };
    };
    let Some(allowed) = terms.privacy else {
        return refuse(Code::RefusedBudget, format!("contract `{}` has no terms of privacy", terms.name));
    };
    if cost.epsilon_micro > allowed.job_epsilon_micro {
        let most = decimal(allowed.job_epsilon_micro, 6);
        return refuse(Code::RefusedBudget, format!("{cost}; one job may cost epsilon {most}"));
    }
    if let Some(job) = (ledger.asked)(&question()) {
        let what = format!("job {} asks the same; its answer is the answer", job.short());
        return refuse(Code::RefusedRepeated, what);
    }
    let Some(dataset) = dataset else { return Ok(None) };
    let left = allowed.budget.left((ledger.spent)(dataset));
    if !cost.within(left) {
        return refuse(Code::RefusedBudget, format!("{cost}; left are {left} of {}", allowed.budget));
    }
    Ok(Some(cost))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_read_as_decimals() {
        assert_eq!(decimal(250_000, 6), "0.25");
        assert_eq!(decimal(3_000_000, 6), "3");
        assert_eq!(decimal(1, 15), "0.000000000000001");
        assert_eq!(decimal(0, 6), "0");
        let cost = PrivacyCost { epsilon_micro: 1_500_000, delta_femto: 1_000_000 };
        assert_eq!(cost.to_string(), "epsilon 1.5, delta 0.000000001");
    }

    #[test]
    fn terms_that_allow_nothing_or_everything_are_unsound() {
        let terms = |epsilon_micro, delta_femto, job_epsilon_micro| PrivacyTerms {
            budget: PrivacyCost { epsilon_micro, delta_femto },
            job_epsilon_micro,
            only: false,
        };
        assert!(terms(EPSILON_MICRO_MAX, DELTA_FEMTO_MAX, EPSILON_MICRO_MAX).is_sound() && terms(1, 1, 1).is_sound());
        for bad in [
            terms(EPSILON_MICRO_MAX + 1, 1, 1),
            terms(1, DELTA_FEMTO_MAX + 1, 1),
            terms(1, 0, 1),
            terms(0, 1, 0),
            terms(2, 1, 0),
            terms(2, 1, 3),
        ] {
            assert!(!bad.is_sound(), "{bad:?}");
        }
    }

    #[test]
    fn nothing_overflows() {
        let most = PrivacyCost { epsilon_micro: u64::MAX, delta_femto: u64::MAX };
        assert_eq!(most.and(most), most);
        assert_eq!(PrivacyCost::default().left(most), PrivacyCost::default());
    }
}
