//! What one period leaves to the next, and divisions by what payees are worth together.

mod common;

use common::shop::*;
use common::*;
use tacit_receipts::money::statement::*;
use tacit_receipts::money::*;
use tacit_receipts::*;
use tacit_types::*;

#[test]
fn permitted_revenue_is_carried_into_the_next_period() {
    let (mut shop, plan) = Shop::with(3, |plan| {
        plan.prices.truncate(1);
        let ceilings = vec![Ceiling { unit: Unit::Job, micro: 5_000_000 }];
        plan.regime = Regime::Guided { ceilings, subscription_ceiling: 0, revenue_max: 700, carry_max: 150 };
    });
    shop.job(1);
    let one = shop.period(2, START);
    let (_, first) = shop.charge(plan, one);
    assert_eq!((first.total, first.carried_in, first.carried_out), (500, 0, 150));
    (2..=4).for_each(|job| {
        shop.job(job);
    });
    let two = shop.period(one.end, one.until);
    let mut charge = shop.ledger.charge(&plan, two, shop.size()).unwrap();
    assert_eq!((charge.total, charge.carried_in, charge.carried_out), (850, 150, 0));
    assert_eq!(charge.lines.last().map(|l| (l.item, l.fen)), Some((Item::Permitted, -650)));
    // As if nothing had been carried.
    (charge.carried_in, charge.total, charge.due) = (0, 700, 700);
    charge.lines.last_mut().unwrap().fen = -800;
    charge.shares.iter_mut().for_each(|s| s.fen = 350);
    let at = shop.coordinator_says(charge);
    shop.found(&[(at, Code::ReceiptCharge)]);
}

#[test]
fn a_correction_does_not_reach_into_the_revenue_of_later_periods() {
    let (mut shop, plan) = Shop::with(3, |plan| {
        plan.prices.truncate(1);
        let ceilings = vec![Ceiling { unit: Unit::Job, micro: 5_000_000 }];
        plan.regime = Regime::Guided { ceilings, subscription_ceiling: 0, revenue_max: 700, carry_max: 500 };
    });
    let job = shop.job(1);
    let one = shop.period(2, START);
    let (_, first) = shop.charge(plan, one);
    assert_eq!((first.total, first.carried_in, first.carried_out), (500, 0, 200));
    (2..=4).for_each(|job| {
        shop.job(job);
    });
    let two = shop.period(one.end, one.until);
    let (_, second) = shop.charge(plan, two);
    assert_eq!((second.total, second.carried_in, second.carried_out), (900, 200, 0));
    // The first job was none: its period would have left more, and the second one stays as it was.
    let correction = Correction { line: 0, ..shop.correction(plan, job, 1, 0) };
    shop.agree(&correction);
    let (_, again) = shop.charge(plan, one);
    assert_eq!((again.total, again.due, again.carried_in, again.carried_out), (0, -500, 0, 500));
    let (_, again) = shop.charge(plan, two);
    assert_eq!((again.total, again.due, again.carried_in, again.carried_out), (900, 0, 200, 0));
    let three = shop.period(two.end, two.until);
    let (_, third) = shop.charge(plan, three);
    assert_eq!((third.total, third.carried_in, third.carried_out), (0, 0, 500));
    shop.valid();
}

/// A valuation of a period from what each payee adds, drawn from a checkpoint.
fn valuation(shop: &Shop, plan: Hash, period: Period, seed: SeenCheckpoint, note: Vec<u8>) -> Valuation {
    let body = shop.ledger.plan_in_force(&plan).unwrap();
    let masks = coalitions(body, &period, Some(&seed));
    let worth = |mask: u32| (0u32..32).filter(|i| mask & 1 << i != 0).map(|i| 1 + u64::from(i) * 10).sum();
    let values = masks.iter().map(|m| CoalitionValue { coalition: *m, value: worth(*m) }).collect();
    Valuation { version: 1, origin: ORIGIN.into(), plan, period, seed: Some(seed), values, note: Some(note.into()) }
}

