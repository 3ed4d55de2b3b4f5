//! What went over a link: hashes of both directions, signed by both of its ends.
//!
//! Two seats of an attempt have one link. Each end hashes the frames of the protocol that it sends and those that it receives,
//! each direction as a chain ([`FlowChain`]), and signs what it holds at the end: a [`LinkSeal`]. What both have signed is the
//! link's [`LinkLeaf`], the same at both. A party's attestation carries the root of RFC 6962 over its leaves, so that it can show
//! later, without the coordinator, what it sent and received and that the other end signed for it: a [`LinkProof`].

use std::collections::BTreeSet;

use minicbor::bytes::ByteVec;
use tacit_crypto::statement::Envelope;
use tacit_crypto::{Body, SigningKey, Statement, Transcript, cbor, sha256};
use tacit_types::{Attempt, Code, Fault, Hash, JobId, NodeId, UnixMillis};

use crate::bundle::Trust;
use crate::keys::{KeyHistory, KeyRole};
use crate::merkle::{MemTree, PROOF_HASHES_MAX, inclusion_proof, leaf_hash, root_of_proof};
use crate::opening::attestation_of;
use crate::receipt::Attestation;
use crate::record::UsageRecord;

/// Bytes of one end's seal of a link.
pub const LINK_SEAL_BYTES_MAX: usize = 1024;
/// Bytes of a link's leaf.
pub const LINK_LEAF_BYTES_MAX: usize = 2 * LINK_SEAL_BYTES_MAX + 64;
/// Bytes of a file that shows a link.
pub const LINK_PROOF_BYTES_MAX: usize = 8 << 10;

const LABEL: &str = "tacit-link/1";
const VERSION: u8 = 1;

fn wrong(what: impl Into<String>) -> Fault {
    Fault::new(Code::ReceiptLink, what)
}

/// The attempt that a link belongs to. Each attempt has its own links: nothing goes on in the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkScope {
    /// The job.
    pub job: JobId,
    /// The attempt.
    pub attempt: Attempt,
    /// The hash of job, attempt, aggregator and seats that every seat echoes before any input moves.
    pub session: Hash,
}

/// What went one way over a link: `{1: frames, 2: bytes, 3: chain}`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Flow {
    /// Frames.
    #[n(1)]
    pub frames: u64,
    /// Their bytes.
    #[n(2)]
    pub bytes: u64,
    /// [`FlowChain`] after the last of them.
    #[n(3)]
    pub chain: Hash,
}

/// The hash over the frames of one direction, in their order: it begins with the hash of job, attempt, session, sender and
/// receiver, and each frame makes it SHA-256(chain || SHA-256(frame)).
#[derive(Clone, Copy, Debug)]
pub struct FlowChain(Flow);

impl FlowChain {
    /// Before the first frame from one node to another.
    pub fn new(scope: &LinkScope, from: &NodeId, to: &NodeId) -> Self {
        let chain = Transcript::new(LABEL)
            .fixed(scope.job.as_bytes())
            .u64(u64::from(scope.attempt.0))
            .fixed(&scope.session.0)
            .fixed(from.as_bytes())
            .fixed(to.as_bytes())
            .finish();
        Self(Flow { frames: 0, bytes: 0, chain })
    }

    /// Takes the next frame.
    pub fn take(&mut self, frame: &[u8]) {
        let mut both = [0; 64];
        let (before, next) = both.split_at_mut(32);
        before.copy_from_slice(&self.0.chain.0);
        next.copy_from_slice(&sha256(frame).0);
        self.0 = Flow {
            frames: self.0.frames.saturating_add(1),
            bytes: self.0.bytes.saturating_add(frame.len() as u64),
            chain: sha256(&both),
        };
    }

    /// What has gone so far.
    pub fn flow(&self) -> Flow {
        self.0
    }
}

