//! Owners that put an older database back get nothing back: what their nodes have signed since is in the log, and is counted
//! before the first job is admitted. Where the log shows less than a node has seen, no job is admitted.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tacit_tests::program::program;
use tacit_tests::world::{COORDINATOR, shown};
use tacit_tests::{Done, World};

const OWNERS: [&str; 3] = ["a", "b", "c"];
const LEVELS: &str = "after_compare,after_aggregate,after_group_by";
const TABLE: &str = "age,region\n31,north\n42,south\n53,north\n64,south\n";
/// Jobs that the contract `good` allows.
const QUOTA: usize = 3;

fn count(contract: &str) -> String {
    format!("kind = \"count/v1\"\ncontract = \"{contract}\"\n")
}

/// One of several questions that cost 0.4 of a budget of 1.
fn noisy(question: u32) -> String {
    format!(
        "kind = \"stats/v1\"\ncontract = \"noisy\"\n[params]\nfilter = \"age >= {question}\"\n[[params.measures]]\n\
         column = \"age\"\nstatistics = [\"count\"]\nbound = \"100\"\n[params.privacy]\nepsilon = \"0.4\"\n\
         delta = \"0.000000001\"\n"
    )
}

fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(done.is_ok_and(|status| status.success()));
}

fn restart(world: &mut World, between: impl Fn(&World)) {
    for owner in OWNERS {
        assert_eq!(world.stop(owner), 0);
    }
    between(world);
    OWNERS.iter().for_each(|owner| world.start(owner));
    world.wait_online("lab", OWNERS.len());
}

/// The codes of all owners in a plan.
fn objections(plan: &Done) -> Vec<Value> {
    plan.json["owners"].as_array().into_iter().flatten().map(|owner| owner["code"].clone()).collect()
}

fn used(plan: &Value, party: &str, what: &str) -> Value {
    let owner = plan["owners"].as_array().unwrap().iter().find(|o| o["party"] == json!(party)).unwrap();
    owner["limits"].as_array().unwrap().iter().find(|l| l["what"] == json!(what)).unwrap()["before"].clone()
}

/// What `doctor` says of an owner's ledger.
fn ledger(world: &World, party: &str) -> Option<String> {
    let found = world.run(party, &["doctor"]).json;
    let found = found["checks"].as_array()?.iter().find(|check| check["check"] == json!("ledger"))?.clone();
    assert_eq!(found["ok"], json!(true), "{found}");
    found["detail"].as_str().map(str::to_owned)
}

