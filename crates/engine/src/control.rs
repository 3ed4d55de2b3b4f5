//! Messages between coordinator and node. They carry sealed or signed bytes and names of states,
//! never data, shares, masks or results.

use serde::{Deserialize, Serialize};
use tacit_crypto::sha256;
use tacit_governance::{Meter, Rule};
use tacit_protocol::{Blame, Seating};
use tacit_types::wire::Blob;
use tacit_types::{Attempt, Code, Fault, Hash, JobId, Name, NodeId, Seat, Step, UnixMillis};

/// One seated party of an attempt.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Seated {
    /// The party's card, signed by its root key, which the job names as a provider.
    pub card: Blob,
    /// Where its node listens. Addresses need no trust: keys do the checking.
    pub address: String,
}

/// What a node needs to take its seat.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Assignment {
    /// The job.
    pub job: JobId,
    /// The attempt.
    pub attempt: Attempt,
    /// Everyone, in any order: seats follow from the node ids.
    pub seats: Vec<Seated>,
    /// The node that adds and unmasks.
    pub aggregator: NodeId,
    /// Milliseconds until the attempt is over.
    pub budget_ms: u64,
    /// Milliseconds that one step may take.
    pub step_ms: u64,
}

/// Coordinator to node. Every request can be repeated: the answer is the same.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ToNode {
    /// Decide on a job and reserve its quota.
    Admit {
        /// The signed job.
        job: Blob,
        /// Signatures over the contracts that it names, and over the price plans that these name, as far as the coordinator
        /// has them.
        contracts: Vec<Vec<Blob>>,
    },
    /// Say how it would be decided; reserve nothing.
    Plan {
        /// The signed job.
        job: Blob,
        /// As in `Admit`.
        contracts: Vec<Vec<Blob>>,
    },
    /// Keep a slot free for an attempt.
    Reserve {
        /// The job.
        job: JobId,
        /// The attempt.
        attempt: Attempt,
        /// Milliseconds after which the slot is free again.
        ttl_ms: u64,
    },
    /// Take the seat.
    Start {
        /// Where.
        assignment: Assignment,
    },
    /// Stop this attempt at the next step, or never begin it. `Done` says that it was not begun here and
    /// never will be; `Started` that it was, and that its end is reported.
    Cancel {
        /// The job.
        job: JobId,
        /// The attempt.
        attempt: Attempt,
        /// Why.
        code: Code,
    },
    /// Attest the usage record.
    Attest {
        /// The job.
        job: JobId,
        /// The record, canonical CBOR.
        record: Blob,
        /// What shows its convictions.
        evidence: Vec<Blame>,
    },
    /// Cosign a checkpoint: an `add-checkpoint` body.
    Cosign {
        /// The body.
        request: Blob,
    },
    /// The receipt is in a cosigned checkpoint.
    Logged {
        /// The job.
        job: JobId,
        /// The leaf.
        leaf: Blob,
        /// The `.tlog-proof`.
        proof: Blob,
        /// The attestations that the leaf carries by hash alone; empty when it carries them itself.
        beside: Vec<Blob>,
    },
    /// The job has ended like this.
    Close {
        /// The job.
        job: JobId,
        /// How.
        terminal: Terminal,
    },
    /// Is anyone there?
    Ping,
    /// The coordinator's word that the receipt of the record that this node attested will be in the log in time.
    Promised {
        /// The job.
        job: JobId,
        /// The signed promise.
        promise: Blob,
    },
    /// Show the newest checkpoint of this log that your witness has cosigned: it says that it has seen more of it.
    Held,
}

/// Node to coordinator, in answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum FromNode {
    /// A signed admission.
    Admitted(Blob),
    /// A signed refusal.
    Refused(Blob),
    /// How `Plan` would be decided.
    Planned(Outlook),
    /// The slot is kept.
    Reserved,
    /// No slot is free.
    Busy,
    /// The attempt runs, or has run.
    Started,
    /// A signed attestation.
    Attested(Blob),
    /// A cosignature line.
    Cosigned(String),
    /// The witness holds another size than the request starts from.
    WitnessHolds(u64),
    /// This party's part of the result's key.
    Released(Blob),
    /// Done.
    Done,
    /// It cannot be done, and why.
    Failed(Fault),
    /// The checkpoint that the witness holds, with the log's own signature; none before the first.
    Held(Option<Blob>),
}

