//! A node whose disk is put back to an earlier moment: it counts from the log what it has signed and does not know, before it
//! admits anything.

use tacit_crypto::Statement;
use tacit_engine::recount::counted;
use tacit_governance::{Admission, JobSpec, SignedContract};
use tacit_receipts::Status;
use tacit_types::JobId;
use tacit_types::wire::{self, Blob};

use super::node::{Key, Node};
use super::process::Alive;
use super::world::World;
use crate::bug::Bug;
use crate::disk::Disk;
use crate::faults::FaultKind;
use crate::run::{Check, holds};

/// What a node has of an older disk.
#[derive(Default)]
pub(super) struct Old {
    copy: Option<Disk<Key, Vec<u8>>>,
    /// Its disk is the copy, and what was written since.
    is: bool,
    /// It has read the log since its start.
    caught_up: bool,
    /// How much of the log it had seen as a witness before its disk was put back.
    seen: u64,
}

impl Node {
    /// Whether its disk is an older one.
    pub fn is_old(&self) -> bool {
        self.old.is
    }

    /// How much of the log it has ever seen as a witness, with a disk that it has or had.
    pub fn ever_seen(&self) -> u64 {
        self.old.seen.max(self.seen().map_or(0, |seen| seen.size))
    }

    /// Copies the disk, once.
    pub fn keep_copy(&mut self) {
        if !self.old.is && self.old.copy.is_none() {
            self.old.copy = Some(self.disk.clone());
        }
    }
}

impl World {
    /// Copies a node's disk when the time has come.
    pub fn copies(&mut self, i: usize) {
        let effects = self.lives[i + 1].effects;
        if self.faults.old_node.as_ref().is_some_and(|old| old.node == i && effects >= old.effect) {
            self.nodes[i].keep_copy();
        }
    }

    /// The node is down: its disk is put back, once.
    pub fn puts_copy_back(&mut self, i: usize) {
        let node = &mut self.nodes[i];
        node.old.caught_up = false;
        if node.old.is {
            return;
        }
        node.old.seen = node.ever_seen();
        if let Some(copy) = node.old.copy.take() {
            (node.disk, node.old.is) = (copy, true);
            self.net.count(FaultKind::OldNode);
            self.note(i + 1, || "its disk is that of an earlier moment".into());
        }
    }

    /// Counts what the log shows of this node and its disk does not know. The coordinator hands out what it keeps of a job, or
    /// does not.
    pub fn counts_up(&mut self, i: usize, contracts: &[SignedContract]) -> Alive {
        if !self.nodes[i].is_old() || self.nodes[i].old.caught_up || self.has(Bug::ForgetLog) {
            return Ok(());
        }
        let own = self.cast.owners[i].node.id();
        let mut tx = Vec::new();
        for receipt in self.receipts() {
            let record = &receipt.body().record;
            if record.party(&own).is_none() || self.nodes[i].job(&record.job).is_some() {
                continue;
            }
            let handed = self.dice.chance(500);
            let admission = self.watch.admissions.get(&(i, record.job)).filter(|_| handed);
            let admission = admission.and_then(|bytes| Statement::<Admission>::verify(bytes).ok());
            let spec = self.coordinator.job(&record.job).and_then(|job| JobSpec::verify(job.bytes()).ok());
            let papers = admission.zip(spec).map(|(admission, spec)| (admission.into_body(), spec.into_body()));
            let attested = attests(&receipt, &own);
            for row in counted(record, &own, papers.as_ref(), attested, contracts) {
                tx.push((Key::Charged(row.job), wire::encode(&row.contract)));
            }
        }
        self.nodes[i].old.caught_up = true;
        if tx.is_empty() {
            return Ok(());
        }
        let jobs = tx.len();
        self.note(i + 1, || format!("counts {jobs} jobs from the log"));
        self.store(i, tx)
    }

    /// However old its disk is, a node admits no more jobs than its contract leaves beside those whose results the log has over
    /// its signature.
    pub fn an_old_node_admits_what_the_log_leaves(&mut self, i: usize, job: &Blob, admission: &[u8]) -> Check {
        let id = JobId(tacit_crypto::sha256(job).0);
        self.watch.admissions.entry((i, id)).or_insert_with(|| admission.to_vec());
        let Ok(said) = Statement::<Admission>::verify(admission) else { return Ok(()) };
        let terms = self.cast.contracts.iter().find(|terms| terms.id == said.body().contract);
        let Some(terms) = terms.filter(|_| self.nodes[i].is_old() && !self.is_misled()) else { return Ok(()) };
        let own = self.cast.owners[i].node.id();
        let mut others = 0;
        for receipt in self.receipts() {
            let record = &receipt.body().record;
            let here = record.status == Status::Ok && record.contracts.contains(&terms.id) && attests(&receipt, &own);
            others += u64::from(here && record.job != id);
        }
        holds(others < terms.jobs, "an_old_node_admits_what_the_log_leaves", || {
            format!("node {i}: {others} results of {} jobs, and another is admitted", terms.jobs)
        })
    }
}

/// Whether a receipt has a party's attestation.
fn attests(receipt: &Statement<tacit_receipts::JointReceipt>, party: &tacit_types::NodeId) -> bool {
    receipt.body().attested(&|_| None).held.iter().any(|said| said.signer() == *party)
}
