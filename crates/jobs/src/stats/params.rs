//! Parameters of `stats/v1`: what a person writes, what is signed, and what they imply for the
//! layout of the vectors and for overflow.

use std::collections::BTreeMap;

use serde::Deserialize;
use tacit_governance::ColumnKind;
use tacit_types::limits::COLUMN_NAME_BYTES_MAX;
use tacit_types::{Code, Fault, Predicate};

use super::groups::WrittenGroups;
pub use super::groups::{GROUPS_MAX, GroupBy};
use super::private::{self, Privacy};
use crate::checked::is_false;
use crate::decimal::Decimal;
use crate::filter;
use crate::kind::ColumnKinds;

/// Measures, histograms, quantile columns and matrix columns of one job, each.
pub const ITEMS_MAX: usize = 64;
/// Edges of one histogram.
pub const EDGES_MAX: usize = 1025;
/// Cells of the release.
pub const CELLS_MAX: usize = 1 << 20;
/// Bits of the number of seats that the overflow bound allows for.
const SEAT_BITS: u32 = 10;
/// Bits of the rows of one party, unless the job states another number.
const ROWS_DEFAULT: u64 = 1 << 24;
/// The largest magnitude of whole numbers, unless the job states another.
const BOUND_WHOLE_DEFAULT: Decimal = Decimal::whole(1 << 40);
/// The largest magnitude of real numbers that are only counted.
const BOUND_REAL_COUNTED: Decimal = Decimal::whole(1 << 24);
/// Digits after the binary point at most.
const FRACTION_BITS_MAX: u32 = 40;
/// One in units of a probability.
pub const MILLION: u32 = 1_000_000;

/// A statistic of a measure.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Deserialize, minicbor::Encode, minicbor::Decode)]
#[serde(rename_all = "snake_case")]
#[cbor(index_only)]
pub enum Statistic {
    /// Rows with a value.
    #[n(0)]
    Count,
    /// Sum.
    #[n(1)]
    Sum,
    /// Arithmetic mean.
    #[n(2)]
    Mean,
    /// Sample variance, divided by n - 1.
    #[n(3)]
    Variance,
    /// Square root of the sample variance.
    #[n(4)]
    Stddev,
}

/// A column as a vector of fixed-point numbers.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Scaled {
    /// Column name.
    #[n(1)]
    pub column: String,
    /// Whether every provider has whole numbers there; then the sums are exact integers.
    #[n(2)]
    pub whole: bool,
    /// A value that is larger in magnitude counts as this.
    #[n(3)]
    pub bound: Decimal,
}

/// Statistics of one column.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Measure {
    /// The column.
    #[n(1)]
    pub value: Scaled,
    /// Which statistics, in ascending order without repeats.
    #[n(2)]
    pub statistics: Vec<Statistic>,
}

impl Measure {
    /// Whether sums are needed beside counts.
    pub fn needs_sum(&self) -> bool {
        self.statistics.iter().any(|s| *s != Statistic::Count)
    }

    /// Whether sums of squares are needed.
    pub fn needs_squares(&self) -> bool {
        self.statistics.iter().any(|s| matches!(s, Statistic::Variance | Statistic::Stddev))
    }

    /// Words per cell in the release: flag, count, and the sums.
    pub fn words(&self) -> usize {
        2 + usize::from(self.needs_sum()) + usize::from(self.needs_squares())
    }
}

/// Counts between agreed edges.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Histogram {
    /// Column name.
    #[n(1)]
    pub column: String,
    /// Ascending; bin i holds edge i <= x < edge i + 1, and the last bin its upper edge too.
    #[n(2)]
    pub edges: Vec<Decimal>,
}

/// Quantiles of one column: the least value at or below which at least a share p of the rows lies.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Quantiles {
    /// The column; its bound is the larger magnitude of `low` and `high`.
    #[n(1)]
    pub value: Scaled,
    /// Shares in millionths, above 0 and below 1,000,000.
    #[n(2)]
    pub probabilities: Vec<u32>,
    /// A value below counts as this.
    #[n(3)]
    pub low: Decimal,
    /// A value above counts as this.
    #[n(4)]
    pub high: Decimal,
}

/// Covariances of several columns over the rows that have a value in all of them.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Matrix {
    /// The columns.
    #[n(1)]
    pub values: Vec<Scaled>,
    /// Whether the correlations are wanted too.
    #[n(2)]
    pub correlation: bool,
}

impl Matrix {
    /// Words in the release: flag, count, sums, products of the upper triangle.
    pub fn words(&self) -> usize {
        let k = self.values.len();
        2 + k + k * (k + 1) / 2
    }
}

