//! Cases: complaints, incidents and conduct records, as signed statements in the log.
//!
//! A party opens a case with a statement that says whom it is about, who decides it, on which leaves it rests, and by
//! when it must be answered and decided. Each [`Step`] after that is a statement of its own, by the one whose step it is.
//! [`Cases`] follows a log and gives the state that its leaves allow, so whoever keeps the log and whoever verifies it
//! run the same code. Nothing is ever taken back: a case that was wrong is dismissed, and stays there as dismissed.

mod book;

use minicbor::{Decode, Encode};
use tacit_crypto::{Body, cbor};
use tacit_types::{Code, Fault, Hash, Name, NodeId, UnixMillis};

use crate::money::LeafRef;

pub use book::{CaseView, Cases, State};

/// The version of these statements that this code writes and reads.
pub const CASE_VERSION: u32 = 1;
/// Leaves that a case rests on.
pub const CASE_LEAVES_MAX: usize = 64;
/// Hashes of documents of a case or a step.
pub const CASE_EVIDENCE_MAX: usize = 64;
/// Bytes of the words of a case or a step.
pub const CASE_TEXT_BYTES_MAX: usize = 4096;
/// Steps of one case.
pub const CASE_STEPS_MAX: usize = 256;

/// What opens a case. One form for the three kinds, each of its own content type.
///
/// ```cddl
/// opening = { 1: 1, 2: origin, ? 3: about, 4: decider, 5: [* leaf], 6: topic, 7: text, 8: [* evidence_hash],
///   9: answer_by, 10: decide_by, ? 11: until }
/// leaf = { 1: index, 2: leaf_hash }
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Opening {
    /// [`CASE_VERSION`].
    #[n(1)]
    pub version: u32,
    /// The log.
    #[n(2)]
    pub origin: String,
    /// Whom it is about; an incident may be about nobody.
    #[n(3)]
    pub about: Option<NodeId>,
    /// Who decides: neither whom it is about nor, for a complaint, who complains.
    #[n(4)]
    pub decider: NodeId,
    /// Leaves that it rests on, ascending.
    #[n(5)]
    pub leaves: Vec<LeafRef>,
    /// What it is about, in one word of the parties' own, such as `overuse`.
    #[n(6)]
    pub topic: Name,
    /// What happened.
    #[n(7)]
    pub text: String,
    /// SHA-256 of documents that the parties exchange.
    #[n(8)]
    pub evidence: Vec<Hash>,
    /// By when the one whom it is about answers; of an incident, by when its parties are told.
    #[n(9)]
    pub answer_by: UnixMillis,
    /// By when it is decided.
    #[n(10)]
    pub decide_by: UnixMillis,
    /// When a conduct record ends by itself; for that kind alone.
    #[n(11)]
    pub until: Option<UnixMillis>,
}

/// A party says that another did wrong.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(transparent)]
pub struct Complaint(#[n(0)] pub Opening);

/// Something went wrong: who reports it contains it, tells those whom it concerns, and hands it to who closes it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(transparent)]
pub struct Incident(#[n(0)] pub Opening);

/// What a party is known for until a time. An objection freezes its effect.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(transparent)]
pub struct ConductRecord(#[n(0)] pub Opening);

/// A step of a case.
///
/// ```cddl
/// case-step = { 1: 1, 2: origin, 3: leaf, 4: act, 5: text, 6: [* evidence_hash] }
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Step {
    /// [`CASE_VERSION`].
    #[n(1)]
    pub version: u32,
    /// The log.
    #[n(2)]
    pub origin: String,
    /// The statement that opened the case.
    #[n(3)]
    pub case: LeafRef,
    /// What is done.
    #[n(4)]
    pub act: Act,
    /// In words.
    #[n(5)]
    pub text: String,
    /// SHA-256 of documents that the parties exchange.
    #[n(6)]
    pub evidence: Vec<Hash>,
}

/// What a step does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum Act {
    /// The one whom a complaint is about says its side.
    #[n(0)]
    Answer,
    /// Who reported an incident has contained it.
    #[n(1)]
    Contain,
    /// Who reported an incident has told those whom it concerns.
    #[n(2)]
    Notify,
    /// The one whom a conduct record is about objects to it.
    #[n(3)]
    Object,
    /// The decider: the case is right.
    #[n(4)]
    Uphold,
    /// The decider: it is not.
    #[n(5)]
    Dismiss,
    /// The decider: an incident is over.
    #[n(6)]
    Close,
    /// The decider: the cause of a conduct record was made good.
    #[n(7)]
    Repair,
    /// Who opened the case takes it back.
    #[n(8)]
    Withdraw,
}

impl Act {
    /// Every act.
    pub const ALL: [Act; 9] = [
        Act::Answer,
        Act::Contain,
        Act::Notify,
        Act::Object,
        Act::Uphold,
        Act::Dismiss,
        Act::Close,
        Act::Repair,
        Act::Withdraw,
    ];

    /// The stable word.
    pub const fn word(self) -> &'static str {
        match self {
            Act::Answer => "answer",
            Act::Contain => "contain",
            Act::Notify => "notify",
            Act::Object => "object",
            Act::Uphold => "uphold",
            Act::Dismiss => "dismiss",
            Act::Close => "close",
            Act::Repair => "repair",
            Act::Withdraw => "withdraw",
        }
    }
}

/// The three kinds of case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// A [`Complaint`].
    Complaint,
    /// An [`Incident`].
    Incident,
    /// A [`ConductRecord`].
    Conduct,
}

