//! Money in a whole log: what is honest verifies, every fault is found at its leaf by its code, and whatever is
//! corrected, disputed and ruled, no fen is made or lost.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::shop::*;
use common::*;
use tacit_crypto::{Rng, Secret, cbor, sha256};
use tacit_receipts::money::statement::*;
use tacit_receipts::money::*;
use tacit_receipts::*;
use tacit_types::*;

#[test]
fn an_honest_period_is_closed_charged_and_settled() {
    let (mut shop, plan, period) = busy();
    for i in 0..3 {
        let close = shop.ledger.close(&shop.id(i), period).unwrap();
        assert_eq!((close.first_seq, close.last_seq, close.count), (Some(0), Some(2), 3));
        assert_eq!(
            close.sums.iter().map(|s| (s.unit, s.quantity)).collect::<Vec<_>>(),
            [(Unit::Job, 3), (Unit::CellIn, 3006)]
        );
        assert_eq!(shop.says(i, close).1, Ok(()));
    }
    let (at, charge) = shop.charge(plan, period);
    assert_eq!((charge.total, charge.before, charge.due), (THREE_JOBS, 0, THREE_JOBS as i64));
    assert_eq!(charge.shares.iter().map(|s| s.fen).collect::<Vec<_>>(), [936, 935]);
    let settlement = shop.settle(&[at]);
    assert_eq!(settlement.transfers.len(), 2);
    assert_eq!(settlement.positions.iter().map(|p| p.fen).sum::<i64>(), 0);
    assert_eq!(shop.ledger.unsettled().count(), 0);

    // The next period is empty, and costs nothing.
    let next = Period { first: period.end, end: shop.size(), from: period.until, until: shop.world.now.plus(1) };
    let (_, empty) = shop.charge(plan, next);
    assert_eq!((empty.total, empty.shares.len()), (0, 2));
    shop.valid();
}

#[test]
fn an_aborted_an_unattested_and_an_earlier_use_are_not_billed() {
    let mut shop = Shop::new(3);
    shop.job(1);
    let plan = shop.plan();
    shop.agree(&plan);
    let mut aborted = shop.world.record(2);
    aborted.status = Status::Aborted { code: Code::JobPeerLost, step: None, seat: None };
    aborted.result = None;
    shop.world.close(aborted);
    let record = shop.world.record(3);
    let attestations = [shop.world.attest(0, &record), shop.world.attest(1, &record)];
    let absent = vec![Absent { party: shop.id(2), code: Code::JobUnreachable }];
    let assembled = assemble(record.clone(), &attestations, absent).unwrap();
    shop.world.publish(assembled.receipt);
    shop.follow().unwrap();
    let period = shop.period(2, START);
    let (first, charge) = shop.charge(plan.id(), period);
    assert_eq!(charge.total, 0);
    // Its last party attests late: now it counts, and the difference is due.
    let late = shop.world.attest(2, &record).bytes().to_vec();
    shop.append(late).1.unwrap();
    let (second, charge) = shop.charge(plan.id(), period);
    assert_eq!((charge.total, charge.before, charge.due), (500 + 124, 0, 624));
    shop.settle(&[first, second]);
    shop.valid();
}

#[test]
fn a_committed_quantity_is_refused_where_a_price_counts_it() {
    let (mut shop, plan) = Shop::with(3, |_| {});
    let mut record = shop.world.record(1);
    record.lines[1].quantity = Quantity::Committed(Hash([9; 32]));
    // Named twice, a contract is billed once.
    record.contracts.push(record.contracts[0]);
    shop.world.close(record);
    shop.follow().unwrap();
    let period = shop.period(2, START);
    let refused = shop.ledger.charge(&plan, period, shop.size()).unwrap_err();
    assert_eq!((refused.code, refused.what.as_str()), (Code::ReceiptNotBillable, "line 1 of leaf 5 is a commitment"));
    let close = shop.ledger.close(&shop.id(1), period).unwrap();
    assert_eq!(close.sums.iter().map(|s| s.quantity).collect::<Vec<_>>(), [1, 0]);

    // A plan without a price for it bills the rest.
    let (mut shop, plan) = Shop::with(3, |plan| plan.prices.truncate(1));
    let mut record = shop.world.record(1);
    record.lines[1].quantity = Quantity::Committed(Hash([9; 32]));
    record.contracts.push(record.contracts[0]);
    shop.world.close(record);
    shop.follow().unwrap();
    let period = shop.period(2, START);
    let (_, charge) = shop.charge(plan, period);
    assert_eq!(charge.total, 500);
    shop.valid();
}

