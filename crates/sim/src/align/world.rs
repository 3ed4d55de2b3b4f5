//! One attempt among machines: messages come late, a seat dies between two effects, another says something else than it
//! should.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tacit_crypto::{SealKey, Secret};
use tacit_governance::Cohort;
use tacit_jobs::align::{Desk, Inline, LookupDesk, Offered, STATE_LABEL, Spend};
use tacit_jobs::{JointContext, JointOutput, Material, session};
use tacit_protocol::{Abort, Effect, Event as MachineEvent, Machine, Message, Offence, Offender, Seating, Setup};
use tacit_types::{Attempt, Hash, JobId, Millis, Seat, UnixMillis};

use super::case::{Case, FLOOR, LOOKUP};
use super::desk::{Count, Disk, Files, Found, Shared, Shelf, held};
use crate::dice::Dice;
use crate::faults::{Cheat, Crash, Deed};
use crate::queue::Queue;
use crate::run::{Check, Violation, holds};
use crate::trace::Trace;

pub const STEP_MS: u64 = 1_000;
/// Virtual milliseconds within which every seat has ended: a few waits for a peer that is gone, the longest of which is,
/// among three, for the exchange before with lists of the size that the job allows.
const ENDED_MS: u64 = 1_200 * STEP_MS;
/// Milliseconds after which the others hear of a death.
const HEARD_MS: u64 = 50;
/// Bytes of an element of the group, and how many of them make a message that cannot be anything else.
const ELEMENT: usize = 32;
const ELEMENTS_MIN: usize = 4;

/// What of an owner outlives an attempt.
pub struct Side {
    pub lists: Shared<Disk>,
    pub shelf: Shared<Disk>,
    pub state: Option<Vec<u8>>,
    pub found: Shared<Found>,
    pub used: Shared<u64>,
}

impl Side {
    pub fn new(lies: bool) -> Self {
        let disk = || Shared::new(Disk::new(lies).into());
        Self { lists: disk(), shelf: disk(), state: None, found: Shared::default(), used: Shared::default() }
    }
}

/// Which attempt this is and what goes wrong in it.
pub struct Order<'a> {
    pub job: JobId,
    pub attempt: u32,
    /// Milliseconds of the world's clock.
    pub now: u64,
    pub seeds: u64,
    pub delay: u64,
    pub crash: Option<&'a Crash>,
    /// A seat that reads its rows so many milliseconds longer than the others.
    pub reads: Option<(usize, u64)>,
    /// Whether all nodes have one key for the job, so that what they pad lists with is the same.
    pub one_key: bool,
    pub cheats: &'a [Cheat],
    /// Messages in a thousand of which a byte changes on the way and nobody notices.
    pub corrupt: u32,
    /// Whether a node seeds the attempts of a job alike.
    pub alike: bool,
    /// Whether a node leaves what an earlier attempt has found where it is.
    pub leftovers: bool,
}

/// How it went.
#[derive(Default)]
pub struct Ran {
    /// By seat; nothing for who died.
    pub ends: Vec<Option<Result<JointOutput, Abort>>>,
    pub died: Option<usize>,
    pub cheated: u64,
    /// Seats that went on past sizes: from which points or answers have left.
    pub left: BTreeSet<usize>,
    /// Seats that answered a search.
    pub answered: BTreeSet<usize>,
    /// Points of the group that were sent.
    pub elements: Vec<[u8; ELEMENT]>,
    /// Bytes sent by seat and step.
    pub sent: BTreeMap<(usize, u32), usize>,
    /// Numbers that each seat has booked, by the opening.
    pub opened: BTreeMap<(usize, String), u64>,
    /// Who blames whom, and for what.
    pub blames: Vec<(usize, usize, Offence)>,
    pub events: u64,
    pub violation: Option<Violation>,
}

enum Event {
    Machine(usize, MachineEvent),
    Timer(usize, u64),
}

pub struct World<'a> {
    case: &'a Case,
    order: Order<'a>,
    queue: Queue<Event>,
    dice: Dice,
    machines: Vec<Option<Machine<JointOutput>>>,
    timers: Vec<Option<u64>>,
    /// When the last message of a sender is with a receiver.
    last: BTreeMap<(usize, usize), u64>,
    listed: BTreeMap<String, u64>,
    /// Effects of each seat, and messages.
    effects: Vec<u64>,
    messages: Vec<usize>,
    ran: Ran,
}

