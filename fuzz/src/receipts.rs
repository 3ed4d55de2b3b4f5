//! Everything that a verifier reads.

use tacit_crypto::cbor;
use tacit_crypto::statement::Envelope;
use tacit_governance::{Contract, JobSpec};
use tacit_receipts::link::{self, LinkLeaf, LinkProof, LinkSeal};
use tacit_receipts::papers::control::Said;
use tacit_receipts::papers::{Answer, Card, Described, Order, Terms};
use tacit_receipts::policy::{POLICY_ENTRIES_MAX, Policy};
use tacit_receipts::tiles::decode_bundle;
use tacit_receipts::{
    AddCheckpoint, Attestation, Bundle, Checkpoint, JointReceipt, Leaf, LogChain, LogProof, Opening, SealedOpening,
    SignatureLine, SignedNote, Trust, UsageRecord, VerifierKey, cose, rotation, verify_bundle,
};
use tacit_types::{NodeId, UnixMillis};

use crate::signed::canonical;

fn text(bytes: &[u8]) -> Option<&str> {
    core::str::from_utf8(bytes).ok()
}

/// A usage record.
pub fn usage_record(bytes: &[u8]) {
    canonical::<UsageRecord>(bytes);
}

/// An attestation's body. Codes of a later version read as `unknown`, so it need not be its own encoding.
pub fn attestation(bytes: &[u8]) {
    if let Ok(attestation) = cbor::decode::<Attestation>(bytes) {
        assert_eq!(cbor::encode(&attestation), bytes);
    }
}

/// A joint receipt's body.
pub fn joint_receipt(bytes: &[u8]) {
    if let Ok(receipt) = cbor::decode::<JointReceipt>(bytes) {
        assert_eq!(cbor::encode(&receipt), bytes);
    }
}

/// A leaf of the log.
pub fn leaf(bytes: &[u8]) {
    let _ = Leaf::read(bytes);
}

/// The leaves of one tile: they are all of its bytes.
pub fn entry_bundle(bytes: &[u8]) {
    let Some((width, rest)) = bytes.split_first() else { return };
    if let Ok(leaves) = decode_bundle(rest, u64::from(*width)) {
        assert_eq!(leaves.len(), usize::from(*width));
        assert_eq!(leaves.iter().map(|l| l.len() + 2).sum::<usize>(), rest.len());
    }
}

/// An evidence bundle, parsed.
pub fn bundle(bytes: &[u8]) {
    if let Ok(bundle) = Bundle::parse(bytes) {
        assert_eq!(bundle.to_bytes(), bytes);
    }
}

/// An evidence bundle, verified with the keys that it brings itself.
pub fn verify(bytes: &[u8]) {
    let _ = verify_bundle(bytes, None);
}

/// The body of a paper, as each type reads it.
pub fn paper(bytes: &[u8]) {
    let envelope = |kind: &str| Envelope {
        kind: kind.into(),
        signer: NodeId([1; 32]),
        subject: String::new(),
        issued_at: UnixMillis(0),
        link: None,
        body: bytes.to_vec(),
    };
    let keys = cbor::keys(bytes);
    if let Ok(terms) = Terms::read(bytes) {
        assert!(terms.further.iter().all(|key| keys.contains(key)));
        // What the deciding crate reads whole, this one reads alike.
        if let Ok(whole) = cbor::decode::<Contract>(bytes) {
            assert_eq!((&terms.known.name, &terms.known.purpose), (&whole.name, &whole.purpose));
            assert_eq!(terms.known.operators, whole.operators);
        }
    }
    let order = Order::read(&envelope(Order::TYPE));
    if let (Ok(order), Ok(whole)) = (&order, cbor::decode::<JobSpec>(bytes)) {
        assert_eq!((&order.purpose, &order.contracts), (&whole.purpose, &whole.contracts));
    }
    for kind in Said::TYPES {
        let _ = Said::read(kind, bytes);
    }
    let _ = (Card::read(bytes), Described::read(bytes));
    let _ = (Answer::read(&envelope(Answer::ADMISSION)), Answer::read(&envelope(Answer::REFUSAL)));
}

/// A trust file.
pub fn trust(bytes: &[u8]) {
    if let Ok(trust) = Trust::parse(bytes) {
        assert_eq!(trust.to_bytes(), bytes);
        assert!(trust.log().is_ok() && trust.witness_quorum().is_ok());
    }
}

