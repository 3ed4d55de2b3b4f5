//! What leaves the node, counted where it is written: to the other seats of an attempt, and to the coordinator.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tacit_engine::{Finish, Finished, FromNode, Package, ToCoordinator, ToNode};
use tacit_types::{Fault, JobId, NodeId, Step};

use crate::store::Store;

/// The job of what is of no job.
const NO_JOB: JobId = JobId([0; 32]);

/// Payload bytes of one attempt, by peer and kind.
#[derive(Default)]
pub struct Egress {
    sent: BTreeMap<(NodeId, &'static str), u64>,
    deals: bool,
}

impl Egress {
    /// That of a seat which deals, or of another.
    pub fn new(deals: bool) -> Self {
        Self { deals, ..Self::default() }
    }

    /// Adds a protocol frame.
    pub fn add(&mut self, peer: NodeId, step: Step, bytes: u64) {
        *self.sent.entry((peer, kind(step, self.deals))).or_insert(0) += bytes;
    }

    /// Adds a frame that carries no message: the head of a stream, or what was read of another's.
    pub fn add_control(&mut self, peer: NodeId, bytes: u64) {
        *self.sent.entry((peer, "control")).or_insert(0) += bytes;
    }

    /// Takes the entries out.
    pub fn take(&mut self) -> Vec<(NodeId, &'static str, u64)> {
        core::mem::take(&mut self.sent).into_iter().map(|((peer, kind), bytes)| (peer, kind, bytes)).collect()
    }
}

/// The kind of a protocol message, for the ledger: what its bytes are, in words.
fn kind(step: Step, deals: bool) -> &'static str {
    if step == tacit_jobs::session::AGREE {
        return "session agreement";
    }
    if tacit_jobs::session::is_confirmation(step) {
        return "completion votes";
    }
    match tacit_jobs::session::phase_name(step) {
        // What a dealer sends while others compute is randomness, and no number of anybody's.
        "compute" if deals => "randomness",
        "compute" => "masked numbers",
        "align" => "masked points",
        "seeds" if deals => "dealt seeds",
        other => other,
    }
}

/// What goes to the coordinator, by job and kind, until it is written down.
///
/// Bytes count when they are handed to the connection: what a connection lost before it could send it counts too.
/// What was counted since the last [`Ledger::write`] is lost in a crash.
#[derive(Default)]
pub struct Ledger {
    sent: Mutex<BTreeMap<(JobId, NodeId, &'static str), u64>>,
}

impl Ledger {
    /// Adds a request of this party.
    pub fn request(&self, peer: NodeId, request: &ToCoordinator, bytes: u64) {
        let (job, kind) = kind_of_request(request);
        self.add(job, peer, kind, bytes);
    }

    /// Adds a piece of sealed bytes that the coordinator keeps.
    pub fn deposit(&self, peer: NodeId, job: Option<JobId>, bytes: u64) {
        self.add(job.unwrap_or(NO_JOB), peer, "sealed bytes", bytes);
    }

    /// Adds an answer of this party.
    pub fn answer(&self, peer: NodeId, job: Option<JobId>, answer: &FromNode, bytes: u64) {
        self.add(job.unwrap_or(NO_JOB), peer, kind_of_answer(answer), bytes);
    }

    /// Adds what goes to another node and is of no job.
    pub fn other(&self, peer: NodeId, kind: &'static str, bytes: u64) {
        self.add(NO_JOB, peer, kind, bytes);
    }

    fn add(&self, job: JobId, peer: NodeId, kind: &'static str, bytes: u64) {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        *sent.entry((job, peer, kind)).or_insert(0) += bytes;
    }

    /// Writes down what was counted. What cannot be written is kept for the next time.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn write(&self, store: &Store) -> Result<(), Fault> {
        let entries = core::mem::take(&mut *self.sent.lock().unwrap_or_else(PoisonError::into_inner));
        if entries.is_empty() {
            return Ok(());
        }
        let written = write_all(store, &entries).await;
        if written.is_err() {
            for ((job, peer, kind), bytes) in entries {
                self.add(job, peer, kind, bytes);
            }
        }
        written
    }
}

