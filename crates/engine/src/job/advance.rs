//! When a phase is over, and what follows.

use super::*;

use tacit_protocol::Offender;

/// The last step of a window's opening before its owners say that they are ready.
const BEFORE_READY: Step = Step::new(tacit_jobs::session::ONLINE_ROUND, 0);

impl Job {
    pub(super) fn advance(&mut self, now: UnixMillis) {
        match self.state.clone() {
            State::Admitting { until } => self.after_admitting(now, until),
            State::Queued { from, until } => self.after_queued(now, from, until),
            State::Reserving { until, queue_until } => self.after_reserving(now, until, queue_until),
            State::Running { until, .. } => self.after_running(now, until),
            State::Attesting { until } => {
                let waiting = self.parties.iter().any(|p| p.attestation.is_none() && self.must_attest(p));
                if !waiting || now >= until {
                    if self.parties.iter().any(|p| p.attestation.is_some()) {
                        self.state = State::Logging;
                    } else {
                        self.end_unreceipted(now, Fault::new(Code::JobUnreachable, "no party attested the record"));
                    }
                }
            }
            State::Logging => {}
            State::Releasing { until } => self.after_releasing(now, until),
            State::Closed { until } => {
                if now >= until {
                    self.parties.iter_mut().for_each(|p| p.closed = true);
                }
            }
        }
    }

    fn after_admitting(&mut self, now: UnixMillis, until: UnixMillis) {
        // One that was asked, before one that waits for the first to decide.
        let waiting = self.parties.iter().filter(|p| p.decision == Decision::Waiting);
        let waiting = waiting.max_by_key(|p| self.may_decide(p)).map(|p| p.member.name.clone());
        let refused = self.parties.iter().find_map(|p| match &p.decision {
            Decision::Refused { code, reason } => Some((*code, p.member.name.clone(), reason.clone())),
            _ => None,
        });
        let may_decide = self.parties.iter().any(|p| self.may_decide(p));
        if may_decide && now < until && !self.cancelled {
            return;
        }
        if let Some((code, party, reason)) = refused {
            let seat = self.seat_of(&party);
            let terminal = Terminal::Refused { code, party, reason };
            return self.settle(now, terminal, Status::Refused { code, seat });
        }
        if self.cancelled {
            return self.settle_cancelled(now);
        }
        match waiting {
            None => {
                // Every owner has what it needs of them; they need not be stored with every step.
                self.contracts.clear();
                self.state = State::Queued { from: now, until: now.plus(self.limits.queue_ms) };
            }
            Some(party) => self.fail(now, Code::JobUnreachable, Some(party), None, "it did not decide in time".into()),
        }
    }

    fn after_queued(&mut self, now: UnixMillis, from: UnixMillis, until: UnixMillis) {
        if self.cancelled {
            return self.settle_cancelled(now);
        }
        if now >= until {
            return self.fail(now, Code::JobBusy, None, None, "no slot was free on every node".into());
        }
        if now < from {
            return;
        }
        self.attempt += 1;
        self.stopping = None;
        for p in &mut self.parties {
            p.reserved = false;
            p.started = false;
            p.finished = None;
        }
        self.state = State::Reserving { until: now.plus(self.limits.reserve_ms), queue_until: until };
    }

    fn after_reserving(&mut self, now: UnixMillis, until: UnixMillis, queue_until: UnixMillis) {
        if self.cancelled {
            return self.settle_cancelled(now);
        }
        if self.parties.iter().all(|p| p.reserved) {
            // why: the bytes were verified when the job was submitted.
            let attempt_ms = JobSpec::verify(&self.bytes).map_or(60_000, |job| job.body().attempt_ms);
            // The aggregator changes with the attempt, so that one bad node does not fail them all.
            let order = self.seat_order();
            let turn = (self.attempt as usize - 1) % order.len().max(1);
            self.aggregator = order.get(turn).map(|i| self.parties[*i].member.node);
            self.ran = self.attempt;
            self.evidence.clear();
            self.links.clear();
            self.began_at = now;
            self.step = None;
            self.note(now, RUNNING, None, format!("attempt {}", self.attempt));
            self.state = State::Running { since: now, until: now.plus(attempt_ms) };
        } else if now >= until {
            let missing = self.parties.iter().find(|p| !p.reserved).map(|p| p.member.name.clone());
            if now >= queue_until {
                self.fail(now, Code::JobUnreachable, missing, None, "it did not reserve a slot in time".into());
            } else {
                // The attempt's number is spent: a node that was reserved and one that was not must
                // never meet under one number.
                self.state = State::Queued { from: now, until: queue_until };
            }
        }
    }

