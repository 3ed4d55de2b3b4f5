//! The coordinator's driver: stores a job after each step, asks what the job asks for, keeps at most
//! one request to a node for a job under way, and asks again after a pause.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tacit_crypto::Statement;
use tacit_engine::control::ToNode;
use tacit_engine::{CancelOrder, Command, FromCoordinator, FromNode, Input, Job, Limits, SealedResult, ToCoordinator};
use tacit_governance::JobSpec;
use tacit_types::wire::{self, Blob};
use tacit_types::{Code, Fault, Hash, JobId, NodeId};

use super::book::Book;
use super::cast::{Cast, ORIGIN};
use super::process::Alive;
use super::world::{COORDINATOR, Wake, Wire, World};
use crate::bug::Bug;
use crate::disk::Disk;
use crate::faults::{FaultKind, Trick};
use crate::run::{Check, holds};

/// Milliseconds after which an answer is not waited for any longer.
pub(super) const ANSWER_MS: u64 = 5_000;
/// Milliseconds before a node is asked the same again.
const REST_MS: u64 = 200;

/// What the coordinator keeps.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Key {
    Job(JobId),
    /// The signed receipt of a job, before it is in the log.
    Leaf(JobId),
    /// The place of a leaf.
    Place(Hash),
    /// A file of the log.
    File(String),
    /// The log's own newest checkpoint, and when it was made.
    Head,
    /// The newest checkpoint with its quorum.
    Published,
}

/// A request under way.
#[derive(Clone)]
pub(super) struct Asked {
    /// Of which job; none for a cosignature.
    job: Option<JobId>,
    node: usize,
    request: Arc<ToNode>,
}

pub(super) struct Coordinator {
    pub disk: Disk<Key, Vec<u8>>,
    /// In memory; the disk has the same.
    jobs: BTreeMap<JobId, Job>,
    asks: BTreeMap<u64, Asked>,
    /// Who is asked for which job, or rests.
    busy: BTreeSet<(JobId, usize)>,
    resting: BTreeSet<(JobId, usize)>,
    /// What was answered last, to tell a repeat from the next question.
    answered: BTreeMap<(JobId, usize), Arc<ToNode>>,
    wakes: BTreeMap<JobId, u64>,
    /// Jobs that have a slot on every node by the coordinator's own count, and those that wait.
    tickets: BTreeSet<JobId>,
    turns: VecDeque<JobId>,
    pub book: Book,
    next: u64,
    /// The disk of an earlier moment, and whether it was put back.
    backup: Option<Disk<Key, Vec<u8>>>,
    pub restored: bool,
}

impl Coordinator {
    pub fn new(cast: &'static Cast) -> Self {
        let mut disk = Disk::default();
        let book = Book::create(cast, &mut disk);
        Self {
            disk,
            jobs: BTreeMap::new(),
            asks: BTreeMap::new(),
            busy: BTreeSet::new(),
            resting: BTreeSet::new(),
            answered: BTreeMap::new(),
            wakes: BTreeMap::new(),
            tickets: BTreeSet::new(),
            turns: VecDeque::new(),
            book,
            next: 0,
            backup: None,
            restored: false,
        }
    }

    pub fn job(&self, id: &JobId) -> Option<&Job> {
        self.jobs.get(id)
    }

    /// The number of a request that nobody waits for.
    pub fn beside(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub fn job_mut(&mut self, id: &JobId) -> Option<&mut Job> {
        self.jobs.get_mut(id)
    }

    pub fn jobs(&self) -> impl Iterator<Item = (&JobId, &Job)> {
        self.jobs.iter()
    }
}

impl World {
    pub fn coordinator_dies(&mut self) {
        let c = &mut self.coordinator;
        c.disk.crash(&mut self.dice);
        if !c.restored
            && let Some(old) = c.backup.take()
        {
            c.disk = old;
            c.restored = true;
            self.net.count(FaultKind::Backup);
            self.note(COORDINATOR, || "its disk is that of an earlier moment".into());
        }
    }

