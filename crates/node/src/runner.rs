//! One attempt: the local half, the machine, and the streams to the other seats.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tacit_crypto::{Secret, Statement};
use tacit_engine::ToCoordinator;
use tacit_engine::control::{Assignment, Finished, PACKAGE_INLINE_BYTES_MAX, Package};
use tacit_engine::evidence::{self, Saw};
use tacit_engine::session::Session;
use tacit_governance::JobSpec;
use tacit_jobs::score::online::host::{Tell, hear};
use tacit_jobs::session::Vote;
use tacit_jobs::{JointContext, JointHalf, JointOutput, Plan};
use tacit_net::Address;
use tacit_net::mesh::Keep;
use tacit_protocol::{Abort, Blame, Effect, Event, HashAhead, Machine, Setup, Usage};
use tacit_receipts::LinkScope;
use tacit_types::wire::Blob;
use tacit_types::{Code, Fault, Millis, NodeId, Seat, Step, wire};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::align;
use crate::asked::Counter;
use crate::client;
use crate::daemon::{Inner, LEDGER_PAUSE};
use crate::datasets;
use crate::difference;
use crate::egress::Egress;
use crate::link::{LinkFrame, StreamHeader};
use crate::online::HostLink;
use crate::peers::FRAMES_PER_SEAT_MAX;
use crate::store::{LinkRow, WindowRow};

mod asserted;
mod end;
mod links;
mod material;
mod seal;
mod shares;
mod vote;

use asserted::Asserted;
use end::{End, store};
use links::{AbortOnDrop, Arrived, Writer, open_link, take_streams};
use seal::LinkLog;

/// The largest protocol message that a peer may stream to this node.
const STREAM_BYTES_MAX: u64 = 1 << 34;

/// Pause before a full disk is tried again.
const FULL_RETRY: Duration = Duration::from_millis(500);
/// Pause before a result is brought to the coordinator again.
const DEPOSIT_RETRY: Duration = Duration::from_millis(500);

/// Runs an attempt and stores how it ended.
pub(crate) async fn run(
    inner: Arc<Inner>,
    job: Statement<JobSpec>,
    assignment: Assignment,
    session: Session,
    mut cancel: mpsc::Receiver<Code>,
) {
    let (id, attempt) = (assignment.job, assignment.attempt);
    let _held = Held { inner: inner.clone(), job: id };
    let deals = job.body().dealer == Some(inner.keys.root.id());
    let mut attempt_run = AttemptRun::new(inner.clone(), &assignment, session, deals);
    let outcome = match attempt_run.run(&job, &assignment, &mut cancel).await {
        Ok(mut output) => {
            let until = attempt_run.began + Duration::from_millis(assignment.budget_ms.min(job.body().attempt_ms));
            attempt_run
                .package(output.package.take(), until)
                .await
                .map(|package| (output, package))
                .map_err(Abort::Local)
        }
        Err(abort) => Err(abort),
    };
    let input_sent = attempt_run.input_sent;
    let mut saw = Saw::of(&attempt_run.usage, outcome.as_ref().err());
    // What convicts nobody is this node's own word, and stands in its log.
    let seating = &attempt_run.session.seating;
    evidence::convicting_first(seating, &mut saw.blames);
    let staying = evidence::staying(seating, &saw.blames);
    let proof: Vec<Blame> =
        saw.blames.iter().filter(|blame| tacit_jobs::evidence::verify(seating, blame)).cloned().collect();
    let opened = attempt_run.usage.opened.clone().into_iter().collect();
    let mut each = Vec::new();
    let (finished, release) = match outcome {
        Ok((mut output, package)) => {
            each = std::mem::take(&mut output.each);
            finished_ok(output, package, opened)
        }
        Err(abort) => {
            // With the cause, which the others are not told where it is this node's own.
            tracing::warn!(job = %id.short(), attempt = attempt.0, code = %abort.code(), cause = %abort, "the attempt failed");
            let mut failed = finished_failed(&abort, input_sent);
            if let Finished::Failed { hint, .. } = &mut failed {
                staying.iter().for_each(|blame| hint.push_str(&stays(blame)));
            }
            (failed, None)
        }
    };
    let egress = attempt_run.egress.take();
    let window = attempt_run.window.take();
    let rows = tacit_engine::record::window(job.body(), &finished).map(|w| w.rows);
    for blame in &saw.blames {
        tracing::warn!(job = %id.short(), attempt = attempt.0, %blame, "a party broke the protocol");
    }
    for blame in staying {
        tracing::warn!(job = %id.short(), attempt = attempt.0, %blame, "{}", stays(blame).trim_start_matches("; "));
    }
    let asserted = attempt_run.asserted.row(id, attempt);
    let ended = End {
        finished: &finished,
        asserted: &asserted,
        links: &attempt_run.links,
        saw: &saw,
        proof: &proof,
        release: &release,
        each: &each,
        egress: &egress,
        window: window.as_ref().zip(rows),
    };
    // A disk that is full now may have room later, and the others wait for the report.
    while let Err(fault) = store(&inner, &id, attempt, &ended).await {
        tracing::error!(%fault, job = %id.short(), "the end of an attempt could not be stored");
        if !matches!(fault.code, Code::StoreFull | Code::StoreLocked) {
            return;
        }
        tokio::time::sleep(FULL_RETRY).await;
    }
}