    fn after_running(&mut self, now: UnixMillis, until: UnixMillis) {
        let loss_ms = self.limits.loss_ms;
        let lost = |p: &PartyState| p.lost_at.is_some_and(|at| now >= at.plus(loss_ms));
        let survivors = self.survivors();
        // With a survivor list, the attempt waits only for those in it.
        let order = self.seat_order();
        let needed = |i: usize| match &survivors {
            Some(seats) => order.iter().position(|o| *o == i).is_some_and(|seat| seats.contains(&Seat(seat as u16))),
            None => true,
        };
        let failed = |p: &PartyState| matches!(p.finished, Some(Finished::Failed { .. }));
        let any_failed = self.parties.iter().any(failed);
        // There is a result only once all of those in it have voted, and each of them has kept what it reports of it.
        let all_voted = survivors.is_some()
            && !self.asked_online()
            && !self.parties.iter().enumerate().any(|(i, p)| needed(i) && failed(p));
        // One that is away may come back and say that its input has not left it: then all of them try again.
        let away_too_long = |p: &PartyState| match p.lost_at {
            Some(at) if self.may_repeat(now) || all_voted => now >= at.plus(self.limits.settle_ms),
            Some(_) => lost(p) || (any_failed && survivors.is_none()),
            None => false,
        };
        let waiting =
            self.parties.iter().enumerate().any(|(i, p)| p.finished.is_none() && needed(i) && !away_too_long(p));
        if waiting && now < until.plus(loss_ms) {
            self.stopping = self.stopping.or_else(|| self.hopeless(now));
            return;
        }
        let all_ok = (0..self.parties.len())
            .filter(|i| needed(*i))
            .all(|i| matches!(self.parties[i].finished, Some(Finished::Ok { .. })));
        if survivors.is_some() && all_ok {
            return self.settle(now, Terminal::Succeeded, Status::Ok);
        }
        self.attempt_failed(now);
    }

    /// Whether the job opens a window, of which every seat reports the summary.
    pub(super) fn asked_online(&self) -> bool {
        // why: the bytes were verified when the job was submitted.
        JobSpec::verify(&self.bytes).is_ok_and(|job| job.body().asker.is_some())
    }

    /// The survivors as the aggregator reports them, or any seat of a window.
    pub(super) fn survivors(&self) -> Option<Vec<Seat>> {
        self.parties.iter().find_map(|p| match &p.finished {
            Some(Finished::Ok { package: Some(_), survivors, .. }) => Some(survivors.clone()),
            _ => None,
        })
    }

