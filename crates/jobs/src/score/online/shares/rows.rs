//! An owner's rows as a window on shares looks them up: what is kept of each, found by key.

use tacit_types::{Code, Columns, Fault};
use zeroize::{Zeroize, Zeroizing};

use super::super::super::keys;
use super::super::super::params::CELLS_MAX;
use super::super::super::rows::Kept;
use super::super::index::{INDEX_ROWS_MAX, KeyHash, hash, hash_of};

/// Where a key's row is; of no use when it is there twice or lacks a value.
#[derive(Clone, Copy)]
struct Entry {
    key: KeyHash,
    row: u32,
    usable: bool,
}

/// What is kept of each row, by key.
pub(in crate::score) struct Table<C: Zeroize> {
    key: String,
    /// Numbers that are kept of a row.
    count: usize,
    entries: Vec<Entry>,
    cells: Zeroizing<Vec<C>>,
}

/// The most rows that an owner with so many numbers a row brings to a window.
pub(in crate::score) fn rows_max(count: usize) -> u64 {
    INDEX_ROWS_MAX.min(CELLS_MAX / count.max(1) as u64)
}

impl<C: Copy + Default + Zeroize> Table<C> {
    /// Nothing yet.
    pub fn new(key: &str, count: usize) -> Self {
        Self { key: key.to_owned(), count, entries: Vec::new(), cells: Zeroizing::default() }
    }

    /// Takes a batch. `keep` writes what is kept of a row, and says whether the row is usable.
    ///
    /// # Errors
    /// `data.column_unknown`, `data.column_type`: of the column with the key; `data.too_large`.
    pub fn take(&mut self, batch: &Columns, keep: impl Fn(usize, &mut [C]) -> bool) -> Result<(), Fault> {
        let Some(column) = batch.get(&self.key) else {
            return Err(Fault::new(Code::DataColumnUnknown, format!("`{}`", self.key)));
        };
        keys::check(column)?;
        let most = rows_max(self.count);
        if self.entries.len() as u64 + batch.rows as u64 > most {
            return Err(Fault::new(Code::DataTooLarge, format!("more than {most} rows of this width in a window")));
        }
        self.reserve(batch.rows);
        for row in 0..batch.rows {
            let Some(key) = hash_of(column, row) else { continue };
            let (place, at) = (self.entries.len() as u32, self.cells.len());
            self.cells.resize(at + self.count, C::default());
            let usable = self.cells.get_mut(at..).is_some_and(|cells| keep(row, cells));
            self.entries.push(Entry { key, row: place, usable });
        }
        Ok(())
    }

    /// Room for so many rows more. What grows in place leaves a copy behind.
    fn reserve(&mut self, rows: usize) {
        let wanted = self.cells.len() + rows * self.count;
        if wanted > self.cells.capacity() {
            let mut larger = Vec::with_capacity(wanted.max(self.cells.len() * 2));
            larger.extend_from_slice(&self.cells);
            self.cells = Zeroizing::new(larger);
        }
    }

    /// Puts the rows in order, so that they are found.
    pub fn finish(mut self) -> Self {
        self.entries.sort_by_key(|entry| entry.key);
        // Of a key that is there twice the first is kept, as one without use.
        self.entries.dedup_by(|later, kept| {
            let twice = later.key == kept.key;
            kept.usable &= !twice;
            twice
        });
        self
    }

    /// What is kept of these keys' rows, then what stands for rows that are not there up to `rows`; and which are known.
    /// `absent` gives the numbers of a row that is not.
    pub fn find(&self, wanted: &[&[u8]], rows: usize, absent: impl Fn(usize) -> C) -> (Kept<C>, Vec<bool>) {
        let absent: Vec<C> = (0..self.count).map(absent).collect();
        let mut cells = Zeroizing::new(Vec::with_capacity(rows.max(wanted.len()) * self.count));
        let mut known = Vec::with_capacity(wanted.len());
        for key in wanted {
            let own = self.row(&hash(key));
            known.push(own.is_some());
            cells.extend_from_slice(own.unwrap_or(&absent));
        }
        (wanted.len()..rows).for_each(|_| cells.extend_from_slice(&absent));
        (Kept::new(self.count, cells), known)
    }

    fn row(&self, key: &KeyHash) -> Option<&[C]> {
        let at = self.entries.binary_search_by(|entry| entry.key.cmp(key)).ok()?;
        let entry = self.entries.get(at).filter(|entry| entry.usable)?;
        let from = entry.row as usize * self.count;
        self.cells.get(from..from + self.count)
    }
}

#[cfg(test)]
mod tests {
    use tacit_types::{Column, Values};

    use super::*;

    fn batch(keys: &[&str]) -> Columns {
        let values = Values::Text(keys.iter().map(|k| (*k).to_owned()).collect());
        Columns { rows: keys.len(), columns: vec![Column { name: "id".into(), values, valid: None }] }
    }

    #[test]
    fn rows_are_found_by_key_and_those_of_no_use_are_as_good_as_none() {
        let mut table: Table<i32> = Table::new("id", 2);
        let keep = |from: i32| {
            move |row: usize, cells: &mut [i32]| {
                cells.copy_from_slice(&[from + row as i32, -from]);
                row != 1
            }
        };
        table.take(&batch(&["d", "spoiled", "a"]), keep(10)).unwrap();
        table.take(&batch(&["b", "x", "d"]), keep(20)).unwrap();
        let table = table.finish();
        let keys: [&[u8]; 6] = [b"a", b"b", b"spoiled", b"d", b"nobody", b"a"];
        let (kept, known) = table.find(&keys, 8, |i| i as i32 - 7);
        assert_eq!(known, [true, true, false, false, false, true]);
        let rows: Vec<&[i32]> = (0..9).map(|row| kept.row(row)).collect();
        let absent: &[i32] = &[-7, -6];
        assert_eq!(rows, [&[12, -10], &[20, -20], absent, absent, absent, &[12, -10], absent, absent, &[]]);
    }

    #[test]
    fn a_window_holds_no_more_than_its_limit_and_one_past_it_is_refused() {
        let wide = (CELLS_MAX / 3) as usize;
        assert_eq!((rows_max(0), rows_max(1), rows_max(wide)), (INDEX_ROWS_MAX, INDEX_ROWS_MAX, 3));
        let mut table: Table<u8> = Table::new("id", wide);
        let fault = table.take(&batch(&["a", "b", "c", "d"]), |_, _| true).unwrap_err();
        assert_eq!(fault.code, Code::DataTooLarge);
    }
}
