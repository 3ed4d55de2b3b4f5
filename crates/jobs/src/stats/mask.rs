//! Which cells of a job may be released: the floor over all of its tables.

use tacit_governance::Cohort;

use super::params::{MILLION, StatsParams};
use super::suppress::{CellCount, Measured, histogram, measured, released};

/// Which cells pass the floor. The same at every node, because it follows from the joint counts.
pub(super) struct Mask {
    pub(super) rows: Vec<bool>,
    pub(super) measures: Vec<Vec<bool>>,
    pub(super) histograms: Vec<Vec<bool>>,
    /// For each column, for each probability.
    pub(super) quantiles: Vec<Vec<bool>>,
    /// Joint count of each quantile column.
    pub(super) quantile_rows: Vec<u64>,
    pub(super) matrix: bool,
}

impl Mask {
    /// Reads the joint counts in the order of `Local::counts`.
    pub(super) fn new(params: &StatsParams, joint: &[u64], floor: Cohort) -> Self {
        let mut cells = joint.chunks_exact(2).map(|c| CellCount { rows: c[0], contributors: c[1] });
        let mut take = |n: usize| -> Vec<CellCount> { cells.by_ref().take(n).collect() };
        let groups = take(params.cells());
        let all = groups.first().copied().unwrap_or_default();
        let rows = table(&groups, floor);
        let mut measures = Vec::new();
        for measure in &params.measures {
            let (valued, empty) = (take(params.cells()), take(params.cells()));
            let carriers = if measure.needs_sum() { take(params.cells()) } else { Vec::new() };
            let cell = |(i, (valued, empty)): (usize, (&CellCount, &CellCount))| Measured {
                valued: *valued,
                empty: *empty,
                carriers: carriers.get(i).copied(),
            };
            let counts: Vec<Measured> = valued.iter().zip(&empty).enumerate().map(cell).collect();
            let (total, groups) = counts.split_first().map_or((Measured::default(), &[][..]), |(t, g)| (*t, g));
            measures.push(measured(total, groups, &rows, floor));
        }
        let binned: Vec<(Vec<CellCount>, CellCount)> = params
            .histograms
            .iter()
            .map(|h| (take(StatsParams::bins(h)), take(1).first().copied().unwrap_or_default()))
            .collect();
        let histograms = binned.iter().map(|(counts, empty)| histogram(all, counts, *empty, floor)).collect();
        let columns = take(params.quantiles.len());
        let quantiles = params
            .quantiles
            .iter()
            .zip(&columns)
            .map(|(q, n)| {
                let same = params.histograms.iter().zip(&binned).filter(|(h, _)| h.column == q.value.column);
                quantiles_open(*n, &q.probabilities, same.flat_map(|(_, (counts, _))| cuts(counts)).collect(), floor)
            })
            .collect();
        let matrix = params.matrix.as_ref().is_some_and(|m| {
            let gaps = m.values.len();
            matrix_open(params, &take(4), &take(gaps), floor)
        });
        Self { rows, measures, histograms, quantiles, quantile_rows: columns.iter().map(|c| c.rows).collect(), matrix }
    }

    /// Cells that are released, cells that are not.
    pub(super) fn tally(&self) -> (u64, u64) {
        let tables = self.measures.iter().chain(&self.histograms).chain(&self.quantiles).flatten();
        let (mut open, mut shut) = (0, 0);
        for cell in self.rows.iter().chain(tables).chain(self.matrix.then_some(&true)) {
            if *cell { open += 1 } else { shut += 1 }
        }
        (open, shut)
    }
}

/// The total and the groups of a table.
fn table(counts: &[CellCount], floor: Cohort) -> Vec<bool> {
    let Some((total, groups)) = counts.split_first() else { return Vec::new() };
    let (all, groups) = released(*total, groups, floor);
    core::iter::once(all).chain(groups).collect()
}

