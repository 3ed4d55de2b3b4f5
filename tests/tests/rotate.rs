//! Partners change the keys of their nodes and witnesses while the others go on: ids, contracts and quotas stay, receipts of
//! before and after verify, and who has the key of before has nothing once its time is over.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tacit_crypto::{Rng, Secret, SigningKey};
use tacit_engine::ToCoordinator;
use tacit_net::keyfile;
use tacit_receipts::{KeyRole, PartyRotation};
use tacit_tests::program::program;
use tacit_tests::world::{COORDINATOR, shown};
use tacit_tests::{Done, Wire, World};
use tacit_types::wire::Blob;
use tacit_types::{Code, UnixMillis};

const OWNERS: [&str; 3] = ["a", "b", "c"];
const JOB: &str = "kind = \"count/v1\"\ncontract = \"group\"\n";
const ORIGIN: &str = "test.tacit/usage/2026";
/// Jobs that the contract allows.
const QUOTA: u64 = 7;

fn verify(arguments: &[&str]) -> Done {
    World::finish(Command::new(program("tacit-verify")).args(arguments).arg("--json"))
}

fn world() -> World {
    let tables: Vec<(&str, &str)> = OWNERS.iter().map(|owner| (*owner, "n\n1\n2\n3\n4\n5\n6\n7\n8\n")).collect();
    let world = World::with_nodes(&tables, "after_compare,after_aggregate,after_group_by");
    world.agree("group", &OWNERS, QUOTA, "");
    world.job(JOB).ok();
    world
}

fn restart(world: &mut World, owner: &str) {
    world.stop(owner);
    world.start(owner);
    world.wait_online("lab", OWNERS.len());
}

fn rotate(world: &World, owner: &str, more: &[&str]) -> Value {
    world.run(owner, &[&["node", "rotate"], more].concat()).ok()
}

/// The keys of one party in a role, as a listing has them.
fn keys(world: &World, asker: &str, party: &str, role: &str) -> Vec<Value> {
    let all = world.run(asker, &["node", "keys"]).ok();
    let of = |row: &&Value| row["party"] == party && row["role"] == role;
    all.as_array().unwrap().iter().filter(of).cloned().collect()
}

fn key(home: &Path) -> SigningKey {
    keyfile::read_signing(&home.join("node.key")).unwrap()
}

