//! An owner's node: what it answers, what it has made durable before it does, and what it reports.

use std::collections::BTreeMap;

use tacit_engine::control::{Finished, FromNode, Terminal, ToNode};
use tacit_engine::evidence::Saw;
use tacit_engine::record::witness_threshold;
use tacit_engine::{Assignment, Worker, WorkerContext, WorkerJob};
use tacit_governance::{Admission, JobSpec, Ledger};
use tacit_protocol::Blame;
use tacit_receipts::receipt::next_link;
use tacit_receipts::{AddCheckpoint, Quorum, Seen, SeenCheckpoint, Status, UsageRecord, Witness, WitnessRefusal};
use tacit_types::wire::{self, Blob};
use tacit_types::{Attempt, Code, ContractId, Fault, JobId, StatementId, UnixMillis};

use super::attempt::Run;
use super::cast::{Cast, ORIGIN};
use super::late::{HAND_IN_MS, HandIn, unlogged_row};
use super::process::Alive;
use super::report::CATCH_UP_MS;
use super::rogue::Sleeve;
use super::world::{COORDINATOR, Frame, Wake, Wire, World};
use crate::bug::Bug;
use crate::disk::Disk;
use crate::faults::FaultKind;

/// What a node keeps.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Key {
    Job(JobId),
    /// The contract whose quota a job uses.
    Charged(JobId),
    /// The head of its chain of attestations.
    Chain,
    /// The latest time that it has acted at.
    HighWater,
    /// What its witness has cosigned last.
    Seen,
    /// A record of a protocol.
    Record(JobId, u32, u64),
    /// An attestation by its number in the chain, until it is in the log.
    Unlogged(u64),
}

/// A slot that is kept for an attempt or used by it.
pub(super) struct Slot {
    attempt: Attempt,
    until: UnixMillis,
    running: bool,
}

pub(super) struct Node {
    pub disk: Disk<Key, Vec<u8>>,
    pub slots_max: usize,
    slots: BTreeMap<JobId, Slot>,
    pub runs: BTreeMap<JobId, Run>,
    /// Frames for attempts that this node has not begun.
    pub early: BTreeMap<(JobId, Attempt), Vec<(usize, Frame)>>,
    witness: Witness,
    /// The report under way.
    pub telling: Option<(u64, JobId, Attempt)>,
    /// Questions about how jobs ended, under way.
    pub asking: BTreeMap<u64, JobId>,
    /// Attestations on their way to the log.
    pub hand_in: HandIn,
    /// What it lies with, if it does.
    pub sleeve: Sleeve,
    pub next: u64,
    /// What [`Bug::RerunBurned`] goes on with after a restart.
    rerun: Option<Assignment>,
    /// Whether its disk is an older one, and the copy that is put back.
    pub(super) old: super::old::Old,
}

fn witness(cast: &Cast, i: usize, seen: Option<Seen>) -> Witness {
    Witness::new(cast.owners[i].witness_key.clone(), cast.log_key.clone(), ORIGIN, seen)
        .expect("why: the keys are of their kinds")
}

fn unknown(job: &JobId) -> Fault {
    Fault::new(Code::JobUnknown, job.short())
}

pub(super) type Answered = Alive<Result<FromNode, Fault>>;

impl Node {
    pub fn new(cast: &'static Cast, i: usize, slots_max: usize) -> Self {
        Self {
            disk: Disk::default(),
            slots_max,
            slots: BTreeMap::new(),
            runs: BTreeMap::new(),
            early: BTreeMap::new(),
            witness: witness(cast, i, None),
            telling: None,
            asking: BTreeMap::new(),
            hand_in: HandIn::default(),
            sleeve: Sleeve::default(),
            next: 0,
            rerun: None,
            old: super::old::Old::default(),
        }
    }

    pub fn job(&self, id: &JobId) -> Option<WorkerJob> {
        self.disk.read(&Key::Job(*id)).and_then(|row| wire::decode(row).ok())
    }

    /// Every job that this node has decided on.
    pub fn jobs(&self) -> Vec<(JobId, WorkerJob)> {
        let rows = self.disk.all().into_iter();
        rows.filter_map(|(key, row)| match key {
            Key::Job(id) => wire::decode(row).ok().map(|job| (*id, job)),
            _ => None,
        })
        .collect()
    }

