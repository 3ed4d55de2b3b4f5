//! Revocation and suspension by any party, versions and who succeeds whom in them, and the state that follows.

use tacit_governance::lifecycle::{SUCCESSIONS_MAX, VERSIONS_MAX, replaced_by, stage, standing, versions_before};
use tacit_governance::{Lifecycle, Revocation, Stage, Succession};

use super::*;

const SUCCESSOR: u8 = 6;

fn said(by: u8, contract: ContractId, until: Option<u64>) -> Order {
    let body = Revocation { contract, reason: "purpose is over".into(), until: until.map(UnixMillis) };
    Order::read(Statement::sign(&key(by), "", NOW, None, body).bytes()).unwrap()
}

fn decide(orders: Vec<Order>) -> Option<Code> {
    Case::new().other(|c| c.orders = orders).decide().err().map(|f| f.code)
}

#[test]
fn a_revocation_or_suspension_of_a_party_stops_the_contract_and_a_strangers_does_not() {
    let id = Case::new().contract.id();
    for party in [1, 2, 3, DEMANDER] {
        assert_eq!(decide(vec![said(party, id, None)]), Some(Code::RefusedContractRevoked), "{party}");
        assert_eq!(decide(vec![said(party, id, Some(NOW.0 + 1))]), Some(Code::RefusedContractSuspended), "{party}");
        // One that has passed lifts itself.
        assert_eq!(decide(vec![said(party, id, Some(NOW.0))]), None, "{party}");
    }
    for other in [said(STRANGER, id, None), said(OPERATOR, id, None), said(1, ContractId([9; 32]), None)] {
        assert_eq!(decide(vec![other]), None);
    }
    // For good is more than for a time, in either order, and nothing is later than it.
    let (good, time) = (said(1, id, None), said(2, id, Some(NOW.0 + 9)));
    for both in [vec![good.clone(), time.clone()], vec![time.clone(), good.clone()]] {
        assert_eq!(decide(both), Some(Code::RefusedContractRevoked));
    }
    assert_eq!((good.number(), good.subject()), (u64::MAX, id.to_string()));
    assert!(time.number() < good.number());
    let reason = Case::new().other(|c| c.orders = vec![good]).decide().unwrap_err().what;
    assert!(reason.contains("owner-1") && reason.contains("purpose is over"), "{reason}");
    let empty = Revocation { contract: id, reason: " ".into(), until: None };
    assert!(Order::read(Statement::sign(&key(1), "", NOW, None, empty).bytes()).is_err());
}

/// A version after the usual contract, signed by those.
fn after(signers: &[u8], change: impl FnOnce(&mut Contract)) -> SignedContract {
    let mut case = Case::new();
    let amends = Some(case.contract.id());
    case.contract.lifecycle = Some(Lifecycle { amends, ..Lifecycle::default() });
    case.contract.valid_from = NOW;
    change(&mut case.contract);
    case.signers = signers.to_vec();
    case.signed()
}

#[test]
fn a_version_takes_the_place_of_the_one_before_once_all_have_signed_and_it_begins() {
    let old = Case::new().signed();
    let says = |newer: &SignedContract, now: u64| {
        let known = [old.clone(), newer.clone()];
        standing(&old, &known, &[], &[], UnixMillis(now)).err().map(|f| f.code)
    };
    let all = [1, 2, 3, DEMANDER];
    let newer = after(&all, |_| ());
    assert_eq!(says(&newer, NOW.0), Some(Code::RefusedContractReplaced));
    assert_eq!(says(&newer, NOW.0 - 1), None, "it has not begun");
    // The new one is good, and the job that names the old one is refused by its code.
    let known = [old.clone(), newer.clone()];
    assert!(standing(&newer, &known, &[], &[], NOW).is_ok());
    let job = Statement::sign(&key(OPERATOR), "job", NOW, None, Case::new().job);
    let judged = Case::new().judge(&job, &known);
    assert_eq!(judged.decision.unwrap_err().code, Code::RefusedContractReplaced);
    assert_eq!(versions_before(&newer, &known).iter().map(|c| c.id()).collect::<Vec<_>>(), [old.id()]);
    // One who has not signed, or was left out and did not sign, keeps the old one in force.
    for lacking in [&[1, 2, 3][..], &[2, 3, DEMANDER], &[]] {
        assert_eq!(says(&after(lacking, |_| ()), NOW.0), None, "{lacking:?}");
    }
    let without = after(&[1, 2, DEMANDER], |c| {
        c.parties.retain(|p| p.root != key(3).id());
        c.datasets.retain(|d| d.owner != key(3).id());
    });
    assert!(without.missing().is_empty());
    assert_eq!((says(&without, NOW.0), versions_before(&without, std::slice::from_ref(&old)).len()), (None, 0));
    // Nobody ends a contract by one that does not name it.
    let other = after(&all, |c| c.lifecycle = None);
    assert!(replaced_by(&old, &[other], NOW).is_none());
}

