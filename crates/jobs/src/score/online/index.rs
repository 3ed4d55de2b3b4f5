//! An owner's rows as a window looks them up: what each key adds to the score, made once when the window opens.

use tacit_models::{Frame, Model};
use tacit_types::{Code, Column, Columns, Fault, Values};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::super::keys;
use super::super::linear::{PARTIAL_BITS, fixed, part};
use super::super::params::OwnerColumns;

/// Rows of one owner in a window: 32 bytes each.
pub const INDEX_ROWS_MAX: u64 = 1 << 22;

/// The beginning of a key's hash: enough that no two keys of an owner share it.
pub(super) type KeyHash = [u8; 16];

/// What a key adds; nothing for one that is there twice, or in a row that the model has no rule for.
#[derive(Clone, Copy, Zeroize)]
struct Entry {
    key: KeyHash,
    partial: i64,
    usable: bool,
}

/// The entries in the order of their hashes.
#[derive(Default, Zeroize, ZeroizeOnDrop)]
pub(super) struct Index(Vec<Entry>);

pub(super) fn hash(key: &[u8]) -> KeyHash {
    let whole = tacit_crypto::sha256(key).0;
    let mut half = KeyHash::default();
    half.copy_from_slice(&whole[..16]); // proof: a hash has 32 bytes.
    half
}

impl Index {
    fn push(&mut self, entry: Entry) {
        if self.0.len() == self.0.capacity() {
            // What grows in place leaves a copy behind.
            let mut larger = Vec::with_capacity((self.0.len() * 2).max(1024));
            larger.extend_from_slice(&self.0);
            core::mem::replace(&mut self.0, larger).zeroize();
        }
        self.0.push(entry);
    }

    /// What a key adds, when the owner has one usable row of it.
    pub fn find(&self, key: &[u8]) -> Option<i64> {
        let wanted = hash(key);
        let at = self.0.binary_search_by(|entry| entry.key.cmp(&wanted)).ok()?;
        self.0.get(at).filter(|entry| entry.usable).map(|entry| entry.partial)
    }
}

/// Makes an index from batches of rows.
pub(super) struct Builder {
    key: String,
    model: Model,
    index: Index,
}

impl Builder {
    /// # Errors
    /// `refused.model` when the model is no part for these columns.
    pub fn new(columns: &OwnerColumns, model: &[u8]) -> Result<Self, Fault> {
        Ok(Self { key: columns.key.clone(), model: part(columns, model)?, index: Index::default() })
    }

    pub fn take(&mut self, batch: &Columns) -> Result<(), Fault> {
        let Some(column) = batch.get(&self.key) else {
            return Err(Fault::new(Code::DataColumnUnknown, format!("`{}`", self.key)));
        };
        keys::check(column)?;
        let frame = Frame::new(self.model.features(), batch)?;
        if self.index.0.len() as u64 + batch.rows as u64 > INDEX_ROWS_MAX {
            let what = format!("more than {INDEX_ROWS_MAX} rows in a window");
            return Err(Fault::new(Code::DataTooLarge, what));
        }
        let most = f64::from(1u32 << PARTIAL_BITS);
        // proof: a part is a sum.
        let margins = self.model.sums(&frame, 0..batch.rows).unwrap_or_default();
        for (row, margin) in margins.into_iter().enumerate() {
            let Some(key) = hash_of(column, row) else { continue };
            let partial = margin.and_then(|p| fixed(p, most));
            let entry = Entry { key, partial: partial.unwrap_or(0), usable: partial.is_some() };
            self.index.push(entry);
        }
        Ok(())
    }

    pub fn finish(mut self) -> Index {
        let entries = &mut self.index.0;
        entries.sort_unstable_by_key(|entry| entry.key);
        // Of a key that is there twice the first is kept, as one without use.
        let mut kept = 0;
        for at in 0..entries.len() {
            let Some(entry) = entries.get(at).copied() else { break };
            let previous = if kept == 0 { None } else { entries.get_mut(kept - 1) };
            match previous.filter(|p| p.key == entry.key) {
                Some(twice) => twice.usable = false,
                None => {
                    if let Some(slot) = entries.get_mut(kept) {
                        *slot = entry;
                    }
                    kept += 1;
                }
            }
        }
        if let Some(rest) = entries.get_mut(kept..) {
            rest.iter_mut().for_each(Zeroize::zeroize);
        }
        entries.truncate(kept);
        self.index
    }
}

/// The hash of the key in a row; none for NULL and for a fraction.
pub(super) fn hash_of(column: &Column, row: usize) -> Option<KeyHash> {
    if !column.is_valid(row) {
        return None;
    }
    match &column.values {
        Values::Text(list) => list.get(row).map(|text| hash(text.as_bytes())),
        Values::Int(list) => list.get(row).map(|n| hash(n.to_string().as_bytes())),
        Values::Float(_) => None,
    }
}