/// What one end of a link signs when it has heard everything. Its subject is that of the attempt's receipt.
///
/// ```cddl
/// link-seal = { 1: 1, 2: job, 3: attempt, 4: session, 5: from, 6: to, 7: flow, 8: flow }  ; 7 sent, 8 received
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct LinkSeal {
    /// Version of this format, 1.
    #[n(1)]
    pub version: u8,
    /// The job.
    #[n(2)]
    pub job: JobId,
    /// The attempt.
    #[n(3)]
    pub attempt: Attempt,
    /// The session, as [`LinkScope::session`].
    #[n(4)]
    pub session: Hash,
    /// The node whose seal it is, by its first key.
    #[n(5)]
    pub from: NodeId,
    /// The node at the other end.
    #[n(6)]
    pub to: NodeId,
    /// What it has sent.
    #[n(7)]
    pub sent: Flow,
    /// What it has received.
    #[n(8)]
    pub received: Flow,
}

impl Body for LinkSeal {
    const TYPE: &'static str = "link-seal";
}

/// Says whether the signer of a seal speaks for a node.
pub type Speaks<'a> = dyn Fn(&NodeId, &Envelope) -> bool + 'a;

impl LinkSeal {
    /// Signs what `from` holds of its link with `to`.
    pub fn sign(
        key: &SigningKey,
        scope: &LinkScope,
        (from, to): (NodeId, NodeId),
        (sent, received): (Flow, Flow),
        at: UnixMillis,
    ) -> Statement<Self> {
        let LinkScope { job, attempt, session } = *scope;
        let seal = Self { version: VERSION, job, attempt, session, from, to, sent, received };
        Statement::sign(key, &seal.subject(), at, None, seal)
    }

    fn subject(&self) -> String {
        format!("job/{}/{}", self.job, self.attempt.0)
    }

    /// The attempt that it is of.
    pub fn scope(&self) -> LinkScope {
        LinkScope { job: self.job, attempt: self.attempt, session: self.session }
    }

    /// Reads the seal of one end, signed by a key that speaks for it.
    ///
    /// # Errors
    /// `receipt.link` for anything else, or one of another link.
    pub fn read(bytes: &[u8], (from, to): (&NodeId, &NodeId), speaks: &Speaks<'_>) -> Result<Self, Fault> {
        if bytes.len() > LINK_SEAL_BYTES_MAX {
            return Err(wrong(format!("a seal of {} bytes, at most {LINK_SEAL_BYTES_MAX}", bytes.len())));
        }
        let signed = Statement::<Self>::verify(bytes).map_err(|e| wrong(format!("a seal: {e}")))?;
        let seal = *signed.body();
        if seal.version != VERSION || signed.envelope().subject != seal.subject() || signed.envelope().link.is_some() {
            return Err(wrong("a seal of another version, or with another job in its header"));
        }
        if (seal.from, seal.to) != (*from, *to) {
            return Err(wrong("a seal of another link, or of its other end"));
        }
        if !speaks(from, signed.envelope()) {
            return Err(wrong(format!("a seal of {} by {}", from.short(), signed.signer().short())));
        }
        Ok(seal)
    }

    /// Whether the other end says the same of both directions.
    pub fn agrees(&self, other: &Self) -> bool {
        self.scope() == other.scope() && (self.sent, self.received) == (other.received, other.sent)
    }
}

/// How a link stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkState {
    /// Both ends have signed the same.
    Sealed,
    /// Both have signed, and not the same: what went over it is disputed.
    Differs,
    /// One end's word alone is here.
    Unsealed,
}

impl LinkState {
    /// Its word.
    pub const fn word(self) -> &'static str {
        match self {
            LinkState::Sealed => "sealed",
            LinkState::Differs => "differs",
            LinkState::Unsealed => "unsealed",
        }
    }
}

/// A link with the seals of its ends, the lesser id's first.
///
/// ```cddl
/// link-leaf = { 1: 1, ? 2: bstr, ? 3: bstr }                   ; the statements of the lesser and of the greater id
/// ```
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct LinkLeaf {
    #[n(1)]
    version: u8,
    #[n(2)]
    lesser: Option<ByteVec>,
    #[n(3)]
    greater: Option<ByteVec>,
}

/// A link that was read: each end's seal, `here` the one of whom it was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadLink {
    /// The seal of the end that was asked of.
    pub here: Option<LinkSeal>,
    /// The other's.
    pub there: Option<LinkSeal>,
    /// How the link stands.
    pub state: LinkState,
}

