//! A job with so many parties that its receipt carries their attestations by hash.

use std::collections::BTreeMap;

use tacit_crypto::{SealPublic, Secret, SigningKey, Statement};
use tacit_engine::control::{Finished, FromNode};
use tacit_engine::record::{Ended, Part, assemble};
use tacit_engine::{WorkerContext, WorkerJob};
use tacit_governance::{Cohort, JobSpec, ProviderRef};
use tacit_receipts::receipt::next_link;
use tacit_receipts::{
    Attestation, Checkpoint, Edge, KeyKind, LogProof, MemTree, Quorum, Role, Standing, Status, TileRead, TileReader,
    VerifierKey, merkle,
};
use tacit_types::wire::Blob;
use tacit_types::{Attempt, Code, ContractId, DatasetVersionId, Name, Seat, UnixMillis};

const PARTIES: u8 = 124;
const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
const ORIGIN: &str = "log.example/usage";

struct Disk(BTreeMap<String, Vec<u8>>);

impl TileRead for Disk {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.0.get(path).cloned()
    }
}

fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&Secret::new([n; 32]))
}

fn job() -> Statement<JobSpec> {
    let provider =
        |n: u8| ProviderRef { owner: key(n + PARTIES).id(), dataset: DatasetVersionId([n; 32]), view: "v".into() };
    let spec = JobSpec {
        version: 1,
        kind: "count/v1".into(),
        params: Vec::new(),
        contracts: vec![ContractId([1; 32])],
        providers: (1..=PARTIES).map(provider).collect(),
        purpose: "test".into(),
        recipient: SealPublic([7; 32]),
        cohort: Cohort { rows: 3, contributors: 2 },
        nonce: vec![7; 16],
        created_at: NOW,
        expires_at: NOW.plus(60_000),
        attempt_ms: 1000,
        models: Vec::new(),
        dealer: None,
        asker: None,
        attachments: Vec::new(),
    };
    Statement::sign(&key(250), "job", NOW, None, spec)
}

fn finished(n: u8) -> Finished {
    Finished::Failed {
        code: Code::JobPeerLost,
        step: None,
        seat: Some(Seat(u16::from(n))),
        hint: String::new(),
        input_sent: true,
    }
}

#[test]
fn a_receipt_by_hash_is_complete_with_what_stands_beside_it() {
    let job = job();
    let part = |n: u8| Part {
        name: Name::new(&format!("p{n:060}")).unwrap(),
        node: key(n).id(),
        root: key(n + PARTIES).id(),
        standing: Standing::TookPart,
        // What was metered is not looked at here: the digest of the record is what was attested.
        finished: Some(finished(n)),
        links: None,
    };
    let record = assemble(Ended {
        job: &job,
        origin: ORIGIN,
        attempt: Attempt(1),
        status: Status::Ok,
        parties: (1..=PARTIES).map(part).collect(),
        span: (NOW, NOW.plus(5)),
        evidence: &[],
    });
    let attest = |n: u8| Attestation::agreeing(&record, Role::Input, None).sign(&key(n), &record, NOW, next_link(None));
    let attestations: Vec<_> = (1..=PARTIES).map(attest).collect();
    let assembled = tacit_receipts::assemble(record.clone(), &attestations, Vec::new()).unwrap();
    assert!(assembled.receipt.by_hash(), "{PARTIES} parties are not enough");
    let beside: Vec<Blob> = assembled.beside.into_iter().map(Blob).collect();
    let leaf = assembled.receipt.sign(&key(251), NOW).unwrap().bytes().to_vec();

    let (mut tree, mut edge) = (MemTree::default(), Edge::default());
    tree.push(merkle::leaf_hash(&leaf));
    let files = edge.append(std::slice::from_ref(&leaf)).unwrap();
    let disk = Disk(files.into_iter().map(|f| (f.path, f.bytes)).collect());
    let log = VerifierKey::new(ORIGIN, KeyKind::Ed25519, key(252).id()).unwrap();
    let head = Checkpoint { origin: ORIGIN.into(), size: 1, root: tree.root() };
    let mut head = head.sign(&log, &key(252)).unwrap();
    let witness = VerifierKey::new("w.example", KeyKind::Cosignature, key(253).id()).unwrap();
    let line = witness.sign(&key(253), head.note().text(), NOW).unwrap();
    head.add_cosignature(&witness, line).unwrap();
    let proof = LogProof::build(&TileReader::new(&disk, 1), 0, &head).unwrap().to_string().into_bytes();
    let quorum = Quorum::new(vec![witness], 1).unwrap();

    let own = key(2);
    let (owner, coordinator) = (key(2 + PARTIES).id(), key(251).id());
    let context = WorkerContext {
        key: &own,
        node: own.id(),
        keys: Default::default(),
        owner,
        origin: ORIGIN,
        coordinator,
        now: NOW,
    };
    let held = || WorkerJob {
        bytes: Blob(job.bytes().to_vec()),
        answer: Blob(Vec::new()),
        admitted: true,
        attempt: 1,
        began: NOW,
        input_sent: true,
        finished: None,
        saw: Default::default(),
        reported: true,
        release: Some(Blob(vec![9])),
        attested: Some((record.digest(), Blob(attestations[1].bytes().to_vec()))),
        receipt: None,
        terminal: None,
        kept: None,
        untold: false,
        owed: false,
        each: Vec::new(),
    };
    let release = |beside: &[Blob]| held().release(&leaf, &proof, beside, &log, &quorum, &context);
    assert_eq!(release(&beside), Ok(FromNode::Released(Blob(vec![9]))));
    // One that is missing, or another in its place, and nothing is handed out.
    assert_eq!(release(&beside[1..]).map_err(|f| f.code), Err(Code::ReceiptInvalid));
    assert_eq!(release(&[]).map_err(|f| f.code), Err(Code::ReceiptInvalid));
    let mut other = beside.clone();
    other[0].0[40] ^= 1;
    assert_eq!(release(&other).map_err(|f| f.code), Err(Code::ReceiptInvalid));
}