#[test]
fn a_use_that_a_party_denies_or_that_is_there_twice_is_not_billed() {
    let (mut shop, plan) = Shop::with(3, |_| {});
    let record = shop.world.record(1);
    let denial = Attestation {
        verdict: Verdict::Disputes { code: Code::ReceiptDisputed },
        ..Attestation::agreeing(&record, Role::Input, None)
    };
    let mut attestations = vec![shop.world.attest(0, &record), shop.world.attest(1, &record)];
    attestations.push(shop.world.attest_with(2, &record, denial));
    let denied = shop.world.publish(assemble(record, &attestations, Vec::new()).unwrap().receipt);
    let record = shop.world.record(2);
    shop.world.close(record.clone());
    let twice = shop.world.close(record);
    shop.follow().unwrap();
    let period = shop.period(2, START);
    let (_, charge) = shop.charge(plan, period);
    assert_eq!(charge.total, 500 + 124);
    shop.found(&[(denied, Code::ReceiptDisputed), (twice, Code::ReceiptDuplicate)]);
}

#[test]
fn a_charge_that_does_not_re_rate_is_found() {
    type Change = fn(&mut Charge);
    let changes: [(Change, Code); 7] = [
        (
            |c| (c.lines[0].fen, c.total, c.due, c.shares[0].fen) = (1501, c.total + 1, c.due + 1, c.shares[0].fen + 1),
            Code::ReceiptCharge,
        ),
        (|c| (c.shares[0].fen, c.shares[1].fen) = (c.shares[0].fen - 1, c.shares[1].fen + 1), Code::ReceiptCharge),
        (|c| c.shares[0].fen += 1, Code::ReceiptCharge),
        (|c| (c.lines[0].quantity) = 4, Code::ReceiptCharge),
        (|c| c.carried_out = 5, Code::ReceiptCharge),
        (|c| c.causes = vec![3], Code::ReceiptCharge),
        (|c| c.origin = "log.example/other".into(), Code::ReceiptRecord),
    ];
    for (i, (change, code)) in changes.into_iter().enumerate() {
        let (mut shop, plan, period) = busy();
        let mut charge = shop.ledger.charge(&plan, period, shop.size()).unwrap();
        change(&mut charge);
        let at = shop.coordinator_says(charge);
        shop.found(&[(at, code)]);
        assert_eq!(shop.world.report().valid, 3, "change {i}");
    }
}