pub fn recipient() -> SealKey {
    let bytes = core::array::from_fn(|i| u8::from(i == 0) * 9);
    SealKey::from_bytes(&Secret::new(bytes)).expect("why: it is a scalar")
}

impl<'a> World<'a> {
    pub fn new(case: &'a Case, sides: &[Side], order: Order<'a>) -> Self {
        let seats = case.seats();
        let plan = case.plan();
        let mut listed = BTreeMap::new();
        for d in plan.disclosures() {
            *listed.entry(d.what).or_default() += d.cells_max;
        }
        let mixed = order.seeds ^ u64::from(order.attempt) << 40 ^ u64::from(order.job.0[0]) << 50;
        let mut world = Self {
            case,
            queue: Queue::new(mixed, seats),
            dice: Dice::new(mixed, "align net"),
            machines: Vec::new(),
            timers: vec![None; seats],
            last: BTreeMap::new(),
            listed,
            effects: vec![0; seats],
            messages: vec![0; seats],
            ran: Ran::default(),
            order,
        };
        world.machines = sides.iter().enumerate().map(|(seat, side)| Some(world.machine(seat, side))).collect();
        world
    }

    fn desk(&self, seat: usize, side: &Side) -> Desk {
        let count = || Count { used: side.used.clone(), most: self.case.budget };
        let searches = self.case.kind == LOOKUP;
        Desk {
            job: self.order.job,
            storage: Box::new(Files(side.lists.clone())),
            workers: Arc::new(Inline),
            memory: 1 << 20,
            keys_max: u64::MAX,
            key: Secret::new([if self.order.one_key { 7 } else { seat as u8 + 7 }; 32]),
            state: side.state.clone(),
            offered: (!searches).then(|| Box::new(count()) as Box<dyn Offered>),
            lookup: searches.then(|| LookupDesk {
                shelf: Box::new(Files(side.shelf.clone())),
                key: Secret::new([seat as u8 + 70; 32]),
                now: UnixMillis(self.order.now),
                spend: self.case.holds(seat).then(|| Box::new(count()) as Box<dyn Spend>),
            }),
            shown: self.case.shown[seat],
            sole: self.case.sole,
            keep: Box::new(Shelf(side.found.clone())),
        }
    }

    fn machine(&self, seat: usize, side: &Side) -> Machine<JointOutput> {
        if !self.order.leftovers {
            *held(&side.found) = Found::default();
        }
        let (plan, owners) = (self.case.plan(), self.case.owners());
        let (desk, order) = (self.desk(seat, side), &self.order);
        let mut fold =
            plan.fold_at(&owners[seat], Material::default(), desk).expect("why: the owner is one of the job's");
        for batch in self.case.batches(seat) {
            fold.take(&batch).expect("why: the columns are those of the job");
        }
        let half = fold.finish();
        let setup = Setup {
            job: order.job,
            attempt: Attempt(order.attempt),
            seat: Seat(seat as u16),
            seating: Seating::new(owners.clone()).expect("why: different owners in order"),
            disclosures: plan.disclosures(),
            stream_bytes_max: 1 << 30,
        };
        let context = JointContext {
            session: Hash([order.attempt as u8; 32]),
            aggregator: Seat(0),
            step_ms: STEP_MS,
            cohort: Cohort { rows: FLOOR, contributors: 2 },
            recipient: recipient().public(),
            owners,
        };
        let attempt = if order.alike { 0 } else { order.attempt };
        let purpose = format!("align machine {seat} {} {attempt}", order.job);
        let seed = Dice::new(order.seeds, &purpose).seed();
        Machine::new(setup, &seed, self.case.keys[seat].clone(), Millis(0), |party| half.run(party, context))
    }