/// Whether the matrix may be released. Its sums are over the rows that have a value in each of its columns: the rows
/// that it leaves out follow from all rows, and from the rows with a value in one column where those are counted.
fn matrix_open(params: &StatsParams, counts: &[CellCount], gaps: &[CellCount], floor: Cohort) -> bool {
    let [complete, incomplete, twice, carriers] = counts else { return false };
    let counted = || params.matrix.iter().flat_map(|m| &m.values).map(|v| params.counts(&v.column));
    let apart = counted().zip(gaps).all(|(counted, gap)| !counted || gap.none_or_passes(floor));
    // The columns' empty rows, added up, count a row twice that lacks two values.
    let once = twice.none_or_passes(floor) || !counted().all(|counted| counted);
    complete.passes(floor) && carriers.passes(floor) && incomplete.none_or_passes(floor) && apart && once
}

/// The rank of a quantile among `n` values, from 1.
pub(super) fn rank(n: u64, probability: u32) -> u64 {
    (u128::from(n) * u128::from(probability)).div_ceil(u128::from(MILLION)).max(1) as u64
}

/// The rows below each edge of a histogram.
fn cuts(counts: &[CellCount]) -> Vec<u64> {
    let mut below = 0u64;
    let sums = counts.iter().map(|c| {
        below = below.saturating_add(c.rows);
        below
    });
    sums.take(counts.len().saturating_sub(1)).collect()
}

/// Which quantiles of one column are released, with ascending probabilities: those that pass and lie
/// at least the floor of rows from the last one, and from every cut of the column that a histogram
/// makes. Many quantiles close together would list the rows between them.
fn quantiles_open(n: CellCount, probabilities: &[u32], cuts: Vec<u64>, floor: Cohort) -> Vec<bool> {
    let mut taken = cuts;
    let mut open = |probability: &u32| {
        let rank = rank(n.rows, *probability);
        let apart = taken.iter().all(|at| rank == *at || rank.abs_diff(*at) >= floor.rows);
        let open = apart && quantile_passes(n, *probability, floor);
        if open {
            taken.push(rank);
        }
        open
    };
    probabilities.iter().map(&mut open).collect()
}

/// A quantile is released with at least the floor of rows on either side of it.
fn quantile_passes(n: CellCount, probability: u32, floor: Cohort) -> bool {
    let rank = rank(n.rows, probability);
    n.passes(floor) && rank >= floor.rows && n.rows - rank >= floor.rows
}

#[cfg(test)]
mod tests {
    use super::super::params::{Histogram, Matrix, Measure, Quantiles, Scaled, Statistic};
    use super::*;
    use crate::Decimal;

    const FLOOR: Cohort = Cohort { rows: 5, contributors: 2 };

    fn value(column: &str) -> Scaled {
        Scaled { column: column.into(), whole: true, bound: Decimal::whole(100) }
    }

    fn job() -> StatsParams {
        StatsParams {
            group_by: None,
            measures: vec![Measure { value: value("a"), statistics: vec![Statistic::Sum] }],
            histograms: vec![Histogram { column: "h".into(), edges: vec![Decimal::whole(0), Decimal::whole(50)] }],
            quantiles: vec![Quantiles {
                value: value("h"),
                probabilities: vec![400_000, 410_000, 420_000, 450_000, 520_000, 600_000],
                low: Decimal::whole(0),
                high: Decimal::whole(100),
            }],
            matrix: Some(Matrix { values: vec![value("a"), value("b")], correlation: false }),
            filter: None,
            rows_max: 1000,
            checked: false,
            privacy: None,
        }
    }

    /// Joint counts of [`job`], each from all of three parties.
    #[derive(Clone, Copy)]
    struct Joint {
        rows: u64,
        /// With a value in `a`, without, carrying its sum.
        measure: [u64; 3],
        /// Three bins, then rows without a value.
        histogram: [u64; 4],
        /// Complete, incomplete, twice incomplete, carriers; with a value in `a` alone, in `b` alone.
        matrix: [u64; 6],
    }

    const GOOD: Joint =
        Joint { rows: 100, measure: [100, 0, 100], histogram: [0, 50, 50, 0], matrix: [100, 0, 0, 100, 0, 0] };

    fn mask(joint: Joint) -> Mask {
        let Joint { rows, measure, histogram, matrix } = joint;
        let counts = [&[rows][..], &measure, &histogram, &[rows - histogram[3]], &matrix].concat();
        let words: Vec<u64> = counts.into_iter().flat_map(|rows| [rows, 3.min(rows)]).collect();
        assert_eq!(words.len(), job().count_cells());
        Mask::new(&job(), &words, FLOOR)
    }

