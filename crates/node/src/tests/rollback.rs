//! A database of before: nothing is admitted until the log was looked through, and what it shows counts.

use std::collections::BTreeMap;

use tacit_engine::api::PAGE_MAX;
use tacit_engine::recount::{at_most, counted};
use tacit_governance::orders::{Denied, NegativeList};
use tacit_governance::{Admission, Order, PrivacyCost};
use tacit_receipts::merkle::leaf_hash;
use tacit_receipts::receipt::next_link;
use tacit_receipts::record::PrivacyCharge;
use tacit_receipts::{Absent, Attestation, JointReceipt, Memo, Peaks, Standing, Status, UsageRecord};
use tacit_types::Seat;
use tacit_types::limits::ROWS_MAX;

use super::*;
use crate::carried::Carried;
use crate::memos::{self, Told};
use crate::recount::Scan;
use crate::store::Recounted;

fn failed(answer: &FromNode) -> Option<Code> {
    match answer {
        FromNode::Failed(fault) => Some(fault.code),
        _ => None,
    }
}

/// The record of a job that ended.
pub(super) fn ended(world: &World, spec: &Statement<JobSpec>, status: Status) -> UsageRecord {
    let part = |(root, node): (NodeId, NodeId)| tacit_engine::record::Part {
        name: name("a"),
        node,
        root,
        standing: Standing::TookPart,
        finished: None,
        links: None,
    };
    let nodes = [world.keys.node.id(), key(101).id(), key(102).id()];
    tacit_engine::record::assemble(tacit_engine::record::Ended {
        job: spec,
        origin: "log.example",
        attempt: Attempt(1),
        status,
        parties: world.owners().into_iter().zip(nodes).map(part).collect(),
        span: (crate::now(), crate::now()),
        evidence: &[],
    })
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
    let mut record = ended(&world, &spec, Status::Ok);
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

/// A receipt may carry this node's attestation in any place, call it absent, or carry hashes: it is found, or the log is not read
/// on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attestation_is_found_wherever_it_is_carried() {
    let mut world = World::new("places").await;
    let contract = world.contract("good", 60_000, true);
    let (_, job, _) = world.job(&contract);
    let record = ended(&world, &JobSpec::verify(&job).unwrap(), Status::Ok);
    let own = world.keys.node.id();
    let attest = |key: &SigningKey, record: &UsageRecord| {
        let said = Attestation::agreeing(record, record.parties[0].role, None);
        said.sign(key, record, crate::now(), next_link(None)).bytes().to_vec()
    };
    let (ours, theirs) = (attest(&world.keys.node, &record), [attest(&key(101), &record), attest(&key(102), &record)]);
    let receipt = |carried: &[Vec<u8>], absent: bool| JointReceipt {
        record: record.clone(),
        attestations: carried.iter().map(|bytes| bytes.clone().into()).collect(),
        price_plan: None,
        charges: None,
        absent: absent.then_some(Absent { party: own, code: Code::JobUnreachable }).into_iter().collect(),
    };
    // The search with so many statements to an answer, and how often it asked.
    type Held = BTreeMap<[u8; 32], Vec<u8>>;
    let search = |receipt: &JointReceipt, held: &Held, many: usize| {
        let (mut carried, mut asked) = (Carried::new(receipt, (&own, &[own])), 0);
        while !carried.page().is_empty() {
            assert!(carried.page().len() <= PAGE_MAX as usize);
            let held: Vec<Vec<u8>> = carried.page().iter().take(many).map(|id| held[&id.0].clone()).collect();
            carried.take(&held).unwrap();
            asked += 1;
        }
        (carried.found().map(|said| said.bytes().to_vec()), asked)
    };
    let sum = |bytes: &Vec<u8>| tacit_crypto::sha256(bytes).0;
    let [one, two] = theirs;
    let places = [[&ours, &one, &two], [&one, &ours, &two], [&one, &two, &ours]].map(|places| places.map(Vec::clone));
    for (carried, absent) in places.iter().flat_map(|carried| [(carried, false), (carried, true)]) {
        assert_eq!(search(&receipt(carried, absent), &Held::new(), 0), (Some(ours.clone()), 0));
        let held: Held = carried.iter().map(|bytes| (sum(bytes), bytes.clone())).collect();
        let hashes = carried.each_ref().map(|bytes| sum(bytes).to_vec());
        let (found, asked) = search(&receipt(&hashes, absent), &held, 1);
        assert_eq!(found.as_ref(), Some(&ours));
        assert!(absent || asked == 1 || record.parties[carried.iter().position(|c| *c == ours).unwrap()].party != own);
        for wrong in [vec![], vec![one.clone()], vec![two.clone(), ours.clone(), one.clone()], vec![b"other".to_vec()]]
        {
            let mut carried = Carried::new(&receipt(&[sum(&ours).to_vec()], absent), (&own, &[own]));
            assert_eq!(carried.take(&wrong).unwrap_err().code, Code::LogCorrupt);
        }
    }
    let mut carried = Carried::new(&receipt(&[sum(&ours).to_vec()], false), (&own, &[own]));
    assert_eq!(carried.take(&[ours.clone(), ours.clone()]).unwrap_err().code, Code::LogCorrupt, "more than asked for");
    let mut other = record.clone();
    other.attempt = Attempt(2);
    let none = [attest(&world.keys.node, &other), one.clone(), two.clone()];
    assert_eq!(search(&receipt(&none, false), &Held::new(), 0), (None, 0), "of another record");
    let mut many: Vec<Vec<u8>> = (0..=PAGE_MAX).map(|n| n.to_be_bytes().to_vec()).collect();
    many.push(ours.clone());
    let held: Held = many.iter().map(|bytes| (sum(bytes), bytes.clone())).collect();
    let hashes: Vec<Vec<u8>> = many.iter().map(|bytes| sum(bytes).to_vec()).collect();
    assert_eq!(search(&receipt(&hashes, false), &held, usize::MAX), (Some(ours), 2), "more than one answer holds");
    world.end().await;
}

