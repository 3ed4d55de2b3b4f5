//! A node is killed between its vote for a result and its attestation. When it is back the result's receipt becomes valid.
//!
//! Where a short moment has to be hit, another daemon is stopped (SIGSTOP) that all wait for, and goes on once the node is dead.
//! A job in which the moment was missed ends in peace, and the next one is tried.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tacit_engine::{Finished, JobView, Terminal, WorkerJob};
use tacit_governance::ColumnKind;
use tacit_node::Store;
use tacit_tests::craft::{self, Offer};
use tacit_tests::program::program;
use tacit_tests::signals::Signals;
use tacit_tests::world::{COORDINATOR, shown};
use tacit_tests::{Wire, World};
use tacit_types::{Attempt, Fault, JobId};

const OWNERS: [&str; 3] = ["a", "b", "c"];
const KINDS: [(&str, ColumnKind); 1] = [("n", ColumnKind::Int)];
/// Jobs within which the moment is hit.
const TRIES: u64 = 25;
/// How long a line of a log is waited for.
const LINE_WAIT: Duration = Duration::from_millis(1_500);

/// A world whose nodes say what they make durable, with an operator's line to the coordinator.
fn world(limits: &str) -> (World, Offer) {
    let mut world = World::new();
    world.level = "debug";
    world.coordinate();
    world.add_nodes(&OWNERS.map(|name| (name, "n\n1\n2\n3\n4\n5\n")), "after_compare,after_aggregate");
    let config = world.home(COORDINATOR).join("coordinator.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}[limits]\n{limits}")).unwrap();
    assert_eq!(world.stop(COORDINATOR), 0);
    world.start(COORDINATOR);
    world.wait_online("lab", OWNERS.len());
    world.agree("load", &OWNERS, 1_000, "");
    let offer = Offer::of(&world, "load", &KINDS);
    (world, offer)
}

fn submit(offer: &Offer, wire: &Wire, k: u64) -> JobId {
    let mut spec = offer.spec("count/v1", json!({"filter": "n >= 2"}), wire.seal().public(), k);
    spec.attempt_ms = 20_000;
    wire.submit(&craft::sign(&wire.key(), &spec)).unwrap()
}

/// Waits for a line of a node's log about a job.
fn says(world: &World, node: &str, job: &JobId, what: &str) -> Option<String> {
    let (begun, job) = (Instant::now(), job.short().to_string());
    while begun.elapsed() < LINE_WAIT {
        let log = world.log(node);
        if let Some(line) = log.lines().find(|line| line.contains(what) && line.contains(&job)) {
            return Some(line.to_owned());
        }
        std::thread::sleep(Duration::from_micros(300));
    }
    None
}

/// Reads a node's database beside the node itself.
fn with_store<T>(world: &World, owner: &str, read: impl AsyncFnOnce(&Store) -> Result<T, Fault>) -> T {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = Store::open(&world.home(owner).join("node.db")).await.unwrap();
        let value = read(&store).await.unwrap();
        store.close().await;
        value
    })
}

fn kept(world: &World, owner: &str, id: JobId) -> WorkerJob {
    with_store(world, owner, async |store| Ok(store.job(&id).await?.unwrap()))
}

/// What a node has committed to in the receipt of a job, by number.
fn openings(world: &World, owner: &str, id: JobId) -> BTreeMap<u8, u64> {
    let home = world.home(owner);
    let all = tacit_node::openings::list(&home).unwrap().into_iter();
    let opened = all.map(|(commitment, _)| tacit_node::openings::open(&home, &commitment).unwrap());
    opened.filter(|opening| opening.job == id).map(|opening| (opening.what, opening.value())).collect()
}

/// What the auditor's program says of the whole log.
fn audit(world: &World) -> Value {
    let (bundle, trust) = (world.folder().join("log.bundle"), world.folder().join("log.trust"));
    world.run("lab", &["receipt", "export", "--out", &shown(&bundle), "--trust", &shown(&trust)]).ok();
    let mut verify = Command::new(program("tacit-verify"));
    World::finish(verify.arg(&bundle).arg("--trust").arg(&trust).arg("--json")).json
}

