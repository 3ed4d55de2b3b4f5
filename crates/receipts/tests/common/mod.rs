//! A small world that makes logs: a coordinator, parties, witnesses. Everything is derived from
//! fixed seeds, so a failing test fails the same way again.
#![allow(dead_code)]

pub mod shop;

use std::collections::BTreeMap;

use tacit_crypto::{Body, Secret, SigningKey, Statement};
use tacit_receipts::receipt::next_link;
use tacit_receipts::record::{Audience, PrivacyCharge, RECORD_VERSION};
use tacit_receipts::*;
use tacit_types::unit::Class;
use tacit_types::*;

/// Says loudly that a second implementation was not run, for want of Python. Where all is checked, that is a failure.
#[track_caller]
#[allow(clippy::disallowed_methods, reason = "a test may look where it runs; the crate may not")]
pub fn without_python(what: &str, error: &std::io::Error) {
    let message = format!("python3 cannot be run ({error}): the second implementation of {what} was NOT run");
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{message}");
    eprintln!("*** {message} ***");
}

pub const ORIGIN: &str = "log.example/usage/2026";
/// The world's clock when it begins; each job takes a minute.
pub const START: UnixMillis = UnixMillis(1_795_000_000_000);

pub fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&Secret::new([seed; 32]))
}

pub fn log_key() -> VerifierKey {
    VerifierKey::new(ORIGIN, KeyKind::Ed25519, key(1).id()).unwrap()
}

/// The key of the log that a seed makes; [`log_key`] is that of seed 1.
pub fn log_key_of(seed: u8) -> VerifierKey {
    VerifierKey::new(ORIGIN, KeyKind::Ed25519, key(seed).id()).unwrap()
}

/// Any statement that this version does not know.
#[derive(Clone, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Novelty {
    #[n(1)]
    pub text: String,
}

impl Body for Novelty {
    const TYPE: &'static str = "novelty";
}

#[derive(Default)]
pub struct Disk(pub BTreeMap<String, Vec<u8>>);

impl TileRead for Disk {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.0.get(path).cloned()
    }
}

pub struct World {
    pub parties: usize,
    pub witnesses: usize,
    pub quorum: u32,
    pub now: UnixMillis,
    pub chains: Vec<Option<(u64, StatementId)>>,
    pub leaves: Vec<Vec<u8>>,
    pub beside: Vec<Vec<u8>>,
    pub tree: MemTree,
    /// The seed of the key with which the coordinator signs.
    pub coordinator_seed: u8,
    /// Seeds of the keys with which parties sign whose key has changed.
    pub changed: BTreeMap<usize, u8>,
}

impl World {
    /// A log with its two genesis leaves.
    pub fn new(parties: usize) -> Self {
        let mut world = Self {
            parties,
            witnesses: 3,
            quorum: 2,
            now: START,
            chains: vec![None; parties],
            leaves: Vec::new(),
            beside: Vec::new(),
            tree: MemTree::default(),
            coordinator_seed: 2,
            changed: BTreeMap::new(),
        };
        for leaf in world.genesis_leaves() {
            world.append(leaf);
        }
        world
    }

    pub fn coordinator(&self) -> SigningKey {
        key(self.coordinator_seed)
    }

    pub fn party(&self, i: usize) -> SigningKey {
        key(100 + i as u8)
    }

    /// The key with which a party signs now.
    pub fn signer(&self, i: usize) -> SigningKey {
        self.changed.get(&i).map_or_else(|| self.party(i), |seed| key(*seed))
    }

    /// The history of parties' keys that leads to those with which they sign now.
    fn id_of(&self, key_of: &NodeId) -> NodeId {
        let changed = self.changed.keys().find(|i| self.signer(**i).id() == *key_of);
        changed.map_or(*key_of, |i| self.party(*i).id())
    }

    pub fn witness(&self, i: usize) -> VerifierKey {
        VerifierKey::new(&format!("w.example/{i}"), KeyKind::Cosignature, key(50 + i as u8).id()).unwrap()
    }

    pub fn genesis_leaves(&self) -> Vec<Vec<u8>> {
        let trust = self.trust();
        let genesis =
            Genesis { version: 1, origin: ORIGIN.into(), policy: "receipts of this group".into(), continues: None };
        let keys = KeyEvent {
            version: 1,
            coordinator: trust.coordinator,
            log_key: trust.log_key.clone(),
            witnesses: trust.witnesses.clone(),
            quorum: trust.quorum,
            parties: trust.parties.iter().map(|p| KeyCard { name: p.name.clone(), key: p.key }).collect(),
        };
        vec![self.by_coordinator(genesis), self.by_coordinator(keys)]
    }