impl LinkLeaf {
    /// Of the seals that one end has: its own, and the other's where that came.
    pub fn new((here, own): (&NodeId, &[u8]), (there, other): (&NodeId, Option<&[u8]>)) -> Self {
        let (own, other) = (Some(ByteVec::from(own.to_vec())), other.map(|bytes| ByteVec::from(bytes.to_vec())));
        let (lesser, greater) = if here < there { (own, other) } else { (other, own) };
        Self { version: VERSION, lesser, greater }
    }

    /// The bytes that are hashed.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// Parses a leaf.
    ///
    /// # Errors
    /// `receipt.link` for anything but its one encoding, or more than [`LINK_LEAF_BYTES_MAX`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        if bytes.len() > LINK_LEAF_BYTES_MAX {
            return Err(wrong(format!("a link of {} bytes, at most {LINK_LEAF_BYTES_MAX}", bytes.len())));
        }
        let leaf: Self = cbor::decode(bytes).map_err(|e| wrong(format!("a link is {e}")))?;
        if leaf.version != VERSION {
            return Err(wrong("a link of another version"));
        }
        Ok(leaf)
    }

    /// Reads the seals of the link between two nodes in an attempt.
    ///
    /// # Errors
    /// `receipt.link` for a seal that is not of this link, attempt and end, when both are of different sessions, or none is there.
    pub fn read(
        &self,
        (job, attempt): (JobId, Attempt),
        (here, there): (&NodeId, &NodeId),
        speaks: &Speaks<'_>,
    ) -> Result<ReadLink, Fault> {
        let (own, other) = if here < there { (&self.lesser, &self.greater) } else { (&self.greater, &self.lesser) };
        let read = |bytes: &Option<ByteVec>, ends| {
            let seal = bytes.as_ref().map(|bytes| LinkSeal::read(bytes, ends, speaks)).transpose()?;
            match seal {
                Some(seal) if (seal.job, seal.attempt) != (job, attempt) => Err(wrong("a seal of another attempt")),
                seal => Ok(seal),
            }
        };
        let (here, there) = (read(own, (here, there))?, read(other, (there, here))?);
        let state = match (&here, &there) {
            (Some(a), Some(b)) if a.session != b.session => return Err(wrong("seals of two sessions")),
            (Some(a), Some(b)) if a.agrees(b) => LinkState::Sealed,
            (Some(_), Some(_)) => LinkState::Differs,
            (None, None) => return Err(wrong("a link without a seal")),
            _ => LinkState::Unsealed,
        };
        Ok(ReadLink { here, there, state })
    }
}

/// The root over a party's links, whose leaves are in the order of the other ends' ids. None where there are none.
pub fn links_root<'a>(leaves: impl IntoIterator<Item = &'a [u8]>) -> Option<Hash> {
    let tree = links_tree(leaves);
    (tree.size() > 0).then(|| tree.root())
}

fn links_tree<'a>(leaves: impl IntoIterator<Item = &'a [u8]>) -> MemTree {
    let mut tree = MemTree::default();
    leaves.into_iter().for_each(|leaf| tree.push(leaf_hash(leaf)));
    tree
}

/// One link of a party, and the way from it to the root in the party's attestation.
///
/// ```cddl
/// link-proof = { 1: 1, 2: job, 3: attempt, 4: party, 5: peer, 6: index, 7: size, 8: [* hash], 9: bstr }    ; 9: link-leaf
/// ```
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct LinkProof {
    /// Version of this format, 1.
    #[n(1)]
    pub version: u8,
    /// The job.
    #[n(2)]
    pub job: JobId,
    /// Its attempt.
    #[n(3)]
    pub attempt: Attempt,
    /// The party whose link it is, by its node's first key.
    #[n(4)]
    pub party: NodeId,
    /// The party at the other end.
    #[n(5)]
    pub peer: NodeId,
    /// The link's place among the party's, from 0.
    #[n(6)]
    pub index: u64,
    /// How many links the party had.
    #[n(7)]
    pub size: u64,
    /// Hashes from the link's sibling upward.
    #[n(8)]
    pub path: Vec<Hash>,
    /// The link's leaf.
    #[n(9)]
    pub leaf: ByteVec,
}

