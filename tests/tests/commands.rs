//! Commands that no other test calls, as people and programs call them.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tacit_engine::api::PAGE_MAX;
use tacit_governance::{ColumnKind, JobSpec};
use tacit_tests::craft::{self, Offer};
use tacit_tests::world::{COORDINATOR, START_WAIT};
use tacit_tests::{Wire, World};
use tacit_types::{Code, JobId, Lang};

const OWNERS: [&str; 3] = ["a", "b", "c"];
const LEVELS: &str = "after_compare,after_aggregate,after_group_by";
const TABLE: &str = "age,region\n31,north\n42,south\n53,north\n64,south\n";
const COUNT: &str = "kind = \"count/v1\"\ncontract = \"good\"\n[params]\nfilter = \"age >= 18\"\n";

fn running() -> World {
    let world = World::with_nodes(&OWNERS.map(|name| (name, TABLE)), LEVELS);
    world.agree("good", &OWNERS, 50, "");
    world
}

/// How a job ended, as a command shows it.
fn end_of(job: &Value) -> Value {
    let keys = ["state", "code", "party", "step", "reason", "hint"];
    keys.map(|key| (key, job.get(key).unwrap_or_else(|| panic!("no {key}: {job}")).clone())).into_iter().collect()
}

/// A job as an owner's node has it.
fn at_node(world: &World, owner: &str, id: &str) -> Option<Value> {
    let jobs = world.run(owner, &["node", "jobs"]).ok();
    jobs.as_array().unwrap().iter().find(|job| job["id"] == id).cloned()
}

