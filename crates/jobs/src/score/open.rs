//! The recipient's half: opened sums in, scores out.

use serde_json::json;
use tacit_types::{Code, Fault};

use super::params::{ScoreParams, Unknown};
use super::split::FRACTION_BITS;
use crate::kind::{Opened, OpenedVector, Table};

/// Rows of the table for people; programs get all of them.
const SHOWN_MAX: usize = 20;

/// Opens the scores of a split model.
///
/// # Errors
/// `receipt.invalid` when the vector is not one of this job's.
pub(super) fn scores(params: &ScoreParams, opened: OpenedVector) -> Result<Opened, Fault> {
    let rows = params.rows as usize;
    let flags = match params.unknown {
        Unknown::Refuse => 1,
        Unknown::Default => 0,
        Unknown::Flag => rows,
    };
    if opened.cells.len() != rows + flags || opened.cells.iter().any(|cell| *cell > u128::from(u64::MAX)) {
        return Err(Fault::new(Code::ReceiptInvalid, "the opened result has another number of cells than the job"));
    }
    let (cells, flags) = opened.cells.split_at(rows);
    let known = |row: usize| match params.unknown {
        Unknown::Refuse => flags.iter().all(|f| *f == 0),
        Unknown::Default => true,
        Unknown::Flag => flags.get(row).is_some_and(|f| *f == 0),
    };
    let scale = (1u64 << FRACTION_BITS) as f64;
    // why: the sum is a word of 64 bits in two's complement.
    let scores: Vec<Option<f64>> = cells
        .iter()
        .enumerate()
        .map(|(row, cell)| known(row).then(|| params.link.apply(*cell as u64 as i64 as f64 / scale)))
        .collect();
    let unknown = scores.iter().filter(|s| s.is_none()).count();
    let shown = |score: &Option<f64>| score.map_or_else(|| "unknown key".to_owned(), |s| format!("{s:.9}"));
    let table = Table {
        title: format!("scores of {rows} rows, {unknown} without"),
        head: vec!["row".into(), "score".into()],
        rows: scores.iter().enumerate().take(SHOWN_MAX).map(|(i, s)| vec![(i + 1).to_string(), shown(s)]).collect(),
    };
    let json = json!({"parties": opened.survivors, "rows": rows, "unknown": unknown, "scores": scores});
    Ok(Opened { json, tables: vec![table] })
}