    pub fn run(mut self, sides: &mut [Side], trace: &mut Trace) -> Ran {
        (0..self.machines.len()).for_each(|seat| self.queue.at(0, Event::Machine(seat, MachineEvent::Start)));
        let reading = self.order.reads;
        while let Some(event) = self.queue.pop() {
            self.ran.events += 1;
            match event {
                // What comes meanwhile is there when it begins.
                Event::Machine(seat, event)
                    if reading.is_some_and(|(late, ms)| late == seat && self.queue.now() < ms) =>
                {
                    let ms = reading.map_or(0, |(_, ms)| ms);
                    self.queue.at(ms, Event::Machine(seat, event));
                }
                Event::Machine(seat, event) => self.step(seat, event, sides, trace),
                Event::Timer(seat, at) if self.timers[seat] == Some(at) => {
                    self.timers[seat] = None;
                    self.step(seat, MachineEvent::Timer, sides, trace);
                }
                Event::Timer(..) => {}
            }
            let check = self.queue.nothing_spins();
            self.found(check);
            if self.ran.violation.is_some() {
                break;
            }
        }
        self.end(trace);
        self.ran
    }

    fn found(&mut self, check: Check) {
        if let Err(violation) = check {
            self.ran.violation.get_or_insert(violation);
        }
    }

    fn step(&mut self, seat: usize, event: MachineEvent, sides: &mut [Side], trace: &mut Trace) {
        let now = self.queue.now();
        let Some(machine) = self.machines[seat].as_mut() else { return };
        let effects = machine.step(Millis(now), event);
        for effect in effects {
            self.effects[seat] += 1;
            let dies =
                self.order.crash.filter(|c| c.process == seat && c.effect == self.effects[seat]).map(|c| c.after);
            let finished = self.machines[seat].as_ref().is_none_or(Machine::is_finished);
            let dies = dies.filter(|_| !finished);
            if dies != Some(false) {
                self.apply(seat, effect, sides, trace);
            }
            if dies.is_some() {
                trace.note(now, || format!("seat {seat}"), || "dies".into());
                self.machines[seat] = None;
                self.timers[seat] = None;
                self.ran.died = Some(seat);
                for other in (0..self.machines.len()).filter(|other| *other != seat) {
                    let gone = MachineEvent::Gone(Seat(seat as u16));
                    self.queue.after(HEARD_MS, Event::Machine(other, gone));
                }
                return;
            }
        }
    }

    fn apply(&mut self, seat: usize, effect: Effect, sides: &mut [Side], trace: &mut Trace) {
        match effect {
            Effect::Send(message) => self.send(seat, message, trace),
            Effect::Credit { to, consumed } => {
                let event = MachineEvent::Credit { from: Seat(seat as u16), consumed };
                let pause = self.dice.below(self.order.delay + 1);
                self.queue.after(pause, Event::Machine(to.index(), event));
            }
            Effect::Persist { ticket, record } => {
                if record.starts_with(STATE_LABEL) {
                    // One of nothing else says that there is none.
                    sides[seat].state = Some(record).filter(|record| record.len() > STATE_LABEL.len());
                }
                self.queue.after(0, Event::Machine(seat, MachineEvent::Persisted { ticket }));
            }
            Effect::SetTimer(at) => {
                self.timers[seat] = Some(at.0);
                self.queue.at(at.0, Event::Timer(seat, at.0));
            }
            Effect::Opened { what, cells } => {
                let check = self.nothing_is_opened_outside_the_spec(seat, &what, cells);
                self.found(check);
            }
            Effect::Finish | Effect::Progress(_) | Effect::Host(_) => {}
        }
    }

    fn nothing_is_opened_outside_the_spec(&mut self, seat: usize, what: &str, cells: u64) -> Check {
        let total = self.ran.opened.entry((seat, what.to_owned())).or_default();
        *total += cells;
        let listed = self.listed.get(what).copied().unwrap_or(0);
        holds(*total <= listed, "nothing_is_opened_outside_the_spec", || {
            format!("seat {seat}: {total} cells of {what}, listed {listed}")
        })
    }