#[test]
fn a_charge_needs_its_plan_its_coordinator_and_its_period() {
    let (shop, plan, period) = busy();
    let size = shop.size();
    let code = |plan, period: Period, as_of| shop.ledger.charge(&plan, period, as_of).unwrap_err().code;
    assert_eq!(code(Hash([1; 32]), period, size), Code::ReceiptUnagreed);
    assert_eq!(code(plan, period, size - 1), Code::ReceiptPeriod);
    assert_eq!(code(plan, Period { from: UnixMillis(0), ..period }, size), Code::ReceiptPeriod);
    // Receipts of the plan would be left out before it.
    assert_eq!(code(plan, Period { first: period.end - 1, ..period }, size), Code::ReceiptPeriod);
    // The receipts in it were issued later than it says.
    let early = Period { from: START, until: START.plus(1), ..period };
    assert_eq!(shop.ledger.charge(&plan, early, size).map(|c| c.total), Ok(THREE_JOBS));
    let mut shop = shop;
    shop.world.now = shop.world.now.plus(10_000_000);
    shop.job(4);
    assert_eq!(
        shop.ledger.charge(&plan, Period { end: shop.size(), ..early }, shop.size()).unwrap_err().code,
        Code::ReceiptPeriod
    );

    let (mut shop, plan, period) = busy();
    let charge = shop.ledger.charge(&plan, period, shop.size()).unwrap();
    let at = shop.says(1, charge).0;
    shop.found(&[(at, Code::ReceiptCoordinator)]);

    let (mut shop, plan, period) = busy();
    let charge = shop.ledger.charge(&plan, period, shop.size()).unwrap();
    let first = shop.coordinator_says(charge.clone());
    let overlapping = Charge { period: Period { first: period.first + 1, ..period }, ..charge.clone() };
    let second = shop.coordinator_says(overlapping);
    let ahead = Charge { as_of: 99, ..charge };
    let third = shop.coordinator_says(ahead);
    shop.found(&[(second, Code::ReceiptPeriod), (third, Code::ReceiptPeriod)]);
    assert!(first < second);
}

#[test]
fn a_plan_is_in_force_when_all_have_signed_it() {
    let mut shop = Shop::new(3);
    let plan = shop.plan();
    shop.says(0, plan.clone()).1.unwrap();
    shop.says(1, plan.clone()).1.unwrap();
    shop.job(1);
    let period = shop.period(2, START);
    assert_eq!(shop.ledger.charge(&plan.id(), period, shop.size()).unwrap_err().code, Code::ReceiptUnagreed);
    // A charge under a plan that is not in force is one that a verifier finds.
    let mut other = Shop::new(3);
    other.agree(&plan);
    other.job(1);
    let period_of_other = other.period(2, START);
    let charge = other.ledger.charge(&plan.id(), period_of_other, other.size()).unwrap();
    shop.job(2);
    let at = shop.coordinator_says(charge);
    shop.found(&[(at, Code::ReceiptUnagreed)]);

    // Strangers, faulty plans, and parties of the log that are none of the plan.
    let mut shop = Shop::new(4);
    let mut plan = shop.plan();
    plan.payees.retain(|p| *p != key(103).id());
    let (at, said) = shop.says(3, plan.clone());
    assert_eq!(said.unwrap_err().code, Code::ReceiptUnagreed);
    let stranger = shop.sign(&key(99), plan.clone());
    let (unknown, _) = shop.append(stranger);
    // What a party says of itself has no price, whatever it is.
    let mut found = vec![(at, Code::ReceiptUnagreed), (unknown, Code::ReceiptPartyUnknown)];
    let own: Vec<Unit> = Unit::ALL.into_iter().filter(|unit| unit.class() == tacit_types::unit::Class::C).collect();
    assert_eq!(own, [Unit::RowScanned, Unit::CpuMilli, Unit::MemoryByte]);
    for unit in own {
        let mut plan = plan.clone();
        plan.prices[0].unit = unit;
        plan.prices.sort_by_key(|price| price.unit);
        let (class_c, said) = shop.says(0, plan);
        assert_eq!(said.unwrap_err().code, Code::ReceiptNotBillable);
        found.push((class_c, Code::ReceiptNotBillable));
    }
    shop.found(&found);
}

