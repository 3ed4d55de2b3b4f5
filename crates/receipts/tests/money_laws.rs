//! Laws of rating and division over random plans, and every cap one past.

use minicbor::bytes::ByteVec;
use tacit_crypto::{Rng, Secret, cbor};
use tacit_receipts::money::amount::{AMOUNT_FEN_MAX, PPM, PRICE_MICRO_MAX, largest_remainder};
use tacit_receipts::money::plan::*;
use tacit_receipts::money::statement::*;
use tacit_receipts::money::*;
use tacit_receipts::receipt::{SIGNING_OVERHEAD_BYTES, SeenCheckpoint};
use tacit_types::limits::LEAF_BYTES_MAX;
use tacit_types::*;

fn rng(seed: u8) -> Rng {
    Rng::from_seed(&Secret::new([seed; 32]))
}

fn node(n: usize) -> NodeId {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&(n as u64).to_be_bytes());
    NodeId(id)
}

fn price(unit: Unit, schedule: Schedule) -> Price {
    Price { unit, counted: Counted::Every, free: 0, schedule, minimum: None, maximum: None }
}

fn plan(payees: usize) -> PricePlan {
    PricePlan {
        version: 1,
        contract: ContractId([7; 32]),
        currency: "CNY".into(),
        regime: Regime::Market,
        payer: NodeId([0xff; 32]),
        payees: (1..=payees).map(node).collect(),
        prices: vec![price(Unit::CellIn, Schedule::Each { micro: 12_345 })],
        subscription: 0,
        minimum: None,
        maximum: None,
        split: Split::Equal,
        commission: None,
        arbiter: None,
        dispute_window_ms: 0,
        valid_from: UnixMillis(0),
        valid_until: UnixMillis(1),
    }
}

fn used(quantity: u64) -> Usage {
    let mut usage = Usage::default();
    usage.add(Unit::CellIn, node(1), quantity).unwrap();
    usage
}

fn tiers(rng: &mut Rng) -> Vec<Tier> {
    let mut up_to = 0;
    let mut tiers: Vec<Tier> = (0..rng.below(5))
        .map(|_| {
            up_to += 1 + rng.below(300);
            Tier { up_to: Some(up_to), micro: rng.below(50_000) }
        })
        .collect();
    tiers.push(Tier { up_to: None, micro: rng.below(50_000) });
    tiers
}

/// A plan for one unit whose charge may not fall when more is used.
fn rising(rng: &mut Rng) -> PricePlan {
    let mut plan = plan(3);
    let price = &mut plan.prices[0];
    price.schedule = match rng.below(2) {
        0 => Schedule::Each { micro: rng.below(50_000) },
        _ => Schedule::Graduated { tiers: tiers(rng) },
    };
    price.free = rng.below(100);
    price.minimum = (rng.below(3) == 0).then(|| rng.below(300));
    price.maximum = (rng.below(3) == 0).then(|| 300 + rng.below(300));
    plan.subscription = rng.below(200);
    plan.minimum = (rng.below(3) == 0).then(|| rng.below(500));
    plan.maximum = (rng.below(3) == 0).then(|| 500 + rng.below(500));
    plan
}

#[test]
fn more_use_never_costs_less() {
    let mut rng = rng(1);
    for _ in 0..60 {
        let plan = rising(&mut rng);
        let mut last = 0;
        for quantity in (0..1_500).step_by(7) {
            let total = rate(&plan, &used(quantity), 0).unwrap().total;
            assert!(total >= last, "{quantity} cost {total} after {last}: {plan:?}");
            last = total;
        }
    }
    // By volume it may: that is what the word means.
    let mut plan = plan(1);
    let tiers = vec![Tier { up_to: Some(10), micro: 10_000 }, Tier { up_to: None, micro: 5_000 }];
    plan.prices[0].schedule = Schedule::Volume { tiers };
    let total = |quantity| rate(&plan, &used(quantity), 0).unwrap().total;
    assert_eq!((total(10), total(11)), (10, 6));
}

