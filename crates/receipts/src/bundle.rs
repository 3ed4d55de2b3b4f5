//! What a verifier brings, and what it is brought: the [`Trust`] file and the evidence [`Bundle`].
//! Both are one deterministic CBOR item, so that a file has one form and a hash.

use std::collections::BTreeSet;

use minicbor::bytes::ByteVec;
use tacit_crypto::{cbor, sha256};
use tacit_types::{Code, Fault, Hash, Name, NodeId};

use crate::checkpoint::Quorum;
use crate::keys::{KeyHistory, KeyRole};
use crate::leaf::Leaf;
use crate::merkle::{HashSource, inclusion_proof};
use crate::note::{KeyKind, VerifierKey, check_name};
use crate::papers::PAPERS_MAX;
use crate::rotation::{LOG_KEYS_MAX, LogChain};

/// The version of both files.
pub const BUNDLE_VERSION: u32 = 1;
/// Bytes of an evidence bundle. A larger log is verified from its directory of tiles.
pub const BUNDLE_BYTES_MAX: usize = 256 << 20;
/// Bytes of a trust file.
pub const TRUST_BYTES_MAX: usize = 1 << 20;
/// Parties of a trust file.
pub const TRUST_PARTIES_MAX: usize = 4096;

/// The keys that a verification rests on. A verifier gets them from the parties themselves, by a
/// channel other than the log: it trusts nothing else.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Trust {
    /// [`BUNDLE_VERSION`].
    #[n(1)]
    pub version: u32,
    /// The log's origin.
    #[n(2)]
    pub origin: String,
    /// The key that signs receipts.
    #[n(3)]
    pub coordinator: NodeId,
    /// The verifier key of checkpoints, in text form.
    #[n(4)]
    pub log_key: String,
    /// The verifier keys of the witnesses, in text form.
    #[n(5)]
    pub witnesses: Vec<String>,
    /// Cosignatures that a checkpoint needs.
    #[n(6)]
    pub quorum: u32,
    /// The parties' keys.
    #[n(7)]
    pub parties: Vec<PartyKey>,
    /// Changes of the log's key that are known, in their order. Left out when there are none.
    #[n(8)]
    #[cbor(default, skip_if = "Vec::is_empty")]
    pub rotations: Vec<ByteVec>,
    /// Changes of the keys of parties and witnesses that are known. Left out when there are none.
    #[n(9)]
    #[cbor(default, skip_if = "Vec::is_empty")]
    pub party_rotations: Vec<ByteVec>,
}

/// The first key with which a party's node attests, which is the node's id, and the leaves for which it holds.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct PartyKey {
    /// The party's name.
    #[n(1)]
    pub name: Name,
    /// Its key.
    #[n(2)]
    pub key: NodeId,
    /// The first leaf that it may sign for.
    #[n(3)]
    pub from: u64,
    /// The first leaf that it may no longer sign for.
    #[n(4)]
    pub until: Option<u64>,
}

impl PartyKey {
    /// Whether the key holds at a leaf.
    pub fn holds_at(&self, leaf: u64) -> bool {
        self.from <= leaf && self.until.is_none_or(|until| leaf < until)
    }
}

fn unusable(what: impl Into<String>) -> Fault {
    Fault::new(Code::ReceiptBundle, what)
}

