//! Worlds of scores on shares: owners of data, the owner of a private model, a dealer with neither, and a recipient with
//! none of it.
#![allow(dead_code, reason = "shared by test programs that use parts of it")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use tacit_engine::WorkerJob;
use tacit_node::Store;
use tacit_tests::program::program;
use tacit_tests::world::{COORDINATOR, shown};
use tacit_tests::{Done, World};
use tacit_types::{Fault, JobId};

/// How far a score before the link may be from the exact one.
pub const ERROR: f64 = 1e-6;
/// Who deals.
pub const DEALER: &str = "notary";

/// Numbers that look random and are the same in every run.
pub struct Draw(u64);

impl Draw {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// One owner's rows: what is known of each key that stands once in a row without gaps.
pub struct Table {
    pub owner: &'static str,
    pub features: Vec<String>,
    pub csv: String,
    pub rows: BTreeMap<String, Option<Vec<f64>>>,
}

/// Rows for most of `keys` keys, a few twice, a few with a gap, some values outside the declared ranges.
pub fn table(owner: &'static str, seed: u64, keys: usize, width: usize) -> Table {
    let mut draw = Draw(seed);
    let features: Vec<String> = (0..width).map(|i| format!("{owner}{i}")).collect();
    let (mut csv, mut rows) = (format!("id,{}\n", features.join(",")), BTreeMap::new());
    let mut wanted: Vec<usize> = (0..keys).filter(|i| *i < 3 || draw.below(9) != 0).collect();
    wanted.push(wanted[wanted.len() / 2]);
    for i in (1..wanted.len()).rev() {
        wanted.swap(i, draw.below(i as u64 + 1) as usize);
    }
    for i in wanted {
        let key = format!("C-{i:06}");
        let gap = i >= 3 && draw.below(20) == 0;
        let values: Vec<f64> = (0..width).map(|_| (draw.below(1001) as f64 - 500.0) / 8.0).collect();
        write!(csv, "{key}").unwrap();
        for (f, value) in values.iter().enumerate() {
            if gap && f == 0 { csv.push(',') } else { write!(csv, ",{value}").unwrap() }
        }
        csv.push('\n');
        let usable = !gap && !rows.contains_key(&key);
        rows.insert(key, usable.then_some(values));
    }
    Table { owner, features, csv, rows }
}

/// Declared ranges: narrower than the values, so that some are clipped.
pub const RANGE: f64 = 50.0;

/// The whole model, known here and nowhere else but at its owner.
pub struct Model {
    pub owner: &'static str,
    pub weights: BTreeMap<String, f64>,
    pub intercept: f64,
}

impl Model {
    pub fn of(owner: &'static str, tables: &[Table]) -> Self {
        let mut draw = Draw(99);
        let names: Vec<&String> = tables.iter().flat_map(|t| &t.features).collect();
        let each = 0.5 / names.len() as f64;
        let mut weight = || (draw.below(20_001) as f64 - 10_000.0) / 10_000.0 * each;
        let weights = names.iter().map(|name| ((*name).clone(), weight())).collect();
        Self { owner, weights, intercept: -0.4375 }
    }

    pub fn json(&self) -> String {
        let (features, coefficients): (Vec<&String>, Vec<&f64>) = self.weights.iter().unzip();
        json!({"format": "tacit-linear/1", "library": "scikit-learn 1.7.2", "link": "logistic",
            "features": features, "coefficients": coefficients, "intercept": self.intercept})
        .to_string()
    }

    /// The score of a key before the link. Where an owner has no row, its features count as `absent`.
    pub fn plain(&self, tables: &[Table], key: &str, absent: Option<f64>) -> Option<f64> {
        let mut sum = self.intercept;
        for table in tables {
            let row = table.rows.get(key).and_then(Option::as_ref);
            for (i, name) in table.features.iter().enumerate() {
                let value = row.map(|values| values[i]).or(absent)?;
                sum += self.weights[name] * value.clamp(-RANGE, RANGE);
            }
        }
        Some(sum)
    }
}

/// A world with a private model, its dealer and its contract `credit`, signed by all.
pub struct Private {
    pub world: World,
    pub tables: Vec<Table>,
    pub model: Model,
    /// Everyone with a node.
    pub nodes: Vec<&'static str>,
}

impl Private {
    /// Owners with so many features each; the model's owner is one of them or not; the recipient `lab` has nothing.
    pub fn new(tables: Vec<Table>, owner: &'static str, scoring: &str) -> Self {
        let model = Model::of(owner, &tables);
        let mut world = World::with_coordinator();
        for table in &tables {
            world.join(table.owner, "node");
            let file = world.write(&format!("{}.csv", table.owner), &table.csv);
            let levels = ["data", "add", "data", &shown(&file), "--level", "id=align_key", "--all", "score_only"];
            world.run(table.owner, &levels).ok();
        }
        let mut nodes: Vec<&'static str> = tables.iter().map(|t| t.owner).collect();
        for other in [owner, DEALER] {
            if !nodes.contains(&other) {
                world.join(other, "node");
                nodes.push(other);
            }
        }
        let file = world.write("model.json", model.json());
        world.run(owner, &["model", "import", "credit", &shown(&file), "--format", "linear"]).ok();
        nodes.iter().for_each(|node| world.start(node));
        world.join("lab", "operator");
        world.wait_there("lab", nodes.len());
        let this = Self { world, tables, model, nodes };
        this.agree("credit", &[DEALER], scoring);
        this
    }