/// The signed parameters.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct StatsParams {
    /// Groups.
    #[n(1)]
    pub group_by: Option<GroupBy>,
    /// Measures.
    #[n(2)]
    pub measures: Vec<Measure>,
    /// Histograms.
    #[n(3)]
    pub histograms: Vec<Histogram>,
    /// Quantiles.
    #[n(4)]
    pub quantiles: Vec<Quantiles>,
    /// Covariance matrix.
    #[n(5)]
    pub matrix: Option<Matrix>,
    /// Rows to keep.
    #[n(6)]
    pub filter: Option<Predicate>,
    /// Rows that one party may have at most.
    #[n(7)]
    pub rows_max: u64,
    /// Whether every node checks the sums.
    #[n(8)]
    #[cbor(default, skip_if = "is_false")]
    pub checked: bool,
    /// What noise hides a row and what that costs; exact numbers when absent.
    #[n(9)]
    pub privacy: Option<Privacy>,
}

fn wrong<T>(what: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::new(Code::RefusedParameters, what))
}

fn ensure(ok: bool, what: impl FnOnce() -> String) -> Result<(), Fault> {
    if ok { Ok(()) } else { wrong(what()) }
}

impl StatsParams {
    /// Checks sizes, names, order, ranges and overflow.
    ///
    /// # Errors
    /// `refused.parameters` naming the field; `refused.overflow`; `refused.statistic` for one without a private form.
    pub fn check(&self) -> Result<(), Fault> {
        let items = [self.measures.len(), self.histograms.len(), self.quantiles.len()];
        ensure(items.iter().all(|n| *n <= ITEMS_MAX), || format!("more than {ITEMS_MAX} of one kind of statistic"))?;
        let nothing = items.iter().sum::<usize>() == 0 && self.matrix.is_none() && self.group_by.is_none();
        ensure(!nothing, || "nothing is asked for: measures, group_by, histograms, quantiles or matrix".into())?;
        let rows_ok = (1..=tacit_types::limits::ROWS_MAX).contains(&self.rows_max);
        ensure(rows_ok, || "rows_max is 1 to 2^30".into())?;
        for column in self.measured_columns().chain(self.group_by.iter().map(|g| g.column.as_str())) {
            ensure(!column.is_empty() && column.len() <= COLUMN_NAME_BYTES_MAX, || {
                "a column name is empty or too long".into()
            })?;
        }
        if let Some(group) = &self.group_by {
            group.check("group_by", GROUPS_MAX)?;
        }
        self.check_repeats()?;
        for measure in &self.measures {
            let ascending = measure.statistics.windows(2).all(|w| w[0] < w[1]);
            ensure(!measure.statistics.is_empty() && ascending, || {
                format!("measures: `{}` has no statistics, or repeats one", measure.value.column)
            })?;
            self.fraction_bits(&measure.value)?;
        }
        self.histograms.iter().try_for_each(check_histogram)?;
        for quantiles in &self.quantiles {
            check_quantiles(quantiles)?;
            self.fraction_bits(&quantiles.value)?;
        }
        if let Some(matrix) = &self.matrix {
            ensure((2..=ITEMS_MAX).contains(&matrix.values.len()), || format!("matrix: 2 to {ITEMS_MAX} columns"))?;
            for (i, value) in matrix.values.iter().enumerate() {
                let again = matrix.values[..i].iter().any(|v| v.column == value.column);
                ensure(!again, || format!("matrix: `{}` stands twice", value.column))?;
                self.fraction_bits(value)?;
            }
        }
        ensure(self.filter.as_ref().is_none_or(Predicate::within_limits), || "filter: too large".into())?;
        ensure(self.release_cells() <= CELLS_MAX, || format!("more than {CELLS_MAX} cells"))?;
        self.privacy.as_ref().map_or(Ok(()), |privacy| private::check(self, privacy))
    }

