//! The recipient's half: exact sums in, statistics out.

use serde_json::{Value, json};
use tacit_types::limits::{ROWS_MAX, SEATS_MAX};
use tacit_types::{Code, Fault};

use super::params::{GroupBy, Matrix, Measure, Scaled, Statistic, StatsParams};
use crate::decimal::Decimal;
use crate::kind::{Opened, OpenedVector, Table};

pub(super) fn invalid(what: &str) -> Fault {
    Fault::new(Code::ReceiptInvalid, format!("the opened result: {what}"))
}

/// Rows of every seat of the largest job.
const COUNT_MAX: i128 = (ROWS_MAX * SEATS_MAX as u64) as i128;

/// Reads a release vector cell by cell.
struct Reader<'a> {
    cells: core::slice::Iter<'a, u128>,
    survivors: u128,
}

impl Reader<'_> {
    fn next(&mut self) -> Result<i128, Fault> {
        self.cells.next().map(|c| *c as i128).ok_or_else(|| invalid("it is too short"))
    }

    /// Whether the cell passed the floor. Every party sets the flag or none does.
    fn flag(&mut self) -> Result<bool, Fault> {
        match self.next()? as u128 {
            0 => Ok(false),
            all if all == self.survivors => Ok(true),
            _ => Err(invalid("the parties did not suppress the same cells")),
        }
    }

    /// As [`Reader::cell`], for a cell whose first value counts its rows.
    fn counted(&mut self, n: usize) -> Result<Option<Vec<i128>>, Fault> {
        let cell = self.cell(n)?;
        match cell.as_ref().and_then(|c| c.first()) {
            // A count that no rows can have is a provider's doing, and arithmetic on it would fail.
            Some(count) if !(1..=COUNT_MAX).contains(count) => Err(invalid("a count is out of its range")),
            _ => Ok(cell),
        }
    }

    /// `n` values, `None` when the cell is suppressed.
    fn cell(&mut self, n: usize) -> Result<Option<Vec<i128>>, Fault> {
        let open = self.flag()?;
        let values = (0..n).map(|_| self.next()).collect::<Result<Vec<_>, _>>()?;
        match open {
            true => Ok(Some(values)),
            false if values.iter().all(|v| *v == 0) => Ok(None),
            false => Err(invalid("a suppressed cell is not empty")),
        }
    }
}

/// Opens a release.
///
/// # Errors
/// `receipt.invalid` when the vector is not one of these parameters.
pub fn open(params: &StatsParams, opened: &OpenedVector) -> Result<Opened, Fault> {
    if opened.cells.len() != params.release_cells() {
        return Err(invalid("it has another length"));
    }
    let mut reader = Reader { cells: opened.cells.iter(), survivors: opened.survivors as u128 };
    let mut tables = Vec::new();
    let mut suppressed = 0u64;
    let labels = labels(params.group_by.as_ref());
    let rows = open_rows(&labels, &mut reader, &mut tables, &mut suppressed)?;
    let mut measures = Vec::new();
    for measure in &params.measures {
        measures.push(open_measure(params, measure, &labels, &mut reader, &mut tables, &mut suppressed)?);
    }
    let mut histograms = Vec::new();
    for histogram in &params.histograms {
        let (mut bins, mut lines) = (Vec::new(), Vec::new());
        for label in bin_labels(&histogram.edges) {
            let count = reader.counted(1)?.map(|v| v[0]);
            suppressed += u64::from(count.is_none());
            bins.push(json!({"bin": label, "count": count.map(number)}));
            lines.push(vec![label, shown(count)]);
        }
        histograms.push(json!({"column": histogram.column, "bins": bins}));
        tables.push(table(format!("histogram of {}", histogram.column), &["bin", "rows"], lines));
    }
    let mut quantiles = Vec::new();
    for q in &params.quantiles {
        let fraction = params.fraction_bits(&q.value)?;
        let mut lines = Vec::new();
        for probability in &q.probabilities {
            let cell = reader.cell(1)?;
            suppressed += u64::from(cell.is_none());
            let value = cell.map(|v| v[0] / opened.survivors.max(1) as i128).map(|v| real(v, fraction));
            let share = f64::from(*probability) / 1e6;
            let range = [q.low, q.high];
            quantiles
                .push(json!({"column": q.value.column, "probability": share, "value": value, "clamped_to": range}));
            lines.push(vec![share.to_string(), value.map_or_else(hidden, |v| v.to_string())]);
        }
        let title = format!("quantiles of {} (clamped to {} .. {})", q.value.column, q.low, q.high);
        tables.push(table(title, &["share", "value"], lines));
    }
    let matrix = match &params.matrix {
        Some(m) => Some(open_matrix(params, m, &mut reader, &mut tables, &mut suppressed)?),
        None => None,
    };
    let json = json!({
        "parties": opened.survivors,
        "rows": rows,
        "measures": measures,
        "histograms": histograms,
        "quantiles": quantiles,
        "matrix": matrix,
        "suppressed_cells": suppressed,
    });
    Ok(Opened { json, tables })
}

