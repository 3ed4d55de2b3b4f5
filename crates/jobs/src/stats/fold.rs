//! The local half: rows in, one party's exact sums out.
//!
//! Nothing in a row can make it fail: a value beyond the range that the job states counts as the nearest one
//! within, a value that is no number as none. A job that failed on a value would answer its operator's question
//! about one row. What fails is what a batch without a row shows already: a column of another kind.

use std::collections::BTreeMap;

use tacit_dp::SumNoise;
use tacit_types::{Code, Column, Columns, Fault, Values};

use super::groups::GroupFinder;
use super::params::{Histogram, Matrix, Scaled, StatsParams};
use crate::difference::ROWS;
use crate::kind::{Fold, JointHalf};

/// One party's exact numbers. Index 0 of each table is the total, then the groups, then the rest.
pub struct Local {
    /// Rows.
    pub rows: Vec<u64>,
    /// For each measure.
    pub measures: Vec<Moments>,
    /// For each histogram.
    pub histograms: Vec<Bins>,
    /// For each quantile column: the fixed-point values, ascending once folded.
    pub quantiles: Vec<Vec<i64>>,
    /// For the matrix.
    pub matrix: Option<Products>,
}

/// Count, sum and sum of squares by cell.
pub struct Moments {
    /// Rows with a value.
    pub count: Vec<u64>,
    /// Rows without.
    pub empty: Vec<u64>,
    /// Rows that carry the sum: their value is neither zero nor at or beyond the bound.
    pub carriers: Vec<u64>,
    /// Sum in fixed point.
    pub sum: Vec<i128>,
    /// Sum of squares in squared fixed point.
    pub squares: Vec<i128>,
}

/// Counts of one histogram.
pub struct Bins {
    /// Below, bins, above.
    pub counts: Vec<u64>,
    /// Rows without a value.
    pub empty: u64,
}

/// Count, sums and products over rows that are complete.
pub struct Products {
    /// Complete rows.
    pub count: u64,
    /// Rows that lack a value in one column or more.
    pub incomplete: u64,
    /// Rows that lack a value in two columns or more.
    pub twice: u64,
    /// Complete rows that carry the sum of every column.
    pub carriers: u64,
    /// For each column: rows that have a value there and lack one elsewhere.
    pub gaps: Vec<u64>,
    /// Sum of each column.
    pub sums: Vec<i128>,
    /// Products of the upper triangle, row by row.
    pub products: Vec<i128>,
}

/// The fold.
pub struct StatsFold {
    params: StatsParams,
    noise: Option<SumNoise>,
    local: Local,
    groups: Option<GroupFinder>,
    /// Values of this owner that were moved into the job's range, by column.
    clamped: BTreeMap<String, u64>,
}

pub(super) fn column_type(name: &str, wanted: &str) -> Fault {
    Fault::new(Code::DataColumnType, format!("column `{name}` does not hold {wanted}"))
}

impl StatsFold {
    /// An empty fold for checked parameters, and the noise of a private job.
    pub fn new(params: StatsParams, noise: Option<SumNoise>) -> Self {
        let cells = params.cells();
        let moments = || Moments {
            count: vec![0; cells],
            empty: vec![0; cells],
            carriers: vec![0; cells],
            sum: vec![0; cells],
            squares: vec![0; cells],
        };
        let bins = |h: &Histogram| Bins { counts: vec![0; StatsParams::bins(h)], empty: 0 };
        let local = Local {
            rows: vec![0; cells],
            measures: params.measures.iter().map(|_| moments()).collect(),
            histograms: params.histograms.iter().map(bins).collect(),
            quantiles: params.quantiles.iter().map(|_| Vec::new()).collect(),
            matrix: params.matrix.as_ref().map(|m| {
                let k = m.values.len();
                let (gaps, sums, products) = (vec![0; k], vec![0; k], vec![0; k * (k + 1) / 2]);
                Products { count: 0, incomplete: 0, twice: 0, carriers: 0, gaps, sums, products }
            }),
        };
        let groups = params.group_by.as_ref().map(GroupFinder::new);
        Self { params, noise, local, groups, clamped: BTreeMap::new() }
    }

    /// The cell of each row's group, where there are groups.
    fn cells(&self, batch: &Columns) -> Result<Vec<Option<usize>>, Fault> {
        match &self.groups {
            Some(groups) => Ok(groups.of(batch)?.into_iter().map(|group| Some(1 + group)).collect()),
            None => Ok(vec![None; batch.rows]),
        }
    }

    fn column<'a>(batch: &'a Columns, name: &str) -> Result<&'a Column, Fault> {
        batch.get(name).ok_or_else(|| Fault::new(Code::DataColumnUnknown, format!("`{name}`")))
    }
}

/// One column in fixed point, clamped to its range.
struct Fixed<'a> {
    column: &'a Column,
    scale: f64,
    low: i128,
    high: i128,
    clamped: u64,
}

/// A value in fixed point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Value {
    fixed: i128,
    /// Whether it is neither zero nor at or beyond an end of the range.
    carries: bool,
}

