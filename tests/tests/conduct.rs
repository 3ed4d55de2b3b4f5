//! What a compliance officer and a regulator do, through the programs: a complaint that is heard and decided, an
//! incident, a conduct record that an objection freezes, and the alerts of a log, each held by the verifier offline.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};
use tacit_tests::World;
use tacit_tests::program::program;
use tacit_tests::world::{Done, shown};

const OWNERS: [&str; 3] = ["a", "b", "c"];
const LEVELS: &str = "after_compare,after_aggregate,after_group_by";
const TABLE: &str = "age,region\n31,north\n42,south\n53,north\n64,south\n75,north\n";
const JOB: &str = "kind = \"count/v1\"\ncontract = \"small\"\n[params]\nfilter = \"age >= 40\"\n";
const TIMES: [&str; 4] = ["--answer-by", "2099-01-01", "--decide-by", "2099-02-01"];

/// Three owners, an operator and a regulator; a contract of five jobs, of which two are used.
fn world() -> World {
    let world = World::with_nodes(&OWNERS.map(|name| (name, TABLE)), LEVELS);
    world.join("authority", "regulator");
    world.agree("small", &OWNERS, 5, "");
    (0..2).for_each(|_| _ = world.job(JOB).ok());
    world
}

fn opened(world: &World, by: &str, arguments: &[&str]) -> Done {
    world.run(by, &[&["case", "open"], arguments, &TIMES].concat())
}

fn step(world: &World, by: &str, case: u64, act: &str) -> Done {
    world.run(by, &["case", "step", &case.to_string(), act, "--text", "so it is"])
}

fn shows(world: &World, case: u64) -> Value {
    world.run("c", &["case", "show", &case.to_string()]).ok()
}

