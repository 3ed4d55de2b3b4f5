//! Disks that are full or fail under running daemons: a clear error with its code, nothing lost once there is
//! room again, and no daemon that goes on after a write of which nobody knows what became.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use tacit_engine::Terminal;
use tacit_governance::ColumnKind;
use tacit_tests::craft::{self, Offer};
use tacit_tests::disk::{Small, with_mounts};
use tacit_tests::world::{COORDINATOR, START_WAIT, shown};
use tacit_tests::{Wire, World, free_port, lacking};
use tacit_types::Code;

const OWNERS: [&str; 3] = ["a", "b", "c"];
const LEVELS: &str = "after_compare,after_aggregate,after_group_by";
const TABLE: &str = "age,region\n31,north\n42,south\n53,north\n64,south\n";
const KINDS: [(&str, ColumnKind); 2] = [("age", ColumnKind::Int), ("region", ColumnKind::Text)];

#[test]
fn a_full_disk_is_said_and_loses_nothing() {
    with_mounts("a_full_disk_is_said_and_loses_nothing", full_disk_is_said);
}

fn full_disk_is_said() {
    let world = World::with_coordinator();
    let disk = Small::mount(world.home("a"), 2);
    world.join("a", "node");
    let file = world.write("t.csv", TABLE);
    world.run("a", &["data", "add", "data", &shown(&file), "--all", LEVELS]).ok();
    let before = world.run("a", &["data", "show"]).ok();
    disk.fill();
    world.run("a", &["data", "add", "more", &shown(&file), "--all", LEVELS]).fails("store.full");
    disk.free();
    assert_eq!(world.run("a", &["data", "show"]).ok(), before);
    world.run("a", &["data", "add", "more", &shown(&file), "--all", LEVELS]).ok();
}

/// The `k`th job under the contract `good`.
fn job(offer: &Offer, wire: &Wire, k: u64) -> Vec<u8> {
    let spec = offer.spec("count/v1", json!({"filter": "age >= 18"}), wire.seal().public(), k);
    craft::sign(&wire.key(), &spec)
}

/// Runs the `k`th job to a good end.
#[track_caller]
fn succeeds(world: &World, offer: &Offer, k: u64) {
    let wire = Wire::open(&world.home("lab")).unwrap();
    let view = wire.ended(wire.submit(&job(offer, &wire, k)).unwrap()).unwrap();
    assert_eq!(view.terminal, Some(Terminal::Succeeded), "{:?}", view.timeline);
}