pub(super) fn table(title: String, head: &[&str], rows: Vec<Vec<String>>) -> Table {
    Table { title, head: head.iter().map(ToString::to_string).collect(), rows }
}

fn hidden() -> String {
    "suppressed".into()
}

fn shown(value: Option<i128>) -> String {
    value.map_or_else(hidden, |v| v.to_string())
}

/// An exact integer as JSON: a number where 64 bits hold it, else its digits.
fn number(value: i128) -> Value {
    i64::try_from(value).map_or_else(|_| Value::String(value.to_string()), Value::from)
}

/// A fixed-point number as the nearest double.
fn real(value: i128, fraction: u32) -> f64 {
    value as f64 / (fraction as f64).exp2()
}

pub(super) fn labels(group: Option<&GroupBy>) -> Vec<String> {
    core::iter::once("all".to_owned()).chain(group.into_iter().flat_map(GroupBy::labels)).collect()
}

pub(super) fn bin_labels(edges: &[Decimal]) -> Vec<String> {
    let mut labels = vec![format!("< {}", edges[0])];
    labels.extend(edges.windows(2).map(|w| format!("{} .. {}", w[0], w[1])));
    labels.push(format!("> {}", edges[edges.len() - 1]));
    labels
}

fn open_rows(
    labels: &[String],
    reader: &mut Reader<'_>,
    tables: &mut Vec<Table>,
    suppressed: &mut u64,
) -> Result<Value, Fault> {
    let (mut list, mut lines) = (Vec::new(), Vec::new());
    for label in labels {
        let count = reader.counted(1)?.map(|v| v[0]);
        *suppressed += u64::from(count.is_none());
        list.push(json!({"group": label, "rows": count.map(number)}));
        lines.push(vec![label.clone(), shown(count)]);
    }
    tables.push(table("rows".into(), &["group", "rows"], lines));
    Ok(Value::Array(list))
}

fn open_measure(
    params: &StatsParams,
    measure: &Measure,
    labels: &[String],
    reader: &mut Reader<'_>,
    tables: &mut Vec<Table>,
    suppressed: &mut u64,
) -> Result<Value, Fault> {
    let fraction = params.fraction_bits(&measure.value)?;
    let (mut list, mut lines) = (Vec::new(), Vec::new());
    for label in labels {
        let cell = reader.counted(measure.words() - 1)?;
        *suppressed += u64::from(cell.is_none());
        let mut entry = json!({"group": label, "suppressed": cell.is_none()});
        let mut line = vec![label.clone()];
        for statistic in &measure.statistics {
            let value = match &cell {
                Some(cell) => statistic_of(*statistic, cell, &measure.value, fraction),
                None => Value::Null,
            };
            line.push(match (&cell, &value) {
                (None, _) => hidden(),
                (_, Value::Null) => "-".into(),
                (_, Value::String(digits)) => digits.clone(),
                (_, other) => other.to_string(),
            });
            entry[word(*statistic)] = value;
        }
        list.push(entry);
        lines.push(line);
    }
    let head: Vec<&str> = core::iter::once("group").chain(measure.statistics.iter().map(|s| word(*s))).collect();
    let Scaled { column, bound, .. } = &measure.value;
    tables.push(table(format!("{column} (clamped to ±{bound})"), &head, lines));
    Ok(json!({"column": column, "clamped_to": bound, "groups": list}))
}

pub(super) const fn word(statistic: Statistic) -> &'static str {
    match statistic {
        Statistic::Count => "count",
        Statistic::Sum => "sum",
        Statistic::Mean => "mean",
        Statistic::Variance => "variance",
        Statistic::Stddev => "stddev",
    }
}

fn statistic_of(statistic: Statistic, cell: &[i128], value: &Scaled, fraction: u32) -> Value {
    let n = cell.first().copied().unwrap_or(0);
    let sum = cell.get(1).copied().unwrap_or(0);
    let squares = cell.get(2).copied().unwrap_or(0);
    let variance =
        || (n > 1).then(|| deviations(n, (sum, sum), squares) / (n - 1) as f64 / (2.0 * f64::from(fraction)).exp2());
    match statistic {
        Statistic::Count => number(n),
        Statistic::Sum if value.whole => number(sum),
        Statistic::Sum => json!(real(sum, fraction)),
        Statistic::Mean if n > 0 => json!(mean(n, sum, fraction)),
        Statistic::Variance => json!(variance()),
        Statistic::Stddev => json!(variance().map(f64::sqrt)),
        Statistic::Mean => Value::Null,
    }
}

/// The mean, with the whole part divided exactly first so that large sums lose nothing.
fn mean(n: i128, sum: i128, fraction: u32) -> f64 {
    let (whole, rest) = (sum.div_euclid(n), sum.rem_euclid(n));
    (whole as f64 + rest as f64 / n as f64) / (f64::from(fraction)).exp2()
}

