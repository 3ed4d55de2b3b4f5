//! Which dispute a command means where nobody has signed one, and what it signs.

#[path = "../../../../../receipts/tests/common/mod.rs"]
mod common;

use common::World;
use common::shop::Shop;
use tacit_receipts::record::{RECORD_VERSION_DISPUTED, Sighting};
use tacit_receipts::{Ledger, Scope, TrustSource, Verifier};
use tacit_types::Seat;

use super::*;

/// A log with a receipt whose second line party 2 and party 3, which is no party of the plan, have counted otherwise.
fn disputed() -> (Shop, Hash, u64) {
    let mut shop = Shop::new(4);
    let mut plan = shop.plan();
    let stranger = shop.id(3);
    plan.payees.retain(|payee| *payee != stranger);
    shop.agree_of(3, &plan);
    let mut record = shop.world.record(1);
    record.version = RECORD_VERSION_DISPUTED;
    let count = |(seat, quantity)| Sighting { seat: Seat(seat), quantity };
    record.lines[1].differing = [(2, 990), (3, 991)].map(count).to_vec();
    let leaf = shop.world.close(record);
    shop.follow().unwrap();
    (shop, plan.id(), leaf)
}

fn books(world: &World) -> Books {
    let trust = world.trust();
    let beside = |_: &tacit_types::StatementId| -> Option<Vec<u8>> { None };
    let mut verifier = Verifier::new(&trust, TrustSource::Pinned, Scope::WholeLog, &beside).unwrap();
    world.leaves.iter().for_each(|leaf| verifier.leaf(leaf));
    let checkpoint = world.cosigned(2);
    let (report, ledger, cases): (_, Ledger, _) = verifier.finish_books(&checkpoint, [], []);
    assert!(report.is_valid(), "{:?}", report.faults);
    Books { checkpoint, leaves: world.leaves.clone(), ledger, cases, trust }
}

#[test]
fn a_line_on_which_observers_differ_is_named_by_its_receipt_and_number() {
    let (mut shop, plan, leaf) = disputed();
    let all = books(&shop.world);
    let code = |line: Option<u32>, us: NodeId| {
        let found = find(&all, leaf, line, &us);
        found.map(|found| found.iter().map(about).collect::<Vec<_>>()).map_err(|fault| fault.code)
    };
    let meant = Ok(vec![Some(About { plan, line: 1 })]);
    // Payer, payee and whoever differs have a say; nobody has one in a line that is in no dispute, or without its number.
    for i in 0..4 {
        assert_eq!(code(Some(1), shop.id(i)), meant, "{i}");
        assert_eq!(code(Some(0), shop.id(i)), Err(Code::ReceiptDispute));
    }
    assert_eq!(code(Some(1), NodeId([9; 32])), Err(Code::ReceiptDispute));
    assert!(find(&all, leaf, None, &shop.id(0)).unwrap_err().what.contains("--line"));
    assert_eq!(find(&all, leaf - 1, None, &shop.id(0)).unwrap_err().code, Code::ReceiptDispute);

    let [dispute] = find(&all, leaf, Some(1), &shop.id(0)).unwrap().try_into().unwrap();
    let correction = correction(&all, &dispute, "990", "counted twice").unwrap();
    assert_eq!((correction.line, correction.was, correction.quantity), (1, 1001, 990));
    shop.agree_of(3, &correction);
    let (version, origin, reason) = (MONEY_VERSION, common::ORIGIN.into(), "counted twice".into());
    let evidence = Vec::new();
    let ruling = Ruling {
        version,
        origin,
        dispute: dispute.at,
        outcome: Outcome::Stands,
        reason,
        evidence,
        about: about(&dispute),
    };
    shop.agree_of(3, &ruling);
    let all = books(&shop.world);
    let [dispute] = find(&all, leaf, Some(1), &shop.id(0)).unwrap().try_into().unwrap();
    assert_eq!(dispute.ruled.map(|(_, outcome)| outcome), Some(Outcome::Stands));
    assert_eq!(said_on(&all, &dispute).len(), 6, "three signatures of the correction and three of the ruling");
    assert_eq!(all.ledger.lines(&plan, leaf)[1].1.now, 990);
}

#[test]
fn a_dispute_that_was_signed_is_named_by_its_leaf_alone() {
    let (mut shop, plan, leaf) = disputed();
    let body = shop.dispute(plan, shop.at(leaf), Some(0));
    let (signed, said) = shop.says(1, body);
    said.unwrap();
    let all = books(&shop.world);
    let [dispute] = find(&all, signed, None, &shop.id(0)).unwrap().try_into().unwrap();
    assert_eq!((about(&dispute), dispute.line, dispute.by), (None, Some(0), vec![shop.id(1)]));
    assert_eq!(find(&all, signed, Some(0), &shop.id(0)).unwrap_err().code, Code::ReceiptDispute);
}
