//! What the recipient's seat and its own node say to each other. Nothing of it leaves the node.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tacit_types::wire::{self, Blob};
use tacit_types::{Code, Fault, Hash};

use super::super::params::{ScoreParams, Unknown};
use super::super::{linear, open};

/// The node to its seat.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Say {
    /// One batch of calls, each with its keys: within the limits of a batch, a pace and a window.
    Calls {
        /// Comes back with the answer.
        tag: u64,
        /// The keys of each call.
        calls: Vec<Vec<Blob>>,
    },
    /// Answer what is under way, then end the window.
    Close,
}

/// The seat to its node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Tell {
    /// The window is open.
    Ready,
    /// The answer to one batch.
    Answered {
        /// That of the batch.
        tag: u64,
        /// What is known of the batch's calls, in their order; nothing when no owner was asked.
        asked: Option<Asked>,
        /// The opened numbers of each call, or why there are none.
        outcome: Result<Vec<Vec<u64>>, Code>,
    },
    /// No more calls are taken: what was not put to the owners will not be.
    Ending,
    /// The window has ended: the hashes of its calls.
    Closed {
        /// In their order.
        leaves: Vec<Hash>,
    },
}

/// Calls as they were put to the owners.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Asked {
    /// The number of the first.
    pub first: u64,
    /// Milliseconds since the opening.
    pub at_ms: u64,
    /// The salt of each.
    pub salts: Vec<Hash>,
}

/// The bytes of a message to the seat.
pub fn said(say: &Say) -> Vec<u8> {
    wire::encode(say)
}

/// The bytes of a message to the node.
pub(super) fn told(tell: &Tell) -> Vec<u8> {
    wire::encode(tell)
}

/// A message of the seat.
///
/// # Errors
/// `job.internal` for other bytes.
pub fn hear(bytes: &[u8]) -> Result<Tell, Fault> {
    wire::decode(bytes).map_err(|e| Fault::new(Code::JobInternal, format!("a seat said {e}")))
}

/// The scores of one call in the order of its keys; null where a key is unknown.
///
/// # Errors
/// `receipt.invalid` when the numbers are not those of so many rows.
pub fn scores(params: &ScoreParams, rows: usize, cells: &[u64]) -> Result<Vec<Value>, Fault> {
    let wrong = || Fault::new(Code::ReceiptInvalid, "the opened numbers are not those of the call");
    if cells.len() as u64 != super::cells(params.unknown, 1, rows as u64) {
        return Err(wrong());
    }
    let scale = linear::scale(params)?;
    let (values, flags) = cells.split_at(rows);
    let known = |row: usize| match params.unknown {
        Unknown::Default => true,
        Unknown::Refuse => flags.iter().all(|f| *f == 0),
        Unknown::Flag => flags.get(row) == Some(&0),
    };
    let score = |(row, cell): (usize, &u64)| {
        if known(row) { open::meaning(params, scale, *cell) } else { Ok(Value::Null) }
    };
    values.iter().enumerate().map(score).collect()
}