/// Said where the evidence of a blame is too long for a report: the receipt does not name the offender.
fn stays(blame: &Blame) -> String {
    let bytes = evidence::encode(blame).len();
    format!("; {} bytes of evidence are more than a receipt is given: this node keeps them", bytes)
}

/// The slot of a running attempt. It is free again however the attempt ends.
struct Held {
    inner: Arc<Inner>,
    job: tacit_types::JobId,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.inner.slots.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.job);
        self.inner.reports.notify_one();
    }
}

/// The sealed result as it is reported. One that is too large for a report is brought to the coordinator first; while
/// that is away, until the attempt is over.
async fn packaged(
    inner: &Inner,
    id: &tacit_types::JobId,
    package: Option<Vec<u8>>,
    until: Instant,
) -> Result<Option<Package>, Fault> {
    let Some(bytes) = package else { return Ok(None) };
    if bytes.len() <= PACKAGE_INLINE_BYTES_MAX {
        return Ok(Some(Package::Inline(Blob(bytes))));
    }
    loop {
        let connection = inner.to_coordinator.borrow().clone();
        let brought = match connection {
            Some(connection) => client::deposit(&connection, &inner.ledger, Some(*id), &bytes).await,
            None => Err(Fault::new(Code::NetUnreachable, "the coordinator, who keeps large results")),
        };
        match brought {
            Ok(hash) => return Ok(Some(Package::Deposited { hash, bytes: bytes.len() as u64 })),
            Err(fault) if passes(fault.code) && Instant::now() + DEPOSIT_RETRY < until => {
                tracing::debug!(%fault, "the result could not be brought to the coordinator yet");
                tokio::time::sleep(DEPOSIT_RETRY).await;
            }
            Err(fault) => return Err(fault),
        }
    }
}

/// Whether a deposit that failed like this may work later.
fn passes(code: Code) -> bool {
    code.text().starts_with("net.") || matches!(code, Code::StoreFull | Code::JobBusy)
}

fn finished_ok(
    output: JointOutput,
    package: Option<Package>,
    opened: Vec<(String, u64)>,
) -> (Finished, Option<Vec<u8>>) {
    let finished = Finished::Ok {
        package: package.or(output.made.map(|hash| Package::Known { hash })),
        survivors: output.survivors,
        cells_in: output.cells_in,
        payload_bytes: output.payload_bytes,
        cells_out: output.cells_out,
        cells_suppressed: output.cells_suppressed,
        opened,
    };
    (finished, Some(output.release))
}