#[test]
fn yesterdays_database_gives_back_neither_quota_nor_budget() {
    let mut world = World::with_nodes(&OWNERS.map(|name| (name, TABLE)), LEVELS);
    world.agree("good", &OWNERS, QUOTA as u64, "");
    world.agree("more", &OWNERS, 100, "");
    world.agree("noisy", &OWNERS, 100, "[privacy]\nepsilon = \"1\"\ndelta = \"0.0000001\"\n");
    world.job(&count("more")).ok();
    let kept = world.folder().join("kept");
    std::fs::create_dir_all(&kept).unwrap();
    let [good, more] = ["good", "more"].map(|name| shown(&world.write(&format!("{name}.plan.toml"), count(name))));
    restart(&mut world, |world| {
        OWNERS.iter().for_each(|owner| copy(&world.home(owner), &kept.join(owner)));
    });
    world.stop(COORDINATOR);
    copy(&world.home(COORDINATOR), &kept.join(COORDINATOR));
    world.start(COORDINATOR);
    world.wait_online("lab", OWNERS.len());
    for owner in OWNERS {
        assert_eq!(ledger(&world, owner), None, "{owner} was only restarted");
    }
    for question in [18, 40] {
        world.job(&noisy(question)).ok();
    }
    for _ in 0..QUOTA {
        world.job(&count("good")).ok();
    }
    assert_eq!(world.job(&count("good")).json["code"], json!("refused.quota"));

    // All owners put back what they had: one its whole folder, the others the database alone.
    restart(&mut world, |world| {
        for (i, owner) in OWNERS.iter().enumerate() {
            let (home, old) = (world.home(owner), kept.join(owner));
            if i == 0 {
                std::fs::remove_dir_all(&home).unwrap();
                copy(&old, &home);
            } else {
                for file in ["node.db", "node.db-wal", "node.db-shm"] {
                    let _ = std::fs::remove_file(home.join(file));
                }
                std::fs::copy(old.join("node.db"), home.join("node.db")).unwrap();
            }
        }
    });
    let refused = world.job(&count("good"));
    assert_eq!(refused.json["code"], json!("refused.quota"), "{}", refused.json);
    let refused = world.run("lab", &["job", "plan", &good]);
    assert_eq!(objections(&refused), vec![json!("refused.quota"); OWNERS.len()], "{}", refused.json);
    let plan = world.run("lab", &["job", "plan", &more]).ok();
    for owner in OWNERS {
        assert_eq!(used(&plan, owner, "jobs"), json!("99"), "one of 100 was used before: {plan}");
        let said = ledger(&world, owner).unwrap_or_else(|| panic!("{owner} says nothing: {}", world.log(owner)));
        assert!(said.ends_with(": 5"), "{said}");
    }
    assert_eq!(world.job(&noisy(50)).json["code"], json!("refused.budget"));
    assert_eq!(world.job(&noisy(18)).json["code"], json!("refused.repeated"));
    let text = world.command("b", &["--lang", "zh", "doctor"]).output().unwrap();
    assert!(String::from_utf8(text.stdout).unwrap().contains("根据日志补记的作业数: 5"));

    // What they sign goes on where it was: no number of a chain is used twice, and no head forgotten.
    world.job(&count("more")).ok();
    let [bundle, trust] = ["log.bundle", "group.trust"].map(|name| shown(&world.folder().join(name)));
    world.run("lab", &["receipt", "export", "--out", &bundle, "--trust", &trust]).ok();
    let done = World::finish(Command::new(program("tacit-verify")).args([&bundle, "--trust", &trust, "--json"]));
    assert_eq!(done.status, 0, "{}{}", done.json, done.stderr);

    // It was counted once, and a restart counts nothing more.
    restart(&mut world, |_| ());
    let plan = world.run("lab", &["job", "plan", &more]).ok();
    assert_eq!(used(&plan, "a", "jobs"), json!("98"), "{plan}");

    // A coordinator whose log ends before what they have seen is given no job: not by two that know it themselves, and not by
    // one whose folder is as old as that log, which hears it from them.
    let [old, others @ ..] = OWNERS;
    for party in OWNERS.iter().chain([&COORDINATOR]) {
        world.stop(party);
    }
    for party in [old, COORDINATOR] {
        std::fs::remove_dir_all(world.home(party)).unwrap();
        copy(&kept.join(party), &world.home(party));
    }
    world.start(COORDINATOR);
    others.iter().for_each(|owner| world.start(owner));
    world.wait_there("lab", others.len());
    world.start(old);
    world.wait_online("lab", OWNERS.len());
    let begun = Instant::now();
    loop {
        let plan = world.run("lab", &["job", "plan", &more]);
        let all = objections(&plan);
        if all == vec![json!("refused.ledger_behind"); OWNERS.len()] {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{} {}", plan.json, plan.stderr);
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Jobs are counted from the log and the rows that they asked about cannot be: exact questions wait until the owner accepts it.
#[test]
fn rows_that_a_restored_database_has_forgotten_wait_for_the_owners_word() {
    let mut world = World::with_nodes(&OWNERS.map(|name| (name, TABLE)), LEVELS);
    world.agree("apart", &OWNERS, 20, "[exact]\nchange_min = 2\n");
    world.agree("plain", &OWNERS, 20, "");
    let kept = world.folder().join("kept");
    let stopped = |world: &mut World, between: &dyn Fn(&World)| {
        assert_eq!(world.stop("a"), 0);
        between(world);
        world.start("a");
        world.wait_online("lab", OWNERS.len());
    };
    stopped(&mut world, &|world| copy(&world.home("a"), &kept));
    let restore = |world: &World| {
        std::fs::remove_dir_all(world.home("a")).unwrap();
        copy(&kept, &world.home("a"));
    };
    let asked = |age: u32| format!("{}[params]\nfilter = \"age >= {age}\"\n", count("apart"));
    let waits = |world: &World, party: &str| {
        let found = world.run(party, &["data", "forgotten"]).ok();
        let found: Vec<_> =
            found.as_array().unwrap().iter().map(|f| (f["jobs"].as_u64(), f["waits"].clone())).collect();
        found
    };
    // Four rows of each owner, then two: a group apart, and without a restored database an answer.
    world.job(&asked(18)).ok();
    assert_eq!(waits(&world, "a"), []);
    stopped(&mut world, &restore);
    let refused = world.job(&asked(50));
    assert!(refused.status != 0 && refused.json.to_string().contains("refused.forgotten"), "{}", refused.json);
    assert_eq!((waits(&world, "a"), waits(&world, "b")), (vec![(Some(1), json!(true))], vec![]));
    let restored = |party: &str| {
        let found = world.run(party, &["doctor"]).json;
        let found =
            found["checks"].as_array().unwrap().iter().find(|check| check["check"] == json!("restored")).cloned();
        found.map(|found| found["detail"].as_str().unwrap().to_owned())
    };
    let said = restored("a").unwrap();
    assert!(said.contains("tacit list add") && said.ends_with("of data"), "{said}");
    assert_eq!(restored("b"), None);
    // What no term holds apart is answered as before.
    world.job(&count("plain")).ok();
    world.run("a", &["data", "forgotten", "data", "--accept"]).fails("args.invalid");
    world.run("a", &["data", "forgotten", "nothing", "--accept", "--reason", "x"]).fails("data.unknown");
    let accept = ["data", "forgotten", "data", "--accept", "--reason", "the rows are new"];
    let done = world.run("a", &accept).ok();
    assert_eq!((&done[0]["waits"], &done[0]["accepted"]["jobs"]), (&json!(false), &json!(1)), "{done}");
    assert!(!restored("a").unwrap().contains("data forgotten"));
    let text = world.command("a", &["--lang", "zh", "data", "forgotten"]).output().unwrap();
    assert!(String::from_utf8(text.stdout).unwrap().contains("已确认"));
    world.job(&asked(50)).ok();
    // The word was over what was forgotten then: an older database once more is another matter.
    stopped(&mut world, &restore);
    let refused = world.job(&asked(18));
    assert!(refused.status != 0 && refused.json.to_string().contains("refused.forgotten"), "{}", refused.json);
}

/// What `doctor` says of a check, if it has it.
fn said(world: &World, party: &str, check: &str) -> Option<Value> {
    let found = world.run(party, &["doctor"]).json;
    found["checks"].as_array()?.iter().find(|found| found["check"] == json!(check)).cloned()
}

/// Waits until the log has what an owner's node was told.
fn noted(world: &World, party: &str) {
    let begun = Instant::now();
    while let Some(found) = said(world, party, "memos") {
        assert!(begun.elapsed() < Duration::from_secs(30), "{found} {}", world.log(party));
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// What an owner would say to a job.
fn code_of(world: &World, party: &str, job: &str) -> Value {
    let plan = world.run("lab", &["job", "plan", &shown(&world.write("asked.toml", job))]).json;
    let owner = plan["owners"].as_array().into_iter().flatten().find(|owner| owner["party"] == json!(party));
    owner.unwrap_or_else(|| panic!("{plan}"))["code"].clone()
}

/// Revocations, suspensions, lists and new versions hold at an owner that has put an older database back, though it alone knew
/// of them; what stands in the log by hash alone is waited for.
#[test]
fn a_restored_database_is_told_again_what_was_revoked_denied_and_replaced() {
    let mut world = World::with_nodes(&OWNERS.map(|name| (name, TABLE)), LEVELS);
    ["good", "held", "old", "free"].iter().for_each(|name| world.agree(name, &OWNERS, 20, ""));
    world.job(&count("good")).ok();
    let kept = world.folder().join("kept");
    let stopped = |world: &mut World, between: &dyn Fn(&World)| {
        assert_eq!(world.stop("a"), 0);
        between(world);
        world.start("a");
        world.wait_online("lab", OWNERS.len());
    };
    stopped(&mut world, &|world| copy(&world.home("a"), &kept));
    let restore = |world: &World| {
        std::fs::remove_dir_all(world.home("a")).unwrap();
        copy(&kept, &world.home("a"));
    };
    let sums = "kind = \"stats/v1\"\ncontract = \"free\"\n[[params.measures]]\ncolumn = \"age\"\n\
                statistics = [\"count\"]\nbound = \"100\"\n";
    let list = |world: &World, name: &str, items: &str| {
        let text = format!("kind = \"list\"\nname = \"{name}\"\nnumber = 1\nreason = \"order 17\"\n{items}");
        let (file, signed) = (world.write(&format!("{name}.toml"), text), world.folder().join(name));
        world.run("a", &["list", "write", &shown(&file), "--out", &shown(&signed)]).ok();
        world.run("a", &["list", "add", &shown(&signed)]).ok();
        shown(&signed)
    };
    let jobs = [count("good"), count("held"), count("old"), sums.to_owned(), count("free")];
    let codes = |world: &World| jobs.each_ref().map(|job| code_of(world, "a", job));
    assert_eq!(codes(&world), [const { Value::Null }; 5]);

    world.run("a", &["contract", "revoke", "good", "--reason", "purpose is over"]).ok();
    world.run("a", &["contract", "suspend", "held", "--until", "2999-01-01", "--reason", "review"]).ok();
    world.agree("new", &OWNERS, 20, "[lifecycle]\namends = \"old\"\n");
    world.run("a", &["contract", "show", "new"]).ok();
    list(&world, "no-sums", "[[items]]\njob_kind = \"stats/v1\"\n");
    noted(&world, "a");
    let no = ["contract_revoked", "contract_suspended", "contract_replaced", "listed"];
    let no = no.map(|code| json!(format!("refused.{code}")));
    let all = [no.as_slice(), &[Value::Null]].concat();
    assert_eq!(codes(&world).as_slice(), all);

    stopped(&mut world, &restore);
    assert_eq!(codes(&world).as_slice(), all, "{}", world.log("a"));
    assert_eq!(world.job(&count("good")).json["code"], json!("refused.contract_revoked"));
    assert_eq!(world.run("a", &["list", "lacking"]).ok(), json!([]));
    noted(&world, "a");
    let once = world.run("a", &["list", "show"]).ok();
    assert_eq!(once.as_array().unwrap().len(), 3, "two on contracts and a list: {once}");
    // Once more, from a database that has met none of it again: the log still says it.
    stopped(&mut world, &restore);
    assert_eq!(codes(&world).as_slice(), all);

    // What is too long for a memo is known to be missing. No job is admitted until it is here, or its owner gives it up.
    let many: String = (0..1200).map(|n| format!("[[items]]\npurpose = \"{n:-<60}\"\n")).collect();
    let long = list(&world, "long", &format!("[[items]]\njob_kind = \"count/v1\"\n{many}"));
    noted(&world, "a");
    assert_eq!(code_of(&world, "a", &count("free")), json!("refused.listed"));
    stopped(&mut world, &restore);
    assert_eq!(codes(&world).as_slice(), vec![json!("refused.ledger_behind"); 5]);
    assert_eq!(said(&world, "a", "told before").unwrap()["code"], json!("refused.ledger_behind"));
    assert_eq!(world.run("a", &["list", "lacking"]).ok()[0]["waits"], json!(true));
    world.run("a", &["list", "add", &long]).ok();
    assert_eq!(world.run("a", &["list", "lacking"]).ok(), json!([]));
    assert_eq!(code_of(&world, "a", &count("free")), json!("refused.listed"));

    stopped(&mut world, &restore);
    assert_eq!(code_of(&world, "a", &count("free")), json!("refused.ledger_behind"));
    assert_ne!(world.run("a", &["list", "lacking", "--accept"]).status, 0, "it takes a reason");
    let number = world.run("a", &["list", "lacking"]).ok()[0]["number"].to_string();
    world.run("a", &["list", "lacking", "9999", "--accept", "--reason", "the file is lost"]).fails("args.invalid");
    assert_eq!(code_of(&world, "a", &count("free")), json!("refused.ledger_behind"));
    let given_up = world.run("a", &["list", "lacking", &number, "--accept", "--reason", "the file is lost"]).ok();
    assert_eq!(
        (&given_up[0]["waits"], &given_up[0]["accepted"]["reason"]),
        (&json!(false), &json!("the file is lost"))
    );
    assert_eq!(codes(&world).as_slice(), all, "what is not lost holds");
    let text = world.command("a", &["--lang", "zh", "list", "lacking"]).output().unwrap();
    assert!(String::from_utf8(text.stdout).unwrap().contains("已确认遗失"));
    world.job(&count("free")).ok();
    let [bundle, trust] = ["log.bundle", "group.trust"].map(|name| shown(&world.folder().join(name)));
    world.run("lab", &["receipt", "export", "--out", &bundle, "--trust", &trust]).ok();
    let done = World::finish(Command::new(program("tacit-verify")).args([&bundle, "--trust", &trust, "--json"]));
    assert_eq!(done.status, 0, "{}{}", done.json, done.stderr);
}
