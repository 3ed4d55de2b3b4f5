//! The floor: which cells of a table may be released.
//!
//! Primary suppression hides a cell below the floor of rows or of contributors. Complementary
//! suppression then hides further cells, smallest first, until what a reader can derive by taking
//! the released cells from the released total is itself at or above the floor and spread over at
//! least two cells that hold rows. An empty cell covers for nothing: the last cell of a table, for
//! values that the job does not list, is empty in most jobs, and its reader knows that.
//!
//! What else a reader can subtract has counts of its own, and the floor holds for those too:
//! [`Measured`] for a measure beside the rows of its group, [`histogram`] for bins beside all rows. `docs/decisions/0006-the-floor-holds-for-differences.md` says why these are all.

use tacit_governance::Cohort;

/// Joint counts of one cell.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CellCount {
    /// Rows.
    pub rows: u64,
    /// Parties with at least one row.
    pub contributors: u64,
}

impl CellCount {
    /// Whether the cell is at or above the floor.
    pub fn passes(self, floor: Cohort) -> bool {
        self.rows >= floor.rows && self.contributors >= u64::from(floor.contributors)
    }

    /// Whether nobody is in the cell, or the floor.
    pub fn none_or_passes(self, floor: Cohort) -> bool {
        self.rows == 0 || self.passes(floor)
    }

    /// Both cells together. No fewer parties than those of the wider one stand behind them; maybe no more.
    fn and(self, other: Self) -> Self {
        Self { rows: self.rows.saturating_add(other.rows), contributors: self.contributors.max(other.contributors) }
    }
}

/// Joint counts of one cell of a measure. Beside the rows of its group it gives away how many have no value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Measured {
    /// Rows with a value.
    pub valued: CellCount,
    /// Rows without.
    pub empty: CellCount,
    /// Rows that carry the sum, where sums are released.
    pub carriers: Option<CellCount>,
}

impl Measured {
    fn shows(self, floor: Cohort) -> bool {
        self.valued.passes(floor)
            && self.empty.none_or_passes(floor)
            && self.carriers.is_none_or(|carriers| carriers.passes(floor))
    }

    fn and(self, other: Self) -> Self {
        let carriers = self.carriers.zip(other.carriers).map(|(a, b)| a.and(b));
        Self { valued: self.valued.and(other.valued), empty: self.empty.and(other.empty), carriers }
    }
}

/// Which cells of a measure may be released: its total, then its groups. `rows` says the same of the rows.
pub fn measured(total: Measured, groups: &[Measured], rows: &[bool], floor: Cohort) -> Vec<bool> {
    let Some((true, row_groups)) = rows.split_first().map(|(all, groups)| (*all, groups)) else {
        return vec![false; 1 + groups.len()];
    };
    let mut open: Vec<bool> = groups.iter().zip(row_groups).map(|(cell, rows)| *rows && cell.shows(floor)).collect();
    let all = total.shows(floor);
    // Without the total nothing is left over to subtract from.
    while all && !rest_is_safe(groups, &open, floor) {
        match (0..groups.len()).filter(|i| open[*i]).min_by_key(|i| groups[*i].valued.rows) {
            Some(smallest) => open[smallest] = false,
            None => break,
        }
    }
    core::iter::once(all).chain(open).collect()
}

/// Whether the groups that are not open may be known together.
fn rest_is_safe(groups: &[Measured], open: &[bool], floor: Cohort) -> bool {
    let hidden: Vec<Measured> = groups.iter().zip(open).filter(|(_, o)| !**o).map(|(cell, _)| *cell).collect();
    let Some(rest) = hidden.iter().copied().reduce(Measured::and) else { return true };
    let holding = hidden.iter().filter(|cell| cell.valued.rows > 0).count();
    if holding == 0 { rest.empty.none_or_passes(floor) } else { holding > 1 && rest.shows(floor) }
}

/// Which bins of a histogram may be released. `all` counts all rows, `empty` those without a value.
pub fn histogram(all: CellCount, bins: &[CellCount], empty: CellCount, floor: Cohort) -> Vec<bool> {
    let mut open = if empty.none_or_passes(floor) {
        let total = bins.iter().copied().reduce(CellCount::and).unwrap_or_default();
        released(total, bins, floor).1
    } else {
        // Few rows without a value are a cell that must not follow either.
        let cells: Vec<CellCount> = bins.iter().copied().chain([empty]).collect();
        released(all, &cells, floor).1
    };
    open.truncate(bins.len());
    open
}

