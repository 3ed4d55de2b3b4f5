//! Commands that no other test calls, as people and programs call them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tacit_tests::World;
use tacit_tests::world::START_WAIT;

const OWNERS: [&str; 3] = ["a", "b", "c"];
const LEVELS: &str = "after_compare,after_aggregate,after_group_by";
const TABLE: &str = "age,region\n31,north\n42,south\n53,north\n64,south\n";
const COUNT: &str = "kind = \"count/v1\"\ncontract = \"good\"\n[params]\nfilter = \"age >= 18\"\n";

fn running() -> World {
    let world = World::with_nodes(&OWNERS.map(|name| (name, TABLE)), LEVELS);
    world.agree("good", &OWNERS, 50, "");
    world
}

#[test]
fn a_job_that_waits_is_cancelled_by_who_submitted_it() {
    let mut world = running();
    // The job finds a party away and cannot end by itself soon.
    assert_eq!(world.stop("c"), 0);
    let file = world.write("job.toml", COUNT);
    let id = world.run("lab", &["job", "submit", &file.display().to_string()]).ok()["id"].as_str().unwrap().to_owned();
    world.run("a", &["job", "cancel", &id]).fails("job.not_ours");
    world.run("lab", &["job", "cancel", &"ab".repeat(32)]).fails("job.unknown");
    let done = world.run("lab", &["job", "cancel", &id]).ok();
    assert_eq!(done, json!({"id": id, "cancelling": true}));
    let begun = Instant::now();
    let shown = loop {
        let shown = world.run("lab", &["job", "show", &id]).ok();
        if shown["state"] == "cancelled" {
            break shown;
        }
        assert!(begun.elapsed() < START_WAIT, "{shown}");
        std::thread::sleep(Duration::from_millis(100));
    };
    assert!(shown["receipt"].is_null() || shown["receipt"].is_u64(), "{shown}");
    world.run("lab", &["job", "result", &id]).fails("job.cancelled");
    // Once more changes nothing, and others go on.
    world.run("lab", &["job", "cancel", &id]);
    assert_eq!(world.run("lab", &["job", "show", &id]).ok()["state"], "cancelled");
    world.start("c");
    world.wait_online("lab", OWNERS.len());
    world.job(COUNT).ok();
    verify_the_live_log(&world);
}

fn verify_the_live_log(world: &World) {
    let receipts = world.run("lab", &["receipt", "list"]).ok().as_array().unwrap().len();
    let report = world.run("lab", &["receipt", "verify"]).ok();
    assert_eq!((&report["receipts"], &report["valid"]), (&json!(receipts), &json!(receipts)), "{report}");
    assert!(receipts > 0);
    // Another log's trust does not fit.
    world.run("lab", &["receipt", "verify", "/nowhere/log.bundle"]).fails("io.failed");
}

#[test]
fn templates_are_job_files() {
    let world = World::with_coordinator();
    let kinds = world.run("nobody", &["job", "template"]).ok();
    let kinds: Vec<&str> = kinds.as_array().unwrap().iter().map(|k| k["kind"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"stats/v1") && kinds.contains(&"count/v1"), "{kinds:?}");
    for kind in kinds {
        let file = world.run("nobody", &["job", "template", kind, "--contract", "health-2026"]).ok();
        let text = file["file"].as_str().unwrap();
        let table: toml::Table = text.parse().unwrap_or_else(|e| panic!("{kind}: {e}\n{text}"));
        assert_eq!((table["kind"].as_str(), table["contract"].as_str()), (Some(kind), Some("health-2026")));
    }
    world.run("nobody", &["job", "template", "magic/v1"]).fails("refused.kind");
}

#[test]
fn a_command_line_that_is_wrong_is_said_in_json_too() {
    let world = World::new();
    for (arguments, named) in [
        (&["nonsense"][..], "nonsense"),
        (&["job", "submit"], "<FILE>"),
        (&["job", "submit", "a", "b"], "b"),
        (&["invite", "--colour", "red"], "--colour"),
        (&["--lang", "fr", "doctor"], "fr"),
        (&["invite", "--role", "node", "--name", "x", "--hours", "many"], "many"),
        (&[], "command"),
    ] {
        let what = world.run("nobody", arguments).fails("args.invalid");
        assert!(what.contains(named), "{arguments:?}: {what}");
    }
    // Help that was asked for is no fault, with or without.
    for arguments in [&["--help"][..], &["job", "submit", "--help"], &["--version"]] {
        let done = world.run("nobody", arguments);
        assert_eq!((done.status, done.stderr.as_str(), &done.json), (0, "", &Value::Null), "{arguments:?}");
    }
    // Without `--json` it is text on standard error alone.
    let output = world.command("nobody", &["nonsense"]).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(2), true));
    assert!(String::from_utf8(output.stderr).unwrap().contains("nonsense"));
}
