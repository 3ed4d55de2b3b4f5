//! Attestations that their receipts were closed without: the node hands them in until they are in the log,
//! the coordinator gives them a leaf, or their job a receipt.

use tacit_crypto::sha256;
use tacit_engine::record::is_ahead;
use tacit_engine::{FromCoordinator, Late, ToCoordinator, ToNode};
use tacit_types::wire::{self, Blob};
use tacit_types::{Code, Fault, JobId, StatementId};

use super::node::{Key, Node, job_row};
use super::process::Alive;
use super::world::{COORDINATOR, Wake, World};
use crate::bug::Bug;
use crate::faults::Trick;
use crate::run::{Check, holds};

/// Milliseconds until attestations are handed in again, and the most that the pause grows to.
pub(super) const HAND_IN_MS: u64 = 1_000;
const HAND_IN_MS_MAX: u64 = 60_000;

/// What a node has under way.
pub(super) struct HandIn {
    /// Requests, and the number in the chain of what they carry.
    pub asked: std::collections::BTreeMap<u64, u64>,
    /// Questions for records that it owes an attestation, and of which job.
    pub records: std::collections::BTreeMap<u64, JobId>,
    pause: u64,
}

impl Default for HandIn {
    fn default() -> Self {
        Self { asked: Default::default(), records: Default::default(), pause: HAND_IN_MS }
    }
}

/// An attestation that was not seen in the log, by its number in the chain.
pub(super) fn unlogged_row(seq: u64, job: JobId, statement: &Blob) -> (Key, Vec<u8>) {
    (Key::Unlogged(seq), wire::encode(&Some((job, statement.clone()))))
}

impl Node {
    /// What was signed here and not seen in the log.
    pub fn unlogged(&self) -> Vec<(u64, JobId, Blob)> {
        let rows = self.disk.all().into_iter().filter_map(|(key, row)| match key {
            Key::Unlogged(seq) => Some((*seq, wire::decode::<Option<(JobId, Blob)>>(row).ok()??)),
            _ => None,
        });
        rows.map(|(seq, (job, statement))| (seq, job, statement)).collect()
    }

    /// The row that forgets an attestation which is in the log.
    pub fn logged_row(&self, id: &StatementId) -> Option<(Key, Vec<u8>)> {
        let found = self.unlogged().into_iter().find(|(_, _, statement)| sha256(statement).0 == id.0);
        found.map(|(seq, _, _)| (Key::Unlogged(seq), wire::encode(&None::<(JobId, Blob)>)))
    }

    /// Jobs that have ended here without this node's attestation, though it ended the attempt well.
    pub fn owed(&self) -> Vec<JobId> {
        self.jobs().into_iter().filter(|(_, job)| job.owed).map(|(id, _)| id).collect()
    }

    /// Those of jobs that are not open here any more.
    fn late(&self) -> Vec<(u64, JobId, Blob)> {
        let closed = |job: &JobId| self.job(job).is_none_or(|job| job.terminal.is_some());
        self.unlogged().into_iter().filter(|(_, job, _)| closed(job)).collect()
    }
}

impl World {
    /// Hands in what is late, less and less often while it is not taken.
    pub fn hand_in(&mut self, i: usize) -> Alive {
        let (late, owed) = (self.nodes[i].late(), self.nodes[i].owed());
        let waits = &mut self.nodes[i].hand_in;
        waits.pause =
            if late.is_empty() && owed.is_empty() { HAND_IN_MS } else { (waits.pause * 2).min(HAND_IN_MS_MAX) };
        let pause = waits.pause;
        self.wake_after(i + 1, pause, Wake::HandIn);
        if self.net.connection(i + 1, COORDINATOR).is_none() {
            return Ok(());
        }
        self.chapter(i + 1, "hand_in");
        self.handed_in_falsely(i)?;
        for job in owed {
            if self.has(Bug::ForgetOwed) {
                self.forgive(i, job)?;
            } else if !self.nodes[i].hand_in.records.values().any(|asked| *asked == job) {
                let asked = self.tell(i, ToCoordinator::Record(job))?;
                self.nodes[i].hand_in.records.insert(asked, job);
            }
        }
        for (seq, job, attestation) in late {
            if !self.nodes[i].hand_in.asked.values().any(|asked| *asked == seq) {
                self.note(i + 1, || format!("hands in its attestation {seq} of job {}", job.short()));
                let asked = self.tell(i, ToCoordinator::Attested { job, attestation })?;
                self.nodes[i].hand_in.asked.insert(asked, seq);
            }
        }
        Ok(())
    }

    /// The answer to what was handed in. Whether the request was one of these.
    pub fn told_late(&mut self, i: usize, id: u64, answer: &FromCoordinator) -> Alive<bool> {
        let Some(seq) = self.nodes[i].hand_in.asked.remove(&id) else { return Ok(false) };
        if *answer == FromCoordinator::Done {
            self.store(i, vec![(Key::Unlogged(seq), wire::encode(&None::<(JobId, Blob)>))])?;
        }
        Ok(true)
    }

