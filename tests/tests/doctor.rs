//! `doctor` finds what is wrong with an installation, and nothing wrong with one that works: at a coordinator, a
//! node, and an operator.

use std::fs;
use std::net::UdpSocket;

use serde_json::Value;
use tacit_tests::world::{COORDINATOR, shown};
use tacit_tests::{World, free_port};

const LEVELS: &str = "after_compare,after_aggregate,after_group_by";
const TABLE: &str = "age,region\n31,north\n42,south\n53,north\n64,south\n";

/// One of the checks that a run names.
#[track_caller]
fn check(found: &Value, name: &str) -> Value {
    let checks = found["checks"].as_array().unwrap_or_else(|| panic!("{found}"));
    checks.iter().find(|c| c["check"] == name).unwrap_or_else(|| panic!("no `{name}` in {found}")).clone()
}

/// Everything is as it should be.
#[track_caller]
fn healthy(world: &World, party: &str) -> Value {
    let found = world.run(party, &["doctor"]).ok();
    assert_eq!(found["ok"], true, "{found}");
    found
}

/// A run that finds something wrong: this check, with this code and a hint, and an exit status.
#[track_caller]
fn ill(world: &World, party: &str, name: &str, code: &str) -> Value {
    let done = world.run(party, &["doctor"]);
    assert_eq!((done.status, &done.json["ok"]), (1, &Value::Bool(false)), "{}{}", done.json, done.stderr);
    let found = check(&done.json, name);
    assert_eq!((found["ok"].as_bool(), found["code"].as_str()), (Some(false), Some(code)), "{}", done.json);
    assert!(!found["hint"].as_str().unwrap().is_empty(), "{found}");
    done.json
}

fn listen(world: &World, party: &str, file: &str) -> String {
    let text = fs::read_to_string(world.home(party).join(file)).unwrap();
    text.lines().find(|l| l.starts_with("listen")).unwrap().split('"').nth(1).unwrap().to_owned()
}

#[test]
fn doctor_at_a_coordinator() {
    let mut world = World::new();
    let address = format!("127.0.0.1:{}", free_port());
    world.run(COORDINATOR, &["init", "--listen", &address, "--public", &address]).ok();
    let found = healthy(&world, COORDINATOR);
    assert!(check(&found, "port")["detail"].as_str().unwrap().contains("is free"), "{found}");
    world.start(COORDINATOR);
    world.join("a", "node");
    let found = healthy(&world, COORDINATOR);
    assert!(check(&found, "port")["detail"].as_str().unwrap().contains("is this daemon's"), "{found}");
    assert!(check(&found, "daemon")["detail"].as_str().unwrap().contains("a away"), "{found}");
    world.start("a");
    world.join("lab", "operator");
    world.wait_there("lab", 1);
    let found = healthy(&world, COORDINATOR);
    assert!(check(&found, "daemon")["detail"].as_str().unwrap().contains("a connected"), "{found}");
    // Another program has the port while the daemon is away.
    assert_eq!(world.stop(COORDINATOR), 0);
    let other = UdpSocket::bind(&address).unwrap();
    ill(&world, COORDINATOR, "port", "net.port_taken");
    drop(other);
    let found = healthy(&world, COORDINATOR);
    assert!(check(&found, "log and database")["detail"].as_str().unwrap().contains("leaves"), "{found}");
    // Its key file is damaged, then its database.
    let key = world.home(COORDINATOR).join("log.key");
    let good = fs::read(&key).unwrap();
    fs::write(&key, "half").unwrap();
    ill(&world, COORDINATOR, "log key", "config.malformed");
    fs::write(&key, good).unwrap();
    let path = world.home(COORDINATOR).join("coordinator.db");
    let mut bytes = fs::read(&path).unwrap();
    bytes[..16].fill(0x55);
    fs::write(&path, bytes).unwrap();
    ill(&world, COORDINATOR, "log and database", "store.corrupt");
}

