//! One attempt at a node: the local half, the machine, the frames to the other seats.

use std::collections::BTreeSet;

use tacit_crypto::Statement;
use tacit_engine::Assignment;
use tacit_engine::control::Finished;
use tacit_engine::evidence::Saw;
use tacit_engine::session::Session;
use tacit_governance::{Cohort, JobSpec};
use tacit_jobs::kind::JointFuture;
use tacit_jobs::session::Vote;
use tacit_jobs::{JointContext, JointHalf, JointOutput};
use tacit_protocol::{
    Abort, Audience, Concealed, Disclosure, Effect, Event as MachineEvent, Machine, Message, Party, Setup, Usage,
};
use tacit_types::{Attempt, Code, Fault, JobId, Millis, Seat, Unit};

use super::node::Key;
use super::process::Alive;
use super::world::{Frame, Wake, Wire, World};
use crate::bug::Bug;
use crate::dice::Dice;
use crate::faults::FaultKind;
use crate::wiretap::phase_of;

/// A running attempt. Seats stand in the order of the owners.
pub(super) struct Run {
    pub attempt: Attempt,
    began: u64,
    spec: Statement<JobSpec>,
    session: Session,
    context: JointContext,
    machine: Option<Machine<JointOutput>>,
    timer: Option<u64>,
    input_sent: bool,
    gone: BTreeSet<Seat>,
}

/// A joint half that opens more than its job lists.
struct Leaking(Box<dyn JointHalf>);

impl JointHalf for Leaking {
    fn run(self: Box<Self>, mut party: Party, context: JointContext) -> JointFuture {
        let more = Disclosure { what: "rows".into(), to: Audience::Recipient, cells_max: 1 };
        let _ = party.reveal(&more, 1, Concealed::new(()));
        self.0.run(party, context)
    }
}

/// A joint half that meters something of its data.
struct Telltale(Box<dyn JointHalf>, u64);

impl JointHalf for Telltale {
    fn run(self: Box<Self>, party: Party, context: JointContext) -> JointFuture {
        let Telltale(half, secret) = *self;
        Box::pin(async move {
            let mut output = half.run(party, context).await?;
            output.cells_in += secret;
            Ok(output)
        })
    }
}

impl Run {
    /// What its machine has metered so far.
    pub fn usage(&self) -> Usage {
        self.machine.as_ref().map(Machine::usage).unwrap_or_default()
    }
}

impl World {
    pub fn begin_attempt(
        &mut self,
        i: usize,
        spec: Statement<JobSpec>,
        assignment: &Assignment,
        session: Session,
    ) -> Alive {
        let (id, attempt) = (assignment.job, assignment.attempt);
        // A node with an older disk does not know what it has begun.
        if !self.nodes[i].is_old() {
            let check = self.watch.an_attempt_is_begun_once(i, &id, attempt);
            self.found(check);
            let check = self.watch.who_masked_once_takes_part_in_no_other_attempt(i, &id, attempt);
            self.found(check);
        }
        let body = spec.body();
        let context = JointContext {
            session: session.hash,
            aggregator: session.aggregator,
            step_ms: assignment.step_ms,
            cohort: if self.has(Bug::IgnoreFloor) { Cohort { rows: 1, contributors: 1 } } else { body.cohort },
            recipient: body.recipient,
            owners: session.parties.iter().map(|(card, _)| card.root).collect(),
        };
        self.note(i + 1, || format!("begins {attempt} of job {}", id.short()));
        let run = Run {
            attempt,
            began: self.queue.now(),
            spec,
            session,
            context,
            machine: None,
            timer: None,
            input_sent: false,
            gone: BTreeSet::new(),
        };
        self.nodes[i].runs.insert(id, run);
        let pause = self.dice.between(1, 80);
        self.wake_after(i + 1, pause, Wake::Local(id, attempt.0));
        self.wake_after(i + 1, assignment.budget_ms, Wake::Deadline(id, attempt.0));
        for peer in (0..self.nodes.len()).filter(|p| *p != i) {
            if self.net.connection(i + 1, peer + 1).is_none() {
                self.peer_is_lost(i, peer + 1)?;
            }
        }
        Ok(())
    }

    fn running(&mut self, i: usize, id: &JobId, attempt: u32) -> Option<&mut Run> {
        self.nodes[i].runs.get_mut(id).filter(|run| run.attempt.0 == attempt)
    }