    pub fn coordinator_starts(&mut self) -> Alive {
        let c = &mut self.coordinator;
        c.jobs = c
            .disk
            .all()
            .into_iter()
            .filter_map(|(key, bytes)| match key {
                Key::Job(id) => wire::decode::<Job>(bytes).ok().map(|job| (*id, job)),
                _ => None,
            })
            .collect();
        c.asks.clear();
        c.busy.clear();
        c.resting.clear();
        c.answered.clear();
        c.wakes.clear();
        c.turns.clear();
        let holds_slots = |job: &Job| matches!(job.state(), "reserving" | "running");
        c.tickets = c.jobs.iter().filter(|(_, job)| holds_slots(job)).map(|(id, _)| *id).collect();
        let book = Book::resume(self.cast, &c.disk);
        match book {
            Ok(book) => self.coordinator.book = book,
            Err(fault) => {
                let check = crate::run::broken("a_log_resumes_after_every_death", fault.to_string());
                self.found(check);
                return Ok(());
            }
        }
        let ids: Vec<JobId> = self.coordinator.jobs.keys().copied().collect();
        for id in ids {
            self.input(id, Input::Resumed)?;
            // Nobody is connected yet.
            for node in 0..self.nodes.len() {
                let id_of = self.cast.owners[node].node.id();
                self.input(id, Input::Reachable { node: id_of, reachable: false })?;
            }
        }
        Ok(())
    }

    fn node_number(&self, node: &NodeId) -> Option<usize> {
        self.cast.owners.iter().position(|o| o.node.id() == *node)
    }

    /// Steps a job, makes it durable, and then asks what it asks for.
    pub fn input(&mut self, id: JobId, input: Input) -> Alive {
        let now = self.clock(COORDINATOR);
        let Some(job) = self.coordinator.jobs.get_mut(&id) else { return Ok(()) };
        let before = job.clone();
        job.step(now, input);
        self.count_slots(id);
        let Some(job) = self.coordinator.jobs.get(&id) else { return Ok(()) };
        let (state, changed) = (job.state(), *job != before);
        self.chapter(COORDINATOR, state);
        if changed {
            self.note(COORDINATOR, || format!("job {} is {state}", id.short()));
        }
        if self.has(Bug::AskBeforeStore) {
            self.pursue(id)?;
            self.store_job(id, changed)?;
        } else {
            self.store_job(id, changed)?;
            self.pursue(id)?;
        }
        self.grant()
    }

    /// Jobs that may run at a time: every job takes a slot on every node.
    fn slots(&self) -> usize {
        self.nodes.iter().map(|node| node.slots_max).min().unwrap_or(0)
    }

    /// No node hears of an attempt for which the coordinator itself counts no slot.
    fn count_slots(&mut self, id: JobId) {
        let (now, slots) = (self.clock(COORDINATOR), self.slots());
        let c = &mut self.coordinator;
        let Some(job) = c.jobs.get_mut(&id) else { return };
        match job.state() {
            "reserving" | "running" if !c.tickets.contains(&id) => {
                if !c.turns.contains(&id) {
                    c.turns.push_back(id);
                }
                if c.tickets.len() < slots && c.turns.front() == Some(&id) {
                    c.turns.pop_front();
                    c.tickets.insert(id);
                } else {
                    job.step(now, Input::Capacity(false));
                }
            }
            "reserving" | "running" => {}
            "queued" => drop(c.tickets.remove(&id)),
            _ => {
                c.tickets.remove(&id);
                c.turns.retain(|waiting| *waiting != id);
            }
        }
    }

    /// Gives free slots to whoever waits longest.
    fn grant(&mut self) -> Alive {
        if self.coordinator.tickets.len() >= self.slots() {
            return Ok(());
        }
        let Some(next) = self.coordinator.turns.pop_front() else { return Ok(()) };
        self.coordinator.tickets.insert(next);
        self.input(next, Input::Capacity(true))
    }

    pub fn store_job(&mut self, id: JobId, changed: bool) -> Alive {
        let Some(job) = self.coordinator.jobs.get(&id).filter(|_| changed) else { return Ok(()) };
        let row = (Key::Job(id), wire::encode(job));
        self.write(vec![row])?;
        self.sync_coordinator()
    }

    /// Writes a transaction, which a crash may or may not keep.
    pub fn write(&mut self, tx: Vec<(Key, Vec<u8>)>) -> Alive {
        self.effect(COORDINATOR, false)?;
        self.coordinator.disk.write(tx);
        self.effect(COORDINATOR, true)
    }