impl LinkProof {
    /// Of the link at a place among a party's leaves.
    ///
    /// # Errors
    /// `log.proof` for a place that there is not.
    pub fn new(
        (job, attempt): (JobId, Attempt),
        (party, peer): (NodeId, NodeId),
        index: u64,
        leaves: &[Vec<u8>],
    ) -> Result<Self, Fault> {
        let tree = links_tree(leaves.iter().map(Vec::as_slice));
        let path = inclusion_proof(&tree, index, tree.size())?;
        let leaf = usize::try_from(index).ok().and_then(|at| leaves.get(at)).cloned().unwrap_or_default();
        Ok(Self { version: VERSION, job, attempt, party, peer, index, size: tree.size(), path, leaf: leaf.into() })
    }

    /// The bytes of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// Parses a file.
    ///
    /// # Errors
    /// `receipt.link` for anything but its one encoding, or more than [`LINK_PROOF_BYTES_MAX`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        if bytes.len() > LINK_PROOF_BYTES_MAX {
            return Err(wrong(format!("a proof of {} bytes, at most {LINK_PROOF_BYTES_MAX}", bytes.len())));
        }
        let proof: Self = cbor::decode(bytes).map_err(|e| wrong(format!("a proof of a link is {e}")))?;
        if proof.version != VERSION || proof.path.len() > PROOF_HASHES_MAX {
            return Err(wrong("a proof of another version, or with too many hashes"));
        }
        Ok(proof)
    }

    /// Checks that the link is one of those that the party's attestation of a record is over, and reads its seals.
    ///
    /// # Errors
    /// `receipt.link`; `log.proof` for a path of another length.
    pub fn verify(
        &self,
        record: &UsageRecord,
        attestation: &Statement<Attestation>,
        keys: &KeyHistory,
    ) -> Result<ReadLink, Fault> {
        if (self.job, self.attempt) != (record.job, record.attempt) || attestation.body().usage != record.digest() {
            return Err(wrong("it is of another job or attempt"));
        }
        if self.party != keys.id_of(KeyRole::Node, &attestation.signer()) {
            return Err(wrong("it is of another party than the attestation"));
        }
        // Its place follows from the record: links stand in the order of the other ends' ids.
        let others: BTreeSet<&NodeId> = record.parties.iter().map(|p| &p.party).filter(|p| **p != self.party).collect();
        let place = others.iter().position(|other| **other == self.peer).map(|place| place as u64);
        if place != Some(self.index) || self.size != others.len() as u64 {
            return Err(wrong("its other end is no party of the job, or stands at another place"));
        }
        let root = root_of_proof(&leaf_hash(&self.leaf), self.index, self.size, &self.path)?;
        if attestation.body().transcript != Some(root) {
            return Err(wrong("the party's attestation is over other links"));
        }
        let span = (record.started, record.ended);
        let speaks = |id: &NodeId, by: &Envelope| keys.within(KeyRole::Node, id, span).contains(&by.signer);
        LinkLeaf::parse(&self.leaf)?.read((self.job, self.attempt), (&self.party, &self.peer), &speaks)
    }
}

/// A link that its receipt has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShownLink {
    /// The leaf of the receipt.
    pub leaf: u64,
    /// Its record.
    pub record: UsageRecord,
    /// The link.
    pub link: ReadLink,
}

impl ShownLink {
    /// The name that a node has in the record.
    pub fn name(&self, node: &NodeId) -> String {
        self.record.party(node).map(|entry| entry.name.to_string()).unwrap_or_default()
    }
}

/// Finds the receipt of a link in a bundle, verifies it, and checks the link against the party's attestation.
///
/// # Errors
/// `receipt.unknown` when the bundle has no such attestation; the fault of the receipt or of the log when the bundle does not
/// hold; those of [`LinkProof::verify`]; `receipt.bundle`.
pub fn find(proof: &LinkProof, bundle: &[u8], trust: Option<&Trust>) -> Result<ShownLink, Fault> {
    let (leaf, record, attestation, keys) = attestation_of((proof.job, proof.attempt), &proof.party, bundle, trust)?;
    let link = proof.verify(&record, &attestation, &keys)?;
    Ok(ShownLink { leaf, record, link })
}
