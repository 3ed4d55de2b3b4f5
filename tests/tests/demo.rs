//! The demonstrations, as anyone would run them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tacit_tests::World;
use tacit_tests::program::program;

/// Joint statistics are those of the pooled rows, the refusal has its receipt, a killed node is done without, and what is left
/// running answers.
#[test]
fn statistics_of_the_demonstration_are_those_of_the_pooled_rows() {
    program("tacit-verify");
    let mut command = Command::new(program("tacit"));
    command.args(["demo", "--json", "--keep"]).env_remove("TACIT_HOME").stdin(Stdio::null());
    let shown = World::finish(&mut command).ok();
    let kept = Kept(shown["kept"]["folder"].as_str().unwrap().to_owned());
    assert_eq!(shown["sound"], json!(true), "{shown}");
    let jobs = shown["jobs"].as_array().unwrap();
    // Statistics of three columns in all and in two groups, with the rows of each; five bins and three quartiles; two
    // matrices of nine and the rows; a count, a mean and twelve quartiles.
    let compared: Vec<u64> = jobs.iter().map(|j| j["compared"].as_u64().unwrap()).collect();
    assert_eq!(compared[..2], [3 * 3 * 5 + 3, 5 + 3 * 2], "{shown}");
    for job in jobs {
        assert_eq!((&job["kind"], &job["state"]), (&json!("stats/v1"), &json!("succeeded")), "{job}");
        assert!(job["max_relative_error"].as_f64().unwrap() <= 1e-6 && job["compared"].as_u64() > Some(10), "{job}");
        assert!(job["id"].as_str().unwrap().len() == 64 && job["pooled"].is_object(), "{job}");
    }
    // By the rows themselves, counted here: 569 in all, of which the last hospital has those that the first three lack.
    let count = |job: &Value| job["result"]["measures"][0]["groups"][0]["count"].as_u64().unwrap();
    assert_eq!((jobs.len(), count(&jobs[0])), (4, 520));
    assert_eq!(jobs[3]["result"]["parties"], json!(3), "one of four was killed");
    assert!(count(&jobs[3]) < 569, "{}", jobs[3]);
    let refused = &shown["refused"][0];
    assert_eq!((&refused["state"], &refused["code"]), (&json!("refused"), &json!("refused.column")), "{refused}");
    let leaves: BTreeSet<u64> = jobs.iter().chain([refused]).map(|j| j["receipt"].as_u64().unwrap()).collect();
    assert_eq!(leaves.len(), 5, "{shown}");
    let receipts = &shown["receipts"];
    assert!(receipts["count"].as_u64() >= Some(5) && receipts["count"] == receipts["valid"], "{receipts}");
    let egress = shown["egress"].as_array().unwrap();
    assert_eq!(egress.len(), 4);
    let mut much = 0;
    for node in egress {
        let sum: u64 = node["by_kind"].as_object().unwrap().values().map(|b| b.as_u64().unwrap()).sum();
        assert!(sum > 0 && node["bytes"] == json!(sum), "{node}");
        much += u32::from(sum > 10_000);
    }
    // A kill loses what the ledger had counted within the last fifth of a second.
    assert!(much >= 3, "{egress:?}");
    assert!(shown["seconds"].as_f64().unwrap() > 0.0);
    // What is left running answers to what is printed.
    let printed = shown["kept"]["try"].as_array().unwrap();
    assert!(printed.len() >= 3, "{printed:?}");
    for line in printed {
        let words: Vec<&str> = line.as_str().unwrap().split(' ').skip(1).collect();
        let mut command = Command::new(program("tacit"));
        command.arg("--json").args(&words).env_remove("TACIT_HOME").stdin(Stdio::null());
        World::finish(&mut command).ok();
    }
    drop(kept);
}

