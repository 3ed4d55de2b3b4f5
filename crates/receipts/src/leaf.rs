//! What a leaf may be. The log begins with two leaves that are no receipts: its policy and its keys.

use tacit_crypto::statement::Envelope;
use tacit_crypto::{Body, Keyring, Statement, StatementError};
use tacit_types::limits::LEAF_BYTES_MAX;
use tacit_types::{Code, Fault, Hash, Name, NodeId};

use crate::cases::Said;
use crate::keys::PartyRotation;
use crate::memo::Memo;
use crate::money::Money;
use crate::receipt::{Attestation, JointReceipt};
use crate::rotation::KeyRotation;
use crate::shard::ShardChange;

/// Leaves that come before any receipt.
pub const GENESIS_LEAVES: u64 = 2;

/// Leaf 0: what this log takes in, signed by the coordinator.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Genesis {
    /// 1.
    #[n(1)]
    pub version: u32,
    /// The log's origin.
    #[n(2)]
    pub origin: String,
    /// The registration policy in words.
    #[n(3)]
    pub policy: String,
    /// What [`continues`](crate::shard::continues) gives of the last checkpoint of the log that this one continues, if any.
    #[n(4)]
    pub continues: Option<Hash>,
}

/// Leaf 1, and again after each change: every key in force for the leaves that follow. Signed by
/// the coordinator, it informs; a verifier trusts only keys that it was given by another channel.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct KeyEvent {
    /// 1.
    #[n(1)]
    pub version: u32,
    /// The key that signs receipts.
    #[n(2)]
    pub coordinator: NodeId,
    /// The verifier key of checkpoints, in text form.
    #[n(3)]
    pub log_key: String,
    /// The verifier keys of the witnesses, in text form.
    #[n(4)]
    pub witnesses: Vec<String>,
    /// Cosignatures that a checkpoint needs.
    #[n(5)]
    pub quorum: u32,
    /// The keys with which the parties' nodes attest.
    #[n(6)]
    pub parties: Vec<KeyCard>,
}

/// A party's name and the key with which its node attests.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct KeyCard {
    /// The name.
    #[n(1)]
    pub name: Name,
    /// The key.
    #[n(2)]
    pub key: NodeId,
}

impl Body for Genesis {
    const TYPE: &'static str = "genesis";
}

impl Body for KeyEvent {
    const TYPE: &'static str = "key-event";
}

/// A leaf whose own signature holds. Whether its signer may say so is the reader's question.
#[derive(Debug)]
pub enum Leaf {
    /// The registration policy.
    Genesis(Statement<Genesis>),
    /// The keys in force.
    KeyEvent(Statement<KeyEvent>),
    /// A change of the log's key.
    KeyRotation(Statement<KeyRotation>),
    /// A change of the key of a party's node, or of a witness.
    PartyRotation(Statement<PartyRotation>),
    /// The end of the log, which names the next one.
    ShardChange(Statement<ShardChange>),
    /// A receipt.
    Receipt(Box<Statement<JointReceipt>>),
    /// An attestation that came after its receipt was closed. It keeps its issuer's chain whole.
    Attestation(Statement<Attestation>),
    /// A statement of money: a price plan, a charge, a settlement and what belongs to them.
    Money(Envelope, Box<Money>),
    /// A statement of a case: a complaint, an incident, a conduct record, or a step of one.
    Case(Envelope, Box<Said>),
    /// What a node notes for itself.
    Memo(Statement<Memo>),
    /// A statement of a type that this version does not know, kept as it is.
    Other(Envelope),
}

impl Leaf {
    /// Reads a leaf.
    ///
    /// # Errors
    /// `receipt.too_large`, `receipt.signature` or `receipt.malformed`.
    pub fn read(bytes: &[u8]) -> Result<Self, Fault> {
        Self::read_with(bytes, &Keyring::default())
    }

    /// As [`Leaf::read`], with keys that are decoded once for many leaves.
    ///
    /// # Errors
    /// Those of [`Leaf::read`].
    pub fn read_with(bytes: &[u8], keys: &Keyring) -> Result<Self, Fault> {
        if bytes.len() > LEAF_BYTES_MAX {
            return Err(Fault::new(Code::ReceiptTooLarge, format!("{} bytes", bytes.len())));
        }
        let envelope = Envelope::verify_with(bytes, keys).map_err(refused)?;
        match envelope.kind.as_str() {
            JointReceipt::TYPE => return of(envelope, bytes).map(|receipt| Leaf::Receipt(Box::new(receipt))),
            Attestation::TYPE => return of(envelope, bytes).map(Leaf::Attestation),
            KeyEvent::TYPE => return of(envelope, bytes).map(Leaf::KeyEvent),
            Genesis::TYPE => return of(envelope, bytes).map(Leaf::Genesis),
            KeyRotation::TYPE => return of(envelope, bytes).map(Leaf::KeyRotation),
            PartyRotation::TYPE => return of(envelope, bytes).map(Leaf::PartyRotation),
            ShardChange::TYPE => return of(envelope, bytes).map(Leaf::ShardChange),
            Memo::TYPE => return of(envelope, bytes).map(Leaf::Memo),
            _ => {}
        }
        if let Some(money) = Money::read(&envelope.kind, &envelope.body)? {
            return Ok(Leaf::Money(envelope, Box::new(money)));
        }
        Ok(match Said::read(&envelope.kind, &envelope.body)? {
            Some(said) => Leaf::Case(envelope, Box::new(said)),
            None => Leaf::Other(envelope),
        })
    }

    /// The word of the leaf's type.
    pub fn kind(&self) -> &str {
        match self {
            Leaf::Genesis(_) => Genesis::TYPE,
            Leaf::KeyEvent(_) => KeyEvent::TYPE,
            Leaf::KeyRotation(_) => KeyRotation::TYPE,
            Leaf::PartyRotation(_) => PartyRotation::TYPE,
            Leaf::ShardChange(_) => ShardChange::TYPE,
            Leaf::Receipt(_) => JointReceipt::TYPE,
            Leaf::Attestation(_) => Attestation::TYPE,
            Leaf::Memo(_) => Memo::TYPE,
            Leaf::Money(envelope, _) | Leaf::Case(envelope, _) | Leaf::Other(envelope) => &envelope.kind,
        }
    }
}

fn of<T: Body>(envelope: Envelope, bytes: &[u8]) -> Result<Statement<T>, Fault> {
    Statement::of(envelope, bytes).map_err(refused)
}

pub(crate) fn refused(error: StatementError) -> Fault {
    let code = match error {
        StatementError::Signature => Code::ReceiptSignature,
        _ => Code::ReceiptMalformed,
    };
    Fault::new(code, error.to_string())
}
