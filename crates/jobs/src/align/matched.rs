//! Matched keys on their way to be kept. They are kept in order, whatever order an exchange gives them in, so that whoever
//! looks for one need not hold them all.

use tacit_psi::sort::sort;
use tacit_psi::storage::{Log, Reader, Storage, Writer};
use tacit_types::Fault;

use super::desk::{Desk, KEPT_BYTES, Kept};
use super::list::{List, ROWS_FILE};

/// Files beside that of the rows' keys: what was found, and the same in order.
const FOUND_FILE: u32 = ROWS_FILE - 1;
const SORTED_FILE: u32 = ROWS_FILE - 2;
/// The first file of what sorting takes: past every file of the protocol.
const RUN_FILES: u32 = 1 << 30;

/// The matched keys of this owner.
pub(super) struct Matched {
    /// The keys of its rows.
    of: Log,
    keys: Writer,
    rows: u64,
}

impl Matched {
    pub fn new(of: &Log) -> Self {
        Self { of: of.clone(), keys: Writer::new(FOUND_FILE, KEPT_BYTES), rows: 0 }
    }

    /// Takes the rows of the next matched key; nothing of what was padded, which has no row.
    pub fn put(&mut self, storage: &mut dyn Storage, at: &[u64]) -> Result<(), Fault> {
        let Some(key) = List::own_key(&self.of, storage, at)? else { return Ok(()) };
        self.rows += at.len() as u64; // proof: they are rows of one list.
        self.keys.push(storage, &[&key[..KEPT_BYTES]]) // proof: a hash is longer.
    }

    /// Gives them to the node, durable when this returns.
    pub fn keep(self, desk: &mut Desk) -> Result<(), Fault> {
        let storage = desk.storage.as_mut();
        let found = self.keys.finish(storage)?;
        let sorted = sort(storage, &found, SORTED_FILE, RUN_FILES, desk.memory)?;
        found.remove(storage)?;
        let mut reader = Reader::new(&sorted);
        while let Some(record) = reader.next(storage)? {
            desk.keep.put(record)?;
        }
        let kept = Kept { records: sorted.count, width: KEPT_BYTES, rows: self.rows };
        sorted.remove(storage)?;
        desk.keep.done(kept)
    }
}
