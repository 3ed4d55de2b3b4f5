//! The world around the machines: delivers, delays, breaks, kills, and watches.

use std::collections::{BTreeMap, BTreeSet};

use tacit_protocol::{Effect, Event as MachineEvent, Message};
use tacit_types::{Millis, Seat};

use super::check::Watch;
use super::forge;
use super::seat::{Member, Task};
use crate::bug::Bug;
use crate::dice::Dice;
use crate::faults::{Deed, FaultKind, Faults};
use crate::ledger::Ledger;
use crate::net::Net;
use crate::queue::Queue;
use crate::run::{Check, Options, Report, Scenario, Violation};
use crate::trace::Trace;
use crate::wiretap::{Wiretap, phase_of, phases};

/// A frame between two seats.
#[derive(Clone)]
enum Frame {
    Message(Message),
    Credit { attempt: u32, consumed: u64 },
}

enum Event {
    Begin { seat: usize, attempt: u32 },
    Deliver { from: usize, to: usize, connection: u32, id: u64, frame: Frame },
    Timer { seat: usize, attempt: u32, at: u64 },
    Break { a: usize, b: usize, connection: Option<u32> },
    Join { a: usize, b: usize },
    Restart { seat: usize },
}

pub(super) struct World {
    options: Options,
    faults: Faults,
    queue: Queue<Event>,
    net: Net,
    dice: Dice,
    trace: Trace,
    pub task: Task,
    pub members: Vec<Member>,
    /// Frames that came before the seat had begun.
    early: BTreeMap<usize, Vec<(usize, Frame)>>,
    ledger: Ledger<(u32, usize, usize)>,
    wiretap: Wiretap,
    attempt: u32,
    ends: Vec<String>,
    watch: Watch,
    /// What honest seats have given to their disks since the event before, and the seats that have gone on.
    written: Vec<(usize, Vec<u8>)>,
    moved: BTreeSet<usize>,
    violation: Option<Violation>,
}

/// How many seats a run has, most of them few, because small runs are many runs.
fn seats(dice: &mut Dice) -> usize {
    if dice.chance(15) { *dice.pick(&[12, 20, 30]) } else { *dice.pick(&[3, 3, 3, 3, 4, 4, 4, 5, 5, 7]) }
}

impl World {
    pub fn new(options: &Options, fixed_seats: Option<usize>, variant: u16) -> Self {
        let mut dice = Dice::new(options.seed, "secagg");
        let n = seats(&mut dice);
        let n = fixed_seats.unwrap_or(n);
        let (task, keys) = Task::draw(&mut dice, n, variant);
        let faults = match options.scenario {
            Scenario::Thousand => options.given_or(|| Faults::draw_losses(options.seed, n, task.aggregator.index())),
            _ => options.draw(n, n),
        };
        let guilty: BTreeSet<usize> = faults.cheats.iter().map(|c| c.seat).collect();
        let members = keys.into_iter().enumerate().map(|(i, key)| Member::new(key, !guilty.contains(&i))).collect();
        Self {
            options: options.clone(),
            queue: Queue::new(options.seed, n),
            net: Net::new(options.seed, faults.clone()),
            trace: Trace::new(options.trace, &faults),
            watch: Watch::default(),
            faults,
            dice,
            task,
            members,
            early: BTreeMap::new(),
            ledger: Ledger::new(),
            wiretap: Wiretap::default(),
            attempt: 0,
            ends: Vec::new(),
            written: Vec::new(),
            moved: BTreeSet::new(),
            violation: None,
        }
    }

    fn note(&mut self, seat: usize, what: impl FnOnce() -> String) {
        self.trace.note(self.queue.now(), || format!("seat {seat}"), what);
    }

    fn found(&mut self, check: Check) {
        if let Err(violation) = check {
            self.violation.get_or_insert(violation);
        }
    }

    /// Everyone must be through with an attempt after so long.
    fn bound_ms(&self) -> u64 {
        self.task.step_ms() * (16 + 16 * u64::from(self.task.rounds))
    }