    /// Sends a message, or what the one who cheats makes of it.
    fn send(&mut self, seat: usize, message: Message, trace: &mut Trace) {
        let (to, step) = (message.address.to.index(), message.address.step);
        self.overhear(seat, &message);
        let (now, number) = (self.queue.now(), self.messages[seat]);
        self.messages[seat] += 1;
        let deed = self.order.cheats.iter().find(|c| c.seat == seat && c.phase == number).map(|c| c.deed);
        self.ran.cheated += u64::from(deed.is_some());
        let bytes = message.body.len();
        trace.note(
            now,
            || format!("seat {seat}"),
            || format!("message {number}, {bytes} bytes of step {step} to seat {to}{}", said(deed)),
        );
        let late = if deed == Some(Deed::Late) { 3 * STEP_MS } else { 0 };
        // One stream: nothing overtakes.
        let pause = late + self.dice.below(self.order.delay + 1);
        let at = self.last.entry((seat, to)).or_default();
        *at = (*at).max(now + pause);
        let at = *at;
        for message in self.made_of(deed, message) {
            self.queue.at(at, Event::Machine(to, MachineEvent::Received(message)));
        }
    }

    fn made_of(&mut self, deed: Option<Deed>, mut message: Message) -> Vec<Message> {
        if self.order.corrupt > 0 && self.dice.chance(self.order.corrupt) {
            alter(&mut self.dice, &mut message);
        }
        match deed {
            None | Some(Deed::Late) => vec![message],
            Some(Deed::Drop) => Vec::new(),
            Some(Deed::Alter) => {
                alter(&mut self.dice, &mut message);
                vec![message]
            }
            Some(Deed::Equivocate) => {
                let mut other = message.clone();
                alter(&mut self.dice, &mut other);
                vec![message, other]
            }
            // Announces, or counts, what is not so: a number at the end of a short message, a list that is shorter.
            Some(Deed::Forge) => {
                let end = message.body.len();
                if end == 9 {
                    message.body[7] = super::case::KEYS_MIN as u8;
                } else {
                    message.body.truncate(end.saturating_sub(ELEMENT).max(end.min(1)));
                    message.total = message.body.len() as u64;
                }
                vec![message]
            }
            // Another order of what is in it.
            Some(Deed::Split) => {
                let half = message.body.len() / 2 / ELEMENT * ELEMENT;
                if half == 0 {
                    message.body.reverse()
                } else {
                    message.body.rotate_left(half)
                }
                vec![message]
            }
        }
    }

    /// What an observer keeps of a message as its sender's machine made it.
    fn overhear(&mut self, seat: usize, message: &Message) {
        let (step, body) = (message.address.step, &message.body);
        *self.ran.sent.entry((seat, step.0)).or_default() += body.len();
        let exchange = step.round() > session::ALIGN_ROUND && step.round() < session::COMPUTE_ROUND;
        let elements = body.as_chunks::<ELEMENT>();
        if !exchange || elements.0.len() < ELEMENTS_MIN {
            return;
        }
        if self.case.holds(seat) {
            // Answers with a proof; tags of the cache are left out by their length, or are counted once too often in an
            // attempt that had its queries counted anyway.
            if elements.1.is_empty() {
                self.ran.answered.insert(seat);
            }
            return;
        }
        self.ran.left.insert(seat);
        if elements.1.is_empty() {
            self.ran.elements.extend_from_slice(elements.0);
        }
    }

    /// Takes what everyone came to.
    fn end(&mut self, trace: &mut Trace) {
        let now = self.queue.now();
        for seat in 0..self.machines.len() {
            let outcome = self.machines[seat].as_mut().map(Machine::take_outcome);
            if outcome.as_ref().is_some_and(Option::is_none) {
                let check = holds(self.ran.violation.is_some(), "everything_ends_within_its_bound", || {
                    format!("seat {seat} hangs")
                });
                self.found(check);
            }
            if let Some(Some(Err(abort))) = &outcome {
                trace.note(now, || format!("seat {seat}"), || format!("stops: {abort}"));
                if let Abort::Misbehaved { blame, .. } = abort
                    && let Offender::Seat(offender) = blame.offender
                {
                    self.ran.blames.push((seat, offender.index(), blame.offence));
                }
            }
            self.ran.ends.push(outcome.flatten());
        }
        let check = holds(now <= ENDED_MS, "everything_ends_within_its_bound", || format!("the last seat at {now} ms"));
        self.found(check);
    }
}

fn said(deed: Option<Deed>) -> String {
    deed.map_or(String::new(), |deed| format!(", {deed:?}"))
}

fn alter(dice: &mut Dice, message: &mut Message) {
    let at = dice.below(message.body.len() as u64) as usize;
    let bit = dice.below(8);
    message.body.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << bit);
}
