//! Messages to the coordinator: from nodes, operators and regulators. The connection proves the
//! caller's node key; what a job may do is proved by the operator's signature on it, never by the
//! connection.

use serde::{Deserialize, Serialize};
use tacit_governance::Meter;
use tacit_protocol::Blame;
use tacit_types::wire::Blob;
use tacit_types::{
    ContractId, DatasetVersionId, Fault, Hash, JobId, Name, NodeId, Seat, StatementId, Step, UnixMillis,
};

use crate::control::{Finish, JobView, Package};

/// Entries of one page of a listing.
pub const PAGE_MAX: u32 = 100;
/// Bytes of one item that the coordinator keeps under its hash.
pub const DEPOSIT_BYTES_MAX: u64 = 64 << 20;
/// Bytes of a piece of such an item in one message.
pub const DEPOSIT_CHUNK_BYTES_MAX: usize = 512 << 10;
/// The longest time that a `Watch` waits for news.
pub const WATCH_MS_MAX: u64 = 20_000;

/// A request to the coordinator.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ToCoordinator {
    /// With an invitation, over an enrolment connection: what am I invited as? The code stays good;
    /// wrong codes count against the same rate limit as in `Enrol`. The card of the newcomer carries
    /// the name that this answers.
    Invitation {
        /// The one-time code.
        code: String,
    },
    /// With an invitation, over an enrolment connection: become known.
    Enrol {
        /// The one-time code.
        code: String,
        /// The party's signed card. The connection's key is its node key.
        card: Blob,
        /// Where its node listens; empty for a party without a node.
        address: String,
    },
    /// A node says that it is there, what it offers and where it listens.
    Register {
        /// Where it listens.
        address: String,
        /// Signed descriptors of its dataset and model versions.
        datasets: Vec<Blob>,
        /// Attempts that it runs at a time.
        slots: u32,
    },
    /// A node reports the end of an attempt. Repeated until acknowledged.
    Report(Finish),
    /// A node hands in an attestation that it gave and has not seen in the log. `Done` once it is in a published
    /// checkpoint; repeated until then.
    Attested {
        /// The job.
        job: JobId,
        /// The statement.
        attestation: Blob,
    },
    /// A node reports a step.
    Progress {
        /// The job.
        job: JobId,
        /// The step.
        step: Step,
    },
    /// Who is enrolled here.
    Roster,
    /// What the log and its keys are.
    LogInfo,
    /// Signed descriptors of all dataset and model versions.
    Datasets,
    /// Keep signatures over a contract for the parties that need them.
    PutContract(Vec<Blob>),
    /// The signatures over a contract.
    Contract(ContractId),
    /// All contracts that are kept.
    Contracts,
    /// Take a job.
    Submit {
        /// The signed job.
        job: Blob,
    },
    /// Ask every owner how it would decide.
    Plan {
        /// The signed job.
        job: Blob,
    },
    /// A page of jobs, newest first.
    Jobs {
        /// Jobs submitted before this one; from the newest when absent.
        before: Option<JobId>,
        /// At most so many, up to [`PAGE_MAX`].
        limit: u32,
    },
    /// One job.
    Job(JobId),
    /// One job, once it differs from what the caller has seen or the time is over.
    Watch {
        /// The job.
        job: JobId,
        /// Timeline entries that the caller has.
        seen: u32,
        /// Milliseconds to wait, up to [`WATCH_MS_MAX`].
        wait_ms: u64,
    },
    /// Cancel: a signed [`CancelOrder`].
    Cancel(Blob),
    /// The sealed result with the releases and the receipt.
    Result(JobId),
    /// A page of the log's leaves in order.
    Leaves {
        /// The first place.
        from: u64,
        /// At most so many, up to [`PAGE_MAX`].
        limit: u32,
    },
    /// The newest cosigned checkpoint.
    Checkpoint,
    /// Make an invitation, as the coordinator's own operator: the connection's key is the
    /// coordinator's.
    Invite {
        /// The party's name.
        name: Name,
        /// Its role's word.
        role: String,
        /// Milliseconds until it expires.
        ttl_ms: u64,
    },
    /// Is anyone there?
    Ping,
    /// Keep a piece of sealed bytes under the hash of the whole.
    Deposit {
        /// The hash of all bytes.
        hash: Hash,
        /// How many there are.
        total: u64,
        /// Where the piece begins.
        offset: u64,
        /// The piece.
        bytes: Blob,
    },
    /// A piece of sealed bytes from `offset` on.
    Fetch {
        /// The hash of all bytes.
        hash: Hash,
        /// Where the piece begins.
        offset: u64,
    },
    /// Put a party's signed statement of money into the log. Answered once it is in a published checkpoint.
    Say(Blob),
    /// End a period, as the coordinator's own operator: issue the charges and settlements of what was used before a
    /// time. The same time again gives the same answer.
    ClosePeriod {
        /// The end.
        until: UnixMillis,
    },
    /// Attestations that receipts carry by hash alone, by their hashes; up to [`PAGE_MAX`].
    Beside(Vec<StatementId>),
    /// The COSE receipt of a leaf under the newest cosigned checkpoint.
    CoseReceipt(u64),
    /// A node that ended a job's attempt well asks for its record, which it has not attested: `Done` where nothing of
    /// this party is lacking.
    Record(JobId),
    /// The signed job and the owners' signed answers to it, for those who may see it: its operator sees all, a party of it
    /// the admissions and its own refusal.
    Papers(JobId),
    /// Put a change of this party's own node's or witness's key into the log: a signed statement. Answered with its leaf once it
    /// is in a published checkpoint; the same again gives the same answer.
    Rotate(Blob),
    /// Changes of parties' keys that stand in the log, in its order, from so many on; up to [`PAGE_MAX`].
    PartyKeys {
        /// How many the caller has.
        from: u32,
    },
    /// Count a node as gone, as the coordinator's own operator: the log waits no more for its cosignature until it
    /// registers again.
    Away(Name),
}

