//! Statements of money: their decoders, and a ledger that takes any of them in any order.

use serde_json::Value;
use tacit_crypto::statement::Envelope;
use tacit_crypto::{Body, cbor};
use tacit_receipts::money::{
    Charge, Correction, Dispute, LeafRef, Ledger, Money, PeriodClose, PricePlan, Ruling, Settlement, Usage, Valuation,
    coalitions, net, rate, share,
};
use tacit_types::{Hash, NodeId, Unit, UnixMillis};

use crate::signed::canonical;
use crate::world::World;

const RATING: &str = include_str!("../../tests/vectors/receipts/rating.json");
const SETTLEMENT: &str = include_str!("../../tests/vectors/receipts/settlement.json");
const STATEMENTS: &str = include_str!("../../tests/vectors/receipts/statements.json");
const ORIGIN: &str = "log.example/usage/2026";

/// Checks a body by itself as a leaf's would be.
fn checked<T: Body>(bytes: &[u8]) {
    if let Ok(Some(money)) = Money::read(T::TYPE, bytes) {
        let _ = money.check();
    }
}

/// A price plan: what it rates is divided without a fen left over.
pub fn price_plan(bytes: &[u8]) {
    canonical::<PricePlan>(bytes);
    let Ok(plan) = cbor::decode::<PricePlan>(bytes) else { return };
    let mut usage = Usage::default();
    for (i, unit) in Unit::ALL.into_iter().enumerate() {
        let party = plan.payees.get(i % 3).copied().unwrap_or(plan.payer);
        assert!(usage.add(unit, party, 1 << (5 * i)).is_ok());
    }
    let Ok(rated) = rate(&plan, &usage, 77) else { return };
    assert_eq!(rated.lines.iter().map(|l| i128::from(l.fen)).sum::<i128>(), i128::from(rated.total));
    if let Ok(shares) = share(&plan, rated.total, &usage, None) {
        assert_eq!(shares.iter().map(|s| s.fen).sum::<u64>(), rated.total);
    }
}

/// A party's close.
pub fn period_close(bytes: &[u8]) {
    canonical::<PeriodClose>(bytes);
    checked::<PeriodClose>(bytes);
}

/// A charge: one that holds by itself nets to zero.
pub fn charge(bytes: &[u8]) {
    canonical::<Charge>(bytes);
    let Ok(charge) = cbor::decode::<Charge>(bytes) else { return };
    if charge.check().is_err() {
        return;
    }
    assert_eq!(charge.shares.iter().map(|s| i128::from(s.fen)).sum::<i128>(), i128::from(charge.due));
    if let Ok((positions, _)) = net([(NodeId([9; 32]), charge.shares.as_slice())]) {
        assert_eq!(positions.iter().map(|p| i128::from(p.fen)).sum::<i128>(), 0);
    }
}

/// A settlement.
pub fn settlement(bytes: &[u8]) {
    canonical::<Settlement>(bytes);
    checked::<Settlement>(bytes);
}

/// A correction.
pub fn correction(bytes: &[u8]) {
    canonical::<Correction>(bytes);
    checked::<Correction>(bytes);
}

/// A dispute.
pub fn dispute(bytes: &[u8]) {
    canonical::<Dispute>(bytes);
    checked::<Dispute>(bytes);
}

/// A ruling.
pub fn ruling(bytes: &[u8]) {
    canonical::<Ruling>(bytes);
    checked::<Ruling>(bytes);
}

/// A valuation, and the division by it.
pub fn valuation(bytes: &[u8]) {
    canonical::<Valuation>(bytes);
    let Ok(valuation) = cbor::decode::<Valuation>(bytes) else { return };
    if valuation.check().is_err() {
        return;
    }
    for plan in plans().into_iter().filter_map(|p| cbor::decode::<PricePlan>(&p).ok()).filter(|p| p.check().is_ok()) {
        let _ = coalitions(&plan, &valuation.period, valuation.seed.as_ref());
        if let Ok(shares) = share(&plan, 1_000_003, &Usage::default(), Some(&valuation)) {
            assert_eq!(shares.iter().map(|s| s.fen).sum::<u64>(), 1_000_003);
        }
    }
}

/// Kinds of statements, by the byte that stands before them in the input of [`ledger`].
const KINDS: [&str; 8] = [
    PricePlan::TYPE,
    PeriodClose::TYPE,
    Charge::TYPE,
    Settlement::TYPE,
    Correction::TYPE,
    Dispute::TYPE,
    Ruling::TYPE,
    Valuation::TYPE,
];

