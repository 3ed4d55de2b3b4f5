//! One log after another: a log of a year ends with a leaf that names the log of the next one.
//!
//! The [`ShardChange`] is the last leaf of its log. The log's key signs it and the key of the log that comes agrees, so
//! whoever pinned the log follows to the next one. That one's genesis names the last checkpoint of the log before, by
//! [`continues`]. Leaves are numbered on from one log to the next.

use minicbor::bytes::ByteVec;
use tacit_crypto::{Body, Signature, SigningKey, Statement, cbor, sha256, verify};
use tacit_types::{Code, Fault, Hash, NodeId, UnixMillis};

use crate::checkpoint::Checkpoint;
use crate::leaf::refused;
use crate::note::{KeyKind, VerifierKey, check_name};
use crate::rotation::LogChain;

/// What the key of the log that comes signs, before the terms.
const LABEL: &[u8] = b"tacit-shard-change/1\0";

/// A log ends, and the next one goes on. Signed by the log's key; the last leaf of the log.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct ShardChange {
    /// 1.
    #[n(1)]
    pub version: u32,
    /// The origin of the log that ends.
    #[n(2)]
    pub origin: String,
    /// The origin of the next one, of the same host: witnesses keep their names.
    #[n(3)]
    pub next_origin: String,
    /// The key of the log that ends, its newest.
    #[n(4)]
    pub old: NodeId,
    /// The first key of the next log, which may be the same.
    #[n(5)]
    pub next: NodeId,
    /// The number of the next log's first leaf: one more than that of this leaf.
    #[n(6)]
    pub first: u64,
    /// The next log's signature over a label and this map without this field, 64 bytes.
    #[n(7)]
    pub consent: Option<ByteVec>,
}

impl Body for ShardChange {
    const TYPE: &'static str = "shard-change";
}

fn wrong(what: impl Into<String>) -> Fault {
    Fault::new(Code::LogShard, what)
}

/// The host of an origin: what stands before its first slash.
fn host(origin: &str) -> &str {
    origin.split('/').next().unwrap_or_default()
}

impl ShardChange {
    /// Has the key of a log name the next log, and that one's key agree.
    pub fn sign(
        (origin, old): (&str, &SigningKey),
        (next_origin, next): (&str, &SigningKey),
        first: u64,
        at: UnixMillis,
    ) -> Statement<Self> {
        let mut body = Self {
            version: 1,
            origin: origin.to_owned(),
            next_origin: next_origin.to_owned(),
            old: old.id(),
            next: next.id(),
            first,
            consent: None,
        };
        body.consent = Some(next.sign(&body.terms()).0.to_vec().into());
        Statement::sign(old, origin, at, None, body)
    }

    fn terms(&self) -> Vec<u8> {
        [LABEL, &cbor::encode(&Self { consent: None, ..self.clone() })].concat()
    }

    /// The verifier key of the next log.
    ///
    /// # Errors
    /// `log.malformed` for an unusable origin.
    pub fn next_key(&self) -> Result<VerifierKey, Fault> {
        VerifierKey::new(&self.next_origin, KeyKind::Ed25519, self.next)
    }

    /// Checks what stands in the statement itself.
    ///
    /// # Errors
    /// `log.shard`.
    pub fn check(statement: &Statement<Self>) -> Result<(), Fault> {
        let body = statement.body();
        let consent = body.consent.as_ref().and_then(|bytes| <[u8; 64]>::try_from(bytes.as_slice()).ok());
        let what = if body.version != 1 {
            "another version than 1"
        } else if statement.signer() != body.old {
            "not signed by the key of the log that ends"
        } else if check_name(&body.next_origin).is_err() || body.origin == body.next_origin {
            "the next log's origin"
        } else if host(&body.origin) != host(&body.next_origin) {
            "the next log is of another host"
        } else if !consent.is_some_and(|signature| verify(&body.next, &body.terms(), &Signature(signature))) {
            "the key of the next log has not agreed"
        } else {
            return Ok(());
        };
        Err(wrong(what))
    }
}

/// What the genesis of the next log has in its field 4: SHA-256 of the text of the last checkpoint of the log before, without
/// its signatures.
pub fn continues(last: &Checkpoint) -> Hash {
    sha256(last.to_string().as_bytes())
}

/// Shows that a log has two successors: two changes that its key signed and that differ. They convince anyone who has the
/// log's keys.
///
/// # Errors
/// `receipt.malformed`, `receipt.signature`, `log.shard` for either change; `log.proof` when they prove nothing.
pub fn prove_two_successors(one: &[u8], other: &[u8], origin: &str, log: &LogChain) -> Result<[ShardChange; 2], Fault> {
    let read = |bytes: &[u8]| {
        let statement = Statement::<ShardChange>::verify(bytes).map_err(refused)?;
        ShardChange::check(&statement)?;
        let body = statement.into_body();
        let known = log.keys().any(|held| held.key.key() == body.old);
        if body.origin == origin && known { Ok(body) } else { Err(wrong("a change that another log signed")) }
    };
    let changes = [read(one)?, read(other)?];
    if changes[0] == changes[1] {
        return Err(Fault::new(Code::LogProof, "the changes are the same"));
    }
    Ok(changes)
}