    /// A failed attempt is repeated when nobody's input had left and the cause may pass.
    fn attempt_failed(&mut self, now: UnixMillis) {
        type Failure = (usize, Code, Option<Step>, Option<Seat>, String, bool);
        let mut failures: Vec<Failure> = self
            .parties
            .iter()
            .enumerate()
            .filter_map(|(i, p)| match &p.finished {
                Some(Finished::Failed { code, step, seat, hint, input_sent, .. }) => {
                    Some((i, *code, *step, *seat, hint.clone(), *input_sent))
                }
                _ => None,
            })
            .collect();
        // Who reports first is nearest to the cause; the others may have been told to stop.
        let reported = |i: usize| {
            let name = Some(&self.parties[i].member.name);
            self.timeline.iter().rposition(|e| e.what == FAILED && e.party.as_ref() == name).unwrap_or(usize::MAX)
        };
        failures.sort_by_key(|f| (f.3.is_none(), reported(f.0)));
        let silent = self.parties.iter().position(|p| p.finished.is_none());
        let ended_well = |p: &PartyState| matches!(p.finished, Some(Finished::Ok { .. }));
        let input_sent =
            failures.iter().any(|f| f.5) || (!self.sums_constants() && self.parties.iter().any(ended_well));
        let lost = |code: Code| matches!(code, Code::JobPeerLost | Code::JobDeadline | Code::JobCancelled);
        // The most telling cause: misbehaviour or a local fault before a mere loss.
        let cause = failures
            .iter()
            .find(|f| !lost(f.1))
            .or_else(|| failures.iter().find(|f| f.1 != Code::JobCancelled))
            .or(failures.first());
        if self.cancelled {
            return self.settle_cancelled(now);
        }
        let (code, party, step, hint) = match (cause, silent) {
            (Some((i, code, step, seat, hint, _)), _) => {
                let order = self.seat_order();
                let named = seat.and_then(|s| order.get(s.index()).copied()).unwrap_or(*i);
                let named = if lost(*code) { self.first_lost(named, &order) } else { named };
                (*code, Some(self.parties[named].member.name.clone()), *step, hint.clone())
            }
            (None, Some(i)) => {
                (Code::JobPeerLost, Some(self.parties[i].member.name.clone()), self.step, "its node was lost".into())
            }
            (None, None) => (Code::JobInternal, None, None, "the parties' reports do not fit together".into()),
        };
        let (code, party) = match silent {
            Some(i) if code == Code::JobBusy => (Code::JobPeerLost, Some(self.parties[i].member.name.clone())),
            _ => (code, party),
        };
        // A slot that was lost before the attempt began, as in a restart, is asked for again as long as the
        // job is valid; what failed while it ran, a few times.
        let busy = code == Code::JobBusy && now < self.expires_at();
        self.failures += u32::from(!busy);
        let passing = busy || (matches!(code, Code::JobPeerLost | Code::JobDeadline) && self.failures < ATTEMPTS_MAX);
        if passing && !input_sent && silent.is_none() {
            self.note(now, "again", party, format!("{code}: {hint}"));
            let from = now.plus(if busy { self.busy_pause() } else { 100 });
            self.state = State::Queued { from, until: now.plus(self.limits.queue_ms) };
            return;
        }
        self.fail(now, code, party, step, hint);
    }

    /// The party at the beginning of a chain of losses: one that was lost takes those along who wait for it, and they
    /// others who wait for them. Of those who say it of each other, the one of whom it was said first.
    fn first_lost(&self, named: usize, order: &[usize]) -> usize {
        let mut passed = vec![named];
        loop {
            let last = passed.last().and_then(|party| self.parties.get(*party)).and_then(|p| p.finished.as_ref());
            let before = match last {
                Some(Finished::Failed { seat: Some(seat), .. }) => order.get(seat.index()),
                _ => None,
            };
            match before {
                Some(party) if passed.contains(party) => return named,
                Some(party) => passed.push(*party),
                None => return passed.last().copied().unwrap_or(named),
            }
        }
    }

    /// Doubles with each attempt, spread by the job's own id.
    fn busy_pause(&self) -> u64 {
        let whole = (100u64 << self.attempt.min(16)).min(BUSY_PAUSE_MS_MAX);
        whole / 2 + whole / 2 * u64::from(self.id.0[2]) / 255
    }

    fn expires_at(&self) -> UnixMillis {
        // why: the bytes were verified when the job was submitted.
        JobSpec::verify(&self.bytes).map_or(UnixMillis(0), |job| job.body().expires_at)
    }

    fn fail(&mut self, now: UnixMillis, code: Code, party: Option<Name>, step: Option<Step>, hint: String) {
        let seat = party.as_ref().and_then(|name| self.seat_of(name)).filter(|seat| self.may_name(code, *seat));
        self.settle(now, Terminal::Failed { code, party, step, hint }, Status::Aborted { code, step, seat });
    }

    fn seat_of(&self, name: &Name) -> Option<Seat> {
        self.seat_order().iter().position(|i| self.parties[*i].member.name == *name).map(|i| Seat(i as u16))
    }

    /// Whether the record may name a party as the cause, where the others sign it: who is said to have cheated only when
    /// it is convicted, of two who hold different jobs neither, and nobody who ended the attempt well.
    fn may_name(&self, code: Code, seat: Seat) -> bool {
        let ended_well = |i: &usize| matches!(self.parties[*i].finished, Some(Finished::Ok { .. }));
        match code {
            Code::JobMisbehaved => self.evidence.iter().any(|b| b.offender == Offender::Seat(seat)),
            Code::JobDisagreement => false,
            _ => !self.seat_order().get(seat.index()).is_some_and(ended_well),
        }
    }