fn finished_failed(abort: &Abort, input_sent: bool) -> Finished {
    // What went wrong in the owner's own local half may speak of its data: the others learn that something did. Of its
    // model they learn the code, and no number of it.
    let speaks = |code: Code| match code.text().split_once('.') {
        Some(("data" | "store", _)) => {
            Some((Code::JobLocal, "this party's local half failed; its own log has the cause"))
        }
        Some(("model", _)) => Some((code, "this party's own model does not fit the job; its own log says why")),
        _ if code == Code::RefusedModel => {
            Some((code, "this party has no model that fits the job; its own log says why"))
        }
        _ => None,
    };
    let (code, hint) = match abort {
        Abort::Local(fault) => match speaks(fault.code) {
            Some((code, hint)) => (code, hint.to_owned()),
            None => (abort.code(), abort.to_string()),
        },
        other => (other.code(), other.to_string()),
    };
    Finished::Failed { code, step: abort.step(), seat: abort.seat(), hint, input_sent }
}

struct AttemptRun {
    inner: Arc<Inner>,
    session: Session,
    header: StreamHeader,
    began: Instant,
    egress: Egress,
    ledger_written: Instant,
    input_sent: bool,
    usage: Usage,
    ahead: Arc<HashAhead>,
    /// The callers' end of a window, at its recipient.
    host: Option<HostLink>,
    /// What counts the calls of a window, at an owner.
    counter: Option<Counter>,
    /// Whether calls are answered during the run: nothing may hold the machine up then.
    serves: bool,
    /// Whether a step may take as long as a batch of keys, or the product of whole columns.
    aligns: bool,
    /// Whether what it gives to the last sum tells nothing of its rows.
    constant: bool,
    /// A write of the ledger that is under way.
    ledger: Option<tokio::task::JoinHandle<()>>,
    window: Option<WindowRow>,
    /// How long a step may take, in milliseconds.
    step_ms: u64,
    /// When it has to be over.
    deadline: Instant,
    /// Whether it was told to stop, or is over time.
    stopped: bool,
    /// A large result that the coordinator has already.
    brought: Option<Package>,
    /// What this node counts of itself.
    asserted: Asserted,
    /// What went over its links, once the protocol is through.
    links: Vec<LinkRow>,
}

impl AttemptRun {
    fn new(inner: Arc<Inner>, assignment: &Assignment, session: Session, deals: bool) -> Self {
        let ahead = Arc::new(HashAhead::new(session.seating.chunk_bytes()));
        Self {
            inner,
            session,
            ahead,
            header: StreamHeader { job: assignment.job, attempt: assignment.attempt },
            began: Instant::now(),
            egress: Egress::new(deals),
            ledger_written: Instant::now(),
            input_sent: false,
            usage: Usage::default(),
            host: None,
            counter: None,
            serves: false,
            aligns: false,
            constant: false,
            ledger: None,
            window: None,
            step_ms: assignment.step_ms,
            deadline: Instant::now(),
            stopped: false,
            brought: None,
            asserted: Asserted::default(),
            links: Vec::new(),
        }
    }

    /// The sealed result as it is reported.
    async fn package(&mut self, package: Option<Vec<u8>>, until: Instant) -> Result<Option<Package>, Fault> {
        let known = package.as_ref().zip(self.brought.take());
        match known.filter(|(bytes, brought)| tacit_crypto::sha256(bytes) == brought.hash()) {
            Some((_, brought)) => Ok(Some(brought)),
            None => packaged(&self.inner, &self.header.job, package, until).await,
        }
    }

    fn now(&self) -> Millis {
        Millis(self.began.elapsed().as_millis() as u64)
    }

