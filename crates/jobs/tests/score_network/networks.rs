//! The networks of the fixtures and their rows among owners.

use serde_json::{Value, json};
use tacit_models::import::onnx;
use tacit_models::{Feature, Frame, Kind, Layer, Model};
use tacit_types::{Column, Columns, Values};

use crate::fixtures;
use crate::shares::{Job, Table};

pub fn read(file: &str) -> Model {
    let mut import = fixtures::import("m");
    import.features = fixtures::numeric_features();
    onnx::read(import, &fixtures::bytes(&format!("{file}.onnx"))).unwrap()
}

/// The hidden widths of a network.
pub fn widths(model: &Model) -> Vec<usize> {
    let Kind::Network(network) = model.kind() else { panic!("no network") };
    let all: Vec<usize> = network.layers.iter().map(Layer::outputs).collect();
    all[..all.len() - 1].to_vec()
}

fn tables(model: &Model, rows: &Columns, owners: usize) -> Vec<Table> {
    let table = |owner: usize| {
        let ids = Values::Text((0..rows.rows).map(|row| format!("k{row}")).collect());
        let mut columns = vec![Column { name: "id".into(), values: ids, valid: None }];
        let own = model.features().iter().enumerate().filter(|(i, _)| i * 7 % owners == owner);
        columns.extend(own.map(|(_, f)| rows.columns.iter().find(|c| c.name == f.name).unwrap().clone()));
        Table { name: format!("p{owner}"), owner: Job::party(owner), columns: Columns { rows: rows.rows, columns } }
    };
    (0..owners).map(table).collect()
}

/// A job over the rows of the fixtures; the network at the first owner of data, or at a party without.
pub fn job(model: &Model, rows: &Columns, owners: usize, both: bool, more: Value) -> Job {
    let holder = Job::party(if both { 0 } else { 20 });
    let range = |f: &Feature| {
        let (least, most) = f.range.unwrap();
        (f.name.clone(), json!([format!("{least}"), format!("{most}")]))
    };
    let ranges: serde_json::Map<_, _> = model.features().iter().map(range).collect();
    let mut written = json!({"key": "id", "bound": "4096", "layers": widths(model), "ranges": ranges});
    for (name, value) in more.as_object().unwrap() {
        written[name] = value.clone();
    }
    let keys: Vec<String> = (0..rows.rows).map(|row| format!("k{row}")).collect();
    let job = Job::new("score-network/v1", tables(model, rows, owners), vec![(holder, model.clone())], written);
    job.keyed(&keys.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The margin of a row in floating point, its values clipped to their ranges; nothing where one is missing.
pub fn plain(model: &Model, frame: &Frame, row: usize) -> Option<f64> {
    let clipped = frame.clipped(model.features());
    let values: Vec<f64> = (0..model.features().len() as u32).map(|f| clipped.value(row, f)).collect();
    model.margins(&Frame::row(model.features(), &values).unwrap()).ok().map(|m| m[0])
}