    pub fn by_coordinator<T: Body>(&self, body: T) -> Vec<u8> {
        Statement::sign(&self.coordinator(), "log", self.now, None, body).bytes().to_vec()
    }

    pub fn trust(&self) -> Trust {
        let party = |i| PartyKey { name: name(i), key: self.party(i).id(), from: 0, until: None };
        Trust {
            version: 1,
            origin: ORIGIN.into(),
            coordinator: key(2).id(),
            log_key: log_key().to_string(),
            witnesses: (0..self.witnesses).map(|i| self.witness(i).to_string()).collect(),
            quorum: self.quorum,
            parties: (0..self.parties).map(party).collect(),
            rotations: Vec::new(),
            party_rotations: Vec::new(),
        }
    }

    pub fn append(&mut self, leaf: Vec<u8>) -> u64 {
        self.tree.push(merkle::leaf_hash(&leaf));
        self.leaves.push(leaf);
        self.tree.size() - 1
    }

    /// The record of a job in which everyone took part, ending now.
    pub fn record(&mut self, job: u8) -> UsageRecord {
        let started = self.now;
        self.now = self.now.plus(60_000);
        let entry = |i| PartyEntry {
            party: self.party(i).id(),
            role: if i == 0 { Role::Result } else { Role::Input },
            dataset: (i > 0).then_some(DatasetVersionId([i as u8; 32])),
            rights: None,
            name: name(i),
            standing: Standing::TookPart,
        };
        let line = |unit: Unit, seat, quantity| UsageLine {
            unit,
            party: Seat(seat),
            quantity,
            class: unit.class(),
            observers: if unit.class() == Class::C { vec![Seat(seat)] } else { Vec::new() },
            differing: Vec::new(),
        };
        UsageRecord {
            version: RECORD_VERSION,
            origin: ORIGIN.into(),
            job: JobId([job; 32]),
            spec: Hash([job ^ 0xff; 32]),
            contracts: vec![ContractId([7; 32])],
            kind: Name::new("secure-sum").unwrap(),
            status: Status::Ok,
            parties: (0..self.parties).map(entry).collect(),
            lines: vec![
                line(Unit::Job, 0, Quantity::Plain(1)),
                line(Unit::CellIn, 1, Quantity::Plain(1000 + u64::from(job))),
                line(Unit::RowScanned, 1, Quantity::Committed(Hash([job; 32]))),
            ],
            privacy: vec![PrivacyCharge {
                dataset: DatasetVersionId([1; 32]),
                mechanism: Name::new("gaussian").unwrap(),
                epsilon_micro: 250_000,
                delta_femto: 0,
            }],
            algorithm: None,
            result: Some(Hash([job.wrapping_add(1); 32])),
            transcripts: Vec::new(),
            started,
            ended: self.now,
            disclosures: vec![Disclosure {
                what: "sum of 4 groups".into(),
                to: Audience::Party(self.party(0).id()),
                cardinality: 4,
            }],
            attempt: Attempt(1),
            convictions: Vec::new(),
            links: Vec::new(),
        }
    }

    /// The checkpoint that a party has seen when it attests: the newest.
    pub fn seen(&self) -> SeenCheckpoint {
        SeenCheckpoint { size: self.tree.size(), root: self.tree.root() }
    }

    pub fn attest(&mut self, i: usize, record: &UsageRecord) -> Statement<Attestation> {
        let role = record.party(&self.party(i).id()).map_or(Role::Input, |p| p.role);
        let body = Attestation::agreeing(record, role, Some(self.seen()));
        self.attest_with(i, record, body)
    }

    pub fn attest_with(&mut self, i: usize, record: &UsageRecord, body: Attestation) -> Statement<Attestation> {
        let link = next_link(self.chains[i]);
        let statement = body.sign(&self.signer(i), record, self.now, link);
        self.chains[i] = Some((link.seq, statement.id()));
        statement
    }

    pub fn attest_all(&mut self, record: &UsageRecord) -> Vec<Statement<Attestation>> {
        (0..self.parties).map(|i| self.attest(i, record)).collect()
    }

    /// Signs and appends a receipt as the coordinator, whatever is in it.
    pub fn publish(&mut self, receipt: JointReceipt) -> u64 {
        let leaf = receipt.sign(&self.coordinator(), self.now).unwrap();
        self.append(leaf.bytes().to_vec())
    }

    /// Runs a job to its receipt.
    pub fn job(&mut self, job: u8) -> u64 {
        let record = self.record(job);
        self.close(record)
    }

    /// Attests and publishes a record.
    pub fn close(&mut self, record: UsageRecord) -> u64 {
        let attestations = self.attest_all(&record);
        let assembled = assemble_with(record, &attestations, Vec::new(), &|key| self.id_of(key)).unwrap();
        self.beside.extend(assembled.beside);
        self.publish(assembled.receipt)
    }