impl<'a> Fixed<'a> {
    fn new(params: &StatsParams, value: &Scaled, batch: &'a Columns) -> Result<Self, Fault> {
        let column = numbers(StatsFold::column(batch, &value.column)?, value.whole)?;
        let (fraction, high) = (params.fraction_bits(value)?, params.largest(value)?);
        Ok(Self { column, scale: (1u64 << fraction) as f64, low: -high, high, clamped: 0 })
    }

    fn within(mut self, (low, high): (i128, i128)) -> Self {
        (self.low, self.high) = (low, high);
        self
    }

    /// The value of a row; `None` where there is none.
    fn get(&mut self, row: usize) -> Option<Value> {
        if !self.column.is_valid(row) {
            return None;
        }
        let fixed = match &self.column.values {
            Values::Int(v) => i128::from(*v.get(row)?) * (self.scale as i128),
            // why: the cast of a product beyond i128 gives the nearest, which is clamped like any other.
            Values::Float(v) => (v.get(row).filter(|x| x.is_finite())? * self.scale).round_ties_even() as i128,
            Values::Text(_) => return None,
        };
        let carries = fixed != 0 && self.low < fixed && fixed < self.high;
        // why: rounding moves a real value at the end of the range by one unit in the last place at most.
        let slack = i128::from(matches!(self.column.values, Values::Float(_)));
        self.clamped += u64::from(fixed < self.low - slack || fixed > self.high + slack);
        Some(Value { fixed: fixed.clamp(self.low, self.high), carries })
    }

    /// Adds to the note for the owner how many values lay outside.
    fn note(self, clamped: &mut BTreeMap<String, u64>) {
        if self.clamped > 0 {
            *clamped.entry(self.column.name.clone()).or_insert(0) += self.clamped;
        }
    }
}

/// The column, if it holds numbers: whole ones if those are wanted.
fn numbers(column: &Column, whole: bool) -> Result<&Column, Fault> {
    match &column.values {
        Values::Int(_) => Ok(column),
        Values::Float(_) if !whole => Ok(column),
        _ => Err(column_type(&column.name, if whole { "whole numbers" } else { "numbers" })),
    }
}

impl Fold for StatsFold {
    fn take(&mut self, batch: &Columns) -> Result<(), Fault> {
        let rows_max = self.params.rows_max;
        if self.local.rows[0] + batch.rows as u64 > rows_max {
            return Err(Fault::new(Code::DataTooLarge, format!("more than the job's rows_max of {rows_max}")));
        }
        let cells = self.cells(batch)?;
        self.local.rows[0] += batch.rows as u64;
        for cell in cells.iter().flatten() {
            self.local.rows[*cell] += 1;
        }
        for (measure, moments) in self.params.measures.iter().zip(&mut self.local.measures) {
            let mut fixed = Fixed::new(&self.params, &measure.value, batch)?;
            for (row, group) in cells.iter().enumerate() {
                let value = fixed.get(row);
                for cell in core::iter::once(0).chain(*group) {
                    moments.add(cell, value);
                }
            }
            fixed.note(&mut self.clamped);
        }
        for (histogram, bins) in self.params.histograms.iter().zip(&mut self.local.histograms) {
            count_bins(histogram, numbers(Self::column(batch, &histogram.column)?, false)?, batch.rows, bins);
        }
        for (quantiles, values) in self.params.quantiles.iter().zip(&mut self.local.quantiles) {
            let mut fixed = Fixed::new(&self.params, &quantiles.value, batch)?.within(self.params.range(quantiles));
            // why: check() bounds magnitudes to 58 bits with the fraction, so i64 holds them.
            values.extend((0..batch.rows).filter_map(|row| fixed.get(row)).map(|x| x.fixed as i64));
            fixed.note(&mut self.clamped);
        }
        if let (Some(matrix), Some(products)) = (&self.params.matrix, &mut self.local.matrix) {
            multiply(&self.params, matrix, batch, products, &mut self.clamped)?;
        }
        Ok(())
    }

    /// The cells, and of each measure that has more than a count, of each quantile column and of each column of the matrix the
    /// rows that carry it: what is padded with rows that add nothing, or nothing that is not known, differs by the others.
    fn sets(&self) -> Option<Vec<String>> {
        if self.noise.is_some() {
            return None;
        }
        let (p, cells) = (&self.params, self.params.cells());
        let mut sets = vec![ROWS.to_owned(); cells];
        for measure in p.measures.iter().filter(|m| m.needs_sum()) {
            sets.extend(core::iter::repeat_n(format!("sum {}", measure.value.column), cells));
        }
        sets.extend(p.quantiles.iter().map(|q| format!("rank {}", q.value.column)));
        sets.extend(p.matrix.iter().flat_map(|m| &m.values).map(|v| format!("sum {}", v.column)));
        Some(sets)
    }

