//! Three owners, their nodes, and a job of theirs.

use tacit_crypto::{SealPublic, Secret, SigningKey, Statement};
use tacit_governance::{Cohort, JobSpec, ProviderRef};
use tacit_types::{ContractId, DatasetVersionId, Seat, UnixMillis};

/// When the job was written.
pub const T0: UnixMillis = UnixMillis(1_800_000_000_000);
/// The log's origin.
pub const ORIGIN: &str = "l.example/u";

/// A key of its number.
pub fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&Secret::new([n; 32]))
}

/// Owners in the order of their seats.
pub fn owners() -> Vec<u8> {
    let mut owners = vec![1, 2, 3];
    owners.sort_by_key(|n| key(n + 100).id());
    owners
}

/// The node's key of a seat.
pub fn node(seat: Seat) -> SigningKey {
    key(owners()[seat.index()] + 100)
}

/// A job of three owners that its operator signed.
pub fn spec() -> Vec<u8> {
    let provider = |n: u8| ProviderRef { owner: key(n).id(), dataset: DatasetVersionId([n; 32]), view: "v".into() };
    let spec = JobSpec {
        version: 1,
        kind: "count/v1".into(),
        params: Vec::new(),
        contracts: vec![ContractId([1; 32])],
        providers: [1, 2, 3].map(provider).to_vec(),
        purpose: "test".into(),
        recipient: SealPublic([7; 32]),
        cohort: Cohort { rows: 3, contributors: 2 },
        nonce: vec![7; 16],
        created_at: T0,
        expires_at: T0.plus(3_600_000),
        attempt_ms: 60_000,
        models: Vec::new(),
        dealer: None,
        asker: None,
        attachments: Vec::new(),
    };
    Statement::sign(&key(90), "job", T0, None, spec).bytes().to_vec()
}