/// A ledger with two receipts takes statements of any kind by anyone: a byte for the kind, one for the signer, two for
/// the length, the body. What a charge that it took is due with is what its shares come to.
pub fn ledger(mut bytes: &[u8]) {
    let mut ledger = Ledger::new(ORIGIN);
    let mut index = 2;
    let mut world = World::new(3);
    while let Some((head, rest)) = bytes.split_first_chunk::<4>() {
        let [kind, signer, high, low] = *head;
        let length = usize::from(u16::from_be_bytes([high, low])).min(rest.len());
        let (body, rest) = rest.split_at(length);
        bytes = rest;
        let leaf = LeafRef { index, hash: Hash([0xaa; 32]) };
        index += 1;
        let envelope = Envelope {
            kind: KINDS[usize::from(kind) % KINDS.len()].to_owned(),
            signer: NodeId([signer; 32]),
            subject: String::new(),
            issued_at: UnixMillis(1_795_000_000_000),
            link: None,
            body: body.to_vec(),
        };
        match Money::read(&envelope.kind, body) {
            Ok(Some(money)) => {
                let _ = ledger.push(leaf, &envelope, &money);
            }
            _ => {
                let record = world.record(signer);
                ledger.receipt(leaf, UnixMillis(1_795_000_000_000), &record, true, kind % 2 == 0);
            }
        }
    }
    for (_, charge) in ledger.unsettled() {
        assert_eq!(charge.shares.iter().map(|s| i128::from(s.fen)).sum::<i128>(), i128::from(charge.due));
    }
}

fn vectors(text: &str) -> Value {
    serde_json::from_str(text).expect("the vectors are JSON")
}

fn hex_of(value: &Value) -> Option<Vec<u8>> {
    hex(value.as_str()?)
}

fn hex(text: &str) -> Option<Vec<u8>> {
    (0..text.len() / 2).map(|i| u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()).collect()
}

fn of_cases(field: &str) -> Vec<Vec<u8>> {
    let cases = vectors(RATING);
    let mut found: Vec<Vec<u8>> =
        cases["cases"].as_array().into_iter().flatten().filter_map(|c| hex_of(&c[field])).collect();
    found.sort();
    found.dedup();
    found
}

fn plans() -> Vec<Vec<u8>> {
    of_cases("plan_cbor")
}

/// Plans of every shape.
pub fn price_plan_seeds() -> Vec<Vec<u8>> {
    plans()
}

/// A few charges.
pub fn charge_seeds() -> Vec<Vec<u8>> {
    let mut seeds = of_cases("charge_cbor");
    seeds.truncate(8);
    seeds.extend(of_type(Charge::TYPE));
    seeds
}

/// Valuations for each way of dividing.
pub fn valuation_seeds() -> Vec<Vec<u8>> {
    of_cases("valuation_cbor")
}

/// A settlement of several regimes.
pub fn settlement_seeds() -> Vec<Vec<u8>> {
    hex_of(&vectors(SETTLEMENT)["settlement_cbor"]).into_iter().collect()
}

fn of_type(kind: &str) -> Vec<Vec<u8>> {
    let all = vectors(STATEMENTS);
    let of_kind = all["statements"].as_array().into_iter().flatten().filter(|s| s["type"] == kind);
    of_kind.filter_map(|s| hex_of(&s["cbor"])).collect()
}

/// Closes.
pub fn period_close_seeds() -> Vec<Vec<u8>> {
    of_type(PeriodClose::TYPE)
}

/// Corrections.
pub fn correction_seeds() -> Vec<Vec<u8>> {
    of_type(Correction::TYPE)
}

/// Disputes.
pub fn dispute_seeds() -> Vec<Vec<u8>> {
    of_type(Dispute::TYPE)
}

/// Rulings.
pub fn ruling_seeds() -> Vec<Vec<u8>> {
    of_type(Ruling::TYPE)
}

/// A plan that everyone signs, two receipts, and one of each other statement.
pub fn ledger_seeds() -> Vec<Vec<u8>> {
    let mut seed = Vec::new();
    let mut add = |kind: u8, signer: u8, body: &[u8]| {
        let length = u16::try_from(body.len()).expect("a short body");
        seed.extend([kind, signer]);
        seed.extend(length.to_be_bytes());
        seed.extend(body);
    };
    let vectors = vectors(SETTLEMENT);
    let charges: Vec<&Value> = vectors["charges"].as_array().into_iter().flatten().collect();
    for case in &charges {
        let body = hex_of(&case["plan_cbor"]).expect("a plan");
        [9, 1, 2, 3, 4].iter().for_each(|signer| add(0, *signer, &body));
    }
    add(0, 0, &[]);
    add(0, 0, &[]);
    charges.iter().for_each(|case| add(2, 0, &hex_of(&case["charge_cbor"]).expect("a charge")));
    settlement_seeds().iter().for_each(|body| add(3, 0, body));
    correction_seeds().iter().for_each(|body| add(4, 9, body));
    dispute_seeds().iter().for_each(|body| add(5, 9, body));
    ruling_seeds().iter().for_each(|body| add(6, 9, body));
    vec![seed]
}
