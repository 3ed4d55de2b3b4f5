//! What a node was told comes back from the log, or it is known that it does not, whatever the coordinator says.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tacit_engine::{FromCoordinator, LogInfo, ToCoordinator};
use tacit_governance::orders::{Denied, NegativeList, Verdict};
use tacit_governance::{Lifecycle, Order, lifecycle};
use tacit_net::{Config as NetConfig, Connection, Endpoint, Identity, Incoming};
use tacit_receipts::receipt::next_link;
use tacit_receipts::{
    Attestation, Checkpoint, Edge, KeyKind, Leaf, LogProof, MemTree, Memo, Status, TileRead, TileReader, VerifierKey,
    merkle,
};

use super::*;
use crate::memos;
use crate::recount::Scan;
use crate::store::MEMO_LATE_MS;

const ORIGIN: &str = "log.example";

/// A coordinator that says that it took every memo, and does as it likes.
#[derive(Default)]
struct Coordinator {
    leaves: Vec<Vec<u8>>,
    /// The numbers that were said, in their order.
    said: Vec<u64>,
    /// The numbers that it leaves out.
    drops: Vec<u64>,
    /// Whether its heads are of another log than its leaves.
    forges: bool,
}

impl Coordinator {
    fn answer(&mut self, request: ToCoordinator) -> FromCoordinator {
        match request {
            ToCoordinator::Say(said) => {
                let Ok(Leaf::Memo(memo)) = Leaf::read(&said) else { panic!("it is no memo") };
                let number = memo.body().number;
                let known = self.leaves.iter().any(|leaf| self.number(leaf) == number);
                self.said.push(number);
                if !known && !self.drops.contains(&number) {
                    self.leaves.push(said.0);
                }
                FromCoordinator::Said(0)
            }
            ToCoordinator::Checkpoint if self.leaves.is_empty() => {
                FromCoordinator::Failed(Fault::new(Code::ReceiptPending, "no head yet"))
            }
            ToCoordinator::Checkpoint => FromCoordinator::Checkpoint(Blob(self.head().to_bytes())),
            ToCoordinator::Leaves { from, limit } => {
                let page = self.leaves.iter().skip(from as usize).take(limit as usize);
                FromCoordinator::Leaves(page.cloned().map(Blob).collect())
            }
            _ => FromCoordinator::Done,
        }
    }

    fn number(&self, leaf: &[u8]) -> u64 {
        let Ok(Leaf::Memo(memo)) = Leaf::read(leaf) else { panic!("it is no memo") };
        memo.body().number
    }

    fn head(&self) -> tacit_receipts::SignedCheckpoint {
        let mut tree = MemTree::default();
        for leaf in &self.leaves {
            tree.push(if self.forges { Hash([1; 32]) } else { merkle::leaf_hash(leaf) });
        }
        let log = VerifierKey::new(ORIGIN, KeyKind::Ed25519, key(8).id()).unwrap();
        let head = Checkpoint { origin: ORIGIN.into(), size: self.leaves.len() as u64, root: tree.root() };
        head.sign(&log, &key(8)).unwrap()
    }
}

async fn serve(connection: Connection, coordinator: Arc<Mutex<Coordinator>>) {
    while let Ok(Incoming::Request { bytes, responder }) = connection.accept().await {
        let answer = coordinator.lock().unwrap().answer(wire::decode(&bytes).unwrap());
        let _ = responder.respond(&wire::encode(&answer)).await;
    }
}

/// A node with such a coordinator.
async fn with(test: &str, coordinator: Coordinator) -> (World, Arc<Mutex<Coordinator>>) {
    let identity = Identity::from_signing_key(&key(COORDINATOR)).unwrap();
    let everybody = NetConfig::with_gate(|_: &NodeId, _| -> Result<(), Code> { Ok(()) });
    let endpoint = Endpoint::bind("127.0.0.1:0".parse().unwrap(), identity, everybody).unwrap();
    let world = World::at(test, &endpoint.local_addr().to_string()).await;
    let coordinator = Arc::new(Mutex::new(coordinator));
    let shared = coordinator.clone();
    tokio::spawn(async move {
        while let Some(connection) = endpoint.accept().await {
            tokio::spawn(serve(connection, shared.clone()));
        }
    });
    until(async || world.node.is_connected()).await;
    (world, coordinator)
}