#[test]
fn a_sampled_split_draws_from_a_witnessed_checkpoint() {
    let (mut shop, plan) = Shop::with(4, |plan| plan.split = Split::ShapleySampled { samples: 9 });
    shop.job(1);
    let period = shop.period(2, START);
    assert_eq!(shop.ledger.charge(&plan, period, shop.size()).unwrap_err().code, Code::ReceiptUnagreed);
    let seen = shop.world.seen();
    let good = valuation(&shop, plan, period, seen, shop.world.cosigned(2));
    let mut expected = Vec::new();
    let wrong = [
        (Valuation { note: Some(shop.world.cosigned(1).into()), ..good.clone() }, Code::LogQuorum),
        (Valuation { seed: Some(SeenCheckpoint { root: Hash([1; 32]), ..seen }), ..good.clone() }, Code::LogFork),
        (Valuation { note: None, ..good.clone() }, Code::ReceiptPlan),
        (Valuation { period: Period { end: seen.size + 1, ..period }, ..good.clone() }, Code::ReceiptPlan),
    ];
    for (valuation, code) in wrong {
        expected.push((shop.says(0, valuation).0, code));
    }
    let since = shop.agree(&good);
    let (at, charge) = shop.charge(plan, period);
    // Each adds what it is worth in any order, so sampling finds it exactly: 1, 11 and 21 of 33.
    assert_eq!((charge.valuation, charge.total), (Some(since), 624));
    assert_eq!(charge.shares.iter().map(|s| s.fen).collect::<Vec<_>>(), [19, 208, 397]);
    shop.settle(&[at]);
    shop.found(&expected);
}

/// A valuation comes before its charge, and the log grows in between by leaves that are no receipts. It is for the
/// period that holds the same receipts, and for no other.
#[test]
fn a_valuation_is_for_the_period_that_holds_the_same_receipts() {
    let (mut shop, plan) = Shop::with(3, |plan| plan.split = Split::LeaveOneOut);
    shop.job(1);
    let period = shop.period(4, START);
    let values = [(1, 10), (2, 40), (3, 60)].map(|(coalition, value)| CoalitionValue { coalition, value }).to_vec();
    let (version, origin) = (1, ORIGIN.to_owned());
    let valuation = Valuation { version, origin, plan, period, seed: None, values, note: None };
    let since = shop.agree(&valuation);
    // What it needs is said twice in no period, however its end is written.
    let again = Valuation { period: Period { end: shop.size(), ..period }, ..valuation.clone() };
    assert_eq!(shop.says(0, again).1.unwrap_err().code, Code::ReceiptPlan);
    let grown = Period { end: shop.size(), ..period };
    let cut = ledger::Cut { until: period.until, as_of: shop.size() };
    assert_eq!(shop.ledger.upcoming(&plan, cut), Some(Period { first: grown.first, ..grown }));
    let (_, charge) = shop.charge(plan, grown);
    // Without the first 20 of 60 are lost, without the second 50.
    let fen: Vec<i64> = charge.shares.iter().map(|s| s.fen).collect();
    assert_eq!((charge.valuation, charge.total, fen), (Some(since), 624, vec![178, 446]));

    // A receipt in between makes it another period.
    let (mut shop, plan) = Shop::with(3, |plan| plan.split = Split::LeaveOneOut);
    shop.job(1);
    let period = shop.period(4, START);
    let valuation = Valuation { plan, period, ..valuation };
    shop.agree(&valuation);
    shop.job(2);
    let later = Period { end: shop.size(), ..period };
    let refused = shop.ledger.charge(&plan, later, shop.size()).unwrap_err();
    assert_eq!(refused.code, Code::ReceiptUnagreed);
    assert!(shop.ledger.charge(&plan, Period { from: period.from.plus(1), ..period }, shop.size()).is_err());
}