#[test]
fn a_higher_price_never_costs_less_and_free_use_never_costs_more() {
    let mut rng = rng(2);
    for _ in 0..300 {
        let plan = rising(&mut rng);
        let usage = used(rng.below(2_000));
        let total = rate(&plan, &usage, 0).unwrap().total;
        let mut dearer = plan.clone();
        match &mut dearer.prices[0].schedule {
            Schedule::Each { micro } => *micro += rng.below(20_000),
            Schedule::Graduated { tiers } | Schedule::Volume { tiers } => {
                let at = rng.below(tiers.len() as u64) as usize;
                tiers[at].micro += rng.below(20_000);
            }
        }
        assert!(rate(&dearer, &usage, 0).unwrap().total >= total);
        let mut kinder = plan.clone();
        kinder.prices[0].free += rng.below(50);
        assert!(rate(&kinder, &usage, 0).unwrap().total <= total);
        let mut lower = plan;
        lower.maximum = Some(lower.maximum.unwrap_or(2_000).max(lower.minimum.unwrap_or(0)));
        assert!(rate(&lower, &usage, 0).unwrap().total <= total.max(lower.minimum.unwrap_or(0)));
    }
}

#[test]
fn a_guided_revenue_is_never_over_what_is_permitted() {
    let mut rng = rng(3);
    for _ in 0..300 {
        let mut plan = rising(&mut rng);
        (plan.minimum, plan.prices[0].minimum) = (None, None);
        let (revenue_max, carry_max, carried) = (rng.below(900), rng.below(200), rng.below(200));
        let micro = plan.prices[0].schedule.micros().max().unwrap();
        let ceilings = vec![Ceiling { unit: Unit::CellIn, micro }];
        plan.regime = Regime::Guided { ceilings, subscription_ceiling: plan.subscription, revenue_max, carry_max };
        let rated = rate(&plan, &used(rng.below(2_000)), carried).unwrap();
        assert!(rated.total <= revenue_max + carried && rated.carried <= carry_max);
        assert!(rated.carried <= revenue_max + carried - rated.total);
        assert_eq!(rated.lines.iter().map(|l| l.fen).sum::<i64>(), rated.total as i64);
    }
}

#[test]
fn the_order_of_receipts_does_not_matter() {
    let mut rng = rng(4);
    for _ in 0..50 {
        let mut plan = rising(&mut rng);
        plan.split = Split::Proportional { unit: Unit::CellIn };
        let mut lines: Vec<(NodeId, u64)> = (0..30).map(|_| (node(rng.below(5) as usize), rng.below(40))).collect();
        let total = |lines: &[(NodeId, u64)]| {
            let mut usage = Usage::default();
            lines.iter().for_each(|(party, quantity)| usage.add(Unit::CellIn, *party, *quantity).unwrap());
            let rated = rate(&plan, &usage, 0).unwrap();
            let shares = share(&plan, rated.total, &usage, None).unwrap();
            (rated, shares)
        };
        let before = total(&lines);
        for i in (1..lines.len()).rev() {
            lines.swap(i, rng.below(i as u64 + 1) as usize);
        }
        // Two lines of one party are as good as one.
        lines.push((node(1), 3));
        let (one, two) = ((node(1), 1), (node(1), 2));
        let mut divided = lines.clone();
        divided.pop();
        assert_eq!(total(&divided), before);
        divided.extend([one, two]);
        assert_eq!(total(&divided), total(&lines));
    }
}

#[test]
fn divisions_add_up_and_ignore_the_order_of_weights() {
    let mut rng = rng(5);
    for _ in 0..2_000 {
        let n = 1 + rng.below(9) as usize;
        let most = [1, 2, 10, 1 << 40][rng.below(4) as usize];
        let mut weights: Vec<(NodeId, u128)> = (0..n).map(|i| (node(i), u128::from(rng.below(most)))).collect();
        let most = [10, 1_000, AMOUNT_FEN_MAX][rng.below(3) as usize];
        let total = rng.below(most);
        let parts = largest_remainder(total, &weights).unwrap();
        assert_eq!(parts.iter().map(|(_, fen)| fen).sum::<u64>(), total);
        let sum: u128 = weights.iter().map(|(_, w)| w).sum();
        for ((_, fen), (_, weight)) in parts.iter().zip(&weights).filter(|_| sum > 0) {
            // Nobody is a whole fen away from the exact share.
            assert!((u128::from(*fen) * sum).abs_diff(u128::from(total) * weight) < sum);
        }
        weights.reverse();
        assert_eq!(largest_remainder(total, &weights).unwrap(), parts);
    }
}

