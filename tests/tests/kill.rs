//! Daemons are killed with SIGKILL again and again while jobs are submitted without pause. Nothing
//! that was accepted may be lost, run twice, or end differently on two sides.
//!
//! `TACIT_KILL_CYCLES` sets the number of cycles; `cargo xtask kill --cycles 100` is the long form.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tacit_engine::Terminal;
use tacit_governance::ColumnKind;
use tacit_node::Store;
use tacit_tests::craft::{self, Offer};
use tacit_tests::program::program;
use tacit_tests::world::{COORDINATOR, shown};
use tacit_tests::{Wire, World};
use tacit_types::{Code, Fault, JobId};

const OWNERS: [&str; 3] = ["a", "b", "c"];
const KINDS: [(&str, ColumnKind); 2] = [("n", ColumnKind::Int), ("g", ColumnKind::Text)];
/// The rows of each owner, and what all rows together say: see [`answer`].
const TABLE: &str = "n,g\n1,x\n2,y\n3,x\n4,y\n5,x\n";
const QUOTA: u64 = 1_000_000;
/// Jobs that may be open at once: the load is steady and no queue runs full.
const OPEN_MAX: usize = 12;

fn cycles() -> u64 {
    let text = std::env::var("TACIT_KILL_CYCLES").unwrap_or_default();
    if text.is_empty() { 8 } else { text.parse().unwrap_or_else(|e| panic!("TACIT_KILL_CYCLES={text}: {e}")) }
}

/// The `k`th job: counts and statistics by turns.
fn job(offer: &Offer, wire: &Wire, k: u64) -> Vec<u8> {
    let (kind, params) = match k % 3 {
        0 => ("stats/v1", json!({"measures": [{"column": "n", "statistics": ["sum", "mean"]}]})),
        _ => ("count/v1", json!({"filter": "n >= 2"})),
    };
    let mut spec = offer.spec(kind, params, wire.seal().public(), k);
    spec.attempt_ms = 3_000;
    craft::sign(&wire.key(), &spec)
}

