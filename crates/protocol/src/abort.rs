//! Why a protocol stopped, and who is to blame with which evidence.

use serde::{Deserialize, Serialize};
use tacit_types::wire::Blob;
use tacit_types::{Code, Fault, Seat, Step};

/// A protocol ended without an output.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
pub enum Abort {
    /// Seats that did not deliver by the deadline, or were lost. They may be merely unreachable.
    #[error("{step}: nothing from {}", list(seats))]
    Missing {
        /// The step that waited.
        step: Step,
        /// Who did not deliver.
        seats: Vec<Seat>,
    },
    /// Fewer participants are left than the threshold.
    #[error("{step}: {have} of the {need} needed are left")]
    Quorum {
        /// The step that counted.
        step: Step,
        /// How many are there.
        have: u16,
        /// How many are needed.
        need: u16,
    },
    /// A party broke the protocol.
    #[error("{step}: {blame}")]
    Misbehaved {
        /// The step in which it showed.
        step: Step,
        /// Who, what, and the evidence.
        blame: Blame,
    },
    /// The parties do not hold the same job, roster or attempt.
    #[error("the parties hold different jobs or rosters ({})", list(seats))]
    Disagreement {
        /// Who differs from this seat.
        seats: Vec<Seat>,
    },
    /// The job was cancelled.
    #[error("cancelled [{0}]")]
    Cancelled(Code),
    /// The protocol tried to open a value that the job does not list.
    #[error("an opening that the job does not disclose: {0}")]
    Undisclosed(String),
    /// This seat's own half failed or its parameters are unusable.
    #[error(transparent)]
    Local(#[from] Fault),
}

fn list(seats: &[Seat]) -> String {
    seats.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Abort {
    /// The stable code shown on every side.
    pub fn code(&self) -> Code {
        match self {
            Abort::Missing { .. } | Abort::Quorum { .. } => Code::JobPeerLost,
            Abort::Misbehaved { .. } => Code::JobMisbehaved,
            Abort::Disagreement { .. } => Code::JobDisagreement,
            Abort::Cancelled(code) => *code,
            Abort::Undisclosed(_) => Code::JobInternal,
            Abort::Local(fault) => fault.code,
        }
    }

    /// The step, where there is one.
    pub fn step(&self) -> Option<Step> {
        match self {
            Abort::Missing { step, .. } | Abort::Quorum { step, .. } | Abort::Misbehaved { step, .. } => Some(*step),
            _ => None,
        }
    }

    /// The first seat that the abort names.
    pub fn seat(&self) -> Option<Seat> {
        match self {
            Abort::Missing { seats, .. } | Abort::Disagreement { seats } => seats.first().copied(),
            Abort::Misbehaved { blame: Blame { offender: Offender::Seat(seat), .. }, .. } => Some(*seat),
            _ => None,
        }
    }
}

/// Who broke the protocol.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Offender {
    /// A party in its seat.
    Seat(Seat),
    /// The coordinator, which chose the parameters, roster or survivor set.
    Coordinator,
}

/// How a party broke the protocol. A closed list: each has a test with a cheat in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Offence {
    /// Two different bodies under one address, or two signed bodies for one slot.
    Equivocation,
    /// Bytes that are not a message of the step.
    Malformed,
    /// A signature that is not the seat's.
    Signature,
    /// More bytes in flight than the window allows, or a message over its cap.
    Flow,
    /// A key that is the identity, non-canonical, or not the seat's own.
    BadKey,
    /// A deal whose share does not open, or does not match its commitment.
    BadDeal,
    /// No deal where one is due.
    MissingDeal,
    /// An opening that does not match its commitment.
    BadOpening,
    /// Enough valid openings that interpolate to another secret than the dealer committed to.
    Inconsistent,
    /// A masked input that does not match its signed header.
    BadInput,
    /// A survivor set that omits an input whose receipt the seat holds.
    LeftOut,
    /// A survivor set without a quorum of acknowledgements, or below the floor.
    NoQuorum,
    /// A model or query other than the agreed one.
    WrongRoot,
    /// A sum that fails its check.
    BadSum,
    /// Bytes that are not the encoding of a group element, or that of the identity.
    BadPoint,
    /// A list of different items that has one of them twice.
    Duplicate,
    /// A list that is to be in order and is not.
    Unordered,
    /// A list of another length than was announced.
    BadCount,
    /// An announced size beyond what the job allows.
    BadSize,
}

impl Offence {
    /// A stable word for receipts and JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Offence::Equivocation => "equivocation",
            Offence::Malformed => "malformed",
            Offence::Signature => "signature",
            Offence::Flow => "flow",
            Offence::BadKey => "bad_key",
            Offence::BadDeal => "bad_deal",
            Offence::MissingDeal => "missing_deal",
            Offence::BadOpening => "bad_opening",
            Offence::Inconsistent => "inconsistent",
            Offence::BadInput => "bad_input",
            Offence::LeftOut => "left_out",
            Offence::NoQuorum => "no_quorum",
            Offence::WrongRoot => "wrong_root",
            Offence::BadSum => "bad_sum",
            Offence::BadPoint => "bad_point",
            Offence::Duplicate => "duplicate",
            Offence::Unordered => "unordered",
            Offence::BadCount => "bad_count",
            Offence::BadSize => "bad_size",
        }
    }
}

/// Blame, with evidence that a third party can check where the offence leaves any.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
#[error("{offender:?}: {}", offence.word())]
pub struct Blame {
    /// Who.
    pub offender: Offender,
    /// What.
    pub offence: Offence,
    /// Signed bodies that show it, in the order that the protocol's documentation gives.
    pub evidence: Vec<Blob>,
}

impl Blame {
    /// Blame of a seat without transferable evidence: only the blaming seat saw it.
    pub fn seat(seat: Seat, offence: Offence) -> Self {
        Self { offender: Offender::Seat(seat), offence, evidence: Vec::new() }
    }

    /// Adds a piece of evidence.
    #[must_use]
    pub fn with(mut self, evidence: Vec<u8>) -> Self {
        self.evidence.push(Blob(evidence));
        self
    }

    /// The abort that carries this blame.
    pub fn at(self, step: Step) -> Abort {
        Abort::Misbehaved { step, blame: self }
    }
}