#[test]
fn a_close_is_compared_with_the_chain_and_the_lines() {
    type Change = fn(&mut PeriodClose);
    let changes: [Change; 6] = [
        |c| c.count = 2,
        |c| c.last_seq = Some(1),
        |c| (c.first_seq, c.last_seq) = (None, None),
        |c| c.sums[1].quantity -= 1,
        |c| c.sums.truncate(1),
        |c| c.sums[0].contract = ContractId([1; 32]),
    ];
    for change in changes {
        let (mut shop, _, period) = busy();
        let mut close = shop.ledger.close(&shop.id(1), period).unwrap();
        change(&mut close);
        let (at, said) = shop.says(1, close);
        assert_eq!(said.unwrap_err().code, Code::ReceiptPeriodClose);
        shop.found(&[(at, Code::ReceiptPeriodClose)]);
    }
    // An attestation that the coordinator keeps back shows in the chain, and in the close of the one who made it.
    let (mut shop, _, _) = busy();
    let hidden = shop.world.record(9);
    shop.world.attest(1, &hidden);
    let next = shop.world.job(4);
    shop.follow().unwrap();
    let period = shop.period(2, START);
    let mut close = shop.ledger.close(&shop.id(1), period).unwrap();
    assert_eq!((close.first_seq, close.last_seq, close.count), (Some(0), Some(4), 4));
    close.count = 5;
    let (at, _) = shop.says(1, close);
    shop.found(&[(next, Code::ReceiptSequenceGap), (at, Code::ReceiptPeriodClose)]);
    // Closes follow each other.
    let (mut shop, _, period) = busy();
    let close = shop.ledger.close(&shop.id(1), period).unwrap();
    shop.says(1, close.clone()).1.unwrap();
    let (again, _) = shop.says(1, close);
    let later = Period { first: period.end, end: 99, from: period.until, until: period.until.plus(1) };
    let early = shop.ledger.close(&shop.id(2), later).unwrap();
    let (before_its_end, _) = shop.says(2, early);
    shop.found(&[(again, Code::ReceiptPeriod), (before_its_end, Code::ReceiptPeriod)]);
}

#[test]
fn a_settlement_nets_its_charges_once() {
    type Change = fn(&mut Settlement);
    let changes: [Change; 5] = [
        |s| s.positions[0].fen += 1,
        |s| (s.positions[1].fen, s.transfers[0].fen) = (s.positions[1].fen, s.transfers[0].fen + 1),
        |s| s.charges[0].hash = Hash([1; 32]),
        |s| s.charges[0].index -= 1,
        |s| s.currency = "EUR".into(),
    ];
    for (i, change) in changes.into_iter().enumerate() {
        let (mut shop, plan, period) = busy();
        let (charge, _) = shop.charge(plan, period);
        let mut settlement = shop.ledger.settlement("CNY", &BTreeSet::from([charge])).unwrap();
        change(&mut settlement);
        let at = shop.coordinator_says(settlement);
        let report = shop.world.report();
        assert_eq!(codes(&report), [Code::ReceiptSettlement], "change {i}: {:?}", report.faults);
        let unbalanced = report.faults[0].what == "the positions come to 1 fen, not to zero";
        assert_eq!(unbalanced, i == 0, "change {i}: {:?}", report.faults);
        assert_eq!(report.faults[0].leaf, Some(at));
    }
    // One that nets to zero and is not its charges'.
    let (mut shop, plan, period) = busy();
    let (charge, _) = shop.charge(plan, period);
    let mut settlement = shop.ledger.settlement("CNY", &BTreeSet::from([charge])).unwrap();
    let payer = shop.id(0);
    let (mut up, mut down) = (None, None);
    for transfer in &mut settlement.transfers {
        let (to, change) = if up.is_none() { (&mut up, 1) } else { (&mut down, -1) };
        transfer.fen = transfer.fen.checked_add_signed(change).unwrap();
        *to = Some((transfer.to, change));
    }
    for (party, change) in up.into_iter().chain(down) {
        settlement.positions.iter_mut().find(|p| p.party == party && p.party != payer).unwrap().fen += change;
    }
    settlement.check().unwrap();
    let shifted = shop.coordinator_says(settlement);
    shop.found(&[(shifted, Code::ReceiptSettlement)]);
    // A charge is settled once.
    let (mut shop, plan, period) = busy();
    let (charge, _) = shop.charge(plan, period);
    let settlement = shop.settle(&[charge]);
    let twice = shop.coordinator_says(settlement);
    shop.found(&[(twice, Code::ReceiptSettlement)]);
}

