//! Owners with features, a model and a dealer, as machines stepped by hand.

use serde_json::{Value, json};
use tacit_crypto::SigningKey;
use tacit_governance::ModelRef;
use tacit_jobs::{Material, Plan, score};
use tacit_models::{Additive, Feature, Kind, Link, Meta, Model, Shape, Term};
use tacit_types::{Column, Columns, Fault, Name, NodeId, Values};

use crate::shares::{self, Fate, Run, model_ref, signing};

/// The public range of each owner's first and second feature.
const RANGES: [(f64, f64); 2] = [(-3.0, 5.0), (100.0, 101.5)];
const INTERCEPT: f64 = -40.625;

/// One owner of data: rows of a key and two numbers; NULL is `None`.
pub struct Owner {
    key: SigningKey,
    pub rows: Vec<(String, [Option<f64>; 2])>,
    number: usize,
}

impl Owner {
    pub fn id(&self) -> NodeId {
        self.key.id()
    }

    fn names(&self) -> [String; 2] {
        [format!("a{}", self.number), format!("b{}", self.number)]
    }

    fn weights(&self) -> [f64; 2] {
        let i = self.number as f64;
        [0.7 - 0.5 * i, [1.0 / 3.0, -0.21, 0.05, 0.0, -0.125][self.number]]
    }

    fn columns(&self) -> Columns {
        let column = |name: &str, values, valid| Column { name: name.into(), values, valid: Some(valid) };
        let number = |i: usize| Values::Float(self.rows.iter().map(|r| r.1[i].unwrap_or(0.0)).collect());
        let valid = |i: usize| self.rows.iter().map(|r| r.1[i].is_some()).collect();
        let [a, b] = self.names();
        let ids = Values::Text(self.rows.iter().map(|r| r.0.clone()).collect());
        Columns {
            rows: self.rows.len(),
            columns: vec![
                column(&a, number(0), valid(0)),
                column("id", ids, vec![true; self.rows.len()]),
                column(&b, number(1), valid(1)),
            ],
        }
    }

    /// What the row adds, each value within its range; `None` when it is not there or not usable.
    fn part(&self, key: &str, clip: bool) -> Option<f64> {
        let mut rows = self.rows.iter().filter(|r| r.0 == key);
        let (row, more) = (rows.next()?, rows.next());
        let values = [row.1[0]?, row.1[1]?];
        let within = |i: usize| if clip { values[i].clamp(RANGES[i].0, RANGES[i].1) } else { values[i] };
        if more.is_some() { None } else { Some((0..2).map(|i| within(i) * self.weights()[i]).sum()) }
    }
}

pub struct Job {
    pub owners: Vec<Owner>,
    pub models: Vec<ModelRef>,
    pub dealer: Option<NodeId>,
    pub rows: u64,
    keys: Vec<u8>,
    written: Value,
    split: bool,
}

fn rows(owner: usize) -> Vec<(String, [Option<f64>; 2])> {
    let row = |(i, name): (usize, &&str)| {
        let t = (i * 7 + owner * 3) % 10;
        let values = [-3.0 + 0.8 * t as f64, 100.0 + 0.15 * t as f64 + 1e-4 * owner as f64];
        (name.to_string(), values.map(Some))
    };
    let mut all: Vec<_> = ["ann", "bob", "cid", "dot", "fay", "gus", "hal"].iter().enumerate().map(row).collect();
    all.rotate_left(owner);
    all
}

impl Job {
    fn new(count: usize, split: bool, both: bool, keys: &[&str], written: Value) -> Self {
        let owners: Vec<Owner> = (0..count).map(|i| Owner { key: signing(i), rows: rows(i), number: i }).collect();
        let models = match (split, both) {
            (true, _) => owners.iter().map(|o| model_ref(o.id())).collect(),
            (false, true) => vec![model_ref(owners[count - 1].id())],
            (false, false) => vec![model_ref(shares::Job::party(20))],
        };
        let id = shares::Job::party(21);
        let mut written = written;
        if !split && written.get("ranges").is_none() {
            let range = |(least, most): (f64, f64)| json!([format!("{least}"), format!("{most}")]);
            let all = owners.iter().flat_map(|o| o.names().into_iter().zip(RANGES.map(range)));
            written["ranges"] = all.collect::<serde_json::Map<_, _>>().into();
        }
        written["mode"] = json!(if split { "split" } else { "private" });
        let it = Self { owners, models, dealer: Some(id), rows: 0, keys: Vec::new(), written, split };
        if keys.is_empty() { it } else { it.keyed(keys) }
    }

