//! Contracts that bind a price plan, and coordinators that break a promise.

use super::*;

/// A contract that names a price is used once that price is signed: for this contract, in these terms.
#[test]
fn a_job_waits_for_the_signatures_of_its_price_plan() {
    let (terms, other) = (Hash([5; 32]), Hash([6; 32]));
    let priced = |signed: &dyn Fn(ContractId) -> Option<(ContractId, Hash)>| {
        let mut case = Case::new();
        case.contract.price_plan = Some(terms);
        let id = case.contract.id();
        case.job.contracts = vec![id];
        case.priced = signed(id).map(|(of, terms)| (Some(of), terms));
        case.decide()
    };
    assert!(priced(&|id| Some((id, terms))).is_ok());
    for fault in [priced(&|_| None), priced(&|id| Some((id, other))), priced(&|_| Some((ContractId([1; 32]), terms)))] {
        assert_eq!(fault.unwrap_err().code, Code::RefusedPriceUnsigned);
    }
    assert!(Case::new().decide().is_ok(), "a contract without a price asks for none");
}

/// A coordinator that promised a receipt and did not log it is given no more uses, whatever the job.
#[test]
fn no_job_is_taken_from_a_coordinator_that_broke_a_promise() {
    let mut case = Case::new();
    case.unkept = Some(Hash([9; 32]));
    let fault = case.decide().unwrap_err();
    assert_eq!(fault.code, Code::RefusedPromiseUnkept);
    assert!(fault.what.contains(&Hash([9; 32]).to_string()), "{}", fault.what);
}
