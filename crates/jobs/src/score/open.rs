//! The recipient's half: opened sums in, scores out.

use serde_json::{Value, json};
use tacit_governance::Precision;
use tacit_types::{Code, Fault};

use super::circuit::{Scale, Sums};
use super::linear::FRACTION_BITS;
use super::params::{ScoreParams, Unknown};
use crate::kind::{Opened, OpenedVector, Table};

/// Rows of the table for people; programs get all of them.
const SHOWN_MAX: usize = 20;

/// What one opened cell stands for.
pub(super) fn meaning(params: &ScoreParams, scale: Option<Scale>, cell: u64) -> Result<Value, Fault> {
    let wrong = || Fault::new(Code::ReceiptInvalid, "an opened number is none of this job's");
    // why: numbers are words of 64 bits in two's complement.
    let number = cell as i64;
    let bits = scale.map_or(FRACTION_BITS, |s| s.fraction_bits);
    let score = |margin: f64| Ok(json!(params.link.apply(margin)));
    match params.output.precision {
        Precision::Score => score(number as f64 / 2f64.powi(bits.cast_signed())),
        Precision::Rounded => score(number as f64 / scale.map_or(1.0, |s| s.units)),
        Precision::Band if cell <= params.output.edges.len() as u64 => Ok(json!(cell)),
        Precision::Decision if cell <= 1 => Ok(json!(cell == 1)),
        Precision::Band | Precision::Decision => Err(wrong()),
    }
}

/// Opens the scores, or what comes out in their place; `sums` is of a job on shares.
///
/// # Errors
/// `receipt.invalid` when the vector is not one of this job's.
pub(super) fn scores(params: &ScoreParams, sums: Option<Sums>, opened: OpenedVector) -> Result<Opened, Fault> {
    let rows = params.rows as usize;
    let flags = match params.unknown {
        Unknown::Refuse => 1,
        Unknown::Default => 0,
        Unknown::Flag => rows,
    };
    if opened.cells.len() != rows + flags || opened.cells.iter().any(|cell| *cell > u128::from(u64::MAX)) {
        return Err(Fault::new(Code::ReceiptInvalid, "the opened result has another number of cells than the job"));
    }
    let cells = opened.cells.iter().map(|cell| *cell as u64);
    let cells = sums.map_or_else(|| Ok(cells.clone().collect()), |sums| sums.numbers(rows, cells.clone()))?;
    let (cells, flags) = cells.split_at(rows);
    let scale = sums.map(|sums| sums.scale);
    let known = |row: usize| match params.unknown {
        Unknown::Refuse => flags.iter().all(|f| *f == 0),
        Unknown::Default => true,
        Unknown::Flag => flags.get(row).is_some_and(|f| *f == 0),
    };
    let mut scores: Vec<Value> = Vec::with_capacity(rows);
    for (row, cell) in cells.iter().enumerate() {
        scores.push(if known(row) { meaning(params, scale, *cell)? } else { Value::Null });
    }
    let unknown = scores.iter().filter(|s| s.is_null()).count();
    let shown = |score: &Value| match score {
        Value::Null => "unknown key".to_owned(),
        Value::Bool(decision) => if *decision { "yes" } else { "no" }.to_owned(),
        Value::Number(n) if params.output.precision == Precision::Band => n.to_string(),
        other => format!("{:.9}", other.as_f64().unwrap_or(f64::NAN)),
    };
    let (one, many) = match params.output.precision {
        Precision::Score | Precision::Rounded => ("score", "scores"),
        Precision::Band => ("band", "bands"),
        Precision::Decision => ("decision", "decisions"),
    };
    let table = Table {
        title: format!("{many} of {rows} rows, {unknown} without"),
        head: vec!["row".into(), one.into()],
        rows: scores.iter().enumerate().take(SHOWN_MAX).map(|(i, s)| vec![(i + 1).to_string(), shown(s)]).collect(),
    };
    // The dealer's seat gave zeroes.
    let parties = opened.survivors.saturating_sub(usize::from(scale.is_some()));
    let json = json!({"parties": parties, "rows": rows, "unknown": unknown, many: scores});
    Ok(Opened { json, tables: vec![table] })
}