    async fn run(
        &mut self,
        job: &Statement<JobSpec>,
        assignment: &Assignment,
        cancel: &mut mpsc::Receiver<Code>,
    ) -> Result<JointOutput, Abort> {
        let spec = job.body();
        self.serves = spec.asker.is_some();
        if spec.asker == Some(self.inner.keys.root.id()) {
            self.host = Some(self.inner.online.link(&self.header.job, self.header.attempt.0));
        } else if self.serves && spec.dealer != Some(self.inner.keys.root.id()) {
            let (inner, owner) = (&self.inner, self.inner.keys.root.id());
            self.counter = Counter::new(&inner.store, &inner.paces, &self.header.job, spec, &owner).await?;
        }
        let plan = tacit_jobs::kind(&spec.kind)?.plan(&spec.params, &tacit_jobs::Parts::of(spec))?;
        self.aligns = plan.aligns().is_some() || plan.on_shares().is_some();
        self.constant = plan.sums_constants();
        let (streams, _seat) = self.inner.board.open(self.header.job, self.header.attempt);
        let (events, received) = mpsc::channel(self.seats().len().saturating_mul(FRAMES_PER_SEAT_MAX).max(1));
        let writers = self.open_links(&events);
        let logs = self.seats().into_iter().zip(&writers);
        let logs = logs.filter_map(|((node, seat), writer)| Some((seat, node, writer.as_ref()?.log.clone()))).collect();
        let incoming = tokio::spawn(take_streams(streams, logs, events.clone(), self.ahead.clone()));
        let _guard = AbortOnDrop(incoming);
        // The operator has signed how long an attempt may take; who schedules it may only ask for less.
        let budget_ms = assignment.budget_ms.min(spec.attempt_ms);
        let budget = Duration::from_millis(budget_ms);
        (self.step_ms, self.deadline) = (assignment.step_ms.min(budget_ms), self.began + budget);
        let local = self.local_half(spec, plan.as_ref());
        let (half, asserted) = tokio::select! {
            half = local => half?,
            code = cancel.recv() => return Err(Abort::Cancelled(code.unwrap_or(Code::JobCancelled))),
            () = tokio::time::sleep(budget) => return Err(Abort::Cancelled(Code::JobDeadline)),
        };
        self.asserted = asserted;
        let context = JointContext {
            session: self.session.hash,
            aggregator: self.session.aggregator,
            step_ms: self.step_ms,
            cohort: spec.cohort,
            recipient: spec.recipient,
            owners: self.session.parties.iter().map(|(card, _)| card.root).collect(),
        };
        let machine = self.machine(plan.as_ref(), half, context)?;
        tracing::debug!(job = %self.header.job.short(), ms = self.now().0, "the local half is done");
        self.drive(machine, received, writers, cancel).await
    }

    fn seats(&self) -> Vec<(NodeId, Seat)> {
        let seating = &self.session.seating;
        seating.seats().filter_map(|seat| seating.node(seat).map(|node| (node, seat))).collect()
    }

    /// Opens a stream to each other seat, in tasks of their own; what is sent before a stream is up
    /// waits in its queue. The protocol's window bounds the queues.
    fn open_links(&mut self, events: &mpsc::Sender<Arrived>) -> Vec<Option<Writer>> {
        let mut writers = Vec::new();
        let StreamHeader { job, attempt } = self.header;
        let (scope, here) = (LinkScope { job, attempt, session: self.session.hash }, self.inner.keys.node_id);
        for (seat, (card, address)) in self.session.parties.iter().enumerate() {
            let seat = Seat(seat as u16);
            if seat == self.session.seat {
                writers.push(None);
                continue;
            }
            self.inner.known.insert(card.node);
            if let Ok(address) = address.parse::<Address>() {
                self.inner.mesh.set_peer(card.node, Some(address), Keep::OnDemand);
            }
            self.egress.add_control(card.node, wire::encode(&self.header).len() as u64);
            let log = LinkLog::new(scope, here, card.node, self.inner.signing.clone());
            writers.push(Some(open_link(&self.inner, (card.node, seat), self.header, log, events)));
        }
        writers
    }