fn valuation(plan: &PricePlan, worth: impl Fn(u32) -> u64) -> Valuation {
    let period = Period { first: 2, end: 9, from: UnixMillis(0), until: UnixMillis(1) };
    let sampled = matches!(plan.split, Split::ShapleySampled { .. });
    let seed = sampled.then_some(SeenCheckpoint { size: 9, root: Hash([3; 32]) });
    let masks = coalitions(plan, &period, seed.as_ref());
    let values = masks.iter().map(|m| CoalitionValue { coalition: *m, value: worth(*m) }).collect();
    let note = sampled.then(|| ByteVec::from(vec![1]));
    Valuation { version: 1, origin: "l.example/u".into(), plan: plan.id(), period, seed, values, note }
}

fn fens(plan: &PricePlan, total: u64, valuation: &Valuation) -> Vec<u64> {
    share(plan, total, &Usage::default(), Some(valuation)).unwrap().iter().map(|s| s.fen).collect()
}

#[test]
fn the_shapley_value_has_its_axioms() {
    let mut rng = rng(6);
    for _ in 0..200 {
        let n = 2 + rng.below(5) as usize;
        let mut plan = plan(n);
        plan.split = Split::Shapley;
        let table: Vec<u64> = (0..1u64 << n).map(|_| rng.below(1_000)).collect();
        let dummy = n as u32 - 1;
        // The last player adds nothing to anyone; the first two are each other's like.
        let like = |mask: u32| {
            let mask = mask & !(1 << dummy);
            if mask & 0b11 == 0b10 && n > 2 { mask ^ 0b11 } else { mask }
        };
        let worth = |mask: u32| if like(mask) == 0 { 0 } else { table[like(mask) as usize] };
        let shares = fens(&plan, 1_000_000, &valuation(&plan, worth));
        assert_eq!(shares.iter().sum::<u64>(), 1_000_000);
        if shares.iter().any(|fen| *fen != shares[0] && fen.abs_diff(shares[0]) > 1) {
            assert_eq!(shares[dummy as usize], 0, "{shares:?}");
            assert!(n == 2 || shares[0].abs_diff(shares[1]) <= 1, "{shares:?}");
        }
    }
    // What the gloves game gives: two left gloves and a right one, 1/6, 1/6, 4/6.
    let mut plan = plan(3);
    plan.split = Split::Shapley;
    let gloves = |mask: u32| u64::from(mask & 0b100 != 0 && mask & 0b011 != 0) * 6;
    assert_eq!(fens(&plan, 600, &valuation(&plan, gloves)), [100, 100, 400]);
    // Without one left glove nothing is lost; without the right one all is.
    plan.split = Split::LeaveOneOut;
    assert_eq!(fens(&plan, 600, &valuation(&plan, gloves)), [0, 0, 600]);
}

#[test]
fn sampled_orders_are_fair_and_follow_the_seed() {
    let mut plan = plan(3);
    plan.split = Split::ShapleySampled { samples: 600 };
    let gloves = |mask: u32| u64::from(mask & 0b100 != 0 && mask & 0b011 != 0) * 6;
    let one = valuation(&plan, gloves);
    let shares = fens(&plan, 600, &one);
    for (share, exact) in shares.iter().zip([100u64, 100, 400]) {
        assert!(share.abs_diff(exact) < 30, "{shares:?}");
    }
    let mut other = one.clone();
    other.seed = Some(SeenCheckpoint { size: 9, root: Hash([4; 32]) });
    assert_ne!(fens(&plan, 600, &other), shares);
    other = one.clone();
    other.period.end += 1;
    assert_ne!(fens(&plan, 600, &other), shares);
    // The largest values that fit do not overflow.
    plan.split = Split::Shapley;
    plan.payees = (1..=SHAPLEY_EXACT_MAX).map(node).collect();
    let shares = fens(&plan, AMOUNT_FEN_MAX, &valuation(&plan, |mask| u64::from(mask.count_ones() > 5) * u64::MAX));
    assert_eq!(shares.iter().sum::<u64>(), AMOUNT_FEN_MAX);
    assert!(shares.iter().all(|fen| fen.abs_diff(shares[0]) <= 1));
}