/// The sum of (x - mean x)(y - mean y), from n, the sums and the sum of products.
///
/// With a = floor(Sx / n), b = floor(Sy / n) and remainders r, s: the sum of (x - a)(y - b) is
/// Sxy - a Sy - b r, an exact integer of the size of the answer; what is left, r s / n, is small.
/// So nothing cancels in floating point.
pub(crate) fn deviations(n: i128, (sx, sy): (i128, i128), sxy: i128) -> f64 {
    let (a, r) = (sx.div_euclid(n), sx.rem_euclid(n));
    let (b, s) = (sy.div_euclid(n), sy.rem_euclid(n));
    let about = sxy.wrapping_sub(a.wrapping_mul(sy)).wrapping_sub(b.wrapping_mul(r));
    let product = r * s;
    let (whole, rest) = (product.div_euclid(n), product.rem_euclid(n));
    (about.wrapping_sub(whole)) as f64 - rest as f64 / n as f64
}

fn open_matrix(
    params: &StatsParams,
    matrix: &Matrix,
    reader: &mut Reader<'_>,
    tables: &mut Vec<Table>,
    suppressed: &mut u64,
) -> Result<Value, Fault> {
    let k = matrix.values.len();
    let columns: Vec<&str> = matrix.values.iter().map(|v| v.column.as_str()).collect();
    let Some(cell) = reader.counted(matrix.words() - 1)? else {
        *suppressed += 1;
        return Ok(json!({"columns": columns, "suppressed": true}));
    };
    let fractions = matrix.values.iter().map(|v| params.fraction_bits(v)).collect::<Result<Vec<_>, _>>()?;
    let n = cell[0];
    let (sums, products) = cell[1..].split_at(k);
    let mut covariance = vec![vec![0.0; k]; k];
    let mut at = 0;
    for i in 0..k {
        for j in i..k {
            let scale = f64::from(fractions[i] + fractions[j]).exp2();
            let value = deviations(n, (sums[i], sums[j]), products[at]) / (n - 1).max(1) as f64 / scale;
            (covariance[i][j], covariance[j][i]) = (value, value);
            at += 1;
        }
    }
    tables.push(square("covariance", &columns, &covariance));
    let correlation = matrix.correlation.then(|| {
        (0..k)
            .map(|i| (0..k).map(|j| covariance[i][j] / (covariance[i][i] * covariance[j][j]).sqrt()).collect())
            .collect::<Vec<Vec<f64>>>()
    });
    tables.extend(correlation.as_ref().map(|c| square("correlation", &columns, c)));
    let bounds: Vec<Decimal> = matrix.values.iter().map(|v| v.bound).collect();
    Ok(json!({
        "columns": columns, "suppressed": false, "rows": number(n), "covariance": covariance, "correlation": correlation,
        "clamped_to": bounds,
    }))
}

fn square(title: &str, columns: &[&str], values: &[Vec<f64>]) -> Table {
    let rows = columns
        .iter()
        .zip(values)
        .map(|(name, row)| core::iter::once(name.to_string()).chain(row.iter().map(|v| format!("{v:.6}"))).collect())
        .collect();
    let head: Vec<&str> = core::iter::once("").chain(columns.iter().copied()).collect();
    table(title.into(), &head, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_that_no_rows_can_have_are_refused() {
        let value = |column: &str| Scaled { column: column.into(), whole: true, bound: Decimal::whole(9) };
        let params = StatsParams {
            group_by: None,
            measures: vec![Measure { value: value("a"), statistics: vec![Statistic::Count, Statistic::Variance] }],
            histograms: vec![],
            quantiles: vec![],
            matrix: Some(Matrix { values: vec![value("a"), value("b")], correlation: false }),
            filter: None,
            rows_max: 100,
            checked: false,
            privacy: None,
        };
        let with = |n: u128| {
            let measure = [3, n, 7, 9];
            let matrix = [3, n, 7, 7, 9, 9, 9];
            OpenedVector { cells: [&[3, 5][..], &measure, &matrix].concat(), survivors: 3 }
        };
        assert!(open(&params, &with(5)).is_ok());
        for count in [0, (-1i128) as u128, (-5i128) as u128, COUNT_MAX as u128 + 1, i128::MAX as u128, 1 << 127] {
            assert_eq!(open(&params, &with(count)).map(|_| ()).unwrap_err().code, Code::ReceiptInvalid, "{count}");
        }
    }

    #[test]
    fn deviations_do_not_cancel() {
        // Values near 1e12 with a spread of one: the textbook formula loses every digit.
        let values: Vec<i128> = (0..1000).map(|i| 1_000_000_000_000 + i % 3).collect();
        let (n, s): (i128, i128) = (1000, values.iter().sum());
        let q: i128 = values.iter().map(|v| v * v).sum();
        let mean = values.iter().map(|v| (v - 1_000_000_000_000) as f64).sum::<f64>() / 1000.0;
        let exact: f64 = values.iter().map(|v| ((v - 1_000_000_000_000) as f64 - mean).powi(2)).sum();
        assert!((deviations(n, (s, s), q) / exact - 1.0).abs() < 1e-12);
        // Negative values and an uneven remainder: 1, -2, 4 has sum 3 and squared deviations 18.
        assert!((deviations(3, (3, 3), 21) - 18.0).abs() < 1e-12);
        assert!((deviations(3, (-4, -4), 30) - (30.0 - 16.0 / 3.0)).abs() < 1e-12);
    }
}
