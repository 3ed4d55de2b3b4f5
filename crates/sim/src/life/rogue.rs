//! Dishonest processes: a node that lies in what it answers and reports, a coordinator that lies in what it
//! asks. Each does what it should as well, so that its lies meet a life that goes on.

use tacit_crypto::Statement;
use tacit_engine::control::{Finish, Finished, FromNode, Package, Terminal, ToNode};
use tacit_engine::{Assignment, ToCoordinator, Worker, WorkerJob};
use tacit_governance::JobSpec;
use tacit_protocol::Message;
use tacit_receipts::merkle::{MemTree, consistency_proof, leaf_hash, root};
use tacit_receipts::receipt::next_link;
use tacit_receipts::record::Role;
use tacit_receipts::{AddCheckpoint, Attestation, Checkpoint, LogProof, Quantity, Status, TileReader, UsageRecord};
use tacit_types::wire::{self, Blob};
use tacit_types::{Attempt, Code, Fault, JobId, Seat};

use super::book::Files;
use super::late::unlogged_row;
use super::node::{Answered, Key, job_row};
use super::process::Alive;
use super::world::{COORDINATOR, Wire, World};
use crate::faults::{CALM_AT_MS, FaultKind, Trick};
use crate::secagg::forge::{two_roots, wrong_sum};

/// Answers that a node keeps for giving them again.
const SAID_MAX: usize = 32;

/// What a dishonest node has up its sleeve.
#[derive(Default)]
pub(super) struct Sleeve {
    said: Vec<FromNode>,
    held: Option<(u64, FromNode)>,
}

impl World {
    /// Whether this process does what it should, and remembers all of it.
    fn is_true(&self, process: usize) -> bool {
        let old = self.faults.old_node.as_ref().is_some_and(|old| old.node + 1 == process);
        !old && self.faults.rogue.as_ref().is_none_or(|rogue| rogue.process != process)
    }

    /// Whether this node does what it should.
    pub fn is_honest(&self, node: usize) -> bool {
        self.is_true(node + 1)
    }

    /// Whether what the coordinator says cannot be counted on: it lies, or has forgotten some of it.
    pub fn is_misled(&self) -> bool {
        self.coordinator.restored || !self.is_true(COORDINATOR)
    }

    /// Whether some node lies.
    pub fn has_liar(&self) -> bool {
        (0..self.nodes.len()).any(|node| !self.is_honest(node))
    }

    /// Whether a process plays a trick now.
    pub fn plays(&mut self, process: usize, trick: Trick) -> bool {
        let can = |rogue: &crate::faults::Rogue| rogue.process == process && rogue.tricks.contains(&trick);
        if !self.faults.rogue.as_ref().is_some_and(can) || self.queue.now() >= CALM_AT_MS || !self.dice.chance(400) {
            return false;
        }
        self.net.count(if process == COORDINATOR { FaultKind::RogueCoordinator } else { FaultKind::RogueNode });
        self.note(process, || format!("plays {trick:?}"));
        true
    }

    fn altered(&mut self, bytes: &Blob) -> Blob {
        let mut bytes = bytes.clone();
        if !bytes.0.is_empty() {
            let at = self.dice.below(bytes.0.len() as u64) as usize;
            bytes.0[at] ^= 1 << self.dice.below(8);
        }
        bytes
    }

    /// A dishonest node's answer to a request, given the true one.
    pub fn answer_falsely(&mut self, i: usize, id: u64, request: &ToNode, answer: FromNode) -> Alive {
        let me = i + 1;
        let mut answer = self.falsely_signed(i, request, answer);
        if matches!(answer, FromNode::Released(_)) && self.plays(me, Trick::WithholdRelease) {
            answer = if self.dice.chance(500) { FromNode::Done } else { failed("not now") };
        }
        if self.plays(me, Trick::AlterAnswer) {
            answer = match answer {
                FromNode::Admitted(bytes) => FromNode::Admitted(self.altered(&bytes)),
                FromNode::Refused(bytes) => FromNode::Refused(self.altered(&bytes)),
                FromNode::Attested(bytes) => FromNode::Attested(self.altered(&bytes)),
                FromNode::Released(bytes) => FromNode::Released(self.altered(&bytes)),
                FromNode::Cosigned(_) => FromNode::Cosigned("\u{2014} nobody AAAA".into()),
                FromNode::WitnessHolds(_) => FromNode::WitnessHolds(0),
                _ => FromNode::Admitted(Blob(vec![7; 40])),
            };
        }
        if self.plays(me, Trick::ReplayAnswer) && !self.nodes[i].sleeve.said.is_empty() {
            answer = self.dice.pick(&self.nodes[i].sleeve.said).clone();
        }
        let said = &mut self.nodes[i].sleeve.said;
        if said.len() < SAID_MAX {
            said.push(answer.clone());
        }
        if self.plays(me, Trick::SwapAnswers) {
            match self.nodes[i].sleeve.held.take() {
                None => {
                    self.nodes[i].sleeve.held = Some((id, answer));
                    return Ok(());
                }
                Some((other, before)) => {
                    self.send(me, COORDINATOR, Wire::Answer { id: other, answer })?;
                    answer = before;
                }
            }
        }
        self.send(me, COORDINATOR, Wire::Answer { id, answer })
    }