    fn settle_cancelled(&mut self, now: UnixMillis) {
        let status = Status::Aborted { code: Code::JobCancelled, step: self.step, seat: None };
        // A store of before does not have who it was.
        let by =
            self.timeline.iter().find(|entry| entry.what == super::CANCELLING).and_then(|entry| entry.party.clone());
        let terminal = by.map_or(Terminal::Cancelled, |party| Terminal::CancelledBy { party, step: self.step });
        self.settle(now, terminal, status);
    }

    /// Fixes how the job ends and has it attested.
    fn settle(&mut self, now: UnixMillis, terminal: Terminal, status: Status) {
        let Ok(job) = JobSpec::verify(&self.bytes) else { return };
        let ok = status == Status::Ok;
        let survivors = self.survivors().unwrap_or_default();
        let order = self.seat_order();
        let parts = order
            .iter()
            .enumerate()
            .map(|(seat, i)| {
                let p = &self.parties[*i];
                let standing = match (&p.decision, &p.finished) {
                    (Decision::Waiting, _) => Standing::Silent,
                    _ if ok && survivors.contains(&Seat(seat as u16)) => Standing::TookPart,
                    _ if ok => Standing::Dropped { step: self.step.unwrap_or(Step(0)) },
                    _ if self.attempt > 0 && p.finished.is_none() && p.lost_at.is_some() => {
                        Standing::Dropped { step: self.step.unwrap_or(Step(0)) }
                    }
                    _ => Standing::TookPart,
                };
                Part {
                    name: p.member.name.clone(),
                    node: p.member.node,
                    root: p.member.root,
                    standing,
                    finished: p.finished.clone(),
                    links: self.links.iter().find(|(node, _)| *node == p.member.node).map(|(_, links)| links.clone()),
                }
            })
            .collect();
        let record = record::assemble(Ended {
            job: &job,
            origin: &self.origin,
            attempt: Attempt(self.ran),
            status,
            parties: parts,
            span: (self.began_at, now),
            evidence: &self.evidence,
        });
        // Nobody attests what no leaf can hold. The use is said, its result stays closed, and nothing is billed.
        if let Some(fault) = record::fits(&record).err().filter(|_| ok) {
            let terminal = Terminal::Failed { code: fault.code, party: None, step: None, hint: fault.what };
            return self.settle(now, terminal, Status::Aborted { code: fault.code, step: None, seat: None });
        }
        self.record = Some(Blob(tacit_crypto::cbor::encode(&record)));
        self.note(now, "settling", None, terminal.word());
        let disputed = record.disputed().count();
        if disputed > 0 {
            self.note(now, "disputed", None, format!("{disputed} usage lines on which observers differ"));
        }
        self.terminal = Some(terminal);
        self.state = State::Attesting { until: now.plus(self.limits.settle_ms) };
    }

    /// A record that nobody signed, or that no leaf can hold, becomes no receipt. Without one there is
    /// no result.
    pub(super) fn end_unreceipted(&mut self, now: UnixMillis, fault: Fault) {
        self.note(now, "not_receipted", None, fault.to_string());
        if self.terminal == Some(Terminal::Succeeded) {
            self.terminal = Some(Terminal::Failed { code: fault.code, party: None, step: None, hint: fault.what });
        }
        self.close(now);
    }

    fn close(&mut self, now: UnixMillis) {
        if self.ended_at.is_none() {
            self.ended_at = Some(now);
            self.note(now, "ended", None, self.terminal.as_ref().map_or("", Terminal::word));
        }
        self.state = State::Closed { until: now.plus(self.limits.close_ms) };
    }

    pub(super) fn take_capacity(&mut self, now: UnixMillis, free: bool) {
        match (&self.state, free) {
            (State::Queued { from, until }, true) if *from > now => {
                self.state = State::Queued { from: now, until: *until };
            }
            (State::Reserving { queue_until, .. }, false) if self.parties.iter().all(|p| !p.reserved) => {
                self.attempt = self.attempt.saturating_sub(1);
                self.state = State::Queued { from: *queue_until, until: *queue_until };
            }
            _ => {}
        }
    }