#[test]
fn a_plan_that_no_check_has_seen_is_not_divided() {
    let mut plan = plan(PLAYERS_MAX + 8);
    plan.split = Split::LeaveOneOut;
    let code = |plan: &PricePlan| {
        let empty = valuation(plan, |_| 1);
        assert!(empty.values.is_empty());
        share(plan, 7, &Usage::default(), Some(&empty)).unwrap_err().code
    };
    assert_eq!(code(&plan), Code::ReceiptPlan);
    plan.split = Split::ShapleySampled { samples: u32::MAX };
    assert_eq!(code(&plan), Code::ReceiptPlan);
}

#[track_caller]
fn refused(plan: &PricePlan) {
    assert_eq!(plan.check().unwrap_err().code, Code::ReceiptPlan, "{plan:?}");
}

#[test]
fn a_plan_is_within_its_caps() {
    let with = |change: &dyn Fn(&mut PricePlan)| {
        let mut one = plan(2);
        change(&mut one);
        one
    };
    assert_eq!(plan(PAYEES_MAX).check(), Ok(()));
    refused(&plan(PAYEES_MAX + 1));
    refused(&plan(0));
    refused(&with(&|p| p.prices = vec![p.prices[0].clone(); PRICES_MAX + 1]));
    refused(&with(&|p| p.prices = vec![p.prices[0].clone(); 2]));
    let tiers = |n: usize| {
        let tier = move |i: usize| Tier { up_to: (i < n).then_some(i as u64), micro: 1 };
        move |p: &mut PricePlan| p.prices[0].schedule = Schedule::Volume { tiers: (1..=n).map(tier).collect() }
    };
    assert_eq!(with(&tiers(TIERS_MAX)).check(), Ok(()));
    refused(&with(&tiers(TIERS_MAX + 1)));
    refused(&with(&tiers(0)));
    let each = |micro| move |p: &mut PricePlan| p.prices[0].schedule = Schedule::Each { micro };
    assert_eq!(with(&each(PRICE_MICRO_MAX)).check(), Ok(()));
    refused(&with(&each(PRICE_MICRO_MAX + 1)));
    let bounds: [fn(&mut PricePlan, u64); 5] = [
        |p, fen| p.subscription = fen,
        |p, fen| p.minimum = Some(fen),
        |p, fen| p.maximum = Some(fen),
        |p, fen| p.prices[0].minimum = Some(fen),
        |p, fen| p.prices[0].maximum = Some(fen),
    ];
    for bound in bounds {
        assert_eq!(with(&|p| bound(p, AMOUNT_FEN_MAX)).check(), Ok(()));
        refused(&with(&|p| bound(p, AMOUNT_FEN_MAX + 1)));
    }
    assert_eq!(with(&|p| p.dispute_window_ms = DISPUTE_WINDOW_MILLIS_MAX).check(), Ok(()));
    refused(&with(&|p| p.dispute_window_ms = DISPUTE_WINDOW_MILLIS_MAX + 1));
    let commission = |ppm| move |p: &mut PricePlan| p.commission = Some(Commission { party: node(9), ppm });
    assert_eq!(with(&commission(PPM)).check(), Ok(()));
    refused(&with(&commission(PPM + 1)));
    let split = |n: usize, split: Split| PricePlan { split, ..plan(n) };
    assert_eq!(split(SHAPLEY_EXACT_MAX, Split::Shapley).check(), Ok(()));
    refused(&split(SHAPLEY_EXACT_MAX + 1, Split::Shapley));
    assert_eq!(split(PLAYERS_MAX, Split::LeaveOneOut).check(), Ok(()));
    refused(&split(PLAYERS_MAX + 1, Split::LeaveOneOut));
    let samples = (COALITIONS_MAX / PLAYERS_MAX) as u32;
    assert_eq!(split(PLAYERS_MAX, Split::ShapleySampled { samples }).check(), Ok(()));
    refused(&split(PLAYERS_MAX, Split::ShapleySampled { samples: samples + 1 }));
    refused(&split(PLAYERS_MAX + 1, Split::ShapleySampled { samples: 1 }));
    refused(&split(3, Split::ShapleySampled { samples: 0 }));
    refused(&split(2, Split::Fixed { parts: vec![PPM] }));
    refused(&split(2, Split::Fixed { parts: vec![u64::MAX, PPM + 1] }));
}

const ORIGIN: &str = "log.example/usage/2026";
const PERIOD: Period = Period { first: 2, end: u64::MAX / 2, from: UnixMillis(0), until: UnixMillis(u64::MAX / 2) };

