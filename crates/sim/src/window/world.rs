//! The world around the machines of a window: hands calls in, delivers, delays, breaks, kills, and watches.

use std::collections::BTreeMap;

use tacit_jobs::JointOutput;
use tacit_jobs::score::online::BATCHES_MAX;
use tacit_jobs::score::online::host::{self, Say, Tell};
use tacit_protocol::{Effect, Event as MachineEvent, Machine, Message};
use tacit_types::wire::Blob;
use tacit_types::{Millis, Seat};

use super::cast::{Cast, How, STEP_MS};
use super::check::{Answered, Parties, Watch};
use crate::bug::Bug;
use crate::dice::Dice;
use crate::faults::{Deed, FaultKind, Faults};
use crate::net::Net;
use crate::queue::Queue;
use crate::run::{Check, Options, Report, Violation, holds};
use crate::trace::Trace;

/// Within so many milliseconds everyone begins.
const BEGIN_MS: u64 = 60;

#[derive(Clone)]
enum Frame {
    Message(Message),
    Credit { attempt: u32, consumed: u64 },
}

enum Event {
    Begin { seat: usize, attempt: u32 },
    Call { attempt: u32, keys: Vec<String> },
    Deliver { from: usize, to: usize, connection: u32, frame: Frame },
    Timer { seat: usize, attempt: u32, at: u64 },
    Break { a: usize, b: usize, connection: Option<u32> },
    Join { a: usize, b: usize },
    Restart { seat: usize },
}

/// A process with a seat.
struct Member {
    up: bool,
    effects: u64,
    began: u64,
    timer: Option<u64>,
    /// The last attempt that it has begun.
    attempt: u32,
    machine: Option<Machine<JointOutput>>,
    early: Vec<(usize, Frame)>,
    /// Messages that it has sent in this attempt.
    sent: usize,
}

/// The recipient's node, as far as calls go.
#[derive(Default)]
struct Desk {
    open: bool,
    ended: bool,
    waiting: Vec<Vec<String>>,
    /// Batches under way, by tag.
    pending: BTreeMap<u64, Vec<Vec<String>>>,
    next: u64,
}

pub(super) struct World {
    options: Options,
    faults: Faults,
    queue: Queue<Event>,
    net: Net,
    dice: Dice,
    trace: Trace,
    cast: Cast,
    members: Vec<Member>,
    honest: Vec<bool>,
    greedy: bool,
    desk: Desk,
    attempt: u32,
    watch: Watch,
    ends: Vec<String>,
    outcomes: BTreeMap<usize, Result<JointOutput, tacit_protocol::Abort>>,
    violation: Option<Violation>,
}