/// What the close of a period has issued.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PeriodClosed {
    /// The end of the period.
    pub until: UnixMillis,
    /// The size of the log that was looked at.
    pub as_of: u64,
    /// Leaves of charges.
    pub charges: Vec<u64>,
    /// Leaves of settlements.
    pub settlements: Vec<u64>,
    /// Plans that could not be charged, by hash, and why.
    pub withheld: Vec<(Hash, Fault)>,
    /// Whether nothing is left to issue. A close that is not done goes on by itself.
    pub done: bool,
}

/// A party as the coordinator's roster has it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RosterEntry {
    /// Its signed card.
    pub card: Blob,
    /// Where its node listens; empty for none.
    pub address: String,
    /// Whether it is connected now.
    pub online: bool,
}

/// The log and its keys.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LogInfo {
    /// The log's origin.
    pub origin: String,
    /// The coordinator's root key, which is also its node key and signs receipts.
    pub coordinator: NodeId,
    /// The verifier key of checkpoints.
    pub log_key: String,
    /// The verifier keys of witnesses.
    pub witnesses: Vec<String>,
    /// Cosignatures that a checkpoint needs.
    pub quorum: u32,
    /// Signed changes of the log's key, oldest first: from whatever key a reader pinned they lead to `log_key`.
    pub rotations: Vec<Blob>,
}

/// A sealed result with everything that its recipient checks before opening.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SealedResult {
    /// The signed job.
    pub job: Blob,
    /// The sealed package, whose hash is in the receipt.
    pub package: Package,
    /// Each survivor's part of the key.
    pub releases: Vec<(Seat, Blob)>,
    /// The receipt.
    pub leaf: Blob,
    /// Its proof.
    pub proof: Blob,
}

/// How one owner would decide on a job.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PlanAnswer {
    /// Who.
    pub party: Name,
    /// The first objection, if any.
    pub objection: Option<Fault>,
    /// The word of the rule that objects; empty where none does, or nobody answered.
    pub rule: String,
    /// The limits that the job meets there, before it.
    pub meters: Vec<Meter>,
}

/// An answer of the coordinator.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum FromCoordinator {
    /// Done.
    Done,
    /// It cannot be done, and why.
    Failed(Fault),
    /// What the invitation is for.
    Invitation {
        /// The name that the newcomer will have.
        name: Name,
        /// Its role's word.
        role: String,
    },
    /// After enrolment: everything that the newcomer pins, for comparison out of band.
    Enrolled {
        /// The newcomer's name as invited.
        name: Name,
        /// Everyone, the coordinator first.
        roster: Vec<RosterEntry>,
        /// The log.
        log: LogInfo,
    },
    /// The roster.
    Roster(Vec<RosterEntry>),
    /// The log.
    LogInfo(LogInfo),
    /// Signed dataset descriptors.
    Datasets(Vec<Blob>),
    /// Signatures over one contract.
    Contract(Vec<Blob>),
    /// Signatures by contract.
    Contracts(Vec<Vec<Blob>>),
    /// A job was taken; the same answer for the same bytes again.
    Submitted(JobId),
    /// Owners' answers.
    Planned(Vec<PlanAnswer>),
    /// Jobs.
    Jobs(Vec<JobView>),
    /// One job.
    Job(Box<JobView>),
    /// A sealed result.
    Result(Box<SealedResult>),
    /// Leaves from the place that was asked for.
    Leaves(Vec<Blob>),
    /// A cosigned checkpoint note, and the leaves that it covers.
    Checkpoint(Blob),
    /// An invitation line.
    Invited(String),
    /// So many bytes of the item are here.
    Deposited(u64),
    /// A piece, and how many bytes there are in all.
    Fetched {
        /// Bytes of the whole.
        total: u64,
        /// The piece.
        bytes: Blob,
    },
    /// The leaf of a statement.
    Said(u64),
    /// What a close has issued so far.
    Closed(PeriodClosed),
    /// Attestations in the order of the hashes that were asked for, as many as an answer holds.
    Beside(Vec<Blob>),
    /// A COSE receipt.
    CoseReceipt(Blob),
    /// A record that lacks the caller's attestation.
    Record {
        /// The record, canonical CBOR.
        record: Blob,
        /// What shows its convictions.
        evidence: Vec<Blame>,
    },
    /// A job's papers.
    Papers {
        /// The signed job.
        job: Blob,
        /// Signed admissions and refusals, as many as an answer holds.
        answers: Vec<Blob>,
    },
    /// Changes of parties' keys.
    PartyKeys(Vec<Blob>),
}

/// An operator's signed order to cancel its job.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct CancelOrder {
    /// The job.
    #[n(1)]
    pub job: JobId,
}

impl tacit_crypto::Body for CancelOrder {
    const TYPE: &'static str = "cancel-order";
}

/// The dataset versions of a job's providers, by id, for those who plan or write a job.
pub fn dataset_id(descriptor: &[u8]) -> DatasetVersionId {
    DatasetVersionId(tacit_crypto::sha256(descriptor).0)
}
