//! The coordinator's log: files first, then the checkpoint, then the witnesses, and only with their
//! quorum a proof.

use std::collections::{BTreeMap, BTreeSet};

use tacit_crypto::Statement;
use tacit_engine::control::ToNode;
use tacit_engine::{FromNode, Input};
use tacit_receipts::merkle::{consistency_proof, leaf_hash, root};
use tacit_receipts::receipt::{Absent, assemble};
use tacit_receipts::{
    AddCheckpoint, Attestation, JointReceipt, Log, LogProof, SignatureLine, SignedCheckpoint, TileRead, TileReader,
    UsageRecord,
};
use tacit_types::wire::{self, Blob};
use tacit_types::{Code, Fault, JobId, NodeId, UnixMillis};

use super::cast::{Cast, ORIGIN, T0};
use super::coordinator::Key;
use super::process::Alive;
use super::world::{COORDINATOR, Wake, World};
use crate::bug::Bug;
use crate::disk::Disk;
use crate::run::{Check, holds};

/// Milliseconds before a witness that did not cosign is asked again.
const AGAIN_MS: u64 = 500;

pub(super) struct Book {
    log: Log,
    /// The newest checkpoint, with the cosignatures that came.
    head: SignedCheckpoint,
    /// Leaves of the newest checkpoint that has its quorum.
    pub published: u64,
    /// What each witness is thought to hold.
    holds: Vec<u64>,
    /// Receipts that wait for the quorum.
    waiting: BTreeMap<JobId, u64>,
    /// The last attestation that waits for it.
    late: Option<u64>,
    /// Witnesses that are being asked.
    asked: BTreeSet<usize>,
    /// A witness has seen more of this log, or another one: it must not be signed any more.
    pub wedged: bool,
}

/// The files of the log on the coordinator's disk.
pub(super) struct Files<'a>(pub &'a Disk<Key, Vec<u8>>);

impl TileRead for Files<'_> {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.0.read(&Key::File(path.to_owned())).cloned()
    }
}

/// The files that a crash cannot take.
struct DurableFiles<'a>(&'a Disk<Key, Vec<u8>>);

impl TileRead for DurableFiles<'_> {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.0.durable(&Key::File(path.to_owned())).cloned()
    }
}

impl Book {
    /// A log with its first two leaves, durable.
    pub fn create(cast: &Cast, disk: &mut Disk<Key, Vec<u8>>) -> Self {
        let mut log = Log::create(ORIGIN).expect("why: the origin is a name");
        let plan = log.plan(&cast.genesis, &|_| None, T0).expect("why: two small leaves");
        disk.write(plan.writes.iter().map(|f| (Key::File(f.path.clone()), f.bytes.clone())).collect());
        let head = plan.checkpoint.sign(&cast.log_key, &cast.log).expect("why: the key is the log's");
        disk.write(vec![(Key::Head, wire::encode(&(head.to_bytes(), T0)))]);
        disk.sync();
        log.commit(plan).expect("why: the plan is of this log");
        Self::at(cast, log, head)
    }

    fn at(cast: &Cast, log: Log, head: SignedCheckpoint) -> Self {
        Self {
            log,
            head,
            published: 0,
            holds: vec![0; cast.owners.len()],
            waiting: BTreeMap::new(),
            late: None,
            asked: BTreeSet::new(),
            wedged: false,
        }
    }

    /// The newest checkpoint.
    pub fn checkpoint(&self) -> tacit_receipts::Checkpoint {
        self.log.checkpoint()
    }

