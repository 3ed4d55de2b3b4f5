//! Predicates against an evaluation of their own, row by row, over CSV and Parquet.

use arrow::array::{Float64Array, Int64Array, StringArray};
use tacit_data::{Dataset, Limits};
use tacit_types::query::Compare;
use tacit_types::{Literal, Predicate};

use crate::helpers::*;

/// A row of the test table; names that a parser would stumble over.
struct Row {
    id: i64,
    age: Option<i64>,
    score: Option<f64>,
    town: Option<&'static str>,
}

const AGE: &str = "Age \"now\"";
const SCORE: &str = "a.score";
const TOWN: &str = "select";
const TOWNS: [&str; 5] = ["Aachen", "aachen", "Ünna", "Z", "o'Brien; --"];

fn table() -> Vec<Row> {
    let mut random = Random(0x1234_5678_9abc_def1);
    (0..400)
        .map(|id| Row {
            id,
            age: (random.below(5) > 0).then(|| random.below(7) as i64 - 3),
            score: (random.below(5) > 0).then(|| (random.below(9) as f64 - 4.0) / 4.0),
            town: (random.below(5) > 0).then(|| TOWNS[random.below(5) as usize]),
        })
        .collect()
}

fn level(truth: Option<bool>) -> u8 {
    truth.map_or(1, |t| if t { 2 } else { 0 })
}

fn of_level(level: u8) -> Option<bool> {
    [Some(false), None, Some(true)][usize::from(level)]
}

/// Three-valued truth as the documentation of [`Predicate`] states it; `None` is unknown.
fn truth(p: &Predicate, row: &Row) -> Option<bool> {
    use std::cmp::Ordering::*;
    let compare = |column: &str, value: &Literal| -> Option<std::cmp::Ordering> {
        let decimal = |v: &Literal| match v {
            Literal::Int(i) => (i128::from(*i), 0u32),
            Literal::Decimal { units, scale } => (i128::from(*units), u32::from(*scale)),
            Literal::Text(_) => unreachable!(),
        };
        match (column, value) {
            (AGE, v) => {
                let (units, scale) = decimal(v);
                Some((i128::from(row.age?) * 10i128.pow(scale)).cmp(&units))
            }
            // Every score and every literal of the test is a multiple of 1/8 and so is exact.
            (SCORE, v) => {
                let (units, scale) = decimal(v);
                row.score?.partial_cmp(&(units as f64 / 10f64.powi(scale as i32)))
            }
            (TOWN, Literal::Text(text)) => Some(row.town?.as_bytes().cmp(text.as_bytes())),
            _ => unreachable!(),
        }
    };
    match p {
        Predicate::Compare { column, op, value } => compare(column, value).map(|o| match op {
            Compare::Eq => o == Equal,
            Compare::Ne => o != Equal,
            Compare::Lt => o == Less,
            Compare::Le => o != Greater,
            Compare::Gt => o == Greater,
            Compare::Ge => o != Less,
        }),
        Predicate::In { column, values } => {
            let null = match column.as_str() {
                AGE => row.age.is_none(),
                SCORE => row.score.is_none(),
                _ => row.town.is_none(),
            };
            (!null).then(|| values.iter().any(|v| compare(column, v) == Some(Equal)))
        }
        Predicate::IsNull { column } => Some(match column.as_str() {
            AGE => row.age.is_none(),
            SCORE => row.score.is_none(),
            _ => row.town.is_none(),
        }),
        // False below unknown below true: all is the least of them, any is the greatest.
        Predicate::And(list) => of_level(list.iter().map(|p| level(truth(p, row))).min().unwrap_or(2)),
        Predicate::Or(list) => of_level(list.iter().map(|p| level(truth(p, row))).max().unwrap_or(0)),
        Predicate::Not(inner) => truth(inner, row).map(|t| !t),
    }
}

fn literal(column: &str, random: &mut Random) -> Literal {
    match (column, random.below(3)) {
        (TOWN, _) => Literal::Text(TOWNS[random.below(5) as usize].into()),
        (_, 0) => Literal::Int(random.below(7) as i64 - 3),
        // Halves and quarters, so that some lie between whole numbers and some are whole: 1.000, -2.5.
        (_, 1) => Literal::Decimal { units: (random.below(13) as i64 - 6) * 500, scale: 3 },
        _ => Literal::Decimal { units: (random.below(13) as i64 - 6) * 25, scale: 2 },
    }
}

fn predicate(depth: u64, random: &mut Random) -> Predicate {
    let column = [AGE, SCORE, TOWN][random.below(3) as usize];
    let children = |random: &mut Random| (0..random.below(4)).map(|_| predicate(depth - 1, random)).collect();
    match random.below(if depth == 0 { 4 } else { 8 }) {
        0 | 1 => {
            let op = [Compare::Eq, Compare::Ne, Compare::Lt, Compare::Le, Compare::Gt, Compare::Ge];
            let op = op[random.below(6) as usize];
            Predicate::Compare { column: column.into(), op, value: literal(column, random) }
        }
        2 => {
            let values = (0..random.below(4)).map(|_| literal(column, random)).collect();
            Predicate::In { column: column.into(), values }
        }
        3 => Predicate::IsNull { column: column.into() },
        4 => Predicate::And(children(random)),
        5 => Predicate::Or(children(random)),
        _ => Predicate::Not(Box::new(predicate(depth - 1, random))),
    }
}

async fn ids(dataset: &Dataset, filter: &Predicate, consent: Option<&Predicate>) -> (Vec<String>, u64, u64) {
    let q = query("data", &["id"], Some(filter.clone()));
    let (batches, stats) = run_with(dataset, &q, consent, &Limits::default()).await.ok().unwrap();
    (rows(&batches).into_iter().map(|mut r| r.remove(0)).collect(), stats.rows_scanned, stats.rows_kept)
}

