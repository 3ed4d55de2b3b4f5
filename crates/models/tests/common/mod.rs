//! The fixtures, and what is made of them.
#![allow(dead_code)]

use std::path::PathBuf;

use tacit_models::{Frame, Import, Meta, Model};
use tacit_types::{Column, Columns, Name, NodeId, Values};

pub struct Expected {
    pub margins: Option<Vec<Option<f64>>>,
    pub scores: Option<Vec<Option<f64>>>,
}

fn path(file: &str) -> PathBuf {
    // The tests of other crates read them too.
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../models/tests/fixtures/models").join(file)
}

#[expect(clippy::disallowed_methods, reason = "a test reads its fixtures")]
pub fn bytes(file: &str) -> Vec<u8> {
    std::fs::read(path(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

pub fn text(file: &str) -> String {
    String::from_utf8(bytes(file)).unwrap()
}

pub fn meta(name: &str) -> Meta {
    Meta { owner: NodeId([7; 32]), name: Name::new(name).unwrap(), version: 3 }
}

pub fn import(name: &str) -> Import {
    Import::new(meta(name))
}

/// A list of numbers in JSON; the exact value, which the JSON library's fast path may miss.
fn numbers(value: &serde_json::Value) -> Option<Vec<Option<f64>>> {
    Some(value.as_array()?.iter().map(|v| v.as_str().map(|t| t.parse().unwrap())).collect())
}

pub fn expected(name: &str) -> Expected {
    let value: serde_json::Value = serde_json::from_slice(&bytes(&format!("{name}.expected.json"))).unwrap();
    Expected { margins: numbers(&value["margins"]), scores: numbers(&value["scores"]) }
}

/// The rows of the fixtures.
pub fn rows() -> Columns {
    let value: serde_json::Value = serde_json::from_slice(&bytes("rows.json")).unwrap();
    let rows = value["rows"].as_array().unwrap();
    let names = value["names"].as_array().unwrap();
    let mut columns: Vec<Column> = (0..names.len())
        .map(|j| Column {
            name: names[j].as_str().unwrap().to_owned(),
            values: Values::Float(rows.iter().map(|r| r[j].as_str().map_or(0.0, |t| t.parse().unwrap())).collect()),
            valid: Some(rows.iter().map(|r| !r[j].is_null()).collect()),
        })
        .collect();
    let ward = |r: &serde_json::Value| r[names.len()].as_str().unwrap_or("").to_owned();
    columns.push(Column {
        name: "ward".into(),
        values: Values::Text(rows.iter().map(ward).collect()),
        valid: Some(rows.iter().map(|r| !r[names.len()].is_null()).collect()),
    });
    Columns { rows: rows.len(), columns }
}

pub fn frame(model: &Model) -> Frame {
    Frame::new(model.features(), &rows()).unwrap()
}

/// What a model gives for one row.
pub struct Given {
    pub margin: f64,
    pub score: f64,
}

/// Row by row; NaN where the model refuses the row for a gap.
pub fn each_row(model: &Model, pick: impl Fn(Given) -> f64) -> Vec<f64> {
    let frame = frame(model);
    let count = model.features().len() as u32;
    (0..frame.rows())
        .map(|row| {
            let values: Vec<f64> = (0..count).map(|f| frame.value(row, f)).collect();
            let one = Frame::row(model.features(), &values).unwrap();
            match model.margins(&one) {
                Ok(margins) => pick(Given { margin: margins[0], score: model.link().apply(margins[0]) }),
                Err(fault) => {
                    assert_eq!(fault.code, tacit_types::Code::ModelValueMissing);
                    f64::NAN
                }
            }
        })
        .collect()
}

/// The sum of the magnitudes of what the terms of a linear model add to a row. What a sum of floating-point numbers loses
/// to rounding is a small multiple of the precision times this.
pub fn reach(model: &Model, frame: &Frame, row: usize) -> f64 {
    let tacit_models::Kind::Additive(additive) = model.kind() else { return 0.0 };
    let term = |t: &tacit_models::Term| t.shape.value(frame.value(row, t.feature)).unwrap_or(0.0).abs();
    additive.terms.iter().map(term).sum::<f64>() + additive.intercept.abs()
}

/// The ten numeric features, with the ranges of the table, rounded outward.
pub fn numeric_features() -> Vec<tacit_models::Feature> {
    let value: serde_json::Value = serde_json::from_slice(&bytes("rows.json")).unwrap();
    let most = [30.0, 40.0, 200.0, 2600.0, 0.2, 0.4, 0.5, 0.25, 0.35, 0.1];
    let names = value["names"].as_array().unwrap().iter().map(|n| n.as_str().unwrap().to_owned());
    names.zip(most).map(|(n, m)| tacit_models::Feature::numeric(n).within(0.0, m)).collect()
}
