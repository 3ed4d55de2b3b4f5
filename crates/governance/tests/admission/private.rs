//! What noisy releases cost.

use tacit_governance::PrivacyTerms;

use super::*;

const BUDGET: PrivacyCost = PrivacyCost { epsilon_micro: 2_000_000, delta_femto: 3_000_000 };
const COST: PrivacyCost = PrivacyCost { epsilon_micro: 500_000, delta_femto: 1_000_000 };

/// A job that costs [`COST`], of a budget of [`BUDGET`] of which all but this is spent.
pub fn private(only: bool) -> Case {
    Case::new().contract(|c| c.privacy = Some(PrivacyTerms { budget: BUDGET, job_epsilon_micro: 500_000, only })).other(
        |c| {
            c.facts.as_mut().unwrap().privacy = Some(COST);
            c.spent = PrivacyCost { epsilon_micro: 1_500_000, delta_femto: 2_000_000 };
        },
    )
}

fn code(case: Case) -> Code {
    case.decide().unwrap_err().code
}

#[test]
fn the_last_of_the_budget_can_be_spent_and_no_more() {
    assert_eq!(private(false).decide().unwrap().privacy, Some(COST));
    let more = |epsilon_micro, delta_femto| {
        private(false)
            .other(|c| c.spent = c.spent.and(PrivacyCost { epsilon_micro, delta_femto }))
            .decide()
            .unwrap_err()
    };
    let fault = more(1, 0);
    assert_eq!(fault.code, Code::RefusedBudget);
    assert!(fault.what.contains("left are epsilon 0.499999, delta 0.000000001 of epsilon 2"), "{}", fault.what);
    assert_eq!(more(0, 1).code, Code::RefusedBudget);
    assert_eq!(more(u64::MAX, u64::MAX).code, Code::RefusedBudget);
    assert_eq!(
        code(private(false).other(|c| c.facts.as_mut().unwrap().privacy.as_mut().unwrap().epsilon_micro += 1)),
        Code::RefusedBudget
    );
}

#[test]
fn one_job_costs_no_more_than_one_may_even_of_a_full_budget() {
    let fresh = |epsilon_micro| {
        private(false).other(|c| {
            c.spent = PrivacyCost::default();
            c.facts.as_mut().unwrap().privacy = Some(PrivacyCost { epsilon_micro, ..COST });
        })
    };
    assert!(fresh(500_000).decide().is_ok());
    let fault = fresh(500_001).decide().unwrap_err();
    assert_eq!(fault.code, Code::RefusedBudget);
    assert!(fault.what.ends_with("one job may cost epsilon 0.5"), "{}", fault.what);
}

#[test]
fn noise_needs_terms_and_terms_may_need_noise() {
    assert_eq!(code(private(false).contract(|c| c.privacy = None)), Code::RefusedBudget);
    let exact = |only| {
        private(false)
            .contract(|c| c.privacy.as_mut().unwrap().only = only)
            .other(|c| c.facts.as_mut().unwrap().privacy = None)
    };
    assert_eq!(exact(false).decide().unwrap().privacy, None);
    assert_eq!(code(exact(true)), Code::RefusedUnprivate);
    assert!(private(false).contract(|c| c.privacy.as_mut().unwrap().only = true).decide().is_ok());
}

#[test]
fn what_was_asked_is_not_asked_again() {
    let fault = private(false).other(|c| c.asked = Some(JobId([9; 32]))).decide().unwrap_err();
    assert_eq!(fault.code, Code::RefusedRepeated);
    assert!(fault.what.contains(&JobId([9; 32]).short()), "{}", fault.what);
    // Exact answers are the same each time.
    let exact = private(false).other(|c| {
        c.asked = Some(JobId([9; 32]));
        c.facts.as_mut().unwrap().privacy = None;
    });
    assert!(exact.decide().is_ok());
}

#[test]
fn unsound_terms_are_no_contract() {
    let faulty = |epsilon: u64| private(false).contract(|c| c.privacy.as_mut().unwrap().job_epsilon_micro = epsilon);
    assert_eq!(code(faulty(0)), Code::RefusedContractIncomplete);
    assert_eq!(code(faulty(2_000_001)), Code::RefusedContractIncomplete);
}

#[test]
fn exact_questions_differ_by_two_rows_and_by_no_more_than_a_node_remembers() {
    use tacit_governance::ExactTerms;
    use tacit_governance::exact::{CHANGE_ROWS_MAX, CHANGE_ROWS_MIN};
    let differ = |change_min| private(false).contract(|c| c.exact = Some(ExactTerms { change_min }));
    assert!(differ(CHANGE_ROWS_MIN).decide().is_ok() && differ(CHANGE_ROWS_MAX).decide().is_ok());
    assert_eq!(code(differ(CHANGE_ROWS_MIN - 1)), Code::RefusedContractIncomplete);
    assert_eq!(code(differ(CHANGE_ROWS_MAX + 1)), Code::RefusedContractIncomplete);
    // A contract without the term has the bytes that it had.
    let bytes = |exact| tacit_crypto::cbor::encode(&Contract { exact, ..private(false).contract });
    assert!(bytes(Some(ExactTerms { change_min: 9 })).len() > bytes(None).len());
    assert_eq!(tacit_crypto::cbor::decode::<Contract>(&bytes(None)).unwrap().exact, None);
}

#[test]
fn a_question_is_the_same_whoever_asks_it_and_when() {
    let job = private(false).job;
    let again = |change: fn(&mut JobSpec)| {
        let mut other = job.clone();
        change(&mut other);
        other.question() == job.question()
    };
    assert!(again(|j| j.nonce = vec![7; 16]) && again(|j| j.attempt_ms += 1));
    assert!(again(|j| (j.created_at, j.expires_at) = (NOW, NOW.plus(9))));
    assert!(!again(|j| j.params.push(0)) && !again(|j| j.contracts.clear()));
    assert!(!again(|j| j.recipient = SealPublic([8; 32])) && !again(|j| j.providers[0].view = "other".into()));
    assert!(!again(|j| j.providers.truncate(2)) && !again(|j| j.kind = "stats/v2".into()));
}
