//! What others than the parties of a contract say over it: approvals, lists of what is denied, reviews of what computes,
//! assessments of who receives, revocations. Each is a signed statement; a node keeps those that its owner took in.

use tacit_crypto::{Body, Statement};
use tacit_types::{Code, ContractId, DatasetVersionId, Fault, Hash, ModelVersionId, NodeId, UnixMillis};

use crate::control::{CONTROL_TEXT_BYTES_MAX, Office, RISK_SCORE_MAX};
use crate::grade::Grade;
use crate::regrade::{Regrading, RegradingApproval};

/// What an approver or reviewer says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum Verdict {
    /// Yes.
    #[n(0)]
    Approve,
    /// No. It stands, whatever the same key says beside it.
    #[n(1)]
    Reject,
}

/// An approval of a contract, or its rejection. It holds for the exact bytes: an edited contract has another id.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Approval {
    /// The contract.
    #[n(1)]
    pub contract: ContractId,
    /// In what office.
    #[n(2)]
    pub office: Office,
    /// What is said.
    #[n(3)]
    pub verdict: Verdict,
    /// Why, for people.
    #[n(4)]
    pub reason: String,
}

impl Body for Approval {
    const TYPE: &'static str = "approval";
}

/// What is denied: a use to which every field that is given applies.
#[derive(Clone, PartialEq, Eq, Debug, Default, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Denied {
    /// A party of the contract or the signer of the job, by key.
    #[n(1)]
    pub party: Option<NodeId>,
    /// A purpose.
    #[n(2)]
    pub purpose: Option<String>,
    /// A dataset version.
    #[n(3)]
    pub dataset: Option<DatasetVersionId>,
    /// A column that the job touches.
    #[n(4)]
    pub column: Option<String>,
    /// A kind of job.
    #[n(5)]
    pub kind: Option<String>,
    /// A model version.
    #[n(6)]
    pub model: Option<ModelVersionId>,
}

impl Denied {
    fn says_something(&self) -> bool {
        *self != Self::default()
    }
}

/// A list of what is denied (负面清单). Denying always wins.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct NegativeList {
    /// What its issuer calls it. A later number of one name replaces the earlier.
    #[n(1)]
    pub name: String,
    /// Its number.
    #[n(2)]
    pub number: u64,
    /// What is denied.
    #[n(3)]
    pub items: Vec<Denied>,
    /// Why, for people and for refusals.
    #[n(4)]
    pub reason: String,
    /// Until when, exclusive; for good when absent.
    #[n(5)]
    pub until: Option<UnixMillis>,
}

impl Body for NegativeList {
    const TYPE: &'static str = "negative-list";
}

/// One reviewer's word on what computes (算法审查).
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct AlgorithmReview {
    /// The kind of job that was reviewed, with its version.
    #[n(1)]
    pub kind: String,
    /// The model version that was reviewed with it; the kind alone when absent.
    #[n(2)]
    pub model: Option<ModelVersionId>,
    /// What is said.
    #[n(3)]
    pub verdict: Verdict,
    /// The highest grade of data that it may be used on.
    #[n(4)]
    pub grade_max: Grade,
    /// The hash of the test vectors that were run.
    #[n(5)]
    pub vectors: Hash,
    /// Until when, exclusive.
    #[n(6)]
    pub until: UnixMillis,
    /// What each vector gave, where the reviewer ran those of the program: an owner's node runs them again.
    #[n(7)]
    #[cbor(default, skip_if = "Vec::is_empty")]
    pub runs: Vec<VectorRun>,
}

/// What a kind of job gave of one test vector.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct VectorRun {
    /// The vector's name.
    #[n(1)]
    pub name: String,
    /// The hash of the vector and of what it gave.
    #[n(2)]
    pub result: Hash,
}

/// Test vectors of one review.
pub const VECTOR_RUNS_MAX: usize = 64;

impl AlgorithmReview {
    /// The first vector of which something else came out here than at the reviewer, by what came out here.
    pub fn differs(&self, here: &[VectorRun]) -> Option<&VectorRun> {
        self.runs.iter().find(|run| !here.contains(run))
    }

    /// Whether the reviewer ran every vector that there is here.
    pub fn covers(&self, here: &[VectorRun]) -> bool {
        !self.runs.is_empty() && here.iter().all(|run| self.runs.contains(run))
    }
}

impl Body for AlgorithmReview {
    const TYPE: &'static str = "algorithm-review";
}

/// How risky it is that a party receives results (风险评估).
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct RiskAssessment {
    /// Whose risk, by root key.
    #[n(1)]
    pub party: NodeId,
    /// From 0 to 100.
    #[n(2)]
    pub score: u8,
    /// The hash of the report.
    #[n(3)]
    pub report: Hash,
    /// Until when, exclusive.
    #[n(4)]
    pub until: UnixMillis,
}

impl Body for RiskAssessment {
    const TYPE: &'static str = "risk-assessment";
}

/// That a party takes its signature back: for good, or for a time. It holds wherever it is known, with or without a
/// coordinator.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Revocation {
    /// The contract.
    #[n(1)]
    pub contract: ContractId,
    /// Why, for people and for refusals.
    #[n(2)]
    pub reason: String,
    /// Until when, exclusive, for a suspension; for good when absent. A later suspension takes the place of an earlier one,
    /// nothing takes that of a revocation.
    #[n(3)]
    pub until: Option<UnixMillis>,
}

impl Body for Revocation {
    const TYPE: &'static str = "revocation";
}

/// Entries of one list.
pub const LIST_ITEMS_MAX: usize = 4096;