/// A log that is as long as another node's and another one is a fork, wherever the leaves come from.
#[test]
fn a_fork_as_long_as_the_head_of_another_is_found() {
    let root = |leaves: &[&[u8]]| {
        let mut peaks = Peaks::default();
        leaves.iter().for_each(|leaf| peaks.push(leaf_hash(leaf)));
        peaks.root()
    };
    let true_log: [&[u8]; 3] = [b"one", b"two", b"three"];
    let code = |result: Result<(), Fault>| result.map_err(|fault| fault.code);
    let read = |scan: &mut Scan, leaves: [&[u8]; 3]| leaves.map(|leaf| code(scan.push(leaf)));
    let mut scan = Scan::default();
    assert!(scan.await_head((3, root(&true_log))).unwrap());
    assert!(!scan.await_head((3, root(&true_log))).unwrap());
    assert_eq!(read(&mut scan, true_log), [Ok(()); 3]);
    assert_eq!(code(scan.meet()), Ok(()));
    let mut scan = Scan::default();
    scan.await_head((3, root(&true_log))).unwrap();
    assert_eq!(read(&mut scan, [b"one", b"two", b"other"]), [Ok(()), Ok(()), Err(Code::LogFork)]);
    assert_eq!(code(scan.meet()), Err(Code::LogFork), "and it stays one");
    // One that is heard of only when the leaves are read already.
    let mut scan = Scan::default();
    assert_eq!(read(&mut scan, [b"one", b"two", b"other"]), [Ok(()); 3]);
    scan.await_head((3, root(&true_log))).unwrap();
    assert_eq!(code(scan.meet()), Err(Code::LogFork));
    // Two heads of as many leaves need no leaf, and the second does not take the place of the first.
    for _ in 0..2 {
        assert_eq!(scan.await_head((3, root(&true_log[..2]))).unwrap_err().code, Code::LogFork);
    }
}

/// A job that another owner refused took what this node's admission says, and nothing where none is to be had; one that this
/// owner refused took nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_takes_nothing_from_who_refused_alone() {
    let mut world = World::new("refusals").await;
    let contract = world.contract("good", 60_000, true);
    let (id, job, _) = world.job(&contract);
    let (spec, own) = (JobSpec::verify(&job).unwrap(), world.keys.node.id());
    let papers = (
        Admission {
            job: id,
            owner: world.keys.root.id(),
            contract: contract.id(),
            dataset: None,
            at: crate::now(),
            rows: 7,
            privacy: None,
        },
        spec.body().clone(),
    );
    let at = ended(&world, &spec, Status::Ok).parties.iter().position(|entry| entry.party == own).unwrap() as u16;
    let refused = |seat| Status::Refused { code: Code::RefusedQuota, seat };
    let aborted = Status::Aborted { code: Code::JobLocal, step: None, seat: None };
    let cases = [
        (refused(Some(Seat(at))), [0, 0, 0]),
        (refused(Some(Seat((at + 1) % 3))), [1, 0, 0]),
        (refused(None), [1, 0, 0]),
        (aborted, [1, 1, 0]),
        (Status::Ok, [1, 1, 0]),
    ];
    for (status, expected) in cases {
        let record = ended(&world, &spec, status);
        let rows = |papers, attested| counted(&record, &own, papers, attested, core::slice::from_ref(&contract)).len();
        assert_eq!([rows(Some(&papers), true), rows(None, true), rows(None, false)], expected, "{:?}", record.status);
        let rows = counted(&record, &own, Some(&papers), false, &[]);
        assert!(rows.iter().all(|row| (row.job, row.contract, row.rows) == (id, contract.id(), 7)));
    }
    world.end().await;
}

