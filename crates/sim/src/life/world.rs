//! The world: processes, connections, time.
//!
//! Process 0 is the coordinator, 1 to n are the owners' nodes, n + 1 is the operator.

use std::collections::BTreeMap;
use std::sync::Arc;

use tacit_engine::{FromCoordinator, FromNode, ToCoordinator, ToNode};
use tacit_protocol::Message;
use tacit_types::{Attempt, JobId, UnixMillis};

use super::cast::{Cast, PARTIES, T0, cast};
use super::coordinator::Coordinator;
use super::node::Node;
use super::operator::Operator;
use super::process::{Alive, Dead, Life};
use super::watch::Watch;
use crate::bug::Bug;
use crate::dice::Dice;
use crate::faults::{CALM_AT_MS, FaultKind, Faults};
use crate::ledger::Ledger;
use crate::net::Net;
use crate::queue::Queue;
use crate::run::{Check, Options, Report, Violation};
use crate::trace::Trace;
use crate::wiretap::Wiretap;

/// The coordinator's number.
pub(super) const COORDINATOR: usize = 0;
/// Milliseconds after the last fault in which every job must have ended: what the limits of every
/// phase add up to, for three attempts.
const BOUND_MS: u64 = CALM_AT_MS + 420_000;

/// What travels.
#[derive(Clone)]
pub(super) enum Wire {
    Ask { id: u64, request: Arc<ToNode> },
    Answer { id: u64, answer: FromNode },
    Tell { id: u64, request: Arc<ToCoordinator> },
    Told { id: u64, answer: FromCoordinator },
    Frame { job: JobId, attempt: Attempt, frame: Frame },
}

/// What travels between the machines of an attempt.
#[derive(Clone)]
pub(super) enum Frame {
    Message(Message),
    Credit(u64),
}

/// What a process wants to be woken for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wake {
    /// The coordinator: a job's time has come.
    Job(JobId),
    /// The coordinator: a node may be asked again.
    Rested(JobId, usize),
    /// The coordinator: witnesses may be asked again.
    Cosign,
    /// Anyone: a request was not answered in time.
    Unanswered(u64),
    /// A node: the local half of an attempt is done.
    Local(JobId, u32),
    /// A node: the machine's timer.
    Machine(JobId, u32, u64),
    /// A node: an attempt's time is over.
    Deadline(JobId, u32),
    /// A node: asks how jobs ended that are open here.
    CatchUp,
    /// A node: brings attestations to the log.
    HandIn,
    /// The operator: submits its next job.
    Submit(usize),
    /// The operator: looks again.
    Look,
    /// The operator cancels.
    Cancel,
}

pub(super) enum Event {
    Deliver { from: usize, to: usize, connection: u32, ledger: u64, wire: Wire },
    Wake { process: usize, life: u32, wake: Wake },
    Break { a: usize, b: usize, connection: Option<u32> },
    Join { a: usize, b: usize },
    Restart { process: usize },
}

pub(super) struct World {
    pub options: Options,
    pub faults: Faults,
    pub cast: &'static Cast,
    pub queue: Queue<Event>,
    pub net: Net,
    pub dice: Dice,
    pub trace: Trace,
    pub lives: Vec<Life>,
    pub coordinator: Coordinator,
    pub nodes: Vec<Node>,
    pub operator: Operator,
    pub watch: Watch,
    pub wiretap: Wiretap,
    pub ledger: Ledger<(JobId, u32, usize, usize)>,
    pub violation: Option<Violation>,
}

