//! The ledger is what the coordinator got, byte for byte, by job and kind.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tacit_engine::{FromCoordinator, ToCoordinator};
use tacit_net::{Config as NetConfig, Connection, Endpoint, Identity, Incoming};

use super::*;

type Counted = Arc<Mutex<BTreeMap<(String, &'static str), u64>>>;

fn count(counted: &Counted, job: Option<JobId>, kind: &'static str, bytes: usize) {
    let job = job.unwrap_or(JobId([0; 32])).to_string();
    *counted.lock().unwrap().entry((job, kind)).or_default() += bytes as u64;
}

/// What the node asks or brings, as its peer sees it.
async fn listen(connection: Connection, counted: Counted) {
    while let Ok(Incoming::Request { bytes, responder }) = connection.accept().await {
        let (job, kind, answer) = match wire::decode::<ToCoordinator>(&bytes).unwrap() {
            ToCoordinator::Register { .. } => (None, "dataset descriptors", FromCoordinator::Done),
            ToCoordinator::Report(finish) => (Some(finish.job), "report", FromCoordinator::Done),
            ToCoordinator::Progress { job, .. } => (Some(job), "progress", FromCoordinator::Done),
            ToCoordinator::Job(job) => (Some(job), "questions", FromCoordinator::Done),
            ToCoordinator::Deposit { offset, bytes, .. } => {
                (None, "sealed bytes", FromCoordinator::Deposited(offset + bytes.0.len() as u64))
            }
            ToCoordinator::Roster | ToCoordinator::LogInfo => (None, "questions", FromCoordinator::Done),
            other => panic!("{other:?}"),
        };
        count(&counted, job, kind, bytes.len());
        let _ = responder.respond(&wire::encode(&answer)).await;
    }
}

async fn ask(connection: &Connection, counted: &Counted, job: Option<JobId>, request: ToNode) -> FromNode {
    let bytes = connection.request_within(&wire::encode(&request), Duration::from_secs(10)).await.unwrap();
    let answer: FromNode = wire::decode(&bytes).unwrap();
    let kind = match &answer {
        FromNode::Admitted(_) => "admission",
        FromNode::Refused(_) => "refusal",
        FromNode::Failed(_) => "fault",
        FromNode::Reserved | FromNode::Started | FromNode::Done => "state",
        other => panic!("{other:?}"),
    };
    count(counted, job, kind, bytes.len());
    answer
}

/// The ledger as it stands on disk.
async fn written(store: &Store) -> BTreeMap<(String, &'static str), u64> {
    let rows = store.egress().await.unwrap();
    rows.into_iter().map(|r| ((r.job, &*r.kind.leak()), r.bytes)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ledger_is_what_the_coordinator_got() {
    let identity = Identity::from_signing_key(&key(COORDINATOR)).unwrap();
    let everybody = NetConfig::with_gate(|_: &NodeId, _| -> Result<(), Code> { Ok(()) });
    let endpoint = Endpoint::bind("127.0.0.1:0".parse().unwrap(), identity, everybody).unwrap();
    let mut world = World::at("ledger", &endpoint.local_addr().to_string()).await;
    let connection = endpoint.accept().await.unwrap();
    let counted = Counted::default();
    tokio::spawn(listen(connection.clone(), counted.clone()));
    let good = world.contract("good", 60_000, true);
    let other = world.contract("other", 60_000, false);
    let (job, bytes, contracts) = world.job(&good);
    let admit = ToNode::Admit { job: bytes, contracts };
    assert!(matches!(ask(&connection, &counted, Some(job), admit).await, FromNode::Admitted(_)));
    let (refused, bytes, contracts) = world.job(&other);
    let admit = ToNode::Admit { job: bytes, contracts };
    assert!(matches!(ask(&connection, &counted, Some(refused), admit).await, FromNode::Refused(_)));
    let reserve = ToNode::Reserve { job, attempt: Attempt(1), ttl_ms: 60_000 };
    assert_eq!(ask(&connection, &counted, Some(job), reserve).await, FromNode::Reserved);
    assert_eq!(ask(&connection, &counted, None, ToNode::Ping).await, FromNode::Done);
    let cosign = ToNode::Cosign { request: Blob(b"nothing".to_vec()) };
    assert!(matches!(ask(&connection, &counted, None, cosign).await, FromNode::Failed(_)));
    let assignment = world.assignment(job, 1, 101, u64::MAX);
    assert_eq!(ask(&connection, &counted, Some(job), ToNode::Start { assignment }).await, FromNode::Started);
    // The attempt ends because the dataset is broken, and the end is reported.
    world.finished(job).await;
    let inner = world.node.inner().clone();
    let to_coordinator = inner.to_coordinator.borrow().clone().unwrap();
    let sealed = vec![7; tacit_engine::api::DEPOSIT_CHUNK_BYTES_MAX + 1];
    let deposited = crate::client::deposit(&to_coordinator, &inner.ledger, None, &sealed).await.unwrap();
    assert_eq!(deposited, tacit_crypto::sha256(&sealed));
    let begun = std::time::Instant::now();
    loop {
        let (ledger, got) = (written(world.store()).await, counted.lock().unwrap().clone());
        // What goes to seats that are not there is of another peer, and of a job.
        let ledger: BTreeMap<_, _> = ledger.into_iter().filter(|((_, kind), _)| *kind != "control").collect();
        let kinds = got.keys().map(|(_, kind)| *kind).collect::<std::collections::BTreeSet<_>>();
        let all =
            ["admission", "dataset descriptors", "fault", "questions", "refusal", "report", "sealed bytes", "state"];
        if ledger == got && all.iter().all(|kind| kinds.contains(kind)) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "on disk: {ledger:#?}, at the coordinator: {got:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(counted.lock().unwrap()[&(JobId([0; 32]).to_string(), "sealed bytes")] > sealed.len() as u64);
    drop(inner);
    world.end().await;
}