    pub fn run(mut self) -> Report {
        for (at, a, b) in self.net.starved() {
            self.queue.at(at, Event::Break { a, b, connection: None });
        }
        self.run_attempt();
        let again = self.dice.chance(500) && self.ends.iter().any(|e| e != "sum");
        if again && self.violation.is_none() {
            self.run_attempt();
        }
        self.check_end();
        Report {
            ends: self.ends,
            coverage: self.net.coverage,
            violation: self.violation,
            events: self.trace.count(),
            lines: self.trace.into_lines(),
            faults: self.faults,
            convicted: Vec::new(),
            usage: self.ledger.flows().iter().map(|(key, flow)| format!("{key:?}: {} bytes", flow.sent)).collect(),
        }
    }

    fn run_attempt(&mut self) {
        self.attempt += 1;
        let (attempt, begin) = (self.attempt, self.queue.now());
        self.early.clear();
        for seat in 0..self.members.len() {
            let at = begin + self.dice.between(0, 60);
            self.queue.at(at, Event::Begin { seat, attempt });
        }
        let until = begin + 60 + self.bound_ms();
        while self.violation.is_none() {
            let Some(event) = self.queue.pop() else { break };
            self.take(event);
            self.found(self.queue.nothing_spins());
            self.look();
            let done = self.queue.now() > begin + 60
                && self.members.iter().all(|m| m.machine.as_ref().is_none_or(|m| m.is_finished()));
            if done {
                break;
            }
            if self.queue.now() > until {
                let late = self.members.iter().position(|m| m.machine.as_ref().is_some_and(|m| !m.is_finished()));
                self.found(crate::run::holds(late.is_none(), "everything_ends_within_its_bound", || {
                    format!("seat {} still runs after {} ms", late.unwrap_or(0), until - begin)
                }));
                break;
            }
        }
        self.end_attempt();
    }

    /// What must hold after every event, of what the event has moved.
    fn look(&mut self) {
        let misreport = self.options.has(Bug::MisreportSurvivors);
        let dishonest = self.members.iter().filter(|m| !m.honest).count();
        for (seat, record) in std::mem::take(&mut self.written) {
            let check = self.watch.recorded(&self.task, dishonest, seat, &record);
            self.found(check);
        }
        for seat in std::mem::take(&mut self.moved) {
            let check = self.watch.came(&self.task, &self.members, seat, self.attempt, misreport);
            self.found(check);
        }
    }

    fn end_attempt(&mut self) {
        let mut sums = 0;
        for seat in 0..self.members.len() {
            let outcome = self.members[seat].machine.as_mut().map(|machine| machine.take_outcome());
            match (outcome, self.members[seat].runs.last_mut()) {
                (Some(Some(Err(abort))), Some(run)) => {
                    run.abort = Some(abort.clone());
                    self.note(seat, || format!("aborts: {abort:?}"));
                }
                (Some(_), _) => sums += 1,
                (None, _) => {}
            }
            self.close_books(seat);
        }
        self.ends.push(if sums == 0 { "abort".into() } else { "sum".into() });
    }