    /// The floor is applied to cells, and to what follows from cells by subtraction. Tables that cut one column in
    /// different places would give away the rows between two cuts, and sums of the column that groups the rows the
    /// size of a group. So each column is cut once; decision 6 has the algebra.
    fn check_repeats(&self) -> Result<(), Fault> {
        let measures: Vec<&str> = self.measures.iter().map(|m| m.value.column.as_str()).collect();
        let histograms: Vec<&str> = self.histograms.iter().map(|h| h.column.as_str()).collect();
        let quantiles: Vec<&str> = self.quantiles.iter().map(|q| q.value.column.as_str()).collect();
        for (what, mut columns) in [("measures", measures), ("histograms", histograms), ("quantiles", quantiles)] {
            columns.sort_unstable();
            let twice = columns.windows(2).find(|w| w[0] == w[1]);
            ensure(twice.is_none(), || format!("{what}: `{}` stands twice", twice.map_or("", |w| w[0])))?;
        }
        // Two sums clamped at two bounds differ by the rows beyond the lower one alone.
        for value in self.matrix.iter().flat_map(|m| &m.values) {
            let measure = self.measures.iter().find(|m| m.value.column == value.column);
            let same = measure.is_none_or(|m| m.value.bound.cmp_value(value.bound).is_eq());
            ensure(same, || format!("matrix: `{}` has another bound than as a measure", value.column))?;
        }
        // The bins give the values, and the sum is an equation over them: it tells apart what one bin holds.
        let both = self.histograms.iter().find(|h| self.sums(&h.column));
        ensure(both.is_none(), || {
            format!("histograms: `{}` is summed in the same job", both.map_or("", |h| h.column.as_str()))
        })?;
        let Some(group) = &self.group_by else { return Ok(()) };
        let measured = self.measured_columns().any(|column| column == group.column);
        ensure(!measured, || format!("group_by: `{}` is measured in the same job", group.column))
    }

    /// Whether sums of a column are released.
    fn sums(&self, column: &str) -> bool {
        let measured = self.measures.iter().any(|m| m.needs_sum() && m.value.column == column);
        measured || self.matrix.iter().flat_map(|m| &m.values).any(|v| v.column == column)
    }

    /// Whether rows with a value in a column are counted, other than by the matrix. No histogram stands beside it.
    pub fn counts(&self, column: &str) -> bool {
        self.measures.iter().any(|m| m.value.column == column)
    }

    /// Digits after the binary point for a column: as many as leave room for the sum of squares of
    /// every row of every seat below 2^126, at most 40; none for whole numbers.
    ///
    /// # Errors
    /// `refused.overflow` when even none would overflow.
    pub fn fraction_bits(&self, value: &Scaled) -> Result<u32, Fault> {
        ensure(value.bound.is_valid() && value.bound.units >= 0, || format!("bound of `{}`", value.column))?;
        let rows = 64 - (self.rows_max - 1).leading_zeros();
        let room = (126 - rows - SEAT_BITS) / 2;
        let bits = value.bound.magnitude_bits();
        if bits > room {
            let what =
                format!("`{}`: magnitudes below 2^{bits} with 2^{rows} rows need more than 128 bits", value.column);
            return Err(Fault::new(Code::RefusedOverflow, what));
        }
        Ok(if value.whole { 0 } else { (room - bits).min(FRACTION_BITS_MAX) })
    }

    /// The largest magnitude of a column's values in fixed point.
    ///
    /// # Errors
    /// `refused.overflow`, as for [`StatsParams::fraction_bits`].
    pub fn largest(&self, value: &Scaled) -> Result<i128, Fault> {
        let overflow = || Fault::new(Code::RefusedOverflow, format!("bound of `{}`", value.column));
        value.bound.to_fixed_floor(self.fraction_bits(value)?).ok_or_else(overflow)
    }

    /// Every column in a sum, with repeats.
    pub fn measured_columns(&self) -> impl Iterator<Item = &str> {
        let measures = self.measures.iter().map(|m| m.value.column.as_str());
        let histograms = self.histograms.iter().map(|h| h.column.as_str());
        let quantiles = self.quantiles.iter().map(|q| q.value.column.as_str());
        let matrix = self.matrix.iter().flat_map(|m| m.values.iter().map(|v| v.column.as_str()));
        measures.chain(histograms).chain(quantiles).chain(matrix)
    }

    /// Cells of each table: the total, then the groups, then all rows in none of them.
    pub fn cells(&self) -> usize {
        1 + self.group_by.as_ref().map_or(0, |g| g.values.len() + 1)
    }

    /// Bins of a histogram: below, between the edges, above.
    pub fn bins(histogram: &Histogram) -> usize {
        histogram.edges.len() + 1
    }

    /// Words of the counts vector: rows and contributors of every cell that may be released, and of those that
    /// follow from released ones by subtraction. Their order is that of `Local::counts`.
    pub fn count_cells(&self) -> usize {
        let measures: usize = self.measures.iter().map(|m| 2 + usize::from(m.needs_sum())).sum();
        let bins: usize = self.histograms.iter().map(|h| Self::bins(h) + 1).sum();
        let matrix = self.matrix.as_ref().map_or(0, |m| 4 + m.values.len());
        2 * (self.cells() * (1 + measures) + bins + self.quantiles.len() + matrix)
    }

