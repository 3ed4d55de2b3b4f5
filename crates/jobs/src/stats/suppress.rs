//! The floor: which cells of a table may be released.
//!
//! Primary suppression hides a cell below the floor of rows or of contributors. Complementary
//! suppression then hides further cells, smallest first, until what a reader can derive by taking
//! the released cells from the released total is itself at or above the floor and spread over at
//! least two cells.

use tacit_governance::Cohort;

/// Joint counts of one cell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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
}

/// Which of `total` and `cells` may be released. The cells partition the total's rows. When the
/// total itself is below the floor nothing is released.
pub fn released(total: CellCount, cells: &[CellCount], floor: Cohort) -> (bool, Vec<bool>) {
    if !total.passes(floor) {
        return (false, vec![false; cells.len()]);
    }
    let mut open: Vec<bool> = cells.iter().map(|c| c.passes(floor)).collect();
    loop {
        let shown: u64 = cells.iter().zip(&open).filter(|(_, o)| **o).map(|(c, _)| c.rows).sum();
        let hidden_cells = open.iter().filter(|o| !**o).count();
        let remainder = total.rows.saturating_sub(shown);
        let derivable = hidden_cells > 0 && remainder > 0 && (remainder < floor.rows || hidden_cells == 1);
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
