//! Statistics across two owners over the ids of an alignment, through processes: what comes out is what a plain join gives,
//! and what is not of one alignment of these owners, or would read the rows, is refused.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tacit_tests::program::program;
use tacit_tests::world::shown;
use tacit_tests::{Done, World};

const OWNERS: [&str; 2] = ["bank", "telecom"];
/// Who deals.
const DEALER: &str = "notary";
const KEYS: [&str; 2] = ["customer", "subscriber"];
/// The columns of each owner, with the ends of their ranges.
const COLUMNS: [[(&str, f64, f64); 2]; 2] =
    [[("income", 0.0, 9000.0), ("visits", -1.0, 40.0)], [("age", 18.0, 99.0), ("minutes", 0.0, 1500.0)]];
/// Room for all ids: what both are padded to, twice.
const ROOM: u64 = 1024;

/// Numbers that look random and are the same in every run.
struct Draw(u64);

impl Draw {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// A row: an id as people write it, nothing where there is none, and a value of each column.
type Row = (Option<String>, [Option<f64>; 2]);

/// Some of the ids, written in several ways, some twice, some rows without, some values absent or beyond their range.
fn rows(owner: usize, ids: core::ops::Range<u64>) -> Vec<Row> {
    let mut draw = Draw(owner as u64 + 11);
    let mut all = Vec::new();
    for id in ids {
        for _ in 0..1 + u64::from(draw.below(12) == 0) {
            // What both have in common goes by the id, so that their columns go together.
            let base = (id * 37 % 50) as f64;
            let values = match owner {
                0 => [base * 150.0 + draw.below(2000) as f64 / 4.0, base / 2.0 + draw.below(5) as f64],
                _ => [20.0 + base + draw.below(12) as f64, 1200.0 - base * 20.0 + draw.below(100) as f64],
            };
            let values = values.map(|value| match draw.below(25) {
                0 => None,
                1 => Some(1e6),
                _ => Some(value.floor()),
            });
            let key = format!("Cust-{id:05}");
            let written = [format!(" {key}"), key.to_uppercase(), key.clone(), key][draw.below(4) as usize].clone();
            all.push(((draw.below(30) > 0).then_some(written), values));
        }
    }
    for i in (1..all.len()).rev() {
        all.swap(i, draw.below(i as u64 + 1) as usize);
    }
    all
}

fn csv(owner: usize, rows: &[Row]) -> String {
    let [(a, ..), (b, ..)] = COLUMNS[owner];
    let mut text = format!("{},{a},{b}\n", KEYS[owner]);
    for (key, values) in rows {
        let [a, b] = values.map(|v| v.map_or(String::new(), |v| v.to_string()));
        writeln!(text, "{},{a},{b}", key.as_deref().unwrap_or_default()).unwrap();
    }
    text
}

/// The keys that are in one complete row at each, with the values there: a plain join.
fn joined(tables: &[Vec<Row>]) -> Vec<[[f64; 2]; 2]> {
    let usable = |owner: usize| -> BTreeMap<String, Vec<[f64; 2]>> {
        let mut by_key: BTreeMap<String, Vec<[f64; 2]>> = BTreeMap::new();
        for (key, values) in &tables[owner] {
            if let (Some(key), [Some(a), Some(b)]) = (key, values) {
                let [x, y] = [(*a, 0), (*b, 1)].map(|(v, i)| v.clamp(COLUMNS[owner][i].1, COLUMNS[owner][i].2));
                by_key.entry(key.trim().to_lowercase()).or_default().push([x, y]);
            }
        }
        by_key
    };
    let (first, second) = (usable(0), usable(1));
    let pair = |(key, a): (&String, &Vec<[f64; 2]>)| match (&a[..], second.get(key).map(Vec::as_slice)) {
        ([a], Some([b])) => Some([*a, *b]),
        _ => None,
    };
    first.iter().filter_map(pair).collect()
}

fn covariance(x: &[f64], y: &[f64]) -> f64 {
    let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len() as f64;
    let (a, b) = (mean(x), mean(y));
    x.iter().zip(y).map(|(x, y)| (x - a) * (y - b)).sum::<f64>() / (x.len() as f64 - 1.0)
}

/// Two owners with a table each, a dealer and the operator `lab`.
struct Crossing {
    world: World,
    tables: Vec<Vec<Row>>,
}

impl Crossing {
    fn new() -> Self {
        let mut world = World::with_coordinator();
        let tables = vec![rows(0, 0..420), rows(1, 200..700)];
        for (i, table) in tables.iter().enumerate() {
            world.join(OWNERS[i], "node");
            let file = shown(&world.write(&format!("{}.csv", OWNERS[i]), csv(i, table)));
            let key = format!("{}=align_key", KEYS[i]);
            let levels = ["--level", &key, "--all", "after_aggregate,after_compare"];
            world.run(OWNERS[i], &[&["data", "add", "data", &file, "--text", KEYS[i]][..], &levels].concat()).ok();
            world.start(OWNERS[i]);
        }
        world.join(DEALER, "node");
        world.start(DEALER);
        world.join("lab", "operator");
        world.wait_there("lab", 3);
        Self { world, tables }
    }