impl Trust {
    /// Reads a trust file.
    ///
    /// # Errors
    /// `receipt.bundle` when it is too long, not canonical, or does not pass [`Trust::check`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        if bytes.len() > TRUST_BYTES_MAX {
            return Err(unusable(format!("a trust file of {} bytes; {TRUST_BYTES_MAX} are allowed", bytes.len())));
        }
        let trust: Self = cbor::decode(bytes).map_err(|e| unusable(format!("the trust file is {e}")))?;
        trust.check()?;
        Ok(trust)
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// SHA-256 of the file, to be compared by another channel.
    pub fn fingerprint(&self) -> Hash {
        sha256(&self.to_bytes())
    }

    /// Checks the parts against each other.
    ///
    /// # Errors
    /// `receipt.bundle`, naming the part.
    pub fn check(&self) -> Result<(), Fault> {
        let part = |fault: Fault| unusable(fault.what);
        if self.version != BUNDLE_VERSION {
            return Err(unusable(format!("trust file version {} is not {BUNDLE_VERSION}", self.version)));
        }
        check_name(&self.origin).map_err(part)?;
        self.chain().map_err(part)?;
        self.witness_quorum().map_err(part)?;
        self.history().map_err(part)?;
        if self.rotations.len() >= LOG_KEYS_MAX {
            return Err(unusable(format!("{} changes of the log's key", self.rotations.len())));
        }
        if self.parties.len() > TRUST_PARTIES_MAX {
            return Err(unusable(format!("{} parties; {TRUST_PARTIES_MAX} are allowed", self.parties.len())));
        }
        let mut spans: Vec<(&NodeId, u64, u64)> =
            self.parties.iter().map(|p| (&p.key, p.from, p.until.unwrap_or(u64::MAX))).collect();
        spans.sort_unstable();
        if let Some((_, from, until)) = spans.iter().find(|(_, from, until)| from >= until) {
            return Err(unusable(format!("a key that holds from leaf {from} until {until}")));
        }
        if let Some((a, _)) = spans.iter().zip(spans.iter().skip(1)).find(|(a, b)| a.0 == b.0 && b.1 < a.2) {
            return Err(unusable(format!("the key {} is there twice for one leaf", a.0.short())));
        }
        Ok(())
    }

    /// The log's verifier key.
    ///
    /// # Errors
    /// `log.malformed`.
    pub fn log(&self) -> Result<VerifierKey, Fault> {
        let key = VerifierKey::parse(&self.log_key)?;
        if key.kind() != KeyKind::Ed25519 {
            return Err(Fault::new(Code::LogMalformed, "the log's key has another type than 1"));
        }
        Ok(key)
    }

    /// The log's keys: the pinned one, and those that the rotations here lead to.
    ///
    /// # Errors
    /// `log.malformed`; `log.key_rotation` for one that does not follow.
    pub fn chain(&self) -> Result<LogChain, Fault> {
        let mut chain = LogChain::from(self.log()?);
        chain.take(self.rotations.iter().map(|rotation| rotation.as_slice()))?;
        Ok(chain)
    }

    /// The quorum of witnesses, with every key that they have had.
    ///
    /// # Errors
    /// `log.malformed`; `receipt.key_rotation` for a change that does not follow.
    pub fn witness_quorum(&self) -> Result<Quorum, Fault> {
        let keys: Result<Vec<_>, _> = self.witnesses.iter().map(|text| VerifierKey::parse(text)).collect();
        let mut quorum = Quorum::new(keys?, self.quorum as usize)?;
        quorum.follow(&self.history()?);
        Ok(quorum)
    }

    /// The keys that parties and witnesses have had, as far as the changes here go.
    ///
    /// # Errors
    /// `receipt.malformed`, `receipt.signature`; `receipt.key_rotation` for one that does not follow.
    pub fn history(&self) -> Result<KeyHistory, Fault> {
        let mut history = KeyHistory::new(&self.origin);
        let ids = self.ids();
        history.take(self.party_rotations.iter().map(|rotation| rotation.as_slice()), &|role, key| {
            ids.contains(&(role, *key))
        })?;
        Ok(history)
    }

    /// The ids of parties, of witnesses and of the coordinator: their first keys.
    pub fn ids(&self) -> BTreeSet<(KeyRole, NodeId)> {
        let nodes = self.parties.iter().map(|party| (KeyRole::Node, party.key));
        let witnesses = self.witnesses.iter().filter_map(|text| VerifierKey::parse(text).ok());
        let coordinator = (KeyRole::Coordinator, self.coordinator);
        nodes.chain(witnesses.map(|key| (KeyRole::Witness, key.key()))).chain([coordinator]).collect()
    }
}

/// Evidence in one file: a whole log, or single leaves with proofs.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Bundle {
    /// [`BUNDLE_VERSION`].
    #[n(1)]
    pub version: u32,
    /// The packer's own view of the keys. A verifier that brings its own does not use it.
    #[n(2)]
    pub trust: Option<Trust>,
    /// The cosigned checkpoint note.
    #[n(3)]
    pub checkpoint: ByteVec,
    /// Every leaf from 0; empty for single leaves.
    #[n(4)]
    pub leaves: Vec<ByteVec>,
    /// Single leaves; empty for a whole log.
    #[n(5)]
    pub proven: Vec<Proven>,
    /// Attestation statements that receipts carry by hash alone.
    #[n(6)]
    pub beside: Vec<ByteVec>,
    /// Other checkpoints of the log that someone kept: each must fit the leaves.
    #[n(7)]
    pub kept: Vec<ByteVec>,
    /// Promises of the coordinator that someone kept.
    #[n(8)]
    pub promises: Vec<ByteVec>,
    /// Signed statements from outside the log that say under which authority uses were made: see
    /// [`papers`](crate::papers). Left out when there are none.
    #[n(9)]
    #[cbor(default, skip_if = "Vec::is_empty")]
    pub papers: Vec<ByteVec>,
}