impl World {
    pub fn new(options: &Options, variant: i64) -> Self {
        let mut dice = Dice::new(options.seed, "life");
        let n = dice.between(*PARTIES.start() as u64, *PARTIES.end() as u64) as usize;
        let n = if dice.chance(500) { *PARTIES.start() } else { n };
        let (cast, faults) = (cast(n), options.draw(n + 2, n));
        let mut world = Self {
            options: options.clone(),
            queue: Queue::new(options.seed, n + 2),
            net: Net::new(options.seed, faults.clone()),
            trace: Trace::new(options.trace, &faults),
            lives: (0..n + 2).map(|_| Life::default()).collect(),
            coordinator: Coordinator::new(cast),
            nodes: (0..n).map(|i| Node::new(cast, i, *dice.pick(&[1, 2]))).collect(),
            operator: Operator::draw(&mut dice, n, variant),
            watch: Watch::default(),
            wiretap: Wiretap::default(),
            ledger: Ledger::new(),
            violation: None,
            faults,
            cast,
            dice,
        };
        if let Some(old) = &world.faults.old_node {
            world.operator.make_scarce();
            if let Some(node) = world.nodes.get_mut(old.node).filter(|_| old.effect == 0) {
                node.keep_copy();
            }
        }
        world
    }

    /// The number of the operator.
    pub fn operator_id(&self) -> usize {
        self.nodes.len() + 1
    }

    pub fn name(&self, process: usize) -> String {
        match process {
            COORDINATOR => "coordinator".into(),
            p if p == self.operator_id() => "operator".into(),
            p => format!("node {}", p - 1),
        }
    }

    pub fn note(&mut self, process: usize, what: impl FnOnce() -> String) {
        let operator = self.operator_id();
        let who = || match process {
            COORDINATOR => "coordinator".into(),
            p if p == operator => "operator".into(),
            p => format!("node {}", p - 1),
        };
        self.trace.note(self.queue.now(), who, what);
    }

    pub fn found(&mut self, check: Check) {
        if let Err(violation) = check {
            self.violation.get_or_insert(violation);
        }
    }

    pub fn has(&self, bug: Bug) -> bool {
        self.options.has(bug)
    }

    /// What a process's clock shows.
    pub fn clock(&self, process: usize) -> UnixMillis {
        UnixMillis((T0.0 + self.queue.now()).saturating_add_signed(self.faults.skew_of(process)))
    }

    /// When a process's clock will show that.
    pub fn when(&self, process: usize, at: UnixMillis) -> u64 {
        at.0.saturating_add_signed(-self.faults.skew_of(process)).saturating_sub(T0.0)
    }

    pub fn wake(&mut self, process: usize, at: u64, wake: Wake) {
        let life = self.lives[process].number;
        self.queue.at(at, Event::Wake { process, life, wake });
    }

    pub fn wake_after(&mut self, process: usize, pause: u64, wake: Wake) {
        self.wake(process, self.queue.now() + pause, wake);
    }

    pub fn run(mut self) -> Report {
        let skewed = self.faults.skew.iter().filter(|s| **s != 0).count();
        (0..skewed).for_each(|_| self.net.count(FaultKind::Skew));
        for (at, a, b) in self.net.starved() {
            self.queue.at(at, Event::Break { a, b, connection: None });
        }
        self.start_operator();
        for i in 0..self.nodes.len() {
            self.wake(i + 1, super::report::CATCH_UP_MS, Wake::CatchUp);
            self.wake(i + 1, super::late::HAND_IN_MS, Wake::HandIn);
        }
        let mut checked = 0;
        while self.violation.is_none() {
            let Some(event) = self.queue.pop() else { break };
            self.take(event);
            let check = self.honest_nodes_are_safe();
            self.found(check);
            self.found(self.queue.nothing_spins());
            if self.queue.now() > BOUND_MS {
                break;
            }
            if self.queue.now() >= checked + 500 {
                checked = self.queue.now();
                if self.is_over() {
                    break;
                }
            }
        }
        if self.violation.is_none() {
            let check = self.check_end();
            self.found(check);
        }
        Report {
            ends: self.ends(),
            usage: self.usage(),
            convicted: self.convicted(),
            coverage: self.net.coverage,
            violation: self.violation,
            events: self.trace.count(),
            lines: self.trace.into_lines(),
            faults: self.faults,
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Deliver { from, to, connection, ledger, wire } => {
                if self.lives[to].up && self.net.is_current(from, to, connection) {
                    self.arrive(from, to, ledger, wire);
                } else {
                    self.ledger.landed(ledger, false);
                }
            }
            Event::Wake { process, life, wake } => {
                if self.lives[process].up && self.lives[process].number == life {
                    self.awake(process, wake);
                }
            }
            Event::Break { a, b, connection } => self.break_off(a, b, connection),
            Event::Join { a, b } => self.join(a, b),
            Event::Restart { process } => self.restart(process),
        }
    }