    /// What a restarted coordinator finds.
    pub fn resume(cast: &Cast, disk: &Disk<Key, Vec<u8>>) -> Result<Self, Fault> {
        let corrupt = || Fault::new(Code::LogCorrupt, "the checkpoint");
        let (note, at): (Vec<u8>, UnixMillis) =
            disk.read(&Key::Head).and_then(|row| wire::decode(row).ok()).ok_or_else(corrupt)?;
        let head = SignedCheckpoint::open(&note, &cast.log_key)?;
        let log = Log::resume(&Files(disk), head.checkpoint(), at)?;
        let mut book = Self::at(cast, log, head);
        if let Some(note) = disk.read(&Key::Published) {
            let published = SignedCheckpoint::open(note, &cast.log_key)?;
            book.published = published.checkpoint().size;
            if published.checkpoint() == book.head.checkpoint() {
                book.head = published;
            }
        }
        Ok(book)
    }
}

impl World {
    /// Appends a job's receipt, once.
    pub fn append(&mut self, id: JobId, record: &[u8], attested: &[Blob], absent: Vec<(NodeId, Code)>) -> Alive {
        if self.coordinator.book.waiting.contains_key(&id) || self.coordinator.book.wedged {
            return Ok(());
        }
        self.chapter(COORDINATOR, "log");
        let leaf = match self.receipt_of(id, record, attested, absent)? {
            Ok(leaf) => leaf,
            Err(fault) => return self.input(id, Input::NotLogged(fault)),
        };
        let index = match self.grow(leaf)? {
            Ok(index) => index,
            // The clock is behind the log's: it cannot be now, and it must not be never.
            Err(fault) if fault.code == Code::LogClock => {
                self.wake_after(COORDINATOR, 1_000, Wake::Job(id));
                return Ok(());
            }
            Err(fault) => return self.input(id, Input::NotLogged(fault)),
        };
        self.note(COORDINATOR, || format!("appends the receipt of job {} as leaf {index}", id.short()));
        self.coordinator.book.waiting.insert(id, index);
        self.show_unwitnessed(id, index)?;
        if self.has(Bug::AcceptWithoutProof) {
            return self.publish();
        }
        self.cosign()
    }

    /// Appends an attestation, once. Whether it is published; else it waits for the witnesses.
    pub fn append_late(&mut self, statement: &[u8]) -> Alive<bool> {
        if self.coordinator.book.wedged {
            return Ok(false);
        }
        self.chapter(COORDINATOR, "log");
        // The log's clock passes, and the party hands it in again.
        let Ok(index) = self.grow(statement.to_vec())? else { return Ok(false) };
        self.note(COORDINATOR, || format!("has a late attestation as leaf {index}"));
        if index < self.coordinator.book.published {
            return Ok(true);
        }
        self.coordinator.book.late = self.coordinator.book.late.max(Some(index));
        self.cosign()?;
        Ok(false)
    }

    /// Makes a leaf durable with the head that covers it. Its place; that which it has when it is there already.
    fn grow(&mut self, leaf: Vec<u8>) -> Alive<Result<u64, Fault>> {
        let now = self.clock(COORDINATOR);
        let disk = &self.coordinator.disk;
        let known =
            |hash: &tacit_types::Hash| disk.read(&Key::Place(*hash)).and_then(|row| wire::decode::<u64>(row).ok());
        let plan = match self.coordinator.book.log.plan(core::slice::from_ref(&leaf), &known, now) {
            Ok(plan) => plan,
            Err(fault) => return Ok(Err(fault)),
        };
        let index = plan.indices.first().copied().unwrap_or(0);
        if plan.checkpoint.size > self.coordinator.book.log.size() {
            for file in &plan.writes {
                self.write(vec![(Key::File(file.path.clone()), file.bytes.clone())])?;
            }
            self.write(vec![(Key::Place(leaf_hash(&leaf)), wire::encode(&index))])?;
            if !self.has(Bug::CheckpointBeforeFiles) {
                self.sync_coordinator()?;
            }
            let head = plan.checkpoint.sign(&self.cast.log_key, &self.cast.log).expect("why: the key is the log's");
            self.write(vec![(Key::Head, wire::encode(&(head.to_bytes(), now)))])?;
            if !self.has(Bug::CheckpointBeforeFiles) {
                self.sync_coordinator()?;
            }
            self.coordinator.book.log.commit(plan).expect("why: nothing else was committed meanwhile");
            self.coordinator.book.head = head;
        }
        Ok(Ok(index))
    }