#[test]
fn a_job_that_waits_is_cancelled_by_who_submitted_it() {
    let mut world = running();
    // The job finds a party away and cannot end by itself soon: not the one that decides first, without whom no other is asked.
    let first = world.job(COUNT).ok()["id"].as_str().unwrap().to_owned();
    let view = Wire::open(&world.home("lab")).unwrap().job(JobId::from_hex(&first).unwrap()).unwrap();
    let away = view.parties.iter().max_by_key(|party| party.node).unwrap().name.to_string();
    assert_eq!(world.stop(&away), 0);
    let file = world.write("job.toml", COUNT);
    let id = world.run("lab", &["job", "submit", &file.display().to_string()]).ok()["id"].as_str().unwrap().to_owned();
    let others: Vec<&str> = OWNERS.into_iter().filter(|owner| *owner != away).collect();
    let begun = Instant::now();
    while !others.iter().all(|owner| at_node(&world, owner, &id).is_some()) {
        assert!(begun.elapsed() < START_WAIT, "the others do not decide");
        std::thread::sleep(Duration::from_millis(50));
    }
    world.run(others[0], &["job", "cancel", &id]).fails("job.not_ours");
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
    // Two have admitted it and attest that it was cancelled, by whom, and in no step.
    assert!(shown["receipt"].is_u64(), "{shown}");
    let wanted = json!({
        "state": "cancelled", "code": "job.cancelled", "party": "lab", "step": null, "reason": null,
        "hint": Code::JobCancelled.hint(Lang::En),
    });
    assert_eq!(end_of(&shown), wanted);
    world.run("lab", &["job", "result", &id]).fails("job.cancelled");
    // Once more changes nothing, and others go on.
    world.run("lab", &["job", "cancel", &id]);
    assert_eq!(world.run("lab", &["job", "show", &id]).ok()["state"], "cancelled");
    world.start(&away);
    world.wait_online("lab", OWNERS.len());
    world.job(COUNT).ok();
    for owner in &others {
        let own = at_node(&world, owner, &id).unwrap();
        assert_eq!((end_of(&own), &own["receipt"]), (wanted.clone(), &shown["receipt"]), "{owner}");
    }
    let output = world.command(others[0], &["node", "jobs"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find(|line| line.contains("cancelled")).unwrap_or_else(|| panic!("{text}"));
    assert!(line.contains(&id[..8]) && line.contains("job.cancelled") && line.contains("lab"), "{text}");
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

/// One job more than a page holds, of which the first and the last begin with the same digits.
#[test]
fn jobs_beyond_a_page_are_listed_and_named_by_the_beginning_of_their_ids() {
    const JOBS: usize = PAGE_MAX as usize + 1;
    let owners = ["a", "b"];
    let world = World::with_nodes(&owners.map(|name| (name, TABLE)), LEVELS);
    world.agree("good", &owners, 50, "");
    let offer = Offer::of(&world, "good", &[("age", ColumnKind::Int), ("region", ColumnKind::Text)]);
    let wire = Wire::open(&world.home("lab")).unwrap();
    // Refused by both, so that they end soon.
    let job = |nonce: u64| {
        let mut spec = offer.spec("count/v1", json!({"filter": "age >= 18"}), wire.seal().public(), nonce);
        spec.purpose = "another".into();
        let bytes = craft::sign(&wire.key(), &spec);
        let id = JobSpec::id(&JobSpec::verify(&bytes).unwrap()).to_string();
        (id, bytes)
    };
    let mut known: BTreeMap<String, (String, Vec<u8>)> = BTreeMap::new();
    let mut jobs = Vec::new();
    let (first, last) = (0..)
        .map(job)
        .find_map(|(id, bytes)| {
            let like = known.insert(id[..4].to_owned(), (id.clone(), bytes.clone()))?;
            Some((like, (id, bytes)))
        })
        .unwrap();
    jobs.push(first.clone());
    jobs.extend((1_000_000..).map(job).filter(|(id, _)| id[..4] != first.0[..4]).take(JOBS - 2));
    jobs.push(last.clone());
    for some in jobs.chunks(10) {
        let ids: Vec<JobId> = some.iter().map(|(_, bytes)| wire.submit(bytes).unwrap()).collect();
        ids.into_iter().for_each(|id| _ = wire.ended(id).unwrap());
    }
    let listed = world.run("lab", &["job", "list"]).ok();
    let listed: Vec<&str> = listed.as_array().unwrap().iter().map(|j| j["id"].as_str().unwrap()).collect();
    let submitted: Vec<&str> = jobs.iter().rev().map(|(id, _)| id.as_str()).collect();
    assert_eq!(listed, submitted);
    let unlike = first.0.bytes().zip(last.0.bytes()).take_while(|(one, other)| one == other).count() + 1;
    for (id, _) in [&first, &last, &jobs[50]] {
        let begins = &id[..unlike.max(8)];
        assert_eq!(world.run("lab", &["job", "show", begins]).ok()["id"], json!(id));
    }
    let what = world.run("lab", &["job", "show", &first.0[..4]]).fails("args.invalid");
    assert!(what.contains("several jobs"), "{what}");
    world.run("lab", &["job", "show", &first.0[..3]]).fails("job.unknown");
    // Every side tells the same of each end.
    let at_operator = world.run("lab", &["job", "list"]).ok();
    for owner in owners {
        let own = world.run(owner, &["node", "jobs"]).ok();
        let own: BTreeMap<&str, Value> =
            own.as_array().unwrap().iter().map(|job| (job["id"].as_str().unwrap(), end_of(job))).collect();
        for job in at_operator.as_array().unwrap() {
            let (id, end) = (job["id"].as_str().unwrap(), end_of(job));
            assert_eq!((&end["code"], &end["step"]), (&json!("refused.purpose"), &Value::Null), "{end}");
            assert!(end["party"].is_string() && end["reason"].is_string() && end["hint"].is_string(), "{end}");
            // A refusal that takes no place is not kept by a node.
            assert!(own.get(id).is_none_or(|own| *own == end), "{id} at {owner}: {own:?}, not {end}");
        }
    }
}

/// Runs a command on a terminal of its own and gives what that showed.
fn on_a_terminal(command: &Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    let quoted: Vec<String> =
        words.map(|word| format!("'{}'", word.to_str().unwrap().replace('\'', "'\\''"))).collect();
    let mut terminal = Command::new("script");
    terminal.args(["--quiet", "--return", "--command", &quoted.join(" "), "/dev/null"]).stdin(Stdio::null());
    for name in ["TACIT_HOME", "TACIT_LANG", "TACIT_LOG", "RUST_LOG"] {
        terminal.env_remove(name);
    }
    let output = terminal.env("TERM", "xterm").output().unwrap_or_else(|e| panic!("script: {e}"));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What takes long says so on a terminal, and what it has taken; a pipe and a program that reads JSON see nothing of it.
#[test]
fn what_takes_long_is_shown_on_a_terminal_alone() {
    let mut world = World::with_nodes(&[("a", TABLE)], LEVELS);
    for (arguments, word) in [
        (&["data", "check", "data"][..], "checking the rows"),
        (&["data", "subject", "data", "31", "--column", "age"], "looking through the rows"),
    ] {
        let seen = on_a_terminal(&world.command("a", arguments));
        assert!(seen.contains(word), "{arguments:?}: {seen:?}");
        let seen = on_a_terminal(world.command("a", arguments).arg("--json"));
        assert!(!seen.contains(word) && seen.contains('{'), "{arguments:?}: {seen:?}");
        let output = world.command("a", arguments).output().unwrap();
        let seen = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(!seen.contains(word) && output.status.success(), "{arguments:?}: {seen:?}");
    }
    // Nobody answers where the invitation leads, for longer than two seconds.
    let invitation = world.invite("b", "node");
    let text = std::fs::read_to_string(world.home(COORDINATOR).join("coordinator.toml")).unwrap();
    let listen = text.lines().find(|line| line.starts_with("listen")).unwrap().split('"').nth(1).unwrap().to_owned();
    assert_eq!(world.stop(COORDINATOR), 0);
    let silent = std::net::UdpSocket::bind(&listen).unwrap();
    let join = ["join", &invitation, "--listen", "127.0.0.1:1", "--public", "127.0.0.1:1"];
    let begun = Instant::now();
    let seen = on_a_terminal(&world.command("b", &join));
    assert!(begun.elapsed() > Duration::from_secs(2), "it ended after {:?}: {seen:?}", begun.elapsed());
    assert!(seen.contains("enrolling 2s"), "{seen:?}");
    let seen = on_a_terminal(world.command("b", &join).arg("--json"));
    assert!(!seen.contains("enrolling"), "{seen:?}");
    let output = world.command("b", &join).output().unwrap();
    let seen = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(!output.status.success() && !seen.contains("enrolling"), "{seen:?}");
    drop(silent);
}

/// Drafts a contract from answers that are typed, and gives how that ended.
fn asked(world: &World, file: &str, answers: &str) -> (i32, Value, String) {
    let mut command = world.command("lab", &["--json", "contract", "draft", file, "--ask"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Who needs no more answers does not read the rest.
    let _ = child.stdin.take().unwrap().write_all(answers.as_bytes());
    let output = child.wait_with_output().unwrap();
    let json = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code().unwrap_or(-1), json, String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_contract_is_drafted_from_answers() {
    let world = World::with_nodes(&OWNERS.map(|name| (name, TABLE)), LEVELS);
    let path = world.folder().join("asked.toml");
    let file = path.to_str().unwrap();
    // A wildcard, a stranger, a dataset that nobody offers and a word for a number are asked again.
    let answers = "\n*\nadults by region\n\nnobody\nlab\n9\na/data, 2 3\nall\nage\n1\nmany\n5\n\n3\n2\n4\n";
    let (status, drafted, shown) = asked(&world, file, answers);
    assert_eq!(status, 0, "{drafted}{shown}");
    assert!(shown.contains("purpose: ") && shown.contains("name of the contract [asked]: "), "{shown}");
    assert!(shown.contains("1. a/data: age, region") && shown.contains("`nobody`: not enrolled"), "{shown}");
    let written: toml::Table = std::fs::read_to_string(&path).unwrap().parse().unwrap();
    let number = |table: &str, key: &str| written[table][key].as_integer();
    assert_eq!((written["name"].as_str(), written["quota_jobs"].as_integer()), (Some("asked"), Some(5)));
    assert_eq!((number("cohort", "rows"), number("cohort", "contributors")), (Some(3), Some(2)));
    assert_eq!((number("exact", "change_min"), written["valid_days"].as_integer()), (Some(4), Some(90)));
    let columns =
        |at: usize| written["datasets"][at]["columns"].as_table().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        (columns(0), columns(1), columns(2)),
        (vec!["age".into(), "region".into()], vec!["age".into()], vec!["age".into()])
    );
    // It is the contract of that file: the owners sign it, and a job runs under it.
    for owner in OWNERS {
        world.run(owner, &["contract", "sign", "asked"]).ok();
    }
    let done = world.job(&COUNT.replace("good", "asked")).ok();
    assert_eq!(done["result"]["rows"], json!(12), "{done}");

    // What is there is not written over, and what ends early leaves nothing.
    let (status, refused, _) = asked(&world, file, answers);
    assert_eq!((status != 0, &refused["error"]["code"]), (true, &json!("args.invalid")), "{refused}");
    let short = world.folder().join("short.toml");
    for answers in ["", "short\nwhy\n", &"x".repeat(5000)] {
        let (status, refused, _) = asked(&world, short.to_str().unwrap(), answers);
        assert_eq!((status != 0, &refused["error"]["code"]), (true, &json!("args.invalid")), "{refused}");
        assert!(!short.exists());
    }
}