#[test]
fn a_correction_is_due_with_the_difference() {
    let (mut shop, plan, period) = busy();
    let (first, charge) = shop.charge(plan, period);
    shop.settle(&[first]);
    // Leaf 5 is the first job: 1001 cells.
    let original = shop.at(5);
    let correction = shop.correction(plan, original, 1001, 1);
    let since = shop.agree(&correction);
    let (second, changed) = shop.charge(plan, period);
    // 2006 cells at 0.001234 are 2.475404.
    assert_eq!((changed.total, changed.before, changed.due), (1500 + 248, charge.total, -123));
    assert_eq!(changed.causes, [since]);
    let settlement = shop.settle(&[second]);
    assert!(settlement.transfers.iter().all(|t| t.to == shop.id(0)));
    // A second correction starts from the first.
    let stale = shop.correction(plan, original, 1001, 2);
    let (at, said) = shop.says(0, stale);
    assert_eq!(said.unwrap_err().code, Code::ReceiptCorrection);
    let back = shop.correction(plan, original, 1, 1001);
    shop.agree(&back);
    let (_, again) = shop.charge(plan, period);
    assert_eq!((again.total, again.due), (charge.total, 123));
    shop.found(&[(at, Code::ReceiptCorrection)]);
}

#[test]
fn a_correction_refers_to_what_is_there() {
    let (mut shop, plan, _) = busy();
    let good = shop.correction(plan, shop.at(5), 1001, 1);
    let charge_leaf = shop.at(2);
    let wrong: [Correction; 7] = [
        Correction { original: LeafRef { hash: Hash([1; 32]), ..good.original }, ..good.clone() },
        Correction { original: charge_leaf, ..good.clone() },
        Correction { original: LeafRef { index: 99, ..good.original }, ..good.clone() },
        Correction { line: 3, ..good.clone() },
        // Rows scanned: committed, and of class C.
        Correction { line: 2, ..good.clone() },
        Correction { dispute: Some(3), ..good.clone() },
        Correction { was: 1, ..good.clone() },
    ];
    let mut expected = Vec::new();
    for correction in wrong {
        let (at, said) = shop.says(0, correction);
        assert_eq!(said.unwrap_err().code, Code::ReceiptCorrection);
        expected.push((at, Code::ReceiptCorrection));
    }
    let (at, _) = shop.says(0, Correction { plan: Hash([1; 32]), ..good.clone() });
    expected.push((at, Code::ReceiptUnagreed));
    // With one signature missing it changes nothing; a charge as if it did does not re-rate.
    shop.says(0, good.clone()).1.unwrap();
    shop.says(1, good.clone()).1.unwrap();
    let period = shop.period(2, START);
    let charge = shop.ledger.charge(&plan, period, shop.size()).unwrap();
    assert_eq!(charge.total, THREE_JOBS);
    shop.says(2, good).1.unwrap();
    let later = shop.ledger.charge(&plan, period, shop.size()).unwrap();
    assert_ne!(later.total, charge.total);
    let as_if = Charge { as_of: charge.as_of, ..later };
    expected.push((shop.coordinator_says(as_if), Code::ReceiptCharge));
    shop.found(&expected);
}

#[test]
fn a_disputed_use_is_on_hold_until_a_ruling() {
    let (mut shop, plan, period) = busy();
    let original = shop.at(5);
    let (dispute, said) = shop.says(1, shop.dispute(plan, original, Some(1)));
    said.unwrap();
    let undisturbed = shop.ledger.charge(&plan, period, period.end).unwrap();
    let (_, held) = shop.charge(plan, period);
    // 2005 cells are left of the other two.
    assert_eq!((held.total, held.causes.len()), (1500 + 247, 0));
    // The rest of the parties alone cannot end it.
    shop.says(0, shop.ruling(dispute, Outcome::Void)).1.unwrap();
    shop.says(2, shop.ruling(dispute, Outcome::Stands)).1.unwrap();
    assert_eq!(shop.ledger.charge(&plan, period, shop.size()).unwrap().total, held.total);
    // Who disputed it takes it back.
    let (ruled, said) = shop.says(1, shop.ruling(dispute, Outcome::Stands));
    said.unwrap();
    let (_, released) = shop.charge(plan, period);
    assert_eq!((released.total, released.due, &released.causes[..]), (undisturbed.total, 124, &[ruled][..]));
    // It is over: nobody can rule on it again.
    let (again, said) = shop.says(1, shop.ruling(dispute, Outcome::Stands));
    assert_eq!(said.unwrap_err().code, Code::ReceiptDispute);
    // A whole receipt that all agree to void.
    let original = shop.at(6);
    let (dispute, _) = shop.says(2, shop.dispute(plan, original, None));
    let ruling = shop.ruling(dispute, Outcome::Void);
    shop.agree(&ruling);
    let (_, void) = shop.charge(plan, period);
    assert_eq!(void.total, 1000 + 247);
    shop.found(&[(again, Code::ReceiptDispute)]);
}