    pub fn local_half_is_done(&mut self, i: usize, id: JobId, attempt: u32) -> Alive {
        if self.running(i, &id, attempt).is_none_or(|run| run.machine.is_some()) {
            return Ok(());
        }
        let fails = self.faults.local_fault == Some(i);
        if fails {
            self.net.count(FaultKind::LocalFault);
        }
        let run = &self.nodes[i].runs[&id];
        let (body, context) = (run.spec.body(), run.context.clone());
        let plan = tacit_jobs::kind(&body.kind).and_then(|kind| kind.plan(&body.params, &tacit_jobs::Parts::of(body)));
        let made = plan.and_then(|plan| {
            let half = self.operator.data(&id).fold(plan.as_ref(), i, fails, self.has(Bug::FoldTwice))?;
            Ok((plan.disclosures(), half))
        });
        let (mut disclosures, mut half) = match made {
            Ok(made) => made,
            Err(fault) => return self.end(i, id, Err(Abort::Local(fault))),
        };
        if self.has(Bug::OpenUndisclosed) {
            disclosures.push(Disclosure { what: "rows".into(), to: Audience::Recipient, cells_max: 1 });
            half = Box::new(Leaking(half));
        }
        if self.has(Bug::MeterByInput) {
            half = Box::new(Telltale(half, self.operator.variant as u64));
        }
        let setup = Setup {
            job: id,
            attempt: Attempt(attempt),
            seat: Seat(i as u16),
            seating: run.session.seating.clone(),
            disclosures,
            stream_bytes_max: 1 << 34,
        };
        let now = Millis(self.queue.now() - run.began);
        let key = self.cast.owners[i].node.clone();
        let alike = Dice::new(self.options.seed, &format!("{id} {i}")).seed();
        let fresh = self.dice.seed();
        let deals = self.nodes[i].runs[&id].spec.body().dealer == Some(self.cast.owners[i].root.id());
        let seed = match self.options.bug {
            Some(Bug::ReuseSeed) => alike,
            Some(Bug::DealAlike) if deals => Dice::new(self.options.seed, "deal").seed(),
            _ => fresh,
        };
        let machine = Machine::new(setup, &seed, key, now, |party| half.run(party, context));
        let Some(run) = self.running(i, &id, attempt) else { return Ok(()) };
        run.machine = Some(machine);
        let gone: Vec<Seat> = run.gone.iter().copied().collect();
        self.machine_step(i, id, MachineEvent::Start)?;
        for seat in gone {
            self.machine_step(i, id, MachineEvent::Gone(seat))?;
        }
        for (from, frame) in self.nodes[i].early.remove(&(id, Attempt(attempt))).unwrap_or_default() {
            self.hand_over(i, id, from, frame)?;
        }
        Ok(())
    }

    pub fn take_frame(
        &mut self,
        from: usize,
        to: usize,
        ledger: u64,
        job: JobId,
        attempt: Attempt,
        frame: Frame,
    ) -> Alive {
        let i = to - 1;
        let known = self.nodes[i].job(&job).map_or(0, |kept| kept.attempt);
        let waits = match self.nodes[i].runs.get(&job) {
            Some(run) if run.attempt == attempt => run.machine.is_none(),
            _ => attempt.0 > known,
        };
        if waits {
            self.ledger.landed(ledger, true);
            self.nodes[i].early.entry((job, attempt)).or_default().push((from, frame));
            return Ok(());
        }
        let runs = self.running(i, &job, attempt.0).is_some();
        self.ledger.landed(ledger, runs);
        if runs { self.hand_over(i, job, from, frame) } else { Ok(()) }
    }

    fn hand_over(&mut self, i: usize, job: JobId, from: usize, frame: Frame) -> Alive {
        let seat = Seat(from as u16 - 1);
        match frame {
            // The driver knows whose connection it is.
            Frame::Message(message) if message.address.from == seat => {
                self.note(i + 1, || format!("receives {} from {seat}", phase_of(message.address.step)));
                self.machine_step(i, job, MachineEvent::Received(message))
            }
            Frame::Message(_) => Ok(()),
            Frame::Credit(consumed) => self.machine_step(i, job, MachineEvent::Credit { from: seat, consumed }),
        }
    }

    pub fn machine_timer(&mut self, i: usize, job: JobId, attempt: u32, at: u64) -> Alive {
        let Some(run) = self.running(i, &job, attempt).filter(|run| run.timer == Some(at)) else { return Ok(()) };
        run.timer = None;
        self.machine_step(i, job, MachineEvent::Timer)
    }

    pub fn deadline(&mut self, i: usize, job: JobId, attempt: u32) -> Alive {
        match self.running(i, &job, attempt) {
            Some(_) => self.cancel_attempt(i, &job, Code::JobDeadline),
            None => Ok(()),
        }
    }