async fn until(done: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !done().await {
        assert!(begun.elapsed() < Duration::from_secs(30), "it does not come");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Has a node told of a list.
async fn told(world: &World, name: &str) {
    let items = vec![Denied { purpose: Some("nothing".into()), ..Denied::default() }];
    let body = NegativeList { name: name.into(), number: 1, items, reason: "order 17".into(), until: None };
    let order = Order::read(Statement::sign(&key(30), name, crate::now(), None, body).bytes()).unwrap();
    world.store().put_order(&order, crate::now()).await.unwrap();
}

async fn waiting(world: &World) -> Vec<u64> {
    world.store().memos_unlogged().await.unwrap().iter().map(|row| row.number).collect()
}

impl World {
    async fn run(&self, statements: &[&'static str]) {
        let url = format!("sqlite://{}", self.home.join(DATABASE_FILE).display());
        let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
        for sql in statements {
            sqlx::query(*sql).execute(&pool).await.unwrap();
        }
        pool.close().await;
    }
}

/// A coordinator that says that it took a memo and leaves it out of the log is offered it until it is met there, and named when it
/// is late; an older database misses the number and admits nothing until its owner accepts that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_memo_that_the_coordinator_drops_is_offered_again_and_missed() {
    let (mut world, coordinator) = with("dropped", Coordinator { drops: vec![1], ..Default::default() }).await;
    told(&world, "first").await;
    until(async || waiting(&world).await == [1] && coordinator.lock().unwrap().said.contains(&1)).await;
    told(&world, "second").await;
    until(async || {
        let _ = world.node.inner().note_told().await;
        coordinator.lock().unwrap().leaves.len() == 1 && waiting(&world).await == [1]
    })
    .await;
    let offered = async || {
        let _ = world.node.inner().note_told().await;
        coordinator.lock().unwrap().said.iter().filter(|number| **number == 1).count()
    };
    let before = offered().await;
    assert!(offered().await > before, "it goes on offering it");
    memos::nothing_withheld(world.store(), crate::now()).await.unwrap();
    let late = memos::nothing_withheld(world.store(), crate::now().plus(MEMO_LATE_MS + 1)).await.unwrap_err();
    assert!(late.code == Code::LogWithheld && late.what.contains("1 ("), "{late}");

    // The database of before: it knows of none of it.
    let contract = world.contract("good", 60_000, true);
    world.node.inner().recount.begin_anew().await;
    world.run(&["DELETE FROM memos", "DELETE FROM orders", "DELETE FROM meta WHERE key = 'recounted'"]).await;
    world.node.inner().recount.begin_anew().await;
    let (_, job, contracts) = world.job(&contract);
    let asked = ToNode::Admit { job, contracts };
    let answer = world.ask(&asked).await;
    let FromNode::Failed(fault) = answer else { panic!("{answer:?}") };
    assert!(fault.code == Code::RefusedLedgerBehind && fault.what.contains("memos of this node than 1 "), "{fault}");
    let lacking: Vec<_> = world.store().lacking().await.unwrap().into_iter().map(|row| (row.number, row.tag)).collect();
    assert_eq!(lacking, [(1, None)]);
    assert_eq!(world.store().orders().await.unwrap().len(), 1, "the other is here again");
    // What is told meanwhile does not fill the place.
    told(&world, "third").await;
    assert_eq!(world.node.inner().note_told().await.unwrap_err().code, Code::RefusedLedgerBehind);
    assert_eq!(waiting(&world).await, Vec::<u64>::new());
    world.store().accept_lacking(Some(1), "looked through", crate::now()).await.unwrap();
    assert!(matches!(world.ask(&asked).await, FromNode::Admitted(_)));
    coordinator.lock().unwrap().drops.clear();
    until(async || world.node.inner().note_told().await.is_ok()).await;
    assert_eq!(world.store().memos_waiting().await.unwrap(), 0);
    let numbers: Vec<u64> = {
        let log = coordinator.lock().unwrap();
        log.leaves.iter().map(|leaf| log.number(leaf)).collect()
    };
    assert_eq!(numbers, [2, 1], "the number that was free is used");
    world.end().await;
}

/// Leaves that do not lead to their head note nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_memo_under_another_root_is_not_noted() {
    let (world, coordinator) = with("forged", Coordinator { forges: true, ..Default::default() }).await;
    told(&world, "first").await;
    until(async || coordinator.lock().unwrap().leaves.len() == 1).await;
    let fault = world.node.inner().note_told().await.unwrap_err();
    assert_eq!((fault.code, waiting(&world).await), (Code::LogFork, vec![1]));
    world.end().await;
}

struct Disk(std::collections::BTreeMap<String, Vec<u8>>);

impl TileRead for Disk {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.0.get(path).cloned()
    }
}