fn complaint(world: &World, receipt: u64) -> u64 {
    let document = world.write("count.csv", "rows\n12\n");
    let (leaf, file) = (receipt.to_string(), shown(&document));
    let of = |about: &'static str, decider: &'static str, leaf: &str| -> Vec<String> {
        [
            "complaint",
            "--about",
            about,
            "--decider",
            decider,
            "--topic",
            "overuse",
            "--text",
            "more than agreed",
            "--leaf",
            leaf,
        ]
        .map(str::to_owned)
        .to_vec()
    };
    let run =
        |by: &str, arguments: Vec<String>| opened(world, by, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    // Nobody decides in its own cause, about somebody who is not here, or on a leaf that is not there.
    run("a", of("lab", "lab", &leaf)).fails("receipt.case");
    run("a", of("lab", "a", &leaf)).fails("receipt.case");
    run("lab", of("lab", "authority", &leaf)).fails("receipt.case");
    run("a", of("nobody", "authority", &leaf)).fails("receipt.party_unknown");
    run("a", of("lab", "authority", "9999")).fails("receipt.unknown");
    let mut arguments = of("lab", "authority", &leaf);
    arguments.extend(["--evidence".to_owned(), file]);
    let case = run("a", arguments).ok()["case"].as_u64().unwrap();
    step(world, "b", case, "answer").fails("receipt.case");
    step(world, "authority", case, "uphold").fails("receipt.case");
    step(world, "lab", case, "answer").ok();
    assert_eq!(shows(world, case)["state"], json!("answered"));
    let open = world.run("b", &["case", "list", "--open"]).ok();
    assert_eq!((&open[0]["case"], open.as_array().map(Vec::len)), (&json!(case), Some(1)));
    step(world, "authority", case, "uphold").ok();
    step(world, "lab", case, "answer").fails("receipt.case");
    let case_view = shows(world, case);
    assert_eq!(
        (&case_view["state"], &case_view["by"], &case_view["overdue"]),
        (&json!("upheld"), &json!("a"), &json!(null))
    );
    let acts: Vec<&Value> = case_view["steps"].as_array().unwrap().iter().map(|s| &s["act"]).collect();
    assert_eq!(acts, [&json!("answer"), &json!("uphold")]);
    assert_eq!(
        (&case_view["leaves"][0]["index"], case_view["evidence"].as_array().map(Vec::len)),
        (&json!(receipt), Some(1))
    );
    assert_eq!(world.run("b", &["case", "list", "--open"]).ok(), json!([]));
    case
}

fn incident(world: &World) {
    let arguments = ["incident", "--decider", "authority", "--topic", "leak", "--text", "a backup was lost"];
    let case = opened(world, "b", &arguments).ok()["case"].as_u64().unwrap();
    step(world, "authority", case, "close").fails("receipt.case");
    for (by, act, state) in
        [("b", "contain", "contained"), ("b", "notify", "notified"), ("authority", "close", "closed")]
    {
        step(world, by, case, act).ok();
        assert_eq!(shows(world, case)["state"], json!(state));
    }
}

fn conduct(world: &World, complaint: u64) {
    let leaf = complaint.to_string();
    let record = [
        "conduct",
        "--about",
        "lab",
        "--decider",
        "authority",
        "--topic",
        "overuse",
        "--text",
        "upheld",
        "--leaf",
        &leaf,
    ];
    opened(world, "c", &record).fails("receipt.case");
    let record = [&record[..], &["--until", "2099-12-01"]].concat();
    let case = opened(world, "c", &record).ok()["case"].as_u64().unwrap();
    for (by, act, effective) in
        [("lab", "object", false), ("authority", "uphold", true), ("authority", "repair", false)]
    {
        step(world, by, case, act).ok();
        assert_eq!(shows(world, case)["effective"], json!(effective), "{act}");
    }
}

/// Rules, words and the leaves that alerts link to.
fn warned(done: &Value) -> BTreeSet<(String, String)> {
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    done["alerts"].as_array().unwrap().iter().map(|a| (text(&a["rule"]), text(&a["level"]))).collect()
}

fn warnings(world: &World, bundle: &str, trust: &str, receipts: &[(u64, String)]) {
    let quiet = world.run("lab", &["log", "warn"]);
    assert_eq!((quiet.status, &quiet.json["alerts"]), (0, &json!([])), "{quiet:?}");
    // Two of five jobs are 40 percent; the two regions are of one country, then not.
    let config = |text: &str| shown(&world.write("warn.toml", text));
    let nearly = config("[thresholds]\nquota_used_percent = 40\n[regions]\na = \"CN-GD\"\nlab = \"CN-BJ\"\n");
    let done = world.run("lab", &["log", "warn", "--config", &nearly]);
    assert_eq!((done.status, warned(&done.json)), (7, [("quota_burn".into(), "warning".into())].into()), "{done:?}");
    let linked: Vec<(u64, String)> = done.json["alerts"][0]["leaves"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| (l["index"].as_u64().unwrap(), l["hash"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(linked.iter().map(|l| l.0).collect::<Vec<_>>(), receipts.iter().map(|r| r.0).collect::<Vec<_>>());
    assert!(linked.iter().all(|(_, hash)| hash.len() == 64));
    let contract = &receipts[0].1;
    let broken = config(&format!(
        "[regions]\na = \"CN-GD\"\nlab = \"SG\"\n[[revoked]]\ncontract = \"{contract}\"\nat = \"2020-01-01\"\n"
    ));
    let done = world.run("lab", &["log", "warn", "--config", &broken]);
    let both = [("cross_border".into(), "warning".into()), ("revoked_but_used".into(), "alarm".into())];
    assert_eq!((done.status, warned(&done.json)), (6, both.clone().into()), "{done:?}");
    // Offline, over the bundle, the same.
    let done = world.run("lab", &["log", "warn", "--config", &broken, "--bundle", bundle, "--trust", trust]);
    assert_eq!((done.status, warned(&done.json)), (6, both.into()), "{done:?}");
    let typo = config("[thresholds]\nquota_percent = 40\n");
    world.run("lab", &["log", "warn", "--config", &typo]).fails("config.malformed");
    // The owner's own revocation is known at its node at once.
    world.run("a", &["contract", "revoke", "small"]).ok();
    let done = world.run("a", &["log", "warn"]);
    assert_eq!((done.status, &done.json["alerts"]), (0, &json!([])), "{done:?}");
}

#[test]
fn cases_are_opened_heard_decided_and_verified_and_alerts_link_to_receipts() {
    let world = world();
    let list = world.run("lab", &["receipt", "list"]).ok();
    let leaves: Vec<u64> = list.as_array().unwrap().iter().map(|r| r["leaf"].as_u64().unwrap()).collect();
    let explained = world.run("lab", &["receipt", "explain", &leaves[0].to_string()]).ok();
    let contract = explained["contracts"][0].as_str().unwrap().to_owned();
    let case = complaint(&world, leaves[0]);
    incident(&world);
    conduct(&world, case);
    let (bundle, trust) = (world.folder().join("log.bundle"), world.folder().join("group.trust"));
    let (bundle, trust) = (shown(&bundle), shown(&trust));
    world.run("lab", &["receipt", "export", "--out", &bundle, "--trust", &trust]).ok();
    let report = World::finish(Command::new(program("tacit-verify")).args([&bundle, "--trust", &trust, "--json"])).ok();
    assert_eq!((&report["ok"], &report["notices"]), (&json!(true), &json!([])), "{report}");
    let receipts: Vec<(u64, String)> = leaves.iter().map(|leaf| (*leaf, contract.clone())).collect();
    warnings(&world, &bundle, &trust, &receipts);
    let words = world.command("c", &["case", "show", &case.to_string(), "--lang", "zh"]).output().unwrap();
    let words = String::from_utf8(words.stdout).unwrap();
    assert!(["投诉", "成立", "裁定方", "more than agreed"].iter().all(|w| words.contains(w)), "{words}");
}