    /// Takes a seat's machine away and enters into the books what it says that it sent.
    fn close_books(&mut self, seat: usize) {
        let Some(machine) = self.members[seat].machine.take() else { return };
        let (attempt, usage) = (self.attempt, machine.usage());
        for (to, bytes) in usage.sent {
            self.ledger.sent((attempt, seat, to.index()), bytes);
        }
        // What a dishonest seat sends beside its protocol is in nobody's books.
        let honest = |from: &Seat| self.members[from.index()].honest;
        let received = usage.received.into_iter().filter(|(from, _)| honest(from)).collect();
        let check = self.watch.received_fits(&self.ledger, attempt, seat, &received);
        self.found(check);
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Begin { seat, attempt } => self.begin(seat, attempt),
            Event::Deliver { from, to, connection, id, frame } => {
                let arrives = self.members[to].up && self.net.is_current(from, to, connection);
                if arrives {
                    self.arrive(from, to, id, frame);
                } else {
                    self.ledger.landed(id, false);
                }
            }
            Event::Timer { seat, attempt, at } => {
                if attempt == self.attempt && self.members[seat].timer == Some(at) {
                    self.members[seat].timer = None;
                    self.step(seat, MachineEvent::Timer);
                }
            }
            Event::Break { a, b, connection } => self.break_off(a, b, connection),
            Event::Join { a, b } => {
                let both = self.members[a].up && self.members[b].up;
                if both && !self.net.join(self.queue.now(), a, b) && self.net.connection(a, b).is_none() {
                    self.queue.after(200, Event::Join { a, b });
                }
            }
            Event::Restart { seat } => self.restart(seat),
        }
    }

    fn begin(&mut self, seat: usize, attempt: u32) {
        if attempt != self.attempt || !self.members[seat].up {
            return;
        }
        let again = self.members[seat].runs.iter().any(|r| r.attempt == attempt);
        self.found(crate::run::holds(!again, "an_attempt_is_begun_once", || format!("seat {seat}, attempt {attempt}")));
        let seed = self.seed(seat);
        let double = self.options.has(Bug::DoubleCount) && seat == 1;
        let now = self.queue.now();
        self.note(seat, || format!("begins attempt {attempt}"));
        self.members[seat].begin(&self.task, Seat(seat as u16), attempt, &seed, now, double);
        self.step(seat, MachineEvent::Start);
        for peer in 0..self.members.len() {
            if peer != seat && self.net.connection(seat, peer).is_none() {
                self.step(seat, MachineEvent::Gone(Seat(peer as u16)));
            }
        }
        for (from, frame) in self.early.remove(&seat).unwrap_or_default() {
            self.hand_over(from, seat, frame);
        }
    }

    fn seed(&mut self, seat: usize) -> tacit_crypto::Seed {
        if self.options.has(Bug::ReuseSeed) {
            return Dice::new(self.options.seed, &format!("machine {seat}")).seed();
        }
        self.dice.seed()
    }

    fn arrive(&mut self, from: usize, to: usize, id: u64, frame: Frame) {
        let attempt = match &frame {
            Frame::Message(m) => m.address.attempt.0,
            Frame::Credit { attempt, .. } => *attempt,
        };
        let begun = self.members[to].runs.iter().any(|r| r.attempt == attempt);
        let runs = attempt == self.attempt && self.members[to].machine.as_ref().is_some_and(|m| !m.is_finished());
        if attempt == self.attempt && !begun {
            self.ledger.landed(id, true);
            return self.early.entry(to).or_default().push((from, frame));
        }
        self.ledger.landed(id, runs);
        if runs {
            self.hand_over(from, to, frame);
        }
    }

    fn hand_over(&mut self, from: usize, to: usize, frame: Frame) {
        match frame {
            Frame::Message(message) => {
                let step = message.address.step;
                self.note(to, || format!("receives {} from seat {from}", phase_of(step)));
                self.step(to, MachineEvent::Received(message));
            }
            Frame::Credit { consumed, .. } => {
                self.step(to, MachineEvent::Credit { from: Seat(from as u16), consumed });
            }
        }
    }

    fn step(&mut self, seat: usize, event: MachineEvent) {
        self.moved.insert(seat);
        let mut pending = vec![event];
        while let Some(event) = pending.pop() {
            let now = self.queue.now();
            let member = &mut self.members[seat];
            let Some(machine) = member.machine.as_mut() else { return };
            let effects = machine.step(Millis(now - member.began), event);
            let mut rest = effects.into_iter();
            while let Some(effect) = rest.next() {
                if !self.carry_out(seat, effect, &mut pending) {
                    let unsent = rest.filter_map(|e| if let Effect::Send(m) = e { Some(m) } else { None });
                    for message in unsent.collect::<Vec<_>>() {
                        self.ledger.lost(key_of(seat, &message), message.body.len() as u64);
                    }
                    return;
                }
            }
        }
    }

    /// `false` when the seat died.
    fn carry_out(&mut self, seat: usize, effect: Effect, pending: &mut Vec<MachineEvent>) -> bool {
        match effect {
            Effect::Send(message) => return self.send(seat, message),
            Effect::Credit { to, consumed } => {
                let frame = Frame::Credit { attempt: self.attempt, consumed };
                self.dispatch(seat, to.index(), None, frame);
            }
            Effect::SetTimer(at) => {
                let (at, attempt) = (self.members[seat].began + at.0, self.attempt);
                self.members[seat].timer = Some(at);
                self.queue.at(at, Event::Timer { seat, attempt, at });
            }
            Effect::Persist { ticket, record } => {
                if !self.persist(seat, record) {
                    return false;
                }
                pending.push(MachineEvent::Persisted { ticket });
            }
            Effect::Opened { what, cells } => {
                let check = self.watch.opened(&self.task, seat, self.attempt, &what, cells);
                self.found(check);
            }
            Effect::Progress(_) | Effect::Host(_) | Effect::Finish => {}
        }
        true
    }

    fn persist(&mut self, seat: usize, record: Vec<u8>) -> bool {
        let what = super::check::record_kind(&record);
        self.note(seat, || format!("persists {what}"));
        assert!(!self.options.has(Bug::Panic), "seat {seat} cannot persist {what}");
        if self.options.has(Bug::PersistWithoutSync) {
            let number = self.members[seat].disk.all().len() as u64;
            self.write(seat, number, record);
            return true;
        }
        let skip = self.options.has(Bug::SkipPersist)
            || (self.options.has(Bug::OpenBeforeDecision) && what == "open" && seat.is_multiple_of(2));
        if skip {
            return true;
        }
        if !self.effect(seat, false) {
            return false;
        }
        let number = self.members[seat].disk.all().len() as u64;
        self.write(seat, number, record);
        if !self.effect(seat, true) || !self.effect(seat, false) {
            return false;
        }
        self.members[seat].disk.sync();
        self.effect(seat, true)
    }

    fn write(&mut self, seat: usize, number: u64, record: Vec<u8>) {
        if self.members[seat].honest {
            self.written.push((seat, record.clone()));
        }
        self.members[seat].disk.write(vec![(number, record)]);
    }

    /// Before and after each effect: whether the seat lives on.
    fn effect(&mut self, seat: usize, after: bool) -> bool {
        let member = &mut self.members[seat];
        if !after {
            member.effects += 1;
        }
        let Some(crash) = self.faults.crash_at(seat, member.effects, "", 0).filter(|c| c.after == after).cloned()
        else {
            return true;
        };
        self.net.count(if after { FaultKind::CrashAfter } else { FaultKind::CrashBefore });
        self.die(seat, crash.restart);
        false
    }

    fn die(&mut self, seat: usize, restart: Option<u64>) {
        self.note(seat, || format!("dies, back after {restart:?} ms"));
        let member = &mut self.members[seat];
        member.up = false;
        member.disk.crash(&mut self.dice);
        member.timer = None;
        self.close_books(seat);
        for peer in (0..self.members.len()).filter(|p| *p != seat) {
            let noticed = self.net.pause(5, 300);
            self.queue.after(noticed, Event::Break { a: seat, b: peer, connection: None });
        }
        match restart {
            Some(pause) => self.queue.after(pause.max(301), Event::Restart { seat }),
            None => self.net.count(FaultKind::NeverBack),
        }
    }

    fn restart(&mut self, seat: usize) {
        self.members[seat].up = true;
        self.note(seat, || "is back; its attempt is burned".into());
        if self.options.has(Bug::ResumeAttempt) {
            self.begin(seat, self.attempt);
        }
        for peer in (0..self.members.len()).filter(|p| *p != seat) {
            let pause = self.net.pause(1, 200);
            self.queue.after(pause, Event::Join { a: seat, b: peer });
        }
    }

    fn break_off(&mut self, a: usize, b: usize, connection: Option<u32>) {
        if !self.net.break_off(a, b, connection) {
            return;
        }
        self.note(a, || format!("loses its connection to seat {b}"));
        for (seat, peer) in [(a, b), (b, a)] {
            self.step(seat, MachineEvent::Gone(Seat(peer as u16)));
        }
        let pause = self.net.pause(20, 500);
        self.queue.after(pause, Event::Join { a, b });
    }

    /// Sends a message, or what a dishonest seat makes of it. `false` when the seat died.
    fn send(&mut self, seat: usize, message: Message) -> bool {
        if !self.effect(seat, false) {
            self.ledger.lost(key_of(seat, &message), message.body.len() as u64);
            return false;
        }
        let (to, step) = (message.address.to.index(), message.address.step);
        self.note(seat, || format!("sends {} to seat {to}, {} bytes", phase_of(step), message.body.len()));
        if self.members[seat].honest {
            self.tap(seat, &message);
        }
        let bytes = message.body.len() as u64;
        match self.deed(seat, phase_of(step)) {
            None => {
                let message = self.bug_in(seat, message);
                self.dispatch(seat, to, Some(bytes), Frame::Message(message));
            }
            Some(deed) => self.cheat(seat, deed, message),
        }
        self.effect(seat, true)
    }

    fn deed(&mut self, seat: usize, phase: &str) -> Option<Deed> {
        let is = |i: usize| phases().nth(i).is_some_and(|p| p.name == phase);
        self.faults.cheats.iter().find(|c| c.seat == seat && is(c.phase)).map(|c| c.deed)
    }

    fn cheat(&mut self, seat: usize, deed: Deed, message: Message) {
        self.net.count(FaultKind::Cheat);
        let to = message.address.to.index();
        self.note(seat, || format!("cheats: {deed:?}"));
        let bytes = message.body.len() as u64;
        let key = self.members[seat].key.clone();
        let send = |world: &mut Self, message: Message| world.dispatch(seat, to, Some(bytes), Frame::Message(message));
        match deed {
            Deed::Drop => {
                self.ledger.lost(key_of(seat, &message), bytes);
            }
            Deed::Alter => {
                let other = forge::altered(&mut self.dice, message);
                send(self, other);
            }
            Deed::Equivocate => {
                let other = forge::altered(&mut self.dice, message.clone());
                send(self, message);
                self.dispatch(seat, to, None, Frame::Message(other));
            }
            Deed::Forge => {
                let forged = forge::resigned(&mut self.dice, &key, message);
                send(self, forged);
            }
            Deed::Split => {
                let forged = if to.is_multiple_of(2) { forge::shortened(&key, message) } else { message };
                send(self, forged);
            }
            Deed::Late => {
                let pause = self.dice.between(self.task.step_ms() / 2, self.task.step_ms() * 3);
                let connection = self.net.connection(seat, to).unwrap_or(u32::MAX);
                let id = self.ledger.launch(key_of(seat, &message), bytes, 1);
                let frame = Frame::Message(message);
                self.queue.after(pause, Event::Deliver { from: seat, to, connection, id, frame });
            }
        }
    }

    /// What a planted bug makes of an honest seat's message.
    fn bug_in(&mut self, seat: usize, message: Message) -> Message {
        let (phase, to) = (phase_of(message.address.step), message.address.to.index());
        match self.options.bug {
            Some(Bug::ForgeSurvivors) if phase == "survivors" && to % 2 == 0 => {
                forge::shortened(&self.members[seat].key, message)
            }
            Some(Bug::VoteTwice) if phase == "vote" && seat.is_multiple_of(2) => {
                let other = forge::resigned(&mut self.dice, &self.members[seat].key, message.clone());
                self.tap(seat, &other);
                message
            }
            Some(Bug::UndetectedCorruption) if self.dice.chance(20) => forge::altered(&mut self.dice, message),
            _ => message,
        }
    }

    fn tap(&mut self, seat: usize, message: &Message) {
        let durable = self.members[seat].disk.all_durable().values().map(Vec::as_slice);
        let check = self.wiretap.sent(seat, &self.attempt.to_string(), durable, message);
        self.found(check);
    }

    /// Gives a frame to the network. `bytes` for a message that counts.
    fn dispatch(&mut self, from: usize, to: usize, bytes: Option<u64>, frame: Frame) {
        let key = (self.attempt, from, to);
        if self.net.connection(from, to).is_none() {
            return self.ledger.lost(key, bytes.unwrap_or(0));
        }
        let carried = self.net.carry(self.queue.now(), from, to);
        let id = bytes.map_or(0, |bytes| self.ledger.launch(key, bytes, carried.arrives.len()));
        let connection = carried.connection;
        for at in carried.arrives {
            self.queue.at(at, Event::Deliver { from, to, connection, id, frame: frame.clone() });
        }
        if let Some(at) = carried.breaks {
            self.queue.at(at, Event::Break { a: from, b: to, connection: Some(connection) });
        }
    }

    fn check_end(&mut self) {
        let check = self.watch.at_the_end(&self.task, &self.members, &self.ledger);
        self.found(check);
    }
}

/// Under what a message stands in the books.
fn key_of(from: usize, message: &Message) -> (u32, usize, usize) {
    (message.address.attempt.0, from, message.address.to.index())
}
