//! A million rows: counts and sums equal an independent computation, in bounded time.

use std::fmt::Write;
use std::time::{Duration, Instant};

use arrow::array::{Float64Array, Int64Array, StringArray};
use tacit_data::{Dataset, Limits};
use tacit_types::limits::BATCH_ROWS;
use tacit_types::query::Compare;
use tacit_types::{Literal, Predicate, Values};

use crate::helpers::*;

const ROWS: u64 = 1_000_000;

/// The table's rows: whole number, eighths (exact in binary), town; a few without an amount.
fn row(i: u64) -> (i64, Option<f64>, &'static str) {
    let mut random = Random(i * 2 + 1);
    random.next();
    let amount = (random.below(50) > 0).then(|| random.below(80_000) as f64 / 8.0);
    ((random.below(2_000_001) as i64) - 1_000_000, amount, ["north", "south", "east"][random.below(3) as usize])
}

/// Rows, sum of `n`, rows with an amount, sum of `amount`, as the run gives them.
async fn sums(dataset: &Dataset) -> (u64, i64, u64, f64, u64) {
    let filter = Predicate::And(vec![
        Predicate::Compare { column: "n".into(), op: Compare::Ge, value: Literal::Int(-500_000) },
        Predicate::In {
            column: "town".into(),
            values: vec![Literal::Text("north".into()), Literal::Text("east".into())],
        },
    ]);
    let (mut rows, mut n, mut amounts, mut amount) = (0u64, 0i64, 0u64, 0f64);
    let stats = dataset
        .run(&query("data", &["amount", "n"], Some(filter)), None, &Limits::default(), |batch| {
            assert!(batch.rows <= BATCH_ROWS);
            rows += batch.rows as u64;
            let (Values::Float(a), Values::Int(ns)) = (&batch.columns[0].values, &batch.columns[1].values) else {
                panic!("wrong kinds")
            };
            n += ns.iter().sum::<i64>();
            for (i, value) in a.iter().enumerate().filter(|(i, _)| batch.columns[0].is_valid(*i)) {
                amounts += u64::from(i < batch.rows);
                amount += value;
            }
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(stats.rows_kept, rows);
    (rows, n, amounts, amount, stats.rows_scanned)
}

#[tokio::test]
async fn a_million_rows_add_up() {
    let table: Vec<_> = (0..ROWS).map(row).collect();
    let kept: Vec<_> = table.iter().filter(|r| r.0 >= -500_000 && r.2 != "south").collect();
    let amounts: Vec<f64> = kept.iter().filter_map(|r| r.1).collect();
    // Sums of eighths below 2^50 are exact in any order.
    let expected = (
        kept.len() as u64,
        kept.iter().map(|r| r.0).sum::<i64>(),
        amounts.len() as u64,
        amounts.iter().sum::<f64>(),
        ROWS,
    );

    let mut text = String::from("n,amount,town\n");
    for (n, amount, town) in &table {
        writeln!(text, "{n},{},{town}", amount.map(|a| a.to_string()).unwrap_or_default()).unwrap();
    }
    let (_csv_folder, csv) = file("t.csv", text);
    let (_parquet_folder, parquet) = parquet(vec![
        ("n", array(Int64Array::from_iter_values(table.iter().map(|r| r.0)))),
        ("amount", array(Float64Array::from_iter(table.iter().map(|r| r.1)))),
        ("town", array(StringArray::from_iter_values(table.iter().map(|r| r.2)))),
    ]);
    for path in [csv, parquet] {
        let begun = Instant::now();
        let dataset = open(&path, &[]).await.unwrap();
        let inspected = begun.elapsed();
        assert_eq!(sums(&dataset).await, expected);
        let elapsed = begun.elapsed();
        let kind = path.extension().unwrap().display();
        println!("{kind}: inspection {inspected:?}, run {:?}", elapsed - inspected);
        assert!(elapsed < Duration::from_secs(60), "{kind}: {elapsed:?}");
    }
}