    /// A contract over a version of each owner, signed by all whom it names.
    fn agree(&self, name: &str, kinds: &str, more: &str, versions: [(&str, u32); 2]) {
        let mut text = format!(
            "name = \"{name}\"\npurpose = \"tests\"\nkinds = [{kinds}]\ndemander = \"lab\"\nquota_jobs = 20\n\
             valid_days = 30\n{more}\n"
        );
        for (owner, (dataset, version)) in OWNERS.iter().zip(versions) {
            write!(text, "[[datasets]]\nowner = \"{owner}\"\ndataset = \"{dataset}\"\nversion = {version}\n").unwrap();
        }
        let file = shown(&self.world.write(&format!("{name}.contract.toml"), text));
        let begun = Instant::now();
        loop {
            let done = self.world.run("lab", &["contract", "draft", &file]);
            if done.status == 0 {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "{}", done.json);
            std::thread::sleep(Duration::from_millis(200));
        }
        let signers = OWNERS.iter().chain(more.contains(DEALER).then_some(&DEALER));
        signers.for_each(|signer| drop(self.world.run(signer, &["contract", "sign", name]).ok()));
    }

    /// Aligns both by ids; gives the job.
    fn align(&self) -> String {
        let text = format!(
            "kind = \"align/v1\"\ncontract = \"join\"\nattempt_seconds = 120\n[params]\nlevel = \"spine\"\nkeys_min = 10\n\
             size = {ROOM}\nkeep_days = 9\n[params.key]\nid = [\"trim/1\", \"fold/1\"]\n\
             [params.columns.bank]\nid = \"customer\"\n[params.columns.telecom]\nid = \"subscriber\"\n"
        );
        let file = shown(&self.world.write("align.job.toml", text));
        let done = self.world.run("lab", &["job", "submit", &file, "--watch"]).ok();
        done["id"].as_str().unwrap_or_else(|| panic!("{done}")).to_owned()
    }

    fn job_file(&self, contract: &str, alignment: &str, rows: u64, more: &str) -> String {
        let mut text = format!(
            "kind = \"cross-stats/v1\"\ncontract = \"{contract}\"\ndealer = \"{DEALER}\"\nattempt_seconds = 120\n{more}\n\
             [params]\nalignment = \"{alignment}\"\nrows = {rows}\n"
        );
        for (owner, columns) in OWNERS.iter().zip(COLUMNS) {
            writeln!(text, "[params.columns.{owner}]").unwrap();
            columns.iter().for_each(|(c, least, most)| writeln!(text, "{c} = [\"{least}\", \"{most}\"]").unwrap());
        }
        shown(&self.world.write("cross.job.toml", text))
    }

