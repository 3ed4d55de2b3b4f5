//! The life of one job at the coordinator.
//!
//! [`Job`] is a value: the driver stores it after every [`Job::step`], and only then carries out
//! what [`Job::outstanding`] asks for. Both are functions of the value and the time, so a
//! coordinator that was killed anywhere loads the value and asks again; nodes answer a repeated
//! request as they answered the first.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tacit_crypto::Statement;
use tacit_crypto::statement::Envelope;
use tacit_governance::{Admission, JobSpec, Refusal};
use tacit_jobs::session::Committed;
use tacit_protocol::Blame;
use tacit_receipts::record::{Standing, Status};
use tacit_receipts::{Attestation, JointReceipt, KeyHistory, KeyRole, UsageRecord};
use tacit_types::wire::Blob;
use tacit_types::{Attempt, Code, Fault, JobId, Name, NodeId, Seat, Step, UnixMillis};

use crate::control::{
    Assignment, Finish, Finished, FromNode, JobView, Linked, Package, PartyView, Seated, Terminal, TimelineEntry,
    ToNode,
};
use crate::evidence;
use crate::record::{self, Ended, Part};

/// How long each phase may take, in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// Until every owner has decided.
    pub admit_ms: u64,
    /// Until a slot was free on every node.
    pub queue_ms: u64,
    /// That a node keeps a slot for a reservation.
    pub reserve_ms: u64,
    /// Until every party has attested, and until it has released its part of the key.
    pub settle_ms: u64,
    /// After a party was lost, until the attempt counts as failed at the others.
    pub loss_ms: u64,
    /// Until each party has heard of the end; then it must ask.
    pub close_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            admit_ms: 10_000,
            queue_ms: 60_000,
            reserve_ms: 5_000,
            settle_ms: 10_000,
            loss_ms: 4_000,
            close_ms: 5_000,
        }
    }
}

/// Attempts at one job that ran and failed, before it fails for good. One for which a slot was lost
/// before it ran is repeated, with growing pauses, as long as the job is valid.
pub const ATTEMPTS_MAX: u32 = 3;
/// The longest pause before slots are asked for again, in milliseconds.
pub const BUSY_PAUSE_MS_MAX: u64 = 4_000;
/// In a timeline: who cancels.
const CANCELLING: &str = "cancelling";
/// What the timeline says when an attempt begins.
const RUNNING: &str = "running";
/// What it says of a party whose attempt failed.
const FAILED: &str = "failed";
/// Entries of a timeline.
pub const TIMELINE_MAX: usize = 256;
/// Entries up to which failures are added still.
const FAILURES_MAX: usize = 4 * TIMELINE_MAX;
/// Bytes of a timeline entry's detail, and of a hint that a node gives.
pub const DETAIL_BYTES_MAX: usize = 512;