/// How a node would decide on a job now.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Outlook {
    /// The first objection, if any.
    pub objection: Option<Fault>,
    /// The word of the rule that objects; empty where none does.
    pub rule: String,
    /// The limits that the job meets there, before it; none for who may not know them.
    pub meters: Vec<Meter>,
}

impl Outlook {
    /// As it is passed on: a node's answer names rules that there are, and each limit once.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        if Rule::parse(&self.rule).is_none() {
            self.rule.clear();
        }
        let mut seen = std::collections::BTreeSet::new();
        self.meters.retain(|meter| seen.insert(meter.what));
        self
    }
}

/// Bytes of a sealed result that travels in a report: with the releases, the receipt and its proof it fits one frame.
pub const PACKAGE_INLINE_BYTES_MAX: usize = 640 << 10;

/// A sealed result.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Package {
    /// The bytes themselves, at most [`PACKAGE_INLINE_BYTES_MAX`].
    Inline(Blob),
    /// The coordinator keeps the bytes under their hash, see `ToCoordinator::Deposit`.
    Deposited {
        /// SHA-256 of the bytes.
        hash: Hash,
        /// How many there are.
        bytes: u64,
    },
    /// Bytes that this party has made for itself, as every survivor of a checked sum does; the aggregator brings them.
    /// The party's node attests no other result; to the coordinator it says nothing.
    Known {
        /// SHA-256 of the bytes.
        hash: Hash,
    },
}

impl Package {
    /// The commitment in the receipt: SHA-256 of the bytes, wherever they are.
    pub fn hash(&self) -> Hash {
        match self {
            Package::Inline(bytes) => sha256(bytes),
            Package::Deposited { hash, .. } | Package::Known { hash } => *hash,
        }
    }
}

/// How a party's attempt ended, as it tells the coordinator.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Finished {
    /// With a result.
    Ok {
        /// At the aggregator: the sealed result.
        package: Option<Package>,
        /// Whose inputs are in it.
        survivors: Vec<Seat>,
        /// Cells contributed under masks.
        cells_in: u64,
        /// Bytes of those cells.
        payload_bytes: u64,
        /// Cells released.
        cells_out: u64,
        /// Cells suppressed.
        cells_suppressed: u64,
        /// Numbers opened under each disclosure, by name.
        opened: Vec<(String, u64)>,
    },
    /// Without.
    Failed {
        /// The stable code.
        code: Code,
        /// In which step, if one had begun.
        step: Option<Step>,
        /// Which seat is named.
        seat: Option<Seat>,
        /// The sentence for people; from an owner's local half it says nothing of the data.
        hint: String,
        /// Whether this party's input had left it, masked.
        input_sent: bool,
    },
}

/// What a party says of its links in an attempt, as [`PartyLinks`](tacit_receipts::PartyLinks) has it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Linked {
    /// The root over them.
    pub root: Hash,
    /// The other ends that have signed something else than it did, ascending.
    pub differing: Vec<Seat>,
    /// How many have its own seal alone.
    pub unsealed: u16,
}

/// A report of a finished attempt. It is repeated until it is acknowledged.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Finish {
    /// The job.
    pub job: JobId,
    /// The attempt.
    pub attempt: Attempt,
    /// How.
    pub finished: Finished,
    /// Misbehaviour that this party can show, survived or not, at most as
    /// [`EVIDENCE_BYTES_MAX`](crate::evidence::EVIDENCE_BYTES_MAX) allows.
    pub blames: Vec<Blame>,
    /// Its links, where the attempt had any that came to their end.
    pub links: Option<Linked>,
}

/// The one end of a job, the same on every side.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Terminal {
    /// The result can be opened by its recipient.
    Succeeded,
    /// A party's policy said no.
    Refused {
        /// The stable code.
        code: Code,
        /// Who.
        party: Name,
        /// What exactly.
        reason: String,
    },
    /// It did not work.
    Failed {
        /// The stable code.
        code: Code,
        /// Which party, if one is named.
        party: Option<Name>,
        /// In which step.
        step: Option<Step>,
        /// The sentence for people.
        hint: String,
    },
    /// By its operator, as stores of before have it: not in which step.
    Cancelled,
    /// Not admitted or begun in time.
    Expired,
    /// By its operator.
    CancelledBy {
        /// Who.
        party: Name,
        /// In which step, if one had begun.
        step: Option<Step>,
    },
}