    /// The signed receipt: signed once and stored before it is appended, because signing it again
    /// would make another leaf.
    fn receipt_of(
        &mut self,
        id: JobId,
        record: &[u8],
        attested: &[Blob],
        absent: Vec<(NodeId, Code)>,
    ) -> Alive<Result<Vec<u8>, Fault>> {
        if let Some(leaf) = self.coordinator.disk.read(&Key::Leaf(id))
            && !self.has(Bug::AppendTwice)
        {
            return Ok(Ok(leaf.clone()));
        }
        let Ok(record) = tacit_crypto::cbor::decode::<UsageRecord>(record) else {
            return Ok(Err(Fault::new(Code::ReceiptRecord, "the record cannot be read")));
        };
        let attested: Vec<Statement<Attestation>> =
            attested.iter().filter_map(|bytes| Statement::verify(bytes).ok()).collect();
        let absent = absent.into_iter().map(|(party, code)| Absent { party, code }).collect();
        let subject = record.subject();
        let assembled = match assemble(record, &attested, absent) {
            Ok(assembled) => assembled,
            Err(fault) => return Ok(Err(fault)),
        };
        let now = self.clock(COORDINATOR);
        let leaf: Statement<JointReceipt> =
            Statement::sign(&self.cast.coordinator, &subject, now, None, assembled.receipt);
        self.write(vec![(Key::Leaf(id), leaf.bytes().to_vec())])?;
        self.sync_coordinator()?;
        Ok(Ok(leaf.bytes().to_vec()))
    }

    fn quorum(&self) -> usize {
        if self.has(Bug::ReleaseBeforeQuorum) { 1 } else { self.cast.quorum.threshold() }
    }

    /// Asks the witnesses that have not cosigned the newest checkpoint, as long as it is waited for.
    pub fn cosign(&mut self) -> Alive {
        let book = &self.coordinator.book;
        let late = book.late.is_some_and(|index| index >= book.published);
        if (book.waiting.is_empty() && !late) || book.wedged {
            return Ok(());
        }
        if book.published >= book.log.size() {
            return self.settle_waiting();
        }
        let check = self.a_checkpoint_leaves_after_its_files_are_durable();
        self.found(check);
        for node in 0..self.nodes.len() {
            let book = &self.coordinator.book;
            let key = &self.cast.owners[node].witness_key;
            let signed = book.head.note().signatures().iter().any(|line| key.owns(line));
            let reachable = self.net.connection(COORDINATOR, node + 1).is_some();
            if signed || !reachable || book.asked.contains(&node) {
                continue;
            }
            let (old, size) = (book.holds[node], book.head.checkpoint().size);
            let files = Files(&self.coordinator.disk);
            let Ok(proof) = consistency_proof(&TileReader::new(&files, size), old, size) else { continue };
            let request = AddCheckpoint { old, proof, note: book.head.to_bytes() };
            self.coordinator.book.asked.insert(node);
            self.ask(None, node, ToNode::Cosign { request: Blob(request.to_bytes()) })?;
        }
        Ok(())
    }

    fn a_checkpoint_leaves_after_its_files_are_durable(&self) -> Check {
        let head = self.coordinator.book.head.checkpoint();
        let files = DurableFiles(&self.coordinator.disk);
        let found = root(&TileReader::new(&files, head.size), head.size);
        holds(found.is_ok_and(|root| root == head.root), "a_checkpoint_leaves_after_its_files_are_durable", || {
            format!("{} leaves", head.size)
        })
    }

    pub fn not_cosigned(&mut self, node: usize) -> Alive {
        self.coordinator.book.asked.remove(&node);
        self.wake_after(COORDINATOR, AGAIN_MS, Wake::Cosign);
        Ok(())
    }