    pub fn draft(&self, name: &str, dealers: &[&str], scoring: &str) -> Done {
        let mut text = format!(
            "name = \"{name}\"\npurpose = \"tests\"\nkinds = [\"score-linear/v1\"]\ndemander = \"lab\"\n\
             quota_jobs = 100\nvalid_days = 30\ndealers = {dealers:?}\n[cohort]\nrows = 3\ncontributors = 2\n\
             [scoring]\n{scoring}\n[[models]]\nowner = \"{}\"\nmodel = \"credit\"\n",
            self.model.owner
        );
        for table in &self.tables {
            write!(text, "[[datasets]]\nowner = \"{}\"\ndataset = \"data\"\n", table.owner).unwrap();
        }
        let file = self.world.write(&format!("{name}.contract.toml"), text);
        self.world.run("lab", &["contract", "draft", &shown(&file)])
    }

    pub fn agree(&self, name: &str, dealers: &[&str], scoring: &str) {
        self.draft(name, dealers, scoring).ok();
        for node in &self.nodes {
            self.world.run(node, &["contract", "sign", name]).ok();
        }
    }

    /// Writes a job with its list of keys; `head` stands before `[params]`.
    pub fn job(&self, head: &str, keys: &[String], params: &str) -> PathBuf {
        self.world.write("keys.txt", keys.join("\n"));
        let mut text = format!(
            "kind = \"score-linear/v1\"\nkeys = \"keys.txt\"\n{head}\n[params]\nkey = \"id\"\nbound = \"64\"\n{params}\n[params.ranges]\n"
        );
        for name in self.tables.iter().flat_map(|t| &t.features) {
            writeln!(text, "{name} = [\"-{RANGE}\", \"{RANGE}\"]").unwrap();
        }
        self.world.write("job.toml", text)
    }

    pub fn submit(&self, keys: &[String], params: &str) -> Done {
        let file = self.job(HEAD, keys, params);
        self.world.run("lab", &["job", "submit", &shown(&file), "--watch"])
    }

    pub fn begin(&self, keys: &[String], params: &str) -> JobId {
        let file = self.job(HEAD, keys, params);
        let done = self.world.run("lab", &["job", "submit", &shown(&file)]).ok();
        JobId::from_hex(done["id"].as_str().unwrap()).unwrap()
    }

    pub fn plain(&self, key: &str) -> Option<f64> {
        self.model.plain(&self.tables, key, None)
    }

    /// What stands beside a key is the plain score as `seen` shows it.
    pub fn check(&self, done: &Value, keys: &[String], plain: impl Fn(&str) -> Option<f64>) {
        let scores = done["result"]["scores"].as_array().unwrap_or_else(|| panic!("{done}"));
        assert_eq!(scores.len(), keys.len());
        let mut known = 0;
        for (row, key) in scores.iter().zip(keys) {
            assert_eq!(row["key"], json!(key));
            match (row["score"].as_f64(), plain(key)) {
                (Some(found), Some(wanted)) => {
                    known += 1;
                    assert!((found - wanted).abs() <= ERROR, "{key}: {found} is not {wanted}");
                }
                (None, None) => assert_eq!(row["score"], Value::Null),
                other => panic!("{key}: {other:?}"),
            }
        }
        let unknown = keys.iter().filter(|key| plain(key).is_none()).count();
        assert_eq!(known, keys.len() - unknown);
        assert_eq!(done["result"]["unknown"], json!(unknown));
    }
}

/// What a job file begins with.
pub const HEAD: &str = "contract = \"credit\"\ndealer = \"notary\"";

pub fn keys(n: usize) -> Vec<String> {
    (0..n).map(|i| format!("C-{i:06}")).collect()
}

pub fn logistic(margin: f64) -> f64 {
    1.0 / (1.0 + (-margin).exp())
}

/// `tacit-verify` accepts the log; gives its report.
pub fn audit(world: &World) -> Value {
    let (bundle, trust) = (world.folder().join("log.bundle"), world.folder().join("group.trust"));
    world.run("lab", &["receipt", "export", "--out", &shown(&bundle), "--trust", &shown(&trust)]).ok();
    let mut verify = Command::new(program("tacit-verify"));
    World::finish(verify.arg(&bundle).arg("--trust").arg(&trust).arg("--json")).ok()
}

/// Reads a node's database beside the node itself.
pub fn with_store<T>(world: &World, node: &str, read: impl AsyncFnOnce(&Store) -> Result<T, Fault>) -> T {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = Store::open(&world.home(node).join("node.db")).await.unwrap();
        let value = read(&store).await.unwrap();
        store.close().await;
        value
    })
}

/// What a node keeps of a job.
pub fn kept(world: &World, node: &str, id: JobId) -> WorkerJob {
    with_store(world, node, async |store| Ok(store.job(&id).await?.unwrap()))
}

/// A node's ledger of one job towards the other nodes: bytes by whom they went to and what they were.
pub fn ledger(world: &World, node: &str, id: JobId) -> BTreeMap<(String, String), u64> {
    let rows = world.run(node, &["node", "egress"]).ok();
    let of = |row: &&Value| row["job"] == json!(id.to_string()) && row["peer"] != json!(COORDINATOR);
    let text = |row: &Value, field: &str| row[field].as_str().unwrap().to_owned();
    let rows = rows.as_array().unwrap();
    let rows = rows.iter().filter(of);
    rows.map(|row| ((text(row, "peer"), text(row, "kind")), row["bytes"].as_u64().unwrap())).collect()
}

/// The ledger by kind alone.
pub fn kinds(ledger: &BTreeMap<(String, String), u64>) -> BTreeMap<&str, u64> {
    let mut kinds = BTreeMap::new();
    ledger.iter().for_each(|((_, kind), bytes)| *kinds.entry(kind.as_str()).or_default() += bytes);
    kinds
}

pub fn id_of(done: &Value) -> JobId {
    JobId::from_hex(done["id"].as_str().unwrap()).unwrap()
}