/// A receipt and its proof in the log, under the witnesses of the two other parties.
fn logged(world: &World, spec: &Statement<JobSpec>) -> (Vec<u8>, Vec<u8>, (Hash, Vec<u8>)) {
    let record = super::rollback::ended(world, spec, Status::Ok);
    let attest = |key: &SigningKey| {
        let role = record.party(&key.id()).unwrap().role;
        Attestation::agreeing(&record, role, None).sign(key, &record, crate::now(), next_link(None))
    };
    let attestations = [attest(&world.keys.node), attest(&key(101)), attest(&key(102))];
    let own = (record.digest(), attestations[0].bytes().to_vec());
    let assembled = tacit_receipts::assemble(record, &attestations, Vec::new()).unwrap();
    let leaf = assembled.receipt.sign(&key(COORDINATOR), crate::now()).unwrap().bytes().to_vec();
    let (mut tree, mut edge) = (MemTree::default(), Edge::default());
    tree.push(merkle::leaf_hash(&leaf));
    let files = edge.append(std::slice::from_ref(&leaf)).unwrap();
    let disk = Disk(files.into_iter().map(|f| (f.path, f.bytes)).collect());
    let log = VerifierKey::new(ORIGIN, KeyKind::Ed25519, key(8).id()).unwrap();
    let head = Checkpoint { origin: ORIGIN.into(), size: 1, root: tree.root() };
    let mut head = head.sign(&log, &key(8)).unwrap();
    for n in [201, 202] {
        let witness = witness(n);
        let line = witness.sign(&key(n), head.note().text(), crate::now().plus(2_000)).unwrap();
        head.add_cosignature(&witness, line).unwrap();
    }
    let proof = LogProof::build(&TileReader::new(&disk, 1), 0, &head).unwrap().to_string().into_bytes();
    (leaf, proof, own)
}

fn witness(n: u8) -> VerifierKey {
    VerifierKey::new(&format!("w{n}.example"), KeyKind::Cosignature, key(n).id()).unwrap()
}