    fn arrive(&mut self, from: usize, to: usize, ledger: u64, wire: Wire) {
        let done = match wire {
            Wire::Frame { job, attempt, frame } => self.take_frame(from, to, ledger, job, attempt, frame),
            Wire::Ask { id, request } => self.answer(to, id, &request),
            Wire::Answer { id, answer } => self.take_answer(id, answer),
            Wire::Tell { id, request } => self.hear(from, id, &request),
            Wire::Told { id, answer } if to == self.operator_id() => self.told_operator(id, answer),
            Wire::Told { id, answer } => self.told_node(to - 1, id, answer),
        };
        // why: who died has been taken care of where it died.
        let _ = done;
    }

    fn awake(&mut self, process: usize, wake: Wake) {
        let done = match wake {
            Wake::Job(job) => self.tick(job),
            Wake::Rested(job, node) => self.rested(job, node),
            Wake::Cosign => self.cosign(),
            Wake::Unanswered(id) if process == COORDINATOR => self.unanswered(id),
            Wake::Unanswered(id) if process == self.operator_id() => self.operator_unanswered(id),
            Wake::Unanswered(id) => self.report_unanswered(process - 1, id),
            Wake::Local(job, attempt) => self.local_half_is_done(process - 1, job, attempt),
            Wake::Machine(job, attempt, at) => self.machine_timer(process - 1, job, attempt, at),
            Wake::Deadline(job, attempt) => self.deadline(process - 1, job, attempt),
            Wake::CatchUp => self.catch_up_again(process - 1),
            Wake::HandIn => self.hand_in(process - 1),
            Wake::Submit(job) => self.submit(job),
            Wake::Look => self.look(),
            Wake::Cancel => self.cancel(),
        };
        let _ = done;
    }

    /// What a process does from here on, for its faults.
    pub fn chapter(&mut self, process: usize, chapter: &'static str) {
        self.lives[process].chapter = chapter;
    }

    /// Counts an effect of a process, before and after it happens; the process may die of it.
    pub fn effect(&mut self, process: usize, after: bool) -> Alive {
        let life = &mut self.lives[process];
        let there = life.chapters.entry(life.chapter).or_default();
        if !after {
            life.effects += 1;
            *there += 1;
        }
        let crash = self.faults.crash_at(process, life.effects, life.chapter, *there).filter(|c| c.after == after);
        let Some(crash) = crash.cloned() else { return Ok(()) };
        self.net.count(if after { FaultKind::CrashAfter } else { FaultKind::CrashBefore });
        self.die(process, crash.restart);
        Err(Dead)
    }

    fn die(&mut self, process: usize, restart: Option<u64>) {
        self.note(process, || format!("dies, back after {restart:?} ms"));
        self.lives[process].up = false;
        self.lives[process].number += 1;
        match process {
            COORDINATOR => self.coordinator_dies(),
            p => self.node_dies(p - 1),
        }
        for peer in (0..self.lives.len()).filter(|p| *p != process) {
            let noticed = self.net.pause(5, 300);
            self.queue.after(noticed, Event::Break { a: process, b: peer, connection: None });
        }
        match restart {
            Some(pause) => self.queue.after(pause.max(301), Event::Restart { process }),
            None => self.net.count(FaultKind::NeverBack),
        }
    }

    fn restart(&mut self, process: usize) {
        self.lives[process].up = true;
        self.note(process, || "is back".into());
        let done = match process {
            COORDINATOR => self.coordinator_starts(),
            p => self.node_starts(p - 1),
        };
        if done.is_err() {
            return;
        }
        for peer in (0..self.lives.len()).filter(|p| *p != process) {
            let pause = self.net.pause(1, 200);
            self.queue.after(pause, Event::Join { a: process, b: peer });
        }
    }

