//! Statements and the bodies in them.

use tacit_crypto::statement::Envelope;
use tacit_crypto::{Body, Statement, cbor};
use tacit_governance::admission::{Admission, Refusal};
use tacit_governance::lifecycle::DeletionAttestation;
use tacit_governance::orders::{AlgorithmReview, NegativeList, Revocation, RiskAssessment};
use tacit_governance::{Approval, Contract, DatasetDescriptor, JobSpec, Order, PartyCard, ProviderRef, SignedContract};
use tacit_jobs::checked::{CHECKED_NOISY_RESULT, CHECKED_RESULT, NOISY_RESULT};
use tacit_types::{Code, DatasetVersionId, LocalQuery, NodeId};

/// The law of canonical CBOR: what decodes is its own encoding, and stays so.
pub fn canonical<T>(bytes: &[u8])
where
    T: minicbor::Encode<()> + for<'b> minicbor::Decode<'b, ()> + PartialEq + core::fmt::Debug,
{
    if let Ok(value) = cbor::decode::<T>(bytes) {
        assert_eq!(cbor::encode(&value), bytes);
        assert_eq!(cbor::decode::<T>(&cbor::encode(&value)).as_ref(), Ok(&value));
    }
}

/// A statement of any type: one that verifies is the only encoding of its parts.
pub fn statement(bytes: &[u8]) {
    if let Ok(envelope) = Envelope::verify(bytes) {
        assert!(bytes.windows(32).any(|w| w == envelope.signer.0), "the signer is in the bytes");
        assert!(bytes.windows(envelope.body.len().max(1)).any(|w| w == envelope.body || envelope.body.is_empty()));
    }
}

fn keeps_bytes<T: Body>(bytes: &[u8], read: Option<&Statement<T>>) {
    if let Some(statement) = read {
        assert_eq!(statement.bytes(), bytes);
        assert_eq!(statement.id().0, tacit_crypto::sha256(bytes).0);
    }
}

/// A signed job.
pub fn job(bytes: &[u8]) {
    keeps_bytes(bytes, JobSpec::verify(bytes).ok().as_ref());
}

/// A party's card.
pub fn card(bytes: &[u8]) {
    keeps_bytes(bytes, PartyCard::verify(bytes).ok().as_ref());
}

/// One signature over a contract, twice the same: it counts once.
pub fn contract(bytes: &[u8]) {
    if let Ok(contract) = SignedContract::collect([bytes, bytes]) {
        assert_eq!(contract.signatures().len(), 1);
        assert_eq!(contract.id(), contract.body().id());
        let _ = contract.body().faults();
        assert!(contract.missing().len() < contract.body().signers().count());
    }
}

/// A list, a review, an assessment or a revocation; an approval; and an attestation of deletion.
pub fn orders(bytes: &[u8]) {
    if let Ok(order) = Order::read(bytes) {
        assert_eq!(order.bytes(), bytes);
        assert!(!order.subject().is_empty());
        let again = Order::read(order.bytes()).map(|o| (o.word(), o.number(), o.signer()));
        assert_eq!(again, Ok((order.word(), order.number(), order.signer())));
    }
    if let Ok(approval) = Statement::<Approval>::verify(bytes) {
        keeps_bytes(bytes, Some(&approval));
        assert!(Order::read(bytes).is_err(), "an approval is no order");
    }
    canonical::<Approval>(bytes);
    canonical::<NegativeList>(bytes);
    canonical::<AlgorithmReview>(bytes);
    canonical::<RiskAssessment>(bytes);
    canonical::<Revocation>(bytes);
    canonical::<DeletionAttestation>(bytes);
    if let Ok(attestation) = Statement::<DeletionAttestation>::verify(bytes) {
        keeps_bytes(bytes, Some(&attestation));
        assert!(Order::read(bytes).is_err(), "an attestation is no order");
    }
}

/// A job's body.
pub fn cbor_job(bytes: &[u8]) {
    canonical::<JobSpec>(bytes);
}

/// A contract's body; its faults can be named whatever it holds.
pub fn cbor_contract(bytes: &[u8]) {
    canonical::<Contract>(bytes);
    if let Ok(contract) = cbor::decode::<Contract>(bytes) {
        let _ = contract.faults();
    }
}

/// A dataset version's body.
pub fn cbor_dataset(bytes: &[u8]) {
    canonical::<DatasetDescriptor>(bytes);
}

/// A party card's body.
pub fn cbor_card(bytes: &[u8]) {
    canonical::<PartyCard>(bytes);
}

/// An owner's decision.
pub fn cbor_decision(bytes: &[u8]) {
    canonical::<Admission>(bytes);
    // A code of a later version reads as `unknown`, so a refusal need not encode to its own bytes.
    let _ = cbor::decode::<Refusal>(bytes);
}

const OWNER: tacit_types::NodeId = tacit_types::NodeId([1; 32]);

fn plans(kind: &str, params: &[u8]) {
    let provider = |n| ProviderRef { owner: NodeId([n; 32]), dataset: DatasetVersionId([n; 32]), view: "v".into() };
    let providers = [1, 2, 3].map(provider);
    let parts = tacit_jobs::Parts { providers: &providers, ..Default::default() };
    // proof: both kinds are in the catalogue.
    let Ok(plan) = tacit_jobs::kind(kind).expect("a known kind").plan(params, &parts) else {
        return;
    };
    let facts = plan.facts(&OWNER);
    assert!(facts.providers_min >= 3);
    assert!(!plan.disclosures().is_empty());
    let names = ["result", CHECKED_RESULT, NOISY_RESULT, CHECKED_NOISY_RESULT];
    let result = |d: &tacit_protocol::Disclosure| names.contains(&d.what.as_str()) && d.cells_max > 0;
    assert!(plan.disclosures().iter().any(result), "a job has a result");
    let query: LocalQuery = plan.local_query(&OWNER, "data");
    assert!(query.columns.iter().all(|c| facts.uses.iter().any(|(used, _)| used == c)), "every column read is decided");
    assert!(plan.estimate(3).cells > 0);
    let _ = plan.fold(&OWNER, tacit_jobs::Material::default());
}

/// Parameters of `stats/v1`: what is planned is bounded.
pub fn stats_params(bytes: &[u8]) {
    plans("stats/v1", bytes);
}

/// Parameters of `count/v1`.
pub fn count_params(bytes: &[u8]) {
    plans("count/v1", bytes);
}

/// Stable codes: any text is a code, and one that is known has that very text.
pub fn code(text: &str) {
    let code = Code::parse(text);
    assert!(code == Code::Unknown || code.text() == text);
}