#[test]
fn who_succeeds_a_party_stands_in_its_place_when_both_have_signed() {
    let old = Case::new().signed();
    let succeed = |signers: &[u8]| {
        after(signers, |c| {
            let from = c.parties[2].clone();
            c.parties[2] = ContractParty { name: name("successor"), root: key(SUCCESSOR).id(), role: Role::Provider };
            c.datasets[2].owner = key(SUCCESSOR).id();
            let succession = Succession { from, to: key(SUCCESSOR).id() };
            c.lifecycle.as_mut().unwrap().successions = vec![succession];
        })
    };
    let both = succeed(&[1, 2, 3, DEMANDER, SUCCESSOR]);
    assert_eq!(both.body().faults(), Vec::<String>::new());
    assert!(both.missing().is_empty() && replaced_by(&old, std::slice::from_ref(&both), NOW).is_some());
    for lacking in [&[1, 2, DEMANDER, SUCCESSOR][..], &[1, 2, 3, DEMANDER]] {
        let one = succeed(lacking);
        assert_eq!(one.missing().len(), 1);
        assert!(replaced_by(&old, &[one], NOW).is_none(), "{lacking:?}");
    }
    // As many as may be, and one more.
    let many = |n: usize| {
        let from =
            |i: usize| ContractParty { name: name("before"), root: NodeId([i as u8; 32]), role: Role::Coordinator };
        let to = key(SUCCESSOR).id();
        let successions = (1..=n).map(|i| Succession { from: from(i), to }).collect();
        let lifecycle = Lifecycle { amends: Some(old.id()), successions, deletion_days: None };
        Contract { lifecycle: Some(lifecycle), ..both.body().clone() }.faults()
    };
    assert_eq!(many(SUCCESSIONS_MAX), Vec::<String>::new());
    assert_eq!(many(SUCCESSIONS_MAX + 1).len(), 1);
    // What cannot be kept to.
    let lifecycle = both.body().lifecycle.clone().unwrap();
    let one = lifecycle.successions[0].clone();
    let stranger = Succession { to: key(STRANGER).id(), ..one.clone() };
    let still = Succession { from: both.body().parties[0].clone(), ..one.clone() };
    for bad in [
        Lifecycle::default(),
        Lifecycle { amends: None, ..lifecycle.clone() },
        Lifecycle { successions: vec![one.clone(), one], ..lifecycle.clone() },
        Lifecycle { successions: vec![stranger], ..lifecycle.clone() },
        Lifecycle { successions: vec![still], ..lifecycle.clone() },
        Lifecycle { deletion_days: Some(0), ..lifecycle.clone() },
        Lifecycle { deletion_days: Some(tacit_governance::lifecycle::DELETION_DAYS_MAX + 1), ..lifecycle },
    ] {
        let terms = Contract { lifecycle: Some(bad.clone()), ..both.body().clone() };
        assert_ne!(terms.faults(), Vec::<String>::new(), "{bad:?}");
    }
}

#[test]
fn versions_are_followed_so_far_and_no_further() {
    let mut known = vec![Case::new().signed()];
    for n in 1..=VERSIONS_MAX as u64 + 1 {
        let before = known.last().unwrap().id();
        known.push(after(&[1, 2, 3, DEMANDER], |c| {
            c.quota.jobs += n;
            c.lifecycle = Some(Lifecycle { amends: Some(before), ..Lifecycle::default() });
        }));
    }
    let before = |n: usize| versions_before(&known[n], &known).len();
    assert_eq!((before(0), before(1), before(VERSIONS_MAX)), (0, 1, VERSIONS_MAX));
    assert_eq!(before(VERSIONS_MAX + 1), VERSIONS_MAX);
}

#[test]
fn a_contract_goes_through_its_states() {
    let revoked = Fault::new(Code::RefusedContractRevoked, "");
    let suspended = Fault::new(Code::RefusedContractSuspended, "");
    let of = |signers: &[u8], now: u64| {
        let signed = Case::new().other(|c| c.signers = signers.to_vec()).signed();
        stage(&signed, Ok(()), UnixMillis(now))
    };
    let all = [1, 2, 3, DEMANDER];
    assert_eq!((of(&[DEMANDER], NOW.0), of(&[], NOW.0)), (Stage::Requested, Stage::Requested));
    assert_eq!((of(&[1], NOW.0), of(&[1, DEMANDER], NOW.0)), (Stage::Offered, Stage::Accepted));
    assert_eq!((of(&all, NOW.0 - 11), of(&all, NOW.0)), (Stage::Verified, Stage::Finalised));
    assert_eq!(of(&all, NOW.0 + 10), Stage::Terminated);
    let signed = Case::new().signed();
    assert_eq!(stage(&signed, Err(&revoked), NOW), Stage::Terminated);
    assert_eq!(stage(&signed, Err(&suspended), NOW), Stage::Finalised, "it passes");
    let unapproved = control::controlled().other(|c| c.approvers.clear()).signed();
    assert_eq!(stage(&unapproved, Ok(()), NOW), Stage::Agreed);
}