    fn break_off(&mut self, a: usize, b: usize, connection: Option<u32>) {
        if !self.net.break_off(a, b, connection) {
            return;
        }
        self.note(a, || format!("loses its connection to process {b}"));
        for (process, peer) in [(a, b), (b, a)] {
            if self.lives[process].up {
                let _ = self.lost(process, peer);
            }
        }
        let pause = self.net.pause(20, 500);
        self.queue.after(pause, Event::Join { a, b });
    }

    fn lost(&mut self, process: usize, peer: usize) -> Alive {
        match process {
            COORDINATOR if peer <= self.nodes.len() => self.node_is_lost(peer - 1),
            COORDINATOR => Ok(()),
            p if p == self.operator_id() => self.coordinator_is_lost_to_operator(),
            p if peer == COORDINATOR => self.coordinator_is_lost_to_node(p - 1),
            p => self.peer_is_lost(p - 1, peer),
        }
    }

    fn join(&mut self, a: usize, b: usize) {
        if !self.lives[a].up || !self.lives[b].up || self.net.connection(a, b).is_some() {
            return;
        }
        if !self.net.join(self.queue.now(), a, b) {
            return self.queue.after(200, Event::Join { a, b });
        }
        self.note(a, || format!("is connected to process {b} again"));
        for (process, peer) in [(a, b), (b, a)] {
            let _ = match process {
                COORDINATOR if peer <= self.nodes.len() => self.node_is_back(peer - 1),
                p if peer == COORDINATOR && p <= self.nodes.len() => self.register(p - 1),
                _ => Ok(()),
            };
        }
    }

    /// Sends; what the network then does with it is its own affair. `key` for what is in the books.
    pub fn send(&mut self, from: usize, to: usize, wire: Wire) -> Alive {
        let key = match &wire {
            Wire::Frame { job, attempt, frame: Frame::Message(m) } => Some((*job, attempt.0, m.body.len() as u64)),
            _ => None,
        };
        if let Err(dead) = self.effect(from, false) {
            if let Some((job, attempt, bytes)) = key {
                self.ledger.lost((job, attempt, from, to), bytes);
            }
            return Err(dead);
        }
        if self.net.connection(from, to).is_none() {
            if let Some((job, attempt, bytes)) = key {
                self.ledger.lost((job, attempt, from, to), bytes);
            }
            return self.effect(from, true);
        }
        let carried = self.net.carry(self.queue.now(), from, to);
        let copies = carried.arrives.len();
        let ledger = key.map_or(0, |(job, attempt, bytes)| self.ledger.launch((job, attempt, from, to), bytes, copies));
        let connection = carried.connection;
        for at in carried.arrives {
            self.queue.at(at, Event::Deliver { from, to, connection, ledger, wire: wire.clone() });
        }
        if let Some(at) = carried.breaks {
            self.queue.at(at, Event::Break { a: from, b: to, connection: Some(connection) });
        }
        self.effect(from, true)
    }

    /// How each job ended, in words.
    fn ends(&self) -> Vec<String> {
        let words = self.operator.orders.iter().map(|order| match order.id.and_then(|id| self.coordinator.job(&id)) {
            Some(job) => match job.terminal().filter(|_| job.has_ended()).and_then(|end| end.code()) {
                Some(code) => format!("{} [{code}]", job.state()),
                None if order.is_private() => format!("{}, private", job.state()),
                None => job.state().to_owned(),
            },
            None if order.refused => "not_taken".into(),
            None => "not_submitted".into(),
        });
        words.collect()
    }

    /// What was metered and sent: the usage lines of every receipt, the bytes of every link.
    fn usage(&self) -> Vec<String> {
        let mut usage: Vec<String> = Vec::new();
        for receipt in self.receipts() {
            let record = &receipt.body().record;
            usage.push(format!("{:?} {:?} {:?}", record.status, record.lines, record.disclosures));
        }
        let flows: BTreeMap<_, u64> =
            self.ledger.flows().iter().map(|((_, a, f, t), flow)| ((*a, *f, *t), flow.sent)).collect();
        usage.extend(flows.iter().map(|(key, sent)| format!("{key:?}: {sent} bytes")));
        usage
    }
}