/// A leaf with its inclusion proof.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Proven {
    /// The place in the log.
    #[n(1)]
    pub index: u64,
    /// The leaf.
    #[n(2)]
    pub leaf: ByteVec,
    /// The inclusion proof in the checkpoint's tree.
    #[n(3)]
    pub proof: Vec<Hash>,
}

impl Bundle {
    /// The keys that parties have had, as far as a trust file and the leaves here show it. What does not follow is left out: a
    /// verification names it.
    pub fn history(&self, trust: Option<&Trust>) -> KeyHistory {
        let Some(trust) = trust.or(self.trust.as_ref()) else { return KeyHistory::default() };
        let (mut history, ids) = (KeyHistory::new(&trust.origin), trust.ids());
        let own = self.trust.iter().chain([trust]).flat_map(|trust| &trust.party_rotations);
        let leaves = self.leaves.iter().chain(self.proven.iter().map(|proven| &proven.leaf));
        let changes = leaves.filter(|leaf| matches!(Leaf::read(leaf), Ok(Leaf::PartyRotation(_))));
        for change in changes.chain(own) {
            // why: see above.
            let _ = history.take([change.as_slice()], &|role, key| ids.contains(&(role, *key)));
        }
        history
    }

    /// A bundle of a whole log.
    pub fn whole(trust: Option<Trust>, checkpoint: Vec<u8>, leaves: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let leaves = leaves.into_iter().map(ByteVec::from).collect();
        Self { leaves, ..Self::empty(trust, checkpoint) }
    }

    /// A bundle of single leaves out of a tree of `size`.
    ///
    /// # Errors
    /// `log.proof` for a place outside the tree, `log.corrupt` when the source lacks a hash.
    pub fn single(
        trust: Option<Trust>,
        checkpoint: Vec<u8>,
        size: u64,
        source: &dyn HashSource,
        leaves: impl IntoIterator<Item = (u64, Vec<u8>)>,
    ) -> Result<Self, Fault> {
        let mut bundle = Self::empty(trust, checkpoint);
        for (index, leaf) in leaves {
            let proof = inclusion_proof(source, index, size)?;
            bundle.proven.push(Proven { index, leaf: leaf.into(), proof });
        }
        Ok(bundle)
    }

    fn empty(trust: Option<Trust>, checkpoint: Vec<u8>) -> Self {
        Self {
            version: BUNDLE_VERSION,
            trust,
            checkpoint: checkpoint.into(),
            leaves: Vec::new(),
            proven: Vec::new(),
            beside: Vec::new(),
            kept: Vec::new(),
            promises: Vec::new(),
            papers: Vec::new(),
        }
    }

    /// Reads a bundle. Its parts are checked by [`crate::verify_bundle`].
    ///
    /// # Errors
    /// `receipt.bundle` when it is over [`BUNDLE_BYTES_MAX`], not canonical, of another version, or
    /// not either a whole log or single leaves, or has over [`PAPERS_MAX`] papers.
    pub fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        if bytes.len() > BUNDLE_BYTES_MAX {
            return Err(unusable(format!("a bundle of {} bytes; {BUNDLE_BYTES_MAX} are allowed", bytes.len())));
        }
        let bundle: Self = cbor::decode(bytes).map_err(|e| unusable(format!("the bundle is {e}")))?;
        if bundle.version != BUNDLE_VERSION {
            return Err(unusable(format!("bundle version {} is not {BUNDLE_VERSION}", bundle.version)));
        }
        if bundle.leaves.is_empty() == bundle.proven.is_empty() {
            return Err(unusable("a bundle has either a whole log or single leaves"));
        }
        if bundle.leaves.is_empty() && !(bundle.kept.is_empty() && bundle.promises.is_empty()) {
            return Err(unusable("kept checkpoints and promises can be checked against a whole log alone"));
        }
        if bundle.papers.len() > PAPERS_MAX {
            return Err(unusable(format!("{} papers; {PAPERS_MAX} are allowed", bundle.papers.len())));
        }
        if let Some(trust) = &bundle.trust {
            trust.check()?;
        }
        Ok(bundle)
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(self)
    }
}