/// A `.tlog-proof` file.
pub fn tlog_proof(bytes: &[u8]) {
    if let Ok(proof) = LogProof::parse(bytes) {
        let again = proof.to_string();
        assert_eq!(LogProof::parse(again.as_bytes()).as_ref().map(ToString::to_string), Ok(again));
    }
}

/// The text of a checkpoint.
pub fn checkpoint(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    if let Ok(checkpoint) = Checkpoint::parse(text) {
        assert_eq!(checkpoint.to_string(), text);
    }
}

/// A signed note and its lines.
pub fn note(bytes: &[u8]) {
    if let Ok(note) = SignedNote::parse(bytes) {
        assert_eq!(note.to_string().as_bytes(), bytes);
    }
    if let Some(Ok(line)) = text(bytes).map(SignatureLine::parse) {
        assert_eq!(line.to_string().as_bytes(), bytes);
    }
}

/// A verifier key in text form.
pub fn verifier_key(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    if let Ok(key) = VerifierKey::parse(text) {
        assert_eq!(key.to_string(), text);
    }
}

/// A witness's request.
pub fn add_checkpoint(bytes: &[u8]) {
    if let Ok(request) = AddCheckpoint::parse(bytes) {
        assert_eq!(request.to_bytes(), bytes);
    }
}

/// A COSE receipt, and a statement that carries receipts.
pub fn cose_receipt(bytes: &[u8]) {
    let example = crate::examples::cose_example();
    if let Ok(shown) = cose::verify_receipt(bytes, &example.leaf, &example.origin, &example.log) {
        assert_eq!((bytes, shown.index), (example.receipt.as_slice(), 2), "another receipt than the log signed");
    }
    if let Ok((leaf, receipts)) = cose::detach(bytes) {
        assert_eq!(cose::attach(&leaf, &receipts).as_deref(), Ok(bytes));
    }
}

/// A `tlog-policy` file, held against a checkpoint.
pub fn policy(bytes: &[u8]) {
    if let Ok(policy) = Policy::parse(bytes) {
        assert!(policy.logs().len() <= POLICY_ENTRIES_MAX);
        let note = crate::examples::cosigned();
        if let Ok((open, log)) = policy.open(&note) {
            assert!(policy.logs().contains(log) && open.checkpoint().origin == log.name());
        }
    }
}

/// Changes of the log's key, kept in a file and followed from the example log's own.
pub fn key_rotations(bytes: &[u8]) {
    let Ok(changes) = rotation::from_file(bytes) else { return };
    assert_eq!(rotation::to_file(&changes), bytes);
    let mut chain = LogChain::from(crate::world::log_key());
    let followed = chain.take(changes.iter().map(Vec::as_slice));
    assert!(chain.keys().count() <= rotation::LOG_KEYS_MAX);
    if followed.is_ok() {
        let mut again = chain.clone();
        assert_eq!(again.take(changes.iter().map(Vec::as_slice)), Ok(()));
        assert_eq!(again, chain, "what is known changes nothing");
    }
}

/// What shows a link of a party, and what of it the other end of the link brings: a leaf, and a seal.
pub fn link(bytes: &[u8]) {
    let ends = (NodeId([1; 32]), NodeId([2; 32]));
    let anybody: &link::Speaks<'_> = &|_, _| true;
    if let Ok(proof) = LinkProof::parse(bytes) {
        assert_eq!(proof.to_bytes(), bytes);
        if let Ok(leaf) = LinkLeaf::parse(&proof.leaf) {
            let _ = leaf.read((proof.job, proof.attempt), (&proof.party, &proof.peer), anybody);
        }
    }
    if let Ok(leaf) = LinkLeaf::parse(bytes) {
        assert_eq!(leaf.to_bytes(), bytes);
    }
    if let Ok(seal) = LinkSeal::read(bytes, (&ends.0, &ends.1), anybody) {
        assert_eq!((seal.from, seal.to), ends);
    }
}

/// What opens a figure of a receipt, in the clear and under seal.
pub fn opening(bytes: &[u8]) {
    if let Ok(opening) = Opening::parse(bytes) {
        assert_eq!(opening.to_bytes().as_slice(), bytes);
    }
    if let Ok(sealed) = SealedOpening::parse(bytes)
        && let Ok(opening) = sealed.open(&crate::examples::seal_key(9))
    {
        assert_eq!(opening.commitment(), sealed.commitment);
    }
}
