//! The recipient's half of a private job: noisy sums in, statistics out, each with the deviation of its noise.

use serde_json::{Value, json};
use tacit_dp::SumNoise;
use tacit_types::Fault;

use super::super::open::{bin_labels, invalid, labels, table, word};
use super::super::params::{Measure, Scaled, Statistic, StatsParams};
use super::{MECHANISM, Needs, Privacy, numbers, variance};
use crate::kind::{Opened, OpenedVector, Table};

/// Noisy numbers, cell by cell, in parts of a row or of a bound.
struct Reader<'a> {
    cells: core::slice::Iter<'a, u128>,
    units: f64,
    /// The deviation of one number.
    deviation: f64,
}

impl Reader<'_> {
    fn next(&mut self) -> Result<f64, Fault> {
        let cell = self.cells.next().ok_or_else(|| invalid("it is too short"))?;
        Ok(cell.cast_signed() as f64 / self.units)
    }

    fn count(&mut self) -> Result<f64, Fault> {
        // What is drawn may lie below zero. The nearest whole number reads better, and is no less unbiased than its noise.
        Ok(self.next()?.round() + 0.0)
    }
}

/// Opens a release.
///
/// # Errors
/// `receipt.invalid` when the vector is not one of these parameters.
pub fn open(params: &StatsParams, privacy: &Privacy, noise: &SumNoise, opened: &OpenedVector) -> Result<Opened, Fault> {
    if opened.cells.len() != numbers(params) {
        return Err(invalid("it has another length"));
    }
    let deviation = variance(noise, opened.survivors).sqrt();
    let mut reader = Reader { cells: opened.cells.iter(), units: noise.units() as f64, deviation };
    let labels = labels(params.group_by.as_ref());
    let mut tables = vec![spent(privacy, deviation)];
    let (mut rows, mut lines) = (Vec::new(), Vec::new());
    for label in &labels {
        let count = reader.count()?;
        rows.push(json!({"group": label, "rows": count, "rows_noise": deviation}));
        lines.push(vec![label.clone(), format!("{count} ± {deviation:.1}")]);
    }
    tables.push(table("rows".into(), &["group", "rows"], lines));
    let mut measures = Vec::new();
    for measure in &params.measures {
        measures.push(open_measure(measure, &labels, &mut reader, &mut tables)?);
    }
    let mut histograms = Vec::new();
    for histogram in &params.histograms {
        let (mut bins, mut lines) = (Vec::new(), Vec::new());
        for label in bin_labels(&histogram.edges) {
            let count = reader.count()?;
            bins.push(json!({"bin": label, "count": count, "count_noise": deviation}));
            lines.push(vec![label, format!("{count} ± {deviation:.1}")]);
        }
        histograms.push(json!({"column": histogram.column, "bins": bins}));
        tables.push(table(format!("histogram of {}", histogram.column), &["bin", "rows"], lines));
    }
    let json = json!({
        "parties": opened.survivors,
        "privacy": {
            "epsilon": privacy.epsilon_micro as f64 / 1e6,
            "delta": privacy.delta_femto as f64 / 1e15,
            "mechanism": MECHANISM,
            "noise": deviation,
        },
        "rows": rows,
        "measures": measures,
        "histograms": histograms,
        "suppressed_cells": 0,
    });
    Ok(Opened { json, tables })
}

fn spent(privacy: &Privacy, deviation: f64) -> Table {
    let line = vec![
        (privacy.epsilon_micro as f64 / 1e6).to_string(),
        format!("{:e}", privacy.delta_femto as f64 / 1e15),
        format!("{deviation:.2}"),
    ];
    table("privacy: every number has noise".into(), &["epsilon", "delta", "noise of a count (deviation)"], vec![line])
}

/// What stands in one cell of a measure, in units of the column.
struct Cell {
    count: f64,
    sum: f64,
    squares: f64,
    bound: f64,
    deviation: f64,
}

impl Cell {
    /// A statistic with the deviation of its noise; of mean, variance and deviation to the first order. `None` where the
    /// noisy count has no rows to divide by.
    fn statistic(&self, statistic: Statistic) -> Option<(f64, Option<f64>)> {
        let Self { count: n, sum, squares, bound, deviation } = *self;
        let mean = || (n >= 1.0).then(|| (sum / n).clamp(-bound, bound));
        let variance = || {
            let most = bound * bound;
            (n >= 2.0).then(|| ((squares - sum * sum / n) / (n - 1.0)).clamp(0.0, most))
        };
        match statistic {
            Statistic::Count => Some((n, Some(deviation))),
            Statistic::Sum => Some((sum, Some(deviation * bound))),
            Statistic::Mean => mean().map(|mean| (mean, Some(deviation * bound.hypot(mean) / n))),
            Statistic::Variance => variance().map(|variance| (variance, None)),
            Statistic::Stddev => variance().map(|variance| (variance.sqrt(), None)),
        }
    }
}

fn open_measure(
    measure: &Measure,
    labels: &[String],
    reader: &mut Reader<'_>,
    tables: &mut Vec<Table>,
) -> Result<Value, Fault> {
    let Scaled { column, bound, .. } = &measure.value;
    let (needs, most, deviation) = (Needs::of(measure), bound.to_f64(), reader.deviation);
    let (mut list, mut lines) = (Vec::new(), Vec::new());
    for label in labels {
        let mut cell = Cell { count: 0.0, sum: 0.0, squares: 0.0, bound: most, deviation };
        if needs.count {
            cell.count = reader.count()?;
        }
        if needs.sum {
            cell.sum = reader.next()? * most;
        }
        if needs.squares {
            cell.squares = reader.next()? * most * most;
        }
        let mut entry = json!({"group": label, "suppressed": false});
        let mut line = vec![label.clone()];
        for statistic in &measure.statistics {
            let name = word(*statistic);
            let found = cell.statistic(*statistic);
            entry[name] = json!(found.map(|(value, _)| value));
            line.push(match found {
                None => "-".into(),
                Some((value, Some(noise))) => {
                    entry[format!("{name}_noise")] = json!(noise);
                    format!("{value} ± {noise:.3}")
                }
                Some((value, None)) => value.to_string(),
            });
        }
        list.push(entry);
        lines.push(line);
    }
    let words = measure.statistics.iter().map(|s| word(*s));
    let head: Vec<&str> = core::iter::once("group").chain(words).collect();
    tables.push(table(format!("{column} (clamped to ±{bound})"), &head, lines));
    Ok(json!({"column": column, "clamped_to": bound, "groups": list}))
}