/// A party that the job names as a provider, as the coordinator's roster knows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Member {
    /// Name.
    pub name: Name,
    /// Root key.
    pub root: NodeId,
    /// Node key.
    pub node: NodeId,
    /// Card and address.
    pub seated: Seated,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Decision {
    Waiting,
    Admitted,
    Refused { code: Code, reason: String },
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct PartyState {
    member: Member,
    decision: Decision,
    reserved: bool,
    started: bool,
    lost_at: Option<UnixMillis>,
    finished: Option<Finished>,
    attestation: Option<Blob>,
    release: Option<Blob>,
    closed: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum State {
    Admitting { until: UnixMillis },
    Queued { from: UnixMillis, until: UnixMillis },
    Reserving { until: UnixMillis, queue_until: UnixMillis },
    Running { since: UnixMillis, until: UnixMillis },
    Attesting { until: UnixMillis },
    Logging,
    Releasing { until: UnixMillis },
    Closed { until: UnixMillis },
}

/// What the driver is to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Ask a node and bring its answer, as long as the same request is outstanding. The answer to a
    /// request that is not any more must be dropped: it would be taken for that to the next.
    Ask {
        /// Whom.
        node: NodeId,
        /// What.
        request: ToNode,
    },
    /// Sign, append and have cosigned the receipt, and bring [`Input::Logged`]. The same record and
    /// attestations may be asked for again after a restart; the log gives the same place.
    Append {
        /// The record, canonical CBOR.
        record: Blob,
        /// The attestations at hand.
        attestations: Vec<Blob>,
        /// Parties without one, and why.
        absent: Vec<(NodeId, Code)>,
    },
    /// Call [`Job::step`] with [`Input::Tick`] at this time, unless a step was at or after it.
    WakeAt(UnixMillis),
}

/// What the driver brings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// A node's answer.
    Answer {
        /// Whose.
        node: NodeId,
        /// What.
        answer: FromNode,
    },
    /// A node reports the end of an attempt.
    Finish {
        /// Whose.
        node: NodeId,
        /// What.
        finish: Finish,
    },
    /// A node reports a step.
    Progress {
        /// Which.
        step: Step,
    },
    /// The connection to a node is lost, or is there again.
    Reachable {
        /// Whose.
        node: NodeId,
        /// Which.
        reachable: bool,
    },
    /// The receipt is in a cosigned checkpoint.
    Logged {
        /// Its place.
        index: u64,
        /// The leaf.
        leaf: Blob,
        /// The `.tlog-proof`.
        proof: Blob,
    },
    /// The log cannot take the receipt, now or later, and why.
    NotLogged(Fault),
    /// A node has released something else than the part of the result's key that it committed to, in a result whose bytes
    /// lie with the driver. Of others the job sees it itself.
    FalseRelease {
        /// Whose.
        node: NodeId,
    },
    /// Whether, by the driver's own count, every node of the job has a slot free. `false` takes a
    /// new attempt back of which no node has heard: the driver gives it before it asks any. `true`
    /// lets a job that waits in the queue go on. A driver that counts no slots gives neither.
    Capacity(bool),
    /// The coordinator was restarted: nobody could answer while it was away.
    Resumed,
    /// Its operator, of this name, cancels.
    Cancel(Name),
}

/// The job's durable state.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Job {
    id: JobId,
    bytes: Blob,
    origin: String,
    contracts: Vec<Vec<Blob>>,
    limits: Limits,
    submitted_at: UnixMillis,
    ended_at: Option<UnixMillis>,
    state: State,
    attempt: u32,
    /// The last attempt that ran: the records name it.
    ran: u32,
    /// Attempts that ran and failed.
    failures: u32,
    began_at: UnixMillis,
    aggregator: Option<NodeId>,
    parties: Vec<PartyState>,
    cancelled: bool,
    /// Why the parties of the attempt need not go on.
    stopping: Option<Code>,
    step: Option<Step>,
    terminal: Option<Terminal>,
    record: Option<Blob>,
    /// What convicts parties of the attempt.
    evidence: Vec<Blame>,
    receipt: Option<(u64, Blob, Blob)>,
    /// Whether the receipt carries its attestations by hash: the parties then need them beside it.
    by_hash: bool,
    timeline: Vec<TimelineEntry>,
    /// What parties have reported of their links in the attempt, by node.
    links: Vec<(NodeId, Linked)>,
    /// The keys that parties have had, as whoever drives the job knows them.
    #[serde(skip)]
    keys: Arc<KeyHistory>,
}

impl Job {
    /// Has the job know the keys that parties have had. They are no part of its state: a job that was loaded is told again.
    pub fn know(&mut self, keys: &Arc<KeyHistory>) {
        if !Arc::ptr_eq(&self.keys, keys) {
            self.keys = keys.clone();
        }
    }