    pub fn sync_coordinator(&mut self) -> Alive {
        self.effect(COORDINATOR, false)?;
        self.coordinator.disk.sync();
        let life = &self.lives[COORDINATOR];
        let due = self.faults.backup.as_ref().is_some_and(|copy| match &copy.chapter {
            None => life.effects >= copy.effect,
            Some(chapter) => chapter == life.chapter && life.chapters.get(life.chapter) >= Some(&copy.effect),
        });
        if due && self.coordinator.backup.is_none() && !self.coordinator.restored {
            self.coordinator.backup = Some(self.coordinator.disk.clone());
        }
        self.effect(COORDINATOR, true)
    }

    /// Asks for everything that the job's present state waits for.
    pub fn pursue(&mut self, id: JobId) -> Alive {
        let Some(job) = self.coordinator.jobs.get(&id) else { return Ok(()) };
        let durable = self.coordinator.disk.durable(&Key::Job(id)).is_some_and(|row| *row == wire::encode(job));
        let commands = job.outstanding();
        self.abandon(id, &commands);
        for command in commands {
            match command {
                Command::Ask { node, request } => {
                    let Some(node) = self.node_number(&node) else { continue };
                    let check = self.watch.what_is_asked_is_durable_first(durable, node, &request);
                    let repeat = self.no_attempt_follows_an_input_that_left(&request);
                    self.ask_for(id, node, request)?;
                    self.found(check);
                    self.found(repeat);
                }
                Command::Append { record, attestations, absent } => self.append(id, &record, &attestations, absent)?,
                Command::WakeAt(at) => self.wake_job(id, self.when(COORDINATOR, at)),
            }
        }
        Ok(())
    }

    /// Once a masked input has left a node, its job is not begun again: no node would attest such an attempt.
    fn no_attempt_follows_an_input_that_left(&self, request: &ToNode) -> Check {
        let ToNode::Start { assignment } = request else { return Ok(()) };
        let left = self.nodes.iter().enumerate().position(|(i, node)| {
            let job = node.job(&assignment.job).filter(|_| self.is_honest(i));
            job.is_some_and(|job| job.input_sent && job.attempt < assignment.attempt.0)
        });
        // A coordinator with an old disk may have forgotten that the attempt ran.
        let holds_here = left.is_none() || self.is_misled();
        holds(holds_here, "no_attempt_follows_an_input_that_left", || {
            format!("node {left:?}, {} of job {}", assignment.attempt, assignment.job.short())
        })
    }

    /// A request that is not wanted any more is not waited for: its answer would be taken for that of
    /// the next.
    fn abandon(&mut self, id: JobId, commands: &[Command]) {
        if self.has(Bug::TakeStaleAnswer) {
            return;
        }
        let unwanted =
            |asked: &Asked| asked.job == Some(id) && !commands.iter().any(|command| self.asks_for(command, asked));
        let asks = self.coordinator.asks.iter();
        let gone: Vec<u64> = asks.filter(|(_, asked)| unwanted(asked)).map(|(ask, _)| *ask).collect();
        let c = &mut self.coordinator;
        for asked in gone.iter().filter_map(|ask| c.asks.remove(ask)) {
            c.busy.remove(&(id, asked.node));
        }
    }

    /// Wakes a job in time; for a time that is past it was awake already.
    fn wake_job(&mut self, id: JobId, at: u64) {
        let now = self.queue.now();
        let set = self.coordinator.wakes.get(&id).copied().filter(|set| *set > now);
        if at > now && set.is_none_or(|set| at < set) && !self.has(Bug::ForgetWake) {
            self.coordinator.wakes.insert(id, at);
            self.wake(COORDINATOR, at, Wake::Job(id));
        }
    }

    pub fn tick(&mut self, id: JobId) -> Alive {
        self.coordinator.wakes.remove(&id);
        self.input(id, Input::Tick)
    }

    fn ask_for(&mut self, id: JobId, node: usize, request: ToNode) -> Alive {
        let key = (id, node);
        let c = &self.coordinator;
        if c.busy.contains(&key) || c.resting.contains(&key) || self.net.connection(COORDINATOR, node + 1).is_none() {
            return Ok(());
        }
        if c.answered.get(&key).is_some_and(|last| **last == request) {
            return self.rest(id, node);
        }
        self.coordinator.busy.insert(key);
        self.ask(Some(id), node, request)
    }

    pub fn ask(&mut self, job: Option<JobId>, node: usize, request: ToNode) -> Alive {
        self.coordinator.next += 1;
        let id = self.coordinator.next;
        self.note(COORDINATOR, || format!("asks node {node}: {}", super::watch::word(&request)));
        let said = Arc::new(self.asked_falsely(node, &request)?);
        let request = Arc::new(request);
        self.coordinator.asks.insert(id, Asked { job, node, request });
        self.wake_after(COORDINATOR, ANSWER_MS, Wake::Unanswered(id));
        self.send(COORDINATOR, node + 1, Wire::Ask { id, request: said })
    }