    pub fn signed_checkpoint(&self, size: u64) -> SignedCheckpoint {
        let root = merkle::root(&self.tree, size).unwrap();
        Checkpoint { origin: ORIGIN.into(), size, root }.sign(&log_key(), &key(1)).unwrap()
    }

    /// A change of the log's key, from now on, with an overlap. It is not in the log yet.
    pub fn rotation(&self, old: u8, new: u8, overlap: u64) -> Vec<u8> {
        let time = (self.now, self.now.plus(overlap));
        KeyRotation::sign(ORIGIN, (&key(old), &key(new)), time).bytes().to_vec()
    }

    /// Gives the coordinator the next key for what it says in the log, with an overlap, and has it sign with that from now on.
    pub fn change_coordinator(&mut self, seed: u8, overlap: u64) -> u64 {
        let of = (KeyRole::Coordinator, key(2).id());
        let times = (self.now, self.now.plus(overlap));
        let turn = PartyRotation::sign(ORIGIN, of, (&self.coordinator(), &key(seed)), times);
        self.coordinator_seed = seed;
        self.append(turn.bytes().to_vec())
    }

    /// Gives a party the next key, with an overlap, and has it sign with that from now on.
    pub fn change_key(&mut self, i: usize, seed: u8, overlap: u64) -> u64 {
        let of = (KeyRole::Node, self.party(i).id());
        let time = (self.now, self.now.plus(overlap));
        let turn = PartyRotation::sign(ORIGIN, of, (&self.signer(i), &key(seed)), time);
        self.changed.insert(i, seed);
        self.append(turn.bytes().to_vec())
    }

    /// The checkpoint of the first `size` leaves, signed with keys of the log and cosigned now by two.
    pub fn noted(&self, size: u64, seeds: &[u8]) -> Vec<u8> {
        let root = merkle::root(&self.tree, size).unwrap();
        let head = Checkpoint { origin: ORIGIN.into(), size, root };
        let mut signed = head.sign(&log_key_of(seeds[0]), &key(seeds[0])).unwrap();
        for seed in &seeds[1..] {
            signed.also_sign(&log_key_of(*seed), &key(*seed)).unwrap();
        }
        for i in 0..2 {
            let line = self.witness(i).sign(&key(50 + i as u8), signed.note().text(), self.now).unwrap();
            signed.add_cosignature(&self.witness(i), line).unwrap();
        }
        signed.to_bytes()
    }

    /// The checkpoint of all leaves, cosigned by the first `witnesses`.
    pub fn cosigned(&self, witnesses: usize) -> Vec<u8> {
        let mut signed = self.signed_checkpoint(self.tree.size());
        for i in 0..witnesses {
            let witness = self.witness(i);
            let line = witness.sign(&key(50 + i as u8), signed.note().text(), self.now).unwrap();
            signed.add_cosignature(&witness, line).unwrap();
        }
        signed.to_bytes()
    }

    pub fn bundle(&self) -> Bundle {
        let mut bundle = Bundle::whole(Some(self.trust()), self.cosigned(2), self.leaves.clone());
        bundle.beside = self.beside.iter().map(|b| b.clone().into()).collect();
        bundle
    }

    pub fn single(&self, indices: &[u64]) -> Bundle {
        let leaves = indices.iter().map(|i| (*i, self.leaves[*i as usize].clone()));
        let size = self.tree.size();
        Bundle::single(Some(self.trust()), self.cosigned(2), size, &self.tree, leaves).unwrap()
    }

    pub fn report(&self) -> Report {
        verify_bundle(&self.bundle().to_bytes(), Some(&self.trust())).unwrap()
    }

    /// The log as files, appended in steps.
    pub fn disk(&self) -> Disk {
        let (mut disk, mut edge) = (Disk::default(), Edge::default());
        for leaves in self.leaves.chunks(3) {
            disk.0.extend(edge.append(leaves).unwrap().into_iter().map(|f| (f.path, f.bytes)));
        }
        disk.0.insert(tiles::CHECKPOINT_PATH.into(), self.cosigned(2));
        for bytes in &self.beside {
            let id = StatementId(tacit_crypto::sha256(bytes).0);
            disk.0.insert(tiles::beside_path(&id), bytes.clone());
        }
        disk
    }
}

pub fn name(i: usize) -> Name {
    Name::new(&format!("bank-{i}")).unwrap()
}

/// The codes of a report, each once.
pub fn codes(report: &Report) -> Vec<Code> {
    let mut codes: Vec<Code> = report.faults.iter().map(|f| f.code).collect();
    codes.sort();
    codes.dedup();
    codes
}