    /// Reads the owner's rows: consent rule first, then view, filter, fold. Beside the half, what was counted of it.
    async fn local_half(&self, spec: &JobSpec, plan: &dyn Plan) -> Result<(Box<dyn JointHalf>, Asserted), Fault> {
        let mut asserted = Asserted::default();
        if let Some(on) = plan.on_shares() {
            return self.shares_half(spec, plan, on).await;
        }
        let owner = self.inner.keys.root.id();
        let mut material = self.material(spec, &owner).await?;
        let provided = match spec.provider(&owner) {
            Some(provider) => {
                let row = datasets::find(&self.inner.store, &provider.dataset).await?;
                Some((provider, datasets::kept(&row)?))
            }
            None => None,
        };
        let found = match (plan.rows_of(), &provided) {
            (Some(job), Some((_, kept))) => Some(self.found(spec, plan, (&job, kept), &mut material).await?),
            _ => None,
        };
        let mut fold = match plan.aligns() {
            None => plan.fold(&owner, material)?,
            Some(facts) => {
                let (store, job) = (&self.inner.store, &self.header.job);
                let lends = (self.inner.home.as_path(), self.inner.config.align);
                let desk = align::desk(store, lends, &owner, job, spec, &facts).await?;
                plan.fold_at(&owner, material, desk)?
            }
        };
        if self.counter.is_some() {
            fold.count_keys();
        }
        // Who deals, or has a model alone, reads no rows.
        let Some((provider, kept)) = provided else {
            let half = asserted.timed(|| fold.finish());
            return Ok((half, asserted));
        };
        let dataset = tacit_data::Dataset::open(kept.registration.clone(), &self.inner.config.sources).await?;
        dataset.check().await?;
        let mut query = plan.local_query(&owner, &provider.view);
        let (store, job) = (&self.inner.store, &self.header.job);
        let read = (provider.dataset, &dataset);
        let mut watch = difference::Watch::new(store, spec, &kept, read, fold.sets(), &mut query).await?;
        // Before the alignments, which take away again what they alone have read.
        if let Some(found) = &found {
            found.widen(&mut query);
        }
        let narrowed = align::Narrowed::new(&self.inner.home, &kept.aligned, &mut query)?;
        let mut limits = tacit_data::Limits::default();
        // By the rows of the view, before the filter: a limit on what is left would tell how many that is.
        limits.rows_max = limits.rows_max.min(plan.facts(&owner).rows_max.unwrap_or(u64::MAX));
        let take = |batch| {
            asserted.timed(|| {
                let batch = match &found {
                    Some(found) => found.mark(batch)?,
                    None => batch,
                };
                match (narrowed.take(batch)?, &mut watch) {
                    (batch, Some(watch)) => watch.take(batch, fold.as_mut()),
                    (batch, None) => fold.take(&batch),
                }
            })
        };
        let stats = dataset.run(&query, kept.rule(&spec.purpose).as_ref(), &limits, take).await?;
        if let Some(watch) = watch {
            watch.decide(store, job, crate::now()).await?;
        }
        let job = job.short();
        if stats.not_finite > 0 {
            tracing::warn!(%job, values = stats.not_finite, "a view gave NaN or infinity, which counts as no value");
        }
        for note in fold.notes() {
            tracing::warn!(%job, "{note}");
        }
        asserted.read(&stats);
        let half = asserted.timed(|| fold.finish());
        Ok((half, asserted))
    }

    fn machine(
        &self,
        plan: &dyn Plan,
        half: Box<dyn JointHalf>,
        context: JointContext,
    ) -> Result<Machine<JointOutput>, Fault> {
        let setup = Setup {
            job: self.header.job,
            attempt: self.header.attempt,
            seat: self.session.seat,
            seating: self.session.seating.clone(),
            disclosures: plan.disclosures(),
            stream_bytes_max: STREAM_BYTES_MAX,
        };
        let seed = Secret::new(crate::os_rng()?.bytes());
        let key = self.inner.signing.clone();
        Ok(Machine::new(setup, &seed, key, self.now(), |party| half.run(party, context)))
    }