/// A node that was started from an older database hands out its part of a result's key once it knows all that it was told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_part_of_a_key_is_handed_out_before_all_is_known() {
    let mut world = World::new("parts").await;
    let contract = world.contract("good", 60_000, true);
    let (id, bytes, contracts) = world.job(&contract);
    assert!(matches!(world.ask(&ToNode::Admit { job: bytes.clone(), contracts }).await, FromNode::Admitted(_)));
    let own = world.keys.card(&name("a"), PartyRole::Partner, crate::now());
    for card in [own.bytes().to_vec(), card(1, 101), card(2, 102)] {
        world.store().put_party(&card, "").await.unwrap();
    }
    let ours = VerifierKey::new("w.example", KeyKind::Cosignature, world.keys.witness.id()).unwrap();
    let listed = [ours, witness(201), witness(202)].map(|key| key.to_string()).to_vec();
    *world.node.inner().log.lock().unwrap() = Some(LogInfo {
        origin: ORIGIN.into(),
        log_key: String::new(),
        coordinator: key(COORDINATOR).id(),
        witnesses: listed,
        quorum: 2,
        rotations: Vec::new(),
    });
    let (leaf, proof, (digest, attestation)) = logged(&world, &JobSpec::verify(&bytes).unwrap());
    let mut tx = world.store().begin().await.unwrap();
    let mut job = tx.job(&id).await.unwrap().unwrap();
    (job.attempt, job.release, job.attested) = (1, Some(Blob(vec![9])), Some((digest, Blob(attestation))));
    tx.put_job(&id, &job).await.unwrap();
    tx.commit().await.unwrap();
    let request = ToNode::Logged { job: id, leaf: Blob(leaf), proof: Blob(proof), beside: Vec::new() };
    world.node.inner().recount.hold();
    assert_eq!(code(&world.ask(&request).await), Some(Code::RefusedLedgerBehind));
    assert!(world.store().job(&id).await.unwrap().unwrap().receipt.is_some(), "the receipt is kept");
    world.node.inner().recount.skip();
    let mut tx = world.store().begin().await.unwrap();
    tx.put_lacking(4, &Hash([4; 32]), None).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(code(&world.ask(&request).await), Some(Code::RefusedLedgerBehind));
    world.store().accept_lacking(Some(4), "it is lost", crate::now()).await.unwrap();
    assert_eq!(world.ask(&request).await, FromNode::Released(Blob(vec![9])));
    world.store().revoke(&contract.id(), crate::now()).await.unwrap();
    assert_eq!(code(&world.ask(&request).await), Some(Code::RefusedContractRevoked));
    world.end().await;
}

/// A new version that was approved after its last signature is in force again with its approvals, though the coordinator hands out
/// its signatures alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn approvals_of_a_new_version_come_back_with_it() {
    let world = World::new("approved").await;
    let owner = world.keys.root.id();
    let before = world.agreed(|c| {
        c.datasets.truncate(1);
        c.parties.retain(|p| p.root == owner || p.role == Role::Demander);
    });
    let mut signed = world.controlled().body().clone();
    (signed.name, signed.lifecycle) =
        (name("new"), Some(Lifecycle { amends: Some(before.id()), ..Lifecycle::default() }));
    let mut signed = SignedContract::draft(signed);
    signed.sign(&key(4), crate::now()).unwrap();
    signed.sign(&world.keys.root, crate::now()).unwrap();
    let mut approved = signed.clone();
    for approver in [super::control::TRUSTEE, super::control::CDO] {
        approved.approve(&key(approver), Verdict::Approve, "", crate::now()).unwrap();
    }
    let standing = async || {
        let known = world.store().contracts().await.unwrap();
        lifecycle::standing(&before, &known, &[], &[], crate::now()).map_err(|fault| fault.code)
    };
    for contract in [&before, &signed, &approved] {
        world.store().put_contract(contract).await.unwrap();
        world.node.inner().prepare_memos().await.unwrap();
    }
    assert_eq!(standing().await, Err(Code::RefusedContractReplaced));
    let noted = world.store().memos_unlogged().await.unwrap();
    assert_eq!(noted.len(), 3, "that it takes the place of another, and two approvals");
    world.run(&["DELETE FROM memos", "DELETE FROM memos_due", "DELETE FROM contract_signatures"]).await;
    for contract in [&before, &signed] {
        world.store().put_contract(contract).await.unwrap();
    }
    assert_eq!(standing().await, Ok(()), "no approval of it is here");
    for row in noted {
        let memo = Memo {
            version: 1,
            origin: ORIGIN.into(),
            number: row.number,
            tag: row.tag,
            sealed: row.sealed.map(Into::into),
        };
        let said = Statement::sign(&world.keys.node, "memo", crate::now(), None, memo);
        assert!(world.node.inner().take_memo(None, &mut Scan::default(), &said).await.unwrap());
    }
    assert_eq!(standing().await, Err(Code::RefusedContractReplaced));
    assert_eq!(world.store().lacking().await.unwrap(), []);
    world.end().await;
}