    fn ask(&self, contract: &str, alignment: &str, rows: u64, more: &str) -> Done {
        let file = self.job_file(contract, alignment, rows, more);
        self.world.run("lab", &["job", "submit", &file, "--watch"])
    }

    /// What came out is what the join gives, in the order of the owners' keys.
    fn check(&self, done: &Value) {
        let (result, joined) = (&done["result"], joined(&self.tables));
        assert_eq!((&result["rows"], &result["parties"]), (&json!(joined.len()), &json!(2)), "{done}");
        let place = |name: &str| -> (usize, usize) {
            let at = |owner: usize| COLUMNS[owner].iter().position(|(c, ..)| *c == name).map(|i| (owner, i));
            at(0).or(at(1)).unwrap()
        };
        let of = |name: &Value| -> Vec<f64> {
            let (owner, i) = place(name.as_str().unwrap());
            joined.iter().map(|pair| pair[owner][i]).collect()
        };
        // Whole numbers of ranges this narrow are summed exactly.
        let near = |found: &Value, wanted: f64| {
            let found = found.as_f64().unwrap_or_else(|| panic!("{wanted}: {done}"));
            assert!((found - wanted).abs() <= 1e-9 * wanted.abs().max(1.0), "{found} for {wanted}: {done}");
        };
        let columns = result["columns"].as_array().unwrap();
        assert_eq!(columns.len(), 4);
        for column in columns {
            let values = of(&column["column"]);
            near(&column["mean"], values.iter().sum::<f64>() / values.len() as f64);
            near(&column["variance"], covariance(&values, &values));
        }
        let pairs = result["pairs"].as_array().unwrap();
        assert_eq!(pairs.len(), 4);
        for pair in pairs {
            let [x, y] = [of(&pair["columns"][0]), of(&pair["columns"][1])];
            near(&pair["covariance"], covariance(&x, &y));
            let correlation = covariance(&x, &y) / (covariance(&x, &x) * covariance(&y, &y)).sqrt();
            assert!(correlation.abs() > 0.5, "the columns go together");
            near(&pair["correlation"], correlation);
        }
    }