    pub fn cancel_attempt(&mut self, i: usize, job: &JobId, code: Code) -> Alive {
        match self.nodes[i].runs.get(job) {
            Some(run) if run.machine.is_some() => self.machine_step(i, *job, MachineEvent::Cancel(code)),
            Some(_) => self.end(i, *job, Err(Abort::Cancelled(code))),
            None => Ok(()),
        }
    }

    /// The connection to another node is gone, and with it that seat for every attempt that runs.
    pub fn peer_is_lost(&mut self, i: usize, peer: usize) -> Alive {
        let seat = Seat(peer as u16 - 1);
        let running: Vec<JobId> = self.nodes[i].runs.keys().copied().collect();
        for job in running {
            if let Some(run) = self.nodes[i].runs.get_mut(&job) {
                run.gone.insert(seat);
            }
            self.machine_step(i, job, MachineEvent::Gone(seat))?;
        }
        Ok(())
    }

    fn machine_step(&mut self, i: usize, job: JobId, event: MachineEvent) -> Alive {
        let voted = self.nodes[i].job(&job).is_some_and(|job| job.kept.is_some());
        self.chapter(i + 1, if voted { "vote" } else { "attempt" });
        let mut pending = vec![event];
        while !pending.is_empty() {
            let now = self.queue.now();
            let Some(run) = self.nodes[i].runs.get_mut(&job) else { return Ok(()) };
            let Some(machine) = run.machine.as_mut() else { return Ok(()) };
            let effects = machine.step(Millis(now - run.began), pending.remove(0));
            let mut rest = effects.into_iter();
            while let Some(effect) = rest.next() {
                let done = self.carry_out(i, job, effect, &mut pending);
                if done.is_err() {
                    for effect in rest {
                        if let Effect::Send(message) = effect {
                            self.never_left(i, &message);
                        }
                    }
                    return done;
                }
            }
        }
        Ok(())
    }

    fn never_left(&mut self, i: usize, message: &Message) {
        let address = &message.address;
        let key = (address.job, address.attempt.0, i + 1, address.to.index() + 1);
        self.ledger.lost(key, message.body.len() as u64);
    }

    fn carry_out(&mut self, i: usize, job: JobId, effect: Effect, pending: &mut Vec<MachineEvent>) -> Alive {
        let attempt = self.nodes[i].runs[&job].attempt;
        match effect {
            Effect::Send(message) => self.send_message(i, job, attempt, message),
            Effect::Credit { to, consumed } => {
                let wire = Wire::Frame { job, attempt, frame: Frame::Credit(consumed) };
                self.send(i + 1, to.index() + 1, wire)
            }
            Effect::SetTimer(at) => {
                if let Some(run) = self.nodes[i].runs.get_mut(&job) {
                    let at = run.began + at.0;
                    run.timer = Some(at);
                    self.wake(i + 1, at, Wake::Machine(job, attempt.0, at));
                }
                Ok(())
            }
            Effect::Persist { ticket, record } => {
                let row = match Vote::of(&record) {
                    Some(vote) => {
                        self.chapter(i + 1, "vote");
                        self.voted(i, job, attempt, vote)
                    }
                    None => vec![(Key::Record(job, attempt.0, ticket), record)],
                };
                match self.options.bug {
                    Some(Bug::SkipPersist) => {}
                    Some(Bug::PersistWithoutSync) => self.nodes[i].disk.write(row),
                    _ => self.store(i, row)?,
                }
                self.vote_is_kept(i, job, attempt);
                pending.push(MachineEvent::Persisted { ticket });
                Ok(())
            }
            Effect::Opened { what, cells } => {
                let spec = self.nodes[i].runs[&job].spec.body().clone();
                let check = self.watch.nothing_is_opened_outside_the_spec(&spec, (i, job, attempt.0), &what, cells);
                self.found(check);
                Ok(())
            }
            Effect::Progress(step) => self.tell_progress(i, job, step),
            Effect::Host(_) => Ok(()),
            Effect::Finish => {
                let outcome = self.nodes[i].runs.get_mut(&job).and_then(|run| run.machine.as_mut()?.take_outcome());
                let lost = || Err(Abort::Local(Fault::new(Code::JobInternal, "no outcome")));
                self.end(i, job, outcome.unwrap_or_else(lost))
            }
        }
    }