    /// Words of the release vector.
    pub fn release_cells(&self) -> usize {
        let measures: usize = self.measures.iter().map(|m| m.words() * self.cells()).sum();
        let bins: usize = self.histograms.iter().map(|h| 2 * Self::bins(h)).sum();
        let matrix = self.matrix.as_ref().map_or(0, Matrix::words);
        2 * self.cells() + measures + bins + 2 * self.quantile_targets() + matrix
    }

    /// Quantiles searched for.
    pub fn quantile_targets(&self) -> usize {
        self.quantiles.iter().map(|q| q.probabilities.len()).sum()
    }

    /// Rounds of the search: enough for the widest bracket.
    pub fn quantile_rounds(&self) -> usize {
        self.quantiles
            .iter()
            .map(|q| {
                let (low, high) = self.bracket(q);
                let mut width = (high - low + 1).unsigned_abs();
                let mut rounds = 0;
                while width > 1 {
                    width = width.div_ceil(super::QUANTILE_BINS as u128);
                    rounds += 1;
                }
                rounds
            })
            .max()
            .unwrap_or(0)
    }

    /// The fixed-point range to which a quantile's column is clamped, inclusive.
    pub fn range(&self, quantiles: &Quantiles) -> (i128, i128) {
        let (low, high) = self.bracket(quantiles);
        (low, high - i128::from(!quantiles.value.whole))
    }

    /// The fixed-point range in which a quantile is searched, inclusive.
    pub fn bracket(&self, quantiles: &Quantiles) -> (i128, i128) {
        let fraction = self.fraction_bits(&quantiles.value).unwrap_or(0);
        // why: bounds of at most 58 bits and fractions of at most 40 fit; check() refuses others.
        let fixed = |d: Decimal| d.to_fixed_floor(fraction).unwrap_or(0);
        (fixed(quantiles.low), fixed(quantiles.high) + i128::from(!quantiles.value.whole))
    }
}

fn check_histogram(histogram: &Histogram) -> Result<(), Fault> {
    let column = &histogram.column;
    ensure((2..=EDGES_MAX).contains(&histogram.edges.len()), || {
        format!("histogram of `{column}`: 2 to {EDGES_MAX} edges")
    })?;
    let valid = histogram.edges.iter().all(|e| e.is_valid());
    let ascending = valid && histogram.edges.windows(2).all(|w| w[0].cmp_value(w[1]).is_lt());
    ensure(ascending, || format!("histogram of `{column}`: the edges do not ascend"))
}

fn check_quantiles(quantiles: &Quantiles) -> Result<(), Fault> {
    let column = &quantiles.value.column;
    let probabilities = &quantiles.probabilities;
    let in_range =
        probabilities.iter().all(|p| (1..MILLION).contains(p)) && probabilities.windows(2).all(|w| w[0] < w[1]);
    ensure(in_range && (1..=ITEMS_MAX).contains(&probabilities.len()), || {
        format!("quantiles of `{column}`: probabilities ascend between 0 and 1, at most {ITEMS_MAX}")
    })?;
    let range_ok =
        quantiles.low.is_valid() && quantiles.high.is_valid() && quantiles.low.cmp_value(quantiles.high).is_lt();
    ensure(range_ok, || format!("quantiles of `{column}`: low is not below high"))?;
    let bound = quantiles.value.bound;
    let inside = |d: Decimal| Decimal { units: d.units.saturating_abs(), ..d }.cmp_value(bound).is_le();
    ensure(inside(quantiles.low) && inside(quantiles.high), || format!("quantiles of `{column}`: outside its bound"))
}