    /// Statements that are well signed and should not be.
    fn falsely_signed(&mut self, i: usize, request: &ToNode, answer: FromNode) -> FromNode {
        let me = i + 1;
        match request {
            ToNode::Admit { job, .. } if self.plays(me, Trick::DecideTwice) => {
                let Ok(parsed) = JobSpec::verify(job) else { return answer };
                let fault = Fault::new(Code::RefusedPurpose, "on second thoughts");
                Worker::refuse(job, JobSpec::id(&parsed), fault, &self.context(i)).decision()
            }
            ToNode::Attest { record, .. } => {
                let Ok(mut record) = tacit_crypto::cbor::decode::<UsageRecord>(record) else { return answer };
                let mut link = next_link(self.nodes[i].chain());
                if self.plays(me, Trick::AttestAnother) {
                    record.ended = record.ended.plus(1);
                } else if self.plays(me, Trick::ForkChain) {
                    link = next_link(None);
                } else {
                    return answer;
                }
                let (key, now) = (&self.cast.owners[i].node, self.clock(me));
                let signed = Attestation::agreeing(&record, Role::Input, None).sign(key, &record, now, link);
                FromNode::Attested(Blob(signed.bytes().to_vec()))
            }
            _ => answer,
        }
    }

    /// [`crate::Bug::AttestBlindly`]: whatever it is shown, a node signs it.
    pub fn attest_blindly(&mut self, i: usize, id: JobId, mut job: WorkerJob, record: &[u8]) -> Answered {
        let Ok(record) = tacit_crypto::cbor::decode::<UsageRecord>(record) else { return Ok(Ok(failed("no record"))) };
        let (link, now) = (next_link(self.nodes[i].chain()), self.clock(i + 1));
        let key = &self.cast.owners[i].node;
        let signed = Attestation::agreeing(&record, Role::Input, None).sign(key, &record, now, link);
        let statement = Blob(signed.bytes().to_vec());
        job.attested = Some((record.digest(), statement.clone()));
        let head = (Key::Chain, wire::encode(&(link.seq, signed.id().0)));
        self.store(i, vec![head, unlogged_row(link.seq, id, &statement), job_row(id, &job)])?;
        Ok(Ok(FromNode::Attested(statement)))
    }

    /// What a dishonest node's machine says in place of what it should.
    pub fn said_falsely(&mut self, i: usize, message: Message) -> Message {
        let key = self.cast.owners[i].node.clone();
        let lies = [
            (Trick::TellTwoRoots, two_roots(&key, message.clone())),
            (Trick::GiveWrongSum, wrong_sum(&key, message.clone())),
        ];
        for (trick, lie) in lies {
            match lie {
                Some(lie) if self.plays(i + 1, trick) => return lie,
                _ => {}
            }
        }
        message
    }

    /// What a dishonest node reports in place of how its attempt ended.
    pub fn reported_falsely(&mut self, i: usize, mut finish: Finish) -> Finish {
        if !self.plays(i + 1, Trick::ReportAnother) {
            return finish;
        }
        match (self.dice.below(4), &mut finish.finished) {
            (0, _) => finish.attempt = Attempt(finish.attempt.0 + 1),
            (1, Finished::Ok { survivors, .. }) => drop(survivors.pop()),
            (2, Finished::Ok { package, cells_in, .. }) => {
                *cells_in += 1;
                *package = Some(Package::Inline(Blob(vec![1; 64])));
            }
            (_, finished) => {
                *finished = Finished::Failed {
                    code: Code::JobPeerLost,
                    step: None,
                    seat: Some(Seat(0)),
                    hint: "so it is".into(),
                    input_sent: false,
                };
            }
        }
        finish
    }

    /// What a dishonest node says that it has counted, to everybody alike.
    pub fn counted_falsely(&mut self, i: usize, mut finished: Finished) -> Finished {
        if matches!(finished, Finished::Ok { .. })
            && self.plays(i + 1, Trick::CountAnother)
            && let Finished::Ok { cells_in, payload_bytes, .. } = &mut finished
        {
            *cells_in += 1;
            *payload_bytes = 0;
        }
        finished
    }

