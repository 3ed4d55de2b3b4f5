//! Receipts that together cost a dataset more than its privacy budget are found, from the one that goes past it.

mod common;

use common::*;
use tacit_receipts::budget::{self, Budgets};
use tacit_receipts::*;
use tacit_types::*;

/// Each job of the world costs this dataset a quarter of epsilon.
const DATASET: DatasetVersionId = DatasetVersionId([1; 32]);

fn found(world: &World, budgets: &Budgets) -> Vec<(Option<u64>, Code)> {
    let trust = world.trust();
    let mut report = verify_bundle(&world.bundle().to_bytes(), Some(&trust)).unwrap();
    assert!(report.is_valid());
    budget::check(&mut report, (0..).zip(world.leaves.iter().map(|leaf| leaf.as_slice())), budgets);
    assert_eq!(report.is_valid(), report.faults.is_empty());
    report.faults.iter().map(|fault| (fault.leaf, fault.code)).collect()
}

#[test]
fn the_receipts_past_a_budget_are_found() {
    let mut world = World::new(3);
    let leaves: Vec<u64> = (1..=4)
        .map(|job| {
            let _ = world.job(job);
            world.leaves.len() as u64 - 1
        })
        .collect();
    let within = |epsilon: &str| Budgets::from([budget::parse(&format!("{DATASET}={epsilon}")).unwrap()]);
    assert_eq!(found(&world, &within("1")), []);
    let past = |leaf: u64| (Some(leaf), Code::ReceiptBudget);
    assert_eq!(found(&world, &within("0.999999")), [past(leaves[3])]);
    assert_eq!(found(&world, &within("0.5")), [past(leaves[2]), past(leaves[3])]);
    assert_eq!(found(&world, &Budgets::from([(DatasetVersionId([2; 32]), 0)])), [], "nothing was charged to another");
    // A leaf that is there twice is one charge: it is found as a duplicate, not as a cost.
    let twice = (0..).zip(world.leaves.iter().chain(&world.leaves).map(|leaf| leaf.as_slice()));
    let mut report = verify_bundle(&world.bundle().to_bytes(), Some(&world.trust())).unwrap();
    budget::check(&mut report, twice, &within("1"));
    assert!(report.is_valid());
}