#[test]
fn an_arbiter_rules_alone() {
    let mut shop = Shop::new(4);
    let mut plan = shop.plan();
    plan.payees.retain(|p| *p != key(103).id());
    plan.arbiter = Some(key(103).id());
    (0..3).for_each(|i| shop.says(i, plan.clone()).1.unwrap());
    let plan = plan.id();
    let original = shop.job(1);
    let (dispute, said) = shop.says(0, shop.dispute(plan, original, None));
    said.unwrap();
    shop.says(3, shop.ruling(dispute, Outcome::Void)).1.unwrap();
    let (_, said) = shop.says(3, shop.dispute(plan, original, None));
    assert_eq!(said.unwrap_err().code, Code::ReceiptDispute);
    let period = shop.period(2, START);
    assert_eq!(shop.ledger.charge(&plan, period, shop.size()).unwrap().total, 0);
    let correction = shop.correction(plan, original, 1001, 7);
    shop.says(3, correction).1.unwrap();
    assert_eq!(shop.ledger.charge(&plan, period, shop.size()).unwrap().causes.len(), 2);
}

#[test]
fn a_dispute_refers_to_a_receipt_in_its_window() {
    let (mut shop, plan, _) = busy();
    let good = shop.dispute(plan, shop.at(5), Some(1));
    let mut expected = Vec::new();
    let wrong = [
        Dispute { original: LeafRef { hash: Hash([1; 32]), ..good.original }, ..good.clone() },
        Dispute { original: shop.at(2), ..good.clone() },
        Dispute { line: Some(3), ..good.clone() },
    ];
    for dispute in wrong {
        expected.push((shop.says(0, dispute).0, Code::ReceiptDispute));
    }
    expected.push((shop.says(0, shop.ruling(5, Outcome::Void)).0, Code::ReceiptDispute));
    // Dated after the window.
    shop.world.now = shop.world.now.plus(3_600_001);
    expected.push((shop.says(0, good.clone()).0, Code::ReceiptDispute));
    // Dated back, while the receipts before it say how late it is.
    shop.world.now = shop.world.now.plus(3_600_001);
    shop.job(4);
    let now = shop.world.now;
    shop.world.now = START;
    expected.push((shop.says(0, good).0, Code::ReceiptDispute));
    shop.world.now = now;
    shop.found(&expected);
}