    /// A submitted job. `members` are the parties that the roster knows; a party it does not
    /// know makes the job fail at once.
    ///
    /// # Errors
    /// Those of [`JobSpec::verify`]; `refused.parties` naming the unknown provider, or when there is none.
    pub fn submit(
        bytes: Vec<u8>,
        members: Vec<Member>,
        contracts: Vec<Vec<Blob>>,
        origin: &str,
        limits: Limits,
        now: UnixMillis,
    ) -> Result<Self, Fault> {
        let job = JobSpec::verify(&bytes)?;
        let seated = job.body().seated();
        if let Some(root) = seated.iter().find(|root| !members.iter().any(|m| m.root == **root)) {
            return Err(Fault::new(Code::RefusedParties, format!("provider {} is not enrolled here", root.short())));
        }
        if job.body().providers.is_empty() {
            return Err(Fault::new(Code::RefusedParties, "the job names no provider"));
        }
        let members: Vec<Member> = members.into_iter().filter(|m| seated.contains(&m.root)).collect();
        let named: Vec<_> = members.iter().map(|m| (&m.name, m.node, m.root)).collect();
        record::fits_all(&job, origin, &named)?;
        let parties = members
            .into_iter()
            .map(|member| PartyState {
                member,
                decision: Decision::Waiting,
                reserved: false,
                started: false,
                lost_at: None,
                finished: None,
                attestation: None,
                release: None,
                closed: false,
            })
            .collect();
        let mut this = Self {
            id: JobSpec::id(&job),
            bytes: Blob(bytes),
            origin: origin.to_owned(),
            contracts,
            limits,
            submitted_at: now,
            ended_at: None,
            state: State::Admitting { until: now.plus(limits.admit_ms) },
            attempt: 0,
            ran: 0,
            failures: 0,
            began_at: now,
            aggregator: None,
            parties,
            cancelled: false,
            stopping: None,
            step: None,
            terminal: None,
            record: None,
            evidence: Vec::new(),
            receipt: None,
            by_hash: false,
            timeline: Vec::new(),
            links: Vec::new(),
            keys: Arc::default(),
        };
        this.note(now, "submitted", None, "");
        Ok(this)
    }

    /// The id.
    pub fn id(&self) -> JobId {
        self.id
    }

    /// The signed bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How it will end, or has ended: final once [`Job::has_ended`].
    pub fn terminal(&self) -> Option<&Terminal> {
        self.terminal.as_ref()
    }

