//! Which rows stand in which sets of a job's numbers.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tacit_governance::{ColumnKind, ProviderRef};
use tacit_jobs::{Fold, Material, Parts, kind};
use tacit_types::{Column, Columns, DatasetVersionId, NodeId, Values};

fn column(name: &str, values: Values, valid: Option<Vec<bool>>) -> Column {
    Column { name: name.into(), values, valid }
}

/// Six rows: groups x, x, y, y, z and none; n with a zero, one without a value, one at the bound and one beyond it.
fn rows() -> Columns {
    let texts = |all: &[&str]| Values::Text(all.iter().map(|t| (*t).to_owned()).collect());
    let columns = vec![
        column("g", texts(&["x", "x", "y", "y", "z", ""]), Some(vec![true, true, true, true, true, false])),
        column("n", Values::Int(vec![1, 0, 2, 9, 10, -11]), Some(vec![true, true, true, false, true, true])),
        column("r", Values::Float(vec![0.5, 1.5, 0.0, 2.5, 3.5, 4.5]), None),
    ];
    Columns { rows: 6, columns }
}

fn fold(id: &str, written: Value) -> Box<dyn Fold> {
    let kinds = BTreeMap::from([("g", ColumnKind::Text), ("n", ColumnKind::Int), ("r", ColumnKind::Float)]);
    let kinds = kinds.into_iter().map(|(name, kind)| (name.to_owned(), kind)).collect();
    let provider = |n| ProviderRef { owner: NodeId([n; 32]), dataset: DatasetVersionId([n; 32]), view: "data".into() };
    let providers = [1, 2, 3].map(provider);
    let kind = kind(id).unwrap();
    let plan = kind
        .plan(&kind.params(written, &kinds).unwrap(), &Parts { providers: &providers, ..Parts::default() })
        .unwrap();
    plan.fold(&NodeId([1; 32]), Material::default()).unwrap()
}

/// The name and the rows of each set.
fn sets(id: &str, written: Value) -> Vec<(String, Vec<usize>)> {
    let mut fold = fold(id, written);
    fold.take(&rows()).unwrap();
    let mut sets: Vec<_> = fold.sets().unwrap().into_iter().map(|name| (name, Vec::new())).collect();
    fold.members(&rows(), &mut |set, row| sets[set].1.push(row)).unwrap();
    sets
}

fn named(all: &[(&str, &[usize])]) -> Vec<(String, Vec<usize>)> {
    all.iter().map(|(name, rows)| ((*name).to_owned(), rows.to_vec())).collect()
}

#[test]
fn a_count_is_of_all_rows() {
    assert_eq!(sets("count/v1", json!({})), named(&[("rows", &[0, 1, 2, 3, 4, 5])]));
}

#[test]
fn cells_are_sets_and_so_are_the_rows_that_carry_a_sum() {
    let written = json!({
        "measures": [{"column": "n", "statistics": ["sum"], "bound": "10"}, {"column": "r", "statistics": ["count"]}],
        "group_by": {"column": "g", "values": ["x", "y"]},
    });
    // Zero, nothing, the bound and what is beyond it carry no sum; a count has none.
    let expected: &[(&str, &[usize])] = &[
        ("rows", &[0, 1, 2, 3, 4, 5]),
        ("rows", &[0, 1]),
        ("rows", &[2, 3]),
        ("rows", &[4, 5]),
        ("sum n", &[0, 2]),
        ("sum n", &[0]),
        ("sum n", &[2]),
        ("sum n", &[]),
    ];
    assert_eq!(sets("stats/v1", written), named(expected));
}

#[test]
fn ranks_and_products_have_sets_of_their_own() {
    let quantiles = json!({"quantiles": [{"column": "r", "probabilities": ["0.5"], "low": "1", "high": "4"}]});
    let expected: &[(&str, &[usize])] = &[("rows", &[0, 1, 2, 3, 4, 5]), ("rank r", &[1, 3, 4])];
    assert_eq!(sets("stats/v1", quantiles), named(expected));
    // Of the rows that have a value in every column.
    let matrix = json!({"matrix": {"columns": ["n", "r"], "bound": "10"}});
    let expected: &[(&str, &[usize])] = &[("rows", &[0, 1, 2, 3, 4, 5]), ("sum n", &[0, 2]), ("sum r", &[0, 1, 4, 5])];
    assert_eq!(sets("stats/v1", matrix), named(expected));
}

#[test]
fn a_noisy_job_has_no_exact_numbers() {
    let noisy = json!({"histograms": [{"column": "n", "edges": ["0", "5"]}], "privacy": {"epsilon": "0.5"}});
    assert!(fold("stats/v1", noisy).sets().is_none());
}
