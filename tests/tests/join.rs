//! Setting up may stop anywhere: for a kill, a lost answer, a disk that is full. The same command, given again,
//! does what is left, and nobody is enrolled twice.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tacit_tests::world::COORDINATOR;
use tacit_tests::{World, free_port};

/// The names that the coordinator has, in the order of their enrolment.
fn enrolled(world: &World) -> Vec<String> {
    let log = world.log(COORDINATOR);
    let lines = log.lines().filter(|line| line.contains(" enrolled name="));
    lines.filter_map(|line| Some(line.split("name=").nth(1)?.split(' ').next()?.to_owned())).collect()
}

fn root(joined: &Value) -> String {
    joined["root"].as_str().unwrap().to_owned()
}

#[test]
fn a_join_that_failed_once_the_coordinator_knew_is_repeated() {
    let mut world = World::with_coordinator();
    let line = world.invite("a", "node");
    let address = format!("127.0.0.1:{}", free_port());
    let join = ["join", &line, "--listen", &address, "--public", &address];
    // A folder in the place of the file that becomes the configuration: the last write of a join fails.
    let in_the_way = world.home("a").join("node.toml.tmp");
    fs::create_dir_all(&in_the_way).unwrap();
    world.run("a", &join).fails("io.failed");
    assert_eq!(enrolled(&world).len(), 1, "it failed before it was enrolled: {}", world.log(COORDINATOR));
    assert!(!world.home("a").join("node.toml").exists());
    let key = fs::read(world.home("a").join("root.key")).unwrap();
    // The code is that folder's, and nobody else's; nor is the name to be had by another invitation.
    world.run("thief", &join).fails("invite.used");
    let second = world.invite("a", "node");
    world.run("thief", &["join", &second]).fails("net.refused");
    // A restart forgets none of it.
    assert_eq!(world.stop(COORDINATOR), 0);
    world.start(COORDINATOR);
    world.invite("other", "node");
    world.run("thief", &join).fails("invite.used");
    fs::remove_dir(&in_the_way).unwrap();
    world.run("a", &join).ok();
    assert_eq!(fs::read(world.home("a").join("root.key")).unwrap(), key);
    world.run("a", &join).fails("config.exists");
    world.join("lab", "operator");
    world.start("a");
    world.wait_there("lab", 1);
}

#[test]
fn a_join_that_lost_its_folder_but_for_the_keys_takes_a_new_invitation() {
    let world = World::with_coordinator();
    let first = world.run("a", &["join", &world.invite("a", "operator")]).ok();
    fs::remove_file(world.home("a").join("node.toml")).unwrap();
    let again = world.run("a", &["join", &world.invite("a", "operator")]).ok();
    assert_eq!(root(&first), root(&again));
    world.run("a", &["contract", "list"]).ok();
}

#[test]
fn a_join_is_killed_at_every_moment_and_repeated() {
    let world = World::with_coordinator();
    let mut kills = 0;
    let mut after_enrolment = 0;
    for name in ["a", "b"] {
        let line = world.invite(name, "node");
        let address = format!("127.0.0.1:{}", free_port());
        let join = ["join", &line, "--listen", &address, "--public", &address, "--json"];
        let mut pause = Duration::ZERO;
        loop {
            let mut command = world.command(name, &join);
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            std::thread::sleep(pause);
            child.kill().unwrap();
            let output = child.wait_with_output().unwrap();
            if world.home(name).join("node.toml").exists() {
                break;
            }
            // Until it is killed nothing is wrong with it; but those that were killed hold their places among newcomers
            // until the coordinator notices.
            let said = String::from_utf8_lossy(&output.stderr);
            if said.contains("[net.refused]") {
                std::thread::sleep(Duration::from_millis(500));
                continue;
            }
            assert_eq!(output.status.code(), None, "{said}");
            kills += 1;
            after_enrolment += usize::from(enrolled(&world).iter().any(|n| n == name));
            pause += Duration::from_millis(if name == "a" { 9 } else { 13 });
        }
        // What it wrote last says that it has joined.
        world.run(name, &join[..6]).fails("config.exists");
        world.run(name, &["contract", "list"]).ok();
    }
    eprintln!("{kills} joins were killed, {after_enrolment} of them when the coordinator had enrolled the party");
    assert!(kills > 4, "{kills}");
}

#[test]
fn an_init_that_failed_is_repeated_with_the_same_keys() {
    let mut world = World::new();
    let address = format!("127.0.0.1:{}", free_port());
    let init = ["init", "--listen", &address, "--public", &address];
    let in_the_way = world.home(COORDINATOR).join("coordinator.toml.tmp");
    fs::create_dir_all(&in_the_way).unwrap();
    world.run(COORDINATOR, &init).fails("io.failed");
    let key = fs::read(world.home(COORDINATOR).join("root.key")).unwrap();
    // One of two keys was never made.
    fs::remove_file(world.home(COORDINATOR).join("log.key")).unwrap();
    fs::remove_dir(&in_the_way).unwrap();
    world.run(COORDINATOR, &init).ok();
    assert_eq!(fs::read(world.home(COORDINATOR).join("root.key")).unwrap(), key);
    world.run(COORDINATOR, &init).fails("config.exists");
    world.start(COORDINATOR);
    world.join("a", "node");
    // Nobody's folder becomes another's.
    world.run("a", &init).fails("config.exists");
    let line = world.invite("b", "node");
    world.run(COORDINATOR, &["join", &line]).fails("config.exists");
    world.run("b", &["join", &line]).ok();
}
