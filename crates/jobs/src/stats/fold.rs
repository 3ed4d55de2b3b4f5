//! The local half: rows in, one party's exact sums out.

use std::collections::BTreeMap;

use tacit_types::{Code, Column, Columns, Fault, Literal, Values};

use super::params::{Histogram, Matrix, Scaled, StatsParams};
use crate::kind::{Fold, JointHalf};

/// One party's exact numbers. Index 0 of each table is the total, then the groups, then the rest.
pub struct Local {
    /// Rows.
    pub rows: Vec<u64>,
    /// For each measure.
    pub measures: Vec<Moments>,
    /// For each histogram: below, bins, above.
    pub histograms: Vec<Vec<u64>>,
    /// For each quantile column: the fixed-point values, ascending once folded.
    pub quantiles: Vec<Vec<i64>>,
    /// For the matrix.
    pub matrix: Option<Products>,
}

/// Count, sum and sum of squares by cell.
pub struct Moments {
    /// Rows with a value.
    pub count: Vec<u64>,
    /// Sum in fixed point.
    pub sum: Vec<i128>,
    /// Sum of squares in squared fixed point.
    pub squares: Vec<i128>,
}

/// Count, sums and products over rows that are complete.
pub struct Products {
    /// Complete rows.
    pub count: u64,
    /// Sum of each column.
    pub sums: Vec<i128>,
    /// Products of the upper triangle, row by row.
    pub products: Vec<i128>,
}

/// The fold.
pub struct StatsFold {
    params: StatsParams,
    local: Local,
    groups: Groups,
}

/// From a group's value to its cell.
struct Groups {
    whole: BTreeMap<i64, usize>,
    text: BTreeMap<String, usize>,
    other: usize,
}

impl Groups {
    fn new(params: &StatsParams) -> Self {
        let (mut whole, mut text) = (BTreeMap::new(), BTreeMap::new());
        for (i, value) in params.group_by.iter().flat_map(|g| &g.values).enumerate() {
            match value {
                Literal::Int(v) => drop(whole.insert(*v, i + 1)),
                Literal::Text(t) => drop(text.insert(t.clone(), i + 1)),
                Literal::Decimal { .. } => {}
            }
        }
        Self { whole, text, other: params.cells() - 1 }
    }

    /// The group's cell of each row; the last for a NULL or a value that is not listed.
    fn cells(&self, column: &Column, rows: usize) -> Result<Vec<Option<usize>>, Fault> {
        let find = |row: usize| match &column.values {
            Values::Int(v) if self.text.is_empty() => Ok(v.get(row).and_then(|x| self.whole.get(x))),
            Values::Text(v) if self.whole.is_empty() => Ok(v.get(row).and_then(|x| self.text.get(x))),
            _ => Err(column_type(&column.name, "the groups that the job lists")),
        };
        (0..rows)
            .map(|row| {
                let listed = if column.is_valid(row) { find(row)?.copied() } else { None };
                Ok(Some(listed.unwrap_or(self.other)))
            })
            .collect()
    }
}

fn column_type(name: &str, wanted: &str) -> Fault {
    Fault::new(Code::DataColumnType, format!("column `{name}` does not hold {wanted}"))
}

impl StatsFold {
    /// An empty fold for checked parameters.
    pub fn new(params: StatsParams) -> Self {
        let cells = params.cells();
        let moments = || Moments { count: vec![0; cells], sum: vec![0; cells], squares: vec![0; cells] };
        let local = Local {
            rows: vec![0; cells],
            measures: params.measures.iter().map(|_| moments()).collect(),
            histograms: params.histograms.iter().map(|h| vec![0; StatsParams::bins(h)]).collect(),
            quantiles: params.quantiles.iter().map(|_| Vec::new()).collect(),
            matrix: params.matrix.as_ref().map(|m| {
                let k = m.values.len();
                Products { count: 0, sums: vec![0; k], products: vec![0; k * (k + 1) / 2] }
            }),
        };
        let groups = Groups::new(&params);
        Self { params, local, groups }
    }

    fn column<'a>(batch: &'a Columns, name: &str) -> Result<&'a Column, Fault> {
        batch.get(name).ok_or_else(|| Fault::new(Code::DataColumnUnknown, format!("`{name}`")))
    }
}

/// One column in fixed point, `None` where there is no value.
struct Fixed<'a> {
    column: &'a Column,
    whole: bool,
    scale: f64,
    bound: i128,
    low: i128,
}

impl<'a> Fixed<'a> {
    fn new(params: &StatsParams, value: &Scaled, column: &'a Column) -> Result<Self, Fault> {
        let fraction = params.fraction_bits(value)?;
        let overflow = || Fault::new(Code::RefusedOverflow, format!("bound of `{}`", value.column));
        let bound = value.bound.to_fixed_floor(fraction).ok_or_else(overflow)? + i128::from(!value.whole);
        Ok(Self { column, whole: value.whole, scale: (1u64 << fraction) as f64, bound, low: -bound })
    }

    fn within(mut self, low: i128, high: i128) -> Self {
        (self.low, self.bound) = (low, high);
        self
    }

