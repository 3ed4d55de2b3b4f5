//! The examples of docs/SCORING.md with the real credit table: trees, a network and a rule, file by file and command by
//! command, held to what the models' own libraries predict.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use tacit_tests::{World, repo};

const NODES: [&str; 4] = ["bank", "telecom", "shop", "notary"];
const FILES: [&str; 5] =
    ["credit-contract.toml", "applicants.txt", "trees-job.toml", "network-job.toml", "rule-job.toml"];
/// How far a score of trees, and one of the network, may be from the library's.
const ERRORS: [f64; 2] = [1e-6, 1e-3];

/// What the libraries predict for a customer: of trees, and of the network.
fn predicted() -> BTreeMap<String, [f64; 2]> {
    let text = repo::text(Path::new("examples/credit/expected.csv"));
    let row = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        (fields[0].to_owned(), [fields[2], fields[3]].map(|f| f.parse().unwrap()))
    };
    text.lines().skip(1).map(row).collect()
}

#[test]
fn the_examples_with_the_credit_table_work_as_they_stand() {
    let page = repo::text(Path::new("docs/SCORING.md"));
    let page = format!("\n## 9. {}", page.split_once("\n## 9. ").unwrap().1);
    let mut world = World::with_coordinator();
    NODES.iter().for_each(|party| world.join(party, "node"));
    world.join("lab", "operator");
    let examples = "examples/credit";
    std::fs::create_dir_all(world.folder().join(examples)).unwrap();
    for file in repo::files(examples) {
        std::fs::copy(repo::root().join(&file), world.folder().join(&file)).unwrap();
    }
    for file in FILES {
        world.write(file, repo::snippet(&page, file));
    }
    let keys: Vec<&str> = repo::snippet(&page, "applicants.txt").lines().collect();
    let predicted = predicted();
    let mut results = Vec::new();
    for line in page.split("```console\n").skip(1).flat_map(|b| b.split_once("```").unwrap().0.lines()) {
        let (party, command) = line.split_once("$ tacit ").unwrap();
        let words: Vec<&str> = command.split_whitespace().collect();
        if words.starts_with(&["contract", "draft"]) {
            // The nodes run once data and models are there.
            NODES.iter().for_each(|party| world.start(party));
            world.wait_there("lab", NODES.len());
        }
        let done = World::finish(world.command(party, &words).current_dir(world.folder()).arg("--json")).ok();
        if words.starts_with(&["job", "submit"]) {
            assert_eq!(done["state"], json!("succeeded"), "{done}");
            results.push(done["result"].clone());
        }
    }
    let [trees, network, rule] = &results[..] else { panic!("{} results", results.len()) };
    for (which, (result, error)) in [trees, network].into_iter().zip(ERRORS).enumerate() {
        let rows = result["scores"].as_array().unwrap();
        assert_eq!(rows.len(), keys.len());
        for (row, key) in rows.iter().zip(&keys) {
            assert_eq!(row["key"], json!(key));
            let Some(wanted) = predicted.get(*key) else {
                assert_eq!((*key, &row["score"]), ("X-0001", &Value::Null));
                continue;
            };
            let score = row["score"].as_f64().unwrap();
            assert!((score - wanted[which]).abs() <= error, "{key}: {score}, not {}", wanted[which]);
            let shown = if which == 0 { format!("{score:.6}") } else { format!("{score:.4}") };
            assert!(page.contains(&shown), "the page does not say that {key} scores {shown}");
        }
    }
    let answers = [true, false, true, false].into_iter().zip(&keys);
    let wanted: Vec<Value> = answers.map(|(yes, key)| json!({"key": key, "decision": yes})).collect();
    assert_eq!(rule["decisions"], json!(wanted));
    assert!(page.contains("Yes for `C-0138` and `C-0868`, no for `C-0583` and `X-0001`."));
}
