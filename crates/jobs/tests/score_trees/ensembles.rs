//! The ensembles of the fixtures, divided or whole, and the rows of the fixtures among owners.

use serde_json::{Value, json};
use tacit_models::import::{lightgbm, onnx, xgboost};
use tacit_models::{Division, FeatureKind, Frame, Kind, Link, Meta, Model, Precision};
use tacit_types::{Column, Columns, Name, NodeId, Values};

use crate::fixtures;
use crate::shares::{Job, Table};

/// An ensemble and what its library predicts.
pub struct Ensemble {
    pub model: Model,
    expected: fixtures::Expected,
}

/// Who has data, and where the model is.
#[derive(Clone, Copy)]
pub struct Shape {
    owners: usize,
    both: bool,
}

impl Shape {
    /// So many owners, and the model at a party without data.
    pub const fn apart(owners: usize) -> Self {
        Self { owners, both: false }
    }

    /// So many owners, the first of which has the model.
    pub const fn both(owners: usize) -> Self {
        Self { owners, both: true }
    }
}

impl Ensemble {
    pub fn read(file: &str) -> Self {
        let name = file.split('.').next().unwrap();
        let name = if file.contains("-1.7") { file.trim_end_matches(".json") } else { name };
        let mut import = fixtures::import("m");
        let model = match file.rsplit('.').next().unwrap() {
            "json" => xgboost::read(import, fixtures::text(file).as_bytes()),
            "txt" => lightgbm::read(import, fixtures::text(file).as_bytes()),
            _ => {
                import.features = fixtures::numeric_features();
                onnx::read(import, &fixtures::bytes(file))
            }
        };
        Self { model: model.unwrap(), expected: fixtures::expected(name) }
    }

    pub fn rows(&self) -> usize {
        fixtures::rows().rows
    }

    fn trees(&self) -> &tacit_models::Trees {
        let Kind::Trees(trees) = self.model.kind() else { panic!("no trees") };
        trees
    }

    /// The scores that the library predicts; none where it takes no missing value.
    pub fn predicted(&self) -> Vec<Option<f64>> {
        self.expected.scores.clone().unwrap()
    }

    /// The link of what a job opens: the slope is in the margin.
    pub fn score(&self, margin: f64) -> f64 {
        match self.model.link() {
            Link::Logistic { .. } => Link::Logistic { slope: 1.0 }.apply(margin),
            other => other.apply(margin),
        }
    }

    /// What the library's sum in singles may be off by.
    pub fn rounding(&self) -> f64 {
        let trees = self.trees();
        match trees.precision {
            Precision::Single => f64::from(f32::EPSILON) * (trees.trees.len() + 1) as f64 * self.reach(),
            Precision::Double => 0.0,
        }
    }

    fn reach(&self) -> f64 {
        let trees = self.trees();
        let greatest = trees.trees.iter().map(|t| t.leaves().fold(0.0, |m: f64, v| m.max(v.abs()))).sum::<f64>();
        (trees.base.abs() + greatest * trees.leaf_factor()) * tacit_models::hidden::slope(&self.model)
    }

    fn owner_of(&self, owners: usize) -> Vec<usize> {
        (0..self.model.features().len()).map(|f| f * 7 % owners).collect()
    }

    /// The rows of an owner.
    fn table(&self, owner: usize, owners: usize) -> Table {
        let all = fixtures::rows();
        let own = self.owner_of(owners).into_iter().zip(self.model.features()).filter(|(o, _)| *o == owner);
        let ids = Values::Text((0..all.rows).map(|row| format!("k{row}")).collect());
        let mut columns = vec![Column { name: "id".into(), values: ids, valid: None }];
        columns.extend(own.map(|(_, f)| all.columns.iter().find(|c| c.name == f.name).unwrap().clone()));
        let columns = Columns { rows: all.rows, columns };
        Table { name: format!("p{owner}"), owner: Job::party(owner), columns }
    }

    fn written(&self, more: Value) -> Value {
        let mut written = json!({"key": "id", "bound": format!("{:.0}", self.reach().ceil() + 1.0)});
        written["trees"] = json!(self.trees().trees.len());
        for (name, value) in more.as_object().unwrap() {
            written[name] = value.clone();
        }
        written
    }
}

pub fn keys(rows: usize) -> Vec<String> {
    (0..rows).map(|row| format!("k{row}")).collect()
}

fn meta(owner: NodeId) -> Meta {
    Meta { owner, name: Name::new("credit").unwrap(), version: 1 }
}