/// A statement that a node keeps beside contracts.
#[derive(Clone, Debug)]
pub enum Order {
    /// A list of what is denied.
    List(Statement<NegativeList>),
    /// A review.
    Review(Statement<AlgorithmReview>),
    /// An assessment.
    Risk(Statement<RiskAssessment>),
    /// A revocation or suspension of a contract.
    Revocation(Statement<Revocation>),
    /// A dataset or a column graded anew by its owner.
    Regrading(Statement<Regrading>),
    /// What another one says to that.
    RegradingApproval(Statement<RegradingApproval>),
}

impl Order {
    /// Reads a statement of one of the kinds, and checks its signature and its form.
    ///
    /// # Errors
    /// `args.invalid` for anything else.
    pub fn read(bytes: &[u8]) -> Result<Self, Fault> {
        let invalid = |what: String| Fault::new(Code::ArgsInvalid, what);
        let envelope = tacit_crypto::statement::Envelope::verify(bytes).map_err(|e| invalid(e.to_string()))?;
        let of = |e: tacit_crypto::StatementError| invalid(e.to_string());
        let order = match envelope.kind.as_str() {
            NegativeList::TYPE => Order::List(Statement::verify(bytes).map_err(of)?),
            AlgorithmReview::TYPE => Order::Review(Statement::verify(bytes).map_err(of)?),
            RiskAssessment::TYPE => Order::Risk(Statement::verify(bytes).map_err(of)?),
            Revocation::TYPE => Order::Revocation(Statement::verify(bytes).map_err(of)?),
            Regrading::TYPE => Order::Regrading(Statement::verify(bytes).map_err(of)?),
            RegradingApproval::TYPE => Order::RegradingApproval(Statement::verify(bytes).map_err(of)?),
            other => {
                return Err(invalid(format!(
                    "a statement of type {other} is no list, review, assessment, revocation, regrading or approval of one"
                )));
            }
        };
        if order.is_sound() { Ok(order) } else { Err(invalid("a field is empty, too long or out of its range".into())) }
    }

    fn is_sound(&self) -> bool {
        let text = |t: &str| !t.trim().is_empty() && t.len() <= CONTROL_TEXT_BYTES_MAX;
        match self {
            Order::List(list) => {
                let list = list.body();
                text(&list.name)
                    && text(&list.reason)
                    && list.items.len() <= LIST_ITEMS_MAX
                    && list.items.iter().all(Denied::says_something)
            }
            Order::Review(review) => {
                let review = review.body();
                text(&review.kind)
                    && review.runs.len() <= VECTOR_RUNS_MAX
                    && review.runs.iter().all(|run| text(&run.name))
            }
            Order::Risk(risk) => risk.body().score <= RISK_SCORE_MAX,
            Order::Revocation(revocation) => text(&revocation.body().reason),
            Order::Regrading(regrading) => regrading.body().is_sound(),
            Order::RegradingApproval(word) => text(&word.body().reason),
        }
    }

    /// The word used in files and in JSON.
    pub const fn word(&self) -> &'static str {
        match self {
            Order::List(_) => "list",
            Order::Review(_) => "review",
            Order::Risk(_) => "risk",
            Order::Revocation(_) => "revocation",
            Order::Regrading(_) => Regrading::TYPE,
            Order::RegradingApproval(_) => RegradingApproval::TYPE,
        }
    }

    /// Who signed it.
    pub fn signer(&self) -> NodeId {
        match self {
            Order::List(s) => s.signer(),
            Order::Review(s) => s.signer(),
            Order::Risk(s) => s.signer(),
            Order::Revocation(s) => s.signer(),
            Order::Regrading(s) => s.signer(),
            Order::RegradingApproval(s) => s.signer(),
        }
    }

    /// The exact bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Order::List(s) => s.bytes(),
            Order::Review(s) => s.bytes(),
            Order::Risk(s) => s.bytes(),
            Order::Revocation(s) => s.bytes(),
            Order::Regrading(s) => s.bytes(),
            Order::RegradingApproval(s) => s.bytes(),
        }
    }

    /// What it is about: a later statement of the same signer on it takes its place.
    pub fn subject(&self) -> String {
        match self {
            Order::List(s) => s.body().name.clone(),
            Order::Review(s) => {
                let model = s.body().model.map(|m| m.to_string()).unwrap_or_default();
                format!("{} {model}", s.body().kind)
            }
            Order::Risk(s) => s.body().party.to_string(),
            Order::Revocation(s) => s.body().contract.to_string(),
            // Each of a version or column stays: they hold one after the other.
            Order::Regrading(s) => {
                let body = s.body();
                format!("{} {} {}", body.dataset, body.number, body.column.as_deref().unwrap_or_default())
            }
            Order::RegradingApproval(s) => s.body().regrading.to_string(),
        }
    }

    /// Which of two on one subject is the later: by its number, else by when it was signed.
    pub fn number(&self) -> u64 {
        match self {
            Order::List(s) => s.body().number,
            Order::Review(s) => s.envelope().issued_at.0,
            Order::Risk(s) => s.envelope().issued_at.0,
            // why: what is for good is later than whatever else there is.
            Order::Revocation(s) if s.body().until.is_none() => u64::MAX,
            Order::Revocation(s) => s.envelope().issued_at.0,
            Order::Regrading(s) => s.body().number,
            // A rejection stays.
            Order::RegradingApproval(s) if s.body().verdict == Verdict::Reject => u64::MAX,
            Order::RegradingApproval(s) => s.envelope().issued_at.0,
        }
    }
}
