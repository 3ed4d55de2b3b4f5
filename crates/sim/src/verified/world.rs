//! The world around the machines of a verified job: it delivers late, and lets one seat deviate.

use std::collections::BTreeMap;

use tacit_jobs::JointOutput;
use tacit_protocol::{Abort, Effect, Event as MachineEvent, Machine, Message, Offender};
use tacit_types::{Code, Millis, Seat, Step};

use super::deviation::Deviation;
use super::job::{Job, STEP_MS};
use crate::dice::Dice;
use crate::queue::Queue;
use crate::run::{Check, Violation, holds};
use crate::trace::Trace;
use crate::wiretap::phase_of;

/// Virtual milliseconds within which every seat has ended: each of a job's rounds may wait for its step once.
const ENDED_MS: u64 = 60 * STEP_MS;

enum Event {
    Machine(usize, MachineEvent),
    Timer(usize, u64),
}

/// How a run went.
#[derive(Default)]
pub struct Ran {
    pub package: Option<Vec<u8>>,
    pub releases: BTreeMap<Seat, Vec<u8>>,
    /// Messages with a body, by sender.
    pub sent: Vec<usize>,
    /// Who blames whom, in which step.
    pub blames: Vec<(usize, usize, Step)>,
    pub end: String,
    pub at: u64,
    pub events: u64,
    pub violation: Option<Violation>,
}

pub struct World<'a> {
    job: &'a Job,
    queue: Queue<Event>,
    dice: Dice,
    delay: u64,
    deviation: Option<&'a Deviation>,
    /// The step of the deviation, once it has begun.
    begun: Option<(Step, usize)>,
    machines: Vec<Machine<JointOutput>>,
    timers: Vec<Option<u64>>,
    opened: BTreeMap<(usize, String), u64>,
    ran: Ran,
}

impl<'a> World<'a> {
    pub fn new(seed: u64, job: &'a Job, delay: u64, deviation: Option<&'a Deviation>) -> Self {
        let seats = job.seats();
        Self {
            job,
            queue: Queue::new(seed, seats),
            dice: Dice::new(seed, "verified net"),
            delay,
            deviation,
            begun: None,
            machines: (0..seats).map(|seat| job.machine(seat)).collect(),
            timers: vec![None; seats],
            opened: BTreeMap::new(),
            ran: Ran { sent: vec![0; seats], ..Ran::default() },
        }
    }

    pub fn run(mut self, trace: &mut Trace) -> Ran {
        (0..self.machines.len()).for_each(|seat| self.queue.at(0, Event::Machine(seat, MachineEvent::Start)));
        while let Some(event) = self.queue.pop() {
            self.ran.events += 1;
            match event {
                Event::Machine(seat, event) => self.step(seat, event, trace),
                Event::Timer(seat, at) if self.timers[seat] == Some(at) => {
                    self.timers[seat] = None;
                    self.step(seat, MachineEvent::Timer, trace);
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

    fn step(&mut self, seat: usize, event: MachineEvent, trace: &mut Trace) {
        let now = self.queue.now();
        for effect in self.machines[seat].step(Millis(now), event) {
            match effect {
                Effect::Send(message) => self.send(seat, message, trace),
                Effect::Credit { to, consumed } => {
                    let event = MachineEvent::Credit { from: Seat(seat as u16), consumed };
                    self.queue.after(0, Event::Machine(to.index(), event));
                }
                Effect::Persist { ticket, .. } => {
                    self.queue.after(0, Event::Machine(seat, MachineEvent::Persisted { ticket }));
                }
                Effect::SetTimer(at) => {
                    self.timers[seat] = Some(at.0);
                    self.queue.at(at.0, Event::Timer(seat, at.0));
                }
                Effect::Opened { what, cells } => {
                    let check = self.opened(seat, &what, cells);
                    self.found(check);
                }
                Effect::Host(_) | Effect::Progress(_) | Effect::Finish => {}
            }
        }
    }

    fn opened(&mut self, seat: usize, what: &str, cells: u64) -> Check {
        let total = self.opened.entry((seat, what.to_owned())).or_default();
        *total += cells;
        let listed = self.job.disclosed().get(what).copied().unwrap_or(0);
        holds(*total <= listed, "nothing_is_opened_outside_the_spec", || {
            format!("seat {seat}: {total} cells of {what}, listed {listed}")
        })
    }

    /// Sends a message, or what the one who deviates makes of it.
    fn send(&mut self, seat: usize, message: Message, trace: &mut Trace) {
        let which = self.ran.sent[seat];
        self.ran.sent[seat] += usize::from(!message.body.is_empty());
        let (to, step) = (message.address.to.index(), message.address.step);
        let said = self.said(seat, which, message);
        let now = self.queue.now();
        let Some(message) = said else {
            trace.note(now, || format!("seat {seat}"), || format!("says nothing to seat {to} in {}", phase_of(step)));
            return;
        };
        trace.note(
            now,
            || format!("seat {seat}"),
            || format!("tells seat {to} {} bytes in {}", message.body.len(), phase_of(step)),
        );
        let pause = self.dice.below(self.delay + 1);
        self.queue.after(pause, Event::Machine(to, MachineEvent::Received(message)));
    }

    fn said(&mut self, seat: usize, which: usize, message: Message) -> Option<Message> {
        let Some(Deviation::Message { seat: cheat, which: chosen, to_all, change }) = self.deviation else {
            return Some(message);
        };
        if *cheat != seat || message.body.is_empty() {
            return Some(message);
        }
        let here = (message.address.step, message.address.sequence as usize);
        if which == *chosen {
            self.begun = Some(here);
        }
        if which == *chosen || (*to_all && self.begun == Some(here)) { change.apply(message) } else { Some(message) }
    }

    /// Takes what everyone came to.
    fn end(&mut self, trace: &mut Trace) {
        let now = self.queue.now();
        self.ran.at = now;
        let mut codes: BTreeMap<String, usize> = BTreeMap::new();
        for seat in 0..self.machines.len() {
            match self.machines[seat].take_outcome() {
                Some(Ok(output)) => {
                    self.ran.package = self.ran.package.take().or(output.package);
                    self.ran.releases.insert(Seat(seat as u16), output.release);
                }
                Some(Err(abort)) => {
                    trace.note(now, || format!("seat {seat}"), || format!("stops: {abort}"));
                    *codes.entry(abort.code().text().to_owned()).or_default() += 1;
                    if let Abort::Misbehaved { blame, step } = &abort
                        && let Offender::Seat(offender) = blame.offender
                    {
                        self.ran.blames.push((seat, offender.index(), *step));
                    }
                }
                None => {
                    let check = holds(self.ran.violation.is_some(), "everything_ends_within_its_bound", || {
                        format!("seat {seat} hangs")
                    });
                    self.found(check);
                }
            }
        }
        let check = holds(now <= ENDED_MS, "everything_ends_within_its_bound", || format!("the last seat at {now} ms"));
        self.found(check);
        // Whoever finds something stops, and the others miss it.
        let lost = Code::JobPeerLost.text();
        let end = codes.iter().max_by_key(|(code, n)| (code.as_str() != lost, **n));
        self.ran.end = end.map_or("sum".into(), |(code, _)| code.clone());
    }
}
