//! The recipient's half: means, variances, covariances and correlations from the sums.

use serde_json::{Value, json};
use tacit_types::{Code, Fault};

use super::circuit::{Group, Layout};
use super::params::{CrossParams, RangedColumn, VALUE_BITS};
use crate::kind::{Opened, OpenedVector, Table};
use crate::stats::open::deviations;

fn invalid() -> Fault {
    Fault::new(Code::ReceiptInvalid, "the opened numbers are none of this job's")
}

/// The numbers of one column or pair: none where they were not told.
type Told = Option<Vec<i128>>;

/// Numbers in the order of [`Layout::groups`], by column of a group.
fn groups(layout: Layout, plan: &tacit_mpc::Plan, cells: &[u128]) -> Result<Vec<Vec<Told>>, Fault> {
    let (mut cells, mut output) = (cells.iter(), 0);
    let mut next = |width: usize| {
        let format = plan.handed(output).ok_or_else(invalid)?;
        output += 1;
        let number = |_| {
            let cell = u64::try_from(*cells.next()?).ok()?;
            format.number(cell).map(|n| i128::from(n as i64))
        };
        (0..width).map(number).collect::<Option<Vec<i128>>>().ok_or_else(invalid)
    };
    let mut all = Vec::new();
    for (_, width, sums) in layout.groups() {
        let flags = next(width)?;
        let lists = (0..sums).map(|_| next(width)).collect::<Result<Vec<_>, _>>()?;
        let told = flags.iter().enumerate().map(|(i, flag)| {
            let numbers: Vec<i128> = lists.iter().filter_map(|list| list.get(i).copied()).collect();
            match flag {
                1 => Ok(Some(numbers)),
                0 if numbers.iter().all(|n| *n == 0) => Ok(None),
                _ => Err(invalid()),
            }
        });
        all.push(told.collect::<Result<Vec<Told>, Fault>>()?);
    }
    if cells.next().is_some() { Err(invalid()) } else { Ok(all) }
}

/// What a column's numbers say.
struct Moments {
    sum: i128,
    variance: Option<f64>,
}

/// Sum and squares that numbers from nothing to the top can have in so many rows.
fn moments(n: i128, told: &Told, scale: i32) -> Result<Option<Moments>, Fault> {
    let Some(numbers) = told else { return Ok(None) };
    let [sum, squares] = numbers[..] else { return Err(invalid()) };
    let top = 1i128 << VALUE_BITS;
    let possible = (0..=n * top).contains(&sum) && squares <= sum * top && squares * n >= sum * sum;
    if !possible {
        return Err(invalid());
    }
    let variance = (n > 1).then(|| deviations(n, (sum, sum), squares) / (n - 1) as f64 * 2f64.powi(-2 * scale));
    Ok(Some(Moments { sum, variance }))
}

/// Turns the sums into the result.
///
/// # Errors
/// `receipt.invalid` for sums that are none of the job's.
pub(super) fn open(params: &CrossParams, plan: &tacit_mpc::Plan, opened: &OpenedVector) -> Result<Opened, Fault> {
    let layout = Layout::new(params);
    if opened.survivors != params.owners.len() + 1 || opened.cells.len() as u64 != layout.numbers() {
        return Err(invalid());
    }
    let numbers = groups(layout, plan, &opened.cells)?;
    let told = |group: Group| {
        let at = layout.groups().iter().position(|(g, ..)| *g == group);
        at.and_then(|at| numbers.get(at)).map_or(&[][..], Vec::as_slice)
    };
    let rows = match told(Group::Rows) {
        [Some(rows)] => rows.first().copied().filter(|n| (1..=i128::from(params.rows)).contains(n)),
        _ => None,
    };
    let any = numbers.iter().flatten().any(Option::is_some);
    let Some(n) = rows else {
        // Nothing is carried by more rows than match.
        return if any { Err(invalid()) } else { Ok(nothing(params)) };
    };
    let columns = |owner: usize| params.owners.get(owner).map_or(&[][..], |o| o.columns.as_slice());
    let of_first = |(i, c): (usize, &RangedColumn)| moments(n, &told(Group::First(i))[0], c.scale()); // proof: one wide.
    let first = columns(0).iter().enumerate().map(of_first).collect::<Result<Vec<_>, Fault>>()?;
    let of_second = |(c, told): (&RangedColumn, &Told)| moments(n, told, c.scale());
    let second = columns(1).iter().zip(told(Group::Second)).map(of_second).collect::<Result<Vec<_>, Fault>>()?;
    let mut report = Report::new(params, Some(n));
    for (owner, moments) in [&first, &second].into_iter().enumerate() {
        for (column, moments) in columns(owner).iter().zip(moments) {
            report.column(params, owner, column, n, moments.as_ref());
        }
    }
    for (i, (a, x)) in columns(0).iter().zip(&first).enumerate() {
        for ((b, y), told) in columns(1).iter().zip(&second).zip(told(Group::Pairs(i))) {
            let pair = match (told, x, y) {
                (None, ..) => None,
                (Some(product), Some(x), Some(y)) => {
                    let product = product.first().copied().unwrap_or(0);
                    if !(0..=n << (2 * VALUE_BITS)).contains(&product) {
                        return Err(invalid());
                    }
                    Some(together(n, (x, y), product, a.scale() + b.scale()))
                }
                // Whatever carries both carries each.
                (Some(_), ..) => return Err(invalid()),
            };
            report.pair(a, b, pair);
        }
    }
    Ok(report.opened())
}