    #[test]
    fn quantiles_of_one_column_keep_their_distance() {
        // Ranks 40, 41, 42, 45, 52 and 60, with a cut of the histogram at 50.
        assert_eq!(mask(GOOD).quantiles[0], [true, false, false, true, false, true]);
    }

    #[test]
    fn a_matrix_that_leaves_few_rows_out_is_suppressed() {
        // The rows left out lack `b`, which is not counted by itself.
        for (complete, open) in [(100, true), (99, false), (96, false), (95, true)] {
            let left = 100 - complete;
            let joint = Joint { matrix: [complete, left, 0, complete, left, 0], ..GOOD };
            assert_eq!(mask(joint).matrix, open, "{complete} of 100 rows are complete");
        }
        // Ten lack something, of which one has a value in `a`: the measure's sum is over one more than the matrix's.
        let split = |gap| Joint { measure: [90 + gap, 10 - gap, 90], matrix: [90, 10, 0, 90, gap, 10 - gap], ..GOOD };
        assert_eq!([0, 1, 4, 5].map(|gap| mask(split(gap)).matrix), [true, false, false, true]);
    }

    #[test]
    fn a_matrix_that_few_rows_carry_is_suppressed() {
        let carried = |n| mask(Joint { matrix: [100, 0, 0, n, 0, 0], ..GOOD }).matrix;
        assert_eq!([0, 1, 4, 5].map(carried), [false, false, false, true]);
    }

    /// Of two columns that are both counted, a reader adds the empty rows up and compares them with those that the
    /// matrix leaves out: what is too much are the rows that lack both.
    #[test]
    fn rows_that_lack_both_columns_do_not_follow() {
        let mut params = job();
        params.measures.push(Measure { value: value("b"), statistics: vec![Statistic::Count] });
        params.histograms.clear();
        params.quantiles.clear();
        let open = |both: u64| {
            let incomplete = 20 - both;
            let gap = 10 - both;
            let counts = [100, 90, 10, 90, 90, 10, 100 - incomplete, incomplete, both, 80, gap, gap];
            let words: Vec<u64> = counts.into_iter().flat_map(|rows| [rows, 3.min(rows)]).collect();
            assert_eq!(words.len(), params.count_cells());
            Mask::new(&params, &words, FLOOR).matrix
        };
        assert_eq!([0, 1, 4, 5, 10].map(open), [true, false, false, true, true]);
    }

    #[test]
    fn few_rows_without_a_value_hide_the_measure_and_another_bin() {
        for (empty, open) in [(0, true), (1, false), (4, false), (5, true)] {
            let joint = Joint {
                measure: [100 - empty, empty, 90],
                histogram: [0, 50, 50 - empty, empty],
                matrix: [100 - empty, empty, 0, 90, 0, empty],
                ..GOOD
            };
            let mask = mask(joint);
            assert_eq!((mask.measures[0][0], mask.matrix), (open, open), "{empty} of 100 rows are empty");
            assert_eq!(mask.histograms[0], [false, true, open], "{empty}");
        }
    }

    #[test]
    fn a_sum_that_few_rows_carry_is_suppressed() {
        let open = |carriers| mask(Joint { measure: [100, 0, carriers], ..GOOD }).measures[0][0];
        assert_eq!([0, 1, 4, 5, 100].map(open), [false, false, false, true, true]);
    }

    #[test]
    fn no_count_overflows_on_the_way() {
        let huge = vec![u64::MAX - 1; job().count_cells()];
        Mask::new(&job(), &huge, FLOOR);
    }

    #[test]
    fn quantiles_near_the_edge_are_suppressed() {
        let n = |rows| CellCount { rows, contributors: 2 };
        assert!(quantile_passes(n(10), 500_000, FLOOR));
        assert!(!quantile_passes(n(9), 500_000, FLOOR));
        assert!(!quantile_passes(n(100), 40_000, FLOOR));
        assert!(quantile_passes(n(100), 50_000, FLOOR));
        assert!(!quantile_passes(n(100), 960_000, FLOOR));
        assert!(!quantile_passes(n(0), 500_000, FLOOR));
    }
}