/// Waits until a node mirrors as much of the log as `lab` is shown.
fn wait_mirrored(world: &World, owner: &str) {
    let bundle = shown(&world.folder().join("now.bundle"));
    let written = world.run("lab", &["receipt", "export", "--out", &bundle]).ok();
    let (wanted, begun) = (written["leaves"].as_u64().unwrap_or_else(|| panic!("{written}")), Instant::now());
    let held = |done: Done| done.json["size"].as_u64().unwrap_or_default();
    while held(world.run(owner, &["log", "mirror"])) < wanted {
        assert!(begun.elapsed() < Duration::from_secs(60), "{owner} does not mirror: {}", world.log(owner));
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The key to which everybody connects stays; what the coordinator says in the log is signed with the next one.
#[test]
fn the_coordinator_changes_the_key_of_its_receipts_and_everybody_follows() {
    let mut world = world();
    let path = |name: &str| shown(&world.folder().join(name));
    let [first, bundle, newest, single] = ["first.trust", "log.bundle", "newest.trust", "single.bundle"].map(path);
    world.run("lab", &["receipt", "export", "--out", &bundle, "--trust", &first]).ok();
    let rotate = ["log", "rotate", "--key", "receipts", "--overlap-hours", "1"];
    world.run(COORDINATOR, &rotate).fails("store.locked");
    world.stop(COORDINATOR);
    let changed = world.run(COORDINATOR, &rotate).ok();
    world.run(COORDINATOR, &rotate).fails("receipt.key_rotation");
    world.start(COORDINATOR);
    world.wait_online("lab", OWNERS.len());
    let done = world.job(JOB).ok();
    // One that was away reads the change when it is back.
    restart(&mut world, "c");
    world.job(JOB).ok();
    let known = keys(&world, "a", ORIGIN, "coordinator");
    assert_eq!((known.len(), &known[1]["key"], &known[0]["key"]), (2, &changed["new"], &changed["old"]));

    world.run("lab", &["receipt", "export", "--out", &bundle, "--trust", &newest]).ok();
    for trust in [&first, &newest] {
        let report = verify(&[&bundle, "--trust", trust]).ok();
        assert_eq!((&report["valid"], &report["receipts"]), (&json!(3), &json!(3)), "{report}");
        let shown = report["party_keys"].as_array().unwrap();
        assert!(shown.iter().any(|k| k["key"] == changed["new"] && k["role"] == "coordinator"), "{report}");
    }
    let last = done["receipt"].as_u64().unwrap().to_string();
    world.run("lab", &["receipt", "export", &last, "--out", &single]).ok();
    verify(&[&single, "--trust", &newest]).ok();
    world.stop(COORDINATOR);
    world.run(COORDINATOR, &["log", "fsck"]).ok();
    world.start(COORDINATOR);
    world.wait_online("lab", OWNERS.len());
    world.job(JOB).ok();
}

#[test]
fn partners_change_their_keys_and_everybody_follows() {
    let mut world = world();
    let path = |name: &str| shown(&world.folder().join(name));
    let [first_bundle, first, bundle, newest] = ["first.bundle", "first.trust", "log.bundle", "newest.trust"].map(path);
    let [one, single] = ["one.receipt", "single.bundle"].map(path);
    world.run("lab", &["receipt", "export", "--out", &first_bundle, "--trust", &first]).ok();
    let before = key(&world.home("b"));
    assert_eq!(keys(&world, "lab", "b", "node").len(), 1);

    // While the node runs: it goes on with the key of before until it is started again.
    let changed = rotate(&world, "b", &[]);
    assert_eq!((&changed["id"], &changed["old"]), (&json!(before.id().to_string()), &json!(before.id().to_string())));
    world.job(JOB).ok();
    restart(&mut world, "b");
    world.job(JOB).ok();
    world.run("b", &["node", "rotate"]).fails("receipt.key_rotation");
    let known = keys(&world, "a", "b", "node");
    assert_eq!((known.len(), &known[1]["key"], &known[1]["from_ms"]), (2, &changed["new"], &changed["from_ms"]));
    assert_eq!(known[0]["until_ms"], changed["until_ms"]);

    // A node that was away, and a witness.
    world.stop("c");
    rotate(&world, "a", &["--overlap-hours", "1"]);
    world.stop("a");
    world.start("a");
    world.start("c");
    world.wait_online("lab", OWNERS.len());
    world.job(JOB).ok();
    let cosigner = rotate(&world, "c", &["--key", "witness", "--overlap-hours", "1"]);
    assert_eq!(keys(&world, "b", "c", "witness")[1]["key"], cosigner["new"]);
    restart(&mut world, "c");
    world.stop(COORDINATOR);
    world.start(COORDINATOR);
    world.wait_online("lab", OWNERS.len());
    world.job(JOB).ok();

    // The contract of before is in force, and its quota goes on.
    let mut done = Value::Null;
    for _ in 5..QUOTA {
        done = world.job(JOB).ok();
    }
    let over = world.job(JOB);
    assert!(over.status != 0 && over.json["code"] == "refused.quota", "{}{}", over.json, over.stderr);
    let valid = QUOTA + 1;

    world.run("lab", &["receipt", "export", "--out", &bundle, "--trust", &newest]).ok();
    for trust in [&first, &newest] {
        verify(&[&first_bundle, "--trust", trust]).ok();
        let report = verify(&[&bundle, "--trust", trust]).ok();
        assert_eq!((&report["valid"], &report["receipts"]), (&json!(valid), &json!(valid)), "{report}");
        let shown = report["party_keys"].as_array().unwrap();
        assert_eq!(shown.len(), 6, "{report}");
        assert!(shown.iter().any(|k| k["key"] == changed["new"] && k["id"] == changed["id"]), "{report}");
    }
    wait_mirrored(&world, "a");
    let mirror = shown(&world.home("a").join("mirror"));
    verify(&["--dir", &mirror, "--trust", &newest]).ok();
    // Of a single receipt only the trust file, or its own bundle, says whose the key is.
    let last = done["receipt"].as_u64().unwrap().to_string();
    world.run("lab", &["receipt", "export", &last, "--out", &single]).ok();
    let written = world.run("lab", &["receipt", "export", &last, "--format", "tlog-proof", "--out", &one]).ok();
    let proof = written["proof"].as_str().unwrap();
    verify(&[&single, "--trust", &newest]).ok();
    verify(&["--receipt", &one, "--proof", proof, "--trust", &newest]).ok();
    assert_ne!(verify(&["--receipt", &one, "--proof", proof, "--trust", &first]).status, 0);
    world.stop(COORDINATOR);
    world.run(COORDINATOR, &["log", "fsck"]).ok();
}

#[test]
fn the_key_of_before_has_nothing_once_its_time_is_over() {
    let mut world = world();
    let home = world.home("b");
    let thief = key(&home);
    let changed = rotate(&world, "b", &["--overlap-hours", "0"]);
    let from = UnixMillis(changed["from_ms"].as_u64().unwrap());

    // Who has it is told why it is refused.
    let refused = Wire::open_as(&home, &thief).err().unwrap();
    assert_eq!(refused.code, Code::ReceiptKeyRetired, "{refused}");
    restart(&mut world, "b");
    world.job(JOB).ok();
    // It goes with the first start after its time that finds the change in what the node itself has read of the log.
    let gone = (0..20).any(|_| {
        restart(&mut world, "b");
        !home.join("node.key.before").exists()
    });
    assert!(gone, "the key of before is still there");

    // A second successor, whoever hands it in.
    let another = SigningKey::generate(&mut Rng::from_seed(&Secret::new([9; 32])));
    let of = (KeyRole::Node, thief.id());
    let rival = PartyRotation::sign(ORIGIN, of, (&thief, &another), (from, from.plus(3_600_000)));
    let wire = Wire::open(&home).unwrap();
    let hand_in = |wire: &Wire, change: &[u8]| wire.ask(&ToCoordinator::Rotate(Blob(change.to_vec())));
    assert_eq!(hand_in(&wire, rival.bytes()).unwrap_err().code, Code::ReceiptKeyRotation);
    // One of another party's key, and one for a key that is somebody's.
    let wire_of_c = Wire::open(&world.home("c")).unwrap();
    assert_eq!(hand_in(&wire_of_c, rival.bytes()).unwrap_err().code, Code::NetRefused);
    let (own, theirs) = (key(&world.home("c")), key(&world.home("a")));
    let at = now();
    let taken = PartyRotation::sign(ORIGIN, (KeyRole::Node, own.id()), (&own, &theirs), (at, at));
    assert_eq!(hand_in(&wire_of_c, taken.bytes()).unwrap_err().code, Code::ReceiptKeyRotation);
    let long_ago = UnixMillis(at.0 - 3_600_000);
    let late = PartyRotation::sign(ORIGIN, (KeyRole::Node, own.id()), (&own, &another), (long_ago, at));
    assert_eq!(hand_in(&wire_of_c, late.bytes()).unwrap_err().code, Code::ReceiptTime);
    world.job(JOB).ok();

    // What was cut off before the answer came: the same command ends it, with the key that comes.
    let c = world.home("c");
    let next = SigningKey::generate(&mut Rng::from_seed(&Secret::new([7; 32])));
    keyfile::write_new(&c.join("node.key.next"), &next.to_seed()).unwrap();
    let at = now();
    let change = PartyRotation::sign(ORIGIN, (KeyRole::Node, own.id()), (&own, &next), (at, at));
    std::fs::write(c.join("node.key.change"), change.bytes()).unwrap();
    hand_in(&wire_of_c, change.bytes()).unwrap();
    let done = rotate(&world, "c", &[]);
    assert_eq!((&done["new"], &done["until_ms"]), (&json!(next.id().to_string()), &json!(at.0)));
    restart(&mut world, "c");
    world.job(JOB).ok();
    let (bundle, trust) = (shown(&world.folder().join("log.bundle")), shown(&world.folder().join("log.trust")));
    world.run("lab", &["receipt", "export", "--out", &bundle, "--trust", &trust]).ok();
    let report = verify(&[&bundle, "--trust", &trust]).ok();
    assert_eq!((&report["valid"], &report["receipts"]), (&json!(4), &json!(4)), "{report}");
}

fn now() -> UnixMillis {
    (tacit_net::system_clock())()
}