    fn get(&self, row: usize) -> Result<Option<i128>, Fault> {
        if !self.column.is_valid(row) {
            return Ok(None);
        }
        let fixed = match &self.column.values {
            Values::Int(v) => v.get(row).map(|x| i128::from(*x) * (self.scale as i128)),
            Values::Float(v) if !self.whole => match v.get(row) {
                Some(x) if x.is_finite() => Some((x * self.scale).round_ties_even() as i128),
                Some(_) => {
                    return Err(Fault::new(Code::DataValueNotFinite, format!("column `{}`", self.column.name)));
                }
                None => None,
            },
            _ => return Err(column_type(&self.column.name, if self.whole { "whole numbers" } else { "numbers" })),
        };
        match fixed {
            Some(x) if x < self.low || x > self.bound => Err(Fault::new(
                Code::JobValueOutOfRange,
                format!("column `{}` holds a value outside the range that the job states", self.column.name),
            )),
            other => Ok(other),
        }
    }
}

impl Fold for StatsFold {
    fn take(&mut self, batch: &Columns) -> Result<(), Fault> {
        let rows_max = self.params.rows_max;
        if self.local.rows[0] + batch.rows as u64 > rows_max {
            return Err(Fault::new(Code::DataTooLarge, format!("more than the job's rows_max of {rows_max}")));
        }
        let cells = match &self.params.group_by {
            Some(group) => self.groups.cells(Self::column(batch, &group.column)?, batch.rows)?,
            None => vec![None; batch.rows],
        };
        self.local.rows[0] += batch.rows as u64;
        for cell in cells.iter().flatten() {
            self.local.rows[*cell] += 1;
        }
        for (measure, moments) in self.params.measures.iter().zip(&mut self.local.measures) {
            let fixed = Fixed::new(&self.params, &measure.value, Self::column(batch, &measure.value.column)?)?;
            for (row, group) in cells.iter().enumerate() {
                let Some(x) = fixed.get(row)? else { continue };
                for cell in core::iter::once(0).chain(*group) {
                    moments.count[cell] += 1;
                    moments.sum[cell] += x;
                    moments.squares[cell] += x * x;
                }
            }
        }
        for (histogram, bins) in self.params.histograms.iter().zip(&mut self.local.histograms) {
            count_bins(histogram, Self::column(batch, &histogram.column)?, batch.rows, bins)?;
        }
        for (quantiles, values) in self.params.quantiles.iter().zip(&mut self.local.quantiles) {
            let (low, high) = self.params.bracket(quantiles);
            let column = Self::column(batch, &quantiles.value.column)?;
            let fixed = Fixed::new(&self.params, &quantiles.value, column)?.within(low, high);
            for row in 0..batch.rows {
                // why: check() bounds magnitudes to 58 bits with the fraction, so i64 holds them.
                values.extend(fixed.get(row)?.map(|x| x as i64));
            }
        }
        if let (Some(matrix), Some(products)) = (&self.params.matrix, &mut self.local.matrix) {
            multiply(&self.params, matrix, batch, products)?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Box<dyn JointHalf> {
        self.local.quantiles.iter_mut().for_each(|v| v.sort_unstable());
        Box::new(super::joint::StatsJoint { params: self.params, local: self.local })
    }
}

/// Counts values into below, bins, above. Comparison with an edge is exact for whole numbers.
fn count_bins(histogram: &Histogram, column: &Column, rows: usize, bins: &mut [u64]) -> Result<(), Fault> {
    let reals: Vec<f64> = histogram.edges.iter().map(|e| e.to_f64()).collect();
    let last = reals.len();
    for row in (0..rows).filter(|row| column.is_valid(*row)) {
        let (below, at_top) = match &column.values {
            Values::Int(v) => {
                let Some(x) = v.get(row).map(|x| crate::Decimal::whole(*x)) else { continue };
                let below = histogram.edges.partition_point(|e| e.cmp_value(x).is_le());
                (below, histogram.edges.last().is_some_and(|e| e.cmp_value(x).is_eq()))
            }
            Values::Float(v) => {
                let Some(x) = v.get(row) else { continue };
                (reals.partition_point(|e| e <= x), reals.last().is_some_and(|e| e.total_cmp(x).is_eq()))
            }
            Values::Text(_) => return Err(column_type(&column.name, "numbers")),
        };
        bins[if at_top { last - 1 } else { below }] += 1;
    }
    Ok(())
}

fn multiply(params: &StatsParams, matrix: &Matrix, batch: &Columns, products: &mut Products) -> Result<(), Fault> {
    let columns = matrix
        .values
        .iter()
        .map(|value| Fixed::new(params, value, StatsFold::column(batch, &value.column)?))
        .collect::<Result<Vec<_>, _>>()?;
    let mut row_values = vec![0i128; columns.len()];
    'rows: for row in 0..batch.rows {
        for (slot, column) in row_values.iter_mut().zip(&columns) {
            match column.get(row)? {
                Some(x) => *slot = x,
                None => continue 'rows,
            }
        }
        products.count += 1;
        let mut at = 0;
        for (i, x) in row_values.iter().enumerate() {
            products.sums[i] += x;
            for y in &row_values[i..] {
                products.products[at] += x * y;
                at += 1;
            }
        }
    }
    Ok(())
}