/// Random histories: whatever happens, charges come to what the payer owes, shares to the charges, positions to zero,
/// and a verifier who follows the log finds nothing.
#[test]
fn no_fen_is_made_or_lost_in_random_histories() {
    for seed in 0..12 {
        let mut rng = Rng::from_seed(&Secret::new([seed; 32]));
        let (mut shop, plan) = Shop::with(3 + (seed as usize % 2), |plan| {
            plan.arbiter = Some(plan.payer);
            plan.subscription = rng.below(1_000);
            plan.minimum = (seed % 3 == 0).then_some(700);
            plan.split = if seed % 2 == 0 { Split::Proportional { unit: Unit::CellIn } } else { Split::Equal };
            plan.commission = (seed % 4 > 1).then(|| Commission { party: key(2).id(), ppm: rng.below(400_000) });
        });
        let mut periods: Vec<Period> = Vec::new();
        let (mut charges, mut owed) = (Vec::new(), BTreeMap::<NodeId, i64>::new());
        let (mut receipts, mut disputes): (Vec<(LeafRef, u64)>, Vec<u64>) = (Vec::new(), Vec::new());
        let mut job = 0u8;
        for _ in 0..40 {
            match rng.below(7) {
                0..=1 => {
                    job += 1;
                    receipts.push((shop.job(job), 1000 + u64::from(job)));
                }
                2 if !receipts.is_empty() => {
                    let at = rng.below(receipts.len() as u64) as usize;
                    let (original, was) = receipts[at];
                    let quantity = was / 2 + rng.below(5_000);
                    if quantity != was {
                        shop.says(0, shop.correction(plan, original, was, quantity)).1.unwrap();
                        receipts[at].1 = quantity;
                    }
                }
                3 if !receipts.is_empty() => {
                    let (original, _) = receipts[rng.below(receipts.len() as u64) as usize];
                    let line = (rng.below(2) == 0).then_some(rng.below(2) as u32);
                    let (at, said) = shop.says(1, shop.dispute(plan, original, line));
                    said.unwrap();
                    disputes.push(at);
                }
                4 if !disputes.is_empty() => {
                    let at = disputes.swap_remove(rng.below(disputes.len() as u64) as usize);
                    let outcome = if rng.below(2) == 0 { Outcome::Stands } else { Outcome::Void };
                    shop.says(0, shop.ruling(at, outcome)).1.unwrap();
                }
                5 => {
                    let (first, from) = periods.last().map_or((2, START), |last| (last.end, last.until));
                    let again = (!periods.is_empty() && rng.below(2) == 0)
                        .then(|| periods[rng.below(periods.len() as u64) as usize]);
                    let period = again.unwrap_or_else(|| shop.period(first, from));
                    if period.first == period.end {
                        continue;
                    }
                    if again.is_none() {
                        periods.push(period);
                    }
                    let (at, charge) = shop.charge(plan, period);
                    assert_eq!(charge.shares.iter().map(|s| s.fen).sum::<i64>(), charge.due);
                    charges.push(at);
                    *owed.entry(shop.id(0)).or_default() -= charge.due;
                    charge.shares.iter().for_each(|s| *owed.entry(s.party).or_default() += s.fen);
                }
                _ if !charges.is_empty() => {
                    for position in shop.settle(&core::mem::take(&mut charges)).positions {
                        *owed.get_mut(&position.party).unwrap() -= position.fen;
                    }
                }
                _ => {}
            }
        }
        if !charges.is_empty() {
            for position in shop.settle(&charges).positions {
                *owed.get_mut(&position.party).unwrap() -= position.fen;
            }
        }
        assert!(owed.values().all(|fen| *fen == 0), "seed {seed}: {owed:?}");
        // What each period cost in all is what its last state costs, however often it was charged.
        for period in periods {
            let last = shop.ledger.charge(&plan, period, shop.size()).unwrap();
            assert_eq!(last.due, last.total as i64 - last.before as i64);
        }
        assert!(job > 3, "seed {seed} did too little");
        shop.valid();
    }
}

#[test]
fn single_leaves_of_money_are_checked_by_themselves() {
    let (mut shop, plan, period) = busy();
    let (at, _) = shop.charge(plan, period);
    let mut faulty = shop.ledger.charge(&plan, period, shop.size()).unwrap();
    faulty.due += 1;
    let wrong = shop.coordinator_says(faulty);
    let report = verify_bundle(&shop.world.single(&[at, wrong]).to_bytes(), Some(&shop.world.trust())).unwrap();
    assert_eq!(codes(&report), [Code::ReceiptCharge]);
    assert_eq!(report.faults[0].leaf, Some(wrong));
    assert_eq!(sha256(&cbor::encode(shop.ledger.plan_in_force(&plan).unwrap())), plan);
}