/// What stands in this node's memos is in force again where the database does not know of it, once; what no memo carries, and what
/// is said of a contract that is not to be had, holds every job until it is here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_log_shows_is_told_again() {
    let mut world = World::new("told").await;
    let [revoked, denied, free] = ["revoked", "denied", "free"].map(|called| world.contract(called, 60_000, true));
    for contract in [&revoked, &denied, &free] {
        world.admit(contract).await;
    }
    let asked = async |world: &mut World, contract: &tacit_governance::SignedContract| {
        let (_, job, contracts) = world.job(contract);
        match world.ask(&ToNode::Admit { job, contracts }).await {
            FromNode::Refused(bytes) => {
                Some(Statement::<tacit_governance::Refusal>::verify(&bytes).unwrap().into_body().code)
            }
            other => failed(&other),
        }
    };
    let key = world.keys.seal.to_bytes();
    let key = tacit_crypto::SealKey::from_bytes(&key).unwrap();
    let memo = |number, told: &Told, carried: bool| {
        let mut rng = crate::os_rng().unwrap();
        let told = told.bytes();
        let sealed = memos::sealed(&key, &mut rng, "log.example", &told).filter(|_| carried).map(Into::into);
        Memo { version: 1, origin: "log.example".into(), number, tag: memos::tag(&key, &told), sealed }
    };
    let list = |contract: &tacit_governance::SignedContract, name: &str| {
        let kind = Some("count/v1".to_owned());
        let items = vec![Denied { party: Some(contract.body().parties[3].root), kind, ..Denied::default() }];
        let body = NegativeList { name: name.into(), number: 1, items, reason: "order 17".into(), until: None };
        let order = Order::read(Statement::sign(&super::key(30), name, crate::now(), None, body).bytes()).unwrap();
        let told = Told::Order(Blob(order.bytes().to_vec()));
        (order, told)
    };
    let noted = UnixMillis(5_000);
    let take = async |world: &World, memo: Memo| {
        let said = Statement::sign(&world.keys.node, "memo", noted, None, memo);
        let mut scan = Scan::default();
        let news = world.node.inner().take_memo(None, &mut scan, &said).await.unwrap();
        let mut tx = world.store().begin().await.unwrap();
        tx.memos_met(scan.met()).await.unwrap();
        tx.commit().await.unwrap();
        news
    };
    // A revocation, once: what it brought is not due to be noted again under another number.
    let told = Told::Revoked(revoked.id());
    let elsewhere = Memo { origin: "log.other".into(), ..memo(1, &told, true) };
    assert!(!take(&world, elsewhere).await);
    assert_eq!(asked(&mut world, &revoked).await, None);
    assert!(take(&world, memo(1, &told, true)).await && !take(&world, memo(1, &told, true)).await);
    assert_eq!(asked(&mut world, &revoked).await, Some(Code::RefusedContractRevoked));
    assert_eq!(world.store().revocations().await.unwrap(), [(revoked.id(), noted)], "it was revoked then, not now");
    world.node.inner().prepare_memos().await.unwrap();
    assert_eq!(world.store().memos_waiting().await.unwrap(), 0);
    // A list that no memo carries.
    let (order, told) = list(&denied, "ours");
    assert!(take(&world, memo(2, &told, false)).await);
    let (_, job, contracts) = world.job(&free);
    assert_eq!(asked(&mut world, &free).await, Some(Code::RefusedLedgerBehind));
    assert_eq!(failed(&world.ask(&ToNode::Plan { job, contracts }).await), Some(Code::RefusedLedgerBehind));
    let (another, _) = list(&denied, "another");
    let tag = memos::tag(&key, &told.bytes());
    let other = memos::tag(&key, &Told::Order(Blob(another.bytes().to_vec())).bytes());
    world.store().put_told(&another, &other, crate::now()).await.unwrap();
    assert_eq!(asked(&mut world, &free).await, Some(Code::RefusedLedgerBehind), "another list is not that one");
    world.store().put_told(&order, &tag, crate::now()).await.unwrap();
    assert_eq!(asked(&mut world, &free).await, Some(Code::RefusedListed));
    let again = world.store().put_told(&order, &tag, crate::now()).await;
    assert_eq!(again.unwrap_err().code, Code::ArgsInvalid, "it lacks no more");
    // A new version that nobody hands out is waited for, and is here with its signatures.
    let amended = {
        let mut body = world.contract("new", 60_000, true).body().clone();
        let amends = Some(free.id());
        body.lifecycle = Some(tacit_governance::lifecycle::Lifecycle { amends, ..Default::default() });
        let mut contract = tacit_governance::SignedContract::draft(body);
        for n in [1, 2, 4] {
            contract.sign(&super::key(n), crate::now()).unwrap();
        }
        contract.sign(&world.keys.root, crate::now()).unwrap();
        contract
    };
    assert!(take(&world, memo(3, &Told::Amended(amended.id()), true)).await);
    assert_eq!(asked(&mut world, &free).await, Some(Code::RefusedLedgerBehind));
    world.store().put_contract(&amended).await.unwrap();
    assert_eq!(asked(&mut world, &free).await, Some(Code::RefusedContractReplaced));
    assert_eq!(world.store().lacking().await.unwrap(), []);
    world.end().await;
}