impl World {
    pub fn new(options: &Options) -> Self {
        let mut dice = Dice::new(options.seed, "window");
        let cast = Cast::draw(&mut dice);
        let n = cast.seats();
        let faults = options.draw(n, n);
        let honest = (0..n).map(|seat| faults.cheats.iter().all(|c| c.seat != seat)).collect();
        let member = |_| Member {
            up: true,
            effects: 0,
            began: 0,
            timer: None,
            attempt: 0,
            machine: None,
            early: Vec::new(),
            sent: 0,
        };
        Self {
            options: options.clone(),
            queue: Queue::new(options.seed, n),
            net: Net::new(options.seed, faults.clone()),
            trace: Trace::new(options.trace, &faults),
            faults,
            greedy: dice.chance(500),
            dice,
            members: (0..n).map(member).collect(),
            cast,
            honest,
            desk: Desk::default(),
            attempt: 0,
            watch: Watch::default(),
            ends: Vec::new(),
            outcomes: BTreeMap::new(),
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

    pub fn run(mut self) -> Report {
        for (at, a, b) in self.net.starved() {
            self.queue.at(at, Event::Break { a, b, connection: None });
        }
        self.window();
        if self.dice.chance(300) && self.violation.is_none() {
            self.window();
        }
        Report {
            convicted: Vec::new(),
            ends: self.ends,
            coverage: self.net.coverage,
            violation: self.violation,
            events: self.trace.count(),
            lines: self.trace.into_lines(),
            faults: self.faults,
            usage: Vec::new(),
        }
    }

    /// One window: its calls, and the time until everyone must be through.
    fn window(&mut self) {
        self.attempt += 1;
        let (attempt, begin) = (self.attempt, self.queue.now());
        (self.desk, self.watch) = (Desk::default(), Watch::default());
        self.outcomes.clear();
        for seat in 0..self.members.len() {
            self.members[seat].early.clear();
            self.members[seat].sent = 0;
            let at = begin + self.dice.between(0, BEGIN_MS);
            self.queue.at(at, Event::Begin { seat, attempt });
        }
        for _ in 0..self.dice.between(0, 24) {
            let at = begin + self.dice.between(0, self.cast.seconds * 1_100);
            let keys = Cast::draw_call(&mut self.dice);
            self.queue.at(at, Event::Call { attempt, keys });
        }
        let until = begin + BEGIN_MS + self.cast.seconds * 1_000 + self.cast.steps() * STEP_MS;
        while self.violation.is_none() {
            let Some(event) = self.queue.pop() else { break };
            self.take(event);
            self.found(self.queue.nothing_spins());
            let runs = self.members.iter().position(|m| m.machine.as_ref().is_some_and(|m| !m.is_finished()));
            if runs.is_none() && self.queue.now() > begin + BEGIN_MS {
                break;
            }
            if self.queue.now() > until {
                self.found(holds(runs.is_none(), "everything_ends_within_its_bound", || {
                    format!("seat {} still runs after {} ms", runs.unwrap_or(0), until - begin)
                }));
                break;
            }
        }
        self.end();
    }

    fn end(&mut self) {
        for seat in 0..self.members.len() {
            self.close(seat);
        }
        let parties = Parties { honest: &self.honest, recipient: self.cast.recipient };
        let check = self.watch.at_the_end(&self.cast, &parties, &self.outcomes);
        let well = self.outcomes.iter().filter(|(_, end)| end.is_ok()).count();
        let asker = self.outcomes.get(&self.cast.recipient).is_some_and(Result::is_ok);
        let word = match (well, asker) {
            (0, _) => "no window",
            (_, true) => "window",
            (_, false) => "settled",
        };
        let shared = if self.cast.is_shared() { " on shares" } else { "" };
        self.ends.push(format!("{word}{shared}"));
        self.found(check);
    }

    /// Takes a seat's machine away, and how it ended.
    fn close(&mut self, seat: usize) {
        let Some(mut machine) = self.members[seat].machine.take() else { return };
        if let Some(end) = machine.take_outcome() {
            self.outcomes.insert(seat, end);
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Begin { seat, attempt } => self.begin(seat, attempt),
            Event::Call { attempt, keys } => {
                if attempt == self.attempt {
                    self.desk.waiting.push(keys);
                    // Some wait for others.
                    if self.dice.chance(600) {
                        self.hand_in();
                    }
                }
            }
            Event::Deliver { from, to, connection, frame } => {
                if self.members[to].up && self.net.is_current(from, to, connection) {
                    self.arrive(from, to, frame);
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
        let again = self.members[seat].attempt == attempt;
        self.found(holds(!again, "an_attempt_is_begun_once", || format!("seat {seat}, attempt {attempt}")));
        self.note(seat, || format!("begins attempt {attempt}"));
        let how = How {
            twice: self.options.has(Bug::FoldTwice) && self.cast.is_owner(seat),
            greedy: self.greedy && !self.honest[seat] && seat == self.cast.recipient,
        };
        let machine = self.cast.machine(seat, attempt, &self.dice.seed(), how);
        let now = self.queue.now();
        let member = &mut self.members[seat];
        (member.attempt, member.began, member.timer, member.machine) = (attempt, now, None, Some(machine));
        self.step(seat, MachineEvent::Start);
        for peer in 0..self.members.len() {
            if peer != seat && self.net.connection(seat, peer).is_none() {
                self.step(seat, MachineEvent::Gone(Seat(peer as u16)));
            }
        }
        for (from, frame) in core::mem::take(&mut self.members[seat].early) {
            self.arrive(from, seat, frame);
        }
    }

    /// Puts the calls that wait to the seat, as one batch.
    fn hand_in(&mut self) {
        let seat = self.cast.recipient;
        let free = self.desk.open && !self.desk.ended && self.desk.pending.len() < BATCHES_MAX;
        if !free || self.desk.waiting.is_empty() || !self.members[seat].up {
            return;
        }
        let calls = core::mem::take(&mut self.desk.waiting);
        self.note(seat, || format!("is asked {} calls", calls.len()));
        self.say(calls.clone(), true);
        if self.options.has(Bug::AskTwice) && self.dice.chance(300) {
            self.say(calls, false);
        }
    }

    /// `known` when the node remembers what it said.
    fn say(&mut self, calls: Vec<Vec<String>>, known: bool) {
        let tag = self.desk.next;
        self.desk.next += 1;
        let blobs = |call: &Vec<String>| call.iter().map(|k| Blob(k.clone().into_bytes())).collect();
        let said = host::said(&Say::Calls { tag, calls: calls.iter().map(blobs).collect() });
        if known {
            self.desk.pending.insert(tag, calls);
        }
        self.step(self.cast.recipient, MachineEvent::Host(said));
    }

    fn hear(&mut self, bytes: &[u8]) {
        match host::hear(bytes) {
            Ok(Tell::Ready) => self.desk.open = true,
            Ok(Tell::Answered { tag, asked, mut outcome }) => {
                let Some(calls) = self.desk.pending.remove(&tag) else { return };
                if let (Ok(cells), true) = (&mut outcome, self.options.has(Bug::MixAnswers)) {
                    cells.rotate_left(1);
                }
                let parties = Parties { honest: &self.honest, recipient: self.cast.recipient };
                let check = self.watch.told(&self.cast, &parties, &calls, Answered { asked, outcome });
                self.found(check);
            }
            Ok(Tell::Ending) => self.desk.ended = true,
            Ok(Tell::Closed { leaves }) => self.watch.closed(leaves),
            // No owner counts keys here.
            Ok(Tell::Count { .. }) => {}
            Err(fault) => self.found(holds(false, "the_node_understands_its_seat", || fault.to_string())),
        }
    }

    fn arrive(&mut self, from: usize, to: usize, frame: Frame) {
        let attempt = match &frame {
            Frame::Message(m) => m.address.attempt.0,
            Frame::Credit { attempt, .. } => *attempt,
        };
        if attempt != self.attempt {
            return;
        }
        if self.members[to].attempt != attempt {
            return self.members[to].early.push((from, frame));
        }
        match frame {
            Frame::Message(message) => {
                let step = message.address.step;
                self.note(to, || format!("receives {step} from seat {from}"));
                self.step(to, MachineEvent::Received(message));
            }
            Frame::Credit { consumed, .. } => {
                self.step(to, MachineEvent::Credit { from: Seat(from as u16), consumed });
            }
        }
    }

    fn step(&mut self, seat: usize, event: MachineEvent) {
        let mut pending = vec![event];
        while let Some(event) = pending.pop() {
            let now = self.queue.now();
            let member = &mut self.members[seat];
            let Some(machine) = member.machine.as_mut() else { return };
            for effect in machine.step(Millis(now - member.began), event) {
                if !self.carry_out(seat, effect, &mut pending) {
                    return;
                }
            }
        }
        // What waited may go now, as at a node that has a place free again.
        if seat == self.cast.recipient && self.desk.pending.is_empty() {
            self.hand_in();
        }
    }

    /// `false` when the seat died.
    fn carry_out(&mut self, seat: usize, effect: Effect, pending: &mut Vec<MachineEvent>) -> bool {
        match effect {
            Effect::Send(message) => return self.send(seat, message),
            Effect::Credit { to, consumed } => {
                self.dispatch(seat, to.index(), Frame::Credit { attempt: self.attempt, consumed });
            }
            Effect::SetTimer(at) => {
                let (at, attempt) = (self.members[seat].began + at.0, self.attempt);
                self.members[seat].timer = Some(at);
                self.queue.at(at, Event::Timer { seat, attempt, at });
            }
            Effect::Persist { ticket, .. } => pending.push(MachineEvent::Persisted { ticket }),
            Effect::Opened { cells, .. } if self.honest[seat] => {
                let since = self.queue.now() - self.members[seat].began;
                let check = self.watch.opened(&self.cast, seat, cells, since);
                self.found(check);
            }
            Effect::Host(bytes) if seat == self.cast.recipient => self.hear(&bytes),
            Effect::Opened { .. } | Effect::Progress(_) | Effect::Host(_) | Effect::Finish => {}
        }
        true
    }

    /// Before and after each message: whether the seat lives on.
    fn effect(&mut self, seat: usize, after: bool) -> bool {
        let member = &mut self.members[seat];
        member.effects += u64::from(!after);
        let effects = member.effects;
        let Some(crash) = self.faults.crash_at(seat, effects, "", 0).filter(|c| c.after == after).cloned() else {
            return true;
        };
        self.net.count(if after { FaultKind::CrashAfter } else { FaultKind::CrashBefore });
        self.die(seat, crash.restart);
        false
    }

    fn die(&mut self, seat: usize, restart: Option<u64>) {
        self.note(seat, || format!("dies, back after {restart:?} ms"));
        let member = &mut self.members[seat];
        (member.up, member.timer, member.machine) = (false, None, None);
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
            return false;
        }
        let (to, step) = (message.address.to.index(), message.address.step);
        self.note(seat, || format!("sends {step} to seat {to}, {} bytes", message.body.len()));
        if self.honest[seat] {
            let check = self.watch.sent(seat, &message);
            self.found(check);
        }
        let sent = self.members[seat].sent;
        self.members[seat].sent += 1;
        let plan = self.faults.cheats.iter().find(|c| c.seat == seat && sent >= c.phase).map(|c| c.deed);
        match plan.filter(|_| self.dice.chance(300)) {
            Some(deed) => self.cheat(seat, deed, message),
            None if self.options.has(Bug::UndetectedCorruption) && self.dice.chance(20) => {
                let other = self.altered(message);
                self.dispatch(seat, to, Frame::Message(other));
            }
            None => self.dispatch(seat, to, Frame::Message(message)),
        }
        self.effect(seat, true)
    }

    /// The message with one byte altered, or cut, or lengthened.
    fn altered(&mut self, mut message: Message) -> Message {
        let at = self.dice.below(message.body.len() as u64) as usize;
        match self.dice.below(6) {
            0 => message.body.truncate(at),
            1 => message.body.extend_from_slice(&self.dice.bytes::<3>()),
            _ => {
                let bit = 1 << self.dice.below(8);
                message.body.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= bit);
            }
        }
        message.total = message.body.len() as u64;
        message
    }

    fn cheat(&mut self, seat: usize, deed: Deed, message: Message) {
        self.net.count(FaultKind::Cheat);
        self.note(seat, || format!("cheats: {deed:?}"));
        let to = message.address.to.index();
        match deed {
            Deed::Drop => {}
            Deed::Alter | Deed::Forge => {
                let other = self.altered(message);
                self.dispatch(seat, to, Frame::Message(other));
            }
            Deed::Equivocate => {
                let other = self.altered(message.clone());
                self.dispatch(seat, to, Frame::Message(message));
                self.dispatch(seat, to, Frame::Message(other));
            }
            // The same under the next step: a call that was answered is put again.
            Deed::Split => {
                let mut again = message.clone();
                again.address.step.0 += 1;
                self.dispatch(seat, to, Frame::Message(message));
                self.dispatch(seat, to, Frame::Message(again));
            }
            Deed::Late => {
                let pause = self.dice.between(STEP_MS / 4, STEP_MS * 3);
                let connection = self.net.connection(seat, to).unwrap_or(u32::MAX);
                let frame = Frame::Message(message);
                self.queue.after(pause, Event::Deliver { from: seat, to, connection, frame });
            }
        }
    }

    fn dispatch(&mut self, from: usize, to: usize, frame: Frame) {
        if self.net.connection(from, to).is_none() {
            return;
        }
        let carried = self.net.carry(self.queue.now(), from, to);
        let connection = carried.connection;
        for at in carried.arrives {
            self.queue.at(at, Event::Deliver { from, to, connection, frame: frame.clone() });
        }
        if let Some(at) = carried.breaks {
            self.queue.at(at, Event::Break { a: from, b: to, connection: Some(connection) });
        }
    }
}
