//! What a contract asks of others than its parties, and what those have signed: approvals, reviews of what computes,
//! assessments of who receives, lists of what is denied. The numbers are those of `tacit_governance`.

use tacit_crypto::cbor;
use tacit_types::{ContractId, DatasetVersionId, ModelVersionId, NodeId, UnixMillis};

/// Whose approval a contract needs.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Decode)]
#[cbor(map)]
pub struct TermsApproval {
    /// In what office; see [`office`].
    #[n(1)]
    pub office: u8,
    /// Who may approve.
    #[n(3)]
    pub keys: Vec<NodeId>,
    /// How many of them must.
    #[n(4)]
    pub need: u8,
}

/// Who must have reviewed what computes.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Decode)]
#[cbor(map)]
pub struct TermsReview {
    /// Reviewers.
    #[n(1)]
    pub reviewers: Vec<NodeId>,
    /// How many of them must agree.
    #[n(2)]
    pub need: u8,
}

/// What an assessment of a recipient's risk must say.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Decode)]
#[cbor(map)]
pub struct TermsRisk {
    /// Assessors.
    #[n(1)]
    pub assessors: Vec<NodeId>,
    /// The greatest score that is taken.
    #[n(2)]
    pub score_max: u8,
}

/// The terms of control that are put into words.
#[derive(Clone, PartialEq, Eq, Debug, Default, minicbor::Decode)]
#[cbor(map)]
pub struct TermsControl {
    /// Approvals.
    #[n(6)]
    #[cbor(default)]
    pub approvals: Vec<TermsApproval>,
    /// Reviews.
    #[n(11)]
    pub review: Option<TermsReview>,
    /// Risk.
    #[n(12)]
    pub risk: Option<TermsRisk>,
}

/// The trustee of the persons behind the data: one rejection is a veto.
pub const TRUSTEE: u8 = 2;

/// What an office is called, in English and Chinese.
pub fn office(number: u8) -> (String, String) {
    let (en, zh) = match number {
        0 => ("chief data officer", "首席数据官"),
        1 => ("notary of compliance", "合规公证"),
        TRUSTEE => ("trustee", "受托者"),
        3 => ("reviewer of security", "安全审查"),
        _ => return (format!("office {number}"), format!("职务 {number}")),
    };
    (en.to_owned(), zh.to_owned())
}

/// The verdict that says yes. Any other is none.
pub const YES: u8 = 0;

/// An approval of a contract, or its rejection.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Decode)]
#[cbor(map)]
pub struct Approval {
    /// The contract.
    #[n(1)]
    pub contract: ContractId,
    /// In what office.
    #[n(2)]
    pub office: u8,
    /// [`YES`], or not.
    #[n(3)]
    pub verdict: u8,
}

/// One reviewer's word on what computes.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Decode)]
#[cbor(map)]
pub struct Review {
    /// The kind of job.
    #[n(1)]
    pub kind: String,
    /// The model, where one was reviewed.
    #[n(2)]
    pub model: Option<ModelVersionId>,
    /// [`YES`], or not.
    #[n(3)]
    pub verdict: u8,
    /// The highest grade of data that it is good for.
    #[n(4)]
    pub grade_max: u8,
    /// Until when, exclusive.
    #[n(6)]
    pub until: UnixMillis,
}

/// How risky it is that a party receives results.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Decode)]
#[cbor(map)]
pub struct Risk {
    /// Whose, by root key.
    #[n(1)]
    pub party: NodeId,
    /// From 0 to 100.
    #[n(2)]
    pub score: u8,
    /// Until when, exclusive.
    #[n(4)]
    pub until: UnixMillis,
}

/// An entry of a list: a use to which every field that is given applies.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Decode)]
#[cbor(map)]
pub struct Denied {
    /// A party of the contract or the signer of the job.
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

/// A list of what is denied.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Decode)]
#[cbor(map)]
pub struct List {
    /// What its issuer calls it.
    #[n(1)]
    pub name: String,
    /// Its number.
    #[n(2)]
    pub number: u64,
    /// What is denied.
    #[n(3)]
    pub items: Vec<Denied>,
    /// Why.
    #[n(4)]
    pub reason: String,
    /// Until when, exclusive; for good when absent.
    #[n(5)]
    pub until: Option<UnixMillis>,
}

/// A statement over a contract or its use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    /// An approval or a rejection.
    Approval(Approval),
    /// A review.
    Review(Review),
    /// An assessment.
    Risk(Risk),
    /// A list.
    List(List),
}

impl Said {
    /// The types that [`Said::read`] reads.
    pub const TYPES: [&'static str; 4] = ["approval", "algorithm-review", "risk-assessment", "negative-list"];

    /// Reads the body of a statement of one of [`Said::TYPES`].
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn read(kind: &str, body: &[u8]) -> Result<Self, &'static str> {
        match kind {
            "approval" => cbor::decode_part(body).map(Said::Approval),
            "algorithm-review" => cbor::decode_part(body).map(Said::Review),
            "risk-assessment" => cbor::decode_part(body).map(Said::Risk),
            "negative-list" => cbor::decode_part(body).map(Said::List),
            _ => Err("of another type"),
        }
    }
}