impl Terminal {
    /// The state's word.
    pub const fn word(&self) -> &'static str {
        match self {
            Terminal::Succeeded => "succeeded",
            Terminal::Refused { .. } => "refused",
            Terminal::Failed { .. } => "failed",
            Terminal::Cancelled | Terminal::CancelledBy { .. } => "cancelled",
            Terminal::Expired => "expired",
        }
    }

    /// The code, for every end but success.
    pub fn code(&self) -> Option<Code> {
        match self {
            Terminal::Succeeded => None,
            Terminal::Refused { code, .. } | Terminal::Failed { code, .. } => Some(*code),
            Terminal::Cancelled | Terminal::CancelledBy { .. } => Some(Code::JobCancelled),
            Terminal::Expired => Some(Code::RefusedJobExpired),
        }
    }

    /// Whose doing it was, if one party's.
    pub const fn party(&self) -> Option<&Name> {
        match self {
            Terminal::Refused { party, .. } | Terminal::CancelledBy { party, .. } => Some(party),
            Terminal::Failed { party, .. } => party.as_ref(),
            Terminal::Succeeded | Terminal::Cancelled | Terminal::Expired => None,
        }
    }

    /// In which step, if one had begun. Who refuses does so before the first.
    pub const fn step(&self) -> Option<Step> {
        match self {
            Terminal::Failed { step, .. } | Terminal::CancelledBy { step, .. } => *step,
            _ => None,
        }
    }

    /// What exactly, for people; the code has more.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Terminal::Refused { reason: text, .. } | Terminal::Failed { hint: text, .. } => Some(text),
            _ => None,
        }
    }
}

/// The word for a job's state.
pub type StateWord = String;

/// Something that happened to a job.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TimelineEntry {
    /// When.
    pub at: UnixMillis,
    /// What, in a word such as `admitted`.
    pub what: String,
    /// Which party, if one.
    pub party: Option<Name>,
    /// More, for people.
    pub detail: String,
}

/// A party of a job, as listings show it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PartyView {
    /// Name.
    pub name: Name,
    /// Node id.
    pub node: NodeId,
    /// `waiting`, `admitted`, `refused`, `finished`, `dropped`, `silent`.
    pub standing: String,
}

/// A job, as listings show it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct JobView {
    /// Id.
    pub id: JobId,
    /// Kind.
    pub kind: String,
    /// Purpose.
    pub purpose: String,
    /// State word.
    pub state: StateWord,
    /// The end, once there is one.
    pub terminal: Option<Terminal>,
    /// Attempts begun.
    pub attempt: u32,
    /// The step that the parties last reported.
    pub step: Option<Step>,
    /// When it was submitted.
    pub submitted_at: UnixMillis,
    /// Milliseconds since then, until the end.
    pub elapsed_ms: u64,
    /// Parties.
    pub parties: Vec<PartyView>,
    /// Whose node adds and unmasks in the present attempt.
    pub aggregator: Option<Name>,
    /// Place of the receipt in the log.
    pub receipt: Option<u64>,
    /// Timeline.
    pub timeline: Vec<TimelineEntry>,
    /// Hash of the sealed result.
    pub result: Option<Hash>,
    /// Whether every node checks the sums; `None` for a kind that has none.
    pub checked: Option<bool>,
}

impl JobView {
    /// The view of a party of the job: what happened to the others stays in it, but not what they said
    /// about it, which is for the job's operator.
    pub fn for_party(mut self, party: &Name) -> Self {
        for entry in &mut self.timeline {
            if entry.party.as_ref().is_some_and(|other| other != party) {
                entry.detail.clear();
            }
        }
        self
    }
}

/// Seats the nodes of an assignment.
pub fn seating(nodes: impl IntoIterator<Item = NodeId>) -> Option<Seating> {
    Seating::new(nodes.into_iter().collect())
}
