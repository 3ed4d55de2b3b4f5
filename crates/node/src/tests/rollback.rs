//! A database of before: nothing is admitted until the log was looked through, and what it shows counts.

use tacit_governance::PrivacyCost;
use tacit_receipts::record::PrivacyCharge;
use tacit_receipts::{Standing, Status, UsageRecord};
use tacit_types::limits::ROWS_MAX;

use super::*;
use crate::recount::at_most;
use crate::store::Recounted;

fn failed(answer: &FromNode) -> Option<Code> {
    match answer {
        FromNode::Failed(fault) => Some(fault.code),
        _ => None,
    }
}

/// Without a look at the log nothing begins and nothing is signed; the same requests hold once it was looked through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_admitted_before_the_log_was_looked_through() {
    let mut world = World::new("behind").await;
    let contract = world.contract("good", 60_000, true);
    let known = world.admit(&contract).await;
    let (id, job, contracts) = world.job(&contract);
    let admit = ToNode::Admit { job: job.clone(), contracts: contracts.clone() };
    world.node.inner().recount.hold();
    let held = [
        admit.clone(),
        ToNode::Plan { job, contracts },
        ToNode::Reserve { job: known, attempt: Attempt(1), ttl_ms: 60_000 },
        ToNode::Attest { job: known, record: Blob(Vec::new()), evidence: Vec::new() },
    ];
    for request in held {
        let answer = world.ask(&request).await;
        assert_eq!(failed(&answer), Some(Code::RefusedLedgerBehind), "{answer:?}");
    }
    assert!(world.store().job(&id).await.unwrap().is_none(), "it is not refused for good");
    world.node.inner().recount.skip();
    assert!(matches!(world.ask(&admit).await, FromNode::Admitted(_)));
    world.end().await;
}

/// A job that only the log shows uses its contract, and its id is used.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_only_the_log_shows_is_used() {
    let mut world = World::new("recounted").await;
    let contract = world.contract("good", 60_000, true);
    let quota = contract.body().quota.jobs;
    let (id, job, contracts) = world.job(&contract);
    let row = |job: JobId| Recounted {
        job,
        contract: contract.id(),
        rows: 0,
        dataset: None,
        cost: PrivacyCost::default(),
        question: None,
    };
    let mut tx = world.store().begin().await.unwrap();
    tx.put_recounted(&row(id)).await.unwrap();
    for n in 2..quota {
        tx.put_recounted(&row(JobId([n as u8; 32]))).await.unwrap();
    }
    tx.commit().await.unwrap();
    let code = async |world: &World, job: Blob, contracts: Vec<Vec<Blob>>| match world
        .ask(&ToNode::Admit { job, contracts })
        .await
    {
        FromNode::Refused(bytes) => Statement::<tacit_governance::Refusal>::verify(&bytes).unwrap().into_body().code,
        other => panic!("{other:?}"),
    };
    assert_eq!(code(&world, job, contracts).await, Code::RefusedReplayed);
    world.admit(&contract).await;
    let (_, job, contracts) = world.job(&contract);
    assert_eq!(code(&world, job, contracts).await, Code::RefusedQuota);
    world.end().await;
}

/// Where the admission is not to be had, a record stands for the most that its job can have taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_alone_counts_for_the_most_that_it_can_mean() {
    let mut world = World::new("at-most").await;
    let contract = world.contract("good", 60_000, true);
    let (id, job, _) = world.job(&contract);
    let (spec, own, unknown) = (JobSpec::verify(&job).unwrap(), world.keys.node.id(), tacit_types::ContractId([7; 32]));
    let part = |(root, node): (NodeId, NodeId)| tacit_engine::record::Part {
        name: name("a"),
        node,
        root,
        standing: Standing::TookPart,
        finished: None,
    };
    let mut record: UsageRecord = tacit_engine::record::assemble(tacit_engine::record::Ended {
        job: &spec,
        origin: "log.example",
        attempt: Attempt(1),
        status: Status::Ok,
        parties: world.owners().into_iter().zip([own, key(101).id(), key(102).id()]).map(part).collect(),
        span: (crate::now(), crate::now()),
        evidence: &[],
    });
    record.contracts.push(unknown);
    let rows = at_most(&record, &own, core::slice::from_ref(&contract));
    let taken: Vec<_> = rows.iter().map(|row| (row.job, row.contract, row.rows, row.dataset)).collect();
    assert_eq!(taken, [(id, contract.id(), 0, None), (id, unknown, ROWS_MAX, None)]);
    let charge =
        |dataset, epsilon_micro| PrivacyCharge { dataset, mechanism: name("noise"), epsilon_micro, delta_femto: 3 };
    record.privacy = vec![charge(world.dataset, 5), charge(DatasetVersionId([9; 32]), 70)];
    let mut other = record.clone();
    other.parties.iter_mut().for_each(|entry| entry.dataset = None);
    let costs = |record: &UsageRecord| -> Vec<_> {
        at_most(record, &own, core::slice::from_ref(&contract))
            .iter()
            .map(|row| (row.dataset, row.cost.epsilon_micro))
            .collect()
    };
    assert_eq!(costs(&record), [(Some(world.dataset), 5), (None, 0)], "once, and this node's own alone");
    assert_eq!(costs(&other), [(None, 0), (None, 0)]);
    world.end().await;
}