    /// What a dishonest node hands in as a late attestation.
    pub fn handed_in_falsely(&mut self, i: usize) -> Alive {
        let Some((job, own)) = self.nodes[i].jobs().into_iter().next() else { return Ok(()) };
        if !self.plays(i + 1, Trick::HandInJunk) {
            return Ok(());
        }
        let others = self.nodes.iter().filter_map(|node| node.job(&job)?.attested).map(|(_, bytes)| bytes);
        let mut junk: Vec<Blob> = others.chain([own.answer, Blob(vec![3; 100])]).collect();
        if let Some((_, bytes)) = &own.attested {
            junk.push(self.altered(bytes));
        }
        let attestation = self.dice.pick(&junk).clone();
        self.tell(i, ToCoordinator::Attested { job, attestation }).map(|_| ())
    }

    /// A request that the coordinator's own state knows nothing of; its answer is dropped.
    fn ask_beside(&mut self, node: usize, request: ToNode) -> Alive {
        let id = self.coordinator.beside();
        self.note(COORDINATOR, || format!("asks node {node} beside: {}", super::watch::word(&request)));
        self.send(COORDINATOR, node + 1, Wire::Ask { id, request: request.into() })
    }

    /// What a dishonest coordinator asks in place of what it should.
    pub fn asked_falsely(&mut self, node: usize, request: &ToNode) -> Alive<ToNode> {
        let mut request = request.clone();
        match &mut request {
            ToNode::Start { assignment } => {
                if node % 2 == 1 && self.plays(COORDINATOR, Trick::StartApart) {
                    assignment.aggregator = self.other(&assignment.aggregator);
                }
                if self.plays(COORDINATOR, Trick::StartTwice) {
                    let mut again = assignment.clone();
                    again.aggregator = self.other(&again.aggregator);
                    let (job, attempt) = (again.job, again.attempt);
                    self.ask_beside(node, ToNode::Reserve { job, attempt, ttl_ms: 5_000 })?;
                    self.ask_beside(node, ToNode::Start { assignment: again })?;
                }
            }
            ToNode::Admit { job, .. } if self.plays(COORDINATOR, Trick::AlterJob) => {
                *job = self.altered_job(job);
            }
            ToNode::Attest { record, .. } if self.plays(COORDINATOR, Trick::AlterRecord) => {
                *record = self.altered_record(record);
            }
            ToNode::Attest { record, .. } if self.plays(COORDINATOR, Trick::AccuseAParty) => {
                *record = self.accusing(record);
            }
            ToNode::Cosign { request } if node % 2 == 1 && self.plays(COORDINATOR, Trick::ForkLog) => {
                if let Some(forked) = self.forked(request) {
                    *request = Blob(forked);
                }
            }
            _ => {}
        }
        self.asked_out_of_turn(node)?;
        Ok(request)
    }

    fn asked_out_of_turn(&mut self, node: usize) -> Alive {
        let known: Vec<(JobId, Blob)> =
            self.coordinator.jobs().map(|(id, job)| (*id, Blob(job.bytes().to_vec()))).collect();
        let Some((job, bytes)) = (!known.is_empty()).then(|| self.dice.pick(&known).clone()) else { return Ok(()) };
        if self.plays(COORDINATOR, Trick::StartUnasked) {
            let attempt = Attempt(self.dice.between(1, 3) as u32);
            let assignment = self.made_up(job, attempt);
            self.ask_beside(node, ToNode::Reserve { job, attempt, ttl_ms: 5_000 })?;
            self.ask_beside(node, ToNode::Start { assignment })?;
        }
        if self.plays(COORDINATOR, Trick::ReplayAdmission) {
            let contracts = self.cast.contracts.iter().map(|c| c.statements.clone()).collect();
            self.ask_beside(node, ToNode::Admit { job: bytes, contracts })?;
        }
        if self.plays(COORDINATOR, Trick::CloseEarly) {
            self.ask_beside(node, ToNode::Close { job, terminal: Terminal::Cancelled })?;
        }
        Ok(())
    }

    fn other(&self, aggregator: &tacit_types::NodeId) -> tacit_types::NodeId {
        let mut ids = self.cast.owners.iter().map(|o| o.node.id());
        ids.find(|id| id != aggregator).unwrap_or(*aggregator)
    }

    fn made_up(&self, job: JobId, attempt: Attempt) -> Assignment {
        Assignment {
            job,
            attempt,
            seats: self.cast.owners.iter().map(|o| o.member.seated.clone()).collect(),
            aggregator: self.cast.owners[0].node.id(),
            budget_ms: 20_000,
            step_ms: 5_000,
        }
    }

