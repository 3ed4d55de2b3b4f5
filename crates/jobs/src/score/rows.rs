//! The rows that a list of keys names, as an owner of data finds them: numbers of each, kept in the order of the list until
//! they are computed with.

use tacit_types::{Code, Columns, Fault};
use zeroize::{Zeroize, Zeroizing};

use super::keys::{self, Wanted};

/// What an owner has for a wanted key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    Row,
    /// More than one row, or one that lacks a value: as good as none.
    Unusable,
}

/// What is kept of the wanted rows.
pub(super) struct Rows<C: Zeroize> {
    key: String,
    /// Numbers that are kept of a row.
    count: usize,
    wanted: Wanted,
    found: Vec<Found>,
    /// Row by row.
    cells: Zeroizing<Vec<C>>,
}

/// What is kept of each row.
pub(super) struct Kept<C: Zeroize> {
    /// Numbers of a row.
    count: usize,
    cells: Zeroizing<Vec<C>>,
}

/// Ends the rows of a party that may have none: what is kept of them, and whether each is there and usable. `absent`
/// gives what stands for the numbers of a row that is not there.
pub(super) fn finish<C: Copy + Default + Zeroize>(
    rows: Option<Rows<C>>,
    absent: impl Fn(usize) -> C,
) -> (Option<Kept<C>>, Vec<bool>) {
    rows.map(|rows| rows.finish(absent)).map_or((None, Vec::new()), |(kept, known)| (Some(kept), known))
}

impl<C: Copy + Default + Zeroize> Rows<C> {
    /// Nothing yet of so many numbers a row, and of the column with the key.
    pub fn new(key: &str, count: usize, wanted: Wanted) -> Self {
        let found = vec![Found::Nothing; wanted.rows()];
        let cells = Zeroizing::new(vec![C::default(); wanted.rows() * count]);
        Self { key: key.to_owned(), count, wanted, found, cells }
    }

    /// Takes a batch. `keep` writes what is kept of a row, and says whether the row is usable.
    ///
    /// # Errors
    /// `data.column_unknown`, `data.column_type`: of the column with the key.
    pub fn take(&mut self, batch: &Columns, keep: impl Fn(usize, &mut [C]) -> bool) -> Result<(), Fault> {
        let Some(column) = batch.get(&self.key) else {
            return Err(Fault::new(Code::DataColumnUnknown, format!("`{}`", self.key)));
        };
        keys::check(column)?;
        let count = self.count;
        let mut row_cells: Zeroizing<Vec<C>> = Zeroizing::new(vec![C::default(); count]);
        for row in 0..batch.rows {
            let places = self.wanted.places(column, row);
            if places.is_empty() {
                continue;
            }
            let usable = keep(row, &mut row_cells);
            for place in places {
                let place = *place as usize;
                let (Some(found), Some(cells)) =
                    (self.found.get_mut(place), self.cells.get_mut(place * count..(place + 1) * count))
                else {
                    continue;
                };
                let first = *found == Found::Nothing;
                *found = if first && usable { Found::Row } else { Found::Unusable };
                cells.copy_from_slice(&row_cells);
            }
        }
        Ok(())
    }

    fn finish(mut self, absent: impl Fn(usize) -> C) -> (Kept<C>, Vec<bool>) {
        let count = self.count;
        let absent: Vec<C> = (0..count).map(absent).collect();
        for (cells, found) in self.cells.chunks_exact_mut(count.max(1)).zip(&self.found) {
            if *found != Found::Row {
                cells.copy_from_slice(&absent);
            }
        }
        let known = self.found.iter().map(|f| *f == Found::Row).collect();
        (Kept { count, cells: self.cells }, known)
    }
}

impl<C: Copy + Zeroize> Kept<C> {
    /// Rows of so many numbers each, one after the other.
    pub fn new(count: usize, cells: Zeroizing<Vec<C>>) -> Self {
        Self { count, cells }
    }

    /// What is kept of a row; nothing past the last.
    pub fn row(&self, row: usize) -> &[C] {
        self.cells.get(row * self.count..(row + 1) * self.count).unwrap_or_default()
    }

    /// What is kept of all rows from one on, without gaps.
    pub fn from(&self, row: usize) -> &[C] {
        self.cells.get(row * self.count..).unwrap_or_default()
    }
}