    pub fn private(owners: usize, both: bool, keys: &[&str], written: Value) -> Self {
        Self::new(owners, false, both, keys, written)
    }

    pub fn split(owners: usize, keys: &[&str], written: Value) -> Self {
        Self::new(owners, true, true, keys, written)
    }

    fn keyed(mut self, keys: &[&str]) -> Self {
        (self.rows, self.keys) = score::keys::encode(keys.iter().copied()).unwrap();
        self
    }

    pub fn with_keys(&mut self, keys: &[&str]) -> &Self {
        (self.rows, self.keys) = score::keys::encode(keys.iter().copied()).unwrap();
        self
    }

    /// Gives every owner so many rows; their keys.
    pub fn fill(&mut self, rows: usize) -> Vec<String> {
        for owner in &mut self.owners {
            let value =
                |i: usize, (a, b): (f64, f64)| Some(a + (b - a) * ((i * 37 + owner.number) % 101) as f64 / 100.0);
            owner.rows = (0..rows).map(|i| (format!("k{i}"), RANGES.map(|r| value(i, r)))).collect();
        }
        (0..rows).rev().map(|i| format!("k{i}")).collect()
    }

    /// Makes some rows unknown: see the test of the rules.
    pub fn spoil(&mut self) {
        self.owners[1].rows.retain(|r| r.0 != "fay");
        self.owners[2].rows.iter_mut().filter(|r| r.0 == "gus").for_each(|r| r.1[1] = None);
        let again = self.owners[0].rows.iter().find(|r| r.0 == "hal").unwrap().clone();
        self.owners[0].rows.push(again);
    }

    /// The exact margin of a key.
    pub fn plain(&self, key: &str) -> Option<f64> {
        let parts: Option<Vec<f64>> = self.owners.iter().map(|o| o.part(key, !self.split)).collect();
        Some(parts?.into_iter().sum::<f64>() + INTERCEPT)
    }

    /// The margin where an owner without the row brings zeroes within the ranges; of a split model, nothing.
    pub fn with_zeroes(&self, key: &str) -> f64 {
        let zero = |o: &Owner| -> f64 { (0..2).map(|i| 0f64.clamp(RANGES[i].0, RANGES[i].1) * o.weights()[i]).sum() };
        let part = |o: &Owner| match (o.part(key, !self.split), self.split) {
            (Some(part), _) => part + if self.split { INTERCEPT / self.owners.len() as f64 } else { 0.0 },
            (None, true) => 0.0,
            (None, false) => zero(o),
        };
        self.owners.iter().map(part).sum::<f64>() + if self.split { 0.0 } else { INTERCEPT }
    }

    pub fn seats(&self) -> usize {
        self.shares().seats()
    }

    /// The model of an owner: its part, or the whole with its features in an order of its own.
    fn model(&self, owner: &NodeId) -> Model {
        let meta = Meta { owner: *owner, name: Name::new("credit").unwrap(), version: 1 };
        let parts: Vec<&Owner> = self.owners.iter().rev().filter(|o| !self.split || o.id() == *owner).collect();
        let features: Vec<Feature> = parts.iter().flat_map(|o| o.names()).map(Feature::numeric).collect();
        let weights = parts.iter().flat_map(|o| o.weights());
        let terms = weights
            .enumerate()
            .map(|(i, weight)| Term { feature: i as u32, shape: Shape::Linear { weight, missing: None } });
        let intercept = if self.split { INTERCEPT / self.owners.len() as f64 } else { INTERCEPT };
        let additive = Additive { intercept, terms: terms.collect() };
        Model::new(meta, features, Link::Identity, Kind::Additive(additive)).unwrap()
    }

    pub fn material(&self, owner: &NodeId) -> Material {
        self.shares().material(owner)
    }

    pub fn plan(&self) -> Result<Box<dyn Plan>, Fault> {
        self.shares().plan()
    }

    pub fn run(&self, fate: Fate) -> Run {
        self.shares().run(fate)
    }

    pub fn open(&self) -> Value {
        self.shares().open()
    }

    pub fn cells(&self) -> Vec<i64> {
        self.shares().cells()
    }

    pub fn shares(&self) -> shares::Job {
        let table = |o: &Owner| shares::Table { name: format!("p{}", o.number), owner: o.id(), columns: o.columns() };
        let tables = self.owners.iter().map(table).collect();
        let held = self.models.iter().map(|m| (m.owner, self.model(&m.owner))).collect();
        let mut job = shares::Job::new("score-linear/v1", tables, held, self.written.clone());
        (job.models, job.dealer) = (self.models.clone(), self.dealer);
        (job.rows, job.keys) = (self.rows, self.keys.clone());
        job
    }
}