    /// Whether nothing is left to do.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Closed { .. }) && self.parties.iter().all(|p| p.closed)
    }

    /// Whether it has its end; the parties may not have heard of it yet. A late receipt changes no end.
    pub fn has_ended(&self) -> bool {
        self.ended_at.is_some()
    }

    /// The receipt's place, leaf and proof.
    pub fn receipt(&self) -> Option<&(u64, Blob, Blob)> {
        self.receipt.as_ref()
    }

    /// The sealed result, for a job that has succeeded: the package and each survivor's release by seat.
    pub fn sealed_result(&self) -> Option<(Package, Vec<(Seat, Blob)>)> {
        if !self.has_ended() || self.terminal != Some(Terminal::Succeeded) {
            return None;
        }
        let package = self.package()?.clone();
        let seats = self.seat_order();
        let releases = seats
            .iter()
            .enumerate()
            .filter_map(|(i, p)| Some((Seat(i as u16), self.parties[*p].release.clone()?)))
            .collect();
        Some((package, releases))
    }

    /// The sealed result, as the aggregator has reported it.
    pub fn package(&self) -> Option<&Package> {
        self.parties.iter().find_map(|p| match &p.finished {
            Some(Finished::Ok { package, .. }) => package.as_ref(),
            _ => None,
        })
    }

    /// The seat of a node.
    pub fn seat(&self, node: &NodeId) -> Option<Seat> {
        let order = self.seat_order();
        order.iter().position(|i| self.parties[*i].member.node == *node).map(|i| Seat(i as u16))
    }

    /// Places of the parties in the order of seats.
    fn seat_order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.parties.len()).collect();
        order.sort_by_key(|i| self.parties[*i].member.node);
        order
    }

    /// The owner that decides before the others. Concurrent jobs reach it in some order and reach the
    /// others only once it has admitted them, so that a quota that runs out does so for the same jobs
    /// at every owner, and no owner's quota is spent on a job that the first refuses.
    fn first(&self) -> Option<&PartyState> {
        self.parties.iter().min_by_key(|p| p.member.node)
    }

    /// Whether an owner is to be asked for its decision now.
    fn may_decide(&self, p: &PartyState) -> bool {
        let is_first = |first: &PartyState| first.member.node == p.member.node;
        p.decision == Decision::Waiting
            && self.first().is_some_and(|first| is_first(first) || first.decision == Decision::Admitted)
    }

    /// The nodes that take part.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.parties.iter().map(|p| p.member.node)
    }

    /// The state's word: `admitting`, `queued`, `reserving`, `running`, `settling` or that of the end.
    pub fn state(&self) -> &'static str {
        self.word()
    }

    /// How listings show it.
    pub fn view(&self, now: UnixMillis) -> JobView {
        // why: the bytes were verified when the job was submitted.
        let spec = JobSpec::verify(&self.bytes).ok().map(Statement::into_body);
        let (end, checked) = (self.ended_at.unwrap_or(now), spec.as_ref().and_then(shown::checked));
        JobView {
            id: self.id,
            kind: spec.as_ref().map(|s| s.kind.clone()).unwrap_or_default(),
            purpose: spec.map(|s| s.purpose).unwrap_or_default(),
            state: self.word().to_owned(),
            // why: until then it may still turn out otherwise, and nobody unlearns an end.
            terminal: self.terminal.clone().filter(|_| self.has_ended()),
            attempt: self.attempt,
            step: self.step,
            submitted_at: self.submitted_at,
            elapsed_ms: end.0.saturating_sub(self.submitted_at.0),
            parties: self.parties.iter().map(|p| self.party_view(p)).collect(),
            aggregator: self
                .aggregator
                .and_then(|node| self.parties.iter().find(|p| p.member.node == node))
                .map(|p| p.member.name.clone()),
            receipt: self.receipt.as_ref().map(|r| r.0),
            timeline: self.timeline.clone(),
            result: self.record().and_then(|r| r.result),
            checked,
        }
    }

    fn party_view(&self, p: &PartyState) -> PartyView {
        let standing = match (&p.decision, &p.finished) {
            (Decision::Refused { .. }, _) => "refused",
            (Decision::Waiting, _) => "waiting",
            (_, Some(Finished::Ok { .. })) => "finished",
            (_, Some(Finished::Failed { .. })) => "failed",
            (_, None) if p.lost_at.is_some() => "lost",
            (_, None) => "admitted",
        };
        PartyView { name: p.member.name.clone(), node: p.member.node, standing: standing.to_owned() }
    }

    fn word(&self) -> &'static str {
        match (&self.terminal, &self.state) {
            (Some(terminal), _) if self.has_ended() => terminal.word(),
            (_, State::Admitting { .. }) => "admitting",
            (_, State::Queued { .. }) => "queued",
            (_, State::Reserving { .. }) => "reserving",
            (_, State::Running { .. }) => "running",
            _ => "settling",
        }
    }

    fn note(&mut self, at: UnixMillis, what: &str, party: Option<Name>, detail: impl Into<String>) {
        let detail = shortened(detail.into());
        // A request that is repeated is answered alike: once is enough in an attempt.
        let again = |e: &TimelineEntry| e.what == what && e.party == party && e.detail == detail;
        let attempt = self.timeline.iter().rev().take_while(|e| e.what != RUNNING);
        // Who failed first is told by the order of these.
        let most = if what == FAILED { FAILURES_MAX } else { TIMELINE_MAX };
        if self.timeline.len() < most && !(party.is_some() && attempt.into_iter().any(again)) {
            self.timeline.push(TimelineEntry { at, what: what.to_owned(), party, detail });
        }
    }

    fn party(&mut self, node: &NodeId) -> Option<&mut PartyState> {
        self.parties.iter_mut().find(|p| p.member.node == *node)
    }

    /// Takes an input. The driver stores the value before it acts on [`Job::outstanding`].
    pub fn step(&mut self, now: UnixMillis, input: Input) {
        match input {
            Input::Tick => {}
            Input::Answer { node, answer } => self.take_answer(now, &node, answer),
            Input::Finish { node, finish } => self.take_finish(now, &node, finish),
            Input::Progress { step } => self.step = Some(step),
            Input::Reachable { node, reachable } => {
                if let Some(p) = self.party(&node) {
                    p.lost_at = if reachable { None } else { p.lost_at.or(Some(now)) };
                }
            }
            Input::Logged { index, leaf, proof } => {
                if matches!(self.state, State::Logging) {
                    self.by_hash = carries_hashes(&leaf);
                    self.receipt = Some((index, leaf, proof));
                    self.note(now, "receipted", None, format!("leaf {index}"));
                    self.state = State::Releasing { until: now.plus(self.limits.settle_ms) };
                }
            }
            Input::FalseRelease { node } => self.take_false_release(now, &node),
            Input::NotLogged(fault) => {
                if matches!(self.state, State::Logging) {
                    self.end_unreceipted(now, fault);
                }
            }
            Input::Capacity(free) => self.take_capacity(now, free),
            Input::Resumed => self.take_resumed(now),
            Input::Cancel(by) => {
                // What is settled is not cancelled any more.
                if !self.cancelled && self.terminal.is_none() {
                    // Not subject to the timeline's limit: the end names who it was.
                    let (what, party) = (CANCELLING.to_owned(), Some(by));
                    self.timeline.push(TimelineEntry { at: now, what, party, detail: String::new() });
                }
                self.cancelled = true;
            }
        }
        // Several phases may be over at once; each moves on at most once.
        for _ in 0..8 {
            let before = core::mem::discriminant(&self.state);
            self.advance(now);
            if core::mem::discriminant(&self.state) == before {
                break;
            }
        }
    }

    fn take_answer(&mut self, now: UnixMillis, node: &NodeId, answer: FromNode) {
        let (id, stopping) = (self.id, self.stopping.unwrap_or(Code::JobCancelled));
        let record = self.record();
        let state = self.state.clone();
        let keys = self.keys.clone();
        let own = |said: &Envelope| signed(&keys, now, node, said);
        let Some(p) = self.party(node) else { return };
        let name = p.member.name.clone();
        match (state, answer) {
            (State::Admitting { .. }, FromNode::Admitted(bytes)) => {
                let valid = Statement::<Admission>::verify(&bytes)
                    .is_ok_and(|a| own(a.envelope()) && a.body().job == id && a.body().owner == p.member.root);
                if valid && p.decision == Decision::Waiting {
                    p.decision = Decision::Admitted;
                    self.note(now, "admitted", Some(name), "");
                }
            }
            (State::Admitting { .. }, FromNode::Refused(bytes)) => {
                let refusal =
                    Statement::<Refusal>::verify(&bytes).ok().filter(|r| own(r.envelope()) && r.body().job == id);
                if let (Some(refusal), Decision::Waiting) = (refusal, &p.decision) {
                    let Refusal { code, reason, .. } = refusal.into_body();
                    self.note(now, "refused", Some(name), format!("{code}: {reason}"));
                    if let Some(p) = self.party(node) {
                        p.decision = Decision::Refused { code, reason };
                    }
                }
            }
            (State::Reserving { .. }, FromNode::Reserved) => p.reserved = true,
            (State::Reserving { queue_until, .. }, FromNode::Busy) => {
                self.parties.iter_mut().for_each(|p| p.reserved = false);
                // Spread by the job's own id, so that two jobs that wait for each other's slots part.
                let wait = 50 + u64::from(self.id.0[0]) + u64::from(self.id.0[1]);
                self.state = State::Queued { from: now.plus(wait), until: queue_until };
            }
            (State::Running { .. }, FromNode::Started) => p.started = true,
            (State::Running { .. }, FromNode::Failed(fault)) if p.finished.is_none() && !p.started => {
                p.finished = Some(Finished::Failed {
                    code: fault.code,
                    step: None,
                    seat: None,
                    hint: shortened(fault.what),
                    // A node that does not begin because its input has left it once never will.
                    input_sent: fault.code == Code::JobPeerLost,
                });
            }
            // It has not begun this attempt and never will, so no report of it will come.
            (State::Running { .. }, FromNode::Done) if p.finished.is_none() && !p.started => {
                p.finished = Some(Finished::Failed {
                    code: stopping,
                    step: None,
                    seat: None,
                    hint: String::new(),
                    input_sent: false,
                });
            }
            (State::Attesting { .. }, FromNode::Attested(bytes)) => {
                let valid = record.is_some_and(|record| {
                    Statement::<Attestation>::verify(&bytes).is_ok_and(|a| {
                        own(a.envelope())
                            && tacit_receipts::receipt::check_attestation_of(node, &record, &record.digest(), &a)
                                .is_ok()
                    })
                });
                if valid && p.attestation.is_none() {
                    p.attestation = Some(bytes);
                    self.note(now, "attested", Some(name), "");
                }
            }
            (State::Attesting { .. }, FromNode::Failed(fault)) => {
                self.note(now, "not_attested", Some(name), fault.to_string());
            }
            (State::Releasing { .. }, FromNode::Released(bytes)) => self.take_release(now, node, bytes),
            (State::Releasing { .. }, FromNode::Failed(fault)) => {
                self.note(now, "not_released", Some(name), fault.to_string());
            }
            (State::Releasing { .. }, FromNode::Done) => self.take_release(now, node, Blob(Vec::new())),
            (State::Closed { .. }, FromNode::Done) => p.closed = true,
            _ => {}
        }
    }

    fn take_finish(&mut self, now: UnixMillis, node: &NodeId, mut finish: Finish) {
        if !matches!(self.state, State::Running { .. }) || finish.attempt.0 != self.attempt {
            return;
        }
        let (aggregator, online) = (self.aggregator, self.asked_online());
        let (ran, seats) = ((self.began_at, now), self.parties.len());
        let seating = crate::control::seating(self.nodes());
        let seating = seating.map(|seats| seats.signing(|id| self.keys.within(KeyRole::Node, id, ran)));
        let Some(p) = self.party(node) else { return };
        if p.finished.is_some() {
            return;
        }
        match &mut finish.finished {
            // The result is the aggregator's to give; the summary of a window is everybody's.
            Finished::Ok { package, .. } if aggregator != Some(*node) && !online => *package = None,
            // A hash without the bytes is no result.
            Finished::Ok { package, .. } => drop(package.take_if(|package| matches!(package, Package::Known { .. }))),
            Finished::Failed { hint, .. } => *hint = shortened(core::mem::take(hint)),
        }
        p.started = true;
        let (name, detail) = (
            p.member.name.clone(),
            match &finish.finished {
                Finished::Ok { .. } => String::new(),
                Finished::Failed { code, hint, .. } => format!("{code}: {hint}"),
            },
        );
        let what = if detail.is_empty() { "finished" } else { FAILED };
        p.finished = Some(finish.finished);
        if let Some(links) = finish.links.filter(|links| record::may_be_links(links, seats)) {
            self.links.push((*node, links));
        }
        if let Some(seating) = seating {
            evidence::take(&mut self.evidence, &seating, evidence::travelling(&finish.blames));
        }
        self.note(now, what, Some(name), detail);
    }

    /// The record under attestation.
    fn record(&self) -> Option<UsageRecord> {
        self.record.as_ref().and_then(|bytes| tacit_crypto::cbor::decode(bytes).ok())
    }
}

/// Whether the attestations of a receipt stand beside it.
fn carries_hashes(leaf: &[u8]) -> bool {
    Statement::<JointReceipt>::verify(leaf).is_ok_and(|receipt| receipt.body().by_hash())
}

/// Whether a node has signed a statement: with a key that was its own then, or, as the time of a refusal may be its job's, is now.
fn signed(keys: &KeyHistory, now: UnixMillis, node: &NodeId, said: &Envelope) -> bool {
    [said.issued_at, now].iter().any(|at| keys.speaks(KeyRole::Node, node, &said.signer, *at))
}

/// Cuts a text of a node's to [`DETAIL_BYTES_MAX`].
fn shortened(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(DETAIL_BYTES_MAX));
    text
}

mod advance;
mod late;
mod outstanding;
mod release;
mod shown;

pub use late::Late;

#[cfg(test)]
mod tests;
