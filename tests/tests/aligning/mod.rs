//! Owners of lists of keys as people write them, what a plain join of them gives, and their nodes.
#![allow(dead_code, reason = "shared by test programs that use parts of it")]

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::Value;
use tacit_tests::world::shown;
use tacit_tests::{Done, World};

/// Rows of one owner: an id as people write it, nothing where there is none, and an amount.
pub type Rows = Vec<(Option<String>, i64)>;

/// Numbers that look random and are the same in every run.
struct Draw(u64);

impl Draw {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// An id as one of several people would write it: spaces around it, capital letters, full-width digits.
fn messy(draw: &mut Draw, id: &str) -> String {
    match draw.below(5) {
        0 => format!("  {id} "),
        1 => id.to_uppercase(),
        2 => id
            .chars()
            .map(|c| if c.is_ascii_digit() { char::from_u32(c as u32 + 0xfee0).unwrap() } else { c })
            .collect(),
        3 => format!("\u{3000}{}", id.to_uppercase()),
        _ => id.to_owned(),
    }
}

/// Some of the ids, each written anew, some twice, some rows without.
pub fn rows(seed: u64, ids: impl IntoIterator<Item = String>, canary: &str) -> Rows {
    let mut draw = Draw(seed);
    let mut all: Rows = Vec::new();
    for id in ids {
        for _ in 0..1 + u64::from(draw.below(7) == 0) {
            let amount = draw.below(1000) as i64;
            all.push((Some(messy(&mut draw, &id)), amount));
        }
        match draw.below(11) {
            0 => all.push((None, 7)),
            1 => all.push((Some(" ".into()), 7)),
            _ => {}
        }
    }
    all.push((Some(canary.to_owned()), 1));
    for i in (1..all.len()).rev() {
        all.swap(i, draw.below(i as u64 + 1) as usize);
    }
    all
}

pub fn csv(column: &str, rows: &Rows) -> String {
    let mut text = format!("{column},amount\n");
    for (id, amount) in rows {
        writeln!(text, "{},{amount}", id.as_deref().map_or(String::new(), |id| format!("\"{id}\""))).unwrap();
    }
    text
}

/// What both would call the key: written here again, with nothing of the product.
pub fn plain(id: &str) -> Option<String> {
    let half =
        |c: char| if ('\u{ff10}'..='\u{ff19}').contains(&c) { char::from_u32(c as u32 - 0xfee0).unwrap() } else { c };
    let text: String = id.trim_matches(|c: char| c.is_whitespace()).chars().map(half).collect();
    (!text.is_empty()).then(|| text.to_lowercase())
}

pub fn keys(rows: &Rows) -> BTreeSet<String> {
    rows.iter().filter_map(|(id, _)| plain(id.as_deref()?)).collect()
}

/// This owner's rows whose key the other has too: how many, and the sum of their amounts.
pub fn joined(own: &Rows, other: &Rows) -> (u64, i64) {
    let both: BTreeSet<String> = keys(own).intersection(&keys(other)).cloned().collect();
    let matched = own.iter().filter(|(id, _)| id.as_deref().and_then(plain).is_some_and(|k| both.contains(&k)));
    matched.fold((0, 0), |(rows, sum), (_, amount)| (rows + 1, sum + amount))
}

pub fn ids(range: core::ops::Range<u64>) -> impl Iterator<Item = String> {
    range.map(|i| format!("Cust-{i:06}x"))
}

pub const CANARIES: [&str; 3] = ["Canary-BANK-77f31", "Canary-TELECOM-90c2e", "Canary-GROCER-5be08"];
pub const OWNERS: [&str; 3] = ["bank", "telecom", "grocer"];
pub const COLUMNS: [&str; 3] = ["customer", "subscriber", "card"];

/// Owners with a table each, their nodes, and the operator `lab`.
pub struct Aligning {
    pub world: World,
    pub tables: Vec<Rows>,
}

impl Aligning {
    pub fn new(tables: Vec<Rows>) -> Self {
        Self::logging("info", tables)
    }

    /// With daemons that log so much.
    pub fn logging(level: &'static str, tables: Vec<Rows>) -> Self {
        let mut world = World::new();
        world.level = level;
        world.coordinate();
        for (i, table) in tables.iter().enumerate() {
            world.join(OWNERS[i], "node");
            let file = world.write(&format!("{}.csv", OWNERS[i]), csv(COLUMNS[i], table));
            let key = format!("{}=align_key", COLUMNS[i]);
            let levels = ["--level", &key, "--all", "after_aggregate,after_compare"];
            world
                .run(OWNERS[i], &[&["data", "add", "data", &shown(&file), "--text", COLUMNS[i]][..], &levels].concat())
                .ok();
            world.start(OWNERS[i]);
        }
        world.join("lab", "operator");
        world.wait_online("lab", tables.len());
        Self { world, tables }
    }

    /// A contract over the first two owners' tables, signed by both.
    pub fn agree(&self, name: &str, alignment: &str) {
        let file = self.world.write(&format!("{name}.contract.toml"), contract_text(name, alignment));
        self.world.run("lab", &["contract", "draft", &shown(&file)]).ok();
        for owner in &OWNERS[..2] {
            self.world.run(owner, &["contract", "sign", name]).ok();
        }
    }

    pub fn job_file(&self, contract: &str, params: &str) -> String {
        let text = format!(
            "kind = \"align/v1\"\ncontract = \"{contract}\"\nattempt_seconds = 120\n[params]\n{params}\n\
             [params.key]\nid = [\"nfkc/1\", \"trim/1\", \"fold/1\"]\n\
             [params.columns.bank]\nid = \"customer\"\n[params.columns.telecom]\nid = \"subscriber\"\n"
        );
        shown(&self.world.write("align.job.toml", text))
    }

    pub fn align(&self, contract: &str, params: &str) -> Done {
        let file = self.job_file(contract, params);
        self.world.run("lab", &["job", "submit", &file, "--watch"])
    }

    /// The aligned versions of an owner, oldest first.
    pub fn aligned(&self, owner: &str) -> Vec<Value> {
        let listed = self.world.run(owner, &["data", "list"]).ok();
        let mut all: Vec<Value> = listed
            .as_array()
            .into_iter()
            .flatten()
            .filter(|d| d["name"].as_str().is_some_and(|n| n.ends_with("-aligned")))
            .cloned()
            .collect();
        all.sort_by_key(|d| d["version"].as_u64());
        all
    }
}

/// A contract over the first two owners' tables.
pub fn contract_text(name: &str, alignment: &str) -> String {
    let mut text = format!(
        "name = \"{name}\"\npurpose = \"tests\"\nkinds = [\"align/v1\"]\ndemander = \"lab\"\nquota_jobs = 200\n\
         valid_days = 30\n[cohort]\nrows = 3\ncontributors = 2\n{alignment}\n"
    );
    for owner in &OWNERS[..2] {
        write!(text, "[[datasets]]\nowner = \"{owner}\"\ndataset = \"data\"\n").unwrap();
    }
    text
}

pub const TERMS: &str = "[alignment]\nlevels = [\"both\", \"receiver\", \"spine\"]\nkeys_min = 10\nkeep_days = 9\n";

pub fn two() -> Aligning {
    Aligning::new(vec![rows(1, ids(0..600), CANARIES[0]), rows(2, ids(400..1100), CANARIES[1])])
}