/// A world that is left running, ended and removed.
struct Kept(String);

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = Command::new("pkill").args(["-f", &self.0]).status();
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

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
    assert_eq!(kinds, ["score-linear/v1", "score-trees/v1", "score-trees/v1", "score-network/v1", "verify/v1"]);
    for (job, limit) in jobs.iter().zip([1e-6, 1e-6, 1e-6, 1e-3, 0.0]) {
        assert_eq!((&job["state"], &job["rows"]), (&json!("succeeded"), &json!(302)), "{job}");
        assert!(job["max_absolute_error"].as_f64().unwrap() <= limit && job["limit"] == json!(limit), "{job}");
    }
    let refused = &shown["refused"][0];
    assert_eq!((&refused["state"], &refused["code"]), (&json!("refused"), &json!("refused.quota")), "{refused}");
    let online = &shown["online"];
    assert!(online["max_absolute_error"].as_f64().unwrap() <= 1e-6, "{online}");
    assert!(online["counted"].as_u64().unwrap() >= online["calls"].as_u64().unwrap(), "{online}");
    assert!(online["p50_ms"].as_f64().unwrap() <= online["p99_ms"].as_f64().unwrap(), "{online}");

    assert_eq!((&shown["call"]["ok"], &shown["call"]["keys"]), (&json!(true), &json!(1)), "{}", shown["call"]);

    let leaf = |value: &Value| value["receipt"].as_u64().unwrap_or_else(|| panic!("{value}"));
    let leaves: BTreeSet<u64> = jobs.iter().chain([refused, online]).map(leaf).collect();
    assert_eq!(leaves.len(), 7, "{shown}");
    assert_eq!(shown["receipts"], json!({"count": 7, "valid": 7, "exit_status": 0}));
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
    let groups = shown["counted"]["groups"].as_object().unwrap();
    assert!(groups.len() == 4 && groups.values().all(|n| n.as_u64() > Some(10)), "{groups:?}");
    assert_eq!(shown["counted"]["groups"], shown["counted"]["expected_groups"]);
    assert_eq!(shown["refused"][0]["code"], json!("refused.alignment"));
    // The spine: ids for the customers of either, for every row that has a key, and not one row less at either.
    let spine = &shown["spine"];
    for owner in spine["found"].as_array().unwrap() {
        assert!(owner["rows"].as_u64().unwrap() > 700 && owner["rows"] == owner["expected"], "{owner}");
    }
    assert!(spine["ids"].as_u64() > shown["aligned"]["customers"].as_u64(), "{spine}");
    for saw in [&shown["aligned"]["saw"], &spine["saw"]] {
        for node in saw["nodes"].as_array().unwrap() {
            assert!(node["masked_points"].as_u64().unwrap() > 1000, "{node}");
        }
        let opened: Vec<&str> =
            saw["opened"].as_array().unwrap().iter().map(|one| one["what"].as_str().unwrap()).collect();
        assert!(opened.contains(&"sizes of the lists") && opened.len() >= 2, "{opened:?}");
    }
    // What goes together over the ids, beside the same of the rows in one place.
    let across = &shown["across"];
    assert!(across["customers"].as_u64().unwrap() > 500 && across["customers"] == across["expected"], "{across}");
    let pairs = across["pairs"].as_array().unwrap();
    assert_eq!(pairs.len(), 4);
    for pair in pairs {
        let [found, pooled] = ["correlation", "pooled"].map(|field| pair[field].as_f64().unwrap());
        assert!((found - pooled).abs() < 1e-9 && pooled.abs() > 0.01, "{pair}");
    }
    assert_eq!(shown["receipts"], json!({"count": 5, "valid": 5, "exit_status": 0}));
    for node in shown["egress"].as_array().unwrap() {
        assert!(node["by_kind"]["masked points"].as_u64().unwrap() > 1000, "{node}");
    }
}

/// The processes of this machine whose command line names the folder.
fn running(folder: &Path) -> Vec<String> {
    let folder = folder.display().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|p| std::fs::read(p.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).filter(|line| line.contains(&folder)).collect()
}

/// Whoever interrupts a demonstration is left with none of its keys and none of its processes, kept or not.
#[test]
fn an_interrupted_demonstration_leaves_nothing() {
    program("tacit-verify");
    let cases = [("INT", 130, false), ("TERM", 143, false), ("TERM", 143, true), ("HUP", 129, false)];
    for (signal, status, keep) in cases {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(program("tacit"));
        command.args(["demo", "align"]).args(keep.then_some("--keep"));
        command.env_remove("TACIT_HOME").env("TMPDIR", folder.path());
        let mut demo = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let begun = Instant::now();
        // Two daemons at least, and keys on the disk.
        let daemons = || running(folder.path()).iter().filter(|line| line.trim_end().ends_with(" run")).count();
        while daemons() < 2 {
            let ended = demo.try_wait().unwrap();
            assert!(
                ended.is_none() && begun.elapsed() < Duration::from_secs(60),
                "{ended:?}, {:?}",
                running(folder.path())
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        let pid = demo.id().to_string();
        assert!(Command::new("kill").args([&format!("-{signal}"), &pid]).status().unwrap().success());
        let begun = Instant::now();
        let ended = loop {
            match demo.try_wait().unwrap() {
                Some(ended) => break ended,
                None => std::thread::sleep(Duration::from_millis(20)),
            }
            if begun.elapsed() > Duration::from_secs(30) {
                demo.kill().unwrap();
                panic!("{signal}: it goes on");
            }
        };
        assert_eq!(ended.code(), Some(status), "{signal}");
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().path()).collect();
        assert!(left.is_empty(), "{signal}, kept {keep}: {left:?}");
        // A command that was under way is killed as it is dropped.
        let begun = Instant::now();
        while !running(folder.path()).is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(5), "{signal}: {:?}", running(folder.path()));
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