// What a person writes.

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    group_by: Option<WrittenGroups>,
    #[serde(default)]
    measures: Vec<WrittenMeasure>,
    #[serde(default)]
    histograms: Vec<WrittenHistogram>,
    #[serde(default)]
    quantiles: Vec<WrittenQuantiles>,
    matrix: Option<WrittenMatrix>,
    filter: Option<String>,
    rows_max: Option<u64>,
    #[serde(default)]
    checked: bool,
    privacy: Option<private::Written>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenMeasure {
    column: String,
    statistics: Vec<Statistic>,
    bound: Option<Decimal>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenHistogram {
    column: String,
    edges: Vec<Decimal>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenQuantiles {
    column: String,
    probabilities: Vec<Decimal>,
    low: Decimal,
    high: Decimal,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenMatrix {
    columns: Vec<String>,
    #[serde(default)]
    correlation: bool,
    bound: Option<Decimal>,
}

/// Turns what a person wrote into parameters.
///
/// # Errors
/// `refused.parameters` naming the field, `data.column_unknown`, `data.column_type`.
pub fn from_written(written: serde_json::Value, columns: &ColumnKinds) -> Result<StatsParams, Fault> {
    let written: Written =
        serde_json::from_value(written).map_err(|e| Fault::new(Code::RefusedParameters, format!("params: {e}")))?;
    let number = |column: &str, bound: Option<Decimal>| scaled(column, bound, columns);
    let group_by = written.group_by.map(|g| g.read("group_by", columns)).transpose()?;
    let mut measures = Vec::new();
    let mut bounds = BTreeMap::new();
    for m in written.measures {
        let counted = m.statistics.iter().all(|s| *s == Statistic::Count);
        if !counted {
            bounded(&m.column, m.bound, columns)?;
        }
        bounds.extend(m.bound.map(|bound| (m.column.clone(), bound)));
        if written.privacy.is_some() && m.bound.is_none() && !counted {
            return wrong(format!("measures: `{}` needs a bound, by which its noise is measured", m.column));
        }
        let mut statistics = m.statistics;
        statistics.sort_unstable();
        statistics.dedup();
        measures.push(Measure { value: number(&m.column, m.bound)?, statistics });
    }
    let mut histograms = Vec::new();
    for h in written.histograms {
        number(&h.column, None)?;
        histograms.push(Histogram { column: h.column, edges: h.edges });
    }
    let mut quantiles = Vec::new();
    for q in written.quantiles {
        quantiles.push(read_quantiles(q, columns)?);
    }
    let matrix = match written.matrix {
        None => None,
        Some(m) => {
            let value = |c: &String| {
                let bound = m.bound.or_else(|| bounds.get(c).copied());
                bounded(c, bound, columns)?;
                number(c, bound)
            };
            let values = m.columns.iter().map(value).collect::<Result<_, _>>()?;
            Some(Matrix { values, correlation: m.correlation })
        }
    };
    let filter = written.filter.map(|text| filter::parse(&text)).transpose()?;
    for column in filter.iter().flat_map(Predicate::columns) {
        known(column, columns)?;
    }
    let rows_max = written.rows_max.unwrap_or(ROWS_DEFAULT);
    let (checked, privacy) = (written.checked, written.privacy.as_ref().map(Privacy::read).transpose()?);
    Ok(StatsParams { group_by, measures, histograms, quantiles, matrix, filter, rows_max, checked, privacy })
}

fn known(column: &str, columns: &ColumnKinds) -> Result<ColumnKind, Fault> {
    columns
        .get(column)
        .copied()
        .ok_or_else(|| Fault::new(Code::DataColumnUnknown, format!("`{column}` is not a column of every provider")))
}

/// Real numbers are summed in steps that follow from their bound: a default would round small ones away and say nothing.
fn bounded(column: &str, bound: Option<Decimal>, columns: &ColumnKinds) -> Result<(), Fault> {
    if known(column, columns)? == ColumnKind::Float && bound.is_none() {
        return wrong(format!(
            "`{column}` has real numbers: give a bound, the largest magnitude that counts, such as bound = \"1000\""
        ));
    }
    Ok(())
}

fn scaled(column: &str, bound: Option<Decimal>, columns: &ColumnKinds) -> Result<Scaled, Fault> {
    let whole = match known(column, columns)? {
        ColumnKind::Int => true,
        ColumnKind::Float => false,
        ColumnKind::Text => return Err(Fault::new(Code::DataColumnType, format!("`{column}` is text, not a number"))),
    };
    let default = if whole { BOUND_WHOLE_DEFAULT } else { BOUND_REAL_COUNTED };
    Ok(Scaled { column: column.to_owned(), whole, bound: bound.unwrap_or(default) })
}

fn read_quantiles(q: WrittenQuantiles, columns: &ColumnKinds) -> Result<Quantiles, Fault> {
    let magnitude = |d: Decimal| Decimal { units: d.units.saturating_abs(), ..d };
    let (low, high) = (magnitude(q.low), magnitude(q.high));
    let bound = if low.cmp_value(high).is_gt() { low } else { high };
    let probabilities = q
        .probabilities
        .iter()
        .map(|p| {
            let millionths = i128::from(p.units) * i128::from(MILLION);
            let scale = 10i128.pow(u32::from(p.scale));
            let exact = millionths % scale == 0;
            u32::try_from(millionths / scale)
                .ok()
                .filter(|v| exact && (1..MILLION).contains(v))
                .ok_or_else(|| Fault::new(Code::RefusedParameters, format!("quantiles: probability {p}")))
        })
        .collect::<Result<_, _>>()?;
    Ok(Quantiles { value: scaled(&q.column, Some(bound), columns)?, probabilities, low: q.low, high: q.high })
}