fn reference(index: usize) -> LeafRef {
    LeafRef { index: (u32::MAX as u64) + index as u64, hash: Hash([7; 32]) }
}

fn fits<T: minicbor::Encode<()>>(body: &T) {
    let size = cbor::encode(body).len() + SIGNING_OVERHEAD_BYTES;
    assert!(size <= LEAF_BYTES_MAX, "{size} bytes");
}

#[test]
fn statements_are_within_their_caps_and_the_largest_fit_a_leaf() {
    let origin = |n: usize| "l".repeat(n);
    let close = |sums: usize, bytes: usize| PeriodClose {
        version: 1,
        origin: origin(bytes),
        period: PERIOD,
        first_seq: Some(0),
        last_seq: Some(u64::MAX),
        count: u64::MAX,
        sums: (0..sums)
            .map(|i| UnitSum { contract: ContractId(node(i).0), unit: Unit::Call, quantity: u64::MAX })
            .collect(),
        disputed: Some(u64::MAX),
    };
    assert_eq!(close(SUMS_MAX, ORIGIN_BYTES_MAX).check(), Ok(()));
    fits(&close(SUMS_MAX, ORIGIN_BYTES_MAX));
    for past in [close(SUMS_MAX + 1, 1), close(1, ORIGIN_BYTES_MAX + 1)] {
        assert_eq!(past.check().unwrap_err().code, Code::ReceiptPeriodClose);
    }

    let line = ChargeLine { item: Item::Use, unit: Some(Unit::Call), quantity: u64::MAX, fen: 0 };
    let charge = |lines: usize, shares: usize, causes: u64| Charge {
        version: 1,
        origin: origin(ORIGIN_BYTES_MAX),
        plan: Hash([1; 32]),
        period: PERIOD,
        as_of: u64::MAX,
        lines: vec![line; lines],
        total: 0,
        before: 0,
        due: 0,
        carried_in: u64::MAX,
        carried_out: u64::MAX,
        shares: (0..shares).map(|i| Due { party: node(i), fen: 0 }).collect(),
        causes: (0..causes).map(|i| u64::MAX / 2 + i).collect(),
        valuation: Some(u64::MAX),
        disputed: Some(u64::MAX),
    };
    let none = Some(0);
    let (said, told) = (PeriodClose { disputed: none, ..close(1, 1) }, Charge { disputed: none, ..charge(1, 1, 1) });
    assert!(said.check().is_err() && told.check().is_err(), "no lines are left out, and it says so");
    let (lines, shares, causes) = (CHARGE_LINES_MAX, SHARES_MAX, CAUSES_MAX as u64);
    assert_eq!(charge(lines, shares, causes).check(), Ok(()));
    fits(&charge(lines, shares, causes));
    for past in [charge(lines + 1, 1, 1), charge(1, shares + 1, 1), charge(1, 1, causes + 1)] {
        assert_eq!(past.check().unwrap_err().code, Code::ReceiptCharge);
    }

    // Everyone pays the next one, in a ring.
    let settlement = |charges: usize, positions: usize, transfers: usize| Settlement {
        version: 1,
        origin: origin(ORIGIN_BYTES_MAX),
        currency: "CNY".into(),
        charges: (0..charges).map(reference).collect(),
        positions: (0..positions).map(|i| Due { party: node(i), fen: 0 }).collect(),
        transfers: (0..transfers)
            .map(|i| Transfer { from: node(i), to: node((i + 1) % transfers), fen: AMOUNT_FEN_MAX })
            .collect(),
    };
    let (charges, positions, transfers) = (SETTLED_CHARGES_MAX, POSITIONS_MAX, TRANSFERS_MAX);
    assert_eq!(settlement(charges, positions, transfers).check(), Ok(()));
    fits(&settlement(charges, positions, transfers));
    let past = [
        settlement(charges + 1, 2, 2),
        settlement(1, positions + 1, 2),
        settlement(1, positions, transfers + 1),
        settlement(0, 2, 2),
    ];
    for past in past {
        assert_eq!(past.check().unwrap_err().code, Code::ReceiptSettlement);
    }

    let value = |i: usize| CoalitionValue { coalition: u32::MAX - (COALITIONS_MAX + 1 - i) as u32, value: u64::MAX };
    let valuation = |values: usize, note: usize| Valuation {
        version: 1,
        origin: origin(ORIGIN_BYTES_MAX),
        plan: Hash([1; 32]),
        period: PERIOD,
        seed: Some(SeenCheckpoint { size: u64::MAX, root: Hash([1; 32]) }),
        values: (0..values).map(value).collect(),
        note: Some(vec![1; note].into()),
    };
    assert_eq!(valuation(COALITIONS_MAX, SEED_NOTE_BYTES_MAX).check(), Ok(()));
    fits(&valuation(COALITIONS_MAX, SEED_NOTE_BYTES_MAX));
    for past in [valuation(COALITIONS_MAX + 1, 1), valuation(1, SEED_NOTE_BYTES_MAX + 1)] {
        assert_eq!(past.check().unwrap_err().code, Code::ReceiptPlan);
    }
    let mut largest = plan(PAYEES_MAX);
    largest.split = Split::Fixed { parts: vec![0; PAYEES_MAX] };
    fits(&largest);
}

