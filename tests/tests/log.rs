//! The log's life through processes: proofs in every form, mirrors that nodes keep, a flipped bit that is named, and a
//! coordinator whose disk is lost or goes back to yesterday.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tacit_receipts::{Checkpoint, KeyKind, VerifierKey};
use tacit_tests::program::program;
use tacit_tests::world::{COORDINATOR, shown};
use tacit_tests::{Done, World};

const OWNERS: [&str; 3] = ["a", "b", "c"];
const JOB: &str = "kind = \"count/v1\"\ncontract = \"group\"\n";

fn world() -> World {
    let tables: Vec<(&str, String)> =
        OWNERS.iter().map(|owner| (*owner, (0..8).fold("n\n".to_owned(), |t, i| format!("{t}{i}\n")))).collect();
    let tables: Vec<(&str, &str)> = tables.iter().map(|(name, table)| (*name, table.as_str())).collect();
    let world = World::with_nodes(&tables, "after_compare,after_aggregate,after_group_by");
    world.agree("group", &OWNERS, 100, "");
    world
}

fn verify(arguments: &[&str]) -> Done {
    World::finish(Command::new(program("tacit-verify")).args(arguments).arg("--json"))
}

/// The leaves of the log as its files have it.
fn size(log: &Path) -> u64 {
    let note = std::fs::read_to_string(log.join("checkpoint")).unwrap_or_default();
    note.lines().nth(1).and_then(|line| line.parse().ok()).unwrap_or(0)
}