    /// Why the others need not go on: the operator cancelled, a seat could not be taken, or there is no
    /// result without one that was lost.
    fn hopeless(&self, now: UnixMillis) -> Option<Code> {
        if self.cancelled {
            return Some(Code::JobCancelled);
        }
        // The seats agree before any input moves: one that never began keeps all of them waiting.
        let refused = self.parties.iter().filter(|p| !p.started).find_map(|p| match &p.finished {
            Some(Finished::Failed { code, .. }) => Some(*code),
            _ => None,
        });
        if refused.is_some() {
            return refused;
        }
        // Who is left of a window settles it among themselves, whoever was lost or came back. But one that failed before
        // it was ready opened none, and the others would wait for it.
        if self.asked_online() {
            return self.parties.iter().find_map(|p| match &p.finished {
                Some(Finished::Failed { code, step: Some(step), .. }) if *step <= BEFORE_READY => Some(*code),
                _ => None,
            });
        }
        let everyone = self.needs_everyone();
        let needed = self.parties.iter().filter(|p| everyone || Some(p.member.node) == self.aggregator);
        needed.into_iter().find_map(|p| match &p.finished {
            Some(Finished::Failed { code, .. }) => Some(*code),
            None if p.lost_at.is_some_and(|at| now >= at.plus(self.limits.loss_ms)) => Some(Code::JobPeerLost),
            _ => None,
        })
    }

    /// Whether the loss of any one party is the end of an attempt: shares are of no use without each of them, nor is a list of
    /// keys without the others'.
    fn needs_everyone(&self) -> bool {
        // why: the bytes were verified when the job was submitted.
        JobSpec::verify(&self.bytes).is_ok_and(|job| {
            let plan = record::plan(job.body());
            job.body().dealer.is_some() || plan.is_some_and(|plan| plan.aligns().is_some())
        })
    }

    pub(super) fn must_attest(&self, p: &PartyState) -> bool {
        self.record().and_then(|r| r.party(&p.member.node).map(|e| e.standing == Standing::TookPart)).unwrap_or(false)
    }

    /// Whether the end waits for it to have seen the receipt: with a result for everyone who took part, of
    /// whom each holds a part of its key; without one for those who attested.
    fn must_release(&self, p: &PartyState) -> bool {
        let succeeded = self.terminal == Some(Terminal::Succeeded);
        p.attestation.is_some() || (succeeded && self.must_attest(p))
    }

    /// The time that the parties have to attest, or to take the receipt, begins anew.
    pub(super) fn take_resumed(&mut self, now: UnixMillis) {
        let fresh = now.plus(self.limits.settle_ms);
        if let State::Attesting { until } | State::Releasing { until } = &mut self.state {
            *until = fresh.max(*until);
        }
    }

    /// Whether an attempt can be repeated after some have ended it well: those have voted, and the verdict or the vote of another
    /// was lost.
    fn sums_constants(&self) -> bool {
        // why: the bytes were verified when the job was submitted.
        JobSpec::verify(&self.bytes).is_ok_and(|job| record::plan(job.body()).is_some_and(|plan| plan.sums_constants()))
    }

    /// Whether the attempt, should it fail now, can be repeated: as far as is known nobody's input has left,
    /// there was no more than a loss, and the job is valid.
    fn may_repeat(&self, now: UnixMillis) -> bool {
        let passing = |p: &PartyState| match &p.finished {
            Some(Finished::Failed { code, input_sent, .. }) => {
                !input_sent
                    && matches!(code, Code::JobPeerLost | Code::JobDeadline | Code::JobCancelled | Code::JobBusy)
            }
            Some(Finished::Ok { .. }) => self.sums_constants(),
            None => true,
        };
        !self.cancelled && now < self.expires_at() && self.parties.iter().all(passing)
    }

    fn after_releasing(&mut self, now: UnixMillis, until: UnixMillis) {
        let waiting: Vec<usize> = (0..self.parties.len())
            .filter(|i| self.parties[*i].release.is_none() && self.must_release(&self.parties[*i]))
            .collect();
        let succeeded = self.terminal == Some(Terminal::Succeeded);
        if !waiting.is_empty() && now < until {
            return;
        }
        if let (true, Some(i)) = (succeeded, waiting.first()) {
            let party = self.parties[*i].member.name.clone();
            let hint = "it did not release its part of the result's key".to_owned();
            return self.end_unopened(now, Code::JobPeerLost, party, hint);
        }
        self.close(now);
    }

    /// There is a receipt of a result that nobody can open, and who it is that keeps it so.
    pub(super) fn end_unopened(&mut self, now: UnixMillis, code: Code, party: Name, hint: String) {
        self.terminal = Some(Terminal::Failed { code, party: Some(party), step: None, hint });
        self.close(now);
    }
}