async fn write_all(store: &Store, entries: &BTreeMap<(JobId, NodeId, &'static str), u64>) -> Result<(), Fault> {
    let mut tx = store.begin().await?;
    for ((job, peer, kind), bytes) in entries {
        tx.add_egress(job, &[(*peer, *kind, *bytes)]).await?;
    }
    tx.fold_egress().await?;
    tx.commit().await
}

/// What a request carries, in words, and for which job.
fn kind_of_request(request: &ToCoordinator) -> (JobId, &'static str) {
    match request {
        ToCoordinator::Enrol { .. } => (NO_JOB, "party card"),
        ToCoordinator::Register { .. } => (NO_JOB, "dataset descriptors"),
        ToCoordinator::Report(finish) => (finish.job, kind_of_report(finish)),
        ToCoordinator::Attested { job, .. } => (*job, "attestation"),
        ToCoordinator::Progress { job, .. } => (*job, "progress"),
        ToCoordinator::PutContract(_) => (NO_JOB, "contract signatures"),
        ToCoordinator::Submit { job } | ToCoordinator::Plan { job } => {
            (JobId(tacit_crypto::sha256(&job.0).0), "job specification")
        }
        ToCoordinator::Cancel(_) => (NO_JOB, "cancellation"),
        ToCoordinator::Deposit { .. } => (NO_JOB, "sealed bytes"),
        ToCoordinator::Rotate(_)
        | ToCoordinator::Say(_)
        | ToCoordinator::ClosePeriod { .. }
        | ToCoordinator::Away(_) => (NO_JOB, "statements"),
        ToCoordinator::Job(job)
        | ToCoordinator::Watch { job, .. }
        | ToCoordinator::Result(job)
        | ToCoordinator::Record(job)
        | ToCoordinator::Papers(job) => (*job, "questions"),
        ToCoordinator::Invitation { .. }
        | ToCoordinator::Invite { .. }
        | ToCoordinator::Roster
        | ToCoordinator::LogInfo
        | ToCoordinator::PartyKeys { .. }
        | ToCoordinator::Datasets
        | ToCoordinator::Contract(_)
        | ToCoordinator::Contracts
        | ToCoordinator::Jobs { .. }
        | ToCoordinator::Leaves { .. }
        | ToCoordinator::Checkpoint
        | ToCoordinator::Beside(_)
        | ToCoordinator::CoseReceipt(_)
        | ToCoordinator::Ping
        | ToCoordinator::Fetch { .. } => (NO_JOB, "questions"),
    }
}

fn kind_of_report(finish: &Finish) -> &'static str {
    match &finish.finished {
        Finished::Ok { package: Some(Package::Inline(_)), .. } => "report with the sealed result",
        _ => "report",
    }
}

fn kind_of_answer(answer: &FromNode) -> &'static str {
    match answer {
        FromNode::Admitted(_) => "admission",
        FromNode::Refused(_) => "refusal",
        FromNode::Attested(_) => "attestation",
        FromNode::Cosigned(_) | FromNode::WitnessHolds(_) | FromNode::Held(_) => "cosignature",
        FromNode::Released(_) => "release",
        FromNode::Failed(_) => "fault",
        FromNode::Planned(_) | FromNode::Reserved | FromNode::Busy | FromNode::Started | FromNode::Done => "state",
    }
}

/// The job that a request of the coordinator is about.
pub fn job_of(request: &ToNode) -> Option<JobId> {
    match request {
        ToNode::Admit { job, .. } | ToNode::Plan { job, .. } => Some(JobId(tacit_crypto::sha256(&job.0).0)),
        ToNode::Start { assignment } => Some(assignment.job),
        ToNode::Reserve { job, .. }
        | ToNode::Cancel { job, .. }
        | ToNode::Attest { job, .. }
        | ToNode::Logged { job, .. }
        | ToNode::Promised { job, .. }
        | ToNode::Close { job, .. } => Some(*job),
        ToNode::Cosign { .. } | ToNode::Ping | ToNode::Held => None,
    }
}