    /// The answer to a question for a record. Whether the request was one of these.
    pub fn told_record(&mut self, i: usize, id: u64, answer: &FromCoordinator) -> Alive<bool> {
        let Some(job) = self.nodes[i].hand_in.records.remove(&id) else { return Ok(false) };
        let settled = match answer {
            FromCoordinator::Record { record, .. } if is_ahead(record, self.clock(i + 1)) => return Ok(true),
            FromCoordinator::Record { record, evidence } => {
                self.chapter(i + 1, "attest");
                let request = ToNode::Attest { job, record: record.clone(), evidence: evidence.clone() };
                match self.attest(i, &job, record, evidence)? {
                    Ok(answer) => {
                        self.note(i + 1, || format!("attests the record of job {} late", job.short()));
                        let check = if self.is_honest(i) { self.check_answer(i, &request, &answer) } else { Ok(()) };
                        self.found(check);
                        return Ok(true);
                    }
                    Err(fault) => {
                        self.note(i + 1, || format!("does not attest job {} late: {fault}", job.short()));
                        true
                    }
                }
            }
            FromCoordinator::Failed(fault) => fault.code == Code::JobUnknown,
            _ => true,
        };
        if settled {
            self.forgive(i, job)?;
        }
        Ok(true)
    }

    /// There is nothing to attest of a job that has ended.
    fn forgive(&mut self, i: usize, job: JobId) -> Alive {
        let Some(mut row) = self.nodes[i].job(&job) else { return Ok(()) };
        row.forgive();
        self.store(i, vec![job_row(job, &row)])
    }

    /// The record of a job that is over and lacks the asking node's attestation, at the coordinator.
    pub fn lacking(&mut self, node: usize, id: &JobId) -> FromCoordinator {
        let party = self.cast.owners[node].node.id();
        let Some(job) = self.coordinator.job(id) else {
            return FromCoordinator::Failed(Fault::new(Code::JobUnknown, id.short()));
        };
        if !job.is_over() {
            return FromCoordinator::Failed(Fault::new(Code::JobNotFinished, id.short()));
        }
        match job.lacks(&party) {
            Some((record, evidence)) if self.plays(COORDINATOR, Trick::AlterRecord) => {
                FromCoordinator::Record { record: self.altered_record(&record), evidence }
            }
            Some((record, evidence)) => FromCoordinator::Record { record, evidence },
            None => FromCoordinator::Done,
        }
    }

    /// Takes a late attestation at the coordinator. `Done` once it is in a published checkpoint.
    pub fn attested_late(&mut self, node: usize, id: &JobId, statement: &Blob) -> Alive<FromCoordinator> {
        if self.has(Bug::DropLate) {
            return Ok(FromCoordinator::Done);
        }
        if self.has(Bug::LogUnchecked) {
            self.append_late(statement)?;
            return Ok(FromCoordinator::Done);
        }
        let (now, party) = (self.clock(COORDINATOR), self.cast.owners[node].node.id());
        let open = FromCoordinator::Failed(Fault::new(Code::JobNotFinished, id.short()));
        let Some(job) = self.coordinator.job_mut(id) else {
            return Ok(FromCoordinator::Failed(Fault::new(Code::JobUnknown, id.short())));
        };
        let before = job.clone();
        let late = match job.late(now, &party, statement) {
            Ok(late) => late,
            Err(fault) => return Ok(FromCoordinator::Failed(fault)),
        };
        let changed = *job != before;
        self.store_job(*id, changed)?;
        self.note(COORDINATOR, || format!("takes an attestation of job {} late: {late:?}", id.short()));
        match late {
            Late::InReceipt => Ok(FromCoordinator::Done),
            Late::Reopened => {
                self.pursue(*id)?;
                Ok(open)
            }
            Late::OwnLeaf if self.append_late(statement)? => Ok(FromCoordinator::Done),
            Late::OwnLeaf => Ok(open),
        }
    }

    /// What an honest node that lives has signed stands in the published log: in a receipt or by itself.
    pub fn every_attestation_is_in_the_log(&self) -> Check {
        let published = self.coordinator.book.published as usize;
        let leaves: Vec<Vec<u8>> = self.leaves().into_iter().take(published).collect();
        let receipts: Vec<_> = leaves
            .iter()
            .filter_map(|leaf| tacit_crypto::Statement::<tacit_receipts::JointReceipt>::verify(leaf).ok())
            .collect();
        for (i, node) in self.nodes.iter().enumerate().filter(|(i, _)| self.lives[i + 1].up && self.is_honest(*i)) {
            for (id, job) in node.jobs() {
                let Some((_, statement)) = &job.attested else { continue };
                let name = StatementId(sha256(statement).0);
                let there = leaves.contains(&statement.0) || receipts.iter().any(|r| r.body().carries(&name));
                holds(there, "every_attestation_is_in_the_log", || format!("node {i}, job {}", id.short()))?;
            }
        }
        Ok(())
    }
}