impl Kind {
    /// The stable word, which is the content type's.
    pub const fn word(self) -> &'static str {
        match self {
            Kind::Complaint => Complaint::TYPE,
            Kind::Incident => Incident::TYPE,
            Kind::Conduct => ConductRecord::TYPE,
        }
    }
}

impl Body for Complaint {
    const TYPE: &'static str = "complaint";
}
impl Body for Incident {
    const TYPE: &'static str = "incident";
}
impl Body for ConductRecord {
    const TYPE: &'static str = "conduct-record";
}
impl Body for Step {
    const TYPE: &'static str = "case-step";
}

/// A statement of a case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    /// It opens one.
    Opens(Kind, Opening),
    /// It goes on with one.
    Goes(Step),
}

fn wrong(what: impl Into<String>) -> Fault {
    Fault::new(Code::ReceiptCase, what)
}

impl Said {
    /// The statement of a content type's word and its body; none for another type.
    ///
    /// # Errors
    /// `receipt.malformed` when the body is not canonical CBOR of the type.
    pub fn read(kind: &str, body: &[u8]) -> Result<Option<Self>, Fault> {
        let malformed = |e: &str| Fault::new(Code::ReceiptMalformed, format!("a {kind} is {e}"));
        let opening = || cbor::decode::<Opening>(body).map_err(malformed);
        Ok(Some(match kind {
            Complaint::TYPE => Said::Opens(Kind::Complaint, opening()?),
            Incident::TYPE => Said::Opens(Kind::Incident, opening()?),
            ConductRecord::TYPE => Said::Opens(Kind::Conduct, opening()?),
            Step::TYPE => Said::Goes(cbor::decode(body).map_err(malformed)?),
            _ => return Ok(None),
        }))
    }

    /// Checks the statement by itself.
    ///
    /// # Errors
    /// `receipt.case`.
    pub fn check(&self) -> Result<(), Fault> {
        let (version, text, evidence) = match self {
            Said::Opens(_, opening) => (opening.version, &opening.text, &opening.evidence),
            Said::Goes(step) => (step.version, &step.text, &step.evidence),
        };
        if version != CASE_VERSION {
            return Err(wrong(format!("version {version} is not {CASE_VERSION}")));
        }
        if text.len() > CASE_TEXT_BYTES_MAX || evidence.len() > CASE_EVIDENCE_MAX {
            let most = format!("{CASE_TEXT_BYTES_MAX} bytes of text and {CASE_EVIDENCE_MAX} documents");
            return Err(wrong(format!("{} bytes and {} documents; {most} are allowed", text.len(), evidence.len())));
        }
        match self {
            Said::Opens(kind, opening) => opening.check(*kind),
            Said::Goes(_) => Ok(()),
        }
    }

    /// The origin of the log that it is for.
    pub fn origin(&self) -> &str {
        match self {
            Said::Opens(_, opening) => &opening.origin,
            Said::Goes(step) => &step.origin,
        }
    }
}

impl Opening {
    fn check(&self, kind: Kind) -> Result<(), Fault> {
        let ascending = self.leaves.iter().zip(self.leaves.iter().skip(1)).all(|(a, b)| a.index < b.index);
        if self.leaves.len() > CASE_LEAVES_MAX || !ascending {
            return Err(wrong(format!("leaves: at most {CASE_LEAVES_MAX}, ascending, each once")));
        }
        if self.about.is_none() && kind != Kind::Incident {
            return Err(wrong(format!("a {} is about somebody", kind.word())));
        }
        if self.about == Some(self.decider) {
            return Err(wrong("whom it is about cannot decide it"));
        }
        if self.answer_by > self.decide_by {
            return Err(wrong("it is to be decided before it is to be answered"));
        }
        match (kind, self.until) {
            (Kind::Conduct, None) => Err(wrong("a conduct record has an end")),
            (Kind::Conduct, Some(_)) | (_, None) => Ok(()),
            _ => Err(wrong("only a conduct record ends by itself")),
        }
    }
}