    fn members(&self, batch: &Columns, each: &mut dyn FnMut(usize, usize)) -> Result<(), Fault> {
        let (p, cells) = (&self.params, self.cells(batch)?);
        for (row, cell) in cells.iter().enumerate() {
            core::iter::once(0).chain(*cell).for_each(|cell| each(cell, row));
        }
        let mut first = p.cells();
        for measure in p.measures.iter().filter(|m| m.needs_sum()) {
            let mut fixed = Fixed::new(p, &measure.value, batch)?;
            for (row, cell) in cells.iter().enumerate() {
                if fixed.get(row).is_some_and(|value| value.carries) {
                    core::iter::once(0).chain(*cell).for_each(|cell| each(first + cell, row));
                }
            }
            first += p.cells();
        }
        for quantiles in &p.quantiles {
            let mut fixed = Fixed::new(p, &quantiles.value, batch)?.within(p.range(quantiles));
            (0..batch.rows)
                .filter(|row| fixed.get(*row).is_some_and(|value| value.carries))
                .for_each(|row| each(first, row));
            first += 1;
        }
        let columns = p.matrix.iter().flat_map(|m| &m.values).map(|value| Fixed::new(p, value, batch));
        let mut columns = columns.collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.rows {
            let values: Option<Vec<Value>> = columns.iter_mut().map(|column| column.get(row)).collect();
            let carriers = values.iter().flatten().enumerate().filter(|(_, value)| value.carries);
            carriers.for_each(|(i, _)| each(first + i, row));
        }
        Ok(())
    }

    fn notes(&self) -> Vec<String> {
        let note =
            |(column, n): (&String, &u64)| format!("column `{column}`: values beyond the job's range, {n} times");
        self.clamped.iter().map(note).collect()
    }

    fn finish(mut self: Box<Self>) -> Box<dyn JointHalf> {
        self.local.quantiles.iter_mut().for_each(|v| v.sort_unstable());
        let (params, local) = (self.params, self.local);
        match self.noise {
            Some(noise) => Box::new(super::private::PrivateJoint { params, local, noise }),
            None => Box::new(super::joint::StatsJoint { params, local }),
        }
    }
}

impl Moments {
    fn add(&mut self, cell: usize, value: Option<Value>) {
        let Some(Value { fixed, carries }) = value else {
            self.empty[cell] += 1;
            return;
        };
        self.count[cell] += 1;
        self.carriers[cell] += u64::from(carries);
        self.sum[cell] += fixed;
        self.squares[cell] += fixed * fixed;
    }
}

/// Counts values into below, bins, above. Comparison with an edge is exact for whole numbers.
fn count_bins(histogram: &Histogram, column: &Column, rows: usize, bins: &mut Bins) {
    let reals: Vec<f64> = histogram.edges.iter().map(|e| e.to_f64()).collect();
    let last = reals.len();
    for row in 0..rows {
        let found = match &column.values {
            _ if !column.is_valid(row) => None,
            Values::Int(v) => v.get(row).map(|x| {
                let x = crate::Decimal::whole(*x);
                let below = histogram.edges.partition_point(|e| e.cmp_value(x).is_le());
                (below, histogram.edges.last().is_some_and(|e| e.cmp_value(x).is_eq()))
            }),
            Values::Float(v) => v
                .get(row)
                .filter(|x| x.is_finite())
                .map(|x| (reals.partition_point(|e| e <= x), reals.last().is_some_and(|e| e.total_cmp(x).is_eq()))),
            Values::Text(_) => None,
        };
        match found {
            Some((_, true)) => bins.counts[last - 1] += 1,
            Some((below, false)) => bins.counts[below] += 1,
            None => bins.empty += 1,
        }
    }
}

fn multiply(
    params: &StatsParams,
    matrix: &Matrix,
    batch: &Columns,
    products: &mut Products,
    clamped: &mut BTreeMap<String, u64>,
) -> Result<(), Fault> {
    let mut columns =
        matrix.values.iter().map(|value| Fixed::new(params, value, batch)).collect::<Result<Vec<_>, _>>()?;
    let mut values = Vec::with_capacity(columns.len());
    for row in 0..batch.rows {
        values.clear();
        values.extend(columns.iter_mut().map(|column| column.get(row)));
        products.add(&values);
    }
    columns.into_iter().for_each(|column| column.note(clamped));
    Ok(())
}

impl Products {
    fn add(&mut self, row: &[Option<Value>]) {
        let missing = row.iter().filter(|value| value.is_none()).count();
        if missing > 0 {
            self.incomplete += 1;
            self.twice += u64::from(missing > 1);
            self.gaps.iter_mut().zip(row).for_each(|(gap, value)| *gap += u64::from(value.is_some()));
            return;
        }
        self.count += 1;
        self.carriers += u64::from(row.iter().flatten().all(|value| value.carries));
        let mut at = 0;
        for (i, x) in row.iter().flatten().enumerate() {
            self.sums[i] += x.fixed;
            for y in row[i..].iter().flatten() {
                self.products[at] += x.fixed * y.fixed;
                at += 1;
            }
        }
    }
}