/// Submits without pause until told to stop, through every loss of the coordinator, and gives the ids
/// whose submission was acknowledged.
fn load(home: &std::path::Path, offer: &Offer, stop: &AtomicBool, accepted: &AtomicU64) -> Vec<JobId> {
    let (mut ids, mut k) = (Vec::new(), 0);
    while !stop.load(Ordering::SeqCst) {
        let Ok(wire) = Wire::open(home) else {
            std::thread::sleep(Duration::from_millis(50));
            continue;
        };
        let mut pending = job(offer, &wire, k);
        while !stop.load(Ordering::SeqCst) {
            // A submission whose answer was lost is repeated with the same bytes.
            match wire.submit(&pending) {
                Ok(id) => ids.push(id),
                Err(_) => break,
            }
            accepted.store(ids.len() as u64, Ordering::SeqCst);
            k += 1;
            pending = job(offer, &wire, k);
            let open = |wire: &Wire| {
                let recent = ids.iter().rev().take(OPEN_MAX);
                recent.filter(|id| wire.job(**id).is_ok_and(|view| view.terminal.is_none())).count()
            };
            while open(&wire) >= OPEN_MAX && !stop.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
    ids
}

/// Everything that an end says of itself.
const END: [&str; 5] = ["state", "code", "party", "step", "reason"];

/// An end as programs are shown it.
fn end(terminal: &Terminal) -> Value {
    json!({
        "state": terminal.word(), "code": terminal.code().map(|c| c.text()),
        "party": terminal.party().map(|party| party.as_str()), "step": terminal.step().map(|step| step.to_string()),
        "reason": terminal.reason(),
    })
}

/// The same of a job that a command shows.
fn shown_end(job: &Value) -> Value {
    END.map(|key| (key, job.get(key).unwrap_or_else(|| panic!("no {key}: {job}")).clone())).into_iter().collect()
}

/// Waits until every job has ended and every node has heard of it.
fn settle(world: &World) -> BTreeMap<String, Value> {
    let wire = Wire::open(&world.home("lab")).unwrap();
    let mut ends = BTreeMap::new();
    for id in wire.jobs().unwrap().iter().map(|view| view.id) {
        let view = wire.ended(id).unwrap_or_else(|f| panic!("job {}: {f}", id.short()));
        if view.terminal != Some(Terminal::Succeeded) && std::env::var_os("TACIT_KILL_SHOW").is_some() {
            let begun = view.submitted_at.0;
            let shown =
                view.timeline.iter().map(|e| format!("{} {} {:?} {}", e.at.0 - begun, e.what, e.party, e.detail));
            eprintln!("{}: {:#?}", id.short(), shown.collect::<Vec<_>>());
        }
        ends.insert(id.to_string(), end(&view.terminal.unwrap_or_else(|| panic!("no end"))));
    }
    let begun = Instant::now();
    loop {
        let open: usize = OWNERS
            .iter()
            .map(|owner| node_jobs(world, owner).iter().filter(|j| j["state"] == json!("open")).count())
            .sum();
        // What a receipt was closed without follows it into the log.
        let unlogged: u64 =
            OWNERS.iter().map(|owner| with_store(world, owner, async |store| store.unlogged().await)).sum();
        let owed: usize = OWNERS.iter().map(|o| with_store(world, o, async |store| store.owed().await).len()).sum();
        if open == 0 && unlogged == 0 && owed == 0 {
            return ends;
        }
        let waited = begun.elapsed() < Duration::from_secs(90);
        assert!(waited, "{open} jobs are open at nodes, {unlogged} attestations are not in the log, {owed} are owed");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn node_jobs(world: &World, owner: &str) -> Vec<Value> {
    world.run(owner, &["node", "jobs"]).ok().as_array().cloned().unwrap_or_default()
}

#[test]
fn nothing_is_lost_or_done_twice_when_daemons_are_killed() {
    let mut world =
        World::with_nodes(&OWNERS.map(|name| (name, TABLE)), "after_compare,after_aggregate,after_group_by");
    // A lost party is given up soon, so that the load does not wait most of the time.
    let config = world.home(COORDINATOR).join("coordinator.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text + "[limits]\nloss_ms = 1000\nadmit_ms = 6000\n").unwrap();
    assert_eq!(world.stop(COORDINATOR), 0);
    world.start(COORDINATOR);
    world.wait_online("lab", OWNERS.len());
    world.agree("load", &OWNERS, QUOTA, "");
    let begun = Instant::now();
    let offer = Offer::of(&world, "load", &KINDS);
    let (stop, accepted) = (AtomicBool::new(false), AtomicU64::new(0));
    let home = world.home("lab");
    let mut draw = 0x9e37_79b9_7f4a_7c15u64;
    let ids = std::thread::scope(|scope| {
        let loading = scope.spawn(|| load(&home, &offer, &stop, &accepted));
        for cycle in 0..cycles() {
            draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            std::thread::sleep(Duration::from_millis(300 + (draw >> 33) % 900));
            let node = OWNERS[(draw >> 45) as usize % OWNERS.len()];
            // The coordinator alone, a node alone, both: by turns.
            let victims = match cycle % 3 {
                0 => vec![COORDINATOR],
                1 => vec![node],
                _ => vec![COORDINATOR, node],
            };
            victims.iter().for_each(|victim| world.kill(victim));
            std::thread::sleep(Duration::from_millis((draw >> 20) % 300));
            for victim in &victims {
                world.start(victim);
            }
        }
        world.wait_online("lab", OWNERS.len());
        eprintln!("{:?}: {} cycles done", begun.elapsed(), cycles());
        // A last stretch in peace: the system still works.
        let before = accepted.load(Ordering::SeqCst);
        let begun = Instant::now();
        while accepted.load(Ordering::SeqCst) < before + 3 {
            assert!(begun.elapsed() < Duration::from_secs(60), "no job is accepted any more");
            std::thread::sleep(Duration::from_millis(50));
        }
        stop.store(true, Ordering::SeqCst);
        loading.join().unwrap_or_else(|_| panic!("the load failed"))
    });
    eprintln!("{:?}: load done", begun.elapsed());
    // A submission whose answer was lost may be there beyond those that were acknowledged.
    let ends = settle(&world);
    eprintln!("{:?}: every job has ended", begun.elapsed());
    let distinct: BTreeSet<String> = ids.iter().map(ToString::to_string).collect();
    assert_eq!(distinct.len(), ids.len(), "an id was given twice");
    assert!(distinct.iter().all(|id| ends.contains_key(id)), "an acknowledged job is gone");
    let succeeded = ends.values().filter(|e| e["state"] == "succeeded").count();
    let mut words: BTreeMap<String, usize> = BTreeMap::new();
    ends.values().for_each(|e| *words.entry(format!("{} {}", e["state"], e["code"])).or_default() += 1);
    eprintln!("{} cycles, {} jobs: {words:?}", cycles(), ids.len());
    let busy = ends.values().filter(|end| end["code"] == "job.busy").count();
    // What is left fails by a rule: a node whose masked input has left masks no other.
    assert!(succeeded * 3 > ends.len() && busy * 20 <= ends.len(), "jobs outlive the loss of a daemon: {words:?}");
    assert_eq!(ends[&ids[ids.len() - 1].to_string()]["state"], "succeeded", "the last job ran in peace");
    check(&mut world, &offer, &ends);
}

/// The result of a job that succeeded: each party that is in it once and whole, nobody else, and no fewer than the
/// contract asks for.
fn answer(wire: &Wire, id: JobId) {
    let result = wire.result(id).unwrap_or_else(|f| panic!("the result of {}: {f}", id.short()));
    let parties = result["parties"].as_u64().unwrap_or_else(|| panic!("{result}"));
    assert!((2..=OWNERS.len() as u64).contains(&parties), "{}: {result}", id.short());
    let wanted = match &result["measures"][0]["groups"][0] {
        Value::Null => json!(4 * parties),
        group => {
            assert_eq!(
                (&group["sum"], &group["mean"]),
                (&json!(15 * parties), &json!(3.0)),
                "{}: {result}",
                id.short()
            );
            json!([{"group": "all", "rows": 5 * parties}])
        }
    };
    assert_eq!(result["rows"], wanted, "{}: {result}", id.short());
}

/// The counter against which an owner holds the contract's quota, read as the owner's node reads it.
fn used(world: &World, owner: &str, offer: &Offer) -> u64 {
    with_store(world, owner, async |store| store.begin().await?.jobs_used(&offer.contract).await)
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

/// The same end at the coordinator and at every node, one receipt for each job that a party attested,
/// clean log, valid bundle, and a quota that counts at least what was admitted.
fn check(world: &mut World, offer: &Offer, ends: &BTreeMap<String, Value>) {
    let wire = Wire::open(&world.home("lab")).unwrap();
    let listed = wire.jobs().unwrap();
    let at_coordinator: BTreeMap<String, _> =
        listed.iter().map(|v| (v.id.to_string(), v.terminal.as_ref().map(end))).collect();
    assert_eq!(at_coordinator.len(), listed.len(), "a job stands twice at the coordinator");
    for (id, wanted) in ends {
        assert_eq!(at_coordinator[id].as_ref(), Some(wanted), "job {id} at the coordinator");
    }
    assert_eq!(listed.len(), ends.len(), "a job without an end, or one that nobody submitted");
    let at_operator = world.run("lab", &["job", "list"]).ok();
    let at_operator: BTreeMap<&str, Value> =
        at_operator.as_array().unwrap().iter().map(|job| (job["id"].as_str().unwrap(), shown_end(job))).collect();
    assert_eq!(at_operator.len(), ends.len(), "the operator is shown every job");
    assert!(ends.iter().all(|(id, wanted)| at_operator[id.as_str()] == *wanted), "{at_operator:?}, not {ends:?}");
    let receipts = world.run("lab", &["receipt", "list"]).ok();
    let mut by_job: BTreeMap<&str, usize> = BTreeMap::new();
    for receipt in receipts.as_array().unwrap() {
        *by_job.entry(receipt["job"].as_str().unwrap()).or_default() += 1;
    }
    let unreceipted = listed.iter().filter(|v| v.receipt.is_none()).count();
    assert_eq!(by_job.len() + unreceipted, listed.len(), "receipts and jobs that ended");
    eprintln!("{unreceipted} of {} jobs ended without a receipt", listed.len());
    let admitted: BTreeSet<String> = OWNERS
        .iter()
        .flat_map(|owner| node_jobs(world, owner))
        .filter(|job| job["admitted"] == json!(true))
        .map(|job| job["id"].as_str().unwrap().to_owned())
        .collect();
    for view in listed.iter().filter(|view| view.terminal == Some(Terminal::Succeeded)) {
        answer(&wire, view.id);
    }
    for view in &listed {
        let id = view.id.to_string();
        let receipts = by_job.get(id.as_str()).copied().unwrap_or(0);
        assert_eq!(receipts, usize::from(view.receipt.is_some()), "job {id}: {view:?}");
        if view.receipt.is_none() {
            // Nobody can attest what no party has decided on; once all are back, what one has has its receipt.
            assert!(!admitted.contains(&id), "{view:?}");
            assert_eq!(view.terminal.as_ref().and_then(Terminal::code), Some(Code::JobUnreachable), "{view:?}");
            assert!(view.timeline.iter().any(|e| e.what == "not_receipted"), "{view:?}");
        }
    }
    for owner in OWNERS {
        let jobs = node_jobs(world, owner);
        let admitted = jobs.iter().filter(|j| j["admitted"] == json!(true)).count() as u64;
        for job in &jobs {
            let id = job["id"].as_str().unwrap();
            assert_eq!(Some(&shown_end(job)), at_coordinator[id].as_ref(), "job {id} at {owner}");
        }
        let succeeded = listed.iter().filter(|v| v.terminal == Some(Terminal::Succeeded)).count() as u64;
        assert!(admitted >= succeeded, "{owner}: {admitted} admitted, {succeeded} succeeded");
    }
    drop(wire);
    let (bundle, trust) = (world.folder().join("log.bundle"), world.folder().join("log.trust"));
    world.run("lab", &["receipt", "export", "--out", &shown(&bundle), "--trust", &shown(&trust)]).ok();
    let mut verify = std::process::Command::new(program("tacit-verify"));
    let report = World::finish(verify.arg(&bundle).arg("--trust").arg(&trust).arg("--json")).ok();
    assert_eq!(report["valid"], report["receipts"], "{report}");
    assert_eq!(report["receipts"], json!(receipts.as_array().unwrap().len()), "{report}");
    assert_eq!(report["faults"], json!([]), "{report}");
    assert_eq!(world.stop(COORDINATOR), 0, "{}", world.log(COORDINATOR));
    world.run(COORDINATOR, &["log", "fsck"]).ok();
    let succeeded = listed.iter().filter(|v| v.terminal == Some(Terminal::Succeeded)).count() as u64;
    for owner in OWNERS {
        assert_eq!(world.stop(owner), 0, "{}", world.log(owner));
        let admitted = node_jobs(world, owner).iter().filter(|j| j["admitted"] == json!(true)).count() as u64;
        let used = used(world, owner, offer);
        assert!(used >= succeeded, "{owner}: {succeeded} results were released, {used} jobs are counted");
        assert_eq!(used, admitted, "{owner}: each admitted job counts once");
        assert!(used <= listed.len() as u64, "{owner}: more jobs are counted than there were");
    }
    for daemon in [COORDINATOR, "a", "b", "c"] {
        assert!(!world.log(daemon).contains("panicked"), "{daemon}: {}", world.log(daemon));
    }
}
