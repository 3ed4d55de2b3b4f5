//! A job as its operator signs it. It carries no code: a kind, typed parameters, and terms.

use tacit_crypto::{Body, SealPublic, Statement, Transcript, cbor};
use tacit_types::limits::JOB_BYTES_MAX;
use tacit_types::{Code, ContractId, DatasetVersionId, Fault, Hash, JobId, ModelVersionId, NodeId, UnixMillis};

use crate::contract::Cohort;

/// One owner's dataset in a job.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct ProviderRef {
    /// The owner's root key.
    #[n(1)]
    pub owner: NodeId,
    /// The exact version.
    #[n(2)]
    pub dataset: DatasetVersionId,
    /// The view to read.
    #[n(3)]
    pub view: String,
}

/// One model in a job: which owner's node brings which version of it.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct ModelRef {
    /// The owner's root key.
    #[n(1)]
    pub owner: NodeId,
    /// The exact version.
    #[n(2)]
    pub model: ModelVersionId,
}

/// Something that came with the job, sealed to the parties: its bytes are not in the job, their hash is.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct AttachmentRef {
    /// What it is to the kind, such as `keys`.
    #[n(1)]
    pub name: String,
    /// The hash of the plain bytes, which begin with thirty-two random ones: the hash tells nothing of the rest.
    #[n(2)]
    pub plain: Hash,
    /// The hash of the sealed bytes, by which they are asked for.
    #[n(3)]
    pub sealed: Hash,
    /// Plain bytes, without the random ones.
    #[n(4)]
    pub bytes: u64,
}

/// The job. Its id is the hash of the signed bytes.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct JobSpec {
    /// Version of this format, 1.
    #[n(1)]
    pub version: u8,
    /// Kind with version, such as `stats/v1`.
    #[n(2)]
    pub kind: String,
    /// The kind's parameters, canonical CBOR.
    #[n(3)]
    #[cbor(with = "minicbor::bytes")]
    pub params: Vec<u8>,
    /// Contracts that the job relies on.
    #[n(4)]
    pub contracts: Vec<ContractId>,
    /// Who takes part with which data.
    #[n(5)]
    pub providers: Vec<ProviderRef>,
    /// The purpose, equal to the contracts'.
    #[n(6)]
    pub purpose: String,
    /// The key to which the result is sealed.
    #[n(7)]
    pub recipient: SealPublic,
    /// The floor for this job, at least the contracts'.
    #[n(8)]
    pub cohort: Cohort,
    /// Sixteen random bytes, so that two jobs with equal terms differ.
    #[n(9)]
    #[cbor(with = "minicbor::bytes")]
    pub nonce: Vec<u8>,
    /// When it was signed.
    #[n(10)]
    pub created_at: UnixMillis,
    /// After this it is not admitted any more.
    #[n(11)]
    pub expires_at: UnixMillis,
    /// Milliseconds that one attempt may take.
    #[n(12)]
    pub attempt_ms: u64,
    /// Models, each at its owner's node.
    #[n(13)]
    #[cbor(default, skip_if = "Vec::is_empty")]
    pub models: Vec<ModelRef>,
    /// Who deals correlated randomness and has no data in the job: its root key.
    #[n(14)]
    pub dealer: Option<NodeId>,
    /// What came with the job under seal.
    #[n(15)]
    #[cbor(default, skip_if = "Vec::is_empty")]
    pub attachments: Vec<AttachmentRef>,
    /// The recipient's root key, where it has a seat because it asks during the run: see
    /// [`OnlineFacts`](crate::OnlineFacts).
    #[n(16)]
    pub asker: Option<NodeId>,
}

impl Body for JobSpec {
    const TYPE: &'static str = "job";
}

/// Contracts that one job may name.
pub const JOB_CONTRACTS_MAX: usize = 16;
/// The longest attempt: one day.
pub const ATTEMPT_MS_MAX: u64 = 86_400_000;
/// Models of one job.
pub const JOB_MODELS_MAX: usize = 16;
/// Attachments of one job.
pub const JOB_ATTACHMENTS_MAX: usize = 4;

impl JobSpec {
    /// Parses a signed job and checks its form and signature, not its terms.
    ///
    /// # Errors
    /// `refused.unsigned` when the signature is not over these bytes, `refused.malformed` otherwise.
    pub fn verify(bytes: &[u8]) -> Result<Statement<JobSpec>, Fault> {
        let malformed = |what: String| Fault::new(Code::RefusedMalformed, what);
        if bytes.len() > JOB_BYTES_MAX {
            return Err(malformed(format!("{} bytes, at most {JOB_BYTES_MAX}", bytes.len())));
        }
        let job = Statement::<JobSpec>::verify(bytes).map_err(|e| match e {
            tacit_crypto::StatementError::Signature => Fault::new(Code::RefusedUnsigned, e.to_string()),
            other => malformed(other.to_string()),
        })?;
        let spec = job.body();
        let owners: std::collections::BTreeSet<NodeId> = spec.providers.iter().map(|p| p.owner).collect();
        let ok = spec.version == 1
            && spec.nonce.len() == 16
            && !spec.contracts.is_empty()
            && spec.contracts.len() <= JOB_CONTRACTS_MAX
            && owners.len() == spec.providers.len()
            && spec.providers.len() <= tacit_types::limits::SEATS_MAX
            && spec.models.len() <= JOB_MODELS_MAX
            && spec.attachments.len() <= JOB_ATTACHMENTS_MAX
            && spec.dealer.is_none_or(|d| !owners.contains(&d) && spec.models.iter().all(|m| m.owner != d))
            && spec.asker.is_none_or(|a| {
                !owners.contains(&a) && spec.dealer != Some(a) && spec.models.iter().all(|m| m.owner != a)
            })
            && (1..=ATTEMPT_MS_MAX).contains(&spec.attempt_ms)
            && spec.created_at < spec.expires_at;
        if ok { Ok(job) } else { Err(malformed("a field is out of its range".into())) }
    }

    /// The id of a signed job.
    pub fn id(job: &Statement<JobSpec>) -> JobId {
        JobId(job.id().0)
    }

    /// What the job asks, whoever signs it and when: the hash of all but its nonce and its times. Two jobs with the same
    /// question have the same answer.
    pub fn question(&self) -> Hash {
        let zero = UnixMillis(0);
        let bare = Self { nonce: Vec::new(), created_at: zero, expires_at: zero, attempt_ms: 0, ..self.clone() };
        Transcript::new("tacit-question/1").bytes(&cbor::encode(&bare)).finish()
    }

    /// Root keys of everyone with a seat: data owners, model owners, the dealer, who asks.
    pub fn seated(&self) -> std::collections::BTreeSet<NodeId> {
        let owners = self.providers.iter().map(|p| p.owner).chain(self.models.iter().map(|m| m.owner));
        owners.chain(self.dealer).chain(self.asker).collect()
    }

    /// The attachment of that name.
    pub fn attachment(&self, name: &str) -> Option<&AttachmentRef> {
        self.attachments.iter().find(|a| a.name == name)
    }

    /// This owner's part.
    pub fn provider(&self, owner: &NodeId) -> Option<&ProviderRef> {
        self.providers.iter().find(|p| p.owner == *owner)
    }
}
