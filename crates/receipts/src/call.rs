//! Calls of an online window: what every seat counts while it runs, what the window's receipt commits to, and the
//! proof that one call is among them.
//!
//! Each call is a leaf of the Merkle tree of RFC 6962: its time, how many keys it has, the hash of the request, and
//! thirty-two random bytes, so that a leaf's hash tells nothing of the call. The keys are in no receipt. The window's
//! summary is hashed into the usage record as its result, and the root stands among its transcripts.

use std::borrow::Borrow;

use tacit_crypto::{Transcript, cbor, sha256};
use tacit_types::{Attempt, Code, Fault, Hash, JobId, Unit};

use crate::merkle::{PROOF_HASHES_MAX, leaf_hash, verify_inclusion};
use crate::record::{Quantity, Status, UsageRecord};

/// Bytes of a proof of a call.
pub const CALL_PROOF_BYTES_MAX: usize = 8 << 10;

/// What a window was used for, as each of its seats counts it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Window {
    /// Calls that were put to the owners, answered or not.
    #[n(1)]
    pub calls: u64,
    /// Rows that they asked for.
    #[n(2)]
    pub rows: u64,
    /// Numbers that an owner gave under masks for them.
    #[n(3)]
    pub cells: u64,
    /// The root over the calls in their order.
    #[n(4)]
    pub root: Hash,
}

impl Window {
    /// The summary in the package of a job's result.
    ///
    /// # Errors
    /// `receipt.record` for other bytes.
    pub fn parse(package: &[u8]) -> Result<Self, Fault> {
        cbor::decode(package).map_err(|e| Fault::new(Code::ReceiptRecord, format!("the summary of a window is {e}")))
    }

    /// The bytes of the package.
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(self)
    }
}

/// The opening of one call: whoever has it can show what the call was.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Call {
    /// Milliseconds from the opening of the window to the call.
    #[n(1)]
    pub at_ms: u64,
    /// How many keys it names.
    #[n(2)]
    pub keys: u32,
    /// [`request_hash`] of the keys.
    #[n(3)]
    pub request: Hash,
    /// Random.
    #[n(4)]
    pub salt: Hash,
}

/// The hash of a request: its keys in their order.
pub fn request_hash<K: Borrow<[u8]>>(keys: &[K]) -> Hash {
    let t = Transcript::new("tacit-call/1/request").u64(keys.len() as u64);
    keys.iter().fold(t, |t, key| t.bytes(key.borrow())).finish()
}

impl Call {
    /// The hash of the call's leaf.
    pub fn leaf(&self) -> Hash {
        leaf_hash(&cbor::encode(self))
    }
}

/// One call, and the way from it to the root in a receipt.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct CallProof {
    /// Version of this format, 1.
    #[n(1)]
    pub version: u8,
    /// The window's job.
    #[n(2)]
    pub job: JobId,
    /// Its attempt.
    #[n(3)]
    pub attempt: Attempt,
    /// The call's number in the window, from 0.
    #[n(4)]
    pub number: u64,
    /// The call.
    #[n(5)]
    pub call: Call,
    /// The window's summary.
    #[n(6)]
    pub window: Window,
    /// Hashes from the call's sibling upward.
    #[n(7)]
    pub path: Vec<Hash>,
}

impl CallProof {
    /// Parses a proof.
    ///
    /// # Errors
    /// `receipt.malformed`.
    pub fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        let wrong = |what: String| Fault::new(Code::ReceiptMalformed, format!("a proof of a call: {what}"));
        if bytes.len() > CALL_PROOF_BYTES_MAX {
            return Err(wrong(format!("{} bytes, at most {CALL_PROOF_BYTES_MAX}", bytes.len())));
        }
        let proof: Self = cbor::decode(bytes).map_err(|e| wrong(e.to_string()))?;
        if proof.version != 1 || proof.path.len() > PROOF_HASHES_MAX {
            return Err(wrong("another version, or too many hashes".into()));
        }
        Ok(proof)
    }

    /// Checks that the call is one of those that the record of its window was attested over.
    ///
    /// # Errors
    /// `receipt.invalid` for another record, or one that is of no such window; `log.proof` for a path that does not
    /// lead to its root.
    pub fn verify(&self, record: &UsageRecord) -> Result<(), Fault> {
        let wrong = |what: &str| Err(Fault::new(Code::ReceiptInvalid, format!("a proof of a call: {what}")));
        if (record.job, record.attempt) != (self.job, self.attempt) || record.status != Status::Ok {
            return wrong("the receipt is of another attempt, or of one without a result");
        }
        if record.result != Some(sha256(&self.window.encode())) || record.transcripts != [self.window.root] {
            return wrong("the receipt is of a window with another summary");
        }
        let counted = |unit: Unit, count: u64| {
            record.lines.iter().any(|l| l.unit == unit && l.quantity == Quantity::Plain(count))
        };
        if !counted(Unit::Call, self.window.calls) || !counted(Unit::RowAsked, self.window.rows) {
            return wrong("the receipt counts other calls or rows");
        }
        verify_inclusion(&self.call.leaf(), self.number, self.window.calls, &self.path, &self.window.root)
    }
}