    async fn drive(
        &mut self,
        mut machine: Machine<JointOutput>,
        mut received: mpsc::Receiver<Arrived>,
        mut writers: Vec<Option<Writer>>,
        cancel: &mut mpsc::Receiver<Code>,
    ) -> Result<JointOutput, Abort> {
        let mut pending = vec![Event::Start];
        let mut timer: Option<Millis> = None;
        loop {
            for event in core::mem::take(&mut pending) {
                let mut effects = self.step(&mut machine, event);
                // A step may take as long as a list takes to be sorted. What a stop has overtaken does not leave.
                if let Some(code) = self.to_stop(cancel).filter(|_| !machine.is_finished()) {
                    let stop = self.stop(code, &writers);
                    effects = self.step(&mut machine, stop);
                }
                if effects.iter().any(|e| matches!(e, Effect::Persist { record, .. } if Vote::is(record))) {
                    self.usage = machine.usage();
                }
                self.carry_out(effects, &mut writers, &mut pending, &mut timer).await?;
            }
            if self.ledger_written.elapsed() >= LEDGER_PAUSE {
                self.write_ledger().await?;
            }
            if machine.is_finished() {
                break;
            }
            if !pending.is_empty() {
                continue;
            }
            let deadline = self.deadline;
            let wake = timer.map_or(deadline, |at| (self.began + Duration::from_millis(at.0)).min(deadline));
            tokio::select! {
                Some(arrived) = received.recv() => pending.push(arrived.event),
                bytes = said(self.host.as_mut()) => pending.push(Event::Host(bytes)),
                bytes = counted(self.counter.as_mut()) => pending.push(Event::Host(bytes)),
                Some(code) = cancel.recv(), if !self.stopped => pending.push(self.stop(code, &writers)),
                () = tokio::time::sleep_until(wake) => {
                    if Instant::now() >= deadline {
                        pending.push(self.stop(Code::JobDeadline, &writers));
                    } else {
                        timer = None;
                        pending.push(Event::Timer);
                    }
                }
            }
        }
        tracing::debug!(job = %self.header.job.short(), ms = self.now().0, "the joint half is done");
        self.usage = machine.usage();
        let outcome = machine.take_outcome();
        let outcome = outcome.unwrap_or_else(|| Err(Abort::Local(Fault::new(Code::JobInternal, "no outcome"))));
        self.seal_links(writers, received, outcome.is_ok()).await;
        outcome
    }

    fn step(&mut self, machine: &mut Machine<JointOutput>, event: Event) -> Vec<Effect> {
        let (now, aligns) = (self.now(), self.aligns);
        let effects = self.asserted.timed(|| match aligns {
            true => align::apart(|| machine.step(now, event)),
            false => machine.step(now, event),
        });
        self.ahead.want(machine.hash_ahead());
        effects
    }

    /// Why the attempt has to stop, if it has to and does not yet.
    fn to_stop(&self, cancel: &mut mpsc::Receiver<Code>) -> Option<Code> {
        if self.stopped {
            return None;
        }
        let over = || (Instant::now() >= self.deadline).then_some(Code::JobDeadline);
        cancel.try_recv().ok().or_else(over)
    }

    /// From here on nothing leaves, and what waits to be written does not either.
    fn stop(&mut self, code: Code, writers: &[Option<Writer>]) -> Event {
        self.stopped = true;
        writers.iter().flatten().for_each(Writer::hush);
        Event::Cancel(code)
    }

    async fn carry_out(
        &mut self,
        effects: Vec<Effect>,
        writers: &mut [Option<Writer>],
        pending: &mut Vec<Event>,
        timer: &mut Option<Millis>,
    ) -> Result<(), Abort> {
        for effect in effects {
            match effect {
                Effect::Send(message) => {
                    let step = message.address.step;
                    if !self.input_sent && !self.constant && tacit_jobs::session::is_input(step) {
                        self.mark_input_sent().await?;
                    }
                    let to = message.address.to;
                    self.send(writers, to, step, LinkFrame::Message(message));
                }
                Effect::Credit { to, consumed } => self.send(writers, to, Step(0), LinkFrame::Credit(consumed)),
                Effect::SetTimer(at) => *timer = Some(at),
                Effect::Persist { ticket, record } => {
                    let StreamHeader { job, attempt } = self.header;
                    match (Vote::of(&record), align::is_state(&record)) {
                        (Some(vote), _) => self.vote(vote).await?,
                        (None, true) => align::put_state(&self.inner.home, &job, &record)?,
                        (None, false) => self.inner.store.put_record(&job, attempt.0, ticket, &record).await?,
                    }
                    pending.push(Event::Persisted { ticket });
                }
                Effect::Progress(step) => {
                    let phase = tacit_jobs::session::phase_name(step);
                    tracing::trace!(job = %self.header.job.short(), ms = self.now().0, %step, phase, "a step begins");
                    self.report_progress(step);
                }
                Effect::Host(bytes) => self.hear(&bytes)?,
                Effect::Opened { .. } | Effect::Finish => {}
            }
        }
        Ok(())
    }

