//! The log changes its key, with an overlap and without one: nodes follow by themselves, and who has only the trust file
//! from before verifies what came after.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tacit_tests::program::program;
use tacit_tests::world::{COORDINATOR, shown};
use tacit_tests::{Done, World};

const OWNERS: [&str; 3] = ["a", "b", "c"];
const JOB: &str = "kind = \"count/v1\"\ncontract = \"group\"\n";

fn verify(arguments: &[&str]) -> Done {
    World::finish(Command::new(program("tacit-verify")).args(arguments).arg("--json"))
}

/// The codes of a report that is not valid.
fn codes(done: Done) -> Vec<String> {
    assert_eq!(done.status, 6, "{}{}", done.json, done.stderr);
    let report = done.json;
    let of = |fault: &Value| fault["code"].as_str().unwrap_or_default().to_owned();
    match report["error"].as_object() {
        Some(_) => vec![of(&report["error"])],
        None => report["faults"].as_array().unwrap().iter().map(of).collect(),
    }
}

fn rotate(world: &mut World, hours: &str) -> Value {
    world.run(COORDINATOR, &["log", "rotate"]).fails("store.locked");
    world.stop(COORDINATOR);
    let done = world.run(COORDINATOR, &["log", "rotate", "--overlap-hours", hours]).ok();
    world.run(COORDINATOR, &["log", "fsck"]).ok();
    done
}

fn go_on(world: &mut World) {
    world.start(COORDINATOR);
    world.wait_online("lab", OWNERS.len());
    world.job(JOB).ok();
}

#[test]
fn the_log_changes_its_key_and_everybody_follows() {
    let tables: Vec<(&str, &str)> = OWNERS.iter().map(|owner| (*owner, "n\n1\n2\n3\n4\n5\n6\n7\n8\n")).collect();
    let mut world = World::with_nodes(&tables, "after_compare,after_aggregate,after_group_by");
    world.agree("group", &OWNERS, 100, "");
    world.job(JOB).ok();
    let path = |name: &str| shown(&world.folder().join(name));
    let [first_bundle, first, old_cose] = ["first.bundle", "first.trust", "old.cose"].map(path);
    let [bundle, newest, single, one, cose] =
        ["log.bundle", "newest.trust", "single.bundle", "one.receipt", "one.cose"].map(path);
    world.run("lab", &["receipt", "export", "--out", &first_bundle, "--trust", &first]).ok();
    let place = world.run("lab", &["receipt", "list"]).ok()[0]["leaf"].as_u64().unwrap().to_string();
    world.run("lab", &["receipt", "export", &place, "--format", "cose", "--out", &old_cose]).ok();

    // Without an overlap, and one node away meanwhile; then with one, and a node that starts anew.
    world.stop("c");
    let one_change = rotate(&mut world, "0");
    world.start("c");
    go_on(&mut world);
    let other_change = rotate(&mut world, "168");
    assert_eq!(other_change["old"], one_change["new"]);
    world.run(COORDINATOR, &["log", "rotate"]).fails("log.key_rotation");
    go_on(&mut world);
    world.stop("b");
    world.start("b");
    world.wait_online("lab", OWNERS.len());
    world.job(JOB).ok();
    for owner in OWNERS {
        let begun = Instant::now();
        let size = |done: Done| done.ok()["size"].as_u64().unwrap();
        while size(world.run(owner, &["log", "mirror"])) < 8 {
            assert!(begun.elapsed() < Duration::from_secs(60), "{owner} does not mirror: {}", world.log(owner));
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    assert_eq!(world.run("lab", &["receipt", "verify"]).ok()["valid"], json!(4));

    // The whole log, for who has the key that it began with, and for who has all of them.
    world.run("lab", &["receipt", "export", "--out", &bundle, "--trust", &newest]).ok();
    for trust in [&first, &newest] {
        let report = verify(&[&bundle, "--trust", trust]).ok();
        assert_eq!((&report["valid"], &report["receipts"]), (&json!(4), &json!(4)), "{report}");
        let keys: Vec<&Value> = report["log_keys"].as_array().unwrap().iter().map(|k| &k["key"]).collect();
        assert_eq!(keys, [&one_change["old"], &one_change["new"], &other_change["new"]]);
        assert_eq!(report["log_keys"][0]["until"], one_change["until_ms"]);
    }
    // What the first key signed in its time still holds.
    for trust in [&first, &newest] {
        verify(&[&first_bundle, "--trust", trust]).ok();
    }
    // Single receipts: a bundle brings the changes, the other forms need them in the trust file.
    let listed = world.run("lab", &["receipt", "list"]).ok();
    let last = listed.as_array().unwrap().iter().map(|r| r["leaf"].as_u64().unwrap()).max().unwrap().to_string();
    world.run("lab", &["receipt", "export", &last, "--out", &single]).ok();
    let written = world.run("lab", &["receipt", "export", &last, "--format", "tlog-proof", "--out", &one]).ok();
    let proof = written["proof"].as_str().unwrap();
    world.run("lab", &["receipt", "export", &last, "--format", "cose", "--out", &cose]).ok();
    verify(&[&single, "--trust", &first]).ok();
    verify(&["--receipt", &one, "--proof", proof, "--trust", &newest]).ok();
    verify(&["--receipt", &cose, "--trust", &newest]).ok();
    assert_eq!(codes(verify(&["--receipt", &one, "--proof", proof, "--trust", &first])), ["log.signature"]);
    assert_eq!(codes(verify(&["--receipt", &cose, "--trust", &first])), ["log.signature"]);
    // Nothing in it says when the first key signed it.
    verify(&["--receipt", &old_cose, "--trust", &first]).ok();
    assert_eq!(codes(verify(&["--receipt", &old_cose, "--trust", &newest])), ["log.key_retired"]);
    let page = Command::new(program("tacit-verify")).args([&bundle, "--trust", &first]).output().unwrap();
    let page = String::from_utf8(page.stdout).unwrap();
    assert_eq!(page.matches("\nlog key  ").count(), 3, "{page}");
}