    /// A refusal at a node, before anything was computed.
    fn refused(&self, done: &Done, code: &str) {
        assert!(done.status != 0 && done.json["code"] == code, "{}", done.json);
    }
}

#[test]
fn questions_over_ids_take_the_same_rows_or_differ_by_a_group() {
    const GROUP: usize = 10;
    let all = Crossing::new();
    let cohort = "[cohort]\nrows = 20\ncontributors = 2\n";
    let terms = format!("{cohort}[alignment]\nlevels = [\"spine\"]\nkeys_min = 10\nkeep_days = 9\n");
    all.agree("join", "\"align/v1\"", &terms, [("data", 1); 2]);
    let alignment = all.align();
    let held = format!("dealers = [\"{DEALER}\"]\n[exact]\nchange_min = {GROUP}\n{cohort}");
    all.agree("held", "\"cross-stats/v1\"", &held, [("data-aligned", 1); 2]);
    // The telecom's rows without some of those whose values all carry, and whose key is in one row.
    let table = &all.tables[1];
    let key = |row: &Row| row.0.as_ref().map(|k| k.trim().to_lowercase());
    let counts = |row: &&Row| {
        let carries =
            |(v, (_, least, most)): (&Option<f64>, &(&str, f64, f64))| v.is_some_and(|v| *least < v && v < *most);
        let (of, carry) = (key(row), row.1.iter().zip(&COLUMNS[1]).all(carries));
        of.is_some() && carry && table.iter().filter(|other| key(other) == of).count() == 1
    };
    let left_out = |n: usize| {
        let gone: Vec<Option<String>> = table.iter().filter(counts).take(n).map(key).collect();
        let rows: Vec<Row> =
            table.iter().filter(|row| key(row).is_none() || !gone.contains(&key(row))).cloned().collect();
        assert_eq!(rows.len(), table.len() - n);
        all.world.write("telecom.csv", csv(1, &rows));
    };
    let asked = || all.ask("held", &alignment, 2 * ROOM, "");
    let first = asked().ok();
    all.check(&first);
    all.check(&asked().ok());
    for n in [1, GROUP - 1] {
        left_out(n);
        let done = asked();
        all.refused(&done, "refused.difference");
        assert_eq!(done.json["party"], "telecom", "{}", done.json);
    }
    left_out(GROUP);
    assert!(asked().ok()["result"]["rows"].as_u64() < first["result"]["rows"].as_u64());
    // What pads the rows that are read and no sum leaves the question near the one before: keys that stand twice, and a key
    // that was not aligned.
    let more: Vec<Row> = table.iter().filter(counts).take(GROUP + 1).cloned().collect();
    let gone: Vec<Option<String>> = more.iter().map(key).collect();
    let mut rows: Vec<Row> = table.iter().filter(|row| !gone.contains(&key(row))).cloned().collect();
    rows.extend(more[..GROUP].iter().flat_map(|row| [row.clone(), row.clone()]));
    rows.push((Some("Cust-77777".into()), more[0].1));
    all.world.write("telecom.csv", csv(1, &rows));
    all.refused(&asked(), "refused.difference");
}

#[test]
fn both_learn_how_their_columns_go_together_and_not_over_whom() {
    let all = Crossing::new();
    let cohort = "[cohort]\nrows = 20\ncontributors = 2\n";
    let dealt = format!("dealers = [\"{DEALER}\"]\n{cohort}");
    let terms = format!("{cohort}[alignment]\nlevels = [\"spine\"]\nkeys_min = 10\nkeep_days = 9\n");
    all.agree("join", "\"align/v1\"", &terms, [("data", 1); 2]);
    let (first, second) = (all.align(), all.align());
    let kinds = "\"cross-stats/v1\", \"count/v1\"";
    all.agree("cross", kinds, &dealt, [("data-aligned", 1); 2]);

    // What everyone learns is in the plan, and it is what everyone attests.
    let file = all.job_file("cross", &first, 2 * ROOM, "");
    let planned = all.world.run("lab", &["job", "plan", &file]).ok();
    assert_eq!(planned["disclosures"], json!([{"what": "result", "to": "Recipient", "cells_max": 22}]), "{planned}");
    assert!(planned["owners"].as_array().unwrap().iter().all(|o| o["admits"] == json!(true)), "{planned}");
    assert_eq!(planned["dealer"]["party"], DEALER);
    let matched = joined(&all.tables).len();
    assert!((100..200).contains(&matched), "{matched}");
    let done = all.ask("cross", &first, 2 * ROOM, "").ok();
    all.check(&done);
    let receipt = all.world.run("lab", &["receipt", "show", done["id"].as_str().unwrap()]).ok();
    assert_eq!(
        (&receipt["attestations"], &receipt["disclosures"][0]["what"]),
        (&json!(3), &json!("result")),
        "{receipt}"
    );

    // Nothing is told of fewer rows than the floor, and nobody but the recipient learns that they are fewer.
    let floor = |rows: usize| format!("[cohort]\nrows = {rows}\ncontributors = 2\n");
    let done = all.ask("cross", &first, 2 * ROOM, &floor(matched)).ok();
    assert_eq!((&done["result"]["suppressed"], &done["result"]["rows"]), (&json!(false), &json!(matched)), "{done}");
    let done = all.ask("cross", &first, 2 * ROOM, &floor(matched + 1)).ok();
    assert_eq!((&done["result"]["suppressed"], &done["result"]["rows"]), (&json!(true), &Value::Null), "{done}");
    assert!(done["result"]["pairs"].as_array().unwrap().iter().all(|p| p["covariance"].is_null()), "{done}");

    // More ids than there is room for; another alignment than the one that left these versions.
    all.refused(&all.ask("cross", &first, ROOM, ""), "refused.parameters");
    all.refused(&all.ask("cross", &second, 2 * ROOM, ""), "refused.dataset");
    // One owner's ids of one alignment with the other's of another, or with rows of no alignment.
    all.agree("apart", kinds, &dealt, [("data-aligned", 1), ("data-aligned", 2)]);
    all.agree("mixed", kinds, &dealt, [("data-aligned", 1), ("data", 1)]);
    for contract in ["apart", "mixed"] {
        for alignment in [&first, &second] {
            all.refused(&all.ask(contract, alignment, 2 * ROOM, ""), "refused.dataset");
        }
    }
    // A kind that reads rows.
    all.refused(&all.world.job("kind = \"count/v1\"\ncontract = \"cross\"\n[params]\n"), "refused.dataset");
    // The second alignment serves as well as the first.
    all.agree("again", kinds, &dealt, [("data-aligned", 2); 2]);
    all.check(&all.ask("again", &second, 2 * ROOM, "").ok());
    // An owner is the recipient of sums with columns of its own where both have agreed to that by its name.
    for (contract, named, admits) in [("own", "", false), ("named", "\"bank\"", true)] {
        let alignment =
            format!("[alignment]\nlevels = [\"spine\"]\nkeys_min = 10\nrecipients_with_columns = [{named}]\n");
        let more = format!("operators = [\"bank\"]\n{dealt}{alignment}");
        all.agree(contract, kinds, &more, [("data-aligned", 2); 2]);
        let file = all.job_file(contract, &second, 2 * ROOM, "");
        let planned = all.world.run("bank", &["job", "plan", &file]).json;
        let said = |party: &str| {
            let all = planned["owners"].as_array().into_iter().flatten();
            all.filter(|o| o["party"] == party).map(|o| o["admits"].clone()).collect::<Vec<_>>()
        };
        assert_eq!([said("bank"), said("telecom")], [[json!(admits)], [json!(admits)]], "{planned}");
        let done = all.world.run("bank", &["job", "submit", &file, "--watch"]);
        match admits {
            true => all.check(&done.ok()),
            false => {
                all.refused(&done, "refused.recipient");
                assert!(done.json.to_string().contains("alignment.recipients_with_columns"), "{}", done.json);
            }
        }
        // Whoever is no owner gets them either way.
        all.check(&all.ask(contract, &second, 2 * ROOM, "").ok());
    }
    // An owner finds what its rows were computed on for, by their keys alone.
    let rows = |key: &str| -> Vec<Value> {
        let said = all.world.run("bank", &["data", "subject", "data", key]).ok();
        let uses = said["uses"].as_array().unwrap().iter().filter(|u| u["kind"] == "cross-stats/v1");
        uses.map(|u| if u["unknown"].is_null() { u["rows"].clone() } else { panic!("{u}") }).collect()
    };
    let trimmed = |(key, _): &&Row| key.as_ref().is_some_and(|k| !k.starts_with(' '));
    let (key, _) = all.tables[0].iter().find(trimmed).unwrap();
    let found = rows(key.as_deref().unwrap());
    assert!(found.len() >= 4 && found.iter().all(|n| n.as_u64() >= Some(1)), "{found:?}");
    assert_eq!(rows("Cust-99999"), Vec::<Value>::new());
    let (bundle, trust) = (all.world.folder().join("log.bundle"), all.world.folder().join("group.trust"));
    all.world.run("lab", &["receipt", "export", "--out", &shown(&bundle), "--trust", &shown(&trust)]).ok();
    let mut verify = Command::new(program("tacit-verify"));
    let report = World::finish(verify.arg(&bundle).arg("--trust").arg(&trust).arg("--json")).ok();
    assert_eq!(report["receipts"], report["valid"], "{report}");
}