    fn send(&mut self, writers: &mut [Option<Writer>], to: Seat, step: Step, frame: LinkFrame) {
        if let Some(Some(writer)) = writers.get(to.index()) {
            let is_message = matches!(frame, LinkFrame::Message(_));
            let bytes = frame.into_bytes();
            if is_message {
                self.egress.add(writer.node, step, bytes.len() as u64);
            } else {
                self.egress.add_control(writer.node, bytes.len() as u64);
            }
            let _ = writer.queue.send(bytes);
        }
    }

    /// Notes on disk that a masked input is about to leave: no later attempt masks another.
    async fn mark_input_sent(&mut self) -> Result<(), Fault> {
        let id = self.header.job;
        let mut tx = self.inner.store.begin().await?;
        let Some(mut job) = tx.job(&id).await? else { return Err(Fault::new(Code::JobUnknown, id.short())) };
        job.input_sent = true;
        tx.put_job(&id, &job).await?;
        tx.commit().await?;
        self.input_sent = true;
        Ok(())
    }

    /// What the seat says to its own node.
    fn hear(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        match hear(bytes)? {
            Tell::Closed { leaves } => {
                let (job, attempt) = (self.header.job, self.header.attempt.0);
                self.window = Some(WindowRow { job, attempt, leaves });
            }
            Tell::Count { keys, rows } => {
                if let Some(counter) = &self.counter {
                    counter.count(keys, rows);
                }
            }
            _ => {}
        }
        match &mut self.host {
            Some(host) => host.take(bytes),
            None => Ok(()),
        }
    }

    async fn write_ledger(&mut self) -> Result<(), Fault> {
        if self.serves && self.ledger.as_ref().is_some_and(|task| !task.is_finished()) {
            return Ok(());
        }
        self.ledger_written = Instant::now();
        let entries = self.egress.take();
        if self.serves && !entries.is_empty() {
            let (store, job) = (self.inner.store.clone(), self.header.job);
            self.ledger = Some(tokio::spawn(async move {
                if let Err(fault) = store.add_egress(&job, &entries).await {
                    tracing::error!(%fault, job = %job.short(), "what has left could not be written down");
                }
            }));
            return Ok(());
        }
        if entries.is_empty() { Ok(()) } else { self.inner.store.add_egress(&self.header.job, &entries).await }
    }

    /// Progress is for people; it is sent once and not waited for.
    fn report_progress(&self, step: Step) {
        let aggregates = self.session.aggregator == self.session.seat;
        tracing::debug!(job = %self.header.job.short(), round = step.round(), aggregates, "under way");
        let Some(connection) = self.inner.to_coordinator.borrow().clone() else { return };
        let job = self.header.job;
        let inner = self.inner.clone();
        self.inner.spawn(async move {
            let _ = client::ask(&connection, &inner.ledger, &ToCoordinator::Progress { job, step }).await;
        });
    }
}

/// What the callers have for the seat; nothing where there are none.
async fn said(host: Option<&mut HostLink>) -> Vec<u8> {
    match host {
        Some(host) => host.next().await,
        None => std::future::pending().await,
    }
}

/// What is counted of calls, for the seat; nothing where there is no limit.
async fn counted(counter: Option<&mut Counter>) -> Vec<u8> {
    match counter {
        Some(counter) => counter.next().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