/// Covariance and correlation; none of one row, and no correlation with what does not vary.
fn together(n: i128, (x, y): (&Moments, &Moments), product: i128, scale: i32) -> [Option<f64>; 2] {
    let covariance = (n > 1).then(|| deviations(n, (x.sum, y.sum), product) / (n - 1) as f64 * 2f64.powi(-scale));
    let varies = x.variance.zip(y.variance).map(|(x, y)| (x * y).sqrt()).filter(|both| *both > 0.0);
    let correlation = covariance.zip(varies).map(|(c, both)| (c / both).clamp(-1.0, 1.0));
    [covariance, correlation]
}

/// The result in the making.
struct Report {
    rows: Option<i128>,
    owners: usize,
    columns: Vec<Value>,
    pairs: Vec<Value>,
    column_lines: Vec<Vec<String>>,
    pair_lines: Vec<Vec<String>>,
}

fn text(told: bool, value: Option<f64>) -> String {
    match value {
        Some(value) => format!("{value:.6}"),
        None if told => "-".into(),
        None => "suppressed".into(),
    }
}

impl Report {
    fn new(params: &CrossParams, rows: Option<i128>) -> Self {
        let owners = params.owners.len();
        Self { rows, owners, columns: vec![], pairs: vec![], column_lines: vec![], pair_lines: vec![] }
    }

    fn column(
        &mut self,
        params: &CrossParams,
        owner: usize,
        column: &RangedColumn,
        n: i128,
        moments: Option<&Moments>,
    ) {
        let mean = moments.map(|m| column.least.to_f64() + m.sum as f64 / n as f64 * 2f64.powi(-column.scale()));
        let variance = moments.and_then(|m| m.variance);
        let of = params.owners.get(owner).map_or_else(String::new, |o| o.owner.to_string());
        self.columns.push(json!({
            "owner": of, "column": column.column, "clamped_to": [column.least, column.most],
            "mean": mean, "variance": variance, "suppressed": moments.is_none(),
        }));
        let told = moments.is_some();
        self.column_lines.push(vec![column.column.clone(), text(told, mean), text(told, variance)]);
    }

    fn pair(&mut self, a: &RangedColumn, b: &RangedColumn, pair: Option<[Option<f64>; 2]>) {
        let [covariance, correlation] = pair.unwrap_or_default();
        self.pairs.push(json!({
            "columns": [a.column, b.column], "covariance": covariance, "correlation": correlation,
            "suppressed": pair.is_none(),
        }));
        let told = pair.is_some();
        let names = [a.column.clone(), b.column.clone()];
        self.pair_lines.push(names.into_iter().chain([covariance, correlation].map(|v| text(told, v))).collect());
    }

    fn opened(self) -> Opened {
        let rows = self.rows.map(|n| n as i64); // why: no more than ids.
        let json = json!({
            "parties": self.owners, "rows": rows, "suppressed": rows.is_none(), "columns": self.columns,
            "pairs": self.pairs,
        });
        let head = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        let matched = rows.map_or_else(|| "suppressed".to_owned(), |n| n.to_string());
        let tables = vec![
            Table { title: "matched rows".into(), head: head(&["rows"]), rows: vec![vec![matched]] },
            Table { title: "columns".into(), head: head(&["column", "mean", "variance"]), rows: self.column_lines },
            Table {
                title: "pairs".into(),
                head: head(&["first", "second", "covariance", "correlation"]),
                rows: self.pair_lines,
            },
        ];
        Opened { json, tables }
    }
}

/// The result where too few match.
fn nothing(params: &CrossParams) -> Opened {
    let mut report = Report::new(params, None);
    for (owner, columns) in params.owners.iter().enumerate() {
        columns.columns.iter().for_each(|column| report.column(params, owner, column, 1, None));
    }
    if let [a, b] = &params.owners[..] {
        for x in &a.columns {
            b.columns.iter().for_each(|y| report.pair(x, y, None));
        }
    }
    report.opened()
}
