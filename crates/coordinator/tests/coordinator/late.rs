//! Attestations whose answer was lost: they reach the log, each once and from its own party alone.

use std::time::Duration;

use tacit_crypto::Statement;
use tacit_crypto::statement::Link;
use tacit_engine::api::{FromCoordinator, ToCoordinator};
use tacit_receipts::{Attestation, JointReceipt, verify_files};
use tacit_types::wire::Blob;
use tacit_types::{Code, Fault, Hash, JobId};

use crate::support::*;

const LIMITS: &str = "[limits]\nadmit_ms = 1500\nqueue_ms = 20000\nreserve_ms = 4000\nsettle_ms = 900\nloss_ms = 700\n\
                      close_ms = 700\n";

async fn hand_in(node: &Node, job: JobId, attestation: &Blob) -> Result<FromCoordinator, Fault> {
    ask(&node.up().await, &ToCoordinator::Attested { job, attestation: attestation.clone() }).await
}

/// As a node does it: again until it is taken.
async fn handed_in(node: &Node, job: JobId, attestation: &Blob) {
    within(20, "the attestation's way to the log", async {
        loop {
            match hand_in(node, job, attestation).await {
                Ok(answer) => return assert_eq!(answer, FromCoordinator::Done),
                Err(fault) => assert_eq!(fault.code, Code::JobNotFinished, "{fault}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attestation_that_comes_late_becomes_a_leaf_once() {
    let mut world = World::with_limits(LIMITS).await;
    let nodes = world.nodes(3).await;
    let operator = world.operator("o").await;
    nodes.iter().for_each(|n| n.script().fail = Some(Code::JobLocal));
    let late = &nodes[1];
    late.script().lose.insert("attest");
    let id = operator.submit(operator.job(&nodes, 1)).await.unwrap();
    let view = operator.end(id).await;
    assert_eq!(view.receipt, Some(2), "{view:?}");
    late.script().lose.clear();
    let statement = late.attestation(&id).expect("it has signed, and the answer was lost");

    let another = hand_in(&nodes[0], id, &statement).await.unwrap_err();
    assert!(matches!(another.code, Code::ReceiptAttestationInvalid | Code::JobNotFinished), "{another}");
    handed_in(late, id, &statement).await;
    let leaves = world.leaves(&operator).await;
    assert_eq!(leaves.len(), 4);
    assert_eq!(leaves[3], statement.0, "`Done` means that it is published");
    let receipt = Statement::<JointReceipt>::verify(&leaves[2]).unwrap();
    assert!(!receipt.body().carries(&tacit_types::StatementId(tacit_crypto::sha256(&statement).0)));

    // Again, and by whoever else: no further leaf.
    handed_in(late, id, &statement).await;
    assert_eq!(hand_in(&nodes[0], id, &statement).await.unwrap_err().code, Code::ReceiptAttestationInvalid);
    let own = Statement::<Attestation>::verify(&statement).unwrap().into_body();
    let link = Link { seq: 7, prev: Hash([7; 32]) };
    let second = own.sign(&late.keys.node, &receipt.body().record, now(), link);
    let refused = hand_in(late, id, &Blob(second.bytes().to_vec())).await.unwrap_err();
    assert_eq!(refused.code, Code::ReceiptRecord, "one party's word counts once: {refused}");
    let strange = hand_in(late, JobId([9; 32]), &statement).await.unwrap_err();
    assert_eq!(strange.code, Code::JobUnknown);

    world.stop().await;
    world.start().await;
    handed_in(late, id, &statement).await;
    assert_eq!(world.leaves(&operator).await.len(), 4);
    world.stop().await;
    let report = verify_files(&Files(world.log()), None).unwrap();
    assert!(report.is_valid(), "{:?}", report.faults);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_nobody_seemed_to_attest_gets_its_receipt() {
    let mut world = World::with_limits(LIMITS).await;
    let nodes = world.nodes(3).await;
    let operator = world.operator("o").await;
    for node in &nodes {
        node.script().fail = Some(Code::JobLocal);
        node.script().lose.insert("attest");
    }
    let id = operator.submit(operator.job(&nodes, 1)).await.unwrap();
    let end = operator.end(id).await;
    assert_eq!(end.receipt, None, "{end:?}");
    nodes.iter().for_each(|n| n.script().lose.clear());
    let statements: Vec<Blob> = nodes.iter().map(|n| n.attestation(&id).expect("it has signed")).collect();
    handed_in(&nodes[2], id, &statements[2]).await;
    let view = operator.view(id).await;
    assert_eq!((view.receipt, &view.terminal), (Some(2), &end.terminal), "its end stays what it was");
    handed_in(&nodes[0], id, &statements[0]).await;
    handed_in(&nodes[1], id, &statements[1]).await;
    let leaves = world.leaves(&operator).await;
    let receipt = Statement::<JointReceipt>::verify(&leaves[2]).unwrap();
    let name = |statement: &Blob| tacit_types::StatementId(tacit_crypto::sha256(statement).0);
    for statement in &statements {
        let times = leaves.iter().filter(|leaf| **leaf == statement.0).count();
        assert_eq!(times + usize::from(receipt.body().carries(&name(statement))), 1, "each stands there once");
    }
    world.stop().await;
    let report = verify_files(&Files(world.log()), None).unwrap();
    assert!(report.is_valid(), "{:?}", report.faults);
}
