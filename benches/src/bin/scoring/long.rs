//! Ten million rows on shares, which nobody holds.

use std::collections::BTreeMap;

use tacit_benches::case::{Case, peak_mb, reset_peak};
use tacit_benches::world;
use tacit_mpc::{Source, Terms};
use tacit_protocol::{Abort, Party};
use tacit_types::Fault;

use super::{Bench, DEALER, Total, disclosure, linear_plan, terms};

/// What all seats together may take, whatever the number of rows, in MB.
const PEAK_MB_MAX: f64 = 64.0;

/// Rows that nobody holds: each is made when it is read.
struct Made(usize);

impl Source for Made {
    fn fill(&mut self, _: u32, first_row: u64, out: &mut [u64]) -> Result<(), Fault> {
        let first = first_row * self.0 as u64;
        for (i, word) in (first..).zip(out) {
            *word = (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) as i64 >> 43) as u64;
        }
        Ok(())
    }
}

async fn seat(mut party: Party, terms: Terms, columns: usize) -> Result<u64, Abort> {
    let mut total = Total::default();
    match party.seat().index() {
        DEALER => tacit_mpc::deal(&mut party, &terms).await?,
        0 => tacit_mpc::compute(&mut party, &terms, &mut Made(columns), &mut total).await?,
        _ => tacit_mpc::compute(&mut party, &terms, &mut Made(1), &mut total).await?,
    }
    Ok(total.0)
}

/// A private linear model over so many rows, once: what all three seats take at the most, beside the rows themselves.
pub fn streamed(rows: usize, bench: &Bench) {
    const COLUMNS: usize = 4;
    let case = format!("streamed_{rows}x{COLUMNS}");
    if !bench.wants(&case) {
        return;
    }
    let plan = linear_plan(rows, COLUMNS, None).unwrap_or_else(|e| panic!("{e}"));
    let terms = terms(&plan);
    let before = peak_mb();
    reset_peak();
    let report = world::run(3, &[disclosure()], &BTreeMap::new(), |p| seat(p, terms.clone(), COLUMNS));
    // The model's owner learns nothing, and the other the sum of all scores.
    let weights: Vec<i64> = (0..COLUMNS as u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) as i64 >> 43).collect();
    let mut made = vec![0; COLUMNS];
    let score = |row: usize| {
        // why: a made row does not fail.
        let _ = Made(COLUMNS).fill(0, row as u64, &mut made);
        made.iter().zip(&weights).fold(0u64, |s, (x, w)| s.wrapping_add(x.wrapping_mul(*w as u64)))
    };
    let plain = (0..rows).map(score).fold(0u64, u64::wrapping_add);
    let outcomes: Vec<u64> = report.outcomes.values().map(|o| *o.as_ref().unwrap_or_else(|e| panic!("{e}"))).collect();
    assert_eq!(outcomes, [plain, 0, 0], "the scores");
    let (cost, peak) = (terms.plan.cost(), peak_mb());
    assert!(peak <= PEAK_MB_MAX, "{case}: {peak:.0} MB, at most {PEAK_MB_MAX}");
    bench.print(Case {
        case,
        n: rows,
        d: COLUMNS,
        parties: 2,
        seconds: report.work.iter().map(|seat| seat.seconds_of(|_| true)).fold(0.0, f64::max),
        bytes_sent: cost.sent[0].iter().sum(),
        rounds: u64::from(cost.rounds_once + cost.rounds_tile),
        peak_mb: peak,
        samples: 1,
        note: format!("private model; the busiest seat; rows are made when they are read; {before:.0} MB before"),
        ..Case::default()
    });
}
