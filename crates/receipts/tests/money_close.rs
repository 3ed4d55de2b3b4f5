//! The end of a period: what is issued follows from the log and the cut, so a close that was cut off goes on where it
//! stopped.

mod common;

use common::shop::*;
use common::*;
use tacit_receipts::money::ledger::Cut;
use tacit_receipts::money::statement::*;
use tacit_receipts::money::*;
use tacit_receipts::*;
use tacit_types::*;

impl Shop {
    /// Issues what a cut calls for, as a coordinator does; gives the charges.
    fn close(&mut self, cut: Cut) -> Vec<Charge> {
        let (charges, withheld) = self.ledger.due(cut);
        assert_eq!(withheld, []);
        for charge in &charges {
            self.coordinator_says(charge.clone());
        }
        for settlement in self.ledger.owed(cut.as_of).unwrap() {
            self.coordinator_says(settlement);
        }
        charges
    }

    fn cut(&self, until: UnixMillis) -> Cut {
        Cut { until, as_of: self.size() }
    }
}

#[test]
fn a_cut_takes_what_was_issued_before_it_and_is_issued_once() {
    let (mut shop, plan) = Shop::with(3, |plan| plan.subscription = 100);
    shop.job(1);
    shop.job(2);
    let until = shop.world.now.plus(1);
    let third = shop.job(3).index;
    let cut = shop.cut(until);
    let charges = shop.close(cut);
    let [charge] = charges.as_slice() else { panic!("{charges:#?}") };
    assert_eq!((charge.plan, charge.period.end, charge.period.until), (plan, third, until));
    // Two jobs at 5.00 and 2004 cells at 0.001234.
    let two = 1000 + 247 + 100;
    assert_eq!((charge.total, charge.due), (two, two as i64));
    let size = shop.size();
    assert_eq!((shop.close(cut), shop.size()), (vec![], size));
    // The next cut goes on there: the third job alone.
    let next = shop.cut(shop.world.now.plus(1));
    let charges = shop.close(next);
    assert_eq!(charges.iter().map(|c| (c.period.first, c.total)).collect::<Vec<_>>(), [(third, 500 + 124 + 100)]);
    shop.valid();
}

#[test]
fn a_close_that_was_cut_off_goes_on_with_the_same_charges() {
    let (mut shop, _) = Shop::with(3, |_| {});
    let other = PricePlan { contract: ContractId([8; 32]), subscription: 990, ..shop.plan() };
    let dollars = PricePlan { currency: "USD".into(), contract: ContractId([9; 32]), ..other.clone() };
    shop.agree(&other);
    shop.agree(&dollars);
    shop.job(1);
    let cut = shop.cut(shop.world.now.plus(1));
    let (whole, _) = shop.ledger.due(cut);
    assert_eq!(whole.len(), 3);
    shop.coordinator_says(whole[0].clone());
    // Uses that come in between are the next period's.
    shop.job(2);
    let (rest, _) = shop.ledger.due(cut);
    assert_eq!(rest, whole[1..]);
    rest.iter().for_each(|charge| {
        shop.coordinator_says(charge.clone());
    });
    let owed = shop.ledger.owed(cut.as_of).unwrap();
    assert_eq!(
        owed.iter().map(|s| (s.currency.as_str(), s.charges.len())).collect::<Vec<_>>(),
        [("CNY", 2), ("USD", 1)]
    );
    shop.coordinator_says(owed[0].clone());
    assert_eq!(shop.ledger.owed(cut.as_of).unwrap(), owed[1..]);
    shop.close(cut);
    assert_eq!(shop.ledger.unsettled().count(), 0);
    shop.valid();
}

#[test]
fn a_period_without_a_leaf_costs_its_subscription() {
    let (mut shop, _) = Shop::with(3, |plan| plan.subscription = 700);
    let months = [1u64, 2, 3].map(|m| shop.world.now.plus(m * 1_000));
    shop.world.now = months[2].plus(1);
    // Three months are closed together, after the fact.
    let totals: Vec<u64> = months
        .into_iter()
        .flat_map(|until| {
            let cut = shop.cut(until);
            shop.close(cut)
        })
        .map(|charge| charge.total)
        .collect();
    assert_eq!(totals, [700, 700, 700]);
    shop.job(1);
    shop.valid();
    // Nor does one that lies behind another.
    let late = shop.cut(months[0]);
    assert_eq!(shop.ledger.due(late), (vec![], vec![]));
    // A use after a period that had already ended without one.
    let now = shop.world.now;
    let (mut quiet, _) = Shop::with(3, |plan| plan.subscription = 700);
    quiet.world.now = now;
    let used = quiet.job(1).index;
    let cut = quiet.cut(months[0]);
    assert_eq!(quiet.close(cut)[0].period.end, used);
    let cut = quiet.cut(months[1]);
    let empty = quiet.close(cut)[0].clone();
    assert_eq!((empty.period.first, empty.period.end, empty.total), (used, used, 700));
    let cut = quiet.cut(quiet.world.now.plus(1));
    assert_eq!(quiet.close(cut)[0].total, 700 + 624);
    quiet.valid();
}

