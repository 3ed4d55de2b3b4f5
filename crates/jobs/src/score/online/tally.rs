//! What a seat counts of a window, by itself.

use tacit_receipts::{Call, MemTree, Window};
use tacit_types::Hash;

use super::super::params::Unknown;
use super::cells;
use super::host::{Tell, told};
use crate::kind::JointOutput;
use tacit_types::Seat;

/// The calls of a window so far.
#[derive(Default)]
pub(super) struct Tally {
    leaves: Vec<Hash>,
    /// Rows up to and including each call.
    rows: Vec<u64>,
}

impl Tally {
    pub fn add(&mut self, call: &Call) {
        self.add_leaf(call.leaf(), call.keys);
    }

    /// A call of which only the leaf's hash and its number of keys are known.
    pub fn add_leaf(&mut self, leaf: Hash, keys: u32) {
        let before = self.total_rows();
        self.leaves.push(leaf);
        self.rows.push(before + u64::from(keys));
    }

    pub fn calls(&self) -> u64 {
        self.leaves.len() as u64
    }

    pub fn total_rows(&self) -> u64 {
        self.rows.last().copied().unwrap_or(0)
    }

    /// Drops all but the first calls.
    pub fn keep(&mut self, calls: u64) {
        let calls = usize::try_from(calls).unwrap_or(usize::MAX);
        self.leaves.truncate(calls);
        self.rows.truncate(calls);
    }

    pub fn window(&self, unknown: Unknown) -> Window {
        let mut tree = MemTree::default();
        self.leaves.iter().for_each(|leaf| tree.push(*leaf));
        let (calls, rows) = (self.calls(), self.total_rows());
        Window { calls, rows, cells: cells(unknown, calls, rows), root: tree.root() }
    }

    /// What the window ends with at a seat, and what its host is told.
    pub fn finish(self, unknown: Unknown, survivors: Vec<Seat>) -> (JointOutput, Vec<u8>) {
        let window = self.window(unknown);
        let output = output(window, survivors);
        (output, told(&Tell::Closed { leaves: self.leaves }))
    }
}

/// What a window ends with at a seat.
pub(super) fn output(window: Window, survivors: Vec<Seat>) -> JointOutput {
    JointOutput {
        package: Some(window.encode()),
        made: None,
        release: Vec::new(),
        survivors,
        cells_in: window.cells,
        payload_bytes: window.cells * 8,
        cells_out: window.rows,
        cells_suppressed: 0,
        each: Vec::new(),
    }
}
