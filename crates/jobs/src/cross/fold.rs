//! The local half: the numbers of an owner's usable rows, each at its key's place.

use tacit_types::{Code, Column, Fault, Values as Cells};
use zeroize::Zeroizing;

use super::circuit::{Input, Layout};
use super::params::{CrossParams, Range};
use crate::difference::ROWS;
use crate::shares::{Placed, SharesFold, Values};

/// What an owner has at the ids.
struct Table {
    layout: Layout,
    /// Which of the two owners it is.
    owner: usize,
    /// Usable rows of each id, two for more.
    rows: Vec<u8>,
    /// By id and column: the number, and the bit above it where it carries.
    cells: Zeroizing<Vec<u32>>,
    width: usize,
}

/// Set in a cell that carries: above every number.
const CARRIES: u32 = 1 << 31;

pub(super) struct CrossFold {
    columns: Vec<(String, Range)>,
    table: Table,
    rows: u64,
    incomplete: u64,
    strange: u64,
}

impl CrossFold {
    /// Of an owner, for so many ids.
    pub fn new(params: &CrossParams, owner: usize, ids: usize) -> Self {
        let own = params.owners.get(owner).into_iter().flat_map(|o| &o.columns);
        let columns: Vec<(String, Range)> = own.map(|c| (c.column.clone(), c.range())).collect();
        let width = columns.len();
        let (rows, cells) = (vec![0; ids], vec![0; ids * width].into());
        let table = Table { layout: Layout::new(params), owner, rows, cells, width };
        Self { columns, table, rows: 0, incomplete: 0, strange: 0 }
    }

    /// The numbers of each row, one for each column, where it has them all.
    fn numbers(&self, batch: &Placed) -> Result<Vec<Option<Vec<u32>>>, Fault> {
        let columns = self.columns.iter().map(|(name, range)| Ok((range, batch.column(name)?)));
        let columns = columns.collect::<Result<Vec<(&Range, &Column)>, Fault>>()?;
        if let Some((_, column)) = columns.iter().find(|(_, c)| matches!(c.values, Cells::Text(_))) {
            return Err(Fault::new(Code::DataColumnType, format!("`{}` holds texts", column.name)));
        }
        let number = |row: usize, (range, column): &(&Range, &Column)| {
            let (number, carries) = range.number(value(column, row)?);
            Some(number | if carries { CARRIES } else { 0 })
        };
        Ok((0..batch.rows()).map(|row| columns.iter().map(|c| number(row, c)).collect()).collect())
    }
}

/// A value of a row, if it has one.
fn value(column: &Column, row: usize) -> Option<f64> {
    let value = match &column.values {
        Cells::Int(all) => all.get(row).map(|v| *v as f64),
        Cells::Float(all) => all.get(row).copied(),
        Cells::Text(_) => None,
    };
    value.filter(|v| column.is_valid(row) && v.is_finite())
}

impl SharesFold for CrossFold {
    fn take(&mut self, batch: &Placed, members: &mut dyn FnMut(usize, usize)) -> Result<(), Fault> {
        for (row, numbers) in self.numbers(batch)?.into_iter().enumerate() {
            self.rows += 1;
            let Some(place) = batch.place(row) else {
                self.strange += 1;
                continue;
            };
            let Some(numbers) = numbers else {
                self.incomplete += 1;
                continue;
            };
            members(0, row);
            let carriers = numbers.iter().enumerate().filter(|(_, n)| **n & CARRIES != 0);
            carriers.for_each(|(i, _)| members(1 + i, row));
            let width = self.table.width;
            if let (Some(rows), Some(cells)) =
                (self.table.rows.get_mut(place), self.table.cells.get_mut(place * width..(place + 1) * width))
            {
                *rows = rows.saturating_add(1).min(2);
                cells.copy_from_slice(&numbers);
            }
        }
        Ok(())
    }

    fn notes(&self) -> Vec<String> {
        let twice = self.table.rows.iter().filter(|rows| **rows > 1).count();
        let said = [
            (self.strange, "rows have a key that was not aligned, or none, and count as absent"),
            (self.incomplete, "rows lack a value of a column of the job and count as absent"),
            (twice as u64, "keys are in several rows with values and count as absent"),
        ];
        let of = self.rows;
        said.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("of {of} rows: {n} {what}")).collect()
    }

    fn sets(&self) -> Vec<String> {
        let sums = self.columns.iter().map(|(name, _)| format!("sum {name}"));
        core::iter::once(ROWS.to_owned()).chain(sums).collect()
    }

    fn finish(self: Box<Self>) -> Box<dyn Values> {
        Box::new(self.table)
    }
}

impl Table {
    /// The number at an id, as an input wants it; nothing where there is no one usable row.
    fn at(&self, id: usize, column: usize, input: Input) -> u64 {
        if self.rows.get(id) != Some(&1) {
            return 0;
        }
        let cell = self.cells.get(id * self.width + column).copied().unwrap_or(0);
        let number = u64::from(cell & !CARRIES);
        match input {
            Input::Present => 1,
            Input::Values(_) => number,
            Input::Squares(_) => number * number,
            Input::Carries(_) => u64::from(cell & CARRIES != 0),
        }
    }
}

impl Values for Table {
    fn fill(&self, input: u32, out: &mut [u64]) -> Result<(), Fault> {
        let own = self.layout.input(self.owner, input);
        let (first, input) = own.ok_or_else(|| Fault::new(Code::JobInternal, "an input of the other owner"))?;
        let (width, column) = match input {
            Input::Present => (1, 0),
            Input::Values(i) | Input::Squares(i) | Input::Carries(i) if self.owner == 0 => (1, i),
            _ => (self.width.max(1), 0),
        };
        for (i, word) in out.iter_mut().enumerate() {
            *word = self.at(first + i / width, column + i % width, input);
        }
        Ok(())
    }
}