/// Waits until nothing that a node has signed, or has to sign, is missing in the log.
fn logged(world: &World, owner: &str) {
    let begun = Instant::now();
    let waits = |world: &World| {
        with_store(world, owner, async |store| Ok(store.unlogged().await? > 0 || !store.owed().await?.is_empty()))
    };
    while waits(world) {
        assert!(begun.elapsed() < Duration::from_secs(60), "{owner}: {}", world.log(owner));
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The seat that aggregates, and the two others. It is the same in each first attempt.
fn roles(world: &World, offer: &Offer, wire: &Wire) -> (&'static str, [&'static str; 2]) {
    let view = wire.ended(submit(offer, wire, 1_000)).unwrap();
    assert_eq!(view.terminal, Some(Terminal::Succeeded), "{view:?}");
    let named = view.aggregator.unwrap().to_string();
    let (aggregator, others): (Vec<_>, Vec<_>) = OWNERS.iter().partition(|name| **name == named);
    assert!(world.log(aggregator[0]).contains("a vote is durable"));
    (aggregator[0], [others[0], others[1]])
}

#[test]
fn a_node_that_is_killed_after_its_vote_costs_no_result() {
    let (mut world, offer) = world("loss_ms = 3000\n");
    let wire = Wire::open(&world.home("lab")).unwrap();
    let (aggregator, [victim, _]) = roles(&world, &offer, &wire);
    let mut signals = Signals::new();
    let mut hit = false;
    for k in 0..TRIES {
        let id = submit(&offer, &wire, k);
        // The aggregator has kept its own and waits for the votes of the others.
        let begun = says(&world, aggregator, &id, "a vote is durable");
        signals.send("STOP", world.pid(aggregator));
        let voted = says(&world, victim, &id, "a vote is durable");
        // Time for the vote to leave; no verdict comes back.
        std::thread::sleep(Duration::from_millis(150));
        world.kill(victim);
        let died = kept(&world, victim, id);
        let died_with =
            with_store(&world, victim, async |store| store.begin().await?.asserted(&id, Attempt(died.attempt)).await);
        signals.send("CONT", world.pid(aggregator));
        let moment = died.kept.is_some() && died.finished.is_none();
        world.start(victim);
        let view: JobView = wire.ended(id).unwrap();
        eprintln!("job {k}: {:?}, voted {}, {:?}", begun.is_some(), voted.is_some() && moment, view.terminal);
        if moment && view.terminal == Some(Terminal::Succeeded) {
            let back = kept(&world, victim, id);
            assert!(back.untold && back.attested.is_some() && back.kept.is_none(), "{back:?}");
            assert!(world.log(victim).contains("the end that it voted for stands"));
            assert!(wire.result(id).is_ok(), "the result opens");
            // What it had counted of itself before it died is what it has attested.
            let died_with = died_with.expect("it is durable with the vote");
            let own = openings(&world, victim, id);
            let counted = [died_with.rows_scanned.unwrap(), died_with.cpu_ms, died_with.memory_bytes.unwrap()];
            assert_eq!((own.len(), [own[&1], own[&2], own[&3]]), (4, counted));
            assert_eq!(own[&1], 5, "the rows of its table");
            hit = true;
            break;
        }
    }
    assert!(hit, "in {TRIES} jobs no node died between its vote and its end, and was waited for");
    logged(&world, victim);
    let report = audit(&world);
    assert_eq!((&report["valid"], &report["faults"]), (&report["receipts"], &json!([])), "{report}");
}

#[test]
fn a_receipt_that_was_closed_without_a_node_becomes_valid_when_it_is_back() {
    let (mut world, offer) = world("settle_ms = 1500\nclose_ms = 1000\nloss_ms = 3000\n");
    let wire = Wire::open(&world.home("lab")).unwrap();
    let (_, [victim, slow]) = roles(&world, &offer, &wire);
    let mut signals = Signals::new();
    let mut hit = None;
    for k in 0..TRIES {
        let id = submit(&offer, &wire, k);
        // One that has voted and does not report, so that nobody is asked to attest yet.
        let voted = says(&world, slow, &id, "a vote is durable");
        signals.send("STOP", world.pid(slow));
        let ended = says(&world, victim, &id, "an end is durable").is_some();
        let told = |wire: &Wire| {
            let view = wire.job(id).unwrap();
            view.timeline.iter().any(|e| e.what == "finished" && e.party.as_ref().is_some_and(|p| p.as_str() == victim))
        };
        let begun = Instant::now();
        while ended && !told(&wire) && begun.elapsed() < LINE_WAIT {
            std::thread::sleep(Duration::from_millis(2));
        }
        world.kill(victim);
        let died = kept(&world, victim, id);
        signals.send("CONT", world.pid(slow));
        let moment = matches!(died.finished, Some(Finished::Ok { .. })) && died.attested.is_none();
        let view = wire.ended(id).unwrap();
        eprintln!("job {k}: voted {}, ended {ended}, in time {moment}, {:?}", voted.is_some(), view.terminal);
        if moment && view.receipt.is_some() && view.result.is_some() {
            hit = Some(id);
            break;
        }
        world.start(victim);
        world.wait_online("lab", OWNERS.len());
    }
    let id = hit.unwrap_or_else(|| panic!("in {TRIES} jobs no node died between its end and its attestation"));
    let before = audit(&world);
    assert_ne!(before["valid"], before["receipts"], "the receipt lacks an attestation: {before}");
    world.start(victim);
    let begun = Instant::now();
    while kept(&world, victim, id).attested.is_none() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", world.log(victim));
        std::thread::sleep(Duration::from_millis(200));
    }
    logged(&world, victim);
    let report = audit(&world);
    assert_eq!((&report["valid"], &report["faults"]), (&report["receipts"], &json!([])), "{report}");
    assert_eq!(report["receipts"], before["receipts"]);
}