    /// Another job: a byte altered, or signed by the coordinator in the operator's place.
    fn altered_job(&mut self, bytes: &Blob) -> Blob {
        match JobSpec::verify(bytes) {
            Ok(job) if self.dice.chance(500) => {
                let mut spec = job.into_body();
                spec.nonce = self.dice.bytes::<16>().to_vec();
                let now = self.clock(COORDINATOR);
                Blob(Statement::sign(&self.cast.coordinator, "job", now, None, spec).bytes().to_vec())
            }
            _ => self.altered(bytes),
        }
    }

    /// Another record: more was used, or something that no party metered.
    pub fn altered_record(&mut self, bytes: &Blob) -> Blob {
        let Ok(mut record) = tacit_crypto::cbor::decode::<UsageRecord>(bytes) else { return bytes.clone() };
        match record.lines.iter_mut().find(|line| matches!(line.quantity, Quantity::Plain(_))) {
            Some(line) if self.dice.chance(700) => line.quantity = Quantity::Plain(9_999_999),
            _ => record.ended = record.ended.plus(1),
        }
        Blob(tacit_crypto::cbor::encode(&record))
    }

    /// The record of an end that was none: a party has misbehaved, or has refused what it admitted.
    fn accusing(&mut self, bytes: &Blob) -> Blob {
        let Ok(mut record) = tacit_crypto::cbor::decode::<UsageRecord>(bytes) else { return bytes.clone() };
        let seat = Some(Seat(self.dice.below(record.parties.len() as u64) as u16));
        record.status = match self.dice.chance(700) {
            true => Status::Aborted { code: Code::JobMisbehaved, step: None, seat },
            false => Status::Refused { code: Code::RefusedPurpose, seat },
        };
        if matches!(record.status, Status::Refused { .. }) {
            record.attempt = Attempt(0);
        }
        record.result = None;
        record.lines.clear();
        record.transcripts.clear();
        record.disclosures.clear();
        record.convictions.clear();
        Blob(tacit_crypto::cbor::encode(&record))
    }

    /// The same checkpoint of another history: its last leaf is another one.
    fn forked(&self, request: &Blob) -> Option<Vec<u8>> {
        let request = AddCheckpoint::parse(request).ok()?;
        let mut leaves = self.leaves();
        *leaves.last_mut()? = b"another history".to_vec();
        let mut tree = MemTree::default();
        leaves.iter().for_each(|leaf| tree.push(leaf_hash(leaf)));
        let size = leaves.len() as u64;
        let checkpoint = Checkpoint { origin: super::cast::ORIGIN.into(), size, root: root(&tree, size).ok()? };
        let note = checkpoint.sign(&self.cast.log_key, &self.cast.log).ok()?.to_bytes();
        let proof = consistency_proof(&tree, request.old, size).ok()?;
        Some(AddCheckpoint { old: request.old, proof, note }.to_bytes())
    }

    /// A proof under a checkpoint that the log has signed and no witness has seen.
    pub fn unwitnessed(&self, index: u64) -> Option<Blob> {
        let head = self.coordinator.book.checkpoint();
        let size = head.size;
        let files = Files(&self.coordinator.disk);
        let signed = head.sign(&self.cast.log_key, &self.cast.log).ok()?;
        let proof = LogProof::build(&TileReader::new(&files, size), index, &signed).ok()?;
        Some(Blob(proof.to_string().into_bytes()))
    }

    /// Shows a receipt to those as well that it does not carry: they may have signed another record.
    pub fn show_to_all(&mut self, job: JobId, leaf: &[u8], proof: &Blob) -> Alive {
        if !self.plays(COORDINATOR, Trick::AlterRecord) {
            return Ok(());
        }
        for node in 0..self.nodes.len() {
            let (leaf, proof) = (Blob(leaf.to_vec()), proof.clone());
            self.ask_beside(node, ToNode::Logged { job, leaf, proof, beside: Vec::new() })?;
        }
        Ok(())
    }

    /// Shows a receipt as logged before any witness has seen it.
    pub fn show_unwitnessed(&mut self, job: JobId, index: u64) -> Alive {
        if !self.plays(COORDINATOR, Trick::ShowUnwitnessed) {
            return Ok(());
        }
        let (Some(proof), Some(leaf)) = (self.unwitnessed(index), self.leaves().get(index as usize).cloned()) else {
            return Ok(());
        };
        for node in 0..self.nodes.len() {
            let (leaf, proof) = (Blob(leaf.clone()), proof.clone());
            self.ask_beside(node, ToNode::Logged { job, leaf, proof, beside: Vec::new() })?;
        }
        Ok(())
    }
}

fn failed(what: &str) -> FromNode {
    FromNode::Failed(Fault::new(Code::JobInternal, what))
}
