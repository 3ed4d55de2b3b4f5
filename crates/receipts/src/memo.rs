//! A node's memos to itself in the log: what it was told about the use of its data, so that it can be told again when its
//! database is put back to one of before.
//!
//! Others see that a node was told something, when, and roughly how long it is. What it is only the node can open.

use minicbor::bytes::ByteVec;
use tacit_crypto::Body;
use tacit_types::{Code, Fault, Hash};

/// Bytes of what a memo carries under seal. Of what is longer it carries the tag alone.
pub const MEMO_SEALED_BYTES_MAX: usize = 48 << 10;
/// Memos of one node in one log.
pub const MEMOS_MAX: u64 = 65_536;

/// A leaf of the log, signed by a node.
///
/// ```cddl
/// node-memo = { 1: 1, 2: origin, 3: number, 4: tag, ? 5: sealed }
/// ```
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Memo {
    /// 1.
    #[n(1)]
    pub version: u32,
    /// The log's origin.
    #[n(2)]
    pub origin: String,
    /// From 1 on, without gaps.
    #[n(3)]
    pub number: u64,
    /// What was noted, as the node tells it again: a hash under a key of its own.
    #[n(4)]
    pub tag: Hash,
    /// What was noted, sealed to the node itself.
    #[n(5)]
    pub sealed: Option<ByteVec>,
}

impl Body for Memo {
    const TYPE: &'static str = "node-memo";
}

impl Memo {
    /// Checks the form, and that it is for this log.
    ///
    /// # Errors
    /// `receipt.malformed`.
    pub fn check(&self, origin: &str) -> Result<(), Fault> {
        let long = self.sealed.as_ref().is_some_and(|sealed| sealed.len() > MEMO_SEALED_BYTES_MAX);
        let what = if self.version != 1 {
            "another version than 1"
        } else if self.origin != origin {
            "for another log"
        } else if self.number == 0 || self.number > MEMOS_MAX {
            "its number"
        } else if long {
            "too long"
        } else {
            return Ok(());
        };
        Err(Fault::new(Code::ReceiptMalformed, format!("a node's memo: {what}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memo_has_a_number_a_log_and_an_end() {
        let memo = |number, bytes: Option<usize>| Memo {
            version: 1,
            origin: "log.example".into(),
            number,
            tag: Hash([7; 32]),
            sealed: bytes.map(|n| vec![1; n].into()),
        };
        for good in [memo(1, None), memo(MEMOS_MAX, Some(MEMO_SEALED_BYTES_MAX))] {
            good.check("log.example").unwrap();
            assert_eq!(good.check("log.other").unwrap_err().code, Code::ReceiptMalformed);
            let bytes = tacit_crypto::cbor::encode(&good);
            assert_eq!(tacit_crypto::cbor::decode::<Memo>(&bytes).unwrap(), good);
        }
        let second = Memo { version: 2, ..memo(1, None) };
        for bad in [memo(0, None), memo(MEMOS_MAX + 1, None), memo(1, Some(MEMO_SEALED_BYTES_MAX + 1)), second] {
            assert_eq!(bad.check("log.example").unwrap_err().code, Code::ReceiptMalformed);
        }
    }
}