    fn send_message(&mut self, i: usize, job: JobId, attempt: Attempt, message: Message) -> Alive {
        let message = self.said_falsely(i, message);
        let step = message.address.step;
        let input = tacit_jobs::session::is_input(step);
        if input && !self.nodes[i].runs[&job].input_sent {
            if !self.has(Bug::ForgetInputSent)
                && let Some(mut kept) = self.nodes[i].job(&job)
            {
                kept.input_sent = true;
                let marked = self.store(i, vec![super::node::job_row(job, &kept)]);
                if marked.is_err() {
                    self.never_left(i, &message);
                    return marked;
                }
            }
            if let Some(run) = self.nodes[i].runs.get_mut(&job) {
                run.input_sent = true;
            }
        }
        let to = message.address.to.index();
        self.note(i + 1, || format!("sends {} to node {to}, {} bytes", phase_of(step), message.body.len()));
        let check = self.check_message(i, job, attempt, &message, input);
        self.found(check);
        self.send(i + 1, to + 1, Wire::Frame { job, attempt, frame: Frame::Message(message) })
    }

    /// Enters into the books what the machine says that it sent.
    pub fn close_books(&mut self, i: usize, job: &JobId) {
        let Some(run) = self.nodes[i].runs.remove(job) else { return };
        let Some(machine) = run.machine else { return };
        let usage = machine.usage();
        for (to, bytes) in &usage.sent {
            self.ledger.sent((*job, run.attempt.0, i + 1, to.index() + 1), *bytes);
        }
        for (from, bytes) in &usage.received {
            let flow = self.ledger.flow(&(*job, run.attempt.0, from.index() + 1, i + 1));
            let check = crate::run::holds(*bytes <= flow.received, "bytes_sent_are_received_or_lost", || {
                format!("node {i} counted {bytes} bytes of {from}, delivered {}", flow.received)
            });
            self.found(check);
        }
    }

    /// An attempt has ended here.
    fn end(&mut self, i: usize, id: JobId, outcome: Result<JointOutput, Abort>) -> Alive {
        let Some(run) = self.nodes[i].runs.get(&id) else { return Ok(()) };
        let (attempt, input_sent) = (run.attempt, run.input_sent);
        let usage = run.usage();
        self.note(i + 1, || match &outcome {
            Ok(output) => format!("ends {attempt} with {:?}", output.survivors),
            Err(abort) => format!("ends {attempt}: {abort}"),
        });
        let saw = Saw::of(&usage, outcome.as_ref().err());
        let (finished, release) = match outcome {
            Ok(output) => {
                let metered = usage.units.get(&Unit::CellIn).copied().unwrap_or(0);
                if self.is_honest(i) {
                    let (at, session) = ((i, id, attempt), self.nodes[i].runs[&id].session.hash);
                    let check = self.watch.honest_nodes_end_an_attempt_alike(at, session, &output.survivors);
                    self.found(check);
                }
                let check = self.watch.the_meter_agrees(i, metered, &output, self.has(Bug::MeterByInput));
                self.found(check);
                let finished = Finished::Ok {
                    package: super::vote::package(output.package, output.made),
                    survivors: output.survivors,
                    cells_in: output.cells_in,
                    payload_bytes: output.payload_bytes,
                    cells_out: output.cells_out,
                    cells_suppressed: output.cells_suppressed,
                    opened: usage.opened.into_iter().collect(),
                };
                (finished, Some(output.release))
            }
            Err(abort) => {
                let guilty = |seat: Seat| !self.is_honest(seat.index());
                let check = self.watch.blame_names_only_a_guilty_seat(i, &abort, self.is_misled(), guilty);
                self.found(check);
                self.watch.heard_no_verdict(i, &id);
                (failed(&abort, input_sent), None)
            }
        };
        if self.is_honest(i) && !self.has(Bug::MeterByInput) {
            let check = self.who_voted_says_what_it_voted_for(i, &id, attempt, &finished);
            self.found(check);
        }
        let finished = self.counted_falsely(i, finished);
        self.close_books(i, &id);
        self.nodes[i].early.retain(|(job, early), _| *job != id || *early > attempt);
        self.finish(i, id, attempt, finished, saw, release)
    }
}

/// How a failed attempt is reported: of the owner's own half the others learn no more than that.
fn failed(abort: &Abort, input_sent: bool) -> Finished {
    let own = abort.code().text().starts_with("data.") || abort.code().text().starts_with("store.");
    Finished::Failed {
        code: if own { Code::JobLocal } else { abort.code() },
        step: abort.step(),
        seat: abort.seat(),
        hint: if own { "this party's local half failed".into() } else { abort.to_string() },
        input_sent,
    }
}
