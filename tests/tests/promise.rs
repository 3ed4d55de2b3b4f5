//! A coordinator that drops a receipt which it has promised: whoever holds the promise shows it to anyone with the log, takes
//! no more jobs of this coordinator, and goes on when its owner forgives.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tacit_tests::program::program;
use tacit_tests::world::{COORDINATOR, shown};
use tacit_tests::{Done, World};

const OWNERS: [&str; 3] = ["a", "b", "c"];
const PATIENCE: Duration = Duration::from_secs(100);

fn job(contract: &str) -> String {
    format!("kind = \"count/v1\"\ncontract = \"{contract}\"\n")
}

fn signal(world: &World, party: &str, name: &str) {
    let done = Command::new("kill").args([name, &world.pid(party).to_string()]).status();
    assert!(done.is_ok_and(|status| status.success()));
}

/// Waits for something that a command says.
#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> Option<Value>) -> Value {
    let begun = Instant::now();
    loop {
        if let Some(value) = holds() {
            return value;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn promises(world: &World, party: &str) -> Vec<Value> {
    world.run(party, &["receipt", "promises"]).ok().as_array().unwrap().clone()
}

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(done.is_ok_and(|status| status.success()));
}

fn verify(bundle: &str, trust: &str) -> Done {
    World::finish(Command::new(program("tacit-verify")).args([bundle, "--trust", trust, "--json"]))
}

#[test]
fn a_broken_promise_is_shown_to_anyone_and_ends_the_coordinators_jobs() {
    let tables = OWNERS.map(|owner| (owner, "n\n1\n2\n3\n4\n5\n6\n7\n8\n"));
    let mut world = World::with_nodes(&tables, "after_compare,after_aggregate,after_group_by");
    world.agree("good", &OWNERS, 100, "");
    world.agree("gone", &OWNERS, 100, "");
    // One owner decides before the others are asked: the one whose node has the least key.
    let id_of = |owner: &&str| tacit_net::keyfile::read_signing(&world.home(owner).join("node.key")).unwrap().id();
    let mut order = OWNERS;
    order.sort_by_key(id_of);
    let [first, refusing, silent] = order;
    let promised = [first, refusing];
    world.run(refusing, &["contract", "revoke", "gone"]).ok();
    // What its node notes of that in the log is not what the coordinator will forget.
    until("the revocation is noted", || {
        let found = world.run(refusing, &["doctor"]).json;
        let noted = found["checks"].as_array()?.iter().all(|check| check["check"] != json!("memos"));
        noted.then_some(found)
    });
    world.job(&job("good")).ok();
    for owner in OWNERS {
        assert_eq!(promises(&world, owner), Vec::<Value>::new(), "{owner} has seen the receipt");
    }
    // A coordinator that promises what it soon has to keep, and waits long for attestations.
    world.stop(COORDINATOR);
    let config = world.home(COORDINATOR).join("coordinator.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}\n[limits]\npromise_ms = 3000\nsettle_ms = 600000\n")).unwrap();
    let kept = world.folder().join("kept");
    copy(&world.home(COORDINATOR), &kept);
    world.start(COORDINATOR);
    world.wait_online("lab", OWNERS.len());

    // One owner refuses once the others have admitted, and one does not come to attest: two have, and are promised the receipt.
    signal(&world, refusing, "-STOP");
    let file = world.write("gone.toml", job("gone"));
    let id = world.run("lab", &["job", "submit", &shown(&file)]).ok()["id"].as_str().unwrap().to_owned();
    until("the others decide", || {
        let shown = world.run("lab", &["job", "show", &id]).ok();
        let standing = |name: &str| {
            let party = shown["parties"].as_array()?.iter().find(|p| p["name"] == json!(name))?.clone();
            party["standing"].as_str().map(str::to_owned)
        };
        (standing(first)? == "admitted" && standing(silent)? == "admitted").then(|| shown.clone())
    });
    signal(&world, silent, "-STOP");
    signal(&world, refusing, "-CONT");
    for owner in promised {
        let held = until("the promise", || promises(&world, owner).first().cloned());
        assert_eq!((&held["job"], &held["standing"]), (&json!(id), &json!("open")), "{held}");
    }
    // The coordinator forgets the job: its folder is as it was before.
    world.kill(COORDINATOR);
    signal(&world, silent, "-CONT");
    std::fs::remove_dir_all(world.home(COORDINATOR)).unwrap();
    copy(&kept, &world.home(COORDINATOR));
    world.start(COORDINATOR);
    world.wait_online("lab", OWNERS.len());
    until("the deadline", || promises(&world, first).first().filter(|p| p["standing"] == "overdue").cloned());
    // Witnesses' clocks have whole seconds.
    std::thread::sleep(Duration::from_millis(1_200));
    // Nothing convicts before witnesses have seen the log after the deadline.
    world.job(&job("good")).ok();
    for owner in promised {
        until("the conviction", || promises(&world, owner).first().filter(|p| p["standing"] == "unkept").cloned());
    }
    assert_eq!(promises(&world, silent), Vec::<Value>::new(), "it was promised nothing");
    let refused = world.job(&job("good"));
    assert!(refused.status != 0 && refused.json.to_string().contains("refused.promise_unkept"), "{}", refused.json);

    // The evidence, for anyone with the keys.
    let [bundle, trust, promise] =
        ["unkept.bundle", "group.trust", "promise.cose"].map(|n| shown(&world.folder().join(n)));
    world
        .run("lab", &["receipt", "export", "--out", &shown(&world.folder().join("log.bundle")), "--trust", &trust])
        .ok();
    world.run(first, &["receipt", "promises", &id, "--evidence", &bundle, "--out", &promise]).ok();
    let report = verify(&bundle, &trust);
    assert_eq!(report.status, 6, "{}{}", report.json, report.stderr);
    let codes: Vec<&str> =
        report.json["faults"].as_array().unwrap().iter().filter_map(|f| f["code"].as_str()).collect();
    assert!(codes.contains(&"receipt.promise_unkept"), "{codes:?}");
    // The rest of it is what became of the chains of those who attested.
    assert!(codes.iter().all(|c| ["receipt.promise_unkept", "receipt.sequence_gap"].contains(c)), "{codes:?}");
    // A byte of it changed, it convicts nobody.
    let mut forged = std::fs::read(&bundle).unwrap();
    let at = forged.len() - 10;
    forged[at] ^= 1;
    let forged = shown(&world.write("forged.bundle", forged));
    let done = verify(&forged, &trust);
    let codes: Vec<&str> =
        done.json["faults"].as_array().into_iter().flatten().filter_map(|f| f["code"].as_str()).collect();
    assert!(done.status != 0 && !codes.contains(&"receipt.promise_unkept"), "{}", done.json);

    // The early warning of who holds the promise, by itself; of who was told, with the file.
    let rules = |party: &str, more: &[&str]| -> Vec<Value> {
        let done = world.run(party, &[&["log", "warn"], more].concat());
        assert_eq!(done.status, 6, "{}", done.json);
        done.json["alerts"].as_array().unwrap().iter().map(|a| a["rule"].clone()).collect()
    };
    assert!(rules(first, &[]).contains(&json!("promise")));
    assert!(!rules("lab", &[]).contains(&json!("promise")), "it was told nothing");
    assert!(rules("lab", &["--promise", &promise]).contains(&json!("promise")));

    // The owners go on.
    world.run(silent, &["receipt", "promises", &id, "--forgive"]).fails("receipt.unknown");
    for owner in promised {
        let done = world.run(owner, &["receipt", "promises", &id, "--forgive"]).ok();
        assert_eq!(done["standing"], "forgiven");
        world.run(owner, &["receipt", "promises", &id, "--forgive"]).fails("receipt.unknown");
    }
    world.job(&job("good")).ok();
}