    fn get<T: serde::de::DeserializeOwned>(&self, key: &Key) -> Option<T> {
        self.disk.read(key).and_then(|row| wire::decode(row).ok())
    }

    pub fn chain(&self) -> Option<(u64, StatementId)> {
        self.get::<(u64, [u8; 32])>(&Key::Chain).map(|(seq, id)| (seq, StatementId(id)))
    }

    /// Jobs charged against a contract, by what is durable.
    pub fn charged(&self, contract: &ContractId) -> u64 {
        let row = wire::encode(contract);
        let durable = self.disk.all_durable().iter();
        durable.filter(|(key, value)| matches!(key, Key::Charged(_)) && **value == row).count() as u64
    }

    /// Jobs admitted under a contract, by what is durable.
    pub fn admitted(&self, contract: &ContractId) -> u64 {
        let rows = self.disk.all_durable().iter().filter(|(key, _)| matches!(key, Key::Job(_)));
        let jobs = rows.filter_map(|(_, row)| wire::decode::<WorkerJob>(row).ok());
        jobs.filter(|job| job.admitted && admitted_under(job).as_ref() == Some(contract)).count() as u64
    }

    /// What its witness has made durable.
    pub fn seen(&self) -> Option<Seen> {
        self.disk.durable(&Key::Seen).and_then(|row| tacit_crypto::cbor::decode(row).ok())
    }
}

pub(super) fn job_row(id: JobId, job: &WorkerJob) -> (Key, Vec<u8>) {
    (Key::Job(id), wire::encode(job))
}

