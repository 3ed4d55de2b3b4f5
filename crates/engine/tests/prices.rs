//! Signatures over price plans that come with a job.

use tacit_crypto::{Secret, SigningKey, Statement};
use tacit_engine::Worker;
use tacit_receipts::money::{PricePlan, Regime, Split};
use tacit_types::wire::Blob;
use tacit_types::{ContractId, NodeId, UnixMillis};

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&Secret::new([seed; 32]))
}

fn plan() -> PricePlan {
    let mut payees: Vec<NodeId> = [2, 3].map(|seed| key(seed).id()).to_vec();
    payees.sort();
    PricePlan {
        version: 1,
        contract: ContractId([7; 32]),
        currency: "CNY".into(),
        regime: Regime::Market,
        payer: key(1).id(),
        payees,
        prices: Vec::new(),
        subscription: 100,
        minimum: None,
        maximum: None,
        split: Split::Equal,
        commission: None,
        arbiter: None,
        dispute_window_ms: 1,
        valid_from: UnixMillis(1),
        valid_until: UnixMillis(2),
    }
}

fn by(seed: u8, plan: &PricePlan) -> Blob {
    Blob(Statement::sign(&key(seed), "money", UnixMillis(1), None, plan.clone()).bytes().to_vec())
}

#[test]
fn a_plan_counts_with_the_signatures_of_its_payer_and_every_payee() {
    let plan = plan();
    plan.check().unwrap();
    let signed = |offered: Vec<Blob>, contract| {
        Worker::price_plans(&[offered], tacit_receipts::KeyHistory::none()).signed(&contract, &plan.terms())
    };
    let all = |plan: &PricePlan| [1, 2, 3].map(|seed| by(seed, plan)).to_vec();
    assert!(signed(all(&plan), plan.contract));
    for missing in 0..3 {
        let mut some = all(&plan);
        some.remove(missing);
        assert!(!signed(some.clone(), plan.contract), "without {missing}");
        some.push(by(4, &plan));
        assert!(!signed(some, plan.contract), "a stranger in place of {missing}");
    }
    assert!(!signed(all(&plan), ContractId([8; 32])), "of another contract");
    let dearer = PricePlan { subscription: 101, ..plan.clone() };
    assert!(!signed(all(&dearer), plan.contract), "other terms");
    // The signatures of one plan do not add up with those of another.
    let mixed = vec![by(1, &plan), by(2, &dearer), by(3, &plan)];
    assert!(!signed(mixed, plan.contract));
    let mut forged = all(&plan);
    *forged[1].0.last_mut().unwrap() ^= 1;
    assert!(!signed(forged, plan.contract));
}
