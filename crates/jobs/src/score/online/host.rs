//! What the recipient's seat and its own node say to each other. Nothing of it leaves the node.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tacit_types::wire::{self, Blob};
use tacit_types::{Code, Fault, Hash};

use super::super::circuit::{Circuit, Sums};
use super::super::open;
use super::super::params::{ScoreParams, Unknown};
use super::shares::Cut;
use super::{BATCH_ROWS_MAX, Online};

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
    /// At an owner: the batch that has waited longest is counted, or may not be answered.
    Counted {
        /// Why not.
        outcome: Result<(), Code>,
    },
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
    /// At an owner whose node counts calls: count these, before their batch is answered.
    Count {
        /// Of one batch; none at a seat that is not told the keys.
        keys: Vec<Blob>,
        /// As many as the batch has keys.
        rows: u64,
    },
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

/// What an owner's node says of the keys of a batch.
///
/// # Errors
/// `job.internal` for anything else.
pub(super) fn counted(bytes: &[u8]) -> Result<Result<(), Code>, Fault> {
    match wire::decode(bytes) {
        Ok(Say::Counted { outcome }) => Ok(outcome),
        _ => Err(Fault::new(Code::JobInternal, "an owner's node said something else than what it was asked")),
    }
}

/// A message of the seat.
///
/// # Errors
/// `job.internal` for other bytes.
pub fn hear(bytes: &[u8]) -> Result<Tell, Fault> {
    wire::decode(bytes).map_err(|e| Fault::new(Code::JobInternal, format!("a seat said {e}")))
}

/// What a recipient's node knows of the windows that it opens: what may be asked, and what the numbers of an answer stand
/// for.
#[derive(Clone, Debug)]
pub struct Reading {
    params: ScoreParams,
    online: Online,
    sums: Option<Sums>,
    cut: Option<Cut>,
}

impl Reading {
    /// Of a job that opens a window, computed on shares or not.
    pub(in crate::score) fn new<I>(params: &ScoreParams, circuit: Option<&Circuit<I>>) -> Option<Self> {
        let (sums, cut) = (circuit.map(Circuit::sums), circuit.map(|c| Cut::of(&c.plan)));
        Some(Self { params: params.clone(), online: params.online?, sums, cut })
    }

    /// Rows of a window.
    pub fn rows(&self) -> u64 {
        self.params.rows
    }

    /// Rows of a batch, and so keys of a call, at most.
    pub fn batch_rows(&self) -> usize {
        self.cut.map_or(BATCH_ROWS_MAX, Cut::batch_rows)
    }

    /// How a window on shares is cut.
    pub fn cut(&self) -> Option<Cut> {
        self.cut
    }

    /// Rows a second.
    pub fn rows_per_second(&self) -> u64 {
        self.online.rows_per_second
    }

    /// Seconds after which a window closes.
    pub fn seconds(&self) -> u64 {
        self.online.seconds
    }

    /// The scores of one call in the order of its keys; null where a key is unknown.
    ///
    /// # Errors
    /// `receipt.invalid` when the numbers are not those of so many rows.
    pub fn scores(&self, rows: usize, cells: &[u64]) -> Result<Vec<Value>, Fault> {
        let unknown = self.params.unknown;
        if cells.len() as u64 != super::cells(unknown, 1, rows as u64) {
            return Err(Fault::new(Code::ReceiptInvalid, "the opened numbers are not those of the call"));
        }
        let numbers = self.sums.map(|sums| sums.numbers(rows, cells.iter().copied())).transpose()?;
        let (values, flags) = numbers.as_deref().unwrap_or(cells).split_at(rows);
        let scale = self.sums.map(|sums| sums.scale);
        let known = |row: usize| match unknown {
            Unknown::Default => true,
            Unknown::Refuse => flags.iter().all(|f| *f == 0),
            Unknown::Flag => flags.get(row) == Some(&0),
        };
        let score = |(row, cell): (usize, &u64)| {
            if known(row) { open::meaning(&self.params, scale, *cell) } else { Ok(Value::Null) }
        };
        values.iter().enumerate().map(score).collect()
    }
}