/// The states of the jobs that a node keeps, newest first.
fn states(world: &World, owner: &str) -> Vec<String> {
    let jobs = world.run(owner, &["node", "jobs"]).ok();
    jobs.as_array().into_iter().flatten().map(|j| j["state"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Waits until a node has heard how its jobs ended.
#[track_caller]
fn settles(world: &World, owner: &str, wanted: &[&str]) {
    let begun = Instant::now();
    while states(world, owner) != wanted {
        assert!(begun.elapsed() < START_WAIT, "{:?} {}", states(world, owner), world.log(owner));
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_node_on_a_full_disk_takes_no_job_and_loses_none() {
    with_mounts("a_node_on_a_full_disk_takes_no_job_and_loses_none", node_on_a_full_disk);
}

fn node_on_a_full_disk() {
    let mut world = World::with_coordinator();
    let disk = Small::mount(world.home("a"), 4);
    world.add_nodes(&OWNERS.map(|name| (name, TABLE)), LEVELS);
    world.agree("good", &OWNERS, 50, "");
    let offer = Offer::of(&world, "good", &KINDS);
    succeeds(&world, &offer, 1);
    settles(&world, "a", &["succeeded"]);
    disk.fill();
    let wire = Wire::open(&world.home("lab")).unwrap();
    let view = wire.ended(wire.submit(&job(&offer, &wire, 2)).unwrap()).unwrap();
    let Some(Terminal::Failed { code, party, .. }) = &view.terminal else { panic!("{:?}", view.timeline) };
    assert_eq!((*code, party.as_ref().map(|p| p.as_str())), (Code::JobUnreachable, Some("a")), "{:?}", view.timeline);
    assert!(world.log("a").contains("store.full"), "{}", world.log("a"));
    assert!(world.runs("a"), "a full disk passes: {}", world.log("a"));
    disk.free();
    succeeds(&world, &offer, 3);
    settles(&world, "a", &["succeeded", "succeeded"]);
    // What was acknowledged is there after a restart, too.
    assert_eq!(world.stop("a"), 0);
    world.start("a");
    world.wait_online("lab", OWNERS.len());
    succeeds(&world, &offer, 4);
    settles(&world, "a", &["succeeded"; 3]);
}

#[test]
fn a_coordinator_on_a_full_disk_refuses_and_loses_nothing() {
    with_mounts("a_coordinator_on_a_full_disk_refuses_and_loses_nothing", coordinator_on_a_full_disk);
}

fn coordinator_on_a_full_disk() {
    let mut world = World::new();
    let disk = Small::mount(world.home(COORDINATOR), 4);
    world.coordinate();
    world.add_nodes(&OWNERS.map(|name| (name, TABLE)), LEVELS);
    world.agree("good", &OWNERS, 50, "");
    let offer = Offer::of(&world, "good", &KINDS);
    succeeds(&world, &offer, 1);
    let wire = Wire::open(&world.home("lab")).unwrap();
    disk.fill();
    // A row of the size of a job fits nowhere any more; a few small ones may still find a page.
    let begun = Instant::now();
    let mut taken = 0;
    let fault = loop {
        match wire.submit(&job(&offer, &wire, 100 + taken)) {
            Ok(_) => taken += 1,
            Err(fault) => break fault,
        }
        assert!(begun.elapsed() < START_WAIT, "{taken} jobs were taken on a full disk");
    };
    assert_eq!(fault.code, Code::StoreFull, "{fault}");
    assert!(world.runs(COORDINATOR), "a full disk passes: {}", world.log(COORDINATOR));
    disk.free();
    // What was taken goes on where it stopped, and new jobs run.
    for view in wire.jobs().unwrap() {
        let view = wire.ended(view.id).unwrap();
        assert!(view.terminal.is_some() && (view.receipt.is_some() || view.terminal != Some(Terminal::Succeeded)));
    }
    succeeds(&world, &offer, 2);
    let listed = wire.jobs().unwrap().len() as u64;
    assert_eq!(listed, taken + 2);
    drop(wire);
    assert_eq!(world.stop(COORDINATOR), 0);
    world.run(COORDINATOR, &["log", "fsck"]).ok();
    world.start(COORDINATOR);
    world.wait_online("lab", OWNERS.len());
    let wire = Wire::open(&world.home("lab")).unwrap();
    assert_eq!(wire.jobs().unwrap().len() as u64, listed);
    succeeds(&world, &offer, 3);
}

/// A daemon whose fsync fails from some call on.
fn failing(world: &World, party: &str, kind: &str, when: u32) -> Command {
    let plain = world.command(party, &["--log", "info", kind, "run"]);
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e"]);
    command.arg(format!("inject=fsync,fdatasync:error=EIO:when={when}+"));
    command.arg(plain.get_program()).args(plain.get_args()).stdin(Stdio::null());
    command
}

#[test]
fn a_failed_fsync_ends_the_daemon_and_a_restart_goes_on() {
    let mut world = World::with_nodes(&OWNERS.map(|name| (name, TABLE)), LEVELS);
    let traced = Command::new("strace").args(["-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    if !traced.is_ok_and(|s| s.success()) {
        return lacking("tracing", "a failing fsync: apt-get install -y strace, or a system that allows tracing");
    }
    world.agree("good", &OWNERS, 50, "");
    let offer = Offer::of(&world, "good", &KINDS);
    succeeds(&world, &offer, 1);
    settles(&world, "a", &["succeeded"]);
    for (k, (party, kind)) in [("a", "node"), (COORDINATOR, "coordinator")].into_iter().enumerate() {
        assert_eq!(world.stop(party), 0);
        let mut command = failing(&world, party, kind, 12);
        world.spawn(party, &mut command);
        let (home, begun) = (world.home("lab"), Instant::now());
        let mut bytes = None;
        while world.runs(party) {
            assert!(begun.elapsed() < Duration::from_secs(60), "{party} goes on: {}", world.log(party));
            if let Ok(wire) = Wire::open(&home) {
                let job = bytes.get_or_insert_with(|| job(&offer, &wire, 10 + k as u64));
                let _ = wire.submit(job);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        let (status, log) = (world.ended(party, Duration::from_secs(1)), world.log(party));
        assert_eq!(status, i32::from(Code::StoreFailed.exit_status()), "{log}");
        assert!(log.contains("[store.failed]") || log.contains("[io.failed]"), "{log}");
        world.start(party);
        world.wait_online("lab", OWNERS.len());
        let bytes = bytes.unwrap_or_default();
        // The job that met the failure has its one end; others run.
        let wire = Wire::open(&home).unwrap();
        let view = wire.ended(wire.submit(&bytes).unwrap()).unwrap();
        assert!(view.terminal.is_some(), "{view:?}");
        succeeds(&world, &offer, 20 + k as u64);
    }
}

#[test]
fn whoever_sets_up_on_a_full_disk_repeats_the_command_once_there_is_room() {
    with_mounts("whoever_sets_up_on_a_full_disk_repeats_the_command_once_there_is_room", set_up_on_a_full_disk);
}

/// How much more room each try has.
const MORE_BYTES: u64 = 20 << 10;

fn set_up_on_a_full_disk() {
    let mut world = World::new();
    let address = format!("127.0.0.1:{}", free_port());
    let init = ["init", "--listen", &address, "--public", &address, "--origin", "test.tacit/usage/2026"];
    let disk = Small::mount(world.home(COORDINATOR), 4);
    // The first fits nothing; the last stops in the middle. Keys that were made are used by the next.
    for room in [0, 4 << 10, 8 << 10, 12 << 10] {
        disk.fill_but(room);
        let done = world.run(COORDINATOR, &init);
        disk.free();
        if done.status == 0 {
            break;
        }
        done.fails("store.full");
        assert!(!world.home(COORDINATOR).join("coordinator.toml").exists(), "{room} bytes of room");
        assert_eq!(keys_that_are_not_whole(&world, COORDINATOR), 0, "{room} bytes of room");
    }
    if !world.home(COORDINATOR).join("coordinator.toml").exists() {
        world.run(COORDINATOR, &init).ok();
    }
    world.run(COORDINATOR, &init).fails("config.exists");
    world.start(COORDINATOR);

    let invitation = world.invite("a", "node");
    let address = format!("127.0.0.1:{}", free_port());
    let join = ["join", &invitation, "--listen", &address, "--public", &address];
    let disk = Small::mount(world.home("a"), 4);
    let mut tries = 0;
    loop {
        disk.fill_but(tries * MORE_BYTES);
        let done = world.run("a", &join);
        disk.free();
        if done.status == 0 {
            break;
        }
        done.fails("store.full");
        assert!(!world.home("a").join("node.toml").exists(), "try {tries}");
        assert_eq!(keys_that_are_not_whole(&world, "a"), 0, "try {tries}");
        tries += 1;
        assert!(tries * MORE_BYTES < 4 << 20, "it never fits");
    }
    assert!(tries > 2, "the disk was never full");
    let file = world.write("t.csv", TABLE);
    world.run("a", &["data", "add", "data", &shown(&file), "--all", LEVELS]).ok();
    world.start("a");
    world.join("lab", "operator");
    world.wait_online("lab", 1);
}

/// Key files of a party that do not hold a key.
fn keys_that_are_not_whole(world: &World, party: &str) -> usize {
    let files = std::fs::read_dir(world.home(party)).unwrap().map(|entry| entry.unwrap().path());
    let keys = files.filter(|path| path.extension().is_some_and(|e| e == "key"));
    keys.filter(|path| std::fs::read_to_string(path).unwrap().len() != 65).count()
}

#[test]
fn an_export_on_a_full_disk_leaves_what_was_there() {
    with_mounts("an_export_on_a_full_disk_leaves_what_was_there", export_on_a_full_disk);
}

fn export_on_a_full_disk() {
    let world = World::with_nodes(&OWNERS.map(|name| (name, TABLE)), LEVELS);
    world.agree("good", &OWNERS, 50, "");
    let offer = Offer::of(&world, "good", &KINDS);
    succeeds(&world, &offer, 1);
    let disk = Small::mount(world.folder().join("out"), 1);
    let (file, trust) = (disk.path().join("log.bundle"), disk.path().join("log.trust"));
    let export = ["receipt", "export", "--out", &shown(&file), "--trust", &shown(&trust)];
    disk.fill();
    world.run("lab", &export).fails("store.full");
    assert!(!file.exists() && !trust.exists(), "half a bundle was left");
    disk.free();
    world.run("lab", &export).ok();
    let before = std::fs::read(&file).unwrap();
    succeeds(&world, &offer, 2);
    disk.fill();
    world.run("lab", &export).fails("store.full");
    assert_eq!(std::fs::read(&file).unwrap(), before, "an older bundle was lost");
    world.run("lab", &["receipt", "verify", &shown(&file), "--trust", &shown(&trust)]).ok();
    disk.free();
}