impl World {
    pub fn context(&self, i: usize) -> WorkerContext<'static> {
        let owner = &self.cast.owners[i];
        WorkerContext {
            key: &owner.node,
            node: owner.node.id(),
            keys: Default::default(),
            owner: owner.root.id(),
            origin: ORIGIN,
            coordinator: self.cast.coordinator.id(),
            now: self.clock(i + 1),
        }
    }

    pub fn node_dies(&mut self, i: usize) {
        self.nodes[i].disk.crash(&mut self.dice);
        self.puts_copy_back(i);
        let runs: Vec<JobId> = self.nodes[i].runs.keys().copied().collect();
        for job in runs {
            self.close_books(i, &job);
        }
        let node = &mut self.nodes[i];
        node.slots.clear();
        node.early.clear();
        node.telling = None;
        node.asking.clear();
        node.hand_in = HandIn::default();
    }

    pub fn node_starts(&mut self, i: usize) -> Alive {
        self.wake_after(i + 1, CATCH_UP_MS, Wake::CatchUp);
        self.wake_after(i + 1, HAND_IN_MS, Wake::HandIn);
        let seen = self.nodes[i].seen();
        self.nodes[i].witness = witness(self.cast, i, seen);
        let forgotten = |key: &Key| match key {
            Key::Chain => self.has(Bug::ForgetChain),
            Key::Unlogged(_) => self.has(Bug::ForgetAttestation),
            _ => false,
        };
        if self.has(Bug::ForgetChain) || self.has(Bug::ForgetAttestation) {
            let mut kept = Disk::default();
            let rest = self.nodes[i].disk.all().into_iter().filter(|(key, _)| !forgotten(key));
            kept.write(rest.map(|(key, row)| (key.clone(), row.clone())).collect());
            kept.sync();
            self.nodes[i].disk = kept;
        }
        for (id, mut job) in self.nodes[i].jobs() {
            if self.has(Bug::ForgetVote) {
                job.kept = None;
            }
            if self.has(Bug::RerunBurned) && job.finished.is_none() && job.attempt > 0 {
                let Some(kept) = self.nodes[i].rerun.clone() else { continue };
                let session = job.job().and_then(|parsed| {
                    let node = self.cast.owners[i].node.id();
                    Ok((tacit_engine::session::check(&parsed, &kept, &node)?, parsed))
                });
                if let Ok((session, parsed)) = session {
                    self.begin_attempt(i, parsed, &kept, session)?;
                }
            } else if job.burn() {
                let how = if job.untold { "stands by its vote on" } else { "burns its attempt at" };
                self.note(i + 1, || format!("{how} job {}", id.short()));
                self.store(i, vec![job_row(id, &job)])?;
            }
        }
        Ok(())
    }

    /// Writes a transaction and makes it durable.
    pub fn store(&mut self, i: usize, tx: Vec<(Key, Vec<u8>)>) -> Alive {
        self.effect(i + 1, false)?;
        self.nodes[i].disk.write(tx);
        self.effect(i + 1, true)?;
        self.sync(i)
    }

    fn sync(&mut self, i: usize) -> Alive {
        self.effect(i + 1, false)?;
        self.nodes[i].disk.sync();
        self.copies(i);
        self.effect(i + 1, true)
    }

    /// Answers a request of the coordinator.
    pub fn answer(&mut self, process: usize, id: u64, request: &ToNode) -> Alive {
        let i = process - 1;
        self.chapter(process, super::watch::word(request));
        let answered = match request {
            ToNode::Admit { job, contracts } => self.admit(i, job, contracts),
            ToNode::Reserve { job, attempt, ttl_ms } => Ok(self.reserve(i, *job, *attempt, *ttl_ms)),
            ToNode::Start { assignment } => self.start(i, assignment),
            ToNode::Cancel { job, attempt, code } => self.stop_attempt(i, job, *attempt, *code),
            ToNode::Attest { job, record, evidence } => self.attest(i, job, record, evidence),
            ToNode::Cosign { request } => self.cosign_at(i, request),
            ToNode::Logged { job, leaf, proof, beside } => self.logged(i, job, leaf, proof, beside),
            ToNode::Close { job, terminal } => self.close(i, job, terminal),
            ToNode::Plan { .. } | ToNode::Ping | ToNode::Promised { .. } | ToNode::Held => Ok(Ok(FromNode::Done)),
        }?;
        let answer = answered.unwrap_or_else(FromNode::Failed);
        if let (ToNode::Admit { job, .. }, FromNode::Admitted(admission)) = (request, &answer) {
            let check = self.an_old_node_admits_what_the_log_leaves(i, job, admission);
            self.found(check);
        }
        self.note(process, || {
            format!("answers {}: {}", super::watch::word(request), super::watch::answer_word(&answer))
        });
        if !self.is_honest(i) {
            return self.answer_falsely(i, id, request, answer);
        }
        let check = self.check_answer(i, request, &answer);
        self.found(check);
        self.send(process, COORDINATOR, Wire::Answer { id, answer })?;
        if self.has(Bug::AnswerBeforeSync) || self.has(Bug::AttestBeforeStore) {
            self.sync(i)?;
        }
        if self.has(Bug::QuotaAfterAnswer)
            && let ToNode::Admit { job, .. } = request
        {
            return self.charge_late(i, job);
        }
        Ok(())
    }

    fn admit(&mut self, i: usize, bytes: &Blob, offered: &[Vec<Blob>]) -> Answered {
        let parsed = match JobSpec::verify(bytes) {
            Ok(parsed) => parsed,
            Err(fault) => return Ok(Err(fault)),
        };
        let id = JobSpec::id(&parsed);
        let known = self.nodes[i].job(&id);
        if let Some(known) = &known
            && !self.has(Bug::DropDedupe)
        {
            if let Some(contract) = admitted_under(known).filter(|_| self.has(Bug::ChargeTwice)) {
                let again = JobId(tacit_crypto::sha256(&id.0).0);
                self.store(i, vec![(Key::Charged(again), wire::encode(&contract))])?;
            }
            return Ok(Ok(known.decision()));
        }
        let contracts = Worker::contracts(offered);
        self.counts_up(i, &contracts)?;
        let counted = known.is_none() && self.nodes[i].disk.read(&Key::Charged(id)).is_some();
        let now = self.clock(i + 1);
        let high_water: UnixMillis = self.nodes[i].get(&Key::HighWater).unwrap_or_default();
        let revoked: Vec<ContractId> = match self.faults.refuse == Some(i) {
            true => parsed.body().contracts.clone(),
            false => Vec::new(),
        };
        let jobs_used = |contract: &ContractId| {
            let row = wire::encode(contract);
            let all = self.nodes[i].disk.all();
            all.iter().filter(|(key, value)| matches!(key, Key::Charged(_)) && ***value == row).count() as u64
        };
        let owner = &self.cast.owners[i];
        let named = parsed.body().provider(&owner.root.id()).map(|p| p.dataset);
        let own = (owner.model.0, owner.model.1.clone());
        let held: Vec<_> = core::iter::once(own).chain(super::dealt::held(self.cast)).collect();
        let ledger = Ledger {
            owner: owner.root.id(),
            contracts: &contracts,
            revoked: &revoked,
            dataset: named.filter(|id| *id == owner.dataset).map(|_| &owner.descriptor),
            sources: &[],
            models: if i == 0 { &held } else { &held[..1] },
            orders: &[],
            jobs_used: &jobs_used,
            rows_used: &|contract| jobs_used(contract) * super::score::rows(),
            privacy: tacit_governance::PrivacyLedger::EMPTY,
            consumed: known.is_some() || counted,
            priced: &|_, _| false,
            speaker: &|key| Some(*key),
            unkept: None,
            high_water,
            coordinator: self.cast.coordinator.id(),
            site: None,
        };
        let job = match Worker::admit(bytes, &ledger, &self.context(i)) {
            Ok(job) => job,
            Err(fault) => return Ok(Err(fault)),
        };
        let mut tx = vec![job_row(id, &job), (Key::HighWater, wire::encode(&high_water.max(now)))];
        if let Some(contract) = admitted_under(&job).filter(|_| !self.has(Bug::QuotaAfterAnswer)) {
            tx.push((Key::Charged(id), wire::encode(&contract)));
        }
        if self.faults.refuse == Some(i) {
            self.net.count(FaultKind::Refuse);
        }
        if self.has(Bug::AnswerBeforeSync) {
            self.nodes[i].disk.write(tx);
        } else {
            self.store(i, tx)?;
        }
        Ok(Ok(job.decision()))
    }

    fn charge_late(&mut self, i: usize, bytes: &Blob) -> Alive {
        let Ok(parsed) = JobSpec::verify(bytes) else { return Ok(()) };
        let id = JobSpec::id(&parsed);
        match self.nodes[i].job(&id).as_ref().and_then(admitted_under) {
            Some(contract) => self.store(i, vec![(Key::Charged(id), wire::encode(&contract))]),
            None => Ok(()),
        }
    }

    fn reserve(&mut self, i: usize, id: JobId, attempt: Attempt, ttl_ms: u64) -> Result<FromNode, Fault> {
        let known = self.nodes[i].job(&id).ok_or_else(|| unknown(&id))?;
        let admitted = known.admitted || self.has(Bug::RunUnadmitted);
        if !admitted || attempt.0 <= known.attempt {
            return Err(Fault::new(Code::RefusedReplayed, format!("{attempt} of job {}", id.short())));
        }
        let now = self.clock(i + 1);
        let node = &mut self.nodes[i];
        node.slots.retain(|_, slot| slot.running || slot.until > now);
        let held = node.slots.get(&id).is_some_and(|slot| !slot.running);
        if !held && node.slots.len() >= node.slots_max {
            return Ok(FromNode::Busy);
        }
        if node.slots.get(&id).is_none_or(|slot| !slot.running) {
            node.slots.insert(id, Slot { attempt, until: now.plus(ttl_ms.min(60_000)), running: false });
        }
        Ok(FromNode::Reserved)
    }

    /// Begins an attempt: its number is burned on disk before anything else happens.
    fn start(&mut self, i: usize, assignment: &Assignment) -> Answered {
        let (id, attempt) = (assignment.job, assignment.attempt);
        let Some(mut job) = self.nodes[i].job(&id) else { return Ok(Err(unknown(&id))) };
        let changes = self.has(Bug::ChangeAssignment) && self.nodes[i].rerun.as_ref().is_some_and(|a| a != assignment);
        if job.attempt == attempt.0 && !changes {
            return Ok(Ok(FromNode::Started));
        }
        let checked = job.job().and_then(|parsed| {
            let session = tacit_engine::session::check(&parsed, assignment, &self.cast.owners[i].node.id())?;
            Ok((parsed, session))
        });
        let (parsed, session) = match checked {
            Ok(checked) => checked,
            Err(fault) => return Ok(Err(fault)),
        };
        let slot =
            self.nodes[i].slots.get_mut(&id).filter(|slot| slot.attempt == attempt && (!slot.running || changes));
        let Some(slot) = slot else {
            return Ok(Err(Fault::new(Code::JobBusy, format!("no slot is kept for {attempt}"))));
        };
        slot.running = true;
        let now = self.clock(i + 1);
        let begun = match job.begin(attempt, now) {
            Err(_) if changes || (self.has(Bug::RunUnadmitted) && !job.admitted) => {
                job.attempt = attempt.0;
                Ok(())
            }
            begun => begun,
        };
        if let Err(fault) = begun {
            self.nodes[i].slots.remove(&id);
            return Ok(Err(fault));
        }
        self.store(i, vec![job_row(id, &job)])?;
        self.nodes[i].rerun = Some(assignment.clone());
        self.begin_attempt(i, parsed, assignment, session)?;
        Ok(Ok(FromNode::Started))
    }

    /// Stops an attempt, or sees to it that it never begins here.
    fn stop_attempt(&mut self, i: usize, id: &JobId, attempt: Attempt, code: Code) -> Answered {
        let Some(mut job) = self.nodes[i].job(id) else { return Ok(Err(unknown(id))) };
        if job.decline(attempt, code) {
            self.store(i, vec![job_row(*id, &job)])?;
            self.nodes[i].slots.retain(|job, slot| job != id || slot.running);
            self.report(i)?;
            return Ok(Ok(FromNode::Done));
        }
        if job.attempt == attempt.0 {
            self.cancel_attempt(i, id, code)?;
            return Ok(Ok(FromNode::Started));
        }
        Ok(Ok(FromNode::Done))
    }

    /// An attempt has ended: it is stored, its slot is free, and the coordinator will hear of it.
    pub fn finish(
        &mut self,
        i: usize,
        id: JobId,
        attempt: Attempt,
        finished: Finished,
        saw: Saw,
        release: Option<Vec<u8>>,
    ) -> Alive {
        let Some(mut job) = self.nodes[i].job(&id) else { return Ok(()) };
        let own_verdict = self.has(Bug::CloseByOwnVerdict) && matches!(finished, Finished::Failed { .. });
        job.see(attempt, saw);
        job.finish(attempt, finished, release);
        if own_verdict {
            job.close(Terminal::Expired);
        }
        self.store(i, vec![job_row(id, &job)])?;
        self.nodes[i].slots.remove(&id);
        self.report(i)
    }

    pub fn attest(&mut self, i: usize, id: &JobId, record: &[u8], evidence: &[Blame]) -> Answered {
        let Some(mut job) = self.nodes[i].job(id) else { return Ok(Err(unknown(id))) };
        let seen = self.nodes[i].witness.seen().map(|s| SeenCheckpoint { size: s.size, root: s.root });
        let link = next_link(self.nodes[i].chain());
        let (answer, attested) = match job.attest(record, evidence, link, seen, &self.context(i)) {
            Ok(done) => done,
            Err(_) if self.has(Bug::AttestBlindly) && job.attested.is_none() && job.terminal.is_none() => {
                return self.attest_blindly(i, *id, job, record);
            }
            Err(_) if self.has(Bug::AttestAnyEnd) && job.attested.is_none() && is_end(record) => {
                return self.attest_blindly(i, *id, job, record);
            }
            Err(fault) => return Ok(Err(fault)),
        };
        if let Some(attested) = attested {
            let statement = job.attested.as_ref().map(|(_, statement)| statement.clone()).unwrap_or_default();
            let head = (Key::Chain, wire::encode(&(attested.seq, attested.id.0)));
            let tx = vec![head, unlogged_row(attested.seq, *id, &statement), job_row(*id, &job)];
            if self.has(Bug::AttestBeforeStore) {
                self.nodes[i].disk.write(tx);
            } else {
                self.store(i, tx)?;
            }
        }
        Ok(Ok(answer))
    }

    /// Cosigns what follows from what was seen; the new state is durable before the line leaves.
    fn cosign_at(&mut self, i: usize, request: &[u8]) -> Answered {
        let request = match AddCheckpoint::parse(request) {
            Ok(request) => request,
            Err(fault) => return Ok(Err(fault)),
        };
        if self.has(Bug::WitnessCosignsFork) {
            self.nodes[i].witness = witness(self.cast, i, None);
            if request.old > 0 {
                return Ok(Ok(FromNode::WitnessHolds(0)));
            }
        }
        let prepared = match self.nodes[i].witness.prepare(&request, self.clock(i + 1)) {
            Ok(prepared) => prepared,
            Err(WitnessRefusal::Stale(size)) => return Ok(Ok(FromNode::WitnessHolds(size))),
            Err(refusal) => return Ok(Err(Fault::new(refusal.code(), refusal.to_string()))),
        };
        self.store(i, vec![(Key::Seen, tacit_crypto::cbor::encode(prepared.seen()))])?;
        let (size, root) = (prepared.seen().size, prepared.seen().root);
        let line = self.nodes[i].witness.release(prepared, &self.cast.owners[i].witness);
        if !self.nodes[i].is_old() {
            let check = self.watch.cosigned(i, size, root);
            self.found(check);
        }
        let threshold = self.cast.quorum.threshold();
        let check = self.watch.one_history_has_a_quorum(size, threshold, |node| self.is_honest(node));
        self.found(check);
        Ok(line.map(|line| FromNode::Cosigned(line.to_string())).map_err(|r| Fault::new(r.code(), r.to_string())))
    }

    fn logged(&mut self, i: usize, id: &JobId, leaf: &[u8], proof: &[u8], beside: &[Blob]) -> Answered {
        let Some(mut job) = self.nodes[i].job(id) else { return Ok(Err(unknown(id))) };
        let threshold = witness_threshold(self.cast.owners.len());
        let threshold = if self.has(Bug::ReleaseBeforeQuorum) { 1 } else { threshold };
        let quorum = Quorum::new(self.cast.quorum.witnesses().to_vec(), threshold).expect("why: a smaller quorum");
        let answer = match job.release(leaf, proof, beside, &self.cast.log_key, &quorum, &self.context(i)) {
            Err(fault)
                if (self.has(Bug::AcceptIncomplete) && fault.what.contains("took part"))
                    || (self.has(Bug::TrustProof) && fault.code == Code::LogQuorum)
                    || (self.has(Bug::AcceptAnyRecord) && fault.what.contains("this node attested"))
                    || self.has(Bug::AcceptWithoutProof) =>
            {
                let release = job.release.clone();
                release.map(FromNode::Released).ok_or(fault)
            }
            other => other,
        };
        match answer {
            Ok(answer) => {
                let own = job.logged_attestation(leaf).and_then(|own| self.nodes[i].logged_row(&own));
                self.store(i, own.into_iter().chain([job_row(*id, &job)]).collect())?;
                Ok(Ok(answer))
            }
            Err(fault) => Ok(Err(fault)),
        }
    }

    fn close(&mut self, i: usize, id: &JobId, terminal: &Terminal) -> Answered {
        let Some(mut job) = self.nodes[i].job(id) else { return Ok(Ok(FromNode::Done)) };
        job.close(terminal.clone());
        self.store(i, vec![job_row(*id, &job)])?;
        self.nodes[i].slots.retain(|job, slot| job != id || slot.running);
        self.heard_of_an_end(i, id);
        Ok(Ok(FromNode::Done))
    }

    pub fn heard_of_an_end(&mut self, i: usize, id: &JobId) {
        let who = self.name(i + 1);
        if let Some(terminal) = self.nodes[i].job(id).and_then(|job| job.terminal) {
            let excused = self.is_misled() || !self.is_honest(i);
            let check = self.watch.ended(id, &who, &terminal, excused);
            self.found(check);
        }
    }
}

/// The contract that an admission rests on.
pub(super) fn admitted_under(job: &WorkerJob) -> Option<ContractId> {
    let admitted = tacit_crypto::Statement::<Admission>::verify(&job.answer).ok()?;
    Some(admitted.body().contract)
}

/// Whether a record is of an attempt without a result.
fn is_end(record: &[u8]) -> bool {
    tacit_crypto::cbor::decode::<UsageRecord>(record).is_ok_and(|record| record.status != Status::Ok)
}