#[test]
fn a_plan_that_has_ended_is_charged_to_its_end_and_no_further() {
    let (mut shop, _) = Shop::with(3, |plan| plan.valid_until = START.plus(500_000));
    shop.job(1);
    shop.world.now = START.plus(900_000);
    let cut = shop.cut(shop.world.now);
    let charges = shop.close(cut);
    assert_eq!(charges.iter().map(|c| c.period.until).collect::<Vec<_>>(), [START.plus(500_000)]);
    shop.world.now = START.plus(1_900_000);
    let cut = shop.cut(shop.world.now);
    assert_eq!(shop.close(cut), []);
    shop.valid();
}

#[test]
fn what_was_disputed_after_its_charge_is_given_back_and_charged_again() {
    let (mut shop, plan, _) = busy();
    let cut = shop.cut(shop.world.now);
    let first = shop.close(cut)[0].clone();
    assert_eq!(first.total, THREE_JOBS);
    let about = shop.at(5);
    let dispute = shop.dispute(plan, about, Some(1));
    let (dispute, said) = shop.says(1, dispute);
    said.unwrap();
    let held: Vec<_> = shop.ledger.lines(&plan, 5).into_iter().map(|(i, l)| (i, l.now, l.held, l.void)).collect();
    assert_eq!(held, [(0, 1, false, false), (1, 1001, true, false)]);
    shop.world.now = shop.world.now.plus(1_000);
    let cut = shop.cut(shop.world.now);
    let back: Vec<_> = shop.close(cut).iter().map(|c| (c.period == first.period, c.due, c.causes.len())).collect();
    // 2005 cells at 0.001234 are 2.47417: 124 fen less. The next period is empty.
    assert_eq!(back, [(false, 0, 0), (true, -124, 0)]);
    let ruling = shop.ruling(dispute, Outcome::Stands);
    let (ruled, said) = shop.says(1, ruling);
    said.unwrap();
    shop.world.now = shop.world.now.plus(1_000);
    let cut = shop.cut(shop.world.now);
    let again: Vec<_> = shop.close(cut).into_iter().map(|c| (c.due, c.causes)).collect();
    assert_eq!(again, [(0, vec![]), (124, vec![ruled])]);
    assert_eq!(shop.ledger.disputes().map(|d| d.ruled).collect::<Vec<_>>(), [Some((ruled, Outcome::Stands))]);
    assert_eq!(shop.ledger.lines(&plan, 5).iter().filter(|(_, l)| l.held || l.void).count(), 0);
    shop.valid();
}

#[test]
fn a_plan_that_cannot_be_charged_holds_up_no_other() {
    let (mut shop, broken) = Shop::with(3, |_| {});
    let other = PricePlan { contract: ContractId([8; 32]), subscription: 990, ..shop.plan() };
    shop.agree(&other);
    let mut record = shop.world.record(1);
    record.lines[1].quantity = Quantity::Committed(Hash([9; 32]));
    shop.world.close(record);
    shop.follow().unwrap();
    let cut = shop.cut(shop.world.now.plus(1));
    let (charges, withheld) = shop.ledger.due(cut);
    assert_eq!(charges.iter().map(|c| (c.plan, c.total)).collect::<Vec<_>>(), [(other.id(), 990)]);
    assert_eq!(
        withheld.iter().map(|w| (w.plan, w.fault.code)).collect::<Vec<_>>(),
        [(broken, Code::ReceiptNotBillable)]
    );
}

#[test]
fn an_answer_is_for_an_open_dispute_and_changes_nothing() {
    let (mut shop, plan, period) = busy();
    let dispute = shop.dispute(plan, shop.at(5), None);
    let (at, said) = shop.says(1, dispute);
    said.unwrap();
    let answer = |dispute| Answer {
        version: 1,
        origin: ORIGIN.into(),
        dispute,
        reason: "our counters say otherwise".into(),
        evidence: vec![Hash([4; 32])],
        about: None,
    };
    let before = shop.ledger.charge(&plan, period, shop.size()).unwrap();
    let good = answer(shop.at(at));
    assert_eq!(shop.says(0, good.clone()).1, Ok(()));
    let after = shop.ledger.charge(&plan, period, before.as_of).unwrap();
    assert_eq!(before, after);
    let none = answer(shop.at(5));
    let (wrong, said) = shop.says(0, none);
    assert_eq!(said.unwrap_err().code, Code::ReceiptDispute);
    let ruling = shop.ruling(at, Outcome::Stands);
    shop.says(1, ruling).1.unwrap();
    let (late, said) = shop.says(0, good);
    assert_eq!(said.unwrap_err().code, Code::ReceiptDispute);
    shop.found(&[(wrong, Code::ReceiptDispute), (late, Code::ReceiptDispute)]);
}
