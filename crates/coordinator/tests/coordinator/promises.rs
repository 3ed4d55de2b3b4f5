//! What each party that has attested is promised.

use std::time::Duration;

use tacit_crypto::Statement;
use tacit_engine::Terminal;
use tacit_receipts::{Attestation, JointReceipt};
use tacit_types::JobId;
use tokio::time::sleep;

use crate::support::*;

/// Waits until a node has taken so many promises of a job.
async fn held_promises(node: &Node, id: &JobId, count: usize) {
    within(20, "a promise", async {
        while node.promises(id).len() < count {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_party_that_attests_is_promised_its_receipt_over_a_restart_too() {
    let mut world = World::with_limits("[limits]\npromise_ms = 77000\nclose_ms = 3000\n").await;
    let nodes = world.nodes(3).await;
    let operator = world.operator("o").await;
    nodes[2].script().hold.insert("attest");
    let begun = now();
    let id = operator.submit(operator.job(&nodes, 1)).await.unwrap();
    let (attested, held) = nodes.split_at(2);
    for node in attested {
        held_promises(node, &id, 1).await;
    }
    assert!(held[0].promises(&id).is_empty(), "it has attested nothing");
    world.stop().await;
    let first: Vec<_> = attested.iter().flat_map(|node| node.promises(&id)).collect();
    assert_eq!(first.len(), 2, "each once: {first:?}");
    assert_eq!(first[0], first[1], "one promise for all");
    let due = first[0].deadline;
    assert!(due >= begun.plus(77_000) && due <= now().plus(77_000), "{due}");
    for node in attested {
        let statement = Statement::<Attestation>::verify(&node.attestation(&id).unwrap()).unwrap();
        assert_eq!(statement.body().usage, first[0].usage);
    }
    // The next process signs it anew, for the same record and later.
    world.start().await;
    for node in attested {
        held_promises(node, &id, 2).await;
        let again = node.promises(&id);
        assert!(again.len() == 2 && again[1].usage == first[0].usage && again[1].deadline > due, "{again:?}");
    }
    nodes[2].script().hold.clear();
    let view = operator.end(id).await;
    assert_eq!(view.terminal, Some(Terminal::Succeeded), "{:?}", view.timeline);
    // And it is kept.
    let leaf = world.leaves(&operator).await.swap_remove(view.receipt.unwrap() as usize);
    let receipt = Statement::<JointReceipt>::verify(&leaf).unwrap();
    assert_eq!(receipt.body().record.digest(), first[0].usage);
    world.stop().await;
}