#[tokio::test]
async fn random_predicates_keep_the_rows_that_the_definition_keeps() {
    let table = table();
    let text = |v: Option<String>| v.unwrap_or_default();
    let lines: String = table
        .iter()
        .map(|r| {
            let (age, score) = (text(r.age.map(|v| v.to_string())), text(r.score.map(|v| format!("{v:?}"))));
            format!("{},{age},{score},\"{}\"\n", r.id, r.town.unwrap_or_default())
        })
        .collect();
    let (_csv_folder, csv) = file("t.csv", format!("id,\"Age \"\"now\"\"\",a.score,select\n{lines}"));
    let (_parquet_folder, parquet) = parquet(vec![
        ("id", array(Int64Array::from_iter_values(table.iter().map(|r| r.id)))),
        (AGE, array(Int64Array::from_iter(table.iter().map(|r| r.age)))),
        (SCORE, array(Float64Array::from_iter(table.iter().map(|r| r.score)))),
        (TOWN, array(StringArray::from_iter(table.iter().map(|r| r.town)))),
    ]);
    let datasets = [open(&csv, &[]).await.unwrap(), open(&parquet, &[]).await.unwrap()];
    let mut random = Random(0xfeed_beef_0bad_cafe);
    let mut kept_some = 0;
    for round in 0..120 {
        let filter = predicate(3, &mut random);
        let consent = (round % 2 == 0).then(|| predicate(1, &mut random));
        let keep =
            |r: &&Row| truth(&filter, r) == Some(true) && consent.as_ref().is_none_or(|c| truth(c, r) == Some(true));
        let expected: Vec<String> = table.iter().filter(keep).map(|r| r.id.to_string()).collect();
        kept_some += usize::from(!expected.is_empty() && expected.len() < table.len());
        for dataset in &datasets {
            let (ids, _, kept) = ids(dataset, &filter, consent.as_ref()).await;
            assert_eq!(ids, expected, "round {round}: {filter:?} and {consent:?}");
            assert_eq!(kept as usize, expected.len());
        }
    }
    assert!(kept_some > 40, "the predicates are too plain: {kept_some}");
}

#[tokio::test]
async fn a_null_satisfies_neither_a_comparison_nor_its_negation() {
    let (_folder, path) = file("t.csv", "id,n\n1,5\n2,\n3,6\n");
    let dataset = open(&path, &[]).await.unwrap();
    let column = || "n".to_owned();
    for (value, eq, ne) in
        [(Literal::Int(5), vec!["1"], vec!["3"]), (Literal::Decimal { units: 55, scale: 1 }, vec![], vec!["1", "3"])]
    {
        let compare = Predicate::Compare { column: column(), op: Compare::Eq, value: value.clone() };
        let within = Predicate::In { column: column(), values: vec![value] };
        for p in [compare, within] {
            assert_eq!(ids(&dataset, &p, None).await.0, eq);
            assert_eq!(ids(&dataset, &Predicate::Not(Box::new(p)), None).await.0, ne);
        }
    }
    let null = Predicate::IsNull { column: column() };
    assert_eq!(ids(&dataset, &null, None).await, (vec!["2".to_owned()], 3, 1));
    assert_eq!(ids(&dataset, &Predicate::Not(Box::new(null)), None).await.0, ["1", "3"]);
}

#[tokio::test]
async fn decimals_meet_floats_as_their_nearest_double_and_whole_numbers_exactly() {
    let big = i64::MAX;
    let (_folder, path) = file("t.csv", format!("id,x,n\n1,0.1,{big}\n2,0.10000000000000002,{}\n3,-0.0,0\n", big - 1));
    let dataset = open(&path, &[]).await.unwrap();
    let of = async |column: &str, op, value| {
        ids(&dataset, &Predicate::Compare { column: column.into(), op, value }, None).await.0
    };
    assert_eq!(of("x", Compare::Eq, Literal::Decimal { units: 1, scale: 1 }).await, ["1"]);
    assert_eq!(of("x", Compare::Gt, Literal::Decimal { units: 100, scale: 3 }).await, ["2"]);
    assert_eq!(of("x", Compare::Eq, Literal::Int(0)).await, ["3"]);
    assert_eq!(of("x", Compare::Lt, Literal::Int(0)).await, Vec::<String>::new());
    // As doubles these two are one number.
    assert_eq!(of("n", Compare::Eq, Literal::Int(big)).await, ["1"]);
    assert_eq!(of("n", Compare::Lt, Literal::Int(big)).await, ["2", "3"]);
    assert_eq!(of("n", Compare::Gt, Literal::Decimal { units: -1, scale: 18 }).await, ["1", "2", "3"]);
    assert_eq!(of("n", Compare::Lt, Literal::Decimal { units: 1, scale: 18 }).await, ["3"]);
}

#[tokio::test]
async fn a_query_without_columns_counts() {
    let (_folder, path) = file("t.csv", "id\n1\n2\n3\n");
    let dataset = open(&path, &[]).await.unwrap();
    let filter = Predicate::Compare { column: "id".into(), op: Compare::Gt, value: Literal::Int(1) };
    let batches = run(&dataset, &query("claims", &[], Some(filter))).await.ok().unwrap();
    assert_eq!(batches.iter().map(|b| b.rows).sum::<usize>(), 2);
    assert!(batches.iter().all(|b| b.columns.is_empty()));
    let batches = run(&dataset, &query("claims", &[], None)).await.ok().unwrap();
    assert_eq!(batches.iter().map(|b| b.rows).sum::<usize>(), 3);
}