    /// The node has answered, or has not, and the job still asks for the same: it is asked again
    /// after a pause.
    fn rest(&mut self, job: JobId, node: usize) -> Alive {
        if self.coordinator.resting.insert((job, node)) {
            self.wake_after(COORDINATOR, REST_MS, Wake::Rested(job, node));
        }
        Ok(())
    }

    pub fn rested(&mut self, job: JobId, node: usize) -> Alive {
        self.coordinator.resting.remove(&(job, node));
        self.coordinator.answered.remove(&(job, node));
        self.pursue(job)
    }

    pub fn unanswered(&mut self, id: u64) -> Alive {
        let Some(asked) = self.coordinator.asks.remove(&id) else { return Ok(()) };
        match asked.job {
            Some(job) => {
                self.coordinator.busy.remove(&(job, asked.node));
                self.rest(job, asked.node)
            }
            None => self.not_cosigned(asked.node),
        }
    }

    pub fn take_answer(&mut self, id: u64, answer: FromNode) -> Alive {
        let Some(asked) = self.coordinator.asks.remove(&id) else { return Ok(()) };
        let Some(job) = asked.job else { return self.take_cosignature(asked.node, answer) };
        self.coordinator.busy.remove(&(job, asked.node));
        let check = self.an_answer_is_taken_for_its_own_question(job, &asked);
        self.found(check);
        self.coordinator.answered.insert((job, asked.node), asked.request);
        let node = self.cast.owners[asked.node].node.id();
        self.input(job, Input::Answer { node, answer })
    }

    fn an_answer_is_taken_for_its_own_question(&self, id: JobId, asked: &Asked) -> Check {
        let commands = self.coordinator.jobs.get(&id).map(Job::outstanding).unwrap_or_default();
        let open = commands.iter().any(|command| self.asks_for(command, asked));
        holds(open, "an_answer_is_taken_for_its_own_question", || {
            format!(
                "job {} takes the answer of node {} to {}",
                id.short(),
                asked.node,
                super::watch::word(&asked.request)
            )
        })
    }

    fn asks_for(&self, command: &Command, asked: &Asked) -> bool {
        matches!(command, Command::Ask { node, request }
            if *node == self.cast.owners[asked.node].node.id() && *request == *asked.request)
    }

    pub fn node_is_lost(&mut self, node: usize) -> Alive {
        let gone: Vec<u64> = self.coordinator.asks.iter().filter(|(_, a)| a.node == node).map(|(id, _)| *id).collect();
        for id in gone {
            self.unanswered(id)?;
        }
        self.reachable(node, false)
    }

    pub fn node_is_back(&mut self, node: usize) -> Alive {
        self.reachable(node, true)?;
        self.cosign()
    }

    fn reachable(&mut self, node: usize, reachable: bool) -> Alive {
        let id = self.cast.owners[node].node.id();
        let open: Vec<JobId> =
            self.coordinator.jobs.iter().filter(|(_, job)| !job.is_over()).map(|(id, _)| *id).collect();
        for job in open {
            self.input(job, Input::Reachable { node: id, reachable })?;
        }
        Ok(())
    }

    /// A request of a node or of the operator.
    pub fn hear(&mut self, from: usize, id: u64, request: &ToCoordinator) -> Alive {
        let answer = match request {
            ToCoordinator::Report(finish) => {
                let node = self.cast.owners[from - 1].node.id();
                let input = || Input::Finish { node, finish: finish.clone() };
                if self.has(Bug::AcknowledgeBeforeStore) {
                    self.what_is_acknowledged_is_durable(&finish.job, input());
                    self.send(COORDINATOR, from, Wire::Told { id, answer: FromCoordinator::Done })?;
                    return self.input(finish.job, input());
                }
                self.input(finish.job, input())?;
                self.what_is_acknowledged_is_durable(&finish.job, input());
                FromCoordinator::Done
            }
            ToCoordinator::Progress { job, step } => {
                self.input(*job, Input::Progress { step: *step })?;
                FromCoordinator::Done
            }
            ToCoordinator::Attested { job, attestation } => self.attested_late(from - 1, job, attestation)?,
            ToCoordinator::Record(job) => self.lacking(from - 1, job),
            ToCoordinator::Submit { job } => self.take_job(job)?,
            ToCoordinator::Cancel(order) => self.take_cancel(order)?,
            ToCoordinator::Job(job) => self.show(job),
            ToCoordinator::Result(job) => self.result(job),
            _ => FromCoordinator::Failed(Fault::new(Code::ArgsInvalid, "not simulated")),
        };
        self.send(COORDINATOR, from, Wire::Told { id, answer })
    }

