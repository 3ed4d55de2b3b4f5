//! No value of a row decides how a job ends: what lies beyond the range counts as its end, what is no number as
//! empty, and a column of the wrong kind is refused before a row is seen.

use serde_json::{Value, json};
use tacit_governance::{Cohort, ColumnKind};
use tacit_jobs::{ColumnKinds, Plan};
use tacit_types::{Code, Column, Columns, Values};

mod world;
use world::World;

fn batch(n: Vec<i64>, x: Vec<f64>) -> Columns {
    let column = |name: &str, values| Column { name: name.into(), values, valid: None };
    Columns { rows: n.len(), columns: vec![column("n", Values::Int(n)), column("x", Values::Float(x))] }
}

fn plan(params: Value) -> Box<dyn Plan> {
    let columns = ColumnKinds::from([("n".to_owned(), ColumnKind::Int), ("x".to_owned(), ColumnKind::Float)]);
    let kind = tacit_jobs::kind("stats/v1").unwrap();
    kind.plan(&kind.params(params, &columns).unwrap(), &tacit_jobs::Parts::default()).unwrap()
}

fn job() -> Box<dyn Plan> {
    plan(json!({
        "measures": [
            {"column": "n", "statistics": ["count", "sum", "variance"], "bound": "100"},
            {"column": "x", "statistics": ["count", "sum"], "bound": "2.5"},
        ],
        "quantiles": [{"column": "n", "probabilities": ["0.5"], "low": "5", "high": "20"}],
        "matrix": {"columns": ["n", "x"]},
    }))
}

/// Ten rows a party, the first of which may be anything.
fn rows(first: (i64, f64)) -> Vec<Vec<Columns>> {
    let party = |p: i64| {
        let n = (0..10).map(|i| if p == 0 && i == 0 { first.0 } else { 1 + p * 10 + i }).collect();
        let x = (0..10)
            .map(|i| if p == 0 && i == 0 { first.1 } else { 0.25 * (i + p) as f64 - 2.0 + 1.0 / 64.0 })
            .collect();
        vec![batch(n, x)]
    };
    (0..3).map(party).collect()
}

fn result(first: (i64, f64)) -> (Value, [u64; 3]) {
    let mut world = World::new(3);
    world.floor = Cohort { rows: 3, contributors: 2 };
    let plan = job();
    let outputs = world.run(plan.as_ref(), &rows(first), None);
    let output = outputs[0].as_ref().unwrap_or_else(|abort| panic!("{first:?}: {abort}"));
    let tallies = [output.cells_in, output.cells_out, output.cells_suppressed];
    (world.open(plan.as_ref(), &outputs), tallies)
}

#[test]
fn a_value_beyond_the_range_counts_as_the_end_of_the_range() {
    let at_the_end = result((100, 2.5));
    for beyond in [(101, 2.5000001), (i64::MAX, 1e300), (1 << 40, f64::MAX)] {
        assert_eq!(result(beyond), at_the_end, "{beyond:?}");
    }
    assert_eq!(result((i64::MIN, -1e300)), result((-100, -2.5)));
    let (json, tallies) = at_the_end;
    assert_eq!(json["measures"][0]["groups"][0]["sum"], json!((2..=30).sum::<i64>() + 100));
    assert_eq!(json["measures"][0]["clamped_to"], json!("100"));
    assert_eq!(json["quantiles"][0]["value"], json!(16.0), "of thirty, the fifteenth");
    assert_eq!(tallies[2], 0, "{json}");
    // The same state, and the same tallies, as for a value within.
    let (within, others) = result((1, 0.5));
    assert_eq!(others, tallies);
    assert_eq!(within["measures"][0]["groups"][0]["sum"], json!((1..=30).sum::<i64>()));
}

#[test]
fn what_is_no_number_is_no_value() {
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut rows = rows((1, value));
        // Four more, so that the empty rows themselves are at the floor, from two parties.
        for party in &mut rows[..2] {
            party.push(batch(vec![7, 8], vec![value, value]));
        }
        let mut world = World::new(3);
        world.floor = Cohort { rows: 3, contributors: 2 };
        let plan = job();
        let json = world.open(plan.as_ref(), &world.run(plan.as_ref(), &rows, None));
        assert_eq!(json["measures"][1]["groups"][0]["count"], json!(29), "{value}: {json}");
        assert_eq!(json["measures"][0]["groups"][0]["count"], json!(34));
        assert_eq!(json["matrix"]["rows"], json!(29));
    }
}

#[test]
fn the_owner_is_told_how_many_of_its_values_were_moved() {
    let plan = job();
    let mut fold = plan.fold(&tacit_types::NodeId([0; 32]), tacit_jobs::Material::default()).unwrap();
    fold.take(&rows((1, 0.5))[0][0]).unwrap();
    assert_eq!(fold.notes(), ["column `n`: values beyond the job's range, 4 times"], "below the quantile's 5");
    let mut fold = plan.fold(&tacit_types::NodeId([0; 32]), tacit_jobs::Material::default()).unwrap();
    fold.take(&batch(vec![10, 12_345, -54_321], vec![0.0, 0.0, 9.75])).unwrap();
    let notes = fold.notes().join(" ");
    assert!(notes.contains("`n`") && notes.contains("`x`") && !notes.contains("12345") && !notes.contains("9.75"));
}

/// A view may have a column of another kind than the operator believes. Whether a filter leaves rows must not decide
/// whether that is noticed.
#[test]
fn a_column_of_the_wrong_kind_is_refused_without_a_row() {
    let text = |n| Column { name: "n".into(), values: Values::Text(vec![String::new(); n]), valid: None };
    let x = |n| Column { name: "x".into(), values: Values::Float(vec![0.5; n]), valid: Some(vec![false; n]) };
    let jobs = [
        json!({"measures": [{"column": "n", "statistics": ["count"]}]}),
        json!({"histograms": [{"column": "n", "edges": ["0", "1"]}]}),
        json!({"quantiles": [{"column": "n", "probabilities": ["0.5"], "low": "0", "high": "1"}]}),
        json!({"matrix": {"columns": ["x", "n"], "bound": "9"}}),
        json!({"group_by": {"column": "n", "values": [1, 2]}}),
    ];
    for params in jobs {
        for rows in [0, 3] {
            let batch = Columns { rows, columns: vec![text(rows), x(rows)] };
            let fault = plan(params.clone())
                .fold(&tacit_types::NodeId([0; 32]), tacit_jobs::Material::default())
                .unwrap()
                .take(&batch)
                .unwrap_err();
            assert_eq!(fault.code, Code::DataColumnType, "{params}, {rows} rows");
            let fault = plan(params.clone())
                .fold(&tacit_types::NodeId([0; 32]), tacit_jobs::Material::default())
                .unwrap()
                .take(&Columns { rows, columns: vec![x(rows)] })
                .unwrap_err();
            assert_eq!(fault.code, Code::DataColumnUnknown, "{params}, {rows} rows");
        }
    }
    // Real numbers where whole ones were promised.
    let reals =
        Columns { rows: 0, columns: vec![Column { name: "n".into(), values: Values::Float(vec![]), valid: None }] };
    let whole = json!({"measures": [{"column": "n", "statistics": ["count"]}]});
    assert_eq!(
        plan(whole)
            .fold(&tacit_types::NodeId([0; 32]), tacit_jobs::Material::default())
            .unwrap()
            .take(&reals)
            .unwrap_err()
            .code,
        Code::DataColumnType
    );
}