#[test]
fn words_and_evidence_are_within_their_caps() {
    let dispute = |reason: usize, evidence: usize| Dispute {
        version: 1,
        origin: ORIGIN.into(),
        plan: Hash([1; 32]),
        original: reference(1),
        line: None,
        reason: "r".repeat(reason),
        evidence: vec![Hash([1; 32]); evidence],
    };
    let ruling = |reason: usize, evidence: usize| Ruling {
        version: 1,
        origin: ORIGIN.into(),
        dispute: reference(1),
        outcome: Outcome::Void,
        reason: "r".repeat(reason),
        evidence: vec![Hash([1; 32]); evidence],
        about: Some(About { plan: Hash([1; 32]), line: u32::MAX }),
    };
    assert_eq!(dispute(REASON_BYTES_MAX, EVIDENCE_MAX).check(), Ok(()));
    assert_eq!(ruling(REASON_BYTES_MAX, EVIDENCE_MAX).check(), Ok(()));
    for (reason, evidence) in [(REASON_BYTES_MAX + 1, 0), (0, EVIDENCE_MAX + 1)] {
        assert_eq!(dispute(reason, evidence).check().unwrap_err().code, Code::ReceiptDispute);
        assert_eq!(ruling(reason, evidence).check().unwrap_err().code, Code::ReceiptDispute);
    }
    let correction = |reason: usize, quantity: u64| Correction {
        version: 1,
        origin: ORIGIN.into(),
        plan: Hash([1; 32]),
        original: reference(1),
        line: 0,
        was: 1,
        quantity,
        reason: "r".repeat(reason),
        dispute: None,
    };
    assert_eq!(correction(REASON_BYTES_MAX, 2).check(), Ok(()));
    for past in [correction(REASON_BYTES_MAX + 1, 2), correction(0, 1)] {
        assert_eq!(past.check().unwrap_err().code, Code::ReceiptCorrection);
    }
}

#[test]
fn netting_is_within_its_caps_and_does_not_overflow() {
    let dues = |n: usize, fen: i64| -> Vec<Due> { (1..=n).map(|i| Due { party: node(i), fen }).collect() };
    let code = |charges: &[(NodeId, Vec<Due>)]| {
        net(charges.iter().map(|(payer, dues)| (*payer, dues.as_slice()))).map(|_| ()).map_err(|f| f.code)
    };
    assert_eq!(code(&[(node(0), dues(POSITIONS_MAX - 1, 1))]), Ok(()));
    assert_eq!(code(&[(node(0), dues(POSITIONS_MAX, 1))]), Err(Code::ReceiptSettlement));
    // Few parties, and each pays many.
    let all = |n: usize| (0..n).map(|i| (node(500 + i), dues(TRANSFERS_MAX / n, 1))).collect::<Vec<_>>();
    assert_eq!(code(&all(2)), Ok(()));
    let mut past = all(2);
    past.push((node(502), dues(1, 1)));
    assert_eq!(code(&past), Err(Code::ReceiptSettlement));
    assert_eq!(code(&[(node(0), dues(1, i64::MAX)), (node(0), dues(1, 1))]), Err(Code::ReceiptAmount));
    assert_eq!(code(&[(node(0), dues(1, i64::MIN))]), Err(Code::ReceiptAmount));
}
