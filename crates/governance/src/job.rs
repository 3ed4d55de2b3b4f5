//! A job as its operator signs it. It carries no code: a kind, typed parameters, and terms.

use tacit_crypto::{Body, SealPublic, Statement};
use tacit_types::limits::JOB_BYTES_MAX;
use tacit_types::{Code, ContractId, DatasetVersionId, Fault, JobId, NodeId, UnixMillis};

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
}

impl Body for JobSpec {
    const TYPE: &'static str = "job";
}

/// Contracts that one job may name.
pub const JOB_CONTRACTS_MAX: usize = 16;
/// The longest attempt: one day.
pub const ATTEMPT_MS_MAX: u64 = 86_400_000;

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
            && (1..=ATTEMPT_MS_MAX).contains(&spec.attempt_ms)
            && spec.created_at < spec.expires_at;
        if ok { Ok(job) } else { Err(malformed("a field is out of its range".into())) }
    }

    /// The id of a signed job.
    pub fn id(job: &Statement<JobSpec>) -> JobId {
        JobId(job.id().0)
    }

    /// This owner's part.
    pub fn provider(&self, owner: &NodeId) -> Option<&ProviderRef> {
        self.providers.iter().find(|p| p.owner == *owner)
    }
}