#[test]
fn doctor_at_nodes_and_operators() {
    let mut world = World::with_nodes(&["a", "b"].map(|name| (name, TABLE)), LEVELS);
    let found = healthy(&world, "a");
    assert!(check(&found, "port")["detail"].as_str().unwrap().contains("is this daemon's"), "{found}");
    let b = listen(&world, "b", "node.toml");
    assert!(check(&found, "node b")["detail"].as_str().unwrap().contains(&b), "{found}");
    let found = healthy(&world, "lab");
    assert!(!found["checks"].as_array().unwrap().iter().any(|c| c["check"] == "port"), "{found}");
    // Looking did not cost anybody a connection.
    assert_eq!(world.log("b").matches("connected to the coordinator").count(), 1, "{}", world.log("b"));
    // A node that says it is where it is not: the coordinator has it, other nodes cannot reach it.
    let line = world.invite("c", "node");
    let (here, nowhere) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    world.run("c", &["join", &line, "--listen", &here, "--public", &nowhere]).ok();
    let file = world.write("c.csv", TABLE);
    world.run("c", &["data", "add", "data", &shown(&file), "--all", LEVELS]).ok();
    world.start("c");
    world.wait_online("lab", 3);
    ill(&world, "a", "node c", "net.unreachable");
    // One that is away is no fault of this installation.
    assert_eq!(world.stop("c"), 0);
    let begun = std::time::Instant::now();
    while world.run("a", &["doctor"]).status != 0 {
        assert!(begun.elapsed() < tacit_tests::world::START_WAIT, "{}", world.run("a", &["doctor"]).json);
    }
    // Another program has the node's port: another party's node, then one that speaks nothing of this.
    assert_eq!(world.stop("a"), 0);
    let found = healthy(&world, "a");
    assert!(check(&found, "port")["detail"].as_str().unwrap().contains("is free"), "{found}");
    let config = world.home("a").join("node.toml");
    let own = listen(&world, "a", "node.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace(&format!("listen = \"{own}\""), &format!("listen = \"{b}\""))).unwrap();
    ill(&world, "a", "port", "net.port_taken");
    fs::write(&config, &text).unwrap();
    let other = UdpSocket::bind(&own).unwrap();
    ill(&world, "a", "port", "net.port_taken");
    drop(other);
    healthy(&world, "a");
    // Certificates are warned of before they end, and when they have.
    let certified = |until: &str| {
        let more = format!("[[certificates]]\nissuer = \"CCRC\"\nscope = \"data security\"\nuntil = \"{until}\"\n");
        fs::write(&config, format!("{text}\n{more}")).unwrap();
        let done = world.run("a", &["doctor"]);
        (done.status, check(&done.json, "certificate data security"))
    };
    let day = |days: u64| {
        let now = tacit_types::UnixMillis(tacit_tests::craft::now().0 + days * 86_400_000);
        now.to_string()[..10].to_owned()
    };
    let (status, found) = certified(&day(40));
    assert!(status == 0 && found["ok"] == Value::Bool(true), "{found}");
    for (until, word) in [(day(20), "within 30 days"), (day(0), "has ended"), ("soon".into(), "soon")] {
        let (status, found) = certified(&until);
        assert!(status == 1 && found["ok"] == Value::Bool(false), "{found}");
        assert!(
            found["detail"].as_str().unwrap().contains(word) && !found["hint"].as_str().unwrap().is_empty(),
            "{found}"
        );
    }
    fs::write(&config, &text).unwrap();
    // The coordinator is another than the pinned one, or is away.
    let pin = text.lines().find(|l| l.starts_with("fingerprint")).unwrap();
    let wrong = tacit_crypto::SigningKey::from_seed(&tacit_crypto::Secret::new([7; 32])).id();
    fs::write(&config, text.replace(pin, &format!("fingerprint = \"{wrong}\""))).unwrap();
    ill(&world, "a", "coordinator key", "net.fingerprint");
    fs::write(&config, &text).unwrap();
    assert_eq!(world.stop(COORDINATOR), 0);
    ill(&world, "a", "coordinator path", "net.unreachable");
    ill(&world, "nobody", "configuration", "config.absent");
}
