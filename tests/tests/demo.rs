//! The demonstration of scores, as anyone would run it.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tacit_tests::World;
use tacit_tests::program::program;

/// Every kind of score equals what the library gives, the refusal and the window have receipts, and each node's ledger is
/// shown.
#[test]
fn scores_of_the_demonstration_are_those_of_the_libraries() {
    // It runs the auditor's program beside its own.
    program("tacit-verify");
    let mut command = Command::new(program("tacit"));
    command.args(["demo", "scoring", "--json"]).env_remove("TACIT_HOME").stdin(Stdio::null());
    let shown = World::finish(&mut command).ok();
    assert_eq!(shown["sound"], json!(true), "{shown}");
    let jobs = shown["jobs"].as_array().unwrap();
    let kinds: Vec<&str> = jobs.iter().map(|j| j["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["score-linear/v1", "score-trees/v1", "score-network/v1", "verify/v1"]);
    for (job, limit) in jobs.iter().zip([1e-6, 1e-6, 1e-3, 0.0]) {
        assert_eq!((&job["state"], &job["rows"]), (&json!("succeeded"), &json!(302)), "{job}");
        assert!(job["max_absolute_error"].as_f64().unwrap() <= limit && job["limit"] == json!(limit), "{job}");
    }
    let refused = &shown["refused"][0];
    assert_eq!((&refused["state"], &refused["code"]), (&json!("refused"), &json!("refused.quota")), "{refused}");
    let online = &shown["online"];
    assert!(online["max_absolute_error"].as_f64().unwrap() <= 1e-6, "{online}");
    assert!(online["counted"].as_u64().unwrap() >= online["calls"].as_u64().unwrap(), "{online}");
    assert!(online["p50_ms"].as_f64().unwrap() <= online["p99_ms"].as_f64().unwrap(), "{online}");

    let leaf = |value: &Value| value["receipt"].as_u64().unwrap_or_else(|| panic!("{value}"));
    let leaves: BTreeSet<u64> = jobs.iter().chain([refused, online]).map(leaf).collect();
    assert_eq!(leaves.len(), 6, "{shown}");
    assert_eq!(shown["receipts"], json!({"count": 6, "valid": 6, "exit_status": 0}));
    let nodes: Vec<&str> =
        shown["egress"].as_array().unwrap().iter().map(|node| node["node"].as_str().unwrap()).collect();
    assert_eq!(nodes, ["bank", "telecom", "shop", "notary", "lender"]);
    for node in shown["egress"].as_array().unwrap() {
        let dealt = node["by_kind"]["randomness"].as_u64().unwrap_or(0) > 0;
        assert_eq!(dealt, node["node"] == json!("notary"), "{node}");
    }
}

/// What is aligned and counted is what a join in one place gives, and what would show too much is refused.
#[test]
fn customers_of_the_demonstration_are_those_of_a_join() {
    program("tacit-verify");
    let mut command = Command::new(program("tacit"));
    command.args(["demo", "align", "--json"]).env_remove("TACIT_HOME").stdin(Stdio::null());
    let shown = World::finish(&mut command).ok();
    assert_eq!(shown["sound"], json!(true), "{shown}");
    let found = shown["aligned"]["found"].as_array().unwrap();
    assert_eq!(found.len(), 2);
    for owner in found {
        assert!(owner["rows"].as_u64().unwrap() > 100 && owner["rows"] == owner["expected"], "{owner}");
        assert!(owner["rows"].as_u64() < owner["of"].as_u64(), "{owner}");
    }
    assert_eq!(shown["counted"]["keys"], shown["counted"]["expected"]);
    assert_eq!(shown["refused"][0]["code"], json!("refused.alignment"));
    assert_eq!(shown["receipts"], json!({"count": 3, "valid": 3, "exit_status": 0}));
    for node in shown["egress"].as_array().unwrap() {
        assert!(node["by_kind"]["masked points"].as_u64().unwrap() > 1000, "{node}");
    }
}
