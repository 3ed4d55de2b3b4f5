//! The fields of papers that are put into words. The numbers are those of `tacit_governance`.

use super::control::TermsControl;
use tacit_crypto::cbor;
use tacit_crypto::statement::Envelope;
use tacit_types::{Code, ContractId, DatasetVersionId, JobId, ModelVersionId, Name, NodeId, UnixMillis};

/// A party of a contract.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Decode)]
#[cbor(map)]
pub struct TermsParty {
    /// Name.
    #[n(1)]
    pub name: Name,
    /// Root key.
    #[n(2)]
    pub root: NodeId,
    /// 0 provider, 1 demander, 2 coordinator, 3 dealer.
    #[n(3)]
    pub role: u8,
}

impl TermsParty {
    /// Whether the contract is not in force without its signature: the coordinator alone need not sign.
    pub fn signs(&self) -> bool {
        self.role != 2
    }

    /// Whether it uses what comes of it.
    pub fn uses(&self) -> bool {
        self.role == 1
    }
}

/// A column that a contract grants.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Decode)]
#[cbor(map)]
pub struct TermsColumn {
    /// Name.
    #[n(1)]
    pub name: String,
}

/// A dataset version that a contract grants.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Decode)]
#[cbor(map)]
pub struct TermsDataset {
    /// The owner's root key.
    #[n(1)]
    pub owner: NodeId,
    /// The version.
    #[n(2)]
    pub dataset: DatasetVersionId,
    /// Views.
    #[n(3)]
    pub views: Vec<String>,
    /// Columns.
    #[n(4)]
    pub columns: Vec<TermsColumn>,
}

/// A party that may submit jobs.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Decode)]
#[cbor(map)]
pub struct TermsUser {
    /// The party's root key.
    #[n(1)]
    pub root: NodeId,
    /// The key that signs its jobs.
    #[n(2)]
    pub node: NodeId,
}

/// The terms of a contract that are put into words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Terms {
    /// The fields of the first version.
    pub known: TermsBody,
    /// Numbers of the fields that are not put into words.
    pub further: Vec<u64>,
}

/// What every contract has.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Decode)]
#[cbor(map)]
pub struct TermsBody {
    /// What the parties call it.
    #[n(2)]
    pub name: Name,
    /// Everyone.
    #[n(3)]
    pub parties: Vec<TermsParty>,
    /// What is granted.
    #[n(4)]
    pub datasets: Vec<TermsDataset>,
    /// Job kinds.
    #[n(5)]
    pub kinds: Vec<String>,
    /// The purpose.
    #[n(6)]
    pub purpose: String,
    /// Keys that may sign jobs.
    #[n(8)]
    pub operators: Vec<NodeId>,
    /// From when.
    #[n(11)]
    pub valid_from: UnixMillis,
    /// Until when, exclusive.
    #[n(12)]
    pub valid_until: UnixMillis,
    /// Whose the keys are that may sign jobs.
    #[n(13)]
    #[cbor(default)]
    pub users: Vec<TermsUser>,
    /// What it asks of others than its parties, among further terms of control.
    #[n(40)]
    pub control: Option<TermsControl>,
}

impl Terms {
    /// The statement's type.
    pub const TYPE: &'static str = "contract";

    /// Reads a contract's body.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn read(body: &[u8]) -> Result<Self, &'static str> {
        let known = cbor::decode_part(body)?;
        // Floor, quota, recipients and version belong to every contract; prices are in leaves of their own.
        let told = |key: &u64| matches!(key, 1..=13 | 30);
        Ok(Self { known, further: cbor::keys(body).into_iter().filter(|key| !told(key)).collect() })
    }
}

/// One owner's part of a job.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Decode)]
#[cbor(map)]
pub struct OrderPart {
    /// The owner's root key.
    #[n(1)]
    pub owner: NodeId,
    /// The version.
    #[n(2)]
    pub dataset: DatasetVersionId,
    /// The view.
    #[n(3)]
    pub view: String,
}

/// One model of a job.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Decode)]
#[cbor(map)]
pub struct OrderModel {
    /// The owner's root key.
    #[n(1)]
    pub owner: NodeId,
    /// The version.
    #[n(2)]
    pub model: ModelVersionId,
}

#[derive(minicbor::Decode)]
#[cbor(map)]
struct OrderBody {
    #[n(2)]
    kind: String,
    #[n(4)]
    contracts: Vec<ContractId>,
    #[n(5)]
    providers: Vec<OrderPart>,
    #[n(6)]
    purpose: String,
    #[n(10)]
    created_at: UnixMillis,
    #[n(13)]
    #[cbor(default)]
    models: Vec<OrderModel>,
}