#[track_caller]
fn wait_mirrored(world: &World, owner: &str) {
    let begun = Instant::now();
    let wanted = size(&world.home(COORDINATOR).join("log"));
    while size(&world.home(owner).join("mirror")) < wanted {
        assert!(begun.elapsed() < Duration::from_secs(60), "{owner} does not mirror: {}", world.log(owner));
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Flips one bit in the newest bundle of leaves and gives its path below the log.
fn flip(log: &Path) -> String {
    let path = format!("tile/entries/000.p/{}", size(log));
    let mut bytes = std::fs::read(log.join(&path)).unwrap();
    bytes[700] ^= 0x10;
    std::fs::write(log.join(&path), bytes).unwrap();
    path
}

#[test]
fn proofs_in_every_form_verify_and_a_damaged_or_lost_log_comes_back() {
    let mut world = world();
    let done = world.job(JOB).ok();
    world.job(JOB).ok();
    let job = done["job"].as_str().or(done["id"].as_str()).unwrap_or_default().to_owned();
    proofs(&world, &job);
    OWNERS.iter().for_each(|owner| wait_mirrored(&world, owner));
    for owner in OWNERS {
        let held = world.run(owner, &["log", "mirror"]).ok();
        assert_eq!(held["size"], json!(size(&world.home(COORDINATOR).join("log"))));
    }

    second_history(&world);

    // A bit that flips while the coordinator runs: found and named, and nothing is signed over it. A mirror that is handed
    // the damaged leaf takes it for no other history, and has the log once it is repaired.
    let log = world.home(COORDINATOR).join("log");
    world.stop("c");
    std::fs::remove_dir_all(world.home("c").join("mirror")).unwrap();
    let path = flip(&log);
    world.start("c");
    let said = |world: &World, party: &str, words: &str| {
        let begun = Instant::now();
        while !world.log(party).contains(words) {
            assert!(begun.elapsed() < Duration::from_secs(30), "{}", world.log(party));
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    said(&world, COORDINATOR, "bit 4 of byte 700 was flipped");
    said(&world, "c", "its leaves are asked for again");
    assert!(!world.home("c").join("mirror/refused.checkpoint").exists());
    assert_eq!(world.job(JOB).code(), "log.corrupt");
    world.run(COORDINATOR, &["log", "repair"]).fails("store.locked");
    world.stop(COORDINATOR);
    let said = world.run(COORDINATOR, &["log", "fsck"]).fails("log.corrupt");
    assert!(said.contains(&format!("{path}: ")) && said.contains("bit 4 of byte 700 was flipped"), "{said}");
    let repaired = world.run(COORDINATOR, &["log", "repair"]).ok();
    assert_eq!(repaired["written"], json!([path]));
    world.run(COORDINATOR, &["log", "fsck"]).ok();

    // All files are lost.
    std::fs::remove_dir_all(&log).unwrap();
    std::fs::create_dir_all(&log).unwrap();
    world.run(COORDINATOR, &["log", "repair"]).fails("log.corrupt");
    let from = shown(&world.home("b").join("mirror"));
    world.run(COORDINATOR, &["log", "repair", "--from", &from]).ok();
    world.run(COORDINATOR, &["log", "fsck"]).ok();
    world.start(COORDINATOR);
    world.wait_online("lab", OWNERS.len());
    world.job(JOB).ok();
    OWNERS.iter().for_each(|owner| wait_mirrored(&world, owner));
    yesterday(&mut world);
}

/// The whole folder as it was before the last job, as from a backup: the witnesses do not let it go on, the mirrors have
/// what is missing.
fn yesterday(world: &mut World) {
    let home = world.home(COORDINATOR);
    let (log, kept) = (home.join("log"), world.folder().join("kept"));
    world.stop(COORDINATOR);
    copy(&home, &kept);
    world.start(COORDINATOR);
    world.wait_online("lab", OWNERS.len());
    world.job(JOB).ok();
    OWNERS.iter().for_each(|owner| wait_mirrored(world, owner));
    let newest = size(&log);
    world.stop(COORDINATOR);
    std::fs::remove_dir_all(&home).unwrap();
    copy(&kept, &home);
    assert!(size(&log) < newest);
    world.start(COORDINATOR);
    let begun = Instant::now();
    while !world.log(COORDINATOR).contains("the log went back behind what was seen before") {
        assert!(begun.elapsed() < Duration::from_secs(30), "{}", world.log(COORDINATOR));
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(world.job(JOB).code(), "log.rollback");
    world.stop(COORDINATOR);
    let from: Vec<String> = OWNERS.iter().map(|owner| shown(&world.home(owner).join("mirror"))).collect();
    let arguments = ["log", "repair", "--from", &from[0], "--from", &from[1], "--from", &from[2]];
    assert_eq!(world.run(COORDINATOR, &arguments).ok()["size"], json!(newest));
    world.start(COORDINATOR);
    world.wait_online("lab", OWNERS.len());
    world.job(JOB).ok();
    let bundle = shown(&world.folder().join("after.bundle"));
    let trust = shown(&world.folder().join("after.trust"));
    world.run("lab", &["receipt", "export", "--out", &bundle, "--trust", &trust]).ok();
    let report = verify(&[&bundle, "--trust", &trust]).ok();
    assert_eq!((&report["ok"], &report["receipts"]), (&json!(true), &json!(5)), "{report}");
}

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(done.is_ok_and(|status| status.success()), "{} to {}", from.display(), to.display());
}

/// A smaller log that somebody was shown, signed by the log's key: a node's mirror shows that it is of another history.
fn second_history(world: &World) {
    let path = |name: &str| shown(&world.folder().join(name));
    let (note, folder, trust) = (path("shown.checkpoint"), path("history"), path("group.trust"));
    let key = tacit_net::keyfile::read_signing(&world.home(COORDINATOR).join("log.key")).expect("log.key");
    let own = std::fs::read_to_string(world.home("a").join("mirror/checkpoint")).unwrap();
    let (origin, size) = (own.lines().next().unwrap(), size(&world.home("a").join("mirror")));
    let log = VerifierKey::new(origin, KeyKind::Ed25519, key.id()).unwrap();
    let head = Checkpoint { origin: origin.into(), size: size - 1, root: tacit_types::Hash([7; 32]) };
    std::fs::write(&note, head.sign(&log, &key).unwrap().to_bytes()).unwrap();
    let written = world.run("a", &["log", "evidence", &folder, "--note", &note]).ok();
    assert_eq!(written["sizes"], json!([size, size - 1]));
    let files: Vec<&str> = written["files"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let [held, offered, prefix] = files[..] else { panic!("{written}") };
    let proven = verify(&["--fork", held, offered, prefix, "--trust", &trust]).ok();
    assert_eq!((&proven["ok"], &proven["sizes"]), (&json!(true), &json!([size, size - 1])));
    assert_eq!(verify(&["--fork", held, offered, "--trust", &trust]).status, 6, "two sizes show nothing alone");
    // The mirror's own head is of no other history.
    std::fs::write(&note, &own).unwrap();
    world.run("a", &["log", "evidence", &folder, "--note", &note]).fails("log.proof");
}

fn proofs(world: &World, job: &str) {
    let path = |name: &str| shown(&world.folder().join(name));
    let [bundle, trust, policy, one, cose] =
        ["log.bundle", "group.trust", "group.policy", "one.receipt", "one.cose"].map(path);
    let listed = world.run("lab", &["receipt", "list"]).ok();
    let place = listed[0]["leaf"].as_u64().unwrap().to_string();
    assert!(job.is_empty() || listed[0]["job"] == json!(job), "{listed}");
    world.run("lab", &["receipt", "export", "--out", &bundle, "--trust", &trust, "--policy", &policy]).ok();
    let proof = ["receipt", "export", &place, "--format", "tlog-proof", "--out", &one];
    let written = world.run("lab", &proof).ok();
    let proof = written["proof"].as_str().unwrap();
    world.run("lab", &["receipt", "export", &place, "--format", "cose", "--out", &cose]).ok();
    assert_eq!(verify(&[&bundle, "--trust", &trust]).ok()["valid"], json!(2));
    assert_eq!(verify(&["--receipt", &one, "--proof", proof, "--trust", &trust]).ok()["valid"], json!(1));
    let included = |shown: Value| (shown["leaf"].to_string(), shown["witnesses"].as_u64());
    let by_policy = verify(&["--receipt", &one, "--proof", proof, "--policy", &policy]).ok();
    let (leaf, witnesses) = included(by_policy);
    assert_eq!(leaf, place);
    assert!(witnesses >= Some(2), "{witnesses:?}");
    assert_eq!(included(verify(&["--receipt", &cose, "--trust", &trust]).ok()), (place, None));
    assert_eq!(verify(&["--receipt", &cose, "--proof", proof, "--trust", &trust]).status, 6, "another leaf's bytes");
}