fn keyed(ensemble: &Ensemble, job: Job) -> Job {
    let keys = keys(ensemble.rows());
    job.keyed(&keys.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A job with a private ensemble.
pub fn job(ensemble: &Ensemble, shape: Shape, more: Value) -> Job {
    let owners = shape.owners;
    let holder = Job::party(if shape.both { 0 } else { 20 });
    let tables = (0..owners).map(|o| ensemble.table(o, owners)).collect();
    let mut written = ensemble.written(more);
    if written.get("leaves").is_none() {
        let most = ensemble.trees().trees.iter().map(|t| t.leaves().count()).max().unwrap();
        written["leaves"] = json!(most.next_power_of_two().max(2));
    }
    for feature in ensemble.model.features() {
        if let FeatureKind::Categorical(list) = &feature.kind
            && written.get("categories").is_none()
        {
            // In another order than the model's, and with one that it does not know.
            let mut list: Vec<&str> = list.iter().map(String::as_str).rev().collect();
            list.insert(1, "nowhere");
            written["categories"] = json!({&feature.name: list});
        }
    }
    written["mode"] = json!("private");
    keyed(ensemble, Job::new("score-trees/v1", tables, vec![(holder, ensemble.model.clone())], written))
}

/// A job with the parts of a split ensemble; the leaves at the first owner of data, or at a party without.
pub fn split_job(ensemble: &Ensemble, owners: usize, apart: bool, more: Value) -> Job {
    let parties = owners + usize::from(apart);
    let holder = if apart { owners } else { 0 };
    let ids: Vec<NodeId> = (0..parties).map(|p| Job::party(if p == owners { 20 } else { p })).collect();
    let division = Division::new(&ensemble.model, &ensemble.owner_of(owners), parties).unwrap();
    let metas: Vec<Meta> = ids.iter().map(|id| meta(*id)).collect();
    let parts = division.models(ensemble.model.link(), &metas, holder).unwrap();
    let tables = (0..owners).map(|o| ensemble.table(o, owners)).collect();
    let mut written = ensemble.written(more);
    if written.get("leaves").is_none() {
        written["leaves"] = json!(ensemble.trees().trees.iter().map(|t| t.leaves().count()).sum::<usize>());
    }
    if !apart {
        written["holder"] = json!("p0");
    }
    written["mode"] = json!("split");
    keyed(ensemble, Job::new("score-trees/v1", tables, ids.into_iter().zip(parts).collect(), written))
}

fn margin(ensemble: &Ensemble, value: impl Fn(u32) -> f64) -> f64 {
    let trees = ensemble.trees();
    let value = |f| if trees.precision == Precision::Single { f64::from(value(f) as f32) } else { value(f) };
    let sum = trees.trees.iter().map(|t| t.leaf(value)).sum::<f64>();
    (trees.base + sum * trees.leaf_factor()) * tacit_models::hidden::slope(&ensemble.model)
}

/// Margins by exact sums, with the slope of the link in them.
pub fn exact(ensemble: &Ensemble) -> Vec<f64> {
    let frame = Frame::new(ensemble.model.features(), &fixtures::rows()).unwrap();
    (0..frame.rows()).map(|row| margin(ensemble, |f| frame.value(row, f))).collect()
}

/// The margin of a row where one of the owners has none.
pub fn without(ensemble: &Ensemble, owners: usize, owner: usize, row: usize) -> f64 {
    let frame = Frame::new(ensemble.model.features(), &fixtures::rows()).unwrap();
    let whose = ensemble.owner_of(owners);
    margin(ensemble, |f| if whose[f as usize] == owner { f64::NAN } else { frame.value(row, f) })
}

fn pick(columns: &mut Columns, rows: &[usize]) {
    for column in &mut columns.columns {
        column.values = match &column.values {
            Values::Int(list) => Values::Int(rows.iter().map(|r| list[*r]).collect()),
            Values::Float(list) => Values::Float(rows.iter().map(|r| list[*r]).collect()),
            Values::Text(list) => Values::Text(rows.iter().map(|r| list[*r].clone()).collect()),
        };
        column.valid = column.valid.as_ref().map(|valid| rows.iter().map(|r| valid[*r]).collect());
    }
    columns.rows = rows.len();
}

fn place(columns: &Columns, key: &str) -> usize {
    let Values::Text(ids) = &columns.columns[0].values else { panic!("keys first") };
    ids.iter().position(|id| id == key).unwrap()
}

/// Takes a row away.
pub fn forget(columns: &mut Columns, key: &str) {
    let gone = place(columns, key);
    let rows: Vec<usize> = (0..columns.rows).filter(|r| *r != gone).collect();
    pick(columns, &rows);
}

/// Puts a row there twice.
pub fn repeat(columns: &mut Columns, key: &str) {
    let again = place(columns, key);
    let rows: Vec<usize> = (0..columns.rows).chain([again]).collect();
    pick(columns, &rows);
}