/// A job as its operator signed it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Order {
    /// Who signed it: the id for which the key speaks.
    pub signer: NodeId,
    /// The key.
    pub key: NodeId,
    /// The kind with its version.
    pub kind: String,
    /// The contracts that it rests on.
    pub contracts: Vec<ContractId>,
    /// Whose data.
    pub providers: Vec<OrderPart>,
    /// Whose models.
    pub models: Vec<OrderModel>,
    /// The purpose.
    pub purpose: String,
    /// When it was signed.
    pub created_at: UnixMillis,
    /// The body's hash.
    pub spec: tacit_types::Hash,
}

impl Order {
    /// The statement's type.
    pub const TYPE: &'static str = "job";

    /// Reads a signed job.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn read(envelope: &Envelope) -> Result<Self, &'static str> {
        let OrderBody { kind, contracts, providers, purpose, created_at, models } = cbor::decode_part(&envelope.body)?;
        let (key, spec) = (envelope.signer, tacit_crypto::sha256(&envelope.body));
        Ok(Self { signer: key, key, kind, contracts, providers, models, purpose, created_at, spec })
    }
}

/// A party's card.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Decode)]
#[cbor(map)]
pub struct Card {
    /// Name.
    #[n(2)]
    pub name: Name,
    /// Root key.
    #[n(3)]
    pub root: NodeId,
    /// Node key.
    #[n(4)]
    pub node: NodeId,
}

impl Card {
    /// The statement's type.
    pub const TYPE: &'static str = "party-card";

    /// Reads a card's body.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn read(body: &[u8]) -> Result<Self, &'static str> {
        cbor::decode_part(body)
    }
}

/// A dataset or model version as its owner signed it.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Decode)]
#[cbor(map)]
pub struct Described {
    /// The owner's root key.
    #[n(2)]
    pub owner: NodeId,
    /// Its name at the owner.
    #[n(3)]
    pub name: Name,
    /// Version, from 1.
    #[n(4)]
    pub version: u32,
    /// What a dataset's owner says of it beside.
    #[n(40)]
    pub terms: Option<DescribedTerms>,
}

/// What is read of what an owner says of a dataset version.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Decode)]
#[cbor(map)]
pub struct DescribedTerms {
    /// Its grade; a higher number is more sensitive.
    #[n(2)]
    pub grade: u8,
}

impl Described {
    /// The type of a dataset version.
    pub const DATASET: &'static str = "dataset-version";
    /// The type of a model version.
    pub const MODEL: &'static str = "model-version";

    /// Reads a body.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn read(body: &[u8]) -> Result<Self, &'static str> {
        cbor::decode_part(body)
    }
}

#[derive(minicbor::Decode)]
#[cbor(map)]
struct AdmissionBody {
    #[n(1)]
    job: JobId,
    #[n(2)]
    owner: NodeId,
    #[n(3)]
    contract: ContractId,
    #[n(4)]
    dataset: Option<DatasetVersionId>,
    #[n(5)]
    at: UnixMillis,
}

#[derive(minicbor::Decode)]
#[cbor(map)]
struct RefusalBody {
    #[n(1)]
    job: JobId,
    #[n(2)]
    owner: NodeId,
    #[n(3)]
    code: Code,
    #[n(4)]
    reason: String,
    #[n(5)]
    at: UnixMillis,
}

/// What a party said to a job.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// Its node's key.
    pub signer: NodeId,
    /// The job.
    pub job: JobId,
    /// Its root key, as the node says.
    pub owner: NodeId,
    /// When.
    pub at: UnixMillis,
    /// Yes or no.
    pub said: Said,
}

/// Yes or no.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    /// Under a contract, over a dataset version where it has one in the job.
    Yes(ContractId, Option<DatasetVersionId>),
    /// Why, and what exactly.
    No(Code, String),
}

impl Answer {
    /// The type of a yes.
    pub const ADMISSION: &'static str = "admission";
    /// The type of a no.
    pub const REFUSAL: &'static str = "refusal";

    /// Reads a signed answer.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn read(envelope: &Envelope) -> Result<Self, &'static str> {
        let signer = envelope.signer;
        if envelope.kind == Self::ADMISSION {
            let AdmissionBody { job, owner, contract, dataset, at } = cbor::decode_part(&envelope.body)?;
            return Ok(Self { signer, job, owner, at, said: Said::Yes(contract, dataset) });
        }
        let RefusalBody { job, owner, code, reason, at } = cbor::decode_part(&envelope.body)?;
        Ok(Self { signer, job, owner, at, said: Said::No(code, reason) })
    }
}