    /// A report that the job on disk has taken in changes it no further.
    fn what_is_acknowledged_is_durable(&mut self, id: &JobId, report: Input) {
        let row = self.coordinator.disk.durable(&Key::Job(*id));
        let Some(job) = row.and_then(|row| wire::decode::<Job>(row).ok()) else { return };
        let mut with = job.clone();
        with.step(self.clock(COORDINATOR), report);
        self.found(holds(with == job, "what_is_acknowledged_is_durable", || format!("a report of job {}", id.short())));
    }

    /// Takes a job once; the same bytes again get the same answer.
    fn take_job(&mut self, bytes: &Blob) -> Alive<FromCoordinator> {
        let members = self.cast.owners.iter().map(|o| o.member.clone()).collect();
        let parsed = JobSpec::verify(bytes);
        if let Some(id) = parsed.as_ref().ok().map(JobSpec::id).filter(|id| self.coordinator.jobs.contains_key(id)) {
            return Ok(FromCoordinator::Submitted(id));
        }
        let named = parsed.map(|job| job.body().contracts.clone()).unwrap_or_default();
        let contracts =
            self.cast.contracts.iter().filter(|c| named.contains(&c.id)).map(|c| c.statements.clone()).collect();
        let now = self.clock(COORDINATOR);
        let job = match Job::submit(bytes.0.clone(), members, contracts, ORIGIN, Limits::default(), now) {
            Ok(job) => job,
            Err(fault) => return Ok(FromCoordinator::Failed(fault)),
        };
        let id = job.id();
        self.coordinator.jobs.insert(id, job);
        self.store_job(id, true)?;
        for node in 0..self.nodes.len() {
            if self.net.connection(COORDINATOR, node + 1).is_none() {
                let node = self.cast.owners[node].node.id();
                self.input(id, Input::Reachable { node, reachable: false })?;
            }
        }
        self.pursue(id)?;
        Ok(FromCoordinator::Submitted(id))
    }

    fn take_cancel(&mut self, order: &Blob) -> Alive<FromCoordinator> {
        let Ok(order) = Statement::<CancelOrder>::verify(order) else {
            return Ok(FromCoordinator::Failed(Fault::new(Code::RefusedUnsigned, "the order")));
        };
        let id = order.body().job;
        let signer = self.coordinator.jobs.get(&id).and_then(|j| JobSpec::verify(j.bytes()).ok()).map(|j| j.signer());
        if signer != Some(order.signer()) {
            return Ok(FromCoordinator::Failed(Fault::new(Code::JobNotOurs, "not its operator")));
        }
        self.input(id, Input::Cancel(tacit_types::Name::new("demander").expect("why: it is a name")))?;
        Ok(FromCoordinator::Done)
    }

    fn show(&mut self, id: &JobId) -> FromCoordinator {
        let now = self.clock(COORDINATOR);
        match self.coordinator.jobs.get(id) {
            Some(job) => {
                let mut view = job.view(now);
                if self.options.has(Bug::TellEarly) {
                    view.terminal = job.terminal().cloned();
                }
                FromCoordinator::Job(Box::new(view))
            }
            None => FromCoordinator::Failed(Fault::new(Code::JobUnknown, id.short())),
        }
    }

    fn result(&mut self, id: &JobId) -> FromCoordinator {
        let unproven = self.plays(COORDINATOR, Trick::ShowUnwitnessed);
        let sealed = self.coordinator.jobs.get(id).and_then(|job| {
            let (package, releases) = job.sealed_result()?;
            let (index, leaf, proof) = job.receipt()?.clone();
            let proof = if unproven { self.unwitnessed(index)? } else { proof };
            Some(SealedResult { job: Blob(job.bytes().to_vec()), package, releases, leaf, proof })
        });
        match sealed {
            Some(sealed) => FromCoordinator::Result(Box::new(sealed)),
            None => FromCoordinator::Failed(Fault::new(Code::JobUnknown, "no result")),
        }
    }
}