/// Which of `total` and `cells` may be released. The cells partition the total's rows. When the
/// total itself is below the floor nothing is released.
pub fn released(total: CellCount, cells: &[CellCount], floor: Cohort) -> (bool, Vec<bool>) {
    if !total.passes(floor) {
        return (false, vec![false; cells.len()]);
    }
    let mut open: Vec<bool> = cells.iter().map(|c| c.passes(floor)).collect();
    loop {
        let shown = cells.iter().zip(&open).filter(|(_, o)| **o).fold(0u64, |sum, (c, _)| sum.saturating_add(c.rows));
        let hidden: Vec<&CellCount> =
            cells.iter().zip(&open).filter(|(c, o)| !**o && c.rows > 0).map(|(c, _)| c).collect();
        let remainder = total.rows.saturating_sub(shown);
        // No fewer parties than its widest cell has stand behind the remainder; maybe no more.
        let contributors = hidden.iter().map(|c| c.contributors).max().unwrap_or(0);
        let passes = CellCount { rows: remainder, contributors }.passes(floor);
        let derivable = remainder > 0 && (!passes || hidden.len() == 1);
        if !derivable {
            return (true, open);
        }
        let smallest = (0..cells.len()).filter(|i| open[*i]).min_by_key(|i| cells[*i].rows);
        match smallest {
            Some(i) => open[i] = false,
            None => return (true, open),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOR: Cohort = Cohort { rows: 5, contributors: 2 };

    fn cell(rows: u64) -> CellCount {
        CellCount { rows, contributors: 3 }
    }

    fn opened(rows: &[u64]) -> Vec<bool> {
        let cells: Vec<CellCount> = rows.iter().map(|r| cell(*r)).collect();
        released(cell(rows.iter().sum()), &cells, FLOOR).1
    }

    #[test]
    fn cohorts_around_the_floor() {
        // 0, 1, k - 1, k, k + 1.
        assert_eq!(opened(&[0, 1, 4, 5, 6]), [false, false, false, true, true], "the remainder is five rows");
        assert_eq!(opened(&[5, 6]), [true, true]);
        assert!(!released(cell(4), &[cell(4)], FLOOR).0);
        assert!(released(cell(5), &[cell(5)], FLOOR).0);
    }

    #[test]
    fn one_hidden_cell_is_never_alone() {
        assert_eq!(opened(&[4, 9, 7]), [false, true, false], "the smallest of the others goes too");
        assert_eq!(opened(&[1, 1, 9, 7]), [false, false, true, false], "two rows could be derived");
    }

    #[test]
    fn an_empty_cell_hides_nothing_else() {
        assert_eq!(opened(&[0, 9, 7]), [false, true, true]);
    }

    #[test]
    fn too_few_contributors_hide_a_large_cell() {
        let lone = CellCount { rows: 100, contributors: 1 };
        assert_eq!(released(cell(150), &[lone, cell(20), cell(30)], FLOOR), (true, vec![false, false, true]));
        assert_eq!(released(CellCount { rows: 100, contributors: 1 }, &[lone], FLOOR), (false, vec![false]));
    }

    #[test]
    fn an_empty_cell_covers_for_no_other() {
        let lone = CellCount { rows: 100, contributors: 1 };
        let none = CellCount { rows: 0, contributors: 0 };
        assert_eq!(released(cell(150), &[lone, none, cell(20), cell(30)], FLOOR).1, [false, false, false, true]);
    }

    #[test]
    fn two_hidden_cells_of_one_party_do_not_cover_for_each_other() {
        let lone = |rows| CellCount { rows, contributors: 1 };
        let cells = [lone(100), lone(60), cell(20), cell(30)];
        assert_eq!(released(cell(210), &cells, FLOOR).1, [false, false, false, true], "160 rows could be one party's");
    }

    #[test]
    fn what_a_reader_can_derive_is_never_below_the_floor() {
        // Every table of three cells of up to eight rows.
        for code in 0..9u64.pow(3) {
            let rows = [code % 9, code / 9 % 9, code / 81];
            let total = rows.iter().sum::<u64>();
            let cells: Vec<CellCount> = rows.iter().map(|r| cell(*r)).collect();
            let (any, open) = released(cell(total), &cells, FLOOR);
            let shown: u64 = rows.iter().zip(&open).filter(|(_, o)| **o).map(|(r, _)| *r).sum();
            assert!(rows.iter().zip(&open).all(|(r, o)| !o || *r >= FLOOR.rows), "{rows:?}");
            let hidden = total - shown;
            assert!(!any || hidden == 0 || hidden >= FLOOR.rows || shown == 0, "{rows:?} shows {open:?}");
        }
    }
}