    pub fn take_cosignature(&mut self, node: usize, answer: FromNode) -> Alive {
        self.coordinator.book.asked.remove(&node);
        match answer {
            FromNode::Cosigned(line) => {
                let Ok(line) = SignatureLine::parse(&line) else { return self.not_cosigned(node) };
                let book = &mut self.coordinator.book;
                // A line for an older checkpoint does not fit this one: the witness is asked again.
                if book.head.add_cosignature(&self.cast.owners[node].witness_key, line).is_ok() {
                    book.holds[node] = book.head.checkpoint().size;
                }
                let cosigned = self.cast.quorum.count(self.coordinator.book.head.note()).by.len();
                if cosigned >= self.quorum() { self.publish() } else { self.cosign() }
            }
            FromNode::WitnessHolds(size) => {
                let book = &mut self.coordinator.book;
                book.holds[node] = size;
                if size > book.log.size() {
                    return self.wedge("a witness has seen more");
                }
                self.cosign()
            }
            FromNode::Failed(fault) if matches!(fault.code, Code::LogFork | Code::LogRollback | Code::LogProof) => {
                self.wedge(fault.code.text())
            }
            _ => self.not_cosigned(node),
        }
    }

    fn wedge(&mut self, why: &str) -> Alive {
        self.note(COORDINATOR, || format!("signs no more: {why}"));
        self.coordinator.book.wedged = true;
        let excused = self.is_misled() || self.has_liar();
        let check = holds(excused, "a_log_that_never_went_back_is_never_refused", || why.to_owned());
        self.found(check);
        Ok(())
    }

    fn publish(&mut self) -> Alive {
        self.chapter(COORDINATOR, "log");
        let head = self.coordinator.book.head.clone();
        let (size, root) = (head.checkpoint().size, head.checkpoint().root);
        self.write(vec![(Key::Published, head.to_bytes())])?;
        self.sync_coordinator()?;
        self.note(COORDINATOR, || format!("publishes {size} leaves"));
        self.coordinator.book.published = size;
        let check = self.watch.published(size, root);
        self.found(check);
        self.settle_waiting()
    }

    fn settle_waiting(&mut self) -> Alive {
        // What follows may move the head on.
        let (published, head) = (self.coordinator.book.published, self.coordinator.book.head.clone());
        let ready: Vec<(JobId, u64)> =
            self.coordinator.book.waiting.iter().filter(|(_, i)| **i < published).map(|(id, i)| (*id, *i)).collect();
        for (id, index) in ready {
            let files = Files(&self.coordinator.disk);
            let reader = TileReader::new(&files, published);
            let proof = LogProof::build(&reader, index, &head);
            let leaf = self.coordinator.disk.read(&Key::Leaf(id)).cloned();
            self.coordinator.book.waiting.remove(&id);
            if let (Ok(proof), Some(leaf)) = (proof, leaf) {
                let proof = Blob(proof.to_string().into_bytes());
                self.show_to_all(id, &leaf, &proof)?;
                self.input(id, Input::Logged { index, leaf: Blob(leaf), proof })?;
            }
        }
        self.cosign()
    }

    /// Every receipt in the log as its files have it.
    pub fn receipts(&self) -> Vec<Statement<JointReceipt>> {
        let files = Files(&self.coordinator.disk);
        let size = self.coordinator.book.log.size();
        let reader = TileReader::new(&files, size);
        (0..size).filter_map(|i| reader.leaf(i).ok()).filter_map(|leaf| Statement::verify(&leaf).ok()).collect()
    }

    /// Leaves of the log as its files have them.
    pub fn leaves(&self) -> Vec<Vec<u8>> {
        let files = Files(&self.coordinator.disk);
        let size = self.coordinator.book.log.size();
        let reader = TileReader::new(&files, size);
        (0..size).filter_map(|i| reader.leaf(i).ok()).collect()
    }
}
